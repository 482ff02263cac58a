//! GetCallHistory (reference section 5.1): filters to a query, rows to the answer.
//!
//! Sessions that run are in the database as rows without an end; they are shown as they are at
//! present, without duration and finish reason. Output **is** JSON; csv and reports are **not**
//! supported.

use std::collections::HashMap;
use std::time::Instant;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use nanoserde::{DeJson, SerJson};

use super::configuration;
use super::message::ApiError;
use super::parameters::Parameters;
use crate::clock;
use crate::gateway::Gateway;
use crate::storage::record::{
    AudioRecord, CallRecord, HistoryFilter, RecordingRecord, SessionRecord, UnixMs,
};
use crate::storage::store::HistoryPage;

/// A GetCallHistory with its parameters checked.
#[derive(Debug)]
pub struct HistoryQuery {
    pub filter: HistoryFilter,
    /// The filter asks for what no session here has.
    pub matches_nothing: bool,
    timezone: String,
    zone: TimeZone,
    with_total_count: bool,
    with_other_resources: bool,
}

impl HistoryQuery {
    pub fn of(gateway: &Gateway, parameters: &Parameters, now: Instant) -> Result<Self, ApiError> {
        let config = gateway.config();
        if parameters.text("output").is_some_and(|output| output != "json") {
            return Err(ApiError::new(105, "output is not json"));
        }
        if parameters.flag("is_async")? {
            return Err(ApiError::new(105, "is_async is not supported"));
        }
        let timezone = match parameters.text("timezone") {
            None | Some("auto") => "UTC",
            Some(name) => name,
        };
        let zone = zone(timezone)?;
        let application = configuration::application(config, parameters)?;
        let rule_name = parameters.text("rule_name").map(str::to_owned);
        if rule_name.is_some() && application.is_none() {
            let wanted = "rule_name needs application_id or application_name beside it";
            return Err(ApiError::new(101, wanted));
        }
        let ids = parameters.numbers("call_session_history_id", 150, MOST_IDS)?;
        let (from, to) = range(parameters, &zone, gateway.unix_ms(now), !ids.is_empty())?;
        let page = parameters.page()?;
        let duration = |name: &str| -> Result<Option<i64>, ApiError> {
            Ok(parameters
                .number(name, 101)?
                .map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)))
        };
        let owned = |items: Vec<&str>| items.into_iter().map(str::to_owned).collect();
        let filter = HistoryFilter {
            ids,
            from,
            to,
            application_id: application.map(|application| application.id),
            rule_name,
            remote_numbers: match parameters.text("remote_number_list") {
                Some(json) => numbers_of(json)?,
                None => owned(parameters.list("remote_number")),
            },
            local_numbers: owned(parameters.list("local_number")),
            custom_data: parameters.text("call_session_history_custom_data").map(str::to_owned),
            min_duration_s: duration("min_duration")?,
            max_duration_s: duration("max_duration")?,
            newest_first: parameters.flag("desc_order")?,
            with_calls: parameters.flag("with_calls")?,
            with_records: parameters.flag("with_records")?,
            count: page.count,
            offset: page.offset,
        };
        Ok(Self {
            filter,
            // No session here runs in the name of a user.
            matches_nothing: !parameters.numbers("user_id", 117, MOST_IDS)?.is_empty(),
            timezone: timezone.to_owned(),
            zone,
            with_total_count: parameters.boolean("with_total_count")?.unwrap_or(true),
            with_other_resources: parameters.flag("with_other_resources")?,
        })
    }
}

/// The answer for a page of the database.
pub fn page(gateway: &Gateway, query: &HistoryQuery, page: HistoryPage) -> String {
    let running: HashMap<u64, SessionRecord> =
        gateway.running().into_iter().map(|row| (row.id, row)).collect();
    let account_id = gateway.config().control.account_id;
    let result: Vec<SessionItem> = page
        .sessions
        .into_iter()
        .map(|row| running.get(&row.id).cloned().unwrap_or(row))
        .map(|row| session_item(query, account_id, row))
        .collect();
    let history = History {
        count: result.len(),
        result,
        total_count: query.with_total_count.then_some(page.total),
        timezone: query.timezone.clone(),
    };
    history.serialize_json()
}

