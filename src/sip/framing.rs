//! Messages out of a stream (RFC 3261 §18.3) and its keep-alives (RFC 5626 §4.4.1).
//!
//! Finds where each message ends and leaves what is in it to [`Message::parse`]. A time limit for
//! a peer that sends half a message is left to the owner of the stream.
//!
//! [`Message::parse`]: super::message::Message::parse

use std::fmt;

use super::header::Name;
use super::lexical;
use super::parse::Lines;

/// Cuts the bytes of one stream. Take [`Framer::next`] until `None` after every push.
#[derive(Debug)]
pub struct Framer {
    /// What came and is not given out yet, from `start`. Invariant: between two pushes at most
    /// `limit` bytes, since a longer unfinished message is an error.
    buffer: Vec<u8>,
    start: usize,
    /// Where the search for the end of the header goes on, from `start`.
    searched: usize,
    /// Bytes of one message, header and body.
    limit: usize,
    /// The last thing was one line end: another one makes it a ping.
    is_half_ping: bool,
    /// After an error nothing that follows has a meaning.
    is_dead: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One whole message.
    Message(Vec<u8>),
    /// Double CRLF: answer with a single one.
    Ping,
    /// A single CRLF: the answer to our ping, or nothing.
    Pong,
}

/// Why the stream can't be cut any more: close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// A message without Content-Length has no end (RFC 3261 §20.14).
    ContentLengthMissing,
    /// Not a number, or two different ones.
    ContentLengthMalformed,
    /// Header and body, or the unfinished header, exceed the limit in bytes.
    TooLong(usize),
    /// What a WebSocket says may not be.
    WebSocket(&'static str),
    /// The peer closes a WebSocket: no fault of anybody.
    Closed,
}

impl Framer {
    /// For messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            limit,
            is_half_ping: false,
            is_dead: false,
        }
    }

    /// Takes bytes as they came; after an error they are dropped.
    pub fn push(&mut self, data: &[u8]) {
        if self.is_dead {
            return;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(data);
    }

    /// The next message or keep-alive, `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "more may come after `None`")]
    pub fn next(&mut self) -> Option<Result<Frame, FramingError>> {
        if self.is_dead {
            return None;
        }
        if let Some(keep_alive) = self.keep_alive() {
            return Some(Ok(keep_alive));
        }
        match self.message() {
            Ok(None) => None,
            Ok(Some(message)) => Some(Ok(Frame::Message(message))),
            Err(error) => {
                self.is_dead = true;
                self.buffer = Vec::new();
                self.start = 0;
                Some(Err(error))
            }
        }
    }

    /// Whether a message has begun and is not whole.
    pub fn has_part(&self) -> bool {
        self.start < self.buffer.len()
    }

    fn keep_alive(&mut self) -> Option<Frame> {
        // Lone line feeds before the start line are ignored like line ends (RFC 3261 §7.5).
        while self.buffer.get(self.start) == Some(&b'\n') {
            self.skip(1);
        }
        let rest = &self.buffer[self.start..];
        if rest.starts_with(b"\r\n\r\n") {
            self.skip(4);
            self.is_half_ping = false;
            return Some(Frame::Ping);
        }
        // The second half of a ping may come in the next segment.
        let is_undecided = rest == b"\r\n\r" || rest == b"\r";
        if rest.starts_with(b"\r\n") && !is_undecided {
            self.skip(2);
            let was_half_ping = std::mem::replace(&mut self.is_half_ping, true);
            if was_half_ping {
                self.is_half_ping = false;
                return Some(Frame::Ping);
            }
            return Some(Frame::Pong);
        }
        if !rest.is_empty() && !is_undecided {
            self.is_half_ping = false;
        }
        None
    }

    fn message(&mut self) -> Result<Option<Vec<u8>>, FramingError> {
        let rest = &self.buffer[self.start..];
        let Some(head) = header_end(rest, self.searched) else {
            // An empty line is found again from its first line end.
            self.searched = rest.len().saturating_sub(3);
            return match rest.len() > self.limit {
                true => Err(FramingError::TooLong(self.limit)),
                false => Ok(None),
            };
        };
        self.searched = head.saturating_sub(3);
        let length = content_length(&rest[..head])?;
        let end = head.saturating_add(length);
        if end > self.limit {
            return Err(FramingError::TooLong(self.limit));
        }
        let Some(message) = rest.get(..end).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        self.skip(end);
        Ok(Some(message))
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.searched = 0;
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContentLengthMissing => write!(f, "Content-Length missing on a stream"),
            Self::ContentLengthMalformed => write!(f, "Content-Length is not one number"),
            Self::TooLong(limit) => write!(f, "message exceeds {limit} bytes"),
            Self::WebSocket(reason) => write!(f, "WebSocket: {reason}"),
            Self::Closed => write!(f, "WebSocket closed by the peer"),
        }
    }
}

