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
    /// Begin a WAV file (a name inside `data_dir/recordings`, 16-bit PCM), written under a
    /// temporary name until `FinishRecording`.
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

/// What the gateway needs before its first session.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Highest session id so far.
    pub last_session_id: u64,
    /// Not expired.
    pub bindings: Vec<StoredBinding>,
}
