//! The HTTP server: connections, framing and time limits around hyper (HTTP/1.0 and 1.1).
//!
//! A request leaves as a [`Pending`] and is answered through it. hyper parses; what it leaves to
//! its user is here: how many connections there are, how long a head, a body, an idle client and
//! a slow reader may take, how large a body is, one `Host`, and one framing of a body (RFC 9112
//! §3.2, §6). `Upgrade`, `CONNECT` and content codings are **not** supported.
//!
//! Invariants: a connection's memory is its two buffers and the body, which the pool accounts
//! for; a bug in the handling of one connection costs that connection.

mod body;
mod head;
mod stream;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, Version};
use smol::channel::{Receiver, Sender};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{LocalExecutor, Timer};
use smol_hyper::rt::FuturesIo;

use self::body::Outgoing;
use self::stream::{Phase, Watch, Watched};
use super::http_pool::{Pool, Share};
use crate::config;
use crate::control::{self, ApiError, Body, Folder};
use crate::stats;

/// Bounds of the server; the times are parameters for tests' sake.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At one time, of all listeners together. Full: 503, counted as `http_refused_full_total`.
    pub connections: usize,
    /// Larger: 413.
    pub body_bytes: usize,
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// From the end of the head to that of the body.
    pub body: Duration,
    /// Between two requests; a twelfth of it where three quarters of `connections` are in use.
    pub idle: Duration,
    /// For each part of an answer that the client takes.
    pub write: Duration,
}

impl Limits {
    pub fn of(limits: &config::Limits) -> Self {
        Self {
            connections: limits.http_connections,
            body_bytes: limits.request_body_bytes,
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(20),
        }
    }
}

