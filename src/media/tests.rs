//! The engine from outside: commands and packets in, exact packets and events out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clip::Clip;
use super::engine::{
    Codec, Command, Config, DigitSource, DigitSources, Engine, Event, Figures, Input, Layout,
    Output, SocketId, Source, StreamSettings, UnitId, Usage,
};
use super::tone::Script;
use crate::random::Random;

const A: UnitId = UnitId(1);
const B: UnitId = UnitId(2);
const PLAYER: UnitId = UnitId(3);
const RECORDER: UnitId = UnitId(4);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const MS: Duration = Duration::from_millis(1);
const DTMF: u8 = 101;

/// A packet that left the engine.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    at: Instant,
    socket: SocketId,
    is_rtcp: bool,
    to: SocketAddr,
    data: Vec<u8>,
}

impl Sent {
    fn marker(&self) -> bool {
        self.data[1] & 0x80 != 0
    }

    fn payload_type(&self) -> u8 {
        self.data[1] & 0x7f
    }

    fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.data[2], self.data[3]])
    }

    fn timestamp(&self) -> u32 {
        u32::from_be_bytes(self.data[4..8].try_into().unwrap())
    }

    fn ssrc(&self) -> u32 {
        u32::from_be_bytes(self.data[8..12].try_into().unwrap())
    }

    fn payload(&self) -> &[u8] {
        &self.data[12..]
    }
}

/// An engine with sockets that always bind, and a clock.
struct Bench {
    now: Instant,
    engine: Engine,
    sent: Vec<Sent>,
    events: Vec<Event>,
    recorded: Vec<i16>,
    sockets: Vec<(SocketId, u16)>,
}

impl Bench {
    fn new() -> Self {
        Self::with_ports(10_000, 10_099)
    }

    fn with_ports(first: u16, last: u16) -> Self {
        let now = Instant::now();
        let config = Config { ports: (first, last), units: 8, rtp_timeout: Duration::from_secs(7) };
        Self {
            now,
            engine: Engine::new(now, config, Random::seeded(1)),
            sent: Vec::new(),
            events: Vec::new(),
            recorded: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// Two calls that hear each other, on sockets 0 and 1.
    fn joined(a: Codec, b: Codec) -> Self {
        let mut bench = Self::new();
        bench.call(A, a);
        bench.call(B, b);
        bench.command(Command::Route { from: A, to: B });
        bench.command(Command::Route { from: B, to: A });
        bench.events.clear();
        bench
    }

    fn call(&mut self, unit: UnitId, codec: Codec) {
        self.command(Command::Open { unit, address: HOST });
        self.command(Command::Configure { unit, settings: settings(unit, codec) });
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_input(self.now, Input::Command(command));
        self.drain();
    }

    fn rtp(&mut self, unit: UnitId, data: &[u8]) {
        self.rtp_from(unit, peer(unit), data);
    }

    fn rtp_from(&mut self, unit: UnitId, from: SocketAddr, data: &[u8]) {
        let socket = SocketId(unit.0 as u32 - 1);
        self.engine.handle_input(self.now, Input::Rtp { socket, from, data });
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.engine.poll_transmit() {
            self.sent.push(Sent {
                at: self.now,
                socket: transmit.socket,
                is_rtcp: transmit.is_rtcp,
                to: transmit.to,
                data: transmit.data.to_vec(),
            });
        }
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Bind { socket, port, .. } => {
                    self.sockets.push((socket, port));
                    self.engine.handle_input(self.now, Input::Bound { socket });
                }
                Output::Unbind { socket } => self.sockets.retain(|(bound, _)| *bound != socket),
                Output::Recorded { samples, .. } => self.recorded.extend(samples),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.engine.poll_timeout().filter(|next| *next <= end) {
            self.now = next;
            self.engine.handle_input(next, Input::Timeout);
            self.drain();
        }
        self.now = end;
    }

    /// What was sent to the peer of a call since the last time.
    fn take_rtp(&mut self, unit: UnitId) -> Vec<Sent> {
        let socket = SocketId(unit.0 as u32 - 1);
        let (taken, left) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|sent| sent.socket == socket && !sent.is_rtcp);
        self.sent = left;
        taken
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

fn peer(unit: UnitId) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, unit.0 as u8)), 4000)
}

fn settings(unit: UnitId, codec: Codec) -> StreamSettings {
    let remote = peer(unit);
    StreamSettings {
        remote,
        remote_rtcp: SocketAddr::new(remote.ip(), remote.port() + 1),
        rtcp_mux: false,
        codec,
        payload_type: if codec == Codec::Pcmu { 0 } else { 8 },
        dtmf_payload_type: Some(DTMF),
        sends: true,
        receives: true,
        ptime: 20 * MS,
    }
}

