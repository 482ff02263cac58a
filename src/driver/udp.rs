//! SIP over UDP: one non-blocking socket per listener.
//!
//! Packets are taken until the socket has no more, a bounded number in each turn of the reactor.
//! What cannot be delivered (ICMP, no route) is told by the peer's address, so that a call fails
//! over at once and not after Timer B.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use super::icmp;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// One UDP socket of `[sip] listen`.
pub struct Listener {
    socket: UdpSocket,
    /// The kernel may hold more packets; false: wait for the poller to say so.
    is_readable: bool,
}

/// What came of waiting for a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Length in the buffer, and the source.
    Packet(usize, SocketAddr),
    /// An earlier packet to this address was refused on its way.
    Unreachable(SocketAddr),
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Out,
    /// The send buffer is full: the packet is lost like any other, and repeated by its timer.
    Dropped,
    /// No way to this address.
    Unreachable,
}

impl Listener {
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
        if address.is_ipv6() {
            // Beside a socket of the same port on 0.0.0.0.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        rustix::net::bind(&socket, &address)?;
        // Room for a burst while the reactor is busy elsewhere; the kernel caps it at rmem_max.
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        if let Err(error) = icmp::report_errors(socket.as_fd(), address) {
            log::debug!("{address}: no report of unreachable peers: {error}");
        }
        Ok(Self { socket: socket.into(), is_readable: true })
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The poller has told of packets.
    pub fn set_readable(&mut self) {
        self.is_readable = true;
    }

    /// The next packet into `buffer`; `None`: the poller will tell of more.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<Received> {
        while self.is_readable {
            match self.socket.recv_from(buffer) {
                Ok((length, from)) => return Some(Received::Packet(length, from)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // No packet, or the pending error of an earlier one of ours, whose address is in
                // the error queue: the kernel queues ICMP apart from packets.
                Err(error) => match icmp::next_unreachable(self.socket.as_fd()) {
                    Some(to) => return Some(Received::Unreachable(to)),
                    None if error.kind() == io::ErrorKind::WouldBlock => self.is_readable = false,
                    None => log::debug!("UDP receive: {error}"),
                },
            }
        }
        None
    }

    pub fn send(&self, to: SocketAddr, data: &[u8]) -> Sent {
        // The first try may bring the pending error of an earlier packet, to somebody else.
        for _ in 0..2 {
            let error = match self.socket.send_to(data, to) {
                Ok(_) => return Sent::Out,
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => return Sent::Dropped,
                io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted => {}
                _ => {
                    log::debug!("UDP to {to}: {error}");
                    return Sent::Unreachable;
                }
            }
        }
        Sent::Dropped
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The address that this machine would write for peers: of the interface with the default
/// route. Nothing is sent; loopback where there is no route, or one from a link-local address only,
/// which means nothing to others.
pub fn own_address(is_ipv6: bool) -> std::net::IpAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let (any, documentation, loopback) = match is_ipv6 {
        // RFC 5737 and RFC 3849: addresses of nobody.
        false => ("0.0.0.0:0", "192.0.2.1:5060", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        true => ("[::]:0", "[2001:db8::1]:5060", IpAddr::V6(Ipv6Addr::LOCALHOST)),
    };
    let guess = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(documentation)?;
        Ok(socket.local_addr()?.ip())
    };
    let is_of_use = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_unicast_link_local(),
    };
    guess().ok().filter(is_of_use).unwrap_or(loopback)
}

/// Bytes asked of the kernel, some 500 INVITEs.
const RECEIVE_BUFFER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::poll::Poller;
    use super::*;
    use std::time::{Duration, Instant};

    fn loopback() -> Listener {
        Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    fn receive(listener: &mut Listener) -> (Received, Vec<u8>) {
        let mut buffer = [0; 2048];
        let mut poller = Poller::new().unwrap();
        poller.add(&*listener, 0).unwrap();
        let give_up = Instant::now() + Duration::from_secs(5);
        let received = loop {
            if let Some(received) = listener.receive(&mut buffer) {
                break received;
            }
            assert!(Instant::now() < give_up, "nothing came in 5 s");
            poller.wait(Some(give_up), &mut Vec::new()).unwrap();
            listener.set_readable();
        };
        (received, buffer.to_vec())
    }

    #[test]
    fn packets_cross_with_their_source() {
        let (one, mut other) = (loopback(), loopback());
        let (from, to) = (one.local_address().unwrap(), other.local_address().unwrap());
        assert_eq!(one.send(to, b"OPTIONS"), Sent::Out);
        let (received, buffer) = receive(&mut other);
        assert_eq!(received, Received::Packet(7, from));
        assert_eq!(&buffer[..7], b"OPTIONS");
    }

    #[test]
    fn closed_port_is_told_by_its_address() {
        let mut one = loopback();
        let gone = loopback();
        let to = gone.local_address().unwrap();
        drop(gone);
        assert_eq!(one.send(to, b"INVITE"), Sent::Out);
        assert_eq!(receive(&mut one).0, Received::Unreachable(to));
    }

    #[test]
    fn refused_packet_does_not_stop_the_next() {
        let (one, mut other) = (loopback(), loopback());
        let gone = loopback();
        let (closed, open) = (gone.local_address().unwrap(), other.local_address().unwrap());
        drop(gone);
        assert_eq!(one.send(closed, b"1"), Sent::Out);
        assert_eq!(one.send(open, b"2"), Sent::Out);
        assert!(matches!(receive(&mut other).0, Received::Packet(1, _)));
    }

    #[test]
    fn own_address_is_never_unspecified() {
        assert!(!own_address(false).is_unspecified());
        assert!(!own_address(true).is_unspecified());
    }
}
