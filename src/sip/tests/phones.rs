//! Registered phones over streams and behind NATs: which way their calls go.

use std::net::SocketAddr;
use std::time::Duration;

use super::bench::{Bench, PHONE, Sent, kept, to_trunk, wire};
use crate::sip::digest::{self, Challenge};
use crate::sip::user_agent::*;
use crate::sip::websocket;

/// What alice's phones send comes out of her router, over TCP from these ports.
const ROUTER: &str = "198.51.100.20";

/// A phone of alice's with one connection.
struct Phone {
    stream: StreamId,
    peer: SocketAddr,
    transport: Transport,
    /// Contact field.
    contact: String,
    /// Between the phone and us.
    proxy: bool,
    number: u32,
}

impl Phone {
    fn new(id: u64, port: u16, contact: &str) -> Self {
        Self {
            stream: StreamId(id),
            peer: SocketAddr::new(ROUTER.parse().unwrap(), port),
            transport: Transport::Tcp,
            contact: contact.to_owned(),
            proxy: false,
            number: 0,
        }
    }

    /// The flow with this `reg-id`.
    fn flow(id: u64, port: u16, reg_id: u32) -> Self {
        let contact = format!(
            "<sip:alice@10.0.0.5:5060;transport=tcp;ob>;reg-id={reg_id};\
             +sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\""
        );
        Self::new(id, port, &contact)
    }

    fn web(id: u64, port: u16) -> Self {
        let contact = "<sip:a7@df7jal23ls0d.invalid;transport=ws>";
        Self { transport: Transport::Ws, ..Self::new(id, port, contact) }
    }

    fn connect(&self, bench: &mut Bench) {
        let listener = if self.transport.is_websocket() { 2 } else { 1 };
        let local = SocketAddr::new([192, 0, 2, 1].into(), 5060);
        let (stream, peer) = (self.stream, self.peer);
        bench.input(Input::Accepted { stream, listener, peer, local });
        if self.transport.is_websocket() {
            // RFC 6455 §1.3, RFC 7118 §4.
            self.raw(
                bench,
                b"GET / HTTP/1.1\r\nHost: b.example\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                  Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n",
            );
            let accepted = self.heard(bench);
            assert!(accepted.text.starts_with("HTTP/1.1 101"), "{}", accepted.text);
        }
    }

    fn raw(&self, bench: &mut Bench, data: &[u8]) {
        bench.input(Input::Stream { stream: self.stream, data });
    }

    fn send(&self, bench: &mut Bench, text: &str) {
        let data = wire(text);
        match self.transport.is_websocket() {
            false => self.raw(bench, &data),
            true => self.raw(bench, &masked(&data)),
        }
    }

    /// The next message on this stream; what went elsewhere before is an error.
    #[track_caller]
    fn heard(&self, bench: &mut Bench) -> Sent {
        let Some(Output::Stream { stream, data }) = bench.others.pop_front() else {
            panic!("nothing sent on stream {}", self.stream.0);
        };
        assert_eq!(stream, self.stream);
        let is_frame = data.first() == Some(&0x81);
        let data = if is_frame { unframed(&data) } else { data };
        let text = String::from_utf8(data).unwrap().replace("\r\n", "\n");
        Sent { to: self.peer, text }
    }

    fn request(&mut self, headers: &str) -> String {
        self.number += 1;
        let (id, number, contact) = (self.stream.0, self.number, &self.contact);
        let transport = self.transport.via();
        let proxy = match self.proxy {
            true => format!("Via: SIP/2.0/TCP 198.51.100.20;branch=z9hG4bKx{number}\n"),
            false => String::new(),
        };
        format!(
            "REGISTER sip:branch.example SIP/2.0\n{proxy}\
             Via: SIP/2.0/{transport} 10.0.0.5;branch=z9hG4bKp{id}n{number};rport\n\
             From: <sip:alice@branch.example>;tag=p1\nTo: <sip:alice@branch.example>\n\
             Call-ID: p{id}@phone\nCSeq: {number} REGISTER\nContact: {contact}\n{headers}\n"
        )
    }

