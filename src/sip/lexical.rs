//! The basic rules that every header shares: tokens, quoted strings, lists, parameters
//! (RFC 3261 §25.1).

use std::fmt;

/// A value that is not what its grammar says; the text names the part that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// SP and HTAB: what may stand around separators once lines are unfolded.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// `token` of RFC 3261 §25.1.
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte))
}

/// All digits, at least one; a number that does not fit is the greatest (RFC 4475 §3.1.2.4: an
/// overlarge scalar must not wrap around).
pub(super) fn saturating_number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

/// The parts of `text` between separators that stand outside quotes and angle brackets, trimmed.
/// An unbalanced quote or bracket reaches to the end, where the part's own parser finds it.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut place = Place::Plain;
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match (place, character) {
            (Place::Quotes, _) if is_escaped => is_escaped = false,
            (Place::Quotes, '\\') => is_escaped = true,
            (Place::Quotes, '"') | (Place::Brackets, '>') => place = Place::Plain,
            (Place::Plain, '"') => place = Place::Quotes,
            (Place::Plain, '<') => place = Place::Brackets,
            (Place::Plain, found) if found == separator => {
                parts.push(trim(&text[start..at]));
                start = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(trim(&text[start..]));
    parts
}

#[derive(Clone, Copy)]
enum Place {
    Plain,
    Quotes,
    Brackets,
}

/// Reads the quoted string that `text` begins with: its content without escapes, and the rest.
pub(super) fn unquote(text: &str) -> Result<(String, &str), Malformed> {
    let mut characters =
        text.strip_prefix('"').ok_or(Malformed("quoted string expected"))?.char_indices();
    let mut content = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            // `at` counts from behind the opening quote.
            '"' => return Ok((content, &text[at + 2..])),
            '\\' => match characters.next() {
                Some((_, escaped)) => content.push(escaped),
                None => break,
            },
            other => content.push(other),
        }
    }
    Err(Malformed("quote not closed"))
}

/// `text` as a quoted string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
    out
}

/// Reads `;name=value;flag`; the leading semicolon may be missing. Names become lower case,
/// values lose their quotes. Empty parameters (`;;`) are passed over.
pub(super) fn parameters(text: &str) -> Result<Vec<(String, Option<String>)>, Malformed> {
    let mut list = Vec::new();
    for part in split(text, ';') {
        if part.is_empty() {
            continue;
        }
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (trim(name), Some(trim(value))),
            None => (part, None),
        };
        if !is_token(name) {
            return Err(Malformed("parameter name is not a token"));
        }
        let value = match value {
            Some(value) if value.starts_with('"') => match unquote(value)? {
                (content, "") => Some(content),
                _ => return Err(Malformed("text behind a quoted parameter")),
            },
            Some(value) if needs_quotes(value) => {
                return Err(Malformed("parameter value needs quotes"));
            }
            value => value.map(str::to_owned),
        };
        list.push((name.to_ascii_lowercase(), value));
    }
    Ok(list)
}

/// Writes what [`parameters`] reads, with quotes where they are needed only: peers compare tags
/// as text, so that one such as `a@192.0.2.1` must leave as it came.
pub(super) fn write_parameters(
    f: &mut fmt::Formatter<'_>,
    parameters: &[(String, Option<String>)],
) -> fmt::Result {
    for (name, value) in parameters {
        write!(f, ";{name}")?;
        match value {
            Some(value) if needs_quotes(value) => write!(f, "={}", quoted(value))?,
            Some(value) => write!(f, "={value}")?,
            None => {}
        }
    }
    Ok(())
}

fn needs_quotes(value: &str) -> bool {
    value.bytes().any(|byte| !byte.is_ascii_graphic() || b"\",;<>\\".contains(&byte))
}

/// The value of the first parameter of this (lower-case) name, empty for a flag.
pub(super) fn parameter<'a>(list: &'a [(String, Option<String>)], name: &str) -> Option<&'a str> {
    list.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_deref().unwrap_or(""))
}

/// Sets the first parameter of this name, or appends it.
pub(super) fn set_parameter(
    list: &mut Vec<(String, Option<String>)>,
    name: &str,
    value: Option<String>,
) {
    match list.iter_mut().find(|(key, _)| key == name) {
        Some(entry) => entry.1 = value,
        None => list.push((name.to_owned(), value)),
    }
}

/// Splits `host[:port]`; the host comes without brackets and in lower case.
pub(super) fn host_port(text: &str) -> Result<(String, Option<u16>), Malformed> {
    // The grammar of RFC 3261 leads to a third colon before an embedded IPv4 address, which is to
    // be tolerated (RFC 5118 §4.10).
    if text.starts_with('[') && text.contains(":::") {
        return host_port(&text.replacen(":::", "::", 1));
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or(Malformed("IPv6 bracket not closed"))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(Malformed("not an IPv6 address"));
        }
        match trim(behind) {
            "" => (host, None),
            behind => (host, Some(behind.strip_prefix(':').ok_or(Malformed("port expected"))?)),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (trim(host), Some(port)),
            None => (text, None),
        }
    };
    // The underscore is no host name's, but is found in those of containers and Windows hosts.
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host_byte) {
        return Err(Malformed("host is not a name or address"));
    }
    let port = match port.map(trim) {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().map_err(|_| Malformed("port is not a number up to 65535"))?)
        }
        Some(_) => return Err(Malformed("port is not a number up to 65535")),
        None => None,
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// Writes what [`host_port`] reads.
pub(super) fn write_host_port(
    f: &mut fmt::Formatter<'_>,
    host: &str,
    port: Option<u16>,
) -> fmt::Result {
    match host.contains(':') {
        true => write!(f, "[{host}]")?,
        false => f.write_str(host)?,
    }
    match port {
        Some(port) => write!(f, ":{port}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_separate() {
        let text = r#""a, \"b,\"" <sip:c,d@e>;x=1 , sip:f@g"#;
        assert_eq!(split(text, ','), [r#""a, \"b,\"" <sip:c,d@e>;x=1"#, "sip:f@g"]);
    }

    #[test]
    fn quoted_strings_lose_their_escapes() {
        assert_eq!(unquote(r#""a\"b\\c" rest"#), Ok(("a\"b\\c".to_owned(), " rest")));
        assert_eq!(unquote(r#""open"#), Err(Malformed("quote not closed")));
        assert_eq!(unquote("\"open\\"), Err(Malformed("quote not closed")));
    }

    #[test]
    fn overlarge_numbers_saturate() {
        assert_eq!(saturating_number("0070"), Some(70));
        assert_eq!(saturating_number("36893488147419103232"), Some(u32::MAX));
        assert_eq!(saturating_number("+7"), None);
        assert_eq!(saturating_number(""), None);
    }
}
