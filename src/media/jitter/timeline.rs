//! Where a packet belongs: sequence numbers and timestamps that wrap, and begin anew with another
//! source, as positions on one line.

use super::UNITS;
use crate::media::rtp::Header;

/// The line of one call. It goes on when the source changes.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    source: Option<Source>,
    /// The highest sequence number, with its cycles.
    highest: i64,
    /// Bit n: the packet `highest - n` has come.
    seen: u64,
    /// Where the packet with the highest number begins and ends.
    position: i64,
    end: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    ssrc: u32,
    clock_rate: u32,
    /// Of the packet with the highest number.
    timestamp: u32,
}

/// A packet's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub position: i64,
    pub sequence: i64,
    pub order: Order,
}

/// How a packet stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The next number, at the end of the one before.
    Contiguous,
    /// The next number, elsewhere: a pause, or the source's clock was set.
    Apart,
    /// Numbers are missing before it.
    Ahead,
    /// A later number at a place that another has: the source's clock was set back.
    Overlapping,
    /// Its successors came first.
    Behind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    At(Place),
    Duplicate,
    /// Of another source, or of one that began anew: it needs an anchor.
    Unknown,
}

impl Timeline {
    pub fn find(&self, header: &Header, clock_rate: u32) -> Found {
        let Some(source) = self.source else { return Found::Unknown };
        if source.ssrc != header.ssrc || source.clock_rate != clock_rate {
            return Found::Unknown;
        }
        let ahead = i64::from(header.sequence.wrapping_sub(self.highest as u16) as i16);
        if !(-MOST_MISORDER..MOST_DROPOUT).contains(&ahead) {
            return Found::Unknown;
        }
        if ahead == 0 || (-63..0).contains(&ahead) && self.seen & (1 << -ahead) != 0 {
            return Found::Duplicate;
        }
        let after = i64::from(header.timestamp.wrapping_sub(source.timestamp) as i32);
        let position = self.position + after * (UNITS / i64::from(clock_rate));
        let order = match ahead {
            ..=0 => Order::Behind,
            1.. if position < self.end => Order::Overlapping,
            1 if position == self.end => Order::Contiguous,
            1 => Order::Apart,
            2.. => Order::Ahead,
        };
        Found::At(Place { position, sequence: self.highest + ahead, order })
    }

    /// The packet was taken in.
    pub fn take(&mut self, header: &Header, place: Place, duration: i64) {
        let ahead = place.sequence - self.highest;
        if ahead > 0 {
            self.shift_seen(ahead);
            self.position = place.position;
            self.end = place.position + duration;
            if let Some(source) = &mut self.source {
                source.timestamp = header.timestamp;
            }
        } else if ahead > -64 {
            self.seen |= 1 << -ahead;
        }
    }

    /// A packet that is not on the line, but whose number is not missing.
    pub fn pass(&mut self, header: &Header) {
        let Some(source) = self.source.filter(|source| source.ssrc == header.ssrc) else { return };
        if let Found::At(place) = self.find(header, source.clock_rate) {
            let ahead = place.sequence - self.highest;
            if ahead > 0 {
                self.shift_seen(ahead);
            } else if ahead > -64 {
                self.seen |= 1 << -ahead;
            }
        }
    }

    /// Lets the line go on at `position` with this packet.
    pub fn anchor(
        &mut self,
        header: &Header,
        clock_rate: u32,
        position: i64,
        duration: i64,
    ) -> Place {
        let (ssrc, timestamp) = (header.ssrc, header.timestamp);
        self.source = Some(Source { ssrc, clock_rate, timestamp });
        // The next cycle in which this number is higher than all before.
        let ahead = i64::from(header.sequence.wrapping_sub(self.highest as u16));
        self.highest += if ahead == 0 { 1 << 16 } else { ahead };
        self.seen = 1;
        (self.position, self.end) = (position, position + duration);
        Place { position, sequence: self.highest, order: Order::Apart }
    }

    /// Where the packet with the highest number ends.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The highest sequence number, with its cycles.
    pub fn highest(&self) -> i64 {
        self.highest
    }

