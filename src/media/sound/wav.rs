//! WAV files (RIFF): PCM of 8 to 32 bits, float, µ-law and A-law, plain and
//! `WAVE_FORMAT_EXTENSIBLE`. Compressed formats are **not** supported.
//!
//! The lengths in the file are hints: what is not there is not read, and writers that stream put 0
//! or as much as fits.

use std::io;

use super::input::Input;
use super::{Error, LEAST_HERTZ, MOST_CHANNELS, MOST_HERTZ, mixed};

/// A file whose data comes next.
pub struct Wav {
    format: Format,
    /// Bytes of the data chunk, as it claims.
    claimed: u64,
    expected: Option<u64>,
}

impl Wav {
    /// Reads up to the data.
    pub fn open(input: &mut Input<'_>) -> Result<Self, Error> {
        input.advance(12);
        let mut format = None;
        while let Some([a, b, c, d, length @ ..]) = input.array::<8>()? {
            let length = u32::from_le_bytes(length);
            match &[a, b, c, d] {
                b"fmt " => {
                    let content = input.peek((length as usize).min(FORMAT_BYTES))?;
                    format = Some(Format::parse(content)?);
                }
                b"data" => {
                    let format =
                        format.ok_or(Error::damaged(WAV, "no fmt chunk before its data"))?;
                    return Ok(Self::with(format, length, input.left()));
                }
                _ => {}
            }
            // Chunks begin at even places.
            input.skip(u64::from(length) + u64::from(length % 2))?;
        }
        Err(Error::damaged(WAV, "no data chunk"))
    }

    fn with(format: Format, length: u32, left: Option<u64>) -> Self {
        let claimed = if length == 0 { u64::MAX } else { length.into() };
        // ffmpeg claims all that fits and espeak-ng half of it.
        let is_known = (1..0x7f00_0000).contains(&length);
        let bytes = match (is_known, left) {
            (true, Some(left)) => Some(left.min(claimed)),
            (true, None) => Some(claimed),
            (false, left) => left,
        };
        let expected = bytes.map(|bytes| bytes / format.frame_bytes() as u64);
        Self { format, claimed, expected }
    }

    pub fn hertz(&self) -> u32 {
        self.format.hertz
    }

    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    pub fn read(&mut self, input: &mut Input<'_>, samples: &mut Vec<i16>) -> Result<(), Error> {
        let frame = self.format.frame_bytes();
        let piece = (self.format.hertz as usize / PIECES_PER_SECOND * frame).min(MOST_PIECE);
        let most = self.claimed.min((piece / frame * frame) as u64) as usize;
        let read = self.format.mix(input, most, samples)?;
        input.advance(read);
        self.claimed -= read as u64;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Format {
    encoding: Encoding,
    channels: usize,
    hertz: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Pcm8,
    Pcm16,
    Pcm24,
    Pcm32,
    Float32,
    Float64,
    ALaw,
    MuLaw,
}

impl Format {
    fn parse(content: &[u8]) -> Result<Self, Error> {
        let half = |at: usize| {
            let bytes = content.get(at..)?.first_chunk()?;
            Some(u16::from_le_bytes(*bytes))
        };
        let word = |at: usize| Some(u32::from(half(at)?) | u32::from(half(at + 2)?) << 16);
        let fields = (half(0), half(2), word(4), half(12), half(14));
        let (Some(mut tag), Some(channels), Some(hertz), Some(block), Some(bits)) = fields else {
            return Err(Error::damaged(WAV, "its fmt chunk is cut short"));
        };
        let unsupported = |what| Err(Error::Unsupported { format: WAV, what });
        if tag == EXTENSIBLE {
            // The first two bytes of SubFormat are the tag; the rest is the same for all of ours.
            tag = half(24).ok_or(Error::damaged(WAV, "its fmt chunk is cut short"))?;
            if content.get(26..40) != Some(SUBFORMAT_TAIL) {
                return unsupported("its kind of WAVE_FORMAT_EXTENSIBLE".into());
            }
        }
        let encoding = match (tag, bits) {
            (PCM, 8) => Encoding::Pcm8,
            (PCM, 16) => Encoding::Pcm16,
            (PCM, 24) => Encoding::Pcm24,
            (PCM, 32) => Encoding::Pcm32,
            (FLOAT, 32) => Encoding::Float32,
            (FLOAT, 64) => Encoding::Float64,
            (ALAW, 8) => Encoding::ALaw,
            (MULAW, 8) => Encoding::MuLaw,
            _ => return unsupported(format!("encoding {tag} with {bits} bits")),
        };
        if !(1..=MOST_CHANNELS).contains(&channels) {
            return unsupported(format!("a file with {channels} channels"));
        }
        if !(LEAST_HERTZ..=MOST_HERTZ).contains(&hertz) {
            return unsupported(format!("a rate of {hertz} samples per second"));
        }
        if block != channels * (bits / 8) {
            return Err(Error::damaged(WAV, "its fmt chunk contradicts itself"));
        }
        Ok(Self { encoding, channels: usize::from(channels), hertz })
    }

    /// Bytes of one sample of all channels.
    fn frame_bytes(self) -> usize {
        self.channels * self.encoding.bytes()
    }

    /// Appends the next samples, mixed; how many bytes they were. Half a frame at the end is none.
    fn mix(self, input: &mut Input<'_>, most: usize, out: &mut Vec<i16>) -> io::Result<usize> {
        let bytes = self.encoding.bytes();
        let frames = input.peek(most)?.chunks_exact(self.frame_bytes());
        let read = frames.len() * self.frame_bytes();
        for frame in frames {
            let channels = frame.chunks_exact(bytes).map(|sample| self.encoding.decode(sample));
            out.push(mixed(channels.map(i64::from).sum(), self.channels));
        }
        Ok(read)
    }
}

impl Encoding {
    fn bytes(self) -> usize {
        match self {
            Self::Pcm8 | Self::ALaw | Self::MuLaw => 1,
            Self::Pcm16 => 2,
            Self::Pcm24 => 3,
            Self::Pcm32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// One sample of [`Self::bytes`]; its upper 16 bits, where it has more.
    fn decode(self, bytes: &[u8]) -> i16 {
        match (self, bytes) {
            (Self::Pcm8, &[byte]) => (i16::from(byte) - 128) << 8,
            (Self::ALaw, &[byte]) => audio_codec_algorithms::decode_alaw(byte),
            (Self::MuLaw, &[byte]) => audio_codec_algorithms::decode_ulaw(byte),
            (Self::Pcm16, &[low, high])
            | (Self::Pcm24, &[_, low, high])
            | (Self::Pcm32, &[_, _, low, high]) => i16::from_le_bytes([low, high]),
            (Self::Float32, &[a, b, c, d]) => of_float(f32::from_le_bytes([a, b, c, d]).into()),
            (Self::Float64, &[a, b, c, d, e, f, g, h]) => {
                of_float(f64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            _ => 0,
        }
    }
}

/// Full scale is 1; what is beyond it, clipped, and what is no number, silence.
fn of_float(sample: f64) -> i16 {
    (sample * 32_768.0).round() as i16
}

const WAV: &str = "WAV";
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const ALAW: u16 = 6;
const MULAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;
/// `xxxx0000-0000-0010-8000-00aa00389b71` after its first two bytes.
const SUBFORMAT_TAIL: &[u8] = &[0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// What is read of a fmt chunk.
const FORMAT_BYTES: usize = 40;
/// What is decoded at a time is 20 ms, so that a slow source is heard as it comes, and no more than
/// this.
const PIECES_PER_SECOND: usize = 50;
const MOST_PIECE: usize = 4096;
