//! What a script asks for: one variant per method that has an effect outside its runtime.
//!
//! Objects (calls, players, recorders, conferences) are numbers that the runtime gives out when
//! the script makes them, one sequence per session; incoming calls come numbered by `session`
//! with the top bit set.

/// Number of a call, player, recorder or conference inside its session.
pub type Object = u32;

/// `X-Name: value` pairs, checked already: names start with `X-` or are User-to-User, in methods
/// that call somebody any that is not the gateway's own; values hold no control characters and fit
/// 200 bytes, those of other names 512; `VI-CallTimeout` where the method allows it.
pub type ExtraHeaders = Vec<(String, String)>;

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    CallPstn(Box<CallPstn>),
    CallSip(Box<CallSip>),
    CallUser {
        call: Object,
        username: String,
        callerid: String,
        display_name: Option<String>,
        headers: ExtraHeaders,
    },
    Ring {
        call: Object,
        headers: ExtraHeaders,
    },
    StartEarlyMedia {
        call: Object,
        headers: ExtraHeaders,
    },
    Answer {
        call: Object,
        headers: ExtraHeaders,
        display_name: Option<String>,
    },
    Reject {
        call: Object,
        status: u16,
        headers: ExtraHeaders,
    },
    Hangup {
        call: Object,
        headers: ExtraHeaders,
    },
    /// `say` and `startPlayback`.
    Playback {
        call: Object,
        sound: Sound,
        looped: bool,
    },
    StopPlayback {
        call: Object,
    },
    ProgressTone {
        call: Object,
        country: String,
    },
    /// `call.record()`; `recording` is the new object that its events speak of by its call.
    RecordCall {
        call: Object,
        parameters: RecordParameters,
    },
    HandleTones {
        call: Object,
        telephone_event: bool,
        in_band: bool,
        info: bool,
    },
    /// `enableBeepDetection`: no frequencies are any; 0 ms are as long as the call lasts.
    DetectBeep {
        call: Object,
        frequencies: Vec<u16>,
        timeout_ms: u32,
    },
    StopBeepDetection {
        call: Object,
    },
    /// An answering machine detector listens to the call from its connection on. `human` and
    /// `voicemail` are the least confidence, 0 to 100.
    DetectAnswer {
        call: Object,
        timeout_ms: u32,
        human: u8,
        voicemail: u8,
    },
    /// `detectFaxTone`.
    DetectFax {
        call: Object,
    },
    /// `call.handleMicStatus`.
    HandleMicStatus {
        call: Object,
        handle: bool,
    },
    SendDigits {
        call: Object,
        digits: String,
    },
    SendMessage {
        call: Object,
        text: String,
    },
    SendInfo {
        call: Object,
        mime_type: String,
        body: String,
        headers: ExtraHeaders,
    },
    HandleBlindTransfer {
        call: Object,
        handle: bool,
    },
    /// `notifyBlindTransferSuccess` (200) and `notifyBlindTransferFailed`.
    NotifyTransfer {
        call: Object,
        status: u16,
        reason: String,
    },
    /// With `other`, an attended transfer to that call's peer; `to` is not used then.
    TransferTo {
        call: Object,
        to: String,
        other: Option<Object>,
        headers: ExtraHeaders,
    },
    /// `call.reInvite`.
    ReInvite {
        call: Object,
        headers: ExtraHeaders,
        mime_type: String,
        body: String,
    },
    /// `call.customData(value)`: kept in the history.
    CallCustomData {
        call: Object,
        value: String,
    },

    CreatePlayer {
        player: Object,
        sound: Sound,
        looped: bool,
        paused: bool,
    },
    /// Sounds one after the other; a text that can't be spoken comes as its error.
    CreateSequence {
        player: Object,
        parts: Vec<Result<Sound, String>>,
    },
    PausePlayer {
        player: Object,
    },
    ResumePlayer {
        player: Object,
    },
    StopPlayer {
        player: Object,
    },
    /// `part` of a sequence; 0 of others.
    AddMarker {
        player: Object,
        part: usize,
        offset_ms: i64,
    },

    CreateConference {
        conference: Object,
        hd_audio: bool,
    },
    StopConference {
        conference: Object,
    },

    CreateRecorder {
        recorder: Object,
        parameters: RecordParameters,
    },
    MuteRecorder {
        recorder: Object,
        muted: bool,
    },
    StopRecorder {
        recorder: Object,
    },

    SendMediaTo {
        from: Object,
        to: Object,
    },
    StopMediaTo {
        from: Object,
        to: Object,
    },

    /// `Net.httpRequest`: the worker holds the 3 active and 35 waiting; this one may start now.
    HttpRequest(Box<HttpRequest>),
    /// One line for the session log (`Logger.write`, `console.log`, `trace`, and errors).
    Log {
        text: String,
    },
    /// `Logger.hideTones`.
    HideTones {
        hidden: bool,
    },
    /// `VoxEngine.customData(value)`.
    CustomData {
        value: String,
    },
    /// `VoxEngine.terminate()`: the callback has ended; the session goes through its end.
    Terminate,
}

