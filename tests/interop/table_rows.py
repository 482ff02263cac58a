"""The rows of the table that are the same for every phone: one function for each flow.

A `side` is a column: it makes phones (`side.phone`) under three names (`side.names`), knows what a
phone dials to reach a number of the gateway (`side.uri`), and what the scenario dials to reach a
phone (`side.order`).
"""

import re

from gateway import API_PAUSE_S
from peers import Failure, wait_for
from phone_cases import HELLO_HZ, PILOT_DBFS, hears, hears_not, recordings_of
from shared import expect
from table_gateway import keys_are, saw
from table_side import FIRST_HZ

MICROPHONE_DBFS = -20


def ends(session):
    session.tell(command="end")
    return session.row()


def sounds(phone, seconds=1.5, call=0):
    wait_for(f"{phone.uri} to hear {seconds} s", lambda: phone.seconds_heard(call) >= seconds)


def register(side):
    name = side.names[0]
    phone = side.phone(name)
    try:
        phone.registered()
        expect("contacts", side.gateway.contacts(name), 1)
    finally:
        phone.end()
    wait_for("its farewell to be heard", lambda: side.gateway.contacts(name) == 0,
             pause=API_PAUSE_S)


def wrong_password(side):
    name = side.names[0]
    with side.phone(name, password="battery staple") as phone:
        phone.refused()
    expect("contacts", side.gateway.contacts(name), 0)
    session = side.gateway.dial(**side.order(name))
    expect("code", saw(session, "Failed")["code"], 480)
    ends(session)


def call_in(side):
    with side.registered(side.names[0], FIRST_HZ) as phone:
        phone.dial(side.uri("800"))
        phone.connected()
        session = side.gateway.came_in()
        sounds(phone)
        phone.hang_up()
        phone.closed()
        expect("code", saw(session, "Disconnected")["code"], 200)
        both_ways(side, phone, ends(session))


def both_ways(side, phone, row):
    """The phone heard the prompt, and the recording holds the prompt left and the phone right."""
    hears("the phone", phone.heard(), HELLO_HZ, 0.8, PILOT_DBFS)
    hears_not("the phone", phone.heard(), FIRST_HZ)
    recorded = recordings_of(side.gateway, row)["a"]
    hears("left: to the phone", recorded.channel(0), HELLO_HZ, 0.8, PILOT_DBFS)
    hears("right: from the phone", recorded.channel(1), FIRST_HZ, 0.5, MICROPHONE_DBFS)


def call_out(side):
    with side.registered(side.names[1], FIRST_HZ) as phone:
        session = side.gateway.dial(**side.order(side.names[1]), play=True, record=True)
        saw(session, "Connected")
        phone.connected()
        sounds(phone)
        session.tell(command="hangup")
        expect("status at the phone", phone.closed(), 200)
        expect("code", saw(session, "Disconnected")["code"], 200)
        both_ways(side, phone, ends(session))


def busy(side):
    with side.registered(side.names[1], answers=()) as phone:
        session = side.gateway.dial(**side.order(side.names[1]))
        phone.ringing()
        phone.reject(486)
        expect("code", saw(session, "Failed")["code"], 486)
        ends(session)
    with side.registered(side.names[0]) as phone:
        phone.dial(side.uri("801"))
        session = side.gateway.came_in()
        expect("status at the phone", phone.closed(), 486)
        ends(session)


def no_answer(side):
    """The gateway gives up after RING_S, on either side."""
    with side.registered(side.names[1], answers=(180,)) as phone:
        session = side.gateway.dial(**side.order(side.names[1]))
        saw(session, "Ringing")
        expect("code", saw(session, "Failed", seconds=15)["code"], 408)
        phone.closed()
        ends(session)
    with side.registered(side.names[0]) as phone:
        phone.dial(side.uri("803"))
        session = side.gateway.came_in()
        expect("status at the phone", phone.closed(seconds=15), 480)
        expect("code", saw(session, "Disconnected")["code"], 408)
        ends(session)


