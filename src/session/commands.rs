//! Down: what a script asked for becomes what `sip` and `media` do.

use std::time::{Duration, Instant};

use super::call::{Phase, Wish};
use super::dial::Dialled;
use super::ending::{STORED_CUSTOM_DATA_BYTES, Stage, truncate_bytes};
use super::exchange::{Exchange, Timer};
use super::refusal::{Refusal, reject_status};
use super::{Session, sound};
use crate::config::Dtmf;
use crate::gateway::Output;
use crate::media::detect::answer;
use crate::media::engine::{Command as MediaCommand, DigitSources};
use crate::scenario::command::{Command, ExtraHeaders, HttpRequest, Object};
use crate::scenario::event::{CallEvent, Event as ScriptEvent, HttpResult};
use crate::sip::user_agent::EarlyOffer;

impl Session {
    /// One command, in the order in which the script gave it.
    pub fn on_command(&mut self, now: Instant, exchange: &mut Exchange, command: Command) {
        let is_running = matches!(self.stage, Stage::Running);
        match command {
            Command::Log { text } => return self.log_line(exchange, &text),
            Command::CustomData { value } => return self.set_custom_data(value),
            Command::HttpRequest(request) => return self.fetch(exchange, request),
            _ if !is_running => return,
            _ => {}
        }
        match command {
            Command::CallPstn(parameters) => {
                let call = parameters.call;
                let dialled = self.dial_pstn(exchange, *parameters);
                self.call_out(now, exchange, call, dialled);
            }
            Command::CallSip(parameters) => {
                let call = parameters.call;
                let dialled = self.dial_sip(exchange, *parameters);
                self.call_out(now, exchange, call, dialled);
            }
            Command::CallUser { call, username, callerid, display_name, headers } => {
                let dialled = Dialled::user(exchange, username, callerid, display_name, headers);
                self.call_out(now, exchange, call, Ok(dialled));
            }
            Command::Ring { call, headers } => self.ring(now, exchange, call, &headers),
            Command::StartEarlyMedia { call, headers } => {
                self.start_early_media(now, exchange, call, headers);
            }
            Command::Answer { call, headers, display_name } => {
                self.answer(now, exchange, call, headers, display_name);
            }
            Command::Reject { call, status, headers } => {
                let status = reject_status(status);
                if let Some(Phase::Alerting { leg, .. }) = self.phase(call) {
                    let leg = *leg;
                    exchange.user_agent.reject(now, leg, status, &headers);
                }
                if let Some(Phase::Alerting { .. } | Phase::Referred(_)) = self.phase(call) {
                    let reason = crate::sip::message::reason_phrase(status).to_owned();
                    self.end_incoming(now, exchange, call, status, reason);
                }
            }
            Command::Hangup { call, headers } => self.hangup(now, exchange, call, headers),
            Command::Playback { call, sound, looped } => {
                self.play_to_call(now, exchange, call, sound, looped);
            }
            Command::StopPlayback { call } => self.stop_playback(exchange, call),
            Command::ProgressTone { call, country } => {
                self.play_progress_tone(exchange, call, &country);
            }
            Command::RecordCall { call, parameters } => {
                self.record_call(exchange, call, &parameters);
            }
            Command::HandleTones { call, telephone_event, in_band, info } => {
                if let Some(call) = self.calls.get(&call) {
                    let sources = DigitSources { telephone_event, in_band, info };
                    let unit = call.unit;
                    exchange.media(self.place, MediaCommand::ListenDigits { unit, sources });
                }
            }
            Command::HandleMicStatus { call, handle: listens } => {
                if let Some(call) = self.calls.get(&call) {
                    let unit = call.unit;
                    exchange.media(self.place, MediaCommand::ListenVoice { unit, listens });
                }
            }
            Command::DetectBeep { call, frequencies, timeout_ms } => {
                self.detect_beep(exchange, call, &frequencies, timeout_ms);
            }
            Command::StopBeepDetection { call } => self.stop_beep_detection(exchange, call),
            Command::DetectAnswer { call, timeout_ms, human, voicemail } => {
                let timeout = Duration::from_millis(timeout_ms.into());
                let settings = answer::Settings { timeout, human, voicemail };
                self.detect_answer(exchange, call, settings);
            }
            Command::DetectFax { call } => self.detect_fax(exchange, call),
            Command::SendDigits { call, digits } => {
                self.send_digits(now, exchange, call, digits);
            }
            Command::SendMessage { call, text } => {
                if let Some(Phase::Connected { leg, .. }) = self.phase(call) {
                    let leg = *leg;
                    exchange.user_agent.message(now, leg, &text);
                }
            }
            Command::SendInfo { call, mime_type, body, headers } => {
                if let Some(Phase::Connected { leg, .. }) = self.phase(call) {
                    let leg = *leg;
                    exchange.user_agent.info(now, leg, &headers, &mime_type, body.into_bytes());
                }
            }
            Command::HandleBlindTransfer { call, handle } => {
                self.handle_blind_transfer(call, handle);
            }
            Command::NotifyTransfer { call, status, reason } => {
                self.notify_transfer(now, exchange, call, status, &reason);
            }
            Command::TransferTo { call, to, other, headers } => {
                self.transfer_to(now, exchange, call, &to, other, headers);
            }
            Command::ReInvite { call, headers, mime_type, body } => {
                self.change(now, exchange, call, headers, mime_type, body);
            }
            Command::CallCustomData { call, mut value } => {
                truncate_bytes(&mut value, STORED_CUSTOM_DATA_BYTES);
                if let Some(call) = self.calls.get_mut(&call) {
                    call.record.custom_data = Some(value);
                }
            }
            Command::CreatePlayer { player, sound, looped, paused } => {
                self.create_player(exchange, player, sound, looped, paused);
            }
            Command::CreateSequence { player, parts } => {
                self.create_sequence(exchange, player, parts);
            }
            Command::PausePlayer { player } => self.pause_player(exchange, player, true),
            Command::ResumePlayer { player } => self.pause_player(exchange, player, false),
            Command::StopPlayer { player } => self.stop_player(exchange, player),
            Command::AddMarker { player, part, offset_ms } => {
                self.add_marker(exchange, player, part, offset_ms);
            }
            Command::CreateConference { conference, hd_audio } => {
                self.create_conference(exchange, conference, hd_audio);
            }
            Command::StopConference { conference } => self.stop_conference(exchange, conference),
            Command::CreateRecorder { recorder, parameters } => {
                self.create_recorder(exchange, recorder, &parameters);
            }
            Command::MuteRecorder { recorder, muted } => {
                self.mute_recorder(exchange, recorder, muted);
            }
            Command::StopRecorder { recorder } => self.stop_recorder(exchange, recorder),
            Command::SendMediaTo { from, to } => self.send_media(exchange, from, to),
            Command::StopMediaTo { from, to } => self.stop_media(exchange, from, to),
            Command::HideTones { hidden } => self.hides_tones = hidden,
            Command::Terminate => self.terminate(now, exchange),
            Command::Log { .. } | Command::CustomData { .. } | Command::HttpRequest(_) => {}
        }
    }

