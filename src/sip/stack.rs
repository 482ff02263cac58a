//! What every usage stands on: transports, names and transactions as one.
//!
//! [`Stack::send`] takes a request from its maker to the wire, over name look-up and several
//! addresses; what cannot be sent comes back by [`Stack::take_failure`]. Who hears of a response
//! is not decided here.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::fields::Contacts;
use super::header::Name;
use super::inspection;
use super::invite::CallTimer;
use super::locate::{Abilities, Hop, Located, Names, Target};
use super::message::{Message, Method};
use super::mtu;
use super::name_addr::NameAddr;
use super::outbound;
use super::outgoing::{Outgoing, Owner};
use super::transaction::table::{Full, Table};
use super::transaction::{PATIENCE, TransactionId};
use super::transport::{Destination, Transports};
use super::trunks::ServiceRoutes;
use super::uri::{Scheme, Uri};
use super::user_agent::{CallId, Config, Event, Output, Peer, Policy, Transport, Trunk};
use crate::random::Random;
use crate::stats;
use crate::timers::Timers;

pub struct Stack {
    pub config: Config,
    pub random: Random,
    pub transports: Transports,
    pub names: Names,
    pub table: Table,
    pub service_routes: ServiceRoutes,
    /// Timers of calls.
    pub timers: Timers<(CallId, CallTimer)>,
    /// Requests that could not be sent, until the user agent tells their owners. Each input or
    /// verb adds at most what it wanted to send.
    failures: VecDeque<(Box<Outgoing>, u16)>,
    secret: u64,
}

impl Stack {
    pub fn new(config: Config, mut random: Random) -> Self {
        let limits = config.limits;
        let mut transports = Transports::new(
            config.listeners.clone(),
            config.public_address.clone(),
            limits.streams,
            limits.message_bytes,
        );
        transports.set_origins(&config.ws_origins);
        transports.set_local_networks(&config.nat.local_networks);
        Self {
            transports,
            names: Names::new(Abilities::of(&config.listeners)),
            table: Table::new(limits.transactions, &mut random),
            service_routes: ServiceRoutes::default(),
            timers: Timers::new(),
            failures: VecDeque::new(),
            secret: random.next_u64(),
            config,
            random,
        }
    }

    pub fn reload(&mut self, config: Config) {
        self.transports.set_origins(&config.ws_origins);
        self.transports.set_public_address(config.public_address.clone());
        self.transports.set_local_networks(&config.nat.local_networks);
        self.config = config;
    }

    pub fn trunk(&self, name: &str) -> Option<&Trunk> {
        self.config.trunks.iter().find(|trunk| trunk.name == name)
    }

    /// What a peer that is a trunk is believed and told.
    pub fn policy(&self, peer: &Peer) -> Option<&Policy> {
        match peer {
            Peer::Trunk(name) => self.trunk(name).map(|trunk| &trunk.identity),
            Peer::User(_) => None,
        }
    }

    pub fn tell(&mut self, event: Event) {
        self.transports.outputs.push_back(Output::Event(event));
    }

    /// Sends a request on its flow, or to the targets of its hop, one after the other.
    pub fn send(&mut self, now: Instant, mut outgoing: Box<Outgoing>) {
        if let Some(way) = outgoing.hop.flow
            && self.transports.is_open(way)
        {
            let patience = if outgoing.is_hurried { SHORT_PATIENCE } else { PATIENCE };
            return match self.transmit(now, way, outgoing, patience) {
                Ok(()) => {}
                Err(outgoing) => self.fail(outgoing, 503),
            };
        }
        if outgoing.hop.is_flow_only || outbound::is_nowhere(&outgoing.hop.host) {
            return self.fail(outgoing, 503);
        }
        outgoing.begun = None;
        match self.names.locate(now, &mut self.random, outgoing) {
            Located::Found(outgoing) => self.send_to_next(now, outgoing),
            Located::Waiting => {}
            Located::Nowhere(outgoing) => self.fail(outgoing, 503),
        }
        self.ask_names();
    }

    /// Hands on the questions of names.
    pub fn ask_names(&mut self) {
        while let Some((query, question)) = self.names.poll_question() {
            self.transports.outputs.push_back(Output::Resolve { query, question });
        }
    }

