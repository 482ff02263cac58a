//! A recorder: what its sources say, mixed on its own clock, in blocks of about a second.

use std::time::{Duration, Instant};

use super::engine::Layout;
use super::frame::Rate;
use super::outgoing::samples_in;
use super::placement::{MOST_DRIFT, Placement};
use crate::slots::Key;

/// The open end of a recording.
#[derive(Debug)]
pub struct Recorder {
    /// The call whose both directions are recorded.
    pub call: Option<Key>,
    start: Instant,
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
    placement: Placement,
}

/// When a source's samples were made: what tells its packets apart.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    pub ssrc: u32,
    pub timestamp: u32,
}

impl Recorder {
    pub fn new(now: Instant, call: Option<Key>, layout: Layout) -> Self {
        let channels = match layout {
            Layout::Mono => 1,
            Layout::Stereo => 2,
        };
        Self {
            call,
            start: now,
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

    /// Adds what a source said. Whether it found its place; what is too late is dropped.
    pub fn write(
        &mut self,
        now: Instant,
        voice: Voice,
        stamp: Stamp,
        samples: impl ExactSizeIterator<Item = i16>,
    ) -> bool {
        if self.muted {
            return true;
        }
        let age = self.age(now);
        let count = samples.len().min(MOST_SAMPLES);
        let Some(track) = self.track(voice) else { return false };
        let placed = track.placement.place(age, stamp.ssrc, stamp.timestamp, count as u64);
        let Some(offset) = placed.and_then(|place| place.checked_sub(self.begin)) else {
            return false;
        };
        let first = offset as usize * self.channels;
        let end = first + count * self.channels;
        // Invariant: a place is at most `MOST_DRIFT` beyond the present, so the block stays short.
        if self.block.len() < end {
            self.block.resize(end, 0);
        }
        let side = match (voice, self.channels) {
            (Voice::FromEndpoint, 2) => Side::Right,
            (Voice::ToEndpoint, 2) => Side::Left,
            (Voice::Unit(_) | Voice::FromEndpoint | Voice::ToEndpoint, _) => Side::All,
        };
        let frames = self.block[first..end].chunks_exact_mut(self.channels);
        for (frame, sample) in frames.zip(samples) {
            match side {
                Side::Left => frame[0] = frame[0].saturating_add(sample),
                Side::Right => frame[1] = frame[1].saturating_add(sample),
                Side::All => frame.iter_mut().for_each(|s| *s = s.saturating_add(sample)),
            }
        }
        true
    }

    /// A block whose time has passed, so that nothing can change it any more.
    pub fn take_block(&mut self, now: Instant) -> Option<Vec<i16>> {
        let frames = BLOCK / self.channels;
        let closed = self.age(now).saturating_sub(MOST_DRIFT);
        (closed.saturating_sub(self.begin) >= frames as u64).then(|| self.take(frames))
    }

    /// What is left at the end of the recording, and its length.
    pub fn finish(&mut self, now: Instant) -> (Vec<i16>, Duration) {
        let age = self.age(now);
        let left = age.saturating_sub(self.begin) as usize;
        (self.take(left), Duration::from_micros(age * 125))
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
        passed.as_secs() * 8000
            + u64::from(samples_in(
                Duration::from_nanos(passed.subsec_nanos().into()),
                Rate::Narrow.hertz(),
            ))
    }

    fn track(&mut self, voice: Voice) -> Option<&mut Track> {
        let place = match self.tracks.iter().position(|track| track.voice == voice) {
            Some(place) => place,
            None if self.tracks.len() < MOST_TRACKS => {
                self.tracks.push(Track { voice, placement: Placement::default() });
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

/// Samples of a block: a second of one channel, half a second of two.
const BLOCK: usize = 8000;
/// More than the calls and players of a session. Full: what else speaks is not heard, counted as
/// `rtp_late`.
const MOST_TRACKS: usize = 64;
/// A packet of 200 ms.
const MOST_SAMPLES: usize = 1600;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn recorder(layout: Layout) -> (Recorder, Instant) {
        let now = Instant::now();
        (Recorder::new(now, None, layout), now)
    }

    fn stamp(timestamp: u32) -> Stamp {
        Stamp { ssrc: 1, timestamp }
    }

    #[test]
    fn mono_mixes_both_directions_with_silence_in_the_gaps() {
        let (mut recorder, start) = recorder(Layout::Mono);
        let now = start + 20 * MS;
        assert!(recorder.write(now, Voice::FromEndpoint, stamp(0), [100; 160].into_iter()));
        assert!(recorder.write(now, Voice::ToEndpoint, stamp(7), [20; 80].into_iter()));
        let (samples, duration) = recorder.finish(start + 50 * MS);
        assert_eq!(duration, 50 * MS);
        assert_eq!(samples.len(), 400);
        assert_eq!(samples[..160], [0; 160]);
        assert_eq!(samples[160..240], [120; 80]);
        assert_eq!(samples[240..320], [100; 80]);
        assert_eq!(samples[320..], [0; 80]);
    }

    #[test]
    fn stereo_has_what_the_endpoint_hears_left_and_what_it_says_right() {
        let (mut recorder, start) = recorder(Layout::Stereo);
        recorder.write(start, Voice::FromEndpoint, stamp(0), [1; 8].into_iter());
        recorder.write(start, Voice::ToEndpoint, stamp(0), [2; 4].into_iter());
        let (samples, _) = recorder.finish(start + MS);
        assert_eq!(samples, [2, 1, 2, 1, 2, 1, 2, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn sums_are_clipped() {
        let (mut recorder, start) = recorder(Layout::Mono);
        recorder.write(start, Voice::FromEndpoint, stamp(0), [30_000; 8].into_iter());
        recorder.write(start, Voice::ToEndpoint, stamp(0), [30_000; 8].into_iter());
        assert_eq!(recorder.finish(start + MS).0, [i16::MAX; 8]);
    }

    #[test]
    fn blocks_are_a_second_long_and_wait_for_late_packets() {
        let (mut recorder, start) = recorder(Layout::Mono);
        assert!(recorder.write(start, Voice::FromEndpoint, stamp(0), [1; 160].into_iter()));
        assert_eq!(recorder.take_block(start + 1399 * MS), None);
        let block = recorder.take_block(start + 1400 * MS).unwrap();
        assert_eq!(block.len(), 8000);
        assert_eq!((block[159], block[160]), (1, 0));
        assert_eq!(recorder.take_block(start + 1400 * MS), None);
        let (rest, duration) = recorder.finish(start + 1500 * MS);
        assert_eq!((rest.len(), duration), (4000, 1500 * MS));
    }

    #[test]
    fn packet_for_a_block_that_is_gone_is_dropped() {
        let (mut recorder, start) = recorder(Layout::Mono);
        let voice = Voice::FromEndpoint;
        assert!(recorder.write(start + 1000 * MS, voice, stamp(8000), [1; 160].into_iter()));
        assert!(recorder.take_block(start + 1400 * MS).is_some());
        // 20 ms before the block's end, 420 ms ago.
        assert!(!recorder.write(start + 1402 * MS, voice, stamp(7840), [1; 160].into_iter()));
    }

    #[test]
    fn muted_recorder_goes_on_in_silence() {
        let (mut recorder, start) = recorder(Layout::Mono);
        recorder.mute(true);
        assert!(recorder.write(start, Voice::FromEndpoint, stamp(0), [1; 80].into_iter()));
        let (samples, duration) = recorder.finish(start + 10 * MS);
        assert_eq!((samples, duration), (vec![0; 80], 10 * MS));
    }

    #[test]
    fn memory_stays_a_block_and_the_time_for_late_packets() {
        let (mut recorder, start) = recorder(Layout::Stereo);
        for n in 0..3000u32 {
            let now = start + n * 20 * MS;
            recorder.write(now, Voice::FromEndpoint, stamp(n * 160), [1; 160].into_iter());
            recorder.take_block(now);
        }
        // 2 x (4000 + 3200 + 160) samples, and a doubling of the vector.
        assert!(recorder.block.capacity() <= 2 * 2 * 7360, "{}", recorder.block.capacity());
    }
}
