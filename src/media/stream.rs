//! One call's RTP: what comes from the peer is checked and counted, what goes to it gets its
//! header. Where the call is protected, that is done first with what comes and last with what
//! goes: everybody else sees packets in the clear.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::codec::encoder::EncoderSettings;
use super::codec::noise::{self, Pause, Pauses};
use super::detect::digits::Detector;
use super::detect::{self, Detection, Ear, Finding, MOST_FINDINGS, voice};
use super::dtmf::{
    EventReceiver, Keypad, Press, Presses, TONE_TICKS, TelephoneEvent, VOLUME, event_of,
};
use super::engine::{Codec, DigitSource, DigitSources, Figures, SocketId, StreamSettings};
use super::figures::{Counts, Playout, Sources};
use super::format::Format;
use super::frame::{Frame, Rate};
use super::latch::{Latch, Pace};
use super::mixer::Choir;
use super::outgoing::Outgoing;
use super::packetizer::{Packet as Prepared, Packetizer};
use super::receiver::Receiver;
use super::reception::{Arrival, Reception};
use super::resample::Resampler;
use super::rtcp::Control;
use super::rtp::{Header, Packet};
use super::srtp::{Context, Rejected};
use super::transmits::Transmits;
use crate::slots::Key;
use crate::stats;

/// A call unit.
#[derive(Debug)]
pub struct Stream {
    pub socket: SocketId,
    pub address: IpAddr,
    pub port: u16,
    /// Ports that somebody else had.
    pub failed_binds: usize,
    pub is_open: bool,
    pub outgoing: Outgoing,
    pub control: Control,
    pub keypad: Keypad,
    settings: Option<StreamSettings>,
    srtp: Option<Box<Context>>,
    /// What came before the settings: RTP overtakes the 200 that it belongs to.
    early: Option<Box<Early>>,
    /// What was said to this call before the settings: a callee speaks before the caller's answer
    /// is on its way.
    waiting: Option<Box<heapless::Deque<Waiting, MOST_WAITING>>>,
    latch: Latch,
    pace: Pace,
    reception: Option<Reception>,
    /// What came last.
    heard_codec: Codec,
    /// Makes frames of it, while somebody needs those.
    receiver: Option<Box<Receiver>>,
    /// Of receivers that are gone.
    played_before: Playout,
    /// Counts of SSRCs that are gone.
    before: Counts,
    late: u64,
    /// Makes the packets of what is not relayed.
    packetizer: Option<Box<Packetizer>>,
    /// Of who takes comfort noise, while we make our own packets.
    pauses: Option<Box<Pauses>>,
    said: Said,
    /// The sample that was heard last, so that what follows does not click.
    last: i16,
    /// Of the digit that is being sent.
    press_timestamp: u32,
    carried: Option<Carried>,
    listening: DigitSources,
    events: EventReceiver,
    /// The press under way began while its digits were listened for.
    is_press_ours: bool,
    presses: Presses,
    detector: Option<Box<Detector>>,
    /// Before the detector, where frames have another rate.
    narrow: Option<Box<Resampler>>,
    voice: Option<Box<voice::Detector>>,
    /// Beeps, fax tones and who answered are listened for.
    ear: Option<Box<Ear>>,
    /// RFC 4733 digits were seen: tones in the audio are the same ones.
    has_events: bool,
    /// When the peer was last heard, or began to be listened to; `None` while it may be silent.
    heard_at: Option<Instant>,
    has_heard: bool,
    is_silent: bool,
}

/// Whom the peer heard last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Nothing,
    Unit(Key),
    /// A digit as a tone.
    Digit,
    /// A call, whose packets go as they are.
    Relayed(Key),
}

/// A press at another call, as it is told to this one.
#[derive(Debug, Clone, Copy)]
struct Carried {
    /// Its timestamp there.
    begin: u32,
    /// So long the key is down, if no more is heard of it.
    until: Instant,
    has_ended: bool,
}

/// The last packets before the settings. Full: the oldest goes.
type Early = heapless::Deque<EarlyPacket, MOST_EARLY>;

/// A packet that waits for the settings.
#[derive(Debug)]
pub struct EarlyPacket {
    at: Instant,
    pub from: SocketAddr,
    pub data: heapless::Vec<u8, EARLY_BYTES>,
}

