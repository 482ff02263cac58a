//! Text to a description (RFC 8866 §5 and §9).
//!
//! Lenient with what does no harm: any line end, empty lines, lines of letters nobody knows,
//! order, missing `s=` and `t=`. An attribute that is not understood, or broken, is passed over
//! (RFC 8866 §6): the format that it describes is then unknown. Strict with what says where
//! media goes: `v=`, `o=`, `c=`, `m=`.

use std::fmt;
use std::net::IpAddr;

use super::crypto::Crypto;
use super::description::{Address, Description, Direction, Media, Reports, RtpMap};

/// Bytes of a description. A browser's with video has about 8,000.
pub const MAX_BYTES: usize = 32 * 1024;
/// Bytes of a line. The longest seen are parameter sets of video codecs, below 1,000.
pub const MAX_LINE_BYTES: usize = 4096;
pub const MAX_MEDIA: usize = 16;
/// Formats of one `m=` line, and `a=rtpmap` and `a=fmtp` lines below it; 96 to 127 are dynamic.
pub const MAX_FORMATS: usize = 64;
/// `a=crypto` lines of one stream that are kept; phones send up to eight.
pub const MAX_CRYPTO: usize = 16;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// From 1; 0 is the text as a whole.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    TooLong,
    LineTooLong,
    /// A line that is no `letter=value`.
    NoLine,
    /// The first line is not `v=0`.
    Version,
    NoOrigin,
    Origin,
    Connection,
    Media,
    Port,
    TooManyMedia,
    TooManyFormats,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::TooLong => write!(f, "description exceeds {MAX_BYTES} bytes"),
            ErrorKind::LineTooLong => write!(f, "line exceeds {MAX_LINE_BYTES} bytes"),
            ErrorKind::NoLine => write!(f, "not a letter, an equals sign and a value"),
            ErrorKind::Version => write!(f, "v=0 expected"),
            ErrorKind::NoOrigin => write!(f, "o= missing"),
            ErrorKind::Origin => {
                write!(f, "o=: user, id, version, IN, IP4 or IP6, address expected")
            }
            ErrorKind::Connection => write!(f, "c=: IN, IP4 or IP6, address expected"),
            ErrorKind::Media => write!(f, "m=: media, port, protocol and formats expected"),
            ErrorKind::Port => write!(f, "m=: port is not a number up to 65535"),
            ErrorKind::TooManyMedia => write!(f, "more than {MAX_MEDIA} m= lines"),
            ErrorKind::TooManyFormats => {
                write!(f, "more than {MAX_FORMATS} formats of one m= line")
            }
        }?;
        match self.line {
            0 => Ok(()),
            line => write!(f, " in line {line}"),
        }
    }
}

impl std::error::Error for Error {}

