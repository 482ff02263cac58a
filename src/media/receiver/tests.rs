//! A sender, a bad network and a receiver in virtual time: what is heard is measured as a
//! listener's instrument would.

use std::time::{Duration, Instant};

use super::*;

const PPM: f64 = 1e-6;
/// Not a divisor of anything, so that no lag is a whole number of its periods.
const HERTZ: f64 = 437.0;
const AMPLITUDE: f64 = 8000.0;

/// The delay of a packet that is sent at this time, in seconds; `None`: it is lost.
type Network = fn(&mut fastrand::Rng, f64) -> Option<f64>;

/// Who sends a tone, and what the network does to it.
struct Link {
    codec: Codec,
    ptime_ms: u32,
    random: fastrand::Rng,
    network: Network,
    /// What the sender does with its `n`th packet.
    manner: fn(u32) -> Manner,
    /// How much faster the sender's clock is.
    ppm: f64,
    seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Manner {
    is_silent: bool,
    ssrc: u32,
    /// Added to timestamps, and to sequence numbers.
    timestamp: u32,
    sequence: u16,
    marker: bool,
    /// How often it is sent besides.
    again: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            codec: Codec::Pcmu,
            ptime_ms: 20,
            random: fastrand::Rng::with_seed(4),
            network: |_, _| Some(0.0),
            manner: |_| Manner::default(),
            ppm: 0.0,
            seconds: 30,
        }
    }
}

struct Packet {
    number: u32,
    arrival: f64,
    header: Header,
    payload: Vec<u8>,
}

/// What was heard.
struct Heard {
    receiver: Receiver,
    samples: Vec<i16>,
    lost: u64,
    /// By second.
    delays: Vec<u32>,
}

impl Link {
    fn run(mut self) -> Heard {
        let epoch = Instant::now();
        let at = |seconds: f64| epoch + Duration::from_secs_f64(seconds);
        let mut receiver = Receiver::new(self.codec);
        let (mut samples, mut delays, mut lost) = (Vec::new(), Vec::new(), 0);
        // Packets under way, the next to arrive at the end.
        let mut under_way: Vec<Packet> = Vec::new();
        let mut sent = 0;
        // A second, and the longest packet.
        let sound = tone(self.codec, 0, self.codec.rate().hertz() / 5 * 6);
        for tick in 0..self.seconds * 50 {
            let now = 5.0 + f64::from(tick) * 0.02;
            let (ptime, rate) = (f64::from(self.ptime_ms) / 1000.0, 1.0 + self.ppm * PPM);
            let send_at = |sent: u32| 5.003 + f64::from(sent) * ptime / rate;
            while send_at(sent) <= now {
                let (is_lost, packets) = self.send(&sound, sent, send_at(sent));
                lost += u64::from(is_lost);
                under_way.extend(packets);
                sent += 1;
            }
            // What arrives at one time comes in the order in which it was sent.
            under_way.sort_by(|one, other| {
                let sent = |packet: &Packet| packet.number;
                other.arrival.total_cmp(&one.arrival).then(sent(other).cmp(&sent(one)))
            });
            while under_way.last().is_some_and(|packet| packet.arrival <= now) {
                let packet = under_way.pop().unwrap();
                receiver.push(at(packet.arrival), self.codec, packet.header, &packet.payload);
            }
            samples.extend_from_slice(receiver.pull(at(now)).samples());
            if tick % 50 == 49 {
                delays.push(receiver.counts().delay_ms);
            }
        }
        Heard { receiver, samples, lost, delays }
    }

    fn send(&mut self, sound: &[u8], n: u32, at: f64) -> (bool, Vec<Packet>) {
        let manner = (self.manner)(n);
        if manner.is_silent {
            return (false, Vec::new());
        }
        let clock = self.codec.clock_rate();
        let units = clock / 1000 * self.ptime_ms;
        let header = Header {
            marker: manner.marker,
            payload_type: 0,
            sequence: (n as u16).wrapping_add(60_000).wrapping_add(manner.sequence),
            timestamp: (n * units).wrapping_add(0xffff_0000).wrapping_add(manner.timestamp),
            ssrc: 7 + manner.ssrc,
        };
        let rate = self.codec.rate().hertz() as usize;
        let first = n as usize * (rate / 1000 * self.ptime_ms as usize) % rate;
        let bytes = if matches!(self.codec, Codec::L16(_)) { 2 } else { 1 };
        let length = rate / 1000 * self.ptime_ms as usize * bytes;
        let payload = sound[first * bytes..first * bytes + length].to_vec();
        let mut packets = Vec::new();
        for _ in 0..=manner.again {
            if let Some(delay) = (self.network)(&mut self.random, at) {
                let payload = payload.clone();
                packets.push(Packet { number: n, arrival: at + 0.05 + delay, header, payload });
            }
        }
        (packets.is_empty(), packets)
    }
}

