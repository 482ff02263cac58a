//! The door of `media`: all units and routes of one media thread as one machine.
//!
//! Commands and packets in; packets, recorded samples and events out. A packet of a joined pair
//! with the same codec is forwarded when it arrives; the 20 ms tick drives only what makes audio.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clip::Clip;
use super::detect::{self, Detection, Finding};
use super::format::{Formats, OpusSettings, Reports};
use super::frame::{Frame, Rate};
use super::mixer::Mixer;
use super::outgoing::{self, Outgoing};
use super::player::Player;
use super::ports::PortPool;
use super::recorder::Recorder;
use super::rtcp::{self, Control};
use super::rtp::Packet;
use super::sockets::Sockets;
use super::srtp;
use super::stream::Stream;
use super::ticks::Ticks;
use super::transmits::Transmits;
use super::unit::{Body, Units};
use crate::random::Random;
use crate::slots::Key;
use crate::stats;

/// What sends or hears audio. The number is chosen by whoever opens the unit and is never used
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(pub u64);

/// A pair of UDP sockets (RTP on an even port, RTCP on the next) in the driver's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// 64 kbit/s.
    G722,
    /// RFC 6716, RFC 7587; mono.
    Opus,
    /// Samples as they are, the high byte first (RFC 3551 §4.5.11), at this rate.
    L16(Rate),
}

#[derive(Debug, Clone)]
pub struct Config {
    /// First and last RTP port, from `[media] rtp_ports`.
    pub ports: (u16, u16),
    /// Call streams, players and recorders together. Full: `Event::OpenFailed`.
    pub units: usize,
    /// Silence on RTP and RTCP after which `Event::RtpStopped` comes.
    pub rtp_timeout: Duration,
}

/// What `session` asks of the engine.
#[derive(Debug, Clone)]
pub enum Command {
    /// Make a call unit and bind its port pair on this address; `Opened` or `OpenFailed` follows.
    Open {
        unit: UnitId,
        address: IpAddr,
    },
    /// Give a call unit another port pair, on this address; `Opened` or `OpenFailed` follows. Who
    /// hears whom stays.
    Move {
        unit: UnitId,
        address: IpAddr,
    },
    /// What offer/answer agreed on, the first time and after every re-INVITE.
    Configure {
        unit: UnitId,
        settings: StreamSettings,
    },
    /// Make a player. It starts at the first `Route` from it or 50 ms from now, whichever is
    /// first, unless `paused`.
    Play {
        unit: UnitId,
        source: Source,
        looped: bool,
        paused: bool,
    },
    Pause {
        unit: UnitId,
    },
    Resume {
        unit: UnitId,
    },
    /// Milliseconds from the start of a part of the source, negative from its end; a source that
    /// is no sequence has only part 0.
    Mark {
        unit: UnitId,
        part: usize,
        offset_ms: i64,
    },
    /// Make a recorder; feed it by `Route`. Samples come out as `Output::Recorded`.
    Record {
        unit: UnitId,
        layout: Layout,
        rate: Rate,
    },
    /// Record both directions of a call: what it says and what it hears.
    RecordCall {
        unit: UnitId,
        call: UnitId,
        layout: Layout,
        rate: Rate,
    },
    /// Make a conference: who hears it hears all who are routed to it, but for itself. It works at
    /// this rate at most.
    Conference {
        unit: UnitId,
        rate: Rate,
    },
    Mute {
        unit: UnitId,
        muted: bool,
    },
    /// `to` hears `from`. A call hears one source: the new one replaces the old.
    Route {
        from: UnitId,
        to: UnitId,
    },
    /// Removes the route if it stands.
    Unroute {
        from: UnitId,
        to: UnitId,
    },
    /// The call `new` takes over what `old` hears, who hears `old`, its recordings and which of
    /// its digits are reported; its own routes are gone. `old` stands without any.
    Replace {
        old: UnitId,
        new: UnitId,
    },
    /// Report digits of this call and keep them out of what is passed on.
    ListenDigits {
        unit: UnitId,
        sources: DigitSources,
    },
    /// Tell when the person on this call speaks.
    ListenVoice {
        unit: UnitId,
        listens: bool,
    },
    /// Listen to this call for something else: `Event::Detected` tells what comes of it.
    Detect {
        unit: UnitId,
        detection: Detection,
    },
    StopDetecting {
        unit: UnitId,
        kind: detect::Kind,
    },
    /// A SIP INFO digit that `session` read: reported like the others, once.
    InfoDigit {
        unit: UnitId,
        digit: char,
    },
    /// `0-9 * # A-D`, and `p` for a pause of a second.
    SendDigits {
        unit: UnitId,
        digits: String,
    },
    /// End a unit and its routes. A call's statistics follow as `Event::Closed`, a recorder's
    /// last samples before it.
    Close {
        unit: UnitId,
    },
}

