//! The engine from outside: commands and packets in, exact packets and events out.
//!
//! Here stands the bench that the tests share.

mod conference;
mod digits;
mod joining;
mod life;
mod pacing;
mod relay;
mod reports;
mod sound;
mod srtp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clip::Clip;
use super::codec::decoder::Decoder;
use super::codec::encoder::{Encoder, EncoderSettings};
use super::engine::{
    Codec, Command, Config, DigitSource, DigitSources, Engine, Event, Figures, Input, Layout,
    Output, SocketId, Source, StreamSettings, UnitId, Usage,
};
use super::format::{Format, Formats, OpusSettings, Reports};
use super::frame::Rate;
use super::tone::Script;
use crate::random::Random;

const A: UnitId = UnitId(1);
const B: UnitId = UnitId(2);
const PLAYER: UnitId = UnitId(3);
const RECORDER: UnitId = UnitId(4);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const MS: Duration = Duration::from_millis(1);
const DTMF: u8 = 101;
const FULL_DTMF: u8 = 110;

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
        Self::with_units(first, last, 8)
    }

    fn with_units(first: u16, last: u16, units: usize) -> Self {
        let now = Instant::now();
        let config = Config { ports: (first, last), units, rtp_timeout: Duration::from_secs(7) };
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
        payload_type: payload_type(codec),
        formats: Formats::new([
            (0, Format::Audio(Codec::Pcmu)),
            (8, Format::Audio(Codec::Pcma)),
            (payload_type(codec), Format::Audio(codec)),
            (DTMF, Format::Event(Rate::Narrow)),
            (FULL_DTMF, Format::Event(Rate::Full)),
        ]),
        dtmf_payload_type: Some(DTMF),
        dtmf_clock: Rate::Narrow,
        noise_payload_type: None,
        opus: OpusSettings::default(),
        reports: Reports::default(),
        sends: true,
        receives: true,
        ptime: 20 * MS,
        srtp: None,
    }
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

/// Packet `number` of 20 ms of a tone, in one of the laws.
fn tone_packet(codec: Codec, number: u16, hertz: f64, amplitude: f64) -> Vec<u8> {
    let start = u32::from(number) * 160;
    let payload: Vec<u8> = (start..start + 160)
        .map(|place| {
            let at = f64::from(place) / 8000.0 * std::f64::consts::TAU;
            codec.encode((amplitude * (hertz * at).sin()) as i16)
        })
        .collect();
    rtp(if codec == Codec::Pcmu { 0 } else { 8 }, number, start, &payload)
}

/// A peer that says one tone after the other.
struct Talker {
    unit: UnitId,
    codec: Codec,
    encoder: Encoder,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// Samples said so far.
    said: u64,
}

impl Talker {
    fn new(unit: UnitId, codec: Codec) -> Self {
        let settings = EncoderSettings { ptime: 20 * MS, opus: OpusSettings::default() };
        let encoder = Encoder::new(codec, &settings);
        Self { unit, codec, encoder, sequence: 100, timestamp: 7000, ssrc: 0xc0ffee, said: 0 }
    }

    /// The next packet of 20 ms.
    fn packet(&mut self, hertz: f64, amplitude: f64) -> Vec<u8> {
        let rate = self.codec.rate();
        let sample = |place: u64| {
            let at = (self.said + place) as f64 / f64::from(rate.hertz());
            (amplitude * (std::f64::consts::TAU * hertz * at).sin()) as i16
        };
        let samples: Vec<i16> = (0..rate.frame() as u64).map(sample).collect();
        let mut payload = [0; 2000];
        let bytes = self.encoder.encode(&samples, &mut payload);
        let number = payload_type(self.codec);
        let mut data = rtp(number, self.sequence, self.timestamp, &payload[..bytes]);
        data[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        self.said += rate.frame() as u64;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.codec.clock_rate() / 50);
        data
    }
}

/// What a peer hears that decodes packets as they come.
fn decode(codec: Codec, sent: &[Sent]) -> Vec<i16> {
    let mut decoder = Decoder::new(codec);
    let mut heard = Vec::new();
    for sent in sent.iter().filter(|sent| sent.payload_type() == payload_type(codec)) {
        let mut samples = [0; 5760];
        let count = decoder.decode(sent.payload(), &mut samples);
        heard.extend_from_slice(&samples[..count]);
    }
    heard
}

/// The samples of packets of one of the laws.
fn samples(codec: Codec, sent: &[Sent]) -> Vec<i16> {
    sent.iter().flat_map(|sent| sent.payload()).map(|&byte| codec.decode(byte)).collect()
}

fn amplitude(samples: &[i16], hertz: f64) -> f64 {
    amplitude_at(Rate::Narrow, samples, hertz)
}

/// Amplitude of one frequency: the projection on its sine and cosine.
fn amplitude_at(rate: Rate, samples: &[i16], hertz: f64) -> f64 {
    let sum = |f: fn(f64) -> f64| {
        let step = std::f64::consts::TAU * hertz / f64::from(rate.hertz());
        let angle = |n: usize| step * n as f64;
        let products = samples.iter().enumerate().map(|(n, &s)| f64::from(s) * f(angle(n)));
        products.sum::<f64>() * 2.0 / samples.len().max(1) as f64
    };
    sum(f64::sin).hypot(sum(f64::cos))
}

fn digit(unit: UnitId, digit: char, source: DigitSource) -> Event {
    Event::Digit { unit, digit, source }
}

fn clip(samples: Vec<i16>) -> Source {
    Source::Clip(Arc::new(Clip::whole(Rate::Narrow, &samples)))
}

const ALL: DigitSources = DigitSources { telephone_event: true, in_band: true, info: true };
