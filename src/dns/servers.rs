//! Which servers there are, and whom to ask first.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Settings;

/// The servers in the order of the configuration, with their bad times.
#[derive(Debug, Default)]
pub struct Servers {
    /// Each with the time until which it is asked last.
    list: Vec<(SocketAddr, Option<Instant>)>,
}

impl Servers {
    /// Takes a list; servers that stay keep what is known of them. More than [`MAX_SERVERS`]: the
    /// rest is left out.
    pub fn set(&mut self, servers: &[SocketAddr]) {
        let known = std::mem::take(&mut self.list);
        for server in servers.iter().take(MAX_SERVERS) {
            let until = known.iter().find(|(other, _)| other == server);
            self.list.push((*server, until.and_then(|(_, until)| *until)));
        }
    }

    /// Whom to ask, one after the other: those that were silent of late come last.
    pub fn in_order(&self, now: Instant) -> Vec<SocketAddr> {
        let is_silent = |until: &Option<Instant>| until.is_some_and(|until| until > now);
        let mut list: Vec<_> =
            self.list.iter().map(|(server, until)| (is_silent(until), *server)).collect();
        // Stable: otherwise as configured.
        list.sort_by_key(|(is_silent, _)| *is_silent);
        list.into_iter().map(|(_, server)| server).collect()
    }

    /// How often each is asked: once while all of them are silent anyway.
    pub fn attempts(&self, now: Instant, settings: &Settings) -> u32 {
        let is_silent = |until: &Option<Instant>| until.is_some_and(|until| until > now);
        match self.list.iter().all(|(_, until)| is_silent(until)) {
            true => 1,
            false => settings.attempts,
        }
    }

    pub fn note_silence(&mut self, now: Instant, server: SocketAddr) {
        if let Some((_, until)) = self.list.iter_mut().find(|(other, _)| *other == server) {
            *until = Some(now + AVOIDED);
        }
    }
}

/// As many as a resolver asks by custom (resolv.conf(5): three), and some more.
pub const MAX_SERVERS: usize = 6;
/// A dead server costs its time-out once in this time.
const AVOIDED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_server_is_asked_last_for_a_while() {
        let now = Instant::now();
        let [first, second] = ["192.0.2.1:53", "192.0.2.2:53"].map(|text| text.parse().unwrap());
        let mut servers = Servers::default();
        servers.set(&[first, second]);
        assert_eq!(servers.in_order(now), [first, second]);
        servers.note_silence(now, first);
        servers.set(&[first, second]);
        assert_eq!(servers.in_order(now), [second, first]);
        assert_eq!(servers.in_order(now + AVOIDED), [first, second]);
    }

    #[test]
    fn servers_that_are_all_silent_are_asked_once() {
        let now = Instant::now();
        let settings = Settings { attempts: 3, ..Settings::default() };
        let [first, second] = ["192.0.2.1:53", "192.0.2.2:53"].map(|text| text.parse().unwrap());
        let mut servers = Servers::default();
        servers.set(&[first, second]);
        servers.note_silence(now, first);
        assert_eq!(servers.attempts(now, &settings), 3);
        servers.note_silence(now, second);
        assert_eq!(servers.attempts(now, &settings), 1);
        assert_eq!(servers.attempts(now + AVOIDED, &settings), 3);
    }

    #[test]
    fn list_is_bounded() {
        let many: Vec<SocketAddr> =
            (0..100).map(|last| SocketAddr::new([192, 0, 2, last].into(), 53)).collect();
        let mut servers = Servers::default();
        servers.set(&many);
        assert_eq!(servers.in_order(Instant::now()).len(), MAX_SERVERS);
    }
}
