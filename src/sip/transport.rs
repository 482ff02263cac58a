//! Where messages leave and come in (RFC 3261 §18, RFC 3581), without sockets.
//!
//! Chooses the listener or stream for a destination, writes the sent-by of Via, finds the way of
//! a response from the request's Via, keeps the table of TCP connections with their framers and
//! the bytes that wait for a connection. TLS and WebSocket are **not** supported.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::framing::{Frame, Framer, FramingError};
use super::transaction::Reliability;
use super::user_agent::{Listener, Output, StreamId, Transport};
use super::via::Via;
use crate::stats;
use crate::timers::Timers;

/// A way to one peer: where a request came from, or where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    Datagram { listener: usize, to: SocketAddr },
    Stream { transport: Transport, stream: StreamId, peer: SocketAddr },
}

impl Destination {
    pub fn peer(&self) -> SocketAddr {
        match self {
            Self::Datagram { to, .. } => *to,
            Self::Stream { peer, .. } => *peer,
        }
    }

    pub fn transport(&self) -> Transport {
        match self {
            Self::Datagram { .. } => Transport::Udp,
            Self::Stream { transport, .. } => *transport,
        }
    }

    pub fn reliability(&self) -> Reliability {
        match self {
            Self::Datagram { .. } => Reliability::Unreliable,
            Self::Stream { .. } => Reliability::Reliable,
        }
    }
}

/// Why something could not be sent: no listener, stream gone, or a table or queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsent;

/// All listeners and streams, and what is to be done with them.
#[derive(Debug)]
pub struct Transports {
    listeners: Vec<Listener>,
    public_address: String,
    /// At most `max_streams`. Full: an accepted connection is closed, one of ours not opened;
    /// counted as `sip_refused_full_streams`.
    streams: HashMap<StreamId, Stream>,
    /// The newest to each address.
    by_peer: HashMap<(Transport, SocketAddr), StreamId>,
    max_streams: usize,
    max_message: usize,
    next_stream: u64,
    timers: Timers<StreamId>,
    /// Drained by the driver after every input.
    pub outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Stream {
    transport: Transport,
    peer: SocketAddr,
    /// Whose certificate a secure one of ours was opened for; empty: an accepted one.
    name: String,
    local: Option<SocketAddr>,
    /// Bytes that wait until the connection stands; `None` once it does. At most
    /// [`MAX_WAITING`]; what does not fit fails.
    waiting: Option<Vec<u8>>,
    framer: Framer,
    /// When a message last came or went.
    active: Instant,
    heard: bool,
}

impl Transports {
    pub fn new(
        listeners: Vec<Listener>,
        public_address: String,
        max_streams: usize,
        max_message: usize,
    ) -> Self {
        Self {
            listeners,
            public_address,
            streams: HashMap::new(),
            by_peer: HashMap::new(),
            max_streams,
            max_message,
            next_stream: 2,
            timers: Timers::new(),
            outputs: VecDeque::new(),
        }
    }

    pub fn set_public_address(&mut self, public_address: String) {
        self.public_address = public_address;
    }

    /// Sends bytes, or queues them until their connection stands.
    pub fn send(&mut self, now: Instant, way: Destination, data: Vec<u8>) -> Result<(), Unsent> {
        match way {
            Destination::Datagram { listener, to } => {
                self.outputs.push_back(Output::Datagram { listener, to, data });
            }
            Destination::Stream { stream: id, .. } => {
                let stream = self.streams.get_mut(&id).ok_or(Unsent)?;
                stream.active = now;
                match &mut stream.waiting {
                    Some(waiting) if waiting.len() + data.len() > MAX_WAITING => {
                        stats::SIP_SEND_FAILED.add(1);
                        return Err(Unsent);
                    }
                    Some(waiting) => waiting.extend_from_slice(&data),
                    None => self.outputs.push_back(Output::Stream { stream: id, data }),
                }
            }
        }
        Ok(())
    }

