//! What a session's JavaScript can reach: commands out, timers, HTTP requests, and the limits on
//! each. `natives` puts it behind functions that only the prelude sees.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::command::{Command, ExtraHeaders, HttpRequest, Object};
use super::convert::Trouble;
use super::event::{CallEvent, ConferenceEvent, Event, HttpResult, PlayerEvent, RecorderEvent};
use super::heap::{Account, Charge};
use super::worker::{Answer, Belongings, Limits, Output, Script, SessionId};
use crate::config::is_reserved_header;
use crate::random::Random;

/// The Rust side of one session's runtime.
pub struct Host {
    pub session: SessionId,
    pub limits: Rc<Limits>,
    pub scripts: Arc<[Script]>,
    pub account: Rc<Account>,
    pub watch: Watch,
    pub custom_data: String,
    secrets: Arc<[(String, String)]>,
    random: RefCell<Random>,
    stage: Cell<Stage>,
    wants_end: Cell<bool>,
    hears_http: Cell<bool>,
    /// Of the lines so far.
    log_bytes: Cell<usize>,
    last_object: Cell<Object>,
    outputs: RefCell<Vec<(Output, Option<Charge>)>>,
    deadlines: RefCell<Vec<Deadline>>,
    timers: RefCell<Timers>,
    http: RefCell<Http>,
    /// Events that come of a method call itself, delivered after the present callback.
    local: RefCell<VecDeque<Event>>,
    /// Requests to the access URL whose handler returned a promise.
    promised: RefCell<BTreeSet<u64>>,
    /// Rejected promises without a handler, by identity.
    rejections: RefCell<Vec<(usize, Trouble)>>,
}

/// How far a session has come, as its script sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Running,
    /// `VoxEngine.terminate()` was called, or the session ends for another reason.
    Ending,
    Terminating,
    Terminated,
}

/// A deadline that the worker keeps for this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// `setTimeout` and `setInterval`, by id.
    Script(u32),
    /// A promise that a request to the access URL waits for.
    Promise(u64),
    /// A request to the access URL that no handler has taken yet.
    Held(u64),
}

/// What the worker is to do about a [`Timer`].
#[derive(Debug, Clone, Copy)]
pub enum Deadline {
    Arm(Timer, Duration),
    Disarm(Timer),
}

#[derive(Default)]
struct Timers {
    last: u32,
    /// The period of those that repeat.
    active: BTreeMap<u32, Option<Duration>>,
}

#[derive(Default)]
struct Http {
    last: u32,
    /// Under way; `true` if the script wants the raw bytes.
    active: BTreeMap<u32, bool>,
    waiting: VecDeque<(Box<HttpRequest>, bool, Charge)>,
    /// Requests made in Terminating.
    last_ones: usize,
}

/// The run-time limit of one callback, polled by QuickJS's interrupt handler.
pub struct Watch {
    stopwatch: fn() -> Duration,
    limit: Duration,
    deadline: Cell<Option<Duration>>,
    is_over: Cell<bool>,
}

impl Watch {
    pub fn new(stopwatch: fn() -> Duration, limit: Duration) -> Self {
        Self { stopwatch, limit, deadline: Cell::new(None), is_over: Cell::new(false) }
    }

    /// A callback begins.
    pub fn start(&self) {
        self.deadline.set(Some((self.stopwatch)().saturating_add(self.limit)));
    }

    /// Whether the callback has had its time. Once it is over it stays over: what is interrupted
    /// does not go on.
    pub fn is_over(&self) -> bool {
        let is_over = self.is_over.get()
            || self.deadline.get().is_some_and(|deadline| (self.stopwatch)() > deadline);
        self.is_over.set(is_over);
        is_over
    }

    /// Whether somebody found it over.
    pub fn was_over(&self) -> bool {
        self.is_over.get()
    }
}

impl Host {
    pub fn new(
        belongings: Belongings,
        limits: Rc<Limits>,
        account: Rc<Account>,
        watch: Watch,
        random: Random,
    ) -> Self {
        let Belongings { session, scripts, custom_data, secrets } = belongings;
        Self {
            session,
            limits,
            scripts,
            account,
            watch,
            custom_data,
            secrets,
            random: RefCell::new(random),
            stage: Cell::new(Stage::Running),
            wants_end: Cell::new(false),
            hears_http: Cell::new(false),
            log_bytes: Cell::new(0),
            last_object: Cell::new(0),
            outputs: RefCell::default(),
            deadlines: RefCell::default(),
            timers: RefCell::default(),
            http: RefCell::default(),
            local: RefCell::default(),
            promised: RefCell::default(),
            rejections: RefCell::default(),
        }
    }

