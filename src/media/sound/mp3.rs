//! MP3 (ISO 11172-3 and 13818-3, layer III) with the tags around it.
//!
//! The encoder's delay and padding that a LAME tag tells are cut off, so that a loop has no gap.

use std::io;

use nanomp3_core::{DecodeError, Decoder, FrameInfo, MAX_SAMPLES_PER_FRAME};

use super::input::Input;
use super::{Error, mixed};

/// A file from its first frame on.
pub struct Mp3 {
    decoder: Decoder,
    pcm: [i16; MAX_SAMPLES_PER_FRAME],
    hertz: u32,
    expected: Option<u64>,
    /// The encoder's delay and the decoder's: not yet cut off.
    delay: usize,
    /// Samples after the delay; what follows is padding.
    left: u64,
    /// Bytes since a frame.
    junk: usize,
    /// Mixed samples of the first frame.
    first: Vec<i16>,
}

impl Mp3 {
    pub fn open(input: &mut Input<'_>) -> Result<Self, Error> {
        let tag = Tag::find(input.peek(WINDOW)?);
        if let Some(tag) = &tag {
            // It is a frame of silence to those who do not know it.
            input.advance(tag.frame_bytes);
        }
        let mut mp3 = Self {
            decoder: Decoder::new(),
            pcm: [0; MAX_SAMPLES_PER_FRAME],
            hertz: 0,
            expected: None,
            delay: 0,
            left: u64::MAX,
            junk: 0,
            first: Vec::new(),
        };
        let left = input.left();
        let mut first = Vec::new();
        let Some(info) = mp3.frame(input, &mut first)? else {
            return Err(Error::damaged(MP3, "it has no frame"));
        };
        mp3.hertz = info.sample_rate;
        let samples = tag.as_ref().and_then(|tag| tag.samples);
        if let (Some(samples), Some(gaps)) = (samples, tag.and_then(|tag| tag.gaps)) {
            let (delay, padding) = gaps;
            mp3.delay = delay + DECODER_DELAY;
            let sounding = samples.saturating_sub((delay + padding) as u64);
            (mp3.left, mp3.expected) = (sounding, Some(sounding));
        } else {
            let by_rate = |left: u64| {
                let milliseconds = left.checked_mul(8)?.checked_div(info.bitrate.into())?;
                milliseconds.checked_mul(info.sample_rate.into()).map(|samples| samples / 1000)
            };
            mp3.expected = samples.or_else(|| left.and_then(by_rate));
        }
        mp3.trim(&mut first, 0);
        mp3.first = first;
        Ok(mp3)
    }

    pub fn hertz(&self) -> u32 {
        self.hertz
    }

    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    pub fn read(&mut self, input: &mut Input<'_>, samples: &mut Vec<i16>) -> Result<(), Error> {
        samples.append(&mut self.first);
        let from = samples.len();
        // What is cut off is no end.
        while samples.len() == from && self.left > 0 && self.frame(input, samples)?.is_some() {
            self.trim(samples, from);
        }
        Ok(())
    }

    /// Appends the samples of the next frame with any, mixed; `None` at the end.
    fn frame(
        &mut self,
        input: &mut Input<'_>,
        samples: &mut Vec<i16>,
    ) -> Result<Option<FrameInfo>, Error> {
        loop {
            let window = input.peek(WINDOW)?;
            if window.is_empty() {
                return Ok(None);
            }
            let (taken, decoded) = self.decoder.decode(window, &mut self.pcm);
            input.advance(taken.max(1));
            match decoded {
                Ok(info) if self.hertz == 0 || info.sample_rate == self.hertz => {
                    self.junk = 0;
                    let channels = usize::from(info.channels.num());
                    let pcm = self.pcm.chunks_exact(channels).take(info.samples_produced);
                    let mix =
                        |frame: &[i16]| mixed(frame.iter().copied().map(i64::from).sum(), channels);
                    samples.extend(pcm.map(mix));
                    return Ok(Some(info));
                }
                // Its beginning is in frames that are not there: the first after a cut.
                Err(DecodeError::ReservoirUnavailable(_)) => {}
                // Tags at the end, and another sound pasted in.
                Ok(_) | Err(_) => {
                    self.junk += taken.max(1);
                    if self.junk > MOST_JUNK {
                        return Err(Error::damaged(MP3, "too much of it is no frame"));
                    }
                }
            }
        }
    }

    /// Cuts delay and padding out of what was appended.
    fn trim(&mut self, samples: &mut Vec<i16>, from: usize) {
        let cut = self.delay.min(samples.len() - from);
        samples.drain(from..from + cut);
        self.delay -= cut;
        let kept = self.left.min((samples.len() - from) as u64);
        samples.truncate(from + kept as usize);
        self.left -= kept;
    }
}

