//! Ogg (RFC 3533): the packets of the first stream of a file.
//!
//! Pages of other streams, and pages whose checksum is wrong, are passed over; the packets that
//! they began or went on with are lost.

use std::io;

use super::input::Input;

/// Packets out of pages.
pub struct Packets {
    /// The stream that counts: that of the first page.
    serial: Option<u32>,
    /// The content of the page, and where the next packet in it begins.
    page: Vec<u8>,
    at: usize,
    /// Lengths of what is left of it, in reverse order.
    segments: Vec<Segment>,
    /// Position of the last packet that ends on this page, which only the codec knows to read.
    granule: Option<u64>,
    /// What is there of a packet that goes on in the next page.
    begun: Option<Vec<u8>>,
    is_last: bool,
}

/// Of one packet in one page.
#[derive(Debug, Clone, Copy)]
struct Segment {
    bytes: usize,
    is_whole: bool,
}

/// A packet, and what its page says about its end.
pub struct Packet {
    pub content: Vec<u8>,
    /// Where the stream is after this packet: told of a page's last packet only.
    pub granule: Option<u64>,
    pub is_last: bool,
}

impl Packets {
    pub fn new() -> Self {
        Self {
            serial: None,
            page: Vec::new(),
            at: 0,
            segments: Vec::new(),
            granule: None,
            begun: None,
            is_last: false,
        }
    }

    /// The next packet; `None` at the end of the stream.
    pub fn next(&mut self, input: &mut Input<'_>) -> io::Result<Option<Packet>> {
        loop {
            let Some(segment) = self.segments.pop() else {
                if self.is_last || !self.read_page(input)? {
                    return Ok(None);
                }
                continue;
            };
            let bytes = self.page.get(self.at..self.at + segment.bytes).unwrap_or_default();
            self.at += segment.bytes;
            let mut content = self.begun.take().unwrap_or_default();
            // A packet without an end is no packet of sound.
            if content.len() + bytes.len() > MOST_PACKET_BYTES {
                continue;
            }
            content.extend_from_slice(bytes);
            if !segment.is_whole {
                self.begun = Some(content);
                continue;
            }
            let is_last_of_page = !self.segments.iter().any(|segment| segment.is_whole);
            let granule = self.granule.filter(|_| is_last_of_page);
            return Ok(Some(Packet { content, granule, is_last: self.is_last && is_last_of_page }));
        }
    }

    /// RFC 3533 §6; whether there was one more.
    fn read_page(&mut self, input: &mut Input<'_>) -> io::Result<bool> {
        let mut junk = 0;
        while junk < MOST_JUNK {
            let bytes = input.peek(HEADER_BYTES)?;
            if bytes.len() < HEADER_BYTES {
                return Ok(false);
            }
            let Some(header) = Header::parse(bytes) else {
                input.advance(1);
                junk += 1;
                continue;
            };
            let table = input.peek(HEADER_BYTES + header.segments)?;
            let lacing: Vec<u8> = table.get(HEADER_BYTES..).unwrap_or_default().to_vec();
            let length: usize = lacing.iter().copied().map(usize::from).sum();
            let whole = HEADER_BYTES + header.segments + length;
            let page = input.peek(whole)?;
            if page.len() < whole || checksum(page) != header.checksum {
                // It may be no page at all.
                input.advance(4);
                junk += 4;
                self.begun = None;
                continue;
            }
            let serial = *self.serial.get_or_insert(header.serial);
            if serial == header.serial {
                self.page.clear();
                self.page.extend_from_slice(page.get(whole - length..).unwrap_or_default());
                self.enter(&header, &lacing);
                input.advance(whole);
                return Ok(true);
            }
            input.advance(whole);
            junk += whole;
        }
        Ok(false)
    }

    fn enter(&mut self, header: &Header, lacing: &[u8]) {
        self.at = 0;
        self.segments.clear();
        let mut bytes = 0;
        for &value in lacing {
            bytes += usize::from(value);
            // 255 goes on with the next value.
            if value < 255 {
                self.segments.push(Segment { bytes, is_whole: true });
                bytes = 0;
            }
        }
        if lacing.last() == Some(&255) {
            self.segments.push(Segment { bytes, is_whole: false });
        }
        self.segments.reverse();
        let goes_on = header.flags & CONTINUED != 0;
        if !goes_on {
            self.begun = None;
        } else if self.begun.is_none()
            && let Some(lost) = self.segments.pop()
        {
            // Its beginning is not there.
            self.at = lost.bytes;
        }
        // All ones: no packet ends here.
        self.granule = Some(header.granule).filter(|&granule| granule != u64::MAX);
        self.is_last = header.flags & LAST != 0;
    }
}

struct Header {
    flags: u8,
    granule: u64,
    serial: u32,
    checksum: u32,
    segments: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"OggS\0")?;
        let (&flags, rest) = rest.split_first()?;
        let (granule, rest) = rest.split_first_chunk::<8>()?;
        let (serial, rest) = rest.split_first_chunk::<4>()?;
        let (_sequence, rest) = rest.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        Some(Self {
            flags,
            granule: u64::from_le_bytes(*granule),
            serial: u32::from_le_bytes(*serial),
            checksum: u32::from_le_bytes(*checksum),
            segments: usize::from(*rest.first()?),
        })
    }
}

/// CRC-32 with the polynomial 0x04c11db7, not reflected, of a page whose own field counts as zero.
pub fn checksum(page: &[u8]) -> u32 {
    let mut crc = 0u32;
    for (place, &byte) in page.iter().enumerate() {
        let byte = if (22..26).contains(&place) { 0 } else { byte };
        crc ^= u32::from(byte) << 24;
        for _ in 0..8 {
            let carry = (crc as i32 >> 31) as u32;
            crc = crc << 1 ^ carry & 0x04c1_1db7;
        }
    }
    crc
}

const HEADER_BYTES: usize = 27;
const CONTINUED: u8 = 1;
const LAST: u8 = 4;
/// RFC 7845 §6: at most 61,440 bytes are of use.
const MOST_PACKET_BYTES: usize = 61_440;
/// A page of another stream at most, some times over.
const MOST_JUNK: usize = 1 << 20;
