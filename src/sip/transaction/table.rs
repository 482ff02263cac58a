//! All transactions of the user agent: finds the one of a message, keeps what is sent again, and
//! carries out what its machine asks for.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::client::Client;
use super::client_invite::ClientInvite;
use super::server::Server;
use super::server_invite::{ServerInvite, State};
use super::{ClientStep, Deadlines, PATIENCE, ServerStep, Timer, TransactionId};
use crate::random::Random;
use crate::sip::message::{CSeq, Message, Method, Start};
use crate::sip::outgoing::{Outgoing, Owner};
use crate::sip::transport::{Destination, Transports};
use crate::sip::via::MAGIC_COOKIE;
use crate::sip::{header::Name, transaction::Reliability};
use crate::slots::Slots;
use crate::stats;
use crate::timers::Timers;

/// Client and server transactions.
pub struct Table {
    /// Full: the oldest one that has its final response ends early, counted as
    /// `sip_transactions_cut_total`; where all are at work, the request gets 503 with
    /// Retry-After, counted as `sip_refused_full_transactions_total`.
    entries: Slots<Entry>,
    clients: HashMap<u64, TransactionId>,
    servers: HashMap<u64, TransactionId>,
    /// Server transactions of requests outside dialogs, by what a fork of them has in common.
    merged: HashMap<u64, TransactionId>,
    /// Those that have their final response, in the order in which they came to that.
    lingering: BTreeMap<u64, TransactionId>,
    lingered_so_far: u64,
    timers: Timers<(TransactionId, Timer)>,
    /// Keys of the maps are hashes with this secret: nobody outside can make two of them equal.
    secret: u64,
}

struct Entry {
    machine: Machine,
    way: Destination,
    /// What is sent again: the request, the last response, or the ACK of a 300-699.
    bytes: Vec<u8>,
    /// Its place in `lingering`.
    lingers: Option<u64>,
    side: Side,
}

enum Side {
    Client {
        key: u64,
        /// The request as it was sent. `None` once its final response was passed on.
        outgoing: Option<Box<Outgoing>>,
        /// 2xx that were passed on, each with its ACK once that is sent.
        forks: Vec<Fork>,
    },
    Server {
        key: u64,
        merged: Option<u64>,
        /// Final status sent.
        status: Option<u16>,
        /// The usage whose request this is, for CANCEL and for ACKs with the INVITE's branch.
        tag: Option<String>,
    },
}

struct Fork {
    tag: String,
    ack: Option<(Destination, Vec<u8>)>,
}

enum Machine {
    ClientInvite(ClientInvite),
    Client(Client),
    ServerInvite(ServerInvite),
    Server(Server),
}

/// What a response means to the transaction user.
#[derive(Debug)]
pub enum Heard {
    /// It belongs to no transaction.
    Stray,
    /// A retransmission, dealt with.
    Absorbed,
    Provisional(TransactionId, Owner),
    /// A 2xx to an INVITE with a To tag that is new.
    Answer(TransactionId, Owner),
    /// The only final response; an INVITE's is acknowledged already.
    Final(Box<Outgoing>),
}

/// What a request is to the transactions.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    New,
    /// The same request came over another way (RFC 3261 §8.2.2.2).
    Merged,
    /// A retransmission, dealt with.
    Absorbed,
}

/// The INVITE of a CANCEL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invited {
    pub id: TransactionId,
    /// Local tag of its usage.
    pub tag: Option<String>,
    /// The final status sent.
    pub status: Option<u16>,
}

/// The table has no room.
#[derive(Debug)]
pub struct Full;

impl Table {
    pub fn new(capacity: usize, random: &mut Random) -> Self {
        Self {
            entries: Slots::with_capacity(capacity),
            clients: HashMap::new(),
            servers: HashMap::new(),
            merged: HashMap::new(),
            lingering: BTreeMap::new(),
            lingered_so_far: 0,
            timers: Timers::new(),
            secret: random.next_u64(),
        }
    }

