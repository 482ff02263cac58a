//! A conference: everybody hears the sum of all others.
//!
//! The sum is made once a tick; what a listener said itself is taken out of it again, so that a
//! tick costs as much as there are members. Voices are brought to one level before they are
//! added, what is no voice and hardly heard is left out, and who listens to a sum that is too
//! loud hears it turned down instead of clipped.
//!
//! Those who have said nothing for a while hear the same, so one encoding does for all of them that
//! take the same packets of a costly codec.
//!
//! A conference works at the highest rate that one of its members needs, and never above its own.

use super::codec::encoder::{EncoderSettings, MOST_BYTES};
use super::detect::voice::Detector;
use super::engine::Codec;
use super::frame::{Frame, Rate};
use super::packetizer::{Packet, Packetizer};
use super::resample::Resampler;
use crate::slots::Key;

/// The mixing side of a conference.
#[derive(Debug)]
pub struct Mixer {
    /// The highest it may work at.
    most: Rate,
    /// Of the sum.
    rate: Rate,
    /// By their keys, so that they are found in few steps.
    voices: Vec<Voice>,
    ears: Vec<Ear>,
    sum: Box<[i32; Rate::Full.frame()]>,
    choirs: Vec<Choir>,
    /// Of the sum, so that a choir knows whether it has it.
    tick: u64,
    speaker: Option<Key>,
    /// Ticks since the speaker changed, and since another became louder.
    since_change: u32,
    since_louder: u32,
}

/// What is added: a call's voice gets the level of the others, a player's sound stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Call,
    Player,
}

/// Who speaks into it.
#[derive(Debug)]
struct Voice {
    key: Key,
    kind: Kind,
    resampler: Option<Resampler>,
    detector: Detector,
    gain: Gain,
    /// Follows the level of speech, for the choice of the speaker.
    loudness: f32,
    /// What it adds to the sum of this tick.
    frame: Frame,
    is_heard: bool,
    /// Ticks since it was heard.
    quiet: u32,
}

/// Who hears it.
#[derive(Debug)]
struct Ear {
    key: Key,
    limiter: Limiter,
}

/// What all hear who are silent themselves, in packets of one kind.
#[derive(Debug)]
pub struct Choir {
    codec: Codec,
    settings: EncoderSettings,
    packetizer: Packetizer,
    limiter: Limiter,
    /// Of this tick: the payloads one after the other, and the length of each.
    payloads: Vec<u8>,
    lengths: heapless::Vec<usize, MOST_PACKETS>,
    tick: u64,
}

impl Mixer {
    pub fn new(most: Rate) -> Self {
        Self {
            most,
            rate: Rate::Narrow,
            voices: Vec::new(),
            ears: Vec::new(),
            sum: Box::new([0; Rate::Full.frame()]),
            choirs: Vec::new(),
            tick: 0,
            speaker: None,
            since_change: 0,
            since_louder: 0,
        }
    }

    /// The members are others than before: those who stay keep their levels.
    pub fn seat(&mut self, sources: &[(Key, Kind)], listeners: &[Key]) {
        let mut before = std::mem::take(&mut self.voices);
        self.voices.extend(sources.iter().map(|&(key, kind)| {
            match before.iter().position(|voice| voice.key == key) {
                Some(place) => before.swap_remove(place),
                None => Voice::new(key, kind),
            }
        }));
        self.voices.sort_unstable_by_key(|voice| voice.key);
        let mut before = std::mem::take(&mut self.ears);
        self.ears.extend(listeners.iter().map(|&key| {
            match before.iter().position(|ear| ear.key == key) {
                Some(place) => before.swap_remove(place),
                None => Ear { key, limiter: Limiter::default() },
            }
        }));
        self.ears.sort_unstable_by_key(|ear| ear.key);
    }

    /// A tick begins; `needed` is the highest rate that a member has a use for.
    pub fn begin(&mut self, needed: Rate) {
        self.rate = needed.min(self.most);
        self.tick += 1;
        self.sum[..self.rate.frame()].fill(0);
        for voice in &mut self.voices {
            voice.is_heard = false;
        }
    }

    /// What one of the sources says in this tick; who is not named is silent.
    pub fn add(&mut self, key: Key, frame: &Frame) {
        let Ok(place) = self.voices.binary_search_by_key(&key, |voice| voice.key) else { return };
        let Some(voice) = self.voices.get_mut(place) else { return };
        voice.listen(frame, self.rate);
        if voice.is_heard {
            for (sum, &sample) in self.sum.iter_mut().zip(voice.frame.samples()) {
                *sum += i32::from(sample);
            }
        }
    }

