//! Bytes to a message (RFC 3261 §7 and §25), for one datagram or one frame of a stream.
//!
//! Lenient where nothing is lost by it: bare LF, blanks around separators, compact forms,
//! characters that are no UTF-8 (they become U+FFFD). Strict where two readers could understand
//! two things: repeated single fields, lengths that do not hold, unbalanced quotes. RFC 4475 is
//! the measure; `tests/torture.rs` holds the verdicts.
//!
//! Invariant: what is parsed, written and parsed again is the same message.

use std::fmt;

use super::header::{Headers, Name};
use super::lexical::{self, Malformed, trim};
use super::message::{CSeq, Message, Method, Start};
use super::name_addr::NameAddr;
use super::uri::{Scheme, Uri};
use super::via::Via;

/// Header fields of a message beside Via and those that stand once in each. Real messages have
/// ten to forty.
pub const MAX_FIELDS: usize = 200;
/// Bytes of one header field with its folded lines.
pub const MAX_FIELD_BYTES: usize = 8192;
/// Bytes of the start line.
pub const MAX_START_LINE_BYTES: usize = 4096;
/// Via values: one for each hop that Max-Forwards usually allows (RFC 3261 §8.1.1.6).
pub const MAX_VIAS: usize = 70;
/// From, To, Call-ID, CSeq and Content-Length.
const SINGLE_FIELDS: usize = 5;

/// Why bytes are no message, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub kind: ParseErrorKind,
    /// Where in the bytes: the start of the line or body that is wrong.
    pub offset: usize,
    /// A request other than ACK of which Via, From, To, Call-ID and CSeq could be read: enough
    /// for [`Message::response_to`] with [`ParseError::status`]. Its other parts are what could
    /// be read.
    pub answerable: Option<Box<Message>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// Nothing but line ends: a keep-alive.
    Empty,
    /// Neither `METHOD uri SIP/2.0` nor `SIP/2.0 status reason`.
    StartLine,
    StartLineTooLong,
    /// Another version of SIP.
    Version,
    RequestUri(Malformed),
    /// The request URI's scheme is not ours.
    UriScheme,
    /// Not a number from 100 to 699.
    StatusCode,
    /// A line that is no `Name: value`.
    FieldLine,
    FieldTooLong,
    TooManyFields,
    TooManyVias,
    /// A field that is not what its grammar says.
    Malformed(Name, Malformed),
    Missing(Name),
    /// More than one of a field that says one thing.
    Repeated(Name),
    /// CSeq names another method than the request line.
    MethodMismatch,
    /// The blank line behind the header fields is missing.
    Unfinished,
    /// Content-Length is more than there is.
    BodyTooShort,
}

impl ParseError {
    /// What to answer where the error is answerable.
    pub fn status(&self) -> u16 {
        match self.kind {
            ParseErrorKind::Version => 505,
            ParseErrorKind::UriScheme => 416,
            ParseErrorKind::StartLineTooLong => 414,
            ParseErrorKind::TooManyFields
            | ParseErrorKind::TooManyVias
            | ParseErrorKind::FieldTooLong => 513,
            _ => 400,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ParseErrorKind::Empty => write!(f, "no message"),
            ParseErrorKind::StartLine => write!(f, "neither request line nor status line"),
            ParseErrorKind::StartLineTooLong => {
                write!(f, "start line exceeds {MAX_START_LINE_BYTES} bytes")
            }
            ParseErrorKind::Version => write!(f, "version is not SIP/2.0"),
            ParseErrorKind::RequestUri(what) => write!(f, "request URI: {what}"),
            ParseErrorKind::UriScheme => write!(f, "request URI: scheme is not sip, sips or tel"),
            ParseErrorKind::StatusCode => write!(f, "status is not a number from 100 to 699"),
            ParseErrorKind::FieldLine => write!(f, "header line is not name: value"),
            ParseErrorKind::FieldTooLong => {
                write!(f, "header field exceeds {MAX_FIELD_BYTES} bytes")
            }
            ParseErrorKind::TooManyFields => write!(f, "more than {MAX_FIELDS} header fields"),
            ParseErrorKind::TooManyVias => write!(f, "more than {MAX_VIAS} Via values"),
            ParseErrorKind::Malformed(name, what) => write!(f, "{name}: {what}"),
            ParseErrorKind::Missing(name) => write!(f, "{name}: missing"),
            ParseErrorKind::Repeated(name) => write!(f, "{name}: repeated"),
            ParseErrorKind::MethodMismatch => write!(f, "CSeq: method is not the request's"),
            ParseErrorKind::Unfinished => write!(f, "blank line behind the header missing"),
            ParseErrorKind::BodyTooShort => write!(f, "body is shorter than Content-Length"),
        }?;
        write!(f, " at byte {}", self.offset)
    }
}

