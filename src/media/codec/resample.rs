//! From any rate to the rate of calls, by a windowed sinc (as Julius O. Smith describes
//! band-limited interpolation): a sound is converted once, when it is loaded.

use super::g711::RATE;

/// The same sound at 8000 Hz. What lies above 4 kHz is filtered out, not folded down.
pub fn to_call_rate(samples: &[i16], rate: u32) -> Vec<i16> {
    if rate == RATE || samples.is_empty() || rate == 0 {
        return samples.to_vec();
    }
    let step = f64::from(rate) / f64::from(RATE);
    // Relative to the input's rate: the lower of the two Nyquist frequencies, less the slope.
    let cutoff = PASSBAND * step.recip().min(1.0);
    let kernel = Kernel::new();
    let length = (samples.len() as u64 * u64::from(RATE) / u64::from(rate)) as usize;
    (0..length.max(1)).map(|place| kernel.apply(samples, place as f64 * step, cutoff)).collect()
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
        let last = ((center + reach).floor() as usize).min(samples.len() - 1);
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

    /// Root mean square without the edges, where half of the kernel has nothing to weigh.
    fn level(samples: &[i16]) -> f64 {
        let middle = &samples[200..samples.len() - 200];
        let power: f64 = middle.iter().map(|&s| f64::from(s).powi(2)).sum();
        (power / middle.len() as f64).sqrt()
    }

    #[test]
    fn tone_within_the_band_keeps_level_length_and_place() {
        for rate in [16_000, 44_100, 48_000, 11_025, 4_000] {
            let sound = to_call_rate(&sine(1000.0, rate, rate as usize), rate);
            assert_eq!(sound.len(), 8000, "{rate}");
            // 10000 / sqrt(2).
            assert!((level(&sound) - 7071.0).abs() < 80.0, "{rate}: {}", level(&sound));
            let expected = sine(1000.0, 8000, 8000);
            for place in 200..7800 {
                let error = (i32::from(sound[place]) - i32::from(expected[place])).abs();
                assert!(error < 150, "{rate} at {place}: {error}");
            }
        }
    }

    #[test]
    fn tone_above_the_band_is_gone_instead_of_folded() {
        let sound = to_call_rate(&sine(6000.0, 16_000, 16_000), 16_000);
        // 50 dB below 7071.
        assert!(level(&sound) < 22.0, "{}", level(&sound));
    }

    #[test]
    fn full_scale_does_not_wrap() {
        let square: Vec<i16> =
            (0..4000).map(|n| if n / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let sound = to_call_rate(&square, 16_000);
        // Overshoot of the edges is clipped: the sign stays that of the square.
        assert!(sound[100..1900].iter().enumerate().all(|(n, &s)| {
            let phase = (n + 100) % 20;
            phase % 10 < 2 || phase % 10 > 8 || (s > 0) == (phase < 10)
        }));
    }
}
