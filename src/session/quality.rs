//! How the audio of a call was: what media counted goes into the history, the metrics and the logs.
//!
//! The figures come when media has let go of a call, which is after the call has left the session;
//! the session is not gone before they came.

use std::fmt;
use std::time::{Duration, Instant};

use super::Session;
use super::codecs::media_codec;
use super::exchange::{Exchange, Role, Timer};
use crate::media::engine::{Codec, Figures, UnitId};
use crate::media::frame::Rate;
use crate::media::quality::Band;
use crate::scenario::command::Object;
use crate::scenario::event::{CallEvent, Statistics};
use crate::scenario::worker::Script;
use crate::stats;
use crate::storage::record::AudioRecord;

/// A call that is over and whose figures are awaited.
pub struct Ended {
    unit: UnitId,
    call: Object,
    /// Of its row in the history.
    row: usize,
    /// `Disconnected`, where the script wants to know the figures.
    event: Option<CallEvent>,
}

/// What few scripts ask about audio, and what costs events and time: told where the name occurs.
#[derive(Default)]
pub struct Questions {
    statistics: bool,
    audio_quality: bool,
}

impl Session {
    pub fn set_questions(&mut self, scripts: &[Script]) {
        let occurs = |name: &str| scripts.iter().any(|script| script.source.contains(name));
        self.questions = Questions {
            statistics: occurs("statistics"),
            audio_quality: occurs("AudioQualityDetected"),
        };
    }

    /// `Disconnected`: at once, or with the figures if the script asks for them.
    pub(super) fn tell_end(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        event: CallEvent,
    ) {
        let ended = self.ended.last_mut().filter(|ended| ended.call == object);
        match ended.filter(|_| self.questions.statistics) {
            Some(ended) => {
                ended.event = Some(event);
                exchange.timers.arm(Timer::Figures(self.place.session, object), now + PATIENCE);
            }
            None => self.call_event(exchange, object, event),
        }
    }

    /// Media is too late: the event goes without.
    pub fn on_figures_timer(&mut self, exchange: &mut Exchange, object: Object) {
        let ended = self.ended.iter_mut().find(|ended| ended.call == object);
        if let Some(event) = ended.and_then(|ended| ended.event.take()) {
            self.call_event(exchange, object, event);
        }
    }

    /// `AudioQualityDetected`, where it is another than before.
    pub(super) fn tell_quality(&mut self, exchange: &mut Exchange, object: Object) {
        let Some(call) = self.calls.get_mut(&object).filter(|_| self.questions.audio_quality)
        else {
            return;
        };
        let Some(agreed) = &call.agreed else { return };
        let is_hd = Band::of(media_codec(agreed.codec)) != Band::Narrow;
        if call.is_hd.replace(is_hd) != Some(is_hd) {
            self.call_event(exchange, object, CallEvent::AudioQualityDetected { is_hd });
        }
    }

    /// Lets media close a call's unit; its row is the last one.
    pub(super) fn close_audio(&mut self, exchange: &mut Exchange, object: Object, unit: UnitId) {
        if let Some(row) = self.record.calls.len().checked_sub(1) {
            self.ended.push(Ended { unit, call: object, row, event: None });
            exchange.own_unit(unit, self.place.session, Role::Ended(object));
        }
        exchange.close_unit(self.place, unit);
    }

    pub(super) fn on_figures(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        unit: UnitId,
        figures: &Figures,
    ) {
        exchange.forget_unit(unit);
        let Some(place) = self.ended.iter().position(|ended| ended.unit == unit) else { return };
        let Ended { row, event, .. } = self.ended.remove(place);
        exchange.timers.disarm(Timer::Figures(self.place.session, object));
        if let Some(mut event) = event {
            if let CallEvent::Disconnected { statistics, .. } = &mut event {
                *statistics = figures.codec.map(|codec| Box::new(told(codec, figures)));
            }
            self.call_event(exchange, object, event);
        }
        if let Some(codec) = figures.codec.filter(|_| has_flowed(figures)) {
            count(codec, figures);
            self.log_call(exchange, object, &Heard { codec, figures }.to_string());
            let quality = audio_quality(codec);
            if rank(quality) > rank(&self.record.audio_quality) {
                quality.clone_into(&mut self.record.audio_quality);
            }
            if let Some(call) = self.record.calls.get_mut(row) {
                call.audio = Some(Box::new(record(codec, figures)));
            }
        }
        self.proceed_with_end(now, exchange);
    }

