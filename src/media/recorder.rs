//! A recorder: what its sources say, mixed on its own clock, in blocks of about a second.

use std::time::{Duration, Instant};

use super::engine::Layout;
use super::frame::{Frame, Rate};
use super::outgoing::samples_in;
use super::resample::Resampler;
use crate::slots::Key;

/// The open end of a recording.
#[derive(Debug)]
pub struct Recorder {
    /// The call whose both directions are recorded.
    pub call: Option<Key>,
    start: Instant,
    rate: Rate,
    channels: usize,
    tracks: Vec<Track>,
    /// Interleaved samples from `begin` on.
    block: Vec<i16>,
    /// Position of the block's first sample.
    begin: u64,
    /// Time goes on in silence.
    muted: bool,
}

/// A source of a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// A unit routed to it.
    Unit(Key),
    /// What the recorded call's endpoint says.
    FromEndpoint,
    /// What the recorded call's endpoint hears.
    ToEndpoint,
}

#[derive(Debug)]
struct Track {
    voice: Voice,
    /// For what comes at another rate.
    resampler: Option<Resampler>,
}

impl Recorder {
    pub fn new(now: Instant, call: Option<Key>, layout: Layout, rate: Rate) -> Self {
        let channels = layout.channels();
        Self {
            call,
            start: now,
            rate,
            channels,
            tracks: Vec::new(),
            block: Vec::new(),
            begin: 0,
            muted: false,
        }
    }

    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// A unit is no longer routed to it.
    pub fn forget(&mut self, voice: Voice) {
        self.tracks.retain(|track| track.voice != voice);
    }

    /// Adds what a source said in a step of 20 ms.
    pub fn write(&mut self, now: Instant, voice: Voice, frame: &Frame) {
        if self.muted {
            return;
        }
        let (age, own) = (self.age(now), self.rate);
        let Some(track) = self.track(voice) else { return };
        let converted;
        let samples = if frame.rate() == own {
            frame.samples()
        } else {
            let new = || Resampler::new(frame.rate(), own);
            converted = track.resampler.get_or_insert_with(new).process(frame);
            converted.samples()
        };
        let count = samples.len();
        let Some(offset) = age.checked_sub(self.begin) else { return };
        let first = offset as usize * self.channels;
        let end = first + count * self.channels;
        if self.block.len() < end {
            self.block.resize(end, 0);
        }
        let side = match (voice, self.channels) {
            (Voice::FromEndpoint, 2) => Side::Right,
            (Voice::ToEndpoint, 2) => Side::Left,
            (Voice::Unit(_) | Voice::FromEndpoint | Voice::ToEndpoint, _) => Side::All,
        };
        let frames = self.block[first..end].chunks_exact_mut(self.channels);
        for (frame, &sample) in frames.zip(samples) {
            match side {
                Side::Left => frame[0] = frame[0].saturating_add(sample),
                Side::Right => frame[1] = frame[1].saturating_add(sample),
                Side::All => frame.iter_mut().for_each(|s| *s = s.saturating_add(sample)),
            }
        }
    }

    /// A block whose time has passed, so that nothing can change it any more.
    pub fn take_block(&mut self, now: Instant) -> Option<Vec<i16>> {
        let frames = BLOCK / self.channels;
        let closed = self.age(now);
        (closed.saturating_sub(self.begin) >= frames as u64).then(|| self.take(frames))
    }

    /// What is left at the end of the recording, and its length.
    pub fn finish(&mut self, now: Instant) -> (Vec<i16>, Duration) {
        let age = self.age(now);
        let left = age.saturating_sub(self.begin) as usize;
        (self.take(left), Duration::from_micros(age * 1_000_000 / self.hertz()))
    }

    /// The first `frames` of the block, with silence where nothing was said.
    fn take(&mut self, frames: usize) -> Vec<i16> {
        let count = frames * self.channels;
        let mut taken = Vec::with_capacity(count);
        taken.extend(self.block.drain(..count.min(self.block.len())));
        taken.resize(count, 0);
        self.begin += frames as u64;
        taken
    }

    /// Samples since the beginning.
    fn age(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start);
        let part = Duration::from_nanos(passed.subsec_nanos().into());
        passed.as_secs() * self.hertz() + u64::from(samples_in(part, self.rate.hertz()))
    }

    fn hertz(&self) -> u64 {
        self.rate.hertz().into()
    }

    fn track(&mut self, voice: Voice) -> Option<&mut Track> {
        let place = match self.tracks.iter().position(|track| track.voice == voice) {
            Some(place) => place,
            None if self.tracks.len() < MOST_TRACKS => {
                self.tracks.push(Track { voice, resampler: None });
                self.tracks.len() - 1
            }
            None => return None,
        };
        self.tracks.get_mut(place)
    }
}