    /// All have spoken: the speaker, where that is another from now on.
    pub fn end(&mut self) -> Option<Option<Key>> {
        for voice in &mut self.voices {
            voice.quiet = if voice.is_heard { 0 } else { voice.quiet.saturating_add(1) };
            if !voice.is_heard {
                voice.loudness = voice.loudness.min(QUIET);
            }
        }
        self.since_change = self.since_change.saturating_add(1);
        let speaking = |voice: &&Voice| voice.kind == Kind::Call && voice.detector.is_speaking();
        let voices = self.voices.iter().filter(speaking);
        let loudest = voices.max_by(|a, b| a.loudness.total_cmp(&b.loudness));
        let current = self.speaker.and_then(|key| self.voices.iter().find(|v| v.key == key));
        let is_other = match (loudest, current.filter(|voice| speaking(voice))) {
            (Some(loudest), Some(current)) => loudest.loudness > current.loudness + LEAD,
            (Some(_), None) => true,
            // Between two sentences nobody is another speaker.
            (None, _) => false,
        };
        self.since_louder = if is_other { self.since_louder + 1 } else { 0 };
        let is_over = self.speaker.is_some() && current.is_none();
        let is_due = self.since_louder >= LOUDER_TICKS && self.since_change >= LEAST_TURN_TICKS;
        if !is_over && !is_due {
            return None;
        }
        self.since_change = 0;
        self.since_louder = 0;
        self.speaker = loudest.map(|voice| voice.key);
        Some(self.speaker)
    }

    /// What one of the listeners hears.
    pub fn mix(&mut self, listener: Key, out: &mut Frame) {
        if out.rate() != self.rate {
            *out = Frame::silence(self.rate);
        }
        let own = self.voices.binary_search_by_key(&listener, |voice| voice.key).ok();
        let own = own.and_then(|place| self.voices.get(place)).filter(|voice| voice.is_heard);
        let ear = self.ears.binary_search_by_key(&listener, |ear| ear.key).ok();
        let Some(ear) = ear.and_then(|place| self.ears.get_mut(place)) else {
            return out.samples_mut().fill(0);
        };
        let mut sums = [0; Rate::Full.frame()];
        let sums = &mut sums[..self.rate.frame()];
        sums.copy_from_slice(&self.sum[..self.rate.frame()]);
        if let Some(own) = own {
            for (sum, &sample) in sums.iter_mut().zip(own.frame.samples()) {
                *sum -= i32::from(sample);
            }
        }
        ear.limiter.limit(sums, out.samples_mut());
    }
}

/// Sharing.
impl Mixer {
    /// The packets of this tick for a listener who may have the same as others. `None`: it has said
    /// something lately, or its codec costs next to nothing, or there are few.
    pub fn choir(
        &mut self,
        listener: Key,
        codec: Codec,
        settings: EncoderSettings,
    ) -> Option<&Choir> {
        let is_costly = matches!(codec, Codec::G722 | Codec::Opus);
        if !is_costly || self.ears.len() < LEAST_CHOIR {
            return None;
        }
        if let Ok(place) = self.voices.binary_search_by_key(&listener, |voice| voice.key)
            && self.voices.get(place).is_some_and(|voice| voice.quiet < SILENT_TICKS)
        {
            return None;
        }
        let is_it = |choir: &Choir| choir.codec == codec && choir.settings == settings;
        let place = match self.choirs.iter().position(is_it) {
            Some(place) => place,
            None if self.choirs.len() < MOST_CHOIRS => {
                self.choirs.push(Choir::new(codec, settings));
                self.choirs.len() - 1
            }
            None => return None,
        };
        let choir = self.choirs.get_mut(place)?;
        if choir.tick != self.tick {
            choir.sing(&self.sum[..self.rate.frame()], self.rate, self.tick);
        }
        Some(choir)
    }
}

impl Choir {
    fn new(codec: Codec, settings: EncoderSettings) -> Self {
        Self {
            codec,
            settings,
            packetizer: Packetizer::new(codec, settings),
            limiter: Limiter::default(),
            payloads: Vec::with_capacity(MOST_PACKETS * MOST_BYTES),
            lengths: heapless::Vec::new(),
            tick: 0,
        }
    }

