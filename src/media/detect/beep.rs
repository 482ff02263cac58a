//! The beep after which a voicemail records: a single steady tone of 80 ms to 2 s.

use std::time::Duration;

use super::steady::{Heard, Tone};

/// What counts as a beep, and for how long one is waited for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// In hertz, 4 % more or less; none: 400 to 2200.
    pub frequencies: heapless::Vec<u16, MOST_FREQUENCIES>,
    /// `None`: as long as the call lasts.
    pub timeout: Option<Duration>,
}

/// Frequencies that a script can name. More are not looked at, which is logged.
pub const MOST_FREQUENCIES: usize = 8;

/// Waits for one beep.
#[derive(Debug, Clone)]
pub struct Detector {
    settings: Settings,
    frames: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Over by now: what is said next is recorded.
    Beep {
        hertz: u16,
    },
    TimedOut,
}

impl Detector {
    pub fn new(settings: Settings) -> Self {
        Self { settings, frames: 0 }
    }

    /// A frame with what it says of tones; `spoken`: there was a voice before.
    pub fn feed(&mut self, heard: Heard, spoken: bool) -> Option<Finding> {
        self.frames = self.frames.saturating_add(1);
        if let Heard::Ended(tone) = heard
            && self.is_beep(tone, spoken)
        {
            return Some(Finding::Beep { hertz: tone.hertz.round() as u16 });
        }
        let timeout = self.settings.timeout?;
        (timeout <= Duration::from_millis(20) * self.frames).then_some(Finding::TimedOut)
    }

    fn is_beep(&self, tone: Tone, spoken: bool) -> bool {
        if !(LEAST_FRAMES..=MOST_FRAMES).contains(&tone.frames) {
            return false;
        }
        if self.settings.frequencies.is_empty() {
            // Networks ring and are busy at 400 to 450 Hz: that comes before anybody speaks.
            let lowest = if spoken { LOWEST } else { LOWEST_UNSPOKEN };
            return (lowest..HIGHEST).contains(&tone.hertz);
        }
        let is_near =
            |hertz: f32| (tone.hertz - hertz).abs() <= (hertz * TOLERANCE).max(LEAST_TOLERANCE);
        self.settings.frequencies.iter().any(|&hertz| is_near(f32::from(hertz)))
    }
}

/// 80 ms and 2 s.
const LEAST_FRAMES: u32 = 4;
const MOST_FRAMES: u32 = 100;
const LOWEST: f32 = 390.0;
const LOWEST_UNSPOKEN: f32 = 470.0;
const HIGHEST: f32 = 2210.0;
const TOLERANCE: f32 = 0.04;
const LEAST_TOLERANCE: f32 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::detect::material::Material;
    use crate::media::detect::steady::Tracker;

    fn found(settings: Settings, spoken: bool, samples: &[i16]) -> Vec<(usize, Finding)> {
        let mut tracker = Tracker::default();
        let mut detector = Detector::new(settings);
        let frames = samples.as_chunks().0.iter().enumerate();
        frames
            .filter_map(|(place, frame)| {
                let finding = detector.feed(tracker.feed(frame), spoken)?;
                Some((place * 20, finding))
            })
            .collect()
    }

    fn beep(ms: usize, hertz: f64) -> Vec<i16> {
        let quiet = Material::new(8000, 1).speech(3000, -20.0).silence(300);
        quiet.tone(ms, hertz, -15.0).silence(500).over_noise(-50.0).samples()
    }

    #[test]
    fn beeps_of_100_ms_to_2_s_at_400_to_2200_hz_are_found_when_they_end() {
        for (ms, hertz) in [(100, 1000.0), (500, 440.0), (1000, 1400.0), (1900, 2200.0)] {
            let [(at, Finding::Beep { hertz: heard })] =
                found(Settings::default(), true, &beep(ms, hertz))[..]
            else {
                panic!("{ms} {hertz}");
            };
            assert!((f64::from(heard) - hertz).abs() < 4.0, "{heard}");
            assert!((at as i64 - 3300 - ms as i64).abs() <= 60, "{ms} {hertz}: {at}");
        }
    }

    #[test]
    fn clicks_long_tones_and_other_frequencies_are_no_beeps() {
        let wanted = |hertz: &[u16]| Settings {
            frequencies: heapless::Vec::from_slice(hertz).unwrap(),
            timeout: None,
        };
        for (ms, hertz) in [(40, 1000.0), (2500, 1000.0), (500, 350.0), (500, 2300.0)] {
            assert_eq!(found(Settings::default(), true, &beep(ms, hertz)), [], "{ms} {hertz}");
        }
        assert_eq!(found(wanted(&[1400, 2000]), true, &beep(500, 1000.0)), []);
        assert_eq!(found(wanted(&[1400, 1000]), true, &beep(500, 1020.0)).len(), 1);
    }

    #[test]
    fn ringing_before_anybody_speaks_is_no_beep() {
        assert_eq!(found(Settings::default(), false, &beep(1000, 425.0)), []);
    }

    #[test]
    fn waiting_ends_after_the_timeout() {
        let settings =
            Settings { timeout: Some(Duration::from_millis(500)), ..Settings::default() };
        let found = found(settings, true, &[0; 4000]);
        assert_eq!(found, [(480, Finding::TimedOut)]);
    }
}
