//! Files of sound as samples, while they come: WAV, MP3, FLAC, and Opus in Ogg.
//!
//! A format is told by the first bytes, never by a name. All channels are mixed to one. What a
//! file says of itself is believed only as far as it costs nothing: no length in it makes memory
//! be set aside beyond a named bound. Vorbis and Speex in Ogg, AAC, and MPEG layers I and II are
//! **not** supported.

mod converter;
mod flac;
mod input;
mod mp3;
mod ogg;
pub mod ogg_writer;
mod opus;
mod wav;

use std::fmt;
use std::io::{self, Read};

pub use self::converter::Converter;
use self::flac::Flac;
use self::input::Input;
use self::mp3::Mp3;
use self::opus::Opus;
use self::wav::Wav;

/// A sound that is being read.
pub struct Sound<'a> {
    input: Input<'a>,
    decoder: Decoder,
}

enum Decoder {
    Wav(Wav),
    Mp3(Box<Mp3>),
    Flac(Box<Flac>),
    Opus(Box<Opus>),
}

impl<'a> Sound<'a> {
    /// Reads a beginning, as much of it as tells the format. `bytes`: how long the file is, where
    /// that is known; a hint for its duration.
    ///
    /// # Errors
    /// Where it is no sound, or one of a kind that is not supported.
    pub fn open(file: impl Read + 'a, bytes: Option<u64>) -> Result<Self, Error> {
        let mut input = Input::new(Box::new(file), bytes);
        // Tags before the sound, as MP3 files have them, others rarely.
        mp3::skip_tags(&mut input)?;
        let decoder = match input.peek(BEGINNING)? {
            [] => return Err(Error::Empty),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => {
                Decoder::Wav(Wav::open(&mut input)?)
            }
            [b'f', b'L', b'a', b'C', ..] => Decoder::Flac(Box::new(Flac::open(&mut input)?)),
            [b'O', b'g', b'g', b'S', ..] => Decoder::Opus(Box::new(Opus::open(&mut input)?)),
            beginning if mp3::is_frame(beginning) => Decoder::Mp3(Box::new(Mp3::open(&mut input)?)),
            beginning => return Err(Error::unknown(beginning)),
        };
        Ok(Self { input, decoder })
    }

    /// Samples per second.
    pub fn hertz(&self) -> u32 {
        match &self.decoder {
            Decoder::Wav(wav) => wav.hertz(),
            Decoder::Mp3(mp3) => mp3.hertz(),
            Decoder::Flac(flac) => flac.hertz(),
            Decoder::Opus(_) => opus::HERTZ,
        }
    }

    /// How many samples it has, as far as its beginning says.
    pub fn expected(&self) -> Option<u64> {
        match &self.decoder {
            Decoder::Wav(wav) => wav.expected(),
            Decoder::Mp3(mp3) => mp3.expected(),
            Decoder::Flac(flac) => flac.expected(),
            Decoder::Opus(_) => None,
        }
    }

    /// Appends the next samples, [`MOST_SAMPLES`] at most; none at the end.
    ///
    /// # Errors
    /// Where the file is damaged, or does not come.
    pub fn read(&mut self, samples: &mut Vec<i16>) -> Result<(), Error> {
        let input = &mut self.input;
        match &mut self.decoder {
            Decoder::Wav(wav) => wav.read(input, samples),
            Decoder::Mp3(mp3) => mp3.read(input, samples),
            Decoder::Flac(flac) => flac.read(input, samples),
            Decoder::Opus(opus) => opus.read(input, samples),
        }
    }
}

/// Why a file cannot be played.
#[derive(Debug)]
pub enum Error {
    /// It did not come.
    Input(io::Error),
    Empty,
    Unknown,
    Unsupported {
        format: &'static str,
        what: String,
    },
    Damaged {
        format: &'static str,
        what: &'static str,
    },
}

impl Error {
    /// Names what is often tried.
    fn unknown(beginning: &[u8]) -> Self {
        let format = match beginning {
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => "MP4",
            [b'F', b'O', b'R', b'M', ..] => "AIFF",
            [b'#', b'!', b'A', b'M', b'R', ..] => "AMR",
            [0x1a, 0x45, 0xdf, 0xa3, ..] => "WebM",
            [b'<', ..] => "HTML",
            _ => return Self::Unknown,
        };
        Self::Unsupported { format, what: "it".into() }
    }

    fn damaged(format: &'static str, what: &'static str) -> Self {
        Self::Damaged { format, what }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => write!(f, "{error}"),
            Self::Empty => f.write_str("the file is empty"),
            Self::Unknown => write!(f, "the file is no sound: {SUPPORTED}"),
            Self::Unsupported { format, what } => {
                write!(f, "{format}: {what} is not supported: {SUPPORTED}")
            }
            Self::Damaged { format, what } => write!(f, "damaged {format} file: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Input(error) => Some(error),
            Self::Empty | Self::Unknown | Self::Unsupported { .. } | Self::Damaged { .. } => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Input(error)
    }
}

/// The mean of the samples of all channels, which is a sample.
fn mixed(sum: i64, channels: usize) -> i16 {
    let mean = sum / channels.max(1) as i64;
    mean.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

const SUPPORTED: &str = "WAV, MP3, FLAC and Opus in Ogg are";
/// Tells every format.
const BEGINNING: usize = 12;
/// Samples that one call of [`Sound::read`] appends at most: the largest block of FLAC.
pub const MOST_SAMPLES: usize = 65_535;
/// Surround sound at most.
const MOST_CHANNELS: u16 = 8;
const LEAST_HERTZ: u32 = 4000;
const MOST_HERTZ: u32 = 192_000;

#[cfg(test)]
mod tests;
