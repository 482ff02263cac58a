//! The whole gateway without I/O: user agent, sessions and rules as one machine.
//!
//! `control` calls its verbs for HTTP requests; `driver` feeds inputs and carries out outputs.

use std::net::IpAddr;

use crate::scenario::worker::Answer;

/// Number that `control` gives an HTTP request that waits for the gateway.
pub type RequestId = u64;

/// StartScenarios, checked by `control`.
#[derive(Debug, Clone)]
pub struct StartSession {
    /// Echoed in `Reply::Started`.
    pub request: RequestId,
    pub rule_id: u32,
    pub custom_data: String,
    /// Address of the API's caller.
    pub initiator: IpAddr,
}

/// A request to an access URL.
#[derive(Debug, Clone)]
pub struct Access {
    /// Echoed in `Reply::Accessed`.
    pub request: RequestId,
    pub session_id: u64,
    pub token: String,
    pub method: String,
    /// Request target from `/request/...` on, query included.
    pub path: String,
    pub content: String,
    /// Only names that start with `X-`.
    pub headers: Vec<(String, String)>,
}

/// What a started session is reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUrls {
    pub session_id: u64,
    pub access_url: String,
    pub access_secure_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartError {
    /// No rule of this id: error 147.
    UnknownRule,
    /// No free session slot, or draining: error 314.
    Full,
}

/// Answers of the gateway to requests that had to wait; `control` makes HTTP of them.
#[derive(Debug)]
pub enum Reply {
    /// The scripts ran and Started was dispatched, or failed (answered alike: 3.1).
    Started { request: RequestId, urls: SessionUrls },
    /// The handler's answer; `None`: the session ended before it answered, or is unknown.
    Accessed { request: RequestId, answer: Option<Answer> },
}

/// A running session, for the status page, `branchline sessions` and GetCallHistory.
pub type Running = crate::storage::record::SessionRecord;

/// State of a trunk for status and GetSipRegistrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkStatus {
    pub name: String,
    pub server: String,
    pub registers: bool,
    /// `up`, `down`, `unknown`.
    pub state: &'static str,
    /// `403 Forbidden`, empty when up.
    pub reason: String,
    pub calls: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserStatus {
    pub name: String,
    pub contacts: usize,
}
