//! What waits for the disk thread.
//!
//! A bounded channel whose kinds have shares of their own, so that much of one never costs
//! another. Nobody who sends waits, and the thread is not woken for every operation: it lets a
//! batch gather unless something urgent comes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::stats;
use crate::storage::store::Operation;

/// What reaches the disk thread.
#[derive(Debug)]
pub enum Message {
    Operation(Box<Operation>),
    Samples {
        recording: u64,
        /// Samples that were refused before these: silence in their place.
        gap: u64,
        samples: Vec<i16>,
    },
    /// Nothing comes after this.
    Stop,
}

/// A new queue, empty.
pub fn queue() -> (Sender, Queue) {
    let (sender, receiver) = sync_channel(OPERATIONS);
    let state = Arc::new(State::default());
    (Sender { channel: sender, state: state.clone() }, Queue { channel: receiver, state })
}

/// The senders' end.
#[derive(Debug, Clone)]
pub struct Sender {
    channel: SyncSender<Message>,
    state: Arc<State>,
}

impl Sender {
    /// False: there is no room for it (or the thread has ended); it is counted by its kind.
    pub fn send(&self, operation: Operation) -> bool {
        let operation = match operation {
            Operation::AppendRecording { recording, samples } => {
                return self.record(recording, samples);
            }
            operation => operation,
        };
        let kind = Kind::of(&operation);
        let is_urgent = kind.is_urgent(&operation);
        let weight = weight(&operation);
        let lost = Lost::of(&operation);
        if !self.state.take(kind, weight) {
            self.lose(lost);
            return false;
        }
        if self.channel.try_send(Message::Operation(Box::new(operation))).is_err() {
            self.state.give_back(kind, weight);
            self.lose(lost);
            return false;
        }
        if is_urgent || self.state.is_half_full() {
            self.hurry();
        }
        true
    }

    /// Samples for a recording; what is refused becomes silence of the same length.
    pub fn record(&self, recording: u64, samples: Vec<i16>) -> bool {
        let gap = self.state.take_gap(recording);
        let (count, weight) = (samples.len() as u64, samples_weight(&samples));
        let has_room = self.state.take(Kind::Samples, weight);
        let message = Message::Samples { recording, gap, samples };
        if has_room && self.channel.try_send(message).is_ok() {
            return true;
        }
        if has_room {
            self.state.give_back(Kind::Samples, weight);
        }
        stats::RECORDING_SAMPLES_LOST.add(count);
        self.state.add_gap(recording, gap + count);
        false
    }

    /// Waits for room, unlike the others: the last message of all.
    pub fn stop(&self) {
        // An error says that the thread has ended already.
        let _ = self.channel.send(Message::Stop);
        self.hurry();
    }

    fn lose(&self, lost: Lost) {
        match lost {
            Lost::Line => stats::LOG_LINES_LOST.add(1),
            Lost::Row => stats::ROWS_LOST.add(1),
            Lost::Query => stats::HISTORY_REFUSED.add(1),
            // Closed when the table of open logs needs the place.
            Lost::LogEnd => {}
            Lost::Beginning(recording) => {
                let mut overflow = self.state.overflow();
                overflow.refused.push(recording);
            }
            Lost::End(recording) => {
                let mut overflow = self.state.overflow();
                overflow.ended.push(recording);
            }
        }
    }

    fn hurry(&self) {
        self.state.is_urgent.store(true, Ordering::Release);
        if let Some(thread) = self.state.thread.get() {
            thread.unpark();
        }
    }
}

/// The disk thread's end.
#[derive(Debug)]
pub struct Queue {
    channel: Receiver<Message>,
    state: Arc<State>,
}

/// Why [`Queue::wait`] came back.
#[derive(Debug)]
pub enum Wake {
    /// The first of a batch; the rest is behind it in the queue.
    Batch(Message),
    /// Nothing came in time.
    Idle,
    /// Nobody can send any more.
    Closed,
}

