//! What must hold of any bytes that a peer may send. The fuzz targets call it with what the
//! fuzzer finds, `tests/fuzz.rs` with the corpora and with damaged copies of them.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use branchline::dns::exchange::{Exchange, Input, Output};
use branchline::dns::{Answer, Kind, Question, Record, Settings};
use branchline::media::sound::{MOST_SAMPLES, Sound};
use branchline::random::Random;
use branchline::sdp::crypto::OwnKeys;
use branchline::sdp::description::{Description, Direction};
use branchline::sdp::format::{Clock, Codec};
use branchline::sdp::offer_answer::{self, Local, Profile, Srtp, Wishes};
use branchline::sip::digest::{self, Challenge, Credentials, Nonces};
use branchline::sip::fields::Contacts;
use branchline::sip::framing::{Frame, Framer};
use branchline::sip::header::Name;
use branchline::sip::identity::{self, Form, Policy};
use branchline::sip::inspection;
use branchline::sip::message::{Message, Method};
use branchline::sip::name_addr::NameAddr;
use branchline::sip::refer::{self, ReferTo, Replaces};
use branchline::sip::uri::Uri;
use branchline::sip::via::Via;
use branchline::sip::websocket::WebSocket;

/// A file of sound gives pieces of a bounded length until its end, or an error that says why not;
/// and the same, however its bytes come.
pub fn sound(data: &[u8]) {
    let whole = samples(data);
    let byte_by_byte = samples(Trickle(data));
    assert_eq!(whole, byte_by_byte);
}

/// What there is before the end, the error, or 20,000 samples.
fn samples(file: impl Read) -> (Vec<i16>, Option<String>) {
    let mut samples = Vec::new();
    let mut sound = match Sound::open(file, None) {
        Ok(sound) => sound,
        Err(error) => return (samples, Some(error.to_string())),
    };
    assert!((4000..=192_000).contains(&sound.hertz()));
    while samples.len() < 20_000 {
        let before = samples.len();
        if let Err(error) = sound.read(&mut samples) {
            return (samples, Some(error.to_string()));
        }
        assert!(samples.len() - before <= MOST_SAMPLES);
        if samples.len() == before {
            break;
        }
    }
    (samples, None)
}

/// One byte at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = out.len().min(1);
        self.0.read(&mut out[..length])
    }
}

/// What is read and written again is read as the same, also what is read only on demand; an
/// error that can be answered gives a good answer.
pub fn message(data: &[u8]) {
    match Message::parse(data) {
        Ok(message) => {
            read_fields(&message);
            let again = Message::parse(&message.to_bytes());
            assert_eq!(again, Ok(message));
        }
        Err(error) => {
            if let Some(request) = &error.answerable {
                let response = Message::response_to(request, error.status(), "");
                assert!(Message::parse(&response.to_bytes()).is_ok(), "{error}: no good answer");
            }
        }
    }
}

fn read_fields(message: &Message) {
    let headers = &message.headers;
    let _ = (headers.content_type(), headers.retry_after(), headers.expires());
    let _ = (headers.max_forwards(), headers.rack(), headers.reliable());
    let _ = inspection::inspect(message);
    let _ = headers.name_addrs(&Name::Route);
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        let _ = digest::credentials(headers, &name, "example.com");
        let _ = digest::challenges(headers, &name);
    }
    if let Ok(Contacts::List(contacts)) = headers.contacts() {
        for contact in contacts {
            let _ = (contact.expires(), contact.preference());
            let written = contact.to_string();
            assert_eq!(written.parse(), Ok(contact), "{written}");
        }
    }
}

/// However a stream is cut, it holds the same messages and ends at the same error, and nothing
/// more than the limit is kept.
pub fn framing(data: &[u8]) {
    let whole = frames(&[data]);
    let step = usize::from(data.first().copied().unwrap_or(0) % 16) + 1;
    assert_eq!(frames(&data.chunks(step).collect::<Vec<_>>()), whole, "in steps of {step}");
}

/// The messages of a stream, and its error.
fn frames(chunks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    const LIMIT: usize = 2000;
    let mut framer = Framer::new(LIMIT);
    let mut list = Vec::new();
    for chunk in chunks {
        framer.push(chunk);
        while let Some(frame) = framer.next() {
            match frame {
                Ok(Frame::Message(bytes)) => {
                    assert!(bytes.len() <= LIMIT);
                    list.push(Some(bytes));
                }
                Ok(Frame::Ping | Frame::Pong) => {}
                Err(_) => list.push(None),
            }
        }
    }
    list
}

