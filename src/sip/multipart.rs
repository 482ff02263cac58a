//! Bodies in parts (RFC 2046 §5.1, RFC 5621): the SDP among what exchanges, emergency services
//! and recorders put beside it.
//!
//! `multipart/mixed` and its like of one level **are** read; parts within parts and transfer
//! encodings **are not**. The other parts are left unread.

use super::fields::ContentType;
use super::lexical::trim;

/// The part of this kind (`application/sdp`) of a body, if the body is one in parts.
pub fn part<'a>(content: &ContentType, body: &'a [u8], kind: &str) -> Option<&'a [u8]> {
    if !content.kind.starts_with("multipart/") {
        return None;
    }
    let boundary = content.parameter("boundary").filter(|text| !text.is_empty())?;
    let delimiter = format!("--{boundary}");
    let mut rest = after_delimiter(body, delimiter.as_bytes())?.1;
    for _ in 0..PARTS {
        // Two hyphens behind the last delimiter.
        if rest.starts_with(b"--") {
            return None;
        }
        let start = rest.iter().position(|&byte| byte == b'\n')? + 1;
        let (inside, next) = after_delimiter(rest.get(start..)?, delimiter.as_bytes())?;
        if let Some(found) = content_of(inside, kind) {
            return Some(found);
        }
        rest = next;
    }
    None
}

/// What stands before the first line that begins with the delimiter, without the line end that
/// belongs to it, and what stands behind it.
fn after_delimiter<'a>(body: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut line = 0;
    loop {
        let rest = body.get(line..)?;
        if rest.starts_with(delimiter) {
            let before = &body[..line];
            let before = before.strip_suffix(b"\n").unwrap_or(before);
            let before = before.strip_suffix(b"\r").unwrap_or(before);
            return Some((before, &rest[delimiter.len()..]));
        }
        line += rest.iter().position(|&byte| byte == b'\n')? + 1;
    }
}

/// The content of a part, if it is of this kind and as it is.
fn content_of<'a>(part: &'a [u8], kind: &str) -> Option<&'a [u8]> {
    let mut is_kind = false;
    let mut rest = part;
    loop {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        let line = line.trim_end_matches('\r');
        rest = &rest[end + 1..];
        if line.is_empty() {
            return is_kind.then_some(rest);
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match trim(name).to_ascii_lowercase().as_str() {
            "content-type" => {
                is_kind = ContentType::parse(trim(value)).is_some_and(|it| it.kind == kind);
            }
            "content-transfer-encoding" => {
                let plain = ["7bit", "8bit", "binary"];
                if !plain.iter().any(|plain| trim(value).eq_ignore_ascii_case(plain)) {
                    return None;
                }
            }
            _ => {}
        }
    }
}

/// Parts that are looked through; real bodies have two or three.
const PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(kind: &str, body: &str) -> Option<String> {
        let content = ContentType::parse(kind).unwrap();
        let found = part(&content, body.as_bytes(), "application/sdp");
        found.map(|found| String::from_utf8(found.to_vec()).unwrap())
    }

    const MIXED: &str = "multipart/mixed; boundary=\"b 1\"";

    #[test]
    fn rfc2046_5_1_part_is_found_among_others() {
        let body = "preamble\r\n--b 1\r\nContent-Type: application/isup\r\n\r\n\u{1}\u{2}\r\n\
                    --b 1 \r\ncontent-type: Application/SDP\r\nContent-Disposition: session\r\n\r\n\
                    v=0\r\ns=-\r\n\r\n--b 1--\r\nepilogue\r\n";
        assert_eq!(sdp(MIXED, body).as_deref(), Some("v=0\r\ns=-\r\n"));
        assert_eq!(sdp(MIXED, &body.replace('\r', "")).as_deref(), Some("v=0\ns=-\n"));
    }

    #[test]
    fn body_without_such_a_part_has_none() {
        for body in [
            "",
            "--b 1",
            "--b 1\r\n",
            "--b 1--\r\n",
            "--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n",
            "--b 1\r\n\r\nv=0\r\n--b 1--",
            "--b 1\r\nContent-Type: application/sdp\r\nv=0\r\n--b 1--",
            "--b 1\r\nContent-Type: text/plain\r\n\r\nv=0\r\n--b 1--",
            "--b 1\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\n\
             dj0wDQo=\r\n--b 1--",
            // What follows the last delimiter is no part.
            "--b 1\r\n\r\nx\r\n--b 1--\r\n--b 1\r\nContent-Type: application/sdp\r\n\r\nv\r\n--b 1--",
        ] {
            assert_eq!(sdp(MIXED, body), None, "{body}");
        }
        assert_eq!(sdp("application/sdp", "--b\r\n"), None);
        assert_eq!(sdp("multipart/mixed", "--\r\n"), None);
    }

    #[test]
    fn search_ends_after_sixteen_parts() {
        let mut body = "--b 1\r\n\r\nx\r\n".repeat(PARTS);
        body.push_str("--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b 1--");
        assert_eq!(sdp(MIXED, &body), None);
        assert!(sdp(MIXED, &body["--b 1\r\n\r\nx\r\n".len()..]).is_some());
    }
}
