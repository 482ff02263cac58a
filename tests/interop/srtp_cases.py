"""SRTP with baresip and PJSIP: keys offered and answered, sound measured, digits, refusals."""

import contextlib
import re

import pjsip
from peers import Failure, Phone, free_ports, wait_for
from phone_cases import (heard_and_was_heard, heard_the_prompt, hears, is_sent_keys,
                         presses_keys)
from gateway import Gateway
from shared import PASSWORD, USERS, expect

TABLES = """
[[user]]
name = "needs"
password = "correct-horse"
srtp = "required"
[[user]]
name = "may"
password = "correct-horse"
srtp = "optional"
[[user]]
name = "never"
password = "correct-horse"
srtp = "off"
[[user]]
name = "default"
password = "correct-horse"
[[application]]
id = 1
name = "branch"
[[application.rule]]
id = 20
name = "inbound"
pattern = '80\\d'
scenarios = ["interop/inbound.js"]
[[application.rule]]
id = 21
name = "dial"
pattern = ''
scenarios = ["interop/dial.js"]
[[application.rule]]
id = 23
name = "to-user"
pattern = '[a-z]+'
scenarios = ["interop/to_user.js"]
"""

@contextlib.contextmanager
def gateway_with(world):
    gateway = Gateway(world.binary, world.folder, TABLES, name="srtp")
    try:
        yield gateway
        gateway.wait_idle()
        expect("keys in the log", re.findall("inline:", gateway.log()), [])
        gateway.stop()
    finally:
        gateway.process.end(1.0)


class SecurePhone(Phone):
    """A registered baresip with the module srtp: `mediaenc` is srtp, srtp-mand or empty."""

    def __init__(self, world, gateway, name, mediaenc, **more):
        port = free_ports(1, USERS)[0]
        self.mediaenc = mediaenc
        super().__init__(world.folder, name, port, registrar=f"{USERS}:{gateway.sip}", user=name,
                         password=PASSWORD, address=USERS, **more)
        self.registered()

    def _write(self, name, text):
        if name == "accounts" and self.mediaenc:
            text = text.rstrip("\n") + f";mediaenc={self.mediaenc}\n"
        if name == "config":
            text = text.replace("module g711.so", "module g711.so\nmodule srtp.so")
        super()._write(name, text)

    def is_encrypted(self):
        """baresip says so when keys are agreed."""
        return "SRTP" in self.process.output() and "is Enabled" in self.process.output()


def calls_in(name, mediaenc, is_encrypted):
    """A phone calls in: it hears the prompt, its tone and keys arrive, both are recorded."""
    def case(world):
        with gateway_with(world) as gateway:
            phone = SecurePhone(world, gateway, name, mediaenc, microphone_hz=440)
            try:
                phone.dial(f"sip:800@{USERS}:{gateway.sip}")
                phone.expect("CALL_RTPESTAB")
                phone.press("159#0")
                wait_for("sound", lambda: phone.seconds_heard() > 1.5)
                expect("encryption", phone.is_encrypted(), is_encrypted)
                expect_clean(gateway)
                phone.hang_up()
                phone.expect("CALL_CLOSED")
                heard_the_prompt(phone, gateway, name)
            finally:
                phone.end()
    return case


def is_called(name, mediaenc, is_encrypted):
    """A script calls the phone; sound and keys both ways."""
    def case(world):
        with gateway_with(world) as gateway:
            phone = SecurePhone(world, gateway, name, mediaenc, microphone_hz=440)
            try:
                session = gateway.start(21, {"user": name, "record": True,
                                             "play": "file:prompts/phone-second.wav"})
                session.until_seen("Connected")
                phone.expect("CALL_RTPESTAB")
                presses_keys(phone, session)
                is_sent_keys(phone, session)
                wait_for("sound", lambda: phone.seconds_heard() > 1.5)
                expect("encryption", phone.is_encrypted(), is_encrypted)
                expect_clean(gateway)
                session.tell(command="hangup")
                phone.expect("CALL_CLOSED")
                session.until_seen("Disconnected")
                session.tell(command="end")
                heard_and_was_heard(phone, gateway, session)
            finally:
                phone.end()
    return case


def expect_clean(gateway):
    """Every protected packet is the peer's own, up to the end of the call: baresip's last RTCP may
    be in the clear."""
    metrics = gateway.metrics()
    for name in ("srtp_unauthenticated_total", "srtp_not_sent_total"):
        expect(name, metrics[name], 0)


def joined(world):
    """Two phones, one encrypted and one not, talk through the gateway."""
    with gateway_with(world) as gateway:
        first = SecurePhone(world, gateway, "needs", "srtp-mand", microphone_hz=440)
        second = SecurePhone(world, gateway, "never", "", microphone_hz=620)
        try:
            first.dial(f"sip:never@{USERS}:{gateway.sip}")
            first.expect("CALL_ESTABLISHED")
            second.expect("CALL_RTPESTAB")
            wait_for("sound", lambda: min(first.seconds_heard(), second.seconds_heard()) > 1.5)
            expect("encryption", (first.is_encrypted(), second.is_encrypted()), (True, False))
            expect_clean(gateway)
            first.hang_up()
            second.expect("CALL_CLOSED")
            hears("the first phone", first.heard(), 620, 0.8, -20)
            hears("the second phone", second.heard(), 440, 0.8, -20)
        finally:
            first.end()
            second.end()


