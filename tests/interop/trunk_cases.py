"""SIPp as a trunk, in both directions."""

import hashlib
import re
import signal
import socket
import time

from gateway import Gateway
from peers import Failure, Sipp, free_ports, wait_for
from shared import DIGEST, NOBODY, TCP, callee, caller, expect, shared


def answered_call(gateway, number, code):
    row = gateway.latest("inbound")
    expect("custom data", row["custom_data"], f"{number} from caller: {code}")
    expect("finish reason", row["finish_reason"], "Normal termination")


@shared
def inbound_answered(world, gateway):
    peer = caller(world, gateway, "uac_call", "800")
    peer.done()
    ok = peer.received("SIP/2.0 200")
    if not re.search(r"(?im)^X-Answered-By: 800", ok[0]):
        raise Failure(f"no X-Answered-By in {ok[0]}")
    if not re.search(r"(?m)^m=audio [1-9]\d* RTP/AVP (0|8)\b", ok[0]):
        raise Failure(f"no audio in {ok[0]}")
    answered_call(gateway, "800", 200)


@shared
def inbound_refused_by_script(world, gateway):
    peer = caller(world, gateway, "uac_refused", "801", words={"CODE": 486})
    peer.done()
    if not re.search(r"(?im)^X-Why: busy", peer.received("SIP/2.0 486")[0]):
        raise Failure("no X-Why in the 486")
    answered_call(gateway, "801", 486)


@shared
def inbound_without_rule(world, gateway):
    caller(world, gateway, "uac_refused", "999", words={"CODE": 404}).done()


@shared
def inbound_from_stranger(world, gateway):
    """Nobody's trunk: it would have to be a user, whatever name it uses; and no session."""
    before = gateway.metrics()["sessions_started_total"]
    caller(world, gateway, "uac_refused", "800", address="127.0.0.9", words={"CODE": 401}).done()
    expect("sessions", gateway.metrics()["sessions_started_total"], before)


@shared
def inbound_early_media(world, gateway):
    caller(world, gateway, "uac_early", "802").done()


@shared
def inbound_cancelled(world, gateway):
    caller(world, gateway, "uac_cancel", "803").done()
    answered_call(gateway, "803", 487)


@shared
def inbound_cancelled_late(world, gateway):
    caller(world, gateway, "uac_cancel_late", "800").done()


@shared
def inbound_never_answered(world, gateway):
    """ring_timeout_s is 10 here."""
    caller(world, gateway, "uac_refused", "803", words={"CODE": 480}).done()
    answered_call(gateway, "803", 408)


@shared
def inbound_hung_up(world, gateway):
    caller(world, gateway, "uac_hungup", "804").done()


@shared
def inbound_script_throws(world, gateway):
    """An exception in a listener is logged; the call goes on to its end."""
    before = gateway.metrics()["script_exceptions_total"]
    caller(world, gateway, "uac_hungup", "806").done()
    expect("exceptions", gateway.metrics()["script_exceptions_total"], before + 1)


@shared
def inbound_lossy(world, gateway):
    """A fifth of the caller's messages are lost, both ways."""
    caller(world, gateway, "uac_hungup", "804", more=("-lost", "20"), seconds=40).done()


@shared
def inbound_over_tcp(world, gateway):
    caller(world, gateway, "uac_call", "800", address=TCP, transport="t1").done()


@shared
def outbound_answered(world, gateway):
    peer = callee(world, gateway, "uas_answer")
    session = gateway.start(21, {"number": "2001"})
    session.until_seen("Ringing")
    session.until_seen("Connected")
    session.tell(command="hangup")
    expect("code", session.until_seen("Disconnected")["internalCode"], 200)
    session.tell(command="end")
    peer.done()
    invite = peer.received("INVITE sip:2001@")
    if not invite or "From: " not in invite[0] or "sip:100@" not in invite[0]:
        raise Failure(f"INVITE: {invite}")
    calls = session.row()["calls"]
    expect("calls", [(c["remote_number"], c["incoming"], c["successful"]) for c in calls],
           [("2001", False, True)])


@shared
def outbound_callee_hangs_up(world, gateway):
    peer = callee(world, gateway, "uas_hangup")
    session = gateway.start(21, {"number": "2001"})
    session.until_seen("Disconnected")
    session.tell(command="end")
    peer.done()


