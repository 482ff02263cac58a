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
    has_fec: bool,
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
        encoder.set(libopus::DEPTH, 16);
        let mut new = Self { encoder, has_dtx: settings.dtx, has_fec: settings.fec };
        new.expect_loss(0);
        new
    }

    /// One packet; 0: nothing is to be sent.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        // So says opus_encode of a packet that need not be sent.
        let is_left_out = |bytes: usize| self.has_dtx && bytes <= 2;
        self.encoder.encode(samples, out).filter(|&bytes| !is_left_out(bytes)).unwrap_or(0)
    }

    pub fn expect_loss(&mut self, percent: u8) {
        // Never less than what is usual: the first loss after a clean time comes unannounced.
        let percent = if self.has_fec { i32::from(percent).clamp(EXPECTED_LOSS, 100) } else { 0 };
        self.encoder.set(libopus::LOSS_PERCENT, percent);
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
/// Percent of packets, until the peer reports more: where there is none expected, there is no
/// error correction.
const EXPECTED_LOSS: i32 = 10;
/// Samples of the shortest frame, 2.5 ms: all lengths are multiples of it.
const QUANTUM: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    /// In dB: how much of what others decode from the packets we decode too.
    fn likeness(packets: &[u8], decoded: &[u8]) -> f64 {
        let mut decoder = Decoder::new();
        let mut sound = Vec::new();
        let mut rest = packets;
        while let Some((&length, behind)) = rest.split_first_chunk() {
            let (packet, behind) = behind.split_at(u16::from_le_bytes(length).into());
            let mut out = [0; 960];
            assert_eq!(decoder.decode(packet, &mut out), 960);
            sound.extend(out);
            rest = behind;
        }
        // RFC 7845 §4.2: the encoder's delay is no part of the sound. Every third sample is kept.
        let sound = sound.iter().skip(312).step_by(3);
        let (mut power, mut error) = (0.0, 0.0);
        for (&ours, &theirs) in sound.zip(decoded.as_chunks().0) {
            let theirs = f64::from(i16::from_le_bytes(theirs));
            power += theirs * theirs;
            error += (theirs - f64::from(ours)).powi(2);
        }
        10.0 * (power / error).log10()
    }

    #[test]
    fn speech_is_decoded_as_libopus_in_floating_point_does_it() {
        let hybrid = likeness(
            include_bytes!("../../../tests/data/codec/hybrid.opus-packets"),
            include_bytes!("../../../tests/data/codec/hybrid.opus.s16"),
        );
        let wideband = likeness(
            include_bytes!("../../../tests/data/codec/wideband.opus-packets"),
            include_bytes!("../../../tests/data/codec/wideband.opus.s16"),
        );
        assert!(hybrid > 80.0 && wideband > 80.0, "{hybrid:.1} {wideband:.1} dB");
    }

    #[test]
    fn music_is_decoded_as_ffmpegs_own_decoder_does_it() {
        let likeness = likeness(
            include_bytes!("../../../tests/data/codec/music.opus-packets"),
            include_bytes!("../../../tests/data/codec/music.opus.s16"),
        );
        assert!(likeness > 65.0, "{likeness:.1} dB");
    }
}
