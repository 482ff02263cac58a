//! The client against raw servers on loopback.

use std::sync::Mutex;
use std::time::Instant;

use data_encoding::BASE64;
use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{RootCertStore, ServerConfig};
use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

use super::*;

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(80);
const POOL: usize = 100_000;

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(6),
        total: Duration::from_secs(90),
        body_bytes: 50_000,
        fetches: 4,
    }
}

/// A server that answers each connection with the next of its answers and keeps what it was
/// asked; after the last one it holds connections without a word.
struct World {
    port: u16,
    asked: Rc<Mutex<Vec<String>>>,
    pool: Pool,
    client: Client,
}

impl World {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn get(&self, path: &str) -> HttpResult {
        self.client.fetch(&HttpRequest { url: self.url(path), ..HttpRequest::default() }).await
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn run(answers: &[&str], limits: Limits, test: impl AsyncFnOnce(World)) {
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Rc::new(Mutex::new(Vec::new()));
        let pool = Pool::new(POOL);
        let client = Client::with_tls(limits, pool.clone(), public_authorities());
        // `PORT` in an answer is the server's own.
        let answers: Vec<String> =
            answers.iter().map(|answer| answer.replace("PORT", &port.to_string())).collect();
        let seen = asked.clone();
        let server = async move {
            let mut held = Vec::new();
            let mut answers = answers.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(answer) = answers.next() else {
                    held.push(stream);
                    continue;
                };
                let request = read_request(&mut stream).await;
                seen.lock().unwrap().push(request);
                // The client may have seen enough.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        };
        executor.spawn(server).detach();
        test(World { port, asked, pool, client }).await;
    }));
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if count == 0 {
            return text;
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return text;
        }
    }
}

/// The code of a GET that is answered so.
fn code_of(answer: &str) -> (i32, String) {
    let mut result = HttpResult::default();
    run(&[answer], limits(), async |world| {
        result = world.get("/").await;
        assert_eq!(world.pool.free(), POOL);
    });
    (result.code, result.error)
}

#[test]
fn answer_comes_with_its_head_as_it_was_sent() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
        HTTP/1.1 404 Not Here\r\nX-CaSe: a\r\nX-CaSe: b\r\nContent-Length: 4\r\n\r\nbody";
    run(&[answer], limits(), async |world| {
        let result = world.get("/a?b=ä").await;
        assert_eq!((result.code, result.error.as_str()), (404, ""));
        let head = "HTTP/1.1 404 Not Here\r\nX-CaSe: a\r\nX-CaSe: b\r\nContent-Length: 4";
        assert_eq!(result.raw_headers, head);
        assert_eq!(result.headers[1], ("X-CaSe".to_owned(), "b".to_owned()));
        assert_eq!(result.body, b"body");
        assert_eq!(world.pool.free(), POOL);
        let asked = &world.asked()[0];
        assert!(asked.starts_with("GET /a?b=%C3%A4 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", world.port)), "{asked}");
        assert!(asked.contains("\r\nuser-agent: VoxEngine/1.0\r\n"), "{asked}");
        assert!(asked.contains("\r\nconnection: close\r\n"), "{asked}");
        assert!(!asked.contains("accept-encoding") && !asked.contains("content-"), "{asked}");
    });
}