/// From the `first` sample on, where the tone begins anew each second: it has 437 whole periods.
fn tone(codec: Codec, first: u64, count: u32) -> Vec<u8> {
    let hertz = codec.rate().hertz();
    let step = std::f64::consts::TAU * HERTZ / f64::from(hertz);
    let sample = |place: u64| {
        let place = place % u64::from(hertz);
        (AMPLITUDE * (step * place as f64).sin()) as i16
    };
    let samples = (first..first + u64::from(count)).map(sample);
    match codec {
        Codec::Pcmu | Codec::Pcma => samples.map(|sample| codec.encode(sample)).collect(),
        Codec::L16(_) => samples.flat_map(i16::to_be_bytes).collect(),
        Codec::G722 | Codec::Opus => unreachable!("no tone is made for {codec:?}"),
    }
}

impl Heard {
    /// 20 ms pieces from `from` seconds on whose tone is off by more than -20 dB, or missing: a
    /// gap, a click, a break of phase.
    fn faults(&self, from: usize) -> usize {
        let rate = self.receiver.frame().rate();
        let instrument = Instrument::new(rate);
        let frames = self.samples.chunks_exact(rate.frame()).skip(from * 50);
        frames.filter(|frame| instrument.signal_to_noise(frame) < 20.0).count()
    }

    fn counts(&self) -> Counts {
        self.receiver.counts()
    }

    /// The largest in the seconds from `from` on.
    fn delay(&self, from: usize) -> u32 {
        self.delays[from..].iter().copied().max().unwrap()
    }
}

/// Finds the tone in pieces of 20 ms by least squares.
struct Instrument {
    waves: Vec<(f64, f64)>,
    /// Of the waves: sine by sine, sine by cosine, cosine by cosine.
    products: (f64, f64, f64),
}

impl Instrument {
    fn new(rate: Rate) -> Self {
        let step = std::f64::consts::TAU * HERTZ / f64::from(rate.hertz());
        let waves: Vec<_> = (0..rate.frame()).map(|n| (step * n as f64).sin_cos()).collect();
        let sum = |of: fn(&(f64, f64)) -> f64| waves.iter().map(of).sum();
        let products = (sum(|w| w.0 * w.0), sum(|w| w.0 * w.1), sum(|w| w.1 * w.1));
        Self { waves, products }
    }

    /// In decibels; 0 where the tone is 3 dB too weak.
    fn signal_to_noise(&self, piece: &[i16]) -> f64 {
        let (mut sine, mut cosine, mut all) = (0.0, 0.0, 0.0);
        for (&sample, (s, c)) in piece.iter().zip(&self.waves) {
            let sample = f64::from(sample);
            sine += s * sample;
            cosine += c * sample;
            all += sample * sample;
        }
        let (ss, sc, cc) = self.products;
        let determinant = ss * cc - sc * sc;
        let (a, b) = (sine * cc - cosine * sc, cosine * ss - sine * sc);
        let signal = (a * sine + b * cosine) / determinant;
        if signal / (piece.len() as f64) < AMPLITUDE * AMPLITUDE / 4.0 {
            return 0.0;
        }
        10.0 * (signal / (all - signal).max(1.0)).log10()
    }
}

fn bursts(random: &mut fastrand::Rng, at: f64) -> Option<f64> {
    // Every 2 s all is held back for 80 ms and then let go at once.
    let into = at % 2.0;
    Some(if into < 0.08 { 0.08 - into } else { random.f64() * 0.002 })
}

#[test]
fn even_stream_is_played_without_a_fault_and_with_little_delay() {
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::L16(Rate::Wide), Codec::L16(Rate::Full)] {
        let heard = Link { codec, ..Link::default() }.run();
        let counts = heard.counts();
        assert_eq!(heard.faults(1), 0, "{codec:?} {counts:?}");
        let is_clean = Counts { delay_ms: 0, most_delay_ms: 0, ..counts } == Counts::default();
        assert!(is_clean, "{codec:?} {counts:?}");
        // The first target of 40 ms and a tick; in the end a frame, the step of 5 ms and what may
        // stay.
        assert!(counts.most_delay_ms <= 60, "{codec:?} {counts:?}");
        assert!(heard.delay(25) <= 45, "{codec:?} {:?}", heard.delays);
    }
}