    pub fn branch(random: &mut Random) -> String {
        format!("{MAGIC_COOKIE}{}", random.hex(BRANCH_BYTES))
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Sends a request for the first time. Gives it back where there is no room or no way; then
    /// its Via is taken off again. `patience`: the time for the first answer, [`PATIENCE`] where
    /// nobody else could be asked.
    pub fn start_client(
        &mut self,
        now: Instant,
        transports: &mut Transports,
        way: Destination,
        mut outgoing: Box<Outgoing>,
        patience: Duration,
        random: &mut Random,
    ) -> Result<TransactionId, Box<Outgoing>> {
        let branch = Self::branch(random);
        let is_invite = *outgoing.request.method() == Method::Invite;
        let key = self.client_key(&branch, false);
        outgoing.request.via = vec![transports.via(way, branch)];
        let bytes = outgoing.request.to_bytes();
        if !self.make_room() {
            outgoing.request.via.clear();
            return Err(outgoing);
        }
        let kept = match way.reliability() {
            Reliability::Reliable => Vec::new(),
            Reliability::Unreliable => bytes.clone(),
        };
        if transports.send(now, way, bytes).is_err() {
            outgoing.request.via.clear();
            return Err(outgoing);
        }
        let side = Side::Client { key, outgoing: Some(outgoing), forks: Vec::new() };
        let id = self.insert(
            side,
            way,
            kept,
            |deadlines| match is_invite {
                true => Machine::ClientInvite(ClientInvite::start(
                    way.reliability(),
                    patience,
                    deadlines,
                )),
                false => Machine::Client(Client::start(way.reliability(), patience, deadlines)),
            },
            now,
        );
        self.clients.insert(key, id);
        Ok(id)
    }

    /// Sends the CANCEL of an INVITE that has a provisional response (RFC 3261 §9.1).
    pub fn cancel(
        &mut self,
        now: Instant,
        transports: &mut Transports,
        invite: TransactionId,
        fields: impl FnOnce(&mut Message),
    ) {
        let Some(entry) = self.entries.get_mut(invite.0) else { return };
        let Side::Client { outgoing: Some(outgoing), .. } = &entry.side else { return };
        let Machine::ClientInvite(machine) = &mut entry.machine else { return };
        machine.cancelled(&mut Deadlines { timers: &mut self.timers, id: invite, now });
        let way = entry.way;
        let mut request = beside(&outgoing.request, Method::Cancel);
        fields(&mut request);
        let hop = outgoing.hop.clone();
        let Some(branch) = request.via.first().map(|via| via.branch()) else { return };
        let key = self.client_key(branch, true);
        let bytes = request.to_bytes();
        // Without room or way the INVITE ends by timer B all the same.
        if !self.make_room() || transports.send(now, way, bytes.clone()).is_err() {
            return;
        }
        let outgoing = Outgoing::new(request, hop, Owner::Nobody);
        let side = Side::Client { key, outgoing: Some(outgoing), forks: Vec::new() };
        let start = |deadlines: &mut Deadlines<'_>| {
            Machine::Client(Client::start(way.reliability(), PATIENCE, deadlines))
        };
        let id = self.insert(side, way, bytes, start, now);
        self.clients.insert(key, id);
    }

