//! The Reason header field (RFC 3326): why a dialog ends, beyond the BYE or CANCEL itself.

use std::fmt;

use super::header::Name;
use super::lexical;
use super::message::{Message, reason_phrase};

/// A cause as a SIP status, and what the peer says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub status: u16,
    pub text: Option<String>,
}

impl Reason {
    /// Ours, with the usual words.
    pub fn of_status(status: u16) -> Self {
        Self { status, text: Some(reason_phrase(status).to_owned()) }
    }

    /// That of a BYE or CANCEL: a SIP cause comes before one of ISDN. `None`: it has none that
    /// says anything.
    pub fn of(message: &Message) -> Option<Self> {
        let fields = || message.headers.list(&Name::Reason);
        let parse = |protocol: &str, value: &str| {
            let (name, rest) = value.split_once(';')?;
            let parameters = lexical::parameters(rest).ok()?;
            let cause = lexical::parameter(&parameters, "cause")?.parse().ok()?;
            let text = lexical::parameter(&parameters, "text").filter(|text| !text.is_empty());
            let is_meant = lexical::trim(name).eq_ignore_ascii_case(protocol);
            is_meant.then(|| (cause, text.map(str::to_owned)))
        };
        let of_sip = fields().find_map(|value| parse("SIP", value));
        if let Some((status @ 100..=699, text)) = of_sip {
            return Some(Self { status, text });
        }
        let (cause, text) = fields().find_map(|value| parse("Q.850", value))?;
        status_of_isdn(cause).map(|status| Self { status, text })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP;cause={}", self.status)?;
        match &self.text {
            Some(text) => write!(f, ";text={}", lexical::quoted(text)),
            None => Ok(()),
        }
    }
}

/// RFC 3398 §7.2.4.1; `None` for normal clearing, with which every call ends.
fn status_of_isdn(cause: u16) -> Option<u16> {
    Some(match cause {
        1..=3 | 26 => 404,
        16 | 31 => return None,
        17 => 486,
        18 => 408,
        19 | 20 => 480,
        21 => 403,
        22 => 410,
        23 => 410,
        27 | 38 | 41 | 42 | 47 => 503,
        28 => 484,
        29 | 79 | 87 | 88 => 501,
        34 => 503,
        55 | 57 => 403,
        58 => 503,
        65 | 70 => 488,
        102 => 504,
        _ => 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_of(fields: &[&str]) -> Option<(u16, Option<String>)> {
        let mut message = Message::parse(
            b"BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
              To: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\n\r\n",
        )
        .unwrap();
        for field in fields {
            message.headers.push(Name::Reason, *field);
        }
        Reason::of(&message).map(|reason| (reason.status, reason.text))
    }

    #[test]
    fn rfc3326_2_examples_are_read() {
        assert_eq!(
            reason_of(&["SIP ;cause=200 ;text=\"Call completed elsewhere\""]),
            Some((200, Some("Call completed elsewhere".into())))
        );
        assert_eq!(reason_of(&["Q.850 ;cause=16 ;text=\"Terminated\""]), None);
        assert_eq!(
            reason_of(&["SIP ;cause=600 ;text=\"Busy Everywhere\""]),
            Some((600, Some("Busy Everywhere".into())))
        );
    }

    #[test]
    fn sip_comes_before_isdn_and_isdn_is_translated() {
        assert_eq!(reason_of(&["Q.850;cause=16, SIP;cause=480"]), Some((480, None)));
        assert_eq!(reason_of(&["q.850;cause=17", "X;cause=1"]), Some((486, None)));
        assert_eq!(reason_of(&["Q.850;cause=127;text=x"]), Some((500, Some("x".into()))));
    }

    #[test]
    fn reasons_that_say_nothing_are_none() {
        for field in ["", "SIP", "SIP;text=x", "SIP;cause=abc", "SIP;cause=9999", "Q.850;cause="] {
            assert_eq!(reason_of(&[field]), None, "{field}");
        }
        assert_eq!(reason_of(&[]), None);
    }

    #[test]
    fn ours_is_written_with_quoted_words() {
        let reason = Reason::of_status(408).to_string();
        assert_eq!(reason, "SIP;cause=408;text=\"Request Timeout\"");
    }
}
