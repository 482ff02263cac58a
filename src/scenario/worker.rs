//! The door of `scenario`: the runtimes of many sessions as one machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::bytecode::{self, Bytecode};
use super::command::Command;
use super::event::Event;
use super::heap::{Account, Charge, Pool};
use super::host::{Deadline, Host, Timer, Watch};
use super::mentions::Mentions;
use super::runtime::Runtime;
use crate::random::Random;
use crate::slots::Key;
use crate::timers::Timers;

/// The session that a runtime belongs to; chosen by `session`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub Key);

#[derive(Debug, Clone)]
pub struct Limits {
    /// Most that one session's JavaScript may use, with what it has under way to other threads.
    pub heap_bytes: usize,
    /// What of it is set aside for each session; the rest comes from `pool`.
    pub reserve_bytes: usize,
    /// Shared by the sessions of all workers.
    pub pool: Arc<Pool>,
    pub stack_bytes: usize,
    /// Longest run of one callback.
    pub run_time: Duration,
    pub timers: usize,
    pub players: usize,
    /// Outgoing and incoming calls of one session are counted by `session`.
    pub http_active: usize,
    /// Requests under way and waiting, together.
    pub http_queued: usize,
    /// Longest line of a script in the session's log; the rest is cut off.
    pub log_line_chars: usize,
    /// Bytes of all lines of one session; later ones have no place in its log.
    pub log_bytes: usize,
    /// Runtimes at one time.
    pub sessions: usize,
    /// What an exception in a listener does.
    pub on_error: OnError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    Log,
    End,
}

/// One scenario file.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// Shown in stacks: `callback.js`.
    pub name: String,
    pub source: String,
}

#[derive(Debug)]
pub enum Input {
    /// Make a runtime and run the scripts in one global scope; then `first` is dispatched:
    /// Started, and CallAlerting for an incoming call.
    Start {
        session: SessionId,
        scripts: Arc<[Script]>,
        custom_data: String,
        /// Of the application, for `VoxEngine.getSecretValue`.
        secrets: Arc<[(String, String)]>,
        first: Vec<Event>,
    },
    Event {
        session: SessionId,
        event: Event,
    },
    /// The session is over for everybody: drop its runtime without another word.
    Drop {
        session: SessionId,
    },
    /// `poll_timeout` has come.
    Timeout,
}

#[derive(Debug, PartialEq)]
pub enum Output {
    Command {
        session: SessionId,
        command: Command,
    },
    /// `Start` is done: scripts ran and `first` was dispatched (its commands came before this).
    Ready {
        session: SessionId,
    },
    /// What the handlers of `Event::HttpRequest` returned.
    HttpAnswer {
        session: SessionId,
        request: u64,
        answer: Answer,
    },
    /// `Terminating` was dispatched: no more requests than the one that may be under way
    /// (`http_pending`); `session` waits for its result before `Terminated`.
    TerminatingDone {
        session: SessionId,
        http_pending: bool,
    },
    /// `Terminated` was dispatched: the runtime is dropped.
    TerminatedDone {
        session: SessionId,
    },
    /// The script broke a limit or threw at top level (or in a listener with `OnError::End`).
    /// The runtime is dropped; `error` names script and line.
    Failed {
        session: SessionId,
        error: String,
    },
    /// A listener threw or a promise was rejected; the session goes on. Its own log has it with
    /// the stack already; `error` names script and line, cut short.
    Exception {
        session: SessionId,
        error: String,
    },
}

/// An HTTP answer as section 9.3 of the Management API reference has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Text(String),
    Json(String),
    Empty,
    /// The handler threw, or its value has no JSON.
    Error(String),
    /// A promise that did not settle in 30 s.
    TimedOut,
}

/// The runtimes of one worker thread.
pub struct Worker {
    limits: Rc<Limits>,
    stopwatch: fn() -> Duration,
    random: Random,
    /// Full: the session fails at once, counted by its own end.
    runtimes: BTreeMap<SessionId, Live>,
    compiled: Compiled,
    timers: Timers<(SessionId, Timer)>,
    /// What a session's commands take counts as its memory until they are polled.
    outputs: VecDeque<(Output, Option<Charge>)>,
}

struct Live {
    runtime: Runtime,
    /// Its deadlines in `timers`.
    armed: BTreeSet<Timer>,
}