@shared
def outbound_early_media(world, gateway):
    peer = callee(world, gateway, "uas_early")
    session = gateway.start(21, {"number": "2001", "hangup_ms": 200})
    answer = session.until("its end", lambda a: a["seen"][-1:] and
                           a["seen"][-1]["name"] == "Disconnected")
    names = [event["name"] for event in answer["seen"]]
    expect("events", names, ["Ringing", "AudioStarted", "Connected", "Disconnected"])
    session.tell(command="end")
    peer.done()


def refused(code, reason, heard=None):
    @shared
    def case(world, gateway):
        peer = callee(world, gateway, "uas_refuse", words={"CODE": code, "REASON": reason})
        session = gateway.start(21, {"number": "2001"})
        expect("code", session.until_seen("Failed")["code"], heard or code)
        session.tell(command="end")
        peer.done()
    return case


@shared
def outbound_no_route(world, gateway):
    session = gateway.start(21, {"number": "999"})
    expect("code", session.until_seen("Failed")["code"], 404)
    session.tell(command="end")


@shared
def outbound_hung_up_while_ringing(world, gateway):
    peer = callee(world, gateway, "uas_cancelled")
    session = gateway.start(21, {"number": "2001"})
    session.until_seen("Ringing")
    session.tell(command="hangup")
    expect("code", session.until_seen("Failed")["code"], 487)
    session.tell(command="end")
    peer.done()


@shared
def outbound_session_ends_while_ringing(world, gateway):
    peer = callee(world, gateway, "uas_cancelled")
    session = gateway.start(21, {"number": "2001"})
    session.until_seen("Ringing")
    session.tell(command="end")
    peer.done()


@shared
def outbound_never_answered(world, gateway):
    """ring_timeout_s is 10 here: CANCEL, Failed 408."""
    peer = callee(world, gateway, "uas_cancelled")
    session = gateway.start(21, {"number": "2001"})
    expect("code", session.until_seen("Failed", 15)["code"], 408)
    session.tell(command="end")
    peer.done()


@shared
def outbound_answer_crosses_cancel(world, gateway):
    peer = callee(world, gateway, "uas_late_answer")
    session = gateway.start(21, {"number": "2001"})
    session.until_seen("Ringing")
    session.tell(command="end")
    peer.done()


@shared
def outbound_challenged(world, gateway):
    peer = callee(world, gateway, "uas_challenge", trunk="digest", address=DIGEST, words={
        "CODE": 401, "HEADER": "WWW-Authenticate", "USER": "branch", "PASSWORD": "secret"})
    session = gateway.start(21, {"number": "4001", "hangup_ms": 200})
    session.until_seen("Connected")
    session.until_seen("Disconnected")
    session.tell(command="end")
    peer.done()
    expect("INVITEs", len(peer.received("INVITE ")), 2)


@shared
def outbound_challenged_by_a_proxy(world, gateway):
    peer = callee(world, gateway, "uas_proxy_challenge", trunk="digest", address=DIGEST)
    session = gateway.start(21, {"number": "4001", "hangup_ms": 200})
    session.until_seen("Disconnected")
    session.tell(command="end")
    peer.done()
    check_digest(peer.received("INVITE ")[1], "Proxy-Authorization", "INVITE", "branch", "secret")


def check_digest(message, header, method, username, password):
    """RFC 7616 §3.4.1 with MD5 and qop=auth."""
    text = re.search(rf"(?im)^{header}: Digest (.*)$", message)
    if not text:
        raise Failure(f"no {header} in {message}")
    pairs = re.findall(r'(\w+)="?([^",\r]*)"?', text.group(1))
    has = dict(pairs)

    def md5(value):
        return hashlib.md5(value.encode()).hexdigest()
    secret = md5(f"{username}:{has['realm']}:{password}")
    request = md5(f"{method}:{has['uri']}")
    right = md5(f"{secret}:{has['nonce']}:{has['nc']}:{has['cnonce']}:{has['qop']}:{request}")
    expect("response", (has["username"], has["response"]), (username, right))


