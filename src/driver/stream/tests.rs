//! Streams on loopback, with and without TLS.

use std::io::Read;
use std::path::Path;

use super::*;
use crate::config::{Config, Environment, FileText};

struct World {
    executor: Rc<LocalExecutor<'static>>,
    streams: Streams,
    events: Receiver<Event>,
}

impl World {
    fn new(most: usize) -> Self {
        Self::with(most, "")
    }

    fn with(most: usize, config: &str) -> Self {
        let executor = Rc::new(LocalExecutor::new());
        let (sender, events) = smol::channel::bounded(16);
        let streams = Streams::new(executor.clone(), sender, tls(config), most);
        Self { streams, executor, events }
    }

    fn listen(&self, transport: Transport) -> SocketAddr {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.get_ref().local_addr().unwrap();
        self.streams.listen(0, transport, socket);
        address
    }

    fn next(&self) -> Event {
        let next = async {
            let give_up = async {
                Timer::after(Duration::from_secs(5)).await;
                panic!("nothing happened in 5 s");
            };
            self.events.recv().or(give_up).await.unwrap()
        };
        smol::block_on(self.executor.run(next))
    }

    fn accept(&mut self) -> Option<StreamId> {
        let Event::Accepted { socket, from } = self.next() else { panic!("no connection") };
        Some(self.streams.adopt(socket, from)?.0)
    }
}

#[test]
fn bytes_cross_and_a_close_comes_after_them() {
    let mut world = World::new(4);
    let mut peer = TcpStream::connect(world.listen(Transport::Tcp)).unwrap();
    let stream = world.accept().unwrap();
    assert_eq!(stream, StreamId(1));
    peer.write_all(b"OPTIONS").unwrap();
    assert!(matches!(world.next(), Event::Data { data, .. } if data == b"OPTIONS"));
    assert!(world.streams.write(stream, b"200".to_vec()));
    world.streams.close(stream);
    assert!(world.streams.is_empty());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        text
    });
    assert!(matches!(world.next(), Event::Closed { .. }));
    assert_eq!(reader.join().unwrap(), "200");
    assert!(!world.streams.forget(stream));
}

#[test]
fn connection_to_a_closed_port_is_closed() {
    let mut world = World::new(4);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.streams.connect(StreamId(2), Transport::Tcp, gone, String::new());
    assert!(matches!(world.next(), Event::Closed { stream: StreamId(2) }));
    assert!(world.streams.forget(StreamId(2)));
}

#[test]
fn what_is_queued_before_the_connection_stands_arrives() {
    let mut world = World::new(4);
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = peer.local_addr().unwrap();
    world.streams.connect(StreamId(2), Transport::Tcp, to, String::new());
    assert!(world.streams.write(StreamId(2), b"INVITE".to_vec()));
    assert!(matches!(world.next(), Event::Connected { stream: StreamId(2), .. }));
    let (mut socket, _) = peer.accept().unwrap();
    world.streams.close(StreamId(2));
    assert!(matches!(world.next(), Event::Closed { .. }));
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    assert_eq!(text, "INVITE");
}

#[test]
fn one_connection_too_many_is_refused() {
    let mut world = World::new(1);
    let address = world.listen(Transport::Tcp);
    let _first = TcpStream::connect(address).unwrap();
    let first = world.accept().unwrap();
    // `sip` decides which of the two goes.
    let _second = TcpStream::connect(address).unwrap();
    assert!(world.accept().is_some());
    let mut third = TcpStream::connect(address).unwrap();
    assert!(world.accept().is_none());
    assert_eq!(third.read(&mut [0; 1]).unwrap(), 0);
    world.streams.close(first);
    let _fourth = TcpStream::connect(address).unwrap();
    assert!(world.accept().is_some());
}

#[test]
fn connections_that_are_closed_in_masses_do_not_pile_up() {
    let mut world = World::new(1);
    let address = world.listen(Transport::Tcp);
    for _ in 0..CLOSING + 10 {
        let _peer = TcpStream::connect(address).unwrap();
        loop {
            if let Event::Accepted { socket, from } = world.next() {
                let (stream, _) = world.streams.adopt(socket, from).unwrap();
                world.streams.close(stream);
                break;
            }
        }
    }
    assert_eq!(world.streams.closing.len(), CLOSING);
}

