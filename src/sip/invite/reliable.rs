//! Our provisional responses that must arrive (RFC 3262 §3): those with a description, and all
//! where the caller requires it.
//!
//! ```text
//! send --> unacknowledged --PRACK--> the next of the queue, or the 2xx that waited
//!          unacknowledged --64 T1--> the INVITE is refused with 504
//! ```
//! Invariant: one is unacknowledged at a time, and no 2xx leaves while it carries a description
//! or while an offer of the caller waits for the session.
//!
//! Requests that bring an offer into the early dialog end in [`Call::take_early_offer`]: PRACK
//! here, and any other that is taken before the answer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Call, CallTimer, Phase, sdp_of};
use crate::sip::fields::RAck;
use crate::sip::header::{Headers, Name};
use crate::sip::inspection::{Refusal, SUPPORTED};
use crate::sip::message::{Message, Method};
use crate::sip::stack::Stack;
use crate::sip::transaction::{PATIENCE, T1, TransactionId};
use crate::sip::transport::Destination;
use crate::sip::user_agent::{Event, ExtraHeaders, Prack};
use crate::stats;

/// Which of our 18x to an INVITE are sent reliably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    None,
    Descriptions,
    All,
}

impl Demand {
    /// From what the caller says and what is configured.
    pub fn of(invite: &Message, prack: Prack) -> Result<Self, Refusal> {
        let requires = invite.headers.requires(OPTION);
        let supports = requires || invite.headers.supports(OPTION);
        match (prack, supports) {
            (Prack::Off, _) if requires => Err(Refusal::Extension(OPTION.to_owned())),
            (Prack::Off, _) | (Prack::Supported, false) => Ok(Self::None),
            (Prack::Supported, true) if !requires => Ok(Self::Descriptions),
            (Prack::Required, false) => Err(Refusal::Needed(OPTION)),
            (Prack::Supported | Prack::Required, true) => Ok(Self::All),
        }
    }

    pub fn includes(self, response: &Message) -> bool {
        match self {
            Self::None => false,
            Self::Descriptions => !response.body.is_empty(),
            Self::All => true,
        }
    }
}

/// The reliable responses to one INVITE; made with the first.
pub(super) struct Reliable {
    /// RSeq of the next one.
    next_number: u32,
    unacknowledged: Option<Provisional>,
    /// Those that wait. Full: the next is not sent, counted as `sip_provisionals_skipped_total`.
    queue: VecDeque<Message>,
    exchange: Exchange,
    /// The INVITE had no offer: the first reliable response must carry ours (§5).
    makes_offer: bool,
    /// A request with an offer that waits for `accept_change` or `reject_change`.
    offer: Option<EarlyOffer>,
    /// The session's 2xx that may not leave yet.
    answer: Option<Box<Answer>>,
}

struct Provisional {
    number: u32,
    response: Message,
    interval: Duration,
    gives_up: Instant,
}

/// Offer and answer in reliable responses and their PRACKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exchange {
    Open,
    /// Our description is in the unacknowledged response.
    Sent,
    Done,
}

struct EarlyOffer {
    transaction: TransactionId,
    request: Message,
    source: Destination,
}

struct Answer {
    headers: ExtraHeaders,
    display_name: Option<String>,
    sdp: Vec<u8>,
}

impl Reliable {
    pub fn new(invite: &Message, stack: &mut Stack) -> Self {
        Self {
            next_number: 1 + (stack.random.next_u32() >> 1) % FIRST_RSEQ,
            unacknowledged: None,
            queue: VecDeque::new(),
            exchange: Exchange::Open,
            makes_offer: sdp_of(invite).is_none(),
            offer: None,
            answer: None,
        }
    }

    /// Our description was sent: another must not go into a response to the INVITE.
    pub fn has_described(&self) -> bool {
        self.exchange != Exchange::Open
    }

    /// Why a request may not bring an offer now: 491 while ours is open, 500 while the caller's is
    /// (RFC 3311 §5.2).
    pub fn objection(&self) -> Option<u16> {
        match self.exchange {
            _ if self.offer.is_some() => Some(500),
            Exchange::Done => None,
            Exchange::Sent if self.makes_offer => Some(491),
            Exchange::Sent | Exchange::Open => Some(500),
        }
    }

