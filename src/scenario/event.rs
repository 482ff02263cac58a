//! What a script hears: one variant per event of the VoxEngine API, as plain data.

use super::command::{ExtraHeaders, Object};

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `AppEvents.Started`, always the first.
    Started(Box<Started>),
    CallAlerting(Box<CallAlerting>),
    Call {
        call: Object,
        event: CallEvent,
    },
    Player {
        player: Object,
        event: PlayerEvent,
    },
    Conference {
        conference: Object,
        event: ConferenceEvent,
    },
    Recorder {
        recorder: Object,
        event: RecorderEvent,
    },
    /// A request to the access URL. The worker answers with `Output::HttpAnswer`.
    HttpRequest {
        request: u64,
        method: String,
        path: String,
        content: String,
        headers: Vec<(String, String)>,
    },
    HttpResult {
        request: u32,
        result: HttpResult,
    },
    Terminating {
        system_error: bool,
    },
    Terminated {
        system_error: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Started {
    pub access_url: String,
    pub access_secure_url: String,
    pub account_id: u32,
    pub application_id: u32,
    pub log_url: String,
    pub session_id: u64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallAlerting {
    pub call: Object,
    pub callerid: String,
    pub destination: String,
    pub to_uri: String,
    pub from_uri: String,
    pub display_name: String,
    pub headers: ExtraHeaders,
    /// `user`, `sip`, `pstn`.
    pub client_type: String,
}

/// How the audio of a call was: what came, and what the peer says of ours. Not of the cloud.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statistics {
    pub codec: &'static str,
    pub packets_received: u64,
    pub packets_sent: u64,
    pub packets_lost: u64,
    pub packets_discarded: u64,
    pub concealed_ms: u64,
    pub lost_by_peer: u64,
    pub jitter_ms: f64,
    pub jitter_most_ms: f64,
    pub jitter_at_peer_ms: f64,
    pub round_trip_ms: f64,
    /// 0 when unknown.
    pub mos: f64,
    pub mos_at_peer: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CallEvent {
    Ringing {
        headers: ExtraHeaders,
    },
    AudioStarted {
        headers: ExtraHeaders,
    },
    Connected {
        headers: ExtraHeaders,
    },
    Disconnected {
        headers: ExtraHeaders,
        internal_code: u16,
        reason: String,
        duration_s: u64,
        is_incoming: bool,
        /// Where the scripts ask for it.
        statistics: Option<Box<Statistics>>,
    },
    Failed {
        headers: ExtraHeaders,
        code: u16,
        reason: String,
    },
    Forwarding,
    /// Section 6: a wideband codec, or none.
    AudioQualityDetected {
        is_hd: bool,
    },
    PlaybackReady,
    PlaybackStarted {
        duration_s: f64,
    },
    PlaybackFinished {
        error: Option<String>,
    },
    /// `source`: 1 RFC 4733, 2 in-band, 3 INFO.
    ToneReceived {
        tone: char,
        source: u8,
    },
    RecordStarted {
        url: String,
    },
    RecordStopped {
        url: String,
        duration_s: u64,
    },
    RecordError {
        error: String,
    },
    OnHold,
    OffHold,
    ReInviteReceived {
        headers: ExtraHeaders,
        mime_type: String,
        body: String,
    },
    ReInviteAccepted {
        headers: ExtraHeaders,
        mime_type: String,
        body: String,
    },
    ReInviteRejected {
        headers: ExtraHeaders,
        code: u16,
        reason: String,
    },
    InfoReceived {
        headers: ExtraHeaders,
        mime_type: String,
        body: String,
    },
    MessageReceived {
        headers: ExtraHeaders,
        text: String,
    },
    BlindTransferRequested {
        headers: ExtraHeaders,
        transfer_to: String,
    },
    /// `role` is the call's: `transferor`, `transferee`, `target`.
    TransferComplete {
        role: &'static str,
    },
    TransferFailed {
        role: &'static str,
        code: u16,
        reason: String,
    },
    /// Neither: the beep was heard. `timeout`: none came in time, or (false) it is waited for no
    /// longer.
    BeepDetectionComplete {
        hertz: Option<u16>,
        timeout: Option<bool>,
    },
    /// A fax machine: `CNG` of a caller, `CED` of who is called.
    FaxDetected {
        tone: &'static str,
    },
    AudioIdentificationStarted,
    /// After the verdict.
    AudioIdentificationStopped,
    /// `class`: `HUMAN`, `VOICEMAIL`, `TIMEOUT`.
    AudioIdentificationResult {
        class: &'static str,
        confidence: u8,
    },
    MicStatusChange {
        is_active: bool,
    },
    FirstAudioPacketReceived,
    RtpStopped,
    RtpResumed,
}

#[derive(Debug, Clone, PartialEq)]
pub enum PlayerEvent {
    Created,
    PlaybackReady,
    Started { duration_s: f64 },
    Stopped,
    PlaybackFinished { error: Option<String> },
    Error { error: String },
    PlaybackMarkerReached { offset_ms: i64 },
    PlaybackBuffering,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ConferenceEvent {
    Started,
    Stopped,
    Error {
        code: u16,
        error: String,
        endpoint: Option<String>,
    },
    /// `EndpointAdded` and so on; `change` is what follows `Endpoint` in its name.
    Endpoint {
        change: String,
        endpoint: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum RecorderEvent {
    Started { url: String },
    Stopped { duration_s: u64 },
    Error { error: String },
}

/// What came of a `Net.httpRequest`; `code` below 1 as section 21.2 of the reference has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpResult {
    pub code: i32,
    pub raw_headers: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub error: String,
}