/// Where files that can be downloaded lie.
#[derive(Debug, Clone)]
pub struct Folders {
    pub logs: PathBuf,
    pub recordings: PathBuf,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Pending {
    pub request: control::Request,
    pub answer: Answer,
}

/// The way back; dropped without an answer it is a 500.
pub struct Answer {
    slot: Weak<Slot>,
}

impl Answer {
    /// Nothing happens where the client is gone.
    pub fn send(self, response: control::Response) {
        if let Some(slot) = self.slot.upgrade() {
            slot.response.set(Some(response));
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.upgrade() {
            slot.is_closed.set(true);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

#[derive(Default)]
struct Slot {
    response: Cell<Option<control::Response>>,
    is_closed: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// What all listeners of the gateway share.
#[derive(Clone)]
pub struct Server {
    shared: Rc<Shared>,
}

struct Shared {
    executor: Rc<LocalExecutor<'static>>,
    limits: Limits,
    folders: Folders,
    pool: Pool,
    requests: Sender<Pending>,
    requests_so_far: Cell<u64>,
    connections: Rc<Cell<usize>>,
    /// Refused clients that are being told so.
    refusals: Cell<usize>,
    /// As many clones as downloads.
    downloads: Rc<()>,
    /// Closed at the end.
    running: RefCell<Option<Sender<Infallible>>>,
    stopped: Receiver<Infallible>,
}

impl Server {
    /// Requests come out of the other end of `requests`; where that is full, clients wait.
    pub fn new(
        executor: Rc<LocalExecutor<'static>>,
        limits: Limits,
        folders: Folders,
        pool: Pool,
        requests: Sender<Pending>,
    ) -> Self {
        let (running, stopped) = smol::channel::bounded(1);
        let shared = Shared {
            executor,
            limits,
            folders,
            pool,
            requests,
            requests_so_far: Cell::new(0),
            connections: Rc::new(Cell::new(0)),
            refusals: Cell::new(0),
            downloads: Rc::new(()),
            running: RefCell::new(Some(running)),
            stopped,
        };
        Self { shared: Rc::new(shared) }
    }

    /// Accepts until [`Server::stop`]; connections run on the executor.
    pub async fn serve(self, listener: TcpListener) {
        let stopped = self.shared.stopped.clone();
        smol::future::or(self.accept(listener), async {
            // Closed is the only thing that it ever is.
            let _ = stopped.recv().await;
        })
        .await;
    }

    /// No more connections; each that is open ends after the answer it is at.
    pub fn stop(&self) {
        self.shared.running.take();
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.connections.get()
    }

    async fn accept(&self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    // No file handles left, most likely: others must close first.
                    log::warn!("HTTP connection not accepted: {error}");
                    Timer::after(AFTER_ERROR).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let shared = self.shared.clone();
        if shared.connections.get() >= shared.limits.connections {
            stats::HTTP_REFUSED_FULL.add(1);
            if shared.refusals.get() < REFUSALS {
                let task = async move {
                    let _counted = Counted::new(shared, |shared| &shared.refusals);
                    send_raw(&stream, FULL).await;
                    linger(stream).await;
                };
                self.shared.executor.spawn(task).detach();
            }
            return;
        }
        let counted = Counted::new(shared.clone(), |shared| &*shared.connections);
        stats::HTTP_CONNECTIONS.set(shared.connections.get() as u64);
        let task = async move {
            // Answers are small and wait for nothing.
            let _ = stream.set_nodelay(true); // A refusal costs time only.
            connection(&shared, stream, peer).await;
            drop(counted);
            stats::HTTP_CONNECTIONS.set(shared.connections.get() as u64);
        };
        self.shared.executor.spawn(task).detach();
    }
}

/// One more of what `counter` counts, for as long as it lives.
struct Counted {
    shared: Rc<Shared>,
    counter: fn(&Shared) -> &Cell<usize>,
}

impl Counted {
    fn new(shared: Rc<Shared>, counter: fn(&Shared) -> &Cell<usize>) -> Self {
        let count = counter(&shared);
        count.set(count.get() + 1);
        Self { shared, counter }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = (self.counter)(&self.shared);
        count.set(count.get() - 1);
    }
}

/// How a connection ended.
enum End {
    /// By either side, in order or not.
    Closed,
    /// With an error of the client, which has been told so by hyper.
    Refused,
    TooSlow(Phase),
    Panicked,
}

/// Serves one client to its end.
async fn connection(shared: &Rc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let is_refused = Rc::new(Cell::new(false));
    match converse(shared, &stream, peer, &is_refused).await {
        End::Closed => {}
        End::Refused => is_refused.set(true),
        End::TooSlow(phase) => {
            stats::HTTP_TIMED_OUT.add(1);
            if matches!(phase, Phase::Head | Phase::Body) {
                send_raw(&stream, TOO_SLOW).await;
                is_refused.set(true);
            }
        }
        End::Panicked => {
            stats::HTTP_PANICS.add(1);
            log::error!("peer={peer} a bug ended this HTTP connection");
        }
    }
    if is_refused.get() {
        linger(stream).await;
    }
}

/// Lets hyper serve the client until either is done or time is up. What it held is given back
/// when this returns.
async fn converse(
    shared: &Rc<Shared>,
    stream: &TcpStream,
    peer: SocketAddr,
    is_refused: &Rc<Cell<bool>>,
) -> End {
    let watch = Rc::new(Watch::new(shared.limits, shared.connections.clone()));
    let watched = Watched { stream: stream.clone(), watch: watch.clone() };
    let service = service_fn(|request| {
        let exchange = Exchange {
            shared: shared.clone(),
            watch: watch.clone(),
            peer,
            is_refused: is_refused.clone(),
        };
        async move { Ok::<_, Infallible>(exchange.answer(request).await) }
    });
    let http = http1::Builder::new()
        .half_close(true)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        // The watch keeps all times.
        .header_read_timeout(None)
        .serve_connection(FuturesIo::new(watched), service);
    let mut http = pin!(http);
    let mut stopped = pin!(shared.stopped.recv());
    let mut expired = pin!(watch.expired());
    let mut is_stopping = false;
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                http.as_mut().graceful_shutdown();
            }
            http.as_mut().poll(cx)
        }));
        match polled {
            Err(_) => Poll::Ready(End::Panicked),
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            Ok(Poll::Ready(Err(error))) => Poll::Ready(end_of(&error)),
            Ok(Poll::Pending) => expired.as_mut().poll(cx).map(End::TooSlow),
        }
    })
    .await
}

fn end_of(error: &hyper::Error) -> End {
    if !error.is_parse() {
        return End::Closed;
    }
    match error.is_parse_too_large() {
        true => stats::HTTP_TOO_LARGE.add(1),
        false => stats::HTTP_MALFORMED.add(1),
    }
    End::Refused
}

/// What one request is answered with the help of.
struct Exchange {
    shared: Rc<Shared>,
    watch: Rc<Watch>,
    peer: SocketAddr,
    /// The client may still be sending what nobody will read.
    is_refused: Rc<Cell<bool>>,
}