#[test]
fn many_answers_in_one_turn_are_no_slow_peer() {
    let mut world = World::new(1);
    let mut peer = TcpStream::connect(world.listen(Transport::Tcp)).unwrap();
    let stream = world.accept().unwrap();
    peer.write_all(b"OPTIONS").unwrap();
    // The connection stands once its task has run.
    assert!(matches!(world.next(), Event::Data { .. }));
    let reader = std::thread::spawn(move || {
        let mut answers = vec![0; 400 * 350];
        peer.read_exact(&mut answers).unwrap();
        answers
    });
    for n in 0..400 {
        assert!(world.streams.write(stream, vec![n as u8; 350]), "{n}");
    }
    world.streams.close(stream);
    assert!(matches!(world.next(), Event::Closed { .. }));
    let answers = reader.join().unwrap();
    assert!(answers.chunks(350).enumerate().all(|(n, answer)| answer == [n as u8; 350]));
}

#[test]
fn peer_that_does_not_read_is_closed() {
    let mut world = World::new(1);
    let _peer = TcpStream::connect(world.listen(Transport::Tcp)).unwrap();
    let stream = world.accept().unwrap();
    // Nothing runs the task between two writes, as when the kernel takes nothing.
    let is_closed = (0..WRITE_MESSAGES).any(|_| !world.streams.write(stream, vec![0; 1024]));
    assert!(is_closed);
    assert!(world.streams.is_empty());
    assert!(!world.streams.write(stream, vec![0]));
}

/// Of a configuration whose files are those of `tests/data/tls`.
fn tls(text: &str) -> Tls {
    let environment = Environment {
        variable: &|_| None,
        file: &|path, _| {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
            Ok(FileText { text, modified_unix: 0 })
        },
        memory_bytes: 1 << 30,
    };
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/config.toml"));
    Tls::of(&Config::parse(path, text, &environment).unwrap()).unwrap()
}

const SERVER: &str = "[sip]\ntls = { cert = 'server.pem', key = 'server.key' }\n";
const TRUSTING: &str = "[sip]\ntls = { ca = 'ca.pem' }\n";

/// What two ends come to: whether ours that connects stands, and whether the listener's does.
fn shake_hands(server: &str, client: &str, name: &str) -> (bool, bool) {
    let mut server = World::with(4, server);
    let mut client = World::with(4, client);
    client.executor = server.executor.clone();
    client.streams.executor = server.executor.clone();
    let to = server.listen(Transport::Tls);
    client.streams.connect(StreamId(2), Transport::Tls, to, name.to_owned());
    assert!(server.accept().is_none(), "not before the handshake");
    let connected = matches!(client.next(), Event::Connected { .. });
    // With TLS 1.3 the client is done before its certificate is looked at.
    let stands = match server.next() {
        Event::Secured { stream, secure, .. } => {
            server.streams.adopt_secure(stream, secure).unwrap();
            assert!(client.streams.write(StreamId(2), b"OPTIONS".to_vec()));
            assert!(matches!(server.next(), Event::Data { data, .. } if data == b"OPTIONS"));
            assert!(server.streams.write(stream, b"200".to_vec()));
            assert!(matches!(client.next(), Event::Data { data, .. } if data == b"200"));
            server.streams.close(stream);
            assert!(matches!(client.next(), Event::Closed { .. }));
            true
        }
        Event::Closed { stream } => {
            assert!(!server.streams.forget(stream));
            false
        }
        _ => panic!("neither one nor the other"),
    };
    assert!(server.streams.handshakes.is_empty());
    (connected, stands)
}

#[test]
fn bytes_cross_over_tls_with_a_server_of_the_authority_that_is_trusted() {
    assert_eq!(shake_hands(SERVER, TRUSTING, "localhost"), (true, true));
    assert_eq!(shake_hands(SERVER, TRUSTING, "sip.example"), (true, true));
    assert_eq!(shake_hands(SERVER, TRUSTING, "127.0.0.1"), (true, true));
}

#[test]
fn server_of_another_name_or_authority_is_refused() {
    assert_eq!(shake_hands(SERVER, TRUSTING, "other.example"), (false, false));
    let elsewhere = "[sip]\ntls = { ca = 'other-ca.pem' }\n";
    assert_eq!(shake_hands(SERVER, elsewhere, "localhost"), (false, false));
    // The public authorities do not know it.
    assert_eq!(shake_hands(SERVER, "", "localhost"), (false, false));
}

#[test]
fn expired_server_is_refused() {
    let expired = SERVER.replace("server.", "expired.");
    assert_eq!(shake_hands(&expired, TRUSTING, "localhost"), (false, false));
}

