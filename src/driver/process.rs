//! Child processes: run to their end, or read while they talk, on a thread that may wait, within
//! limits.
//!
//! No shell is involved. The child reads its input from memory, not from a pipe, so that neither
//! side can wait for the other; it is a process group of its own, which ends as a whole; it runs
//! behind the calls (`nice`), and can write no more than its file limit.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub program: &'a Path,
    pub arguments: &'a [String],
    /// Standard input.
    pub input: &'a str,
    /// Its group is killed after this.
    pub time: Duration,
    /// The largest file it may write.
    pub file_bytes: u64,
}

/// Why a child did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// The program could not be started.
    NotStarted(io::Error),
    Late(Duration),
    /// It ended with an error; `said` is the beginning of its standard error.
    Ended {
        status: ExitStatus,
        said: String,
    },
    Waiting(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => write!(f, "cannot be started: {error}"),
            Self::Late(time) => write!(f, "took longer than {} s", time.as_secs_f32()),
            Self::Ended { status, said } if said.is_empty() => write!(f, "ended with {status}"),
            Self::Ended { status, said } => write!(f, "ended with {status}: {said}"),
            Self::Waiting(error) => write!(f, "cannot be waited for: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

/// What a child said that did its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The beginning of its standard output.
    pub output: String,
    /// The beginning of its standard error.
    pub errors: String,
}

/// Runs a child to its end. Waits.
pub fn run(job: Job<'_>) -> Result<Said, Failure> {
    let mut output = memory_file().map_err(Failure::NotStarted)?;
    let stdout = output.try_clone().map_err(Failure::NotStarted)?;
    let (mut child, pid) = start(job, stdout.into()).map_err(Failure::NotStarted)?;
    let mut errors = Errors::new(child.stderr.take());
    let status = wait(&mut child, pid, &mut errors, job.time);
    if !matches!(status, Ok(Some(_))) {
        end(&mut child, pid);
    }
    finished(status, &errors, job.time)?;
    Ok(Said { output: beginning(&mut output), errors: errors.text() })
}

/// A child whose output is read while it goes on; ended when dropped.
pub struct Talk {
    child: Child,
    pid: Pid,
    output: Option<ChildStdout>,
    errors: Errors,
    time: Duration,
    /// Of its next words.
    pause: Duration,
    began: Instant,
    is_over: bool,
}

impl Talk {
    /// `pause`: how long it may be silent, at first too.
    pub fn start(job: Job<'_>, pause: Duration) -> Result<Self, Failure> {
        let (mut child, pid) = start(job, Stdio::piped()).map_err(Failure::NotStarted)?;
        let errors = Errors::new(child.stderr.take());
        let output = child.stdout.take();
        let began = Instant::now();
        Ok(Self { child, pid, output, errors, time: job.time, pause, began, is_over: false })
    }

    /// Waits for its end. What it said of its troubles.
    pub fn finish(mut self) -> Result<String, Failure> {
        // It has nobody to talk to any more.
        self.output = None;
        let left = self.time.saturating_sub(self.began.elapsed()).min(self.pause);
        let status = wait(&mut self.child, self.pid, &mut self.errors, left);
        self.is_over = matches!(status, Ok(Some(_)));
        finished(status, &self.errors, self.time)?;
        Ok(self.errors.text())
    }
}

impl Read for Talk {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let silent_since = Instant::now();
        loop {
            let left = self
                .time
                .saturating_sub(self.began.elapsed())
                .min(self.pause.saturating_sub(silent_since.elapsed()));
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let Some(output) = &mut self.output else { return Ok(0) };
            let mut waits = Vec::with_capacity(2);
            waits.push(PollFd::new(output, PollFlags::IN));
            waits.extend(self.errors.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            let says = poll(&mut waits, left)?;
            let is_ready = |place: usize| {
                says && waits.get(place).is_some_and(|wait| !wait.revents().is_empty())
            };
            let (talks, complains) = (is_ready(0), is_ready(1));
            drop(waits);
            if complains {
                self.errors.read();
            }
            if talks {
                return output.read(out);
            }
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if !self.is_over {
            end(&mut self.child, self.pid);
        }
    }
}

fn start(job: Job<'_>, output: Stdio) -> io::Result<(Child, Pid)> {
    let mut input = memory_file()?;
    input.write_all(job.input.as_bytes())?;
    input.rewind()?;
    let mut command = Command::new(job.program);
    command.args(job.arguments).process_group(0);
    command.stdin(input).stdout(output).stderr(Stdio::piped());
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    restrict(pid, job.file_bytes);
    Ok((child, pid))
}

fn finished(
    status: io::Result<Option<ExitStatus>>,
    errors: &Errors,
    time: Duration,
) -> Result<(), Failure> {
    match status {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(Failure::Ended { status, said: errors.text() }),
        Ok(None) => Err(Failure::Late(time)),
        Err(error) => Err(Failure::Waiting(error)),
    }
}

/// `None`: it did not end in time.
fn wait(
    child: &mut Child,
    pid: Pid,
    errors: &mut Errors,
    time: Duration,
) -> io::Result<Option<ExitStatus>> {
    // Linux before 5.3 has none: then the child is looked at every now and then.
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
    let look = if pidfd.is_some() { time } else { BETWEEN_LOOKS };
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait()? {
            errors.read();
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        if sleep(pidfd.as_ref(), errors, left.min(look))? {
            errors.read();
        }
    }
}

/// Until the child ends, says something, or time has passed; true when it said something.
fn sleep(pidfd: Option<&OwnedFd>, errors: &Errors, time: Duration) -> io::Result<bool> {
    let mut waits: Vec<PollFd<'_>> = Vec::with_capacity(2);
    waits.extend(errors.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    let says = waits.len();
    waits.extend(pidfd.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
    let is_told = poll(&mut waits, time)?;
    Ok(is_told && waits.iter().take(says).any(|wait| !wait.revents().is_empty()))
}

/// False when it was interrupted or time has passed.
fn poll(waits: &mut [PollFd<'_>], time: Duration) -> io::Result<bool> {
    let time = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ };
    match rustix::event::poll(waits, Some(&time)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn end(child: &mut Child, pid: Pid) {
    // It may have ended just now, and its group with it.
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    if let Err(error) = child.wait() {
        log::warn!("child process {pid:?}: {error}");
    }
}

/// Limits of a child that has just started. Those that the system refuses are done without: the
/// time limit holds all the same.
fn restrict(pid: Pid, file_bytes: u64) {
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let _ = rustix::process::prlimit(Some(pid), Resource::Fsize, limit(file_bytes));
    let _ = rustix::process::prlimit(Some(pid), Resource::Core, limit(0));
    let _ = rustix::process::setpriority_process(Some(pid), NICE);
}

fn memory_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("branchline", MemfdFlags::CLOEXEC)?.into())
}

fn beginning(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.take(OUTPUT_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// What the child says of its troubles; read all the time, so that it never waits for us.
struct Errors {
    /// `None`: it has closed its end.
    pipe: Option<ChildStderr>,
    kept: Vec<u8>,
}

impl Errors {
    fn new(pipe: Option<ChildStderr>) -> Self {
        // Children of the child may hold it open: reading must not wait for them.
        let pipe = pipe.filter(|pipe| rustix::io::ioctl_fionbio(pipe.as_fd(), true).is_ok());
        Self { pipe, kept: Vec::new() }
    }

    fn read(&mut self) {
        let mut buffer = [0; 1024];
        // Bounded, should it say things without end: the next look goes on.
        for _ in 0..READS {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let room = ERROR_BYTES.saturating_sub(self.kept.len());
                    self.kept.extend(buffer.iter().take(count.min(room)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// One line.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

const NICE: i32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
const ERROR_BYTES: usize = 300;
const READS: usize = 64;
const OUTPUT_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::test_folder::TestFolder;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn shell(script: &str, input: &str, time: Duration) -> Result<Said, Failure> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        let program = Path::new("/bin/sh");
        run(Job { program, arguments: &arguments, input, time, file_bytes: 4096 })
    }

    #[test]
    fn input_output_and_errors_are_carried() {
        let said = shell("cat; echo trouble  here >&2", "many\nwords", MINUTE).unwrap();
        let expected = Said { output: "many\nwords".into(), errors: "trouble here".into() };
        assert_eq!(said, expected);
    }

    #[test]
    fn a_program_that_is_missing_is_told_apart() {
        let program = Path::new("/nonexistent/engine");
        let job = Job { program, arguments: &[], input: "", time: MINUTE, file_bytes: 0 };
        assert!(matches!(run(job), Err(Failure::NotStarted(_))));
    }

    #[test]
    fn an_error_carries_what_the_child_said() {
        let error = shell("echo no such voice >&2; exit 3", "", MINUTE).unwrap_err();
        assert_eq!(error.to_string(), "ended with exit status: 3: no such voice");
    }

    #[test]
    fn a_child_that_takes_too_long_ends_with_its_own_children() {
        use rustix::fs::{CWD, FileType, Mode, OFlags};
        let folder = TestFolder::new();
        let fifo = folder.path("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let reader = rustix::fs::open(&fifo, flags, Mode::empty()).unwrap();
        let script = format!("sleep 60 > {} & wait", fifo.display());
        let begin = Instant::now();
        let error = shell(&script, "", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, Failure::Late(_)), "{error}");
        // Ends when the last who writes has ended.
        rustix::io::ioctl_fionbio(&reader, false).unwrap();
        File::from(reader).read_to_end(&mut Vec::new()).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_child_that_says_much_neither_hangs_nor_fills_memory() {
        let script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789 >&2; i=$((i+1)); done";
        let said = shell(script, "", MINUTE).unwrap();
        // 27 lines of 11 bytes and three of the next.
        assert_eq!(said.errors.len(), 300);
    }

    #[test]
    fn a_child_cannot_fill_the_disk() {
        let folder = TestFolder::new();
        let out = folder.path("out");
        // The limit comes just after the start.
        let wait = "while [ $(ulimit -f) = unlimited ]; do :; done";
        let script = format!("{wait}; head -c 100000 /dev/zero > {}", out.display());
        assert!(shell(&script, "", MINUTE).is_err());
        assert_eq!(std::fs::metadata(out).unwrap().len(), 4096);
    }
}
