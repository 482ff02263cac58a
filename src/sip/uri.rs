//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::lexical::{self, Malformed};

/// `sip:user:password@host:port;parameters?headers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    pub scheme: Scheme,
    /// Unescaped user part; a `tel:` URI has its number here and an empty host.
    pub user: Option<String>,
    pub password: Option<String>,
    /// Host name, IPv4, or IPv6 without brackets; lower case.
    pub host: String,
    pub port: Option<u16>,
    /// In the order received; names lower case, `None` for a flag such as `lr`.
    pub parameters: Vec<(String, Option<String>)>,
    /// What follows `?`, still escaped.
    pub headers: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    /// Any other (`urn:`, `http:`): legal in From, To and Contact. The whole text, scheme
    /// included, stands in `host`, and every other part is empty.
    Other,
}

impl Uri {
    /// `sip:user@host`; an empty user makes `sip:host`.
    pub fn sip(user: &str, host: &str, port: Option<u16>) -> Self {
        Self {
            scheme: Scheme::Sip,
            user: Some(user.to_owned()).filter(|user| !user.is_empty()),
            password: None,
            host: host.to_ascii_lowercase(),
            port,
            parameters: Vec::new(),
            headers: None,
        }
    }

    /// A text kept as it is, without meaning to us.
    pub(super) fn other(text: &str) -> Self {
        Self { scheme: Scheme::Other, ..Self::sip("", "", None) }.with_host(text)
    }

    fn with_host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// The value of a parameter by its lower-case name, empty for a flag such as `lr`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        lexical::parameter(&self.parameters, name)
    }

    /// Sets a parameter, or appends it.
    pub fn set_parameter(&mut self, name: &str, value: Option<String>) {
        lexical::set_parameter(&mut self.parameters, name, value);
    }

    pub fn remove_parameter(&mut self, name: &str) {
        self.parameters.retain(|(key, _)| key != name);
    }

    /// The host as an address, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether both name the same resource (RFC 3261 §19.1.4, RFC 3966 §5). Not transitive.
    pub fn matches(&self, other: &Self) -> bool {
        if self.scheme != other.scheme {
            return false;
        }
        match self.scheme {
            Scheme::Tel => {
                let number = |uri: &Self| digits_of(uri.user.as_deref().unwrap_or(""));
                number(self) == number(other)
                    && self.agrees_on_parameters(other, |_| true)
                    && other.agrees_on_parameters(self, |_| true)
            }
            Scheme::Other => self.host == other.host,
            Scheme::Sip | Scheme::Sips => {
                // "sip:bob@biloxi.com" and "sip:bob@biloxi.com;transport=udp" differ: they can
                // resolve to different transports.
                let must_be_in_both =
                    |name: &str| matches!(name, "user" | "ttl" | "method" | "maddr" | "transport");
                self.user == other.user
                    && self.password == other.password
                    && (self.host == other.host || self.ip().is_some() && self.ip() == other.ip())
                    && self.port == other.port
                    && self.agrees_on_parameters(other, must_be_in_both)
                    && other.agrees_on_parameters(self, must_be_in_both)
                    && sorted_headers(self) == sorted_headers(other)
            }
        }
    }

    /// Each of our parameters has its equal there; one that is missing there counts only where
    /// `must_be_in_both`.
    fn agrees_on_parameters(&self, other: &Self, must_be_in_both: impl Fn(&str) -> bool) -> bool {
        // Of a repeated one the first counts on both sides.
        self.parameters.iter().all(|(name, _)| {
            match (self.parameter(name), other.parameter(name)) {
                (Some(ours), Some(theirs)) => theirs.eq_ignore_ascii_case(ours),
                _ => !must_be_in_both(name),
            }
        })
    }

    fn parse_sip(scheme: Scheme, text: &str) -> Result<Self, Malformed> {
        // A user part may hold `;` and `?`, so it is cut off first. An `@` inside it is escaped.
        let (userinfo, rest) = match text.split_once('@') {
            Some((userinfo, rest)) => (userinfo, rest),
            None => ("", text),
        };
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(unescape(password)?)),
            None => (userinfo, None),
        };
        // "sip:@host" is no URI, but some anonymous callers write it.
        let user = if user.is_empty() { None } else { Some(unescape(user)?) };
        if user.is_none() && password.is_some() {
            return Err(Malformed("password without a user"));
        }
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers.to_owned())),
            None => (rest, None),
        };
        // Nobody could tell it from the one behind a user.
        if user.is_none() && headers.as_ref().is_some_and(|headers| headers.contains('@')) {
            return Err(Malformed("@ in the headers of a URI must be escaped"));
        }
        let (host, parameters) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = lexical::host_port(host)?;
        let parameters = parse_parameters(parameters)?;
        Ok(Self { scheme, user, password, host, port, parameters, headers })
    }

    fn parse_tel(text: &str) -> Result<Self, Malformed> {
        let (number, parameters) = text.split_once(';').unwrap_or((text, ""));
        let number = unescape(number)?;
        if digits_of(&number).is_empty() {
            return Err(Malformed("telephone number is empty"));
        }
        let parameters = parse_parameters(parameters)?;
        Ok(Self { scheme: Scheme::Tel, user: Some(number), parameters, ..Self::sip("", "", None) })
    }
}

