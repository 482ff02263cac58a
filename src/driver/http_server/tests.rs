//! The server against raw sockets on loopback.

use super::*;
use std::time::Instant;

/// Long enough never to be reached.
const LONG: Duration = Duration::from_secs(60);
/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(80);

fn limits() -> Limits {
    Limits { connections: 64, body_bytes: 1000, head: LONG, body: LONG, idle: LONG, write: LONG }
}

/// A server whose gateway answers with what it was asked.
struct Running {
    server: Server,
    address: SocketAddr,
    pool: Pool,
}

impl Running {
    /// Sends everything, then reads until the server closes.
    async fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        read_to_end(stream).await
    }
}

async fn read_to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is the end as well.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut answer = String::new();
    let mut buffer = [0; 1024];
    while !answer.contains(wanted) {
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "closed before {wanted:?}: {answer}");
        answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    answer
}

fn run(limits: Limits, test: impl AsyncFnOnce(Running)) {
    let executor = Rc::new(LocalExecutor::new());
    let (sender, requests) = smol::channel::bounded::<Pending>(4);
    let pool = Pool::new(4000);
    let folders =
        Folders { logs: std::env::temp_dir(), recordings: PathBuf::from("/nowhere-at-all") };
    let server = Server::new(executor.clone(), limits, folders, pool.clone(), sender);
    let gateway = async move {
        let mut held = Vec::new();
        while let Ok(pending) = requests.recv().await {
            let request = &pending.request;
            let response = match request.path() {
                "/hold" => {
                    held.push(pending);
                    continue;
                }
                "/lose" => continue,
                "/large" => control::Response::text(200, "x".repeat(3000)),
                "/huge" => control::Response::text(200, "x".repeat(5000)),
                path if path.starts_with("/file/") => control::Response {
                    status: 200,
                    headers: vec![("content-type", "audio/wav".to_owned())],
                    body: Body::File { folder: Folder::Logs, name: path[6..].to_owned() },
                },
                _ => {
                    let body = String::from_utf8_lossy(&request.body);
                    let Request { method, target, headers, .. } = request;
                    control::Response::text(200, format!("{method} {target} {headers:?} {body}"))
                }
            };
            pending.answer.send(response);
        }
    };
    executor.spawn(gateway).detach();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        executor.spawn(server.clone().serve(listener)).detach();
        test(Running { server, address, pool }).await;
    }));
}

use control::Request;

/// The first line of the answer to one request.
fn status_of(request: &[u8]) -> String {
    let mut line = String::new();
    run(limits(), async |running| {
        let answer = running.talk(request).await;
        line = answer.lines().next().unwrap_or_default().to_owned();
    });
    line
}

