//! Our INVITE until it is answered or has failed (RFC 3261 §13.2): provisional responses, forks,
//! CANCEL. What is sent once more after a refusal is made in `again`.

use std::collections::VecDeque;
use std::time::Instant;

use super::again::{
    MAX_REDIRECTIONS, contacts, follow, follows, go_through_proxy, is_of_flow, send_again,
    take_off_unsupported,
};
use super::confirmed::Confirmed;
use super::early::{Early, Heard, PRACKS, Provisional};
use super::failure::Failure;
use super::refresh::{self, Interval};
use super::target::{self, Route};
use super::{
    Call, CallTimer, Calls, Party, Phase, add_extra_headers, extra_headers, reliable, sdp_of,
};
use crate::sip::authorization::Login;
use crate::sip::dialog::Dialog;
use crate::sip::header::Name;
use crate::sip::inspection;
use crate::sip::message::{Message, Method, Start};
use crate::sip::name_addr::NameAddr;
use crate::sip::outgoing::{Outcome, Outgoing, Owner};
use crate::sip::stack::Stack;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Destination;
use crate::sip::uri::Uri;
use crate::sip::user_agent::{
    Binding, CallId, Event, ExtraHeaders, Invite, Prack, Refused, Target, Trunk,
};
use crate::stats;

/// What a call is before its answer.
#[derive(Default)]
pub(super) struct Calling {
    /// The failure to report when no attempt is left.
    best: Option<Failure>,
    /// Times that a 3xx was followed.
    redirections: usize,
    /// No response came yet, and `NoResponse` is armed.
    is_impatient: bool,
}

/// One INVITE, with those that follow it up: the same with credentials, to another contact.
pub(super) struct Attempt {
    pub number: u32,
    /// Known from its first provisional response on; before, there is nothing to cancel.
    transaction: Option<TransactionId>,
    wish: Wish,
    pub login: Option<Login>,
    /// Contacts of a 3xx that are not tried yet.
    alternatives: VecDeque<Uri>,
    /// Request URIs that were answered by a 3xx: none is tried twice (RFC 3261 §8.1.3.4).
    visited: Vec<Uri>,
    /// User part of our Contact.
    pub contact: String,
    pub is_phone: bool,
    /// Its INVITE has an offer.
    pub has_offer: bool,
    /// Callees that ask for PRACK, in the order in which they were first heard.
    pub early: Vec<Early>,
    /// Other flows of the same phone.
    others: VecDeque<Route>,
    /// Times that a 422 was followed.
    lengthened: u32,
}

enum Wish {
    Answer,
    /// CANCEL with these headers, once there is a provisional response (RFC 3261 §9.1).
    Cancel(ExtraHeaders),
    /// The same, where somebody else answered.
    Lost,
    Cancelled,
}

impl Calls {
    /// Begins a call. `bindings` are those of the user that is called.
    pub fn invite(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        invite: Invite,
        bindings: &[Binding],
    ) -> Result<CallId, Refused> {
        let routes = target::routes(stack, &invite.target, bindings)?;
        let id = self.insert().ok_or_else(|| {
            stats::SIP_REFUSED_FULL_CALLS.add(1);
            target::refused(503)
        })?;
        self.with(stack, id, |call, stack| {
            let is_impatient = invite.patience.is_some();
            if let Some(patience) = invite.patience {
                stack.timers.arm((id, CallTimer::NoResponse), now + patience);
            }
            call.phase = Phase::Calling(Calling { is_impatient, ..Calling::default() });
            call.party = Party::called(&invite.target);
            stack.timers.arm((id, CallTimer::NoAnswer), now + invite.timeout);
            for (number, route) in (0..).zip(routes) {
                call.start_attempt(now, stack, number, route, &invite);
            }
        });
        Ok(id)
    }
}

