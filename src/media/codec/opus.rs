//! Opus (RFC 6716) as calls use it (RFC 7587): mono, 48,000 Hz in and out whatever is in between.
//!
//! Forward error correction, DTX, loss concealment and packets of 10 to 60 ms **are** supported;
//! stereo is received and mixed down, and **not** sent.

use std::fmt;

use super::libopus;
use crate::media::format::OpusSettings;

pub struct Encoder {
    encoder: libopus::Encoder,
    has_dtx: bool,
}

impl Encoder {
    pub fn new(settings: &OpusSettings) -> Self {
        let mut encoder = libopus::Encoder::new();
        let rate = settings.max_playback_rate;
        let (bandwidth, bitrate) = match rate {
            0..=8000 => (libopus::NARROWBAND, 12_000),
            8001..=12_000 => (libopus::MEDIUMBAND, 16_000),
            12_001..=16_000 => (libopus::WIDEBAND, 20_000),
            16_001..=24_000 => (libopus::SUPERWIDEBAND, 28_000),
            _ => (libopus::FULLBAND, 32_000),
        };
        let most = settings.max_bitrate.unwrap_or(bitrate);
        encoder.set(libopus::MAX_BANDWIDTH, bandwidth);
        encoder.set(libopus::BITRATE, bitrate.min(most).clamp(LEAST_BITRATE, MOST_BITRATE) as i32);
        encoder.set(libopus::COMPLEXITY, COMPLEXITY);
        encoder.set(libopus::VARIABLE_BITRATE, i32::from(!settings.cbr));
        encoder.set(libopus::DTX, i32::from(settings.dtx));
        encoder.set(libopus::INBAND_FEC, i32::from(settings.fec));
        encoder.set(libopus::LOSS_PERCENT, if settings.fec { EXPECTED_LOSS } else { 0 });
        encoder.set(libopus::DEPTH, 16);
        Self { encoder, has_dtx: settings.dtx }
    }

    /// One packet; 0: nothing is to be sent.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        // So says opus_encode of a packet that need not be sent.
        let is_left_out = |bytes: usize| self.has_dtx && bytes <= 2;
        self.encoder.encode(samples, out).filter(|&bytes| !is_left_out(bytes)).unwrap_or(0)
    }

    pub fn expect_loss(&mut self, percent: u8) {
        self.encoder.set(libopus::LOSS_PERCENT, percent.min(100).into());
    }
}

pub struct Decoder(libopus::Decoder);

impl Decoder {
    pub fn new() -> Self {
        Self(libopus::Decoder::new())
    }

    /// The samples written; 0: it is no packet of Opus, or longer than `out`.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        if payload.is_empty() {
            return 0;
        }
        self.0.decode(payload, out).unwrap_or(0)
    }

    pub fn conceal(&mut self, out: &mut [i16]) {
        let whole = out.len() / QUANTUM * QUANTUM;
        let (stand_in, rest) = out.split_at_mut(whole);
        let made = self.0.conceal(stand_in).unwrap_or(0);
        stand_in[made..].fill(0);
        rest.fill(0);
    }

    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        out.len().is_multiple_of(QUANTUM)
            && libopus::has_copy(next)
            && self.0.recover(next, out) == Some(out.len())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("opus::Encoder")
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("opus::Decoder")
    }
}

/// Bits per second that libopus takes.
const LEAST_BITRATE: u32 = 6000;
const MOST_BITRATE: u32 = 510_000;
/// 0 to 10: half the work of 9 for a difference that is hard to hear in speech.
const COMPLEXITY: i32 = 5;
/// Percent of packets, until the peer reports its own: where there is none expected, there is no
/// error correction.
const EXPECTED_LOSS: i32 = 10;
/// Samples of the shortest frame, 2.5 ms: all lengths are multiples of it.
const QUANTUM: usize = 120;
