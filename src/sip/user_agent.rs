//! The door of `sip`: every call, registration and request of the gateway as one machine.
//!
//! It is fed datagrams, stream bytes, resolved names and the time; it gives bytes to send,
//! connections to open, names to resolve and events. The verbs (`invite`, `ring`, `accept`, ...)
//! are what `session` asks of it. What happens inside is told by file: bytes to requests in
//! `incoming`, calls in `invite`, what they stand on in `stack`, trunks in `trunks`.
//!
//! UDP, TCP, TLS and WebSocket, INVITE both ways with forks, early media, PRACK, offers both ways,
//! redirection, digest and CANCEL, BYE, INFO, MESSAGE, OPTIONS, re-INVITE and UPDATE both ways,
//! session timers, REFER both ways, Replaces, registrar, registration and keep-alive at trunks
//! **are** supported.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::challenge::Authenticator;
pub use super::digest::Algorithm;
use super::guard::Guard;
pub use super::identity::{Called, Caller, Diverted, Form, FromUser, Policy, Privacy};
use super::info::Content;
use super::invite::{CallTimer, Calls, Party};
pub use super::invite::{Found, MOST_REFERS, REFER_PATIENCE};
use super::locate::Hop;
use super::message::{Message, Method};
use super::name_addr::NameAddr;
use super::outgoing::{Outcome, Outgoing, Owner};
pub use super::refer::Replaces;
use super::registrar::Registrar;
use super::stack::Stack;
use super::stream::Overdue;
use super::transport::Destination;
use super::trunks::Trunks;
pub use super::trunks::{Account, Caps};
use super::uri::Uri;
use crate::dns;
use crate::logger::Burst;
use crate::random::Random;
use crate::slots::Key;
use crate::stats;

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
    /// The answer to `Output::Resolve`.
    Resolved { query: u64, answer: dns::Answer },
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
    /// Open a TCP connection; over TLS for a secure transport, with a certificate of `name`,
    /// the host of the URI (RFC 5922 §4).
    Connect {
        stream: StreamId,
        transport: Transport,
        to: SocketAddr,
        name: String,
    },
    /// Close a stream once what was sent is out.
    Close {
        stream: StreamId,
    },
    /// Ask for records; `Input::Resolved` must follow, whatever comes of it.
    Resolve {
        query: u64,
        question: dns::Question,
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
    /// INVITEs of nobody known are refused inside (401 for a user to authenticate; 403 where there
    /// are no users).
    Incoming(Box<Incoming>),
    /// 18x to our INVITE; every one. `sdp` is the answer to our offer; where the INVITE had none,
    /// it is the peer's, for `answer_offer`.
    Progress { call: CallId, status: u16, headers: ExtraHeaders, sdp: Option<Vec<u8>> },
    /// First 2xx to our INVITE. `sdp` is the answer to our offer; the ACK is sent already. Where
    /// the INVITE had no offer, `sdp` is the peer's, and the ACK leaves with `answer_offer`.
    Answered { call: CallId, headers: ExtraHeaders, sdp: Option<Vec<u8>> },
    /// The PRACK of our 18x with an offer arrived, with the answer.
    EarlyAnswer { call: CallId, sdp: Vec<u8> },
    /// The ACK to our 2xx arrived; `sdp` when it carries the answer to our offer.
    Confirmed { call: CallId, sdp: Option<Vec<u8>> },
    /// Our INVITE ended without a 2xx. 408 for our own time-out, 503 for transport and DNS
    /// failures. The call id is dead. Not told after `hangup`.
    Failed { call: CallId, status: u16, reason: String, headers: ExtraHeaders },
    /// We are asked to go elsewhere (3xx or 181); the user agent follows by itself.
    Forwarding { call: CallId },
    /// The incoming call was cancelled before our answer, or its INVITE cannot be answered (400),
    /// or our reliable response was not acknowledged (504).
    /// The call id is dead.
    Cancelled { call: CallId, status: u16, reason: String, headers: ExtraHeaders },
    /// BYE received, or the dialog died (status 408 or 481 of a request of ours, no ACK).
    /// The call id is dead.
    Ended { call: CallId, status: u16, reason: String, headers: ExtraHeaders },
    /// Re-INVITE, UPDATE with an offer, or before our answer a PRACK with one. `sdp` is the new
    /// offer; `None`: the peer wants ours. Answer with `accept_change` or `reject_change`.
    Change { call: CallId, headers: ExtraHeaders, sdp: Option<Vec<u8>> },
    /// 2xx to our re-INVITE. With `has_offer` the body is the peer's offer, to be answered with
    /// `answer_offer`; else it is the answer, and the ACK is sent already. `is_refresh`: it is that
    /// of `refresh`.
    Changed {
        call: CallId,
        headers: ExtraHeaders,
        content_type: String,
        body: Vec<u8>,
        has_offer: bool,
        is_refresh: bool,
    },
    /// Our re-INVITE was refused, or is given up (408). The session is as before.
    ChangeRefused { call: CallId, status: u16, reason: String, headers: ExtraHeaders },
    /// The session timer wants a re-INVITE with the present description: call `refresh`.
    Refresh { call: CallId },
    /// INFO, answered 200 already.
    Info { call: CallId, headers: ExtraHeaders, content_type: String, body: Vec<u8> },
    /// MESSAGE inside the dialog, answered 200 already.
    Message { call: CallId, headers: ExtraHeaders, content_type: String, body: Vec<u8> },
    /// REFER. Answer at once with `accept_refer` or `reject_refer`.
    Refer { call: CallId, refer: Box<Refer> },
    /// What came of our `refer`: 200..299 when the peer says that it worked, or hung up after it
    /// accepted; 408 when it said nothing in time.
    Transferred { call: CallId, status: u16, reason: String },
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
    /// The number that is called.
    pub number: String,
    /// Who calls, as a trusted trunk asserts it; `None`: whoever From names.
    pub caller: Option<Caller>,
    /// Diversion fields of a trunk's INVITE, the latest first.
    pub diversions: Vec<String>,
    pub headers: ExtraHeaders,
    /// `None`: delayed offer; our 2xx then carries the offer, or a 183 where `early_offer` allows.
    pub offer: Option<Vec<u8>>,
    /// Of a call that goes on from this one: one less than this one's, [`MAX_FORWARDS`] at most
    /// (RFC 7332 §4.1).
    pub max_forwards: u8,
    /// The call whose place this one is to take (RFC 3891); its dialog stands.
    pub replaces: Option<CallId>,
}

