//! Opus in Ogg (RFC 7845) as recordings have it: pages (RFC 3533) of about a second each, so that
//! a file that ends anywhere is heard up to its last whole page.
//!
//! ```text
//!  0 "OggS" | 4 version 0 | 5 type | 6 granule position | 14 serial | 18 page | 22 CRC |
//! 26 segments | 27 lacing | payload
//! ```

use super::ogg::checksum;

/// Makes the pages of one recording: mono, a packet of 20 ms after the other.
#[derive(Debug)]
pub struct Writer {
    serial: u32,
    page: u32,
    /// Samples of the packets so far, at 48 kHz and with those that are skipped.
    granule: u64,
    lacing: Vec<u8>,
    payload: Vec<u8>,
}

impl Writer {
    /// A writer, and the two pages that begin the file. `rate` is that of what was heard.
    pub fn new(serial: u32, rate: u32) -> (Self, Vec<u8>) {
        let (lacing, payload) = (Vec::with_capacity(SEGMENTS), Vec::new());
        let mut writer = Self { serial, page: 0, granule: 0, lacing, payload };
        let mut head = b"OpusHead\x01\x01".to_vec();
        head.extend(PRE_SKIP.to_le_bytes());
        head.extend(rate.to_le_bytes());
        // No gain; mapping family 0.
        head.extend([0, 0, 0]);
        let vendor = b"branchline";
        let mut tags = b"OpusTags".to_vec();
        tags.extend((vendor.len() as u32).to_le_bytes());
        tags.extend(vendor);
        tags.extend(0_u32.to_le_bytes());
        let mut pages = Vec::new();
        for (packet, kind) in [(head, BEGINNING), (tags, 0)] {
            writer.put(&packet);
            writer.close(kind, 0, &mut pages);
        }
        (writer, pages)
    }

    /// Adds a packet; a page that is full is put behind `out`.
    pub fn packet(&mut self, packet: &[u8], out: &mut Vec<u8>) {
        // Before the packet, so that the last page has one: its granule position cuts that one.
        let is_full = self.lacing.len() + packet.len() / 255 + 1 > SEGMENTS
            || (!self.lacing.is_empty() && self.granule.is_multiple_of(PAGE_SAMPLES));
        if is_full {
            self.close(0, self.granule, out);
        }
        self.put(packet);
        self.granule += PACKET_SAMPLES;
    }

    /// Samples at 48 kHz that the packets so far can carry to the end, without those skipped.
    pub fn samples(&self) -> u64 {
        self.granule.saturating_sub(PRE_SKIP.into())
    }

    /// The last page; `samples` are those of the whole, of which the last packet may have more.
    pub fn finish(mut self, samples: u64, out: &mut Vec<u8>) {
        let end = (samples + u64::from(PRE_SKIP)).min(self.granule);
        self.close(END, end, out);
    }

    fn put(&mut self, packet: &[u8]) {
        // RFC 3533 section 6: a packet ends with a value below 255.
        self.lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
        self.lacing.push((packet.len() % 255) as u8);
        self.payload.extend_from_slice(packet);
    }

    fn close(&mut self, kind: u8, granule: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(b"OggS\0");
        out.push(kind);
        out.extend(granule.to_le_bytes());
        out.extend(self.serial.to_le_bytes());
        out.extend(self.page.to_le_bytes());
        out.extend([0; 4]);
        out.push(self.lacing.len() as u8);
        out.append(&mut self.lacing);
        out.append(&mut self.payload);
        if let Some(page) = out.get_mut(start..) {
            seal(page);
        }
        self.page += 1;
    }
}

/// A page that a file has, as far as an end must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub bytes: usize,
    pub has_end: bool,
}

/// The page at the beginning of `bytes`, if there is a whole one.
pub fn page(bytes: &[u8]) -> Option<Page> {
    let header = bytes.get(..HEADER_BYTES)?;
    if !header.starts_with(b"OggS\0") {
        return None;
    }
    let segments = usize::from(header[26]);
    let lacing = bytes.get(HEADER_BYTES..HEADER_BYTES + segments)?;
    let payload: usize = lacing.iter().map(|&length| usize::from(length)).sum();
    let length = HEADER_BYTES + segments + payload;
    let page = bytes.get(..length)?;
    let sum = u32::from_le_bytes([page[22], page[23], page[24], page[25]]);
    (checksum(page) == sum).then_some(Page { bytes: length, has_end: page[5] & END != 0 })
}

