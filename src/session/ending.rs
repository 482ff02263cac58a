//! The end of a session, in the order of section 1.5 of the VoxEngine reference.
//!
//! ```text
//! calls torn down -> Requests (up to 90 s) -> Terminating (one request) -> Terminated -> Closing
//! ```
//! `Closing` waits for the files of recordings and the figures of calls; then the session is
//! `Gone` and the gateway removes it.

use std::time::{Duration, Instant};

use super::Session;
use super::call::{Call, Phase};
use super::exchange::{Exchange, Timer};
use super::journal::{Seconds, TARGET};
use super::refusal::Refusal;
use crate::gateway::{Output, Reply};
use crate::scenario::command::Object;
use crate::scenario::event::Event as ScriptEvent;
use crate::scenario::worker::Answer;
use crate::storage::store::Operation;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Running,
    /// HTTP requests under way may still end.
    Requests,
    /// Terminating is dispatched; `is_handled` once its handlers ran.
    Terminating {
        is_handled: bool,
    },
    Terminated,
    /// The runtime is gone; recordings get their final names.
    Closing,
    Gone,
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `VoxEngine.terminate()`.
    Terminate,
    /// No calls for `idle_timeout`.
    Idle,
    /// The script failed: its runtime is gone already.
    Script,
    /// The worker was lost with its runtimes.
    Worker,
    /// The gateway stops.
    Stop,
}

impl Cause {
    /// Finish reasons of the history (section 1.5).
    fn finish_reason(self) -> &'static str {
        match self {
            Self::Terminate => "Normal termination",
            Self::Idle => "Timeout",
            Self::Script | Self::Worker => "JS session error",
            Self::Stop => "Terminated administratively",
        }
    }
}

impl Session {
    pub(super) fn terminate(&mut self, now: Instant, exchange: &mut Exchange) {
        self.end(now, exchange, Cause::Terminate);
    }

    /// Begins the end; a second cause changes nothing.
    pub fn end(&mut self, now: Instant, exchange: &mut Exchange, cause: Cause) {
        if cause == Cause::Worker {
            // It may have begun in the worker that took the lost one's place.
            self.drop_runtime(exchange);
        }
        let has_runtime = !matches!(cause, Cause::Script | Cause::Worker);
        if !matches!(self.stage, Stage::Running) {
            if !has_runtime {
                self.lose_runtime(now, exchange);
            }
            return;
        }
        self.record.finish_reason = Some(cause.finish_reason().to_owned());
        let after = Seconds(now.saturating_duration_since(self.started));
        let reason = cause.finish_reason();
        self.log_line(exchange, &format!("session ends: {reason}, after {after}"));
        exchange.timers.disarm(Timer::Idle(self.place.session));
        // From here on no event of a call reaches the script.
        self.stage = Stage::Requests;
        self.tear_down(now, exchange, cause);
        self.on_ready(exchange);
        if has_runtime {
            exchange.timers.arm(Timer::End(self.place.session), now + REQUESTS);
            self.proceed_with_end(now, exchange);
        } else {
            self.lose_runtime(now, exchange);
        }
    }

    fn tear_down(&mut self, now: Instant, exchange: &mut Exchange, cause: Cause) {
        let calls: Vec<Object> = self.calls.keys().copied().collect();
        for object in calls {
            let Some(call) = self.calls.get(&object) else { continue };
            let (mut status, mut reason) = (200, "Normal call clearing");
            match (&call.phase, call.leg()) {
                (Phase::Alerting { leg, .. }, _) => {
                    let refusal = match cause {
                        Cause::Script | Cause::Worker => Refusal::ScriptError,
                        Cause::Terminate | Cause::Idle | Cause::Stop => Refusal::SessionEnded,
                    };
                    (status, reason) = refusal.status();
                    exchange.user_agent.reject(now, *leg, status, &Vec::new());
                }
                (Phase::Referred(_), _) => {
                    (status, reason) = Refusal::SessionEnded.status();
                    self.refuse_referred(now, exchange, object, status, reason);
                }
                (Phase::Connected { .. } | Phase::Answering { .. }, Some(leg)) => {
                    exchange.user_agent.hangup(now, leg, &Vec::new());
                }
                (_, leg) => {
                    (status, reason) = (487, "Request Terminated");
                    if let Some(leg) = leg {
                        exchange.user_agent.hangup(now, leg, &Vec::new());
                    }
                }
            }
            self.close_call(now, exchange, object, format!("{status} {reason}"));
        }
        for player in std::mem::take(&mut self.players).into_values() {
            self.end_player(exchange, player);
        }
        let conferences = std::mem::take(&mut self.conferences).into_values();
        for unit in conferences.chain(std::mem::take(&mut self.recorders).into_values()) {
            exchange.close_unit(self.place, unit);
        }
    }

