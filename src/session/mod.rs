//! The centre: one run of a rule's scripts with its calls, players and recordings.
//!
//! The only room that knows the leaves. Events of `sip` and `media` become JavaScript events
//! (`events`), JavaScript commands become calls of `sip` and `media` (`commands`).
//!
//! A session lives through three stages:
//!
//! ```text
//! Running --terminate, idle, error, stop--> Ending --scripts, requests, recorders done--> gone
//! ```
//!
//! Invariant: a session that is gone has no leg, unit, timer or waiting request left.

mod admission;
mod call;
mod codecs;
mod commands;
mod conference;
mod detection;
mod dial;
mod ending;
mod events;
mod exchange;
mod journal;
mod modify;
mod quality;
mod recording;
mod refusal;
mod security;
mod sound;
mod transfer;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Instant;

pub use self::admission::Admission;
pub use self::call::Call;
pub use self::ending::Cause;
pub use self::exchange::{Exchange, Place, Role, SessionCall, Timer, host_text};
pub use self::refusal::Refusal;
pub use self::transfer::{Note, Referred};

use self::ending::Stage;
use self::recording::Recording;
use self::sound::Player;
use crate::gateway::{Reply, RequestId, SessionUrls};
use crate::media::engine::UnitId;
use crate::scenario::command::Object;
use crate::scenario::event::{CallEvent, Event as ScriptEvent, PlayerEvent};
use crate::scenario::worker::{Answer, Input as ScriptInput};
use crate::sip::user_agent::MAX_FORWARDS;
use crate::storage::record::SessionRecord;
use crate::storage::store::Operation;

/// A run of a rule's scripts.
pub struct Session {
    pub place: Place,
    /// What authorizes requests to the access URL: 128 random bits in hexadecimal.
    pub token: String,
    pub urls: SessionUrls,
    /// The row of the history as far as it is known.
    pub record: SessionRecord,
    started: Instant,
    stage: Stage,
    calls: BTreeMap<Object, Call>,
    players: BTreeMap<Object, Player>,
    conferences: BTreeMap<Object, UnitId>,
    recorders: BTreeMap<Object, UnitId>,
    recordings: BTreeMap<UnitId, Recording>,
    /// As many as calls that ended since media was last heard.
    ended: Vec<quality::Ended>,
    questions: quality::Questions,
    /// Calls made and received so far, failed ones included.
    call_attempts: usize,
    incoming_so_far: u32,
    /// `Net.httpRequest`s under way.
    fetches: Vec<u32>,
    /// StartScenarios that waits for the scripts.
    starter: Option<RequestId>,
    /// Requests to the access URL that wait for their handler.
    accesses: Vec<RequestId>,
    hides_tones: bool,
    exceptions: u32,
    /// Of its outgoing calls: those that go on from an incoming one pass fewer gateways.
    max_forwards: u8,
    /// Of the latest incoming call, for those that go on from it.
    diversions: Vec<String>,
    log_file: String,
    log_bytes: u64,
}

/// What a new session is made of.
pub struct NewSession {
    pub place: Place,
    pub token: String,
    pub urls: SessionUrls,
    pub record: SessionRecord,
    pub log_file: String,
    pub starter: Option<RequestId>,
}

impl Session {
    pub fn new(now: Instant, exchange: &mut Exchange, new: NewSession) -> Self {
        let place = new.place;
        exchange.timers.arm(Timer::Idle(place.session), now + exchange.idle_timeout());
        exchange.disk(Operation::BeginSession(Box::new(new.record.clone())));
        Self {
            place,
            token: new.token,
            urls: new.urls,
            record: new.record,
            started: now,
            stage: Stage::Running,
            calls: BTreeMap::new(),
            players: BTreeMap::new(),
            conferences: BTreeMap::new(),
            recorders: BTreeMap::new(),
            recordings: BTreeMap::new(),
            ended: Vec::new(),
            questions: quality::Questions::default(),
            call_attempts: 0,
            incoming_so_far: 0,
            fetches: Vec::new(),
            starter: new.starter,
            accesses: Vec::new(),
            hides_tones: false,
            exceptions: 0,
            max_forwards: MAX_FORWARDS,
            diversions: Vec::new(),
            log_file: new.log_file,
            log_bytes: 0,
        }
    }

    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The row with the calls in progress beside those that ended. It has a reason to have
    /// ended once the session is gone: handlers may still run and log until then.
    pub fn row(&self) -> SessionRecord {
        let mut row = SessionRecord { finish_reason: None, ..self.record.clone() };
        row.calls.extend(self.calls.values().map(|call| call.record.clone()));
        row
    }