    /// Sends a request to the next target of its hop that takes it.
    pub fn send_to_next(&mut self, now: Instant, mut outgoing: Box<Outgoing>) {
        while let Some(target) = outgoing.targets.pop_front() {
            let target = self.by_length(now, target, &mut outgoing);
            outgoing.tried = Some(target);
            let Target { transport, address } = target;
            let host = &outgoing.hop.host;
            let Ok(way) = self.transports.open(now, transport, address, host) else {
                continue;
            };
            let patience = patience(now, &mut outgoing);
            match self.transmit(now, way, outgoing, patience) {
                Ok(()) => return,
                Err(unsent) => outgoing = unsent,
            }
        }
        self.fail(outgoing, 503);
    }

    /// TCP in the place of UDP for a long request, and UDP after it.
    fn by_length(&self, now: Instant, target: Target, outgoing: &mut Outgoing) -> Target {
        let stream = Target { transport: Transport::Tcp, ..target };
        let is_free = target.transport == Transport::Udp && outgoing.hop.transport.is_none();
        if !is_free
            || outgoing.tried == Some(stream)
            // Requests of the peer come to our Contact, which says TCP then.
            || !self.transports.has_listener(stream.transport, stream.address.ip())
            || self.names.is_shunned(now, &stream)
            || !mtu::is_too_long(&outgoing.request)
        {
            return target;
        }
        outgoing.targets.push_front(target);
        stream
    }

    /// A request that could not be sent, with the status that stands for it.
    pub fn take_failure(&mut self) -> Option<(Box<Outgoing>, u16)> {
        self.failures.pop_front()
    }

    /// Tells the owner of a request, at the end of this step, that it failed.
    pub fn fail(&mut self, outgoing: Box<Outgoing>, status: u16) {
        stats::SIP_SEND_FAILED.add(1);
        self.failures.push_back((outgoing, status));
    }

    /// Starts the server transaction of a request; refuses it when there is no room.
    pub fn serve(
        &mut self,
        now: Instant,
        request: &Message,
        source: Destination,
        tag: Option<String>,
    ) -> Option<TransactionId> {
        match self.table.start_server(now, request, source, tag) {
            Ok(id) => Some(id),
            Err(Full) => {
                self.refuse_full(now, request, source);
                None
            }
        }
    }

    /// 503 with Retry-After.
    pub fn refuse_full(&mut self, now: Instant, request: &Message, source: Destination) {
        let mut response = self.response(request, 503);
        response.headers.push(Name::RetryAfter, RETRY_AFTER_S);
        self.answer(now, source, response);
    }

    /// Answers without a transaction (RFC 3261 §8.2.7): the same request gets the same answer.
    pub fn answer(&mut self, now: Instant, source: Destination, response: Message) {
        let Some(via) = response.via.first() else { return };
        let way = self.transports.response_way(now, via, source);
        if self.transports.send(now, way, response.to_bytes()).is_err() {
            stats::SIP_SEND_FAILED.add(1);
        }
    }

    /// A final response, finished.
    pub fn response(&self, request: &Message, status: u16) -> Message {
        let mut response = self.finish(Message::response_to(request, status, ""));
        inspection::explain(self, &mut response);
        response
    }

    /// Adds our product, and a To tag that stays the same for the same request.
    pub fn finish(&self, mut response: Message) -> Message {
        if response.to.tag().is_none() {
            let mut hasher = DefaultHasher::new();
            self.secret.hash(&mut hasher);
            (&response.call_id, response.from.tag(), response.cseq.number).hash(&mut hasher);
            response.to.set_tag(format!("{:016x}", hasher.finish()));
        }
        if !self.config.product.is_empty() {
            response.headers.push(Name::Server, self.config.product.as_str());
        }
        response
    }

    /// A Contact of ours for the peer of this way.
    ///
    /// `request` is that which it is in or for: where it wants TLS all the way, so does our Contact
    /// (RFC 3261 §8.1.1.8, §12.1.1).
    pub fn contact(&self, way: Destination, user: &str, request: &Message) -> NameAddr {
        NameAddr::new(self.own_uri(way, user, is_secured(request)))
    }

