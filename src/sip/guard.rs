//! What keeps strangers from taking the time that phones and trunks need.
//!
//! A source that is nobody's gets a bucket of messages (`[sip] source_rate`); what exceeds it is
//! dropped before it is parsed. Whose it is costs more than a bucket, so it is asked only when
//! the bucket is empty: a trunk, a registered phone or the peer of a call then has it filled
//! again. Passwords may be guessed slowly only, from one source and for one user; and requests
//! of known scanners get no answer at all (`[sip] scanners`).

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::bucket::{Buckets, Rate};
use super::header::Name;
use super::message::Message;

/// Buckets of sources and of guesses.
#[derive(Debug)]
pub struct Guard {
    messages: Buckets<IpAddr>,
    guesses_by_source: Buckets<IpAddr>,
    /// Of configured users only.
    guesses_by_user: Buckets<String>,
}

impl Guard {
    /// `source_rate`: messages per second from one source that is nobody's.
    pub fn new(now: Instant, source_rate: u32) -> Self {
        Self {
            messages: Buckets::new(now, MAX_SOURCES, messages(source_rate)),
            guesses_by_source: Buckets::new(now, MAX_SOURCES, GUESSES_OF_SOURCE),
            guesses_by_user: Buckets::new(now, MAX_SOURCES, GUESSES_FOR_USER),
        }
    }

    pub fn reload(&mut self, source_rate: u32) {
        self.messages.set_rate(messages(source_rate));
    }

    /// Whether a message from this source is taken in.
    pub fn lets_in(
        &mut self,
        now: Instant,
        source: IpAddr,
        is_known: impl FnOnce() -> bool,
    ) -> bool {
        let source = network_of(source);
        if self.messages.take(now, source) {
            return true;
        }
        let is_known = is_known();
        if is_known {
            self.messages.refill(&source);
        }
        is_known
    }

    /// Whether a password may be tried.
    pub fn may_guess(&self, now: Instant, source: IpAddr, user: &str) -> bool {
        self.guesses_by_source.has_token(now, &network_of(source))
            && self.guesses_by_user.has_token(now, &user.to_owned())
    }

    /// A password was wrong. `user`: if there is one of this name.
    pub fn note_guess(&mut self, now: Instant, source: IpAddr, user: Option<&str>) {
        self.guesses_by_source.take(now, network_of(source));
        if let Some(user) = user {
            self.guesses_by_user.take(now, user.to_owned());
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

fn messages(source_rate: u32) -> Rate {
    // An office behind one address whose phones all start at once after a power cut.
    Rate::per_second(source_rate, source_rate.saturating_mul(5))
}

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

    #[test]
    fn source_beyond_its_rate_is_let_in_only_if_it_is_known() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 10);
        let stranger = ip("198.51.100.7");
        let let_in = (0..1000).filter(|_| guard.lets_in(now, stranger, || false)).count();
        assert_eq!(let_in, 50);
        assert!(guard.lets_in(now, stranger, || true));
        assert!(guard.lets_in(now, stranger, || panic!("its bucket is full again")));
        assert!(guard.lets_in(now, ip("198.51.100.8"), || false));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 1);
        let let_in = (0..100)
            .filter(|host| guard.lets_in(now, ip(&format!("2001:db8::{host:x}")), || false))
            .count();
        assert_eq!(let_in, 5);
        assert!(guard.lets_in(now, ip("2001:db8:0:1::1"), || false));
    }

    #[test]
    fn forged_sources_fill_the_table_and_the_known_still_get_in() {
        let now = Instant::now();
        let mut guard = Guard::new(now, 50);
        for number in 0..10_000u32 {
            guard.lets_in(now, IpAddr::from(number.to_be_bytes()), || false);
        }
        assert!(!guard.lets_in(now, ip("203.0.113.9"), || false));
        assert!(guard.lets_in(now, ip("203.0.113.9"), || true));
    }

    #[test]
    fn guesses_are_slowed_by_source_and_by_user() {
        let start = Instant::now();
        let mut guard = Guard::new(start, 50);
        let source = ip("198.51.100.7");
        for _ in 0..10 {
            assert!(guard.may_guess(start, source, "alice"));
            guard.note_guess(start, source, None);
        }
        assert!(!guard.may_guess(start, source, "alice"));
        assert!(guard.may_guess(start, ip("198.51.100.8"), "alice"));
        assert!(guard.may_guess(start + Duration::from_secs(10), source, "alice"));
        for number in 0..20 {
            guard.note_guess(start, IpAddr::from([10, 0, 0, number]), Some("bob"));
        }
        let elsewhere = ip("198.51.100.9");
        assert!(!guard.may_guess(start, elsewhere, "bob"));
        assert!(guard.may_guess(start, elsewhere, "alice"));
        assert!(guard.may_guess(start + Duration::from_secs(3), elsewhere, "bob"));
    }
}
