//! Whose input it was, for the log and for the session that a bug of ours ends.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::gateway::Input;
use crate::scenario::worker::{Output, SessionId};
use crate::sip::user_agent as sip;
use crate::stats;
use crate::storage::store;

/// Who an input is from or about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    Peer(SocketAddr),
    Stream(sip::StreamId),
    Session(SessionId),
    Worker(usize),
    Unit(u64),
    Load(u64),
    Resolver(u64),
    Timer,
    /// An HTTP request.
    Control,
    /// Nobody in particular.
    Reactor,
}

impl Culprit {
    pub fn of(input: &Input<'_>) -> Self {
        match input {
            Input::Sip(input) => Self::of_sip(input),
            Input::Script { output, .. } => Self::Session(match output {
                Output::Command { session, .. }
                | Output::Ready { session }
                | Output::HttpAnswer { session, .. }
                | Output::TerminatingDone { session, .. }
                | Output::TerminatedDone { session }
                | Output::Failed { session, .. }
                | Output::Exception { session, .. } => *session,
            }),
            Input::WorkerLost { thread } => Self::Worker(*thread),
            Input::Media { event, .. } => Self::Unit(event.unit().0),
            Input::Loaded { request, .. } => Self::Load(*request),
            Input::Fetched { session, .. } => Self::Session(*session),
            Input::Stored(answer) => match answer {
                store::Answer::History { query, .. } => Self::Load(*query),
                store::Answer::RecordingFinished { recording, .. }
                | store::Answer::RecordingFailed { recording, .. } => Self::Unit(*recording),
            },
            Input::Timeout => Self::Timer,
        }
    }

    /// Lets a machine take the input; `None`: it met a bug of ours.
    ///
    /// The panic hook has logged where. What the machine was about to change may be half done;
    /// its tables hold handles that then find nothing.
    pub fn guard<T>(self, act: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(act));
        if result.is_err() {
            stats::PANICS.add(1);
            log::error!("a bug of branchline was met by {self:?}: please report the lines above");
        }
        result.ok()
    }

    fn of_sip(input: &sip::Input<'_>) -> Self {
        match input {
            sip::Input::Datagram { from, .. } => Self::Peer(*from),
            sip::Input::Accepted { peer, .. } => Self::Peer(*peer),
            sip::Input::Unreachable { to } => Self::Peer(*to),
            sip::Input::Connected { stream, .. }
            | sip::Input::Stream { stream, .. }
            | sip::Input::Closed { stream } => Self::Stream(*stream),
            sip::Input::Resolved { query, .. } => Self::Resolver(*query),
            sip::Input::Timeout => Self::Timer,
        }
    }
}
