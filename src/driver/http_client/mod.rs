//! The HTTP client behind `Net.httpRequest`, sounds from URLs and the command line (VoxEngine
//! reference 21.2).
//!
//! HTTP/1.1 over TCP and TLS 1.2 or 1.3, redirects, limits of time and size. A connection serves
//! one request: one that was kept could be closed by the server just when a POST is written to
//! it, and such a POST can't be repeated; what costs in a new one, the TLS handshake, is resumed
//! from a ticket. Content codings are **not** asked for; proxies and cookies are **not**
//! supported.
//!
//! Dropping the future of a request closes its connection.

mod connect;
mod head;
#[cfg(test)]
mod tests;
mod tls;
mod url;

use std::cell::Cell;
use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::TlsConnector;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::ClientConfig;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use smol::Timer;
use smol::channel::Sender;
use smol::future::or;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;

use self::head::{HEAD_BYTES, Head, Observed};
use self::url::Url;
use super::http_pool::{Pool, Share};
use super::resolve::Resolver;
use crate::config;
use crate::scenario::command::HttpRequest;
use crate::scenario::event::HttpResult;
use crate::stats;

pub use self::tls::public_authorities;

/// Bounds of the client; a request can only lower the times.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Name, connection and TLS handshake together.
    pub connect: Duration,
    /// With redirects and the body.
    pub total: Duration,
    pub body_bytes: usize,
    /// At one time. Full: code 0, counted as `fetches_refused_total`.
    pub fetches: usize,
}

impl Limits {
    pub fn of(limits: &config::Limits) -> Self {
        Self {
            connect: Duration::from_secs(6),
            total: Duration::from_secs(90),
            body_bytes: limits.http_body_bytes,
            fetches: FETCHES,
        }
    }
}

/// Makes requests; clones share limits and TLS tickets.
#[derive(Clone)]
pub struct Client {
    shared: Rc<Shared>,
}

struct Shared {
    limits: Limits,
    pool: Pool,
    tls: Arc<ClientConfig>,
    resolver: Resolver,
    under_way: Cell<usize>,
}

impl Client {
    /// Trusts the public certificate authorities.
    pub fn new(limits: Limits, pool: Pool) -> Self {
        Self::with_tls(limits, pool, public_authorities())
    }

    pub fn with_tls(limits: Limits, pool: Pool, tls: Arc<ClientConfig>) -> Self {
        let resolver = Resolver::new();
        let shared = Shared { limits, pool, tls, resolver, under_way: Cell::new(0) };
        Self { shared: Rc::new(shared) }
    }

    /// Makes a request; never an error but a code below 1.
    pub async fn fetch(&self, request: &HttpRequest) -> HttpResult {
        let total = lowered(request.timeout_s, self.shared.limits.total);
        let target = Target::Result(self.shared.limits.body_bytes);
        self.fetch_to(request, target, total).await.0
    }

    /// The body of a good answer goes to `streaming` as it comes; the result has none then.
    pub async fn fetch_parts(&self, request: &HttpRequest, streaming: Streaming<'_>) -> HttpResult {
        self.fetch_to(request, Target::Parts(streaming), streaming.time).await.0
    }

    async fn fetch_to(
        &self,
        request: &HttpRequest,
        target: Target<'_>,
        total: Duration,
    ) -> (HttpResult, Share) {
        stats::FETCHES.add(1);
        let nothing = || self.shared.pool.share();
        let Some(_place) = self.shared.place() else {
            stats::FETCHES_REFUSED.add(1);
            return (Failure::limit("too many HTTP requests at one time").into(), nothing());
        };
        let result = or(self.shared.follow(request, target), async {
            Timer::after(total).await;
            Err(Failure::timeout("no whole answer"))
        })
        .await;
        result.unwrap_or_else(|failure| {
            stats::FETCHES_FAILED.add(1);
            (failure.into(), nothing())
        })
    }
}

/// A body in the order in which it comes: its length, its bytes, its end. Without the end it broke
/// off.
#[derive(Debug)]
pub enum Part {
    /// As far as the answer says.
    Length(Option<u64>),
    Bytes(Vec<u8>),
    End,
}

