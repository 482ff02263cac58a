//! A whole user agent at the mercy of its peers. A script of bytes says what a trunk, a phone and
//! a stranger send, what the session asks for, how names resolve, connections go and time passes.
//!
//! Whatever happens: nothing panics, no more is held than the limits say, everything sent can be
//! read, nothing is told of a call that is over, and once the session has hung up and nobody
//! speaks any more, nothing is left.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use branchline::dns::{Answer, Naptr, Record, Srv};
use branchline::random::Random;
use branchline::sip::digest;
use branchline::sip::header::Name;
use branchline::sip::message::{Message, Method, Start};
use branchline::sip::user_agent::*;

pub fn user_agent(data: &[u8]) {
    let mut script = Script { data };
    let mut world = World::new(script.next());
    for _ in 0..MOST_STEPS {
        if script.data.is_empty() {
            break;
        }
        world.step(&mut script);
    }
    world.end();
}

/// A script longer than this finds nothing that a shorter one does not.
const MOST_STEPS: usize = 200;
const LIMITS: Limits =
    Limits { calls: 6, transactions: 24, streams: 3, contacts_per_user: 2, message_bytes: 4096 };
const PASSWORD: &str = "secret";
const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0\r\n";

/// Zero where nothing is left.
struct Script<'a> {
    data: &'a [u8],
}

impl Script<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *first
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.next()) % count.max(1)
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = self.below(64).min(self.data.len());
        let (bytes, rest) = self.data.split_at(count);
        self.data = rest;
        bytes.to_vec()
    }
}

struct World {
    now: Instant,
    agent: UserAgent,
    config: Config,
    calls: BTreeMap<CallId, Stage>,
    /// Messages of ours, the latest last.
    sent: VecDeque<Message>,
    /// What a peer sent last, for copies and damage.
    last: Vec<u8>,
    queries: VecDeque<u64>,
    /// Connections that stand or are asked for.
    streams: Vec<StreamId>,
    accepted: u64,
    branches: u32,
}

/// What the session knows of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// Comes in, and has no answer.
    Alerting,
    Open,
    Over,
}

#[derive(Clone, Copy)]
enum From {
    Trunk,
    Phone,
    Stranger,
}

impl From {
    const ALL: [Self; 4] = [Self::Trunk, Self::Trunk, Self::Phone, Self::Stranger];

    fn address(self) -> SocketAddr {
        match self {
            Self::Trunk => SocketAddr::from(([192, 0, 2, 10], 5060)),
            Self::Phone => SocketAddr::from(([198, 51, 100, 20], 5062)),
            Self::Stranger => SocketAddr::from(([203, 0, 113, 66], 5060)),
        }
    }
}

