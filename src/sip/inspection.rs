//! What is checked of a request before anybody looks into it (RFC 3261 §8.2.1 to §8.2.3), and the
//! words of our refusals.
//!
//! Which status is answered when, by whom; what is not named here is the script's choice:
//!
//! | status | when | where |
//! |---|---|---|
//! | 400 | unreadable; INVITE without Contact; PRACK without RAck | `parse`, here, `reliable` |
//! | 401 | who registers, or calls and is no trunk, has to say who it is | `challenge` |
//! | 403 | a wrong password; nobody known, without any users | `challenge`, `incoming` |
//! | 404 | no rule takes the number | `session` |
//! | 405 | a method that exists and is not for us, or not outside a dialog; with Allow | here |
//! | 406 | INVITE that takes no SDP | here |
//! | 413 | a body beyond [`BODY_BYTES`] | here |
//! | 414 | a request URI beyond [`URI_BYTES`] | here, `parse` |
//! | 415 | an INVITE's body is no SDP, with Accept; an encoding, with Accept-Encoding | here |
//! | 416 | a URI of another scheme | here, `parse` |
//! | 420 | an extension is required that we lack, with Unsupported | here, `reliable` |
//! | 421 | INVITE without 100rel where a trunk must have it, with Require | `reliable` |
//! | 422 | a session interval below ours, with Min-SE | `refresh` |
//! | 423 | REGISTER for less than a minute, with Min-Expires | `registrar` |
//! | 439 | REGISTER that requires outbound from behind a proxy (RFC 5626 §6) | `registrar` |
//! | 480 | nobody answered in time, or the session ended | `session` |
//! | 481 | no such call: BYE, INFO, PRACK, UPDATE, CANCEL | `incoming`, `reliable` |
//! | 482 | the same request by another way (§8.2.2.2) | `transaction` |
//! | 483 | INVITE with no hop left | here |
//! | 487 | INVITE that was cancelled or whose caller hung up | `invite` |
//! | 488 | no codec in common, with Warning | `session` |
//! | 489 | NOTIFY of a subscription that nobody has | `incoming` |
//! | 491 | re-INVITE while ours, or its ACK, is open | `invite` |
//! | 493 | an encrypted body | here |
//! | 500 | a request out of order; a second INVITE before the answer, with Retry-After | `invite` |
//! | 501 | a method that nobody knows, with Allow | here |
//! | 503 | a table is full, or every trunk is; with Retry-After | `stack`, `session` |
//! | 504 | our reliable response had no PRACK | `reliable` |
//! | 505 | another version of SIP | `parse` |
//! | 513 | more header fields than anybody writes | `parse` |
//!
//! A stream whose message exceeds `sip_message_bytes` is closed, a datagram dropped. 485, 494 and
//! 580 are **not** answered: they are statuses of registrars and extensions that we are without.

use super::header::Name;
use super::message::{Message, Method};
use super::outbound;
use super::registrar;
use super::stack::Stack;
use super::uri::{Scheme, Uri};
use crate::stats;

/// The methods that we answer with more than a refusal.
pub const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, OPTIONS, INFO, MESSAGE, REGISTER, REFER, NOTIFY";
/// Those of them that need no dialog.
const ALLOW_OUTSIDE: &str = "INVITE, ACK, CANCEL, OPTIONS, REGISTER";

/// The option tags that we understand; 100rel stands first, for those who are not told of it.
pub const SUPPORTED: &str = "100rel, timer, replaces, norefersub";

/// Why a request is refused whoever sent it.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 405 with Allow.
    Method,
    /// 405: a method that we take inside a dialog only.
    Outside,
    /// 501 with Allow.
    UnknownMethod,
    /// 414.
    UriTooLong,
    /// 416.
    Scheme,
    /// 420 with these option tags.
    Extension(String),
    /// 421 with this option tag in Require.
    Needed(&'static str),
    /// 413.
    TooLarge,
    /// 406: an INVITE that takes no SDP (RFC 4475 §3.3.16).
    Accept,
    /// 415 with Accept: a body that must be SDP is not.
    MediaType,
    /// 415 with Accept-Encoding.
    Encoding,
    /// 493: an encrypted body (§23.2).
    Encrypted,
    /// 483: it would go round for ever (RFC 7332 §5).
    Hops,
    /// 400: an INVITE without Contact.
    Contact,
}

