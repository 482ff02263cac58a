//! The server's end of a WebSocket (RFC 6455) that carries SIP (RFC 7118): one SIP message in
//! each message, text or binary.
//!
//! The upgrade from HTTP, masking, fragments, ping, pong and close **are** supported; extensions
//! (compression) are **not** taken. We are never the client's end. A time limit for a peer that
//! sends half a request or message is left to the owner of the stream.

mod frame;
mod upgrade;

use std::sync::Arc;

use self::frame::{Header, Opcode};
use super::framing::{Frame, FramingError};

pub use self::frame::{closing, pinging, wrapped};

/// One connection from its first byte on. Take [`WebSocket::next`] until `None` after every push,
/// then send [`WebSocket::take_reply`].
#[derive(Debug)]
pub struct WebSocket {
    state: State,
    /// What came and is not looked at yet, from `start`. Invariant: between two pushes at most
    /// one unfinished frame, which with `message` is no longer than `limit`, or an unfinished
    /// request of at most [`upgrade::MAX_HEAD`] bytes.
    buffer: Vec<u8>,
    start: usize,
    /// The fragments so far of a message that is not whole.
    message: Option<(Opcode, Vec<u8>)>,
    /// Bytes of one message.
    limit: usize,
    origins: Arc<[String]>,
    /// To be sent before anything else.
    reply: Vec<u8>,
    /// Of the last ping; those before it need no answer (RFC 6455 §5.5.3).
    pong: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request for the upgrade is not whole yet.
    Upgrading,
    Open,
    /// Nothing that follows has a meaning.
    Over,
}

impl WebSocket {
    /// For messages of at most `limit` bytes, and web pages of these origins; of all, where none
    /// is listed.
    pub fn new(limit: usize, origins: Arc<[String]>) -> Self {
        Self {
            state: State::Upgrading,
            buffer: Vec::new(),
            start: 0,
            message: None,
            limit,
            origins,
            reply: Vec::new(),
            pong: None,
        }
    }

    /// Takes bytes as they came; after an error they are dropped.
    pub fn push(&mut self, data: &[u8]) {
        if self.state != State::Over {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.extend_from_slice(data);
        }
    }

    /// The next whole message or keep-alive, `None` when more bytes are needed. After an error
    /// the stream is to be closed once the reply is out.
    #[expect(clippy::should_implement_trait, reason = "more may come after `None`")]
    pub fn next(&mut self) -> Option<Result<Frame, FramingError>> {
        let found = match self.state {
            State::Upgrading => self.upgrade().and_then(|is_done| match is_done {
                true => self.frames(),
                false => Ok(None),
            }),
            State::Open => self.frames(),
            State::Over => return None,
        };
        if found.is_err() {
            self.state = State::Over;
            self.buffer = Vec::new();
            self.start = 0;
            self.message = None;
        }
        found.transpose()
    }

    /// What the protocol itself wants sent; empty: nothing.
    pub fn take_reply(&mut self) -> Vec<u8> {
        let mut reply = std::mem::take(&mut self.reply);
        if let Some(payload) = self.pong.take().filter(|_| self.state == State::Open) {
            reply.extend(frame::control(Opcode::Pong, &payload));
        }
        reply
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether something has begun and is not whole.
    pub fn has_part(&self) -> bool {
        self.start < self.buffer.len() || self.message.is_some()
    }

    /// True once the peer's request is answered with 101.
    fn upgrade(&mut self) -> Result<bool, FramingError> {
        let Some(length) = upgrade::head_length(&self.buffer) else {
            if self.buffer.len() > upgrade::MAX_HEAD {
                self.reply = upgrade::refusal(431);
                return Err(FramingError::TooLong(upgrade::MAX_HEAD));
            }
            return Ok(false);
        };
        match upgrade::answer(&self.buffer[..length], &self.origins) {
            Ok(accepted) => {
                self.reply = accepted;
                self.start = length;
                self.state = State::Open;
                Ok(true)
            }
            Err((status, reason)) => {
                self.reply = upgrade::refusal(status);
                Err(FramingError::WebSocket(reason))
            }
        }
    }

    /// Frames up to the next whole message.
    fn frames(&mut self) -> Result<Option<Frame>, FramingError> {
        while let Some((header, payload)) = self.next_frame()? {
            match header.opcode {
                Opcode::Ping => self.pong = Some(payload),
                // The answer to ours, or nothing.
                Opcode::Pong => {}
                Opcode::Close => {
                    // With the peer's own code, if there is one (RFC 6455 §5.5.1).
                    let code = payload.get(..2).unwrap_or_default().to_vec();
                    self.reply.extend(frame::control(Opcode::Close, &code));
                    return Err(FramingError::Closed);
                }
                Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                    if let Some(message) = self.fragment(header, payload)? {
                        return Ok(Some(message));
                    }
                }
            }
        }
        Ok(None)
    }

