//! Carries DNS questions to servers and answers back: one task for each question, each query from
//! a socket of its own on a port that the system chooses at random, connected to its server, so
//! that nobody else's packets come through.
//!
//! `/etc/hosts` and `/etc/resolv.conf` are read again, on the blocking pool, when they changed.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use smol::Timer;
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::lock::{Mutex, Semaphore};
use smol::net::{TcpStream, UdpSocket};

use super::culprit::Culprit;
use crate::dns::exchange::{Exchange, Input, Output, Over};
use crate::dns::local::{Hosts, System};
use crate::dns::servers::Servers;
use crate::dns::{Answer, Question, Settings};
use crate::random::Random;

/// Answers questions, a few at one time.
#[derive(Clone)]
pub struct Resolver {
    shared: Rc<RefCell<Shared>>,
    /// Full: the next waits in line; `sip` has at most 64 questions open.
    places: Rc<Semaphore>,
    /// Held while the files are read: who asks first finds them read too.
    reading: Rc<Mutex<()>>,
}

struct Shared {
    settings: Settings,
    servers: Servers,
    hosts: Hosts,
    system: System,
    files: Files,
    random: Random,
}

/// The files as they were read last, by the time of their change.
#[derive(Clone, Copy, Default)]
struct Files {
    looked: Option<Instant>,
    hosts: Option<SystemTime>,
    system: Option<SystemTime>,
}

impl Resolver {
    pub fn new(settings: Settings, random: Random) -> Self {
        let shared = Shared {
            settings,
            servers: Servers::default(),
            hosts: Hosts::default(),
            system: System::default(),
            files: Files::default(),
            random,
        };
        Self {
            shared: Rc::new(RefCell::new(shared)),
            places: Rc::new(Semaphore::new(QUESTIONS)),
            reading: Rc::default(),
        }
    }

    /// Other servers and times from now on.
    pub fn configure(&self, settings: Settings) {
        self.shared.borrow_mut().settings = settings;
    }

    /// What this machine or a server says; always comes to an end, by the exchange's own times.
    pub async fn answer(&self, question: Question) -> Answer {
        let _place = self.places.acquire().await;
        self.look_at_files().await;
        if let Some(answer) = self.shared.borrow().hosts.answer(&question) {
            return answer;
        }
        let questions = self.shared.borrow().system.questions(&question);
        let mut last = Answer::Failed;
        for question in questions {
            last = self.ask(question).await;
            if matches!(last, Answer::Records { .. }) {
                break;
            }
        }
        last
    }

    async fn ask(&self, question: Question) -> Answer {
        let mut exchange = self.shared.borrow_mut().exchange(question);
        let mut socket = None;
        loop {
            match exchange.poll_output() {
                Some(Output::Done(answer)) => {
                    self.shared.borrow_mut().note(&exchange);
                    return answer;
                }
                Some(Output::Ask { server, over: Over::Udp, data }) => {
                    socket = send(server, &data).await.ok().map(|socket| (socket, server));
                    if socket.is_none() {
                        feed(&mut exchange, Input::Unreachable);
                    }
                }
                Some(Output::Ask { server, over: Over::Tcp, data }) => {
                    socket = None;
                    let until = exchange.poll_timeout();
                    match within(until, over_tcp(server, &data)).await {
                        Some(Ok(data)) => {
                            let (from, over) = (server, Over::Tcp);
                            feed(&mut exchange, Input::Message { from, over, data: &data });
                        }
                        Some(Err(_)) => feed(&mut exchange, Input::Unreachable),
                        None => feed(&mut exchange, Input::Timeout),
                    }
                }
                None => receive(&mut exchange, socket.as_ref()).await,
            }
        }
    }

    async fn look_at_files(&self) {
        let _alone = self.reading.lock().await;
        let Files { looked, hosts, system } = self.shared.borrow().files;
        if looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        let (hosts, system) = smol::unblock(move || {
            (changed("/etc/hosts", hosts), changed("/etc/resolv.conf", system))
        })
        .await;
        let mut shared = self.shared.borrow_mut();
        shared.files.looked = Some(Instant::now());
        if let Some((time, text)) = hosts {
            (shared.files.hosts, shared.hosts) = (Some(time), Hosts::parse(&text));
        }
        if let Some((time, text)) = system {
            (shared.files.system, shared.system) = (Some(time), System::parse(&text));
        }
    }
}

impl Shared {
    fn exchange(&mut self, question: Question) -> Exchange {
        let now = Instant::now();
        let configured = match self.settings.servers.is_empty() {
            true => &self.system.servers,
            false => &self.settings.servers,
        };
        self.servers.set(configured);
        let settings = Settings {
            attempts: self.servers.attempts(now, &self.settings),
            ..self.settings.clone()
        };
        let servers = self.servers.in_order(now);
        Exchange::new(now, question, servers, &settings, self.random.fork())
    }

    fn note(&mut self, exchange: &Exchange) {
        for server in exchange.silent() {
            self.servers.note_silence(Instant::now(), *server);
        }
    }
}

/// A bug of ours that a server's message meets costs its question only.
fn feed(exchange: &mut Exchange, input: Input<'_>) {
    let now = Instant::now();
    let survived = Culprit::Resolver(0).guard(|| exchange.handle_input(now, input));
    if survived.is_none() {
        exchange.give_up();
    }
}

