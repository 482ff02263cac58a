//! INVITEs of ours that go out once more after a refusal: with credentials, without an extension,
//! to another contact or through a proxy (RFC 3261 §8.1.3).

use std::time::Instant;

use crate::sip::fields::Contacts;
use crate::sip::header::Name;
use crate::sip::identity;
use crate::sip::locate::Hop;
use crate::sip::message::{CSeq, Message, Method, Start};
use crate::sip::name_addr::NameAddr;
use crate::sip::outgoing::{Outcome, Outgoing};
use crate::sip::stack::Stack;
use crate::sip::uri::{Scheme, Uri};

/// The next INVITE of an attempt: same Call-ID, To and From, the next CSeq (RFC 3261 §8.1.3.4,
/// §22.2).
pub(super) fn send_again(now: Instant, stack: &mut Stack, mut outgoing: Box<Outgoing>) {
    let number = outgoing.request.cseq.number.wrapping_add(1);
    outgoing.request.cseq = CSeq { number, method: Method::Invite };
    outgoing.request.via.clear();
    outgoing.targets.clear();
    stack.send(now, outgoing);
}

/// Turns an INVITE to another contact; through the outbound proxy, if there is one.
pub(super) fn follow(outgoing: &mut Outgoing, uri: Uri) -> bool {
    if outgoing.request.header(&Name::Route).is_none() {
        let Some(hop) = Hop::of(&uri) else { return false };
        if !turn(outgoing, hop) {
            return false;
        }
    }
    outgoing.request.start = Start::Request { method: Method::Invite, uri };
    true
}

/// Sends an INVITE by another hop. `false`: keys of SRTP that were meant for an encrypted way would
/// be read on this one.
fn turn(outgoing: &mut Outgoing, hop: Hop) -> bool {
    let is_secret = outgoing.hop.usual_transport().is_secure()
        && outgoing.request.body.windows(CRYPTO.len()).any(|text| text == CRYPTO);
    if is_secret && !hop.usual_transport().is_secure() {
        return false;
    }
    if hop.host != outgoing.hop.host {
        identity::forget(&mut outgoing.request);
        outgoing.request.headers.remove(&Name::Authorization);
        outgoing.request.headers.remove(&Name::ProxyAuthorization);
    }
    outgoing.hop = hop;
    true
}

const CRYPTO: &[u8] = b"a=crypto:";

/// Whether a failure is one of the way to a phone, not of the phone (RFC 5626 §7).
pub(super) fn is_of_flow(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(_) => true,
        Outcome::Response(response) => matches!(response.status(), Some(408 | 430 | 503)),
    }
}

/// Whether the contacts of a response are other places for the same call. Those of 380 are told
/// of in its body; those of 305 are proxies.
pub(super) fn follows(status: u16) -> bool {
    matches!(status, 300..=399) && !matches!(status, 305 | 380)
}

/// 305: the same call by the proxy in its Contact (RFC 3261 §21.3.4). `false`: there is none, or
/// the call goes through one already.
pub(super) fn go_through_proxy(outgoing: &mut Outgoing, response: &Message) -> bool {
    if outgoing.request.header(&Name::Route).is_some() {
        return false;
    }
    let Some(mut proxy) = contacts(response).into_iter().next() else { return false };
    let Some(hop) = Hop::of(&proxy) else { return false };
    proxy.set_parameter("lr", None);
    if !turn(outgoing, hop) {
        return false;
    }
    outgoing.request.headers.push(Name::Route, NameAddr::new(proxy).to_string());
    true
}

