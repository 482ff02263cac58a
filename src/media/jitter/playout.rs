//! Decoded audio on its way out: joined without clicks, made shorter or longer by whole periods
//! of what it sounds like.
//!
//! ```text
//!  |<-- played, 20 ms -->|<-- pending -->|
//!                        at
//!  shorter:  [at..] fades into [at + lag..], a lag is gone
//!  longer:   [at..] fades into [at - lag..], a lag is heard again
//! ```
//! The lag is where the sound is most like itself: a multiple of its pitch period, so that the
//! waveform goes on (as WSOLA, and NetEQ's "accelerate" and "preemptive expand").

use crate::media::frame::{Frame, Rate};

/// Samples at one rate.
#[derive(Debug)]
pub struct Playout {
    rate: Rate,
    /// The last 20 ms that were played, then what is pending. Room for it is made once.
    samples: Vec<i16>,
    /// What comes next does not follow on what is there.
    is_cut: bool,
    /// What is added to new samples so that a cut makes no step; it fades.
    bridge: f32,
}

impl Playout {
    pub fn new(rate: Rate) -> Self {
        let mut samples = Vec::with_capacity(capacity(rate));
        samples.resize(rate.frame(), 0);
        Self { rate, samples, is_cut: false, bridge: 0.0 }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Samples that wait to be played.
    pub fn pending(&self) -> usize {
        self.samples.len() - self.rate.frame()
    }

    /// Samples for which there is room.
    pub fn room(&self) -> usize {
        capacity(self.rate) - self.samples.len()
    }

    /// Puts up to `most` samples at the end: `fill` says how many it wrote; the first `skip` of
    /// them are left out. How many were added.
    pub fn append(
        &mut self,
        most: usize,
        skip: usize,
        fill: impl FnOnce(&mut [i16]) -> usize,
    ) -> usize {
        let start = self.samples.len();
        let most = most.min(self.room());
        self.samples.resize(start + most, 0);
        let written = fill(&mut self.samples[start..]).min(most);
        let skip = skip.min(written);
        self.samples.copy_within(start + skip..start + written, start);
        self.samples.truncate(start + written - skip);
        self.join(start);
        written - skip
    }

    /// What comes next does not follow on what is there.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    pub fn clear_pending(&mut self) {
        if self.pending() > 0 {
            self.samples.truncate(self.rate.frame());
            self.cut();
        }
    }

    /// Goes on at another rate. What is pending is gone; the level of the end is kept.
    pub fn change_rate(&mut self, rate: Rate) {
        if rate == self.rate {
            return;
        }
        let last = self.samples.last().copied().unwrap_or(0);
        self.samples.clear();
        self.samples.reserve_exact(capacity(rate));
        self.samples.resize(rate.frame(), last);
        self.rate = rate;
        self.cut();
    }

    /// 20 ms, which must be pending.
    pub fn take(&mut self, frame: &mut Frame) {
        let length = self.rate.frame();
        if frame.rate() != self.rate {
            *frame = Frame::silence(self.rate);
        }
        let next = &self.samples[length..length * 2];
        frame.samples_mut().copy_from_slice(next);
        self.samples.copy_within(length.., 0);
        self.samples.truncate(self.samples.len() - length);
    }

    /// Takes one lag out of what is pending. How many samples; 0 where there is too little, or
    /// nothing alike enough: `likeness` is the least correlation, 0 to 1.
    pub fn shorten(&mut self, likeness: f32) -> usize {
        let (at, window) = (self.rate.frame(), self.window());
        if self.pending() < self.needed() {
            return 0;
        }
        let Some(lag) = self.best_lag(likeness, 1) else { return 0 };
        for place in 0..window {
            let (old, new) = (self.samples[at + place], self.samples[at + lag + place]);
            self.samples[at + place] = fade(old, new, place, window);
        }
        self.samples.copy_within(at + lag + window.., at + window);
        self.samples.truncate(self.samples.len() - lag);
        lag
    }

    /// Puts one lag of what was played before what is pending. How many samples, as
    /// [`Self::shorten`].
    pub fn lengthen(&mut self, likeness: f32) -> usize {
        let (at, window) = (self.rate.frame(), self.window());
        if self.pending() < window || self.room() < self.lags().1 {
            return 0;
        }
        let Some(lag) = self.best_lag(likeness, -1) else { return 0 };
        let mut again = [0; WINDOW_MS * 48];
        let again = &mut again[..window];
        again.copy_from_slice(&self.samples[at - lag..at - lag + window]);
        let length = self.samples.len();
        self.samples.resize(length + lag, 0);
        self.samples.copy_within(at + window - lag..length, at + window);
        for (place, &new) in again.iter().enumerate() {
            self.samples[at + place] = fade(self.samples[at + place], new, place, window);
        }
        lag
    }

    /// Samples that must be pending to be made shorter, so that a frame is left.
    pub fn needed(&self) -> usize {
        self.rate.frame() + self.lags().1
    }

