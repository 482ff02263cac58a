//! SIP and SIPS URIs (RFC 3261 §19.1).

/// `sip:user:password@host:port;parameters?headers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    pub scheme: Scheme,
    /// Unescaped user part; a `tel:` URI has its number here and an empty host.
    pub user: Option<String>,
    pub password: Option<String>,
    /// Host name, IPv4, or IPv6 without brackets; lower case.
    pub host: String,
    pub port: Option<u16>,
    /// In the order received; names lower case, `None` for a flag such as `lr`.
    pub parameters: Vec<(String, Option<String>)>,
    /// What follows `?`, still escaped.
    pub headers: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
}
