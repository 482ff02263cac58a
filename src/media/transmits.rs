//! Packets on their way out, in one buffer that is used again and again.

use std::net::SocketAddr;

use super::engine::{SocketId, Transmit};

/// Packets until the driver has taken them. Full: the packet is dropped, counted as
/// `rtp_not_sent`; the driver takes all of them after every wake.
#[derive(Debug, Default)]
pub struct Transmits {
    data: Vec<u8>,
    packets: Vec<Place>,
    taken: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    socket: SocketId,
    is_rtcp: bool,
    to: SocketAddr,
    start: usize,
    end: usize,
}

impl Transmits {
    /// Adds what `write` appends to the buffer.
    pub fn push(
        &mut self,
        socket: SocketId,
        is_rtcp: bool,
        to: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.taken == self.packets.len() {
            self.data.clear();
            self.packets.clear();
            self.taken = 0;
        }
        if self.packets.len() == MOST_PACKETS || self.data.len() > MOST_BYTES {
            crate::stats::RTP_NOT_SENT.add(1);
            return;
        }
        let start = self.data.len();
        write(&mut self.data);
        self.packets.push(Place { socket, is_rtcp, to, start, end: self.data.len() });
    }

    /// Packets that the driver has not taken.
    pub fn waiting(&self) -> usize {
        self.packets.len() - self.taken
    }

    pub fn pop(&mut self) -> Option<Transmit<'_>> {
        let place = self.packets.get(self.taken)?;
        self.taken += 1;
        let data = &self.data[place.start..place.end];
        Some(Transmit { socket: place.socket, is_rtcp: place.is_rtcp, to: place.to, data })
    }
}

/// A tick in which every call of a large gateway speaks, twice over.
const MOST_PACKETS: usize = 8192;
const MOST_BYTES: usize = MOST_PACKETS * 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_in_order_and_the_buffer_is_used_again() {
        let mut transmits = Transmits::default();
        let to: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        for round in 0..3 {
            for n in 0..100u8 {
                transmits.push(SocketId(n.into()), false, to, |data| data.extend([n; 172]));
            }
            for n in 0..100u8 {
                let transmit = transmits.pop().unwrap();
                assert_eq!((transmit.socket, transmit.data), (SocketId(n.into()), &[n; 172][..]));
            }
            assert_eq!(transmits.pop(), None, "{round}");
        }
        assert!(transmits.data.capacity() <= 2 * 17_200);
    }

    #[test]
    fn full_buffer_drops() {
        let mut transmits = Transmits::default();
        let to: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        for _ in 0..MOST_PACKETS + 5 {
            transmits.push(SocketId(0), false, to, |data| data.push(0));
        }
        assert_eq!(transmits.waiting(), MOST_PACKETS);
        assert_eq!(std::iter::from_fn(|| transmits.pop().map(|_| ())).count(), MOST_PACKETS);
    }
}
