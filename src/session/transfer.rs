//! Transfers (section 13 of the VoxEngine reference): a leg leaves its session for another call's
//! place, by a peer's REFER, by INVITE with Replaces, or because the script asks the peer to.
//!
//! ```text
//! peer's REFER -- script carries it out ------- reports --> NOTIFY
//!              -- nobody does: a session for the target begins with an incoming call that has no
//!                 leg (`Phase::Referred`); its answer fetches the leg of whom the transferor
//!                 talks with ("transferee"), its refusal leaves everything as it was
//!              -- with Replaces: the transferee takes the place of the transferor's other call
//! ```
//! What goes from one session to another stands in [`Note`]s that the gateway carries out.

use std::time::{Duration, Instant};

use super::Session;
use super::call::{Call, Phase};
use super::codecs::codecs_of;
use super::dial::take_call_timeout;
use super::events::NewIncoming;
use super::exchange::{Exchange, Role, SessionCall, Timer, host_text};
use super::security::Security;
use crate::config::Dtmf;
use crate::logger::Private;
use crate::media::engine::Command as MediaCommand;
use crate::scenario::command::{ExtraHeaders, Object};
use crate::scenario::event::{CallAlerting, CallEvent};
use crate::sdp::description::{Description, Direction};
use crate::sdp::offer_answer::{self, Agreed, Local};
use crate::sip::message::reason_phrase;
use crate::sip::user_agent::{
    CallId, Incoming, MOST_REFERS, Peer, REFER_PATIENCE, Refer, ReferTarget, Refused, Transfer,
};
use crate::stats;
use crate::storage::record::CallRecord;

/// The transfers of one call: one at a time.
#[derive(Default)]
pub struct Transfers {
    /// `handleBlindTransfer(true)`.
    asks_script: bool,
    /// REFERs of ours so far.
    sent: u32,
    /// Another's leg is to be taken off hold as soon as what its former session asked of it has
    /// ended.
    off_hold_is_due: bool,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Nothing,
    /// The script carries out the peer's REFER.
    Script,
    /// The gateway does: `target` rings in another session.
    Gateway { transferee: Object, target: SessionCall },
    /// The peer is asked; `other` is the call that it is to replace us in.
    Ours { other: Option<Object> },
    /// It has worked: the peer is to hang up.
    Done,
}

/// Of a call that begins as the place for somebody who is being transferred.
pub struct Referral {
    /// The transferor's call.
    pub origin: SessionCall,
    /// The transferee's leg, once the transferor has left it to us.
    pub leg: Option<CallId>,
    pub is_answered: bool,
}

/// What a session with such a call is begun with.
pub struct Referred {
    pub origin: SessionCall,
    /// The transferor, as the target sees it.
    pub callerid: String,
    pub peer: Peer,
    pub destination: String,
    pub headers: ExtraHeaders,
    pub max_forwards: u8,
    /// Where the transferee's media is.
    pub address: std::net::IpAddr,
}

/// What one session has to tell another.
#[derive(Debug)]
pub enum Note {
    /// The target rings, or is being told something.
    Progress { origin: SessionCall, status: u16 },
    /// The target's session answers: the transferee is to come.
    Answered { origin: SessionCall, target: SessionCall },
    /// The target's session does not answer.
    Failed { origin: SessionCall, status: u16, reason: String },
    /// The transferor hung up while the target rings: the transferee waits there.
    Left { transferee: SessionCall, target: SessionCall },
    /// Nobody is left to come to the target.
    Cancelled { target: SessionCall },
}

/// The transferor's side, and what scripts ask for.
impl Session {
    pub(super) fn handle_blind_transfer(&mut self, object: Object, asks_script: bool) {
        if let Some(call) = self.calls.get_mut(&object) {
            call.transfers.get_or_insert_default().asks_script = asks_script;
        }
    }

