//! The door of `scenario`: the runtimes of many sessions as one machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::Command;
use super::event::Event;
use crate::random::Random;
use crate::slots::Key;

/// The session that a runtime belongs to; chosen by `session`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub Key);

#[derive(Debug, Clone)]
pub struct Limits {
    pub heap_bytes: usize,
    pub stack_bytes: usize,
    /// Longest run of one callback.
    pub run_time: Duration,
    pub timers: usize,
    pub players: usize,
    /// Outgoing and incoming calls of one session are counted by `session`.
    pub http_active: usize,
    pub http_queued: usize,
    /// Runtimes at one time.
    pub sessions: usize,
    /// What an exception in a listener does.
    pub on_error: OnError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    Log,
    End,
}

/// One scenario file.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// Shown in stacks: `callback.js`.
    pub name: String,
    pub source: String,
}

#[derive(Debug)]
pub enum Input {
    /// Make a runtime and run the scripts in one global scope; then `first` is dispatched:
    /// Started, and CallAlerting for an incoming call.
    Start {
        session: SessionId,
        scripts: Arc<[Script]>,
        custom_data: String,
        first: Vec<Event>,
    },
    Event {
        session: SessionId,
        event: Event,
    },
    /// The session is over for everybody: drop its runtime without another word.
    Drop {
        session: SessionId,
    },
    /// `poll_timeout` has come.
    Timeout,
}

#[derive(Debug, PartialEq)]
pub enum Output {
    Command {
        session: SessionId,
        command: Command,
    },
    /// `Start` is done: scripts ran and `first` was dispatched (its commands came before this).
    Ready {
        session: SessionId,
    },
    /// What the handlers of `Event::HttpRequest` returned.
    HttpAnswer {
        session: SessionId,
        request: u64,
        answer: Answer,
    },
    /// `Terminating` was dispatched: no more requests than the one that may be under way
    /// (`http_pending`); `session` waits for its result before `Terminated`.
    TerminatingDone {
        session: SessionId,
        http_pending: bool,
    },
    /// `Terminated` was dispatched: the runtime is dropped.
    TerminatedDone {
        session: SessionId,
    },
    /// The script broke a limit or threw at top level (or in a listener with `OnError::End`).
    /// The runtime is dropped; `error` names script and line.
    Failed {
        session: SessionId,
        error: String,
    },
    /// A listener threw or a promise was rejected; the session goes on. Logged already.
    Exception {
        session: SessionId,
    },
}

/// An HTTP answer as section 9.3 of the Management API reference has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Text(String),
    Json(String),
    Empty,
    /// The handler threw, or its value has no JSON.
    Error(String),
    /// A promise that did not settle in 30 s.
    TimedOut,
}

/// The runtimes of one worker thread.
pub struct Worker {}

impl Worker {
    /// `stopwatch` tells the time that the run-time limit is measured with.
    pub fn new(_limits: Limits, _stopwatch: fn() -> Duration, _random: Random) -> Self {
        Self {}
    }

    pub fn handle_input(&mut self, _now: Instant, _input: Input) {}

    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Runtimes alive.
    pub fn usage(&self) -> usize {
        0
    }
}
