//! One connection as SIP sees it: its framing, what waits for it, and how long it may be silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::framing::{Frame, Framer, FramingError};
use super::user_agent::Transport;
use super::websocket::{self, WebSocket};

#[derive(Debug)]
pub struct Stream {
    pub transport: Transport,
    pub peer: SocketAddr,
    /// Whose certificate a secure one of ours was opened for; empty: an accepted one.
    pub name: String,
    pub local: Option<SocketAddr>,
    /// Bytes that wait until the connection stands; `None` once it does. At most
    /// [`MAX_WAITING`]; what does not fit fails.
    pub waiting: Option<Vec<u8>>,
    since: Instant,
    /// When a message or part of one last came or went.
    pub active: Instant,
    /// Nothing came since our keep-alive.
    is_pinged: bool,
    /// A whole message has come, or the connection is ours.
    pub is_heard: bool,
    framing: Framing,
    /// When the message began that is not whole yet.
    begun: Option<Instant>,
}

#[derive(Debug)]
enum Framing {
    /// By Content-Length.
    Length(Framer),
    WebSocket(Box<WebSocket>),
}

/// Why a stream is not to be left alone any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// Silent for its time: the caller keeps it alive or closes it.
    Idle,
    /// It connected and sent no message.
    Silent,
    /// It began a message and did not end it.
    Slow,
    /// It did not answer a ping that every peer must answer.
    Deaf,
}

impl Stream {
    /// A connection of ours, which is yet to stand.
    pub fn opening(
        now: Instant,
        transport: Transport,
        peer: SocketAddr,
        name: &str,
        max_message: usize,
    ) -> Self {
        Self {
            transport,
            peer,
            name: name.to_owned(),
            local: None,
            waiting: Some(Vec::new()),
            since: now,
            active: now,
            is_pinged: false,
            is_heard: true,
            framing: Framing::Length(Framer::new(max_message)),
            begun: None,
        }
    }

    /// A peer's connection.
    pub fn accepted(
        now: Instant,
        transport: Transport,
        peer: SocketAddr,
        local: SocketAddr,
        max_message: usize,
        origins: &Arc<[String]>,
    ) -> Self {
        let framing = match transport.is_websocket() {
            false => Framing::Length(Framer::new(max_message)),
            true => Framing::WebSocket(Box::new(WebSocket::new(max_message, origins.clone()))),
        };
        Self {
            local: Some(local),
            waiting: None,
            is_heard: false,
            framing,
            ..Self::opening(now, transport, peer, "", max_message)
        }
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, now: Instant, data: &[u8]) {
        self.active = now;
        self.is_pinged = false;
        match &mut self.framing {
            Framing::Length(framer) => framer.push(data),
            Framing::WebSocket(socket) => socket.push(data),
        }
    }

    /// The next message or keep-alive; notes whether a part of one is left.
    pub fn next(&mut self, now: Instant) -> Option<Result<Frame, FramingError>> {
        let (next, has_part) = match &mut self.framing {
            Framing::Length(framer) => (framer.next(), framer.has_part()),
            Framing::WebSocket(socket) => (socket.next(), socket.has_part()),
        };
        match next {
            None if has_part => self.begun = self.begun.or(Some(now)),
            // What follows a whole one has begun no earlier than now.
            _ => self.begun = None,
        }
        self.is_heard |= matches!(next, Some(Ok(Frame::Message(_))));
        next
    }

    /// What the framing itself wants sent; empty: nothing.
    pub fn take_reply(&mut self) -> Vec<u8> {
        match &mut self.framing {
            Framing::Length(_) => Vec::new(),
            Framing::WebSocket(socket) => socket.take_reply(),
        }
    }

    /// A message of ours, or a keep-alive's answer, as it goes over the wire.
    pub fn framed(&self, data: Vec<u8>) -> Vec<u8> {
        match &self.framing {
            Framing::Length(_) => data,
            Framing::WebSocket(_) => websocket::wrapped(&data),
        }
    }

    /// Keeps the NAT's mapping and finds out whether the peer is there: a double CRLF
    /// (RFC 5626 §3.5.1), or a ping (RFC 6455 §5.5.2).
    pub fn keep_alive(&mut self) -> Vec<u8> {
        self.is_pinged = true;
        match &self.framing {
            Framing::Length(_) => b"\r\n\r\n".to_vec(),
            Framing::WebSocket(_) => websocket::pinging(),
        }
    }

    /// What the peer of a WebSocket hears before we close it; empty: nothing.
    pub fn farewell(&self) -> Vec<u8> {
        match &self.framing {
            Framing::WebSocket(socket) if socket.is_open() => {
                websocket::closing(websocket::GOING_AWAY)
            }
            Framing::Length(_) | Framing::WebSocket(_) => Vec::new(),
        }
    }

    /// Until when it may be left alone, and what it is after that.
    pub fn deadline(&self) -> (Instant, Overdue) {
        // Bytes that never make a message do not keep a connection.
        let patience = match self.begun {
            Some(begun) => (begun + WHOLE, Overdue::Slow),
            // RFC 6455 §5.5.3. Who speaks plain SIP may not know of RFC 5626.
            None if self.is_pinged && self.transport.is_websocket() => {
                (self.active + 2 * IDLE, Overdue::Deaf)
            }
            None => (self.active + IDLE, Overdue::Idle),
        };
        match self.is_heard {
            true => patience,
            false => (self.since + SILENT, Overdue::Silent),
        }
    }
}

/// Bytes that may wait for a connection: some tens of requests.
pub const MAX_WAITING: usize = 64 * 1024;
/// A stream without traffic is looked at after this time: closed, or pinged when still needed.
pub const IDLE: Duration = Duration::from_secs(120);
/// A peer that connected must send a whole message within this time: a phone registers at once.
pub const SILENT: Duration = Duration::from_secs(15);
/// From the first byte of a message to its last.
pub const WHOLE: Duration = Duration::from_secs(30);