impl World {
    /// The bits of `kind` choose the trunk's manners.
    fn new(kind: u8) -> Self {
        let listener = |transport| Listener {
            transport,
            address: SocketAddr::from(([0, 0, 0, 0], 5060)),
            advertised: SocketAddr::from(([192, 0, 2, 1], 5060)),
        };
        let trunk = |name: &str, server: &str, registers: bool| Trunk {
            name: name.to_owned(),
            server: server.parse().expect("a URI"),
            register: registers,
            username: "branch".to_owned(),
            password: PASSWORD.to_owned(),
            accept_from: vec![Network { address: From::Trunk.address().ip(), prefix: 32 }],
            is_mutual: false,
            options: (kind & 1 != 0).then_some(Duration::from_secs(30)),
            account: Account::default(),
            identity: Policy { is_trusted: kind & 2 != 0, ..Policy::default() },
            caps: Caps::default(),
            prack: [Prack::Off, Prack::Supported, Prack::Required, Prack::Supported]
                [usize::from(kind >> 2 & 3)],
        };
        let interval = (kind & 16 != 0).then_some(Duration::from_secs(120));
        let config = Config {
            listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
            public_address: String::new(),
            domain: "branch.example".to_owned(),
            digest: vec![Algorithm::Md5],
            strangers: Strangers { are_answered: kind & 32 != 0, ..Strangers::default() },
            trunks: vec![
                trunk("pbx", "sip:192.0.2.10", false),
                trunk("provider", "sip:provider.example", kind & 64 != 0),
            ],
            users: vec![User {
                name: "alice".to_owned(),
                password: PASSWORD.to_owned(),
                display_name: String::new(),
                max_calls: 0,
            }],
            nat: Nat { keepalive: Some(Duration::from_secs(30)), ..Nat::default() },
            ws_origins: Vec::new(),
            session_timer: SessionTimer { interval, ..SessionTimer::default() },
            product: "branchline/fuzz".to_owned(),
            limits: LIMITS,
        };
        let now = Instant::now();
        Self {
            now,
            agent: UserAgent::new(now, config.clone(), Random::seeded(1)),
            config,
            calls: BTreeMap::new(),
            sent: VecDeque::new(),
            last: Vec::new(),
            queries: VecDeque::new(),
            streams: Vec::new(),
            accepted: 0,
            branches: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.next() % 16 {
            0..=2 => {
                let from = script.of(&From::ALL);
                self.last = self.request(script, from);
                self.deliver(script, from);
            }
            3..=5 => {
                if let Some(response) = self.response(script) {
                    self.last = response;
                    self.deliver(script, From::Trunk);
                }
            }
            6 => self.deliver(script, From::Trunk),
            7 => self.damage(script),
            8 => self.pass(Duration::from_millis(1 << (script.next() % 22))),
            9..=11 => self.ask(script),
            12 => self.stream(script),
            13 => self.resolve(script),
            14 => self.register(script),
            _ => self.reload(script),
        }
        self.drain();
        let usage = self.agent.usage();
        assert!(usage.calls <= LIMITS.calls, "{usage:?}");
        assert!(usage.transactions <= LIMITS.transactions, "{usage:?}");
        assert!(usage.streams <= LIMITS.streams, "{usage:?}");
    }

    /// A request outside and inside of dialogs that we know of, with some fields that matter.
    fn request(&mut self, script: &mut Script<'_>, from: From) -> Vec<u8> {
        const METHODS: [&str; 16] = [
            "INVITE", "INVITE", "INVITE", "ACK", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO",
            "MESSAGE", "OPTIONS", "REFER", "NOTIFY", "REGISTER", "NONSENSE",
        ];
        let method = script.of(&METHODS);
        let address = from.address();
        let number = script.next();
        let branch = match script.next() {
            // One that came before, as CANCEL and ACK have it.
            byte @ 0..128 => self.branches.saturating_sub(u32::from(byte % 4)),
            _ => {
                self.branches += 1;
                self.branches
            }
        };
        let ours = self.sent_before(script);
        let (uri, dialog) = match ours {
            // In the dialog of a message of ours: its To is our From, if it was a request.
            Some(ours) if number & 128 != 0 => {
                let (remote, local) = match ours.is_request() {
                    true => (&ours.to, &ours.from),
                    false => (&ours.from, &ours.to),
                };
                let dialog = format!(
                    "From: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
                    with_tag(remote.to_string()),
                    local,
                    ours.call_id
                );
                ("sip:192.0.2.1:5060", dialog)
            }
            _ => {
                let call = script.below(4);
                let user = script.of(&["1", "100", "alice", "+49(30)1", ""]);
                let dialog = format!(
                    "From: <sip:{user}@{address}>;tag=f{call}\r\nTo: <sip:7@192.0.2.1>\r\n\
                     Call-ID: c{call}\r\n"
                );
                ("sip:7@192.0.2.1", dialog)
            }
        };
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: {}\r\n{dialog}CSeq: {} {method}\r\n",
            script.of(&[70, 70, 70, 1, 0]),
            number % 128,
        );
        if method == "ACK" || !script.next().is_multiple_of(8) {
            text.push_str(&format!("Contact: <sip:peer@{address}>\r\n"));
        }
        self.fields(script, &mut text);
        finish(script, text)
    }

