//! What is told of a call: the counts of its streams, and what they say of how it sounded.

use std::time::Duration;

use super::engine::{Codec, Figures};
use super::outgoing::Outgoing;
use super::quality::{Conditions, Quality};
use super::reception::Reception;
use super::rtcp::Control;
use super::rtcp_extended::VoipMetrics;

/// Where the figures of a call come from.
pub struct Sources<'a> {
    pub reception: Option<&'a Reception>,
    /// Of SSRCs that are gone.
    pub before: Counts,
    pub control: &'a Control,
    pub outgoing: &'a Outgoing,
    /// What we send, and what came last.
    pub codec: Codec,
    pub heard: Codec,
    pub ptime: Duration,
    pub packets_late: u64,
    pub playout: Playout,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub received: u64,
    pub lost: u64,
}

/// What the jitter buffer of a call did, where it has one: a call that is only passed on has none.
#[derive(Debug, Default, Clone, Copy)]
pub struct Playout {
    /// Packets that came too late or too many for it.
    pub discarded: u64,
    /// Audio that was made up.
    pub concealed: Duration,
    /// `None`: there is no buffer.
    pub delay: Option<Duration>,
}

impl Sources<'_> {
    pub fn figures(&self) -> Figures {
        let reception = self.reception;
        let own_clock = self.outgoing.clock_rate() as f32;
        let has_report = self.control.has_report;
        Figures {
            packets_received: self.received(),
            packets_sent: self.outgoing.packets,
            packets_lost: self.lost(),
            packets_late: self.packets_late,
            packets_discarded: self.playout.discarded,
            concealed: self.playout.concealed,
            jitter_ms: reception.map_or(0.0, Reception::jitter_ms),
            jitter_most_ms: reception.map_or(0.0, Reception::most_jitter_ms),
            round_trip_ms: self.round_trip().as_secs_f32() * 1000.0,
            lost_by_peer: self.control.lost_by_peer.into(),
            jitter_at_peer_ms: self.control.jitter_at_peer as f32 * 1000.0 / own_clock,
            codec: Some(self.codec),
            mos: if self.received() > 0 { self.quality().mos } else { 0.0 },
            mos_at_peer: if has_report { self.quality_at_peer() } else { 0.0 },
            recorded: Duration::ZERO,
        }
    }

    /// How we hear the peer, as RFC 3611 §4.7 tells it.
    pub fn metrics(&self) -> VoipMetrics {
        let expected = self.expected().max(1) as f32;
        let rate = |packets: u64| (packets as f32 * 256.0 / expected).min(255.0) as u8;
        let quality = self.quality();
        let spread = self.reception.map(|reception| reception.bursts().spread(self.loss()));
        let packets_ms = |packets: f32| (packets * self.ptime.as_millis() as f32) as u16;
        let milliseconds = |duration: Duration| duration.as_millis().min(u16::MAX.into()) as u16;
        let tenths = |mos: f32| Some((mos * 10.0).round() as u8);
        let buffer = self.playout.delay.unwrap_or_default();
        VoipMetrics {
            loss_rate: rate(self.lost()),
            discard_rate: rate(self.playout.discarded),
            burst_density: spread.map_or(0, |spread| spread.burst_density),
            gap_density: spread.map_or(0, |spread| spread.gap_density),
            burst_ms: spread.map_or(0, |spread| packets_ms(spread.burst_packets)),
            gap_ms: spread.map_or(0, |spread| packets_ms(spread.gap_packets)),
            round_trip_ms: milliseconds(self.round_trip()),
            end_system_ms: milliseconds(self.ptime + buffer),
            // §4.7.5: 0 to 100, of the narrowband scale. The wider ones are brought to it.
            r_factor: Some((quality.r * 100.0 / quality.band.best().max(100.0)) as u8),
            mos_listening: tenths(quality.mos_listening),
            mos_conversation: tenths(quality.mos),
            jitter_buffer_ms: milliseconds(buffer),
            jitter_buffer_most_ms: milliseconds(buffer),
        }
    }

    fn quality(&self) -> Quality {
        let loss = self.loss();
        let bursts = self.reception.map(Reception::bursts).unwrap_or_default();
        let jitter_ms = self.reception.map_or(0.0, Reception::jitter_ms);
        let conditions = Conditions {
            codec: self.heard,
            loss,
            burst_ratio: bursts.spread(loss).burst_ratio,
            delay: self.delay(jitter_ms, self.playout.delay),
        };
        conditions.quality()
    }

    /// MOS of what the peer hears: its own word, else from its reports.
    fn quality_at_peer(&self) -> f32 {
        let told = self.control.peer_metrics().and_then(|metrics| {
            let mos = metrics.mos_conversation.or(metrics.mos_listening)?;
            Some(f32::from(mos) / 10.0)
        });
        told.unwrap_or_else(|| {
            let sent = self.outgoing.packets.max(1) as f32;
            let jitter = self.control.jitter_at_peer as f32;
            let conditions = Conditions {
                codec: self.codec,
                loss: (self.control.lost_by_peer as f32 / sent).min(1.0),
                burst_ratio: 1.0,
                delay: self.delay(jitter * 1000.0 / self.outgoing.clock_rate() as f32, None),
            };
            conditions.quality().mos
        })
    }

    /// One packet, half of the round trip, and the jitter buffer: twice the jitter where it is not
    /// ours to know.
    fn delay(&self, jitter_ms: f32, buffer: Option<Duration>) -> Duration {
        let guess = || Duration::from_secs_f32((jitter_ms * 2.0 / 1000.0).clamp(0.0, 1.0));
        self.ptime + self.round_trip() / 2 + buffer.unwrap_or_else(guess)
    }

    fn round_trip(&self) -> Duration {
        self.control.round_trip.unwrap_or_default()
    }

    fn received(&self) -> u64 {
        self.before.received + self.reception.map_or(0, |reception| reception.received)
    }

    fn lost(&self) -> u64 {
        self.before.lost + self.reception.map_or(0, Reception::lost)
    }

    fn expected(&self) -> u64 {
        self.received() + self.lost()
    }

    /// Lost and discarded, of all.
    fn loss(&self) -> f32 {
        let missed = (self.lost() + self.playout.discarded) as f32;
        (missed / self.expected().max(1) as f32).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const MS: Duration = Duration::from_millis(1);

    /// 500 packets, of which every `each`th does not come.
    fn reception(each: u16) -> Reception {
        let mut reception = Reception::new(1, 0);
        for sequence in 1..500 {
            if sequence % each != 0 {
                reception.arrive(sequence);
                reception.time(u32::from(sequence) * 160, MS * (20 * u32::from(sequence)), 8000);
            }
        }
        reception
    }

    fn with<T>(reception: Option<&Reception>, tell: impl FnOnce(Sources<'_>) -> T) -> T {
        let now = Instant::now();
        let mut control = Control::new(now, *b"0123456789abcdef01234567");
        control.round_trip = Some(60 * MS);
        tell(Sources {
            reception,
            before: Counts::default(),
            control: &control,
            outgoing: &Outgoing::new(now, 1, 0, 0),
            codec: Codec::Pcmu,
            heard: Codec::Pcmu,
            ptime: 20 * MS,
            packets_late: 0,
            playout: Playout::default(),
        })
    }

    #[test]
    fn clean_call_is_as_good_as_its_codec() {
        let figures = with(Some(&reception(1000)), |sources| sources.figures());
        assert_eq!((figures.packets_received, figures.packets_lost), (500, 0));
        // G.107: R 93.2.
        assert!((figures.mos - 4.41).abs() < 0.01, "{figures:?}");
        assert_eq!(figures.round_trip_ms, 60.0);
        // No report of the peer: nothing is known.
        assert_eq!(figures.mos_at_peer, 0.0);
    }

    /// 5 % by G.107 (7-29): R 77.4, annex B: 3.92.
    #[test]
    fn losses_make_it_worse() {
        let reception = reception(20);
        let figures = with(Some(&reception), |sources| sources.figures());
        assert_eq!(figures.packets_lost, 24);
        assert!((figures.mos - 3.94).abs() < 0.05, "{figures:?}");
        let metrics = with(Some(&reception), |sources| sources.metrics());
        // 24 of 500 of 256.
        assert_eq!((metrics.loss_rate, metrics.discard_rate), (12, 0));
        assert_eq!((metrics.r_factor, metrics.mos_conversation), (Some(77), Some(39)));
        assert_eq!((metrics.round_trip_ms, metrics.end_system_ms), (60, 20));
        let late = Playout { discarded: 24, ..Playout::default() };
        let worse =
            with(Some(&reception), |sources| Sources { playout: late, ..sources }.figures());
        assert!(worse.mos < figures.mos - 0.3, "{worse:?}");
    }

    #[test]
    fn call_in_which_nothing_came_has_no_mark() {
        let figures = with(None, |sources| sources.figures());
        assert_eq!((figures.mos, figures.packets_received), (0.0, 0));
        let _written = with(None, |sources| sources.metrics());
    }
}