impl Call {
    fn start_attempt(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        attempt: u32,
        route: Route,
        invite: &Invite,
    ) {
        let tag = Self::new_tag(self.id, stack);
        let call_id = stack.random.hex(CALL_ID_BYTES);
        let number = 1 + stack.random.next_u32() % FIRST_CSEQ;
        let caller = target::caller(stack, &route, invite);
        let mut from = caller.from;
        from.set_tag(tag);
        let trunk = target::trunk_of(stack, &invite.target);
        // A registrar knows us by the contact that we registered.
        let contact = match trunk.filter(|trunk| trunk.register) {
            Some(trunk) => trunk.contact_user().to_owned(),
            None => from.uri.user.clone().unwrap_or_default(),
        };
        let login = match &invite.credentials {
            Some((username, password)) => Some(Login::new(username, password)),
            None => trunk.and_then(Trunk::login),
        };
        let prack = trunk.map_or(Prack::default(), |trunk| trunk.prack);
        let to = target::to(stack, &route, &invite.target);
        let request =
            Message::request(Method::Invite, route.uri, from, NameAddr::new(to), call_id, number);
        let owner = Owner::Invite { call: self.id, attempt };
        let mut outgoing = Outgoing::new(request, route.hop, owner).with_contact(&contact);
        outgoing.is_hurried = !route.others.is_empty();
        let headers = &mut outgoing.request.headers;
        headers.push(Name::MaxForwards, invite.max_forwards.to_string());
        for next in route.routes {
            headers.push(Name::Route, NameAddr::new(next).to_string());
        }
        headers.push(Name::Allow, inspection::ALLOW);
        reliable::ask(headers, prack);
        refresh::ask(&stack.config.session_timer, None, headers);
        if !stack.config.product.is_empty() {
            headers.push(Name::UserAgent, stack.config.product.as_str());
        }
        add_extra_headers(&mut outgoing.request, &invite.headers);
        if let Some(diverted) = &invite.diverted {
            diverted.add_to(&mut outgoing.request, &caller.identity.uri.host);
        }
        if let Some(policy) = trunk.map(|trunk| &trunk.identity) {
            let passed = invite.headers.iter().filter(|(name, _)| policy.passes(name));
            for (name, value) in passed {
                outgoing.request.headers.push(Name::from(name.as_str()), value.as_str());
            }
            policy.assert(&mut outgoing.request, &caller.identity, caller.is_hidden);
        }
        match &invite.offer {
            Some(offer) => outgoing.request.set_body(super::SDP, offer.clone()),
            None => outgoing.request.headers.push(Name::Accept, super::SDP),
        }
        self.attempts.push(Attempt {
            number: attempt,
            transaction: None,
            wish: Wish::Answer,
            login,
            alternatives: VecDeque::new(),
            visited: Vec::new(),
            contact,
            is_phone: matches!(invite.target, Target::User { .. }),
            has_offer: invite.offer.is_some(),
            early: Vec::new(),
            others: route.others,
            lengthened: 0,
        });
        stack.send(now, outgoing);
    }

    pub(super) fn on_provisional(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        number: u32,
        transaction: TransactionId,
        response: &Message,
        source: Destination,
    ) {
        self.be_patient(stack);
        let Some(attempt) = self.attempts.iter_mut().find(|one| one.number == number) else {
            return;
        };
        attempt.transaction = Some(transaction);
        attempt.cancel_if_unwanted(now, stack);
        let (true, Phase::Calling(_)) = (attempt.is_wanted(), &self.phase) else { return };
        let Some(status @ 101..) = response.status() else { return };
        let provisional = Provisional { call: self.id, transaction, response, source };
        let Heard::New(mut sdp) = attempt.hear(now, stack, &provisional) else { return };
        if status == 199 {
            sdp = attempt.end_early(response.to.tag().unwrap_or_default());
        }
        if status == 181 {
            self.tell(stack, Event::Forwarding { call: self.id });
        }
        let headers = extra_headers(response);
        self.tell(stack, Event::Progress { call: self.id, status, headers, sdp });
    }

