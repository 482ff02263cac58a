//! An INVITE of a peer until we answer it (RFC 3261 §13.3).

use std::time::{Duration, Instant};

use super::confirmed::{Confirmed, busy};
use super::refresh;
use super::reliable::{Demand, Reliable};
use super::{
    Call, CallTimer, Calls, Party, Phase, add_extra_headers, extra_headers, extra_headers_and,
    sdp_of,
};
use crate::sip::dialog::Dialog;
use crate::sip::header::Name;
use crate::sip::identity;
use crate::sip::message::{Message, Method, reason_phrase};
use crate::sip::name_addr::NameAddr;
use crate::sip::stack::Stack;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Destination;
use crate::sip::uri::Uri;
use crate::sip::user_agent::{
    EarlyOffer, Event, ExtraHeaders, Incoming, MAX_FORWARDS, Peer, Prack,
};
use crate::sip::{inspection, options};
use crate::stats;

/// An incoming call before its final response.
pub(super) struct Alerting {
    pub source: Destination,
    pub invite: Message,
    pub transaction: TransactionId,
    /// Local tag.
    tag: String,
    /// User part of our Contact.
    pub contact: String,
    is_phone: bool,
    /// The last 18x, without what makes it reliable.
    progress: Option<Message>,
    /// When it was sent, and how many were by then.
    progressed: Option<(Instant, u8)>,
    demand: Demand,
    /// From the first reliable response on.
    pub reliable: Option<Box<Reliable>>,
    /// CSeq of the caller's last request.
    heard: u32,
}

/// An INVITE that may become a call.
pub struct Arrived {
    pub peer: Peer,
    pub invite: Message,
    pub source: Destination,
}

impl Calls {
    /// Takes an INVITE in: 100 at once, then `Event::Incoming`.
    pub fn take_in(&mut self, now: Instant, stack: &mut Stack, arrived: Arrived) {
        let Arrived { peer, invite, source } = arrived;
        if let Some(response) = refresh::refuse_brief(stack, &invite) {
            return stack.answer(now, source, response);
        }
        let prack = match &peer {
            Peer::Trunk(name) => stack.trunk(name).map_or(Prack::default(), |trunk| trunk.prack),
            Peer::User(_) => Prack::default(),
        };
        let demand = match Demand::of(&invite, prack) {
            Ok(demand) => demand,
            Err(refusal) => {
                let response = refusal.response(stack, &invite);
                return stack.answer(now, source, response);
            }
        };
        let replaces = match self.replaced_by(&invite) {
            Ok(replaces) => replaces,
            Err(status) => {
                stats::SIP_REFUSED_REQUESTS.add(1);
                let response = stack.response(&invite, status);
                return stack.answer(now, source, response);
            }
        };
        let Some(id) = self.insert() else {
            stats::SIP_REFUSED_FULL_CALLS.add(1);
            return stack.refuse_full(now, &invite, source);
        };
        let tag = Call::new_tag(id, stack);
        let Some(transaction) = stack.serve(now, &invite, source, Some(tag.clone())) else {
            self.slots.remove(id.0);
            return;
        };
        let trying = Message::response_to(&invite, 100, "");
        stack.table.respond(now, &mut stack.transports, transaction, &trying);
        let request_uri = match invite.request_uri() {
            Some(uri) => uri.clone(),
            None => Uri::sip("", "", None),
        };
        let policy = stack.policy(&peer);
        let incoming = Incoming {
            call: id,
            source: source.peer(),
            from: invite.from.clone(),
            to: invite.to.clone(),
            number: policy.map_or_else(
                || request_uri.user.clone().unwrap_or_default(),
                |policy| policy.number(&invite),
            ),
            caller: policy.and_then(|policy| policy.caller(&invite)),
            diversions: policy.map_or_else(Vec::new, |_| identity::diversions(&invite)),
            headers: match policy {
                Some(policy) => extra_headers_and(&invite, |name| policy.passes(name)),
                None => extra_headers(&invite),
            },
            peer,
            offer: sdp_of(&invite),
            max_forwards: hops_left(&invite),
            replaces,
            request_uri,
        };
        let party = Party::of(&incoming.peer);
        let alerting = Alerting {
            source,
            transaction,
            tag,
            contact: incoming.request_uri.user.clone().unwrap_or_default(),
            is_phone: matches!(incoming.peer, Peer::User(_)),
            progress: None,
            progressed: None,
            demand,
            reliable: None,
            heard: invite.cseq.number,
            invite,
        };
        if let Some(call) = self.slots.get_mut(id.0) {
            call.phase = Phase::Alerting(Box::new(alerting));
            call.party = party;
        }
        stack.tell(Event::Incoming(Box::new(incoming)));
    }
}