#[test]
fn body_and_fields_are_sent_as_the_script_says() {
    run(&["HTTP/1.1 204 No Content\r\n\r\n"], limits(), async |world| {
        let headers = [
            ("User-Agent", "mine"),
            ("X-A", "ä"),
            ("Content-Length", "999"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "keep-alive"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let request = HttpRequest {
            url: world.url("/"),
            method: "post".into(),
            headers: headers.map(owned).to_vec(),
            body: b"hello".to_vec(),
            ..HttpRequest::default()
        };
        let result = world.client.fetch(&request).await;
        assert_eq!((result.code, result.body.len()), (204, 0));
        let asked = &world.asked()[0];
        assert!(asked.starts_with("POST / HTTP/1.1\r\n") && asked.ends_with("\r\n\r\nhello"));
        assert!(asked.contains("\r\nuser-agent: mine\r\n"), "{asked}");
        assert!(asked.contains("\r\nx-a: ä\r\n"), "{asked}");
        assert!(asked.contains("\r\ncontent-length: 5\r\n"), "{asked}");
        assert!(asked.contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"));
        assert!(asked.contains("\r\nconnection: close\r\n") && !asked.contains("chunked"));
    });
}

#[test]
fn post_without_a_body_says_so() {
    run(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], limits(), async |world| {
        let request =
            HttpRequest { url: world.url("/"), method: "POST".into(), ..HttpRequest::default() };
        assert_eq!(world.client.fetch(&request).await.code, 200);
        assert!(world.asked()[0].contains("content-length: 0\r\n"), "{:?}", world.asked());
    });
}

#[test]
fn chunked_and_unframed_bodies_are_read_to_their_end() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: t\r\n\r\n";
    let unframed = "HTTP/1.0 200 OK\r\n\r\nabcde";
    run(&[chunked, unframed], limits(), async |world| {
        assert_eq!(world.get("/").await.body, b"abcde");
        assert_eq!(world.get("/").await.body, b"abcde");
    });
}

#[test]
fn redirects_are_followed_and_posts_become_gets_where_they_must() {
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")]
    {
        let first = format!("HTTP/1.1 {status} X\r\nLocation: ../b?c\r\nContent-Length: 0\r\n\r\n");
        run(&[&first, "HTTP/1.1 200 OK\r\n\r\nx"], limits(), async |world| {
            let request = HttpRequest {
                url: world.url("/a/a"),
                method: "POST".into(),
                headers: vec![("Authorization".into(), "Bearer t".into())],
                body: b"hello".to_vec(),
                ..HttpRequest::default()
            };
            assert_eq!(world.client.fetch(&request).await.code, 200);
            let asked = &world.asked()[1];
            assert!(asked.starts_with(&format!("{method} /b?c HTTP/1.1\r\n")), "{asked}");
            assert_eq!(asked.ends_with("hello"), method == "POST", "{asked}");
            assert_eq!(asked.contains("content-type"), method == "POST", "{asked}");
            // The same server still gets what was meant for it.
            assert!(asked.contains("authorization: Bearer t"), "{asked}");
        });
    }
}

#[test]
fn credentials_do_not_go_to_another_host() {
    let away = "HTTP/1.1 302 X\r\nLocation: http://localhost:PORT/\r\n\r\n";
    run(&[away, "HTTP/1.1 200 OK\r\n\r\n"], limits(), async |world| {
        let headers = ["Authorization", "Cookie", "X-Other"];
        let request = HttpRequest {
            url: world.url("/").replace("//", "//user:word@"),
            headers: headers.map(|name| (name.to_owned(), "v".to_owned())).to_vec(),
            ..HttpRequest::default()
        };
        assert_eq!(world.client.fetch(&request).await.code, 200);
        let asked = &world.asked()[1];
        assert!(asked.contains(&format!("host: localhost:{}", world.port)), "{asked}");
        assert!(!asked.contains("authorization") && !asked.contains("cookie"), "{asked}");
        assert!(asked.contains("x-other: v"), "{asked}");
    });
}

#[test]
fn credentials_of_the_url_are_sent_as_basic() {
    run(&["HTTP/1.1 200 OK\r\n\r\n"], limits(), async |world| {
        let url = world.url("/").replace("//", "//Aladdin:open%20sesame@");
        world.client.fetch(&HttpRequest { url, ..HttpRequest::default() }).await;
        let basic = "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
        assert!(world.asked()[0].contains(basic), "{:?}", world.asked());
    });
}

#[test]
fn sixth_redirect_is_too_many() {
    let on = "HTTP/1.1 302 X\r\nLocation: /\r\n\r\n";
    run(&[on; 6], limits(), async |world| {
        assert_eq!(world.get("/").await.code, -5);
        assert_eq!(world.asked().len(), 6);
    });
    run(&[on, on, on, on, on, "HTTP/1.1 200 OK\r\n\r\n"], limits(), async |world| {
        assert_eq!(world.get("/").await.code, 200);
    });
}

#[test]
fn redirect_without_or_to_nowhere() {
    assert_eq!(code_of("HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n").0, 302);
    assert_eq!(code_of("HTTP/1.1 302 X\r\nLocation: ftp://h/\r\n\r\n").0, -2);
    assert_eq!(code_of("HTTP/1.1 304 Not Modified\r\nLocation: /\r\n\r\n").0, 304);
}

#[test]
fn malformed_request_never_leaves() {
    run(&[], limits(), async |world| {
        let code = async |change: fn(&mut HttpRequest)| {
            let mut request = HttpRequest { url: world.url("/"), ..HttpRequest::default() };
            change(&mut request);
            world.client.fetch(&request).await.code
        };
        assert_eq!(code(|request| request.url = "nonsense".into()).await, -2);
        assert_eq!(code(|request| request.url = "file:///etc/passwd".into()).await, -2);
        assert_eq!(code(|request| request.method = "G ET".into()).await, -8);
        assert_eq!(code(|request| request.method = "CONNECT".into()).await, -8);
        let name = |request: &mut HttpRequest| request.headers = vec![("a b".into(), "c".into())];
        assert_eq!(code(name).await, -8);
        let value = |request: &mut HttpRequest| {
            request.headers = vec![("a".into(), "b\r\nc: d".into())];
        };
        assert_eq!(code(value).await, -8);
        assert!(world.asked().is_empty());
    });
}

#[test]
fn unknown_host_and_refused_connection_have_their_codes() {
    run(&[], limits(), async |world| {
        let code = async |url: String| {
            world.client.fetch(&HttpRequest { url, ..HttpRequest::default() }).await.code
        };
        // A label of 64 letters: no name that a resolver would ask anybody for.
        assert_eq!(code(format!("http://{}/", "a".repeat(64))).await, -3);
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        assert_eq!(code(format!("http://127.0.0.1:{port}/")).await, -4);
        assert_eq!(code(format!("https://127.0.0.1:{port}/")).await, -4);
    });
}

#[test]
fn server_that_speaks_no_tls_is_a_connection_error() {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let client = Client::with_tls(limits(), Pool::new(POOL), public_authorities());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            pending().await
        };
        let request = HttpRequest { url, ..HttpRequest::default() };
        let result = or(client.fetch(&request), server).await;
        assert_eq!(result.code, -4, "{result:?}");
    });
}

