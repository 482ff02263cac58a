//! The INVITE usage (RFC 3261 §13 to §15): every call from its INVITE to its end.
//!
//! ```text
//! Calling --2xx--> Confirmed --BYE--> Over         (uac)
//! Alerting --2xx--> Confirmed                      (uas)
//! Confirmed --hangup--> Leaving --any final--> Over
//! Calling, Alerting --failure, CANCEL, hangup--> Over
//! ```
//! INVITEs that lost or were given up live on as attempts until they have their final response,
//! whatever the phase. A call is removed when it is over and has none left.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use self::confirmed::{Confirmed, Leaving};
use self::uac::{Attempt, Calling};
use self::uas::Alerting;
use super::header::Name;
use super::message::Message;
use super::multipart;
use super::outgoing::{Outcome, Outgoing, Owner};
use super::stack::Stack;
use super::transaction::TransactionId;
use super::transport::Destination;
use super::user_agent::{CallId, EarlyOffer, Event, ExtraHeaders, Transport};
use crate::slots::{Key, Slots};
use crate::stats;

mod again;
mod confirmed;
mod early;
mod failure;
mod modify;
mod party;
mod refresh;
mod reinvite;
mod reliable;
mod replaces;
mod target;
mod transfer;
mod uac;
mod uas;
mod update;

pub use party::Party;
pub use replaces::Found;
pub use transfer::{MOST_REFERS, REFER_PATIENCE};
pub use uas::Arrived;

/// All calls.
pub struct Calls {
    /// Full: an incoming INVITE gets 503 with Retry-After, counted as
    /// `sip_refused_full_calls_total`; an outgoing one is refused with 503.
    slots: Slots<Call>,
}

/// One call.
struct Call {
    id: CallId,
    phase: Phase,
    /// Our INVITEs that have no final response yet.
    attempts: Vec<Attempt>,
    /// The session has not hung up, nor heard of the end.
    is_held: bool,
    party: Party,
}

enum Phase {
    Calling(Calling),
    Alerting(Box<Alerting>),
    Confirmed(Box<Confirmed>),
    Leaving(Box<Leaving>),
    Over,
}

/// The timers of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallTimer {
    /// Our INVITE has no final response.
    NoAnswer,
    /// Our INVITE has no response at all, and there is somewhere else to go.
    NoResponse,
    /// Our provisional response is sent again, so that no proxy gives up (RFC 3261 §13.3.1.1).
    Progress,
    /// Our reliable provisional response has no PRACK (RFC 3262 §3).
    Reliable,
    /// Our 2xx is sent again (RFC 3261 §13.3.1.4).
    Answer,
    /// Our 2xx has no ACK.
    NoAck,
    /// Nobody has said yet what came of our REFER.
    Refer,
    /// A re-INVITE of ours waits for its turn, or has no final response.
    Change,
    /// The session is to be refreshed, or was not (RFC 4028 §10).
    Session,
}

impl CallTimer {
    const ALL: [Self; 9] = [
        Self::NoAnswer,
        Self::NoResponse,
        Self::Progress,
        Self::Reliable,
        Self::Answer,
        Self::NoAck,
        Self::Refer,
        Self::Change,
        Self::Session,
    ];
}

impl Calls {
    pub fn new(capacity: usize) -> Self {
        Self { slots: Slots::with_capacity(capacity) }
    }

    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Calls that have a dialog.
    pub fn dialogs(&self) -> usize {
        let has_dialog =
            |call: &Call| matches!(call.phase, Phase::Confirmed(_) | Phase::Leaving(_));
        self.slots.iter().filter(|(_, call)| has_dialog(call)).count()
    }

    pub fn is_full(&self) -> bool {
        self.slots.is_full()
    }