enum Side {
    Left,
    Right,
    All,
}

/// Samples of a block, whatever the rate, so that each recorder takes as much memory: a second of
/// one channel at 8 kHz, a sixth of it at 48 kHz.
const BLOCK: usize = 8000;
/// More than the calls and players of a session. Full: what else speaks is not heard, counted as
/// `rtp_late`.
const MOST_TRACKS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const FROM: Voice = Voice::FromEndpoint;
    const TO: Voice = Voice::ToEndpoint;

    fn recorder(layout: Layout) -> (Recorder, Instant) {
        let now = Instant::now();
        (Recorder::new(now, None, layout, Rate::Narrow), now)
    }

    fn frame(sample: i16) -> Frame {
        let mut frame = Frame::silence(Rate::Narrow);
        frame.samples_mut().fill(sample);
        frame
    }

    #[test]
    fn mono_mixes_both_directions_with_silence_in_the_gaps() {
        let (mut recorder, start) = recorder(Layout::Mono);
        recorder.write(start + 20 * MS, FROM, &frame(100));
        recorder.write(start + 20 * MS, TO, &frame(20));
        recorder.write(start + 40 * MS, FROM, &frame(100));
        let (samples, duration) = recorder.finish(start + 70 * MS);
        assert_eq!(duration, 70 * MS);
        assert_eq!(samples.len(), 560);
        assert_eq!(samples[..160], [0; 160]);
        assert_eq!(samples[160..320], [120; 160]);
        assert_eq!(samples[320..480], [100; 160]);
        assert_eq!(samples[480..], [0; 80]);
    }

    #[test]
    fn stereo_has_what_the_endpoint_hears_left_and_what_it_says_right() {
        let (mut recorder, start) = recorder(Layout::Stereo);
        recorder.write(start, FROM, &frame(1));
        recorder.write(start, TO, &frame(2));
        let (samples, _) = recorder.finish(start + MS);
        assert_eq!(samples, [2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn sums_are_clipped() {
        let (mut recorder, start) = recorder(Layout::Mono);
        recorder.write(start, FROM, &frame(30_000));
        recorder.write(start, TO, &frame(30_000));
        assert_eq!(recorder.finish(start + MS).0, [i16::MAX; 8]);
    }

    #[test]
    fn blocks_are_a_second_long() {
        let (mut recorder, start) = recorder(Layout::Mono);
        recorder.write(start, FROM, &frame(1));
        assert_eq!(recorder.take_block(start + 999 * MS), None);
        let block = recorder.take_block(start + 1000 * MS).unwrap();
        assert_eq!(block.len(), 8000);
        assert_eq!((block[159], block[160]), (1, 0));
        assert_eq!(recorder.take_block(start + 1000 * MS), None);
        let (rest, duration) = recorder.finish(start + 1500 * MS);
        assert_eq!((rest.len(), duration), (4000, 1500 * MS));
    }

    #[test]
    fn muted_recorder_goes_on_in_silence() {
        let (mut recorder, start) = recorder(Layout::Mono);
        recorder.mute(true);
        recorder.write(start, FROM, &frame(1));
        let (samples, duration) = recorder.finish(start + 10 * MS);
        assert_eq!((samples, duration), (vec![0; 80], 10 * MS));
    }

    #[test]
    fn recorder_at_48_khz_keeps_what_comes_at_any_rate() {
        let start = Instant::now();
        let mut recorder = Recorder::new(start, None, Layout::Mono, Rate::Full);
        let mut full = Frame::silence(Rate::Full);
        full.samples_mut().fill(100);
        recorder.write(start, FROM, &full);
        recorder.write(start + 20 * MS, FROM, &full);
        for n in 0..2 {
            recorder.write(start + n * 20 * MS, TO, &frame(1000));
        }
        let (samples, duration) = recorder.finish(start + 41 * MS);
        assert_eq!((samples.len(), duration), (41 * 48, 41 * MS));
        // The one that is converted has come up after the filter's delay.
        assert_eq!(samples[0], 100);
        assert!((1080..1120).contains(&samples[1500]), "{}", samples[1500]);
        assert_eq!(samples[1920..], [0; 48]);
    }

    #[test]
    fn memory_stays_a_block() {
        let (mut recorder, start) = recorder(Layout::Stereo);
        for n in 0..3000u32 {
            let now = start + n * 20 * MS;
            recorder.write(now, FROM, &frame(1));
            recorder.take_block(now);
        }
        // 2 x (4000 + 160) samples, and a doubling of the vector.
        assert!(recorder.block.capacity() <= 2 * 2 * 4160, "{}", recorder.block.capacity());
    }
}