    /// The first 2xx makes the call. `false`: a further one, of another fork.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        number: u32,
        transaction: TransactionId,
        response: &Message,
        source: Destination,
    ) -> bool {
        let Some(place) = self.attempts.iter().position(|one| one.number == number) else {
            return false;
        };
        let mut attempt = self.attempts.remove(place);
        let (true, Phase::Calling(_)) = (attempt.is_wanted(), &self.phase) else {
            decline(now, stack, transaction, response, source, attempt.login);
            return true;
        };
        let Some(outgoing) = stack.table.request(transaction) else { return false };
        let (contact, is_phone) = (&attempt.contact, attempt.is_phone);
        let request = &outgoing.request;
        let mut dialog = match Dialog::of_answer(request, response, source, contact, is_phone) {
            Ok(dialog) => dialog,
            Err(_) => {
                // Nowhere to send the ACK: the peer ends its side after 32 s.
                self.fail(now, stack, Failure::of(502));
                return true;
            }
        };
        let interval = Interval::of_answer(request, response);
        let ack = ack(&dialog, request, transaction, response.to.tag());
        self.be_patient(stack);
        let mut sdp = sdp_of(response);
        let tag = response.to.tag().unwrap_or_default();
        let early = attempt.early.iter_mut().find(|early| early.is_with(tag));
        if let Some(early) = early {
            dialog.follow(&early.dialog);
            if early.is_agreed {
                // RFC 3261 §13.2.1: the first answer counts. Another callee may have been heard
                // since, so that it is told again.
                sdp = early.answer.take();
            }
        }
        let owes_answer = !attempt.has_offer && sdp.is_some();
        let mut confirmed = Confirmed::of_answer(dialog, attempt.login);
        confirmed.allows_update = refresh::allows_update(response);
        match owes_answer {
            true => confirmed.owed_ack = Some(ack),
            false => stack.send(now, ack),
        }
        stack.timers.disarm((self.id, CallTimer::NoAnswer));
        for loser in &mut self.attempts {
            loser.lose(now, stack);
        }
        self.phase = Phase::Confirmed(Box::new(confirmed));
        self.run_timer(now, stack, interval);
        let headers = extra_headers(response);
        self.tell(stack, Event::Answered { call: self.id, headers, sdp });
        true
    }

    /// An INVITE goes to another target: there is nothing to cancel until that one answers.
    pub(super) fn begin_again(&mut self, number: u32) {
        if let Some(attempt) = self.attempts.iter_mut().find(|one| one.number == number) {
            attempt.transaction = None;
            attempt.early.clear();
        }
        // A trunk of several servers has the time of all of them.
        if let Phase::Calling(calling) = &mut self.phase {
            calling.is_impatient = false;
        }
    }

    /// An INVITE got its final refusal, or nobody answered it.
    pub(super) fn on_invite_outcome(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        number: u32,
        mut outgoing: Box<Outgoing>,
        outcome: Outcome,
    ) {
        let Some(place) = self.attempts.iter().position(|one| one.number == number) else {
            return;
        };
        self.be_patient(stack);
        let attempt = &mut self.attempts[place];
        attempt.transaction = None;
        attempt.early.clear();
        let Phase::Calling(calling) = &mut self.phase else {
            self.attempts.remove(place);
            return;
        };
        if !attempt.is_wanted() {
            self.attempts.remove(place);
            return;
        }
        if let Outcome::Response(response) = &outcome {
            let status = response.status().unwrap_or_default();
            if let (401 | 407, Some(login)) = (status, &mut attempt.login)
                && login.learn(&outgoing.request, response)
            {
                login.sign(&mut outgoing.request, &mut stack.random);
                return send_again(now, stack, outgoing);
            }
            if status == 422
                && attempt.lengthened < MOST_LENGTHENED
                && refresh::lengthen(&mut outgoing.request, response)
            {
                attempt.lengthened += 1;
                return send_again(now, stack, outgoing);
            }
            if status == 420 && take_off_unsupported(&mut outgoing.request, response) {
                return send_again(now, stack, outgoing);
            }
            if status == 305
                && calling.redirections < MAX_REDIRECTIONS
                && go_through_proxy(&mut outgoing, response)
            {
                calling.redirections += 1;
                self.tell(stack, Event::Forwarding { call: self.id });
                return send_again(now, stack, outgoing);
            }
            if follows(status) {
                attempt.redirect(&outgoing.request, response);
            }
        }
        if is_of_flow(&outcome)
            && let Some(route) = attempt.others.pop_front()
        {
            outgoing.is_hurried = !attempt.others.is_empty();
            outgoing.hop = route.hop;
            outgoing.request.start = Start::Request { method: Method::Invite, uri: route.uri };
            stats::SIP_TARGETS_CHANGED.add(1);
            return send_again(now, stack, outgoing);
        }
        let failure = Failure::from(&outcome);
        let is_final = failure.status >= 600;
        if !is_final
            && calling.redirections < MAX_REDIRECTIONS
            && let Some(uri) = attempt.alternatives.pop_front()
            && follow(&mut outgoing, uri)
        {
            calling.redirections += 1;
            // Proofs are for the one who asked; another asks again.
            outgoing.request.headers.remove(&Name::Authorization);
            outgoing.request.headers.remove(&Name::ProxyAuthorization);
            self.tell(stack, Event::Forwarding { call: self.id });
            return send_again(now, stack, outgoing);
        }
        self.attempts.remove(place);
        let Phase::Calling(calling) = &mut self.phase else { return };
        if calling.best.as_ref().is_none_or(|best| failure.rank() < best.rank()) {
            calling.best = Some(failure);
        }
        if self.attempts.is_empty() || is_final {
            let failure = calling.best.take().unwrap_or_else(|| Failure::of(503));
            self.fail(now, stack, failure);
        }
    }

    pub(super) fn is_impatient(&self) -> bool {
        matches!(&self.phase, Phase::Calling(calling) if calling.is_impatient)
    }

    /// Somebody answers.
    fn be_patient(&mut self, stack: &mut Stack) {
        if let Phase::Calling(calling) = &mut self.phase
            && std::mem::take(&mut calling.is_impatient)
        {
            stack.timers.disarm((self.id, CallTimer::NoResponse));
        }
    }

    /// Our own time-out.
    pub(super) fn on_no_answer(&mut self, now: Instant, stack: &mut Stack) {
        if let Phase::Calling(_) = self.phase {
            self.fail(now, stack, Failure::of(408));
        }
    }

    /// Ends the call before its answer.
    pub(super) fn give_up(&mut self, now: Instant, stack: &mut Stack, headers: &ExtraHeaders) {
        for attempt in &mut self.attempts {
            attempt.unwant(now, stack, headers);
        }
        self.phase = Phase::Over;
    }

    fn fail(&mut self, now: Instant, stack: &mut Stack, failure: Failure) {
        let Failure { status, reason, headers } = failure;
        self.tell(stack, Event::Failed { call: self.id, status, reason, headers });
        self.is_held = false;
        self.give_up(now, stack, &ExtraHeaders::new());
    }
}

