//! Pages for people, monitors and the command line: `/health`, `/status`, and what `/reload`
//! answers.

use nanoserde::SerJson;

use super::message::Response;
use crate::clock;
use crate::gateway::{Gateway, TrunkStatus};
use crate::storage::record::{CallRecord, SessionRecord};

/// 200 while sessions are taken, 503 while the gateway drains before its end.
pub fn health(gateway: &Gateway) -> Response {
    let is_draining = gateway.is_draining();
    let health = Health {
        status: if is_draining { "draining".into() } else { "ok".into() },
        version: env!("CARGO_PKG_VERSION").into(),
        sessions: gateway.usage().sessions,
        most_sessions: gateway.config().limits.sessions,
        trunks: gateway.trunks().into_iter().map(trunk_item).collect(),
        last_reload: gateway
            .last_reload()
            .map(|result| Reload { ok: result.is_ok(), problem: result.as_ref().err().cloned() }),
    };
    Response::json(if is_draining { 503 } else { 200 }, health.serialize_json())
}

/// Sessions that run with their calls, trunks and users.
pub fn page(gateway: &Gateway) -> Response {
    let status = Status {
        status: if gateway.is_draining() { "draining".into() } else { "ok".into() },
        sessions: gateway.running().into_iter().map(session_item).collect(),
        trunks: gateway.trunks().into_iter().map(trunk_item).collect(),
        users: gateway
            .users()
            .into_iter()
            .map(|user| UserItem { name: user.name, contacts: user.contacts })
            .collect(),
    };
    Response::json(200, status.serialize_json())
}

/// A reload that changed nothing says why.
pub fn reloaded(result: Result<(), Vec<String>>) -> Response {
    match result {
        Ok(()) => Response::json(200, Reloaded { result: 1 }.serialize_json()),
        Err(problems) => {
            let msg = "the configuration is wrong: nothing was changed".into();
            let error = ReloadError { code: 101, msg, problems };
            Response::json(400, ReloadFailed { error }.serialize_json())
        }
    }
}

/// The one location that there is (reference 1.1).
pub fn server_locations() -> String {
    ServerLocations { result: vec!["local".into()] }.serialize_json()
}

fn session_item(row: SessionRecord) -> SessionItem {
    SessionItem {
        session_id: row.id,
        application: row.application_name,
        rule_id: row.rule_id,
        rule: row.rule_name,
        start: clock::utc(row.start),
        initiator: row.initiator_address,
        custom_data: row.custom_data,
        log_url: row.log_file_url,
        calls: row.calls.into_iter().map(call_item).collect(),
    }
}

fn call_item(call: CallRecord) -> CallItem {
    CallItem {
        call_id: call.id,
        local_number: call.local_number,
        remote_number: call.remote_number,
        incoming: call.is_incoming,
        connected: call.is_successful,
        end_reason: (!call.end_reason.is_empty()).then_some(call.end_reason),
    }
}

fn trunk_item(trunk: TrunkStatus) -> TrunkItem {
    TrunkItem {
        name: trunk.name,
        server: trunk.server,
        registers: trunk.registers,
        state: trunk.state.into(),
        reason: trunk.reason,
        calls: trunk.calls,
    }
}

#[derive(SerJson)]
struct Health {
    status: String,
    version: String,
    sessions: usize,
    most_sessions: usize,
    trunks: Vec<TrunkItem>,
    last_reload: Option<Reload>,
}

#[derive(SerJson)]
struct Reload {
    ok: bool,
    problem: Option<String>,
}

#[derive(SerJson)]
struct Status {
    status: String,
    sessions: Vec<SessionItem>,
    trunks: Vec<TrunkItem>,
    users: Vec<UserItem>,
}

#[derive(SerJson)]
struct SessionItem {
    session_id: u64,
    application: String,
    rule_id: u32,
    rule: String,
    start: String,
    initiator: String,
    custom_data: String,
    log_url: String,
    /// Those that ended so far, and those in progress.
    calls: Vec<CallItem>,
}

#[derive(SerJson)]
struct CallItem {
    call_id: u64,
    local_number: String,
    remote_number: String,
    incoming: bool,
    connected: bool,
    end_reason: Option<String>,
}

#[derive(SerJson)]
struct TrunkItem {
    name: String,
    server: String,
    registers: bool,
    state: String,
    reason: String,
    calls: usize,
}

#[derive(SerJson)]
struct UserItem {
    name: String,
    contacts: usize,
}

#[derive(SerJson)]
struct Reloaded {
    result: u8,
}

#[derive(SerJson)]
struct ReloadFailed {
    error: ReloadError,
}

#[derive(SerJson)]
struct ReloadError {
    code: u16,
    msg: String,
    problems: Vec<String>,
}

#[derive(SerJson)]
struct ServerLocations {
    result: Vec<String>,
}
