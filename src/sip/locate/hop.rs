//! What a URI says of the next hop (RFC 3263 §4), before anybody is asked.

use std::net::{IpAddr, SocketAddr};

use crate::sip::transport::Destination;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::user_agent::Transport;

/// The next hop of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Host name or address without brackets: the TARGET of RFC 3263.
    pub host: String,
    /// `None`: that of the service, or the transport's own.
    pub port: Option<u16>,
    /// `None`: the best that the host offers.
    pub transport: Option<Transport>,
    /// Of a `sips:` URI: nothing but TLS will do.
    pub is_secure: bool,
    /// Preferred while it is open: the way on which a phone registered or called.
    pub flow: Option<Destination>,
    /// Nothing but the flow leads there: a connection from behind a NAT.
    pub is_flow_only: bool,
}

/// One place where a request can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    pub transport: Transport,
    pub address: SocketAddr,
}

impl Hop {
    /// The hop that a URI names; `None` for schemes and transports that we do not speak.
    pub fn of(uri: &Uri) -> Option<Self> {
        let host = match uri.parameter("maddr") {
            Some(maddr) => maddr.trim_start_matches('[').trim_end_matches(']'),
            None => &uri.host,
        };
        let named = match uri.parameter("transport") {
            None => None,
            Some(name) => Some(Transport::named(name)?),
        };
        // `transport=tls` says of `sip:` what `sips:` says (RFC 5630 §3.1.3 has no other name for
        // it), and `sips:` makes each transport a secure one.
        let transport = match (uri.scheme, named) {
            (Scheme::Sip, named) => named,
            (Scheme::Sips, None) => None,
            (Scheme::Sips, Some(Transport::Tcp | Transport::Tls)) => Some(Transport::Tls),
            (Scheme::Sips, Some(Transport::Ws | Transport::Wss)) => Some(Transport::Wss),
            (Scheme::Sips, Some(Transport::Udp)) | (Scheme::Tel | Scheme::Other, _) => return None,
        };
        if host.is_empty() {
            return None;
        }
        let is_secure = uri.scheme == Scheme::Sips;
        Some(Self {
            host: host.to_owned(),
            port: uri.port,
            transport,
            is_secure,
            flow: None,
            is_flow_only: false,
        })
    }

    pub fn to(transport: Transport, peer: SocketAddr) -> Self {
        Self {
            host: peer.ip().to_string(),
            port: Some(peer.port()),
            transport: Some(transport),
            is_secure: false,
            flow: None,
            is_flow_only: false,
        }
    }

    /// The hop at the other end of an open way. Where a connection came from, nobody listens.
    pub fn by_flow(flow: Destination) -> Self {
        let is_flow_only = flow.transport().is_stream();
        Self { is_flow_only, ..Self::to(flow.transport(), flow.peer()).with_flow(Some(flow)) }
    }

    pub fn with_flow(mut self, flow: Option<Destination>) -> Self {
        self.flow = flow;
        self
    }

    /// The transport where nobody says another (§4.1).
    pub fn usual_transport(&self) -> Transport {
        match self.transport {
            Some(transport) => transport,
            None if self.is_secure => Transport::Tls,
            None => Transport::Udp,
        }
    }

    /// The target at an address of the host, where no service says another port (§4.2).
    pub fn target(&self, ip: IpAddr) -> Target {
        let transport = self.usual_transport();
        let port = self.port.unwrap_or(transport.default_port());
        Target { transport, address: SocketAddr::new(ip, port) }
    }

    /// The target of a hop that is an address: no question is needed.
    pub fn literal(&self) -> Option<Target> {
        self.host.parse().ok().map(|ip| self.target(ip))
    }

    /// Whether two hops stand for the same records.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.port == other.port
            && self.transport == other.transport
            && self.is_secure == other.is_secure
            && self.host.eq_ignore_ascii_case(&other.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_has_the_transport_and_port_of_its_uri() {
        let tls = Some((Some(Transport::Tls), None));
        let cases = [
            ("sip:b.example", Some((None, None))),
            ("sip:b.example;transport=TCP", Some((Some(Transport::Tcp), None))),
            ("sip:b.example;transport=tls", tls),
            ("sip:b.example:5060;transport=tls", Some((Some(Transport::Tls), Some(5060)))),
            ("sips:b.example", Some((None, None))),
            ("sips:b.example;transport=tcp", tls),
            ("sip:b.example;transport=ws", Some((Some(Transport::Ws), None))),
            ("sips:b.example;transport=ws", Some((Some(Transport::Wss), None))),
            ("sips:b.example;transport=udp", None),
            ("sip:b.example;transport=sctp", None),
            ("tel:+15551234", None),
        ];
        for (uri, expected) in cases {
            let hop = Hop::of(&uri.parse().unwrap());
            assert_eq!(hop.map(|hop| (hop.transport, hop.port)), expected, "{uri}");
        }
    }

    #[test]
    fn address_has_the_usual_transport_and_port() {
        // RFC 3263 §4.1: UDP for sip, TCP (with TLS) for sips; §4.2: the transport's own port.
        for (uri, transport, address) in [
            ("sip:192.0.2.1", Transport::Udp, "192.0.2.1:5060"),
            ("sip:192.0.2.1:5070;transport=tcp", Transport::Tcp, "192.0.2.1:5070"),
            ("sip:[2001:db8::1];transport=tls", Transport::Tls, "[2001:db8::1]:5061"),
            ("sips:192.0.2.1", Transport::Tls, "192.0.2.1:5061"),
            ("sips:192.0.2.1:5070", Transport::Tls, "192.0.2.1:5070"),
            ("sip:b.example;maddr=192.0.2.9", Transport::Udp, "192.0.2.9:5060"),
        ] {
            let hop = Hop::of(&uri.parse().unwrap()).unwrap();
            let target = Target { transport, address: address.parse().unwrap() };
            assert_eq!(hop.literal(), Some(target), "{uri}");
        }
        let named = Hop::of(&"sip:b.example".parse().unwrap()).unwrap();
        assert_eq!(named.literal(), None);
    }
}