impl Queue {
    /// Waits up to `idle` for a message, then for a batch to gather behind it.
    pub fn wait(&mut self, idle: Duration) -> Wake {
        self.state.thread.get_or_init(std::thread::current);
        let first = match self.channel.recv_timeout(idle) {
            Ok(first) => self.released(first),
            Err(RecvTimeoutError::Timeout) => return Wake::Idle,
            Err(RecvTimeoutError::Disconnected) => return Wake::Closed,
        };
        let due = Instant::now() + BATCH;
        // Parked rather than receiving: a sender then wakes nobody.
        while !self.state.is_urgent.swap(false, Ordering::Acquire) {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
        Wake::Batch(first)
    }

    /// What is there already, without waiting.
    pub fn next(&mut self) -> Option<Message> {
        let message = self.channel.try_recv().ok()?;
        Some(self.released(message))
    }

    /// What had no room in the queue and must be known all the same.
    pub fn take_overflow(&mut self) -> (Vec<u64>, Vec<u64>) {
        let mut overflow = self.state.overflow();
        (std::mem::take(&mut overflow.refused), std::mem::take(&mut overflow.ended))
    }

    /// Samples of a recording that were refused after the last that came.
    pub fn take_gap(&mut self, recording: u64) -> u64 {
        self.state.take_gap(recording)
    }

    fn released(&self, message: Message) -> Message {
        match &message {
            Message::Operation(operation) => {
                self.state.give_back(Kind::of(operation), weight(operation));
            }
            Message::Samples { samples, .. } => {
                self.state.give_back(Kind::Samples, samples_weight(samples));
            }
            Message::Stop => {}
        }
        message
    }
}

/// Whose share an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lines,
    Samples,
    Rows,
    Queries,
    /// Beginnings and ends of files: small, bounded by the sessions.
    Marks,
}

impl Kind {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Log { .. } => Self::Lines,
            Operation::AppendRecording { .. } => Self::Samples,
            Operation::BeginSession(_) | Operation::EndSession(_) | Operation::Bindings { .. } => {
                Self::Rows
            }
            Operation::History { .. } => Self::Queries,
            Operation::CloseLog { .. }
            | Operation::OpenRecording { .. }
            | Operation::FinishRecording { .. } => Self::Marks,
        }
    }

    /// Somebody waits for the answer.
    fn is_urgent(self, operation: &Operation) -> bool {
        self == Self::Queries || matches!(operation, Operation::FinishRecording { .. })
    }

    /// Most bytes of the kind in the queue; together the 4 MiB that the budget sets aside.
    fn share(self) -> usize {
        match self {
            Self::Lines => 512 << 10,
            Self::Samples => 2560 << 10,
            Self::Rows => 1 << 20,
            Self::Queries => QUERIES * QUERY_WEIGHT,
            Self::Marks => usize::MAX,
        }
    }

    /// Lines and samples leave slots to what must not be lost.
    fn slots(self) -> usize {
        match self {
            Self::Lines | Self::Samples => OPERATIONS - RESERVED,
            Self::Rows | Self::Queries | Self::Marks => OPERATIONS,
        }
    }
}

/// What is to be done about an operation without room.
enum Lost {
    Line,
    Row,
    Query,
    LogEnd,
    Beginning(u64),
    End(u64),
}

impl Lost {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Log { .. } => Self::Line,
            Operation::History { .. } => Self::Query,
            Operation::CloseLog { .. } => Self::LogEnd,
            Operation::OpenRecording { recording, .. } => Self::Beginning(*recording),
            Operation::FinishRecording { recording }
            | Operation::AppendRecording { recording, .. } => Self::End(*recording),
            Operation::BeginSession(_) | Operation::EndSession(_) | Operation::Bindings { .. } => {
                Self::Row
            }
        }
    }
}