    /// Fields that change what happens.
    fn fields(&mut self, script: &mut Script<'_>, text: &mut String) {
        const FIELDS: [&str; 32] = [
            "Require: 100rel",
            "Supported: 100rel, timer, replaces",
            "Require: timer",
            "Session-Expires: 90;refresher=uac",
            "Session-Expires: 100;refresher=uas",
            "Session-Expires: 1",
            "Min-SE: 500",
            "RSeq: 1",
            "RSeq: 2",
            "RAck: 1 1 INVITE",
            "Record-Route: <sip:192.0.2.10;lr>, <sip:strict.example>",
            "Route: <sip:192.0.2.1;lr>",
            "Contact: <sip:other@192.0.2.10:5070>",
            "Contact: *",
            "Expires: 0",
            "Expires: 60",
            "Retry-After: 3 (later);duration=9",
            "Refer-To: <sip:9@192.0.2.10>",
            "Refer-To: <sip:9@192.0.2.10?Replaces=c0%3Bto-tag%3Da%3Bfrom-tag%3Df0>",
            "Replaces: c0;to-tag=a;from-tag=f0",
            "Event: refer",
            "Subscription-State: terminated",
            "P-Asserted-Identity: \"A\" <sip:+491@example.com>, <tel:+491>",
            "Diversion: <sip:5@example.com>;reason=unconditional",
            "Privacy: id",
            "History-Info: <sip:5@example.com?Reason=SIP%3Bcause%3D302>;index=1",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5",
            "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n2\", stale=true",
            "Reason: Q.850;cause=16",
            "Unsupported: timer",
            "Path: <sip:192.0.2.10;lr>",
            "Service-Route: <sip:192.0.2.10;lr>",
        ];
        for _ in 0..script.next() % 5 {
            text.push_str(script.of(&FIELDS));
            text.push_str("\r\n");
        }
    }

    fn response(&mut self, script: &mut Script<'_>) -> Option<Vec<u8>> {
        const STATUSES: [u16; 32] = [
            100, 180, 180, 183, 183, 199, 200, 200, 200, 200, 202, 299, 301, 302, 380, 400, 401,
            403, 404, 407, 408, 415, 420, 421, 422, 481, 486, 487, 491, 500, 503, 603,
        ];
        let status = script.of(&STATUSES);
        let tag = script.below(3);
        let request = self.sent_before(script).filter(|sent| sent.is_request())?;
        let mut text = format!("SIP/2.0 {status} Whatever\r\n");
        for via in &request.via {
            text.push_str(&format!("Via: {via}\r\n"));
        }
        let to = match request.to.tag() {
            Some(_) => request.to.to_string(),
            None => format!("{};tag=t{tag}", request.to),
        };
        text.push_str(&format!(
            "From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n",
            request.from,
            request.call_id,
            request.cseq.number,
            request.cseq.method.as_str()
        ));
        if !script.next().is_multiple_of(8) {
            text.push_str("Contact: <sip:peer@192.0.2.10>;expires=60\r\n");
        }
        self.fields(script, &mut text);
        Some(finish(script, text))
    }

    fn sent_before(&self, script: &mut Script<'_>) -> Option<Message> {
        let back = script.below(MOST_KEPT);
        self.sent.get(self.sent.len().checked_sub(1 + back)?).cloned()
    }

    fn deliver(&mut self, script: &mut Script<'_>, from: From) {
        let data = self.last.clone();
        match self.streams.last() {
            Some(&stream) if script.next().is_multiple_of(8) => {
                let (first, second) = data.split_at(script.below(data.len() + 1).min(data.len()));
                self.agent.handle_input(self.now, Input::Stream { stream, data: first });
                self.drain();
                self.agent.handle_input(self.now, Input::Stream { stream, data: second });
            }
            _ => {
                let input = Input::Datagram { listener: 0, from: from.address(), data: &data };
                self.agent.handle_input(self.now, input);
            }
        }
    }

