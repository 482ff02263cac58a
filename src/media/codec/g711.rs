//! ITU-T G.711: both laws, and from one to the other without a detour over samples.

use audio_codec_algorithms as tables;

use crate::media::engine::Codec;

impl Codec {
    /// The byte that sounds like nothing.
    pub fn silence(self) -> u8 {
        match self {
            Self::Pcmu => 0xff,
            Self::Pcma => 0xd5,
            Self::G722 | Self::Opus | Self::L16(_) => 0,
        }
    }

    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Pcmu => tables::decode_ulaw(byte),
            Self::Pcma => tables::decode_alaw(byte),
            Self::G722 | Self::Opus | Self::L16(_) => 0,
        }
    }

    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Pcmu => tables::encode_ulaw(sample),
            Self::Pcma => tables::encode_alaw(sample),
            Self::G722 | Self::Opus | Self::L16(_) => 0,
        }
    }

    /// Turns a payload of this codec into one of `other`, in place (G.711 tables 3 and 4).
    pub fn transcode(self, other: Self, payload: &mut [u8]) {
        match (self, other) {
            (Self::Pcmu, Self::Pcma) => {
                payload.iter_mut().for_each(|byte| *byte = tables::convert_ulaw_to_alaw(*byte));
            }
            (Self::Pcma, Self::Pcmu) => {
                payload.iter_mut().for_each(|byte| *byte = tables::convert_alaw_to_ulaw(*byte));
            }
            _ => {}
        }
    }
}

/// Samples per second, and the RTP clock rate, of both laws (RFC 3551 §4.5.14).
pub const RATE: u32 = 8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g711_tables_1a_and_2a_ends_and_middle_of_the_scale() {
        assert_eq!(Codec::Pcmu.decode(0x00), -32124);
        assert_eq!(Codec::Pcmu.decode(0x80), 32124);
        assert_eq!(Codec::Pcmu.decode(0xff), 0);
        assert_eq!(Codec::Pcma.decode(0xaa), 32256);
        assert_eq!(Codec::Pcma.decode(0x2a), -32256);
        assert_eq!(Codec::Pcma.decode(0xd5), 8);
        assert_eq!(Codec::Pcma.decode(0x55), -8);
    }

    #[test]
    fn silence_is_the_code_of_zero() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            assert_eq!(codec.encode(0), codec.silence());
        }
    }

    #[test]
    fn every_code_survives_a_trip_over_samples() {
        for byte in 0..=255u8 {
            assert_eq!(Codec::Pcma.encode(Codec::Pcma.decode(byte)), byte);
            let again = Codec::Pcmu.encode(Codec::Pcmu.decode(byte));
            // µ-law has two zeros.
            assert!(again == byte || byte == 0x7f && again == 0xff, "{byte:02x}");
        }
    }

    #[test]
    fn g711_section_3_4_signs_and_magnitudes_are_kept_when_laws_change() {
        for byte in 0..=255u8 {
            for (from, to) in [(Codec::Pcmu, Codec::Pcma), (Codec::Pcma, Codec::Pcmu)] {
                let mut payload = [byte];
                from.transcode(to, &mut payload);
                assert_eq!(payload[0] & 0x80, byte & 0x80);
                let (before, after) = (from.decode(byte), to.decode(payload[0]));
                let error = (i32::from(before) - i32::from(after)).abs();
                // Half a step of the coarser law, at most 1/32 of the value or 8 around zero.
                assert!(error <= 8 + i32::from(before).abs() / 16, "{before} {after}");
            }
        }
    }
}
