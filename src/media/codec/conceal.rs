//! What is heard in the place of a lost packet: the last pitch periods over and over, fading.
//!
//! After ITU-T G.711 Appendix I, at any rate. Unlike there nothing is held back for a smooth
//! start, which would make every call 3.75 ms later: the step that is left at the first sample
//! fades instead.

use crate::media::frame::Rate;

/// What a decoder has last put out, and the account of a loss that goes on.
#[derive(Debug, Clone)]
pub struct Concealer {
    rate: Rate,
    /// The end of what was heard, loss and all: 48.75 ms.
    heard: Vec<i16>,
    loss: Option<Loss>,
    /// Of a loss: `heard` as it was when it began.
    before: Vec<i16>,
}

#[derive(Debug, Clone, Copy)]
struct Loss {
    /// Samples of a period.
    pitch: usize,
    /// From what would follow smoothly to what comes: it fades within a quarter of a period.
    step: i32,
    /// Samples put out so far.
    length: usize,
}

impl Concealer {
    pub fn new(rate: Rate) -> Self {
        let silence = vec![0; tenths_of_ms(rate, HISTORY)];
        Self { rate, heard: silence.clone(), loss: None, before: silence }
    }

    /// What was decoded, before it is heard: after a loss its beginning is faded in.
    pub fn hear(&mut self, samples: &mut [i16]) {
        if let Some(loss) = self.loss.take() {
            // §I.2.7: a quarter of a period and 4 ms for each 10 ms that were lost, but 10 ms at
            // most.
            let lost = 4 * loss.length / tenths_of_ms(self.rate, 100);
            let fade = loss.pitch / 4 + tenths_of_ms(self.rate, 10) * lost;
            let fade = fade.min(tenths_of_ms(self.rate, 100)).min(samples.len());
            for (place, sample) in samples.iter_mut().take(fade).enumerate() {
                let stand_in = self.stand_in(&loss, loss.length + place);
                *sample = blend(stand_in, *sample, place, fade);
            }
        }
        self.remember(samples);
    }

    /// The next samples of a loss.
    pub fn conceal(&mut self, out: &mut [i16]) {
        let loss = self.loss.unwrap_or_else(|| self.begin());
        for (place, sample) in out.iter_mut().enumerate() {
            *sample = self.stand_in(&loss, loss.length + place);
        }
        self.remember(out);
        self.loss = Some(Loss { length: loss.length + out.len(), ..loss });
    }

    /// What would follow what is heard, if the loss went on.
    pub fn peek(&self, out: &mut [i16]) {
        let Some(loss) = self.loss else { return out.fill(0) };
        for (place, sample) in out.iter_mut().enumerate() {
            *sample = self.stand_in(&loss, loss.length + place);
        }
    }

    fn begin(&mut self) -> Loss {
        self.before.copy_from_slice(&self.heard);
        let pitch = self.pitch();
        let at = |back: usize| self.before[self.before.len() - back];
        Loss { pitch, step: i32::from(at(1)) - i32::from(at(pitch + 1)), length: 0 }
    }

    fn remember(&mut self, samples: &[i16]) {
        let room = self.heard.len();
        let new = &samples[samples.len().saturating_sub(room)..];
        self.heard.copy_within(new.len().., 0);
        self.heard[room - new.len()..].copy_from_slice(new);
    }

    /// A sample of the loss by its place in it.
    fn stand_in(&self, loss: &Loss, place: usize) -> i16 {
        let ten_ms = tenths_of_ms(self.rate, 100);
        if place >= 6 * ten_ms {
            return 0;
        }
        let overlap = loss.pitch / 4;
        // §I.2.6: one period buzzes when it is heard for long; two from 10 ms on, then three.
        let periods = (place / ten_ms + 1).min(3);
        let mut sample = self.repeated(loss.pitch, periods, place);
        let since = place % ten_ms;
        if (1..3).contains(&(place / ten_ms)) && since < overlap {
            sample = blend(self.repeated(loss.pitch, periods - 1, place), sample, since, overlap);
        }
        let mut value = i32::from(sample);
        if place < overlap {
            value += loss.step * (overlap - place) as i32 / (overlap + 1) as i32;
        }
        // §I.2.7: a fifth less in each 10 ms after the first.
        if let Some(past) = place.checked_sub(ten_ms) {
            value = value * (5 * ten_ms - past) as i32 / (5 * ten_ms) as i32;
        }
        value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
    }

