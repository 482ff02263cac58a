//! A bounded slab: values under handles of index and generation.
//!
//! A handle of a removed value never finds a later one. Every table of calls, sessions and
//! units is one of these, so each has a capacity that is known when it is made.

use std::fmt;

/// Where a value lives in a [`Slots`], and which of its tenants is meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The handle as one number, for a table or a wire that knows no handles.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`Key::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }

    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A table of at most `capacity` values.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    len: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// An empty table; memory is taken as values come.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), len: 0, capacity }
    }

    /// Stores a value, or gives it back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.len >= self.capacity {
            return Err(value);
        }
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            entry.value = Some(value);
            return Ok(Key { index, generation: entry.generation });
        }
        let index = self.entries.len() as u32;
        self.entries.push(Entry { generation: 1, value: Some(value) });
        Ok(Key { index, generation: 1 })
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        Some(value)
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation).then_some(entry.value.as_ref()).flatten()
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        entry.value.as_mut()
    }

    /// Two values at once, where both are there and are not the same.
    pub fn get_pair_mut(&mut self, first: Key, second: Key) -> Option<(&mut T, &mut T)> {
        let is_of = |entry: &Entry<T>, key: Key| entry.generation == key.generation;
        let places = [first.index as usize, second.index as usize];
        let [one, other] = self.entries.get_disjoint_mut(places).ok()?;
        if !is_of(one, first) || !is_of(other, second) {
            return None;
        }
        one.value.as_mut().zip(other.value.as_mut())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// In the order of the indexes.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let key = Key { index: index as u32, generation: entry.generation };
            entry.value.as_ref().map(|value| (key, value))
        })
    }

    /// In the order of the indexes.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.entries.iter_mut().enumerate().filter_map(|(index, entry)| {
            let key = Key { index: index as u32, generation: entry.generation };
            entry.value.as_mut().map(|value| (key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_of_a_removed_value_finds_nothing() {
        let mut slots = Slots::with_capacity(2);
        let first = slots.insert("a").unwrap();
        assert_eq!(slots.remove(first), Some("a"));
        let second = slots.insert("b").unwrap();
        assert_eq!(first.index(), second.index());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"b"));
    }

    #[test]
    fn pair_is_two_values_that_are_there() {
        let mut slots = Slots::with_capacity(3);
        let [one, two, gone] = [1, 2, 3].map(|value| slots.insert(value).unwrap());
        slots.remove(gone);
        assert_eq!(slots.get_pair_mut(two, one), Some((&mut 2, &mut 1)));
        for (first, second) in [(one, one), (one, gone), (gone, two)] {
            assert_eq!(slots.get_pair_mut(first, second), None);
        }
    }

    #[test]
    fn full_table_gives_the_value_back() {
        let mut slots = Slots::with_capacity(1);
        let key = slots.insert(1).unwrap();
        assert_eq!(slots.insert(2), Err(2));
        slots.remove(key);
        assert!(slots.insert(3).is_ok());
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn key_survives_the_trip_through_a_number() {
        let mut slots = Slots::with_capacity(4);
        let key = slots.insert(()).unwrap();
        assert_eq!(Key::from_bits(key.to_bits()), key);
    }
}