impl Call {
    /// 180 without SDP.
    pub(super) fn ring(&mut self, now: Instant, stack: &mut Stack, headers: &ExtraHeaders) {
        if let Phase::Alerting(alerting) = &mut self.phase {
            let response = alerting.response(stack, 180, headers);
            if !alerting.may_send(now, &response) {
                return stats::SIP_PROVISIONALS_SKIPPED.add(1);
            }
            self.send_progress(now, stack, response);
        }
    }

    /// 183 with SDP.
    pub(super) fn progress(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        headers: &ExtraHeaders,
        sdp: Vec<u8>,
    ) {
        if let Phase::Alerting(alerting) = &mut self.phase {
            let mut response = alerting.response(stack, 183, headers);
            // An offer in a response that may get lost is none (RFC 3261 §13.2.1).
            if sdp_of(&alerting.invite).is_some() || alerting.early_offer() != EarlyOffer::No {
                response.set_body(super::SDP, sdp);
            }
            self.send_progress(now, stack, response);
        }
    }

    fn send_progress(&mut self, now: Instant, stack: &mut Stack, response: Message) {
        let Phase::Alerting(alerting) = &mut self.phase else { return };
        stack.timers.arm((self.id, CallTimer::Progress), now + PROGRESS_INTERVAL);
        alerting.progress = Some(response.clone());
        if !alerting.demand.includes(&response) {
            stack.table.respond(now, &mut stack.transports, alerting.transaction, &response);
            return;
        }
        let new = || Box::new(Reliable::new(&alerting.invite, stack));
        alerting.reliable.get_or_insert_with(new).push(response);
        self.proceed(now, stack);
    }

    pub(super) fn on_progress_timer(&mut self, now: Instant, stack: &mut Stack) {
        if let Phase::Alerting(alerting) = &mut self.phase
            && let Some(mut response) = alerting.progress.take()
        {
            // What was described reliably is known.
            if alerting.reliable.as_ref().is_some_and(|reliable| reliable.has_described()) {
                response.headers.remove(&Name::ContentType);
                response.body.clear();
            }
            self.send_progress(now, stack, response);
        }
    }

