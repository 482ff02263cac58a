//! The whole gateway without I/O: user agent, sessions and rules as one machine.
//!
//! `control` calls its verbs for HTTP requests; `driver` feeds inputs and carries out outputs.

mod bindings;
mod settings;
mod transfer;

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use self::bindings::{phones_by_user, restore_bindings, stored};
pub use self::settings::worker_limits;
use self::settings::{Secrets, scripts_by_rule, secrets_by_rule, sip_config};
use crate::clock::WallClock;
use crate::config::{self, Config};
use crate::logger::{Burst, Private};
use crate::media::clip::Clip;
use crate::media::engine as media;
use crate::media::engine::UnitId;
use crate::random::Random;
use crate::rules;
use crate::scenario::command::{HttpRequest, Object, Sound};
use crate::scenario::event::{Event as ScriptEvent, HttpResult, Started};
use crate::scenario::worker::{self, Answer, Script, SessionId};
use crate::session::{
    Admission, Cause, Exchange, NewSession, Place, Referred, Refusal, Session, Timer, host_text,
};
use crate::sip::user_agent as sip;
use crate::sip::user_agent::UserAgent;
use crate::slots::Slots;
use crate::stats;
use crate::storage::record::{SessionRecord, UnixMs};
use crate::storage::store;

/// What the world tells the gateway.
#[derive(Debug)]
pub enum Input<'a> {
    Sip(sip::Input<'a>),
    /// From worker `thread`.
    Script {
        thread: usize,
        output: worker::Output,
    },
    /// Worker `thread` is stuck and was replaced: its sessions are over.
    WorkerLost {
        thread: usize,
    },
    /// From media thread `thread`.
    Media {
        thread: usize,
        event: media::Event,
    },
    /// The answer to `Output::Load`.
    Loaded {
        request: u64,
        result: Result<Arc<Clip>, String>,
    },
    /// The answer to `Output::Fetch`.
    Fetched {
        session: SessionId,
        request: u32,
        result: HttpResult,
    },
    /// The end of a recording's file.
    Stored(store::Answer),
    /// `poll_timeout` has come.
    Timeout,
}

/// What the gateway wants done.
#[derive(Debug)]
pub enum Output {
    /// Never `sip::Output::Event`.
    Sip(sip::Output),
    Script {
        thread: usize,
        input: worker::Input,
    },
    Media {
        thread: usize,
        command: media::Command,
    },
    /// Load, fetch or synthesise a sound.
    Load {
        request: u64,
        sound: Sound,
    },
    /// Nobody waits for the sound any more.
    CancelLoad {
        request: u64,
    },
    /// Make an HTTP request of a script.
    Fetch {
        session: SessionId,
        request: Box<HttpRequest>,
    },
    /// The session is gone: its requests may end unheard.
    CancelFetches {
        session: SessionId,
    },
    Disk(store::Operation),
    Reply(Reply),
}

/// Number that `control` gives an HTTP request that waits for the gateway.
pub type RequestId = u64;

/// StartScenarios, checked by `control`.
#[derive(Debug, Clone)]
pub struct StartSession {
    /// Echoed in `Reply::Started`.
    pub request: RequestId,
    pub rule_id: u32,
    pub custom_data: String,
    /// Address of the API's caller.
    pub initiator: IpAddr,
}

/// A request to an access URL.
#[derive(Debug, Clone)]
pub struct Access {
    /// Echoed in `Reply::Accessed`.
    pub request: RequestId,
    pub session_id: u64,
    pub token: String,
    pub method: String,
    /// Request target from `/request/...` on, query included.
    pub path: String,
    pub content: String,
    /// Only names that start with `X-`.
    pub headers: Vec<(String, String)>,
}

/// What a started session is reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUrls {
    pub session_id: u64,
    pub access_url: String,
    pub access_secure_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartError {
    /// No rule of this id: error 147.
    UnknownRule,
    /// No free session slot, or draining: error 314.
    Full,
}

