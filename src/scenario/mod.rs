//! QuickJS: the scenarios of all sessions on one worker thread.
//!
//! [`worker::Worker`] is the door. Knows no SIP, no media, no sockets: events in (`event`),
//! commands out (`command`).

mod bytecode;
pub mod command;
mod convert;
pub mod event;
pub mod heap;
mod host;
mod mentions;
mod natives;
mod runtime;
mod text;
pub mod worker;

pub use bytecode::check;

#[cfg(test)]
mod tests;