    /// Connected before, it proves who it is.
    fn try_register(&mut self, bench: &mut Bench, headers: &str, algorithm: &str) -> Sent {
        let first = self.request("");
        self.send(bench, &first);
        let refusal = self.heard(bench);
        let challenge = refusal
            .all("WWW-Authenticate")
            .into_iter()
            .map(|text| Challenge::parse(text).unwrap())
            .find(|challenge| format!("{:?}", challenge.algorithm) == algorithm)
            .unwrap();
        let (uri, method) = ("sip:branch.example", "REGISTER".parse().unwrap());
        let proof = digest::answer(&challenge, "alice", "secret", &method, uri, 1, "c");
        let second = self.request(&format!("{headers}Authorization: {proof}\n"));
        self.send(bench, &second);
        self.heard(bench)
    }

    fn register(&mut self, bench: &mut Bench) -> Sent {
        self.connect(bench);
        let ok = self.try_register(bench, "Supported: outbound, path\nExpires: 600\n", "Md5");
        assert!(ok.text.starts_with("SIP/2.0 200"), "{}", ok.text);
        ok
    }

    fn close(&self, bench: &mut Bench) {
        bench.input(Input::Closed { stream: self.stream });
    }
}

/// A text frame of a client (RFC 6455 §5.2).
fn masked(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(message);
    frame
}

fn unframed(frame: &[u8]) -> Vec<u8> {
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    frame[head..].to_vec()
}

fn bench() -> Bench {
    Bench::with(|config| {
        config.listeners.push(Listener { transport: Transport::Ws, ..config.listeners[1].clone() });
        config.limits.streams = 8;
    })
}

fn call_alice(bench: &mut Bench) -> Result<CallId, Refused> {
    let target = Target::User { name: "alice".into() };
    bench.act(|agent, now| agent.invite(now, Invite { target, ..to_trunk() }))
}

fn failure(bench: &mut Bench) -> u16 {
    let all = bench.take_events();
    let found = all.iter().find_map(|event| match event {
        Event::Failed { status, .. } => Some(*status),
        _ => None,
    });
    found.expect("the call failed")
}

#[test]
fn rfc5626_6_flow_is_confirmed_with_require_and_flow_timer() {
    let mut bench = bench();
    let ok = Phone::flow(1, 40001, 1).register(&mut bench);
    assert_eq!(ok.header("Require"), "outbound");
    assert_eq!(ok.header("Flow-Timer"), "90");
    assert!(ok.header("Contact").contains(";reg-id=1;"), "{}", ok.text);
    let plain = Phone::new(3, 40003, "<sip:alice@10.0.0.6:5060;transport=tcp>");
    let ok = { plain }.register(&mut bench);
    assert_eq!(ok.all("Require"), Vec::<&str>::new());
}

#[test]
fn rfc5626_6_outbound_from_behind_a_proxy_is_refused_439_only_if_it_is_required() {
    let mut bench = bench();
    let mut phone = Phone { proxy: true, ..Phone::flow(1, 40001, 1) };
    phone.connect(&mut bench);
    let refused = phone.try_register(&mut bench, "Require: outbound\n", "Md5");
    assert_eq!(refused.line(), "439 First Hop Lacks Outbound Support");
    assert_eq!(bench.agent.contacts("alice"), 0);
    let ok = phone.try_register(&mut bench, "Supported: outbound\n", "Sha256");
    assert_eq!(ok.line(), "200 OK");
    assert_eq!(ok.header("Require"), "");
}

#[test]
fn outbound_over_udp_is_not_granted() {
    let mut bench = bench();
    let register = |number: u32, headers: &str| {
        Phone { number, transport: Transport::Udp, ..Phone::flow(9, 5062, 1) }.request(headers)
    };
    bench.receive_from(PHONE, &register(0, ""));
    let challenge = bench.expect("SIP/2.0 401");
    let challenge = Challenge::parse(challenge.header("WWW-Authenticate")).unwrap();
    let (uri, method) = ("sip:branch.example", "REGISTER".parse().unwrap());
    let mut proved = |number, headers: &str| {
        let proof = digest::answer(&challenge, "alice", "secret", &method, uri, number, "c");
        bench.receive_from(PHONE, &register(number, &format!("{headers}Authorization: {proof}\n")));
        bench.sent()
    };
    let ok = proved(1, "Supported: outbound\n");
    assert_eq!((ok.line().as_str(), ok.header("Require")), ("200 OK", ""));
    let refused = proved(2, "Require: outbound\n");
    assert_eq!(refused.line(), "420 Bad Extension");
    assert_eq!(refused.header("Unsupported"), "outbound");
}

