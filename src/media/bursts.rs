//! How losses are spread: bursts and gaps (RFC 3611 §4.7.2 and appendix A.2), and how much longer
//! runs of lost packets are than by chance (BurstR of ITU-T G.107 §7.5).

/// Counts over packets in their order, each of which came or did not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bursts {
    /// Packets that came since the last that did not.
    came: u32,
    /// Losses of the burst under way.
    burst_losses: u32,
    lost: u64,
    /// Stretches of losses with nothing between.
    runs: u64,
    /// Transitions of A.2: 1 is a packet of a gap, 2 one of a burst that came, 3 one of a burst
    /// that is lost, 4 a lone loss in a gap.
    c11: u64,
    c13: u64,
    c14: u64,
    c22: u64,
    c23: u64,
    c33: u64,
}

/// What a report says of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Losses in bursts, and in the gaps between, as fractions of 256.
    pub burst_density: u8,
    pub gap_density: u8,
    /// Mean lengths in packets.
    pub burst_packets: f32,
    pub gap_packets: f32,
    /// 1 for losses by chance, more for bursts.
    pub burst_ratio: f32,
}

impl Bursts {
    pub fn come(&mut self, packets: u32) {
        self.came = self.came.saturating_add(packets);
    }

    pub fn lose(&mut self, packets: u32) {
        for _ in 0..packets {
            self.lose_one();
        }
    }

    fn lose_one(&mut self) {
        let came = std::mem::take(&mut self.came);
        if came >= G_MIN {
            match self.burst_losses {
                1 => self.c14 += 1,
                _ => self.c13 += 1,
            }
            self.burst_losses = 1;
            self.c11 += u64::from(came);
        } else {
            self.burst_losses += 1;
            match came {
                0 => self.c33 += 1,
                _ => {
                    self.c23 += 1;
                    self.c22 += u64::from(came - 1);
                }
            }
        }
        if came > 0 || self.lost == 0 {
            self.runs += 1;
        }
        self.lost += 1;
    }

    /// `loss` is the fraction of all packets that are lost.
    pub fn spread(&self, loss: f32) -> Spread {
        // What came since the last loss is a gap that goes on.
        let c11 = self.c11 + u64::from(self.came);
        let Self { c13, c14, c22, c23, c33, .. } = *self;
        let (c31, c32) = (c13, c23);
        let ratio =
            |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f32 / whole as f32 };
        let p32 = ratio(c32, c31 + c32 + c33);
        let p23 = if c22 + c23 == 0 { 1.0 } else { 1.0 - ratio(c22, c22 + c23) };
        let total = c11 + c14 + c13 + c22 + c23 + c31 + c32 + c33;
        let gap_packets = (c11 + c14 + c13) as f32 / c13.max(1) as f32;
        let burst_packets = (total as f32 / c13.max(1) as f32 - gap_packets).max(0.0);
        let has_burst = c23 + c33 > 0;
        Spread {
            burst_density: if has_burst { fraction(p23 / (p23 + p32)) } else { 0 },
            gap_density: fraction(ratio(c14, c11 + c14)),
            burst_packets: if has_burst { burst_packets } else { 0.0 },
            gap_packets,
            burst_ratio: (ratio(self.lost, self.runs) * (1.0 - loss)).max(1.0),
        }
    }
}

fn fraction(of_one: f32) -> u8 {
    (of_one * 256.0).clamp(0.0, 255.0) as u8
}

/// RFC 3611 §4.7.2: the recommended number of packets between two losses of one burst.
pub const G_MIN: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` is lost.
    fn after(pattern: &str) -> Bursts {
        let mut bursts = Bursts::default();
        for packet in pattern.bytes() {
            match packet {
                b'x' => bursts.lose(1),
                _ => bursts.come(1),
            }
        }
        bursts
    }

    #[test]
    fn losses_far_apart_are_a_gap() {
        let pattern = format!("{}x", ".".repeat(19)).repeat(50);
        let spread = after(&pattern).spread(0.05);
        assert_eq!((spread.burst_density, spread.burst_ratio), (0, 1.0));
        // One in twenty: 49 lone losses of 950 + 49 packets, the first counts as a beginning.
        assert!((11..=13).contains(&spread.gap_density), "{spread:?}");
    }

    #[test]
    fn losses_together_are_a_burst() {
        // 100 packets come, then ten are lost: ten times.
        let pattern = format!("{}{}", ".".repeat(100), "x".repeat(10)).repeat(10);
        let spread = after(&pattern).spread(0.0909);
        assert!(spread.burst_density >= 250, "{spread:?}");
        assert_eq!(spread.gap_density, 0);
        // Ten in a row where 1 / (1 - 0.09) = 1.1 would be chance.
        assert!((spread.burst_ratio - 9.09).abs() < 0.01, "{spread:?}");
        assert!((spread.gap_packets - 101.0).abs() < 1.0, "{spread:?}");
        assert!((9.0..=10.5).contains(&spread.burst_packets), "{spread:?}");
    }

    #[test]
    fn nothing_lost_is_no_burst() {
        let spread = after(&".".repeat(1000)).spread(0.0);
        assert_eq!((spread.burst_density, spread.gap_density, spread.burst_ratio), (0, 0, 1.0));
        assert_eq!(spread.gap_packets, 1000.0);
        let spread = Bursts::default().spread(0.0);
        assert_eq!((spread.burst_density, spread.gap_packets, spread.burst_ratio), (0, 0.0, 1.0));
    }

    #[test]
    fn everything_lost_is_one_burst() {
        let mut bursts = Bursts::default();
        bursts.lose(3000);
        let spread = bursts.spread(1.0);
        assert_eq!(spread.burst_density, 255);
        assert!(spread.burst_ratio >= 1.0 && spread.burst_packets > 2000.0);
    }
}
