//! The early dialogs of our INVITE (RFC 3262 §4, RFC 3261 §12.1.2): one for each callee that a
//! fork reaches and that asks for PRACK.
//!
//! A callee that only sends plain 18x needs no dialog before its 2xx, and gets none.

use std::time::Instant;

use super::modify::Change;
use super::uac::Attempt;
use super::{Call, Phase, sdp_of};
use crate::sip::authorization::Login;
use crate::sip::dialog::Dialog;
use crate::sip::header::Name;
use crate::sip::message::{Message, Method};
use crate::sip::outgoing::{Outgoing, Owner};
use crate::sip::stack::Stack;
use crate::sip::transaction::TransactionId;
use crate::sip::transport::Destination;
use crate::sip::user_agent::CallId;
use crate::sip::{inspection, options};
use crate::stats;

/// A callee that has sent a reliable response.
pub(super) struct Early {
    pub dialog: Dialog,
    /// CSeq of the INVITE.
    invite: u32,
    /// PRACKs sent.
    acknowledged: u32,
    /// RSeq of the last response.
    number: u32,
    /// The PRACK of that response waits for our answer to the offer in it.
    owes_answer: bool,
    /// Offer and answer are exchanged.
    pub is_agreed: bool,
    /// Its answer to our offer, until another change of the session takes its place.
    pub answer: Option<Vec<u8>>,
    /// Its UPDATE with an offer that waits for the session.
    pub update: Option<Change>,
}

/// A provisional response on its way through an attempt.
pub(super) struct Provisional<'a> {
    pub call: CallId,
    pub transaction: TransactionId,
    pub response: &'a Message,
    pub source: Destination,
}

/// What a provisional response means.
pub(super) enum Heard {
    /// It came before, or one before it is missing, or there is no room for its dialog.
    Nothing,
    /// It is new; with the description in it that counts.
    New(Option<Vec<u8>>),
}

impl Attempt {
    /// Takes a 18x in, and acknowledges it if it asks for that.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        provisional: &Provisional<'_>,
    ) -> Heard {
        let Provisional { call, transaction, response, source } = *provisional;
        let tag = response.to.tag().unwrap_or_default();
        let known = self.early.iter_mut().find(|early| early.is_with(tag));
        let Some(number) = response.headers.reliable() else {
            // Only a reliable response can carry an offer (RFC 3261 §13.2.1).
            let is_answer = self.has_offer && known.is_none_or(|early| !early.is_agreed);
            return Heard::New(sdp_of(response).filter(|_| is_answer));
        };
        match known {
            Some(early)
                if early.number.wrapping_add(1) == number && early.acknowledged < PRACKS =>
            {
                early.number = number;
            }
            // Again, or before its turn: the missing one comes again and then this one.
            Some(_) => return Heard::Nothing,
            None => match self.new_early(stack, transaction, response, source, number) {
                Some(early) => self.early.push(early),
                None => {
                    stats::SIP_DROPPED.add(1);
                    return Heard::Nothing;
                }
            },
        }
        let Some(early) = self.early.iter_mut().find(|early| early.is_with(tag)) else {
            return Heard::Nothing;
        };
        let description = sdp_of(response).filter(|_| !early.is_agreed);
        early.owes_answer = description.is_some() && !self.has_offer;
        if description.is_some() && self.has_offer {
            early.is_agreed = true;
            early.answer.clone_from(&description);
        }
        if !early.owes_answer {
            let prack = early.prack(call);
            sign_and_send(now, stack, prack, self.login.as_mut());
        }
        Heard::New(description)
    }

    /// 199: the callee with this tag is gone (RFC 6228). The answer of the one who spoke last
    /// before, if it was the last.
    pub(super) fn end_early(&mut self, tag: &str) -> Option<Vec<u8>> {
        let place = self.early.iter().position(|early| early.is_with(tag))?;
        let was_newest = place + 1 == self.early.len();
        self.early.remove(place);
        let newest = self.early.iter().rev().find_map(|early| early.answer.clone());
        newest.filter(|_| was_newest)
    }

    fn new_early(
        &self,
        stack: &Stack,
        transaction: TransactionId,
        response: &Message,
        source: Destination,
        number: u32,
    ) -> Option<Early> {
        let has_room = self.early.len() < EARLY_DIALOGS;
        let outgoing = stack.table.request(transaction)?;
        // Without a tag it makes no dialog, and there is nowhere to send the PRACK.
        response.to.tag().filter(|tag| has_room && !tag.is_empty())?;
        let (contact, is_phone) = (&self.contact, self.is_phone);
        let dialog =
            Dialog::of_answer(&outgoing.request, response, source, contact, is_phone).ok()?;
        let invite = outgoing.request.cseq.number;
        Some(Early {
            dialog,
            invite,
            acknowledged: 0,
            number,
            owes_answer: false,
            is_agreed: false,
            answer: None,
            update: None,
        })
    }
}

