//! The world: a gateway with its engine and worker inline, phones, and the time.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::ladder::Ladder;
use super::link::{Link, Packet, Weather};
use super::nat::{self, Nat};
use super::phone::{Dial, Manner, Phone};
use super::proxy::Proxy;
use crate::clock::WallClock;
use crate::config::{Config, Environment, FileText};
use crate::dns::zone::Zone;
use crate::gateway::{
    Access, Gateway, Input, Output, Reply, SessionUrls, Setup, StartSession, worker_limits,
};
use crate::media::clip::Clip;
use crate::media::engine::{self, Command, Engine, SocketId, UnitId};
use crate::media::frame::Rate;
use crate::random::Random;
use crate::scenario::command::{HttpRequest, Sound};
use crate::scenario::event::HttpResult;
use crate::scenario::worker::{self, Answer, Worker};
use crate::sip::user_agent as sip;
use crate::storage::record::{SessionRecord, StoredBinding};
use crate::storage::store::{self, Operation};

/// What a world is made of.
pub struct Plan {
    pub weather: Weather,
    pub seed: u64,
    /// Pattern and source of each rule, numbered from 1.
    pub rules: Vec<(String, String)>,
    /// Name (its number) and manner; the trunk `phones` reaches them all.
    pub phones: Vec<(String, Manner)>,
    /// How many phones after the first are further lines of its trunk.
    pub lines: usize,
    /// A trunk of this name is a proxy that forks to all phones.
    pub proxy: Option<String>,
    /// More tables for the config, TOML.
    pub config: String,
    /// More keys for the trunk of each phone.
    pub trunk: String,
    /// The gateway has an IPv6 address too; nobody lives there.
    pub is_dual_stack: bool,
    /// What DNS says.
    pub zone: Zone,
    /// The phones are behind a router, whose ports close after this time; the SIP port of the
    /// first phone is open as 40001.
    pub nat: Option<Duration>,
    /// Contacts of before a restart.
    pub bindings: Vec<StoredBinding>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            weather: Weather::default(),
            seed: 1,
            rules: Vec::new(),
            phones: Vec::new(),
            lines: 0,
            proxy: None,
            config: String::new(),
            trunk: String::new(),
            is_dual_stack: false,
            zone: Zone::default(),
            nat: None,
            bindings: Vec::new(),
        }
    }
}

/// A finished or unfinished recording.
#[derive(Debug, Default)]
pub struct Recorded {
    pub file: String,
    pub channels: u16,
    /// Samples per second.
    pub rate: u32,
    pub samples: Vec<i16>,
    pub is_finished: bool,
}