fn rtp(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut data = vec![0x80, payload_type];
    data.extend(sequence.to_be_bytes());
    data.extend(timestamp.to_be_bytes());
    data.extend(0x00c0_ffeeu32.to_be_bytes());
    data.extend(payload);
    data
}

/// An event packet of a press that began at `timestamp`.
fn event(sequence: u16, timestamp: u32, digit: u8, duration: u16, is_end: bool) -> Vec<u8> {
    let [high, low] = duration.to_be_bytes();
    rtp(DTMF, sequence, timestamp, &[digit, if is_end { 0x8a } else { 0x0a }, high, low])
}

fn digit(unit: UnitId, digit: char, source: DigitSource) -> Event {
    Event::Digit { unit, digit, source }
}

fn clip(samples: Vec<i16>) -> Source {
    Source::Clip(Arc::new(Clip { rate: 8000, samples }))
}

const ALL: DigitSources = DigitSources { telephone_event: true, in_band: true, info: true };

#[test]
fn joined_calls_with_one_codec_are_relayed_byte_for_byte_at_once() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let payload: Vec<u8> = (0..160).collect();
    bench.rtp(A, &rtp(0, 100, 5000, &payload));
    bench.now += 20 * MS;
    bench.rtp(A, &rtp(0, 101, 5160, &payload));
    let sent = bench.take_rtp(B);
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].to, sent[0].data[0]), (peer(B), 0x80));
    assert!(sent[0].marker() && !sent[1].marker());
    assert_eq!(sent[0].payload(), payload);
    assert_eq!(sent[1].sequence(), sent[0].sequence().wrapping_add(1));
    assert_eq!(sent[1].timestamp(), sent[0].timestamp().wrapping_add(160));
    assert_eq!(sent[0].ssrc(), sent[1].ssrc());
    assert_ne!(sent[0].ssrc(), 0x00c0_ffee);
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: A }]);
}

#[test]
fn laws_are_converted_by_table_and_payload_types_are_the_receiver_s() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcma);
    // G.711 table 3: the codes of u-law 0xff (zero), 0x80 and 0x00 (the ends).
    bench.rtp(A, &rtp(0, 1, 0, &[0xff, 0x80, 0x00]));
    let sent = bench.take_rtp(B);
    assert_eq!((sent[0].payload_type(), sent[0].payload()), (8, &[0xd5, 0xaa, 0x2a][..]));
    // Table 4: the least A-law value (8) is the least but zero in u-law.
    bench.rtp(B, &rtp(8, 1, 0, &[0xd5, 0xaa, 0x2a]));
    let sent = bench.take_rtp(A);
    assert_eq!((sent[0].payload_type(), sent[0].payload()), (0, &[0xfe, 0x80, 0x00][..]));
}

#[test]
fn change_of_source_is_seamless_to_the_receiver() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 100, 5000, &[1; 160]));
    bench.command(Command::Play {
        unit: PLAYER,
        source: clip(vec![1000; 320]),
        looped: false,
        paused: false,
    });
    bench.command(Command::Route { from: PLAYER, to: B });
    // The old source is heard no more.
    bench.rtp(A, &rtp(0, 101, 5160, &[1; 160]));
    bench.run(40 * MS);
    bench.command(Command::Route { from: A, to: B });
    bench.rtp(A, &rtp(0, 103, 5480, &[2; 160]));
    let sent = bench.take_rtp(B);
    let payloads: Vec<u8> = sent.iter().map(|sent| sent.payload()[0]).collect();
    let loud = Codec::Pcmu.encode(1000);
    assert_eq!(payloads, [1, loud, loud, 2]);
    assert_eq!(sent.iter().map(Sent::marker).collect::<Vec<_>>(), [true, true, false, true]);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        assert_eq!(pair[1].ssrc(), pair[0].ssrc());
        let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
        assert!((160..=320).contains(&step), "{step}");
    }
}

#[test]
fn call_without_a_source_hears_silence_every_20_ms() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcma);
    bench.run(200 * MS);
    let sent = bench.take_rtp(A);
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|sent| sent.payload() == [0xd5; 160] && sent.payload_type() == 8));
    assert!(sent.iter().skip(1).all(|sent| !sent.marker()));
    for pair in sent.windows(2) {
        assert_eq!(pair[1].at - pair[0].at, 20 * MS);
        assert_eq!(pair[1].timestamp().wrapping_sub(pair[0].timestamp()), 160);
    }
}

