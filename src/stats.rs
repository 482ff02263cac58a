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
    counter SIP_ANSWERS_DECLINED "sip_answers_declined_total" "Answers to our INVITEs that nobody wanted any more, acknowledged and ended.";
    counter SIP_AUTHENTICATION_FAILED "sip_authentication_failed_total" "Requests with a wrong password or of an unknown user.";
    counter SIP_CONTACTS_REPLACED "sip_contacts_replaced_total" "Contacts of a user dropped for a newer one because all were taken.";
    counter SIP_DROPPED "sip_dropped_total" "SIP messages dropped without an answer: unreadable, stray or beyond a limit.";
    counter SIP_REFUSED_CALLERS "sip_refused_callers_total" "INVITEs refused because they came from nobody known.";
    counter SIP_REFUSED_CONTACTS "sip_refused_contacts_total" "REGISTER requests refused because they named more contacts than a user may have.";
    counter SIP_REFUSED_FULL_CALLS "sip_refused_full_calls_total" "Calls refused because the table of calls was full.";
    counter SIP_REFUSED_FULL_STREAMS "sip_refused_full_streams_total" "TCP connections refused because there were too many.";
    counter SIP_REFUSED_FULL_TRANSACTIONS "sip_refused_full_transactions_total" "Requests refused with 503 because the table of transactions was full.";
    counter SIP_REFUSED_REQUESTS "sip_refused_requests_total" "Requests refused for what they are: method, extension, body, order.";
    counter SIP_REGISTRATIONS_FAILED "sip_registrations_failed_total" "Registrations of ours at a trunk that were refused or unanswered.";
    counter SIP_RETRANSMISSIONS "sip_retransmissions_total" "SIP messages sent again because no answer came.";
    counter SIP_RETRANSMISSIONS_ABSORBED "sip_retransmissions_absorbed_total" "Requests that came again and were not handled twice.";
    counter SIP_SEND_FAILED "sip_send_failed_total" "SIP messages that could not be sent.";
    counter SIP_STREAMS_CUT "sip_streams_cut_total" "Silent TCP connections closed early to make room.";
    counter SIP_TRANSACTIONS_CUT "sip_transactions_cut_total" "Finished transactions forgotten early to make room.";
    counter SIP_TRUNK_CHECKS_FAILED "sip_trunk_checks_failed_total" "OPTIONS to a trunk without an answer that shows it alive.";
    counter DTMF_INFO_UNREADABLE "dtmf_info_unreadable_total" "SIP INFO bodies for digits that held none.";
}
