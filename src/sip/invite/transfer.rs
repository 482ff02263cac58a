//! Transfers inside a call's dialog (RFC 3515, RFC 5589), and dialogs that another one takes the
//! place of (RFC 3891).
//!
//! ```text
//! peer:  REFER --> Asked --202--> Notifying (100, 180, ...) --final NOTIFY answered--> nothing
//!                        --202, Refer-Sub: false--> Silent --outcome--> nothing
//! ours:  REFER sent --2xx--> accepted --NOTIFY with a final status, BYE, time-out--> told
//! ```
//! REFER inside a confirmed dialog, its implicit subscription, NOTIFY with message/sipfrag,
//! Refer-Sub (RFC 4488), Referred-By (RFC 3892) and Replaces of confirmed dialogs **are**
//! supported. REFER outside a dialog (405), Target-Dialog, and Replaces of dialogs that have no
//! answer yet **are not**: RFC 3891 §3 has those of incoming calls answered 481, and whom we
//! call is not told its early dialogs by anybody.
//!
//! One transfer at a time and call; a second one is answered 491. The subscription does not
//! outlive the call: with the peer's BYE it gets its last NOTIFY.

use std::time::{Duration, Instant};

use super::confirmed::Confirmed;
use super::{Call, CallTimer, Calls, Phase, add_extra_headers, extra_headers};
use crate::sip::dialog::Dialog;
use crate::sip::header::Name;
use crate::sip::message::{Message, Method, reason_phrase};
use crate::sip::name_addr::NameAddr;
use crate::sip::outgoing::{Outcome, Owner};
use crate::sip::refer::{self, ReferTo, Replaces, status_line};
use crate::sip::stack::Stack;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Destination;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::user_agent::{CallId, Event, Refer, ReferTarget, Refused, SIPFRAG, Transfer};
use crate::stats;

/// The transfers of a call: at most one of each side is under way.
#[derive(Default)]
pub(super) struct Transfers {
    /// REFERs of the peer so far. At [`MOST_REFERS`]: 403, counted as `transfers_refused_total`.
    received: u32,
    theirs: Option<Theirs>,
    ours: Option<Ours>,
}

/// A REFER of the peer, until it knows what came of it.
struct Theirs {
    /// `id` of its NOTIFYs, of every REFER but the first (RFC 3515 §2.4.6).
    id: Option<u32>,
    stage: Stage,
}

enum Stage {
    /// The session has yet to say whether it takes it.
    Asked { refer: Box<Message>, transaction: TransactionId, has_subscription: bool },
    /// The peer wants no NOTIFY (RFC 4488).
    Silent,
    Notifying {
        /// A NOTIFY has no response yet. One at a time: two could overtake each other.
        is_sending: bool,
        /// What is to be told next; a newer status takes the place of an older one.
        next: Option<(u16, String)>,
        /// The last NOTIFY is sent.
        is_ending: bool,
    },
}

/// A REFER of ours, until we know what came of it.
struct Ours {
    /// CSeq of the REFER: `id` of its NOTIFYs.
    number: u32,
    is_accepted: bool,
}

/// What a Replaces header finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No dialog of ours: 481.
    Nothing,
    /// A dialog that is ending: 603 (RFC 3891 §3).
    Over,
    Dialog(CallId),
}

impl Confirmed {
    /// Whether BYE would overtake the NOTIFY that says how the peer's transfer ended.
    pub(super) fn is_notifying(&self) -> bool {
        let theirs = self.transfers.as_ref().and_then(|transfers| transfers.theirs.as_ref());
        let Some(Theirs { stage: Stage::Notifying { is_sending, next, is_ending }, .. }) = theirs
        else {
            return false;
        };
        let is_last_waiting = next.as_ref().is_some_and(|(status, _)| *status >= 200);
        *is_sending && (*is_ending || is_last_waiting)
    }
}

