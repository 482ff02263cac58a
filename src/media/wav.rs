//! WAV files as sounds to play: PCM of 8 and 16 bits, µ-law and A-law, any number of channels (they
//! are mixed), any rate (it becomes that of calls), plain and `WAVE_FORMAT_EXTENSIBLE`.
//!
//! Float, 24 and 32 bits and compressed formats are **not** supported. The lengths in the file are
//! hints: what is not there is not read.

use std::fmt;

use super::clip::Clip;
use super::codec::{g711, resample};
use super::engine::Codec;
use super::frame::Rate;

/// Reads a whole file.
///
/// # Errors
/// Where it is no WAV file, or one of a kind that is not supported.
pub fn decode(bytes: &[u8]) -> Result<Clip, Error> {
    match (bytes.get(..4), bytes.get(8..12)) {
        (Some(b"RIFF"), Some(b"WAVE")) => {}
        _ => return Err(Error::NotWav),
    }
    let mut format = None;
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((kind, content, after)) = chunk(rest) {
        match kind {
            b"fmt " => format = Some(Format::parse(content)?),
            b"data" => {
                let format = format.ok_or(Error::NoFormat)?;
                return Ok(format.decode(content));
            }
            _ => {}
        }
        rest = after;
    }
    Err(if format.is_some() { Error::NoData } else { Error::NoFormat })
}

