//! How often a media thread wakes, by how many packets there are.

use std::time::{Duration, Instant};

use super::priority::{Wake, set_wake};

/// How the thread wakes: by how many packets there are.
#[derive(Debug)]
pub struct Pace {
    since: Instant,
    packets: usize,
    load: Load,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// Each packet wakes the thread, before whatever else runs.
    Light,
    /// Each wakes it, but where the processor is taken it waits for its turn: who sends, or another
    /// thread of ours, is not put off by every packet.
    Medium,
    /// It sleeps for [`COALESCED`] from one wake to the next.
    Heavy,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self { since: now, packets: 0, load: Load::Light }
    }

    /// After a wake at `now` that brought so many packets.
    pub fn count(&mut self, now: Instant, packets: usize) {
        self.packets += packets;
        let measured = now.saturating_duration_since(self.since);
        if measured < MEASURE {
            return;
        }
        let load = match self.packets as u128 * 1000 / measured.as_millis().max(1) {
            ..SOME => Load::Light,
            SOME..MANY => Load::Medium,
            MANY.. => Load::Heavy,
        };
        (self.since, self.packets) = (now, 0);
        if load == std::mem::replace(&mut self.load, load) {
            return;
        }
        let wake = match load {
            Load::Light | Load::Heavy => Wake::Preempts,
            Load::Medium => Wake::Waits,
        };
        if let Err(error) = set_wake(wake) {
            log::debug!("the way a media thread wakes cannot be chosen: {error}");
        }
    }

    /// When the next wake may be, if not at once.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        (self.load == Load::Heavy).then(|| now + COALESCED)
    }
}

/// How long packets are counted before the pace changes.
const MEASURE: Duration = Duration::from_millis(100);
/// Packets per second: 25 joined calls of 20 ms. Below, wakes cost little in all.
const SOME: u128 = 2_500;
/// 150 joined calls. Below, bursts make batches by themselves, and short sleeps cost more wakes
/// than they save (measured at 100 calls).
const MANY: u128 = 15_000;
/// 200 calls cost 0.030 CPU-s per call-minute with it and 0.040 with 1 ms.
const COALESCED: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_is_at_once_for_few_and_slower_for_many() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        let mut wakes = |packets: usize, pause: Duration| {
            for _ in 0..200 {
                now += pause;
                pace.count(now, packets);
            }
            (pace.load, pace.next_wake(now).map(|next| next - now))
        };
        const MS: Duration = Duration::from_millis(1);
        // Packets in a millisecond: 1000 a second, and so on up and down.
        assert_eq!(wakes(1, MS), (Load::Light, None));
        assert_eq!(wakes(10, MS), (Load::Medium, None));
        assert_eq!(wakes(20, MS), (Load::Heavy, Some(2 * MS)));
        assert_eq!(wakes(10, MS), (Load::Medium, None));
        assert_eq!(wakes(1, MS), (Load::Light, None));
    }
}
