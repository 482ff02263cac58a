//! Who answered, a person or a voicemail, by the cadence of what is said.
//!
//! A person says a word or two and waits; a voicemail talks on, and beeps. Nothing is understood
//! and no voice is recognized: a business that greets at length is taken for a voicemail, and a
//! voicemail with a short greeting for a person until it beeps. `docs/amd.md` has the measured
//! errors.

use std::time::Duration;

use super::steady::Heard;

/// How sure a verdict has to be, and how long one is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub timeout: Duration,
    /// Least confidence of the verdict, 0 to 100.
    pub human: u8,
    pub voicemail: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { timeout: Duration::from_millis(6500), human: 60, voicemail: 70 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Human,
    Voicemail,
    TimedOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub class: Class,
    /// 0 to 100; 0 where nothing was decided.
    pub confidence: u8,
}

/// Listens to one answer, in frames of 20 ms from the moment of the connection.
#[derive(Debug, Clone)]
pub struct Detector {
    settings: Settings,
    frames: u32,
    /// Loud frames, less those that were not: a word has a few.
    run: u32,
    /// From the first word to the end of the last one, in frames, and those of them that were loud.
    greeting: Option<Greeting>,
}

#[derive(Debug, Clone, Copy)]
struct Greeting {
    begin: u32,
    end: u32,
    loud: u32,
}

impl Detector {
    pub fn new(settings: Settings) -> Self {
        Self { settings, frames: 0, run: 0, greeting: None }
    }

    /// Whether the frame stands out of the noise, and what it says of tones.
    pub fn feed(&mut self, is_loud: bool, heard: Heard) -> Option<Verdict> {
        self.frames = self.frames.saturating_add(1);
        if let Heard::Ended(tone) = heard
            && self.greeting.is_some_and(|greeting| greeting.loud >= SPOKEN_FRAMES)
            && BEEP.contains(&tone.frames)
            && BEEP_HERTZ.contains(&tone.hertz)
        {
            return Some(Verdict { class: Class::Voicemail, confidence: 99 });
        }
        // Ringing and beeps are nobody's voice.
        let is_tone = matches!(heard, Heard::Sounds(tone) if tone.frames >= TONE_FRAMES);
        if is_tone {
            self.run = 0;
        }
        self.take(is_loud && !is_tone);
        // It may turn out to be the beep.
        let verdict = if is_tone { None } else { self.judge() };
        let is_late = self.settings.timeout <= Duration::from_millis(20) * self.frames;
        verdict.or(is_late.then(|| self.last_verdict()))
    }

    fn take(&mut self, is_loud: bool) {
        self.run = if is_loud { self.run + 1 } else { self.run.saturating_sub(1) };
        match &mut self.greeting {
            // In noise little of a word stands out.
            Some(greeting) if is_loud => {
                greeting.end = self.frames;
                greeting.loud += 1;
            }
            None if self.run >= WORD_FRAMES => {
                let (begin, end) = (self.frames.saturating_sub(WORD_FRAMES), self.frames);
                self.greeting = Some(Greeting { begin, end, loud: WORD_FRAMES });
            }
            Some(_) | None => {}
        }
    }

    fn judge(&self) -> Option<Verdict> {
        let greeting = self.greeting?;
        let length = greeting.end - greeting.begin;
        let pause = self.frames - greeting.end;
        if pause < PAUSE_FRAMES {
            let confidence = line(length, &TALKING_ON);
            return (confidence >= self.settings.voicemail)
                .then_some(Verdict { class: Class::Voicemail, confidence });
        }
        let confidence = human(length, pause);
        (confidence >= self.settings.human).then_some(Verdict { class: Class::Human, confidence })
    }

    /// When the time is over: what is more likely, if anything is.
    fn last_verdict(&self) -> Verdict {
        let nothing = Verdict { class: Class::TimedOut, confidence: 0 };
        let Some(greeting) = self.greeting else { return nothing };
        let confidence = line(greeting.end - greeting.begin, &TALKING_ON);
        if confidence >= self.settings.voicemail {
            return Verdict { class: Class::Voicemail, confidence };
        }
        nothing
    }
}

/// How sure it is a person who has said so much and is silent since.
fn human(length: u32, pause: u32) -> u8 {
    let patience = (pause - PAUSE_FRAMES).min(MOST_PATIENCE);
    line(length, &SAID_AND_WAITS).saturating_add((patience / 5) as u8).min(95)
}

