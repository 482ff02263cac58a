//! Token buckets for senders whose number is not ours to choose: a bounded table of them, each
//! kept only while it is not full.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How often something may happen: `burst` times at once, then once in each `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub burst: u32,
    pub interval: Duration,
}

impl Rate {
    pub fn per_second(number: u32, burst: u32) -> Self {
        Self { burst, interval: Duration::from_secs(1) / number.max(1) }
    }
}

/// When one bucket is full again; before that, as many tokens are missing as intervals lie
/// between.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes so many tokens, or those of a full bucket where that has fewer, if they are there.
    pub fn take(&mut self, now: Instant, rate: Rate, tokens: u32) -> bool {
        let full_at = self.full_at.max(now) + rate.interval * tokens.min(rate.burst);
        let are_there = full_at <= now + rate.interval * rate.burst;
        if are_there {
            self.full_at = full_at;
        }
        are_there
    }

    pub fn has_token(&self, now: Instant, rate: Rate) -> bool {
        self.full_at.max(now) + rate.interval <= now + rate.interval * rate.burst
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// Buckets by key.
#[derive(Debug)]
pub struct Buckets<K> {
    /// At most `capacity`. Full: those whose bucket is full go; if there is none, a new key has
    /// no token.
    list: HashMap<K, Bucket>,
    capacity: usize,
    rate: Rate,
    /// Looking through the table is not for every packet of a flood.
    next_sweep: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    pub fn new(now: Instant, capacity: usize, rate: Rate) -> Self {
        Self { list: HashMap::new(), capacity, rate, next_sweep: now }
    }

    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Takes so many tokens of this key, if they are there.
    pub fn take(&mut self, now: Instant, key: K, tokens: u32) -> bool {
        if let Some(bucket) = self.list.get_mut(&key) {
            return bucket.take(now, self.rate, tokens);
        }
        if self.list.len() >= self.capacity && self.next_sweep <= now {
            self.next_sweep = now + SWEEP;
            self.list.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.list.len() >= self.capacity {
            return false;
        }
        let mut bucket = Bucket::new(now);
        let are_there = bucket.take(now, self.rate, tokens);
        self.list.insert(key, bucket);
        are_there
    }

    /// Whether a token is left, without taking it.
    pub fn has_token(&self, now: Instant, key: &K) -> bool {
        self.list.get(key).is_none_or(|bucket| bucket.has_token(now, self.rate))
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

const SWEEP: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(2) };

    #[test]
    fn burst_is_granted_and_then_one_in_each_interval() {
        let start = Instant::now();
        let mut buckets = Buckets::new(start, 10, RATE);
        let mut taken = |seconds| buckets.take(start + Duration::from_secs(seconds), 'a', 1);
        assert_eq!([taken(0), taken(0), taken(0), taken(0)], [true, true, true, false]);
        assert_eq!([taken(1), taken(2), taken(2), taken(4)], [false, true, false, true]);
        assert_eq!([taken(60), taken(60), taken(60), taken(60)], [true, true, true, false]);
    }

    #[test]
    fn keys_do_not_share_tokens() {
        let now = Instant::now();
        let mut buckets = Buckets::new(now, 10, Rate { burst: 1, ..RATE });
        assert!(buckets.take(now, 'a', 1) && buckets.take(now, 'b', 1));
        assert!(!buckets.has_token(now, &'a') && buckets.has_token(now, &'c'));
    }

    #[test]
    fn several_tokens_are_taken_at_once_or_not_at_all() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        assert!(bucket.take(now, RATE, 2));
        assert!(!bucket.take(now, RATE, 2));
        assert!(bucket.take(now, RATE, 1));
        assert!(!bucket.take(now + RATE.interval * 2, RATE, 100));
        assert!(bucket.take(now + RATE.interval * 3, RATE, 100));
    }

    #[test]
    fn table_is_bounded_and_full_buckets_make_room() {
        let start = Instant::now();
        let mut buckets = Buckets::new(start, 100, RATE);
        let granted = (0..1000).filter(|&key| buckets.take(start, key, 1)).count();
        assert_eq!((granted, buckets.len()), (100, 100));
        let later = start + RATE.interval;
        assert!(buckets.take(later, 5000, 1));
        assert_eq!(buckets.len(), 1);
    }
}