/// The first thing that is wrong. Not for ACK and CANCEL, which are never refused so.
pub fn inspect(request: &Message) -> Option<Refusal> {
    let method = request.method();
    if let Method::Other(_) = method {
        return Some(Refusal::UnknownMethod);
    }
    if !is_taken(method) {
        return Some(Refusal::Method);
    }
    let is_ours = |uri: &Uri| matches!(uri.scheme, Scheme::Sip | Scheme::Tel);
    let Some(uri) = request.request_uri().filter(|uri| is_ours(uri)) else {
        return Some(Refusal::Scheme);
    };
    if bytes_of(uri) > URI_BYTES {
        return Some(Refusal::UriTooLong);
    }
    let required: Vec<&str> =
        request.headers.list(&Name::Require).filter(|tag| !is_supported(tag, method)).collect();
    if !required.is_empty() {
        return Some(Refusal::Extension(required.join(", ")));
    }
    if !request.body.is_empty()
        && let Some(refusal) = inspect_body(request)
    {
        return Some(refusal);
    }
    if *method != Method::Invite {
        return None;
    }
    let is_new = *method == Method::Invite && request.to.tag().is_none();
    if is_new && request.headers.max_forwards() == Some(0) {
        return Some(Refusal::Hops);
    }
    if is_new && request.header(&Name::Contact).is_none() {
        return Some(Refusal::Contact);
    }
    (!takes_sdp(request)).then_some(Refusal::Accept)
}

/// RFC 3261 §8.2.3.
fn inspect_body(request: &Message) -> Option<Refusal> {
    if request.body.len() > BODY_BYTES {
        return Some(Refusal::TooLarge);
    }
    let encoding = request.header(&Name::ContentEncoding).unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Some(Refusal::Encoding);
    }
    let content = request.headers.content_type();
    if content.is_some_and(|content| content.kind == "application/pkcs7-mime") {
        return Some(Refusal::Encrypted);
    }
    let is_offer = matches!(request.method(), Method::Invite | Method::Update);
    let must_be_sdp = is_offer && !super::invite::is_optional(request);
    (must_be_sdp && !super::invite::is_sdp(request)).then_some(Refusal::MediaType)
}

/// Without Accept SDP is taken (§20.1); an empty one takes nothing.
fn takes_sdp(invite: &Message) -> bool {
    if invite.header(&Name::Accept).is_none() {
        return true;
    }
    invite.headers.list(&Name::Accept).any(|range| {
        let kind = range.split(';').next().unwrap_or_default().trim();
        ["application/sdp", "application/*", "*/*"]
            .iter()
            .any(|ours| kind.eq_ignore_ascii_case(ours))
    })
}

fn bytes_of(uri: &Uri) -> usize {
    let parameters = uri.parameters.iter();
    let parameters =
        parameters.map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len));
    uri.user.as_ref().map_or(0, String::len) + uri.host.len() + parameters.sum::<usize>()
}

impl Refusal {
    pub fn response(&self, stack: &Stack, request: &Message) -> Message {
        stats::SIP_REFUSED_REQUESTS.add(1);
        let (status, name, value) = match self {
            Self::Method => (405, Name::Allow, ALLOW),
            Self::Outside => (405, Name::Allow, ALLOW_OUTSIDE),
            Self::UnknownMethod => (501, Name::Allow, ALLOW),
            Self::UriTooLong => return stack.response(request, 414),
            Self::Scheme => return stack.response(request, 416),
            Self::Extension(tags) => (420, Name::Unsupported, tags.as_str()),
            Self::Needed(tag) => (421, Name::Require, *tag),
            Self::TooLarge => return stack.response(request, 413),
            Self::Accept => return stack.response(request, 406),
            Self::MediaType => (415, Name::Accept, "application/sdp, multipart/mixed"),
            Self::Encoding => (415, Name::Other("Accept-Encoding".to_owned()), "identity"),
            Self::Encrypted => return stack.response(request, 493),
            Self::Hops => return stack.response(request, 483),
            Self::Contact => return stack.response(request, 400),
        };
        let mut response = stack.response(request, status);
        response.headers.push(name, value);
        response
    }
}

