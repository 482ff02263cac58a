//! A call from its 2xx to its end: ACK, requests inside the dialog, BYE (RFC 3261 §12.2, §13.2.2.4,
//! §13.3.1.4, §15).

use std::time::{Duration, Instant};

use super::modify::Change;
use super::refresh::Running;
use super::reinvite::Asked;
use super::transfer::Transfers;
use super::{ACK_PATIENCE, Call, CallTimer, Phase, add_extra_headers, extra_headers, sdp_of};
use crate::sip::authorization::Login;
use crate::sip::dialog::Dialog;
use crate::sip::header::Name;
use crate::sip::message::{Message, Method, reason_phrase};
use crate::sip::outgoing::{Outcome, Outgoing, Owner};
use crate::sip::reason::Reason;
use crate::sip::stack::Stack;
use crate::sip::transaction::{T1, T2, TransactionId};
use crate::sip::transport::Destination;
use crate::sip::user_agent::{Event, ExtraHeaders, Modification};
use crate::sip::{info, inspection, options};
use crate::stats;

/// What a call is while its dialog stands.
pub(super) struct Confirmed {
    pub dialog: Dialog,
    pub login: Option<Login>,
    /// We called: the Call-ID is ours.
    pub is_caller: bool,
    /// The peer takes UPDATE.
    pub allows_update: bool,
    pub timer: Option<Running>,
    /// A re-INVITE or UPDATE of ours.
    pub asked: Option<Box<Asked>>,
    /// What the session wants changed once the refresh in `asked` is done.
    pub next: Option<Box<Modification>>,
    /// Our 2xx to the INVITE or a re-INVITE, until its ACK.
    pub unacknowledged: Option<Answer>,
    /// A re-INVITE of the peer that waits for the session.
    pub change: Option<Change>,
    /// From the first REFER on.
    pub transfers: Option<Box<Transfers>>,
    /// The session hung up before the ACK of our first 2xx: BYE must wait for it (§15). Or before
    /// the last NOTIFY of a transfer arrived.
    pub leaving: Option<ExtraHeaders>,
    /// The ACK of our first 2xx came, or we called.
    pub is_confirmed: bool,
    /// RSeq of our last reliable response, where its PRACK had not come before our 2xx.
    pub late_prack: Option<u32>,
    /// The ACK of a 2xx with an offer, until the session answers it.
    pub owed_ack: Option<Box<Outgoing>>,
    /// Our requests inside the dialog that have no final response. Full: the next is not sent,
    /// counted as `sip_send_failed_total`: one call cannot fill the table of transactions.
    pub open_requests: usize,
}

/// A 2xx of ours that is sent again until its ACK comes.
pub(super) struct Answer {
    number: u32,
    way: Destination,
    bytes: Vec<u8>,
    interval: Duration,
}

/// What a call is while its BYE is on the way.
pub(super) struct Leaving {
    pub dialog: Dialog,
    login: Option<Login>,
}

impl Confirmed {
    /// Of a call that we made.
    pub fn of_answer(dialog: Dialog, login: Option<Login>) -> Self {
        Self {
            dialog,
            login,
            is_caller: true,
            allows_update: false,
            timer: None,
            asked: None,
            next: None,
            unacknowledged: None,
            change: None,
            transfers: None,
            leaving: None,
            is_confirmed: true,
            late_prack: None,
            owed_ack: None,
            open_requests: 0,
        }
    }

    /// Of a call that we answer.
    pub fn of_invite(dialog: Dialog) -> Self {
        Self { is_confirmed: false, is_caller: false, ..Self::of_answer(dialog, None) }
    }

    /// No INVITE of the peer is under way: it is ours to send one (RFC 3261 §14.1).
    pub fn is_free(&self) -> bool {
        let is_answered = self.unacknowledged.is_none() && self.owed_ack.is_none();
        self.is_confirmed && self.change.is_none() && is_answered
    }
}

