//! A client's stream under watch: deadlines for each phase of a request, and heads as they pass.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use smol::Timer;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

use super::Limits;
use super::head::{Framing, HeadReader};

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for a request.
    Idle,
    /// A head has begun to come.
    Head,
    /// The head is there, the body is coming.
    Body,
    /// The gateway has the request; it keeps its own time.
    Handled,
    /// The answer is being written.
    Answer,
}

/// Which phase a connection is in, and until when it may be.
#[derive(Debug)]
pub struct Watch {
    limits: Limits,
    phase: Cell<Phase>,
    deadline: Cell<Option<Instant>>,
    heads: RefCell<HeadReader>,
}

impl Watch {
    pub fn new(limits: Limits) -> Self {
        let watch = Self {
            limits,
            phase: Cell::new(Phase::Idle),
            deadline: Cell::new(None),
            heads: RefCell::new(HeadReader::new()),
        };
        // Who connects is about to ask: no longer than a head may take.
        watch.enter(Phase::Head);
        watch.phase.set(Phase::Idle);
        watch
    }

    pub fn enter(&self, phase: Phase) {
        let allowed = match phase {
            Phase::Idle => Some(self.limits.idle),
            Phase::Head => Some(self.limits.head),
            Phase::Body => Some(self.limits.body),
            Phase::Handled => None,
            Phase::Answer => Some(self.limits.write),
        };
        self.phase.set(phase);
        self.deadline.set(allowed.map(|allowed| Instant::now() + allowed));
    }

    /// The framing of the head that hyper has just parsed.
    pub fn next_head(&self) -> Option<Framing> {
        self.heads.borrow_mut().next_head()
    }

    /// Returns when a deadline has passed, with the phase that took too long.
    ///
    /// Deadlines move with every request, so that no timer is armed for each: one timer looks now
    /// and then, and a deadline is seen at most a quarter of the shortest limit late.
    pub async fn expired(&self) -> Phase {
        loop {
            let now = Instant::now();
            let look = now + self.limits.shortest() / 4;
            let next = match self.deadline.get() {
                Some(deadline) if deadline <= now => return self.phase.get(),
                Some(deadline) => deadline.min(look),
                None => look,
            };
            Timer::at(next).await;
        }
    }

    fn on_read(&self, bytes: &[u8]) {
        let mut heads = self.heads.borrow_mut();
        heads.read(bytes);
        if self.phase.get() == Phase::Idle && heads.is_inside_head() {
            self.enter(Phase::Head);
        }
    }

    fn on_flushed(&self) {
        if self.phase.get() == Phase::Answer {
            let is_inside_head = self.heads.borrow().is_inside_head();
            self.enter(if is_inside_head { Phase::Head } else { Phase::Idle });
        }
    }
}

/// The stream that hyper reads and writes.
#[derive(Debug)]
pub struct Watched {
    pub stream: TcpStream,
    pub watch: Rc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.watch.on_read(buffer.get(..count).unwrap_or_default());
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        // An interim answer (100 Continue) is part of the body's time.
        if written.is_ready() && matches!(self.watch.phase.get(), Phase::Idle | Phase::Answer) {
            self.watch.enter(Phase::Answer);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.watch.on_flushed();
        }
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl Limits {
    fn shortest(&self) -> Duration {
        self.head.min(self.body).min(self.idle).min(self.write)
    }
}
