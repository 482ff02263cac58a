//! What hyper does not tell of a request's head.
//!
//! hyper drops `Content-Length` where `Transfer-Encoding` stands beside it and goes on; RFC 9112
//! §6.1 lets a server refuse such a message, and one behind a proxy that reads it otherwise must.
//! So the bytes are looked at as they pass to hyper: where each head ends, and which of the two
//! fields it has. Nothing is parsed here that hyper does not parse as well; where this reader
//! loses its way it says so and the request is refused.

use std::collections::VecDeque;

/// What a head holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Framing {
    pub has_content_length: bool,
    pub has_transfer_encoding: bool,
    /// Its `Content-Length` was not understood here.
    pub is_odd: bool,
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub struct HeadReader {
    state: State,
    framing: Framing,
    /// The line so far, as much of it as matters.
    line: heapless::Vec<u8, LINE>,
    line_length: usize,
    is_request_line: bool,
    content_length: u64,
    /// Heads that hyper has not come to yet: no more than fit its buffer.
    ended: VecDeque<Framing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a request.
    Between,
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    /// After a chunked body's head: the connection ends with that request.
    Opaque,
}

impl HeadReader {
    pub fn new() -> Self {
        Self {
            state: State::Between,
            framing: Framing::default(),
            line: heapless::Vec::new(),
            line_length: 0,
            is_request_line: true,
            content_length: 0,
            ended: VecDeque::new(),
        }
    }

    /// Bytes that hyper gets.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.state {
                State::Opaque => return,
                State::Body(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[taken..];
                    self.state = match left - taken as u64 {
                        0 => State::Between,
                        left => State::Body(left),
                    };
                }
                // RFC 9112 §2.2: empty lines before a request are ignored.
                State::Between if matches!(bytes[0], b'\r' | b'\n') => bytes = &bytes[1..],
                State::Between => {
                    self.state = State::Head;
                    self.framing = Framing::default();
                    self.content_length = 0;
                    self.is_request_line = true;
                }
                State::Head => {
                    let line_feed = bytes.iter().position(|byte| *byte == b'\n');
                    let end = line_feed.unwrap_or(bytes.len());
                    self.add_to_line(&bytes[..end]);
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                    if line_feed.is_some() {
                        self.end_line();
                    }
                }
            }
        }
    }

    /// Some of a head has come, but not all of it.
    pub fn is_inside_head(&self) -> bool {
        self.state == State::Head
    }

    /// The head that hyper has just parsed.
    pub fn next_head(&mut self) -> Option<Framing> {
        self.ended.pop_front()
    }

    fn add_to_line(&mut self, bytes: &[u8]) {
        self.line_length = self.line_length.saturating_add(bytes.len());
        let room = LINE - self.line.len();
        let kept = &bytes[..bytes.len().min(room)];
        self.line.extend_from_slice(kept).expect("no more than there is room for");
    }

    fn end_line(&mut self) {
        let is_whole = self.line_length == self.line.len();
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if line.is_empty() {
            self.ended.push_back(self.framing);
            self.state = match (self.framing.has_transfer_encoding, self.content_length) {
                (true, _) => State::Opaque,
                (false, 0) => State::Between,
                (false, length) => State::Body(length),
            };
            self.state = if self.framing.is_odd { State::Opaque } else { self.state };
        } else if !self.is_request_line
            && let Some(colon) = line.iter().position(|byte| *byte == b':')
        {
            let (name, value) = line.split_at(colon);
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                self.framing.has_transfer_encoding = true;
            } else if name.eq_ignore_ascii_case(b"content-length") {
                self.framing.has_content_length = true;
                let value = std::str::from_utf8(&value[1..]).unwrap_or_default();
                match value.trim_matches([' ', '\t']).parse() {
                    Ok(length) if is_whole => self.content_length = length,
                    _ => self.framing.is_odd = true,
                }
            }
        }
        self.is_request_line = false;
        self.line.clear();
        self.line_length = 0;
    }
}

/// `Transfer-Encoding` and `Content-Length` with twenty digits fit with room for white space.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(bytes: &[u8]) -> Vec<Framing> {
        let mut reader = HeadReader::new();
        reader.read(bytes);
        std::iter::from_fn(|| reader.next_head()).collect()
    }

    fn framing(has_content_length: bool, has_transfer_encoding: bool) -> Framing {
        Framing { has_content_length, has_transfer_encoding, is_odd: false }
    }

    const PIPELINED: &[u8] = b"\r\nPOST /content-length: HTTP/1.1\r\nHost: a\r\n\
        content-Length:  17\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\nHost: b\n\n\
        POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
        0\r\n\r\nGET / HTTP/1.1\r\n\r\n";

    #[test]
    fn heads_are_found_between_bodies() {
        let expected = [
            framing(true, false),
            framing(false, false),
            framing(false, false),
            framing(true, true),
        ];
        // The first body is 17 bytes: `GET / HTTP/1.1\r\n\r`; its line feed is an empty line.
        let found = heads(PIPELINED);
        assert_eq!(found, [expected[0], expected[2], expected[3]]);
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_come() {
        let whole = heads(PIPELINED);
        for size in 1..20 {
            let mut reader = HeadReader::new();
            PIPELINED.chunks(size).for_each(|chunk| reader.read(chunk));
            let found: Vec<_> = std::iter::from_fn(|| reader.next_head()).collect();
            assert_eq!(found, whole);
        }
    }

    #[test]
    fn length_that_is_not_understood_is_odd() {
        for value in ["1,1", "+1", "-1", "0x1", "", "99999999999999999999", &" ".repeat(80)] {
            let head = format!("POST / HTTP/1.1\r\nContent-Length: {value}\r\n\r\n");
            // Rust takes a plus sign that RFC 9110 §8.6 does not allow; hyper refuses it.
            let is_odd = value != "+1";
            assert_eq!(heads(head.as_bytes())[0].is_odd, is_odd, "{value}");
        }
    }

    #[test]
    fn garbage_is_followed_without_a_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        let pieces: [&[u8]; 10] = [
            b"\r\n",
            b"\n",
            b"\r",
            b"Content-Length",
            b"Transfer-Encoding",
            b":",
            b"18446744073709551615",
            b"7",
            b" ",
            &[b'x'; 100],
        ];
        for _ in 0..20_000 {
            let mut reader = HeadReader::new();
            for _ in 0..random.usize(0..12) {
                reader.read(pieces[random.usize(0..pieces.len())]);
            }
        }
    }

    #[test]
    fn name_must_be_the_whole_name() {
        let head = b"GET / HTTP/1.1\r\nX-Content-Length: 5\r\nContent-Lengths: 5\r\n\r\n";
        assert_eq!(heads(head), [framing(false, false)]);
    }
}
