//! A step of 20 ms: who says what to whom.
//!
//! First what there is to hear is made: players go on, and calls whose audio somebody needs as
//! samples are decoded; then conferences add it up; then calls say what they say, and recorders
//! take it down. A call that is only relayed has no part in it but a look now and then.

use std::time::{Duration, Instant};

use super::dtmf::{Step, frequencies};
use super::engine::{Engine, Event, Output};
use super::frame::{Frame, Rate};
use super::mixer::Kind;
use super::recorder::Voice;
use super::stream::{News, Said, Stream};
use super::ticks::Tick;
use super::unit::{Body, Unit, Units};
use crate::slots::Key;

impl Engine {
    pub(super) fn tick(&mut self, tick: Tick) {
        let now = tick.at;
        let mut keys = std::mem::take(&mut self.keys);
        self.units.list_keys(&mut keys);
        let mut is_busy = false;
        for &key in &keys {
            is_busy |= self.make(now, key);
        }
        for &key in &keys {
            self.confer(key);
        }
        for &key in &keys {
            is_busy |= self.say(now, key);
        }
        for &key in &keys {
            self.take_down(now, key);
            if tick.is_round {
                self.look_after(now, key);
            }
        }
        self.keys = keys;
        self.clock.rest(is_busy);
    }

    /// What a player or a call lets others hear in this step; whether it needs the next one.
    fn make(&mut self, now: Instant, key: Key) -> bool {
        match self.units.body(key) {
            Some(Body::Player(_)) => self.play(now, key),
            Some(Body::Call(_)) => self.hear(now, key),
            Some(Body::Conference(_) | Body::Recorder(_)) | None => false,
        }
    }

    fn play(&mut self, now: Instant, key: Key) -> bool {
        let has_path = has_path(&self.units, key);
        let Some(unit) = self.units.get_mut(key) else { return false };
        let Body::Player(player) = &mut unit.body else { return false };
        if !player.is_running() {
            // What it said last is over.
            player.is_sounding = false;
            return false;
        }
        player.tick(now, has_path, |event| self.outputs.push_back(Output::Event(event)));
        player.is_sounding || player.is_running()
    }

    fn hear(&mut self, now: Instant, key: Key) -> bool {
        let is_needed = is_needed(&self.units, key);
        let Some(unit) = self.units.get_mut(key) else { return false };
        let Body::Call(stream) = &mut unit.body else { return false };
        if !is_needed {
            stream.stop_hearing();
            return false;
        }
        let mut news = News::default();
        stream.hear(now, &mut news);
        let id = unit.id;
        self.report(id, &news);
        true
    }

    /// The sum of what is said into a conference in this step.
    fn confer(&mut self, key: Key) {
        let Some(unit) = self.units.get(key) else { return };
        if !matches!(unit.body, Body::Conference(_)) {
            return;
        }
        // Nobody hears more than the best of the sources has, nor than the best of the ears takes.
        let best = |keys: &[Key]| {
            let bodies = keys.iter().filter_map(|&key| self.units.body(key));
            bodies.map(rate_of).max().unwrap_or(Rate::Narrow)
        };
        let rate = best(&unit.sources).min(best(&unit.listeners));
        if unit.is_rewired {
            self.seat(key);
        }
        if let Some(Body::Conference(mixer)) = self.units.body_mut(key) {
            mixer.begin(rate);
        }
        let mut place = 0;
        while let Some(&source) = self.units.get(key).and_then(|unit| unit.sources.get(place)) {
            place += 1;
            if let Some((conference, speaker)) = self.units.pair_mut(key, source)
                && let Body::Conference(mixer) = &mut conference.body
                && let Some(frame) = said_by(speaker)
            {
                mixer.add(source, frame);
            }
        }
        if let Some(Body::Conference(mixer)) = self.units.body_mut(key)
            && let Some(speaker) = mixer.end()
        {
            let id = |key| self.units.get(key).map(|unit| unit.id);
            if let Some(unit) = id(key) {
                let speaker = speaker.and_then(id);
                self.tell(Event::Speaker { unit, speaker });
            }
        }
    }

    /// The members of a conference are others than before.
    fn seat(&mut self, key: Key) {
        let Some(unit) = self.units.get(key) else { return };
        let kind = |&source: &Key| match self.units.body(source) {
            Some(Body::Call(_)) => (source, Kind::Call),
            _ => (source, Kind::Player),
        };
        let sources: Vec<(Key, Kind)> = unit.sources.iter().map(kind).collect();
        if let Some(unit) = self.units.get_mut(key)
            && let Body::Conference(mixer) = &mut unit.body
        {
            mixer.seat(&sources, &unit.listeners);
            unit.is_rewired = false;
        }
    }