    /// RSeq of the response whose PRACK may still come.
    pub fn awaited(&self) -> Option<u32> {
        self.unacknowledged.as_ref().map(|provisional| provisional.number)
    }

    pub fn push(&mut self, response: Message) {
        if self.queue.len() >= QUEUE {
            return stats::SIP_PROVISIONALS_SKIPPED.add(1);
        }
        self.queue.push_back(response);
    }

    /// Whether a 2xx has to wait; then it is kept.
    pub fn holds(
        &mut self,
        headers: &ExtraHeaders,
        display_name: Option<&str>,
        sdp: &[u8],
    ) -> bool {
        let holds = self.exchange == Exchange::Sent || self.offer.is_some();
        if holds {
            let (headers, display_name) = (headers.clone(), display_name.map(str::to_owned));
            self.answer = Some(Box::new(Answer { headers, display_name, sdp: sdp.to_vec() }));
        }
        holds
    }

    /// Takes the next response that may be sent now, with its RSeq.
    fn next(&mut self, now: Instant) -> Option<&Provisional> {
        if self.unacknowledged.is_some() || self.answer.is_some() {
            return None;
        }
        let needs_offer = self.makes_offer && self.exchange == Exchange::Open;
        let place = self.queue.iter().position(|next| !needs_offer || !next.body.is_empty())?;
        let mut response = self.queue.remove(place)?;
        if !response.body.is_empty() {
            self.exchange = Exchange::Sent;
        }
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        response.headers.push(Name::Require, OPTION);
        response.headers.push(Name::RSeq, number.to_string());
        let provisional = Provisional { number, response, interval: T1, gives_up: now + PATIENCE };
        Some(self.unacknowledged.insert(provisional))
    }

    /// Whether this PRACK acknowledges our last response.
    fn is_meant_by(&self, rack: &RAck, invite: &Message) -> bool {
        rack.request == invite.cseq && self.awaited() == Some(rack.response)
    }
}

impl Call {
    /// Sends the next reliable response, or the 2xx that waited.
    pub(super) fn proceed(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Alerting(alerting) = &mut self.phase else { return };
        let Some(reliable) = &mut alerting.reliable else { return };
        if reliable.offer.is_some() {
            return;
        }
        if reliable.exchange != Exchange::Sent
            && let Some(answer) = reliable.answer.take()
        {
            let Answer { headers, display_name, sdp } = *answer;
            return self.accept(now, stack, &headers, display_name.as_deref(), sdp);
        }
        if let Some(provisional) = reliable.next(now) {
            let (id, response) = (alerting.transaction, &provisional.response);
            stack.table.respond(now, &mut stack.transports, id, response);
            stack.timers.arm((self.id, CallTimer::Reliable), now + T1);
        }
    }

    /// The unacknowledged response again, over reliable transports too: it is for the far end.
    pub(super) fn on_reliable_timer(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Alerting(alerting) = &mut self.phase else { return };
        let reliable = alerting.reliable.as_mut();
        let Some(provisional) = reliable.and_then(|one| one.unacknowledged.as_mut()) else {
            return;
        };
        if now >= provisional.gives_up {
            stats::SIP_PRACKS_MISSED.add(1);
            return self.refuse_unacknowledged(now, stack);
        }
        stats::SIP_RETRANSMISSIONS.add(1);
        let (id, response) = (alerting.transaction, &provisional.response);
        stack.table.respond(now, &mut stack.transports, id, response);
        provisional.interval *= 2;
        let next = (now + provisional.interval).min(provisional.gives_up);
        stack.timers.arm((self.id, CallTimer::Reliable), next);
    }