/// Which digits `ListenDigits` reports; all false: none, and tones pass through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DigitSources {
    pub telephone_event: bool,
    pub in_band: bool,
    pub info: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    pub remote: SocketAddr,
    pub remote_rtcp: SocketAddr,
    pub rtcp_mux: bool,
    /// What we send, and its number.
    pub codec: Codec,
    pub payload_type: u8,
    /// What the peer may send.
    pub formats: Formats,
    /// telephone-event in what we send.
    pub dtmf_payload_type: Option<u8>,
    /// Of its durations. Not always that of the timestamps: many peers have no clock but 8000 for
    /// events, whatever the audio beside them.
    pub dtmf_clock: Rate,
    /// Comfort noise in what we send; `None`: pauses are sent as audio.
    pub noise_payload_type: Option<u8>,
    /// What the peer asks of our Opus.
    pub opus: OpusSettings,
    pub reports: Reports,
    pub sends: bool,
    pub receives: bool,
    pub ptime: Duration,
    /// Of a stream that is protected; the same keys again go on, others begin anew.
    pub srtp: Option<Box<srtp::Keys>>,
}

#[derive(Debug, Clone)]
pub enum Source {
    Clip(Arc<Clip>),
    /// One after the other, without a gap between those of one rate.
    Sequence(Arc<[Arc<Clip>]>),
    /// A tone script, as section 17 of the VoxEngine reference has it; parsed by
    /// `media::tone::Script::parse`.
    Tone(Arc<super::tone::Script>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One channel, all sources mixed.
    Mono,
    /// Left: to the endpoint; right: from the endpoint (`RecordCall`).
    Stereo,
}

impl Layout {
    pub const fn channels(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }
}

#[derive(Debug)]
pub enum Input<'a> {
    Command(Command),
    /// The port pair stands.
    Bound {
        socket: SocketId,
    },
    /// The port is taken by somebody else: the engine asks for the next.
    BindFailed {
        socket: SocketId,
    },
    Rtp {
        socket: SocketId,
        from: SocketAddr,
        data: &'a [u8],
    },
    Rtcp {
        socket: SocketId,
        from: SocketAddr,
        data: &'a [u8],
    },
    Timeout,
}

#[derive(Debug)]
pub enum Output {
    Bind {
        socket: SocketId,
        address: IpAddr,
        port: u16,
    },
    Unbind {
        socket: SocketId,
    },
    /// Interleaved samples of a recorder, a second or less each.
    Recorded {
        unit: UnitId,
        samples: Vec<i16>,
    },
    Event(Event),
}

