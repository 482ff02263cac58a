"""baresip as a registered phone: what it hears and says is measured, not assumed."""

import wav
from peers import Failure, wait_for
from shared import USERS, expect, shared, user

HELLO_HZ, SECOND_HZ = 1000, 1700  # the tones under the phones' prompts
PILOT_DBFS = -23.0  # scenarios/prompts/README.md


def hears(what, track, hz, seconds=0.5, dbfs=None, within_db=2.0):
    """A track holds this tone for this long, at its level where that is given."""
    found = track.tone_seconds(hz)
    if found < seconds:
        raise Failure(f"{what}: {hz} Hz for {found:.2f} s of {track.seconds():.2f} s, "
                      f"level {track.level_dbfs():.1f} dBFS")
    level = track.tone_level_dbfs(hz)
    if dbfs is not None and abs(level - dbfs) > within_db:
        raise Failure(f"{what}: {hz} Hz at {level:.1f} dBFS, wanted {dbfs:.1f}")


def hears_not(what, track, hz):
    """Not for longer than speech may hold it by chance."""
    if (found := track.tone_seconds(hz, at_least_dbfs=-28.0)) > 0.3:
        raise Failure(f"{what}: {hz} Hz for {found:.2f} s, which nobody sent there")


def recordings_of(gateway, row):
    """The WAV files of a finished session, by the prefix of their names."""
    found = {}
    for record in row["records"]:
        name = record.get("record_name") or record["record_url"].rsplit("/", 1)[1]
        found[name.split("-")[0]] = wav.Wav.parse(gateway.recording(record["record_url"]))
    return found


def heard_the_prompt(phone, gateway, name):
    """What a call of the phone's to 800, with the keys 159#0, left behind; its recording."""
    row = gateway.latest("inbound")
    expect("custom data", row["custom_data"], f"800 from {name}: 200 1 5 9 # 0")
    hears("the phone", phone.heard(), HELLO_HZ, 0.8, PILOT_DBFS)
    recorded = recordings_of(gateway, row)["inbound"]
    hears("right: from the phone", recorded.channel(1), 440, 0.5, -20)
    return recorded


def presses_keys(phone, session):
    """The script that called the phone hears each key once."""
    phone.press("12#")
    answer = session.until("three keys", lambda a: sum(
        e["name"] == "ToneReceived" for e in a["seen"]) >= 3)
    keys = [e["tone"] for e in answer["seen"] if e["name"] == "ToneReceived"]
    expect("keys", keys, ["1", "2", "#"])


def is_sent_keys(phone, session):
    session.tell(command="digits", text="90*")
    wait_for("keys at the phone", lambda: phone.keys() == "90*")


def heard_and_was_heard(phone, gateway, session):
    """What a session that called the phone, played to it and recorded it left behind."""
    hears("the phone", phone.heard(), SECOND_HZ, 0.8, PILOT_DBFS)
    recorded = recordings_of(gateway, session.row())["dial"]
    hears("right: from the phone", recorded.channel(1), 440, 0.5, -20)


@shared
def registers(world, gateway):
    phone = user(world, gateway, "alice")
    try:
        phone.registered()
        users = gateway.api("GetUsers", application_id=1)["result"]
        expect("users", sorted(u["user_name"] for u in users), ["alice", "bob"])
    finally:
        phone.end()


@shared
def wrong_password(world, gateway):
    phone = user(world, gateway, "alice", password="battery staple")
    try:
        phone.refused()
    finally:
        phone.end()
    session = gateway.start(21, {"user": "alice"})
    expect("code", session.until_seen("Failed")["code"], 480)
    session.tell(command="end")


