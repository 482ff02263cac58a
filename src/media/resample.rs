//! From one rate to another as audio flows: a polyphase filter with state.
//!
//! One windowed sinc serves all six pairs of rates: it passes what lies below 0.43 of the lower
//! rate (3.4 and 7 kHz) within 0.1 dB, and holds what lies above 0.57 of it 60 dB down. It delays
//! by 16 samples of the lower rate where the rate rises and by 15 where it falls: 2 ms between 8
//! kHz and another, 1 ms between 16 and 48 kHz.
//!
//! Sounds of any other rate are converted when they are read, by `codec::resample`.

use super::frame::{Frame, Rate};

/// A stream's converter. It holds the last samples of what it has seen: 390 bytes.
#[derive(Debug, Clone)]
pub struct Resampler {
    from: Rate,
    to: Rate,
    /// The newest samples at the end. A ratio uses the end of it that its filter reaches.
    history: [i16; HISTORY],
}

impl Resampler {
    pub const fn new(from: Rate, to: Rate) -> Self {
        Self { from, to, history: [0; HISTORY] }
    }

    pub const fn from(&self) -> Rate {
        self.from
    }

    pub const fn to(&self) -> Rate {
        self.to
    }

    /// The next 20 ms, which follow on those of the last call. A frame of another rate than
    /// `from` begins a new stream at that rate.
    pub fn process(&mut self, frame: &Frame) -> Frame {
        if frame.rate() != self.from {
            *self = Self::new(frame.rate(), self.to);
        }
        let mut converted = Frame::silence(self.to);
        match (self.from, self.to) {
            (Rate::Narrow, Rate::Wide) => self.rise::<2>(frame, &mut converted),
            (Rate::Wide, Rate::Full) => self.rise::<3>(frame, &mut converted),
            (Rate::Narrow, Rate::Full) => self.rise::<6>(frame, &mut converted),
            (Rate::Wide, Rate::Narrow) => self.fall(&FALL_2, frame, &mut converted),
            (Rate::Full, Rate::Wide) => self.fall(&FALL_3, frame, &mut converted),
            (Rate::Full, Rate::Narrow) => self.fall(&FALL_6, frame, &mut converted),
            (Rate::Narrow, Rate::Narrow) | (Rate::Wide, Rate::Wide) | (Rate::Full, Rate::Full) => {
                converted.samples_mut().copy_from_slice(frame.samples());
            }
        }
        converted
    }

    /// `RATIO` samples for each: one per phase of the filter.
    fn rise<const RATIO: usize>(&mut self, frame: &Frame, converted: &mut Frame) {
        let mut line = [0; HISTORY + Rate::Full.frame()];
        let line = self.line(frame, &mut line);
        // The oldest sample that the first output weighs.
        let windows = line[HISTORY + 1 - TAPS..].windows(TAPS);
        for (window, out) in windows.zip(converted.samples_mut().chunks_exact_mut(RATIO)) {
            for (phase, sample) in out.iter_mut().enumerate() {
                *sample = weigh(window, &RISE[phase * (PHASES / RATIO)]);
            }
        }
    }

    /// A sample for every `RATIO`, which is the filter's length in `TAPS`.
    fn fall<const LENGTH: usize>(
        &mut self,
        filter: &[i16; LENGTH],
        frame: &Frame,
        converted: &mut Frame,
    ) {
        let ratio = LENGTH / TAPS;
        let mut line = [0; HISTORY + Rate::Full.frame()];
        let line = self.line(frame, &mut line);
        let windows = line[HISTORY + ratio - LENGTH..].windows(LENGTH).step_by(ratio);
        for (window, sample) in windows.zip(converted.samples_mut()) {
            *sample = weigh(window, filter);
        }
    }

    /// The history with the frame behind it; the history moves on.
    fn line<'a>(
        &mut self,
        frame: &Frame,
        line: &'a mut [i16; HISTORY + Rate::Full.frame()],
    ) -> &'a [i16] {
        let samples = frame.samples();
        let line = &mut line[..HISTORY + samples.len()];
        line[..HISTORY].copy_from_slice(&self.history);
        line[HISTORY..].copy_from_slice(samples);
        self.history.copy_from_slice(&line[samples.len()..]);
        line
    }
}