#[test]
fn pause_of_the_relayed_source_is_filled_with_silence_and_it_goes_on_seamlessly() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.run(1000 * MS);
    bench.rtp(A, &rtp(0, 2, 8000, &[2; 160]));
    let sent = bench.take_rtp(B);
    // One, silence from 200 to 300 ms on, one.
    assert!((37..=43).contains(&sent.len()), "{}", sent.len());
    let last = &sent[sent.len() - 1];
    assert_eq!((last.marker(), last.payload()[0]), (true, 2));
    // A second later, to a frame.
    let passed = last.timestamp().wrapping_sub(sent[0].timestamp());
    assert!((7840..=8160).contains(&passed), "{passed}");
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        assert!((pair[1].timestamp().wrapping_sub(pair[0].timestamp()) as i32) >= 160);
    }
}

#[test]
fn held_call_gets_nothing_and_goes_on_where_the_clock_is() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.run(40 * MS);
    let before = bench.take_rtp(A);
    let held = StreamSettings { sends: false, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings: held });
    bench.run(10_000 * MS);
    assert_eq!(bench.take_rtp(A), []);
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    bench.run(20 * MS);
    let after = bench.take_rtp(A);
    assert!(after[0].marker());
    let passed = after[0].timestamp().wrapping_sub(before[1].timestamp());
    assert_eq!(passed, 80_160);
}

#[test]
fn packets_go_where_the_peer_s_come_from() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let behind_nat: SocketAddr = "203.0.113.7:61000".parse().unwrap();
    bench.rtp_from(B, behind_nat, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    assert_eq!(bench.take_rtp(B)[0].to, behind_nat);
    // Somebody else who found the port.
    bench.take_rtp(A);
    bench.rtp_from(B, "198.51.100.1:9".parse().unwrap(), &rtp(0, 2, 160, &[9; 160]));
    assert_eq!(bench.take_rtp(A), []);
}

#[test]
fn hostile_packets_change_nothing() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let good = rtp(0, 1, 0, &[1; 160]);
    for length in 0..12 {
        bench.rtp(A, &good[..length]);
    }
    for first in [0x00, 0x40, 0xc0, 0x90, 0xa0, 0x8f] {
        let mut data = rtp(0, 1, 0, &[0xff; 20]);
        data[0] = first;
        bench.rtp(A, &data);
    }
    for payload_type in [1, 9, 18, 63, 96, 127] {
        bench.rtp(A, &rtp(payload_type, 1, 0, &[1; 160]));
    }
    bench.rtp(A, &rtp(DTMF, 1, 0, &[1, 2]));
    assert_eq!(bench.take_rtp(B), []);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..5000 {
        let mut data = vec![0; random.usize(..200)];
        random.fill(&mut data);
        bench.rtp(A, &data);
        let (socket, from) = (SocketId(0), peer(A));
        bench.engine.handle_input(bench.now, Input::Rtcp { socket, from, data: &data });
        bench.drain();
    }
    // A socket that is nobody's.
    let from = peer(A);
    bench.engine.handle_input(bench.now, Input::Rtp { socket: SocketId(77), from, data: &good });
    bench.engine.handle_input(bench.now, Input::Bound { socket: SocketId(77) });
    bench.engine.handle_input(bench.now, Input::BindFailed { socket: SocketId(77) });
}

#[test]
fn duplicate_is_passed_on_once_and_order_and_gaps_are_kept() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    for sequence in [10u16, 11, 11, 14, 13, 13] {
        bench.rtp(A, &rtp(0, sequence, u32::from(sequence) * 160, &[sequence as u8; 160]));
    }
    let sent = bench.take_rtp(B);
    let steps: Vec<(u8, u16)> = sent
        .iter()
        .map(|s| (s.payload()[0], s.sequence().wrapping_sub(sent[0].sequence())))
        .collect();
    assert_eq!(steps, [(10, 0), (11, 1), (14, 4), (13, 3)]);
    bench.command(Command::Close { unit: A });
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    // 12 is lost, 13 came late.
    let counts = (figures.packets_received, figures.packets_lost, figures.packets_late);
    assert_eq!(counts, (4, 1, 1));
}

#[test]
fn comfort_noise_and_empty_packets_are_not_passed_on_nor_missed() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(A, &rtp(13, 2, 160, &[60]));
    bench.rtp(A, &rtp(0, 3, 320, &[]));
    bench.rtp(A, &rtp(0, 4, 480, &[1; 160]));
    let sent = bench.take_rtp(B);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].sequence(), sent[0].sequence().wrapping_add(1));
    assert_eq!(sent[1].timestamp(), sent[0].timestamp().wrapping_add(480));
}

