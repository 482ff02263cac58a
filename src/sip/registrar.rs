//! The registrar of our users (RFC 3261 §10.3): which contacts reach a user, and until when.
//!
//! Several contacts for each user, expiry of each, removal of one and of all, order by Call-ID
//! and CSeq, queries, outbound flows (RFC 5626) and Path (RFC 3327) **are** supported; GRUU and
//! the order of `q` **are not**. Authentication comes before, in `challenge`; sending the response
//! comes after. The NATs of UDP phones are kept open by the clock that runs here (`[sip]
//! keepalive_s`).
//!
//! Invariant: a request changes all the bindings that it names, or none.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::challenge::Nearness;
use super::fields::Contacts;
use super::header::Name;
use super::message::Message;
use super::name_addr::NameAddr;
use super::outbound::{self, Grant};
use super::uri::{Scheme, Uri};
use super::user_agent::{Binding, Transport, User};
use crate::stats;
use crate::timers::Timers;

/// The bindings of all users.
#[derive(Debug)]
pub struct Registrar {
    /// The configured users by number; a user keeps its number over a reload.
    accounts: BTreeMap<u32, Account>,
    numbers: HashMap<String, u32>,
    next_number: u32,
    /// One for each user with bindings: when the next of them expires.
    timers: Timers<u32>,
    /// Users to be told of, each once.
    changed: BTreeSet<String>,
    contacts_per_user: usize,
    /// One for each user with a phone whose NAT is to be kept open.
    pings: Timers<u32>,
    /// `None`: NATs are left alone.
    keepalive: Option<Duration>,
    /// Where phones were that registered from elsewhere since; at most those of one request.
    moved: VecDeque<Source>,
}

/// Where a REGISTER came from, which is where requests to its contacts go: the contact of a
/// phone behind a NAT cannot be reached otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    pub address: SocketAddr,
    pub transport: Transport,
    /// Of a UDP packet.
    pub listener: usize,
}

impl Registrar {
    /// `contacts_per_user` is at least one.
    pub fn new(users: &[User], contacts_per_user: usize, keepalive: Option<Duration>) -> Self {
        let mut registrar = Self {
            accounts: BTreeMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            timers: Timers::new(),
            changed: BTreeSet::new(),
            contacts_per_user,
            pings: Timers::new(),
            keepalive,
            moved: VecDeque::new(),
        };
        registrar.reload(users, contacts_per_user, keepalive);
        registrar
    }

    /// Bindings of users that are still configured stay.
    pub fn reload(
        &mut self,
        users: &[User],
        contacts_per_user: usize,
        keepalive: Option<Duration>,
    ) {
        self.contacts_per_user = contacts_per_user.max(1);
        self.keepalive = keepalive;
        let names: BTreeSet<_> = users.iter().map(|user| user.name.as_str()).collect();
        let (timers, pings, changed) = (&mut self.timers, &mut self.pings, &mut self.changed);
        self.accounts.retain(|number, account| {
            let stays = names.contains(account.name.as_str());
            if !stays {
                timers.disarm(*number);
                pings.disarm(*number);
                self.numbers.remove(&account.name);
                if !account.bindings.is_empty() {
                    changed.insert(account.name.clone());
                }
            }
            stays
        });
        for name in names {
            if !self.numbers.contains_key(name) {
                self.numbers.insert(name.to_owned(), self.next_number);
                let account = Account { name: name.to_owned(), bindings: Vec::new() };
                self.accounts.insert(self.next_number, account);
                self.next_number += 1;
            }
        }
    }

    /// Carries out a REGISTER of `user`, who is authenticated. The response lacks its To tag.
    pub fn register(
        &mut self,
        now: Instant,
        user: &str,
        request: &Message,
        source: Source,
    ) -> Message {
        self.expire(now);
        // §10.3 step 4: users register for themselves only.
        let is_own = request.to.uri.user.as_deref() == Some(user);
        let Some(number) = self.numbers.get(user).copied().filter(|_| is_own) else {
            return Message::response_to(request, 403, "");
        };
        let account = self.accounts.get_mut(&number).expect("every number has its account");
        let flow = match account.register(now, request, source, self.contacts_per_user) {
            Ok(done) => {
                if done.has_changed {
                    self.changed.insert(user.to_owned());
                }
                self.moved.extend(done.moved);
                done.flow
            }
            Err(refusal) => return refusal.response(request),
        };
        let mut response = Message::response_to(request, 200, "");
        for held in account.present() {
            response.headers.push(Name::Contact, held.contact(now).to_string());
        }
        if let Some(grant) = flow {
            outbound::confirm(&mut response, grant);
        }
        // RFC 3327 §5.3; a phone that does not know of Path is reached by it all the same.
        if request.headers.supports(PATH) {
            for value in request.headers.all(&Name::Path) {
                response.headers.push(Name::Path, value);
            }
        }
        self.arm(number);
        self.arm_ping(now, number);
        response
    }

