"""Floods of strangers, guessers and silent connections beside a phone and a trunk that work.

BRANCHLINE_FLOOD_S is how long each flood lasts (10 s without it).
"""

import contextlib
import datetime
import hashlib
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time

from gateway import Gateway
from hostile_cases import still_answers
from peers import Failure, Sipp, free_ports, wait_for
from shared import expect

SECONDS = float(os.environ.get("BRANCHLINE_FLOOD_S", "10"))
RATE = 5000  # messages a second
CALLS_PER_SECOND = 10
CARRIER, PHONE, STRANGER, GUESSER = "127.0.0.2", "127.0.0.7", "127.0.0.66", "127.0.0.77"
PASSWORD = "correct-horse"
TABLES = """
[[trunk]]
name = "carrier"
server = "sip:127.0.0.2:{{carrier}}"
options_s = 0
[[user]]
name = "alice"
password = "correct-horse"
[[application]]
id = 1
name = "a"
[[application.rule]]
id = 1
name = "inbound"
pattern = '80\\d'
scenarios = ["interop/inbound.js"]
"""

MESSAGE = (
    "{method} sip:{user}@127.0.0.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {own};branch=z9hG4bK{mark};rport\r\nMax-Forwards: 70\r\n"
    "From: <sip:{user}@127.0.0.1>;tag={tag}\r\nTo: <sip:{to}@127.0.0.1>{to_tag}\r\n"
    "Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{user}@{own}>\r\n"
    "{more}Content-Length: {length}\r\n\r\n{body}"
)
SDP = ("v=0\r\no=- 1 1 IN IP4 127.0.0.7\r\ns=-\r\nc=IN IP4 127.0.0.7\r\nt=0 0\r\n"
       "m=audio 40000 RTP/AVP 0\r\n")


class HandPhone:
    """A phone of a few lines: registers and calls, with digest and retransmissions."""

    def __init__(self, gateway, address=PHONE, password=PASSWORD):
        self.gateway, self.password = gateway, password
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 0))
        self.own = f"{address}:{self.udp.getsockname()[1]}"
        self.cseq, self.call, self.proof = 0, "", None

    def transact(self, method, to="alice", to_tag="", body="", cseq=None, more=""):
        """The status and text of the final response."""
        self.cseq = cseq or self.cseq + 1
        mark = f"{self.own.replace('.', 'x').replace(':', 'p')}{method}{self.cseq}"
        if body:
            more += "Content-Type: application/sdp\r\n"
        text = MESSAGE.format(
            method=method, user="alice" if method == "REGISTER" else to, own=self.own, mark=mark,
            tag="phone", to=to, to_tag=to_tag, call=self.call, cseq=self.cseq, more=more,
            length=len(body), body=body).replace(f"From: <sip:{to}@", "From: <sip:alice@").encode()
        wait, deadline = 0.5, time.monotonic() + 8
        while time.monotonic() < deadline:
            self.udp.sendto(text, ("127.0.0.1", self.gateway.sip))
            if method == "ACK":
                return None
            self.udp.settimeout(wait)
            with contextlib.suppress(TimeoutError):
                while True:
                    answer = self.udp.recv(65536).decode("utf-8", "replace")
                    if (answer.startswith("SIP/2.0 ") and answer[8] != "1"
                            and f"CSeq: {self.cseq} {method}\r\n" in answer
                            and f"Call-ID: {self.call}\r\n" in answer):
                        return int(answer[8:11]), answer
            wait = min(wait * 2, 4)
        raise Failure(f"{method} of {self.own} is not answered")

    def authorized(self, method, **more):
        """With the answer to its challenge."""
        status, text = self.transact(method, **more)
        if status != 401:
            return status, text
        if method == "INVITE":
            self.transact("ACK", cseq=self.cseq, to=more["to"], to_tag=tag_of(text))
        challenge = dict(re.findall(r'(\w+)="?([^",\r]+)"?', re.search(
            r"WWW-Authenticate: Digest (.*)", text).group(1)))
        uri = f"sip:{more.get('to', 'alice')}@127.0.0.1"
        md5 = lambda *parts: hashlib.md5(":".join(parts).encode()).hexdigest()
        answer = md5(md5("alice", challenge["realm"], self.password), challenge["nonce"],
                     "00000001", "c", "auth", md5(method, uri))
        return self.transact(method, **more, more=(
            f'Authorization: Digest username="alice", realm="{challenge["realm"]}", '
            f'nonce="{challenge["nonce"]}", uri="{uri}", qop=auth, nc=00000001, cnonce="c", '
            f'response="{answer}"\r\n'))

    def register(self):
        self.call = f"register-{self.own}"
        return self.authorized("REGISTER")[0]

    def talk(self, number):
        """A whole call; the time to its answer."""
        self.call = f"call-{self.own}-{time.monotonic_ns()}"
        started = time.monotonic()
        status, text = self.authorized("INVITE", to=number, body=SDP)
        took, invite = time.monotonic() - started, self.cseq
        expect(f"the phone's call to {number}", status, 200)
        self.transact("ACK", cseq=invite, to=number, to_tag=tag_of(text))
        time.sleep(0.2)
        expect("BYE", self.transact("BYE", to=number, to_tag=tag_of(text))[0], 200)
        return took

    def end(self):
        self.udp.close()


