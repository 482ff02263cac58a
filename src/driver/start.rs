//! From a configuration to running threads, and to their end.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::LocalExecutor;
use smol::channel::{Sender, bounded};

use super::data_dir::{self, Lock};
use super::disk::{self, DiskHandle, DiskOptions};
use super::dns::Resolver;
use super::environment;
use super::http_client::{self, Client, Streaming};
use super::http_pool;
use super::http_server::{self, Folders, Server};
use super::life::Life;
use super::media;
use super::outputs::MediaPort;
use super::poll::Poller;
use super::reactor::{Inbox, Port, Reactor};
use super::sd_notify::Notify;
use super::signals::Signals;
use super::sockets::{SipSocket, Sockets};
use super::sounds::{Fetch, Pace, Sounds};
use super::stream::{self, Streams, Tls};
use super::tasks::Tasks;
use super::turns;
use super::udp;
use super::worker::{self, FromWorker, WorkerHandle};
use super::{
    DISK_ANSWERS, HTTP_REQUESTS, MEDIA_EVENTS, SCRIPT_OUTPUTS, SIGNALS, STREAM_EVENTS, TASK_RESULTS,
};
use crate::budget::Budget;
use crate::config::Config;
use crate::control::{self, Control};
use crate::gateway::{self, Gateway, worker_limits};
use crate::media::engine::{self, UnitId};
use crate::random::Random;

/// Serves a configuration until TERM or INT.
///
/// # Errors
/// What keeps it from starting, and what to do.
pub fn run(path: &Path, mut config: Config) -> Result<(), String> {
    let budget = Budget::of(&config.limits, environment::memory_bytes());
    let budget = budget.map_err(|error| format!("[limits] sessions: {error}"))?;
    log::info!("branchline {} with {}", env!("CARGO_PKG_VERSION"), path.display());
    for line in budget.to_string().lines() {
        log::info!("{}", line.trim_end());
    }
    environment::allow_files(files_at_worst(&config));
    let mut random = Random::System;
    let mut lock = Lock::take(&config.gateway.data_dir)?;
    if config.control.api_key.is_empty() {
        config.control.api_key = data_dir::api_key(&config.gateway.data_dir, &mut random)?;
    }
    let signals = Signals::listen().map_err(|error| format!("signals: {error}"))?;
    let sockets = Sockets::bind(&config)?;
    let local_url = sockets.local_url();
    let executor = Rc::new(LocalExecutor::new());
    let parts = Parts { path, config: Arc::new(config), budget, sockets, signals, random };
    let mut reactor = parts.assemble(&executor)?;
    let poller = packet_poller(&reactor.udp).map_err(|error| format!("epoll: {error}"))?;
    lock.publish(&local_url).map_err(|error| format!("gateway.lock: {error}"))?;
    log::info!("ready: {local_url}");
    reactor.notify.ready("takes calls");
    let wakes = reactor.wakes.clone();
    let served = executor.run(async {
        reactor.run().await;
        reactor.close().await;
    });
    turns::run(poller, &wakes, served).map_err(|error| format!("epoll: {error}"))?;
    log::info!("stopped");
    Ok(())
}

/// Tells of packets by the listener's number.
fn packet_poller(listeners: &[Option<udp::Listener>]) -> io::Result<Poller> {
    let poller = Poller::new()?;
    for (number, listener) in listeners.iter().enumerate() {
        if let Some(listener) = listener {
            poller.add(listener, number as u64)?;
        }
    }
    Ok(poller)
}

/// What a reactor is made of.
struct Parts<'a> {
    path: &'a Path,
    config: Arc<Config>,
    budget: Budget,
    sockets: Sockets,
    signals: Signals,
    random: Random,
}

