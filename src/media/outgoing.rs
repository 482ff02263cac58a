//! The one RTP stream that a call sends, whoever speaks on it.
//!
//! What is relayed keeps the gaps and the order of its source, with an offset to sequence number
//! and timestamp; whenever another speaks, the offsets change so that the receiver sees one
//! source that goes on: the next number, a timestamp as much later as the clock is, a marker.

use std::time::{Duration, Instant};

use super::rtp::Header;
use crate::slots::Key;

/// The sender's side of one SSRC.
#[derive(Debug)]
pub struct Outgoing {
    pub ssrc: u32,
    pub packets: u64,
    pub octets: u64,
    /// Timestamp units per second.
    clock_rate: u32,
    speaker: Speaker,
    /// Of the last packet.
    sequence: u16,
    /// Where the media sent so far ends, and when that moment is on the clock.
    end_timestamp: u32,
    end_at: Instant,
    last_sent: Option<Instant>,
}

/// Whose audio the stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Nobody,
    /// Ours: players, tones, digits, silence, and what is decoded and encoded anew.
    Own,
    /// Ours, in a pause that is not sent.
    Still,
    Relayed(Relayed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Relayed {
    source: Source,
    timestamp_offset: u32,
    sequence_offset: u16,
    /// Highest of the source's sequence numbers, and the first that is not too old.
    highest: u16,
    floor: u16,
}

/// A source as the relay tells them apart: whose it is and its SSRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    pub unit: Key,
    pub ssrc: u32,
}

