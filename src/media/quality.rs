//! How a call sounds, as the E-model estimates it from what was measured (ITU-T G.107, G.107.1 and
//! G.107.2, simplified).
//!
//! ```text
//! R   = best of the codec's band - Id(delay) - Ie,eff(codec, losses)     G.107 (7-1)
//! MOS = 1 + 0.035 R + R (R - 60) (100 - R) 7e-6                          G.107 annex B
//! ```
//! Levels, room noise and echo are taken as G.107's defaults, which leave 93.2 of the narrowband
//! scale. Each codec stands on the scale of its band: 4.4 is the best of a narrowband call and no
//! worse than 4.5 of a wideband one. What is estimated is what the network does, not the speech.

use std::time::Duration;

use super::engine::Codec;
use super::frame::Rate;

/// The scale that a figure stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Band {
    /// G.107: up to R 93.2.
    Narrow,
    /// G.107.1: up to R 129.
    Wide,
    /// G.107.2: up to R 148.
    Full,
}

/// What was measured of one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    pub codec: Codec,
    /// Fraction of packets that were not heard: lost, or too late.
    pub loss: f32,
    /// From 1: how much longer stretches of losses are than by chance.
    pub burst_ratio: f32,
    /// From mouth to ear, as far as we know of it.
    pub delay: Duration,
}

/// An estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    pub band: Band,
    /// Rating on the band's scale, 0 to 93.2, 129 or 148.
    pub r: f32,
    /// Of listening only, 1 to 4.5.
    pub mos_listening: f32,
    /// With what the delay does to a conversation.
    pub mos: f32,
}

impl Conditions {
    pub fn quality(&self) -> Quality {
        let band = Band::of(self.codec);
        let listening = band.best() - self.equipment_impairment();
        let r = listening - delay_impairment(self.delay);
        Quality {
            band,
            r: r.clamp(0.0, band.best()),
            mos_listening: band.mos(listening),
            mos: band.mos(r),
        }
    }

    /// Ie,eff of G.107 (7-29): what the codec does, and what losses do to it.
    fn equipment_impairment(&self) -> f32 {
        let (own, robustness) = codec_impairment(self.codec);
        let percent = self.loss.clamp(0.0, 1.0) * 100.0;
        let worst = Band::of(self.codec).worst_impairment();
        own + (worst - own) * percent / (percent / self.burst_ratio.max(1.0) + robustness)
    }
}

impl Band {
    pub fn of(codec: Codec) -> Self {
        match codec.rate() {
            Rate::Narrow => Self::Narrow,
            Rate::Wide => Self::Wide,
            Rate::Full => Self::Full,
        }
    }

    /// R without any impairment but G.107's defaults.
    pub fn best(self) -> f32 {
        match self {
            Self::Narrow => 93.2,
            Self::Wide => 129.0,
            Self::Full => 148.0,
        }
    }

    /// What losses come to at most: G.107 (7-29), G.107.1 (7-21), G.107.2 (7-24).
    fn worst_impairment(self) -> f32 {
        match self {
            Self::Narrow | Self::Wide => 95.0,
            Self::Full => 132.0,
        }
    }

    /// G.107 annex B; the wider scales are brought to 100 first.
    fn mos(self, r: f32) -> f32 {
        let r = match self {
            Self::Narrow => r,
            Self::Wide => r / 1.29,
            Self::Full => r / 1.48,
        };
        match r {
            ..=0.0 => 1.0,
            100.0.. => 4.5,
            r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
        }
    }
}

/// Ie and Bpl: impairment without losses, and robustness against random ones.
fn codec_impairment(codec: Codec) -> (f32, f32) {
    match codec {
        // G.113 table I.3, with concealment.
        Codec::Pcmu | Codec::Pcma | Codec::L16(Rate::Narrow) => (0.0, 25.1),
        // G.113 table IV.1 at 64 kbit/s. No robustness of G.722 is published: the least that table
        // I.3 has of a predictive codec that conceals.
        Codec::G722 => (13.0, 16.1),
        // As it is, with the concealment of G.711.
        Codec::L16(Rate::Wide | Rate::Full) => (0.0, 25.1),
        // Al-Ahmadi, Pocta and Melvin 2021 at 25 kbit/s with super-wideband speech; ITU-T has none.
        Codec::Opus => (20.2, 11.3),
    }
}

