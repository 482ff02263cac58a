//! Re-INVITEs of our own (RFC 3261 §14.1) and refreshes by UPDATE (RFC 3311): one at a time.
//!
//! ```text
//! Blocked --other INVITE done--> Sent --2xx with answer--> done
//! Sent --491, 500 with Retry-After--> Waiting --time--> Sent
//! Sent --2xx with offer--> done; its ACK waits for the session's answer
//! Sent --no answer--> Cancelled --any final--> refused
//! ```
//! The same 2xx again is acknowledged by its transaction. A refusal leaves the session as it was;
//! 408 and 481 end the call.

use std::time::{Duration, Instant};

use super::confirmed::Confirmed;
use super::refresh::{self, Interval};
use super::{Call, CallTimer, Calls, Phase, add_extra_headers, extra_headers, sdp_of};
use crate::sip::header::Name;
use crate::sip::inspection;
use crate::sip::message::{Message, Method, Start, reason_phrase};
use crate::sip::outgoing::{Outcome, Outgoing, Owner};
use crate::sip::stack::Stack;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Destination;
use crate::sip::user_agent::{CallId, Event, ExtraHeaders, Modification, Refused};
use crate::stats;

/// A change or refresh of the session that we ask for.
pub(super) struct Asked {
    modification: Modification,
    method: Method,
    /// By the session timer: nobody is told how it went.
    is_refresh: bool,
    /// Times that it was put off or sent anew.
    retries: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Another INVITE of this dialog is under way.
    Blocked,
    /// Until [`CallTimer::Change`].
    Waiting,
    /// `transaction`: known from its first provisional response on.
    Sent { transaction: Option<TransactionId> },
    /// It had no final response in time.
    Cancelled,
}

impl Asked {
    /// An INVITE of ours is open: the peer's must wait (RFC 3261 §14.2).
    pub fn is_invite_open(&self) -> bool {
        self.method == Method::Invite && !matches!(self.stage, Stage::Blocked | Stage::Waiting)
    }
}

/// The verbs of the session.
impl Calls {
    /// Sends a re-INVITE, when its turn has come.
    pub fn change(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        modification: Modification,
    ) -> Result<(), Refused> {
        let result = self.with(stack, id, |call, stack| {
            call.ask(now, stack, Method::Invite, modification, false)
        });
        result.unwrap_or(Err(refused(481)))
    }

    /// The re-INVITE that [`Event::Refresh`] asked for.
    pub fn refresh(&mut self, now: Instant, stack: &mut Stack, id: CallId, sdp: Vec<u8>) {
        self.with(stack, id, |call, stack| {
            let modification = Modification::of_offer(ExtraHeaders::new(), sdp);
            // Another is under way: that is a refresh.
            let _ = call.ask(now, stack, Method::Invite, modification, true);
        });
    }
}

/// What comes of them.
impl Calls {
    pub fn on_change_provisional(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        transaction: TransactionId,
    ) {
        let is_wanted = self.with(stack, id, |call, _| call.on_change_provisional(transaction));
        if is_wanted != Some(true) {
            // The call has ended meanwhile; the transaction shall too.
            stack.table.cancel(now, &mut stack.transports, transaction, |_| {});
        }
    }

    /// A 2xx to a re-INVITE of ours.
    pub fn on_change_answer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        transaction: TransactionId,
        response: &Message,
        source: Destination,
    ) {
        self.with(stack, id, |call, stack| {
            if !call.on_change_answer(now, stack, transaction, response, source) {
                call.acknowledge_late(now, stack, transaction, response);
            }
        });
    }
}