#[test]
fn rfc5626_flows_of_one_phone_ring_one_after_the_other_the_newest_first() {
    let mut bench = bench();
    let mut older = Phone::flow(1, 40001, 1);
    older.register(&mut bench);
    bench.pass(Duration::from_secs(1));
    let mut newer = Phone::flow(3, 40003, 2);
    newer.register(&mut bench);
    assert_eq!(bench.agent.contacts("alice"), 2);
    call_alice(&mut bench).unwrap();
    let first = newer.heard(&mut bench);
    assert!(first.text.starts_with("INVITE sip:alice@10.0.0.5:5060;transport=tcp;ob "));
    assert!(bench.others.is_empty(), "one flow at a time");
    newer.send(&mut bench, &first.response(430, "x"));
    assert!(newer.heard(&mut bench).text.starts_with("ACK "));
    let second = older.heard(&mut bench);
    assert!(second.text.starts_with("INVITE "));
    // A phone that is busy is so over all of its flows.
    older.send(&mut bench, &second.response(486, "y"));
    assert!(older.heard(&mut bench).text.starts_with("ACK "));
    assert_eq!(failure(&mut bench), 486);
}

#[test]
fn flow_that_does_not_answer_gives_way_to_the_next_within_seconds() {
    let mut bench = bench();
    let mut older = Phone::flow(1, 40001, 1);
    older.register(&mut bench);
    bench.pass(Duration::from_secs(1));
    let mut newer = Phone::flow(3, 40003, 2);
    newer.register(&mut bench);
    call_alice(&mut bench).unwrap();
    assert!(newer.heard(&mut bench).text.starts_with("INVITE "));
    bench.pass(Duration::from_millis(5100));
    assert!(older.heard(&mut bench).text.starts_with("INVITE "));
}

#[test]
fn flow_with_the_same_number_takes_the_place_of_the_old_one() {
    let mut bench = bench();
    let mut old = Phone::flow(1, 40001, 1);
    old.register(&mut bench);
    let mut new = Phone::flow(3, 40003, 1);
    new.register(&mut bench);
    assert_eq!(bench.agent.contacts("alice"), 1);
    call_alice(&mut bench).unwrap();
    assert!(new.heard(&mut bench).text.starts_with("INVITE "));
    assert!(bench.others.is_empty());
}

#[test]
fn lost_flow_is_no_contact_any_more_and_not_in_the_answer_to_the_next_register() {
    let mut bench = bench();
    let mut lost = Phone::flow(1, 40001, 1);
    lost.register(&mut bench);
    bench.take_events();
    lost.close(&mut bench);
    let told = bench.take_events();
    assert!(matches!(&told[..], [Event::Bindings { contacts, .. }] if contacts.is_empty()));
    let refused = call_alice(&mut bench).unwrap_err();
    assert_eq!((refused.status, refused.reason.as_str()), (480, "User Offline"));
    let ok = Phone::flow(3, 40003, 2).register(&mut bench);
    assert_eq!(ok.all("Contact").len(), 1);
}

#[test]
fn silent_flow_is_closed_when_its_phone_missed_its_pings() {
    let mut bench = bench();
    let mut dead = Phone::flow(1, 40001, 1);
    let mut alive = Phone::flow(3, 40003, 2);
    dead.register(&mut bench);
    alive.register(&mut bench);
    for _ in 0..3 {
        bench.pass(Duration::from_secs(80));
        alive.raw(&mut bench, b"\r\n\r\n");
    }
    let is_close = |output: &Output| matches!(output, Output::Close { stream } if stream.0 == 1);
    assert!(bench.others.iter().any(is_close));
    let pongs = |output: &&Output| matches!(output, Output::Stream { data, .. } if data == b"\r\n");
    assert_eq!(bench.others.iter().filter(pongs).count(), 3);
    assert_eq!(bench.agent.contacts("alice"), 1);
}

