//! The reactor thread: reads sockets and channels, feeds the gateway, carries out what it wants.
//!
//! One future, polled by smol's executor beside the tasks of connections, HTTP and look-ups. In
//! each turn every source gives a bounded number of inputs; after each input the gateway's
//! outputs are carried out. Invariant: nothing here waits for another thread.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use smol::channel::Receiver;
use smol::future::poll_fn;
use smol::stream::Stream;

use super::culprit::Culprit;
use super::disk::DiskHandle;
use super::http_server::{Answer, Pending, Server};
use super::life::Life;
use super::outputs::{MediaPort, Undone};
use super::sd_notify::Notify;
use super::signals::Signal;
use super::stream::{self, Streams};
use super::tasks::{Done, Tasks};
use super::turns::Wakes;
use super::udp::{self, Received};
use super::wire;
use super::worker::{FromWorker, WorkerHandle};
use crate::control::Control;
use crate::gateway::{Gateway, Input, RequestId};
use crate::media::engine;
use crate::sip::user_agent as sip;
use crate::stats;
use crate::storage::store;

/// Everything the reactor works with, made by `driver::start`.
pub struct Reactor {
    pub gateway: Gateway,
    pub control: Control,
    /// In the order of the listeners; `None`: a TCP one, which has tasks of its own.
    pub udp: Vec<Option<udp::Listener>>,
    pub streams: Streams,
    pub tasks: Tasks,
    pub workers: Vec<WorkerHandle>,
    pub media: Vec<MediaPort>,
    pub disk: DiskHandle,
    pub http: Server,
    pub inbox: Inbox,
    /// HTTP requests that wait for their answer; bounded by `http_connections`.
    pub answers: HashMap<RequestId, Answer>,
    pub notify: Notify,
    pub config_path: PathBuf,
    pub life: Life,
    /// Empty between two inputs.
    pub undone: VecDeque<Undone>,
    pub wakes: Rc<Wakes>,
    /// The next second's look at the clock, the watchdog and the workers.
    pub next_tick: Instant,
    /// One packet of any size, while it is looked at.
    pub buffer: Vec<u8>,
}

/// What other threads and tasks tell; capacities in the table of `driver`.
pub struct Inbox {
    pub scripts: Port<FromWorker>,
    pub media: Port<(usize, engine::Event)>,
    pub disk: Port<store::Answer>,
    pub requests: Port<Pending>,
    pub streams: Port<stream::Event>,
    pub done: Port<Done>,
    pub signals: Port<Signal>,
}