/// A packet to send, borrowed from the engine's own buffer until the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit<'a> {
    pub socket: SocketId,
    pub is_rtcp: bool,
    pub to: SocketAddr,
    pub data: &'a [u8],
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Opened {
        unit: UnitId,
        port: u16,
    },
    /// No port or no place left.
    OpenFailed {
        unit: UnitId,
    },
    FirstPacket {
        unit: UnitId,
    },
    RtpStopped {
        unit: UnitId,
    },
    RtpResumed {
        unit: UnitId,
    },
    Digit {
        unit: UnitId,
        digit: char,
        source: DigitSource,
    },
    /// What was listened for with `Detect`.
    Detected {
        unit: UnitId,
        finding: Finding,
    },
    /// The person on a call begins or ends to speak (`ListenVoice`).
    Voice {
        unit: UnitId,
        is_speaking: bool,
    },
    /// Who speaks in a conference, from now on; `None`: who did is gone.
    Speaker {
        unit: UnitId,
        speaker: Option<UnitId>,
    },
    /// A player's first sound, with the length of one pass; zero for an endless tone.
    Started {
        unit: UnitId,
        duration: Duration,
    },
    /// A player's clip does not grow as fast as it is played: silence until there is more.
    Buffering {
        unit: UnitId,
    },
    /// A player came to its end.
    Finished {
        unit: UnitId,
    },
    Marked {
        unit: UnitId,
        offset_ms: i64,
    },
    /// The unit is gone; figures of its stream, or of its recording.
    Closed {
        unit: UnitId,
        figures: Figures,
    },
}

impl Event {
    /// Whose it is.
    pub fn unit(&self) -> UnitId {
        match *self {
            Self::Opened { unit, .. }
            | Self::OpenFailed { unit }
            | Self::FirstPacket { unit }
            | Self::RtpStopped { unit }
            | Self::RtpResumed { unit }
            | Self::Digit { unit, .. }
            | Self::Voice { unit, .. }
            | Self::Detected { unit, .. }
            | Self::Speaker { unit, .. }
            | Self::Started { unit, .. }
            | Self::Buffering { unit }
            | Self::Finished { unit }
            | Self::Marked { unit, .. }
            | Self::Closed { unit, .. } => unit,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigitSource {
    TelephoneEvent,
    InBand,
    Info,
}

/// Counts of one unit's life; zero where they do not apply.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    pub packets_received: u64,
    pub packets_sent: u64,
    pub packets_lost: u64,
    pub packets_late: u64,
    /// Too late or too many for the jitter buffer, and the audio that was made up for what lacked.
    pub packets_discarded: u64,
    pub concealed: Duration,
    /// RFC 3550 A.8, in milliseconds; at the end, and the highest.
    pub jitter_ms: f32,
    pub jitter_most_ms: f32,
    /// From RTCP, 0 when unknown.
    pub round_trip_ms: f32,
    /// From RTCP: what of ours the peer did not get, and its jitter.
    pub lost_by_peer: u64,
    pub jitter_at_peer_ms: f32,
    /// Of a call.
    pub codec: Option<Codec>,
    /// Estimates of `quality`: of what came, and of what the peer heard; 0 when unknown.
    pub mos: f32,
    pub mos_at_peer: f32,
    /// Length of a recording.
    pub recorded: Duration,
}

/// The engine.
pub struct Engine {
    pub(super) config: Config,
    random: Random,
    pub(super) units: Units,
    ports: PortPool,
    pub(super) sockets: Sockets,
    pub(super) transmits: Transmits,
    pub(super) outputs: VecDeque<Output>,
    pub(super) clock: Ticks,
    /// The zero of NTP timestamps and arrival times.
    pub(super) epoch: Instant,
    /// What one listener of a conference hears, used again.
    pub(super) mixed: Box<Frame>,
    /// Keys of a tick, used again.
    pub(super) keys: Vec<Key>,
    /// The packet that is decrypted, used again.
    pub(super) clear: Vec<u8>,
}

impl Engine {
    pub fn new(now: Instant, config: Config, random: Random) -> Self {
        Self {
            units: Units::with_capacity(config.units),
            ports: PortPool::new(config.ports.0, config.ports.1),
            config,
            random,
            sockets: Sockets::default(),
            transmits: Transmits::default(),
            outputs: VecDeque::new(),
            clock: Ticks::new(now),
            epoch: now,
            mixed: Box::new(Frame::silence(Rate::Narrow)),
            keys: Vec::new(),
            clear: Vec::new(),
        }
    }

    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Rtp { socket, from, data } => self.receive(now, socket, from, data),
            Input::Rtcp { socket, from, data } => self.receive_control(now, socket, from, data),
            Input::Timeout => {
                stats::MEDIA_TICKS_SKIPPED.add(self.clock.skip_missed(now));
                while let Some(tick) = self.clock.due(now) {
                    self.tick(tick);
                }
            }
            Input::Command(command) => {
                self.clock.wake(now);
                self.carry_out(now, command);
            }
            Input::Bound { socket } => self.bound(socket),
            Input::BindFailed { socket } => self.bind_failed(socket),
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        if let Output::Unbind { socket } = output {
            // Only now, so that no answer to an earlier Bind meets the socket's next owner.
            self.sockets.free(socket);
        }
        Some(output)
    }

    /// The next packet to send. They may wait for some inputs, but not past an
    /// `Output::Unbind`.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.transmits.pop()
    }

