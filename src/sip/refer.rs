//! What transfers write: Refer-To (RFC 3515 §2.1), Replaces (RFC 3891 §6.1) and the status line of
//! a `message/sipfrag` body (RFC 3420). Who sends and answers them stands in `invite/transfer`.

use std::fmt;

use super::header::Name;
use super::lexical::Malformed;
use super::message::Message;
use super::name_addr::NameAddr;
use super::uri::{self, Scheme, Uri};

/// Where a REFER leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferTo {
    /// Without its headers and `method`.
    pub uri: Uri,
    /// The dialog that the call there shall take the place of: an attended transfer.
    pub replaces: Option<Replaces>,
}

/// Why a REFER leads nowhere that we could go.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// None, several or unreadable: 400 (RFC 3515 §2.4.1).
    Malformed,
    /// Another method than INVITE, or a scheme that cannot be called. Answered 488: RFC 5057 §5.1
    /// has 405 and 416 end the call.
    NotACall,
}

impl ReferTo {
    pub fn of(request: &Message) -> Result<Self, Refused> {
        let mut fields = request.headers.all(&Name::ReferTo);
        let (Some(value), None) = (fields.next(), fields.next()) else {
            return Err(Refused::Malformed);
        };
        let mut addresses = NameAddr::parse_list(value).map_err(|_| Refused::Malformed)?;
        let (Some(NameAddr { mut uri, .. }), true) = (addresses.pop(), addresses.is_empty()) else {
            return Err(Refused::Malformed);
        };
        let is_invite =
            uri.parameter("method").is_none_or(|method| method.eq_ignore_ascii_case("INVITE"));
        if !is_invite || uri.scheme == Scheme::Other {
            return Err(Refused::NotACall);
        }
        uri.remove_parameter("method");
        let headers = uri.headers.take().unwrap_or_default();
        let fields = headers.split('&').filter_map(|field| field.split_once('='));
        let mut found = fields.filter(|(name, _)| name.eq_ignore_ascii_case("Replaces"));
        let replaces = match (found.next(), found.next()) {
            (None, _) => None,
            (Some((_, value)), None) => {
                let value = uri::unescape(value).map_err(|_| Refused::Malformed)?;
                Some(Replaces::parse(&value).map_err(|_| Refused::Malformed)?)
            }
            (Some(_), Some(_)) => return Err(Refused::Malformed),
        };
        Ok(Self { uri, replaces })
    }

    /// The value of a Refer-To header field.
    pub fn to_value(&self) -> String {
        let mut uri = self.uri.clone();
        uri.headers = self.replaces.as_ref().map(|replaces| {
            let mut text = String::from("Replaces=");
            escape(&mut text, &replaces.to_string());
            text
        });
        NameAddr::new(uri).to_string()
    }
}

/// A dialog by what the one who is asked to replace it knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    pub call_id: String,
    /// The tag of whoever receives the INVITE with this.
    pub to_tag: String,
    /// The tag of its peer.
    pub from_tag: String,
    /// Only while the dialog has no answer.
    pub is_early_only: bool,
}

impl Replaces {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split(';').map(str::trim);
        let call_id = parts.next().unwrap_or_default();
        if call_id.is_empty() || call_id.contains(char::is_whitespace) {
            return Err(Malformed("Replaces: Call-ID missing"));
        }
        let (mut to_tag, mut from_tag, mut is_early_only) = (None, None, false);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim_end().to_ascii_lowercase(), value.trim_start());
            let tag = match name.as_str() {
                "to-tag" => &mut to_tag,
                "from-tag" => &mut from_tag,
                "early-only" => {
                    is_early_only = true;
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() || tag.replace(value.to_owned()).is_some() {
                return Err(Malformed("Replaces: a tag is empty or stands twice"));
            }
        }
        let (Some(to_tag), Some(from_tag)) = (to_tag, from_tag) else {
            return Err(Malformed("Replaces: a tag is missing"));
        };
        Ok(Self { call_id: call_id.to_owned(), to_tag, from_tag, is_early_only })
    }

    /// That of an INVITE. More than one, or one that cannot be read, is an error (RFC 3891 §3).
    pub fn of(request: &Message) -> Result<Option<Self>, Malformed> {
        let mut fields = request.headers.all(&Name::Replaces);
        match (fields.next(), fields.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::parse(value).map(Some),
            (Some(_), Some(_)) => Err(Malformed("Replaces: more than one")),
        }
    }

    /// Whether it names the dialog with these tags. A peer of RFC 2543 has no tag, which is
    /// written `0` (§3).
    pub fn names(&self, call_id: &str, local: Option<&str>, remote: Option<&str>) -> bool {
        self.call_id == call_id
            && self.to_tag == local.unwrap_or("0")
            && self.from_tag == remote.unwrap_or("0")
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)?;
        f.write_str(if self.is_early_only { ";early-only" } else { "" })
    }
}

/// Status and reason of a sipfrag body that begins with a status line. Blank lines before it and
/// a missing reason are forgiven.
pub fn status_line(body: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(body).ok()?;
    let line = text.trim_start().lines().next()?;
    let rest = line.trim_end().strip_prefix("SIP/2.0")?.trim_start();
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = status.parse().ok().filter(|status| (100..700).contains(status))?;
    Some((status, reason.trim().to_owned()))
}

