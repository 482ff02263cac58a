//! Answers as hyper sends them: bytes in pieces, or a file from disk.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use smol::future::BoxedLocal;

use super::super::http_pool::Share;

/// The body of an answer.
pub struct Outgoing {
    source: Source,
    /// What the request's body held of the pool, until the answer is out.
    _share: Option<Share>,
}

enum Source {
    Bytes(Bytes),
    File(FileSource),
}

/// A file with a part that is being read on the blocking pool.
pub struct FileSource {
    left: u64,
    reading: Option<BoxedLocal<io::Result<Piece>>>,
    file: Option<File>,
    /// Counts downloads.
    _slot: Rc<()>,
}

impl Outgoing {
    pub fn bytes(bytes: Vec<u8>, share: Option<Share>) -> Self {
        Self { source: Source::Bytes(bytes.into()), _share: share }
    }

    /// Sends `length` bytes: a log that grows meanwhile ends there.
    pub fn file(file: File, length: u64, slot: Rc<()>) -> Self {
        let source = FileSource { left: length, reading: None, file: Some(file), _slot: slot };
        Self { source: Source::File(source), _share: None }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    /// In pieces: hyper copies what it gets into its own buffer.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.get_mut().source {
            Source::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Bytes(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Source::File(file) => file.poll_piece(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_empty(),
            Source::File(file) => file.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.source {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File(file) => file.left,
        })
    }
}

impl FileSource {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        if let Some(file) = self.file.take() {
            self.reading = Some(Box::pin(smol::unblock(move || read_piece(file, wanted))));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read = match reading.as_mut().poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(read) => read,
        };
        self.reading = None;
        Poll::Ready(Some(read.map(|(file, piece)| {
            self.file = Some(file);
            self.left -= piece.len() as u64;
            Frame::data(Bytes::from(piece))
        })))
    }
}

/// The next bytes of a file, and the file.
type Piece = (File, Vec<u8>);

fn read_piece(mut file: File, wanted: usize) -> io::Result<Piece> {
    let mut piece = vec![0; wanted];
    file.read_exact(&mut piece)?;
    Ok((file, piece))
}

/// What hyper's buffer takes at one time.
const PIECE_BYTES: usize = 8 << 10;
