//! UPDATE of the peer before the call is answered (RFC 3311 §5.2): without a description it only
//! moves the remote target, with one it changes early media.
//!
//! UPDATEs of our own before the answer are **not** supported.

use std::time::Instant;

use super::confirmed::busy;
use super::modify::Change;
use super::{Call, Phase, extra_headers, sdp_of};
use crate::sip::header::Name;
use crate::sip::inspection::ALLOW;
use crate::sip::message::Message;
use crate::sip::stack::Stack;
use crate::sip::transport::Destination;
use crate::sip::user_agent::Event;
use crate::stats;

impl Call {
    /// The caller's, while the call alerts here.
    pub(super) fn on_caller_update(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let Phase::Alerting(alerting) = &mut self.phase else { return };
        let has_offer = sdp_of(request).is_some();
        let objection = match &alerting.reliable {
            Some(reliable) => reliable.objection(),
            // The INVITE's offer has no answer that the caller is sure to have.
            None => Some(500),
        };
        if let Some(status) = objection.filter(|_| has_offer) {
            return object(now, stack, request, source, status);
        }
        let Some(transaction) = stack.serve(now, request, source, None) else { return };
        // The dialog is made of the INVITE: its target moves there.
        if let Some(contact) = request.header(&Name::Contact) {
            alerting.invite.headers.remove(&Name::Contact);
            alerting.invite.headers.push(Name::Contact, contact);
        }
        alerting.source = source;
        if has_offer {
            return self.take_early_offer(stack, request, source, transaction);
        }
        let response = agreed(stack, request, source, &alerting.contact);
        stack.table.respond(now, &mut stack.transports, transaction, &response);
    }

    /// A callee's, while we wait for its answer; its early dialog is there.
    pub(super) fn on_callee_update(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let mut all = self.attempts.iter_mut().flat_map(|attempt| {
            let has_offer = attempt.has_offer;
            attempt.early.iter_mut().map(move |early| (early, has_offer))
        });
        let Some((early, is_ours)) = all.find(|(early, _)| early.dialog.has(request)) else {
            return;
        };
        let has_offer = sdp_of(request).is_some();
        if has_offer && (!early.is_agreed || early.update.is_some()) {
            // Our offer is open until its answer; else the callee's is.
            let is_ours_open = is_ours && !early.is_agreed;
            let status = if is_ours_open { 491 } else { 500 };
            return object(now, stack, request, source, status);
        }
        let Some(transaction) = stack.serve(now, request, source, None) else { return };
        early.dialog.refresh(request, source);
        if has_offer {
            early.update = Some(Change { transaction, request: request.clone(), source });
            let (headers, sdp) = (extra_headers(request), sdp_of(request));
            return self.tell(stack, Event::Change { call: self.id, headers, sdp });
        }
        let response = agreed(stack, request, source, early.dialog.contact());
        stack.table.respond(now, &mut stack.transports, transaction, &response);
    }

    /// The session's answer to a callee's offer, or its refusal.
    pub(super) fn end_callee_update(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
        sdp: Option<Vec<u8>>,
    ) {
        let mut all = self.attempts.iter_mut().flat_map(|attempt| &mut attempt.early);
        let Some((early, update)) =
            all.find_map(|early| early.update.take().map(|update| (early, update)))
        else {
            return;
        };
        let Change { transaction, request, source } = update;
        let response = match sdp {
            None => stack.response(&request, status),
            Some(sdp) => {
                // What it said before does not hold any more.
                early.answer = None;
                let mut response = agreed(stack, &request, source, early.dialog.contact());
                response.set_body(super::SDP, sdp);
                response
            }
        };
        stack.table.respond(now, &mut stack.transports, transaction, &response);
    }
}

/// 200 without a body.
fn agreed(stack: &Stack, request: &Message, source: Destination, contact: &str) -> Message {
    let mut response = stack.response(request, 200);
    response.headers.push(Name::Contact, stack.contact(source, contact, request).to_string());
    response.headers.push(Name::Allow, ALLOW);
    response
}

