"""TLS, WebSocket and IPv6 with other programs, and connections that mean no good.

Certificates are made by `openssl` at each run (tests/data/tls/make.sh); the WebSocket client is
of the standard library alone.
"""

import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

from gateway import OPTIONS, TOP, Gateway
from peers import Failure, Phone, free_ports, wait_for
from shared import PASSWORD, expect, rules

HALF_OPEN = 1000

TABLES = """
[[trunk]]
name = "pbx"
server = "sip:localhost:{tls_peer};transport=tls"
options_s = 0
accept_from = ["127.0.0.5"]
tls = {{ ca = "certificates/ca.pem", cert = "certificates/client.pem", key = "certificates/client.key" }}
[[trunk]]
name = "stranger"
server = "sip:127.0.0.9:{tls_peer};transport=tls"
options_s = 0
accept_from = ["127.0.0.9"]
[[route]]
pattern = '2\\d+'
trunks = ["pbx"]
[[route]]
pattern = '3\\d+'
trunks = ["stranger"]
[[user]]
name = "alice"
password = "correct-horse"
[[application]]
id = 1
name = "branch"
"""


class Secure(Gateway):
    """A gateway on every transport and both families."""

    def __init__(self, world, **more):
        self.tls, self.ws, self.wss, self.tls_peer = free_ports(4)
        listen = "".join(f', "{one}"' for one in (
            f"tls://127.0.0.1:{self.tls}", f"ws://127.0.0.1:{self.ws}",
            f"wss://127.0.0.1:{self.wss}", f"tls://[::1]:{self.tls}"))
        listen += ', "udp://[::1]:{0}", "tcp://[::1]:{0}"'
        keys = ('tls = { cert = "certificates/server.pem", key = "certificates/server.key", '
                'ca = "certificates/ca.pem" }\nws_origins = ["https://phone.example"]')
        tables = TABLES.replace("{tls_peer}", str(self.tls_peer)) + rules()
        super().__init__(world.binary, world.folder, tables, name="secure", listen=listen,
                         sip_keys=keys, before=self.prepare, wait=False, **more)
        self.wait_up()

    def configure(self, tables):
        self.values["listen"] = self.values["listen"].replace("{0}", str(self.sip))
        super().configure(tables)

    def prepare(self, _):
        self.certificates = os.path.join(self.folder, "certificates")
        os.makedirs(self.certificates)
        make = shutil.copy(os.path.join(TOP, "tests/data/tls/make.sh"), self.certificates)
        made = subprocess.run(["sh", make], capture_output=True, text=True, check=False)
        if made.returncode:
            raise Failure(f"openssl: {made.stderr[-500:]}")

    def certificate(self, name):
        return os.path.join(self.certificates, name)


def secure(case):
    """A case with a gateway of its own, which ends in order."""
    def run(world):
        gateway = Secure(world)
        try:
            case(world, gateway)
            gateway.wait_idle()
            gateway.stop()
        finally:
            gateway.process.end()
    run.__doc__ = case.__doc__
    return run


def options(gateway, transport, mark):
    return OPTIONS.format(sip=gateway.sip, own=40000, transport=transport, mark=mark).encode()


def s_client(gateway, *more, trusted="ca.pem", name="localhost"):
    """The status line that `openssl s_client` gets for an OPTIONS; None where there is none."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.tls}", "-quiet",
               "-CAfile", gateway.certificate(trusted), "-verify_return_error",
               "-verify_hostname", name, *more]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                             stderr=subprocess.DEVNULL)
    timer = threading.Timer(5, child.kill)
    timer.start()
    try:
        child.stdin.write(options(gateway, "TLS", f"s{time.monotonic_ns()}"))
        return child.stdout.readline().decode().strip() or None
    except BrokenPipeError:
        return None
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


@secure
def tls_with_openssl(_, gateway):
    for version in ("-tls1_2", "-tls1_3"):
        expect(version, s_client(gateway, version), "SIP/2.0 200 OK")
    expect("another name", s_client(gateway, name="other.example"), None)
    expect("another authority", s_client(gateway, trusted="other-ca.pem"), None)
    expect("TLS 1.1", s_client(gateway, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), None)


@secure
def tls_of_a_trunk_is_mutual(_, gateway):
    """From the trunk's address nobody gets through the handshake without its certificate."""
    def status(*own):
        return s_client(gateway, "-bind", "127.0.0.5:0", *own)

    def shown(name):
        return ("-cert", gateway.certificate(f"{name}.pem"),
                "-key", gateway.certificate(f"{name}.key"))
    expect("with its certificate", status(*shown("client")), "SIP/2.0 200 OK")
    expect("without", status(), None)
    expect("with another's", status(*shown("stranger")), None)
    if gateway.metrics()["sip_tls_failed_total"] < 2:
        raise Failure("failed handshakes are not counted")


