"""SIPp: the flows step by step, with an RTP end of the harness beside it for the sound."""

import re
import urllib.parse

import wav
from peers import Sipp, free_ports, wait_for
from phone_cases import HELLO_HZ, PILOT_DBFS, hears, recordings_of
from rtp_end import RtpEnd, media_of
from shared import PASSWORD, PROVIDER, expect
from sipp_scenario import (
    KEPT, gets, later, pause, provisional, refused_ack, request, response, scenario, sdp,
    turned, within)
from srtp import Srtp
from stream_bridge import Bridge
from table_gateway import TableGateway, keys_are, saw
from table_rows import (
    EXPIRES_S, FIRST_HZ, MICROPHONE_DBFS, SECOND_HZ, THIRD_HZ, acknowledged, ends,
    has_header, header)

NAME, NEEDS = "SIPp", ("sipp",)
TITLE = "SIPp 3.6"
ACK, BYE, OK = request("ACK"), gets("BYE"), within(200, "OK")


class Side:
    """SIPp as the trunk `provider`."""

    def __init__(self, world):
        self.world, self.gateway = world, TableGateway(world, "sipp")

    def end(self):
        self.gateway.stop()

    def drop(self):
        self.gateway.process.end(1.0)

    def calls(self, number, *steps, **more):
        """A SIPp that calls in."""
        return Sipp(self.world.folder, "caller", PROVIDER, free_ports(1, PROVIDER)[0],
                    remote=f"127.0.0.1:{self.gateway.sip}", number=number,
                    text=scenario(*steps), **more)

    def answers(self, *steps, port=None, **more):
        """A SIPp that is called as 2001."""
        return Sipp(self.world.folder, "callee", PROVIDER, port or self.gateway.peer["provider"],
                    text=scenario(*steps), **more)

    def calls_on(self, address, number, *steps, **more):
        """A SIPp that calls in from another address: to the gateway's on the same network."""
        host = f"[{address}]" if ":" in address else "127.0.0.1"
        return Sipp(self.world.folder, "caller", address, free_ports(1, address)[0],
                    remote=f"{host}:{self.gateway.sip}", number=number, text=scenario(*steps),
                    **more)

    def registers(self, password, *steps, port=None, expires=60, **more):
        """A SIPp that registers as alice; with the steps after the challenge."""
        uri = f"sip:127.0.0.1:{self.gateway.sip}"
        address = f"sip:alice@127.0.0.1:{self.gateway.sip}"
        credentials = f"[authentication username=alice password={password}]"

        def register(cseq, *headers):
            headers = (f"Expires: {expires}", *headers)
            return request("REGISTER", cseq, headers=headers, uri=uri, user="alice", to=address,
                           dialog=False)
        text = scenario(register(1), gets(401, auth=True), register(2, credentials), *steps)
        return Sipp(self.world.folder, "register", PROVIDER,
                    port or free_ports(1, PROVIDER)[0],
                    remote=f"127.0.0.1:{self.gateway.sip}", number="alice", text=text, **more)


def invite(media, **more):
    return request("INVITE", body=sdp(media.port, **more))


def answer_of(peer, status="SIP/2.0 200"):
    """The gateway's media in its answer."""
    return media_of(wait_for("its answer", lambda: peer.received(status))[0])


def register(side):
    """The binding is there, is used, and goes."""
    port = free_ports(1, PROVIDER)[0]
    side.registers(PASSWORD, gets(200, check=(("Contact", "expires=60"),)), port=port).done()
    expect("contacts", side.gateway.contacts("alice"), 1)
    with RtpEnd(PROVIDER) as media:
        peer = side.answers(*answered(media), BYE, OK, port=port)
        session = side.gateway.dial(user="alice")
        saw(session, "Connected")
        session.tell(command="hangup")
        peer.done()
        ends(session)
    side.registers(PASSWORD, gets(200), port=port, expires=0).done()
    expect("contacts", side.gateway.contacts("alice"), 0)


