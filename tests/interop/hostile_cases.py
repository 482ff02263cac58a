"""Bad input on the SIP and RTP ports, and scripts that misbehave: nothing dies."""

import os
import random
import socket
import time

from gateway import OPTIONS
from peers import Failure, wait_for
from shared import GOOD, caller, expect, shared, small_gateway

INVITE = (
    "INVITE sip:800@127.0.0.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.2:{own};branch=z9hG4bK{mark};rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:a@127.0.0.2>;tag={mark}\r\n"
    "To: <sip:800@127.0.0.1>\r\n"
    "Call-ID: {mark}\r\n"
    "CSeq: 1 INVITE\r\n"
    "Contact: <sip:a@127.0.0.2:{own}>\r\n"
    "Content-Type: application/sdp\r\n"
    "Content-Length: {length}\r\n\r\n{body}"
)
SDP = ("v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n"
       "m=audio 40000 RTP/AVP 0\r\n")


class Raw:
    """A UDP socket of the provider that says what it likes."""

    def __init__(self, gateway, address="127.0.0.2"):
        self.gateway = gateway
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 0))
        self.udp.settimeout(2.0)
        self.port = self.udp.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.udp.close()

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("utf-8")
        self.udp.sendto(data, ("127.0.0.1", self.gateway.sip))

    def status(self, skip=("100",)):
        """The next final or provisional status, without those to skip; None if none comes."""
        try:
            while True:
                text = self.udp.recv(65536).decode("utf-8", "replace")
                code = text.split(" ")[1] if text.startswith("SIP/2.0 ") else text[:20]
                if code not in skip:
                    return code
        except TimeoutError:
            return None

    def silence(self):
        """Nothing comes."""
        self.udp.settimeout(0.3)
        expect("answer", self.status(()), None)


def still_answers(gateway):
    expect("OPTIONS", gateway.options(), "SIP/2.0 200 OK")


@shared
def garbage_over_udp(_, gateway):
    generator = random.Random(1)
    with Raw(gateway) as peer:
        for size in (0, 1, 2, 4, 13, 100, 1400, 9000, 65000):
            peer.send(generator.randbytes(size))
        for _ in range(500):
            peer.send(generator.randbytes(generator.randrange(1, 1500)))
        peer.silence()
    still_answers(gateway)


@shared
def garbage_after_a_good_start(_, gateway):
    """Every message cut short or with a byte changed; answers there may be, harm not."""
    generator = random.Random(2)
    with Raw(gateway) as peer:
        text = INVITE.format(own=peer.port, mark="cut", length=len(SDP), body=SDP).encode()
        text = text.replace(b"INVITE", b"OPTIONS").replace(b"sip:800@", b"sip:")
        for end in range(0, len(text), 3):
            peer.send(text[:end])
        for _ in range(500):
            changed = bytearray(text)
            changed[generator.randrange(len(changed))] = generator.randrange(256)
            peer.send(bytes(changed))
    still_answers(gateway)