@secure
def tls_certificate_is_read_again(_, gateway):
    before = s_client(gateway, trusted="self-signed.pem", name="localhost")
    expect("not trusted yet", before, None)
    for kind in ("pem", "key"):
        shutil.copy(gateway.certificate(f"self-signed.{kind}"),
                    gateway.certificate(f"server.{kind}"))
    gateway.signal(signal.SIGHUP)
    wait_for("the new certificate", lambda: s_client(
        gateway, trusted="self-signed.pem") == "SIP/2.0 200 OK")


class Server:
    """A PBX over TLS that refuses every INVITE with 486, and keeps what it was sent."""

    def __init__(self, gateway, certificate, wants_client=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(gateway.certificate(f"{certificate}.pem"),
                                gateway.certificate(f"{certificate}.key"))
        if wants_client:
            context.load_verify_locations(gateway.certificate("ca.pem"))
            context.verify_mode = ssl.CERT_REQUIRED
        self.requests, self.errors, self.connections = [], [], 0
        self.context = context
        self.listeners = []
        for address in ("127.0.0.1", "127.0.0.9"):
            listener = socket.create_server((address, gateway.tls_peer))
            self.listeners.append(listener)
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener):
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                with self.context.wrap_socket(plain, server_side=True) as peer:
                    self._answer(peer)
            except OSError as error:
                self.errors.append(str(error))

    def _answer(self, peer):
        held = b""
        while data := peer.recv(65536):
            held += data
            while b"\r\n\r\n" in held:
                head, _, rest = held.partition(b"\r\n\r\n")
                size = int(re.search(rb"(?im)^Content-Length: *(\d+)", head).group(1))
                if len(rest) < size:
                    break
                held = rest[size:]
                text = head.decode()
                self.requests.append(text)
                if text.startswith("INVITE "):
                    peer.sendall(response(text, "486 Busy Here").encode())

    def end(self):
        for listener in self.listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def response(request, status):
    """To a request's head, with what belongs together copied."""
    kept = re.findall(r"(?im)^((?:Via|From|To|Call-ID|CSeq): .*?)\r?$", request)
    lines = [line + ";tag=there" if line.lower().startswith("to:") and ";tag=" not in line else line
             for line in kept]
    return "\r\n".join([f"SIP/2.0 {status}", *lines, "Content-Length: 0", "", ""])


@secure
def trunk_over_tls(_, gateway):
    """Out over TLS with our certificate, on one connection; not to a server of another name."""
    server = Server(gateway, "server", wants_client=True)
    try:
        for _ in range(2):
            session = gateway.start(21, {"number": "200"})
            expect("code", session.until_seen("Failed")["code"], 486)
            session.tell(command="end")
        expect("connections", server.connections, 1)
        invite = next(text for text in server.requests if text.startswith("INVITE "))
        for pattern in (r"(?m)^Via: SIP/2\.0/TLS ", r"(?m)^Contact: <.*;transport=tls>"):
            if not re.search(pattern, invite):
                raise Failure(f"no {pattern} in {invite}")
        # No certificate of ours says 127.0.0.9.
        session = gateway.start(21, {"number": "300"})
        expect("code", session.until_seen("Failed")["code"], 503)
        session.tell(command="end")
    finally:
        server.end()


@secure
def phone_over_tls(world, gateway):
    """baresip registers over TLS with our certificate checked, is called and calls."""
    port = free_ports(1)[0]
    phone = Phone(world.folder, "tls", port, registrar=f"127.0.0.1:{gateway.tls}", user="alice",
                  password=PASSWORD, transport="tls", microphone_hz=440,
                  lines=f"sip_cafile {gateway.certificate('ca.pem')}\n")
    try:
        phone.registered()
        session = gateway.start(21, {"user": "alice"})
        session.until_seen("Connected")
        phone.expect("CALL_ESTABLISHED")
        session.tell(command="end")
        phone.expect("CALL_CLOSED")
        phone.dial(f"sip:800@127.0.0.1:{gateway.tls};transport=tls")
        phone.expect("CALL_ESTABLISHED", count=2)
        phone.expect("CALL_RTPESTAB")
        phone.hang_up()
    finally:
        phone.end()


@secure
def phone_over_ipv6(world, gateway):
    """Signalling and sound of an IPv6 phone are IPv6."""
    port = free_ports(1, "::1")[0]
    phone = Phone(world.folder, "v6", port, registrar=f"[::1]:{gateway.sip}", user="alice",
                  password=PASSWORD, address="::1", microphone_hz=440)
    try:
        phone.registered()
        phone.dial(f"sip:800@[::1]:{gateway.sip}")
        phone.expect("CALL_ESTABLISHED")
        phone.expect("CALL_RTPESTAB")
        wait_for("sound", lambda: phone.seconds_heard() > 1.0)
        phone.hang_up()
    finally:
        phone.end()


