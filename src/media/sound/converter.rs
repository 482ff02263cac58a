//! From any rate to one of ours, by a windowed sinc (as Julius O. Smith describes band-limited
//! interpolation), while a sound is read.

use super::super::frame::Rate;

/// A sound's converter; where the rates are the same, samples pass as they are.
pub struct Converter {
    /// Input samples for each output sample.
    step: f64,
    /// Relative to the input's rate: the lower of the two Nyquist frequencies, less the slope.
    cutoff: f64,
    kernel: Kernel,
    /// The input that the next output weighs, from the sample `first` on.
    window: Vec<i16>,
    first: u64,
    /// Samples that came and that went.
    taken: u64,
    given: u64,
    is_same: bool,
}

impl Converter {
    pub fn new(from_hertz: u32, to: Rate) -> Self {
        let step = f64::from(from_hertz.max(1)) / f64::from(to.hertz());
        Self {
            step,
            cutoff: PASSBAND * step.recip().min(1.0),
            kernel: Kernel::new(),
            window: Vec::new(),
            first: 0,
            taken: 0,
            given: 0,
            is_same: from_hertz == to.hertz(),
        }
    }

    /// How many samples a sound of so many becomes.
    pub fn samples(&self, samples: u64) -> u64 {
        if self.is_same { samples } else { (samples as f64 / self.step) as u64 }
    }

    /// Appends what the next samples make: the output ends half a kernel before the input.
    pub fn convert(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        if self.is_same {
            return out.extend_from_slice(samples);
        }
        self.window.extend_from_slice(samples);
        self.taken += samples.len() as u64;
        let reach = self.reach();
        self.give(out, |center| center + reach);
    }

    /// Appends the rest: the input has come to its end.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        if !self.is_same {
            self.give(out, |center| center);
        }
    }

    /// Half of the kernel, in input samples.
    fn reach(&self) -> f64 {
        ZERO_CROSSINGS as f64 / self.cutoff
    }

    /// Makes samples as long as what they need, for their place in the input, is there.
    fn give(&mut self, out: &mut Vec<i16>, needs: impl Fn(f64) -> f64) {
        loop {
            let center = self.given as f64 * self.step;
            if needs(center) > self.taken as f64 - 1.0 {
                break;
            }
            let place = center - self.first as f64;
            out.push(self.kernel.apply(&self.window, place, self.cutoff));
            self.given += 1;
        }
        // What no later output weighs.
        let oldest = (self.given as f64 * self.step - self.reach()).floor().max(0.0) as u64;
        let past = oldest.saturating_sub(self.first).min(self.window.len() as u64);
        self.window.drain(..past as usize);
        self.first += past;
    }
}

/// Half of a windowed sinc, tabulated in steps of 1/`STEPS` of a zero crossing.
struct Kernel {
    table: Vec<f32>,
}

impl Kernel {
    fn new() -> Self {
        let last = ZERO_CROSSINGS * STEPS;
        let value = |place: usize| {
            let x = place as f64 / STEPS as f64;
            let sinc = match place {
                0 => 1.0,
                _ => (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x),
            };
            // Blackman, whose side lobes are 58 dB down: below the noise of G.711.
            let angle = std::f64::consts::PI * place as f64 / last as f64;
            let window = 0.42 + 0.5 * angle.cos() + 0.08 * (2.0 * angle).cos();
            (sinc * window) as f32
        };
        Self {
            table: (0..=last + 1)
                .map(|place| if place > last { 0.0 } else { value(place) })
                .collect(),
        }
    }

    fn apply(&self, samples: &[i16], center: f64, cutoff: f64) -> i16 {
        let reach = ZERO_CROSSINGS as f64 / cutoff;
        let first = (center - reach).ceil().max(0.0) as usize;
        let last = ((center + reach).floor() as usize).min(samples.len().saturating_sub(1));
        let mut sum = 0.0;
        for (place, &sample) in samples.iter().enumerate().take(last + 1).skip(first) {
            let at = ((place as f64 - center).abs() * cutoff * STEPS as f64) as f32;
            let whole = at as usize;
            let (low, high) = (self.table[whole], self.table[whole + 1]);
            sum += f32::from(sample) * (low + (high - low) * (at - whole as f32));
        }
        (sum * cutoff as f32).round() as i16
    }
}

