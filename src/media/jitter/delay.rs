//! How much later than the fastest packets all are played: as the delays of the last seconds ask.
//!
//! A packet's delay is told relative to the least transit time of the last seconds, so that
//! neither the clocks' difference nor their drift matters. The target covers all but one in a
//! hundred of the delays and, for a while, the latest that came too late.

use super::MS;

/// What is known of the delays of one source.
#[derive(Debug, Clone)]
pub struct Delay {
    /// The least transit times of the last windows, the newest first.
    minima: [i64; WINDOWS],
    /// When the newest window began.
    window_start: i64,
    base: Option<i64>,
    /// By steps of `BUCKET`: how many packets of late, the older the lighter.
    histogram: [f32; BUCKETS],
    total: f32,
    /// A delay that was too much.
    peak: i64,
    /// Until when the peak stands as it is; then it wears off.
    peak_until: i64,
}

/// What an arrival says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Later than the fastest packets; at least 0.
    pub delay: i64,
    /// The least transit time of a window that ended, and when that was.
    pub ended: Option<(i64, i64)>,
}

impl Default for Delay {
    fn default() -> Self {
        Self {
            minima: [NONE; WINDOWS],
            window_start: 0,
            base: None,
            histogram: [0.0; BUCKETS],
            total: 0.0,
            peak: FIRST,
            peak_until: i64::MIN,
        }
    }
}

impl Delay {
    /// A packet came `transit` after its place on the sender's clock.
    pub fn arrive(&mut self, now: i64, transit: i64) -> Arrived {
        if self.total == 0.0 {
            self.window_start = now;
            self.peak_until = now + FIRST_STANDS;
        }
        let ended = self.turn_window(now);
        self.minima[0] = self.minima[0].min(transit);
        let base = self.minima.iter().copied().fold(NONE, i64::min);
        if let Some(before) = self.base.replace(base)
            && base > before
        {
            self.lift(base - before);
        }
        let delay = transit - base;
        // An outage that no target can cover is not to move it.
        if delay <= MOST {
            for count in &mut self.histogram {
                *count *= MEMORY;
            }
            self.total = self.total * MEMORY + 1.0;
            self.histogram[bucket(delay)] += 1.0;
        }
        Arrived { delay, ended }
    }

    /// What delays are expected before any is known, up to what is usual.
    pub fn expect(&mut self, delay: i64) {
        if self.total == 0.0 {
            self.peak = delay.clamp(LEAST, FIRST);
        }
    }

    /// A packet of this delay was not there when its place was played.
    pub fn be_late(&mut self, now: i64, delay: i64) {
        let needed = delay + SPARE;
        if needed <= MOST && needed >= self.peak_at(now) {
            self.peak = needed;
            self.peak_until = now + PEAK_STANDS;
        }
    }

    /// How long after its place on the sender's clock and the least transit a packet is to be
    /// played.
    pub fn target(&self, now: i64) -> i64 {
        self.quantile().max(self.peak_at(now)).clamp(LEAST, MOST)
    }

    /// The transit of the fastest packets of the last seconds.
    pub fn base(&self) -> Option<i64> {
        self.base
    }

    /// A window that is over makes room for the one of now. Pauses do not count: what was known
    /// before one is true after it, unless it was long.
    fn turn_window(&mut self, now: i64) -> Option<(i64, i64)> {
        if now - self.window_start < WINDOW {
            return None;
        }
        let ended = (self.window_start, self.minima[0]);
        if now - self.window_start > LONG_PAUSE {
            self.minima.fill(NONE);
            self.base = None;
        }
        self.minima.rotate_right(1);
        self.minima[0] = NONE;
        self.window_start = now;
        Some(ended)
    }

    /// The way became longer by so much: earlier delays, told from the new base, are less.
    fn lift(&mut self, by: i64) {
        self.peak = (self.peak - by).max(0);
        let buckets = usize::try_from(by / BUCKET).map_or(BUCKETS, |n| n.min(BUCKETS));
        if buckets > 0 {
            let sunk: f32 = self.histogram[..buckets].iter().sum();
            self.histogram.copy_within(buckets.., 0);
            self.histogram[BUCKETS - buckets..].fill(0.0);
            self.histogram[0] += sunk;
        }
    }

    /// The upper edge of the step below which all but `BEYOND` of the delays are.
    fn quantile(&self) -> i64 {
        let mut beyond = 0.0;
        for (place, count) in self.histogram.iter().enumerate().rev() {
            beyond += count;
            if beyond > self.total * BEYOND {
                return (place as i64 + 1) * BUCKET;
            }
        }
        0
    }

    fn peak_at(&self, now: i64) -> i64 {
        let worn = (now - self.peak_until).max(0) / WEAR;
        (self.peak - worn).max(0)
    }
}

fn bucket(delay: i64) -> usize {
    usize::try_from(delay / BUCKET).map_or(0, |place| place.min(BUCKETS - 1))
}