/// Rounded, and clipped where the filter overshoots.
fn weigh(window: &[i16], filter: &[i16]) -> i16 {
    let products = window.iter().zip(filter).map(|(&s, &c)| i32::from(s) * i32::from(c));
    let sum: i32 = products.sum();
    ((sum + ONE / 2) / ONE).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Samples at the lower rate that an output weighs.
const TAPS: usize = 32;
/// Phases that serve the ratios 2, 3 and 6.
const PHASES: usize = 6;
/// What the longest filter reaches back to, from before the first new sample.
const HISTORY: usize = TAPS * PHASES - 1;
/// Weights are in Q14.
///
/// Invariant: the magnitudes of a filter's weights add up to less than 2^16, so that no sum of
/// their products with samples leaves 32 bits.
const ONE: i32 = 1 << 14;
/// Of the Kaiser window: side lobes 65 dB down.
const BETA: f64 = 6.2;

/// By phase: the weights of the last `TAPS` samples, the oldest first.
static RISE: [[i16; TAPS]; PHASES] = {
    let mut table = [[0; TAPS]; PHASES];
    let mut phase = 0;
    while phase < PHASES {
        let mut place = 0;
        while place < TAPS {
            let at = place as f64 - 15.0 - phase as f64 / PHASES as f64;
            table[phase][place] = weight(kernel(at));
            place += 1;
        }
        phase += 1;
    }
    table
};

static FALL_2: [i16; TAPS * 2] = fall_table();
static FALL_3: [i16; TAPS * 3] = fall_table();
static FALL_6: [i16; TAPS * 6] = fall_table();

const fn fall_table<const LENGTH: usize>() -> [i16; LENGTH] {
    let ratio = (LENGTH / TAPS) as f64;
    let mut table = [0; LENGTH];
    let mut place = 0;
    while place < LENGTH {
        table[place] = weight(kernel(place as f64 / ratio - (TAPS / 2) as f64) / ratio);
        place += 1;
    }
    table
}

const fn weight(value: f64) -> i16 {
    let scaled = value * ONE as f64;
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i16
}

/// sin(πx) / πx under a Kaiser window that ends at ±16.
const fn kernel(at: f64) -> f64 {
    let share = at / (TAPS / 2) as f64;
    if share <= -1.0 || share >= 1.0 {
        return 0.0;
    }
    let window = bessel(BETA * BETA / 4.0 * (1.0 - share * share)) / bessel(BETA * BETA / 4.0);
    let sinc = if at == 0.0 { 1.0 } else { sine_of_half_turns(at) / (std::f64::consts::PI * at) };
    sinc * window
}

/// I0(x), the modified Bessel function of order 0, from x²/4: the sum of (x²/4)^k / k!².
const fn bessel(quarter_square: f64) -> f64 {
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while k < 40.0 {
        term *= quarter_square / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// sin(πx).
const fn sine_of_half_turns(x: f64) -> f64 {
    let nearest = (if x < 0.0 { x - 0.5 } else { x + 0.5 }) as i64;
    let angle = std::f64::consts::PI * (x - nearest as f64);
    let (mut term, mut sum, mut k) = (angle, angle, 1.0);
    while k < 12.0 {
        term *= -angle * angle / ((2.0 * k) * (2.0 * k + 1.0));
        sum += term;
        k += 1.0;
    }
    if nearest % 2 == 0 { sum } else { -sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [Rate; 3] = [Rate::Narrow, Rate::Wide, Rate::Full];

    fn pairs() -> impl Iterator<Item = (Rate, Rate)> {
        let all = RATES.into_iter().flat_map(|from| RATES.map(|to| (from, to)));
        all.filter(|(from, to)| from != to)
    }

    /// Half a second of a tone, converted.
    fn convert(from: Rate, to: Rate, hertz: f64, amplitude: f64) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let step = std::f64::consts::TAU * hertz / f64::from(from.hertz());
        let mut place = 0.0;
        let mut converted = Vec::new();
        for _ in 0..25 {
            let mut frame = Frame::silence(from);
            for sample in frame.samples_mut() {
                *sample = (amplitude * (step * place).sin()).round() as i16;
                place += 1.0;
            }
            converted.extend_from_slice(resampler.process(&frame).samples());
        }
        converted
    }

    /// Amplitude of the tone and root mean square of all else, by least squares, past the start.
    fn measure(samples: &[i16], rate: Rate, hertz: f64) -> (f64, f64) {
        let samples = &samples[rate.frame() * 5..];
        let step = std::f64::consts::TAU * hertz / f64::from(rate.hertz());
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (place, &sample) in samples.iter().enumerate() {
            let (s, c) = (step * place as f64).sin_cos();
            sine += f64::from(sample) * s;
            cosine += f64::from(sample) * c;
        }
        let scale = 2.0 / samples.len() as f64;
        let (sine, cosine) = (sine * scale, cosine * scale);
        let rest = samples.iter().enumerate().map(|(place, &sample)| {
            let (s, c) = (step * place as f64).sin_cos();
            (f64::from(sample) - sine * s - cosine * c).powi(2)
        });
        (sine.hypot(cosine), (rest.sum::<f64>() / samples.len() as f64).sqrt())
    }

    fn decibels(ratio: f64) -> f64 {
        20.0 * ratio.log10()
    }

    #[test]
    fn passband_is_flat_to_0_43_of_the_lower_rate_and_images_are_60_db_down() {
        for (from, to) in pairs() {
            let band = f64::from(from.min(to).hertz()) * 0.43;
            for step in 1..=6 {
                // Whole cycles in the 400 ms that are measured.
                let hertz = (band * f64::from(step) / 6.0 / 2.5).floor() * 2.5;
                let (amplitude, rest) = measure(&convert(from, to, hertz, 16_000.0), to, hertz);
                let gain = decibels(amplitude / 16_000.0);
                assert!(gain.abs() < 0.1, "{from:?} {to:?} {hertz}: {gain:.3} dB");
                let noise = decibels(rest * std::f64::consts::SQRT_2 / 16_000.0);
                assert!(noise < -60.0, "{from:?} {to:?} {hertz}: {noise:.1} dB");
            }
        }
    }

    #[test]
    fn what_lies_above_the_lower_band_is_60_db_down_instead_of_folded() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            let (low, high) = (f64::from(to.hertz()) * 0.57, f64::from(from.hertz()) / 2.0);
            for step in 0..8 {
                let hertz = low + (high - low) * f64::from(step) / 8.0;
                let sound = convert(from, to, hertz, 32_000.0);
                let power: f64 = sound[to.frame()..].iter().map(|&s| f64::from(s).powi(2)).sum();
                let level = (power / (sound.len() - to.frame()) as f64).sqrt();
                let gain = decibels(level * std::f64::consts::SQRT_2 / 32_000.0);
                assert!(gain < -60.0, "{from:?} {to:?} {hertz:.0}: {gain:.1} dB");
            }
        }
    }

    #[test]
    fn delay_is_16_samples_of_the_lower_rate_up_and_15_down() {
        for (from, to) in pairs() {
            let mut resampler = Resampler::new(from, to);
            let mut frame = Frame::silence(from);
            frame.samples_mut()[0] = 20_000;
            let converted = resampler.process(&frame);
            let samples = converted.samples();
            let peak = (0..samples.len()).max_by_key(|&place| samples[place].abs()).unwrap();
            let lower = to.min(from).hertz();
            let delay = peak * lower as usize / to.hertz() as usize;
            assert_eq!(delay, if from < to { 16 } else { 15 }, "{from:?} {to:?}");
        }
    }

    #[test]
    fn constant_stays_what_it_is() {
        for (from, to) in pairs() {
            let mut resampler = Resampler::new(from, to);
            let mut frame = Frame::silence(from);
            frame.samples_mut().fill(10_000);
            resampler.process(&frame);
            // 60 dB below 10000.
            let converted = resampler.process(&frame);
            assert!(
                converted.samples().iter().all(|s| s.abs_diff(10_000) <= 10),
                "{from:?} {to:?}"
            );
        }
    }

    #[test]
    fn full_scale_is_clipped_and_no_sum_leaves_32_bits() {
        let filters = RISE.iter().map(|filter| &filter[..]);
        for filter in filters.chain([&FALL_2[..], &FALL_3, &FALL_6]) {
            let magnitudes: i32 = filter.iter().map(|&weight| i32::from(weight).abs()).sum();
            assert!(magnitudes < 1 << 16);
        }
        for (from, to) in pairs() {
            let mut resampler = Resampler::new(from, to);
            let mut frame = Frame::silence(from);
            let half = frame.samples().len() / 2;
            frame.samples_mut()[..half].fill(i16::MAX);
            frame.samples_mut()[half..].fill(i16::MIN);
            resampler.process(&frame);
            let samples = resampler.process(&frame);
            let quarter = samples.samples().len() / 4;
            assert!(samples.samples()[quarter] > 32_000);
            assert!(samples.samples()[quarter * 3] < -32_000);
        }
    }

    #[test]
    fn equal_rates_pass_and_another_rate_begins_anew() {
        let mut frame = Frame::silence(Rate::Wide);
        frame.samples_mut()[7] = 77;
        assert_eq!(Resampler::new(Rate::Wide, Rate::Wide).process(&frame), frame);
        let mut resampler = Resampler::new(Rate::Narrow, Rate::Full);
        assert_eq!(resampler.process(&frame).rate(), Rate::Full);
        assert_eq!((resampler.from(), resampler.to()), (Rate::Wide, Rate::Full));
    }
}
