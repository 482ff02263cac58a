//! A media thread on the sockets of this machine.

use super::super::test_allocator::allocations_of;
use super::super::test_traffic_class::{next_traffic_class, tell_traffic_class};
use super::*;
use crate::media::engine::{Codec, DigitSources, Layout, StreamSettings};
use crate::media::format::{Format, Formats, OpusSettings, Reports};
use crate::media::frame::Rate;

#[test]
fn full_channel_drops_levels_and_keeps_ends_in_order() {
    let (sender, receiver) = smol::channel::bounded(1);
    let mut events = Events { thread: 3, events: sender, backlog: VecDeque::new() };
    let finished = |n| Event::Finished { unit: UnitId(n) };
    events.push(finished(1));
    events.push(Event::FirstPacket { unit: UnitId(2) });
    events.push(finished(2));
    events.push(finished(3));
    assert_eq!(receiver.try_recv().unwrap(), (3, finished(1)));
    events.catch_up();
    assert_eq!(receiver.try_recv().unwrap(), (3, finished(2)));
    assert!(events.retry_at().is_some());
    events.catch_up();
    assert_eq!(receiver.try_recv().unwrap(), (3, finished(3)));
    assert!(events.retry_at().is_none());
}

struct World {
    handle: MediaHandle,
    events: smol::channel::Receiver<(usize, Event)>,
    recorded: std::sync::mpsc::Receiver<(UnitId, usize)>,
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

impl World {
    fn new(first: u16) -> Self {
        let (sender, events) = smol::channel::bounded(64);
        let (samples, recorded) = std::sync::mpsc::channel();
        let config =
            Config { ports: (first, first + 99), units: 16, rtp_timeout: Duration::from_secs(7) };
        let take = move |unit, block: Vec<i16>| samples.send((unit, block.len())).is_ok();
        let handle = spawn(0, config, Random::seeded(1), take, sender).unwrap();
        Self { handle, events, recorded }
    }

    fn event(&self) -> Event {
        self.events.recv_blocking().unwrap().1
    }