    /// Whether a request that waits is still wanted.
    pub fn wants(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Invite { .. } => self.attempt(owner).is_some_and(Attempt::is_wanted),
            _ => true,
        }
    }

    /// The trunk to which an INVITE goes.
    pub fn trunk(&self, owner: &Owner) -> Option<&str> {
        let Owner::Invite { call, .. } = owner else { return None };
        self.trunk_of(*call)
    }

    /// The trunk of a call that has no response yet, where another one waits for it.
    pub fn silent_trunk(&self, call: CallId) -> Option<&str> {
        let call = self.slots.get(call.0)?;
        call.is_impatient().then(|| call.party.trunk()).flatten()
    }

    /// The trunk of a call.
    pub fn trunk_of(&self, call: CallId) -> Option<&str> {
        self.slots.get(call.0)?.party.trunk()
    }

    fn attempt(&self, owner: &Owner) -> Option<&Attempt> {
        let Owner::Invite { call, attempt } = owner else { return None };
        let attempts = &self.slots.get(call.0)?.attempts;
        attempts.iter().find(|one| one.number == *attempt)
    }

    /// The way of the messages of a call.
    pub fn way(&self, id: CallId) -> Option<Destination> {
        match &self.slots.get(id.0)?.phase {
            Phase::Alerting(alerting) => Some(alerting.source),
            Phase::Confirmed(confirmed) => Some(confirmed.dialog.flow()),
            Phase::Leaving(leaving) => Some(leaving.dialog.flow()),
            Phase::Calling(_) | Phase::Over => None,
        }
    }

    /// The calls of a phone go along when it registers from elsewhere.
    pub fn follow_phone(&mut self, user: &str, old: (Transport, SocketAddr), new: Destination) {
        for (_, call) in self.slots.iter_mut() {
            if !call.party.is_user(user) {
                continue;
            }
            match &mut call.phase {
                Phase::Confirmed(confirmed) => confirmed.dialog.follow_phone(old, new),
                Phase::Leaving(leaving) => leaving.dialog.follow_phone(old, new),
                Phase::Calling(_) | Phase::Alerting(_) | Phase::Over => {}
            }
        }
    }

    /// Whether a 18x to this INVITE may carry our offer, and whether the first one must.
    pub fn early_offer(&self, id: CallId) -> EarlyOffer {
        match self.slots.get(id.0).map(|call| &call.phase) {
            Some(Phase::Alerting(alerting)) => alerting.early_offer(),
            _ => EarlyOffer::No,
        }
    }

    /// Whether a call's messages come over a stream from this address.
    pub fn uses(&self, peer: SocketAddr) -> bool {
        let is_there =
            |way: Destination| matches!(way, Destination::Stream { peer: one, .. } if one == peer);
        self.slots.iter().any(|(key, _)| self.way(CallId(key)).is_some_and(is_there))
    }

    /// Whether a call's messages come from a host.
    pub fn has_peer(&self, ip: IpAddr) -> bool {
        let is_there = |way: Destination| way.peer().ip() == ip;
        self.slots.iter().any(|(key, _)| self.way(CallId(key)).is_some_and(is_there))
    }

    /// The call whose local tag this is, if it has a request's tags.
    pub fn of_tag(&self, tag: &str) -> Option<CallId> {
        let (bits, _) = tag.split_once('-')?;
        let key = Key::from_bits(u64::from_str_radix(bits, 16).ok()?);
        self.slots.get(key).map(|_| CallId(key))
    }

    pub fn on_provisional(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        (call, attempt): (CallId, u32),
        transaction: TransactionId,
        response: &Message,
        source: Destination,
    ) {
        self.with(stack, call, |call, stack| {
            call.on_provisional(now, stack, attempt, transaction, response, source);
        });
    }

    pub fn on_answer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        (call, attempt): (CallId, u32),
        transaction: TransactionId,
        response: &Message,
        source: Destination,
    ) {
        let has_taken = self.with(stack, call, |call, stack| {
            call.on_answer(now, stack, attempt, transaction, response, source)
        });
        if has_taken != Some(true) {
            uac::decline(now, stack, transaction, response, source, None);
        }
    }

    /// A 2xx of a target that was given up for another.
    pub fn decline(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        transaction: TransactionId,
        response: &Message,
        source: Destination,
    ) {
        uac::decline(now, stack, transaction, response, source, None);
    }

    /// A request goes to another target: what the last one said of it is past.
    pub fn begin_again(&mut self, owner: &Owner) {
        let Owner::Invite { call, attempt } = owner else { return };
        if let Some(call) = self.slots.get_mut(call.0) {
            call.begin_again(*attempt);
        }
    }

    /// What became of a request of a call.
    pub fn on_outcome(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        outgoing: Box<Outgoing>,
        outcome: Outcome,
    ) {
        match outgoing.owner {
            Owner::Invite { call, attempt } => {
                self.with(stack, call, |call, stack| {
                    call.on_invite_outcome(now, stack, attempt, outgoing, outcome);
                });
            }
            Owner::Dialog { call } => {
                self.with(stack, call, |call, stack| {
                    call.on_dialog_outcome(now, stack, outgoing, outcome);
                });
            }
            Owner::Change { call } => {
                self.with(stack, call, |call, stack| {
                    call.on_change_outcome(now, stack, outgoing, outcome);
                });
            }
            // The ACK of an answer could not be sent: the peer hangs up after 32 s.
            Owner::Ack { .. }
            | Owner::Nobody
            | Owner::Registration { .. }
            | Owner::Health { .. } => {}
        }
    }

    pub fn on_timer(&mut self, now: Instant, stack: &mut Stack, id: CallId, timer: CallTimer) {
        self.with(stack, id, |call, stack| match timer {
            CallTimer::NoAnswer => call.on_no_answer(now, stack),
            CallTimer::NoResponse if call.is_impatient() => call.on_no_answer(now, stack),
            CallTimer::NoResponse => {}
            CallTimer::Progress => call.on_progress_timer(now, stack),
            CallTimer::Reliable => call.on_reliable_timer(now, stack),
            CallTimer::Answer => call.on_answer_timer(now, stack),
            CallTimer::NoAck => call.on_no_ack(now, stack),
            CallTimer::Refer => call.on_refer_timer(stack),
            CallTimer::Change => call.on_change_timer(now, stack),
            CallTimer::Session => call.on_session_timer(now, stack),
        });
    }

    /// Lends a call and the stack to `act`, and removes the call if that was its end.
    fn with<T>(
        &mut self,
        stack: &mut Stack,
        id: CallId,
        act: impl FnOnce(&mut Call, &mut Stack) -> T,
    ) -> Option<T> {
        let call = self.slots.get_mut(id.0)?;
        let result = act(call, stack);
        if matches!(call.phase, Phase::Over) {
            for timer in CallTimer::ALL {
                stack.timers.disarm((id, timer));
            }
            if call.attempts.is_empty() {
                self.slots.remove(id.0);
            }
        }
        Some(result)
    }

    /// A new call, without phase yet.
    fn insert(&mut self) -> Option<CallId> {
        let call = Call {
            id: CallId(Key::from_bits(0)),
            phase: Phase::Over,
            attempts: Vec::new(),
            is_held: true,
            party: Party::Anybody,
        };
        let key = self.slots.insert(call).ok()?;
        if let Some(call) = self.slots.get_mut(key) {
            call.id = CallId(key);
        }
        Some(CallId(key))
    }
}

