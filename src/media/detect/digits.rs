//! In-band digits by the limits of ITU-T Q.24 and Bellcore TR-TSY-000763.
//!
//! Windows of 12.75 ms, each half over the one before. In each the loudest frequency of each group
//! is looked for; four in a row that agree are looked at closely: how far the two tones are off
//! (by their phase, to about 1 Hz), whether they are even and steady, and whether there is little
//! beside them. A tone of 40 ms has four whole windows wherever it begins, one of 23 ms has not;
//! a pause of 40 ms parts two presses, a gap of 10 ms does not.
//!
//! What stands against speech: voices have more than two partials, their pitch glides, and the
//! ratios of their harmonics are those of small numbers, which the ratios of the keys avoid.

use crate::media::dtmf::{HIGH, KEYS, LOW};
use crate::media::goertzel::{Goertzel, Phasor};

/// Listens to one stream at 8000 Hz: 1.4 kB.
#[derive(Debug, Clone)]
pub struct Detector {
    filters: [Goertzel; 8],
    above_dial_tone: HighPass,
    /// What is above dial tones in as many windows as have to agree, the last half of the last one
    /// filling up.
    samples: [f32; SPAN],
    filled: usize,
    /// Energy of their halves, of everything and of what is above dial tones.
    whole: [f32; HALVES],
    above: [f32; HALVES],
    dial_tone: DialTone,
    /// The last windows that held a key.
    past: [Pair; AGREEING],
    /// What the last window held, and how many up to it held the same.
    last: Option<u8>,
    run: usize,
    /// Place in `KEYS` of the key that is down.
    current: Option<u8>,
}

