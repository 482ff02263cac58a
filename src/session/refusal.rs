//! From a cause to the status that leaves: one table, nobody else picks numbers.
//!
//! Sources: VoxEngine reference sections 1.6, 7.2 and 7.3; RFC 3261 §21.

/// Why a call does not come about, or ends, by our own decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No rule takes the dialled number.
    NoRule,
    /// No route takes the number, or the URI is none.
    NoRoute,
    /// Every trunk of the route is down.
    NoTrunk,
    /// Sessions or another table is full, or the gateway is about to stop.
    Full,
    /// A number, URI or name that no message has room for.
    TooLong,
    /// `calls_per_session` or `calls_in_progress` of the session is reached.
    CallLimit,
    /// No RTP port was free.
    NoMedia,
    /// Offer and answer have nothing in common.
    NoCommonCodec,
    /// Nobody answered in time.
    NoAnswer,
    /// The script took the incoming call's session down.
    ScriptError,
    /// The session ended while the incoming call was alerting.
    SessionEnded,
    /// `hangup()` of an incoming call before its answer.
    HungUpBeforeAnswer,
}

impl Refusal {
    /// For the log: what the operator or the author of the script can look at.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::NoRule => "no rule takes the number",
            Self::NoRoute => "no [[route]] takes the number, or the URI is none",
            Self::NoTrunk => "every trunk of the route is down",
            Self::Full => "a table is full, or the gateway stops",
            Self::TooLong => "the number, URI or name is too long",
            Self::CallLimit => "calls_per_session or calls_in_progress is reached",
            Self::NoMedia => "no RTP port was free",
            Self::NoCommonCodec => "offer and answer have no codec in common",
            Self::NoAnswer => "nobody answered in time",
            Self::ScriptError => "the script failed",
            Self::SessionEnded => "the session ended",
            Self::HungUpBeforeAnswer => "the script hung up before it answered",
        }
    }

    /// SIP status and, for events, its reason.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Self::NoRule => (404, "Not Found"),
            Self::NoRoute => (404, "Not Found"),
            Self::NoTrunk => (503, "Service Unavailable"),
            Self::Full => (503, "Service Unavailable"),
            Self::TooLong => (414, "Request-URI Too Long"),
            Self::CallLimit => (403, "Call limit reached"),
            Self::NoMedia => (503, "Service Unavailable"),
            Self::NoCommonCodec => (488, "Not Acceptable Here"),
            Self::NoAnswer => (480, "Temporarily Unavailable"),
            Self::ScriptError => (500, "Server Internal Error"),
            Self::SessionEnded => (480, "Temporarily Unavailable"),
            Self::HungUpBeforeAnswer => (603, "Decline"),
        }
    }
}

/// Whether the next trunk of a route is tried after this final status of an outgoing call:
/// time-outs, server failures and transport errors, never a callee's own no.
pub fn tries_next_trunk(status: u16) -> bool {
    status == 408 || (500..600).contains(&status)
}

/// `reject(code)`: what may leave.
pub fn reject_status(code: u16) -> u16 {
    if (300..700).contains(&code) { code } else { 603 }
}
