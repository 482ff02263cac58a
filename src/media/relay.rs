//! The engine's work per packet and per tick: who hears what.
//!
//! A packet of a call is passed on when it arrives: to the calls that hear it, under their own
//! header and in their own law, and to recorders. The tick makes what comes from us: players,
//! tones, digits, and silence where there is nothing to say, so that NATs stay open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dtmf::{Press, Step, TelephoneEvent, frequencies};
use super::engine::{Codec, Engine, Event, Output, SocketId, UnitId};
use super::frame::{Frame, Rate};
use super::outgoing::{Source, samples_in};
use super::recorder::{Stamp, Voice};
use super::rtp::{self, Header, Packet};
use super::stream::{Heard, News, Said, Stream, Waiting};
use super::ticks::Tick;
use super::unit::{Body, Units};
use crate::slots::Key;
use crate::stats;

impl Engine {
    pub(super) fn receive(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        data: &[u8],
    ) {
        if rtp::is_rtcp(data) {
            return self.receive_control(now, socket, from, data);
        }
        let Some(key) = self.sockets.owner(socket) else { return };
        let Some(stream) = self.units.call_mut(key) else { return };
        // Lent for the time of this packet, since its owner hands it round.
        let mut clear = std::mem::take(&mut self.clear);
        if let Some(data) = stream.unprotect(data, &mut clear) {
            self.receive_clear(now, key, from, data);
        }
        self.clear = clear;
    }

    fn receive_clear(&mut self, now: Instant, key: Key, from: SocketAddr, data: &[u8]) {
        let Some(unit) = self.units.get_mut(key) else { return };
        let Body::Call(stream) = &mut unit.body else { return };
        let mut news = News::default();
        let heard = stream.receive(now, self.epoch, from, data, &mut news);
        let (id, is_muted) = (unit.id, unit.muted);
        match heard {
            Heard::Audio { codec, packet, is_digit } if !is_muted => {
                self.pass_on(now, key, codec, packet, is_digit);
            }
            Heard::Audio { packet: Packet { header, .. }, .. }
            | Heard::Pause { header }
            | Heard::Event { header, is_listened_for: true, .. } => self.keep_back(key, header),
            Heard::Event { event, header, press, is_listened_for: false } => {
                self.pass_event_on(now, key, event, header, press);
            }
            Heard::Nothing => {}
        }
        self.report(id, &news);
    }

    pub(super) fn receive_control(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        data: &[u8],
    ) {
        let Some(key) = self.sockets.owner(socket) else { return };
        let Some(unit) = self.units.get_mut(key) else { return };
        let Body::Call(stream) = &mut unit.body else { return };
        let mut news = News::default();
        if let Some(data) = stream.unprotect_control(data, &mut self.clear) {
            stream.receive_control(now, self.epoch, from, data, &mut news);
        }
        let id = unit.id;
        self.report(id, &news);
    }

    fn report(&mut self, unit: UnitId, news: &News) {
        if news.is_first {
            self.tell(Event::FirstPacket { unit });
        }
        if news.has_resumed {
            self.tell(Event::RtpResumed { unit });
        }
        if let Some((digit, source)) = news.digit {
            self.tell(Event::Digit { unit, digit, source });
        }
    }

    /// Audio of a call to all who hear it.
    fn pass_on(
        &mut self,
        now: Instant,
        key: Key,
        codec: Codec,
        packet: Packet<'_>,
        is_digit: bool,
    ) {
        let stamp = Stamp { ssrc: packet.header.ssrc, timestamp: packet.header.timestamp };
        let source = Source { unit: key, ssrc: packet.header.ssrc };
        let mut place = 0;
        while let Some(&listener) = self.units.get(key).and_then(|unit| unit.listeners.get(place)) {
            place += 1;
            match self.units.body_mut(listener) {
                Some(Body::Call(stream)) if !stream.has_path() => {
                    stream.wait(Waiting::new(now, key, codec, packet));
                }
                Some(Body::Call(_)) => {
                    self.pass_to_call(now, listener, source, codec, packet, is_digit);
                }
                Some(Body::Recorder(recorder)) if !is_digit => {
                    let samples = packet.payload.iter().map(|&byte| codec.decode(byte));
                    if !recorder.write(now, Voice::Unit(key), stamp, samples) {
                        stats::RTP_LATE.add(1);
                    }
                }
                Some(Body::Recorder(_) | Body::Player(_)) | None => {}
            }
        }
        let samples = packet.payload.iter().map(|&byte| codec.decode(byte));
        self.record(now, key, Voice::FromEndpoint, stamp, samples);
    }

