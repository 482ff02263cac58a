//! Decoded audio that players read: shared, mono, whole or still growing.
//!
//! One thread appends, any number read, and nobody waits for anybody: blocks are made before what
//! is in them is counted, and readers go no further than the count. A block is never moved.

use std::fmt;
use std::sync::atomic::{AtomicI16, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::frame::Rate;

/// A sound in memory.
pub struct Clip {
    rate: Rate,
    /// Samples, as far as its beginning says.
    expected: Option<usize>,
    /// It never becomes longer.
    most: usize,
    blocks: Box<[OnceLock<Block>]>,
    /// Samples that are there.
    length: AtomicUsize,
    /// How it ended; not yet: it still grows.
    end: OnceLock<Result<(), String>>,
}

type Block = Box<[AtomicI16]>;

impl Clip {
    pub fn whole(rate: Rate, samples: &[i16]) -> Self {
        let clip = Self::new(rate, Some(samples.len()), samples.len());
        clip.append(samples);
        clip.end(Ok(()));
        clip
    }

    /// An empty one with the only way to append to it: `most` samples, of which some are expected.
    pub fn growing(rate: Rate, expected: Option<usize>, most: usize) -> (Arc<Self>, ClipWriter) {
        let clip = Arc::new(Self::new(rate, expected.map(|samples| samples.min(most)), most));
        (clip.clone(), ClipWriter { clip })
    }

    fn new(rate: Rate, expected: Option<usize>, most: usize) -> Self {
        let blocks = most.checked_sub(1).map_or(0, |last| place(last).0 + 1);
        Self {
            rate,
            expected,
            most,
            blocks: std::iter::repeat_with(OnceLock::new).take(blocks).collect(),
            length: AtomicUsize::new(0),
            end: OnceLock::new(),
        }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Samples that are there.
    pub fn len(&self) -> usize {
        self.length.load(Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing will be appended any more. What is there counts only when it is asked for after
    /// this.
    pub fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// Why its end is missing.
    pub fn error(&self) -> Option<&str> {
        self.end.get()?.as_ref().err().map(String::as_str)
    }

    /// Samples of the whole: counted, or expected; `None` where nobody knows yet.
    pub fn total(&self) -> Option<usize> {
        if self.has_ended() { Some(self.len()) } else { self.expected }
    }

    /// How long that is.
    pub fn duration(&self) -> Option<Duration> {
        let micros = |samples| samples as u64 * 1_000_000 / u64::from(self.rate.hertz());
        self.total().map(|samples| Duration::from_micros(micros(samples)))
    }

    /// Copies what is there from a sample on; how many.
    pub fn read(&self, from: usize, out: &mut [i16]) -> usize {
        let there = self.len().saturating_sub(from).min(out.len());
        let mut done = 0;
        while done < there {
            let (block, at) = place(from + done);
            let samples = self.blocks.get(block).and_then(OnceLock::get);
            let samples = samples.and_then(|block| block.get(at..)).unwrap_or_default();
            let run = samples.len().min(there - done);
            if run == 0 {
                break;
            }
            for (out, sample) in out.iter_mut().skip(done).zip(samples.iter().take(run)) {
                *out = sample.load(Ordering::Relaxed);
            }
            done += run;
        }
        done
    }

    /// All that is there.
    pub fn samples(&self) -> Vec<i16> {
        let mut samples = vec![0; self.len()];
        self.read(0, &mut samples);
        samples
    }

    /// What it takes of memory now.
    pub fn bytes(&self) -> usize {
        let blocks = self.blocks.iter().filter_map(OnceLock::get);
        let samples: usize = blocks.map(|block| block.len()).sum();
        size_of::<Self>() + size_of_val(&*self.blocks) + samples * size_of::<i16>()
    }

    /// Appends by the only one who does; how many there was room for.
    fn append(&self, samples: &[i16]) -> usize {
        let from = self.length.load(Ordering::Relaxed);
        let samples = samples.get(..samples.len().min(self.most - from)).unwrap_or_default();
        let mut done = 0;
        while let Some(rest) = samples.get(done..).filter(|rest| !rest.is_empty()) {
            let (block, at) = place(from + done);
            let Some(slot) = self.blocks.get(block) else { break };
            let block = slot.get_or_init(|| {
                let length = capacity(block).min(self.most - (from + done - at));
                std::iter::repeat_with(|| AtomicI16::new(0)).take(length).collect()
            });
            let places = block.get(at..).unwrap_or_default();
            for (place, &sample) in places.iter().zip(rest) {
                place.store(sample, Ordering::Relaxed);
            }
            done += places.len().min(rest.len());
        }
        // What is counted is there to see.
        self.length.store(from + done, Ordering::Release);
        done
    }

    fn end(&self, end: Result<(), String>) {
        // The first word about it counts.
        let _ = self.end.set(end);
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, expected, end, .. } = self;
        let mut debug = f.debug_struct("Clip");
        debug.field("rate", rate).field("expected", expected).field("length", &self.len());
        debug.field("end", &end.get()).finish()
    }
}

/// Appends to a clip. Dropped before its end is said: the clip ends as cut off.
#[derive(Debug)]
pub struct ClipWriter {
    clip: Arc<Clip>,
}

impl ClipWriter {
    /// Appends; how many there was room for.
    pub fn append(&mut self, samples: &[i16]) -> usize {
        self.clip.append(samples)
    }

    /// Bytes that the clip grows by when this many samples are appended.
    pub fn growth(&self, samples: usize) -> usize {
        let clip = &self.clip;
        let length = clip.length.load(Ordering::Relaxed);
        let Some(last) = (length + samples).min(clip.most).checked_sub(1) else { return 0 };
        let first = clip.blocks.iter().position(|block| block.get().is_none());
        let new = first.unwrap_or(clip.blocks.len())..place(last).0 + 1;
        new.map(capacity).sum::<usize>() * size_of::<i16>()
    }

    /// Nobody but its writer and whoever counts it as theirs, `others` in number, knows the clip.
    pub fn is_unheard(&self, others: usize) -> bool {
        Arc::strong_count(&self.clip) <= 1 + others
    }

    pub fn finish(self, end: Result<(), String>) {
        self.clip.end(end);
    }
}

impl Drop for ClipWriter {
    fn drop(&mut self) {
        self.clip.end(Err("the sound was cut off".into()));
    }
}

/// Block and place in it of a sample: the first blocks are small, since most sounds are short.
fn place(sample: usize) -> (usize, usize) {
    match sample {
        LARGE.. => (SMALL_BLOCKS - 1 + sample / LARGE, sample % LARGE),
        _ => {
            // 0, 1, 2 to 3, 4 to 7 and so on in smallest blocks.
            let block = (usize::BITS - (sample / SMALL).leading_zeros()) as usize;
            let begin = if block == 0 { 0 } else { SMALL << (block - 1) };
            (block, sample - begin)
        }
    }
}

/// Samples of a block, but for the clip's last.
fn capacity(block: usize) -> usize {
    match block {
        0 => SMALL,
        SMALL_BLOCKS.. => LARGE,
        _ => SMALL << (block - 1),
    }
}

const SMALL: usize = 1024;
/// 32 KiB: a longer sound wastes this at most.
const LARGE: usize = 16 * SMALL;
/// 1, 1, 2, 4 and 8 times the smallest make up a large one.
const SMALL_BLOCKS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_without_a_gap() {
        let mut expected = 0;
        for block in 0..9 {
            assert_eq!(place(expected), (block, 0));
            expected += capacity(block);
            assert_eq!(place(expected - 1), (block, capacity(block) - 1));
        }
        assert_eq!(expected, 5 * LARGE);
    }

    #[test]
    fn whole_clip_is_read_from_anywhere_and_takes_what_it_needs() {
        let samples: Vec<i16> = (0..40_000).map(|n| n as i16).collect();
        let clip = Clip::whole(Rate::Narrow, &samples);
        assert!(clip.has_ended() && clip.error().is_none());
        assert_eq!(clip.samples(), samples);
        let mut out = [0; 160];
        assert_eq!(clip.read(16_300, &mut out), 160);
        assert_eq!(out, samples[16_300..16_460]);
        assert_eq!(clip.read(39_900, &mut out), 100);
        assert_eq!(clip.read(40_000, &mut out), 0);
        assert_eq!(clip.read(usize::MAX, &mut out), 0);
        assert_eq!(clip.duration(), Some(Duration::from_secs(5)));
        assert!(clip.bytes() < 80_000 + 1000, "{}", clip.bytes());
    }

    #[test]
    fn growing_clip_shows_what_is_there_until_its_end() {
        let (clip, mut writer) = Clip::growing(Rate::Wide, None, 3000);
        assert_eq!((clip.len(), clip.total(), clip.has_ended()), (0, None, false));
        assert_eq!(writer.append(&[1; 1000]), 1000);
        assert_eq!(writer.append(&[2; 1000]), 1000);
        let mut out = [0; 4];
        assert_eq!(clip.read(998, &mut out), 4);
        assert_eq!(out, [1, 1, 2, 2]);
        assert_eq!(writer.append(&[3; 1001]), 1000);
        assert_eq!(writer.append(&[3; 1]), 0);
        writer.finish(Ok(()));
        assert_eq!((clip.total(), clip.error()), (Some(3000), None));
    }

    #[test]
    fn writer_that_goes_cuts_the_clip_off() {
        let (clip, writer) = Clip::growing(Rate::Narrow, Some(9), 5);
        assert_eq!(clip.total(), Some(5));
        drop(writer);
        assert_eq!(clip.error(), Some("the sound was cut off"));
        assert_eq!(clip.total(), Some(0));
    }

    #[test]
    fn growth_is_what_the_next_samples_cost() {
        let (clip, mut writer) = Clip::growing(Rate::Narrow, None, 100_000);
        let before = clip.bytes();
        assert_eq!(writer.growth(0), 0);
        for (samples, growth) in [(1, 2048), (1023, 0), (5000, 14 * 1024), (60_000, 9 * 16 * 1024)]
        {
            let bytes = clip.bytes();
            assert_eq!(writer.growth(samples), growth, "{samples}");
            writer.append(&vec![0; samples]);
            assert_eq!(clip.bytes() - bytes, growth, "{samples}");
        }
        assert!(before < 1000);
    }

    #[test]
    fn reader_of_another_thread_sees_no_sample_before_it_is_written() {
        let (clip, mut writer) = Clip::growing(Rate::Narrow, None, 200_000);
        let reader = std::thread::spawn(move || {
            let mut from = 0;
            let mut out = [0; 160];
            while !clip.has_ended() || from < clip.len() {
                let read = clip.read(from, &mut out);
                for (place, &sample) in out[..read].iter().enumerate() {
                    assert_eq!(sample, ((from + place) % 1000) as i16 + 1);
                }
                from += read;
            }
            from
        });
        let samples: Vec<i16> = (0..200_000).map(|n| (n % 1000) as i16 + 1).collect();
        for piece in samples.chunks(777) {
            writer.append(piece);
        }
        writer.finish(Ok(()));
        assert_eq!(reader.join().unwrap(), 200_000);
    }
}