/// REFERs of the peer.
impl Call {
    pub(super) fn on_refer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let transfers = confirmed.transfers.get_or_insert_default();
        let target = match ReferTo::of(request) {
            Err(refer::Refused::Malformed) => Err(400),
            Err(refer::Refused::NotACall) => Err(488),
            Ok(_) if transfers.theirs.is_some() || transfers.ours.is_some() => Err(491),
            Ok(_) if transfers.received >= MOST_REFERS => Err(403),
            Ok(target) => Ok(target),
        };
        let target = match target {
            Ok(target) => target,
            Err(status) => {
                stats::TRANSFERS_REFUSED.add(1);
                let response = stack.response(request, status);
                return stack.answer(now, source, response);
            }
        };
        let Some(transaction) = stack.serve(now, request, source, None) else { return };
        transfers.received += 1;
        let has_subscription = !request
            .header(&refer_sub())
            .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("false"));
        transfers.theirs = Some(Theirs {
            id: (transfers.received > 1).then_some(request.cseq.number),
            stage: Stage::Asked { refer: Box::new(request.clone()), transaction, has_subscription },
        });
        let refer = Refer {
            uri: target.uri,
            replaces: target.replaces,
            referred_by: request.header(&Name::ReferredBy).map(str::to_owned),
            headers: extra_headers(request),
        };
        match self.is_held {
            true => self.tell(stack, Event::Refer { call: self.id, refer: Box::new(refer) }),
            // The session has hung up; its BYE waits for something.
            false => self.reject_refer(now, stack, 603),
        }
    }

    /// 202, and the first NOTIFY.
    pub(super) fn accept_refer(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(theirs) = confirmed.transfers.as_mut().and_then(|all| all.theirs.as_mut()) else {
            return;
        };
        let Stage::Asked { refer, transaction, has_subscription } = &theirs.stage else { return };
        let mut response = stack.response(refer, 202);
        let contact = stack.contact(confirmed.dialog.flow(), confirmed.dialog.contact(), refer);
        response.headers.push(Name::Contact, contact.to_string());
        let (transaction, has_subscription) = (*transaction, *has_subscription);
        if !has_subscription {
            response.headers.push(refer_sub(), "false");
        }
        theirs.stage = match has_subscription {
            true => Stage::Notifying { is_sending: false, next: None, is_ending: false },
            false => Stage::Silent,
        };
        stack.table.respond(now, &mut stack.transports, transaction, &response);
        self.notify(now, stack, 100, reason_phrase(100));
    }

    /// The session does not take it.
    pub(super) fn reject_refer(&mut self, now: Instant, stack: &mut Stack, status: u16) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(transfers) = &mut confirmed.transfers else { return };
        if let Some(Theirs { stage: Stage::Asked { refer, transaction, .. }, .. }) =
            &transfers.theirs
        {
            stats::TRANSFERS_REFUSED.add(1);
            let response = stack.response(refer, status);
            stack.table.respond(now, &mut stack.transports, *transaction, &response);
            transfers.theirs = None;
        }
    }

    /// How far the transfer is; a final status ends it.
    pub(super) fn notify(&mut self, now: Instant, stack: &mut Stack, status: u16, reason: &str) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(transfers) = &mut confirmed.transfers else { return };
        match transfers.theirs.as_mut().map(|theirs| &mut theirs.stage) {
            Some(Stage::Silent) if status >= 200 => transfers.theirs = None,
            Some(Stage::Notifying { next, is_ending: false, .. })
                if next.as_ref().is_none_or(|(waiting, _)| *waiting < 200) =>
            {
                *next = Some((status, one_line(reason)));
                self.send_next_notify(now, stack);
            }
            _ => {}
        }
    }

    fn send_next_notify(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(theirs) = confirmed.transfers.as_mut().and_then(|all| all.theirs.as_mut()) else {
            return;
        };
        let Stage::Notifying { is_sending: is_sending @ false, next, is_ending } =
            &mut theirs.stage
        else {
            return;
        };
        let Some((status, reason)) = next.take() else { return };
        (*is_sending, *is_ending) = (true, status >= 200);
        let state = match status {
            200.. => "terminated;reason=noresource".to_owned(),
            _ => format!("active;expires={SUBSCRIPTION_S}"),
        };
        let owner = Owner::Dialog { call: self.id };
        let mut notify = confirmed.dialog.request(Method::Notify, owner);
        write_notify(&mut notify.request, theirs.id, &state, status, &reason);
        if let Some(login) = &mut confirmed.login {
            login.sign(&mut notify.request, &mut stack.random);
        }
        confirmed.open_requests += 1;
        stack.send(now, notify);
    }

    /// Our NOTIFY is answered, or nobody answers it. A refusal ends the subscription, never the
    /// call or the transfer (RFC 5057 §4.3).
    pub(super) fn on_notify_outcome(&mut self, now: Instant, stack: &mut Stack, status: u16) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        if let Some(transfers) = &mut confirmed.transfers
            && let Some(theirs) = &mut transfers.theirs
            && let Stage::Notifying { is_sending, next, is_ending } = &mut theirs.stage
        {
            *is_sending = false;
            let has_ended = *is_ending || next.as_ref().is_some_and(|(status, _)| *status >= 200);
            match (status, *is_ending) {
                (_, true) => transfers.theirs = None,
                (300.., false) if has_ended => transfers.theirs = None,
                (300.., false) => theirs.stage = Stage::Silent,
                (..300, false) => self.send_next_notify(now, stack),
            }
        }
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        if !confirmed.is_notifying()
            && confirmed.is_confirmed
            && let Some(headers) = confirmed.leaving.take()
        {
            self.send_bye(now, stack, &headers, None);
        }
    }
}

