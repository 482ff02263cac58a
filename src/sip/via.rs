//! The Via header field (RFC 3261 §20.42, RFC 3581).

/// RFC 3261 §20.42, RFC 3581.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// Upper case: `UDP`, `TCP`, `TLS`, `WS`, `WSS`.
    pub transport: String,
    pub host: String,
    pub port: Option<u16>,
    /// `branch`, `received`, `rport`, ...: names lower case.
    pub parameters: Vec<(String, Option<String>)>,
}