/// 420: without what the callee does not support (RFC 3261 §8.1.3.5). `false`: nothing of it was
/// asked for.
pub(super) fn take_off_unsupported(request: &mut Message, response: &Message) -> bool {
    let unsupported: Vec<&str> = response.headers.list(&Name::Unsupported).collect();
    let is_kept = |tag: &&str| !unsupported.iter().any(|other| other.eq_ignore_ascii_case(tag));
    let mut has_changed = false;
    for name in [Name::Require, Name::Supported] {
        if request.headers.list(&name).all(|tag| is_kept(&tag)) {
            continue;
        }
        has_changed = true;
        let kept: Vec<&str> = request.headers.list(&name).filter(is_kept).collect();
        let kept = kept.join(", ");
        request.headers.remove(&name);
        if !kept.is_empty() {
            request.headers.push(name, kept);
        }
    }
    has_changed
}

/// Where a 3xx sends us, the most preferred first.
pub(super) fn contacts(response: &Message) -> Vec<Uri> {
    let Ok(Contacts::List(mut list)) = response.headers.contacts() else { return Vec::new() };
    list.truncate(MAX_REDIRECTIONS);
    list.sort_by_key(|contact| std::cmp::Reverse(contact.preference()));
    list.into_iter()
        .map(|contact| Uri { headers: None, ..contact.uri })
        .filter(|uri| uri.scheme == Scheme::Sip)
        .collect()
}