    /// Payloads of this tick; an empty one is a pause.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.payloads[..];
        self.lengths.iter().map(move |&length| {
            let (payload, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            payload
        })
    }

    /// Timestamp units of a packet.
    pub fn units(&self) -> u32 {
        self.packetizer.units()
    }

    fn sing(&mut self, sum: &[i32], rate: Rate, tick: u64) {
        // Nobody listened for a while: half a packet from then is not sent now.
        if self.tick + 1 != tick {
            self.packetizer.clear();
        }
        self.tick = tick;
        let mut frame = Frame::silence(rate);
        self.limiter.limit(sum, frame.samples_mut());
        self.packetizer.put(Some(&frame), None);
        self.payloads.clear();
        self.lengths.clear();
        while let Some(packet) = self.packetizer.take() {
            let payload = match packet {
                Packet::Payload(payload) => payload,
                Packet::Pause => &[],
            };
            if self.lengths.push(payload.len()).is_ok() {
                self.payloads.extend_from_slice(payload);
            }
        }
    }
}

impl Voice {
    fn new(key: Key, kind: Kind) -> Self {
        Self {
            key,
            kind,
            resampler: None,
            detector: Detector::default(),
            gain: Gain::default(),
            loudness: QUIET,
            frame: Frame::silence(Rate::Narrow),
            is_heard: false,
            quiet: 0,
        }
    }

    fn listen(&mut self, frame: &Frame, rate: Rate) {
        if self.kind == Kind::Call {
            self.detector.feed(frame);
            let level = self.detector.level_dbfs();
            self.loudness += (level.max(QUIET) - self.loudness) * FOLLOW;
            if self.detector.is_loud() {
                self.gain.follow(level);
            }
            self.gain.open(self.detector.is_speaking() || level > HARDLY_HEARD);
        }
        if !self.gain.is_open() {
            return;
        }
        if frame.rate() == rate {
            self.resampler = None;
            self.frame.clone_from(frame);
        } else {
            let is_right = |r: &Resampler| r.from() == frame.rate() && r.to() == rate;
            let resampler = match self.resampler.take().filter(is_right) {
                Some(resampler) => resampler,
                None => Resampler::new(frame.rate(), rate),
            };
            self.frame = self.resampler.insert(resampler).process(frame);
        }
        self.gain.apply(self.frame.samples_mut());
        self.is_heard = true;
    }
}

/// The level of one voice: what is added to the sum is as loud as the others.
#[derive(Debug)]
struct Gain {
    /// Where speech is brought to its level, in decibels.
    speech_db: f32,
    is_open: bool,
    /// Of the last sample, in units of `UNITY`.
    now: i32,
}

impl Default for Gain {
    fn default() -> Self {
        Self { speech_db: 0.0, is_open: true, now: UNITY }
    }
}

impl Gain {
    /// Slow enough not to be heard, upwards slower than downwards.
    fn follow(&mut self, level_dbfs: f32) {
        let wanted = (SPEECH_LEVEL - level_dbfs).clamp(-MOST_CHANGE, MOST_CHANGE);
        let step = (wanted - self.speech_db).clamp(-STEP_DOWN, STEP_UP);
        self.speech_db += step;
    }

    fn open(&mut self, is_open: bool) {
        self.is_open = is_open;
    }

    /// It lets something through, or is still closing.
    fn is_open(&self) -> bool {
        self.is_open || self.now > 0
    }

    /// From the last gain to the new one within the frame.
    fn apply(&mut self, samples: &mut [i16]) {
        let wanted = match self.is_open {
            true => (10f32.powf(self.speech_db / 20.0) * UNITY as f32) as i32,
            false => 0,
        };
        let before = std::mem::replace(&mut self.now, wanted);
        if before == UNITY && wanted == UNITY {
            return;
        }
        let length = samples.len() as i32;
        for (place, sample) in (1..).zip(samples) {
            let gain = before + (wanted - before) * place / length;
            let scaled = i32::from(*sample) * gain / UNITY;
            *sample = scaled.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
    }
}

/// Turns down what would be too loud for one listener.
#[derive(Debug)]
struct Limiter {
    /// In units of `UNITY`, at most that.
    gain: i32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: UNITY }
    }
}