/// Why a file cannot be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    NotWav,
    NoFormat,
    NoData,
    BadFormat,
    Encoding { tag: u16, bits: u16 },
    Channels(u16),
    Rate(u32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWav => f.write_str("not a WAV file: RIFF and WAVE are missing at its start"),
            Self::NoFormat => f.write_str("WAV file without a fmt chunk before its data"),
            Self::NoData => f.write_str("WAV file without a data chunk"),
            Self::BadFormat => {
                f.write_str("WAV file whose fmt chunk is cut short or contradicts itself")
            }
            Self::Encoding { tag, bits } => write!(
                f,
                "WAV encoding {tag} with {bits} bits is not supported: use PCM of 8 or 16 bits, \
                 u-law or A-law"
            ),
            Self::Channels(channels) => {
                write!(f, "WAV file with {channels} channels: 1 to {MOST_CHANNELS} are supported")
            }
            Self::Rate(rate) => write!(
                f,
                "WAV file with {rate} samples per second: {LEAST_RATE} to {MOST_RATE} are supported"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// The first chunk, its content, and what follows it. A chunk that claims more than there is ends
/// with the file: writers that stream put 0 or 0xffffffff there.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let claimed = u32::from_le_bytes(*length) as usize;
    let is_endless = kind == b"data" && claimed == 0;
    let length = if is_endless { rest.len() } else { claimed.min(rest.len()) };
    let (content, after) = rest.split_at(length);
    // Chunks begin at even places.
    Some((kind, content, after.get(length % 2..).unwrap_or_default()))
}

#[derive(Debug, Clone, Copy)]
struct Format {
    encoding: Encoding,
    channels: usize,
    rate: u32,
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Pcm8,
    Pcm16,
    Law(Codec),
}

impl Format {
    fn parse(content: &[u8]) -> Result<Self, Error> {
        let half = |at: usize| {
            let bytes = content.get(at..)?.first_chunk()?;
            Some(u16::from_le_bytes(*bytes))
        };
        let word = |at: usize| Some(u32::from(half(at)?) | u32::from(half(at + 2)?) << 16);
        let fields = (half(0), half(2), word(4), half(12), half(14));
        let (Some(mut tag), Some(channels), Some(rate), Some(block), Some(bits)) = fields else {
            return Err(Error::BadFormat);
        };
        if tag == EXTENSIBLE {
            // The first two bytes of SubFormat are the tag; the rest is the same for all of ours.
            tag = half(24).ok_or(Error::BadFormat)?;
            if content.get(26..40) != Some(SUBFORMAT_TAIL) {
                return Err(Error::Encoding { tag, bits });
            }
        }
        let encoding = match (tag, bits) {
            (PCM, 8) => Encoding::Pcm8,
            (PCM, 16) => Encoding::Pcm16,
            (ALAW, 8) => Encoding::Law(Codec::Pcma),
            (MULAW, 8) => Encoding::Law(Codec::Pcmu),
            _ => return Err(Error::Encoding { tag, bits }),
        };
        if !(1..=MOST_CHANNELS).contains(&channels) {
            return Err(Error::Channels(channels));
        }
        if !(LEAST_RATE..=MOST_RATE).contains(&rate) {
            return Err(Error::Rate(rate));
        }
        if block != channels * (bits / 8) {
            return Err(Error::BadFormat);
        }
        Ok(Self { encoding, channels: usize::from(channels), rate })
    }

    /// Mixed to one channel at the rate of calls.
    fn decode(self, data: &[u8]) -> Clip {
        let samples: Vec<i16> = match self.encoding {
            Encoding::Pcm8 => self.mix(data, 1, |bytes| (i16::from(bytes[0]) - 128) << 8),
            Encoding::Pcm16 => self.mix(data, 2, |bytes| i16::from_le_bytes([bytes[0], bytes[1]])),
            Encoding::Law(codec) => self.mix(data, 1, |bytes| codec.decode(bytes[0])),
        };
        let samples = match self.rate {
            g711::RATE => samples,
            rate => resample::to_call_rate(&samples, rate),
        };
        Clip::whole(Rate::Narrow, &samples)
    }

    fn mix(self, data: &[u8], bytes: usize, sample: impl Fn(&[u8]) -> i16) -> Vec<i16> {
        let channels = self.channels as i32;
        let frames = data.chunks_exact(bytes * self.channels);
        let mixed = frames.map(|frame| {
            let sum: i32 = frame.chunks_exact(bytes).map(|one| i32::from(sample(one))).sum();
            // Invariant: the mean of samples is a sample.
            (sum / channels) as i16
        });
        mixed.collect()
    }
}

const PCM: u16 = 1;
const ALAW: u16 = 6;
const MULAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;
/// `xxxx0000-0000-0010-8000-00aa00389b71` after its first two bytes.
const SUBFORMAT_TAIL: &[u8] = &[0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// Surround sound at most.
const MOST_CHANNELS: u16 = 8;
const LEAST_RATE: u32 = 4000;
const MOST_RATE: u32 = 192_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let block = channels.wrapping_mul(bits / 8);
        let mut content = Vec::new();
        content.extend(tag.to_le_bytes());
        content.extend(channels.to_le_bytes());
        content.extend(rate.to_le_bytes());
        content.extend((rate.wrapping_mul(u32::from(block))).to_le_bytes());
        content.extend(block.to_le_bytes());
        content.extend(bits.to_le_bytes());
        content
    }

    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVE".to_vec();
        for (kind, content) in chunks {
            file.extend(*kind);
            file.extend((content.len() as u32).to_le_bytes());
            file.extend(*content);
            file.extend(&[0][..content.len() % 2]);
        }
        file
    }

    fn samples(format: &[u8], data: &[u8]) -> Result<Vec<i16>, Error> {
        decode(&file(&[(b"fmt ", format), (b"data", data)])).map(|clip| {
            assert_eq!(clip.rate(), Rate::Narrow);
            clip.samples()
        })
    }

    #[test]
    fn every_supported_encoding_is_read() {
        let pcm16 = [0x00, 0x80, 0xff, 0x7f, 0x01, 0x00];
        assert_eq!(samples(&format(1, 1, 8000, 16), &pcm16), Ok(vec![-32768, 32767, 1]));
        assert_eq!(samples(&format(1, 1, 8000, 8), &[0, 128, 255]), Ok(vec![-32768, 0, 32512]));
        assert_eq!(samples(&format(7, 1, 8000, 8), &[0x80, 0xff]), Ok(vec![32124, 0]));
        assert_eq!(samples(&format(6, 1, 8000, 8), &[0xaa, 0xd5]), Ok(vec![32256, 8]));
    }

    #[test]
    fn channels_are_mixed_and_half_a_frame_at_the_end_is_dropped() {
        let data = [0x10, 0, 0x30, 0, 0xff, 0x7f, 0xff, 0x7f, 1, 2, 3];
        assert_eq!(samples(&format(1, 2, 8000, 16), &data), Ok(vec![0x20, 0x7fff]));
    }

    #[test]
    fn extensible_says_its_encoding_in_the_subformat() {
        let mut extensible = format(0xfffe, 1, 8000, 16);
        extensible.extend([22, 0, 16, 0, 4, 0, 0, 0, 1, 0]);
        extensible.extend(SUBFORMAT_TAIL);
        assert_eq!(samples(&extensible, &[1, 0]), Ok(vec![1]));
        extensible[39] = 0;
        assert_eq!(samples(&extensible, &[1, 0]), Err(Error::Encoding { tag: 1, bits: 16 }));
    }

    #[test]
    fn other_rates_become_that_of_calls() {
        assert_eq!(samples(&format(1, 1, 16_000, 16), &[0; 640]).unwrap().len(), 160);
        assert_eq!(samples(&format(1, 1, 44_100, 16), &[0; 88_200]).unwrap().len(), 8000);
    }

    #[test]
    fn other_chunks_and_odd_lengths_are_stepped_over() {
        let wav = file(&[
            (b"LIST", b"odd"),
            (b"fmt ", &format(7, 1, 8000, 8)),
            (b"fact", &[0; 4]),
            (b"data", &[0xff]),
            (b"junk", b"tail"),
        ]);
        assert_eq!(decode(&wav).unwrap().samples(), [0]);
    }

    #[test]
    fn streamed_file_without_its_length_is_read_to_its_end() {
        for claimed in [0u32, u32::MAX, 1000] {
            let mut wav = file(&[(b"fmt ", &format(7, 1, 8000, 8)), (b"data", &[])]);
            let place = wav.len() - 4;
            wav[place..].copy_from_slice(&claimed.to_le_bytes());
            wav.extend([0xff; 7]);
            assert_eq!(decode(&wav).unwrap().len(), 7, "{claimed}");
        }
    }

    #[test]
    fn what_cannot_be_played_is_refused_by_name() {
        assert_eq!(decode(b"").map(drop), Err(Error::NotWav));
        assert_eq!(decode(b"ID3\x03\0\0\0\0\0\0\0\0\0\0").map(drop), Err(Error::NotWav));
        assert_eq!(decode(&file(&[])).map(drop), Err(Error::NoFormat));
        assert_eq!(decode(&file(&[(b"data", &[0; 4])])).map(drop), Err(Error::NoFormat));
        assert_eq!(decode(&file(&[(b"fmt ", &[1, 0, 1])])).map(drop), Err(Error::BadFormat));
        assert_eq!(
            decode(&file(&[(b"fmt ", &format(1, 1, 8000, 16))])).map(drop),
            Err(Error::NoData)
        );
        let refused = |format: Vec<u8>| samples(&format, &[0; 8]).unwrap_err();
        assert_eq!(refused(format(3, 1, 8000, 32)), Error::Encoding { tag: 3, bits: 32 });
        assert_eq!(refused(format(1, 1, 8000, 24)), Error::Encoding { tag: 1, bits: 24 });
        assert_eq!(refused(format(1, 0, 8000, 16)), Error::Channels(0));
        assert_eq!(refused(format(1, 9, 8000, 16)), Error::Channels(9));
        assert_eq!(refused(format(1, 1, 1, 16)), Error::Rate(1));
        assert_eq!(refused(format(1, 1, u32::MAX, 16)), Error::Rate(u32::MAX));
        let mut contradicts = format(1, 2, 8000, 16);
        contradicts[12] = 1;
        assert_eq!(refused(contradicts), Error::BadFormat);
        assert!(refused(format(85, 1, 8000, 0)).to_string().starts_with("WAV encoding 85 with 0"));
    }

    #[test]
    fn truncated_and_damaged_files_never_panic() {
        let whole = file(&[(b"fmt ", &format(1, 2, 16_000, 16)), (b"data", &[7; 64])]);
        for length in 0..whole.len() {
            let _ = decode(&whole[..length]); // Any answer will do.
        }
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2000 {
            let mut damaged = whole.clone();
            let place = random.usize(..damaged.len());
            damaged[place] = random.u8(..);
            let _ = decode(&damaged); // Any answer will do.
        }
    }
}