    /// PRACK before our final response.
    pub(super) fn on_prack(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let Phase::Alerting(alerting) = &mut self.phase else { return };
        let status = match (request.headers.rack(), &mut alerting.reliable) {
            (None, _) => 400,
            (Some(rack), Some(reliable)) if reliable.is_meant_by(&rack, &alerting.invite) => 200,
            (Some(_), _) => 481,
        };
        if status != 200 {
            return refuse(now, stack, request, source, status);
        }
        // Without room for its transaction it is refused, and comes again.
        let Some(transaction) = stack.serve(now, request, source, None) else { return };
        let Some(reliable) = &mut alerting.reliable else { return };
        let Some(acknowledged) = reliable.unacknowledged.take() else { return };
        stack.timers.disarm((self.id, CallTimer::Reliable));
        let had_description = !acknowledged.response.body.is_empty();
        let description = sdp_of(request);
        let is_answer = had_description && reliable.makes_offer;
        if had_description {
            // Without an answer our offer is made again, by the 2xx.
            reliable.exchange = match is_answer && description.is_none() {
                true => Exchange::Open,
                false => Exchange::Done,
            };
        }
        match description {
            Some(sdp) if is_answer => {
                self.answer_early(now, stack, transaction, request);
                self.tell(stack, Event::EarlyAnswer { call: self.id, sdp });
            }
            Some(_) if reliable.exchange == Exchange::Done => {
                return self.take_early_offer(stack, request, source, transaction);
            }
            _ => self.answer_early(now, stack, transaction, request),
        }
        self.proceed(now, stack);
    }

    /// PRACK after our 2xx, which did not wait for it.
    pub(super) fn on_late_prack(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(rack) = request.headers.rack() else {
            return refuse(now, stack, request, source, 400);
        };
        if rack.request.method != Method::Invite || confirmed.late_prack != Some(rack.response) {
            return refuse(now, stack, request, source, 481);
        }
        let Some(transaction) = stack.serve(now, request, source, None) else { return };
        confirmed.late_prack = None;
        self.answer_early(now, stack, transaction, request);
    }

    fn answer_early(
        &self,
        now: Instant,
        stack: &mut Stack,
        transaction: TransactionId,
        request: &Message,
    ) {
        let response = stack.response(request, 200);
        stack.table.respond(now, &mut stack.transports, transaction, &response);
    }

    /// A request in the early dialog brings an offer: the session answers with `accept_change`
    /// or `reject_change`.
    pub(super) fn take_early_offer(
        &mut self,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
        transaction: TransactionId,
    ) {
        let Phase::Alerting(alerting) = &mut self.phase else { return };
        let Some(reliable) = &mut alerting.reliable else { return };
        let (request, headers) = (request.clone(), super::extra_headers(request));
        let sdp = sdp_of(&request);
        reliable.offer = Some(EarlyOffer { transaction, request, source });
        self.tell(stack, Event::Change { call: self.id, headers, sdp });
    }

    /// Answers the offer of a request in the early dialog.
    pub(super) fn accept_early_change(&mut self, now: Instant, stack: &mut Stack, sdp: Vec<u8>) {
        self.end_early_offer(now, stack, 200, Some(sdp));
    }

    /// What was agreed before stays. A PRACK has done its work all the same.
    pub(super) fn reject_early_change(&mut self, now: Instant, stack: &mut Stack, status: u16) {
        self.end_early_offer(now, stack, status, None);
    }

    /// The caller does not hear us (§3: a 5xx).
    fn refuse_unacknowledged(&mut self, now: Instant, stack: &mut Stack) {
        self.end_alerting(now, stack, 504, &ExtraHeaders::new());
        self.tell_cancelled(stack, 504, ExtraHeaders::new());
    }

    fn end_early_offer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
        sdp: Option<Vec<u8>>,
    ) {
        let Phase::Alerting(alerting) = &mut self.phase else { return };
        let Some(reliable) = &mut alerting.reliable else { return };
        let Some(EarlyOffer { transaction, request, source }) = reliable.offer.take() else {
            return;
        };
        let mut response = stack.response(&request, status);
        if let Some(sdp) = sdp {
            if *request.method() != Method::Prack {
                let contact = stack.contact(source, &alerting.contact, &request).to_string();
                response.headers.push(Name::Contact, contact);
                response.headers.push(Name::Allow, crate::sip::inspection::ALLOW);
            }
            response.set_body(super::SDP, sdp);
        }
        stack.table.respond(now, &mut stack.transports, transaction, &response);
        self.proceed(now, stack);
    }
}

/// Says in an INVITE of ours what its callee may do.
pub(super) fn ask(headers: &mut Headers, prack: Prack) {
    match prack {
        Prack::Off => {
            headers.push(Name::Supported, SUPPORTED.trim_start_matches("100rel, "));
        }
        Prack::Supported => headers.push(Name::Supported, SUPPORTED),
        Prack::Required => {
            headers.push(Name::Supported, SUPPORTED);
            headers.push(Name::Require, OPTION);
        }
    }
}

