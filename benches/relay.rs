//! What relaying costs: joined calls on a real media thread, beside the least epoll relay in the
//! same process on the same streams.
//!
//! `cargo bench --bench relay -- [CALLS,...] [SECONDS]` prints CPU-seconds per stream-minute, the
//! ratio to the floor of the same round, and the delay from sending to receiving. Numbers of a
//! shared machine wander: ratios are what counts. Nothing here fails by the clock.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use branchline::driver::media::{self, MediaHandle};
use branchline::media::engine::{
    Codec, Command, Config, DigitSources, Event, StreamSettings, UnitId,
};
use branchline::media::format::{Format, Formats, OpusSettings, Reports};
use branchline::media::frame::Rate;
use branchline::random::Random;
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, recv, sendto};
use rustix::time::{ClockId, Timespec, clock_gettime};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only sees whether it runs.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let mut given = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let sizes = given.next().map_or(if is_bench { "100,300" } else { "4" }, String::as_str);
    let seconds = given.next().and_then(|seconds| seconds.parse().ok());
    let seconds = seconds.unwrap_or(if is_bench { 5 } else { 1 });
    println!("calls  subject      CPU-s/stream-min  x floor  delay p50  p99      lost of sent");
    for calls in sizes.split(',').filter_map(|size| size.parse().ok()) {
        for _ in 0..if is_bench { 3 } else { 1 } {
            round(calls, Duration::from_secs(seconds));
        }
    }
}

/// The floor, then relay, then transcoding, on one load.
fn round(calls: usize, duration: Duration) {
    let load = Load::new(calls);
    let floor = {
        let relay = Floor::start(&load);
        let result = load.run(&relay.ports, duration, "floor", 0);
        relay.stop();
        result
    };
    print(calls, "floor", &floor, &floor);
    for (name, other) in [("relay", Codec::Pcmu), ("transcoding", Codec::Pcma)] {
        let gateway = Gateway::start(&load, other);
        let result = load.run(&gateway.ports, duration, "media-0", payload_type(other));
        drop(gateway);
        print(calls, name, &result, &floor);
    }
}

fn print(calls: usize, name: &str, result: &Measured, floor: &Measured) {
    let ratio = result.cpu_per_minute / floor.cpu_per_minute;
    println!(
        "{calls:5}  {name:11}  {:16.4}  {ratio:7.2}  {:6.3} ms  {:6.3} ms  {} of {}",
        result.cpu_per_minute,
        result.delay(0.50),
        result.delay(0.99),
        result.sent - result.delays.len(),
        result.sent,
    );
}

/// Sockets of all peers: two per call, each sending 50 packets a second.
struct Load {
    peers: Vec<UdpSocket>,
}

struct Measured {
    cpu_per_minute: f64,
    sent: usize,
    /// Milliseconds, sorted.
    delays: Vec<f64>,
}