    /// Whether the script wants to carry out blind transfers of this call itself.
    pub fn asks_script(&self, object: Object) -> bool {
        let transfers = self.calls.get(&object).and_then(|call| call.transfers.as_ref());
        transfers.is_some_and(|transfers| transfers.asks_script)
    }

    /// A blind transfer that the script carries out: `BlindTransferRequested`.
    pub fn request_transfer(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        leg: CallId,
        refer: Refer,
    ) {
        exchange.user_agent.accept_refer(now, leg);
        self.set_transfer(object, State::Script);
        let deadline = now + SCRIPT_PATIENCE;
        exchange.timers.arm(Timer::Transfer(self.place.session, object), deadline);
        let transfer_to = refer.uri.user.clone().unwrap_or_default();
        let number = Private(&transfer_to).to_string();
        self.log_call(exchange, object, &format!("asks for a transfer to {number}"));
        let mut headers = refer.headers;
        // For `callSIP`: the user part alone does not say where.
        headers.push(("Refer-To".into(), refer.uri.to_string()));
        headers.extend(refer.referred_by.map(|by| ("Referred-By".to_owned(), by)));
        let event = CallEvent::BlindTransferRequested { headers, transfer_to };
        self.call_event(exchange, object, event);
    }

    /// `notifyBlindTransferSuccess` and `notifyBlindTransferFailed`.
    pub(super) fn notify_transfer(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
        reason: &str,
    ) {
        if let State::Script = self.transfer(object) {
            self.set_transfer(object, State::Nothing);
            exchange.timers.disarm(Timer::Transfer(self.place.session, object));
            self.tell_transferor(now, exchange, object, status, reason);
            count(status);
            self.log_call(exchange, object, &format!("transfer by the script: {status} {reason}"));
        }
    }

    /// The target's session has begun.
    pub fn begin_transfer(&mut self, object: Object, transferee: Object, target: SessionCall) {
        self.set_transfer(object, State::Gateway { transferee, target });
    }

    /// Who comes to the target that rings there for the transferor's call.
    pub fn transferee_for(&self, object: Object, target: SessionCall) -> Option<Object> {
        match self.transfer(object) {
            State::Gateway { transferee, target: one } if *one == target => Some(*transferee),
            _ => None,
        }
    }

    pub fn tell_transferor(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
        reason: &str,
    ) {
        if let Some(leg) = self.calls.get(&object).and_then(Call::leg) {
            let reason = if reason.is_empty() { reason_phrase(status) } else { reason };
            exchange.user_agent.notify_refer(now, leg, status, reason);
        }
    }

    /// The transferee is gone from here: the transferor is told, and has its time to hang up.
    pub fn complete_transfer(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        stats::TRANSFERS.add(1);
        self.set_transfer(object, State::Done);
        self.tell_transferor(now, exchange, object, 200, "OK");
        exchange.timers.arm(Timer::Transfer(self.place.session, object), now + PARTING);
        self.log_call(exchange, object, "transfer complete");
        self.tell_complete(exchange, object, "transferor");
    }

    /// Everything stays as it was.
    pub fn fail_transfer(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
        reason: &str,
    ) {
        let reason = if reason.is_empty() { reason_phrase(status) } else { reason };
        stats::TRANSFERS_FAILED.add(1);
        self.set_transfer(object, State::Nothing);
        self.tell_transferor(now, exchange, object, status, reason);
        self.tell_failed(exchange, object, "transferor", status, reason.to_owned());
    }

    pub fn tell_failed(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        role: &'static str,
        code: u16,
        reason: String,
    ) {
        self.log_call(exchange, object, &format!("transfer failed: {code} {reason}"));
        self.call_event(exchange, object, CallEvent::TransferFailed { role, code, reason });
    }

    pub fn tell_complete(&mut self, exchange: &mut Exchange, object: Object, role: &'static str) {
        if self.calls.contains_key(&object) {
            self.call_event(exchange, object, CallEvent::TransferComplete { role });
        }
    }