impl Call {
    /// Sends a 2xx to an INVITE and watches for its ACK, over reliable transports too: a proxy
    /// further on may have lost it.
    pub(super) fn send_answer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        transaction: TransactionId,
        number: u32,
        response: &Message,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let sent = stack.table.respond(now, &mut stack.transports, transaction, response);
        if let Some((way, bytes)) = sent {
            confirmed.unacknowledged = Some(Answer { number, way, bytes, interval: T1 });
            stack.timers.arm((self.id, CallTimer::Answer), now + T1);
            stack.timers.arm((self.id, CallTimer::NoAck), now + ACK_PATIENCE);
        }
    }

    pub(super) fn on_answer_timer(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(answer) = &mut confirmed.unacknowledged else { return };
        stats::SIP_RETRANSMISSIONS.add(1);
        if stack.transports.send(now, answer.way, answer.bytes.clone()).is_err() {
            stats::SIP_SEND_FAILED.add(1);
        }
        answer.interval = (answer.interval * 2).min(T2);
        stack.timers.arm((self.id, CallTimer::Answer), now + answer.interval);
    }

    /// The peer never had our 2xx, or cannot reach us: BYE (§13.3.1.4).
    pub(super) fn on_no_ack(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        confirmed.unacknowledged = None;
        let headers = confirmed.leaving.take().unwrap_or_default();
        self.end(now, stack, 408, &headers);
    }

    pub(super) fn on_ack(&mut self, now: Instant, stack: &mut Stack, ack: &Message) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let is_awaited = confirmed
            .unacknowledged
            .as_ref()
            .is_some_and(|answer| answer.number == ack.cseq.number);
        if !is_awaited || !confirmed.dialog.has(ack) {
            return;
        }
        confirmed.unacknowledged = None;
        confirmed.is_confirmed = true;
        stack.timers.disarm((self.id, CallTimer::Answer));
        stack.timers.disarm((self.id, CallTimer::NoAck));
        match confirmed.leaving.take() {
            Some(headers) => self.send_bye(now, stack, &headers, None),
            None => {
                self.tell(stack, Event::Confirmed { call: self.id, sdp: sdp_of(ack) });
                self.go_on_asking(now, stack);
            }
        }
    }

    pub(super) fn acknowledge_again(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        response: &Message,
    ) {
        if let Phase::Confirmed(confirmed) = &self.phase
            && confirmed.dialog.is_answered_by(response)
        {
            let ack = confirmed.dialog.ack(response.cseq.number, Owner::Nobody);
            stack.send(now, ack);
        }
    }

    /// The session hangs up.
    pub(super) fn leave(&mut self, now: Instant, stack: &mut Stack, headers: &ExtraHeaders) {
        self.reject_refer(now, stack, 603);
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        self.is_held = false;
        // An offer that we do not answer is acknowledged all the same (RFC 3261 §13.2.2.4).
        if let Some(ack) = confirmed.owed_ack.take() {
            stack.send(now, ack);
        }
        match confirmed.is_confirmed && !confirmed.is_notifying() {
            true => self.send_bye(now, stack, headers, None),
            false => confirmed.leaving = Some(headers.clone()),
        }
    }

    /// The dialog is dead: BYE, in case the peer does not know, and `Event::Ended`.
    pub(super) fn end(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        status: u16,
        headers: &ExtraHeaders,
    ) {
        self.reject_refer(now, stack, 603);
        self.send_bye(now, stack, headers, Some(status));
        self.tell_ended(stack, Reason { status, text: None }, ExtraHeaders::new());
    }

    fn tell_ended(&mut self, stack: &mut Stack, reason: Reason, headers: ExtraHeaders) {
        let Reason { status, text } = reason;
        let reason = text.unwrap_or_else(|| match status {
            200 => "Normal call clearing".to_owned(),
            _ => reason_phrase(status).to_owned(),
        });
        self.tell(stack, Event::Ended { call: self.id, status, reason, headers });
        self.is_held = false;
    }

    /// `cause`: what only we know of the end.
    pub(super) fn send_bye(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        headers: &ExtraHeaders,
        cause: Option<u16>,
    ) {
        self.stop_asking(now, stack);
        self.cancel_any_change(now, stack);
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let Phase::Confirmed(confirmed) = phase else { return };
        let Confirmed { mut dialog, mut login, .. } = *confirmed;
        stack.timers.disarm((self.id, CallTimer::Answer));
        stack.timers.disarm((self.id, CallTimer::NoAck));
        stack.timers.disarm((self.id, CallTimer::Session));
        let mut bye = dialog.request(Method::Bye, Owner::Dialog { call: self.id });
        if let Some(status) = cause {
            bye.request.headers.push(Name::Reason, Reason::of_status(status).to_string());
        }
        add_extra_headers(&mut bye.request, headers);
        if let Some(login) = &mut login {
            login.sign(&mut bye.request, &mut stack.random);
        }
        self.phase = Phase::Leaving(Box::new(Leaving { dialog, login }));
        stack.send(now, bye);
    }

    /// Any request but ACK and CANCEL with the call's local tag. `false`: other tags differ.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) -> bool {
        let confirmed = match &mut self.phase {
            Phase::Calling(_) => return self.on_callee_request(now, stack, request, source),
            Phase::Alerting(alerting) => {
                return alerting.has(request) && self.on_early_request(now, stack, request, source);
            }
            Phase::Leaving(leaving) if leaving.dialog.has(request) => {
                // BYEs that crossed.
                let is_bye = *request.method() == Method::Bye;
                if is_bye {
                    let response = stack.response(request, 200);
                    stack.answer(now, source, response);
                }
                return is_bye;
            }
            Phase::Confirmed(confirmed) if confirmed.dialog.has(request) => confirmed,
            _ => return false,
        };
        if let Some(refusal) = inspection::inspect(request) {
            stack.answer(now, source, refusal.response(stack, request));
            return true;
        }
        if confirmed.dialog.check_order(request).is_err() {
            stats::SIP_REFUSED_REQUESTS.add(1);
            let response = stack.response(request, 500);
            stack.answer(now, source, response);
            return true;
        }
        match request.method() {
            Method::Invite | Method::Update => self.on_change_request(now, stack, request, source),
            Method::Bye => self.on_bye(now, stack, request, source),
            Method::Info | Method::Message => self.on_content(now, stack, request, source),
            Method::Options => stack.answer(now, source, options::response(stack, request)),
            Method::Refer => self.on_refer(now, stack, request, source),
            Method::Notify => self.on_notify(now, stack, request, source),
            Method::Prack => self.on_late_prack(now, stack, request, source),
            _ => {
                let response = inspection::not_allowed(stack, request);
                stack.answer(now, source, response);
            }
        }
        true
    }

    fn on_bye(&mut self, now: Instant, stack: &mut Stack, request: &Message, source: Destination) {
        self.stop_asking(now, stack);
        self.cancel_any_change(now, stack);
        self.end_transfers(now, stack);
        let response = stack.response(request, 200);
        match stack.table.start_server(now, request, source, None) {
            Ok(id) => {
                stack.table.respond(now, &mut stack.transports, id, &response);
            }
            // Ending a call makes room: it is never refused.
            Err(_) => stack.answer(now, source, response),
        }
        self.phase = Phase::Over;
        let reason = Reason::of(request).unwrap_or(Reason { status: 200, text: None });
        self.tell_ended(stack, reason, extra_headers(request));
    }

    /// INFO or MESSAGE: 200, and the session hears it.
    pub(super) fn on_content(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let Some(id) = stack.serve(now, request, source, None) else { return };
        let response = stack.response(request, 200);
        stack.table.respond(now, &mut stack.transports, id, &response);
        // An empty INFO is a keep-alive of old gateways.
        if !request.body.is_empty() {
            self.tell(stack, info::event(self.id, request, extra_headers(request)));
        }
    }

    pub(super) fn send_content(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        content: info::Content<'_>,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        if confirmed.open_requests >= OPEN_REQUESTS {
            return stats::SIP_SEND_FAILED.add(1);
        }
        confirmed.open_requests += 1;
        let owner = Owner::Dialog { call: self.id };
        let mut outgoing = confirmed.dialog.request(content.method, owner);
        if outgoing.request.cseq.method == Method::Message {
            // RFC 3428 §4: MESSAGE makes no target.
            outgoing.contact = None;
        }
        add_extra_headers(&mut outgoing.request, content.headers);
        outgoing.request.set_body(content.content_type, content.body);
        if let Some(login) = &mut confirmed.login {
            login.sign(&mut outgoing.request, &mut stack.random);
        }
        stack.send(now, outgoing);
    }

    /// What became of a request of ours inside the dialog.
    pub(super) fn on_dialog_outcome(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        mut outgoing: Box<Outgoing>,
        outcome: Outcome,
    ) {
        let (dialog, login) = match &mut self.phase {
            Phase::Confirmed(confirmed) => (&mut confirmed.dialog, &mut confirmed.login),
            Phase::Leaving(leaving) => (&mut leaving.dialog, &mut leaving.login),
            Phase::Calling(_) => match self.early_of(&outgoing.request) {
                Some(early) => early,
                None => return,
            },
            Phase::Alerting(_) | Phase::Over => return,
        };
        // A PRACK to another callee than the one that answered.
        if dialog.remote.tag() != outgoing.request.to.tag() {
            return;
        }
        let status = match &outcome {
            Outcome::Response(response) => response.status().unwrap_or_default(),
            Outcome::Failed(status) => *status,
        };
        if let (Outcome::Response(response), 401 | 407, Some(login)) = (&outcome, status, login)
            && login.learn(&outgoing.request, response)
        {
            dialog.renumber(&mut outgoing.request);
            outgoing.request.via.clear();
            outgoing.targets.clear();
            login.sign(&mut outgoing.request, &mut stack.random);
            if *outgoing.request.method() == Method::Refer {
                self.renumber_refer(outgoing.request.cseq.number);
            }
            return stack.send(now, outgoing);
        }
        // A callee that refuses it, or does not answer, ends its INVITE by itself.
        if *outgoing.request.method() == Method::Prack {
            return;
        }
        let is_bye = *outgoing.request.method() == Method::Bye;
        if let Phase::Confirmed(confirmed) = &mut self.phase {
            confirmed.open_requests = confirmed.open_requests.saturating_sub(1);
        }
        match outgoing.request.method() {
            Method::Notify => return self.on_notify_outcome(now, stack, status),
            Method::Refer => self.on_refer_outcome(stack, &outcome),
            _ => {}
        }
        match &self.phase {
            Phase::Leaving(_) if is_bye => self.phase = Phase::Over,
            // RFC 3261 §12.2.1.2, RFC 5057 §5.1: the peer has no such call.
            Phase::Confirmed(_) if matches!(status, 408 | 481) => {
                self.end(now, stack, status, &ExtraHeaders::new());
            }
            _ => {}
        }
    }
}