    /// Bindings from before a restart. Those of a user who is gone are reported as removed.
    pub fn restore(&mut self, now: Instant, user: &str, bindings: Vec<Binding>) {
        let Some(&number) = self.numbers.get(user) else {
            self.changed.insert(user.to_owned());
            return;
        };
        let account = self.accounts.get_mut(&number).expect("every number has its account");
        for binding in bindings {
            // No connection outlives us: the phone comes back with another.
            if binding.is_flow() {
                self.changed.insert(user.to_owned());
                continue;
            }
            let is_known =
                account.bindings.iter().any(|held| held.binding.contact.matches(&binding.contact));
            let is_full = account.bindings.len() >= self.contacts_per_user;
            if is_known || is_full || binding.expires_in.is_zero() {
                continue;
            }
            let expires_at = now + binding.expires_in.min(seconds(MAX_EXPIRES));
            account.bindings.push(Held { binding, expires_at, refreshed_at: now, is_lost: false });
        }
        self.arm(number);
        self.arm_ping(now, number);
    }

    /// A stream is gone, and with it the flows of phones that registered over it.
    pub fn lose(&mut self, transport: Transport, peer: SocketAddr) {
        for account in self.accounts.values_mut() {
            for held in &mut account.bindings {
                let Held { binding, is_lost, .. } = held;
                let was_there = binding.transport == transport && binding.source == peer;
                if was_there && binding.is_flow() && !*is_lost {
                    *is_lost = true;
                    stats::SIP_FLOWS_LOST.add(1);
                    self.changed.insert(account.name.clone());
                }
            }
        }
    }

    /// Where a phone was that has just registered from elsewhere: its calls go along. Until
    /// `None`, after every `register`.
    pub fn poll_move(&mut self) -> Option<Source> {
        self.moved.pop_front()
    }

    /// Where to send the next packet that keeps a NAT open. Until `None`, whenever `poll_timeout`
    /// has come.
    pub fn pop_pings(&mut self, now: Instant) -> Option<Vec<Source>> {
        let number = self.pings.pop_due(now)?;
        self.arm_ping(now, number);
        let account = self.accounts.get(&number)?;
        let translated = account.present().filter(|held| held.needs_pings());
        Some(translated.map(Held::source).collect())
    }

    /// `poll_timeout` has come: bindings that were not refreshed are gone.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.pings.next()].into_iter().flatten().min()
    }

    /// A user whose bindings changed, with all that are left: to be kept by the caller. Until
    /// `None`, after every call that takes `&mut self`.
    pub fn poll_change(&mut self, now: Instant) -> Option<(String, Vec<Binding>)> {
        let user = self.changed.pop_first()?;
        let bindings = self.bindings(now, &user);
        Some((user, bindings))
    }

    /// What reaches a user, the most recently refreshed first; empty too if there is no such
    /// user.
    pub fn bindings(&self, now: Instant, user: &str) -> Vec<Binding> {
        let Some(account) = self.account(user) else { return Vec::new() };
        let mut live: Vec<_> = account.present().filter(|held| held.expires_at > now).collect();
        live.sort_by_key(|held| std::cmp::Reverse(held.refreshed_at));
        live.into_iter()
            .map(|held| Binding {
                expires_in: held.expires_at.saturating_duration_since(now),
                ..held.binding.clone()
            })
            .collect()
    }

    /// How many contacts a user has.
    pub fn contacts(&self, user: &str) -> usize {
        self.account(user).map_or(0, |account| account.present().count())
    }

    /// Where the most recently refreshed contact of a user came from.
    pub fn last_source(&self, user: &str) -> Option<Source> {
        self.account(user)?.present().max_by_key(|held| held.refreshed_at).map(Held::source)
    }

    /// How near an address is to the phones of a user; a phone whose connection is gone comes back
    /// from its host.
    pub fn nearness(&self, user: &str, address: SocketAddr) -> Option<Nearness> {
        let account = self.account(user)?;
        if account.present().any(|held| held.binding.source == address) {
            return Some(Nearness::Phone);
        }
        let is_host = |held: &Held| held.binding.source.ip() == address.ip();
        account.bindings.iter().any(is_host).then_some(Nearness::Host)
    }

    /// Whether any contact came from a host.
    pub fn has_phone_at(&self, ip: IpAddr) -> bool {
        let mut all = self.accounts.values().flat_map(|account| &account.bindings);
        all.any(|held| held.binding.source.ip() == ip)
    }

    /// Whether any contact came over a stream from this address.
    pub fn uses_stream(&self, peer: SocketAddr) -> bool {
        self.on_stream(peer).next().is_some()
    }

    /// Whether a phone promised to ping on the stream from this address.
    pub fn expects_pings(&self, peer: SocketAddr) -> bool {
        self.on_stream(peer).any(|binding| binding.is_outbound)
    }

    fn on_stream(&self, peer: SocketAddr) -> impl Iterator<Item = &Binding> {
        let all = self.accounts.values().flat_map(Account::present).map(|held| &held.binding);
        all.filter(move |binding| binding.transport.is_stream() && binding.source == peer)
    }

    fn account(&self, user: &str) -> Option<&Account> {
        self.accounts.get(self.numbers.get(user)?)
    }

    fn expire(&mut self, now: Instant) {
        while let Some(number) = self.timers.pop_due(now) {
            let Some(account) = self.accounts.get_mut(&number) else { continue };
            account.bindings.retain(|held| held.expires_at > now);
            self.changed.insert(account.name.clone());
            self.arm(number);
        }
    }

    fn arm(&mut self, number: u32) {
        let bindings = self.accounts.get(&number).map(|account| &account.bindings);
        match bindings.into_iter().flatten().map(|held| held.expires_at).min() {
            Some(at) => self.timers.arm(number, at),
            None => self.timers.disarm(number),
        }
    }

    /// Users get their pings one after the other, not all at once.
    fn arm_ping(&mut self, now: Instant, number: u32) {
        let account = self.accounts.get(&number);
        let is_needed = account.is_some_and(|account| account.present().any(Held::needs_pings));
        match self.keepalive {
            Some(_) if is_needed && self.pings.is_armed(number) => {}
            Some(interval) if is_needed => self.pings.arm(number, now + interval),
            _ => self.pings.disarm(number),
        }
    }
}