    /// Takes a call out of the session: leg, unit, timers and playback end, its row is written.
    pub(super) fn close_call(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        end_reason: String,
    ) {
        let Some(call) = self.detach(now, exchange, object, end_reason) else { return };
        if let Some(leg) = call.leg() {
            exchange.remove_leg(leg);
        }
        match call.port {
            Some(_) => self.close_audio(exchange, object, call.unit),
            // Media never had it, and says nothing of it.
            None => exchange.close_unit(self.place, call.unit),
        }
    }

    /// Takes a call out of the session and leaves its leg and unit as they are.
    pub(super) fn detach(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        end_reason: String,
    ) -> Option<Call> {
        self.stop_playback(exchange, object);
        let mut call = self.calls.remove(&object)?;
        self.cancel_transfers(now, exchange, object, &call);
        exchange.timers.disarm(Timer::Alerting(self.place.session, object));
        exchange.timers.disarm(Timer::Digits(self.place.session, object));
        if let Some(recorder) = call.recorder {
            exchange.close_unit(self.place, recorder);
        }
        let duration = call
            .connected_since()
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let line = match (call.connected_since(), call.record.is_incoming) {
            (Some(_), _) => format!("ended after {}: {end_reason}", Seconds(duration)),
            (None, true) => format!("not connected: {end_reason}"),
            (None, false) => format!("failed: {end_reason}"),
        };
        self.log_call(exchange, object, &line);
        let mut record = std::mem::take(&mut call.record);
        record.duration_ms = duration.as_millis() as i64;
        record.end_reason = end_reason;
        self.record.calls.push(record);
        if self.calls.is_empty() && matches!(self.stage, Stage::Running) {
            let deadline = now + exchange.idle_timeout();
            exchange.timers.arm(Timer::Idle(self.place.session), deadline);
        }
        Some(call)
    }