    /// What the history keeps of it; the script has the whole.
    pub fn set_custom_data(&mut self, mut value: String) {
        truncate_bytes(&mut value, STORED_CUSTOM_DATA_BYTES);
        self.record.custom_data = value;
    }

    pub(super) fn phase(&self, call: Object) -> Option<&Phase> {
        self.calls.get(&call).map(|call| &call.phase)
    }

    /// 180; a caller who wants our offer first has it before.
    fn ring(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        headers: &ExtraHeaders,
    ) {
        let Some(Phase::Alerting { leg, .. }) = self.phase(object) else {
            return self.progress_referred(exchange, object, 180);
        };
        let leg = *leg;
        if exchange.user_agent.early_offer(leg) == EarlyOffer::Required {
            self.start_early_media(now, exchange, object, headers.clone());
        }
        exchange.user_agent.ring(now, leg, headers);
    }

    /// 183 with our answer or offer, as soon as media has a port.
    pub(super) fn start_early_media(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        headers: ExtraHeaders,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        if let Phase::Alerting { wish: wish @ Wish::Nothing, is_early: false, .. } = &mut call.phase
        {
            *wish = Wish::EarlyMedia { headers };
            self.grant_wish(now, exchange, object);
        } else {
            self.progress_referred(exchange, object, 183);
        }
    }

    /// 200 with our answer, as soon as media has a port. On any other leg: no effect.
    fn answer(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        headers: ExtraHeaders,
        display_name: Option<String>,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        if let Phase::Alerting { wish, .. } = &mut call.phase {
            let mut display_name = display_name;
            if let Some(name) = &mut display_name {
                truncate_bytes(name, DISPLAY_NAME_BYTES);
            }
            *wish = Wish::Answer { headers, display_name };
            self.grant_wish(now, exchange, object);
        } else {
            self.answer_referred(now, exchange, object);
        }
    }

    pub(super) fn hangup(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        headers: ExtraHeaders,
    ) {
        let Some(call) = self.calls.get(&object) else { return };
        if let Some(leg) = call.leg() {
            exchange.user_agent.hangup(now, leg, &headers);
        }
        match call.phase {
            Phase::Opening { .. } | Phase::Calling { .. } => {
                self.fail(now, exchange, object, 487, "Request Terminated".into(), Vec::new());
            }
            Phase::Alerting { .. } | Phase::Referred(_) => {
                let (status, reason) = Refusal::HungUpBeforeAnswer.status();
                self.end_incoming(now, exchange, object, status, reason.into());
            }
            Phase::Answering { .. } | Phase::Connected { .. } => {
                let reason = "Normal call clearing".into();
                self.disconnect(now, exchange, object, 200, reason, Vec::new());
            }
        }
    }