impl std::error::Error for ParseError {}

impl Message {
    /// Reads the one message that `data` holds. What follows its Content-Length is dropped, as
    /// RFC 3261 §18.3 asks for datagrams.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::default();
        reader.read(data);
        reader.finish()
    }
}

/// What is read so far. It goes on after an error, so that the error can be answered.
#[derive(Default)]
struct Reader {
    /// The first one.
    error: Option<(ParseErrorKind, usize)>,
    start: Option<Start>,
    via: Vec<Via>,
    from: Option<NameAddr>,
    to: Option<NameAddr>,
    call_id: Option<String>,
    cseq: Option<CSeq>,
    content_length: Option<usize>,
    headers: Headers,
    body: Vec<u8>,
}

impl Reader {
    fn read(&mut self, data: &[u8]) {
        // RFC 3261 §7.5: line ends before the start line are ignored.
        let Some(first) = data.iter().position(|byte| !b"\r\n".contains(byte)) else {
            return self.fail(ParseErrorKind::Empty, 0);
        };
        let mut lines = Lines { data, at: first };
        let Some((_, line)) = lines.next() else {
            return self.fail(ParseErrorKind::Unfinished, data.len());
        };
        self.start_line(line, first);

        let mut fields = 0;
        loop {
            let Some((offset, line)) = lines.next() else {
                return self.fail(ParseErrorKind::Unfinished, data.len());
            };
            if line.is_empty() {
                break;
            }
            fields += 1;
            if fields > MAX_FIELDS + MAX_VIAS + SINGLE_FIELDS {
                return self.fail(ParseErrorKind::TooManyFields, offset);
            }
            let mut bytes = line.len();
            let mut text = clean(line);
            // RFC 3261 §7.3.1: a line that begins with a blank continues the one before.
            while let Some(line) = lines.next_folded() {
                bytes += line.len();
                if bytes <= MAX_FIELD_BYTES {
                    text.truncate(text.trim_end_matches(lexical::BLANKS).len());
                    text.push(' ');
                    text.push_str(clean(line).trim_start_matches(lexical::BLANKS));
                }
            }
            if bytes > MAX_FIELD_BYTES {
                self.fail(ParseErrorKind::FieldTooLong, offset);
                continue;
            }
            self.field(&text, offset);
        }

        let body = &data[lines.at..];
        match self.content_length {
            Some(length) if length > body.len() => {
                self.fail(ParseErrorKind::BodyTooShort, lines.at);
            }
            Some(length) => self.body = body[..length].to_vec(),
            None => self.body = body.to_vec(),
        }
        self.check_whole();
    }

