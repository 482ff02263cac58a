//! `config.toml`: one struct per table, defaults, parsing with line and hint.
//!
//! What the operator wrote becomes what it means in one step that may fail; after
//! [`Config::parse`] nothing in it can be wrong.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything the gateway is told.
#[derive(Debug, Clone)]
pub struct Config {
    pub gateway: Gateway,
    pub control: Control,
    pub sip: Sip,
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

/// An address prefix such as `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

/// `[sip]`
#[derive(Debug, Clone)]
pub struct Sip {
    pub listen: Vec<SipListen>,
    /// Host to write in Via, Contact and SDP; empty: the route's own address.
    pub public_address: String,
    /// Our domain for users; empty: any of our addresses.
    pub domain: String,
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
}

/// `[media]`
#[derive(Debug, Clone)]
pub struct Media {
    /// First and last port.
    pub rtp_ports: (u16, u16),
    /// In the order of preference.
    pub codecs: Vec<Codec>,
    pub threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Pcmu,
    Pcma,
}

/// `[scenario]`
#[derive(Debug, Clone)]
pub struct Scenario {
    pub threads: usize,
    pub on_error: OnError,
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

/// `[storage]`: size and age limits of what is kept; the oldest go first.
#[derive(Debug, Clone)]
pub struct Storage {
    pub history_age: Duration,
    pub recordings_bytes: u64,
    pub recordings_age: Duration,
    pub logs_bytes: u64,
    pub logs_age: Duration,
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
    /// Unanswered calls of one session at one time.
    pub calls_in_progress: usize,
    pub js_heap_bytes: usize,
    pub js_reserve_bytes: usize,
    pub js_stack_bytes: usize,
    pub js_run_time: Duration,
    pub timers: usize,
    pub players: usize,
    pub http_active: usize,
    pub http_queued: usize,
    pub http_body_bytes: usize,
    /// Access URL and Management API request bodies.
    pub request_body_bytes: usize,
    pub http_connections: usize,
    pub sip_streams: usize,
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
    /// Zero: off.
    pub options: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtmf {
    Auto,
    Rfc4733,
    Info,
    Inband,
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
    /// File name without folder: `callback.js`.
    pub name: String,
    pub source: Arc<str>,
    pub modified_unix: i64,
}