/// A request that does not reach the gateway.
struct Refusal {
    status: u16,
    /// Of the envelope (Management API reference 1.5).
    code: u16,
    reason: &'static str,
}

const POOL_FULL: Refusal =
    Refusal { status: 503, code: 162, reason: "too many bodies at one time: try later" };

type Refused<T> = Result<T, Refusal>;

impl Exchange {
    async fn answer(self, request: hyper::Request<Incoming>) -> hyper::Response<Outgoing> {
        // A head of the next request may have come along already.
        self.watch.enter(Phase::Body);
        let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let mut response = match self.handle(request).await {
            Ok(response) => response,
            Err(refusal) => {
                self.is_refused.set(true);
                self.refused(&refusal)
            }
        };
        self.watch.enter(Phase::Answer);
        // RFC 9112 §6.1: what follows a chunked body could be read otherwise by a proxy.
        if self.is_refused.get() || is_chunked {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn handle(
        &self,
        request: hyper::Request<Incoming>,
    ) -> Refused<hyper::Response<Outgoing>> {
        check_framing(&self.watch, &request).inspect_err(|_| stats::HTTP_MALFORMED.add(1))?;
        let (head, body) = request.into_parts();
        let (body, share) = self.read_body(body).await?;
        self.shared.requests_so_far.set(self.shared.requests_so_far.get() + 1);
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let request = control::Request {
            id: self.shared.requests_so_far.get(),
            peer: self.peer,
            is_secure: false,
            method: head.method.as_str().to_owned(),
            target: target.to_owned(),
            headers: wanted(&head.headers),
            body,
        };
        self.watch.enter(Phase::Handled);
        let slot = Rc::new(Slot::default());
        let pending = Pending { request, answer: Answer { slot: Rc::downgrade(&slot) } };
        let stopping = || Refusal { status: 503, code: 162, reason: "the gateway stops" };
        self.shared.requests.send(pending).await.map_err(|_| stopping())?;
        let answered = poll_fn(|cx| {
            if let Some(response) = slot.response.take() {
                return Poll::Ready(Some(response));
            }
            if slot.is_closed.get() {
                return Poll::Ready(None);
            }
            slot.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        });
        let lost =
            || Refusal { status: 500, code: 2, reason: "the request was lost inside the gateway" };
        self.outgoing(answered.await.ok_or_else(lost)?, share).await
    }

    /// The whole body, within the limit and what the pool has.
    async fn read_body(&self, mut body: Incoming) -> Refused<(Vec<u8>, Share)> {
        let mut share = self.shared.pool.share();
        if body.is_end_stream() {
            return Ok((Vec::new(), share));
        }
        let most = self.shared.limits.body_bytes;
        let too_large = || {
            stats::HTTP_TOO_LARGE.add(1);
            Refusal {
                status: 413,
                code: 477,
                reason: "the body is larger than request_body_kib allows",
            }
        };
        if body.size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let malformed = |_| {
                stats::HTTP_MALFORMED.add(1);
                Refusal { status: 400, code: 101, reason: "the body is malformed or incomplete" }
            };
            // Trailers are not asked for.
            let Ok(data) = frame.map_err(malformed)?.into_data() else { continue };
            if bytes.len() + data.len() > most {
                return Err(too_large());
            }
            share.grow(data.len()).map_err(|_| POOL_FULL)?;
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, share))
    }

