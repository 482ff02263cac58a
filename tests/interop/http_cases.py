"""The HTTP server: the API's envelope, and clients that mean no good."""

import json
import os
import socket
import time
import urllib.parse

from gateway import KEY
from peers import Failure, wait_for
from shared import expect, shared


def raw(gateway, data, seconds=5.0):
    """Sends bytes as they are; what comes back until the server closes or is silent."""
    with socket.create_connection(("127.0.0.1", gateway.http), 5) as tcp:
        tcp.settimeout(seconds)
        answer = b""
        try:
            tcp.sendall(data)
            while part := tcp.recv(65536):
                answer += part
        except OSError:
            pass  # closed in our face, or silent: both are told by what is there
        return answer.decode("latin-1")


def status_of(answer):
    return answer.split(" ")[1] if answer.startswith("HTTP/1.") else answer[:60] or "nothing"


@shared
def forms_of_a_command(_, gateway):
    """Path, trailing slash, cmd, form body, multipart body, any case."""
    query = urllib.parse.urlencode({"account_id": 1, "api_key": KEY})
    forms = [
        (f"/platform_api/GetAccountInfo?{query}", None, {}),
        (f"/platform_api/GetAccountInfo/?{query}", None, {}),
        (f"/platform_api/getaccountinfo/?{query}", None, {}),
        (f"/platform_api?cmd=GetAccountInfo&{query}", None, {}),
        ("/platform_api", "cmd=GetAccountInfo&" + query, {}),
        ("/platform_api/GetAccountInfo/", query, {}),
        ("/platform_api", "--x\r\nContent-Disposition: form-data; name=\"cmd\"\r\n\r\n"
         "GetAccountInfo\r\n--x\r\nContent-Disposition: form-data; name=\"api_key\"\r\n\r\n"
         f"{KEY}\r\n--x\r\nContent-Disposition: form-data; name=\"account_id\"\r\n\r\n"
         "1\r\n--x--\r\n",
         {"Content-Type": "multipart/form-data; boundary=x"}),
    ]
    for path, body, headers in forms:
        status, text = gateway.get(path, body, **headers)
        answer = json.loads(text)
        if status != 200 or answer.get("result", {}).get("account_id") != 1:
            raise Failure(f"{path} {body!r}: {status} {text[:200]}")


@shared
def errors_of_commands(_, gateway):
    cases = [
        ("StartScenarios", {"rule_id": 1, "api_key": "wrong"}, 100),
        ("StartScenarios", {"rule_id": 1, "account_id": 2}, 115),
        ("StartScenarios", {"rule_id": 424242}, 147),
        ("StartScenarios", {}, 101),
        ("AddUser", {"user_name": "x"}, 104),
        ("Frobnicate", {}, 103),
    ]
    for method, parameters, code in cases:
        answer = gateway.api(method, **parameters)
        expect(f"{method} {parameters}", answer.get("error", {}).get("code"), code)
        expect("result beside error", "result" in answer, False)


@shared
def reading_the_configuration(_, gateway):
    rules = gateway.api("GetRules", application_id=1, with_scenarios="true")
    found = {rule["rule_id"]: rule for rule in rules["result"]}
    expect("name", found[1]["rule_name"], "callback")
    expect("scenario", found[1]["scenarios"][0]["scenario_name"], "callback.js")
    expect("rules for 101", [r["rule_name"] for r in gateway.api(
        "GetRules", application_id=1, template="101")["result"]], ["voicemail"])
    names = [s["scenario_name"] for s in gateway.api("GetScenarios", count=100)["result"]]
    if "survey.js" not in names:
        raise Failure(f"scenarios: {names}")
    expect("applications", [a["application_id"] for a in
                            gateway.api("GetApplications")["result"]], [1])


@shared
def access_url_is_a_secret(_, gateway):
    session = gateway.start(6)
    for url in (session.url[:-1] + ("0" if session.url[-1] != "0" else "1"),
                session.url.rsplit("/", 1)[0], session.url.rsplit("/", 1)[0] + "/",
                session.url.replace("/request/", "/request/9")):
        expect(url, gateway.get(url)[0], 404)
    expect("the real one", gateway.get(session.url)[0], 200)
    session.tell(command="end")
    wait_for("the end", session.is_over)


@shared
def malformed_requests(_, gateway):
    """Each gets a refusal or a closed connection; none gets a 200, none hangs."""
    requests = [
        b"\r\n\r\nnonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /platform_api HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /platform_api HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /platform_api HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"Content-Length: 6\r\n\r\nhello",
        b"POST /platform_api HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /platform_api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /platform_api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"POST /platform_api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"FFFFFFFFFFFFFFFFF\r\n",
        bytes(range(256)) * 8,
    ]
    for request in requests:
        answer = raw(gateway, request, 4)
        status = status_of(answer)
        if status.startswith("2") or status == "500":
            raise Failure(f"{request[:80]!r} got {status}")


