//! Whether somebody speaks: the level of each frame against a floor that follows the noise.
//!
//! By level alone, so music counts as voice, and a sound that stays the same for two seconds (a
//! tone, a fan) becomes part of the noise.

use std::f32::consts::TAU;

use crate::media::frame::{Frame, Rate};

/// Listens to one voice, frame by frame; a frame that never came is one of silence.
#[derive(Debug, Clone)]
pub struct Detector {
    rumble: HighPass,
    floor: Floor,
    /// The last frame, in dBFS: a sine of full scale has -3.
    level: f32,
    /// The last frame stands out of the noise.
    is_loud: bool,
    /// One bit per frame, the last one lowest: which were loud.
    history: u32,
    /// Frames since the last loud one.
    quiet: u32,
    is_speaking: bool,
}

/// What a frame changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Begins,
    Ends,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            rumble: HighPass::default(),
            floor: Floor::default(),
            level: LEAST_LEVEL,
            is_loud: false,
            history: 0,
            quiet: 0,
            is_speaking: false,
        }
    }
}

impl Detector {
    pub fn feed(&mut self, frame: &Frame) -> Option<Change> {
        self.level = self.rumble.level(frame.rate(), frame.samples());
        let floor = self.floor.follow(self.level);
        let lead = if self.is_loud { LEAD_TO_STAY } else { LEAD_TO_BEGIN };
        self.is_loud = self.level > (floor + lead).max(LEAST_VOICE);
        self.history = self.history << 1 | u32::from(self.is_loud);
        self.quiet = if self.is_loud { 0 } else { self.quiet.saturating_add(1) };
        let recent = self.history & ((1 << ONSET_FRAMES) - 1);
        if !self.is_speaking && recent.count_ones() >= ONSET_LOUD {
            self.is_speaking = true;
            Some(Change::Begins)
        } else if self.is_speaking && self.quiet > HANGOVER {
            self.is_speaking = false;
            Some(Change::Ends)
        } else {
            None
        }
    }

    /// Until 300 ms after the last sound.
    pub fn is_speaking(&self) -> bool {
        self.is_speaking
    }

    /// The last frame alone.
    pub fn is_loud(&self) -> bool {
        self.is_loud
    }

    /// Of the last frame, without the rumble below speech.
    pub fn level_dbfs(&self) -> f32 {
        self.level
    }
}

/// Takes out offsets and hum: a pole at 120 Hz.
#[derive(Debug, Clone, Default)]
struct HighPass {
    input: f32,
    output: f32,
}

impl HighPass {
    /// What is left of the samples, in dBFS.
    fn level(&mut self, rate: Rate, samples: &[i16]) -> f32 {
        let keep = 1.0 - TAU * 120.0 / rate.hertz() as f32;
        let mut energy = 0.0;
        for &sample in samples {
            let sample = f32::from(sample) / 32_768.0;
            self.output = sample - self.input + keep * self.output;
            self.input = sample;
            energy += self.output * self.output;
        }
        // The silence of a filter that rings out must not become a denormal number.
        if self.output.abs() < 1e-9 {
            self.output = 0.0;
        }
        let power = energy / samples.len().max(1) as f32;
        (10.0 * power.max(1e-9).log10()).max(LEAST_LEVEL)
    }
}

/// The level of the noise: the least of the last two seconds, since a voice pauses for breath and
/// closes its lips within them.
#[derive(Debug, Clone)]
struct Floor {
    /// The least of each stretch of 200 ms, the oldest to be overwritten next.
    least: [f32; STRETCHES],
    place: usize,
    frames: u32,
    /// Stretches heard so far, up to all.
    known: usize,
}

impl Default for Floor {
    fn default() -> Self {
        Self { least: [FIRST_GUESS; STRETCHES], place: 0, frames: 0, known: 0 }
    }
}

impl Floor {
    fn follow(&mut self, level: f32) -> f32 {
        let least = &mut self.least[self.place];
        *least = if self.frames == 0 { level } else { least.min(level) };
        self.frames += 1;
        if self.frames == STRETCH_FRAMES {
            self.frames = 0;
            self.place = (self.place + 1) % STRETCHES;
            self.known = (self.known + 1).min(STRETCHES);
        }
        // Who speaks at once has not let us hear the noise yet.
        let guess = if self.known < GUESSED_STRETCHES { FIRST_GUESS } else { 0.0 };
        let known = self.least.iter().take(self.known.saturating_add(1));
        let floor = known.fold(guess, |floor, &least| floor.min(least));
        (floor + BIAS).clamp(LOWEST_FLOOR, HIGHEST_FLOOR)
    }
}