/// Zero crossings on each side: the slope from pass to stop is an eighth of the band.
const ZERO_CROSSINGS: usize = 16;
/// Table entries between two zero crossings; between entries the kernel is interpolated.
const STEPS: usize = 128;
/// Where the slope's middle lies, as a share of the Nyquist frequency.
const PASSBAND: f64 = 0.92;

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hertz: f64, rate: u32, samples: usize) -> Vec<i16> {
        let angle = std::f64::consts::TAU * hertz / f64::from(rate);
        (0..samples).map(|n| (10_000.0 * (angle * n as f64).sin()) as i16).collect()
    }

    /// In pieces of changing length, as decoders give them.
    fn converted(samples: &[i16], from: u32, to: Rate) -> Vec<i16> {
        let mut converter = Converter::new(from, to);
        let mut out = Vec::new();
        let (mut rest, mut length) = (samples, 1);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            converter.convert(piece, &mut out);
            (rest, length) = (after, (length * 3 + 1) % 5000);
        }
        converter.finish(&mut out);
        out
    }

    /// Root mean square without the edges, where half of the kernel has nothing to weigh.
    fn level(samples: &[i16]) -> f64 {
        let middle = &samples[200..samples.len() - 200];
        let power: f64 = middle.iter().map(|&s| f64::from(s).powi(2)).sum();
        (power / middle.len() as f64).sqrt()
    }

    #[test]
    fn tone_within_the_band_keeps_level_length_and_place() {
        for to in [Rate::Narrow, Rate::Wide, Rate::Full] {
            for from in [4000, 8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000] {
                let sound = converted(&sine(1000.0, from, from as usize), from, to);
                let expected = sine(1000.0, to.hertz(), to.hertz() as usize);
                // The last input sample is the last place.
                let missing = expected.len() - sound.len();
                assert!(missing as u32 <= to.hertz().div_ceil(from), "{from} {missing}");
                // 10000 / sqrt(2).
                assert!((level(&sound) - 7071.0).abs() < 80.0, "{from}: {}", level(&sound));
                let edge = to.hertz() as usize / 40;
                for place in edge..sound.len() - edge {
                    let error = (i32::from(sound[place]) - i32::from(expected[place])).abs();
                    assert!(error < 150, "{from} to {to:?} at {place}: {error}");
                }
            }
        }
    }

    #[test]
    fn tone_above_the_band_is_gone_instead_of_folded() {
        for (from, to) in [(16_000, Rate::Narrow), (44_100, Rate::Wide)] {
            let above = f64::from(to.hertz()) * 0.75;
            let sound = converted(&sine(above, from, from as usize), from, to);
            // 50 dB below 7071.
            assert!(level(&sound) < 22.0, "{}", level(&sound));
        }
    }

    #[test]
    fn sound_at_the_same_rate_is_not_touched() {
        let samples = sine(5000.0, 16_000, 16_000);
        assert_eq!(converted(&samples, 16_000, Rate::Wide), samples);
    }

    #[test]
    fn window_does_not_grow() {
        let mut converter = Converter::new(44_100, Rate::Narrow);
        let mut out = Vec::new();
        for _ in 0..1000 {
            converter.convert(&[7; 1152], &mut out);
        }
        assert!(converter.window.len() < 1000, "{}", converter.window.len());
        assert!(converter.samples(1_152_000).abs_diff(out.len() as u64) < 50);
    }

    #[test]
    fn full_scale_does_not_wrap() {
        let square: Vec<i16> =
            (0..4000).map(|n| if n / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let sound = converted(&square, 16_000, Rate::Narrow);
        // Overshoot of the edges is clipped: the sign stays that of the square.
        assert!(sound[100..1900].iter().enumerate().all(|(n, &s)| {
            let phase = (n + 100) % 20;
            phase % 10 < 2 || phase % 10 > 8 || (s > 0) == (phase < 10)
        }));
    }
}
