//! From frames of 20 ms to the packets that were agreed on: another rate, another codec, another
//! length, and a change of what is heard without a click.

use std::time::Duration;

use super::engine::Codec;
use super::frame::Frame;

/// The encoding side of one call. Made when it first says something that is not relayed, so that
/// a relayed call does without.
#[derive(Debug)]
pub struct Packetizer {
    codec: Codec,
    /// Samples of a packet, at the codec's rate.
    packet: usize,
    /// Less than a packet, and the frame that was put in last.
    pending: Vec<i16>,
    payload: Vec<u8>,
}

impl Packetizer {
    pub fn new(codec: Codec, ptime: Duration) -> Self {
        let ptime = ptime.clamp(LEAST_PTIME, MOST_PTIME);
        let packet = (ptime.as_micros() as usize * codec.rate().hertz() as usize) / 1_000_000;
        Self {
            codec,
            packet,
            pending: Vec::with_capacity(packet + codec.rate().frame()),
            payload: vec![0; packet],
        }
    }

    /// Whether it makes these packets.
    pub fn makes(&self, codec: Codec, ptime: Duration) -> bool {
        let other = ptime.clamp(LEAST_PTIME, MOST_PTIME).as_micros() as usize;
        let packet = other * codec.rate().hertz() as usize / 1_000_000;
        self.codec == codec && self.packet == packet
    }

    /// Takes 20 ms in; its last sample. Where something else was heard before: after which sample.
    pub fn put(&mut self, frame: &Frame, after: Option<i16>) -> i16 {
        let start = self.pending.len();
        self.pending.extend_from_slice(frame.samples());
        let new = &mut self.pending[start..];
        if let Some(last) = after {
            ease(new, last);
        }
        new.last().copied().unwrap_or_default()
    }

    /// The next packet that is full: its payload.
    pub fn take(&mut self) -> Option<&[u8]> {
        let samples = self.pending.get(..self.packet)?;
        for (byte, &sample) in self.payload.iter_mut().zip(samples) {
            *byte = self.codec.encode(sample);
        }
        self.pending.copy_within(self.packet.., 0);
        self.pending.truncate(self.pending.len() - self.packet);
        Some(&self.payload)
    }

    /// Timestamp units of a packet.
    pub fn units(&self) -> u32 {
        let (clock, rate) = (self.codec.clock_rate() as usize, self.codec.rate().hertz() as usize);
        (self.packet * clock / rate) as u32
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

/// RFC 3551 §4.2: receivers take 0 to 200 ms; what we send stays in the usual range.
const LEAST_PTIME: Duration = Duration::from_millis(10);
pub const MOST_PTIME: Duration = Duration::from_millis(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::Rate;

    const MS: Duration = Duration::from_millis(1);

    fn frame(sample: i16) -> Frame {
        let mut frame = Frame::silence(Rate::Narrow);
        frame.samples_mut().fill(sample);
        frame
    }

    #[test]
    fn packets_of_each_length_carry_all_samples_in_order() {
        for (ptime, bytes) in [(1, 80), (10, 80), (20, 160), (30, 240), (40, 320), (500, 480)] {
            let mut packetizer = Packetizer::new(Codec::Pcmu, ptime * MS);
            assert!(packetizer.makes(Codec::Pcmu, ptime * MS));
            assert_eq!(packetizer.units(), bytes);
            let mut heard = Vec::new();
            for n in 0..30i16 {
                packetizer.put(&frame(n * 1000), None);
                while let Some(payload) = packetizer.take() {
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
    fn step_from_one_sound_to_another_is_spread_over_2_and_a_half_ms() {
        let mut packetizer = Packetizer::new(Codec::Pcmu, 20 * MS);
        assert_eq!(packetizer.put(&frame(8000), Some(-8000)), 8000);
        let samples = &packetizer.pending;
        assert!(samples.windows(2).all(|pair| (0..=800).contains(&(pair[1] - pair[0]))));
        assert_eq!((samples[0] / 1000, samples[19] / 1000, samples[20]), (-7, 7, 8000));
        let mut packetizer = Packetizer::new(Codec::Pcmu, 20 * MS);
        packetizer.put(&frame(i16::MAX), Some(i16::MIN));
        packetizer.put(&frame(i16::MIN), Some(i16::MAX));
        assert!(packetizer.pending.windows(2).all(|pair| pair[0].abs_diff(pair[1]) < 4000));
    }
}
