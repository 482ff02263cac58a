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
    counter HTTP_REQUESTS "http_requests_total" "HTTP requests.";
    gauge HTTP_CONNECTIONS "http_connections" "Connections of HTTP clients.";
    counter HTTP_REFUSED_FULL "http_refused_full_total" "HTTP connections refused because there were too many.";
    counter HTTP_MALFORMED "http_malformed_total" "HTTP requests refused as malformed or ambiguous.";
    counter HTTP_TOO_LARGE "http_too_large_total" "HTTP requests refused because head or body was too large.";
    counter HTTP_TIMED_OUT "http_timed_out_total" "HTTP connections closed because the client was too slow.";
    counter HTTP_POOL_FULL "http_pool_full_total" "HTTP bodies refused because http_pool_mib was in use.";
    counter HTTP_PANICS "http_panics_total" "HTTP connections lost by a bug.";
    counter HTTP_ANSWERS_TIMED_OUT "http_answers_timed_out_total" "HTTP requests that the scenario or the disk did not answer in time.";
    counter API_REFUSED "api_refused_total" "Management API requests with a wrong key or from a wrong address.";
    counter API_RATE_LIMITED "api_rate_limited_total" "Management API requests beyond the rate limit.";
    counter STARTS_REFUSED "starts_refused_total" "StartScenarios beyond start_in_flight.";
    counter FETCHES "fetches_total" "HTTP requests of scripts and for sounds.";
    counter FETCHES_FAILED "fetches_failed_total" "HTTP requests of scripts and for sounds without an HTTP answer.";
    counter FETCHES_REFUSED "fetches_refused_total" "HTTP requests of scripts and for sounds refused by a limit.";
    counter DTMF_INFO_UNREADABLE "dtmf_info_unreadable_total" "SIP INFO bodies for digits that held none.";
}
