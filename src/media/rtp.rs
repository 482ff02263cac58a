//! RTP packets (RFC 3550 §5.1): read with every bound checked, written as headers of 12 bytes.
//!
//! CSRC lists, header extensions and padding are skipped when read and never written.

/// The fields of a fixed header that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

/// A packet that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub header: Header,
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` for what is no RTP packet, or one whose parts do not fit into it.
    ///
    /// ```text
    ///  0                   1                   2                   3
    ///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    /// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    /// |                           timestamp                           |
    /// |           synchronization source (SSRC) identifier            |
    /// ```
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (fixed, _) = data.split_first_chunk::<HEADER_BYTES>()?;
        let mut rest = data.get(payload_start(data)?..)?;
        if fixed[0] & PADDING != 0 {
            let padding = usize::from(*rest.last()?);
            // The count counts itself.
            if padding == 0 {
                return None;
            }
            rest = rest.get(..rest.len().checked_sub(padding)?)?;
        }
        let header = Header {
            marker: fixed[1] & MARKER != 0,
            payload_type: fixed[1] & !MARKER,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        Some(Self { header, payload: rest })
    }
}

impl Header {
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = VERSION << 6;
        bytes[1] = self.payload_type & !MARKER | if self.marker { MARKER } else { 0 };
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

/// Where the payload begins, behind contributing sources and extension; `None`: no RTP packet.
pub fn payload_start(data: &[u8]) -> Option<usize> {
    let (fixed, rest) = data.split_first_chunk::<HEADER_BYTES>()?;
    if fixed[0] >> 6 != VERSION {
        return None;
    }
    let mut start = usize::from(fixed[0] & 0x0f) * 4;
    if fixed[0] & EXTENSION != 0 {
        let head: &[u8; 4] = rest.get(start..)?.first_chunk()?;
        start += 4 + usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
    }
    (start <= rest.len()).then_some(HEADER_BYTES + start)
}

/// Tells RTCP from RTP on one port (RFC 5761 §4): packet types 192-223 are RTCP.
pub fn is_rtcp(data: &[u8]) -> bool {
    matches!(data.get(1), Some(192..=223))
}

const VERSION: u8 = 2;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const MARKER: u8 = 0x80;
pub const HEADER_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [u8; 14] =
        [0x80, 0x80, 0x12, 0x34, 0, 0, 1, 0x40, 0xca, 0xfe, 0xba, 0xbe, 0x55, 0x56];

    #[test]
    fn plain_packet_is_read_and_written_again() {
        let packet = Packet::parse(&PLAIN).unwrap();
        let expected = Header {
            marker: true,
            payload_type: 0,
            sequence: 0x1234,
            timestamp: 320,
            ssrc: 0xcafe_babe,
        };
        assert_eq!(packet, Packet { header: expected, payload: &[0x55, 0x56] });
        assert_eq!(packet.header.to_bytes(), PLAIN[..12]);
    }

    #[test]
    fn csrc_extension_and_padding_are_skipped() {
        let mut data = PLAIN[..12].to_vec();
        data[0] = 0x80 | PADDING | EXTENSION | 2;
        data.extend([0; 8]);
        data.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        data.extend([0x55, 0x56, 0, 0, 3]);
        assert_eq!(Packet::parse(&data).unwrap().payload, [0x55, 0x56]);
    }

    #[test]
    fn packets_whose_parts_do_not_fit_are_refused() {
        for length in 0..12 {
            assert_eq!(Packet::parse(&PLAIN[..length]), None);
        }
        let with_first = |first: u8, tail: &[u8]| {
            let mut data = PLAIN[..12].to_vec();
            data[0] = first;
            data.extend(tail);
            Packet::parse(&data).map(|packet| packet.payload.len())
        };
        // Versions 0, 1 and 3.
        assert_eq!(with_first(0x00, &[1]), None);
        assert_eq!(with_first(0x40, &[1]), None);
        assert_eq!(with_first(0xc0, &[1]), None);
        // 15 CSRCs in 8 bytes.
        assert_eq!(with_first(0x8f, &[0; 8]), None);
        // An extension of 65535 words, and one cut short.
        assert_eq!(with_first(0x90, &[0, 0, 0xff, 0xff, 0, 0]), None);
        assert_eq!(with_first(0x90, &[0, 0, 0]), None);
        // Padding longer than the packet, of nothing, and without a byte to say so.
        assert_eq!(with_first(0xa0, &[1, 9]), None);
        assert_eq!(with_first(0xa0, &[1, 0]), None);
        assert_eq!(with_first(0xa0, &[]), None);
        // All padding is a packet without payload.
        assert_eq!(with_first(0xa0, &[0, 2]), Some(0));
    }

    #[test]
    fn rtcp_is_told_from_rtp() {
        assert!(is_rtcp(&[0x80, 200]));
        assert!(!is_rtcp(&PLAIN));
        assert!(!is_rtcp(&[0x80]));
    }
}
