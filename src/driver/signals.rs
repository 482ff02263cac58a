//! TERM, INT and HUP as a stream; a broken pipe is an error of its write, not of the process.

use std::io;

use async_signal::Signals as Pipe;
use smol::channel::Sender;
use smol::stream::StreamExt;

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT: stop in order; a second one: at once.
    Stop,
    /// HUP: read the configuration again.
    Reload,
}

/// The signals of this process from here on.
pub struct Signals(Pipe);

impl Signals {
    pub fn listen() -> io::Result<Self> {
        use async_signal::Signal::{Hup, Int, Term};
        Pipe::new([Term, Int, Hup]).map(Self)
    }

    /// Passes each one on; a task of its own, since asking the pipe is a system call.
    pub async fn tell(mut self, signals: Sender<Signal>) {
        // The pipe never ends while it is ours; the reactor holds a receiver as long as it runs.
        while let Some(signal) = self.0.next().await {
            let signal = match signal {
                Ok(async_signal::Signal::Hup) => Signal::Reload,
                Ok(_) => Signal::Stop,
                Err(_) => continue,
            };
            let _ = signals.send(signal).await;
        }
    }
}