/// A peer's wish that its call be transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refer {
    pub uri: Uri,
    /// An attended transfer: the dialog to take the place of.
    pub replaces: Option<Replaces>,
    /// Who refers, in the words of the request (RFC 3892); unproven.
    pub referred_by: Option<String>,
    pub headers: ExtraHeaders,
}

/// A REFER to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub target: ReferTarget,
    pub headers: ExtraHeaders,
    /// Time to an outcome before `Transferred` 408.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferTarget {
    /// Looked for where the peer is at home.
    Number(String),
    Uri(Box<Uri>),
    /// The peer of this call, in our place.
    Call(CallId),
}

/// Content type of a NOTIFY about a transfer.
pub const SIPFRAG: &str = "message/sipfrag;version=2.0";

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
    /// Of its Contact field, without `expires`: phones look for their own in the response.
    pub parameters: Vec<(String, Option<String>)>,
    /// One of the flows of a phone (RFC 5626).
    pub is_outbound: bool,
    /// Proxies between us and the phone, the first next to us (RFC 3327): requests go through them.
    pub path: Vec<Uri>,
    pub call_id: String,
    pub cseq: u32,
    /// What is left when it is told or restored.
    pub expires_in: Duration,
    /// Where its REGISTER came from: requests go there, if no path says otherwise.
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
    /// The call came to another number of ours and goes on from there.
    pub diverted: Option<Diverted>,
    pub headers: ExtraHeaders,
    /// SDP offer; `None` asks the peer for one.
    pub offer: Option<Vec<u8>>,
    /// Time to a final response before CANCEL and `Failed` 408.
    pub timeout: Duration,
    /// Time to any response at all before `Failed` 408, where there is somewhere else to go;
    /// `None`: the transaction's own.
    pub patience: Option<Duration>,
    /// Gateways and proxies that it may still pass; [`MAX_FORWARDS`] where it begins here.
    pub max_forwards: u8,
}