def wrong_password(side):
    side.registers("battery staple", gets(403)).done()
    expect("contacts", side.gateway.contacts("alice"), 0)


def answered(media, direction="sendrecv"):
    return (gets("INVITE", rrs=True), response(180, "Ringing"),
            response(200, "OK", sdp(media.port, direction)), gets("ACK"))


def call_in(side):
    with RtpEnd(PROVIDER, FIRST_HZ) as media:
        peer = side.calls("800", invite(media), provisional(), gets(200, rrs=True), ACK, BYE, OK)
        media.send_to(answer_of(peer))
        session = side.gateway.came_in()
        hang_up_after_sound(session, media, peer)
        both_ways(side, media, ends(session))


def hang_up_after_sound(session, media, peer):
    media.sounds()
    session.tell(command="hangup")
    peer.done()
    expect("code", saw(session, "Disconnected")["code"], 200)


def both_ways(side, media, row):
    hears("the peer", media.heard(), HELLO_HZ, 0.8, PILOT_DBFS)
    recorded = recordings_of(side.gateway, row)["a"]
    hears("left: to the peer", recorded.channel(0), HELLO_HZ, 0.8, PILOT_DBFS)
    hears("right: from the peer", recorded.channel(1), FIRST_HZ, 0.5, MICROPHONE_DBFS)


def call_out(side):
    with RtpEnd(PROVIDER, FIRST_HZ) as media:
        peer = side.answers(*answered(media), BYE, OK)
        session = side.gateway.dial(number="2001", play=True, record=True)
        media.send_to(media_of(wait_for("INVITE", lambda: peer.received("INVITE "))[0]))
        saw(session, "Connected")
        hang_up_after_sound(session, media, peer)
        both_ways(side, media, ends(session))


def over_ipv6(side):
    with RtpEnd("::1", FIRST_HZ) as media:
        peer = side.calls_on("::1", "800", invite(media), provisional(),
                             gets(200, rrs=True, check=(("body", "c=IN IP6 ::1"),)), ACK, BYE, OK)
        media.send_to(answer_of(peer))
        session = side.gateway.came_in()
        hang_up_after_sound(session, media, peer)
        both_ways(side, media, ends(session))
    with RtpEnd("::1", FIRST_HZ) as media:
        peer = Sipp(side.world.folder, "callee", "::1", side.gateway.peer["sipp-ipv6"],
                    text=scenario(*answered(media), BYE, OK))
        session = side.gateway.dial(number="506", play=True, record=True)
        media.send_to(media_of(wait_for("INVITE", lambda: peer.received("INVITE "))[0]))
        saw(session, "Connected")
        hang_up_after_sound(session, media, peer)
        both_ways(side, media, ends(session))


def over_srtp(side):
    """SRTP of the harness, which shares no code with the gateway's."""
    with RtpEnd(PROVIDER, FIRST_HZ) as media:
        media.ours = Srtp()
        peer = side.calls("800", invite(media, keys=media.ours.crypto()), provisional(),
                          gets(200, rrs=True, check=(("body", "RTP/SAVP"),)), ACK, BYE, OK)
        answer = wait_for("its answer", lambda: peer.received("SIP/2.0 200"))[0]
        media.theirs = Srtp.of(answer)
        media.send_to(media_of(answer))
        session = side.gateway.came_in()
        hang_up_after_sound(session, media, peer)
        both_ways(side, media, ends(session))
    with RtpEnd(PROVIDER, FIRST_HZ) as media:
        media.ours = Srtp()
        body = sdp(media.port, keys=media.ours.crypto())
        peer = side.answers(gets("INVITE", rrs=True, check=(("body", "RTP/SAVP"),)),
                            response(200, "OK", body), gets("ACK"), BYE, OK,
                            port=side.gateway.peer["sipp-srtp"])
        session = side.gateway.dial(number="507", play=True, record=True)
        offer = wait_for("INVITE", lambda: peer.received("INVITE "))[0]
        media.theirs = Srtp.of(offer)
        media.send_to(media_of(offer))
        saw(session, "Connected")
        hang_up_after_sound(session, media, peer)
        both_ways(side, media, ends(session))


