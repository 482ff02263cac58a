"""The six sample scenarios, end to end, against real phones."""

import json
import urllib.parse

from peers import Failure, WebService, wait_for
from phone_cases import HELLO_HZ, PILOT_DBFS, SECOND_HZ, hears, hears_not, recordings_of
from shared import USERS, callee, caller, desk, expect, shared, user

CHIME_HZ = 620  # scenarios/prompts/callback.wav begins with it
BEEP_HZ = 1400
RINGBACK_HZ = 440  # of the US ringing tone


def hears_chime(what, track, hz):
    """A chime of -15 dBFS, 0.3 s long, among other sounds."""
    found = track.tone_seconds(hz, at_least_dbfs=-17.0)
    if not 0.15 <= found <= 0.5:
        raise Failure(f"{what}: {hz} Hz for {found:.2f} s")


@shared
def callback_on_phones(world, gateway):
    first = desk(world, gateway, 1, microphone_hz=HELLO_HZ)
    second = desk(world, gateway, 2, microphone_hz=SECOND_HZ)
    try:
        session = gateway.start(1, "601:602:record")
        session.until("both joined", lambda a: a["stage"] == "joined")
        second.expect("CALL_RTPESTAB")
        second.press("5")
        session.until("a key", lambda a: a["tones"])
        first.press("7")
        answer = session.until("two keys", lambda a: len(a["tones"]) == 2)
        expect("keys", answer["tones"], [{"leg": "b", "tone": "5"}, {"leg": "a", "tone": "7"}])
        wait_for("sound", lambda: second.seconds_heard() > 1.5)
        status, text = gateway.get(session.url, "nonsense")
        expect("nonsense", (status, "error" in json.loads(text)), (200, True))
        expect("stage", session.tell(command="hangup")["stage"], "ended")
        first.expect("CALL_CLOSED")
        second.expect("CALL_CLOSED")
        row = session.row()
        expect("custom data", row["custom_data"], "601:602:record hung up over HTTP")
        expect("reason", row["finish_reason"], "Normal termination")
        for what, track, other in (("the first phone", first.heard(), SECOND_HZ),
                                   ("the second phone", second.heard(), HELLO_HZ)):
            hears(what, track, other, 1.0, -20)
        hears_chime("the first phone, before the prompt", first.heard(), CHIME_HZ)
        hears_not("the first phone", first.heard(), HELLO_HZ)
        hears_not("the second phone", second.heard(), SECOND_HZ)
        recorded = recordings_of(gateway, row)
        expect("recordings", sorted(recorded), ["a", "b"])
        hears("left of a", recorded["a"].channel(0), SECOND_HZ, 1.0, -20)
        hears("right of a", recorded["a"].channel(1), HELLO_HZ, 1.0, -20)
        hears("left of b", recorded["b"].channel(0), HELLO_HZ, 1.0, -20)
    finally:
        first.end()
        second.end()


@shared
def callback_on_the_loopback_trunk(_, gateway):
    session = gateway.start(1, "7001:7002:record")
    session.until("both joined", lambda a: a["stage"] == "joined")
    answer = session.until("a key", lambda a: a["tones"])
    expect("key", answer["tones"][0], {"leg": "b", "tone": "1"})
    session.tell(command="hangup")
    recorded = recordings_of(gateway, session.row())
    hears("left of a", recorded["a"].channel(0), SECOND_HZ, 0.8, PILOT_DBFS)
    hears("left of b", recorded["b"].channel(0), HELLO_HZ, 0.8, PILOT_DBFS)


@shared
def callback_rings_meanwhile(world, gateway):
    """While the second phone rings the first hears it ring, and may give up."""
    first = desk(world, gateway, 1)
    second = callee(world, gateway, "uas_cancelled")
    try:
        session = gateway.start(1, "601:2001")
        session.until("b ringing", lambda a: a["b"] == "ringing")
        wait_for("ringing", lambda: first.seconds_heard() > 3.5)
        first.hang_up()
        second.done()
        expect("custom data", session.row()["custom_data"], "601:2001 a hung up")
        hears("the first phone", first.heard(), RINGBACK_HZ, 1.0)
    finally:
        first.end()
        second.end()


@shared
def callback_second_is_busy(world, gateway):
    first = desk(world, gateway, 1)
    try:
        session = gateway.start(1, "601:7003")
        first.expect("CALL_CLOSED", 20)
        expect("custom data", session.row()["custom_data"],
               "601:7003 b failed: 486 Busy Here")
    finally:
        first.end()


@shared
def callback_first_is_busy(_, gateway):
    row = gateway.start(1, "7003:7002").row()
    expect("custom data", row["custom_data"], "7003:7002 a failed: 486 Busy Here")


@shared
def notification_confirmed(world, gateway):
    phone = desk(world, gateway, 1)
    try:
        session = gateway.start(2, "601")
        phone.expect("CALL_RTPESTAB")
        wait_for("the end of the message", lambda: phone.seconds_heard() > 4.5)
        phone.press("1")
        phone.expect("CALL_CLOSED")
        expect("custom data", session.row()["custom_data"], "601 confirmed")
        if phone.heard().loud_seconds() < 3:
            raise Failure(f"only {phone.heard().loud_seconds():.1f} s of speech")
    finally:
        phone.end()


