//! Decoded sounds in memory: those that play, those that still grow and, as far as there is room,
//! those that did play.
//!
//! Shared with the threads that decode; none of them holds its lock for longer than a look-up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::freshness::{Freshness, Validator};
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

/// Invariant: `bytes` is the sum over all clips, those in players' hands included; the last one to
/// let go of a clip is the cache, so that no media thread gives memory back.
///
/// Full: the longest unheard that nobody plays makes room; if all are being played, the new one
/// is refused, counted as `sounds_refused_total`.
#[derive(Debug)]
pub struct ClipCache {
    sounds: Mutex<Sounds>,
}

#[derive(Debug)]
struct Sounds {
    most_bytes: usize,
    bytes: usize,
    held: HashMap<Id, Held>,
    keys: HashMap<Key, Id>,
    ids: u64,
    /// Counts uses: the smallest is the longest unheard.
    uses: u64,
}

/// A clip of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(u64);

#[derive(Debug)]
struct Held {
    clip: Arc<Clip>,
    bytes: usize,
    last_use: u64,
    /// Under which it is found; `None`: by nobody any more.
    key: Option<Key>,
    fresh_until: Instant,
    validator: Option<Validator>,
}

/// What there is under a key.
#[derive(Debug)]
pub enum Found {
    Fresh(Arc<Clip>),
    /// To be played only if the server says that it is still the same, or nothing.
    Stale(Arc<Clip>, Validator),
    Nothing,
}

impl ClipCache {
    pub fn new(most_bytes: usize) -> Self {
        let sounds = Sounds {
            most_bytes,
            bytes: 0,
            held: HashMap::new(),
            keys: HashMap::new(),
            ids: 0,
            uses: 0,
        };
        Self { sounds: Mutex::new(sounds) }
    }

    pub fn find(&self, now: Instant, key: &Key) -> Found {
        self.lock().find(now, key)
    }

    /// Takes a clip in, found by nobody yet.
    ///
    /// # Errors
    /// For the script, where there is no room for it.
    pub fn hold(&self, clip: Arc<Clip>) -> Result<Id, String> {
        let mut sounds = self.lock();
        sounds.forget_unheard();
        let bytes = HELD_BYTES + clip.bytes();
        sounds.make_room(bytes)?;
        sounds.bytes += bytes;
        sounds.ids += 1;
        let id = Id(sounds.ids);
        let last_use = sounds.next_use();
        let fresh_until = Instant::now();
        let held = Held { clip, bytes, last_use, key: None, fresh_until, validator: None };
        sounds.held.insert(id, held);
        Ok(id)
    }

    /// A clip is about to grow.
    ///
    /// # Errors
    /// For the script, where there is no room for that.
    pub fn grow(&self, id: Id, bytes: usize) -> Result<(), String> {
        if bytes == 0 {
            return Ok(());
        }
        let mut sounds = self.lock();
        sounds.make_room(bytes)?;
        if let Some(held) = sounds.held.get_mut(&id) {
            held.bytes += bytes;
            sounds.bytes += bytes;
        }
        Ok(())
    }

    /// The clip is found under a key from now on, in the place of what was.
    pub fn name(&self, id: Id, key: Key, freshness: Freshness) {
        self.lock().name(id, key, freshness);
    }