    /// The clock of the source under way.
    pub fn clock_rate(&self) -> Option<u32> {
        self.source.map(|source| source.clock_rate)
    }

    fn shift_seen(&mut self, ahead: i64) {
        let shifted = u32::try_from(ahead).ok().and_then(|ahead| self.seen.checked_shl(ahead));
        self.seen = shifted.unwrap_or(0) | 1;
        self.highest += ahead;
    }
}

/// RFC 3550 A.1: about a minute.
const MOST_DROPOUT: i64 = 3000;
/// RFC 3550 A.1: two seconds.
const MOST_MISORDER: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::jitter::FRAME;

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1 }
    }

    fn begun(sequence: u16, timestamp: u32) -> Timeline {
        let mut timeline = Timeline::default();
        let header = header(sequence, timestamp);
        assert_eq!(timeline.find(&header, 8000), Found::Unknown);
        timeline.anchor(&header, 8000, 1000, FRAME);
        timeline
    }

    fn place(timeline: &mut Timeline, sequence: u16, timestamp: u32) -> (i64, Order) {
        let header = header(sequence, timestamp);
        match timeline.find(&header, 8000) {
            Found::At(place) => {
                timeline.take(&header, place, FRAME);
                (place.position, place.order)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_and_timestamps_wrap() {
        let mut timeline = begun(65_534, u32::MAX - 200);
        let mut expected = 1000;
        for n in 1..200_000u32 {
            expected += FRAME;
            let sequence = 65_534u16.wrapping_add(n as u16);
            let timestamp = (u32::MAX - 200).wrapping_add(n * 160);
            assert_eq!(place(&mut timeline, sequence, timestamp), (expected, Order::Contiguous));
        }
    }

    #[test]
    fn order_is_told_and_duplicates_are_known() {
        let mut timeline = begun(10, 0);
        assert_eq!(place(&mut timeline, 13, 480), (1000 + 3 * FRAME, Order::Ahead));
        assert_eq!(place(&mut timeline, 12, 320), (1000 + 2 * FRAME, Order::Behind));
        for sequence in [10, 12, 13] {
            assert_eq!(timeline.find(&header(sequence, 0), 8000), Found::Duplicate);
        }
        assert_eq!(place(&mut timeline, 14, 640).1, Order::Contiguous);
        // A pause of a second.
        assert_eq!(place(&mut timeline, 15, 8800), (1000 + 55 * FRAME, Order::Apart));
        assert_eq!(place(&mut timeline, 16, 8800), (1000 + 55 * FRAME, Order::Overlapping));
    }

    #[test]
    fn other_source_clock_or_numbers_need_an_anchor() {
        let mut timeline = begun(10, 0);
        let other = Header { ssrc: 2, ..header(11, 160) };
        assert_eq!(timeline.find(&other, 8000), Found::Unknown);
        assert_eq!(timeline.find(&header(11, 160), 48_000), Found::Unknown);
        assert_eq!(timeline.find(&header(4000, 160), 8000), Found::Unknown);
        assert_eq!(timeline.find(&header(65_000, 160), 8000), Found::Unknown);
        let anchored = timeline.anchor(&Header { ssrc: 2, ..header(5, 9) }, 48_000, 5000, FRAME);
        assert_eq!(anchored.position, 5000);
        // Higher than any before.
        assert_eq!(anchored.sequence, 65_536 + 5);
        let next = Header { ssrc: 2, ..header(6, 9 + 960) };
        let place = Place { position: 5960, sequence: 65_542, order: Order::Contiguous };
        assert_eq!(timeline.find(&next, 48_000), Found::At(place));
    }

    #[test]
    fn packets_that_are_passed_are_not_missing() {
        let mut timeline = begun(10, 0);
        timeline.pass(&header(11, 77));
        timeline.pass(&header(12, 77));
        assert_eq!(place(&mut timeline, 13, 160), (1000 + FRAME, Order::Contiguous));
        assert_eq!(timeline.find(&header(12, 77), 8000), Found::Duplicate);
    }
}
