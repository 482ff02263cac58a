//! A JavaScript thread: one [`Worker`] with its inputs and outputs, and the watch over it.
//!
//! Inputs come through a bounded channel that never makes the reactor wait; outputs go through
//! one that makes the thread wait, so scripts feel the back-pressure and SIP does not. A worker
//! that runs without a sign of life is abandoned with its sessions, and a new thread takes its
//! place.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, mem, thread};

use rustix::time::{ClockId, clock_gettime};
use smol::channel::{Sender, TrySendError as TrySend};

use crate::random::Random;
use crate::scenario::worker::{Input, Limits, Output, SessionId, Worker};

/// What JavaScript threads tell the reactor.
#[derive(Debug)]
pub enum FromWorker {
    Output {
        thread: usize,
        output: Output,
    },
    /// The worker's sessions are gone; it goes on without them.
    Lost {
        thread: usize,
    },
}

/// The reactor's end of a JavaScript thread.
pub struct WorkerHandle {
    thread: usize,
    limits: Limits,
    random: Random,
    outputs: Sender<FromWorker>,
    stuck_after: Duration,
    inbox: SyncSender<Input>,
    life: Arc<Life>,
    /// The last sign of life, and when it was seen first.
    seen: (u64, Instant),
}

/// Starts JavaScript thread `js-{thread}`.
///
/// # Errors
/// Where the system gives no thread.
pub fn spawn(
    thread: usize,
    limits: Limits,
    random: Random,
    outputs: Sender<FromWorker>,
) -> io::Result<WorkerHandle> {
    WorkerHandle::start(thread, limits, random, outputs, STUCK)
}

impl WorkerHandle {
    fn start(
        thread: usize,
        limits: Limits,
        mut random: Random,
        outputs: Sender<FromWorker>,
        stuck_after: Duration,
    ) -> io::Result<Self> {
        let (inbox, life) = start_thread(thread, &limits, random.fork(), &outputs)?;
        let seen = (0, Instant::now());
        Ok(Self { thread, limits, random, outputs, stuck_after, inbox, life, seen })
    }

