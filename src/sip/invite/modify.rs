//! A re-INVITE or UPDATE of the peer (RFC 3261 §14.2, RFC 3311 §5.2): hold, resume, another
//! address or codec, a refresh.

use std::time::Instant;

use super::confirmed::busy;
use super::refresh;
use super::{Call, Phase, extra_headers, sdp_of};
use crate::sip::header::Name;
use crate::sip::message::{Message, Method};
use crate::sip::stack::Stack;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Destination;
use crate::sip::user_agent::Event;
use crate::stats;

/// A re-INVITE or UPDATE that waits for `accept_change` or `reject_change`.
pub(super) struct Change {
    pub transaction: TransactionId,
    pub request: Message,
    pub source: Destination,
}

impl Call {
    pub(super) fn on_change_request(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let is_invite = *request.method() == Method::Invite;
        // A transaction even where it is refused: the same INVITE again must not be accepted.
        let tag = confirmed.dialog.local.tag().filter(|_| is_invite).map(str::to_owned);
        let Some(transaction) = stack.serve(now, request, source, tag) else { return };
        // A refresh by UPDATE has nothing to wait for.
        let is_offer = is_invite || !request.body.is_empty();
        let is_ours_open = confirmed.asked.as_ref().is_some_and(|asked| asked.is_invite_open());
        let refusal = if !is_offer {
            None
        } else if confirmed.change.is_some() {
            Some(busy(stack, request))
        } else if is_ours_open || confirmed.unacknowledged.is_some() || !self.is_held {
            // Ours comes first, or the peer has not seen our 2xx yet or did not say so: its turn
            // again in a moment.
            Some(stack.response(request, 491))
        } else {
            None
        };
        if let Some(response) = refusal {
            stats::SIP_REFUSED_REQUESTS.add(1);
            stack.table.respond(now, &mut stack.transports, transaction, &response);
            return;
        }
        if let Some(response) = refresh::refuse_brief(stack, request) {
            stack.table.respond(now, &mut stack.transports, transaction, &response);
            return;
        }
        confirmed.dialog.refresh(request, source);
        confirmed.change = Some(Change { transaction, request: request.clone(), source });
        match is_offer {
            true => {
                let (headers, sdp) = (extra_headers(request), sdp_of(request));
                self.tell(stack, Event::Change { call: self.id, headers, sdp });
            }
            false => self.agree_to_change(now, stack, None),
        }
    }

    pub(super) fn accept_change(&mut self, now: Instant, stack: &mut Stack, sdp: Vec<u8>) {
        self.agree_to_change(now, stack, Some(sdp));
    }