impl Limiter {
    /// Down within 2.5 ms, since the frame is known before it is heard; up again over half a
    /// second.
    fn limit(&mut self, sums: &[i32], out: &mut [i16]) {
        let peak = sums.iter().map(|sum| sum.unsigned_abs()).max().unwrap_or(0) as i64;
        let bearable = match peak {
            0..=CEILING => i64::from(UNITY),
            _ => CEILING * i64::from(UNITY) / peak,
        };
        let up = self.gain + self.gain / RELEASE + 1;
        let wanted = (bearable as i32).min(up).min(UNITY);
        let before = std::mem::replace(&mut self.gain, wanted);
        if before == UNITY && wanted == UNITY {
            for (sample, &sum) in out.iter_mut().zip(sums) {
                *sample = sum as i16;
            }
            return;
        }
        let ramp = if wanted < before { sums.len() / 8 } else { sums.len() };
        for (place, (sample, &sum)) in out.iter_mut().zip(sums).enumerate() {
            let gain = match place < ramp {
                true => before + (wanted - before) * (place as i32 + 1) / ramp as i32,
                false => wanted,
            };
            let scaled = i64::from(sum) * i64::from(gain) / i64::from(UNITY);
            *sample = scaled.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
    }
}

/// A gain that changes nothing. 4 times that and a sample fit into 32 bits.
const UNITY: i32 = 1 << 12;
/// Half a decibel below full scale, so that what follows (another law, another rate) has room.
const CEILING: i64 = 30_900;
/// A frame's share of the limiter's way up: half a decibel.
const RELEASE: i32 = 17;

/// Active speech level that telephony is built for (ITU-T P.56 and G.100: -26 dBov).
const SPEECH_LEVEL: f32 = -26.0;
/// How much louder or softer a voice is made, in decibels.
const MOST_CHANGE: f32 = 12.0;
/// Per frame of speech: 3 dB and 6 dB in a second of it.
const STEP_UP: f32 = 0.06;
const STEP_DOWN: f32 = 0.12;
/// Below this, and no voice: the noise of many lines would add up. In dBFS.
const HARDLY_HEARD: f32 = -50.0;

/// Listeners from which on sharing pays.
const LEAST_CHOIR: usize = 4;
/// Kinds of packets of one conference. Full: further ones are encoded for each.
const MOST_CHOIRS: usize = 8;
/// A tick has two packets of 10 ms.
const MOST_PACKETS: usize = 2;
/// Two seconds: a pause between two sentences changes nothing.
const SILENT_TICKS: u32 = 100;

/// What a silent member counts with.
const QUIET: f32 = -70.0;
/// Levels follow within about 200 ms.
const FOLLOW: f32 = 0.1;
/// The one who interrupts is louder by so many decibels, for 300 ms; and nobody takes over sooner
/// than half a second after another.
const LEAD: f32 = 3.0;
const LOUDER_TICKS: u32 = 15;
const LEAST_TURN_TICKS: u32 = 25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;

    fn keys(count: usize) -> Vec<Key> {
        let mut slots = Slots::with_capacity(count);
        (0..count).map(|n| slots.insert(n).unwrap()).collect()
    }

    /// A conference of which all speak and hear, and what each heard.
    struct Bench {
        mixer: Mixer,
        keys: Vec<Key>,
        tick: usize,
        heard: Vec<Vec<i16>>,
        speakers: Vec<Option<usize>>,
    }

    impl Bench {
        fn new(count: usize, most: Rate, kind: Kind) -> Self {
            let keys = keys(count);
            let mut mixer = Mixer::new(most);
            let sources: Vec<_> = keys.iter().map(|&key| (key, kind)).collect();
            mixer.seat(&sources, &keys);
            Self { mixer, keys, tick: 0, heard: vec![Vec::new(); count], speakers: Vec::new() }
        }

        /// `says` gives hertz, amplitude and rate for who speaks.
        fn run(&mut self, ticks: usize, says: impl Fn(usize) -> Option<(f64, f64, Rate)>) {
            for _ in 0..ticks {
                self.mixer.begin(Rate::Full);
                for (place, &key) in self.keys.iter().enumerate() {
                    if let Some((hertz, amplitude, rate)) = says(place) {
                        self.mixer.add(key, &tone(hertz, amplitude, rate, self.tick));
                    }
                }
                if let Some(speaker) = self.mixer.end() {
                    let place = |key| self.keys.iter().position(|&other| other == key);
                    self.speakers.push(speaker.and_then(place));
                }
                let mut out = Frame::silence(Rate::Narrow);
                for (heard, &key) in self.heard.iter_mut().zip(&self.keys) {
                    self.mixer.mix(key, &mut out);
                    heard.extend_from_slice(out.samples());
                }
                self.tick += 1;
            }
        }

