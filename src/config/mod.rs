//! `config.toml`: one struct per table, defaults, parsing with line and hint.
//!
//! What the operator wrote becomes what it means in one step that may fail; after
//! [`Config::parse`] nothing in it can be wrong. `read` takes typed values out of TOML tables and
//! collects what is wrong, `parse` knows the tables. No file is read here: the caller lends the
//! environment and the files.

mod dns;
mod network;
mod parse;
mod problem;
mod read;
#[cfg(test)]
mod tests;
mod tls;
mod trunk;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use network::Network;
pub use parse::stable_id;
pub use problem::Problem;
pub use read::{Environment, FileText};
pub use tls::{Certificate, Tls};
pub use trunk::{
    Account, CalledFrom, Caps, FromUser, Identity, Privacy, SendIdentity, is_reserved_header,
};

/// Everything the gateway is told.
#[derive(Debug, Clone)]
pub struct Config {
    pub gateway: Gateway,
    pub control: Control,
    pub sip: Sip,
    pub dns: crate::dns::Settings,
    pub media: Media,
    pub scenario: Scenario,
    pub tts: Tts,
    pub storage: Storage,
    pub limits: Limits,
    pub trunks: Vec<Trunk>,
    pub routes: Vec<Route>,
    pub users: Vec<User>,
    pub applications: Vec<Application>,
}

impl Config {
    pub fn trunk(&self, name: &str) -> Option<&Trunk> {
        self.trunks.iter().find(|trunk| trunk.name == name)
    }
}

/// `[gateway]`
#[derive(Debug, Clone)]
pub struct Gateway {
    pub name: String,
    /// Absolute, or relative to the working directory: the config file's folder is joined already.
    pub data_dir: PathBuf,
    pub scenarios_dir: PathBuf,
    /// Filter of the log, `info,sip=debug`.
    pub log: String,
    pub redact: bool,
    /// Time that running sessions get at an orderly stop.
    pub drain: Duration,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            name: "branch".into(),
            data_dir: "data".into(),
            scenarios_dir: "scenarios".into(),
            log: "info".into(),
            redact: true,
            drain: Duration::from_secs(30),
        }
    }
}

/// `[control]`
#[derive(Debug, Clone)]
pub struct Control {
    pub listen: Vec<SocketAddr>,
    /// Base of access URLs without a slash at the end, `http://192.0.2.1:8080`; `None`: the first
    /// listen address.
    pub public_url: Option<String>,
    pub account_id: u32,
    pub account_name: String,
    /// Empty: made at first start and kept in `data_dir/api_key`.
    pub api_key: String,
    pub allow_from: Vec<Network>,
    pub cors_origins: Vec<String>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
            public_url: None,
            account_id: 1,
            account_name: "branch".into(),
            api_key: String::new(),
            allow_from: vec![
                Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
                Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
            ],
            cors_origins: Vec::new(),
        }
    }
}

/// `[sip]`
#[derive(Debug, Clone)]
pub struct Sip {
    pub listen: Vec<SipListen>,
    /// Host to write in Via, Contact and SDP; empty: the route's own address.
    pub public_address: String,
    /// Our domain for users; empty: any of our addresses.
    pub domain: String,
    /// What users are challenged with, the best first.
    pub digest: Vec<Digest>,
    pub tls: Tls,
    /// Web pages whose WebSocket is taken, such as `https://phone.example.com`; empty: any.
    pub ws_origins: Vec<String>,
    /// Messages per second from one address that is nobody's.
    pub source_rate: u32,
    /// From all of those together.
    pub strangers_rate: u32,
    pub strangers: Strangers,
    /// Beginnings of User-Agent; whoever says so gets no answer.
    pub scanners: Vec<String>,
    /// Session timers (RFC 4028): what we ask for; zero: nothing.
    pub session_expires: Duration,
    /// The least that a peer may ask for.
    pub min_se: Duration,
    /// Empty: the private ones.
    pub local_networks: Vec<Network>,
    /// Zero: none.
    pub keepalive: Duration,
}

impl Default for Sip {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5060));
        Self {
            listen: vec![
                SipListen { transport: SipTransport::Udp, address },
                SipListen { transport: SipTransport::Tcp, address },
            ],
            public_address: String::new(),
            domain: String::new(),
            digest: vec![Digest::Md5],
            tls: Tls::default(),
            ws_origins: Vec::new(),
            source_rate: 50,
            strangers_rate: 1000,
            strangers: Strangers::Refuse,
            scanners: SCANNERS.map(str::to_owned).to_vec(),
            session_expires: Duration::from_secs(1800),
            min_se: Duration::from_secs(90),
            local_networks: Vec::new(),
            keepalive: Duration::from_secs(30),
        }
    }
}

/// What calls and questions of nobody known get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strangers {
    Refuse,
    /// No answer: nothing tells that there is a gateway.
    Drop,
}

