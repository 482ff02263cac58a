//! A user agent on a table, for the tests of the usages: peers write SIP as text, by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::dns::zone::Zone;
use crate::random::Random;
use crate::sip::user_agent::*;

pub struct Bench {
    pub now: Instant,
    pub agent: UserAgent,
    events: VecDeque<Event>,
    sent: VecDeque<Sent>,
    /// Everything but datagrams and events.
    pub others: VecDeque<Output>,
    /// Answers questions at once; `None`: they are among the others.
    pub zone: Option<Zone>,
    /// Those that it answered.
    pub questions: Vec<String>,
}

/// One message that we sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub to: SocketAddr,
    pub text: String,
}

/// The trunk `pbx`.
pub const PBX: &str = "192.0.2.10:5060";
/// Nobody known.
pub const STRANGER: &str = "203.0.113.66:5060";
/// Where alice's phone is.
pub const PHONE: &str = "198.51.100.20:5062";

impl Bench {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = |transport, port| Listener {
            transport,
            address: SocketAddr::new([0, 0, 0, 0].into(), port),
            advertised: SocketAddr::new([192, 0, 2, 1].into(), port),
        };
        let trunk = Trunk {
            name: "pbx".into(),
            server: "sip:192.0.2.10".parse().unwrap(),
            register: false,
            username: String::new(),
            password: String::new(),
            accept_from: vec![Network { address: [192, 0, 2, 10].into(), prefix: 32 }],
            options: None,
            account: Account::default(),
            identity: Policy::default(),
            caps: Caps::default(),
            is_mutual: false,
            prack: Prack::default(),
        };
        let user = User {
            name: "alice".into(),
            password: "secret".into(),
            display_name: String::new(),
            max_calls: 0,
        };
        let mut config = Config {
            listeners: vec![listener(Transport::Udp, 5060), listener(Transport::Tcp, 5060)],
            public_address: String::new(),
            domain: "branch.example".into(),
            digest: vec![Algorithm::Sha256, Algorithm::Md5],
            strangers: Strangers::default(),
            trunks: vec![trunk],
            users: vec![user],
            nat: Nat::default(),
            ws_origins: Vec::new(),
            session_timer: SessionTimer::default(),
            product: "branchline/test".into(),
            limits: Limits {
                calls: 8,
                transactions: 32,
                streams: 4,
                contacts_per_user: 3,
                message_bytes: 65536,
            },
        };
        change(&mut config);
        let now = Instant::now();
        let agent = UserAgent::new(now, config, Random::seeded(1));
        Self {
            now,
            agent,
            events: VecDeque::new(),
            sent: VecDeque::new(),
            others: VecDeque::new(),
            zone: None,
            questions: Vec::new(),
        }
    }

    /// A message of the trunk.
    pub fn receive(&mut self, text: &str) {
        self.receive_from(PBX, text);
    }

    /// Lines end with `\n` here; Content-Length is added.
    pub fn receive_from(&mut self, from: &str, text: &str) {
        let data = wire(text);
        let from = from.parse().unwrap();
        self.input(Input::Datagram { listener: 0, from, data: &data });
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.agent.handle_input(self.now, input);
        self.drain();
    }

    /// A verb of the session.
    pub fn act<T>(&mut self, act: impl FnOnce(&mut UserAgent, Instant) -> T) -> T {
        let result = act(&mut self.agent, self.now);
        self.drain();
        result
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.agent.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    /// Lets time pass until a message that begins with this is sent; the milliseconds it took.
    #[track_caller]
    pub fn wait_for(&mut self, start: &str) -> u64 {
        let before = self.now;
        while !self.sent.iter().any(|sent| sent.text.starts_with(start)) {
            self.now = self.agent.poll_timeout().expect("a timer is armed");
            self.input(Input::Timeout);
        }
        (self.now - before).as_millis() as u64
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Datagram { to, data, .. } => {
                    let text = String::from_utf8(data).unwrap().replace("\r\n", "\n");
                    self.sent.push_back(Sent { to, text });
                }
                Output::Event(event) => self.events.push_back(event),
                Output::Resolve { query, question } if self.zone.is_some() => {
                    self.questions.push(question.to_string());
                    let answer = self.zone.as_ref().map(|zone| zone.answer(&question));
                    let answer = answer.expect("there is a zone");
                    self.agent.handle_input(self.now, Input::Resolved { query, answer });
                }
                other => self.others.push_back(other),
            }
        }
    }

    /// The next message that we sent.
    #[track_caller]
    pub fn sent(&mut self) -> Sent {
        self.sent.pop_front().expect("a message was sent")
    }

    /// The next message, which must begin with this.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> Sent {
        let sent = self.sent();
        assert!(sent.text.starts_with(start), "{start} expected, {} sent", sent.text);
        sent
    }

    /// The first of the messages sent that begins with this; those before it are dropped.
    pub fn try_sent(&mut self, start: &str) -> Option<Sent> {
        while let Some(sent) = self.sent.pop_front() {
            if sent.text.starts_with(start) {
                return Some(sent);
            }
        }
        None
    }

    /// First lines of all messages sent, without version, and their number.
    pub fn all_sent(&mut self) -> Vec<String> {
        self.sent.drain(..).map(|sent| sent.line()).collect()
    }

    /// All events that are not yet taken.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    #[track_caller]
    pub fn event(&mut self) -> Event {
        self.events.pop_front().expect("an event came")
    }

    #[track_caller]
    pub fn quiet(&mut self) {
        assert!(self.sent.is_empty(), "sent: {:?}", self.sent);
        assert!(self.events.is_empty(), "told: {:?}", self.events);
    }

    /// Two minutes later nothing is left.
    #[track_caller]
    pub fn empty(&mut self) {
        self.pass(Duration::from_secs(120));
        assert_eq!(self.agent.usage(), Usage::default());
        assert_eq!(self.agent.poll_timeout(), None);
    }

    /// The trunk calls; our 100 is taken off.
    pub fn called(&mut self) -> CallId {
        self.receive(&invite());
        self.expect("SIP/2.0 100");
        match self.event() {
            Event::Incoming(incoming) => incoming.call,
            other => panic!("Incoming expected: {other:?}"),
        }
    }

    /// The trunk called, we answered, it acknowledged.
    pub fn answered(&mut self) -> (CallId, Sent) {
        let call = self.called();
        self.act(|agent, now| agent.accept(now, call, &Vec::new(), None, b"v=0".to_vec()));
        let ok = self.expect("SIP/2.0 200");
        self.receive(&ok.ack());
        assert!(matches!(self.event(), Event::Confirmed { .. }));
        (call, ok)
    }

    /// We call 100 at the trunk.
    pub fn calls(&mut self) -> (CallId, Sent) {
        let call = self.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
        let invite = self.expect("INVITE ");
        (call, invite)
    }

    /// We called, the trunk answered; our ACK is the last.
    pub fn connected(&mut self) -> (CallId, Sent, Sent) {
        let (call, invite) = self.calls();
        self.receive(&invite.answer(200, "t1", CONTACT, ANSWER));
        let ack = self.expect("ACK ");
        assert!(matches!(self.event(), Event::Answered { .. }));
        (call, invite, ack)
    }
}

