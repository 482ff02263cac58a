//! What every session works with: the user agent, the way to the other threads, the tables that
//! tell whose a call or unit is, and the timers of all sessions.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::transfer::Note;
use crate::clock::WallClock;
use crate::config::Config;
use crate::gateway::{Output, Reply};
use crate::media::engine::{Command as MediaCommand, UnitId};
use crate::random::Random;
use crate::scenario::command::{Object, Sound};
use crate::scenario::event::Event as ScriptEvent;
use crate::scenario::worker::{Input as ScriptInput, SessionId};
use crate::sip::user_agent::{CallId, UserAgent};
use crate::storage::record::UnixMs;
use crate::storage::store::Operation;
use crate::timers::Timers;

/// Where a session lives: its worker and its media thread, chosen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub session: SessionId,
    pub worker: usize,
    pub media: usize,
}

/// A call of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCall {
    pub session: SessionId,
    pub call: Object,
}

/// What a media unit is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Call(Object),
    /// The player behind `say`, `startPlayback` and `playProgressTone` of a call.
    Playback(Object),
    Player(Object),
    /// What records a call, or a recorder of the script.
    Recorder(Object),
    Conference(Object),
    /// A call that is over: its figures are to come.
    Ended(Object),
}

/// A session's deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// A session without calls.
    Idle(SessionId),
    /// An incoming call that nobody answers, an outgoing one that gets no port.
    Alerting(SessionId, Object),
    /// Requests, a handler or recordings that hold up the end of a session.
    End(SessionId),
    /// The next digit that goes out by SIP INFO.
    Digits(SessionId, Object),
    /// Figures that an event of a call's end waits for.
    Figures(SessionId, Object),
    /// A script that is to report on a transfer, a transferor that is to hang up.
    Transfer(SessionId, Object),
}

pub struct Exchange {
    pub config: Arc<Config>,
    pub user_agent: UserAgent,
    pub random: Random,
    pub timers: Timers<Timer>,
    /// Base of access URLs, `http://192.0.2.1:8080`.
    pub control_url: String,
    outputs: VecDeque<Output>,
    /// Each input adds at most a few for each call of a session.
    notes: VecDeque<Note>,
    legs: HashMap<CallId, (SessionId, Object)>,
    units: HashMap<UnitId, (SessionId, Role)>,
    loads: HashMap<u64, (SessionId, Role)>,
    units_so_far: u64,
    loads_so_far: u64,
    wall: WallClock,
    now_ms: UnixMs,
    has_warned_of_open_keys: bool,
}

impl Exchange {
    pub fn new(
        now: Instant,
        wall: WallClock,
        config: Arc<Config>,
        user_agent: UserAgent,
        control_url: String,
        random: Random,
    ) -> Self {
        Self {
            config,
            user_agent,
            random,
            timers: Timers::new(),
            control_url,
            outputs: VecDeque::new(),
            notes: VecDeque::new(),
            legs: HashMap::new(),
            units: HashMap::new(),
            loads: HashMap::new(),
            units_so_far: 0,
            loads_so_far: 0,
            wall,
            now_ms: wall.unix_ms(now),
            has_warned_of_open_keys: false,
        }
    }

    /// The time of day, set at start and now and then: the monotonic clock drifts from it.
    pub fn set_wall(&mut self, wall: WallClock) {
        self.wall = wall;
    }

    pub fn wall(&self) -> WallClock {
        self.wall
    }

    /// What time it is for this input; at the top of every one.
    pub fn advance(&mut self, now: Instant) {
        self.now_ms = self.wall.unix_ms(now);
    }

    /// Unix time of the present input.
    pub fn unix_ms(&self) -> UnixMs {
        self.now_ms
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// For another session; the gateway carries it out at the end of this step.
    pub fn note(&mut self, note: Note) {
        self.notes.push_back(note);
    }

    pub fn take_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    pub fn reply(&mut self, reply: Reply) {
        self.push(Output::Reply(reply));
    }

    pub fn disk(&mut self, operation: Operation) {
        self.push(Output::Disk(operation));
    }

    pub fn script(&mut self, place: Place, input: ScriptInput) {
        self.push(Output::Script { thread: place.worker, input });
    }

    pub fn script_event(&mut self, place: Place, event: ScriptEvent) {
        self.script(place, ScriptInput::Event { session: place.session, event });
    }

    pub fn media(&mut self, place: Place, command: MediaCommand) {
        self.push(Output::Media { thread: place.media, command });
    }

    /// A new media unit of the session; numbers are never used again.
    pub fn add_unit(&mut self, session: SessionId, role: Role) -> UnitId {
        self.units_so_far += 1;
        let unit = UnitId(self.units_so_far);
        self.units.insert(unit, (session, role));
        unit
    }

    /// A unit goes on in another session.
    pub fn own_unit(&mut self, unit: UnitId, session: SessionId, role: Role) {
        self.units.insert(unit, (session, role));
    }

    pub fn unit(&self, unit: UnitId) -> Option<(SessionId, Role)> {
        self.units.get(&unit).copied()
    }

    /// Ends a unit; what it still says is about nobody, save the figures of a recorder or a call.
    pub fn close_unit(&mut self, place: Place, unit: UnitId) {
        let role = self.units.get(&unit).map(|(_, role)| role);
        if !matches!(role, Some(Role::Recorder(_) | Role::Ended(_))) {
            self.units.remove(&unit);
        }
        self.media(place, MediaCommand::Close { unit });
    }

    pub fn forget_unit(&mut self, unit: UnitId) {
        self.units.remove(&unit);
    }

    /// Asks for a sound; `Input::Loaded` brings it.
    pub fn load(&mut self, session: SessionId, role: Role, sound: Sound) -> u64 {
        self.loads_so_far += 1;
        let request = self.loads_so_far;
        self.loads.insert(request, (session, role));
        self.push(Output::Load { request, sound });
        request
    }

    /// The sound is not wanted any more. One that is loaded all the same belongs to nobody.
    pub fn cancel_load(&mut self, request: u64) {
        if self.take_load(request).is_some() {
            self.push(Output::CancelLoad { request });
        }
    }

    pub fn take_load(&mut self, request: u64) -> Option<(SessionId, Role)> {
        self.loads.remove(&request)
    }

    pub fn add_leg(&mut self, leg: CallId, session: SessionId, call: Object) {
        self.legs.insert(leg, (session, call));
        crate::stats::CALLS.set(self.legs.len() as u64);
    }

    pub fn leg(&self, leg: CallId) -> Option<(SessionId, Object)> {
        self.legs.get(&leg).copied()
    }

    pub fn remove_leg(&mut self, leg: CallId) {
        self.legs.remove(&leg);
        crate::stats::CALLS.set(self.legs.len() as u64);
    }

    pub fn legs(&self) -> usize {
        self.legs.len()
    }

    pub fn units(&self) -> usize {
        self.units.len()
    }

    pub fn loads(&self) -> usize {
        self.loads.len()
    }

    /// SRTP keys go out in SIP that anybody on the way can read: told once.
    pub fn warn_of_open_keys(&mut self) {
        if !std::mem::replace(&mut self.has_warned_of_open_keys, true) {
            log::warn!(
                "SRTP keys travel over unencrypted SIP, where whoever reads the call's messages \
                 can listen: use transport=tls with this peer; this is told once"
            );
        }
    }

    /// How long a session may be without calls.
    pub fn idle_timeout(&self) -> Duration {
        self.config.limits.idle_timeout
    }
}

/// The host part of a URL or SIP URI for an address.
pub fn host_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
