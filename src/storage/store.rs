//! The database behind the disk thread.
//!
//! Sessions, calls, recordings and registered contacts in SQLite. Opening looks at no more than
//! the last session, those that were running and the contacts, however long the history is.

use rusqlite::{Connection, Transaction};

pub use super::error::Error;
use super::record::{HistoryFilter, SessionRecord, StoredBinding, UnixMs};
use super::{bindings, history, schema};

/// The open database.
///
/// Statements are prepared once per batch or query: that costs some 10 us each and keeps no
/// memory between batches, which come a few times a second at most.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Brings the tables up to date, ends sessions that a crash left running, forgets expired
    /// contacts.
    pub fn open(mut connection: Connection, now: UnixMs) -> Result<(Self, Opening), Error> {
        connection.execute_batch(schema::SETTINGS)?;
        schema::migrate(&mut connection)?;
        let abandoned = history::close_abandoned(&connection)?;
        if abandoned > 0 {
            log::warn!("{abandoned} sessions were running when the gateway last stopped");
        }
        bindings::remove_expired(&connection, now)?;
        let opening = Opening::read(&connection, now)?;
        Ok((Self { connection }, opening))
    }

    /// Applies the operations of the database in one transaction; all or none.
    ///
    /// With a contact among them the batch is on the disk when this returns; history alone
    /// survives a crash of the gateway, but may lose its last seconds in a power cut.
    pub fn write(&mut self, operations: &[Operation]) -> Result<(), Error> {
        let is_contact = |operation: &Operation| matches!(operation, Operation::Bindings { .. });
        let synchronous = if operations.iter().any(is_contact) { "FULL" } else { "NORMAL" };
        self.connection.execute_batch(&format!("PRAGMA synchronous = {synchronous}"))?;
        let transaction = self.connection.transaction()?;
        write_all(&transaction, operations)?;
        transaction.commit()?;
        Ok(())
    }

    /// Finds sessions; gives up with [`Error::Late`] once `is_late` says so.
    pub fn history(
        &self,
        filter: &HistoryFilter,
        is_late: impl FnMut() -> bool + Send + 'static,
    ) -> Result<HistoryPage, Error> {
        self.connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_late))?;
        let page = history::find(&self.connection, filter);
        self.connection.progress_handler(0, None::<fn() -> bool>)?;
        page
    }

    /// Removes a few sessions older than `before`; how many. None: there are no more.
    pub fn expire(&mut self, before: UnixMs) -> Result<usize, Error> {
        history::expire(&mut self.connection, before)
    }

    /// As if the disk had room for no more than this many pages.
    #[cfg(test)]
    pub fn with_most_pages(self, pages: u32) -> Self {
        let set = |_: &rusqlite::Row<'_>| Ok(());
        let statement = format!("PRAGMA max_page_count = {pages}");
        self.connection.query_row(&statement, [], set).expect("SQLite takes any count");
        self
    }
}

fn write_all(transaction: &Transaction<'_>, operations: &[Operation]) -> Result<(), Error> {
    let mut history = history::Writer::prepare(transaction)?;
    for operation in operations {
        match operation {
            Operation::BeginSession(session) | Operation::EndSession(session) => {
                history.write(session)?;
            }
            Operation::Bindings { user, bindings } => {
                bindings::replace(transaction, user, bindings)?;
            }
            // The driver's: queries and files.
            Operation::History { .. }
            | Operation::Log { .. }
            | Operation::CloseLog { .. }
            | Operation::OpenRecording { .. }
            | Operation::AppendRecording { .. }
            | Operation::FinishRecording { .. } => {}
        }
    }
    Ok(())
}

/// Steps of SQLite's machine between two looks at the time: well under a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// What the rest asks for; applied in order.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A session began: a row without end, so that a crash leaves a trace.
    BeginSession(Box<SessionRecord>),
    /// The whole session with its calls and recordings, in the place of the first row.
    EndSession(Box<SessionRecord>),
    /// All contacts of one user, in the place of what was kept.
    Bindings {
        user: String,
        bindings: Vec<StoredBinding>,
    },
    /// A query; `Answer::History` follows.
    History {
        query: u64,
        filter: HistoryFilter,
    },
    /// One line for a session's log file (a name inside `data_dir/logs`), time stamped already.
    Log {
        file: String,
        line: String,
    },
    /// The session's log is complete: close its file.
    CloseLog {
        file: String,
    },
    /// Begin a file (a name inside `data_dir/recordings`, whose end says what it holds), apart from
    /// the others until `FinishRecording`.
    OpenRecording {
        recording: u64,
        file: String,
        channels: u16,
        rate: u32,
    },
    /// Interleaved samples, in order.
    AppendRecording {
        recording: u64,
        samples: Vec<i16>,
    },
    FinishRecording {
        recording: u64,
    },
}

#[derive(Debug, Clone)]
pub enum Answer {
    History {
        query: u64,
        result: Result<HistoryPage, String>,
    },
    /// The file has its final name; its size.
    RecordingFinished {
        recording: u64,
        file_bytes: u64,
    },
    /// Disk full or not writable: the recording is lost from here on, calls go on.
    RecordingFailed {
        recording: u64,
        error: String,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryPage {
    pub sessions: Vec<SessionRecord>,
    /// Rows that match without `count` and `offset`.
    pub total: u64,
}

impl HistoryPage {
    /// Sessions that ended before `before` have no log any more: their URL is empty (Management
    /// API reference, section 5.1).
    pub fn forget_logs_before(&mut self, before: UnixMs) {
        for session in &mut self.sessions {
            if session.start.saturating_add(session.duration_ms) < before {
                session.log_file_url.clear();
            }
        }
    }
}

/// What the gateway needs before its first session.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Highest session id so far.
    pub last_session_id: u64,
    /// Not expired.
    pub bindings: Vec<StoredBinding>,
}

impl Opening {
    /// From a database that need not be writable.
    pub fn read(connection: &Connection, now: UnixMs) -> Result<Self, Error> {
        Ok(Self {
            last_session_id: history::last_session_id(connection)?,
            bindings: bindings::load(connection, now)?,
        })
    }
}

#[cfg(test)]
mod tests;
