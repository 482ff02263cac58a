//! SIP messages as phones read and answer them, by code of their own.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// A SIP message taken apart as text.
#[derive(Debug, Clone, Default)]
pub struct Text {
    pub first: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Text {
    pub fn parse(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        Self { first, headers: lines.filter_map(header).collect(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Of the top Via.
    pub fn sent_by(&self) -> Option<SocketAddr> {
        let via = self.header("Via");
        via.split([' ', ';']).nth(1)?.parse().ok()
    }

    pub fn response(&self, status: u16, extra: &str, body: &str) -> Vec<u8> {
        self.response_tagged(status, &self.header("To"), extra, body)
    }

    pub fn response_tagged(&self, status: u16, to: &str, extra: &str, body: &str) -> Vec<u8> {
        let mut message = format!("SIP/2.0 {status} Reason\r\n");
        for (name, value) in &self.headers {
            if name.eq_ignore_ascii_case("Via") || name.eq_ignore_ascii_case("Record-Route") {
                let _ = write!(message, "{name}: {value}\r\n"); // A String takes every line.
            }
        }
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let _ = write!(
            // A String takes every line.
            message,
            "From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            self.header("From"),
            self.header("Call-ID"),
            self.header("CSeq"),
            body.len(),
        );
        message.into_bytes()
    }
}

/// Of a value with angle brackets.
pub fn uri_of(value: &str) -> Option<String> {
    let (_, rest) = value.split_once('<')?;
    rest.split_once('>').map(|(uri, _)| uri.to_owned())
}

/// `c=` and `m=audio` of an SDP.
pub fn media_address(sdp: &str) -> Option<SocketAddr> {
    let ip = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?;
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?;
    format!("{}:{port}", ip.trim()).parse().ok()
}
