//! `sessions` and `history`: what runs, and what ran.
#![allow(clippy::question_mark, reason = "nanoserde's derive writes it")]

use std::path::Path;

use nanoserde::DeJson;

use super::Failure;
use super::client::{self, Client};
use super::output;
use super::table;
use crate::clock;
use crate::config::Config;
use crate::driver;
use crate::storage::record::{CallRecord, HistoryFilter, SessionRecord};

/// `branchline sessions`
pub fn sessions(config: Option<&Path>) -> Result<(), Failure> {
    let (client, _) = client::connect(config)?;
    let status: Status = read(&client.keyed("/status", &[])?)?;
    if status.sessions.is_empty() {
        output::put("no session runs\n");
        return Ok(());
    }
    let row = |session: &Session| {
        let calls = session.calls.iter().map(|call| call.remote_number.as_str());
        vec![
            session.session_id.to_string(),
            session.start.clone(),
            session.rule.clone(),
            session.initiator.clone(),
            calls.collect::<Vec<_>>().join(" "),
        ]
    };
    let rows: Vec<_> = status.sessions.iter().map(row).collect();
    output::put(&table::render(&["session", "start (UTC)", "rule", "from", "calls"], &rows));
    Ok(())
}

/// `branchline history`
pub fn history(config: Option<&Path>, count: usize) -> Result<(), Failure> {
    let page = match client::find(config)? {
        (Some(client), _) => {
            page(&client, &[("count", &count.to_string()), ("desc_order", "true")])?
        }
        (None, config) => at_rest(&config, count)?,
    };
    if page.result.is_empty() {
        output::put("no session yet\n");
        return Ok(());
    }
    output::put(&render(&page));
    Ok(())
}

/// The history with calls, filtered by parameters of GetCallHistory.
pub fn page(client: &Client, parameters: &[(&str, &str)]) -> Result<History, Failure> {
    let with_calls = [parameters, &[("with_calls", "true")]].concat();
    read(&client.api("GetCallHistory", &with_calls)?)
}

/// The history where no gateway runs, from its database.
fn at_rest(config: &Config, count: usize) -> Result<History, Failure> {
    let filter =
        HistoryFilter { newest_first: true, with_calls: true, count, ..HistoryFilter::default() };
    let page = driver::history_at_rest(&config.gateway.data_dir, &filter)?;
    // To the nearest second, as GetCallHistory has it.
    let seconds = |milliseconds: i64| u64::try_from(milliseconds.saturating_add(500) / 1000).ok();
    let call = |call: CallRecord| CallRow {
        start_time: clock::utc(call.start),
        duration: seconds(call.duration_ms),
        remote_number: call.remote_number,
        incoming: call.is_incoming,
        successful: call.is_successful,
        end_reason: Some(call.end_reason),
    };
    let row = |session: SessionRecord| SessionRow {
        call_session_history_id: session.id,
        rule_name: session.rule_name,
        start_date: clock::utc(session.start),
        duration: seconds(session.duration_ms),
        log_file_url: None,
        finish_reason: session.finish_reason,
        custom_data: Some(session.custom_data),
        calls: Some(session.calls.into_iter().map(call).collect()),
    };
    Ok(History { result: page.sessions.into_iter().map(row).collect() })
}

/// Sessions with their calls indented under them.
pub fn render(page: &History) -> String {
    let headline = ["session", "start (UTC)", "duration", "rule / number", "outcome"];
    let mut rows = Vec::new();
    for session in &page.result {
        rows.push(vec![
            session.call_session_history_id.to_string(),
            session.start_date.clone(),
            table::duration(session.duration.unwrap_or(0)),
            session.rule_name.clone(),
            outcome(session),
        ]);
        for call in session.calls.iter().flatten() {
            let arrow = if call.incoming { "<-" } else { "->" };
            rows.push(vec![
                String::new(),
                format!("  {}", call.start_time),
                table::duration(call.duration.unwrap_or(0)),
                format!("  {arrow} {}", call.remote_number),
                call.end_reason.clone().unwrap_or_default(),
            ]);
        }
    }
    table::render(&headline, &rows)
}

/// How the session ended, and what its scenario left in its custom data.
fn outcome(session: &SessionRow) -> String {
    let reason = session.finish_reason.as_deref().unwrap_or("runs");
    match session.custom_data.as_deref().unwrap_or_default() {
        "" => reason.to_owned(),
        data => {
            let shown = data.chars().map(|c| if c.is_control() { ' ' } else { c });
            format!("{reason}; {}", shown.take(DATA_CHARS).collect::<String>())
        }
    }
}

/// What of the custom data a terminal has room for beside the other columns.
const DATA_CHARS: usize = 60;

pub fn read<T: DeJson>(json: &str) -> Result<T, Failure> {
    T::deserialize_json(json)
        .map_err(|error| Failure::Failed(format!("the answer was not understood: {error}")))
}

/// GetCallHistory (Management API reference 5.1), as far as it is shown here.
#[derive(Debug, DeJson)]
pub struct History {
    pub result: Vec<SessionRow>,
}

#[derive(Debug, DeJson)]
pub struct SessionRow {
    pub call_session_history_id: u64,
    pub rule_name: String,
    pub start_date: String,
    pub duration: Option<u64>,
    pub log_file_url: Option<String>,
    pub finish_reason: Option<String>,
    pub custom_data: Option<String>,
    pub calls: Option<Vec<CallRow>>,
}

#[derive(Debug, DeJson)]
pub struct CallRow {
    pub start_time: String,
    pub duration: Option<u64>,
    pub remote_number: String,
    pub incoming: bool,
    pub successful: bool,
    pub end_reason: Option<String>,
}

#[derive(DeJson)]
struct Status {
    sessions: Vec<Session>,
}

#[derive(DeJson)]
struct Session {
    session_id: u64,
    start: String,
    rule: String,
    initiator: String,
    calls: Vec<Call>,
}

#[derive(DeJson)]
struct Call {
    remote_number: String,
}