/// A re-INVITE to be sent.
#[derive(Debug, Clone, Default)]
pub struct Modification {
    pub headers: ExtraHeaders,
    pub content_type: String,
    /// An offer, or what else its type says; empty asks the peer for an offer, as any that is no
    /// SDP does.
    pub body: Vec<u8>,
}

impl Modification {
    pub fn of_offer(headers: ExtraHeaders, offer: Vec<u8>) -> Self {
        Self { headers, content_type: "application/sdp".to_owned(), body: offer }
    }
}

/// RFC 3261 §8.1.1.6.
pub const MAX_FORWARDS: u8 = 70;

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

/// What an incoming call without an offer makes of ours before the answer (RFC 3262 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyOffer {
    /// It has an offer, or takes no reliable responses: the 2xx is the place.
    No,
    /// In a 183.
    Possible,
    /// No 18x leaves before a 183 with our offer.
    Required,
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
pub struct UserAgent {
    pub(super) stack: Stack,
    pub(super) calls: Calls,
    pub(super) authenticator: Authenticator,
    pub(super) registrar: Registrar,
    pub(super) trunks: Trunks,
    /// Calls of nobody known.
    pub(super) strangers: Burst,
    pub(super) wrong_passwords: Burst,
    pub(super) guard: Guard,
    /// What is beyond `source_rate` or `strangers_rate`.
    pub(super) floods: Burst,
}