/// Waits for the next message, or for the time to be over.
async fn receive(exchange: &mut Exchange, socket: Option<&(UdpSocket, SocketAddr)>) {
    let mut buffer = [0; UDP_BYTES];
    let received = async {
        match socket {
            Some((socket, _)) => socket.recv(&mut buffer).await,
            None => std::future::pending().await,
        }
    };
    match (within(exchange.poll_timeout(), received).await, socket) {
        (Some(Ok(length)), Some((_, server))) => {
            let data = &buffer[..length.min(UDP_BYTES)];
            feed(exchange, Input::Message { from: *server, over: Over::Udp, data });
        }
        // The server's machine says that nobody listens there.
        (Some(_), _) => feed(exchange, Input::Unreachable),
        (None, _) => feed(exchange, Input::Timeout),
    }
}

/// `None`: the time came first.
async fn within<T>(until: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    let time = async {
        match until {
            Some(until) => Timer::at(until).await,
            None => std::future::pending().await,
        };
        None
    };
    async { Some(work.await) }.or(time).await
}

async fn send(server: SocketAddr, data: &[u8]) -> io::Result<UdpSocket> {
    let own = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).await?;
    socket.connect(server).await?;
    socket.send(data).await?;
    Ok(socket)
}

async fn over_tcp(server: SocketAddr, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(data.len()).map_err(io::Error::other)?;
    let message = [&length.to_be_bytes(), data].concat();
    stream.write_all(&message).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > TCP_BYTES {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The start of a file that changed since; a file that is gone counts as unchanged.
fn changed(path: &str, since: Option<SystemTime>) -> Option<(SystemTime, String)> {
    let file = File::open(path).ok()?;
    let time = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
    if since == Some(time) {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some((time, String::from_utf8_lossy(&bytes).into_owned()))
}

/// At one time; each holds a socket.
const QUESTIONS: usize = 16;
/// We say 1232; some servers send more.
const UDP_BYTES: usize = 4096;
/// Of one answer: hundreds of records.
const TCP_BYTES: usize = 16 << 10;
const FILE_BYTES: u64 = 256 << 10;
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Kind, Record};
    use simple_dns::rdata::{A, RData};
    use simple_dns::{CLASS, Packet, PacketFlag, ResourceRecord};

    /// The answer `192.0.2.<last>` to a query, or its truncated start.
    fn reply(query: &[u8], last: u8, is_truncated: bool) -> Vec<u8> {
        let mut packet = Packet::parse(query).unwrap().into_reply();
        let name = packet.questions[0].qname.clone();
        match is_truncated {
            true => packet.set_flags(PacketFlag::TRUNCATION),
            false => {
                let data = RData::A(A { address: u32::from_be_bytes([192, 0, 2, last]) });
                packet.answers.push(ResourceRecord::new(name, CLASS::IN, 60, data));
            }
        }
        packet.build_bytes_vec().unwrap()
    }

    fn resolver(servers: Vec<SocketAddr>) -> Resolver {
        let patience = Duration::from_millis(200);
        Resolver::new(Settings { servers, patience, attempts: 1 }, Random::System)
    }

    fn expected(last: u8) -> Answer {
        let records = vec![Record::Address(IpAddr::V4([192, 0, 2, last].into()))];
        Answer::Records { records, ttl: Duration::from_secs(60) }
    }

    fn question() -> Question {
        Question::new("pbx.example", Kind::A)
    }

    #[test]
    fn truncated_answer_is_fetched_over_tcp() {
        smol::block_on(async {
            let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = listener.local_addr().unwrap();
            let socket = UdpSocket::bind(server).await.unwrap();
            let serve = async {
                let mut buffer = [0; 1500];
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                socket.send_to(&reply(&buffer[..length], 0, true), from).await.unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).await.unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).await.unwrap();
                let answer = reply(&query, 7, false);
                stream.write_all(&(answer.len() as u16).to_be_bytes()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            };
            let resolver = resolver(vec![server]);
            let (answer, ()) = smol::future::zip(resolver.answer(question()), serve).await;
            assert_eq!(answer, expected(7));
        });
    }

    #[test]
    fn dead_and_silent_servers_give_way_to_the_next() {
        smol::block_on(async {
            let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let good = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let servers = vec![dead, silent.local_addr().unwrap(), good.local_addr().unwrap()];
            let serve = async {
                let mut buffer = [0; 1500];
                let (length, from) = good.recv_from(&mut buffer).await.unwrap();
                // Broken first, then what was asked for.
                good.send_to(b"nonsense", from).await.unwrap();
                good.send_to(&reply(&buffer[..length], 9, false), from).await.unwrap();
            };
            let resolver = resolver(servers);
            let (answer, ()) = smol::future::zip(resolver.answer(question()), serve).await;
            assert_eq!(answer, expected(9));
        });
    }

    #[test]
    fn localhost_is_known_and_no_server_is_no_answer() {
        smol::block_on(async {
            let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let resolver = resolver(vec![dead]);
            let local = resolver.answer(Question::new("localhost", Kind::A)).await;
            assert!(matches!(local, Answer::Records { .. }), "{local:?}");
            assert_eq!(resolver.answer(question()).await, Answer::Failed);
        });
    }
}