    fn next_frame(&mut self) -> Result<Option<(Header, Vec<u8>)>, FramingError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let (header, at) = match Header::parse(rest) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(reason) => return Err(self.fail(PROTOCOL_ERROR, FramingError::WebSocket(reason))),
        };
        let gathered = self.message.as_ref().map_or(0, |(_, message)| message.len());
        let room = self.limit.saturating_sub(gathered);
        if !header.opcode.is_control() && header.length > room as u64 {
            return Err(self.fail(TOO_BIG, FramingError::TooLong(self.limit)));
        }
        // It fits: the payload is at most the limit, or 125 bytes.
        let end = at + header.length as usize;
        let Some(payload) = rest.get(at..end) else { return Ok(None) };
        let mut payload = payload.to_vec();
        header.unmask(&mut payload);
        self.start += end;
        Ok(Some((header, payload)))
    }

    /// A part of a message, or a whole one; gives what is whole.
    fn fragment(
        &mut self,
        header: Header,
        payload: Vec<u8>,
    ) -> Result<Option<Frame>, FramingError> {
        let (opcode, message) = match (header.opcode, self.message.take()) {
            (Opcode::Continuation, Some((opcode, mut message))) => {
                message.extend(payload);
                (opcode, message)
            }
            (Opcode::Continuation, None) => {
                let error = FramingError::WebSocket("continuation of nothing");
                return Err(self.fail(PROTOCOL_ERROR, error));
            }
            (opcode, None) => (opcode, payload),
            (_, Some(_)) => {
                let error = FramingError::WebSocket("message inside another");
                return Err(self.fail(PROTOCOL_ERROR, error));
            }
        };
        if !header.is_last {
            self.message = Some((opcode, message));
            return Ok(None);
        }
        if opcode == Opcode::Text && std::str::from_utf8(&message).is_err() {
            let error = FramingError::WebSocket("text is not UTF-8");
            return Err(self.fail(NOT_TEXT, error));
        }
        Ok(Some(match &*message {
            // RFC 5626 §3.5.1, as some libraries do it over WebSocket, too.
            b"\r\n\r\n" => Frame::Ping,
            b"\r\n" | b"" => Frame::Pong,
            _ => Frame::Message(message),
        }))
    }

    fn fail(&mut self, code: u16, error: FramingError) -> FramingError {
        self.reply.extend(closing(code));
        error
    }
}