@shared
def torture(_, gateway):
    """After the list of RFC 4475: what may be answered is answered 4xx/5xx, never taken."""
    def lines(**change):
        fields = {
            "start": "OPTIONS sip:127.0.0.1 SIP/2.0",
            "Via": "SIP/2.0/UDP 127.0.0.2:{own};branch=z9hG4bK{mark};rport",
            "Max-Forwards": "70", "From": "<sip:a@127.0.0.2>;tag={mark}",
            "To": "<sip:127.0.0.1>", "Call-ID": "{mark}", "CSeq": "1 OPTIONS",
            "Content-Length": "0", **change}
        start = fields.pop("start")
        return "\r\n".join([start, *(f"{n}: {v}" for n, v in fields.items() if v is not None),
                            "", ""])
    messages = [
        # (what it is, message, statuses that are right; None: silence)
        ("3.1.1.1 a short tortuous message", lines(**{"TO": None, "subject": "",
         "To": "sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
         "From": "\"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98a",
         "Max-Forwards": "0068", "CSeq": "0009\r\n  OPTIONS"}), ("200", "481")),
        ("3.1.1.2 wide range of characters", lines(**{"Call-ID": "intmeth.word%ZK-!.*_+'@word`~"
         ")(><:\\/\"][?}}{{"}), ("200",)),
        ("3.1.1.6 a null byte in quotes", lines(**{
            "From": "\"a\0b\" <sip:a@127.0.0.2>;tag={mark}"}), ("200", "400", None)),
        ("3.1.2.1 extraneous separators", lines(**{"Via": "SIP/2.0/UDP 127.0.0.2:{own}"
         ";;,;,,branch=z9hG4bK{mark}"}), ("400", None)),
        ("3.1.2.2 content length larger than message", lines(**{"Content-Length": "9999"}),
         ("400", None)),
        ("3.1.2.3 negative content length", lines(**{"Content-Length": "-999"}), ("400", None)),
        ("3.1.2.4 overlarge values", lines(**{"CSeq": "36893488147419103232 OPTIONS",
         "Max-Forwards": "300", "Expires": "1" + "0" * 30}), ("400", None)),
        ("3.1.2.5 unterminated quoted string", lines(**{"To": "\"Mr. J. User <sip:j@127.0.0.1>"}),
         ("400", None)),
        ("3.1.2.6 angle brackets around the request URI", lines(start="OPTIONS <sip:127.0.0.1> "
         "SIP/2.0"), ("400", None)),
        ("3.1.2.7 spaces in the request URI", lines(start="OPTIONS sip:127.0.0.1; lr SIP/2.0"),
         ("400", None)),
        ("3.1.2.8 spaces between parts of the start line", lines(start="OPTIONS  sip:127.0.0.1  "
         "SIP/2.0"), ("200", "400", None)),
        ("3.1.2.16 unknown protocol version", lines(start="OPTIONS sip:127.0.0.1 SIP/7.0"),
         ("505", "400", None)),
        ("3.1.2.17 method differs from CSeq", lines(**{"CSeq": "1 INVITE"}), ("400", None)),
        ("3.1.2.18 unknown method", lines(start="NEWMETHOD sip:127.0.0.1 SIP/2.0",
         **{"CSeq": "1 NEWMETHOD"}), ("405", "501")),
        ("3.3.1 missing required headers", lines(**{"From": None, "To": None, "Call-ID": None}),
         ("400", None)),
        ("3.3.2 unknown scheme", lines(start="OPTIONS nobodyKnowsThisScheme:totallyopaque SIP/2.0"),
         ("416", "400", "404", "200")),
        ("3.3.8 multiple values in single header fields", lines(**{"CSeq": "1 OPTIONS\r\nCSeq: "
         "2 OPTIONS", "From": "<sip:a@127.0.0.2>;tag=1\r\nFrom: <sip:b@127.0.0.2>;tag=2"}),
         ("400", None)),
        ("3.3.9 multiple content lengths", lines(**{"Content-Length": "0\r\nContent-Length: 5"}),
         ("400", "200", None)),
        ("max-forwards of zero for us", lines(**{"Max-Forwards": "0"}), ("200", "483")),
        ("an unknown option that is required", lines(Require="nothingSupportsThis"), ("420",)),
    ]
    for number, (what, message, right) in enumerate(messages):
        with Raw(gateway) as peer:
            message = message.replace("{own}", str(peer.port)).replace("{mark}", f"t{number}")
            peer.udp.settimeout(0.5 if None in right else 2.0)
            peer.send(message.replace("}}", "}").replace("{{", "{"))
            got = peer.status()
            if got not in right:
                raise Failure(f"{what}: {got}, wanted one of {right}")
    still_answers(gateway)


@shared
def wrong_content_length_over_udp(_, gateway):
    """RFC 3261 §18.3: less than stands there is cut, more is an error."""
    with Raw(gateway) as peer:
        peer.send(INVITE.format(own=peer.port, mark="long", length=len(SDP) + 50, body=SDP))
        expect("too long", peer.status(), "400")


@shared
def bad_descriptions(_, gateway):
    """An offer that can't be used is refused with 488 (or 400), and nothing is left behind."""
    offers = ["", "v=0", SDP.replace("m=audio 40000 RTP/AVP 0", "m=video 40000 RTP/AVP 31"),
              SDP.replace("RTP/AVP 0", "RTP/AVP 18"), SDP.replace("m=audio 40000", "m=audio 99999"),
              SDP.replace("IN IP4 127.0.0.2\r\nt", "IN IP4 no.such.host.invalid\r\nt"),
              "v=0\r\n" * 500, SDP + "a=x\r\n" * 5000]
    for number, offer in enumerate(offers):
        with Raw(gateway) as peer:
            mark = f"sdp{number}x{time.monotonic_ns()}"
            peer.send(INVITE.format(own=peer.port, mark=mark, length=len(offer), body=offer))
            got = peer.status()
            if offer and got not in ("400", "488", "606", "415", "200", "513"):
                raise Failure(f"offer {number}: {got}")
            if got == "200":  # taken after all: hung up for want of an ACK
                peer.send(INVITE.format(own=peer.port, mark=mark, length=0, body="")
                          .replace("INVITE sip", "BYE sip").replace("1 INVITE", "2 BYE"))
    gateway.wait_idle(70)