    fn start_line(&mut self, line: &[u8], offset: usize) {
        if line.len() > MAX_START_LINE_BYTES {
            self.fail(ParseErrorKind::StartLineTooLong, offset);
            let (method, _) = line.split_at(line.iter().position(|&b| b == b' ').unwrap_or(0));
            return self.method_only(&clean(method), "", line.ends_with(b" SIP/2.0"));
        }
        let line = clean(line);
        // Blanks at the end do no harm (RFC 4475 §3.1.2.10).
        let line = line.trim_end_matches(lexical::BLANKS);
        if let Some(rest) = strip_version(line) {
            let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let number = lexical::saturating_number(status).filter(|_| status.len() == 3);
            return match number {
                Some(number @ 100..=699) => {
                    let reason = trim(reason).to_owned();
                    self.start = Some(Start::Response { status: number as u16, reason });
                }
                _ => self.fail(ParseErrorKind::StatusCode, offset),
            };
        }
        let mut parts = line.split(' ');
        let (Some(method), Some(uri), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            // Too many or too few blanks.
            self.fail(ParseErrorKind::StartLine, offset);
            let (method, rest) = line.split_once(' ').unwrap_or((line, ""));
            return self.method_only(method, trim(rest), rest.ends_with(" SIP/2.0"));
        };
        let Ok(method) = method.parse::<Method>() else {
            return self.fail(ParseErrorKind::StartLine, offset);
        };
        let uri = match uri.parse::<Uri>() {
            Ok(parsed) if parsed.scheme == Scheme::Other => {
                self.fail(ParseErrorKind::UriScheme, offset);
                parsed
            }
            // RFC 3261 §19.1.1, table 1: no headers in a request URI.
            Ok(parsed) if parsed.headers.is_some() => {
                let what = Malformed("headers are not allowed");
                self.fail(ParseErrorKind::RequestUri(what), offset);
                parsed
            }
            Ok(parsed) => parsed,
            Err(what) => {
                self.fail(ParseErrorKind::RequestUri(what), offset);
                Uri::other(uri)
            }
        };
        if !version.eq_ignore_ascii_case("SIP/2.0") {
            let is_sip = version.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/"));
            let kind = if is_sip { ParseErrorKind::Version } else { ParseErrorKind::StartLine };
            self.fail(kind, offset);
            if !is_sip {
                return;
            }
        }
        self.start = Some(Start::Request { method, uri });
    }

    /// A request line that is refused, but can be answered.
    fn method_only(&mut self, method: &str, uri: &str, is_sip: bool) {
        if let (Ok(method), true) = (method.parse(), is_sip) {
            self.start = Some(Start::Request { method, uri: Uri::other(uri) });
        }
    }

    fn field(&mut self, line: &str, offset: usize) {
        let Some((name, value)) = line.split_once(':') else {
            return self.fail(ParseErrorKind::FieldLine, offset);
        };
        let name = name.trim_end_matches(lexical::BLANKS);
        if !lexical::is_token(name) {
            return self.fail(ParseErrorKind::FieldLine, offset);
        }
        let (name, value) = (Name::from(name), trim(value));
        if self.is_repeated(&name) {
            return self.fail(ParseErrorKind::Repeated(name), offset);
        }
        let read = match name {
            Name::Via => self.vias(value, offset),
            Name::From => read_address(value, &mut self.from),
            Name::To => read_address(value, &mut self.to),
            Name::CSeq => read_cseq(value, &mut self.cseq),
            Name::CallId if value.is_empty() => Err(Malformed("empty")),
            Name::CallId if value.contains(lexical::BLANKS) => Err(Malformed("holds a blank")),
            Name::CallId => {
                self.call_id = Some(value.to_owned());
                Ok(())
            }
            Name::ContentLength => match lexical::saturating_number(value) {
                Some(length) => {
                    self.content_length = Some(length as usize);
                    Ok(())
                }
                None => Err(Malformed("not a number")),
            },
            Name::MaxForwards if lexical::saturating_number(value).is_none() => {
                Err(Malformed("not a number"))
            }
            // Via and the single fields do not count: one line may hold many, and an absent
            // Content-Length is written all the same.
            _ if self.headers.0.len() == MAX_FIELDS => {
                return self.fail(ParseErrorKind::TooManyFields, offset);
            }
            ref other => {
                self.headers.push(other.clone(), value);
                Ok(())
            }
        };
        if let Err(what) = read {
            self.fail(ParseErrorKind::Malformed(name, what), offset);
        }
    }

