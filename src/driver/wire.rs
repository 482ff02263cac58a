//! SIP messages in the log, one line each, for `log = "info,driver::wire=debug"`; `branchline
//! demo` draws its ladder from them.

use std::fmt;
use std::net::SocketAddr;

use crate::logger::Private;

pub fn log_sent(to: impl fmt::Display, data: &[u8]) {
    log::debug!("-> {to} {}", Summary(data));
}

pub fn log_received(from: SocketAddr, data: &[u8]) {
    log::debug!("<- {from} {}", Summary(data));
}

/// `INVITE 7001 cseq=1 INVITE from-tag=ab call-id=xy`, from bytes that may be anything.
struct Summary<'a>(&'a [u8]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.0[..self.0.len().min(HEAD_BYTES)];
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        match first.strip_prefix("SIP/2.0 ") {
            Some(status) => f.write_str(status)?,
            None => {
                let mut words = first.split(' ');
                let method = words.next().unwrap_or_default();
                f.write_str(method)?;
                if let Some(user) = user(words.next().unwrap_or_default()) {
                    write!(f, " {}", Private(user))?;
                }
            }
        }
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("cseq") {
                write!(f, " cseq={value}")?;
            } else if name.eq_ignore_ascii_case("call-id") || name.eq_ignore_ascii_case("i") {
                write!(f, " call-id={value}")?;
            } else if name.eq_ignore_ascii_case("from") || name.eq_ignore_ascii_case("f") {
                let tag = value.split_once(";tag=").map_or("", |(_, tag)| tag);
                write!(f, " from-tag={}", tag.split(';').next().unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

/// The user part of a SIP URI.
fn user(uri: &str) -> Option<&str> {
    let after_scheme = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    after_scheme.split_once('@').map(|(user, _)| user)
}

/// The headers shown come early in every message.
const HEAD_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_without_whole_numbers() {
        let request = b"INVITE sip:+4930123456@192.0.2.1 SIP/2.0\r\nFrom: <sip:a@b>;tag=x\r\n\
                        Call-ID: 1@c\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n";
        let line = "INVITE ***56 from-tag=x call-id=1@c cseq=1 INVITE";
        assert_eq!(Summary(request).to_string(), line);
        let response = b"SIP/2.0 180 Ringing\r\nf: <sip:a@b>;tag=x;y\r\ni: 1\r\n\r\n";
        assert_eq!(Summary(response).to_string(), "180 Ringing from-tag=x call-id=1");
        for garbage in [&b""[..], b"\r\n\r\n", b"\xff\xfe", b"INVITE", b":::"] {
            // Must not panic.
            let _ = Summary(garbage).to_string();
        }
    }
}