pub const CONTACT: &str = "Contact: <sip:100@192.0.2.10:5060>\nContent-Type: application/sdp\n";
pub const ANSWER: &str = "v=0\n";

pub fn to_trunk() -> Invite {
    Invite {
        target: Target::Trunk { name: "pbx".into(), number: "100".into() },
        caller: "200".into(),
        display_name: String::new(),
        credentials: None,
        diverted: None,
        headers: vec![("X-One".into(), "1".into())],
        offer: Some(b"v=0".to_vec()),
        timeout: Duration::from_secs(60),
        patience: None,
        max_forwards: 70,
    }
}

/// The trunk's INVITE.
pub fn invite() -> String {
    request("INVITE", "1", "", "Content-Type: application/sdp\n", "v=0\n")
}

/// A request of the trunk with this branch, To tag, and more headers.
pub fn request(method: &str, branch: &str, tag: &str, headers: &str, body: &str) -> String {
    let tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let cseq = branch.split('.').next().unwrap();
    format!(
        "{method} sip:200@192.0.2.1 SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{branch}\n\
         Max-Forwards: 70\n\
         From: <sip:100@192.0.2.10>;tag=f1\n\
         To: <sip:200@192.0.2.1>{tag}\n\
         Call-ID: c1@192.0.2.10\n\
         CSeq: {cseq} {method}\n\
         Contact: <sip:100@192.0.2.10:5060>\n\
         {headers}\n{body}"
    )
}

/// A binding of alice's as it was kept.
pub fn kept(contact: &str, source: &str) -> Binding {
    Binding {
        contact: contact.parse().unwrap(),
        parameters: Vec::new(),
        is_outbound: false,
        path: Vec::new(),
        call_id: "r".into(),
        cseq: 1,
        expires_in: Duration::from_secs(600),
        source: source.parse().unwrap(),
        transport: Transport::Udp,
        listener: 0,
        user_agent: String::new(),
    }
}

/// Text for the wire: CRLF in the head, and the body's length.
pub fn wire(text: &str) -> Vec<u8> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let head = head.replace('\n', "\r\n");
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl Sent {
    pub fn line(&self) -> String {
        let line = self.text.lines().next().unwrap_or_default();
        line.trim_start_matches("SIP/2.0 ").trim_end_matches(" SIP/2.0").to_owned()
    }

    /// The values of a header field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let head = self.text.split("\n\n").next().unwrap_or_default();
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(other, _)| *other == name).map(|(_, value)| value).collect()
    }

    /// The value of a header field, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\n\n").map_or("", |(_, body)| body)
    }

    pub fn tag(&self, name: &str) -> &str {
        self.header(name).split_once(";tag=").map_or("", |(_, tag)| tag)
    }

    pub fn branch(&self) -> &str {
        let via = self.header("Via");
        via.split(';').find_map(|part| part.strip_prefix("branch=")).unwrap_or_default()
    }

    /// A peer's response to this request of ours.
    pub fn response(&self, status: u16, tag: &str) -> String {
        self.answer(status, tag, "", "")
    }

    pub fn answer(&self, status: u16, tag: &str, headers: &str, body: &str) -> String {
        let mut to = self.header("To").to_owned();
        if !tag.is_empty() && !to.contains(";tag=") {
            to = format!("{to};tag={tag}");
        }
        format!(
            "SIP/2.0 {status} Words\nVia: {}\nFrom: {}\nTo: {to}\nCall-ID: {}\nCSeq: {}\n\
             {headers}\n{body}",
            self.header("Via"),
            self.header("From"),
            self.header("Call-ID"),
            self.header("CSeq"),
        )
    }

    /// The trunk's ACK of this 2xx of ours.
    pub fn ack(&self) -> String {
        let number = self.header("CSeq").split(' ').next().unwrap();
        request("ACK", &format!("{number}.ack"), self.tag("To"), "", "")
    }
}