    /// Audio of `source` to a call that hears it, under its own header and in its own law.
    pub(super) fn pass_to_call(
        &mut self,
        now: Instant,
        listener: Key,
        source: Source,
        codec: Codec,
        packet: Packet<'_>,
        is_digit: bool,
    ) {
        let Some(stream) = self.units.call_mut(listener) else { return };
        if stream.keypad.is_down() || !stream.can_send() {
            return;
        }
        let other = stream.codec();
        let header = Header { payload_type: stream.payload_type(), ..packet.header };
        let Some(samples) = codec.samples_of(packet.payload) else {
            return stats::RTP_INVALID.add(1);
        };
        let Some(header) = stream.outgoing.relay(now, source, header, samples) else {
            return stats::RTP_LATE.add(1);
        };
        let last = packet.payload.last().filter(|_| !is_digit);
        stream.stop_speaking(last.map_or(0, |&byte| codec.decode(byte)));
        stream.send(&mut self.transmits, header, packet.payload, |payload| {
            if is_digit {
                payload.fill(other.silence());
            } else {
                codec.transcode(other, payload);
            }
        });
        if !is_digit {
            let stamp = Stamp { ssrc: header.ssrc, timestamp: header.timestamp };
            let samples = packet.payload.iter().map(|&byte| codec.decode(byte));
            self.record(now, listener, Voice::ToEndpoint, stamp, samples);
        }
    }

    /// A packet of the call is for nobody else: those who hear it shall not miss it.
    fn keep_back(&mut self, key: Key, header: Header) {
        let source = Source { unit: key, ssrc: header.ssrc };
        let mut place = 0;
        while let Some(&listener) = self.units.get(key).and_then(|unit| unit.listeners.get(place)) {
            place += 1;
            if let Some(stream) = self.units.call_mut(listener) {
                stream.outgoing.skip(source, header.sequence);
            }
        }
    }

    /// A telephone-event of a call to the calls that hear it: as it is to those that take events,
    /// as a tone to the others.
    fn pass_event_on(
        &mut self,
        now: Instant,
        key: Key,
        event: TelephoneEvent,
        header: Header,
        press: Press,
    ) {
        let source = Source { unit: key, ssrc: header.ssrc };
        let is_muted = self.units.get(key).is_some_and(|unit| unit.muted);
        let mut place = 0;
        while let Some(&listener) = self.units.get(key).and_then(|unit| unit.listeners.get(place)) {
            place += 1;
            let Some(stream) = self.units.call_mut(listener) else { continue };
            let payload_type = stream.dtmf_payload_type();
            let can_send = stream.can_send() && !stream.keypad.is_down() && !is_muted;
            match payload_type {
                Some(payload_type) if can_send => {
                    let header = Header { payload_type, ..header };
                    if let Some(header) = stream.outgoing.relay(now, source, header, 0) {
                        stream.stop_speaking(0);
                        stream.send_event(&mut self.transmits, header, event);
                    }
                }
                Some(_) => {}
                None => {
                    stream.outgoing.skip(source, header.sequence);
                    if let (Press::Begins, Some(digit), true) = (press, event.digit(), can_send) {
                        let mut text = [0; 4];
                        let dropped = stream.keypad.press(digit.encode_utf8(&mut text));
                        stats::DTMF_DROPPED.add(dropped as u64);
                        self.clock.wake(now);
                    }
                }
            }
        }
    }

    /// What a recorded call says or hears, to its recorders.
    fn record(
        &mut self,
        now: Instant,
        call: Key,
        voice: Voice,
        stamp: Stamp,
        samples: impl ExactSizeIterator<Item = i16> + Clone,
    ) {
        let mut place = 0;
        while let Some(&tap) = self.units.get(call).and_then(|unit| unit.taps.get(place)) {
            place += 1;
            if let Some(Body::Recorder(recorder)) = self.units.body_mut(tap)
                && !recorder.write(now, voice, stamp, samples.clone())
            {
                stats::RTP_LATE.add(1);
            }
        }
    }

    /// One step of 20 ms.
    pub(super) fn tick(&mut self, tick: Tick) {
        let now = tick.at;
        let mut keys = std::mem::take(&mut self.keys);
        self.units.list_keys(&mut keys);
        let mut is_busy = false;
        for &key in &keys {
            is_busy |= self.tick_player(now, key);
        }
        for &key in &keys {
            is_busy |= self.tick_call(now, key);
            if tick.is_round {
                self.look_after(now, key);
            }
        }
        self.keys = keys;
        self.clock.rest(is_busy);
    }