/// Passes over an ID3v2 tag (id3.org, ID3v2.4.0 section 3.1), and over more than one.
pub fn skip_tags(input: &mut Input<'_>) -> io::Result<()> {
    for _ in 0..MOST_TAGS {
        let [b'I', b'D', b'3', _, _, flags, size @ ..] = input.peek(10)? else { break };
        // Seven bits of each byte count; a footer is as long as the header.
        let size = size.iter().fold(0u64, |size, byte| size << 7 | u64::from(byte & 0x7f));
        let footer = if flags & 0x10 != 0 { 10 } else { 0 };
        input.skip(10 + size + footer)?;
    }
    Ok(())
}

/// The first four bytes are a header of layer III (ISO 11172-3, 2.4.1.3) without a value that is
/// reserved.
pub fn is_frame(bytes: &[u8]) -> bool {
    match bytes {
        [0xff, second, third, ..] => {
            second & 0xe0 == 0xe0
                && second & 0x18 != 0x08
                && second & 0x06 == 0x02
                && third & 0xf0 != 0xf0
                && third & 0x0c != 0x0c
        }
        _ => false,
    }
}

/// What an encoder says about the whole in place of a first frame.
#[derive(Debug, PartialEq, Eq)]
struct Tag {
    frame_bytes: usize,
    /// Of all frames.
    samples: Option<u64>,
    /// Samples that the encoder put before and after the sound.
    gaps: Option<(usize, usize)>,
}

impl Tag {
    /// Xing's header, which LAME and ffmpeg write, and their extension of it.
    fn find(bytes: &[u8]) -> Option<Self> {
        let header = Header::parse(bytes)?;
        let mut at = 4 + header.side_bytes;
        if !matches!(bytes.get(at..at + 4)?, b"Xing" | b"Info") {
            return None;
        }
        let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let flags = word(at + 4)?;
        at += 8;
        let mut samples = None;
        if flags & FRAMES != 0 {
            samples = Some(u64::from(word(at)?) * header.samples);
            at += 4;
        }
        at += if flags & BYTES != 0 { 4 } else { 0 };
        at += if flags & TABLE_OF_CONTENTS != 0 { 100 } else { 0 };
        at += if flags & QUALITY != 0 { 4 } else { 0 };
        let gaps = || {
            if !matches!(bytes.get(at..at + 4)?, b"LAME" | b"Lavf" | b"Lavc" | b"L3.9") {
                return None;
            }
            let [a, b, c] = *bytes.get(at + 21..)?.first_chunk::<3>()?;
            let [a, b, c] = [a, b, c].map(usize::from);
            Some((a << 4 | b >> 4, (b & 0xf) << 8 | c))
        };
        Some(Self { frame_bytes: header.frame_bytes, samples, gaps: gaps() })
    }
}

/// Of a frame's header what tells where its tag is.
struct Header {
    frame_bytes: usize,
    /// Of the side information.
    side_bytes: usize,
    samples: u64,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [_, second, third, fourth, ..] = *bytes.get(..4).filter(|bytes| is_frame(bytes))?
        else {
            return None;
        };
        let is_mpeg1 = second & 0x18 == 0x18;
        let is_mono = fourth & 0xc0 == 0xc0;
        let kbps = match is_mpeg1 {
            true => MPEG1_KBPS,
            false => MPEG2_KBPS,
        };
        let kbps = *kbps.get(usize::from(third >> 4))?;
        let full = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
        let (hertz, samples) = match second & 0x18 {
            0x18 => (full, 1152),
            0x10 => (full / 2, 576),
            _ => (full / 4, 576),
        };
        let padding = usize::from(third >> 1 & 1);
        let side_bytes = match (is_mpeg1, is_mono) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        };
        let frame_bytes = samples / 8 * kbps * 1000 / hertz + padding;
        (kbps > 0).then_some(Self { frame_bytes, side_bytes, samples: samples as u64 })
    }
}

const MP3: &str = "MP3";
const MPEG1_KBPS: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2_KBPS: [usize; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
/// Fields of Xing's header that are there.
const FRAMES: u32 = 1;
const BYTES: u32 = 2;
const TABLE_OF_CONTENTS: u32 = 4;
const QUALITY: u32 = 8;
/// Samples by which every decoder is late, as LAME's author has it.
const DECODER_DELAY: usize = 529;
/// Two frames of the most bytes (1441, 320 kbit/s at 32 kHz) with the header of a third, by which
/// the first is known to be one.
const WINDOW: usize = 4096;
/// A cover that is no tag, and what was written over.
const MOST_JUNK: usize = 1 << 20;
const MOST_TAGS: usize = 4;
