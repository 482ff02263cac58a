//! SIP over TCP and TLS: accepting, connecting, reading and writing, one task per connection.
//!
//! Bytes that arrive wait in their connection while the reactor is busy (the peer's TCP window
//! closes); bytes that leave wait in a queue of bounded size. A peer that connects to a secure
//! listener is told to `sip` when its handshake is done, and has a short time for it. When a
//! connection is idle is decided by `sip`, which speaks WebSocket, too.

#[cfg(test)]
mod tests;
mod tls;

use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::{Async, LocalExecutor, Task, Timer};

use self::tls::Secure;
pub use self::tls::Tls;
use crate::sip::user_agent::{StreamId, Transport};
use crate::stats;

/// What the tasks tell the reactor.
pub enum Event {
    /// A peer connected; [`Streams::adopt`] takes it in.
    Accepted {
        socket: Async<TcpStream>,
        from: From,
    },
    /// The handshake of a peer that connected is done; [`Streams::adopt_secure`] takes it in.
    Secured {
        stream: StreamId,
        secure: Secure,
        from: From,
    },
    Connected {
        stream: StreamId,
        local: SocketAddr,
    },
    Data {
        stream: StreamId,
        data: Vec<u8>,
    },
    /// Ended by the peer, or could not be opened.
    Closed {
        stream: StreamId,
    },
}

/// Where a peer connected, and from where.
#[derive(Debug, Clone, Copy)]
pub struct From {
    /// Entry of `[sip] listen`.
    pub listener: usize,
    pub transport: Transport,
    pub peer: SocketAddr,
}

/// The connections that stand or are being opened.
pub struct Streams {
    executor: Rc<LocalExecutor<'static>>,
    events: Sender<Event>,
    tls: Rc<Tls>,
    /// Peers whose handshake is not done, the oldest first. At most [`HANDSHAKES`]. Full: the
    /// oldest of the source that has most is cut off, counted as `sip_handshakes_cut_total`.
    handshakes: VecDeque<Handshake>,
    /// At most `most`, the limit of `sip`, and one more: an accepted connection for which `sip`
    /// makes room by closing another. Full: it is closed at once, counted as
    /// `sip_streams_refused_total`.
    open: HashMap<StreamId, Connection>,
    most: usize,
    /// Connections that we close, the last bytes still under way. At most [`CLOSING`]; the oldest
    /// is cut off for the next.
    closing: VecDeque<Task<()>>,
    next_accepted: u64,
}

struct Handshake {
    stream: StreamId,
    source: IpAddr,
    /// Dropping it closes the socket.
    _task: Task<()>,
}

/// What carries the bytes of a connection.
enum Carrier {
    Plain(Async<TcpStream>),
    Secure(Secure),
}

/// The reactor's end of a connection.
struct Connection {
    /// Set once a plain connection stands.
    socket: Rc<OnceCell<Async<TcpStream>>>,
    outgoing: Sender<Vec<u8>>,
    /// Bytes in `outgoing`.
    waiting: Rc<Cell<usize>>,
    task: Task<()>,
}

impl Streams {
    pub fn new(
        executor: Rc<LocalExecutor<'static>>,
        events: Sender<Event>,
        tls: Tls,
        most: usize,
    ) -> Self {
        Self {
            executor,
            events,
            tls: Rc::new(tls),
            handshakes: VecDeque::new(),
            open: HashMap::new(),
            most,
            closing: VecDeque::new(),
            next_accepted: 1,
        }
    }

    /// Handshakes from now on are of this configuration; connections that stand stay.
    pub fn set_tls(&mut self, tls: Tls) {
        self.tls = Rc::new(tls);
    }

    /// Takes connections of `[sip] listen` entry `listener` from now on.
    pub fn listen(&self, listener: usize, transport: Transport, socket: Async<TcpListener>) {
        let events = self.events.clone();
        self.executor.spawn(accept(listener, transport, socket, events)).detach();
    }

    /// Numbers an accepted connection and starts to read, or to shake hands where its listener is
    /// secure. `None`: it was one too many, or is told as [`Event::Secured`] later.
    pub fn adopt(
        &mut self,
        socket: Async<TcpStream>,
        from: From,
    ) -> Option<(StreamId, SocketAddr)> {
        let stream = StreamId(self.next_accepted);
        self.next_accepted += 2;
        if from.transport.is_secure() {
            self.shake_hands(stream, socket, from);
            return None;
        }
        let local = socket.get_ref().local_addr().ok()?;
        prepare(&socket).ok()?;
        self.take_in(stream, local, Carrier::Plain(socket))
    }