/// The verbs of the session.
impl Calls {
    pub fn ring(&mut self, now: Instant, stack: &mut Stack, id: CallId, headers: &ExtraHeaders) {
        self.with(stack, id, |call, stack| call.ring(now, stack, headers));
    }

    pub fn progress(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        headers: &ExtraHeaders,
        sdp: Vec<u8>,
    ) {
        self.with(stack, id, |call, stack| call.progress(now, stack, headers, sdp));
    }

    pub fn accept(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        headers: &ExtraHeaders,
        display_name: Option<&str>,
        sdp: Vec<u8>,
    ) {
        self.with(stack, id, |call, stack| call.accept(now, stack, headers, display_name, sdp));
    }

    pub fn reject(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        status: u16,
        headers: &ExtraHeaders,
    ) {
        self.with(stack, id, |call, stack| call.reject(now, stack, status, headers));
    }

    pub fn hangup(&mut self, now: Instant, stack: &mut Stack, id: CallId, headers: &ExtraHeaders) {
        self.with(stack, id, |call, stack| match call.phase {
            Phase::Calling(_) => {
                call.is_held = false;
                call.give_up(now, stack, headers);
            }
            Phase::Alerting(_) => call.reject(now, stack, 603, headers),
            Phase::Confirmed(_) => call.leave(now, stack, headers),
            Phase::Leaving(_) | Phase::Over => {}
        });
    }

    pub fn answer_offer(&mut self, now: Instant, stack: &mut Stack, id: CallId, sdp: Vec<u8>) {
        self.with(stack, id, |call, stack| call.answer_offer(now, stack, sdp));
    }

    pub fn accept_change(&mut self, now: Instant, stack: &mut Stack, id: CallId, sdp: Vec<u8>) {
        self.with(stack, id, |call, stack| match call.phase {
            Phase::Alerting(_) => call.accept_early_change(now, stack, sdp),
            Phase::Calling(_) => call.end_callee_update(now, stack, 200, Some(sdp)),
            _ => call.accept_change(now, stack, sdp),
        });
    }

    pub fn reject_change(&mut self, now: Instant, stack: &mut Stack, id: CallId, status: u16) {
        self.with(stack, id, |call, stack| match call.phase {
            Phase::Alerting(_) => call.reject_early_change(now, stack, status),
            Phase::Calling(_) => call.end_callee_update(now, stack, status, None),
            _ => call.reject_change(now, stack, status),
        });
    }

    /// Sends INFO or MESSAGE inside the dialog.
    pub fn send(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        content: super::info::Content<'_>,
    ) {
        self.with(stack, id, |call, stack| call.send_content(now, stack, content));
    }
}

/// Requests inside a call.
impl Calls {
    /// An ACK that is no transaction's.
    pub fn on_ack(&mut self, now: Instant, stack: &mut Stack, ack: &Message) {
        let Some(id) = ack.to.tag().and_then(|tag| self.of_tag(tag)) else { return };
        self.with(stack, id, |call, stack| call.on_ack(now, stack, ack));
    }