    /// What is under a key goes on to be found.
    pub fn refresh(&self, key: &Key, fresh_until: Instant) {
        let mut sounds = self.lock();
        let id = sounds.keys.get(key).copied();
        if let Some(held) = id.and_then(|id| sounds.held.get_mut(&id)) {
            held.fresh_until = fresh_until;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sounds> {
        // A fault in another thread left the tables as they were.
        self.sounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sounds {
    fn find(&mut self, now: Instant, key: &Key) -> Found {
        let Some(&id) = self.keys.get(key) else { return Found::Nothing };
        let last_use = self.next_use();
        let Some(held) = self.held.get_mut(&id) else { return Found::Nothing };
        let is_fresh = now < held.fresh_until;
        match (&held.validator, held.clip.error()) {
            (_, None) if is_fresh => {
                held.last_use = last_use;
                Found::Fresh(held.clip.clone())
            }
            (Some(validator), None) => {
                held.last_use = last_use;
                Found::Stale(held.clip.clone(), validator.clone())
            }
            _ => {
                self.unname(id);
                Found::Nothing
            }
        }
    }

    fn name(&mut self, id: Id, key: Key, freshness: Freshness) {
        let older = self.keys.insert(key.clone(), id);
        if let Some(held) = older.and_then(|older| self.held.get_mut(&older)) {
            held.key = None;
        }
        match self.held.get_mut(&id) {
            Some(held) => {
                held.fresh_until = freshness.until;
                held.validator = freshness.validator;
                held.key = Some(key);
            }
            None => drop(self.keys.remove(&key)),
        }
    }

    fn unname(&mut self, id: Id) {
        if let Some(key) = self.held.get_mut(&id).and_then(|held| held.key.take()) {
            self.keys.remove(&key);
        }
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), String> {
        while self.bytes.saturating_add(bytes) > self.most_bytes || self.held.len() >= MOST_ENTRIES
        {
            if !self.forget_longest_unheard() {
                stats::SOUNDS_REFUSED.add(1);
                return Err("no memory for another sound ([limits] sound_cache_mib)".into());
            }
        }
        Ok(())
    }

    fn forget_longest_unheard(&mut self) -> bool {
        let unheard = self.held.iter().filter(|(_, held)| held.is_unheard());
        let Some(id) = unheard.min_by_key(|(_, held)| held.last_use).map(|(id, _)| *id) else {
            return false;
        };
        self.unname(id);
        if let Some(held) = self.held.remove(&id) {
            self.bytes -= held.bytes;
        }
        true
    }

    /// Those that nobody can find any more.
    fn forget_unheard(&mut self) {
        let bytes = &mut self.bytes;
        self.held.retain(|_, held| {
            let is_kept = held.key.is_some() || !held.is_unheard();
            if !is_kept {
                *bytes -= held.bytes;
            }
            is_kept
        });
    }
}

impl Held {
    /// Nobody plays or writes it.
    fn is_unheard(&self) -> bool {
        Arc::strong_count(&self.clip) == 1
    }
}

/// Each use looks through them when there is no room.
const MOST_ENTRIES: usize = 1000;
/// Key, entry and places in the tables.
const HELD_BYTES: usize = 512;
/// Section 1.6: two weeks.
pub const LIFE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::Rate;

    fn key(name: &str) -> Key {
        Key::Speech(name.into())
    }

    fn clip(samples: usize) -> Arc<Clip> {
        Arc::new(Clip::whole(Rate::Narrow, &vec![0; samples]))
    }

    /// What a clip of 500 samples counts for.
    fn unit() -> usize {
        HELD_BYTES + clip(500).bytes()
    }

    fn add(cache: &ClipCache, now: Instant, name: &str) -> Result<Arc<Clip>, String> {
        let clip = clip(500);
        let id = cache.hold(clip.clone())?;
        cache.name(id, key(name), Freshness { until: now + LIFE, validator: None });
        Ok(clip)
    }

    fn is_there(cache: &ClipCache, now: Instant, name: &str) -> bool {
        matches!(cache.find(now, &key(name)), Found::Fresh(_))
    }

    #[test]
    fn the_longest_unheard_makes_room() {
        let now = Instant::now();
        let cache = ClipCache::new(3 * unit());
        for name in ["a", "b", "c"] {
            add(&cache, now, name).unwrap();
        }
        assert!(is_there(&cache, now, "a"));
        add(&cache, now, "d").unwrap();
        let found = ["a", "b", "c", "d"].map(|name| is_there(&cache, now, name));
        assert_eq!(found, [true, false, true, true]);
        assert_eq!(cache.lock().bytes, 3 * unit());
    }

    #[test]
    fn what_plays_stays_and_too_much_of_it_refuses_the_next() {
        let now = Instant::now();
        let cache = ClipCache::new(2 * unit());
        let playing = ["a", "b"].map(|name| add(&cache, now, name).unwrap());
        let error = add(&cache, now, "c").unwrap_err();
        assert!(error.contains("sound_cache_mib"), "{error}");
        drop(playing);
        assert!(add(&cache, now, "c").is_ok());
        assert!(cache.hold(clip(9999)).is_err());
        assert_eq!(cache.lock().bytes, 0);
        assert!(cache.lock().keys.is_empty());
    }

    #[test]
    fn two_weeks_later_a_sound_is_loaded_anew_and_the_old_one_counts_while_it_plays() {
        let now = Instant::now();
        let later = now + LIFE;
        let cache = ClipCache::new(2 * unit());
        let playing = add(&cache, now, "a").unwrap();
        assert!(is_there(&cache, later - Duration::from_secs(1), "a"));
        assert!(!is_there(&cache, later, "a"));
        let _new = add(&cache, later, "a").unwrap();
        assert!(add(&cache, later, "b").is_err());
        drop(playing);
        assert!(add(&cache, later, "b").is_ok());
    }

    #[test]
    fn a_sound_that_can_be_asked_about_is_kept_when_it_is_stale() {
        let now = Instant::now();
        let cache = ClipCache::new(1 << 20);
        let id = cache.hold(clip(10)).unwrap();
        let validator = Validator { etag: Some("\"1\"".into()), modified: None };
        let until = now + Duration::from_secs(60);
        cache.name(id, key("a"), Freshness { until, validator: Some(validator.clone()) });
        assert!(is_there(&cache, now, "a"));
        match cache.find(until, &key("a")) {
            Found::Stale(_, stale) => assert_eq!(stale, validator),
            found => panic!("{found:?}"),
        }
        cache.refresh(&key("a"), until + Duration::from_secs(60));
        assert!(is_there(&cache, until, "a"));
    }

    #[test]
    fn a_growing_sound_counts_as_it_grows_and_a_broken_one_is_not_found() {
        let now = Instant::now();
        let cache = ClipCache::new(100_000);
        let (clip, mut writer) = Clip::growing(Rate::Narrow, None, 1_000_000);
        let id = cache.hold(clip.clone()).unwrap();
        cache.name(id, key("a"), Freshness { until: now + LIFE, validator: None });
        let before = cache.lock().bytes;
        cache.grow(id, writer.growth(5000)).unwrap();
        writer.append(&[0; 5000]);
        assert_eq!(cache.lock().bytes, HELD_BYTES + clip.bytes());
        assert!(cache.lock().bytes > before + 10_000);
        assert!(is_there(&cache, now, "a"));
        assert!(cache.grow(id, 100_000).is_err());
        writer.finish(Err("no memory".into()));
        assert!(!is_there(&cache, now, "a"));
    }

    #[test]
    fn entries_are_bounded_however_short_they_are() {
        let now = Instant::now();
        let cache = ClipCache::new(usize::MAX);
        for number in 0..1200 {
            add(&cache, now, &number.to_string()).unwrap();
        }
        assert_eq!(cache.lock().held.len(), 1000);
        assert_eq!(cache.lock().keys.len(), 1000);
        assert_eq!(cache.lock().bytes, 1000 * unit());
    }
}