    /// 200 with SDP.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        headers: &ExtraHeaders,
        display_name: Option<&str>,
        sdp: Vec<u8>,
    ) {
        let Phase::Alerting(alerting) = &mut self.phase else { return };
        let (mut has_described, mut late_prack) = (false, None);
        if let Some(reliable) = &mut alerting.reliable {
            if reliable.holds(headers, display_name, &sdp) {
                return;
            }
            has_described = reliable.has_described();
            late_prack = reliable.awaited();
        }
        let Alerting { invite, tag, contact, is_phone, .. } = &**alerting;
        let mut dialog = match Dialog::of_invite(invite, tag, alerting.source, contact, *is_phone) {
            Ok(dialog) => dialog,
            // The Record-Route of the INVITE is broken: we could never send a request.
            Err(_) => {
                self.end_alerting(now, stack, 400, &ExtraHeaders::new());
                return self.tell_cancelled(stack, 400, ExtraHeaders::new());
            }
        };
        let mut response = alerting.response(stack, 200, headers);
        if let Some(name) = display_name.filter(|name| !name.is_empty()) {
            let mut identity = dialog.local.clone();
            identity.display_name = name.to_owned();
            identity.parameters.clear();
            match self.party.policy(stack) {
                Some(policy) => policy.assert_answer(&mut response, identity),
                None => response.headers.push(Name::PAssertedIdentity, identity.to_string()),
            }
        }
        response.headers.push(Name::Allow, inspection::ALLOW);
        response.headers.push(Name::Supported, inspection::SUPPORTED);
        let interval = refresh::answer(&stack.config.session_timer, invite, None, &mut response);
        // A description that was acknowledged is not repeated (RFC 6337 §3.1).
        if !has_described {
            response.set_body(super::SDP, sdp);
        }
        dialog.set_heard(alerting.heard);
        let number = alerting.invite.cseq.number;
        let allows_update = refresh::allows_update(invite);
        let transaction = alerting.transaction;
        stack.timers.disarm((self.id, CallTimer::Progress));
        stack.timers.disarm((self.id, CallTimer::Reliable));
        let mut confirmed = Confirmed::of_invite(dialog);
        confirmed.allows_update = allows_update;
        confirmed.late_prack = late_prack;
        self.phase = Phase::Confirmed(Box::new(confirmed));
        self.run_timer(now, stack, interval);
        self.send_answer(now, stack, transaction, number, &response);
    }

    /// A final refusal; the session has let go of the call.
    pub(super) fn reject(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
        headers: &ExtraHeaders,
    ) {
        if let Phase::Alerting(_) = self.phase {
            self.is_held = false;
            self.end_alerting(now, stack, status, headers);
        }
    }

    /// The caller gave up: 487 (RFC 3261 §9.2).
    pub(super) fn cancel_alerting(&mut self, now: Instant, stack: &mut Stack, why: &Message) {
        self.end_alerting(now, stack, 487, &ExtraHeaders::new());
        self.tell_cancelled(stack, 487, extra_headers(why));
    }

    pub(super) fn on_cancel(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        transaction: TransactionId,
        cancel: &Message,
    ) {
        match &self.phase {
            Phase::Alerting(alerting) if alerting.transaction == transaction => {
                self.cancel_alerting(now, stack, cancel);
            }
            Phase::Confirmed(_) => self.cancel_change(now, stack, transaction),
            _ => {}
        }
    }

    pub(super) fn end_alerting(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
        headers: &ExtraHeaders,
    ) {
        // An offer of a PRACK that the session has not answered.
        self.reject_early_change(now, stack, 487);
        let Phase::Alerting(alerting) = &self.phase else { return };
        let mut response = alerting.response(stack, status, headers);
        if status == 503 {
            response.headers.push(Name::RetryAfter, crate::sip::stack::RETRY_AFTER_S);
        }
        stack.table.respond(now, &mut stack.transports, alerting.transaction, &response);
        self.phase = Phase::Over;
    }

    pub(super) fn tell_cancelled(&self, stack: &mut Stack, status: u16, headers: ExtraHeaders) {
        let reason = reason_phrase(status).to_owned();
        self.tell(stack, Event::Cancelled { call: self.id, status, reason, headers });
    }
}

impl Alerting {
    /// Whether a request has the tags of the early dialog.
    pub fn has(&self, request: &Message) -> bool {
        request.call_id == self.invite.call_id
            && request.to.tag() == Some(&self.tag)
            && request.from.tag() == self.invite.from.tag()
    }

    /// Whether a 18x of ours may carry our offer.
    pub fn early_offer(&self) -> EarlyOffer {
        let has_described = self.reliable.as_ref().is_some_and(|one| one.has_described());
        match self.demand {
            _ if has_described || sdp_of(&self.invite).is_some() => EarlyOffer::No,
            Demand::None => EarlyOffer::No,
            Demand::Descriptions => EarlyOffer::Possible,
            Demand::All => EarlyOffer::Required,
        }
    }

    /// `ring()` may be called in a loop: not the same again at once, and not without end.
    fn may_send(&mut self, now: Instant, response: &Message) -> bool {
        let (is_same_again, sent) = match (self.progressed, &self.progress) {
            (Some((at, sent)), Some(last)) => (now < at + SAME_AGAIN && last == response, sent),
            (Some((_, sent)), None) => (false, sent),
            (None, _) => (false, 0),
        };
        let may = !is_same_again && sent < PROVISIONALS;
        if may {
            self.progressed = Some((now, sent + 1));
        }
        may
    }

    /// With what makes a dialog (RFC 3261 §12.1.1): tag, Contact and Record-Route.
    fn response(&self, stack: &Stack, status: u16, headers: &ExtraHeaders) -> Message {
        let mut response = Message::response_to(&self.invite, status, "");
        response.to.set_tag(self.tag.as_str());
        if status < 300 {
            for route in self.invite.headers.all(&Name::RecordRoute) {
                response.headers.push(Name::RecordRoute, route);
            }
            let contact: NameAddr = stack.contact(self.source, &self.contact, &self.invite);
            response.headers.push(Name::Contact, contact.to_string());
        }
        if !stack.config.product.is_empty() {
            response.headers.push(Name::Server, stack.config.product.as_str());
        }
        inspection::explain(stack, &mut response);
        add_extra_headers(&mut response, headers);
        response
    }
}

