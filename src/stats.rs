//! Named counters and gauges, shown at `/metrics`.
//!
//! Every drop, refusal and retry of any machine is one of these; they are plain atomics, so that
//! each thread counts without asking another.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number with a Prometheus name and help text.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    value: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

impl Metric {
    const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter, value: AtomicU64::new(0) }
    }

    const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge, value: AtomicU64::new(0) }
    }

    pub fn add(&self, amount: u64) {
        self.value.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.value.store(value, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($kind:ident $id:ident $name:literal $help:literal;)*) => {
        $(#[doc = $help] pub static $id: Metric = Metric::$kind(concat!("branchline_", $name), $help);)*

        /// All metrics in the order of this file, for `/metrics`.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    gauge SESSIONS "sessions" "Sessions running.";
    counter SESSIONS_STARTED "sessions_started_total" "Sessions started.";
    counter SESSIONS_REFUSED "sessions_refused_total" "Sessions refused because the gateway was full or draining.";
    gauge CALLS "calls" "SIP calls in progress.";
    counter CALLS_REFUSED "calls_refused_total" "Calls refused by a limit, a rule or the dial plan.";
    counter TRUNK_FAILOVERS "trunk_failovers_total" "Calls that went on to the next trunk of their route.";
    counter ACCESS_REFUSED "access_refused_total" "Requests to an access URL whose session had too many waiting.";
    counter SCRIPT_FAILURES "script_failures_total" "Sessions ended by a script error or limit.";
    counter SCRIPT_EXCEPTIONS "script_exceptions_total" "Exceptions in listeners after which the session went on.";
    counter MEDIA_UNITS_REFUSED "media_units_refused_total" "Calls, players and recorders for which media had no place or port.";
    counter MEDIA_ROUTES_REFUSED "media_routes_refused_total" "Routes between media units that cannot be.";
    counter MEDIA_TICKS_SKIPPED "media_ticks_skipped_total" "Steps of 20 ms that the media thread was too late for.";
    counter MEDIA_PANICS "media_panics_total" "Bugs met and survived by media threads.";
    counter MEDIA_EVENTS_DROPPED "media_events_dropped_total" "Events of media that found the channel full.";
    counter MEDIA_SAMPLES_DROPPED "media_samples_dropped_total" "Blocks of recordings that found the disk busy.";
    counter RTP_INVALID "rtp_invalid_total" "Packets on RTP and RTCP ports that could not be read or had an unknown payload type.";
    counter RTP_FOREIGN "rtp_foreign_total" "Packets from others than the call's peer.";
    counter RTP_DUPLICATE "rtp_duplicate_total" "RTP packets that came twice or out of any order.";
    counter RTP_LATE "rtp_late_total" "RTP packets that came too late to be recorded or passed on.";
    counter RTP_NOT_SENT "rtp_not_sent_total" "RTP packets that the system did not take.";
    counter DTMF_DROPPED "dtmf_dropped_total" "Digits to send that found the queue full.";
    counter MARKS_DROPPED "marks_dropped_total" "Markers of players beyond what one can have.";
    counter DTMF_INFO_UNREADABLE "dtmf_info_unreadable_total" "SIP INFO bodies for digits that held none.";
}