fn refuse(now: Instant, stack: &mut Stack, request: &Message, source: Destination, status: u16) {
    stats::SIP_REFUSED_REQUESTS.add(1);
    let response = stack.response(request, status);
    stack.answer(now, source, response);
}

/// The option tag (§8).
pub const OPTION: &str = "100rel";
/// The first RSeq is a random one of 31 bits (§3), far enough from their end.
const FIRST_RSEQ: u32 = (1 << 31) - (1 << 16);
/// Ringing, forwarded, queued, and a description.
const QUEUE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{Bench, Sent, invite, request};
    use crate::sip::user_agent::{CallId, EarlyOffer as Early};

    fn none() -> ExtraHeaders {
        ExtraHeaders::new()
    }

    fn with(headers: &str) -> String {
        invite().replace("Content-Type", &format!("{headers}\nContent-Type"))
    }

    /// The trunk calls with these headers in its INVITE.
    fn called(bench: &mut Bench, headers: &str) -> CallId {
        take_in(bench, &with(headers))
    }

    fn take_in(bench: &mut Bench, invite: &str) -> CallId {
        bench.receive(invite);
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        incoming.call
    }

    fn without_offer(headers: &str) -> String {
        request("INVITE", "1", "", &format!("{headers}\n"), "")
    }

    fn progress(bench: &mut Bench, call: CallId) -> Sent {
        bench.act(|agent, now| agent.progress(now, call, &none(), b"v=1".to_vec()));
        bench.expect("SIP/2.0 183")
    }

    fn accept(bench: &mut Bench, call: CallId) {
        bench.act(|agent, now| agent.accept(now, call, &none(), None, b"v=2".to_vec()));
    }

    fn rseq(sent: &Sent) -> u32 {
        sent.header("RSeq").parse().unwrap()
    }

    /// The PRACK of a response; the branch begins with its CSeq.
    fn prack(sent: &Sent, branch: &str, body: &str) -> String {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
        let headers = format!("RAck: {} 1 INVITE\n{kind}", rseq(sent));
        request("PRACK", branch, sent.tag("To"), &headers, body)
    }

    #[test]
    fn description_in_a_183_is_reliable_where_the_caller_supports_it() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: timer, 100REL");
        bench.act(|agent, now| agent.ring(now, call, &none()));
        let ringing = bench.expect("SIP/2.0 180");
        assert_eq!((ringing.header("Require"), ringing.header("RSeq")), ("", ""));
        let early = progress(&mut bench, call);
        assert_eq!(early.header("Require"), "100rel");
        assert!((1..1 << 31).contains(&rseq(&early)));
        bench.receive(&prack(&early, "2", ""));
        let ok = bench.expect("SIP/2.0 200");
        assert_eq!(ok.header("CSeq"), "2 PRACK");
        // The same again gets the same again.
        bench.receive(&prack(&early, "2", ""));
        assert_eq!(bench.sent().text, ok.text);
        accept(&mut bench, call);
        let ok = bench.expect("SIP/2.0 200");
        // RFC 6337 §3.1: what was agreed is not said again.
        assert_eq!(
            (ok.body(), ok.header("Content-Type"), ok.header("Supported")),
            ("", "", "100rel, timer, replaces, norefersub")
        );
        bench.receive(&ok.ack());
        assert!(matches!(bench.event(), Event::Confirmed { sdp: None, .. }));
        bench.quiet();
    }

    #[test]
    fn caller_without_100rel_gets_plain_responses() {
        let mut bench = Bench::new();
        let call = bench.called();
        let early = progress(&mut bench, call);
        assert_eq!((early.header("Require"), early.header("RSeq")), ("", ""));
        bench.pass(Duration::from_secs(50));
        bench.quiet();
        bench.receive(&request("PRACK", "2", early.tag("To"), "RAck: 1 1 INVITE\n", ""));
        bench.expect("SIP/2.0 481");
    }

    #[test]
    fn rfc3262_3_response_without_prack_is_repeated_and_the_invite_refused_504_after_64_t1() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: 100rel");
        let early = progress(&mut bench, call);
        let start = bench.now;
        let mut times = Vec::new();
        for _ in 0..6 {
            let next = bench.agent.poll_timeout().unwrap();
            bench.pass(next - bench.now);
            assert_eq!(bench.sent().text, early.text);
            times.push((bench.now - start).as_millis());
        }
        assert_eq!(times, [500, 1500, 3500, 7500, 15500, 31500]);
        bench.pass(Duration::from_millis(500));
        bench.expect("SIP/2.0 504");
        let Event::Cancelled { call: ended, status: 504, .. } = bench.event() else {
            panic!("Cancelled")
        };
        assert_eq!(ended, call);
        bench.receive(&request("ACK", "1", early.tag("To"), "", ""));
        bench.empty();
    }

    #[test]
    fn rfc3262_3_answer_waits_for_the_prack_of_a_description() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: 100rel");
        let early = progress(&mut bench, call);
        accept(&mut bench, call);
        bench.quiet();
        bench.receive(&prack(&early, "2", ""));
        assert_eq!(bench.expect("SIP/2.0 200").header("CSeq"), "2 PRACK");
        let ok = bench.expect("SIP/2.0 200");
        assert_eq!((ok.header("CSeq"), ok.body()), ("1 INVITE", ""));
        bench.receive(&ok.ack());
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        bench.expect("BYE ");
    }

    #[test]
    fn answer_does_not_wait_for_the_prack_of_ringing() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Require: 100rel");
        bench.act(|agent, now| agent.ring(now, call, &none()));
        let ringing = bench.expect("SIP/2.0 180");
        assert_eq!(ringing.header("Require"), "100rel");
        accept(&mut bench, call);
        let ok = bench.expect("SIP/2.0 200");
        assert_eq!(ok.body(), "v=2");
        // Its PRACK is on the way, and no other.
        bench.receive(&prack(&ringing, "2", "").replace("RAck: ", "RAck: 9"));
        bench.expect("SIP/2.0 481");
        bench.receive(&prack(&ringing, "3", ""));
        assert_eq!(bench.expect("SIP/2.0 200").header("CSeq"), "3 PRACK");
        bench.receive(&prack(&ringing, "4", ""));
        bench.expect("SIP/2.0 481");
        bench.receive(&ok.ack());
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
        bench.receive(&request("BYE", "3.b", ok.tag("To"), "", ""));
        // The numbers of the early dialog count on.
        bench.expect("SIP/2.0 500");
        bench.receive(&request("BYE", "5", ok.tag("To"), "", ""));
        bench.expect("SIP/2.0 200");
    }

    #[test]
    fn next_reliable_response_waits_for_the_prack_of_the_last() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Require: 100rel");
        bench.act(|agent, now| agent.ring(now, call, &none()));
        let ringing = bench.expect("SIP/2.0 180");
        bench.act(|agent, now| agent.progress(now, call, &none(), b"v=1".to_vec()));
        bench.quiet();
        bench.receive(&prack(&ringing, "2", ""));
        bench.expect("SIP/2.0 200");
        let early = bench.expect("SIP/2.0 183");
        assert_eq!(rseq(&early), rseq(&ringing) + 1);
        // The first is acknowledged: this PRACK is nobody's.
        bench.receive(&prack(&ringing, "3", ""));
        bench.expect("SIP/2.0 481");
        bench.receive(&prack(&early, "4", ""));
        bench.expect("SIP/2.0 200");
        bench.quiet();
    }

    #[test]
    fn answer_takes_the_place_of_responses_that_wait() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Require: 100rel");
        bench.act(|agent, now| agent.ring(now, call, &none()));
        bench.expect("SIP/2.0 180");
        bench.act(|agent, now| agent.progress(now, call, &none(), b"v=1".to_vec()));
        accept(&mut bench, call);
        assert_eq!(bench.expect("SIP/2.0 200").body(), "v=2");
        bench.pass(Duration::from_millis(400));
        bench.quiet();
    }

    #[test]
    fn prack_without_a_readable_rack_is_refused_400() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: 100rel");
        let early = progress(&mut bench, call);
        for (branch, rack) in [("2", ""), ("3", "RAck: x 1 INVITE\n"), ("4", "RAck: 1 INVITE\n")] {
            bench.receive(&request("PRACK", branch, early.tag("To"), rack, ""));
            bench.expect("SIP/2.0 400");
        }
    }

    #[test]
    fn prack_in_no_call_is_refused_481() {
        let mut bench = Bench::new();
        bench.receive(&request("PRACK", "2", "nobody", "RAck: 1 1 INVITE\n", ""));
        bench.expect("SIP/2.0 481");
        bench.receive(&request("PRACK", "3", "", "RAck: 1 1 INVITE\n", ""));
        bench.expect("SIP/2.0 481");
        bench.empty();
    }

    #[test]
    fn offer_in_a_prack_is_told_and_answered_before_our_2xx() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: 100rel");
        let early = progress(&mut bench, call);
        accept(&mut bench, call);
        bench.receive(&prack(&early, "2", "v=5"));
        let Event::Change { call: changed, sdp: Some(sdp), .. } = bench.event() else {
            panic!("Change")
        };
        assert_eq!((changed, sdp.as_slice()), (call, b"v=5".as_slice()));
        bench.quiet();
        bench.act(|agent, now| agent.accept_change(now, call, b"v=6".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        assert_eq!((ok.header("CSeq"), ok.body()), ("2 PRACK", "v=6"));
        assert_eq!(bench.expect("SIP/2.0 200").header("CSeq"), "1 INVITE");
    }

    #[test]
    fn offer_in_a_prack_that_is_not_taken_gets_488_and_the_call_goes_on() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: 100rel");
        let early = progress(&mut bench, call);
        bench.receive(&prack(&early, "2", "v=5"));
        bench.event();
        bench.act(|agent, now| agent.reject_change(now, call, 488));
        bench.expect("SIP/2.0 488");
        bench.pass(Duration::from_secs(30));
        bench.quiet();
        accept(&mut bench, call);
        bench.expect("SIP/2.0 200");
    }

    #[test]
    fn offer_of_ours_goes_into_a_183_and_its_answer_comes_with_the_prack() {
        let mut bench = Bench::new();
        let call = take_in(&mut bench, &without_offer("Supported: 100rel"));
        assert_eq!(bench.agent.early_offer(call), Early::Possible);
        let early = progress(&mut bench, call);
        assert_eq!(early.body(), "v=1");
        assert_eq!(bench.agent.early_offer(call), Early::No);
        bench.receive(&prack(&early, "2", "v=7"));
        bench.expect("SIP/2.0 200");
        let Event::EarlyAnswer { sdp, .. } = bench.event() else { panic!("EarlyAnswer") };
        assert_eq!(sdp, b"v=7");
        accept(&mut bench, call);
        assert_eq!(bench.expect("SIP/2.0 200").body(), "");
    }

    #[test]
    fn offer_of_ours_waits_for_the_200_where_the_caller_has_no_100rel() {
        let mut bench = Bench::new();
        let call = take_in(&mut bench, &without_offer("Supported: timer"));
        assert_eq!(bench.agent.early_offer(call), Early::No);
        assert_eq!(progress(&mut bench, call).body(), "");
        accept(&mut bench, call);
        assert_eq!(bench.expect("SIP/2.0 200").body(), "v=2");
    }

    #[test]
    fn offer_that_a_prack_does_not_answer_is_made_again_by_the_200() {
        let mut bench = Bench::new();
        let call = take_in(&mut bench, &without_offer("Supported: 100rel"));
        let early = progress(&mut bench, call);
        bench.receive(&prack(&early, "2", ""));
        bench.expect("SIP/2.0 200");
        accept(&mut bench, call);
        assert_eq!(bench.expect("SIP/2.0 200").body(), "v=2");
    }

    #[test]
    fn rfc3262_5_first_reliable_response_to_an_invite_without_offer_has_one() {
        let mut bench = Bench::new();
        let call = take_in(&mut bench, &without_offer("Require: 100rel"));
        assert_eq!(bench.agent.early_offer(call), Early::Required);
        bench.act(|agent, now| agent.ring(now, call, &none()));
        bench.quiet();
        let early = progress(&mut bench, call);
        bench.receive(&prack(&early, "2", "v=7"));
        bench.expect("SIP/2.0 200");
        assert_eq!(bench.expect("SIP/2.0 180").body(), "");
    }

    #[test]
    fn cancel_and_bye_end_a_call_with_an_unacknowledged_response() {
        for method in ["CANCEL", "BYE"] {
            let mut bench = Bench::new();
            let call = called(&mut bench, "Supported: 100rel");
            let early = progress(&mut bench, call);
            accept(&mut bench, call);
            let (branch, tag) = match method {
                "CANCEL" => ("1", ""),
                _ => ("2", early.tag("To")),
            };
            bench.receive(&request(method, branch, tag, "", ""));
            bench.expect("SIP/2.0 200");
            bench.expect("SIP/2.0 487");
            assert!(matches!(bench.event(), Event::Cancelled { status: 487, .. }));
            bench.receive(&request("ACK", "1", early.tag("To"), "", ""));
            bench.pass(Duration::from_secs(40));
            bench.quiet();
            bench.empty();
        }
    }

    #[test]
    fn bye_with_an_open_offer_of_a_prack_answers_all_three() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: 100rel");
        let early = progress(&mut bench, call);
        bench.receive(&prack(&early, "2", "v=5"));
        bench.event();
        bench.receive(&request("BYE", "3", early.tag("To"), "", ""));
        let answers: Vec<_> = bench.all_sent();
        assert_eq!(answers, ["200 OK", "487 Request Terminated", "487 Request Terminated"]);
        assert!(matches!(bench.event(), Event::Cancelled { .. }));
    }

    #[test]
    fn reject_ends_the_repetitions() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: 100rel");
        let early = progress(&mut bench, call);
        bench.act(|agent, now| agent.reject(now, call, 486, &none()));
        bench.expect("SIP/2.0 486");
        bench.receive(&request("ACK", "1", early.tag("To"), "", ""));
        bench.pass(Duration::from_secs(40));
        bench.quiet();
    }

    #[test]
    fn long_ringing_is_repeated_each_minute_without_a_second_description() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Require: 100rel");
        let early = progress(&mut bench, call);
        bench.receive(&prack(&early, "2", ""));
        bench.expect("SIP/2.0 200");
        bench.pass(Duration::from_secs(60));
        let again = bench.expect("SIP/2.0 183");
        assert_eq!((again.body(), rseq(&again)), ("", rseq(&early) + 1));
    }

    #[test]
    fn prack_is_configured_for_each_trunk() {
        for (prack, headers, status) in [
            (Prack::Off, "Require: 100rel", "SIP/2.0 420"),
            (Prack::Off, "Supported: 100rel", "SIP/2.0 100"),
            (Prack::Required, "Supported: timer", "SIP/2.0 421"),
            (Prack::Required, "Supported: 100rel", "SIP/2.0 100"),
        ] {
            let mut bench = Bench::with(|config| config.trunks[0].prack = prack);
            bench.receive(&with(headers));
            let answer = bench.expect(status);
            let said = (answer.header("Unsupported"), answer.header("Require"));
            match status {
                "SIP/2.0 420" => assert_eq!(said, ("100rel", "")),
                "SIP/2.0 421" => assert_eq!(said, ("", "100rel")),
                _ => {
                    let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
                    let call = incoming.call;
                    bench.act(|agent, now| agent.ring(now, call, &none()));
                    let rings = bench.expect("SIP/2.0 180");
                    assert_eq!(!rings.header("RSeq").is_empty(), prack == Prack::Required);
                }
            }
        }
    }

    #[test]
    fn requests_in_the_early_dialog_are_answered() {
        let mut bench = Bench::new();
        let call = called(&mut bench, "Supported: 100rel");
        let early = progress(&mut bench, call);
        let tag = early.tag("To");
        let digit = "Content-Type: application/dtmf\n";
        bench.receive(&request("INFO", "2", tag, digit, "5"));
        bench.expect("SIP/2.0 200");
        assert!(matches!(bench.event(), Event::Info { .. }));
        bench.receive(&request("OPTIONS", "3", tag, "", ""));
        bench.expect("SIP/2.0 200");
        bench.receive(&request("INVITE", "4", tag, "Content-Type: application/sdp\n", "v=9"));
        assert!(!bench.expect("SIP/2.0 500").header("Retry-After").is_empty());
        bench.receive(&request("OPTIONS", "3.old", tag, "", ""));
        bench.expect("SIP/2.0 500");
        bench.quiet();
    }
}