    /// A call to a peer on a socket of its own, and where the peer reaches it.
    fn call(&self, unit: UnitId) -> (UdpSocket, SocketAddr) {
        let peer = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(self.handle.send(Command::Open { unit, address: LOOPBACK }));
        let Event::Opened { port, .. } = self.event() else { panic!("not opened") };
        let settings = settings(peer.local_addr().unwrap(), Codec::Pcmu);
        assert!(self.handle.send(Command::Configure { unit, settings }));
        (peer, SocketAddr::new(LOOPBACK, port))
    }
}

/// RTP and RTCP to this address.
fn settings(remote: SocketAddr, codec: Codec) -> StreamSettings {
    let payload_type = if codec == Codec::Pcma { 8 } else { 0 };
    StreamSettings {
        remote,
        remote_rtcp: remote,
        rtcp_mux: true,
        codec,
        payload_type,
        formats: Formats::new([
            (payload_type, Format::Audio(codec)),
            (101, Format::Event(Rate::Narrow)),
        ]),
        dtmf_payload_type: Some(101),
        dtmf_clock: Rate::Narrow,
        noise_payload_type: None,
        opus: OpusSettings::default(),
        reports: Reports::default(),
        srtp: None,
        sends: true,
        receives: true,
        ptime: Duration::from_millis(20),
    }
}

/// Apart from those of other checkouts' tests on this machine, below the ephemeral ones. Tests
/// share them: a port that is taken is passed over.
fn first_port() -> u16 {
    20_000 + (std::process::id() % 120) as u16 * 100
}

#[test]
fn joined_calls_hear_each_other_over_real_sockets() {
    let world = World::new(first_port());
    let (a, b) = (UnitId(1), UnitId(2));
    let (peer_a, at_a) = world.call(a);
    let (peer_b, _) = world.call(b);
    world.handle.send(Command::Route { from: a, to: b });
    let recorder = UnitId(3);
    let layout = Layout::Mono;
    world.handle.send(Command::RecordCall { unit: recorder, call: a, layout, rate: Rate::Narrow });
    let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
    packet.extend([0x55; 160]);
    peer_a.send_to(&packet, at_a).unwrap();
    let mut buffer = [0; 2048];
    loop {
        let (length, _) = peer_b.recv_from(&mut buffer).unwrap();
        // Silence may come before it.
        if length == 172 && buffer[12..172] == [0x55; 160] {
            break;
        }
    }
    // Silence to A shows that some time has passed for the recorder; what waits already went
    // out before that was there.
    peer_a.set_nonblocking(true).unwrap();
    while peer_a.recv_from(&mut buffer).is_ok() {}
    peer_a.set_nonblocking(false).unwrap();
    for _ in 0..3 {
        peer_a.recv_from(&mut buffer).unwrap();
    }
    world.handle.send(Command::Close { unit: recorder });
    world.handle.send(Command::Close { unit: a });
    let mut closed = Vec::new();
    while closed.len() < 2 {
        if let Event::Closed { unit, .. } = world.event() {
            closed.push(unit);
        }
    }
    assert_eq!(closed, [recorder, a]);
    let recorded = world.recorded.recv_timeout(Duration::from_secs(10));
    assert_eq!(recorded.unwrap().0, recorder);
    // The port is free again; a child that another test has just forked may hold it until it
    // becomes another program. Dropping the handle frees the other.
    let give_up = Instant::now() + Duration::from_secs(10);
    while UdpSocket::bind(at_a).is_err() {
        assert!(Instant::now() < give_up, "{at_a} is still taken");
        std::thread::yield_now();
    }
    drop(world);
}

#[test]
fn address_before_a_nat_is_bound_as_any_of_its_family() {
    // RFC 5737 and RFC 3849: nobody has these.
    for public in ["192.0.2.77", "2001:db8::77"] {
        let public: IpAddr = public.parse().unwrap();
        let bound = open(public, 0).unwrap().local_addr().unwrap().ip();
        assert!(bound.is_unspecified() && bound.is_ipv4() == public.is_ipv4(), "{bound}");
    }
}

#[test]
fn port_that_somebody_has_is_passed_over() {
    let taken = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    // The pair's RTP port where it is even, else its RTCP port.
    let first = taken.local_addr().unwrap().port() & !1;
    let world = World::new(first);
    let (_, at) = world.call(UnitId(1));
    assert!(at.port() > first && at.port().is_multiple_of(2), "{at}");
}

/// A media thread that takes its turns on the thread of the test.
struct ByHand {
    thread: MediaThread<fn(UnitId, Vec<i16>) -> bool>,
    commands: SyncSender<Command>,
    events: smol::channel::Receiver<(usize, Event)>,
    pace: Pace,
    tokens: Vec<u64>,
}

impl ByHand {
    fn new() -> Self {
        let (sender, events) = smol::channel::bounded(64);
        let (commands, receiver) = sync_channel(COMMANDS);
        let now = Instant::now();
        let first = first_port();
        let config =
            Config { ports: (first, first + 99), units: 16, rtp_timeout: Duration::from_secs(7) };
        let thread = MediaThread {
            engine: Engine::new(now, config, Random::seeded(1)),
            poller: Poller::new().unwrap(),
            commands: receiver,
            sockets: Vec::new(),
            samples: (|_, _| true) as fn(UnitId, Vec<i16>) -> bool,
            events: Events { thread: 0, events: sender, backlog: VecDeque::new() },
        };
        let tokens = Vec::with_capacity(MOST_READY);
        Self { thread, commands, events, pace: Pace::new(now), tokens }
    }

    fn turn(&mut self) {
        assert!(self.thread.turn(&mut self.pace, &mut self.tokens).unwrap());
    }

    fn tell(&mut self, command: Command) {
        self.commands.send(command).unwrap();
        self.thread.poller.bell().ring();
        self.turn();
    }

    /// A call to a peer on a socket of its own, and where the peer reaches it.
    fn call(&mut self, unit: UnitId, codec: Codec) -> (UdpSocket, SocketAddr) {
        let peer = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        peer.set_nonblocking(true).unwrap();
        self.tell(Command::Open { unit, address: LOOPBACK });
        let Ok((_, Event::Opened { port, .. })) = self.events.try_recv() else {
            panic!("not opened")
        };
        let settings = settings(peer.local_addr().unwrap(), codec);
        self.tell(Command::Configure { unit, settings });
        let sources = DigitSources { telephone_event: true, ..DigitSources::default() };
        self.tell(Command::ListenDigits { unit, sources });
        (peer, SocketAddr::new(LOOPBACK, port))
    }
}

fn packet(payload_type: u8, number: u16) -> [u8; 172] {
    let mut packet = [0x2a; 172];
    packet[..2].copy_from_slice(&[0x80, payload_type]);
    packet[2..4].copy_from_slice(&number.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(number) * 160).to_be_bytes());
    packet
}