#[test]
fn plain_tcp_phone_is_called_at_its_contact_only_where_no_nat_stands() {
    let mut bench = bench();
    let mut hidden = Phone::new(1, 40001, "<sip:alice@10.0.0.5:5060;transport=tcp>");
    hidden.register(&mut bench);
    hidden.close(&mut bench);
    assert_eq!(bench.agent.contacts("alice"), 1);
    assert_eq!(call_alice(&mut bench).unwrap_err().status, 480);
    let mut open = Phone::new(3, 40003, "<sip:alice@198.51.100.20:5060;transport=tcp>");
    open.register(&mut bench);
    open.close(&mut bench);
    call_alice(&mut bench).unwrap();
    let Some(Output::Connect { to, .. }) = bench.others.pop_front() else { panic!("Connect") };
    assert_eq!(to, "198.51.100.20:5060".parse().unwrap());
}

#[test]
fn rfc7118_contact_under_invalid_is_called_over_its_websocket_and_never_asked_for() {
    let mut bench = bench();
    let mut page = Phone::web(1, 50001);
    page.register(&mut bench);
    let call = call_alice(&mut bench).unwrap();
    let invite = page.heard(&mut bench);
    assert!(invite.text.starts_with("INVITE sip:a7@df7jal23ls0d.invalid;transport=ws "));
    assert!(invite.header("Via").starts_with("SIP/2.0/WS "));
    let contact = "Contact: <sip:a7@df7jal23ls0d.invalid;transport=ws>\n";
    page.send(&mut bench, &invite.answer(200, "u1", contact, ""));
    assert!(page.heard(&mut bench).text.starts_with("ACK sip:a7@df7jal23ls0d.invalid"));
    page.close(&mut bench);
    assert_eq!(bench.agent.contacts("alice"), 0);
    bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
    assert!(bench.others.is_empty(), "{:?}", bench.others);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.agent.usage().calls, 0);
}

#[test]
fn call_of_a_phone_follows_it_to_its_next_connection() {
    for kind in [Phone::web, |id, port| Phone::flow(id, port, 1)] {
        let mut bench = bench();
        let mut phone = kind(1, 50001);
        phone.register(&mut bench);
        let call = call_alice(&mut bench).unwrap();
        let invite = phone.heard(&mut bench);
        let contact = format!("Contact: {}\n", phone.contact);
        phone.send(&mut bench, &invite.answer(200, "u1", &contact, ""));
        phone.heard(&mut bench);
        phone.close(&mut bench);
        let mut phone = kind(3, 50003);
        phone.register(&mut bench);
        bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
        let bye = phone.heard(&mut bench);
        assert!(bye.text.starts_with("BYE "), "{}", bye.text);
    }
}

#[test]
fn websocket_that_answers_no_ping_is_closed() {
    let mut bench = bench();
    let mut page = Phone::web(1, 50001);
    page.register(&mut bench);
    bench.others.clear();
    bench.pass(Duration::from_secs(150));
    let Some(Output::Stream { data, .. }) = bench.others.pop_front() else { panic!("a ping") };
    assert_eq!(data, websocket::pinging());
    bench.pass(Duration::from_secs(120));
    assert_eq!(bench.agent.contacts("alice"), 0);
    assert_eq!(bench.agent.usage().streams, 0);
}

#[test]
fn udp_phones_behind_a_nat_get_an_empty_packet_now_and_then() {
    let mut bench = Bench::with(|config| config.nat.keepalive = Some(Duration::from_secs(30)));
    let hidden = kept("sip:alice@10.0.0.5:5062", PHONE);
    let translated = kept("sip:alice@198.51.100.21", "198.51.100.21:40000");
    let open = kept("sip:alice@198.51.100.22:5060", "198.51.100.22:5060");
    bench.act(|agent, now| agent.restore(now, "alice", vec![hidden, translated, open]));
    bench.pass(Duration::from_secs(61));
    let sent: Vec<_> = std::iter::from_fn(|| bench.try_sent("")).collect();
    assert!(sent.iter().all(|sent| sent.text == "\n\n"));
    let to: Vec<_> = sent.iter().map(|sent| sent.to.to_string()).collect();
    assert_eq!(to, [PHONE, "198.51.100.21:40000", PHONE, "198.51.100.21:40000"]);
    bench.pass(Duration::from_secs(600));
    while bench.try_sent("").is_some() {}
    bench.pass(Duration::from_secs(600));
    assert!(bench.try_sent("").is_none(), "expired phones are left alone");
    assert_eq!(bench.agent.poll_timeout(), None);
}

