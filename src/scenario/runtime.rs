//! One session's JavaScript: a QuickJS runtime with its limits, the scripts of the rule in one
//! global scope, and the events that its handlers get, one callback after the other.

use std::rc::Rc;
use std::time::Duration;

use rquickjs::context::intrinsic;
use rquickjs::{Array, Context, Ctx, Function, Object, Persistent, Value};

use super::bytecode::{self, Bytecode};
use super::convert::{self, Trouble};
use super::event::Event;
use super::heap::{Account, Heap};
use super::host::{Host, Stage, Timer};
use super::mentions::Mentions;
use super::natives;
use super::worker::{Answer, OnError, Output};

/// One session's runtime.
///
/// Invariant: `shared` goes before the context, the context before the runtime.
pub struct Runtime {
    shared: Persistent<Object<'static>>,
    context: Context,
    runtime: rquickjs::Runtime,
    host: Rc<Host>,
    /// Requests to the access URL that came before any handler.
    held: Vec<Event>,
    fate: Fate,
}

/// Whether the session goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Alive,
    /// Terminated was dispatched.
    Done,
    /// A limit was broken, or an error ends the session.
    Failed(String),
}

impl Runtime {
    /// A context with the prelude, its limits armed.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn new(account: Rc<Account>, host: Rc<Host>, mentions: &Mentions) -> Result<Self, String> {
        let failed = |error: rquickjs::Error| format!("no JavaScript runtime: {error}");
        let runtime =
            rquickjs::Runtime::new_with_alloc(Heap::new(account.clone())).map_err(failed)?;
        runtime.set_gc_threshold(FIRST_COLLECTION_BYTES);
        runtime.set_max_stack_size(host.limits.stack_bytes);
        let context = match mentions.typed_arrays {
            true => Context::custom::<(Language, intrinsic::TypedArrays)>(&runtime),
            false => Context::custom::<Language>(&runtime),
        };
        let context = context.map_err(failed)?;
        let watcher = host.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || {
            watcher.watch.is_over() || watcher.account.is_exhausted()
        })));
        let tracker = host.clone();
        runtime.set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, promise, reason, is_handled| {
                track(&tracker, &ctx, &promise, reason, is_handled)
            },
        )));
        let shared = context.with(|ctx| {
            let shared = natives::install(&ctx, &host, mentions).map_err(failed)?;
            Ok::<_, String>(Persistent::save(&ctx, shared))
        })?;
        account.arm();
        Ok(Self { shared, context, runtime, host, held: Vec::new(), fate: Fate::Alive })
    }

    /// Runs the compiled scripts in order, then delivers the first events.
    pub fn start(&mut self, scripts: &[Bytecode], first: Vec<Event>) {
        for script in scripts {
            self.host.watch.start();
            let trouble = self.context.with(|ctx| {
                let result = bytecode::run(&ctx, script, &self.host.account);
                result.err().map(|error| self.trouble_of(&ctx, error))
            });
            if let Some(trouble) = trouble {
                return self.fail(&trouble);
            }
            self.finish_callback();
            if self.fate != Fate::Alive {
                return;
            }
        }
        for event in first {
            self.deliver(event);
        }
        if self.fate == Fate::Alive {
            self.host.output(Output::Ready { session: self.host.session });
        }
    }

    /// Delivers an event, and what its handlers cause at once.
    pub fn deliver(&mut self, event: Event) {
        let is_terminating = matches!(event, Event::Terminating { .. });
        self.deliver_one(event);
        self.deliver_local();
        if is_terminating && self.fate == Fate::Alive {
            let (session, http_pending) = (self.host.session, self.host.has_last_request());
            self.host.output(Output::TerminatingDone { session, http_pending });
        }
    }

    /// A deadline that the host asked for has come.
    pub fn expire(&mut self, timer: Timer) {
        match timer {
            Timer::Script(id) if self.host.take_timer(id) => {
                self.dispatch(Occasion::Timer(id));
                self.host.repeat_timer(id);
                self.deliver_local();
            }
            Timer::Script(_) => {}
            Timer::Promise(request) => self.host.settle(request, Answer::TimedOut),
            Timer::Held(request) => {
                let is_it = |event: &Event| match event {
                    Event::HttpRequest { request: held, .. } => *held == request,
                    _ => false,
                };
                if let Some(place) = self.held.iter().position(is_it) {
                    self.held.remove(place);
                    self.host.answer(request, Answer::Empty);
                }
            }
        }
    }

    /// What came of the callbacks that just ran, and the requests that waited for a handler.
    fn deliver_local(&mut self) {
        if self.host.hears_http() {
            for event in std::mem::take(&mut self.held) {
                self.deliver_one(event);
            }
        }
        while self.fate == Fate::Alive {
            let Some(event) = self.host.next_local() else { break };
            self.deliver_one(event);
        }
    }

    pub fn host(&self) -> &Rc<Host> {
        &self.host
    }

    /// The last output of a runtime that is not alive.
    pub fn last_output(&self) -> Option<Output> {
        let session = self.host.session;
        match &self.fate {
            Fate::Alive => None,
            Fate::Done => Some(Output::TerminatedDone { session }),
            Fate::Failed(error) => Some(Output::Failed { session, error: error.clone() }),
        }
    }

    fn deliver_one(&mut self, event: Event) {
        let stage = self.host.stage();
        match event {
            Event::Terminating { .. } => {
                self.host.advance(Stage::Terminating);
                self.dispatch(Occasion::Event(&event));
            }
            Event::Terminated { .. } => {
                self.host.advance(Stage::Terminated);
                self.dispatch(Occasion::Event(&event));
                if self.fate == Fate::Alive {
                    self.fate = Fate::Done;
                }
            }
            Event::HttpResult { request, .. } => {
                if let Some(is_raw) = self.host.take_http(request) {
                    self.dispatch(Occasion::Http(&event, is_raw));
                }
            }
            // Once the end has begun, nothing else is delivered.
            _ if stage != Stage::Running || self.fate != Fate::Alive => {}
            Event::HttpRequest { request, .. } if !self.host.hears_http() => {
                self.host.arm(Timer::Held(request), HELD);
                self.held.push(event);
            }
            _ => self.dispatch(Occasion::Event(&event)),
        }
    }

    /// Finds who is to hear of it, and calls them one at a time.
    fn dispatch(&mut self, occasion: Occasion<'_>) {
        let stage = self.host.stage();
        self.host.watch.start();
        let prepared = self.context.with(|ctx| {
            let prepared = self.prepare(&ctx, &occasion);
            prepared
                .map(|list| list.map(|list| Persistent::save(&ctx, list)))
                .map_err(|error| self.trouble_of(&ctx, error))
        });
        let request = match occasion {
            Occasion::Event(Event::HttpRequest { request, .. }) => Some(*request),
            _ => None,
        };
        let mut is_answered = false;
        let mut place = 0;
        match prepared {
            Ok(Some(list)) => {
                while self.fate == Fate::Alive && self.host.stage() == stage {
                    if place > 0 {
                        self.host.watch.start();
                    }
                    match self.call_next(&list, &mut place, request, &mut is_answered) {
                        Called::None => break,
                        Called::Fine => self.finish_callback(),
                        Called::Threw(trouble) => {
                            self.report(&trouble);
                            self.finish_callback();
                        }
                    }
                }
            }
            Ok(None) => self.finish_callback(),
            Err(trouble) => {
                self.report(&trouble);
                self.finish_callback();
            }
        }
        if let (Some(request), false, true) = (request, is_answered, self.fate == Fate::Alive) {
            self.host.answer(request, Answer::Empty);
        }
    }

    /// The flat list of handlers and what each gets.
    fn prepare<'js>(
        &self,
        ctx: &Ctx<'js>,
        occasion: &Occasion<'_>,
    ) -> rquickjs::Result<Option<Array<'js>>> {
        let shared = self.shared.clone().restore(ctx)?;
        let function = |name: &str| shared.get::<_, Option<Function<'js>>>(name);
        let app = |name: &'static str, payload: Object<'js>| match function("prepareApp")? {
            Some(prepare) => prepare.call((name, payload)),
            None => Ok(None),
        };
        let ending = |name: &'static str, system_error: bool| {
            let payload = Object::new(ctx.clone())?;
            if system_error {
                payload.set("systemError", true)?;
            }
            app(name, payload)
        };
        match occasion {
            Occasion::Timer(id) => match function("prepareTimer")? {
                Some(prepare) => prepare.call((*id,)),
                None => Ok(None),
            },
            Occasion::Http(Event::HttpResult { request, result }, is_raw) => {
                let Some(prepare) = function("prepareHttp")? else { return Ok(None) };
                prepare.call((*request, convert::http_result(ctx, result, *is_raw)?))
            }
            Occasion::Http(..) => Ok(None),
            Occasion::Event(event) => match event {
                Event::Started(event) => app("Application.Started", convert::started(ctx, event)?),
                Event::CallAlerting(event) => {
                    let Some(prepare) = function("prepareAlerting")? else { return Ok(None) };
                    let payload = convert::alerting(ctx, event)?;
                    prepare.call((f64::from(event.call), event.client_type.as_str(), payload))
                }
                Event::Call { call, event } => {
                    let Some(prepare) = function("prepareCall")? else { return Ok(None) };
                    let (name, payload) = convert::call_event(ctx, event)?;
                    prepare.call((f64::from(*call), name, payload))
                }
                Event::Player { player, event } => {
                    let Some(prepare) = function("preparePlayer")? else { return Ok(None) };
                    let (name, payload) = convert::player_event(ctx, event)?;
                    prepare.call((f64::from(*player), name, payload))
                }
                Event::Conference { conference, event } => {
                    let Some(prepare) = function("prepareConference")? else { return Ok(None) };
                    let (name, payload) = convert::conference_event(ctx, event)?;
                    prepare.call((f64::from(*conference), name, payload))
                }
                Event::Recorder { recorder, event } => {
                    let Some(prepare) = function("prepareRecorder")? else { return Ok(None) };
                    let (name, payload) = convert::recorder_event(ctx, event)?;
                    prepare.call((f64::from(*recorder), name, payload))
                }
                Event::HttpRequest { method, path, content, headers, .. } => {
                    let payload = Object::new(ctx.clone())?;
                    payload.set("method", method.as_str())?;
                    payload.set("path", path.as_str())?;
                    payload.set("content", content.as_str())?;
                    payload.set("headers", convert::key_values(ctx, headers)?)?;
                    app("Application.HttpRequest", payload)
                }
                Event::HttpResult { .. } => Ok(None),
                Event::Terminating { system_error } => {
                    ending("Application.Terminating", *system_error)
                }
                Event::Terminated { system_error } => {
                    ending("Application.Terminated", *system_error)
                }
            },
        }
    }

    /// Calls the next handler of the list that was not removed meanwhile.
    fn call_next(
        &self,
        list: &Persistent<Array<'static>>,
        place: &mut usize,
        request: Option<u64>,
        is_answered: &mut bool,
    ) -> Called {
        self.context.with(|ctx| {
            let called = (|| {
                let list = list.clone().restore(&ctx)?;
                while *place < list.len() {
                    let entry: Object = list.get(*place)?;
                    let argument: Value = list.get(*place + 1)?;
                    *place += 2;
                    if !entry.get::<_, bool>("isActive")? {
                        continue;
                    }
                    let callback: Value = entry.get("callback")?;
                    let Some(callback) = callback.into_function() else {
                        return Err(rquickjs::Exception::throw_type(
                            &ctx,
                            "the event's listener is not a function",
                        ));
                    };
                    let value: Value = match argument.is_undefined() {
                        true => callback.call(())?,
                        false => callback.call((argument,))?,
                    };
                    if let (Some(request), false) = (request, *is_answered) {
                        *is_answered = self.answer(&ctx, request, value)?;
                    }
                    return Ok(true);
                }
                Ok(false)
            })();
            match called {
                Ok(true) => Called::Fine,
                Ok(false) => Called::None,
                Err(error) => {
                    let trouble = self.trouble_of(&ctx, error);
                    if let (Some(request), false) = (request, *is_answered) {
                        *is_answered = true;
                        self.host.answer(request, Answer::Error(trouble.message.clone()));
                    }
                    Called::Threw(trouble)
                }
            }
        })
    }

    /// Answers a request with a handler's value, at once or when its promise settles; `false` if
    /// the value is undefined.
    fn answer<'js>(
        &self,
        ctx: &Ctx<'js>,
        request: u64,
        value: Value<'js>,
    ) -> rquickjs::Result<bool> {
        if !value.is_promise() {
            let answer = convert::answer(ctx, value);
            let is_answer = answer.is_some();
            if let Some(answer) = answer {
                self.host.answer(request, answer);
            }
            return Ok(is_answer);
        }
        self.host.promise(request);
        let host = self.host.clone();
        let settle = Function::new(
            ctx.clone(),
            move |ctx: Ctx<'js>, is_fulfilled: bool, value: Value<'js>| {
                let answer = match is_fulfilled {
                    true => convert::answer(&ctx, value).unwrap_or(Answer::Empty),
                    false => {
                        let trouble = Trouble::of(&ctx, value, &host.scripts);
                        let message = trouble.message.clone();
                        host.reject(0, trouble);
                        Answer::Error(message)
                    }
                };
                host.settle(request, answer);
            },
        )?;
        let shared = self.shared.clone().restore(ctx)?;
        shared.get::<_, Function>("awaitAnswer")?.call::<_, ()>((value, settle))?;
        Ok(true)
    }

    /// After every callback: microtasks, rejected promises, limits, and the end that it asked for.
    fn finish_callback(&mut self) {
        let host = self.host.clone();
        let mut fatal = None;
        let mut overtime = 0;
        while fatal.is_none() && overtime < OVERTIME_JOBS {
            match self.runtime.execute_pending_job() {
                Ok(true) if host.has_rejections() && host.watch.was_over() => break,
                Ok(true) => overtime += usize::from(host.watch.is_over()),
                Ok(false) => break,
                Err(job) => {
                    fatal = job.0.with(|ctx| {
                        let value = ctx.catch();
                        let is_fatal = value.is_uncatchable_error();
                        let trouble = Trouble::of(&ctx, value, &host.scripts);
                        if !is_fatal {
                            host.reject(0, trouble);
                            return None;
                        }
                        Some(trouble)
                    });
                }
            }
        }
        let rejections = host.take_rejections();
        if host.watch.was_over() || host.account.is_exhausted() {
            // The interrupted line may have become the reason of a rejection.
            let found = fatal.or_else(|| rejections.into_iter().rfind(|one| one.place.is_some()));
            return self.fail(&found.unwrap_or_else(|| self.nowhere()));
        }
        for trouble in rejections {
            self.report(&trouble);
        }
        if self.fate == Fate::Alive {
            host.begin_end();
            self.tune_collector();
        }
    }

    /// An exception that nobody caught.
    fn report(&mut self, trouble: &Trouble) {
        if self.fate != Fate::Alive {
            return;
        }
        let is_over = self.host.watch.was_over() || self.host.account.is_exhausted();
        if is_over || self.host.limits.on_error == OnError::End {
            return self.fail(trouble);
        }
        self.host.log(trouble.text(&self.host.scripts));
        let line = trouble.line(&self.host.scripts);
        let error = line.chars().take(EXCEPTION_CHARS).collect();
        self.host.output(Output::Exception { session: self.host.session, error });
    }

    fn fail(&mut self, trouble: &Trouble) {
        if self.fate != Fate::Alive {
            return;
        }
        let mut trouble = trouble.clone();
        let limits = &self.host.limits;
        if self.host.account.is_exhausted() {
            let limit = limits.heap_bytes >> 10;
            trouble.message = format!("out of memory: more than {limit} KiB, or than is free");
        } else if self.host.watch.was_over() {
            let limit = limits.run_time.as_millis();
            trouble.message = format!("a callback ran longer than {limit} ms");
        }
        if !trouble.stack.is_empty() {
            self.host.log(trouble.text(&self.host.scripts));
        }
        self.fate = Fate::Failed(trouble.line(&self.host.scripts));
    }

    /// A limit that was broken where no error says the line.
    fn nowhere(&self) -> Trouble {
        Trouble { message: String::new(), place: None, stack: String::new() }
    }

    fn trouble_of(&self, ctx: &Ctx<'_>, error: rquickjs::Error) -> Trouble {
        match error {
            rquickjs::Error::Exception => Trouble::caught(ctx, &self.host.scripts),
            error => Trouble { message: error.to_string(), place: None, stack: String::new() },
        }
    }

    /// QuickJS collects cycles when the heap has grown by half since the last time; near the
    /// limit that would be never.
    fn tune_collector(&self) {
        let used = self.host.account.used();
        if used > self.host.limits.heap_bytes / 2 {
            let latest = self.host.limits.heap_bytes / 8 * 7;
            self.runtime.set_gc_threshold((used + used / 4).min(latest));
        }
    }
}