#[test]
fn digits_listened_for_are_reported_once_and_kept_back_without_a_gap() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::ListenDigits { unit: A, sources: ALL });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    for (n, is_end) in [false, false, false, true, true, true].into_iter().enumerate() {
        let sequence = 2 + n as u16;
        bench.rtp(A, &event(sequence, 160, 5, 160 * (n as u16 + 1).min(4), is_end));
    }
    bench.rtp(A, &rtp(0, 8, 1120, &[1; 160]));
    let sent = bench.take_rtp(B);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].sequence(), sent[0].sequence().wrapping_add(1));
    let expected = [Event::FirstPacket { unit: A }, digit(A, '5', DigitSource::TelephoneEvent)];
    assert_eq!(bench.take_events(), expected);
}

#[test]
fn digits_not_listened_for_pass_with_the_receiver_s_payload_type() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let other = StreamSettings { dtmf_payload_type: Some(96), ..settings(B, Codec::Pcmu) };
    bench.command(Command::Configure { unit: B, settings: other });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(A, &event(2, 160, 11, 160, false));
    bench.rtp(A, &event(3, 160, 11, 320, true));
    let sent = bench.take_rtp(B);
    assert_eq!(sent[1].payload_type(), 96);
    assert_eq!(sent[1].payload(), [11, 0x0a, 0, 160]);
    assert_eq!(sent[2].payload(), [11, 0x8a, 1, 64]);
    assert_eq!(sent[1].timestamp(), sent[0].timestamp().wrapping_add(160));
    assert_eq!(sent[2].timestamp(), sent[1].timestamp());
    assert_eq!(sent[2].sequence(), sent[0].sequence().wrapping_add(2));
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: A }]);
}

#[test]
fn digit_for_a_call_without_events_becomes_a_tone() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let plain = StreamSettings { dtmf_payload_type: None, ..settings(B, Codec::Pcmu) };
    bench.command(Command::Configure { unit: B, settings: plain });
    bench.rtp(A, &event(2, 160, 8, 160, false));
    bench.rtp(A, &event(3, 160, 8, 320, true));
    bench.run(300 * MS);
    let mut detector = super::goertzel::Detector::new();
    let sent = bench.take_rtp(B);
    let audio = sent.iter().flat_map(|sent| sent.payload()).map(|&b| Codec::Pcmu.decode(b));
    assert_eq!(detector.feed(audio), Some('8'));
}

#[test]
fn key_press_that_comes_as_event_tone_and_info_is_one_digit() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::ListenDigits { unit: A, sources: ALL });
    bench.command(Command::InfoDigit { unit: A, digit: '7' });
    bench.rtp(A, &event(1, 0, 7, 160, false));
    bench.now += 300 * MS;
    bench.rtp(A, &event(2, 2400, 7, 160, false));
    // The second press of the same key is another.
    assert_eq!(
        bench.take_events()[1..],
        [
            digit(A, '7', DigitSource::Info),
            Event::FirstPacket { unit: A },
            digit(A, '7', DigitSource::TelephoneEvent),
        ]
    );
}

#[test]
fn info_is_reported_only_when_listened_for() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.events.clear();
    bench.command(Command::InfoDigit { unit: A, digit: '1' });
    let sources = DigitSources { info: true, ..DigitSources::default() };
    bench.command(Command::ListenDigits { unit: A, sources });
    // The same press as an event, which is not listened for, does not swallow the INFO.
    bench.rtp(A, &event(1, 0, 2, 160, false));
    bench.rtp(A, &event(2, 0, 2, 320, false));
    bench.command(Command::InfoDigit { unit: A, digit: '2' });
    assert_eq!(
        bench.take_events(),
        [Event::FirstPacket { unit: A }, digit(A, '2', DigitSource::Info)]
    );
}

#[test]
fn in_band_digit_is_reported_and_silenced_for_the_other_side() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let sources = DigitSources { in_band: true, ..DigitSources::default() };
    bench.command(Command::ListenDigits { unit: A, sources });
    // Digit 5: 770 and 1336 Hz.
    for n in 0..10u16 {
        let payload: Vec<u8> = (0..160)
            .map(|place| {
                let at = f64::from(u32::from(n) * 160 + place) / 8000.0 * std::f64::consts::TAU;
                let sample = 5000.0 * ((770.0 * at).sin() + (1336.0 * at).sin());
                Codec::Pcmu.encode(sample as i16)
            })
            .collect();
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &payload));
    }
    assert!(bench.take_events().contains(&digit(A, '5', DigitSource::InBand)));
    let sent = bench.take_rtp(B);
    assert_eq!(sent.len(), 10);
    // Up to 40 ms pass before it is known for a digit.
    assert!(sent.iter().skip(2).all(|sent| sent.payload() == [0xff; 160]));
}