/// Audio that waits for the settings of the call that is to hear it.
#[derive(Debug)]
pub struct Waiting {
    at: Instant,
    pub source: Key,
    pub codec: Codec,
    pub header: Header,
    pub payload: heapless::Vec<u8, EARLY_BYTES>,
}

impl Waiting {
    /// `None` for a packet that is longer than what can wait.
    pub fn new(now: Instant, source: Key, codec: Codec, packet: Packet<'_>) -> Option<Self> {
        let payload = heapless::Vec::from_slice(packet.payload).ok()?;
        Some(Self { at: now, source, codec, header: packet.header, payload })
    }
}

/// What a packet from the peer is to the others.
#[derive(Debug)]
pub enum Heard<'a> {
    /// Not the peer's, broken, or not to be listened to.
    Nothing,
    /// The peer's, without anything to hear: comfort noise, or a packet that only keeps its NAT
    /// open (RFC 6263 §4.1).
    Pause { header: Header },
    Audio {
        codec: Codec,
        packet: Packet<'a>,
        /// A digit is being pressed in it that shall not be passed on.
        is_digit: bool,
    },
    Event {
        event: TelephoneEvent,
        header: Header,
        press: Press,
        /// Reported and kept back.
        is_listened_for: bool,
    },
}

/// What the engine tells of a packet besides.
#[derive(Debug, Default)]
pub struct News {
    pub is_first: bool,
    pub has_resumed: bool,
    pub digit: Option<(char, DigitSource)>,
    /// The person begins or ends to speak.
    pub is_speaking: Option<bool>,
    pub findings: heapless::Vec<Finding, MOST_FINDINGS>,
}

impl Stream {
    pub fn new(
        socket: SocketId,
        address: IpAddr,
        port: u16,
        outgoing: Outgoing,
        control: Control,
    ) -> Self {
        Self {
            socket,
            address,
            port,
            failed_binds: 0,
            is_open: false,
            outgoing,
            control,
            keypad: Keypad::default(),
            settings: None,
            srtp: None,
            early: None,
            waiting: None,
            latch: Latch::default(),
            pace: Pace::default(),
            reception: None,
            heard_codec: Codec::Pcmu,
            receiver: None,
            played_before: Playout::default(),
            before: Counts::default(),
            late: 0,
            packetizer: None,
            pauses: None,
            said: Said::Nothing,
            last: 0,
            press_timestamp: 0,
            carried: None,
            listening: DigitSources::default(),
            events: EventReceiver::default(),
            is_press_ours: false,
            presses: Presses::default(),
            detector: None,
            narrow: None,
            voice: None,
            ear: None,
            has_events: false,
            heard_at: None,
            has_heard: false,
            is_silent: false,
        }
    }

    /// Another socket, about to be bound; the peer of the one before is forgotten.
    pub fn move_to(&mut self, socket: SocketId, address: IpAddr, port: u16) {
        (self.socket, self.address, self.port) = (socket, address, port);
        self.failed_binds = 0;
        self.is_open = false;
        self.settings = None;
        self.early = None;
        self.latch = Latch::default();
    }

    pub fn configure(&mut self, now: Instant, mut settings: StreamSettings) {
        match (&mut self.srtp, settings.srtp.take()) {
            (Some(context), Some(keys)) => context.change(*keys),
            (context, keys) => *context = keys.map(|keys| Box::new(Context::new(*keys))),
        }
        self.control.wanted = settings.reports;
        let before = self.settings.as_ref();
        // 0.0.0.0 is an old way to hold a call: the peer is where it was.
        if let Some(before) = before.filter(|_| settings.remote.ip().is_unspecified()) {
            (settings.remote, settings.remote_rtcp) = (before.remote, before.remote_rtcp);
        }
        if before.is_some_and(|before| before.remote != settings.remote) {
            self.latch.release(now);
        }
        // Who holds us may be silent.
        if !(settings.sends && settings.receives) {
            self.heard_at = None;
        } else if self.heard_at.is_none() {
            self.heard_at = Some(now);
        }
        if before.is_none_or(|before| before.codec != settings.codec) {
            self.heard_codec = settings.codec;
            self.outgoing.set_clock_rate(now, settings.codec.clock_rate());
        }
        // What its source said meanwhile was not for this peer: it did not lose it.
        if before.is_some_and(|before| before.sends != settings.sends) {
            self.outgoing.begin_anew();
        }
        let encoding = encoding(&settings);
        let keeps = |packetizer: &Packetizer| packetizer.makes(settings.codec, encoding);
        if !settings.sends || !self.packetizer.as_deref().is_some_and(keeps) {
            self.packetizer = None;
        }
        self.settings = Some(settings);
    }

