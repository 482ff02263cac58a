//! Comfort noise (RFC 3389): heard while the peer is silent and sends none, and described to a
//! peer while we are.
//!
//! A payload is a level and reflection coefficients of an all-pole model. `Generator` makes noise
//! from it, `Estimator` makes it from noise; `Pauses` says when one is due. When to take speech
//! for silence is left to the caller.

/// Noise as the last payload described it.
#[derive(Debug, Clone)]
pub struct Generator {
    /// Root mean square of the white noise that goes into the filter: now, and where to.
    gain: f32,
    target: f32,
    reflections: [f32; ORDER],
    order: usize,
    /// Of the lattice: the backward prediction errors.
    errors: [f32; ORDER],
    seed: u32,
}

impl Generator {
    /// Nothing is heard before the first payload. The noise of a seed is always the same.
    pub fn new(seed: u32) -> Self {
        Self {
            gain: 0.0,
            target: 0.0,
            reflections: [0.0; ORDER],
            order: 0,
            errors: [0.0; ORDER],
            seed,
        }
    }

    /// Goes over to what a payload describes. An empty one changes nothing.
    pub fn update(&mut self, payload: &[u8]) {
        let Some((&level, reflections)) = payload.split_first() else { return };
        // §3.1: the highest bit is 0, and to be ignored.
        let level = f32::from(level & 0x7f);
        self.order = reflections.len().min(ORDER);
        let mut power = 1.0;
        for (place, &byte) in reflections.iter().take(ORDER).enumerate() {
            let reflection = dequantise(byte);
            self.reflections[place] = reflection;
            power *= 1.0 - reflection * reflection;
        }
        self.errors[self.order..].fill(0.0);
        // The filter makes it louder by what its coefficients foretell.
        self.target = OVERLOAD * 10f32.powf(level / -20.0) * power.sqrt();
    }

    /// The next samples, at the rate of the audio around it (§4: the clock of the payload type).
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            self.gain += (self.target - self.gain) * GLIDE;
            *sample = self.next() as i16;
        }
    }

    fn next(&mut self) -> f32 {
        // Uniform, with a variance of 1.
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let white = (self.seed >> 8) as f32 * (2.0 / 16_777_216.0) - 1.0;
        let mut forward = self.gain * white * 3f32.sqrt();
        for place in (0..self.order).rev() {
            let reflection = self.reflections[place];
            forward -= reflection * self.errors[place];
            let backward = self.errors[place] + reflection * forward;
            if place + 1 < self.order {
                self.errors[place + 1] = backward;
            }
        }
        if self.order > 0 {
            self.errors[0] = forward;
        }
        forward
    }
}

/// What the silence of our own side sounds like.
#[derive(Debug, Clone, Default)]
pub struct Estimator {
    /// Autocorrelation of what was heard, mean of some frames.
    correlations: [f32; ORDER + 1],
}

impl Estimator {
    /// A frame without speech.
    pub fn feed(&mut self, samples: &[i16]) {
        if samples.is_empty() {
            return;
        }
        let is_first = self.correlations[0] == 0.0;
        for (lag, mean) in self.correlations.iter_mut().enumerate() {
            let later = samples.get(lag..).unwrap_or_default();
            let products = later.iter().zip(samples).map(|(&a, &b)| f32::from(a) * f32::from(b));
            let correlation = products.sum::<f32>() / samples.len() as f32;
            *mean += (correlation - *mean) * if is_first { 1.0 } else { MEAN };
        }
    }

    /// Writes the payload; its length. `out` takes at most [`MOST_BYTES`].
    pub fn payload(&self, out: &mut [u8]) -> usize {
        let Some((level, rest)) = out.split_first_mut() else { return 0 };
        let power = self.correlations[0];
        let below = -20.0 * (power.sqrt().max(f32::MIN_POSITIVE) / OVERLOAD).log10();
        *level = below.round().clamp(0.0, QUIETEST) as u8;
        if power < 1.0 {
            return 1;
        }
        let order = rest.len().min(ORDER);
        let reflections = self.reflections();
        for (byte, &reflection) in rest.iter_mut().zip(&reflections) {
            *byte = quantise(reflection);
        }
        1 + order
    }

