//! What is told of a session: its own log file, and the life of its calls in the gateway's log.
//!
//! The gateway's log has at `info` what an operator follows (calling, incoming, ringing, connected,
//! ended, failed), the session's own log everything.

use std::fmt;
use std::time::Duration;

use super::Session;
use super::exchange::Exchange;
use crate::clock;
use crate::scenario::command::Object;
use crate::storage::store::Operation;

/// A call as the logs name it: the script's number of one it made, `in1`, `in2` of those that
/// came in.
#[derive(Clone, Copy)]
pub struct CallName(pub Object);

impl CallName {
    /// The object of the session's incoming call `index`, counted from 0; scripts number what
    /// they make from 1.
    pub fn incoming(index: u32) -> Object {
        INCOMING | index
    }
}

impl fmt::Display for CallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 & INCOMING {
            0 => write!(f, "{}", self.0),
            _ => write!(f, "in{}", (self.0 & !INCOMING) + 1),
        }
    }
}

/// A length of time as the logs write it: `4.1 s`.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

impl Session {
    /// A step in a call's life: in both logs. What is private is hidden in `text` already.
    pub(super) fn log_call(&mut self, exchange: &mut Exchange, call: Object, text: &str) {
        let name = CallName(call);
        log::info!(target: TARGET, "session={} call={name} {text}", self.record.id);
        self.keep_line(exchange, &format!("call {name}: {text}"));
    }

    /// One line of the session's own log.
    pub(super) fn log_line(&mut self, exchange: &mut Exchange, text: &str) {
        log::debug!(target: TARGET, "session={} {text}", self.record.id);
        self.keep_line(exchange, text);
    }

    fn keep_line(&mut self, exchange: &mut Exchange, text: &str) {
        let limit = exchange.config.limits.session_log_bytes;
        if self.log_bytes >= limit {
            return;
        }
        self.log_bytes += text.len() as u64 + STAMP_BYTES;
        let stamp = clock::utc_with_milliseconds(exchange.unix_ms());
        let line = match self.log_bytes >= limit {
            false => format!("{stamp} {text}"),
            true => format!("{stamp} the log is full ({limit} bytes): no more lines are kept"),
        };
        exchange.disk(Operation::Log { file: self.log_file.clone(), line });
    }
}

/// Objects of incoming calls have this bit.
const INCOMING: Object = 1 << 31;
/// One module for all that sessions say, whatever file says it.
pub(super) const TARGET: &str = "session";
/// `2026-01-02 03:04:05.678 ` and the line's end.
const STAMP_BYTES: u64 = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incoming_calls_are_named_by_their_place() {
        assert_eq!(CallName(3).to_string(), "3");
        assert_eq!(CallName(CallName::incoming(0)).to_string(), "in1");
        assert_eq!(CallName(CallName::incoming(11)).to_string(), "in12");
    }
}