/// Digits by INFO come every 200 ms: room for a peer that is three seconds behind.
const OPEN_REQUESTS: usize = 16;

/// Answers that are due again later (RFC 3261 §14.2): 0 to 10 seconds.
pub(super) fn busy(stack: &mut Stack, request: &Message) -> Message {
    let seconds = stack.random.next_u32() % 11;
    let mut response = stack.response(request, 500);
    response.headers.push(Name::RetryAfter, seconds.to_string());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{ANSWER, Bench, CONTACT, PBX, STRANGER, request};

    fn none() -> ExtraHeaders {
        ExtraHeaders::new()
    }

    #[test]
    fn bye_of_the_peer_ends_the_call() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        let bye = request("BYE", "2", ok.tag("To"), "X-Why: done\n", "");
        bench.receive(&bye);
        let answer = bench.expect("SIP/2.0 200");
        let Event::Ended { call: ended, status, reason, headers } = bench.event() else {
            panic!("Ended")
        };
        assert_eq!((ended, status, reason.as_str()), (call, 200, "Normal call clearing"));
        assert_eq!(headers, [("X-Why".to_owned(), "done".to_owned())]);
        bench.receive(&bye);
        assert_eq!(bench.sent().text, answer.text);
        assert_eq!(bench.agent.usage().calls, 0);
        bench.empty();
    }

    #[test]
    fn hangup_of_an_incoming_call_sends_bye_with_swapped_tags() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.act(|agent, now| agent.hangup(now, call, &vec![("X-Why".into(), "x".into())]));
        let bye = bench.expect("BYE sip:100@192.0.2.10:5060 ");
        assert_eq!((bye.tag("From"), bye.tag("To")), (ok.tag("To"), "f1"));
        assert_eq!((bye.header("Call-ID"), bye.header("X-Why")), ("c1@192.0.2.10", "x"));
        assert_eq!(bye.header("CSeq"), "1 BYE");
        bench.receive(&bye.response(200, ""));
        bench.quiet();
        assert_eq!(bench.agent.usage().calls, 0);
        bench.empty();
    }

    #[test]
    fn hangup_before_the_ack_waits_for_it() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.accept(now, call, &none(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        bench.quiet();
        bench.receive(&ok.ack());
        let bye = bench.expect("BYE ");
        bench.receive(&bye.response(200, ""));
        bench.quiet();
        bench.empty();
    }

    #[test]
    fn hangup_of_an_outgoing_call_sends_bye_over_the_route_set() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        let routes = "Record-Route: <sip:192.0.2.50;lr>, <sip:192.0.2.51;lr>\n";
        bench.receive(&invite.answer(200, "t1", &format!("{routes}{CONTACT}"), ANSWER));
        let ack = bench.expect("ACK sip:100@192.0.2.10:5060 ");
        let expected = ["<sip:192.0.2.51;lr>", "<sip:192.0.2.50;lr>"];
        assert_eq!(ack.all("Route"), expected);
        assert_eq!(ack.to, "192.0.2.51:5060".parse().unwrap());
        bench.event();
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        let bye = bench.expect("BYE sip:100@192.0.2.10:5060 ");
        assert_eq!(bye.all("Route"), expected);
        bench.receive(&bye.response(200, ""));
        bench.empty();
    }

    #[test]
    fn strict_router_gets_itself_in_the_request_uri() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        let routes = "Record-Route: <sip:192.0.2.50>\n";
        bench.receive(&invite.answer(200, "t1", &format!("{routes}{CONTACT}"), ANSWER));
        let ack = bench.expect("ACK sip:192.0.2.50 ");
        assert_eq!(ack.all("Route"), ["<sip:100@192.0.2.10:5060>"]);
    }

    #[test]
    fn bye_that_nobody_answers_ends_all_the_same() {
        let mut bench = Bench::new();
        let (call, _) = bench.answered();
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        bench.empty();
        assert_eq!(bench.all_sent().len(), 11);
    }

    #[test]
    fn byes_that_cross_are_both_answered() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        let bye = bench.expect("BYE ");
        bench.receive(&request("BYE", "2", ok.tag("To"), "", ""));
        bench.expect("SIP/2.0 200");
        bench.receive(&bye.response(481, ""));
        bench.quiet();
        bench.empty();
    }

    #[test]
    fn challenged_bye_is_signed() {
        let mut bench = Bench::with(|config| {
            config.trunks[0].username = "acc".into();
            config.trunks[0].password = "pw".into();
        });
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        let bye = bench.expect("BYE ");
        let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\n";
        bench.receive(&bye.answer(407, "", challenge, ""));
        let again = bench.expect("BYE ");
        assert!(again.header("Proxy-Authorization").contains("nonce=\"n\""));
        let number = |text: &str| text.split(' ').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(number(again.header("CSeq")), number(bye.header("CSeq")) + 1);
        bench.receive(&again.response(200, ""));
        assert_eq!(bench.agent.usage().calls, 0);
        bench.empty();
    }

    #[test]
    fn info_is_answered_and_told_once() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        let headers = "Content-Type: application/dtmf-relay\nX-A: 1\n";
        let info = request("INFO", "2", ok.tag("To"), headers, "Signal=5");
        bench.receive(&info);
        bench.receive(&info);
        bench.expect("SIP/2.0 200");
        bench.expect("SIP/2.0 200");
        let Event::Info { content_type, body, headers, .. } = bench.event() else { panic!("Info") };
        assert_eq!(content_type, "application/dtmf-relay");
        assert_eq!((body.as_slice(), headers.len()), (&b"Signal=5"[..], 1));
        bench.quiet();
    }

    #[test]
    fn message_is_answered_and_told() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        bench.receive(&request("MESSAGE", "2", ok.tag("To"), "Content-Type: text/plain\n", "hi"));
        bench.expect("SIP/2.0 200");
        assert!(matches!(bench.event(), Event::Message { .. }));
    }

    #[test]
    fn our_info_and_message_go_to_the_remote_target() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        bench.act(|agent, now| {
            agent.info(now, call, &none(), "application/dtmf-relay", b"Signal=1".to_vec());
            agent.message(now, call, "hello");
        });
        let info = bench.expect("INFO sip:100@192.0.2.10:5060 ");
        assert_eq!(info.body(), "Signal=1");
        let message = bench.expect("MESSAGE ");
        assert_eq!((message.body(), message.header("Contact")), ("hello", ""));
        bench.receive(&info.response(200, ""));
        bench.receive(&message.response(200, ""));
        bench.quiet();
    }

    #[test]
    fn info_that_the_peer_does_not_know_ends_the_call() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.info(now, call, &none(), "a/b", b"x".to_vec()));
        let info = bench.expect("INFO ");
        bench.receive(&info.response(481, ""));
        let bye = bench.expect("BYE ");
        assert!(matches!(bench.event(), Event::Ended { status: 481, .. }));
        bench.receive(&bye.response(481, ""));
        bench.empty();
    }

    #[test]
    fn requests_without_an_answer_are_capped() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        for _ in 0..20 {
            bench.act(|agent, now| agent.message(now, call, "x"));
        }
        let messages: Vec<_> = (0..16).map(|_| bench.expect("MESSAGE ")).collect();
        bench.quiet();
        bench.receive(&messages[0].response(200, ""));
        bench.act(|agent, now| agent.message(now, call, "x"));
        bench.expect("MESSAGE ");
    }

    #[test]
    fn info_that_the_peer_refuses_changes_nothing() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.info(now, call, &none(), "a/b", b"x".to_vec()));
        let info = bench.expect("INFO ");
        bench.receive(&info.response(415, ""));
        bench.quiet();
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn request_out_of_order_is_refused_500() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        bench.receive(&request("INFO", "7", ok.tag("To"), "", ""));
        bench.expect("SIP/2.0 200");
        bench.receive(&request("INFO", "6", ok.tag("To"), "", ""));
        bench.expect("SIP/2.0 500");
        bench.quiet();
    }

    #[test]
    fn request_with_other_tags_is_answered_481() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        let bye = request("BYE", "2", ok.tag("To"), "", "");
        bench.receive_from(STRANGER, &bye.replace("tag=f1", "tag=f2"));
        bench.expect("SIP/2.0 481");
        bench.receive_from(STRANGER, &bye.replace(ok.tag("To"), "999-abc"));
        bench.expect("SIP/2.0 481");
        bench.receive_from(STRANGER, &bye.replace("c1@", "c2@"));
        bench.expect("SIP/2.0 481");
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn options_in_a_dialog_is_answered_200_notify_481_publish_405() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        for (number, (method, status)) in
            [("OPTIONS", 200), ("NOTIFY", 481), ("PUBLISH", 405)].into_iter().enumerate()
        {
            let branch = (number + 2).to_string();
            bench.receive(&request(method, &branch, ok.tag("To"), "", ""));
            let response = bench.expect(&format!("SIP/2.0 {status}"));
            assert_eq!(response.header("Allow").is_empty(), status == 481);
        }
        bench.quiet();
    }

    #[test]
    fn peer_behind_a_nat_is_answered_on_its_way() {
        let mut bench = Bench::new();
        let text = crate::sip::tests::bench::invite()
            .replace("Contact: <sip:100@192.0.2.10:5060>", "Contact: <sip:100@10.0.0.7:5066>");
        bench.receive(&text);
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        let call = incoming.call;
        bench.act(|agent, now| agent.accept(now, call, &none(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.receive(&ok.ack());
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        let bye = bench.expect("BYE sip:100@10.0.0.7:5066 ");
        assert_eq!(bye.to, PBX.parse().unwrap());
    }
}