#[test]
fn connections_of_before_a_restart_are_not_restored_as_phones() {
    let mut bench = bench();
    let web = Binding { transport: Transport::Wss, ..kept("sip:a@x.invalid", "198.51.100.20:4") };
    let flow = Binding {
        transport: Transport::Tcp,
        is_outbound: true,
        ..kept("sip:alice@198.51.100.20:5060;transport=tcp", "198.51.100.20:5060")
    };
    let plain = Binding { is_outbound: false, ..flow.clone() };
    bench.act(|agent, now| agent.restore(now, "alice", vec![web, flow, plain]));
    let told = bench.take_events();
    assert!(matches!(&told[..], [Event::Bindings { contacts, .. }] if contacts.len() == 1));
    assert_eq!(bench.agent.contacts("alice"), 1);
}

#[test]
fn rfc3327_phone_behind_proxies_is_called_through_them() {
    let mut bench = bench();
    let path = ["sip:192.0.2.70:5070;lr", "sip:t1@edge.example;lr;ob"];
    let behind = Binding {
        path: path.map(|proxy| proxy.parse().unwrap()).to_vec(),
        ..kept("sip:alice@10.0.0.5:5062", "192.0.2.71:5060")
    };
    bench.act(|agent, now| agent.restore(now, "alice", vec![behind]));
    call_alice(&mut bench).unwrap();
    let invite = bench.expect("INVITE sip:alice@10.0.0.5:5062 ");
    assert_eq!(invite.to, "192.0.2.70:5070".parse().unwrap());
    assert_eq!(invite.all("Route"), path.map(|proxy| format!("<{proxy}>")));
    bench.receive(&invite.response(486, "u1"));
    bench.expect("ACK ");
    // No pings: whoever keeps the phone's NAT open, it is not us.
    bench.take_events();
    bench.pass(Duration::from_secs(120));
    bench.quiet();
}

/// Alice has phones 1 to `count`, all ring; their INVITEs.
fn ringing(bench: &mut Bench, count: u8) -> Vec<Sent> {
    let phone =
        |number| kept(&format!("sip:alice@10.0.0.{number}"), &format!("198.51.100.{number}:5060"));
    let all = (1..=count).map(phone).collect();
    bench.act(|agent, now| agent.restore(now, "alice", all));
    call_alice(bench).unwrap();
    (0..count).map(|_| bench.expect("INVITE ")).collect()
}

#[test]
fn rfc3326_phones_that_lose_hear_that_somebody_else_answered() {
    let mut bench = Bench::new();
    let invites = ringing(&mut bench, 3);
    bench.receive(&invites[0].response(180, "u1"));
    bench.receive(&invites[2].answer(200, "u3", "Contact: <sip:c@10.0.0.3>\n", ""));
    let cancel = bench.try_sent("CANCEL ").unwrap();
    assert_eq!(cancel.branch(), invites[0].branch());
    assert_eq!(cancel.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"");
    // One that was silent so far hears it when it rings (RFC 3261 §9.1).
    bench.receive(&invites[1].response(180, "u2"));
    let cancel = bench.try_sent("CANCEL ").unwrap();
    assert_eq!(cancel.branch(), invites[1].branch());
    assert_ne!(cancel.header("Reason"), "");
}

#[test]
fn call_given_up_is_not_called_completed_elsewhere() {
    let mut bench = Bench::new();
    let target = Target::User { name: "alice".into() };
    bench.act(|agent, now| agent.restore(now, "alice", vec![kept("sip:a@10.0.0.1", PHONE)]));
    let call = bench.act(|agent, now| agent.invite(now, Invite { target, ..to_trunk() })).unwrap();
    let invite = bench.expect("INVITE ");
    bench.receive_from(PHONE, &invite.response(180, "u1"));
    bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
    assert_eq!(bench.expect("CANCEL ").header("Reason"), "");
}