impl Parts<'_> {
    /// Starts the threads and puts everything together.
    fn assemble(mut self, executor: &Rc<LocalExecutor<'static>>) -> Result<Reactor, String> {
        let now = Instant::now();
        let (disk_sender, disk_answers) = bounded(DISK_ANSWERS);
        let options = DiskOptions {
            data_dir: self.config.gateway.data_dir.clone(),
            storage: self.config.storage.clone(),
        };
        let (disk, opening) = disk::spawn(options, disk_sender)?;
        let (script_sender, scripts) = bounded(SCRIPT_OUTPUTS);
        let workers = self.spawn_workers(&script_sender)?;
        let (media_sender, media_events) = bounded(MEDIA_EVENTS);
        let media = self.spawn_media(&disk, &media_sender)?;
        let (stream_sender, stream_events) = bounded(STREAM_EVENTS);
        let (done_sender, done) = bounded(TASK_RESULTS);
        let (request_sender, requests) = bounded(HTTP_REQUESTS);
        let (signal_sender, signals) = bounded(SIGNALS);
        executor.spawn(self.signals.tell(signal_sender)).detach();

        let config = &self.config;
        let control_url = self.sockets.control_url(config);
        let pool = http_pool::Pool::new(config.limits.http_pool_bytes);
        let client = Client::new(http_client::Limits::of(&config.limits), pool.clone());
        let sounds = sounds(config, executor.clone(), client.clone());
        let resolver = Resolver::new(config.dns.clone(), self.random.fork());
        let tls = Tls::of(config)?;
        let most = config.limits.sip_streams;
        let streams = Streams::new(executor.clone(), stream_sender, tls, most);
        let mut listeners = Vec::new();
        let mut udp = Vec::new();
        for (index, (socket, listener)) in self.sockets.sip.into_iter().enumerate() {
            log::info!("SIP on {}://{}", listener.transport, listener.address);
            udp.push(match socket {
                SipSocket::Udp(socket) => Some(socket),
                SipSocket::Tcp(socket) => {
                    streams.listen(index, listener.transport, socket);
                    None
                }
            });
            listeners.push(listener);
        }
        let server = Server::new(
            executor.clone(),
            http_server::Limits::of(&config.limits),
            folders(config),
            pool,
            request_sender,
        );
        for listener in self.sockets.http {
            executor.spawn(server.clone().serve(listener.into())).detach();
        }

        let wall = environment::wall_clock();
        let control = Control::new(
            now,
            control::Setup {
                api_key: config.control.api_key.clone(),
                control_url: control_url.clone(),
                started_unix_ms: environment::unix_ms(),
                resident_bytes: environment::resident_bytes,
            },
        );
        let gateway = Gateway::new(
            now,
            gateway::Setup {
                config: self.config.clone(),
                listeners,
                control_url,
                opening,
                random: self.random.fork(),
                wall,
            },
        );
        Ok(Reactor {
            gateway,
            control,
            udp,
            streams,
            tasks: Tasks::new(executor.clone(), done_sender, sounds, client, resolver),
            workers,
            media,
            disk,
            http: server,
            inbox: Inbox {
                scripts: Port::new(scripts),
                media: Port::new(media_events),
                disk: Port::new(disk_answers),
                requests: Port::new(requests),
                streams: Port::new(stream_events),
                done: Port::new(done),
                signals: Port::new(signals),
            },
            answers: HashMap::new(),
            notify: Notify::from_environment(),
            config_path: self.path.to_owned(),
            life: Life::Running,
            undone: VecDeque::new(),
            wakes: Rc::default(),
            next_tick: now,
            buffer: Vec::new(),
        })
    }

    fn spawn_workers(&mut self, outputs: &Sender<FromWorker>) -> Result<Vec<WorkerHandle>, String> {
        let pool_bytes = usize::try_from(self.budget.js_pool_bytes).unwrap_or(usize::MAX);
        let limits = worker_limits(&self.config, pool_bytes);
        let spawn = |thread| {
            let handle = worker::spawn(thread, limits.clone(), self.random.fork(), outputs.clone());
            handle.map_err(|error| format!("thread js-{thread}: {error}"))
        };
        (0..self.config.scenario.threads).map(spawn).collect()
    }

    fn spawn_media(
        &mut self,
        disk: &DiskHandle,
        events: &Sender<(usize, engine::Event)>,
    ) -> Result<Vec<MediaPort>, String> {
        let threads = self.config.media.threads;
        let spawn = |thread| {
            let config = engine_config(&self.config, thread, threads);
            let random = self.random.fork();
            let disk = disk.clone();
            let samples = move |unit: UnitId, samples| disk.record(unit.0, samples);
            let handle = media::spawn(thread, config, random, samples, events.clone());
            handle.map(MediaPort::new).map_err(|error| format!("thread media-{thread}: {error}"))
        };
        (0..threads).map(spawn).collect()
    }
}