/// `from_date` and `to_date`; the last month where neither is given, unless ids are.
fn range(
    parameters: &Parameters,
    zone: &TimeZone,
    now: UnixMs,
    has_ids: bool,
) -> Result<(Option<UnixMs>, Option<UnixMs>), ApiError> {
    let date = |name: &str| {
        let Some(text) = parameters.text(name) else { return Ok(None) };
        let wanted = || ApiError::new(111, format!("{name} is not like 2026-01-31 23:59:59"));
        in_zone(text, zone).ok_or_else(wanted).map(Some)
    };
    match (date("from_date")?, date("to_date")?) {
        (None, None) if !has_ids => {
            let month_ago = Timestamp::from_millisecond(now).ok().and_then(|now| {
                let now = TimeZone::UTC.to_datetime(now);
                let then = now.checked_sub(1.month()).ok()?;
                Some(TimeZone::UTC.to_timestamp(then).ok()?.as_millisecond())
            });
            Ok((month_ago, None))
        }
        (Some(from), Some(to)) if from > to => {
            Err(ApiError::new(123, "from_date is later than to_date"))
        }
        // A second is meant whole: rows keep milliseconds.
        (from, to) => Ok((from, to.map(|to| to.saturating_add(999)))),
    }
}

/// What a clock in the zone showed, as Unix time.
fn in_zone(text: &str, zone: &TimeZone) -> Option<UnixMs> {
    let as_utc = Timestamp::from_millisecond(clock::parse_utc(text)?).ok()?;
    Some(zone.to_timestamp(TimeZone::UTC.to_datetime(as_utc)).ok()?.as_millisecond())
}

/// Names of the IANA database, as the system has it.
fn zone(name: &str) -> Result<TimeZone, ApiError> {
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| ApiError::new(101, "timezone is not like Europe/Berlin"))
}

/// A JSON array of strings.
fn numbers_of(json: &str) -> Result<Vec<String>, ApiError> {
    // The type is flat, so nesting in the text is an error and no recursion.
    let numbers: Vec<String> = DeJson::deserialize_json(json)
        .map_err(|_| ApiError::new(101, "remote_number_list is no JSON array of strings"))?;
    match numbers.len() <= MOST_IDS {
        true => Ok(numbers),
        false => Err(ApiError::new(497, format!("more than {MOST_IDS} numbers"))),
    }
}

fn session_item(query: &HistoryQuery, account_id: u32, row: SessionRecord) -> SessionItem {
    let is_running = row.finish_reason.is_none();
    let calls = query.filter.with_calls.then(|| {
        let address = row.media_server_address.as_str();
        row.calls.into_iter().map(|call| call_item(query, address, call)).collect()
    });
    let records = query
        .filter
        .with_records
        .then(|| row.records.into_iter().map(|record| record_item(query, record)).collect());
    SessionItem {
        call_session_history_id: row.id,
        account_id,
        application_id: row.application_id,
        application_name: row.application_name,
        rule_name: row.rule_name,
        start_date: local(query, row.start),
        duration: (!is_running).then_some(seconds(row.duration_ms)),
        initiator_address: row.initiator_address,
        media_server_address: row.media_server_address.clone(),
        log_file_url: row.log_file_url,
        finish_reason: row.finish_reason,
        audio_quality: match row.audio_quality.is_empty() {
            true => "Standard".into(),
            false => row.audio_quality,
        },
        custom_data: row.custom_data,
        calls,
        records,
        other_resource_usage: query.with_other_resources.then(Vec::new),
    }
}