@shared
def outbound_lossy(world, gateway):
    # On a port that no other case uses after it: its BYE may be repeated for a while.
    peer = callee(world, gateway, "uas_lossy", trunk="digest", address=DIGEST,
                  more=("-lost", "20"), seconds=40)
    session = gateway.start(21, {"number": "4001", "hangup_ms": 300})
    session.until_seen("Disconnected", 35)
    session.tell(command="end")
    peer.done()


@shared
def outbound_over_tcp(world, gateway):
    peer = callee(world, gateway, "uas_answer", trunk="tcp", address=TCP, transport="t1")
    session = gateway.start(21, {"number": "3001", "hangup_ms": 300})
    session.until_seen("Disconnected")
    session.tell(command="end")
    peer.done()


@shared
def failover_to_the_next_trunk(world, gateway):
    """Nothing listens on the first trunk's port: the second gets the call."""
    peer = callee(world, gateway, "uas_answer")
    session = gateway.start(21, {"number": "5001", "hangup_ms": 300})
    session.until_seen("Disconnected", 40)
    session.tell(command="end")
    peer.done()


@shared
def forwarded(world, gateway):
    """In and out through a JavaScript rule."""
    callee_peer = callee(world, gateway, "uas_answer")
    caller_peer = caller(world, gateway, "uac_call", "2001")
    caller_peer.done()
    callee_peer.done()
    if "sip:caller@" not in callee_peer.received("INVITE ")[0]:
        raise Failure("the caller id is not passed on")


@shared
def forwarded_to_a_busy_line(world, gateway):
    callee_peer = callee(world, gateway, "uas_refuse",
                         words={"CODE": 486, "REASON": "Busy Here"})
    caller(world, gateway, "uac_refused", "2001", words={"CODE": 486}).done()
    callee_peer.done()


@shared
def forwarded_100_at_a_time(world, gateway):
    callee_peer = callee(world, gateway, "uas_answer", calls=100, seconds=60)
    caller_peer = caller(world, gateway, "uac_call", "2001", calls=100, rate=20, hold_ms=6000,
                         seconds=60)
    wait_for("100 sessions", lambda: gateway.metrics()["sessions"] >= 95, 30)
    caller_peer.done()
    callee_peer.done()


@shared
def trunk_health_is_shown(world, gateway):
    status, text = gateway.get("/health")
    expect("status", status, 200)
    if "provider" not in text:
        raise Failure(f"/health names no trunk: {text[:300]}")


def registered_trunk(world):
    """Registers with digest, refreshes, is up; then calls go both ways."""
    address = NOBODY
    port = free_ports(1, address)[0]
    registrar = Sipp(world.folder, "uas_registrar", address, port, seconds=30, words={
        "EXPIRES": 4, "USER": "branch", "PASSWORD": "secret"})
    gateway = Gateway(world.binary, world.folder, f"""
[[trunk]]
name = "registrar"
server = "sip:{address}:{port}"
register = true
username = "branch"
password = "secret"
options_s = 0
[[route]]
pattern = '.*'
trunks = ["registrar"]
[[application]]
id = 1
name = "a"
[[application.rule]]
id = 20
name = "inbound"
pattern = '.*'
scenarios = ["interop/inbound.js"]
[[application.rule]]
id = 21
name = "dial"
pattern = ''
scenarios = ["interop/dial.js"]
""", name="registers")
    try:
        registrar.done()
        registers = registrar.received("REGISTER ")
        expect("REGISTERs", len(registers), 3)
        contact = re.search(r"(?im)^Contact:.*<sip:([^@>]*)@?", registers[0])
        if not contact:
            raise Failure(f"no Contact in {registers[0]}")
        status, text = gateway.get("/health")
        if status != 200 or "up" not in text:
            raise Failure(f"/health: {status} {text[:300]}")
        peer = Sipp(world.folder, "uas_proxy_challenge", address, port)
        session = gateway.start(21, {"number": "1", "hangup_ms": 200})
        session.until_seen("Disconnected")
        session.tell(command="end")
        peer.done()
        unregisters_at_its_stop(gateway, address, port)
    finally:
        registrar.end()
        if gateway.process.alive():
            gateway.stop()


