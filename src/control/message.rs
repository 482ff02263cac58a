//! An HTTP request as the driver read it, and the answer it is to write.

use std::net::SocketAddr;

use nanoserde::SerJson;

use crate::gateway::RequestId;

/// A whole request: framing is done, the body is complete and within its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub id: RequestId,
    pub peer: SocketAddr,
    /// It came over TLS.
    pub is_secure: bool,
    pub method: String,
    /// Origin form: path and query as they were sent.
    pub target: String,
    /// Those that [`wants_header`] names, in their order, names in lower case but for `X-`.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The target up to its query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// Which headers of a request the machine looks at; the driver passes no others on.
pub fn wants_header(lower_case_name: &str) -> bool {
    lower_case_name.starts_with("x-")
        || matches!(lower_case_name, "content-type" | "host" | "origin" | "authorization")
}

/// What goes back. `Content-Length`, `Date` and `Connection` are the driver's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Bytes(Vec<u8>),
    /// A file that the driver reads; it answers 404 in the place of this response where there is
    /// none.
    File {
        folder: Folder,
        name: String,
    },
}

/// Where files that can be downloaded lie, below `data_dir`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    Logs,
    Recordings,
}

impl Response {
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Bytes(Vec::new()) }
    }

    pub fn text(status: u16, text: String) -> Self {
        Self::with_type(status, "text/plain; charset=utf-8", text)
    }

    pub fn json(status: u16, json: String) -> Self {
        Self::with_type(status, "application/json", json)
    }

    pub fn with_type(status: u16, content_type: &str, text: String) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body: Body::Bytes(text.into_bytes()) }
    }

    /// The envelope of section 1.4 with an HTTP status that is not 200.
    pub fn error(status: u16, error: &ApiError) -> Self {
        Self::json(status, error.to_json())
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An error of the Management API: one of the codes of section 1.5 and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub code: u16,
    pub message: String,
}

impl ApiError {
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// `{"error": {"code": 147, "msg": "..."}}`
    pub fn to_json(&self) -> String {
        let error = ErrorText { code: self.code, msg: self.message.clone() };
        ErrorEnvelope { error }.serialize_json()
    }
}

#[derive(SerJson)]
struct ErrorEnvelope {
    error: ErrorText,
}

#[derive(SerJson)]
struct ErrorText {
    code: u16,
    msg: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_has_the_envelope_of_the_api() {
        let error = ApiError::new(147, "no rule \"x\"");
        assert_eq!(error.to_json(), r#"{"error":{"code":147,"msg":"no rule \"x\""}}"#);
    }

    #[test]
    fn target_splits_at_the_first_question_mark() {
        let request = Request {
            id: 1,
            peer: "127.0.0.1:1".parse().unwrap(),
            is_secure: false,
            method: "GET".into(),
            target: "/a/b?c=d?e".into(),
            headers: vec![("X-Caller".into(), "1".into())],
            body: Vec::new(),
        };
        assert_eq!((request.path(), request.query()), ("/a/b", "c=d?e"));
        assert_eq!(request.header("x-caller"), Some("1"));
        assert_eq!(request.header("host"), None);
    }
}