impl Early {
    pub fn is_with(&self, tag: &str) -> bool {
        self.dialog.remote.tag() == Some(tag)
    }

    /// The PRACK of the last response.
    fn prack(&mut self, call: CallId) -> Box<Outgoing> {
        self.acknowledged += 1;
        let mut prack = self.dialog.request(Method::Prack, Owner::Dialog { call });
        // RFC 3262 table 1: PRACK makes no target.
        prack.contact = None;
        let rack = format!("{} {} INVITE", self.number, self.invite);
        prack.request.headers.push(Name::RAck, rack);
        prack
    }
}

impl Call {
    /// The session's answer to the offer in a reliable 18x (in its PRACK) or in the 2xx (in its
    /// ACK) to an INVITE that had none.
    pub(super) fn answer_offer(&mut self, now: Instant, stack: &mut Stack, sdp: Vec<u8>) {
        if let Phase::Confirmed(confirmed) = &mut self.phase {
            if let Some(mut ack) = confirmed.owed_ack.take() {
                ack.request.set_body(super::SDP, sdp);
                stack.send(now, ack);
            }
            return;
        }
        for attempt in &mut self.attempts {
            if let Some(early) = attempt.early.iter_mut().find(|early| early.owes_answer) {
                early.owes_answer = false;
                early.is_agreed = true;
                let mut prack = early.prack(self.id);
                prack.request.set_body(super::SDP, sdp);
                return sign_and_send(now, stack, prack, attempt.login.as_mut());
            }
        }
    }

    /// The dialog and proofs of a request that went out in an early dialog.
    pub(super) fn early_of(
        &mut self,
        request: &Message,
    ) -> Option<(&mut Dialog, &mut Option<Login>)> {
        let tag = request.to.tag()?;
        self.attempts.iter_mut().find_map(|attempt| {
            let Attempt { early, login, .. } = attempt;
            let early = early.iter_mut().find(|early| early.is_with(tag))?;
            Some((&mut early.dialog, login))
        })
    }

    /// A request of a callee before its answer. `false`: it is in none of our early dialogs.
    pub(super) fn on_callee_request(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) -> bool {
        let mut attempts = self.attempts.iter_mut();
        let Some((attempt, place)) = attempts.find_map(|attempt| {
            let place = attempt.early.iter().position(|early| early.dialog.has(request))?;
            Some((attempt, place))
        }) else {
            return false;
        };
        if let Some(refusal) = inspection::inspect(request) {
            stack.answer(now, source, refusal.response(stack, request));
            return true;
        }
        if attempt.early[place].dialog.check_order(request).is_err() {
            stats::SIP_REFUSED_REQUESTS.add(1);
            stack.answer(now, source, stack.response(request, 500));
            return true;
        }
        match request.method() {
            // No callee may (RFC 3261 §15); the one who does is gone.
            Method::Bye => {
                attempt.early.remove(place);
                stack.answer(now, source, stack.response(request, 200));
            }
            Method::Update => self.on_callee_update(now, stack, request, source),
            Method::Info | Method::Message => self.on_content(now, stack, request, source),
            Method::Options => stack.answer(now, source, options::response(stack, request)),
            _ => stack.answer(now, source, inspection::not_allowed(stack, request)),
        }
        true
    }
}

