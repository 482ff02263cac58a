//! RFC 3263's own examples, and what it leaves open, against a zone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::names::Claim;
use super::*;
use crate::dns::Answer;
use crate::dns::zone::Zone;
use crate::random::Random;
use crate::sip::message::{Message, Method};
use crate::sip::name_addr::NameAddr;
use crate::sip::outgoing::{Outgoing, Owner};
use crate::sip::user_agent::Transport;

struct Bench {
    now: Instant,
    names: Names,
    zone: Zone,
    random: Random,
    /// Asked so far.
    asked: Vec<String>,
}

const BOTH: Abilities = Abilities { has_ipv4: true, has_ipv6: true, has_udp: true };
const IPV4: Abilities = Abilities { has_ipv4: true, has_ipv6: false, has_udp: true };

impl Bench {
    fn new(abilities: Abilities, zone: &str) -> Self {
        Self {
            now: Instant::now(),
            names: Names::new(abilities),
            zone: Zone::new(60, zone),
            random: Random::seeded(1),
            asked: Vec::new(),
        }
    }

    /// Where a request to this URI goes, `udp 192.0.2.1:5060`, best first.
    fn targets(&mut self, uri: &str) -> Vec<String> {
        let outgoing = request(uri);
        let mut found = self.names.locate(self.now, &mut self.random, outgoing);
        loop {
            match found {
                Located::Found(outgoing) => {
                    return outgoing.targets.iter().map(text).collect();
                }
                Located::Nowhere(_) => return Vec::new(),
                Located::Waiting => {
                    let mut ready = self.answer();
                    let outgoing = ready.pop().expect("the request goes on");
                    found = self.names.locate(self.now, &mut self.random, outgoing);
                }
            }
        }
    }

    /// Answers all open questions.
    #[expect(clippy::vec_box, reason = "as they come")]
    fn answer(&mut self) -> Vec<Box<Outgoing>> {
        let mut ready = Vec::new();
        while let Some((number, question)) = self.names.poll_question() {
            self.asked.push(question.to_string());
            let answer = self.zone.answer(&question);
            ready.extend(self.names.resolved(self.now, number, answer));
        }
        ready
    }

    fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }

    /// Lets time pass while watched names are followed.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(next) = self.names.poll_timeout().filter(|next| *next <= end) {
            self.now = next;
            self.names.handle_timeout(self.now);
            self.answer();
        }
        self.now = end;
    }

    fn watch(&mut self, uri: &str) {
        self.names.watch(self.now, vec![hop(uri)]);
        self.answer();
    }

    fn claim(&self, uri: &str, address: &str) -> Option<bool> {
        let claim = self.names.claim(&hop(uri), address.parse().unwrap());
        claim.map(|Claim { is_server }| is_server)
    }
}

fn hop(uri: &str) -> Hop {
    Hop::of(&uri.parse().unwrap()).unwrap()
}

fn request(uri: &str) -> Box<Outgoing> {
    let hop = hop(uri);
    let uri: crate::sip::uri::Uri = uri.parse().unwrap();
    let name = NameAddr::new(uri.clone());
    let request = Message::request(Method::Options, uri, name.clone(), name, "c".into(), 1);
    Outgoing::new(request, hop, Owner::Nobody)
}

fn text(target: &Target) -> String {
    format!("{} {}", target.transport, target.address)
}

/// §4.1 and §4.2, with addresses.
const EXAMPLE: &str = "
    example.com NAPTR 50 50 s SIPS+D2T _sips._tcp.example.com.
    example.com NAPTR 90 50 s SIP+D2T _sip._tcp.example.com
    example.com NAPTR 100 50 s SIP+D2U _sip._udp.example.com.
    _sips._tcp.example.com SRV 0 1 5061 server1.example.com
    _sip._tcp.example.com SRV 0 1 5060 server1.example.com
    _sip._tcp.example.com SRV 1 2 5060 server2.example.com
    _sip._udp.example.com SRV 0 1 5060 server2.example.com
    server1.example.com A 192.0.2.1
    server2.example.com A 192.0.2.2";

