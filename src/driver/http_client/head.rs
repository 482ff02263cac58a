//! An answer's head as it came: hyper keeps no spelling of names and no raw text, and scripts see
//! both.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use smol::io::{AsyncRead, AsyncWrite};

/// Collects the head of the final answer from the bytes that pass.
#[derive(Debug, Clone, Default)]
pub struct Head {
    state: Rc<RefCell<State>>,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    is_complete: bool,
}

impl Head {
    fn read(&self, mut bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        while !state.is_complete && !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            let (line, rest) = bytes.split_at(end);
            bytes = rest;
            state.text.extend_from_slice(line);
            let is_over = state.text.ends_with(b"\n\r\n") || state.text.ends_with(b"\n\n");
            match is_over {
                // RFC 9110 §15.2: interim answers come before the final one.
                true if is_interim(&state.text) => state.text.clear(),
                true => state.is_complete = true,
                // hyper gives up at the same length.
                false => state.is_complete = state.text.len() > HEAD_BYTES,
            }
        }
    }

    /// Status line and fields without the empty line, and the fields as names and values.
    pub fn take(&self) -> (String, Vec<(String, String)>) {
        let text = std::mem::take(&mut self.state.borrow_mut().text);
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        let fields = text.lines().skip(1).filter_map(field).collect();
        (text, fields)
    }
}

fn is_interim(head: &[u8]) -> bool {
    let mut words = head.split(|byte| *byte == b' ');
    words.nth(1).is_some_and(|status| status.len() == 3 && status.starts_with(b"1"))
}

/// A stream whose first bytes go to a [`Head`] as well.
pub struct Observed<S> {
    pub stream: S,
    pub head: Head,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.head.read(buffer.get(..count).unwrap_or_default());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Longest head of an answer.
pub const HEAD_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_of_the_final_answer_keeps_its_spelling() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-aB:  c:d \r\nno\r\n\r\nbody\r\n\r\n";
        for size in 1..bytes.len() {
            let head = Head::default();
            bytes.chunks(size).for_each(|chunk| head.read(chunk));
            let (text, fields) = head.take();
            assert_eq!(text, "HTTP/1.1 200 OK\r\nX-aB:  c:d \r\nno");
            assert_eq!(fields, [("X-aB".to_owned(), "c:d".to_owned())]);
        }
    }

    #[test]
    fn endless_head_is_not_collected() {
        let head = Head::default();
        for _ in 0..100 {
            head.read(&[b'a'; 4096]);
        }
        assert!(head.take().0.len() <= HEAD_BYTES + 4096);
    }
}