impl Outgoing {
    /// Sequence number and timestamp begin at random (RFC 3550 §5.1).
    pub fn new(now: Instant, ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            ssrc,
            packets: 0,
            octets: 0,
            clock_rate: CLOCK_RATE,
            speaker: Speaker::Nobody,
            sequence,
            end_timestamp: timestamp,
            end_at: now,
            last_sent: None,
        }
    }

    /// The codec that was agreed on counts in other units. What is sent next begins anew where the
    /// clock is, as RFC 7160 §4.2 has it of who keeps the SSRC.
    pub fn set_clock_rate(&mut self, now: Instant, clock_rate: u32) {
        if self.clock_rate != clock_rate {
            self.end_timestamp = self.timestamp_at(now);
            self.end_at = self.end_at.max(now);
            self.clock_rate = clock_rate;
            self.begin_anew();
        }
    }

    /// What is sent next is another's audio, or other audio: it gets a marker.
    pub fn begin_anew(&mut self) {
        self.speaker = Speaker::Nobody;
    }

    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// The header under which a packet of `source` goes out. `None`: it is from before the source
    /// got its turn, its place is taken.
    pub fn relay(
        &mut self,
        now: Instant,
        source: Source,
        header: Header,
        samples: u32,
    ) -> Option<Header> {
        let continues = match &mut self.speaker {
            // A source that counts anew under its SSRC is a new one to the receiver.
            Speaker::Relayed(relayed)
                if relayed.source == source && !relayed.has_restarted(header.sequence) =>
            {
                if (header.sequence.wrapping_sub(relayed.floor) as i16) < 0 {
                    return None;
                }
                relayed.advance(header.sequence);
                Some((relayed.timestamp_offset, relayed.sequence_offset))
            }
            Speaker::Relayed(_) | Speaker::Own | Speaker::Still | Speaker::Nobody => None,
        };
        let clock = self.timestamp_at(now);
        let most_drift = self.clock_rate * MOST_DRIFT_S;
        let continues = continues.filter(|(offset, _)| {
            let ahead = header.timestamp.wrapping_add(*offset).wrapping_sub(clock) as i32;
            // Events (no samples) keep the timestamp of their beginning however long they last.
            samples == 0 || ahead.unsigned_abs() < most_drift
        });
        let (timestamp, sequence, is_new) = match continues {
            Some((timestamp_offset, sequence_offset)) => (
                header.timestamp.wrapping_add(timestamp_offset),
                header.sequence.wrapping_add(sequence_offset),
                false,
            ),
            None => {
                let sequence = self.sequence.wrapping_add(1);
                self.speaker = Speaker::Relayed(Relayed {
                    source,
                    timestamp_offset: clock.wrapping_sub(header.timestamp),
                    sequence_offset: sequence.wrapping_sub(header.sequence),
                    highest: header.sequence,
                    floor: header.sequence,
                });
                (clock, sequence, true)
            }
        };
        if sequence.wrapping_sub(self.sequence) as i16 > 0 {
            self.sequence = sequence;
        }
        let end = timestamp.wrapping_add(samples);
        if end.wrapping_sub(self.end_timestamp) as i32 > 0 {
            self.end_timestamp = end;
            self.end_at = now + self.duration_of(samples);
        }
        self.last_sent = Some(now);
        Some(Header {
            marker: header.marker || is_new,
            payload_type: header.payload_type,
            sequence,
            timestamp,
            ssrc: self.ssrc,
        })
    }

    /// A packet of the source is kept back on purpose: the receiver shall not miss it.
    pub fn skip(&mut self, source: Source, sequence: u16) {
        if let Speaker::Relayed(relayed) = &mut self.speaker
            && relayed.source == source
            && sequence == relayed.highest.wrapping_add(1)
        {
            relayed.advance(sequence);
            relayed.shift(1u16.wrapping_neg());
        }
    }

    /// The header of the next packet that we make ourselves.
    pub fn speak(&mut self, now: Instant, payload_type: u8, samples: u32) -> Header {
        let is_late = now.saturating_duration_since(self.end_at) > SLACK;
        let continues = self.speaker == Speaker::Own && !is_late;
        let goes_on = continues || self.speaker == Speaker::Still && !is_late;
        let timestamp = if goes_on { self.end_timestamp } else { self.timestamp_at(now) };
        self.end_timestamp = timestamp.wrapping_add(samples);
        self.end_at = match goes_on {
            true => self.end_at + self.duration_of(samples),
            false => now + self.duration_of(samples),
        };
        self.speaker = Speaker::Own;
        self.own(now, payload_type, timestamp, !continues)
    }

    /// Nothing is sent for as long as that packet would last; the receiver makes the pause up. What
    /// comes after it has a marker (RFC 3551 §4.1), and the timestamp of its time.
    pub fn be_still(&mut self, now: Instant, units: u32) {
        let is_first = self.speaker != Speaker::Still;
        let timestamp = if is_first { self.timestamp_at(now) } else { self.end_timestamp };
        self.end_timestamp = timestamp.wrapping_add(units);
        self.end_at = if is_first { now } else { self.end_at } + self.duration_of(units);
        self.speaker = Speaker::Still;
    }

    /// The header of an event packet that we make ourselves (RFC 4733 §2.5.1): all of an event
    /// carry the timestamp of its beginning, which is `timestamp_at` then.
    pub fn signal(
        &mut self,
        now: Instant,
        payload_type: u8,
        timestamp: u32,
        is_first: bool,
    ) -> Header {
        match &mut self.speaker {
            // Between two packets of a relayed source: its later ones make room.
            Speaker::Relayed(relayed) if !is_first => {
                relayed.shift(1);
            }
            speaker => *speaker = Speaker::Own,
        }
        self.own(now, payload_type, timestamp, is_first)
    }

    /// The event has lasted until now: what is said next comes after it.
    pub fn end_signal(&mut self, now: Instant, timestamp: u32, duration: u32) {
        self.end_timestamp = timestamp.wrapping_add(duration);
        self.end_at = now;
    }

    /// The timestamp of this moment, never before what was sent.
    pub fn timestamp_at(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.end_at);
        self.end_timestamp.wrapping_add(samples_in(passed, self.clock_rate))
    }

    pub fn count(&mut self, payload_bytes: usize) {
        self.packets += 1;
        self.octets += payload_bytes as u64;
    }

    pub fn last_sent(&self) -> Option<Instant> {
        self.last_sent
    }

    fn duration_of(&self, samples: u32) -> Duration {
        Duration::from_micros(u64::from(samples) * 1_000_000 / u64::from(self.clock_rate))
    }

    fn own(&mut self, now: Instant, payload_type: u8, timestamp: u32, marker: bool) -> Header {
        self.sequence = self.sequence.wrapping_add(1);
        self.last_sent = Some(now);
        Header { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc }
    }
}

impl Relayed {
    /// Later packets have other numbers; one that comes late would get the number of another.
    fn shift(&mut self, by: u16) {
        self.sequence_offset = self.sequence_offset.wrapping_add(by);
        self.floor = self.highest.wrapping_add(1);
    }

    /// Whether this is further behind than any packet comes late (RFC 3550 A.1).
    fn has_restarted(&self, sequence: u16) -> bool {
        let ahead = sequence.wrapping_sub(self.highest) as i16;
        ahead < -MOST_LATE
    }