    /// A 2xx to our INVITE whose transaction is gone: its ACK got lost, again.
    pub fn on_stray_answer(&mut self, now: Instant, stack: &mut Stack, response: &Message) {
        let Some(id) = response.from.tag().and_then(|tag| self.of_tag(tag)) else { return };
        self.with(stack, id, |call, stack| call.acknowledge_again(now, stack, response));
    }

    /// A CANCEL of the INVITE with this transaction; it is answered already.
    pub fn on_cancel(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        transaction: TransactionId,
        cancel: &Message,
    ) {
        self.with(stack, id, |call, stack| call.on_cancel(now, stack, transaction, cancel));
    }

    /// Any other request with a To tag. `false`: it belongs to no call.
    pub fn on_request(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) -> bool {
        let Some(id) = request.to.tag().and_then(|tag| self.of_tag(tag)) else { return false };
        let has_taken =
            self.with(stack, id, |call, stack| call.on_request(now, stack, request, source));
        has_taken == Some(true)
    }
}

impl Call {
    fn tell(&self, stack: &mut Stack, event: Event) {
        if self.is_held {
            stack.tell(event);
        }
    }

    /// A tag from which [`Calls::of_tag`] finds the call.
    fn new_tag(id: CallId, stack: &mut Stack) -> String {
        format!("{:x}-{}", id.0.to_bits(), stack.random.hex(TAG_BYTES))
    }
}

/// The headers that scripts see (section 8 of the VoxEngine reference): names that start with
/// `X-`, and User-to-User. Repeated ones are joined.
fn extra_headers(message: &Message) -> ExtraHeaders {
    extra_headers_and(message, |_| false)
}

/// The same, and what else `passes`. What does not fit the block is left out, counted as
/// `sip_headers_dropped_total`.
fn extra_headers_and(message: &Message, passes: impl Fn(&str) -> bool) -> ExtraHeaders {
    let mut list = ExtraHeaders::new();
    let mut room = HEADERS_BYTES;
    for header in &message.headers.0 {
        let name = header.name.as_str();
        if !is_extra(name) && !passes(name) {
            continue;
        }
        match room.checked_sub(name.len() + header.value.len()) {
            Some(left) => room = left,
            None => {
                stats::SIP_HEADERS_DROPPED.add(1);
                continue;
            }
        }
        match list.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, value)) => {
                value.push_str(", ");
                value.push_str(&header.value);
            }
            None => list.push((name.to_owned(), header.value.clone())),
        }
    }
    list
}

/// Puts a script's headers on a message; others than `X-` and User-to-User are left out.
fn add_extra_headers(message: &mut Message, headers: &ExtraHeaders) {
    for (name, value) in headers.iter().filter(|(name, _)| is_extra(name)) {
        message.headers.push(Name::from(name.as_str()), value.as_str());
    }
}

fn is_extra(name: &str) -> bool {
    name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"))
        || name.eq_ignore_ascii_case("User-to-User")
}

/// A body that may be left unread (RFC 3261 §20.11).
pub fn is_optional(message: &Message) -> bool {
    let Some(disposition) = message.header(&Name::ContentDisposition) else { return false };
    let (_, parameters) = disposition.split_once(';').unwrap_or((disposition, ""));
    let parameters = super::lexical::parameters(parameters).unwrap_or_default();
    super::lexical::parameter(&parameters, "handling")
        .is_some_and(|handling| handling.eq_ignore_ascii_case("optional"))
}

/// The SDP of a message; `None` when it has none, or a body of another kind.
fn sdp_of(message: &Message) -> Option<Vec<u8>> {
    if message.body.is_empty() {
        return None;
    }
    description_of(message).map(<[u8]>::to_vec)
}

/// Whether a body is SDP, or has a part that is.
pub fn is_sdp(message: &Message) -> bool {
    description_of(message).is_some()
}

/// Without Content-Type the body is taken for SDP: nothing else is sent in an INVITE.
fn description_of(message: &Message) -> Option<&[u8]> {
    if message.header(&Name::ContentType).is_none() {
        return Some(&message.body);
    }
    let content = message.headers.content_type()?;
    match content.kind == SDP {
        true => Some(&message.body),
        false => multipart::part(&content, &message.body, SDP),
    }
}

const SDP: &str = "application/sdp";
/// Of one message, names and values (section 1.6 of the VoxEngine reference).
const HEADERS_BYTES: usize = 4095;
/// Random bytes of a tag: RFC 3261 §19.3 asks for four.
const TAG_BYTES: usize = 6;
/// How long a 2xx waits for its ACK: 64 × T1 (RFC 3261 §13.3.1.4).
const ACK_PATIENCE: Duration = super::transaction::PATIENCE;