    /// The way to an address of the host `name`: a listener of its family, or a connection,
    /// opened when there is none. A secure one is used again only for the name that its
    /// certificate was checked for (RFC 5923 §8.2 means the same).
    pub fn open(
        &mut self,
        now: Instant,
        transport: Transport,
        to: SocketAddr,
        name: &str,
    ) -> Result<Destination, Unsent> {
        if transport == Transport::Udp {
            let listener = self.listener_for(Transport::Udp, to.ip()).ok_or(Unsent)?;
            return Ok(Destination::Datagram { listener, to });
        }
        if let Some(&stream) = self.by_peer.get(&(transport, to)) {
            let name_of = |stream: &Stream| stream.name == name || !transport.is_secure();
            if self.streams.get(&stream).is_some_and(name_of) {
                return Ok(Destination::Stream { transport, stream, peer: to });
            }
        }
        // A phone behind a WebSocket has no address to connect to (RFC 7118 §6).
        if transport.is_websocket() {
            return Err(Unsent);
        }
        if self.streams.len() >= self.max_streams {
            stats::SIP_REFUSED_FULL_STREAMS.add(1);
            return Err(Unsent);
        }
        let stream = StreamId(self.next_stream);
        self.next_stream += 2;
        let way = Destination::Stream { transport, stream, peer: to };
        self.insert(now, way, stream, name, None, Some(Vec::new()));
        let name = name.to_owned();
        self.outputs.push_back(Output::Connect { stream, transport, to, name });
        Ok(way)
    }

    /// The stream to this peer that stands.
    pub fn stream_to(&self, transport: Transport, peer: SocketAddr) -> Option<Destination> {
        let &stream = self.by_peer.get(&(transport, peer))?;
        Some(Destination::Stream { transport, stream, peer })
    }

    /// As what we would be known on a way that is not open yet: names and addresses are those of
    /// the listener from which it would begin. `None`: an address outside is not known yet.
    pub fn towards(&self, transport: Transport, to: Option<SocketAddr>) -> Destination {
        let to = to.unwrap_or(ELSEWHERE);
        let listener = self
            .listener_for(transport, to.ip())
            .or_else(|| self.listener_for(Transport::Udp, to.ip()));
        Destination::Datagram { listener: listener.unwrap_or(0), to }
    }

    /// A peer connected to a listener.
    pub fn accepted(
        &mut self,
        now: Instant,
        id: StreamId,
        listener: usize,
        peer: SocketAddr,
        local: SocketAddr,
    ) {
        let listener = self.listeners.get(listener).filter(|one| one.transport.is_stream());
        let is_full = self.streams.len() >= self.max_streams || self.streams.contains_key(&id);
        let Some(listener) = listener.filter(|_| !is_full) else {
            stats::SIP_REFUSED_FULL_STREAMS.add(1);
            self.outputs.push_back(Output::Close { stream: id });
            return;
        };
        let transport = listener.transport;
        let way = Destination::Stream { transport, stream: id, peer };
        self.insert(now, way, id, "", Some(local), None);
    }

    /// A connection of ours stands: what waited for it goes out.
    pub fn connected(&mut self, now: Instant, id: StreamId, local: SocketAddr) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.local = Some(local);
        stream.active = now;
        if let Some(data) = stream.waiting.take().filter(|data| !data.is_empty()) {
            self.outputs.push_back(Output::Stream { stream: id, data });
        }
        self.timers.arm(id, now + IDLE);
    }

    /// A stream is gone, or was never there.
    pub fn closed(&mut self, id: StreamId) -> Option<SocketAddr> {
        let stream = self.streams.remove(&id)?;
        self.timers.disarm(id);
        let place = (stream.transport, stream.peer);
        if self.by_peer.get(&place) == Some(&id) {
            self.by_peer.remove(&place);
        }
        Some(stream.peer)
    }

    /// Closes a stream from our side.
    pub fn close(&mut self, id: StreamId) {
        if self.closed(id).is_some() {
            self.outputs.push_back(Output::Close { stream: id });
        }
    }