impl std::error::Error for FramingError {}

/// Where the body begins: behind the first empty line. Looks from `from` on.
fn header_end(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += data.get(at..)?.iter().position(|&byte| byte == b'\n')? + 1;
        match &data[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut lines = Lines { data: head, at: 0 };
    let mut found = None;
    while let Some((_, line)) = lines.next() {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = String::from_utf8_lossy(&line[..colon]);
        if Name::from(lexical::trim(&name)) != Name::ContentLength {
            continue;
        }
        let mut value = String::from_utf8_lossy(&line[colon + 1..]).into_owned();
        while let Some(folded) = lines.next_folded() {
            value.push_str(&String::from_utf8_lossy(folded));
        }
        let length = lexical::saturating_number(lexical::trim(&value))
            .ok_or(FramingError::ContentLengthMalformed)?;
        if found.is_some_and(|found| found != length) {
            return Err(FramingError::ContentLengthMalformed);
        }
        found = Some(length);
    }
    found.map(|length| length as usize).ok_or(FramingError::ContentLengthMissing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nl: 2\r\n\r\nhi";
    const TWO: &[u8] = b"BYE sip:a SIP/2.0\r\nContent-Length :\r\n 0\r\n\r\n";

    fn frames(framer: &mut Framer, data: &[u8]) -> Vec<Result<Frame, FramingError>> {
        framer.push(data);
        std::iter::from_fn(|| framer.next()).collect()
    }

    #[test]
    fn any_cut_gives_the_same_messages() {
        let whole = [ONE, b"\r\n\r\n", TWO, b"\r\n", ONE].concat();
        let expected = [
            Frame::Message(ONE.to_vec()),
            Frame::Ping,
            Frame::Message(TWO.to_vec()),
            Frame::Pong,
            Frame::Message(ONE.to_vec()),
        ];
        for cut in 1..whole.len() {
            let mut framer = Framer::new(100);
            let seen: Vec<_> = [&whole[..cut], &whole[cut..]]
                .into_iter()
                .flat_map(|part| frames(&mut framer, part))
                .map(Result::unwrap)
                // A ping cut in its middle is a pong and a ping.
                .collect();
            let at = ONE.len() + 2;
            if cut == at {
                assert_eq!(seen[1..3], [Frame::Pong, Frame::Ping]);
            } else {
                assert_eq!(seen, expected, "cut at {cut}");
            }
            assert_eq!(framer.start, framer.buffer.len());
        }
    }

    #[test]
    fn bare_line_feeds_end_a_header() {
        let message = b"BYE sip:a SIP/2.0\nl: 1\n\nx";
        let mut framer = Framer::new(100);
        assert_eq!(frames(&mut framer, message), [Ok(Frame::Message(message.to_vec()))]);
    }

    #[test]
    fn a_message_without_length_kills_the_stream() {
        let mut framer = Framer::new(100);
        let seen = frames(&mut framer, b"BYE sip:a SIP/2.0\r\nX: 1\r\n\r\n");
        assert_eq!(seen, [Err(FramingError::ContentLengthMissing)]);
        assert_eq!(frames(&mut framer, ONE), []);
    }

    #[test]
    fn lengths_that_hold_no_number_kill_the_stream() {
        for length in ["-1", "1\r\nl: 2", "x", ""] {
            let text = format!("BYE sip:a SIP/2.0\r\nl: {length}\r\n\r\n");
            let seen = frames(&mut Framer::new(100), text.as_bytes());
            assert_eq!(seen, [Err(FramingError::ContentLengthMalformed)], "{length}");
        }
    }

    #[test]
    fn what_exceeds_the_limit_kills_the_stream() {
        let seen = frames(&mut Framer::new(100), &[b'x'; 101]);
        assert_eq!(seen, [Err(FramingError::TooLong(100))]);
        for length in ["90", "99999999999999999999999999"] {
            let text = format!("BYE sip:a SIP/2.0\r\nl: {length}\r\n\r\n");
            let seen = frames(&mut Framer::new(100), text.as_bytes());
            assert_eq!(seen, [Err(FramingError::TooLong(100))]);
        }
    }

    #[test]
    fn many_messages_in_one_push_may_exceed_the_limit_together() {
        let mut framer = Framer::new(100);
        assert_eq!(frames(&mut framer, &ONE.repeat(50)).len(), 50);
    }
}