impl Call {
    fn ask(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        method: Method,
        modification: Modification,
        is_refresh: bool,
    ) -> Result<(), Refused> {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return Err(refused(481)) };
        if let Some(asked) = &confirmed.asked {
            // The session does not know of refreshes: what it wants is sent after them.
            if !asked.is_refresh || is_refresh || confirmed.next.is_some() {
                return Err(refused(491));
            }
            confirmed.next = Some(Box::new(modification));
            return Ok(());
        }
        let stage = Stage::Blocked;
        let asked = Asked { modification, method, is_refresh, retries: 0, stage };
        confirmed.asked = Some(Box::new(asked));
        self.go_on_asking(now, stack);
        Ok(())
    }

    /// A refresh without a body.
    pub(super) fn send_update(&mut self, now: Instant, stack: &mut Stack) {
        // Another is under way: that is a refresh.
        let _ = self.ask(now, stack, Method::Update, Modification::default(), true);
    }

    /// Sends what waits for another INVITE to be done, if it is.
    pub(super) fn go_on_asking(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let is_free = confirmed.is_free();
        let Some(asked) = &mut confirmed.asked else { return };
        if asked.stage != Stage::Blocked || !is_free && asked.method == Method::Invite {
            return;
        }
        asked.stage = Stage::Sent { transaction: None };
        let owner = Owner::Change { call: self.id };
        let mut outgoing = confirmed.dialog.request(asked.method.clone(), owner);
        let request = &mut outgoing.request;
        request.headers.push(Name::Allow, inspection::ALLOW);
        request.headers.push(Name::Supported, inspection::SUPPORTED);
        refresh::ask(&stack.config.session_timer, confirmed.timer.as_ref(), &mut request.headers);
        add_extra_headers(request, &asked.modification.headers);
        let Modification { content_type, body, .. } = &asked.modification;
        match body.is_empty() {
            true => request.headers.push(Name::Accept, super::SDP),
            false => request.set_body(content_type, body.clone()),
        }
        if let Some(login) = &mut confirmed.login {
            login.sign(request, &mut stack.random);
        }
        if asked.method == Method::Invite {
            stack.timers.arm((self.id, CallTimer::Change), now + PATIENCE);
        }
        stack.send(now, outgoing);
    }

    /// `false`: nobody waits for it.
    fn on_change_provisional(&mut self, id: TransactionId) -> bool {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return false };
        let Some(asked) = &mut confirmed.asked else { return false };
        if let Stage::Sent { transaction } = &mut asked.stage {
            *transaction = Some(id);
        }
        true
    }

    /// Its time to wait is over, or there was no answer in time: CANCEL.
    pub(super) fn on_change_timer(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(asked) = &mut confirmed.asked else { return };
        match asked.stage {
            Stage::Waiting => {
                asked.stage = Stage::Blocked;
                self.go_on_asking(now, stack);
            }
            Stage::Sent { transaction: Some(transaction) } => {
                asked.stage = Stage::Cancelled;
                stack.table.cancel(now, &mut stack.transports, transaction, |_| {});
            }
            // Without a provisional response its transaction ends before.
            Stage::Blocked | Stage::Sent { transaction: None } | Stage::Cancelled => {}
        }
    }

    /// `false`: nobody waits for it.
    fn on_change_answer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        transaction: TransactionId,
        response: &Message,
        source: Destination,
    ) -> bool {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return false };
        let Confirmed { asked: Some(asked), dialog, .. } = &mut **confirmed else { return false };
        let Some(outgoing) = stack.table.request(transaction) else { return false };
        let request = &outgoing.request;
        dialog.refresh(response, source);
        let interval = Interval::of_answer(request, response);
        let is_refresh = asked.is_refresh;
        let has_offer = sdp_of(request).is_none() && sdp_of(response).is_some();
        let ack = super::uac::ack(dialog, request, transaction, response.to.tag());
        match has_offer {
            true => confirmed.owed_ack = Some(ack),
            false => stack.send(now, ack),
        }
        confirmed.asked = None;
        stack.timers.disarm((self.id, CallTimer::Change));
        self.run_timer(now, stack, interval);
        let content_type = response.headers.content_type().map(|content| content.kind);
        let event = Event::Changed {
            call: self.id,
            headers: extra_headers(response),
            content_type: content_type.unwrap_or_default(),
            body: response.body.clone(),
            has_offer,
            is_refresh,
        };
        self.tell(stack, event);
        self.ask_next(now, stack);
        true
    }

    /// What became of a re-INVITE that was refused, and of an UPDATE.
    pub(super) fn on_change_outcome(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        mut outgoing: Box<Outgoing>,
        outcome: Outcome,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let is_caller = confirmed.is_caller;
        let Confirmed { dialog, login, asked: Some(asked), .. } = &mut **confirmed else { return };
        let (status, response) = match &outcome {
            Outcome::Response(response) => {
                (response.status().unwrap_or_default(), Some(&**response))
            }
            Outcome::Failed(status) => (*status, None),
        };
        let may_retry = asked.retries < MOST_RETRIES;
        match (status, response) {
            (200..=299, Some(response)) => {
                // RFC 3311 §5.3: a target refresh.
                let flow = dialog.flow();
                dialog.refresh(response, flow);
                confirmed.asked = None;
                let interval = Interval::of_answer(&outgoing.request, response);
                self.run_timer(now, stack, interval);
                return self.ask_next(now, stack);
            }
            _ if asked.stage == Stage::Cancelled => return self.be_refused(now, stack, 408, None),
            (401 | 407, Some(response)) => {
                if let Some(login) = login
                    && login.learn(&outgoing.request, response)
                {
                    dialog.renumber(&mut outgoing.request);
                    login.sign(&mut outgoing.request, &mut stack.random);
                    return send_again(now, stack, outgoing);
                }
            }
            // The peer does not take it after all: a re-INVITE instead.
            (405 | 501, Some(_)) if asked.method == Method::Update => {
                confirmed.allows_update = false;
                confirmed.asked = None;
                return match confirmed.next.is_some() {
                    true => self.ask_next(now, stack),
                    false => self.tell(stack, Event::Refresh { call: self.id }),
                };
            }
            // RFC 3261 §12.2.1.2, RFC 5057 §5.1: the peer has no such call.
            (408 | 481, _) => return self.end(now, stack, status, &ExtraHeaders::new()),
            (422, Some(response))
                if may_retry && refresh::lengthen(&mut outgoing.request, response) =>
            {
                asked.retries += 1;
                dialog.renumber(&mut outgoing.request);
                return send_again(now, stack, outgoing);
            }
            (491 | 500 | 503, Some(response)) if may_retry => {
                let wait = match status {
                    491 => Some(glare_wait(stack, is_caller)),
                    _ => response.headers.retry_after().filter(|wait| *wait <= LONGEST_WAIT),
                };
                if let Some(wait) = wait {
                    stats::SIP_CHANGES_PUT_OFF.add(1);
                    asked.retries += 1;
                    asked.stage = Stage::Waiting;
                    return stack.timers.arm((self.id, CallTimer::Change), now + wait);
                }
            }
            _ => {}
        }
        self.be_refused(now, stack, status, response);
    }

    /// A refresh is done: what waited for it.
    fn ask_next(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        if let Some(modification) = confirmed.next.take() {
            let asked = self.ask(now, stack, Method::Invite, *modification, false);
            debug_assert!(asked.is_ok(), "nothing else is asked");
        }
    }

    /// The session stays as it was.
    fn be_refused(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
        response: Option<&Message>,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(asked) = confirmed.asked.take() else { return };
        stack.timers.disarm((self.id, CallTimer::Change));
        stats::SIP_CHANGES_REFUSED.add(1);
        if !asked.is_refresh {
            let reason = match response.map(|response| &response.start) {
                Some(Start::Response { reason, .. }) if !reason.is_empty() => reason.clone(),
                _ => reason_phrase(status).to_owned(),
            };
            let headers = response.map(extra_headers).unwrap_or_default();
            self.tell(stack, Event::ChangeRefused { call: self.id, status, reason, headers });
        }
        self.ask_next(now, stack);
    }

    /// The call ends: a re-INVITE without final response is cancelled, so that its transaction
    /// ends too.
    pub(super) fn stop_asking(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(asked) = confirmed.asked.take() else { return };
        stack.timers.disarm((self.id, CallTimer::Change));
        if let Stage::Sent { transaction: Some(transaction) } = asked.stage {
            stack.table.cancel(now, &mut stack.transports, transaction, |_| {});
        }
    }

    /// A 2xx to a re-INVITE that crossed our BYE (RFC 3261 §13.2.2.4).
    fn acknowledge_late(
        &self,
        now: Instant,
        stack: &mut Stack,
        transaction: TransactionId,
        response: &Message,
    ) {
        let Phase::Leaving(leaving) = &self.phase else { return };
        let Some(outgoing) = stack.table.request(transaction) else { return };
        let tag = response.to.tag();
        let ack = super::uac::ack(&leaving.dialog, &outgoing.request, transaction, tag);
        stack.send(now, ack);
    }
}