    /// What we say on a call in this step; whether it needs the next one.
    fn say(&mut self, now: Instant, key: Key) -> bool {
        let Some(unit) = self.units.get(key) else { return false };
        let Body::Call(stream) = &unit.body else { return false };
        if !stream.can_send() {
            return false;
        }
        let source = unit.sources.first().and_then(|&key| Some((key, self.units.get(key)?)));
        let (said, is_own) = match source {
            None => (Said::Nothing, true),
            Some((source, unit)) if is_relayed(unit, stream) => {
                (Said::Relayed(source), is_idle(stream, now))
            }
            Some((source, unit)) if says_something(unit) => (Said::Unit(source), true),
            Some(_) => (Said::Nothing, true),
        };
        let Some(stream) = self.units.call_mut(key) else { return false };
        let out = &mut self.transmits;
        match (stream.keypad.step(), stream.dtmf_payload_type()) {
            (Step::Tone { digit, ticks }, Some(_)) => {
                stream.press(out, now, digit, ticks);
                return true;
            }
            (Step::Tone { digit, ticks }, None) => {
                let tone = tone(digit, ticks, stream.codec().rate());
                stream.speak(out, now, Some(&tone), Said::Digit);
                record(&mut self.units, now, key, &tone);
                return true;
            }
            (Step::End { digit, repeat }, Some(_)) => {
                stream.release(out, now, digit, repeat);
                return true;
            }
            (Step::End { .. }, None) | (Step::Rest, _) => {}
        }
        let is_pressing = stream.keypad.is_busy();
        match said {
            Said::Unit(_) if stream.is_carrying(now) => {}
            Said::Unit(source) => self.say_of(now, key, source),
            Said::Nothing | Said::Digit => stream.speak(out, now, None, Said::Nothing),
            Said::Relayed(source) => {
                if is_own {
                    stream.speak(out, now, None, Said::Nothing);
                }
                self.record_of(now, key, source);
            }
        }
        is_own || is_pressing
    }

    /// What another says to a call that hears it.
    fn say_of(&mut self, now: Instant, listener: Key, source: Key) {
        let Some((speaker, unit)) = self.units.pair_mut(source, listener) else { return };
        let Body::Call(stream) = &mut unit.body else { return };
        let out = &mut self.transmits;
        if let Body::Conference(mixer) = &mut speaker.body {
            if unit.taps.is_empty()
                && let Some(settings) = stream.encoding()
                && let Some(choir) = mixer.choir(listener, stream.codec(), settings)
            {
                return stream.sing(out, now, choir, Said::Unit(source));
            }
            mixer.mix(listener, &mut self.mixed);
            stream.speak(out, now, Some(&self.mixed), Said::Unit(source));
            record(&mut self.units, now, listener, &self.mixed);
        } else if let Some(frame) = said_by(speaker) {
            stream.speak(out, now, Some(frame), Said::Unit(source));
            self.record_of(now, listener, source);
        }
    }

    /// To the recorders of a call: what a player or a call says to it.
    fn record_of(&mut self, now: Instant, listener: Key, source: Key) {
        let mut place = 0;
        while let Some(&tap) = self.units.get(listener).and_then(|unit| unit.taps.get(place)) {
            place += 1;
            self.take_down_from(now, tap, source, Voice::ToEndpoint);
        }
    }

    /// What recorders hear in this step, but for what is said to a recorded call.
    fn take_down(&mut self, now: Instant, key: Key) {
        match self.units.body(key) {
            Some(Body::Call(_)) => {
                let mut place = 0;
                while let Some(&tap) = self.units.get(key).and_then(|unit| unit.taps.get(place)) {
                    place += 1;
                    self.take_down_from(now, tap, key, Voice::FromEndpoint);
                }
            }
            Some(Body::Recorder(_)) => {
                let mut place = 0;
                while let Some(&source) =
                    self.units.get(key).and_then(|unit| unit.sources.get(place))
                {
                    place += 1;
                    self.take_down_from(now, key, source, Voice::Unit(source));
                }
            }
            Some(Body::Player(_) | Body::Conference(_)) | None => {}
        }
    }

    fn take_down_from(&mut self, now: Instant, recorder: Key, source: Key, voice: Voice) {
        let Some((unit, source)) = self.units.pair_mut(recorder, source) else { return };
        let Body::Recorder(sink) = &mut unit.body else { return };
        if let Body::Conference(mixer) = &mut source.body {
            mixer.mix(recorder, &mut self.mixed);
            sink.write(now, voice, &self.mixed);
        } else if let Some(frame) = said_by(source) {
            sink.write(now, voice, frame);
        }
    }