/// However a WebSocket is cut, it holds the same messages and ends at the same error. What does not
/// begin with an upgrade gets one.
pub fn websocket(data: &[u8]) {
    const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let data = match data.starts_with(b"GET") {
        true => data.to_vec(),
        false => [UPGRADE, data].concat(),
    };
    let whole = websocket_frames(&[&data]);
    let step = usize::from(data.last().copied().unwrap_or(0) % 16) + 1;
    let cut = websocket_frames(&data.chunks(step).collect::<Vec<_>>());
    assert_eq!(cut, whole, "in steps of {step}");
}

/// The messages of a WebSocket, and its error.
fn websocket_frames(chunks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    const LIMIT: usize = 2000;
    let mut socket = WebSocket::new(LIMIT, Vec::new().into());
    let mut list = Vec::new();
    for chunk in chunks {
        socket.push(chunk);
        while let Some(frame) = socket.next() {
            match frame {
                Ok(Frame::Message(bytes)) => {
                    assert!(bytes.len() <= LIMIT);
                    list.push(Some(bytes));
                }
                Ok(Frame::Ping | Frame::Pong) => {}
                Err(_) => list.push(None),
            }
        }
        let _ = socket.take_reply();
    }
    list
}

/// What a REFER asks for is written as it was read; a status line is one of SIP.
pub fn transfer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some((status, reason)) = refer::status_line(data) {
        assert!((100..700).contains(&status) && reason.trim() == reason);
    }
    if let Ok(replaces) = Replaces::parse(&text) {
        let written = replaces.to_string();
        assert_eq!(Replaces::parse(&written), Ok(replaces), "{written}");
    }
    let Ok(mut request) = Message::parse(REFER) else { panic!("a good REFER") };
    request.headers.push(Name::ReferTo, text.replace(['\r', '\n'], " "));
    if let Ok(refer_to) = ReferTo::of(&request) {
        let Ok(mut again) = Message::parse(REFER) else { panic!("a good REFER") };
        let written = refer_to.to_value();
        again.headers.push(Name::ReferTo, written.clone());
        assert_eq!(ReferTo::of(&again), Ok(refer_to), "{written}");
    }
}

const REFER: &[u8] =
    b"REFER sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;\
    tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REFER\r\nMax-Forwards: 70\r\n\r\n";

/// Who calls, as a trunk says it: whatever stands there, a number or nothing comes of it, and what
/// we assert ourselves can be read.
pub fn identity(data: &[u8]) {
    let Ok(mut invite) = Message::parse(INVITE) else { panic!("a good INVITE") };
    let text = String::from_utf8_lossy(data);
    for line in text.lines().take(20) {
        let (name, value) = line.split_once(':').unwrap_or(("P-Asserted-Identity", line));
        invite.headers.push(Name::from(name), value.replace('\r', " "));
    }
    for form in [Form::None, Form::Asserted, Form::Preferred, Form::RemoteParty] {
        let policy = Policy { is_trusted: true, form, ..Policy::default() };
        let _ = (policy.caller(&invite), policy.number(&invite));
        if let Ok(identity) = text.parse::<NameAddr>() {
            let Ok(mut ours) = Message::parse(INVITE) else { panic!("a good INVITE") };
            policy.assert(&mut ours, &identity, data.len().is_multiple_of(2));
            assert!(Message::parse(&ours.to_bytes()).is_ok(), "{identity}");
        }
    }
    let _ = identity::diversions(&invite);
    identity::forget(&mut invite);
}

const INVITE: &[u8] =
    b"INVITE sip:1@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:2@b>;\
    tag=1\r\nTo: <sip:1@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n\r\n";

/// A server's message to a question of ours: whatever it says, the question has one end, and what
/// is kept of it is bounded. Header and question are ours; the first bytes say flags and counts.
pub fn dns(data: &[u8]) {
    let mut now = Instant::now();
    let server = SocketAddr::from(([192, 0, 2, 1], 53));
    let question = Question::new("_sip._udp.example.com", Kind::Srv);
    let settings = Settings::default();
    let random = Random::seeded(1);
    let mut exchange = Exchange::new(now, question, vec![server], &settings, random);
    let mut ends = 0;
    for _ in 0..100 {
        match exchange.poll_output() {
            Some(Output::Ask { server: from, over, data: query }) => {
                let (flags, rest) = data.split_at(data.len().min(8));
                let mut message = query.clone();
                for (place, byte) in flags.iter().enumerate() {
                    let sets_response = if place == 0 { 0x80 } else { 0 };
                    if !matches!(place, 2 | 3) {
                        message[2 + place] = byte | sets_response;
                    }
                }
                // Up to the end of the question: what we say of EDNS is no part of an answer.
                message.truncate(12 + "_sip._udp.example.com".len() + 2 + 4);
                message.extend_from_slice(rest);
                exchange.handle_input(now, Input::Message { from, over, data: &message });
                now += settings.patience;
                exchange.handle_input(now, Input::Timeout);
            }
            Some(Output::Done(answer)) => {
                ends += 1;
                if let Answer::Records { records, .. } = answer {
                    assert!(!records.is_empty() && records.len() <= 16);
                    assert!(records.iter().all(|record| matches!(record, Record::Srv(_))));
                }
            }
            None => break,
        }
    }
    assert_eq!((ends, exchange.poll_timeout()), (1, None));
}