@shared
def phone_calls_in(world, gateway):
    """Both directions are measured: the phone hears the prompt, the recording holds the phone."""
    phone = user(world, gateway, "alice", microphone_hz=440)
    try:
        phone.registered()
        phone.dial(f"sip:800@{USERS}:{gateway.sip}")
        phone.expect("CALL_ESTABLISHED")
        phone.expect("CALL_RTPESTAB")
        phone.press("159#0")
        wait_for("sound", lambda: phone.seconds_heard() > 1.5)
        phone.hang_up()
        phone.expect("CALL_CLOSED")
        recorded = heard_the_prompt(phone, gateway, "alice")
        expect("channels", len(recorded.channels), 2)
        hears("left: to the phone", recorded.channel(0), HELLO_HZ, 0.8, PILOT_DBFS)
        hears_not("right: from the phone", recorded.channel(1), HELLO_HZ)
    finally:
        phone.end()


@shared
def echo(world, gateway):
    phone = user(world, gateway, "alice", microphone_hz=440)
    try:
        phone.registered()
        phone.dial(f"sip:805@{USERS}:{gateway.sip}")
        phone.expect("CALL_RTPESTAB")
        wait_for("a second of sound", lambda: phone.seconds_heard() > 1.5)
        phone.hang_up()
        phone.expect("CALL_CLOSED")
        hears("the phone", phone.heard(), 440, 0.8, -20)
    finally:
        phone.end()


@shared
def user_is_called(world, gateway):
    """A script calls a registered user; keys come and go, each once."""
    phone = user(world, gateway, "bob", microphone_hz=440)
    try:
        phone.registered()
        session = gateway.start(21, {"user": "bob", "record": True,
                                     "play": "file:prompts/phone-second.wav"})
        session.until_seen("Connected")
        phone.expect("CALL_RTPESTAB")
        presses_keys(phone, session)
        is_sent_keys(phone, session)
        wait_for("sound", lambda: phone.seconds_heard() > 1.5)
        session.tell(command="hangup")
        phone.expect("CALL_CLOSED")
        session.until_seen("Disconnected")
        session.tell(command="end")
        heard_and_was_heard(phone, gateway, session)
    finally:
        phone.end()


@shared
def second_contact(world, gateway):
    """A user with two phones: both ring, the first to answer has the call."""
    silent = user(world, gateway, "bob", answer=False)
    phone = user(world, gateway, "bob")
    try:
        silent.registered()
        phone.registered()
        session = gateway.start(21, {"user": "bob", "hangup_ms": 500})
        phone.expect("CALL_ESTABLISHED")
        silent.expect("CALL_CLOSED")
        session.until_seen("Disconnected")
        session.tell(command="end")
    finally:
        silent.end()
        phone.end()


@shared
def alaw_to_ulaw(world, gateway):
    """Two phones without a codec in common talk through the gateway."""
    first = user(world, gateway, "alice", microphone_hz=440, codecs="pcma")
    second = user(world, gateway, "bob", microphone_hz=620, codecs="pcmu")
    try:
        first.registered()
        second.registered()
        first.dial(f"sip:bob@{USERS}:{gateway.sip}")
        first.expect("CALL_ESTABLISHED")
        second.expect("CALL_RTPESTAB")
        wait_for("sound", lambda: min(first.seconds_heard(), second.seconds_heard()) > 1.5)
        first.hang_up()
        second.expect("CALL_CLOSED")
        hears("the first phone", first.heard(), 620, 0.8, -20)
        hears("the second phone", second.heard(), 440, 0.8, -20)
    finally:
        first.end()
        second.end()


@shared
def unregisters(world, gateway):
    phone = user(world, gateway, "alice")
    phone.registered()
    phone.end()  # baresip unregisters when it quits
    session = gateway.start(21, {"user": "alice"})
    expect("code", session.until_seen("Failed")["code"], 480)
    session.tell(command="end")


BARESIP = ("baresip",)
CASES = [
    ("a phone registers", BARESIP, registers),
    ("a wrong password does not register", BARESIP, wrong_password),
    ("a phone calls in: sound and keys both ways", BARESIP, phone_calls_in),
    ("a phone hears its echo", BARESIP, echo),
    ("a script calls a user: sound and keys both ways", BARESIP, user_is_called),
    ("of two phones of a user the first to answer has the call", BARESIP, second_contact),
    ("A-law and u-law phones talk to each other", BARESIP, alaw_to_ulaw),
    ("a phone unregisters", BARESIP, unregisters),
]
