//! Branchline: a voice gateway for a branch office.
//!
//! The modules in reading order; `ARCHITECTURE.md` is the map.

pub mod budget;
pub mod clock;
pub mod config;
pub mod dns;
pub mod logger;
pub mod random;
pub mod rules;
pub mod slots;
pub mod stats;
pub mod timers;

pub mod media;
pub mod scenario;
pub mod sdp;
pub mod sip;
pub mod storage;

pub mod session;

pub mod control;
pub mod gateway;

pub mod driver;

pub mod cli;

pub mod sim;
