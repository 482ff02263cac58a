//! A SIP message: a request or a response with its headers and body (RFC 3261 §7).
//!
//! What [`Message::parse`] gives has the five headers of every message (Via, From, To, Call-ID,
//! CSeq), typed. Invariant: the typed fields are the truth; they are not repeated in `headers`.

use super::header::Headers;
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