/// How the body of a good answer is handed on.
#[derive(Debug, Clone, Copy)]
pub struct Streaming<'a> {
    /// Full: the server waits. Closed: the request is over.
    pub parts: &'a Sender<Part>,
    pub most_bytes: usize,
    /// For all of it.
    pub time: Duration,
    /// Between two pieces.
    pub pause: Duration,
}

/// Where the body of an answer goes.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// Into the result, so many bytes at most.
    Result(usize),
    Parts(Streaming<'a>),
}

/// Why there is no HTTP status.
#[derive(Debug)]
struct Failure {
    /// Reference 21.2.
    code: i32,
    error: String,
}

impl Failure {
    fn new(code: i32, error: impl ToString) -> Self {
        Self { code, error: error.to_string() }
    }

    fn limit(error: &str) -> Self {
        Self::new(0, error)
    }

    fn connection(error: impl ToString) -> Self {
        Self::new(-4, error)
    }

    fn network(error: impl ToString) -> Self {
        Self::new(-6, error)
    }

    fn timeout(what: &str) -> Self {
        Self::new(-7, format!("{what} in time"))
    }

    fn too_large(most_bytes: usize) -> Self {
        Self::new(-9, format!("the body is larger than {most_bytes} bytes"))
    }
}

impl From<Failure> for HttpResult {
    fn from(failure: Failure) -> Self {
        Self { code: failure.code, error: failure.error, ..Self::default() }
    }
}

/// A request as it stands after the redirects so far.
struct Hop {
    url: Url,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    connect_timeout: Duration,
}

