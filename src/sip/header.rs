//! The header fields of a message, in their order (RFC 3261 §7.3).

use std::fmt;

/// A header field's name: the known ones as variants, so that comparing is cheap and compact
/// forms (`v`, `f`, `t`, `i`, `m`, `l`, `c`, `s`, `k`, `e`, `o`, `r`, `b`, `u`) are the same name.
#[derive(Debug, Clone)]
pub enum Name {
    Accept,
    Allow,
    AllowEvents,
    Authorization,
    CallId,
    Contact,
    ContentDisposition,
    ContentEncoding,
    ContentLength,
    ContentType,
    CSeq,
    Date,
    Diversion,
    Event,
    Expires,
    From,
    MaxForwards,
    MinExpires,
    MinSe,
    Path,
    PAssertedIdentity,
    PPreferredIdentity,
    Privacy,
    ProxyAuthenticate,
    ProxyAuthorization,
    RAck,
    Reason,
    RecordRoute,
    ReferTo,
    ReferredBy,
    RemotePartyId,
    Replaces,
    Require,
    RetryAfter,
    Route,
    RSeq,
    Server,
    ServiceRoute,
    SessionExpires,
    Subject,
    SubscriptionState,
    Supported,
    To,
    Unsupported,
    UserAgent,
    UserToUser,
    Via,
    Warning,
    WwwAuthenticate,
    /// Any other, in the spelling received or given.
    Other(String),
}

/// Both directions from one table: the name, its canonical spelling, its compact form
/// (RFC 3261 §7.3.3 and the registry) or nothing.
macro_rules! spellings {
    ($($name:ident $canonical:literal $compact:literal;)*) => {
        impl From<&str> for Name {
            /// Any spelling and the compact forms; never fails.
            fn from(text: &str) -> Self {
                $(if text.eq_ignore_ascii_case($canonical) || text.eq_ignore_ascii_case($compact) {
                    return Self::$name;
                })*
                Self::Other(text.to_owned())
            }
        }

        impl Name {
            /// The canonical spelling.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $canonical,)*
                    Self::Other(name) => name,
                }
            }
        }
    };
}

// The frequent ones first: the look-up goes through them in this order.
spellings! {
    Via "Via" "v";
    From "From" "f";
    To "To" "t";
    CallId "Call-ID" "i";
    CSeq "CSeq" "CSeq";
    Contact "Contact" "m";
    MaxForwards "Max-Forwards" "Max-Forwards";
    ContentLength "Content-Length" "l";
    ContentType "Content-Type" "c";
    Accept "Accept" "Accept";
    Allow "Allow" "Allow";
    AllowEvents "Allow-Events" "u";
    Authorization "Authorization" "Authorization";
    ContentDisposition "Content-Disposition" "Content-Disposition";
    ContentEncoding "Content-Encoding" "e";
    Date "Date" "Date";
    Diversion "Diversion" "Diversion";
    Event "Event" "o";
    Expires "Expires" "Expires";
    MinExpires "Min-Expires" "Min-Expires";
    MinSe "Min-SE" "Min-SE";
    Path "Path" "Path";
    PAssertedIdentity "P-Asserted-Identity" "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity" "P-Preferred-Identity";
    Privacy "Privacy" "Privacy";
    ProxyAuthenticate "Proxy-Authenticate" "Proxy-Authenticate";
    ProxyAuthorization "Proxy-Authorization" "Proxy-Authorization";
    RAck "RAck" "RAck";
    Reason "Reason" "Reason";
    RecordRoute "Record-Route" "Record-Route";
    ReferTo "Refer-To" "r";
    ReferredBy "Referred-By" "b";
    RemotePartyId "Remote-Party-ID" "Remote-Party-ID";
    Replaces "Replaces" "Replaces";
    Require "Require" "Require";
    RetryAfter "Retry-After" "Retry-After";
    Route "Route" "Route";
    RSeq "RSeq" "RSeq";
    Server "Server" "Server";
    ServiceRoute "Service-Route" "Service-Route";
    SessionExpires "Session-Expires" "x";
    Subject "Subject" "s";
    SubscriptionState "Subscription-State" "Subscription-State";
    Supported "Supported" "k";
    Unsupported "Unsupported" "Unsupported";
    UserAgent "User-Agent" "User-Agent";
    UserToUser "User-to-User" "User-to-User";
    Warning "Warning" "Warning";
    WwwAuthenticate "WWW-Authenticate" "WWW-Authenticate";
}

impl PartialEq for Name {
    /// Names are the same in any case (RFC 3261 §7.3.1).
    fn eq(&self, other: &Self) -> bool {
        self.as_str().eq_ignore_ascii_case(other.as_str())
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One header field; folded lines are joined, the value is trimmed UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: Name,
    pub value: String,
}

/// All fields of a message in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<Header>);

impl Headers {
    /// The first field of this name.
    pub fn get(&self, name: &Name) -> Option<&str> {
        self.0.iter().find(|header| header.name == *name).map(|header| header.value.as_str())
    }

    /// All fields of this name, in order; each may still hold a comma-separated list.
    pub fn all<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |header| header.name == *name).map(|h| h.value.as_str())
    }

    /// Appends a field.
    pub fn push(&mut self, name: Name, value: impl Into<String>) {
        self.0.push(Header { name, value: value.into() });
    }

    pub fn remove(&mut self, name: &Name) {
        self.0.retain(|header| header.name != *name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_forms_and_any_case_are_the_same_name() {
        for (compact, name) in [
            ("v", Name::Via),
            ("F", Name::From),
            ("t", Name::To),
            ("i", Name::CallId),
            ("m", Name::Contact),
            ("l", Name::ContentLength),
            ("c", Name::ContentType),
            ("s", Name::Subject),
            ("k", Name::Supported),
            ("e", Name::ContentEncoding),
            ("o", Name::Event),
            ("r", Name::ReferTo),
            ("b", Name::ReferredBy),
            ("u", Name::AllowEvents),
            ("x", Name::SessionExpires),
            ("cSEQ", Name::CSeq),
            ("www-authenticate", Name::WwwAuthenticate),
        ] {
            assert_eq!(Name::from(compact), name);
            assert!(!matches!(Name::from(compact), Name::Other(_)));
        }
        assert_eq!(Name::from("X-Tag"), Name::Other("x-tag".to_owned()));
        assert_ne!(Name::from("X-Tag"), Name::from("X-Tags"));
    }
}
