//! Whether a trunk answers: OPTIONS as keep-alive (RFC 3261 §11).
//!
//! Any final response but 408 and 503 means that it does, since even a 404 or 401 comes from a
//! living peer. Two checks in a row without one mean that it does not; the second follows the
//! first at once. While the trunk is down, checks back off; the first response brings it up.
//!
//! ```text
//!          take_due            response
//! Waiting ----------> Checking ----------> Waiting (an interval)
//!                        |  failure, patience over
//!                        +---------------> Waiting (a moment; while down: the back-off)
//! ```
//!
//! The way to the trunk, Via, Max-Forwards, User-Agent and the transaction are the user agent's.

use std::time::{Duration, Instant};

use crate::random::Random;
use crate::sip::header::Name;
use crate::sip::message::{Message, Method};
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;
use crate::sip::user_agent::{Trunk, TrunkState};
use crate::stats;

/// The checks of one trunk with `options`.
#[derive(Debug)]
pub struct Health {
    interval: Duration,
    phase: Phase,
    /// Of the last check.
    check: Check,
    /// Failures in a row.
    failures: u32,
    state: TrunkState,
    random: Random,
}

/// One OPTIONS; what is said about an older one than the last changes nothing, unless it is a
/// response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting {
        at: Instant,
    },
    /// An OPTIONS is on its way; without a response at `until` it has failed.
    Checking {
        until: Instant,
    },
}

impl Health {
    /// The first check follows within a second.
    pub fn new(now: Instant, interval: Duration, mut random: Random) -> Self {
        // Trunks to the same peer are not asked in one burst.
        let delay = Duration::from_millis(u64::from(random.next_u32() % 1000));
        Self {
            interval,
            phase: Phase::Waiting { at: now + delay },
            check: Check(0),
            failures: 0,
            state: TrunkState::Unknown,
            random,
        }
    }

    /// Whether an OPTIONS is to be sent. If so, find the way to the trunk, then call
    /// [`Health::request`], or [`Health::failed`] where there is none. To be called when
    /// `poll_timeout` has come.
    pub fn take_due(&mut self, now: Instant) -> Option<Check> {
        match self.phase {
            Phase::Waiting { at } if at <= now => {
                self.check = Check(self.check.0.wrapping_add(1));
                self.phase = Phase::Checking { until: now + PATIENCE };
                Some(self.check)
            }
            Phase::Checking { until } if until <= now => {
                self.fail(now, 408, "no answer");
                None
            }
            _ => None,
        }
    }

    /// The OPTIONS to send, with our address as the trunk sees it.
    pub fn request(&mut self, trunk: &Trunk, mut contact: Uri) -> Message {
        let mut server = trunk.server.clone();
        server.headers = None;
        contact.user = Some(trunk.username.clone()).filter(|user| !user.is_empty());
        let mut from = contact.clone();
        from.parameters.clear();
        let mut from = NameAddr::new(from);
        from.set_tag(self.random.hex(8));
        let mut request = Message::request(
            Method::Options,
            server.clone(),
            from,
            NameAddr::new(server),
            self.random.hex(16),
            1,
        );
        request.headers.push(Name::Contact, NameAddr::new(contact).to_string());
        request.headers.push(Name::Accept, "application/sdp");
        request
    }

    /// A final response to a check.
    pub fn handle_response(&mut self, now: Instant, check: Check, status: u16, reason: &str) {
        match status {
            408 | 503 => self.failed(now, check, status, reason),
            // A late one counts too.
            _ => self.heard(now),
        }
    }

    /// A check could not be sent (503), or its transaction timed out (408).
    pub fn failed(&mut self, now: Instant, check: Check, status: u16, reason: &str) {
        if check == self.check && matches!(self.phase, Phase::Checking { .. }) {
            self.fail(now, status, reason);
        }
    }

