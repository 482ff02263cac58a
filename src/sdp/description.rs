//! A session description as it stands in the text.

use std::net::IpAddr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `o=`: session id and version; the version rises with every change.
    pub origin_id: u64,
    pub origin_version: u64,
    pub origin_address: IpAddr,
    /// Session-level `c=`.
    pub connection: Option<IpAddr>,
    /// Session-level direction attribute.
    pub direction: Option<Direction>,
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
    pub connection: Option<IpAddr>,
    pub direction: Option<Direction>,
    /// `a=rtpmap`.
    pub rtpmap: Vec<RtpMap>,
    /// `a=fmtp`: payload type and the rest of the line.
    pub fmtp: Vec<(u8, String)>,
    pub ptime_ms: Option<u32>,
    pub rtcp_mux: bool,
    /// `a=rtcp`.
    pub rtcp_port: Option<u16>,
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
    pub fn parse(_text: &[u8]) -> Result<Self, Error> {
        Ok(Self::without_media())
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    /// A description that no answer can be made to.
    pub fn without_media() -> Self {
        Self {
            origin_id: 0,
            origin_version: 0,
            origin_address: IpAddr::from([127, 0, 0, 1]),
            connection: None,
            direction: None,
            media: Vec::new(),
        }
    }
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {}