    /// Takes in bytes of a stream; [`Transports::next_message`] gives what they complete.
    pub fn receive(&mut self, now: Instant, id: StreamId, data: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.active = now;
            stream.framer.push(data);
        }
    }

    /// The next whole message of a stream; pings are answered on the way (RFC 5626 §3.5.1).
    pub fn next_message(
        &mut self,
        now: Instant,
        id: StreamId,
    ) -> Option<Result<(Vec<u8>, Destination), FramingError>> {
        let stream = self.streams.get_mut(&id)?;
        let mut was_pinged = false;
        let message = loop {
            match stream.framer.next() {
                None => break None,
                Some(Ok(Frame::Ping)) => was_pinged = true,
                Some(Ok(Frame::Pong)) => {}
                Some(Ok(Frame::Message(bytes))) => break Some(Ok(bytes)),
                Some(Err(error)) => break Some(Err(error)),
            }
        };
        if matches!(message, Some(Ok(_))) && !stream.heard {
            stream.heard = true;
            self.timers.arm(id, now + IDLE);
        }
        let transport = stream.transport;
        let way = Destination::Stream { transport, stream: id, peer: stream.peer };
        // Many at once get one answer: a peer cannot make us send more than it does.
        if was_pinged && stream.waiting.is_none() {
            self.outputs.push_back(Output::Stream { stream: id, data: b"\r\n".to_vec() });
        }
        message.map(|message| message.map(|bytes| (bytes, way)))
    }

    /// A stream that has been idle for its time; the caller keeps it alive or closes it.
    pub fn pop_idle(&mut self, now: Instant) -> Option<(StreamId, SocketAddr)> {
        while let Some(id) = self.timers.pop_due(now) {
            let Some(stream) = self.streams.get(&id) else {
                continue;
            };
            let allowed = if stream.heard || stream.local.is_none() { IDLE } else { SILENT };
            let deadline = stream.active + allowed;
            // Bytes that never make a message do not keep a connection.
            if deadline > now && stream.heard {
                self.timers.arm(id, deadline);
                continue;
            }
            return Some((id, stream.peer));
        }
        None
    }

    pub fn has_room(&self) -> bool {
        self.streams.len() < self.max_streams
    }

    /// The streams, the one that was silent longest first.
    pub fn by_silence(&self) -> impl Iterator<Item = (StreamId, SocketAddr)> + use<> {
        let mut all: Vec<_> =
            self.streams.iter().map(|(&id, stream)| (stream.active, id, stream.peer)).collect();
        all.sort_unstable_by_key(|(active, id, _)| (*active, *id));
        all.into_iter().map(|(_, id, peer)| (id, peer))
    }

    /// Double CRLF: keeps the NAT's mapping and finds out whether the peer is there
    /// (RFC 5626 §3.5.1).
    pub fn keep_alive(&mut self, now: Instant, id: StreamId) {
        self.outputs.push_back(Output::Stream { stream: id, data: b"\r\n\r\n".to_vec() });
        self.timers.arm(id, now + IDLE);
    }

    /// Whether a message may leave this way.
    pub fn is_open(&self, way: Destination) -> bool {
        match way {
            Destination::Datagram { listener, .. } => listener < self.listeners.len(),
            Destination::Stream { stream, .. } => self.streams.contains_key(&stream),
        }
    }

    /// The way of a response (RFC 3261 §18.2.2, RFC 3581 §4). `via` is the top-most of the
    /// request after [`Via::note_source`].
    ///
    /// `maddr` is ignored: it would let a stranger send our answers to anybody.
    pub fn response_way(&mut self, now: Instant, via: &Via, source: Destination) -> Destination {
        match source {
            Destination::Datagram { listener, to } => {
                let behind_nat = via.host.parse() != Ok(to.ip());
                let port = if via.parameter("rport").is_some() || behind_nat {
                    to.port()
                } else {
                    via.port.unwrap_or(Transport::Udp.default_port())
                };
                Destination::Datagram { listener, to: SocketAddr::new(to.ip(), port) }
            }
            Destination::Stream { .. } if self.is_open(source) => source,
            Destination::Stream { transport, peer, .. } => {
                let port = via.port.unwrap_or(transport.default_port());
                let to = SocketAddr::new(peer.ip(), port);
                self.open(now, transport, to, &via.host).unwrap_or(source)
            }
        }
    }

    /// The Via that we put on a request leaving this way.
    pub fn via(&self, way: Destination, branch: String) -> Via {
        let (host, port) = self.local_name(way);
        // With `rport` (RFC 3581 §3): the answer comes to the source.
        Via::new(way.transport().via(), &host, Some(port), branch)
    }

    /// Host and port at which the peer of this way reaches us: sent-by and Contact.
    pub fn local_name(&self, way: Destination) -> (String, u16) {
        let peer = way.peer().ip();
        let port = match way {
            Destination::Datagram { listener, .. } => {
                self.listeners.get(listener).map(|listener| listener.address.port())
            }
            Destination::Stream { transport, stream, .. } => self
                .listener_for(transport, peer)
                .and_then(|listener| self.listeners.get(listener))
                .map(|listener| listener.address.port())
                // Nobody listens: the peer that looks for a connection to there finds this one.
                .or_else(|| Some(self.streams.get(&stream)?.local?.port())),
        };
        let host = match &*self.public_address {
            public if public.is_empty() || peer.is_loopback() => self.local_ip(way).to_string(),
            public => public.to_owned(),
        };
        (host, port.unwrap_or(way.transport().default_port()))
    }

    /// The address to write in SDP for the peer of this way.
    pub fn sdp_ip(&self, way: Destination) -> IpAddr {
        match self.public_address.parse() {
            Ok(public) if !way.peer().ip().is_loopback() => public,
            _ => self.local_ip(way),
        }
    }

    /// Whether a host is one of our names.
    pub fn is_ours(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.public_address)
            || host.parse::<IpAddr>().is_ok_and(|ip| {
                ip.is_loopback()
                    || self.listeners.iter().any(|listener| {
                        listener.address.ip() == ip || listener.advertised.ip() == ip
                    })
            })
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    fn local_ip(&self, way: Destination) -> IpAddr {
        let peer = way.peer().ip();
        if let Destination::Stream { stream, .. } = way
            && let Some(local) = self.streams.get(&stream).and_then(|stream| stream.local)
        {
            return local.ip();
        }
        let listener = match way {
            Destination::Datagram { listener, .. } => Some(listener),
            Destination::Stream { transport, .. } => self
                .listener_for(transport, peer)
                .or_else(|| self.listener_for(Transport::Udp, peer)),
        };
        match listener.and_then(|listener| self.listeners.get(listener)) {
            Some(listener) if !listener.address.ip().is_unspecified() => listener.address.ip(),
            // A peer on this machine reaches us where it is itself.
            _ if peer.is_loopback() => peer,
            Some(listener) => listener.advertised.ip(),
            None => self.listeners.first().map_or(peer, |listener| listener.advertised.ip()),
        }
    }

    /// The first listener that can reach this address.
    fn listener_for(&self, transport: Transport, to: IpAddr) -> Option<usize> {
        self.listeners.iter().position(|listener| {
            let own = listener.address.ip();
            listener.transport == transport
                && own.is_ipv4() == to.is_ipv4()
                // A socket bound to loopback reaches nobody else, and the other way round.
                && (own.is_unspecified() || own.is_loopback() == to.is_loopback())
        })
    }

    fn insert(
        &mut self,
        now: Instant,
        way: Destination,
        id: StreamId,
        name: &str,
        local: Option<SocketAddr>,
        waiting: Option<Vec<u8>>,
    ) {
        let (transport, peer) = (way.transport(), way.peer());
        let framer = Framer::new(self.max_message);
        let heard = waiting.is_some();
        let name = name.to_owned();
        self.timers.arm(id, now + if heard { IDLE } else { SILENT });
        let stream = Stream { transport, peer, name, local, waiting, framer, active: now, heard };
        self.streams.insert(id, stream);
        self.by_peer.insert((transport, peer), id);
    }
}