#[test]
fn rfc_3263_4_1_naptr_order_decides_the_transport() {
    let mut bench = Bench::new(IPV4, EXAMPLE);
    let targets = bench.targets("sip:user@example.com");
    let expected =
        ["tls 192.0.2.1:5061", "tcp 192.0.2.1:5060", "tcp 192.0.2.2:5060", "udp 192.0.2.2:5060"];
    assert_eq!(targets, expected);
    let mut asked = bench.asked();
    asked.sort();
    let expected = [
        "A server1.example.com",
        "A server2.example.com",
        "NAPTR example.com",
        "SRV _sip._tcp.example.com",
        "SRV _sip._udp.example.com",
        "SRV _sips._tcp.example.com",
    ];
    assert_eq!(asked, expected);
    // All of it is known now.
    bench.targets("sip:user@EXAMPLE.com");
    assert_eq!(bench.asked(), Vec::<String>::new());
}

#[test]
fn rfc_3263_4_1_sips_takes_secure_services_only() {
    let mut bench = Bench::new(IPV4, EXAMPLE);
    assert_eq!(bench.targets("sips:user@example.com"), ["tls 192.0.2.1:5061"]);
}

#[test]
fn rfc_3263_4_1_explicit_transport_skips_naptr_and_explicit_port_srv_too() {
    let mut bench = Bench::new(IPV4, EXAMPLE);
    let targets = bench.targets("sip:example.com;transport=udp");
    assert_eq!(targets, ["udp 192.0.2.2:5060"]);
    assert_eq!(bench.asked(), ["SRV _sip._udp.example.com", "A server2.example.com"]);
    assert_eq!(bench.targets("sip:server1.example.com:5070"), ["udp 192.0.2.1:5070"]);
    assert_eq!(bench.asked(), ["A server1.example.com"]);
    assert_eq!(bench.targets("sips:server2.example.com:5070"), ["tls 192.0.2.2:5070"]);
    let targets = bench.targets("sip:server2.example.com:5070;transport=tcp");
    assert_eq!(targets, ["tcp 192.0.2.2:5070"]);
}

#[test]
fn rfc_3263_4_1_numeric_host_asks_nothing() {
    let mut bench = Bench::new(IPV4, "");
    assert_eq!(bench.targets("sip:192.0.2.9"), ["udp 192.0.2.9:5060"]);
    assert_eq!(bench.targets("sip:[2001:db8::9]:5070"), ["udp [2001:db8::9]:5070"]);
    assert_eq!(bench.targets("sips:192.0.2.9"), ["tls 192.0.2.9:5061"]);
    assert!(bench.asked().is_empty());
}

#[test]
fn rfc_3263_4_1_without_naptr_each_transport_is_asked_for() {
    let zone = "
        _sip._tcp.example.com SRV 0 0 5070 a.example.com
        a.example.com A 192.0.2.1";
    let mut bench = Bench::new(IPV4, zone);
    assert_eq!(bench.targets("sip:example.com"), ["tcp 192.0.2.1:5070"]);
    let expected = [
        "NAPTR example.com",
        "SRV _sip._udp.example.com",
        "SRV _sip._tcp.example.com",
        "SRV _sips._tcp.example.com",
        "A a.example.com",
    ];
    assert_eq!(bench.asked(), expected);
}