#[test]
fn broken_answers_are_network_errors() {
    for answer in [
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX: ",
    ] {
        let (code, error) = code_of(answer);
        assert_eq!(code, -6, "{answer:?}: {error}");
        assert!(!error.is_empty());
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(200_000));
    assert_eq!(code_of(&endless).0, -6);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(201));
    assert_eq!(code_of(&many).0, -6);
}

#[test]
fn body_beyond_the_limit_is_code_9() {
    let declared = "HTTP/1.1 200 OK\r\nContent-Length: 50001\r\n\r\n";
    assert_eq!(code_of(declared).0, -9);
    let chunk = format!("2710\r\n{}\r\n", "x".repeat(10_000));
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(6));
    assert_eq!(code_of(&chunked).0, -9);
    let whole = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(50_000));
    assert_eq!(code_of(&whole).0, 200);
    run(&[&whole], limits(), async |world| {
        let request = HttpRequest { url: world.url("/"), ..HttpRequest::default() };
        let (parts, _kept) = smol::channel::bounded(64);
        let (time, pause) = (Duration::from_secs(90), Duration::from_secs(12));
        let streaming = Streaming { parts: &parts, most_bytes: 49_999, time, pause };
        assert_eq!(world.client.fetch_parts(&request, streaming).await.code, -9);
    });
}