    /// The trunk answered something: a check, or any other request.
    pub fn heard(&mut self, now: Instant) {
        self.failures = 0;
        self.state = TrunkState::Up;
        // Ten per cent of jitter either way.
        let wait = self.interval.mul_f64(0.9 + 0.2 * self.fraction());
        self.phase = Phase::Waiting { at: now + wait };
    }

    /// Another request to the trunk went unanswered: look now.
    pub fn doubt(&mut self, now: Instant) {
        if let Phase::Waiting { at } = self.phase
            && !matches!(self.state, TrunkState::Down { .. })
        {
            self.phase = Phase::Waiting { at: at.min(now) };
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { at } => Some(at),
            Phase::Checking { until } => Some(until),
        }
    }

    pub fn state(&self) -> &TrunkState {
        &self.state
    }

    fn fail(&mut self, now: Instant, status: u16, reason: &str) {
        stats::SIP_TRUNK_CHECKS_FAILED.add(1);
        self.failures = self.failures.saturating_add(1);
        let wait = match self.failures.checked_sub(FAILURES_TO_DOWN) {
            None => QUICK_RETRY,
            Some(further) => {
                self.state = TrunkState::Down { status, reason: reason.to_owned() };
                let doubled = self.interval * 2_u32.saturating_pow(further.min(8));
                let longest = LONGEST_BACK_OFF.max(self.interval);
                doubled.min(longest).mul_f64(0.9 + 0.2 * self.fraction())
            }
        };
        self.phase = Phase::Waiting { at: now + wait };
    }

    /// From 0 up to 1.
    fn fraction(&mut self) -> f64 {
        f64::from(self.random.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }
}

/// A trunk's state from its registration and its checks, where it has them: down if either says
/// so, up if either says so, else unknown.
pub fn combined(registration: Option<&TrunkState>, health: Option<&TrunkState>) -> TrunkState {
    let states = [registration, health];
    let known = states.into_iter().flatten();
    let down = known.clone().find(|state| matches!(state, TrunkState::Down { .. }));
    let up = known.clone().find(|state| matches!(state, TrunkState::Up));
    down.or(up).cloned().unwrap_or(TrunkState::Unknown)
}

/// Time for a response: five sendings over UDP (RFC 3261 §17.1.2.2: 0, 0.5, 1.5, 3.5, 7.5 s).
/// The transaction itself goes on for 32 s, too long for a call to wait for another trunk.
const PATIENCE: Duration = Duration::from_secs(8);
const FAILURES_TO_DOWN: u32 = 2;
const QUICK_RETRY: Duration = Duration::from_secs(2);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::user_agent::{Account, Caps, Policy, Prack};

    const INTERVAL: Duration = Duration::from_secs(30);

    struct Bench {
        now: Instant,
        health: Health,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Self { now, health: Health::new(now, INTERVAL, Random::seeded(1)) }
        }

        /// Goes on to the next check; gives the seconds until then.
        fn check(&mut self) -> (Check, f64) {
            let start = self.now;
            loop {
                self.now = self.health.poll_timeout().expect("checks do not end");
                if let Some(check) = self.health.take_due(self.now) {
                    return (check, self.now.duration_since(start).as_secs_f64());
                }
            }
        }

        fn answer(&mut self, status: u16) {
            let (check, _) = self.check();
            self.health.handle_response(self.now, check, status, "");
        }

