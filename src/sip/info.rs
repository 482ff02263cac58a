//! INFO (RFC 6086, legacy usage) and MESSAGE (RFC 3428) inside a dialog.

use super::header::Name;
use super::message::{Message, Method};
use super::user_agent::{CallId, Event, ExtraHeaders};

/// What is to be sent inside a call.
pub struct Content<'a> {
    pub method: Method,
    pub headers: &'a ExtraHeaders,
    pub content_type: &'a str,
    pub body: Vec<u8>,
}

/// What the session hears of a received one.
pub fn event(call: CallId, request: &Message, headers: ExtraHeaders) -> Event {
    let content_type = request.header(&Name::ContentType).unwrap_or_default().to_owned();
    let body = request.body.clone();
    match request.method() {
        Method::Message => Event::Message { call, headers, content_type, body },
        _ => Event::Info { call, headers, content_type, body },
    }
}
