//! The names that requests go to: known, being asked for, and watched for trunks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::hop::{Hop, Target};
use super::services::{Abilities, View, Walk};
use super::shunned::Shunned;
use crate::dns::{Answer, Question};
use crate::logger::Burst;
use crate::random::Random;
use crate::sip::outgoing::Outgoing;
use crate::stats;

/// Names looked up and being looked up.
#[derive(Debug, Default)]
pub struct Names {
    abilities: Abilities,
    cache: Cache,
    shunned: Shunned,
    /// At most [`MAX_QUESTIONS`]; full: the request fails with 503.
    questions: BTreeMap<u64, Question>,
    open: HashMap<Question, u64>,
    last_question: u64,
    /// Questions that the world has yet to hear.
    asks: VecDeque<(u64, Question)>,
    /// Requests; at most [`MAX_WAITING`]. Full: the request fails with 503.
    waiting: Vec<Waiting>,
    /// One for each trunk that has a name.
    watched: Vec<Watched>,
    silence: Burst,
}

#[derive(Debug)]
struct Waiting {
    outgoing: Box<Outgoing>,
    /// Questions that are open.
    pending: Vec<u64>,
}

/// A hop whose addresses are always known.
#[derive(Debug)]
struct Watched {
    hop: Hop,
    /// With the time at which each was last found. At most [`MAX_ADDRESSES`].
    addresses: Vec<(SocketAddr, Instant)>,
    /// The server that took our registration.
    preferred: Option<Target>,
    pending: Vec<u64>,
    /// When this search began, and the rounds that it took.
    since: Instant,
    rounds: u32,
    /// When to search again.
    due: Instant,
}

/// What became of a search.
#[derive(Debug)]
pub enum Located {
    /// The request has its targets.
    Found(Box<Outgoing>),
    /// It is kept until an answer comes.
    Waiting,
    /// No such host, or too many questions open.
    Nowhere(Box<Outgoing>),
}

impl Names {
    pub fn new(abilities: Abilities) -> Self {
        Self { abilities, ..Self::default() }
    }

    /// Finds where a request goes.
    pub fn locate(
        &mut self,
        now: Instant,
        random: &mut Random,
        mut outgoing: Box<Outgoing>,
    ) -> Located {
        if let Some(target) = outgoing.hop.literal() {
            outgoing.targets = VecDeque::from([target]);
            return Located::Found(outgoing);
        }
        let since = *outgoing.search.begun.get_or_insert(now);
        outgoing.search.rounds += 1;
        if outgoing.search.rounds > MAX_ROUNDS {
            return Located::Nowhere(outgoing);
        }
        let view = View::Holding { at: now, since };
        let mut walk = Walk::new(&self.cache, self.abilities, view, Some(random));
        let targets = walk.targets(&outgoing.hop);
        let Walk { missing, beside, .. } = walk;
        self.ask(beside);
        if !missing.is_empty() {
            return self.wait(outgoing, missing);
        }
        if targets.is_empty() {
            return Located::Nowhere(outgoing);
        }
        if outgoing.search.rounds == 1 {
            stats::DNS_CACHE_HITS.add(1);
        }
        outgoing.targets = self.in_order(now, &outgoing, targets);
        outgoing.search = Default::default();
        Located::Found(outgoing)
    }

    /// A question that is to be asked, with its number.
    pub fn poll_question(&mut self) -> Option<(u64, Question)> {
        self.asks.pop_front()
    }

    /// The answer to a question; gives back the requests that can go on.
    pub fn resolved(&mut self, now: Instant, number: u64, answer: Answer) -> Vec<Box<Outgoing>> {
        let Some(question) = self.questions.remove(&number) else {
            return Vec::new();
        };
        self.open.remove(&question);
        if answer == Answer::Failed
            && let Some(times) = self.silence.note(now)
        {
            log::warn!("no DNS server answers {question}: see [dns] servers{times}");
        }
        self.cache.put(now, question, answer);
        for place in 0..self.watched.len() {
            let pending = &mut self.watched[place].pending;
            let before = pending.len();
            pending.retain(|other| *other != number);
            if pending.is_empty() && before > 0 {
                self.search(now, place);
            }
        }
        let (mut ready, mut waiting) = (Vec::new(), Vec::new());
        for mut one in self.waiting.drain(..) {
            one.pending.retain(|other| *other != number);
            match one.pending.is_empty() {
                true => ready.push(one.outgoing),
                false => waiting.push(one),
            }
        }
        self.waiting = waiting;
        ready
    }

