"""check.py COMMAND...: start the gateway that COMMAND names and talk to it (see check.sh)."""

import os
import socket
import subprocess
import sys
import tempfile
import time

OPTIONS = (
    "OPTIONS sip:127.0.0.1:{sip} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKcheck{attempt};rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:check@127.0.0.1>;tag=check\r\n"
    "To: <sip:127.0.0.1:{sip}>\r\n"
    "Call-ID: check{attempt}@127.0.0.1\r\n"
    "CSeq: 1 OPTIONS\r\n"
    "Content-Length: 0\r\n\r\n"
)
CONFIG = """
[gateway]
data_dir = "data"
scenarios_dir = "scenarios"
[control]
listen = ["127.0.0.1:{http}"]
[sip]
listen = ["udp://127.0.0.1:{sip}", "tcp://127.0.0.1:{sip}"]
[media]
rtp_ports = [{rtp}, {rtp_end}]
[limits]
sessions = 10
"""


def free_port():
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        return tcp.getsockname()[1]


def until(what, attempt, child, seconds=60):
    """`attempt` until it answers something; emulation is slow to start."""
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        if child.poll() is not None:
            sys.exit(f"  it ended with status {child.returncode} before {what}")
        count += 1
        try:
            answer = attempt(count)
        except OSError:
            time.sleep(0.1)  # nobody listens yet
            continue
        if answer:
            return answer
    sys.exit(f"  no answer to {what} in {seconds} s")


def main():
    sip, http = free_port(), free_port()
    folder = tempfile.mkdtemp(prefix="branchline-check-")
    os.mkdir(os.path.join(folder, "scenarios"))
    config = os.path.join(folder, "config.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(CONFIG.format(http=http, sip=sip, rtp=26000, rtp_end=26099))
    log_path = os.path.join(folder, "log")
    with open(log_path, "wb") as log:
        child = subprocess.Popen([*sys.argv[1:], "run", "--config", config],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    started = time.monotonic()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.settimeout(0.5)

    def options(attempt):
        text = OPTIONS.format(sip=sip, own=udp.getsockname()[1], attempt=attempt)
        udp.sendto(text.encode(), ("127.0.0.1", sip))
        return udp.recv(65536).decode("utf-8", "replace")

    def health(_):
        with socket.create_connection(("127.0.0.1", http), 2) as tcp:
            tcp.settimeout(5)
            tcp.sendall(b"GET /health HTTP/1.1\r\nHost: check\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := tcp.recv(65536):
                answer += data
            return answer.decode("utf-8", "replace")

    try:
        for what, attempt, want in (("SIP OPTIONS", options, "SIP/2.0 200 "),
                                    ("GET /health", health, "HTTP/1.1 200 ")):
            first = until(what, attempt, child).split("\r\n")[0]
            print(f"  {what}: {first} ({time.monotonic() - started:.1f} s after the start)")
            if not first.startswith(want):
                sys.exit(f"  wanted {want}")
        child.terminate()
        try:
            status = child.wait(30)
        except subprocess.TimeoutExpired:
            sys.exit("  SIGTERM did not end it in 30 s")
        print(f"  SIGTERM: status {status}")
        if status != 0:
            sys.exit(1)
    except SystemExit:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            print("  its log ends:\n" + log.read()[-2000:])
        raise
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


main()
