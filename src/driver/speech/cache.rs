//! Spoken texts on the disk: `data_dir/tts/<key>.wav`, kept over a restart.
//!
//! The file's time says when it was last heard, to a day; the longest unheard goes first.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::storage::retention::{Keep, KeptFile, Survey};

/// The folder of spoken texts.
#[derive(Debug)]
pub struct SpeechCache {
    folder: PathBuf,
    /// 0: nothing is kept.
    most_bytes: u64,
    /// A spoken text larger than this is none of ours.
    most_file_bytes: u64,
    /// `None`: the folder was not read yet.
    kept_bytes: Mutex<Option<u64>>,
    numbers: AtomicU64,
}

/// A file that an engine is to write; removed when it is not kept.
#[derive(Debug)]
pub struct Draft(PathBuf);

impl SpeechCache {
    pub fn new(folder: PathBuf, most_bytes: u64, most_file_bytes: u64) -> Self {
        let (kept_bytes, numbers) = (Mutex::new(None), AtomicU64::new(0));
        Self { folder, most_bytes, most_file_bytes, kept_bytes, numbers }
    }

    /// The file under a key, with its length.
    pub fn find(&self, key: &str) -> Option<(File, u64)> {
        let file = File::options().read(true).write(true).open(self.path(key)).ok()?;
        let now = SystemTime::now();
        let metadata = file.metadata().ok().filter(|data| data.len() <= self.most_file_bytes)?;
        let heard = metadata.modified().ok()?;
        // Not every time: each is a write to the flash.
        if now.duration_since(heard).is_ok_and(|since| since > HEARD_AGAIN)
            && let Err(error) = file.set_modified(now)
        {
            log::debug!("{key}: {error}");
        }
        Some((file, metadata.len()))
    }

    /// A new file for an engine to write.
    pub fn draft(&self) -> io::Result<Draft> {
        self.prepare()?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        // pico2wave insists on the suffix.
        Ok(Draft(self.folder.join(format!("{DRAFT}{number}.wav"))))
    }

    /// Keeps a file under its key, and makes room.
    pub fn keep(&self, key: &str, draft: Draft) -> io::Result<()> {
        let bytes = std::fs::metadata(draft.path())?.len();
        if bytes > self.most_bytes.min(self.most_file_bytes) {
            return Ok(());
        }
        std::fs::rename(draft.path(), self.path(key))?;
        let mut kept = self.kept_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let total = kept.unwrap_or(0).saturating_add(bytes);
        *kept = Some(total);
        if total > self.most_bytes {
            // Some more than needed, so that the next ones do not read the folder again.
            *kept = Some(self.shrink(self.most_bytes / 8 * 7)?);
        }
        Ok(())
    }

    /// A file that turned out to be no sound.
    pub fn forget(&self, key: &str) {
        log::warn!("{}: not readable, spoken again", self.path(key).display());
        if let Err(error) = std::fs::remove_file(self.path(key)) {
            log::warn!("{}: {error}", self.path(key).display());
        }
    }

    /// At first use: the folder, without what an earlier run left half written.
    fn prepare(&self) -> io::Result<()> {
        let mut kept = self.kept_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            std::fs::create_dir_all(&self.folder)?;
            for entry in std::fs::read_dir(&self.folder)?.flatten() {
                if entry.file_name().as_encoded_bytes().starts_with(DRAFT.as_bytes()) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            *kept = Some(self.shrink(self.most_bytes)?);
        }
        Ok(())
    }

    /// Removes the longest unheard until the rest fits; its size.
    fn shrink(&self, most_bytes: u64) -> io::Result<u64> {
        loop {
            let mut survey = Survey::new(Keep { bytes: most_bytes, age: Duration::MAX });
            let mut total = 0;
            for entry in std::fs::read_dir(&self.folder)?.flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                let Ok(name) = entry.file_name().into_string() else { continue };
                if name.starts_with(DRAFT) {
                    continue;
                }
                total += metadata.len();
                let heard = metadata.modified().ok();
                let heard = heard.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
                let modified = heard.map_or(0, |time| time.as_millis() as i64);
                survey.add(KeptFile { modified, name, bytes: metadata.len() });
            }
            let surplus = survey.surplus(0);
            for file in &surplus.files {
                std::fs::remove_file(self.folder.join(&file.name))?;
                total = total.saturating_sub(file.bytes);
            }
            if surplus.is_complete {
                return Ok(total);
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.wav"))
    }
}

impl Draft {
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// To be written by us.
    pub fn create(&mut self) -> io::Result<File> {
        File::create(&self.0)
    }

