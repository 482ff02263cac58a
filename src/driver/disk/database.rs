//! The database file: opened, set aside when damaged, written again when the disk was full.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::stats;
use crate::storage::record::{HistoryFilter, UnixMs};
use crate::storage::store::{Error, HistoryPage, Opening, Operation, Store};

/// The store and what it could not write yet.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// `None`: a new one could not be begun; tried again with the next batch.
    store: Option<Store>,
    /// Operations in order. Full: the oldest are lost, counted as `rows_lost_total`.
    waiting: Vec<Operation>,
    is_failing: bool,
}

impl Database {
    /// Opens the file, or begins one. A damaged one is set aside; on a full disk calls go on
    /// without history until there is room.
    ///
    /// # Errors
    /// Where the file can neither be used nor replaced: says what to do.
    pub fn open(path: &Path, now: UnixMs) -> Result<(Self, Opening), String> {
        Self::open_with_room(path, now, LEAST_ROOM)
    }

    fn open_with_room(
        path: &Path,
        now: UnixMs,
        least_room: u64,
    ) -> Result<(Self, Opening), String> {
        let mut database =
            Self { path: path.to_owned(), store: None, waiting: Vec::new(), is_failing: false };
        match open_or_replace(path, now) {
            Ok((store, opening)) => {
                database.store = Some(store);
                Ok((database, opening))
            }
            Err(Error::Unwritable(detail)) if room(path) < least_room => {
                database.failed(&detail);
                Ok((database, read_only(path, now)))
            }
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Writes operations, after those that wait. What the disk has no room for waits.
    pub fn write(&mut self, operations: &mut Vec<Operation>, now: UnixMs) {
        self.waiting.append(operations);
        if self.waiting.is_empty() {
            return;
        }
        match self.try_write(now) {
            Ok(()) => self.written(),
            Err(Error::Unwritable(detail)) => {
                self.failed(&detail);
                let surplus = self.waiting.len().saturating_sub(MOST_WAITING);
                self.waiting.drain(..surplus);
                stats::ROWS_LOST.add(surplus as u64);
            }
            Err(error) => {
                // The batch would fail again for ever.
                self.failed(&error.to_string());
                stats::ROWS_LOST.add(self.waiting.len() as u64);
                self.waiting.clear();
            }
        }
    }

    fn try_write(&mut self, now: UnixMs) -> Result<(), Error> {
        let detail = match self.write_waiting() {
            Err(Error::Corrupt(detail)) => detail,
            result => return result,
        };
        self.begin_anew(&detail, now)?;
        self.write_waiting()
    }

    fn write_waiting(&mut self) -> Result<(), Error> {
        match &mut self.store {
            Some(store) => store.write(&self.waiting),
            None => Err(Error::Corrupt("it could not be begun".into())),
        }
    }

    /// Leaves a damaged database for a new one.
    fn begin_anew(&mut self, detail: &str, now: UnixMs) -> Result<(), Error> {
        if self.store.take().is_some() {
            set_aside(&self.path, detail);
        }
        let (store, _) = open_or_replace(&self.path, now)?;
        self.store = Some(store);
        Ok(())
    }

    pub fn history(&mut self, filter: &HistoryFilter, now: UnixMs) -> Result<HistoryPage, String> {
        let store = self.store.as_ref().ok_or("the database is not there")?;
        let deadline = Instant::now() + QUERY_TIME;
        let result = store.history(filter, move || Instant::now() >= deadline);
        if let Err(Error::Corrupt(detail)) = &result {
            self.is_failing = true;
            if let Err(error) = self.begin_anew(detail, now) {
                log::error!("{}: {error}", self.path.display());
            }
        }
        result.map_err(|error| error.to_string())
    }

    /// One small step of retention; false when nothing is left to do.
    pub fn expire(&mut self, before: UnixMs) -> bool {
        let Some(store) = &mut self.store else { return false };
        match store.expire(before) {
            Ok(removed) => removed > 0,
            Err(error) => {
                self.failed(&error.to_string());
                false
            }
        }
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn written(&mut self) {
        self.waiting.clear();
        if std::mem::take(&mut self.is_failing) {
            log::info!("{} is written again", self.path.display());
        }
    }

    fn failed(&mut self, detail: &str) {
        stats::DISK_FAILURES.add(1);
        if !std::mem::replace(&mut self.is_failing, true) {
            log::error!("{}: {detail}: history is kept in memory for now", self.path.display());
        }
    }
}

fn open_or_replace(path: &Path, now: UnixMs) -> Result<(Store, Opening), Error> {
    let open = || Store::open(Connection::open(path)?, now);
    match open() {
        Err(Error::Corrupt(detail)) => {
            set_aside(path, &detail);
            open()
        }
        result => result,
    }
}

/// What a database says that cannot be opened for lack of room.
fn read_only(path: &Path, now: UnixMs) -> Opening {
    let read = || -> Result<Opening, Error> {
        let path = path.as_os_str().as_encoded_bytes();
        let path = percent_encoding::percent_encode(path, percent_encoding::NON_ALPHANUMERIC);
        // The log beside it is not read: that takes room too.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let uri = format!("file:{path}?immutable=1");
        Opening::read(&Connection::open_with_flags(uri, flags)?, now)
    };
    let mut opening = read().unwrap_or_default();
    // The sessions in the log have numbers too, which must not be given again.
    opening.last_session_id += SESSIONS_IN_LOG;
    opening
}

/// Bytes left on the disk; all, where it does not say.
fn room(path: &Path) -> u64 {
    let disk = path.parent().and_then(|folder| rustix::fs::statvfs(folder).ok());
    disk.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Out of the way, for a look at it later; one that was set aside before makes room.
fn set_aside(path: &Path, detail: &str) {
    stats::DATABASES_SET_ASIDE.add(1);
    let aside = with_suffix(path, ".damaged");
    log::error!(
        "{} is damaged ({detail}): it is kept as {}, and a new history begins",
        path.display(),
        aside.display()
    );
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (with_suffix(path, suffix), with_suffix(&aside, suffix));
        // Without the log a kept database would be read with the log of an older one.
        let _ = std::fs::remove_file(&to);
        // There need not be a log; where the database itself stays, opening it fails again.
        let _ = std::fs::rename(&from, &to);
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Operations kept while the disk is full: about 1 KiB each.
const MOST_WAITING: usize = 1000;

/// SQLite needs 32 KiB to share its log's index, and some for the log.
const LEAST_ROOM: u64 = 256 << 10;

/// The log is written back at 4 MiB; a row takes more than 40 bytes of it.
const SESSIONS_IN_LOG: u64 = 100_000;

/// A query that takes longer is given up: the disk thread has other work.
const QUERY_TIME: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::super::super::test_folder::TestFolder;
    use super::*;
    use crate::storage::record::SessionRecord;

    fn rows(ids: impl IntoIterator<Item = u64>) -> Vec<Operation> {
        let row = |id| SessionRecord { id, ..SessionRecord::default() };
        ids.into_iter().map(|id| Operation::EndSession(Box::new(row(id)))).collect()
    }

    fn total(database: &mut Database) -> u64 {
        database.history(&HistoryFilter { count: 1, ..Default::default() }, 0).unwrap().total
    }

    #[test]
    fn garbage_is_set_aside_and_a_new_one_begun() {
        let folder = TestFolder::new();
        let path = folder.path("a.db");
        std::fs::write(&path, "this is no database, it is a letter".repeat(100)).unwrap();
        let (mut database, opening) = Database::open(&path, 0).unwrap();
        assert_eq!(opening.last_session_id, 0);
        database.write(&mut rows([1]), 0);
        assert_eq!(total(&mut database), 1);
        let aside = std::fs::read(folder.path("a.db.damaged")).unwrap();
        assert!(aside.starts_with(b"this is no database"));
    }

    #[test]
    fn a_page_that_is_damaged_is_met_while_running() {
        let folder = TestFolder::new();
        let path = folder.path("a.db");
        let (mut database, _) = Database::open(&path, 0).unwrap();
        database.write(&mut rows(1..=500), 0);
        drop(database);
        let mut bytes = std::fs::read(&path).unwrap();
        // All pages but the first, which opening reads.
        bytes[4096..].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let (mut database, _) = Database::open(&path, 0).unwrap();
        database.write(&mut rows([501]), 0);
        assert_eq!(total(&mut database), 1);
        assert!(folder.path("a.db.damaged").exists());
    }

    #[test]
    fn a_full_disk_makes_rows_wait_until_there_is_room() {
        let folder = TestFolder::new();
        let path = folder.path("a.db");
        let (mut database, _) = Database::open(&path, 0).unwrap();
        let pages = |database: &mut Database, count: u32| {
            let store = database.store.take().unwrap();
            database.store = Some(store.with_most_pages(count));
        };
        pages(&mut database, 1);
        database.write(&mut rows(1..=500), 0);
        assert!(database.is_waiting());
        assert_eq!(total(&mut database), 0);
        pages(&mut database, 1_000_000);
        database.write(&mut rows([501]), 0);
        assert!(!database.is_waiting());
        assert_eq!(total(&mut database), 501);
    }

    #[test]
    fn what_waits_is_bounded_and_the_newest_stay() {
        let folder = TestFolder::new();
        let (mut database, _) = Database::open(&folder.path("a.db"), 0).unwrap();
        database.store = Some(database.store.take().unwrap().with_most_pages(1));
        let lost = stats::ROWS_LOST.value();
        database.write(&mut rows(1..=1500), 0);
        assert!(stats::ROWS_LOST.value() >= lost + 500);
        database.store = Some(database.store.take().unwrap().with_most_pages(1_000_000));
        database.write(&mut Vec::new(), 0);
        let page = database.history(&HistoryFilter { count: 1, ..Default::default() }, 0).unwrap();
        assert_eq!((page.total, page.sessions[0].id), (1000, 501));
    }

    #[test]
    fn a_start_on_a_full_disk_goes_on_without_history_until_there_is_room() {
        let folder = TestFolder::new();
        let path = folder.path("a b?.db");
        let (mut database, _) = Database::open(&path, 0).unwrap();
        database.write(&mut rows([7]), 0);
        drop(database);
        // Where the index of the log should be; with room on the disk that is an error.
        let blocker = with_suffix(&path, "-shm");
        std::fs::create_dir(&blocker).unwrap();
        assert!(Database::open(&path, 0).is_err());
        let (mut database, opening) = Database::open_with_room(&path, 0, u64::MAX).unwrap();
        assert_eq!(opening.last_session_id, 100_007);
        database.write(&mut rows([100_008]), 0);
        assert!(database.is_waiting());
        assert!(database.history(&HistoryFilter::default(), 0).is_err());
        std::fs::remove_dir(blocker).unwrap();
        database.write(&mut Vec::new(), 0);
        assert_eq!(total(&mut database), 2);
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_with_its_path() {
        let folder = TestFolder::new();
        let error = Database::open(&folder.path("missing/a.db"), 0).unwrap_err();
        assert!(error.contains("missing/a.db"), "{error}");
    }
}