#[test]
fn request_arrives_whole_and_is_answered() {
    run(limits(), async |running| {
        let request = b"POST /a?b=%20 HTTP/1.1\r\nHost: h\r\nX-CALLER-id: \xe4\r\nCookie: c\r\n\
            Content-Length: 5\r\nConnection: close\r\n\r\nhello";
        let answer = running.talk(request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let body = "POST /a?b=%20 [(\"host\", \"h\"), (\"X-Caller-Id\", \"\u{fffd}\")] hello";
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
        assert_eq!(running.pool.free(), 4000);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(limits(), async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request =
            |n: usize| format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n<>");
        let requests: String = (0..50).map(request).collect();
        stream.write_all(requests.as_bytes()).await.unwrap();
        let last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        stream.write_all(last.as_bytes()).await.unwrap();
        let answer = read_to_end(stream).await;
        let found: Vec<usize> = (0..50)
            .map(|n| answer.find(&format!("POST /{n} ")).unwrap_or_else(|| panic!("{n}: {answer}")))
            .collect();
        assert!(found.is_sorted());
        assert!(answer.contains("GET /last "));
    });
}

#[test]
fn http_1_0_is_answered_and_closed() {
    run(limits(), async |running| {
        let answer = running.talk(b"GET / HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    });
}

#[test]
fn absolute_form_is_taken_as_its_path() {
    run(limits(), async |running| {
        let request = b"GET http://h/a?b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        assert!(running.talk(request).await.contains("GET /a?b "));
    });
}

#[test]
fn host_is_required_once() {
    assert_eq!(status_of(b"GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    let twice = b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
    assert_eq!(status_of(twice), "HTTP/1.1 400 Bad Request");
}

/// Forms by which one request is smuggled inside another (RFC 9112 §11.2).
#[test]
fn ambiguous_framing_is_refused_and_the_connection_closed() {
    const BAD: &str = "HTTP/1.1 400 Bad Request";
    const NOT_IMPLEMENTED: &str = "HTTP/1.1 501 Not Implemented";
    for (fields, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", BAD),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", BAD),
        ("Transfer-Encoding: chunked\r\ncontent-LENGTH:5\r\n", BAD),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", BAD),
        ("Content-Length: 5, 5\r\n", BAD),
        ("Content-Length: +5\r\n", BAD),
        ("Content-Length: -5\r\n", BAD),
        ("Content-Length: 0x5\r\n", BAD),
        ("Content-Length: 99999999999999999999\r\n", BAD),
        ("Content-Length : 5\r\n", BAD),
        ("Transfer-Encoding: xchunked\r\n", BAD),
        ("Transfer-Encoding: chunked, identity\r\n", BAD),
        ("Transfer-Encoding: identity\r\n", BAD),
        ("Transfer-Encoding : chunked\r\n", BAD),
        ("Transfer-Encoding: gzip, chunked\r\n", NOT_IMPLEMENTED),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", NOT_IMPLEMENTED),
        ("Transfer-Encoding: chunked, chunked\r\n", NOT_IMPLEMENTED),
        ("X: a\r\n folded\r\n", BAD),
    ] {
        run(limits(), async |running| {
            let request = format!(
                "POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n"
            );
            let answer = running.talk(request.as_bytes()).await;
            assert!(answer.starts_with(status), "{fields}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{fields}: {answer}");
        });
    }
}

#[test]
fn transfer_coding_in_http_1_0_is_refused() {
    let request = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(status_of(request).ends_with("400 Bad Request"));
}

#[test]
fn chunked_body_is_put_together_and_ends_the_connection() {
    run(limits(), async |running| {
        let request = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n\
            3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n";
        let answer = running.talk(request).await;
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.ends_with(" abcde"), "{answer}");
    });
}

#[test]
fn malformed_chunks_are_refused() {
    for chunks in ["x\r\n", "-1\r\n", "3\r\nabcd\r\n", "fffffffffffffffff\r\n"] {
        let request =
            format!("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert_eq!(status_of(request.as_bytes()), "HTTP/1.1 400 Bad Request", "{chunks}");
    }
}

#[test]
fn garbage_is_refused() {
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\x00\x00\x00\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: \x00\r\n\r\n",
    ] {
        assert_eq!(status_of(garbage), "HTTP/1.1 400 Bad Request", "{garbage:?}");
    }
}

#[test]
fn head_that_is_too_large_is_431() {
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX-A: {}\r\n\r\n", "a".repeat(9000));
    assert_eq!(status_of(long.as_bytes()), "HTTP/1.1 431 Request Header Fields Too Large");
    let target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(9000));
    assert_eq!(status_of(target.as_bytes()), "HTTP/1.1 431 Request Header Fields Too Large");
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert_eq!(status_of(many.as_bytes()), "HTTP/1.1 431 Request Header Fields Too Large");
    let endless = vec![b'a'; 100_000];
    assert_eq!(status_of(&endless), "HTTP/1.1 431 Request Header Fields Too Large");
}

#[test]
fn body_beyond_the_limit_is_413() {
    let declared = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n";
    assert_eq!(status_of(declared), "HTTP/1.1 413 Payload Too Large");
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "x".repeat(1001)
    );
    assert_eq!(status_of(chunked.as_bytes()), "HTTP/1.1 413 Payload Too Large");
    let endless = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "1\r\nx\r\n".repeat(100_000)
    );
    assert_eq!(status_of(endless.as_bytes()), "HTTP/1.1 413 Payload Too Large");
}

#[test]
fn largest_body_is_taken() {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n{}",
        "x".repeat(1000)
    );
    assert_eq!(status_of(request.as_bytes()), "HTTP/1.1 200 OK");
}

#[test]
fn expectation_is_met_before_the_body_but_not_for_one_that_is_too_large() {
    run(limits(), async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = |length: usize| {
            format!(
                "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
                 Connection: close\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        stream.write_all(head(5).as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hello").await.unwrap();
        assert!(read_to_end(stream).await.ends_with(" hello"));
        let answer = running.talk(head(5000).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn slow_head_is_408() {
    run(Limits { head: SHORT, ..limits() }, async |running| {
        let answer = running.talk(b"GET / HTTP/1.1\r\nHost: h\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    });
}

#[test]
fn head_that_drips_is_408_all_the_same() {
    run(Limits { head: SHORT * 2, ..limits() }, async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let began = Instant::now();
        let mut writer = stream.clone();
        let drip = async move {
            loop {
                Timer::after(SHORT / 8).await;
                if writer.write_all(b"a").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = [0; 12];
        smol::future::or(stream.read_exact(&mut answer), async {
            drip.await;
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
        assert!(began.elapsed() < LONG / 2);
    });
}

#[test]
fn slow_body_is_408() {
    run(Limits { body: SHORT, ..limits() }, async |running| {
        let request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab";
        let answer = running.talk(request).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(running.pool.free(), 4000);
    });
}

#[test]
fn truncated_body_is_refused() {
    run(limits(), async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab";
        stream.write_all(request).await.unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_to_end(stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    });
}

#[test]
fn half_closed_client_gets_its_answer() {
    run(limits(), async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(read_to_end(stream).await.starts_with("HTTP/1.1 200 OK"));
    });
}

#[test]
fn idle_connection_is_closed_without_a_word() {
    run(Limits { idle: SHORT, ..limits() }, async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let answer = read_to_end(stream).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    });
    run(Limits { head: SHORT, ..limits() }, async |running| {
        assert_eq!(running.talk(b"").await, "");
    });
}

#[test]
fn handled_request_may_take_longer_than_any_limit() {
    let limits = Limits { head: SHORT, body: SHORT, idle: SHORT, write: SHORT, ..limits() };
    run(limits, async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let mut byte = [0];
        let closed = async { stream.read(&mut byte).await.map(|_| true) };
        let waited = async {
            Timer::after(SHORT * 4).await;
            Ok(false)
        };
        assert!(!smol::future::or(closed, waited).await.unwrap());
    });
}

#[test]
fn reader_that_takes_nothing_is_cut_off() {
    // More than the kernel buffers for both sides together.
    let path = std::env::temp_dir().join(format!("branchline-http-{}.bin", std::process::id()));
    std::fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
    run(Limits { write: SHORT, ..limits() }, async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let request = format!("GET /file/{name} HTTP/1.1\r\nHost: h\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        while running.server.connections() == 0 {
            smol::future::yield_now().await;
        }
        while running.server.connections() > 0 {
            Timer::after(SHORT / 8).await;
        }
        assert!(read_to_end(stream).await.len() < 64 << 20);
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn file_is_sent_whole_and_a_missing_one_is_404() {
    let path = std::env::temp_dir().join(format!("branchline-file-{}.log", std::process::id()));
    std::fs::write(&path, "line\n".repeat(10_000)).unwrap();
    run(limits(), async |running| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let get = |method: &str, name: &str| {
            format!("{method} /file/{name} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        };
        let answer = running.talk(get("GET", name).as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-length: 50000"), "{head}");
        assert!(head.contains("content-type: audio/wav"), "{head}");
        assert_eq!(body.len(), 50_000);
        let answer = running.talk(get("HEAD", name).as_bytes()).await;
        assert!(answer.contains("content-length: 50000") && answer.ends_with("\r\n\r\n"));
        let answer = running.talk(get("GET", "branchline-no-such-file").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let answer = running.talk(get("GET", ".").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn head_request_is_answered_without_a_body() {
    run(limits(), async |running| {
        let answer =
            running.talk(b"HEAD /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert!(
            answer.contains("content-length: 3000") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    });
}

#[test]
fn connection_beyond_the_cap_is_told_503() {
    run(Limits { connections: 2, ..limits() }, async |running| {
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            read_until(&mut stream, "GET / ").await;
            held.push(stream);
        }
        let answer = running.talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        held.clear();
        while running.server.connections() > 0 {
            smol::future::yield_now().await;
        }
        let answer = running.talk(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    });
}

#[test]
fn idle_connections_make_room_when_it_gets_crowded() {
    // A quarter of it is how often a connection is looked at; what a slow machine may take for the
    // heads is not limited.
    let idle = Duration::from_secs(8);
    run(Limits { connections: 4, idle, ..limits() }, async |running| {
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            read_until(&mut stream, "GET / ").await;
            held.push(stream);
        }
        let began = Instant::now();
        assert_eq!(held[0].read(&mut [0]).await.unwrap(), 0);
        assert!(began.elapsed() < idle);
    });
}

#[test]
fn bodies_share_one_pool() {
    run(Limits { body_bytes: 3000, ..limits() }, async |running| {
        let mut held = TcpStream::connect(running.address).await.unwrap();
        let body = "x".repeat(3000);
        let hold = format!("POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 3000\r\n\r\n{body}");
        held.write_all(hold.as_bytes()).await.unwrap();
        while running.pool.free() > 1000 {
            smol::future::yield_now().await;
        }
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000\r\n\r\n{body}");
        let answer = running.talk(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let answer =
            running.talk(b"GET /huge HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(running.pool.free(), 1000);
    });
}

#[test]
fn many_clients_are_served_at_one_time() {
    run(limits(), async |running| {
        let mut streams = Vec::new();
        for n in 0..60 {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let request = format!("GET /{n} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            streams.push(stream);
        }
        for (n, stream) in streams.into_iter().enumerate() {
            assert!(read_to_end(stream).await.contains(&format!("GET /{n} ")));
        }
    });
}

#[test]
fn lost_request_is_500() {
    assert_eq!(
        status_of(b"GET /lose HTTP/1.1\r\nHost: h\r\n\r\n"),
        "HTTP/1.1 500 Internal Server Error"
    );
}

#[test]
fn client_that_leaves_takes_nothing_along() {
    run(limits(), async |running| {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\nabc";
        stream.write_all(request).await.unwrap();
        while running.pool.free() == 4000 {
            smol::future::yield_now().await;
        }
        drop(stream);
        while running.server.connections() > 0 {
            smol::future::yield_now().await;
        }
        assert_eq!(running.pool.free(), 4000);
    });
}

#[test]
fn stop_ends_idle_connections_and_lets_others_finish() {
    run(limits(), async |running| {
        let mut idle = TcpStream::connect(running.address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        read_until(&mut idle, "GET / ").await;
        let mut busy = TcpStream::connect(running.address).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe";
        busy.write_all(request).await.unwrap();
        while running.pool.free() == 4000 {
            smol::future::yield_now().await;
        }
        running.server.stop();
        assert_eq!(read_to_end(idle).await, "");
        busy.write_all(b"llo").await.unwrap();
        assert!(read_to_end(busy).await.ends_with(" hello"));
        while running.server.connections() > 0 {
            smol::future::yield_now().await;
        }
        let late = TcpStream::connect(running.address).await;
        assert!(late.is_err());
    });
}