pub(super) fn sign_and_send(
    now: Instant,
    stack: &mut Stack,
    mut outgoing: Box<Outgoing>,
    login: Option<&mut Login>,
) {
    if let Some(login) = login {
        login.sign(&mut outgoing.request, &mut stack.random);
    }
    stack.send(now, outgoing);
}

/// Callees of one INVITE that ask for PRACK. Full: responses of others are dropped, and they are
/// heard when they answer.
const EARLY_DIALOGS: usize = 8;
/// Of one early dialog; a callee that rings longer is not acknowledged further.
pub(super) const PRACKS: u32 = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::tests::bench::{Bench, CONTACT, Sent, to_trunk};
    use crate::sip::user_agent::{Event, ExtraHeaders, Invite, Prack};

    /// A reliable response of the callee with this tag.
    fn reliable(invite: &Sent, status: u16, tag: &str, number: u32, body: &str) -> String {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
        let headers = format!(
            "Require: 100rel\nRSeq: {number}\nContact: <sip:{tag}@192.0.2.10:5060>\n{kind}"
        );
        invite.answer(status, tag, &headers, body)
    }

    fn progress(bench: &mut Bench) -> (u16, Option<Vec<u8>>) {
        let Event::Progress { status, sdp, .. } = bench.event() else { panic!("Progress") };
        (status, sdp)
    }

    fn answered(bench: &mut Bench) -> Option<Vec<u8>> {
        let Event::Answered { sdp, .. } = bench.event() else { panic!("Answered") };
        sdp
    }

    fn cseq(sent: &Sent) -> u32 {
        sent.header("CSeq").split(' ').next().unwrap().parse().unwrap()
    }

    /// We call without an offer.
    fn asks(bench: &mut Bench) -> (CallId, Sent) {
        let invite = Invite { offer: None, ..to_trunk() };
        let call = bench.act(|agent, now| agent.invite(now, invite)).unwrap();
        let invite = bench.expect("INVITE ");
        assert_eq!((invite.header("Accept"), invite.body()), ("application/sdp", ""));
        (call, invite)
    }

    #[test]
    fn invite_says_what_is_configured() {
        for (prack, expected) in [
            (Prack::Off, ("timer, replaces, norefersub", "")),
            (Prack::Supported, ("100rel, timer, replaces, norefersub", "")),
            (Prack::Required, ("100rel, timer, replaces, norefersub", "100rel")),
        ] {
            let mut bench = Bench::with(|config| config.trunks[0].prack = prack);
            let (_, invite) = bench.calls();
            assert_eq!((invite.header("Supported"), invite.header("Require")), expected);
        }
    }

    #[test]
    fn rfc3262_4_reliable_response_is_acknowledged_in_its_early_dialog() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        let routes = "Record-Route: <sip:192.0.2.30;lr>\nRecord-Route: <sip:192.0.2.31;lr>\n";
        let response = reliable(&invite, 183, "t1", 776, "v=1");
        bench.receive(&response.replace("Require", &format!("{routes}Require")));
        assert_eq!(progress(&mut bench), (183, Some(b"v=1".to_vec())));
        let prack = bench.expect("PRACK sip:t1@192.0.2.10:5060 ");
        assert_eq!(prack.to, "192.0.2.31:5060".parse().unwrap());
        assert_eq!(prack.all("Route"), ["<sip:192.0.2.31;lr>", "<sip:192.0.2.30;lr>"]);
        assert_eq!(prack.header("RAck"), format!("776 {}", invite.header("CSeq")));
        assert_eq!(cseq(&prack), cseq(&invite) + 1);
        assert_eq!((prack.tag("To"), prack.header("Contact")), ("t1", ""));
        bench.receive(&prack.response(200, ""));
        bench.quiet();
    }

    #[test]
    fn rfc3262_4_responses_again_or_before_their_turn_are_not_acknowledged() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&reliable(&invite, 180, "t1", 5, ""));
        assert_eq!(progress(&mut bench), (180, None));
        bench.expect("PRACK ");
        bench.receive(&reliable(&invite, 180, "t1", 5, ""));
        bench.receive(&reliable(&invite, 183, "t1", 7, "v=1"));
        bench.receive(&reliable(&invite, 183, "t1", 4, "v=1"));
        bench.quiet();
        bench.receive(&reliable(&invite, 181, "t1", 6, ""));
        assert!(matches!(bench.event(), Event::Forwarding { .. }));
        assert_eq!(progress(&mut bench), (181, None));
        assert!(bench.expect("PRACK ").header("RAck").starts_with("6 "));
        bench.receive(&reliable(&invite, 183, "t1", 7, "v=1"));
        assert_eq!(progress(&mut bench), (183, Some(b"v=1".to_vec())));
        assert!(bench.expect("PRACK ").header("RAck").starts_with("7 "));
    }

    #[test]
    fn rseq_without_require_and_require_without_tag_want_no_prack() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&invite.answer(180, "t1", "RSeq: 1\n", ""));
        assert_eq!(progress(&mut bench), (180, None));
        bench.receive(&reliable(&invite, 180, "", 1, ""));
        bench.quiet();
    }

    #[test]
    fn answer_in_a_reliable_response_is_the_answer() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&reliable(&invite, 183, "t1", 1, "v=1"));
        assert_eq!(progress(&mut bench), (183, Some(b"v=1".to_vec())));
        let prack = bench.expect("PRACK ");
        bench.receive(&invite.answer(180, "t1", "Content-Type: application/sdp\n", "v=2"));
        assert_eq!(progress(&mut bench), (180, None));
        bench.receive(&invite.answer(200, "t1", CONTACT, "v=3"));
        bench.expect("ACK ");
        assert_eq!(answered(&mut bench), Some(b"v=1".to_vec()));
        bench.receive(&prack.response(200, ""));
        bench.quiet();
    }

    #[test]
    fn requests_after_the_answer_count_on_from_the_pracks() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        bench.receive(&reliable(&invite, 180, "t1", 1, ""));
        bench.receive(&reliable(&invite, 180, "t1", 2, ""));
        bench.receive(&invite.answer(200, "t1", CONTACT, "v=1"));
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        let bye = bench.try_sent("BYE ").unwrap();
        assert_eq!(cseq(&bye), cseq(&invite) + 3);
    }

    #[test]
    fn forks_are_acknowledged_each_by_its_own_count_and_the_one_that_answers_is_heard() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        for (tag, number, body) in [("a", 100, "v=a"), ("b", 7, "v=b")] {
            bench.receive(&reliable(&invite, 183, tag, number, body));
            let prack = bench.expect(&format!("PRACK sip:{tag}@192.0.2.10:5060 "));
            assert!(prack.header("RAck").starts_with(&format!("{number} ")));
            assert_eq!(cseq(&prack), cseq(&invite) + 1);
            bench.receive(&prack.response(200, ""));
            assert_eq!(progress(&mut bench), (183, Some(body.as_bytes().to_vec())));
        }
        bench.receive(&reliable(&invite, 180, "a", 101, ""));
        assert_eq!(cseq(&bench.expect("PRACK sip:a@")), cseq(&invite) + 2);
        progress(&mut bench);
        bench.receive(&invite.answer(200, "a", "Contact: <sip:a@192.0.2.10:5060>\n", ""));
        bench.expect("ACK sip:a@");
        assert_eq!(answered(&mut bench), Some(b"v=a".to_vec()));
        // The other answers too: beyond all that its dialog may have counted.
        bench.receive(&invite.answer(200, "b", "Contact: <sip:b@192.0.2.10:5060>\n", ""));
        bench.expect("ACK sip:b@");
        let bye = bench.expect("BYE sip:b@");
        assert!(cseq(&bye) > cseq(&invite) + PRACKS);
        bench.receive(&bye.response(200, ""));
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        assert_eq!(cseq(&bench.expect("BYE sip:a@")), cseq(&invite) + 3);
    }

    #[test]
    fn forks_beyond_the_table_are_heard_when_they_answer() {
        let mut bench = Bench::with(|config| config.limits.transactions = 64);
        let (_, invite) = bench.calls();
        for number in 0..EARLY_DIALOGS {
            bench.receive(&reliable(&invite, 180, &format!("t{number}"), 1, ""));
            bench.expect("PRACK ");
            progress(&mut bench);
        }
        bench.receive(&reliable(&invite, 180, "more", 1, ""));
        bench.quiet();
        bench.receive(&invite.answer(200, "more", CONTACT, "v=1"));
        bench.expect("ACK ");
        assert_eq!(answered(&mut bench), Some(b"v=1".to_vec()));
    }

    #[test]
    fn rfc6228_callee_that_is_gone_leaves_the_ear_to_the_one_before() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        for (tag, body) in [("a", "v=a"), ("b", "v=b")] {
            bench.receive(&reliable(&invite, 183, tag, 1, body));
            bench.expect("PRACK ");
            progress(&mut bench);
        }
        bench.receive(&invite.response(199, "b"));
        assert_eq!(progress(&mut bench), (199, Some(b"v=a".to_vec())));
        bench.receive(&invite.response(199, "a"));
        assert_eq!(progress(&mut bench), (199, None));
        bench.receive(&invite.response(199, "plain"));
        assert_eq!(progress(&mut bench), (199, None));
        bench.quiet();
    }

    #[test]
    fn challenged_prack_is_sent_again_with_a_proof() {
        let mut bench = Bench::with(|config| {
            config.trunks[0].username = "me".into();
            config.trunks[0].password = "secret".into();
        });
        let (_, invite) = bench.calls();
        bench.receive(&reliable(&invite, 180, "t1", 1, ""));
        progress(&mut bench);
        let prack = bench.expect("PRACK ");
        let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\n";
        bench.receive(&prack.answer(407, "", challenge, ""));
        let again = bench.expect("PRACK ");
        assert!(again.header("Proxy-Authorization").contains("username=\"me\""));
        assert_eq!(again.header("RAck"), prack.header("RAck"));
        assert_eq!(cseq(&again), cseq(&prack) + 1);
        // Once more after the answer: in the dialog that became of it.
        bench.receive(&invite.answer(200, "t1", CONTACT, "v=1"));
        bench.expect("ACK ");
        answered(&mut bench);
        let stale = challenge.replace("\"n\"", "\"n2\", stale=true");
        bench.receive(&again.answer(407, "", &stale, ""));
        let third = bench.expect("PRACK ");
        assert_eq!(cseq(&third), cseq(&again) + 1);
        bench.receive(&third.response(481, ""));
        bench.quiet();
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn refused_prack_leaves_the_call_to_its_callee() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&reliable(&invite, 180, "t1", 1, ""));
        progress(&mut bench);
        let prack = bench.expect("PRACK ");
        bench.receive(&prack.response(481, ""));
        bench.quiet();
        bench.receive(&invite.response(486, "t1"));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 486, .. }));
        bench.empty();
    }

    #[test]
    fn cancelled_call_with_an_early_dialog_leaves_nothing() {
        let mut bench = Bench::new();
        let (call, invite) = bench.calls();
        bench.receive(&reliable(&invite, 183, "t1", 1, "v=1"));
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        let cancel = bench.try_sent("CANCEL ").unwrap();
        bench.receive(&cancel.response(200, "t1"));
        // A reliable response on its way to us: nobody waits for it.
        bench.receive(&reliable(&invite, 180, "t1", 2, ""));
        bench.receive(&invite.response(487, "t1"));
        assert_eq!(bench.all_sent(), ["ACK sip:100@192.0.2.10"]);
        bench.empty();
    }

    #[test]
    fn rfc3261_13_2_offer_of_a_200_is_answered_in_the_ack() {
        let mut bench = Bench::new();
        let (call, invite) = asks(&mut bench);
        // A description in a response that may get lost is no offer.
        bench.receive(&invite.answer(183, "t1", CONTACT, "v=1"));
        assert_eq!(progress(&mut bench), (183, None));
        let ok = invite.answer(200, "t1", CONTACT, "v=2");
        bench.receive(&ok);
        assert_eq!(answered(&mut bench), Some(b"v=2".to_vec()));
        bench.quiet();
        bench.act(|agent, now| agent.answer_offer(now, call, b"v=3".to_vec()));
        let ack = bench.expect("ACK sip:100@192.0.2.10:5060 ");
        assert_eq!((ack.body(), ack.header("Content-Type")), ("v=3", "application/sdp"));
        bench.receive(&ok);
        assert_eq!(bench.sent().text, ack.text);
        bench.act(|agent, now| agent.answer_offer(now, call, b"v=4".to_vec()));
        bench.quiet();
    }

    #[test]
    fn offer_of_a_200_that_is_not_wanted_is_acknowledged_and_ended() {
        let mut bench = Bench::new();
        let (call, invite) = asks(&mut bench);
        bench.receive(&invite.answer(200, "t1", CONTACT, "v=2"));
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        assert_eq!(bench.expect("ACK ").body(), "");
        let bye = bench.expect("BYE ");
        bench.receive(&bye.response(200, ""));
        bench.empty();
    }

    #[test]
    fn rfc3262_5_offer_of_a_reliable_response_is_answered_in_its_prack() {
        let mut bench = Bench::new();
        let (call, invite) = asks(&mut bench);
        bench.receive(&reliable(&invite, 183, "t1", 1, "v=1"));
        assert_eq!(progress(&mut bench), (183, Some(b"v=1".to_vec())));
        bench.quiet();
        bench.act(|agent, now| agent.answer_offer(now, call, b"v=2".to_vec()));
        let prack = bench.expect("PRACK ");
        assert_eq!(prack.body(), "v=2");
        bench.receive(&prack.response(200, ""));
        bench.receive(&invite.answer(200, "t1", CONTACT, ""));
        assert_eq!(bench.expect("ACK ").body(), "");
        assert_eq!(answered(&mut bench), None);
    }

    #[test]
    fn requests_of_a_callee_before_its_answer_are_answered() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&reliable(&invite, 180, "t1", 1, ""));
        progress(&mut bench);
        bench.expect("PRACK ");
        let request = |method: &str, number: u32, tag: &str| {
            format!(
                "{method} sip:200@192.0.2.1 SIP/2.0\n\
                 Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKr{number}{method}\n\
                 From: {};tag={tag}\nTo: {}\nCall-ID: {}\nCSeq: {number} {method}\n\
                 Content-Type: application/x\n\nbody",
                invite.header("To"),
                invite.header("From"),
                invite.header("Call-ID"),
            )
        };
        bench.receive(&request("INFO", 5, "t1"));
        bench.expect("SIP/2.0 200");
        assert!(matches!(bench.event(), Event::Info { .. }));
        bench.receive(&request("OPTIONS", 4, "t1"));
        bench.expect("SIP/2.0 500");
        bench.receive(&request("OPTIONS", 6, "t1"));
        bench.expect("SIP/2.0 200");
        bench.receive(&request("PRACK", 7, "t1"));
        bench.expect("SIP/2.0 405");
        bench.receive(&request("INFO", 8, "t2"));
        bench.expect("SIP/2.0 481");
        bench.receive(&request("BYE", 9, "t1"));
        bench.expect("SIP/2.0 200");
        bench.receive(&request("INFO", 10, "t1"));
        bench.expect("SIP/2.0 481");
        bench.quiet();
        bench.pass(Duration::from_secs(61));
        assert!(matches!(bench.event(), Event::Failed { status: 408, .. }));
    }
}