impl UserAgent {
    pub fn new(now: Instant, config: Config, random: Random) -> Self {
        let mut stack = Stack::new(config, random);
        let limits = stack.config.limits;
        Self {
            calls: Calls::new(limits.calls),
            authenticator: Authenticator::new(
                now,
                realm(&stack.config),
                stack.config.digest.clone(),
                stack.random.fork(),
            ),
            registrar: Registrar::new(
                &stack.config.users,
                limits.contacts_per_user,
                stack.config.nat.keepalive,
            ),
            trunks: Trunks::new(now, &mut stack),
            strangers: Burst::default(),
            wrong_passwords: Burst::default(),
            guard: {
                let strangers = &stack.config.strangers;
                Guard::new(now, strangers.source_rate, strangers.strangers_rate)
            },
            floods: Burst::default(),
            stack,
        }
    }

    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { listener, from, data } => {
                let source = Destination::Datagram { listener, to: from };
                self.on_datagram(now, source, data);
            }
            Input::Accepted { stream, listener, peer, local } => {
                self.make_room_for_stream();
                self.stack.transports.accepted(now, stream, listener, peer, local);
            }
            Input::Connected { stream, local } => {
                self.stack.transports.connected(now, stream, local);
            }
            Input::Stream { stream, data } => self.on_stream_bytes(now, stream, data),
            Input::Closed { stream } => {
                self.stack.transports.closed(stream);
                self.on_stream_lost(now, stream);
            }
            Input::Resolved { query, answer } => {
                for outgoing in self.stack.names.resolved(now, query, answer) {
                    self.resume(now, outgoing);
                }
                self.stack.ask_names();
            }
            Input::Unreachable { to } => self.on_lost(
                now,
                |way| matches!(way, Destination::Datagram { to: lost, .. } if lost == to),
            ),
            Input::Timeout => self.on_timeout(now),
        }
        self.settle(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.stack.transports.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.stack.table.next_timeout(),
            self.stack.timers.next(),
            self.stack.transports.next_timeout(),
            self.stack.names.poll_timeout(),
            self.registrar.poll_timeout(),
            self.trunks.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// New trunks, users and texts. Calls, bindings, listeners and capacities stay.
    pub fn reload(&mut self, now: Instant, config: Config) {
        self.stack.reload(config);
        let config = &self.stack.config;
        self.authenticator.reload(realm(config), config.digest.clone());
        let (limit, keepalive) = (config.limits.contacts_per_user, config.nat.keepalive);
        self.registrar.reload(&config.users, limit, keepalive);
        self.guard.reload(config.strangers.source_rate, config.strangers.strangers_rate);
        self.trunks.reload(now, &mut self.stack);
        self.settle(now);
    }

    /// Bindings of one user from before a restart.
    pub fn restore(&mut self, now: Instant, user: &str, bindings: Vec<Binding>) {
        self.registrar.restore(now, user, bindings);
        self.settle(now);
    }

    /// Takes our contacts away at every trunk where we are registered: before the gateway stops.
    pub fn unregister(&mut self, now: Instant) {
        self.trunks.unregister(now);
        self.trunks.handle_timeout(now, &mut self.stack);
        self.settle(now);
    }

    /// Whether a registrar has yet to answer after `unregister`.
    pub fn is_unregistering(&self) -> bool {
        self.trunks.is_unregistering()
    }

    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<CallId, Refused> {
        self.admit_outgoing(now, &invite.target)?;
        let bindings = match &invite.target {
            Target::User { name } => self.registrar.bindings(now, name),
            Target::Trunk { .. } | Target::Uri { .. } => Vec::new(),
        };
        let call = self.calls.invite(now, &mut self.stack, invite, &bindings);
        self.settle(now);
        call
    }

    /// 180 without SDP.
    pub fn ring(&mut self, now: Instant, call: CallId, headers: &ExtraHeaders) {
        self.calls.ring(now, &mut self.stack, call, headers);
        self.settle(now);
    }

    /// 183 with SDP: the answer, or our offer where [`UserAgent::early_offer`] allows.
    pub fn progress(&mut self, now: Instant, call: CallId, headers: &ExtraHeaders, sdp: Vec<u8>) {
        self.calls.progress(now, &mut self.stack, call, headers, sdp);
        self.settle(now);
    }

    /// 200 with SDP: the answer, or our offer where the INVITE had none.
    pub fn accept(
        &mut self,
        now: Instant,
        call: CallId,
        headers: &ExtraHeaders,
        display_name: Option<&str>,
        sdp: Vec<u8>,
    ) {
        self.calls.accept(now, &mut self.stack, call, headers, display_name, sdp);
        self.settle(now);
    }

    /// A final refusal of an unanswered incoming call. The call id is dead.
    pub fn reject(&mut self, now: Instant, call: CallId, status: u16, headers: &ExtraHeaders) {
        self.calls.reject(now, &mut self.stack, call, status, headers);
        self.settle(now);
    }

    /// BYE, or CANCEL of our unanswered INVITE; an unanswered incoming call gets 603. The call
    /// id is dead for the caller; the user agent ends the dialog by itself.
    pub fn hangup(&mut self, now: Instant, call: CallId, headers: &ExtraHeaders) {
        self.calls.hangup(now, &mut self.stack, call, headers);
        self.settle(now);
    }

    /// Our answer to the offer in a `Progress`, `Answered` or `Changed` to an INVITE of ours that
    /// had none.
    pub fn answer_offer(&mut self, now: Instant, call: CallId, sdp: Vec<u8>) {
        self.calls.answer_offer(now, &mut self.stack, call, sdp);
        self.settle(now);
    }

    pub fn accept_change(&mut self, now: Instant, call: CallId, sdp: Vec<u8>) {
        self.calls.accept_change(now, &mut self.stack, call, sdp);
        self.settle(now);
    }

    pub fn reject_change(&mut self, now: Instant, call: CallId, status: u16) {
        self.calls.reject_change(now, &mut self.stack, call, status);
        self.settle(now);
    }

    /// Sends a re-INVITE as soon as no other is under way. `Changed` or `ChangeRefused` follows,
    /// or the end of the call. Refused: 481 before the answer, 491 while another is open that was
    /// asked for so.
    pub fn change(
        &mut self,
        now: Instant,
        call: CallId,
        modification: Modification,
    ) -> Result<(), Refused> {
        let result = self.calls.change(now, &mut self.stack, call, modification);
        self.settle(now);
        result
    }

    /// Sends the re-INVITE that `Event::Refresh` asked for.
    pub fn refresh(&mut self, now: Instant, call: CallId, sdp: Vec<u8>) {
        self.calls.refresh(now, &mut self.stack, call, sdp);
        self.settle(now);
    }

    pub fn info(
        &mut self,
        now: Instant,
        call: CallId,
        headers: &ExtraHeaders,
        content_type: &str,
        body: Vec<u8>,
    ) {
        let content = Content { method: Method::Info, headers, content_type, body };
        self.calls.send(now, &mut self.stack, call, content);
        self.settle(now);
    }

    /// MESSAGE with `text/plain` inside the dialog.
    pub fn message(&mut self, now: Instant, call: CallId, text: &str) {
        let content = Content {
            method: Method::Message,
            headers: &ExtraHeaders::new(),
            content_type: "text/plain;charset=utf-8",
            body: text.as_bytes().to_vec(),
        };
        self.calls.send(now, &mut self.stack, call, content);
        self.settle(now);
    }

    /// 202 to the REFER that `Event::Refer` told of, and a NOTIFY that it is tried.
    pub fn accept_refer(&mut self, now: Instant, call: CallId) {
        self.calls.accept_refer(now, &mut self.stack, call);
        self.settle(now);
    }

    pub fn reject_refer(&mut self, now: Instant, call: CallId, status: u16) {
        self.calls.reject_refer(now, &mut self.stack, call, status);
        self.settle(now);
    }

    /// Tells the peer how far the transfer is that it asked for; a final status ends it.
    pub fn notify_refer(&mut self, now: Instant, call: CallId, status: u16, reason: &str) {
        self.calls.notify(now, &mut self.stack, call, status, reason);
        self.settle(now);
    }

    /// Asks the peer to call somebody else; `Event::Transferred` follows.
    pub fn refer(
        &mut self,
        now: Instant,
        call: CallId,
        transfer: &Transfer,
    ) -> Result<(), Refused> {
        let result = self.calls.refer(now, &mut self.stack, call, transfer);
        self.settle(now);
        result
    }

    /// The call whose dialog a Replaces header names.
    pub fn find_dialog(&self, replaces: &Replaces) -> Found {
        self.calls.find(replaces)
    }

    /// Where a call's messages come from.
    pub fn peer_address(&self, call: CallId) -> Option<SocketAddr> {
        self.calls.way(call).map(|way| way.peer())
    }

    /// Whose call it is; `None`: whoever a URI named.
    pub fn peer(&self, call: CallId) -> Option<Peer> {
        self.calls.peer(call)
    }

    /// Whether a 18x to this unanswered call may carry our offer.
    pub fn early_offer(&self, call: CallId) -> EarlyOffer {
        self.calls.early_offer(call)
    }

    pub fn trunk_state(&self, name: &str) -> TrunkState {
        self.trunks.state(name)
    }

    /// Whether calls to this trunk went unanswered of late: others come first.
    pub fn is_doubtful(&self, trunk: &str) -> bool {
        self.trunks.is_doubtful(trunk)
    }

    /// Calls over this trunk, both ways.
    pub fn trunk_calls(&self, name: &str) -> usize {
        self.calls.count_of(&Party::Trunk(name.to_owned()))
    }

    /// Registered contacts of a user.
    pub fn contacts(&self, user: &str) -> usize {
        self.registrar.contacts(user)
    }

    /// Our address as the peer of this call sees it, for SDP.
    pub fn local_ip(&self, call: CallId) -> IpAddr {
        let transports = &self.stack.transports;
        match self.calls.way(call) {
            Some(way) => transports.sdp_ip(way),
            None => transports.sdp_ip(transports.towards(Transport::Udp, None)),
        }
    }

    /// Whether messages of this call are encrypted as far as the next hop.
    pub fn is_secure(&self, call: CallId) -> bool {
        self.calls.way(call).is_some_and(|way| way.transport().is_secure())
    }

    /// Whether an INVITE to this target is encrypted as far as the next hop.
    pub fn is_secure_for(&self, target: &Target) -> bool {
        self.hop_to(target).is_some_and(|hop| {
            // A transport that only the host's records tell may be any.
            hop.is_secure || hop.transport.is_some_and(Transport::is_secure)
        })
    }

    /// Our address towards a target that is not called yet.
    pub fn local_ip_for(&self, target: &Target) -> IpAddr {
        let transports = &self.stack.transports;
        match self.hop_to(target) {
            Some(hop) => self.stack.sdp_ip(&hop),
            None => transports.sdp_ip(transports.towards(Transport::Udp, None)),
        }
    }

    pub fn usage(&self) -> Usage {
        Usage {
            calls: self.calls.count(),
            dialogs: self.calls.dialogs(),
            transactions: self.stack.table.count(),
            streams: self.stack.transports.stream_count(),
        }
    }
}

