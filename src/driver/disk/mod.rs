//! The disk thread: database, recordings, session logs, and what of them is kept.
//!
//! ```text
//! data_dir/branchline.db      history and registered contacts; .damaged: one that was set aside
//! data_dir/recordings/*       whole recordings
//! data_dir/unfinished/*       recordings under way
//! data_dir/logs/*.log         session logs
//! ```
//! Everything comes through one bounded queue, and nobody who sends waits. When it is full:
//!
//! | kind | room | full |
//! |---|---|---|
//! | log lines | 512 KiB | dropped, `log_lines_lost_total` |
//! | samples | 2.5 MiB | silence in their place, `recording_samples_lost_total` |
//! | history, contacts | 1 MiB, 1024 places of their own | dropped, `rows_lost_total` |
//! | history queries | 16 | refused, `history_refused_total` |
//! | beginnings and ends of recordings | the places left | known to the thread all the same |
//!
//! A batch gathers for 200 ms, or until somebody waits for an answer; a query sees all that was
//! sent before it.

mod database;
mod logs;
mod opus_file;
mod queue;
mod recordings;
mod sweep;
mod thread;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use self::database::Database;
use self::queue::Sender;
use super::data_dir::Lock;
use super::environment::unix_ms;
use crate::config;
use crate::storage::record::HistoryFilter;
use crate::storage::store::{Answer, HistoryPage, Opening, Operation};

/// What the disk thread is told.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    pub data_dir: PathBuf,
    pub storage: config::Storage,
}

/// Opens the data folder and starts the thread. The caller keeps other gateways off the folder.
///
/// # Errors
/// Where the folder cannot be used: says why and what to do.
pub fn spawn(
    options: DiskOptions,
    answers: smol::channel::Sender<Answer>,
) -> Result<(DiskHandle, Opening), String> {
    let folder = &options.data_dir;
    for name in ["", RECORDINGS, UNFINISHED, LOGS] {
        make_folder(&folder.join(name))?;
    }
    let (database, opening) = Database::open(&folder.join(DATABASE), unix_ms())?;
    let (sender, queue) = queue::queue();
    let thread = thread::DiskThread::new(options, database, queue, answers);
    let thread = std::thread::Builder::new()
        .name("disk".into())
        .stack_size(STACK_BYTES)
        .spawn(move || thread.run())
        .map_err(|error| format!("cannot start the disk thread: {error}"))?;
    Ok((DiskHandle { sender, thread: Arc::new(Mutex::new(Some(thread))) }, opening))
}

/// Reads the history of a data folder that no gateway uses at present.
///
/// # Errors
/// Where a gateway uses it after all, or the database cannot be read.
pub fn history_at_rest(folder: &Path, filter: &HistoryFilter) -> Result<HistoryPage, String> {
    let path = folder.join(DATABASE);
    if !path.exists() {
        return Ok(HistoryPage::default());
    }
    let _lock = Lock::take(folder)?;
    let (mut database, _) = Database::open(&path, unix_ms())?;
    database.history(filter, unix_ms())
}

/// The way to the disk thread, for any thread.
#[derive(Debug, Clone)]
pub struct DiskHandle {
    sender: Sender,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl DiskHandle {
    /// False: there is no room for it; counted by its kind. Never waits.
    ///
    /// A recording whose beginning or end finds no room gets its answer all the same.
    pub fn send(&self, operation: Operation) -> bool {
        self.sender.send(operation)
    }

    /// Samples of a recording, from a media thread. False: they become silence. Never waits.
    pub fn record(&self, recording: u64, samples: Vec<i16>) -> bool {
        self.sender.record(recording, samples)
    }

    /// Asks for history; `Answer::History` follows. False: too many wait already.
    pub fn query(&self, query: u64, filter: HistoryFilter) -> bool {
        self.send(Operation::History { query, filter })
    }

    /// Writes all that was sent before, ends the recordings under way, and waits for the thread.
    ///
    /// The last act of an orderly stop; what is sent afterwards is refused.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        self.sender.stop();
        if thread.join().is_err() {
            log::error!("the disk thread ended by a fault");
        }
    }
}

fn make_folder(folder: &Path) -> Result<(), String> {
    // Recordings are for the gateway's own user and group.
    let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.map_err(|error| {
        format!("cannot make {}: {error} ([gateway] data_dir must be writable)", folder.display())
    })
}

const DATABASE: &str = "branchline.db";
pub const RECORDINGS: &str = "recordings";
const UNFINISHED: &str = "unfinished";
pub const LOGS: &str = "logs";

/// SQLite asks for about 100 KiB at most with its parser.
const STACK_BYTES: usize = 512 << 10;

#[cfg(test)]
mod tests;