        fn is_down(&self) -> bool {
            matches!(self.health.state(), TrunkState::Down { .. })
        }
    }

    #[test]
    fn any_final_response_but_408_and_503_shows_the_trunk_alive() {
        for status in [200, 401, 404, 405, 481, 500, 603] {
            let mut bench = Bench::new();
            bench.answer(status);
            assert_eq!(bench.health.state(), &TrunkState::Up, "{status}");
            let (_, wait) = bench.check();
            assert!((27.0..=33.0).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn two_failures_in_a_row_bring_the_trunk_down_and_one_response_up() {
        let mut bench = Bench::new();
        bench.answer(200);
        bench.answer(503);
        assert!(!bench.is_down());
        let (check, wait) = bench.check();
        assert_eq!(wait, QUICK_RETRY.as_secs_f64());
        bench.health.failed(bench.now, check, 503, "unreachable");
        let down = TrunkState::Down { status: 503, reason: "unreachable".to_owned() };
        assert_eq!(bench.health.state(), &down);
        bench.answer(200);
        assert_eq!(bench.health.state(), &TrunkState::Up);
        bench.answer(408);
        assert!(!bench.is_down());
    }

    #[test]
    fn check_without_a_response_fails_after_eight_seconds() {
        let mut bench = Bench::new();
        bench.check();
        let (_, wait) = bench.check();
        assert_eq!(wait, 8.0 + 2.0);
        let (_, wait) = bench.check();
        assert!(wait >= 8.0 + 27.0);
        assert_eq!(
            bench.health.state(),
            &TrunkState::Down { status: 408, reason: "no answer".to_owned() }
        );
    }

    #[test]
    fn late_response_counts_and_a_late_failure_does_not() {
        let mut bench = Bench::new();
        let (first, _) = bench.check();
        let (second, _) = bench.check();
        bench.health.failed(bench.now, first, 408, "no answer");
        assert!(!bench.is_down());
        bench.health.handle_response(bench.now, first, 200, "OK");
        assert_eq!(bench.health.state(), &TrunkState::Up);
        bench.health.failed(bench.now, second, 408, "no answer");
        bench.health.failed(bench.now, second, 408, "no answer");
        assert_eq!(bench.health.state(), &TrunkState::Up);
    }

    #[test]
    fn checks_of_a_trunk_that_is_down_back_off_to_five_minutes() {
        let mut bench = Bench::new();
        bench.answer(503);
        bench.answer(503);
        for most in [30.0, 60.0, 120.0, 240.0, 300.0, 300.0] {
            let (check, wait) = bench.check();
            assert!((0.9 * most..=1.1 * most).contains(&wait), "{wait} of {most}");
            bench.health.failed(bench.now, check, 503, "");
        }
    }

    #[test]
    fn doubt_and_other_traffic_move_the_next_check() {
        let mut bench = Bench::new();
        bench.answer(200);
        bench.health.doubt(bench.now);
        assert_eq!(bench.health.poll_timeout(), Some(bench.now));
        bench.health.heard(bench.now);
        assert!(bench.health.poll_timeout() > Some(bench.now + Duration::from_secs(26)));
    }

    #[test]
    fn check_is_an_options_to_the_trunk() {
        let trunk = Trunk {
            name: "pbx".to_owned(),
            server: "sip:192.0.2.10:5060;transport=udp".parse().unwrap(),
            register: false,
            username: "branch".to_owned(),
            password: String::new(),
            accept_from: Vec::new(),
            options: Some(INTERVAL),
            account: Account::default(),
            identity: Policy::default(),
            caps: Caps::default(),
            is_mutual: false,
            prack: Prack::default(),
        };
        let contact = "sip:192.0.2.1:5060".parse().unwrap();
        let request = Bench::new().health.request(&trunk, contact);
        assert_eq!(request.method(), &Method::Options);
        assert_eq!(request.request_uri(), Some(&trunk.server));
        assert_eq!(request.from.uri.to_string(), "sip:branch@192.0.2.1:5060");
        assert_eq!(request.header(&Name::Contact), Some("<sip:branch@192.0.2.1:5060>"));
    }

    #[test]
    fn trunk_is_down_if_either_says_so() {
        let down = TrunkState::Down { status: 403, reason: "Forbidden".to_owned() };
        let (up, unknown) = (TrunkState::Up, TrunkState::Unknown);
        for (registration, health, state) in [
            (None, None, &unknown),
            (None, Some(&up), &up),
            (Some(&unknown), Some(&up), &up),
            (Some(&up), Some(&unknown), &up),
            (Some(&unknown), None, &unknown),
            (Some(&down), Some(&up), &down),
            (Some(&up), Some(&down), &down),
        ] {
            assert_eq!(&combined(registration, health), state);
        }
    }
}
