//! A media thread: one engine, its RTP sockets, its own poller.
//!
//! It neither allocates nor logs per packet and waits for nobody: a packet that the system does
//! not take is dropped, an event that finds the reactor's channel full is kept back or, where a
//! later one says the same, dropped.
//!
//! Few packets are forwarded as they arrive. As they become many, it wakes at most once in two
//! milliseconds: what a wake costs, several times a packet's own work, is then shared by all
//! packets of that time.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto, sockopt};
use smol::channel::{Sender, TrySendError as Full};

use super::poll::{Bell, MOST_READY, Poller, run_with_priority, sleep_exactly, sleep_until};
use crate::media::engine::{Command, Config, Engine, Event, Input, Output, SocketId, UnitId};
use crate::random::Random;
use crate::stats;

/// The way to a media thread. Dropped, it ends the thread with all its calls.
#[derive(Debug)]
pub struct MediaHandle {
    /// `None` while it is being dropped.
    commands: Option<SyncSender<Command>>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl MediaHandle {
    /// Whether there was room for the command.
    pub fn send(&self, command: Command) -> bool {
        let Some(commands) = &self.commands else { return false };
        match commands.try_send(command) {
            Ok(()) => {
                self.bell.ring();
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Drop for MediaHandle {
    fn drop(&mut self) {
        self.commands = None;
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // It panicked only if a bug of ours was caught and met again; the log has it.
            let _ = thread.join();
        }
    }
}

/// Starts media thread number `thread`. `samples` takes what recorders recorded and says whether
/// it had room; it must not wait.
///
/// # Errors
/// Where the system has no thread, epoll or timer left.
pub fn spawn(
    thread: usize,
    config: Config,
    random: Random,
    samples: impl FnMut(UnitId, Vec<i16>) -> bool + Send + 'static,
    events: Sender<(usize, Event)>,
) -> io::Result<MediaHandle> {
    let poller = Poller::new()?;
    let bell = poller.bell();
    let (sender, commands) = sync_channel(COMMANDS);
    let run = move || {
        if let Err(error) = run_with_priority() {
            log::debug!("media-{thread} runs without priority: {error}");
        }
        sleep_exactly();
        let engine = Engine::new(Instant::now(), config, random);
        let events = Events { thread, events, backlog: VecDeque::new() };
        let sockets = Vec::new();
        MediaThread { engine, poller, commands, sockets, samples, events }.run();
    };
    let thread = std::thread::Builder::new()
        .name(format!("media-{thread}"))
        .stack_size(STACK_BYTES)
        .spawn(run)?;
    Ok(MediaHandle { commands: Some(sender), bell, thread: Some(thread) })
}

struct MediaThread<S> {
    engine: Engine,
    poller: Poller,
    commands: Receiver<Command>,
    /// By `SocketId`.
    sockets: Vec<Option<Pair>>,
    samples: S,
    events: Events,
}

/// RTP and RTCP.
struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl<S: FnMut(UnitId, Vec<i16>) -> bool> MediaThread<S> {
    fn run(mut self) {
        let mut pace = Pace::new(Instant::now());
        let mut tokens = Vec::with_capacity(MOST_READY);
        let mut panics = 0;
        loop {
            // A bug costs the turn it is met in, not every call of this thread.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(&mut pace, &mut tokens)));
            match turn {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    log::error!("media thread cannot wait for packets: {error}");
                    sleep_until(Instant::now() + RECOVERY);
                }
                Err(_) => {
                    panics += 1;
                    stats::MEDIA_PANICS.add(1);
                    log::error!("a bug in media was met: please report the lines above");
                    if panics == MOST_PANICS {
                        return;
                    }
                    sleep_until(Instant::now() + RECOVERY);
                }
            }
        }
    }

    /// Waits, reads, lets the engine work, sends. Whether to go on.
    fn turn(&mut self, pace: &mut Pace, tokens: &mut Vec<u64>) -> io::Result<bool> {
        let deadline = [self.engine.poll_timeout(), self.events.retry_at()];
        self.poller.wait(deadline.into_iter().flatten().min(), tokens)?;
        let now = Instant::now();
        if !self.take_commands(now) {
            return Ok(false);
        }
        for &token in tokens.iter() {
            self.read(now, token);
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_input(now, Input::Timeout);
            self.flush(now);
        }
        self.events.catch_up();
        if let Some(next) = pace.next_wake(now, tokens.len()) {
            sleep_until(next);
        }
        Ok(true)
    }

    /// Whether there can be more.
    fn take_commands(&mut self, now: Instant) -> bool {
        for _ in 0..COMMANDS {
            match self.commands.try_recv() {
                Ok(command) => {
                    self.engine.handle_input(now, Input::Command(command));
                    self.flush(now);
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// One packet; if there are more, the poller says so again.
    fn read(&mut self, now: Instant, token: u64) {
        let (socket, is_rtcp) = (SocketId((token >> 1) as u32), token & 1 != 0);
        let Some(Some(pair)) = self.sockets.get(socket.0 as usize) else { return };
        let from = if is_rtcp { &pair.rtcp } else { &pair.rtp };
        let mut buffer = [MaybeUninit::uninit(); PACKET_BYTES];
        // An error is one that a packet of ours came back with: reading has taken it away.
        let Ok(((data, _), _, Some(from))) = recvfrom(from, &mut buffer[..], RecvFlags::DONTWAIT)
        else {
            return;
        };
        let Ok(from) = SocketAddr::try_from(from) else { return };
        let input = match is_rtcp {
            // Whatever fills the buffer is longer than any RTP packet.
            _ if data.len() == PACKET_BYTES => return stats::RTP_INVALID.add(1),
            false => Input::Rtp { socket, from, data: &*data },
            true => Input::Rtcp { socket, from, data },
        };
        self.engine.handle_input(now, input);
        self.flush(now);
    }

    /// Sends and carries out what the engine wants.
    fn flush(&mut self, now: Instant) {
        loop {
            while let Some(transmit) = self.engine.poll_transmit() {
                let Some(Some(pair)) = self.sockets.get(transmit.socket.0 as usize) else {
                    continue;
                };
                let socket = if transmit.is_rtcp { &pair.rtcp } else { &pair.rtp };
                if sendto(socket, transmit.data, SendFlags::DONTWAIT, &transmit.to).is_err() {
                    stats::RTP_NOT_SENT.add(1);
                }
            }
            let Some(output) = self.engine.poll_output() else { return };
            self.carry_out(now, output);
        }
    }

    fn carry_out(&mut self, now: Instant, output: Output) {
        match output {
            Output::Bind { socket, address, port } => {
                let input = match self.bind(socket, address, port) {
                    Ok(()) => Input::Bound { socket },
                    Err(error) => {
                        log::debug!("port {port} of {address} cannot be had: {error}");
                        Input::BindFailed { socket }
                    }
                };
                self.engine.handle_input(now, input);
            }
            Output::Unbind { socket } => {
                if let Some(place) = self.sockets.get_mut(socket.0 as usize) {
                    *place = None;
                }
            }
            Output::Recorded { unit, samples } => {
                if !(self.samples)(unit, samples) {
                    stats::MEDIA_SAMPLES_DROPPED.add(1);
                }
            }
            Output::Event(event) => self.events.push(event),
        }
    }

    fn bind(&mut self, socket: SocketId, address: IpAddr, port: u16) -> io::Result<()> {
        let pair = Pair { rtp: open(address, port)?, rtcp: open(address, port.saturating_add(1))? };
        let token = u64::from(socket.0) << 1;
        self.poller.add(&pair.rtp, token)?;
        self.poller.add(&pair.rtcp, token | 1)?;
        let place = socket.0 as usize;
        if self.sockets.len() <= place {
            self.sockets.resize_with(place + 1, || None);
        }
        self.sockets[place] = Some(pair);
        Ok(())
    }
}

fn open(address: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = match UdpSocket::bind((address, port)) {
        // The address before a NAT, which is ours for others only.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let any = match address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            UdpSocket::bind((any, port))?
        }
        bound => bound?,
    };
    // Voice before data, where the network heeds it; where the system refuses, without.
    let _ = match address {
        IpAddr::V4(_) => sockopt::set_ip_tos(&socket, EXPEDITED),
        IpAddr::V6(_) => sockopt::set_ipv6_tclass(&socket, EXPEDITED.into()),
    };
    Ok(socket)
}

/// Events towards the reactor.
struct Events {
    thread: usize,
    events: Sender<(usize, Event)>,
    /// What found the channel full, in order. Full: the event is lost, counted as
    /// `media_events_dropped`.
    backlog: VecDeque<Event>,
}

impl Events {
    fn push(&mut self, event: Event) {
        let is_level = matches!(
            event,
            Event::FirstPacket { .. }
                | Event::RtpStopped { .. }
                | Event::RtpResumed { .. }
                | Event::Marked { .. }
                | Event::Buffering { .. }
        );
        let event = match self.backlog.is_empty() {
            true => match self.events.try_send((self.thread, event)) {
                Ok(()) | Err(Full::Closed(_)) => return,
                Err(Full::Full((_, event))) => event,
            },
            false => event,
        };
        if is_level || self.backlog.len() == BACKLOG {
            stats::MEDIA_EVENTS_DROPPED.add(1);
        } else {
            self.backlog.push_back(event);
        }
    }

    fn catch_up(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.events.try_send((self.thread, event)) {
                Ok(()) => {}
                Err(Full::Full((_, event))) => return self.backlog.push_front(event),
                Err(Full::Closed(_)) => return self.backlog.clear(),
            }
        }
    }

    fn retry_at(&self) -> Option<Instant> {
        (!self.backlog.is_empty()).then(|| Instant::now() + RETRY)
    }
}

/// How often the thread wakes.
#[derive(Debug)]
struct Pace {
    since: Instant,
    packets: usize,
    /// The least time from one wake to the next.
    interval: Duration,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { since: now, packets: 0, interval: Duration::ZERO }
    }

    /// After a wake at `now` that brought so many packets: when the next may be, if not at once.
    fn next_wake(&mut self, now: Instant, packets: usize) -> Option<Instant> {
        self.packets += packets;
        let measured = now.saturating_duration_since(self.since);
        if measured >= MEASURE {
            let per_second = self.packets as u128 * 1000 / measured.as_millis().max(1);
            self.interval = if per_second < MANY { Duration::ZERO } else { COALESCED };
            (self.since, self.packets) = (now, 0);
        }
        (!self.interval.is_zero()).then(|| now + self.interval)
    }
}

/// Commands of one media thread under way. Full: `MediaHandle::send` says so.
pub const COMMANDS: usize = 1024;
const BACKLOG: usize = 1024;
const RETRY: Duration = Duration::from_millis(5);
/// What the engine and the buffers on the stack take is a few KiB, and libopus up to 48.
const STACK_BYTES: usize = 256 << 10;
/// Longer than any RTP packet on a link of 1500 bytes.
const PACKET_BYTES: usize = 2048;
/// DSCP EF (RFC 3246) in the upper six bits.
const EXPEDITED: u8 = 46 << 2;
/// How long packets are counted before the pace changes.
const MEASURE: Duration = Duration::from_millis(100);
/// Packets per second: 150 joined calls of 20 ms. Below, bursts make batches by themselves, and
/// short sleeps cost more wakes than they save (measured at 100 calls).
const MANY: u128 = 15_000;
/// 200 calls cost 0.030 CPU-s per call-minute with it and 0.040 with 1 ms.
const COALESCED: Duration = Duration::from_millis(2);
/// After an error that would meet the thread again at once.
const RECOVERY: Duration = Duration::from_millis(20);
const MOST_PANICS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::engine::{Codec, Layout, StreamSettings};
    use crate::media::format::{Formats, OpusSettings, Reports};
    use crate::media::frame::Rate;

    #[test]
    fn pace_is_at_once_for_few_and_slower_for_many() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        let mut wakes = |packets: usize, pause: Duration| {
            let mut next = None;
            for _ in 0..200 {
                now += pause;
                next = pace.next_wake(now, packets);
            }
            next.map(|next| next - now)
        };
        // 10,000 a second, 20,000, and 10,000 again.
        assert_eq!(wakes(10, Duration::from_millis(1)), None);
        assert_eq!(wakes(20, Duration::from_millis(1)), Some(Duration::from_millis(2)));
        assert_eq!(wakes(10, Duration::from_millis(1)), None);
    }

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
            let config = Config {
                ports: (first, first + 99),
                units: 16,
                rtp_timeout: Duration::from_secs(7),
            };
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
            let remote = peer.local_addr().unwrap();
            let settings = StreamSettings {
                remote,
                remote_rtcp: remote,
                rtcp_mux: true,
                codec: Codec::Pcmu,
                payload_type: 0,
                formats: Formats::default(),
                dtmf_payload_type: None,
                dtmf_clock: Rate::Narrow,
                noise_payload_type: None,
                opus: OpusSettings::default(),
                reports: Reports::default(),
                srtp: None,
                sends: true,
                receives: true,
                ptime: Duration::from_millis(20),
            };
            assert!(self.handle.send(Command::Configure { unit, settings }));
            (peer, SocketAddr::new(LOOPBACK, port))
        }
    }

    #[test]
    fn joined_calls_hear_each_other_over_real_sockets() {
        // Apart from those of other checkouts' tests on this machine, below the ephemeral ones.
        let world = World::new(20_000 + (std::process::id() % 120) as u16 * 100);
        let (a, b) = (UnitId(1), UnitId(2));
        let (peer_a, at_a) = world.call(a);
        let (peer_b, _) = world.call(b);
        world.handle.send(Command::Route { from: a, to: b });
        let recorder = UnitId(3);
        let layout = Layout::Mono;
        world.handle.send(Command::RecordCall { unit: recorder, call: a, layout });
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
}