impl UserAgent {
    fn hop_to(&self, target: &Target) -> Option<Hop> {
        match target {
            Target::Trunk { name, .. } => {
                let trunk = self.stack.trunk(name);
                trunk.and_then(|trunk| self.stack.way_of_trunk(trunk)).map(|(hop, _)| hop)
            }
            Target::Uri { uri, proxy } => Hop::of(proxy.as_deref().unwrap_or(uri)),
            Target::User { name } => self
                .registrar
                .last_source(name)
                .map(|source| Hop::to(source.transport, source.address)),
        }
    }

    /// Tells what followed from the last step: requests that could not be sent, bindings that
    /// changed.
    fn settle(&mut self, now: Instant) {
        while let Some((outgoing, status)) = self.stack.take_failure() {
            self.on_outcome(now, outgoing, Outcome::Failed(status));
        }
        while let Some((transport, peer)) = self.stack.transports.poll_lost() {
            self.registrar.lose(transport, peer);
        }
        while let Some((user, contacts)) = self.registrar.poll_change(now) {
            self.stack.tell(Event::Bindings { user, contacts });
        }
    }

    /// What became of a request of ours.
    pub(super) fn on_outcome(&mut self, now: Instant, outgoing: Box<Outgoing>, outcome: Outcome) {
        match outgoing.owner {
            Owner::Registration { trunk } => {
                self.trunks.on_registration(now, &mut self.stack, trunk, &outgoing, &outcome);
            }
            Owner::Health { trunk, check } => {
                self.trunks.on_check(now, &mut self.stack, trunk, check, &outgoing, &outcome);
            }
            _ => {
                if let Some(trunk) = self.calls.trunk(&outgoing.owner) {
                    self.trunks.on_invite(now, &mut self.stack, trunk, &outcome);
                }
                self.calls.on_outcome(now, &mut self.stack, outgoing, outcome);
            }
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        while let Some(unanswered) = self.stack.table.fire(now, &mut self.stack.transports) {
            if let Some(outgoing) = unanswered {
                self.try_elsewhere(now, outgoing, 408);
            }
        }
        while let Some((call, timer)) = self.stack.timers.pop_due(now) {
            if let (CallTimer::NoResponse, Some(trunk)) = (timer, self.calls.silent_trunk(call)) {
                self.trunks.doubt(now, trunk);
            }
            self.calls.on_timer(now, &mut self.stack, call, timer);
        }
        self.stack.names.handle_timeout(now);
        self.stack.ask_names();
        self.registrar.handle_timeout(now);
        while let Some(phones) = self.registrar.pop_pings(now) {
            for phone in phones {
                self.stack.transports.ping(phone.listener, phone.address);
            }
        }
        self.trunks.handle_timeout(now, &mut self.stack);
        while let Some((stream, peer, overdue)) = self.stack.transports.pop_overdue(now) {
            match overdue {
                Overdue::Idle if self.registrar.expects_pings(peer) => {
                    self.stack.transports.close(stream);
                    self.on_stream_lost(now, stream);
                }
                Overdue::Idle if self.needs(peer) => {
                    self.stack.transports.keep_alive(now, stream);
                }
                Overdue::Idle => self.stack.transports.close(stream),
                Overdue::Silent | Overdue::Slow | Overdue::Deaf => {
                    stats::SIP_STREAMS_TIMED_OUT.add(1);
                    self.stack.transports.close(stream);
                    self.on_stream_lost(now, stream);
                }
            }
        }
    }

    pub(super) fn on_stream_lost(&mut self, now: Instant, lost: StreamId) {
        self.on_lost(
            now,
            |way| matches!(way, Destination::Stream { stream, .. } if stream == lost),
        );
    }

    /// What waits for an answer over a way that is lost.
    fn on_lost(&mut self, now: Instant, is_lost: impl Fn(Destination) -> bool) {
        for outgoing in self.stack.table.fail(is_lost) {
            self.try_elsewhere(now, outgoing, 503);
        }
    }

    /// A request that its target did not answer.
    fn try_elsewhere(&mut self, now: Instant, outgoing: Box<Outgoing>, status: u16) {
        self.shun_target(now, &outgoing, None);
        match self.has_alternative(&outgoing) {
            true => self.send_elsewhere(now, outgoing),
            false => self.on_outcome(now, outgoing, Outcome::Failed(status)),
        }
    }

    /// A final response: 503 is that of one server of several (RFC 3263 §4.3).
    pub(super) fn on_final(&mut self, now: Instant, outgoing: Box<Outgoing>, response: Message) {
        if response.status() == Some(503) {
            self.shun_target(now, &outgoing, response.headers.retry_after());
            if self.has_alternative(&outgoing) {
                return self.send_elsewhere(now, outgoing);
            }
        }
        self.on_outcome(now, outgoing, Outcome::Response(Box::new(response)));
    }

    /// Whether another target of a request's hop is left, and the request still wanted.
    fn has_alternative(&self, outgoing: &Outgoing) -> bool {
        !outgoing.targets.is_empty() && self.calls.wants(&outgoing.owner)
    }

    fn send_elsewhere(&mut self, now: Instant, mut outgoing: Box<Outgoing>) {
        stats::SIP_TARGETS_CHANGED.add(1);
        self.calls.begin_again(&outgoing.owner);
        outgoing.request.via.clear();
        self.stack.send_to_next(now, outgoing);
    }

    /// Others of the same name are asked first for a while.
    fn shun_target(&mut self, now: Instant, outgoing: &Outgoing, time: Option<Duration>) {
        // Of a hop that is an address only what took the place of its own target.
        if let Some(tried) = outgoing.tried.filter(|tried| outgoing.hop.literal() != Some(*tried)) {
            self.stack.names.shun(now, tried, time);
        }
    }

    /// The name of a request's hop is known, or known not to be.
    fn resume(&mut self, now: Instant, outgoing: Box<Outgoing>) {
        match self.calls.wants(&outgoing.owner) {
            true => self.stack.send(now, outgoing),
            false => self.on_outcome(now, outgoing, Outcome::Failed(487)),
        }
    }

    /// When all streams are taken, one that is nobody's goes: scanners do not lock phones out.
    fn make_room_for_stream(&mut self) {
        if !self.stack.transports.has_room() {
            let mut all = self.stack.transports.by_worth();
            if let Some(stream) = all.find(|(_, peer)| !self.needs(*peer)).map(|(id, _)| id) {
                stats::SIP_STREAMS_CUT.add(1);
                self.stack.transports.close(stream);
            }
        }
    }

    /// Whether an idle stream is kept: a phone or a call is at its other end.
    fn needs(&self, peer: SocketAddr) -> bool {
        self.stack.table.uses(peer) || self.calls.uses(peer) || self.registrar.uses_stream(peer)
    }
}

/// What passwords of users are hashed with, the same whatever address we have.
fn realm(config: &Config) -> String {
    match &*config.domain {
        "" => config.product.split('/').next().unwrap_or_default().to_owned(),
        domain => domain.to_owned(),
    }
}