/// Followed for one call (design: "3xx followed up to 5").
pub(super) const MAX_REDIRECTIONS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::outgoing::Owner;
    use crate::sip::tests::bench::{ANSWER, Bench, CONTACT, to_trunk};
    use crate::sip::user_agent::{Event, Invite, Prack};

    #[test]
    fn keys_for_an_encrypted_way_do_not_turn_to_an_open_one() {
        let uri: Uri = "sips:100@pbx.example".parse().unwrap();
        let address = NameAddr::new(uri.clone());
        let mut request = Message::request(
            Method::Invite,
            uri.clone(),
            address.clone(),
            address,
            "c".to_owned(),
            1,
        );
        request.headers.push(Name::Authorization, "Digest x");
        request.body = b"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:k\r\n".to_vec();
        let hop = |text: &str| Hop::of(&text.parse().unwrap()).unwrap();
        let mut outgoing = Outgoing::new(request, hop("sips:pbx.example"), Owner::Nobody);
        assert!(!turn(&mut outgoing, hop("sip:other.example")));
        assert!(turn(&mut outgoing, hop("sips:other.example")));
        assert_eq!(outgoing.request.header(&Name::Authorization), None, "another host's");
        outgoing.request.body = b"v=0\r\n".to_vec();
        assert!(turn(&mut outgoing, hop("sip:other.example")));
    }

    fn with_login(config: &mut crate::sip::user_agent::Config) {
        config.trunks[0].username = "acc".into();
        config.trunks[0].password = "pw".into();
    }

    /// A challenge of the trunk.
    fn challenge(nonce: &str, more: &str) -> String {
        format!("WWW-Authenticate: Digest realm=\"pbx\", nonce=\"{nonce}\", qop=\"auth\"{more}\n")
    }

    #[test]
    fn challenge_is_answered_with_the_trunks_credentials() {
        let mut bench = Bench::with(with_login);
        let (_, invite) = bench.calls();
        assert!(invite.header("From").starts_with("<sip:200@192.0.2.10>"));
        bench.receive(&invite.answer(401, "t1", &challenge("n1", ""), ""));
        bench.expect("ACK ");
        let again = bench.expect("INVITE ");
        let proof = again.header("Authorization");
        assert!(proof.starts_with("Digest username=\"acc\", realm=\"pbx\", nonce=\"n1\""));
        assert!(proof.contains("nc=00000001"));
        assert_eq!(again.header("Call-ID"), invite.header("Call-ID"));
        assert_eq!(again.header("From"), invite.header("From"));
        assert_eq!(again.header("To"), invite.header("To"));
        assert_ne!(again.branch(), invite.branch());
        let number = |text: &str| text.split(' ').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(number(again.header("CSeq")), number(invite.header("CSeq")) + 1);
        bench.receive(&again.answer(200, "t1", CONTACT, ANSWER));
        let ack = bench.expect("ACK ");
        assert_eq!(ack.header("Authorization"), proof);
        assert!(matches!(bench.event(), Event::Answered { .. }));
    }

    #[test]
    fn password_that_was_refused_is_not_tried_again() {
        let mut bench = Bench::with(with_login);
        let (_, invite) = bench.calls();
        bench.receive(&invite.answer(401, "t1", &challenge("n1", ""), ""));
        bench.expect("ACK ");
        let again = bench.expect("INVITE ");
        bench.receive(&again.answer(401, "t1", &challenge("n2", ""), ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 401, .. }));
        bench.quiet();
    }

    #[test]
    fn stale_nonce_and_a_second_realm_are_answered() {
        let mut bench = Bench::with(with_login);
        let (_, invite) = bench.calls();
        bench.receive(&invite.answer(401, "t1", &challenge("n1", ""), ""));
        bench.expect("ACK ");
        let again = bench.expect("INVITE ");
        bench.receive(&again.answer(401, "t1", &challenge("n2", ", stale=true"), ""));
        bench.expect("ACK ");
        let fresh = bench.expect("INVITE ");
        assert!(fresh.header("Authorization").contains("nonce=\"n2\""));
        let proxy = "Proxy-Authenticate: Digest realm=\"edge\", nonce=\"p1\"\n";
        bench.receive(&fresh.answer(407, "t1", proxy, ""));
        bench.expect("ACK ");
        let both = bench.expect("INVITE ");
        assert!(both.header("Proxy-Authorization").contains("realm=\"edge\""));
        // The second use of n2.
        assert!(both.header("Authorization").contains("nc=00000002"));
    }

    #[test]
    fn server_that_calls_every_nonce_stale_is_given_up() {
        let mut bench = Bench::with(with_login);
        let (_, mut invite) = bench.calls();
        for number in 0..4 {
            let stale = challenge(&format!("n{number}"), ", stale=true");
            bench.receive(&invite.answer(401, "t1", &stale, ""));
            bench.expect("ACK ");
            if number < 3 {
                invite = bench.expect("INVITE ");
            }
        }
        assert!(matches!(bench.event(), Event::Failed { status: 401, .. }));
    }

    #[test]
    fn explicit_credentials_come_before_the_trunks() {
        let mut bench = Bench::with(with_login);
        let invite = Invite { credentials: Some(("me".into(), "p".into())), ..to_trunk() };
        bench.act(|agent, now| agent.invite(now, invite)).unwrap();
        let invite = bench.expect("INVITE ");
        bench.receive(&invite.answer(401, "t1", &challenge("n1", ""), ""));
        bench.expect("ACK ");
        assert!(bench.expect("INVITE ").header("Authorization").contains("username=\"me\""));
    }

    #[test]
    fn rfc3261_22_3_every_realm_that_asks_gets_a_proof_with_its_best_algorithm() {
        let mut bench = Bench::with(with_login);
        let (_, invite) = bench.calls();
        let ask = |realm: &str, algorithm: &str| {
            format!(
                "Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"n{realm}\", \
                 algorithm={algorithm}, qop=\"auth\"\n"
            )
        };
        let challenges = [ask("a", "MD5"), ask("a", "SHA-256"), ask("b", "MD5")].concat();
        bench.receive(&invite.answer(407, "t1", &challenges, ""));
        bench.expect("ACK ");
        let signed = bench.expect("INVITE ");
        let proofs = signed.all("Proxy-Authorization");
        let has = |proof: &str, realm: &str, algorithm: &str| {
            proof.contains(&format!("realm=\"{realm}\""))
                && proof.contains(&format!("algorithm={algorithm}"))
        };
        assert_eq!(proofs.len(), 2, "{proofs:?}");
        assert!(has(proofs[0], "a", "SHA-256") && has(proofs[1], "b", "MD5"), "{proofs:?}");
    }

    #[test]
    fn challenge_without_credentials_fails_the_call() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&invite.answer(401, "t1", &challenge("n1", ""), ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 401, .. }));
    }

    #[test]
    fn redirection_is_followed_by_preference() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        let contacts =
            "Contact: <sip:a@192.0.2.30>;q=0.1, <sip:b@192.0.2.31:5070>;q=0.9, <mailto:x@y>\n";
        bench.receive(&invite.answer(302, "t1", contacts, ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Forwarding { .. }));
        let first = bench.expect("INVITE sip:b@192.0.2.31:5070 ");
        assert_eq!(first.to, "192.0.2.31:5070".parse().unwrap());
        assert_eq!(first.header("Call-ID"), invite.header("Call-ID"));
        bench.receive(&first.response(486, "t2"));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Forwarding { .. }));
        let second = bench.expect("INVITE sip:a@192.0.2.30 ");
        bench.receive(&second.response(480, "t3"));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 480, .. }));
        bench.empty();
    }

    #[test]
    fn redirection_in_a_circle_is_followed_once_round() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        let contact = |uri: &str| format!("Contact: <{uri}>\n");
        bench.receive(&invite.answer(302, "t1", &contact("sip:a@192.0.2.30"), ""));
        let next = bench.try_sent("INVITE sip:a@192.0.2.30 ").unwrap();
        // Back to where it began, and to itself.
        let back = format!("{}{}", contact("sip:100@192.0.2.10"), contact("sip:a@192.0.2.30"));
        bench.receive(&next.answer(302, "t2", &back, ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Forwarding { .. }));
        assert!(matches!(bench.event(), Event::Failed { status: 302, .. }));
        bench.quiet();
    }

    #[test]
    fn rfc3261_21_3_use_proxy_repeats_the_invite_through_it() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&invite.answer(305, "t1", "Contact: <sip:192.0.2.40:5080>\n", ""));
        bench.expect("ACK ");
        let again = bench.expect("INVITE sip:100@192.0.2.10 ");
        assert_eq!(again.to, "192.0.2.40:5080".parse().unwrap());
        assert_eq!(again.header("Route"), "<sip:192.0.2.40:5080;lr>");
        // Another proxy behind the proxy is too much.
        bench.receive(&again.answer(305, "t2", "Contact: <sip:192.0.2.41>\n", ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Forwarding { .. }));
        assert!(matches!(bench.event(), Event::Failed { status: 305, .. }));
    }

    #[test]
    fn alternative_services_are_not_followed() {
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        bench.receive(&invite.answer(380, "t1", "Contact: <sip:sos@192.0.2.40>\n", ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 380, .. }));
        bench.quiet();
    }

    #[test]
    fn extension_that_the_callee_lacks_is_left_out() {
        let mut bench = Bench::with(|config| config.trunks[0].prack = Prack::Required);
        let (_, invite) = bench.calls();
        bench.receive(&invite.answer(420, "t1", "Unsupported: 100rel\n", ""));
        bench.expect("ACK ");
        let again = bench.expect("INVITE ");
        assert_eq!(again.header("Require"), "");
        assert!(!again.header("Supported").contains("100rel"));
        // What was not asked for cannot be left out.
        bench.receive(&again.answer(420, "t2", "Unsupported: 100rel\n", ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 420, .. }));
        bench.quiet();
    }

    #[test]
    fn redirections_end_after_five() {
        let mut bench = Bench::new();
        let (_, mut invite) = bench.calls();
        for number in 0..5 {
            let contact = format!("Contact: <sip:{number}@192.0.2.30>\n");
            bench.receive(&invite.answer(302, "t1", &contact, ""));
            bench.expect("ACK ");
            assert!(matches!(bench.event(), Event::Forwarding { .. }));
            invite = bench.expect("INVITE ");
        }
        bench.receive(&invite.answer(302, "t1", "Contact: <sip:6@192.0.2.30>\n", ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 302, .. }));
    }
}
