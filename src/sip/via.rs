//! The Via header field (RFC 3261 §20.42, RFC 3581).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::lexical::{self, Malformed, trim};

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

/// What every branch of an RFC 3261 element begins with (RFC 3261 §8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

impl Via {
    /// `SIP/2.0/TRANSPORT host:port;branch=...;rport`.
    pub fn new(transport: &str, host: &str, port: Option<u16>, branch: String) -> Self {
        Self {
            transport: transport.to_owned(),
            host: host.to_ascii_lowercase(),
            port,
            parameters: vec![("branch".to_owned(), Some(branch)), ("rport".to_owned(), None)],
        }
    }

    /// Reads a comma-separated list, top-most first.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Malformed> {
        lexical::split(text, ',').into_iter().map(str::parse).collect()
    }

    /// What a server does to the top-most Via on receipt: `received` when the source is not the
    /// sent-by (RFC 3261 §18.2.1), and both `received` and `rport` when `rport` is asked for
    /// (RFC 3581 §4).
    pub fn note_source(&mut self, source: SocketAddr) {
        let wants_rport = self.parameter("rport").is_some();
        if wants_rport {
            self.set_parameter("rport", Some(source.port().to_string()));
        }
        if wants_rport || self.host.parse() != Ok(source.ip()) {
            self.set_parameter("received", Some(source.ip().to_string()));
        } else {
            // One that came with the request would send the response elsewhere.
            self.parameters.retain(|(name, _)| name != "received");
        }
    }

    pub fn set_parameter(&mut self, name: &str, value: Option<String>) {
        lexical::set_parameter(&mut self.parameters, name, value);
    }

    /// Empty when there is none, as in RFC 2543.
    pub fn branch(&self) -> &str {
        self.parameter("branch").unwrap_or("")
    }

    /// Whether `branch` is unique to its transaction (RFC 3261 §17.2.3).
    pub fn has_magic_cookie(&self) -> bool {
        let branch = self.branch().as_bytes();
        branch.len() > MAGIC_COOKIE.len()
            && branch[..MAGIC_COOKIE.len()].eq_ignore_ascii_case(MAGIC_COOKIE.as_bytes())
    }

    pub fn received(&self) -> Option<IpAddr> {
        let text = self.parameter("received")?;
        text.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// The source port that the peer saw; a flag without value is none.
    pub fn rport(&self) -> Option<u16> {
        self.parameter("rport")?.parse().ok()
    }

    /// The value of a parameter by its lower-case name, empty for a flag.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        lexical::parameter(&self.parameters, name)
    }
}

impl FromStr for Via {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut protocol = text.splitn(3, '/').map(trim);
        let (name, version, rest) = (protocol.next(), protocol.next(), protocol.next());
        // A request of another version is answered with 505 (RFC 4475 §3.1.2.16), for which its
        // Via must be read; what is written says SIP/2.0.
        if !name.is_some_and(|name| name.eq_ignore_ascii_case("SIP"))
            || !version.is_some_and(lexical::is_token)
        {
            return Err(Malformed("protocol is not SIP/2.0"));
        }
        let (transport, rest) = rest
            .and_then(|rest| rest.split_once(lexical::BLANKS))
            .ok_or(Malformed("transport and host expected"))?;
        if !lexical::is_token(transport) {
            return Err(Malformed("transport is not a token"));
        }
        let (sent_by, parameters) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = lexical::host_port(trim(sent_by))?;
        Ok(Self {
            transport: transport.to_ascii_uppercase(),
            host,
            port,
            parameters: lexical::parameters(parameters)?,
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} ", self.transport)?;
        lexical::write_host_port(f, &self.host, self.port)?;
        lexical::write_parameters(f, &self.parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Via {
        text.parse().expect(text)
    }

    #[test]
    fn examples_of_rfc_3261_20_42_are_read() {
        let via = parse("SIP/2.0/UDP erlang.bell-telephone.com:5060;branch=z9hG4bK87asdks7");
        assert_eq!((via.host.as_str(), via.port), ("erlang.bell-telephone.com", Some(5060)));
        assert_eq!(via.branch(), "z9hG4bK87asdks7");
        assert!(via.has_magic_cookie());
        let spaced = parse(
            "SIP / 2.0 / UDP first.example.com: 4000;ttl=16  ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a",
        );
        assert_eq!((spaced.host.as_str(), spaced.port), ("first.example.com", Some(4000)));
        assert_eq!(spaced.parameter("ttl"), Some("16"));
    }

    #[test]
    fn ipv6_is_read_and_written() {
        let text = "SIP/2.0/TCP [2001:db8::9:1]:5062;branch=z9hG4bK1;received=2001:db8::9:255";
        let via = parse(text);
        assert_eq!(via.host, "2001:db8::9:1");
        assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()));
        assert_eq!(via.to_string(), text);
    }

    /// RFC 3581 §5.
    #[test]
    fn rport_is_answered_with_the_source() {
        let mut via = parse("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff");
        assert_eq!(via.rport(), None);
        via.note_source("192.0.2.1:9988".parse().unwrap());
        assert_eq!((via.rport(), via.received()), (Some(9988), Some([192, 0, 2, 1].into())));
    }

    #[test]
    fn received_is_noted_only_where_the_source_differs() {
        let mut via = parse("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;received=192.0.2.66");
        via.note_source("192.0.2.1:5060".parse().unwrap());
        assert_eq!(via.received(), None);
        via.note_source("192.0.2.2:5060".parse().unwrap());
        assert_eq!(via.received(), Some([192, 0, 2, 2].into()));
    }

    #[test]
    fn broken_values_are_refused() {
        for text in ["", "SIP/2.0/UDP", "SIP//UDP host", "HTTP/2.0/UDP host", "SIP/2.0/UDP ;x"] {
            assert!(text.parse::<Via>().is_err(), "{text}");
        }
        assert!(Via::parse_list("SIP/2.0/UDP 192.0.2.15;;,;,,").is_err());
    }
}