    /// Media did not say in time.
    pub(super) fn give_figures_up(&mut self, exchange: &mut Exchange) {
        for ended in std::mem::take(&mut self.ended) {
            exchange.timers.disarm(Timer::Figures(self.place.session, ended.call));
            exchange.forget_unit(ended.unit);
        }
    }
}

/// What the script is told.
fn told(codec: Codec, figures: &Figures) -> Statistics {
    // Tenths and hundredths say enough, and read well.
    let tenths = |ms: f32| (f64::from(ms) * 10.0).round() / 10.0;
    let hundredths = |mos: f32| (f64::from(mos) * 100.0).round() / 100.0;
    Statistics {
        codec: name(codec),
        packets_received: figures.packets_received,
        packets_sent: figures.packets_sent,
        packets_lost: figures.packets_lost,
        packets_discarded: figures.packets_discarded,
        concealed_ms: figures.concealed.as_millis() as u64,
        lost_by_peer: figures.lost_by_peer,
        jitter_ms: tenths(figures.jitter_ms),
        jitter_most_ms: tenths(figures.jitter_most_ms),
        jitter_at_peer_ms: tenths(figures.jitter_at_peer_ms),
        round_trip_ms: tenths(figures.round_trip_ms),
        mos: hundredths(figures.mos),
        mos_at_peer: hundredths(figures.mos_at_peer),
    }
}

fn has_flowed(figures: &Figures) -> bool {
    figures.packets_received + figures.packets_sent > 0
}

/// Of calls in which something came.
fn count(codec: Codec, figures: &Figures) {
    if figures.packets_received == 0 {
        return;
    }
    let marks = match Band::of(codec) {
        Band::Narrow => &stats::CALL_MOS_NARROWBAND,
        Band::Wide => &stats::CALL_MOS_WIDEBAND,
        Band::Full => &stats::CALL_MOS_FULLBAND,
    };
    marks.observe(figures.mos);
    stats::CALL_LOSS.observe(loss(figures));
    stats::CALL_JITTER.observe(figures.jitter_ms / 1000.0);
    if figures.round_trip_ms > 0.0 {
        stats::CALL_ROUND_TRIP.observe(figures.round_trip_ms / 1000.0);
    }
}

/// Share of what should have come.
fn loss(figures: &Figures) -> f32 {
    let missed = figures.packets_lost + figures.packets_discarded;
    let expected = (figures.packets_received + figures.packets_lost).max(1);
    (missed as f32 / expected as f32).min(1.0)
}

fn record(codec: Codec, figures: &Figures) -> AudioRecord {
    // Negative or not a number: 0.
    let micros = |ms: f32| (ms * 1000.0) as u64;
    let hundredths = |mos: f32| (mos * 100.0).round() as u64;
    AudioRecord {
        codec: name(codec).to_owned(),
        packets_received: figures.packets_received,
        packets_sent: figures.packets_sent,
        packets_lost: figures.packets_lost,
        packets_discarded: figures.packets_discarded,
        concealed_ms: figures.concealed.as_millis() as u64,
        lost_by_peer: figures.lost_by_peer,
        jitter_us: micros(figures.jitter_ms),
        jitter_most_us: micros(figures.jitter_most_ms),
        jitter_at_peer_us: micros(figures.jitter_at_peer_ms),
        round_trip_us: micros(figures.round_trip_ms),
        mos: hundredths(figures.mos),
        mos_at_peer: hundredths(figures.mos_at_peer),
    }
}

