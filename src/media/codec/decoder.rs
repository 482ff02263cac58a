//! From payloads to samples, whatever the codec, and what is heard when there is no payload.

use super::conceal::Concealer;
use super::{g722, l16, libopus, opus};
use crate::media::engine::Codec;

/// The decoding side of one call. All memory is taken when it is made.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    state: State,
}

#[derive(Debug)]
enum State {
    /// G.711 and L16.
    Plain(Concealer),
    G722(Box<g722::Decoder>, Concealer),
    Opus(opus::Decoder),
}

impl Decoder {
    pub fn new(codec: Codec) -> Self {
        let concealer = || Concealer::new(codec.rate());
        let state = match codec {
            Codec::Pcmu | Codec::Pcma | Codec::L16(_) => State::Plain(concealer()),
            Codec::G722 => State::G722(Box::new(g722::Decoder::new()), concealer()),
            Codec::Opus => State::Opus(opus::Decoder::new()),
        };
        Self { codec, state }
    }

    /// The samples of a payload, at `codec.rate()`: how many. None (0): it is no payload of this
    /// codec, and `conceal` should stand in. `out` should have room for [`MOST_SAMPLES`]; what is
    /// over it is lost.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        let count = match (&mut self.state, self.codec) {
            (State::Plain(_), Codec::L16(_)) => l16::decode(payload, out),
            (State::Plain(_), law) => {
                for (&byte, sample) in payload.iter().zip(out.iter_mut()) {
                    *sample = law.decode(byte);
                }
                payload.len().min(out.len())
            }
            (State::G722(decoder, _), _) => decoder.decode(payload, out),
            (State::Opus(decoder), _) => return decoder.decode(payload, out),
        };
        if let State::Plain(concealer) | State::G722(_, concealer) = &mut self.state {
            concealer.hear(&mut out[..count]);
        }
        count
    }

    /// Fills `out` with what stands in for a packet that is lost: something that goes on from
    /// what was heard and fades within 60 ms. A payload after it is faded in.
    pub fn conceal(&mut self, out: &mut [i16]) {
        match &mut self.state {
            State::Plain(concealer) => concealer.conceal(out),
            State::G722(decoder, concealer) => {
                for out in out.chunks_mut(G722_CHUNK) {
                    concealer.conceal(out);
                    let mut samples = [0; G722_CHUNK + g722::AHEAD];
                    let (heard, ahead) = samples.split_at_mut(out.len());
                    heard.copy_from_slice(out);
                    let ahead = &mut ahead[..g722::AHEAD];
                    concealer.peek(ahead);
                    decoder.follow(&samples[..out.len() + g722::AHEAD]);
                }
            }
            State::Opus(decoder) => decoder.conceal(out),
        }
    }

    /// Fills `out` with the lost packet's audio if the one after it brings a copy along (Opus,
    /// RFC 6716 §2.1.7). That one is still to be decoded afterwards. Else nothing is done, and
    /// `conceal` should stand in.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        match &mut self.state {
            State::Opus(decoder) => decoder.recover(next, out),
            State::Plain(_) | State::G722(..) => false,
        }
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }
}

/// Whether [`Decoder::recover`] finds a copy of the packet before this one in it.
pub fn has_copy(codec: Codec, payload: &[u8]) -> bool {
    codec == Codec::Opus && libopus::has_copy(payload)
}

/// The longest packet: 120 ms at 48,000 Hz (RFC 6716 §3.2.5).
pub const MOST_SAMPLES: usize = 5760;
/// Samples that are concealed at a time, 20 ms: even, since G.722 takes them in pairs.
const G722_CHUNK: usize = 320;