/// One of the requests that may be under way.
struct Place<'a>(&'a Cell<usize>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Shared {
    fn place(&self) -> Option<Place<'_>> {
        let under_way = self.under_way.get();
        if under_way >= self.limits.fetches {
            return None;
        }
        self.under_way.set(under_way + 1);
        Some(Place(&self.under_way))
    }

    /// The request and its redirects.
    async fn follow(
        &self,
        request: &HttpRequest,
        target: Target<'_>,
    ) -> Result<(HttpResult, Share), Failure> {
        let mut share = self.pool.share();
        share.grow(request.body.len()).map_err(|_| Failure::limit(POOL_FULL))?;
        let mut hop = Hop::first(request, lowered(request.connect_timeout_s, self.limits.connect))?;
        let mut began_at_home = None;
        for _ in 0..=REDIRECTS {
            let addresses = self.addresses(&hop, began_at_home);
            let connected = or(
                async {
                    let addresses = addresses.await?;
                    let stream = connect::connect(&addresses).await.map_err(Failure::connection)?;
                    // A refusal costs time only.
                    let _ = stream.set_nodelay(true);
                    let peer = stream.peer_addr().map_err(Failure::connection)?;
                    began_at_home.get_or_insert(is_home(&peer));
                    self.secure(&hop, stream).await
                },
                async {
                    Timer::after(hop.connect_timeout).await;
                    Err(Failure::timeout("no connection"))
                },
            )
            .await?;
            let answer = match connected {
                Stream::Plain(stream) => self.exchange(&hop, stream, target).await?,
                Stream::Secure(stream) => self.exchange(&hop, *stream, target).await?,
            };
            match answer {
                Answered::Whole(result, share) => return Ok((result, share)),
                Answered::Elsewhere { status, location } => hop.redirect(status, &location)?,
            }
        }
        Err(Failure::new(-5, format!("more than {REDIRECTS} redirects")))
    }

    /// Where the host is. A redirect must not lead from outside into this machine.
    async fn addresses(
        &self,
        hop: &Hop,
        began_at_home: Option<bool>,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let mut addresses = match hop.url.host.parse() {
            Ok(address) => vec![SocketAddr::new(address, hop.url.port)],
            Err(_) => self.resolver.resolve(hop.url.host.clone(), hop.url.port).await,
        };
        if addresses.is_empty() {
            return Err(Failure::new(-3, "host not found"));
        }
        if began_at_home == Some(false) {
            addresses.retain(|address| !is_home(address));
            if addresses.is_empty() {
                return Err(Failure::connection("redirected to an address of this machine"));
            }
        }
        Ok(addresses)
    }

    async fn secure(&self, hop: &Hop, stream: smol::net::TcpStream) -> Result<Stream, Failure> {
        if !hop.url.is_secure {
            return Ok(Stream::Plain(stream));
        }
        let name = ServerName::try_from(hop.url.host.clone())
            .map_err(|_| Failure::connection("the host's name cannot be in a certificate"))?;
        let connector = TlsConnector::from(self.tls.clone());
        let stream = connector.connect(name, stream).await.map_err(Failure::connection)?;
        Ok(Stream::Secure(Box::new(stream)))
    }

    /// One request and its answer on a connection of their own.
    async fn exchange(
        &self,
        hop: &Hop,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        target: Target<'_>,
    ) -> Result<Answered, Failure> {
        let head = Head::default();
        let observed = Observed { stream, head: head.clone() };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS)
            .handshake(FuturesIo::new(observed))
            .await
            .map_err(Failure::network)?;
        let answered = async {
            let response = sender.send_request(hop.request()?).await.map_err(failure_of)?;
            let (raw_headers, headers) = head.take();
            if let Some(location) = location_of(&response) {
                return Ok(Answered::Elsewhere { status: response.status(), location });
            }
            let code = i32::from(response.status().as_u16());
            let is_good = response.status().is_success();
            let body = response.into_body();
            let (body, share) = match target {
                Target::Parts(streaming) if is_good => {
                    pass_body(body, streaming).await?;
                    (Vec::new(), self.pool.share())
                }
                Target::Parts(_) => (Vec::new(), self.pool.share()),
                Target::Result(most_bytes) => self.read_body(body, most_bytes).await?,
            };
            let error = String::new();
            let result = HttpResult { code, raw_headers, headers, body, error };
            Ok(Answered::Whole(result, share))
        };
        // The answer is complete or an error before the connection's end matters.
        let driven = async {
            let _ = connection.await;
            pending().await
        };
        or(answered, driven).await
    }

    async fn read_body(
        &self,
        mut body: Incoming,
        most_bytes: usize,
    ) -> Result<(Vec<u8>, Share), Failure> {
        if body.size_hint().lower() > most_bytes as u64 {
            return Err(Failure::too_large(most_bytes));
        }
        let mut share = self.pool.share();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            // Trailers are nobody's.
            let Ok(data) = frame.map_err(failure_of)?.into_data() else { continue };
            if bytes.len() + data.len() > most_bytes {
                return Err(Failure::too_large(most_bytes));
            }
            share.grow(data.len()).map_err(|_| Failure::limit(POOL_FULL))?;
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, share))
    }
}

/// Hands a body on as it comes.
async fn pass_body(mut body: Incoming, streaming: Streaming<'_>) -> Result<(), Failure> {
    let hint = body.size_hint();
    if hint.lower() > streaming.most_bytes as u64 {
        return Err(Failure::too_large(streaming.most_bytes));
    }
    let parts = streaming.parts;
    if parts.send(Part::Length(hint.exact())).await.is_err() {
        return Ok(());
    }
    let mut left = streaming.most_bytes;
    loop {
        let frame = or(async { Ok(body.frame().await) }, async {
            Timer::after(streaming.pause).await;
            Err(Failure::timeout("no more of the answer"))
        });
        let Some(frame) = frame.await? else { break };
        // Trailers are nobody's.
        let Ok(data) = frame.map_err(failure_of)?.into_data() else { continue };
        left =
            left.checked_sub(data.len()).ok_or_else(|| Failure::too_large(streaming.most_bytes))?;
        // Nobody wants the rest.
        if parts.send(Part::Bytes(data.to_vec())).await.is_err() {
            return Ok(());
        }
    }
    // It may have been dropped with the last piece.
    let _ = parts.send(Part::End).await;
    Ok(())
}

enum Stream {
    Plain(smol::net::TcpStream),
    Secure(Box<futures_rustls::client::TlsStream<smol::net::TcpStream>>),
}