impl FromStr for Uri {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        // Characters beyond ASCII must be escaped; those who forget it are understood.
        if text.chars().any(|c| c.is_ascii_control() || matches!(c, ' ' | '<' | '>' | '"')) {
            return Err(Malformed("URI holds a blank, quote or bracket"));
        }
        let (scheme, rest) = text.split_once(':').ok_or(Malformed("URI has no scheme"))?;
        match scheme.to_ascii_lowercase().as_str() {
            "sip" => Self::parse_sip(Scheme::Sip, rest),
            "sips" => Self::parse_sip(Scheme::Sips, rest),
            "tel" => Self::parse_tel(rest),
            other => {
                // RFC 3986 §3.1.
                let is_scheme = other.starts_with(|c: char| c.is_ascii_alphabetic())
                    && other.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
                if !is_scheme {
                    return Err(Malformed("URI has no scheme"));
                }
                Ok(Self::other(text))
            }
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_deref().unwrap_or("");
        match self.scheme {
            Scheme::Other => return f.write_str(&self.host),
            Scheme::Tel => {
                f.write_str("tel:")?;
                write_escaped(f, user, b"+-.()*#")?;
            }
            Scheme::Sip | Scheme::Sips => {
                f.write_str(if self.scheme == Scheme::Sip { "sip:" } else { "sips:" })?;
                if !user.is_empty() {
                    write_escaped(f, user, b"-_.!~*'()&=+$,;?/")?;
                    if let Some(password) = &self.password {
                        f.write_str(":")?;
                        write_escaped(f, password, b"-_.!~*'()&=+$,")?;
                    }
                    f.write_str("@")?;
                }
                lexical::write_host_port(f, &self.host, self.port)?;
            }
        }
        for (name, value) in &self.parameters {
            f.write_str(";")?;
            write_escaped(f, name, PARAMETER_MARKS)?;
            if let Some(value) = value {
                f.write_str("=")?;
                write_escaped(f, value, PARAMETER_MARKS)?;
            }
        }
        match &self.headers {
            Some(headers) => write!(f, "?{headers}"),
            None => Ok(()),
        }
    }
}

/// `unreserved` and `param-unreserved` beside letters and digits.
const PARAMETER_MARKS: &[u8] = b"-_.!~*'()[]/:&+$";

fn parse_parameters(text: &str) -> Result<Vec<(String, Option<String>)>, Malformed> {
    let mut list = Vec::new();
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name, Some(unescape(value)?)),
            None => (part, None),
        };
        if name.is_empty() {
            return Err(Malformed("URI parameter has no name"));
        }
        list.push((unescape(name)?.to_ascii_lowercase(), value));
    }
    Ok(list)
}

/// Resolves `%41`. What is no UTF-8 then becomes U+FFFD: a URI is text to everybody who sees it.
pub fn unescape(text: &str) -> Result<String, Malformed> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(Malformed("percent sign without two hexadecimal digits"));
        };
        bytes.push((high * 16 + low) as u8);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes letters, digits and `marks` as they are, every other byte as `%41`.
fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str, marks: &[u8]) -> fmt::Result {
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || marks.contains(&byte) {
            fmt::Write::write_char(f, char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// A telephone number without its visual separators (RFC 3966 §3).
fn digits_of(number: &str) -> String {
    number
        .chars()
        .filter(|character| !matches!(character, '-' | '.' | '(' | ')'))
        .map(|character| character.to_ascii_lowercase())
        .collect()
}

fn sorted_headers(uri: &Uri) -> Vec<(String, String)> {
    let mut list: Vec<_> = uri
        .headers
        .iter()
        .flat_map(|headers| headers.split('&'))
        .map(|field| field.split_once('=').unwrap_or((field, "")))
        .map(|(name, value)| {
            let plain = |text: &str| unescape(text).unwrap_or_else(|_| text.to_owned());
            (plain(name).to_ascii_lowercase(), plain(value))
        })
        .collect();
    list.sort();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect(text)
    }

    #[test]
    fn parts_are_read() {
        let parsed = uri("sip:alice:secret@Atlanta.COM:5070;Transport=tcp;lr?subject=x&a=b");
        assert_eq!(parsed.user.as_deref(), Some("alice"));
        assert_eq!(parsed.password.as_deref(), Some("secret"));
        assert_eq!((parsed.host.as_str(), parsed.port), ("atlanta.com", Some(5070)));
        assert_eq!(parsed.parameter("transport"), Some("tcp"));
        assert_eq!(parsed.parameter("lr"), Some(""));
        assert_eq!(parsed.parameter("maddr"), None);
        assert_eq!(parsed.headers.as_deref(), Some("subject=x&a=b"));
    }

    #[test]
    fn what_is_read_is_written() {
        for text in [
            "sip:alice@atlanta.com",
            "sips:alice@atlanta.com:5061;transport=tcp",
            "sip:[2001:db8::9:1]:5060;lr",
            "sip:+1-212-555-1212:1234@gateway.com;user=phone",
            "sip:%23123*@pbx",
            "sip:a%40b%3Ac@example.com;x=%22%3B%22",
            "tel:+358-555-1234567;ext=12",
            "tel:*72#;phone-context=example.com",
            "urn:service:sos",
            "sip:192.0.2.4;maddr=[::1]",
        ] {
            assert_eq!(uri(text).to_string(), text);
        }
    }

    /// RFC 4475 §3.1.1.2 and §3.1.1.9.
    #[test]
    fn user_parts_hold_marks_and_parameters() {
        let weird = uri(
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.\
             (doesn't-it)@example.com",
        );
        assert_eq!(weird.user.as_deref(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
        assert_eq!(weird.password.as_deref(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
        let semicolon = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(semicolon.user.as_deref(), Some("user;par=u@example.net"));
        assert!(semicolon.parameters.is_empty());
    }

    /// RFC 3261 §19.1.4, the examples of equivalence.
    #[test]
    fn equivalent_uris_match() {
        for (one, other) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
            ("tel:+1-212-555-1212", "tel:+1(212)555.1212"),
        ] {
            assert!(uri(one).matches(&uri(other)), "{one} {other}");
            assert!(uri(other).matches(&uri(one)), "{other} {one}");
        }
    }

    /// RFC 3261 §19.1.4, the examples of difference.
    #[test]
    fn different_uris_do_not_match() {
        for (one, other) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
            ("tel:+12125551212", "tel:+12125551213"),
            ("tel:123", "tel:123;phone-context=+44"),
        ] {
            assert!(!uri(one).matches(&uri(other)), "{one} {other}");
        }
    }

    #[test]
    fn broken_uris_are_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            "sip:a@",
            "sip:a@b:port",
            "sip:a@b:65536",
            "sip:a@b:",
            "sip:a@b@c",
            "sip:a@[::1",
            "sip:a@[nonsense]",
            "sip:a@::1",
            "sip:a b@c",
            "sip:a%4@c",
            "sip:a%zz@c",
            "<sip:a@b>",
            "sip:a@b;=x",
            "alice@atlanta.com:5060",
            "tel:",
            "tel:--",
        ] {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_escapes_from_a_user_part() {
        let uri = Uri::sip("x\r\nVia: y@z:1", "example.com", None);
        assert_eq!(uri.to_string(), "sip:x%0D%0AVia%3A%20y%40z%3A1@example.com");
    }
}
