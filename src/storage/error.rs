//! What can go wrong with the database, sorted by what helps.

use std::fmt;

use rusqlite::ErrorCode;

/// A failed use of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The file is no database, or a damaged one: set it aside and begin a new one.
    Corrupt(String),
    /// Disk full, read-only or otherwise not writable for now: the same may work later.
    Unwritable(String),
    /// A newer release wrote it.
    NewerSchema { found: i64, known: i64 },
    /// The query ran out of its time.
    Late,
    /// The answer would be larger than `HISTORY_PAGE_BYTES`.
    TooLarge,
    /// Ours: a statement that SQLite does not take.
    Statement(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(detail) => write!(f, "the database is damaged: {detail}"),
            Self::Unwritable(detail) => write!(f, "the database is not writable: {detail}"),
            Self::NewerSchema { found, known } => write!(
                f,
                "the database was written by a newer release (schema {found}, this one knows \
                 {known}): install that release or move the file away"
            ),
            Self::Late => write!(f, "the query took too long: narrow its dates"),
            Self::TooLarge => write!(f, "the answer is too large: ask for a smaller count"),
            Self::Statement(detail) => write!(f, "database: {detail}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let detail = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(detail),
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory,
            ) => Self::Unwritable(detail),
            Some(ErrorCode::OperationInterrupted) => Self::Late,
            _ => Self::Statement(detail),
        }
    }
}
