//! Requests to peers behind names: where they go, and where else when nobody answers there
//! (RFC 3263 §4.3), in the whole user agent.

use std::time::Duration;

use super::bench::{ANSWER, Bench, CONTACT, PBX, STRANGER, invite, to_trunk};
use crate::dns::Answer;
use crate::dns::zone::Zone;
use crate::sip::user_agent::*;

/// The trunk is `pbx.example`, which has two servers, the second for the first's failure.
const TWO: &str = "
    _sip._udp.pbx.example SRV 10 0 5060 a.pbx.example
    _sip._udp.pbx.example SRV 20 0 5070 b.pbx.example
    a.pbx.example A 192.0.2.61
    b.pbx.example A 192.0.2.62";
const FIRST: &str = "192.0.2.61:5060";
const SECOND: &str = "192.0.2.62:5070";

fn named(zone: &str) -> Bench {
    with(zone, |_| {})
}

fn with(zone: &str, change: impl FnOnce(&mut Config)) -> Bench {
    let mut bench = Bench::with(|config| {
        config.trunks[0].server = "sip:pbx.example".parse().unwrap();
        config.trunks[0].accept_from.clear();
        change(config);
    });
    bench.zone = Some(Zone::new(3600, zone));
    bench.drain();
    bench
}

fn to_name() -> Invite {
    let uri = Box::new("sip:100@pbx.example".parse().unwrap());
    Invite { target: Target::Uri { uri, proxy: None }, ..to_trunk() }
}

/// Of another call.
fn another_invite(number: usize) -> String {
    let text = invite().replace("z9hG4bK1", &format!("z9hG4bK{number}"));
    text.replace("c1@", &format!("c{number}@"))
}

#[track_caller]
fn sent_to(bench: &mut Bench, start: &str) -> (String, super::bench::Sent) {
    let sent = bench.expect(start);
    (sent.to.to_string(), sent)
}

#[test]
fn trunk_behind_a_name_is_known_by_all_its_addresses_from_the_start() {
    let mut bench = named(TWO);
    for (number, address) in ["192.0.2.61:5060", "192.0.2.62:9999"].iter().enumerate() {
        bench.receive_from(address, &another_invite(number));
        bench.expect("SIP/2.0 100");
        assert!(matches!(bench.event(), Event::Incoming(_)));
    }
    bench.receive_from(STRANGER, &another_invite(9));
    bench.expect("SIP/2.0 401");
}

#[test]
fn first_server_that_is_silent_gives_way_after_five_seconds() {
    let mut bench = named(TWO);
    bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    bench.pass(Duration::from_millis(4999));
    let all: Vec<String> = (0..4).map(|_| sent_to(&mut bench, "INVITE ").0).collect();
    assert_eq!(all, [FIRST; 4]);
    bench.quiet();
    bench.pass(Duration::from_millis(1));
    let (to, invite) = sent_to(&mut bench, "INVITE ");
    assert_eq!(to, SECOND);
    bench.receive_from(SECOND, &invite.answer(200, "t1", CONTACT, ANSWER));
    bench.expect("ACK ");
    assert!(matches!(bench.event(), Event::Answered { .. }));
    // The next call does not wait for the dead one.
    bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    assert_eq!(sent_to(&mut bench, "INVITE ").0, SECOND);
}

#[test]
fn server_that_says_something_in_time_is_waited_for() {
    let mut bench = named(TWO);
    bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    let invite = bench.expect("INVITE ");
    bench.receive_from(FIRST, &invite.response(100, ""));
    bench.pass(Duration::from_secs(50));
    bench.quiet();
}

#[test]
fn server_that_answers_503_or_is_not_there_gives_way_at_once() {
    let mut bench = named(TWO);
    bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    let first = bench.expect("INVITE ");
    bench.receive_from(FIRST, &first.response(100, ""));
    bench.receive_from(FIRST, &first.answer(503, "t1", "Retry-After: 120\n", ""));
    bench.expect("ACK ");
    let (to, second) = sent_to(&mut bench, "INVITE ");
    assert_eq!(to, SECOND);
    assert_ne!(first.branch(), second.branch());
    for header in ["Call-ID", "CSeq", "From", "To"] {
        assert_eq!(first.header(header), second.header(header));
    }
    bench.input(Input::Unreachable { to: SECOND.parse().unwrap() });
    assert!(matches!(bench.event(), Event::Failed { status: 503, .. }));
}

