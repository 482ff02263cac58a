//! Up: what happened in `sip` and `media` becomes what the script hears.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use super::Session;
use super::call::{Call, Phase, Wish};
use super::codecs::{Preference, codecs_of, wishes_of};
use super::exchange::{Exchange, Role, Timer, host_text};
use super::journal::CallName;
use super::modify::Accepted;
use super::refusal::Refusal;
use super::security::Security;
use crate::config::Dtmf;
use crate::media::engine::{Command as MediaCommand, DigitSource, Event as MediaEvent};
use crate::scenario::command::{ExtraHeaders, Object};
use crate::scenario::event::{CallAlerting, CallEvent, PlayerEvent};
use crate::sdp::description::{Description, Direction};
use crate::sdp::format::Codec;
use crate::sdp::offer_answer::{self, Agreed, Wishes};
use crate::sip::user_agent::{CallId, EarlyOffer, Event as SipEvent, Incoming, Peer};
use crate::storage::record::CallRecord;
use crate::storage::store::Operation;

impl Session {
    /// A call came in for this session: its CallAlerting, and a port for its media.
    pub fn add_incoming(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        incoming: Incoming,
    ) -> CallAlerting {
        self.max_forwards = self.max_forwards.min(incoming.max_forwards);
        let address = exchange.user_agent.local_ip(incoming.call);
        let destination = incoming.number;
        let (callerid, display_name, uri) = match (&incoming.peer, incoming.caller) {
            (Peer::User(name), _) => (name.clone(), incoming.from.display_name, incoming.from.uri),
            (Peer::Trunk(_), Some(caller)) => (caller.user, caller.display_name, caller.uri),
            (Peer::Trunk(_), None) => {
                let user = incoming.from.uri.user.clone().unwrap_or_default();
                (user, incoming.from.display_name, incoming.from.uri)
            }
        };
        let config = &exchange.config;
        let (client_type, dtmf, codecs) = match &incoming.peer {
            Peer::Trunk(name) => {
                let trunk = config.trunk(name);
                let codecs = codecs_of(config, trunk.map(|trunk| &*trunk.codecs));
                ("sip", trunk.map_or(Dtmf::Auto, |trunk| trunk.dtmf), codecs)
            }
            Peer::User(name) => {
                let user = config.users.iter().find(|user| user.name == *name);
                ("user", Dtmf::Auto, codecs_of(config, user.map(|user| &*user.codecs)))
            }
        };
        self.diversions = incoming.diversions;
        let record = CallRecord {
            local_number: destination.clone(),
            remote_number: callerid.clone(),
            remote_number_type: if client_type == "user" { "user" } else { "sipuri" }.to_owned(),
            ..CallRecord::default()
        };
        // An offer that does not parse is refused when the script answers, like one without a
        // common codec.
        let offer = incoming.offer.as_deref().map(|sdp| {
            Box::new(Description::parse(sdp).unwrap_or_else(|_| Description::without_media()))
        });
        let leg = incoming.call;
        let phase =
            Phase::Alerting { leg, offer, own_offer: None, wish: Wish::Nothing, is_early: false };
        let security = Security::incoming(exchange, &incoming.peer, leg);
        let new = NewIncoming { phase, address, dtmf, codecs, security, record };
        let object = self.add_incoming_call(now, exchange, new);
        exchange.add_leg(leg, self.place.session, object);
        let from = crate::logger::Private(&callerid).to_string();
        let to = crate::logger::Private(&destination).to_string();
        self.log_call(exchange, object, &format!("incoming from {from} to {to}"));

        let mut headers = incoming.headers;
        headers.push(("VI-Client-Type".into(), client_type.into()));
        let own_host = host_text(address);
        let to_host = incoming.to.uri.host.clone();
        let host = if to_host.is_empty() { own_host } else { to_host };
        let from_user = uri.user.as_deref().unwrap_or_default();
        let from_host = if uri.host.is_empty() { &host } else { &uri.host };
        CallAlerting {
            call: object,
            callerid,
            to_uri: format!("sip:{destination}@{host}"),
            from_uri: format!("sip:{from_user}@{from_host}"),
            destination,
            display_name,
            headers,
            client_type: client_type.to_owned(),
        }
    }

