//! QuickJS: the scenarios of all sessions on one worker thread.
//!
//! [`worker::Worker`] is the door. Knows no SIP, no media, no sockets: events in (`event`),
//! commands out (`command`).

pub mod command;
pub mod event;
pub mod worker;
