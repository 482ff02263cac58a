//! A recording as Opus in Ogg: encoded here, on the disk thread, in pages that
//! `media::sound::ogg_writer` lays out.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::media::codec::encoder::{Encoder, EncoderSettings, MOST_BYTES};
use crate::media::engine::Codec;
use crate::media::format::OpusSettings;
use crate::media::sound::ogg_writer::{self as ogg, MOST_PAGE_BYTES, PACKET_SAMPLES, Writer};

/// What is between the samples of a recording and its file.
pub struct OpusFile {
    encoder: Encoder,
    writer: Writer,
    /// Samples that are no whole packet yet.
    rest: Vec<i16>,
    samples: u64,
    /// Pages that could not be written.
    unwritten: Vec<u8>,
}

impl OpusFile {
    /// The open end of a file that begins with the bytes beside it.
    pub fn new(serial: u32) -> (Self, Vec<u8>) {
        let opus = OpusSettings {
            max_bitrate: None,
            max_playback_rate: 48_000,
            fec: false,
            dtx: false,
            cbr: false,
        };
        let settings = EncoderSettings { ptime: Duration::from_millis(20), opus };
        let encoder = Encoder::new(Codec::Opus, &settings);
        let (writer, head) = Writer::new(serial, 48_000);
        let rest = Vec::with_capacity(PACKET);
        (Self { encoder, writer, rest, samples: 0, unwritten: Vec::new() }, head)
    }

    /// Puts the pages that become whole by a silence and the samples after it behind `out`.
    pub fn append(&mut self, gap: u64, samples: &[i16], out: &mut Vec<u8>) {
        self.samples += gap + samples.len() as u64;
        let mut gap = usize::try_from(gap).unwrap_or(usize::MAX);
        while gap > 0 {
            let piece = gap.min(PACKET - self.rest.len());
            self.rest.resize(self.rest.len() + piece, 0);
            gap -= piece;
            self.encode_whole(out);
        }
        let mut samples = samples;
        while !samples.is_empty() {
            let (piece, behind) = samples.split_at(samples.len().min(PACKET - self.rest.len()));
            self.rest.extend_from_slice(piece);
            samples = behind;
            self.encode_whole(out);
        }
    }

    /// Pages that `append` made and that are to be tried again with the last.
    pub fn take_back(&mut self, pages: &[u8]) {
        self.unwritten.extend_from_slice(pages);
    }

    /// The end of the file: packets until the last sample is out of the encoder.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        out.append(&mut self.unwritten);
        while self.writer.samples() < self.samples {
            self.rest.resize(PACKET, 0);
            self.encode_whole(out);
        }
        self.writer.finish(self.samples, out);
    }

    fn encode_whole(&mut self, out: &mut Vec<u8>) {
        if self.rest.len() < PACKET {
            return;
        }
        let mut packet = [0; MOST_BYTES];
        let length = self.encoder.encode(&self.rest, &mut packet);
        self.rest.clear();
        // A packet of nothing would be 20 ms that a decoder makes up; there is none without DTX.
        self.writer.packet(packet.get(..length).unwrap_or_default(), out);
    }
}

impl fmt::Debug for OpusFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusFile").field("samples", &self.samples).finish_non_exhaustive()
    }
}

/// Cuts a file behind its last whole page, and makes that page the last.
pub fn repair(file: &File) -> io::Result<()> {
    let mut buffer = vec![0; MOST_PAGE_BYTES];
    let (mut at, mut pages, mut last) = (0, 0_u64, 0..0);
    loop {
        let length = read_at(file, &mut buffer, at)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some(page) = ogg::page(rest) {
            (pages, last) = (pages + 1, at..at + page.bytes as u64);
            at = last.end;
            rest = rest.get(page.bytes..).unwrap_or_default();
        }
        // Nothing more fitted, or nothing more was there.
        if rest.len() == length {
            break;
        }
    }
    if pages < HEAD_PAGES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut page = vec![0; (last.end - last.start) as usize];
    file.read_exact_at(&mut page, last.start)?;
    ogg::end(&mut page);
    file.set_len(last.end)?;
    file.write_all_at(&page, last.start)?;
    file.sync_data()
}

/// Fills the buffer as far as the file goes.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut length = 0;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read_at(room, at + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Samples of a packet: 20 ms.
const PACKET: usize = PACKET_SAMPLES as usize;
/// Those that a file begins with.
const HEAD_PAGES: u64 = 2;
