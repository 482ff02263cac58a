//! Two joined calls on an engine, one that talks and one that hears, and the link of the first.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use branchline::media::codec::decoder::Decoder;
use branchline::media::codec::encoder::{Encoder, EncoderSettings};
use branchline::media::engine::{
    Codec, Command, Config, Engine, Event, Figures, Input, Output, SocketId, StreamSettings, UnitId,
};
use branchline::media::format::{Format, Formats, OpusSettings, Reports};
use branchline::media::frame::Rate;
use branchline::random::Random;

pub const FRAME: Duration = Duration::from_millis(20);
/// Of the tone that is said: -12 dB below the loudest sine.
pub const AMPLITUDE: f64 = 8000.0;

const TALKER: UnitId = UnitId(1);
const LISTENER: UnitId = UnitId(2);

/// What becomes of the packets on the way to the engine.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub lost_percent: u32,
    /// Each packet takes from nothing to so long, evenly; they overtake each other.
    pub jitter_ms: u32,
}

impl Link {
    pub const GOOD: Self = Self { lost_percent: 0, jitter_ms: 0 };
}

/// What the listener heard of the tone.
pub struct Heard {
    pub rate: Rate,
    pub samples: Vec<i16>,
    /// From the end of the tone as it was said to its end as it was heard.
    pub delay_ms: f64,
    /// What the talker's codec makes by itself of the packets that were not lost, in time.
    pub alone: Vec<i16>,
    pub alone_rate: Rate,
    /// Packets that the link lost.
    pub lost: usize,
    /// Of the talker's call.
    pub figures: Figures,
}

/// Says a tone for so many frames over this link to a call that hears it with another codec.
pub fn say(from: Codec, to: Codec, hertz: f64, frames: usize, link: Link) -> Heard {
    let mut bench = Bench::joined(from, to);
    let mut talker = Talker::new(from);
    let mut random = Random::seeded(u64::from(link.lost_percent * 1000 + link.jitter_ms) + 1);
    let (start, mut lost) = (bench.now, 0);
    let mut alone = Alone { decoder: Decoder::new(from), samples: Vec::new() };
    for number in 0..frames + SILENT_FRAMES {
        let said = if number < frames { AMPLITUDE } else { 0.0 };
        let packet = talker.packet(hertz, said);
        // The end is where the delay is taken.
        let may_be_lost = number + SILENT_FRAMES < frames;
        if may_be_lost && random.next_u32() % 100 < link.lost_percent {
            lost += 1;
            alone.conceal();
        } else {
            alone.decode(&packet);
            let delay = random.next_u32() % (link.jitter_ms * 1000 + 1);
            bench.send(Duration::from_micros(u64::from(delay)), packet);
        }
        bench.run(FRAME);
    }
    bench.command(Command::Close { unit: TALKER });
    let figures = bench.figures.expect("a call that is closed has figures");
    let (first, samples) = hear(to, &bench.sent);
    let end = samples.iter().rposition(|&sample| f64::from(sample).abs() > AMPLITUDE / 3.0);
    let end = end.map_or(0, |end| end + 1);
    let heard_s = (first - start).as_secs_f64() + end as f64 / f64::from(to.rate().hertz());
    let delay_ms = (heard_s - frames as f64 * FRAME.as_secs_f64()) * 1000.0;
    let alone = alone.samples[..frames * from.rate().frame()].to_vec();
    let (rate, alone_rate) = (to.rate(), from.rate());
    let samples = samples[..end].to_vec();
    Heard { rate, samples, delay_ms, alone, alone_rate, lost, figures }
}

pub fn name(codec: Codec) -> String {
    match codec {
        Codec::Pcmu => "PCMU".to_owned(),
        Codec::Pcma => "PCMA".to_owned(),
        Codec::G722 => "G722".to_owned(),
        Codec::Opus => "Opus".to_owned(),
        Codec::L16(rate) => format!("L16/{}", rate.hertz() / 1000),
    }
}

/// When the first sample was sent, and all of them, each at its timestamp's place.
fn hear(codec: Codec, sent: &[(Instant, Vec<u8>)]) -> (Instant, Vec<i16>) {
    let mut decoder = Decoder::new(codec);
    let (first_at, first) = sent.first().expect("the listener hears something");
    let timestamp = |data: &[u8]| u32::from_be_bytes([data[4], data[5], data[6], data[7]]);
    let scale = |units: u32| {
        u64::from(units) * u64::from(codec.rate().hertz()) / u64::from(codec.clock_rate())
    };
    let mut samples = Vec::new();
    for (_, data) in sent {
        let place = scale(timestamp(data).wrapping_sub(timestamp(first))) as usize;
        assert!(place >= samples.len(), "packets do not overlap");
        samples.resize(place, 0);
        let mut decoded = [0; 5760];
        let count = decoder.decode(&data[12..], &mut decoded);
        samples.extend_from_slice(&decoded[..count]);
    }
    (*first_at, samples)
}

