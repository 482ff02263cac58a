//! REFERs of ours, and the NOTIFYs that tell us what came of them.

use std::time::Instant;

use crate::sip::dialog::Dialog;
use crate::sip::header::Name;
use crate::sip::invite::{Call, CallTimer, Calls, Phase, add_extra_headers};
use crate::sip::message::{Message, Method, reason_phrase};
use crate::sip::name_addr::NameAddr;
use crate::sip::outgoing::{Outcome, Owner};
use crate::sip::refer::{ReferTo, Replaces, status_line};
use crate::sip::stack::Stack;
use crate::sip::transport::Destination;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::user_agent::{CallId, Event, ReferTarget, Refused, Transfer};

/// A REFER of ours, until we know what came of it.
pub(super) struct Ours {
    /// CSeq of the REFER: `id` of its NOTIFYs.
    number: u32,
    pub(super) is_accepted: bool,
}

/// The verb of the session.
impl Calls {
    pub fn refer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        id: CallId,
        transfer: &Transfer,
    ) -> Result<(), Refused> {
        let gone = || Refused { status: 481, reason: reason_phrase(481).to_owned() };
        let dialog = self.dialog(id).ok_or_else(gone)?;
        let refer_to = match &transfer.target {
            ReferTarget::Number(number) => {
                ReferTo { uri: uri_of_number(stack, dialog, number), replaces: None }
            }
            ReferTarget::Uri(uri) => ReferTo { uri: (**uri).clone(), replaces: None },
            ReferTarget::Call(other) => self.dialog(*other).ok_or_else(gone)?.as_refer_to(),
        };
        self.with(stack, id, |call, stack| call.refer(now, stack, refer_to, transfer))
            .unwrap_or_else(|| Err(gone()))
    }
}

impl Call {
    fn refer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        refer_to: ReferTo,
        transfer: &Transfer,
    ) -> Result<(), Refused> {
        let refused = |status| Refused { status, reason: reason_phrase(status).to_owned() };
        let Phase::Confirmed(confirmed) = &mut self.phase else { return Err(refused(481)) };
        let transfers = confirmed.transfers.get_or_insert_default();
        if transfers.theirs.is_some() || transfers.ours.is_some() {
            return Err(refused(491));
        }
        let mut outgoing = confirmed.dialog.request(Method::Refer, Owner::Dialog { call: self.id });
        let request = &mut outgoing.request;
        transfers.ours = Some(Ours { number: request.cseq.number, is_accepted: false });
        request.headers.push(Name::ReferTo, refer_to.to_value());
        let referrer = NameAddr::new(confirmed.dialog.local.uri.clone());
        request.headers.push(Name::ReferredBy, referrer.to_string());
        add_extra_headers(request, &transfer.headers);
        if let Some(login) = &mut confirmed.login {
            login.sign(request, &mut stack.random);
        }
        confirmed.open_requests += 1;
        stack.timers.arm((self.id, CallTimer::Refer), now + transfer.timeout);
        stack.send(now, outgoing);
        Ok(())
    }

    /// The REFER goes out once more, with credentials, under another number.
    pub(in crate::sip::invite) fn renumber_refer(&mut self, number: u32) {
        if let Some(ours) = self.ours() {
            ours.number = number;
        }
    }

    pub(in crate::sip::invite) fn on_refer_outcome(
        &mut self,
        stack: &mut Stack,
        outcome: &Outcome,
    ) {
        let (status, reason) = match outcome {
            Outcome::Failed(status) => (*status, reason_phrase(*status).to_owned()),
            Outcome::Response(response) => {
                let status = response.status().unwrap_or_default();
                (status, response.reason().to_owned())
            }
        };
        match status {
            200..=299 => {
                if let Some(ours) = self.ours() {
                    ours.is_accepted = true;
                }
            }
            _ => self.conclude_refer(stack, status, reason),
        }
    }

    /// A NOTIFY of the peer: how far our transfer is.
    pub(in crate::sip::invite) fn on_notify(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        request: &Message,
        source: Destination,
    ) {
        let is_ours = self.ours().is_some_and(|ours| is_event_of(request, ours.number));
        if !is_ours {
            // No subscription of ours (RFC 6665 §4.1.3).
            let response = stack.response(request, 481);
            return stack.answer(now, source, response);
        }
        let Some(transaction) = stack.serve(now, request, source, None) else { return };
        let response = stack.response(request, 200);
        stack.table.respond(now, &mut stack.transports, transaction, &response);
        let has_ended = request
            .header(&Name::SubscriptionState)
            .is_some_and(|state| state.trim_start().to_ascii_lowercase().starts_with("terminated"));
        match status_line(&request.body) {
            Some((status @ 200.., reason)) => {
                let reason = if reason.is_empty() { reason_phrase(status) } else { &reason };
                self.conclude_refer(stack, status, reason.to_owned());
            }
            // The peer stops telling before it knows: we never shall.
            _ if has_ended => self.conclude_refer(stack, 408, reason_phrase(408).to_owned()),
            _ => {}
        }
    }

    /// Nobody says what came of our transfer.
    pub(in crate::sip::invite) fn on_refer_timer(&mut self, stack: &mut Stack) {
        self.conclude_refer(stack, 408, reason_phrase(408).to_owned());
    }

    pub(super) fn conclude_refer(&mut self, stack: &mut Stack, status: u16, reason: String) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let ours = confirmed.transfers.as_mut().and_then(|transfers| transfers.ours.take());
        if ours.is_some() {
            stack.timers.disarm((self.id, CallTimer::Refer));
            self.tell(stack, Event::Transferred { call: self.id, status, reason });
        }
    }

    pub(super) fn ours(&mut self) -> Option<&mut Ours> {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return None };
        confirmed.transfers.as_mut()?.ours.as_mut()
    }
}

