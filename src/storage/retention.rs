//! Which files of a folder must go: those above an age, then the oldest above a size.
//!
//! The driver reads the folder in small steps and hands over every file; what is remembered is
//! bounded, however many there are.

use std::collections::BinaryHeap;
use std::time::Duration;

use super::record::UnixMs;

/// How much of a kind is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub bytes: u64,
    pub age: Duration,
}

/// A file as the folder shows it; the order is that of age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptFile {
    pub modified: UnixMs,
    pub name: String,
    pub bytes: u64,
}

impl KeptFile {
    /// A file whose name may say how long it is to be kept at least (see
    /// [`super::recording::file_name`]): it counts as so much younger.
    pub fn with_hint(modified: UnixMs, name: String, bytes: u64, keep: Keep) -> Self {
        let more = super::recording::wanted_age(&name).map_or(0, |wanted| {
            UnixMs::try_from(wanted.saturating_sub(keep.age).as_millis()).unwrap_or(UnixMs::MAX)
        });
        Self { modified: modified.saturating_add(more), name, bytes }
    }
}

/// One reading of a folder.
#[derive(Debug)]
pub struct Survey {
    keep: Keep,
    total_bytes: u64,
    /// The oldest so far, the youngest of them on top. Full: the youngest makes room, and the
    /// next survey meets it again.
    oldest: BinaryHeap<KeptFile>,
}

impl Survey {
    pub fn new(keep: Keep) -> Self {
        Self { keep, total_bytes: 0, oldest: BinaryHeap::new() }
    }

    pub fn add(&mut self, file: KeptFile) {
        self.total_bytes = self.total_bytes.saturating_add(file.bytes);
        if self.oldest.len() < MOST_FILES {
            self.oldest.push(file);
        } else if self.oldest.peek().is_some_and(|youngest| file < *youngest) {
            self.oldest.pop();
            self.oldest.push(file);
        }
    }

    /// What must go at `now`, the oldest first.
    pub fn surplus(self, now: UnixMs) -> Surplus {
        let is_whole = self.oldest.len() < MOST_FILES;
        let age = i64::try_from(self.keep.age.as_millis()).unwrap_or(i64::MAX);
        let too_old = now.saturating_sub(age);
        let mut left = self.total_bytes;
        let mut files = self.oldest.into_sorted_vec();
        let is_surplus = |file: &KeptFile| {
            let goes = file.modified < too_old || left > self.keep.bytes;
            left = left.saturating_sub(file.bytes);
            goes
        };
        let count = files.iter().map(is_surplus).take_while(|goes| *goes).count();
        let is_complete = is_whole || count < files.len();
        files.truncate(count);
        Surplus { files, is_complete }
    }
}

/// What a survey found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surplus {
    pub files: Vec<KeptFile>,
    /// False: there may be more; survey again when these are gone.
    pub is_complete: bool,
}

/// Files that one survey can name: 256 names of 60 bytes are 32 KiB.
const MOST_FILES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep { bytes: 1000, age: Duration::from_secs(10) };

    fn surplus(files: &[(UnixMs, u64)]) -> Vec<UnixMs> {
        let mut survey = Survey::new(KEEP);
        for (modified, bytes) in files {
            survey.add(KeptFile { modified: *modified, name: modified.to_string(), bytes: *bytes });
        }
        let surplus = survey.surplus(20_000);
        assert!(surplus.is_complete);
        surplus.files.iter().map(|file| file.modified).collect()
    }

    #[test]
    fn files_above_the_age_go() {
        assert_eq!(surplus(&[(10_000, 1), (9_999, 1), (3, 1)]), [3, 9_999]);
    }

    #[test]
    fn a_file_is_kept_for_as_long_as_its_name_says() {
        let year = 365 * 86_400_000;
        let hinted = |name: &str, modified| KeptFile::with_hint(modified, name.into(), 1, KEEP);
        let mut survey = Survey::new(KEEP);
        survey.add(hinted("1-1-ab.wav", 0));
        survey.add(hinted("1-1-ab-1y.wav", 1));
        survey.add(hinted("1-1-ab-6m.wav", 2));
        let names = |surplus: Surplus| -> Vec<String> {
            surplus.files.into_iter().map(|file| file.name).collect()
        };
        assert_eq!(names(survey.surplus(year - 1)), ["1-1-ab.wav", "1-1-ab-6m.wav"]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        assert_eq!(
            surplus(&[(19_000, 400), (18_000, 400), (17_000, 100), (16_000, 200)]),
            [16_000]
        );
        assert_eq!(surplus(&[(19_000, 400), (18_000, 600)]), []);
        assert_eq!(surplus(&[(19_000, 2000)]), [19_000]);
    }

    #[test]
    fn a_file_from_the_future_is_young() {
        assert_eq!(surplus(&[(i64::MAX, 1)]), []);
    }

    #[test]
    fn more_files_than_a_survey_names_take_another() {
        let mut survey = Survey::new(KEEP);
        for place in 0..1000 {
            survey.add(KeptFile { modified: 999 - place, name: String::new(), bytes: 0 });
        }
        let surplus = survey.surplus(20_000);
        assert!(!surplus.is_complete);
        let modified: Vec<UnixMs> = surplus.files.iter().map(|file| file.modified).collect();
        assert_eq!(modified, (0..256).collect::<Vec<_>>());
    }
}
