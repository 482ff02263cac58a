//! HTTP without sockets: Management API, access URLs, status pages and downloads.
//!
//! A request comes in whole and is answered at once or has to wait for the gateway, the disk or a
//! reload; what waits is a table with deadlines. Framing, connections and files are the driver's.
//!
//! Invariants: every request that waits is answered exactly once; keys, tokens and targets of
//! access URLs are never logged.

mod access;
mod authorization;
mod commands;
mod configuration;
mod download;
mod flat_json;
mod history;
mod message;
mod metrics;
mod multipart;
mod parameters;
mod start;
mod status;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use nanoserde::SerJson;

pub use self::authorization::new_api_key;
pub use self::message::{ApiError, Body, Folder, Request, Response, wants_header};

use self::authorization::RateLimit;
use self::commands::{Command, Named};
use self::history::HistoryQuery;
use self::parameters::Parameters;
use self::start::Starting;
use crate::gateway::{Gateway, Reply, RequestId};
use crate::stats;
use crate::storage::store::{self, Operation};

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Answer(Response),
    /// The response comes by `on_reply`, `on_history`, `on_reloaded` or `on_timeout`.
    Wait,
}

/// What the driver is to do; `poll_output` until `None` after every input.
#[derive(Debug)]
pub enum Output {
    Disk(Box<Operation>),
    /// Read the config anew and say by `on_reloaded` what came of it.
    Reload {
        request: RequestId,
    },
}

/// What the machine is made of besides the gateway's config.
pub struct Setup {
    /// The key of the config, or the one of `data_dir/api_key`.
    pub api_key: String,
    /// Base of URLs as clients see it, without a slash at the end.
    pub control_url: String,
    /// When the gateway started, Unix time in milliseconds.
    pub started_unix_ms: i64,
    /// Resident memory of the process in bytes, for `/metrics`.
    pub resident_bytes: fn() -> Option<u64>,
}

/// HTTP requests to calls of the gateway.
pub struct Control {
    setup: Setup,
    started: Instant,
    rate: RateLimit,
    /// Requests that wait. Bounded: starts by `start_in_flight`, accesses by the gateway's own
    /// limit per session, history by `HISTORY_QUERIES`, reloads by one.
    waiting: HashMap<RequestId, Waiting>,
    /// All wait equally long, so these are in order; answered ones are skipped when due.
    deadlines: VecDeque<(Instant, RequestId)>,
    /// How many of `waiting` are StartScenarios.
    starting: usize,
    queries: HashMap<u64, RequestId>,
    queries_so_far: u64,
    outputs: VecDeque<Output>,
}

/// What a request waits for.
#[derive(Debug)]
enum Waiting {
    Start(Starting),
    Access { cors: Option<String> },
    History { cors: Option<String>, query: Box<HistoryQuery> },
    Reload,
}

impl Control {
    pub fn new(now: Instant, setup: Setup) -> Self {
        Self {
            setup,
            started: now,
            rate: RateLimit::new(now),
            waiting: HashMap::new(),
            deadlines: VecDeque::new(),
            starting: 0,
            queries: HashMap::new(),
            queries_so_far: 0,
            outputs: VecDeque::new(),
        }
    }

    pub fn handle_request(
        &mut self,
        now: Instant,
        gateway: &mut Gateway,
        request: Request,
    ) -> Outcome {
        stats::HTTP_REQUESTS.add(1);
        // First of all: nothing is asked as often.
        if let Some(rest) = request.target.strip_prefix(access::PREFIX) {
            let Some(key) = access::Key::parse(rest) else {
                return Outcome::Answer(access::not_found());
            };
            return self.on_access(now, gateway, key, request);
        }
        let cors = allowed_origin(gateway, &request);
        let outcome = self.route(now, gateway, request, cors.as_deref());
        match outcome {
            Outcome::Answer(response) => Outcome::Answer(with_cors(response, cors)),
            Outcome::Wait => Outcome::Wait,
        }
    }