#[test]
fn packets_of_any_length_are_played_without_a_fault() {
    for ptime_ms in [10, 20, 30, 40, 60, 100, 200] {
        let heard = Link { ptime_ms, ..Link::default() }.run();
        assert_eq!(heard.faults(1), 0, "{ptime_ms} {:?}", heard.counts());
        assert_eq!(heard.counts().concealed, 0, "{ptime_ms} {:?}", heard.counts());
    }
}

#[test]
fn each_lost_packet_is_concealed_once_and_adds_no_delay() {
    let networks: [(Network, f64); 3] = [
        (|random, _| (random.f64() >= 0.01).then_some(0.0), 0.01),
        (|random, _| (random.f64() >= 0.05).then_some(0.0), 0.05),
        (|random, _| (random.f64() >= 0.10).then_some(0.0), 0.10),
    ];
    for (network, loss) in networks {
        let heard = Link { network, seconds: 60, ..Link::default() }.run();
        let counts = heard.counts();
        assert!(heard.lost as f64 >= 3000.0 * loss * 0.6);
        // A packet may lie across two frames.
        assert!(counts.concealed <= heard.lost * 2, "{loss} {} {counts:?}", heard.lost);
        assert!(counts.concealed * 10 >= heard.lost * 8, "{loss} {} {counts:?}", heard.lost);
        assert_eq!((counts.late, counts.early), (0, 0), "{loss}");
        assert!(heard.faults(1) as u64 <= heard.lost * 3, "{loss} {} {counts:?}", heard.lost);
        assert!(heard.delay(30) <= 45, "{loss} {:?}", heard.delays);
    }
}

#[test]
fn jitter_is_covered_by_the_delay_that_it_needs() {
    let networks: [(Network, u32); 4] = [
        (|random, _| Some(random.f64() * 0.01), 10),
        (|random, _| Some(random.f64() * 0.02), 20),
        (|random, _| Some(random.f64() * 0.04), 40),
        (|random, _| Some(random.f64() * 0.08), 80),
    ];
    for (network, jitter) in networks {
        let heard = Link { network, seconds: 60, ..Link::default() }.run();
        let counts = heard.counts();
        // 2500 frames after the first ten seconds: one in 200 may be faulty.
        assert!(heard.faults(10) <= 12, "{jitter} {} {counts:?}", heard.faults(10));
        assert!(counts.late <= 10, "{jitter} {counts:?}");
        assert!(heard.delay(10) <= jitter + 60, "{jitter} {:?}", heard.delays);
    }
}

#[test]
fn bursts_are_covered_after_the_first() {
    let heard = Link { network: bursts, seconds: 60, ..Link::default() }.run();
    let counts = heard.counts();
    assert!(heard.faults(10) <= 5, "{} {counts:?}", heard.faults(10));
    assert_eq!((counts.late, counts.early), (0, 0), "{counts:?}");
    assert!(heard.delay(10) <= 140, "{:?}", heard.delays);
}

#[test]
fn delay_shrinks_again_when_the_network_is_good() {
    fn network(random: &mut fastrand::Rng, at: f64) -> Option<f64> {
        Some(if at < 25.0 { random.f64() * 0.08 } else { 0.0 })
    }
    let heard = Link { network, seconds: 90, ..Link::default() }.run();
    assert!(heard.delay(15) >= 80, "{:?}", heard.delays);
    assert!(heard.delay(80) <= 45, "{:?}", heard.delays);
    assert!(heard.faults(25) <= 2, "{} {:?}", heard.faults(25), heard.counts());
}

#[test]
fn outage_costs_what_was_not_there_and_the_delay_comes_back() {
    // 500 ms are held back at 15 s.
    fn network(_: &mut fastrand::Rng, at: f64) -> Option<f64> {
        Some(if (15.0..15.5).contains(&at) { 15.5 - at } else { 0.0 })
    }
    let heard = Link { network, seconds: 60, ..Link::default() }.run();
    let counts = heard.counts();
    assert!(counts.most_delay_ms <= 300, "{counts:?}");
    // 500 ms without a packet are 25 frames, and as many may be stretched in the worst case.
    assert!(heard.faults(1) <= 40, "{} {counts:?}", heard.faults(1));
    assert!(heard.delay(50) <= 45, "{:?}", heard.delays);
}

