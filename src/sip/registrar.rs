//! The registrar of our users (RFC 3261 §10.3): which contacts reach a user, and until when.
//!
//! Several contacts for each user, expiry of each, removal of one and of all, order by Call-ID
//! and CSeq and queries **are** supported; Path, GRUU, outbound flows (RFC 5626) and the order
//! of `q` **are not**. Authentication comes before, in `challenge`; sending the response comes
//! after.
//!
//! Invariant: a request changes all the bindings that it names, or none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::fields::Contacts;
use super::header::Name;
use super::message::Message;
use super::name_addr::NameAddr;
use super::uri::Scheme;
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
    pub fn new(users: &[User], contacts_per_user: usize) -> Self {
        let mut registrar = Self {
            accounts: BTreeMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            timers: Timers::new(),
            changed: BTreeSet::new(),
            contacts_per_user,
        };
        registrar.reload(users, contacts_per_user);
        registrar
    }

    /// Bindings of users that are still configured stay.
    pub fn reload(&mut self, users: &[User], contacts_per_user: usize) {
        self.contacts_per_user = contacts_per_user.max(1);
        let names: BTreeSet<_> = users.iter().map(|user| user.name.as_str()).collect();
        let (timers, changed) = (&mut self.timers, &mut self.changed);
        self.accounts.retain(|number, account| {
            let stays = names.contains(account.name.as_str());
            if !stays {
                timers.disarm(*number);
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
        match account.register(now, request, source, self.contacts_per_user) {
            Ok(Change::None) => {}
            Ok(Change::Some) => {
                self.changed.insert(user.to_owned());
            }
            Err(refusal) => return refusal.response(request),
        }
        let mut response = Message::response_to(request, 200, "");
        for held in &account.bindings {
            response.headers.push(Name::Contact, held.contact(now).to_string());
        }
        self.arm(number);
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
            let is_known =
                account.bindings.iter().any(|held| held.binding.contact.matches(&binding.contact));
            let is_full = account.bindings.len() >= self.contacts_per_user;
            if is_known || is_full || binding.expires_in.is_zero() {
                continue;
            }
            let expires_at = now + binding.expires_in.min(seconds(MAX_EXPIRES));
            let parameters = Vec::new();
            account.bindings.push(Held { binding, expires_at, refreshed_at: now, parameters });
        }
        self.arm(number);
    }

    /// `poll_timeout` has come: bindings that were not refreshed are gone.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
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
        let mut live: Vec<_> = account.bindings.iter().filter(|h| h.expires_at > now).collect();
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
        self.account(user).map_or(0, |account| account.bindings.len())
    }

    /// Where the most recently refreshed contact of a user came from.
    pub fn last_source(&self, user: &str) -> Option<Source> {
        let held = self.account(user)?.bindings.iter().max_by_key(|held| held.refreshed_at)?;
        let Binding { source, transport, listener, .. } = held.binding;
        Some(Source { address: source, transport, listener })
    }

    /// Whether a contact of a user came from this address.
    pub fn is_from(&self, user: &str, address: SocketAddr) -> bool {
        let account = self.account(user);
        account.is_some_and(|account| {
            account.bindings.iter().any(|held| held.binding.source == address)
        })
    }

    /// Whether any contact came over a stream from this address.
    pub fn uses_stream(&self, peer: SocketAddr) -> bool {
        let all = self.accounts.values().flat_map(|account| &account.bindings);
        all.map(|held| &held.binding)
            .any(|binding| binding.transport == Transport::Tcp && binding.source == peer)
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
    /// Contact parameters but `expires`: phones look for their own in the response.
    parameters: Vec<(String, Option<String>)>,
}

enum Change {
    None,
    Some,
}

impl Account {
    /// §10.3 steps 6 and 7.
    fn register(
        &mut self,
        now: Instant,
        request: &Message,
        source: Source,
        limit: usize,
    ) -> Result<Change, Refusal> {
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
                return Ok(Change::Some);
            }
            // A query.
            Ok(Contacts::List(list)) if list.is_empty() => return Ok(Change::None),
            Ok(Contacts::List(list)) => list,
        };
        if contacts.len() > limit {
            stats::SIP_REFUSED_CONTACTS.add(1);
            return Err(Refusal::TooMany);
        }
        // Everything is checked before anything is changed.
        let mut wanted = Vec::with_capacity(contacts.len());
        for contact in contacts {
            let expires = self.check(&contact, request)?;
            wanted.push((contact, expires));
        }
        for (contact, expires) in wanted {
            let place = self.place_of(&contact);
            if expires == 0 {
                if let Some(place) = place {
                    self.bindings.remove(place);
                }
                continue;
            }
            let held = Held::new(now, contact, expires, request, source);
            match place {
                Some(place) => self.bindings[place] = held,
                None => {
                    self.make_room(&held, limit);
                    self.bindings.push(held);
                }
            }
        }
        Ok(Change::Some)
    }

    /// The seconds that a contact of a request is to live; 0 removes it.
    fn check(&self, contact: &NameAddr, request: &Message) -> Result<u32, Refusal> {
        if !matches!(contact.uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(Refusal::BadRequest("Contact Is No SIP URI"));
        }
        if contact.to_string().len() > MAX_CONTACT_BYTES
            || request.call_id.len() > MAX_CALL_ID_BYTES
        {
            return Err(Refusal::BadRequest("Contact Or Call-ID Too Long"));
        }
        if let Some(place) = self.place_of(contact) {
            self.bindings[place].check_order(request)?;
        }
        match contact.expires().or_else(|| request.headers.expires()).unwrap_or(DEFAULT_EXPIRES) {
            1..MIN_EXPIRES => Err(Refusal::TooBrief),
            expires => Ok(expires.min(MAX_EXPIRES)),
        }
    }

    /// The binding that a contact renews: of the same URI, or of the same phone, which tells
    /// who it is by `+sip.instance` and has another port after every start (RFC 5626 §4.1).
    fn place_of(&self, contact: &NameAddr) -> Option<usize> {
        let instance = contact.parameter(INSTANCE).filter(|instance| !instance.is_empty());
        self.bindings.iter().position(|held| {
            held.binding.contact.matches(&contact.uri)
                || instance.is_some() && instance == held.instance()
        })
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
                (held.is_of(&new.binding), !same_source(held), held.refreshed_at)
            });
            let Some(oldest) = oldest else { return };
            self.bindings.remove(oldest);
            stats::SIP_CONTACTS_REPLACED.add(1);
        }
    }
}