    /// An answer of the gateway; the response it makes, if its request still waits.
    pub fn on_reply(&mut self, reply: Reply) -> Option<(RequestId, Response)> {
        match reply {
            Reply::Started { request, urls } => {
                let Waiting::Start(starting) = self.take(request)? else { return None };
                Some((request, with_cors(start::started(&urls, &starting), starting.cors)))
            }
            Reply::Accessed { request, answer } => {
                let Waiting::Access { cors } = self.take(request)? else { return None };
                Some((request, with_cors(access::answered(answer), cors)))
            }
            Reply::Busy { request } => {
                let Waiting::Access { cors } = self.take(request)? else { return None };
                Some((request, with_cors(access::busy(), cors)))
            }
        }
    }

    /// A page of the history; other answers of the disk are not for us.
    pub fn on_history(
        &mut self,
        gateway: &Gateway,
        answer: store::Answer,
    ) -> Option<(RequestId, Response)> {
        let store::Answer::History { query, result } = answer else { return None };
        let request = self.queries.remove(&query)?;
        let Waiting::History { cors, query } = self.take(request)? else { return None };
        let response = match result {
            Ok(page) => json(history::page(gateway, &query, page)),
            Err(error) => {
                log::error!("history query failed: {error}");
                failed(&ApiError::new(4, "the history could not be read"))
            }
        };
        Some((request, with_cors(response, cors)))
    }

    /// What came of `Output::Reload`: the problems of a file that changed nothing.
    pub fn on_reloaded(
        &mut self,
        request: RequestId,
        result: Result<(), Vec<String>>,
    ) -> Option<(RequestId, Response)> {
        let Waiting::Reload = self.take(request)? else { return None };
        Some((request, status::reloaded(result)))
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// One answer that is due without a reply; call until `None`.
    pub fn on_timeout(&mut self, now: Instant) -> Option<(RequestId, Response)> {
        while let Some(&(at, request)) = self.deadlines.front() {
            if at > now {
                return None;
            }
            self.deadlines.pop_front();
            let Some(waiting) = self.take(request) else { continue };
            stats::HTTP_ANSWERS_TIMED_OUT.add(1);
            let (status, error, cors) = match waiting {
                Waiting::Start(starting) => {
                    (504, ApiError::new(15, "the session did not start in time"), starting.cors)
                }
                Waiting::Access { cors } => {
                    (504, ApiError::new(162, "the scenario did not answer in time"), cors)
                }
                Waiting::History { cors, .. } => {
                    self.queries.retain(|_, asked| *asked != request);
                    (504, ApiError::new(162, "the history did not answer in time"), cors)
                }
                Waiting::Reload => {
                    (504, ApiError::new(162, "the reload did not end in time"), None)
                }
            };
            return Some((request, with_cors(Response::error(status, &error), cors)));
        }
        None
    }

    /// Requests that wait, for tests that expect none.
    pub fn usage(&self) -> usize {
        self.waiting.len()
    }

    fn route(
        &mut self,
        now: Instant,
        gateway: &mut Gateway,
        request: Request,
        cors: Option<&str>,
    ) -> Outcome {
        let path = request.path();
        if let Some(answer) = download::answer(&request) {
            return Outcome::Answer(answer);
        }
        if request.method == "OPTIONS" {
            return Outcome::Answer(preflight("GET, POST, OPTIONS"));
        }
        let control = &gateway.config().control;
        if !authorization::is_allowed(control, request.peer.ip()) {
            stats::API_REFUSED.add(1);
            let error = ApiError::new(100, "this address is not in allow_from of [control]");
            return Outcome::Answer(Response::error(403, &error));
        }
        if let Some(rest) = path.strip_prefix(API)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            let name = rest.trim_matches('/').to_owned();
            return self.api(now, gateway, &name, request, cors);
        }
        match (path, request.method.as_str()) {
            ("/getServerLocations", _) => Outcome::Answer(json(status::server_locations())),
            ("/health", "GET" | "HEAD") => Outcome::Answer(status::health(gateway)),
            ("/metrics", "GET" | "HEAD") => {
                let resident = (self.setup.resident_bytes)();
                let uptime = now.saturating_duration_since(self.started);
                Outcome::Answer(metrics::page(resident, uptime))
            }
            ("/status", "GET" | "POST") => {
                Outcome::Answer(self.keyed(gateway, &request, status::page))
            }
            ("/reload", "POST") => self.on_reload(now, gateway, &request),
            ("/health" | "/metrics" | "/status", _) => Outcome::Answer(not_allowed("GET")),
            ("/reload", _) => Outcome::Answer(not_allowed("POST")),
            _ => {
                let error = ApiError::new(103, "nothing is here; see /platform_api, /health");
                Outcome::Answer(Response::error(404, &error))
            }
        }
    }

