//! A session description as it stands in the text.

use std::net::{IpAddr, Ipv4Addr};

use super::crypto::Crypto;

/// What is kept of a description: all that an agreement on RTP streams needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `o=`: session id and version; the version rises with every change.
    pub origin_id: u64,
    pub origin_version: u64,
    pub origin_address: Address,
    /// Session-level `c=`.
    pub connection: Option<Address>,
    /// Session-level direction attribute.
    pub direction: Option<Direction>,
    /// Session-level `a=rtcp-xr`.
    pub reports: Option<Reports>,
    pub media: Vec<Media>,
}

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `image`, ...
    pub kind: String,
    /// 0: refused or disabled.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP`, ...
    pub protocol: String,
    /// As they stand on the `m=` line.
    pub formats: Vec<String>,
    pub connection: Option<Address>,
    pub direction: Option<Direction>,
    /// `a=rtpmap`.
    pub rtpmap: Vec<RtpMap>,
    /// `a=fmtp`: payload type and the rest of the line.
    pub fmtp: Vec<(u8, String)>,
    /// `a=crypto` lines that we can go by, in their order.
    pub crypto: Vec<Crypto>,
    pub ptime_ms: Option<u32>,
    pub maxptime_ms: Option<u32>,
    pub rtcp_mux: bool,
    /// `a=rtcp` (RFC 3605).
    pub rtcp_port: Option<u16>,
    pub rtcp_address: Option<IpAddr>,
    /// `a=rtcp-xr`, where it has a block that we know.
    pub reports: Option<Reports>,
}

/// Extended reports that the writer wants (RFC 3611 §5.1). Invariant: one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reports {
    pub voip_metrics: bool,
    /// `rcvr-rtt`, in either mode.
    pub receiver_rtt: bool,
}

/// `IN IP4 192.0.2.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Ip(IpAddr),
    /// A host name, which nobody here resolves.
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    pub payload_type: u8,
    pub encoding: String,
    pub clock_rate: u32,
    pub channels: u8,
}

/// RFC 3264 §5.1; seen from whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Description {
    /// A description that no answer can be made to.
    pub fn without_media() -> Self {
        Self {
            origin_id: 0,
            origin_version: 0,
            origin_address: Address::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            connection: None,
            direction: None,
            reports: None,
            media: Vec::new(),
        }
    }

    /// Where a stream is to be sent: a connection of its own comes first (RFC 8866 §5.7).
    pub fn connection_of<'a>(&'a self, media: &'a Media) -> Option<&'a Address> {
        media.connection.as_ref().or(self.connection.as_ref())
    }

    /// Whether any stream has keys that we can go by.
    pub fn has_keys(&self) -> bool {
        self.media.iter().any(|media| !media.crypto.is_empty())
    }

    /// What its writer wants to be told about a stream.
    pub fn reports_of(&self, media: &Media) -> Option<Reports> {
        media.reports.or(self.reports)
    }

    /// A stream's own direction, else the session's, else both ways (RFC 8866 §6.7).
    pub fn direction_of(&self, media: &Media) -> Direction {
        media.direction.or(self.direction).unwrap_or_default()
    }
}

impl Media {
    /// A stream without formats or attributes.
    pub fn new(kind: &str, port: u16, protocol: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            port,
            protocol: protocol.to_owned(),
            formats: Vec::new(),
            connection: None,
            direction: None,
            rtpmap: Vec::new(),
            fmtp: Vec::new(),
            crypto: Vec::new(),
            ptime_ms: None,
            maxptime_ms: None,
            rtcp_mux: false,
            rtcp_port: None,
            rtcp_address: None,
            reports: None,
        }
    }

    /// The mapping of a payload type in this text; static ones (RFC 3551 §6) may have none.
    pub fn map_of(&self, payload_type: u8) -> Option<&RtpMap> {
        self.rtpmap.iter().find(|map| map.payload_type == payload_type)
    }
}

impl Direction {
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}
