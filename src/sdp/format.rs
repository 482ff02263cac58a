//! What payload types stand for: codecs, digits and comfort noise, and their numbers.

use super::description::{Media, RtpMap};

/// An audio codec that can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Pcmu,
    Pcma,
    G722,
    /// RFC 7587: one channel of ours, whatever the two of its name say.
    Opus,
    /// Linear samples of 16 bits, one channel (RFC 3551 §4.5.11).
    L16(Clock),
}

/// Timestamp units per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Clock {
    /// 8000
    Narrow,
    /// 16,000
    Wide,
    /// 48,000
    Full,
}

/// What a payload type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Audio(Codec),
    /// telephone-event (RFC 4733); durations count in this clock.
    Event(Clock),
    /// Comfort noise (RFC 3389).
    Noise(Clock),
}

/// Payload types and what they stand for. Full: the peer's last choices are not known.
pub type Formats = heapless::Vec<(u8, Format), MOST_FORMATS>;

impl Codec {
    /// RFC 3551 §4.5.2: G.722 counts 8000 in a second, though it has twice as many samples.
    pub fn clock(self) -> Clock {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => Clock::Narrow,
            Self::Opus => Clock::Full,
            Self::L16(clock) => clock,
        }
    }
}

impl Clock {
    pub fn hertz(self) -> u32 {
        match self {
            Self::Narrow => 8000,
            Self::Wide => 16_000,
            Self::Full => 48_000,
        }
    }

    fn of(hertz: u32) -> Option<Self> {
        [Self::Narrow, Self::Wide, Self::Full].into_iter().find(|clock| clock.hertz() == hertz)
    }
}

impl Format {
    /// By its mapping in this text, or by its number where that is static (RFC 3551 table 4).
    pub fn of(media: &Media, payload_type: u8) -> Option<Self> {
        let Some(map) = media.map_of(payload_type) else {
            return match payload_type {
                0 => Some(Self::Audio(Codec::Pcmu)),
                8 => Some(Self::Audio(Codec::Pcma)),
                9 => Some(Self::Audio(Codec::G722)),
                13 => Some(Self::Noise(Clock::Narrow)),
                _ => None,
            };
        };
        // RFC 8866 §6.6: encoding names compare without case.
        let is = |name: &str| map.encoding.eq_ignore_ascii_case(name);
        if is("opus") {
            let is_opus = map.clock_rate == 48_000 && map.channels == 2;
            return is_opus.then_some(Self::Audio(Codec::Opus));
        }
        let clock = Clock::of(map.clock_rate).filter(|_| map.channels == 1)?;
        match clock {
            Clock::Narrow if is("PCMU") => Some(Self::Audio(Codec::Pcmu)),
            Clock::Narrow if is("PCMA") => Some(Self::Audio(Codec::Pcma)),
            // Some write what they sample with; the clock is the same (RFC 3551 §4.5.2).
            Clock::Narrow | Clock::Wide if is("G722") => Some(Self::Audio(Codec::G722)),
            _ if is("L16") => Some(Self::Audio(Codec::L16(clock))),
            _ if is(TELEPHONE_EVENT) => Some(Self::Event(clock)),
            _ if is(COMFORT_NOISE) => Some(Self::Noise(clock)),
            _ => None,
        }
    }

    pub fn encoding(self) -> &'static str {
        match self {
            Self::Audio(Codec::Pcmu) => "PCMU",
            Self::Audio(Codec::Pcma) => "PCMA",
            Self::Audio(Codec::G722) => "G722",
            Self::Audio(Codec::Opus) => "opus",
            Self::Audio(Codec::L16(_)) => "L16",
            Self::Event(_) => TELEPHONE_EVENT,
            Self::Noise(_) => COMFORT_NOISE,
        }
    }

    pub fn clock(self) -> Clock {
        match self {
            Self::Audio(codec) => codec.clock(),
            Self::Event(clock) | Self::Noise(clock) => clock,
        }
    }

    /// As `a=rtpmap` has it.
    pub fn map(self, payload_type: u8) -> RtpMap {
        RtpMap {
            payload_type,
            encoding: self.encoding().to_owned(),
            clock_rate: self.clock().hertz(),
            // RFC 7587 §7: the two of Opus are part of its name.
            channels: if self == Self::Audio(Codec::Opus) { 2 } else { 1 },
        }
    }

    /// The number in our offers: the static one, else what most programs use, so that traces read
    /// alike.
    fn usual_number(self) -> u8 {
        match self {
            Self::Audio(Codec::Pcmu) => 0,
            Self::Audio(Codec::Pcma) => 8,
            Self::Audio(Codec::G722) => 9,
            Self::Audio(Codec::Opus) => 111,
            Self::Audio(Codec::L16(Clock::Narrow)) => 116,
            Self::Audio(Codec::L16(Clock::Wide)) => 117,
            Self::Audio(Codec::L16(Clock::Full)) => 118,
            Self::Event(Clock::Narrow) => 101,
            Self::Event(Clock::Wide) => 113,
            Self::Event(Clock::Full) => 110,
            Self::Noise(Clock::Narrow) => 13,
            Self::Noise(Clock::Wide) => 105,
            Self::Noise(Clock::Full) => 106,
        }
    }
}

/// The number of a format in an offer of ours beside `given`, the call's so far: what it has, else
/// a free one (RFC 3264 §8.3.2: a number keeps its meaning as long as the call lasts).
pub fn number_for(format: Format, given: &[(u8, Format)]) -> u8 {
    if let Some(number) = number_of(given, format) {
        return number;
    }
    let is_free = |number: &u8| !given.iter().any(|(taken, _)| taken == number);
    let dynamic = (96..=127).find(is_free);
    Some(format.usual_number()).filter(is_free).or(dynamic).unwrap_or(format.usual_number())
}

/// The first number of a format.
pub fn number_of(formats: &[(u8, Format)], format: Format) -> Option<u8> {
    formats.iter().find(|(_, other)| *other == format).map(|(number, _)| *number)
}

/// Which of `formats` carries digits beside audio of this clock (RFC 4733 §2.1: at the same one).
/// Where there is none, that of 8000 Hz: many have no other, and send it beside Opus too.
pub fn event_beside(formats: &[(u8, Format)], clock: Clock) -> Option<(u8, Clock)> {
    [clock, Clock::Narrow]
        .into_iter()
        .find_map(|clock| Some((number_of(formats, Format::Event(clock))?, clock)))
}

/// The formats of a stream that we know, in their order.
pub fn formats_of(media: &Media) -> Formats {
    numbers(media)
        .filter_map(|number| Some((number, Format::of(media, number)?)))
        .take(MOST_FORMATS)
        .collect()
}

/// The formats of a stream that are payload types.
pub fn numbers(media: &Media) -> impl Iterator<Item = u8> {
    media.formats.iter().filter_map(|format| format.parse().ok()).filter(|number| *number < 128)
}

/// Each codec, digits at three clocks, comfort noise at two, and some under a second number.
const MOST_FORMATS: usize = 16;
const TELEPHONE_EVENT: &str = "telephone-event";
const COMFORT_NOISE: &str = "CN";
