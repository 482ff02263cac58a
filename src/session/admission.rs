//! Whether a worker's scripts start quickly enough for one more session.
//!
//! A burst may wait for its turn. Where the wait stays long, more comes than can be carried: then
//! whoever is new is refused at once, so that those who are in are served in time (the idea of
//! CoDel, RFC 8289: a queue that never empties is the sign of overload, not its length).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::scenario::worker::SessionId;

/// The sessions of one worker that wait for their scripts to have run.
#[derive(Debug, Default)]
pub struct Admission {
    /// In the order in which they were sent; as many as there are sessions at most.
    starting: VecDeque<(SessionId, Instant)>,
    /// Since when the longest wait is too long.
    slow_since: Option<Instant>,
    /// Until when every long wait is overload.
    strict_until: Option<Instant>,
}

impl Admission {
    /// Whether one more session may come now.
    pub fn admits(&mut self, now: Instant) -> bool {
        let wait = self.starting.front().map(|&(_, sent)| now.saturating_duration_since(sent));
        if wait.is_none_or(|wait| wait < SLOW) {
            self.slow_since = None;
            return true;
        }
        let slow_since = *self.slow_since.get_or_insert(now);
        let is_strict = self.strict_until.is_some_and(|until| now < until);
        if !is_strict && now.saturating_duration_since(slow_since) < BURST {
            return true;
        }
        self.strict_until = Some(now + STRICT);
        false
    }

    /// The session's scripts were sent to the worker.
    pub fn begin(&mut self, now: Instant, session: SessionId) {
        self.starting.push_back((session, now));
    }

    /// The session's scripts have run, or never will.
    pub fn end(&mut self, session: SessionId) {
        if let Some(place) = self.starting.iter().position(|&(waiting, _)| waiting == session) {
            self.starting.remove(place);
        }
        if self.starting.is_empty() {
            self.slow_since = None;
        }
    }
}

/// A start takes a millisecond or two and is the first of several waits in a call's set-up, whose
/// sum shall stay under 100 ms.
const SLOW: Duration = Duration::from_millis(20);
/// How long starts may be slow before it is no burst any more.
const BURST: Duration = Duration::from_millis(500);
/// How long after a refusal the next long wait is overload at once.
const STRICT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;

    const MS: Duration = Duration::from_millis(1);

    fn sessions(count: usize) -> Vec<SessionId> {
        let mut slots = Slots::with_capacity(count);
        (0..count).map(|_| SessionId(slots.insert(()).unwrap())).collect()
    }

    #[test]
    fn burst_is_admitted_however_large() {
        let start = Instant::now();
        let mut admission = Admission::default();
        for session in sessions(200) {
            assert!(admission.admits(start));
            admission.begin(start, session);
        }
        assert!(admission.admits(start + 300 * MS));
    }

    #[test]
    fn lasting_wait_refuses_until_it_is_short_again() {
        let start = Instant::now();
        let mut admission = Admission::default();
        let sessions = sessions(3);
        admission.begin(start, sessions[0]);
        assert!(admission.admits(start + 50 * MS));
        assert!(admission.admits(start + 500 * MS));
        assert!(!admission.admits(start + 550 * MS));
        admission.end(sessions[0]);
        assert!(admission.admits(start + 551 * MS));
        // Soon after a refusal the next long wait is refused at once, later it is a burst again.
        admission.begin(start + 600 * MS, sessions[1]);
        assert!(admission.admits(start + 610 * MS));
        assert!(!admission.admits(start + 620 * MS));
        admission.end(sessions[1]);
        admission.begin(start + 20_000 * MS, sessions[2]);
        assert!(admission.admits(start + 20_100 * MS));
    }

    #[test]
    fn end_of_a_session_that_does_not_wait_changes_nothing() {
        let start = Instant::now();
        let mut admission = Admission::default();
        let sessions = sessions(2);
        admission.begin(start, sessions[0]);
        admission.end(sessions[1]);
        admission.admits(start + 20 * MS);
        assert!(!admission.admits(start + 520 * MS));
    }
}