    /// The next packet that waited for the settings and is still fresh.
    pub fn take_early(&mut self, now: Instant) -> Option<EarlyPacket> {
        let packets = self.early.as_mut()?;
        while let Some(packet) = packets.pop_front() {
            if now.saturating_duration_since(packet.at) <= FRESH {
                return Some(packet);
            }
        }
        self.early = None;
        None
    }

    /// Keeps what is said to this call until it has a path. Full: the oldest goes.
    pub fn wait(&mut self, waiting: Option<Waiting>) {
        let Some(packet) = waiting else { return };
        let packets = self.waiting.get_or_insert_default();
        if packets.is_full() {
            packets.pop_front();
        }
        packets.push_back(packet).expect("a place is free: the oldest was taken out");
    }

    /// The next of what was said before there was a path, if it is still fresh.
    pub fn take_waiting(&mut self, now: Instant) -> Option<Waiting> {
        let packets = self.waiting.as_mut()?;
        while let Some(packet) = packets.pop_front() {
            if now.saturating_duration_since(packet.at) <= JUST_NOW {
                return Some(packet);
            }
        }
        self.waiting = None;
        None
    }

    pub fn listen(&mut self, sources: DigitSources) {
        self.listening = sources;
        self.detector = match (sources.in_band, self.detector.take()) {
            (false, _) => None,
            (true, None) => Some(Box::new(Detector::new())),
            (true, detector) => detector,
        };
    }

    pub fn listening(&self) -> DigitSources {
        self.listening
    }

    /// Listens for this besides what it listens for already.
    pub fn detect_also(&mut self, detection: Detection) {
        self.ear.get_or_insert_default().listen_for(detection);
    }

    pub fn stop_detecting(&mut self, kind: detect::Kind) {
        if let Some(ear) = &mut self.ear {
            ear.stop(kind);
        }
        self.ear.take_if(|ear| ear.is_idle());
    }

    /// What is listened for, and what was heard of it so far, goes to another call.
    pub fn take_ear(&mut self) -> Option<Box<Ear>> {
        self.ear.take()
    }

    pub fn give_ear(&mut self, ear: Option<Box<Ear>>) {
        self.ear = ear.or(self.ear.take());
    }

    pub fn listen_for_voice(&mut self, listens: bool) {
        self.voice = match (listens, self.voice.take()) {
            (false, _) => None,
            (true, voice) => Some(voice.unwrap_or_default()),
        };
    }

    /// Whether a SIP INFO digit is to be reported.
    pub fn info_digit(&mut self, now: Instant, digit: char) -> bool {
        self.listening.info && self.presses.is_new(now, digit, DigitSource::Info)
    }