class WebSocketPhone:
    """A SIP user over WebSocket (RFC 6455, RFC 7118), as a browser would be."""

    def __init__(self, gateway, is_secure, origin="https://phone.example"):
        self.gateway, self.name = gateway, "WSS" if is_secure else "WS"
        port = gateway.wss if is_secure else gateway.ws
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        if is_secure:
            context = ssl.create_default_context(cafile=gateway.certificate("ca.pem"))
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.socket.settimeout(10)
        self.held, self.sequence = b"", 0
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((
            f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nOrigin: {origin}\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.held:
            data = self.socket.recv(4096)
            if not data:
                raise Failure("closed in the upgrade")
            self.held += data
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        if self.status == 101:
            magic = (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
            accept = base64.b64encode(hashlib.sha1(magic).digest())
            if b"Sec-WebSocket-Accept: " + accept not in head:
                raise Failure(f"wrong accept: {head}")

    def frame(self, opcode, payload, is_last=True):
        if isinstance(payload, str):
            payload = payload.encode()
        mask = os.urandom(4)
        length = (bytes([0x80 | len(payload)]) if len(payload) < 126
                  else bytes([0x80 | 126]) + struct.pack(">H", len(payload)))
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 * is_last | opcode]) + length + mask + masked)

    def read(self):
        """(opcode, payload) of the next frame; (8, b"") at the end."""
        def take(count):
            while len(self.held) < count:
                data = self.socket.recv(65536)
                if not data:
                    raise EOFError
                self.held += data
            taken, self.held = self.held[:count], self.held[count:]
            return taken
        try:
            first, length = take(2)
            if length == 126:
                length = struct.unpack(">H", take(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", take(8))[0]
            return first & 0x0f, take(length)
        except EOFError:
            return 8, b""

    def message(self):
        """The next SIP message; pings on the way are answered."""
        while True:
            opcode, payload = self.read()
            if opcode == 9:
                self.frame(10, payload)
            elif opcode in (1, 2):
                return payload.decode()
            elif opcode == 8:
                raise Failure("the WebSocket is closed")

    def register(self):
        """With digest; the final status line."""
        authorization = ""
        for _ in range(2):
            self.sequence += 1
            self.frame(1, (
                f"REGISTER sip:localhost SIP/2.0\r\n"
                f"Via: SIP/2.0/{self.name} df7jal23ls0d.invalid;branch=z9hG4bKws{self.sequence}\r\n"
                "Max-Forwards: 70\r\nFrom: <sip:alice@localhost>;tag=ws\r\n"
                f"To: <sip:alice@localhost>\r\nCall-ID: ws{id(self)}\r\n"
                f"CSeq: {self.sequence} REGISTER\r\n"
                "Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws>;expires=300\r\n"
                # No Content-Length: the frame says how long it is.
                f"{authorization}\r\n"))
            answer = self.message()
            if not answer.startswith("SIP/2.0 401"):
                return answer.split("\r\n")[0]
            realm, nonce = (re.search(f'{name}="([^"]*)"', answer).group(1)
                            for name in ("realm", "nonce"))

            def md5(text):
                return hashlib.md5(text.encode()).hexdigest()
            proof = md5(f"{md5(f'alice:{realm}:{PASSWORD}')}:{nonce}:00000001:c:auth:"
                        f"{md5('REGISTER:sip:localhost')}")
            authorization = (
                f'Authorization: Digest username="alice", realm="{realm}", nonce="{nonce}", '
                f'uri="sip:localhost", response="{proof}", algorithm=MD5, qop=auth, '
                'nc=00000001, cnonce="c"\r\n')
        return answer.split("\r\n")[0]

    def close(self):
        self.socket.close()


def is_called(gateway, phone):
    """A call to the phone comes over the connection that registered, and is refused there."""
    session = gateway.start(21, {"user": "alice"})
    invite = phone.message()
    for pattern in (r"^INVITE sip:alice@df7jal23ls0d\.invalid", rf"(?m)^Via: SIP/2\.0/{phone.name} ",
                    r"(?m)^Contact: <.*;transport=ws>"):
        if not re.search(pattern, invite):
            raise Failure(f"no {pattern} in {invite}")
    phone.frame(1, response(invite, "486 Busy Here"))
    expect("code", session.until_seen("Failed")["code"], 486)
    expect("ACK", phone.message()[:4], "ACK ")
    session.tell(command="end")


def websocket(is_secure):
    def case(_, gateway):
        phone = WebSocketPhone(gateway, is_secure)
        expect("upgrade", phone.status, 101)
        expect("REGISTER", phone.register(), "SIP/2.0 200 OK")
        is_called(gateway, phone)
        phone.frame(9, b"there?")
        expect("pong", phone.read(), (10, b"there?"))
        phone.frame(1, "\r\n\r\n")
        expect("keep-alive", phone.read(), (1, b"\r\n"))
        request = options(gateway, phone.name, "fragments")
        phone.frame(1, request[:9], is_last=False)
        phone.frame(0, request[9:])
        expect("OPTIONS", phone.message().split("\r\n")[0], "SIP/2.0 200 OK")
        phone.frame(8, b"\x03\xe8")
        expect("close", phone.read(), (8, b"\x03\xe8"))
        phone.close()
        # Whoever was there is gone: no way to it is left.
        session = gateway.start(21, {"user": "alice"})
        expect("code", session.until_seen("Failed")["code"], 480)
        session.tell(command="end")
        foreign = WebSocketPhone(gateway, is_secure, origin="https://evil.example")
        expect("upgrade", foreign.status, 403)
        foreign.close()
    return secure(case)


@secure
def half_open_connections(_, gateway):
    """A thousand connections that say nothing, of each kind: a registered phone stays."""
    phone = WebSocketPhone(gateway, True)
    expect("REGISTER", phone.register(), "SIP/2.0 200 OK")
    for port in (gateway.sip, gateway.tls, gateway.ws):
        silent = []
        for number in range(HALF_OPEN):
            peer = socket.socket()
            peer.settimeout(5)
            peer.connect(("127.0.0.1", port))
            if number % 2:
                # A message, record or request that never ends.
                peer.sendall(b"\x16")
            silent.append(peer)
            if len(silent) > 200:
                silent.pop(0).close()
        is_called(gateway, phone)
        late = WebSocketPhone(gateway, False)
        expect("a late phone", late.register(), "SIP/2.0 200 OK")
        late.close()
        expect("REGISTER again", phone.register(), "SIP/2.0 200 OK")
        for peer in silent:
            peer.close()
    metrics = gateway.metrics()
    for name in ("sip_streams_cut_total", "sip_handshakes_cut_total"):
        if metrics[name] == 0:
            raise Failure(f"{name} is 0")
    phone.close()


@secure
def handshakes_of_a_stranger(_, gateway):
    """A thousand TLS connections from one address that is nobody's: few are shaken hands with, and
    others get in at once."""
    silent = []
    try:
        for _ in range(HALF_OPEN):
            peer = socket.socket()
            peer.bind(("127.0.0.66", 0))
            peer.settimeout(5)
            peer.connect(("127.0.0.1", gateway.tls))
            silent.append(peer)
            if len(silent) > 200:
                silent.pop(0).close()
        expect("OPTIONS over TLS", s_client(gateway), "SIP/2.0 200 OK")
        wait_for("the surplus to be refused",
                 lambda: gateway.metrics()["sip_handshakes_refused_total"] > HALF_OPEN // 2)
        # Once it pauses it is taken in again.
        wait_for("a handshake of the stranger",
                 lambda: s_client(gateway, "-bind", "127.0.0.66:0") == "SIP/2.0 200 OK", 15, 1)
    finally:
        for peer in silent:
            peer.close()


@secure
def peer_that_does_not_read(_, gateway):
    """It asks and asks and takes no answer: closed and counted, and nobody else waits."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    # A trunk's: nobody counts how much it asks.
    peer.bind(("127.0.0.9", 0))
    peer.connect(("127.0.0.1", gateway.sip))
    peer.settimeout(1)
    number = 0

    def is_cut():
        nonlocal number
        try:
            for _ in range(1000):
                number += 1
                peer.sendall(options(gateway, "TCP", f"slow{number}"))
        except OSError:
            pass
        return gateway.metrics()["sip_streams_slow_total"] > 0
    wait_for("the peer to be closed", is_cut, 30, 0.2)
    expect("OPTIONS", gateway.options(), "SIP/2.0 200 OK")
    peer.close()


CASES = [
    ("transports: TLS 1.2 and 1.3 with openssl", ("openssl",), tls_with_openssl),
    ("transports: mutual TLS of a trunk", ("openssl",), tls_of_a_trunk_is_mutual),
    ("transports: certificate read again", ("openssl",), tls_certificate_is_read_again),
    ("transports: trunk over TLS", ("openssl",), trunk_over_tls),
    ("transports: baresip over TLS", ("openssl", "baresip"), phone_over_tls),
    ("transports: baresip over IPv6", ("openssl", "baresip"), phone_over_ipv6),
    ("transports: WebSocket", ("openssl",), websocket(False)),
    ("transports: secure WebSocket", ("openssl",), websocket(True)),
    ("transports: half-open connections", ("openssl",), half_open_connections),
    ("transports: TLS handshakes of a stranger", ("openssl",), handshakes_of_a_stranger),
    ("transports: peer that does not read", ("openssl",), peer_that_does_not_read),
]