def over_websocket(side):
    """A browser's messages (RFC 7118 §5) over a bridge: it registers, calls, is hung up."""
    port = free_ports(1, PROVIDER)[0]
    bridge = Bridge(PROVIDER, port, ("127.0.0.1", side.gateway.peer["ws"]))
    domain = f"127.0.0.1:{side.gateway.peer['ws']}"
    try:
        with RtpEnd(PROVIDER, FIRST_HZ) as media:
            def browser(*arguments, call="", **more):
                text = request(*arguments, user="alice", **more)
                text = re.sub("Via: .*;branch", "Via: SIP/2.0/WS df7jal23ls0d.invalid;branch", text)
                text = re.sub("Contact: .*",
                              "Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws>", text)
                text = re.sub("From: <.*>", f"From: <sip:alice@{domain}>", text)
                # Calls of one SIPp call: what stands before /// is for the other end only.
                return text.replace("[call_id]", f"{call}///[call_id]" if call else "[call_id]")
            credentials = f"[authentication username=alice password={PASSWORD}]"
            register = {"uri": f"sip:{domain}", "to": f"sip:alice@{domain}", "dialog": False,
                        "call": "register"}
            invited = {"uri": f"sip:800@{domain}", "to": f"sip:800@{domain}", "dialog": False,
                       "body": sdp(media.port)}
            peer = Sipp(
                side.world.folder, "browser", PROVIDER, free_ports(1, PROVIDER)[0],
                remote=f"{PROVIDER}:{port}", number="800", transport="t1", text=scenario(
                    browser("REGISTER", 1, headers=("Expires: 60",), **register),
                    gets(401, auth=True),
                    browser("REGISTER", 2, headers=("Expires: 60", credentials), **register),
                    gets(200), browser("INVITE", 1, **invited), gets(100, optional=True),
                    gets(401, auth=True), browser("ACK", 1, dialog=False, uri=invited["uri"],
                                                  to=invited["to"]),
                    browser("INVITE", 2, headers=(credentials,), **invited), provisional(),
                    gets(200, rrs=True), browser("ACK", 2, dialog=True), BYE, OK))
            wait_for("the binding", lambda: side.gateway.contacts("alice") == 1, pause=0.2)
            media.send_to(media_of(wait_for("the answer", lambda: [
                text for text in peer.received("SIP/2.0 200") if "\nm=audio" in text])[0]))
            head, accept = bridge.handshakes[0]
            has_header(head, "Sec-WebSocket-Accept", re.escape(accept))
            has_header(head, "Sec-WebSocket-Protocol", "^sip$")
            session = side.gateway.came_in()
            hang_up_after_sound(session, media, peer)
            hears("the browser", media.heard(), HELLO_HZ, 0.8, PILOT_DBFS)
            ends(session)
    finally:
        bridge.end()


def busy(side):
    peer = side.answers(gets("INVITE"), response(486, "Busy Here", retransmit=True), gets("ACK"))
    session = side.gateway.dial(number="2001")
    expect("code", saw(session, "Failed")["code"], 486)
    peer.done()
    ends(session)
    with RtpEnd(PROVIDER) as media:
        side.calls("801", invite(media), provisional(), gets(486), refused_ack()).done()
        ends(side.gateway.came_in())


def no_answer(side):
    peer = side.answers(gets("INVITE"), response(180, "Ringing"), *cancelled())
    session = side.gateway.dial(number="2001")
    expect("code", saw(session, "Failed", seconds=15)["code"], 408)
    peer.done()
    ends(session)
    with RtpEnd(PROVIDER) as media:
        peer = side.calls("803", invite(media), provisional(), gets(480), refused_ack())
        session = side.gateway.came_in()
        peer.done()
        expect("code", saw(session, "Disconnected")["code"], 408)
        ends(session)


