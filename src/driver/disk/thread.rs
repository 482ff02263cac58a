//! The loop of the disk thread: gather, apply in order, write, then a little housekeeping.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use smol::channel::TrySendError;

use super::database::Database;
use super::logs::Logs;
use super::queue::{Message, Queue, Wake};
use super::recordings::Recordings;
use super::sweep::Sweep;
use super::{DiskOptions, LOGS, RECORDINGS, UNFINISHED};
use crate::driver::environment::unix_ms;
use crate::driver::trim;
use crate::stats;
use crate::storage::record::UnixMs;
use crate::storage::retention::Keep;
use crate::storage::store::{Answer, Operation};

/// What the thread owns.
pub struct DiskThread {
    queue: Queue,
    answers: Answers,
    database: Database,
    /// Of the database, in order, not written yet.
    rows: Vec<Operation>,
    recordings: Recordings,
    logs: Logs,
    recordings_sweep: Sweep,
    logs_sweep: Sweep,
    logs_age_ms: UnixMs,
    history: Expiry,
    burst: Burst,
    is_stopping: bool,
}

impl DiskThread {
    pub fn new(
        options: DiskOptions,
        database: Database,
        queue: Queue,
        answers: smol::channel::Sender<Answer>,
    ) -> Self {
        let DiskOptions { data_dir, storage } = options;
        let now = Instant::now();
        let folder = |name: &str| data_dir.join(name);
        let recordings = Keep { bytes: storage.recordings_bytes, age: storage.recordings_age };
        let logs = Keep { bytes: storage.logs_bytes, age: storage.logs_age };
        Self {
            queue,
            answers: Answers { channel: answers, waiting: VecDeque::new() },
            database,
            rows: Vec::new(),
            recordings: Recordings::new(folder(RECORDINGS), folder(UNFINISHED), FREE_BYTES),
            logs: Logs::new(folder(LOGS)),
            recordings_sweep: Sweep::new(now + QUIET_START, folder(RECORDINGS), recordings),
            logs_sweep: Sweep::new(now + QUIET_START, folder(LOGS), logs),
            logs_age_ms: UnixMs::try_from(logs.age.as_millis()).unwrap_or(UnixMs::MAX),
            history: Expiry { age: storage.history_age, due: now + QUIET_START },
            burst: Burst::new(now),
            is_stopping: false,
        }
    }

    pub fn run(mut self) {
        if let Err(error) = self.recordings.repair() {
            log::error!("unfinished recordings: {error}");
        }
        let mut has_chores = false;
        while !self.is_stopping {
            let idle = if has_chores { BETWEEN_CHORES } else { IDLE };
            let wake = self.queue.wait(idle);
            // A fault of ours costs a batch, not all recordings and the history after it.
            has_chores = catch_unwind(AssertUnwindSafe(|| {
                self.turn(wake);
                self.chore()
            }))
            .unwrap_or(false);
        }
        self.recordings.finish_all();
    }