    /// The peer hung up; if it was transferring, whom it talked with goes on without it.
    pub(super) fn leave_transfer(&mut self, exchange: &mut Exchange, object: Object) {
        if let State::Gateway { transferee, target } = self.transfer(object) {
            let transferee = SessionCall { session: self.place.session, call: *transferee };
            let target = *target;
            self.set_transfer(object, State::Done);
            exchange.note(Note::Left { transferee, target });
            self.log_call(exchange, object, "left its transfer to the target");
            self.tell_complete(exchange, object, "transferor");
        }
    }

    /// A call is gone: transfers that it was part of end.
    pub(super) fn cancel_transfers(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        gone: Object,
        call: &Call,
    ) {
        exchange.timers.disarm(Timer::Transfer(self.place.session, gone));
        if let Some(State::Gateway { target, .. }) = call.transfers.as_ref().map(|all| &all.state) {
            exchange.note(Note::Cancelled { target: *target });
        }
        let of_gone = |transferor: &&Call| match transferor.transfers.as_ref() {
            Some(all) => {
                matches!(all.state, State::Gateway { transferee, .. } if transferee == gone)
            }
            None => false,
        };
        let Some(transferor) = self.calls.values().find(of_gone).map(|call| call.object) else {
            return;
        };
        if let State::Gateway { target, .. } = self.transfer(transferor) {
            exchange.note(Note::Cancelled { target: *target });
        }
        self.fail_transfer(now, exchange, transferor, 487, "");
    }

    /// The script did not report, or the transferor did not hang up.
    pub fn on_transfer_timer(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        match self.transfer(object) {
            State::Script => {
                self.set_transfer(object, State::Nothing);
                stats::TRANSFERS_FAILED.add(1);
                self.tell_transferor(now, exchange, object, 408, "");
                self.log_call(exchange, object, "the script did not say what came of the transfer");
            }
            State::Done => self.hangup(now, exchange, object, Vec::new()),
            State::Nothing | State::Gateway { .. } | State::Ours { .. } => {}
        }
    }

    fn transfer(&self, object: Object) -> &State {
        let transfers = self.calls.get(&object).and_then(|call| call.transfers.as_ref());
        transfers.map_or(&State::Nothing, |transfers| &transfers.state)
    }

    fn set_transfer(&mut self, object: Object, state: State) {
        if let Some(call) = self.calls.get_mut(&object) {
            call.transfers.get_or_insert_default().state = state;
        }
    }
}

/// `transferTo`.
impl Session {
    /// REFER to the peer; in the place of `other`'s peer if there is one.
    pub(super) fn transfer_to(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        to: &str,
        other: Option<Object>,
        mut headers: ExtraHeaders,
    ) {
        let timeout = take_call_timeout(&mut headers).unwrap_or(REFER_PATIENCE);
        let refused = match self.refer(now, exchange, object, to, other, headers, timeout) {
            Ok(()) => {
                self.set_transfer(object, State::Ours { other });
                let number = Private(to).to_string();
                return self.log_call(exchange, object, &format!("is asked to call {number}"));
            }
            Err(refused) => refused,
        };
        stats::TRANSFERS_REFUSED.add(1);
        self.tell_failed(exchange, object, "transferee", refused.status, refused.reason);
    }

