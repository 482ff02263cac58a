//! Who did not answer of late. Others are tried before them.

use std::time::{Duration, Instant};

use super::Target;

/// A few targets with bad times; mostly there are none.
#[derive(Debug, Default)]
pub struct Shunned {
    /// At most [`MAX_SHUNNED`]; full: the one that failed first is forgotten.
    list: Vec<Bad>,
}

#[derive(Debug)]
struct Bad {
    target: Target,
    until: Instant,
    /// In a row.
    failures: u32,
}

impl Shunned {
    /// It did not answer, or asked to be left alone for a while (503 with Retry-After).
    pub fn add(&mut self, now: Instant, target: Target, asked: Option<Duration>) {
        let failures = match self.list.iter().position(|bad| bad.target == target) {
            Some(place) => self.list.remove(place).failures.saturating_add(1),
            None => 0,
        };
        if self.list.len() >= MAX_SHUNNED {
            self.list.remove(0);
        }
        let doubled = SHORTEST.saturating_mul(2_u32.saturating_pow(failures.min(8)));
        let time = asked.unwrap_or(doubled).min(LONGEST);
        self.list.push(Bad { target, until: now + time, failures });
    }

    /// It answered.
    pub fn forgive(&mut self, target: Target) {
        self.list.retain(|bad| bad.target != target);
    }

    pub fn has(&self, now: Instant, target: &Target) -> bool {
        self.list.iter().any(|bad| bad.target == *target && bad.until > now)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

const MAX_SHUNNED: usize = 64;
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::sip::user_agent::Transport;

    fn target(last: u8) -> Target {
        let address = SocketAddr::new([192, 0, 2, last].into(), 5060);
        Target { transport: Transport::Udp, address }
    }

    #[test]
    fn failures_in_a_row_are_remembered_longer_and_an_answer_forgives() {
        let now = Instant::now();
        let mut shunned = Shunned::default();
        for seconds in [30, 60, 120, 240, 300, 300] {
            shunned.add(now, target(1), None);
            let end = now + Duration::from_secs(seconds);
            assert!(shunned.has(end - Duration::from_secs(1), &target(1)), "{seconds}");
            assert!(!shunned.has(end, &target(1)), "{seconds}");
        }
        shunned.forgive(target(1));
        assert!(shunned.is_empty());
        shunned.add(now, target(1), Some(Duration::from_secs(5)));
        assert!(!shunned.has(now + Duration::from_secs(5), &target(1)));
    }

    #[test]
    fn list_is_bounded() {
        let mut shunned = Shunned::default();
        for last in 0..=255 {
            shunned.add(Instant::now(), target(last), None);
        }
        assert_eq!(shunned.list.len(), MAX_SHUNNED);
    }
}