    /// Takes the step out of a cut: the new samples begin where the old ones end.
    fn join(&mut self, start: usize) {
        let Some(&first) = self.samples.get(start) else { return };
        if std::mem::take(&mut self.is_cut) {
            self.bridge = f32::from(self.samples[start - 1]) - f32::from(first);
        }
        if self.bridge == 0.0 {
            return;
        }
        let decay = 1.0 - BRIDGE_HERTZ / self.rate.hertz() as f32;
        for sample in &mut self.samples[start..] {
            *sample = (f32::from(*sample) + self.bridge) as i16;
            self.bridge *= decay;
            if self.bridge.abs() < 1.0 {
                self.bridge = 0.0;
                break;
            }
        }
    }

    /// The lag, forward or back, at which the window behind the played samples is most alike.
    fn best_lag(&self, likeness: f32, direction: isize) -> Option<usize> {
        let at = self.rate.frame() as isize;
        let step = self.rate.hertz() as usize / COARSE_HERTZ;
        let (least, most) = self.lags();
        let alike = |lag: usize, step: usize| {
            let other = (at + direction * lag as isize) as usize;
            self.likeness(at as usize, other, step)
        };
        let best_of = |lags: &mut dyn Iterator<Item = usize>, step: usize| {
            let mut best = (f32::MIN, least);
            for lag in lags {
                let value = alike(lag, step);
                if value > best.0 {
                    best = (value, lag);
                }
            }
            best
        };
        let (mut value, mut lag) = best_of(&mut (least..=most).step_by(step), step);
        if step > 1 {
            let near = (lag - (step - 1)).max(least)..=(lag + (step - 1)).min(most);
            (value, lag) = best_of(&mut near.clone(), 1);
        }
        (value >= likeness || self.is_quiet()).then_some(lag)
    }

    /// Correlation of the windows at two places, by every `step`-th sample (summed with those
    /// between).
    fn likeness(&self, one: usize, other: usize, step: usize) -> f32 {
        let window = self.window();
        let one = &self.samples[one..one + window];
        let other = &self.samples[other..other + window];
        let (mut product, mut left, mut right) = (0i64, 0i64, 0i64);
        for (one, other) in one.chunks_exact(step).zip(other.chunks_exact(step)) {
            let one: i64 = one.iter().map(|&sample| i64::from(sample)).sum();
            let other: i64 = other.iter().map(|&sample| i64::from(sample)).sum();
            product += one * other;
            left += one * one;
            right += other * other;
        }
        if left == 0 || right == 0 {
            return if left == right { 1.0 } else { 0.0 };
        }
        (product as f64 / (left as f64 * right as f64).sqrt()) as f32
    }

    /// What is pending is background: where it is cut is not heard.
    fn is_quiet(&self) -> bool {
        let pending = &self.samples[self.rate.frame()..];
        pending.iter().all(|sample| sample.unsigned_abs() < QUIET)
    }

    fn window(&self) -> usize {
        self.rate.hertz() as usize / 1000 * WINDOW_MS
    }

    /// 2.5 ms, a pitch of 400 Hz, to 15 ms, one of 67 Hz.
    fn lags(&self) -> (usize, usize) {
        let hertz = self.rate.hertz() as usize;
        (hertz / 400, hertz * 15 / 1000)
    }
}

/// Samples of the played part, of less than a frame that is pending, and of the longest packet.
pub const fn capacity(rate: Rate) -> usize {
    rate.hertz() as usize / 1000 * (20 + 20 + longest_packet_ms(rate))
}

/// RFC 3551 §4.2: 200 ms; Opus has 120 ms (RFC 6716 §2.1.4).
pub const fn longest_packet_ms(rate: Rate) -> usize {
    match rate {
        Rate::Narrow | Rate::Wide => 200,
        Rate::Full => 120,
    }
}

fn fade(old: i16, new: i16, place: usize, length: usize) -> i16 {
    let (old, new) = (i32::from(old), i32::from(new));
    (old + (new - old) * (place as i32 + 1) / (length as i32 + 1)) as i16
}

