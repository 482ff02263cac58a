//! What the peer sends: checked first, then decrypted into a buffer (RFC 3711 §3.3 and §3.4).
//!
//! Each SSRC has its own roll-over counter and its own memory of what was there. A packet changes
//! them only after its tag was found right.

use super::cipher::{Kind, Session};
use super::window::Window;
use super::{CONTROL_HEADER_BYTES, ENCRYPTED, INDEX_BYTES, LONG_TAG_BYTES, Master, Mki, Suite};
use crate::media::rtp;

/// The receiving side of a context.
pub struct Receiver {
    rtp: Session,
    rtcp: Session,
    tag_bytes: usize,
    mki: Option<Mki>,
    /// Sources that authenticated, the last heard first. Full: the one longest silent is
    /// forgotten.
    sources: heapless::Vec<Source, MOST_SOURCES>,
}

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// Too short, or no RTP at all.
    Malformed,
    /// Not of who has the key.
    Unauthenticated,
    /// It was there before, or is too old to know.
    Replayed,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: u32,
    rtp: Option<Window>,
    rtcp: Option<Window>,
}

impl Receiver {
    pub fn new(suite: Suite, master: &Master, mki: Option<Mki>) -> Self {
        Self {
            rtp: Session::new(suite, master, Kind::Rtp),
            rtcp: Session::new(suite, master, Kind::Rtcp),
            tag_bytes: suite.tag_bytes(),
            mki,
            sources: heapless::Vec::new(),
        }
    }

    /// Other lengths of what stands behind a packet, under the same key.
    pub fn set_suite(&mut self, suite: Suite, mki: Option<Mki>) {
        self.tag_bytes = suite.tag_bytes();
        self.mki = mki;
    }

    /// The RTP packet in an SRTP packet, into `clear`.
    pub fn unprotect(&mut self, data: &[u8], clear: &mut Vec<u8>) -> Result<(), Rejected> {
        let start = rtp::payload_start(data).ok_or(Rejected::Malformed)?;
        let (packet, tag) = self.split(data, self.tag_bytes)?;
        if packet.len() < start {
            return Err(Rejected::Malformed);
        }
        let (ssrc, sequence) = (word(packet, 8)?, (word(packet, 0)? & 0xffff) as u16);
        let place = self.sources.iter().position(|source| source.ssrc == ssrc);
        let window = place.and_then(|place| self.sources[place].rtp);
        let is_authentic = |index: u64| {
            let roll_overs = (index >> 16) as u32;
            self.rtp.is_authentic(packet, roll_overs.to_be_bytes(), tag)
        };
        let index = match &window {
            Some(window) => {
                let index = window.index_of(sequence).filter(|index| window.is_new(*index));
                let index = index.ok_or(Rejected::Replayed)?;
                is_authentic(index).then_some(index)
            }
            // §3.3.1: a source begins with roll-over counter 0. One that began just before its
            // first wrap, with its first packets lost, is at 1.
            None => {
                let first = u64::from(sequence);
                let wrapped = (sequence < NEW_AFTER_WRAP).then_some(first | 1 << 16);
                [Some(first), wrapped].into_iter().flatten().find(|index| is_authentic(*index))
            }
        };
        let index = index.ok_or(Rejected::Unauthenticated)?;
        clear.clear();
        clear.extend_from_slice(packet);
        self.rtp.apply(ssrc, index, &mut clear[start..]);
        note(&mut self.heard(ssrc, place).rtp, index);
        Ok(())
    }

    /// The compound RTCP packet in an SRTCP packet, into `clear`.
    pub fn unprotect_control(&mut self, data: &[u8], clear: &mut Vec<u8>) -> Result<(), Rejected> {
        let (packet, tag) = self.split(data, LONG_TAG_BYTES)?;
        let (packet, flagged) =
            packet.split_last_chunk::<INDEX_BYTES>().ok_or(Rejected::Malformed)?;
        if packet.len() < CONTROL_HEADER_BYTES {
            return Err(Rejected::Malformed);
        }
        let ssrc = word(packet, 4)?;
        let index = u64::from(u32::from_be_bytes(*flagged) & !ENCRYPTED);
        let place = self.sources.iter().position(|source| source.ssrc == ssrc);
        let window = place.and_then(|place| self.sources[place].rtcp);
        if window.is_some_and(|window| !window.is_new(index)) {
            return Err(Rejected::Replayed);
        }
        if !self.rtcp.is_authentic(packet, *flagged, tag) {
            return Err(Rejected::Unauthenticated);
        }
        clear.clear();
        clear.extend_from_slice(packet);
        // §3.4: E says whether it is encrypted at all.
        if u32::from_be_bytes(*flagged) & ENCRYPTED != 0 {
            self.rtcp.apply(ssrc, index, &mut clear[CONTROL_HEADER_BYTES..]);
        }
        note(&mut self.heard(ssrc, place).rtcp, index);
        Ok(())
    }

    /// What is authenticated, and the tag behind it and behind the master key identifier.
    fn split<'a>(
        &self,
        data: &'a [u8],
        tag_bytes: usize,
    ) -> Result<(&'a [u8], &'a [u8]), Rejected> {
        let end = data.len().checked_sub(tag_bytes).ok_or(Rejected::Malformed)?;
        let (packet, tag) = data.split_at(end);
        let Some(mki) = self.mki else { return Ok((packet, tag)) };
        let end = packet.len().checked_sub(mki.bytes.into()).ok_or(Rejected::Malformed)?;
        let (packet, name) = packet.split_at(end);
        match mki.is_named(name) {
            true => Ok((packet, tag)),
            // A key that we do not have.
            false => Err(Rejected::Unauthenticated),
        }
    }

    /// The entry of an authenticated source, moved to the front.
    fn heard(&mut self, ssrc: u32, place: Option<usize>) -> &mut Source {
        match place {
            Some(place) => self.sources[..=place].rotate_right(1),
            None => {
                if self.sources.is_full() {
                    self.sources.pop();
                }
                let source = Source { ssrc, rtp: None, rtcp: None };
                self.sources.push(source).expect("a place is free: the last was taken out");
                self.sources.rotate_right(1);
            }
        }
        &mut self.sources[0]
    }
}

impl Mki {
    fn is_named(self, name: &[u8]) -> bool {
        let value = self.value.to_be_bytes();
        match name.len().checked_sub(value.len()) {
            Some(zeros) => name[..zeros].iter().all(|&byte| byte == 0) && name[zeros..] == value,
            None => name == &value[value.len() - name.len()..],
        }
    }
}

fn note(window: &mut Option<Window>, index: u64) {
    match window {
        Some(window) => window.note(index),
        None => *window = Some(Window::new(index)),
    }
}

fn word(data: &[u8], at: usize) -> Result<u32, Rejected> {
    let bytes = data.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(Rejected::Malformed)
}

/// Peers change their SSRC at a hold, a transfer or a restart; the old ones are kept so that
/// nobody plays them again.
const MOST_SOURCES: usize = 8;
/// A stream that is first heard so soon after a wrap may have begun before it: 82 s of 20 ms
/// packets.
const NEW_AFTER_WRAP: u16 = 4096;
