//! Small typed readers for the header fields that someone asks about (RFC 3261 §20).
//!
//! Challenges and credentials are `digest`'s. A field that is absent or broken in a way that
//! changes nothing is `None`; where the difference counts there is an error.

use std::time::Duration;

use super::header::{Headers, Name};
use super::lexical::{self, Malformed, trim};
use super::message::CSeq;
use super::name_addr::NameAddr;

impl Headers {
    /// Seconds (§20.19). What is too large to count saturates; what is no number is none.
    pub fn expires(&self) -> Option<u32> {
        lexical::saturating_number(self.get(&Name::Expires)?)
    }

    /// `None`: the request does not say (§16.3 then takes 70). More than 255 counts as 255.
    pub fn max_forwards(&self) -> Option<u8> {
        let hops = lexical::saturating_number(self.get(&Name::MaxForwards)?)?;
        Some(u8::try_from(hops).unwrap_or(u8::MAX))
    }

    /// The seconds of `18000;duration=3600` or `120 (in a meeting)` (§20.33).
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.get(&Name::RetryAfter)?;
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        let seconds = lexical::saturating_number(&value[..end])?;
        Some(Duration::from_secs(u64::from(seconds)))
    }

    /// RSeq of a provisional response that wants a PRACK: one that requires 100rel
    /// (RFC 3262 §7.1).
    pub fn reliable(&self) -> Option<u32> {
        let number = lexical::saturating_number(self.get(&Name::RSeq)?)?;
        self.requires("100rel").then_some(number)
    }

    /// Which response a PRACK acknowledges (RFC 3262 §7.2).
    pub fn rack(&self) -> Option<RAck> {
        let (response, request) = trim(self.get(&Name::RAck)?).split_once(lexical::BLANKS)?;
        Some(RAck {
            response: lexical::saturating_number(response)?,
            request: trim(request).parse().ok()?,
        })
    }

    /// Whether Require has this option tag.
    pub fn requires(&self, tag: &str) -> bool {
        self.list(&Name::Require).any(|member| member.eq_ignore_ascii_case(tag))
    }

    /// Whether Supported has this option tag.
    pub fn supports(&self, tag: &str) -> bool {
        self.list(&Name::Supported).any(|member| member.eq_ignore_ascii_case(tag))
    }

    pub fn content_type(&self) -> Option<ContentType> {
        ContentType::parse(self.get(&Name::ContentType)?)
    }

    /// The members of a list of tokens (Allow, Require, Supported, Unsupported, Accept) over all
    /// fields of this name. Option tags compare without case, methods with it.
    pub fn list<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| lexical::split(value, ','))
            .filter(|member| !member.is_empty())
    }

    /// The members of Route, Record-Route, Path, Service-Route, P-Asserted-Identity and their
    /// like, over all fields of this name in order.
    pub fn name_addrs(&self, name: &Name) -> Result<Vec<NameAddr>, Malformed> {
        let mut list = Vec::new();
        for value in self.all(name) {
            list.extend(NameAddr::parse_list(value)?);
        }
        Ok(list)
    }

    /// §20.10 and, for the star, §10.2.2.
    pub fn contacts(&self) -> Result<Contacts, Malformed> {
        let mut values = self.all(&Name::Contact);
        if values.any(|value| trim(value) == "*") {
            return match self.all(&Name::Contact).count() {
                1 => Ok(Contacts::All),
                _ => Err(Malformed("star beside other contacts")),
            };
        }
        self.name_addrs(&Name::Contact).map(Contacts::List)
    }
}

impl NameAddr {
    /// The `expires` parameter of a contact in seconds; overlarge saturates (RFC 3261 §10.2.1.1).
    pub fn expires(&self) -> Option<u32> {
        lexical::saturating_number(self.parameter("expires")?)
    }

