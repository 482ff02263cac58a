//! Outbound (RFC 5626): a phone that keeps its connections open is reached over those, and over
//! no other.
//!
//! Several flows of one phone, `Require` and `Flow-Timer` in the response, 439, pings and flows
//! that fell silent **are** supported over TCP, TLS and WebSocket. Over UDP the phone would have to
//! be answered in STUN, which **is not** supported: there its `reg-id` counts for nothing, and the
//! NAT is kept open from our side (`[sip] keepalive_s`). Edge proxies, which keep the flows of
//! their phones themselves (`ob` in Path), **are** supported over every transport.

use std::net::IpAddr;
use std::time::Duration;

use super::header::Name;
use super::lexical;
use super::message::Message;
use super::uri::Uri;
use super::user_agent::{Binding, Transport};

/// What a REGISTER gets of outbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Its contacts are bound by their URIs and instances.
    Nothing,
    /// A flow of its phone.
    Flow,
    /// The same, kept by the proxy next to the phone.
    FlowOfProxy,
    /// It must have what a proxy between us keeps from it (§6: 439).
    FirstHopLacks,
    /// It must have it, and this transport cannot (420).
    Unsupported,
}

/// §6: a phone that supports outbound, tells who it is and which of its flows this is, with nobody
/// between us, or a proxy that keeps its flow next to it. Without demand one behind another proxy
/// registers as any other: that reaches it.
pub fn grant(request: &Message, transport: Transport, path: &[Uri]) -> Grant {
    let has_tag = |name: &Name| {
        request.headers.list(name).any(|option| option.eq_ignore_ascii_case(OUTBOUND))
    };
    let must_have = has_tag(&Name::Require);
    if !must_have && !has_tag(&Name::Supported) {
        return Grant::Nothing;
    }
    let keeps_flows = |edge: &Uri| edge.parameter(OB).is_some();
    if path.last().is_some_and(keeps_flows) {
        return Grant::FlowOfProxy;
    }
    match (transport.is_stream(), request.via.len() == 1) {
        (false, _) if must_have => Grant::Unsupported,
        (true, false) if must_have => Grant::FirstHopLacks,
        (true, true) => Grant::Flow,
        _ => Grant::Nothing,
    }
}

/// What the phone is told of its flow (§6, §10): that it has one, and how often it must ping us.
pub fn confirm(response: &mut Message, grant: Grant) {
    response.headers.push(Name::Require, OUTBOUND);
    if grant == Grant::Flow {
        response.headers.push(Name::from("Flow-Timer"), FLOW_TIMER.as_secs().to_string());
    }
}

impl Binding {
    /// Which phone it is, however it is reached (§4.1).
    pub fn instance(&self) -> Option<&str> {
        instance(&self.parameters)
    }

    /// Which of the flows of its phone it is.
    pub fn reg_id(&self) -> Option<u32> {
        reg_id(&self.parameters)
    }

    /// Whether its connection is all there is: a phone that comes back by itself when it is lost
    /// (§4.4, RFC 7118 §6).
    pub fn is_flow(&self) -> bool {
        self.path.is_empty() && (self.is_outbound || self.transport.is_websocket())
    }

    /// Whether its contact is behind a NAT, or is no address at all.
    pub fn is_hidden(&self) -> bool {
        match self.contact.ip() {
            Some(ip) => ip.to_canonical() != self.source.ip().to_canonical(),
            None => is_nowhere(&self.contact.host),
        }
    }

    /// Whether a NAT stands between us that UDP must keep open.
    pub fn is_translated(&self) -> bool {
        let port = self.contact.port.unwrap_or(self.transport.default_port());
        let ip = self.contact.ip().map(|ip| ip.to_canonical());
        let is_elsewhere =
            ip != Some(self.source.ip().to_canonical()) || port != self.source.port();
        self.path.is_empty() && is_elsewhere
    }

    /// Whether its contact takes new connections.
    pub fn takes_connections(&self) -> bool {
        !self.is_flow() && !self.is_hidden()
    }
}

/// Whether the parameters of a contact name a phone and one of its flows.
pub fn is_flow(parameters: &[(String, Option<String>)]) -> bool {
    instance(parameters).is_some() && reg_id(parameters).is_some()
}

fn instance(parameters: &[(String, Option<String>)]) -> Option<&str> {
    lexical::parameter(parameters, INSTANCE).filter(|instance| !instance.is_empty())
}

/// 0 is none (§4.2).
fn reg_id(parameters: &[(String, Option<String>)]) -> Option<u32> {
    lexical::parameter(parameters, REG_ID)?.parse().ok().filter(|id| *id > 0)
}

/// A host that no resolver knows: RFC 7118 §5 has WebSocket phones name one (RFC 6761 §6.4).
pub fn is_nowhere(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.parse::<IpAddr>().is_err()
        && host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("invalid"))
}

pub const OUTBOUND: &str = "outbound";
const OB: &str = "ob";
const INSTANCE: &str = "+sip.instance";
const REG_ID: &str = "reg-id";

/// Less than the time after which an idle stream is looked at: a phone whose flow was silent so
/// long has missed its ping, and the flow is dead (§5.4 leaves the grace to us).
const FLOW_TIMER: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_under_invalid_are_nowhere() {
        for host in ["df7jal23ls0d.invalid", "INVALID", "a.invalid."] {
            assert!(is_nowhere(host), "{host}");
        }
        for host in ["192.0.2.1", "invalid.example", "phone.example", "2001:db8::1", ""] {
            assert!(!is_nowhere(host), "{host}");
        }
    }
}