    /// Passes a command on. What the session holds of it counts as its memory until it is taken;
    /// a session that has no room for it is out of memory.
    pub fn command(&self, command: Command) {
        if self.stage.get() == Stage::Terminated && !matches!(command, Command::Log { .. }) {
            return;
        }
        let bytes = COMMAND_BYTES + command.payload_bytes();
        if let Some(charge) = Charge::new(&self.account, bytes) {
            let output = Output::Command { session: self.session, command };
            self.outputs.borrow_mut().push((output, Some(charge)));
        }
    }

    /// One line of the session's log, cut to its longest. Nothing once the log is full: a script
    /// cannot keep the other threads busy with lines that nobody keeps.
    pub fn log(&self, text: String) {
        if self.log_bytes.get() >= self.limits.log_bytes {
            return;
        }
        let limit = self.limits.log_line_chars;
        let text = match text.char_indices().nth(limit) {
            Some((end, _)) => text[..end].to_owned(),
            None => text,
        };
        self.log_bytes.set(self.log_bytes.get() + text.len() + STAMP_BYTES);
        self.command(Command::Log { text });
    }

    pub fn output(&self, output: Output) {
        self.outputs.borrow_mut().push((output, None));
    }

    pub fn take_outputs(&self) -> Vec<(Output, Option<Charge>)> {
        std::mem::take(&mut self.outputs.borrow_mut())
    }

    pub fn take_deadlines(&self) -> Vec<Deadline> {
        std::mem::take(&mut self.deadlines.borrow_mut())
    }

    pub fn next_object(&self) -> Object {
        let object = self.last_object.get().wrapping_add(1) & OWN_OBJECTS;
        self.last_object.set(object);
        object
    }

    pub fn secret(&self, name: &str) -> Option<String> {
        self.secrets.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.borrow_mut().fill(&mut bytes);
        bytes
    }

    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// `VoxEngine.terminate()`: takes effect when the present callback is over.
    pub fn terminate(&self) {
        if self.stage.get() == Stage::Running {
            self.wants_end.set(true);
        }
    }

    /// After each callback: the end that it asked for.
    pub fn begin_end(&self) {
        if self.wants_end.replace(false) {
            self.advance(Stage::Ending);
            self.output(Output::Command { session: self.session, command: Command::Terminate });
        }
    }

    /// Timers and requests that were not sent die with the running stage.
    pub fn advance(&self, stage: Stage) {
        self.stage.set(self.stage.get().max(stage));
        let mut timers = self.timers.borrow_mut();
        for id in std::mem::take(&mut timers.active).into_keys() {
            self.deadlines.borrow_mut().push(Deadline::Disarm(Timer::Script(id)));
        }
        self.http.borrow_mut().waiting.clear();
    }

    pub fn hear_http_requests(&self) {
        self.hears_http.set(true);
    }

    /// Whether a handler for requests to the access URL was ever added.
    pub fn hears_http(&self) -> bool {
        self.hears_http.get()
    }

    /// `None`: too many timers. Once the end has begun, a timer never fires.
    pub fn add_timer(&self, delay_ms: f64, is_repeated: bool) -> Option<u32> {
        let mut timers = self.timers.borrow_mut();
        if timers.active.len() >= self.limits.timers {
            return None;
        }
        timers.last = timers.last.wrapping_add(1);
        let id = timers.last;
        if self.stage.get() == Stage::Running {
            let delay = Duration::from_millis(delay_ms.clamp(0.0, LONGEST_DELAY_MS) as u64);
            timers.active.insert(id, is_repeated.then_some(delay));
            self.arm(Timer::Script(id), delay);
        }
        Some(id)
    }

    pub fn clear_timer(&self, id: u32) {
        if self.timers.borrow_mut().active.remove(&id).is_some() {
            self.deadlines.borrow_mut().push(Deadline::Disarm(Timer::Script(id)));
        }
    }

