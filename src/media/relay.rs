//! What is done with a packet when it comes: who may have it at once.
//!
//! Audio of a call is passed on to the calls that hear it and can take it as it is: under their
//! own header, and in their own law. What needs samples is made by the step of 20 ms.

use std::net::SocketAddr;
use std::time::Instant;

use super::dtmf::{Press, TelephoneEvent};
use super::engine::{Codec, Engine, Event, SocketId, UnitId};
use super::outgoing::Source;
use super::rtp::{self, Header, Packet};
use super::stream::{Heard, News, Waiting};
use super::unit::Body;
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

    pub(super) fn report(&mut self, unit: UnitId, news: &News) {
        if news.is_first {
            self.tell(Event::FirstPacket { unit });
        }
        if news.has_resumed {
            self.tell(Event::RtpResumed { unit });
        }
        if let Some((digit, source)) = news.digit {
            self.tell(Event::Digit { unit, digit, source });
        }
        if let Some(is_speaking) = news.is_speaking {
            self.tell(Event::Voice { unit, is_speaking });
        }
        for &finding in &news.findings {
            self.tell(Event::Detected { unit, finding });
        }
    }

    /// Audio of a call to all the calls that hear it and can take it as it is.
    fn pass_on(
        &mut self,
        now: Instant,
        key: Key,
        codec: Codec,
        packet: Packet<'_>,
        is_digit: bool,
    ) {
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
                Some(Body::Conference(_) | Body::Recorder(_) | Body::Player(_)) | None => {}
            }
        }
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
        let other = stream.codec();
        if !codec.is_relayed_as(other) || stream.keypad.is_down() || !stream.can_send() {
            return;
        }
        // A packet of silence would need an encoder: a pause does as well.
        if is_digit && !codec.is_law() {
            return stream.outgoing.skip(source, packet.header.sequence);
        }
        let header = Header { payload_type: stream.payload_type(), ..packet.header };
        let Some(samples) = codec.samples_of(packet.payload) else {
            return stats::RTP_INVALID.add(1);
        };
        let Some(header) = stream.outgoing.relay(now, source, header, samples) else {
            return stats::RTP_LATE.add(1);
        };
        let last = packet.payload.last().filter(|_| !is_digit);
        stream.stop_speaking(source.unit, last.map_or(0, |&byte| codec.decode(byte)));
        stream.send(&mut self.transmits, header, packet.payload, |payload| {
            if is_digit {
                payload.fill(other.silence());
            } else {
                codec.transcode(other, payload);
            }
        });
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
            let Some((speaker, unit)) = self.units.pair_mut(key, listener) else { continue };
            let (Body::Call(speaker), Body::Call(stream)) = (&speaker.body, &mut unit.body) else {
                continue;
            };
            let can_send = stream.can_send() && !stream.keypad.is_down() && !is_muted;
            let out = &mut self.transmits;
            match stream.dtmf_payload_type() {
                Some(_) if !can_send => {}
                Some(payload_type) => {
                    if !speaker.suits(stream) {
                        stream.carry(out, now, event, header.timestamp);
                        continue;
                    }
                    let header = Header { payload_type, ..header };
                    if let Some(header) = stream.outgoing.relay(now, source, header, 0) {
                        stream.stop_speaking(key, 0);
                        stream.send_event(out, header, event);
                    }
                }
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
}

impl Codec {
    /// Whether its packets do for who takes that one, as they are or by a table.
    pub fn is_relayed_as(self, other: Self) -> bool {
        self == other || self.is_law() && other.is_law()
    }

    /// Of G.711: a byte is a sample.
    pub fn is_law(self) -> bool {
        matches!(self, Self::Pcmu | Self::Pcma)
    }
}
