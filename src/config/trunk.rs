//! What a `[[trunk]]` says beyond where it is: its account, its callers, its size.

use std::time::Duration;

use super::parse::{check_server, is_host};
use super::read::Table;

/// How we are known there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// `sip:sbc.example.net:5060`; empty: straight to the server.
    pub outbound_proxy: String,
    /// User of the digest; empty: `username`.
    pub auth_username: String,
    /// The only realm that gets an answer; empty: any.
    pub realm: String,
    /// User of the Contact that is registered; empty: `username`.
    pub contact_user: String,
    /// Time that a registration is asked for.
    pub expires: Duration,
}

/// What is believed of its callers, and how it is told ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub trusts: bool,
    pub sends: SendIdentity,
    pub from_user: FromUser,
    pub from_domain: String,
    pub privacy: Privacy,
    pub called_from: CalledFrom,
    pub pass_headers: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendIdentity {
    None,
    Pai,
    Ppi,
    Rpid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromUser {
    Caller,
    Username,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    None,
    Id,
    User,
    Header,
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalledFrom {
    Request,
    To,
}

/// How much it carries; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// At one time, both ways.
    pub calls: usize,
    /// New ones in a second that we send there.
    pub calls_per_second: usize,
}

pub(super) fn account(table: &Table<'_>) -> Account {
    let outbound_proxy = table.string("outbound_proxy", "");
    if !outbound_proxy.is_empty()
        && let Err(error) = check_server(&outbound_proxy)
    {
        table.problem("outbound_proxy", error);
    }
    Account {
        outbound_proxy,
        auth_username: table.string("auth_username", ""),
        realm: table.string("realm", ""),
        contact_user: table.string("contact_user", ""),
        expires: Duration::from_secs(table.number("expires_s", 60..=86_400, EXPIRES_S)),
    }
}

pub(super) fn identity(table: &Table<'_>) -> Identity {
    let forms = [
        ("none", SendIdentity::None),
        ("pai", SendIdentity::Pai),
        ("ppi", SendIdentity::Ppi),
        ("rpid", SendIdentity::Rpid),
    ];
    let users = [("caller", FromUser::Caller), ("username", FromUser::Username)];
    let levels = [
        ("id", Privacy::Id),
        ("user", Privacy::User),
        ("header", Privacy::Header),
        ("full", Privacy::Full),
        ("none", Privacy::None),
    ];
    let places = [("request", CalledFrom::Request), ("to", CalledFrom::To)];
    let identity = Identity {
        trusts: table.flag("trust_identity", false),
        sends: table.choice("send_identity", &forms, SendIdentity::None),
        from_user: table.choice("from_user", &users, FromUser::Caller),
        from_domain: table.string("from_domain", ""),
        privacy: table.choice("privacy", &levels, Privacy::Id),
        called_from: table.choice("called_from", &places, CalledFrom::Request),
        pass_headers: pass_headers(table),
    };
    if !identity.from_domain.is_empty() && !is_host(&identity.from_domain) {
        let domain = &identity.from_domain;
        table.problem("from_domain", format!("\"{domain}\" is not an address or host name"));
    }
    identity
}

pub(super) fn caps(table: &Table<'_>) -> Caps {
    Caps {
        calls: table.size("max_calls", 0..=100_000, 0),
        calls_per_second: table.size("max_cps", 0..=10_000, 0),
    }
}

fn pass_headers(table: &Table<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for item in table.strings("pass_headers").unwrap_or_default() {
        let problem = if !is_field_name(&item.text) {
            "is not the name of a header field"
        } else if is_reserved_header(&item.text) {
            "is the gateway's own to write"
        } else if names.len() >= PASSED_HEADERS {
            "is one too many: 16 at most"
        } else {
            names.push(item.text);
            continue;
        };
        table.problem_at(item.line, format!("pass_headers \"{}\" {problem}", item.text));
    }
    names
}

fn is_field_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_good)
}

/// Whether a header field is part of how the gateway speaks SIP: no script may write it, whatever
/// a trunk passes. Fields that begin with `X-` and User-to-User are always the script's.
pub fn is_reserved_header(name: &str) -> bool {
    name.len() == 1 || RESERVED.split(' ').any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// RFC 3261 §20 and the extensions that the gateway speaks; compact forms are one letter.
const RESERVED: &str = "\
    Accept Accept-Contact Accept-Encoding Allow Allow-Events Authentication-Info \
    Authorization Call-ID Contact Content-Disposition Content-Encoding Content-Language \
    Content-Length Content-Type CSeq Event Expires Flow-Timer From Identity Max-Forwards \
    MIME-Version Min-Expires Min-SE Path Proxy-Authenticate Proxy-Authorization \
    Proxy-Require RAck Record-Route Refer-Sub Refer-To Referred-By Reject-Contact Replaces \
    Request-Disposition Require Retry-After Route RSeq Security-Client Security-Server \
    Security-Verify Server Service-Route Session-Expires SIP-ETag SIP-If-Match \
    Subscription-State Supported Target-Dialog Timestamp To Unsupported User-Agent Via \
    Warning WWW-Authenticate";

/// Seconds, as RFC 3261 §10.2.1.1 suggests.
const EXPIRES_S: u64 = 3600;
/// Names in one `pass_headers`; scripts may set 20 fields of any kind.
const PASSED_HEADERS: usize = 16;
