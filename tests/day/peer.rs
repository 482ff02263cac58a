//! What stands at the other end of a call: it speaks, presses keys, begins anew, and checks that
//! what it hears is one stream.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use branchline::media::codec::encoder::{Encoder, EncoderSettings};
use branchline::media::engine::{Codec, StreamSettings, UnitId};
use branchline::media::format::{Format, Formats, OpusSettings, Reports};
use branchline::media::frame::Rate;

pub const TICK: Duration = Duration::from_millis(20);
pub const ALL: [Codec; 6] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::Opus,
    Codec::L16(Rate::Wide),
    Codec::L16(Rate::Full),
];
const EVENT: u8 = 101;

/// One peer, with what it sends and what it was sent.
pub struct Peer {
    pub unit: UnitId,
    pub codec: Codec,
    /// Its packets get lost, come late and come twice; who hears it hears that too.
    pub is_lossy: bool,
    pub is_silent: bool,
    pub sends: bool,
    pub receives: bool,
    pub has_events: bool,
    pub ssrc: u32,
    pub timestamp: u32,
    pub sequence: u16,
    /// The digit whose key is down, when it began, and for how many packets.
    pub press: Option<(u8, u32, u16)>,
    said: usize,
}

impl Peer {
    pub fn new(unit: UnitId, codec: Codec, random: &mut fastrand::Rng) -> Self {
        Self {
            unit,
            codec,
            is_lossy: false,
            is_silent: false,
            sends: true,
            receives: true,
            has_events: random.u8(..4) > 0,
            ssrc: random.u32(..),
            timestamp: random.u32(..),
            sequence: random.u16(..),
            press: None,
            said: 0,
        }
    }

    pub fn address(&self) -> SocketAddr {
        let [.., high, low] = self.unit.0.to_be_bytes();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, high, low)), 4000)
    }

    pub fn settings(&self) -> StreamSettings {
        let remote = self.address();
        let number = payload_type(self.codec);
        StreamSettings {
            remote,
            remote_rtcp: remote,
            rtcp_mux: true,
            codec: self.codec,
            payload_type: number,
            formats: Formats::new([
                (number, Format::Audio(self.codec)),
                (EVENT, Format::Event(Rate::Narrow)),
            ]),
            dtmf_payload_type: self.has_events.then_some(EVENT),
            dtmf_clock: Rate::Narrow,
            noise_payload_type: None,
            opus: OpusSettings::default(),
            reports: Reports::default(),
            sends: self.sends,
            receives: self.receives,
            ptime: TICK,
            srtp: None,
        }
    }

    /// The packet of the next 20 ms: audio, or of the key that is down.
    pub fn packet(&mut self, voice: &Voice) -> Vec<u8> {
        let units = self.codec.clock_rate() / 50;
        let mut data = vec![0x80, payload_type(self.codec)];
        data.extend(self.sequence.to_be_bytes());
        let now = self.timestamp;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(units);
        if let Some((digit, begun, count)) = self.press {
            let is_end = count >= LONGEST_PRESS;
            data[1] = EVENT | if count == 1 { 0x80 } else { 0 };
            data.extend(begun.to_be_bytes());
            data.extend(self.ssrc.to_be_bytes());
            data.extend([digit, if is_end { 0x8a } else { 0x0a }]);
            data.extend((count.min(LONGEST_PRESS) * 160).to_be_bytes());
            // The end is said three times (RFC 4733 §2.5.1.4).
            let is_over = count == LONGEST_PRESS + 2;
            self.press = (!is_over).then_some((digit, begun, count + 1));
            return data;
        }
        data.extend(now.to_be_bytes());
        data.extend(self.ssrc.to_be_bytes());
        let packets = &voice.0[&self.codec];
        data.extend(&packets[self.said % packets.len()]);
        self.said += 1;
        data
    }
}

/// A second of a tone in every codec.
pub struct Voice(HashMap<Codec, Vec<Vec<u8>>>);

impl Voice {
    pub fn new() -> Self {
        Self(ALL.into_iter().map(|codec| (codec, encoded(codec))).collect())
    }
}

fn encoded(codec: Codec) -> Vec<Vec<u8>> {
    let settings = EncoderSettings { ptime: TICK, opus: OpusSettings::default() };
    let mut encoder = Encoder::new(codec, &settings);
    let rate = codec.rate();
    let packet = |number: usize| {
        let sample = |place: usize| {
            let at = place as f64 / f64::from(rate.hertz());
            (6000.0 * (std::f64::consts::TAU * 500.0 * at).sin()) as i16
        };
        let first = number * rate.frame();
        let samples: Vec<i16> = (first..first + rate.frame()).map(sample).collect();
        let mut payload = [0; 2000];
        let bytes = encoder.encode(&samples, &mut payload);
        payload[..bytes].to_vec()
    };
    (0..50).map(packet).collect()
}

/// What a peer was sent last.
#[derive(Debug, Clone, Copy)]
pub struct Last {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Last {
    /// # Panics
    /// When this packet does not follow the one before it as RFC 3550 §5.1 has it, without a hole:
    /// nothing got lost on the way to us.
    pub fn check(before: Option<Self>, data: &[u8], is_strict: bool) -> Self {
        let word = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
        let sequence = u16::from_be_bytes([data[2], data[3]]);
        let this = Self { ssrc: word(8), sequence, timestamp: word(4) };
        let Some(before) = before else { return this };
        assert_eq!(this.ssrc, before.ssrc);
        let step = this.sequence.wrapping_sub(before.sequence) as i16;
        let ahead = this.timestamp.wrapping_sub(before.timestamp) as i32;
        if is_strict {
            let is_event = data[1] & 0x7f == EVENT;
            assert_eq!(step, 1, "{this:?} after {before:?}");
            // An event keeps the timestamp of its beginning, and its end is said thrice.
            let is_of_late = is_event && ahead > -(2 * Rate::Full.hertz() as i32);
            assert!(ahead > 0 || is_of_late, "{this:?} after {before:?}");
        } else {
            assert!(step != 0 && step.abs() < 200, "{this:?} after {before:?}");
        }
        Self { timestamp: if ahead > 0 { this.timestamp } else { before.timestamp }, ..this }
    }
}

pub fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus => 111,
        Codec::L16(Rate::Wide) => 112,
        Codec::L16(_) => 113,
    }
}

/// Packets of a key that is down: 100 ms.
const LONGEST_PRESS: u16 = 5;
