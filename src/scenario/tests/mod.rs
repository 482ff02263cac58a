//! The worker as `session` sees it: inputs in, outputs compared.

mod ending;
mod hostile;
mod members;
mod samples;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::command::{Command, Object};
use super::event::{CallAlerting, CallEvent, Event, HttpResult, PlayerEvent, Started};
use super::heap::Pool;
use super::worker::{Answer, Input, Limits, OnError, Output, Script, SessionId, Worker};
use crate::random::Random;
use crate::slots::Key;

/// A worker with one session, and its time.
struct Stage {
    worker: Worker,
    now: Instant,
    session: SessionId,
    pool: Arc<Pool>,
}

const POOL_BYTES: usize = 64 << 20;

fn limits() -> Limits {
    Limits {
        heap_bytes: 16 << 20,
        reserve_bytes: 1 << 20,
        pool: Arc::new(Pool::new(POOL_BYTES)),
        stack_bytes: 256 << 10,
        run_time: Duration::from_secs(1),
        timers: 100,
        players: 10,
        http_active: 3,
        http_queued: 35,
        log_line_chars: 15_000,
        log_bytes: 1 << 20,
        sessions: 4,
        on_error: OnError::Log,
    }
}

/// Real time: JavaScript really runs.
fn stopwatch() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn session(number: u64) -> SessionId {
    SessionId(Key::from_bits(number))
}

impl Stage {
    /// An idle worker.
    fn with(limits: Limits) -> Self {
        let pool = limits.pool.clone();
        let worker = Worker::new(limits, stopwatch, Random::seeded(1));
        Self { worker, now: Instant::now(), session: session(1), pool }
    }

    /// A session of one script, started.
    fn run(source: &str) -> (Self, Vec<Output>) {
        let mut stage = Self::with(limits());
        let outputs = stage.start(&[("test.js", source)]);
        (stage, outputs)
    }

    /// A session that runs and has said nothing.
    fn quiet(source: &str) -> Self {
        let (stage, outputs) = Self::run(source);
        assert_eq!(outputs, [Output::Ready { session: stage.session }]);
        stage
    }

    fn start(&mut self, scripts: &[(&str, &str)]) -> Vec<Output> {
        self.start_with(scripts, "", vec![started()])
    }

    fn start_with(
        &mut self,
        scripts: &[(&str, &str)],
        custom_data: &str,
        first: Vec<Event>,
    ) -> Vec<Output> {
        let script =
            |&(name, source): &(&str, &str)| Script { name: name.into(), source: source.into() };
        self.input(Input::Start {
            session: self.session,
            scripts: scripts.iter().map(script).collect(),
            custom_data: custom_data.into(),
            secrets: Arc::new([("token".into(), "s3cret".into())]),
            first,
        })
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.worker.handle_input(self.now, input);
        std::iter::from_fn(|| self.worker.poll_output()).collect()
    }

    fn event(&mut self, event: Event) -> Vec<Output> {
        self.input(Input::Event { session: self.session, event })
    }

    fn call(&mut self, call: Object, event: CallEvent) -> Vec<Output> {
        self.event(Event::Call { call, event })
    }

    fn player(&mut self, player: Object, event: PlayerEvent) -> Vec<Output> {
        self.event(Event::Player { player, event })
    }

    fn access(&mut self, request: u64, content: &str) -> Vec<Output> {
        self.event(Event::HttpRequest {
            request,
            method: "POST".into(),
            path: "/request/1.2/abc/more?x=1".into(),
            content: content.into(),
            headers: vec![("X-Caller".into(), "me".into())],
        })
    }

    fn http(&mut self, request: u32, code: i32, body: &str) -> Vec<Output> {
        let headers = vec![("Content-Type".into(), "application/json".into())];
        let result = HttpResult { code, headers, body: body.into(), ..HttpResult::default() };
        self.event(Event::HttpResult { request, result })
    }

    /// Lets time pass; every deadline in it is kept.
    fn wait(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut outputs = Vec::new();
        while let Some(next) = self.worker.poll_timeout().filter(|next| *next <= end) {
            self.now = next;
            outputs.extend(self.input(Input::Timeout));
        }
        self.now = end;
        outputs
    }
}

fn started() -> Event {
    Event::Started(Box::new(Started {
        access_url: "http://gw/request/7.1/token".into(),
        access_secure_url: "https://gw/request/7.1/token".into(),
        account_id: 1,
        application_id: 2,
        log_url: "http://gw/logs/7.log".into(),
        session_id: 7,
    }))
}

/// The number of an incoming call, as `session` gives it.
const INCOMING: Object = 1 << 31;

fn alerting() -> Event {
    Event::CallAlerting(Box::new(CallAlerting {
        call: INCOMING,
        callerid: "alice".into(),
        destination: "100".into(),
        to_uri: "sip:100@gw".into(),
        from_uri: "sip:alice@gw".into(),
        display_name: "Alice".into(),
        headers: vec![("X-Account".into(), "42".into())],
        client_type: "user".into(),
    }))
}

fn connected() -> CallEvent {
    CallEvent::Connected { headers: Vec::new() }
}

fn disconnected() -> CallEvent {
    CallEvent::Disconnected {
        headers: Vec::new(),
        internal_code: 200,
        reason: "Normal call clearing".into(),
        duration_s: 3,
        is_incoming: false,
        statistics: None,
    }
}

fn failed(code: u16) -> CallEvent {
    CallEvent::Failed { headers: Vec::new(), code, reason: "Busy Here".into() }
}

fn commands(outputs: &[Output]) -> Vec<Command> {
    let command = |output: &Output| match output {
        Output::Command { command, .. } => Some(command.clone()),
        _ => None,
    };
    outputs.iter().filter_map(command).collect()
}

/// What the script logged.
fn logs(outputs: &[Output]) -> Vec<String> {
    let text = |command: Command| match command {
        Command::Log { text } => Some(text),
        _ => None,
    };
    commands(outputs).into_iter().filter_map(text).collect()
}

fn exceptions(outputs: &[Output]) -> Vec<String> {
    let error = |output: &Output| match output {
        Output::Exception { error, .. } => Some(error.clone()),
        _ => None,
    };
    outputs.iter().filter_map(error).collect()
}

fn answers(outputs: &[Output]) -> Vec<Answer> {
    let answer = |output: &Output| match output {
        Output::HttpAnswer { answer, .. } => Some(answer.clone()),
        _ => None,
    };
    outputs.iter().filter_map(answer).collect()
}

/// The error that a session failed with.
fn failure(outputs: &[Output]) -> Option<&str> {
    match outputs.last() {
        Some(Output::Failed { error, .. }) => Some(error),
        _ => None,
    }
}

/// What a script that runs at once logs.
fn log_of(source: &str) -> Vec<String> {
    let (_, outputs) = Stage::run(source);
    logs(&outputs)
}
