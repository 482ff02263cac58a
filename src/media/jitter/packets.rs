//! Packets that wait to be played, in the order of their places.

use crate::media::engine::Codec;

/// The packets of one call.
#[derive(Debug)]
pub struct Packets {
    /// By position. Full, like `bytes`: the oldest goes.
    entries: heapless::Vec<Stored, MOST_PACKETS>,
    /// The payloads, in the order in which they came.
    ///
    /// Invariant: never longer than `capacity`, for which it has room from the beginning.
    bytes: Vec<u8>,
    capacity: usize,
}

/// What is known of a packet besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub content: Content,
    pub position: i64,
    /// In units; 0 for what only marks a place.
    pub duration: i64,
    /// The sequence number with its cycles.
    pub sequence: i64,
    /// It came when its place had begun to be played.
    pub is_late: bool,
}

impl Entry {
    pub const fn end(&self) -> i64 {
        self.position + self.duration
    }
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Audio(Codec),
    /// Comfort noise (RFC 3389): a pause that sounds like this begins.
    Noise,
    /// Something that is not heard, a telephone-event: a silent pause begins.
    Other,
}

#[derive(Debug)]
struct Stored {
    entry: Entry,
    start: usize,
    length: usize,
}

impl Packets {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { entries: heapless::Vec::new(), bytes: Vec::with_capacity(bytes), capacity: bytes }
    }

    /// Puts a packet at its place. How many of the oldest had to go for it; `None`: there is no
    /// room for it, or it is there.
    pub fn insert(&mut self, entry: Entry, payload: &[u8]) -> Option<usize> {
        if payload.len() > self.capacity {
            return None;
        }
        let is_there = |stored: &Stored| stored.entry.sequence == entry.sequence;
        if self.entries.iter().any(is_there) {
            return None;
        }
        let mut dropped = 0;
        while self.entries.is_full() || self.bytes.len() + payload.len() > self.capacity {
            self.remove_first();
            dropped += 1;
        }
        let place = self.entries.iter().rposition(|stored| {
            (stored.entry.position, stored.entry.sequence) < (entry.position, entry.sequence)
        });
        let stored = Stored { entry, start: self.bytes.len(), length: payload.len() };
        let place = place.map_or(0, |before| before + 1);
        self.entries.insert(place, stored).expect("a place was made free");
        self.bytes.extend_from_slice(payload);
        Some(dropped)
    }

    pub fn remove_first(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let gone = self.entries.remove(0);
        self.bytes.copy_within(gone.start + gone.length.., gone.start);
        self.bytes.truncate(self.bytes.len() - gone.length);
        for stored in &mut self.entries {
            if stored.start > gone.start {
                stored.start -= gone.length;
            }
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Room for payloads of so many bytes together; what is there stays.
    pub fn reserve(&mut self, bytes: usize) {
        if bytes > self.capacity {
            self.bytes.reserve_exact(bytes - self.bytes.len());
            self.capacity = bytes;
        }
    }

    pub fn first(&self) -> Option<Entry> {
        self.entries.first().map(|stored| stored.entry)
    }

    pub fn first_payload(&self) -> &[u8] {
        let stored = self.entries.first();
        stored.map_or(&[], |stored| &self.bytes[stored.start..stored.start + stored.length])
    }

    pub fn second(&self) -> Option<Entry> {
        self.entries.get(1).map(|stored| stored.entry)
    }

    pub fn last(&self) -> Option<Entry> {
        self.entries.last().map(|stored| stored.entry)
    }

    /// A few packets more and the first one goes.
    pub fn is_nearly_full(&self) -> bool {
        let length = self.entries.last().map_or(0, |stored| stored.length);
        self.len() + 2 >= MOST_PACKETS || self.bytes.len() + 2 * length >= self.capacity
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}

/// 480 ms of 10 ms packets.
pub const MOST_PACKETS: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::jitter::FRAME;

    fn packet(sequence: i64) -> Entry {
        Entry {
            content: Content::Audio(Codec::Pcmu),
            position: sequence * FRAME,
            duration: FRAME,
            sequence,
            is_late: false,
        }
    }

    fn drain(packets: &mut Packets) -> Vec<(i64, Vec<u8>)> {
        let mut drained = Vec::new();
        while let Some(first) = packets.first() {
            drained.push((first.sequence, packets.first_payload().to_vec()));
            packets.remove_first();
        }
        drained
    }

    #[test]
    fn packets_leave_in_the_order_of_their_places_with_their_own_payloads() {
        let mut packets = Packets::with_capacity(100);
        for sequence in [3, 1, 5, 2, 4] {
            assert_eq!(packets.insert(packet(sequence), &[sequence as u8; 7]), Some(0));
        }
        assert_eq!(packets.last(), Some(packet(5)));
        let expected: Vec<_> = (1..=5).map(|n| (n, vec![n as u8; 7])).collect();
        assert_eq!(drain(&mut packets), expected);
        assert_eq!(packets.first_payload(), []);
        packets.remove_first();
    }

    #[test]
    fn duplicate_is_refused() {
        let mut packets = Packets::with_capacity(100);
        assert_eq!(packets.insert(packet(1), &[1]), Some(0));
        assert_eq!(packets.insert(packet(1), &[2]), None);
        assert_eq!(drain(&mut packets), [(1, vec![1])]);
    }

    #[test]
    fn oldest_go_when_bytes_or_places_run_out() {
        let mut packets = Packets::with_capacity(100);
        for sequence in 0..5 {
            assert_eq!(packets.insert(packet(sequence), &[0; 20]), Some(0));
        }
        assert_eq!(packets.insert(packet(5), &[0; 30]), Some(2));
        assert_eq!(packets.first(), Some(packet(2)));
        assert_eq!(packets.insert(packet(6), &[0; 101]), None);
        packets.clear();
        for sequence in 0..MOST_PACKETS as i64 {
            assert_eq!(packets.insert(packet(sequence), &[]), Some(0));
        }
        assert_eq!(packets.insert(packet(100), &[]), Some(1));
        assert_eq!((packets.len(), packets.first()), (MOST_PACKETS, Some(packet(1))));
    }

    #[test]
    fn payload_memory_stays_what_it_was() {
        let mut packets = Packets::with_capacity(4096);
        let room = packets.bytes.capacity();
        for sequence in 0..10_000 {
            packets.insert(packet(sequence ^ 3), &[0; 160]);
            if sequence % 7 > 2 {
                packets.remove_first();
            }
        }
        assert_eq!(packets.bytes.capacity(), room);
        packets.reserve(8192);
        assert!(packets.bytes.capacity() >= 8192);
    }
}
