//! `multipart/form-data` bodies (RFC 7578) as names and values.
//!
//! The whole body is in memory already, so parsing takes no more than the values it gives. File
//! names and the parts' own types are **not** looked at: a file is its text.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultipartError {
    /// The content type names none, or one that RFC 2046 §5.1.1 does not allow.
    Boundary,
    /// No closing delimiter.
    Truncated,
    /// A part's header without end, or one that names no field.
    Part,
    TooManyParts,
}

/// Name and text of every part.
pub fn parse(
    content_type: &str,
    body: &[u8],
    most: usize,
) -> Result<Vec<(String, String)>, MultipartError> {
    let boundary = boundary(content_type).ok_or(MultipartError::Boundary)?;
    let delimiter = format!("--{boundary}");
    let delimiter = delimiter.as_bytes();
    let mut parts = Vec::new();
    // What stands before the first delimiter is a preamble to be ignored.
    let start = match body.starts_with(delimiter) {
        true => delimiter.len(),
        false => find_line(body, delimiter).ok_or(MultipartError::Truncated)?.1,
    };
    let mut rest = body.get(start..).unwrap_or_default();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        // RFC 2046 §5.1.1: white space may pad a delimiter line.
        let line = rest.iter().position(|byte| *byte == b'\n').ok_or(MultipartError::Truncated)?;
        let padding = rest.get(..line).unwrap_or_default();
        if !padding.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            return Err(MultipartError::Part);
        }
        let part = rest.get(line + 1..).unwrap_or_default();
        let (end, next) = find_line(part, delimiter).ok_or(MultipartError::Truncated)?;
        if parts.len() >= most {
            return Err(MultipartError::TooManyParts);
        }
        parts.push(name_and_value(part.get(..end).unwrap_or_default())?);
        rest = part.get(next..).unwrap_or_default();
    }
}

/// Where a line break with the delimiter after it begins and ends.
fn find_line(text: &[u8], delimiter: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let line_feed = from + text.get(from..)?.iter().position(|byte| *byte == b'\n')?;
        if text.get(line_feed + 1..)?.starts_with(delimiter) {
            let before = line_feed.checked_sub(1).and_then(|place| text.get(place));
            let begin = if before == Some(&b'\r') { line_feed - 1 } else { line_feed };
            return Some((begin, line_feed + 1 + delimiter.len()));
        }
        from = line_feed + 1;
    }
}

fn name_and_value(part: &[u8]) -> Result<(String, String), MultipartError> {
    let mut name = None;
    let mut rest = part;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(MultipartError::Part)?;
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        if let Some((header, value)) = line.split_once(':')
            && header.trim().eq_ignore_ascii_case("content-disposition")
        {
            name = parameter(value, "name");
        }
    }
    let value = String::from_utf8_lossy(rest).into_owned();
    Ok((name.ok_or(MultipartError::Part)?, value))
}

fn boundary(content_type: &str) -> Option<String> {
    let boundary = parameter(content_type, "boundary")?;
    let is_allowed = (1..=MOST_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !boundary.ends_with(' ');
    is_allowed.then_some(boundary)
}

/// A parameter of a header value, quoted or not.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, next) = after.split_at(end);
                (value.trim_end().to_owned(), next)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next.split_once(';')?.1;
    }
}

/// A quoted string without its first quote, and what comes after it.
///
/// RFC 7578 §4.2: browsers escape a quote as `%22`, other senders as `\"`.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value.replace("%22", "\""), text.get(place + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boundary => "the content type names no boundary",
            Self::Truncated => "the closing delimiter is missing",
            Self::Part => "a part has no name",
            Self::TooManyParts => "too many parts",
        })
    }
}

impl std::error::Error for MultipartError {}

/// RFC 2046 §5.1.1.
const MOST_BOUNDARY: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<Vec<(String, String)>, MultipartError> {
        parse("multipart/form-data; boundary=\"a b\"", body.as_bytes(), 3)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, MultipartError> {
        Ok(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    /// What `curl -F rule_id=1 -F file=@x` sends.
    const CURL: &str = "--a b\r\nContent-Disposition: form-data; name=\"rule_id\"\r\n\r\n1\r\n\
         --a b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x; name=y\"\r\n\
         Content-Type: text/plain\r\n\r\nline\r\n\r\n--a \r\n--a b--\r\n";

    #[test]
    fn parts_are_names_and_texts() {
        assert_eq!(parsed(CURL), pairs(&[("rule_id", "1"), ("file", "line\r\n\r\n--a ")]));
    }

    #[test]
    fn preamble_padding_and_bare_line_feeds_are_tolerated() {
        let body = "hello\n--a b \t\ncontent-disposition:form-data;name=x\n\n\n--a b--";
        assert_eq!(parsed(body), pairs(&[("x", "")]));
        assert_eq!(parsed("--a b--"), pairs(&[]));
    }

    #[test]
    fn escaped_quotes_are_part_of_the_name() {
        let body = |name: &str| {
            format!("--a b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n1\r\n--a b--")
        };
        assert_eq!(parsed(&body(r#"a\"b"#)), pairs(&[("a\"b", "1")]));
        assert_eq!(parsed(&body("a%22b")), pairs(&[("a\"b", "1")]));
    }

    #[test]
    fn every_truncation_is_an_error_and_no_panic() {
        // The two hyphens of the closing delimiter make it whole.
        let whole = CURL.len() - 2;
        for end in 0..whole {
            assert!(parsed(&CURL[..end]).is_err(), "{:?}", &CURL[..end]);
        }
    }

    #[test]
    fn parts_are_counted() {
        let part = "--a b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n";
        let body = format!("{}--a b--", part.repeat(4));
        assert_eq!(parsed(&body), Err(MultipartError::TooManyParts));
    }

    #[test]
    fn boundary_is_required_and_bounded() {
        for content_type in
            ["multipart/form-data", "multipart/form-data; boundary=", "x; boundary=\"a"]
        {
            assert_eq!(parse(content_type, b"--", 3), Err(MultipartError::Boundary));
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        assert_eq!(parse(&long, b"", 3), Err(MultipartError::Boundary));
    }
}
