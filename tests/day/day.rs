//! The day: an engine, its peers, and what happens to them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline::media::clip::Clip;
use branchline::media::detect::{Detection, Kind};
use branchline::media::engine::{
    Codec, Command, Config, DigitSources, Engine, Event, Input, Layout, Output, SocketId, Source,
    UnitId, Usage,
};
use branchline::media::frame::Rate;
use branchline::media::tone::Script;
use branchline::random::Random;

use crate::peer::{ALL, Last, Peer, TICK, Voice};

pub struct Day {
    engine: Engine,
    now: Instant,
    random: fastrand::Rng,
    voice: Voice,
    clip: Arc<Clip>,
    /// The first two are joined all day, and nothing happens to them.
    peers: Vec<Peer>,
    players: Vec<UnitId>,
    recorders: Vec<UnitId>,
    conferences: Vec<UnitId>,
    /// What is underway to us.
    underway: Vec<(Instant, UnitId, Vec<u8>)>,
    sockets: HashMap<SocketId, UnitId>,
    by_unit: HashMap<UnitId, SocketId>,
    last: HashMap<UnitId, Last>,
    next_unit: u64,
    /// Whose socket is bound by the command that is carried out.
    opening: Option<UnitId>,
    /// Of the pair: audio packets that went in at one end and came out at the other.
    said: u64,
    heard: u64,
    digest: DefaultHasher,
}

