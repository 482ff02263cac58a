//! OPTIONS (RFC 3261 §11): what we can do. Answered to everybody, without a transaction.

use super::header::Name;
use super::inspection::{ALLOW, SUPPORTED};
use super::message::Message;
use super::stack::Stack;

pub fn response(stack: &Stack, request: &Message) -> Message {
    let mut response = stack.response(request, 200);
    let headers = &mut response.headers;
    headers.push(Name::Allow, ALLOW);
    headers.push(Name::Accept, ACCEPT);
    headers.push(Name::Supported, SUPPORTED);
    response
}

const ACCEPT: &str =
    "application/sdp, multipart/mixed, application/dtmf-relay, application/dtmf, message/sipfrag";