#[test]
fn rfc4733_sent_digit_has_one_timestamp_growing_durations_and_three_ends() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.run(40 * MS);
    bench.take_rtp(A);
    bench.command(Command::SendDigits { unit: A, digits: "5#".into() });
    bench.run(400 * MS);
    let sent = bench.take_rtp(A);
    let events: Vec<&Sent> = sent.iter().filter(|sent| sent.payload_type() == DTMF).collect();
    assert_eq!(events.len(), 16);
    for (press, digit) in events.chunks(8).zip([5, 11]) {
        let durations: Vec<u16> =
            press.iter().map(|s| u16::from_be_bytes([s.payload()[2], s.payload()[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800, 800]);
        let flags: Vec<u8> = press.iter().map(|sent| sent.payload()[1]).collect();
        assert_eq!(flags, [10, 10, 10, 10, 10, 0x8a, 0x8a, 0x8a]);
        assert!(press.iter().all(|sent| sent.payload()[0] == digit));
        assert!(press.iter().all(|sent| sent.timestamp() == press[0].timestamp()));
        assert!(press[0].marker() && press[1..].iter().all(|sent| !sent.marker()));
    }
    // 200 ms apart.
    let apart = events[8].timestamp().wrapping_sub(events[0].timestamp());
    assert_eq!(apart, 1600);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
    }
}

#[test]
fn digits_to_a_relayed_call_take_their_place_among_its_packets() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::SendDigits { unit: B, digits: "1".into() });
    for n in 0..20u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[1; 160]));
        bench.run(20 * MS);
    }
    let sent = bench.take_rtp(B);
    assert_eq!(sent.iter().filter(|sent| sent.payload_type() == DTMF).count(), 8);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
    }
    let audio: Vec<u32> =
        sent.iter().filter(|s| s.payload_type() == 0).map(Sent::timestamp).collect();
    assert!(audio.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) as i32 >= 160));
}

#[test]
fn call_without_events_gets_digits_as_tones() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcma);
    let plain = StreamSettings { dtmf_payload_type: None, ..settings(A, Codec::Pcma) };
    bench.command(Command::Configure { unit: A, settings: plain });
    bench.command(Command::SendDigits { unit: A, digits: "159D".into() });
    bench.run(1000 * MS);
    let mut detector = super::goertzel::Detector::new();
    let mut heard = String::new();
    for sent in bench.take_rtp(A) {
        let audio = sent.payload().iter().map(|&byte| Codec::Pcma.decode(byte));
        heard.extend(detector.feed(audio));
    }
    assert_eq!(heard, "159D");
}

#[test]
fn player_is_heard_from_its_first_sample_by_all_who_listen() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.call(B, Codec::Pcma);
    bench.run(20 * MS);
    bench.sent.clear();
    bench.events.clear();
    let source = clip((0..400).map(|n| n * 20).collect());
    bench.command(Command::Play { unit: PLAYER, source, looped: false, paused: false });
    bench.command(Command::Mark { unit: PLAYER, offset_ms: 30 });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.command(Command::Route { from: PLAYER, to: B });
    bench.run(80 * MS);
    let expected: Vec<u8> = (0..160).map(|n| Codec::Pcmu.encode(n * 20)).collect();
    assert_eq!(bench.take_rtp(A)[0].payload(), expected);
    let expected: Vec<u8> = (160..320).map(|n| Codec::Pcma.encode(n * 20)).collect();
    assert_eq!(bench.take_rtp(B)[1].payload(), expected);
    assert_eq!(
        bench.take_events(),
        [
            Event::Started { unit: PLAYER, duration: 50 * MS },
            Event::Marked { unit: PLAYER, offset_ms: 30 },
            Event::Finished { unit: PLAYER },
        ]
    );
}

#[test]
fn player_waits_for_a_call_that_has_no_path_yet() {
    let mut bench = Bench::new();
    bench.command(Command::Open { unit: A, address: HOST });
    let source = clip(vec![1000; 160]);
    bench.command(Command::Play { unit: PLAYER, source, looped: false, paused: false });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.run(3000 * MS);
    assert_eq!(bench.take_events(), [Event::Opened { unit: A, port: 10_000 }]);
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    bench.run(100 * MS);
    assert_eq!(bench.take_rtp(A)[0].payload(), [Codec::Pcmu.encode(1000); 160]);
}