    /// Starts to read from a peer whose handshake is done.
    pub fn adopt_secure(
        &mut self,
        stream: StreamId,
        secure: Secure,
    ) -> Option<(StreamId, SocketAddr)> {
        self.handshakes.retain(|one| one.stream != stream);
        let local = secure.get_ref().0.get_ref().local_addr().ok()?;
        self.take_in(stream, local, Carrier::Secure(secure))
    }

    /// Opens a connection, over TLS with the server `name` where the transport is secure.
    /// `Connected` or `Closed` follows.
    pub fn connect(
        &mut self,
        stream: StreamId,
        transport: Transport,
        to: SocketAddr,
        name: String,
    ) {
        let events = self.events.clone();
        let tls = self.tls.clone();
        self.start(stream, async move {
            let socket = Async::<TcpStream>::connect(to).or(timeout(CONNECT)).await?;
            let local = socket.get_ref().local_addr()?;
            prepare(&socket)?;
            let carrier = match transport.is_secure() {
                false => Carrier::Plain(socket),
                true => match tls.connect(socket, &name).await {
                    Ok(secure) => Carrier::Secure(secure),
                    Err(error) => {
                        stats::SIP_TLS_FAILED.add(1);
                        log::warn!("peer={to} TLS with {name}: {error}");
                        return Err(error);
                    }
                },
            };
            // The reactor holds a receiver as long as it runs.
            let _ = events.send(Event::Connected { stream, local }).await;
            Ok(carrier)
        });
    }

    /// Sends bytes, or queues what the system does not take at once. False: the stream is unknown,
    /// or its peer does not read and it is closed.
    pub fn write(&mut self, stream: StreamId, mut data: Vec<u8>) -> bool {
        let Some(connection) = self.open.get(&stream) else { return false };
        let waiting = connection.waiting.get();
        if waiting == 0
            && let Some(socket) = connection.socket.get()
        {
            // Many short answers in one turn of the reactor are no slow peer. The task meets
            // whatever error there is.
            let sent = socket.get_ref().write(&data).unwrap_or(0);
            if sent == data.len() {
                return true;
            }
            data.drain(..sent);
        }
        let length = data.len();
        // One message of any size always finds room, or the largest could never leave.
        let is_room = waiting == 0 || waiting + length <= WRITE_BYTES;
        if is_room && connection.outgoing.try_send(data).is_ok() {
            connection.waiting.set(waiting + length);
            return true;
        }
        stats::SIP_STREAMS_SLOW.add(1);
        log::warn!("stream={} does not read: closed", stream.0);
        // Dropping the task closes the socket.
        self.open.remove(&stream);
        false
    }

    /// Closes a stream once what was queued is out.
    pub fn close(&mut self, stream: StreamId) {
        if let Some(connection) = self.open.remove(&stream) {
            if self.closing.len() == CLOSING {
                self.closing.pop_front();
            }
            self.closing.push_back(connection.task);
        }
    }

    /// Forgets a stream that ended; false: it was closed from our side already, or its peer was
    /// never told of.
    pub fn forget(&mut self, stream: StreamId) -> bool {
        self.handshakes.retain(|one| one.stream != stream);
        self.open.remove(&stream).is_some()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn take_in(
        &mut self,
        stream: StreamId,
        local: SocketAddr,
        carrier: Carrier,
    ) -> Option<(StreamId, SocketAddr)> {
        if self.open.len() > self.most {
            stats::SIP_STREAMS_REFUSED.add(1);
            return None;
        }
        self.start(stream, async move { Ok(carrier) });
        Some((stream, local))
    }

    fn shake_hands(&mut self, stream: StreamId, socket: Async<TcpStream>, from: From) {
        if self.handshakes.len() >= HANDSHAKES {
            stats::SIP_HANDSHAKES_CUT.add(1);
            let oldest = oldest_of_the_busiest(&self.handshakes);
            self.handshakes.remove(oldest);
        }
        let (tls, events) = (self.tls.clone(), self.events.clone());
        let task = self.executor.spawn(async move {
            let event = match tls.accept(socket, from.peer).await {
                Ok(secure) => Event::Secured { stream, secure, from },
                Err(error) => {
                    stats::SIP_TLS_FAILED.add(1);
                    log::debug!("peer={} TLS: {error}", from.peer);
                    Event::Closed { stream }
                }
            };
            // The reactor holds a receiver as long as it runs.
            let _ = events.send(event).await;
        });
        let source = from.peer.ip();
        self.handshakes.push_back(Handshake { stream, source, _task: task });
    }

    fn start(
        &mut self,
        stream: StreamId,
        carrier: impl Future<Output = io::Result<Carrier>> + 'static,
    ) {
        let (outgoing, queue) = smol::channel::bounded(WRITE_MESSAGES);
        let waiting = Rc::new(Cell::new(0));
        let events = self.events.clone();
        let left = waiting.clone();
        let standing = Rc::new(OnceCell::new());
        let place = standing.clone();
        let task = self.executor.spawn(async move {
            let carried = async {
                match carrier.await? {
                    Carrier::Plain(socket) => {
                        let socket = place.get_or_init(|| socket);
                        let reading = read(socket, stream, &events);
                        reading.or(write(socket, &queue, &left)).await
                    }
                    Carrier::Secure(secure) => {
                        let (reader, writer) = smol::io::split(secure);
                        let reading = read(reader, stream, &events);
                        reading.or(write(writer, &queue, &left)).await
                    }
                }
            };
            if let Err(error) = carried.await {
                log::debug!("stream={} {error}", stream.0);
            }
            // The reactor holds a receiver as long as it runs.
            let _ = events.send(Event::Closed { stream }).await;
        });
        self.open.insert(stream, Connection { socket: standing, outgoing, waiting, task });
    }
}

/// A listening socket of `[sip] listen`.
pub fn bind(address: SocketAddr) -> io::Result<Async<TcpListener>> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    // A restart must not wait for the old connections' TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // Beside a socket of the same port on 0.0.0.0.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Async::new_nonblocking(TcpListener::from(socket))
}