/// A transit time of no packet.
const NONE: i64 = i64::MAX;
/// The least transit of four seconds: long enough that some packet was fast, short enough that
/// clocks 200 ppm apart move by less than 1 ms.
const WINDOWS: usize = 4;
const WINDOW: i64 = 1000 * MS;
/// In a minute clocks 200 ppm apart move by 12 ms.
const LONG_PAUSE: i64 = 60_000 * MS;
const BUCKET: i64 = 5 * MS;
const BUCKETS: usize = (MOST / BUCKET) as usize;
/// Per packet: those of the last 500 count most, 10 s of 20 ms packets.
const MEMORY: f32 = 0.998;
const BEYOND: f32 = 0.01;
/// What a source gets before its delays are known, and how long at least.
const FIRST: i64 = 40 * MS;
const FIRST_STANDS: i64 = 4000 * MS;
/// How long a delay that was too much is waited for again.
const PEAK_STANDS: i64 = 10_000 * MS;
/// After that a peak wears off by 4 ms a second.
const WEAR: i64 = 250;
/// Beyond a delay that was too much: a tick may come a little early.
const SPARE: i64 = 2 * MS;
/// A step of the histogram.
pub const LEAST: i64 = BUCKET;
/// Beyond 240 ms a conversation suffers more from the delay than from gaps (ITU-T G.114 names 150
/// ms as good and 400 ms as the limit, both ways of a call adding to it).
pub const MOST: i64 = 240 * MS;

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 20 ms with these delays; the target after them.
    fn target_after(delays: impl Iterator<Item = i64>) -> i64 {
        let mut delay = Delay::default();
        let mut now = 1_000_000;
        for late in delays {
            delay.arrive(now, late * MS - 77_000);
            now += 20 * MS;
        }
        delay.target(now) / MS
    }

    #[test]
    fn target_is_least_without_jitter_and_what_it_takes_with() {
        // 15 s: the first 4 s as it began, then 10 s to wear off.
        assert_eq!(target_after(std::iter::repeat_n(0, 750)), 5);
        let mut random = fastrand::Rng::with_seed(5);
        let target = target_after((0..750).map(|_| random.i64(0..80)));
        assert_eq!(target, 80);
        // 3 packets in 1000 are 70 ms late: not worth waiting for.
        assert_eq!(target_after((0..2000).map(|n| i64::from(n % 333 == 0) * 70)), 5);
        // 3 in 100 are.
        assert_eq!(target_after((0..2000).map(|n| i64::from(n % 33 == 0) * 70)), 75);
    }

    #[test]
    fn first_target_is_40_ms_unless_less_is_expected() {
        assert_eq!(target_after(std::iter::once(0)), 40);
        for (expected, target) in [(0, 5), (12, 12), (90, 40)] {
            let mut delay = Delay::default();
            delay.expect(expected * MS);
            delay.arrive(0, 7);
            assert_eq!(delay.target(0), target * MS);
        }
    }

    #[test]
    fn packet_that_came_too_late_is_waited_for_at_once_and_for_ten_seconds() {
        let mut delay = Delay::default();
        for n in 0..1000 {
            delay.arrive(n * 20 * MS, 0);
        }
        let now = 20_000 * MS;
        assert_eq!(delay.target(now), 5 * MS);
        delay.be_late(now, 100 * MS);
        assert_eq!(delay.target(now), 102 * MS);
        assert_eq!(delay.target(now + 10_000 * MS), 102 * MS);
        // 52 ms at 4 ms a second.
        assert_eq!(delay.target(now + 10_000 * MS + 13_000 * MS) / MS, 50);
        assert_eq!(delay.target(now + 60_000 * MS), 5 * MS);
    }

    #[test]
    fn outage_beyond_what_can_be_waited_for_moves_nothing() {
        let mut delay = Delay::default();
        for n in 0..1000 {
            delay.arrive(n * 20 * MS, 0);
        }
        for n in 0..50 {
            delay.arrive(21_000 * MS, (1250 - n * 20) * MS);
            delay.be_late(21_000 * MS, (1250 - n * 20) * MS);
        }
        // The last of the burst were 270 ms late and more.
        assert_eq!(delay.target(21_000 * MS), 5 * MS);
    }

    #[test]
    fn base_follows_a_shorter_way_at_once_and_a_longer_one_after_four_seconds() {
        let mut delay = Delay::default();
        let mut now = 0;
        let mut run = |delay: &mut Delay, transit: i64, packets: i64| {
            for _ in 0..packets {
                delay.arrive(now, transit);
                now += 20 * MS;
            }
            (delay.base().unwrap(), delay.target(now) / MS)
        };
        assert_eq!(run(&mut delay, 0, 1000), (0, 5));
        assert_eq!(run(&mut delay, -30 * MS, 1).0, -30 * MS);
        run(&mut delay, -30 * MS, 1000);
        assert_eq!(run(&mut delay, 40 * MS, 100).0, -30 * MS);
        // The delays of 70 ms were no jitter: all came so.
        assert_eq!(run(&mut delay, 40 * MS, 110), (40 * MS, 5));
    }

    #[test]
    fn windows_that_end_tell_their_least_transit() {
        let mut delay = Delay::default();
        assert_eq!(delay.arrive(0, 7).ended, None);
        assert_eq!(delay.arrive(500 * MS, 3).ended, None);
        assert_eq!(delay.arrive(1000 * MS, 9), Arrived { delay: 6, ended: Some((0, 3)) });
        // Nothing came for ten seconds, then for an hour, in which the clocks went apart.
        let later = delay.arrive(11_000 * MS, 13);
        assert_eq!(later, Arrived { delay: 10, ended: Some((1000 * MS, 9)) });
        let later = delay.arrive(3_600_000 * MS, 100_000);
        assert_eq!(later, Arrived { delay: 0, ended: Some((11_000 * MS, 13)) });
    }
}