impl Attempt {
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.wish, Wish::Answer)
    }

    /// Takes in the contacts of a 3xx that are new.
    fn redirect(&mut self, request: &Message, response: &Message) {
        self.visited.extend(request.request_uri().cloned());
        for uri in contacts(response) {
            if !self.visited.contains(&uri) && !self.alternatives.contains(&uri) {
                self.alternatives.push_back(uri);
            }
        }
        self.alternatives.truncate(MAX_REDIRECTIONS);
    }

    fn unwant(&mut self, now: Instant, stack: &mut Stack, headers: &ExtraHeaders) {
        if self.is_wanted() {
            self.wish = Wish::Cancel(headers.clone());
            self.cancel_if_unwanted(now, stack);
        }
    }

    /// Somebody else answered: a phone shows no missed call then.
    fn lose(&mut self, now: Instant, stack: &mut Stack) {
        if self.is_wanted() {
            self.wish = Wish::Lost;
            self.cancel_if_unwanted(now, stack);
        }
    }

    fn cancel_if_unwanted(&mut self, now: Instant, stack: &mut Stack) {
        let Some(transaction) = self.transaction else { return };
        let wish = match &self.wish {
            Wish::Answer | Wish::Cancelled => return,
            wish => wish,
        };
        stack.table.cancel(now, &mut stack.transports, transaction, |cancel| match wish {
            Wish::Cancel(headers) => add_extra_headers(cancel, headers),
            // RFC 3326 §2.
            Wish::Lost => cancel.headers.push(Name::Reason, COMPLETED_ELSEWHERE),
            Wish::Answer | Wish::Cancelled => {}
        });
        self.wish = Wish::Cancelled;
    }
}

