//! Recordings of calls and of what is sent to recorders: a recorder in media, a file on the disk
//! thread, events in between.
//!
//! The file is complete, and `RecordStopped` fires, when the disk thread has given it its name.

use std::time::{Duration, Instant};

use super::Session;
use super::ending::truncate_bytes;
use super::exchange::{Exchange, Role};
use super::journal::CallName;
use crate::config::RecordingsFormat;
use crate::media::engine::{Command as MediaCommand, Layout, UnitId};
use crate::media::frame::Rate;
use crate::scenario::command::{Object, RecordParameters};
use crate::scenario::event::{CallEvent, Event as ScriptEvent, RecorderEvent};
use crate::storage::record::{RecordingRecord, UnixMs};
use crate::storage::recording::{Format as FileFormat, file_name};
use crate::storage::store::{Answer as StoreAnswer, Operation};

/// A recording that is not finished.
pub struct Recording {
    pub owner: Owner,
    pub file: String,
    /// In the history.
    name: String,
    url: String,
    start: UnixMs,
    /// Known when the recorder has closed.
    duration: Duration,
}

/// Who hears of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Call(Object),
    Recorder(Object),
}

impl Session {
    /// `call.record()`; a call is recorded once.
    pub(super) fn record_call(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        parameters: &RecordParameters,
    ) {
        let Some(call) = self.calls.get(&object) else { return };
        if call.recorder.is_some() {
            let name = CallName(object);
            return self.log_line(exchange, &format!("call {name} is being recorded already"));
        }
        let to = call.unit;
        let (unit, format) = self.begin_recording(exchange, Owner::Call(object), parameters);
        let Format { layout, rate, .. } = format;
        exchange.media(self.place, MediaCommand::RecordCall { unit, call: to, layout, rate });
        let url = self.recordings.get(&unit).map(|recording| recording.url.clone());
        if let Some(call) = self.calls.get_mut(&object) {
            call.recorder = Some(unit);
            call.record.record_url.clone_from(&url);
        }
        let url = url.unwrap_or_default();
        self.call_event(exchange, object, CallEvent::RecordStarted { url });
    }

    /// `VoxEngine.createRecorder`: it records whatever is sent to it.
    pub(super) fn create_recorder(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        parameters: &RecordParameters,
    ) {
        if self.recorders.len() >= MOST_RECORDERS {
            crate::stats::MEDIA_UNITS_REFUSED.add(1);
            let error = "no place for another recorder".to_owned();
            self.log_line(exchange, &error);
            return self.recorder_event(exchange, object, RecorderEvent::Error { error });
        }
        let (unit, format) = self.begin_recording(exchange, Owner::Recorder(object), parameters);
        let Format { layout, rate, .. } = format;
        exchange.media(self.place, MediaCommand::Record { unit, layout, rate });
        self.recorders.insert(object, unit);
        let url = self.recordings.get(&unit).map(|recording| recording.url.clone());
        let event = RecorderEvent::Started { url: url.unwrap_or_default() };
        self.recorder_event(exchange, object, event);
    }

    pub(super) fn mute_recorder(&mut self, exchange: &mut Exchange, object: Object, muted: bool) {
        if let Some(&unit) = self.recorders.get(&object) {
            exchange.media(self.place, MediaCommand::Mute { unit, muted });
        }
    }

    /// `Recorder.Stopped` follows when the file has its name.
    pub(super) fn stop_recorder(&mut self, exchange: &mut Exchange, object: Object) {
        if let Some(unit) = self.recorders.remove(&object) {
            exchange.close_unit(self.place, unit);
        }
    }