impl Call {
    /// A request of the caller before our answer (RFC 3261 §15: BYE ends the early dialog).
    pub(super) fn on_early_request(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) -> bool {
        let Phase::Alerting(alerting) = &mut self.phase else { return false };
        if let Some(refusal) = inspection::inspect(request) {
            stack.answer(now, source, refusal.response(stack, request));
            return true;
        }
        if request.cseq.number <= alerting.heard {
            stats::SIP_REFUSED_REQUESTS.add(1);
            let response = stack.response(request, 500);
            stack.answer(now, source, response);
            return true;
        }
        alerting.heard = request.cseq.number;
        match request.method() {
            Method::Bye => {
                let response = stack.response(request, 200);
                stack.answer(now, source, response);
                self.cancel_alerting(now, stack, request);
            }
            Method::Prack => self.on_prack(now, stack, request, source),
            Method::Update => self.on_caller_update(now, stack, request, source),
            Method::Info | Method::Message => self.on_content(now, stack, request, source),
            Method::Options => stack.answer(now, source, options::response(stack, request)),
            Method::Invite => {
                // RFC 3261 §14.2: its turn comes after our final response.
                stats::SIP_REFUSED_REQUESTS.add(1);
                let response = busy(stack, request);
                stack.answer(now, source, response);
            }
            _ => stack.answer(now, source, inspection::not_allowed(stack, request)),
        }
        true
    }
}

/// What a call that goes on from this one may still pass. Without it, a number that leads back to
/// us would go round until we are full.
fn hops_left(invite: &Message) -> u8 {
    let hops = invite.headers.max_forwards().unwrap_or(MAX_FORWARDS);
    hops.min(MAX_FORWARDS).saturating_sub(1)
}