/// The two tones of a window.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    low: Phasor,
    high: Phasor,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    pub fn new() -> Self {
        let hertz = |place: usize| if place < 4 { LOW[place] } else { HIGH[place - 4] };
        Self {
            filters: std::array::from_fn(|place| Goertzel::new(hertz(place) as f32)),
            above_dial_tone: HighPass::default(),
            samples: [0.0; SPAN],
            filled: 0,
            whole: [0.0; HALVES],
            above: [0.0; HALVES],
            dial_tone: DialTone::default(),
            past: [Pair::default(); AGREEING],
            last: None,
            run: 0,
            current: None,
        }
    }

    /// Takes samples in; a key that went down among them. (Two cannot: a packet is shorter than
    /// two presses.)
    pub fn feed(&mut self, samples: impl Iterator<Item = i16>) -> Option<char> {
        let mut pressed = None;
        for sample in samples {
            let sample = f32::from(sample);
            let above = self.above_dial_tone.filter(sample);
            self.whole[HALVES - 1] += sample * sample;
            self.above[HALVES - 1] += above * above;
            self.samples[SPAN - HOP + self.filled] = above;
            self.filled += 1;
            if self.filled == HOP {
                let found = self.find();
                pressed = self.judge(found).or(pressed);
                self.samples.copy_within(HOP.., 0);
                for energies in [&mut self.whole, &mut self.above] {
                    energies.copy_within(1.., 0);
                    energies[HALVES - 1] = 0.0;
                }
                self.filled = 0;
            }
        }
        pressed
    }

    /// The key that is down.
    pub fn current(&self) -> Option<char> {
        self.current.map(|place| char::from(KEYS[usize::from(place)]))
    }

    /// The key that the window may hold: generously, since its ends may be silence.
    fn find(&mut self) -> Option<u8> {
        let whole = self.whole[HALVES - 2] + self.whole[HALVES - 1];
        let above = self.above[HALVES - 2] + self.above[HALVES - 1];
        let dial_tone = self.dial_tone.follow((whole - above).max(0.0), whole);
        let energy = (whole - dial_tone).max(above);
        // Most of what comes is silence, or a voice below the groups: without looking further.
        if above < LEAST_POWER * WINDOW as f32 || above < ROUGH_SHARE * energy {
            return None;
        }
        let window = &self.samples[SPAN - WINDOW..];
        let phasors = self.filters.map(|filter| filter.measure(window));
        let powers = phasors.map(|phasor| phasor.power(WINDOW));
        let (low, high) = powers.split_at(4);
        let (row, column) = (loudest(low), loudest(high));
        let (row_power, column_power) = (low[row], high[column]);
        let is_loud = row_power > LEAST_POWER && column_power > LEAST_POWER;
        let is_even = column_power < row_power * ROUGH_REVERSE_TWIST
            && row_power < column_power * ROUGH_TWIST;
        let stands_out = |powers: &[f32], place: usize| {
            let mut others = powers.iter().enumerate().filter(|(other, _)| *other != place);
            others.all(|(_, power)| power * LEAST_LEAD < powers[place])
        };
        // A sine of amplitude A has the mean square A^2 / 2.
        let tones = (row_power + column_power) / 2.0 * WINDOW as f32;
        let is_key = is_loud
            && is_even
            && tones > ROUGH_SHARE * energy
            && stands_out(low, row)
            && stands_out(high, column);
        if !is_key {
            return None;
        }
        self.past.rotate_left(1);
        self.past[AGREEING - 1] = Pair { low: phasors[row], high: phasors[4 + column] };
        Some((row * 4 + column) as u8)
    }

    /// The end of a window: the key that it makes go down.
    fn judge(&mut self, found: Option<u8>) -> Option<char> {
        self.run = if found == self.last { self.run.saturating_add(1) } else { 1 };
        self.last = found;
        match found {
            None => {
                if self.run >= PARTING {
                    self.current = None;
                }
                None
            }
            Some(_) if self.run < AGREEING || found == self.current => None,
            Some(place) if self.is_key(usize::from(place)) => {
                self.current = found;
                self.current()
            }
            Some(_) => None,
        }
    }

    /// The close look at the last windows, which agree on the key.
    fn is_key(&self, place: usize) -> bool {
        let low = Tone::of(self.filters[place / 4], self.past.map(|pair| pair.low));
        let high = Tone::of(self.filters[4 + place % 4], self.past.map(|pair| pair.high));
        if !low.is_near() || !high.is_near() || (low.off() - high.off()).abs() > MOST_APART {
            return false;
        }
        if low.unsteadiness.max(high.unsteadiness) > MOST_UNSTEADY {
            return false;
        }
        // Over all windows at once, where the tones are now known to be.
        let [low, high] = [low, high].map(|tone| tone.power_in(&self.samples));
        let whole = self.whole.iter().sum::<f32>();
        let dial_tone = self.dial_tone.energy * (SPAN as f32 / WINDOW as f32);
        let energy = (whole - dial_tone).max(self.above.iter().sum());
        high < low * MOST_REVERSE_TWIST
            && low < high * MOST_TWIST
            && (low + high) / 2.0 * SPAN as f32 > LEAST_SHARE * energy
    }
}

/// What several windows in a row say of a tone.
#[derive(Debug, Clone, Copy)]
struct Tone {
    hertz: f32,
    /// From what it should be, in hertz.
    offset: f32,
    /// Its loudest window against its faintest.
    unsteadiness: f32,
}

impl Tone {
    fn of(filter: Goertzel, windows: [Phasor; AGREEING]) -> Self {
        let turns = windows.windows(2).map(|pair| pair[1].turn_since(pair[0]));
        let turn = turns.fold(Phasor::default(), Phasor::plus);
        let powers = windows.map(|phasor| phasor.power(WINDOW));
        let most = powers.iter().fold(0.0f32, |most, &power| most.max(power));
        let least = powers.iter().fold(f32::MAX, |least, &power| least.min(power));
        Self { hertz: filter.hertz(), offset: filter.offset(turn, HOP), unsteadiness: most / least }
    }

    /// The offset as a part of what it should be.
    fn off(self) -> f32 {
        self.offset / self.hertz
    }

    fn is_near(self) -> bool {
        self.offset.abs() < MOST_OFF * self.hertz + 2.0
    }