/// REFERs of ours.
impl Call {
    fn refer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        refer_to: ReferTo,
        transfer: &Transfer,
    ) -> Result<(), Refused> {
        let refused = |status| Refused { status, reason: reason_phrase(status).to_owned() };
        let Phase::Confirmed(confirmed) = &mut self.phase else { return Err(refused(481)) };
        let transfers = confirmed.transfers.get_or_insert_default();
        if transfers.theirs.is_some() || transfers.ours.is_some() {
            return Err(refused(491));
        }
        let mut outgoing = confirmed.dialog.request(Method::Refer, Owner::Dialog { call: self.id });
        let request = &mut outgoing.request;
        transfers.ours = Some(Ours { number: request.cseq.number, is_accepted: false });
        request.headers.push(Name::ReferTo, refer_to.to_value());
        let referrer = NameAddr::new(confirmed.dialog.local.uri.clone());
        request.headers.push(Name::ReferredBy, referrer.to_string());
        add_extra_headers(request, &transfer.headers);
        if let Some(login) = &mut confirmed.login {
            login.sign(request, &mut stack.random);
        }
        confirmed.open_requests += 1;
        stack.timers.arm((self.id, CallTimer::Refer), now + transfer.timeout);
        stack.send(now, outgoing);
        Ok(())
    }

    /// The REFER goes out once more, with credentials, under another number.
    pub(super) fn renumber_refer(&mut self, number: u32) {
        if let Some(ours) = self.ours() {
            ours.number = number;
        }
    }

    pub(super) fn on_refer_outcome(&mut self, stack: &mut Stack, outcome: &Outcome) {
        let (status, reason) = match outcome {
            Outcome::Failed(status) => (*status, reason_phrase(*status).to_owned()),
            Outcome::Response(response) => {
                let status = response.status().unwrap_or_default();
                (status, response.reason().to_owned())
            }
        };
        match status {
            200..=299 => {
                if let Some(ours) = self.ours() {
                    ours.is_accepted = true;
                }
            }
            _ => self.conclude_refer(stack, status, reason),
        }
    }

    /// A NOTIFY of the peer: how far our transfer is.
    pub(super) fn on_notify(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let is_ours = self.ours().is_some_and(|ours| is_event_of(request, ours.number));
        if !is_ours {
            // No subscription of ours (RFC 6665 §4.1.3).
            let response = stack.response(request, 481);
            return stack.answer(now, source, response);
        }
        let Some(transaction) = stack.serve(now, request, source, None) else { return };
        let response = stack.response(request, 200);
        stack.table.respond(now, &mut stack.transports, transaction, &response);
        let has_ended = request
            .header(&Name::SubscriptionState)
            .is_some_and(|state| state.trim_start().to_ascii_lowercase().starts_with("terminated"));
        match status_line(&request.body) {
            Some((status @ 200.., reason)) => {
                let reason = if reason.is_empty() { reason_phrase(status) } else { &reason };
                self.conclude_refer(stack, status, reason.to_owned());
            }
            // The peer stops telling before it knows: we never shall.
            _ if has_ended => self.conclude_refer(stack, 408, reason_phrase(408).to_owned()),
            _ => {}
        }
    }

    /// Nobody says what came of our transfer.
    pub(super) fn on_refer_timer(&mut self, stack: &mut Stack) {
        self.conclude_refer(stack, 408, reason_phrase(408).to_owned());
    }

    fn conclude_refer(&mut self, stack: &mut Stack, status: u16, reason: String) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let ours = confirmed.transfers.as_mut().and_then(|transfers| transfers.ours.take());
        if ours.is_some() {
            stack.timers.disarm((self.id, CallTimer::Refer));
            self.tell(stack, Event::Transferred { call: self.id, status, reason });
        }
    }

    fn ours(&mut self) -> Option<&mut Ours> {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return None };
        confirmed.transfers.as_mut()?.ours.as_mut()
    }
}

/// The end of the call.
impl Call {
    /// The peer hangs up. With our REFER accepted that is how some say that the transfer worked;
    /// its own transfer goes on without NOTIFY, and is told so.
    pub(super) fn end_transfers(&mut self, now: Instant, stack: &mut Stack) {
        self.reject_refer(now, stack, 603);
        let (status, reason) = match self.ours() {
            Some(Ours { is_accepted: true, .. }) => (200, "OK"),
            _ => (487, reason_phrase(487)),
        };
        self.conclude_refer(stack, status, reason.to_owned());
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let theirs = confirmed.transfers.take().and_then(|transfers| transfers.theirs);
        if let Some(Theirs { id, stage: Stage::Notifying { next, is_ending: false, .. } }) = theirs
        {
            let (status, reason) = next.unwrap_or((100, reason_phrase(100).to_owned()));
            let mut notify = confirmed.dialog.request(Method::Notify, Owner::Nobody);
            let state = "terminated;reason=noresource";
            write_notify(&mut notify.request, id, state, status, &reason);
            stack.send(now, notify);
        }
    }
}

/// The verbs, and what goes beyond one call.
impl Calls {
    pub fn accept_refer(&mut self, now: Instant, stack: &mut Stack, id: CallId) {
        self.with(stack, id, |call, stack| call.accept_refer(now, stack));
    }

    pub fn reject_refer(&mut self, now: Instant, stack: &mut Stack, id: CallId, status: u16) {
        self.with(stack, id, |call, stack| call.reject_refer(now, stack, status));
    }

    pub fn notify(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        status: u16,
        reason: &str,
    ) {
        self.with(stack, id, |call, stack| call.notify(now, stack, status, reason));
    }