    fn turn(&mut self, wake: Wake) {
        let mut next = match wake {
            Wake::Batch(first) => Some(first),
            Wake::Idle => None,
            Wake::Closed => {
                self.is_stopping = true;
                None
            }
        };
        while let Some(message) = next {
            match message {
                Message::Operation(operation) => self.apply(*operation),
                Message::Samples { recording, gap, samples } => {
                    self.append(recording, gap, &samples);
                }
                Message::Stop => self.is_stopping = true,
            }
            next = self.queue.next();
        }
        self.apply_overflow();
        self.flush();
        self.answers.flush();
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::EndSession(_) => {
                self.burst.end_session(Instant::now());
                self.add_row(operation);
            }
            Operation::BeginSession(_) | Operation::Bindings { .. } => self.add_row(operation),
            Operation::History { query, filter } => {
                self.flush_rows();
                let unix_ms = unix_ms();
                let mut result = self.database.history(&filter, unix_ms);
                if let Ok(page) = &mut result {
                    page.forget_logs_before(unix_ms.saturating_sub(self.logs_age_ms));
                }
                self.answers.push(Answer::History { query, result });
            }
            Operation::Log { file, line } => self.logs.line(file, &line),
            Operation::CloseLog { file } => self.logs.close(&file),
            Operation::OpenRecording { recording, file, channels, rate } => {
                if let Err(error) = self.recordings.begin(recording, file, channels, rate) {
                    self.answers.push(Answer::RecordingFailed { recording, error });
                }
            }
            Operation::AppendRecording { recording, samples } => {
                self.append(recording, 0, &samples);
            }
            Operation::FinishRecording { recording } => self.finish(recording),
        }
    }

    fn add_row(&mut self, operation: Operation) {
        // A short session is written once, and so is a phone that registers twice.
        self.rows.retain(|row| !is_superseded(row, &operation));
        self.rows.push(operation);
        if self.rows.len() >= ROWS_PER_TRANSACTION {
            self.flush_rows();
        }
    }

    fn append(&mut self, recording: u64, gap: u64, samples: &[i16]) {
        if let Err(error) = self.recordings.append(recording, gap, samples) {
            self.answers.push(Answer::RecordingFailed { recording, error });
        }
    }

    fn finish(&mut self, recording: u64) {
        let gap = self.queue.take_gap(recording);
        if gap > 0 {
            self.append(recording, gap, &[]);
        }
        match self.recordings.finish(recording) {
            None => {}
            Some(Ok(file_bytes)) => {
                self.recordings_sweep.grew(file_bytes);
                self.answers.push(Answer::RecordingFinished { recording, file_bytes });
            }
            Some(Err(error)) => self.answers.push(Answer::RecordingFailed { recording, error }),
        }
    }

    fn apply_overflow(&mut self) {
        let (refused, ended) = self.queue.take_overflow();
        for recording in refused {
            stats::RECORDINGS_FAILED.add(1);
            let error = "the disk does not keep up".into();
            self.answers.push(Answer::RecordingFailed { recording, error });
        }
        for recording in ended {
            self.finish(recording);
        }
    }

    fn flush(&mut self) {
        self.flush_rows();
        let written = self.logs.flush();
        self.logs_sweep.grew(written);
    }

    fn flush_rows(&mut self) {
        if !self.rows.is_empty() || self.database.is_waiting() {
            self.database.write(&mut self.rows, unix_ms());
        }
    }

    /// One small step of what can wait; true when there is more at once.
    fn chore(&mut self) -> bool {
        let (now, unix_ms) = (Instant::now(), unix_ms());
        if self.burst.settle(now) {
            trim::trim();
        }
        self.recordings_sweep.step(now, unix_ms)
            || self.logs_sweep.step(now, unix_ms)
            || self.history.step(now, unix_ms, &mut self.database)
    }
}

/// The later one says all that the earlier one did.
fn is_superseded(earlier: &Operation, later: &Operation) -> bool {
    match (earlier, later) {
        (Operation::BeginSession(earlier), Operation::EndSession(later)) => earlier.id == later.id,
        (Operation::Bindings { user, .. }, Operation::Bindings { user: later, .. }) => {
            user == later
        }
        _ => false,
    }
}

/// The answers' way back.
struct Answers {
    channel: smol::channel::Sender<Answer>,
    /// For when the channel is full. Full: the oldest are lost, counted as
    /// `disk_answers_lost_total`; a session does not wait for ever.
    waiting: VecDeque<Answer>,
}