    fn power_in(self, samples: &[f32; SPAN]) -> f32 {
        Goertzel::new(self.hertz + self.offset).measure(samples).power(SPAN)
    }
}

/// A dial tone goes on until the exchange has understood a digit (TR-TSY-000763 asks for
/// detection at -15 dBm0 of it): what is steady below the groups does not count against a key.
#[derive(Debug, Clone, Default)]
struct DialTone {
    /// Of the windows that were alike: the least and the most energy, and how many.
    least: f32,
    most: f32,
    run: u32,
    /// Windows since it was heard.
    gone: u32,
    /// Its energy; zero while there is none.
    energy: f32,
}

impl DialTone {
    /// `below` the groups, of the `whole` energy. What of it is a dial tone's.
    fn follow(&mut self, below: f32, whole: f32) -> f32 {
        self.gone = if below < self.energy / 2.0 { self.gone.saturating_add(1) } else { 0 };
        if self.gone > LEFT_WINDOWS {
            self.energy = 0.0;
        }
        let (least, most) = (self.least.min(below), self.most.max(below));
        if self.run > 0 && most < least * STEADY && below > whole / 2.0 {
            (self.least, self.most) = (least, most);
            self.run = self.run.saturating_add(1);
        } else {
            (self.least, self.most, self.run) = (below, below, 1);
        }
        if self.run >= STEADY_WINDOWS {
            self.energy = below;
        }
        self.energy
    }
}

/// Elliptic, of the fourth order: 0.3 dB of ripple from 685 Hz on, at least 35 dB less at 350 to
/// 440 Hz, 24 dB at 480 Hz. (scipy.signal.ellip(4, 0.3, 35, 670 / 4000, 'high'))
#[derive(Debug, Clone, Default)]
struct HighPass {
    states: [[f32; 2]; 2],
}