pub struct World {
    pub now: Instant,
    pub gateway: Gateway,
    pub phones: Vec<Phone>,
    proxy: Option<Proxy>,
    nat: Option<Nat>,
    pub ladder: Ladder,
    /// Lines that scripts and sessions logged, without their times.
    pub log: Vec<String>,
    pub history: Vec<SessionRecord>,
    pub recordings: BTreeMap<u64, Recorded>,
    pub bindings: Vec<store::Operation>,
    /// Sounds by URL or text; any other is half a second of silence.
    pub sounds: HashMap<String, Arc<Clip>>,
    /// Requests that scripts made, and what each is answered with.
    pub fetched: Vec<HttpRequest>,
    pub fetch_result: HttpResult,
    /// What DNS says.
    pub zone: Zone,
    pub started: Vec<SessionUrls>,
    pub answers: Vec<(u64, Option<Answer>)>,
    /// How often a script threw and its session went on.
    pub exceptions: usize,
    /// Which media thread each unit was on; here they all share one engine.
    pub media_threads: BTreeMap<UnitId, usize>,
    engine: Engine,
    worker: Worker,
    link: Link,
    start: Instant,
    sockets: HashMap<SocketId, SocketAddr>,
    by_address: HashMap<SocketAddr, (SocketId, bool)>,
    requests: u64,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let start = Instant::now();
        let config = Arc::new(config_of(&plan));
        let gateway_address = SocketAddr::new(GATEWAY, 5060);
        let listener = |address| sip::Listener {
            transport: sip::Transport::Udp,
            address,
            advertised: address,
        };
        let second = plan.is_dual_stack.then(|| SocketAddr::new(GATEWAY6, 5060));
        let mut random = Random::seeded(plan.seed);
        let engine_config = engine::Config {
            ports: config.media.rtp_ports,
            units: 4096,
            rtp_timeout: Duration::from_secs(7),
        };
        let limits = &config.limits;
        let pool_bytes = limits.js_heap_bytes.saturating_mul(limits.sessions);
        let worker_limits = worker_limits(&config, pool_bytes);
        let setup = Setup {
            config,
            listeners: std::iter::once(gateway_address).chain(second).map(listener).collect(),
            control_url: "http://gateway:8080".into(),
            opening: store::Opening {
                bindings: plan.bindings.clone(),
                ..store::Opening::default()
            },
            random: random.fork(),
            wall: WallClock::new(start, 1_767_225_600_000),
        };
        let phone = |(place, (name, manner)): (usize, &(String, Manner))| {
            let sip = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, place as u8 + 1)), 5060);
            Phone::new(name, sip, gateway_address, manner.clone())
        };
        let phones: Vec<Phone> = plan.phones.iter().enumerate().map(phone).collect();
        let mut nat = plan.nat.map(Nat::new);
        if let (Some(nat), Some(first)) = (&mut nat, phones.first()) {
            nat.open(start, first.sip);
        }
        let targets = phones.iter().map(|phone| phone.sip).collect();
        Self {
            now: start,
            gateway: Gateway::new(start, setup),
            phones,
            proxy: plan.proxy.as_ref().map(|_| Proxy::new(PROXY, gateway_address, targets)),
            nat,
            ladder: Ladder::default(),
            log: Vec::new(),
            history: Vec::new(),
            recordings: BTreeMap::new(),
            bindings: Vec::new(),
            sounds: HashMap::new(),
            fetched: Vec::new(),
            fetch_result: HttpResult { code: 200, ..HttpResult::default() },
            zone: plan.zone.clone(),
            started: Vec::new(),
            answers: Vec::new(),
            exceptions: 0,
            media_threads: BTreeMap::new(),
            engine: Engine::new(start, engine_config, random.fork()),
            worker: Worker::new(worker_limits, stopwatch, random.fork()),
            link: Link::new(plan.weather, plan.seed),
            start,
            sockets: HashMap::new(),
            by_address: HashMap::new(),
            requests: 0,
        }
    }

    /// StartScenarios; the session's URLs, once its scripts ran.
    pub fn start_scenario(&mut self, rule_id: u32, custom_data: &str) -> Option<SessionUrls> {
        self.requests += 1;
        let start = StartSession {
            request: self.requests,
            rule_id,
            custom_data: custom_data.to_owned(),
            initiator: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        self.gateway.start_session(self.now, start).ok()?;
        self.settle();
        self.started.last().cloned()
    }

    /// A request to the access URL; its number in `answers`.
    pub fn access(&mut self, urls: &SessionUrls, content: &str) -> u64 {
        self.requests += 1;
        let path = urls.access_url.trim_start_matches("http://gateway:8080").to_owned();
        let access = Access {
            request: self.requests,
            session_id: urls.session_id,
            token: path.rsplit('/').next().unwrap_or_default().to_owned(),
            method: "POST".into(),
            path,
            content: content.to_owned(),
            headers: Vec::new(),
        };
        self.gateway.access(self.now, access);
        self.settle();
        self.requests
    }

    pub fn dial(&mut self, phone: usize, number: &str) {
        let dial = Dial {
            number: number.to_owned(),
            offers: true,
            after: Duration::ZERO,
            cancels_after: None,
        };
        self.dial_as(phone, dial);
    }

    pub fn dial_as(&mut self, phone: usize, dial: Dial) {
        let now = self.now;
        self.phones[phone].dial(now, dial);
        self.settle();
    }

    /// A phone refers its peer, with this Refer-To.
    pub fn refer(&mut self, phone: usize, to: &str) {
        let now = self.now;
        self.phones[phone].refer(now, to);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Until nothing is left to happen, or for an hour.
    pub fn run_to_the_end(&mut self) {
        let end = self.now + Duration::from_secs(3600);
        while !self.is_empty() && self.step(end) {}
    }

    /// No session, call, unit, transaction, timer or runtime is left anywhere.
    pub fn is_empty(&self) -> bool {
        self.gateway.usage() == crate::gateway::Usage::default()
            && self.engine.usage() == engine::Usage::default()
            && self.worker.usage() == 0
            && self.phones.iter().all(Phone::is_idle)
    }

    /// What is left, for the message of a test that expected an empty world.
    pub fn leftovers(&self) -> String {
        format!(
            "{:?}\n{:?}\n{} runtimes",
            self.gateway.usage(),
            self.engine.usage(),
            self.worker.usage()
        )
    }

    /// Jumps to the next deadline before `end` and lives through it.
    fn step(&mut self, end: Instant) -> bool {
        let deadlines = [
            self.link.next(),
            self.gateway.poll_timeout(),
            self.engine.poll_timeout(),
            self.worker.poll_timeout(),
            self.phones.iter().filter_map(Phone::next).min(),
            self.proxy.as_ref().and_then(Proxy::next),
        ];
        let Some(next) = deadlines.into_iter().flatten().min() else { return false };
        if next > end {
            return false;
        }
        self.now = self.now.max(next);
        let now = self.now;
        while let Some(packet) = self.link.receive(now) {
            self.deliver(&packet);
            self.settle();
        }
        for phone in &mut self.phones {
            phone.act(now);
        }
        if let Some(proxy) = &mut self.proxy {
            proxy.act(now);
        }
        if self.gateway.poll_timeout().is_some_and(|at| at <= now) {
            self.gateway.handle_input(now, Input::Timeout);
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_input(now, engine::Input::Timeout);
        }
        if self.worker.poll_timeout().is_some_and(|at| at <= now) {
            self.worker.handle_input(now, worker::Input::Timeout);
        }
        self.settle();
        true
    }

    fn deliver(&mut self, packet: &Packet) {
        let now = self.now;
        if packet.to.ip() == GATEWAY && packet.to.port() == 5060 {
            let input = sip::Input::Datagram { listener: 0, from: packet.from, data: &packet.data };
            return self.gateway.handle_input(now, Input::Sip(input));
        }
        if let Some(&(socket, is_rtcp)) = self.by_address.get(&packet.to) {
            let (from, data) = (packet.from, packet.data.as_slice());
            let input = match is_rtcp {
                false => engine::Input::Rtp { socket, from, data },
                true => engine::Input::Rtcp { socket, from, data },
            };
            return self.engine.handle_input(now, input);
        }
        if let (Some(proxy), PROXY) = (&mut self.proxy, packet.to) {
            return proxy.receive(now, packet);
        }
        // From outside, no address of theirs is one.
        let packet = match &mut self.nat {
            None => packet.clone(),
            Some(nat) if packet.to.ip() == nat::ROUTER => match nat.enter(now, packet) {
                Some(inner) => inner,
                None => return,
            },
            Some(_) => return,
        };
        for phone in &mut self.phones {
            // Line ends keep the router's port open, and nothing else.
            if packet.to.ip() == phone.sip.ip() && packet.data != b"\r\n\r\n" {
                phone.receive(now, &packet);
            }
        }
    }

    /// Carries out what every machine wants until none wants anything.
    fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(output) = self.gateway.poll_output() {
                is_quiet = false;
                self.carry_out(output);
            }
            while let Some(output) = self.worker.poll_output() {
                is_quiet = false;
                if matches!(output, worker::Output::Exception { .. }) {
                    self.exceptions += 1;
                }
                self.gateway.handle_input(self.now, Input::Script { thread: 0, output });
            }
            is_quiet &= !self.settle_media();
            is_quiet &= !self.settle_phones();
            if is_quiet {
                return;
            }
        }
    }

    fn settle_media(&mut self) -> bool {
        let mut has_worked = false;
        let now = self.now;
        while let Some(transmit) = self.engine.poll_transmit() {
            has_worked = true;
            let Some(&rtp) = self.sockets.get(&transmit.socket) else { continue };
            let from = match transmit.is_rtcp {
                false => rtp,
                true => SocketAddr::new(rtp.ip(), rtp.port() + 1),
            };
            self.link.send(now, Packet { from, to: transmit.to, data: transmit.data.to_vec() });
        }
        while let Some(output) = self.engine.poll_output() {
            has_worked = true;
            match output {
                engine::Output::Bind { socket, address, port } => {
                    let rtp = SocketAddr::new(address, port);
                    self.sockets.insert(socket, rtp);
                    self.by_address.insert(rtp, (socket, false));
                    self.by_address.insert(SocketAddr::new(address, port + 1), (socket, true));
                    self.engine.handle_input(now, engine::Input::Bound { socket });
                }
                engine::Output::Unbind { socket } => {
                    self.sockets.remove(&socket);
                    self.by_address.retain(|_, (bound, _)| *bound != socket);
                }
                engine::Output::Recorded { unit, samples } => {
                    self.recordings.entry(unit.0).or_default().samples.extend(samples);
                }
                engine::Output::Event(event) => {
                    self.gateway.handle_input(now, Input::Media { thread: 0, event });
                }
            }
        }
        has_worked
    }

    fn settle_phones(&mut self) -> bool {
        let mut has_worked = false;
        let at = self.now.saturating_duration_since(self.start);
        for phone in &mut self.phones {
            for step in phone.steps.drain(..) {
                has_worked = true;
                self.ladder.add_message(at, step.line, step.identity);
            }
            for packet in phone.out.drain(..) {
                has_worked = true;
                let packet = match &mut self.nat {
                    Some(nat) => nat.out(self.now, packet),
                    None => packet,
                };
                self.link.send(self.now, packet);
            }
        }
        for packet in self.proxy.iter_mut().flat_map(|proxy| proxy.out.drain(..)) {
            has_worked = true;
            self.link.send(self.now, packet);
        }
        has_worked
    }

    fn carry_out(&mut self, output: Output) {
        let now = self.now;
        match output {
            Output::Sip(sip::Output::Datagram { to, data, .. }) => {
                let from = SocketAddr::new(GATEWAY, 5060);
                self.link.send(now, Packet { from, to, data });
            }
            Output::Sip(sip::Output::Resolve { query, question }) => {
                let input = sip::Input::Resolved { query, answer: self.zone.answer(&question) };
                self.gateway.handle_input(now, Input::Sip(input));
            }
            // The world has no streams: whoever asks for one learns that it is closed.
            Output::Sip(sip::Output::Connect { stream, .. }) => {
                self.gateway.handle_input(now, Input::Sip(sip::Input::Closed { stream }));
            }
            Output::Sip(
                sip::Output::Stream { .. } | sip::Output::Close { .. } | sip::Output::Event(_),
            ) => {}
            Output::Script { thread, input } => {
                assert_eq!(thread, 0, "the world has one worker");
                self.worker.handle_input(now, input);
            }
            Output::Media { thread, command } => {
                self.note_thread(thread, &command);
                self.engine.handle_input(now, engine::Input::Command(command));
            }
            Output::Load { request, sound } => {
                let result = self.load(&sound);
                self.gateway.handle_input(now, Input::Loaded { request, result });
            }
            Output::Fetch { session, request } => {
                let number = request.request;
                self.fetched.push(*request);
                let result = self.fetch_result.clone();
                let input = Input::Fetched { session, request: number, result };
                self.gateway.handle_input(now, input);
            }
            Output::CancelLoad { .. } | Output::CancelFetches { .. } => {}
            Output::Disk(operation) => self.store(operation),
            Output::Reply(Reply::Started { urls, .. }) => self.started.push(urls),
            Output::Reply(Reply::Accessed { request, answer }) => {
                self.answers.push((request, answer));
            }
            Output::Reply(Reply::Busy { request }) => self.answers.push((request, None)),
        }
    }

    /// A unit stays on one thread, and those that hear each other are on the same.
    fn note_thread(&mut self, thread: usize, command: &Command) {
        let units = match command {
            Command::Open { unit, .. } | Command::Configure { unit, .. } => [*unit; 2],
            Command::Route { from, to } => [*from, *to],
            _ => return,
        };
        for unit in units {
            let noted = *self.media_threads.entry(unit).or_insert(thread);
            assert_eq!(noted, thread, "{unit:?} is told on two threads");
        }
    }

    fn load(&self, sound: &Sound) -> Result<Arc<Clip>, String> {
        let name = match sound {
            Sound::Url(url) => &url.url,
            Sound::Speech(speech) => &speech.text,
            Sound::Tone(text) => text,
        };
        if name.contains("missing") {
            return Err("404 Not Found".into());
        }
        let silence = || Arc::new(Clip::whole(Rate::Narrow, &[0; 4000]));
        Ok(self.sounds.get(name).cloned().unwrap_or_else(silence))
    }

    fn store(&mut self, operation: Operation) {
        let answer = match operation {
            Operation::Log { line, .. } => {
                // The time and a space stand before it.
                self.log.push(line.get(24..).unwrap_or_default().to_owned());
                return;
            }
            Operation::EndSession(record) => {
                self.history.push(*record);
                return;
            }
            Operation::Bindings { .. } => {
                self.bindings.push(operation);
                return;
            }
            Operation::OpenRecording { recording, file, channels, rate } => {
                let entry = self.recordings.entry(recording).or_default();
                entry.file = file;
                entry.channels = channels;
                entry.rate = rate;
                return;
            }
            Operation::FinishRecording { recording } => {
                let entry = self.recordings.entry(recording).or_default();
                entry.is_finished = true;
                let file_bytes = entry.samples.len() as u64 * 2 + 44;
                store::Answer::RecordingFinished { recording, file_bytes }
            }
            Operation::BeginSession(_)
            | Operation::CloseLog { .. }
            | Operation::AppendRecording { .. }
            | Operation::History { .. } => return,
        };
        self.gateway.handle_input(self.now, Input::Stored(answer));
    }
}

