//! In-band digits: eight Goertzel filters over blocks of 102 samples, by the limits of ITU-T Q.24.
//!
//! The block length is that of spandsp's receiver: its width of 78 Hz takes the 1.5 % by which a
//! tone may be off. Two banks run half a block apart, and four blocks in a row must agree: a tone
//! of 40 ms has them wherever it begins, one of 23 ms has three; a pause of 40 ms parts two
//! presses, a gap of 10 ms does not.

use super::dtmf::KEYS;

/// Listens to one stream.
#[derive(Debug, Clone)]
pub struct Detector {
    banks: [Bank; 2],
    /// What the last block held, and how many before it held the same.
    last: Option<char>,
    run: u32,
    /// The key that is down.
    current: Option<char>,
}

/// Filters in the middle of a block.
#[derive(Debug, Clone, Default)]
struct Bank {
    /// The last two values of each filter: low group, then high.
    filters: [[f32; 2]; 8],
    /// Sum of squares of the block so far.
    energy: f32,
    samples: usize,
}

impl Detector {
    pub fn new() -> Self {
        let second = Bank { samples: BLOCK / 2, ..Bank::default() };
        Self { banks: [Bank::default(), second], last: None, run: 0, current: None }
    }

    /// Takes samples in; a key that went down among them. (Two cannot: a packet is shorter than
    /// two presses.)
    pub fn feed(&mut self, samples: impl Iterator<Item = i16>) -> Option<char> {
        let mut pressed = None;
        for sample in samples {
            for place in 0..self.banks.len() {
                if let Some(found) = self.banks[place].feed(f32::from(sample)) {
                    pressed = self.judge(found).or(pressed);
                }
            }
        }
        pressed
    }

    /// The key that is down.
    pub fn current(&self) -> Option<char> {
        self.current
    }

    /// The end of a block: the key that it makes go down.
    fn judge(&mut self, found: Option<char>) -> Option<char> {
        self.run = if found == self.last { self.run.saturating_add(1) } else { 1 };
        self.last = found;
        if self.run < AGREEING || found == self.current {
            return None;
        }
        self.current = found;
        found
    }
}

impl Bank {
    /// At the end of a block, what it held.
    fn feed(&mut self, sample: f32) -> Option<Option<char>> {
        self.energy += sample * sample;
        for (filter, coefficient) in self.filters.iter_mut().zip(COEFFICIENTS) {
            let next = coefficient * filter[0] - filter[1] + sample;
            *filter = [next, filter[0]];
        }
        self.samples += 1;
        if self.samples < BLOCK {
            return None;
        }
        let found = self.find();
        *self = Self::default();
        Some(found)
    }

    fn find(&self) -> Option<char> {
        // Power of each tone as the square of its amplitude.
        let mut power = [0.0f32; 8];
        for ((power, filter), coefficient) in power.iter_mut().zip(self.filters).zip(COEFFICIENTS) {
            let [one, two] = filter;
            let magnitude = one * one + two * two - coefficient * one * two;
            *power = magnitude * 4.0 / (BLOCK * BLOCK) as f32;
        }
        let (low, high) = power.split_at(4);
        let (row, column) = (loudest(low), loudest(high));
        let (row_power, column_power) = (low[row], high[column]);
        let is_loud = row_power > LEAST_POWER && column_power > LEAST_POWER;
        let is_even =
            column_power < row_power * MOST_REVERSE_TWIST && row_power < column_power * MOST_TWIST;
        let stands_out = |powers: &[f32], place: usize| {
            let mut others = powers.iter().enumerate().filter(|(other, _)| *other != place);
            others.all(|(_, power)| power * LEAST_LEAD < powers[place])
        };
        // A sine of amplitude A has the mean square A^2 / 2.
        let mean_square = self.energy / BLOCK as f32;
        let is_pure = (row_power + column_power) / 2.0 > LEAST_SHARE * mean_square;
        let is_digit =
            is_loud && is_even && is_pure && stands_out(low, row) && stands_out(high, column);
        is_digit.then(|| char::from(KEYS[row * 4 + column]))
    }
}

fn loudest(powers: &[f32]) -> usize {
    let mut best = 0;
    for (place, power) in powers.iter().enumerate() {
        if *power > powers[best] {
            best = place;
        }
    }
    best
}

/// 12.75 ms.
const BLOCK: usize = 102;
/// `2 cos(2 pi f / 8000)` of the eight frequencies.
const COEFFICIENTS: [f32; 8] =
    [1.7077378, 1.645281, 1.568687, 1.4782046, 1.164104, 0.9963702, 0.7986184, 0.5685327];