    /// A response came.
    pub fn receive_response(
        &mut self,
        now: Instant,
        transports: &mut Transports,
        response: &Message,
    ) -> Heard {
        let Some(via) = response.via.first() else { return Heard::Stray };
        let key = self.client_key(via.branch(), response.cseq.method == Method::Cancel);
        let Some(&id) = self.clients.get(&key) else { return Heard::Stray };
        let Some(entry) = self.entries.get_mut(id.0) else { return Heard::Stray };
        let status = response.status().unwrap_or_default();
        let deadlines = &mut Deadlines { timers: &mut self.timers, id, now };
        let step = match &mut entry.machine {
            Machine::ClientInvite(machine) => machine.receive(status, deadlines),
            Machine::Client(machine) => machine.receive(status, deadlines),
            Machine::ServerInvite(_) | Machine::Server(_) => return Heard::Stray,
        };
        let Side::Client { outgoing, forks, .. } = &mut entry.side else { return Heard::Stray };
        match step {
            ClientStep::AckAgain => {
                send(now, transports, entry.way, &entry.bytes);
                Heard::Absorbed
            }
            ClientStep::Deliver => {
                let Some(outgoing) = outgoing else { return Heard::Absorbed };
                let owner = outgoing.owner.clone();
                if status < 200 {
                    return Heard::Provisional(id, owner);
                }
                let tag = response.to.tag().unwrap_or_default();
                if let Some(fork) = forks.iter().find(|fork| fork.tag == tag) {
                    if let Some((way, ack)) = &fork.ack {
                        send(now, transports, *way, ack);
                    }
                    return Heard::Absorbed;
                }
                if forks.len() >= MAX_FORKS {
                    stats::SIP_DROPPED.add(1);
                    return Heard::Absorbed;
                }
                forks.push(Fork { tag: tag.to_owned(), ack: None });
                entry.bytes = Vec::new();
                self.linger(id);
                Heard::Answer(id, owner)
            }
            ClientStep::DeliverFinal => {
                entry.bytes = Vec::new();
                let Some(outgoing) = outgoing.take() else { return Heard::Absorbed };
                if let Machine::ClientInvite(_) = entry.machine {
                    let mut ack = beside(&outgoing.request, Method::Ack);
                    ack.to = response.to.clone();
                    entry.bytes = ack.to_bytes();
                    send(now, transports, entry.way, &entry.bytes);
                }
                self.linger(id);
                Heard::Final(outgoing)
            }
            ClientStep::Ignore | ClientStep::SendAgain | ClientStep::TimedOut | ClientStep::End => {
                Heard::Absorbed
            }
        }
    }

    /// The request of a client transaction that is not over.
    pub fn request(&self, id: TransactionId) -> Option<&Outgoing> {
        match &self.entries.get(id.0)?.side {
            Side::Client { outgoing, .. } => outgoing.as_deref(),
            Side::Server { .. } => None,
        }
    }

    /// Keeps the ACK that was sent for a 2xx with this To tag.
    pub fn keep_ack(&mut self, id: TransactionId, tag: &str, way: Destination, ack: Vec<u8>) {
        if let Some(Entry { side: Side::Client { forks, .. }, .. }) = self.entries.get_mut(id.0)
            && let Some(fork) = forks.iter_mut().find(|fork| fork.tag == tag)
        {
            fork.ack = Some((way, ack));
        }
    }

    /// Whether a request is new; a retransmission gets its response again. Not for ACK.
    pub fn receive_request(
        &mut self,
        now: Instant,
        transports: &mut Transports,
        request: &Message,
    ) -> Seen {
        let key = self.server_key(request, request.method());
        if let Some(&id) = self.servers.get(&key)
            && let Some(entry) = self.entries.get_mut(id.0)
        {
            let step = match &mut entry.machine {
                Machine::ServerInvite(machine) => machine.receive_invite(),
                Machine::Server(machine) => machine.receive(),
                Machine::ClientInvite(_) | Machine::Client(_) => ServerStep::Ignore,
            };
            if step == ServerStep::Send {
                send(now, transports, entry.way, &entry.bytes);
            }
            stats::SIP_RETRANSMISSIONS_ABSORBED.add(1);
            return Seen::Absorbed;
        }
        let is_merged =
            request.to.tag().is_none() && self.merged.contains_key(&self.merged_key(request));
        if is_merged { Seen::Merged } else { Seen::New }
    }

    /// Whether an ACK is that of a refusal; then it is dealt with. Others acknowledge a 2xx.
    pub fn receive_ack(&mut self, now: Instant, ack: &Message) -> bool {
        let key = self.server_key(ack, &Method::Invite);
        let Some(&id) = self.servers.get(&key) else { return false };
        let Some(entry) = self.entries.get_mut(id.0) else { return false };
        let Machine::ServerInvite(machine) = &mut entry.machine else { return false };
        let deadlines = &mut Deadlines { timers: &mut self.timers, id, now };
        if machine.receive_ack(deadlines) == ServerStep::Deliver {
            return false;
        }
        if machine.state() == State::Confirmed {
            entry.bytes = Vec::new();
        }
        true
    }