/// 405 for a method that is none of ours here.
pub fn not_allowed(stack: &Stack, request: &Message) -> Message {
    match request.method() {
        Method::Other(_) => Refusal::UnknownMethod.response(stack, request),
        _ => Refusal::Method.response(stack, request),
    }
}

/// Says of a 488 or 606 what is not acceptable (RFC 3261 §20.43).
pub fn explain(stack: &Stack, response: &mut Message) {
    if let Some(488 | 606) = response.status() {
        let agent = stack.config.product.split('/').next().unwrap_or_default();
        let agent = if super::lexical::is_token(agent) { agent } else { "gateway" };
        let warning = format!("305 {agent} \"Incompatible media format\"");
        response.headers.push(Name::Warning, warning);
    }
}

/// Option tags have no case (RFC 3261 §7.3.1).
fn is_supported(tag: &str, method: &Method) -> bool {
    SUPPORTED.split(", ").any(|supported| supported.eq_ignore_ascii_case(tag))
        // The registrar decides for itself.
        || *method == Method::Register
            && [outbound::OUTBOUND, registrar::PATH].iter().any(|own| own.eq_ignore_ascii_case(tag))
}

fn is_taken(method: &Method) -> bool {
    matches!(
        method,
        Method::Bye
            | Method::Info
            | Method::Invite
            | Method::Message
            | Method::Notify
            | Method::Options
            | Method::Prack
            | Method::Refer
            | Method::Register
            | Method::Update
    )
}

