//! The whole gateway without I/O: user agent, sessions and rules as one machine.
//!
//! `control` calls its verbs for HTTP requests; `driver` feeds inputs and carries out outputs.

use std::net::IpAddr;
use std::sync::Arc;

use crate::media::clip::Clip;
use crate::media::engine as media;
use crate::scenario::command::{HttpRequest, Sound};
use crate::scenario::event::HttpResult;
use crate::scenario::worker::{self, Answer, SessionId};
use crate::sip::user_agent as sip;
use crate::storage::store;

/// What the world tells the gateway.
#[derive(Debug)]
pub enum Input<'a> {
    Sip(sip::Input<'a>),
    /// From worker `thread`.
    Script {
        thread: usize,
        output: worker::Output,
    },
    /// Worker `thread` is stuck and was replaced: its sessions are over.
    WorkerLost {
        thread: usize,
    },
    /// From media thread `thread`.
    Media {
        thread: usize,
        event: media::Event,
    },
    /// The answer to `Output::Load`.
    Loaded {
        request: u64,
        result: Result<Arc<Clip>, String>,
    },
    /// The answer to `Output::Fetch`.
    Fetched {
        session: SessionId,
        request: u32,
        result: HttpResult,
    },
    /// The end of a recording's file.
    Stored(store::Answer),
    /// `poll_timeout` has come.
    Timeout,
}

/// What the gateway wants done.
#[derive(Debug)]
pub enum Output {
    /// Never `sip::Output::Event`.
    Sip(sip::Output),
    Script {
        thread: usize,
        input: worker::Input,
    },
    Media {
        thread: usize,
        command: media::Command,
    },
    /// Load, fetch or synthesise a sound.
    Load {
        request: u64,
        sound: Sound,
    },
    /// Make an HTTP request of a script.
    Fetch {
        session: SessionId,
        request: Box<HttpRequest>,
    },
    /// The session is gone: its requests may end unheard.
    CancelFetches {
        session: SessionId,
    },
    Disk(store::Operation),
    Reply(Reply),
}

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