#[test]
fn time_outs_are_code_7_and_only_lowered() {
    run(&[], Limits { total: SHORT, ..limits() }, async |world| {
        let result = world.get("/").await;
        assert_eq!((result.code, result.error.as_str()), (-7, "no whole answer in time"));
    });
    run(&[], limits(), async |world| {
        let began = Instant::now();
        let request =
            HttpRequest { url: world.url("/"), timeout_s: 0.05, ..HttpRequest::default() };
        assert_eq!(world.client.fetch(&request).await.code, -7);
        assert!(began.elapsed() < Duration::from_secs(60));
    });
    let minute = Duration::from_secs(60);
    assert_eq!(lowered(61.0, minute), minute);
    assert_eq!(lowered(0.5, minute), Duration::from_millis(500));
    for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
        assert_eq!(lowered(nonsense, minute), minute);
    }
}

#[test]
fn connection_that_does_not_come_about_in_time_is_code_7() {
    // TLS with a server that says nothing: the handshake is part of the connection.
    run(&[], Limits { connect: SHORT, ..limits() }, async |world| {
        let url = world.url("/").replace("http:", "https:");
        let result = world.client.fetch(&HttpRequest { url, ..HttpRequest::default() }).await;
        assert_eq!((result.code, result.error.as_str()), (-7, "no connection in time"));
    });
}

#[test]
fn requests_beyond_the_limit_are_code_0_and_dropping_one_makes_room() {
    run(&["HTTP/1.1 200 OK\r\n\r\n"], Limits { fetches: 1, ..limits() }, async |world| {
        let mut first = Box::pin(world.get("/"));
        assert!(smol::future::poll_once(&mut first).await.is_none());
        assert_eq!(world.get("/").await.code, 0);
        assert_eq!(first.await.code, 200);
        let mut dropped = Box::pin(world.get("/"));
        assert!(smol::future::poll_once(&mut dropped).await.is_none());
        drop(dropped);
        let request =
            HttpRequest { url: world.url("/"), timeout_s: 0.05, ..HttpRequest::default() };
        assert_eq!(world.client.fetch(&request).await.code, -7);
    });
}

#[test]
fn bodies_share_the_pool() {
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(50_000));
    run(&[&answer], limits(), async |world| {
        let mut other = world.pool.share();
        other.grow(POOL - 1000).unwrap();
        assert_eq!(world.get("/").await.code, 0);
        let body = vec![0; 1001];
        let request = HttpRequest { url: world.url("/"), body, ..HttpRequest::default() };
        assert_eq!(world.client.fetch(&request).await.code, 0);
        assert_eq!(world.pool.free(), 1000);
    });
}

#[test]
fn dropped_request_closes_its_connection() {
    run(&[], limits(), async |world| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let request = HttpRequest { url, ..HttpRequest::default() };
        let accepted = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            Ok(stream)
        };
        let answered = async { Err(world.client.fetch(&request).await) };
        let mut stream = or(answered, accepted).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn redirect_into_this_machine_is_refused_unless_it_began_there() {
    let client = Client::with_tls(limits(), Pool::new(0), public_authorities());
    let hop = |url: &str| {
        let request = HttpRequest { url: url.into(), ..HttpRequest::default() };
        Hop::first(&request, SHORT).unwrap()
    };
    smol::block_on(async {
        for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost"] {
            let hop = hop(&format!("http://{host}/"));
            let outside = client.shared.addresses(&hop, Some(false)).await;
            assert_eq!(outside.unwrap_err().code, -4, "{host}");
            assert!(client.shared.addresses(&hop, Some(true)).await.is_ok());
            assert!(client.shared.addresses(&hop, None).await.is_ok());
        }
    });
}

