//! Symmetric RTP: where the peer's packets really come from, and nobody else's.
//!
//! The address in the SDP is often a private one behind a NAT. The first valid packet says which
//! it is; from then on only that source is believed, since whoever guesses the port could speak
//! into the call otherwise.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The source of one call's packets.
#[derive(Debug, Default)]
pub struct Latch {
    source: Option<Believed>,
    /// The source before the peer moved by a re-INVITE: its last packets are not those of the new
    /// place.
    left: Option<(SocketAddr, Instant)>,
}

#[derive(Debug)]
struct Believed {
    address: SocketAddr,
    ssrc: u32,
    heard: Instant,
}

impl Latch {
    /// Whether a valid packet from there is the peer's; `signalled` is the host of its SDP.
    pub fn admit(&mut self, now: Instant, from: SocketAddr, ssrc: u32, signalled: IpAddr) -> bool {
        let is_admitted = match &self.source {
            None => !self.left.is_some_and(|(left, until)| left == from && now < until),
            Some(believed) if believed.address == from => true,
            // The peer's media moved or started anew on its host.
            Some(believed) if from.ip() == signalled && ssrc != believed.ssrc => true,
            // Its NAT gave it another port: nobody else knows its SSRC, and the old port is still.
            Some(believed) => {
                ssrc == believed.ssrc && now.saturating_duration_since(believed.heard) > STILL
            }
        };
        if is_admitted {
            self.source = Some(Believed { address: from, ssrc, heard: now });
        }
        is_admitted
    }

    pub fn source(&self) -> Option<SocketAddr> {
        self.source.as_ref().map(|believed| believed.address)
    }

    /// The peer said that it moved.
    pub fn release(&mut self, now: Instant) {
        if let Some(believed) = self.source.take() {
            self.left = Some((believed.address, now + MOVING));
        }
    }
}

/// How many packets of one source are taken, whoever it is: two calls of which each sends to the
/// other's port, or one that sends to its own, would pass a packet round as fast as they can.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the packets taken so far would have come at [`LEAST_INTERVAL`].
    due: Option<Instant>,
}

impl Pace {
    pub fn admit(&mut self, now: Instant) -> bool {
        let due = self.due.map_or(now, |due| due.max(now));
        let is_admitted = due.saturating_duration_since(now) < BURST;
        if is_admitted {
            self.due = Some(due + LEAST_INTERVAL);
        }
        is_admitted
    }
}

/// Packets of 10 ms with digits between them stay far above.
const LEAST_INTERVAL: Duration = Duration::from_millis(4);
/// 500 packets: what a network may hold back for some seconds and then let go.
const BURST: Duration = Duration::from_secs(2);

/// Silence after which a source may have another port.
const STILL: Duration = Duration::from_secs(2);
/// How long packets from the old place may be under way, or sent by a peer that moves slowly.
const MOVING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALLED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn five_hundred_packets_at_once_are_taken_and_then_250_a_second() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!((0..1000).filter(|_| pace.admit(now)).count(), 500);
        now += Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| pace.admit(now)).count(), 250);
        now += Duration::from_secs(60);
        assert_eq!((0..1000).filter(|_| pace.admit(now)).count(), 500);
    }

    #[test]
    fn usual_streams_are_never_paced() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..10_000 {
            assert!(pace.admit(now));
            now += Duration::from_millis(10);
        }
    }

    #[test]
    fn first_source_is_believed_and_then_only_that() {
        let now = Instant::now();
        let mut latch = Latch::default();
        assert!(latch.admit(now, at("203.0.113.5:1000"), 1, SIGNALLED));
        assert!(!latch.admit(now, at("203.0.113.6:1000"), 2, SIGNALLED));
        assert!(!latch.admit(now, at("203.0.113.5:1001"), 2, SIGNALLED));
        assert!(!latch.admit(now, at("203.0.113.5:1001"), 1, SIGNALLED));
        assert!(latch.admit(now, at("203.0.113.5:1000"), 2, SIGNALLED));
        assert_eq!(latch.source(), Some(at("203.0.113.5:1000")));
    }

    #[test]
    fn new_ssrc_from_the_signalled_host_takes_over() {
        let now = Instant::now();
        let mut latch = Latch::default();
        assert!(latch.admit(now, at("203.0.113.66:9"), 1, SIGNALLED));
        assert!(latch.admit(now, at("192.0.2.1:4000"), 2, SIGNALLED));
        assert!(!latch.admit(now, at("203.0.113.66:9"), 1, SIGNALLED));
        assert!(latch.admit(now, at("192.0.2.1:4002"), 3, SIGNALLED));
        assert!(!latch.admit(now, at("192.0.2.1:4000"), 3, SIGNALLED));
    }

    #[test]
    fn same_source_on_another_port_is_believed_when_the_old_one_is_still() {
        let now = Instant::now();
        let mut latch = Latch::default();
        assert!(latch.admit(now, at("203.0.113.5:1000"), 1, SIGNALLED));
        let later = now + Duration::from_millis(2001);
        assert!(!latch.admit(later, at("203.0.113.9:7"), 2, SIGNALLED));
        assert!(latch.admit(later, at("203.0.113.5:2000"), 1, SIGNALLED));
    }

    #[test]
    fn old_place_is_not_latched_again_while_the_peer_moves() {
        let now = Instant::now();
        let mut latch = Latch::default();
        assert!(latch.admit(now, at("192.0.2.1:4000"), 1, SIGNALLED));
        latch.release(now);
        assert_eq!(latch.source(), None);
        assert!(!latch.admit(now, at("192.0.2.1:4000"), 1, SIGNALLED));
        assert!(latch.admit(now, at("192.0.2.2:4000"), 1, SIGNALLED));
        latch.release(now);
        // A peer that only said so goes on after a second.
        assert!(latch.admit(now + MOVING, at("192.0.2.2:4000"), 1, SIGNALLED));
    }
}