#[test]
fn packets_have_the_length_that_was_agreed() {
    for (ptime, bytes, count) in [(10, 80, 30), (20, 160, 15), (30, 240, 10), (60, 480, 5)] {
        let mut bench = Bench::new();
        bench.call(A, Codec::Pcmu);
        let settings = StreamSettings { ptime: ptime * MS, ..settings(A, Codec::Pcmu) };
        bench.command(Command::Configure { unit: A, settings });
        bench.run(300 * MS);
        let sent = bench.take_rtp(A);
        assert_eq!(sent.len(), count);
        assert!(sent.iter().all(|sent| sent.payload().len() == bytes));
        for pair in sent.windows(2) {
            let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
            assert_eq!(step as usize, bytes);
        }
    }
}

#[test]
fn recording_of_a_call_has_both_sides_in_their_channels_and_places() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let layout = Layout::Stereo;
    bench.command(Command::RecordCall { unit: RECORDER, call: A, layout });
    bench.run(1000 * MS);
    let (one, two) = (Codec::Pcmu.encode(1000), Codec::Pcmu.encode(2000));
    // A says one second of 1000s and from its middle on hears 2000s.
    for n in 0..50u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[one; 160]));
        if n >= 25 {
            bench.rtp(B, &rtp(0, n, u32::from(n) * 160, &[two; 160]));
        }
        bench.run(20 * MS);
    }
    bench.run(2000 * MS);
    assert!(!bench.recorded.is_empty());
    bench.command(Command::Close { unit: RECORDER });
    assert_eq!(bench.recorded.len(), 4 * 16_000);
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    assert_eq!(figures.recorded, 4000 * MS);
    let left: Vec<i16> = bench.recorded.iter().step_by(2).copied().collect();
    let right: Vec<i16> = bench.recorded.iter().skip(1).step_by(2).copied().collect();
    let (one, two) = (Codec::Pcmu.decode(one), Codec::Pcmu.decode(two));
    assert_eq!(right[..8000], [0; 8000]);
    assert_eq!(right[8000..16_000], [one; 8000]);
    assert_eq!(right[16_000..], [0; 16_000]);
    assert_eq!(left[..12_000], [0; 12_000]);
    assert_eq!(left[12_000..16_000], [two; 4000]);
    assert_eq!(left[16_000..], [0; 16_000]);
}

#[test]
fn recorder_mixes_its_sources_and_playback_into_a_recorded_call_is_recorded() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::RecordCall { unit: RECORDER, call: A, layout: Layout::Mono });
    let source = clip(vec![1000; 1600]);
    bench.command(Command::Play { unit: PLAYER, source, looped: false, paused: false });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.run(300 * MS);
    bench.command(Command::Close { unit: RECORDER });
    let loud = bench.recorded.iter().filter(|&&sample| sample == 1000).count();
    assert_eq!(loud, 1600);
    bench.recorded.clear();

    let other = UnitId(9);
    bench.command(Command::Record { unit: other, layout: Layout::Mono });
    bench.command(Command::Route { from: A, to: other });
    let source = clip(vec![1000; 1600]);
    let second = UnitId(10);
    bench.command(Command::Play { unit: second, source, looped: false, paused: false });
    bench.command(Command::Route { from: second, to: other });
    let said = Codec::Pcmu.encode(2000);
    for n in 0..10u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[said; 160]));
        bench.run(20 * MS);
    }
    bench.command(Command::Close { unit: other });
    let both = 1000 + Codec::Pcmu.decode(said);
    let mixed = bench.recorded.iter().filter(|&&sample| sample == both).count();
    assert!((1300..=1600).contains(&mixed), "{mixed}");
}

#[test]
fn muted_call_is_not_heard_but_its_digits_are_reported() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::ListenDigits { unit: A, sources: ALL });
    bench.command(Command::Mute { unit: A, muted: true });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(A, &event(2, 160, 3, 160, false));
    assert_eq!(bench.take_rtp(B), []);
    assert!(bench.take_events().contains(&digit(A, '3', DigitSource::TelephoneEvent)));
    bench.run(40 * MS);
    assert!(bench.take_rtp(B).iter().all(|sent| sent.payload() == [0xff; 160]));
    bench.command(Command::Mute { unit: A, muted: false });
    bench.rtp(A, &rtp(0, 3, 480, &[1; 160]));
    assert_eq!(bench.take_rtp(B)[0].payload(), [1; 160]);
}

