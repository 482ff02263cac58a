//! ITU-T G.722 at 64 kbit/s: two bands of ADPCM, six bits for the lower and two for the upper.
//!
//! The blocks have the Recommendation's names (§6.2) and its 16-bit arithmetic, so that both ends
//! come to the same numbers. The modes with an auxiliary data channel (56 and 48 kbit/s) are
//! **not** supported: nothing asks for them over RTP (RFC 3551 §4.5.2).

use std::ops::Range;

/// Samples at 16,000 Hz to bytes; two samples make one.
#[derive(Debug, Clone)]
pub struct Encoder {
    qmf: Qmf,
    bands: Bands,
}

impl Encoder {
    pub const fn new() -> Self {
        Self { qmf: Qmf::new(), bands: Bands::new() }
    }

    /// The bytes written: half as many as samples, or as many as `out` takes.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        let pairs = samples.as_chunks().0;
        let coded = pairs.iter().zip(out.iter_mut());
        for (&pair, byte) in coded {
            let (low, high) = self.qmf.analyse(pair);
            *byte = self.bands.encode(low, high);
        }
        pairs.len().min(out.len())
    }
}

/// Bytes to samples at 16,000 Hz.
#[derive(Debug, Clone)]
pub struct Decoder {
    qmf: Qmf,
    bands: Bands,
}

impl Decoder {
    pub const fn new() -> Self {
        Self { qmf: Qmf::new(), bands: Bands::new() }
    }

    /// The samples written: twice as many as bytes, or as many as `out` takes.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        let pairs = out.as_chunks_mut().0;
        let room = pairs.len();
        for (&byte, pair) in payload.iter().zip(pairs) {
            let (low, high) = self.bands.decode(byte);
            *pair = self.qmf.synthesise(low, high);
        }
        2 * payload.len().min(room)
    }

    /// Goes on as if the peer had sent `samples`: those that stood in for a lost packet, and
    /// [`AHEAD`] more.
    ///
    /// The predictors then stand where the peer's would if it had said this, and not where they
    /// were before the loss, so that what comes next begins without a crack.
    pub fn follow(&mut self, samples: &[i16]) {
        let mut qmf = Qmf::new();
        let (before, pairs) = samples.as_chunks().0.split_at((AHEAD / 2).min(samples.len() / 2));
        before.iter().for_each(|&pair| qmf.push(pair));
        for &pair in pairs {
            let (low, high) = qmf.analyse(pair);
            let byte = self.bands.clone().encode(low, high);
            let (low, high) = self.bands.decode(byte);
            self.qmf.synthesise(low, high);
        }
    }
}

/// Samples by which a signal is late that has gone through both filter banks.
pub const AHEAD: usize = TAPS - 2;

/// The quadrature mirror filter of either side: samples in pairs to both bands, or back.
#[derive(Debug, Clone)]
struct Qmf {
    /// The last `TAPS` of them end at `end`; what comes next is written after it.
    line: [i16; LINE],
    end: usize,
}

impl Qmf {
    const fn new() -> Self {
        Self { line: [0; LINE], end: TAPS }
    }

    fn push(&mut self, pair: [i16; 2]) {
        if self.end + 2 > LINE {
            self.line.copy_within(LINE - TAPS.., 0);
            self.end = TAPS;
        }
        self.line[self.end..self.end + 2].copy_from_slice(&pair);
        self.end += 2;
    }

    fn taps(&self) -> &[i16; TAPS] {
        self.line[..self.end].last_chunk().unwrap_or(&[0; TAPS])
    }

    /// §6.2.1.1, blocks ACCUMA to LOWT and HIGHT.
    fn analyse(&mut self, pair: [i16; 2]) -> (i32, i32) {
        self.push(pair);
        (dot(self.taps(), &SUMS) >> 14, dot(self.taps(), &DIFFERENCES) >> 14)
    }

    /// §6.2.2.1, blocks RECA to SELECT.
    fn synthesise(&mut self, low: i32, high: i32) -> [i16; 2] {
        self.push([saturate(low + high) as i16, saturate(low - high) as i16]);
        // Half of what both have, and of what they have not in common.
        let (sum, difference) = (dot(self.taps(), &SUMS), dot(self.taps(), &DIFFERENCES));
        [saturate((sum + difference) >> 12) as i16, saturate((sum - difference) >> 12) as i16]
    }
}

fn dot(taps: &[i16; TAPS], factors: &[i16; TAPS]) -> i32 {
    taps.iter().zip(factors).map(|(&tap, &factor)| i32::from(tap) * i32::from(factor)).sum()
}

/// Both ADPCM coders; the same in encoder and decoder, since both know only what is sent.
#[derive(Debug, Clone)]
struct Bands {
    low: Band,
    high: Band,
}

impl Bands {
    const fn new() -> Self {
        Self { low: Band::new(32), high: Band::new(8) }
    }

