//! Requests to a session's access URL (reference section 9).
//!
//! `/request/SESSION.EPOCH/TOKEN`, with any further path and query: the URL itself is the
//! authorization. This is the path that is taken thousands of times per second.

use std::time::Instant;

use super::message::{ApiError, Request, Response};
use super::{Control, Outcome, Waiting, allowed_origin, not_allowed, preflight, with_cors};
use crate::gateway::{Access, Gateway};
use crate::scenario::worker::Answer;

pub const PREFIX: &str = "/request/";

/// What an access URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub session_id: u64,
    pub token: String,
    /// The session is asked for, not its script: `.../check`, see StartScenarios.
    pub is_check: bool,
}

impl Key {
    /// Reads what follows [`PREFIX`]. The epoch only keeps a number from meaning another session
    /// after the database was deleted: the token tells that as well.
    pub fn parse(rest: &str) -> Option<Self> {
        let (session, rest) = rest.split_once('/')?;
        let (number, epoch) = session.split_once('.')?;
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if epoch.is_empty() || !is_digits(epoch) || !is_digits(number) {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (token, further) = rest.split_at(end);
        Some(Self {
            session_id: number.parse().ok()?,
            token: token.to_owned(),
            is_check: further == CHECK,
        })
    }
}

impl Control {
    pub(super) fn on_access(
        &mut self,
        now: Instant,
        gateway: &mut Gateway,
        key: Key,
        request: Request,
    ) -> Outcome {
        let cors = allowed_origin(gateway, &request);
        let method = match request.method.as_str() {
            "OPTIONS" => {
                let answer = preflight("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
                return Outcome::Answer(with_cors(answer, cors));
            }
            "CONNECT" | "TRACE" => return Outcome::Answer(not_allowed("GET, POST")),
            // The driver leaves the body out.
            "HEAD" => "GET".to_owned(),
            _ => request.method,
        };
        if key.is_check && method == "GET" {
            let answer = match gateway.is_running(key.session_id, &key.token) {
                true => Response::empty(200),
                false => not_found(),
            };
            return Outcome::Answer(with_cors(answer, cors));
        }
        let content = match method.as_str() {
            "GET" => String::new(),
            _ => text(request.body),
        };
        let is_extra = |(name, _): &(String, String)| {
            name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
        };
        let access = Access {
            request: request.id,
            session_id: key.session_id,
            token: key.token,
            method,
            path: request.target,
            content,
            headers: request.headers.into_iter().filter(is_extra).collect(),
        };
        self.wait(now, request.id, Waiting::Access { cors });
        gateway.access(now, access);
        Outcome::Wait
    }
}

/// The handler's answer (section 9.3).
pub fn answered(answer: Option<Answer>) -> Response {
    match answer {
        Some(Answer::Text(text)) => Response::text(200, text),
        Some(Answer::Json(json)) => Response::json(200, json),
        Some(Answer::Empty) => Response::empty(200),
        Some(Answer::Error(error)) => Response::error(500, &ApiError::new(2, error)),
        Some(Answer::TimedOut) => {
            let error = ApiError::new(162, "the handler's promise did not settle in time");
            Response::error(504, &error)
        }
        None => not_found(),
    }
}

/// Alike for a session that ended, one that never was, and a wrong token.
pub fn not_found() -> Response {
    Response::error(404, &ApiError::new(161, "no such session, or it has ended"))
}

/// The script does not keep up with the requests to it.
pub fn busy() -> Response {
    let error = ApiError::new(162, "too many requests to this session wait: try later");
    Response::error(503, &error).with_header("retry-after", "1")
}

/// UTF-8, without a copy where it is valid.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What StartScenarios adds to the access URL for `with_check_url`.
pub const CHECK: &str = "/check";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_url_is_read_with_any_further_path_and_query() {
        let key = |rest: &str| Key::parse(rest).map(|key| (key.session_id, key.token));
        let token = || Some((7, "ab".to_owned()));
        assert_eq!(key("7.1700000000/ab"), token());
        assert_eq!(key("7.1700000000/ab/command=play/pId=1?x=/y"), token());
        assert_eq!(key("7.1700000000/ab?x=/y"), token());
        assert_eq!(key("7.1700000000/"), Some((7, String::new())));
        for wrong in [
            "",
            "7",
            "7/ab",
            "7.1",
            "7./ab",
            "x.1/ab",
            "-7.1/ab",
            "+7.1/ab",
            ".1/ab",
            "99999999999999999999.1/ab",
        ] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn check_is_the_whole_rest_of_the_path() {
        let is_check = |rest: &str| Key::parse(rest).unwrap().is_check;
        assert!(is_check("7.1/ab/check"));
        assert!(!is_check("7.1/ab/check/x"));
        assert!(!is_check("7.1/ab?/check"));
        assert!(!is_check("7.1/ab"));
    }

    #[test]
    fn content_that_is_not_utf_8_is_replaced() {
        assert_eq!(text(b"a\xffb".to_vec()), "a\u{fffd}b");
        assert_eq!(text("ä".into()), "ä");
    }
}
