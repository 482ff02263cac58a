//! What keeps strangers from taking the time that phones and trunks need.
//!
//! A source that is nobody's gets a bucket of messages (`[sip] source_rate`), and all of them
//! together get one (`[sip] strangers_rate`); what exceeds either is dropped before it is parsed,
//! or before a TLS handshake, which counts as several messages. A trunk, a registered phone or the
//! peer of a call needs neither. Whose a source is costs more than a bucket, so a source that was
//! found to be known is remembered for a while.
//!
//! Passwords may be guessed slowly only, from one source and for one name, whether a user has it
//! or not; and requests of known scanners get no answer at all (`[sip] scanners`).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::bucket::{Bucket, Buckets, Rate};
use super::header::Name;
use super::message::Message;

/// Buckets of sources and of guesses.
#[derive(Debug)]
pub struct Guard {
    messages: Buckets<IpAddr>,
    /// Of all sources together that are nobody's.
    strangers: Bucket,
    strangers_rate: Rate,
    /// Until when a source counts as known. At most [`MAX_SOURCES`]. Full: more are asked for each
    /// time.
    known: HashMap<IpAddr, Instant>,
    guesses_by_source: Buckets<IpAddr>,
    guesses_by_user: Buckets<u64>,
    /// Names that nobody has, by their hash: so many of them that the table is full do not make
    /// room for guesses at users.
    guesses_by_other_name: Buckets<u64>,
}

/// What a source wants of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Message,
    /// A TLS handshake.
    Handshake,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    LetIn,
    /// More than `[sip] source_rate`.
    SourceRate,
    /// All strangers together send more than `[sip] strangers_rate`.
    StrangersRate,
}

impl Guard {
    /// Messages per second from one source that is nobody's, and from all of them together.
    pub fn new(now: Instant, source_rate: u32, strangers_rate: u32) -> Self {
        Self {
            messages: Buckets::new(now, MAX_SOURCES, messages(source_rate)),
            strangers: Bucket::new(now),
            strangers_rate: messages(strangers_rate),
            known: HashMap::new(),
            guesses_by_source: Buckets::new(now, MAX_SOURCES, GUESSES_OF_SOURCE),
            guesses_by_user: Buckets::new(now, MAX_SOURCES, GUESSES_FOR_USER),
            guesses_by_other_name: Buckets::new(now, MAX_SOURCES, GUESSES_FOR_USER),
        }
    }

    /// Who is known is asked anew.
    pub fn reload(&mut self, source_rate: u32, strangers_rate: u32) {
        self.messages.set_rate(messages(source_rate));
        self.strangers_rate = messages(strangers_rate);
        self.known.clear();
    }

    /// Whether a source gets what it wants.
    pub fn verdict(
        &mut self,
        now: Instant,
        source: IpAddr,
        wish: Wish,
        is_known: impl FnOnce() -> bool,
    ) -> Verdict {
        if self.known.get(&source).is_some_and(|until| *until > now) {
            return Verdict::LetIn;
        }
        if is_known() {
            self.remember(now, source);
            return Verdict::LetIn;
        }
        if !self.messages.take(now, network_of(source), wish.tokens()) {
            return Verdict::SourceRate;
        }
        match self.strangers.take(now, self.strangers_rate, wish.tokens()) {
            true => Verdict::LetIn,
            false => Verdict::StrangersRate,
        }
    }

    fn remember(&mut self, now: Instant, source: IpAddr) {
        if self.known.len() >= MAX_SOURCES {
            self.known.retain(|_, until| *until > now);
        }
        if self.known.len() < MAX_SOURCES {
            self.known.insert(source, now + KNOWN);
        }
    }

    /// Whether a password may be tried.
    pub fn may_guess(&self, now: Instant, source: IpAddr, name: &str) -> bool {
        let name = hash_of(name);
        self.may_guess_from(now, source)
            && self.guesses_by_user.has_token(now, &name)
            && self.guesses_by_other_name.has_token(now, &name)
    }

    /// Whether a source may try a password, whosever it is.
    pub fn may_guess_from(&self, now: Instant, source: IpAddr) -> bool {
        self.guesses_by_source.has_token(now, &network_of(source))
    }

    /// A password was wrong, or nobody has this name.
    pub fn note_guess(&mut self, now: Instant, source: IpAddr, name: &str, is_known: bool) {
        self.guesses_by_source.take(now, network_of(source), 1);
        let names =
            if is_known { &mut self.guesses_by_user } else { &mut self.guesses_by_other_name };
        names.take(now, hash_of(name), 1);
    }
}

impl Wish {
    /// A handshake takes us about 0.2 ms with an elliptic curve and 1 ms with RSA, five times a
    /// message at least.
    fn tokens(self) -> u32 {
        match self {
            Self::Message => 1,
            Self::Handshake => 5,
        }
    }
}

