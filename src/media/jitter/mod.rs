//! What makes an even flow of a call's uneven packets: when each was meant to be heard, how long
//! to wait for it, and how to play a little faster or slower unheard.
//!
//! `timeline` says where a packet belongs, `packets` keeps it, `delay` says how much later than
//! the fastest packets all are played, `drift` how far the sender's clock is off ours, `playout`
//! holds what is decoded and stretches it. [`super::receiver`] puts them together.
//!
//! Positions and delays count 1/48,000 s: every clock rate divides it, so nothing is rounded and
//! a change of codec changes no number.

pub mod delay;
pub mod drift;
pub mod packets;
pub mod playout;
pub mod timeline;

/// Units of a position per second.
pub const UNITS: i64 = 48_000;
/// Units of a millisecond.
pub const MS: i64 = UNITS / 1000;
/// Units of a tick.
pub const FRAME: i64 = 20 * MS;