    pub fn refer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        transfer: &Transfer,
    ) -> Result<(), Refused> {
        let gone = || Refused { status: 481, reason: reason_phrase(481).to_owned() };
        let dialog = self.dialog(id).ok_or_else(gone)?;
        let refer_to = match &transfer.target {
            ReferTarget::Number(number) => {
                ReferTo { uri: uri_of_number(stack, dialog, number), replaces: None }
            }
            ReferTarget::Uri(uri) => ReferTo { uri: (**uri).clone(), replaces: None },
            ReferTarget::Call(other) => self.dialog(*other).ok_or_else(gone)?.as_refer_to(),
        };
        self.with(stack, id, |call, stack| call.refer(now, stack, refer_to, transfer))
            .unwrap_or_else(|| Err(gone()))
    }

    /// The dialog that a Replaces header names.
    pub fn find(&self, replaces: &Replaces) -> Found {
        let Some(id) = self.of_tag(&replaces.to_tag) else { return Found::Nothing };
        let names = |dialog: &Dialog| {
            replaces.names(&dialog.call_id, dialog.local.tag(), dialog.remote.tag())
        };
        match self.slots.get(id.0).map(|call| (&call.phase, call.is_held)) {
            Some((Phase::Confirmed(confirmed), is_held)) if names(&confirmed.dialog) => {
                if is_held {
                    Found::Dialog(id)
                } else {
                    Found::Over
                }
            }
            Some((Phase::Leaving(leaving), _)) if names(&leaving.dialog) => Found::Over,
            _ => Found::Nothing,
        }
    }

    /// Which call a new INVITE replaces, or the status that refuses it (RFC 3891 §3).
    pub fn replaced_by(&self, invite: &Message) -> Result<Option<CallId>, u16> {
        let Some(replaces) = Replaces::of(invite).map_err(|_| 400_u16)? else { return Ok(None) };
        match self.find(&replaces) {
            Found::Nothing => Err(481),
            Found::Over => Err(603),
            Found::Dialog(_) if replaces.is_early_only => Err(486),
            Found::Dialog(id) => Ok(Some(id)),
        }
    }

    fn dialog(&self, id: CallId) -> Option<&Dialog> {
        match &self.slots.get(id.0)?.phase {
            Phase::Confirmed(confirmed) => Some(&confirmed.dialog),
            Phase::Calling(_) | Phase::Alerting(_) | Phase::Leaving(_) | Phase::Over => None,
        }
    }
}

impl Dialog {
    /// For a REFER to somebody else: call our peer, and take our place in this dialog. The tags
    /// are as our peer sees them (RFC 3891 §4).
    fn as_refer_to(&self) -> ReferTo {
        let tag = |address: &NameAddr| address.tag().unwrap_or("0").to_owned();
        let replaces = Replaces {
            call_id: self.call_id.clone(),
            to_tag: tag(&self.remote),
            from_tag: tag(&self.local),
            is_early_only: false,
        };
        ReferTo { uri: self.target().clone(), replaces: Some(replaces) }
    }
}

/// A number where the peer looks for numbers: a phone at us, by the way that it reaches us now,
/// everybody else at home.
fn uri_of_number(stack: &Stack, dialog: &Dialog, number: &str) -> Uri {
    if dialog.is_phone() {
        return stack.own_uri(dialog.flow(), number, false);
    }
    let is_home = |uri: &&Uri| matches!(uri.scheme, Scheme::Sip) && !uri.host.ends_with(".invalid");
    let home = Some(&dialog.remote.uri).filter(is_home).unwrap_or(dialog.target());
    Uri::sip(number, &home.host, home.port)
}

fn write_notify(request: &mut Message, id: Option<u32>, state: &str, status: u16, reason: &str) {
    let event = id.map_or("refer".to_owned(), |id| format!("refer;id={id}"));
    request.headers.push(Name::Event, event);
    request.headers.push(Name::SubscriptionState, state);
    let body = format!("SIP/2.0 {status} {reason}\r\n").into_bytes();
    request.set_body(SIPFRAG, body);
}

/// Whether a NOTIFY is about the REFER with this number. Without `id` it is about the only one
/// there is.
fn is_event_of(notify: &Message, number: u32) -> bool {
    let mut parts = notify.header(&Name::Event).unwrap_or_default().split(';').map(str::trim);
    let is_refer = parts.next().is_some_and(|package| package.eq_ignore_ascii_case("refer"));
    let id = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim_end().eq_ignore_ascii_case("id").then_some(value.trim_start())
    });
    is_refer && id.is_none_or(|id| id.parse() == Ok(number))
}

/// A script's words on a status line.
fn one_line(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect()
}

/// RFC 4488 §4.
fn refer_sub() -> Name {
    Name::Other("Refer-Sub".to_owned())
}

