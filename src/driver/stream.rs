//! SIP over TCP: accepting, connecting, reading and writing, one task per connection.
//!
//! Bytes that arrive wait in their connection while the reactor is busy (the peer's TCP window
//! closes); bytes that leave wait in a queue of bounded size. When a connection is idle is
//! decided by `sip`.

use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor, Task, Timer};

use crate::sip::user_agent::StreamId;
use crate::stats;

/// What the tasks tell the reactor.
pub enum Event {
    /// A peer connected; [`Streams::adopt`] gives it a number.
    Accepted {
        socket: Async<TcpStream>,
        listener: usize,
        peer: SocketAddr,
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

/// The connections that stand or are being opened.
pub struct Streams {
    executor: Rc<LocalExecutor<'static>>,
    events: Sender<Event>,
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

/// The reactor's end of a connection.
struct Connection {
    /// Set once the connection stands.
    socket: Rc<OnceCell<Async<TcpStream>>>,
    outgoing: Sender<Vec<u8>>,
    /// Bytes in `outgoing`.
    waiting: Rc<Cell<usize>>,
    task: Task<()>,
}

impl Streams {
    pub fn new(executor: Rc<LocalExecutor<'static>>, events: Sender<Event>, most: usize) -> Self {
        Self {
            executor,
            events,
            open: HashMap::new(),
            most,
            closing: VecDeque::new(),
            next_accepted: 1,
        }
    }

    /// Takes connections of `[sip] listen` entry `listener` from now on.
    pub fn listen(&self, listener: usize, socket: Async<TcpListener>) {
        self.executor.spawn(accept(listener, socket, self.events.clone())).detach();
    }

    /// Numbers an accepted connection and starts to read; `None`: it was one too many.
    pub fn adopt(&mut self, socket: Async<TcpStream>) -> Option<(StreamId, SocketAddr)> {
        if self.open.len() > self.most {
            stats::SIP_STREAMS_REFUSED.add(1);
            return None;
        }
        let local = socket.get_ref().local_addr().ok()?;
        let stream = StreamId(self.next_accepted);
        self.next_accepted += 2;
        self.start(stream, async move { Ok(socket) });
        Some((stream, local))
    }

    /// Opens a connection; `Connected` or `Closed` follows.
    pub fn connect(&mut self, stream: StreamId, to: SocketAddr) {
        let events = self.events.clone();
        self.start(stream, async move {
            let socket = Async::<TcpStream>::connect(to).or(timeout(CONNECT)).await?;
            let local = socket.get_ref().local_addr()?;
            // The reactor holds a receiver as long as it runs.
            let _ = events.send(Event::Connected { stream, local }).await;
            Ok(socket)
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

    /// Forgets a stream that ended; false: it was closed from our side already.
    pub fn forget(&mut self, stream: StreamId) -> bool {
        self.open.remove(&stream).is_some()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn start(
        &mut self,
        stream: StreamId,
        socket: impl Future<Output = io::Result<Async<TcpStream>>> + 'static,
    ) {
        let (outgoing, queue) = smol::channel::bounded(WRITE_MESSAGES);
        let waiting = Rc::new(Cell::new(0));
        let events = self.events.clone();
        let left = waiting.clone();
        let standing = Rc::new(OnceCell::new());
        let place = standing.clone();
        let task = self.executor.spawn(async move {
            let carried = async {
                let socket = socket.await?;
                let socket = place.get_or_init(|| socket);
                // Each message is whole when it is written: nothing to wait for.
                socket.get_ref().set_nodelay(true)?;
                let reading = read(socket, stream, &events);
                reading.or(write(socket, &queue, &left)).await
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

async fn accept(listener: usize, socket: Async<TcpListener>, events: Sender<Event>) {
    loop {
        match socket.accept().await {
            Ok((socket, peer)) => {
                if events.send(Event::Accepted { socket, listener, peer }).await.is_err() {
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
    mut socket: &Async<TcpStream>,
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
    mut socket: &Async<TcpStream>,
    queue: &Receiver<Vec<u8>>,
    waiting: &Cell<usize>,
) -> io::Result<()> {
    while let Ok(data) = queue.recv().await {
        socket.write_all(&data).or(timeout(STALLED)).await?;
        waiting.set(waiting.get().saturating_sub(data.len()));
    }
    socket.get_ref().shutdown(Shutdown::Write)?;
    Timer::after(LINGER).await;
    Ok(())
}

async fn timeout<T>(after: Duration) -> io::Result<T> {
    Timer::after(after).await;
    Err(io::ErrorKind::TimedOut.into())
}

/// A peer that is there answers within three SYNs; well under Timer B's 32 s.
const CONNECT: Duration = Duration::from_secs(10);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    struct World {
        executor: Rc<LocalExecutor<'static>>,
        streams: Streams,
        events: Receiver<Event>,
    }

    impl World {
        fn new(most: usize) -> Self {
            let executor = Rc::new(LocalExecutor::new());
            let (sender, events) = smol::channel::bounded(16);
            Self { streams: Streams::new(executor.clone(), sender, most), executor, events }
        }

        fn listen(&self) -> SocketAddr {
            let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = socket.get_ref().local_addr().unwrap();
            self.streams.listen(0, socket);
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
            let Event::Accepted { socket, .. } = self.next() else { panic!("no connection") };
            Some(self.streams.adopt(socket)?.0)
        }
    }

    #[test]
    fn bytes_cross_and_a_close_comes_after_them() {
        let mut world = World::new(4);
        let mut peer = TcpStream::connect(world.listen()).unwrap();
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
        world.streams.connect(StreamId(2), gone);
        assert!(matches!(world.next(), Event::Closed { stream: StreamId(2) }));
        assert!(world.streams.forget(StreamId(2)));
    }

    #[test]
    fn what_is_queued_before_the_connection_stands_arrives() {
        let mut world = World::new(4);
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        world.streams.connect(StreamId(2), peer.local_addr().unwrap());
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
        let address = world.listen();
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
        let address = world.listen();
        for _ in 0..CLOSING + 10 {
            let _peer = TcpStream::connect(address).unwrap();
            loop {
                if let Event::Accepted { socket, .. } = world.next() {
                    let (stream, _) = world.streams.adopt(socket).unwrap();
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
        let mut peer = TcpStream::connect(world.listen()).unwrap();
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
        let _peer = TcpStream::connect(world.listen()).unwrap();
        let stream = world.accept().unwrap();
        // Nothing runs the task between two writes, as when the kernel takes nothing.
        let is_closed = (0..WRITE_MESSAGES).any(|_| !world.streams.write(stream, vec![0; 1024]));
        assert!(is_closed);
        assert!(world.streams.is_empty());
        assert!(!world.streams.write(stream, vec![0]));
    }
}
