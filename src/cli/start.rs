//! `start`: StartScenarios at the gateway of this machine, and the session's log until its end.
#![allow(clippy::question_mark, reason = "nanoserde's derive writes it")]

use std::path::Path;
use std::time::Duration;

use nanoserde::DeJson;

use super::Failure;
use super::client::{self, Client};
use super::output;
use super::query;
use crate::config::Config;

/// `branchline start`
pub fn start(config: Option<&Path>, rule: &str, data: &str) -> Result<(), Failure> {
    let (client, config) = client::connect(config)?;
    let rule_id = rule_id(&config, rule)?.to_string();
    let parameters = [("rule_id", rule_id.as_str()), ("script_custom_data", data)];
    let started: Started = query::read(&client.api("StartScenarios", &parameters)?)?;
    let (session, url) = (started.call_session_history_id, started.media_session_access_url);
    output::put(&format!("session {session}\naccess URL {url}\n"));
    follow(&client, session)
}

/// The answer to StartScenarios (Management API reference 3.1).
#[derive(Debug, DeJson)]
pub struct Started {
    pub media_session_access_url: String,
    pub call_session_history_id: u64,
}

fn rule_id(config: &Config, rule: &str) -> Result<u32, Failure> {
    let rules = || config.applications.iter().flat_map(|application| &application.rules);
    let by_id = rules().find(|known| Ok(known.id) == rule.parse());
    let found = by_id.or_else(|| rules().find(|known| known.name == rule));
    found.map(|rule| rule.id).ok_or_else(|| {
        let known: Vec<String> =
            rules().map(|rule| format!("{} ({})", rule.name, rule.id)).collect();
        Failure::Failed(format!("no rule \"{rule}\"; there are {}", known.join(", ")))
    })
}

/// Prints what is new in the session's log until the session has ended.
fn follow(client: &Client, session: u64) -> Result<(), Failure> {
    let id = session.to_string();
    let mut shown = 0;
    loop {
        let page = query::page(client, &[("call_session_history_id", &id)])?;
        let Some(row) = page.result.first() else {
            return Err(Failure::Failed("the session is not in the history".into()));
        };
        // Asked before the log: what is logged before the end is then shown in any case.
        let finish_reason = row.finish_reason.clone();
        if let Some(url) = row.log_file_url.as_deref().filter(|url| !url.is_empty()) {
            let log = client.get(url)?;
            if log.status == 200 {
                shown = print_from(&log.text(), shown);
            }
        }
        if let Some(reason) = finish_reason {
            output::put(&format!("session {session} ended: {reason}\n"));
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Prints whole lines of `text` from a byte on; where it came to.
fn print_from(text: &str, shown: usize) -> usize {
    let Some(new) = text.get(shown..) else { return shown };
    let whole = new.rfind('\n').map_or(0, |end| end + 1);
    output::put(&new[..whole]);
    shown + whole
}

/// Between two looks at the log.
const PAUSE: Duration = Duration::from_millis(300);