impl Measured {
    fn delay(&self, share: f64) -> f64 {
        let place = (self.delays.len() as f64 * share) as usize;
        self.delays.get(place.min(self.delays.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

impl Load {
    fn new(calls: usize) -> Self {
        let peers = (0..2 * calls).map(|_| bind().expect("loopback has ports")).collect();
        Self { peers }
    }

    /// Sends to `ports`, one per peer, the peers at odd places with this payload type, and reads
    /// what comes; the CPU of the thread of that name.
    fn run(
        &self,
        ports: &[SocketAddr],
        duration: Duration,
        thread: &str,
        odd_payload_type: u8,
    ) -> Measured {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        for (place, peer) in self.peers.iter().enumerate() {
            let data = epoll::EventData::new_u64(place as u64);
            epoll::add(&poller, peer, data, epoll::EventFlags::IN).expect("epoll takes sockets");
        }
        self.drain();
        let count = self.peers.len() as u64;
        let total = count * duration.as_millis() as u64 / 20;
        let mut delays = Vec::with_capacity(total as usize);
        let mut packet = [0u8; 172];
        packet[0] = 0x80;
        // Until the first packets have latched and the thread has chosen its pace.
        let warm_up = count * 25;
        let mut cpu_before = 0.0;
        let start = Instant::now();
        let step = Duration::from_millis(20).as_nanos() as u64 / count;
        for number in 0..warm_up + total {
            if number == warm_up {
                delays.clear();
                cpu_before = cpu_seconds(thread);
            }
            let due = start + Duration::from_nanos(step * number);
            self.receive(&poller, due, &mut delays);
            let (place, frame) = ((number % count) as usize, number / count);
            packet[2..4].copy_from_slice(&(frame as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(frame as u32 * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&(place as u32 + 1).to_be_bytes());
            packet[1] = if place % 2 == 0 { 0 } else { odd_payload_type };
            write_stamp(&mut packet[12..]);
            sendto(&self.peers[place], &packet, SendFlags::empty(), &ports[place])
                .expect("loopback takes packets");
        }
        let cpu = cpu_seconds(thread) - cpu_before;
        self.receive(&poller, Instant::now() + Duration::from_millis(50), &mut delays);
        delays.sort_by(f64::total_cmp);
        let minutes = total as f64 * 0.02 / 60.0;
        // Some of the warm-up arrive after it ended.
        delays.truncate(total as usize);
        Measured { cpu_per_minute: cpu / minutes, sent: total as usize, delays }
    }

    fn receive(&self, poller: &impl std::os::fd::AsFd, until: Instant, delays: &mut Vec<f64>) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // epoll counts milliseconds: the rest is waited for by asking again.
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: if left > Duration::from_millis(1) { 1_000_000 } else { 0 },
            };
            let mut ready = [MaybeUninit::uninit(); 64];
            let Ok((ready, _)) = epoll::wait(poller, &mut ready[..], Some(&timeout)) else {
                return;
            };
            for event in ready.iter() {
                let mut buffer = [0u8; 256];
                let peer = &self.peers[event.data.u64() as usize];
                if let Ok((_, 172)) = recv(peer, &mut buffer[..], RecvFlags::DONTWAIT) {
                    let delay = stamp().wrapping_sub(read_stamp(&buffer[12..172])) as f64 / 1e6;
                    // Silence is no time of this minute.
                    if delay < 60_000.0 {
                        delays.push(delay);
                    }
                }
            }
            if left.is_zero() {
                return;
            }
        }
    }

    fn drain(&self) {
        let mut buffer = [0u8; 256];
        for peer in &self.peers {
            while recv(peer, &mut buffer[..], RecvFlags::DONTWAIT).is_ok() {}
        }
    }
}

/// The least relay: a socket per leg, one `recv` and one `sendto` per packet.
struct Floor {
    ports: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Floor {
    fn start(load: &Load) -> Self {
        let sockets: Vec<UdpSocket> =
            load.peers.iter().map(|_| bind().expect("loopback has ports")).collect();
        let ports = sockets.iter().map(|s| s.local_addr().expect("bound")).collect();
        let peers: Vec<SocketAddr> =
            load.peers.iter().map(|peer| peer.local_addr().expect("bound")).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stops = stop.clone();
        let relay = move || {
            let poller = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
            for (place, socket) in sockets.iter().enumerate() {
                let data = epoll::EventData::new_u64(place as u64);
                epoll::add(&poller, socket, data, epoll::EventFlags::IN).expect("epoll");
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            let mut buffer = [0u8; 2048];
            let mut ready = [MaybeUninit::uninit(); 512];
            while !stops.load(Ordering::Relaxed) {
                let Ok((ready, _)) = epoll::wait(&poller, &mut ready[..], Some(&timeout)) else {
                    continue;
                };
                for event in ready.iter() {
                    let place = event.data.u64() as usize;
                    let Ok((data, _)) = recv(&sockets[place], &mut buffer[..], RecvFlags::empty())
                    else {
                        continue;
                    };
                    let out = place ^ 1;
                    let sent =
                        sendto(&sockets[out], &buffer[..data], SendFlags::empty(), &peers[out]);
                    sent.expect("loopback takes packets");
                }
            }
        };
        let thread = std::thread::Builder::new().name("floor".into()).spawn(relay);
        Self { ports, stop, thread: thread.expect("a thread") }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the floor does not panic");
    }
}

/// A media thread with a pair of joined calls for every two peers.
struct Gateway {
    ports: Vec<SocketAddr>,
    /// Dropped, it ends the thread.
    _handle: MediaHandle,
}

impl Gateway {
    fn start(load: &Load, other: Codec) -> Self {
        let (sender, events) = smol::channel::bounded(1024);
        let config = Config {
            ports: (30_000, 59_999),
            units: load.peers.len(),
            rtp_timeout: Duration::from_secs(7),
        };
        let handle = media::spawn(0, config, Random::System, |_, _| true, sender)
            .expect("the system has a thread");
        let command = |command: Command| {
            while !handle.send(command.clone()) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let mut ports = Vec::new();
        for (place, peer) in load.peers.iter().enumerate() {
            let unit = UnitId(place as u64);
            command(Command::Open { unit, address: LOOPBACK });
            let port = loop {
                match events.recv_blocking() {
                    Ok((_, Event::Opened { port, .. })) => break port,
                    Ok((_, Event::OpenFailed { .. })) | Err(_) => panic!("no port"),
                    Ok(_) => {}
                }
            };
            ports.push(SocketAddr::new(LOOPBACK, port));
            let remote = peer.local_addr().expect("bound");
            let codec = if place % 2 == 0 { Codec::Pcmu } else { other };
            let settings = StreamSettings {
                remote,
                remote_rtcp: SocketAddr::new(LOOPBACK, 9),
                rtcp_mux: false,
                codec,
                payload_type: payload_type(codec),
                formats: Formats::new([
                    (0, Format::Audio(Codec::Pcmu)),
                    (8, Format::Audio(Codec::Pcma)),
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
            };
            command(Command::Configure { unit, settings });
            let sources = DigitSources { telephone_event: true, ..DigitSources::default() };
            command(Command::ListenDigits { unit, sources });
            command(Command::Route { from: UnitId(place as u64 ^ 1), to: unit });
            if place % 2 == 1 {
                command(Command::Route { from: unit, to: UnitId(place as u64 ^ 1) });
            }
        }
        Self { ports, _handle: handle }
    }
}

fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus | Codec::L16(_) => 96,
    }
}

fn bind() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((LOOPBACK, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Nanoseconds on the monotonic clock.
fn stamp() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The time in the signs of 64 samples, which change of law leaves as they are.
fn write_stamp(payload: &mut [u8]) {
    let now = stamp();
    for (place, byte) in payload.iter_mut().take(64).enumerate() {
        *byte = ((now >> place) as u8 & 1) << 7 | 0x1f;
    }
}

fn read_stamp(payload: &[u8]) -> u64 {
    let bits = payload.iter().take(64).enumerate();
    bits.fold(0, |sum, (place, byte)| sum | u64::from(byte >> 7) << place)
}

/// CPU time of this process's thread of that name.
fn cpu_seconds(name: &str) -> f64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let of_name = tasks.flatten().map(|task| task.path()).find(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    let task = of_name.expect("the thread runs");
    let times = fs::read_to_string(task.join("schedstat")).expect("schedstat");
    let nanoseconds: f64 = times.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    nanoseconds / 1e9
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
