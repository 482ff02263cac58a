//! Offer and answer for one audio stream (RFC 3264).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::description::Direction;

/// An audio codec that can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Pcmu,
    Pcma,
}

/// Our side of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// What to write in `o=` and `c=`.
    pub address: IpAddr,
    /// RTP port; RTCP is the next one unless multiplexed.
    pub port: u16,
    pub origin_id: u64,
    pub origin_version: u64,
    /// In the order of preference; telephone-event is offered beside them.
    pub codecs: Vec<Codec>,
    pub direction: Direction,
    pub ptime: Duration,
}

/// What both sides agreed on, from our point of view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    pub remote: SocketAddr,
    pub remote_rtcp: SocketAddr,
    pub rtcp_mux: bool,
    pub codec: Codec,
    /// What to write into packets that we send; expect the same and our own offer's in ours.
    pub payload_type: u8,
    /// telephone-event at 8000 Hz, when the peer has it.
    pub dtmf_payload_type: Option<u8>,
    /// What we may do with our side of the stream.
    pub direction: Direction,
    /// The packet length the peer asked for; 20 ms unless it says otherwise.
    pub ptime: Duration,
    /// The peer put us on hold: its direction is `sendonly` or `inactive`, or its address 0.0.0.0.
    pub is_held: bool,
}