#[test]
fn packets_that_overtake_the_settings_are_heard() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::Open { unit: B, address: HOST });
    bench.command(Command::Route { from: B, to: A });
    bench.events.clear();
    for n in 0..3u16 {
        bench.rtp(B, &rtp(0, n, u32::from(n) * 160, &[n as u8; 160]));
    }
    bench.rtp(B, &[0x80; 1500]);
    assert_eq!(bench.take_rtp(A), []);
    bench.command(Command::Configure { unit: B, settings: settings(B, Codec::Pcmu) });
    let heard: Vec<u8> = bench.take_rtp(A).iter().map(|sent| sent.payload()[0]).collect();
    assert_eq!(heard, [0, 1, 2]);
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: B }]);
}

#[test]
fn old_packets_from_before_the_settings_are_forgotten() {
    let mut bench = Bench::new();
    bench.command(Command::Open { unit: A, address: HOST });
    for n in 0..100u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[1; 160]));
    }
    bench.now += 501 * MS;
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    assert_eq!(bench.take_events(), [Event::Opened { unit: A, port: 10_000 }]);
}

#[test]
fn early_media_of_a_caller_is_not_heard() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let early = StreamSettings { receives: false, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings: early });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    assert_eq!((bench.take_rtp(B), bench.take_events()), (vec![], vec![]));
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    bench.rtp(A, &rtp(0, 2, 160, &[1; 160]));
    assert_eq!(bench.take_rtp(B).len(), 1);
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: A }]);
}

#[test]
fn silence_of_7_s_is_told_once_and_so_is_its_end() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.events.clear();
    bench.run(6900 * MS);
    assert_eq!(bench.take_events(), []);
    bench.run(10_000 * MS);
    assert_eq!(bench.take_events(), [Event::RtpStopped { unit: A }]);
    bench.rtp(A, &rtp(0, 2, 160, &[1; 160]));
    assert_eq!(bench.take_events(), [Event::RtpResumed { unit: A }]);
}

#[test]
fn reports_go_to_the_rtcp_port_every_5_s_and_bye_at_the_end() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.run(60_000 * MS);
    bench.take_rtp(A);
    let reports = std::mem::take(&mut bench.sent);
    // 5 s each in the mean, 2.5 to 7.5 s.
    assert!((8..=24).contains(&reports.len()), "{}", reports.len());
    assert!(reports.iter().all(|sent| sent.is_rtcp && sent.to.port() == 4001));
    assert_eq!(reports[0].data[..2], [0x81, 200]);
    bench.command(Command::Close { unit: A });
    let bye = &bench.sent[0].data;
    assert_eq!(bye[bye.len() - 8..bye.len() - 4], [0x81, 203, 0, 1]);
}

#[test]
fn muxed_rtcp_uses_the_rtp_port_both_ways() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    let mux = StreamSettings { rtcp_mux: true, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings: mux });
    bench.run(8000 * MS);
    let sent = bench.take_rtp(A);
    let report = sent.iter().find(|sent| sent.data[1] == 200).unwrap();
    assert_eq!((report.to, report.is_rtcp), (peer(A), false));
    assert_eq!(bench.sent, []);
    // A receiver report about us on the RTP port: 3 lost.
    let mut rr = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    rr.extend(&report.data[4..8]);
    rr.extend([0, 0, 0, 3]);
    rr.extend([0; 16]);
    bench.rtp(A, &rr);
    bench.command(Command::Close { unit: A });
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    assert_eq!(figures.lost_by_peer, 3);
}

#[test]
fn taken_port_is_passed_over_and_the_pool_is_finite() {
    let mut bench = Bench::with_ports(10_000, 10_005);
    let bind = |bench: &mut Bench, unit: UnitId| {
        let command = Command::Open { unit, address: HOST };
        bench.engine.handle_input(bench.now, Input::Command(command));
        bench.engine.poll_output()
    };
    let Some(Output::Bind { socket, port: 10_000, .. }) = bind(&mut bench, A) else { panic!() };
    bench.engine.handle_input(bench.now, Input::BindFailed { socket });
    let Some(Output::Bind { port: 10_002, .. }) = bench.engine.poll_output() else { panic!() };
    bench.engine.handle_input(bench.now, Input::Bound { socket });
    bench.drain();
    assert_eq!(bench.take_events(), [Event::Opened { unit: A, port: 10_002 }]);
    bench.command(Command::Open { unit: B, address: HOST });
    bench.command(Command::Open { unit: UnitId(7), address: HOST });
    bench.command(Command::Open { unit: UnitId(8), address: HOST });
    assert_eq!(bench.take_events()[2], Event::OpenFailed { unit: UnitId(8) });
    bench.command(Command::Close { unit: A });
    bench.command(Command::Open { unit: UnitId(8), address: HOST });
    assert_eq!(bench.take_events()[1], Event::Opened { unit: UnitId(8), port: 10_002 });
}

