//! The door of `media`: all units and routes of one media thread as one machine.
//!
//! Commands and packets in; packets, recorded samples and events out. A packet of a joined pair
//! with the same codec is forwarded when it arrives; the 20 ms tick drives only what makes audio.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clip::Clip;
use crate::random::Random;

/// What sends or hears audio. The number is chosen by whoever opens the unit and is never used
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(pub u64);

/// A pair of UDP sockets (RTP on an even port, RTCP on the next) in the driver's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Pcmu,
    Pcma,
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
    /// Milliseconds from the start, negative from the end.
    Mark {
        unit: UnitId,
        offset_ms: i64,
    },
    /// Make a recorder; feed it by `Route`. Samples come out as `Output::Recorded`.
    Record {
        unit: UnitId,
        layout: Layout,
    },
    /// Record both directions of a call: what it says and what it hears.
    RecordCall {
        unit: UnitId,
        call: UnitId,
        layout: Layout,
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
    /// Report digits of this call and keep them out of what is passed on.
    ListenDigits {
        unit: UnitId,
        sources: DigitSources,
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
    pub codec: Codec,
    pub payload_type: u8,
    pub dtmf_payload_type: Option<u8>,
    pub sends: bool,
    pub receives: bool,
    pub ptime: Duration,
}

#[derive(Debug, Clone)]
pub enum Source {
    Clip(Arc<Clip>),
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
    /// Interleaved samples at 8000 Hz of a recorder, about a second each.
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
    /// A player's first sound, with the length of one pass.
    Started {
        unit: UnitId,
        duration: Duration,
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
    /// RFC 3550 A.8, in milliseconds.
    pub jitter_ms: f32,
    /// From RTCP, 0 when unknown.
    pub round_trip_ms: f32,
    /// Length of a recording.
    pub recorded: Duration,
}

/// The engine.
pub struct Engine {}

impl Engine {
    pub fn new(_now: Instant, _config: Config, _random: Random) -> Self {
        Self {}
    }

    pub fn handle_input(&mut self, _now: Instant, _input: Input<'_>) {}

    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// The next packet to send; until `None`, before the next input.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        None
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// What the engine holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub units: usize,
    pub sockets: usize,
}