impl Dialog {
    /// For a REFER to somebody else: call our peer, and take our place in this dialog. The tags
    /// are as our peer sees them (RFC 3891 §4).
    fn as_refer_to(&self) -> ReferTo {
        let tag = |address: &NameAddr| address.tag().unwrap_or("0").to_owned();
        let replaces = Replaces {
            call_id: self.call_id.clone(),
            to_tag: tag(&self.remote),
            from_tag: tag(&self.local),
            is_early_only: false,
        };
        ReferTo { uri: self.target().clone(), replaces: Some(replaces) }
    }
}

/// A number where the peer looks for numbers: a phone at us, by the way that it reaches us now,
/// everybody else at home.
fn uri_of_number(stack: &Stack, dialog: &Dialog, number: &str) -> Uri {
    if dialog.is_phone() {
        return stack.own_uri(dialog.flow(), number, false);
    }
    let is_home = |uri: &&Uri| matches!(uri.scheme, Scheme::Sip) && !uri.host.ends_with(".invalid");
    let home = Some(&dialog.remote.uri).filter(is_home).unwrap_or(dialog.target());
    Uri::sip(number, &home.host, home.port)
}

/// Whether a NOTIFY is about the REFER with this number. Without `id` it is about the only one
/// there is.
fn is_event_of(notify: &Message, number: u32) -> bool {
    let mut parts = notify.header(&Name::Event).unwrap_or_default().split(';').map(str::trim);
    let is_refer = parts.next().is_some_and(|package| package.eq_ignore_ascii_case("refer"));
    let id = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim_end().eq_ignore_ascii_case("id").then_some(value.trim_start())
    });
    is_refer && id.is_none_or(|id| id.parse() == Ok(number))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::tests::bench::{
        ANSWER, Bench, CONTACT, PHONE, Sent, invite, kept, request, to_trunk,
    };
    use crate::sip::user_agent::{Invite, Target};

    fn to(target: ReferTarget) -> Transfer {
        let headers = vec![("X-A".to_owned(), "b".to_owned()), ("Via".to_owned(), "no".to_owned())];
        Transfer { target, headers, timeout: Duration::from_secs(60) }
    }

    pub fn bob() -> Transfer {
        to(ReferTarget::Number("bob".into()))
    }

    /// We called, and asked the trunk to call bob.
    fn referring() -> (Bench, CallId, Sent) {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        (bench, call, refer)
    }

    /// A NOTIFY of the trunk about our REFER, in the call that we made.
    fn notify(refer: &Sent, branch: &str, headers: &str, body: &str) -> String {
        let (from, to) = (refer.header("To"), refer.header("From"));
        let call_id = refer.header("Call-ID");
        format!(
            "NOTIFY sip:200@192.0.2.1 SIP/2.0\n\
             Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{branch}\nMax-Forwards: 70\n\
             From: {from}\nTo: {to}\nCall-ID: {call_id}\nCSeq: {branch} NOTIFY\n\
             Contact: <sip:100@192.0.2.10:5060>\n{headers}\n{body}"
        )
    }

    const ACTIVE: &str = "Event: refer\nSubscription-State: active;expires=60\n\
                          Content-Type: message/sipfrag;version=2.0\n";
    const TERMINATED: &str = "Event: refer\nSubscription-State: terminated;reason=noresource\n\
                              Content-Type: message/sipfrag\n";

    #[test]
    fn rfc3515_our_refer_is_followed_to_its_end() {
        let mut bench = Bench::new();
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER sip:100@192.0.2.10:5060 ");
        assert_eq!(refer.header("Refer-To"), "<sip:bob@192.0.2.10>");
        assert_eq!(refer.header("Referred-By"), "<sip:200@branch.example>");
        assert_eq!((refer.header("X-A"), refer.all("Via").len()), ("b", 1));
        let again = bench.act(|agent, now| agent.refer(now, call, &bob()));
        assert_eq!(again.unwrap_err().status, 491);
        // RFC 3515 §2.4.4: NOTIFY may come before the 202.
        bench.receive(&notify(&refer, "1", ACTIVE, "SIP/2.0 100 Trying\n"));
        bench.expect("SIP/2.0 200");
        bench.receive(&refer.response(202, ""));
        bench.receive(&notify(&refer, "2", ACTIVE, "SIP/2.0 180 Ringing\n"));
        bench.expect("SIP/2.0 200");
        bench.quiet();
        bench.receive(&notify(&refer, "3", TERMINATED, "SIP/2.0 200 OK\n"));
        bench.expect("SIP/2.0 200");
        let Event::Transferred { call: of, status, reason } = bench.event() else { panic!() };
        assert_eq!((of, status, reason.as_str()), (call, 200, "OK"));
        // The subscription is over.
        bench.receive(&notify(&refer, "4", TERMINATED, "SIP/2.0 200 OK\n"));
        bench.expect("SIP/2.0 481");
        bench.quiet();
    }

    #[test]
    fn number_is_looked_for_where_the_peer_is_at_home() {
        // RFC 3323 §4.1: a caller who hides has no home in From.
        let hidden = |text: &str| text.replace("100@192.0.2.10>;tag", "x@anonymous.invalid>;tag");
        let mut bench = Bench::new();
        bench.receive(&hidden(&invite()));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        let call = incoming.call;
        bench.act(|agent, now| agent.accept(now, call, &Vec::new(), None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.receive(&hidden(&ok.ack()));
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        assert_eq!(refer.header("Refer-To"), "<sip:bob@192.0.2.10:5060>");
    }

    #[test]
    fn phone_is_referred_to_a_number_at_us() {
        let mut bench = Bench::new();
        let binding = kept("sip:alice@10.0.0.5:5062", PHONE);
        bench.act(|agent, now| agent.restore(now, "alice", vec![binding]));
        let target = Target::User { name: "alice".into() };
        let call = bench.act(|agent, now| agent.invite(now, Invite { target, ..to_trunk() }));
        let invite = bench.expect("INVITE ");
        let contact = "Contact: <sip:alice@10.0.0.5:5062>\n";
        bench.receive_from(PHONE, &invite.answer(200, "u1", contact, ANSWER));
        bench.expect("ACK ");
        bench.act(|agent, now| agent.refer(now, call.unwrap(), &bob())).unwrap();
        let refer = bench.expect("REFER ");
        assert_eq!(refer.header("Refer-To"), "<sip:bob@192.0.2.1:5060>");
        assert_eq!(refer.to, PHONE.parse().unwrap());
    }

    #[test]
    fn our_refer_that_is_refused_or_forgotten_is_told() {
        let (mut bench, call, refer) = referring();
        bench.receive(&refer.response(603, ""));
        assert!(matches!(bench.event(), Event::Transferred { status: 603, .. }));
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        bench.receive(&refer.response(202, ""));
        bench.pass(Duration::from_secs(60));
        assert!(matches!(bench.event(), Event::Transferred { status: 408, .. }));
        bench.receive(&notify(&refer, "1", TERMINATED, "SIP/2.0 200 OK\n"));
        bench.expect("SIP/2.0 481");
        bench.quiet();
        assert_eq!(bench.agent.usage().dialogs, 1);
    }

    #[test]
    fn notify_that_says_less_than_it_should_is_understood() {
        for (headers, body, expected) in [
            (TERMINATED, "", 408),
            (TERMINATED, "SIP/2.0 180 Ringing\n", 408),
            ("Event: refer\nSubscription-State: terminated\n", "SIP/2.0 503\n", 503),
            ("o: Refer\n", "\nSIP/2.0 486 Busy Here\nTo: <sip:bob@b>\n", 486),
        ] {
            let (mut bench, _, refer) = referring();
            bench.receive(&refer.response(202, ""));
            bench.receive(&notify(&refer, "1", headers, body));
            bench.expect("SIP/2.0 200");
            let Event::Transferred { status, .. } = bench.event() else { panic!() };
            assert_eq!(status, expected, "{headers}{body}");
        }
    }

    #[test]
    fn notify_of_another_subscription_is_answered_481() {
        let (mut bench, _, refer) = referring();
        let number = refer.header("CSeq").split(' ').next().unwrap().to_owned();
        for (branch, event, status) in [
            ("1", "presence".to_owned(), 481),
            ("2", format!("refer;id={number}9"), 481),
            ("3", format!("refer; ID = {number}"), 200),
        ] {
            let headers = format!("Event: {event}\nSubscription-State: active\n");
            bench.receive(&notify(&refer, branch, &headers, "SIP/2.0 100 Trying\n"));
            bench.expect(&format!("SIP/2.0 {status}"));
        }
        bench.quiet();
    }

    #[test]
    fn peer_that_hangs_up_after_its_202_has_been_transferred() {
        for (is_accepted, expected) in [(true, 200), (false, 487)] {
            let mut bench = Bench::new();
            let (call, ok) = bench.answered();
            bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
            let refer = bench.expect("REFER ");
            if is_accepted {
                bench.receive(&refer.response(202, ""));
            }
            bench.receive(&request("BYE", "2", ok.tag("To"), "", ""));
            bench.expect("SIP/2.0 200");
            let Event::Transferred { status, .. } = bench.event() else { panic!() };
            assert_eq!(status, expected);
            assert!(matches!(bench.event(), Event::Ended { .. }));
            bench.empty();
        }
    }

    #[test]
    fn challenged_refer_is_signed_and_its_notify_has_the_new_number() {
        let mut bench = Bench::with(|config| {
            config.trunks[0].username = "acc".into();
            config.trunks[0].password = "pw".into();
        });
        let (call, ..) = bench.connected();
        bench.act(|agent, now| agent.refer(now, call, &bob())).unwrap();
        let refer = bench.expect("REFER ");
        let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\n";
        bench.receive(&refer.answer(407, "", challenge, ""));
        let signed = bench.expect("REFER ");
        assert!(signed.header("Proxy-Authorization").contains("nonce=\"n\""));
        bench.receive(&signed.response(202, ""));
        let number = signed.header("CSeq").split(' ').next().unwrap();
        let headers = format!("Event: refer;id={number}\nSubscription-State: terminated\n");
        bench.receive(&notify(&signed, "1", &headers, "SIP/2.0 200 OK\n"));
        bench.expect("SIP/2.0 200");
        assert!(matches!(bench.event(), Event::Transferred { status: 200, .. }));
    }

    #[test]
    fn rfc5589_attended_refer_names_the_other_dialog_as_its_peer_sees_it() {
        let mut bench = Bench::new();
        let (first, ok) = bench.answered();
        let (second, invite) = bench.calls();
        bench.receive(&invite.answer(200, "t1", CONTACT, ANSWER));
        bench.expect("ACK ");
        bench.act(|agent, now| agent.refer(now, first, &to(ReferTarget::Call(second)))).unwrap();
        let refer = bench.expect("REFER ");
        let (call_id, ours) = (invite.header("Call-ID"), invite.tag("From"));
        let expected = format!(
            "<sip:100@192.0.2.10:5060?Replaces={call_id}%3Bto-tag%3Dt1%3Bfrom-tag%3D{ours}>"
        );
        assert_eq!(refer.header("Refer-To"), expected);
        assert_eq!(refer.tag("From"), ok.tag("To"));
    }
}