@shared
def notification_hung_up(world, gateway):
    phone = desk(world, gateway, 1)
    try:
        session = gateway.start(2, "601")
        phone.expect("CALL_RTPESTAB")
        phone.hang_up()
        expect("custom data", session.row()["custom_data"], "601 hung up without confirming")
    finally:
        phone.end()


@shared
def notification_never_confirmed(_, gateway):
    """7001 only talks: three times, then the gateway gives up."""
    session = gateway.start(2, {"number": "7001", "attempts": 1})
    row = session.row(60)
    expect("custom data", row["custom_data"], "7001 not confirmed")


@shared
def notification_busy(_, gateway):
    session = gateway.start(2, {"number": "7003", "attempts": 1})
    expect("custom data", session.row()["custom_data"], "7003 not reached: 486 Busy Here")


@shared
def notification_spoken(world, gateway):
    """A text of its own, spoken by the machine's speech engine."""
    phone = desk(world, gateway, 1)
    try:
        gateway.start(2, {"number": "601", "text": "Your order has arrived today.", "attempts": 1})
        phone.expect("CALL_RTPESTAB")
        wait_for("speech", lambda: phone.seconds_heard() > 3)
        phone.hang_up()
        phone.expect("CALL_CLOSED")
        if phone.heard().loud_seconds() < 1:
            raise Failure(f"only {phone.heard().loud_seconds():.1f} s of speech")
    finally:
        phone.end()


@shared
def survey_answered(world, gateway):
    """Keys cut the prompts short; one that no question has is asked again."""
    service = WebService()
    phone = desk(world, gateway, 1)
    try:
        session = gateway.start(3, {"number": "601", "url": service.url + "/answers"})
        phone.expect("CALL_RTPESTAB")
        for key, answers in (("4", 1), ("9", 1), ("2", 2), ("1", 3)):
            heard = phone.seconds_heard()
            wait_for("the question", lambda h=heard: phone.seconds_heard() > h + 0.6)
            phone.press(key)
            session.until(f"answer {answers}", lambda a, n=answers: len(a["answers"]) >= n)
        phone.expect("CALL_CLOSED")
        session.row()
        expect("posts", [(path, json.loads(body)) for path, body in service.posts],
               [("/answers", {"number": "601", "complete": True, "answers": ["4", "2", "1"]})])
    finally:
        phone.end()
        service.end()


@shared
def survey_hung_up(world, gateway):
    service = WebService()
    phone = desk(world, gateway, 1)
    try:
        session = gateway.start(3, {"number": "601", "url": service.url})
        phone.expect("CALL_RTPESTAB")
        wait_for("the question", lambda: phone.seconds_heard() > 0.6)
        phone.press("3")
        session.until("the answer", lambda a: len(a["answers"]) == 1)
        phone.hang_up()
        session.row()
        expect("posts", [json.loads(body) for _, body in service.posts],
               [{"number": "601", "complete": False, "answers": ["3"]}])
    finally:
        phone.end()
        service.end()


@shared
def survey_not_reached(_, gateway):
    service = WebService()
    try:
        gateway.start(3, {"number": "7003", "url": service.url}).row()
        expect("posts", [json.loads(body) for _, body in service.posts],
               [{"number": "7003", "complete": False, "answers": [],
                 "error": "486 Busy Here"}])
    finally:
        service.end()


@shared
def survey_service_is_down(_, gateway):
    """The answers can't be posted: three tries, and the session ends all the same."""
    session = gateway.start(3, {"number": "7003", "url": "http://127.0.0.1:9/"})
    expect("reason", session.row(30)["finish_reason"], "Normal termination")


@shared
def greeting_forwards(world, gateway):
    alice = user(world, gateway, "alice", microphone_hz=SECOND_HZ)
    bob = user(world, gateway, "bob", microphone_hz=HELLO_HZ)
    try:
        alice.registered()
        bob.registered()
        bob.dial(f"sip:100@{USERS}:{gateway.sip}")
        bob.expect("CALL_RTPESTAB")
        wait_for("the greeting", lambda: bob.seconds_heard() > 1)
        bob.press("1")
        alice.expect("CALL_RTPESTAB")
        wait_for("sound", lambda: alice.seconds_heard() > 1.5)
        bob.press("7")
        try:
            wait_for("the key at alice", lambda: alice.keys() == "7")
        except Failure as failure:
            raise Failure(f"{failure}: {alice.keys()!r}") from None
        alice.hang_up()
        bob.expect("CALL_CLOSED")
        hears("bob", bob.heard(), SECOND_HZ, 0.8, -20)
        hears("alice", alice.heard(), HELLO_HZ, 0.8, -20)
    finally:
        alice.end()
        bob.end()