    /// Follows the addresses of these hops from now on, and of no others.
    pub fn watch(&mut self, now: Instant, hops: Vec<Hop>) {
        let mut old = std::mem::take(&mut self.watched);
        for hop in hops.into_iter().filter(|hop| hop.literal().is_none()) {
            if self.watched.iter().any(|watched| watched.hop.is_same_place(&hop)) {
                continue;
            }
            match old.iter().position(|watched| watched.hop.is_same_place(&hop)) {
                Some(place) => self.watched.push(old.swap_remove(place)),
                None => {
                    self.watched.push(Watched {
                        hop,
                        addresses: Vec::new(),
                        preferred: None,
                        pending: Vec::new(),
                        since: now,
                        rounds: 0,
                        due: now,
                    });
                    self.search(now, self.watched.len() - 1);
                }
            }
        }
    }

    /// `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for place in 0..self.watched.len() {
            let watched = &mut self.watched[place];
            if watched.pending.is_empty() && watched.due <= now {
                (watched.since, watched.rounds) = (now, 0);
                self.search(now, place);
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.watched.iter().filter(|watched| watched.pending.is_empty());
        idle.map(|watched| watched.due).min()
    }

    /// A target did not answer, or asked to be left alone for a while: others come first.
    pub fn shun(&mut self, now: Instant, target: Target, time: Option<Duration>) {
        self.shunned.add(now, target, time);
    }

    /// Something answered from there.
    pub fn forgive(&mut self, target: Target) {
        if !self.shunned.is_empty() {
            self.shunned.forgive(target);
        }
    }

    pub fn is_shunned(&self, now: Instant, target: &Target) -> bool {
        self.shunned.has(now, target)
    }

    /// A trunk's server took our registration: the trunk's other requests go there first.
    pub fn prefer(&mut self, hop: &Hop, target: Target) {
        if let Some(watched) = self.watched.iter_mut().find(|one| one.hop.is_same_place(hop)) {
            watched.preferred = Some(target);
        }
    }

    /// Whether another server than the preferred one answers for a hop.
    pub fn has_moved(&self, hop: &Hop, target: Target) -> bool {
        let watched = self.watched.iter().find(|one| one.hop.is_same_place(hop));
        let preferred = watched.and_then(|watched| watched.preferred);
        preferred.is_some_and(|preferred| preferred != target)
    }

    /// The first target of a hop as far as it is known, without a question.
    pub fn first_target(&self, hop: &Hop) -> Option<Target> {
        if let Some(target) = hop.literal() {
            return Some(target);
        }
        let watched = self.watched.iter().find(|watched| watched.hop.is_same_place(hop));
        if let Some(preferred) = watched.and_then(|watched| watched.preferred) {
            return Some(preferred);
        }
        let mut walk = Walk::new(&self.cache, self.abilities, View::Any, None);
        walk.targets(hop).first().copied()
    }

    /// How well an address is known as one of a watched hop, or of one that is an address.
    pub fn claim(&self, hop: &Hop, address: SocketAddr) -> Option<Claim> {
        let ip = address.ip().to_canonical();
        if let Some(target) = hop.literal() {
            let is_server = target.address.port() == address.port();
            return (target.address.ip().to_canonical() == ip).then_some(Claim { is_server });
        }
        let watched = self.watched.iter().find(|watched| watched.hop.is_same_place(hop))?;
        let is_there = |other: &&(SocketAddr, Instant)| other.0.ip().to_canonical() == ip;
        let mut same = watched.addresses.iter().filter(is_there).peekable();
        same.peek()?;
        Some(Claim { is_server: same.any(|(other, _)| other.port() == address.port()) })
    }

    /// Keeps a request until its questions are answered.
    fn wait(&mut self, outgoing: Box<Outgoing>, questions: Vec<Question>) -> Located {
        if self.waiting.len() >= MAX_WAITING {
            stats::DNS_REFUSED_FULL.add(1);
            return Located::Nowhere(outgoing);
        }
        let pending = self.ask(questions);
        if pending.is_empty() {
            stats::DNS_REFUSED_FULL.add(1);
            return Located::Nowhere(outgoing);
        }
        self.waiting.push(Waiting { outgoing, pending });
        Located::Waiting
    }

