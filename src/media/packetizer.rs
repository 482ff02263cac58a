//! From frames of 20 ms to the packets that were agreed on: another rate, another codec, another
//! length, and a change of what is heard without a click.

use super::codec::encoder::{Encoder, EncoderSettings, MOST_BYTES};
use super::engine::Codec;
use super::frame::Frame;
use super::resample::Resampler;

/// The encoding side of one call. Made when it first says something that is not relayed, so that
/// a relayed call does without.
#[derive(Debug)]
pub struct Packetizer {
    settings: EncoderSettings,
    encoder: Encoder,
    /// Samples of a packet, at the codec's rate.
    packet: usize,
    /// Less than a packet, and the frame that was put in last.
    pending: Vec<i16>,
    payload: Box<[u8; MOST_BYTES]>,
    /// For what comes at another rate.
    resampler: Option<Resampler>,
}

/// A packet whose time has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    Payload(&'a [u8]),
    /// The peer makes this pause up by itself.
    Pause,
}

impl Packetizer {
    pub fn new(codec: Codec, settings: EncoderSettings) -> Self {
        let settings = EncoderSettings { ptime: codec.ptime(settings.ptime), ..settings };
        let rate = codec.rate();
        let packet = settings.ptime.as_millis() as usize * rate.hertz() as usize / 1000;
        Self {
            settings,
            encoder: Encoder::new(codec, &settings),
            packet,
            pending: Vec::with_capacity(packet + rate.frame()),
            payload: Box::new([0; MOST_BYTES]),
            resampler: None,
        }
    }

    /// Whether it makes these packets.
    pub fn makes(&self, codec: Codec, settings: EncoderSettings) -> bool {
        let settings = EncoderSettings { ptime: codec.ptime(settings.ptime), ..settings };
        self.encoder.codec() == codec && self.settings == settings
    }

    /// What share of our packets gets lost on the way, as the peer reports it.
    pub fn expect_loss(&mut self, percent: u8) {
        self.encoder.expect_loss(percent);
    }

    /// Takes 20 ms in, or of silence; their last sample. Where something else was heard before:
    /// after which sample.
    pub fn put(&mut self, frame: Option<&Frame>, after: Option<i16>) -> i16 {
        let start = self.pending.len();
        let rate = self.encoder.codec().rate();
        match frame {
            None => self.pending.resize(start + rate.frame(), 0),
            Some(frame) if frame.rate() == rate => self.pending.extend_from_slice(frame.samples()),
            Some(frame) => {
                let new = || Resampler::new(frame.rate(), rate);
                let converted = self.resampler.get_or_insert_with(new).process(frame);
                self.pending.extend_from_slice(converted.samples());
            }
        }
        let new = &mut self.pending[start..];
        if let Some(last) = after {
            ease(new, last);
        }
        new.last().copied().unwrap_or_default()
    }

    /// The next packet that is full.
    pub fn take(&mut self) -> Option<Packet<'_>> {
        let samples = self.pending.get(..self.packet)?;
        let bytes = self.encoder.encode(samples, &mut self.payload[..]);
        self.pending.copy_within(self.packet.., 0);
        self.pending.truncate(self.pending.len() - self.packet);
        Some(match self.payload.get(..bytes) {
            None | Some([]) => Packet::Pause,
            Some(payload) => Packet::Payload(payload),
        })
    }

    /// Timestamp units of a packet.
    pub fn units(&self) -> u32 {
        let codec = self.encoder.codec();
        self.packet as u32 * codec.clock_rate() / codec.rate().hertz()
    }

    /// Another spoke: half a packet from before is not sent later.
    pub fn clear(&mut self) {
        self.pending.clear();
    }
}

/// A step from one sound to another clicks: the difference fades in the first 2.5 ms.
fn ease(samples: &mut [i16], last: i16) {
    let length = samples.len() / 8;
    let Some(&first) = samples.first() else { return };
    let step = i32::from(last) - i32::from(first);
    for (place, sample) in samples.iter_mut().take(length).enumerate() {
        let left = step * (length - place) as i32 / (length + 1) as i32;
        let sum = i32::from(*sample) + left;
        *sample = sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::format::OpusSettings;
    use crate::media::frame::Rate;

    fn settings(ms: u64) -> EncoderSettings {
        EncoderSettings { ptime: Duration::from_millis(ms), opus: OpusSettings::default() }
    }

    fn frame(sample: i16) -> Frame {
        let mut frame = Frame::silence(Rate::Narrow);
        frame.samples_mut().fill(sample);
        frame
    }

    #[test]
    fn packets_of_each_length_carry_all_samples_in_order() {
        for (ptime, bytes) in [(1, 80), (10, 80), (20, 160), (30, 240), (40, 320), (500, 480)] {
            let mut packetizer = Packetizer::new(Codec::Pcmu, settings(ptime));
            assert!(packetizer.makes(Codec::Pcmu, settings(ptime)));
            assert!(!packetizer.makes(Codec::Pcma, settings(ptime)));
            assert_eq!(packetizer.units(), bytes);
            let mut heard = Vec::new();
            for n in 0..30i16 {
                packetizer.put(Some(&frame(n * 1000)), None);
                while let Some(Packet::Payload(payload)) = packetizer.take() {
                    assert_eq!(payload.len(), bytes as usize);
                    heard.extend_from_slice(payload);
                }
            }
            let said = (0..30i16).flat_map(|n| [Codec::Pcmu.encode(n * 1000); 160]);
            assert_eq!(heard, said.take(heard.len()).collect::<Vec<_>>());
            assert!(heard.len() + 480 > 30 * 160);
        }
    }

    #[test]
    fn frames_of_another_rate_are_converted() {
        let mut packetizer = Packetizer::new(Codec::L16(Rate::Wide), settings(20));
        assert_eq!(packetizer.units(), 320);
        for sample in [frame(5000), frame(5000)] {
            packetizer.put(Some(&sample), None);
        }
        packetizer.take();
        let Some(Packet::Payload(payload)) = packetizer.take() else { panic!() };
        assert_eq!(payload.len(), 640);
        let last = i16::from_be_bytes([payload[638], payload[639]]);
        assert!((last - 5000).abs() < 50, "{last}");
    }

    #[test]
    fn step_from_one_sound_to_another_is_spread_over_2_and_a_half_ms() {
        let mut packetizer = Packetizer::new(Codec::Pcmu, settings(20));
        assert_eq!(packetizer.put(Some(&frame(8000)), Some(-8000)), 8000);
        let samples = &packetizer.pending;
        assert!(samples.windows(2).all(|pair| (0..=800).contains(&(pair[1] - pair[0]))));
        assert_eq!((samples[0] / 1000, samples[19] / 1000, samples[20]), (-7, 7, 8000));
        let mut packetizer = Packetizer::new(Codec::Pcmu, settings(20));
        packetizer.put(Some(&frame(i16::MAX)), Some(i16::MIN));
        packetizer.put(Some(&frame(i16::MIN)), Some(i16::MAX));
        assert!(packetizer.pending.windows(2).all(|pair| pair[0].abs_diff(pair[1]) < 4000));
    }
}
