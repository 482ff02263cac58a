//! Two user agents that call each other over a bad network, by seed. Whatever gets lost, comes
//! twice or late: every call has one end, nothing is told of it afterwards, and nothing is left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::sip::user_agent::*;

struct Storm {
    now: Instant,
    agents: [UserAgent; 2],
    /// What each session knows of its calls.
    calls: [HashMap<CallId, Stage>; 2],
    dice: fastrand::Rng,
    /// Of 100 packets, how many are lost, doubled and held back.
    weather: u8,
    packets: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    plans: BTreeMap<(Instant, u64), (usize, CallId, Plan)>,
    counter: u64,
    connected: usize,
    /// Callees speak before they answer, and callers let them make the offer.
    is_early: bool,
    /// Calls of ours without an offer, until we answered that of the other side.
    asked: HashSet<(usize, CallId)>,
    early_answers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Open,
    Talking,
    Over,
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Ring,
    Early,
    Accept,
    Reject,
    HangUp,
    Info,
}

fn address(agent: usize) -> SocketAddr {
    SocketAddr::new([10, 0, 0, 1 + agent as u8].into(), 5060)
}

impl Storm {
    fn new(seed: u64, weather: u8) -> Self {
        Self::with(seed, weather, |_, _| {})
    }

    fn with(seed: u64, weather: u8, settings: impl Fn(usize, &mut Config)) -> Self {
        let now = Instant::now();
        let agent = |agent: usize| {
            let listener = Listener {
                transport: Transport::Udp,
                address: address(agent),
                advertised: address(agent),
            };
            let trunk = Trunk {
                name: "other".into(),
                server: format!("sip:{}", address(1 - agent)).parse().unwrap(),
                register: false,
                username: String::new(),
                password: String::new(),
                accept_from: vec![Network { address: address(1 - agent).ip(), prefix: 32 }],
                options: None,
                account: Account::default(),
                identity: Policy::default(),
                caps: Caps::default(),
                is_mutual: false,
                prack: Prack::default(),
            };
            let limits = Limits {
                calls: 50,
                transactions: 500,
                streams: 0,
                contacts_per_user: 1,
                message_bytes: 65536,
            };
            let mut config = Config {
                listeners: vec![listener],
                public_address: String::new(),
                domain: String::new(),
                digest: vec![Algorithm::Sha256],
                strangers: Strangers::default(),
                trunks: vec![trunk],
                users: Vec::new(),
                nat: Nat::default(),
                ws_origins: Vec::new(),
                session_timer: SessionTimer::default(),
                product: "storm/1".into(),
                limits,
            };
            settings(agent, &mut config);
            UserAgent::new(now, config, Random::seeded(seed * 2 + agent as u64))
        };
        Self {
            now,
            agents: [agent(0), agent(1)],
            calls: [HashMap::new(), HashMap::new()],
            dice: fastrand::Rng::with_seed(seed),
            weather,
            packets: BTreeMap::new(),
            plans: BTreeMap::new(),
            counter: 0,
            connected: 0,
            is_early: false,
            asked: HashSet::new(),
            early_answers: 0,
        }
    }

    fn call(&mut self, agent: usize) {
        self.call_to(agent, Target::Trunk { name: "other".into(), number: "1".into() });
    }

    fn call_to(&mut self, agent: usize, target: Target) {
        let has_offer = !self.is_early || self.dice.bool();
        let invite = Invite {
            target,
            caller: "2".into(),
            display_name: String::new(),
            credentials: None,
            diverted: None,
            patience: None,
            headers: Vec::new(),
            offer: has_offer.then(|| b"v=0".to_vec()),
            timeout: Duration::from_secs(20),
            max_forwards: 70,
        };
        let call = self.agents[agent].invite(self.now, invite).unwrap();
        self.calls[agent].insert(call, Stage::Open);
        if !has_offer {
            self.asked.insert((agent, call));
        }
        if self.dice.u8(..3) == 0 {
            self.plan(agent, call, Plan::HangUp, 4000);
        }
        self.drain(agent);
    }

    fn plan(&mut self, agent: usize, call: CallId, plan: Plan, most_ms: u64) {
        self.counter += 1;
        let at = self.now + Duration::from_millis(self.dice.u64(..most_ms));
        self.plans.insert((at, self.counter), (agent, call, plan));
    }