/// One user's bindings.
#[derive(Debug)]
struct Account {
    name: String,
    /// At most `contacts_per_user`. Full: see [`Account::make_room`].
    bindings: Vec<Held>,
}

#[derive(Debug, Clone)]
struct Held {
    binding: Binding,
    expires_at: Instant,
    refreshed_at: Instant,
    /// Its flow is gone. Kept for what it was, so that calls follow the phone to its next one.
    is_lost: bool,
}

/// What a REGISTER did.
#[derive(Debug, Default)]
struct Done {
    has_changed: bool,
    /// The phone has outbound.
    flow: Option<Grant>,
    /// Where its contacts were before.
    moved: Vec<Source>,
}

impl Account {
    /// What can be called.
    fn present(&self) -> impl Iterator<Item = &Held> {
        self.bindings.iter().filter(|held| !held.is_lost)
    }

    /// §10.3 steps 6 and 7.
    fn register(
        &mut self,
        now: Instant,
        request: &Message,
        source: Source,
        limit: usize,
    ) -> Result<Done, Refusal> {
        let path = path_of(request)?;
        let grant = match outbound::grant(request, source.transport, &path) {
            Grant::FirstHopLacks => return Err(Refusal::FirstHop),
            Grant::Unsupported => return Err(Refusal::Outbound),
            grant => grant,
        };
        let changed = Done { has_changed: true, ..Done::default() };
        let contacts = match request.headers.contacts() {
            Err(_) => return Err(Refusal::BadRequest("Malformed Contact")),
            Ok(Contacts::All) => {
                if request.headers.expires() != Some(0) {
                    return Err(Refusal::BadRequest("Expires Must Be 0 With Contact *"));
                }
                for held in &self.bindings {
                    held.check_order(request)?;
                }
                self.bindings.clear();
                return Ok(changed);
            }
            // A query.
            Ok(Contacts::List(list)) if list.is_empty() => return Ok(Done::default()),
            Ok(Contacts::List(list)) => list,
        };
        if contacts.len() > limit {
            stats::SIP_REFUSED_CONTACTS.add(1);
            return Err(Refusal::TooMany);
        }
        // Everything is checked before anything is changed.
        let mut wanted = Vec::with_capacity(contacts.len());
        for contact in contacts {
            let held = Held::new(now, contact, grant, &path, request, source);
            let expires = self.check(&held, request)?;
            wanted.push((held, expires));
        }
        let is_flow = |held: &Held| held.binding.is_outbound;
        let bound = wanted.iter().filter(|(_, expires)| *expires > 0).count();
        // RFC 5626 §6.
        if bound > 1 && wanted.iter().any(|(held, _)| is_flow(held)) {
            return Err(Refusal::BadRequest("One Contact Per Flow"));
        }
        let has_flow = wanted.iter().any(|(held, _)| is_flow(held));
        let mut done = Done { flow: has_flow.then_some(grant), ..changed };
        for (held, expires) in wanted {
            let old = self.bindings.extract_if(.., |old| held.renews(&old.binding));
            let sources = old.map(|old| old.source());
            // Calls of a phone behind a proxy stay on the way that they have recorded.
            let sources = sources.filter(|old| *old != source && path.is_empty());
            done.moved.extend(sources);
            if expires > 0 {
                self.make_room(&held, limit);
                self.bindings.push(held.living_for(now, expires));
            }
        }
        Ok(done)
    }

    /// The seconds that a contact of a request is to live; 0 removes it.
    fn check(&self, held: &Held, request: &Message) -> Result<u32, Refusal> {
        let contact = &held.binding.contact;
        if !matches!(contact.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(Refusal::BadRequest("Contact Is No SIP URI"));
        }
        let whole = held.name_addr();
        if whole.to_string().len() > MAX_CONTACT_BYTES || request.call_id.len() > MAX_CALL_ID_BYTES
        {
            return Err(Refusal::BadRequest("Contact Or Call-ID Too Long"));
        }
        for old in self.bindings.iter().filter(|old| held.renews(&old.binding)) {
            old.check_order(request)?;
        }
        match whole.expires().or_else(|| request.headers.expires()).unwrap_or(DEFAULT_EXPIRES) {
            1..MIN_EXPIRES => Err(Refusal::TooBrief),
            expires => Ok(expires.min(MAX_EXPIRES)),
        }
    }