    async fn outgoing(
        &self,
        response: control::Response,
        mut share: Share,
    ) -> Refused<hyper::Response<Outgoing>> {
        let body = match response.body {
            Body::Bytes(bytes) => {
                share.grow(bytes.len()).map_err(|_| POOL_FULL)?;
                Outgoing::bytes(bytes, Some(share))
            }
            Body::File { folder, name } => match self.open(folder, name).await {
                Ok(file) => file,
                Err(refusal) => return Ok(self.refused(&refusal)),
            },
        };
        let mut outgoing = hyper::Response::new(body);
        *outgoing.status_mut() = status(response.status);
        for (name, value) in response.headers {
            // A value that a peer brought in (an origin) was a header's value before.
            if let Ok(value) = HeaderValue::from_str(&value) {
                outgoing.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        Ok(outgoing)
    }

    fn refused(&self, refusal: &Refusal) -> hyper::Response<Outgoing> {
        let json = ApiError::new(refusal.code, refusal.reason).to_json();
        let mut response = hyper::Response::new(Outgoing::bytes(json.into_bytes(), None));
        *response.status_mut() = status(refusal.status);
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }

    /// The file of a download; its name has been checked.
    async fn open(&self, folder: Folder, name: String) -> Refused<Outgoing> {
        let slot = self.shared.downloads.clone();
        if Rc::strong_count(&slot) > DOWNLOADS + 1 {
            return Err(Refusal {
                status: 503,
                code: 162,
                reason: "too many downloads at one time",
            });
        }
        let path = match folder {
            Folder::Logs => self.shared.folders.logs.join(name),
            Folder::Recordings => self.shared.folders.recordings.join(name),
        };
        let opened = smol::unblock(move || {
            let file = std::fs::File::open(path)?;
            let about = file.metadata()?;
            match about.is_file() {
                true => Ok((file, about.len())),
                false => Err(std::io::ErrorKind::NotFound.into()),
            }
        });
        match opened.await {
            Ok((file, length)) => Ok(Outgoing::file(file, length, slot)),
            Err::<_, std::io::Error>(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    log::warn!("download failed: {error}");
                }
                Err(Refusal { status: 404, code: 501, reason: "no such file" })
            }
        }
    }
}

/// One `Host` (RFC 9112 §3.2), one framing of the body (§6.1), no coding but chunked (§6.3).
fn check_framing(watch: &Watch, request: &hyper::Request<Incoming>) -> Refused<()> {
    let bad = |reason| Err(Refusal { status: 400, code: 101, reason });
    let Some(framing) = watch.next_head() else { return bad("the head was not understood") };
    let headers = request.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return bad("a request has one Host");
    }
    if framing.is_odd {
        return bad("Content-Length is no number");
    }
    if framing.has_transfer_encoding && framing.has_content_length {
        return bad("Content-Length stands beside Transfer-Encoding");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal {
            status: 501,
            code: 101,
            reason: "no transfer coding but chunked is supported",
        }),
    }
}

/// The headers that the gateway looks at. hyper keeps no spelling: `X-Name` is what most send.
fn wanted(headers: &HeaderMap) -> Vec<(String, String)> {
    let wanted = headers.iter().filter(|(name, _)| control::wants_header(name.as_str()));
    wanted
        .map(|(name, value)| {
            let name = match name.as_str() {
                name if name.starts_with("x-") => title_case(name),
                name => name.to_owned(),
            };
            (name, String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

fn title_case(name: &str) -> String {
    let mut is_first = true;
    let upper = |character: char| {
        let character = if is_first { character.to_ascii_uppercase() } else { character };
        is_first = character == '-';
        character
    };
    name.chars().map(upper).collect()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Says a few bytes to a client that hyper does not serve (any more).
async fn send_raw(stream: &TcpStream, text: &[u8]) {
    let mut stream = stream.clone();
    let written = async {
        // The client may be gone: it is told on the way out.
        let _ = stream.write_all(text).await;
    };
    smol::future::or(written, async {
        Timer::after(LINGER).await;
    })
    .await;
}

/// Ends a connection whose client may still be sending: closed at once, it would answer with a
/// reset, and the client would lose the answer (RFC 9112 §9.6).
async fn linger(mut stream: TcpStream) {
    if stream.shutdown(std::net::Shutdown::Write).is_err() {
        return;
    }
    let drained = async {
        let mut buffer = [0; 4096];
        let mut left = LINGER_BYTES;
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 || count > left {
                return;
            }
            left -= count;
        }
    };
    smol::future::or(drained, async {
        Timer::after(LINGER).await;
    })
    .await;
}

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
    Content-Length: 0\r\n\r\n";
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
/// Longest head, and what hyper buffers each way. More: 431.
const HEAD_BYTES: usize = 8 << 10;
/// Fields of a head. More: 431.
const HEADERS: usize = 100;
/// Clients that are told at one time that there are too many; others are just closed.
const REFUSALS: usize = 32;
/// Files that are sent at one time: each holds a thread of the blocking pool now and then.
const DOWNLOADS: usize = 8;
/// Time and bytes that a refused client has to read its answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 4 << 20;
const AFTER_ERROR: Duration = Duration::from_millis(100);