    /// The INVITE that a CANCEL means.
    pub fn invite_of(&self, cancel: &Message) -> Option<Invited> {
        let &id = self.servers.get(&self.server_key(cancel, &Method::Invite))?;
        match &self.entries.get(id.0)?.side {
            Side::Server { status, tag, .. } => {
                Some(Invited { id, tag: tag.clone(), status: *status })
            }
            Side::Client { .. } => None,
        }
    }

    /// A server transaction for a new request. `tag`: the local tag of its usage.
    pub fn start_server(
        &mut self,
        now: Instant,
        request: &Message,
        source: Destination,
        tag: Option<String>,
    ) -> Result<TransactionId, Full> {
        if !self.make_room() {
            stats::SIP_REFUSED_FULL_TRANSACTIONS.add(1);
            return Err(Full);
        }
        let key = self.server_key(request, request.method());
        let merged = request.to.tag().is_none().then(|| self.merged_key(request));
        let reliability = source.reliability();
        let side = Side::Server { key, merged, status: None, tag };
        let start = |_: &mut Deadlines<'_>| match request.method() {
            Method::Invite => Machine::ServerInvite(ServerInvite::start(reliability)),
            _ => Machine::Server(Server::start(reliability)),
        };
        let id = self.insert(side, source, Vec::new(), start, now);
        self.servers.insert(key, id);
        if let Some(merged) = merged {
            self.merged.insert(merged, id);
        }
        Ok(id)
    }

    /// Sends a response; a final one only once. Gives its bytes and way, for those who send a
    /// 2xx again.
    pub fn respond(
        &mut self,
        now: Instant,
        transports: &mut Transports,
        id: TransactionId,
        response: &Message,
    ) -> Option<(Destination, Vec<u8>)> {
        let entry = self.entries.get_mut(id.0)?;
        let answered = response.status()?;
        let deadlines = &mut Deadlines { timers: &mut self.timers, id, now };
        let step = match &mut entry.machine {
            Machine::ServerInvite(machine) => machine.respond(answered, deadlines),
            Machine::Server(machine) => machine.respond(answered, deadlines),
            Machine::ClientInvite(_) | Machine::Client(_) => ServerStep::Ignore,
        };
        if step != ServerStep::Send {
            return None;
        }
        let Side::Server { status, .. } = &mut entry.side else { return None };
        entry.way = transports.response_way(now, response.via.first()?, entry.way);
        let bytes = response.to_bytes();
        send(now, transports, entry.way, &bytes);
        let way = entry.way;
        let is_invite = matches!(entry.machine, Machine::ServerInvite(_));
        if answered >= 200 {
            *status = Some(answered);
        }
        match answered {
            // The usage keeps and sends it again (RFC 6026 §7.1).
            200..=299 if is_invite => {
                entry.bytes = Vec::new();
                self.linger(id);
                return Some((way, bytes));
            }
            // An INVITE's refusal waits for its ACK, and a peer that never sends one must not keep
            // others out: whoever asks again is refused again.
            200.. => {
                entry.bytes.clone_from(&bytes);
                self.linger(id);
            }
            _ => entry.bytes.clone_from(&bytes),
        }
        Some((way, bytes))
    }

    /// Lives through one deadline that has come. A request that nobody answered comes back.
    /// `None`: no deadline is due.
    pub fn fire(
        &mut self,
        now: Instant,
        transports: &mut Transports,
    ) -> Option<Option<Box<Outgoing>>> {
        let (id, timer) = self.timers.pop_due(now)?;
        let Some(entry) = self.entries.get_mut(id.0) else { return Some(None) };
        let deadlines = &mut Deadlines { timers: &mut self.timers, id, now };
        let step = match &mut entry.machine {
            Machine::ClientInvite(machine) => Fired::Client(machine.fire(timer, deadlines)),
            Machine::Client(machine) => Fired::Client(machine.fire(timer, deadlines)),
            Machine::ServerInvite(machine) => Fired::Server(machine.fire(timer, deadlines)),
            Machine::Server(machine) => Fired::Server(machine.fire(timer)),
        };
        match step {
            Fired::Client(ClientStep::SendAgain) | Fired::Server(ServerStep::Send) => {
                stats::SIP_RETRANSMISSIONS.add(1);
                send(now, transports, entry.way, &entry.bytes);
                Some(None)
            }
            Fired::Client(ClientStep::TimedOut) => Some(self.give_up(now, id)),
            Fired::Client(ClientStep::End) | Fired::Server(ServerStep::End) => {
                self.remove(id);
                Some(None)
            }
            Fired::Client(_) | Fired::Server(_) => Some(None),
        }
    }

    /// Ends a transaction without an answer. An INVITE that goes on to another target may yet ring
    /// at this one: a part of it stays to be cancelled or declined then, as nobody's.
    fn give_up(&mut self, now: Instant, id: TransactionId) -> Option<Box<Outgoing>> {
        if let Some(entry) = self.entries.get_mut(id.0)
            && let Machine::ClientInvite(machine) = &mut entry.machine
            && let Side::Client { outgoing: Some(outgoing), .. } = &mut entry.side
            && !outgoing.targets.is_empty()
        {
            machine.abandon(&mut Deadlines { timers: &mut self.timers, id, now });
            let mut rest =
                Outgoing::new(outgoing.request.clone(), outgoing.hop.clone(), Owner::Nobody);
            rest.contact.clone_from(&outgoing.contact);
            let mut outgoing = std::mem::replace(outgoing, rest);
            outgoing.request.via.clear();
            entry.bytes = Vec::new();
            self.linger(id);
            return Some(outgoing);
        }
        self.remove(id)
    }

    /// Requests that wait for an answer from this address; they end without one.
    pub fn fail(&mut self, is_lost: impl Fn(Destination) -> bool) -> Vec<Box<Outgoing>> {
        let lost: Vec<TransactionId> = self
            .entries
            .iter()
            .filter(|(_, entry)| {
                entry.lingers.is_none()
                    && matches!(entry.side, Side::Client { .. })
                    && is_lost(entry.way)
            })
            .map(|(key, _)| TransactionId(key))
            .collect();
        lost.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Whether transactions are at work with a host.
    pub fn has_peer(&self, ip: IpAddr) -> bool {
        let is_its = |entry: &Entry| entry.lingers.is_none() && entry.way.peer().ip() == ip;
        self.entries.iter().any(|(_, entry)| is_its(entry))
    }

    /// Whether a stream has transactions that are at work.
    pub fn uses(&self, peer: SocketAddr) -> bool {
        self.entries.iter().any(|(_, entry)| entry.lingers.is_none() && entry.way.peer() == peer)
    }

    fn insert(
        &mut self,
        side: Side,
        way: Destination,
        bytes: Vec<u8>,
        start: impl FnOnce(&mut Deadlines<'_>) -> Machine,
        now: Instant,
    ) -> TransactionId {
        // The machine arms timers under its id, so that the slot is taken first.
        let machine = Machine::Server(Server::start(way.reliability()));
        let entry = Entry { machine, way, bytes, lingers: None, side };
        let Ok(key) = self.entries.insert(entry) else {
            unreachable!("the caller made room");
        };
        let id = TransactionId(key);
        let machine = start(&mut Deadlines { timers: &mut self.timers, id, now });
        if let Some(entry) = self.entries.get_mut(key) {
            entry.machine = machine;
        }
        id
    }

    /// From here on the transaction only deals with retransmissions.
    fn linger(&mut self, id: TransactionId) {
        if let Some(entry) = self.entries.get_mut(id.0)
            && entry.lingers.is_none()
        {
            self.lingered_so_far += 1;
            entry.lingers = Some(self.lingered_so_far);
            self.lingering.insert(self.lingered_so_far, id);
        }
    }

    fn make_room(&mut self) -> bool {
        if !self.entries.is_full() {
            return true;
        }
        let Some((_, &oldest)) = self.lingering.first_key_value() else { return false };
        stats::SIP_TRANSACTIONS_CUT.add(1);
        self.remove(oldest);
        true
    }

    /// Ends a transaction; gives its request back if nobody heard of a final response.
    fn remove(&mut self, id: TransactionId) -> Option<Box<Outgoing>> {
        let entry = self.entries.remove(id.0)?;
        for timer in Timer::ALL {
            self.timers.disarm((id, timer));
        }
        if let Some(place) = entry.lingers {
            self.lingering.remove(&place);
        }
        match entry.side {
            Side::Client { key, outgoing, forks } => {
                self.clients.remove(&key);
                outgoing.filter(|_| forks.is_empty()).map(|mut outgoing| {
                    outgoing.request.via.clear();
                    outgoing
                })
            }
            Side::Server { key, merged, .. } => {
                self.servers.remove(&key);
                if let Some(merged) = merged
                    && self.merged.get(&merged) == Some(&id)
                {
                    self.merged.remove(&merged);
                }
                None
            }
        }
    }

    /// RFC 3261 §17.1.3: branch, and the method where two share a branch.
    fn client_key(&self, branch: &str, is_cancel: bool) -> u64 {
        self.hash(|hasher| (branch, is_cancel).hash(hasher))
    }

    /// RFC 3261 §17.2.3. Without the magic cookie by what RFC 2543 clients keep the same.
    fn server_key(&self, request: &Message, method: &Method) -> u64 {
        self.hash(|hasher| {
            method.hash(hasher);
            let Some(via) = request.via.first() else { return };
            (via.branch(), &via.host, via.port).hash(hasher);
            if !via.has_magic_cookie() {
                (&request.call_id, request.from.tag(), request.cseq.number).hash(hasher);
            }
        })
    }

    fn merged_key(&self, request: &Message) -> u64 {
        self.hash(|hasher| {
            (&request.call_id, request.from.tag(), request.cseq.number).hash(hasher);
            request.method().hash(hasher);
        })
    }

    fn hash(&self, of: impl FnOnce(&mut DefaultHasher)) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.secret.hash(&mut hasher);
        of(&mut hasher);
        hasher.finish()
    }
}