#[test]
fn rfc_3263_4_2_without_any_service_the_host_itself_is_asked_for() {
    let zone = "
        pbx.example A 192.0.2.1
        pbx.example A 192.0.2.2
        pbx.example AAAA 2001:db8::1";
    let mut bench = Bench::new(BOTH, zone);
    let targets = bench.targets("sip:pbx.example");
    assert_eq!(targets, ["udp 192.0.2.1:5060", "udp 192.0.2.2:5060", "udp [2001:db8::1]:5060"]);
    assert_eq!(bench.targets("sips:pbx.example")[0], "tls 192.0.2.1:5061");
    assert_eq!(bench.targets("sip:pbx.example;transport=tcp")[0], "tcp 192.0.2.1:5060");
    // No IPv6 socket, no IPv6 target.
    let mut bench = Bench::new(IPV4, zone);
    assert_eq!(bench.targets("sip:pbx.example").len(), 2);
    assert!(!bench.asked().iter().any(|question| question.starts_with("AAAA")));
}

#[test]
fn naptr_records_of_others_are_passed_over() {
    let zone = "
        example.com NAPTR 10 50 u E2U+sip _sip._tls.example.com
        example.com NAPTR 20 50 s SIP+D2S _sip._sctp.example.com
        example.com NAPTR 30 60 S sip+d2t _sip._tcp.example.com
        example.com NAPTR 30 50 s SIP+D2U _sip._udp.other.example
        _sip._udp.other.example SRV 0 0 5080 192-0-2-8.example
        _sip._tcp.example.com SRV 0 0 5070 a.example.com
        192-0-2-8.example A 192.0.2.8
        a.example.com A 192.0.2.1";
    let mut bench = Bench::new(IPV4, zone);
    let targets = bench.targets("sip:example.com");
    assert_eq!(targets, ["udp 192.0.2.8:5080", "tcp 192.0.2.1:5070"]);
}

#[test]
fn service_that_is_decidedly_not_there_is_nowhere() {
    let zone = "
        _sip._udp.example.com SRV 0 0 0 .
        example.com A 192.0.2.1";
    let mut bench = Bench::new(IPV4, zone);
    assert!(bench.targets("sip:example.com").is_empty());
    assert!(bench.targets("sip:nowhere.example").is_empty());
}

#[test]
fn servers_come_by_priority_and_weight() {
    let zone = "
        _sip._udp.example.com SRV 10 300 5060 a.example.com
        _sip._udp.example.com SRV 10 100 5060 b.example.com
        _sip._udp.example.com SRV 20 0 5060 c.example.com
        a.example.com A 192.0.2.1
        b.example.com A 192.0.2.2
        c.example.com A 192.0.2.3";
    let mut bench = Bench::new(IPV4, zone);
    let mut first = 0;
    for _ in 0..1000 {
        let targets = bench.targets("sip:example.com;transport=udp");
        assert_eq!(targets[2], "udp 192.0.2.3:5060");
        first += usize::from(targets[0] == "udp 192.0.2.1:5060");
    }
    // 301 of 401.
    assert!((700..800).contains(&first), "{first}");
}

#[test]
fn targets_of_one_request_are_bounded() {
    let mut zone = String::new();
    for number in 0..60 {
        zone += &format!("_sip._udp.example.com SRV 0 0 5060 h{number}.example.com\n");
        zone += &format!("h{number}.example.com A 192.0.2.{number}\n");
    }
    let mut bench = Bench::new(IPV4, &zone);
    assert_eq!(bench.targets("sip:example.com").len(), 6);
    // NAPTR, three services, 16 servers.
    assert_eq!(bench.asked().len(), 1 + 3 + 16);
}

#[test]
fn records_are_asked_for_again_when_they_have_expired() {
    let mut bench = Bench::new(IPV4, "pbx.example A 192.0.2.1");
    bench.targets("sip:pbx.example:5060");
    bench.now += Duration::from_secs(59);
    bench.targets("sip:pbx.example:5060");
    assert_eq!(bench.asked().len(), 1);
    bench.zone = Zone::new(60, "pbx.example A 192.0.2.2");
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.targets("sip:pbx.example:5060"), ["udp 192.0.2.2:5060"]);
    assert_eq!(bench.asked().len(), 1);
}

