//! Nothing is allocated per packet: the engine in virtual time under a counting allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline::media::clip::Clip;
use branchline::media::codec::encoder::{Encoder, EncoderSettings};
use branchline::media::engine::{
    Codec, Command, Config, DigitSources, Engine, Input, Output, SocketId, Source, StreamSettings,
    UnitId,
};
use branchline::media::format::{Format, Formats, OpusSettings, Reports};
use branchline::media::frame::Rate;
use branchline::random::Random;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above; `place` came from there.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const TICK: Duration = Duration::from_millis(20);
/// Until every buffer has its size.
const WARM_UP: u32 = 400;
/// 6 seconds, with a round of reports in them.
const MEASURED: u32 = 300;

/// Calls with a codec each; every one speaks, and nobody hears anybody yet.
struct Bench {
    engine: Engine,
    now: Instant,
    calls: Vec<Call>,
    sent: usize,
}

struct Call {
    codec: Codec,
    encoder: Encoder,
    packet: Vec<u8>,
}

impl Bench {
    fn new(codecs: &[Codec]) -> Self {
        let now = Instant::now();
        let config =
            Config { ports: (10_000, 11_000), units: 200, rtp_timeout: Duration::from_secs(7) };
        let engine = Engine::new(now, config, Random::seeded(1));
        let mut bench = Self { engine, now, calls: Vec::new(), sent: 0 };
        for (place, &codec) in codecs.iter().enumerate() {
            let unit = unit(place);
            let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
            bench.command(Command::Open { unit, address });
            bench.command(Command::Configure { unit, settings: settings(place, codec) });
            let opus = OpusSettings::default();
            let encoder = Encoder::new(codec, &EncoderSettings { ptime: TICK, opus });
            bench.calls.push(Call { codec, encoder, packet: vec![0; 12 + 2000] });
        }
        bench
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_input(self.now, Input::Command(command));
        self.drain();
    }

    fn join(&mut self, from: UnitId, to: UnitId) {
        self.command(Command::Route { from, to });
        self.command(Command::Route { from: to, to: from });
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            if let Output::Bind { socket, .. } = output {
                self.engine.handle_input(self.now, Input::Bound { socket });
            }
        }
        while self.engine.poll_transmit().is_some() {
            self.sent += 1;
        }
    }

    /// All speak for so many ticks.
    fn run(&mut self, first: u32, count: u32) {
        for number in first..first + count {
            for place in 0..self.calls.len() {
                self.speak(place, number);
            }
            self.now += TICK;
            while self.engine.poll_timeout().is_some_and(|next| next <= self.now) {
                self.engine.handle_input(self.now, Input::Timeout);
                self.drain();
            }
        }
    }

    fn speak(&mut self, place: usize, number: u32) {
        let call = &mut self.calls[place];
        let rate = call.codec.rate();
        let mut samples = [0i16; Rate::Full.frame()];
        let hertz = 300.0 + 50.0 * place as f64;
        for (n, sample) in samples[..rate.frame()].iter_mut().enumerate() {
            let at = f64::from(number) * 0.02 + n as f64 / f64::from(rate.hertz());
            *sample = (6000.0 * (std::f64::consts::TAU * hertz * at).sin()) as i16;
        }
        let (header, payload) = call.packet.split_at_mut(12);
        let bytes = call.encoder.encode(&samples[..rate.frame()], payload);
        let timestamp = number * (call.codec.clock_rate() / 50);
        header[..2].copy_from_slice(&[0x80, payload_type(call.codec)]);
        header[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&(place as u32 + 7).to_be_bytes());
        let (socket, from) = (SocketId(place as u32), peer(place));
        let data = &call.packet[..12 + bytes];
        self.engine.handle_input(self.now, Input::Rtp { socket, from, data });
        self.drain();
    }

    /// Allocations once everything runs, and packets sent meanwhile.
    fn measure(mut self) -> (u64, usize) {
        self.run(0, WARM_UP);
        let before = ALLOCATIONS.with(Cell::get);
        self.sent = 0;
        self.run(WARM_UP, MEASURED);
        (ALLOCATIONS.with(Cell::get) - before, self.sent)
    }
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

const ALL: [Codec; 5] =
    [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus, Codec::L16(Rate::Wide)];

#[test]
fn joined_calls_of_all_pairs_of_codecs() {
    for (place, first) in ALL.into_iter().enumerate() {
        // Both ways at once.
        for &second in &ALL[place..] {
            let mut bench = Bench::new(&[first, second]);
            bench.join(unit(0), unit(1));
            let (allocations, sent) = bench.measure();
            assert!(sent >= 2 * MEASURED as usize, "{first:?} {second:?}: {sent}");
            assert_eq!(allocations, 0, "{first:?} {second:?}");
        }
    }
}

#[test]
fn call_that_is_listened_to() {
    for codec in ALL {
        let mut bench = Bench::new(&[codec, codec]);
        bench.join(unit(0), unit(1));
        let sources = DigitSources { telephone_event: true, in_band: true, info: true };
        bench.command(Command::ListenDigits { unit: unit(0), sources });
        bench.command(Command::ListenVoice { unit: unit(0), listens: true });
        assert_eq!(bench.measure().0, 0, "{codec:?}");
    }
}

#[test]
fn conference_of_all_codecs_with_a_player() {
    let mut bench = Bench::new(&[ALL, ALL].concat());
    let conference = UnitId(1000);
    bench.command(Command::Conference { unit: conference, rate: Rate::Full });
    for place in 0..2 * ALL.len() {
        bench.join(unit(place), conference);
    }
    let player = UnitId(1001);
    let clip = Arc::new(Clip::whole(Rate::Wide, &[1000; 16_000]));
    let source = Source::Clip(clip);
    bench.command(Command::Play { unit: player, source, looped: true, paused: false });
    bench.command(Command::Route { from: player, to: conference });
    let (allocations, sent) = bench.measure();
    assert!(sent >= 10 * MEASURED as usize, "{sent}");
    assert_eq!(allocations, 0);
}