    /// A timer's time has come; `false` if it was cleared. A repeated one is armed again by
    /// [`Host::repeat_timer`], so that a slow callback does not pile up.
    pub fn take_timer(&self, id: u32) -> bool {
        let mut timers = self.timers.borrow_mut();
        match timers.active.get(&id) {
            Some(Some(_)) => true,
            Some(None) => timers.active.remove(&id).is_some(),
            None => false,
        }
    }

    pub fn repeat_timer(&self, id: u32) {
        if let Some(Some(period)) = self.timers.borrow().active.get(&id).copied() {
            self.arm(Timer::Script(id), period);
        }
    }

    pub fn arm(&self, timer: Timer, delay: Duration) {
        self.deadlines.borrow_mut().push(Deadline::Arm(timer, delay));
    }

    /// Starts or queues a request; `None`: too many of them.
    pub fn http_request(&self, mut request: Box<HttpRequest>, is_raw: bool) -> Option<u32> {
        let mut http = self.http.borrow_mut();
        let open = http.active.len() + http.waiting.len();
        if open >= self.limits.http_queued {
            return None;
        }
        http.last = http.last.wrapping_add(1);
        let id = http.last;
        request.request = id;
        match self.stage.get() {
            Stage::Running | Stage::Ending if http.active.len() >= self.limits.http_active => {
                let bytes = COMMAND_BYTES + request.payload_bytes();
                if let Some(charge) = Charge::new(&self.account, bytes) {
                    http.waiting.push_back((request, is_raw, charge));
                }
            }
            Stage::Running | Stage::Ending => {
                http.active.insert(id, is_raw);
                self.command(Command::HttpRequest(request));
            }
            // Section 1.5: exactly one request, the others get code 0 and no network.
            Stage::Terminating if http.last_ones == 0 => {
                http.last_ones += 1;
                http.active.insert(id, is_raw);
                self.command(Command::HttpRequest(request));
            }
            Stage::Terminating => {
                http.active.insert(id, is_raw);
                let error = "only one request may be made while the session terminates".into();
                let result = HttpResult { error, ..HttpResult::default() };
                self.local.borrow_mut().push_back(Event::HttpResult { request: id, result });
            }
            Stage::Terminated => {}
        }
        Some(id)
    }

    /// A result is here: whether the script wants its bytes, or `None` if it waits for none.
    pub fn take_http(&self, request: u32) -> Option<bool> {
        let mut http = self.http.borrow_mut();
        let is_raw = http.active.remove(&request)?;
        if let Some((next, is_raw, _)) = http.waiting.pop_front() {
            http.active.insert(next.request, is_raw);
            self.command(Command::HttpRequest(next));
        }
        Some(is_raw)
    }

    /// A request that was made in Terminating is under way.
    pub fn has_last_request(&self) -> bool {
        self.http.borrow().last_ones > 0
    }

    /// `PlaybackFinished` with an error for what can't be played at all.
    pub fn fail_playback(&self, call: Object, error: String) {
        let event = CallEvent::PlaybackFinished { error: Some(error) };
        self.local.borrow_mut().push_back(Event::Call { call, event });
    }

    pub fn fail_recording(&self, call: Object, error: String) {
        let event = CallEvent::RecordError { error };
        self.local.borrow_mut().push_back(Event::Call { call, event });
    }

    pub fn fail_recorder(&self, recorder: Object, error: String) {
        let event = RecorderEvent::Error { error };
        self.local.borrow_mut().push_back(Event::Recorder { recorder, event });
    }

    pub fn fail_player(&self, player: Object, error: String) {
        let events = [
            PlayerEvent::Created,
            PlayerEvent::Error { error: error.clone() },
            PlayerEvent::PlaybackFinished { error: Some(error) },
        ];
        let events = events.into_iter().map(|event| Event::Player { player, event });
        self.local.borrow_mut().extend(events);
    }

    /// What happens to an endpoint of a conference happens in the script's own runtime.
    pub fn conference_event(&self, conference: Object, event: ConferenceEvent) {
        self.local.borrow_mut().push_back(Event::Conference { conference, event });
    }

    pub fn next_local(&self) -> Option<Event> {
        self.local.borrow_mut().pop_front()
    }

    /// A handler returned a promise; [`Host::settle`] brings its answer.
    pub fn promise(&self, request: u64) {
        self.promised.borrow_mut().insert(request);
        self.arm(Timer::Promise(request), PROMISE);
    }