    /// A command of the Management API.
    fn api(
        &mut self,
        now: Instant,
        gateway: &mut Gateway,
        name: &str,
        request: Request,
        cors: Option<&str>,
    ) -> Outcome {
        if !matches!(request.method.as_str(), "GET" | "POST") {
            return Outcome::Answer(not_allowed("GET, POST"));
        }
        match self.command(now, gateway, name, &request, cors) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Answer(failed(&error)),
        }
    }

    fn command(
        &mut self,
        now: Instant,
        gateway: &mut Gateway,
        name: &str,
        request: &Request,
        cors: Option<&str>,
    ) -> Result<Outcome, ApiError> {
        let parameters = Parameters::of(request)?;
        // Given both, the path wins.
        let name = match name {
            "" => parameters.text("cmd").ok_or_else(|| ApiError::new(102, "cmd is missing"))?,
            name => name,
        };
        let named = commands::find(name);
        if named == Named::Unknown {
            return Err(ApiError::new(103, "unknown command"));
        }
        let config = gateway.config();
        authorization::check(&config.control, &self.setup.api_key, &parameters)
            .inspect_err(|_| stats::API_REFUSED.add(1))?;
        let Named::Served(command) = named else {
            return Err(ApiError::new(
                104,
                "this gateway does not serve that command; its configuration is config.toml",
            ));
        };
        // StartScenarios has its own bound, sessions and requests in flight.
        if command != Command::StartScenarios && !self.rate.take(now) {
            stats::API_RATE_LIMITED.add(1);
            return Err(ApiError::new(340, "too many requests: wait a second"));
        }
        let json = match command {
            Command::StartScenarios => {
                return self.on_start(now, gateway, &parameters, request, cors);
            }
            Command::GetCallHistory => {
                return self.on_call_history(now, gateway, &parameters, request.id, cors);
            }
            Command::GetApplications => configuration::applications(config, &parameters)?,
            Command::GetRules => configuration::rules(config, &parameters)?,
            Command::GetScenarios => configuration::scenarios(config, &parameters)?,
            Command::GetUsers => configuration::users(gateway, &parameters)?,
            Command::GetAccountInfo => configuration::account(config, &self.setup),
            Command::GetSipRegistrations => configuration::registrations(gateway, &parameters)?,
        };
        Ok(Outcome::Answer(self::json(json)))
    }

    fn on_call_history(
        &mut self,
        now: Instant,
        gateway: &Gateway,
        parameters: &Parameters,
        request: RequestId,
        cors: Option<&str>,
    ) -> Result<Outcome, ApiError> {
        let query = HistoryQuery::of(gateway, parameters, now)?;
        if query.matches_nothing {
            let nothing = store::HistoryPage::default();
            return Ok(Outcome::Answer(json(history::page(gateway, &query, nothing))));
        }
        if self.queries.len() >= HISTORY_QUERIES {
            return Err(ApiError::new(162, "too many history queries at one time: try later"));
        }
        self.queries_so_far += 1;
        let number = self.queries_so_far;
        self.queries.insert(number, request);
        let filter = query.filter.clone();
        let operation = Operation::History { query: number, filter };
        self.outputs.push_back(Output::Disk(Box::new(operation)));
        let cors = cors.map(str::to_owned);
        self.wait(now, request, Waiting::History { cors, query: Box::new(query) });
        Ok(Outcome::Wait)
    }

    fn on_reload(&mut self, now: Instant, gateway: &Gateway, request: &Request) -> Outcome {
        if let Err(error) = self.check_key(gateway, request) {
            return Outcome::Answer(failed(&error));
        }
        if self.waiting.values().any(|waiting| matches!(waiting, Waiting::Reload)) {
            return Outcome::Answer(failed(&ApiError::new(515, "a reload is running already")));
        }
        self.outputs.push_back(Output::Reload { request: request.id });
        self.wait(now, request.id, Waiting::Reload);
        Outcome::Wait
    }

    fn keyed(
        &self,
        gateway: &Gateway,
        request: &Request,
        page: fn(&Gateway) -> Response,
    ) -> Response {
        match self.check_key(gateway, request) {
            Ok(()) => page(gateway),
            Err(error) => Response::error(403, &error),
        }
    }

    fn check_key(&self, gateway: &Gateway, request: &Request) -> Result<(), ApiError> {
        let parameters = Parameters::of(request)?;
        let control = &gateway.config().control;
        authorization::check(control, &self.setup.api_key, &parameters)
            .inspect_err(|_| stats::API_REFUSED.add(1))
    }

    fn wait(&mut self, now: Instant, request: RequestId, waiting: Waiting) {
        self.starting += usize::from(matches!(waiting, Waiting::Start(_)));
        self.waiting.insert(request, waiting);
        // Thousands are answered while one waits: their deadlines must not pile up.
        if self.deadlines.len() > 2 * self.waiting.len() + SPARE_DEADLINES {
            self.deadlines.retain(|(_, request)| self.waiting.contains_key(request));
        }
        self.deadlines.push_back((now + ANSWER, request));
    }

    fn take(&mut self, request: RequestId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&request)?;
        self.starting -= usize::from(matches!(waiting, Waiting::Start(_)));
        Some(waiting)
    }
}