    /// Levinson and Durbin's recursion.
    fn reflections(&self) -> [f32; ORDER] {
        let mut reflections = [0.0; ORDER];
        let mut filter = [0.0f32; ORDER + 1];
        filter[0] = 1.0;
        // A floor of white noise 40 dB down, so that a hum has no infinitely sharp model.
        let mut error = self.correlations[0] * 1.0001;
        for order in 1..=ORDER {
            let sum = |place: usize| filter[place] * self.correlations[order - place];
            let reflection = (-(0..order).map(sum).sum::<f32>() / error).clamp(-0.99, 0.99);
            let before = filter;
            for place in 1..=order {
                filter[place] = before[place] + reflection * before[order - place];
            }
            error *= 1.0 - reflection * reflection;
            reflections[order - 1] = reflection;
        }
        reflections
    }
}

/// When to say nothing, and when to describe the silence.
#[derive(Debug, Clone, Default)]
pub struct Pauses {
    estimator: Estimator,
    /// Frames without speech so far.
    silent: u32,
    /// Frames since the last payload, and the level that it said.
    since: u32,
    level: u8,
}

/// What to send for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The frame: there is speech, or was just now.
    Speech,
    /// A description of the silence, of so many bytes.
    Noise(usize),
    Nothing,
}

impl Pauses {
    /// Takes the next frame of 20 ms, speech or not, and writes a payload to `out` if one is due.
    pub fn take(&mut self, samples: &[i16], is_speech: bool, out: &mut [u8]) -> Pause {
        if is_speech {
            self.silent = 0;
            return Pause::Speech;
        }
        self.silent += 1;
        self.since += 1;
        // The end of a word is silence to many a detector.
        if self.silent <= HANGOVER {
            if self.silent > HANGOVER / 2 {
                self.estimator.feed(samples);
            }
            return Pause::Speech;
        }
        self.estimator.feed(samples);
        let bytes = self.estimator.payload(out);
        let Some(&level) = out.first() else { return Pause::Nothing };
        let is_first = self.silent == HANGOVER + 1;
        let is_other = self.since >= LEAST_INTERVAL && level.abs_diff(self.level) >= OTHER_LEVEL;
        if is_first || is_other || self.since >= MOST_INTERVAL {
            self.since = 0;
            self.level = level;
            return Pause::Noise(bytes);
        }
        Pause::Nothing
    }
}

/// §3.2: a byte to a coefficient; 127 is 0.
fn dequantise(byte: u8) -> f32 {
    258.0 / 32768.0 * (f32::from(byte.min(254)) - 127.0)
}

fn quantise(reflection: f32) -> u8 {
    (reflection * (32768.0 / 258.0) + 127.0).round().clamp(0.0, 254.0) as u8
}