    /// By RFC 4733 or in-band by media, or one SIP INFO per digit where the trunk says so.
    fn send_digits(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        digits: String,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        if call.dtmf != Dtmf::Info {
            let unit = call.unit;
            return exchange.media(self.place, MediaCommand::SendDigits { unit, digits });
        }
        let room = INFO_DIGITS.saturating_sub(call.info_digits.len());
        let is_idle = call.info_digits.is_empty();
        call.info_digits.extend(digits.chars().filter(|digit| is_digit(*digit)).take(room));
        if is_idle && !call.info_digits.is_empty() {
            exchange.timers.arm(Timer::Digits(self.place.session, object), now);
        }
    }

    fn send_media(&mut self, exchange: &mut Exchange, from: Object, to: Object) {
        let source = self.unit_of(from);
        if let Some(player) = self.players.get_mut(&from)
            && matches!(player.stage, sound::Stage::Loading { .. })
        {
            // A call hears one source, so a listener stands here once.
            if !player.listeners.contains(&to) {
                player.listeners.push(to);
            }
            return;
        }
        if let (Some(from_unit), Some(to_unit)) = (source, self.unit_of(to)) {
            if let (true, Some(call)) = (self.calls.contains_key(&from), self.calls.get_mut(&to)) {
                call.hears = Some(from);
            }
            let (from, to) = (from_unit, to_unit);
            exchange.media(self.place, MediaCommand::Route { from, to });
        }
    }

    fn stop_media(&mut self, exchange: &mut Exchange, from: Object, to: Object) {
        if let Some(player) = self.players.get_mut(&from) {
            player.listeners.retain(|listener| *listener != to);
        }
        if let Some(call) = self.calls.get_mut(&to).filter(|call| call.hears == Some(from)) {
            call.hears = None;
        }
        if let (Some(from), Some(to)) = (self.unit_of(from), self.unit_of(to)) {
            exchange.media(self.place, MediaCommand::Unroute { from, to });
        }
    }

    fn fetch(&mut self, exchange: &mut Exchange, request: Box<HttpRequest>) {
        if !self.may_fetch() {
            let error = "the session is ending: no more HTTP requests".to_owned();
            let result = HttpResult { error, ..HttpResult::default() };
            let event = ScriptEvent::HttpResult { request: request.request, result };
            return exchange.script_event(self.place, event);
        }
        self.fetches.push(request.request);
        exchange.push(Output::Fetch { session: self.place.session, request });
    }

    pub fn on_fetched(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        request: u32,
        result: HttpResult,
    ) {
        let Some(place) = self.fetches.iter().position(|waiting| *waiting == request) else {
            return;
        };
        self.fetches.swap_remove(place);
        exchange.script_event(self.place, ScriptEvent::HttpResult { request, result });
        self.proceed_with_end(now, exchange);
    }

    /// The next digit by INFO (`application/dtmf-relay`, as most gateways read it).
    pub fn on_digits_timer(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Some(digit) = call.info_digits.pop_front() else { return };
        if let (Phase::Connected { leg, .. }, false) = (&call.phase, digit == 'p') {
            let body = format!("Signal={digit}\r\nDuration={INFO_DIGIT_MS}\r\n").into_bytes();
            exchange.user_agent.info(now, *leg, &Vec::new(), "application/dtmf-relay", body);
        }
        let pause = if digit == 'p' { PAUSE } else { INFO_DIGIT_GAP };
        if !call.info_digits.is_empty() {
            exchange.timers.arm(Timer::Digits(self.place.session, object), now + pause);
        }
    }

    /// The outgoing leg ended before it was connected.
    pub(super) fn fail(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        code: u16,
        reason: String,
        headers: ExtraHeaders,
    ) {
        self.close_call(now, exchange, object, format!("{code} {reason}"));
        self.call_event(exchange, object, CallEvent::Failed { headers, code, reason });
    }

    /// The incoming leg ended before it was answered.
    pub(super) fn end_incoming(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
        reason: String,
    ) {
        self.refuse_referred(now, exchange, object, status, &reason);
        self.disconnect(now, exchange, object, status, reason, Vec::new());
    }

    pub(super) fn disconnect(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        internal_code: u16,
        reason: String,
        headers: ExtraHeaders,
    ) {
        let Some(call) = self.calls.get(&object) else { return };
        let is_incoming = call.record.is_incoming;
        let duration_s = call
            .connected_since()
            .map_or(0, |since| now.saturating_duration_since(since).as_secs());
        self.close_call(now, exchange, object, format!("{internal_code} {reason}"));
        let event = CallEvent::Disconnected {
            headers,
            internal_code,
            reason,
            duration_s,
            is_incoming,
            statistics: None,
        };
        self.tell_end(now, exchange, object, event);
    }
}

fn is_digit(digit: char) -> bool {
    matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D' | 'p')
}

/// Of `answer()`.
const DISPLAY_NAME_BYTES: usize = 200;
/// Digits of one call that wait to be sent by INFO; the surplus is skipped.
const INFO_DIGITS: usize = 64;
/// Section 9 of the VoxEngine reference: tone 100 ms, gap 100 ms, pause 1 s.
const INFO_DIGIT_MS: u32 = 100;
const INFO_DIGIT_GAP: std::time::Duration = std::time::Duration::from_millis(200);
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
