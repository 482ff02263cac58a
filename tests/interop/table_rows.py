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
from table_gateway import EXPIRES_S, keys_are, saw
from table_side import FIRST_HZ, SECOND_HZ, THIRD_HZ

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


def call_in(side, way="", after=None):
    with side.registered(side.name(0, way), FIRST_HZ, way=way) as phone:
        phone.dial(side.uri("800", way))
        phone.connected()
        session = side.gateway.came_in()
        sounds(phone)
        phone.hang_up()
        phone.closed()
        expect("code", saw(session, "Disconnected")["code"], 200)
        both_ways(side, phone, ends(session))
        if after:
            after(phone)


def both_ways(side, phone, row):
    """The phone heard the prompt, and the recording holds the prompt left and the phone right."""
    hears("the phone", phone.heard(), HELLO_HZ, 0.8, PILOT_DBFS)
    hears_not("the phone", phone.heard(), FIRST_HZ)
    recorded = recordings_of(side.gateway, row)["a"]
    hears("left: to the phone", recorded.channel(0), HELLO_HZ, 0.8, PILOT_DBFS)
    hears("right: from the phone", recorded.channel(1), FIRST_HZ, 0.5, MICROPHONE_DBFS)


def call_out(side, way="", after=None):
    name = side.name(1, way)
    with side.registered(name, FIRST_HZ, way=way) as phone:
        session = side.gateway.dial(**side.order(name, way), play=True, record=True)
        saw(session, "Connected")
        phone.connected()
        sounds(phone)
        session.tell(command="hangup")
        expect("status at the phone", phone.closed(), 200)
        expect("code", saw(session, "Disconnected")["code"], 200)
        both_ways(side, phone, ends(session))
        if after:
            after(phone)


def over_tls(side):
    """Registration and calls both ways over TLS, the certificate checked by who connects."""
    call_in(side, way="tls")
    call_out(side, way="tls")


def over_ipv6(side):
    """Registration, calls both ways and their sound over IPv6."""
    call_in(side, way="ipv6")
    call_out(side, way="ipv6")


def over_srtp(side):
    """Calls both ways whose sound is encrypted with keys in the SDP (RFC 4568)."""
    for flow in (call_in, call_out):
        flow(side, way="srtp", after=is_encrypted)


def is_encrypted(phone):
    """Offer and answer: RTP/SAVP, and a key of each side."""
    described = [(way, text) for way, text in phone.messages() if "\nm=audio" in text]
    for way in ("sent", "received"):
        text = next(text for this, text in described if this == way)
        if "RTP/SAVP " not in text or "\na=crypto:" not in text:
            raise Failure(f"{way} without keys: {text[-500:]}")


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


def hold_by_us(side):
    """A script's re-INVITE: on hold with music, on hold in silence, back again."""
    with side.registered(side.names[0], FIRST_HZ) as phone:
        phone.dial(side.uri("800"))
        phone.connected()
        session = side.gateway.came_in()
        side.hears_tone(phone, HELLO_HZ)
        for count, (ours, theirs) in enumerate((("sendonly", "recvonly"), ("inactive", "inactive"),
                                                ("sendrecv", "sendrecv")), 1):
            session.tell(command="reinvite", mimeType="application/sdp", body=f"a={ours}")
            saw(session, "ReInviteAccepted", count=count)
            our_direction_is(phone, ours, theirs)
            if ours == "inactive":
                side.hears_nothing(phone, HELLO_HZ)
            else:
                side.hears_tone(phone, HELLO_HZ)
        phone.hang_up()
        phone.closed()
        ends(session)