impl Answers {
    fn push(&mut self, answer: Answer) {
        if self.waiting.len() >= ANSWERS {
            self.waiting.pop_front();
            stats::DISK_ANSWERS_LOST.add(1);
        }
        self.waiting.push_back(answer);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(answer) = self.waiting.pop_front() {
            match self.channel.try_send(answer) {
                Ok(()) => {}
                Err(TrySendError::Full(answer)) => {
                    self.waiting.push_front(answer);
                    return;
                }
                // Nobody is left to hear it.
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }
}

/// Sessions by age.
struct Expiry {
    age: Duration,
    due: Instant,
}

impl Expiry {
    fn step(&mut self, now: Instant, unix_ms: UnixMs, database: &mut Database) -> bool {
        if now < self.due {
            return false;
        }
        let age = UnixMs::try_from(self.age.as_millis()).unwrap_or(UnixMs::MAX);
        let has_more = database.expire(unix_ms.saturating_sub(age));
        if !has_more {
            self.due = now + BETWEEN_EXPIRIES;
        }
        has_more
    }
}

/// Tells when to give back the memory that many sessions left behind: when they are over, and
/// now and then while they follow each other without end.
#[derive(Debug)]
struct Burst {
    /// Ended since memory was last given back in quiet.
    sessions: usize,
    last_end: Instant,
    last_trim: Instant,
}

impl Burst {
    fn new(now: Instant) -> Self {
        Self { sessions: 0, last_end: now, last_trim: now }
    }

    fn end_session(&mut self, now: Instant) {
        self.sessions += 1;
        self.last_end = now;
    }

    /// True: give memory back now.
    fn settle(&mut self, now: Instant) -> bool {
        let is_quiet = now.saturating_duration_since(self.last_end) >= QUIET;
        let is_due = now.saturating_duration_since(self.last_trim) >= BETWEEN_TRIMS;
        if self.sessions < BURST_SESSIONS || !(is_quiet || is_due) {
            return false;
        }
        if is_quiet {
            self.sessions = 0;
        }
        self.last_trim = now;
        true
    }
}

/// Without work. Rows that wait for a full disk are tried again so often.
const IDLE: Duration = Duration::from_secs(5);
/// Between two steps of housekeeping: others get most of the time.
const BETWEEN_CHORES: Duration = Duration::from_millis(10);
/// Starting has other things to do.
const QUIET_START: Duration = Duration::from_secs(20);
const BETWEEN_EXPIRIES: Duration = Duration::from_secs(10 * 60);
const ROWS_PER_TRANSACTION: usize = 256;
const ANSWERS: usize = 1024;
/// Stays free on the disk, for the database and whatever else lives there.
const FREE_BYTES: u64 = 4 << 20;
/// A trim walks the whole heap: not for a handful of sessions, and not all the time.
const BURST_SESSIONS: usize = 50;
const QUIET: Duration = Duration::from_secs(3);
const BETWEEN_TRIMS: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::record::SessionRecord;

    #[test]
    fn only_what_is_said_again_is_superseded() {
        let bindings = |user: &str| Operation::Bindings { user: user.into(), bindings: Vec::new() };
        let session = |id| Box::new(SessionRecord { id, ..SessionRecord::default() });
        let begin = |id| Operation::BeginSession(session(id));
        let end = |id| Operation::EndSession(session(id));
        assert!(is_superseded(&begin(1), &end(1)));
        assert!(is_superseded(&bindings("alice"), &bindings("alice")));
        assert!(!is_superseded(&begin(1), &end(2)));
        assert!(!is_superseded(&end(1), &end(1)));
        assert!(!is_superseded(&bindings("alice"), &bindings("bob")));
        assert!(!is_superseded(&bindings("alice"), &end(1)));
    }

    #[test]
    fn memory_is_given_back_after_a_burst_and_during_a_long_one() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut burst = Burst::new(start);
        for _ in 0..49 {
            burst.end_session(at(0));
        }
        assert!(!burst.settle(at(100)));
        burst.end_session(at(101));
        assert!(burst.settle(at(102)));
        assert!(!burst.settle(at(103)));
        // The end of the long burst counts, however few came after the last time.
        burst.end_session(at(110));
        assert!(!burst.settle(at(111)));
        assert!(burst.settle(at(113)));
        assert!(!burst.settle(at(200)));
    }
}