/// Answers of the gateway to requests that had to wait; `control` makes HTTP of them.
#[derive(Debug)]
pub enum Reply {
    /// The scripts ran and Started was dispatched, or failed (answered alike: 3.1).
    Started { request: RequestId, urls: SessionUrls },
    /// The handler's answer; `None`: the session ended before it answered, or is unknown.
    Accessed { request: RequestId, answer: Option<Answer> },
    /// Too many requests to one access URL wait already.
    Busy { request: RequestId },
}

/// A running session, for the status page, `branchline sessions` and GetCallHistory.
pub type Running = crate::storage::record::SessionRecord;

/// State of a trunk for status and GetSipRegistrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkStatus {
    pub name: String,
    pub server: String,
    pub registers: bool,
    /// `up`, `down`, `unknown`.
    pub state: &'static str,
    /// `403 Forbidden`, empty when up.
    pub reason: String,
    /// Under way, both ways.
    pub calls: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserStatus {
    pub name: String,
    pub contacts: usize,
}

/// What the gateway is made of besides its config.
pub struct Setup {
    pub config: Arc<Config>,
    /// The SIP sockets as they are bound, in the order of `[sip] listen`.
    pub listeners: Vec<sip::Listener>,
    /// Base of access URLs without a slash at the end.
    pub control_url: String,
    pub opening: store::Opening,
    pub random: Random,
    pub wall: WallClock,
}

/// How many of each there are.
#[derive(Debug, Clone, Copy)]
struct Threads {
    worker: usize,
    media: usize,
}

/// What a session begins with besides Started.
#[expect(clippy::large_enum_variant, reason = "one at a time, on its way to the session")]
enum First {
    Nothing,
    Incoming(sip::Incoming),
    Referred(Referred),
}

/// User agent, sessions and rules.
pub struct Gateway {
    exchange: Exchange,
    /// Full: SIP 503 with Retry-After, HTTP error 314, counted as `sessions_refused_total`.
    sessions: Slots<Option<Box<Session>>>,
    by_number: HashMap<u64, SessionId>,
    /// How many phones of a user are registered, for the log; no more entries than users.
    phones: HashMap<String, usize>,
    /// The rules' sources as workers take them.
    scripts: HashMap<u32, Arc<[Script]>>,
    /// The secrets of each rule's application.
    secrets: HashMap<u32, Secrets>,
    listeners: Vec<sip::Listener>,
    last_session_number: u64,
    /// Workers and media threads there are: a reload does not change them.
    threads: Threads,
    /// One per worker. Overloaded: like full, counted as `sessions_refused_busy_total`.
    admissions: Vec<Admission>,
    /// Sessions placed so far, to spread them over workers and media threads.
    placed: usize,
    is_draining: bool,
    last_reload: Option<Result<(), String>>,
    /// Incoming calls that no rule takes.
    unruled: Burst,
    /// Sessions refused because all are taken.
    overfull: Burst,
}

