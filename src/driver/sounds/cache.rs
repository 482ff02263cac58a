//! Decoded sounds in memory: those that play and, as far as there is room, those that did.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::media::clip::Clip;
use crate::stats;

/// What tells one sound from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A file as it was: one that is written anew is another sound.
    File { name: String, modified: Option<SystemTime>, bytes: u64 },
    /// Section 1.6 of the VoxEngine reference: what is fetched without a body is known by its URL.
    Url { method: String, url: String, body: Vec<u8> },
    /// Hash of a spoken text.
    Speech(String),
}

/// Invariant: `bytes` is the sum over all clips, those in players' hands included.
///
/// Full: the longest unheard that nobody plays makes room; if all are being played, the new one
/// is refused, counted as `sounds_refused_total`.
#[derive(Debug)]
pub struct ClipCache {
    most_bytes: usize,
    bytes: usize,
    entries: HashMap<Key, Entry>,
    /// Expired while being played.
    retired: Vec<Arc<Clip>>,
    /// Counts uses: the smallest is the longest unheard.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    clip: Arc<Clip>,
    last_use: u64,
    loaded: Instant,
}

impl ClipCache {
    pub fn new(most_bytes: usize) -> Self {
        Self { most_bytes, bytes: 0, entries: HashMap::new(), retired: Vec::new(), uses: 0 }
    }

    pub fn get(&mut self, now: Instant, key: &Key) -> Option<Arc<Clip>> {
        let entry = self.entries.get_mut(key)?;
        if now.saturating_duration_since(entry.loaded) >= LIFE {
            let entry = self.entries.remove(key)?;
            self.retired.push(entry.clip);
            return None;
        }
        self.uses += 1;
        entry.last_use = self.uses;
        Some(entry.clip.clone())
    }

    /// Takes a clip into the cache.
    ///
    /// # Errors
    /// For the script, where there is no room for it.
    pub fn insert(&mut self, now: Instant, key: Key, clip: Clip) -> Result<Arc<Clip>, String> {
        let bytes = clip_bytes(&clip);
        self.release_retired();
        while self.bytes.saturating_add(bytes) > self.most_bytes
            || self.entries.len() >= MOST_ENTRIES
        {
            if !self.release_longest_unheard() {
                stats::SOUNDS_REFUSED.add(1);
                return Err("no memory for another sound ([limits] sound_cache_mib)".into());
            }
        }
        let clip = Arc::new(clip);
        self.uses += 1;
        self.bytes += bytes;
        let entry = Entry { clip: clip.clone(), last_use: self.uses, loaded: now };
        if let Some(older) = self.entries.insert(key, entry) {
            self.retired.push(older.clip);
        }
        Ok(clip)
    }

    fn release_longest_unheard(&mut self) -> bool {
        let unplayed = self.entries.iter().filter(|(_, entry)| Arc::strong_count(&entry.clip) == 1);
        let Some(key) =
            unplayed.min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone())
        else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&key) {
            self.bytes -= clip_bytes(&entry.clip);
        }
        true
    }

    fn release_retired(&mut self) {
        let bytes = &mut self.bytes;
        self.retired.retain(|clip| {
            let is_played = Arc::strong_count(clip) > 1;
            if !is_played {
                *bytes -= clip_bytes(clip);
            }
            is_played
        });
    }
}

fn clip_bytes(clip: &Clip) -> usize {
    ENTRY_BYTES + clip.bytes()
}

/// Section 1.6: two weeks.
const LIFE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// Each use looks through them when there is no room.
const MOST_ENTRIES: usize = 1000;
/// Key, entry and clip without its samples.
const ENTRY_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::Rate;

    /// What a clip of 500 samples counts for.
    fn unit() -> usize {
        clip_bytes(&clip())
    }

    fn key(name: &str) -> Key {
        Key::Speech(name.into())
    }

    fn clip() -> Clip {
        Clip::whole(Rate::Narrow, &[0; 500])
    }

    #[test]
    fn the_longest_unheard_makes_room() {
        let now = Instant::now();
        let mut cache = ClipCache::new(3 * unit());
        for name in ["a", "b", "c"] {
            cache.insert(now, key(name), clip()).unwrap();
        }
        assert!(cache.get(now, &key("a")).is_some());
        cache.insert(now, key("d"), clip()).unwrap();
        let is_there = ["a", "b", "c", "d"].map(|name| cache.get(now, &key(name)).is_some());
        assert_eq!(is_there, [true, false, true, true]);
        assert_eq!(cache.bytes, 3 * unit());
    }

    #[test]
    fn what_plays_stays_and_too_much_of_it_refuses_the_next() {
        let now = Instant::now();
        let mut cache = ClipCache::new(2 * unit());
        let playing = ["a", "b"].map(|name| cache.insert(now, key(name), clip()).unwrap());
        let error = cache.insert(now, key("c"), clip()).unwrap_err();
        assert!(error.contains("sound_cache_mib"), "{error}");
        drop(playing);
        assert!(cache.insert(now, key("c"), clip()).is_ok());
        assert!(cache.insert(now, key("huge"), Clip::whole(Rate::Narrow, &[0; 9999])).is_err());
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn two_weeks_later_a_sound_is_loaded_anew_and_the_old_one_counts_while_it_plays() {
        let now = Instant::now();
        let later = now + LIFE;
        let mut cache = ClipCache::new(2 * unit());
        let playing = cache.insert(now, key("a"), clip()).unwrap();
        assert!(cache.get(later - Duration::from_secs(1), &key("a")).is_some());
        assert!(cache.get(later, &key("a")).is_none());
        let _new = cache.insert(later, key("a"), clip()).unwrap();
        assert!(cache.insert(later, key("b"), clip()).is_err());
        drop(playing);
        assert!(cache.insert(later, key("b"), clip()).is_ok());
    }

    #[test]
    fn entries_are_bounded_however_short_they_are() {
        let now = Instant::now();
        let mut cache = ClipCache::new(usize::MAX);
        for number in 0..1200 {
            cache.insert(now, key(&number.to_string()), clip()).unwrap();
        }
        assert_eq!(cache.entries.len(), 1000);
        assert_eq!(cache.bytes, 1000 * unit());
    }
}
