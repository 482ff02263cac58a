"""The peers against each other: what they do when no gateway is between them.

When one of these fails, the fault is in the peers or in this harness, not in the gateway.
"""

import wav
from peers import Failure, Phone, Sipp, free_ports


def measure_is_right(_):
    wav.self_test()


def pair(world, caller, callee, calls=1, number="100", words=None, callee_words=None, **more):
    port, other = free_ports(2)
    callee = Sipp(world.folder, callee, "127.0.0.2", port, calls=calls, words=callee_words, **more)
    caller = Sipp(world.folder, caller, "127.0.0.3", other, remote=f"127.0.0.2:{port}",
                  number=number, calls=calls, words=words, **more)
    try:
        caller.done()
        callee.done()
        return caller, callee
    finally:
        caller.end()
        callee.end()


def sipp_calls_sipp(world):
    _, callee = pair(world, "uac_call", "uas_answer")
    if not callee.received("INVITE sip:100@"):
        raise Failure("the called number is not in the message log")


def sipp_callee_hangs_up(world):
    pair(world, "uac_hungup", "uas_hangup")


def sipp_early_media(world):
    pair(world, "uac_early", "uas_early")


def sipp_is_busy(world):
    pair(world, "uac_refused", "uas_refuse", words={"CODE": 486},
         callee_words={"CODE": 486, "REASON": "Busy Here"})


def sipp_cancels(world):
    pair(world, "uac_cancel", "uas_cancelled")


def sipp_makes_100_calls(world):
    pair(world, "uac_call", "uas_answer", calls=100, rate=100, hold_ms=1500)


def baresip_hears_baresip(world):
    port, other = free_ports(2)
    callee = Phone(world.folder, "callee", port, address="127.0.0.5", microphone_hz=1700)
    caller = Phone(world.folder, "caller", other, address="127.0.0.5", microphone_hz=1000)
    try:
        caller.dial(f"sip:callee@127.0.0.5:{port}")
        caller.expect("CALL_ESTABLISHED")
        callee.expect("CALL_RTPESTAB")
        caller.press("159#")
        callee.expect("CALL_DTMF_START", count=4)
        caller.hang_up()
        callee.expect("CALL_CLOSED")
        if callee.keys() != "159#":
            raise Failure(f"keys came as {callee.keys()!r}")
        for phone, hz, other_hz in ((callee, 1000, 1700), (caller, 1700, 1000)):
            heard = phone.heard()
            if heard.tone_seconds(hz) < 0.5 or abs(heard.tone_level_dbfs(hz) + 20) > 1.0:
                raise Failure(f"{hz} Hz for {heard.tone_seconds(hz):.2f} s "
                              f"at {heard.tone_level_dbfs(hz):.1f} dBFS")
            if heard.tone_seconds(other_hz) > 0:
                raise Failure(f"its own {other_hz} Hz came back")
    finally:
        caller.end()
        callee.end()


CASES = [
    ("the measure of tones and keys is right", (), measure_is_right),
    ("SIPp calls SIPp", ("sipp",), sipp_calls_sipp),
    ("SIPp as callee hangs up", ("sipp",), sipp_callee_hangs_up),
    ("SIPp sends early media", ("sipp",), sipp_early_media),
    ("SIPp is busy", ("sipp",), sipp_is_busy),
    ("SIPp cancels", ("sipp",), sipp_cancels),
    ("SIPp with 100 calls at a time", ("sipp",), sipp_makes_100_calls),
    ("baresip hears baresip, tones and keys", ("baresip",), baresip_hears_baresip),
]