def cancelled():
    """CANCEL, its answer, the INVITE's answer: from the INVITE's Via and CSeq, but for CANCEL's."""
    ended = response(487, "Request Terminated", retransmit=True).replace(
        "[last_CSeq:]", "CSeq: [cseq] INVITE")
    return gets("CANCEL"), response(200, "OK"), ended, gets("ACK")


def cancel(side):
    peer = side.answers(gets("INVITE"), response(180, "Ringing"), *cancelled())
    session = side.gateway.dial(number="2001")
    saw(session, "Ringing")
    session.tell(command="hangup")
    expect("code", saw(session, "Failed")["code"], 487)
    peer.done()
    ends(session)
    with RtpEnd(PROVIDER) as media:
        peer = side.calls("803", invite(media), gets(100, optional=True), gets(180), pause(300),
                          request("CANCEL"), gets(200), gets(487), refused_ack())
        session = side.gateway.came_in()
        peer.done()
        expect("code", saw(session, "Disconnected")["code"], 487)
        ends(session)


def early_media(side):
    with RtpEnd(PROVIDER) as media:
        peer = side.calls("802", invite(media), gets(100, optional=True),
                          gets(183, check=(("body", "m=audio [1-9]"),)),
                          gets(200, rrs=True), ACK, BYE, OK)
        media.send_to(answer_of(peer, "SIP/2.0 183"))
        session = side.gateway.came_in()
        media.sounds(1.0)
        hears("before the answer", media.heard(), HELLO_HZ, 0.5)
        expect("answered", peer.received("SIP/2.0 200"), [])
        session.tell(command="answer")
        saw(session, "Connected")
        session.tell(command="hangup")
        peer.done()
        ends(session)
    their_early_media(side)


def their_early_media(side):
    """It is passed on to who called, before the answer."""
    with RtpEnd(PROVIDER) as ours, RtpEnd(PROVIDER, FIRST_HZ) as theirs:
        callee = side.answers(gets("INVITE", rrs=True),
                              response(183, "Session Progress", sdp(theirs.port), retransmit=False),
                              pause(1500), response(200, "OK", sdp(theirs.port)), gets("ACK"),
                              BYE, OK)
        caller = side.calls("2001", invite(ours), gets(100, optional=True),
                            gets(180, optional=True),
                            gets(183, check=(("body", "m=audio [1-9]"),)), gets(200, rrs=True),
                            ACK, pause(100), request("BYE", 2), gets(200))
        theirs.send_to(media_of(wait_for("INVITE", lambda: callee.received("INVITE "))[0]))
        ours.send_to(answer_of(caller, "SIP/2.0 183"))
        ours.sounds(0.8)
        expect("answered", caller.received("SIP/2.0 200"), [])
        hears("before the answer", ours.heard(), FIRST_HZ, 0.5, MICROPHONE_DBFS)
        session = side.gateway.came_in()
        caller.done()
        callee.done()
        session.row()


def hold_by_peer(side):
    """sendonly is answered with recvonly; inactive, and 0.0.0.0 of old, are holds as well."""
    def hold(cseq, offer, answer, media):
        body = sdp(media.port, offer, version=cseq)
        return (request("INVITE", cseq, body=body, dialog=True), gets(100, optional=True),
                gets(200, rrs=True, check=(("body", f"a={answer}"),)),
                request("ACK", cseq), pause(700))
    with RtpEnd(PROVIDER, FIRST_HZ) as media:
        peer = side.calls("800", invite(media), provisional(), gets(200, rrs=True), ACK, pause(700),
                          *hold(2, "sendonly", "recvonly", media),
                          *hold(3, "sendrecv", "sendrecv", media),
                          *hold(4, "inactive", "inactive", media),
                          *hold(5, "sendrecv", "sendrecv", media),
                          request("BYE", 6), gets(200))
        media.send_to(answer_of(peer))
        session = side.gateway.came_in()
        for count in (1, 2):
            saw(session, "OnHold", count=count)
            before = media.seconds_heard()
            saw(session, "OffHold", count=count)
            during = media.seconds_heard() - before
            if during > 0.4:
                raise AssertionError(f"{during:.2f} s of sound on hold")
        peer.done()
        saw(session, "Disconnected")
        ends(session)