/// Idd of G.107 (7-27) and (7-28): nothing up to 100 ms.
fn delay_impairment(delay: Duration) -> f32 {
    let ms = delay.as_secs_f32() * 1000.0;
    if ms <= 100.0 {
        return 0.0;
    }
    let x = (ms / 100.0).log2();
    let sixth_root = |value: f32| value.sqrt().cbrt();
    25.0 * (sixth_root(1.0 + x.powi(6)) - 3.0 * sixth_root(1.0 + (x / 3.0).powi(6)) + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(codec: Codec, loss: f32, delay_ms: u64) -> Quality {
        let delay = Duration::from_millis(delay_ms);
        Conditions { codec, loss, burst_ratio: 1.0, delay }.quality()
    }

    #[track_caller]
    fn near(value: f32, expected: f32, margin: f32) {
        assert!((value - expected).abs() <= margin, "{value}, not {expected}");
    }

    /// G.107 §7.7: the defaults give R = 93.2, and annex B a MOS of 4.41 for it.
    #[test]
    fn g107_defaults_are_93_2_and_4_41() {
        let quality = of(Codec::Pcma, 0.0, 0);
        near(quality.r, 93.2, 0.01);
        near(quality.mos, 4.41, 0.005);
        assert_eq!(quality.band, Band::Narrow);
    }

    /// G.107 annex B, table B.1: lower limits of R and MOS of the classes of G.109.
    #[test]
    fn g107_annex_b_table_b1() {
        for (r, mos) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            near(Band::Narrow.mos(r), mos, 0.01);
        }
        near(Band::Wide.mos(129.0), 4.5, 0.001);
        near(Band::Narrow.mos(-3.0), 1.0, 0.0);
    }

    /// G.107 figure 3 and G.114: 150 ms are hardly felt, 400 ms take R to about 70.
    #[test]
    fn delay_is_felt_from_100_ms_on() {
        near(delay_impairment(Duration::from_millis(100)), 0.0, 0.0);
        near(delay_impairment(Duration::from_millis(150)), 0.1, 0.1);
        near(delay_impairment(Duration::from_millis(200)), 3.0, 0.1);
        near(delay_impairment(Duration::from_millis(400)), 24.0, 0.6);
        assert!(of(Codec::Pcmu, 0.0, 400).mos < of(Codec::Pcmu, 0.0, 400).mos_listening);
    }

    /// 95 x 5 / (5 + 25.1) = 15.8.
    #[test]
    fn losses_cost_what_g107_7_29_says() {
        near(of(Codec::Pcmu, 0.05, 0).r, 93.2 - 15.78, 0.01);
        near(of(Codec::Pcmu, 0.20, 0).r, 93.2 - 95.0 * 20.0 / 45.1, 0.01);
        // In bursts of twice the length: 95 x 5 / (2.5 + 25.1).
        let conditions =
            Conditions { codec: Codec::Pcmu, loss: 0.05, burst_ratio: 2.0, delay: Duration::ZERO };
        near(conditions.quality().r, 93.2 - 17.21, 0.01);
        near(of(Codec::Pcmu, 1.0, 0).mos, 1.0, 0.5);
    }

    #[test]
    fn codecs_stand_on_the_scale_of_their_band() {
        // 116 of 129: 89.9 of 100.
        let wide = of(Codec::G722, 0.0, 0);
        assert_eq!(wide.band, Band::Wide);
        near(wide.r, 116.0, 0.01);
        near(wide.mos, 4.34, 0.01);
        let full = of(Codec::Opus, 0.0, 0);
        assert_eq!(full.band, Band::Full);
        near(full.mos, 4.24, 0.05);
        assert!(of(Codec::Opus, 0.05, 0).mos < full.mos);
    }

    #[test]
    fn nonsense_stays_on_the_scale() {
        for loss in [-1.0, 0.0, 1.0, 2.0, f32::NAN] {
            let quality = of(Codec::Pcmu, loss, 100_000);
            assert!((1.0..=4.5).contains(&quality.mos), "{quality:?}");
        }
    }
}