impl Day {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        let config = Config { ports: (10_000, 10_199), units: 40, rtp_timeout: 7 * SECOND };
        let mut day = Self {
            engine: Engine::new(now, config, Random::seeded(seed)),
            now,
            random: fastrand::Rng::with_seed(seed),
            voice: Voice::new(),
            clip: Arc::new(Clip::whole(Rate::Wide, &[1000; 16_000])),
            peers: Vec::with_capacity(MOST_CALLS + 2),
            players: Vec::with_capacity(MOST_OTHERS),
            recorders: Vec::with_capacity(MOST_OTHERS),
            conferences: Vec::with_capacity(MOST_OTHERS),
            underway: Vec::with_capacity(1000),
            sockets: HashMap::with_capacity(100),
            by_unit: HashMap::with_capacity(100),
            last: HashMap::with_capacity(100),
            next_unit: 1,
            opening: None,
            said: 0,
            heard: 0,
            digest: DefaultHasher::new(),
        };
        for _ in 0..2 {
            day.open(Codec::Pcmu, false);
        }
        let (a, b) = (day.peers[0].unit, day.peers[1].unit);
        day.join(a, b);
        day
    }

    /// All speak, and five times a second something happens.
    pub fn live_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            if self.random.u8(..10) == 0 {
                self.happen();
            }
            self.speak();
            self.arrive();
            self.pass(TICK);
        }
        // What is underway comes in before the rest.
        for _ in 0..10 {
            self.pass(TICK);
            self.arrive();
        }
    }

    /// A few calls stand, and nobody speaks.
    pub fn rest_for(&mut self, duration: Duration) {
        self.close_all();
        for codec in [Codec::Pcma, Codec::Opus] {
            self.open(codec, false);
            self.open(codec, false);
            let [.., a, b] = self.peers.as_slice() else { return };
            let (a, b) = (a.unit, b.unit);
            self.join(a, b);
        }
        self.pass(duration);
    }

    /// All but the pair.
    pub fn close_all(&mut self) {
        self.close_others();
        while self.peers.len() > 2 {
            self.close(2);
        }
    }

    /// Closes what is left; a digest of all that was sent.
    pub fn end(&mut self) -> u64 {
        self.close_all();
        assert_eq!(self.said, self.heard, "packets of the pair");
        while !self.peers.is_empty() {
            self.close(0);
        }
        assert_eq!(self.usage(), Usage::default());
        assert_eq!(self.engine.poll_timeout(), None);
        assert!(self.sockets.is_empty());
        self.digest.finish()
    }

    pub fn usage(&self) -> Usage {
        self.engine.usage()
    }

    fn speak(&mut self) {
        for place in 0..self.peers.len() {
            let peer = &mut self.peers[place];
            if peer.is_silent && peer.press.is_none() {
                continue;
            }
            let data = peer.packet(&self.voice);
            let (unit, is_lossy) = (peer.unit, peer.is_lossy);
            self.said += u64::from(place < 2);
            let mut at = self.now;
            if is_lossy {
                match self.random.u8(..100) {
                    0..3 => continue,
                    3..5 => self.underway.push((at, unit, data.clone())),
                    _ => at += self.random.u32(..60) * Duration::from_millis(1),
                }
            }
            self.underway.push((at, unit, data));
        }
    }

    /// Packets whose time has come reach us.
    fn arrive(&mut self) {
        let mut underway = std::mem::take(&mut self.underway);
        underway.retain(|(at, unit, data)| {
            if *at > self.now {
                return true;
            }
            let from = self.peers.iter().find(|peer| peer.unit == *unit).map(Peer::address);
            if let (Some(from), Some(&socket)) = (from, self.by_unit.get(unit)) {
                self.engine.handle_input(self.now, Input::Rtp { socket, from, data });
                self.drain();
            }
            false
        });
        self.underway = underway;
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.engine.poll_timeout().filter(|next| *next <= end) {
            self.now = next;
            self.engine.handle_input(next, Input::Timeout);
            self.drain();
        }
        self.now = end;
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_input(self.now, Input::Command(command));
        self.drain();
    }

    fn drain(&mut self) {
        let mut sent = 0;
        while let Some(transmit) = self.engine.poll_transmit() {
            sent += 1;
            if transmit.is_rtcp || (192..224).contains(&transmit.data[1]) {
                continue;
            }
            transmit.data.hash(&mut self.digest);
            let unit = self.sockets[&transmit.socket];
            let place = self.peers.iter().position(|peer| peer.unit == unit).expect("it stands");
            let is_strict = !self.peers[place].is_lossy;
            let before = self.last.get(&unit).copied();
            self.last.insert(unit, Last::check(before, transmit.data, is_strict));
            // But for the silence that keeps a way open.
            let is_audio = transmit.data[12..].iter().any(|&byte| byte != 0xff);
            self.heard += u64::from(place < 2 && is_audio);
        }
        // Every call once in a step, and what it hears of events and reports.
        assert!(sent <= 4 * (MOST_CALLS + 2), "{sent} packets at once");
        let mut told = 0;
        while let Some(output) = self.engine.poll_output() {
            told += 1;
            self.carry_out(output);
        }
        assert!(told <= 4 * (MOST_CALLS + 3 * MOST_OTHERS), "{told} outputs at once");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Bind { socket, .. } => {
                let unit = self.opening.expect("a command opens it");
                self.sockets.insert(socket, unit);
                self.by_unit.insert(unit, socket);
                self.engine.handle_input(self.now, Input::Bound { socket });
            }
            Output::Unbind { socket } => drop(self.sockets.remove(&socket)),
            Output::Recorded { samples, .. } => assert!(samples.len() <= 2 * 8000),
            Output::Event(Event::OpenFailed { unit }) => panic!("{unit:?}: there was room"),
            Output::Event(Event::Closed { unit, figures }) => {
                let peer = self.peers.iter().find(|peer| peer.unit == unit);
                if peer.is_some_and(|peer| !peer.is_lossy) {
                    assert_eq!(figures.packets_lost, 0, "{unit:?} {figures:?}");
                }
            }
            Output::Event(_) => {}
        }
    }

    fn happen(&mut self) {
        let Some(place) = self.any_call() else { return self.open_any() };
        let unit = self.peers[place].unit;
        match self.random.u8(..100) {
            0..18 => self.open_any(),
            18..25 => self.close(place),
            25..40 => self.join_any(place),
            40..45 => {
                let from = self.peers[self.random.usize(2..self.peers.len())].unit;
                self.command(Command::Unroute { from, to: unit });
            }
            45..52 => self.hold_or_resume(place),
            52..58 => self.change_codec(place),
            58..61 => self.begin_anew(place),
            61..64 => self.press(place),
            64..67 => self.command(Command::SendDigits { unit, digits: "15#".into() }),
            67..70 => self.listen(unit),
            70..73 => {
                let muted = self.random.bool();
                self.command(Command::Mute { unit, muted });
            }
            73..76 => self.move_away(unit),
            76..79 => self.replace(place),
            79..84 => self.play(place),
            84..89 => self.record(place),
            89..94 => self.confer(place),
            94..97 => self.close_another(),
            _ => self.peers[place].is_silent = !self.peers[place].is_silent,
        }
    }

    /// Not one of the pair.
    fn any_call(&mut self) -> Option<usize> {
        (self.peers.len() > 2).then(|| self.random.usize(2..self.peers.len()))
    }

    fn open_any(&mut self) {
        if self.peers.len() < MOST_CALLS + 2 {
            let codec = ALL[self.random.usize(..ALL.len())];
            let is_lossy = self.random.u8(..3) == 0;
            self.open(codec, is_lossy);
        }
    }

    fn open(&mut self, codec: Codec, is_lossy: bool) {
        let unit = self.new_unit();
        let mut peer = Peer::new(unit, codec, &mut self.random);
        peer.is_lossy = is_lossy;
        let settings = peer.settings();
        self.peers.push(peer);
        self.opening = Some(unit);
        self.command(Command::Open { unit, address: HOST });
        self.command(Command::Configure { unit, settings });
    }

    fn close(&mut self, place: usize) {
        let unit = self.peers[place].unit;
        self.command(Command::Close { unit });
        self.peers.remove(place);
        self.by_unit.remove(&unit);
        self.last.remove(&unit);
    }

    /// Whether what the first sends may be what the second gets: who is checked strictly does not
    /// hear whose packets get lost.
    fn can_hear(&self, from: usize, to: usize) -> bool {
        from != to && (self.peers[to].is_lossy || !self.peers[from].is_lossy)
    }

    fn join_any(&mut self, place: usize) {
        let other = self.random.usize(2..self.peers.len());
        for (from, to) in [(place, other), (other, place)] {
            if self.can_hear(from, to) {
                let (from, to) = (self.peers[from].unit, self.peers[to].unit);
                self.command(Command::Route { from, to });
            }
        }
    }

    fn join(&mut self, a: UnitId, b: UnitId) {
        self.command(Command::Route { from: a, to: b });
        self.command(Command::Route { from: b, to: a });
    }

    fn configure(&mut self, place: usize) {
        let peer = &self.peers[place];
        let (unit, settings) = (peer.unit, peer.settings());
        self.command(Command::Configure { unit, settings });
    }

    fn hold_or_resume(&mut self, place: usize) {
        let is_held = !(self.peers[place].sends && self.peers[place].receives);
        self.peers[place].sends = is_held || self.random.bool();
        self.peers[place].receives = is_held || self.random.bool();
        self.configure(place);
    }

    fn change_codec(&mut self, place: usize) {
        let codec = ALL[self.random.usize(..ALL.len())];
        self.peers[place].codec = codec;
        self.peers[place].press = None;
        self.configure(place);
    }

    fn begin_anew(&mut self, place: usize) {
        let timestamp = self.random.u32(..);
        let is_another = self.random.bool();
        let (ssrc, sequence) = (self.random.u32(..), self.random.u16(..));
        let peer = &mut self.peers[place];
        peer.timestamp = timestamp;
        if is_another {
            (peer.ssrc, peer.sequence) = (ssrc, sequence);
        }
    }

    fn press(&mut self, place: usize) {
        let digit = self.random.u8(..12);
        let peer = &mut self.peers[place];
        peer.press.get_or_insert((digit, peer.timestamp, 1));
    }

    fn listen(&mut self, unit: UnitId) {
        let (telephone_event, in_band) = (self.random.bool(), self.random.bool());
        let sources = DigitSources { telephone_event, in_band, info: true };
        self.command(Command::ListenDigits { unit, sources });
        self.command(Command::ListenVoice { unit, listens: in_band });
        match self.random.bool() {
            true => self.command(Command::Detect { unit, detection: Detection::Fax }),
            false => self.command(Command::StopDetecting { unit, kind: Kind::Fax }),
        }
    }

    fn move_away(&mut self, unit: UnitId) {
        self.opening = Some(unit);
        self.command(Command::Move { unit, address: HOST });
        // The peer is told of the new place, and answers.
        self.pass(TICK / 4);
        let place = self.peers.iter().position(|peer| peer.unit == unit).expect("it stands");
        self.configure(place);
    }

    fn replace(&mut self, old: usize) {
        let new = self.random.usize(2..self.peers.len());
        if new != old && self.peers[new].is_lossy == self.peers[old].is_lossy {
            let (old, new) = (self.peers[old].unit, self.peers[new].unit);
            self.command(Command::Replace { old, new });
        }
    }

    fn play(&mut self, place: usize) {
        if self.players.len() < MOST_OTHERS {
            let clip = self.clip.clone();
            let source = match self.random.u8(..3) {
                0 => Source::Clip(clip),
                1 => Source::Sequence([clip.clone(), clip].into()),
                _ => Source::Tone(Arc::new(Script::parse("425@-10;*(1/1/1)").unwrap())),
            };
            let unit = self.new_unit();
            let (looped, paused) = (self.random.bool(), self.random.u8(..4) == 0);
            self.command(Command::Play { unit, source, looped, paused });
            self.players.push(unit);
        }
        let from = self.players[self.random.usize(..self.players.len())];
        match self.random.bool() {
            true => self.command(Command::Resume { unit: from }),
            false => self.command(Command::Mark { unit: from, part: 0, offset_ms: 500 }),
        }
        let to = self.conferences.first().copied().filter(|_| self.random.u8(..4) == 0);
        let to = to.unwrap_or(self.peers[place].unit);
        self.command(Command::Route { from, to });
    }

    fn record(&mut self, place: usize) {
        if self.recorders.len() == MOST_OTHERS {
            return;
        }
        let unit = self.new_unit();
        let call = self.peers[place].unit;
        let layout = if self.random.bool() { Layout::Mono } else { Layout::Stereo };
        match self.random.bool() {
            true => self.command(Command::RecordCall { unit, call, rate: Rate::Narrow, layout }),
            false => {
                self.command(Command::Record { unit, rate: Rate::Narrow, layout });
                self.command(Command::Route { from: call, to: unit });
            }
        }
        self.recorders.push(unit);
    }

    fn confer(&mut self, place: usize) {
        if self.conferences.len() < 2 {
            let unit = self.new_unit();
            let rate = [Rate::Narrow, Rate::Wide, Rate::Full][self.random.usize(..3)];
            self.command(Command::Conference { unit, rate });
            self.conferences.push(unit);
        }
        let conference = self.conferences[self.random.usize(..self.conferences.len())];
        self.join(self.peers[place].unit, conference);
    }

    fn close_another(&mut self) {
        let which = self.random.usize(..3);
        let units = [&mut self.players, &mut self.recorders, &mut self.conferences];
        let units = units.into_iter().nth(which).expect("there are three");
        if !units.is_empty() {
            let unit = units.remove(self.random.usize(..units.len()));
            self.command(Command::Close { unit });
        }
    }

    fn close_others(&mut self) {
        let others = [&mut self.players, &mut self.recorders, &mut self.conferences];
        let units: Vec<UnitId> = others.into_iter().flat_map(|units| units.drain(..)).collect();
        for unit in units {
            self.command(Command::Close { unit });
        }
    }

    fn new_unit(&mut self) -> UnitId {
        let unit = UnitId(self.next_unit);
        self.next_unit += 1;
        unit
    }
}

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const SECOND: Duration = Duration::from_secs(1);
/// At a time, beside the pair.
const MOST_CALLS: usize = 12;
/// Of each kind at a time.
const MOST_OTHERS: usize = 4;
