//! The header fields of a message, in their order (RFC 3261 §7.3).

/// A header field's name: the known ones as variants, so that comparing is cheap and compact
/// forms (`v`, `f`, `t`, `i`, `m`, `l`, `c`, `s`, `k`, `e`, `o`, `r`, `b`, `u`) are the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    Accept,
    Allow,
    AllowEvents,
    Authorization,
    CallId,
    Contact,
    ContentEncoding,
    ContentLength,
    ContentType,
    CSeq,
    Date,
    Event,
    Expires,
    From,
    MaxForwards,
    MinExpires,
    MinSe,
    Path,
    PAssertedIdentity,
    ProxyAuthenticate,
    ProxyAuthorization,
    RAck,
    Reason,
    RecordRoute,
    ReferTo,
    ReferredBy,
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
