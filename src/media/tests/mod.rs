//! The engine from outside: commands and packets in, exact packets and events out.
//!
//! Here stands the bench that the tests share.

mod digits;
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
        formats: Formats::new([
            (0, Format::Audio(Codec::Pcmu)),
            (8, Format::Audio(Codec::Pcma)),
            (DTMF, Format::Event(Rate::Narrow)),
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
    Source::Clip(Arc::new(Clip::whole(Rate::Narrow, &samples)))
}

const ALL: DigitSources = DigitSources { telephone_event: true, in_band: true, info: true };