#[test]
fn packets_that_are_passed_on_allocate_nothing() {
    // The first packets and the first round of ticks make the buffers.
    const WARM_UP: u16 = 100;
    for other in [Codec::Pcmu, Codec::Pcma] {
        let mut media = ByHand::new();
        let (a, b) = (UnitId(1), UnitId(2));
        let (peer_a, at_a) = media.call(a, Codec::Pcmu);
        let (peer_b, at_b) = media.call(b, other);
        media.tell(Command::Route { from: a, to: b });
        media.tell(Command::Route { from: b, to: a });
        let payload_type = if other == Codec::Pcma { 8 } else { 0 };
        let (mut allocations, mut passed) = (0, 0);
        for number in 0..300 {
            if number == WARM_UP {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(250) {
                    media.turn();
                }
            }
            peer_a.send_to(&packet(0, number), at_a).unwrap();
            peer_b.send_to(&packet(payload_type, number), at_b).unwrap();
            let mut heard = (false, false);
            while heard != (true, true) {
                let count = allocations_of(|| media.turn());
                let mut buffer = [0; 2048];
                // Silence that comes from the tick carries zeros.
                let mut hears = |peer: &UdpSocket| {
                    matches!(peer.recv(&mut buffer), Ok(172)) && buffer[12] & 0x7f != 0x7f
                };
                heard.0 |= hears(&peer_a);
                heard.1 |= hears(&peer_b);
                if number >= WARM_UP {
                    allocations += count;
                }
            }
            passed += 2;
        }
        assert_eq!((passed, allocations), (600, 0), "{other:?}");
    }
}

/// RFC 3246: EF is 46 of six bits, above the two of ECN.
#[test]
fn rtp_and_rtcp_are_marked_as_expedited() {
    let mut media = ByHand::new();
    let (a, b) = (UnitId(1), UnitId(2));
    let (peer_a, at_a) = media.call(a, Codec::Pcmu);
    let (peer_b, _) = media.call(b, Codec::Pcmu);
    let control = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for socket in [&peer_b, &control] {
        tell_traffic_class(socket);
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let settings = StreamSettings {
        remote_rtcp: control.local_addr().unwrap(),
        rtcp_mux: false,
        ..settings(peer_b.local_addr().unwrap(), Codec::Pcmu)
    };
    media.tell(Command::Configure { unit: b, settings });
    media.tell(Command::Route { from: a, to: b });
    peer_a.send_to(&packet(0, 1), at_a).unwrap();
    media.turn();
    assert_eq!(next_traffic_class(&peer_b), Some(0xb8));
    media.tell(Command::Close { unit: b });
    assert_eq!(next_traffic_class(&control), Some(0xb8), "the report with BYE");
}

#[test]
fn ipv6_is_marked_as_expedited_too() {
    let peer = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    tell_traffic_class(&peer);
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let ours = open(IpAddr::V6(Ipv6Addr::LOCALHOST), 0).unwrap();
    ours.send_to(&[0; 12], peer.local_addr().unwrap()).unwrap();
    assert_eq!(next_traffic_class(&peer), Some(0xb8));
}

/// More than one batch, at one wake.
#[test]
fn all_packets_of_a_wake_are_passed_on_in_their_order() {
    let mut media = ByHand::new();
    let calls: Vec<_> = (0..8).map(|n| (n, media.call(UnitId(n), Codec::Pcmu))).collect();
    for n in 0..8 {
        media.tell(Command::Route { from: UnitId(n), to: UnitId(n ^ 1) });
    }
    const EACH: u16 = 2 * BATCH as u16 / 8;
    for number in 0..EACH {
        for (_, (peer, at)) in &calls {
            peer.send_to(&packet(0, number), at).unwrap();
        }
    }
    // One packet of each socket at a turn.
    for _ in 0..EACH {
        media.turn();
    }
    for (n, (peer, _)) in &calls {
        let mut buffer = [0; 2048];
        let mut numbers = Vec::new();
        while let Ok(172) = peer.recv(&mut buffer) {
            if buffer[12] == 0x2a {
                numbers.push(u16::from_be_bytes([buffer[2], buffer[3]]));
            }
        }
        assert_eq!(numbers.len(), usize::from(EACH), "{n}");
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
    }
}
