//! A media thread: one engine, its RTP sockets, its own poller.
//!
//! It neither allocates nor logs per packet and waits for nobody: a packet that the system does
//! not take is dropped, an event that finds the reactor's channel full is kept back or, where a
//! later one says the same, dropped.
//!
//! Few packets are forwarded as they arrive. As they become many, the thread first lets others
//! have their turn, then wakes at most once in two milliseconds: what a wake costs, several times
//! a packet's own work, is then shared by all packets of that time. Those of one wake are read
//! first and sent then, [`BATCH`] at a time: a receiver on this machine that is woken by the first
//! finds the others on its next look, and is not woken, at our cost, by each (200 calls: 5.2 us
//! per packet in the place of 5.8).
//!
//! Sends are one call each: `sendmmsg` is per socket, and every call has one of its own. io_uring
//! would take them all at once, but nine tenths of a packet are the UDP stack: with multishot
//! receives, registered files and one submission per wake it was measured at 5.4 us in the same
//! runs, and woken at once dearer than epoll (11.4 us against 9.9). Nor did `recvmmsg` on edge-
//! triggered sockets (5.3) or connected ones (5.1, and deaf to a peer whose NAT moves it) pay.

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

use super::pace::Pace;
use super::poll::{Bell, MOST_READY, Poller, sleep_exactly, sleep_until};
use super::priority::run_with_priority;
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
            if self.engine.packets_to_send() >= BATCH {
                self.transmit();
            }
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_input(now, Input::Timeout);
            self.drain(now);
        }
        self.transmit();
        self.events.catch_up();
        pace.count(now, tokens.len());
        if let Some(next) = pace.next_wake(now) {
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
                    self.drain(now);
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
        self.drain(now);
    }

    /// Carries out what the engine wants, but for packets.
    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.engine.poll_output() {
            if let Output::Unbind { .. } = output {
                // The last packets of that socket.
                self.transmit();
            }
            self.carry_out(now, output);
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.engine.poll_transmit() {
            let Some(Some(pair)) = self.sockets.get(transmit.socket.0 as usize) else { continue };
            let socket = if transmit.is_rtcp { &pair.rtcp } else { &pair.rtp };
            if sendto(socket, transmit.data, SendFlags::DONTWAIT, &transmit.to).is_err() {
                stats::RTP_NOT_SENT.add(1);
            }
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
/// Packets read before they are sent: some 10 KiB, and the first of them 0.1 ms later.
const BATCH: usize = 64;
/// After an error that would meet the thread again at once.
const RECOVERY: Duration = Duration::from_millis(20);
const MOST_PANICS: u32 = 100;

#[cfg(test)]
mod tests;