    #[expect(clippy::too_many_arguments, reason = "one REFER and where it comes from")]
    fn refer(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        to: &str,
        other: Option<Object>,
        headers: ExtraHeaders,
        timeout: Duration,
    ) -> Result<(), Refused> {
        let refused = |status| Refused { status, reason: reason_phrase(status).to_owned() };
        let gone = refused(481);
        let connected = |session: &Self, object| match session.phase(object) {
            Some(Phase::Connected { leg, .. }) => Some(*leg),
            _ => None,
        };
        let leg = connected(self, object).ok_or_else(|| gone.clone())?;
        let target = match other {
            Some(other) if other == object => return Err(gone),
            Some(other) => ReferTarget::Call(connected(self, other).ok_or(gone)?),
            None => target_of(to).ok_or_else(|| refused(404))?,
        };
        let Some(call) = self.calls.get_mut(&object) else { return Err(refused(481)) };
        let transfers = call.transfers.get_or_insert_default();
        if !matches!(transfers.state, State::Nothing) {
            return Err(refused(491));
        }
        if transfers.sent >= MOST_REFERS {
            return Err(Refused { status: 403, reason: "Transfer limit reached".into() });
        }
        transfers.sent += 1;
        exchange.user_agent.refer(now, leg, &Transfer { target, headers, timeout })
    }

    /// What came of our REFER: once the peer is in its new call we leave this one, and the one
    /// that the peer has taken our place in.
    pub(super) fn on_transferred(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
        reason: String,
    ) {
        let State::Ours { other } = self.transfer(object) else { return };
        let other = *other;
        self.set_transfer(object, State::Nothing);
        count(status);
        if !(200..300).contains(&status) {
            return self.tell_failed(exchange, object, "transferee", status, reason);
        }
        self.log_call(exchange, object, "transfer complete");
        self.tell_complete(exchange, object, "transferee");
        if let Some(other) = other {
            self.tell_complete(exchange, other, "target");
        }
        for call in [Some(object), other].into_iter().flatten() {
            self.hangup(now, exchange, call, Vec::new());
        }
    }
}

/// The target's side.
impl Session {
    /// The place for the transferee: an incoming call from the transferor without a leg.
    pub fn add_referred(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        referred: Referred,
    ) -> CallAlerting {
        let Referred { origin, callerid, peer, destination, headers, max_forwards, address } =
            referred;
        let client_type = match &peer {
            Peer::User(_) => "user",
            Peer::Trunk(_) => "sip",
        };
        let record = CallRecord {
            local_number: destination.clone(),
            remote_number: callerid.clone(),
            remote_number_type: if client_type == "user" { "user" } else { "sipuri" }.to_owned(),
            ..CallRecord::default()
        };
        let referral = Box::new(Referral { origin, leg: None, is_answered: false });
        let phase = Phase::Referred(referral);
        self.max_forwards = self.max_forwards.min(max_forwards);
        let codecs = codecs_of(&exchange.config, None);
        let dtmf = Dtmf::Auto;
        let security = Security::none();
        let new = NewIncoming { phase, address, dtmf, codecs, security, record };
        let object = self.add_incoming_call(now, exchange, new);
        let (from, to) = (Private(&callerid).to_string(), Private(&destination).to_string());
        self.log_call(exchange, object, &format!("transferred by {from} to {to}"));
        let host = host_text(address);
        let mut headers = headers;
        headers.push(("VI-Client-Type".into(), client_type.into()));
        CallAlerting {
            call: object,
            to_uri: format!("sip:{destination}@{host}"),
            from_uri: format!("sip:{callerid}@{host}"),
            callerid,
            destination,
            display_name: String::new(),
            headers,
            client_type: client_type.to_owned(),
        }
    }

    /// The target's session rings or plays something to a call that may have no leg yet.
    pub(super) fn progress_referred(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
    ) {
        if let Some(Phase::Referred(referral)) = self.phase(object)
            && referral.leg.is_none()
        {
            let origin = referral.origin;
            exchange.note(Note::Progress { origin, status });
        }
    }

    /// The target's session answers: the transferee is there already, or is fetched.
    pub(super) fn answer_referred(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
    ) {
        let target = SessionCall { session: self.place.session, call: object };
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Phase::Referred(referral) = &mut call.phase else { return };
        match referral.leg {
            Some(leg) => {
                call.phase = Phase::Connected { leg, since: now, offer: None };
                self.take_off_hold(now, exchange, object);
                self.on_connected(exchange, object, Vec::new());
            }
            None if std::mem::replace(&mut referral.is_answered, true) => {}
            None => {
                let origin = referral.origin;
                exchange.note(Note::Answered { origin, target });
            }
        }
    }