#[test]
fn https_is_spoken_with_servers_of_a_known_authority_only() {
    let decoded = |base64: &str| BASE64.decode(base64.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(decoded(AUTHORITY))).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(decoded(CERTIFICATE))],
            PrivateKeyDer::try_from(decoded(KEY)).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve_tls(&acceptor, stream).await;
            }
        };
        executor.spawn(server).detach();
        let tls = Arc::new(tls::trusting(roots));
        let client = Client::with_tls(limits(), Pool::new(POOL), tls);
        let get = async |client: &Client, host: &str| {
            let url = format!("https://{host}:{port}/");
            client.fetch(&HttpRequest { url, ..HttpRequest::default() }).await
        };
        for host in ["localhost", "127.0.0.1", "localhost"] {
            let result = get(&client, host).await;
            assert_eq!((result.code, result.body.as_slice()), (200, &b"secret"[..]), "{result:?}");
        }
        // The certificate names 127.0.0.1 and localhost.
        let result = get(&client, "127.0.0.2").await;
        assert_eq!(result.code, -4, "{result:?}");
        let strangers = Client::new(limits(), Pool::new(POOL));
        let result = get(&strangers, "localhost").await;
        assert_eq!(result.code, -4, "{result:?}");
        assert!(result.error.contains("certificate"), "{result:?}");
    }));
}

async fn serve_tls(acceptor: &TlsAcceptor, stream: TcpStream) {
    // A client that does not trust us hangs up.
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    if read_request(&mut stream).await.is_empty() {
        return;
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    stream.write_all(answer).await.unwrap();
    stream.flush().await.unwrap();
}

/// A certificate authority made for this test, 2000 to 2100.
const AUTHORITY: &str = "MIIBfDCCASGgAwIBAgIBATAKBggqhkjOPQQDAjAkMSIwIAYDVQQDDBlicmFuY2hsaW5lIHRlc3Qg\
    YXV0aG9yaXR5MCAXDTAwMDEwMTAwMDAwMFoYDzIxMDAwMTAxMDAwMDAwWjAkMSIwIAYDVQQDDBli\
    cmFuY2hsaW5lIHRlc3QgYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8qajO46u\
    bVPj9w4uNIAXT74TCM8Vwfq6IWg55R0eaYe7F6+MnvBCh/hmTNWvsOfQZcGtkoSRU9HH65OVIAnd\
    4KNCMEAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAgQwHQYDVR0OBBYEFBWhhimMv8Nb\
    2TYXMfDujfmMvm//MAoGCCqGSM49BAMCA0kAMEYCIQDaZdATdSeDQPGNngAsb3Wt1JhyQ4ULVjfw\
    7H9RkVejwwIhAL0eR/jw6jZ0IR2F9S6Hyt+j37UVkGwl70PpuG9NNL28";
/// Of `localhost` and 127.0.0.1, by that authority.
const CERTIFICATE: &str = "MIIBlDCCATugAwIBAgIBAjAKBggqhkjOPQQDAjAkMSIwIAYDVQQDDBlicmFuY2hsaW5lIHRlc3Qg\
    YXV0aG9yaXR5MCAXDTAwMDEwMTAwMDAwMFoYDzIxMDAwMTAxMDAwMDAwWjAUMRIwEAYDVQQDDAls\
    b2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS+FQTyrPsN58aBVM3GnXqhLV8De0XZ\
    fJSQc+vr7EeFbLS0lxJnvo6nV0fv6MQZyz/nrJfHXkTsMB+iuICO+JNAo2wwajAMBgNVHRMBAf8E\
    AjAAMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAdBgNVHQ4EFgQUlxi9NCbEzNgR4DEg5Qdq\
    sbFidiowHwYDVR0jBBgwFoAUFaGGKYy/w1vZNhcx8O6N+Yy+b/8wCgYIKoZIzj0EAwIDRwAwRAIg\
    DjjDZbeKx0FL9cRkIWwej0pgJ5nKo0/wdmIU7iRcbNYCIDHunYS3kDnlVjNrKxsRdTwYPaThTkEH\
    I0KsF2AHJ0QB";
/// To the certificate, good for nothing else.
const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgcS2+RBeqfUaFzG7+zXNCGQHfhRZB\
    4kafGYR+h7LKegGhRANCAAS+FQTyrPsN58aBVM3GnXqhLV8De0XZfJSQc+vr7EeFbLS0lxJnvo6n\
    V0fv6MQZyz/nrJfHXkTsMB+iuICO+JNA";