/// The level of 0 dBov (§3.1): the mean square of a square wave at full scale.
const OVERLOAD: f32 = 32768.0;
/// dB below it: the quietest that a payload can say.
const QUIETEST: f32 = 127.0;
/// Coefficients that are made and heeded. RFC 3389 has no limit; ten are what speech is modelled
/// with at 8000 Hz, and what more say is not missed in noise.
const ORDER: usize = 10;
/// The longest payload that is made.
pub const MOST_BYTES: usize = 1 + ORDER;
/// How much nearer the level comes to its target in a sample: 8 ms at 8000 Hz.
const GLIDE: f32 = 1.0 / 64.0;
/// The weight of a frame in the mean.
const MEAN: f32 = 0.2;
/// Frames of 20 ms: sent after speech, and between payloads.
const HANGOVER: u32 = 10;
const LEAST_INTERVAL: u32 = 10;
const MOST_INTERVAL: u32 = 50;
/// dB.
const OTHER_LEVEL: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn level(samples: &[i16]) -> f64 {
        let power: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
        20.0 * ((power / samples.len() as f64).sqrt() / 32768.0).log10()
    }

    /// Power at a frequency of 8000 Hz audio, in dB below full scale, mean of many blocks.
    fn level_at(hertz: f64, samples: &[i16]) -> f64 {
        let power: f64 = samples
            .chunks_exact(256)
            .map(|block| {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (n, &sample) in block.iter().enumerate() {
                    let angle = std::f64::consts::TAU * hertz * n as f64 / 8000.0;
                    real += f64::from(sample) * angle.cos();
                    imaginary += f64::from(sample) * angle.sin();
                }
                real * real + imaginary * imaginary
            })
            .sum();
        10.0 * power.log10()
    }

    fn noise(payload: &[u8], samples: usize) -> Vec<i16> {
        let mut generator = Generator::new(1);
        generator.update(payload);
        let mut out = vec![0; samples];
        generator.fill(&mut out);
        out
    }

    #[test]
    fn rfc_3389_section_3_1_level_is_in_db_below_overload() {
        for wanted in [20u8, 40, 60] {
            for payload in [&[wanted][..], &[wanted, 127, 127], &[wanted, 20, 200, 100, 90]] {
                let out = noise(payload, 16_000);
                let heard = level(&out[1000..]);
                assert!((heard + f64::from(wanted)).abs() < 1.0, "{payload:?}: {heard}");
            }
        }
        // The highest bit does not count.
        assert_eq!(noise(&[0x80 | 30], 800), noise(&[30], 800));
    }

    #[test]
    fn rfc_3389_section_3_2_coefficients() {
        assert_eq!(dequantise(127), 0.0);
        assert!((dequantise(0) + 1.0).abs() < 0.0002 && dequantise(0) > -1.0);
        assert!((dequantise(254) - 1.0).abs() < 0.0002 && dequantise(255) < 1.0);
        for byte in 0..=254 {
            assert_eq!(quantise(dequantise(byte)), byte);
        }
    }

    #[test]
    fn first_coefficient_tilts_the_spectrum() {
        // k1 = -r1 / r0: negative where neighbours are alike, which is a sound of low tones.
        let low = noise(&[30, 20], 16_000);
        assert!(level_at(200.0, &low) > level_at(3800.0, &low) + 15.0);
        let high = noise(&[30, 234], 16_000);
        assert!(level_at(3800.0, &high) > level_at(200.0, &high) + 15.0);
    }

    #[test]
    fn estimate_of_a_noise_makes_a_noise_that_is_like_it() {
        let sound = noise(&[35, 40, 180, 110, 150], 16_000);
        let mut estimator = Estimator::default();
        sound[1600..].chunks(160).for_each(|frame| estimator.feed(frame));
        let mut payload = [0; MOST_BYTES];
        assert_eq!(estimator.payload(&mut payload), MOST_BYTES);
        let again = noise(&payload, 16_000);
        assert!((level(&again[1000..]) + 35.0).abs() < 1.5);
        for hertz in [300.0, 1000.0, 2000.0, 3000.0, 3700.0] {
            let (one, other) = (level_at(hertz, &sound), level_at(hertz, &again));
            assert!((one - other).abs() < 3.0, "{hertz}: {one} {other}");
        }
    }

    #[test]
    fn silence_is_the_quietest_level_alone() {
        let mut estimator = Estimator::default();
        let mut payload = [1; MOST_BYTES];
        assert_eq!(estimator.payload(&mut payload), 1);
        assert_eq!(payload[0], 127);
        estimator.feed(&[0; 160]);
        estimator.feed(&[]);
        assert_eq!(estimator.payload(&mut payload), 1);
        assert_eq!(noise(&[127], 8000), vec![0; 8000]);
    }

    #[test]
    fn any_payload_makes_a_noise_that_is_bounded_and_changes_smoothly() {
        let mut random = fastrand::Rng::with_seed(3389);
        let mut generator = Generator::new(7);
        generator.update(&[]);
        let mut out = [1; 160];
        generator.fill(&mut out);
        assert_eq!(out, [0; 160]);
        for _ in 0..2000 {
            let payload: Vec<u8> = (0..random.usize(0..30)).map(|_| random.u8(..)).collect();
            generator.update(&payload);
            generator.fill(&mut out);
        }
        // Whatever came before, it comes down.
        generator.update(&[100, 127]);
        generator.fill(&mut [0; 8000]);
        generator.fill(&mut out);
        assert!(out.iter().all(|sample| sample.abs() < 10), "{out:?}");
    }

    #[test]
    fn pause_is_sent_as_audio_for_200_ms_and_then_described_each_second_or_when_it_changes() {
        let mut pauses = Pauses::default();
        let mut out = [0; MOST_BYTES];
        let quiet = noise(&[60], 160 * 200);
        let mut take = |frame: &[i16], is_speech| pauses.take(frame, is_speech, &mut out);
        assert_eq!(take(&quiet[..160], true), Pause::Speech);
        let kinds: Vec<_> = quiet.chunks(160).map(|frame| take(frame, false)).collect();
        assert_eq!(kinds[..10], [Pause::Speech; 10]);
        let described: Vec<_> =
            (0..200).filter(|&n| matches!(kinds[n], Pause::Noise(MOST_BYTES))).collect();
        assert_eq!(described, [10, 60, 110, 160]);
        // 20 dB louder: told within 400 ms.
        let loud = noise(&[40], 160 * 60);
        let told = loud.chunks(160).skip(10).position(|frame| take(frame, false) != Pause::Nothing);
        assert!(told.is_some_and(|frames| frames < 20), "{told:?}");
        assert_eq!(take(&loud[..160], true), Pause::Speech);
        assert_eq!(take(&loud[..160], false), Pause::Speech);
    }
}
