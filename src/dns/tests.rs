//! One exchange with servers that are slow, dead, wrong or hostile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use simple_dns::rdata::{A, AAAA, CNAME, NAPTR, RData, SOA, SRV};
use simple_dns::{CLASS, CharacterString, Name, Packet, PacketFlag, RCODE, ResourceRecord};

use super::exchange::{Exchange, Input, Output, Over};
use super::*;
use crate::random::Random;

struct Bench {
    now: Instant,
    exchange: Exchange,
}

/// A query that was sent.
struct Sent {
    server: SocketAddr,
    over: Over,
    data: Vec<u8>,
}

fn servers(count: u8) -> Vec<SocketAddr> {
    (1..=count).map(|last| SocketAddr::new([192, 0, 2, last].into(), PORT)).collect()
}

impl Bench {
    fn new(name: &str, kind: Kind, count: u8) -> Self {
        Self::with_seed(name, kind, count, 1)
    }

    fn with_seed(name: &str, kind: Kind, count: u8, seed: u64) -> Self {
        let now = Instant::now();
        let settings = Settings { servers: Vec::new(), patience: PATIENCE, attempts: 2 };
        let question = Question::new(name, kind);
        let random = Random::seeded(seed);
        Self { now, exchange: Exchange::new(now, question, servers(count), &settings, random) }
    }

    #[track_caller]
    fn sent(&mut self) -> Sent {
        match self.exchange.poll_output() {
            Some(Output::Ask { server, over, data }) => Sent { server, over, data },
            other => panic!("a query expected: {other:?}"),
        }
    }

    #[track_caller]
    fn done(&mut self) -> Answer {
        match self.exchange.poll_output() {
            Some(Output::Done(answer)) => answer,
            other => panic!("an answer expected: {other:?}"),
        }
    }

    fn receive(&mut self, sent: &Sent, data: &[u8]) {
        let input = Input::Message { from: sent.server, over: sent.over, data };
        self.exchange.handle_input(self.now, input);
    }

    fn answer(&mut self, sent: &Sent, records: Vec<ResourceRecord<'_>>) {
        let data = reply(sent, |packet| packet.answers = records);
        self.receive(sent, &data);
    }

    fn wait(&mut self) {
        self.now = self.exchange.poll_timeout().expect("an answer is waited for");
        self.exchange.handle_input(self.now, Input::Timeout);
    }

    fn is_waiting(&mut self) -> bool {
        self.exchange.poll_output().is_none() && self.exchange.poll_timeout().is_some()
    }
}

/// A server's message to a query, changed as said.
fn reply<'a>(sent: &'a Sent, change: impl FnOnce(&mut Packet<'a>)) -> Vec<u8> {
    let mut packet = Packet::parse(&sent.data).unwrap().into_reply();
    *packet.opt_mut() = None;
    change(&mut packet);
    packet.build_bytes_vec_compressed().unwrap()
}

fn record<'a>(name: &'a str, ttl: u32, data: RData<'a>) -> ResourceRecord<'a> {
    ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, ttl, data)
}

fn a(address: [u8; 4]) -> RData<'static> {
    RData::A(A { address: u32::from_be_bytes(address) })
}

fn cname(target: &str) -> RData<'_> {
    RData::CNAME(CNAME(Name::new(target).unwrap()))
}

fn soa(minimum: u32) -> RData<'static> {
    let name = Name::new("ns.example").unwrap();
    let rname = name.clone();
    RData::SOA(SOA { mname: name, rname, serial: 1, refresh: 1, retry: 1, expire: 1, minimum })
}

fn address(text: &str, ttl: u64) -> Answer {
    let records = vec![Record::Address(text.parse().unwrap())];
    Answer::Records { records, ttl: Duration::from_secs(ttl) }
}

#[test]
fn answer_has_its_records_and_the_least_time_to_live() {
    let mut bench = Bench::new("PBX.example.", Kind::A, 1);
    let sent = bench.sent();
    assert_eq!((sent.server, sent.over), (servers(1)[0], Over::Udp));
    let packet = Packet::parse(&sent.data).unwrap();
    assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED));
    assert_eq!(packet.questions.len(), 1);
    assert!(packet.questions[0].qname.to_string().eq_ignore_ascii_case("pbx.example"));
    assert_eq!(packet.opt().map(|opt| opt.udp_packet_size), Some(1232));
    let records = vec![
        record("pbx.example", 300, a([192, 0, 2, 10])),
        record("pbx.example", 60, a([192, 0, 2, 11])),
        // Not asked for.
        record("other.example", 1, a([203, 0, 113, 66])),
    ];
    bench.answer(&sent, records);
    let records = ["192.0.2.10", "192.0.2.11"].map(|ip| Record::Address(ip.parse().unwrap()));
    let ttl = Duration::from_secs(60);
    assert_eq!(bench.done(), Answer::Records { records: records.to_vec(), ttl });
    assert_eq!(bench.exchange.poll_timeout(), None);
}

