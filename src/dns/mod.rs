//! Names: what is asked of DNS servers, and how an answer is got (RFC 1035, RFC 2782, RFC 3403).
//!
//! [`exchange`] asks one question until some server answers it, [`servers`] knows whom to ask
//! first, [`local`] what this machine knows without asking (`/etc/hosts`, `/etc/resolv.conf`),
//! [`message`] what questions and answers look like on the wire. No sockets, no files: the driver
//! carries the bytes. What is kept of answers is the asker's business. DNSSEC is **not** checked.

pub mod exchange;
pub mod local;
mod message;
pub mod servers;
#[cfg(test)]
mod tests;
pub mod zone;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// In lower case, without a dot at the end.
    name: String,
    pub kind: Kind,
}

/// The types of records that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    A,
    Aaaa,
    Naptr,
    Srv,
}

/// What one server, or this machine, says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// At least one, all of the kind that was asked for, and how long they hold.
    Records { records: Vec<Record>, ttl: Duration },
    /// There is none, for this long (RFC 2308 §5); zero where nothing is said.
    Nothing { ttl: Duration },
    /// No server answered.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Address(IpAddr),
    Naptr(Naptr),
    Srv(Srv),
}

/// RFC 3403 §4.1, without the regular expression: those that have one are not for SIP
/// (RFC 3263 §4.1) and left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    pub order: u16,
    pub preference: u16,
    pub flags: String,
    pub service: String,
    pub replacement: String,
}

/// RFC 2782.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Empty: the service is decidedly not there.
    pub target: String,
}

/// How servers are asked, `[dns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// Time that one server has for one answer.
    pub patience: Duration,
    /// How often each server is asked.
    pub attempts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { servers: Vec::new(), patience: Duration::from_millis(1500), attempts: 2 }
    }
}

impl Question {
    pub fn new(name: &str, kind: Kind) -> Self {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        Self { name, kind }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Naptr => "NAPTR",
            Kind::Srv => "SRV",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// Where a server listens that is named by its address alone.
pub const PORT: u16 = 53;
