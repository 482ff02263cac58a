//! What the payload types of a call stand for, and what is asked of its encoder, as offer and
//! answer settled them.

use super::engine::Codec;
use super::frame::Rate;

/// What a payload type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Audio(Codec),
    /// telephone-event (RFC 4733), with durations in this clock.
    Event(Rate),
    /// Comfort noise (RFC 3389), with timestamps in this clock.
    Noise(Rate),
}

/// Payload types of what one peer sends. A peer may change from one to the other at any time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formats(heapless::Vec<(u8, Format), MOST_FORMATS>);

/// What the receiver of Opus asks for (RFC 7587 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpusSettings {
    /// Bits per second on average; `None`: what suits speech.
    pub max_bitrate: Option<u32>,
    /// Hertz; frequencies above half of it are not heard.
    pub max_playback_rate: u32,
    pub fec: bool,
    pub dtx: bool,
    pub cbr: bool,
}

/// Which extended reports of RTCP the peer wants (RFC 3611 §5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reports {
    pub voip_metrics: bool,
    /// The reference time of a receiver, which its peer answers.
    pub reference_time: bool,
}

impl Formats {
    /// The first meaning of a number counts, and those beyond the sixteenth are unknown.
    pub fn new(formats: impl IntoIterator<Item = (u8, Format)>) -> Self {
        Self(formats.into_iter().take(MOST_FORMATS).collect())
    }

    pub fn of(&self, payload_type: u8) -> Option<Format> {
        let found = self.0.iter().find(|(number, _)| *number == payload_type);
        found.map(|(_, format)| *format)
    }
}

impl Default for OpusSettings {
    fn default() -> Self {
        Self { max_bitrate: None, max_playback_rate: 48_000, fec: false, dtx: false, cbr: false }
    }
}

const MOST_FORMATS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_meaning_of_a_number_counts() {
        let formats = Formats::new([
            (0, Format::Audio(Codec::Pcmu)),
            (101, Format::Event(Rate::Narrow)),
            (101, Format::Event(Rate::Full)),
        ]);
        assert_eq!(formats.of(101), Some(Format::Event(Rate::Narrow)));
        assert_eq!(formats.of(0), Some(Format::Audio(Codec::Pcmu)));
        assert_eq!(formats.of(8), None);
        let many = Formats::new((0..40).map(|number| (number, Format::Noise(Rate::Narrow))));
        assert_eq!((many.of(15).is_some(), many.of(16)), (true, None));
    }
}