    /// Asks for the file; the recorder is asked for after it, so that no sample comes before it.
    fn begin_recording(
        &mut self,
        exchange: &mut Exchange,
        owner: Owner,
        parameters: &RecordParameters,
    ) -> (UnitId, Format) {
        let (Owner::Call(object) | Owner::Recorder(object)) = owner;
        let unit = exchange.add_unit(self.place.session, Role::Recorder(object));
        let format = Format::of(parameters, exchange.config.storage.recordings_format);
        let start = exchange.unix_ms();
        let prefix = parameters.name_prefix.as_deref().map(safe_prefix).unwrap_or_default();
        let random = exchange.random.hex(16);
        let expire = parameters.expire.as_deref();
        let file = file_name(&prefix, start, self.record.id, &random, expire, format.file);
        let mut name = parameters.name.clone().unwrap_or_else(|| file.clone());
        truncate_bytes(&mut name, NAME_BYTES);
        let recording = Recording {
            owner,
            file: file.clone(),
            name,
            url: format!("{}/records/{file}", exchange.control_url),
            start,
            duration: Duration::ZERO,
        };
        self.recordings.insert(unit, recording);
        exchange.disk(Operation::OpenRecording {
            recording: unit.0,
            file,
            channels: format.layout.channels() as u16,
            rate: format.rate.hertz(),
        });
        (unit, format)
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
                    name: recording.name,
                    start: recording.start,
                    duration_ms,
                    url: recording.url.clone(),
                    file_bytes,
                });
                let (url, duration_s) = (recording.url, recording.duration.as_secs());
                match recording.owner {
                    Owner::Call(call) => {
                        let event = CallEvent::RecordStopped { url, duration_s };
                        self.call_event(exchange, call, event);
                    }
                    Owner::Recorder(recorder) => {
                        let event = RecorderEvent::Stopped { duration_s };
                        self.recorder_event(exchange, recorder, event);
                    }
                }
                self.proceed_with_end(now, exchange);
            }
            StoreAnswer::RecordingFailed { error, .. } => {
                if self.recordings.contains_key(&unit) {
                    exchange.close_unit(self.place, unit);
                    self.recording_failed(now, exchange, unit, error);
                }
            }
            StoreAnswer::History { .. } => {}
        }
    }

    pub(super) fn recording_failed(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        unit: UnitId,
        error: String,
    ) {
        let Some(recording) = self.recordings.remove(&unit) else { return };
        match recording.owner {
            Owner::Call(object) => {
                if let Some(call) = self.calls.get_mut(&object) {
                    call.recorder = None;
                    call.record.record_url = None;
                }
                self.log_call(exchange, object, &format!("recording failed: {error}"));
                self.call_event(exchange, object, CallEvent::RecordError { error });
            }
            Owner::Recorder(object) => {
                self.recorders.remove(&object);
                self.log_line(exchange, &format!("recorder failed: {error}"));
                self.recorder_event(exchange, object, RecorderEvent::Error { error });
            }
        }
        self.proceed_with_end(now, exchange);
    }

    fn recorder_event(&mut self, exchange: &mut Exchange, recorder: Object, event: RecorderEvent) {
        if self.is_running() {
            exchange.script_event(self.place, ScriptEvent::Recorder { recorder, event });
        }
    }
}

/// How a recording sounds.
#[derive(Debug, Clone, Copy)]
struct Format {
    layout: Layout,
    rate: Rate,
    file: FileFormat,
}

impl Format {
    fn of(parameters: &RecordParameters, wanted: RecordingsFormat) -> Self {
        let layout = if parameters.stereo { Layout::Stereo } else { Layout::Mono };
        let file = match (wanted, layout) {
            (RecordingsFormat::Opus, Layout::Mono) => FileFormat::Opus,
            (RecordingsFormat::Opus, Layout::Stereo) | (RecordingsFormat::Wav, _) => {
                FileFormat::Wav
            }
        };
        // Opus keeps what there is of it, and takes as much room for either.
        let rate = match (file, parameters.hd_audio) {
            (FileFormat::Opus, _) | (_, true) => Rate::Full,
            (FileFormat::Wav, false) => Rate::Narrow,
        };
        Self { layout, rate, file }
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
/// Of a recorder's name in the history.
const NAME_BYTES: usize = 200;
/// Of one session at one time; a scenario makes one or two. Full: `Recorder.Error`, counted as
/// `media_units_refused`.
const MOST_RECORDERS: usize = 16;

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