    fn encode(&mut self, low: i32, high: i32) -> u8 {
        let low_code = self.low.quantise_low(saturate(low - self.low.signal));
        let high_code = self.high.quantise_high(saturate(high - self.high.signal));
        self.adapt(low_code, high_code);
        high_code << 6 | low_code
    }

    /// The signals of both bands.
    fn decode(&mut self, byte: u8) -> (i32, i32) {
        let (low_code, high_code) = (byte & 0x3f, byte >> 6);
        // Block INVQBL: all six bits count for what is heard, four for what comes next.
        let difference = (self.low.step * QM6[usize::from(low_code)]) >> 15;
        let low = (self.low.signal + difference).clamp(-16384, 16383);
        let before = self.high.signal;
        let difference = self.adapt(low_code, high_code);
        let high = (before + difference).clamp(-16384, 16383);
        (low, high)
    }

    /// The upper band's difference.
    fn adapt(&mut self, low_code: u8, high_code: u8) -> i32 {
        let code = usize::from(low_code >> 2);
        let difference = (self.low.step * QM4[code]) >> 15;
        self.low.rescale(WL[RL42[code]], 8, 18432);
        self.low.predict(difference);
        let code = usize::from(high_code);
        let difference = (self.high.step * QM2[code]) >> 15;
        self.high.rescale(WH[code & 1], 10, 22528);
        self.high.predict(difference);
        difference
    }
}

/// One band's quantiser scale and predictor. Values are of 16 bits, as the Recommendation has
/// them, in `i32`, in which products have room.
#[derive(Debug, Clone)]
struct Band {
    /// DET: the scale of the quantiser.
    step: i32,
    /// NB: its logarithm.
    scale: i32,
    /// S: what the predictor expects next.
    signal: i32,
    /// SZ: the part of the zeros in it.
    zeros_signal: i32,
    /// A1 and A2.
    poles: [i32; 2],
    /// B1 to B6.
    zeros: [i32; 6],
    /// RLT1 and RLT2, twice.
    reconstructed: [i32; 2],
    /// Signs of PLT1 and PLT2.
    partial_is_negative: [bool; 2],
    /// DLT1 to DLT6, twice.
    differences: [i32; 6],
}

impl Band {
    const fn new(step: i32) -> Self {
        Self {
            step,
            scale: 0,
            signal: 0,
            zeros_signal: 0,
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: [0; 2],
            partial_is_negative: [false; 2],
            differences: [0; 6],
        }
    }

    /// Block QUANTL.
    fn quantise_low(&self, difference: i32) -> u8 {
        let magnitude = if difference >= 0 { difference } else { !difference };
        let is_reached = |&level: &i32| magnitude >= (level * self.step) >> 12;
        let level = Q6.partition_point(is_reached) as u8;
        match (difference >= 0, level) {
            (true, _) => 61 - level,
            (false, 0 | 1) => 63 - level,
            (false, _) => 33 - level,
        }
    }

    /// Block QUANTH.
    fn quantise_high(&self, difference: i32) -> u8 {
        let magnitude = if difference >= 0 { difference } else { !difference };
        let is_far = magnitude >= (564 * self.step) >> 12;
        match (difference >= 0, is_far) {
            (true, true) => 2,
            (true, false) => 3,
            (false, true) => 0,
            (false, false) => 1,
        }
    }

    /// Blocks LOGSCL and SCALEL, LOGSCH and SCALEH.
    fn rescale(&mut self, weight: i32, shift: i32, most: i32) {
        self.scale = (((self.scale * 127) >> 7) + weight).clamp(0, most);
        let mantissa = ILB[(self.scale >> 6 & 31) as usize];
        let exponent = shift - (self.scale >> 11);
        self.step = match exponent {
            0.. => mantissa >> exponent,
            _ => mantissa << -exponent,
        } << 2;
    }

    /// Block 4: all but the scale goes one sample on.
    fn predict(&mut self, difference: i32) {
        let reconstructed = saturate(self.signal + difference);
        let is_negative = saturate(self.zeros_signal + difference) < 0;
        self.update_poles(is_negative);
        self.partial_is_negative = [is_negative, self.partial_is_negative[0]];
        self.reconstructed = [saturate(2 * reconstructed), self.reconstructed[0]];
        // FILTEP, FILTEZ, PREDIC.
        let [one, two] = self.reconstructed;
        let poles = ((self.poles[0] * one) >> 15) + ((self.poles[1] * two) >> 15);
        self.zeros_signal = self.update_zeros(difference);
        self.signal = saturate(saturate(poles) + self.zeros_signal);
    }

