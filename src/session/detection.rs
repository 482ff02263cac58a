//! What a call is listened to for: beeps, fax tones, and who answered it.

use std::time::Duration;

use super::Session;
use super::call::Phase;
use super::exchange::Exchange;
use crate::media::detect::answer::{self, Class};
use crate::media::detect::fax::Fax;
use crate::media::detect::{Detection, Finding, Kind, beep};
use crate::media::engine::Command as MediaCommand;
use crate::scenario::command::Object;
use crate::scenario::event::CallEvent;

impl Session {
    pub(super) fn detect_beep(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        frequencies: &[u16],
        timeout_ms: u32,
    ) {
        let frequencies = frequencies.iter().copied().take(beep::MOST_FREQUENCIES).collect();
        let timeout = Duration::from_millis(timeout_ms.into());
        let timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        let settings = beep::Settings { frequencies, timeout };
        if let Some(call) = self.calls.get_mut(&object) {
            call.waits_for_beep = true;
        }
        self.detect(exchange, object, Detection::Beep(settings));
    }

    /// `disableBeepDetection`: the script is told that nothing was found.
    pub(super) fn stop_beep_detection(&mut self, exchange: &mut Exchange, object: Object) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        if !std::mem::take(&mut call.waits_for_beep) {
            return;
        }
        let unit = call.unit;
        exchange.media(self.place, MediaCommand::StopDetecting { unit, kind: Kind::Beep });
        let event = CallEvent::BeepDetectionComplete { hertz: None, timeout: Some(false) };
        self.call_event(exchange, object, event);
    }

    pub(super) fn detect_fax(&mut self, exchange: &mut Exchange, object: Object) {
        self.detect(exchange, object, Detection::Fax);
    }

    /// From now on, or from the connection on if it does not stand yet.
    pub(super) fn detect_answer(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        settings: answer::Settings,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        call.answer_detection = Some(settings);
        if matches!(call.phase, Phase::Connected { .. }) {
            self.begin_answer_detection(exchange, object);
        }
    }

    /// The call is connected: who answered it?
    pub(super) fn begin_answer_detection(&mut self, exchange: &mut Exchange, object: Object) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Some(settings) = call.answer_detection.take() else { return };
        self.detect(exchange, object, Detection::Answer(settings));
        self.call_event(exchange, object, CallEvent::AudioIdentificationStarted);
    }

    pub(super) fn on_detected(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        finding: Finding,
    ) {
        if let (Finding::Beep(_), Some(call)) = (finding, self.calls.get_mut(&object))
            && !std::mem::take(&mut call.waits_for_beep)
        {
            // It overtook the command to listen no longer.
            return;
        }
        let event = match finding {
            Finding::Beep(beep::Finding::Beep { hertz }) => {
                self.log_call(exchange, object, &format!("beep of {hertz} Hz"));
                CallEvent::BeepDetectionComplete { hertz: Some(hertz), timeout: None }
            }
            Finding::Beep(beep::Finding::TimedOut) => {
                CallEvent::BeepDetectionComplete { hertz: None, timeout: Some(true) }
            }
            Finding::Fax(fax) => {
                let tone = match fax {
                    Fax::Calling => "CNG",
                    Fax::Called => "CED",
                };
                self.log_call(exchange, object, &format!("fax tone {tone}"));
                CallEvent::FaxDetected { tone }
            }
            Finding::Answer(verdict) => {
                let class = match verdict.class {
                    Class::Human => "HUMAN",
                    Class::Voicemail => "VOICEMAIL",
                    Class::TimedOut => "TIMEOUT",
                };
                let confidence = verdict.confidence;
                self.log_call(exchange, object, &format!("answered by {class} ({confidence} %)"));
                CallEvent::AudioIdentificationResult { class, confidence }
            }
        };
        let is_answer = matches!(event, CallEvent::AudioIdentificationResult { .. });
        self.call_event(exchange, object, event);
        if is_answer {
            self.call_event(exchange, object, CallEvent::AudioIdentificationStopped);
        }
    }

    fn detect(&mut self, exchange: &mut Exchange, object: Object, detection: Detection) {
        let Some(call) = self.calls.get(&object) else { return };
        let unit = call.unit;
        exchange.media(self.place, MediaCommand::Detect { unit, detection });
    }
}