        /// The second half of what was heard.
        fn late(&self, place: usize) -> &[i16] {
            &self.heard[place][self.heard[place].len() / 2..]
        }
    }

    fn tone(hertz: f64, amplitude: f64, rate: Rate, tick: usize) -> Frame {
        let mut frame = Frame::silence(rate);
        for (place, sample) in frame.samples_mut().iter_mut().enumerate() {
            let at = (tick * rate.frame() + place) as f64 / f64::from(rate.hertz());
            *sample = (amplitude * (std::f64::consts::TAU * hertz * at).sin()) as i16;
        }
        frame
    }

    /// Amplitude of one frequency in samples: the projection on its sine and cosine.
    fn amplitude(samples: &[i16], hertz: f64, rate: Rate) -> f64 {
        let angle = |n: usize| std::f64::consts::TAU * hertz * n as f64 / f64::from(rate.hertz());
        let sum = |f: fn(f64) -> f64| {
            let products = samples.iter().enumerate().map(|(n, &s)| f64::from(s) * f(angle(n)));
            products.sum::<f64>() * 2.0 / samples.len() as f64
        };
        sum(f64::sin).hypot(sum(f64::cos))
    }

    #[test]
    fn each_hears_the_others_and_not_itself() {
        let pitch = |place: usize| 400.0 + 150.0 * place as f64;
        let mut bench = Bench::new(6, Rate::Narrow, Kind::Player);
        bench.run(50, |place| Some((pitch(place), 2000.0, Rate::Narrow)));
        for listener in 0..6 {
            for speaker in 0..6 {
                let heard = amplitude(bench.late(listener), pitch(speaker), Rate::Narrow);
                match listener == speaker {
                    true => assert!(heard < 2.0, "{listener}: {heard}"),
                    false => {
                        assert!((heard - 2000.0).abs() < 10.0, "{listener} {speaker}: {heard}")
                    }
                }
            }
        }
    }

    #[test]
    fn members_of_all_rates_hear_each_other_at_the_highest() {
        let rates = [Rate::Narrow, Rate::Wide, Rate::Full];
        let mut bench = Bench::new(3, Rate::Full, Kind::Player);
        let pitch = |place: usize| 500.0 + 400.0 * place as f64;
        bench.run(50, |place| Some((pitch(place), 3000.0, rates[place])));
        for listener in 0..3 {
            assert_eq!(bench.heard[listener].len(), 50 * 960);
            for speaker in (0..3).filter(|speaker| *speaker != listener) {
                let heard = amplitude(bench.late(listener), pitch(speaker), Rate::Full);
                assert!((heard - 3000.0).abs() < 60.0, "{listener} {speaker}: {heard}");
            }
            assert!(amplitude(bench.late(listener), pitch(listener), Rate::Full) < 5.0);
        }
    }

    #[test]
    fn hundred_loud_members_are_turned_down_without_clipping() {
        let mut bench = Bench::new(100, Rate::Narrow, Kind::Player);
        bench.run(50, |place| Some((200.0 + 30.0 * place as f64, 8000.0, Rate::Narrow)));
        let late = bench.late(0);
        assert!(late.iter().all(|sample| sample.unsigned_abs() <= 31_000));
        assert!(late.iter().any(|sample| sample.unsigned_abs() > 25_000));
        // Turned down alike: each of the others is as loud as the next.
        let levels: Vec<f64> =
            [10, 40, 90].map(|n| amplitude(late, 200.0 + 30.0 * f64::from(n), Rate::Narrow)).into();
        assert!(levels.iter().all(|level| (level / levels[0] - 1.0).abs() < 0.2), "{levels:?}");
    }