/// How soon the same 18x goes out again at a script's wish.
const SAME_AGAIN: Duration = Duration::from_secs(1);
/// Most `ring()` of one call: one each second of a minute, and a few.
const PROVISIONALS: u8 = 64;
/// RFC 3261 §13.3.1.1: every minute.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{Bench, invite, request};

    fn none() -> ExtraHeaders {
        ExtraHeaders::new()
    }

    #[test]
    fn rfc7332_call_that_goes_on_may_pass_one_gateway_less() {
        let left = [("70", 69), ("5", 4), ("1", 0), ("255", 69)];
        for (hops, expected) in left.map(|(hops, left)| (format!("Max-Forwards: {hops}\n"), left)) {
            let mut bench = Bench::new();
            bench.receive(&invite().replace("Max-Forwards: 70\n", &hops));
            let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
            assert_eq!(incoming.max_forwards, expected, "{hops}");
        }
    }

    #[test]
    fn invite_is_answered_100_at_once_and_told_with_what_it_carries() {
        let mut bench = Bench::new();
        let text = invite().replace("\n\nv=0", "\nx-Two: 2\nX-Two: 3\nUser-to-User: 4\n\nv=0");
        bench.receive(&text);
        let trying = bench.expect("SIP/2.0 100 Trying");
        assert_eq!(trying.tag("To"), "");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        assert_eq!(incoming.peer, Peer::Trunk("pbx".into()));
        assert_eq!(incoming.request_uri.user.as_deref(), Some("200"));
        assert_eq!(incoming.from.uri.user.as_deref(), Some("100"));
        assert_eq!(incoming.offer.as_deref(), Some(&b"v=0\n"[..]));
        let expected = [("x-Two", "2, 3"), ("User-to-User", "4")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(incoming.headers, expected);
        bench.quiet();
    }

    #[test]
    fn invite_again_gets_the_last_provisional_again() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.receive(&invite());
        bench.expect("SIP/2.0 100");
        bench.act(|agent, now| agent.ring(now, call, &none()));
        let ringing = bench.expect("SIP/2.0 180 Ringing");
        assert_ne!(ringing.tag("To"), "");
        assert_eq!(ringing.header("Contact"), "<sip:200@192.0.2.1:5060>");
        bench.receive(&invite());
        assert_eq!(bench.sent().text, ringing.text);
        bench.quiet();
    }

    #[test]
    fn ringing_is_sent_again_every_minute() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.ring(now, call, &none()));
        bench.pass(Duration::from_secs(125));
        assert_eq!(bench.all_sent(), ["180 Ringing"; 3]);
    }

    #[test]
    fn early_media_is_a_183_with_sdp_and_headers() {
        let mut bench = Bench::new();
        let call = bench.called();
        let headers = vec![("X-A".into(), "b".into()), ("Via".into(), "evil".into())];
        bench.act(|agent, now| agent.progress(now, call, &headers, b"v=0".to_vec()));
        let progress = bench.expect("SIP/2.0 183");
        assert_eq!((progress.body(), progress.header("X-A")), ("v=0", "b"));
        assert_eq!(progress.header("Content-Type"), "application/sdp");
        assert_eq!(progress.all("Via").len(), 1);
    }

    #[test]
    fn answer_makes_a_dialog_that_the_ack_confirms() {
        let mut bench = Bench::new();
        let text = invite().replace(
            "\n\nv=0",
            "\nRecord-Route: <sip:p2.example;lr>\nRecord-Route: <sip:p1.example;lr>\n\nv=0",
        );
        bench.receive(&text);
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        let call = incoming.call;
        bench.act(|agent, now| agent.accept(now, call, &none(), Some("Desk"), b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200 OK");
        assert_eq!(ok.all("Record-Route"), ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]);
        assert_eq!(ok.header("P-Asserted-Identity"), "\"Desk\" <sip:200@192.0.2.1>");
        assert_eq!(bench.agent.usage().dialogs, 1);
        bench.receive(&ok.ack());
        assert!(matches!(bench.event(), Event::Confirmed { sdp: None, .. }));
        bench.quiet();
    }

    #[test]
    fn ack_carries_the_answer_to_our_offer() {
        let mut bench = Bench::new();
        bench.receive(&request("INVITE", "1", "", "", ""));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        assert_eq!(incoming.offer, None);
        bench.act(|agent, now| agent.accept(now, incoming.call, &none(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        let sdp = "Content-Type: application/sdp\n";
        bench.receive(&request("ACK", "1.ack", ok.tag("To"), sdp, "v=1"));
        let Event::Confirmed { sdp, .. } = bench.event() else { panic!("Confirmed") };
        assert_eq!(sdp.as_deref(), Some(&b"v=1"[..]));
    }

    #[test]
    fn ack_with_the_branch_of_the_invite_confirms_too() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.accept(now, call, &none(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.receive(&request("ACK", "1", ok.tag("To"), "", ""));
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
    }

    #[test]
    fn answer_is_sent_again_until_its_ack() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.accept(now, call, &none(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        // 0.5, 1.5, 3.5 s.
        bench.pass(Duration::from_secs(4));
        assert_eq!(bench.all_sent(), ["200 OK"; 3]);
        // RFC 6026: the INVITE again is absorbed meanwhile.
        bench.receive(&invite());
        bench.quiet();
        bench.receive(&ok.ack());
        bench.receive(&ok.ack());
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
        bench.pass(Duration::from_secs(60));
        bench.quiet();
    }

    #[test]
    fn answer_without_ack_ends_with_bye_after_32_seconds() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.accept(now, call, &none(), None, b"v=0".to_vec()));
        bench.pass(Duration::from_millis(31_999));
        // 0, 0.5, 1.5, 3.5, 7.5, 11.5, ... 31.5 s.
        assert_eq!(bench.all_sent(), ["200 OK"; 11]);
        bench.pass(Duration::from_millis(1));
        let bye = bench.expect("BYE sip:100@192.0.2.10:5060 SIP/2.0");
        assert!(matches!(bench.event(), Event::Ended { status: 408, .. }));
        bench.receive(&bye.response(200, ""));
        bench.empty();
    }

    #[test]
    fn refusal_is_sent_again_until_its_ack_and_the_call_is_gone_at_once() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.reject(now, call, 486, &none()));
        let busy = bench.expect("SIP/2.0 486 Busy Here");
        assert_eq!(bench.agent.usage().calls, 0);
        bench.pass(Duration::from_secs(2));
        assert_eq!(bench.all_sent(), ["486 Busy Here"; 2]);
        bench.receive(&invite());
        bench.expect("SIP/2.0 486");
        bench.receive(&request("ACK", "1", busy.tag("To"), "", ""));
        bench.pass(Duration::from_secs(3));
        bench.quiet();
        bench.empty();
    }

    #[test]
    fn hangup_of_an_unanswered_call_is_603() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        bench.expect("SIP/2.0 603 Decline");
        bench.quiet();
    }

    #[test]
    fn cancel_is_answered_200_and_the_invite_487() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.ring(now, call, &none()));
        let ringing = bench.expect("SIP/2.0 180");
        let cancel = request("CANCEL", "1", "", "X-Why: tired\n", "");
        bench.receive(&cancel);
        let ok = bench.expect("SIP/2.0 200 OK");
        assert_eq!(ok.header("CSeq"), "1 CANCEL");
        assert_eq!(ok.tag("To"), ringing.tag("To"));
        let terminated = bench.expect("SIP/2.0 487 Request Terminated");
        assert_eq!(terminated.header("CSeq"), "1 INVITE");
        let Event::Cancelled { status, headers, .. } = bench.event() else { panic!("Cancelled") };
        assert_eq!((status, headers), (487, vec![("X-Why".into(), "tired".into())]));
        // The 200 got lost.
        bench.receive(&cancel);
        bench.expect("SIP/2.0 200 OK");
        bench.receive(&request("ACK", "1", terminated.tag("To"), "", ""));
        bench.quiet();
        bench.empty();
    }

    #[test]
    fn cancel_after_200_is_answered_481() {
        let mut bench = Bench::new();
        bench.answered();
        bench.receive(&request("CANCEL", "1", "", "", ""));
        bench.expect("SIP/2.0 481");
        bench.quiet();
    }

    #[test]
    fn cancel_of_nothing_is_answered_481() {
        let mut bench = Bench::new();
        bench.receive(&request("CANCEL", "1", "", "", ""));
        bench.expect("SIP/2.0 481");
        assert_eq!(bench.agent.usage(), crate::sip::user_agent::Usage::default());
    }

    #[test]
    fn bye_before_the_answer_ends_the_early_dialog() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.ring(now, call, &none()));
        let ringing = bench.expect("SIP/2.0 180");
        bench.receive(&request("BYE", "2", ringing.tag("To"), "", ""));
        bench.expect("SIP/2.0 200");
        bench.expect("SIP/2.0 487");
        assert!(matches!(bench.event(), Event::Cancelled { status: 487, .. }));
    }

    #[test]
    fn fork_of_an_invite_is_refused_482() {
        let mut bench = Bench::new();
        bench.called();
        bench.receive(&invite().replace("z9hG4bK1", "z9hG4bKother"));
        bench.expect("SIP/2.0 482 Loop Detected");
        bench.quiet();
    }

    #[test]
    fn surplus_call_is_refused_503_with_retry_after() {
        let mut bench = Bench::with(|config| config.limits.calls = 1);
        bench.called();
        let other = invite().replace("c1@", "c2@").replace("z9hG4bK1", "z9hG4bK2");
        bench.receive(&other);
        let refused = bench.expect("SIP/2.0 503");
        assert_eq!(refused.header("Retry-After"), "5");
        assert_eq!(bench.agent.usage().calls, 1);
    }

    #[test]
    fn surplus_transaction_is_refused_503_with_retry_after() {
        let mut bench = Bench::with(|config| config.limits.transactions = 1);
        bench.called();
        let other = invite().replace("c1@", "c2@").replace("z9hG4bK1", "z9hG4bK2");
        bench.receive(&other);
        let refused = bench.expect("SIP/2.0 503");
        assert_eq!(refused.header("Retry-After"), "5");
        assert_eq!(bench.agent.usage().calls, 1);
    }

    #[test]
    fn broken_record_route_is_refused_when_it_would_be_needed() {
        let mut bench = Bench::new();
        bench.receive(&invite().replace("\n\nv=0", "\nRecord-Route: <bad\n\nv=0"));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        bench.act(|agent, now| agent.accept(now, incoming.call, &none(), None, Vec::new()));
        bench.expect("SIP/2.0 400");
        assert!(matches!(bench.event(), Event::Cancelled { status: 400, .. }));
    }
}
