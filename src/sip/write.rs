//! A message as bytes (RFC 3261 §7).

use std::fmt::{self, Write};

use super::header::Name;
use super::lexical;
use super::message::{Message, Start};

impl Message {
    /// The message for the wire. Content-Length is computed. No value can begin a new line: CR,
    /// LF and NUL in it are replaced, and a field whose name is no token is left out.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Most messages without a body fit in a kilobyte.
        let mut head = Head(String::with_capacity(1024));
        match &self.start {
            Start::Request { method, uri } => {
                // A blank would end the URI early; its parser lets none through.
                let uri = uri.to_string().replace(' ', "%20");
                head.line(format_args!("{method} {uri} SIP/2.0"));
            }
            Start::Response { status, reason } => {
                head.line(format_args!("SIP/2.0 {status:03} {reason}"));
            }
        }
        for via in &self.via {
            head.field(&Name::Via, via);
        }
        head.field(&Name::From, &self.from);
        head.field(&Name::To, &self.to);
        head.field(&Name::CallId, &self.call_id);
        head.field(&Name::CSeq, &self.cseq);
        for header in &self.headers.0 {
            if !is_typed(&header.name) && lexical::is_token(header.name.as_str()) {
                head.field(&header.name, &header.value);
            }
        }
        head.field(&Name::ContentLength, &self.body.len());
        head.0.push_str("\r\n");
        let mut bytes = head.0.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Whether this field lives in a field of [`Message`] and not among its `headers`.
pub(super) fn is_typed(name: &Name) -> bool {
    matches!(
        name,
        Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq | Name::ContentLength
    )
}

struct Head(String);

impl Head {
    fn field(&mut self, name: &Name, value: &dyn fmt::Display) {
        self.line(format_args!("{name}: {value}"));
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        write!(OneLine(&mut self.0), "{text}").expect("writing to a string does not fail");
        self.0.push_str("\r\n");
    }
}

/// Lets no line end through.
struct OneLine<'a>(&'a mut String);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(['\r', '\n', '\0']) {
            match part.char_indices().next_back() {
                Some((at, '\r' | '\n')) => {
                    self.0.push_str(&part[..at]);
                    self.0.push(' ');
                }
                Some((at, '\0')) => {
                    self.0.push_str(&part[..at]);
                    self.0.push(char::REPLACEMENT_CHARACTER);
                }
                _ => self.0.push_str(part),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Method;
    use crate::sip::name_addr::NameAddr;
    use crate::sip::uri::Uri;
    use crate::sip::via::Via;

    fn options() -> Message {
        let alice = NameAddr::new(Uri::sip("alice", "a.example", None));
        let bob = NameAddr::new(Uri::sip("bob", "b.example", None));
        let mut message =
            Message::request(Method::Options, bob.uri.clone(), alice, bob, "1@a".to_owned(), 7);
        message.via.push(Via::new("UDP", "192.0.2.1", Some(5060), "z9hG4bK1".to_owned()));
        message
    }

    #[test]
    fn a_request_is_written_in_order() {
        let mut message = options();
        message.headers.push(Name::MaxForwards, "70");
        message.set_body("text/plain", b"hi".to_vec());
        assert_eq!(
            String::from_utf8(message.to_bytes()).unwrap(),
            "OPTIONS sip:bob@b.example SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\n\
             From: <sip:alice@a.example>\r\n\
             To: <sip:bob@b.example>\r\n\
             Call-ID: 1@a\r\n\
             CSeq: 7 OPTIONS\r\n\
             Max-Forwards: 70\r\n\
             Content-Type: text/plain\r\n\
             Content-Length: 2\r\n\r\nhi"
        );
    }

    #[test]
    fn values_cannot_inject_header_fields() {
        let mut message = options();
        message.from.display_name = "a\r\nX-One: 1".to_owned();
        message.headers.push(Name::Subject, "b\r\nX-Two: 2\n\nX-Three: \0");
        message.headers.push(Name::Other("X-Bad\r\nX-Four".to_owned()), "4");
        message.headers.push(Name::from("v"), "SIP/2.0/UDP evil");
        let text = String::from_utf8(message.to_bytes()).unwrap();
        assert!(text.contains("From: \"a  X-One: 1\" <sip:alice@a.example>\r\n"));
        assert!(text.contains("Subject: b  X-Two: 2  X-Three: \u{fffd}\r\n"));
        assert!(!text.contains("X-Four") && !text.contains("evil"));
    }
}