impl Reactor {
    /// Until the gateway has stopped.
    pub async fn run(&mut self) {
        let mut panics = 0;
        poll_fn(|cx| {
            // What no single input could be blamed for costs what was left of its turn.
            if let Some(turned) = Culprit::Reactor.guard(|| self.turn(cx)) {
                return turned;
            }
            panics += 1;
            if panics >= MOST_PANICS {
                log::error!("{panics} bugs met: the service manager may start the gateway anew");
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// One round over all sources. Every source keeps its waker where it has no more.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let has_more = [
            self.hear_signals(cx),
            self.receive_packets(),
            self.hear_streams(cx),
            self.hear_scripts(cx),
            self.hear_media(cx),
            self.hear_requests(cx),
            self.hear_tasks(cx),
            self.hear_disk(cx),
        ];
        self.keep_time();
        self.catch_up();
        if self.is_over() {
            return Poll::Ready(());
        }
        if has_more.contains(&true) {
            // The other tasks of this thread come first.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn receive_packets(&mut self) -> bool {
        let mut has_more = false;
        for token in self.wakes.readable.borrow_mut().drain(..) {
            if let Some(Some(socket)) = self.udp.get_mut(token as usize) {
                socket.set_readable();
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        // Empty only after a turn that a bug ended.
        buffer.resize(PACKET_BYTES, 0);
        for listener in 0..self.udp.len() {
            has_more |= self.receive_from(listener, &mut buffer);
        }
        self.buffer = buffer;
        has_more
    }

    fn receive_from(&mut self, listener: usize, buffer: &mut [u8]) -> bool {
        for _ in 0..SHARE {
            let Some(Some(socket)) = self.udp.get_mut(listener) else { return false };
            let Some(received) = socket.receive(buffer) else { return false };
            match received {
                Received::Packet(length, from) => {
                    let data = &buffer[..length];
                    wire::log_received(from, data);
                    self.feed(Input::Sip(sip::Input::Datagram { listener, from, data }));
                }
                Received::Unreachable(to) => {
                    stats::SIP_UNREACHABLE.add(1);
                    self.feed(Input::Sip(sip::Input::Unreachable { to }));
                }
            }
        }
        true
    }

    fn hear_streams(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..SHARE {
            let Some(event) = self.inbox.streams.take(cx) else { return false };
            match event {
                stream::Event::Accepted { socket, from } => {
                    if from.transport.is_secure()
                        && !self.gateway.may_shake_hands(Instant::now(), from.peer)
                    {
                        continue;
                    }
                    let adopted = self.streams.adopt(socket, from);
                    self.hear_accepted(adopted, from);
                }
                stream::Event::Secured { stream, secure, from } => {
                    let adopted = self.streams.adopt_secure(stream, secure);
                    self.hear_accepted(adopted, from);
                }
                stream::Event::Connected { stream, local } => {
                    self.feed(Input::Sip(sip::Input::Connected { stream, local }));
                }
                stream::Event::Data { stream, data } => {
                    self.feed(Input::Sip(sip::Input::Stream { stream, data: &data }));
                }
                stream::Event::Closed { stream } => {
                    if self.streams.forget(stream) {
                        self.feed(Input::Sip(sip::Input::Closed { stream }));
                    }
                }
            }
        }
        true
    }

    fn hear_accepted(
        &mut self,
        adopted: Option<(sip::StreamId, SocketAddr)>,
        stream::From { listener, peer, .. }: stream::From,
    ) {
        if let Some((stream, local)) = adopted {
            self.feed(Input::Sip(sip::Input::Accepted { stream, listener, peer, local }));
        }
    }

    fn hear_scripts(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..SHARE {
            let Some(message) = self.inbox.scripts.take(cx) else { return false };
            self.feed(match message {
                FromWorker::Output { thread, output } => Input::Script { thread, output },
                FromWorker::Lost { thread } => Input::WorkerLost { thread },
            });
        }
        true
    }

    fn hear_media(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..SHARE {
            let Some((thread, event)) = self.inbox.media.take(cx) else { return false };
            self.feed(Input::Media { thread, event });
        }
        true
    }

    fn hear_disk(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..SHARE {
            let Some(answer) = self.inbox.disk.take(cx) else { return false };
            match answer {
                answer @ store::Answer::History { .. } => self.answer_history(answer),
                answer => self.feed(Input::Stored(answer)),
            }
        }
        true
    }

    fn hear_tasks(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..SHARE {
            let Some(done) = self.inbox.done.take(cx) else { return false };
            match done {
                Done::Loaded { request, result } => {
                    self.tasks.cancel_load(request);
                    self.feed(Input::Loaded { request, result });
                }
                Done::Fetched { session, request, result } => {
                    self.tasks.end_fetch(session, request);
                    self.feed(Input::Fetched { session, request, result });
                }
                Done::Resolved { query, answer } => {
                    self.feed(Input::Sip(sip::Input::Resolved { query, answer }));
                }
                Done::Reloaded { request, result } => self.take_config(request, result),
            }
        }
        true
    }
}

/// The receiving end of a channel that the reactor polls.
pub struct Port<T>(Pin<Box<Receiver<T>>>);

impl<T> Port<T> {
    pub fn new(receiver: Receiver<T>) -> Self {
        Self(Box::pin(receiver))
    }

    /// Senders no longer find anybody.
    pub fn close(&self) {
        self.0.close();
    }

    /// The next message; where there is none, the task is woken for it.
    pub fn take(&mut self, cx: &mut Context<'_>) -> Option<T> {
        match self.0.as_mut().poll_next(cx) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }
}

/// The largest UDP datagram.
const PACKET_BYTES: usize = 65_536;
/// A bug that is met at every turn must not fill the log for ever.
const MOST_PANICS: usize = 100;
/// Inputs that one source gives in one turn: some milliseconds of work.
pub const SHARE: usize = 64;