/// Why handlers are called.
enum Occasion<'a> {
    Event(&'a Event),
    /// A result, and whether the script wants its bytes.
    Http(&'a Event, bool),
    Timer(u32),
}

enum Called {
    /// No handler is left.
    None,
    Fine,
    Threw(Trouble),
}

fn track<'js>(
    host: &Host,
    ctx: &Ctx<'js>,
    promise: &Value<'js>,
    reason: Value<'js>,
    is_handled: bool,
) {
    let identity = identity_of(promise);
    match is_handled {
        true => host.unreject(identity),
        false => host.reject(identity, Trouble::of(ctx, reason, &host.scripts)),
    }
}

/// A number that two live promises never share; 0 is no promise's.
fn identity_of(promise: &Value<'_>) -> usize {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    promise.hash(&mut hasher);
    (hasher.finish() | 1) as usize
}

/// What of the language every context has: all but the compiler (see `bytecode`) and typed arrays.
type Language = (
    intrinsic::Date,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::Proxy,
    intrinsic::MapSet,
    intrinsic::Promise,
    intrinsic::WeakRef,
);

/// What of an exception goes into the gateway's log: a script may throw a text of any length.
const EXCEPTION_CHARS: usize = 300;

/// Microtasks that may still run when time is up: by then the interrupt handler has been polled,
/// whose error names the line.
const OVERTIME_JOBS: usize = 20_000;
/// Until a session's heap has grown to this, cycles are not looked for: a usual session never is.
const FIRST_COLLECTION_BYTES: usize = 512 << 10;
/// How long a request to the access URL waits for the first handler (section 9.2 of the
/// Management API reference).
const HELD: Duration = Duration::from_secs(5);