fn folders(config: &Config) -> Folders {
    Folders {
        logs: config.gateway.data_dir.join(disk::LOGS),
        recordings: config.gateway.data_dir.join(disk::RECORDINGS),
    }
}

fn sounds(config: &Config, executor: Rc<LocalExecutor<'static>>, client: Client) -> Sounds {
    let most_bytes = config.limits.sound_bytes;
    let fetch: Fetch = Box::new(move |request, parts, Pace { time, pause }| {
        let client = client.clone();
        Box::pin(async move {
            let streaming = Streaming { parts: &parts, most_bytes, time, pause };
            client.fetch_parts(&request, streaming).await
        })
    });
    Sounds::new(config, executor, fetch)
}

/// Descriptors at one time: two for each call and the two that a usual session has, clients, SIP
/// streams, and what is always open.
fn files_at_worst(config: &Config) -> u64 {
    let limits = &config.limits;
    let calls = limits.sessions.saturating_mul(2 * CALLS_OF_A_SESSION);
    let clients = limits.http_connections.saturating_add(limits.sip_streams);
    calls.saturating_add(clients).saturating_add(stream::HANDSHAKES + OTHER_FILES) as u64
}

/// Each media thread has its share of the ports, from an even one on.
fn engine_config(config: &Config, thread: usize, threads: usize) -> engine::Config {
    let (first, last) = config.media.rtp_ports;
    let limits = &config.limits;
    // Each call may be played to and recorded.
    let units = limits.calls_per_session.saturating_mul(3).saturating_add(limits.players);
    engine::Config {
        ports: share_of_ports(first, last, thread, threads),
        units: limits.sessions.saturating_mul(units),
        rtp_timeout: RTP_TIMEOUT,
    }
}

fn share_of_ports(first: u16, last: u16, thread: usize, threads: usize) -> (u16, u16) {
    let first = u32::from(first).next_multiple_of(2);
    let pairs = (u32::from(last) + 1).saturating_sub(first) / 2;
    let (thread, threads) = (thread as u32, threads.max(1) as u32);
    let begin = first + 2 * (pairs * thread / threads);
    let end = first + 2 * (pairs * (thread + 1) / threads);
    let port = |port: u32| u16::try_from(port).unwrap_or(u16::MAX);
    (port(begin), port(end.saturating_sub(1)))
}

/// At one time, of most sessions: two people that are joined.
const CALLS_OF_A_SESSION: usize = 2;
/// Database, logs and recordings under way, sounds, pollers, listeners.
const OTHER_FILES: usize = 128;
/// Silence after which a script hears RtpStopped (VoxEngine reference 1.6).
const RTP_TIMEOUT: Duration = Duration::from_secs(7);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_shared_without_overlap_or_loss() {
        assert_eq!(share_of_ports(16384, 32767, 0, 1), (16384, 32767));
        assert_eq!(share_of_ports(10001, 10010, 0, 2), (10002, 10005));
        assert_eq!(share_of_ports(10001, 10010, 1, 2), (10006, 10009));
        // 268 pairs: the last third begins at 65000 + 2 x 178.
        assert_eq!(share_of_ports(65000, 65535, 2, 3), (65356, 65535));
    }
}
