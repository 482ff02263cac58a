//! Recordings of calls: a recorder in media, a WAV file on the disk thread, events in between.
//!
//! The file is complete, and `RecordStopped` fires, when the disk thread has given it its name.

use std::time::{Duration, Instant};

use super::Session;
use super::exchange::{Exchange, Role};
use super::journal::CallName;
use crate::media::engine::{Command as MediaCommand, Layout, UnitId};
use crate::media::frame::Rate;
use crate::scenario::command::{Object, RecordParameters};
use crate::scenario::event::CallEvent;
use crate::storage::record::{RecordingRecord, UnixMs};
use crate::storage::recording::file_name;
use crate::storage::store::{Answer as StoreAnswer, Operation};

/// A recording that is not finished.
pub struct Recording {
    pub call: Object,
    pub file: String,
    pub url: String,
    pub start: UnixMs,
    /// Known when the recorder has closed.
    pub duration: Duration,
}

impl Session {
    /// `call.record()`; a call is recorded once.
    pub(super) fn record_call(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        parameters: RecordParameters,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        if call.recorder.is_some() {
            let name = CallName(object);
            return self.log_line(exchange, &format!("call {name} is being recorded already"));
        }
        let unit = exchange.add_unit(self.place.session, Role::Recorder(object));
        call.recorder = Some(unit);
        let layout = if parameters.stereo { Layout::Stereo } else { Layout::Mono };
        let rate = if parameters.hd_audio { Rate::Full } else { Rate::Narrow };
        let (channels, hertz) = (layout.channels() as u16, rate.hertz());
        let start = exchange.unix_ms();
        let prefix = parameters.name_prefix.as_deref().map(safe_prefix).unwrap_or_default();
        let random = exchange.random.hex(16);
        let expire = parameters.expire.as_deref();
        let file = file_name(&prefix, start, self.record.id, &random, expire);
        let url = format!("{}/records/{file}", exchange.control_url);
        call.record.record_url = Some(url.clone());
        let to = call.unit;
        let recording = Recording {
            call: object,
            file: file.clone(),
            url: url.clone(),
            start,
            duration: Duration::ZERO,
        };
        self.recordings.insert(unit, recording);
        // The file is asked for before the recorder, so that no sample comes before it.
        exchange.disk(Operation::OpenRecording { recording: unit.0, file, channels, rate: hertz });
        exchange.media(self.place, MediaCommand::RecordCall { unit, call: to, layout, rate });
        self.call_event(exchange, object, CallEvent::RecordStarted { url });
    }

    pub(super) fn on_recorder_closed(
        &mut self,
        exchange: &mut Exchange,
        unit: UnitId,
        duration: Duration,
    ) {
        if let Some(recording) = self.recordings.get_mut(&unit) {
            recording.duration = duration;
            exchange.disk(Operation::FinishRecording { recording: unit.0 });
        } else {
            exchange.forget_unit(unit);
        }
    }

    /// What became of the file.
    pub fn on_stored(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        unit: UnitId,
        answer: StoreAnswer,
    ) {
        match answer {
            StoreAnswer::RecordingFinished { file_bytes, .. } => {
                exchange.forget_unit(unit);
                let Some(recording) = self.recordings.remove(&unit) else { return };
                let duration_ms = recording.duration.as_millis() as i64;
                self.record.records.push(RecordingRecord {
                    id: self.row_number(self.record.records.len()),
                    name: recording.file,
                    start: recording.start,
                    duration_ms,
                    url: recording.url.clone(),
                    file_bytes,
                });
                let event = CallEvent::RecordStopped {
                    url: recording.url,
                    duration_s: recording.duration.as_secs(),
                };
                self.call_event(exchange, recording.call, event);
                self.proceed_with_end(now, exchange);
            }
            StoreAnswer::RecordingFailed { error, .. } => {
                let call = self.recordings.get(&unit).map(|recording| recording.call);
                if let Some(call) = call {
                    exchange.close_unit(self.place, unit);
                    self.recording_failed(now, exchange, call, unit, &error);
                }
            }
            StoreAnswer::History { .. } => {}
        }
    }

    pub(super) fn recording_failed(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        call: Object,
        unit: UnitId,
        error: &str,
    ) {
        self.recordings.remove(&unit);
        if let Some(call) = self.calls.get_mut(&call) {
            call.recorder = None;
            call.record.record_url = None;
        }
        self.log_call(exchange, call, &format!("recording failed: {error}"));
        self.call_event(exchange, call, CallEvent::RecordError { error: error.to_owned() });
        self.proceed_with_end(now, exchange);
    }
}

/// `recordNamePrefix` without what could leave the folder.
fn safe_prefix(prefix: &str) -> String {
    let is_safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut safe: String = prefix.chars().filter(is_safe).take(PREFIX_CHARS).collect();
    if !safe.is_empty() {
        safe.push('-');
    }
    safe
}

const PREFIX_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_prefix_cannot_leave_the_folder() {
        assert_eq!(safe_prefix("../../etc/passwd"), "etcpasswd-");
        assert_eq!(safe_prefix("../"), "");
        assert_eq!(safe_prefix("desk_1"), "desk_1-");
    }
}
