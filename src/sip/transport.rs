//! Where messages leave and come in (RFC 3261 §18, RFC 3581), without sockets.
//!
//! Chooses the listener or stream for a destination, writes the sent-by of Via, finds the way of
//! a response from the request's Via, and keeps the table of connections. Connections of ours are
//! used again for the same address, over TLS for the same name, too; a phone's for whatever goes
//! to the phone (RFC 5923, RFC 5626 in essence).

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::framing::{Frame, FramingError};
use super::stream::{IDLE, MAX_WAITING, Overdue, SILENT, Stream};
use super::transaction::Reliability;
use super::user_agent::{Listener, Network, Output, StreamId, Transport};
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
    /// Whose peers are told our own address in the place of the public one.
    local_networks: Vec<Network>,
    /// At most `max_streams`, accepted ones an eighth less, so that trunks are reached however many
    /// connect. Full: an accepted connection is closed, one of ours not opened; counted as
    /// `sip_refused_full_streams`.
    streams: HashMap<StreamId, Stream>,
    /// The newest to each address.
    by_peer: HashMap<(Transport, SocketAddr), StreamId>,
    max_streams: usize,
    max_message: usize,
    /// Web pages whose WebSocket is taken; empty: all.
    origins: Arc<[String]>,
    next_stream: u64,
    timers: Timers<StreamId>,
    /// Drained by the driver after every input.
    pub outputs: VecDeque<Output>,
    /// Streams that are gone, until the user agent tells the registrar.
    lost: VecDeque<(Transport, SocketAddr)>,
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
            local_networks: Vec::new(),
            streams: HashMap::new(),
            by_peer: HashMap::new(),
            max_streams,
            max_message,
            origins: [].into(),
            next_stream: 2,
            timers: Timers::new(),
            outputs: VecDeque::new(),
            lost: VecDeque::new(),
        }
    }

    pub fn set_origins(&mut self, origins: &[String]) {
        self.origins = origins.into();
    }

    pub fn set_public_address(&mut self, public_address: String) {
        self.public_address = public_address;
    }

    /// None: all private ones, unless the public address is private itself.
    pub fn set_local_networks(&mut self, networks: &[Network]) {
        self.local_networks = networks.to_vec();
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
                    None => {
                        let data = stream.framed(data);
                        self.outputs.push_back(Output::Stream { stream: id, data });
                    }
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
        // Whoever speaks WebSocket to us is a client of it: nobody listens there.
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
        let opening = Stream::opening(now, transport, to, name, self.max_message);
        self.insert(stream, opening, now + IDLE);
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
        let has_room = self.has_room() && !self.streams.contains_key(&id);
        let Some(listener) = listener.filter(|_| has_room) else {
            stats::SIP_REFUSED_FULL_STREAMS.add(1);
            self.outputs.push_back(Output::Close { stream: id });
            return;
        };
        let (transport, limit) = (listener.transport, self.max_message);
        let stream = Stream::accepted(now, transport, peer, local, limit, &self.origins);
        self.insert(id, stream, now + SILENT);
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
            self.lost.push_back(place);
        }
        Some(stream.peer)
    }

    /// A stream that is gone, by its peer; each is told once.
    pub fn poll_lost(&mut self) -> Option<(Transport, SocketAddr)> {
        self.lost.pop_front()
    }

    /// Sends a packet that keeps a NAT open; it holds nothing that a peer would answer.
    pub fn ping(&mut self, listener: usize, to: SocketAddr) {
        if listener < self.listeners.len() {
            self.outputs.push_back(Output::Datagram { listener, to, data: b"\r\n\r\n".to_vec() });
        }
    }

    /// Closes a stream from our side.
    pub fn close(&mut self, id: StreamId) {
        let farewell = self.streams.get(&id).map(Stream::farewell).unwrap_or_default();
        if !farewell.is_empty() {
            self.outputs.push_back(Output::Stream { stream: id, data: farewell });
        }
        if self.closed(id).is_some() {
            self.outputs.push_back(Output::Close { stream: id });
        }
    }

    /// Takes in bytes of a stream; [`Transports::next_message`] gives what they complete.
    pub fn receive(&mut self, now: Instant, id: StreamId, data: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.push(now, data);
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
        let was_heard = stream.is_heard;
        let message = loop {
            match stream.next(now) {
                None => break None,
                Some(Ok(Frame::Ping)) => was_pinged = true,
                Some(Ok(Frame::Pong)) => {}
                Some(Ok(Frame::Message(bytes))) => break Some(Ok(bytes)),
                Some(Err(error)) => break Some(Err(error)),
            }
        };
        let (deadline, overdue) = stream.deadline();
        if stream.is_heard != was_heard || overdue == Overdue::Slow {
            self.timers.arm(id, deadline);
        }
        let transport = stream.transport;
        let way = Destination::Stream { transport, stream: id, peer: stream.peer };
        let mut data = stream.take_reply();
        // Many at once get one answer: a peer cannot make us send more than it does.
        if was_pinged && stream.waiting.is_none() {
            data.extend(stream.framed(b"\r\n".to_vec()));
        }
        if !data.is_empty() {
            self.outputs.push_back(Output::Stream { stream: id, data });
        }
        message.map(|message| message.map(|bytes| (bytes, way)))
    }

    /// A stream that is not to be left alone any longer, and why.
    pub fn pop_overdue(&mut self, now: Instant) -> Option<(StreamId, SocketAddr, Overdue)> {
        while let Some(id) = self.timers.pop_due(now) {
            let Some(stream) = self.streams.get(&id) else {
                continue;
            };
            let (deadline, overdue) = stream.deadline();
            if deadline <= now {
                return Some((id, stream.peer, overdue));
            }
            self.timers.arm(id, deadline);
        }
        None
    }

    /// Whether one more peer may connect.
    pub fn has_room(&self) -> bool {
        self.streams.len() < self.max_streams - self.max_streams / 8
    }

    /// The streams in the order in which they go to make room: those that said nothing yet, of
    /// the address that has most of them first; then the others, the longest silent first.
    pub fn by_worth(&self) -> impl Iterator<Item = (StreamId, SocketAddr)> + use<> {
        let mut unheard: HashMap<IpAddr, usize> = HashMap::new();
        for stream in self.streams.values().filter(|stream| !stream.is_heard) {
            *unheard.entry(stream.peer.ip()).or_default() += 1;
        }
        let worth = |stream: &Stream| match stream.is_heard {
            true => usize::MAX,
            false => usize::MAX - unheard.get(&stream.peer.ip()).copied().unwrap_or(1),
        };
        let all = self.streams.iter();
        let mut all: Vec<_> =
            all.map(|(&id, stream)| (worth(stream), stream.active, id, stream.peer)).collect();
        all.sort_unstable_by_key(|(worth, active, id, _)| (*worth, *active, *id));
        all.into_iter().map(|(_, _, id, peer)| (id, peer))
    }

    /// Keeps the NAT's mapping and finds out whether the peer is there.
    pub fn keep_alive(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        self.outputs.push_back(Output::Stream { stream: id, data: stream.keep_alive() });
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
        let host = match self.public_name(peer) {
            Some(public) => public.to_owned(),
            None => self.local_ip(way).to_string(),
        };
        (host, port.unwrap_or(way.transport().default_port()))
    }

    /// The address to write in SDP for the peer of this way.
    pub fn sdp_ip(&self, way: Destination) -> IpAddr {
        let public = self.public_name(way.peer().ip()).and_then(|public| public.parse().ok());
        public.unwrap_or_else(|| self.local_ip(way))
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

    /// Whether a peer of this family could connect or send to us.
    pub fn has_listener(&self, transport: Transport, peer: IpAddr) -> bool {
        self.listener_for(transport, peer).is_some()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// What peers outside see us as; an address is for those of its own family.
    fn public_name(&self, peer: IpAddr) -> Option<&str> {
        let public = self.public_address.as_str();
        let is_of_use = !public.is_empty()
            && !self.is_inside(peer)
            && public.parse().map_or(true, |ip: IpAddr| ip.is_ipv4() == peer.is_ipv4());
        is_of_use.then_some(public)
    }

    /// Whether a peer reaches us without the NAT that `public_address` stands for.
    fn is_inside(&self, peer: IpAddr) -> bool {
        if peer.is_loopback() {
            return true;
        }
        if !self.local_networks.is_empty() {
            return self.local_networks.iter().any(|network| network.contains(peer));
        }
        is_private(peer) && !self.public_address.parse().is_ok_and(is_private)
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

    fn insert(&mut self, id: StreamId, stream: Stream, deadline: Instant) {
        self.timers.arm(id, deadline);
        self.by_peer.insert((stream.transport, stream.peer), id);
        self.streams.insert(id, stream);
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
#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    fn peer_of_the_other_family_is_told_an_address_of_its_own() {
        let mut transports = transports("198.51.100.7");
        let listener = Listener {
            transport: Transport::Udp,
            address: address("[::]:5060"),
            advertised: address("[2001:db8::7]:5060"),
        };
        transports.listeners.push(listener);
        let way =
            transports.open(Instant::now(), Transport::Udp, address("[2001:db8::9]:5060"), "");
        let way = way.unwrap();
        assert_eq!(way, Destination::Datagram { listener: 2, to: address("[2001:db8::9]:5060") });
        assert_eq!(transports.sdp_ip(way), address("[2001:db8::7]:0").ip());
        let via = transports.via(way, "z9hG4bK1".to_owned()).to_string();
        assert_eq!(via, "SIP/2.0/UDP [2001:db8::7]:5060;branch=z9hG4bK1;rport");
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
    fn peer_that_sends_no_message_is_noticed_after_15_seconds() {
        let now = Instant::now();
        let mut transports = transports("");
        let peer = address("203.0.113.9:1000");
        transports.accepted(now, StreamId(1), 1, peer, address("192.0.2.1:5062"));
        let later = now + Duration::from_secs(14);
        transports.receive(later, StreamId(1), b"INVITE");
        assert!(transports.next_message(later, StreamId(1)).is_none());
        assert_eq!(transports.pop_overdue(later), None);
        let overdue = Some((StreamId(1), peer, Overdue::Silent));
        assert_eq!(transports.pop_overdue(now + SILENT), overdue);
    }

    #[test]
    fn message_that_trickles_is_noticed_after_30_seconds() {
        const MESSAGE: &[u8] = b"BYE sip:a SIP/2.0\r\nl: 0\r\n\r\n";
        let now = Instant::now();
        let mut transports = transports("");
        let (id, peer) = (StreamId(1), address("203.0.113.9:1000"));
        transports.accepted(now, id, 1, peer, address("192.0.2.1:5062"));
        let mut push = |second: u64, data: &[u8]| {
            let now = now + Duration::from_secs(second);
            transports.receive(now, id, data);
            let mut messages = 0;
            while transports.next_message(now, id).is_some() {
                messages += 1;
            }
            (messages, transports.pop_overdue(now))
        };
        assert_eq!(push(0, MESSAGE), (1, None));
        // A message that is whole at last has cost nothing.
        assert_eq!(push(10, &MESSAGE[..9]), (0, None));
        assert_eq!(push(35, &MESSAGE[9..]), (1, None));
        assert_eq!(push(50, &MESSAGE[..1]), (0, None));
        for second in 1..30 {
            assert_eq!(push(50 + second, b"x"), (0, None), "{second}");
        }
        assert_eq!(push(80, b"x"), (0, Some((id, peer, Overdue::Slow))));
    }

    #[test]
    fn address_with_most_silent_streams_loses_its_oldest_first() {
        let now = Instant::now();
        let mut transports = transports("");
        transports.max_streams = 9;
        let peers = ["203.0.113.1:1", "203.0.113.66:1", "203.0.113.66:2", "203.0.113.2:1"];
        for (number, peer) in peers.into_iter().enumerate() {
            let id = StreamId(2 * number as u64 + 1);
            let at = now + Duration::from_secs(number as u64);
            transports.accepted(at, id, 1, address(peer), address("192.0.2.1:5062"));
        }
        transports.receive(now, StreamId(1), b"BYE sip:a SIP/2.0\r\nl: 0\r\n\r\n");
        assert!(transports.next_message(now, StreamId(1)).is_some());
        let order: Vec<u64> = transports.by_worth().map(|(id, _)| id.0).collect();
        assert_eq!(order, [3, 5, 7, 1]);
    }

    #[test]
    fn some_streams_are_kept_for_connections_of_ours() {
        let now = Instant::now();
        let mut transports = transports("");
        transports.max_streams = 8;
        for number in 0..8 {
            let peer = SocketAddr::new(address("203.0.113.9:0").ip(), 1000 + number as u16);
            let id = StreamId(2 * number + 1);
            transports.accepted(now, id, 1, peer, address("192.0.2.1:5062"));
        }
        assert_eq!(transports.stream_count(), 7);
        assert!(transports.open(now, Transport::Tcp, address("203.0.113.9:9"), "").is_ok());
        assert!(transports.open(now, Transport::Tcp, address("203.0.113.9:8"), "").is_err());
    }

    #[test]
    fn secure_stream_is_used_again_for_the_name_it_was_opened_for_only() {
        let now = Instant::now();
        let mut transports = transports("");
        let to = address("203.0.113.9:5061");
        let way = transports.open(now, Transport::Tls, to, "a.example").unwrap();
        let again = transports.open(now, Transport::Tls, to, "a.example").unwrap();
        assert_eq!(again, way);
        let other = transports.open(now, Transport::Tls, to, "b.example").unwrap();
        assert_ne!(other, way);
        assert!(transports.open(now, Transport::Wss, to, "a.example").is_err());
    }

    #[test]
    fn messages_over_websocket_are_framed_and_pings_answered_in_kind() {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n";
        let now = Instant::now();
        let mut transports = transports("");
        transports.listeners[1].transport = Transport::Ws;
        let (id, peer) = (StreamId(1), address("203.0.113.9:1000"));
        transports.accepted(now, id, 1, peer, address("192.0.2.1:5062"));
        let mut exchange = |data: &[u8]| {
            transports.receive(now, id, data);
            let mut messages = Vec::new();
            while let Some(Ok((message, way))) = transports.next_message(now, id) {
                assert_eq!(way.transport(), Transport::Ws);
                transports.send(now, way, b"200".to_vec()).unwrap();
                messages.push(message);
            }
            let sent = transports.outputs.drain(..).map(|output| match output {
                Output::Stream { data, .. } => data,
                _ => panic!("{output:?}"),
            });
            (messages, sent.collect::<Vec<_>>().concat())
        };
        let (_, answer) = exchange(REQUEST);
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        // The key of all zeros leaves bytes as they are.
        let (messages, answer) = exchange(b"\x81\x83\0\0\0\0BYE\x81\x84\0\0\0\0\r\n\r\n");
        assert_eq!(messages, [b"BYE"]);
        assert_eq!(answer, b"\x81\x03200\x81\x02\r\n");
    }
}
