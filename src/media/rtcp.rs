//! RTCP (RFC 3550 §6): our reports about every 5 seconds, what the peer's say, and BYE.
//!
//! Reports are compound packets: SR or RR, then SDES with CNAME. The NTP timestamp is the time
//! since the engine began, which RFC 3550 §6.4.1 allows who has no wall clock. Extended reports are
//! in `rtcp_extended`. Application packets and feedback are **not** read.

use std::time::{Duration, Instant};

use super::format::Reports;
use super::reception::Reception;
use super::rtcp_extended::{Extended, VoipMetrics, XR};

/// What one call stream keeps for RTCP.
#[derive(Debug)]
pub struct Control {
    /// When the next report is due.
    pub next_at: Instant,
    pub cname: [u8; CNAME_BYTES],
    /// Middle of the NTP timestamp of the peer's last SR, and when it came.
    last_sr: Option<(u32, Instant)>,
    pub round_trip: Option<Duration>,
    /// What the peer says it did not get of ours, and the jitter it sees, in our timestamp units.
    pub lost_by_peer: u32,
    pub jitter_at_peer: u32,
    /// Of what we sent since its report before, in percent, rounded up.
    pub percent_lost: u8,
    /// It reported of what we send.
    pub has_report: bool,
    pub wanted: Reports,
    /// From its first one on.
    extended: Option<Box<Extended>>,
}

/// What goes into a sender report.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub timestamp: u32,
    pub packets: u64,
    pub octets: u64,
}

impl Control {
    pub fn new(next_at: Instant, cname: [u8; CNAME_BYTES]) -> Self {
        Self {
            next_at,
            cname,
            last_sr: None,
            round_trip: None,
            lost_by_peer: 0,
            jitter_at_peer: 0,
            percent_lost: 0,
            has_report: false,
            wanted: Reports::default(),
            extended: None,
        }
    }

    /// What the peer measured of what it hears, if it told.
    pub fn peer_metrics(&self) -> Option<&VoipMetrics> {
        self.extended.as_ref().and_then(|extended| extended.metrics.as_ref())
    }

    /// The extended report that the peer wants or that answers its own, behind a report of ours.
    pub fn write_extended(
        &self,
        out: &mut Vec<u8>,
        now: Instant,
        epoch: Instant,
        ssrc: u32,
        source: Option<u32>,
        metrics: Option<&VoipMetrics>,
    ) {
        let reference = self.wanted.reference_time.then(|| ntp(now, epoch));
        let none = Extended::default();
        let extended = self.extended.as_deref().unwrap_or(&none);
        extended.write(out, now, ssrc, reference, source, metrics);
    }

    /// A compound report: SR when `sent` says what we sent, else RR.
    pub fn write_report(
        &self,
        out: &mut Vec<u8>,
        now: Instant,
        epoch: Instant,
        ssrc: u32,
        sent: Option<Sent>,
        heard: Option<&mut Reception>,
    ) {
        let start = out.len();
        let blocks = u8::from(heard.is_some());
        out.extend([VERSION | blocks, if sent.is_some() { SR } else { RR }, 0, 0]);
        out.extend(ssrc.to_be_bytes());
        if let Some(sent) = sent {
            out.extend(ntp(now, epoch).to_be_bytes());
            out.extend(sent.timestamp.to_be_bytes());
            out.extend((sent.packets as u32).to_be_bytes());
            out.extend((sent.octets as u32).to_be_bytes());
        }
        if let Some(reception) = heard {
            out.extend(reception.ssrc.to_be_bytes());
            let lost = reception.lost().min(MOST_LOST) as u32;
            out.extend((u32::from(reception.fraction_lost()) << 24 | lost).to_be_bytes());
            out.extend(reception.extended_highest().to_be_bytes());
            out.extend(reception.jitter().to_be_bytes());
            let (last, delay) = match self.last_sr {
                Some((middle, at)) => (middle, ntp(now, at) >> 16),
                None => (0, 0),
            };
            out.extend(last.to_be_bytes());
            out.extend((delay as u32).to_be_bytes());
        }
        set_length(out, start);
        let start = out.len();
        out.extend([VERSION | 1, SDES, 0, 0]);
        out.extend(ssrc.to_be_bytes());
        out.extend([CNAME, CNAME_BYTES as u8]);
        out.extend(self.cname);
        // At least one zero ends the list (§6.5).
        out.push(0);
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
        set_length(out, start);
    }