#[test]
fn services_are_read() {
    let mut bench = Bench::new("_sip._udp.example.com", Kind::Srv, 1);
    let sent = bench.sent();
    let target = Name::new("Server1.example.com").unwrap();
    let srv = RData::SRV(SRV { priority: 0, weight: 1, port: 5060, target });
    bench.answer(&sent, vec![record("_sip._udp.example.com", 60, srv)]);
    let target = "server1.example.com".to_owned();
    let srv = Record::Srv(Srv { priority: 0, weight: 1, port: 5060, target });
    let ttl = Duration::from_secs(60);
    assert_eq!(bench.done(), Answer::Records { records: vec![srv], ttl });

    let mut bench = Bench::new("example.com", Kind::Naptr, 1);
    let sent = bench.sent();
    let word = |text: &'static str| CharacterString::new(text.as_bytes()).unwrap();
    let naptr = |regexp| {
        RData::NAPTR(NAPTR {
            order: 50,
            preference: 50,
            flags: word("s"),
            services: word("SIPS+D2T"),
            regexp: word(regexp),
            replacement: Name::new("_sips._tcp.example.com").unwrap(),
        })
    };
    let enum_rule = "!^.*$!sip:x@example.com!";
    let records =
        vec![record("example.com", 60, naptr("")), record("example.com", 60, naptr(enum_rule))];
    bench.answer(&sent, records);
    let naptr = Record::Naptr(Naptr {
        order: 50,
        preference: 50,
        flags: "s".into(),
        service: "SIPS+D2T".into(),
        replacement: "_sips._tcp.example.com".into(),
    });
    assert_eq!(bench.done(), Answer::Records { records: vec![naptr], ttl });
}

#[test]
fn ipv6_addresses_are_read() {
    let mut bench = Bench::new("pbx.example", Kind::Aaaa, 1);
    let sent = bench.sent();
    let address_6: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let data = RData::AAAA(AAAA { address: address_6.to_bits() });
    bench.answer(&sent, vec![record("pbx.example", 9, data)]);
    assert_eq!(bench.done(), address("2001:db8::1", 9));
}

#[test]
fn aliases_are_followed_within_an_answer_and_over_several() {
    let mut bench = Bench::new("pbx.example", Kind::A, 1);
    let sent = bench.sent();
    // In any order.
    let records = vec![
        record("c.example", 60, a([192, 0, 2, 10])),
        record("b.example", 20, cname("c.example")),
        record("pbx.example", 60, cname("b.example")),
    ];
    bench.answer(&sent, records);
    assert_eq!(bench.done(), address("192.0.2.10", 20));

    let mut bench = Bench::new("pbx.example", Kind::A, 1);
    let sent = bench.sent();
    bench.answer(&sent, vec![record("pbx.example", 10, cname("far.example"))]);
    let sent = bench.sent();
    let asked = Packet::parse(&sent.data).unwrap().questions[0].qname.to_string();
    assert!(asked.eq_ignore_ascii_case("far.example"), "{asked}");
    bench.answer(&sent, vec![record("far.example", 60, a([192, 0, 2, 10]))]);
    assert_eq!(bench.done(), address("192.0.2.10", 10));
}

#[test]
fn aliases_in_a_ring_come_to_an_end() {
    let mut bench = Bench::new("a.example", Kind::A, 1);
    let sent = bench.sent();
    let ring = || {
        vec![
            record("a.example", 60, cname("b.example")),
            record("b.example", 60, cname("a.example")),
        ]
    };
    bench.answer(&sent, ring());
    // Taken as a refusal: once more, in the plain form.
    let sent = bench.sent();
    bench.answer(&sent, ring());
    assert_eq!(bench.done(), Answer::Failed);

    // One alias at a time.
    let mut bench = Bench::new("a0.example", Kind::A, 1);
    for number in 0..=8 {
        let sent = bench.sent();
        let (from, to) = (format!("a{number}.example"), format!("a{}.example", number + 1));
        bench.answer(&sent, vec![record(&from, 60, cname(&to))]);
    }
    assert_eq!(bench.done(), Answer::Failed);
}