impl Command {
    /// Bytes of its texts, as far as a script chooses their length.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Log { text } | Self::SendMessage { text, .. } => text.len(),
            Self::CustomData { value } | Self::CallCustomData { value, .. } => value.len(),
            Self::SendInfo { mime_type, body, .. } | Self::ReInvite { mime_type, body, .. } => {
                mime_type.len() + body.len()
            }
            Self::SendDigits { digits, .. } => digits.len(),
            Self::NotifyTransfer { reason: text, .. } | Self::TransferTo { to: text, .. } => {
                text.len()
            }
            Self::Playback { sound, .. } | Self::CreatePlayer { sound, .. } => {
                sound.payload_bytes()
            }
            Self::CreateSequence { parts, .. } => {
                parts.iter().flatten().map(Sound::payload_bytes).sum()
            }
            Self::HttpRequest(request) => request.payload_bytes(),
            Self::CallPstn(parameters) => {
                parameters.number.len() + pairs_bytes(&parameters.headers)
            }
            Self::CallSip(parameters) => parameters.to.len(),
            Self::CallUser { username, callerid, .. } => username.len() + callerid.len(),
            _ => 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallPstn {
    pub call: Object,
    pub number: String,
    pub callerid: Option<String>,
    /// The caller is whoever called us, and Diversion says so.
    pub follow_diversion: bool,
    pub headers: ExtraHeaders,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallSip {
    pub call: Object,
    pub to: String,
    /// Trunk by number: its place in the config, from 1.
    pub registration: Option<u32>,
    pub callerid: Option<String>,
    pub display_name: Option<String>,
    pub auth_user: Option<String>,
    pub password: Option<String>,
    pub headers: ExtraHeaders,
    pub out_proxy: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Sound {
    Url(UrlSound),
    Speech(Speech),
    /// A tone script's text.
    Tone(String),
}

impl Sound {
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Url(url) => url.url.len() + url.body.len() + pairs_bytes(&url.headers),
            Self::Speech(speech) => speech.text.len() + speech.voice.len(),
            Self::Tone(text) => text.len(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct UrlSound {
    /// `http(s)://...`, `file:NAME`, or a relative name.
    pub url: String,
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// `progressivePlayback`: it is played as it comes, and not kept.
    pub progressive: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Speech {
    pub text: String,
    /// `Provider.locale_Name` or `Language` constant as the script gave it: `Amazon.en_US_Joanna`.
    pub voice: String,
    /// 1.0 is the voice's own speed.
    pub rate: f32,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordParameters {
    pub stereo: bool,
    pub hd_audio: bool,
    /// Of a recorder, for the history.
    pub name: Option<String>,
    pub name_prefix: Option<String>,
    /// `RecordExpireTime` value: `""`, `-6m`, `-1y`, ...
    pub expire: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpRequest {
    /// Echoed in `Event::HttpResult`.
    pub request: u32,
    pub url: String,
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub connect_timeout_s: f64,
    pub timeout_s: f64,
}

impl HttpRequest {
    pub fn payload_bytes(&self) -> usize {
        self.url.len() + self.body.len() + pairs_bytes(&self.headers)
    }
}

fn pairs_bytes(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
}