def our_direction_is(phone, offered, answered):
    """Of the gateway's last offer in a call, and of the phone's answer to it."""
    def last():
        offer = [text for text in phone.received("INVITE ") if "\nv=0" in text][-1:]
        answers = [text for text in phone.sent("SIP/2.0 200")
                   if offer and header(text, "CSeq") == header(offer[0], "CSeq")]
        return (offer[0], answers[-1]) if answers else None
    offer, answer = wait_for("the answer to our offer", last)
    expect("directions", (direction(offer), direction(answer)), (offered, answered))


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
        answers = [text for text in phone.received("SIP/2.0 200")
                   if header(text, "CSeq") == header(offer, "CSeq")]
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


def refresh(side):
    """Of two calls, one each way, each is refreshed by whom the answer names (RFC 4028 §7, §9)."""
    timer = {"timer": "always", "session_expires": EXPIRES_S, "min_se": EXPIRES_S}
    with (side.registered(side.names[0], FIRST_HZ, **timer) as caller,
          side.registered(side.names[1], SECOND_HZ, **timer) as callee):
        caller.dial(side.uri("800"))
        caller.connected()
        came_in = side.gateway.came_in()
        went_out = side.gateway.dial(**side.order(side.names[1]), play=True)
        callee.connected()
        for phone, answers, peer_is in ((caller, caller.received, "uac"),
                                        (callee, callee.sent, "uas")):
            answer = next(text for text in answers("SIP/2.0 200")
                          if header(text, "CSeq").endswith("INVITE"))
            has_header(answer, "Session-Expires", rf"^{EXPIRES_S}\s*;\s*refresher=(uac|uas)")
            by_peer = f"refresher={peer_is}" in header(answer, "Session-Expires")
            refreshed(phone, phone.sent if by_peer else phone.received,
                      phone.received if by_peer else phone.sent)
        side.hears_tone(caller, HELLO_HZ)
        side.hears_tone(callee, HELLO_HZ)
        caller.hang_up()
        caller.closed()
        went_out.tell(command="hangup")
        callee.closed()
        ends(came_in)
        ends(went_out)


def refreshed(phone, requests, answers):
    """An UPDATE or a second INVITE without change, and its 200."""
    def found():
        asked = requests("UPDATE ") + [text for text in requests("INVITE ")
                                       if re.search(";[ ]*tag=", header(text, "To"))]
        return [1 for text in asked for answer in answers("SIP/2.0 200")
                if header(answer, "CSeq") == header(text, "CSeq")]
    wait_for(f"a refresh at {phone.uri}", found, EXPIRES_S * 0.75, pause=0.2)


def refresh_without_timers(side):
    """A phone that knows no timers is asked by us all the same, and the call goes on."""
    with side.registered(side.names[1], FIRST_HZ) as phone:
        session = side.gateway.dial(**side.order(side.names[1]), play=True)
        phone.connected()
        refreshed(phone, phone.received, phone.sent)
        side.hears_tone(phone, HELLO_HZ)
        session.tell(command="hangup")
        phone.closed()
        ends(session)


def blind_by_peer(side):
    """A phone sends the other end of its call on: by the gateway, then by a script."""
    first, second, third = side.names
    with (side.registered(first, FIRST_HZ) as caller, side.registered(second, SECOND_HZ) as callee,
          side.registered(third, THIRD_HZ) as target):
        caller.dial(side.through(second))
        caller.connected()
        session = side.gateway.came_in()
        side.hears_tone(caller, SECOND_HZ, 0.4)
        caller.transfer(side.through(third))
        target.connected()
        is_told(caller, "202", 200)
        expect("custom data", session.row()["custom_data"],
               "transfer complete: a transferor, b transferee")
        side.hears_tone(target, SECOND_HZ)
        side.hears_tone(callee, THIRD_HZ)
        caller.hang_up()
        caller.closed()
        other = side.gateway.came_in()
        callee.hang_up()
        target.closed()
        other.row()
    blind_by_script(side)