    /// What can be read of a broken list is kept: the top-most is enough to answer.
    fn vias(&mut self, value: &str, offset: usize) -> Result<(), Malformed> {
        for part in lexical::split(value, ',') {
            if self.via.len() == MAX_VIAS {
                self.fail(ParseErrorKind::TooManyVias, offset);
                return Ok(());
            }
            self.via.push(part.parse()?);
        }
        Ok(())
    }

    /// Of two different ones each element could believe another.
    fn is_repeated(&self, name: &Name) -> bool {
        match name {
            Name::From => self.from.is_some(),
            Name::To => self.to.is_some(),
            Name::CallId => self.call_id.is_some(),
            Name::CSeq => self.cseq.is_some(),
            Name::ContentLength => self.content_length.is_some(),
            Name::ContentType | Name::Expires | Name::MaxForwards => {
                self.headers.get(name).is_some()
            }
            _ => false,
        }
    }

    fn check_whole(&mut self) {
        for (name, is_missing) in [
            (Name::Via, self.via.is_empty()),
            (Name::From, self.from.is_none()),
            (Name::To, self.to.is_none()),
            (Name::CallId, self.call_id.is_none()),
            (Name::CSeq, self.cseq.is_none()),
        ] {
            if is_missing {
                self.fail(ParseErrorKind::Missing(name), 0);
            }
        }
        if let (Some(Start::Request { method, .. }), Some(cseq)) = (&self.start, &self.cseq)
            && *method != cseq.method
        {
            self.fail(ParseErrorKind::MethodMismatch, 0);
        }
    }

    /// Keeps the first error: the later ones often follow from it.
    fn fail(&mut self, kind: ParseErrorKind, offset: usize) {
        self.error.get_or_insert((kind, offset));
    }

    fn finish(self) -> Result<Message, ParseError> {
        let message = match self {
            Self {
                start: Some(start),
                via,
                from: Some(from),
                to: Some(to),
                call_id: Some(call_id),
                cseq: Some(cseq),
                headers,
                body,
                ..
            } if !via.is_empty() => {
                Some(Message { start, via, from, to, call_id, cseq, headers, body })
            }
            _ => None,
        };
        match (self.error, message) {
            (None, Some(message)) => Ok(message),
            (error, message) => {
                let (kind, offset) = error.unwrap_or((ParseErrorKind::StartLine, 0));
                // An ACK is never answered (RFC 3261 §17.1.1.3), nor is a response.
                let answerable = message
                    .filter(|message| message.is_request() && *message.method() != Method::Ack)
                    .map(Box::new);
                Err(ParseError { kind, offset, answerable })
            }
        }
    }
}

/// Reads From or To. One that is broken is an error, but its URI and tag are kept for the answer.
fn read_address(value: &str, into: &mut Option<NameAddr>) -> Result<(), Malformed> {
    let what = match value.parse() {
        Ok(address) => {
            *into = Some(address);
            return Ok(());
        }
        Err(what) => what,
    };
    if let Some((_, rest)) = value.split_once('<')
        && let Some((uri, behind)) = rest.split_once('>')
        && let Ok(uri) = trim(uri).parse()
    {
        let parameters = lexical::parameters(trim(behind)).unwrap_or_default();
        *into = Some(NameAddr { display_name: String::new(), uri, parameters });
    }
    Err(what)
}

/// Reads CSeq. A number that is too large is an error (RFC 4475 §3.1.2.4), which is answered with
/// the greatest number: clients match responses by the method only (RFC 3261 §17.1.3).
fn read_cseq(value: &str, into: &mut Option<CSeq>) -> Result<(), Malformed> {
    let read = value.parse().map(|cseq| *into = Some(cseq));
    if read.is_err()
        && let Some((number, method)) = value.split_once(lexical::BLANKS)
        && let (Some(number), Ok(method)) =
            (lexical::saturating_number(number), trim(method).parse())
    {
        *into = Some(CSeq { number, method });
    }
    read
}