#[test]
fn negative_answer_holds_as_long_as_its_soa_says() {
    for (rcode, ttl, minimum, expected) in
        [(RCODE::NameError, 300, 60, 60), (RCODE::NoError, 30, 600, 30)]
    {
        let mut bench = Bench::new("none.example", Kind::A, 1);
        let sent = bench.sent();
        let data = reply(&sent, |packet| {
            *packet.rcode_mut() = rcode;
            packet.name_servers.push(record("example", ttl, soa(minimum)));
        });
        bench.receive(&sent, &data);
        assert_eq!(bench.done(), Answer::Nothing { ttl: Duration::from_secs(expected) });
    }
    let mut bench = Bench::new("none.example", Kind::A, 1);
    let sent = bench.sent();
    bench.answer(&sent, Vec::new());
    assert_eq!(bench.done(), Answer::Nothing { ttl: Duration::ZERO });
}

#[test]
fn silent_servers_are_asked_in_turn_twice_and_then_given_up() {
    let mut bench = Bench::new("pbx.example", Kind::A, 2);
    let start = bench.now;
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(bench.sent().server);
        bench.wait();
    }
    let [first, second] = servers(2)[..] else { panic!("two servers") };
    assert_eq!(asked, [first, second, first, second]);
    assert_eq!(bench.done(), Answer::Failed);
    assert_eq!(bench.now - start, PATIENCE * 4);
    assert_eq!(bench.exchange.silent(), asked);
}

#[test]
fn server_that_refuses_or_is_not_there_gives_way_at_once() {
    let mut bench = Bench::new("pbx.example", Kind::A, 3);
    let sent = bench.sent();
    let data = reply(&sent, |packet| *packet.rcode_mut() = RCODE::ServerFailure);
    bench.receive(&sent, &data);
    bench.sent();
    bench.exchange.handle_input(bench.now, Input::Unreachable);
    let sent = bench.sent();
    assert_eq!(sent.server, servers(3)[2]);
    bench.answer(&sent, vec![record("pbx.example", 60, a([192, 0, 2, 10]))]);
    assert_eq!(bench.done(), address("192.0.2.10", 60));
}

#[test]
fn second_round_is_in_the_plain_form() {
    let mut bench = Bench::new("pbx.example", Kind::A, 1);
    bench.sent();
    bench.wait();
    let sent = bench.sent();
    let packet = Packet::parse(&sent.data).unwrap();
    assert_eq!(packet.opt(), None);
    assert_eq!(packet.questions[0].qname.to_string(), "pbx.example");
}

#[test]
fn truncated_answer_is_asked_for_over_tcp() {
    let mut bench = Bench::new("pbx.example", Kind::A, 1);
    let sent = bench.sent();
    let data = reply(&sent, |packet| packet.set_flags(PacketFlag::TRUNCATION));
    bench.receive(&sent, &data);
    let again = bench.sent();
    assert_eq!((again.server, again.over), (sent.server, Over::Tcp));
    // A late UDP answer no longer counts.
    bench.answer(&sent, vec![record("pbx.example", 60, a([203, 0, 113, 66]))]);
    assert!(bench.is_waiting());
    bench.answer(&again, vec![record("pbx.example", 60, a([192, 0, 2, 10]))]);
    assert_eq!(bench.done(), address("192.0.2.10", 60));
}

#[test]
fn forged_answers_are_dropped_and_the_true_one_still_counts() {
    let mut bench = Bench::new("pbx.example", Kind::A, 1);
    let sent = bench.sent();
    let poison = || vec![record("pbx.example", 60, a([203, 0, 113, 66]))];
    let before = crate::stats::DNS_FOREIGN.value();
    let good = reply(&sent, |packet| packet.answers = poison());

    let wrong_id = reply(&sent, |packet| {
        packet.set_id(packet.id() ^ 1);
        packet.answers = poison();
    });
    bench.receive(&sent, &wrong_id);
    // From another address.
    let input =
        Input::Message { from: "203.0.113.66:53".parse().unwrap(), over: sent.over, data: &good };
    bench.exchange.handle_input(bench.now, input);
    // To another question.
    let other = reply(&sent, |packet| {
        packet.questions[0].qname = Name::new("xbp.example").unwrap();
        packet.answers = poison();
    });
    bench.receive(&sent, &other);
    // No response at all.
    let query = reply(&sent, |packet| {
        packet.remove_flags(PacketFlag::RESPONSE);
        packet.answers = poison();
    });
    bench.receive(&sent, &query);
    bench.receive(&sent, b"");
    bench.receive(&sent, &good[..good.len() - 1]);
    assert!(bench.is_waiting());
    assert!(crate::stats::DNS_FOREIGN.value() >= before + 6);
    bench.answer(&sent, vec![record("pbx.example", 60, a([192, 0, 2, 10]))]);
    assert_eq!(bench.done(), address("192.0.2.10", 60));
}