/// Writes a header's value into a URI (RFC 3261 §25.1, `hvalue`, and less than that allows).
fn escape(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' => {
                into.push(char::from(byte));
            }
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{request, wire};

    fn refer_to(headers: &str) -> Result<ReferTo, Refused> {
        let text = request("REFER", "2", "x", headers, "");
        ReferTo::of(&Message::parse(&wire(&text)).unwrap())
    }

    /// RFC 3515 §2.1 and RFC 5589 §7.3.
    #[test]
    fn rfc3515_forms_of_refer_to_are_read() {
        let plain = refer_to("Refer-To: sip:alice@atlanta.example.com\n").unwrap();
        assert_eq!(plain.uri.user.as_deref(), Some("alice"));
        assert_eq!(plain.replaces, None);
        let method = refer_to("r: <sip:dave@denver.example.org;method=INVITE;lr>\n").unwrap();
        assert_eq!(method.uri.to_string(), "sip:dave@denver.example.org;lr");
        let attended = refer_to(
            "Refer-To: <sip:482n4z24kdg@chicago.example.com;gr=8594958?\
             Subject=x&Replaces=090459243588173445%3Bto-tag%3D9m2n3wq%3Bfrom-tag%3D763231\
             &Require=replaces>\n",
        )
        .unwrap();
        assert_eq!(attended.uri.headers, None);
        let replaces = Replaces {
            call_id: "090459243588173445".into(),
            to_tag: "9m2n3wq".into(),
            from_tag: "763231".into(),
            is_early_only: false,
        };
        assert_eq!(attended.replaces, Some(replaces));
    }

    #[test]
    fn refer_to_that_is_missing_double_or_broken_is_malformed() {
        for headers in [
            "",
            "Refer-To: <sip:a@b>\nRefer-To: <sip:c@d>\n",
            "Refer-To: <sip:a@b>, <sip:c@d>\n",
            "Refer-To: nonsense\n",
            "Refer-To: <sip:a@b?Replaces=x>\n",
            "Refer-To: <sip:a@b?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3>\n",
            "Refer-To: <sip:a@b?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=y>\n",
        ] {
            assert_eq!(refer_to(headers), Err(Refused::Malformed), "{headers}");
        }
    }

    #[test]
    fn refer_to_anything_but_a_call_is_refused() {
        for value in ["<sip:a@b;method=SUBSCRIBE>", "<http://a.example>", "<sip:a@b;method=bye>"] {
            assert_eq!(refer_to(&format!("Refer-To: {value}\n")), Err(Refused::NotACall));
        }
    }

    /// RFC 3891 §6.1, the examples.
    #[test]
    fn rfc3891_replaces_is_read() {
        let read = |text| Replaces::parse(text).unwrap();
        let first = read("98732@sip.example.com ;from-tag=r33th4x0r ;to-tag=ff87ff");
        assert_eq!((first.to_tag.as_str(), first.from_tag.as_str()), ("ff87ff", "r33th4x0r"));
        assert!(first.names("98732@sip.example.com", Some("ff87ff"), Some("r33th4x0r")));
        assert!(!first.names("98732@sip.example.com", Some("r33th4x0r"), Some("ff87ff")));
        let early = read("87134@171.161.34.23;to-tag=24796;from-tag=0;early-only");
        assert!(early.is_early_only && early.names("87134@171.161.34.23", Some("24796"), None));
        for text in
            ["", "x", "x;to-tag=1", "x;to-tag=;from-tag=2", "x;to-tag=1;to-tag=1;from-tag=2"]
        {
            assert!(Replaces::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let replaces = Replaces {
            call_id: "a(b)%c\"@host".into(),
            to_tag: "t;1".into(),
            from_tag: "f".into(),
            is_early_only: true,
        };
        let uri = "sip:100@192.0.2.10:5060;transport=tcp".parse().unwrap();
        let value = ReferTo { uri, replaces: Some(replaces) }.to_value();
        assert_eq!(
            value,
            "<sip:100@192.0.2.10:5060;transport=tcp?Replaces=a%28b%29%25c%22%40host%3B\
             to-tag%3Dt%3B1%3Bfrom-tag%3Df%3Bearly-only>"
        );
        let read = refer_to(&format!("Refer-To: {value}\n")).unwrap().replaces.unwrap();
        assert_eq!(read.call_id, "a(b)%c\"@host");
    }

    /// RFC 3420 §3 and what peers send.
    #[test]
    fn status_lines_of_sipfrags_are_read() {
        let read = |text: &str| status_line(text.as_bytes());
        assert_eq!(read("SIP/2.0 200 OK\r\n"), Some((200, "OK".into())));
        assert_eq!(
            read("\r\nSIP/2.0 603 Declined\r\nTo: <sip:a@b>\r\n"),
            Some((603, "Declined".into()))
        );
        assert_eq!(read("SIP/2.0 100"), Some((100, String::new())));
        assert_eq!(read("SIP/2.0 99 x"), None);
        assert_eq!(read("To: <sip:a@b>\r\n"), None);
        assert_eq!(read(""), None);
        assert_eq!(status_line(b"SIP/2.0 200 \xff"), None);
    }
}