    /// The numbers of these questions; those that are not open are asked, as far as there is room.
    fn ask(&mut self, questions: Vec<Question>) -> Vec<u64> {
        let mut numbers = Vec::new();
        for question in questions {
            if let Some(&number) = self.open.get(&question) {
                numbers.push(number);
            } else if self.questions.len() < MAX_QUESTIONS {
                self.last_question += 1;
                let number = self.last_question;
                self.open.insert(question.clone(), number);
                self.questions.insert(number, question.clone());
                self.asks.push_back((number, question));
                numbers.push(number);
            }
        }
        numbers
    }

    /// Finds the addresses of a watched hop, and when to do so again: before what is known of it
    /// expires.
    fn search(&mut self, now: Instant, place: usize) {
        let watched = &mut self.watched[place];
        watched.rounds += 1;
        let view = View::Holding { at: now + AHEAD, since: watched.since };
        let mut walk = Walk::new(&self.cache, self.abilities, view, None);
        let targets = walk.targets(&watched.hop);
        let Walk { missing, mut beside, holds_until, has_failures, .. } = walk;
        if !missing.is_empty() && watched.rounds <= MAX_ROUNDS {
            beside.extend(missing);
            let pending = self.ask(beside);
            let watched = &mut self.watched[place];
            // Too many questions are open: later.
            watched.due = now + RETRY;
            watched.pending = pending;
            return;
        }
        let earliest = now + if has_failures { RETRY } else { LEAST };
        let before_its_end = holds_until.and_then(|until| until.checked_sub(AHEAD));
        watched.due = before_its_end.unwrap_or(now + RETRY).max(earliest);
        watched.note(now, &targets);
        self.ask(beside);
    }

    /// Shunned ones last, the preferred one first, and before it the one that the request went to
    /// already: who asked for credentials gets them.
    fn in_order(
        &self,
        now: Instant,
        outgoing: &Outgoing,
        mut targets: Vec<Target>,
    ) -> VecDeque<Target> {
        let watched = self.watched.iter().find(|one| one.hop.is_same_place(&outgoing.hop));
        let preferred = watched.and_then(|watched| watched.preferred);
        let rank = |target: &Target| {
            let is_shunned = !self.shunned.is_empty() && self.shunned.has(now, target);
            (is_shunned, outgoing.tried != Some(*target), preferred != Some(*target))
        };
        // Stable, so that the order stays otherwise.
        targets.sort_by_key(rank);
        targets.truncate(MAX_TARGETS);
        targets.into()
    }
}

/// An address belongs to a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// With its port: it is the server itself.
    pub is_server: bool,
}

impl Watched {
    /// An answer may hold a part of a peer's addresses only; those of a while ago count too.
    fn note(&mut self, now: Instant, targets: &[Target]) {
        for target in targets {
            let address = target.address;
            if let Some(known) = self.addresses.iter_mut().find(|(other, _)| *other == address) {
                known.1 = now;
            } else if self.addresses.len() < MAX_ADDRESSES {
                self.addresses.push((address, now));
            }
        }
        // While nothing is found, what was known stays.
        if !targets.is_empty() {
            self.addresses.retain(|(_, found)| *found + REMEMBERED > now);
        }
    }
}

/// Targets tried for one request.
const MAX_TARGETS: usize = 6;
const MAX_QUESTIONS: usize = 64;
const MAX_WAITING: usize = 256;
/// NAPTR, SRV, addresses; one for each service that is not there, and something over.
const MAX_ROUNDS: u32 = 8;
/// Trunks with more addresses need `accept_from`.
const MAX_ADDRESSES: usize = 64;
/// A watched name is asked for this long before it expires.
const AHEAD: Duration = Duration::from_secs(2);
/// Names that change faster than this are asked for by the calls themselves.
const LEAST: Duration = Duration::from_secs(10);
/// Where no server answers, or too many questions are open.
const RETRY: Duration = Duration::from_secs(30);
/// How long an address that is no longer found still belongs to its trunk.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Names {
    /// Questions that are open, for tests.
    #[cfg(test)]
    pub fn open_questions(&self) -> usize {
        self.questions.len()
    }
}
