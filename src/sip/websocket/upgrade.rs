//! The HTTP request that becomes a WebSocket, and its answer (RFC 6455 §4.2, RFC 7118 §4.1).

use data_encoding::BASE64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Where the request ends: behind its first empty line.
pub fn head_length(data: &[u8]) -> Option<usize> {
    data.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// 101 for a request for the subprotocol `sip`, else the status that refuses it, with the reason
/// for the log. A page whose origin is not listed is refused where any is; who is no browser says
/// no origin.
pub fn answer(head: &[u8], origins: &[String]) -> Result<Vec<u8>, (u16, &'static str)> {
    let head = std::str::from_utf8(head).map_err(|_| (400, "request is not text"))?;
    let mut lines = head.split("\r\n");
    let mut start = lines.next().unwrap_or_default().split(' ');
    let (method, version) = (start.next(), start.nth(1));
    if version != Some("HTTP/1.1") || start.next().is_some() {
        return Err((400, "request line is not of HTTP/1.1"));
    }
    if method != Some("GET") {
        return Err((405, "method is not GET"));
    }
    let fields: Vec<(&str, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim_matches([' ', '\t'])))
        .collect();
    let value = |name: &str| {
        let mut named = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| *value)
    };
    // A list may be in several fields.
    let lists = |name: &str, token: &str| {
        let named = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named
            .flat_map(|(_, value)| value.split(','))
            .any(|item| item.trim_matches([' ', '\t']).eq_ignore_ascii_case(token))
    };
    if value("Host").is_none() {
        return Err((400, "Host is missing"));
    }
    if !lists("Upgrade", "websocket") || !lists("Connection", "upgrade") {
        return Err((426, "request is not for a WebSocket"));
    }
    if value("Sec-WebSocket-Version") != Some("13") {
        return Err((426, "version of WebSocket is not 13"));
    }
    if !lists("Sec-WebSocket-Protocol", "sip") {
        return Err((400, "subprotocol sip is not offered"));
    }
    let origin = value("Origin").unwrap_or_default();
    let is_listed = origins.iter().any(|one| one.eq_ignore_ascii_case(origin));
    if !origin.is_empty() && !origins.is_empty() && !is_listed {
        return Err((403, "web page is not one of ws_origins"));
    }
    let key = value("Sec-WebSocket-Key").unwrap_or_default();
    if !BASE64.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16) {
        return Err((400, "Sec-WebSocket-Key is not 16 bytes in base64"));
    }
    let accept = accept(key);
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    )
    .into_bytes())
}

/// An answer after which the connection is closed.
pub fn refusal(status: u16) -> Vec<u8> {
    let (reason, field) = match status {
        403 => ("Forbidden", ""),
        405 => ("Method Not Allowed", "Allow: GET\r\n"),
        // RFC 6455 §4.4.
        426 => ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        431 => ("Request Header Fields Too Large", ""),
        _ => ("Bad Request", ""),
    };
    format!("HTTP/1.1 {status} {reason}\r\n{field}Connection: close\r\nContent-Length: 0\r\n\r\n")
        .into_bytes()
}

/// RFC 6455 §4.2.2, item 4.
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

/// Bytes of the request: browsers send cookies and their languages along.
pub const MAX_HEAD: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7118 §4.1, with the spelling of browsers.
    const REQUEST: &str = "GET /phone?x=1 HTTP/1.1\r\nHost: sip-ws.example.com\r\n\
                           Upgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                           Origin: https://www.example.com\r\n\
                           Sec-WebSocket-Protocol: chat, sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn status(request: &str, origins: &[&str]) -> u16 {
        let origins: Vec<String> = origins.iter().map(|&one| one.to_owned()).collect();
        answer(request.as_bytes(), &origins).map_or_else(|(status, _)| status, |_| 101)
    }

    #[test]
    fn example_of_rfc_6455_1_3_is_accepted() {
        let answer = String::from_utf8(answer(REQUEST.as_bytes(), &[]).unwrap()).unwrap();
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(answer.contains("\r\nSec-WebSocket-Protocol: sip\r\n"));
    }

    #[test]
    fn requests_for_something_else_are_refused() {
        let cases = [
            ("GET /phone?x=1 HTTP/1.1", "POST / HTTP/1.1", 405),
            ("GET /phone?x=1 HTTP/1.1", "GET / HTTP/1.0", 400),
            ("GET /phone?x=1 HTTP/1.1", "OPTIONS sip:a SIP/2.0", 400),
            ("Host: sip-ws.example.com\r\n", "", 400),
            ("Upgrade: websocket", "Upgrade: h2c", 426),
            ("keep-alive, Upgrade", "keep-alive", 426),
            ("Version: 13", "Version: 8", 426),
            ("chat, sip", "chat", 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 400),
        ];
        for (from, to, expected) in cases {
            assert!(REQUEST.contains(from));
            assert_eq!(status(&REQUEST.replace(from, to), &[]), expected, "{to}");
        }
    }

    #[test]
    fn page_of_another_origin_is_refused_where_origins_are_listed() {
        assert_eq!(status(REQUEST, &["https://WWW.example.com"]), 101);
        assert_eq!(status(REQUEST, &["https://phone.example.com"]), 403);
        let of_no_browser = REQUEST.replace("Origin: https://www.example.com\r\n", "");
        assert_eq!(status(&of_no_browser, &["https://phone.example.com"]), 101);
    }
}
