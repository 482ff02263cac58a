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

    /// G.711 table 2a by formula: 14 bits of magnitude and sign, sections that double.
    fn ulaw_of(sample: i16) -> u8 {
        let magnitude = if sample < 0 { !sample } else { sample } >> 2;
        let biased = (u32::from(magnitude as u16) + 33).min(0x1fff);
        let section = 26 - biased.leading_zeros();
        let code = section << 4 | (biased >> (section + 1) & 0x0f);
        !(code as u8) & 0x7f | if sample < 0 { 0 } else { 0x80 }
    }

    /// G.711 table 1a by formula: 13 bits, of which the lowest two sections are linear.
    fn alaw_of(sample: i16) -> u8 {
        let magnitude = u32::from((if sample < 0 { !sample } else { sample } >> 4) as u16);
        let code = match magnitude {
            0..=31 => magnitude,
            _ => {
                let section = 28 - magnitude.leading_zeros();
                section << 4 | (magnitude >> (section - 1) & 0x0f)
            }
        };
        (code as u8 | if sample < 0 { 0 } else { 0x80 }) ^ 0x55
    }

    #[test]
    fn g711_tables_1_and_2_for_every_sample() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(Codec::Pcmu.encode(sample), ulaw_of(sample), "{sample}");
            assert_eq!(Codec::Pcma.encode(sample), alaw_of(sample), "{sample}");
        }
    }

    #[test]
    fn g711_tables_1_and_2_for_every_code() {
        for byte in 0..=255u8 {
            // µ-law: inverted; the middle of a step of its section, less the bias.
            let code = i32::from(!byte & 0x7f);
            let value = (((code & 0x0f) * 2 + 33) << (code >> 4)) - 33;
            let value = if byte & 0x80 == 0 { -4 * value } else { 4 * value };
            assert_eq!(i32::from(Codec::Pcmu.decode(byte)), value, "{byte:02x}");
            // A-law: every second bit inverted; likewise, the first section without a leading 1.
            let code = i32::from((byte ^ 0x55) & 0x7f);
            let value = match code >> 4 {
                0 => (code & 0x0f) * 2 + 1,
                section => ((code & 0x0f) * 2 + 33) << (section - 1),
            };
            let value = if byte & 0x80 == 0 { -8 * value } else { 8 * value };
            assert_eq!(i32::from(Codec::Pcma.decode(byte)), value, "{byte:02x}");
        }
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