fn call_item(query: &HistoryQuery, media_server_address: &str, call: CallRecord) -> CallItem {
    CallItem {
        call_id: call.id,
        start_time: local(query, call.start),
        duration: seconds(call.duration_ms),
        local_number: call.local_number,
        remote_number: call.remote_number,
        remote_number_type: call.remote_number_type,
        incoming: call.is_incoming,
        successful: call.is_successful,
        end_reason: (!call.end_reason.is_empty()).then_some(call.end_reason),
        transaction_id: 0,
        record_url: call.record_url,
        media_server_address: media_server_address.to_owned(),
        cost: 0,
        custom_data: call.custom_data,
        statistics: call.audio.map(|audio| statistics(*audio)),
    }
}

fn statistics(audio: AudioRecord) -> Statistics {
    let thousandths = |value: u64| value as f64 / 1000.0;
    let mark = |hundredths: u64| (hundredths > 0).then_some(hundredths as f64 / 100.0);
    Statistics {
        codec: audio.codec,
        packets_received: audio.packets_received,
        packets_sent: audio.packets_sent,
        packets_lost: audio.packets_lost,
        packets_discarded: audio.packets_discarded,
        concealed_ms: audio.concealed_ms,
        lost_by_peer: audio.lost_by_peer,
        jitter_ms: thousandths(audio.jitter_us),
        jitter_most_ms: thousandths(audio.jitter_most_us),
        jitter_at_peer_ms: thousandths(audio.jitter_at_peer_us),
        round_trip_ms: thousandths(audio.round_trip_us),
        mos: mark(audio.mos),
        mos_at_peer: mark(audio.mos_at_peer),
    }
}

fn record_item(query: &HistoryQuery, record: RecordingRecord) -> RecordItem {
    RecordItem {
        record_id: record.id,
        record_name: record.name,
        cost: 0,
        start_time: local(query, record.start),
        duration: seconds(record.duration_ms),
        record_url: record.url,
        transaction_id: 0,
        file_size: record.file_bytes,
    }
}

/// A date in the zone of the query.
fn local(query: &HistoryQuery, unix_ms: UnixMs) -> String {
    let Ok(timestamp) = Timestamp::from_millisecond(unix_ms) else { return String::new() };
    let shown: DateTime = query.zone.to_datetime(timestamp);
    shown.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// To the nearest second.
fn seconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(500).div_euclid(1000)
}

#[derive(SerJson)]
struct History {
    result: Vec<SessionItem>,
    count: usize,
    total_count: Option<u64>,
    timezone: String,
}

#[derive(SerJson)]
struct SessionItem {
    call_session_history_id: u64,
    account_id: u32,
    application_id: u32,
    application_name: String,
    rule_name: String,
    start_date: String,
    duration: Option<i64>,
    initiator_address: String,
    media_server_address: String,
    log_file_url: String,
    finish_reason: Option<String>,
    audio_quality: String,
    custom_data: String,
    calls: Option<Vec<CallItem>>,
    records: Option<Vec<RecordItem>>,
    /// Costs nothing here.
    other_resource_usage: Option<Vec<u8>>,
}

#[derive(SerJson)]
struct CallItem {
    call_id: u64,
    start_time: String,
    duration: i64,
    local_number: String,
    remote_number: String,
    remote_number_type: String,
    incoming: bool,
    successful: bool,
    end_reason: Option<String>,
    transaction_id: u8,
    record_url: Option<String>,
    media_server_address: String,
    cost: u8,
    custom_data: Option<String>,
    /// Not of the cloud.
    statistics: Option<Statistics>,
}

#[derive(SerJson)]
struct Statistics {
    codec: String,
    packets_received: u64,
    packets_sent: u64,
    packets_lost: u64,
    packets_discarded: u64,
    concealed_ms: u64,
    lost_by_peer: u64,
    jitter_ms: f64,
    jitter_most_ms: f64,
    jitter_at_peer_ms: f64,
    round_trip_ms: f64,
    mos: Option<f64>,
    mos_at_peer: Option<f64>,
}

#[derive(SerJson)]
struct RecordItem {
    record_id: u64,
    record_name: String,
    cost: u8,
    start_time: String,
    duration: i64,
    record_url: String,
    transaction_id: u8,
    file_size: u64,
}

/// Reference 5.1.
const MOST_IDS: usize = 1000;