fn object(now: Instant, stack: &mut Stack, request: &Message, source: Destination, status: u16) {
    stats::SIP_REFUSED_REQUESTS.add(1);
    let response = match status {
        500 => busy(stack, request),
        _ => stack.response(request, status),
    };
    stack.answer(now, source, response);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{Bench, CONTACT, Sent, invite, request};
    use crate::sip::user_agent::{CallId, ExtraHeaders};

    const SDP: &str = "Content-Type: application/sdp\n";

    /// The trunk calls with 100rel; we send early media.
    fn early(bench: &mut Bench) -> (CallId, Sent) {
        bench.receive(&invite().replace("Content-Type", "Supported: 100rel\nContent-Type"));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        let call = incoming.call;
        let none = ExtraHeaders::new();
        bench.act(|agent, now| agent.progress(now, call, &none, b"v=1".to_vec()));
        (call, bench.expect("SIP/2.0 183"))
    }

    fn acknowledge(bench: &mut Bench, progress: &Sent) {
        let rack = format!("RAck: {} 1 INVITE\n", progress.header("RSeq"));
        bench.receive(&request("PRACK", "2", progress.tag("To"), &rack, ""));
        bench.expect("SIP/2.0 200");
    }

    #[test]
    fn callers_update_without_offer_moves_the_target() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.ring(now, call, &ExtraHeaders::new()));
        let ringing = bench.expect("SIP/2.0 180");
        let update = request("UPDATE", "2", ringing.tag("To"), "", "");
        bench.receive(&update.replace("<sip:100@192.0.2.10:5060>", "<sip:n@192.0.2.11>"));
        let ok = bench.expect("SIP/2.0 200");
        assert_eq!(ok.header("Contact"), "<sip:200@192.0.2.1:5060>");
        assert!(ok.header("Allow").contains("UPDATE"));
        let none = ExtraHeaders::new();
        bench.act(|agent, now| agent.accept(now, call, &none, None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.receive(&ok.ack());
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        bench.expect("BYE sip:n@192.0.2.11 ");
    }

    #[test]
    fn rfc3311_5_2_callers_offer_waits_until_the_first_one_is_answered() {
        let mut bench = Bench::new();
        let (call, progress) = early(&mut bench);
        let tag = progress.tag("To").to_owned();
        bench.receive(&request("UPDATE", "2", &tag, SDP, "v=5"));
        assert!(!bench.expect("SIP/2.0 500").header("Retry-After").is_empty());
        let rack = format!("RAck: {} 1 INVITE\n", progress.header("RSeq"));
        bench.receive(&request("PRACK", "3", &tag, &rack, ""));
        bench.expect("SIP/2.0 200");
        bench.receive(&request("UPDATE", "4", &tag, SDP, "v=5"));
        let Event::Change { sdp, .. } = bench.event() else { panic!("Change") };
        assert_eq!(sdp.as_deref(), Some(&b"v=5"[..]));
        // Another one meanwhile.
        bench.receive(&request("UPDATE", "5", &tag, SDP, "v=6"));
        bench.expect("SIP/2.0 500");
        bench.act(|agent, now| agent.accept_change(now, call, b"v=7".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        assert_eq!((ok.header("CSeq"), ok.body()), ("4 UPDATE", "v=7"));
        assert_eq!(ok.header("Contact"), "<sip:200@192.0.2.1:5060>");
    }

    #[test]
    fn callers_offer_that_the_session_refuses_leaves_the_call() {
        let mut bench = Bench::new();
        let (call, progress) = early(&mut bench);
        acknowledge(&mut bench, &progress);
        bench.receive(&request("UPDATE", "3", progress.tag("To"), SDP, "v=5"));
        bench.act(|agent, now| agent.reject_change(now, call, 488));
        bench.expect("SIP/2.0 488");
        assert_eq!(bench.agent.usage().calls, 1);
    }

    /// A reliable response of a callee.
    fn reliable(invite: &Sent, body: &str) -> String {
        let kind = if body.is_empty() { "" } else { SDP };
        let headers =
            format!("Require: 100rel\nRSeq: 1\nContact: <sip:t1@192.0.2.10:5060>\n{kind}");
        invite.answer(183, "t1", &headers, body)
    }

    /// An UPDATE of that callee.
    fn update(invite: &Sent, number: u32, headers: &str, body: &str) -> String {
        let from = invite.header("To");
        format!(
            "UPDATE sip:200@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKu{number}\n\
             From: {from};tag=t1\nTo: {}\nCall-ID: {}\nCSeq: {number} UPDATE\n\
             Contact: <sip:t2@192.0.2.12>\n{headers}\n{body}",
            invite.header("From"),
            invite.header("Call-ID"),
        )
    }

    #[test]
    fn callees_update_changes_early_media_and_target() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        bench.receive(&reliable(&invite, "v=1"));
        let prack = bench.expect("PRACK ");
        bench.receive(&prack.response(200, ""));
        assert!(matches!(bench.event(), Event::Progress { .. }));
        bench.receive(&update(&invite, 1, SDP, "v=5"));
        let Event::Change { sdp, .. } = bench.event() else { panic!("Change") };
        assert_eq!(sdp.as_deref(), Some(&b"v=5"[..]));
        bench.receive(&update(&invite, 2, SDP, "v=6"));
        bench.expect("SIP/2.0 500");
        bench.act(|agent, now| agent.accept_change(now, call, b"v=7".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        assert_eq!((ok.header("CSeq"), ok.body()), ("1 UPDATE", "v=7"));
        // The 2xx does not bring the old answer back.
        bench.receive(&invite.answer(200, "t1", "Contact: <sip:t2@192.0.2.12>\n", ""));
        bench.expect("ACK sip:t2@192.0.2.12 ");
        assert!(matches!(bench.event(), Event::Answered { sdp: None, .. }));
    }

    #[test]
    fn callees_offer_while_ours_is_open_is_refused_491() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        bench.receive(&reliable(&invite, ""));
        bench.expect("PRACK ");
        assert!(matches!(bench.event(), Event::Progress { .. }));
        bench.receive(&update(&invite, 1, SDP, "v=5"));
        bench.expect("SIP/2.0 491");
        bench.receive(&update(&invite, 2, "", ""));
        bench.expect("SIP/2.0 200");
        bench.receive(&invite.answer(200, "t1", CONTACT, "v=3"));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Answered { sdp: Some(_), .. }));
        let _ = call;
    }
}
