//! FLAC (RFC 9639), from its metadata to its frames.
//!
//! Of the metadata only STREAMINFO is read; pictures and comments are passed over and never held.

use std::io;

use claxon::frame::FrameReader;
use claxon::input::ReadBytes;

use super::input::Input;
use super::{Error, LEAST_HERTZ, MOST_HERTZ, mixed};

/// A file whose frames come next.
pub struct Flac {
    hertz: u32,
    /// Of one sample.
    bits: u32,
    /// Samples of the whole, where the file says so.
    total: Option<u64>,
    read: u64,
    /// Used again: [`MOST_VALUES`] at most.
    block: Vec<i32>,
}

impl Flac {
    pub fn open(input: &mut Input<'_>) -> Result<Self, Error> {
        input.advance(4);
        let mut flac = None;
        // RFC 9639 §8.1: type and length of each block, and whether it is the last.
        while let Some([kind, length @ ..]) = input.array::<4>()? {
            let [a, b, c] = length;
            let length = u32::from_be_bytes([0, a, b, c]);
            if flac.is_none() {
                if kind & 0x7f != 0 {
                    return Err(Error::damaged(FLAC, "it does not begin with STREAMINFO"));
                }
                flac = Some(Self::of_stream_info(input.peek(STREAM_INFO_BYTES)?)?);
            }
            input.skip(length.into())?;
            if kind & 0x80 != 0 {
                return flac.ok_or(Error::damaged(FLAC, "it has no STREAMINFO"));
            }
        }
        Err(Error::damaged(FLAC, "its metadata is cut short"))
    }

    /// RFC 9639 §8.2.
    fn of_stream_info(content: &[u8]) -> Result<Self, Error> {
        let Some(&fields) = content.get(10..).and_then(<[u8]>::first_chunk::<8>) else {
            return Err(Error::damaged(FLAC, "its STREAMINFO is cut short"));
        };
        let fields = u64::from_be_bytes(fields);
        let hertz = (fields >> 44) as u32;
        let bits = (fields >> 36 & 0x1f) as u32 + 1;
        let total = fields & 0xf_ffff_ffff;
        if !(LEAST_HERTZ..=MOST_HERTZ).contains(&hertz) {
            let what = format!("a rate of {hertz} samples per second");
            return Err(Error::Unsupported { format: FLAC, what });
        }
        let total = Some(total).filter(|&total| total > 0);
        Ok(Self { hertz, bits, total, read: 0, block: Vec::new() })
    }

    pub fn hertz(&self) -> u32 {
        self.hertz
    }

    pub fn expected(&self) -> Option<u64> {
        self.total
    }

    pub fn read(&mut self, input: &mut Input<'_>, samples: &mut Vec<i16>) -> Result<(), Error> {
        // Tags may follow.
        if self.total.is_some_and(|total| self.read >= total) {
            return Ok(());
        }
        if block_values(input.peek(FRAME_HEADER_BYTES)?).is_some_and(|values| values > MOST_VALUES)
        {
            let what = "a block of more than 65,536 values".into();
            return Err(Error::Unsupported { format: FLAC, what });
        }
        let buffer = std::mem::take(&mut self.block);
        let block = match FrameReader::new(input).read_next_or_eof(buffer) {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(()),
            Err(claxon::Error::IoError(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(Error::Input(error));
            }
            Err(claxon::Error::IoError(_)) => return Err(Error::damaged(FLAC, "it is cut short")),
            Err(claxon::Error::FormatError(what)) => return Err(Error::damaged(FLAC, what)),
            Err(claxon::Error::Unsupported(what)) => {
                return Err(Error::Unsupported { format: FLAC, what: what.into() });
            }
        };
        let (channels, length) = (block.channels(), block.duration());
        let shift = self.bits.abs_diff(16);
        for place in 0..length {
            let sum: i64 =
                (0..channels).map(|channel| i64::from(block.sample(channel, place))).sum();
            let sum = if self.bits > 16 { sum >> shift } else { sum << shift };
            samples.push(mixed(sum, channels as usize));
        }
        self.read += u64::from(length);
        self.block = block.into_buffer();
        Ok(())
    }
}

/// How many values the block of a frame holds, all channels together (RFC 9639 §9.1). `None`: it is
/// no frame.
fn block_values(header: &[u8]) -> Option<usize> {
    let [_, _, sizes, channels, number, ..] = *header else { return None };
    // The frame's number is coded like a character of UTF-8, and the block's size may follow it.
    let after = 4 + (number.leading_ones() as usize).max(1);
    let size = match sizes >> 4 {
        1 => 192,
        code @ 2..=5 => 576 << (code - 2),
        6 => usize::from(*header.get(after)?) + 1,
        7 => usize::from(u16::from_be_bytes(*header.get(after..)?.first_chunk()?)) + 1,
        code @ 8.. => 256 << (code - 8),
        _ => return None,
    };
    let channels = match channels >> 4 {
        code @ 0..=7 => usize::from(code) + 1,
        _ => 2,
    };
    Some(size * channels)
}

/// What the frames' reader asks of a file.
impl ReadBytes for Input<'_> {
    fn read_u8(&mut self) -> io::Result<u8> {
        self.read_u8_or_eof()?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn read_u8_or_eof(&mut self) -> io::Result<Option<u8>> {
        Ok(self.array()?.map(|[byte]| byte))
    }

    fn read_into(&mut self, out: &mut [u8]) -> io::Result<()> {
        io::Read::read_exact(self, out)
    }

    fn skip(&mut self, bytes: u32) -> io::Result<()> {
        Input::skip(self, bytes.into())
    }
}

const FLAC: &str = "FLAC";
/// The largest block of two channels that a header can name without spelling it out; the streamable
/// subset (RFC 9639 §7) has a quarter of it.
const MOST_VALUES: usize = 65_536;
/// Up to the block's size.
const FRAME_HEADER_BYTES: usize = 13;
/// As far as it is read.
const STREAM_INFO_BYTES: usize = 18;
