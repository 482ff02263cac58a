//! The tones by which fax machines know each other (ITU-T T.30 §4).

use super::steady::{Heard, Tone};

/// Listens for both.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    /// Frames since the last burst of CNG ended.
    since_burst: Option<u32>,
    /// The tone that sounds is known to be one of 2100 Hz.
    is_called: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fax {
    /// CNG: 1100 Hz for 0.5 s every 3 s.
    Calling,
    /// CED, ANS or ANSam: 2100 Hz for 3 s or more, its phase turned every 450 ms, 15 Hz on it.
    Called,
}

impl Detector {
    pub fn feed(&mut self, heard: Heard) -> Option<Fax> {
        self.since_burst = self.since_burst.map(|frames| frames.saturating_add(1));
        match heard {
            Heard::Sounds(tone) if tone.frames >= CALLED_FRAMES && is_near(tone, 2100.0, 20.0) => {
                (!std::mem::replace(&mut self.is_called, true)).then_some(Fax::Called)
            }
            Heard::Ended(tone) if is_near(tone, 1100.0, 38.0) && BURST.contains(&tone.frames) => {
                // One burst alone might be a beep.
                let pause = self.since_burst.replace(0)?.saturating_sub(tone.frames);
                PAUSE.contains(&pause).then_some(Fax::Calling)
            }
            Heard::Ended(_) => {
                self.is_called = false;
                None
            }
            Heard::Nothing | Heard::Sounds(_) => None,
        }
    }
}

fn is_near(tone: Tone, hertz: f32, tolerance: f32) -> bool {
    (tone.hertz - hertz).abs() <= tolerance
}

/// 0.5 s, and 3 s between: 15 % more or less, and a frame.
const BURST: std::ops::RangeInclusive<u32> = 20..=30;
const PAUSE: std::ops::RangeInclusive<u32> = 126..=174;
/// 700 ms of it are no beep's end; nobody sings so high.
const CALLED_FRAMES: u32 = 35;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::detect::material::Material;
    use crate::media::detect::steady::Tracker;

    fn found(samples: &[i16]) -> Vec<Fax> {
        let mut tracker = Tracker::default();
        let mut detector = Detector::default();
        let frames = samples.as_chunks().0.iter();
        frames.filter_map(|frame| detector.feed(tracker.feed(frame))).collect()
    }

    fn bursts(count: usize, hertz: f64, ms: usize, pause: usize) -> Vec<i16> {
        let line = Material::new(8000, 1).silence(1000);
        let line = (0..count).fold(line, |line, _| line.tone(ms, hertz, -20.0).silence(pause));
        line.over_noise(-50.0).samples()
    }

    #[test]
    fn t30_calling_tone_is_found_at_its_second_burst() {
        assert_eq!(found(&bursts(2, 1100.0, 500, 3000)), [Fax::Calling]);
        assert_eq!(found(&bursts(2, 1065.0, 440, 2600)), [Fax::Calling]);
        assert_eq!(found(&bursts(2, 1135.0, 570, 3400)), [Fax::Calling]);
        assert_eq!(found(&bursts(1, 1100.0, 500, 3000)), []);
        assert_eq!(found(&bursts(3, 1000.0, 500, 3000)), []);
        assert_eq!(found(&bursts(3, 1100.0, 500, 1000)), []);
        assert_eq!(found(&bursts(3, 1100.0, 250, 3000)), []);
    }

    #[test]
    fn t30_called_station_is_found_with_and_without_phase_reversals() {
        assert_eq!(found(&bursts(1, 2100.0, 3000, 500)), [Fax::Called]);
        let mut samples = Vec::new();
        for place in 0..24_000 {
            // ITU-T V.8 §3.1: reversed every 450 ms, with 20 % of 15 Hz on it.
            let sign = if place / 3600 % 2 == 0 { 1.0 } else { -1.0 };
            let seconds = f64::from(place) / 8000.0;
            let envelope = 1.0 + 0.2 * (std::f64::consts::TAU * 15.0 * seconds).sin();
            let sine = (std::f64::consts::TAU * 2100.0 * seconds).sin();
            samples.push((4000.0 * sign * envelope * sine) as i16);
        }
        assert_eq!(found(&samples), [Fax::Called]);
    }

    #[test]
    fn speech_is_no_fax() {
        for seed in 0..4 {
            assert_eq!(found(&Material::new(8000, seed).speech(20_000, -20.0).samples()), []);
        }
    }
}