    /// The last `periods` as a loop whose end leads to its beginning. All loops are in step.
    fn repeated(&self, pitch: usize, periods: usize, place: usize) -> i16 {
        let (length, overlap) = (pitch * periods, pitch / 4);
        let place = place % length;
        let end = self.before.len();
        let sample = self.before[end - length + place];
        match place.checked_sub(length - overlap) {
            None => sample,
            Some(late) => blend(sample, self.before[end + place - 2 * length], late, overlap),
        }
    }

    /// Samples of the period that 20 ms of what was heard are most like one before: coarsely at
    /// about 4 kHz, then to the sample (§I.2.3).
    fn pitch(&self) -> usize {
        let least = tenths_of_ms(self.rate, LEAST_PITCH);
        let most = tenths_of_ms(self.rate, MOST_PITCH);
        let step = self.rate.hertz() as usize / COARSE;
        let coarse = self.likest((least..=most).step_by(step), step);
        let (from, to) = ((coarse + 1).saturating_sub(step), coarse + step - 1);
        self.likest(from.max(least)..=to.min(most), (step / 4).max(1))
    }

    /// Of these periods the one with the largest normalised correlation, by every `step`th sample.
    fn likest(&self, periods: impl Iterator<Item = usize>, step: usize) -> usize {
        let window = tenths_of_ms(self.rate, WINDOW);
        let recent = &self.before[self.before.len() - window..];
        let mut best = (f32::MIN, tenths_of_ms(self.rate, LEAST_PITCH));
        for period in periods {
            let start = self.before.len() - window - period;
            let earlier = &self.before[start..start + window];
            let (mut product, mut energy) = (0.0, LEAST_ENERGY);
            for (&one, &other) in recent.iter().zip(earlier).step_by(step) {
                product += f32::from(one) * f32::from(other);
                energy += f32::from(other) * f32::from(other);
            }
            let likeness = product / energy.sqrt();
            if likeness > best.0 {
                best = (likeness, period);
            }
        }
        best.1
    }
}

/// From one to the other, linearly.
fn blend(from: i16, to: i16, place: usize, length: usize) -> i16 {
    let (place, length) = (place as i32, length as i32);
    ((i32::from(from) * (length - place) + i32::from(to) * place) / length) as i16
}

const fn tenths_of_ms(rate: Rate, tenths: usize) -> usize {
    rate.hertz() as usize / 1000 * tenths / 10
}

