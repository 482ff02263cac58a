"""Phones that are reached the way they came: over their connections, and through NATs.

baresip and PJSIP over TCP, a WebSocket client and a phone of a few lines whose contact is not where
its packets come from.
"""

import hashlib
import re
import socket
import time

from baresip import BaresipPhone
from gateway import Gateway
from peers import Failure, free_ports, wait_for
from pjsip import PjsipPhone
from pjsip import missing as pjsip_missing
from shared import PASSWORD, expect, rules
from transport_cases import WebSocketPhone, response

TABLES = """
[[user]]
name = "alice"
password = "correct-horse"
[[application]]
id = 1
name = "branch"
"""


class Flows(Gateway):
    """A gateway that pings through NATs each second, and takes WebSockets."""

    def __init__(self, world, keys=""):
        self.ws = free_ports(1)[0]
        super().__init__(world.binary, world.folder, TABLES + rules(), name="flows",
                         listen=f', "ws://127.0.0.1:{self.ws}"', sip_keys="keepalive_s = 1\n" + keys)


def flows(keys=""):
    def decorate(case):
        def run(world):
            gateway = Flows(world, keys)
            try:
                case(world, gateway)
                gateway.wait_idle()
                gateway.stop()
            finally:
                gateway.process.end()
        run.__doc__ = case.__doc__
        return run
    return decorate


def header(message, name):
    found = re.search(rf"(?im)^{name}: *(.*?)\r?$", message)
    return found.group(1) if found else ""


def call_alice(gateway):
    return gateway.start(21, {"user": "alice"})


def baresip(world, gateway, transport):
    port = free_ports(1)[0]
    return BaresipPhone(world.folder, transport, port, registrar=f"127.0.0.1:{gateway.sip}",
                        user="alice", password=PASSWORD, transport=transport)


def pjsip(world, gateway, **more):
    if reason := pjsip_missing():
        raise Failure(reason)
    port = free_ports(1)[0]
    return PjsipPhone(world.folder, "alice", port, registrar=f"127.0.0.1:{gateway.sip}",
                      user="alice", password=PASSWORD, transport="tcp", **more)


@flows()
def baresip_over_tcp(world, gateway):
    """Registered over TCP, called, and hung up by us."""
    with baresip(world, gateway, "tcp") as phone:
        phone.registered()
        session = call_alice(gateway)
        session.until_seen("Connected")
        phone.connected()
        session.tell(command="hangup")
        expect("end", phone.closed(), 200)
        session.tell(command="end")


@flows()
def pjsip_with_outbound(world, gateway):
    """reg-id 1 is granted with Require and Flow-Timer; the call goes over the flow."""
    with pjsip(world, gateway, outbound=True) as phone:
        phone.expect("registration", code=200)
        register = phone.sent("REGISTER ")[-1]
        for wanted in ("reg-id=1", "+sip.instance="):
            if wanted not in header(register, "Contact"):
                raise Failure(f"PJSIP registers without {wanted}: {register}")
        answer = next(text for text in phone.received("SIP/2.0 200 "))
        expect("Require", header(answer, "Require"), "outbound")
        expect("Flow-Timer", header(answer, "Flow-Timer"), "90")
        session = call_alice(gateway)
        session.until_seen("Connected")
        invite = phone.received("INVITE ")[0]
        if ";ob" not in invite.split("\n")[0]:
            raise Failure(f"not to the contact of the flow: {invite}")
        session.tell(command="hangup")
        session.until_seen("Disconnected")
        session.tell(command="end")
        # What is lost with the connection is no phone any more.
    wait_for("the phone to be gone",
             lambda: call_fails(gateway) == 480, 10)


def call_fails(gateway):
    session = call_alice(gateway)
    code = session.until_seen("Failed")["code"]
    session.tell(command="end")
    return code


@flows()
def restart_keeps_addresses_but_no_flows(world, gateway):
    """A UDP phone is called after a restart of the gateway; a WebSocket is gone with it."""
    page = WebSocketPhone(gateway, False)
    expect("REGISTER", page.register(), "SIP/2.0 200 OK")
    with baresip(world, gateway, "udp") as phone:
        phone.registered()
        gateway.stop()
        page.close()
        gateway.again()
        session = call_alice(gateway)
        session.until_seen("Connected")
        expect("calls of baresip", len(phone.received("INVITE ")), 1)
        session.tell(command="hangup")
        phone.closed()
        session.tell(command="end")