/// A decoder that is told at once what is lost.
struct Alone {
    decoder: Decoder,
    samples: Vec<i16>,
}

impl Alone {
    fn decode(&mut self, packet: &[u8]) {
        let mut decoded = [0; 5760];
        let count = self.decoder.decode(&packet[12..], &mut decoded);
        self.samples.extend_from_slice(&decoded[..count]);
    }

    fn conceal(&mut self) {
        let start = self.samples.len();
        self.samples.resize(start + self.decoder.codec().rate().frame(), 0);
        self.decoder.conceal(&mut self.samples[start..]);
    }
}

struct Bench {
    now: Instant,
    engine: Engine,
    /// On the way to the engine.
    waiting: BTreeMap<(Instant, u32), Vec<u8>>,
    number: u32,
    /// To the listener.
    sent: Vec<(Instant, Vec<u8>)>,
    figures: Option<Figures>,
}

impl Bench {
    fn joined(from: Codec, to: Codec) -> Self {
        let now = Instant::now();
        let config =
            Config { ports: (10_000, 10_099), units: 8, rtp_timeout: Duration::from_secs(60) };
        let engine = Engine::new(now, config, Random::seeded(1));
        let (waiting, sent) = (BTreeMap::new(), Vec::new());
        let mut bench = Self { now, engine, waiting, number: 0, sent, figures: None };
        for (unit, codec) in [(TALKER, from), (LISTENER, to)] {
            let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
            bench.command(Command::Open { unit, address });
            bench.command(Command::Configure { unit, settings: settings(unit, codec) });
        }
        bench.command(Command::Route { from: TALKER, to: LISTENER });
        bench
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_input(self.now, Input::Command(command));
        self.drain();
    }

    fn send(&mut self, delay: Duration, packet: Vec<u8>) {
        self.number += 1;
        self.waiting.insert((self.now + delay, self.number), packet);
    }

    /// All that happens in this time: packets that arrive, and ticks.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let arrival = self.waiting.first_key_value().map(|((at, _), _)| *at);
            let tick = self.engine.poll_timeout();
            let Some(next) = arrival.into_iter().chain(tick).min().filter(|next| *next < end)
            else {
                break;
            };
            self.now = next;
            if arrival == Some(next) {
                let (_, data) = self.waiting.pop_first().expect("the one that arrives");
                let (socket, from) = (SocketId(0), peer(TALKER));
                self.engine.handle_input(next, Input::Rtp { socket, from, data: &data });
            } else {
                self.engine.handle_input(next, Input::Timeout);
            }
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.engine.poll_transmit() {
            if transmit.socket == SocketId(1) && !transmit.is_rtcp {
                self.sent.push((self.now, transmit.data.to_vec()));
            }
        }
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Bind { socket, .. } => {
                    self.engine.handle_input(self.now, Input::Bound { socket });
                }
                Output::Event(Event::Closed { figures, .. }) => self.figures = Some(figures),
                Output::Unbind { .. } | Output::Recorded { .. } | Output::Event(_) => {}
            }
        }
    }
}

struct Talker {
    codec: Codec,
    encoder: Encoder,
    sequence: u16,
    timestamp: u32,
    said: usize,
}

impl Talker {
    fn new(codec: Codec) -> Self {
        let encoder_settings = EncoderSettings { ptime: FRAME, opus: OpusSettings::default() };
        let encoder = Encoder::new(codec, &encoder_settings);
        Self { codec, encoder, sequence: 100, timestamp: 7000, said: 0 }
    }

    fn packet(&mut self, hertz: f64, amplitude: f64) -> Vec<u8> {
        let rate = self.codec.rate();
        let step = TAU * hertz / f64::from(rate.hertz());
        let places = self.said..self.said + rate.frame();
        let samples: Vec<i16> =
            places.map(|place| (amplitude * (step * place as f64).sin()).round() as i16).collect();
        let mut payload = [0; 2000];
        let bytes = self.encoder.encode(&samples, &mut payload);
        let mut data = vec![0x80, payload_type(self.codec)];
        data.extend(self.sequence.to_be_bytes());
        data.extend(self.timestamp.to_be_bytes());
        data.extend(0x00c0_ffee_u32.to_be_bytes());
        data.extend(&payload[..bytes]);
        self.said += rate.frame();
        self.sequence += 1;
        self.timestamp += self.codec.clock_rate() / 50;
        data
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
        formats: Formats::new([(payload_type(codec), Format::Audio(codec))]),
        dtmf_payload_type: None,
        dtmf_clock: Rate::Narrow,
        noise_payload_type: None,
        opus: OpusSettings::default(),
        reports: Reports::default(),
        sends: true,
        receives: true,
        ptime: FRAME,
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

/// After the tone, so that its end is heard whatever the delay.
const SILENT_FRAMES: usize = 25;