    /// The target's session does not answer. A transferee that waits there already is hung up.
    pub(super) fn refuse_referred(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
        reason: &str,
    ) {
        let Some(Phase::Referred(referral)) = self.phase(object) else { return };
        let (origin, leg) = (referral.origin, referral.leg);
        match leg {
            Some(leg) => exchange.user_agent.hangup(now, leg, &Vec::new()),
            None => exchange.note(Note::Failed { origin, status, reason: reason.to_owned() }),
        }
    }

    /// Nobody comes any more.
    pub fn cancel_referred(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        if let Some(Phase::Referred(_)) = self.phase(object) {
            let reason = reason_phrase(487).to_owned();
            self.disconnect(now, exchange, object, 487, reason, Vec::new());
        }
    }

    pub fn is_referred(&self, object: Object) -> bool {
        matches!(self.phase(object), Some(Phase::Referred(_)))
    }
}

/// Legs that change their place.
impl Session {
    /// Whom a call talks with: whom it hears, else who hears it, else the only other one.
    pub fn partner(&self, object: Object) -> Option<Object> {
        let is_connected = |other: &Object| {
            *other != object && matches!(self.phase(*other), Some(Phase::Connected { .. }))
        };
        let hears = self.calls.get(&object)?.hears.filter(|other| is_connected(other));
        let hearer = || {
            let hears_it = |call: &&Call| call.hears == Some(object) && is_connected(&call.object);
            self.calls.values().find(hears_it).map(|call| call.object)
        };
        let only_other = || {
            let mut others = self.calls.keys().copied().filter(is_connected);
            others.next().filter(|_| others.next().is_none())
        };
        hears.or_else(hearer).or_else(only_other)
    }

    /// Takes a connected leg with its media unit out of this session; its call has ended here.
    pub fn release(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
    ) -> Option<Call> {
        let Some(Phase::Connected { since, .. }) = self.phase(object) else { return None };
        let duration_s = now.saturating_duration_since(*since).as_secs();
        self.tell_complete(exchange, object, "transferee");
        let call = self.detach(now, exchange, object, "200 Transferred".into())?;
        if let Some(leg) = call.leg() {
            exchange.remove_leg(leg);
        }
        exchange.forget_unit(call.unit);
        let event = CallEvent::Disconnected {
            headers: Vec::new(),
            internal_code: 200,
            reason: "Transferred".into(),
            duration_s,
            is_incoming: call.record.is_incoming,
            statistics: None,
        };
        self.call_event(exchange, object, event);
        Some(call)
    }

    /// The released leg goes on as this call: its unit takes over what the call's own one was
    /// told to hear and to say. A leg that the call had is hung up.
    pub fn adopt(&mut self, now: Instant, exchange: &mut Exchange, object: Object, other: Call) {
        let Phase::Connected { leg, offer, .. } = other.phase else { return };
        let session = self.place.session;
        let Some(call) = self.calls.get_mut(&object) else {
            // Nobody is there: it would be a leg without a session.
            exchange.user_agent.hangup(now, leg, &Vec::new());
            return exchange.media(self.place, MediaCommand::Close { unit: other.unit });
        };
        let (old, new) = (call.unit, other.unit);
        let replaced = call.leg();
        let since = call.connected_since();
        let phase = match &call.phase {
            // The transferor left before the target answered.
            Phase::Referred(referral) if !referral.is_answered => {
                let origin = referral.origin;
                Phase::Referred(Box::new(Referral { origin, leg: Some(leg), is_answered: false }))
            }
            _ => Phase::Connected { leg, since: since.unwrap_or(now), offer },
        };
        let is_new = since.is_none() && matches!(phase, Phase::Connected { .. });
        // What is the script's stays, all else is the leg's.
        *call = Call {
            object,
            phase,
            hears: call.hears,
            transfers: call.transfers.take(),
            has_rung: call.has_rung,
            audio_started: call.audio_started,
            playback: call.playback.take(),
            recorder: call.recorder,
            info_digits: std::mem::take(&mut call.info_digits),
            record: std::mem::take(&mut call.record),
            ..other
        };
        exchange.media(self.place, MediaCommand::Replace { old, new });
        exchange.close_unit(self.place, old);
        exchange.own_unit(new, session, Role::Call(object));
        self.end_transfer_of_leg(exchange, object);
        exchange.add_leg(leg, session, object);
        if let Some(replaced) = replaced {
            exchange.remove_leg(replaced);
            exchange.user_agent.hangup(now, replaced, &Vec::new());
        }
        self.take_off_hold(now, exchange, object);
        if is_new {
            self.on_connected(exchange, object, Vec::new());
        }
    }