#[test]
fn rfc3261_16_7_best_refusal_of_several_phones_is_reported() {
    // Of 4xx what a person did counts more than what a phone lacks; a 6xx ends it all.
    for (refusals, best) in [
        ([404, 486, 480], 486),
        ([401, 480, 407], 480),
        ([500, 404, 503], 404),
        ([503, 500, 504], 503),
        ([401, 401, 407], 401),
        ([408, 302, 486], 302),
        ([486, 404, 603], 603),
    ] {
        let mut bench = Bench::new();
        let invites = ringing(&mut bench, 3);
        for (invite, status) in invites.iter().zip(refusals) {
            bench.receive(&invite.response(status, "u"));
        }
        assert_eq!(failure(&mut bench), best, "{refusals:?}");
    }
}

#[test]
fn phone_behind_a_nat_that_registers_from_another_port_moves_its_binding_and_its_calls() {
    let mut bench = Bench::new();
    let mut number = 0;
    let mut register = |bench: &mut Bench, from: &str| {
        number += 1;
        let text = |headers: &str, number: u32| {
            Phone { number, transport: Transport::Udp, ..Phone::new(1, 0, "<sip:a@10.0.0.5:5062>") }
                .request(headers)
        };
        bench.receive_from(from, &text("", 2 * number));
        let challenge = bench.try_sent("SIP/2.0 401").unwrap();
        let challenge = Challenge::parse(challenge.header("WWW-Authenticate")).unwrap();
        let (uri, method) = ("sip:branch.example", "REGISTER".parse().unwrap());
        let proof = digest::answer(&challenge, "alice", "secret", &method, uri, 1, "c");
        bench.receive_from(from, &text(&format!("Authorization: {proof}\n"), 2 * number + 1));
        bench.expect("SIP/2.0 200");
    };
    register(&mut bench, PHONE);
    let call = call_alice(&mut bench).unwrap();
    let invite = bench.expect("INVITE ");
    bench.receive_from(PHONE, &invite.answer(200, "u1", "Contact: <sip:a@10.0.0.5:5062>\n", ""));
    assert_eq!(bench.expect("ACK ").to, PHONE.parse().unwrap());
    register(&mut bench, "198.51.100.20:61000");
    assert_eq!(bench.agent.contacts("alice"), 1);
    bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
    assert_eq!(bench.expect("BYE ").to, "198.51.100.20:61000".parse().unwrap());
}

#[test]
fn peers_inside_are_told_our_own_address_and_those_outside_the_public_one() {
    let address_in = |config: fn(&mut Config), phone: &str| {
        let mut bench = Bench::with(|all| {
            all.public_address = "203.0.113.1".into();
            config(all);
        });
        let mut network = kept("sip:alice@10.0.0.1", phone);
        network.contact.host = network.source.ip().to_string();
        bench.act(|agent, now| agent.restore(now, "alice", vec![network]));
        let target = Target::User { name: "alice".into() };
        let sdp = bench.agent.local_ip_for(&target).to_string();
        call_alice(&mut bench).unwrap();
        let invite = bench.expect("INVITE ");
        assert!(invite.header("Via").contains(&format!(" {sdp}:5060")), "{}", invite.text);
        assert!(invite.header("Contact").contains(&format!("@{sdp}:5060")), "{}", invite.text);
        sdp
    };
    let lists = |config: &mut Config| {
        config.nat.local_networks = vec![Network { address: [198, 51, 100, 0].into(), prefix: 24 }];
    };
    let is_private: fn(&mut Config) = |config| config.public_address = "10.9.9.9".into();
    assert_eq!(address_in(|_| {}, "198.51.100.20:5060"), "203.0.113.1");
    assert_eq!(address_in(|_| {}, "10.0.0.5:5060"), "192.0.2.1");
    assert_eq!(address_in(|_| {}, "100.64.0.5:5060"), "192.0.2.1");
    assert_eq!(address_in(lists, "198.51.100.20:5060"), "192.0.2.1");
    assert_eq!(address_in(lists, "10.0.0.5:5060"), "203.0.113.1");
    assert_eq!(address_in(is_private, "10.0.0.5:5060"), "10.9.9.9");
}