#[test]
fn answer_in_another_case_is_asked_for_over_tcp() {
    let mut bench = Bench::new("pbx.example.with.letters", Kind::A, 1);
    let sent = bench.sent();
    let lower = Packet::parse(&sent.data).unwrap().questions[0].qname.to_string();
    assert_ne!(lower, lower.to_lowercase());
    let data = reply(&sent, |packet| {
        packet.questions[0].qname = Name::new("pbx.example.with.letters").unwrap();
        packet.answers = vec![record("pbx.example.with.letters", 60, a([203, 0, 113, 66]))];
    });
    bench.receive(&sent, &data);
    assert_eq!(bench.sent().over, Over::Tcp);
}

#[test]
fn ids_and_letters_differ_from_query_to_query() {
    let mut ids: Vec<u16> = Vec::new();
    for seed in 0..200 {
        let mut bench = Bench::with_seed("pbx.example", Kind::A, 1, seed);
        ids.push(Packet::parse(&bench.sent().data).unwrap().id());
    }
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 190);
}

#[test]
fn compression_that_points_at_itself_is_no_answer() {
    let mut bench = Bench::new("pbx.example", Kind::A, 1);
    let sent = bench.sent();
    let mut data = reply(&sent, |packet| {
        packet.answers = vec![record("pbx.example", 60, a([192, 0, 2, 10]))];
    });
    // The answer's name is a pointer: two bytes after the question.
    let at = 12 + "pbx.example".len() + 2 + 4;
    for target in [at, at + 1, at + 20, 0x3fff] {
        let bytes = (0xc000 | target as u16).to_be_bytes();
        data.splice(at..at + 2, bytes);
        bench.receive(&sent, &data);
        assert!(bench.is_waiting(), "{target}");
    }
}

#[test]
fn counts_beyond_the_message_are_no_answer() {
    let mut bench = Bench::new("pbx.example", Kind::A, 1);
    let sent = bench.sent();
    for at in [4, 6, 8, 10] {
        let mut data = reply(&sent, |_| {});
        data[at..at + 2].copy_from_slice(&[0xff, 0xff]);
        bench.receive(&sent, &data);
        assert!(bench.is_waiting(), "{at}");
    }
}

#[test]
fn no_message_of_any_kind_is_the_end_of_us() {
    let mut dice = fastrand::Rng::with_seed(7);
    let mut ends = 0;
    for round in 0..20_000 {
        let mut bench = Bench::with_seed("pbx.example", Kind::Srv, 1, round);
        let sent = bench.sent();
        let target = Name::new("a.pbx.example").unwrap();
        let srv = RData::SRV(SRV { priority: 1, weight: 1, port: 5060, target });
        let mut data = reply(&sent, |packet| {
            packet.answers = vec![
                record("pbx.example", 60, cname("pbx.example")),
                record("pbx.example", 60, srv),
            ];
            packet.name_servers = vec![record("example", 60, soa(60))];
        });
        // The header and question mostly stay as they must be.
        let first = if dice.u8(..4) == 0 { 0 } else { 29 };
        for _ in 0..dice.usize(1..4) {
            let at = dice.usize(first..data.len());
            data[at] = dice.u8(..);
        }
        data.truncate(dice.usize(data.len() / 2..=data.len()));
        bench.receive(&sent, &data);
        ends += usize::from(bench.exchange.poll_timeout().is_none());
    }
    assert!(ends > 0);
}

#[test]
fn name_that_cannot_be_asked_for_fails() {
    let long = "x".repeat(64);
    for name in ["", ".", &long, &format!("{}example", "abcdefg.".repeat(40))] {
        let mut bench = Bench::new(name, Kind::A, 1);
        assert_eq!(bench.done(), Answer::Failed, "{name}");
    }
    let mut bench = Bench::new("pbx.example", Kind::A, 0);
    assert_eq!(bench.done(), Answer::Failed);
}

const PATIENCE: Duration = Duration::from_millis(1500);
