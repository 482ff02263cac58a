//! Offer and answer for one audio stream (RFC 3264).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::description::{Description, Direction};

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

/// Our offer.
pub fn offer(_local: &Local) -> Description {
    Description::without_media()
}

/// Our answer to the peer's offer, with what both then agree on.
pub fn answer(_local: &Local, _offer: &Description) -> Result<(Description, Agreed), Error> {
    Err(Error::NoCommonCodec)
}

/// What our offer and the peer's answer agree on.
pub fn agree(_local: &Local, _offer: &Description, _answer: &Description) -> Result<Agreed, Error> {
    Err(Error::NoCommonCodec)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    NoCommonCodec,
}