    /// Time-outs, reports, blocks of recordings: every 100 ms.
    fn look_after(&mut self, now: Instant, key: Key) {
        let interval = self.report_interval_if_due(now, key);
        let Some(unit) = self.units.get_mut(key) else { return };
        let id = unit.id;
        match &mut unit.body {
            Body::Call(stream) => {
                if let Some(interval) = interval {
                    stream.control.next_at = now + interval;
                    stream.send_control(&mut self.transmits, now, self.epoch, false);
                }
                if stream.has_gone_silent(now, self.config.rtp_timeout) {
                    self.tell(Event::RtpStopped { unit: id });
                }
            }
            Body::Recorder(recorder) => {
                while let Some(samples) = recorder.take_block(now) {
                    self.outputs.push_back(Output::Recorded { unit: id, samples });
                }
            }
            Body::Player(_) | Body::Conference(_) => {}
        }
    }

    fn report_interval_if_due(&mut self, now: Instant, key: Key) -> Option<Duration> {
        match self.units.body(key) {
            Some(Body::Call(stream)) if stream.control.next_at <= now => {
                Some(self.report_interval())
            }
            _ => None,
        }
    }
}

/// To the recorders of a call: what it hears.
fn record(units: &mut Units, now: Instant, listener: Key, frame: &Frame) {
    let mut place = 0;
    while let Some(&tap) = units.get(listener).and_then(|unit| unit.taps.get(place)) {
        place += 1;
        if let Some(Body::Recorder(recorder)) = units.body_mut(tap) {
            recorder.write(now, Voice::ToEndpoint, frame);
        }
    }
}

/// Whether a player may begin: not all of its listeners are calls without a media path.
fn has_path(units: &Units, player: Key) -> bool {
    let Some(unit) = units.get(player) else { return true };
    let mut listeners = unit.listeners.iter().filter_map(|&listener| units.body(listener));
    unit.listeners.is_empty()
        || listeners.any(|body| match body {
            Body::Call(stream) => stream.has_path(),
            Body::Conference(_) | Body::Player(_) | Body::Recorder(_) => true,
        })
}

/// Whether somebody needs what the call says as samples.
fn is_needed(units: &Units, call: Key) -> bool {
    let Some(unit) = units.get(call) else { return false };
    let Body::Call(stream) = &unit.body else { return false };
    let needs = |listener: &Unit| match &listener.body {
        Body::Call(other) => !stream.suits(other) || !listener.taps.is_empty(),
        Body::Conference(_) | Body::Recorder(_) => true,
        Body::Player(_) => false,
    };
    stream.is_listened_to()
        || !unit.taps.is_empty()
        || unit.listeners.iter().filter_map(|&key| units.get(key)).any(needs)
}

/// Whether its packets are passed on to this call as they come.
fn is_relayed(source: &Unit, listener: &Stream) -> bool {
    match &source.body {
        Body::Call(stream) => !source.muted && stream.suits(listener),
        Body::Conference(_) | Body::Player(_) | Body::Recorder(_) => false,
    }
}

fn says_something(unit: &Unit) -> bool {
    match &unit.body {
        Body::Conference(_) => true,
        Body::Call(_) | Body::Player(_) | Body::Recorder(_) => said_by(unit).is_some(),
    }
}

/// What a player or a call says in this step.
fn said_by(unit: &Unit) -> Option<&Frame> {
    match &unit.body {
        _ if unit.muted => None,
        Body::Call(stream) => stream.heard(),
        Body::Player(player) => player.is_sounding.then_some(&player.frame),
        Body::Conference(_) | Body::Recorder(_) => None,
    }
}

/// Of what it says or can hear.
fn rate_of(body: &Body) -> Rate {
    match body {
        Body::Call(stream) => stream.codec().rate(),
        Body::Player(player) => player.frame.rate(),
        Body::Conference(_) | Body::Recorder(_) => Rate::Narrow,
    }
}

/// Nothing came from the call that this one hears for a while, or never yet.
fn is_idle(stream: &Stream, now: Instant) -> bool {
    let last = stream.outgoing.last_sent();
    last.is_none_or(|at| now.saturating_duration_since(at) >= IDLE)
}

/// 20 ms of a digit's two tones.
fn tone(digit: char, ticks: u32, rate: Rate) -> Frame {
    let (low, high) = frequencies(digit).unwrap_or_default();
    let mut frame = Frame::silence(rate);
    let start = ticks * rate.frame() as u32;
    for (place, sample) in (start..).zip(frame.samples_mut()) {
        let at = f64::from(place) / f64::from(rate.hertz()) * std::f64::consts::TAU;
        *sample = (TONE_AMPLITUDE * ((low * at).sin() + (high * at).sin())) as i16;
    }
    frame
}

/// The pause of a call's source is passed on as it is, but for a frame of silence this often: well
/// before a NAT or a peer forgets the way, and at a fiftieth of the cost of silence all the time.
const IDLE: Duration = Duration::from_secs(1);
/// -10 dBm0 per tone: 22,800 at 0 dBm0 (G.711 §4) less 10 dB.
const TONE_AMPLITUDE: f64 = 7210.0;