def unregisters_at_its_stop(gateway, address, port):
    """The registrar hears of an orderly stop, and is waited for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((address, port))
        listener.settimeout(10)
        gateway.signal(signal.SIGTERM)
        register, source = listener.recvfrom(65536)
        head = register.decode().split("\r\n\r\n")[0].split("\r\n")
        if not head[0].startswith("REGISTER ") or "Expires: 0" not in head:
            raise Failure(f"no farewell: {head}")
        time.sleep(0.2)
        if not gateway.process.alive():
            raise Failure("the gateway did not wait for the registrar")
        kept = ("Via:", "From:", "To:", "Call-ID:", "CSeq:")
        answer = ["SIP/2.0 200 OK", *[line for line in head if line.startswith(kept)]]
        listener.sendto("\r\n".join([*answer, "Content-Length: 0", "", ""]).encode(), source)
        expect("status of the end", gateway.wait_end(2), 0)


def registration_refused(world):
    """A trunk that says no is shown as down with its reason, and the gateway runs on."""
    address = NOBODY
    port = free_ports(1, address)[0]
    registrar = Sipp(world.folder, "uas_registrar", address, port, seconds=30, words={
        "EXPIRES": 60, "USER": "branch", "PASSWORD": "another"})
    gateway = Gateway(world.binary, world.folder, f"""
[[trunk]]
name = "registrar"
server = "sip:{address}:{port}"
register = true
username = "branch"
password = "secret"
options_s = 0
""", name="refused")
    try:
        wait_for("the trunk to be down", lambda: "403" in gateway.get("/health")[1])
        expect("OPTIONS", gateway.options(), "SIP/2.0 200 OK")
    finally:
        registrar.end()
        gateway.stop()


SIPP = ("sipp",)
CASES = [
    ("a trunk's call is answered by a script", SIPP, inbound_answered),
    ("a trunk's call is refused by a script", SIPP, inbound_refused_by_script),
    ("a number without a rule gets 404", SIPP, inbound_without_rule),
    ("a stranger's call is refused", SIPP, inbound_from_stranger),
    ("a script sends early media", SIPP, inbound_early_media),
    ("a trunk cancels while it rings", SIPP, inbound_cancelled),
    ("a trunk cancels when it is answered already", SIPP, inbound_cancelled_late),
    ("a call that no script answers gets 480", SIPP, inbound_never_answered),
    ("a script hangs up", SIPP, inbound_hung_up),
    ("a listener throws and the call goes on", SIPP, inbound_script_throws),
    ("a caller's messages get lost", SIPP, inbound_lossy),
    ("a call comes in over TCP", SIPP, inbound_over_tcp),
    ("a script calls, and hangs up", SIPP, outbound_answered),
    ("a callee hangs up", SIPP, outbound_callee_hangs_up),
    ("a callee sends early media", SIPP, outbound_early_media),
    ("a callee is busy (486)", SIPP, refused(486, "Busy Here")),
    ("a callee declines (603)", SIPP, refused(603, "Decline")),
    ("a callee is unknown (404)", SIPP, refused(404, "Not Found")),
    ("a trunk is overloaded (503)", SIPP, refused(503, "Service Unavailable")),
    ("a number without a route fails with 404", (), outbound_no_route),
    ("a script hangs up while it rings", SIPP, outbound_hung_up_while_ringing),
    ("a session ends while its call rings", SIPP, outbound_session_ends_while_ringing),
    ("a callee never answers", SIPP, outbound_never_answered),
    ("an answer crosses our CANCEL", SIPP, outbound_answer_crosses_cancel),
    ("a trunk challenges with 401", SIPP, outbound_challenged),
    ("a trunk challenges with 407", SIPP, outbound_challenged_by_a_proxy),
    ("a callee's messages get lost", SIPP, outbound_lossy),
    ("a call goes out over TCP", SIPP, outbound_over_tcp),
    ("a dead trunk's call takes the next trunk", SIPP, failover_to_the_next_trunk),
    ("a call is forwarded by a script", SIPP, forwarded),
    ("a call is forwarded to a busy line", SIPP, forwarded_to_a_busy_line),
    ("100 calls at a time are forwarded by scripts", SIPP, forwarded_100_at_a_time),
    ("trunks are shown in /health", (), trunk_health_is_shown),
    ("the gateway registers at a trunk, refreshes and calls", SIPP, registered_trunk),
    ("a trunk refuses the registration", SIPP, registration_refused),
]