/// The same with another number, as a new transaction.
fn send_again(now: Instant, stack: &mut Stack, mut outgoing: Box<Outgoing>) {
    outgoing.request.via.clear();
    outgoing.targets.clear();
    stack.send(now, outgoing);
}

/// RFC 3261 §14.1: in steps of 10 ms; who owns the Call-ID waits longer, so that the two do not
/// meet again.
fn glare_wait(stack: &mut Stack, is_caller: bool) -> Duration {
    let (first, steps) = match is_caller {
        true => (2100, 191),
        false => (0, 201),
    };
    let steps = stack.random.next_u32() % steps;
    Duration::from_millis(u64::from(first + 10 * steps))
}

fn refused(status: u16) -> Refused {
    Refused { status, reason: reason_phrase(status).to_owned() }
}

/// How long a re-INVITE that rings on may stay without a final response.
const PATIENCE: Duration = Duration::from_secs(60);
/// A Retry-After beyond that is a refusal.
const LONGEST_WAIT: Duration = Duration::from_secs(32);
/// Of one re-INVITE, for glare, Retry-After and 422 together.
const MOST_RETRIES: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{Bench, CONTACT, Sent, request};

    const SDP: &str = "Content-Type: application/sdp\n";

    fn hold() -> Modification {
        Modification::of_offer(vec![("X-Why".into(), "x".into())], b"v=2".to_vec())
    }

    fn change(bench: &mut Bench, call: CallId, modification: Modification) -> Sent {
        bench.act(|agent, now| agent.change(now, call, modification)).unwrap();
        bench.expect("INVITE ")
    }

    fn refusal(bench: &mut Bench) -> u16 {
        match bench.event() {
            Event::ChangeRefused { status, .. } => status,
            other => panic!("ChangeRefused expected: {other:?}"),
        }
    }

    #[test]
    fn reinvite_goes_to_the_remote_target_and_its_answer_is_acknowledged_each_time() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        let invite = change(&mut bench, call, hold());
        assert_eq!(invite.line(), "INVITE sip:100@192.0.2.10:5060");
        assert_eq!((invite.tag("From"), invite.tag("To")), (ok.tag("To"), "f1"));
        assert_eq!((invite.header("Call-ID"), invite.header("X-Why")), ("c1@192.0.2.10", "x"));
        assert_eq!((invite.header("CSeq"), invite.body()), ("1 INVITE", "v=2"));
        assert_eq!(invite.header("Contact"), "<sip:200@192.0.2.1:5060>");
        let moved = "Contact: <sip:n@192.0.2.11>\nX-Two: 2\nContent-Type: application/sdp\n";
        let answer = invite.answer(200, "", moved, "v=3\n");
        bench.receive(&answer);
        let ack = bench.expect("ACK sip:n@192.0.2.11 ");
        assert_eq!((ack.header("CSeq"), ack.body()), ("1 ACK", ""));
        let Event::Changed { headers, content_type, body, has_offer, is_refresh, .. } =
            bench.event()
        else {
            panic!("Changed")
        };
        assert_eq!((content_type.as_str(), body.as_slice()), ("application/sdp", &b"v=3\n"[..]));
        assert_eq!((headers.len(), has_offer, is_refresh), (1, false, false));
        bench.receive(&answer);
        assert_eq!(bench.sent().text, ack.text);
        bench.quiet();
        // The next one.
        let invite = change(&mut bench, call, hold());
        assert_eq!(
            (invite.line(), invite.header("CSeq")),
            ("INVITE sip:n@192.0.2.11".into(), "2 INVITE")
        );
    }

    #[test]
    fn reinvite_without_offer_sends_the_answer_in_the_ack() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        let body = Modification {
            headers: ExtraHeaders::new(),
            content_type: "application/json".into(),
            body: b"{}".to_vec(),
        };
        let invite = change(&mut bench, call, body);
        assert_eq!((invite.header("Content-Type"), invite.body()), ("application/json", "{}"));
        let answer = invite.answer(200, "", CONTACT, "v=7\n");
        bench.receive(&answer);
        let Event::Changed { has_offer: true, body, .. } = bench.event() else { panic!("offer") };
        assert_eq!(body, b"v=7\n");
        bench.receive(&answer);
        bench.quiet();
        bench.act(|agent, now| agent.answer_offer(now, call, b"v=8".to_vec()));
        let ack = bench.expect("ACK ");
        assert_eq!((ack.body(), ack.header("Content-Type")), ("v=8", "application/sdp"));
        bench.receive(&answer);
        assert_eq!(bench.sent().text, ack.text);
        bench.quiet();
    }

    #[test]
    fn refusal_leaves_the_call_as_it_is() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        let invite = change(&mut bench, call, hold());
        bench.receive(&invite.answer(488, "", "X-Two: 2\n", ""));
        bench.expect("ACK ");
        assert_eq!(refusal(&mut bench), 488);
        assert_eq!(bench.agent.usage().dialogs, 1);
        change(&mut bench, call, hold());
    }

    #[test]
    fn rfc3261_14_1_owner_of_the_call_id_waits_longer_after_glare() {
        for (is_ours, least, most) in [(true, 2100, 4000), (false, 0, 2000)] {
            let mut bench = Bench::new();
            let call = match is_ours {
                true => bench.connected().0,
                false => bench.answered().0,
            };
            let invite = change(&mut bench, call, hold());
            bench.receive(&invite.response(491, ""));
            bench.expect("ACK ");
            let wait = bench.wait_for("INVITE ");
            assert!(
                (least..=most).contains(&wait) && wait.is_multiple_of(10),
                "{is_ours} {wait} ms"
            );
            let again = bench.expect("INVITE ");
            assert_eq!(again.body(), "v=2");
            assert_ne!(again.header("CSeq"), invite.header("CSeq"));
            bench.receive(&again.answer(200, "", CONTACT, "v=3\n"));
            bench.expect("ACK ");
            assert!(matches!(bench.event(), Event::Changed { .. }));
        }
    }

    #[test]
    fn glare_without_end_is_a_refusal() {
        let mut bench = Bench::new();
        let (call, _) = bench.answered();
        let mut invite = change(&mut bench, call, hold());
        for _ in 0..6 {
            bench.receive(&invite.response(491, ""));
            bench.expect("ACK ");
            bench.pass(Duration::from_secs(4));
            invite = bench.expect("INVITE ");
            bench.all_sent();
        }
        bench.receive(&invite.response(491, ""));
        bench.expect("ACK ");
        assert_eq!(refusal(&mut bench), 491);
    }

    #[test]
    fn peer_may_change_the_session_while_we_wait_after_glare() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        let invite = change(&mut bench, call, hold());
        let theirs = request("INVITE", "2", ok.tag("To"), SDP, "v=9");
        bench.receive(&theirs);
        let refusal = bench.expect("SIP/2.0 491");
        bench.receive(&request("ACK", "2", refusal.tag("To"), "", ""));
        bench.receive(&invite.response(491, ""));
        bench.expect("ACK ");
        bench.receive(&request("INVITE", "3", ok.tag("To"), SDP, "v=9"));
        assert!(matches!(bench.event(), Event::Change { .. }));
        // Ours stays behind until theirs has its ACK.
        bench.pass(Duration::from_secs(2));
        bench.quiet();
        bench.act(|agent, now| agent.accept_change(now, call, b"v=3".to_vec()));
        let answer = bench.expect("SIP/2.0 200");
        bench.receive(&answer.ack());
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
        bench.expect("INVITE ");
    }

    #[test]
    fn one_reinvite_at_a_time() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        change(&mut bench, call, hold());
        let refused = bench.act(|agent, now| agent.change(now, call, hold())).unwrap_err();
        assert_eq!(refused.status, 491);
        let (early, _) = bench.calls();
        let refused = bench.act(|agent, now| agent.change(now, early, hold())).unwrap_err();
        assert_eq!(refused.status, 481);
    }

    #[test]
    fn change_waits_for_a_refresh_that_is_under_way() {
        for status in [200, 488] {
            let mut bench = Bench::new();
            let (call, ..) = bench.connected();
            bench.act(|agent, now| agent.refresh(now, call, b"v=1".to_vec()));
            let refresh = bench.expect("INVITE ");
            bench.act(|agent, now| agent.change(now, call, hold())).unwrap();
            let refused = bench.act(|agent, now| agent.change(now, call, hold())).unwrap_err();
            assert_eq!(refused.status, 491);
            bench.quiet();
            bench.receive(&refresh.answer(status, "", CONTACT, "v=9\n"));
            bench.expect("ACK ");
            if status == 200 {
                assert!(matches!(bench.event(), Event::Changed { is_refresh: true, .. }));
            }
            let invite = bench.expect("INVITE ");
            assert_eq!(invite.body(), "v=2");
            bench.receive(&invite.answer(200, "", CONTACT, "v=3\n"));
            bench.expect("ACK ");
            assert!(matches!(bench.event(), Event::Changed { is_refresh: false, .. }));
            bench.quiet();
        }
    }

    #[test]
    fn reinvite_before_the_ack_of_our_answer_waits_for_it() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.accept(now, call, &Vec::new(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.act(|agent, now| agent.change(now, call, hold())).unwrap();
        bench.quiet();
        bench.receive(&ok.ack());
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
        bench.expect("INVITE ");
    }

    #[test]
    fn busy_peer_is_asked_again_when_it_said() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        let invite = change(&mut bench, call, hold());
        bench.receive(&invite.answer(500, "", "Retry-After: 7\n", ""));
        bench.expect("ACK ");
        assert_eq!(bench.wait_for("INVITE "), 7000);
        let again = bench.expect("INVITE ");
        bench.receive(&again.answer(500, "", "Retry-After: 3600\n", ""));
        bench.expect("ACK ");
        assert_eq!(refusal(&mut bench), 500);
    }

    #[test]
    fn challenged_reinvite_is_signed() {
        let mut bench = Bench::with(|config| {
            config.trunks[0].username = "acc".into();
            config.trunks[0].password = "pw".into();
        });
        let (call, ..) = bench.connected();
        let invite = change(&mut bench, call, hold());
        let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\n";
        bench.receive(&invite.answer(407, "", challenge, ""));
        bench.expect("ACK ");
        let again = bench.expect("INVITE ");
        let proof = again.header("Proxy-Authorization");
        assert!(proof.contains("nonce=\"n\""));
        bench.receive(&again.answer(200, "", CONTACT, "v=3\n"));
        assert_eq!(bench.expect("ACK ").header("Proxy-Authorization"), proof);
    }

    #[test]
    fn peer_that_knows_no_such_call_or_is_gone_ends_it() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        let invite = change(&mut bench, call, hold());
        bench.receive(&invite.response(481, ""));
        bench.expect("ACK ");
        let bye = bench.expect("BYE ");
        assert!(matches!(bench.event(), Event::Ended { status: 481, .. }));
        bench.receive(&bye.response(481, ""));
        bench.empty();

        let (call, ..) = bench.connected();
        change(&mut bench, call, hold());
        bench.pass(Duration::from_secs(32));
        assert!(matches!(bench.event(), Event::Ended { status: 408, .. }));
        bench.empty();
    }

    #[test]
    fn reinvite_that_only_rings_is_cancelled_and_refused_408() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        let invite = change(&mut bench, call, hold());
        bench.receive(&invite.response(180, ""));
        bench.pass(Duration::from_secs(60));
        let cancel = bench.expect("CANCEL ");
        assert_eq!(cancel.branch(), invite.branch());
        bench.receive(&cancel.response(200, ""));
        bench.receive(&invite.response(487, ""));
        bench.expect("ACK ");
        assert_eq!(refusal(&mut bench), 408);
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn answer_that_crosses_the_cancel_counts() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        let invite = change(&mut bench, call, hold());
        bench.receive(&invite.response(180, ""));
        bench.pass(Duration::from_secs(60));
        bench.expect("CANCEL ");
        bench.receive(&invite.answer(200, "", CONTACT, "v=3\n"));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Changed { .. }));
    }

    #[test]
    fn hangup_cancels_the_reinvite_and_a_late_answer_is_acknowledged() {
        for has_rung in [true, false] {
            let mut bench = Bench::new();
            let (call, ..) = bench.connected();
            let invite = change(&mut bench, call, hold());
            if has_rung {
                bench.receive(&invite.response(100, ""));
            }
            bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
            if has_rung {
                bench.expect("CANCEL ");
            }
            let bye = bench.expect("BYE ");
            bench.receive(&invite.answer(200, "", CONTACT, "v=3\n"));
            bench.expect("ACK sip:100@192.0.2.10:5060 ");
            bench.receive(&bye.response(200, ""));
            bench.quiet();
            bench.empty();
        }
    }

    #[test]
    fn bye_of_the_peer_that_crosses_our_reinvite_leaves_nothing() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        let invite = change(&mut bench, call, hold());
        bench.receive(&request("BYE", "2", ok.tag("To"), "", ""));
        bench.expect("SIP/2.0 200");
        assert!(matches!(bench.event(), Event::Ended { status: 200, .. }));
        // A provisional response now would keep the transaction for ever.
        bench.receive(&invite.response(100, ""));
        bench.expect("CANCEL ");
        bench.receive(&invite.response(487, ""));
        bench.expect("ACK ");
        bench.quiet();
        bench.empty();
    }
}