    fn advance(&mut self, sequence: u16) {
        if sequence.wrapping_sub(self.highest) as i16 > 0 {
            self.highest = sequence;
        }
        // The floor follows, so that numbers that wrapped are not taken for old ones.
        if sequence.wrapping_sub(self.floor) > 0x4000 {
            self.floor = self.floor.wrapping_add(0x2000);
        }
    }
}

/// Timestamp units in a time.
pub fn samples_in(duration: Duration, clock_rate: u32) -> u32 {
    // 64 bits hold the product for a decade; 128 cost a call of a function for each packet.
    (duration.as_micros() as u64 * u64::from(clock_rate) / 1_000_000) as u32
}

/// Until a codec is agreed on.
const CLOCK_RATE: u32 = 8000;
/// RFC 3550 A.1, MAX_MISORDER: what is older does not come here but from a source that restarted.
const MOST_LATE: i16 = 100;
/// A source's timestamps this many seconds from the clock have jumped; the stream goes on by the
/// clock.
const MOST_DRIFT_S: u32 = 5;
/// What our own audio may be late before the receiver is told of a gap.
const SLACK: Duration = Duration::from_millis(40);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;

    const MS: Duration = Duration::from_millis(1);

    fn sources() -> [Source; 2] {
        let mut slots = Slots::with_capacity(2);
        [7, 8].map(|ssrc| Source { unit: slots.insert(()).unwrap(), ssrc })
    }

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1 }
    }

    #[test]
    fn change_of_source_is_the_next_number_and_as_much_later_as_the_clock() {
        let start = Instant::now();
        let [first, second] = sources();
        let mut outgoing = Outgoing::new(start, 99, 999, 5000);
        let sent = outgoing.relay(start, first, header(10, 1_000_000), 160).unwrap();
        assert!(sent.marker);
        assert_eq!((sent.sequence, sent.timestamp, sent.ssrc), (1000, 5000, 99));
        let sent = outgoing.relay(start + 20 * MS, first, header(11, 1_000_160), 160).unwrap();
        assert!(!sent.marker);
        assert_eq!((sent.sequence, sent.timestamp), (1001, 5160));
        // 60 ms later: 40 ms after the end of what was sent.
        let sent = outgoing.relay(start + 80 * MS, second, header(50_000, 7), 160).unwrap();
        assert!(sent.marker);
        assert_eq!((sent.sequence, sent.timestamp), (1002, 5320 + 320));
    }

    #[test]
    fn gaps_and_order_of_the_source_are_kept() {
        let start = Instant::now();
        let [first, _] = sources();
        let mut outgoing = Outgoing::new(start, 99, 0, 0);
        let mut sent = |sequence: u16| {
            let header = header(sequence, u32::from(sequence) * 160);
            outgoing.relay(start, first, header, 160).map(|sent| (sent.sequence, sent.timestamp))
        };
        assert_eq!(sent(10), Some((1, 0)));
        assert_eq!(sent(13), Some((4, 480)));
        assert_eq!(sent(12), Some((3, 320)));
        assert_eq!(sent(14), Some((5, 640)));
        // From before the source got its turn.
        assert_eq!(sent(9), None);
    }

    #[test]
    fn source_that_counts_anew_goes_on_in_our_numbers() {
        let start = Instant::now();
        let [first, _] = sources();
        let mut outgoing = Outgoing::new(start, 99, 0, 0);
        assert_eq!(outgoing.relay(start, first, header(10_000, 0), 160).unwrap().sequence, 1);
        for (number, expected) in [(300, 2), (301, 3), (299, 0), (40_000, 4), (40_001, 5)] {
            let sent = outgoing.relay(start, first, header(number, 160), 160);
            assert_eq!(sent.map_or(0, |sent| sent.sequence), expected, "{number}");
        }
    }

    #[test]
    fn packet_kept_back_leaves_no_gap() {
        let start = Instant::now();
        let [first, second] = sources();
        let mut outgoing = Outgoing::new(start, 99, 0, 0);
        assert_eq!(outgoing.relay(start, first, header(10, 0), 160).unwrap().sequence, 1);
        outgoing.skip(first, 11);
        outgoing.skip(second, 12);
        outgoing.skip(first, 12);
        assert_eq!(outgoing.relay(start, first, header(13, 480), 160).unwrap().sequence, 2);
    }

    #[test]
    fn numbers_go_on_for_days() {
        let mut now = Instant::now();
        let [first, _] = sources();
        let mut outgoing = Outgoing::new(now, 99, 65_500, u32::MAX - 100);
        let mut expected = 65_500u16;
        for n in 0..200_000u32 {
            let sent = outgoing.relay(now, first, header(n as u16, n * 160), 160).unwrap();
            expected = expected.wrapping_add(1);
            assert_eq!(sent.sequence, expected);
            now += 20 * MS;
        }
    }

    #[test]
    fn no_number_is_used_twice_whatever_sources_do() {
        let mut now = Instant::now();
        let sources = sources();
        let mut random = fastrand::Rng::with_seed(1);
        let mut outgoing = Outgoing::new(now, 99, 0, 0);
        let mut used: Vec<u16> = Vec::new();
        let mut next = [30_000u16, 0];
        for _ in 0..20_000 {
            now += 5 * MS;
            let which = usize::from(random.u8(..100) < 3);
            let source = sources[which];
            // Some are lost, some come late.
            next[which] = next[which].wrapping_add(1 + u16::from(random.u8(..100) < 5));
            let late = if random.u8(..100) < 10 { random.u16(1..5) } else { 0 };
            let header = header(next[which].wrapping_sub(late), u32::from(next[which]) * 160);
            let sent = match random.u8(..100) {
                0..5 => Some(outgoing.speak(now, 0, 160)),
                5..10 => Some(outgoing.signal(now, 101, 7, random.bool())),
                10..20 => {
                    outgoing.skip(source, header.sequence);
                    None
                }
                _ => outgoing.relay(now, source, header, 160),
            };
            if let Some(sent) = sent {
                // The source's own duplicates are dropped before they come here.
                let is_twice = used.iter().rev().take(500).any(|&other| other == sent.sequence);
                assert!(!is_twice || late > 0, "{}", sent.sequence);
                used.push(sent.sequence);
            }
        }
    }

    #[test]
    fn jump_of_the_source_s_clock_is_hidden() {
        let start = Instant::now();
        let [first, _] = sources();
        let mut outgoing = Outgoing::new(start, 99, 0, 0);
        assert!(outgoing.relay(start, first, header(1, 0), 160).is_some());
        let sent = outgoing.relay(start + 20 * MS, first, header(2, 900_000), 160).unwrap();
        assert_eq!((sent.marker, sent.sequence, sent.timestamp), (true, 2, 160));
    }

    #[test]
    fn pause_that_is_not_sent_takes_its_time_and_ends_with_a_marker() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, 99, 0, 0);
        outgoing.speak(start, 0, 160);
        for n in 1..5 {
            outgoing.be_still(start + n * 20 * MS, 160);
        }
        let sent = outgoing.speak(start + 100 * MS, 0, 160);
        assert_eq!((sent.marker, sent.sequence, sent.timestamp), (true, 2, 800));
        let sent = outgoing.speak(start + 120 * MS, 0, 160);
        assert_eq!((sent.marker, sent.sequence, sent.timestamp), (false, 3, 960));
    }

    #[test]
    fn clock_of_another_rate_goes_on_from_where_it_was_with_a_marker() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, 99, 0, 0);
        outgoing.speak(start, 0, 160);
        // 100 ms after the end of the packet at 8000 Hz, then 20 ms at 48,000.
        outgoing.set_clock_rate(start + 120 * MS, 48_000);
        let sent = outgoing.speak(start + 140 * MS, 111, 960);
        assert_eq!((sent.marker, sent.sequence, sent.timestamp), (true, 2, 160 + 800 + 960));
        let sent = outgoing.speak(start + 160 * MS, 111, 960);
        assert_eq!((sent.marker, sent.sequence, sent.timestamp), (false, 3, 1920 + 960));
    }

    #[test]
    fn own_audio_is_continuous_and_a_gap_is_marked() {
        let start = Instant::now();
        let mut outgoing = Outgoing::new(start, 99, 0, 0);
        let first = outgoing.speak(start, 0, 160);
        assert_eq!((first.marker, first.sequence, first.timestamp), (true, 1, 0));
        // A tick that comes 3 ms late is no gap.
        let second = outgoing.speak(start + 23 * MS, 0, 160);
        assert_eq!((second.marker, second.sequence, second.timestamp), (false, 2, 160));
        let third = outgoing.speak(start + 240 * MS, 0, 160);
        // 200 ms after the end at 40 ms.
        assert_eq!((third.marker, third.sequence, third.timestamp), (true, 3, 320 + 1600));
    }
}
