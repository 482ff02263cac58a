//! What a receiver knows of one source (RFC 3550 §6.4.1, appendices A.1, A.3 and A.8).
//!
//! The source is believed from its first packet on: probation would cost the first words.

use super::codec::g711::RATE;

/// Counts and estimates of one SSRC.
#[derive(Debug, Clone)]
pub struct Reception {
    pub ssrc: u32,
    base: u32,
    /// Highest sequence number with its cycles in the upper half.
    highest: u32,
    /// What the next packet of a restarted source would carry (A.1 `bad_seq`).
    restart: Option<u16>,
    /// Bit n: the packet `highest - n` has come.
    seen: u64,
    pub received: u64,
    /// Packets received and lost before the source began anew under the same SSRC.
    received_before: u64,
    lost_before: u64,
    transit: Option<u32>,
    /// In timestamp units, times 16 (A.8).
    jitter: u32,
    expected_prior: u64,
    received_prior: u64,
}

/// How a packet stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    Next,
    /// Its successor came first.
    Late,
    Duplicate,
    /// The source started over with other numbers.
    Restarted,
    /// Its number is far off: believed when the next one follows it.
    Stray,
}

impl Reception {
    /// From a source's first packet.
    pub fn new(ssrc: u32, sequence: u16) -> Self {
        let sequence = u32::from(sequence);
        Self {
            ssrc,
            base: sequence,
            highest: sequence,
            restart: None,
            seen: 1,
            received: 1,
            received_before: 0,
            lost_before: 0,
            transit: None,
            jitter: 0,
            expected_prior: 0,
            received_prior: 0,
        }
    }

    /// A.1, with the packets of the last 64 remembered so that none counts twice.
    pub fn arrive(&mut self, sequence: u16) -> Arrival {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        let behind = usize::from(0u16.wrapping_sub(ahead));
        if ahead == 0 {
            return Arrival::Duplicate;
        }
        if ahead < MAX_DROPOUT {
            self.seen = self.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            self.restart = None;
            self.received += 1;
            return Arrival::Next;
        }
        if behind < MEMORY {
            if self.seen & (1 << behind) != 0 {
                return Arrival::Duplicate;
            }
            self.seen |= 1 << behind;
            self.received += 1;
            return Arrival::Late;
        }
        if behind < MAX_MISORDER {
            self.received += 1;
            return Arrival::Late;
        }
        if self.restart == Some(sequence) {
            *self = Self {
                lost_before: self.lost(),
                received_before: self.received,
                received: self.received + 1,
                jitter: self.jitter,
                ..Self::new(self.ssrc, sequence)
            };
            return Arrival::Restarted;
        }
        self.restart = Some(sequence.wrapping_add(1));
        Arrival::Stray
    }

    /// A.8; `arrival` in timestamp units on any steady clock.
    pub fn time(&mut self, timestamp: u32, arrival: u32) {
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            // A jump of the source's clock is no jitter.
            if difference < RATE * 10 {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
            }
        }
    }

    /// Cumulative number of packets lost (A.3); what came late counts as come.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.expected().saturating_sub(self.received - self.received_before)
    }

    /// Lost since the last call as a fraction of 256 (A.3).
    pub fn fraction_lost(&mut self) -> u8 {
        let expected = self.expected() + self.received_before + self.lost_before;
        let interval = expected.saturating_sub(self.expected_prior);
        let received = self.received.saturating_sub(self.received_prior);
        self.expected_prior = expected;
        self.received_prior = self.received;
        match interval.checked_sub(received) {
            Some(lost) if interval > 0 => (lost * 256 / interval).min(255) as u8,
            _ => 0,
        }
    }

    pub fn extended_highest(&self) -> u32 {
        self.highest
    }

    /// In timestamp units.
    pub fn jitter(&self) -> u32 {
        self.jitter >> 4
    }

    fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.base)) + 1
    }
}

/// A.1: about a minute at 50 packets a second.
const MAX_DROPOUT: u16 = 3000;
/// A.1: two seconds.
const MAX_MISORDER: usize = 100;
/// Bits of `seen`.
const MEMORY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3550_a1_numbers_wrap_and_are_counted() {
        let mut reception = Reception::new(1, 65_534);
        for sequence in [65_535, 0, 1] {
            assert_eq!(reception.arrive(sequence), Arrival::Next);
        }
        assert_eq!(reception.extended_highest(), 65_537);
        assert_eq!((reception.received, reception.lost()), (4, 0));
    }

    #[test]
    fn rfc3550_a3_gap_is_lost_until_the_late_packet_comes() {
        let mut reception = Reception::new(1, 10);
        assert_eq!(reception.arrive(13), Arrival::Next);
        assert_eq!(reception.lost(), 2);
        assert_eq!(reception.arrive(12), Arrival::Late);
        assert_eq!(reception.arrive(12), Arrival::Duplicate);
        assert_eq!(reception.arrive(13), Arrival::Duplicate);
        assert_eq!((reception.received, reception.lost()), (3, 1));
        // 1 of 4.
        assert_eq!(reception.fraction_lost(), 64);
        assert_eq!(reception.arrive(14), Arrival::Next);
        assert_eq!(reception.fraction_lost(), 0);
    }

    #[test]
    fn rfc3550_a1_two_packets_in_a_row_make_a_restart() {
        let mut reception = Reception::new(1, 100);
        assert_eq!(reception.arrive(103), Arrival::Next);
        assert_eq!(reception.arrive(30_000), Arrival::Stray);
        assert_eq!(reception.arrive(104), Arrival::Next);
        assert_eq!(reception.arrive(40_000), Arrival::Stray);
        assert_eq!(reception.arrive(40_001), Arrival::Restarted);
        assert_eq!(reception.arrive(40_002), Arrival::Next);
        assert_eq!(reception.lost(), 2);
        assert_eq!(reception.received, 5);
    }

    #[test]
    fn rfc3550_a8_jitter_follows_the_difference_of_transit_times() {
        let mut reception = Reception::new(1, 0);
        // Every second packet 80 units (10 ms) late: |D| is 80 each time.
        for n in 0..400u32 {
            reception.time(n * 160, n * 160 + 1000 + n % 2 * 80);
        }
        // J = J + (|D| - J) / 16 tends to 80.
        assert!((78..=80).contains(&reception.jitter()), "{}", reception.jitter());
        let mut one = Reception::new(1, 0);
        one.time(0, 0);
        one.time(160, 160 + 160);
        // 160 / 16.
        assert_eq!(one.jitter(), 10);
    }
}