/// What is read and written again is read as the same; an answer to it agrees with it.
pub fn sdp(data: &[u8]) {
    let Ok(description) = Description::parse(data) else { return };
    let again = Description::parse(&description.to_bytes());
    assert_eq!(again.as_ref(), Ok(&description));
    for (address, profile) in [
        (IpAddr::V4(Ipv4Addr::LOCALHOST), None),
        (IpAddr::V6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()), None),
        (IpAddr::V4(Ipv4Addr::LOCALHOST), Some(Profile::Opportunistic)),
        (IpAddr::V4(Ipv4Addr::LOCALHOST), Some(Profile::Secure)),
    ] {
        let local = local(address, profile);
        let ours = offer_answer::offer(&local);
        if let Ok(agreed) = offer_answer::agree(&local, &ours, &description) {
            same_numbers(&ours, &offer_answer::offer_again(&local, &agreed));
        }
        if let Ok((answer, agreed)) = offer_answer::answer(&local, &description) {
            let written = Description::parse(&answer.to_bytes());
            assert_eq!(written.as_ref(), Ok(&answer));
            assert_eq!(answer.media.len(), description.media.len(), "a section for each");
            assert!(agreed.remote.port() != 0 || agreed.direction == Direction::Inactive);
        }
    }
}

/// RFC 3264 §8.3.2
fn same_numbers(first: &Description, second: &Description) {
    for map in &first.media[0].rtpmap {
        assert_eq!(second.media[0].map_of(map.payload_type), Some(map));
    }
}

fn local(address: IpAddr, profile: Option<Profile>) -> Local {
    let keys = OwnKeys::new([7; OwnKeys::BYTES]);
    let is_required = profile == Some(Profile::Secure);
    Local {
        address,
        port: 16384,
        origin_id: 1,
        origin_version: 1,
        codecs: vec![Codec::Opus, Codec::L16(Clock::Wide), Codec::G722, Codec::Pcma, Codec::Pcmu],
        direction: Direction::SendRecv,
        wishes: Wishes { comfort_noise: true, ..Wishes::default() },
        srtp: profile.map(|profile| Srtp { keys, is_required, profile }),
    }
}

/// A challenge can be answered, and the answer proves the password, that password only.
pub fn digest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(credentials) = Credentials::parse(&text) {
        let _ = digest::verify(&credentials, "secret", &Method::Register);
        let _ = Nonces::new(&[7; 32], Duration::from_secs(60))
            .check(&credentials.nonce, Duration::from_secs(1));
    }
    let Ok(challenge) = Challenge::parse(&text) else { return };
    let method = Method::Invite;
    let ours = digest::answer(&challenge, "alice", "secret", &method, "sip:b@example.com", 1, "c");
    let written = ours.to_string();
    let Ok(credentials) = Credentials::parse(&written) else {
        panic!("our own credentials are not read: {written}");
    };
    assert!(digest::verify(&credentials, "secret", &method), "{written}");
    assert!(!digest::verify(&credentials, "other", &method), "{written}");
}

/// What is read and written again is read as the same.
pub fn uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(uri) = text.parse::<Uri>() {
        let written = uri.to_string();
        assert_eq!(written.parse().as_ref(), Ok(&uri), "{written}");
        assert!(uri.matches(&uri), "{written}");
    }
    if let Ok(address) = text.parse::<NameAddr>() {
        let written = address.to_string();
        assert_eq!(written.parse(), Ok(address), "{written}");
    }
    if let Ok(list) = Via::parse_list(&text) {
        for via in list {
            let written = via.to_string();
            let _ = (via.branch(), via.received(), via.rport());
            assert_eq!(Via::parse_list(&written), Ok(vec![via]), "{written}");
        }
    }
}