    /// What came last comes again with some bytes changed, or is anything at all.
    fn damage(&mut self, script: &mut Script<'_>) {
        match script.next() % 4 {
            0 => self.last = script.bytes(),
            _ if self.last.is_empty() => {}
            1 => {
                let at = usize::from(script.next()) * self.last.len() / 256;
                let bytes = script.bytes();
                self.last.splice(at..at, bytes);
            }
            _ => {
                for _ in 0..script.next() % 8 {
                    let place = usize::from(script.next()) << 8 | usize::from(script.next());
                    let place = place % self.last.len();
                    self.last[place] = script.next();
                }
            }
        }
        let from = script.of(&From::ALL);
        self.deliver(script, from);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(next) = self.agent.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.agent.handle_input(self.now, Input::Timeout);
            self.drain();
            steps += 1;
            assert!(steps < 100_000, "time stands still: {:?}", self.agent.usage());
        }
        self.now = end;
    }

    /// What a session may ask for.
    fn ask(&mut self, script: &mut Script<'_>) {
        let verb = script.next() % 16;
        if verb < 4 {
            return self.invite(script);
        }
        let open = self.open_calls();
        let Some(&call) = open.get(script.below(open.len())) else { return };
        let (now, none) = (self.now, ExtraHeaders::new());
        let some = vec![("X-A".to_owned(), "1".to_owned())];
        let agent = &mut self.agent;
        match verb {
            4 => agent.ring(now, call, &some),
            5 => agent.progress(now, call, &none, SDP.to_vec()),
            6 | 7 => {
                self.calls.insert(call, Stage::Open);
                agent.accept(now, call, &none, None, SDP.to_vec());
            }
            8 if self.calls[&call] == Stage::Alerting => {
                self.calls.insert(call, Stage::Over);
                agent.reject(now, call, script.of(&[486, 603, 404, 302, 480]), &some);
            }
            8 | 9 => {
                self.calls.insert(call, Stage::Over);
                agent.hangup(now, call, &none);
            }
            10 => agent.answer_offer(now, call, SDP.to_vec()),
            11 => match script.next() % 2 {
                0 => agent.accept_change(now, call, SDP.to_vec()),
                _ => agent.reject_change(now, call, 488),
            },
            12 => {
                let offer = Modification::of_offer(none, SDP.to_vec());
                let _may_be_refused = agent.change(now, call, offer);
            }
            13 => agent.refresh(now, call, SDP.to_vec()),
            14 => agent.info(now, call, &some, "application/dtmf-relay", b"Signal=1".to_vec()),
            _ => match script.next() % 8 {
                0 | 1 => agent.message(now, call, "text"),
                2 => agent.accept_refer(now, call),
                3 => agent.reject_refer(now, call, 603),
                4 | 5 => agent.notify_refer(now, call, script.of(&[100, 180, 200, 486]), "R"),
                kind => {
                    let other = open[script.below(open.len())];
                    let target = match kind {
                        6 => ReferTarget::Number("9".to_owned()),
                        _ => ReferTarget::Call(other),
                    };
                    let timeout = Duration::from_secs(30);
                    let transfer = Transfer { target, headers: none, timeout };
                    let _may_be_refused = agent.refer(now, call, &transfer);
                }
            },
        }
    }

    fn invite(&mut self, script: &mut Script<'_>) {
        let uri = |text: &str| Box::new(text.parse().expect("a URI"));
        let target = match script.next() % 6 {
            0 | 1 => Target::Trunk { name: "pbx".to_owned(), number: "7".to_owned() },
            2 => Target::Trunk { name: "provider".to_owned(), number: "7".to_owned() },
            3 => Target::User { name: "alice".to_owned() },
            4 => Target::Uri { uri: uri("sip:x@192.0.2.10;transport=tcp"), proxy: None },
            _ => Target::Uri { uri: uri("sip:x@named.example"), proxy: None },
        };
        let invite = Invite {
            target,
            caller: "2".to_owned(),
            display_name: String::new(),
            credentials: None,
            diverted: None,
            patience: (script.next().is_multiple_of(4)).then_some(Duration::from_secs(3)),
            headers: Vec::new(),
            offer: (!script.next().is_multiple_of(4)).then(|| SDP.to_vec()),
            timeout: Duration::from_secs(20),
            max_forwards: 70,
        };
        if let Ok(call) = self.agent.invite(self.now, invite) {
            assert_eq!(self.calls.insert(call, Stage::Open), None, "a call id comes once");
        }
    }

    fn stream(&mut self, script: &mut Script<'_>) {
        let local = SocketAddr::from(([192, 0, 2, 1], 5060));
        let from = script.of(&From::ALL);
        let which = script.below(self.streams.len());
        let input = match script.next() % 5 {
            0 | 1 => {
                let stream = StreamId(self.accepted * 2 + 1);
                self.accepted += 1;
                self.streams.push(stream);
                Input::Accepted { stream, listener: 1, peer: from.address(), local }
            }
            2 => match self.streams.get(which) {
                Some(&stream) => Input::Connected { stream, local },
                None => return,
            },
            3 if !self.streams.is_empty() => {
                Input::Closed { stream: self.streams.swap_remove(which) }
            }
            _ => Input::Unreachable { to: from.address() },
        };
        self.agent.handle_input(self.now, input);
    }

    fn resolve(&mut self, script: &mut Script<'_>) {
        let Some(query) = self.queries.pop_front() else { return };
        let ttl = Duration::from_secs(script.next().into());
        let records = |record| Answer::Records { records: vec![record], ttl };
        let target = script.of(&["a.example", "b.example", "", "provider.example"]).to_owned();
        let answer = match script.next() % 6 {
            0 | 1 => records(Record::Address(From::Trunk.address().ip())),
            2 => records(Record::Srv(Srv { priority: 1, weight: 1, port: 5060, target })),
            3 => records(Record::Naptr(Naptr {
                order: 1,
                preference: 1,
                flags: "s".to_owned(),
                service: script.of(&["SIP+D2U", "SIP+D2T", "SIPS+D2T"]).to_owned(),
                replacement: target,
            })),
            4 => Answer::Nothing { ttl },
            _ => Answer::Failed,
        };
        self.agent.handle_input(self.now, Input::Resolved { query, answer });
    }

    /// A phone that knows its password, or nearly.
    fn register(&mut self, script: &mut Script<'_>) {
        let challenge = self.sent.iter().rev().find_map(|sent| match sent.start {
            Start::Response { status: 401, .. } => {
                digest::challenges(&sent.headers, &Name::WwwAuthenticate).into_iter().next()
            }
            _ => None,
        });
        self.branches += 1;
        let address = From::Phone.address();
        let (uri, count) = ("sip:branch.example", script.next());
        let mut text = format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{}\r\n\
             From: <sip:alice@branch.example>;tag=p\r\nTo: <sip:alice@branch.example>\r\n\
             Call-ID: phone\r\nCSeq: {count} REGISTER\r\nContact: <sip:alice@{address}>\r\n",
            self.branches
        );
        if let Some(challenge) = challenge {
            let password = script.of(&[PASSWORD, PASSWORD, PASSWORD, "wrong"]);
            let method = Method::Register;
            let proof =
                digest::answer(&challenge, "alice", password, &method, uri, count.into(), "c");
            text.push_str(&format!("Authorization: {proof}\r\n"));
        }
        self.fields(script, &mut text);
        self.last = finish(script, text);
        self.deliver(script, From::Phone);
    }

    fn reload(&mut self, script: &mut Script<'_>) {
        match script.next() % 8 {
            0 => self.config.users.clear(),
            1 => drop(self.config.trunks.pop()),
            2 => self.config.trunks.reverse(),
            _ => return,
        }
        self.agent.reload(self.now, self.config.clone());
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.agent.poll_output() {
            count += 1;
            assert!(count < 1000, "one step leads to no end of others");
            match output {
                Output::Datagram { data, .. } | Output::Stream { data, .. } => self.note(&data),
                Output::Connect { stream, .. } => self.streams.push(stream),
                Output::Close { stream } => self.streams.retain(|one| *one != stream),
                Output::Resolve { query, .. } => self.queries.push_back(query),
                Output::Event(event) => self.hear(event),
            }
        }
    }

    fn note(&mut self, data: &[u8]) {
        if data.iter().all(|byte| b"\r\n".contains(byte)) {
            return; // a keep-alive
        }
        let message = Message::parse(data);
        let text = String::from_utf8_lossy(data);
        let message = message.unwrap_or_else(|error| panic!("{error} in what we send: {text}"));
        self.sent.push_back(message);
        if self.sent.len() > MOST_KEPT {
            self.sent.pop_front();
        }
    }

    fn hear(&mut self, event: Event) {
        let (call, is_end) = match &event {
            Event::Incoming(incoming) => {
                let before = self.calls.insert(incoming.call, Stage::Alerting);
                return assert_eq!(before, None, "a call id comes once");
            }
            Event::Failed { call, .. }
            | Event::Cancelled { call, .. }
            | Event::Ended { call, .. } => (*call, true),
            Event::Progress { call, .. }
            | Event::Answered { call, .. }
            | Event::EarlyAnswer { call, .. }
            | Event::Confirmed { call, .. }
            | Event::Forwarding { call }
            | Event::Change { call, .. }
            | Event::Changed { call, .. }
            | Event::ChangeRefused { call, .. }
            | Event::Refresh { call }
            | Event::Refer { call, .. }
            | Event::Transferred { call, .. }
            | Event::Info { call, .. }
            | Event::Message { call, .. } => (*call, false),
            _ => return,
        };
        // Calls that `invite` refused at once are told of before the session knows their id.
        let stage = self.calls.entry(call).or_insert(Stage::Open);
        assert_ne!(*stage, Stage::Over, "{event:?} after the end");
        if is_end {
            *stage = Stage::Over;
        }
    }

    fn open_calls(&self) -> Vec<CallId> {
        let open = self.calls.iter().filter(|(_, stage)| **stage != Stage::Over);
        open.map(|(call, _)| *call).collect()
    }

    /// The session hangs up, and nobody says anything for longer than a binding may last.
    fn end(&mut self) {
        for call in self.open_calls() {
            if self.calls.insert(call, Stage::Over) != Some(Stage::Over) {
                self.agent.hangup(self.now, call, &ExtraHeaders::new());
                self.drain();
            }
        }
        // Trunks that register or are looked after go on for ever.
        self.config.trunks.clear();
        self.agent.reload(self.now, self.config.clone());
        self.drain();
        for _ in 0..4 {
            while let Some(query) = self.queries.pop_front() {
                let input = Input::Resolved { query, answer: Answer::Failed };
                self.agent.handle_input(self.now, input);
                self.drain();
            }
            self.pass(Duration::from_secs(3600));
        }
        assert_eq!(self.agent.usage(), Usage::default());
        assert_eq!(self.agent.contacts("alice"), 0);
    }
}

const MOST_KEPT: usize = 8;

fn with_tag(address: String) -> String {
    if address.contains(";tag=") { address } else { format!("{address};tag=f") }
}

/// Adds a body and its length.
fn finish(script: &mut Script<'_>, mut text: String) -> Vec<u8> {
    const BODIES: [(&str, &[u8]); 5] = [
        ("application/sdp", SDP),
        ("application/sdp", SDP),
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"),
        ("message/sipfrag", b"SIP/2.0 200 OK\r\n"),
        ("multipart/mixed;boundary=b", b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--"),
    ];
    let body: &[u8] = match script.next() {
        0..96 => b"",
        byte => {
            let (kind, body) = BODIES[usize::from(byte) % BODIES.len()];
            text.push_str(&format!("Content-Type: {kind}\r\n"));
            body
        }
    };
    text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut data = text.into_bytes();
    data.extend_from_slice(body);
    data
}
