//! What can be told from the sound of a call: digits, who speaks, who answered, beeps, fax tones.
//!
//! The machines are fed with frames of 20 ms and know nothing of calls; [`Ear`] is one call's.

pub mod answer;
pub mod beep;
pub mod digits;
pub mod fax;
pub mod steady;
pub mod voice;

#[cfg(test)]
pub mod material;

use super::frame::{Frame, Rate};
use super::resample::Resampler;

/// What a call is listened to for, besides digits and speech.
#[derive(Debug, Clone, PartialEq)]
pub enum Detection {
    /// One beep: `Finding::Beep` ends it.
    Beep(beep::Settings),
    /// Who answered: `Finding::Answer` ends it.
    Answer(answer::Settings),
    /// Fax tones, each kind once.
    Fax,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Beep,
    Answer,
    Fax,
}

impl Detection {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Beep(_) => Kind::Beep,
            Self::Answer(_) => Kind::Answer,
            Self::Fax => Kind::Fax,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    Beep(beep::Finding),
    Answer(answer::Verdict),
    Fax(fax::Fax),
}

/// Everything that listens to one call: 2 kB, made when something is to be detected.
#[derive(Debug, Default)]
pub struct Ear {
    narrow: Option<Resampler>,
    tones: steady::Tracker,
    voice: voice::Detector,
    /// Frames of voice that is no tone, so far.
    spoken: u32,
    beep: Option<beep::Detector>,
    answer: Option<answer::Detector>,
    fax: Option<fax::Detector>,
}

impl Ear {
    pub fn listen_for(&mut self, detection: Detection) {
        match detection {
            Detection::Beep(settings) => self.beep = Some(beep::Detector::new(settings)),
            Detection::Answer(settings) => self.answer = Some(answer::Detector::new(settings)),
            Detection::Fax => self.fax = Some(fax::Detector::default()),
        }
    }

    pub fn stop(&mut self, kind: Kind) {
        match kind {
            Kind::Beep => self.beep = None,
            Kind::Answer => self.answer = None,
            Kind::Fax => self.fax = None,
        }
    }

    /// Nothing is listened for.
    pub fn is_idle(&self) -> bool {
        self.beep.is_none() && self.answer.is_none() && self.fax.is_none()
    }

    /// The next 20 ms of the call; silence where nothing came.
    pub fn hear(&mut self, frame: &Frame) -> impl Iterator<Item = Finding> + use<> {
        let narrow = match frame.rate() {
            Rate::Narrow => None,
            rate => {
                let resampler =
                    self.narrow.get_or_insert_with(|| Resampler::new(rate, Rate::Narrow));
                Some(resampler.process(frame))
            }
        };
        let frame = narrow.as_ref().unwrap_or(frame);
        self.voice.feed(frame);
        let heard = match frame.samples().first_chunk() {
            Some(samples) => self.tones.feed(samples),
            None => steady::Heard::Nothing,
        };
        let is_tone = matches!(heard, steady::Heard::Sounds(tone) if tone.frames > 1);
        let is_loud = self.voice.is_loud();
        self.spoken = self.spoken.saturating_add(u32::from(is_loud && !is_tone));
        let spoken = self.spoken >= SPOKEN_FRAMES;
        let beep = self.beep.as_mut().and_then(|beep| beep.feed(heard, spoken));
        if beep.is_some() {
            self.beep = None;
        }
        let answer = self.answer.as_mut().and_then(|answer| answer.feed(is_loud, heard));
        if answer.is_some() {
            self.answer = None;
        }
        let fax = self.fax.as_mut().and_then(|fax| fax.feed(heard));
        let findings =
            [beep.map(Finding::Beep), answer.map(Finding::Answer), fax.map(Finding::Fax)];
        findings.into_iter().flatten()
    }
}

/// Of one frame: each kind at most once.
pub const MOST_FINDINGS: usize = 3;
/// 400 ms of voice: somebody has spoken.
const SPOKEN_FRAMES: u32 = 20;