    /// A user of ours as the peer of this way reaches it; `is_secured`: with TLS all the way, if
    /// this way has it.
    pub fn own_uri(&self, way: Destination, user: &str, is_secured: bool) -> Uri {
        let (host, port) = self.transports.local_name(way);
        let mut uri = Uri::sip(user, &host, Some(port));
        if way.transport().is_secure() && is_secured {
            uri.scheme = Scheme::Sips;
        }
        // `transport=tls` beside `sips:` would say it twice.
        let parameter =
            way.transport().parameter().filter(|name| uri.scheme == Scheme::Sip || *name != "tls");
        if let Some(transport) = parameter {
            uri.set_parameter("transport", Some(transport.to_owned()));
        }
        uri
    }

    /// Host and port under which the peers of this hop know us, before a way there is open.
    pub fn home(&self, hop: &Hop) -> (String, u16) {
        self.transports.local_name(self.way_towards(hop))
    }

    /// Our address in SDP for this hop.
    pub fn sdp_ip(&self, hop: &Hop) -> IpAddr {
        self.transports.sdp_ip(self.way_towards(hop))
    }

    fn way_towards(&self, hop: &Hop) -> Destination {
        if let Some(flow) = hop.flow {
            return flow;
        }
        match self.names.first_target(hop) {
            Some(target) => self.transports.towards(target.transport, Some(target.address)),
            None => self.transports.towards(hop.usual_transport(), None),
        }
    }

    fn transmit(
        &mut self,
        now: Instant,
        way: Destination,
        mut outgoing: Box<Outgoing>,
        patience: Duration,
    ) -> Result<(), Box<Outgoing>> {
        if let Some(user) = &outgoing.contact {
            let mut contact = self.contact(way, user, &outgoing.request);
            let headers = &mut outgoing.request.headers;
            if let Ok(Contacts::List(mut old)) = headers.contacts()
                && let Some(old) = old.pop()
            {
                // Such as the time that a REGISTER asks for.
                contact.parameters = old.parameters;
            }
            headers.remove(&Name::Contact);
            headers.push(Name::Contact, contact.to_string());
        }
        if *outgoing.request.method() == Method::Ack {
            return self.transmit_ack(now, way, outgoing);
        }
        let (transports, random) = (&mut self.transports, &mut self.random);
        self.table.start_client(now, transports, way, outgoing, patience, random)?;
        Ok(())
    }

    /// The ACK of a 2xx has no transaction of its own (RFC 3261 §13.2.2.4).
    fn transmit_ack(
        &mut self,
        now: Instant,
        way: Destination,
        mut outgoing: Box<Outgoing>,
    ) -> Result<(), Box<Outgoing>> {
        let branch = Table::branch(&mut self.random);
        outgoing.request.via = vec![self.transports.via(way, branch)];
        let bytes = outgoing.request.to_bytes();
        if self.transports.send(now, way, bytes.clone()).is_err() {
            return Err(outgoing);
        }
        if let Owner::Ack { invite, tag } = &outgoing.owner {
            self.table.keep_ack(*invite, tag, way, bytes);
        }
        Ok(())
    }
}

/// Whether a `sips:` URI is what a request is for, or its next hop.
fn is_secured(request: &Message) -> bool {
    let next = [Name::Route, Name::RecordRoute].map(|name| request.header(&name));
    request.request_uri().is_some_and(|uri| uri.scheme == Scheme::Sips)
        || next.into_iter().flatten().any(|next| next.trim_start().starts_with("<sips:"))
}

/// How long the next target of a request has for its first answer. All of them together have the
/// time of one transaction (RFC 3263 §4.3, RFC 3261 §17.1.1.2), so that dead ones do not add up.
fn patience(now: Instant, outgoing: &mut Outgoing) -> Duration {
    let begun = *outgoing.begun.get_or_insert(now);
    let left = PATIENCE.saturating_sub(now.saturating_duration_since(begun));
    match outgoing.targets.is_empty() {
        true => left.max(SHORT_PATIENCE),
        false => SHORT_PATIENCE,
    }
}

/// While others are left to try: four sendings over UDP (RFC 3261 §17.1.1.2: 0, 0.5, 1.5, 3.5 s)
/// and a connection's second SYN; a server that is there says 100 within 0.2 s.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// When a peer may come again after a refusal for lack of room (RFC 3261 §20.33).
pub const RETRY_AFTER_S: &str = "5";