    /// A call that the script has yet to answer; `record` knows its numbers.
    pub(super) fn add_incoming_call(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        new: NewIncoming,
    ) -> Object {
        let NewIncoming { phase, address, dtmf, codecs, security, record } = new;
        let object = CallName::incoming(self.incoming_so_far);
        self.incoming_so_far += 1;
        self.call_attempts += 1;
        let unit = exchange.add_unit(self.place.session, Role::Call(object));
        let id = self.call_number();
        let start = exchange.unix_ms();
        let call = Call {
            object,
            unit,
            phase,
            hears: None,
            transfers: None,
            address,
            port: None,
            origin_id: exchange.random.next_u64() >> 1,
            origin_version: 0,
            agreed: None,
            security,
            described: None,
            proposed: None,
            direction: Direction::SendRecv,
            is_held: false,
            is_hd: None,
            has_rung: false,
            audio_started: false,
            playback: None,
            recorder: None,
            dtmf,
            codecs,
            wishes: Wishes::default(),
            info_digits: VecDeque::new(),
            answer_detection: None,
            waits_for_beep: false,
            record: CallRecord { id, start, is_incoming: true, ..record },
        };
        self.calls.insert(object, call);
        exchange.timers.disarm(Timer::Idle(self.place.session));
        let deadline = now + exchange.config.limits.ring_timeout;
        exchange.timers.arm(Timer::Alerting(self.place.session, object), deadline);
        exchange.media(self.place, MediaCommand::Open { unit, address });
        object
    }

    /// An event of one of this session's legs.
    pub fn on_sip(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        event: SipEvent,
    ) {
        match event {
            SipEvent::Progress { status, headers, sdp, .. } => {
                self.on_progress(exchange, object, status, headers, sdp);
            }
            SipEvent::Answered { call: leg, headers, sdp } => {
                let Some(call) = self.calls.get_mut(&object) else { return };
                let Phase::Calling { offer, .. } = &call.phase else { return };
                let offer = offer.clone();
                let agreed = agree(call, &offer, sdp.as_deref());
                let is_described = call.described.is_some() && sdp.is_none();
                // A 200 without SDP repeats what a 18x said.
                if let Err(error) = &agreed
                    && (sdp.is_some() || call.agreed.is_none())
                {
                    self.on_disagreement(exchange, object, error);
                    let (code, reason) = Refusal::NoCommonCodec.status();
                    exchange.user_agent.hangup(now, leg, &Vec::new());
                    return self.fail(now, exchange, object, code, reason.into(), headers);
                }
                call.phase = Phase::Connected { leg, since: now, offer: None };
                // An UPDATE before may have changed what the INVITE said.
                if !is_described {
                    call.described = Some(offer);
                }
                if let Ok(agreed) = agreed {
                    self.configure(exchange, object, agreed, true);
                }
                self.on_connected(exchange, object, headers);
            }
            SipEvent::EarlyAnswer { call: leg, sdp } => {
                self.on_early_answer(now, exchange, object, leg, &sdp);
            }
            SipEvent::Confirmed { call: leg, sdp } => {
                let Some(call) = self.calls.get_mut(&object) else { return };
                let (offer, is_first) = match &mut call.phase {
                    Phase::Answering { offer, .. } => (offer.take(), true),
                    Phase::Connected { offer, .. } => (offer.take(), false),
                    Phase::Opening { .. }
                    | Phase::Calling { .. }
                    | Phase::Alerting { .. }
                    | Phase::Referred(_) => return,
                };
                let agreed = offer.as_ref().map(|offer| agree(call, offer, sdp.as_deref()));
                if is_first {
                    call.phase = Phase::Connected { leg, since: now, offer: None };
                }
                if offer.is_some() {
                    call.described = offer;
                }
                match agreed {
                    Some(Ok(agreed)) if is_first => {
                        self.configure(exchange, object, agreed, true);
                    }
                    Some(Ok(agreed)) => {
                        let body = sdp.as_deref().unwrap_or_default();
                        self.take_change(exchange, object, agreed, Vec::new(), body);
                    }
                    // Our offer got no answer that we can use (RFC 3261 §13.2.2.4: hang up).
                    Some(Err(error)) if is_first => {
                        self.on_disagreement(exchange, object, &error);
                        let (code, reason) = Refusal::NoCommonCodec.status();
                        exchange.user_agent.hangup(now, leg, &Vec::new());
                        return self.disconnect(
                            now,
                            exchange,
                            object,
                            code,
                            reason.into(),
                            Vec::new(),
                        );
                    }
                    Some(Err(_)) | None => {}
                }
                if is_first {
                    self.on_connected(exchange, object, Vec::new());
                }
            }
            SipEvent::Failed { call: leg, status, reason, headers } => {
                exchange.remove_leg(leg);
                self.on_invite_failed(now, exchange, object, status, reason, headers);
            }
            SipEvent::Forwarding { .. } => {
                self.call_event(exchange, object, CallEvent::Forwarding);
            }
            SipEvent::Cancelled { status, reason, headers, .. } => {
                self.disconnect(now, exchange, object, status, reason, headers);
            }
            SipEvent::Ended { status, reason, headers, .. } => {
                self.leave_transfer(exchange, object);
                self.disconnect(now, exchange, object, status, reason, headers);
            }
            SipEvent::Change { headers, sdp, .. } => {
                self.on_change(now, exchange, object, headers, sdp);
            }
            SipEvent::Changed { headers, content_type, body, has_offer, is_refresh, .. } => {
                let answer = Accepted { headers, content_type, body, has_offer, is_refresh };
                self.on_changed(now, exchange, object, answer);
            }
            SipEvent::ChangeRefused { status, reason, headers, .. } => {
                self.on_change_refused(now, exchange, object, status, reason, headers);
            }
            SipEvent::Refresh { .. } => self.on_refresh_due(now, exchange, object),
            SipEvent::Info { headers, content_type, body, .. } => {
                self.on_info(exchange, object, headers, content_type, body);
            }
            SipEvent::Message { headers, body, .. } => {
                let text = String::from_utf8_lossy(&body).into_owned();
                self.call_event(exchange, object, CallEvent::MessageReceived { headers, text });
            }
            SipEvent::Transferred { status, reason, .. } => {
                self.on_transferred(now, exchange, object, status, reason);
            }
            SipEvent::Incoming(_)
            | SipEvent::Refer { .. }
            | SipEvent::Trunk { .. }
            | SipEvent::Bindings { .. } => {}
        }
    }