    /// The `q` parameter of a contact in thousandths, 0 to 1000; 1000 when there is none.
    pub fn preference(&self) -> u16 {
        let Some(q) = self.parameter("q") else { return 1000 };
        let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
        let digits = fraction.bytes().chain(*b"000").take(3);
        let is_number = digits.clone().all(|digit| digit.is_ascii_digit());
        match whole {
            "0" | "" if is_number => {
                digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
            }
            _ => 1000,
        }
    }
}

/// The Contact fields of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contacts {
    /// `*`: every binding, in a REGISTER that removes them.
    All,
    List(Vec<NameAddr>),
}

/// `776656 1 INVITE`: the RSeq of a response and the CSeq of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RAck {
    pub response: u32,
    pub request: CSeq,
}

/// `type/subtype;parameters` (RFC 3261 §20.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// `application/sdp`, in lower case.
    pub kind: String,
    pub parameters: Vec<(String, Option<String>)>,
}

impl ContentType {
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (class, subtype) = kind.split_once('/')?;
        let (class, subtype) = (trim(class), trim(subtype));
        if !lexical::is_token(class) || !lexical::is_token(subtype) {
            return None;
        }
        let kind = format!("{class}/{subtype}").to_ascii_lowercase();
        Some(Self { kind, parameters: lexical::parameters(parameters).ok()? })
    }

    /// The value of a parameter by its lower-case name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        lexical::parameter(&self.parameters, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(Name::from(*name), *value);
        }
        headers
    }

    #[test]
    fn numbers_are_read_and_saturate() {
        let one = headers(&[
            ("Expires", "0070"),
            ("Max-Forwards", "0068"),
            ("Retry-After", "120 (I'm in a meeting)"),
        ]);
        assert_eq!(one.expires(), Some(70));
        assert_eq!(one.max_forwards(), Some(68));
        assert_eq!(one.retry_after(), Some(Duration::from_secs(120)));
        let other = headers(&[
            ("Expires", "1000000000000000000000000000000000"),
            ("Max-Forwards", "300"),
            ("Retry-After", "18000;duration=3600"),
        ]);
        assert_eq!(other.expires(), Some(u32::MAX));
        assert_eq!(other.max_forwards(), Some(255));
        assert_eq!(other.retry_after(), Some(Duration::from_secs(18000)));
    }

    #[test]
    fn lists_run_over_several_fields() {
        let headers = headers(&[("k", "100rel, Timer"), ("Supported", ""), ("Supported", "path")]);
        let all: Vec<_> = headers.list(&Name::Supported).collect();
        assert_eq!(all, ["100rel", "Timer", "path"]);
    }

    #[test]
    fn contacts_are_a_star_or_a_list() {
        assert_eq!(headers(&[("m", "*")]).contacts(), Ok(Contacts::All));
        assert!(headers(&[("m", "*"), ("m", "<sip:a@b>")]).contacts().is_err());
        assert!(headers(&[("m", "<sip:a@b>, *")]).contacts().is_err());
        assert_eq!(headers(&[]).contacts(), Ok(Contacts::List(Vec::new())));
        let Ok(Contacts::List(list)) =
            headers(&[("m", "<sip:a@b>;q=0.7;expires=60, sip:c@d"), ("m", "<sip:e@f>;q=1.0")])
                .contacts()
        else {
            panic!("a list")
        };
        let seen: Vec<_> = list.iter().map(|c| (c.preference(), c.expires())).collect();
        assert_eq!(seen, [(700, Some(60)), (1000, None), (1000, None)]);
    }

    #[test]
    fn content_types_compare_without_case() {
        let headers = headers(&[("c", "Multipart/Mixed ; boundary=\"a;b\"")]);
        let kind = headers.content_type().unwrap();
        assert_eq!(
            (kind.kind.as_str(), kind.parameter("boundary")),
            ("multipart/mixed", Some("a;b"))
        );
        assert_eq!(ContentType::parse("sdp"), None);
    }
}
