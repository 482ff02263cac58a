//! The gateway of the demo: this binary as a child process, and what it says.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::files::Folder;
use super::ladder::Ladder;
use crate::driver::data_dir;

/// A gateway that runs, watched through its log.
pub struct Gateway {
    process: Child,
    lines: Receiver<String>,
    pub ladder: Ladder,
    started: Instant,
    /// The last lines of the log, for the case that something is missing.
    tail: VecDeque<String>,
}

impl Gateway {
    /// Starts it on free ports; `Err` says what it said.
    pub fn start(folder: &Folder) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", folder.path.display());
        // Another program may take the port before the gateway does: then another one.
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            folder.fill(free_port().map_err(failed)?).map_err(failed)?;
            let mut gateway = Self::spawn(folder).map_err(failed)?;
            if gateway.wait_until(START, |_| data_dir::owner(&folder.data()).is_some()) {
                return Ok(gateway);
            }
            said = gateway.tail();
        }
        Err(format!("the gateway did not start:\n{said}"))
    }

    fn spawn(folder: &Folder) -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("run")
            .arg("--config")
            .arg(folder.config())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, lines) = sync_channel(LINES);
        if let Some(stderr) = process.stderr.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self {
            process,
            lines,
            ladder: Ladder::default(),
            started: Instant::now(),
            tail: VecDeque::new(),
        })
    }

    /// Prints the ladder as it grows, until `is_done` or for so long; whether it was done.
    pub fn wait_until(&mut self, patience: Duration, is_done: impl Fn(&Ladder) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if is_done(&self.ladder) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => self.take(line),
                Err(RecvTimeoutError::Timeout) => {}
                // It has ended: nothing more will come.
                Err(RecvTimeoutError::Disconnected) => return is_done(&self.ladder),
            }
        }
    }

    /// Prints the ladder as it grows for so long.
    pub fn watch(&mut self, time: Duration) {
        self.wait_until(time, |_| false);
    }

    /// An orderly stop; how the process ended.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            self.watch(LOOK);
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
        }
        self.process.kill()?;
        self.process.wait()
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        self.tail.iter().map(|line| format!("  {line}\n")).collect()
    }

    fn take(&mut self, line: String) {
        match self.ladder.take(self.started.elapsed(), &line) {
            Some(drawn) => println!("{drawn}"),
            None => {
                if self.tail.len() >= TAIL {
                    self.tail.pop_front();
                }
                self.tail.push_back(line);
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Errors say that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

const ATTEMPTS: usize = 3;
const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(45);
const LOOK: Duration = Duration::from_millis(20);
/// Lines that wait to be read here; full: the gateway's log waits a moment.
const LINES: usize = 4096;
const TAIL: usize = 60;