@shared
def garbage_over_tcp(_, gateway):
    def connect():
        tcp = socket.create_connection(("127.0.0.1", gateway.sip), 5)
        tcp.settimeout(3)
        return tcp
    for data in (os.urandom(5000), b"\r\n" * 2000, b"INVITE " + b"a" * 400_000,
                 b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n",
                 b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nContent-Length: -5\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
        with connect() as tcp:
            try:
                tcp.sendall(data)
                while tcp.recv(65536):
                    pass
            except OSError:
                pass  # cut off, or silent
    # In pieces of one byte, and two in one piece: framing holds.
    own = OPTIONS.format(sip=gateway.sip, own=5060, transport="TCP", mark="MARK")
    with connect() as tcp:
        for byte in own.replace("MARK", "piece").encode():
            tcp.send(bytes([byte]))
        expect("in pieces", tcp.recv(65536)[:11], b"SIP/2.0 200")
        tcp.sendall((own.replace("MARK", "two") + own.replace("MARK", "three")).encode())
        text = b""
        while text.count(b"SIP/2.0 200") < 2:
            part = tcp.recv(65536)
            if not part:
                raise Failure("two in one piece: closed")
            text += part
        tcp.sendall(b"\r\n\r\n")  # RFC 5626 keep-alive
        expect("pong", tcp.recv(100), b"\r\n")
    still_answers(gateway)


@shared
def too_many_tcp_connections(_, gateway):
    """Above sip_streams (64); UDP goes on, and whoever comes next takes a silent one's place."""
    def connects():
        own = OPTIONS.format(sip=gateway.sip, own=5060, transport="TCP", mark="again")
        try:
            with socket.create_connection(("127.0.0.1", gateway.sip), 2) as tcp:
                tcp.settimeout(2)
                tcp.sendall(own.encode())
                return tcp.recv(100).startswith(b"SIP/2.0 200")
        except OSError:
            return False
    sockets = []
    try:
        for _ in range(100):
            sockets.append(socket.create_connection(("127.0.0.1", gateway.sip), 2))
        still_answers(gateway)
        wait_for("a connection among silent ones", connects)
    finally:
        for tcp in sockets:
            tcp.close()
    wait_for("a connection again", connects)


@shared
def garbage_on_rtp_ports(world, gateway):
    """A call in progress does not suffer from strangers on its port."""
    peer = caller(world, gateway, "uac_call", "800", hold_ms=1500)
    generator = random.Random(3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for port in range(gateway.rtp, gateway.rtp + 40):
            for size in (0, 1, 11, 12, 13, 60, 172, 1400):
                udp.sendto(generator.randbytes(size), ("127.0.0.1", port))
                udp.sendto(b"\x80\x00" + generator.randbytes(size), ("127.0.0.1", port))
                udp.sendto(b"\x80\xc8" + generator.randbytes(size), ("127.0.0.1", port))
    peer.done()


@shared
def scanners(_, gateway):
    """What scanners send: no session, no call, an answer that tells nothing or none at all."""
    before = gateway.metrics()["sessions_started_total"]
    with Raw(gateway, "127.0.0.9") as stranger:
        for mark in range(50):
            stranger.send(INVITE.format(own=stranger.port, mark=f"scan{mark}", length=len(SDP),
                                        body=SDP).replace("127.0.0.2", "127.0.0.9"))
        stranger.send("REGISTER sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9:"
                      f"{stranger.port};branch=z9hG4bKr;rport\r\nMax-Forwards: 70\r\nFrom: "
                      "<sip:1000@127.0.0.1>;tag=r\r\nTo: <sip:1000@127.0.0.1>\r\nCall-ID: r\r\n"
                      "CSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n")
    expect("sessions", gateway.metrics()["sessions_started_total"], before)
    still_answers(gateway)


def script_fails(source, words, seconds=20):
    """A script that breaks a limit or does not run: only its own session ends."""
    def case(world):
        with small_gateway(world, {"bad.js": source, "good.js": GOOD}) as gateway:
            good = gateway.start(2)
            started = time.monotonic()
            bad = gateway.start(1)
            row = bad.row(seconds)
            expect("reason", row["finish_reason"], "JS session error")
            if time.monotonic() - started > seconds:
                raise Failure(f"it took {time.monotonic() - started:.1f} s")
            expect("the other session", good.ask(), {"ok": True})
            log = gateway.get(row["log_file_url"])[1]
            if not any(word in log for word in words) or "bad.js" not in log:
                raise Failure(f"its log: {log[-400:]}")
            good.gateway.get(good.url, "end")
    return case


STARTED = "VoxEngine.addEventListener(AppEvents.Started, () => { %s });\n"

CASES = [
    ("garbage over UDP", (), garbage_over_udp),
    ("messages cut short or changed", (), garbage_after_a_good_start),
    ("torture messages", (), torture),
    ("a wrong Content-Length over UDP", (), wrong_content_length_over_udp),
    ("bad session descriptions", (), bad_descriptions),
    ("garbage and pieces over TCP", (), garbage_over_tcp),
    ("too many TCP connections", (), too_many_tcp_connections),
    ("garbage on RTP ports during a call", ("sipp",), garbage_on_rtp_ports),
    ("scanners", (), scanners),
    ("a script that throws at top level", (), script_fails("\nnothing.here();\n",
                                                           ("ReferenceError",))),
    ("a script with an endless loop", (), script_fails(STARTED % "for (;;) {}",
                                                       ("interrupted", "run time", "1000 ms"))),
    ("a script with a heap bomb", (), script_fails(
        STARTED % "const a = []; for (;;) a.push(new Array(10000).fill(1.5));",
        ("memory", "run time"))),
    ("a script with endless recursion at top level", (), script_fails(
        "function f() { return f() + 1; }\nf();\n", ("stack", "RangeError"))),
]