/// Whether a request says of itself that it comes from a scanner: its User-Agent begins with one
/// of these names, in any case.
pub fn is_scanner(request: &Message, scanners: &[String]) -> bool {
    let Some(agent) = request.header(&Name::UserAgent) else { return false };
    scanners
        .iter()
        .any(|name| agent.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

/// What one sender has at its disposal: an IPv4 address, or an IPv6 network of 64 bits.
fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// A name from outside may be as long as a message.
fn hash_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn messages(rate: u32) -> Rate {
    // An office behind one address whose phones all start at once after a power cut.
    Rate::per_second(rate, rate.saturating_mul(5))
}

/// A phone that has left may be taken for one so much longer.
const KNOWN: Duration = Duration::from_secs(10);

/// Sources that send at one time, each with about 60 bytes. When all are taken, new ones that are
/// nobody's get nothing: only a flood from forged addresses does that.
const MAX_SOURCES: usize = 2048;

/// A phone with a mistyped password gives up long before.
const GUESSES_OF_SOURCE: Rate = Rate { burst: 10, interval: Duration::from_secs(10) };
/// From everywhere together; 28,800 a day.
const GUESSES_FOR_USER: Rate = Rate { burst: 20, interval: Duration::from_secs(3) };

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of these are let in, of nobody known.
    fn let_in(guard: &mut Guard, now: Instant, sources: impl Iterator<Item = IpAddr>) -> usize {
        let verdict = |source| guard.verdict(now, source, Wish::Message, || false);
        sources.map(verdict).filter(|verdict| *verdict == Verdict::LetIn).count()
    }

    #[test]
    fn source_beyond_its_rate_is_let_in_only_if_it_is_known() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 10, 1000);
        let stranger = ip("198.51.100.7");
        assert_eq!(let_in(&mut guard, now, std::iter::repeat_n(stranger, 1000)), 50);
        let message = Wish::Message;
        assert_eq!(guard.verdict(now, stranger, message, || false), Verdict::SourceRate);
        assert_eq!(guard.verdict(now, stranger, message, || true), Verdict::LetIn);
        let asked = || panic!("it is remembered");
        assert_eq!(guard.verdict(now, stranger, message, asked), Verdict::LetIn);
        let later = now + KNOWN;
        assert_eq!(let_in(&mut guard, later, std::iter::repeat_n(stranger, 1000)), 50);
        assert_eq!(let_in(&mut guard, later, [ip("198.51.100.8")].into_iter()), 1);
    }

    #[test]
    fn strangers_share_a_rate_and_the_known_do_not_touch_it() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 50, 100);
        let network = |net: u8| (0..200).map(move |host| IpAddr::from([203, 0, net, host]));
        let known = ip("192.0.2.1");
        for _ in 0..1000 {
            assert_eq!(guard.verdict(now, known, Wish::Message, || true), Verdict::LetIn);
        }
        let all = network(1).chain(network(2)).chain(network(3));
        assert_eq!(let_in(&mut guard, now, all), 500);
        let another = ip("198.51.100.8");
        assert_eq!(guard.verdict(now, another, Wish::Message, || false), Verdict::StrangersRate);
        assert_eq!(guard.verdict(now, another, Wish::Message, || true), Verdict::LetIn);
        assert_eq!(let_in(&mut guard, now + Duration::from_secs(1), network(4)), 100);
    }

    #[test]
    fn handshake_counts_as_five_messages() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 10, 1000);
        let stranger = ip("198.51.100.7");
        let mut shake = || guard.verdict(now, stranger, Wish::Handshake, || false);
        assert_eq!((0..100).filter(|_| shake() == Verdict::LetIn).count(), 10);
        guard.reload(4, 1000);
        let later = now + Duration::from_secs(60);
        // A rate below a handshake's price grants one all the same, with time.
        assert_eq!(guard.verdict(later, stranger, Wish::Handshake, || false), Verdict::LetIn);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 1, 1000);
        let hosts = (0..100).map(|host| ip(&format!("2001:db8::{host:x}")));
        assert_eq!(let_in(&mut guard, now, hosts), 5);
        assert_eq!(let_in(&mut guard, now, [ip("2001:db8:0:1::1")].into_iter()), 1);
    }

    #[test]
    fn forged_sources_fill_the_table_and_the_known_still_get_in() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 50, 100_000);
        let forged = (0..10_000u32).map(|number| IpAddr::from(number.to_be_bytes()));
        assert_eq!(let_in(&mut guard, now, forged), MAX_SOURCES);
        assert_eq!(let_in(&mut guard, now, [ip("203.0.113.9")].into_iter()), 0);
        let known = guard.verdict(now, ip("203.0.113.9"), Wish::Message, || true);
        assert_eq!(known, Verdict::LetIn);
    }

    #[test]
    fn guesses_are_slowed_by_source_and_by_name() {
        let start = Instant::now();
        let mut guard = Guard::new(start, 50, 1000);
        let source = ip("198.51.100.7");
        for number in 0..10 {
            assert!(guard.may_guess(start, source, "alice"));
            guard.note_guess(start, source, &format!("nobody{number}"), false);
        }
        assert!(!guard.may_guess(start, source, "alice"));
        assert!(guard.may_guess(start, ip("198.51.100.8"), "alice"));
        assert!(guard.may_guess(start + Duration::from_secs(10), source, "alice"));
        for (name, is_known) in [("bob", true), ("nobody", false)] {
            for number in 0..20 {
                guard.note_guess(start, IpAddr::from([10, 0, 0, number]), name, is_known);
            }
            let elsewhere = ip("198.51.100.9");
            assert!(!guard.may_guess(start, elsewhere, name));
            assert!(guard.may_guess(start, elsewhere, "alice"));
            assert!(guard.may_guess(start + Duration::from_secs(3), elsewhere, name));
        }
    }

    #[test]
    fn names_that_nobody_has_leave_no_room_for_guesses_at_users() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 50, 1000);
        let source = |number: u32| IpAddr::from((number << 8).to_be_bytes());
        for number in 0..2 * MAX_SOURCES as u32 {
            guard.note_guess(now, source(number), &number.to_string(), false);
        }
        for number in 0..20 {
            guard.note_guess(now, source(1_000_000 + number), "bob", true);
        }
        assert!(!guard.may_guess(now, ip("198.51.100.9"), "bob"));
    }
}