/// As SDP has it.
fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Pcmu => "PCMU/8000",
        Codec::Pcma => "PCMA/8000",
        Codec::G722 => "G722/8000",
        Codec::Opus => "opus/48000",
        Codec::L16(Rate::Narrow) => "L16/8000",
        Codec::L16(Rate::Wide) => "L16/16000",
        Codec::L16(Rate::Full) => "L16/48000",
    }
}

/// Section 5.1 of the Management API reference.
fn audio_quality(codec: Codec) -> &'static str {
    match Band::of(codec) {
        Band::Narrow => "Standard",
        Band::Wide => "HD",
        Band::Full => "Ultra HD",
    }
}

fn rank(audio_quality: &str) -> usize {
    ["", "Standard", "HD", "Ultra HD"].iter().position(|q| *q == audio_quality).unwrap_or_default()
}

/// One line of the logs.
struct Heard<'a> {
    codec: Codec,
    figures: &'a Figures,
}

impl fmt::Display for Heard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures;
        let Figures { packets_received, packets_lost, jitter_ms, jitter_most_ms, .. } = figures;
        let codec = name(self.codec);
        write!(f, "audio {codec}: heard {packets_received} packets, {packets_lost} lost")?;
        if figures.packets_discarded > 0 {
            write!(f, ", {} too late", figures.packets_discarded)?;
        }
        write!(f, ", jitter {jitter_ms:.1} ms (most {jitter_most_ms:.1})")?;
        if figures.mos > 0.0 {
            write!(f, ", MOS {:.2}", figures.mos)?;
        }
        let Figures { packets_sent, lost_by_peer, jitter_at_peer_ms, .. } = figures;
        write!(f, "; said {packets_sent}")?;
        if figures.mos_at_peer > 0.0 {
            let mos = figures.mos_at_peer;
            write!(f, ", {lost_by_peer} lost, jitter {jitter_at_peer_ms:.1} ms, MOS {mos:.2}")?;
        }
        if figures.round_trip_ms > 0.0 {
            write!(f, "; round trip {:.1} ms", figures.round_trip_ms)?;
        }
        Ok(())
    }
}

/// Media answers at once, unless its thread is gone or stuck.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures = Figures {
        packets_received: 980,
        packets_sent: 1000,
        packets_lost: 20,
        packets_late: 0,
        packets_discarded: 5,
        concealed: std::time::Duration::from_millis(500),
        jitter_ms: 2.34,
        jitter_most_ms: 8.0,
        round_trip_ms: 41.5,
        lost_by_peer: 10,
        jitter_at_peer_ms: 1.5,
        codec: Some(Codec::Pcma),
        mos: 4.1,
        mos_at_peer: 4.26,
        recorded: std::time::Duration::ZERO,
    };

    #[test]
    fn line_says_both_directions() {
        assert_eq!(
            Heard { codec: Codec::Pcma, figures: &FIGURES }.to_string(),
            "audio PCMA/8000: heard 980 packets, 20 lost, 5 too late, jitter 2.3 ms (most 8.0), \
             MOS 4.10; said 1000, 10 lost, jitter 1.5 ms, MOS 4.26; round trip 41.5 ms"
        );
        let few = Figures { packets_sent: 7, ..Figures::default() };
        assert_eq!(
            Heard { codec: Codec::Opus, figures: &few }.to_string(),
            "audio opus/48000: heard 0 packets, 0 lost, jitter 0.0 ms (most 0.0); said 7"
        );
    }

    #[test]
    fn row_has_whole_numbers() {
        let audio = record(Codec::G722, &FIGURES);
        assert_eq!((audio.jitter_us, audio.round_trip_us), (2340, 41_500));
        assert_eq!((audio.mos, audio.mos_at_peer, audio.concealed_ms), (410, 426, 500));
        // 25 of 1000.
        assert_eq!(loss(&FIGURES), 0.025);
    }
}
