//! How much of one frequency is in a stretch of samples: one term of a Fourier transform, by the
//! recursion of Goertzel.

use std::f32::consts::TAU;

/// A frequency at 8000 samples per second.
#[derive(Debug, Clone, Copy)]
pub struct Goertzel {
    hertz: f32,
    cos: f32,
    sin: f32,
}

/// Amplitude and phase as a complex number, as long as the stretch was.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Phasor {
    re: f32,
    im: f32,
}

impl Goertzel {
    pub fn new(hertz: f32) -> Self {
        let (sin, cos) = (TAU * hertz / RATE).sin_cos();
        Self { hertz, cos, sin }
    }

    pub fn hertz(self) -> f32 {
        self.hertz
    }

    /// The phase is that at the last sample.
    pub fn measure(self, samples: &[f32]) -> Phasor {
        let (mut one, mut two) = (0.0f32, 0.0f32);
        for sample in samples {
            (one, two) = (2.0 * self.cos * one - two + sample, one);
        }
        Phasor { re: one - two * self.cos, im: two * self.sin }
    }

    /// By how many hertz the tone is off that turned like this from one stretch to the next,
    /// `hop` samples later. Beyond 4000 / `hop` it is taken for another one.
    pub fn offset(self, turn: Phasor, hop: usize) -> f32 {
        let (sin, cos) = (TAU * self.hertz / RATE * hop as f32).sin_cos();
        let im = turn.im * cos - turn.re * sin;
        let re = turn.re * cos + turn.im * sin;
        im.atan2(re) / TAU * RATE / hop as f32
    }
}

impl Phasor {
    /// Of a sine with this amplitude `samples` long: its square.
    pub fn power(self, samples: usize) -> f32 {
        let scale = 2.0 / samples as f32;
        (self.re * self.re + self.im * self.im) * scale * scale
    }

    /// How far the phase went since `before`, weighted by both amplitudes.
    pub fn turn_since(self, before: Self) -> Self {
        Self {
            re: self.re * before.re + self.im * before.im,
            im: self.im * before.re - self.re * before.im,
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Self { re: self.re + other.re, im: self.im + other.im }
    }
}

const RATE: f32 = 8000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f32, amplitude: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| amplitude * (TAU * hertz / RATE * n as f32).sin()).collect()
    }

    #[test]
    fn power_is_the_square_of_the_amplitude() {
        // 80 samples are ten periods of 1000 Hz.
        let tone = tone(1000.0, 500.0, 80);
        let power = Goertzel::new(1000.0).measure(&tone).power(80);
        assert!((power / 250_000.0 - 1.0).abs() < 1e-3, "{power}");
        assert!(Goertzel::new(2000.0).measure(&tone).power(80) < 1.0);
    }

    #[test]
    fn tone_beside_its_filter_is_placed_by_its_phase() {
        for off in [-20.0f32, -3.0, 0.0, 7.0, 30.0] {
            let samples = tone(1000.0 + off, 500.0, 151);
            let filter = Goertzel::new(1000.0);
            let (first, second) = (filter.measure(&samples[..100]), filter.measure(&samples[51..]));
            let offset = filter.offset(second.turn_since(first), 51);
            assert!((offset - off).abs() < 1.5, "{off}: {offset}");
        }
    }
}