def cancel(side):
    with side.registered(side.names[1], answers=(180,)) as phone:
        session = side.gateway.dial(**side.order(side.names[1]))
        saw(session, "Ringing")
        phone.ringing()
        session.tell(command="hangup")
        expect("code", saw(session, "Failed")["code"], 487)
        phone.closed()
        ends(session)
    with side.registered(side.names[0]) as phone:
        phone.dial(side.uri("803"))
        session = side.gateway.came_in()
        phone.hang_up()
        phone.closed()
        expect("code", saw(session, "Disconnected")["code"], 487)
        ends(session)


def early_media(side):
    our_early_media(side)
    their_early_media(side)


def our_early_media(side):
    with side.registered(side.names[0]) as phone:
        phone.dial(side.uri("802"))
        session = side.gateway.came_in()
        sounds(phone, 1.0)
        hears("before the answer", phone.heard(), HELLO_HZ, 0.5)
        expect("answered", phone.is_connected(), False)
        session.tell(command="answer")
        phone.connected()
        phone.hang_up()
        saw(session, "Disconnected")
        ends(session)


def their_early_media(side, makes_sound=True):
    """It is passed on to who called, before the answer."""
    with (side.registered(side.names[0]) as caller,
          side.registered(side.names[1], FIRST_HZ, answers=(183,)) as callee):
        caller.dial(side.through(side.names[1]))
        session = side.gateway.came_in()
        saw(session, "AudioStarted", "b")
        wait_for("183 at the caller", lambda: caller.received("SIP/2.0 183"))
        if makes_sound:
            sounds(caller, 1.0)
            hears("before the answer", caller.heard(), FIRST_HZ, 0.5, MICROPHONE_DBFS)
        expect("answered", caller.is_connected(), False)
        callee.answer()
        caller.connected()
        caller.hang_up()
        callee.closed()
        session.row()


def hold_by_peer(side):
    with side.registered(side.names[0], FIRST_HZ) as phone:
        phone.dial(side.uri("800"))
        phone.connected()
        session = side.gateway.came_in()
        side.hears_tone(phone, HELLO_HZ)
        phone.hold()
        saw(session, "OnHold")
        direction_is(phone, "sendonly", "recvonly")
        side.hears_nothing(phone, HELLO_HZ)
        phone.resume()
        saw(session, "OffHold")
        direction_is(phone, "sendrecv", "sendrecv")
        side.hears_tone(phone, HELLO_HZ)
        phone.hang_up()
        phone.closed()
        ends(session)


def direction(text):
    """The direction of an SDP's audio, sendrecv where it is not said (RFC 3264 §5.1)."""
    for word in ("sendonly", "recvonly", "inactive"):
        if f"\na={word}" in text:
            return word
    return "sendrecv"


def direction_is(phone, offered, answered):
    """Of the phone's last offer in a call, and of the gateway's answer to it."""
    def last():
        offer = [text for text in phone.sent("INVITE ") if "\nv=0" in text][-1]
        number = next(line for line in offer.split("\n") if line.lower().startswith("cseq:"))
        answers = [text for text in phone.received("SIP/2.0 200") if number in text]
        return (offer, answers[-1]) if answers else None
    offer, answer = wait_for("the answer to the offer", last)
    expect("directions", (direction(offer), direction(answer)), (offered, answered))


def dtmf_rfc4733(side):
    with side.registered(side.names[0]) as phone:
        phone.dial(side.uri("805"))
        phone.connected()
        session = side.gateway.came_in()
        saw(session, "Connected")
        phone.press("159#0")
        keys_are(session, "159#0")
        expect("kind", saw(session, "ToneReceived")["type"], "1")
        session.tell(command="digits", text="90*")
        wait_for("keys at the phone", lambda: len(phone.keys()) >= 3)
        expect("keys at the phone", phone.keys(), "90*")
        phone.hang_up()
        phone.closed()
        ends(session)


