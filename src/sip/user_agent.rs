//! The door of `sip`: every call, registration and request of the gateway as one machine.
//!
//! It is fed datagrams, stream bytes, resolved names and the time; it gives bytes to send,
//! connections to open, names to resolve and events. The verbs (`invite`, `ring`, `accept`, ...)
//! are what `session` asks of it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::name_addr::NameAddr;
use super::uri::Uri;
use crate::random::Random;
use crate::slots::Key;

/// One INVITE usage: an incoming or outgoing call from its INVITE to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub Key);

/// One connection of a stream transport. Numbers of accepted ones come from the driver
/// (odd), numbers of those we ask for come from the machine (even).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
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
    pub trunks: Vec<Trunk>,
    pub users: Vec<User>,
    /// Value of User-Agent and Server.
    pub product: String,
    pub limits: Limits,
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
    /// Time between OPTIONS; `None`: off.
    pub options: Option<Duration>,
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

/// What the world tells the machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A UDP packet arrived on `listeners[listener]`.
    Datagram { listener: usize, from: SocketAddr, data: &'a [u8] },
    /// A peer connected to `listeners[listener]`.
    Accepted { stream: StreamId, listener: usize, peer: SocketAddr, local: SocketAddr },
    /// The connection asked for by `Output::Connect` stands.
    Connected { stream: StreamId, local: SocketAddr },
    /// Bytes from a stream, any cut.
    Stream { stream: StreamId, data: &'a [u8] },
    /// The stream ended, or could not be opened.
    Closed { stream: StreamId },
    /// The answer to `Output::Resolve`; empty: no such host.
    Resolved { query: u64, addresses: Vec<SocketAddr> },
    /// A UDP send failed (`EHOSTUNREACH`, ICMP): what waits for this address fails with 503.
    Unreachable { to: SocketAddr },
    /// `poll_timeout` has come.
    Timeout,
}

/// What the machine wants done.
#[derive(Debug)]
pub enum Output {
    /// Send one UDP packet from `listeners[listener]`.
    Datagram {
        listener: usize,
        to: SocketAddr,
        data: Vec<u8>,
    },
    /// Send bytes on a stream.
    Stream {
        stream: StreamId,
        data: Vec<u8>,
    },
    /// Open a TCP connection.
    Connect {
        stream: StreamId,
        to: SocketAddr,
    },
    /// Close a stream once what was sent is out.
    Close {
        stream: StreamId,
    },
    /// Look a host name up (A, AAAA).
    Resolve {
        query: u64,
        host: String,
        port: u16,
    },
    Event(Event),
}

/// `X-Name: value` pairs that cross between SIP and scripts.
pub type ExtraHeaders = Vec<(String, String)>;

/// Whose request this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Matched `accept_from` of `trunks[..]` by name.
    Trunk(String),
    /// A registered user, authenticated by digest.
    User(String),
}

/// What `session` hears.
#[derive(Debug)]
pub enum Event {
    /// A new INVITE outside a dialog from a known peer; 100 Trying is sent already.
    /// INVITEs of nobody known are refused inside (403, or 401 for a user to authenticate).
    Incoming(Box<Incoming>),
    /// 18x to our INVITE; every one.
    Progress { call: CallId, status: u16, headers: ExtraHeaders, sdp: Option<Vec<u8>> },
    /// First 2xx to our INVITE. `sdp` is the answer to our offer; the ACK is sent already.
    Answered { call: CallId, headers: ExtraHeaders, sdp: Option<Vec<u8>> },
    /// The ACK to our 2xx arrived; `sdp` when it carries the answer to our offer.
    Confirmed { call: CallId, sdp: Option<Vec<u8>> },
    /// Our INVITE ended without a 2xx. 408 for our own time-out, 487 after `hangup`, 503 for
    /// transport and DNS failures. The call id is dead.
    Failed { call: CallId, status: u16, reason: String, headers: ExtraHeaders },
    /// We are asked to go elsewhere (3xx or 181); the user agent follows by itself.
    Forwarding { call: CallId },
    /// The incoming call was cancelled or timed out before our answer. The call id is dead.
    Cancelled { call: CallId, status: u16, reason: String, headers: ExtraHeaders },
    /// BYE received, or the dialog died (status 408 or 481 of a request of ours, no ACK).
    /// The call id is dead.
    Ended { call: CallId, status: u16, reason: String, headers: ExtraHeaders },
    /// Re-INVITE. `sdp` is the new offer; `None`: the peer wants ours. Answer with
    /// `accept_change` or `reject_change`.
    Change { call: CallId, headers: ExtraHeaders, sdp: Option<Vec<u8>> },
    /// INFO, answered 200 already.
    Info { call: CallId, headers: ExtraHeaders, content_type: String, body: Vec<u8> },
    /// MESSAGE inside the dialog, answered 200 already.
    Message { call: CallId, headers: ExtraHeaders, content_type: String, body: Vec<u8> },
    /// The state of a trunk changed.
    Trunk { name: String, state: TrunkState },
    /// The contacts of a user changed: keep them.
    Bindings { user: String, contacts: Vec<Binding> },
}