    /// Reads the peer's compound packet; whether it is one.
    pub fn receive(&mut self, now: Instant, epoch: Instant, own_ssrc: u32, data: &[u8]) -> bool {
        let mut rest = data;
        let mut is_first = true;
        while let Some((head, after)) = rest.split_first_chunk::<4>() {
            let body_bytes = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
            let Some(body) = after.get(..body_bytes) else { return !is_first };
            // A.2: version 2 throughout; the first packet is a report.
            if head[0] & 0xc0 != VERSION || is_first && !matches!(head[1], SR | RR) {
                return !is_first;
            }
            is_first = false;
            let blocks = usize::from(head[0] & 0x1f);
            match head[1] {
                SR => {
                    if let Some(middle) = word(body, 6) {
                        self.last_sr = Some((middle, now));
                        self.read_blocks(now, epoch, own_ssrc, body.get(24..), blocks);
                    }
                }
                RR => self.read_blocks(now, epoch, own_ssrc, body.get(4..), blocks),
                XR => {
                    let extended = self.extended.get_or_insert_default();
                    let blocks = body.get(4..).unwrap_or_default();
                    let answered = extended.receive(now, own_ssrc, blocks);
                    if let Some((reference, delay)) = answered.round_trip {
                        self.take_round_trip(now, epoch, reference, delay);
                    }
                }
                _ => {}
            }
            rest = &after[body_bytes..];
        }
        !is_first
    }

    fn read_blocks(
        &mut self,
        now: Instant,
        epoch: Instant,
        own_ssrc: u32,
        blocks: Option<&[u8]>,
        count: usize,
    ) {
        let blocks = blocks.unwrap_or_default().chunks_exact(BLOCK_BYTES).take(count);
        for block in blocks.filter(|block| word(block, 0) == Some(own_ssrc)) {
            let (Some(lost), Some(jitter), Some(last), Some(delay)) =
                (word(block, 4), word(block, 12), word(block, 16), word(block, 20))
            else {
                continue;
            };
            (self.jitter_at_peer, self.has_report) = (jitter, true);
            self.percent_lost = ((lost >> 24) * 100).div_ceil(256) as u8;
            // A signed number of 24 bits: duplicates can make it negative.
            let lost = ((lost << 8) as i32) >> 8;
            self.lost_by_peer = lost.max(0) as u32;
            if last != 0 {
                self.take_round_trip(now, epoch, last, delay);
            }
        }
    }

    /// §6.4.1, figure 2: A - LSR - DLSR.
    fn take_round_trip(&mut self, now: Instant, epoch: Instant, last: u32, delay: u32) {
        let middle = (ntp(now, epoch) >> 16) as u32;
        let units = middle.wrapping_sub(last).wrapping_sub(delay);
        // Half a minute of round trip is a peer that answers what we never sent.
        if units < 30 << 16 {
            let micros = (u64::from(units) * 1_000_000) >> 16;
            self.round_trip = Some(Duration::from_micros(micros));
        }
    }
}

/// The last report of a stream ends with BYE (§6.6).
pub fn write_bye(out: &mut Vec<u8>, ssrc: u32) {
    let start = out.len();
    out.extend([VERSION | 1, BYE, 0, 0]);
    out.extend(ssrc.to_be_bytes());
    set_length(out, start);
}

/// NTP format: seconds in the upper half, fractions of them in the lower.
fn ntp(now: Instant, epoch: Instant) -> u64 {
    let since = now.saturating_duration_since(epoch);
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    since.as_secs() << 32 | fraction
}