#[test]
fn refusal_is_everybodys() {
    let mut bench = named(TWO);
    bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    let invite = bench.expect("INVITE ");
    bench.receive_from(FIRST, &invite.response(486, "t1"));
    bench.expect("ACK ");
    assert!(matches!(bench.event(), Event::Failed { status: 486, .. }));
    bench.quiet();
}

#[test]
fn hang_up_after_the_change_cancels_where_the_call_is_now() {
    let mut bench = named(TWO);
    let call = bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    let first = bench.expect("INVITE ");
    bench.receive_from(FIRST, &first.response(100, ""));
    bench.receive_from(FIRST, &first.response(503, "t1"));
    bench.expect("ACK ");
    let second = bench.expect("INVITE ");
    bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
    bench.quiet();
    bench.receive_from(SECOND, &second.response(180, "t2"));
    let cancel = bench.expect("CANCEL ");
    assert_eq!((cancel.to.to_string().as_str(), cancel.branch()), (SECOND, second.branch()));
}

#[test]
fn late_ring_and_answer_of_the_first_server_are_ended() {
    let mut bench = named(TWO);
    bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    let first = bench.expect("INVITE ");
    bench.pass(Duration::from_secs(5));
    let (_, second) = {
        let last = std::iter::from_fn(|| bench.try_sent("INVITE ")).last().unwrap();
        (last.to, last)
    };
    bench.receive_from(FIRST, &first.response(180, "late"));
    let (to, cancel) = sent_to(&mut bench, "CANCEL ");
    assert_eq!((to.as_str(), cancel.branch()), (FIRST, first.branch()));
    bench.receive_from(FIRST, &cancel.response(200, "late"));
    // They crossed.
    let contact = "Contact: <sip:100@192.0.2.61:5060>\n";
    bench.receive_from(FIRST, &first.answer(200, "late", contact, ""));
    assert_eq!(sent_to(&mut bench, "ACK ").0, FIRST);
    let (to, bye) = sent_to(&mut bench, "BYE ");
    assert_eq!(to, FIRST);
    bench.receive_from(FIRST, &bye.response(200, ""));
    bench.quiet();
    bench.receive_from(SECOND, &second.answer(200, "t2", CONTACT, ANSWER));
    bench.expect("ACK ");
    assert!(matches!(bench.event(), Event::Answered { .. }));
}

#[test]
fn dead_servers_together_take_no_longer_than_one() {
    let mut zone = String::new();
    for number in 0..9 {
        zone += &format!("pbx.example A 192.0.2.{}\n", 60 + number);
    }
    let mut bench = named(&zone);
    let start = bench.now;
    bench.act(|agent, now| agent.invite(now, to_name())).unwrap();
    bench.pass(Duration::from_millis(31_999));
    let mut tried: Vec<String> = Vec::new();
    while let Some(sent) = bench.try_sent("INVITE ") {
        tried.push(sent.to.to_string());
    }
    tried.dedup();
    let expected: Vec<String> = (60..66).map(|last| format!("192.0.2.{last}:5060")).collect();
    assert_eq!(tried, expected);
    bench.pass(Duration::from_millis(1));
    assert!(matches!(bench.event(), Event::Failed { status: 408, .. }));
    assert_eq!(bench.now - start, Duration::from_secs(32));
}

#[test]
fn callers_patience_bounds_the_search_for_a_server() {
    let mut bench = named(TWO);
    let invite = Invite { timeout: Duration::from_secs(3), ..to_trunk() };
    bench.act(|agent, now| agent.invite(now, invite)).unwrap();
    bench.pass(Duration::from_secs(3));
    assert!(matches!(bench.event(), Event::Failed { status: 408, .. }));
    bench.pass(Duration::from_secs(60));
    assert!(
        std::iter::from_fn(|| bench.try_sent("INVITE "))
            .all(|sent| { sent.to.to_string() == FIRST })
    );
}