/// No SDP, digit or text that a call is made of is larger.
pub const BODY_BYTES: usize = 32 * 1024;
/// User part, host and parameters; E.164 numbers have 15 digits.
pub const URI_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use crate::sip::tests::bench::{Bench, invite, request};
    use crate::sip::user_agent::{Event, Usage};

    /// The trunk's INVITE with one thing changed, and what it is refused with.
    fn refused(from: &str, to: &str, status: u16, (name, value): (&str, &str)) {
        let mut bench = Bench::new();
        let text = invite();
        assert!(text.contains(from), "{from}");
        bench.receive(&text.replacen(from, to, 1));
        let refusal = bench.expect(&format!("SIP/2.0 {status} "));
        assert_eq!(refusal.header(name), value, "{to}");
        assert!(!refusal.tag("To").is_empty());
        bench.quiet();
        assert_eq!(bench.agent.usage(), Usage::default());
    }

    const HOPS: &str = "Max-Forwards: 70";

    #[test]
    fn method_that_nobody_knows_gets_501_and_one_that_is_not_for_us_405() {
        for (method, status, allow) in [
            ("NEWMETHOD", 501, super::ALLOW),
            ("invite", 501, super::ALLOW),
            ("SUBSCRIBE", 405, super::ALLOW),
            ("PUBLISH", 405, super::ALLOW),
            ("MESSAGE", 405, super::ALLOW_OUTSIDE),
        ] {
            let mut bench = Bench::new();
            bench.receive(&request(method, "1", "", "", ""));
            let refusal = bench.expect(&format!("SIP/2.0 {status} "));
            assert_eq!(refusal.header("Allow"), allow, "{method}");
        }
    }

    #[test]
    fn method_that_nobody_knows_gets_501_inside_a_call() {
        let mut bench = Bench::new();
        let (_, ok) = bench.answered();
        for (branch, method, status) in [("2", "NEWMETHOD", 501), ("3", "PUBLISH", 405)] {
            bench.receive(&request(method, branch, ok.tag("To"), "", ""));
            bench.expect(&format!("SIP/2.0 {status} "));
        }
    }

    #[test]
    fn rfc4475_3_3_invite_that_takes_no_sdp_gets_406() {
        for accept in ["text/nobodyKnowsThis", "", "application/isup, text/*"] {
            refused(HOPS, &format!("{HOPS}\nAccept: {accept}"), 406, ("Accept", ""));
        }
        for accept in ["*/*", "text/plain, application/*;q=0.5", "APPLICATION/SDP;level=1"] {
            let mut bench = Bench::new();
            bench.receive(&invite().replace(HOPS, &format!("{HOPS}\nAccept: {accept}")));
            bench.expect("SIP/2.0 100");
            assert!(matches!(bench.event(), Event::Incoming(_)), "{accept}");
        }
    }

    #[test]
    fn bodies_that_are_too_large_unknown_or_encrypted_get_413_415_493() {
        let large = "a".repeat(super::BODY_BYTES + 1);
        refused("v=0\n", &large, 413, ("Accept", ""));
        let sdp = ("Accept", "application/sdp, multipart/mixed");
        refused("application/sdp", "text/plain", 415, sdp);
        let encoding = ("Accept-Encoding", "identity");
        refused(HOPS, &format!("{HOPS}\nContent-Encoding: gzip"), 415, encoding);
        refused(
            "application/sdp",
            "application/pkcs7-mime; smime-type=enveloped-data",
            493,
            ("", ""),
        );
    }

    #[test]
    fn description_among_other_parts_is_found() {
        let mut bench = Bench::new();
        let kind = "multipart/mixed;boundary=b";
        let parts = "--b\r\nContent-Type: application/isup\r\n\r\nx\r\n\
                     --b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n";
        let text = invite().replace("application/sdp", kind).replace("v=0\n", parts);
        bench.receive(&text);
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        assert_eq!(incoming.offer.as_deref(), Some(b"v=0\r\n".as_slice()));
        refused("application/sdp", kind, 415, ("Accept", "application/sdp, multipart/mixed"));
    }

    #[test]
    fn body_that_may_be_left_unread_is() {
        let mut bench = Bench::new();
        let optional = "text/plain\nContent-Disposition: session;handling=OPTIONAL";
        bench.receive(&invite().replace("application/sdp", optional));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        assert_eq!(incoming.offer, None);
    }

    #[test]
    fn uri_that_is_too_long_or_strange_gets_414_416() {
        let long = format!("sip:{}@192.0.2.1 SIP", "2".repeat(super::URI_BYTES));
        refused("sip:200@192.0.2.1 SIP", &long, 414, ("", ""));
        refused("sip:200@192.0.2.1 SIP", "http://192.0.2.1 SIP", 416, ("", ""));
    }

    #[test]
    fn extension_that_is_required_and_unknown_gets_420() {
        let required = format!("{HOPS}\nRequire: 100rel, precondition\nRequire: sec-agree");
        refused(HOPS, &required, 420, ("Unsupported", "precondition, sec-agree"));
    }

    #[test]
    fn invite_without_hop_or_contact_gets_483_400() {
        refused(HOPS, "Max-Forwards: 0", 483, ("", ""));
        refused("Contact: <sip:100@192.0.2.10:5060>\n", "", 400, ("", ""));
    }

    #[test]
    fn another_version_gets_505_and_too_many_fields_513() {
        refused("sip:200@192.0.2.1 SIP/2.0", "sip:200@192.0.2.1 SIP/3.0", 505, ("", ""));
        let many = format!("{HOPS}\n{}", "X-A: b\n".repeat(250));
        refused("Max-Forwards: 70\n", &many, 513, ("", ""));
    }

    #[test]
    fn rfc3261_20_43_refused_description_has_a_warning() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.reject(now, call, 488, &Vec::new()));
        let refusal = bench.expect("SIP/2.0 488 ");
        assert_eq!(refusal.header("Warning"), "305 branchline \"Incompatible media format\"");
    }

    #[test]
    fn rfc3261_8_2_same_invite_by_another_way_gets_482() {
        let mut bench = Bench::new();
        bench.called();
        bench.receive(&invite().replace("branch=z9hG4bK1", "branch=z9hG4bKother"));
        bench.expect("SIP/2.0 482 ");
        bench.quiet();
    }
}
