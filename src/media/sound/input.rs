//! The bytes of a file as they come, with a look ahead.

use std::io::{self, Read};

/// A file that is read from its beginning to its end.
pub struct Input<'a> {
    file: Box<dyn Read + 'a>,
    /// How long the file is, where that is known.
    bytes: Option<u64>,
    /// What was read and not taken yet: `buffer[at..]`.
    buffer: Vec<u8>,
    at: usize,
    taken: u64,
    is_over: bool,
}

impl<'a> Input<'a> {
    pub fn new(file: Box<dyn Read + 'a>, bytes: Option<u64>) -> Self {
        Self { file, bytes, buffer: Vec::new(), at: 0, taken: 0, is_over: false }
    }

    /// The next bytes, so many at most; fewer only at the end.
    pub fn peek(&mut self, most: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.at < most && !self.is_over {
            self.buffer.drain(..self.at);
            self.at = 0;
            while self.buffer.len() < most {
                let there = self.buffer.len();
                self.buffer.resize(most.max(there + STEP), 0);
                let room = self.buffer.get_mut(there..).unwrap_or_default();
                let read = match self.file.read(room) {
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                        self.buffer.truncate(there);
                        continue;
                    }
                    Err(error) => {
                        self.buffer.truncate(there);
                        return Err(error);
                    }
                };
                self.buffer.truncate(there + read);
                if read == 0 {
                    self.is_over = true;
                    break;
                }
            }
        }
        let there = self.buffer.get(self.at..).unwrap_or_default();
        Ok(there.get(..most).unwrap_or(there))
    }

    /// What [`Self::peek`] showed is done with.
    pub fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.buffer.len() - self.at);
        self.at += bytes;
        self.taken += bytes as u64;
    }

    /// Passes over bytes that may not even be there.
    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let there = self.peek(left.min(STEP as u64) as usize)?.len();
            if there == 0 {
                break;
            }
            self.advance(there);
            left -= there as u64;
        }
        Ok(())
    }

    /// The next bytes, or `None` where the file ends before.
    pub fn array<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let bytes = self.peek(N)?.first_chunk().copied();
        if bytes.is_some() {
            self.advance(N);
        }
        Ok(bytes)
    }

    /// How many bytes are left, where that is known.
    pub fn left(&self) -> Option<u64> {
        self.bytes.map(|bytes| bytes.saturating_sub(self.taken))
    }
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = self.peek(out.len().min(STEP))?;
        let length = there.len().min(out.len());
        for (out, byte) in out.iter_mut().zip(there) {
            *out = *byte;
        }
        self.advance(length);
        Ok(length)
    }
}

/// What is read at a time, where that much is there.
const STEP: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// One byte at a time, as a slow network has them, with an interruption.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match self.0.split_first() {
                Some((b'!', rest)) => {
                    self.0 = rest;
                    Err(io::ErrorKind::Interrupted.into())
                }
                Some((b'?', _)) => Err(io::ErrorKind::TimedOut.into()),
                Some((byte, rest)) => {
                    self.0 = rest;
                    out[0] = *byte;
                    Ok(1)
                }
                None => Ok(0),
            }
        }
    }

    #[test]
    fn bytes_are_seen_before_they_are_taken_however_they_come() {
        let mut input = Input::new(Box::new(Dribble(b"ab!cdef")), Some(6));
        assert_eq!(input.peek(4).unwrap(), b"abcd");
        assert_eq!(input.peek(2).unwrap(), b"ab");
        input.advance(3);
        assert_eq!(input.peek(4).unwrap(), b"def");
        assert_eq!(input.left(), Some(3));
        assert_eq!(input.array::<2>().unwrap(), Some(*b"de"));
        assert_eq!(input.array::<2>().unwrap(), None);
        Input::skip(&mut input, 1_000_000).unwrap();
        assert_eq!(input.peek(1).unwrap(), b"");
    }

    #[test]
    fn trouble_is_told_and_what_came_before_it_is_kept() {
        let mut input = Input::new(Box::new(Dribble(b"ab?")), None);
        assert_eq!(input.peek(3).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(input.peek(2).unwrap(), b"ab");
    }
}
