//! The network between the gateway and the phones: delay, loss, duplication, reordering, by seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How bad the network is; the default is a perfect one with 1 ms of delay.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Of 100 packets, how many are lost.
    pub loss: u8,
    /// Of 100 packets, how many arrive twice.
    pub duplication: u8,
    /// Of 100 packets, how many are held back past their successors.
    pub reordering: u8,
    pub delay: Duration,
}

impl Default for Weather {
    fn default() -> Self {
        Self { loss: 0, duplication: 0, reordering: 0, delay: Duration::from_millis(1) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub data: Vec<u8>,
}

/// Packets on their way, by arrival.
#[derive(Debug)]
pub struct Link {
    weather: Weather,
    random: fastrand::Rng,
    on_the_way: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
}

impl Link {
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            random: fastrand::Rng::with_seed(seed),
            on_the_way: BTreeMap::new(),
            sent: 0,
        }
    }

    pub fn send(&mut self, now: Instant, packet: Packet) {
        if self.random.u8(..100) < self.weather.loss {
            return;
        }
        let copies = if self.random.u8(..100) < self.weather.duplication { 2 } else { 1 };
        for _ in 0..copies {
            let held_back = self.random.u8(..100) < self.weather.reordering;
            let delay = self.weather.delay * if held_back { HELD_BACK } else { 1 };
            self.sent += 1;
            self.on_the_way.insert((now + delay, self.sent), packet.clone());
        }
    }

    pub fn receive(&mut self, now: Instant) -> Option<Packet> {
        let (&(at, _), _) = self.on_the_way.first_key_value()?;
        if at > now {
            return None;
        }
        self.on_the_way.pop_first().map(|(_, packet)| packet)
    }

    pub fn next(&self) -> Option<Instant> {
        self.on_the_way.first_key_value().map(|(&(at, _), _)| at)
    }
}

/// A packet held back is this many times as long on its way.
const HELD_BACK: u32 = 30;