    fn on_progress(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
        headers: ExtraHeaders,
        sdp: Option<Vec<u8>>,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Phase::Calling { offer, .. } = &call.phase else { return };
        let offer = offer.clone();
        let agreed = sdp.and_then(|sdp| agree(call, &offer, Some(&sdp)).ok());
        // Keys that served one fork are not taken up again after a pause for another's plain sound.
        let is_protected = call.agreed.as_ref().is_some_and(|agreed| agreed.srtp.is_some());
        let agreed = agreed.filter(|agreed| agreed.srtp.is_some() || !is_protected);
        let is_first_ring = (180..=183).contains(&status) && !call.has_rung;
        call.has_rung |= is_first_ring;
        if is_first_ring {
            self.log_call(exchange, object, &format!("ringing ({status})"));
            let event = CallEvent::Ringing { headers: headers.clone() };
            self.call_event(exchange, object, event);
        }
        let Some(agreed) = agreed else { return };
        self.configure(exchange, object, agreed, true);
        self.start_audio(exchange, object, headers);
    }

    /// The answer to our offer in a 183.
    fn on_early_answer(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        leg: CallId,
        sdp: &[u8],
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let (offer, is_answered) = match &mut call.phase {
            Phase::Alerting { own_offer, .. } => (own_offer.take(), false),
            Phase::Answering { offer, .. } => (offer.take(), true),
            Phase::Opening { .. }
            | Phase::Calling { .. }
            | Phase::Connected { .. }
            | Phase::Referred(_) => return,
        };
        let Some(offer) = offer else { return };
        let agreed = agree(call, &offer, Some(sdp));
        call.described = Some(offer);
        match agreed {
            Ok(agreed) => return self.configure(exchange, object, agreed, is_answered),
            Err(error) => self.on_disagreement(exchange, object, &error),
        }
        let (status, reason) = Refusal::NoCommonCodec.status();
        match is_answered {
            true => exchange.user_agent.hangup(now, leg, &Vec::new()),
            false => exchange.user_agent.reject(now, leg, status, &Vec::new()),
        }
        self.end_incoming(now, exchange, object, status, reason.into());
    }

