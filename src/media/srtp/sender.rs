//! What we send: encrypted where it stands, with its tag behind it (RFC 3711 §3.3 and §3.4).

use super::cipher::{Kind, Session};
use super::window::Window;
use super::{CONTROL_HEADER_BYTES, ENCRYPTED, INDEX_BYTES, LONG_TAG_BYTES, Master, Suite};
use crate::media::rtp::HEADER_BYTES;

/// The sending side of a context, of one SSRC.
pub struct Sender {
    rtp: Session,
    rtcp: Session,
    tag_bytes: usize,
    /// Of the indices that were used.
    used: Option<Window>,
    /// Of the next SRTCP packet.
    control_index: u32,
}

impl Sender {
    pub fn new(suite: Suite, master: &Master) -> Self {
        Self {
            rtp: Session::new(suite, master, Kind::Rtp),
            rtcp: Session::new(suite, master, Kind::Rtcp),
            tag_bytes: suite.tag_bytes(),
            used: None,
            control_index: 0,
        }
    }

    /// Another length of the tag under the same key.
    pub fn set_suite(&mut self, suite: Suite) {
        self.tag_bytes = suite.tag_bytes();
    }

    /// Takes the packet index of this sequence number. `None`: it was used already, or may have
    /// been, and a second packet under it would give both away (RFC 3711 §9.1).
    pub fn take_index(&mut self, sequence: u16) -> Option<u64> {
        let Some(used) = &mut self.used else {
            let index = u64::from(sequence);
            self.used = Some(Window::new(index));
            return Some(index);
        };
        let index = used.index_of(sequence).filter(|index| used.is_new(*index))?;
        used.note(index);
        Some(index)
    }

    /// Protects the packet at the end of the buffer, which has a header without extensions.
    pub fn protect(&self, ssrc: u32, index: u64, buffer: &mut Vec<u8>, start: usize) {
        self.rtp.apply(ssrc, index, &mut buffer[start + HEADER_BYTES..]);
        let roll_overs = (index >> 16) as u32;
        let mut tag = [0; LONG_TAG_BYTES];
        let tag = &mut tag[..self.tag_bytes];
        self.rtp.tag(&buffer[start..], roll_overs.to_be_bytes(), tag);
        buffer.extend_from_slice(tag);
    }

    /// Takes the index of the next RTCP packet; `None`: the key has served 2^31 of them.
    pub fn take_control_index(&mut self) -> Option<u32> {
        let index = self.control_index;
        (index & ENCRYPTED == 0).then(|| {
            self.control_index += 1;
            index
        })
    }

    /// Protects the compound RTCP packet at the end of the buffer.
    pub fn protect_control(&self, ssrc: u32, index: u32, buffer: &mut Vec<u8>, start: usize) {
        self.rtcp.apply(ssrc, index.into(), &mut buffer[start + CONTROL_HEADER_BYTES..]);
        let index: [u8; INDEX_BYTES] = (ENCRYPTED | index).to_be_bytes();
        let mut tag = [0; LONG_TAG_BYTES];
        self.rtcp.tag(&buffer[start..], index, &mut tag);
        buffer.extend_from_slice(&index);
        buffer.extend_from_slice(&tag);
    }
}