@flows()
def first_answer_wins(world, gateway):
    """Two phones ring; the one that loses hears that the call was answered elsewhere."""
    page = WebSocketPhone(gateway, False)
    expect("REGISTER", page.register(), "SIP/2.0 200 OK")
    port = free_ports(1)[0]
    with BaresipPhone(world.folder, "slow", port, registrar=f"127.0.0.1:{gateway.sip}",
                      user="alice", password=PASSWORD, answers=()) as phone:
        phone.registered()
        session = call_alice(gateway)
        invite = page.message()
        page.frame(1, response(invite, "180 Ringing"))
        phone.ringing()
        phone.answer()
        session.until_seen("Connected")
        cancel = page.message()
        expect("CANCEL", cancel[:7], "CANCEL ")
        expect("Reason", header(cancel, "Reason"),
               'SIP;cause=200;text="Call completed elsewhere"')
        page.frame(1, response(cancel, "200 OK"))
        page.frame(1, response(invite, "487 Request Terminated"))
        expect("ACK", page.message()[:4], "ACK ")
        session.tell(command="hangup")
        phone.closed()
        session.tell(command="end")
    page.close()


class HiddenPhone:
    """A UDP phone behind a NAT: what it says of itself is not where its packets come from."""

    def __init__(self, gateway, algorithm):
        self.algorithm, self.sequence = algorithm, 0
        self.gateway = ("127.0.0.1", gateway.sip)
        self.move()

    def move(self):
        """The NAT forgot it: the next packet has another port."""
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.settimeout(5)

    def receive(self):
        """The next message; keep-alives are passed over."""
        while True:
            text = self.udp.recv(65536).decode()
            if text.strip():
                return text

    def is_pinged(self):
        return self.udp.recv(65536) == b"\r\n\r\n"

    def answer(self, request, status):
        self.udp.sendto(response(request, status).encode(), self.gateway)

    def register(self):
        authorization = ""
        for _ in range(2):
            self.sequence += 1
            self.udp.sendto((
                "REGISTER sip:branch SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 10.11.12.13:5060;branch=z9hG4bKh{time.monotonic_ns()};rport\r\n"
                "Max-Forwards: 70\r\nFrom: <sip:alice@branch>;tag=h\r\nTo: <sip:alice@branch>\r\n"
                f"Call-ID: hidden{id(self)}\r\nCSeq: {self.sequence} REGISTER\r\n"
                "Contact: <sip:alice@10.11.12.13:5060>;expires=300\r\n"
                f"{authorization}Content-Length: 0\r\n\r\n").encode(), self.gateway)
            answer = self.receive()
            if not answer.startswith("SIP/2.0 401"):
                break
            challenge = next(line for line in re.findall(r"(?m)^WWW-Authenticate: .*", answer)
                             if f"algorithm={self.algorithm}" in line)
            realm, nonce = (re.search(f'{name}="([^"]*)"', challenge).group(1)
                            for name in ("realm", "nonce"))
            digest = hashlib.md5 if self.algorithm == "MD5" else hashlib.sha256

            def hexed(text, digest=digest):
                return digest(text.encode()).hexdigest()
            proof = hexed(f"{hexed(f'alice:{realm}:{PASSWORD}')}:{nonce}:00000001:c:auth:"
                          f"{hexed('REGISTER:sip:branch')}")
            authorization = (
                f'Authorization: Digest username="alice", realm="{realm}", nonce="{nonce}", '
                f'uri="sip:branch", response="{proof}", algorithm={self.algorithm}, qop=auth, '
                'nc=00000001, cnonce="c"\r\n')
        return answer

    def is_called(self, gateway):
        session = call_alice(gateway)
        invite = self.receive()
        expect("INVITE", invite.split("\r\n")[0], "INVITE sip:alice@10.11.12.13:5060 SIP/2.0")
        self.answer(invite, "486 Busy Here")
        expect("code", session.until_seen("Failed")["code"], 486)
        expect("ACK", self.receive()[:4], "ACK ")
        session.tell(command="end")


def hidden_phone(algorithm):
    @flows('digest = ["SHA-256", "MD5"]')
    def case(_, gateway):
        """Registered, pinged, called, moved to another port, called there."""
        phone = HiddenPhone(gateway, algorithm)
        for _ in range(2):
            answer = phone.register()
            expect("REGISTER", answer.split("\r\n")[0], "SIP/2.0 200 OK")
            own = phone.udp.getsockname()[1]
            if f";rport={own}" not in answer:
                raise Failure(f"rport is not {own}: {answer}")
            expect("keep-alive", phone.is_pinged(), True)
            phone.is_called(gateway)
            phone.move()
    return case


CASES = [
    ("flows: baresip over TCP", ("baresip",), baresip_over_tcp),
    ("flows: restart with phones registered", ("baresip",), restart_keeps_addresses_but_no_flows),
    ("flows: several phones, the first answer wins", ("baresip",), first_answer_wins),
    ("flows: phone behind a NAT, MD5", (), hidden_phone("MD5")),
    ("flows: phone behind a NAT, SHA-256", (), hidden_phone("SHA-256")),
]
if not pjsip_missing():
    CASES.append(("flows: PJSIP with outbound over TCP", (), pjsip_with_outbound))
