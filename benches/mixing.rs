//! What transcoding costs per pair of codecs, and a conference per member, beside a relay: the
//! engine alone in virtual time, without sockets.
//!
//! `cargo bench --bench mixing -- [SECONDS]` prints microseconds of CPU for a second of one call's
//! audio both ways, and the ratio to relaying it. Numbers of a shared machine wander: ratios are
//! what counts. Nothing here fails by the clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use branchline::media::codec::encoder::{Encoder, EncoderSettings};
use branchline::media::engine::{
    Codec, Command, Config, Engine, Input, Output, SocketId, StreamSettings, UnitId,
};
use branchline::media::format::{Format, Formats, OpusSettings, Reports};
use branchline::media::frame::Rate;
use branchline::random::Random;
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only sees whether it runs.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let mut given = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let seconds = given.next().and_then(|seconds| seconds.parse().ok());
    let seconds = seconds.unwrap_or(if is_bench { 20 } else { 1 });

    let pair = |first, second| joined(&[first, second]).cost(seconds);
    let relay = pair(Codec::Pcmu, Codec::Pcmu);
    println!("joined calls             us per call-second  x relay");
    println!("{:24} {relay:18.1}  {:7.1}", "Pcmu Pcmu", 1.0);
    for (place, &first) in ALL.iter().enumerate() {
        for &second in &ALL[place..] {
            let cost = pair(first, second);
            let name = format!("{first:?} {second:?}");
            println!("{name:24} {cost:18.1}  {:7.1}", cost / relay);
        }
    }

    println!("conference               us per member-second  x relay");
    let sizes: &[usize] = if is_bench { &[10, 50, 100] } else { &[3] };
    for (name, codecs, rate) in [
        ("Pcmu at 8 kHz", &[Codec::Pcmu][..], Rate::Narrow),
        ("Pcmu, Pcma, G722", &[Codec::Pcmu, Codec::Pcma, Codec::G722], Rate::Full),
        ("Opus at 48 kHz", &[Codec::Opus], Rate::Full),
    ] {
        for &size in sizes {
            let codecs: Vec<Codec> = codecs.iter().copied().cycle().take(size).collect();
            for speakers in [3, size] {
                let seconds = (seconds * 10 / size as u32).max(2);
                let cost = conference(&codecs, rate, speakers).cost(seconds);
                let name = format!("{name}, {speakers} of {size} speak");
                println!("{name:40} {cost:8.1}  {:7.1}", cost / relay);
            }
        }
    }
}

const ALL: [Codec; 6] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::L16(Rate::Wide),
    Codec::L16(Rate::Full),
    Codec::Opus,
];

/// Calls that send prepared packets.
struct Bench {
    engine: Engine,
    now: Instant,
    calls: Vec<Call>,
    number: u32,
}

struct Call {
    codec: Codec,
    /// A second of it.
    packets: Vec<Vec<u8>>,
}

fn joined(codecs: &[Codec; 2]) -> Bench {
    let mut bench = Bench::new(codecs, 2);
    for (from, to) in [(0, 1), (1, 0)] {
        bench.command(Command::Route { from: unit(from), to: unit(to) });
    }
    bench
}

fn conference(codecs: &[Codec], rate: Rate, speakers: usize) -> Bench {
    let mut bench = Bench::new(codecs, speakers);
    let conference = UnitId(1000);
    bench.command(Command::Conference { unit: conference, rate });
    for place in 0..codecs.len() {
        bench.command(Command::Route { from: unit(place), to: conference });
        bench.command(Command::Route { from: conference, to: unit(place) });
    }
    bench
}

impl Bench {
    fn new(codecs: &[Codec], speakers: usize) -> Self {
        let now = Instant::now();
        let config =
            Config { ports: (10_000, 11_000), units: 300, rtp_timeout: Duration::from_secs(7) };
        let engine = Engine::new(now, config, Random::seeded(1));
        let mut bench = Self { engine, now, calls: Vec::new(), number: 0 };
        for (place, &codec) in codecs.iter().enumerate() {
            let unit = unit(place);
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            bench.command(Command::Open { unit, address });
            bench.command(Command::Configure { unit, settings: settings(place, codec) });
            let packets = packets(codec, place, place < speakers);
            bench.calls.push(Call { codec, packets });
        }
        bench
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_input(self.now, Input::Command(command));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            if let Output::Bind { socket, .. } = output {
                self.engine.handle_input(self.now, Input::Bound { socket });
            }
        }
        while self.engine.poll_transmit().is_some() {}
    }

    /// Microseconds of CPU for a second of one call, after a second to warm up.
    fn cost(&mut self, seconds: u32) -> f64 {
        self.run(1);
        let before = cpu_seconds();
        self.run(seconds);
        (cpu_seconds() - before) * 1e6 / f64::from(seconds) / self.calls.len() as f64
    }

    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds * 50 {
            for place in 0..self.calls.len() {
                self.speak(place);
            }
            self.number += 1;
            self.now += TICK;
            while self.engine.poll_timeout().is_some_and(|next| next <= self.now) {
                self.engine.handle_input(self.now, Input::Timeout);
                self.drain();
            }
        }
    }

    fn speak(&mut self, place: usize) {
        let call = &mut self.calls[place];
        let count = call.packets.len() as u32;
        let packet = &mut call.packets[(self.number % count) as usize];
        let timestamp = self.number * (call.codec.clock_rate() / 50);
        packet[2..4].copy_from_slice(&(self.number as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        let (socket, from) = (SocketId(place as u32), peer(place));
        self.engine.handle_input(self.now, Input::Rtp { socket, from, data: packet });
        self.drain();
    }
}

/// A second of syllables, or of silence.
fn packets(codec: Codec, place: usize, speaks: bool) -> Vec<Vec<u8>> {
    let opus = OpusSettings::default();
    let mut encoder = Encoder::new(codec, &EncoderSettings { ptime: TICK, opus });
    let rate = codec.rate();
    let packet = |number: u32| {
        let mut packet = vec![0x80, payload_type(codec)];
        packet.extend([0; 6]);
        packet.extend((place as u32 + 7).to_be_bytes());
        let amplitude = if speaks && number % 15 < 10 { 6000.0 } else { 0.0 };
        let sample = |n: usize| {
            let at = f64::from(number) * 0.02 + n as f64 / f64::from(rate.hertz());
            let hertz = 300.0 + 10.0 * place as f64;
            (amplitude * (std::f64::consts::TAU * hertz * at).sin()) as i16
        };
        let samples: Vec<i16> = (0..rate.frame()).map(sample).collect();
        let mut payload = [0; 2000];
        let bytes = encoder.encode(&samples, &mut payload);
        packet.extend(&payload[..bytes]);
        packet
    };
    (0..50).map(packet).collect()
}

fn unit(place: usize) -> UnitId {
    UnitId(place as u64 + 1)
}

fn peer(place: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, place as u8)), 4000)
}

fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus => 111,
        Codec::L16(_) => 112,
    }
}

fn settings(place: usize, codec: Codec) -> StreamSettings {
    StreamSettings {
        remote: peer(place),
        remote_rtcp: peer(place),
        rtcp_mux: true,
        codec,
        payload_type: payload_type(codec),
        formats: Formats::new([(payload_type(codec), Format::Audio(codec))]),
        dtmf_payload_type: None,
        dtmf_clock: Rate::Narrow,
        noise_payload_type: None,
        opus: OpusSettings::default(),
        reports: Reports::default(),
        sends: true,
        receives: true,
        ptime: TICK,
        srtp: None,
    }
}

/// Of this thread.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

const TICK: Duration = Duration::from_millis(20);