/// A 2xx that nobody wants: a further fork, or too late for a CANCEL. ACK and BYE
/// (RFC 3261 §13.2.2.4, §9.1).
pub(super) fn decline(
    now: Instant,
    stack: &mut Stack,
    transaction: TransactionId,
    response: &Message,
    source: Destination,
    login: Option<Login>,
) {
    let Some(outgoing) = stack.table.request(transaction) else { return };
    let contact = outgoing.contact.as_deref().unwrap_or_default();
    let request = &outgoing.request;
    let Ok(mut dialog) = Dialog::of_answer(request, response, source, contact, false) else {
        return;
    };
    stats::SIP_ANSWERS_DECLINED.add(1);
    let ack = ack(&dialog, request, transaction, response.to.tag());
    stack.send(now, ack);
    dialog.skip(PRACKS);
    let mut bye = dialog.request(Method::Bye, Owner::Nobody);
    // Nobody waits for a challenge: what the INVITE was asked for has to do.
    if let Some(mut login) = login {
        login.sign(&mut bye.request, &mut stack.random);
    }
    stack.send(now, bye);
}

/// Of the 2xx with this To tag, with the credentials of the INVITE (RFC 3261 §13.2.2.4).
pub(super) fn ack(
    dialog: &Dialog,
    invite: &Message,
    transaction: TransactionId,
    tag: Option<&str>,
) -> Box<Outgoing> {
    let tag = tag.unwrap_or_default().to_owned();
    let owner = Owner::Ack { invite: transaction, tag };
    let mut ack = dialog.ack(invite.cseq.number, owner);
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        for value in invite.headers.all(&name) {
            ack.request.headers.push(name.clone(), value);
        }
    }
    ack
}

