//! TERM, INT and HUP as a stream; a broken pipe is an error of its write, not of the process.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_signal::Signals as Pipe;
use smol::stream::Stream;

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

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        match Pin::new(&mut self.0).poll_next(cx) {
            Poll::Ready(Some(Ok(async_signal::Signal::Hup))) => Poll::Ready(Signal::Reload),
            Poll::Ready(Some(Ok(_))) => Poll::Ready(Signal::Stop),
            // The pipe never ends while it is ours.
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => Poll::Pending,
        }
    }
}