enum Fired {
    Client(ClientStep),
    Server(ServerStep),
}

/// The ACK of a 300-699 or the CANCEL of an INVITE (RFC 3261 §17.1.1.3, §9.1): same branch,
/// request URI, To, From, Call-ID, CSeq number and Route.
fn beside(invite: &Message, method: Method) -> Message {
    let uri = invite.request_uri().cloned().unwrap_or_else(|| invite.to.uri.clone());
    let mut request = Message {
        start: Start::Request { method: method.clone(), uri },
        via: invite.via.iter().take(1).cloned().collect(),
        from: invite.from.clone(),
        to: invite.to.clone(),
        call_id: invite.call_id.clone(),
        cseq: CSeq { number: invite.cseq.number, method },
        headers: Default::default(),
        body: Vec::new(),
    };
    request.headers.push(Name::MaxForwards, "70");
    for route in invite.headers.all(&Name::Route) {
        request.headers.push(Name::Route, route);
    }
    request
}

/// What cannot be sent is like what gets lost: the timers go on.
fn send(now: Instant, transports: &mut Transports, way: Destination, bytes: &[u8]) {
    if !bytes.is_empty() && transports.send(now, way, bytes.to_vec()).is_err() {
        stats::SIP_SEND_FAILED.add(1);
    }
}