fn prepare(socket: &Async<TcpStream>) -> io::Result<()> {
    // Each message is whole when it is written: nothing to wait for.
    socket.get_ref().set_nodelay(true)?;
    // A peer that is gone without a word is found out by the next keep-alive, whatever it knows
    // of pings and pongs.
    sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_MS)?;
    Ok(())
}

/// Which handshake goes for a new one: who opens many loses its own first.
fn oldest_of_the_busiest(handshakes: &VecDeque<Handshake>) -> usize {
    let count = |source| handshakes.iter().filter(|one| one.source == source).count();
    // `max_by_key` gives the last of equals, hence from the end.
    let numbered = handshakes.iter().enumerate().rev();
    numbered.max_by_key(|(_, one)| count(one.source)).map_or(0, |(place, _)| place)
}

async fn accept(
    listener: usize,
    transport: Transport,
    socket: Async<TcpListener>,
    events: Sender<Event>,
) {
    loop {
        match socket.accept().await {
            Ok((socket, peer)) => {
                let from = From { listener, transport, peer };
                if events.send(Event::Accepted { socket, from }).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, most likely: without a pause this would spin.
            Err(error) => {
                log::warn!("accept: {error}");
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn read(
    mut socket: impl AsyncRead + Unpin,
    stream: StreamId,
    events: &Sender<Event>,
) -> io::Result<()> {
    let mut buffer = [0; READ_BYTES];
    loop {
        let length = socket.read(&mut buffer).await?;
        let data = buffer[..length].to_vec();
        if length == 0 || events.send(Event::Data { stream, data }).await.is_err() {
            return Ok(());
        }
    }
}

/// Until the queue is closed and empty; then gives the peer a moment to close first.
async fn write(
    mut socket: impl AsyncWrite + Unpin,
    queue: &Receiver<Vec<u8>>,
    waiting: &Cell<usize>,
) -> io::Result<()> {
    while let Ok(data) = queue.recv().await {
        let written = async {
            socket.write_all(&data).await?;
            socket.flush().await
        };
        let written = written.or(timeout(STALLED)).await;
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            stats::SIP_STREAMS_SLOW.add(1);
        }
        written?;
        waiting.set(waiting.get().saturating_sub(data.len()));
    }
    socket.close().or(timeout(STALLED)).await?;
    Timer::after(LINGER).await;
    Ok(())
}

async fn timeout<T>(after: Duration) -> io::Result<T> {
    Timer::after(after).await;
    Err(io::ErrorKind::TimedOut.into())
}

/// A peer that is there answers within three SYNs; well under Timer B's 32 s.
const CONNECT: Duration = Duration::from_secs(10);
/// In `budget` beside the connections that stand.
pub const HANDSHAKES: usize = crate::config::TLS_HANDSHAKES;
/// A whole handshake takes three round trips.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Bytes that the peer's system does not acknowledge for this time end the connection.
const UNACKNOWLEDGED_MS: u32 = 30_000;
/// A peer that takes nothing for this long is gone.
const STALLED: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(1);
/// Far more than close in a second where nobody floods us with connections.
const CLOSING: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that the kernel holds until the reactor accepts them.
const BACKLOG: i32 = 128;
const READ_BYTES: usize = 4096;
/// Bytes that wait for one slow peer, some 60 messages.
const WRITE_BYTES: usize = 64 << 10;
const WRITE_MESSAGES: usize = 256;