    /// `call_id` of the history for the next row: the session's own number and its place in it,
    /// so that no other row of any start has it.
    fn call_number(&self) -> u64 {
        let rows = self.record.calls.len() + self.calls.len();
        self.row_number(rows)
    }

    /// Row `place` of a table of this session's.
    fn row_number(&self, place: usize) -> u64 {
        self.record.id.saturating_mul(ROWS_PER_SESSION).saturating_add(place as u64 + 1)
    }

    /// The scripts ran and Started was dispatched, or never will be.
    pub fn on_ready(&mut self, exchange: &mut Exchange) {
        if let Some(request) = self.starter.take() {
            exchange.reply(Reply::Started { request, urls: self.urls.clone() });
        }
    }

    /// A request to the access URL, its token checked.
    pub fn on_access(&mut self, exchange: &mut Exchange, access: crate::gateway::Access) {
        let request = access.request;
        if !matches!(self.stage, Stage::Running) {
            return exchange.reply(Reply::Accessed { request, answer: None });
        }
        if self.accesses.len() >= WAITING_ACCESSES {
            crate::stats::ACCESS_REFUSED.add(1);
            return exchange.reply(Reply::Busy { request });
        }
        self.accesses.push(request);
        let event = ScriptEvent::HttpRequest {
            request,
            method: access.method,
            path: access.path,
            content: access.content,
            headers: access.headers,
        };
        exchange.script_event(self.place, event);
    }

    pub fn on_http_answer(
        &mut self,
        exchange: &mut Exchange,
        request: RequestId,
        answer: Option<Answer>,
    ) {
        if let Some(place) = self.accesses.iter().position(|waiting| *waiting == request) {
            self.accesses.swap_remove(place);
            exchange.reply(Reply::Accessed { request, answer });
        }
    }

    /// The runtime broke a limit or threw at top level; it is gone already.
    pub fn on_script_failed(&mut self, now: Instant, exchange: &mut Exchange, error: &str) {
        log::error!("session={} rule={} {error}", self.record.id, self.record.rule_name);
        self.log_line(exchange, error);
        self.end(now, exchange, Cause::Script);
    }

    /// A listener threw; the session's own log has it with the stack.
    pub fn on_exception(&mut self, error: &str) {
        self.exceptions = self.exceptions.saturating_add(1);
        let (session, rule) = (self.record.id, &self.record.rule_name);
        match self.exceptions.cmp(&TOLD_EXCEPTIONS) {
            Ordering::Less => log::warn!("session={session} rule={rule} {error}"),
            Ordering::Equal => log::warn!(
                "session={session} rule={rule} {error}; any more stand in the session's log only"
            ),
            Ordering::Greater => {}
        }
    }

    fn unit_of(&self, object: Object) -> Option<UnitId> {
        if let Some(call) = self.calls.get(&object) {
            return Some(call.unit);
        }
        if let Some(unit) = self.conferences.get(&object).or_else(|| self.recorders.get(&object)) {
            return Some(*unit);
        }
        match self.players.get(&object)?.stage {
            sound::Stage::Playing { unit } => Some(unit),
            sound::Stage::Loading { .. } => None,
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running)
    }

    /// Once the end has begun, scripts hear of nothing but Terminating and Terminated.
    fn call_event(&mut self, exchange: &mut Exchange, call: Object, event: CallEvent) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        exchange.script_event(self.place, ScriptEvent::Call { call, event });
    }

    fn player_event(&mut self, exchange: &mut Exchange, player: Object, event: PlayerEvent) {
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        exchange.script_event(self.place, ScriptEvent::Player { player, event });
    }

    fn drop_runtime(&mut self, exchange: &mut Exchange) {
        exchange.script(self.place, ScriptInput::Drop { session: self.place.session });
    }
}

/// Requests to one access URL that wait for the script at one time. Full: HTTP 503, counted as
/// `access_refused_total`.
const WAITING_ACCESSES: usize = 64;

/// Exceptions of one session that the gateway's log has: a timer may throw ten times a second.
const TOLD_EXCEPTIONS: u32 = 5;

/// More than `calls_per_session` can be set to.
const ROWS_PER_SESSION: u64 = 10_000;