    fn drain(&mut self, agent: usize) {
        while let Some(output) = self.agents[agent].poll_output() {
            match output {
                Output::Datagram { to, data, .. } => self.send(to, data),
                Output::Event(event) => self.hear(agent, event),
                other => panic!("{other:?}"),
            }
        }
    }

    fn send(&mut self, to: SocketAddr, data: Vec<u8>) {
        let agent = (0..2).find(|agent| address(*agent) == to).expect("one of the two");
        if self.dice.u8(..100) < self.weather {
            return;
        }
        let copies = 1 + usize::from(self.dice.u8(..100) < self.weather);
        for _ in 0..copies {
            let is_late = self.dice.u8(..100) < self.weather;
            let delay = if is_late { self.dice.u64(..1500) } else { 5 };
            self.counter += 1;
            let at = self.now + Duration::from_millis(delay);
            self.packets.insert((at, self.counter), (agent, data.clone()));
        }
    }

    fn hear(&mut self, agent: usize, event: Event) {
        let (call, stage) = match &event {
            Event::Incoming(incoming) => {
                let call = incoming.call;
                let before = self.calls[agent].insert(call, Stage::Open);
                assert_eq!(before, None, "a call id comes once");
                match self.dice.u8(..8) {
                    0 => self.plan(agent, call, Plan::Reject, 3000),
                    1 => {}
                    2 => self.plan(agent, call, Plan::HangUp, 3000),
                    _ => self.plan(agent, call, Plan::Accept, 6000),
                }
                // A session lets nobody ring for ever.
                self.plan(agent, call, Plan::HangUp, 90_000);
                if self.is_early {
                    self.plan(agent, call, Plan::Early, 3000);
                }
                return self.plan(agent, call, Plan::Ring, 2000);
            }
            Event::Progress { call, .. } | Event::EarlyAnswer { call, .. } => (*call, Stage::Open),
            Event::Answered { call, .. } | Event::Confirmed { call, .. } => (*call, Stage::Talking),
            Event::Info { call, .. } => (*call, Stage::Talking),
            Event::Failed { call, .. }
            | Event::Cancelled { call, .. }
            | Event::Ended { call, .. } => (*call, Stage::Over),
            Event::Trunk { .. } | Event::Bindings { .. } => return,
            other => panic!("{other:?}"),
        };
        let before = self.calls[agent].insert(call, stage).expect("a known call");
        assert_ne!(before, Stage::Over, "{event:?} after the end");
        if let Event::Progress { sdp: Some(_), .. } | Event::Answered { sdp: Some(_), .. } = event
            && self.asked.remove(&(agent, call))
        {
            self.agents[agent].answer_offer(self.now, call, b"v=0".to_vec());
        }
        match event {
            Event::EarlyAnswer { .. } => self.early_answers += 1,
            Event::Answered { .. } | Event::Confirmed { .. } => {
                self.connected += 1;
                self.plan(agent, call, Plan::HangUp, 8000);
                self.plan(agent, call, Plan::Info, 4000);
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, agent: usize, call: CallId, plan: Plan) {
        let stage = self.calls[agent][&call];
        let none = Vec::new();
        let (now, user_agent) = (self.now, &mut self.agents[agent]);
        match (plan, stage) {
            (_, Stage::Over) => return,
            (Plan::Ring, _) => user_agent.ring(now, call, &none),
            (Plan::Early, _) => user_agent.progress(now, call, &none, b"v=0".to_vec()),
            (Plan::Accept, _) => user_agent.accept(now, call, &none, None, b"v=0".to_vec()),
            (Plan::Info, _) => user_agent.info(now, call, &none, "a/b", b"x".to_vec()),
            (Plan::Reject, _) => {
                user_agent.reject(now, call, 486, &none);
                self.calls[agent].insert(call, Stage::Over);
            }
            (Plan::HangUp, _) => {
                user_agent.hangup(now, call, &none);
                self.calls[agent].insert(call, Stage::Over);
            }
        }
        self.drain(agent);
    }

    /// Lives through everything that is to come.
    fn run(&mut self) {
        self.run_until(self.now + Duration::from_secs(86_400));
    }

    fn run_until(&mut self, end: Instant) {
        for step in 0.. {
            let deadlines = [
                self.packets.keys().next().map(|(at, _)| *at),
                self.plans.keys().next().map(|(at, _)| *at),
                self.agents[0].poll_timeout(),
                self.agents[1].poll_timeout(),
            ];
            let Some(next) = deadlines.into_iter().flatten().min() else { return };
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            assert!(
                step < 100_000,
                "no end: {next:?}, {:?}",
                self.agents.each_ref().map(UserAgent::usage)
            );
            while let Some(entry) = self.packets.first_entry()
                && entry.key().0 <= self.now
            {
                let (agent, data) = entry.remove();
                let from = address(1 - agent);
                let input = Input::Datagram { listener: 0, from, data: &data };
                self.agents[agent].handle_input(self.now, input);
                self.drain(agent);
            }
            while let Some(entry) = self.plans.first_entry()
                && entry.key().0 <= self.now
            {
                let (agent, call, plan) = entry.remove();
                self.carry_out(agent, call, plan);
            }
            for agent in 0..2 {
                if self.agents[agent].poll_timeout().is_some_and(|at| at <= self.now) {
                    self.agents[agent].handle_input(self.now, Input::Timeout);
                    self.drain(agent);
                }
            }
        }
    }
}

fn storm(weather: u8, seeds: std::ops::Range<u64>) -> usize {
    storms(seeds, |seed| Storm::new(seed, weather)).0
}

/// Calls connected, and answers in PRACKs.
fn storms(seeds: std::ops::Range<u64>, new: impl Fn(u64) -> Storm) -> (usize, usize) {
    let (mut connected, mut early_answers) = (0, 0);
    for seed in seeds {
        let mut storm = new(seed);
        let start = storm.now;
        for _ in 0..10 {
            let agent = storm.dice.usize(..2);
            storm.call(agent);
        }
        storm.run();
        for agent in 0..2 {
            let usage = storm.agents[agent].usage();
            assert_eq!(usage, Usage::default(), "seed {seed}, agent {agent}");
            let open = storm.calls[agent].values().filter(|stage| **stage != Stage::Over);
            assert_eq!(open.count(), 0, "seed {seed}, agent {agent}");
        }
        assert!(storm.now - start < Duration::from_secs(300), "seed {seed}");
        connected += storm.connected;
        early_answers += storm.early_answers;
    }
    (connected, early_answers)
}

#[test]
fn calls_end_cleanly_on_a_good_network() {
    assert!(storm(0, 0..50) > 250);
}

#[test]
fn calls_end_cleanly_when_a_tenth_of_everything_goes_wrong() {
    assert!(storm(10, 100..150) > 250);
}

#[test]
fn calls_end_cleanly_when_a_third_of_everything_goes_wrong() {
    assert!(storm(33, 200..250) > 150);
}

#[test]
fn reliable_responses_and_late_offers_end_cleanly_in_any_weather() {
    for (weather, first, least) in [(0, 400, 150), (10, 500, 150), (33, 600, 80)] {
        for prack in [Prack::Off, Prack::Supported, Prack::Required] {
            let (connected, early_answers) = storms(first..first + 30, |seed| {
                let mut storm =
                    Storm::with(seed, weather, |_, config| config.trunks[0].prack = prack);
                storm.is_early = true;
                storm
            });
            assert!(connected > least, "{weather} {prack:?}: {connected}");
            assert_eq!(early_answers > 0, prack != Prack::Off, "{weather} {prack:?}");
        }
    }
}

/// Agent 0 is a phone of agent 1: it registers, and proves itself with every INVITE.
#[test]
fn phone_stays_registered_and_calls_while_a_tenth_of_everything_goes_wrong() {
    let mut connected = 0;
    for seed in 300..320 {
        let mut storm = Storm::with(seed, 10, |agent, config| {
            let (name, password) = ("phone".to_owned(), "secret".to_owned());
            if agent == 0 {
                let trunk = &mut config.trunks[0];
                (trunk.register, trunk.username, trunk.password) = (true, name, password);
            } else {
                config.trunks.clear();
                config.users =
                    vec![User { name, password, display_name: String::new(), max_calls: 0 }];
            }
        });
        let ready = storm.now + Duration::from_secs(120);
        storm.run_until(ready);
        assert_eq!(storm.agents[1].contacts("phone"), 1, "seed {seed}");
        for _ in 0..5 {
            storm.call(0);
            storm.call_to(1, Target::User { name: "phone".into() });
        }
        // Two refreshes of an hour each.
        storm.run_until(ready + Duration::from_secs(7200));
        assert_eq!(storm.agents[1].contacts("phone"), 1, "seed {seed}");
        assert_eq!(storm.agents[0].trunk_state("other"), TrunkState::Up, "seed {seed}");
        storm.agents[0].unregister(storm.now);
        storm.drain(0);
        storm.run();
        for agent in 0..2 {
            assert_eq!(storm.agents[agent].usage(), Usage::default(), "seed {seed}, agent {agent}");
            let open = storm.calls[agent].values().filter(|stage| **stage != Stage::Over);
            assert_eq!(open.count(), 0, "seed {seed}, agent {agent}");
        }
        assert_eq!(storm.agents[1].contacts("phone"), 0, "seed {seed}");
        connected += storm.connected;
    }
    assert!(connected > 100, "{connected}");
}

#[test]
fn one_seed_gives_the_same_bytes() {
    let trace = || {
        let mut storm = Storm::new(7, 20);
        storm.call(0);
        storm.call(1);
        let first: Vec<Vec<u8>> = storm.packets.values().map(|(_, data)| data.clone()).collect();
        storm.run();
        (first, storm.counter, storm.connected)
    };
    assert_eq!(trace(), trace());
}

/// The loopback trunk of the shipped config: both legs of a call in one user agent.
#[test]
fn gateway_calls_itself() {
    use super::bench::Bench;
    let address: SocketAddr = "127.0.0.1:5060".parse().unwrap();
    let mut bench = Bench::with(|config| {
        config.trunks[0].server = "sip:127.0.0.1:5060".parse().unwrap();
        config.trunks[0].accept_from = vec![Network { address: address.ip(), prefix: 8 }];
    });
    let deliver = |bench: &mut Bench| {
        while let Some(sent) = bench.try_sent("") {
            assert_eq!(sent.to, address);
            let data = sent.text.replace('\n', "\r\n").into_bytes();
            bench.input(Input::Datagram { listener: 0, from: address, data: &data });
        }
    };
    let out = bench.act(|agent, now| agent.invite(now, super::bench::to_trunk())).unwrap();
    deliver(&mut bench);
    let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
    let call = incoming.call;
    assert_ne!(out, call);
    bench.act(|agent, now| agent.accept(now, call, &Vec::new(), None, b"v=0".to_vec()));
    deliver(&mut bench);
    assert!(matches!(bench.event(), Event::Answered { call, .. } if call == out));
    assert!(matches!(bench.event(), Event::Confirmed { call: one, .. } if one == call));
    assert_eq!(bench.agent.usage().dialogs, 2);
    bench.act(|agent, now| agent.hangup(now, out, &Vec::new()));
    deliver(&mut bench);
    assert!(matches!(bench.event(), Event::Ended { call: one, status: 200, .. } if one == call));
    bench.empty();
}

/// Bytes of real messages with bits of them changed, cut and doubled: nothing dies of it, and
/// strangers leave nothing behind.
#[test]
fn mutated_messages_do_no_harm() {
    use super::bench::{Bench, PBX, STRANGER, invite, request, wire};
    let mut dice = fastrand::Rng::with_seed(5);
    let mut bench = Bench::with(|config| config.limits.calls = 1000);
    let (_, ok) = bench.answered();
    let tag = ok.text.split("To: ").nth(1).unwrap().split(";tag=").nth(1).unwrap();
    let tag = tag.lines().next().unwrap().to_owned();
    let texts = [
        invite(),
        request("INVITE", "9", &tag, "Content-Type: application/sdp\n", "v=0"),
        request("BYE", "9", "x", "", ""),
        request("ACK", "1", &tag, "", ""),
        request("INFO", "9", &tag, "Content-Type: a/b\n", "x"),
        request("REGISTER", "9", "", "Authorization: Digest username=\"alice\"\n", ""),
        "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\n\
         To: <sip:a@b>;tag=2\nCall-ID: x\nCSeq: 1 INVITE\n\n"
            .to_owned(),
    ];
    for _ in 0..5_000 {
        let mut data = wire(&texts[dice.usize(..texts.len())]);
        for _ in 0..dice.usize(1..6) {
            let place = dice.usize(..data.len());
            match dice.u8(..4) {
                0 => data[place] = dice.u8(..),
                1 => data.truncate(place.max(1)),
                2 => data.extend_from_within(place..),
                _ => data[place] = b"\r\n :;,<>\"@%="[dice.usize(..12)],
            }
        }
        let from = if dice.bool() { PBX } else { STRANGER }.parse().unwrap();
        bench.input(Input::Datagram { listener: 0, from, data: &data });
        bench.pass(Duration::from_millis(dice.u64(..200)));
        bench.all_sent();
    }
}