    /// Makes a player's next frame; whether it needs the next tick.
    fn tick_player(&mut self, now: Instant, key: Key) -> bool {
        let has_path = has_path(&self.units, key);
        let Some(unit) = self.units.get_mut(key) else { return false };
        let Body::Player(player) = &mut unit.body else { return false };
        if !player.is_running() {
            // What it said last is over.
            player.is_sounding = false;
            return false;
        }
        player.tick(now, has_path, |event| self.outputs.push_back(Output::Event(event)));
        if unit.muted {
            player.frame.samples_mut().fill(0);
        }
        if !player.is_sounding {
            return player.is_running();
        }
        let stamp = self.stamp(now);
        let mut place = 0;
        while let Some(&listener) = self.units.get(key).and_then(|unit| unit.listeners.get(place)) {
            place += 1;
            if let Some((player, listener)) = self.units.pair_mut(key, listener)
                && let (Body::Player(player), Body::Recorder(recorder)) = (player, listener)
            {
                let samples = player.frame.samples().iter().copied();
                if !recorder.write(now, Voice::Unit(key), stamp, samples) {
                    stats::RTP_LATE.add(1);
                }
            }
        }
        true
    }

    /// What we say on a call in this tick; whether it needs the next one.
    fn tick_call(&mut self, now: Instant, key: Key) -> bool {
        let Some(unit) = self.units.get(key) else { return false };
        let Body::Call(stream) = &unit.body else { return false };
        if !stream.can_send() {
            return false;
        }
        let source = unit.sources.first().copied();
        let (said, is_own) = match source.and_then(|key| self.units.get(key).zip(Some(key))) {
            None => (Said::Nothing, true),
            Some((source, key)) => match &source.body {
                Body::Player(player) if player.is_sounding => (Said::Unit(key), true),
                Body::Player(_) | Body::Recorder(_) => (Said::Nothing, true),
                Body::Call(_) if source.muted => (Said::Nothing, true),
                Body::Call(_) => (Said::Nothing, is_idle(stream, now)),
            },
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
                self.speak(now, key, Said::Digit, &tone);
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
            _ if !is_own => {}
            Said::Unit(source) => self.speak_of(now, key, source),
            Said::Nothing | Said::Digit | Said::Relayed => {
                self.speak(now, key, said, &Frame::silence(Rate::Narrow));
            }
        }
        is_own || is_pressing
    }

    /// What a player says to a call that hears it.
    fn speak_of(&mut self, now: Instant, listener: Key, source: Key) {
        let stamp = self.stamp(now);
        let out = &mut self.transmits;
        let Some((Body::Player(player), Body::Call(stream))) =
            self.units.pair_mut(source, listener)
        else {
            return;
        };
        stream.speak(out, now, &player.frame, Said::Unit(source));
        let mut place = 0;
        while let Some(&tap) = self.units.get(listener).and_then(|unit| unit.taps.get(place)) {
            place += 1;
            if let Some((Body::Player(player), Body::Recorder(recorder))) =
                self.units.pair_mut(source, tap)
            {
                let samples = player.frame.samples().iter().copied();
                if !recorder.write(now, Voice::ToEndpoint, stamp, samples) {
                    stats::RTP_LATE.add(1);
                }
            }
        }
    }

    /// Our own audio to a call, and to who records it.
    fn speak(&mut self, now: Instant, key: Key, said: Said, frame: &Frame) {
        let Some(stream) = self.units.call_mut(key) else { return };
        stream.speak(&mut self.transmits, now, frame, said);
        let stamp = self.stamp(now);
        if said != Said::Nothing {
            self.record(now, key, Voice::ToEndpoint, stamp, frame.samples().iter().copied());
        }
    }

    /// Of what we make ourselves.
    fn stamp(&self, now: Instant) -> Stamp {
        Stamp { ssrc: 0, timestamp: samples_in(now - self.epoch, Rate::Narrow.hertz()) }
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
            Body::Player(_) => {}
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

/// Whether a player may begin: not all of its listeners are calls without a media path.
fn has_path(units: &Units, player: Key) -> bool {
    let Some(unit) = units.get(player) else { return true };
    let mut listeners = unit.listeners.iter().filter_map(|&listener| units.body(listener));
    unit.listeners.is_empty()
        || listeners.any(|body| match body {
            Body::Call(stream) => stream.has_path(),
            Body::Player(_) | Body::Recorder(_) => true,
        })
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
