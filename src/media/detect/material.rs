//! Sounds for tests, made by seed: noise, tones, and what is much like speech.

use std::f64::consts::TAU;

use crate::media::frame::{Frame, Rate};

/// A sound that grows at its end.
pub struct Material {
    hertz: u32,
    random: fastrand::Rng,
    /// Full scale is 1.
    samples: Vec<f64>,
}

impl Material {
    pub fn new(hertz: u32, seed: u64) -> Self {
        Self { hertz, random: fastrand::Rng::with_seed(seed), samples: Vec::new() }
    }

    pub fn silence(mut self, ms: usize) -> Self {
        self.samples.resize(self.samples.len() + self.count(ms), 0.0);
        self
    }

    /// White, with this mean square in dBFS.
    pub fn noise(mut self, ms: usize, level_dbfs: f64) -> Self {
        let amplitude = amplitude(level_dbfs);
        for _ in 0..self.count(ms) {
            let sample = self.gaussian() * amplitude;
            self.samples.push(sample);
        }
        self
    }

    /// `level_dbfs` is that of the mean square, too: the amplitude is 3 dB more.
    pub fn tone(self, ms: usize, hertz: f64, level_dbfs: f64) -> Self {
        self.tones(ms, &[(hertz, level_dbfs)])
    }

    pub fn tones(mut self, ms: usize, tones: &[(f64, f64)]) -> Self {
        let count = self.count(ms);
        let rate = f64::from(self.hertz);
        let phases: Vec<f64> = tones.iter().map(|_| self.random.f64() * TAU).collect();
        for place in 0..count {
            let parts = tones.iter().zip(&phases).map(|(&(hertz, level), phase)| {
                let angle = TAU * hertz * place as f64 / rate + phase;
                2.0f64.sqrt() * amplitude(level) * angle.sin()
            });
            self.samples.push(parts.sum());
        }
        self
    }

    /// Syllables of a voice: pulses through three resonances that glide, hisses between them, and
    /// pauses between words. The level is that of the whole with its pauses.
    pub fn speech(mut self, ms: usize, level_dbfs: f64) -> Self {
        let count = self.count(ms);
        let mut voice = Voice::new(f64::from(self.hertz), &mut self.random);
        let mut said: Vec<f64> = Vec::with_capacity(count);
        while said.len() < count {
            voice.syllable(&mut self.random, &mut said);
        }
        said.truncate(count);
        let power = said.iter().map(|sample| sample * sample).sum::<f64>() / count.max(1) as f64;
        let gain = amplitude(level_dbfs) / power.sqrt().max(1e-9);
        self.samples.extend(said.iter().map(|sample| sample * gain));
        self
    }

    pub fn samples(&self) -> Vec<i16> {
        self.samples.iter().map(|sample| (sample * 32_768.0) as i16).collect()
    }

    /// Noise under all of it.
    pub fn over_noise(mut self, level_dbfs: f64) -> Self {
        let amplitude = amplitude(level_dbfs);
        for place in 0..self.samples.len() {
            self.samples[place] += self.gaussian() * amplitude;
        }
        self
    }

    fn count(&self, ms: usize) -> usize {
        ms * self.hertz as usize / 1000
    }

    /// Twelve numbers between 0 and 1 have a variance of 1 together.
    fn gaussian(&mut self) -> f64 {
        (0..12).map(|_| self.random.f64()).sum::<f64>() - 6.0
    }
}

/// Cuts a sound into frames; a rest is dropped.
pub fn frames(rate: Rate, samples: &[i16]) -> Vec<Frame> {
    let cut = |part: &[i16]| {
        let mut frame = Frame::silence(rate);
        frame.samples_mut().copy_from_slice(part);
        frame
    };
    samples.chunks_exact(rate.frame()).map(cut).collect()
}

fn amplitude(level_dbfs: f64) -> f64 {
    10f64.powf(level_dbfs / 20.0)
}

struct Voice {
    rate: f64,
    /// Of the voice at rest, in hertz.
    pitch: f64,
    phase: f64,
    /// The last two values of each resonance, and its frequency.
    resonances: [([f64; 2], f64); 3],
}

impl Voice {
    fn new(rate: f64, random: &mut fastrand::Rng) -> Self {
        let pitch = 90.0 + 170.0 * random.f64();
        let resonances = [([0.0; 2], 500.0), ([0.0; 2], 1500.0), ([0.0; 2], 2500.0)];
        Self { rate, pitch, phase: 0.0, resonances }
    }

    /// Appends a syllable, and what is between it and the next.
    fn syllable(&mut self, random: &mut fastrand::Rng, said: &mut Vec<f64>) {
        // Vowels lie in these ranges of the first two resonances.
        let target = [
            250.0 + 600.0 * random.f64(),
            800.0 + 1500.0 * random.f64(),
            2300.0 + 700.0 * random.f64(),
        ];
        let pitch = self.pitch * (0.85 + 0.4 * random.f64());
        let glide = 0.8 + 0.4 * random.f64();
        let length = ((0.09 + 0.17 * random.f64()) * self.rate) as usize;
        let hiss = if random.f64() < 0.5 { 0.03 + 0.07 * random.f64() } else { 0.0 };
        for _ in 0..(hiss * self.rate) as usize {
            said.push(0.04 * (random.f64() - 0.5));
        }
        for place in 0..length {
            let part = place as f64 / length as f64;
            for (resonance, target) in self.resonances.iter_mut().zip(target) {
                resonance.1 += (target - resonance.1) * 30.0 / self.rate;
            }
            self.phase += pitch * (1.0 + (glide - 1.0) * part) / self.rate;
            let pulse = if self.phase >= 1.0 { 1.0 } else { 0.0 };
            self.phase = self.phase.fract();
            // Rises fast, falls slowly.
            let envelope = (part * 8.0).min(1.0) * (1.0 - part).sqrt();
            let breath = 0.02 * (random.f64() - 0.5);
            said.push(self.resonate((pulse + breath) * envelope));
        }
        let gap = match random.u32(0..10) {
            0 => 0.25 * random.f64() + 0.15,
            1..4 => 0.08 * random.f64() + 0.03,
            _ => 0.0,
        };
        said.extend(std::iter::repeat_n(0.0, (gap * self.rate) as usize));
    }

    fn resonate(&mut self, input: f64) -> f64 {
        let mut sample = input;
        for ([one, two], hertz) in &mut self.resonances {
            let width = 60.0 + *hertz / 20.0;
            let radius = (-std::f64::consts::PI * width / self.rate).exp();
            let angle = TAU * *hertz / self.rate;
            let gain = 1.0 - 2.0 * radius * angle.cos() + radius * radius;
            let next = gain * sample + 2.0 * radius * angle.cos() * *one - radius * radius * *two;
            (*one, *two) = (next, *one);
            sample = next;
        }
        sample
    }
}
