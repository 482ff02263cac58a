//! REFERs of the peer, and the NOTIFYs that tell it what came of them.

use std::time::Instant;

use super::MOST_REFERS;
use crate::sip::header::Name;
use crate::sip::invite::{Call, Calls, Phase, extra_headers};
use crate::sip::message::{Message, Method, reason_phrase};
use crate::sip::outgoing::Owner;
use crate::sip::refer::{self, ReferTo};
use crate::sip::stack::Stack;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Destination;
use crate::sip::user_agent::{CallId, Event, Refer, SIPFRAG};
use crate::stats;

/// A REFER of the peer, until it knows what came of it.
pub(super) struct Theirs {
    /// `id` of its NOTIFYs, of every REFER but the first (RFC 3515 §2.4.6).
    pub(super) id: Option<u32>,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
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

/// The verbs of the session.
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
}

impl Call {
    pub(in crate::sip::invite) fn on_refer(
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
    pub(in crate::sip::invite) fn accept_refer(&mut self, now: Instant, stack: &mut Stack) {
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
    pub(in crate::sip::invite) fn reject_refer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
    ) {
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
    pub(in crate::sip::invite) fn notify(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
        reason: &str,
    ) {
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
    pub(in crate::sip::invite) fn on_notify_outcome(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
    ) {
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

pub(super) fn write_notify(
    request: &mut Message,
    id: Option<u32>,
    state: &str,
    status: u16,
    reason: &str,
) {
    let event = id.map_or("refer".to_owned(), |id| format!("refer;id={id}"));
    request.headers.push(Name::Event, event);
    request.headers.push(Name::SubscriptionState, state);
    let body = format!("SIP/2.0 {status} {reason}\r\n").into_bytes();
    request.set_body(SIPFRAG, body);
}

/// A script's words on a status line.
fn one_line(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect()
}

/// RFC 4488 §4.
fn refer_sub() -> Name {
    Name::Other("Refer-Sub".to_owned())
}

/// Longer than any transfer rings.
const SUBSCRIPTION_S: u32 = 600;
const REASON_CHARS: usize = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::invite::transfer::ours::tests::bob;
    use crate::sip::tests::bench::{Bench, STRANGER, Sent, request};
    use crate::sip::user_agent::ExtraHeaders;

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

    /// The trunk has asked us to call bob in the call that we answered with this.
    fn referred() -> (Bench, CallId, Sent) {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&refer(&ok, "2", TO_BOB));
        asked(&mut bench);
        (bench, call, ok)
    }

    /// The same, and we do; with the first NOTIFY.
    fn accepted() -> (Bench, CallId, Sent, Sent) {
        let (mut bench, call, ok) = referred();
        bench.act(|agent, now| agent.accept_refer(now, call));
        bench.expect("SIP/2.0 202");
        let first = bench.expect("NOTIFY ");
        (bench, call, ok, first)
    }

    fn is_notify(notify: &Sent, status: &str, state: &str) {
        assert_eq!(notify.body(), format!("SIP/2.0 {status}\n"));
        assert_eq!(notify.header("Subscription-State"), state);
        assert_eq!(notify.header("Content-Type"), "message/sipfrag;version=2.0");
    }

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
        let (mut bench, call, ok, _) = accepted();
        bench.receive(&refer(&ok, "3", TO_BOB));
        bench.expect("SIP/2.0 491");
        let refused = bench.act(|agent, now| agent.refer(now, call, &bob()));
        assert_eq!(refused.unwrap_err().status, 491);
        bench.quiet();
    }

    #[test]
    fn refer_that_the_session_left_unanswered_is_refused_when_it_hangs_up() {
        let (mut bench, call, _) = referred();
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
            let (mut bench, call, ok, first) = accepted();
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
        let (mut bench, call, ok, first) = accepted();
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
        let (mut bench, call, _, first) = accepted();
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
        let (mut bench, call, _) = referred();
        bench.act(|agent, now| agent.accept_refer(now, call));
        bench.act(|agent, now| agent.notify_refer(now, call, 200, ""));
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        bench.pass(Duration::from_secs(70));
        assert!(bench.all_sent().last().unwrap().starts_with("BYE "));
        bench.empty();
    }

    #[test]
    fn refer_of_a_stranger_outside_a_dialog_is_refused_405() {
        let mut bench = Bench::new();
        bench.receive_from(STRANGER, &request("REFER", "1", "", TO_BOB, ""));
        bench.expect("SIP/2.0 405");
        assert_eq!(bench.agent.usage(), Default::default());
    }
}