def hold_by_us(side):
    def answers(offer, answer, media):
        return (gets("INVITE", check=(("body", f"a={offer}"), ("Contact", "sip:"))),
                within(200, "OK", sdp(media.port, answer, version=2)), gets("ACK"))
    with RtpEnd(PROVIDER, FIRST_HZ) as media:
        peer = side.calls("800", invite(media), provisional(), gets(200, rrs=True), ACK,
                          *answers("sendonly", "recvonly", media),
                          *answers("inactive", "inactive", media),
                          *answers("sendrecv", "sendrecv", media),
                          gets("INVITE"), within(488, "Not Acceptable Here"), gets("ACK"), BYE, OK)
        media.send_to(answer_of(peer))
        session = side.gateway.came_in()
        media.sounds(0.5)
        for count, word in enumerate(("sendonly", "inactive", "sendrecv"), 1):
            session.tell(command="reinvite", mimeType="application/sdp", body=f"a={word}")
            saw(session, "ReInviteAccepted", count=count)
        media.sounds(media.seconds_heard() + 0.5)
        session.tell(command="reinvite", mimeType="application/sdp", body="a=sendonly")
        expect("code", saw(session, "ReInviteRejected")["code"], 488)
        media.sounds(media.seconds_heard() + 0.5)
        session.tell(command="hangup")
        peer.done()
        ends(session)


def told(code):
    """A NOTIFY of how a REFER went, and our answer."""
    return gets("NOTIFY", check=(("body", f"SIP/2.0 {code}"), ("Event", "refer"))), OK


def tells(cseq, line, state):
    """Our NOTIFY of how the gateway's REFER went, and its answer."""
    return (turned("NOTIFY", cseq, ("Event: refer", f"Subscription-State: {state}"),
                   f"SIP/2.0 {line}\n", "message/sipfrag;version=2.0"), gets(200))


def blind_by_peer(side):
    """REFER of the caller joins the callee with the target; one that leads nowhere is told so."""
    target_at = f"sip:504@127.0.0.1:{side.gateway.sip}"
    nowhere = f"sip:9999@127.0.0.1:{side.gateway.sip}"
    with (RtpEnd(PROVIDER) as ours, RtpEnd(PROVIDER, SECOND_HZ) as theirs,
          RtpEnd(PROVIDER, THIRD_HZ) as targets):
        callee = side.answers(*answered(theirs), BYE, OK)
        # It does not ring, so that there is one NOTIFY before the last.
        target = side.answers(gets("INVITE", rrs=True), response(200, "OK", sdp(targets.port)),
                              gets("ACK"), BYE, OK, port=side.gateway.peer["sipp-inband"])
        caller = side.calls(
            "2001", invite(ours), provisional(), gets(200, rrs=True), ACK, pause(300),
            request("REFER", 2, headers=(f"Refer-To: <{nowhere}>",)), gets(202),
            *told(100), *told(404),
            request("REFER", 3, headers=(f"Refer-To: <{target_at}>",)), gets(202),
            *told(100), *told(200), BYE, OK)
        theirs.send_to(media_of(wait_for("INVITE", lambda: callee.received("INVITE "))[0]))
        side.gateway.came_in()
        targets.send_to(media_of(wait_for("INVITE", lambda: target.received("INVITE "))[0]))
        caller.done()
        hear_each_other(theirs, targets)
        side.gateway.came_in().tell(command="end")
        callee.done()
        target.done()


def hear_each_other(second, third):
    for media, hz in ((second, THIRD_HZ), (third, SECOND_HZ)):
        wait_for(f"{hz} Hz", lambda m=media, h=hz: m.heard().tone_seconds(h) >= 0.5, pause=0.1)