/// Digital silence.
const LEAST_LEVEL: f32 = -90.0;
/// Quieter than this is nobody speaking, however still the line is: active speech on telephone
/// lines has -15 to -35 dBFS (ITU-T P.56 levels), its weak sounds 15 dB less.
const LEAST_VOICE: f32 = -50.0;
/// dB above the floor. The level of 20 ms of noise varies by about 0.5 dB from frame to frame.
const LEAD_TO_BEGIN: f32 = 8.0;
const LEAD_TO_STAY: f32 = 5.0;
/// Of the last four frames three are loud: a click is one or two.
const ONSET_FRAMES: u32 = 4;
const ONSET_LOUD: u32 = 3;
/// 300 ms: longer than the closed lips of a word, shorter than a pause between sentences.
const HANGOVER: u32 = 15;
/// 2 s in stretches of 200 ms.
const STRETCHES: usize = 10;
const STRETCH_FRAMES: u32 = 10;
/// dBFS of a noisy line; how long it stands in for what is not known: 600 ms.
const FIRST_GUESS: f32 = -45.0;
const GUESSED_STRETCHES: usize = 3;
/// The least of a hundred frames of noise lies so much below their mean, in dB.
const BIAS: f32 = 1.5;
/// A line that sends zeros between words must not make its faintest sound a voice.
const LOWEST_FLOOR: f32 = -65.0;
/// Nobody is heard over a louder one.
const HIGHEST_FLOOR: f32 = -20.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::detect::material::Material;

    const RATES: [Rate; 3] = [Rate::Narrow, Rate::Wide, Rate::Full];

    /// The changes with the time of their frame in milliseconds.
    fn changes(rate: Rate, samples: &[i16]) -> Vec<(usize, Change)> {
        let mut detector = Detector::default();
        let mut frame = Frame::silence(rate);
        let mut changes = Vec::new();
        for (place, samples) in samples.chunks_exact(rate.frame()).enumerate() {
            frame.samples_mut().copy_from_slice(samples);
            changes.extend(detector.feed(&frame).map(|change| (place * 20, change)));
        }
        changes
    }

    #[test]
    fn silence_and_steady_noise_are_nobody() {
        for rate in RATES {
            let hertz = rate.hertz();
            assert_eq!(changes(rate, &vec![0; hertz as usize * 10]), []);
            for level in [-60.0, -50.0, -45.0] {
                let noise = Material::new(hertz, 1).noise(20_000, level).samples();
                assert_eq!(changes(rate, &noise), [], "{rate:?} {level}");
            }
        }
    }

    #[test]
    fn word_begins_within_80_ms_and_ends_300_ms_after_it() {
        for rate in RATES {
            let quiet = Material::new(rate.hertz(), 1).noise(1000, -60.0);
            let samples = quiet.noise(500, -25.0).noise(1000, -60.0).samples();
            let found = changes(rate, &samples);
            assert_eq!(found[0], (1040, Change::Begins), "{rate:?}");
            let [(end, Change::Ends)] = found[1..] else { panic!("{rate:?}: {found:?}") };
            // The filter may ring into one frame more.
            assert!(end == 1800 || end == 1820, "{rate:?}: {end}");
        }
    }

    #[test]
    fn speech_of_any_level_is_one_talk_spurt_and_in_noise_of_15_db_below_it_too() {
        for (speech, noise) in [(-15.0, -90.0), (-25.0, -60.0), (-35.0, -65.0), (-25.0, -40.0)] {
            let talking = Material::new(8000, 7).silence(1000).speech(3000, speech);
            let samples = talking.silence(1500).over_noise(noise).samples();
            let found = changes(Rate::Narrow, &samples);
            assert_eq!(found[0].1, Change::Begins, "{speech} {noise}");
            assert!((1000..1200).contains(&found[0].0), "{speech} {noise}: {found:?}");
            let (last, change) = found[found.len() - 1];
            assert_eq!(change, Change::Ends);
            assert!((4000..4500).contains(&last), "{speech} {noise}: {found:?}");
        }
    }

    #[test]
    fn who_speaks_at_once_is_heard_at_once() {
        let samples = Material::new(8000, 3).speech(1000, -25.0).silence(1000).samples();
        let found = changes(Rate::Narrow, &samples);
        assert_eq!(found[0].1, Change::Begins);
        assert!(found[0].0 <= 200, "{found:?}");
    }

    #[test]
    fn clicks_are_nobody() {
        let mut samples = vec![0; 80_000];
        for place in (4000..80_000).step_by(4000) {
            samples[place..place + 40].fill(20_000);
        }
        assert_eq!(changes(Rate::Narrow, &samples), []);
    }

    #[test]
    fn tone_that_stays_becomes_the_noise_and_hum_never_counts() {
        let tone = Material::new(8000, 1).silence(3000).tone(20_000, 440.0, -20.0).samples();
        let found = changes(Rate::Narrow, &tone);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!((5000..5600).contains(&found[1].0), "{found:?}");
        let hum = Material::new(8000, 1).tone(10_000, 50.0, -40.0).samples();
        assert_eq!(changes(Rate::Narrow, &hum), []);
    }

    #[test]
    fn noise_that_comes_louder_is_taken_for_voice_for_two_seconds_at_most() {
        let samples = Material::new(8000, 1).noise(5000, -60.0).noise(10_000, -40.0).samples();
        let found = changes(Rate::Narrow, &samples);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].0 < 7500, "{found:?}");
    }
}