    /// Answers a request whose promise settled, if it still waits.
    pub fn settle(&self, request: u64, answer: Answer) {
        if self.promised.borrow_mut().remove(&request) {
            self.deadlines.borrow_mut().push(Deadline::Disarm(Timer::Promise(request)));
            self.answer(request, answer);
        }
    }

    pub fn answer(&self, request: u64, answer: Answer) {
        self.output(Output::HttpAnswer { session: self.session, request, answer });
    }

    /// The promise at `identity` was rejected and nobody handles it yet.
    pub fn reject(&self, identity: usize, trouble: Trouble) {
        let mut rejections = self.rejections.borrow_mut();
        if rejections.len() < REJECTIONS {
            rejections.push((identity, trouble));
        }
    }

    /// Somebody does after all. The latest of an identity, since a freed promise's may return.
    pub fn unreject(&self, identity: usize) {
        let mut rejections = self.rejections.borrow_mut();
        if let Some(place) = rejections.iter().rposition(|(other, _)| *other == identity) {
            rejections.remove(place);
        }
    }

    pub fn has_rejections(&self) -> bool {
        !self.rejections.borrow().is_empty()
    }

    pub fn take_rejections(&self) -> Vec<Trouble> {
        let rejections = std::mem::take(&mut *self.rejections.borrow_mut());
        rejections.into_iter().map(|(_, trouble)| trouble).collect()
    }

    /// What of a script's headers may leave (section 8): names that start with `X-`, User-to-User,
    /// and what the carrier allows; the others are dropped with a line in the log.
    pub fn checked_headers(
        &self,
        headers: Vec<(String, String)>,
        carrier: Carrier,
    ) -> ExtraHeaders {
        let mut checked = ExtraHeaders::new();
        let mut bytes = 0;
        for (name, value) in headers {
            let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let is_x = name.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("X-"));
            let is_extra = is_x || name.eq_ignore_ascii_case("User-to-User");
            let size = name.len() + value.len();
            let longest = if is_x { HEADER_BYTES } else { LONG_HEADER_BYTES };
            let problem = if !is_token || !is_extra && !carrier.allows(&name) {
                Some("scripts may set only X- headers")
            } else if value.chars().any(char::is_control) {
                Some("control character in its value")
            } else if size > longest {
                Some(if is_x { "longer than 200 bytes" } else { "longer than 512 bytes" })
            } else if checked.len() >= HEADERS || bytes + size > BLOCK_BYTES {
                Some("too many headers")
            } else {
                None
            };
            match problem {
                Some(problem) => self.log(format!("header {name} dropped: {problem}")),
                None => {
                    bytes += size;
                    checked.push((name, value));
                }
            }
        }
        checked
    }
}

/// What a script's headers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// `callPSTN` and `callSIP`. The trunk's `pass_headers` is asked later.
    Call,
    /// `callUser`: `VI-CallTimeout` too.
    CallToUser,
    /// Anything else.
    Message,
}

impl Carrier {
    fn allows(self, name: &str) -> bool {
        match self {
            Self::Call => {
                let is_control =
                    name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("VI-"));
                !is_control && !is_reserved_header(name)
            }
            Self::CallToUser => name.eq_ignore_ascii_case("VI-CallTimeout"),
            Self::Message => false,
        }
    }
}

/// The time before each line of a log.
const STAMP_BYTES: usize = 25;
/// What a command under way takes besides its texts.
const COMMAND_BYTES: usize = 256;
/// Objects of incoming calls have the top bit set.
const OWN_OBJECTS: Object = Object::MAX >> 1;
/// Longest delay of a timer, about 24 days, as in browsers.
const LONGEST_DELAY_MS: f64 = i32::MAX as f64;
/// How long a request to the access URL waits for a promise (section 9.3 of the Management API).
const PROMISE: Duration = Duration::from_secs(30);
/// Rejected promises remembered at one time; more in one callback are not reported one by one.
const REJECTIONS: usize = 64;
/// Section 1.6: one SIP header field, and a block of them.
const HEADER_BYTES: usize = 200;
const BLOCK_BYTES: usize = 4095;
/// Of other names: 128 octets of User-to-User in hexadecimal (RFC 7433 §3.1), or a History-Info.
const LONG_HEADER_BYTES: usize = 512;
const HEADERS: usize = 20;
