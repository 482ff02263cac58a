//! Extended reports of RTCP (RFC 3611): the VoIP metrics block, and the receiver reference time
//! with its answer, by which who sends nothing knows the round trip too. Other blocks are **not**
//! read.
//!
//! What is asked for in `a=rtcp-xr` (§5) is sent; what comes is read, asked for or not.

use std::time::{Duration, Instant};

/// The VoIP metrics block (§4.7); `None` and 0 where the writer does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VoipMetrics {
    /// Fractions of 256 of the packets that were lost on the way, and that came too late.
    pub loss_rate: u8,
    pub discard_rate: u8,
    pub burst_density: u8,
    pub gap_density: u8,
    /// Milliseconds.
    pub burst_ms: u16,
    pub gap_ms: u16,
    pub round_trip_ms: u16,
    pub end_system_ms: u16,
    /// 0 to 100.
    pub r_factor: Option<u8>,
    /// Tenths, 10 to 50.
    pub mos_listening: Option<u8>,
    pub mos_conversation: Option<u8>,
    pub jitter_buffer_ms: u16,
    pub jitter_buffer_most_ms: u16,
}

/// What the blocks of the peer say.
#[derive(Debug, Default, Clone, Copy)]
pub struct Extended {
    /// Middle of the NTP timestamp of the peer's last reference time, and when it came.
    reference: Option<(u32, Instant)>,
    pub metrics: Option<VoipMetrics>,
}

/// What one extended packet told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// Last reference time of ours that the peer heard, and its delay since, both in 1/65,536 s.
    pub round_trip: Option<(u32, u32)>,
}

impl Extended {
    /// Reads the packet after its first eight bytes.
    pub fn receive(&mut self, now: Instant, own_ssrc: u32, blocks: &[u8]) -> Answered {
        let mut answered = Answered::default();
        let mut rest = blocks;
        while let Some((&[kind, _, high, low], after)) = rest.split_first_chunk::<4>() {
            let bytes = usize::from(u16::from_be_bytes([high, low])) * 4;
            let Some(body) = after.get(..bytes) else { break };
            match kind {
                REFERENCE_TIME => {
                    if let Some(middle) = body.get(2..6).and_then(|bytes| word(bytes, 0)) {
                        self.reference = Some((middle, now));
                    }
                }
                DELAYS => {
                    let own = body.chunks_exact(12).find(|part| word(part, 0) == Some(own_ssrc));
                    let times = own.and_then(|part| Some((word(part, 4)?, word(part, 8)?)));
                    answered.round_trip = times.filter(|(reference, _)| *reference != 0);
                }
                VOIP_METRICS if word(body, 0) == Some(own_ssrc) => {
                    self.metrics = VoipMetrics::parse(body).or(self.metrics);
                }
                _ => {}
            }
            rest = &after[bytes..];
        }
        answered
    }

    /// Writes a packet, if there is anything to say. `metrics` are about `source`.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        now: Instant,
        ssrc: u32,
        reference: Option<u64>,
        source: Option<u32>,
        metrics: Option<&VoipMetrics>,
    ) {
        let start = out.len();
        out.extend([VERSION, XR, 0, 0]);
        out.extend(ssrc.to_be_bytes());
        let empty = out.len();
        if let Some(time) = reference {
            out.extend([REFERENCE_TIME, 0, 0, 2]);
            out.extend(time.to_be_bytes());
        }
        if let (Some((middle, at)), Some(source)) = (self.reference, source) {
            let delay = now.saturating_duration_since(at);
            out.extend([DELAYS, 0, 0, 3]);
            out.extend(source.to_be_bytes());
            out.extend(middle.to_be_bytes());
            out.extend(units(delay).to_be_bytes());
        }
        if let (Some(source), Some(metrics)) = (source, metrics) {
            out.extend([VOIP_METRICS, 0, 0, 8]);
            out.extend(source.to_be_bytes());
            metrics.write(out);
        }
        match out.len() == empty {
            true => out.truncate(start),
            false => {
                let words = (out.len() - start) / 4 - 1;
                out[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
            }
        }
    }
}

impl VoipMetrics {
    /// The block after its head: SSRC first.
    fn parse(body: &[u8]) -> Option<Self> {
        let body: &[u8; 32] = body.first_chunk()?;
        let half = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let known = |at: usize, most: u8| Some(body[at]).filter(|value| *value <= most);
        Some(Self {
            loss_rate: body[4],
            discard_rate: body[5],
            burst_density: body[6],
            gap_density: body[7],
            burst_ms: half(8),
            gap_ms: half(10),
            round_trip_ms: half(12),
            end_system_ms: half(14),
            r_factor: known(20, 100),
            mos_listening: known(22, 50).filter(|mos| *mos >= 10),
            mos_conversation: known(23, 50).filter(|mos| *mos >= 10),
            jitter_buffer_ms: half(26),
            jitter_buffer_most_ms: half(28),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.loss_rate, self.discard_rate, self.burst_density, self.gap_density]);
        for value in [self.burst_ms, self.gap_ms, self.round_trip_ms, self.end_system_ms] {
            out.extend(value.to_be_bytes());
        }
        // Signal, noise and echo are not measured.
        out.extend([UNKNOWN, UNKNOWN, UNKNOWN, super::bursts::G_MIN as u8]);
        let known = |value: Option<u8>| value.unwrap_or(UNKNOWN);
        let (listening, conversation) = (self.mos_listening, self.mos_conversation);
        out.extend([known(self.r_factor), UNKNOWN, known(listening), known(conversation)]);
        // §4.7.6: standard concealment, an adaptive buffer of unknown rate.
        out.extend([0b1111_0000, 0]);
        for value in [self.jitter_buffer_ms, self.jitter_buffer_most_ms, self.jitter_buffer_most_ms]
        {
            out.extend(value.to_be_bytes());
        }
    }
}

