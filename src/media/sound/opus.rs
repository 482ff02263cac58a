//! Opus in Ogg (RFC 7845): one stream of one or two channels, of which one is made.

use super::input::Input;
use super::ogg::Packets;
use super::{Error, MOST_SAMPLES};
use crate::media::codec::decoder::Decoder;
use crate::media::engine::Codec;

/// A file whose packets of sound come next.
pub struct Opus {
    packets: Packets,
    decoder: Decoder,
    pcm: [i16; MOST_PACKET_SAMPLES],
    /// Samples at the beginning that only prepare the decoder (§4.2).
    skip: u64,
    /// Of the sound, as far as it came.
    read: u64,
    pre_skip: u64,
    /// What the samples are multiplied with, in 1/4096.
    gain: i64,
}

impl Opus {
    /// Reads both headers (§5).
    pub fn open(input: &mut Input<'_>) -> Result<Self, Error> {
        let mut packets = Packets::new();
        let cut_short = || Error::damaged(OGG, "its headers are cut short");
        let head = packets.next(input)?.ok_or_else(cut_short)?.content;
        let unsupported = |what: &str| Err(Error::Unsupported { format: OGG, what: what.into() });
        let fields = match &head[..] {
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', fields @ ..] => fields,
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => return unsupported("Vorbis"),
            [b'S', b'p', b'e', b'e', b'x', ..] => return unsupported("Speex"),
            [0x7f, b'F', b'L', b'A', b'C', ..] => return unsupported("FLAC"),
            _ => return unsupported("what it holds"),
        };
        let [version, channels, skip_low, skip_high, _, _, _, _, gain_low, gain_high, family, ..] =
            *fields
        else {
            return Err(cut_short());
        };
        // §5.1: other versions of 0 in the upper four bits can be read.
        if version & 0xf0 != 0 {
            return unsupported("this version of Opus");
        }
        if family != 0 || !matches!(channels, 1 | 2) {
            return unsupported("Opus with more than two channels");
        }
        packets.next(input)?.ok_or_else(cut_short)?;
        let pre_skip = u64::from(u16::from_le_bytes([skip_low, skip_high]));
        // In 1/256 dB.
        let decibels = f64::from(i16::from_le_bytes([gain_low, gain_high])) / 256.0;
        let gain = (10f64.powf(decibels / 20.0) * f64::from(UNITY)).round() as i64;
        Ok(Self {
            packets,
            decoder: Decoder::new(Codec::Opus),
            pcm: [0; MOST_PACKET_SAMPLES],
            skip: pre_skip,
            read: 0,
            pre_skip,
            gain,
        })
    }

    pub fn read(&mut self, input: &mut Input<'_>, samples: &mut Vec<i16>) -> Result<(), Error> {
        let from = samples.len();
        let mut broken = 0;
        while samples.len() == from {
            let Some(packet) = self.packets.next(input)? else { break };
            let decoded = self.decoder.decode(&packet.content, &mut self.pcm);
            if decoded == 0 {
                broken += 1;
                if broken > MOST_BROKEN {
                    return Err(Error::damaged(OGG, "it holds too much that is no Opus"));
                }
                continue;
            }
            let skipped = self.skip.min(decoded as u64);
            self.skip -= skipped;
            let sound = self.pcm.get(skipped as usize..decoded).unwrap_or_default();
            // §4.4: the last page says where the sound ends within it.
            let left = match packet.granule {
                Some(granule) if packet.is_last => {
                    granule.saturating_sub(self.pre_skip).saturating_sub(self.read)
                }
                _ => u64::MAX,
            };
            let kept = sound.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let louder = |&sample: &i16| {
                let sample = i64::from(sample) * self.gain / i64::from(UNITY);
                sample.clamp(i16::MIN.into(), i16::MAX.into()) as i16
            };
            samples.extend(sound.iter().take(kept).map(louder));
            self.read += sound.len() as u64;
        }
        Ok(())
    }
}

/// Of what is decoded, whatever was encoded.
pub const HERTZ: u32 = 48_000;
const OGG: &str = "Ogg";
const UNITY: i32 = 4096;
/// RFC 6716 §2.1.4: 120 ms.
const MOST_PACKET_SAMPLES: usize = 5760;
const _: () = assert!(MOST_PACKET_SAMPLES <= MOST_SAMPLES);
/// Packets without a sound between two that have one.
const MOST_BROKEN: usize = 1000;
