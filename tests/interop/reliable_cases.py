"""PRACK (RFC 3262) with SIPp, both ways."""

from peers import Failure
from shared import callee, caller, expect, shared


@shared
def early_media_is_acknowledged(world, gateway):
    caller(world, gateway, "uac_prack", "802").done()


@shared
def early_media_is_acknowledged_lossy(world, gateway):
    """A fifth of the caller's messages are lost, both ways."""
    caller(world, gateway, "uac_prack", "802", more=("-lost", "20"), seconds=60).done()


@shared
def offer_in_a_183(world, gateway):
    caller(world, gateway, "uac_prack_late", "802").done()


@shared
def callee_is_acknowledged(world, gateway):
    peer = callee(world, gateway, "uas_prack")
    session = gateway.start(21, {"number": "2001"})
    session.until_seen("AudioStarted")
    session.until_seen("Connected")
    session.tell(command="hangup")
    expect("code", session.until_seen("Disconnected")["internalCode"], 200)
    session.tell(command="end")
    peer.done()
    if len(peer.received("PRACK ")) != 1:
        raise Failure(f"PRACKs: {peer.received('PRACK ')}")


SIPP = ("sipp",)
CASES = [
    ("PRACK of a caller for early media", SIPP, early_media_is_acknowledged),
    ("PRACK of a caller over a bad network", SIPP, early_media_is_acknowledged_lossy),
    ("PRACK with the answer to our offer", SIPP, offer_in_a_183),
    ("PRACK to a callee", SIPP, callee_is_acknowledged),
]