/// What both ends know.
#[derive(Debug, Default)]
struct State {
    messages: AtomicUsize,
    line_bytes: AtomicUsize,
    sample_bytes: AtomicUsize,
    row_bytes: AtomicUsize,
    query_bytes: AtomicUsize,
    is_urgent: AtomicBool,
    /// Who is to be woken; set by the thread itself.
    thread: OnceLock<Thread>,
    has_gaps: AtomicBool,
    overflow: Mutex<Overflow>,
}

/// Invariant: at most an entry per recording.
#[derive(Debug, Default)]
struct Overflow {
    /// Recording to its samples that had no room since the last that had.
    gaps: BTreeMap<u64, u64>,
    /// Recordings whose beginning had no room.
    refused: Vec<u64>,
    /// Recordings whose end had no room.
    ended: Vec<u64>,
}

impl State {
    fn take(&self, kind: Kind, weight: usize) -> bool {
        if self.messages.fetch_add(1, Ordering::Relaxed) >= kind.slots() {
            self.messages.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let Some(bytes) = self.bytes(kind) else { return true };
        if bytes.fetch_add(weight, Ordering::Relaxed).saturating_add(weight) > kind.share() {
            self.give_back(kind, weight);
            return false;
        }
        true
    }

    fn give_back(&self, kind: Kind, weight: usize) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        if let Some(bytes) = self.bytes(kind) {
            bytes.fetch_sub(weight, Ordering::Relaxed);
        }
    }

    fn bytes(&self, kind: Kind) -> Option<&AtomicUsize> {
        match kind {
            Kind::Lines => Some(&self.line_bytes),
            Kind::Samples => Some(&self.sample_bytes),
            Kind::Rows => Some(&self.row_bytes),
            Kind::Queries => Some(&self.query_bytes),
            Kind::Marks => None,
        }
    }

    fn is_half_full(&self) -> bool {
        let is_half = |kind: Kind| {
            self.bytes(kind).is_some_and(|bytes| bytes.load(Ordering::Relaxed) > kind.share() / 2)
        };
        self.messages.load(Ordering::Relaxed) > OPERATIONS / 2
            || is_half(Kind::Lines)
            || is_half(Kind::Samples)
            || is_half(Kind::Rows)
    }

    fn take_gap(&self, recording: u64) -> u64 {
        if !self.has_gaps.load(Ordering::Relaxed) {
            return 0;
        }
        let mut overflow = self.overflow();
        let gap = overflow.gaps.remove(&recording).unwrap_or(0);
        self.has_gaps.store(!overflow.gaps.is_empty(), Ordering::Relaxed);
        gap
    }

    fn add_gap(&self, recording: u64, samples: u64) {
        let mut overflow = self.overflow();
        overflow.gaps.insert(recording, samples);
        self.has_gaps.store(true, Ordering::Relaxed);
    }

    fn overflow(&self) -> MutexGuard<'_, Overflow> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About what an operation takes in memory.
fn weight(operation: &Operation) -> usize {
    size_of::<Operation>()
        + match operation {
            Operation::BeginSession(session) | Operation::EndSession(session) => {
                session.memory_bytes()
            }
            Operation::Bindings { bindings, .. } => {
                bindings.iter().map(|binding| binding.memory_bytes()).sum()
            }
            Operation::Log { file, line } => file.len() + line.len(),
            Operation::History { .. } => return QUERY_WEIGHT,
            Operation::CloseLog { .. }
            | Operation::OpenRecording { .. }
            | Operation::FinishRecording { .. }
            | Operation::AppendRecording { .. } => 0,
        }
}

fn samples_weight(samples: &[i16]) -> usize {
    size_of::<Message>() + size_of_val(samples)
}

/// How long a batch gathers: flash wears by writes, and nobody sees history sooner than this.
const BATCH: Duration = Duration::from_millis(200);

/// Operations that wait at one time.
pub const OPERATIONS: usize = 4096;
/// Of these, what log lines and samples leave free.
const RESERVED: usize = 1024;

/// History queries that wait at one time; an id list of 1000 and filters take 16 KiB at most.
const QUERIES: usize = 16;
const QUERY_WEIGHT: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(length: usize) -> Operation {
        Operation::Log { file: "1.log".into(), line: "x".repeat(length) }
    }