    /// A packet from the RTP port in the clear; `None` where it is not of who has the key.
    pub fn unprotect<'a>(&mut self, data: &'a [u8], clear: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let Some(context) = &mut self.srtp else { return Some(data) };
        match context.receiver.unprotect(data, clear) {
            Ok(()) => Some(clear),
            Err(rejected) => reject(rejected),
        }
    }

    /// The same of a packet of RTCP.
    pub fn unprotect_control<'a>(
        &mut self,
        data: &'a [u8],
        clear: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        let Some(context) = &mut self.srtp else { return Some(data) };
        match context.receiver.unprotect_control(data, clear) {
            Ok(()) => Some(clear),
            Err(rejected) => reject(rejected),
        }
    }

    /// Takes in a packet from the RTP port.
    pub fn receive<'a>(
        &mut self,
        now: Instant,
        epoch: Instant,
        from: SocketAddr,
        data: &'a [u8],
        news: &mut News,
    ) -> Heard<'a> {
        let Some(settings) = &self.settings else {
            self.keep_early(now, from, data);
            return Heard::Nothing;
        };
        let Some(packet) = Packet::parse(data) else {
            stats::RTP_INVALID.add(1);
            return Heard::Nothing;
        };
        let header = packet.header;
        let kind = match (settings.formats.of(header.payload_type), header.payload_type) {
            (Some(Format::Audio(codec)), _) => Kind::Audio(codec),
            (Some(Format::Event(clock)), _) => Kind::Event(clock),
            (Some(Format::Noise(_)), _) | (None, COMFORT_NOISE) => Kind::Noise,
            // Some send either law, whatever was agreed on.
            (None, number) => match Codec::of_static(number) {
                Some(codec @ (Codec::Pcmu | Codec::Pcma)) => Kind::Audio(codec),
                _ => {
                    stats::RTP_INVALID.add(1);
                    return Heard::Nothing;
                }
            },
        };
        if !self.latch.admit(now, from, header.ssrc, settings.remote.ip()) {
            stats::RTP_FOREIGN.add(1);
            return Heard::Nothing;
        }
        if !self.pace.admit(now) {
            stats::RTP_TOO_MANY.add(1);
            return Heard::Nothing;
        }
        let receives = settings.receives;
        match self.count(header) {
            Arrival::Next | Arrival::Restarted => {}
            Arrival::Late => self.late += 1,
            Arrival::Duplicate | Arrival::Stray => {
                stats::RTP_DUPLICATE.add(1);
                return Heard::Nothing;
            }
        }
        if receives {
            self.be_heard(now, news);
            if !std::mem::replace(&mut self.has_heard, true) {
                news.is_first = true;
            }
        }
        match kind {
            // Events repeat their timestamp, which would look like jitter.
            Kind::Event(clock) => self.receive_event(now, packet, clock, receives, news),
            Kind::Audio(_) | Kind::Noise => {
                if let (Kind::Audio(codec), Some(reception)) = (kind, &mut self.reception) {
                    let arrival = now.saturating_duration_since(epoch);
                    reception.time(header.timestamp, arrival, codec.clock_rate());
                }
                match kind {
                    Kind::Audio(codec) if receives && !packet.payload.is_empty() => {
                        self.heard_codec = codec;
                        if let Some(receiver) = &mut self.receiver {
                            receiver.push(now, codec, header, packet.payload);
                        }
                        let is_digit = if codec.is_law() {
                            let samples = packet.payload.iter().map(|&byte| codec.decode(byte));
                            self.detect(now, samples, news)
                        } else {
                            self.detector.as_ref().is_some_and(|d| d.current().is_some())
                        };
                        Heard::Audio { codec, packet, is_digit }
                    }
                    Kind::Audio(_) if receives => Heard::Pause { header },
                    Kind::Noise if receives => {
                        if let Some(receiver) = &mut self.receiver {
                            receiver.push_noise(header, packet.payload);
                        }
                        Heard::Pause { header }
                    }
                    Kind::Audio(_) | Kind::Event(_) | Kind::Noise => Heard::Nothing,
                }
            }
        }
    }

    /// Makes the frame of this step of what the peer says, and listens to it.
    pub fn hear(&mut self, now: Instant, news: &mut News) {
        let mut receiver =
            self.receiver.take().unwrap_or_else(|| Box::new(Receiver::new(self.heard_codec)));
        let frame = receiver.pull(now);
        if let Some(voice) = &mut self.voice {
            news.is_speaking = voice.feed(frame).map(|change| change == voice::Change::Begins);
        }
        if let Some(ear) = &mut self.ear {
            news.findings.extend(ear.hear(frame));
        }
        self.ear.take_if(|ear| ear.is_idle());
        if self.detects_in_frames() {
            let narrow = self
                .narrow
                .get_or_insert_with(|| Box::new(Resampler::new(frame.rate(), Rate::Narrow)));
            let frame = narrow.process(frame);
            self.detect(now, frame.samples().iter().copied(), news);
        }
        self.receiver = Some(receiver);
    }

    /// Somebody listens to what is said, and not only passes it on.
    pub fn is_listened_to(&self) -> bool {
        self.voice.is_some() || self.ear.is_some() || self.detects_in_frames()
    }

    /// In-band digits are found in each packet of G.711 when it comes.
    fn detects_in_frames(&self) -> bool {
        self.detector.is_some() && !self.heard_codec.is_law()
    }

    /// Nobody needs frames.
    pub fn stop_hearing(&mut self) {
        if self.receiver.is_some() {
            self.played_before = Playout { delay: None, ..self.playout() };
            self.receiver = None;
        }
    }

    /// What receivers made of what came.
    fn playout(&self) -> Playout {
        let before = self.played_before;
        let Some(counts) = self.receiver.as_ref().map(|receiver| receiver.counts()) else {
            return before;
        };
        Playout {
            discarded: before.discarded + counts.late + counts.early,
            concealed: before.concealed + Duration::from_millis(counts.concealed_ms),
            delay: Some(Duration::from_millis(counts.delay_ms.into())),
        }
    }

    /// What the peer says in this step, if somebody needs it.
    pub fn heard(&self) -> Option<&Frame> {
        self.receiver.as_ref().map(|receiver| receiver.frame())
    }

    /// Whether its packets are passed on to `listener` as they come.
    pub fn suits(&self, listener: &Self) -> bool {
        self.heard_codec.is_relayed_as(listener.codec())
    }

    /// A packet from the RTCP port, or one of RTCP on the RTP port.
    pub fn receive_control(
        &mut self,
        now: Instant,
        epoch: Instant,
        from: SocketAddr,
        data: &[u8],
        news: &mut News,
    ) {
        let Some(settings) = &self.settings else { return };
        // RTCP may come from another port, never from another host.
        let host = self.latch.source().unwrap_or(settings.remote).ip();
        if from.ip() != host {
            return stats::RTP_FOREIGN.add(1);
        }
        if !self.control.receive(now, epoch, self.outgoing.ssrc, data) {
            return stats::RTP_INVALID.add(1);
        }
        if let Some(packetizer) = &mut self.packetizer {
            packetizer.expect_loss(self.control.percent_lost);
        }
        if settings.receives {
            self.be_heard(now, news);
        }
    }

    /// Whether the peer has just been silent for too long.
    pub fn has_gone_silent(&mut self, now: Instant, timeout: Duration) -> bool {
        let is_due = self.heard_at.is_some_and(|at| now.saturating_duration_since(at) >= timeout);
        is_due && !std::mem::replace(&mut self.is_silent, true)
    }

    /// There is somewhere to send to, and the peer wants to hear.
    pub fn can_send(&self) -> bool {
        let sends = self.settings.as_ref().is_some_and(|settings| settings.sends);
        self.is_open && sends && self.destination().is_some()
    }

    pub fn has_path(&self) -> bool {
        self.settings.is_some()
    }

    pub fn codec(&self) -> Codec {
        self.settings.as_ref().map_or(Codec::Pcmu, |settings| settings.codec)
    }

    pub fn payload_type(&self) -> u8 {
        self.settings.as_ref().map_or(0, |settings| settings.payload_type)
    }

    pub fn dtmf_payload_type(&self) -> Option<u8> {
        self.settings.as_ref().and_then(|settings| settings.dtmf_payload_type)
    }

    /// Sends a telephone-event under this header.
    pub fn send_event(&mut self, out: &mut Transmits, header: Header, event: TelephoneEvent) {
        let clock = self.settings.as_ref().map_or(Rate::Narrow, |settings| settings.dtmf_clock);
        self.send(out, header, &event.to_bytes(clock), |_| {});
    }

    /// Sends a packet under this header.
    pub fn send(
        &mut self,
        out: &mut Transmits,
        header: Header,
        payload: &[u8],
        convert: impl FnOnce(&mut [u8]),
    ) {
        let Some(to) = self.destination() else { return };
        let protection = match &mut self.srtp {
            None => None,
            Some(context) => match context.sender.take_index(header.sequence) {
                Some(index) => Some((&context.sender, index)),
                None => return stats::SRTP_NOT_SENT.add(1),
            },
        };
        self.outgoing.count(payload.len());
        out.push(self.socket, false, to, |data| {
            let packet = data.len();
            data.extend_from_slice(&header.to_bytes());
            let start = data.len();
            data.extend_from_slice(payload);
            convert(&mut data[start..]);
            if let Some((sender, index)) = protection {
                sender.protect(header.ssrc, index, data, packet);
            }
        });
    }

    /// Sends 20 ms of our own audio, as soon as they fill a packet.
    pub fn speak(&mut self, out: &mut Transmits, now: Instant, frame: Option<&Frame>, said: Said) {
        if self.rests(out, now, frame) {
            self.said = said;
            return;
        }
        let Some(settings) = &self.settings else { return };
        let payload_type = settings.payload_type;
        let new = || Box::new(Packetizer::new(settings.codec, encoding(settings)));
        let mut packetizer = self.packetizer.take().unwrap_or_else(new);
        let is_cut = std::mem::replace(&mut self.said, said) != said;
        // After a gap there is nothing to lead over from.
        let last_sent = self.outgoing.last_sent();
        if last_sent.is_none_or(|at| now.saturating_duration_since(at) > GAP) {
            self.last = 0;
        }
        self.last = packetizer.put(frame, is_cut.then_some(self.last));
        let units = packetizer.units();
        while let Some(payload) = packetizer.take() {
            match payload {
                Prepared::Payload(payload) => {
                    let header = self.outgoing.speak(now, payload_type, units);
                    self.send(out, header, payload, |_| {});
                }
                Prepared::Pause => self.outgoing.be_still(now, units),
            }
        }
        self.packetizer = Some(packetizer);
    }

    /// Whether these 20 ms are a pause to a peer that takes comfort noise: it gets a description
    /// of the silence now and then, and no audio (RFC 3389).
    fn rests(&mut self, out: &mut Transmits, now: Instant, frame: Option<&Frame>) -> bool {
        let Some(settings) = &self.settings else { return false };
        let Some(number) = settings.noise_payload_type else { return false };
        let silence = Frame::silence(settings.codec.rate());
        let is_speech = frame.is_some_and(|frame| !frame.is_silence());
        let mut payload = [0; noise::MOST_BYTES];
        let pauses = self.pauses.get_or_insert_default();
        let pause = pauses.take(silence.samples(), is_speech, &mut payload);
        let units = self.outgoing.clock_rate() / 50;
        match pause {
            Pause::Speech => return false,
            Pause::Noise(bytes) => {
                let header = Header { marker: false, ..self.outgoing.speak(now, number, units) };
                self.send(out, header, &payload[..bytes], |_| {});
            }
            Pause::Nothing => self.outgoing.be_still(now, units),
        }
        if let Some(packetizer) = &mut self.packetizer {
            packetizer.clear();
        }
        true
    }

    /// Sends what others hear as well.
    pub fn sing(&mut self, out: &mut Transmits, now: Instant, choir: &Choir, said: Said) {
        // Its own encoder begins anew when it is needed again.
        self.packetizer = None;
        (self.said, self.last) = (said, 0);
        let payload_type = self.payload_type();
        for payload in choir.payloads() {
            match payload {
                [] => self.outgoing.be_still(now, choir.units()),
                payload => {
                    let header = self.outgoing.speak(now, payload_type, choir.units());
                    self.send(out, header, payload, |_| {});
                }
            }
        }
    }

    /// What its packets are to be like.
    pub fn encoding(&self) -> Option<EncoderSettings> {
        self.settings.as_ref().map(encoding)
    }

    /// A packet of a key that is down, after `ticks` of it (RFC 4733 §2.5.1.2).
    pub fn press(&mut self, out: &mut Transmits, now: Instant, digit: char, ticks: u32) {
        self.begin_press();
        if ticks == 0 {
            self.press_timestamp = self.outgoing.timestamp_at(now);
        }
        self.signal(out, now, digit, ticks + 1, ticks == 0, false);
    }

    /// A packet of a key at another call, whose audio is not relayed as it is: the event gets a
    /// timestamp of ours. `begin` is the one it has there.
    pub fn carry(&mut self, out: &mut Transmits, now: Instant, event: TelephoneEvent, begin: u32) {
        let Some(payload_type) = self.dtmf_payload_type() else { return };
        self.begin_press();
        let is_first = self.carried.is_none_or(|carried| carried.begin != begin);
        if is_first {
            self.press_timestamp = self.outgoing.timestamp_at(now);
        }
        let timestamp = self.press_timestamp;
        let header = self.outgoing.signal(now, payload_type, timestamp, is_first);
        let has_ended = !is_first && self.carried.is_some_and(|carried| carried.has_ended);
        if event.is_end && !has_ended {
            let units = u64::from(event.duration) * u64::from(self.outgoing.clock_rate()) / 8000;
            self.outgoing.end_signal(now, timestamp, units as u32);
        }
        let until = if event.is_end { now } else { now + CARRIED };
        self.carried = Some(Carried { begin, until, has_ended: has_ended || event.is_end });
        self.send_event(out, header, event);
    }

    /// A key is down at the call that this one hears: its audio waits.
    pub fn is_carrying(&self, now: Instant) -> bool {
        self.carried.is_some_and(|carried| now < carried.until)
    }

    /// One of the three packets of a key that is up again (RFC 4733 §2.5.1.4).
    pub fn release(&mut self, out: &mut Transmits, now: Instant, digit: char, repeat: u32) {
        if repeat == 0 {
            let duration = TONE_TICKS * self.tick_units();
            self.outgoing.end_signal(now, self.press_timestamp, duration);
        }
        self.signal(out, now, digit, TONE_TICKS, false, true);
    }

    /// Another speaks, and ends with this sample: half a packet of ours is not sent later.
    pub fn stop_speaking(&mut self, source: Key, last: i16) {
        (self.said, self.last) = (Said::Relayed(source), last);
        if let Some(packetizer) = &mut self.packetizer {
            packetizer.clear();
        }
    }

    /// A report, and at the end BYE with it.
    pub fn send_control(
        &mut self,
        out: &mut Transmits,
        now: Instant,
        epoch: Instant,
        is_bye: bool,
    ) {
        let Some(settings) = &self.settings else { return };
        let Some(rtp) = self.destination().filter(|_| self.is_open) else { return };
        let (to, is_rtcp) = match settings.rtcp_mux {
            true => (rtp, false),
            // Behind a NAT the port is a guess: the one above that of RTP (RFC 3550 §11).
            false if settings.remote.ip() != rtp.ip() => {
                (SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)), true)
            }
            false => (settings.remote_rtcp, true),
        };
        let metrics = self.control.wanted.voip_metrics.then(|| self.sources().metrics());
        let (control, outgoing) = (&self.control, &self.outgoing);
        let has_sent = outgoing.last_sent().is_some_and(|at| now - at < RECENTLY);
        let sent = has_sent.then(|| super::rtcp::Sent {
            timestamp: outgoing.timestamp_at(now),
            packets: outgoing.packets,
            octets: outgoing.octets,
        });
        let reception = self.reception.as_mut();
        let protection = match &mut self.srtp {
            None => None,
            Some(context) => match context.sender.take_control_index() {
                Some(index) => Some((&context.sender, index)),
                None => return stats::SRTP_NOT_SENT.add(1),
            },
        };
        out.push(self.socket, is_rtcp, to, |data| {
            let packet = data.len();
            let source = reception.as_ref().map(|reception| reception.ssrc);
            control.write_report(data, now, epoch, outgoing.ssrc, sent, reception);
            control.write_extended(data, now, epoch, outgoing.ssrc, source, metrics.as_ref());
            if is_bye {
                super::rtcp::write_bye(data, outgoing.ssrc);
            }
            if let Some((sender, index)) = protection {
                sender.protect_control(outgoing.ssrc, index, data, packet);
            }
        });
    }

    pub fn figures(&self) -> Figures {
        self.sources().figures()
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            reception: self.reception.as_ref(),
            before: self.before,
            control: &self.control,
            outgoing: &self.outgoing,
            codec: self.codec(),
            heard: self.heard_codec,
            ptime: self.settings.as_ref().map_or(DEFAULT_PTIME, |settings| settings.ptime),
            packets_late: self.late,
            playout: self.playout(),
        }
    }

    /// Where the peer is: where its packets come from, else where it said.
    fn destination(&self) -> Option<SocketAddr> {
        let signalled = self.settings.as_ref()?.remote;
        let is_nowhere = signalled.ip().is_unspecified() || signalled.port() == 0;
        self.latch.source().or((!is_nowhere).then_some(signalled))
    }

    fn begin_press(&mut self) {
        (self.said, self.last) = (Said::Digit, 0);
        if let Some(packetizer) = &mut self.packetizer {
            packetizer.clear();
        }
    }

    fn signal(
        &mut self,
        out: &mut Transmits,
        now: Instant,
        digit: char,
        ticks: u32,
        is_first: bool,
        is_end: bool,
    ) {
        let (Some(payload_type), Some(event)) = (self.dtmf_payload_type(), event_of(digit)) else {
            return;
        };
        let timestamp = self.press_timestamp;
        let header = self.outgoing.signal(now, payload_type, timestamp, is_first);
        let duration = ticks * Rate::Narrow.frame() as u32;
        let event = TelephoneEvent { event, is_end, volume: VOLUME, duration };
        self.send_event(out, header, event);
    }

    /// Timestamp units of 20 ms.
    fn tick_units(&self) -> u32 {
        self.outgoing.clock_rate() / 50
    }

    fn keep_early(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        let Ok(data) = heapless::Vec::from_slice(data) else { return };
        let packets = self.early.get_or_insert_default();
        if packets.is_full() {
            packets.pop_front();
        }
        let packet = EarlyPacket { at: now, from, data };
        packets.push_back(packet).expect("a place is free: the oldest was taken out");
    }

    fn be_heard(&mut self, now: Instant, news: &mut News) {
        if let Some(at) = &mut self.heard_at {
            *at = now;
        }
        news.has_resumed |= std::mem::take(&mut self.is_silent);
    }

    fn count(&mut self, header: Header) -> Arrival {
        match &mut self.reception {
            Some(reception) if reception.ssrc == header.ssrc => reception.arrive(header.sequence),
            reception => {
                let new = Reception::new(header.ssrc, header.sequence);
                if let Some(old) = reception.replace(new) {
                    self.before.received += old.received;
                    self.before.lost += old.lost();
                }
                self.events = EventReceiver::default();
                Arrival::Restarted
            }
        }
    }

    fn receive_event<'a>(
        &mut self,
        now: Instant,
        packet: Packet<'a>,
        clock: Rate,
        receives: bool,
        news: &mut News,
    ) -> Heard<'a> {
        let header = packet.header;
        let Some(event) = TelephoneEvent::parse(packet.payload, clock) else {
            stats::RTP_INVALID.add(1);
            return Heard::Nothing;
        };
        if !receives {
            return Heard::Nothing;
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.pass(header);
        }
        let press = self.events.receive(
            event,
            header.timestamp,
            self.heard_codec.clock_rate(),
            header.marker,
        );
        // Decided when it begins: a script that stops listening upon the digit must not have the
        // rest of the press passed on as another one.
        if press == Press::Begins {
            self.is_press_ours = self.listening.telephone_event;
        }
        let is_listened_for = self.is_press_ours;
        if let Some(digit) = event.digit() {
            self.has_events = true;
            let source = DigitSource::TelephoneEvent;
            match press {
                Press::Begins if is_listened_for && self.presses.is_new(now, digit, source) => {
                    news.digit = Some((digit, source));
                }
                Press::Goes if is_listened_for => self.presses.goes_on(now, digit, source),
                Press::Begins | Press::Goes | Press::Old => {}
            }
        }
        Heard::Event { event, header, press, is_listened_for }
    }

    /// Looks for in-band digits; whether one is being pressed.
    fn detect(
        &mut self,
        now: Instant,
        samples: impl Iterator<Item = i16>,
        news: &mut News,
    ) -> bool {
        let Some(detector) = &mut self.detector else { return false };
        if self.has_events && self.listening.telephone_event {
            return false;
        }
        let source = DigitSource::InBand;
        let pressed = detector.feed(samples);
        if let Some(digit) = pressed {
            if self.presses.is_new(now, digit, source) {
                news.digit = Some((digit, source));
            }
        } else if let Some(digit) = detector.current() {
            self.presses.goes_on(now, digit, source);
        }
        detector.current().is_some()
    }
}