#[test]
fn any_server_is_taken_where_none_is_verified() {
    let any = "[sip]\ntls = { verify = false }\n";
    assert_eq!(shake_hands(SERVER, any, "other.example"), (true, true));
}

#[test]
fn self_signed_server_is_taken_where_it_is_the_authority_itself() {
    let lab = SERVER.replace("server.", "self-signed.");
    let pinned = "[sip]\ntls = { ca = 'self-signed.pem' }\n";
    assert_eq!(shake_hands(&lab, pinned, "localhost"), (true, true));
    assert_eq!(shake_hands(&lab, pinned, "other.example"), (false, false));
    assert_eq!(shake_hands(&lab, TRUSTING, "localhost"), (false, false));
}

#[test]
fn trunk_with_an_authority_of_its_own_shows_its_certificate_or_is_refused() {
    let server = format!(
        "{SERVER}[[trunk]]\nname = 'pbx'\nserver = 'sip:pbx.example;transport=tls'\n\
         accept_from = ['127.0.0.0/8']\ntls = {{ ca = 'ca.pem' }}\n"
    );
    let showing = |own: &str| {
        format!("[sip]\ntls = {{ cert = '{own}.pem', key = '{own}.key', ca = 'ca.pem' }}\n")
    };
    assert_eq!(shake_hands(&server, &showing("client"), "localhost"), (true, true));
    assert!(!shake_hands(&server, TRUSTING, "localhost").1);
    assert!(!shake_hands(&server, &showing("stranger"), "localhost").1);
    // Those who come from elsewhere are phones.
    let elsewhere = server.replace("127.0.0.0/8", "192.0.2.10");
    assert_eq!(shake_hands(&elsewhere, TRUSTING, "localhost"), (true, true));
}

#[test]
fn trunk_has_its_own_certificate_and_trust() {
    let trunk = "[[trunk]]\nname = 'pbx'\nserver = 'sips:localhost'\n\
                 accept_from = ['127.0.0.1']\n\
                 tls = { cert = 'client.pem', key = 'client.key', ca = 'ca.pem' }\n";
    assert_eq!(shake_hands(SERVER, trunk, "localhost"), (true, true));
    assert_eq!(shake_hands(SERVER, trunk, "sip.example"), (false, false));
}

#[test]
fn certificates_are_read_again() {
    let mut world = World::with(4, SERVER);
    let address = world.listen(Transport::Tls);
    world.streams.set_tls(tls(&SERVER.replace("server.", "self-signed.")));
    let pinned = "[sip]\ntls = { ca = 'self-signed.pem' }\n";
    let mut client = World::with(4, pinned);
    client.executor = world.executor.clone();
    client.streams.executor = world.executor.clone();
    client.streams.connect(StreamId(2), Transport::Tls, address, "localhost".to_owned());
    assert!(world.accept().is_none());
    assert!(matches!(client.next(), Event::Connected { .. }));
}

#[test]
fn handshakes_that_never_end_do_not_pile_up() {
    let mut world = World::with(4, SERVER);
    let address = world.listen(Transport::Tls);
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES + 10 {
        silent.push(TcpStream::connect(address).unwrap());
        assert!(world.accept().is_none());
    }
    assert_eq!(world.streams.handshakes.len(), HANDSHAKES);
    assert!(world.streams.is_empty());
    // What was dropped goes when the executor comes to it.
    while world.executor.try_tick() {}
    silent[9].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(silent[9].read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn source_with_most_handshakes_loses_its_oldest() {
    let executor = LocalExecutor::new();
    let handshake = |number, source: &str| Handshake {
        stream: StreamId(number),
        source: source.parse().unwrap(),
        _task: executor.spawn(async {}),
    };
    let one = handshake(1, "192.0.2.1");
    let handshakes = [one, handshake(3, "192.0.2.66"), handshake(5, "192.0.2.66")].into();
    assert_eq!(oldest_of_the_busiest(&handshakes), 1);
}

#[test]
fn bytes_that_are_no_handshake_end_the_connection() {
    let mut world = World::with(4, SERVER);
    let mut peer = TcpStream::connect(world.listen(Transport::Tls)).unwrap();
    peer.write_all(b"OPTIONS sip:a SIP/2.0\r\n\r\n").unwrap();
    assert!(world.accept().is_none());
    assert!(matches!(world.next(), Event::Closed { .. }));
}