/// 1/65,536 s, as the middle of an NTP timestamp counts.
fn units(duration: Duration) -> u32 {
    (duration.as_micros().saturating_mul(1 << 16) / 1_000_000).min(u32::MAX.into()) as u32
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

const VERSION: u8 = 2 << 6;
pub const XR: u8 = 207;
const REFERENCE_TIME: u8 = 4;
const DELAYS: u8 = 5;
const VOIP_METRICS: u8 = 7;
/// §4.7: the value for what is not measured.
const UNKNOWN: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: VoipMetrics = VoipMetrics {
        loss_rate: 13,
        discard_rate: 1,
        burst_density: 100,
        gap_density: 2,
        burst_ms: 120,
        gap_ms: 4000,
        round_trip_ms: 80,
        end_system_ms: 60,
        r_factor: Some(81),
        mos_listening: Some(42),
        mos_conversation: None,
        jitter_buffer_ms: 40,
        jitter_buffer_most_ms: 200,
    };

    #[test]
    fn rfc3611_4_7_voip_metrics_have_their_fields_in_place() {
        let mut out = Vec::new();
        let now = Instant::now();
        Extended::default().write(&mut out, now, 0xcafe, None, Some(0x0a0b_0c0d), Some(&METRICS));
        #[rustfmt::skip]
        let expected = [
            // V=2, XR, ten words follow; our SSRC.
            0x80, 207, 0, 10, 0, 0, 0xca, 0xfe,
            // Block 7 of eight words about that source.
            7, 0, 0, 8, 0x0a, 0x0b, 0x0c, 0x0d,
            13, 1, 100, 2,
            0, 120, 0x0f, 0xa0, 0, 80, 0, 60,
            // No levels, no echo; Gmin.
            127, 127, 127, 16,
            81, 127, 42, 127,
            0xf0, 0, 0, 40, 0, 200, 0, 200,
        ];
        assert_eq!(out, expected);
        let mut peer = Extended::default();
        peer.receive(now, 0x0a0b_0c0d, &out[8..]);
        assert_eq!(peer.metrics, Some(METRICS));
        // About somebody else.
        let mut other = Extended::default();
        other.receive(now, 1, &out[8..]);
        assert_eq!(other.metrics, None);
    }

    /// RFC 3611 §4.5: who sends nothing asks for the time it takes.
    #[test]
    fn rfc3611_4_4_reference_time_is_answered_with_the_delay_since() {
        let start = Instant::now();
        let (mut ours, mut peer) = (Extended::default(), Extended::default());
        let mut out = Vec::new();
        // 2.5 s on our clock.
        ours.write(&mut out, start, 1, Some(0x0000_0002_8000_0000), Some(2), None);
        assert_eq!(out, [0x80, 207, 0, 4, 0, 0, 0, 1, 4, 0, 0, 2, 0, 0, 0, 2, 0x80, 0, 0, 0]);
        peer.receive(start, 2, &out[8..]);
        let mut answer = Vec::new();
        peer.write(&mut answer, start + Duration::from_millis(250), 2, None, Some(1), None);
        assert_eq!(answer[8..], [5, 0, 0, 3, 0, 0, 0, 1, 0, 2, 0x80, 0, 0, 0, 0x40, 0]);
        let answered = ours.receive(start, 1, &answer[8..]);
        assert_eq!(answered.round_trip, Some((0x0002_8000, 0x4000)));
    }

    #[test]
    fn nothing_to_say_is_no_packet() {
        let mut out = vec![1];
        Extended::default().write(&mut out, Instant::now(), 1, None, None, Some(&METRICS));
        assert_eq!(out, [1]);
    }

    #[test]
    fn broken_blocks_say_nothing() {
        let now = Instant::now();
        let mut extended = Extended::default();
        for blocks in [
            &[][..],
            &[4, 0, 0],
            &[4, 0, 0, 2, 0, 0],
            &[4, 0, 0, 0],
            &[7, 0, 0, 1, 0, 0, 0, 1],
            &[5, 0, 0, 1, 0, 0, 0, 1],
            &[5, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1],
            &[7, 0, 0xff, 0xff, 0, 0, 0, 1],
            &[99, 0, 0, 0],
        ] {
            assert_eq!(extended.receive(now, 1, blocks), Answered::default(), "{blocks:?}");
        }
        assert!(extended.metrics.is_none() && extended.reference.is_none());
        // A MOS of 0.9, an R of 101.
        let mut body = [0; 36];
        (body[0], body[3], body[7], body[24], body[26]) = (7, 8, 1, 101, 9);
        extended.receive(now, 1, &body);
        let metrics = extended.metrics.unwrap();
        assert_eq!((metrics.r_factor, metrics.mos_listening), (None, None));
    }
}
