//! The engine's clock: steps of 20 ms on a grid that begins with the engine.
//!
//! While nothing needs it, only every fifth step is taken: it looks after time-outs, reports and
//! recordings.

use std::time::{Duration, Instant};

/// Which step is next.
#[derive(Debug)]
pub struct Ticks {
    epoch: Instant,
    /// Number of the next step.
    next: u64,
    is_busy: bool,
}

/// A step whose time has come.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// The time of the step on the grid, however late it is taken.
    pub at: Instant,
    /// Every fifth step looks after what is slow.
    pub is_round: bool,
}

impl Ticks {
    pub fn new(now: Instant) -> Self {
        Self { epoch: now, next: 1, is_busy: false }
    }

    /// Something may need the next step: it is the first one after now.
    pub fn wake(&mut self, now: Instant) {
        if !self.is_busy {
            self.is_busy = true;
            self.next = self.number(now) + 1;
        }
    }

    /// After a step: whether anything needs the next one.
    pub fn rest(&mut self, is_busy: bool) {
        self.is_busy = is_busy;
        if !is_busy {
            self.next = self.next.next_multiple_of(ROUND);
        }
    }

    /// The step that is due.
    pub fn due(&mut self, now: Instant) -> Option<Tick> {
        let at = self.next();
        let is_round = self.next.is_multiple_of(ROUND);
        (at <= now).then(|| {
            self.next += 1;
            Tick { at, is_round }
        })
    }

    /// Steps that are too long ago to be made up for; how many.
    pub fn skip_missed(&mut self, now: Instant) -> u64 {
        let oldest = self.number(now).saturating_sub(MOST_BEHIND);
        let missed = oldest.saturating_sub(self.next);
        self.next += missed;
        if self.is_busy { missed } else { 0 }
    }

    pub fn next(&self) -> Instant {
        self.epoch + Duration::from_millis(self.next.saturating_mul(TICK_MS))
    }

    /// The last step at or before now.
    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64 / TICK_MS
    }
}

const TICK_MS: u64 = 20;
/// 100 ms.
const ROUND: u64 = 5;
/// Steps that are made up for after a stall: 200 ms of audio, what a receiver's buffer may hold.
const MOST_BEHIND: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    #[test]
    fn steps_go_on_for_years() {
        let epoch = Instant::now();
        let mut ticks = Ticks::new(epoch);
        // 2^32 steps are 2.7 years.
        let later = epoch + Duration::from_secs(10 * 365 * 86_400);
        ticks.wake(later);
        assert_eq!(ticks.next(), later + TICK);
    }

    #[test]
    fn steps_lie_on_the_grid_however_late_they_are_taken() {
        let epoch = Instant::now();
        let mut ticks = Ticks::new(epoch);
        ticks.wake(epoch + Duration::from_millis(50));
        assert_eq!(ticks.next(), epoch + TICK * 3);
        assert!(ticks.due(epoch + Duration::from_millis(59)).is_none());
        assert_eq!(ticks.due(epoch + Duration::from_millis(95)).unwrap().at, epoch + TICK * 3);
        assert_eq!(ticks.due(epoch + Duration::from_millis(95)).unwrap().at, epoch + TICK * 4);
        assert!(ticks.due(epoch + Duration::from_millis(95)).is_none());
    }

    #[test]
    fn at_rest_every_fifth_step_is_taken() {
        let epoch = Instant::now();
        let mut ticks = Ticks::new(epoch);
        ticks.rest(false);
        assert_eq!(ticks.next(), epoch + TICK * 5);
        assert!(ticks.due(epoch + TICK * 5).unwrap().is_round);
        ticks.rest(false);
        assert_eq!(ticks.next(), epoch + TICK * 10);
        ticks.wake(epoch + TICK * 6);
        assert_eq!(ticks.next(), epoch + TICK * 7);
    }

    #[test]
    fn long_stall_is_not_made_up_for() {
        let epoch = Instant::now();
        let mut ticks = Ticks::new(epoch);
        ticks.wake(epoch);
        // 1 to 100 were missed; 90 to 100 are made up for.
        assert_eq!(ticks.skip_missed(epoch + TICK * 100), 89);
        assert_eq!(ticks.next(), epoch + TICK * 90);
    }
}
