//! Codecs of calls: bytes of a payload to samples and back.
//!
//! What a codec is on the wire is said here; each file is one of them. `g711` is the only one
//! whose bytes stand for themselves: the others have a state from packet to packet.

mod conceal;
pub mod decoder;
pub mod encoder;
pub mod g711;
mod g722;
mod l16;
mod libopus;
pub mod noise;
mod opus;
mod opus_packet;

use super::engine::Codec;
use super::frame::Rate;

impl Codec {
    /// The codec of a static payload type (RFC 3551 table 4). L16 has none for mono at a rate of
    /// ours.
    pub const fn of_static(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            9 => Some(Self::G722),
            _ => None,
        }
    }

    /// Timestamp units per second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            // RFC 3551 §4.5.2: G.722 keeps the 8000 that RFC 1890 gave it by mistake.
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            // RFC 7587 §4.1: whatever it encodes.
            Self::Opus => 48_000,
            Self::L16(rate) => rate.hertz(),
        }
    }

    /// Of the samples that go in and come out.
    pub const fn rate(self) -> Rate {
        match self {
            Self::Pcmu | Self::Pcma => Rate::Narrow,
            Self::G722 => Rate::Wide,
            Self::Opus => Rate::Full,
            Self::L16(rate) => rate,
        }
    }

    /// How long a payload lasts, in timestamp units. `None`: it is no payload of this codec.
    pub fn samples_of(self, payload: &[u8]) -> Option<u32> {
        let bytes = u32::try_from(payload.len()).ok()?;
        match self {
            _ if bytes == 0 => None,
            Self::Pcmu | Self::Pcma | Self::G722 => Some(bytes),
            Self::Opus => opus_packet::samples(payload),
            Self::L16(_) => (bytes % 2 == 0).then_some(bytes / 2),
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod payloads {
    use super::*;

    #[test]
    fn rfc_3551_table_4_static_payload_types() {
        assert_eq!(Codec::of_static(0), Some(Codec::Pcmu));
        assert_eq!(Codec::of_static(8), Some(Codec::Pcma));
        assert_eq!(Codec::of_static(9), Some(Codec::G722));
        // L16 mono at 44,100 Hz, G.729, comfort noise.
        for payload_type in [11, 18, 13, 96] {
            assert_eq!(Codec::of_static(payload_type), None);
        }
    }

    #[test]
    fn packet_of_20_ms_is_160_units_long_or_20_ms_of_the_codecs_clock() {
        for (codec, bytes, units) in [
            (Codec::Pcmu, 160, 160),
            (Codec::G722, 160, 160),
            (Codec::L16(Rate::Narrow), 320, 160),
            (Codec::L16(Rate::Wide), 640, 320),
            (Codec::L16(Rate::Full), 1920, 960),
        ] {
            assert_eq!(codec.samples_of(&vec![0; bytes]), Some(units));
            assert_eq!(codec.clock_rate() / 50, units);
        }
    }

    #[test]
    fn empty_payload_and_half_a_sample_are_none() {
        for codec in [Codec::Pcma, Codec::G722, Codec::Opus, Codec::L16(Rate::Narrow)] {
            assert_eq!(codec.samples_of(&[]), None);
        }
        assert_eq!(Codec::L16(Rate::Wide).samples_of(&[1, 2, 3]), None);
    }
}
