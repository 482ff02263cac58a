//! What calls of ours taught us about a trunk: when it asked to be left alone, when it did not
//! answer, how many it got in this second.

use std::time::{Duration, Instant};

use crate::sip::user_agent::TrunkState;

/// Of one trunk.
#[derive(Debug, Default)]
pub struct Load {
    /// A 503 said when to come again (RFC 3261 §21.5.4): no call until then.
    closed_until: Option<Instant>,
    /// A call went unanswered where no check tells whether the trunk is there: until then the
    /// other trunks of a route come first.
    doubted_until: Option<Instant>,
    /// Unanswered calls in a row.
    unanswered: u32,
    /// When the second began that is counted, and the calls in it.
    second: Option<Instant>,
    sent: usize,
}

impl Load {
    /// A 503 with Retry-After.
    pub fn close(&mut self, now: Instant, wait: Duration) {
        self.closed_until = Some(now + wait.clamp(SHORTEST_WAIT, LONGEST_WAIT));
    }

    /// A call got no answer at all.
    pub fn doubt(&mut self, now: Instant) {
        let doubled = FIRST_DOUBT * 2_u32.saturating_pow(self.unanswered.min(8));
        self.unanswered = self.unanswered.saturating_add(1);
        self.doubted_until = Some(now + doubled.min(LONGEST_DOUBT));
    }

    /// The trunk answered a call, whatever it said.
    pub fn heard(&mut self) {
        self.doubted_until = None;
        self.unanswered = 0;
    }

    /// Whether another call may go out now; it then counts.
    pub fn take_turn(&mut self, now: Instant, calls_per_second: usize) -> bool {
        let is_new = self.second.is_none_or(|second| now.duration_since(second) >= SECOND);
        if is_new {
            self.second = Some(now);
            self.sent = 0;
        }
        let has_room = self.sent < calls_per_second;
        self.sent += usize::from(has_room);
        has_room
    }

    /// `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for until in [&mut self.closed_until, &mut self.doubted_until] {
            if until.is_some_and(|until| until <= now) {
                *until = None;
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.closed_until, self.doubted_until].into_iter().flatten().min()
    }

    pub fn state(&self) -> Option<TrunkState> {
        let reason = || "Service Unavailable (Retry-After)".to_owned();
        self.closed_until.map(|_| TrunkState::Down { status: 503, reason: reason() })
    }

    pub fn is_doubtful(&self) -> bool {
        self.doubted_until.is_some()
    }
}

const SECOND: Duration = Duration::from_secs(1);
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// What a trunk says beyond that is taken for a slip.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Doubled with each unanswered call.
const FIRST_DOUBT: Duration = Duration::from_secs(30);
const LONGEST_DOUBT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_doubles_to_five_minutes_and_ends_with_an_answer() {
        let now = Instant::now();
        let mut load = Load::default();
        for seconds in [30, 60, 120, 240, 300, 300] {
            load.doubt(now);
            assert_eq!(load.poll_timeout(), Some(now + Duration::from_secs(seconds)));
        }
        assert!(load.is_doubtful() && load.state().is_none());
        load.heard();
        assert!(!load.is_doubtful());
        load.doubt(now);
        load.handle_timeout(now + FIRST_DOUBT);
        assert!(!load.is_doubtful());
        assert_eq!(load.poll_timeout(), None);
    }

    #[test]
    fn trunk_that_asked_to_wait_is_down_until_then_whatever_it_answers() {
        let now = Instant::now();
        let mut load = Load::default();
        load.close(now, Duration::from_secs(20));
        load.heard();
        load.handle_timeout(now + Duration::from_secs(19));
        assert!(matches!(load.state(), Some(TrunkState::Down { status: 503, .. })));
        load.handle_timeout(now + Duration::from_secs(20));
        assert_eq!(load.state(), None);
        load.close(now, Duration::from_secs(u64::from(u32::MAX)));
        assert_eq!(load.poll_timeout(), Some(now + LONGEST_WAIT));
    }

    #[test]
    fn calls_of_one_second_are_counted() {
        let now = Instant::now();
        let mut load = Load::default();
        let turns = |load: &mut Load, at| (0..5).filter(|_| load.take_turn(at, 3)).count();
        assert_eq!(turns(&mut load, now), 3);
        assert_eq!(turns(&mut load, now + Duration::from_millis(999)), 0);
        assert_eq!(turns(&mut load, now + SECOND), 3);
    }
}