enum Answered {
    /// With what its body has of the pool.
    Whole(HttpResult, Share),
    Elsewhere {
        status: StatusCode,
        location: String,
    },
}

impl Hop {
    fn first(request: &HttpRequest, connect_timeout: Duration) -> Result<Self, Failure> {
        let url = Url::parse(&request.url).map_err(|error| Failure::new(-2, error))?;
        let method = match request.method.as_str() {
            "" => Method::GET,
            name => Method::from_bytes(name.to_ascii_uppercase().as_bytes())
                .map_err(|_| Failure::new(-8, "the method is malformed"))?,
        };
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(Failure::new(-8, format!("{method} is not supported")));
        }
        let body = Bytes::from(request.body.clone());
        let headers = fields(request, !body.is_empty())?;
        Ok(Self { url, method, headers, body, connect_timeout })
    }

    fn request(&self) -> Result<hyper::Request<Full<Bytes>>, Failure> {
        let mut request = hyper::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        let internal = |error: &dyn ToString| Failure::new(-8, error.to_string());
        *request.uri_mut() = self.url.target.parse().map_err(|error| internal(&error))?;
        let headers = request.headers_mut();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| internal(&error));
        headers.insert(header::HOST, value(&self.url.authority())?);
        if let Some(basic) = &self.url.basic {
            headers.insert(header::AUTHORIZATION, value(&format!("Basic {basic}"))?);
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_static("VoxEngine/1.0"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        // RFC 9110 §8.6: a method that has a meaning for a body says that there is none.
        if self.body.is_empty() && matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
        {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        // What the script says goes over what is usual.
        for name in self.headers.keys() {
            headers.remove(name);
        }
        headers.extend(self.headers.clone());
        Ok(request)
    }

    /// RFC 9110 §15.4.
    fn redirect(&mut self, status: StatusCode, location: &str) -> Result<(), Failure> {
        let next = self.url.join(location).map_err(|error| Failure::new(-2, error))?;
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            let about_body =
                [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE];
            about_body.iter().for_each(|name| drop(self.headers.remove(name)));
        }
        self.headers.remove(header::HOST);
        match self.url.is_same_origin(&next) {
            true => {
                let basic = next.basic.clone().or(self.url.basic.take());
                self.url = Url { basic, ..next };
            }
            false => {
                let secrets = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
                secrets.iter().for_each(|name| drop(self.headers.remove(name)));
                self.url = next;
            }
        }
        Ok(())
    }
}

/// The script's fields without those of framing and connection, which are ours.
fn fields(request: &HttpRequest, has_body: bool) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let malformed = || Failure::new(-8, format!("header {name:?} is malformed"));
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| malformed())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| malformed())?;
        if OURS.contains(&name.as_str()) {
            continue;
        }
        headers.try_append(name, value).map_err(|_| Failure::new(-8, "too many headers"))?;
    }
    // What curl says of a body of which nothing is said.
    if has_body && !headers.contains_key(header::CONTENT_TYPE) {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
    }
    Ok(headers)
}

/// Where an answer sends us, if it does.
fn location_of(response: &hyper::Response<Incoming>) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

fn failure_of(error: hyper::Error) -> Failure {
    if error.is_parse() {
        return Failure::network("the answer is not HTTP/1.1");
    }
    match std::error::Error::source(&error) {
        Some(source) => Failure::network(format!("{error}: {source}")),
        None => Failure::network(error),
    }
}

/// An address of this machine that nobody outside reaches.
fn is_home(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

/// What a script asks for, within the limit; nothing and nonsense are the limit.
fn lowered(seconds: f64, limit: Duration) -> Duration {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => time.min(limit),
        _ => limit,
    }
}

const POOL_FULL: &str = "too many bodies of HTTP requests at one time";
/// Reference 21.2.
const REDIRECTS: usize = 5;
/// Fields of an answer. More: code -6.
const HEADERS: usize = 200;
/// Sockets that all sessions' requests take together.
const FETCHES: usize = 256;
/// Fields of a request that scripts cannot set.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
