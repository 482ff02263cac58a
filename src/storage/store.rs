//! The database behind the disk thread.

use super::record::{HistoryFilter, SessionRecord, StoredBinding};

/// What the rest asks for; applied in order.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A session began: a row without end, so that a crash leaves a trace.
    BeginSession(Box<SessionRecord>),
    /// The whole session with its calls and recordings, in the place of the first row.
    EndSession(Box<SessionRecord>),
    /// All contacts of one user, in the place of what was kept.
    Bindings { user: String, bindings: Vec<StoredBinding> },
    /// A query; `Answer::History` follows.
    History { query: u64, filter: HistoryFilter },
}

#[derive(Debug, Clone)]
pub enum Answer {
    History { query: u64, result: Result<HistoryPage, String> },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryPage {
    pub sessions: Vec<SessionRecord>,
    /// Rows that match without `count` and `offset`.
    pub total: u64,
}

/// What the gateway needs before its first session.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Highest session id so far.
    pub last_session_id: u64,
    /// Not expired.
    pub bindings: Vec<StoredBinding>,
}
