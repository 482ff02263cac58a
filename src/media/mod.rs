//! Audio without sockets: one [`engine::Engine`] per media thread.
//!
//! Units (call streams, players, recorders, conferences) and routes between them. Knows neither
//! SIP nor SDP.
//!
//! RTP (RFC 3550) with the codecs of `codec`, telephone-events (RFC 4733), RTCP reports, symmetric
//! RTP, relay, transcoding, SRTP with keys from outside, players, tones, recorders and conferences
//! **are** supported. `engine` is the door and the place to begin; `stream` is one call's RTP,
//! `outgoing` what makes a change of source seamless, `relay` what is done with a packet when it
//! comes, and `step` what every 20 ms do.

pub mod clip;
pub mod codec;
pub mod detect;
pub mod engine;
pub mod format;
pub mod frame;
pub mod jitter;
pub mod quality;
pub mod receiver;
pub mod resample;
pub mod sound;
pub mod srtp;
pub mod tone;

mod bursts;
mod dtmf;
mod figures;
mod goertzel;
mod latch;
mod mixer;
mod outgoing;
mod packetizer;
mod player;
mod ports;
mod reception;
mod recorder;
mod relay;
mod rtcp;
mod rtcp_extended;
mod rtp;
mod sockets;
mod step;
mod stream;
mod ticks;
mod transmits;
mod unit;

#[cfg(test)]
mod tests;