/// In tenths of a millisecond: pitches from 66 to 200 Hz, by 20 ms; three of the longest periods
/// and the quarter before them are kept (§I.2.2).
const LEAST_PITCH: usize = 50;
const MOST_PITCH: usize = 150;
const WINDOW: usize = 200;
const HISTORY: usize = 488;
/// Hertz of the first search.
const COARSE: usize = 4000;
/// What silence is divided by: less than one step of A-law in each sample.
const LEAST_ENERGY: f32 = 4000.0;

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [Rate; 3] = [Rate::Narrow, Rate::Wide, Rate::Full];

    fn tone(hertz: f64, rate: Rate, start: usize, samples: usize) -> Vec<i16> {
        let angle = std::f64::consts::TAU * hertz / f64::from(rate.hertz());
        (start..start + samples).map(|n| (10_000.0 * (angle * n as f64).sin()) as i16).collect()
    }

    fn peak(samples: &[i16]) -> i32 {
        samples.iter().map(|&sample| i32::from(sample).abs()).max().unwrap_or(0)
    }

    /// The largest step from one sample to the next.
    fn steepest(samples: &[i16]) -> i32 {
        let steps = samples.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0]));
        steps.map(i32::abs).max().unwrap_or(0)
    }

    /// 100 ms of a tone, then 20 ms lost in the middle of it, then 40 ms more.
    fn loss_of_20_ms(hertz: f64, rate: Rate) -> (Vec<i16>, Vec<i16>) {
        let ms = rate.hertz() as usize / 1000;
        let sound = tone(hertz, rate, 0, 160 * ms);
        let mut concealer = Concealer::new(rate);
        let mut heard = sound.clone();
        heard[..100 * ms].chunks_mut(20 * ms).for_each(|frame| concealer.hear(frame));
        concealer.conceal(&mut heard[100 * ms..120 * ms]);
        heard[120 * ms..].chunks_mut(20 * ms).for_each(|frame| concealer.hear(frame));
        (sound, heard)
    }

    #[test]
    fn lost_20_ms_of_a_tone_leave_no_step_larger_than_half_more_than_the_tones_own() {
        for rate in RATES {
            for hertz in [80.0, 133.0, 200.0, 310.0, 440.0, 1000.0, 1733.0, 3100.0] {
                let (sound, heard) = loss_of_20_ms(hertz, rate);
                let most = steepest(&sound) * 3 / 2;
                assert!(steepest(&heard) <= most, "{hertz} at {rate:?}: {}", steepest(&heard));
                assert!(peak(&heard) <= 13_000, "{hertz} at {rate:?}: {}", peak(&heard));
            }
        }
    }

    #[test]
    fn lost_20_ms_of_a_voiced_sound_are_nearly_what_was_lost() {
        for rate in RATES {
            let ms = rate.hertz() as usize / 1000;
            // 125 Hz: a period of 8 ms, a whole number of samples at each rate.
            let (sound, heard) = loss_of_20_ms(125.0, rate);
            let error: f64 = sound[100 * ms..110 * ms]
                .iter()
                .zip(&heard[100 * ms..110 * ms])
                .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
                .sum();
            // 10 ms of noise 20 dB below the tone.
            assert!(error < 10.0 * ms as f64 * 5e7 / 100.0, "{rate:?}: {error}");
            // What comes after the fade is what was sent.
            assert_eq!(sound[140 * ms..], heard[140 * ms..]);
        }
    }

    #[test]
    fn long_loss_fades_by_a_fifth_each_10_ms_and_is_silent_from_60_ms_on() {
        for rate in RATES {
            let ms = rate.hertz() as usize / 1000;
            let mut concealer = Concealer::new(rate);
            concealer.hear(&mut tone(150.0, rate, 0, 100 * ms));
            let mut out = vec![1; 100 * ms];
            out.chunks_mut(20 * ms).for_each(|frame| concealer.conceal(frame));
            for (tens, most) in
                [(0, 10_200), (1, 10_200), (2, 8200), (3, 6200), (4, 4200), (5, 2200)]
            {
                let peak = peak(&out[tens * 10 * ms..(tens + 1) * 10 * ms]);
                assert!(peak <= most && peak >= most - 2600, "{rate:?} {tens}: {peak}");
            }
            assert_eq!(peak(&out[60 * ms..]), 0);
            let mut next = tone(150.0, rate, 0, 20 * ms);
            concealer.hear(&mut next);
            assert!(next[0].abs() < 100);
        }
    }

    #[test]
    fn concealed_in_odd_pieces_it_is_the_same() {
        let whole = |sizes: &[usize]| {
            let mut concealer = Concealer::new(Rate::Narrow);
            concealer.hear(&mut tone(190.0, Rate::Narrow, 0, 800));
            let mut heard = Vec::new();
            for &size in sizes {
                let mut out = vec![0; size];
                concealer.conceal(&mut out);
                heard.extend(out);
            }
            heard
        };
        assert_eq!(whole(&[480]), whole(&[1, 79, 80, 0, 161, 159]));
    }

    #[test]
    fn loss_before_anything_was_heard_and_one_right_after_another_are_no_matter() {
        let mut concealer = Concealer::new(Rate::Narrow);
        let mut out = [1; 160];
        concealer.conceal(&mut out);
        assert_eq!(out, [0; 160]);
        concealer.hear(&mut [i16::MAX; 1]);
        for _ in 0..5 {
            concealer.conceal(&mut out);
            concealer.hear(&mut [i16::MIN, i16::MAX, 0]);
            concealer.hear(&mut []);
        }
        // More than is kept.
        concealer.hear(&mut [7; 5000]);
        assert!(concealer.heard.iter().all(|&sample| sample == 7));
    }
}