#[test]
fn silent_servers_leave_what_was_known() {
    let mut bench = Bench::new(IPV4, "pbx.example A 192.0.2.1");
    bench.targets("sip:pbx.example:5060");
    bench.asked();
    bench.now += Duration::from_secs(3600);
    bench.zone = Zone::new(60, "pbx.example A silent");
    for _ in 0..10 {
        assert_eq!(bench.targets("sip:pbx.example:5060"), ["udp 192.0.2.1:5060"]);
    }
    assert_eq!(bench.asked().len(), 1);
    // Half a minute later it is used at once, and asked for beside that.
    bench.now += Duration::from_secs(30);
    let outgoing = request("sip:pbx.example:5060");
    let found = bench.names.locate(bench.now, &mut bench.random, outgoing);
    assert!(matches!(found, Located::Found(_)));
    bench.zone = Zone::new(60, "pbx.example A 192.0.2.2");
    bench.answer();
    assert_eq!(bench.targets("sip:pbx.example:5060"), ["udp 192.0.2.2:5060"]);
}

#[test]
fn silence_about_services_leads_to_the_host_and_about_all_to_nowhere() {
    // As behind a router whose DNS proxy knows addresses only.
    let zone = "
        pbx.example NAPTR silent
        _sip._udp.pbx.example SRV silent
        _sip._tcp.pbx.example SRV silent
        _sips._tcp.pbx.example SRV silent
        pbx.example A 192.0.2.1";
    let mut bench = Bench::new(IPV4, zone);
    assert_eq!(bench.targets("sip:pbx.example"), ["udp 192.0.2.1:5060"]);
    let mut bench = Bench::new(IPV4, "pbx.example A silent");
    assert!(bench.targets("sip:pbx.example").is_empty());
    let before = bench.asked().len();
    // For a moment nobody is asked again.
    assert!(bench.targets("sip:pbx.example").is_empty());
    assert_eq!((before, bench.asked().len()), (5, 0));
}

#[test]
fn answers_that_hold_for_no_time_are_good_for_their_request() {
    let mut bench = Bench::new(IPV4, EXAMPLE);
    bench.zone.ttl = Duration::ZERO;
    let found = bench.names.locate(bench.now, &mut bench.random, request("sip:example.com"));
    assert!(matches!(found, Located::Waiting));
    for _ in 0..3 {
        // Each answer takes longer than the last one holds.
        bench.now += Duration::from_secs(8);
        let outgoing = bench.answer().pop().unwrap();
        match bench.names.locate(bench.now, &mut bench.random, outgoing) {
            Located::Waiting => {}
            Located::Found(outgoing) => return assert_eq!(outgoing.targets.len(), 4),
            Located::Nowhere(_) => panic!("it is there"),
        }
    }
    panic!("it is found");
}

#[test]
fn questions_and_requests_that_wait_are_bounded() {
    let mut bench = Bench::new(IPV4, "");
    let mut refused = 0;
    for number in 0..1000 {
        let uri = format!("sip:h{number}.example");
        let found = bench.names.locate(bench.now, &mut bench.random, request(&uri));
        refused += usize::from(matches!(found, Located::Nowhere(_)));
    }
    assert_eq!((bench.names.open_questions(), refused), (64, 1000 - 64));
    for _ in 0..1000 {
        let outgoing = request("sip:h0.example");
        let found = bench.names.locate(bench.now, &mut bench.random, outgoing);
        refused += usize::from(matches!(found, Located::Nowhere(_)));
    }
    assert_eq!(refused, 2000 - 256);
    // The world answers, and all of them go on.
    assert_eq!(bench.answer().len(), 256);
    assert_eq!(bench.names.open_questions(), 0);
}

#[test]
fn answer_to_no_question_changes_nothing() {
    let mut bench = Bench::new(IPV4, "");
    assert!(bench.names.resolved(bench.now, 7, Answer::Failed).is_empty());
}