    /// A user with all contacts taken most often has a phone that came back under another
    /// contact and left its old one behind: the new one replaces what came from the same
    /// address, else what was refreshed longest ago. Refusing it would lock the phone out.
    fn make_room(&mut self, new: &Held, limit: usize) {
        while self.bindings.len() >= limit {
            let same_source = |held: &Held| held.binding.source == new.binding.source;
            let oldest = (0..self.bindings.len()).min_by_key(|&place| {
                let held = &self.bindings[place];
                // What this very request bound stays.
                let is_new = held.is_of(&new.binding);
                (is_new, !held.is_lost, !same_source(held), held.refreshed_at)
            });
            let Some(oldest) = oldest else { return };
            if !self.bindings[oldest].is_lost {
                stats::SIP_CONTACTS_REPLACED.add(1);
            }
            self.bindings.remove(oldest);
        }
    }
}

impl Held {
    /// Without its time yet.
    fn new(
        now: Instant,
        contact: NameAddr,
        grant: Grant,
        path: &[Uri],
        request: &Message,
        source: Source,
    ) -> Self {
        let user_agent = request.header(&Name::UserAgent).unwrap_or("");
        let mut binding = Binding {
            contact: contact.uri,
            parameters: contact.parameters,
            is_outbound: false,
            path: path.to_vec(),
            call_id: request.call_id.clone(),
            cseq: request.cseq.number,
            expires_in: Duration::ZERO,
            source: source.address,
            transport: source.transport,
            listener: source.listener,
            user_agent: user_agent.chars().take(MAX_USER_AGENT_CHARACTERS).collect(),
        };
        let may_have_flow = matches!(grant, Grant::Flow | Grant::FlowOfProxy);
        binding.is_outbound = may_have_flow && outbound::is_flow(&binding.parameters);
        Self { binding, expires_at: now, refreshed_at: now, is_lost: false }
    }

    fn living_for(mut self, now: Instant, expires: u32) -> Self {
        self.binding.parameters.retain(|(name, _)| name != "expires");
        self.binding.expires_in = seconds(expires);
        self.expires_at = now + seconds(expires);
        self
    }

    /// Whether it takes the place of an older binding: of the same URI, or of the same phone,
    /// which tells who it is by `+sip.instance` and has another port after every start (RFC 5626
    /// §4.1). Of the flows of a phone, only that of the same `reg-id` (§6).
    fn renews(&self, old: &Binding) -> bool {
        let new = &self.binding;
        let is_same_phone = new.instance().is_some() && new.instance() == old.instance();
        match new.is_outbound && old.is_outbound {
            true => is_same_phone && new.reg_id() == old.reg_id(),
            false => is_same_phone || new.contact.matches(&old.contact),
        }
    }

    /// §10.3 step 7: an older request of the same client must not undo a newer one.
    fn check_order(&self, request: &Message) -> Result<(), Refusal> {
        let is_older =
            self.binding.call_id == request.call_id && request.cseq.number <= self.binding.cseq;
        if is_older { Err(Refusal::BadRequest("CSeq Out Of Order")) } else { Ok(()) }
    }

    fn is_of(&self, other: &Binding) -> bool {
        self.binding.call_id == other.call_id && self.binding.cseq == other.cseq
    }

    fn source(&self) -> Source {
        let Binding { source, transport, listener, .. } = self.binding;
        Source { address: source, transport, listener }
    }

    fn needs_pings(&self) -> bool {
        self.binding.transport == Transport::Udp && self.binding.is_translated()
    }

    fn name_addr(&self) -> NameAddr {
        let mut contact = NameAddr::new(self.binding.contact.clone());
        contact.parameters = self.binding.parameters.clone();
        contact
    }

    /// As it stands in the response.
    fn contact(&self, now: Instant) -> NameAddr {
        let left = self.expires_at.saturating_duration_since(now);
        let mut contact = self.name_addr();
        // Rounded up: 0 would say that the contact was removed.
        let expires = left.as_millis().div_ceil(1000);
        contact.set_parameter("expires", Some(expires.to_string()));
        contact
    }
}

/// Why a REGISTER changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    BadRequest(&'static str),
    TooBrief,
    TooMany,
    /// RFC 5626 §6.
    FirstHop,
    /// RFC 5626 over UDP.
    Outbound,
}

impl Refusal {
    fn response(self, request: &Message) -> Message {
        match self {
            Self::BadRequest(reason) => Message::response_to(request, 400, reason),
            Self::TooBrief => {
                let mut response = Message::response_to(request, 423, "");
                response.headers.push(Name::MinExpires, MIN_EXPIRES.to_string());
                response
            }
            Self::FirstHop => {
                Message::response_to(request, 439, "First Hop Lacks Outbound Support")
            }
            Self::Outbound => {
                let mut response = Message::response_to(request, 420, "");
                response.headers.push(Name::Unsupported, outbound::OUTBOUND);
                response
            }
            Self::TooMany => {
                let mut response = Message::response_to(request, 503, "Too Many Contacts");
                response.headers.push(Name::RetryAfter, DEFAULT_EXPIRES.to_string());
                response
            }
        }
    }
}

