//! What is checked of a request before anybody looks into it (RFC 3261 §8.2.1 to §8.2.3).

use super::header::Name;
use super::message::{Message, Method};
use super::stack::Stack;
use super::uri::Scheme;
use crate::stats;

/// The methods that we answer with more than a refusal.
pub const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, PRACK, OPTIONS, INFO, MESSAGE, REGISTER, REFER, NOTIFY";

/// The option tags that we understand; 100rel stands first, for those who are not told of it.
pub const SUPPORTED: &str = "100rel, replaces, norefersub";

/// Why a request is refused whoever sent it.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 405 with Allow.
    Method,
    /// 416.
    Scheme,
    /// 420 with these option tags.
    Extension(String),
    /// 421 with this option tag in Require.
    Needed(&'static str),
    /// 415 with Accept: a body that must be SDP is not.
    MediaType,
    /// 415 with Accept-Encoding.
    Encoding,
    /// 483: it would go round for ever (RFC 7332 §5).
    Hops,
    /// 400: an INVITE without Contact.
    Contact,
}

/// The first thing that is wrong. Not for ACK and CANCEL, which are never refused so.
pub fn inspect(request: &Message) -> Option<Refusal> {
    let method = request.method();
    if !is_known(method) {
        return Some(Refusal::Method);
    }
    if request.request_uri().is_none_or(|uri| !matches!(uri.scheme, Scheme::Sip | Scheme::Tel)) {
        return Some(Refusal::Scheme);
    }
    let required: Vec<&str> =
        request.headers.list(&Name::Require).filter(|tag| !is_supported(tag)).collect();
    if !required.is_empty() {
        return Some(Refusal::Extension(required.join(", ")));
    }
    if *method != Method::Invite {
        return None;
    }
    let is_new = request.to.tag().is_none();
    if is_new && request.headers.max_forwards() == Some(0) {
        return Some(Refusal::Hops);
    }
    if is_new && request.header(&Name::Contact).is_none() {
        return Some(Refusal::Contact);
    }
    if !request.body.is_empty() {
        let encoding = request.header(&Name::ContentEncoding).unwrap_or("identity");
        if !encoding.eq_ignore_ascii_case("identity") {
            return Some(Refusal::Encoding);
        }
        if !super::invite::is_sdp(request) {
            return Some(Refusal::MediaType);
        }
    }
    None
}

impl Refusal {
    pub fn response(&self, stack: &Stack, request: &Message) -> Message {
        stats::SIP_REFUSED_REQUESTS.add(1);
        let (status, name, value) = match self {
            Self::Method => (405, Name::Allow, ALLOW),
            Self::Scheme => return stack.response(request, 416),
            Self::Extension(tags) => (420, Name::Unsupported, tags.as_str()),
            Self::Needed(tag) => (421, Name::Require, *tag),
            Self::MediaType => (415, Name::Accept, "application/sdp"),
            Self::Encoding => (415, Name::Other("Accept-Encoding".to_owned()), "identity"),
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
    Refusal::Method.response(stack, request)
}

/// Option tags have no case (RFC 3261 §7.3.1).
fn is_supported(tag: &str) -> bool {
    SUPPORTED.split(", ").any(|supported| supported.eq_ignore_ascii_case(tag))
}

fn is_known(method: &Method) -> bool {
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
    )
}