impl Description {
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error { kind: ErrorKind::TooLong, line: 0 });
        }
        let text = String::from_utf8_lossy(text);
        let mut lines = lines(&text);
        match lines.next() {
            Some((_, "v=0")) => {}
            first => {
                let line = first.map_or(0, |(number, _)| number);
                return Err(Error { kind: ErrorKind::Version, line });
            }
        }
        let mut description = Self::without_media();
        let mut has_origin = false;
        for (number, line) in lines {
            description
                .take_line(line, &mut has_origin)
                .map_err(|kind| Error { kind, line: number })?;
        }
        match has_origin {
            true => Ok(description),
            false => Err(Error { kind: ErrorKind::NoOrigin, line: 0 }),
        }
    }

    fn take_line(&mut self, line: &str, has_origin: &mut bool) -> Result<(), ErrorKind> {
        if line.len() > MAX_LINE_BYTES {
            return Err(ErrorKind::LineTooLong);
        }
        let (letter, value) = match line.split_once('=') {
            Some((letter, value)) if is_letter(letter) => (letter, value.trim()),
            _ => return Err(ErrorKind::NoLine),
        };
        match letter {
            "o" => {
                self.take_origin(value).ok_or(ErrorKind::Origin)?;
                *has_origin = true;
            }
            "c" => {
                let connection = parse_address(value).ok_or(ErrorKind::Connection)?;
                match self.media.last_mut() {
                    Some(media) => media.connection = Some(connection),
                    None => self.connection = Some(connection),
                }
            }
            "m" if self.media.len() == MAX_MEDIA => return Err(ErrorKind::TooManyMedia),
            "m" => self.media.push(parse_media(value)?),
            "a" => match self.media.last_mut() {
                Some(media) => media.take_attribute(value)?,
                None => {
                    self.direction = parse_direction(value).or(self.direction);
                    let reports = value.strip_prefix("rtcp-xr:").and_then(parse_reports);
                    self.reports = reports.or(self.reports);
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// §5.2: `username id version nettype addrtype address`.
    fn take_origin(&mut self, value: &str) -> Option<()> {
        let mut parts = value.splitn(4, ' ');
        let _username = parts.next()?;
        self.origin_id = saturating(parts.next()?)?;
        self.origin_version = saturating(parts.next()?)?;
        self.origin_address = parse_address(parts.next()?)?;
        Some(())
    }
}

impl Media {
    fn take_attribute(&mut self, value: &str) -> Result<(), ErrorKind> {
        if let Some(direction) = parse_direction(value) {
            self.direction = Some(direction);
            return Ok(());
        }
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        match name {
            "rtpmap" if self.rtpmap.len() == MAX_FORMATS => return Err(ErrorKind::TooManyFormats),
            "fmtp" if self.fmtp.len() == MAX_FORMATS => return Err(ErrorKind::TooManyFormats),
            "rtpmap" => self.rtpmap.extend(parse_rtpmap(value)),
            "fmtp" => self.fmtp.extend(parse_fmtp(value)),
            // Those beyond are the peer's last choices.
            "crypto" if self.crypto.len() < MAX_CRYPTO => self.crypto.extend(Crypto::parse(value)),
            "ptime" => self.ptime_ms = parse_milliseconds(value).or(self.ptime_ms),
            "maxptime" => self.maxptime_ms = parse_milliseconds(value).or(self.maxptime_ms),
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-xr" => self.reports = parse_reports(value).or(self.reports),
            "rtcp" => {
                if let Some((port, address)) = parse_rtcp(value) {
                    self.rtcp_port = Some(port);
                    self.rtcp_address = address;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The lines that are not empty, with their numbers from 1. A lone CR ends a line too, as does
/// NUL, which some append to the text: so no value holds one.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split('\n')
        .enumerate()
        .flat_map(|(number, line)| line.split(['\r', '\0']).map(move |part| (number + 1, part)))
        .map(|(number, line)| (number, line.trim_end()))
        .filter(|(_, line)| !line.is_empty())
}

fn is_letter(text: &str) -> bool {
    text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// §5.14: `media port[/count] protocol formats`. The count of ports is of use to layered codecs
/// only.
fn parse_media(value: &str) -> Result<Media, ErrorKind> {
    let mut parts = value.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(protocol)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(ErrorKind::Media);
    };
    let port = port.split_once('/').map_or(port, |(port, _)| port);
    let port = saturating(port).and_then(|port| u16::try_from(port).ok()).ok_or(ErrorKind::Port)?;
    let mut media = Media::new(kind, port, protocol);
    for format in parts {
        if media.formats.len() == MAX_FORMATS {
            return Err(ErrorKind::TooManyFormats);
        }
        media.formats.push(format.to_owned());
    }
    Ok(media)
}

/// §5.7: `nettype addrtype address[/ttl][/count]`.
fn parse_address(value: &str) -> Option<Address> {
    let mut parts = value.split_ascii_whitespace();
    if !parts.next()?.eq_ignore_ascii_case("IN") {
        return None;
    }
    let family = parts.next()?.to_ascii_uppercase();
    let address = parts.next()?;
    let address = address.split_once('/').map_or(address, |(address, _)| address);
    // SIPp 3.6 puts an address of IPv6 in brackets, as in a URI.
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.filter(|bare| bare.contains(':')).unwrap_or(address);
    match (family.as_str(), address.parse::<IpAddr>()) {
        // The text of the address decides: some write IP4 before one of IPv6.
        ("IP4" | "IP6", Ok(ip)) => Some(Address::Ip(ip)),
        ("IP4" | "IP6", Err(_)) if is_host_name(address) => {
            Some(Address::Name(address.to_ascii_lowercase()))
        }
        _ => None,
    }
}

/// What could be a name; digits and dots alone are an address gone wrong.
fn is_host_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn parse_direction(value: &str) -> Option<Direction> {
    match value {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// §6.6: `payload-type encoding/clock-rate[/channels]`.
fn parse_rtpmap(value: &str) -> Option<RtpMap> {
    let (payload_type, encoding) = value.trim().split_once([' ', '\t'])?;
    let payload_type = parse_payload_type(payload_type)?;
    let mut parts = encoding.trim().split('/');
    let encoding = parts.next().filter(|encoding| !encoding.is_empty())?.to_owned();
    let clock_rate = parts.next()?.trim().parse().ok()?;
    let channels = parts.next().map_or(Some(1), |channels| channels.trim().parse().ok())?;
    Some(RtpMap { payload_type, encoding, clock_rate, channels })
}

/// §6.15: `format parameters`.
fn parse_fmtp(value: &str) -> Option<(u8, String)> {
    let (payload_type, parameters) = value.trim().split_once([' ', '\t'])?;
    Some((parse_payload_type(payload_type)?, parameters.trim().to_owned()))
}

fn parse_payload_type(text: &str) -> Option<u8> {
    text.parse().ok().filter(|payload_type| *payload_type < 128)
}

/// §6.4: a number, with a fraction perhaps; 0 and more than [`MAX_MILLISECONDS`] say nothing.
fn parse_milliseconds(value: &str) -> Option<u32> {
    let whole = value.trim().split('.').next()?;
    whole.parse().ok().filter(|number| (1..=MAX_MILLISECONDS).contains(number))
}

const MAX_MILLISECONDS: u32 = 1000;

/// RFC 3611 §5.1: `rcvr-rtt=all:10000 voip-metrics` and blocks that we do not know.
fn parse_reports(value: &str) -> Option<Reports> {
    let mut reports = Reports { voip_metrics: false, receiver_rtt: false };
    for block in value.split_ascii_whitespace() {
        let (name, mode) = block.split_once('=').unwrap_or((block, ""));
        reports.voip_metrics |= name == "voip-metrics";
        reports.receiver_rtt |=
            name == "rcvr-rtt" && matches!(mode.split(':').next(), Some("all" | "sender"));
    }
    (reports.voip_metrics || reports.receiver_rtt).then_some(reports)
}

/// RFC 3605 §2.1: `port [nettype addrtype address]`.
fn parse_rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let (port, address) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let address = match parse_address(address) {
        Some(Address::Ip(ip)) => Some(ip),
        Some(Address::Name(_)) | None => None,
    };
    Some((port, address))
}

/// All digits; what is too large to count is the greatest number.
fn saturating(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";

    fn parse(text: &str) -> Result<Description, Error> {
        Description::parse(text.as_bytes())
    }

    fn ip(text: &str) -> Option<Address> {
        Some(Address::Ip(text.parse().unwrap()))
    }

    /// RFC 8866 §5, the example.
    #[test]
    fn example_of_rfc_8866_is_read() {
        let description = parse(
            "v=0\r\no=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=Call to John Smith\r\n\
             i=SDP Offer #1\r\nu=http://www.jdoe.example.com/home.html\r\n\
             e=Jane Doe <jane@jdoe.example.com>\r\np=+1 617 555-6011\r\n\
             c=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\n\
             m=audio 49180 RTP/AVP 0\r\nm=video 51372 RTP/AVP 99\r\nc=IN IP6 2001:db8::2\r\n\
             a=rtpmap:99 h263-1998/90000\r\n",
        )
        .unwrap();
        assert_eq!((description.origin_id, description.origin_version), (3724394400, 3724394405));
        assert_eq!(description.connection, ip("198.51.100.1"));
        let places: Vec<_> = description.media.iter().map(|m| (m.kind.as_str(), m.port)).collect();
        assert_eq!(places, [("audio", 49170), ("audio", 49180), ("video", 51372)]);
        let video = &description.media[2];
        assert_eq!(description.connection_of(video), ip("2001:db8::2").as_ref());
        let map = video.map_of(99).unwrap();
        assert_eq!((map.encoding.as_str(), map.clock_rate, map.channels), ("h263-1998", 90000, 1));
    }

    /// RFC 4566 §5, the example of an announcement: multicast with a time to live.
    #[test]
    fn example_of_rfc_4566_is_read() {
        let description = parse(
            "v=0\no=jdoe 2890844526 2890842807 IN IP4 10.47.16.5\ns=SDP Seminar\n\
             i=A Seminar on the session description protocol\n\
             u=http://www.example.com/seminars/sdp.pdf\ne=j.doe@example.com (Jane Doe)\n\
             c=IN IP4 224.2.17.12/127\nt=2873397496 2873404696\na=recvonly\n\
             m=audio 49170 RTP/AVP 0\nm=video 51372/2 RTP/AVP 99\na=rtpmap:99 h263-1998/90000\n",
        )
        .unwrap();
        assert_eq!(description.connection, ip("224.2.17.12"));
        assert_eq!(description.direction_of(&description.media[0]), Direction::RecvOnly);
        assert_eq!(description.media[1].port, 51372);
    }

    /// RFC 3264 §10.1 names hosts and leaves the session's name empty.
    #[test]
    fn host_names_are_kept_as_names() {
        let description = parse(
            "v=0\r\no=alice 2890844526 2890844526 IN IP4 host.anywhere.com\r\ns=\r\n\
             c=IN IP4 host.anywhere.com\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\n",
        )
        .unwrap();
        let name = Address::Name("host.anywhere.com".to_owned());
        assert_eq!(description.connection, Some(name));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let description = parse(&format!(
            "{HEAD}c=IN IP6 2001:db8::1\r\na=inactive\r\nm=audio 4000 RTP/AVP 0 96 97\r\n\
             c=IN IP4 192.0.2.9\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1; a=b\r\n\
             a=rtpmap:97 telephone-event/8000\r\na=ptime:20\r\na=maxptime:60\r\n\
             a=rtcp:4001 IN IP4 192.0.2.8\r\na=rtcp-mux\r\na=sendonly\r\n\
             m=video 0 RTP/AVP 31\r\na=rtcp:7\r\n"
        ))
        .unwrap();
        assert_eq!(Description::parse(&description.to_bytes()), Ok(description));
    }

    #[test]
    fn any_line_end_and_a_missing_last_one_are_understood() {
        let text = format!("{HEAD}c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0 8\r\na=sendonly");
        let expected = parse(&text).unwrap();
        assert_eq!(expected.media[0].direction, Some(Direction::SendOnly));
        for end in ["\n", "\r", "\r\n\r\n", " \n", "\n\n\n", "\n\0"] {
            assert_eq!(parse(&text.replace("\r\n", end)), Ok(expected.clone()), "{end:?}");
        }
    }

    #[test]
    fn broken_and_unknown_attributes_are_passed_over() {
        let description = parse(&format!(
            "{HEAD}z=unknown\r\na=charset:x\r\na=\r\nm=audio 4000 RTP/AVP 0\r\n\
             a=rtpmap:\r\na=rtpmap:96\r\na=rtpmap:999 x/8000\r\na=rtpmap:-1 x/8000\r\n\
             a=rtpmap:96 x/99999999999\r\na=rtpmap:96 /8000\r\na=rtpmap:96 x/8000/300\r\n\
             a=fmtp:\r\na=fmtp:300 x\r\na=ptime:x\r\na=ptime:-20\r\na=rtcp:0\r\na=rtcp:70000\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\na=sendrecv:yes\r\nb=AS:64\r\n"
        ))
        .unwrap();
        let mut media = Media::new("audio", 4000, "RTP/AVP");
        media.formats.push("0".to_owned());
        assert_eq!(description.media, [media]);
    }

    #[test]
    fn fractions_of_a_millisecond_are_cut_off() {
        let text = format!("{HEAD}m=audio 4000 RTP/AVP 0\r\na=ptime:22.5\r\n");
        assert_eq!(parse(&text).unwrap().media[0].ptime_ms, Some(22));
    }

    #[test]
    fn address_of_ipv6_may_stand_in_brackets() {
        let text = "v=0\r\no=sipp 1 1 IN IP6 [::1]\r\ns=-\r\nc=IN IP6 [2001:db8::2]\r\n";
        assert_eq!(parse(text).unwrap().connection, ip("2001:db8::2"));
        for wrong in ["[192.0.2.1]", "[]", "[2001:db8::2", "[name]"] {
            let text = format!("v=0\r\no=- 1 1 IN IP6 {wrong}\r\n");
            assert_eq!(parse(&text).unwrap_err().kind, ErrorKind::Origin, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, kind, line) in [
            ("", ErrorKind::Version, 0),
            ("\r\n\r\n", ErrorKind::Version, 0),
            ("o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n", ErrorKind::Version, 1),
            ("v=1\r\n", ErrorKind::Version, 1),
            ("v=0\r\ns=-\r\n", ErrorKind::NoOrigin, 0),
            ("v=0\r\no=- 1 1 IN IP4\r\n", ErrorKind::Origin, 2),
            ("v=0\r\no=- x 1 IN IP4 192.0.2.1\r\n", ErrorKind::Origin, 2),
            ("v=0\r\no=- 1 1 ATM IP4 192.0.2.1\r\n", ErrorKind::Origin, 2),
            ("v=0\r\nc=IN IP4 192.0.2.256\r\n", ErrorKind::Connection, 2),
            ("v=0\r\nc=IN IP5 192.0.2.1\r\n", ErrorKind::Connection, 2),
            ("v=0\r\nc=IN IP4 a b\r\nc=\r\n", ErrorKind::Connection, 3),
            ("v=0\r\nm=audio\r\n", ErrorKind::Media, 2),
            ("v=0\r\nm=audio 4000\r\n", ErrorKind::Media, 2),
            ("v=0\r\n\r\nm=audio 65536 RTP/AVP 0\r\n", ErrorKind::Port, 3),
            ("v=0\r\nm=audio -1 RTP/AVP 0\r\n", ErrorKind::Port, 2),
            ("v=0\r\nm=audio +1 RTP/AVP 0\r\n", ErrorKind::Port, 2),
            ("v=0\r\nm=audio 99999999999999999999999 RTP/AVP 0\r\n", ErrorKind::Port, 2),
            ("v=0\r\nhello\r\n", ErrorKind::NoLine, 2),
            ("v=0\r\nab=c\r\n", ErrorKind::NoLine, 2),
            ("v=0\r\n=c\r\n", ErrorKind::NoLine, 2),
        ] {
            assert_eq!(parse(text), Err(Error { kind, line }), "{text:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let media = "m=audio 4000 RTP/AVP 0\r\n";
        let long = "x".repeat(MAX_LINE_BYTES);
        let formats = " 0".repeat(MAX_FORMATS);
        let maps = "a=rtpmap:96 x/8000\r\n".repeat(MAX_FORMATS);
        let parameters = "a=fmtp:96 x\r\n".repeat(MAX_FORMATS);
        for (allowed, extra, kind) in [
            (media.repeat(MAX_MEDIA), media.to_owned(), ErrorKind::TooManyMedia),
            (format!("a={}\r\n", &long[2..]), format!("a={long}\r\n"), ErrorKind::LineTooLong),
            (format!("m=audio 1 x{formats}"), " 0\r\n".to_owned(), ErrorKind::TooManyFormats),
            (format!("{media}{maps}"), "a=rtpmap:97 x/8000".to_owned(), ErrorKind::TooManyFormats),
            (format!("{media}{parameters}"), "a=fmtp:97 x".to_owned(), ErrorKind::TooManyFormats),
            ("a=x\r\n".repeat(6000), "a=x\r\n".repeat(1000), ErrorKind::TooLong),
        ] {
            assert!(parse(&format!("{HEAD}{allowed}")).is_ok(), "{kind:?}");
            let error = parse(&format!("{HEAD}{allowed}{extra}")).unwrap_err();
            assert_eq!(error.kind, kind);
        }
    }

    #[test]
    fn identifiers_too_large_to_count_are_the_greatest() {
        let text = "v=0\r\no=- 99999999999999999999 20518446744073709551616 IN IP4 192.0.2.1\r\n";
        let description = parse(text).unwrap();
        assert_eq!((description.origin_id, description.origin_version), (u64::MAX, u64::MAX));
    }

    /// Every text cut off anywhere, and with any byte replaced, has some verdict.
    #[test]
    fn truncated_and_binary_texts_do_no_harm() {
        let text = format!(
            "{HEAD}c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0 101\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n"
        );
        for at in 0..text.len() {
            let _cut = parse(&text[..at]);
            for byte in [0, b'\r', b'\n', b'=', b' ', b'/', b':', 0x80, 0xff] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = byte;
                if let Ok(description) = Description::parse(&bytes) {
                    assert_eq!(Description::parse(&description.to_bytes()), Ok(description));
                }
            }
        }
        assert!(Description::parse(&[0xff; 4096]).is_err());
        assert!(Description::parse(&[0; 4096]).is_err());
    }
}