#[test]
fn reordered_packets_are_put_in_order_and_duplicates_dropped() {
    // Every tenth packet comes behind its successor; all are sent twice.
    fn network(_: &mut fastrand::Rng, at: f64) -> Option<f64> {
        let n = ((at - 5.0) / 0.02).round() as u32;
        Some(if n.is_multiple_of(10) { 0.025 } else { 0.0 })
    }
    let manner = |_| Manner { again: 1, ..Manner::default() };
    let heard = Link { network, manner, ..Link::default() }.run();
    let counts = heard.counts();
    assert!((148..=150).contains(&counts.reordered), "{counts:?}");
    assert!((1495..=1500).contains(&counts.duplicate), "{counts:?}");
    assert_eq!((counts.late, counts.early), (0, 0), "{counts:?}");
    assert!(heard.faults(2) <= 1, "{} {counts:?}", heard.faults(2));
}

#[test]
fn clocks_that_differ_are_never_heard_over_an_hour() {
    for ppm in [200.0, -200.0] {
        let heard = Link { ppm, seconds: 3600, ..Link::default() }.run();
        let counts = heard.counts();
        assert_eq!(heard.faults(1), 0, "{ppm} {counts:?}");
        assert_eq!((counts.concealed, counts.late, counts.early), (0, 0, 0), "{ppm} {counts:?}");
        assert!(heard.delay(60) <= 45, "{ppm} {counts:?}");
        assert!((f64::from(counts.skew_ppm) - ppm).abs() < 20.0, "{ppm} {counts:?}");
    }
}

#[test]
fn clocks_that_differ_under_jitter_cost_no_more_than_jitter() {
    let network: Network = |random, _| Some(random.f64() * 0.04);
    for ppm in [1000.0, -1000.0] {
        let heard = Link { ppm, network, seconds: 300, ..Link::default() }.run();
        let counts = heard.counts();
        assert!(heard.faults(10) <= 75, "{ppm} {} {counts:?}", heard.faults(10));
        assert!(heard.delay(10) <= 100, "{ppm} {counts:?}");
        assert!((f64::from(counts.skew_ppm) - ppm).abs() < 100.0, "{ppm} {counts:?}");
    }
}

/// How many samples of the tone were heard, in units of 20 ms.
fn sounding(heard: &Heard) -> usize {
    let frame = heard.receiver.frame().rate().frame();
    let loud = |piece: &&[i16]| piece.iter().any(|sample| sample.unsigned_abs() > 5000);
    heard.samples.chunks_exact(frame / 4).filter(loud).count() / 4
}

#[test]
fn pauses_of_a_sender_that_sends_no_silence_lose_nothing_of_what_it_says() {
    // 600 ms of tone, 1400 ms of nothing, with jitter.
    let manner = |n: u32| Manner {
        is_silent: n % 100 >= 30,
        sequence: (n / 100).wrapping_mul(70).wrapping_neg() as u16,
        marker: n.is_multiple_of(100),
        ..Manner::default()
    };
    let network: Network = |random, _| Some(random.f64() * 0.03);
    let heard = Link { manner, network, seconds: 60, ..Link::default() }.run();
    let counts = heard.counts();
    assert_eq!((counts.late, counts.early), (0, 0), "{counts:?}");
    // Up to 120 ms are concealed before it is known to be a pause: it fades within 60 ms.
    assert!(counts.concealed <= 30 * 7 + 10, "{counts:?}");
    let sounding = sounding(&heard);
    assert!((30 * 29..30 * 34).contains(&sounding), "{sounding}");
    assert!(heard.delay(5) <= 95, "{:?}", heard.delays);
}

#[test]
fn timestamps_that_jump_or_stand_still_cost_nothing() {
    let manners: [fn(u32) -> Manner; 5] = [
        // Forward by 20 minutes, and back by 10 hours.
        |n| Manner { timestamp: if n < 500 { 0 } else { 9_600_000 }, ..Manner::default() },
        |n| Manner { timestamp: if n < 500 { 0 } else { 0xeec0_0000 }, ..Manner::default() },
        // By 100 ms either way.
        |n| Manner { timestamp: if n < 500 { 0 } else { 800 }, ..Manner::default() },
        |n| Manner {
            timestamp: if n < 500 { 0 } else { 0u32.wrapping_sub(800) },
            ..Manner::default()
        },
        // Other numbers under the same SSRC.
        |n| Manner { sequence: if n < 500 { 0 } else { 12_345 }, ..Manner::default() },
    ];
    for (case, manner) in manners.into_iter().enumerate() {
        let heard = Link { manner, ..Link::default() }.run();
        let counts = heard.counts();
        assert!(heard.faults(1) <= 2, "{case} {} {counts:?}", heard.faults(1));
        assert_eq!((counts.late, counts.early), (0, 0), "{case} {counts:?}");
        assert!(heard.delay(28) <= 60, "{case} {:?}", heard.delays);
    }
}