#[derive(Debug)]
pub struct Incoming {
    pub call: CallId,
    pub peer: Peer,
    /// Source address of the INVITE.
    pub source: SocketAddr,
    pub request_uri: Uri,
    pub from: NameAddr,
    pub to: NameAddr,
    pub headers: ExtraHeaders,
    /// `None`: delayed offer; our 2xx (or 183) then carries the offer.
    pub offer: Option<Vec<u8>>,
}

/// `since` values are left to the status page of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrunkState {
    /// Not yet known: calls are tried.
    Unknown,
    /// Answers OPTIONS, or is registered.
    Up,
    /// Does not; the reason in words with the status (`403 Forbidden`, `no answer`).
    Down { status: u16, reason: String },
}

/// One registered contact of a user, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub contact: Uri,
    pub call_id: String,
    pub cseq: u32,
    /// What is left when it is told or restored.
    pub expires_in: Duration,
    /// Where its REGISTER came from: requests go there.
    pub source: SocketAddr,
    pub transport: Transport,
    /// Listener of a UDP contact.
    pub listener: usize,
    pub user_agent: String,
}

/// An INVITE to be sent.
#[derive(Debug, Clone)]
pub struct Invite {
    pub target: Target,
    /// User part of From; empty: the trunk's username, else the gateway's name.
    pub caller: String,
    pub display_name: String,
    /// Digest credentials other than the trunk's.
    pub credentials: Option<(String, String)>,
    pub headers: ExtraHeaders,
    /// SDP offer; `None` asks the peer for one.
    pub offer: Option<Vec<u8>>,
    /// Time to a final response before CANCEL and `Failed` 408.
    pub timeout: Duration,
}

#[derive(Debug, Clone)]
pub enum Target {
    /// Number at a trunk, by name: Request-URI `sip:number@server-host`.
    Trunk { name: String, number: String },
    /// Any SIP URI, optionally through a proxy.
    Uri { uri: Box<Uri>, proxy: Option<Box<Uri>> },
    /// All contacts of a registered user in parallel, first answer wins.
    User { name: String },
}

/// Why a verb could not even begin; the status is the one a peer would have sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub reason: String,
}

/// What the machine holds, for gauges and for tests that expect an empty world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub calls: usize,
    pub dialogs: usize,
    pub transactions: usize,
    pub streams: usize,
}

/// The user agent.
pub struct UserAgent {}

impl UserAgent {
    pub fn new(_now: Instant, _config: Config, _random: Random) -> Self {
        Self {}
    }

    pub fn handle_input(&mut self, _now: Instant, _input: Input<'_>) {}

    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// New trunks, users and texts; calls and bindings stay.
    pub fn reload(&mut self, _now: Instant, _config: Config) {}

    /// Bindings of one user from before a restart.
    pub fn restore(&mut self, _now: Instant, _user: &str, _bindings: Vec<Binding>) {}

    pub fn invite(&mut self, _now: Instant, _invite: Invite) -> Result<CallId, Refused> {
        Err(Refused { status: 503, reason: String::new() })
    }

    /// 180 without SDP.
    pub fn ring(&mut self, _now: Instant, _call: CallId, _headers: &ExtraHeaders) {}

    /// 183 with SDP.
    pub fn progress(&mut self, _: Instant, _: CallId, _headers: &ExtraHeaders, _sdp: Vec<u8>) {}

    /// 200 with SDP: the answer, or our offer where the INVITE had none.
    pub fn accept(
        &mut self,
        _now: Instant,
        _call: CallId,
        _headers: &ExtraHeaders,
        _display_name: Option<&str>,
        _sdp: Vec<u8>,
    ) {
    }

    /// A final refusal of an unanswered incoming call. The call id is dead.
    pub fn reject(&mut self, _: Instant, _: CallId, _status: u16, _headers: &ExtraHeaders) {}

    /// BYE, or CANCEL of our unanswered INVITE; an unanswered incoming call gets 603. The call
    /// id is dead for the caller; the user agent ends the dialog by itself.
    pub fn hangup(&mut self, _now: Instant, _call: CallId, _headers: &ExtraHeaders) {}

    pub fn accept_change(&mut self, _now: Instant, _call: CallId, _sdp: Vec<u8>) {}

    pub fn reject_change(&mut self, _now: Instant, _call: CallId, _status: u16) {}

    pub fn info(
        &mut self,
        _now: Instant,
        _call: CallId,
        _headers: &ExtraHeaders,
        _content_type: &str,
        _body: Vec<u8>,
    ) {
    }

    /// MESSAGE with `text/plain` inside the dialog.
    pub fn message(&mut self, _now: Instant, _call: CallId, _text: &str) {}

    pub fn trunk_state(&self, _name: &str) -> TrunkState {
        TrunkState::Unknown
    }

    /// Registered contacts of a user.
    pub fn contacts(&self, _user: &str) -> usize {
        0
    }

    /// Our address as the peer of this call sees it, for SDP.
    pub fn local_ip(&self, _call: CallId) -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    /// Our address towards a target that is not called yet.
    pub fn local_ip_for(&self, _target: &Target) -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    pub fn usage(&self) -> Usage {
        Usage::default()
    }
}
