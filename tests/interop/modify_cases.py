"""Calls that stand are changed: hold by the script, session timers, UPDATE, glare."""

import os
import re

from peers import Failure, Phone, Sipp, wait_for
from shared import expect, rule, small_gateway
from sipp_scenario import gets, provisional, refused_ack, request, response, scenario, sdp, within

RTP = 46000  # nobody listens there: it is about signalling
ACK, HANGUP = gets("ACK"), gets("BYE") + within(200, "OK")


class Outgoing:
    """A gateway whose rule 1 dials a SIPp with these steps."""

    def __init__(self, world, *steps, headers=(), seconds=40):
        self.world, self.seconds = world, seconds
        answer = response(200, "OK", sdp(RTP), headers=headers)
        self.text = scenario(gets("INVITE"), answer, ACK, *steps)

    def __enter__(self):
        self.context = small_gateway(self.world, {"change.js": script()})
        gateway = self.context.__enter__()
        self.peer = Sipp(self.world.folder, "changed", "127.0.0.2", gateway.provider,
                         text=self.text, seconds=self.seconds)
        self.session = gateway.start(1, "2001")
        self.session.until_seen("Connected")
        return self

    def __exit__(self, *error):
        self.peer.end()
        return self.context.__exit__(*error)

    def change(self, text, kind=None):
        self.session.tell(command="change", text=text, **({"type": kind} if kind else {}))

    def ends(self):
        self.session.tell(command="end")
        self.peer.done()


def direction(text):
    found = re.findall(r"(?m)^a=(sendrecv|sendonly|recvonly|inactive)", text)
    return found[-1] if found else "none"


def script_holds_and_resumes(world):
    """The second time SIPp has a request of its own under way: 491, and it comes again."""
    hold = gets("INVITE") + within(200, "OK", sdp(RTP, "recvonly", version=2)) + ACK
    glare = gets("INVITE") + within(491, "Request Pending") + ACK
    resume = gets("INVITE") + within(200, "OK", sdp(RTP, version=3)) + ACK
    with Outgoing(world, hold, glare, resume, HANGUP) as call:
        call.change("a=sendonly")
        answer = call.session.until_seen("ReInviteAccepted")
        expect("answer", direction(answer["body"]), "recvonly")
        call.change("a=sendrecv")
        call.session.until("both", lambda a: sum(
            e["name"] == "ReInviteAccepted" for e in a["seen"]) == 2)
        call.ends()
        invites = call.peer.received("INVITE")
        expect("directions", [direction(text) for text in invites],
               ["sendrecv", "sendonly", "sendrecv", "sendrecv"])
        versions = [re.search(r"(?m)^o=\S+ \S+ (\d+)", text)[1] for text in invites]
        expect("the hold is another description", versions[0] == versions[1], False)
        if "X-Why: test" not in invites[1]:
            raise Failure("no X-Why in the re-INVITE")


def peer_refuses_the_hold(world):
    refuse = gets("INVITE") + within(488, "Not Acceptable Here") + ACK
    with Outgoing(world, refuse, HANGUP) as call:
        call.change("a=inactive")
        expect("code", call.session.until_seen("ReInviteRejected")["code"], 488)
        expect("state", call.session.ask()["state"], "CONNECTED")
        call.ends()


def delayed_offer(world):
    """A body that is no SDP: SIPp's 200 has the offer, our ACK the answer."""
    steps = gets("INVITE") + within(200, "OK", sdp(RTP, version=2)) + gets("ACK")
    with Outgoing(world, steps, HANGUP) as call:
        call.change("{}", "application/json")
        call.session.until_seen("ReInviteAccepted")
        call.ends()
        ack = call.peer.received("ACK")[-1]
        expect("answer in the ACK", direction(ack), "sendrecv")


# Half of it is 15 s: as brief as we go.
TIMER = "Session-Expires: 30;refresher=uac"


def refreshes_by_update(world):
    # Less than 90 s may not be asked for.
    update = gets("UPDATE", check=[("Session-Expires", "90;refresher=uac")])
    refreshed = within(200, "OK", headers=(TIMER, "Require: timer"))
    headers = ("Allow: INVITE, ACK, BYE, UPDATE", "Supported: timer", TIMER)
    with Outgoing(world, update, refreshed, HANGUP, headers=headers) as call:
        wait_for("the refresh", lambda: call.peer.received("UPDATE"), 20)
        expect("body", "v=0" in call.peer.received("UPDATE")[0], False)
        call.ends()