def attended_by_peer(side):
    """REFER with Replaces in the first call names the second one."""
    with (RtpEnd(PROVIDER) as ours, RtpEnd(PROVIDER, SECOND_HZ) as theirs,
          RtpEnd(PROVIDER, THIRD_HZ) as targets):
        callee = side.answers(*answered(theirs), BYE, OK)
        target = side.answers(*answered(targets), BYE, OK, port=side.gateway.peer["sipp-inband"])
        consulting = side.calls("504", invite(ours), provisional(), gets(200, rrs=True), ACK,
                                BYE, OK)
        targets.send_to(media_of(wait_for("INVITE", lambda: target.received("INVITE "))[0]))
        first = side.gateway.came_in()
        answer = wait_for("200", lambda: consulting.received("SIP/2.0 200"))[0]
        tag = {name: re.search(r"tag=([^;\s]+)", header(answer, name)).group(1)
               for name in ("From", "To")}
        replaces = urllib.parse.quote(f"{header(answer, 'Call-ID')};to-tag={tag['To']};"
                                      f"from-tag={tag['From']}", safe="")
        refer_to = f"Refer-To: <sip:504@127.0.0.1:{side.gateway.sip}?Replaces={replaces}>"
        caller = side.calls(
            "2001", invite(ours), provisional(), gets(200, rrs=True), ACK, pause(300),
            request("REFER", 2, headers=(refer_to,)), gets(202),
            gets("NOTIFY", check=(("Event", "refer"),)), OK,
            *told(200), BYE, OK)
        theirs.send_to(media_of(wait_for("INVITE", lambda: callee.received("INVITE "))[0]))
        second = side.gateway.came_in()
        caller.done()
        consulting.done()
        hear_each_other(theirs, targets)
        for session in (first, second):
            if not session.is_over():
                session.tell(command="end")
        callee.done()
        target.done()


def blind_by_us(side):
    """REFER is taken and tells its end; refused, it leaves the call as it was."""
    with RtpEnd(PROVIDER) as media:
        peer = side.answers(
            gets("INVITE", rrs=True, check=KEPT), response(180, "Ringing"),
            response(200, "OK", sdp(media.port)), gets("ACK"),
            gets("REFER"), within(603, "Decline"),
            gets("REFER", check=(("Refer-To", "sip:alice@198.51.100.7"),)), within(202, "Accepted"),
            *tells(1, "100 Trying", "active;expires=60"), *tells(2, "180 Ringing", "active"),
            *tells(3, "200 OK", "terminated;reason=noresource"), BYE, OK)
        session = side.gateway.dial(number="2001")
        saw(session, "Connected")
        session.tell(command="transfer", to="sip:alice@198.51.100.7")
        expect("code", saw(session, "TransferFailed")["code"], 603)
        session.tell(command="transfer", to="sip:alice@198.51.100.7")
        saw(session, "TransferComplete")
        peer.done()
        ends(session)


def attended_by_us(side):
    """Refer-To names the other call as its far end knows it (RFC 3891 §3)."""
    with RtpEnd(PROVIDER) as media:
        peer = side.answers(
            gets("INVITE", rrs=True, check=KEPT), response(200, "OK", sdp(media.port)), gets("ACK"),
            gets("REFER"), within(202, "Accepted"),
            *tells(1, "200 OK", "terminated;reason=noresource"), BYE, OK)
        other = side.answers(*answered(media), BYE, OK, port=side.gateway.peer["sipp-inband"])
        session = side.gateway.dial(number="2001")
        saw(session, "Connected")
        session.tell(command="dial", name="b", order={"number": "504"})
        saw(session, "Connected", "b")
        session.tell(command="transfer", **{"with": "b"})
        saw(session, "TransferComplete")
        peer.done()
        other.done()
        refer_to = header(peer.received("REFER ")[0], "Refer-To")
        answer, invited = other.sent("SIP/2.0 200")[0], other.received("INVITE ")[0]
        ours = re.search(r"tag=([^;\s]+)", header(invited, "From")).group(1)
        theirs = re.search(r"tag=([^;\s]+)", header(answer, "To")).group(1)
        replaces = urllib.parse.unquote(re.search(r"[?&]Replaces=([^&>]+)", refer_to).group(1))
        # The transferee takes the gateway's place: its own tags stand as the far end has them.
        expect("Replaces", replaces.split(";")[0], header(invited, "Call-ID"))
        expect("tags", sorted(replaces.split(";")[1:]),
               sorted([f"to-tag={theirs}", f"from-tag={ours}"]))
        ends(session)


