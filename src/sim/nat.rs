//! A router with address translation between the phones and the gateway (RFC 4787: each inner
//! address has one outer port for all destinations, which is forgotten when nothing passed for a
//! while).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::link::Packet;

/// What the gateway sees of the phones.
pub const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// The router; ports are given from 40001 on.
#[derive(Debug)]
pub struct Nat {
    /// For how long a port stands open after its last packet, of either way.
    lifetime: Duration,
    /// By outer port.
    mappings: BTreeMap<u16, Mapping>,
}

#[derive(Debug)]
struct Mapping {
    inner: SocketAddr,
    used: Instant,
}

impl Nat {
    pub fn new(lifetime: Duration) -> Self {
        Self { lifetime, mappings: BTreeMap::new() }
    }

    /// Opens a port for an inner address, as its next packet would.
    pub fn open(&mut self, now: Instant, inner: SocketAddr) -> SocketAddr {
        self.forget(now);
        let known = self.mappings.iter().find(|(_, mapping)| mapping.inner == inner);
        let port = known.map(|(port, _)| *port).unwrap_or_else(|| {
            let last = self.mappings.last_key_value().map_or(FIRST_PORT - 1, |(port, _)| *port);
            last + 1
        });
        self.mappings.insert(port, Mapping { inner, used: now });
        SocketAddr::new(ROUTER, port)
    }

    /// A packet from inside, as it goes on.
    pub fn out(&mut self, now: Instant, packet: Packet) -> Packet {
        Packet { from: self.open(now, packet.from), ..packet }
    }

    /// A packet from outside; `None`: nobody inside has asked for it.
    pub fn enter(&mut self, now: Instant, packet: &Packet) -> Option<Packet> {
        self.forget(now);
        let mapping = self.mappings.get_mut(&packet.to.port())?;
        mapping.used = now;
        Some(Packet { to: mapping.inner, ..packet.clone() })
    }

    fn forget(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        self.mappings.retain(|_, mapping| mapping.used + lifetime > now);
    }
}

const FIRST_PORT: u16 = 40001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_stands_open_while_packets_pass() {
        let start = Instant::now();
        let mut nat = Nat::new(Duration::from_secs(60));
        let inner = "10.0.1.1:5060".parse().unwrap();
        let gateway = "10.0.0.1:5060".parse().unwrap();
        let out = nat.out(start, Packet { from: inner, to: gateway, data: Vec::new() });
        assert_eq!(out.from, "203.0.113.7:40001".parse().unwrap());
        let back = Packet { from: gateway, to: out.from, data: Vec::new() };
        for second in [59, 118, 177] {
            let now = start + Duration::from_secs(second);
            assert_eq!(nat.enter(now, &back).map(|packet| packet.to), Some(inner));
        }
        assert_eq!(nat.enter(start + Duration::from_secs(237), &back), None);
    }
}