/// A list method's answer.
#[derive(SerJson)]
struct List<T: SerJson> {
    result: Vec<T>,
    count: usize,
    total_count: usize,
}

impl<T: SerJson> List<T> {
    /// The part of `all` that `page` asks for.
    fn of(all: Vec<T>, page: parameters::Page) -> String {
        let total_count = all.len();
        let result: Vec<T> = all.into_iter().skip(page.offset).take(page.count).collect();
        Self { count: result.len(), result, total_count }.serialize_json()
    }
}

fn json(text: String) -> Response {
    Response::json(200, text)
}

/// An error in the envelope: HTTP status 200 (reference 1.4).
fn failed(error: &ApiError) -> Response {
    Response::error(200, error)
}

fn not_allowed(methods: &'static str) -> Response {
    let error = ApiError::new(101, format!("use {methods}"));
    Response::error(405, &error).with_header("allow", methods)
}

fn preflight(methods: &'static str) -> Response {
    Response::empty(204).with_header("allow", methods)
}

/// The request's origin where the config lists it (reference 1.6).
fn allowed_origin(gateway: &Gateway, request: &Request) -> Option<String> {
    let listed = &gateway.config().control.cors_origins;
    if listed.is_empty() {
        return None;
    }
    let origin = request.header("origin")?;
    let is_listed = listed.iter().any(|listed| listed == "*" || listed == origin);
    is_listed.then(|| origin.to_owned())
}

fn with_cors(response: Response, origin: Option<String>) -> Response {
    let Some(origin) = origin else { return response };
    let is_preflight = response.status == 204;
    let response =
        response.with_header("access-control-allow-origin", origin).with_header("vary", "origin");
    match is_preflight {
        true => response
            .with_header("access-control-allow-methods", "GET, POST")
            .with_header("access-control-allow-headers", "Authorization, Content-Type"),
        false => response,
    }
}

const API: &str = "/platform_api";
/// Longest wait for a handler, the disk or a reload (reference 9.3).
const ANSWER: Duration = Duration::from_secs(60);
/// Queries that the disk thread has to answer at one time. Full: error 162.
const HISTORY_QUERIES: usize = 16;
/// Deadlines of answered requests that are kept before they are swept out.
const SPARE_DEADLINES: usize = 256;

#[cfg(test)]
mod tests;
