//! Rows of the history, as GetCallHistory shows them (Management API reference, section 5.1).

use nanoserde::{DeJson, SerJson};

/// Unix time in milliseconds, UTC.
pub type UnixMs = i64;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionRecord {
    /// `call_session_history_id`.
    pub id: u64,
    pub application_id: u32,
    pub application_name: String,
    pub rule_id: u32,
    pub rule_name: String,
    pub start: UnixMs,
    /// 0 while the session runs.
    pub duration_ms: i64,
    pub initiator_address: String,
    pub media_server_address: String,
    pub log_file_url: String,
    /// `None` while the session runs.
    pub finish_reason: Option<String>,
    /// `Standard`, `HD`, `Ultra HD`: of the best of its calls; empty before the first.
    pub audio_quality: String,
    pub custom_data: String,
    pub calls: Vec<CallRecord>,
    pub records: Vec<RecordingRecord>,
}

impl SessionRecord {
    /// About what it takes in memory, its calls and recordings included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.application_name.len()
            + self.rule_name.len()
            + self.log_file_url.len()
            + self.custom_data.len()
            + self.calls.iter().map(CallRecord::memory_bytes).sum::<usize>()
            + self.records.iter().map(RecordingRecord::memory_bytes).sum::<usize>()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallRecord {
    pub id: u64,
    pub start: UnixMs,
    /// Talk time.
    pub duration_ms: i64,
    pub local_number: String,
    pub remote_number: String,
    /// `pstn`, `user`, `sipuri`.
    pub remote_number_type: String,
    pub is_incoming: bool,
    pub is_successful: bool,
    /// `486 Busy Here`.
    pub end_reason: String,
    pub record_url: Option<String>,
    pub custom_data: Option<String>,
    /// Known when media has let go of the call.
    pub audio: Option<Box<AudioRecord>>,
}

/// How the audio of a call was, both ways: what came from the peer, and what the peer says of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, SerJson, DeJson)]
pub struct AudioRecord {
    /// `PCMA/8000`.
    pub codec: String,
    pub packets_received: u64,
    pub packets_sent: u64,
    pub packets_lost: u64,
    /// Too late for the jitter buffer.
    pub packets_discarded: u64,
    pub concealed_ms: u64,
    pub lost_by_peer: u64,
    /// Microseconds.
    pub jitter_us: u64,
    pub jitter_most_us: u64,
    pub jitter_at_peer_us: u64,
    pub round_trip_us: u64,
    /// Hundredths, 0 when unknown.
    pub mos: u64,
    pub mos_at_peer: u64,
}

impl CallRecord {
    fn memory_bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + self.local_number.len()
            + self.remote_number.len()
            + self.end_reason.len()
            + optional(&self.record_url)
            + optional(&self.custom_data)
            + self.audio.as_ref().map_or(0, |_| size_of::<AudioRecord>())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordingRecord {
    pub id: u64,
    pub name: String,
    pub start: UnixMs,
    pub duration_ms: i64,
    pub url: String,
    pub file_bytes: u64,
}

impl RecordingRecord {
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.url.len()
    }
}

/// Filters of GetCallHistory; `None` and empty: any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryFilter {
    pub ids: Vec<u64>,
    pub from: Option<UnixMs>,
    pub to: Option<UnixMs>,
    pub application_id: Option<u32>,
    pub rule_name: Option<String>,
    pub remote_numbers: Vec<String>,
    pub local_numbers: Vec<String>,
    /// A part of the custom data.
    pub custom_data: Option<String>,
    pub min_duration_s: Option<i64>,
    pub max_duration_s: Option<i64>,
    pub newest_first: bool,
    pub with_calls: bool,
    pub with_records: bool,
    pub count: usize,
    pub offset: usize,
}

/// A registered contact as it is kept over a restart; the fields of `sip`'s binding as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredBinding {
    pub user: String,
    pub contact: String,
    /// Empty: none.
    pub path: String,
    pub call_id: String,
    pub cseq: u32,
    pub expires_at: UnixMs,
    pub source: String,
    pub transport: String,
    pub listener: u32,
    pub user_agent: String,
}

impl StoredBinding {
    /// About what it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.user.len()
            + self.contact.len()
            + self.path.len()
            + self.call_id.len()
            + self.source.len()
            + self.user_agent.len()
    }
}