fn set_length(out: &mut [u8], start: usize) {
    let words = (out.len() - start) / 4 - 1;
    out[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

const VERSION: u8 = 2 << 6;
const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;
/// RFC 7022 §4.2: 96 random bits, in hexadecimal here.
pub const CNAME_BYTES: usize = 24;
const BLOCK_BYTES: usize = 24;
/// The cumulative count has 24 bits with a sign.
const MOST_LOST: u64 = 0x7f_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    fn control(now: Instant) -> Control {
        Control::new(now, *b"0123456789abcdef01234567")
    }

    #[test]
    fn rfc3550_6_4_1_sender_report_has_its_fields_in_place() {
        let epoch = Instant::now();
        let now = epoch + Duration::from_millis(1500);
        let mut heard = Reception::new(0x0a0b_0c0d, 7);
        heard.arrive(9);
        let mut out = Vec::new();
        let sent = Sent { timestamp: 0x1122_3344, packets: 5, octets: 800 };
        control(now).write_report(&mut out, now, epoch, 0xcafe, Some(sent), Some(&mut heard));
        #[rustfmt::skip]
        let expected = [
            // V=2, one block; SR; 12 words follow.
            0x81, 200, 0, 12, 0, 0, 0xca, 0xfe,
            // 1.5 s.
            0, 0, 0, 1, 0x80, 0, 0, 0,
            0x11, 0x22, 0x33, 0x44, 0, 0, 0, 5, 0, 0, 3, 0x20,
            // One of three lost: 85/256.
            0x0a, 0x0b, 0x0c, 0x0d, 85, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0,
            // No SR yet.
            0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(out[..52], expected);
        // SDES of 9 words: SSRC, CNAME of 24, and at least one zero.
        assert_eq!(out[52..62], [0x81, 202, 0, 8, 0, 0, 0xca, 0xfe, 1, 24]);
        assert_eq!(out[62..], *b"0123456789abcdef01234567\0\0");
    }

    #[test]
    fn rfc3550_figure_2_round_trip_is_what_neither_side_waited() {
        let epoch = Instant::now();
        let mut ours = control(epoch);
        let sent_at = epoch + Duration::from_secs(10);
        let mut sr = Vec::new();
        let sent = Sent { timestamp: 0, packets: 1, octets: 160 };
        ours.write_report(&mut sr, sent_at, epoch, 1, Some(sent), None);
        // The peer gets it 30 ms later, reports 5.25 s after that, and 50 ms later it is here.
        let mut peer = control(epoch);
        let there = sent_at + Duration::from_millis(30);
        assert!(peer.receive(there, epoch, 2, &sr));
        let answered = there + Duration::from_millis(5250);
        let mut heard = Reception::new(1, 0);
        let mut rr = Vec::new();
        peer.write_report(&mut rr, answered, epoch, 2, None, Some(&mut heard));
        let here = answered + Duration::from_millis(50);
        assert!(ours.receive(here, epoch, 1, &rr));
        let round_trip = ours.round_trip.unwrap();
        assert!(round_trip.abs_diff(Duration::from_millis(80)) < Duration::from_millis(1));
    }

    #[test]
    fn reports_about_others_and_broken_ones_say_nothing() {
        let epoch = Instant::now();
        let mut ours = control(epoch);
        // A block about SSRC 9 with loss 5.
        let mut rr = vec![0x81, 201, 0, 7, 0, 0, 0, 2, 0, 0, 0, 9, 64, 0, 0, 5];
        rr.extend([0; 16]);
        assert!(ours.receive(epoch, epoch, 1, &rr));
        assert_eq!((ours.lost_by_peer, ours.percent_lost), (0, 0));
        assert!(ours.receive(epoch, epoch, 9, &rr));
        assert_eq!((ours.lost_by_peer, ours.percent_lost), (5, 25));
        // Cut short, of version 1, beginning with BYE, claiming blocks it has not.
        assert!(!ours.receive(epoch, epoch, 9, &rr[..20]));
        assert!(!ours.receive(epoch, epoch, 9, &[0x41, 201, 0, 1, 0, 0, 0, 2]));
        assert!(!ours.receive(epoch, epoch, 9, &[0x81, 203, 0, 1, 0, 0, 0, 2]));
        assert!(ours.receive(epoch, epoch, 9, &[0x9f, 201, 0, 1, 0, 0, 0, 2]));
        assert!(ours.receive(epoch, epoch, 9, &[0x9f, 200, 0, 1, 0, 0, 0, 2]));
        assert!(!ours.receive(epoch, epoch, 9, &[]));
        assert_eq!(ours.round_trip, None);
    }

    #[test]
    fn negative_loss_is_none() {
        let epoch = Instant::now();
        let mut ours = control(epoch);
        let mut rr = vec![0x81, 201, 0, 7, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
        rr.extend([0; 16]);
        assert!(ours.receive(epoch, epoch, 1, &rr));
        assert_eq!(ours.lost_by_peer, 0);
    }
}
