//! What systemd is told (sd_notify(3)): ready, stopping, alive. Nothing where nobody asked.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager of this process, if any.
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// It wants to hear from us.
    has_watchdog: bool,
}

impl Notify {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` of the environment.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok();
        let has_watchdog = has_watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        Self { socket: variable("NOTIFY_SOCKET").as_deref().and_then(open), has_watchdog }
    }

    /// The gateway takes calls.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// At every tick of the reactor: systemd allows `WATCHDOG_USEC`, some ten seconds or more.
    pub fn alive(&self) {
        if self.has_watchdog {
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            log::debug!("NOTIFY_SOCKET: {error}");
        }
    }
}

fn open(path: &str) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
        None => SocketAddr::from_pathname(path),
    };
    let socket = UnixDatagram::unbound().ok()?;
    // A service manager that does not read must not stop us.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}

fn has_watchdog(microseconds: Option<&str>, pid: Option<&str>, own_pid: u32) -> bool {
    let is_for_us = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    let microseconds: u64 = microseconds.and_then(|text| text.parse().ok()).unwrap_or(0);
    is_for_us && microseconds > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_reaches_the_socket_of_the_service_manager() {
        let folder = std::env::temp_dir().join(format!("branchline-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&folder).unwrap();
        let notify = Notify { socket: open(folder.to_str().unwrap()), has_watchdog: false };
        notify.ready("2 sockets");
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=2 sockets");
    }

    #[test]
    fn watchdog_of_another_process_is_not_ours() {
        assert!(has_watchdog(Some("30000000"), None, 7));
        assert!(has_watchdog(Some("30000000"), Some("7"), 7));
        assert!(!has_watchdog(Some("30000000"), Some("8"), 7));
        assert!(!has_watchdog(Some("x"), None, 7));
        assert!(!has_watchdog(None, None, 7));
    }
}