/// Makes a whole page the last one.
pub fn end(page: &mut [u8]) {
    if page.len() >= HEADER_BYTES {
        page[5] |= END;
        seal(page);
    }
}

/// Writes the checksum.
fn seal(page: &mut [u8]) {
    let sum = checksum(page);
    page[22..26].copy_from_slice(&sum.to_le_bytes());
}

/// The delay of libopus's encoder for voice: 6.5 ms at 48 kHz (RFC 7845 section 4.2).
const PRE_SKIP: u16 = 312;
/// Samples of a packet.
pub const PACKET_SAMPLES: u64 = 960;
/// A second: what a crash costs at most, beside what is on its way.
const PAGE_SAMPLES: u64 = 48_000;
const HEADER_BYTES: usize = 27;
/// Of one page.
const SEGMENTS: usize = 255;
/// The longest page: what must be read to know one.
pub const MOST_PAGE_BYTES: usize = HEADER_BYTES + SEGMENTS + SEGMENTS * 255;
const BEGINNING: u8 = 2;
const END: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(packets: usize, samples: u64) -> Vec<u8> {
        let (mut writer, mut file) = Writer::new(7, 8000);
        for packet in 0..packets {
            writer.packet(&vec![1; 40 + packet % 300], &mut file);
        }
        writer.finish(samples, &mut file);
        file
    }

    fn pages(file: &[u8]) -> Vec<Page> {
        let mut rest = file;
        let mut found = Vec::new();
        while let Some(one) = page(rest) {
            found.push(one);
            rest = &rest[one.bytes..];
        }
        found
    }

    /// CRC-32/MPEG-2 without its initial value and final complement; the value of "123456789" is
    /// that of CRC-32/CKSUM before length and complement, 0x89a1897f.
    #[test]
    fn checksum_is_that_of_the_polynomial() {
        assert_eq!(checksum(b"123456789"), 0x89a1_897f);
    }

    #[test]
    fn file_begins_as_rfc_7845_says() {
        let file = file(0, 0);
        assert_eq!(file[..6], *b"OggS\0\x02");
        assert_eq!(file[26..47], *b"\x01\x13OpusHead\x01\x01\x38\x01\x40\x1f\0\0\0\0\0");
        assert_eq!(file[47..53], *b"OggS\0\0");
        assert_eq!(file[75..83], *b"OpusTags");
        let pages = pages(&file);
        assert_eq!(pages.iter().map(|page| page.has_end).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn pages_are_of_a_second_and_granules_are_samples() {
        let file = file(120, 114_000);
        let pages = pages(&file);
        assert_eq!(pages.iter().map(|page| page.bytes).sum::<usize>(), file.len());
        let mut at = 0;
        let mut granules = Vec::new();
        for page in pages {
            granules.push(u64::from_le_bytes(file[at + 6..at + 14].try_into().unwrap()));
            at += page.bytes;
        }
        assert_eq!(granules, [0, 0, 48_000, 96_000, 114_312]);
    }

    #[test]
    fn what_is_cut_anywhere_has_the_pages_before() {
        let file = file(200, 180_000);
        let whole = pages(&file);
        for length in (0..file.len()).step_by(61) {
            let found = pages(&file[..length]);
            let expected = whole.iter().scan(0, |end, page| {
                *end += page.bytes;
                Some(*end)
            });
            assert_eq!(found.len(), expected.filter(|&end| end <= length).count());
        }
    }

    #[test]
    fn other_bytes_are_no_page() {
        let mut file = file(50, 40_000);
        assert_eq!(page(b"OggS"), None);
        assert_eq!(page(&[0; 300]), None);
        file[30] ^= 1;
        assert_eq!(page(&file), None);
    }
}