/// 2xx of one INVITE with different To tags that are dealt with; more are dropped.
const MAX_FORKS: usize = 16;
/// Random bytes of a branch.
const BRANCH_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::tests::bench::{PBX, request, wire};
    use crate::sip::transaction::PATIENCE;
    use crate::sip::user_agent::{Listener, Output, Transport};

    struct Bench {
        now: Instant,
        table: Table,
        transports: Transports,
    }

    impl Bench {
        fn new(capacity: usize) -> Self {
            let address = "192.0.2.1:5060".parse().unwrap();
            let listener = Listener { transport: Transport::Udp, address, advertised: address };
            Self {
                now: Instant::now(),
                table: Table::new(capacity, &mut Random::seeded(1)),
                transports: Transports::new(vec![listener], String::new(), 0, 65536),
            }
        }

        fn see(&mut self, request: &Message) -> Seen {
            self.table.receive_request(self.now, &mut self.transports, request)
        }

        fn serve(&mut self, request: &Message) -> Result<TransactionId, Full> {
            let source = Destination::Datagram { listener: 0, to: PBX.parse().unwrap() };
            self.table.start_server(self.now, request, source, None)
        }

        fn respond(&mut self, id: TransactionId, request: &Message, status: u16) {
            let response = Message::response_to(request, status, "");
            self.table.respond(self.now, &mut self.transports, id, &response);
        }

        fn sent(&mut self) -> usize {
            let is_datagram = |output: &Output| matches!(output, Output::Datagram { .. });
            self.transports.outputs.drain(..).filter(is_datagram).count()
        }
    }

    fn message(text: &str) -> Message {
        Message::parse(&wire(text)).unwrap()
    }

    fn info(branch: &str) -> Message {
        message(&request("INFO", branch, "t", "", ""))
    }

    #[test]
    fn request_is_the_same_by_branch_sent_by_and_method() {
        let mut bench = Bench::new(10);
        let first = info("1");
        assert_eq!(bench.see(&first), Seen::New);
        let id = bench.serve(&first).unwrap();
        bench.respond(id, &first, 200);
        assert_eq!(bench.see(&first), Seen::Absorbed);
        assert_eq!(bench.sent(), 2);
        assert_eq!(bench.see(&info("1.2")), Seen::New);
        let elsewhere =
            request("INFO", "1", "t", "", "").replace("192.0.2.10:5060;", "192.0.2.10:5062;");
        assert_eq!(bench.see(&message(&elsewhere)), Seen::New);
        assert_eq!(bench.see(&message(&request("MESSAGE", "1", "t", "", ""))), Seen::New);
    }

    /// RFC 3261 §17.2.3, second part.
    #[test]
    fn request_of_an_rfc_2543_client_is_the_same_by_what_it_says() {
        let mut bench = Bench::new(10);
        let old = request("INFO", "1", "t", "", "").replace(";branch=z9hG4bK1", "");
        let first = message(&old);
        let id = bench.serve(&first).unwrap();
        bench.respond(id, &first, 200);
        assert_eq!(bench.see(&first), Seen::Absorbed);
        assert_eq!(bench.see(&message(&old.replace("CSeq: 1", "CSeq: 2"))), Seen::New);
        assert_eq!(bench.see(&message(&old.replace("c1@", "c2@"))), Seen::New);
    }

    #[test]
    fn full_table_cuts_what_lingers_longest_and_refuses_when_all_are_at_work() {
        let mut bench = Bench::new(2);
        let (first, second) = (info("1"), info("2"));
        let one = bench.serve(&first).unwrap();
        let two = bench.serve(&second).unwrap();
        assert!(bench.serve(&info("3")).is_err());
        bench.respond(two, &second, 200);
        bench.respond(one, &first, 200);
        assert!(bench.serve(&info("3")).is_ok());
        assert_eq!(bench.see(&second), Seen::New);
        assert_eq!(bench.see(&first), Seen::Absorbed);
        assert_eq!(bench.table.count(), 2);
    }

    #[test]
    fn refused_invites_that_are_never_acknowledged_keep_nobody_out() {
        let mut bench = Bench::new(2);
        let invites = ["1", "2", "3"].map(|branch| message(&request("INVITE", branch, "", "", "")));
        for invite in &invites[..2] {
            let id = bench.serve(invite).unwrap();
            bench.respond(id, invite, 486);
        }
        assert!(bench.serve(&invites[2]).is_ok());
        assert_eq!(bench.see(&invites[1]), Seen::Absorbed);
        assert_eq!(bench.table.count(), 2);
    }

    #[test]
    fn finished_transaction_ends_and_leaves_nothing() {
        let mut bench = Bench::new(2);
        let first = info("1");
        let id = bench.serve(&first).unwrap();
        bench.respond(id, &first, 200);
        bench.now += PATIENCE - Duration::from_millis(1);
        assert!(bench.table.fire(bench.now, &mut bench.transports).is_none());
        bench.now += Duration::from_millis(1);
        assert!(bench.table.fire(bench.now, &mut bench.transports).is_some());
        let table = &bench.table;
        assert_eq!((table.count(), table.next_timeout()), (0, None));
        assert!(table.servers.is_empty() && table.merged.is_empty() && table.lingering.is_empty());
    }
}