/// What common scanners call themselves.
const SCANNERS: [&str; 5] = ["friendly-scanner", "sipvicious", "sipcli", "sip-scan", "sundayddr"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    Md5,
    Sha256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SipListen {
    pub transport: SipTransport,
    pub address: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SipTransport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl SipTransport {
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }
}

/// `[media]`
#[derive(Debug, Clone)]
pub struct Media {
    /// First and last port.
    pub rtp_ports: (u16, u16),
    /// In the order of preference.
    pub codecs: Vec<Codec>,
    /// Length of packets where the peer does not say.
    pub ptime: Duration,
    /// Offer and take comfort noise, and send it in pauses.
    pub comfort_noise: bool,
    /// Bits per second that are asked of peers; `None`: as they like.
    pub opus_bitrate: Option<u32>,
    /// Ask peers to send little in pauses.
    pub opus_dtx: bool,
    /// Ask peers for extended reports of RTCP.
    pub rtcp_xr: bool,
    /// Of calls whose trunk or user does not say otherwise.
    pub srtp: Srtp,
    pub threads: usize,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            rtp_ports: (16384, 32767),
            codecs: vec![Codec::Opus, Codec::G722, Codec::Pcma, Codec::Pcmu],
            ptime: Duration::from_millis(20),
            comfort_noise: false,
            opus_bitrate: None,
            opus_dtx: false,
            rtcp_xr: false,
            srtp: Srtp::Optional,
            threads: 1,
        }
    }
}

/// Whether the audio of a call is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Srtp {
    /// Never; offers that insist are refused.
    Off,
    /// Where the peer wants it; ours offer it where the keys travel encrypted.
    Optional,
    /// Always; calls without are refused.
    Required,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Pcmu,
    Pcma,
    G722,
    Opus,
    L16(L16),
}

impl Codec {
    /// What a jitter buffer, a decoder and an encoder take beyond those of G.711.
    pub const fn audio_bytes(self) -> usize {
        match self {
            Self::Pcmu | Self::Pcma => 0,
            Self::G722 | Self::L16(L16::Hz8000) => 8 << 10,
            Self::L16(L16::Hz16000) => 20 << 10,
            // Of Opus: 43 kB of receiver, 15 kB of encoder, and frames of 48 kHz.
            Self::Opus | Self::L16(L16::Hz48000) => 48 << 10,
        }
    }
}

/// Samples per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L16 {
    Hz8000,
    Hz16000,
    Hz48000,
}

/// `[scenario]`
#[derive(Debug, Clone)]
pub struct Scenario {
    pub threads: usize,
    pub on_error: OnError,
}

