//! The armed deadlines of one machine.
//!
//! A machine arms and disarms where its state changes and asks for what is due when it is given
//! the time. Equal deadlines come out in the order in which they were armed.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Deadlines by key; arming a key again moves its deadline.
#[derive(Debug)]
pub struct Timers<K> {
    by_time: BTreeMap<(Instant, u64), K>,
    by_key: HashMap<K, (Instant, u64)>,
    armed_so_far: u64,
}

impl<K: Copy + Eq + Hash> Timers<K> {
    pub fn new() -> Self {
        Self { by_time: BTreeMap::new(), by_key: HashMap::new(), armed_so_far: 0 }
    }

    pub fn arm(&mut self, key: K, at: Instant) {
        self.disarm(key);
        self.armed_so_far += 1;
        let place = (at, self.armed_so_far);
        self.by_time.insert(place, key);
        self.by_key.insert(key, place);
    }

    pub fn disarm(&mut self, key: K) {
        if let Some(place) = self.by_key.remove(&key) {
            self.by_time.remove(&place);
        }
    }

    /// Takes out the earliest key whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (&place, &key) = self.by_time.first_key_value()?;
        if place.0 > now {
            return None;
        }
        self.by_time.remove(&place);
        self.by_key.remove(&key);
        Some(key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|(place, _)| place.0)
    }

    pub fn is_armed(&self, key: K) -> bool {
        self.by_key.contains_key(&key)
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl<K: Copy + Eq + Hash> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn due_keys_come_in_the_order_of_their_deadlines() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.arm("late", start + Duration::from_millis(20));
        timers.arm("early", start + Duration::from_millis(10));
        assert_eq!(timers.next(), Some(start + Duration::from_millis(10)));
        assert_eq!(timers.pop_due(start), None);
        let now = start + Duration::from_millis(30);
        assert_eq!(timers.pop_due(now), Some("early"));
        assert_eq!(timers.pop_due(now), Some("late"));
        assert_eq!(timers.pop_due(now), None);
    }

    #[test]
    fn arming_again_moves_the_deadline() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.arm(1, start);
        timers.arm(1, start + Duration::from_secs(1));
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.pop_due(start), None);
        timers.disarm(1);
        assert!(timers.is_empty());
    }
}