def blind_by_script(side):
    """The script that handles a transfer dials by itself, and says how it went."""
    first, second, _ = side.names
    with side.registered(first, FIRST_HZ) as caller, side.registered(second, SECOND_HZ) as target:
        caller.dial(side.uri("806"))
        caller.connected()
        session = side.gateway.came_in()
        caller.transfer(side.through(second))
        expect("to", saw(session, "BlindTransferRequested")["to"], side.transferred(second))
        target.connected()
        is_told(caller, "202", 200)
        session.tell(command="end")
        target.closed()


def is_told(phone, accepted, outcome):
    """The transferor: its REFER was taken, and a NOTIFY told how it went (RFC 3515 §2.4)."""
    wait_for("the answer to REFER", lambda: [
        text for text in phone.received(f"SIP/2.0 {accepted}")
        if header(text, "CSeq").endswith("REFER")])
    fragments = wait_for("a NOTIFY with the outcome", lambda: [
        text for text in phone.received("NOTIFY ") if f"\nSIP/2.0 {outcome}" in text])
    has_header(fragments[0], "Content-Type", "^message/sipfrag")
    has_header(fragments[0], "Subscription-State", "^terminated")


def attended_by_peer(side):
    """A phone joins the far ends of its two calls and leaves (RFC 3891, RFC 5589 §7)."""
    first, second, third = side.names
    with (side.registered(first, FIRST_HZ) as caller, side.registered(second, SECOND_HZ) as callee,
          side.registered(third, THIRD_HZ) as target):
        caller.dial(side.through(second))
        caller.connected(0)
        session = side.gateway.came_in()
        caller.hold()
        callee.connected()
        caller.dial(side.through(third))
        caller.connected(1)
        other = side.gateway.came_in()
        target.connected()
        side.hears_tone(target, FIRST_HZ, 0.4)
        caller.attended(0, 1)
        is_told(caller, "202", 200)
        side.hears_tone(callee, THIRD_HZ)
        side.hears_tone(target, SECOND_HZ)
        caller.hang_up(0)
        caller.hang_up(1)
        caller.closed(0)
        caller.closed(1)
        callee.hang_up()
        target.closed()
        for gone in (session, other):
            wait_for("its session to end", gone.is_over)


def blind_by_us(side):
    """A script sends a phone to another one (REFER of ours)."""
    first, second, _ = side.names
    with side.registered(first, FIRST_HZ) as phone, side.registered(second, SECOND_HZ) as target:
        session = side.gateway.dial(**side.order(first), play=True)
        phone.connected()
        side.hears_tone(phone, HELLO_HZ, 0.4)
        session.tell(command="transfer", to=side.through(second))
        refer = wait_for("REFER", lambda: phone.received("REFER "))[0]
        has_header(refer, "Refer-To", re.escape(side.through(second)))
        target.connected()
        saw(session, "TransferComplete", seconds=15)
        wait_for("its leg to end", lambda: phone.is_closed(0))
        side.hears_tone(target, FIRST_HZ)
        target.hang_up()
        ends(session)


def attended_by_us(side):
    """A script puts its two phones through to each other: REFER with Replaces."""
    first, second, _ = side.names
    with side.registered(first, FIRST_HZ) as phone, side.registered(second, SECOND_HZ) as target:
        session = side.gateway.dial(**side.order(first))
        phone.connected()
        session.tell(command="dial", name="b", order=side.order(second))
        target.connected()
        session.tell(command="transfer", **{"with": "b"})
        refer = wait_for("REFER", lambda: phone.received("REFER "))[0]
        has_header(refer, "Refer-To", "(?i)[?&]Replaces=")
        saw(session, "TransferComplete", seconds=15)
        saw(session, "Disconnected", "a")
        saw(session, "Disconnected", "b")
        wait_for("sound between the two", lambda: target.heard(1).tone_seconds(FIRST_HZ) >= 0.8,
                 pause=0.1)
        wait_for("sound between the two", lambda: phone.heard(1).tone_seconds(SECOND_HZ) >= 0.8,
                 pause=0.1)
        target.hang_up()
        ends(session)