@shared
def greeting_takes_a_message(world, gateway):
    """Nobody is registered: a message is taken instead."""
    bob = user(world, gateway, "bob", microphone_hz=HELLO_HZ)
    try:
        bob.registered()
        bob.dial(f"sip:100@{USERS}:{gateway.sip}")
        bob.expect("CALL_RTPESTAB")
        bob.press("1")
        wait_for("the beep and a second", lambda: bob.seconds_heard() > 5)
        bob.hang_up()
        bob.expect("CALL_CLOSED")
        hears_chime("bob, the beep", bob.heard(), BEEP_HZ)
        row = gateway.latest("greeting")
        hears("the message", recordings_of(gateway, row)["greeting"].channel(), HELLO_HZ, 0.5)
    finally:
        bob.end()


@shared
def greeting_caller_cancels(world, gateway):
    caller(world, gateway, "uac_call", "100", hold_ms=400).done()


@shared
def voicemail_ends_with_a_key(world, gateway):
    bob = user(world, gateway, "bob", microphone_hz=HELLO_HZ)
    try:
        bob.registered()
        bob.dial(f"sip:101@{USERS}:{gateway.sip}")
        bob.expect("CALL_RTPESTAB")
        wait_for("the message", lambda: bob.seconds_heard() > 4.5)
        bob.press("#")
        bob.expect("CALL_CLOSED")
        hears_chime("bob, the beep", bob.heard(), BEEP_HZ)
        row = gateway.latest("voicemail")
        if not row["custom_data"].startswith("message from bob: http"):
            raise Failure(f"custom data: {row['custom_data']}")
        hears("the message", recordings_of(gateway, row)["voicemail"].channel(), HELLO_HZ, 0.8)
    finally:
        bob.end()


@shared
def voicemail_ends_with_the_call(world, gateway):
    caller(world, gateway, "uac_call", "101", hold_ms=4500).done()
    row = gateway.latest("voicemail")
    expect("records", len(row["records"]), 1)


@shared
def click_to_call(_, gateway):
    session = gateway.start(6)
    session.tell(command="dial", number="7001")
    session.tell(command="dial", number="7002")
    session.until("both connected", lambda a: [c["state"] for c in a["calls"]]
                  == ["connected", "connected"])
    session.tell(command="join", calls=[1, 2])
    session.until("a key", lambda a: a["calls"][1]["tones"].startswith("1"))
    expect("no call 3", session.tell(command="hangup", call=3), {"error": "no call 3"})
    expect("unknown", "error" in session.tell(command="dance"), True)
    session.tell(command="part", calls=[1, 2])
    session.tell(command="hangup", call=1)
    session.until("the first ended", lambda a: a["calls"][0]["state"] == "ended")
    session.tell(command="dial", number="7003")
    session.until("the third failed", lambda a: a["calls"][2]["state"] == "486 Busy Here")
    session.tell(command="end")
    row = session.row()
    expect("calls", sorted(c["remote_number"] for c in row["calls"]), ["7001", "7002", "7003"])
    expect("after its end", session.is_over(), True)


@shared
def path_and_query_reach_the_script(_, gateway):
    """Whatever follows the access URL is the script's; here it ignores it and answers."""
    session = gateway.start(6)
    more = "/command=play/pId=1?" + urllib.parse.urlencode({"a": "b c"})
    expect("answer", gateway.get(session.url + more), (200, '{"calls":[]}'))
    session.tell(command="end")


BARESIP, SIPP, BOTH = ("baresip",), ("sipp",), ("baresip", "sipp")
CASES = [
    ("callback.js joins two phones", BARESIP, callback_on_phones),
    ("callback.js on the loopback trunk", (), callback_on_the_loopback_trunk),
    ("callback.js: it rings meanwhile, the first gives up", BOTH, callback_rings_meanwhile),
    ("callback.js: the second is busy", BARESIP, callback_second_is_busy),
    ("callback.js: the first is busy", (), callback_first_is_busy),
    ("notification.js is confirmed", BARESIP, notification_confirmed),
    ("notification.js: hung up", BARESIP, notification_hung_up),
    ("notification.js: never confirmed", (), notification_never_confirmed),
    ("notification.js: busy", (), notification_busy),
    ("notification.js speaks a text", ("baresip", "espeak-ng"), notification_spoken),
    ("survey.js is answered and posted", BARESIP, survey_answered),
    ("survey.js: hung up half-way", BARESIP, survey_hung_up),
    ("survey.js: not reached", (), survey_not_reached),
    ("survey.js: the web service is down", (), survey_service_is_down),
    ("greeting.js forwards to a user", BARESIP, greeting_forwards),
    ("greeting.js takes a message", BARESIP, greeting_takes_a_message),
    ("greeting.js: the caller hangs up in the menu", SIPP, greeting_caller_cancels),
    ("voicemail.js ends with #", BARESIP, voicemail_ends_with_a_key),
    ("voicemail.js ends with the call", SIPP, voicemail_ends_with_the_call),
    ("clicktocall.js is steered over HTTP", (), click_to_call),
    ("path and query of an access URL", (), path_and_query_reach_the_script),
]