    /// The transferor's hold reached the leg by the script (`easyProcess` passes it on), and nobody
    /// else would take it back.
    fn take_off_hold(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Phase::Connected { .. } = call.phase else { return };
        let asked = call.proposed.as_ref().map(|proposed| proposed.direction);
        let is_held = |direction| direction != Direction::SendRecv;
        if asked.is_some() && (asked.is_some_and(is_held) || is_held(call.direction)) {
            call.transfers.get_or_insert_default().off_hold_is_due = true;
        } else if is_held(call.direction) {
            let wish = "a=sendrecv".to_owned();
            self.change(now, exchange, object, Vec::new(), String::new(), wish);
        }
    }

    /// What we had asked of the peer has ended, well or not.
    pub(super) fn after_change(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        let transfers = self.calls.get_mut(&object).and_then(|call| call.transfers.as_mut());
        if transfers.is_some_and(|transfers| std::mem::take(&mut transfers.off_hold_is_due)) {
            self.take_off_hold(now, exchange, object);
        }
    }

    /// Another party is behind this call now: what the one before had asked for is over.
    fn end_transfer_of_leg(&mut self, exchange: &mut Exchange, object: Object) {
        if let State::Gateway { target, .. } = self.transfer(object) {
            exchange.note(Note::Cancelled { target: *target });
        }
        exchange.timers.disarm(Timer::Transfer(self.place.session, object));
        if let Some(transfers) = self.calls.get_mut(&object).and_then(|c| c.transfers.as_mut()) {
            transfers.state = State::Nothing;
        }
    }

    /// An attended transfer has put another leg behind this call.
    pub fn tell_replaced(&mut self, exchange: &mut Exchange, object: Object) {
        self.log_call(exchange, object, "is another party now: transferred");
        self.tell_complete(exchange, object, "transferor");
        if let Some(target) = self.partner(object) {
            self.tell_complete(exchange, target, "target");
        }
    }

    /// INVITE with Replaces: the new leg takes the old one's place in this call, on its port
    /// (RFC 3891 §3).
    pub fn replace_leg(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        incoming: Incoming,
    ) {
        let new = incoming.call;
        let offer = incoming.offer.as_deref();
        let mut security = Security::incoming(exchange, &incoming.peer, new);
        let described = self.describe_to(exchange, object, &mut security, offer);
        let (described, agreed) = match described {
            Ok(described) => described,
            Err(status) => {
                stats::TRANSFERS_REFUSED.add(1);
                return exchange.user_agent.reject(now, new, status, &Vec::new());
            }
        };
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Phase::Connected { leg: old, since, .. } = call.phase else { return };
        let sdp = described.to_bytes();
        let described = Box::new(described);
        let offer = agreed.is_none().then(|| described.clone());
        call.phase = Phase::Connected { leg: new, since, offer };
        call.described = Some(described);
        call.proposed = None;
        call.security = security;
        call.direction = Direction::SendRecv;
        let was_held = std::mem::replace(&mut call.is_held, false);
        exchange.user_agent.accept(now, new, &Vec::new(), None, sdp);
        exchange.remove_leg(old);
        exchange.add_leg(new, self.place.session, object);
        exchange.user_agent.hangup(now, old, &Vec::new());
        if let Some(agreed) = agreed {
            self.configure(exchange, object, agreed, true);
        }
        stats::TRANSFERS.add(1);
        self.end_transfer_of_leg(exchange, object);
        self.tell_replaced(exchange, object);
        if was_held {
            self.call_event(exchange, object, CallEvent::OffHold);
        }
    }