/// Each proxy on the way may want a longer interval than the one before it.
const MOST_LENGTHENED: u32 = 3;
/// As phones know it (3GPP TS 24.229, Asterisk, FreeSWITCH).
const COMPLETED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";
const CALL_ID_BYTES: usize = 16;
/// A random start, far from the end of 31 bits (RFC 3261 §8.1.1.5).
const FIRST_CSEQ: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::tests::bench::{ANSWER, Bench, CONTACT, to_trunk};
    use crate::sip::user_agent::Input;

    fn none() -> ExtraHeaders {
        ExtraHeaders::new()
    }

    #[test]
    fn invite_has_what_a_peer_needs() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        assert_eq!(invite.to, "192.0.2.10:5060".parse().unwrap());
        assert_eq!(invite.line(), "INVITE sip:100@192.0.2.10");
        assert!(invite.header("Via").starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"));
        assert!(invite.header("Via").ends_with(";rport"));
        assert!(invite.header("From").starts_with("<sip:200@branch.example>;tag="));
        assert_eq!(invite.header("To"), "<sip:100@192.0.2.10>");
        assert_eq!(invite.header("Contact"), "<sip:200@192.0.2.1:5060>");
        assert_eq!(invite.header("Max-Forwards"), "70");
        assert_eq!(invite.header("X-One"), "1");
        assert_eq!((invite.header("Content-Type"), invite.body()), ("application/sdp", "v=0"));
        assert_eq!(invite.header("User-Agent"), "branchline/test");
    }

    #[test]
    fn invite_is_sent_again_and_given_up_after_32_seconds() {
        let mut bench = Bench::new();
        bench.calls();
        bench.pass(Duration::from_secs(32));
        assert_eq!(bench.all_sent(), ["INVITE sip:100@192.0.2.10"; 6]);
        assert!(matches!(bench.event(), Event::Failed { status: 408, .. }));
        bench.empty();
    }

    #[test]
    fn every_progress_is_told() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&invite.response(100, ""));
        bench.quiet();
        bench.receive(&invite.answer(183, "t1", CONTACT, ANSWER));
        bench.receive(&invite.answer(180, "t1", "X-Two: 2\n", ""));
        bench.receive(&invite.response(181, "t1"));
        let Event::Progress { status: 183, sdp: Some(sdp), .. } = bench.event() else {
            panic!("183 with early media")
        };
        assert_eq!(sdp, b"v=0\n");
        let Event::Progress { status: 180, sdp: None, headers, .. } = bench.event() else {
            panic!("180")
        };
        assert_eq!(headers, [("X-Two".to_owned(), "2".to_owned())]);
        assert!(matches!(bench.event(), Event::Forwarding { .. }));
        assert!(matches!(bench.event(), Event::Progress { status: 181, .. }));
        bench.quiet();
    }

    #[test]
    fn answer_is_acknowledged_each_time_and_told_once() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        let ok = invite.answer(200, "t1", CONTACT, ANSWER);
        bench.receive(&ok);
        let ack = bench.expect("ACK sip:100@192.0.2.10:5060 SIP/2.0");
        assert_eq!(ack.header("CSeq").replace("ACK", "INVITE"), invite.header("CSeq"));
        assert_ne!(ack.branch(), invite.branch());
        assert_eq!(ack.tag("To"), "t1");
        let Event::Answered { call: answered, sdp, .. } = bench.event() else { panic!("Answered") };
        assert_eq!((answered, sdp.as_deref()), (call, Some(&b"v=0\n"[..])));
        bench.receive(&ok);
        assert_eq!(bench.sent().text, ack.text);
        bench.quiet();
    }

    #[test]
    fn answer_is_acknowledged_though_its_transaction_is_gone() {
        let mut bench = Bench::new();
        let (_, invite, ack) = bench.connected();
        bench.pass(Duration::from_secs(40));
        assert_eq!(bench.agent.usage().transactions, 0);
        bench.receive(&invite.answer(200, "t1", CONTACT, ANSWER));
        let again = bench.expect("ACK sip:100@192.0.2.10:5060 ");
        assert_eq!(again.header("CSeq"), ack.header("CSeq"));
        bench.receive(&invite.answer(200, "t2", CONTACT, ANSWER));
        bench.quiet();
    }

    #[test]
    fn ringing_and_answer_back_to_back_in_the_wrong_order_do_no_harm() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&invite.answer(200, "t1", CONTACT, ANSWER));
        bench.receive(&invite.response(180, "t1"));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Answered { .. }));
        bench.quiet();
    }

    #[test]
    fn second_fork_that_answers_gets_ack_and_bye() {
        let mut bench = Bench::new();
        let (_, invite, _) = bench.connected();
        let late = invite.answer(200, "t2", "Contact: <sip:fork@192.0.2.77>\n", "");
        bench.receive(&late);
        let ack = bench.expect("ACK sip:fork@192.0.2.77 ");
        let bye = bench.expect("BYE sip:fork@192.0.2.77 ");
        assert_eq!((ack.tag("To"), bye.tag("To")), ("t2", "t2"));
        bench.receive(&late);
        assert_eq!(bench.sent().text, ack.text);
        bench.receive(&bye.response(200, ""));
        bench.quiet();
    }

    #[test]
    fn failure_is_acknowledged_with_the_branch_of_the_invite() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        let busy = invite.answer(486, "t1", "X-Two: 2\n", "");
        bench.receive(&busy);
        let ack = bench.expect("ACK sip:100@192.0.2.10 ");
        assert_eq!((ack.branch(), ack.tag("To")), (invite.branch(), "t1"));
        let Event::Failed { status: 486, reason, headers, .. } = bench.event() else {
            panic!("Failed")
        };
        assert_eq!((reason.as_str(), headers.len()), ("Words", 1));
        bench.receive(&busy);
        assert_eq!(bench.sent().text, ack.text);
        assert_eq!(bench.agent.usage().calls, 0);
        bench.empty();
    }

    #[test]
    fn hangup_cancels_once_there_is_a_provisional() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        let headers = vec![("X-Why".into(), "x".into())];
        bench.act(|agent, now| agent.hangup(now, call, &headers));
        bench.quiet();
        bench.receive(&invite.response(180, "t1"));
        let cancel = bench.expect("CANCEL sip:100@192.0.2.10 ");
        assert_eq!(cancel.branch(), invite.branch());
        assert_eq!(cancel.header("To"), "<sip:100@192.0.2.10>");
        assert_eq!(cancel.header("CSeq").replace("CANCEL", "INVITE"), invite.header("CSeq"));
        assert_eq!(cancel.header("X-Why"), "x");
        bench.receive(&invite.response(180, "t1"));
        bench.receive(&cancel.response(200, "t1"));
        bench.receive(&invite.response(487, "t1"));
        bench.expect("ACK ");
        bench.quiet();
        bench.empty();
    }

    #[test]
    fn answer_that_crosses_the_cancel_gets_ack_and_bye() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        bench.receive(&invite.response(180, "t1"));
        bench.event();
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        bench.expect("CANCEL ");
        bench.receive(&invite.answer(200, "t1", CONTACT, ANSWER));
        bench.expect("ACK ");
        let bye = bench.expect("BYE ");
        bench.receive(&bye.response(200, ""));
        bench.quiet();
        assert_eq!(bench.agent.usage().calls, 0);
        bench.empty();
    }

    #[test]
    fn cancelled_invite_without_a_final_response_is_given_up() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        bench.receive(&invite.response(180, "t1"));
        bench.act(|agent, now| agent.hangup(now, call, &none()));
        bench.empty();
    }

    #[test]
    fn own_time_out_is_408_and_cancels() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&invite.response(180, "t1"));
        bench.event();
        bench.pass(Duration::from_secs(60));
        bench.expect("CANCEL ");
        assert!(matches!(bench.event(), Event::Failed { status: 408, .. }));
        bench.receive(&invite.response(487, "t1"));
        bench.expect("ACK ");
        bench.quiet();
    }

    #[test]
    fn final_refusals_are_told_with_status_reason_and_headers() {
        for status in [
            400, 403, 404, 405, 406, 408, 410, 413, 414, 415, 416, 421, 480, 481, 482, 483, 484,
            485, 486, 487, 488, 491, 493, 494, 500, 501, 502, 504, 505, 513, 580, 600, 603, 604,
            606,
        ] {
            let mut bench = Bench::new();
            let (_, invite) = bench.calls();
            bench.receive(&invite.answer(status, "t1", "X-Why: so\nRetry-After: 5\n", ""));
            bench.expect("ACK ");
            let Event::Failed { status: told, reason, headers, .. } = bench.event() else {
                panic!("Failed")
            };
            assert_eq!((told, reason.as_str()), (status, "Words"));
            assert_eq!(headers, [("X-Why".to_owned(), "so".to_owned())]);
            bench.quiet();
            bench.empty();
        }
    }

    #[test]
    fn unreachable_peer_fails_the_call_with_503() {
        let mut bench = Bench::new();
        bench.calls();
        bench.input(Input::Unreachable { to: "192.0.2.10:5060".parse().unwrap() });
        assert!(matches!(bench.event(), Event::Failed { status: 503, .. }));
        bench.empty();
    }

    #[test]
    fn unknown_trunk_scheme_and_user_are_refused_at_once() {
        let mut bench = Bench::new();
        for (target, status) in [
            (Target::Trunk { name: "none".into(), number: "1".into() }, 404),
            (Target::User { name: "alice".into() }, 480),
            (Target::Uri { uri: Box::new("tel:123".parse().unwrap()), proxy: None }, 416),
        ] {
            let invite = Invite { target, ..to_trunk() };
            let refused = bench.act(|agent, now| agent.invite(now, invite)).unwrap_err();
            assert_eq!(refused.status, status);
        }
        bench.quiet();
        bench.empty();
    }

    #[test]
    fn proxy_is_the_first_hop_and_the_route() {
        let mut bench = Bench::new();
        let target = Target::Uri {
            uri: Box::new("sip:bob@elsewhere.example".parse().unwrap()),
            proxy: Some(Box::new("sip:192.0.2.40:5080".parse().unwrap())),
        };
        bench.act(|agent, now| agent.invite(now, Invite { target, ..to_trunk() })).unwrap();
        let invite = bench.expect("INVITE sip:bob@elsewhere.example ");
        assert_eq!(invite.to, "192.0.2.40:5080".parse().unwrap());
        assert_eq!(invite.header("Route"), "<sip:192.0.2.40:5080;lr>");
    }

    #[test]
    fn surplus_call_is_refused_503() {
        let mut bench = Bench::with(|config| config.limits.calls = 1);
        bench.calls();
        let refused = bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap_err();
        assert_eq!(refused.status, 503);
    }
}