    /// Hands over an input without waiting; `false`: the worker does not keep up, and the
    /// session that the input is for is lost. `Drop` always arrives.
    pub fn send(&self, input: Input) -> bool {
        match self.inbox.try_send(input) {
            Ok(()) => true,
            Err(TrySendError::Full(Input::Drop { session })) => {
                self.life.dropped().insert(session);
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Looks after the thread, once a second or so; `true`: it was stuck, its sessions are gone
    /// and a new thread has taken its place.
    pub fn check(&mut self, now: Instant) -> bool {
        let beat = self.life.beat.load(Ordering::Relaxed);
        let is_running = self.life.stage.load(Ordering::Relaxed) == RUNNING;
        if beat != self.seen.0 || !is_running {
            self.seen = (beat, now);
            return false;
        }
        if now.saturating_duration_since(self.seen.1) < self.stuck_after {
            return false;
        }
        log::error!("js-{} is stuck in a script: its sessions are ended", self.thread);
        self.life.is_abandoned.store(true, Ordering::Relaxed);
        match start_thread(self.thread, &self.limits, self.random.fork(), &self.outputs) {
            Ok((inbox, life)) => {
                self.inbox = inbox;
                self.life = life;
                self.seen = (0, now);
            }
            // The inbox of the stuck thread fills up and refuses; the next check tries again.
            Err(error) => log::error!("no new thread for js-{}: {error}", self.thread),
        }
        true
    }
}

/// What a thread and its handle share.
struct Life {
    /// Rises whenever a script runs or asks whether it may go on.
    beat: AtomicU64,
    stage: AtomicU8,
    is_abandoned: AtomicBool,
    /// Sessions to drop for which the inbox had no room: at most all sessions.
    dropped: Mutex<BTreeSet<SessionId>>,
}

impl Life {
    fn new() -> Self {
        Self {
            beat: AtomicU64::new(0),
            stage: AtomicU8::new(WAITING),
            is_abandoned: AtomicBool::new(false),
            dropped: Mutex::default(),
        }
    }

    fn dropped(&self) -> std::sync::MutexGuard<'_, BTreeSet<SessionId>> {
        // A set of numbers is whole whatever its holder was doing.
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stage: u8) {
        self.beat.fetch_add(1, Ordering::Relaxed);
        self.stage.store(stage, Ordering::Relaxed);
    }
}

/// The thread sleeps, or waits until the reactor takes an output.
const WAITING: u8 = 0;
const RUNNING: u8 = 1;

thread_local! {
    static LIFE: RefCell<Option<Arc<Life>>> = const { RefCell::new(None) };
}

/// CPU time of this thread: a script does not pay for what others run. Scripts ask for it now and
/// then, so each reading is a sign of life.
fn stopwatch() -> Duration {
    LIFE.with_borrow(|life| {
        if let Some(life) = life {
            life.beat.fetch_add(1, Ordering::Relaxed);
        }
    });
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

fn start_thread(
    thread: usize,
    limits: &Limits,
    random: Random,
    outputs: &Sender<FromWorker>,
) -> io::Result<(SyncSender<Input>, Arc<Life>)> {
    let (inbox, inputs) = sync_channel(INPUTS);
    let life = Arc::new(Life::new());
    let place =
        Place { thread, limits: limits.clone(), outputs: outputs.clone(), life: life.clone() };
    thread::Builder::new()
        .name(format!("js-{thread}"))
        .stack_size(limits.stack_bytes + STACK_BYTES)
        .spawn(move || place.run(&inputs, random))?;
    Ok((inbox, life))
}

struct Place {
    thread: usize,
    limits: Limits,
    outputs: Sender<FromWorker>,
    life: Arc<Life>,
}

/// The reactor is gone, or has given up on this thread.
struct Over;

impl Place {
    fn run(&self, inputs: &Receiver<Input>, mut random: Random) {
        LIFE.set(Some(self.life.clone()));
        let mut worker = Worker::new(self.limits.clone(), stopwatch, random.fork());
        while let Some(input) = next(inputs, worker.poll_timeout()) {
            self.life.enter(RUNNING);
            let mut next = Some(input);
            // All that has come by now, before the next sleep.
            while let Some(input) = next {
                if self.step(&mut worker, input, &mut random).is_err() {
                    return;
                }
                next = inputs.try_recv().ok();
            }
            self.life.enter(WAITING);
        }
    }

    /// One input, the deadlines that have come, and all outputs.
    fn step(&self, worker: &mut Worker, input: Input, random: &mut Random) -> Result<(), Over> {
        for session in mem::take(&mut *self.life.dropped()) {
            self.feed(worker, Input::Drop { session }, random)?;
        }
        self.feed(worker, input, random)?;
        if worker.poll_timeout().is_some_and(|at| at <= Instant::now()) {
            self.feed(worker, Input::Timeout, random)?;
        }
        Ok(())
    }

    fn feed(&self, worker: &mut Worker, input: Input, random: &mut Random) -> Result<(), Over> {
        let session = match &input {
            Input::Start { session, .. }
            | Input::Event { session, .. }
            | Input::Drop { session } => Some(*session),
            Input::Timeout => None,
        };
        let fed = catch_unwind(AssertUnwindSafe(|| worker.handle_input(Instant::now(), input)));
        if fed.is_err() {
            self.survive(worker, session, random)?;
        }
        while let Some(output) = worker.poll_output() {
            self.tell(FromWorker::Output { thread: self.thread, output })?;
        }
        Ok(())
    }

    /// A bug of ours: it costs the session that met it, or all where that is not known.
    fn survive(
        &self,
        worker: &mut Worker,
        session: Option<SessionId>,
        random: &mut Random,
    ) -> Result<(), Over> {
        let mut drop_session = |session| {
            catch_unwind(AssertUnwindSafe(|| {
                worker.handle_input(Instant::now(), Input::Drop { session });
            }))
        };
        if let Some(session) = session
            && drop_session(session).is_ok()
        {
            let error = "an internal error of the gateway".to_owned();
            let output = Output::Failed { session, error };
            return self.tell(FromWorker::Output { thread: self.thread, output });
        }
        let fresh = Worker::new(self.limits.clone(), stopwatch, random.fork());
        // What broke once may break while it is taken apart.
        mem::forget(mem::replace(worker, fresh));
        self.tell(FromWorker::Lost { thread: self.thread })
    }

    /// Waits while the reactor has no room.
    fn tell(&self, news: FromWorker) -> Result<(), Over> {
        if self.life.is_abandoned.load(Ordering::Relaxed) {
            return Err(Over);
        }
        match self.outputs.try_send(news) {
            Ok(()) => Ok(()),
            Err(TrySend::Closed(_)) => Err(Over),
            Err(TrySend::Full(news)) => {
                self.life.enter(WAITING);
                let told = self.outputs.send_blocking(news);
                self.life.enter(RUNNING);
                told.map_err(|_| Over)
            }
        }
    }
}

/// The next input, or `Timeout` when a deadline comes first; `None`: nobody sends any more.
fn next(inputs: &Receiver<Input>, deadline: Option<Instant>) -> Option<Input> {
    let Some(deadline) = deadline else { return inputs.recv().ok() };
    match inputs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(input) => Some(input),
        Err(RecvTimeoutError::Timeout) => Some(Input::Timeout),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// Inputs that one worker may be behind. Full: the session of the next one is lost.
const INPUTS: usize = 1024;
/// Without a sign of life for this long, a running script sits in a built-in that nothing stops.
/// Far above what a loaded machine keeps a thread waiting.
const STUCK: Duration = Duration::from_secs(10);
/// Stack of a worker thread besides that of JavaScript.
const STACK_BYTES: usize = 768 << 10;

#[cfg(test)]
mod tests {
    use smol::channel::{Receiver, bounded};

    use super::*;
    use crate::scenario::event::Event;
    use crate::scenario::heap::Pool;
    use crate::scenario::worker::{Answer, OnError, Script};
    use crate::slots::Key;

    fn limits() -> Limits {
        Limits {
            heap_bytes: 16 << 20,
            reserve_bytes: 1 << 20,
            pool: Arc::new(Pool::new(64 << 20)),
            stack_bytes: 256 << 10,
            run_time: Duration::from_secs(1),
            timers: 100,
            players: 10,
            http_active: 3,
            http_queued: 35,
            log_line_chars: 15_000,
            log_bytes: 1 << 20,
            sessions: 100,
            on_error: OnError::Log,
        }
    }

    fn worker(room: usize, stuck_after: Duration) -> (WorkerHandle, Receiver<FromWorker>) {
        let (outputs, news) = bounded(room);
        let random = Random::seeded(1);
        (WorkerHandle::start(0, limits(), random, outputs, stuck_after).unwrap(), news)
    }

    fn session(number: u64) -> SessionId {
        SessionId(Key::from_bits(number))
    }

    fn start(session: SessionId, source: &str) -> Input {
        Input::Start {
            session,
            scripts: Arc::new([Script { name: "test.js".into(), source: source.into() }]),
            custom_data: String::new(),
            secrets: Arc::new([]),
            first: Vec::new(),
        }
    }

    fn access(session: SessionId, request: u64) -> Input {
        let event = Event::HttpRequest {
            request,
            method: "GET".into(),
            path: "/".into(),
            content: String::new(),
            headers: Vec::new(),
        };
        Input::Event { session, event }
    }

    fn output(news: &Receiver<FromWorker>) -> Output {
        match news.recv_blocking() {
            Ok(FromWorker::Output { thread: 0, output }) => output,
            other => panic!("{other:?}"),
        }
    }

    const ANSWERS: &str = "VoxEngine.addEventListener(AppEvents.HttpRequest, () => 'here');";

    #[test]
    fn thread_runs_scripts_and_keeps_their_timers() {
        let (worker, news) = worker(16, STUCK);
        let session = session(1);
        assert!(worker.send(start(session, "setTimeout(() => Logger.write('tick'), 20)")));
        assert_eq!(output(&news), Output::Ready { session });
        assert!(matches!(output(&news), Output::Command { .. }));
        drop(worker);
        assert!(news.recv_blocking().is_err(), "the thread ends with its handle");
    }

    #[test]
    fn worker_waits_while_nobody_takes_its_outputs() {
        let (worker, news) = worker(1, Duration::ZERO);
        let session = session(1);
        let source = "for (let i = 0; i < 50; i++) Logger.write(i)";
        assert!(worker.send(start(session, source)));
        thread::sleep(Duration::from_millis(50));
        let mut worker = worker;
        // Waiting for the reactor is no sign of a stuck script.
        assert!(!worker.check(Instant::now()));
        assert!(!worker.check(Instant::now() + Duration::from_secs(1)));
        for _ in 0..50 {
            assert!(matches!(output(&news), Output::Command { .. }));
        }
        assert_eq!(output(&news), Output::Ready { session });
    }

    #[test]
    fn full_inbox_refuses_but_never_a_drop() {
        let (worker, news) = worker(1, STUCK);
        let (busy, idle) = (session(1), session(2));
        assert!(worker.send(start(busy, &format!("{ANSWERS} Logger.write(1); Logger.write(2)"))));
        // From here on the thread waits with its second line.
        while news.is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(worker.send(start(idle, "")));
        let mut sent = 0;
        while worker.send(access(busy, sent)) {
            sent += 1;
        }
        assert!(sent <= INPUTS as u64);
        assert!(worker.send(Input::Drop { session: busy }));
        let mut answers = 0;
        drop(worker);
        while let Ok(FromWorker::Output { output, .. }) = news.recv_blocking() {
            answers += u64::from(matches!(output, Output::HttpAnswer { .. }));
        }
        assert_eq!((sent, answers), (INPUTS as u64 - 1, 0));
    }

    #[test]
    fn stuck_thread_is_abandoned_and_another_takes_its_place() {
        let (mut worker, news) = worker(16, Duration::from_millis(300));
        // The guards see a short length; the built-in then reads another.
        let source = "let n = 0; const liar = { get length() { return n++ ? 2e7 : 1 } };
            Array.prototype.join.call(liar, '');";
        assert!(worker.send(start(session(1), source)));
        let begun = Instant::now();
        while !worker.check(Instant::now()) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(20));
        }
        let session = session(2);
        assert!(worker.send(start(session, ANSWERS)));
        assert_eq!(output(&news), Output::Ready { session });
        assert!(worker.send(access(session, 5)));
        let answer = Answer::Text("here".into());
        assert_eq!(output(&news), Output::HttpAnswer { session, request: 5, answer });
    }

    #[test]
    fn script_that_runs_long_within_its_limit_is_not_stuck() {
        let (mut worker, news) = worker(16, Duration::from_millis(100));
        let source = "const end = Date.now() + 500; while (Date.now() < end) Logger.x;";
        assert!(worker.send(start(session(1), source)));
        let begun = Instant::now();
        while news.is_empty() {
            assert!(!worker.check(Instant::now()));
            assert!(begun.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(output(&news), Output::Ready { session: session(1) });
    }
}