impl Gateway {
    pub fn new(now: Instant, setup: Setup) -> Self {
        let Setup { config, listeners, control_url, opening, mut random, wall } = setup;
        let sip_config = sip_config(&config, &listeners);
        let mut user_agent = UserAgent::new(now, sip_config, random.fork());
        restore_bindings(now, wall.unix_ms(now), &mut user_agent, &opening.bindings);
        let threads =
            Threads { worker: config.scenario.threads.max(1), media: config.media.threads.max(1) };
        Self {
            sessions: Slots::with_capacity(config.limits.sessions),
            by_number: HashMap::new(),
            phones: phones_by_user(&opening.bindings),
            scripts: scripts_by_rule(&config),
            secrets: secrets_by_rule(&config),
            threads,
            exchange: Exchange::new(now, wall, config, user_agent, control_url, random),
            listeners,
            last_session_number: opening.last_session_id,
            admissions: (0..threads.worker).map(|_| Admission::default()).collect(),
            placed: 0,
            is_draining: false,
            last_reload: None,
            unruled: Burst::default(),
            overfull: Burst::default(),
        }
    }

    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.exchange.advance(now);
        match input {
            Input::Sip(input) => self.exchange.user_agent.handle_input(now, input),
            Input::Script { output, .. } => self.on_script(now, output),
            Input::WorkerLost { thread } => {
                let lost: Vec<SessionId> = self
                    .live_sessions()
                    .filter(|session| session.place.worker == thread)
                    .map(|session| session.place.session)
                    .collect();
                for id in lost {
                    self.with_session(now, id, |now, session, exchange| {
                        session.end(now, exchange, Cause::Worker);
                    });
                }
            }
            Input::Media { event, .. } => self.on_media(now, event),
            Input::Loaded { request, result } => {
                if let Some((id, role)) = self.exchange.take_load(request) {
                    self.with_session(now, id, |_, session, exchange| {
                        session.on_loaded(exchange, role, request, result);
                    });
                }
            }
            Input::Fetched { session, request, result } => {
                self.with_session(now, session, |now, session, exchange| {
                    session.on_fetched(now, exchange, request, result);
                });
            }
            Input::Stored(answer) => self.on_stored(now, answer),
            Input::Timeout => {
                while let Some(timer) = self.exchange.timers.pop_due(now) {
                    self.on_timer(now, timer);
                }
                self.exchange.user_agent.handle_input(now, sip::Input::Timeout);
            }
        }
        self.hear_user_agent(now);
    }

    /// Whether a peer that connected is worth a TLS handshake.
    pub fn may_shake_hands(&mut self, now: Instant, peer: SocketAddr) -> bool {
        self.exchange.user_agent.may_shake_hands(now, peer)
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.exchange.poll_output()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = self.exchange.timers.next();
        [own, self.exchange.user_agent.poll_timeout()].into_iter().flatten().min()
    }

    /// StartScenarios: `Reply::Started` follows when the scripts have run.
    pub fn start_session(&mut self, now: Instant, start: StartSession) -> Result<(), StartError> {
        self.exchange.advance(now);
        let config = self.exchange.config.clone();
        let (application, rule) = rules::rule_by_id(&config.applications, start.rule_id)
            .ok_or(StartError::UnknownRule)?;
        let initiator = start.initiator.to_string();
        let request = Some(start.request);
        let id = self.open_session(now, application, rule, &initiator, request, None);
        let id = id.ok_or(StartError::Full)?;
        let custom_data = start.custom_data;
        self.run_session(now, id, rule.id, custom_data, First::Nothing);
        self.hear_user_agent(now);
        Ok(())
    }

    /// A request to an access URL; `Reply::Accessed` or `Reply::Busy` follows in every case.
    pub fn access(&mut self, now: Instant, access: Access) {
        self.exchange.advance(now);
        let request = access.request;
        match self.find_session(access.session_id, &access.token) {
            Some(id) => self.with_session(now, id, |_, session, exchange| {
                session.on_access(exchange, access);
            }),
            None => self.exchange.reply(Reply::Accessed { request, answer: None }),
        }
    }

    /// Whether the session of an access URL still runs.
    pub fn is_running(&self, session_id: u64, token: &str) -> bool {
        self.find_session(session_id, token).is_some()
    }

    /// No new sessions from here on; those that run get their time.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Ends every session (`Terminated administratively`) and takes our contacts away at trunks.
    pub fn stop(&mut self, now: Instant) {
        self.exchange.advance(now);
        self.is_draining = true;
        let all: Vec<SessionId> =
            self.live_sessions().map(|session| session.place.session).collect();
        for id in all {
            self.with_session(now, id, |now, session, exchange| {
                session.end(now, exchange, Cause::Stop);
            });
        }
        self.exchange.user_agent.unregister(now);
        self.hear_user_agent(now);
    }

    /// Drops a session whose end met a bug. What it had elsewhere ends by itself: calls when the
    /// peer hangs up, and what is told about them finds nobody.
    pub fn abandon(&mut self, session: SessionId) {
        self.end_start(session);
        if let Some(Some(lost)) = self.sessions.remove(session.0) {
            self.by_number.remove(&lost.record.id);
            stats::SESSIONS.set(self.sessions.len() as u64);
        }
    }

    /// No session is left and the user agent has no call under way.
    pub fn is_drained(&self) -> bool {
        self.sessions.is_empty() && self.exchange.user_agent.usage().calls == 0
    }

    /// Drained, and no trunk sends calls to us any more.
    pub fn is_stopped(&self) -> bool {
        self.is_drained() && !self.exchange.user_agent.is_unregistering()
    }

    /// Takes a new config: rules, scripts, routes, users and trunks. Sessions that run keep the
    /// scripts they started with; the tables keep their capacity until a restart.
    pub fn reload(&mut self, now: Instant, config: Arc<Config>) {
        let sip_config = sip_config(&config, &self.listeners);
        self.exchange.user_agent.reload(now, sip_config);
        self.scripts = scripts_by_rule(&config);
        self.secrets = secrets_by_rule(&config);
        self.exchange.config = config;
        self.hear_user_agent(now);
    }

    /// What became of the last reload, for `/health`.
    pub fn set_last_reload(&mut self, result: Result<(), String>) {
        self.last_reload = Some(result);
    }

    pub fn last_reload(&self) -> Option<&Result<(), String>> {
        self.last_reload.as_ref()
    }

    pub fn set_wall(&mut self, wall: WallClock) {
        self.exchange.set_wall(wall);
    }

    pub fn config(&self) -> &Config {
        &self.exchange.config
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Unix time in milliseconds of an instant.
    pub fn unix_ms(&self, now: Instant) -> UnixMs {
        self.exchange.wall().unix_ms(now)
    }

    /// Rows of the sessions that run with their calls so far, oldest first.
    pub fn running(&self) -> Vec<Running> {
        let mut rows: Vec<Running> = self.live_sessions().map(Session::row).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    pub fn trunks(&self) -> Vec<TrunkStatus> {
        let status = |trunk: &config::Trunk| {
            let (state, reason) = match self.exchange.user_agent.trunk_state(&trunk.name) {
                sip::TrunkState::Unknown => ("unknown", String::new()),
                sip::TrunkState::Up => ("up", String::new()),
                sip::TrunkState::Down { status, reason } => ("down", format!("{status} {reason}")),
            };
            TrunkStatus {
                name: trunk.name.clone(),
                server: trunk.server.clone(),
                registers: trunk.register,
                state,
                reason,
                calls: self.exchange.user_agent.trunk_calls(&trunk.name),
            }
        };
        self.exchange.config.trunks.iter().map(status).collect()
    }

    pub fn users(&self) -> Vec<UserStatus> {
        let status = |user: &config::User| UserStatus {
            name: user.name.clone(),
            contacts: self.exchange.user_agent.contacts(&user.name),
        };
        self.exchange.config.users.iter().map(status).collect()
    }

    /// What is held, for gauges and for tests that expect an empty world.
    pub fn usage(&self) -> Usage {
        Usage {
            sessions: self.sessions.len(),
            legs: self.exchange.legs(),
            units: self.exchange.units(),
            loads: self.exchange.loads(),
            timers: self.exchange.timers.len(),
            user_agent: self.exchange.user_agent.usage(),
        }
    }

    /// The session of an access URL, where the token is its own.
    fn find_session(&self, session_id: u64, token: &str) -> Option<SessionId> {
        let id = self.by_number.get(&session_id).copied()?;
        let session = self.sessions.get(id.0)?.as_ref()?;
        is_same_token(&session.token, token).then_some(id)
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(id.0)?.as_deref()
    }

    fn live_sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter_map(|(_, session)| session.as_deref())
    }

    /// Lends a session and the exchange to `act`, and removes the session if that was its end.
    fn with_session(
        &mut self,
        now: Instant,
        id: SessionId,
        act: impl FnOnce(Instant, &mut Session, &mut Exchange),
    ) {
        let Some(Some(session)) = self.sessions.get_mut(id.0) else { return };
        act(now, session, &mut self.exchange);
        if session.is_gone() {
            let number = session.record.id;
            self.end_start(id);
            if let Some(Some(session)) = self.sessions.remove(id.0) {
                session.bury(now, &mut self.exchange);
            }
            self.by_number.remove(&number);
            stats::SESSIONS.set(self.sessions.len() as u64);
        }
    }

    /// The session's scripts have run, or never will.
    fn end_start(&mut self, id: SessionId) {
        if let Some(Some(session)) = self.sessions.get(id.0) {
            self.admissions[session.place.worker].end(id);
        }
    }

    /// A session with its ids and its row, before its scripts run; `None`: no place. `media` is
    /// the thread of its media, where that matters.
    fn open_session(
        &mut self,
        now: Instant,
        application: &config::Application,
        rule: &config::Rule,
        initiator: &str,
        starter: Option<RequestId>,
        media: Option<usize>,
    ) -> Option<SessionId> {
        let worker = self.placed % self.threads.worker;
        if !self.admissions[worker].admits(now) {
            stats::SESSIONS_REFUSED_BUSY.add(1);
            return None;
        }
        let slot = if self.is_draining { None } else { self.sessions.insert(None).ok() };
        let Some(key) = slot else {
            stats::SESSIONS_REFUSED.add(1);
            if !self.is_draining
                && let Some(times) = self.overfull.note(now)
            {
                let sessions = self.sessions.len();
                log::warn!("all {sessions} sessions are taken ([limits] sessions): refused{times}");
            }
            return None;
        };
        let exchange = &mut self.exchange;
        let session = SessionId(key);
        let media = media.unwrap_or(self.placed % self.threads.media);
        let place = Place { session, worker, media };
        self.placed = self.placed.wrapping_add(1);
        self.last_session_number += 1;
        let number = self.last_session_number;
        let start = exchange.unix_ms();
        let token = exchange.random.hex(TOKEN_BYTES);
        let access_url =
            format!("{}/request/{number}.{}/{token}", exchange.control_url, start / 1000);
        let log_file = format!("{start}-{number}-{}.log", exchange.random.hex(TOKEN_BYTES));
        let record = SessionRecord {
            id: number,
            application_id: application.id,
            application_name: application.name.clone(),
            rule_id: rule.id,
            rule_name: rule.name.clone(),
            start,
            initiator_address: initiator.to_owned(),
            media_server_address: media_address(&self.listeners),
            log_file_url: format!("{}/logs/{log_file}", exchange.control_url),
            ..SessionRecord::default()
        };
        log::info!("session={number} starts: rule {} for {initiator}", rule.name);
        let new = NewSession {
            place,
            token,
            urls: SessionUrls {
                session_id: number,
                access_secure_url: access_url.clone(),
                access_url,
            },
            record,
            log_file,
            starter,
        };
        let session = Session::new(now, exchange, new);
        if let Some(slot) = self.sessions.get_mut(key) {
            *slot = Some(Box::new(session));
        }
        self.by_number.insert(number, SessionId(key));
        stats::SESSIONS_STARTED.add(1);
        stats::SESSIONS.set(self.sessions.len() as u64);
        Some(SessionId(key))
    }

    /// Hands the scripts to the session's worker, with its first events; the call that it begins
    /// with.
    fn run_session(
        &mut self,
        now: Instant,
        id: SessionId,
        rule: u32,
        custom_data: String,
        begins_with: First,
    ) -> Option<Object> {
        let scripts = self.scripts.get(&rule).cloned()?;
        let secrets = self.secrets.get(&rule).cloned()?;
        let mut call = None;
        let account_id = self.exchange.config.control.account_id;
        self.with_session(now, id, |now, session, exchange| {
            session.set_custom_data(custom_data.clone());
            session.set_questions(&scripts);
            let mut first = vec![ScriptEvent::Started(Box::new(Started {
                access_url: session.urls.access_url.clone(),
                access_secure_url: session.urls.access_secure_url.clone(),
                account_id,
                application_id: session.record.application_id,
                log_url: session.record.log_file_url.clone(),
                session_id: session.record.id,
            }))];
            let alerting = match begins_with {
                First::Nothing => None,
                First::Incoming(incoming) => Some(session.add_incoming(now, exchange, incoming)),
                First::Referred(referred) => Some(session.add_referred(now, exchange, referred)),
            };
            if let Some(alerting) = alerting {
                call = Some(alerting.call);
                first.push(ScriptEvent::CallAlerting(Box::new(alerting)));
            }
            let place = session.place;
            let session = place.session;
            let input = worker::Input::Start { session, scripts, custom_data, secrets, first };
            exchange.script(place, input);
        });
        if let Some(Some(session)) = self.sessions.get(id.0) {
            self.admissions[session.place.worker].begin(now, id);
        }
        call
    }

    /// Takes the user agent's outputs: bytes go out, events go to their sessions, as does what
    /// sessions have for each other.
    fn hear_user_agent(&mut self, now: Instant) {
        loop {
            match self.exchange.user_agent.poll_output() {
                Some(sip::Output::Event(event)) => self.on_sip(now, event),
                Some(output) => self.exchange.push(Output::Sip(output)),
                None => match self.exchange.take_note() {
                    Some(note) => self.on_note(now, note),
                    None => return,
                },
            }
        }
    }

    fn on_sip(&mut self, now: Instant, event: sip::Event) {
        let leg = match event {
            sip::Event::Incoming(incoming) => return self.on_incoming(now, *incoming),
            sip::Event::Refer { call, refer } => return self.on_refer(now, call, *refer),
            sip::Event::Trunk { name, state } => {
                match state {
                    sip::TrunkState::Unknown => {}
                    sip::TrunkState::Up => log::info!("trunk={name} is up"),
                    sip::TrunkState::Down { status, reason } => {
                        log::warn!("trunk={name} is down: {status} {reason}");
                    }
                }
                return;
            }
            sip::Event::Bindings { user, contacts } => {
                self.tell_phones(&user, contacts.len());
                let unix_ms = self.exchange.unix_ms();
                let bindings =
                    contacts.into_iter().map(|contact| stored(&user, contact, unix_ms)).collect();
                return self.exchange.disk(store::Operation::Bindings { user, bindings });
            }
            sip::Event::Progress { call, .. }
            | sip::Event::Answered { call, .. }
            | sip::Event::EarlyAnswer { call, .. }
            | sip::Event::Confirmed { call, .. }
            | sip::Event::Failed { call, .. }
            | sip::Event::Forwarding { call }
            | sip::Event::Cancelled { call, .. }
            | sip::Event::Ended { call, .. }
            | sip::Event::Change { call, .. }
            | sip::Event::Changed { call, .. }
            | sip::Event::ChangeRefused { call, .. }
            | sip::Event::Refresh { call }
            | sip::Event::Info { call, .. }
            | sip::Event::Message { call, .. }
            | sip::Event::Transferred { call, .. } => call,
        };
        if let Some((id, object)) = self.exchange.leg(leg) {
            self.with_session(now, id, |now, session, exchange| {
                session.on_sip(now, exchange, object, event);
            });
        }
    }

    /// One line where the number of a user's phones changes, none for refreshes.
    fn tell_phones(&mut self, user: &str, phones: usize) {
        let before = match phones {
            0 => self.phones.remove(user),
            _ => self.phones.insert(user.to_owned(), phones),
        };
        if before.unwrap_or(0) != phones {
            log::info!("user={} phones registered: {phones}", crate::logger::Private(user));
        }
    }

    /// An INVITE of a known peer: the first rule that takes its number makes a session.
    fn on_incoming(&mut self, now: Instant, incoming: sip::Incoming) {
        if let Some(replaced) = incoming.replaces {
            return self.on_replacing(now, incoming, replaced);
        }
        let leg = incoming.call;
        let config = self.exchange.config.clone();
        let caller = match &incoming.peer {
            sip::Peer::Trunk(name) => rules::Caller::Trunk(name),
            sip::Peer::User(name) => rules::Caller::User(name),
        };
        let destination = &incoming.number;
        let found = rules::find_rule(&config.applications, destination, caller);
        let Some((application, rule)) = found else {
            if let Some(times) = self.unruled.note(now) {
                log::warn!("no rule takes {} from {caller}: 404{times}", Private(destination));
            }
            return self.refuse_incoming(now, leg, Refusal::NoRule);
        };
        let initiator = incoming.source.ip().to_string();
        match self.open_session(now, application, rule, &initiator, None, None) {
            Some(id) => {
                self.run_session(now, id, rule.id, String::new(), First::Incoming(incoming));
            }
            None => self.refuse_incoming(now, leg, Refusal::Full),
        }
    }

    fn refuse_incoming(&mut self, now: Instant, leg: sip::CallId, refusal: Refusal) {
        stats::CALLS_REFUSED.add(1);
        let (status, _) = refusal.status();
        self.exchange.user_agent.reject(now, leg, status, &Vec::new());
    }

    fn on_script(&mut self, now: Instant, output: worker::Output) {
        match output {
            worker::Output::Command { session, command } => {
                self.with_session(now, session, |now, session, exchange| {
                    session.on_command(now, exchange, command);
                });
            }
            worker::Output::Ready { session } => {
                self.end_start(session);
                self.with_session(now, session, |_, session, exchange| session.on_ready(exchange));
            }
            worker::Output::HttpAnswer { session, request, answer } => {
                self.with_session(now, session, |_, session, exchange| {
                    session.on_http_answer(exchange, request, Some(answer));
                });
            }
            worker::Output::TerminatingDone { session, .. } => {
                self.with_session(now, session, |now, session, exchange| {
                    session.on_terminating_done(now, exchange);
                });
            }
            worker::Output::TerminatedDone { session } => {
                self.with_session(now, session, |now, session, exchange| {
                    session.on_terminated_done(now, exchange);
                });
            }
            worker::Output::Failed { session, error } => {
                stats::SCRIPT_FAILURES.add(1);
                self.with_session(now, session, |now, session, exchange| {
                    session.on_script_failed(now, exchange, &error);
                });
            }
            worker::Output::Exception { session, error } => {
                stats::SCRIPT_EXCEPTIONS.add(1);
                self.with_session(now, session, |_, session, _| session.on_exception(&error));
            }
        }
    }

    fn on_media(&mut self, now: Instant, event: media::Event) {
        if let Some((id, role)) = self.exchange.unit(event.unit()) {
            self.with_session(now, id, |now, session, exchange| {
                session.on_media(now, exchange, role, event);
            });
        }
    }

    fn on_stored(&mut self, now: Instant, answer: store::Answer) {
        let unit = match answer {
            store::Answer::RecordingFinished { recording, .. }
            | store::Answer::RecordingFailed { recording, .. } => UnitId(recording),
            store::Answer::History { .. } => return,
        };
        if let Some((id, _)) = self.exchange.unit(unit) {
            self.with_session(now, id, |now, session, exchange| {
                session.on_stored(now, exchange, unit, answer);
            });
        }
    }

    fn on_timer(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Idle(id) => self.with_session(now, id, |now, session, exchange| {
                session.end(now, exchange, Cause::Idle);
            }),
            Timer::Alerting(id, call) => self.with_session(now, id, |now, session, exchange| {
                session.on_alerting_timer(now, exchange, call);
            }),
            Timer::End(id) => self.with_session(now, id, |now, session, exchange| {
                session.on_end_timer(now, exchange);
            }),
            Timer::Transfer(id, call) => self.with_session(now, id, |now, session, exchange| {
                session.on_transfer_timer(now, exchange, call);
            }),
            Timer::Figures(id, call) => self.with_session(now, id, |_, session, exchange| {
                session.on_figures_timer(exchange, call);
            }),
            Timer::Digits(id, call) => self.with_session(now, id, |now, session, exchange| {
                session.on_digits_timer(now, exchange, call);
            }),
        }
    }
}

/// What the machine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub sessions: usize,
    pub legs: usize,
    pub units: usize,
    pub loads: usize,
    pub timers: usize,
    pub user_agent: sip::Usage,
}

/// In constant time: a caller must not learn a token byte by byte.
fn is_same_token(ours: &str, theirs: &str) -> bool {
    let difference = |(a, b): (u8, u8)| a ^ b;
    ours.len() == theirs.len()
        && ours.bytes().zip(theirs.bytes()).map(difference).fold(0, |all, one| all | one) == 0
}

fn media_address(listeners: &[sip::Listener]) -> String {
    listeners.first().map(|listener| host_text(listener.advertised.ip())).unwrap_or_default()
}

/// 128 bits.
const TOKEN_BYTES: usize = 16;