    /// Blocks UPPOL2 and UPPOL1.
    fn update_poles(&mut self, is_negative: bool) {
        let is_same = self.partial_is_negative.map(|before| before == is_negative);
        let [first, second] = self.poles;
        let slope = saturate(first * 4);
        let slope = if is_same[0] { saturate(-slope) } else { slope };
        let step = if is_same[1] { 128 } else { -128 };
        let second = ((slope >> 7) + step + ((second * 32512) >> 15)).clamp(-12288, 12288);
        let step = if is_same[0] { 192 } else { -192 };
        let most = 15360 - second;
        let first = (step + ((first * 32640) >> 15)).clamp(-most, most);
        self.poles = [first, second];
    }

    /// Blocks UPZERO, DELAYA and FILTEZ. No factor comes to more than 16 bits.
    fn update_zeros(&mut self, difference: i32) -> i32 {
        let step = if difference == 0 { 0 } else { 128 };
        let mut newer = saturate(2 * difference);
        let mut sum = 0;
        for (zero, twice) in self.zeros.iter_mut().zip(&mut self.differences) {
            let step = if (*twice ^ difference) >= 0 { step } else { -step };
            *zero = step + ((*zero * 32640) >> 15);
            sum += (*zero * newer) >> 15;
            std::mem::swap(twice, &mut newer);
        }
        saturate(sum)
    }
}

const fn saturate(value: i32) -> i32 {
    const RANGE: Range<i32> = i16::MIN as i32..i16::MAX as i32;
    if value < RANGE.start {
        RANGE.start
    } else if value > RANGE.end {
        RANGE.end
    } else {
        value
    }
}

/// Taps of the quadrature mirror filter (table 11), and how much is kept to move them seldom.
const TAPS: usize = 24;
const LINE: usize = TAPS + 64;

/// Table 11 times 8192, in the order of time: as they are, for the sum of both phases, and with
/// every second one negative, for their difference.
const SUMS: [i16; TAPS] = [
    3, -11, -11, 53, 12, -156, 32, 362, -210, -805, 951, 3876, 3876, 951, -805, -210, 362, 32,
    -156, 12, 53, -11, -11, 3,
];
const DIFFERENCES: [i16; TAPS] = {
    let mut factors = SUMS;
    let mut place = 0;
    while place < TAPS {
        factors[place] = -factors[place];
        place += 2;
    }
    factors
};

/// Decision levels of the lower band (table 14).
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Output levels of six, four and two bits, times 8 (tables 18, 17, 20).
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
const QM4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// Weights of the scale: which one four bits of the lower band choose, and by the upper band's
/// last bit.
const RL42: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const WH: [i32; 2] = [798, -214];
/// Antilogarithms (table 22).
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &[u8] = include_bytes!("../../../tests/data/codec/speech-and-extremes.s16");
    const CODED: &[u8] = include_bytes!("../../../tests/data/codec/speech-and-extremes.g722");
    const DECODED: &[u8] = include_bytes!("../../../tests/data/codec/speech-and-extremes.g722.s16");
    const RANDOM: &[u8] = include_bytes!("../../../tests/data/codec/random.g722");
    const RANDOM_DECODED: &[u8] = include_bytes!("../../../tests/data/codec/random.g722.s16");

    fn samples(bytes: &[u8]) -> Vec<i16> {
        bytes.as_chunks().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
    }

    #[test]
    fn encoder_is_bit_exact_with_ffmpeg() {
        let mut encoder = Encoder::new();
        let mut coded = vec![0; CODED.len()];
        for (sound, out) in samples(SOUND).chunks(320).zip(coded.chunks_mut(160)) {
            assert_eq!(encoder.encode(sound, out), out.len());
        }
        let wrong = coded.iter().zip(CODED).position(|(ours, theirs)| ours != theirs);
        assert_eq!(wrong, None);
    }

    #[test]
    fn decoder_is_bit_exact_with_ffmpeg() {
        for (coded, decoded) in [(CODED, DECODED), (RANDOM, RANDOM_DECODED)] {
            let mut decoder = Decoder::new();
            let mut sound = vec![0; 2 * coded.len()];
            for (payload, out) in coded.chunks(160).zip(sound.chunks_mut(320)) {
                assert_eq!(decoder.decode(payload, out), out.len());
            }
            let expected = samples(decoded);
            assert_eq!(expected.len(), sound.len());
            let wrong = sound.iter().zip(&expected).position(|(ours, theirs)| ours != theirs);
            assert_eq!(wrong, None);
        }
    }

    #[test]
    fn more_than_there_is_room_for_is_left() {
        let mut out = [0; 10];
        assert_eq!(Decoder::new().decode(&[0; 160], &mut out), 10);
        assert_eq!(Decoder::new().decode(&[], &mut out), 0);
        assert_eq!(Encoder::new().encode(&[0; 320], &mut [0; 3]), 3);
        assert_eq!(Encoder::new().encode(&[1], &mut [0; 3]), 0);
    }
}