fn encoding(settings: &StreamSettings) -> EncoderSettings {
    EncoderSettings { ptime: settings.ptime, opus: settings.opus }
}

/// Counts a packet that is dropped.
fn reject(rejected: Rejected) -> Option<&'static [u8]> {
    match rejected {
        Rejected::Malformed => stats::RTP_INVALID.add(1),
        Rejected::Unauthenticated => stats::SRTP_UNAUTHENTICATED.add(1),
        Rejected::Replayed => stats::SRTP_REPLAYED.add(1),
    }
    None
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Audio(Codec),
    /// With durations in this clock.
    Event(Rate),
    /// RFC 3389: the pause of a peer that does not send silence.
    Noise,
}

/// Packets of an event come every 50 ms at most (RFC 4733 §2.5.1.2), and one may be lost.
const CARRIED: Duration = Duration::from_millis(120);
/// Longer than the longest packet.
const GAP: Duration = Duration::from_millis(60);
/// RFC 3551 table 4.
const COMFORT_NOISE: u8 = 13;
/// RFC 3551 §4.2
const DEFAULT_PTIME: Duration = Duration::from_millis(20);
/// 160 ms of 20 ms packets.
const MOST_EARLY: usize = 8;
/// A header and 20 ms of any codec but L16 at 48,000 Hz.
const EARLY_BYTES: usize = 672;
/// Early packets are worth hearing for so long.
const FRESH: Duration = Duration::from_millis(500);
/// 60 ms of 20 ms packets: more would come as a burst that the receiver has to delay.
const MOST_WAITING: usize = 3;
const JUST_NOW: Duration = Duration::from_millis(60);
/// RFC 3550 §6.4: who sent nothing in the last two intervals sends RR.
const RECENTLY: Duration = Duration::from_secs(10);