/// Straight lines through points of frames and confidence.
fn line(frames: u32, points: &[(u32, u8)]) -> u8 {
    let Some(next) = points.iter().position(|&(end, _)| frames < end) else {
        return points.last().map_or(0, |&(_, confidence)| confidence);
    };
    let (end, high) = points[next];
    let Some(&(begin, low)) = next.checked_sub(1).and_then(|place| points.get(place)) else {
        return high;
    };
    let (low, high) = (i32::from(low), i32::from(high));
    let part = (high - low) * (frames - begin) as i32 / (end - begin) as i32;
    (low + part).clamp(0, 100) as u8
}

/// 100 ms begin a word: neither a click nor the beginning of a tone does.
const WORD_FRAMES: u32 = 5;
/// A tone is one after 40 ms.
const TONE_FRAMES: u32 = 2;
/// 200 ms of voice: then a beep is that of a voicemail.
const SPOKEN_FRAMES: u32 = 10;
/// 100 ms to 2 s at 390 Hz and more.
const BEEP: std::ops::RangeInclusive<u32> = 5..=100;
const BEEP_HERTZ: std::ops::Range<f32> = 390.0..2210.0;
/// 1 s of silence: longer than what a voicemail leaves between sentences.
const PAUSE_FRAMES: u32 = 50;
/// 2 s more of it make a person 20 more likely.
const MOST_PATIENCE: u32 = 100;
/// Of a voicemail, by the length of what has been said without such a silence: 2 to 5 s.
const TALKING_ON: [(u32, u8); 5] = [(100, 0), (130, 50), (165, 70), (210, 85), (250, 95)];
/// Of a person, by the length of what was said before it: 1, 1.6, 2.2, 3, 4 s.
const SAID_AND_WAITS: [(u32, u8); 5] = [(50, 92), (80, 85), (110, 65), (150, 50), (200, 30)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::detect::Ear;
    use crate::media::detect::material::Material;
    use crate::media::detect::{Detection, Finding};
    use crate::media::frame::{Frame, Rate};

    /// The verdict and when it came, in milliseconds.
    fn verdict(settings: Settings, samples: &[i16]) -> Option<(usize, Verdict)> {
        let mut ear = Ear::default();
        ear.listen_for(Detection::Answer(settings));
        let mut frame = Frame::silence(Rate::Narrow);
        for (place, samples) in samples.chunks_exact(160).enumerate() {
            frame.samples_mut().copy_from_slice(samples);
            if let Some(Finding::Answer(verdict)) = ear.hear(&frame).next() {
                return Some((place * 20, verdict));
            }
        }
        None
    }

    fn said(word_ms: usize, rest_ms: usize) -> Vec<i16> {
        let word = Material::new(8000, 5).silence(600).speech(word_ms, -20.0);
        word.silence(rest_ms).over_noise(-55.0).samples()
    }

    #[test]
    fn word_and_a_second_of_silence_is_a_person() {
        let (at, verdict) = verdict(Settings::default(), &said(600, 3000)).unwrap();
        assert_eq!(verdict.class, Class::Human);
        assert!(verdict.confidence >= 85, "{verdict:?}");
        assert!((1500..2500).contains(&at), "{at}");
    }

    #[test]
    fn who_talks_on_for_three_seconds_is_a_voicemail() {
        let (at, verdict) = verdict(Settings::default(), &said(6000, 500)).unwrap();
        assert_eq!(verdict.class, Class::Voicemail);
        assert!((3300..4500).contains(&at), "{at}");
        // Who wants to be surer waits longer.
        let surer = Settings { voicemail: 90, ..Settings::default() };
        let (later, verdict) = self::verdict(surer, &said(6000, 500)).unwrap();
        assert_eq!(verdict, Verdict { class: Class::Voicemail, confidence: 90 });
        assert!(later > at + 1000, "{later}");
    }

    #[test]
    fn beep_after_a_short_greeting_is_a_voicemail() {
        let word = Material::new(8000, 5).silence(600).speech(1200, -20.0).silence(400);
        let samples = word.tone(500, 1000.0, -15.0).silence(500).over_noise(-55.0).samples();
        let (_, verdict) = verdict(Settings::default(), &samples).unwrap();
        assert_eq!(verdict, Verdict { class: Class::Voicemail, confidence: 99 });
    }

    #[test]
    fn silence_noise_and_ringing_end_with_the_timeout() {
        let silence = vec![0; 80_000];
        let noise = Material::new(8000, 1).noise(10_000, -45.0).samples();
        let line = Material::new(8000, 1);
        let ringing =
            (0..3).fold(line, |line, _| line.tone(1000, 425.0, -20.0).silence(3000)).samples();
        for samples in [silence, noise, ringing] {
            let (at, verdict) = verdict(Settings::default(), &samples).unwrap();
            assert_eq!((at, verdict.class), (6480, Class::TimedOut));
        }
    }
}