    pub(super) fn may_fetch(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Terminating { is_handled: false })
    }

    /// Goes on to the next stage when nothing holds up this one.
    pub(super) fn proceed_with_end(&mut self, now: Instant, exchange: &mut Exchange) {
        let system_error =
            self.record.finish_reason.as_deref() == Some(Cause::Stop.finish_reason());
        match self.stage {
            Stage::Requests if self.fetches.is_empty() => {
                self.stage = Stage::Terminating { is_handled: false };
                exchange.timers.arm(Timer::End(self.place.session), now + REQUESTS);
                exchange.script_event(self.place, ScriptEvent::Terminating { system_error });
            }
            Stage::Terminating { is_handled: true } if self.fetches.is_empty() => {
                self.stage = Stage::Terminated;
                exchange.timers.arm(Timer::End(self.place.session), now + LAST_CALLBACK);
                exchange.script_event(self.place, ScriptEvent::Terminated { system_error });
            }
            Stage::Closing if self.recordings.is_empty() && self.ended.is_empty() => {
                self.stage = Stage::Gone;
                exchange.timers.disarm(Timer::End(self.place.session));
            }
            _ => {}
        }
    }

    pub fn on_terminating_done(&mut self, now: Instant, exchange: &mut Exchange) {
        if let Stage::Terminating { is_handled } = &mut self.stage {
            *is_handled = true;
            self.proceed_with_end(now, exchange);
        }
    }

    pub fn on_terminated_done(&mut self, now: Instant, exchange: &mut Exchange) {
        if matches!(self.stage, Stage::Terminated) {
            self.close(now, exchange);
        }
    }

    /// A stage took too long.
    pub fn on_end_timer(&mut self, now: Instant, exchange: &mut Exchange) {
        match self.stage {
            Stage::Running | Stage::Gone => {}
            Stage::Requests => {
                self.cancel_fetches(exchange);
                self.proceed_with_end(now, exchange);
            }
            Stage::Terminating { .. } => {
                self.cancel_fetches(exchange);
                self.stage = Stage::Terminating { is_handled: true };
                self.proceed_with_end(now, exchange);
            }
            Stage::Terminated => {
                self.drop_runtime(exchange);
                self.close(now, exchange);
            }
            Stage::Closing => {
                self.give_figures_up(exchange);
                let lost = std::mem::take(&mut self.recordings);
                for (unit, recording) in lost {
                    exchange.forget_unit(unit);
                    exchange.disk(Operation::FinishRecording { recording: unit.0 });
                    log::warn!(
                        "session={} recording {} did not end",
                        self.record.id,
                        recording.file
                    );
                }
                self.proceed_with_end(now, exchange);
            }
        }
    }

    fn lose_runtime(&mut self, now: Instant, exchange: &mut Exchange) {
        // What handlers owed is a failure of the script, section 9.3 of the Management API.
        for request in std::mem::take(&mut self.accesses) {
            let answer = Some(Answer::Error("the scenario failed".into()));
            exchange.reply(Reply::Accessed { request, answer });
        }
        if !matches!(self.stage, Stage::Closing | Stage::Gone) {
            self.cancel_fetches(exchange);
            self.close(now, exchange);
        }
    }

    fn close(&mut self, now: Instant, exchange: &mut Exchange) {
        self.stage = Stage::Closing;
        exchange.timers.arm(Timer::End(self.place.session), now + RECORDINGS);
        self.proceed_with_end(now, exchange);
    }

    fn cancel_fetches(&mut self, exchange: &mut Exchange) {
        if !self.fetches.is_empty() {
            self.fetches.clear();
            exchange.push(Output::CancelFetches { session: self.place.session });
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }

    /// The last act: the row of the history, the log file, those who still wait.
    pub fn bury(mut self, now: Instant, exchange: &mut Exchange) {
        for request in std::mem::take(&mut self.accesses) {
            exchange.reply(Reply::Accessed { request, answer: None });
        }
        let duration = now.saturating_duration_since(self.started);
        self.record.duration_ms = duration.as_millis() as i64;
        log::info!(
            target: TARGET,
            "session={} ended after {}, calls={}: {}",
            self.record.id,
            Seconds(duration),
            self.record.calls.len(),
            self.record.finish_reason.as_deref().unwrap_or("no reason known")
        );
        exchange.disk(Operation::CloseLog { file: self.log_file });
        exchange.disk(Operation::EndSession(Box::new(self.record)));
    }
}

/// Cuts at a character boundary at or before `limit`.
pub(super) fn truncate_bytes(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0);
        text.truncate(end);
    }
}

/// HTTP requests before Terminating, and the one in it (section 1.5).
const REQUESTS: Duration = Duration::from_secs(90);
/// Far beyond the run-time limit of one callback: the worker is stuck.
const LAST_CALLBACK: Duration = Duration::from_secs(10);
/// Time for media and disk to finish files and figures.
const RECORDINGS: Duration = Duration::from_secs(10);
/// Section 1.6: what the history keeps of `customData`.
pub(super) const STORED_CUSTOM_DATA_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_data_is_cut_between_characters() {
        let mut text = "äöü".to_owned();
        truncate_bytes(&mut text, 3);
        assert_eq!(text, "ä");
        truncate_bytes(&mut text, 3);
        assert_eq!(text, "ä");
    }
}