#[test]
fn other_ssrc_follows_on_without_a_gap() {
    let manner = |n: u32| Manner {
        ssrc: n / 250,
        timestamp: n / 250 * 0x1234_5678,
        sequence: (n / 250 * 7777) as u16,
        marker: n.is_multiple_of(250),
        ..Manner::default()
    };
    let network: Network = |random, _| Some(random.f64() * 0.01);
    let heard = Link { manner, network, ..Link::default() }.run();
    let counts = heard.counts();
    assert!(heard.faults(2) <= 5, "{} {counts:?}", heard.faults(2));
    assert_eq!((counts.late, counts.early), (0, 0), "{counts:?}");
    assert!(heard.delay(25) <= 60, "{:?}", heard.delays);
}

#[test]
fn stream_after_a_hold_is_played_whether_its_clock_ran_or_not() {
    let manners: [fn(u32) -> Manner; 3] = [
        // 10 s without packets; timestamps go on, stand still, or begin elsewhere.
        |n| Manner { is_silent: (500..1000).contains(&n), sequence: 0, ..Manner::default() },
        |n| Manner {
            is_silent: (500..1000).contains(&n),
            sequence: if n < 500 { 0 } else { 500u16.wrapping_neg() },
            timestamp: if n < 500 { 0 } else { 80_000u32.wrapping_neg() },
            ..Manner::default()
        },
        |n| Manner {
            is_silent: (500..1000).contains(&n),
            timestamp: if n < 500 { 0 } else { 0x5555_5555 },
            sequence: if n < 500 { 0 } else { 33_333 },
            marker: n == 1000,
            ..Manner::default()
        },
    ];
    for (case, manner) in manners.into_iter().enumerate() {
        let heard = Link { manner, seconds: 40, ..Link::default() }.run();
        let counts = heard.counts();
        // 1500 packets were sent, of which those under way at the end may be missing.
        assert!(sounding(&heard) >= 1490, "{case} {} {counts:?}", sounding(&heard));
        assert!(heard.faults(22) <= 1, "{case} {} {counts:?}", heard.faults(22));
        assert!(heard.delay(30) <= 60, "{case} {:?}", heard.delays);
    }
}

/// A receiver that is fed by hand: what comes at each tick.
struct Hand {
    receiver: Receiver,
    epoch: Instant,
    tick: u32,
    sequence: u16,
}

impl Hand {
    fn new() -> Self {
        Self { receiver: Receiver::new(Codec::Pcmu), epoch: Instant::now(), tick: 0, sequence: 0 }
    }

    fn now(&self) -> Instant {
        self.epoch + Duration::from_millis(20) * self.tick
    }

    fn header(&mut self) -> Header {
        self.sequence += 1;
        Header {
            marker: false,
            payload_type: 0,
            sequence: self.sequence,
            timestamp: self.tick * 160,
            ssrc: 1,
        }
    }

    fn say(&mut self, codec: Codec) {
        let header = self.header();
        let units = codec.clock_rate() / 50;
        let header = Header { timestamp: self.tick * units, ..header };
        let samples = codec.rate().frame() as u32;
        let payload = tone(codec, u64::from(self.tick * samples), samples);
        self.receiver.push(self.now(), codec, header, &payload);
    }

    fn pull(&mut self) -> &Frame {
        let now = self.now();
        self.tick += 1;
        self.receiver.pull(now)
    }
}

#[test]
fn comfort_noise_is_heard_while_the_sender_pauses_and_silence_before() {
    let mut hand = Hand::new();
    assert!(hand.pull().is_silence());
    for _ in 0..50 {
        hand.say(Codec::Pcmu);
        hand.pull();
    }
    // 40 dB below overload, white.
    let header = hand.header();
    hand.receiver.push_noise(header, &[40]);
    for _ in 0..10 {
        hand.pull();
    }
    let mut power = 0.0;
    for _ in 0..100 {
        let frame = hand.pull();
        power += frame.samples().iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
    }
    let level = 20.0 * ((power / 16_000.0).sqrt() / 32_768.0).log10();
    assert!((-44.0..-36.0).contains(&level), "{level}");
    assert_eq!(hand.receiver.counts().concealed, 0);
    // It speaks again at once.
    let mut ticks = 0;
    while hand.receiver.frame().samples().iter().all(|sample| sample.unsigned_abs() < 5000) {
        hand.say(Codec::Pcmu);
        hand.pull();
        ticks += 1;
    }
    assert!(ticks <= 4, "{ticks}");
}

