//! A re-INVITE of the peer (RFC 3261 §14.2): hold, resume, another address or codec.
//!
//! UPDATE and re-INVITEs of our own are **not** supported.

use std::time::Instant;

use super::confirmed::busy;
use super::{Call, Phase, extra_headers, sdp_of};
use crate::sip::header::Name;
use crate::sip::message::Message;
use crate::sip::stack::Stack;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Destination;
use crate::sip::user_agent::Event;
use crate::stats;

/// A re-INVITE that waits for `accept_change` or `reject_change`.
pub(super) struct Change {
    transaction: TransactionId,
    invite: Message,
    source: Destination,
}

impl Call {
    pub(super) fn on_reinvite(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        // A transaction even where it is refused: the same INVITE again must not be accepted.
        let tag = confirmed.dialog.local.tag().map(str::to_owned);
        let Some(transaction) = stack.serve(now, request, source, tag) else { return };
        let refusal = if confirmed.change.is_some() {
            Some(busy(stack, request))
        } else if confirmed.unacknowledged.is_some() || !self.is_held {
            // The peer has not seen our 2xx yet, or did not say so: its turn again in a moment.
            Some(stack.response(request, 491))
        } else {
            None
        };
        if let Some(response) = refusal {
            stats::SIP_REFUSED_REQUESTS.add(1);
            stack.table.respond(now, &mut stack.transports, transaction, &response);
            return;
        }
        confirmed.dialog.refresh(request, source);
        let (headers, sdp) = (extra_headers(request), sdp_of(request));
        confirmed.change = Some(Change { transaction, invite: request.clone(), source });
        self.tell(stack, Event::Change { call: self.id, headers, sdp });
    }

    pub(super) fn accept_change(&mut self, now: Instant, stack: &mut Stack, sdp: Vec<u8>) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(change) = confirmed.change.take() else { return };
        let mut response = stack.response(&change.invite, 200);
        let contact = stack.contact(change.source, confirmed.dialog.contact());
        response.headers.push(Name::Contact, contact.to_string());
        response.headers.push(Name::Allow, crate::sip::inspection::ALLOW);
        response.headers.push(Name::Supported, crate::sip::inspection::SUPPORTED);
        response.set_body(super::SDP, sdp);
        let number = change.invite.cseq.number;
        self.send_answer(now, stack, change.transaction, number, &response);
    }

    /// The session goes on as it was.
    pub(super) fn reject_change(&mut self, now: Instant, stack: &mut Stack, status: u16) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(change) = confirmed.change.take() else { return };
        let response = stack.response(&change.invite, status);
        stack.table.respond(now, &mut stack.transports, change.transaction, &response);
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
