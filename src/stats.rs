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

/// How values are spread, in buckets with upper bounds.
#[derive(Debug)]
pub struct Histogram {
    pub name: &'static str,
    pub help: &'static str,
    /// Rising; what is above the last counts too.
    pub bounds: &'static [f32],
    counts: [AtomicU64; MOST_BOUNDS + 1],
    /// In millionths.
    sum: AtomicU64,
}

impl Histogram {
    pub const fn new(name: &'static str, bounds: &'static [f32], help: &'static str) -> Self {
        assert!(bounds.len() <= MOST_BOUNDS, "a bucket for each bound");
        let counts = [const { AtomicU64::new(0) }; MOST_BOUNDS + 1];
        Self { name, help, bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Values are not negative.
    pub fn observe(&self, value: f32) {
        let bucket = self.bounds.iter().take_while(|bound| value > **bound).count();
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((f64::from(value) * 1e6) as u64, Ordering::Relaxed);
    }

    /// Of the buckets in their order, the last for what is above all bounds.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts[..=self.bounds.len()].iter().map(|count| count.load(Ordering::Relaxed))
    }

    pub fn sum(&self) -> f64 {
        self.sum.load(Ordering::Relaxed) as f64 / 1e6
    }
}

const MOST_BOUNDS: usize = 8;

/// Lower limits of the classes of ITU-T G.109.
const MARKS: &[f32] = &[2.58, 3.1, 3.6, 4.03, 4.34];

/// Estimated MOS of what callers said, narrowband scale (ITU-T G.107).
pub static CALL_MOS_NARROWBAND: Histogram = Histogram::new(
    "branchline_call_mos_narrowband",
    MARKS,
    "Estimated MOS of what came in narrowband calls, by ITU-T G.107.",
);
/// The same on the wideband scale (G.107.1).
pub static CALL_MOS_WIDEBAND: Histogram = Histogram::new(
    "branchline_call_mos_wideband",
    MARKS,
    "Estimated MOS of what came in wideband calls, by ITU-T G.107.1.",
);
/// The same on the fullband scale (G.107.2).
pub static CALL_MOS_FULLBAND: Histogram = Histogram::new(
    "branchline_call_mos_fullband",
    MARKS,
    "Estimated MOS of what came in fullband calls, by ITU-T G.107.2.",
);
/// Share of the packets of a call that did not come or came too late.
pub static CALL_LOSS: Histogram = Histogram::new(
    "branchline_call_loss_ratio",
    &[0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1],
    "Share of the packets of each call that did not come or came too late.",
);
/// Interarrival jitter at the end of a call.
pub static CALL_JITTER: Histogram = Histogram::new(
    "branchline_call_jitter_seconds",
    &[0.001, 0.005, 0.01, 0.02, 0.05, 0.1],
    "Interarrival jitter at the end of each call (RFC 3550).",
);
/// Round trip of RTCP, of calls whose peer sends reports.
pub static CALL_ROUND_TRIP: Histogram = Histogram::new(
    "branchline_call_round_trip_seconds",
    &[0.01, 0.02, 0.05, 0.1, 0.15, 0.3, 0.5],
    "Round trip at the end of each call whose peer sends RTCP.",
);

/// All histograms, for `/metrics`.
pub static HISTOGRAMS: &[&Histogram] = &[
    &CALL_MOS_NARROWBAND,
    &CALL_MOS_WIDEBAND,
    &CALL_MOS_FULLBAND,
    &CALL_LOSS,
    &CALL_JITTER,
    &CALL_ROUND_TRIP,
];

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
    counter SESSIONS_REFUSED_BUSY "sessions_refused_busy_total" "Sessions refused because scripts have been slow to start for a while: more comes than can be carried.";
    gauge CALLS "calls" "SIP calls in progress.";
    counter CALLS_REFUSED "calls_refused_total" "Calls refused by a limit, a rule or the dial plan.";
    counter TRANSFERS "transfers_total" "Transfers that worked, of ours and of peers.";
    counter TRANSFERS_FAILED "transfers_failed_total" "Transfers that were tried and did not work.";
    counter TRANSFERS_REFUSED "transfers_refused_total" "Transfers refused without a try: malformed, beyond a limit, one under way, nobody to transfer, or not allowed.";
    counter CALLS_REFUSED_SRTP "calls_refused_srtp_total" "Calls and changes of calls refused because one side wants SRTP and the other does not.";
    counter TRUNK_FAILOVERS "trunk_failovers_total" "Calls that went on to the next trunk of their route.";
    counter ACCESS_REFUSED "access_refused_total" "Requests to an access URL whose session had too many waiting.";
    counter SCRIPT_FAILURES "script_failures_total" "Sessions ended by a script error or limit.";
    counter SCRIPT_EXCEPTIONS "script_exceptions_total" "Exceptions in listeners after which the session went on.";
    counter SIP_ANSWERS_DECLINED "sip_answers_declined_total" "Answers to our INVITEs that nobody wanted any more, acknowledged and ended.";
    counter SIP_AUTHENTICATION_FAILED "sip_authentication_failed_total" "Requests with a wrong password or of an unknown user.";
    counter SIP_CHANGES_PUT_OFF "sip_changes_put_off_total" "Re-INVITEs and refreshes of ours that the peer asked to come later.";
    counter SIP_CHANGES_REFUSED "sip_changes_refused_total" "Re-INVITEs and refreshes of ours that the peer refused.";
    counter SIP_CONTACTS_REPLACED "sip_contacts_replaced_total" "Contacts of a user dropped for a newer one because all were taken.";
    counter SIP_DROPPED "sip_dropped_total" "SIP messages dropped without an answer: unreadable, stray or beyond a limit.";
    counter SIP_HANDSHAKES_CUT "sip_handshakes_cut_total" "TLS handshakes of peers that were cut off to make room for others.";
    counter SIP_HANDSHAKES_REFUSED "sip_handshakes_refused_total" "TLS connections closed before the handshake because their source, or all sources that are nobody's, had too many.";
    counter SIP_TLS_FAILED "sip_tls_failed_total" "TLS handshakes that failed or took too long, either way.";
    counter SIP_FLOOD_DROPPED "sip_flood_dropped_total" "SIP messages dropped unread because their source, nobody's that we know, sent too many.";
    counter SIP_FLOWS_LOST "sip_flows_lost_total" "Contacts dropped because the connection of their phone was gone.";
    counter SIP_GUESSES_SLOWED "sip_guesses_slowed_total" "Requests with credentials refused with 503 because too many passwords were wrong of late.";
    counter SIP_HEADERS_DROPPED "sip_headers_dropped_total" "Header fields that scripts do not see because a message had too many bytes of them.";
    counter SIP_PRACKS_MISSED "sip_pracks_missed_total" "Incoming calls refused with 504 because a reliable provisional response had no PRACK.";
    counter SIP_PROVISIONALS_SKIPPED "sip_provisionals_skipped_total" "Provisional responses not sent because the same had just been, or a call had too many.";
    counter SIP_REFUSED_CALLERS "sip_refused_callers_total" "INVITEs refused because they came from nobody known.";
    counter SIP_REFUSED_CONTACTS "sip_refused_contacts_total" "REGISTER requests refused because they named more contacts than a user may have.";
    counter SIP_REFUSED_FULL_CALLS "sip_refused_full_calls_total" "Calls refused because the table of calls was full.";
    counter SIP_REFUSED_FULL_STREAMS "sip_refused_full_streams_total" "TCP connections refused because there were too many.";
    counter SIP_REFUSED_FULL_TRANSACTIONS "sip_refused_full_transactions_total" "Requests refused with 503 because the table of transactions was full.";
    counter SIP_REFUSED_REQUESTS "sip_refused_requests_total" "Requests refused for what they are: method, extension, body, order.";
    counter SIP_REFUSED_TRUNK_CALLS "sip_refused_trunk_calls_total" "Calls that went elsewhere or were refused because max_calls or max_cps of a trunk was reached.";
    counter SIP_REFUSED_USER_CALLS "sip_refused_user_calls_total" "Calls refused because max_calls of a user was reached.";
    counter SIP_REGISTRATIONS_FAILED "sip_registrations_failed_total" "Registrations of ours at a trunk that were refused or unanswered.";
    counter SIP_RETRANSMISSIONS "sip_retransmissions_total" "SIP messages sent again because no answer came.";
    counter SIP_RETRANSMISSIONS_ABSORBED "sip_retransmissions_absorbed_total" "Requests that came again and were not handled twice.";
    counter SIP_SCANNERS_DROPPED "sip_scanners_dropped_total" "Requests of scanners and, with strangers = \"drop\", of nobody known that got no answer.";
    counter SIP_SEND_FAILED "sip_send_failed_total" "SIP messages that could not be sent.";
    counter SIP_SESSIONS_EXPIRED "sip_sessions_expired_total" "Calls ended because their peer did not refresh the session in time.";
    counter SIP_STRANGERS_DROPPED "sip_strangers_dropped_total" "SIP messages dropped unread because all sources together that are nobody's sent too many.";
    counter SIP_STREAMS_CUT "sip_streams_cut_total" "Silent TCP connections closed early to make room.";
    counter SIP_STREAMS_TIMED_OUT "sip_streams_timed_out_total" "SIP connections closed because no whole message came in time.";
    counter SIP_TRANSACTIONS_CUT "sip_transactions_cut_total" "Finished transactions forgotten early to make room.";
    counter SIP_TRUNK_CHECKS_FAILED "sip_trunk_checks_failed_total" "OPTIONS to a trunk without an answer that shows it alive.";
    counter SIP_TARGETS_CHANGED "sip_targets_changed_total" "Requests that went on to the next address of their peer.";
    counter DNS_CACHE_HITS "dns_cache_hits_total" "Requests to a named peer that needed no DNS question.";
    counter DNS_FAILED "dns_failed_total" "DNS questions that no server answered.";
    counter DNS_FOREIGN "dns_foreign_total" "DNS messages dropped because they fit no question: late, broken or forged.";
    counter DNS_QUERIES "dns_queries_total" "DNS queries sent.";
    counter DNS_REFUSED "dns_refused_total" "DNS queries that a server refused or could not answer.";
    counter DNS_REFUSED_FULL "dns_refused_full_total" "Requests that failed because too many DNS questions were open.";
    counter DNS_STALE "dns_stale_total" "Expired DNS records used further because no server answered.";
    counter DNS_TIMEOUTS "dns_timeouts_total" "DNS queries that a server did not answer in time.";
    counter MEDIA_UNITS_REFUSED "media_units_refused_total" "Calls, players and recorders for which media had no place or port.";
    counter MEDIA_ROUTES_REFUSED "media_routes_refused_total" "Routes between media units that cannot be.";
    counter MEDIA_TICKS_SKIPPED "media_ticks_skipped_total" "Steps of 20 ms that the media thread was too late for.";
    counter MEDIA_PANICS "media_panics_total" "Bugs met and survived by media threads.";
    counter MEDIA_EVENTS_DROPPED "media_events_dropped_total" "Events of media that found the channel full.";
    counter MEDIA_SAMPLES_DROPPED "media_samples_dropped_total" "Blocks of recordings that found the disk busy.";
    counter RTP_INVALID "rtp_invalid_total" "Packets on RTP and RTCP ports that could not be read or had an unknown payload type.";
    counter RTP_FOREIGN "rtp_foreign_total" "Packets from others than the call's peer.";
    counter RTP_TOO_MANY "rtp_too_many_total" "RTP packets beyond what one call may send in a second.";
    counter RTP_DUPLICATE "rtp_duplicate_total" "RTP packets that came twice or out of any order.";
    counter RTP_LATE "rtp_late_total" "RTP packets that came too late to be recorded or passed on.";
    counter RTP_NOT_SENT "rtp_not_sent_total" "RTP packets that the system did not take.";
    counter SRTP_UNAUTHENTICATED "srtp_unauthenticated_total" "Packets on the ports of protected calls that were not made with the call's key.";
    counter SRTP_REPLAYED "srtp_replayed_total" "Protected packets that came twice or too late to know.";
    counter SRTP_NOT_SENT "srtp_not_sent_total" "Packets not sent because their place under the key was used already.";
    counter DTMF_DROPPED "dtmf_dropped_total" "Digits to send that found the queue full.";
    counter MARKS_DROPPED "marks_dropped_total" "Markers of players beyond what one can have.";
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
    counter LOG_LINES_LOST "log_lines_lost_total" "Lines of session logs lost because the disk was full or did not keep up.";
    counter ROWS_LOST "rows_lost_total" "Rows of history and registrations lost because the disk was full or did not keep up.";
    counter HISTORY_REFUSED "history_refused_total" "History queries refused because the disk thread was busy.";
    counter DATABASES_SET_ASIDE "databases_set_aside_total" "Corrupt databases set aside and begun anew.";
    counter DISK_FAILURES "disk_failures_total" "Failed writes of the database, recordings and logs.";
    counter DISK_ANSWERS_LOST "disk_answers_lost_total" "Answers of the disk thread that nobody took in time.";
    counter RECORDINGS_FAILED "recordings_failed_total" "Recordings refused or cut short because the disk was full or not writable.";
    counter RECORDING_SAMPLES_LOST "recording_samples_lost_total" "Samples that became silence in a recording because the disk did not keep up.";
    counter FILES_EXPIRED "files_expired_total" "Recordings and session logs removed by their size or age limit.";
    counter SPEECH_FAILURES "speech_failures_total" "Texts that the TTS engine could not speak.";
    counter SOUNDS_FAILED "sounds_failed_total" "Sounds that could not be loaded, or broke off while they were played.";
    counter SOUNDS_REFUSED "sounds_refused_total" "Sounds refused because sound_cache_mib was full of sounds being played.";
    counter PANICS "panics_total" "Bugs met by an input; its session was ended.";
    counter SIP_SEND_DROPPED "sip_send_dropped_total" "SIP packets dropped because the send buffer was full.";
    counter SIP_UNREACHABLE "sip_unreachable_total" "SIP packets that were refused on their way.";
    counter SIP_STREAMS_REFUSED "sip_streams_refused_total" "SIP connections closed at once because there were too many.";
    counter SIP_STREAMS_SLOW "sip_streams_slow_total" "SIP connections closed because the peer did not read.";
    counter SCRIPT_QUEUE_FULL "script_queue_full_total" "Sessions ended because their script did not keep up with its events.";
    counter MEDIA_QUEUE_FULL "media_queue_full_total" "Commands refused, of new calls among others, because the media thread did not keep up.";
    counter WORKERS_REPLACED "workers_replaced_total" "JavaScript threads that were stuck and replaced.";
}