/// REFERs per call (section 1.6 of the VoxEngine reference).
pub const MOST_REFERS: u32 = 10;
/// Longer than any transfer rings.
const SUBSCRIPTION_S: u32 = 600;
const REASON_CHARS: usize = 100;
/// Of [`Transfer::timeout`], where nobody says otherwise.
pub const REFER_PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{
        ANSWER, Bench, CONTACT, PHONE, STRANGER, Sent, invite, kept, request, to_trunk,
    };
    use crate::sip::user_agent::{ExtraHeaders, Invite, Target};

    const TO_BOB: &str = "Refer-To: <sip:bob@192.0.2.1>\n";

    /// A REFER of the trunk in the call that we answered with `ok`.
    fn refer(ok: &Sent, branch: &str, headers: &str) -> String {
        request("REFER", branch, ok.tag("To"), headers, "")
    }

    fn asked(bench: &mut Bench) -> (CallId, Refer) {
        match bench.event() {
            Event::Refer { call, refer } => (call, *refer),
            other => panic!("Refer expected: {other:?}"),
        }
    }

    fn is_notify(notify: &Sent, status: &str, state: &str) {
        assert_eq!(notify.body(), format!("SIP/2.0 {status}\n"));
        assert_eq!(notify.header("Subscription-State"), state);
        assert_eq!(notify.header("Content-Type"), "message/sipfrag;version=2.0");
    }

    fn to(target: ReferTarget) -> Transfer {
        let headers = vec![("X-A".to_owned(), "b".to_owned()), ("Via".to_owned(), "no".to_owned())];
        Transfer { target, headers, timeout: Duration::from_secs(60) }
    }

    fn bob() -> Transfer {
        to(ReferTarget::Number("bob".into()))
    }

    /// A NOTIFY of the trunk about our REFER, in the call that we made.
    fn notify(refer: &Sent, branch: &str, headers: &str, body: &str) -> String {
        let (from, to) = (refer.header("To"), refer.header("From"));
        let call_id = refer.header("Call-ID");
        format!(
            "NOTIFY sip:200@192.0.2.1 SIP/2.0\n\
             Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{branch}\nMax-Forwards: 70\n\
             From: {from}\nTo: {to}\nCall-ID: {call_id}\nCSeq: {branch} NOTIFY\n\
             Contact: <sip:100@192.0.2.10:5060>\n{headers}\n{body}"
        )
    }

    const ACTIVE: &str = "Event: refer\nSubscription-State: active;expires=60\n\
                          Content-Type: message/sipfrag;version=2.0\n";
    const TERMINATED: &str = "Event: refer\nSubscription-State: terminated;reason=noresource\n\
                              Content-Type: message/sipfrag\n";

    #[test]
    fn rfc3515_refer_is_accepted_and_its_progress_notified() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        let by = "Referred-By: <sip:100@192.0.2.10>\nX-A: 1\n";
        bench.receive(&refer(&ok, "2", &format!("{TO_BOB}{by}")));
        let (of, asked) = asked(&mut bench);
        assert_eq!((of, asked.uri.to_string().as_str()), (call, "sip:bob@192.0.2.1"));
        assert_eq!(asked.referred_by.as_deref(), Some("<sip:100@192.0.2.10>"));
        assert_eq!(asked.headers, [("X-A".to_owned(), "1".to_owned())]);
        bench.quiet();
        bench.act(|agent, now| agent.accept_refer(now, call));
        let accepted = bench.expect("SIP/2.0 202 Accepted");
        assert_eq!(accepted.header("Contact"), "<sip:200@192.0.2.1:5060>");
        let first = bench.expect("NOTIFY sip:100@192.0.2.10:5060 ");
        is_notify(&first, "100 Trying", "active;expires=600");
        assert_eq!((first.header("Event"), first.tag("To")), ("refer", "f1"));
        // One at a time; the newest status counts.
        bench.act(|agent, now| agent.notify_refer(now, call, 180, "Ringing"));
        bench.act(|agent, now| agent.notify_refer(now, call, 183, "Session Progress"));
        bench.quiet();
        bench.receive(&first.response(200, ""));
        let second = bench.expect("NOTIFY ");
        is_notify(&second, "183 Session Progress", "active;expires=600");
        bench.receive(&second.response(200, ""));
        bench.act(|agent, now| agent.notify_refer(now, call, 200, "OK"));
        let last = bench.expect("NOTIFY ");
        is_notify(&last, "200 OK", "terminated;reason=noresource");
        // Nothing follows the last one.
        bench.act(|agent, now| agent.notify_refer(now, call, 486, "Busy Here"));
        bench.receive(&last.response(200, ""));
        bench.quiet();
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn rfc3515_second_refer_has_an_id() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        for branch in ["2", "3"] {
            bench.receive(&refer(&ok, branch, TO_BOB));
            asked(&mut bench);
            bench.act(|agent, now| agent.accept_refer(now, call));
            bench.expect("SIP/2.0 202");
            let first = bench.expect("NOTIFY ");
            let event = if branch == "2" { "refer" } else { "refer;id=3" };
            assert_eq!(first.header("Event"), event);
            bench.receive(&first.response(200, ""));
            bench.act(|agent, now| agent.notify_refer(now, call, 404, ""));
            let last = bench.expect("NOTIFY ");
            bench.receive(&last.response(200, ""));
        }
        bench.quiet();
    }

    #[test]
    fn refer_while_another_is_pending_is_refused_491() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&refer(&ok, "2", TO_BOB));
        asked(&mut bench);
        bench.act(|agent, now| agent.accept_refer(now, call));
        bench.expect("SIP/2.0 202");
        bench.expect("NOTIFY ");
        bench.receive(&refer(&ok, "3", TO_BOB));
        bench.expect("SIP/2.0 491");
        let refused = bench.act(|agent, now| agent.refer(now, call, &bob()));
        assert_eq!(refused.unwrap_err().status, 491);
        bench.quiet();
    }

    #[test]
    fn refer_that_the_session_left_unanswered_is_refused_when_it_hangs_up() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&refer(&ok, "2", TO_BOB));
        asked(&mut bench);
        bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
        bench.expect("SIP/2.0 603");
        bench.expect("BYE ");
        bench.empty();
    }

    #[test]
    fn refer_again_is_absorbed_and_gets_the_same_answer() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        let text = refer(&ok, "2", TO_BOB);
        bench.receive(&text);
        asked(&mut bench);
        bench.receive(&text);
        bench.quiet();
        bench.act(|agent, now| agent.accept_refer(now, call));
        let accepted = bench.expect("SIP/2.0 202");
        bench.expect("NOTIFY ");
        bench.receive(&text);
        assert_eq!(bench.sent().text, accepted.text);
        bench.quiet();
    }

    #[test]
    fn refer_that_leads_nowhere_is_refused_and_the_call_goes_on() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        for (number, headers, status) in [
            (2, "", 400),
            (3, "Refer-To: <sip:a@b>\nRefer-To: <sip:c@d>\n", 400),
            (4, "Refer-To: <sip:a@b;method=BYE>\n", 488),
            (5, "Refer-To: <http://a.example>\n", 488),
            (6, "Refer-To: <sip:a@b>\nRequire: multiple-refer\n", 420),
        ] {
            bench.receive(&refer(&ok, &number.to_string(), headers));
            bench.expect(&format!("SIP/2.0 {status}"));
        }
        bench.quiet();
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn session_refuses_a_refer_and_may_be_asked_again() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        for branch in 2..12 {
            bench.receive(&refer(&ok, &branch.to_string(), TO_BOB));
            asked(&mut bench);
            bench.act(|agent, now| agent.reject_refer(now, call, 603));
            bench.expect("SIP/2.0 603 Decline");
        }
        // Section 1.6 of the VoxEngine reference: ten per call.
        bench.receive(&refer(&ok, "12", TO_BOB));
        bench.expect("SIP/2.0 403");
        bench.quiet();
    }

    #[test]
    fn rfc4488_refer_without_subscription_gets_no_notify() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        let headers = format!("{TO_BOB}Refer-Sub: false\nRequire: norefersub\n");
        bench.receive(&refer(&ok, "2", &headers));
        asked(&mut bench);
        bench.act(|agent, now| agent.accept_refer(now, call));
        let accepted = bench.expect("SIP/2.0 202");
        assert_eq!(accepted.header("Refer-Sub"), "false");
        bench.act(|agent, now| agent.notify_refer(now, call, 180, ""));
        bench.receive(&refer(&ok, "3", TO_BOB));
        bench.expect("SIP/2.0 491");
        bench.act(|agent, now| agent.notify_refer(now, call, 200, ""));
        bench.receive(&refer(&ok, "4", TO_BOB));
        asked(&mut bench);
        bench.quiet();
    }

    #[test]
    fn rfc5057_refused_notify_ends_the_subscription_and_not_the_call() {
        for answer in [Some(481), Some(489), None] {
            let mut bench = Bench::new();
            let (call, ok) = bench.answered();
            bench.receive(&refer(&ok, "2", TO_BOB));
            asked(&mut bench);
            bench.act(|agent, now| agent.accept_refer(now, call));
            bench.expect("SIP/2.0 202");
            let first = bench.expect("NOTIFY ");
            match answer {
                Some(status) => bench.receive(&first.response(status, "")),
                None => bench.pass(Duration::from_secs(33)),
            }
            bench.all_sent();
            bench.act(|agent, now| agent.notify_refer(now, call, 180, ""));
            bench.act(|agent, now| agent.notify_refer(now, call, 200, ""));
            bench.quiet();
            assert_eq!(bench.agent.usage().dialogs, 1);
            bench.receive(&refer(&ok, "3", TO_BOB));
            asked(&mut bench);
        }
    }

    #[test]
    fn bye_of_the_transferor_ends_its_subscription() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&refer(&ok, "2", TO_BOB));
        asked(&mut bench);
        bench.act(|agent, now| agent.accept_refer(now, call));
        bench.expect("SIP/2.0 202");
        let first = bench.expect("NOTIFY ");
        bench.receive(&first.response(200, ""));
        bench.receive(&request("BYE", "3", ok.tag("To"), "", ""));
        let last = bench.expect("NOTIFY ");
        is_notify(&last, "100 Trying", "terminated;reason=noresource");
        bench.expect("SIP/2.0 200");
        assert!(matches!(bench.event(), Event::Ended { status: 200, .. }));
        bench.receive(&last.response(481, ""));
        bench.act(|agent, now| agent.notify_refer(now, call, 200, ""));
        bench.quiet();
        bench.empty();
    }

    #[test]
    fn hangup_waits_until_the_last_notify_has_arrived() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&refer(&ok, "2", TO_BOB));
        asked(&mut bench);
        bench.act(|agent, now| agent.accept_refer(now, call));
        bench.expect("SIP/2.0 202");
        let first = bench.expect("NOTIFY ");
        bench.act(|agent, now| agent.notify_refer(now, call, 200, ""));
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        bench.quiet();
        bench.receive(&first.response(200, ""));
        let last = bench.expect("NOTIFY ");
        bench.quiet();
        bench.receive(&last.response(200, ""));
        let bye = bench.expect("BYE ");
        bench.receive(&bye.response(200, ""));
        bench.empty();
    }

    #[test]
    fn hangup_gives_up_on_a_last_notify_that_nobody_answers() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&refer(&ok, "2", TO_BOB));
        asked(&mut bench);
        bench.act(|agent, now| agent.accept_refer(now, call));
        bench.act(|agent, now| agent.notify_refer(now, call, 200, ""));
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        bench.pass(Duration::from_secs(70));
        assert!(bench.all_sent().last().unwrap().starts_with("BYE "));
        bench.empty();
    }

    #[test]
    fn rfc3515_our_refer_is_followed_to_its_end() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER sip:100@192.0.2.10:5060 ");
        assert_eq!(refer.header("Refer-To"), "<sip:bob@192.0.2.10>");
        assert_eq!(refer.header("Referred-By"), "<sip:200@branch.example>");
        assert_eq!((refer.header("X-A"), refer.all("Via").len()), ("b", 1));
        let again = bench.act(|agent, now| agent.refer(now, call, &bob()));
        assert_eq!(again.unwrap_err().status, 491);
        // RFC 3515 §2.4.4: NOTIFY may come before the 202.
        bench.receive(&notify(&refer, "1", ACTIVE, "SIP/2.0 100 Trying\n"));
        bench.expect("SIP/2.0 200");
        bench.receive(&refer.response(202, ""));
        bench.receive(&notify(&refer, "2", ACTIVE, "SIP/2.0 180 Ringing\n"));
        bench.expect("SIP/2.0 200");
        bench.quiet();
        bench.receive(&notify(&refer, "3", TERMINATED, "SIP/2.0 200 OK\n"));
        bench.expect("SIP/2.0 200");
        let Event::Transferred { call: of, status, reason } = bench.event() else { panic!() };
        assert_eq!((of, status, reason.as_str()), (call, 200, "OK"));
        // The subscription is over.
        bench.receive(&notify(&refer, "4", TERMINATED, "SIP/2.0 200 OK\n"));
        bench.expect("SIP/2.0 481");
        bench.quiet();
    }

    #[test]
    fn number_is_looked_for_where_the_peer_is_at_home() {
        // RFC 3323 §4.1: a caller who hides has no home in From.
        let hidden = |text: &str| text.replace("100@192.0.2.10>;tag", "x@anonymous.invalid>;tag");
        let mut bench = Bench::new();
        bench.receive(&hidden(&invite()));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        let call = incoming.call;
        bench.act(|agent, now| agent.accept(now, call, &Vec::new(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.receive(&hidden(&ok.ack()));
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        assert_eq!(refer.header("Refer-To"), "<sip:bob@192.0.2.10:5060>");
    }

    #[test]
    fn phone_is_referred_to_a_number_at_us() {
        let mut bench = Bench::new();
        let binding = kept("sip:alice@10.0.0.5:5062", PHONE);
        bench.act(|agent, now| agent.restore(now, "alice", vec![binding]));
        let target = Target::User { name: "alice".into() };
        let call = bench.act(|agent, now| agent.invite(now, Invite { target, ..to_trunk() }));
        let invite = bench.expect("INVITE ");
        let contact = "Contact: <sip:alice@10.0.0.5:5062>\n";
        bench.receive_from(PHONE, &invite.answer(200, "u1", contact, ANSWER));
        bench.expect("ACK ");
        bench.act(|agent, now| agent.refer(now, call.unwrap(), &bob())).unwrap();
        let refer = bench.expect("REFER ");
        assert_eq!(refer.header("Refer-To"), "<sip:bob@192.0.2.1:5060>");
        assert_eq!(refer.to, PHONE.parse().unwrap());
    }

    #[test]
    fn our_refer_that_is_refused_or_forgotten_is_told() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        bench.receive(&refer.response(603, ""));
        assert!(matches!(bench.event(), Event::Transferred { status: 603, .. }));
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        bench.receive(&refer.response(202, ""));
        bench.pass(Duration::from_secs(60));
        assert!(matches!(bench.event(), Event::Transferred { status: 408, .. }));
        bench.receive(&notify(&refer, "1", TERMINATED, "SIP/2.0 200 OK\n"));
        bench.expect("SIP/2.0 481");
        bench.quiet();
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn notify_that_says_less_than_it_should_is_understood() {
        for (headers, body, expected) in [
            (TERMINATED, "", 408),
            (TERMINATED, "SIP/2.0 180 Ringing\n", 408),
            ("Event: refer\nSubscription-State: terminated\n", "SIP/2.0 503\n", 503),
            ("o: Refer\n", "\nSIP/2.0 486 Busy Here\nTo: <sip:bob@b>\n", 486),
        ] {
            let mut bench = Bench::new();
            let (call, ..) = bench.connected();
            bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
            let refer = bench.expect("REFER ");
            bench.receive(&refer.response(202, ""));
            bench.receive(&notify(&refer, "1", headers, body));
            bench.expect("SIP/2.0 200");
            let Event::Transferred { status, .. } = bench.event() else { panic!() };
            assert_eq!(status, expected, "{headers}{body}");
        }
    }

    #[test]
    fn notify_of_another_subscription_is_answered_481() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        let number = refer.header("CSeq").split(' ').next().unwrap().to_owned();
        for (branch, event, status) in [
            ("1", "presence".to_owned(), 481),
            ("2", format!("refer;id={number}9"), 481),
            ("3", format!("refer; ID = {number}"), 200),
        ] {
            let headers = format!("Event: {event}\nSubscription-State: active\n");
            bench.receive(&notify(&refer, branch, &headers, "SIP/2.0 100 Trying\n"));
            bench.expect(&format!("SIP/2.0 {status}"));
        }
        bench.quiet();
    }

    #[test]
    fn peer_that_hangs_up_after_its_202_has_been_transferred() {
        for (is_accepted, expected) in [(true, 200), (false, 487)] {
            let mut bench = Bench::new();
            let (call, ok) = bench.answered();
            bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
            let refer = bench.expect("REFER ");
            if is_accepted {
                bench.receive(&refer.response(202, ""));
            }
            bench.receive(&request("BYE", "2", ok.tag("To"), "", ""));
            bench.expect("SIP/2.0 200");
            let Event::Transferred { status, .. } = bench.event() else { panic!() };
            assert_eq!(status, expected);
            assert!(matches!(bench.event(), Event::Ended { .. }));
            bench.empty();
        }
    }

    #[test]
    fn challenged_refer_is_signed_and_its_notify_has_the_new_number() {
        let mut bench = Bench::with(|config| {
            config.trunks[0].username = "acc".into();
            config.trunks[0].password = "pw".into();
        });
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\n";
        bench.receive(&refer.answer(407, "", challenge, ""));
        let signed = bench.expect("REFER ");
        assert!(signed.header("Proxy-Authorization").contains("nonce=\"n\""));
        bench.receive(&signed.response(202, ""));
        let number = signed.header("CSeq").split(' ').next().unwrap();
        let headers = format!("Event: refer;id={number}\nSubscription-State: terminated\n");
        bench.receive(&notify(&signed, "1", &headers, "SIP/2.0 200 OK\n"));
        bench.expect("SIP/2.0 200");
        assert!(matches!(bench.event(), Event::Transferred { status: 200, .. }));
    }

    #[test]
    fn rfc5589_attended_refer_names_the_other_dialog_as_its_peer_sees_it() {
        let mut bench = Bench::new();
        let (first, ok) = bench.answered();
        let (second, invite) = bench.calls();
        bench.receive(&invite.answer(200, "t1", CONTACT, ANSWER));
        bench.expect("ACK ");
        bench.act(|agent, now| agent.refer(now, first, &to(ReferTarget::Call(second)))).unwrap();
        let refer = bench.expect("REFER ");
        let (call_id, ours) = (invite.header("Call-ID"), invite.tag("From"));
        let expected = format!(
            "<sip:100@192.0.2.10:5060?Replaces={call_id}%3Bto-tag%3Dt1%3Bfrom-tag%3D{ours}>"
        );
        assert_eq!(refer.header("Refer-To"), expected);
        assert_eq!(refer.tag("From"), ok.tag("To"));
    }

    /// An INVITE of the trunk with Replaces for the call that we answered with `ok`.
    fn replacing(ok: &Sent, more: &str) -> String {
        let replaces = format!("c1@192.0.2.10;to-tag={};from-tag=f1{more}", ok.tag("To"));
        invite()
            .replace("c1@192.0.2.10", "c2@192.0.2.10")
            .replace("z9hG4bK1", "z9hG4bK9")
            .replace("tag=f1", "tag=f9")
            .replace("\n\nv=0", &format!("\nRequire: replaces\nReplaces: {replaces}\n\nv=0"))
    }

    #[test]
    fn rfc3891_invite_with_replaces_finds_its_call() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&replacing(&ok, ""));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        assert_eq!(incoming.replaces, Some(call));
        assert_ne!(incoming.call, call);
    }

    #[test]
    fn rfc3891_replaces_that_fits_nothing_is_refused() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        for (text, status) in [
            (replacing(&ok, "").replace("from-tag=f1", "from-tag=f2"), 481),
            (replacing(&ok, "").replace("c1@", "c7@"), 481),
            (replacing(&ok, "").replace("to-tag=", "to-tag=0"), 481),
            (replacing(&ok, "").replace(";from-tag=f1", ""), 400),
            (replacing(&ok, "\nReplaces: a;to-tag=1;from-tag=2"), 400),
            (replacing(&ok, ";early-only"), 486),
        ] {
            bench.receive(&text);
            bench.expect(&format!("SIP/2.0 {status}"));
            bench.quiet();
        }
        // A dialog that is ending.
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        bench.expect("BYE ");
        bench.receive(&replacing(&ok, ""));
        bench.expect("SIP/2.0 603");
        assert_eq!(bench.agent.usage().calls, 1);
    }

    #[test]
    fn rfc3891_dialog_without_an_answer_is_not_replaced() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.ring(now, call, &ExtraHeaders::new()));
        let ringing = bench.expect("SIP/2.0 180");
        bench.receive(&replacing(&ringing, ""));
        bench.expect("SIP/2.0 481");
        bench.quiet();
    }

    #[test]
    fn refer_of_a_stranger_outside_a_dialog_is_refused_405() {
        let mut bench = Bench::new();
        bench.receive_from(STRANGER, &request("REFER", "1", "", TO_BOB, ""));
        bench.expect("SIP/2.0 405");
        assert_eq!(bench.agent.usage(), Default::default());
    }
}