def refreshes_by_reinvite(world):
    """SIPp does not say that it takes UPDATE."""
    steps = gets("INVITE") + within(200, "OK", sdp(RTP), headers=(TIMER,)) + ACK
    headers = ("Allow: INVITE, ACK, BYE", "Supported: timer", TIMER)
    with Outgoing(world, steps, HANGUP, headers=headers) as call:
        wait_for("the refresh", lambda: len(call.peer.received("INVITE")) == 2, 20)
        first, second = call.peer.received("INVITE")
        expect("description", second[second.index("v=0"):], first[first.index("v=0"):])
        # Not shown to scripts.
        expect("events", [e["name"] for e in call.session.ask()["seen"]], ["Connected"])
        call.ends()


def peer_that_does_not_refresh_is_hung_up(world):
    """It promised to, and 20 s later we say why we go."""
    reason = gets("BYE", check=[("Reason", "SIP;cause=408")]) + within(200, "OK")
    headers = ("Supported: timer", "Session-Expires: 30;refresher=uas")
    with Outgoing(world, reason, headers=headers) as call:
        expect("code", call.session.until_seen("Disconnected", 25)["code"], 408)
        call.session.tell(command="end")
        call.peer.done()


ANSWERS = """// Answers; says what it hears of holds.
VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  for (const name of ["OnHold", "OffHold"]) {
    e.call.addEventListener(CallEvents[name], () => Logger.write("> " + name));
  }
  e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
  e.call.answer();
});
"""


def inbound_timer_and_update(world):
    """Too brief an interval is 422; then UPDATE refreshes, holds and resumes."""
    def invite(cseq, seconds):
        return request("INVITE", cseq, sdp(RTP), ("Supported: timer, 100rel",
                                                  f"Session-Expires: {seconds}"))

    def update(cseq, body="", answer=None):
        headers = ("Supported: timer", "Session-Expires: 90;refresher=uac")
        check = [("Session-Expires", "90;refresher=uac")]
        if answer:
            check.append(("body", f"a={answer}"))
        return request("UPDATE", cseq, body, headers) + gets(200, check=check)

    steps = (
        invite(1, 60), gets(422, check=[("Min-SE", "90")]), refused_ack(1),
        invite(2, 90), provisional(),
        gets(200, rrs=True, check=[("Session-Expires", "90;refresher=uac"),
                                   ("Require", "timer"), ("Allow", "UPDATE")]),
        request("ACK", 2, dialog=True),
        update(3), update(4, sdp(RTP, "sendonly", version=2), "recvonly"),
        update(5, sdp(RTP, version=3), "sendrecv"),
        request("BYE", 6), gets(200),
    )
    inbound = rule(2, "answers.js", ".*")
    with small_gateway(world, {"answers.js": ANSWERS}, inbound) as gateway:
        peer = Sipp(world.folder, "updates", "127.0.0.2", gateway.provider,
                    remote=f"127.0.0.1:{gateway.sip}", number="100", text=scenario(*steps))
        try:
            peer.done()
        finally:
            peer.end()


def baresip_is_held_by_the_script(world):
    with small_gateway(world, {"change.js": script()}) as gateway:
        phone = Phone(world.folder, "held", gateway.provider, user="2001", address="127.0.0.2")
        try:
            session = gateway.start(1, "2001")
            session.until_seen("Connected")
            for text, answered in (("a=sendonly", "recvonly"), ("a=sendrecv", "sendrecv"),
                                   ("a=inactive", "inactive"), ("a=sendrecv", "sendrecv")):
                before = 1 + sum(e["name"] == "ReInviteAccepted" for e in session.ask()["seen"])
                session.tell(command="change", text=text)
                answer = session.until(text, lambda a, n=before: sum(
                    e["name"] == "ReInviteAccepted" for e in a["seen"]) >= n)
                bodies = [e["body"] for e in answer["seen"] if e["name"] == "ReInviteAccepted"]
                expect(f"answer to {text}", direction(bodies[-1]), answered)
            session.tell(command="end")
            phone.expect("CALL_CLOSED")
        finally:
            phone.end()


def script():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scenarios/change.js")
    with open(path, encoding="utf-8") as file:
        return file.read()


SIPP, BARESIP = ("sipp",), ("baresip",)
CASES = [
    ("a script holds and resumes SIPp, over glare", SIPP, script_holds_and_resumes),
    ("SIPp refuses the hold of a script", SIPP, peer_refuses_the_hold),
    ("a re-INVITE without offer is answered in the ACK", SIPP, delayed_offer),
    ("a session is refreshed by UPDATE", SIPP, refreshes_by_update),
    ("a session is refreshed by re-INVITE with the same SDP", SIPP, refreshes_by_reinvite),
    ("a peer that does not refresh is hung up", SIPP, peer_that_does_not_refresh_is_hung_up),
    ("SIPp asks too often for refreshes, then updates", SIPP, inbound_timer_and_update),
    ("a script holds and resumes baresip", BARESIP, baresip_is_held_by_the_script),
]