@shared
def oversized_requests(_, gateway):
    before = gateway.resident_kib()
    line = b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    if not status_of(raw(gateway, line)).startswith(("4", "nothing")):
        raise Failure("an endless request line was taken")
    header = b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 300_000 + b"\r\n\r\n"
    if not status_of(raw(gateway, header)).startswith(("4", "nothing")):
        raise Failure("an endless header was taken")
    many = b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n"
    if not status_of(raw(gateway, many)).startswith(("4", "nothing")):
        raise Failure("20,000 headers were taken")
    expect("a declared body of 1 GB", status_of(raw(
        gateway, b"POST /platform_api HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")),
        "413")
    chunks = b"POST /platform_api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks += (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 600  # 39 MB
    answer = status_of(raw(gateway, chunks))
    if not answer.startswith(("413", "nothing")):
        raise Failure(f"39 MB in chunks got {answer}")
    grown = gateway.resident_kib() - before
    if grown > 30_000:
        raise Failure(f"resident memory grew by {grown} KiB")


@shared
def slow_clients(_, gateway):
    """Those who never come to the end of a header or a body are cut off; others do not notice."""
    sockets = []
    try:
        for start in (b"GET /hea", b"GET /health HTTP/1.1\r\nHost: a\r\nX-",
                      b"POST /platform_api HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\ncmd"):
            for _ in range(10):
                sockets.append(socket.create_connection(("127.0.0.1", gateway.http), 5))
                sockets[-1].sendall(start)
        started = time.monotonic()
        expect("health", gateway.get("/health")[0], 200)
        if time.monotonic() - started > 2:
            raise Failure("slow clients held up another")

        def closed():
            for tcp in sockets:
                tcp.settimeout(0.01)
                try:
                    while tcp.recv(4096):
                        pass
                except TimeoutError:
                    return False
                except OSError:
                    pass
            return True
        wait_for("all of them to be cut off", closed, 75)
    finally:
        for tcp in sockets:
            tcp.close()


@shared
def too_many_clients(_, gateway):
    """Above http_connections (256) connections wait or are refused; afterwards all is well."""
    sockets = []
    try:
        for _ in range(300):
            try:
                sockets.append(socket.create_connection(("127.0.0.1", gateway.http), 1))
            except OSError:
                break
    finally:
        for tcp in sockets:
            tcp.close()
    wait_for("health", lambda: _get_or_none(gateway), 10)


def _get_or_none(gateway):
    try:
        return gateway.get("/health", seconds=2)[0] == 200
    except OSError:
        return None


@shared
def paths_of_files(_, gateway):
    """Logs and recordings are served by name, nothing outside their folders."""
    for path in ("/records/../api_key", "/records/..%2f..%2fconfig.toml", "/records/\0",
                 "/logs/%2e%2e/config.toml", "/records/", "/logs/", "/records//etc/passwd",
                 "/nothing"):
        answer = raw(gateway, b"GET " + path.encode() + b" HTTP/1.1\r\nHost: a\r\n"
                     b"Connection: close\r\n\r\n", 3)
        if status_of(answer) not in ("400", "403", "404"):
            raise Failure(f"{path}: {answer[:200]}")


@shared
def keep_alive_and_pipelining(_, gateway):
    request = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = raw(gateway, request * 3 + last)
    expect("answers", answer.count("HTTP/1.1 200"), 4)


@shared
def session_log_is_served(_, gateway):
    session = gateway.start(1, "wrong")
    row = session.row()
    # The disk writes rows and lines in turns of their own: the row may be there first.
    def log():
        status, text = gateway.get(row["log_file_url"])
        expect("status", status, 200)
        return "session ends: Normal termination" in text
    wait_for("the end in the session's log", log)


@shared
def garbage_on_http(_, gateway):
    for _ in range(50):
        raw(gateway, os.urandom(2000), 0.5)
    expect("health", gateway.get("/health")[0], 200)


CASES = [
    ("a command in all its forms", (), forms_of_a_command),
    ("errors of commands", (), errors_of_commands),
    ("rules, scenarios, applications are read", (), reading_the_configuration),
    ("an access URL is a secret", (), access_url_is_a_secret),
    ("malformed HTTP", (), malformed_requests),
    ("oversized HTTP", (), oversized_requests),
    ("slow HTTP clients", (), slow_clients),
    ("too many HTTP clients", (), too_many_clients),
    ("paths that leave the folder", (), paths_of_files),
    ("keep-alive and pipelining", (), keep_alive_and_pipelining),
    ("a session's log is served", (), session_log_is_served),
    ("garbage on the HTTP port", (), garbage_on_http),
]