#[test]
fn credentials_go_to_the_server_that_asked_for_them() {
    let zone = "
        _sip._udp.pbx.example SRV 10 1 5060 a.pbx.example
        _sip._udp.pbx.example SRV 10 1 5060 b.pbx.example
        a.pbx.example A 192.0.2.61
        b.pbx.example A 192.0.2.62";
    let mut bench = with(zone, |config| {
        config.trunks[0].username = "acc".into();
        config.trunks[0].password = "pw".into();
    });
    for round in 0..20 {
        bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
        let (to, first) = sent_to(&mut bench, "INVITE ");
        let challenge =
            format!("WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n{round}\", qop=\"auth\"\n");
        bench.receive_from(&to, &first.answer(401, "t1", &challenge, ""));
        bench.expect("ACK ");
        let (again, second) = sent_to(&mut bench, "INVITE ");
        assert_eq!(again, to);
        bench.receive_from(&to, &second.response(603, "t2"));
        bench.expect("ACK ");
        bench.event();
    }
}

#[test]
fn registration_finds_its_server_and_calls_follow_it() {
    let zone = "
        pbx.example NAPTR 10 0 s SIP+D2U _sip._udp.pbx.example
        _sip._udp.pbx.example SRV 10 1 5070 a.pbx.example
        _sip._udp.pbx.example SRV 10 1 5070 b.pbx.example
        a.pbx.example A 192.0.2.61
        b.pbx.example A 192.0.2.62";
    let mut seen = Vec::new();
    for account in 0..12 {
        let mut bench = with(zone, |config| {
            config.trunks[0].register = true;
            config.trunks[0].username = format!("acc{account}");
        });
        // Another gateway takes another server.
        bench.act(|agent, _| {
            (0..account).for_each(|_| _ = agent.stack.random.next_u32());
        });
        bench.pass(Duration::ZERO);
        let (to, register) = sent_to(&mut bench, "REGISTER sip:pbx.example SIP/2.0");
        let contact = register.header("Contact").to_owned();
        assert_eq!(contact, format!("<sip:acc{account}@192.0.2.1:5060>;expires=3600"));
        bench.receive_from(&to, &register.response(200, "r1"));
        bench.event();
        for _ in 0..5 {
            bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
            assert_eq!(sent_to(&mut bench, "INVITE ").0, to);
        }
        seen.push(to);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 2);
}

#[test]
fn registrar_found_over_tcp_is_told_so_in_the_contact() {
    let zone = "
        pbx.example NAPTR 10 0 s SIP+D2T _sip._tcp.pbx.example
        _sip._tcp.pbx.example SRV 10 1 5070 a.pbx.example
        a.pbx.example A 192.0.2.61";
    // The first REGISTER goes out before the name is known.
    let mut bench = Bench::with(|config| {
        config.trunks[0].server = "sip:pbx.example".parse().unwrap();
        config.trunks[0].register = true;
        config.trunks[0].username = "acc".into();
    });
    bench.pass(Duration::ZERO);
    bench.zone = Some(Zone::new(3600, zone));
    let waiting: Vec<Output> = bench.others.drain(..).collect();
    for output in waiting {
        let Output::Resolve { query, question } = output else { panic!("Resolve") };
        let answer = bench.zone.as_ref().unwrap().answer(&question);
        bench.input(Input::Resolved { query, answer });
    }
    let Some(Output::Connect { stream, to, .. }) = bench.others.pop_front() else {
        panic!("Connect")
    };
    assert_eq!(to.to_string(), "192.0.2.61:5070");
    let local = "192.0.2.1:40000".parse().unwrap();
    bench.input(Input::Connected { stream, local });
    let Some(Output::Stream { data, .. }) = bench.others.pop_front() else { panic!("Stream") };
    let text = String::from_utf8(data).unwrap();
    let contact = "Contact: <sip:acc@192.0.2.1:5060;transport=tcp>;expires=3600\r\n";
    assert!(text.contains(contact), "{text}");
    let answer = super::bench::Sent { to, text: text.replace("\r\n", "\n") };
    let granted = "Contact: <sip:acc@192.0.2.1:5060;transport=tcp>;expires=600, \
                   <sip:acc@192.0.2.99>;expires=3600\n";
    let data = super::bench::wire(&answer.answer(200, "r1", granted, ""));
    bench.input(Input::Stream { stream, data: &data });
    assert!(matches!(bench.event(), Event::Trunk { state: TrunkState::Up, .. }));
    // Ours is refreshed in time, not with the other's.
    bench.pass(Duration::from_secs(545));
    assert!(matches!(bench.others.pop_back(), Some(Output::Connect { .. })));
}

