//! Removes files of a folder by age and size, in small steps between other work.

use std::fs::ReadDir;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::stats;
use crate::storage::record::UnixMs;
use crate::storage::retention::{Keep, KeptFile, Survey};

/// Keeps one folder within its limits.
#[derive(Debug)]
pub struct Sweep {
    folder: PathBuf,
    keep: Keep,
    /// Bytes that came since the last survey.
    grown_bytes: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Resting { until: Instant },
    Reading { folder: ReadDir, survey: Survey },
    Removing { files: std::vec::IntoIter<KeptFile>, is_complete: bool },
}

impl Sweep {
    pub fn new(now: Instant, folder: PathBuf, keep: Keep) -> Self {
        Self { folder, keep, grown_bytes: 0, stage: Stage::Resting { until: now } }
    }

    /// The folder has so much more.
    pub fn grew(&mut self, bytes: u64) {
        self.grown_bytes = self.grown_bytes.saturating_add(bytes);
    }

    /// A few milliseconds of work; true when there is more at once.
    pub fn step(&mut self, now: Instant, unix_ms: UnixMs) -> bool {
        let resting = Stage::Resting { until: now + PAUSE };
        self.stage = match std::mem::replace(&mut self.stage, resting) {
            Stage::Resting { until } if now < until && !self.has_grown() => {
                self.stage = Stage::Resting { until };
                return false;
            }
            Stage::Resting { .. } => match std::fs::read_dir(&self.folder) {
                Ok(folder) => {
                    self.grown_bytes = 0;
                    Stage::Reading { folder, survey: Survey::new(self.keep) }
                }
                Err(error) => {
                    log::error!("{}: {error}", self.folder.display());
                    return false;
                }
            },
            Stage::Reading { folder, survey } => read(folder, survey, self.keep, unix_ms),
            Stage::Removing { files, is_complete } => match self.remove(files) {
                Some(files) => Stage::Removing { files, is_complete },
                None if is_complete => return false,
                None => Stage::Resting { until: now },
            },
        };
        true
    }

    fn has_grown(&self) -> bool {
        self.grown_bytes > self.keep.bytes / GROWTH
    }

    fn remove(
        &self,
        mut files: std::vec::IntoIter<KeptFile>,
    ) -> Option<std::vec::IntoIter<KeptFile>> {
        for file in files.by_ref().take(REMOVED_PER_STEP) {
            let path = self.folder.join(&file.name);
            match std::fs::remove_file(&path) {
                Ok(()) => stats::FILES_EXPIRED.add(1),
                Err(error) => log::warn!("{}: {error}", path.display()),
            }
        }
        (files.len() > 0).then_some(files)
    }
}

fn read(mut folder: ReadDir, mut survey: Survey, keep: Keep, unix_ms: UnixMs) -> Stage {
    for _ in 0..READ_PER_STEP {
        let Some(entry) = folder.next() else {
            let surplus = survey.surplus(unix_ms);
            let (files, is_complete) = (surplus.files.into_iter(), surplus.is_complete);
            return Stage::Removing { files, is_complete };
        };
        // What vanished meanwhile needs no place.
        let Ok(entry) = entry else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        let Ok(name) = entry.file_name().into_string() else { continue };
        if metadata.is_file() {
            let modified = metadata.modified().map_or(unix_ms, unix_ms_of);
            survey.add(KeptFile::with_hint(modified, name, metadata.len(), keep));
        }
    }
    Stage::Reading { folder, survey }
}

fn unix_ms_of(time: SystemTime) -> UnixMs {
    let since = |duration: Duration| UnixMs::try_from(duration.as_millis()).unwrap_or(UnixMs::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}

/// Between two surveys, unless the folder grew by a part of its limit.
const PAUSE: Duration = Duration::from_secs(15 * 60);
const GROWTH: u64 = 16;
const READ_PER_STEP: usize = 64;
const REMOVED_PER_STEP: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::super::test_folder::TestFolder;
    use super::*;

    /// Runs a sweep until it rests; the names that are left, sorted.
    fn swept(sweep: &mut Sweep, now: Instant, unix_ms: UnixMs) -> Vec<String> {
        while sweep.step(now, unix_ms) {}
        let entries = std::fs::read_dir(&sweep.folder).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn add(folder: &TestFolder, name: &str, bytes: usize, modified: UnixMs) {
        std::fs::write(folder.path(name), vec![0; bytes]).unwrap();
        let file = std::fs::File::options().append(true).open(folder.path(name)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(modified as u64);
        file.set_modified(time).unwrap();
    }

    const KEEP: Keep = Keep { bytes: 1600, age: Duration::from_secs(1000) };

    #[test]
    fn files_go_by_age_and_size_and_folders_stay() {
        let folder = TestFolder::new();
        add(&folder, "old", 10, 1_000_000);
        add(&folder, "a", 1000, 3_000_000);
        add(&folder, "b", 500, 3_000_001);
        add(&folder, "c", 1000, 3_000_002);
        std::fs::create_dir(folder.path("folder")).unwrap();
        let now = Instant::now();
        let mut sweep = Sweep::new(now, folder.path(""), KEEP);
        assert_eq!(swept(&mut sweep, now, 3_000_003), ["b", "c", "folder"]);
    }

    #[test]
    fn many_files_go_over_several_surveys() {
        let folder = TestFolder::new();
        for number in 0..700 {
            add(&folder, &format!("{number:03}"), 100, 3_000_000 + number);
        }
        let now = Instant::now();
        let mut sweep = Sweep::new(now, folder.path(""), KEEP);
        let left = swept(&mut sweep, now, 3_001_000);
        assert_eq!((left.len(), left[0].as_str()), (16, "684"));
    }

    #[test]
    fn it_rests_until_time_has_passed_or_the_folder_has_grown() {
        let folder = TestFolder::new();
        let now = Instant::now();
        let mut sweep = Sweep::new(now, folder.path(""), KEEP);
        assert_eq!(swept(&mut sweep, now, 0), [] as [String; 0]);
        assert!(!sweep.step(now + PAUSE - Duration::from_secs(1), 0));
        sweep.grew(100);
        assert!(!sweep.step(now, 0));
        sweep.grew(1);
        assert!(sweep.step(now, 0));
        swept(&mut sweep, now, 0);
        assert!(sweep.step(now + PAUSE, 0));
    }

    #[test]
    fn a_folder_that_is_gone_is_tried_again_later() {
        let now = Instant::now();
        let mut sweep = Sweep::new(now, "/nonexistent/logs".into(), KEEP);
        assert!(!sweep.step(now, 0));
        assert!(!sweep.step(now, 0));
    }
}
