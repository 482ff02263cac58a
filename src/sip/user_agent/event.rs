//! What goes in, what comes out, and what the session hears.

use std::net::SocketAddr;
use std::time::Duration;

use super::{CallId, StreamId, Transport};
use crate::dns;
use crate::sip::identity::Caller;
use crate::sip::name_addr::NameAddr;
use crate::sip::refer::Replaces;
use crate::sip::uri::Uri;

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