impl Worker {
    /// `stopwatch` tells the time that the run-time limit is measured with.
    pub fn new(limits: Limits, stopwatch: fn() -> Duration, random: Random) -> Self {
        bytecode::prepare();
        Self {
            limits: Rc::new(limits),
            stopwatch,
            random,
            runtimes: BTreeMap::new(),
            compiled: Compiled::default(),
            timers: Timers::new(),
            outputs: VecDeque::new(),
        }
    }

    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Start { session, scripts, custom_data, secrets, first } => {
                let belongings = Belongings { session, scripts, custom_data, secrets };
                match self.open(belongings) {
                    Ok((runtime, compiled)) => {
                        let live = Live { runtime, armed: BTreeSet::new() };
                        self.runtimes.insert(session, live);
                        self.with_runtime(now, session, |runtime| {
                            runtime.start(&compiled.bytecode, first);
                        });
                    }
                    Err(error) => {
                        self.outputs.push_back((Output::Failed { session, error }, None));
                    }
                }
            }
            Input::Event { session, event } => {
                self.with_runtime(now, session, |runtime| runtime.deliver(event));
            }
            Input::Drop { session } => self.close(session),
            Input::Timeout => {
                while let Some((session, timer)) = self.timers.pop_due(now) {
                    if let Some(live) = self.runtimes.get_mut(&session) {
                        live.armed.remove(&timer);
                    }
                    self.with_runtime(now, session, |runtime| runtime.expire(timer));
                }
            }
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().map(|(output, _)| output)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Runtimes alive.
    pub fn usage(&self) -> usize {
        self.runtimes.len()
    }

    /// A runtime, and its scripts compiled.
    fn open(&mut self, belongings: Belongings) -> Result<(Runtime, Rc<Linked>), String> {
        let limits = &self.limits;
        if self.runtimes.len() >= limits.sessions {
            return Err(format!("no room for more than {} scenarios", limits.sessions));
        }
        let compiled = self.compiled.scripts(&belongings.scripts)?;
        let account = Account::new(limits.heap_bytes, limits.reserve_bytes, limits.pool.clone());
        let account = Rc::new(account);
        let watch = Watch::new(self.stopwatch, limits.run_time);
        let host =
            Host::new(belongings, limits.clone(), account.clone(), watch, self.random.fork());
        let runtime = Runtime::new(account, Rc::new(host), &compiled.mentions)?;
        Ok((runtime, compiled))
    }

    /// Lends a runtime, then takes what it wants done; drops it if that was its end.
    fn with_runtime(&mut self, now: Instant, session: SessionId, act: impl FnOnce(&mut Runtime)) {
        let Some(live) = self.runtimes.get_mut(&session) else { return };
        act(&mut live.runtime);
        let host = live.runtime.host();
        self.outputs.extend(host.take_outputs());
        for deadline in host.take_deadlines() {
            match deadline {
                Deadline::Arm(timer, delay) => {
                    live.armed.insert(timer);
                    self.timers.arm((session, timer), now + delay);
                }
                Deadline::Disarm(timer) => {
                    live.armed.remove(&timer);
                    self.timers.disarm((session, timer));
                }
            }
        }
        if let Some(last) = live.runtime.last_output() {
            self.outputs.push_back((last, None));
            self.close(session);
        }
    }

    fn close(&mut self, session: SessionId) {
        if let Some(live) = self.runtimes.remove(&session) {
            for timer in live.armed {
                self.timers.disarm((session, timer));
            }
        }
    }
}

/// What a session brings along.
pub struct Belongings {
    pub session: SessionId,
    pub scripts: Arc<[Script]>,
    pub custom_data: String,
    pub secrets: Arc<[(String, String)]>,
}

/// The bytecode of the rules whose scripts ran here, as long as their sources are in use.
#[derive(Default)]
struct Compiled {
    rules: Vec<Rule>,
}

struct Rule {
    scripts: Weak<[Script]>,
    compiled: Rc<Linked>,
}

/// Scripts as a runtime takes them.
struct Linked {
    bytecode: Vec<Bytecode>,
    mentions: Mentions,
}

impl Compiled {
    fn scripts(&mut self, scripts: &Arc<[Script]>) -> Result<Rc<Linked>, String> {
        let address = Arc::as_ptr(scripts);
        let known =
            self.rules.iter().find(|rule| std::ptr::addr_eq(rule.scripts.as_ptr(), address));
        if let Some(rule) = known {
            return Ok(rule.compiled.clone());
        }
        let bytecode: Result<Vec<Bytecode>, _> =
            scripts.iter().map(bytecode::compile_script).collect();
        let bytecode = bytecode.map_err(|trouble| trouble.line(scripts))?;
        let compiled = Rc::new(Linked { bytecode, mentions: Mentions::of(scripts) });
        // A reload leaves sources behind that nobody uses.
        self.rules.retain(|rule| rule.scripts.strong_count() > 0);
        let rule = Rule { scripts: Arc::downgrade(scripts), compiled: compiled.clone() };
        self.rules.push(rule);
        Ok(compiled)
    }
}