/// Blocks in a row that say the same.
const AGREEING: u32 = 4;
/// -36 dBm0 per tone: below any handset's, above noise. Amplitude 360 of the 22,800 of 0 dBm0.
const LEAST_POWER: f32 = 360.0 * 360.0;
/// The low tone may be 8 dB above the high one, the high one 4 dB above the low.
const MOST_TWIST: f32 = 6.31;
const MOST_REVERSE_TWIST: f32 = 2.51;
/// The two tones are 8 dB above the others of their group.
const LEAST_LEAD: f32 = 6.31;
/// Most of the block is the two tones: speech is not.
const LEAST_SHARE: f32 = 0.8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::dtmf::{HIGH, LOW};

    struct Tone {
        low: f64,
        high: f64,
        low_amplitude: f64,
        high_amplitude: f64,
        milliseconds: usize,
    }

    impl Tone {
        fn of(digit: char, milliseconds: usize) -> Self {
            let (low, high) = crate::media::dtmf::frequencies(digit).unwrap();
            Self { low, high, low_amplitude: 4000.0, high_amplitude: 4000.0, milliseconds }
        }

        fn samples(&self) -> Vec<i16> {
            let sine =
                |hertz: f64, n: usize| (std::f64::consts::TAU * hertz * n as f64 / 8000.0).sin();
            (0..self.milliseconds * 8)
                .map(|n| {
                    let low = self.low_amplitude * sine(self.low, n);
                    (low + self.high_amplitude * sine(self.high, n)) as i16
                })
                .collect()
        }
    }

    /// Digits heard in silence, the parts, and silence, whatever the place of the blocks.
    fn heard(parts: &[Vec<i16>], offset: usize) -> String {
        let mut detector = Detector::new();
        let mut samples = vec![0; 160 + offset];
        samples.extend(parts.concat());
        samples.extend([0; 400]);
        samples.chunks(160).filter_map(|packet| detector.feed(packet.iter().copied())).collect()
    }

    fn pause(milliseconds: usize) -> Vec<i16> {
        vec![0; milliseconds * 8]
    }

    #[test]
    fn coefficients_are_those_of_the_frequencies() {
        for (coefficient, hertz) in COEFFICIENTS.iter().zip(LOW.iter().chain(&HIGH)) {
            let exact = 2.0 * (std::f64::consts::TAU * hertz / 8000.0).cos();
            assert!((f64::from(*coefficient) - exact).abs() < 1e-6, "{hertz}: {exact}");
        }
    }

    #[test]
    fn q24_all_sixteen_digits_of_40_ms_with_pauses_of_40_ms_at_any_place() {
        let mut parts = Vec::new();
        for &key in KEYS {
            parts.push(Tone::of(char::from(key), 40).samples());
            parts.push(pause(40));
        }
        for offset in (0..102).step_by(6) {
            assert_eq!(heard(&parts, offset), "123A456B789C*0#D", "{offset}");
        }
    }

    #[test]
    fn q24_tone_of_23_ms_is_none() {
        for offset in (0..102).step_by(6) {
            assert_eq!(heard(&[Tone::of('5', 23).samples()], offset), "");
        }
    }

    #[test]
    fn long_press_is_one_and_its_key_is_known_while_it_lasts() {
        assert_eq!(heard(&[Tone::of('8', 2000).samples()], 0), "8");
        let mut detector = Detector::new();
        detector.feed(Tone::of('8', 60).samples().into_iter());
        assert_eq!(detector.current(), Some('8'));
        detector.feed(pause(60).into_iter());
        assert_eq!(detector.current(), None);
    }

    #[test]
    fn q24_frequencies_1_5_percent_off_are_heard_and_3_5_percent_are_not() {
        let off = |share: f64| {
            let tone = Tone::of('5', 60);
            Tone { low: tone.low * (1.0 + share), high: tone.high * (1.0 - share), ..tone }
                .samples()
        };
        assert_eq!(heard(&[off(0.015)], 0), "5");
        assert_eq!(heard(&[off(-0.015)], 0), "5");
        assert_eq!(heard(&[off(0.035)], 0), "");
        assert_eq!(heard(&[off(-0.035)], 0), "");
    }

    #[test]
    fn twist_within_limits_is_heard_and_beyond_is_not() {
        let twisted = |low_amplitude: f64, high_amplitude: f64| {
            Tone { low_amplitude, high_amplitude, ..Tone::of('5', 60) }.samples()
        };
        // 6 dB, 3 dB; 10 dB, 6 dB.
        assert_eq!(heard(&[twisted(4000.0, 2005.0)], 0), "5");
        assert_eq!(heard(&[twisted(2832.0, 4000.0)], 0), "5");
        assert_eq!(heard(&[twisted(4000.0, 1265.0)], 0), "");
        assert_eq!(heard(&[twisted(2005.0, 4000.0)], 0), "");
    }

    #[test]
    fn q24_interruption_of_10_ms_does_not_double_a_press() {
        let part = Tone::of('4', 50).samples();
        for offset in (0..102).step_by(6) {
            assert_eq!(heard(&[part.clone(), pause(10), part.clone()], offset), "4", "{offset}");
        }
    }

    #[test]
    fn noise_single_tones_and_chords_are_no_digits() {
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<i16> = (0..80_000).map(|_| random.i16(-8000..8000)).collect();
        assert_eq!(heard(&[noise], 0), "");
        let single = Tone { high_amplitude: 0.0, ..Tone::of('5', 500) };
        assert_eq!(heard(&[single.samples()], 0), "");
        // US ring-back and dial tone.
        for (low, high) in [(440.0, 480.0), (350.0, 440.0)] {
            assert_eq!(heard(&[Tone { low, high, ..Tone::of('5', 500) }.samples()], 0), "");
        }
    }

    #[test]
    fn digit_survives_g711() {
        use crate::media::engine::Codec;
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let samples = Tone::of('#', 60).samples();
            let samples = samples.iter().map(|&s| codec.decode(codec.encode(s))).collect();
            assert_eq!(heard(&[samples], 0), "#");
        }
    }
}
