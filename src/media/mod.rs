//! Audio without sockets: one [`engine::Engine`] per media thread.
//!
//! Units (call streams, players, recorders) and routes between them. Knows neither SIP nor SDP.

pub mod clip;
pub mod engine;
pub mod tone;
