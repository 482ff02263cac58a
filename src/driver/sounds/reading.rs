//! A file of sound becomes a clip, on a thread that may wait: the clip is given away as soon as
//! there is enough of it to begin, and grows from then on.

use std::io::{self, Read};
use std::sync::Arc;

use smol::channel::Receiver;

use super::cache::{ClipCache, Id};
use super::files::too_large;
use crate::driver::http_client::Part;
use crate::media::clip::Clip;
use crate::media::frame::Rate;
use crate::media::sound::{Converter, Sound};
use crate::stats;

/// How sounds are kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// The highest that any codec carries.
    pub most_rate: Rate,
    /// Samples of one sound.
    pub most_samples: usize,
    /// Bytes of its file.
    pub most_bytes: usize,
}

/// What becomes of a sound that nobody plays any more before its end is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// It goes on: somebody will play it again.
    Finish,
    Stop,
}

/// A sound that may be played.
#[derive(Debug, Clone)]
pub struct Begun {
    pub clip: Arc<Clip>,
    pub id: Id,
}

/// Reads a file into a clip of the cache to its end. `begin` gets the clip once, when there is
/// enough of it to play.
///
/// # Errors
/// The text of `PlaybackFinished.error`; the clip has it too, where it has begun.
pub fn read(
    cache: &ClipCache,
    keeping: Keeping,
    file: impl Read,
    bytes: Option<u64>,
    abandoned: Abandoned,
    begin: impl FnOnce(Begun),
) -> Result<(), String> {
    let mut sound = Sound::open(file, bytes).map_err(|error| error.to_string())?;
    let rate = rate_of(&sound, bytes, keeping);
    let mut converter = Converter::new(sound.hertz(), rate);
    let expected = sound.expected().map(|samples| converter.samples(samples) as usize);
    let (clip, mut writer) = Clip::growing(rate, expected, keeping.most_samples);
    let id = cache.hold(clip.clone())?;
    let mut begin = Some((begin, Begun { clip: clip.clone(), id }));
    let (mut samples, mut converted) = (Vec::new(), Vec::new());
    let enough = rate.frame() * FRAMES_TO_BEGIN;
    let mut step = || {
        samples.clear();
        converted.clear();
        sound.read(&mut samples).map_err(|error| error.to_string())?;
        converter.convert(&samples, &mut converted);
        if samples.is_empty() {
            converter.finish(&mut converted);
        }
        cache.grow(id, writer.growth(converted.len()))?;
        if writer.append(&converted) < converted.len() {
            let seconds = keeping.most_samples / rate.hertz() as usize;
            return Err(format!("the sound is longer than {seconds} s ([limits] sound_mib)"));
        }
        // Its writer and we know the clip, and the cache.
        if begin.is_none() && abandoned == Abandoned::Stop && writer.is_unheard(2) {
            return Err(ABANDONED.into());
        }
        let is_over = samples.is_empty();
        if (is_over || clip.len() >= enough)
            && let Some((begin, begun)) = begin.take()
        {
            begin(begun);
        }
        Ok(is_over)
    };
    let end = loop {
        match step() {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if begin.is_none() && end.as_ref().is_err_and(|error| error.as_str() != ABANDONED) {
        stats::SOUNDS_FAILED.add(1);
    }
    writer.finish(end.clone());
    end
}

/// The highest rate that is of use and at which the whole has room: a long sound is kept at a
/// lower one. Where nobody knows how long it is, it is taken for speech at 24 kbit/s.
fn rate_of(sound: &Sound<'_>, bytes: Option<u64>, keeping: Keeping) -> Rate {
    let hertz = u64::from(sound.hertz());
    let expected = sound.expected().or_else(|| Some(bytes?.saturating_mul(hertz) / 3000));
    let fits = |rate: Rate| {
        let samples = expected.unwrap_or(0).saturating_mul(rate.hertz().into()) / hertz.max(1);
        samples <= keeping.most_samples as u64
    };
    let best = Rate::that_keeps(sound.hertz()).min(keeping.most_rate);
    let lower = [Rate::Full, Rate::Wide].into_iter().filter(|&rate| rate <= best);
    lower.into_iter().find(|&rate| fits(rate)).unwrap_or(Rate::Narrow)
}

/// A file of the disk that may not be larger than it was, nor than is allowed.
pub struct Bounded<R> {
    pub file: R,
    pub left: usize,
    pub most: usize,
}

impl<R: Read> Bounded<R> {
    pub fn new(file: R, most: usize) -> Self {
        Self { file, left: most, most }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(out)?;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(too_large(self.most))),
        }
        Ok(read)
    }
}

/// The body of an HTTP answer as it comes.
pub struct Body {
    parts: Receiver<Part>,
    bytes: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl Body {
    pub fn new(parts: Receiver<Part>) -> Self {
        Self { parts, bytes: Vec::new(), at: 0, is_over: false }
    }

    /// Waits for the answer's head: how long the body is, as far as it says.
    pub fn length(&mut self) -> Option<u64> {
        match self.parts.recv_blocking() {
            Ok(Part::Length(length)) => length,
            Ok(Part::Bytes(bytes)) => {
                self.bytes = bytes;
                None
            }
            Ok(Part::End) | Err(_) => {
                self.is_over = true;
                None
            }
        }
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.bytes.len() && !self.is_over {
            match self.parts.recv_blocking() {
                Ok(Part::Length(_)) => {}
                Ok(Part::Bytes(bytes)) => (self.bytes, self.at) = (bytes, 0),
                Ok(Part::End) => self.is_over = true,
                Err(_) => return Err(io::Error::other(CUT_OFF)),
            }
        }
        let there = self.bytes.get(self.at..).unwrap_or_default();
        let length = there.len().min(out.len());
        for (out, byte) in out.iter_mut().zip(there) {
            *out = *byte;
        }
        self.at += length;
        Ok(length)
    }
}

const ABANDONED: &str = "nobody plays it any more";
/// The transfer broke off.
pub const CUT_OFF: &str = "the transfer of the sound broke off";
/// What there must be of a sound to begin: 100 ms.
const FRAMES_TO_BEGIN: usize = 5;