    /// How many `poll_transmit` has to give.
    pub fn packets_to_send(&self) -> usize {
        self.transmits.waiting()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.units.is_empty()).then(|| self.clock.next())
    }

    pub fn usage(&self) -> Usage {
        Usage { units: self.units.len(), sockets: self.sockets.len() }
    }

    fn carry_out(&mut self, now: Instant, command: Command) {
        match command {
            Command::Open { unit, address } => self.open(now, unit, address),
            Command::Move { unit, address } => self.move_to(unit, address),
            Command::Configure { unit, settings } => self.configure(now, unit, settings),
            Command::Play { unit, source, looped, paused } => {
                let player = Player::new(now, unit, source, looped, paused);
                self.insert(unit, Body::Player(Box::new(player)));
            }
            Command::Pause { unit } => {
                if let Some(player) = self.player(unit) {
                    player.pause();
                }
            }
            Command::Resume { unit } => {
                if let Some(player) = self.player(unit) {
                    player.resume();
                }
            }
            Command::Mark { unit, part, offset_ms } => {
                if self.player(unit).is_some_and(|player| !player.mark(part, offset_ms)) {
                    stats::MARKS_DROPPED.add(1);
                }
            }
            Command::Record { unit, layout, rate } => {
                let recorder = Recorder::new(now, None, layout, rate);
                self.insert(unit, Body::Recorder(Box::new(recorder)));
            }
            Command::RecordCall { unit, call, layout, rate } => {
                let call = self.units.key(call);
                let recorder = Recorder::new(now, call, layout, rate);
                let key = self.insert(unit, Body::Recorder(Box::new(recorder)));
                if let (Some(key), Some(call)) = (key, call)
                    && !self.units.tap(key, call)
                {
                    stats::MEDIA_ROUTES_REFUSED.add(1);
                }
            }
            Command::Conference { unit, rate } => {
                self.insert(unit, Body::Conference(Box::new(Mixer::new(rate))));
            }
            Command::Mute { unit, muted } => {
                if let Some(unit) = self.units.key(unit).and_then(|key| self.units.get_mut(key)) {
                    unit.muted = muted;
                    if let Body::Recorder(recorder) = &mut unit.body {
                        recorder.mute(muted);
                    }
                }
            }
            Command::Route { from, to } => self.route(now, from, to),
            Command::Unroute { from, to } => {
                if let (Some(from), Some(to)) = (self.units.key(from), self.units.key(to)) {
                    self.units.unroute(from, to);
                }
            }
            Command::Replace { old, new } => self.replace(old, new),
            Command::ListenDigits { unit, sources } => {
                if let Some(stream) = self.call(unit) {
                    stream.listen(sources);
                }
            }
            Command::Detect { unit, detection } => {
                if let Some(stream) = self.call(unit) {
                    stream.detect_also(detection);
                }
            }
            Command::StopDetecting { unit, kind } => {
                if let Some(stream) = self.call(unit) {
                    stream.stop_detecting(kind);
                }
            }
            Command::ListenVoice { unit, listens } => {
                if let Some(stream) = self.call(unit) {
                    stream.listen_for_voice(listens);
                }
            }
            Command::InfoDigit { unit, digit } => {
                if self.call(unit).is_some_and(|stream| stream.info_digit(now, digit)) {
                    self.tell(Event::Digit { unit, digit, source: DigitSource::Info });
                }
            }
            Command::SendDigits { unit, digits } => {
                let dropped = self.call(unit).map_or(0, |stream| stream.keypad.press(&digits));
                stats::DTMF_DROPPED.add(dropped as u64);
            }
            Command::Close { unit } => self.close(now, unit),
        }
    }

    fn open(&mut self, now: Instant, unit: UnitId, address: IpAddr) {
        let Some(port) = self.ports.take() else { return self.refuse(unit) };
        let mut bytes = [0; rtcp::CNAME_BYTES / 2];
        self.random.fill(&mut bytes);
        let mut cname = [0; rtcp::CNAME_BYTES];
        data_encoding::HEXLOWER.encode_mut(&bytes, &mut cname);
        let control = Control::new(now + self.report_interval(), cname);
        let seed = self.random.next_u64();
        // RFC 3550 §5.1: SSRC, sequence number and timestamp begin at random; the sequence number
        // in the lower half, so that it does not wrap at once.
        let sequence = (seed >> 33) as u16 & 0x7fff;
        let ssrc = self.random.next_u32();
        let outgoing = Outgoing::new(now, ssrc, sequence, seed as u32);
        let socket = self.sockets.reserve();
        let stream = Stream::new(socket, address, port, outgoing, control);
        match self.insert(unit, Body::Call(Box::new(stream))) {
            Some(key) => {
                self.sockets.own(socket, key);
                self.outputs.push_back(Output::Bind { socket, address, port });
            }
            None => {
                self.sockets.free(socket);
                self.ports.release(port);
            }
        }
    }

    fn move_to(&mut self, unit: UnitId, address: IpAddr) {
        let Some(key) = self.units.key(unit) else { return };
        let Some(stream) = self.units.call_mut(key) else { return };
        self.sockets.disown(stream.socket);
        self.ports.release(stream.port);
        self.outputs.push_back(Output::Unbind { socket: stream.socket });
        match self.ports.take() {
            Some(port) => {
                let socket = self.sockets.reserve();
                stream.move_to(socket, address, port);
                self.sockets.own(socket, key);
                self.outputs.push_back(Output::Bind { socket, address, port });
            }
            None => {
                self.units.remove(unit);
                self.refuse(unit);
            }
        }
    }

    fn configure(&mut self, now: Instant, unit: UnitId, settings: StreamSettings) {
        let Some(stream) = self.call(unit) else { return };
        let socket = stream.socket;
        stream.configure(now, settings);
        while let Some(packet) = self.call(unit).and_then(|stream| stream.take_early(now)) {
            self.receive(now, socket, packet.from, &packet.data);
        }
        let Some(key) = self.units.key(unit) else { return };
        while let Some(waiting) = self.units.call_mut(key).and_then(|s| s.take_waiting(now)) {
            let source = outgoing::Source { unit: waiting.source, ssrc: waiting.header.ssrc };
            if self.units.get(key).is_some_and(|unit| unit.sources.contains(&source.unit)) {
                let packet = Packet { header: waiting.header, payload: &waiting.payload };
                self.pass_to_call(now, key, source, waiting.codec, packet, false);
            }
        }
    }

    fn bound(&mut self, socket: SocketId) {
        let Some(unit) = self.sockets.owner(socket).and_then(|key| self.units.get_mut(key)) else {
            return;
        };
        let Body::Call(stream) = &mut unit.body else { return };
        if !std::mem::replace(&mut stream.is_open, true) {
            let (unit, port) = (unit.id, stream.port);
            self.tell(Event::Opened { unit, port });
        }
    }

    /// Somebody else has the port: the next one.
    fn bind_failed(&mut self, socket: SocketId) {
        let Some(unit) = self.sockets.owner(socket).and_then(|key| self.units.get_mut(key)) else {
            return;
        };
        let id = unit.id;
        let Body::Call(stream) = &mut unit.body else { return };
        stream.failed_binds += 1;
        let most = MOST_BINDS.min(self.ports.len());
        let next = (stream.failed_binds < most).then(|| self.ports.take()).flatten();
        self.ports.release(stream.port);
        match next {
            Some(port) => {
                stream.port = port;
                let address = stream.address;
                self.outputs.push_back(Output::Bind { socket, address, port });
            }
            None => {
                self.units.remove(id);
                self.sockets.free(socket);
                self.refuse(id);
            }
        }
    }

    fn route(&mut self, now: Instant, from: UnitId, to: UnitId) {
        let (Some(from), Some(to)) = (self.units.key(from), self.units.key(to)) else { return };
        if !self.units.route(from, to) {
            return stats::MEDIA_ROUTES_REFUSED.add(1);
        }
        if let Some(Body::Player(player)) = self.units.body_mut(from) {
            player.start(now);
        }
    }

    fn replace(&mut self, old: UnitId, new: UnitId) {
        let Some(listening) = self.call(old).map(|stream| stream.listening()) else { return };
        let ear = self.call(old).and_then(Stream::take_ear);
        let Some(stream) = self.call(new) else { return };
        stream.listen(listening);
        stream.give_ear(ear);
        if let (Some(old), Some(new)) = (self.units.key(old), self.units.key(new)) {
            self.units.replace(old, new);
        }
    }

    fn close(&mut self, now: Instant, id: UnitId) {
        let Some(mut unit) = self.units.remove(id) else { return };
        let figures = match &mut unit.body {
            Body::Call(stream) => {
                if stream.has_path() {
                    stream.send_control(&mut self.transmits, now, self.epoch, true);
                }
                self.sockets.disown(stream.socket);
                self.ports.release(stream.port);
                self.outputs.push_back(Output::Unbind { socket: stream.socket });
                stream.figures()
            }
            Body::Conference(_) | Body::Player(_) => Figures::default(),
            Body::Recorder(recorder) => {
                let (samples, recorded) = recorder.finish(now);
                if !samples.is_empty() {
                    self.outputs.push_back(Output::Recorded { unit: id, samples });
                }
                Figures { recorded, ..Figures::default() }
            }
        };
        self.tell(Event::Closed { unit: id, figures });
    }

    fn insert(&mut self, id: UnitId, body: Body) -> Option<Key> {
        let key = self.units.insert(id, body);
        if key.is_none() {
            self.refuse(id);
        }
        key
    }

    fn refuse(&mut self, unit: UnitId) {
        stats::MEDIA_UNITS_REFUSED.add(1);
        self.tell(Event::OpenFailed { unit });
    }

    /// RFC 3550 §6.2: 5 s, spread over half to one and a half so that reports do not march in step.
    pub(super) fn report_interval(&mut self) -> Duration {
        REPORT / 2 + REPORT * (self.random.next_u32() >> 16) / 0x1_0000
    }

    fn call(&mut self, unit: UnitId) -> Option<&mut Stream> {
        self.units.key(unit).and_then(|key| self.units.call_mut(key))
    }

    fn player(&mut self, unit: UnitId) -> Option<&mut Player> {
        match self.units.body_mut(self.units.key(unit)?) {
            Some(Body::Player(player)) => Some(player),
            _ => None,
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// What the engine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub units: usize,
    pub sockets: usize,
}

/// RFC 3550 §6.2.
const REPORT: Duration = Duration::from_secs(5);
/// Ports in a row that somebody else may have, before the call is refused.
const MOST_BINDS: usize = 512;
