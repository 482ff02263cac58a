//! Transactions (RFC 3261 §17, with the Accepted state of RFC 6026).
//!
//! Four machines, one file each, know states and timers and nothing else: they are told what
//! came or which timer fired and answer with one step. [`table`] finds the machine of a message,
//! keeps the bytes that are sent again, and carries the steps out.

use std::time::{Duration, Instant};

use crate::slots::Key;
use crate::timers::Timers;

pub mod client;
pub mod client_invite;
pub mod server;
pub mod server_invite;
pub mod table;

/// Estimate of the round-trip time (RFC 3261 §17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of what is not an INVITE request.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// The time that RFC 3261 gives a transaction: 64 × T1.
pub const PATIENCE: Duration = Duration::from_secs(32);

/// One transaction, client or server, of a [`table::Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub Key);

/// The timers of RFC 3261 table 4 and RFC 6026 §8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// INVITE request again, UDP only.
    A,
    /// INVITE transaction without a response gives up.
    B,
    /// Absorbs response retransmissions after a 300-699 to an INVITE.
    D,
    /// Other request again, UDP only.
    E,
    /// Other transaction without a final response gives up.
    F,
    /// 300-699 to an INVITE again, UDP only.
    G,
    /// Gives up waiting for the ACK of a 300-699.
    H,
    /// Absorbs ACK retransmissions.
    I,
    /// Absorbs request retransmissions after the final response.
    J,
    /// Absorbs response retransmissions after the final response.
    K,
    /// Absorbs INVITE retransmissions after a 2xx (RFC 6026).
    L,
    /// Collects further 2xx of a forked INVITE (RFC 6026).
    M,
}

impl Timer {
    const ALL: [Self; 12] = [
        Self::A,
        Self::B,
        Self::D,
        Self::E,
        Self::F,
        Self::G,
        Self::H,
        Self::I,
        Self::J,
        Self::K,
        Self::L,
        Self::M,
    ];
}

/// What the layer below does with a message that gets lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// TCP: never sends again by itself.
    Reliable,
    /// UDP.
    Unreliable,
}

impl Reliability {
    /// A time that RFC 3261 sets to zero for reliable transports.
    fn linger(self, unreliable: Duration) -> Duration {
        match self {
            Self::Reliable => Duration::ZERO,
            Self::Unreliable => unreliable,
        }
    }
}

/// The timers of one transaction at one time: what a machine arms and disarms.
#[derive(Debug)]
pub struct Deadlines<'a> {
    pub timers: &'a mut Timers<(TransactionId, Timer)>,
    pub id: TransactionId,
    pub now: Instant,
}

impl Deadlines<'_> {
    fn arm(&mut self, timer: Timer, after: Duration) {
        self.timers.arm((self.id, timer), self.now + after);
    }

    fn disarm(&mut self, timer: Timer) {
        self.timers.disarm((self.id, timer));
    }
}

/// What a client machine asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientStep {
    Ignore,
    /// Send the request again.
    SendAgain,
    /// Pass the response to the transaction user.
    Deliver,
    /// Pass the final response to the transaction user; an INVITE's is acknowledged first.
    DeliverFinal,
    /// Send the ACK of the 300-699 again.
    AckAgain,
    /// Tell the transaction user that no answer came; the transaction is over.
    TimedOut,
    /// The transaction is over.
    End,
}

/// What a server machine asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerStep {
    Ignore,
    /// Send the last response (again).
    Send,
    /// Pass the message to the transaction user.
    Deliver,
    /// The transaction is over.
    End,
}

#[cfg(test)]
mod bench {
    //! One machine on a table, for the tests of the four machines.

    use super::*;
    use crate::slots::Slots;

    pub struct Bench {
        pub timers: Timers<(TransactionId, Timer)>,
        pub id: TransactionId,
        pub now: Instant,
        start: Instant,
    }

    impl Bench {
        pub fn new() -> Self {
            let key = Slots::with_capacity(1).insert(()).unwrap();
            let now = Instant::now();
            Self { timers: Timers::new(), id: TransactionId(key), now, start: now }
        }

        pub fn deadlines(&mut self) -> Deadlines<'_> {
            Deadlines { timers: &mut self.timers, id: self.id, now: self.now }
        }

        /// Goes to the next deadline; its timer and the milliseconds since the start.
        pub fn next(&mut self) -> Option<(Timer, u128)> {
            self.now = self.timers.next()?;
            let (_, timer) = self.timers.pop_due(self.now)?;
            Some((timer, (self.now - self.start).as_millis()))
        }
    }
}