    fn agree_to_change(&mut self, now: Instant, stack: &mut Stack, sdp: Option<Vec<u8>>) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(change) = confirmed.change.take() else { return };
        let Change { transaction, request, source } = change;
        let mut response = stack.response(&request, 200);
        let contact = stack.contact(source, confirmed.dialog.contact(), &request);
        response.headers.push(Name::Contact, contact.to_string());
        response.headers.push(Name::Allow, crate::sip::inspection::ALLOW);
        response.headers.push(Name::Supported, crate::sip::inspection::SUPPORTED);
        let (timer, running) = (&stack.config.session_timer, confirmed.timer.as_ref());
        let interval = refresh::answer(timer, &request, running, &mut response);
        if let Some(sdp) = sdp {
            response.set_body(super::SDP, sdp);
        }
        self.run_timer(now, stack, interval);
        if *request.method() == Method::Invite {
            let number = request.cseq.number;
            return self.send_answer(now, stack, transaction, number, &response);
        }
        stack.table.respond(now, &mut stack.transports, transaction, &response);
        self.go_on_asking(now, stack);
    }

    /// The session goes on as it was.
    pub(super) fn reject_change(&mut self, now: Instant, stack: &mut Stack, status: u16) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(change) = confirmed.change.take() else { return };
        let response = stack.response(&change.request, status);
        stack.table.respond(now, &mut stack.transports, change.transaction, &response);
        self.go_on_asking(now, stack);
    }

    /// CANCEL of a re-INVITE; the dialog stays.
    pub(super) fn cancel_change(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        transaction: TransactionId,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let is_meant =
            confirmed.change.as_ref().is_some_and(|change| change.transaction == transaction);
        if is_meant {
            self.cancel_any_change(now, stack);
        }
    }

    /// The call ends, or the peer gave up: 487 (RFC 3261 §15.1.2).
    pub(super) fn cancel_any_change(&mut self, now: Instant, stack: &mut Stack) {
        self.reject_change(now, stack, 487);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{Bench, Sent, request};
    use crate::sip::user_agent::ExtraHeaders;

    fn reinvite(ok: &Sent, branch: &str) -> String {
        request("INVITE", branch, ok.tag("To"), "Content-Type: application/sdp\n", "v=2")
    }

    #[test]
    fn reinvite_is_told_and_answered_with_the_sessions_sdp() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&reinvite(&ok, "2"));
        let Event::Change { sdp: Some(sdp), .. } = bench.event() else { panic!("Change") };
        assert_eq!(sdp, b"v=2");
        bench.act(|agent, now| agent.accept_change(now, call, b"v=3".to_vec()));
        let answer = bench.expect("SIP/2.0 200");
        assert_eq!((answer.body(), answer.header("CSeq")), ("v=3", "2 INVITE"));
        assert_eq!(answer.header("Contact"), "<sip:200@192.0.2.1:5060>");
        bench.receive(&answer.ack());
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
        bench.quiet();
    }

    #[test]
    fn reinvite_moves_the_remote_target() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(
            &reinvite(&ok, "2").replace("<sip:100@192.0.2.10:5060>", "<sip:n@192.0.2.11>"),
        );
        bench.act(|agent, now| agent.accept_change(now, call, b"v=3".to_vec()));
        let answer = bench.expect("SIP/2.0 200");
        bench.receive(&answer.ack());
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        let bye = bench.expect("BYE sip:n@192.0.2.11 ");
        assert_eq!(bye.to, "192.0.2.11:5060".parse().unwrap());
    }

    #[test]
    fn rejected_reinvite_leaves_the_call_as_it_is() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&reinvite(&ok, "2"));
        bench.act(|agent, now| agent.reject_change(now, call, 488));
        let refusal = bench.expect("SIP/2.0 488");
        bench.receive(&request("ACK", "2", refusal.tag("To"), "", ""));
        assert_eq!(bench.agent.usage().dialogs, 1);
        bench.receive(&reinvite(&ok, "3"));
        assert!(matches!(bench.event(), Event::Change { .. }));
    }

    #[test]
    fn reinvite_before_the_ack_of_our_answer_is_refused_491() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.accept(now, call, &Vec::new(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.receive(&reinvite(&ok, "2"));
        bench.expect("SIP/2.0 491");
        bench.receive(&ok.ack());
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
        // The same once more is answered as before.
        bench.receive(&reinvite(&ok, "2"));
        bench.expect("SIP/2.0 491");
        bench.quiet();
    }

    #[test]
    fn second_reinvite_before_our_answer_is_refused_500_with_retry_after() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        bench.receive(&reinvite(&ok, "2"));
        bench.receive(&reinvite(&ok, "3"));
        let refusal = bench.expect("SIP/2.0 500");
        assert!(refusal.header("Retry-After").parse::<u32>().unwrap() <= 10);
    }

    #[test]
    fn cancel_of_a_reinvite_leaves_the_dialog() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        bench.receive(&reinvite(&ok, "2"));
        bench.receive(&request("CANCEL", "2", ok.tag("To"), "", ""));
        bench.expect("SIP/2.0 200");
        bench.expect("SIP/2.0 487");
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn reinvite_without_ack_ends_the_call() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&reinvite(&ok, "2"));
        bench.event();
        bench.act(|agent, now| agent.accept_change(now, call, b"v=3".to_vec()));
        bench.pass(std::time::Duration::from_secs(32));
        assert!(matches!(bench.event(), Event::Ended { status: 408, .. }));
        assert_eq!(bench.all_sent().last().unwrap(), "BYE sip:100@192.0.2.10:5060");
    }

    #[test]
    fn bye_during_a_reinvite_refuses_it_487() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        bench.receive(&reinvite(&ok, "2"));
        bench.event();
        bench.receive(&request("BYE", "3", ok.tag("To"), "", ""));
        bench.expect("SIP/2.0 487");
        bench.expect("SIP/2.0 200");
        assert!(matches!(bench.event(), Event::Ended { status: 200, .. }));
        bench.empty();
    }
}