def tag_of(text):
    return re.search(r"(?m)^To: [^\r]*(;tag=[^\r;]+)", text).group(1)


# Runs apart, so that what it costs is not this process's: argv = port, rate, seconds, addresses.
FLOOD = """
import socket, sys, time
port, rate, seconds, addresses = (int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]),
                                  sys.argv[4].split(","))
message = %r
sockets = []
for address in addresses:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, 0))
    sockets.append((udp, "%%s:%%d" %% udp.getsockname()))
start, sent = time.monotonic(), 0
while (now := time.monotonic() - start) < seconds:
    while sent < now * rate:
        udp, own = sockets[sent %% len(sockets)]
        udp.sendto(message.format(
            method=("INVITE", "REGISTER")[sent %% 2], user=1000 + sent %% 100, to=900 + sent %% 100,
            own=own, mark="f%%d" %% sent, tag=sent, call="f%%d" %% sent, cseq=1, more="", to_tag="",
            length=0, body="").encode(), ("127.0.0.1", port))
        sent += 1
    time.sleep(0.001)
print(sent)
""" % MESSAGE


def cpu_seconds(gateway):
    with open(f"/proc/{gateway.pid()}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def setup_times(sipp):
    """Seconds from INVITE to 200 of each call, by the times in SIPp's message file."""
    with open(sipp.messages_path, encoding="utf-8", errors="replace") as file:
        parts = re.split(r"^-{20,} (\d+-\d+-\d+)\s+(\d+:\d+:[\d.]+).*\n", file.read(), flags=re.M)
    asked, answered = {}, {}
    for day, clock, text in zip(parts[1::3], parts[2::3], parts[3::3]):
        at = datetime.datetime.fromisoformat(f"{day} {clock}").timestamp()
        call = re.search(r"Call-ID: (\S+)", text)
        if call and "CSeq: 1 INVITE" in text:
            which = answered if "\nSIP/2.0 200" in text else asked
            which.setdefault(call.group(1), at)
    return sorted(answered[call] - asked[call] for call in answered if call in asked)


@contextlib.contextmanager
def flooded_gateway(world):
    carrier = free_ports(1, CARRIER)[0]
    gateway = Gateway(world.binary, world.folder, TABLES.replace("{{carrier}}", str(carrier)),
                      name="flooded", wait=False)
    gateway.carrier = carrier
    try:
        gateway.wait_up()
        yield gateway
        gateway.wait_idle(40)
        gateway.stop()
    finally:
        gateway.process.end(1.0)


def flood(addresses):
    """Strangers send INVITEs and REGISTERs; the phone registers and calls, the trunk calls."""
    def case(world):
        with flooded_gateway(world) as gateway:
            phone = HandPhone(gateway)
            expect("REGISTER", phone.register(), 200)
            calls = int(SECONDS * CALLS_PER_SECOND)
            before, started = cpu_seconds(gateway), time.monotonic()
            sipp = Sipp(world.folder, "uac_call", CARRIER, gateway.carrier,
                        remote=f"127.0.0.1:{gateway.sip}", number="800", calls=calls,
                        rate=CALLS_PER_SECOND, seconds=SECONDS + 30)
            attack = subprocess.Popen(
                [sys.executable, "-c", FLOOD, str(gateway.sip), str(RATE), str(SECONDS),
                 ",".join(addresses)], stdout=subprocess.PIPE, text=True)
            talks = []
            try:
                while attack.poll() is None:
                    expect("REGISTER in the flood", phone.register(), 200)
                    talks.append(phone.talk("800"))
                sent = int(attack.communicate()[0])
                sipp.done()
            finally:
                attack.kill()
                attack.wait()
                phone.end()
            took = time.monotonic() - started
            used = cpu_seconds(gateway) - before
            times = setup_times(sipp)
            expect("answered calls", len(times), calls)
            p99 = times[int(len(times) * 0.99)]
            metrics = gateway.metrics()
            dropped = sum(metrics[f"sip_{which}_dropped_total"] for which in ("flood", "strangers"))
            print(f"        {sent} messages from {len(addresses)} strangers in {SECONDS:g} s, "
                  f"{dropped:g} dropped unread; {calls} calls of the trunk with set-up p50 "
                  f"{times[len(times) // 2] * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms; {len(talks)} "
                  f"of the phone, the slowest {max(talks) * 1000:.0f} ms; CPU "
                  f"{used / took * 100:.0f} % of a core", flush=True)
            # Half of them are REGISTERs, whose challenge is no refusal.
            refused = metrics["sip_refused_callers_total"]
            if refused == 0 or dropped + refused < sent * 0.3:
                raise Failure(f"of {sent}, {dropped:g} dropped and {refused:g} refused")
    return case


def guesses(world):
    """Passwords are guessed from one address and from many: the right phone does not notice."""
    with flooded_gateway(world) as gateway:
        phone = HandPhone(gateway)
        expect("REGISTER", phone.register(), 200)
        guesser = HandPhone(gateway, GUESSER, "guess")
        seen = [guesser.register() for _ in range(15)]
        expect("first guesses", seen[:10], [403] * 10)
        expect("then", set(seen[10:]), {503})
        # The user's own bucket is empty after twenty, wherever they come from.
        others = [HandPhone(gateway, f"127.0.3.{host}", "guess") for host in range(1, 21)]
        seen = [other.register() for other in others]
        if 503 not in seen[10:]:
            raise Failure(f"guesses from everywhere: {seen}")
        right = HandPhone(gateway, "127.0.3.99")
        expect("the right password from elsewhere waits", right.register(), 503)
        for _ in range(3):
            expect("the phone's REGISTER", phone.register(), 200)
            phone.talk("800")
        metrics = gateway.metrics()
        if metrics["sip_guesses_slowed_total"] < 6:
            raise Failure(f"{metrics['sip_guesses_slowed_total']:g} guesses slowed")
        if metrics["sip_authentication_failed_total"] < 20:
            raise Failure(f"{metrics['sip_authentication_failed_total']:g} wrong passwords")
        for one in [phone, guesser, right, *others]:
            one.end()


def half_open(world):
    """A thousand connections that say nothing; phones go on over UDP, and one gets in over TCP."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with flooded_gateway(world) as gateway:
        phone, sockets = HandPhone(gateway), []
        expect("REGISTER", phone.register(), 200)
        before = gateway.resident_kib()
        try:
            for _ in range(1000):
                tcp = socket.socket()
                tcp.bind((STRANGER, 0))
                tcp.settimeout(5)
                tcp.connect(("127.0.0.1", gateway.sip))
                sockets.append(tcp)
            still_answers(gateway)
            phone.talk("800")
            options = ("OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2:5060;branch="
                       "z9hG4bKlate\r\nMax-Forwards: 70\r\nFrom: <sip:a@127.0.0.2>;tag=a\r\nTo: "
                       "<sip:127.0.0.1>\r\nCall-ID: late\r\nCSeq: 1 OPTIONS\r\n"
                       "Content-Length: 0\r\n\r\n")

            def gets_in():
                with contextlib.suppress(OSError), socket.socket() as tcp:
                    tcp.bind((CARRIER, 0))
                    tcp.settimeout(2)
                    tcp.connect(("127.0.0.1", gateway.sip))
                    tcp.sendall(options.encode())
                    return tcp.recv(100).startswith(b"SIP/2.0 200")
            wait_for("a connection of the trunk", gets_in)
            metrics = gateway.metrics()
            if metrics["sip_streams_cut_total"] + metrics["sip_refused_full_streams_total"] < 900:
                raise Failure("connections beyond the limit are not counted")
            grown = gateway.resident_kib() - before
            if grown > 16 * 1024:
                raise Failure(f"{grown} KiB for silent connections")
        finally:
            for tcp in sockets:
                tcp.close()
            phone.end()


def slow_ends(world):
    """Peers that write a byte at a time, and peers that ask much and read nothing."""
    with flooded_gateway(world) as gateway:
        before = gateway.resident_kib()
        line = ("OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2;branch=z9hG4bK{0}\r\n"
                "Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.2>;tag=a\r\nTo: <sip:127.0.0.1>\r\n"
                "Call-ID: {0}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
        stop = threading.Event()

        def write_slowly(tcp):
            with contextlib.suppress(OSError):
                for byte in line.format("slow").encode():
                    if stop.is_set():
                        return
                    tcp.sendall(bytes([byte]))
                    stop.wait(0.1)

        def never_read(tcp):
            with contextlib.suppress(OSError):
                for number in range(20000):
                    if stop.is_set():
                        return
                    tcp.sendall(line.format(f"n{tcp.fileno()}x{number}").encode())
        sockets, threads = [], []
        for number in range(24):
            tcp = socket.socket()
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            tcp.bind((CARRIER, 0))
            tcp.settimeout(1)
            tcp.connect(("127.0.0.1", gateway.sip))
            sockets.append(tcp)
            work = never_read if number % 6 == 0 else write_slowly
            threads.append(threading.Thread(target=work, args=(tcp,), daemon=True))
            threads[-1].start()
        phone = HandPhone(gateway)
        try:
            for _ in range(5):
                expect("REGISTER beside slow peers", phone.register(), 200)
                phone.talk("800")
                still_answers(gateway)
            grown = gateway.resident_kib() - before
            if grown > 32 * 1024:
                raise Failure(f"{grown} KiB for peers that do not read")
            wait_for("the peers that do not read to be closed",
                     lambda: gateway.metrics()["sip_streams_slow_total"] >= 4, 30, 0.5)
        finally:
            stop.set()
            for tcp in sockets:
                tcp.close()
            for thread in threads:
                thread.join(3)
            phone.end()


CASES = [
    ("flood from one stranger", ("sipp",), flood([STRANGER])),
    ("flood from two hundred strangers", ("sipp",), flood([f"127.0.2.{host}" for host in
                                                           range(1, 201)])),
    ("guessed passwords", (), guesses),
    ("a thousand half-open connections", (), half_open),
    ("slow readers and writers", (), slow_ends),
]
