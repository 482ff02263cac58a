//! A SIP message: a request or a response with its headers and body (RFC 3261 §7).
//!
//! What [`Message::parse`] gives has the five headers of every message (Via, From, To, Call-ID,
//! CSeq), typed. Invariant: the typed fields are the truth; they are not repeated in `headers`.

use std::fmt;
use std::str::FromStr;

use super::header::{Headers, Name};
use super::lexical::{self, Malformed};
use super::name_addr::NameAddr;
use super::uri::Uri;
use super::via::Via;

/// What is common to requests and responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub start: Start,
    /// Top-most first.
    pub via: Vec<Via>,
    pub from: NameAddr,
    pub to: NameAddr,
    pub call_id: String,
    pub cseq: CSeq,
    /// Every other header field, Content-Length excepted: the writer computes it.
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Message {
    /// A request without Via (the transaction gives it one), body or further headers.
    pub fn request(
        method: Method,
        uri: Uri,
        from: NameAddr,
        to: NameAddr,
        call_id: String,
        number: u32,
    ) -> Self {
        Self {
            cseq: CSeq { number, method: method.clone() },
            start: Start::Request { method, uri },
            via: Vec::new(),
            from,
            to,
            call_id,
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// A response with what RFC 3261 §8.2.6.2 copies from the request. The To tag and
    /// Record-Route are the caller's. An empty reason becomes the usual one.
    pub fn response_to(request: &Self, status: u16, reason: &str) -> Self {
        let reason = if reason.is_empty() { reason_phrase(status) } else { reason };
        let mut headers = Headers::default();
        if status == 100 {
            // RFC 3261 §8.2.6.1: how the peer measures the way.
            let timestamp = Name::Other("Timestamp".to_owned());
            if let Some(value) = request.headers.get(&timestamp) {
                headers.push(timestamp, value);
            }
        }
        Self {
            start: Start::Response { status, reason: reason.to_owned() },
            via: request.via.clone(),
            from: request.from.clone(),
            to: request.to.clone(),
            call_id: request.call_id.clone(),
            cseq: request.cseq.clone(),
            headers,
            body: Vec::new(),
        }
    }

    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The request's method; of a response, that of the request it answers.
    pub fn method(&self) -> &Method {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => &self.cseq.method,
        }
    }

    /// `None` of a request.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// A response's words for its status, the usual ones where it has none.
    pub fn reason(&self) -> &str {
        match &self.start {
            Start::Response { status, reason } if reason.is_empty() => reason_phrase(*status),
            Start::Response { reason, .. } => reason,
            Start::Request { .. } => "",
        }
    }

    /// `None` of a response.
    pub fn request_uri(&self) -> Option<&Uri> {
        match &self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// The first header field of this name. Via, From, To, Call-ID and CSeq are not among them.
    pub fn header(&self, name: &Name) -> Option<&str> {
        self.headers.get(name)
    }

    /// Sets the body and its Content-Type.
    pub fn set_body(&mut self, content_type: &str, body: Vec<u8>) {
        self.headers.remove(&Name::ContentType);
        self.headers.push(Name::ContentType, content_type);
        self.body = body;
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Request { method: Method, uri: Uri },
    Response { status: u16, reason: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    Ack,
    Bye,
    Cancel,
    Info,
    Invite,
    Message,
    Notify,
    Options,
    Prack,
    Publish,
    Refer,
    Register,
    Subscribe,
    Update,
    /// Any other token.
    Other(String),
}

/// RFC 3261 §20.16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    pub number: u32,
    pub method: Method,
}

impl Method {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Info => "INFO",
            Self::Invite => "INVITE",
            Self::Message => "MESSAGE",
            Self::Notify => "NOTIFY",
            Self::Options => "OPTIONS",
            Self::Prack => "PRACK",
            Self::Publish => "PUBLISH",
            Self::Refer => "REFER",
            Self::Register => "REGISTER",
            Self::Subscribe => "SUBSCRIBE",
            Self::Update => "UPDATE",
            Self::Other(token) => token,
        }
    }
}

impl FromStr for Method {
    type Err = Malformed;

    /// Methods are case-sensitive (RFC 3261 §7.1): `invite` is another one.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        Ok(match text {
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "INFO" => Self::Info,
            "INVITE" => Self::Invite,
            "MESSAGE" => Self::Message,
            "NOTIFY" => Self::Notify,
            "OPTIONS" => Self::Options,
            "PRACK" => Self::Prack,
            "PUBLISH" => Self::Publish,
            "REFER" => Self::Refer,
            "REGISTER" => Self::Register,
            "SUBSCRIBE" => Self::Subscribe,
            "UPDATE" => Self::Update,
            token if lexical::is_token(token) => Self::Other(token.to_owned()),
            _ => return Err(Malformed("method is not a token")),
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CSeq {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (number, method) =
            text.split_once(lexical::BLANKS).ok_or(Malformed("number and method expected"))?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed("sequence number is not a number"));
        }
        // RFC 3261 §8.1.1.5 allows less than 2^31 only; peers count on beyond it.
        let number = number.parse().map_err(|_| Malformed("sequence number exceeds 32 bits"))?;
        Ok(Self { number, method: lexical::trim(method).parse()? })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// The usual words for a status (RFC 3261 §21 and its extensions).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => match status / 100 {
            1 => "Progress",
            2 => "Success",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
