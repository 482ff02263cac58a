//! A description as text (RFC 8866 §5: the lines in their order).

use std::fmt::{self, Write};
use std::net::IpAddr;

use super::description::{Address, Description, Media, Reports};

impl Description {
    /// The text for the wire. No value can begin a new line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Text(String::with_capacity(512));
        text.line('v', format_args!("0"));
        let (id, version) = (self.origin_id, self.origin_version);
        text.line('o', format_args!("- {id} {version} {}", self.origin_address));
        text.line('s', format_args!("-"));
        if let Some(connection) = &self.connection {
            text.line('c', format_args!("{connection}"));
        }
        text.line('t', format_args!("0 0"));
        if let Some(direction) = self.direction {
            text.line('a', format_args!("{}", direction.as_str()));
        }
        if let Some(reports) = self.reports {
            text.line('a', format_args!("{reports}"));
        }
        for media in &self.media {
            media.write(&mut text);
        }
        text.0.into_bytes()
    }
}

impl Media {
    fn write(&self, text: &mut Text) {
        let (kind, port, protocol) = (&self.kind, self.port, &self.protocol);
        text.line('m', format_args!("{kind} {port} {protocol} {}", self.formats.join(" ")));
        if let Some(connection) = &self.connection {
            text.line('c', format_args!("{connection}"));
        }
        for map in &self.rtpmap {
            let (number, encoding, rate) = (map.payload_type, &map.encoding, map.clock_rate);
            match map.channels {
                1 => text.line('a', format_args!("rtpmap:{number} {encoding}/{rate}")),
                channels => {
                    text.line('a', format_args!("rtpmap:{number} {encoding}/{rate}/{channels}"));
                }
            }
        }
        for (payload_type, parameters) in &self.fmtp {
            text.line('a', format_args!("fmtp:{payload_type} {parameters}"));
        }
        for crypto in &self.crypto {
            text.line('a', format_args!("{crypto}"));
        }
        if let Some(ptime) = self.ptime_ms {
            text.line('a', format_args!("ptime:{ptime}"));
        }
        if let Some(maxptime) = self.maxptime_ms {
            text.line('a', format_args!("maxptime:{maxptime}"));
        }
        match (self.rtcp_port, self.rtcp_address) {
            (Some(port), Some(ip)) => {
                text.line('a', format_args!("rtcp:{port} {}", Address::Ip(ip)));
            }
            (Some(port), None) => text.line('a', format_args!("rtcp:{port}")),
            (None, _) => {}
        }
        if self.rtcp_mux {
            text.line('a', format_args!("rtcp-mux"));
        }
        if let Some(reports) = self.reports {
            text.line('a', format_args!("{reports}"));
        }
        if let Some(direction) = self.direction {
            text.line('a', format_args!("{}", direction.as_str()));
        }
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.receiver_rtt, self.voip_metrics) {
            (true, true) => "rtcp-xr:rcvr-rtt=all voip-metrics",
            (true, false) => "rtcp-xr:rcvr-rtt=all",
            (false, _) => "rtcp-xr:voip-metrics",
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "IN IP4 {ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "IN IP6 {ip}"),
            Self::Name(name) => write!(f, "IN IP4 {name}"),
        }
    }
}

struct Text(String);

impl Text {
    fn line(&mut self, letter: char, value: fmt::Arguments<'_>) {
        let start = self.0.len();
        write!(self.0, "{letter}={value}").expect("writing to a string does not fail");
        if self.0[start..].contains(['\r', '\n', '\0']) {
            let line = self.0.split_off(start).replace(['\r', '\n', '\0'], " ");
            self.0.push_str(&line);
        }
        self.0.push_str("\r\n");
    }
}