def refresh(side):
    """Theirs by UPDATE, one that is too often, and ours after half of the time."""
    often = ("Supported: timer", "Session-Expires: 60")
    good = ("Supported: timer", f"Session-Expires: {EXPIRES_S};refresher=uac")
    with RtpEnd(PROVIDER) as media:
        body = sdp(media.port)
        peer = side.calls(
            "800", request("INVITE", body=body, headers=often), gets(100, optional=True),
            gets(422, check=(("Min-SE", str(EXPIRES_S)),)), refused_ack(),
            request("INVITE", 2, body=body, headers=good), provisional(),
            gets(200, rrs=True, check=(("Session-Expires", f"{EXPIRES_S}; *refresher=uac"),
                                       ("Require", "timer"))),
            request("ACK", 2, dialog=True), pause(300),
            request("UPDATE", 3, headers=good, dialog=True),
            gets(200, check=(("Session-Expires", f"{EXPIRES_S}; *refresher=uac"),)),
            request("BYE", 4), gets(200))
        session = side.gateway.came_in()
        peer.done()
        saw(session, "Disconnected")
        ends(session)
        offers = (("Session-Expires", str(EXPIRES_S)), ("Supported", "timer"))
        ours = (f"Session-Expires: {EXPIRES_S};refresher=uac", "Require: timer",
                "Supported: timer", "Allow: INVITE, ACK, BYE, CANCEL, UPDATE")
        peer = side.answers(
            gets("INVITE", rrs=True, check=offers), response(180, "Ringing"),
            response(200, "OK", body, headers=ours), gets("ACK"),
            gets("UPDATE", check=(("Session-Expires", str(EXPIRES_S)),)),
            within(200, "OK", headers=ours), BYE, OK, seconds=EXPIRES_S)
        session = side.gateway.dial(number="2001")
        saw(session, "Connected")
        wait_for("UPDATE", lambda: peer.received("UPDATE "), EXPIRES_S * 0.75, pause=0.2)
        session.tell(command="hangup")
        peer.done()
        ends(session)


def dtmf_rfc4733(side):
    with RtpEnd(PROVIDER, FIRST_HZ) as media:
        peer = side.calls("805", invite(media), provisional(), gets(200, rrs=True), ACK, BYE, OK)
        media.send_to(answer_of(peer))
        session = side.gateway.came_in()
        saw(session, "Connected")
        media.press("159#0")
        keys_are(session, "159#0")
        expect("kind", saw(session, "ToneReceived")["type"], "1")
        session.tell(command="digits", text="90*")
        wait_for("keys at the peer", lambda: len(media.keys()) >= 3)
        expect("keys at the peer", media.keys(), "90*")
        session.tell(command="hangup")
        peer.done()
        ends(session)


def dtmf_info(side):
    """application/dtmf-relay and application/dtmf in; out to a trunk that wants INFO."""
    infos = []
    for cseq, (kind, body) in enumerate((
            ("application/dtmf-relay", "Signal=1\nDuration=160"), ("application/dtmf", "5"),
            ("application/dtmf-relay", "Signal= 9\nDuration= 160"), ("application/dtmf", "#")), 2):
        infos += [request("INFO", cseq, body=body, kind=kind), gets(200)]
    with RtpEnd(PROVIDER) as media:
        peer = side.calls("805", invite(media), provisional(), gets(200, rrs=True), ACK,
                          *infos, BYE, OK)
        session = side.gateway.came_in()
        keys_are(session, "159#")
        expect("kind", saw(session, "ToneReceived")["type"], "3")
        session.tell(command="hangup")
        peer.done()
        ends(session)
        peer = side.answers(*answered(media), *(
            step for key in "90[*]" if key not in "[]" for step in (
                gets("INFO", check=(("body", f"Signal= *[{key}]"),)), OK)), BYE, OK,
            port=side.gateway.peer["sipp-info"])
        session = side.gateway.dial(number="503")
        saw(session, "Connected")
        session.tell(command="digits", text="90*")
        wait_for("INFO", lambda: len(peer.received("INFO ")) == 3)
        session.tell(command="hangup")
        peer.done()
        ends(session)


