//! Sounds for tests, made by seed: noise, tones, digits, and what is much like speech and music.
//! The benches use it too, so it leans on nothing.

use std::f64::consts::TAU;

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
        self.append(&said, level_dbfs);
        self
    }

    /// Notes of even temperament with fading harmonics, so many voices at a time.
    pub fn music(mut self, ms: usize, voices: usize, level_dbfs: f64) -> Self {
        let rate = f64::from(self.hertz);
        let mut sound = vec![0.0; self.count(ms)];
        for _ in 0..voices {
            let mut from = 0;
            while from < sound.len() {
                let length = ((0.1 + 0.5 * self.random.f64()) * rate) as usize;
                let to = (from + length).min(sound.len());
                let hertz = 440.0 * 2f64.powf(f64::from(self.random.i32(-24..13)) / 12.0);
                let fading = 0.5 + 0.4 * self.random.f64();
                for harmonic in 1..7 {
                    let angle = TAU * hertz * f64::from(harmonic) / rate;
                    let amplitude = fading.powi(harmonic) * (0.3 + self.random.f64());
                    let phase = TAU * self.random.f64();
                    if angle > 3.0 {
                        break;
                    }
                    for (place, sample) in sound[from..to].iter_mut().enumerate() {
                        let seconds = place as f64 / rate;
                        let envelope = (seconds * 100.0).min(1.0) * (-3.0 * seconds).exp();
                        *sample += amplitude * envelope * (angle * place as f64 + phase).sin();
                    }
                }
                from = to;
            }
        }
        self.append(&sound, level_dbfs);
        self
    }

    /// What was made elsewhere, times `gain`.
    pub fn sound(mut self, samples: &[i16], gain: f64) -> Self {
        self.samples.extend(samples.iter().map(|&sample| f64::from(sample) / 32_768.0 * gain));
        self
    }

    pub fn samples(&self) -> Vec<i16> {
        // Far beyond full scale it is cut off, as a codec does.
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

    fn append(&mut self, sound: &[f64], level_dbfs: f64) {
        let energy = sound.iter().map(|sample| sample * sample).sum::<f64>();
        let power = energy / sound.len().max(1) as f64;
        let gain = amplitude(level_dbfs) / power.sqrt().max(1e-9);
        self.samples.extend(sound.iter().map(|sample| sample * gain));
    }

    fn count(&self, ms: usize) -> usize {
        ms * self.hertz as usize / 1000
    }

    fn gaussian(&mut self) -> f64 {
        gaussian(&mut self.random)
    }
}

/// How a row of keys is pressed, as it comes through a line of G.711 at 8000 Hz.
#[derive(Debug, Clone, Copy)]
pub struct Dialled {
    pub tone_ms: usize,
    /// In the middle of each tone.
    pub gap_ms: usize,
    /// How far both frequencies are off, as a part of them.
    pub low: f64,
    pub high: f64,
    pub low_dbm: f64,
    pub high_dbm: f64,
    /// White noise below the tones.
    pub snr_db: f64,
    /// Each of its two tones; it does not stop.
    pub dial_tone_dbm: f64,
    /// Of 1 ms, about ten a second.
    pub impulses: bool,
    /// 20 ms late and 10 dB less.
    pub echo: bool,
}

impl Default for Dialled {
    fn default() -> Self {
        Self {
            tone_ms: 40,
            gap_ms: 0,
            low: 0.0,
            high: 0.0,
            low_dbm: -10.0,
            high_dbm: -10.0,
            snr_db: 90.0,
            dial_tone_dbm: -99.0,
            impulses: false,
            echo: false,
        }
    }
}

impl Dialled {
    /// The tones at places that the seed chooses, with pauses of 40 ms and up to 6 ms more.
    pub fn samples(&self, keys: &str, seed: u64) -> Vec<i16> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut sound = vec![0.0; 2400 + random.usize(0..160)];
        for key in keys.chars() {
            self.press(key, &mut random, &mut sound);
            sound.resize(sound.len() + 320 + random.usize(0..51), 0.0);
        }
        sound.resize(sound.len() + 800, 0.0);
        self.spoil(&mut random, &mut sound);
        sound.into_iter().map(through_mu_law).collect()
    }

    fn press(&self, key: char, random: &mut fastrand::Rng, sound: &mut Vec<f64>) {
        let Some(place) = "123A456B789C*0#D".find(key) else { return };
        let low = [697.0, 770.0, 852.0, 941.0][place / 4] * (1.0 + self.low);
        let high = [1209.0, 1336.0, 1477.0, 1633.0][place % 4] * (1.0 + self.high);
        let phases = [random.f64() * TAU, random.f64() * TAU];
        let count = self.tone_ms * 8;
        let gap = (count - self.gap_ms * 8) / 2..(count + self.gap_ms * 8) / 2;
        for place in 0..count {
            let angle = TAU * place as f64 / 8000.0;
            let low = of_dbm(self.low_dbm) * (angle * low + phases[0]).sin();
            let high = of_dbm(self.high_dbm) * (angle * high + phases[1]).sin();
            sound.push(if gap.contains(&place) { 0.0 } else { low + high });
        }
    }

    fn spoil(&self, random: &mut fastrand::Rng, sound: &mut [f64]) {
        if self.echo {
            for place in (160..sound.len()).rev() {
                sound[place] += sound[place - 160] * amplitude(-10.0);
            }
        }
        let power = (of_dbm(self.low_dbm).powi(2) + of_dbm(self.high_dbm).powi(2)) / 2.0;
        let noise = power.sqrt() * amplitude(-self.snr_db);
        let dial_tone = of_dbm(self.dial_tone_dbm);
        for (place, sample) in sound.iter_mut().enumerate() {
            let angle = TAU * place as f64 / 8000.0;
            *sample += dial_tone * ((350.0 * angle).sin() + (440.0 * angle).sin());
            *sample += noise * gaussian(random);
        }
        let mut place = random.usize(0..1600);
        while self.impulses && place + 8 < sound.len() {
            for sample in &mut sound[place..place + 8] {
                *sample += if random.bool() { 8000.0 } else { -8000.0 };
            }
            place += random.usize(1..1600);
        }
    }
}

/// Twelve numbers between 0 and 1 have a variance of 1 together.
fn gaussian(random: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}

/// The amplitude of a sine, by the full scale of G.711 (ITU-T G.711: +3.17 dBm0 at 32,124).
fn of_dbm(dbm: f64) -> f64 {
    22_300.0 * amplitude(dbm)
}

/// The middle of the step that the sample falls into.
fn through_mu_law(sample: f64) -> i16 {
    let biased = sample.abs().min(32_124.0) + 132.0;
    let step = 2f64.powi((biased.log2().floor() as i32 - 7).clamp(0, 7) + 3);
    let level = ((biased / step).floor() + 0.5) * step - 132.0;
    level.copysign(sample) as i16
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