/// Whether an address is of the inside of a network (RFC 1918, RFC 6598, RFC 4193, link-local).
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || first == 100 && second & 0xc0 == 64
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Any address outside (RFC 5737).
const ELSEWHERE: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5060);
/// Bytes that may wait for a connection: some tens of requests.
const MAX_WAITING: usize = 64 * 1024;
/// A stream without traffic is looked at after this time: closed, or pinged when still needed.
const IDLE: Duration = Duration::from_secs(120);
/// A peer that connected must send a whole message within this time.
const SILENT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn transports(public: &str) -> Transports {
        let listener = |transport, bound: &str| Listener {
            transport,
            address: address(bound),
            advertised: address("192.0.2.1:5060"),
        };
        let listeners = vec![
            listener(Transport::Udp, "0.0.0.0:5060"),
            listener(Transport::Tcp, "0.0.0.0:5062"),
        ];
        Transports::new(listeners, public.to_owned(), 2, 65536)
    }

    fn via(host: &str, port: Option<u16>, rport: bool) -> Via {
        let mut parameters = vec![("branch".to_owned(), Some("z9hG4bK1".to_owned()))];
        if rport {
            parameters.push(("rport".to_owned(), None));
        }
        Via { transport: "UDP".to_owned(), host: host.to_owned(), port, parameters }
    }

    #[test]
    fn via_with_rport_learns_the_source_and_the_answer_goes_there() {
        let mut transports = transports("");
        let mut via = via("10.0.0.5", Some(5060), true);
        let from = address("203.0.113.9:40001");
        via.note_source(from);
        assert_eq!(via.parameter("received"), Some("203.0.113.9"));
        assert_eq!(via.parameter("rport"), Some("40001"));
        let source = Destination::Datagram { listener: 0, to: from };
        assert_eq!(transports.response_way(Instant::now(), &via, source), source);
    }

    #[test]
    fn answer_without_rport_goes_to_the_port_of_sent_by() {
        let mut transports = transports("");
        let mut via = via("203.0.113.9", None, false);
        let from = address("203.0.113.9:40001");
        via.note_source(from);
        assert_eq!(via.parameter("received"), None);
        let source = Destination::Datagram { listener: 0, to: from };
        let expected = Destination::Datagram { listener: 0, to: address("203.0.113.9:5060") };
        assert_eq!(transports.response_way(Instant::now(), &via, source), expected);
    }

    #[test]
    fn peer_sees_the_address_at_which_it_reaches_us() {
        let public = transports("198.51.100.7");
        let plain = transports("");
        let far = Destination::Datagram { listener: 0, to: address("203.0.113.9:5060") };
        let near = Destination::Datagram { listener: 0, to: address("127.0.0.1:5070") };
        assert_eq!(public.local_name(far), ("198.51.100.7".to_owned(), 5060));
        assert_eq!(public.local_name(near), ("127.0.0.1".to_owned(), 5060));
        assert_eq!(plain.local_name(far), ("192.0.2.1".to_owned(), 5060));
        assert_eq!(plain.sdp_ip(far), address("192.0.2.1:0").ip());
        assert_eq!(public.sdp_ip(far), address("198.51.100.7:0").ip());
        assert_eq!(public.sdp_ip(near), address("127.0.0.1:0").ip());
    }

    #[test]
    fn stream_is_opened_once_and_keeps_what_is_sent_before_it_stands() {
        let now = Instant::now();
        let mut transports = transports("");
        let to = address("203.0.113.9:5060");
        let way = transports.open(now, Transport::Tcp, to, "b.example").unwrap();
        assert_eq!(transports.open(now, Transport::Tcp, to, "b.example"), Ok(way));
        transports.send(now, way, b"one".to_vec()).unwrap();
        transports.send(now, way, b"two".to_vec()).unwrap();
        let stream = StreamId(2);
        assert!(matches!(transports.outputs.pop_front(), Some(Output::Connect { .. })));
        assert!(transports.outputs.is_empty());
        transports.connected(now, stream, address("192.0.2.1:33333"));
        let Some(Output::Stream { data, .. }) = transports.outputs.pop_front() else {
            panic!("the waiting bytes go out");
        };
        assert_eq!(data, b"onetwo");
        assert_eq!(transports.send(now, way, vec![0; 70_000]), Ok(()));
    }

    #[test]
    fn waiting_bytes_are_bounded() {
        let now = Instant::now();
        let mut transports = transports("");
        let way =
            transports.open(now, Transport::Tcp, address("203.0.113.9:5060"), "b.example").unwrap();
        assert_eq!(transports.send(now, way, vec![0; MAX_WAITING]), Ok(()));
        assert_eq!(transports.send(now, way, vec![0; 1]), Err(Unsent));
    }

    #[test]
    fn surplus_streams_are_refused() {
        let now = Instant::now();
        let mut transports = transports("");
        for number in [1, 3, 5] {
            let peer = SocketAddr::new(address("203.0.113.9:0").ip(), 1000 + number as u16);
            transports.accepted(now, StreamId(number), 1, peer, address("192.0.2.1:5062"));
        }
        assert_eq!(transports.stream_count(), 2);
        assert!(matches!(
            transports.outputs.pop_front(),
            Some(Output::Close { stream: StreamId(5) })
        ));
        assert_eq!(transports.open(now, Transport::Tcp, address("203.0.113.9:9"), ""), Err(Unsent));
    }

    #[test]
    fn peer_that_sends_no_message_is_noticed_after_30_seconds() {
        let now = Instant::now();
        let mut transports = transports("");
        let peer = address("203.0.113.9:1000");
        transports.accepted(now, StreamId(1), 1, peer, address("192.0.2.1:5062"));
        let later = now + Duration::from_secs(29);
        transports.receive(later, StreamId(1), b"INVITE");
        assert_eq!(transports.pop_idle(later), None);
        assert_eq!(transports.pop_idle(now + SILENT), Some((StreamId(1), peer)));
    }
}