    /// Our answer to the new leg's offer and what is agreed then, or our offer; with `security` of
    /// the new leg's own. The call stays as it is.
    fn describe_to(
        &self,
        exchange: &mut Exchange,
        object: Object,
        security: &mut Security,
        offer: Option<&[u8]>,
    ) -> Result<(Description, Option<Agreed>), u16> {
        let call = self.calls.get(&object).ok_or(481_u16)?;
        let (Phase::Connected { .. }, Some(port)) = (&call.phase, call.port) else {
            return Err(481);
        };
        let offer = match offer {
            Some(offer) => Some(Description::parse(offer).map_err(|_| 488_u16)?),
            None => None,
        };
        security.prepare(exchange, offer.as_ref());
        let local = Local {
            direction: Direction::SendRecv,
            srtp: security.describe(None),
            ..call.local(port, &call.own_preference())
        };
        let Some(offer) = offer else { return Ok((offer_answer::offer(&local), None)) };
        let (answer, agreed) = offer_answer::answer(&local, &offer).map_err(|_| 488_u16)?;
        Ok((answer, Some(agreed)))
    }

    pub fn is_connected(&self, object: Object) -> bool {
        matches!(self.phase(object), Some(Phase::Connected { .. }))
    }

    pub fn leg(&self, object: Object) -> Option<CallId> {
        self.calls.get(&object)?.leg()
    }

    /// What the target's session is to know of the transferor and of whom it brings.
    pub fn referred(
        &self,
        object: Object,
        transferee: Object,
        peer: Peer,
        refer: Refer,
    ) -> Option<Referred> {
        let mut headers = refer.headers;
        headers.extend(refer.referred_by.map(|by| ("Referred-By".to_owned(), by)));
        Some(Referred {
            origin: SessionCall { session: self.place.session, call: object },
            callerid: self.calls.get(&object)?.record.remote_number.clone(),
            peer,
            destination: refer.uri.user.unwrap_or_default(),
            headers,
            max_forwards: self.max_forwards,
            address: self.calls.get(&transferee)?.address,
        })
    }
}

/// `to` of `transferTo`: a URI, or a number or name.
fn target_of(to: &str) -> Option<ReferTarget> {
    let to = to.trim();
    let has_scheme = ["sip:", "sips:", "tel:"].iter().any(|scheme| to.starts_with(scheme));
    if to.is_empty() || to.len() > TARGET_BYTES {
        return None;
    }
    if !has_scheme && !to.contains('@') {
        return Some(ReferTarget::Number(to.to_owned()));
    }
    let text = if has_scheme { to.to_owned() } else { format!("sip:{to}") };
    let mut uri: crate::sip::uri::Uri = text.parse().ok()?;
    uri.headers = None;
    Some(ReferTarget::Uri(Box::new(uri)))
}

fn count(status: u16) {
    match status {
        200..300 => stats::TRANSFERS.add(1),
        _ => stats::TRANSFERS_FAILED.add(1),
    }
}

/// Section 13: a script that carries out a transfer reports within this.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(60);
/// After the last NOTIFY the transferor hangs up (RFC 5589 §5.2); if not, we do.
const PARTING: Duration = Duration::from_secs(5);
const TARGET_BYTES: usize = 512;