def dtmf_inband(side):
    tones = wav.dtmf("159#0")
    with RtpEnd(PROVIDER, sound=[0] * 2400 + tones + [0] * (8000 * 4 - len(tones))) as media:
        peer = side.calls("805", invite(media), provisional(), gets(200, rrs=True), ACK, BYE, OK)
        media.send_to(answer_of(peer))
        session = side.gateway.came_in()
        keys_are(session, "159#0")
        expect("kind", saw(session, "ToneReceived")["type"], "2")
        session.tell(command="hangup")
        peer.done()
        ends(session)
    with RtpEnd(PROVIDER) as media:
        peer = side.answers(*answered(media), BYE, OK, port=side.gateway.peer["sipp-inband"])
        session = side.gateway.dial(number="504")
        saw(session, "Connected")
        media.sounds(0.1)
        session.tell(command="digits", text="90*")
        wait_for("keys in the sound", lambda: len(media.heard().keys()) >= 3, pause=0.1)
        session.tell(command="hangup")
        peer.done()
        expect("keys in the sound", media.heard().keys(), "90*")
        ends(session)


def prack(side):
    """Ours is looked at header by header, and a response without PRACK comes again."""
    with RtpEnd(PROVIDER) as media:
        peer = side.calls(
            "802", request("INVITE", body=sdp(media.port), headers=("Supported: 100rel",)),
            gets(100, optional=True),
            gets(183, rrs=True, check=(("Require", "100rel"), ("RSeq", "[0-9]+", "rseq"))),
            pause(700),  # longer than T1 (RFC 3262 §3)
            request("PRACK", 2, headers=("RAck: [$rseq] 1 INVITE",), dialog=True),
            gets(200, check=(("CSeq", "2 PRACK"),)), gets(200, rrs=True), ACK, BYE, OK)
        session = side.gateway.came_in()
        wait_for("the PRACK's answer", lambda: any(
            "2 PRACK" in text for text in peer.received("SIP/2.0 200")))
        expect("183s", len(peer.received("SIP/2.0 183")), 2)
        session.tell(command="answer")
        saw(session, "Connected")
        session.tell(command="hangup")
        peer.done()
        ends(session)
        peer = side.answers(
            gets("INVITE", rrs=True, check=(("Supported", "100rel"), *KEPT)),
            response(180, "Ringing", headers=("Require: 100rel", "RSeq: 4711")),
            gets("PRACK"), OK,
            later(200, "OK", sdp(media.port)), gets("ACK"), BYE, OK)
        session = side.gateway.dial(number="2001")
        saw(session, "Connected")
        session.tell(command="hangup")
        peer.done()
        acknowledged(peer.received("PRACK "), peer.sent("SIP/2.0 180")[0])
        ends(session)


CELLS = {
    "register": register,
    "wrong password": wrong_password,
    "call in": call_in,
    "call out": call_out,
    "busy": busy,
    "no answer": no_answer,
    "cancel": cancel,
    "early media": early_media,
    "hold and resume by the peer": hold_by_peer,
    "hold and resume by us": hold_by_us,
    "blind transfer by the peer": blind_by_peer,
    "blind transfer by us": blind_by_us,
    "attended transfer by the peer": attended_by_peer,
    "attended transfer by us": attended_by_us,
    "DTMF by RFC 4733": dtmf_rfc4733,
    "DTMF by INFO": dtmf_info,
    "DTMF in-band": dtmf_inband,
    "PRACK": prack,
    "session refresh": refresh,
    "SRTP": over_srtp,
    "IPv6": over_ipv6,
    "WebSocket register": over_websocket,
    "TLS": "Debian's SIPp is built without TLS.",
}