    pub(super) fn on_connected(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        headers: ExtraHeaders,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        call.record.is_successful = true;
        call.give_up_unused_keys();
        exchange.timers.disarm(Timer::Alerting(self.place.session, object));
        let is_outgoing = !call.record.is_incoming;
        self.log_call(exchange, object, "connected");
        self.call_event(exchange, object, CallEvent::Connected { headers: headers.clone() });
        if is_outgoing {
            self.start_audio(exchange, object, headers);
        }
        self.tell_quality(exchange, object);
        self.begin_held(exchange, object);
        self.begin_answer_detection(exchange, object);
    }

    /// `AudioStarted`, once.
    fn start_audio(&mut self, exchange: &mut Exchange, object: Object, headers: ExtraHeaders) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        if !std::mem::replace(&mut call.audio_started, true) {
            self.call_event(exchange, object, CallEvent::AudioStarted { headers });
        }
    }

    pub(super) fn configure(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        agreed: Agreed,
        hears_peer: bool,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let settings = call.stream_settings(&agreed, hears_peer);
        call.agreed = Some(agreed);
        // The final answer to our INVITE may take the keys that a provisional one left.
        if !matches!(call.phase, Phase::Calling { .. }) {
            call.give_up_unused_keys();
        }
        let unit = call.unit;
        exchange.media(self.place, MediaCommand::Configure { unit, settings });
    }

    /// Carries out what the script wished of an alerting call, once media has a port.
    pub(super) fn grant_wish(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        let preference = self.preference_for(object);
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Some(port) = call.port else { return };
        let Phase::Alerting { leg, offer, own_offer, wish, .. } = &mut call.phase else { return };
        let wish = std::mem::replace(wish, Wish::Nothing);
        if matches!(wish, Wish::Nothing) {
            return;
        }
        let (leg, offer, own_offer) = (*leg, offer.clone(), own_offer.take());
        call.security.prepare(exchange, offer.as_deref());
        call.wishes = preference.fit(wishes_of(&exchange.config));
        let local = call.local(port, &preference);
        let (sdp, agreed, own_offer) = match &offer {
            Some(offer) => match offer_answer::answer(&local, offer) {
                Ok((answer, agreed)) => {
                    let answer = call.numbered(answer);
                    let sdp = answer.to_bytes();
                    call.described = Some(Box::new(answer));
                    (sdp, Some(agreed), None)
                }
                Err(error) => {
                    self.on_disagreement(exchange, object, &error);
                    let (status, reason) = Refusal::NoCommonCodec.status();
                    exchange.user_agent.reject(now, leg, status, &Vec::new());
                    return self.end_incoming(now, exchange, object, status, reason.into());
                }
            },
            // A 183 and its PRACK have settled it.
            None if call.agreed.is_some() => (Vec::new(), call.agreed.clone(), None),
            None => {
                let new = || Box::new(call.numbered(offer_answer::offer(&local)));
                let offer = own_offer.unwrap_or_else(new);
                (offer.to_bytes(), None, Some(offer))
            }
        };
        match wish {
            Wish::EarlyMedia { headers } => {
                // Without an offer there is nothing to answer; where ours cannot go into a 183,
                // media begins with the 200.
                if agreed.is_none() && exchange.user_agent.early_offer(leg) == EarlyOffer::No {
                    return;
                }
                exchange.user_agent.progress(now, leg, &headers, sdp);
                if let Phase::Alerting { is_early, own_offer: kept, .. } = &mut call.phase {
                    *is_early = true;
                    *kept = own_offer;
                }
                if let Some(agreed) = agreed {
                    self.configure(exchange, object, agreed, false);
                }
            }
            Wish::Answer { headers, display_name } => {
                exchange.user_agent.accept(now, leg, &headers, display_name.as_deref(), sdp);
                exchange.timers.disarm(Timer::Alerting(self.place.session, object));
                if let Some(agreed) = agreed {
                    self.configure(exchange, object, agreed, true);
                }
                if let Some(call) = self.calls.get_mut(&object) {
                    call.phase = Phase::Answering { leg, offer: own_offer };
                }
            }
            Wish::Nothing => {}
        }
    }

    fn on_info(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        headers: ExtraHeaders,
        content_type: String,
        body: Vec<u8>,
    ) {
        let mime_type = content_type.split(';').next().unwrap_or_default().trim();
        let text = String::from_utf8_lossy(&body);
        let digit = match mime_type.to_ascii_lowercase().as_str() {
            "application/dtmf-relay" => signal_of_dtmf_relay(&text),
            "application/dtmf" => digit_of(text.trim()),
            _ => {
                let (mime_type, body) = (mime_type.to_owned(), text.into_owned());
                let event = CallEvent::InfoReceived { headers, mime_type, body };
                return self.call_event(exchange, object, event);
            }
        };
        match (digit, self.calls.get(&object)) {
            (Some(digit), Some(call)) => {
                let unit = call.unit;
                exchange.media(self.place, MediaCommand::InfoDigit { unit, digit });
            }
            _ => crate::stats::DTMF_INFO_UNREADABLE.add(1),
        }
    }

    /// An event of one of this session's units.
    pub fn on_media(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        role: Role,
        event: MediaEvent,
    ) {
        match (event, role) {
            (MediaEvent::Opened { port, .. }, Role::Call(object)) => {
                let Some(call) = self.calls.get_mut(&object) else { return };
                call.port = Some(port);
                match call.phase {
                    Phase::Opening { .. } => self.send_invite(now, exchange, object),
                    Phase::Alerting { .. } => self.grant_wish(now, exchange, object),
                    Phase::Calling { .. }
                    | Phase::Answering { .. }
                    | Phase::Connected { .. }
                    | Phase::Referred(_) => {}
                }
            }
            (MediaEvent::OpenFailed { unit }, Role::Call(object)) => {
                exchange.forget_unit(unit);
                self.on_no_media(now, exchange, object);
            }
            (MediaEvent::OpenFailed { unit }, Role::Playback(_) | Role::Player(_)) => {
                self.log_line(exchange, "no place for another player");
                self.on_finished(exchange, role, unit);
            }
            (MediaEvent::OpenFailed { unit }, Role::Recorder(_)) => {
                exchange.forget_unit(unit);
                // Its file was asked for before.
                exchange.disk(Operation::FinishRecording { recording: unit.0 });
                let error = "no place for another recorder".to_owned();
                self.recording_failed(now, exchange, unit, error);
            }
            (MediaEvent::OpenFailed { unit }, Role::Conference(object)) => {
                self.on_conference_refused(exchange, object, unit);
            }
            (MediaEvent::Voice { is_speaking, .. }, Role::Call(object)) => {
                let event = CallEvent::MicStatusChange { is_active: is_speaking };
                self.call_event(exchange, object, event);
            }
            (MediaEvent::Detected { finding, .. }, Role::Call(object)) => {
                self.on_detected(exchange, object, finding);
            }
            (MediaEvent::FirstPacket { .. }, Role::Call(object)) => {
                self.call_event(exchange, object, CallEvent::FirstAudioPacketReceived);
            }
            (MediaEvent::RtpStopped { .. }, Role::Call(object)) => {
                self.log_call(exchange, object, "no more RTP from the peer");
                self.call_event(exchange, object, CallEvent::RtpStopped);
            }
            (MediaEvent::RtpResumed { .. }, Role::Call(object)) => {
                self.call_event(exchange, object, CallEvent::RtpResumed);
            }
            (MediaEvent::Digit { digit, source, .. }, Role::Call(object)) => {
                let source = match source {
                    DigitSource::TelephoneEvent => 1,
                    DigitSource::InBand => 2,
                    DigitSource::Info => 3,
                };
                if !self.hides_tones && !exchange.config.gateway.redact {
                    self.log_line(exchange, &format!("call {}: digit {digit}", CallName(object)));
                }
                self.call_event(exchange, object, CallEvent::ToneReceived { tone: digit, source });
            }
            (MediaEvent::Started { duration, .. }, role) => {
                self.on_started(exchange, role, duration.as_secs_f64());
            }
            (MediaEvent::Buffering { .. }, Role::Player(player)) => {
                self.player_event(exchange, player, PlayerEvent::PlaybackBuffering);
            }
            (MediaEvent::Finished { unit }, role) => self.on_finished(exchange, role, unit),
            (MediaEvent::Marked { offset_ms, .. }, Role::Player(player)) => {
                let event = PlayerEvent::PlaybackMarkerReached { offset_ms };
                self.player_event(exchange, player, event);
            }
            (MediaEvent::Closed { unit, figures }, Role::Recorder(_)) => {
                self.on_recorder_closed(exchange, unit, figures.recorded);
            }
            (MediaEvent::Closed { unit, figures }, Role::Ended(object)) => {
                self.on_figures(now, exchange, object, unit, &figures);
            }
            _ => {}
        }
    }

    fn on_no_media(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        let (status, reason) = Refusal::NoMedia.status();
        crate::stats::CALLS_REFUSED.add(1);
        match self.phase(object) {
            Some(Phase::Opening { .. }) => {
                self.fail(now, exchange, object, status, reason.into(), Vec::new());
            }
            Some(Phase::Alerting { leg, .. }) => {
                let leg = *leg;
                exchange.user_agent.reject(now, leg, status, &Vec::new());
                self.end_incoming(now, exchange, object, status, reason.into());
            }
            Some(Phase::Referred(_)) => {
                self.end_incoming(now, exchange, object, status, reason.into());
            }
            _ => {}
        }
    }

    /// Nobody answered an incoming call in time (section 1.6: 60 s), or media did not say in time
    /// whether an outgoing one has a port.
    pub fn on_alerting_timer(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        if let Some(Phase::Alerting { leg, .. }) = self.phase(object) {
            let leg = *leg;
            let (status, _) = Refusal::NoAnswer.status();
            exchange.user_agent.reject(now, leg, status, &Vec::new());
            self.end_incoming(now, exchange, object, 408, "Request Timeout".into());
        } else if self.is_referred(object) {
            self.end_incoming(now, exchange, object, 408, "Request Timeout".into());
        } else {
            self.on_no_media(now, exchange, object);
        }
    }
}

