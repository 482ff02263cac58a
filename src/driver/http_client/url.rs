//! `http` and `https` URLs as scripts write them (RFC 3986, tolerant where curl is).
//!
//! International host names are **not** supported; write them in their ASCII form.

use std::fmt;
use std::net::Ipv6Addr;

use data_encoding::BASE64;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub is_secure: bool,
    /// Name or address, IPv6 without brackets, in lower case.
    pub host: String,
    pub port: u16,
    /// Path and query, ready for a request line.
    pub target: String,
    /// `user:password` of the URL for `Authorization: Basic`, encoded.
    pub basic: Option<String>,
}

/// What is wrong with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedUrl(&'static str);

impl Url {
    pub fn parse(text: &str) -> Result<Self, MalformedUrl> {
        let text = text.trim();
        if text.len() > MOST_BYTES {
            return Err(MalformedUrl("longer than 16 KiB"));
        }
        let (scheme, rest) = text.split_once("://").ok_or(MalformedUrl("no scheme"))?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(MalformedUrl("the scheme is not http or https")),
        };
        Self::with_authority(is_secure, rest)
    }

    /// The URL that a `Location` means, seen from this one (RFC 3986 §5.2).
    pub fn join(&self, reference: &str) -> Result<Self, MalformedUrl> {
        let reference = reference.trim();
        let reference = reference.split_once('#').map_or(reference, |(reference, _)| reference);
        if let Some(authority) = reference.strip_prefix("//") {
            return Self::with_authority(self.is_secure, authority);
        }
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        let (path, _) = split_query(&self.target);
        let target = match reference.as_bytes().first() {
            None => self.target.clone(),
            Some(b'/') => reference.to_owned(),
            Some(b'?') => format!("{path}{reference}"),
            Some(_) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{reference}")
            }
        };
        Ok(Self { target: request_target(&target)?, basic: None, ..self.clone() })
    }

    /// For the `Host` field.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == default_port(self.is_secure) {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// Whether credentials for one may go to the other.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_secure, &self.host, self.port) == (other.is_secure, &other.host, other.port)
    }

    fn with_authority(is_secure: bool, rest: &str) -> Result<Self, MalformedUrl> {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (basic, place) = match authority.rsplit_once('@') {
            Some((user, place)) => {
                let decoded: Vec<u8> = percent_decode_str(user).collect();
                (Some(BASE64.encode(&decoded)), place)
            }
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(MalformedUrl("no ] of a host"))?;
                let address: Ipv6Addr =
                    address.parse().map_err(|_| MalformedUrl("no IPv6 address in []"))?;
                (address.to_string(), port)
            }
            None => {
                let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
                if !is_host(host) {
                    return Err(MalformedUrl("no host, or letters that a host cannot have"));
                }
                (host.to_ascii_lowercase(), port)
            }
        };
        let port = match port {
            "" | ":" => default_port(is_secure),
            port => {
                let digits = port.strip_prefix(':').unwrap_or_default();
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                let port = digits.parse().ok().filter(|port| is_number && *port != 0);
                port.ok_or(MalformedUrl("the port is no number from 1 to 65535"))?
            }
        };
        let target = target.split_once('#').map_or(target, |(target, _)| target);
        Ok(Self { is_secure, host, port, target: request_target(target)?, basic })
    }
}

/// Path and query with what a request line cannot hold percent-encoded, and no dot segments.
fn request_target(target: &str) -> Result<String, MalformedUrl> {
    let (path, query) = split_query(target);
    let path = without_dot_segments(path);
    let target = utf8_percent_encode(&path, UNSAFE).to_string()
        + &utf8_percent_encode(query, UNSAFE).to_string();
    match target.len() <= MOST_BYTES {
        true => Ok(target),
        false => Err(MalformedUrl("longer than 16 KiB")),
    }
}

/// RFC 3986 §5.2.4, for an absolute path; always begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The query with its question mark.
fn split_query(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

/// RFC 3986 §3.1.
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_host(host: &str) -> bool {
    (1..=MOST_HOST).contains(&host.len())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

impl fmt::Display for MalformedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed URL: {}", self.0)
    }
}

impl std::error::Error for MalformedUrl {}

