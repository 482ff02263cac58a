//! Steady tones: which single frequency a frame consists of, and how long it has lasted.
//!
//! For beeps and fax tones. Two tones at a time (keys, dial tones) are none.

use crate::media::goertzel::{Goertzel, Phasor};

/// Follows the tone in a stream of frames of 20 ms at 8000 Hz.
#[derive(Debug, Clone)]
pub struct Tracker {
    /// From 300 Hz upwards, 50 Hz apart.
    filters: [Goertzel; FILTERS],
    run: Option<Tone>,
    /// The last frame did not fit: a tone may miss one, where its phase is turned or a packet was
    /// lost.
    has_missed: bool,
}

/// A tone that sounds, or has just ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tone {
    pub hertz: f32,
    /// Frames of 20 ms.
    pub frames: u32,
    /// The square of its amplitude.
    power: f32,
}

/// What a frame says of tones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard {
    Nothing,
    Sounds(Tone),
    /// It is over: this frame is something else.
    Ended(Tone),
}

impl Default for Tracker {
    fn default() -> Self {
        let filters = std::array::from_fn(|place| Goertzel::new(300.0 + 50.0 * place as f32));
        Self { filters, run: None, has_missed: false }
    }
}

impl Tracker {
    pub fn feed(&mut self, frame: &[i16; FRAME]) -> Heard {
        let found = self.find(frame);
        match (&mut self.run, found) {
            (Some(run), Some(found)) if run.goes_on_with(found) => {
                let frames = run.frames + 1 + u32::from(self.has_missed);
                // The mean, so that it can neither creep away nor be misled by its first frame.
                let part = 1.0 / frames.min(8) as f32;
                run.hertz += (found.hertz - run.hertz) * part;
                run.power += (found.power - run.power) * part;
                run.frames = frames;
                self.has_missed = false;
                Heard::Sounds(*run)
            }
            (Some(run), _) if !self.has_missed && run.frames > 1 => {
                self.has_missed = true;
                Heard::Sounds(*run)
            }
            (run, found) => {
                self.has_missed = false;
                match (std::mem::replace(run, found), found) {
                    (Some(ended), _) => Heard::Ended(ended),
                    (None, Some(found)) => Heard::Sounds(found),
                    (None, None) => Heard::Nothing,
                }
            }
        }
    }

    /// The one tone of a frame.
    fn find(&self, frame: &[i16; FRAME]) -> Option<Tone> {
        let samples = frame.map(f32::from);
        let mean = samples.iter().sum::<f32>() / FRAME as f32;
        let samples = samples.map(|sample| sample - mean);
        let energy = samples.iter().map(|sample| sample * sample).sum::<f32>();
        if energy < LEAST_POWER / 2.0 * FRAME as f32 {
            return None;
        }
        let power = |filter: &Goertzel| filter.measure(&samples).power(FRAME);
        let coarse = self.filters.iter().map(|filter| (power(filter), filter));
        let (_, coarse) = coarse.max_by(|one, other| one.0.total_cmp(&other.0))?;
        let half = |place: usize| coarse.measure(&samples[place..place + FRAME / 2]);
        let turns = [(0, 40), (40, 80)].map(|(one, other)| half(other).turn_since(half(one)));
        let turn = turns.into_iter().fold(Phasor::default(), Phasor::plus);
        let hertz = coarse.hertz() + coarse.offset(turn, 40);
        let power = Goertzel::new(hertz).measure(&samples).power(FRAME);
        let is_pure = power / 2.0 * FRAME as f32 > LEAST_SHARE * energy;
        is_pure.then_some(Tone { hertz, frames: 1, power })
    }
}

impl Tone {
    fn goes_on_with(self, next: Self) -> bool {
        (self.hertz - next.hertz).abs() < MOST_DRIFT
            && self.power < next.power * MOST_STEP
            && next.power < self.power * MOST_STEP
    }
}

pub const FRAME: usize = 160;
/// Up to 2400 Hz.
const FILTERS: usize = 43;
/// -36 dBm0.
const LEAST_POWER: f32 = 360.0 * 360.0;
/// Noise 9 dB below the tone leaves it so much; of a voice few frames are so pure.
const LEAST_SHARE: f32 = 0.85;
/// In hertz, from frame to frame: a voice cannot hold its pitch like that, and a machine can.
const MOST_DRIFT: f32 = 12.0;
/// 3 dB.
const MOST_STEP: f32 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::detect::material::Material;

    fn heard(samples: &[i16]) -> Vec<Heard> {
        let mut tracker = Tracker::default();
        samples.as_chunks().0.iter().map(|frame| tracker.feed(frame)).collect()
    }

    fn ended(samples: &[i16]) -> Vec<Tone> {
        let tone = |heard: Heard| if let Heard::Ended(tone) = heard { Some(tone) } else { None };
        heard(samples).into_iter().filter_map(tone).collect()
    }

    #[test]
    fn tone_is_measured_to_3_hz_and_20_ms_in_noise_too() {
        for hertz in [400.0, 425.0, 1000.0, 1100.0, 1417.0, 2100.0, 2200.0] {
            for noise in [-80.0, -35.0] {
                let material = Material::new(8000, 1).silence(200).tone(400, hertz, -20.0);
                let samples = material.silence(200).over_noise(noise).samples();
                let [tone] = ended(&samples)[..] else { panic!("{hertz} {noise}") };
                assert!((f64::from(tone.hertz) - hertz).abs() < 3.0, "{hertz}: {tone:?}");
                assert!((19..=21).contains(&tone.frames), "{hertz} {noise}: {tone:?}");
            }
        }
    }

    #[test]
    fn keys_dial_tones_noise_and_voices_are_no_long_tones() {
        let pairs = [(697.0, 1209.0), (350.0, 440.0), (440.0, 480.0)];
        for pair in pairs {
            let tones = [(pair.0, -13.0), (pair.1, -13.0)];
            let samples = Material::new(8000, 1).tones(1000, &tones).samples();
            assert!(ended(&samples).iter().all(|tone| tone.frames < 4), "{pair:?}");
        }
        let noise = Material::new(8000, 1).noise(5000, -20.0).samples();
        assert_eq!(ended(&noise), []);
        for seed in 0..5 {
            let speech = Material::new(8000, seed).speech(10_000, -20.0).samples();
            assert!(ended(&speech).iter().all(|tone| tone.frames < 5), "{seed}");
        }
    }
}