/// What is compared and faded over.
const WINDOW_MS: usize = 10;
/// Lags are looked for at this rate first.
const COARSE_HERTZ: usize = 8000;
/// A bridge fades by 1/e in 1.25 ms.
const BRIDGE_HERTZ: f32 = 800.0;
/// 54 dB below full scale.
const QUIET: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [Rate; 3] = [Rate::Narrow, Rate::Wide, Rate::Full];

    fn tone(rate: Rate, hertz: f64) -> impl FnMut() -> i16 {
        let step = std::f64::consts::TAU * hertz / f64::from(rate.hertz());
        let mut place = 0.0;
        move || {
            place += 1.0;
            (10_000.0 * (step * place).sin()) as i16
        }
    }

    fn append(playout: &mut Playout, count: usize, mut next: impl FnMut() -> i16) {
        let added = playout.append(count, 0, |out| {
            out.fill_with(&mut next);
            out.len()
        });
        assert_eq!(added, count);
    }

    fn play(playout: &mut Playout, heard: &mut Vec<i16>) {
        let mut frame = Frame::silence(playout.rate());
        playout.take(&mut frame);
        heard.extend_from_slice(frame.samples());
    }

    /// How far a tone's samples are from what the two before say, at most: x(n) = 2 cos(w) x(n-1)
    /// - x(n-2) holds for a tone of any phase, and breaks where the phase does.
    fn roughness(samples: &[i16], rate: Rate, hertz: f64) -> f64 {
        let step = std::f64::consts::TAU * hertz / f64::from(rate.hertz());
        let error = |three: &[i16]| {
            let [a, b, c] = [0, 1, 2].map(|place| f64::from(three[place]));
            (c - 2.0 * step.cos() * b + a).abs()
        };
        samples.windows(3).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn tone_is_made_shorter_and_longer_without_a_break() {
        for rate in RATES {
            for hertz in [200.0, 440.0, 697.0, 1000.0, 1633.0] {
                let (mut playout, mut heard) = (Playout::new(rate), Vec::new());
                let mut next = tone(rate, hertz);
                let (mut gone, mut more) = (0, 0);
                for tick in 0..60 {
                    append(&mut playout, rate.frame(), &mut next);
                    if playout.pending() < playout.needed() {
                        append(&mut playout, rate.frame(), &mut next);
                    }
                    match tick {
                        20..25 => gone += usize::from(playout.shorten(0.9) > 0),
                        40..45 => more += usize::from(playout.lengthen(0.9) > 0),
                        _ => {}
                    }
                    play(&mut playout, &mut heard);
                    if playout.pending() > rate.frame() * 2 {
                        play(&mut playout, &mut heard);
                    }
                }
                assert_eq!((gone, more), (5, 5), "{rate:?} {hertz}");
                // Past the jump from silence. Rounding alone gives 4; half a sample off would be
                // hundreds at 8 kHz.
                let break_at_most = roughness(&heard[10..], rate, hertz);
                assert!(break_at_most < 60.0, "{rate:?} {hertz}: {break_at_most}");
            }
        }
    }

    #[test]
    fn lag_is_between_2_5_and_15_ms() {
        for rate in RATES {
            let mut playout = Playout::new(rate);
            let mut next = tone(rate, 300.0);
            append(&mut playout, rate.frame() * 3, &mut next);
            let mut heard = Vec::new();
            play(&mut playout, &mut heard);
            let before = playout.pending();
            let lag = playout.shorten(0.9);
            assert_eq!(playout.pending(), before - lag);
            let more = playout.lengthen(0.9);
            assert_eq!(playout.pending(), before - lag + more);
            let (least, most) = (rate.hertz() as usize / 400, rate.hertz() as usize * 15 / 1000);
            for lag in [lag, more] {
                assert!((least..=most).contains(&lag), "{rate:?} {lag}");
            }
        }
    }

    #[test]
    fn noise_is_left_alone_unless_it_is_quiet_or_asked_for() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut playout = Playout::new(Rate::Narrow);
        append(&mut playout, 320, || random.i16(-5000..5000));
        assert_eq!(playout.shorten(0.9), 0);
        assert_eq!(playout.lengthen(0.9), 0);
        assert!(playout.shorten(-1.0) > 0);
        let mut quiet = Playout::new(Rate::Narrow);
        append(&mut quiet, 320, || random.i16(-60..60));
        assert!(quiet.shorten(0.9) > 0);
    }

    #[test]
    fn too_little_is_left_as_it_is() {
        let mut playout = Playout::new(Rate::Narrow);
        append(&mut playout, 79, || 0);
        assert_eq!((playout.shorten(0.0), playout.lengthen(0.0)), (0, 0));
    }

    #[test]
    fn cut_makes_no_step() {
        for rate in RATES {
            let mut playout = Playout::new(rate);
            append(&mut playout, rate.frame(), || 8000);
            playout.cut();
            append(&mut playout, rate.frame() / 4, || -8000);
            append(&mut playout, rate.frame() * 3 / 4, || -8000);
            let mut heard = Vec::new();
            play(&mut playout, &mut heard);
            play(&mut playout, &mut heard);
            // A tenth of the 16000 between, at 8 kHz.
            let step = heard.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap();
            assert!(step <= 1600, "{rate:?} {step}");
            assert_eq!(heard.last(), Some(&-8000));
        }
    }

    #[test]
    fn part_that_is_late_is_left_out() {
        let mut playout = Playout::new(Rate::Narrow);
        let added = playout.append(10, 4, |out| {
            for (place, sample) in out.iter_mut().enumerate() {
                *sample = place as i16;
            }
            8
        });
        assert_eq!((added, playout.pending()), (4, 4));
        assert_eq!(playout.samples[160..], [4, 5, 6, 7]);
    }

    #[test]
    fn memory_is_bounded_whatever_is_put_in() {
        for rate in RATES {
            let mut playout = Playout::new(rate);
            let room = playout.samples.capacity();
            for _ in 0..10 {
                playout.append(usize::MAX / 2, 0, |out| out.len());
            }
            playout.lengthen(-1.0);
            assert_eq!(playout.samples.capacity(), room);
            let longest = longest_packet_ms(rate) * rate.hertz() as usize / 1000;
            assert!(room >= rate.frame() * 2 + longest);
        }
    }
}