impl HighPass {
    fn filter(&mut self, sample: f32) -> f32 {
        let sections = self.states.iter_mut().zip(SECTIONS);
        sections.fold(sample, |input, (state, [b0, b1, b2, a1, a2])| {
            let output = b0 * input + state[0];
            state[0] = b1 * input - a1 * output + state[1];
            state[1] = b2 * input - a2 * output;
            output
        })
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

const SECTIONS: [[f32; 5]; 2] = [
    [0.537_062, -1.062_053_8, 0.537_062, -1.064_930_5, 0.379_814_9],
    [1.0, -1.893_794_1, 1.0, -1.646_479_8, 0.875_418_2],
];

/// 12.75 ms: its width of 78 Hz takes the 1.5 % by which a tone may be off.
const WINDOW: usize = 102;
const HOP: usize = WINDOW / 2;
/// Windows in a row that hold the same key; together they are 32 ms long.
const AGREEING: usize = 4;
const HALVES: usize = AGREEING + 1;
const SPAN: usize = HALVES * HOP;
/// Windows without a key, after which the same key is another press. A gap of 10 ms is in four.
const PARTING: usize = 5;
/// -36 dBm0 per tone: below any handset's (Q.24 wants -25 heard and -55 not), above noise.
/// Amplitude 360 of the 22,300 of 0 dBm0.
const LEAST_POWER: f32 = 360.0 * 360.0;
/// What the close look asks for. Q.24 wants the low tone heard when it is 8 dB above the high
/// one, and the high one 4 dB above the low: with 1 dB for noise.
const MOST_TWIST: f32 = 7.94;
const MOST_REVERSE_TWIST: f32 = 3.16;
/// 1.5 % and 2 Hz, with 0.15 % for what noise does to the phase. Tones 3.5 % off are not heard.
const MOST_OFF: f32 = 0.0165;
/// One 1.5 % too high and the other too low, with 0.45 % for noise. Harmonics that stand as 4 to
/// 3 are 3.7 % off 1209 to 941 Hz.
const MOST_APART: f32 = 0.0345;
/// 4 dB between windows: an echo of -10 dB that sets in makes 3.
const MOST_UNSTEADY: f32 = 2.5;
/// Noise 12 dB below the tones has a share of 6 %.
const LEAST_SHARE: f32 = 0.89;
/// What one window must have: it may be a third silence, and its tones off.
const ROUGH_SHARE: f32 = 0.6;
const ROUGH_TWIST: f32 = 10.0;
const ROUGH_REVERSE_TWIST: f32 = 4.0;
/// The two tones are 6 dB above the others of their group, which lie beside their main lobe.
const LEAST_LEAD: f32 = 4.0;
/// 2.5 dB between the windows of a dial tone, whose two tones beat; it is one after 200 ms.
const STEADY: f32 = 1.8;
const STEADY_WINDOWS: u32 = 32;
/// 80 ms after a dial tone it is over. A key's low tone makes a window's measure uncertain.
const LEFT_WINDOWS: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::detect::material::{Dialled, Material};

    const ALL: &str = "123A456B789C*0#D";

    fn heard(samples: &[i16]) -> String {
        let mut detector = Detector::new();
        samples.chunks(160).filter_map(|packet| detector.feed(packet.iter().copied())).collect()
    }

    /// Digits of all sixteen that are heard, in so many rounds.
    fn hits(rounds: u64, dialled: Dialled) -> usize {
        let hit = |seed| {
            let found = heard(&dialled.samples(ALL, seed));
            // Keys found in their order; one too many is never right.
            let mut keys = ALL.chars();
            let known = found.chars().filter(|key| keys.any(|other| other == *key)).count();
            assert_eq!(known, found.len(), "{found} {dialled:?}");
            known
        };
        (1..=rounds).map(hit).sum()
    }

    #[test]
    fn q24_all_sixteen_digits_of_40_ms_with_pauses_of_40_ms_at_any_place() {
        assert_eq!(hits(20, Dialled::default()), 320);
    }

    #[test]
    fn q24_tones_of_20_and_23_ms_are_none() {
        assert_eq!(hits(10, Dialled { tone_ms: 20, ..Dialled::default() }), 0);
        assert_eq!(hits(20, Dialled { tone_ms: 23, ..Dialled::default() }), 0);
    }

    #[test]
    fn long_press_is_one_and_its_key_is_known_while_it_lasts() {
        let press = Dialled { tone_ms: 2000, ..Dialled::default() };
        assert_eq!(heard(&press.samples("8", 1)), "8");
        let mut detector = Detector::new();
        let samples = Dialled { tone_ms: 60, ..press }.samples("8", 1);
        let mut currents = Vec::new();
        for packet in samples.chunks(80) {
            detector.feed(packet.iter().copied());
            currents.push(detector.current());
        }
        currents.dedup();
        assert_eq!(currents, [None, Some('8'), None]);
    }

    #[test]
    fn q24_frequencies_1_5_percent_off_are_heard_and_3_5_percent_are_not() {
        let off = |low: f64, high: f64| Dialled { tone_ms: 50, low, high, ..Dialled::default() };
        for (low, high) in [(0.015, 0.015), (-0.015, -0.015), (0.015, -0.015), (-0.015, 0.015)] {
            assert_eq!(hits(5, off(low, high)), 80, "{low} {high}");
        }
        for (low, high) in [(0.035, 0.0), (-0.035, 0.0), (0.0, 0.035), (0.0, -0.035)] {
            let long = Dialled { tone_ms: 80, ..off(low, high) };
            assert_eq!(hits(5, long), 0, "{low} {high}");
        }
    }

    #[test]
    fn q24_twist_of_8_and_reverse_4_db_is_heard_and_10_and_6_db_are_not() {
        let twisted = |low_dbm: f64, high_dbm: f64| Dialled {
            tone_ms: 50,
            low_dbm,
            high_dbm,
            ..Dialled::default()
        };
        assert_eq!(hits(5, twisted(-10.0, -18.0)), 80);
        assert_eq!(hits(5, twisted(-14.0, -10.0)), 80);
        assert_eq!(hits(5, twisted(-10.0, -20.0)), 0);
        assert_eq!(hits(5, twisted(-16.0, -10.0)), 0);
    }

    #[test]
    fn q24_levels_from_0_to_minus_25_dbm_are_heard_and_minus_55_is_not() {
        let level = |dbm: f64| Dialled { low_dbm: dbm, high_dbm: dbm, ..Dialled::default() };
        for dbm in [0.0, -3.0, -10.0, -20.0, -25.0, -30.0] {
            assert_eq!(hits(5, level(dbm)), 80, "{dbm}");
        }
        for dbm in [-45.0, -55.0] {
            assert_eq!(hits(5, level(dbm)), 0, "{dbm}");
        }
    }

    #[test]
    fn q24_interruption_of_10_ms_does_not_double_a_press() {
        let interrupted = Dialled { tone_ms: 110, gap_ms: 10, ..Dialled::default() };
        assert_eq!(hits(20, interrupted), 320);
    }

    #[test]
    fn tr763_digits_of_50_ms_in_noise_15_db_below_them() {
        let noisy = |snr_db: f64| Dialled { tone_ms: 50, snr_db, ..Dialled::default() };
        assert_eq!(hits(20, noisy(24.0)), 320);
        assert!(hits(20, noisy(15.0)) >= 319);
    }

    #[test]
    fn tr763_digits_over_a_dial_tone_of_minus_15_dbm() {
        for dbm in [-5.0, -10.0, -15.0, -20.0] {
            let over = Dialled {
                tone_ms: 50,
                low_dbm: dbm,
                high_dbm: dbm,
                dial_tone_dbm: -15.0,
                ..Dialled::default()
            };
            assert_eq!(hits(5, over), 80, "{dbm}");
        }
    }

    #[test]
    fn tr763_impulses_ten_times_a_second_neither_split_nor_hide_digits() {
        let struck = Dialled { tone_ms: 80, impulses: true, ..Dialled::default() };
        assert!(hits(10, struck) >= 159);
    }

    #[test]
    fn q24_echo_of_minus_10_db_after_20_ms_does_no_harm() {
        assert_eq!(hits(10, Dialled { echo: true, ..Dialled::default() }), 160);
    }

    #[test]
    fn noise_single_tones_and_progress_tones_are_no_digits() {
        let seconds = 10_000;
        assert_eq!(heard(&Material::new(8000, 1).noise(seconds, -15.0).samples()), "");
        for hertz in LOW.iter().chain(&HIGH) {
            let tone = Material::new(8000, 1).tone(500, *hertz, -10.0).samples();
            assert_eq!(heard(&tone), "", "{hertz}");
        }
        // North America: ring-back, dial tone, busy; SIT.
        for pair in [(440.0, 480.0), (350.0, 440.0), (480.0, 620.0), (913.8, 1370.6)] {
            let tones = [(pair.0, -13.0), (pair.1, -13.0)];
            let samples = Material::new(8000, 1).tones(500, &tones).samples();
            assert_eq!(heard(&samples), "", "{pair:?}");
        }
    }

    #[test]
    fn talk_off_two_minutes_of_voices_and_music_press_no_key() {
        for seed in 0..4 {
            let speech = Material::new(8000, seed).speech(20_000, -20.0).samples();
            assert_eq!(heard(&speech), "", "{seed}");
            let music = Material::new(8000, seed).music(10_000, 3, -20.0).samples();
            assert_eq!(heard(&music), "", "{seed}");
        }
    }

    #[test]
    fn full_scale_and_extremes_do_no_harm() {
        let extremes: Vec<i16> =
            (0..8000).map(|n| if n % 7 < 3 { i16::MAX } else { i16::MIN }).collect();
        assert_eq!(heard(&extremes), "");
        assert_eq!(heard(&vec![i16::MIN; 8000]), "");
    }
}