def dtmf_info(side):
    with side.registered(side.names[0]) as phone:
        phone.dial(side.uri("805"))
        phone.connected()
        session = side.gateway.came_in()
        saw(session, "Connected")
        phone.press("159#0", "info")
        keys_are(session, "159#0")
        expect("kind", saw(session, "ToneReceived")["type"], "3")
        phone.hang_up()
        phone.closed()
        ends(session)
    info_to_phone(side)


def info_to_phone(side):
    """A trunk that wants INFO gets INFO."""
    with side.desk("info", "501") as phone:
        session = side.gateway.dial(number="501")
        saw(session, "Connected")
        phone.connected()
        session.tell(command="digits", text="90*")
        wait_for("keys at the phone", lambda: len(phone.keys()) >= 3)
        expect("keys at the phone", phone.keys(), "90*")
        expect("INFOs", len(phone.received("INFO ")), 3)
        session.tell(command="hangup")
        phone.closed()
        ends(session)


def dtmf_inband(side):
    with side.registered(side.names[0], **side.inband("159#0")) as phone:
        phone.dial(side.uri("805"))
        phone.connected()
        session = side.gateway.came_in()
        saw(session, "Connected")
        phone.press("159#0", "inband")
        keys_are(session, "159#0")
        expect("kind", saw(session, "ToneReceived")["type"], "2")
        phone.hang_up()
        phone.closed()
        ends(session)
    inband_to_phone(side)


def inband_to_phone(side):
    """A trunk that wants tones gets tones."""
    with side.desk("inband", "502") as phone:
        session = side.gateway.dial(number="502")
        saw(session, "Connected")
        phone.connected()
        sounds(phone, 0.2)
        session.tell(command="digits", text="90*")
        wait_for("keys in the sound", lambda: len(phone.heard().keys()) >= 3, pause=0.1)
        session.tell(command="hangup")
        phone.closed()
        expect("keys in the sound", phone.heard().keys(), "90*")
        ends(session)



def prack(side):
    """Ours to their reliable ringing, theirs to our reliable early media (RFC 3262)."""
    with side.registered(side.names[0], prack="required") as phone:
        phone.dial(side.uri("802"))
        session = side.gateway.came_in()
        early = wait_for("183", lambda: phone.received("SIP/2.0 183"))[0]
        has_header(early, "Require", "100rel")
        has_header(early, "RSeq", r"\d+")
        acknowledged(phone.sent("PRACK "), early)
        sounds(phone, 0.5)
        session.tell(command="answer")
        phone.connected()
        phone.hang_up()
        phone.closed()
        ends(session)
    with side.registered(side.names[1], answers=(180,), prack="required") as phone:
        session = side.gateway.dial(**side.order(side.names[1]))
        saw(session, "Ringing")
        ringing = wait_for("its 180", lambda: phone.sent("SIP/2.0 180"))[0]
        has_header(ringing, "Require", "100rel")
        wait_for("PRACK", lambda: phone.received("PRACK "))
        acknowledged(phone.received("PRACK "), ringing)
        phone.answer()
        phone.connected()
        saw(session, "Connected")
        session.tell(command="hangup")
        phone.closed()
        ends(session)


def header(text, name):
    found = re.search(rf"(?im)^{name}:[ \t]*(.*)$", text.split("\n\n")[0])
    return found.group(1).strip() if found else ""


def has_header(text, name, pattern):
    if not re.search(pattern, header(text, name)):
        raise Failure(f"{name} is {header(text, name)!r} in {text[:400]}")


def acknowledged(pracks, response):
    """One PRACK, of this response: RAck holds RSeq and CSeq (RFC 3262 §7.2)."""
    wanted = f"{header(response, 'RSeq')} {header(response, 'CSeq')}"
    expect("RAck", [header(prack, "RAck") for prack in pracks], [wanted])
