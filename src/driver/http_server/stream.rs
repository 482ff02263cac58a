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
    /// Nothing has come yet.
    New,
    /// A head has begun to come.
    Head,
    /// The head is there, the body is coming.
    Body,
    /// The gateway has the request; it keeps its own time.
    Handled,
    /// The answer is being written.
    Answer,
    /// Waiting for another request.
    Idle,
}

/// Which phase a connection is in, and since when.
#[derive(Debug)]
pub struct Watch {
    limits: Limits,
    /// Of all clients.
    connections: Rc<Cell<usize>>,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    heads: RefCell<HeadReader>,
}

impl Watch {
    pub fn new(limits: Limits, connections: Rc<Cell<usize>>) -> Self {
        Self {
            limits,
            connections,
            phase: Cell::new(Phase::New),
            since: Cell::new(Instant::now()),
            heads: RefCell::new(HeadReader::new()),
        }
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
    }

    /// The framing of the head that hyper has just parsed.
    pub fn next_head(&self) -> Option<Framing> {
        self.heads.borrow_mut().next_head()
    }

    /// Returns when a phase took too long, with that phase.
    ///
    /// Phases change with every request, so that no timer is armed for each: one timer looks now
    /// and then, and a limit is seen at most a quarter of the shortest one late.
    pub async fn expired(&self) -> Phase {
        loop {
            let now = Instant::now();
            let look = now + self.limits.shortest() / 4;
            let deadline = self.allowed().map_or(look, |allowed| self.since.get() + allowed);
            if deadline <= now {
                return self.phase.get();
            }
            Timer::at(deadline.min(look)).await;
        }
    }

    /// How long the present phase may take; `None`: as long as it takes.
    fn allowed(&self) -> Option<Duration> {
        match self.phase.get() {
            // Who connects is about to ask.
            Phase::New | Phase::Head => Some(self.limits.head),
            Phase::Body => Some(self.limits.body),
            Phase::Handled => None,
            Phase::Answer => Some(self.limits.write),
            // Who only waits makes room before anybody is refused.
            Phase::Idle if self.connections.get() * 4 >= self.limits.connections * 3 => {
                Some(self.limits.idle / CROWDED)
            }
            Phase::Idle => Some(self.limits.idle),
        }
    }

    fn on_read(&self, bytes: &[u8]) {
        let mut heads = self.heads.borrow_mut();
        heads.read(bytes);
        if matches!(self.phase.get(), Phase::New | Phase::Idle) && heads.is_inside_head() {
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
        if written.is_ready() && matches!(self.watch.phase.get(), Phase::Answer | Phase::Idle) {
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

/// The part of the idle time that is left where three quarters of all connections are in use.
const CROWDED: u32 = 12;