#[test]
fn telephone_event_is_a_silent_pause_and_no_loss() {
    let mut hand = Hand::new();
    for _ in 0..50 {
        hand.say(Codec::Pcmu);
        hand.pull();
    }
    for _ in 0..10 {
        let header = hand.header();
        hand.receiver.pass(header);
        hand.pull();
    }
    assert!(hand.receiver.frame().is_silence());
    for _ in 0..50 {
        hand.say(Codec::Pcmu);
        hand.pull();
    }
    assert_eq!(hand.receiver.counts().concealed, 0);
    assert!(!hand.receiver.frame().is_silence());
}

#[test]
fn codec_changes_in_mid_stream_and_the_frame_with_it() {
    let mut hand = Hand::new();
    let codecs = [Codec::Pcmu, Codec::L16(Rate::Wide), Codec::Pcma, Codec::L16(Rate::Full)];
    let mut faults = 0;
    for n in 0..400 {
        hand.say(codecs[n / 100]);
        let frame = hand.pull();
        let rate = frame.rate();
        if n > 10 && Instrument::new(rate).signal_to_noise(frame.samples()) < 20.0 {
            faults += 1;
        }
        if n % 100 == 99 {
            assert_eq!(rate, codecs[n / 100].rate());
        }
    }
    // At most a few frames around each of three changes.
    assert!(faults <= 9, "{faults} {:?}", hand.receiver.counts());
    assert_eq!(hand.receiver.counts().late, 0);
}

#[test]
fn ticks_that_were_skipped_add_no_delay() {
    let mut hand = Hand::new();
    for n in 0..500 {
        hand.say(Codec::Pcmu);
        if n == 250 {
            // 300 ms pass in which packets come but no tick.
            for _ in 0..15 {
                hand.tick += 1;
                hand.say(Codec::Pcmu);
            }
        }
        hand.pull();
    }
    assert!(hand.receiver.counts().most_delay_ms <= 70, "{:?}", hand.receiver.counts());
}

#[test]
fn receiver_that_is_not_pulled_holds_the_latest_packets_only() {
    let mut hand = Hand::new();
    for _ in 0..500 {
        hand.say(Codec::Pcmu);
        hand.tick += 1;
    }
    // 4096 bytes hold 25 packets of 160.
    assert_eq!(hand.receiver.counts().early, 475);
    for _ in 0..200 {
        hand.say(Codec::Pcmu);
        hand.pull();
    }
    let counts = hand.receiver.counts();
    assert!(counts.delay_ms <= 80, "{counts:?}");
}

#[test]
fn nothing_that_comes_makes_it_panic_or_grow() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let epoch = Instant::now();
        let mut receiver = Receiver::new(Codec::Pcmu);
        let codecs = [Codec::Pcmu, Codec::Pcma, Codec::L16(Rate::Narrow), Codec::L16(Rate::Wide)];
        let mut now = epoch;
        let (mut sequence, mut timestamp) = (0u16, 0u32);
        for _ in 0..2000 {
            now += Duration::from_micros(random.u64(0..40_000));
            let wild = random.u8(0..20) == 0;
            sequence = if wild { random.u16(..) } else { sequence.wrapping_add(random.u16(0..3)) };
            timestamp = if wild { random.u32(..) } else { timestamp.wrapping_add(160) };
            let header = Header {
                marker: random.bool(),
                payload_type: random.u8(..),
                sequence,
                timestamp,
                ssrc: u32::from(random.u8(0..30) == 0),
            };
            let payload = vec![random.u8(..); random.usize(0..2000)];
            match random.u8(0..8) {
                0 => receiver.push_noise(header, &payload),
                1 => receiver.pass(header),
                2..5 => {
                    receiver.pull(now);
                }
                _ => receiver.push(now, codecs[random.usize(0..4)], header, &payload),
            }
        }
        assert!(receiver.counts().most_delay_ms < 1000, "{:?}", receiver.counts());
    }
}

#[test]
fn memory_per_call_is_bounded_as_documented() {
    assert!(size_of::<Receiver>() <= 6 * 1024, "{}", size_of::<Receiver>());
}
