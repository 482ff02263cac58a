//! Which codecs a call may speak, and how: from the names of the config to those of offers, and
//! from an agreement to what media is told.
//!
//! A joined pair in one codec is relayed without decoding, so each leg prefers what the other has
//! or can have.

use std::time::Duration;

use super::Session;
use super::call::{Call, Phase};
use crate::config::{self, Config};
use crate::media::engine;
use crate::media::format::{self, Formats, OpusSettings, Reports};
use crate::media::frame::Rate;
use crate::scenario::command::Object;
use crate::sdp::format::{Clock, Codec, Format};
use crate::sdp::offer_answer::{self, Agreed, Wishes};
use crate::sdp::opus::Opus;

/// What the other leg of a call has or can have.
#[derive(Default)]
pub struct Preference {
    codecs: Vec<Codec>,
    ptime: Option<Duration>,
    opus: Option<Opus>,
}

impl Preference {
    /// These codecs, with those of the other leg in front.
    pub fn order(&self, codecs: &[Codec]) -> Vec<Codec> {
        let (mut first, rest): (Vec<_>, Vec<_>) =
            codecs.iter().partition(|codec| self.codecs.contains(codec));
        first.extend(rest);
        first
    }

    /// These wishes, so that what comes suits the other leg as it is.
    pub fn fit(&self, wishes: Wishes) -> Wishes {
        Wishes {
            ptime: self.ptime.unwrap_or(wishes.ptime),
            opus: match self.opus {
                Some(opus) => Opus { stereo: false, ..wishes.opus.narrowed_to(opus) },
                None => wishes.opus,
            },
            ..wishes
        }
    }

    pub fn of_codec(codec: Codec) -> Self {
        Self { codecs: vec![codec], ..Self::default() }
    }

    fn of_agreed(agreed: &Agreed) -> Self {
        let opus = (agreed.codec == Codec::Opus).then_some(agreed.opus);
        Self { ptime: Some(agreed.ptime), opus, ..Self::of_codec(agreed.codec) }
    }

    /// Of a call that is offered and not answered.
    fn of_alerting(call: &Call) -> Option<Self> {
        let Phase::Alerting { offer: Some(offer), .. } = &call.phase else { return None };
        let offered = offer_answer::glance(offer)?;
        let is_offered =
            |codec: &&Codec| offered.formats.iter().any(|(_, f)| *f == Format::Audio(**codec));
        let codecs = call.codecs.iter().filter(is_offered).copied().collect();
        Some(Self { codecs, ptime: offered.ptime, opus: offered.opus })
    }
}

impl Session {
    /// What the leg has or can have that this call is joined with, as far as can be told: the
    /// latest that stands, else the latest that is to be answered.
    pub(super) fn preference_for(&self, object: Object) -> Preference {
        let others = || self.calls.values().rev().filter(|call| call.object != object);
        let agreed = others().find_map(|call| call.agreed.as_ref()).map(Preference::of_agreed);
        agreed.or_else(|| others().find_map(Preference::of_alerting)).unwrap_or_default()
    }
}

/// What a trunk or user may speak, in the order of preference.
pub fn codecs_of(config: &Config, own: Option<&[config::Codec]>) -> Vec<Codec> {
    let configured = own.filter(|own| !own.is_empty()).unwrap_or(&config.media.codecs);
    let codec = |codec: &config::Codec| match codec {
        config::Codec::Pcmu => Codec::Pcmu,
        config::Codec::Pcma => Codec::Pcma,
        config::Codec::G722 => Codec::G722,
        config::Codec::Opus => Codec::Opus,
        config::Codec::L16(config::L16::Hz8000) => Codec::L16(Clock::Narrow),
        config::Codec::L16(config::L16::Hz16000) => Codec::L16(Clock::Wide),
        config::Codec::L16(config::L16::Hz48000) => Codec::L16(Clock::Full),
    };
    configured.iter().map(codec).collect()
}

/// How the operator wants audio to come.
pub fn wishes_of(config: &Config) -> Wishes {
    let media = &config.media;
    let opus =
        Opus { max_bitrate: media.opus_bitrate, fec: true, dtx: media.opus_dtx, ..Opus::default() };
    Wishes {
        ptime: media.ptime,
        comfort_noise: media.comfort_noise,
        opus,
        extended_reports: media.rtcp_xr,
    }
}

/// Media's name of a codec.
pub fn media_codec(codec: Codec) -> engine::Codec {
    match codec {
        Codec::Pcmu => engine::Codec::Pcmu,
        Codec::Pcma => engine::Codec::Pcma,
        Codec::G722 => engine::Codec::G722,
        Codec::Opus => engine::Codec::Opus,
        Codec::L16(clock) => engine::Codec::L16(rate(clock)),
    }
}

/// What the peer may send.
pub fn media_formats(agreed: &Agreed) -> Formats {
    Formats::new(agreed.own_formats.iter().map(|&(number, format)| {
        let format = match format {
            Format::Audio(codec) => format::Format::Audio(media_codec(codec)),
            Format::Event(clock) => format::Format::Event(rate(clock)),
            Format::Noise(clock) => format::Format::Noise(rate(clock)),
        };
        (number, format)
    }))
}

pub fn media_opus(opus: Opus) -> OpusSettings {
    OpusSettings {
        max_bitrate: opus.max_bitrate,
        max_playback_rate: opus.max_playback_rate,
        fec: opus.fec,
        dtx: opus.dtx,
        cbr: opus.cbr,
    }
}

/// What the peer wants to be told.
pub fn media_reports(agreed: &Agreed) -> Reports {
    agreed.reports.map_or_else(Reports::default, |reports| Reports {
        voip_metrics: reports.voip_metrics,
        reference_time: reports.receiver_rtt,
    })
}

pub fn rate(clock: Clock) -> Rate {
    match clock {
        Clock::Narrow => Rate::Narrow,
        Clock::Wide => Rate::Wide,
        Clock::Full => Rate::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Codec::{G722, Opus as OpusCodec, Pcma, Pcmu};

    #[test]
    fn codecs_of_the_other_leg_come_first_in_the_configured_order() {
        let configured = [OpusCodec, G722, Pcma, Pcmu];
        let prefer = |codecs: &[Codec]| {
            let preference = Preference { codecs: codecs.to_vec(), ..Preference::default() };
            preference.order(&configured)
        };
        assert_eq!(prefer(&[]), configured);
        assert_eq!(prefer(&[Pcmu]), [Pcmu, OpusCodec, G722, Pcma]);
        assert_eq!(prefer(&[Pcmu, Pcma]), [Pcma, Pcmu, OpusCodec, G722]);
        // What this leg may not speak is not added.
        assert_eq!(prefer(&[Codec::L16(Clock::Wide)]), configured);
    }

    #[test]
    fn what_comes_for_the_other_leg_suits_its_receiver() {
        let theirs = Opus { max_playback_rate: 16_000, stereo: true, ..Opus::default() };
        let ptime = Duration::from_millis(40);
        let preference = Preference { ptime: Some(ptime), opus: Some(theirs), codecs: Vec::new() };
        let wishes = preference.fit(Wishes::default());
        assert_eq!((wishes.ptime, wishes.opus.max_playback_rate), (ptime, 16_000));
        assert!(wishes.opus.fec && !wishes.opus.stereo);
    }
}
