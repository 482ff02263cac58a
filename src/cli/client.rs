//! The gateway that runs on a configuration, spoken to over its own HTTP server.
//!
//! Plain HTTP/1.0 with one connection for each request: what a command line needs, and no more.
#![allow(clippy::question_mark, reason = "nanoserde's derive writes it")]

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use nanoserde::DeJson;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Failure;
use crate::config::Config;
use crate::driver::data_dir;
use crate::driver::environment;

/// A running gateway and the right to use it.
pub struct Client {
    /// `http://127.0.0.1:8080`
    pub base: String,
    account_id: u32,
    api_key: String,
}

/// An HTTP answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `{"error": {"code": 147, "msg": "..."}}` (Management API reference 1.4).
#[derive(DeJson)]
struct Envelope {
    error: Option<ApiError>,
}

#[derive(DeJson)]
struct ApiError {
    code: u32,
    msg: String,
    problems: Option<Vec<String>>,
}

/// Reads the configuration and finds the gateway that runs on it.
pub fn connect(named: Option<&Path>) -> Result<(Client, Config), Failure> {
    match find(named)? {
        (Some(client), config) => Ok((client, config)),
        (None, config) => Err(Failure::Failed(format!(
            "no gateway runs on {}: start it with `branchline run`",
            config.gateway.data_dir.display()
        ))),
    }
}

/// Reads the configuration and looks whether a gateway runs on it.
pub fn find(named: Option<&Path>) -> Result<(Option<Client>, Config), Failure> {
    let path = environment::find_config(named).map_err(Failure::Usage)?;
    let config = environment::load_config(&path).map_err(Failure::Config)?;
    let folder = &config.gateway.data_dir;
    let Some(owner) = data_dir::owner(folder) else { return Ok((None, config)) };
    let api_key = match config.control.api_key.as_str() {
        "" => data_dir::read_api_key(folder)
            .map_err(|error| format!("{}: {error}", data_dir::api_key_path(folder).display()))?,
        key => key.to_owned(),
    };
    let account_id = config.control.account_id;
    Ok((Some(Client { base: owner.url, account_id, api_key }), config))
}

impl Client {
    pub fn new(base: &str, account_id: u32, api_key: &str) -> Self {
        Self { base: base.into(), account_id, api_key: api_key.into() }
    }

    /// A command of the Management API; the text of its answer, or its error.
    pub fn api(&self, command: &str, parameters: &[(&str, &str)]) -> Result<String, Failure> {
        self.keyed(&format!("/platform_api/{command}/"), parameters)
    }

    /// A POST to a page that wants the key; an error in its answer is a failure.
    pub fn keyed(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String, Failure> {
        let mut form = format!("account_id={}&api_key={}", self.account_id, encoded(&self.api_key));
        for (name, value) in parameters {
            form.push_str(&format!("&{name}={}", encoded(value)));
        }
        let response = self.post(&format!("{}{path}", self.base), FORM, &form)?;
        let body = response.text();
        match Envelope::deserialize_json(&body) {
            Ok(Envelope { error: Some(error) }) => Err(failure(error)),
            Ok(Envelope { error: None }) if response.status == 200 => Ok(body),
            _ => Err(Failure::Failed(format!(
                "{}{path} answered {}: {body}",
                self.base, response.status
            ))),
        }
    }

    pub fn get(&self, url: &str) -> Result<Response, Failure> {
        self.exchange("GET", url, None)
    }

    pub fn post(&self, url: &str, content_type: &str, body: &str) -> Result<Response, Failure> {
        self.exchange("POST", url, Some((content_type, body)))
    }

    /// `url` may name another host (`public_url`): the request goes to this gateway all the same.
    fn exchange(
        &self,
        method: &str,
        url: &str,
        body: Option<(&str, &str)>,
    ) -> Result<Response, Failure> {
        let host = self.base.trim_start_matches("http://");
        let failed = |error: io::Error| Failure::Failed(format!("http://{host}: {error}"));
        let mut request = format!("{method} {} HTTP/1.0\r\nHost: {host}\r\n", target(url));
        if let Some((content_type, body)) = body {
            let length = body.len();
            request.push_str(&format!(
                "Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        } else {
            request.push_str("\r\n");
        }
        let answer = send(host, request.as_bytes()).map_err(failed)?;
        parse(&answer).ok_or_else(|| failed(io::Error::other("the answer is not HTTP")))
    }
}

fn failure(error: ApiError) -> Failure {
    let mut text = format!("{} (error {})", error.msg, error.code);
    for problem in error.problems.iter().flatten() {
        text.push('\n');
        text.push_str(problem);
    }
    Failure::Failed(text)
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// Path and query of a URL.
fn target(url: &str) -> &str {
    let after_host = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_host.find('/').map_or("/", |start| &after_host[start..])
}

fn send(host: &str, request: &[u8]) -> io::Result<Vec<u8>> {
    let address = host.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut socket = TcpStream::connect_timeout(&address, CONNECT)?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.write_all(request)?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, body: answer[end + 4..].to_vec() })
}

const FORM: &str = "application/x-www-form-urlencoded";
const CONNECT: Duration = Duration::from_secs(5);
/// Longer than any handler of an access URL may take (30 s, VoxEngine reference 2.4).
const ANSWER: Duration = Duration::from_secs(40);
const ANSWER_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_status_and_body() {
        let answer = parse(b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno").unwrap();
        assert_eq!(answer, Response { status: 404, body: b"no".to_vec() });
        assert_eq!(parse(b"SIP"), None);
    }

    #[test]
    fn target_is_what_follows_the_host() {
        assert_eq!(target("http://127.0.0.1:8080/request/1.2/ab?x=1"), "/request/1.2/ab?x=1");
        assert_eq!(target("http://127.0.0.1:8080"), "/");
        assert_eq!(target("/status"), "/status");
    }

    #[test]
    fn key_and_data_are_encoded() {
        assert_eq!(encoded("7001:7002 &é"), "7001%3A7002%20%26%C3%A9");
    }
}
