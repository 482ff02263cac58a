//! What the user agent is told once, and again at every reload.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::sip::digest::Algorithm;
use crate::sip::identity::Policy;
use crate::sip::trunks::{Account, Caps};
use crate::sip::uri::Uri;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    /// Over TCP.
    Tls,
    /// RFC 7118; we accept such connections and never open one.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// By its name as [`fmt::Display`] writes it, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];
        all.into_iter().find(|one| name.eq_ignore_ascii_case(one.name()))
    }

    /// As Via spells it (RFC 3261 §20.42, RFC 7118 §5.1).
    pub fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of the URI parameter that leads to it; none is needed for UDP. That of a secure
    /// WebSocket is `ws` too (RFC 7118 §5.2).
    pub fn parameter(self) -> Option<&'static str> {
        match self {
            Self::Udp => None,
            Self::Tcp => Some("tcp"),
            Self::Tls => Some("tls"),
            Self::Ws | Self::Wss => Some("ws"),
        }
    }

    /// RFC 3261 §19.1.2, RFC 7118 §5.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    pub fn is_stream(self) -> bool {
        self != Self::Udp
    }

    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// As the configuration spells it.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the user agent is told once, and again at every reload.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sockets that the driver listens on, in the order of `[sip] listen`.
    pub listeners: Vec<Listener>,
    /// `[sip] public_address`: the host to write in Via and Contact; empty: the route's own.
    pub public_address: String,
    /// `[sip] domain`: realm and domain of our users; empty: any of our addresses.
    pub domain: String,
    /// `[sip] digest`: what users are challenged with, the best first.
    pub digest: Vec<Algorithm>,
    pub strangers: Strangers,
    pub trunks: Vec<Trunk>,
    pub users: Vec<User>,
    pub nat: Nat,
    /// `[sip] ws_origins`: web pages whose WebSocket is taken; empty: all.
    pub ws_origins: Vec<String>,
    pub session_timer: SessionTimer,
    /// Value of User-Agent and Server.
    pub product: String,
    pub limits: Limits,
}

/// What those get who are nobody's.
#[derive(Debug, Clone)]
pub struct Strangers {
    /// `[sip] source_rate`: messages per second from one address.
    pub source_rate: u32,
    /// `[sip] strangers_rate`: from all of them together.
    pub strangers_rate: u32,
    /// `[sip] strangers`: calls and questions are answered (401, 403), or dropped.
    pub are_answered: bool,
    /// `[sip] scanners`: beginnings of User-Agent.
    pub scanners: Vec<String>,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { source_rate: 50, strangers_rate: 1000, are_answered: true, scanners: Vec::new() }
    }
}

/// Address translation between us and our peers.
#[derive(Debug, Clone, Default)]
pub struct Nat {
    /// `[sip] local_networks`: whose peers are told our own address, whatever `public_address`
    /// says; empty: the private ones, unless that address is private itself.
    pub local_networks: Vec<Network>,
    /// `[sip] keepalive_s`: time between packets to a UDP phone behind a NAT; `None`: none.
    pub keepalive: Option<Duration>,
}

/// `[sip] session_expires_s` and `min_se_s` (RFC 4028).
#[derive(Debug, Clone, Copy)]
pub struct SessionTimer {
    /// What we ask for; `None`: only what a peer asks for.
    pub interval: Option<Duration>,
    /// The least that a peer may ask for.
    pub least: Duration,
}

/// Nothing of our own, and the least interval that RFC 4028 §5 allows.
impl Default for SessionTimer {
    fn default() -> Self {
        Self { interval: None, least: Duration::from_secs(90) }
    }
}

#[derive(Debug, Clone)]
pub struct Listener {
    pub transport: Transport,
    /// The bound address (port filled in). An unspecified IP means "any of ours".
    pub address: SocketAddr,
    /// The address to write for peers where `address` is unspecified: the driver's best guess
    /// of this machine's own address.
    pub advertised: SocketAddr,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Trunk {
    pub name: String,
    /// `sip:host:port;transport=tcp`.
    pub server: Uri,
    pub register: bool,
    pub username: String,
    pub password: String,
    /// Networks whose requests belong to this trunk.
    pub accept_from: Vec<Network>,
    /// Its callers have shown a certificate: what comes without TLS is not its own.
    pub is_mutual: bool,
    /// Time between OPTIONS; `None`: off.
    pub options: Option<Duration>,
    pub account: Account,
    pub identity: Policy,
    pub caps: Caps,
    pub prack: Prack,
}

/// Whether provisional responses between us and a peer are acknowledged (RFC 3262), both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prack {
    /// Not offered; an INVITE that requires it is refused with 420.
    Off,
    /// Where the other side supports it: descriptions only; where it requires it: all.
    #[default]
    Supported,
    /// Every 18x; an INVITE that does not support it is refused with 421.
    Required,
}

/// An address prefix such as `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: std::net::IpAddr,
    pub prefix: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub name: String,
    pub password: String,
    pub display_name: String,
    /// Calls at one time, both ways; 0: no limit.
    pub max_calls: usize,
}

/// Capacities; each refusal at one of them is answered 503 with Retry-After and counted.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub calls: usize,
    pub transactions: usize,
    pub streams: usize,
    pub contacts_per_user: usize,
    /// Largest message in bytes.
    pub message_bytes: usize,
}