    fn row() -> Operation {
        Operation::EndSession(Box::default())
    }

    #[test]
    fn full_of_lines_it_still_takes_rows_and_samples() {
        let (sender, mut queue) = queue();
        let sent = (0..5000).take_while(|_| sender.send(line(1000))).count();
        // 512 KiB of lines of 1000 bytes and their place in the queue.
        assert!((400..525).contains(&sent), "{sent}");
        assert!(sender.send(row()));
        assert!(sender.record(1, vec![0; 8000]));
        assert!(sender.send(Operation::FinishRecording { recording: 1 }));
        assert!(matches!(queue.wait(Duration::ZERO), Wake::Batch(Message::Operation(_))));
        assert!(sender.send(line(1000)));
    }

    #[test]
    fn short_lines_leave_slots_for_what_must_not_be_lost() {
        let (sender, _queue) = queue();
        let samples = (0..5000).take_while(|_| sender.record(1, vec![0; 1])).count();
        assert_eq!(samples, 3072);
        let marks = Operation::CloseLog { file: "1.log".into() };
        assert_eq!((0..5000).take_while(|_| sender.send(marks.clone())).count(), 1024);
    }

    #[test]
    fn rows_have_a_share_too() {
        let (sender, _queue) = queue();
        let sent = (0..9000).take_while(|_| sender.send(row())).count();
        assert!((1000..4097).contains(&sent), "{sent}");
    }

    #[test]
    fn queries_are_few() {
        let (sender, _queue) = queue();
        let query = || Operation::History { query: 1, filter: Default::default() };
        assert_eq!((0..50).take_while(|_| sender.send(query())).count(), QUERIES);
    }

    #[test]
    fn refused_samples_become_a_gap_before_the_next() {
        let (sender, mut queue) = queue();
        let sent = (0..1000).take_while(|_| sender.record(7, vec![0; 8000])).count();
        assert!(!sender.record(7, vec![0; 8000]));
        for _ in 0..sent {
            assert!(matches!(queue.next(), Some(Message::Samples { gap: 0, .. })));
        }
        assert!(sender.record(8, vec![0; 1]));
        assert!(sender.record(7, vec![0; 1]));
        assert!(matches!(queue.next(), Some(Message::Samples { recording: 8, gap: 0, .. })));
        // Two refusals of 8000.
        assert!(matches!(queue.next(), Some(Message::Samples { recording: 7, gap: 16_000, .. })));
    }

    #[test]
    fn beginnings_and_ends_of_recordings_are_known_without_a_slot() {
        let (sender, mut queue) = queue();
        while sender.send(Operation::CloseLog { file: String::new() }) {}
        let (file, channels, rate) = ("a.wav".into(), 1, 8000);
        let open = Operation::OpenRecording { recording: 3, file, channels, rate };
        assert!(!sender.send(open));
        assert!(!sender.send(Operation::FinishRecording { recording: 4 }));
        assert_eq!(queue.take_overflow(), (vec![3], vec![4]));
        assert_eq!(queue.take_overflow(), (vec![], vec![]));
    }

    #[test]
    fn an_urgent_operation_ends_the_wait_for_a_batch() {
        let (sender, mut queue) = queue();
        assert!(sender.send(row()));
        assert!(sender.send(Operation::History { query: 1, filter: Default::default() }));
        let begin = Instant::now();
        assert!(matches!(queue.wait(BATCH), Wake::Batch(_)));
        assert!(begin.elapsed() < BATCH);
        assert!(queue.next().is_some() && queue.next().is_none());
    }

    #[test]
    fn a_queue_that_is_gone_refuses() {
        let (sender, queue) = queue();
        drop(queue);
        assert!(!sender.send(row()));
        assert!(!sender.record(1, vec![1]));
        sender.stop();
    }
}