/// RFC 3327 §5.3: the proxies that requests to the contacts are to pass, the first next to us.
fn path_of(request: &Message) -> Result<Vec<Uri>, Refusal> {
    if request.headers.all(&Name::Path).map(str::len).sum::<usize>() > MAX_PATH_BYTES {
        return Err(Refusal::BadRequest("Path Too Long"));
    }
    let malformed = Refusal::BadRequest("Malformed Path");
    let Ok(path) = request.headers.name_addrs(&Name::Path) else { return Err(malformed) };
    let path: Vec<_> = path.into_iter().map(|proxy| proxy.uri).collect();
    match path.iter().all(|proxy| matches!(proxy.scheme, Scheme::Sip | Scheme::Sips)) {
        true => Ok(path),
        false => Err(malformed),
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(u64::from(number))
}

/// Seconds, where the request names none (RFC 3261 §10.2.1.1 leaves it to us).
const DEFAULT_EXPIRES: u32 = 3600;
/// Seconds; a phone that wants less is told so by 423. A minute is what NAT keep-alive needs.
const MIN_EXPIRES: u32 = 60;
/// Seconds; longer wishes are granted this much.
const MAX_EXPIRES: u32 = 7200;

pub const PATH: &str = "path";

/// Bounds on what a user may make us keep for each contact.
const MAX_PATH_BYTES: usize = 1024;
const MAX_CONTACT_BYTES: usize = 1024;
const MAX_CALL_ID_BYTES: usize = 256;
const MAX_USER_AGENT_CHARACTERS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::sip::message::Method;
    use crate::sip::uri::Uri;

    struct Bench {
        now: Instant,
        registrar: Registrar,
    }

    fn users(names: &[&str]) -> Vec<User> {
        let user = |name: &&str| User {
            name: (*name).to_owned(),
            password: "secret".to_owned(),
            display_name: String::new(),
            max_calls: 0,
        };
        names.iter().map(user).collect()
    }

    fn source(text: &str) -> Source {
        Source { address: text.parse().unwrap(), transport: Transport::Udp, listener: 0 }
    }

    /// A REGISTER of alice with these Contact fields.
    fn request(call_id: &str, number: u32, contacts: &[&str]) -> Message {
        let alice = NameAddr::new(Uri::sip("alice", "pbx.example", None));
        let uri = Uri::sip("", "pbx.example", None);
        let mut request =
            Message::request(Method::Register, uri, alice.clone(), alice, call_id.into(), number);
        for contact in contacts {
            request.headers.push(Name::Contact, *contact);
        }
        request
    }

    impl Bench {
        fn new() -> Self {
            Self {
                now: Instant::now(),
                registrar: Registrar::new(&users(&["alice", "bob"]), 2, None),
            }
        }

        fn send(&mut self, request: &Message) -> Message {
            let source = source("192.0.2.10:5060");
            self.registrar.register(self.now, "alice", request, source)
        }

        /// The status and the contacts of the response.
        fn register(
            &mut self,
            call_id: &str,
            number: u32,
            contacts: &[&str],
        ) -> (u16, Vec<String>) {
            answer(&self.send(&request(call_id, number, contacts)))
        }

        fn contacts(&self) -> Vec<String> {
            let bindings = self.registrar.bindings(self.now, "alice");
            bindings.iter().map(|binding| binding.contact.to_string()).collect()
        }

        fn changes(&mut self) -> Vec<(String, usize)> {
            std::iter::from_fn(|| self.registrar.poll_change(self.now))
                .map(|(user, bindings)| (user, bindings.len()))
                .collect()
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
            if self.registrar.poll_timeout().is_some_and(|at| at <= self.now) {
                self.registrar.handle_timeout(self.now);
            }
        }
    }

    fn answer(response: &Message) -> (u16, Vec<String>) {
        let contacts = response.headers.all(&Name::Contact).map(str::to_owned).collect();
        (response.status().unwrap(), contacts)
    }

    #[test]
    fn contact_is_bound_for_an_hour_unless_the_request_says_otherwise() {
        let mut bench = Bench::new();
        let (status, contacts) = bench.register("1", 1, &["<sip:alice@192.0.2.10:5062>"]);
        assert_eq!(status, 200);
        assert_eq!(contacts, ["<sip:alice@192.0.2.10:5062>;expires=3600"]);
        assert_eq!(bench.changes(), [("alice".to_owned(), 1)]);
        let binding = bench.registrar.bindings(bench.now, "alice").remove(0);
        assert_eq!(binding.source, "192.0.2.10:5060".parse().unwrap());
        assert_eq!((binding.call_id.as_str(), binding.cseq), ("1", 1));

        let mut with_header = request("1", 2, &["<sip:alice@192.0.2.10:5062>"]);
        with_header.headers.push(Name::Expires, "120");
        assert_eq!(
            answer(&bench.send(&with_header)).1[0],
            "<sip:alice@192.0.2.10:5062>;expires=120"
        );
        // The contact's own parameter counts more than the header field (§10.3 step 7).
        let mut with_both = request("1", 3, &["<sip:alice@192.0.2.10:5062>;expires=90"]);
        with_both.headers.push(Name::Expires, "120");
        assert_eq!(answer(&bench.send(&with_both)).1[0], "<sip:alice@192.0.2.10:5062>;expires=90");
    }

    #[test]
    fn long_wishes_are_cut_and_short_ones_refused() {
        let mut bench = Bench::new();
        let (_, contacts) = bench.register("1", 1, &["<sip:a@192.0.2.10>;expires=9999999999999"]);
        assert_eq!(contacts, ["<sip:a@192.0.2.10>;expires=7200"]);
        let response = bench.send(&request("1", 2, &["<sip:a@192.0.2.10>;expires=59"]));
        assert_eq!(response.status(), Some(423));
        assert_eq!(response.header(&Name::MinExpires), Some("60"));
    }

    #[test]
    fn query_changes_nothing_and_lists_what_is_left() {
        let mut bench = Bench::new();
        bench.register("1", 1, &["<sip:a@192.0.2.10>;q=0.5", "\"A\" <sip:b@192.0.2.11>"]);
        bench.changes();
        bench.now += Duration::from_millis(500);
        let (status, contacts) = bench.register("2", 1, &[]);
        assert_eq!(status, 200);
        assert_eq!(
            contacts,
            ["<sip:a@192.0.2.10>;q=0.5;expires=3600", "<sip:b@192.0.2.11>;expires=3600"]
        );
        assert_eq!(bench.changes(), []);
    }

    #[test]
    fn binding_expires_by_itself_and_is_reported_once() {
        let mut bench = Bench::new();
        bench.register("1", 1, &["<sip:a@192.0.2.10>;expires=60", "<sip:b@192.0.2.11>"]);
        bench.changes();
        bench.pass(59);
        assert_eq!(bench.contacts().len(), 2);
        bench.pass(1);
        assert_eq!(bench.contacts(), ["sip:b@192.0.2.11"]);
        assert_eq!(bench.changes(), [("alice".to_owned(), 1)]);
        bench.pass(3540);
        assert_eq!(bench.registrar.contacts("alice"), 0);
        assert_eq!(bench.changes(), [("alice".to_owned(), 0)]);
        assert_eq!(bench.registrar.poll_timeout(), None);
    }

    #[test]
    fn refresh_renews_the_binding_of_the_same_uri() {
        let mut bench = Bench::new();
        bench.register("1", 1, &["<sip:a@192.0.2.10;transport=UDP>;expires=60"]);
        bench.pass(50);
        bench.register("1", 2, &["<sip:a@192.0.2.10;transport=udp>;expires=60"]);
        bench.pass(50);
        assert_eq!(bench.contacts().len(), 1);
    }

    #[test]
    fn contact_is_removed_by_expires_0_and_all_by_the_star() {
        let mut bench = Bench::new();
        bench.register("1", 1, &["<sip:a@192.0.2.10>", "<sip:b@192.0.2.11>"]);
        let (status, contacts) = bench.register("1", 2, &["<sip:a@192.0.2.10>;expires=0"]);
        assert_eq!((status, contacts.len()), (200, 1));
        for expires in [None, Some("60")] {
            let mut star = request("1", 3, &["*"]);
            if let Some(expires) = expires {
                star.headers.push(Name::Expires, expires);
            }
            assert_eq!(bench.send(&star).status(), Some(400));
        }
        let mut star = request("1", 4, &["*"]);
        star.headers.push(Name::Expires, "0");
        assert_eq!(answer(&bench.send(&star)), (200, Vec::new()));
        assert_eq!(bench.registrar.poll_timeout(), None);
        assert_eq!(bench.changes(), [("alice".to_owned(), 0)]);
    }

    /// §10.3 step 7.
    #[test]
    fn older_request_of_the_same_client_does_not_undo_a_newer_one() {
        let mut bench = Bench::new();
        bench.register("1", 5, &["<sip:a@192.0.2.10>"]);
        for number in [4, 5] {
            let (status, _) = bench.register("1", number, &["<sip:a@192.0.2.10>;expires=0"]);
            assert_eq!(status, 400);
            let mut star = request("1", number, &["*"]);
            star.headers.push(Name::Expires, "0");
            assert_eq!(bench.send(&star).status(), Some(400));
        }
        assert_eq!(bench.contacts().len(), 1);
        // After a restart the client has another Call-ID and counts from the start.
        assert_eq!(bench.register("2", 1, &["<sip:a@192.0.2.10>;expires=0"]).0, 200);
        assert_eq!(bench.contacts().len(), 0);
    }

    #[test]
    fn request_changes_all_or_nothing() {
        let mut bench = Bench::new();
        for broken in
            ["<sip:b@192.0.2.11>;expires=5", "<tel:+123>", "<urn:service:sos>", "<sip:b@", "*"]
        {
            let (status, _) = bench.register("1", 1, &["<sip:a@192.0.2.10>", broken]);
            assert!(matches!(status, 400 | 423), "{broken}");
        }
        let long = format!("<sip:{}@192.0.2.10>", "x".repeat(MAX_CONTACT_BYTES));
        assert_eq!(bench.register("1", 1, &[&long]).0, 400);
        let long = "x".repeat(MAX_CALL_ID_BYTES + 1);
        assert_eq!(bench.register(&long, 1, &["<sip:a@192.0.2.10>"]).0, 400);
        assert_eq!(bench.registrar.contacts("alice"), 0);
        assert_eq!(bench.changes(), []);
    }

    #[test]
    fn users_register_for_themselves_only() {
        let mut bench = Bench::new();
        let request = request("1", 1, &["<sip:a@192.0.2.10>"]);
        for user in ["bob", "carol"] {
            let source = source("192.0.2.10:5060");
            let response = bench.registrar.register(bench.now, user, &request, source);
            assert_eq!(response.status(), Some(403), "{user}");
        }
    }

    #[test]
    fn contact_beyond_the_limit_replaces_what_was_refreshed_longest_ago() {
        let mut bench = Bench::new();
        let mut register = |call_id: &str, contact: &str, from: &str| {
            bench.now += Duration::from_secs(1);
            let request = request(call_id, 1, &[contact]);
            bench.registrar.register(bench.now, "alice", &request, source(from));
        };
        register("1", "<sip:a@192.0.2.10>", "192.0.2.10:5060");
        register("2", "<sip:b@192.0.2.11>", "192.0.2.11:5060");
        register("3", "<sip:c@192.0.2.12>", "192.0.2.12:5060");
        // The same phone under another contact: its own goes, though it is not the oldest.
        register("4", "<sip:d@192.0.2.12>", "192.0.2.12:5060");
        assert_eq!(bench.contacts(), ["sip:d@192.0.2.12", "sip:b@192.0.2.11"]);
    }

    #[test]
    fn rfc3327_5_3_path_is_kept_in_its_order_and_told_to_who_knows_of_it() {
        let mut bench = Bench::new();
        let path = ["<sip:sbc.example;lr>, \"Edge\" <sip:t1@edge.example;lr>"];
        for (supported, told) in [("timer", &path[..0]), ("timer, Path", &path)] {
            let mut request = request(supported, 1, &["<sip:a@192.0.2.10>"]);
            request.headers.push(Name::Path, path[0]);
            request.headers.push(Name::Supported, supported);
            let response = bench.send(&request);
            assert_eq!(response.headers.all(&Name::Path).collect::<Vec<_>>(), told);
            let binding = bench.registrar.bindings(bench.now, "alice").remove(0);
            let kept: Vec<_> = binding.path.iter().map(Uri::to_string).collect();
            assert_eq!(kept, ["sip:sbc.example;lr", "sip:t1@edge.example;lr"]);
        }
        // The next one came without.
        bench.register("3", 1, &["<sip:a@192.0.2.10>"]);
        assert!(bench.registrar.bindings(bench.now, "alice")[0].path.is_empty());
    }

    #[test]
    fn phone_is_near_from_its_address_and_from_its_host() {
        let mut bench = Bench::new();
        bench.register("1", 1, &["<sip:a@192.0.2.10>"]);
        let near = |bench: &Bench, user, address: &str| {
            bench.registrar.nearness(user, address.parse().unwrap())
        };
        assert_eq!(near(&bench, "alice", "192.0.2.10:5060"), Some(Nearness::Phone));
        assert_eq!(near(&bench, "alice", "192.0.2.10:49152"), Some(Nearness::Host));
        assert_eq!(near(&bench, "alice", "192.0.2.11:5060"), None);
        assert_eq!(near(&bench, "bob", "192.0.2.10:5060"), None);
        assert_eq!(near(&bench, "carol", "192.0.2.10:5060"), None);
        // Its registration is over.
        bench.pass(3600);
        assert_eq!(near(&bench, "alice", "192.0.2.10:5060"), None);
    }

    #[test]
    fn path_that_nobody_could_follow_is_refused() {
        let mut bench = Bench::new();
        let long = format!("<sip:{}@edge.example;lr>", "x".repeat(MAX_PATH_BYTES));
        for path in ["", "<sip:", "<tel:+123>", "<sip:edge.example;lr>,", &long] {
            let mut request = request("1", 1, &["<sip:a@192.0.2.10>"]);
            request.headers.push(Name::Path, path);
            assert_eq!(bench.send(&request).status(), Some(400), "{path}");
        }
        assert_eq!(bench.registrar.contacts("alice"), 0);
    }

    /// RFC 5626 §5.1: the edge proxy says by `ob` that it keeps the flow.
    #[test]
    fn flows_that_an_edge_proxy_keeps_outlive_our_connection_to_it() {
        let mut bench = Bench::new();
        for (number, edge) in [("1", "edge1"), ("2", "edge2")] {
            let contact = format!("<sip:a@10.0.0.5>;+sip.instance=\"<urn:x:1>\";reg-id={number}");
            let mut request = request(number, 1, &[&contact]);
            request.via = vec!["SIP/2.0/TCP 192.0.2.10;branch=z9hG4bK1".parse().unwrap(); 2];
            request.headers.push(Name::Path, format!("<sip:x@{edge}.example;lr;ob>"));
            request.headers.push(Name::Supported, "path, outbound");
            let response = bench.send(&request);
            assert_eq!(response.header(&Name::Require), Some("outbound"));
            // How often its phone pings is between those two.
            assert_eq!(response.header(&Name::from("Flow-Timer")), None);
        }
        let source = source("192.0.2.10:5060");
        bench.registrar.lose(Transport::Udp, source.address);
        let kept = bench.registrar.bindings(bench.now, "alice");
        assert_eq!(kept.iter().filter(|binding| binding.is_outbound).count(), 2);
    }

    #[test]
    fn request_with_more_contacts_than_a_user_may_have_is_refused() {
        let mut bench = Bench::new();
        let contacts = ["<sip:a@192.0.2.10>", "<sip:b@192.0.2.10>", "<sip:c@192.0.2.10>"];
        let response = bench.send(&request("1", 1, &contacts));
        assert_eq!(response.status(), Some(503));
        assert!(response.headers.retry_after().is_some());
        assert_eq!(bench.registrar.contacts("alice"), 0);
    }

    #[test]
    fn phone_that_comes_back_on_another_port_is_known_by_its_instance() {
        let mut bench = Bench::new();
        let instance = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"";
        bench.register("1", 1, &[&format!("<sip:a@192.0.2.10:1024>;{instance}")]);
        let (_, contacts) =
            bench.register("2", 1, &[&format!("<sip:a@192.0.2.10:1025>;{instance}")]);
        assert_eq!(contacts, [format!("<sip:a@192.0.2.10:1025>;{instance};expires=3600")]);
    }

    #[test]
    fn bindings_survive_a_restart_for_what_was_left_of_them() {
        let mut bench = Bench::new();
        bench.register("1", 7, &["<sip:a@192.0.2.10>;expires=100"]);
        bench.pass(40);
        let (user, kept) = bench.registrar.poll_change(bench.now).unwrap();

        let mut bench = Bench::new();
        bench.registrar.restore(bench.now, &user, kept.clone());
        bench.registrar.restore(bench.now, &user, kept);
        assert_eq!(bench.changes(), []);
        assert_eq!(bench.register("1", 7, &["<sip:a@192.0.2.10>"]).0, 400);
        bench.pass(59);
        assert_eq!(bench.contacts(), ["sip:a@192.0.2.10"]);
        bench.pass(1);
        assert_eq!(bench.registrar.contacts("alice"), 0);
    }

    #[test]
    fn reload_drops_the_bindings_of_users_who_are_gone() {
        let mut bench = Bench::new();
        bench.register("1", 1, &["<sip:a@192.0.2.10>"]);
        bench.changes();
        bench.registrar.reload(&users(&["bob", "alice"]), 2, None);
        assert_eq!(bench.contacts().len(), 1);
        bench.registrar.reload(&users(&["bob"]), 2, None);
        assert_eq!(bench.changes(), [("alice".to_owned(), 0)]);
        assert_eq!(bench.registrar.poll_timeout(), None);
        assert_eq!(bench.register("1", 2, &["<sip:a@192.0.2.10>"]).0, 403);
        // What is stored of a user who is not configured is to be forgotten.
        bench.registrar.restore(bench.now, "carol", Vec::new());
        assert_eq!(bench.changes(), [("carol".to_owned(), 0)]);
    }

    /// Any order of requests, with any time between, keeps the limits, and leaves nothing when
    /// all has expired.
    #[test]
    fn any_sequence_of_requests_keeps_the_limits() {
        let mut dice = Random::seeded(4);
        let mut bench = Bench::new();
        for step in 0..3000 {
            let mut pick = |number: u32| dice.next_u32() % number;
            let contacts: Vec<_> = (0..pick(4))
                .map(|_| format!("<sip:{}@192.0.2.10>;expires={}", pick(5), pick(3) * 100))
                .collect();
            let contacts: Vec<_> = contacts.iter().map(String::as_str).collect();
            let call_id = pick(3).to_string();
            let pause = u64::from(pick(60));
            let (status, listed) = bench.register(&call_id, step, &contacts);
            assert!(matches!(status, 200 | 400 | 503), "{status}");
            assert!(listed.len() <= 2);
            let held = bench.registrar.contacts("alice");
            assert!(held <= 2 && (status != 200 || held == listed.len()));
            assert_eq!(bench.registrar.poll_timeout().is_some(), held > 0);
            bench.pass(pause);
        }
        bench.pass(7200);
        assert_eq!(bench.registrar.contacts("alice"), 0);
        assert_eq!(bench.registrar.poll_timeout(), None);
        bench.changes();
        assert!(bench.registrar.changed.is_empty());
    }
}
