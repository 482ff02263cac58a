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

mod config;
mod event;
mod order;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

pub use self::config::{
    Config, Limits, Listener, Nat, Network, Prack, SessionTimer, Strangers, Transport, Trunk, User,
};
pub use self::event::{
    Binding, Event, ExtraHeaders, Incoming, Input, Output, Peer, Refer, TrunkState,
};
pub use self::order::{
    EarlyOffer, Invite, MAX_FORWARDS, Modification, ReferTarget, Refused, Target, Transfer,
};
use crate::logger::Burst;
use crate::random::Random;
use crate::sip::challenge::Authenticator;
pub use crate::sip::digest::Algorithm;
use crate::sip::guard::Guard;
pub use crate::sip::identity::{Called, Caller, Diverted, Form, FromUser, Policy, Privacy};
use crate::sip::info::Content;
use crate::sip::invite::{CallTimer, Calls, Party};
pub use crate::sip::invite::{Found, MOST_REFERS, REFER_PATIENCE};
use crate::sip::locate::Hop;
use crate::sip::message::{Message, Method};
use crate::sip::outgoing::{Outcome, Outgoing, Owner};
pub use crate::sip::refer::Replaces;
use crate::sip::registrar::Registrar;
use crate::sip::stack::Stack;
use crate::sip::stream::Overdue;
use crate::sip::transport::Destination;
use crate::sip::trunks::Trunks;
pub use crate::sip::trunks::{Account, Caps};
use crate::slots::Key;
use crate::stats;

/// One INVITE usage: an incoming or outgoing call from its INVITE to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub Key);

/// One connection of a stream transport. Numbers of accepted ones come from the driver
/// (odd), numbers of those we ask for come from the machine (even).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// What the machine holds, for gauges and for tests that expect an empty world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub calls: usize,
    pub dialogs: usize,
    pub transactions: usize,
    pub streams: usize,
}

/// Content type of a NOTIFY about a transfer.
pub const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// The user agent.
pub struct UserAgent {
    pub(in crate::sip) stack: Stack,
    pub(in crate::sip) calls: Calls,
    pub(in crate::sip) authenticator: Authenticator,
    pub(in crate::sip) registrar: Registrar,
    pub(in crate::sip) trunks: Trunks,
    /// Calls of nobody known.
    pub(in crate::sip) strangers: Burst,
    pub(in crate::sip) wrong_passwords: Burst,
    pub(in crate::sip) guard: Guard,
    /// What is beyond `source_rate` or `strangers_rate`.
    pub(in crate::sip) floods: Burst,
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
    pub(in crate::sip) fn on_outcome(
        &mut self,
        now: Instant,
        outgoing: Box<Outgoing>,
        outcome: Outcome,
    ) {
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

    pub(in crate::sip) fn on_stream_lost(&mut self, now: Instant, lost: StreamId) {
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
    pub(in crate::sip) fn on_final(
        &mut self,
        now: Instant,
        outgoing: Box<Outgoing>,
        response: Message,
    ) {
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