/// The lines of the header, without their ends.
pub(super) struct Lines<'a> {
    pub data: &'a [u8],
    /// Start of the next line.
    pub at: usize,
}

impl<'a> Lines<'a> {
    /// The next line and its offset; `None` when no line end follows.
    pub fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let offset = self.at;
        let rest = &self.data[offset..];
        // Elements that end lines with a bare LF are understood.
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        self.at += end + 1;
        let line = &rest[..end];
        Some((offset, line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// The next line if it continues the one before.
    pub fn next_folded(&mut self) -> Option<&'a [u8]> {
        match self.data.get(self.at) {
            Some(b' ' | b'\t') => self.next().map(|(_, line)| line),
            _ => None,
        }
    }
}

/// The line as text: what is no UTF-8, and NUL, become U+FFFD; a CR inside is a blank.
fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    match text.contains(['\0', '\r']) {
        true => text.replace('\0', "\u{fffd}").replace('\r', " "),
        false => text.into_owned(),
    }
}

/// What follows `SIP/2.0` in a status line.
fn strip_version(line: &str) -> Option<&str> {
    let (version, rest) = line.split_once(' ')?;
    version.eq_ignore_ascii_case("SIP/2.0").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:bob@b.example SIP/2.0\r\n\
        v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/TCP 192.0.2.2;branch=z9hG4bK2\r\n\
        Via: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK3\r\n\
        f: Alice <sip:alice@a.example>;tag=1\r\n\
        t: sip:bob@b.example\r\n\
        i: 1@a\r\n\
        CSeq: 7 OPTIONS\r\n\
        Max-Forwards: 70\r\n\
        Subject: one\r\n \ttwo\r\n\
        l: 2\r\n\r\nhi";

    fn parse(text: &str) -> Result<Message, ParseErrorKind> {
        Message::parse(text.as_bytes()).map_err(|error| error.kind)
    }

    #[test]
    fn a_request_is_read() {
        let message = parse(OPTIONS).unwrap();
        let hosts: Vec<_> = message.via.iter().map(|via| via.host.as_str()).collect();
        assert_eq!(hosts, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        assert_eq!(message.from.tag(), Some("1"));
        assert_eq!(message.call_id, "1@a");
        assert_eq!(message.cseq, CSeq { number: 7, method: Method::Options });
        assert_eq!(message.header(&Name::Subject), Some("one two"));
        assert_eq!(message.headers.0.len(), 2);
        assert_eq!(message.body, b"hi");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let message = parse(OPTIONS).unwrap();
        assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
    }

    #[test]
    fn bare_line_feeds_and_leading_line_ends_are_understood() {
        let text = format!("\r\n\n{}", OPTIONS.replace("\r\n", "\n"));
        assert_eq!(parse(&text), parse(OPTIONS));
    }

    #[test]
    fn a_response_is_read() {
        let text = OPTIONS.replace("OPTIONS sip:bob@b.example SIP/2.0", "SIP/2.0 200 All Right ");
        let message = parse(&text).unwrap();
        assert_eq!(message.start, Start::Response { status: 200, reason: "All Right".to_owned() });
        assert_eq!(message.method(), &Method::Options);
        assert!(parse(&text.replace("200 All Right ", "100")).is_ok());
    }

    #[test]
    fn content_length_cuts_the_body_of_a_datagram() {
        assert_eq!(parse(&format!("{OPTIONS} and more")).unwrap().body, b"hi");
        assert_eq!(parse(&OPTIONS.replace("l: 2\r\n", "")).unwrap().body, b"hi");
        assert_eq!(parse(&OPTIONS.replace("l: 2", "l: 3")), Err(ParseErrorKind::BodyTooShort));
    }

    #[test]
    fn bytes_that_are_no_utf8_do_not_kill_the_message() {
        let mut bytes = OPTIONS.as_bytes().to_vec();
        let at = OPTIONS.find("Alice").unwrap();
        bytes[at] = 0xe9;
        assert_eq!(Message::parse(&bytes).unwrap().from.display_name, "\u{fffd}lice");
    }

    #[test]
    fn a_broken_request_can_be_answered() {
        let text = OPTIONS.replace("Max-Forwards: 70", "Max-Forwards: -1");
        let error = Message::parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            error.kind,
            ParseErrorKind::Malformed(Name::MaxForwards, Malformed("not a number"))
        );
        assert_eq!(error.offset, text.find("Max-Forwards").unwrap());
        assert_eq!(error.status(), 400);
        let response = Message::response_to(&error.answerable.unwrap(), 400, "");
        assert_eq!(response.via.len(), 3);
        assert_eq!(response.status(), Some(400));
    }

    #[test]
    fn what_is_broken_is_named() {
        for (from, to, kind) in [
            ("CSeq: 7 OPTIONS\r\n", "", ParseErrorKind::Missing(Name::CSeq)),
            ("i: 1@a", "i: 1@a\r\nCall-ID: 2@a", ParseErrorKind::Repeated(Name::CallId)),
            ("7 OPTIONS", "7 INVITE", ParseErrorKind::MethodMismatch),
            ("Subject: one", "Subject one", ParseErrorKind::FieldLine),
            ("\r\n\r\nhi", "\r\n", ParseErrorKind::Unfinished),
            ("SIP/2.0\r\nv", "SIP/3.0\r\nv", ParseErrorKind::Version),
            ("SIP/2.0\r\nv", "HTTP/1.1\r\nv", ParseErrorKind::StartLine),
            ("sip:bob@b.example SIP", "urn:service:sos SIP", ParseErrorKind::UriScheme),
        ] {
            assert_eq!(parse(&OPTIONS.replacen(from, to, 1)), Err(kind), "{to}");
        }
        assert_eq!(parse("\r\n\r\n"), Err(ParseErrorKind::Empty));
        assert_eq!(parse(""), Err(ParseErrorKind::Empty));
    }

    #[test]
    fn an_ack_is_not_answerable() {
        let text = OPTIONS.replace("OPTIONS", "ACK").replace("l: 2", "l: 9");
        assert_eq!(Message::parse(text.as_bytes()).unwrap_err().answerable, None);
    }

    #[test]
    fn message_at_the_limits_can_be_written_and_read() {
        let vias = ", SIP/2.0/UDP h".repeat(MAX_VIAS - 3);
        let fields = "X-A: 1\r\n".repeat(MAX_FIELDS - 2);
        let text =
            OPTIONS.replace("z9hG4bK3", &format!("z9hG4bK3{vias}")).replace("l: 2\r\n", &fields);
        let message = parse(&text).unwrap();
        assert_eq!((message.via.len(), message.headers.0.len()), (MAX_VIAS, MAX_FIELDS));
        assert!(Message::parse(&message.to_bytes()) == Ok(message));
    }

    #[test]
    fn limits_hold() {
        let fields = "X-A: 1\r\n".repeat(MAX_FIELDS);
        let vias = "v: SIP/2.0/UDP h\r\n".repeat(MAX_VIAS);
        let long = format!("X: {}\r\n", "x".repeat(MAX_FIELD_BYTES));
        let folded = format!("X: 1\r\n{}", " x\r\n".repeat(MAX_FIELD_BYTES));
        for (extra, kind) in [
            (fields, ParseErrorKind::TooManyFields),
            (vias, ParseErrorKind::TooManyVias),
            (long, ParseErrorKind::FieldTooLong),
            (folded, ParseErrorKind::FieldTooLong),
        ] {
            assert_eq!(parse(&OPTIONS.replace("l: 2", &format!("{extra}l: 2"))), Err(kind));
        }
        let text = OPTIONS.replace("bob@b.example SIP", &format!("{} SIP", "b".repeat(5000)));
        assert_eq!(parse(&text), Err(ParseErrorKind::StartLineTooLong));
    }
}