    /// What the engine wrote, with its length.
    pub fn open(&self) -> io::Result<(File, u64)> {
        let file = File::open(&self.0)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Kept under its key, or never written.
        let _ = std::fs::remove_file(&self.0);
    }
}

const DRAFT: &str = "draft-";
const HEARD_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::super::test_folder::TestFolder;
    use super::*;

    fn add(cache: &SpeechCache, key: &str, bytes: usize) {
        let draft = cache.draft().unwrap();
        std::fs::write(draft.path(), vec![7; bytes]).unwrap();
        cache.keep(key, draft).unwrap();
    }

    fn found(cache: &SpeechCache, key: &str) -> Option<Vec<u8>> {
        let (mut file, length) = cache.find(key)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, length);
        Some(bytes)
    }

    fn heard(folder: &TestFolder, key: &str, seconds: u64) {
        let file = File::options().append(true).open(folder.path(format!("{key}.wav"))).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn what_is_kept_is_found_also_after_a_restart() {
        let folder = TestFolder::new();
        let cache = SpeechCache::new(folder.path(""), 1000, 1000);
        assert_eq!(found(&cache, "a"), None);
        add(&cache, "a", 300);
        assert_eq!(found(&cache, "a"), Some(vec![7; 300]));
        let cache = SpeechCache::new(folder.path(""), 1000, 1000);
        assert_eq!(found(&cache, "a"), Some(vec![7; 300]));
        cache.forget("a");
        assert_eq!(found(&cache, "a"), None);
    }

    #[test]
    fn the_longest_unheard_makes_room() {
        let folder = TestFolder::new();
        let cache = SpeechCache::new(folder.path(""), 1000, 1000);
        for (key, seconds) in [("a", 30), ("b", 10), ("c", 20)] {
            add(&cache, key, 300);
            heard(&folder, key, seconds);
        }
        add(&cache, "d", 300);
        // 1200 bytes have to become 875 at most.
        let is_there = |key| folder.path(format!("{key}.wav")).exists();
        assert_eq!(["a", "b", "c", "d"].map(is_there), [true, false, false, true]);
    }

    #[test]
    fn hearing_makes_young() {
        let folder = TestFolder::new();
        let cache = SpeechCache::new(folder.path(""), 1000, 1000);
        for key in ["a", "b"] {
            add(&cache, key, 400);
            heard(&folder, key, 10);
        }
        cache.find("a").unwrap();
        add(&cache, "c", 400);
        assert!(cache.find("a").is_some() && cache.find("b").is_none());
    }

    #[test]
    fn a_lower_limit_and_what_was_half_written_are_seen_at_the_next_start() {
        let folder = TestFolder::new();
        let cache = SpeechCache::new(folder.path(""), 1000, 1000);
        for (key, seconds) in [("a", 10), ("b", 20)] {
            add(&cache, key, 400);
            heard(&folder, key, seconds);
        }
        std::fs::write(folder.path("draft-9.wav"), "x").unwrap();
        let cache = SpeechCache::new(folder.path(""), 500, 1000);
        drop(cache.draft().unwrap());
        assert!(!folder.path("a.wav").exists() && folder.path("b.wav").exists());
        assert!(!folder.path("draft-9.wav").exists());
    }

    #[test]
    fn without_room_nothing_is_kept_and_no_draft_stays() {
        let folder = TestFolder::new();
        let cache = SpeechCache::new(folder.path(""), 0, 1000);
        add(&cache, "a", 300);
        assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let folder = TestFolder::new();
        let cache = SpeechCache::new(folder.path(""), 5000, 1000);
        std::fs::create_dir_all(folder.path("")).unwrap();
        std::fs::write(folder.path("a.wav"), [7; 1001]).unwrap();
        assert_eq!(found(&cache, "a"), None);
    }
}