    #[test]
    fn sum_of_two_that_is_too_loud_has_no_other_tones() {
        let mut bench = Bench::new(3, Rate::Narrow, Kind::Player);
        let says = |place| match place {
            0 => Some((500.0, 30_000.0, Rate::Narrow)),
            1 => Some((900.0, 30_000.0, Rate::Narrow)),
            _ => None,
        };
        bench.run(100, says);
        let late = bench.late(2);
        let [one, two] = [500.0, 900.0].map(|hertz| amplitude(late, hertz, Rate::Narrow));
        assert!(one > 14_000.0 && two > 14_000.0, "{one} {two}");
        // Where clipping would put its products: 2 f1 - f2, 2 f2 - f1, f1 + f2. 40 dB down.
        for hertz in [100.0, 1300.0, 1400.0, 1500.0] {
            let product = amplitude(late, hertz, Rate::Narrow);
            assert!(product < one / 100.0, "{hertz}: {product}");
        }
        // Alone again, the first is as loud as it speaks.
        bench.heard[2].clear();
        bench.run(100, |place| (place == 0).then_some((500.0, 30_000.0, Rate::Narrow)));
        let again = amplitude(bench.late(2), 500.0, Rate::Narrow);
        assert!(again > 29_000.0, "{again}");
    }

    #[test]
    fn loud_and_soft_voices_come_to_one_level() {
        let mut bench = Bench::new(3, Rate::Narrow, Kind::Call);
        // A syllable of 200 ms and a pause of 100, since a tone that does not end is noise.
        for _ in 0..150 {
            for (ticks, factor) in [(10, 1.0), (5, 0.0)] {
                bench.run(ticks, |place| match place {
                    0 => Some((500.0, factor * 12_000.0, Rate::Narrow)),
                    1 => Some((900.0, factor * 1200.0, Rate::Narrow)),
                    _ => Some((700.0, 0.0, Rate::Narrow)),
                });
            }
        }
        let late = &bench.heard[2][bench.heard[2].len() - 8000..];
        let [loud, soft] = [500.0, 900.0].map(|hertz| amplitude(late, hertz, Rate::Narrow));
        let decibels = 20.0 * (loud / soft).log10();
        // 20 dB apart before.
        assert!(decibels.abs() < 3.0, "{loud} {soft}: {decibels}");
    }

    #[test]
    fn noise_of_silent_members_does_not_add_up() {
        let mut bench = Bench::new(41, Rate::Narrow, Kind::Call);
        // 60 dB below full scale each.
        bench.run(50, |place| (place > 0).then_some((600.0, 32.0, Rate::Narrow)));
        assert!(bench.late(0).iter().all(|sample| *sample == 0));
    }

    #[test]
    fn speaker_changes_when_another_has_been_louder_for_a_while() {
        let mut bench = Bench::new(2, Rate::Narrow, Kind::Call);
        let turns = [(0, 40), (9, 40), (0, 100), (1, 100)];
        for (speaker, ticks) in turns {
            bench.run(ticks, |place| match place == speaker {
                true => Some((500.0, 6000.0, Rate::Narrow)),
                false => Some((500.0, 0.0, Rate::Narrow)),
            });
        }
        assert_eq!(bench.speakers, [Some(0), Some(1)]);
        let keys = bench.keys.split_off(1);
        bench.mixer.seat(&[(bench.keys[0], Kind::Call)], &bench.keys);
        bench.run(1, |_| None);
        assert_eq!(bench.speakers, [Some(0), Some(1), None], "{keys:?}");
    }

    #[test]
    fn who_leaves_and_comes_again_does_not_disturb_the_others() {
        let mut bench = Bench::new(3, Rate::Narrow, Kind::Player);
        let says = |place| (place == 1).then_some((500.0, 3000.0, Rate::Narrow));
        bench.run(10, says);
        let sources: Vec<_> = bench.keys.iter().map(|&key| (key, Kind::Player)).collect();
        for seats in [&[0, 1][..], &[1], &[0, 1, 2]] {
            let sources: Vec<_> = seats.iter().map(|&place| sources[place]).collect();
            let listeners: Vec<Key> = sources.iter().map(|(key, _)| *key).collect();
            bench.mixer.seat(&sources, &listeners);
            bench.run(10, says);
        }
        let said: Vec<i16> = (0..40)
            .flat_map(|tick| tone(500.0, 3000.0, Rate::Narrow, tick).samples().to_vec())
            .collect();
        assert_eq!(bench.heard[0][..20 * 160], said[..20 * 160]);
        assert_eq!(bench.heard[0][20 * 160..30 * 160], [0; 10 * 160]);
        assert_eq!(bench.heard[0][30 * 160..], said[30 * 160..]);
    }
}