/// Octets that RFC 3986 allows nowhere in path and query. What is percent-encoded already stays.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// What servers take; many take half of it.
const MOST_BYTES: usize = 16 << 10;
/// RFC 1035 §2.3.4.
const MOST_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (bool, String, u16, String) {
        let url = Url::parse(text).unwrap();
        (url.is_secure, url.host, url.port, url.target)
    }

    fn expected(
        is_secure: bool,
        host: &str,
        port: u16,
        target: &str,
    ) -> (bool, String, u16, String) {
        (is_secure, host.into(), port, target.into())
    }

    #[test]
    fn parts_are_found() {
        assert_eq!(parsed("http://example.com"), expected(false, "example.com", 80, "/"));
        assert_eq!(
            parsed("HTTPS://Example.COM:8443/a/b?c=/d#e"),
            expected(true, "example.com", 8443, "/a/b?c=/d")
        );
        assert_eq!(parsed("http://h?a=b"), expected(false, "h", 80, "/?a=b"));
        assert_eq!(parsed("http://[2001:DB8::1]:80/"), expected(false, "2001:db8::1", 80, "/"));
        assert_eq!(parsed(" http://h:/a "), expected(false, "h", 80, "/a"));
    }

    #[test]
    fn what_a_request_line_cannot_hold_is_encoded() {
        assert_eq!(parsed("http://h/a b/ä?q=\"x\"|%20").3, "/a%20b/%C3%A4?q=%22x%22%7C%20");
        assert_eq!(parsed("http://h/a\r\nb").3, "/a%0D%0Ab");
    }

    #[test]
    fn credentials_become_basic() {
        // RFC 7617 §2: Aladdin and his password.
        let url = Url::parse("http://Aladdin:open%20sesame@h/").unwrap();
        assert_eq!(url.basic.as_deref(), Some("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(url.host, "h");
    }

    #[test]
    fn malformed_urls_are_refused() {
        for text in [
            "",
            "example.com",
            "/a",
            "ftp://h/",
            "http://",
            "http:///a",
            "http://h:0/",
            "http://h:65536/",
            "http://h:+1/",
            "http://h:x/",
            "http://a b/",
            "http://h\\x/",
            "http://[::1/",
            "http://[h]/",
            "http://[::1]x/",
            "http://ä/",
            "javascript:alert(1)",
            "http://h\r\nHost: x/",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
        assert!(Url::parse(&format!("http://h/{}", "a".repeat(17_000))).is_err());
        assert!(Url::parse(&format!("http://h/{}", "ä".repeat(8_000))).is_err());
    }

    /// RFC 3986 §5.4, what concerns http.
    #[test]
    fn references_are_resolved_as_the_standard_says() {
        let base = Url::parse("http://a/b/c/d;p?q").unwrap();
        for (reference, target) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("g#s", "/b/c/g"),
            (";x", "/b/c/;x"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/../x", "/b/c/g?y/../x"),
        ] {
            let joined = base.join(reference).unwrap();
            assert_eq!(
                (joined.host.as_str(), joined.target.as_str()),
                ("a", target),
                "{reference}"
            );
        }
        assert_eq!(base.join("//g").unwrap().host, "g");
        assert_eq!(base.join("https://g/x").unwrap().authority(), "g");
        assert!(base.join("mailto:x@y").is_err());
    }

    #[test]
    fn no_text_panics_and_every_url_fits_a_request_line() {
        let mut random = fastrand::Rng::with_seed(1);
        let pieces = [
            "http://", "https://", "h", ":", "80", "/", "//", "..", ".", "?", "#", "@", "[", "::1",
            "]", "%", "ä", "\r\n", "\0", " ", "\\", "a%41", "x:y",
        ];
        for _ in 0..20_000 {
            let count = random.usize(0..8);
            let text: String = (0..count).map(|_| pieces[random.usize(0..pieces.len())]).collect();
            let base = Url::parse("http://a/b/c?d").unwrap();
            for url in [Url::parse(&text), base.join(&text)].into_iter().flatten() {
                assert!(url.target.starts_with('/'), "{text:?}");
                assert!(url.target.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
                assert!(!url.host.is_empty(), "{text:?}");
            }
        }
    }

    #[test]
    fn authority_names_the_port_where_it_is_not_the_usual_one() {
        let authority = |text: &str| Url::parse(text).unwrap().authority();
        assert_eq!(authority("http://h:80/"), "h");
        assert_eq!(authority("https://h:80/"), "h:80");
        assert_eq!(authority("http://[::1]:8080/"), "[::1]:8080");
    }
}