def refused_in(world):
    """A plain phone where SRTP is required, and one that insists where it is off."""
    with gateway_with(world) as gateway:
        for number, (name, mediaenc) in enumerate([("needs", ""), ("never", "srtp-mand")], 1):
            phone = SecurePhone(world, gateway, name, mediaenc)
            try:
                phone.dial(f"sip:800@{USERS}:{gateway.sip}")
                end = phone.expect("CALL_CLOSED")
                if "488" not in end.get("param", ""):
                    raise Failure(f"{name} was not refused with 488: {end}")
                expect("refused", gateway.metrics()["calls_refused_srtp_total"], number)
            finally:
                phone.end()


def refused_out(world):
    """A phone without SRTP does not take a call that requires it."""
    with gateway_with(world) as gateway:
        phone = SecurePhone(world, gateway, "needs", "")
        try:
            session = gateway.start(21, {"user": "needs"})
            expect("code", session.until_seen("Failed")["code"], 488)
            session.tell(command="end")
        finally:
            phone.end()


def pjsip_phone(world, gateway, name, srtp):
    phone = pjsip.PjsipPhone(world.folder, name, free_ports(1, USERS)[0], user=name,
                             registrar=f"{USERS}:{gateway.sip}", password=PASSWORD,
                             address=USERS, srtp=srtp, microphone_hz=440)
    phone.registered()
    return phone


def lines_of_keys(texts):
    """Protocol and first suite of each description."""
    found = []
    for text in texts:
        protocol = re.search(r"(?m)^m=audio \d+ (\S+)", text)
        suite = re.search(r"(?m)^a=crypto:\d+ (\S+)", text)
        if protocol:
            found.append((protocol.group(1), suite.group(1) if suite else ""))
    return found


def pjsip_calls_in(name, srtp, protocol):
    """PJSIP's first choice is AES-256, which is answered."""
    def case(world):
        with gateway_with(world) as gateway, pjsip_phone(world, gateway, name, srtp) as phone:
            phone.dial(f"sip:800@{USERS}:{gateway.sip}")
            phone.connected()
            phone.press("159#0")
            wait_for("sound", lambda: phone.seconds_heard() > 2)
            expect_clean(gateway)
            phone.hang_up()
            phone.closed()
            expect("answer", set(lines_of_keys(phone.received("SIP/2.0 200"))),
                   {(protocol, "AES_256_CM_HMAC_SHA1_80")})
            heard_the_prompt(phone, gateway, name)
    return case


def pjsip_is_called(name, srtp, protocol):
    """Sound and keys both ways, and on after a hold, which offers the same key again."""
    def case(world):
        with gateway_with(world) as gateway, pjsip_phone(world, gateway, name, srtp) as phone:
            session = gateway.start(21, {"user": name, "record": True,
                                         "play": "file:prompts/phone-second.wav"})
            session.until_seen("Connected")
            presses_keys(phone, session)
            wait_for("sound", lambda: phone.seconds_heard() > 1.5)
            phone.hold()
            session.until_seen("OnHold")
            phone.resume()
            session.until_seen("OffHold")
            is_sent_keys(phone, session)
            expect_clean(gateway)
            session.tell(command="hangup")
            phone.closed()
            session.until_seen("Disconnected")
            session.tell(command="end")
            expect("answer", lines_of_keys(phone.sent("SIP/2.0 200"))[0],
                   (protocol, "AES_CM_128_HMAC_SHA1_80"))
            heard_and_was_heard(phone, gateway, session)
    return case


PJSIP = () if not pjsip.missing() else ("PJSIP's wheel",)
BARESIP = ("baresip",)
CASES = [
    ("SRTP: a phone that needs it calls in", BARESIP, calls_in("needs", "srtp-mand", True)),
    ("SRTP: a phone that offers it calls in", BARESIP, calls_in("default", "srtp", True)),
    ("SRTP: a phone that offers it where it is off calls in", BARESIP,
     calls_in("never", "srtp", False)),
    ("SRTP: a phone that needs it is called", BARESIP, is_called("needs", "srtp-mand", True)),
    ("SRTP: a phone that may have it is called", BARESIP, is_called("may", "srtp", True)),
    ("SRTP: a phone without it that may have it is called", BARESIP,
     is_called("may", "", False)),
    ("SRTP: an encrypted phone talks to a plain one", BARESIP, joined),
    ("SRTP: calls in that may not be are refused 488", BARESIP, refused_in),
    ("SRTP: a call out that cannot be encrypted fails 488", BARESIP, refused_out),
    ("SRTP: PJSIP that needs it calls in", PJSIP,
     pjsip_calls_in("needs", "required", "RTP/SAVP")),
    ("SRTP: PJSIP that offers it calls in", PJSIP,
     pjsip_calls_in("default", "optional", "RTP/AVP")),
    ("SRTP: PJSIP that needs it is called", PJSIP,
     pjsip_is_called("needs", "required", "RTP/SAVP")),
    ("SRTP: PJSIP that may have it is called", PJSIP,
     pjsip_is_called("may", "optional", "RTP/AVP")),
]