impl Default for Scenario {
    fn default() -> Self {
        Self { threads: 1, on_error: OnError::Log }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    Log,
    End,
}

/// `[tts]`
#[derive(Debug, Clone)]
pub struct Tts {
    pub engine: TtsEngine,
    /// Argument vector with `{text} {voice} {rate} {out}`; empty unless `engine` says `command`.
    pub command: Vec<String>,
    /// `"<Provider>.<locale_Name>"`, locale or language to the engine's own voice name.
    pub voices: Vec<(String, String)>,
    pub cache_bytes: u64,
}

impl Default for Tts {
    fn default() -> Self {
        Self {
            engine: TtsEngine::Auto,
            command: Vec::new(),
            voices: Vec::new(),
            cache_bytes: 64 * MIB,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtsEngine {
    /// The first found of espeak-ng, pico2wave, flite.
    Auto,
    EspeakNg,
    Pico2wave,
    Flite,
    Command,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingsFormat {
    Wav,
    /// In Ogg; stereo is WAV all the same.
    Opus,
}

/// `[storage]`: size and age limits of what is kept; the oldest go first.
#[derive(Debug, Clone)]
pub struct Storage {
    pub history_age: Duration,
    pub recordings_bytes: u64,
    pub recordings_age: Duration,
    pub recordings_format: RecordingsFormat,
    pub logs_bytes: u64,
    pub logs_age: Duration,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            history_age: DAY * 90,
            recordings_bytes: 1024 * MIB,
            recordings_age: DAY * 30,
            recordings_format: RecordingsFormat::Wav,
            logs_bytes: 64 * MIB,
            logs_age: DAY * 30,
        }
    }
}

/// `[limits]`, with the vendor's defaults (voxengine 1.6).
#[derive(Debug, Clone)]
pub struct Limits {
    /// 0: three quarters of what the machine or cgroup has.
    pub memory_bytes: u64,
    /// Sessions at one time; `None` in the file: what the memory allows, 200 at most. Filled in
    /// by `Config::parse` through the budget.
    pub sessions: usize,
    pub calls_per_session: usize,
    /// What the audio of a call takes beyond that of G.711, by the codecs of the config; filled in
    /// by `Config::parse`.
    pub call_audio_bytes: usize,
    /// Unanswered calls of one session at one time.
    pub calls_in_progress: usize,
    pub js_heap_bytes: usize,
    pub js_reserve_bytes: usize,
    pub js_stack_bytes: usize,
    pub js_run_time: Duration,
    pub timers: usize,
    pub players: usize,
    pub http_active: usize,
    /// Active and queued together.
    pub http_queued: usize,
    pub http_body_bytes: usize,
    /// Access URL and Management API request bodies.
    pub request_body_bytes: usize,
    pub http_connections: usize,
    pub sip_streams: usize,
    /// Those that may be TLS, and handshakes beside them; filled in by `Config::parse`: 0 where
    /// neither a listener nor a trunk is of TLS.
    pub tls_streams: usize,
    pub sip_transactions: usize,
    pub sip_message_bytes: usize,
    pub contacts_per_user: usize,
    pub ring_timeout: Duration,
    /// A session without calls.
    pub idle_timeout: Duration,
    pub sound_bytes: usize,
    /// Decoded sounds kept in memory.
    pub sound_cache_bytes: usize,
    pub script_chars: usize,
    pub log_line_chars: usize,
    pub session_log_bytes: u64,
    pub start_in_flight: usize,
    /// Bodies of HTTP requests and answers held at one time, of all sessions together.
    pub http_pool_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 0,
            sessions: 0,
            calls_per_session: 50,
            call_audio_bytes: Codec::Opus.audio_bytes(),
            calls_in_progress: 10,
            js_heap_bytes: 16 << 20,
            js_reserve_bytes: 1 << 20,
            js_stack_bytes: 256 << 10,
            js_run_time: Duration::from_secs(1),
            timers: 100,
            players: 10,
            http_active: 3,
            http_queued: 35,
            http_body_bytes: 2 << 20,
            request_body_bytes: 2 << 20,
            http_connections: 256,
            sip_streams: 64,
            tls_streams: 0,
            sip_transactions: 2000,
            sip_message_bytes: 307_200,
            contacts_per_user: 5,
            ring_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            sound_bytes: 10 << 20,
            sound_cache_bytes: 24 << 20,
            script_chars: 256 * 1024,
            log_line_chars: 15_000,
            session_log_bytes: MIB,
            start_in_flight: 200,
            http_pool_bytes: 16 << 20,
        }
    }
}

/// `[[trunk]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Trunk {
    pub name: String,
    /// `sip:192.0.2.10:5060;transport=udp`, syntax checked.
    pub server: String,
    pub register: bool,
    pub username: String,
    pub password: String,
    pub accept_from: Vec<Network>,
    pub caller_id: String,
    pub dtmf: Dtmf,
    /// `None`: as `[media]`.
    pub srtp: Option<Srtp>,
    /// Zero: off.
    pub options: Duration,
    /// That of `[sip]`, with what the trunk says of its own in its place.
    pub tls: Tls,
    /// It has a `ca` of its own: who calls from its addresses shows a certificate of that one.
    pub is_mutual: bool,
    /// In the order of preference; empty: those of `[media]`.
    pub codecs: Vec<Codec>,
    pub account: Account,
    pub identity: Identity,
    pub caps: Caps,
    pub prack: Prack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtmf {
    Auto,
    Rfc4733,
    Info,
    Inband,
}

/// Whether provisional responses are acknowledged (RFC 3262).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prack {
    Off,
    Supported,
    Required,
}

/// `[[route]]`
#[derive(Debug, Clone)]
pub struct Route {
    pub pattern: crate::rules::Pattern,
    pub trunks: Vec<String>,
    pub strip: usize,
    pub prefix: String,
}

/// `[[user]]`
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub name: String,
    pub password: String,
    pub display_name: String,
    /// `None`: as `[media]`.
    pub srtp: Option<Srtp>,
    /// In the order of preference; empty: those of `[media]`.
    pub codecs: Vec<Codec>,
    /// At one time, both ways; 0: no limit.
    pub max_calls: usize,
}

/// `[[application]]`
#[derive(Debug, Clone)]
pub struct Application {
    pub id: u32,
    pub name: String,
    pub rules: Vec<Rule>,
    /// `VoxEngine.getSecretValue`.
    pub secrets: Vec<(String, String)>,
}

/// `[[application.rule]]`
#[derive(Debug, Clone)]
pub struct Rule {
    pub id: u32,
    pub name: String,
    pub pattern: crate::rules::Pattern,
    pub exclude: Option<crate::rules::Pattern>,
    pub from: Vec<From>,
    /// Loaded sources in the listed order, shared by all sessions of the rule.
    pub scripts: Arc<[Script]>,
}

/// Whose inbound calls a rule takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    Any,
    Trunk(String),
    User(String),
}

/// A scenario file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// A stable number derived from the name, 31 bits.
    pub id: u32,
    /// As the rule names it, relative to `scenarios_dir`: `callback.js`, `phones/answer.js`.
    pub name: String,
    pub source: Arc<str>,
    pub modified_unix: i64,
}

/// TLS handshakes of peers that connect, beside the connections that stand.
pub const TLS_HANDSHAKES: usize = 64;

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
