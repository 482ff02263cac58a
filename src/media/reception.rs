//! What a receiver knows of one source (RFC 3550 §6.4.1, appendices A.1, A.3 and A.8).
//!
//! The source is believed from its first packet on: probation would cost the first words.

use std::time::Duration;

use super::bursts::Bursts;
use super::outgoing::samples_in;

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
    /// Losses that are certain: of packets that have left `seen`.
    bursts: Bursts,
    transit: Option<u32>,
    /// Timestamp units per second; 0 before the first audio.
    clock_rate: u32,
    /// In timestamp units, times 16 (A.8).
    jitter: u32,
    most_jitter: u32,
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
            bursts: Bursts::default(),
            transit: None,
            clock_rate: 0,
            jitter: 0,
            most_jitter: 0,
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
            self.settle(ahead);
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
                bursts: self.bursts,
                clock_rate: self.clock_rate,
                jitter: self.jitter,
                most_jitter: self.most_jitter,
                ..Self::new(self.ssrc, sequence)
            };
            return Arrival::Restarted;
        }
        self.restart = Some(sequence.wrapping_add(1));
        Arrival::Stray
    }

    /// A.8; `arrival` on any steady clock. A source that goes over to a codec with another clock
    /// keeps its jitter (RFC 7160 §4.3: in the units of the new one).
    pub fn time(&mut self, timestamp: u32, arrival: Duration, clock_rate: u32) {
        if self.clock_rate != clock_rate {
            let convert = |units: u32| match self.clock_rate {
                0 => units,
                before => (u64::from(units) * u64::from(clock_rate) / u64::from(before)) as u32,
            };
            (self.jitter, self.most_jitter) = (convert(self.jitter), convert(self.most_jitter));
            (self.clock_rate, self.transit) = (clock_rate, None);
        }
        let transit = samples_in(arrival, clock_rate).wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            // A jump of the source's clock is no jitter.
            if difference < clock_rate * 10 {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
                self.most_jitter = self.most_jitter.max(self.jitter);
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

    pub fn jitter_ms(&self) -> f32 {
        self.milliseconds(self.jitter)
    }

    /// The highest that it was.
    pub fn most_jitter_ms(&self) -> f32 {
        self.milliseconds(self.most_jitter)
    }

    /// With what is still missing of the last packets taken as lost.
    pub fn bursts(&self) -> Bursts {
        let mut bursts = self.bursts;
        let behind = (self.expected().min(MEMORY as u64) as usize).saturating_sub(1);
        for place in (0..=behind).rev() {
            match self.seen >> place & 1 {
                0 => bursts.lose(1),
                _ => bursts.come(1),
            }
        }
        bursts
    }

    /// Of the packets that leave `seen` it is certain now whether they came.
    fn settle(&mut self, ahead: u16) {
        if self.seen == u64::MAX && usize::from(ahead) <= MEMORY {
            return self.bursts.come(ahead.into());
        }
        let leaving = usize::from(ahead).min(MEMORY);
        for step in 0..leaving {
            let behind = MEMORY - 1 - step;
            if behind as u64 >= self.expected() {
                continue;
            }
            match self.seen >> behind & 1 {
                0 => self.bursts.lose(1),
                _ => self.bursts.come(1),
            }
        }
        self.bursts.lose((usize::from(ahead) - leaving) as u32);
    }

    fn milliseconds(&self, jitter: u32) -> f32 {
        match self.clock_rate {
            0 => 0.0,
            rate => (jitter >> 4) as f32 * 1000.0 / rate as f32,
        }
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

    const MS: Duration = Duration::from_millis(1);

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
            reception.time(n * 160, MS * (n * 20 + 125 + n % 2 * 10), 8000);
        }
        // J = J + (|D| - J) / 16 tends to 80.
        assert!((78..=80).contains(&reception.jitter()), "{}", reception.jitter());
        let mut one = Reception::new(1, 0);
        one.time(0, Duration::ZERO, 8000);
        one.time(160, MS * 40, 8000);
        // 160 / 16.
        assert_eq!(one.jitter(), 10);
    }

    /// RFC 3551 §4.5.2 and RFC 7587 §4.1: the same 10 ms on each clock.
    #[test]
    fn jitter_counts_in_the_clock_of_the_codec() {
        for (clock_rate, step) in [(8000, 160), (16_000, 320), (48_000, 960)] {
            let mut reception = Reception::new(1, 0);
            for n in 0..400u32 {
                reception.time(n * step, MS * (n * 20 + n % 2 * 10), clock_rate);
            }
            let jitter_ms = reception.jitter_ms();
            assert!((9.5..=10.0).contains(&jitter_ms), "{jitter_ms} at {clock_rate}");
            assert_eq!(reception.jitter(), (jitter_ms * clock_rate as f32 / 1000.0) as u32);
        }
    }

    #[test]
    fn change_of_clock_is_no_jitter_and_keeps_what_was() {
        let mut reception = Reception::new(1, 0);
        for n in 0..400u32 {
            reception.time(n * 160, MS * (n * 20 + n % 2 * 10), 8000);
        }
        let before = reception.jitter_ms();
        reception.time(77, MS * 8000, 48_000);
        assert!((reception.jitter_ms() - before).abs() < 0.1);
        assert!(reception.most_jitter_ms() >= before);
        reception.time(77 + 960, MS * 8020, 48_000);
        assert!(reception.jitter_ms() < before);
    }

    /// RFC 3611 §4.7.2: what comes late is not lost.
    #[test]
    fn losses_are_counted_when_they_are_certain() {
        let mut reception = Reception::new(1, 0);
        for sequence in 1..200 {
            // 50 is late by three, 100 to 109 never come.
            if sequence != 50 && !(100..110).contains(&sequence) {
                reception.arrive(sequence);
            }
            if sequence == 53 {
                assert_eq!(reception.arrive(50), Arrival::Late);
            }
        }
        let spread = reception.bursts().spread(0.05);
        assert_eq!(reception.lost(), 10);
        assert!((spread.burst_ratio - 9.5).abs() < 0.01, "{spread:?}");
        // A gap of 2000 packets and what follows.
        reception.arrive(2200);
        let spread = reception.bursts().spread(0.9);
        assert_eq!(reception.lost(), 10 + 2000);
        assert!(spread.burst_ratio > 50.0, "{spread:?}");
    }
}