impl Held {
    fn new(
        now: Instant,
        contact: NameAddr,
        expires: u32,
        request: &Message,
        source: Source,
    ) -> Self {
        let user_agent = request.header(&Name::UserAgent).unwrap_or("");
        let mut parameters = contact.parameters;
        parameters.retain(|(name, _)| name != "expires");
        Self {
            binding: Binding {
                contact: contact.uri,
                call_id: request.call_id.clone(),
                cseq: request.cseq.number,
                expires_in: seconds(expires),
                source: source.address,
                transport: source.transport,
                listener: source.listener,
                user_agent: user_agent.chars().take(MAX_USER_AGENT_CHARACTERS).collect(),
            },
            expires_at: now + seconds(expires),
            refreshed_at: now,
            parameters,
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

    fn instance(&self) -> Option<&str> {
        let mut all = self.parameters.iter();
        all.find(|(name, _)| name == INSTANCE).and_then(|(_, value)| value.as_deref())
    }

    /// As it stands in the response.
    fn contact(&self, now: Instant) -> NameAddr {
        let left = self.expires_at.saturating_duration_since(now);
        let mut contact = NameAddr::new(self.binding.contact.clone());
        contact.parameters = self.parameters.clone();
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
            Self::TooMany => {
                let mut response = Message::response_to(request, 503, "Too Many Contacts");
                response.headers.push(Name::RetryAfter, DEFAULT_EXPIRES.to_string());
                response
            }
        }
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(u64::from(number))
}

const INSTANCE: &str = "+sip.instance";

/// Seconds, where the request names none (RFC 3261 §10.2.1.1 leaves it to us).
const DEFAULT_EXPIRES: u32 = 3600;
/// Seconds; a phone that wants less is told so by 423. A minute is what NAT keep-alive needs.
const MIN_EXPIRES: u32 = 60;
/// Seconds; longer wishes are granted this much.
const MAX_EXPIRES: u32 = 7200;

/// Bounds on what a user may make us keep for each contact.
const MAX_CONTACT_BYTES: usize = 1024;
const MAX_CALL_ID_BYTES: usize = 256;
const MAX_USER_AGENT_CHARACTERS: usize = 128;