/// The config of a plan, through the same parser as an operator's.
fn config_of(plan: &Plan) -> Config {
    let mut text = String::from("[control]\napi_key = \"0123456789abcdef0123456789abcdef\"\n");
    text.push_str(&plan.config);
    for (place, (name, _)) in plan.phones.iter().enumerate() {
        if (1..=plan.lines).contains(&place) {
            continue;
        }
        let lines = if place == 0 { plan.lines } else { 0 };
        let addresses: Vec<String> =
            (place..=place + lines).map(|line| format!("\"10.0.1.{}\"", line + 1)).collect();
        text.push_str(&format!(
            "\n[[trunk]]\nname = \"{name}\"\nserver = \"sip:10.0.1.{}:5060\"\n\
             accept_from = [{}]\noptions_s = 0\n{}\n\
             [[route]]\npattern = '{name}'\ntrunks = [\"{name}\"]\n",
            place + 1,
            addresses.join(", "),
            plan.trunk
        ));
    }
    if let Some(name) = &plan.proxy {
        text.push_str(&format!(
            "\n[[trunk]]\nname = \"{name}\"\nserver = \"sip:{PROXY}\"\noptions_s = 0\n\
             [[route]]\npattern = '{name}'\ntrunks = [\"{name}\"]\n"
        ));
    }
    text.push_str("\n[[application]]\nid = 1\nname = \"branch\"\n");
    for (place, (pattern, _)) in plan.rules.iter().enumerate() {
        let number = place + 1;
        text.push_str(&format!(
            "[[application.rule]]\nid = {number}\nname = \"rule{number}\"\npattern = '{pattern}'\n\
             scenarios = [\"rule{number}.js\"]\n"
        ));
    }
    let read_file = |path: &Path, _most: usize| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.trim_start_matches("rule").trim_end_matches(".js").parse::<usize>();
        let place = number.ok().and_then(|number| number.checked_sub(1));
        let rule = place.and_then(|place| plan.rules.get(place));
        let text = rule.map(|(_, source)| source.clone()).ok_or("no such file")?;
        Ok(FileText { text, modified_unix: 0 })
    };
    let environment = Environment { variable: &|_| None, file: &read_file, memory_bytes: 1 << 32 };
    Config::parse(Path::new("sim.toml"), &text, &environment)
        .unwrap_or_else(|problems| panic!("the plan's config is wrong: {problems:?}\n{text}"))
}

/// Time for the run-time limit of scripts: real, since JavaScript really runs.
fn stopwatch() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1)), 5060);
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
