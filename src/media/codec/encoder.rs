//! From samples to payloads, whatever the codec.

use std::time::Duration;

use super::{g722, l16, opus};
use crate::media::engine::Codec;
use crate::media::format::OpusSettings;

/// What offer and answer said about the payloads that a peer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Of one packet; [`Codec::ptime`] says which the codec can do.
    pub ptime: Duration,
    pub opus: OpusSettings,
}

/// The encoding side of one call. All memory is taken when it is made.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    state: State,
}

#[derive(Debug)]
enum State {
    /// G.711 and L16.
    Plain,
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
}

impl Encoder {
    pub fn new(codec: Codec, settings: &EncoderSettings) -> Self {
        let state = match codec {
            Codec::Pcmu | Codec::Pcma | Codec::L16(_) => State::Plain,
            Codec::G722 => State::G722(Box::new(g722::Encoder::new())),
            Codec::Opus => State::Opus(opus::Encoder::new(&settings.opus)),
        };
        Self { codec, state }
    }

    /// One packet of these samples, at `codec.rate()`: how many bytes of `out` it is, which should
    /// have room for [`MOST_BYTES`]. None (0): nothing is to be sent, since Opus with DTX finds
    /// only what the peer can make up by itself; or it is no packet that Opus can make.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        match (&mut self.state, self.codec) {
            (State::Plain, Codec::L16(_)) => l16::encode(samples, out),
            (State::Plain, law) => {
                for (&sample, byte) in samples.iter().zip(out.iter_mut()) {
                    *byte = law.encode(sample);
                }
                samples.len().min(out.len())
            }
            (State::G722(encoder), _) => encoder.encode(samples, out),
            (State::Opus(encoder), _) => encoder.encode(samples, out),
        }
    }

    /// The share of packets that the peer misses, in percent: what forward error correction is to
    /// withstand. For Opus; others have none.
    pub fn expect_loss(&mut self, percent: u8) {
        if let State::Opus(encoder) = &mut self.state {
            encoder.expect_loss(percent);
        }
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }
}

impl Codec {
    /// The packet length nearest to the wanted one that the codec can do, that the encoder takes
    /// (10 to 60 ms), and that fits a datagram on an Ethernet.
    pub fn ptime(self, wanted: Duration) -> Duration {
        let able: &[u64] = match self {
            Self::Pcmu | Self::Pcma | Self::G722 => &[10, 20, 30, 40, 50, 60],
            Self::Opus => &[10, 20, 40, 60],
            // At most 1280 bytes of samples.
            Self::L16(rate) => match rate.hertz() {
                0..=8000 => &[10, 20, 30, 40, 50, 60],
                8001..=16_000 => &[10, 20, 30, 40],
                _ => &[10],
            },
        };
        let able = able.iter().map(|&ms| Duration::from_millis(ms));
        // The shorter of two that are as near.
        able.min_by_key(|able| able.abs_diff(wanted)).unwrap_or(wanted)
    }
}

/// The longest payload that an encoder makes: the largest Opus frame (RFC 6716 §3.2.1), and more
/// than `Codec::ptime` lets the others have.
pub const MOST_BYTES: usize = 1280;