/// RFC 6455 §7.4.1.
pub const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const NOT_TEXT: u16 = 1007;
const TOO_BIG: u16 = 1009;

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: b.example\r\nUpgrade: websocket\r\n\
                           Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                           Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn open(limit: usize) -> WebSocket {
        let mut socket = WebSocket::new(limit, [].into());
        socket.push(REQUEST.as_bytes());
        assert_eq!(socket.next(), None);
        assert!(socket.take_reply().starts_with(b"HTTP/1.1 101 "));
        socket
    }

    /// A frame of a client, its first byte as given.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
        }
        frame.extend(key);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        frame
    }

    fn frames(socket: &mut WebSocket, data: &[u8]) -> Vec<Result<Frame, FramingError>> {
        socket.push(data);
        std::iter::from_fn(|| socket.next()).collect()
    }

    #[test]
    fn example_of_rfc_6455_5_7_is_read() {
        let mut socket = open(100);
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(frames(&mut socket, &hello), [Ok(Frame::Message(b"Hello".to_vec()))]);
    }

    #[test]
    fn any_cut_gives_the_same_messages() {
        let long = vec![b'x'; 300];
        let whole = [
            REQUEST.as_bytes().to_vec(),
            masked(0x81, b"one"),
            // In three fragments, with a ping between them (RFC 6455 §5.4).
            masked(0x02, b"t"),
            masked(0x89, b"are you there"),
            masked(0x00, b"w"),
            masked(0x80, b"o"),
            masked(0x81, b"\r\n\r\n"),
            masked(0x82, &long),
        ]
        .concat();
        let expected = [
            Frame::Message(b"one".to_vec()),
            Frame::Message(b"two".to_vec()),
            Frame::Ping,
            Frame::Message(long),
        ];
        for cut in 1..whole.len() {
            let mut socket = WebSocket::new(300, [].into());
            let mut reply = Vec::new();
            let mut seen = Vec::new();
            for part in [&whole[..cut], &whole[cut..]] {
                seen.extend(frames(&mut socket, part).into_iter().map(Result::unwrap));
                reply.extend(socket.take_reply());
            }
            assert_eq!(seen, expected, "cut at {cut}");
            assert!(reply.ends_with(b"\x8a\x0dare you there"), "cut at {cut}");
            assert_eq!(socket.start, socket.buffer.len());
        }
    }

    #[test]
    fn only_the_last_of_many_pings_is_answered() {
        let mut socket = open(100);
        assert_eq!(frames(&mut socket, &masked(0x89, b"?").repeat(100)), []);
        assert_eq!(socket.take_reply(), b"\x8a\x01?");
        assert_eq!(socket.take_reply(), b"");
    }

    #[test]
    fn close_is_answered_with_its_code_and_ends_the_stream() {
        let mut socket = open(100);
        let seen = frames(&mut socket, &masked(0x88, b"\x03\xe8bye"));
        assert_eq!(seen, [Err(FramingError::Closed)]);
        assert_eq!(socket.take_reply(), b"\x88\x02\x03\xe8");
        assert_eq!(frames(&mut socket, &masked(0x81, b"more")), []);
    }

    #[test]
    fn frames_that_break_the_protocol_close_it_with_1002() {
        let broken = [
            // Not masked.
            b"\x81\x05Hello".to_vec(),
            // A reserved bit, a reserved opcode.
            masked(0xc1, b"x"),
            masked(0x83, b"x"),
            // A ping in fragments, a ping that is too long.
            masked(0x09, b"x"),
            masked(0x89, &[0; 126]),
            // A continuation of nothing, a message inside another.
            masked(0x80, b"x"),
            [masked(0x01, b"x"), masked(0x01, b"x")].concat(),
            // A length that would have been shorter to write.
            b"\x81\xfe\x00\x01\0\0\0\0x".to_vec(),
        ];
        for data in broken {
            let mut socket = open(1000);
            let seen = frames(&mut socket, &data);
            assert!(matches!(seen[..], [Err(FramingError::WebSocket(_))]), "{data:x?} {seen:?}");
            assert_eq!(socket.take_reply(), b"\x88\x02\x03\xea", "{data:x?}");
        }
    }

    #[test]
    fn text_that_is_not_utf_8_closes_it_with_1007() {
        let mut socket = open(100);
        let seen = frames(&mut socket, &masked(0x81, b"\xff"));
        assert_eq!(seen, [Err(FramingError::WebSocket("text is not UTF-8"))]);
        assert_eq!(socket.take_reply(), b"\x88\x02\x03\xef");
        let seen = frames(&mut open(100), &masked(0x82, b"\xff"));
        assert_eq!(seen, [Ok(Frame::Message(vec![0xff]))]);
    }

    #[test]
    fn message_beyond_the_limit_closes_it_before_it_has_come() {
        let beyond = [
            masked(0x81, &[b'x'; 101])[..6].to_vec(),
            [masked(0x01, &[b'x'; 60]), masked(0x00, &[b'x'; 41])[..6].to_vec()].concat(),
            b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(),
        ];
        for data in beyond {
            let mut socket = open(100);
            assert_eq!(frames(&mut socket, &data), [Err(FramingError::TooLong(100))]);
            assert_eq!(socket.take_reply(), b"\x88\x02\x03\xf1");
            assert!(socket.buffer.is_empty());
        }
    }

    #[test]
    fn request_without_end_is_refused() {
        let mut socket = WebSocket::new(100, [].into());
        let seen = frames(&mut socket, &vec![b'x'; upgrade::MAX_HEAD + 1]);
        assert_eq!(seen, [Err(FramingError::TooLong(upgrade::MAX_HEAD))]);
        assert!(socket.take_reply().starts_with(b"HTTP/1.1 431 "));
    }
}