/// What incoming calls differ in.
pub(super) struct NewIncoming {
    pub phase: Phase,
    pub address: IpAddr,
    pub dtmf: Dtmf,
    pub codecs: Vec<Codec>,
    pub security: Security,
    /// Its numbers; what is the session's to know is filled in.
    pub record: CallRecord,
}

/// What our offer and the peer's answer agree on.
pub(super) fn agree(
    call: &Call,
    offer: &Description,
    answer: Option<&[u8]>,
) -> Result<Agreed, offer_answer::Error> {
    let answer = answer.and_then(|answer| Description::parse(answer).ok());
    let (Some(answer), Some(port)) = (answer, call.port) else {
        return Err(offer_answer::Error::NoAudio);
    };
    offer_answer::agree(&call.local(port, &Preference::default()), offer, &answer)
}

/// `Signal=5` of an `application/dtmf-relay` body.
fn signal_of_dtmf_relay(body: &str) -> Option<char> {
    let line = body.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then_some(value.trim())
    })?;
    digit_of(line)
}

/// A digit by its character or, as some phones write `*` and `#`, by its RFC 4733 number.
fn digit_of(text: &str) -> Option<char> {
    match text {
        "10" => return Some('*'),
        "11" => return Some('#'),
        _ => {}
    }
    let mut characters = text.chars();
    let digit = characters.next()?.to_ascii_uppercase();
    let is_digit = matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D');
    (is_digit && characters.next().is_none()).then_some(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_bodies_are_read_in_the_forms_that_phones_send() {
        assert_eq!(signal_of_dtmf_relay("Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(signal_of_dtmf_relay("Signal= *\r\nDuration= 100"), Some('*'));
        assert_eq!(signal_of_dtmf_relay("signal=11\n"), Some('#'));
        assert_eq!(signal_of_dtmf_relay("Duration=160\r\n"), None);
        assert_eq!(digit_of("d"), Some('D'));
        assert_eq!(digit_of("55"), None);
        assert_eq!(digit_of(""), None);
    }
}