#[test]
fn check_of_a_trunk_gets_through_to_the_server_that_lives() {
    let mut bench = with(TWO, |config| config.trunks[0].options = Some(Duration::from_secs(30)));
    bench.pass(Duration::from_secs(6));
    let options = std::iter::from_fn(|| bench.try_sent("OPTIONS ")).last().unwrap();
    assert_eq!(options.to.to_string(), SECOND);
    bench.receive_from(SECOND, &options.response(200, "o1"));
    assert!(matches!(bench.event(), Event::Trunk { state: TrunkState::Up, .. }));
}

#[test]
fn registration_follows_when_its_server_dies() {
    let mut bench = with(TWO, |config| {
        config.trunks[0].options = Some(Duration::from_secs(30));
        config.trunks[0].register = true;
        config.trunks[0].username = "acc".into();
    });
    bench.pass(Duration::ZERO);
    let (to, register) = sent_to(&mut bench, "REGISTER ");
    assert_eq!(to, FIRST);
    bench.receive_from(FIRST, &register.response(200, "r1"));
    bench.pass(Duration::from_secs(1));
    let (to, options) = sent_to(&mut bench, "OPTIONS ");
    assert_eq!(to, FIRST);
    bench.receive_from(FIRST, &options.response(200, "o1"));
    // From here on the first server is dead.
    let options = (0..60).find_map(|_| {
        bench.pass(Duration::from_secs(1));
        bench.try_sent("OPTIONS ").filter(|sent| sent.to.to_string() == SECOND)
    });
    bench.receive_from(SECOND, &options.unwrap().response(200, "o2"));
    bench.pass(Duration::ZERO);
    let (to, register) = sent_to(&mut bench, "REGISTER ");
    assert_eq!(to, SECOND);
    bench.receive_from(SECOND, &register.response(200, "r2"));
    bench.pass(Duration::from_secs(20));
    bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    assert_eq!(sent_to(&mut bench, "INVITE ").0, SECOND);
}

#[test]
fn unknown_name_fails_the_call_with_503() {
    let mut bench = Bench::new();
    bench.zone = Some(Zone::new(60, ""));
    bench.act(|agent, now| agent.invite(now, to_name())).unwrap();
    assert!(matches!(bench.event(), Event::Failed { status: 503, .. }));
    bench.empty();
}

#[test]
fn call_hung_up_during_the_look_up_is_never_sent() {
    let mut bench = Bench::new();
    let call = bench.act(|agent, now| agent.invite(now, to_name())).unwrap();
    let Some(Output::Resolve { query, question }) = bench.others.pop_front() else {
        panic!("Resolve")
    };
    assert_eq!(question.to_string(), "NAPTR pbx.example");
    bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
    bench.input(Input::Resolved { query, answer: Answer::Nothing { ttl: Duration::ZERO } });
    bench.quiet();
    bench.empty();
}

#[test]
fn numeric_trunk_asks_nobody_and_keeps_its_whole_patience() {
    let mut bench = Bench::new();
    bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
    bench.pass(Duration::from_millis(31_999));
    assert_eq!(bench.sent().to.to_string(), PBX);
    assert!(bench.others.is_empty());
    bench.all_sent();
    bench.quiet();
    bench.pass(Duration::from_millis(1));
    assert!(matches!(bench.event(), Event::Failed { status: 408, .. }));
}