#[test]
fn watched_name_is_followed_and_known_before_it_is_needed() {
    let uri = "sip:example.com";
    let mut bench = Bench::new(IPV4, EXAMPLE);
    bench.watch(uri);
    assert_eq!(bench.claim(uri, "192.0.2.1:5060"), Some(true));
    assert_eq!(bench.claim(uri, "192.0.2.2:40000"), Some(false));
    assert_eq!(bench.claim(uri, "203.0.113.66:5060"), None);
    bench.asked();
    // A call finds all of it known, at any time.
    for _ in 0..10 {
        bench.pass(30);
        let outgoing = request(uri);
        let found = bench.names.locate(bench.now, &mut bench.random, outgoing);
        assert!(matches!(found, Located::Found(_)));
    }
    // Six records a minute, for five minutes.
    let asked = bench.asked().len();
    assert!((30..=36).contains(&asked), "{asked}");

    // The peer moves: the old address counts for another hour.
    let moved = EXAMPLE.replace("192.0.2.1", "192.0.2.11");
    bench.zone = Zone::new(60, &moved);
    bench.pass(120);
    assert_eq!(bench.claim(uri, "192.0.2.11:5060"), Some(true));
    assert_eq!(bench.claim(uri, "192.0.2.1:5060"), Some(true));
    bench.pass(3600);
    assert_eq!(bench.claim(uri, "192.0.2.1:5060"), None);

    // Without servers it stays as it was.
    let silent = "example.com NAPTR silent\n server1.example.com A silent";
    bench.zone = Zone::new(60, silent);
    bench.pass(7200);
    assert_eq!(bench.claim(uri, "192.0.2.11:5060"), Some(true));

    bench.names.watch(bench.now, Vec::new());
    assert_eq!(bench.names.poll_timeout(), None);
    assert_eq!(bench.claim(uri, "192.0.2.11:5060"), None);
}

#[test]
fn watching_without_servers_is_patient() {
    let mut bench = Bench::new(IPV4, "pbx.example A silent");
    bench.watch("sip:pbx.example:5060");
    bench.asked();
    bench.pass(3000);
    let asked = bench.asked().len();
    assert!((90..=101).contains(&asked), "{asked}");
}

#[test]
fn shunned_target_comes_last_and_the_preferred_one_first() {
    let zone = "
        pbx.example A 192.0.2.1
        pbx.example A 192.0.2.2
        pbx.example A 192.0.2.3";
    let uri = "sip:pbx.example";
    let mut bench = Bench::new(IPV4, zone);
    let target = |last: u8| Target {
        transport: Transport::Udp,
        address: SocketAddr::new([192, 0, 2, last].into(), 5060),
    };
    let last_bytes = |bench: &mut Bench| -> Vec<char> {
        let targets = bench.targets(uri);
        targets.iter().filter_map(|text| text.split(':').next()?.chars().last()).collect()
    };
    bench.watch(uri);
    bench.names.shun(bench.now, target(1), None);
    assert_eq!(last_bytes(&mut bench), ['2', '3', '1']);
    bench.names.prefer(&hop(uri), target(3));
    assert_eq!(last_bytes(&mut bench), ['3', '2', '1']);
    bench.names.shun(bench.now, target(3), None);
    assert_eq!(last_bytes(&mut bench), ['2', '3', '1']);
    bench.names.forgive(target(3));
    assert_eq!(last_bytes(&mut bench), ['3', '2', '1']);
    bench.pass(30);
    assert_eq!(last_bytes(&mut bench), ['3', '1', '2']);
    // Whoever asked a request for credentials gets them.
    let mut outgoing = request(uri);
    outgoing.tried = Some(target(2));
    let Located::Found(outgoing) = bench.names.locate(bench.now, &mut bench.random, outgoing)
    else {
        panic!("it is known")
    };
    assert_eq!(outgoing.targets.front(), Some(&target(2)));
}