#[test]
fn all_ports_taken_by_others_refuses_the_call() {
    let mut bench = Bench::with_ports(10_000, 10_005);
    let command = Command::Open { unit: A, address: HOST };
    bench.engine.handle_input(bench.now, Input::Command(command));
    let mut attempts = 0;
    while let Some(output) = bench.engine.poll_output() {
        match output {
            Output::Bind { socket, .. } => {
                attempts += 1;
                bench.engine.handle_input(bench.now, Input::BindFailed { socket });
            }
            Output::Event(event) => bench.events.push(event),
            _ => panic!("{output:?}"),
        }
    }
    assert_eq!(attempts, 64);
    assert_eq!(bench.take_events(), [Event::OpenFailed { unit: A }]);
    assert_eq!(bench.engine.usage(), Usage::default());
}

#[test]
fn full_table_refuses_calls_players_and_recorders() {
    let mut bench = Bench::new();
    for n in 0..8 {
        bench.command(Command::Record { unit: UnitId(n), layout: Layout::Mono });
    }
    bench.command(Command::Open { unit: UnitId(20), address: HOST });
    let source = clip(vec![0; 160]);
    let unit = UnitId(21);
    bench.command(Command::Play { unit, source, looped: false, paused: false });
    bench.command(Command::Record { unit: UnitId(22), layout: Layout::Mono });
    let refused = [20, 21, 22].map(|unit| Event::OpenFailed { unit: UnitId(unit) });
    assert_eq!(bench.take_events(), refused);
    assert_eq!(bench.engine.usage(), Usage { units: 8, sockets: 0 });
}

#[test]
fn answer_to_a_bind_of_a_closed_call_meets_nobody() {
    let mut bench = Bench::new();
    for command in [
        Command::Open { unit: A, address: HOST },
        Command::Close { unit: A },
        Command::Open { unit: B, address: HOST },
    ] {
        bench.engine.handle_input(bench.now, Input::Command(command));
    }
    bench.drain();
    let opened: Vec<Event> = bench
        .take_events()
        .into_iter()
        .filter(|event| matches!(event, Event::Opened { .. }))
        .collect();
    assert_eq!(opened, [Event::Opened { unit: B, port: 10_002 }]);
    assert_eq!(bench.sockets, [(SocketId(1), 10_002)]);
}

#[test]
fn after_everything_closed_nothing_is_left() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcma);
    let tone = Source::Tone(Arc::new(Script::progress("US")));
    bench.command(Command::Play { unit: PLAYER, source: tone, looped: true, paused: false });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.command(Command::RecordCall { unit: RECORDER, call: A, layout: Layout::Mono });
    bench.run(500 * MS);
    for unit in [A, PLAYER, RECORDER, B] {
        bench.command(Command::Close { unit });
    }
    assert_eq!(bench.engine.usage(), Usage::default());
    assert_eq!(bench.engine.poll_timeout(), None);
    assert_eq!(bench.sockets, []);
    let closed = bench.events.iter().filter(|event| matches!(event, Event::Closed { .. }));
    assert_eq!(closed.count(), 4);
    // Commands for what is gone, and routes that cannot be.
    bench.command(Command::Close { unit: A });
    bench.command(Command::Route { from: A, to: B });
    bench.command(Command::SendDigits { unit: A, digits: "1".into() });
    assert_eq!(bench.engine.usage(), Usage::default());
}

#[test]
fn routes_that_cannot_be_are_not_made() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::Record { unit: RECORDER, layout: Layout::Mono });
    let source = clip(vec![1; 160]);
    bench.command(Command::Play { unit: PLAYER, source, looped: true, paused: false });
    bench.command(Command::Route { from: RECORDER, to: A });
    bench.command(Command::Route { from: A, to: PLAYER });
    bench.command(Command::Route { from: A, to: A });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    // To itself is an echo.
    assert_eq!(bench.take_rtp(A)[0].payload(), [1; 160]);
}

#[test]
fn one_seed_gives_the_same_bytes() {
    let run = || {
        let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcma);
        bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
        bench.run(30_000 * MS);
        bench.sent.into_iter().map(|sent| (sent.to, sent.data)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn figures_of_a_clean_call_are_clean() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    for n in 0..100u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[1; 160]));
        bench.run(20 * MS);
    }
    bench.command(Command::Close { unit: A });
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    // What A was sent is silence: B says nothing.
    let expected = Figures {
        packets_received: 100,
        packets_sent: figures.packets_sent,
        jitter_ms: figures.jitter_ms,
        ..Figures::default()
    };
    assert_eq!(*figures, expected);
    assert!(figures.jitter_ms < 1.0 && figures.packets_sent >= 99);
}
