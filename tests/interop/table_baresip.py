"""baresip phones (1.0 is what Debian 12 has)."""

import os
import time

import table_rows as rows
import wav
from baresip import BaresipPhone
from peers import wait_for
from table_side import SETTLE_S
from table_side import Side as PhoneSide

NAME, NEEDS = "baresip", ("baresip",)
TITLE = "baresip 1.0"


class Side(PhoneSide):
    def __init__(self, world):
        super().__init__(world, "baresip", BaresipPhone)

    # baresip's record of what it hears ends with the first hold: it counts packets then.

    def hears_tone(self, phone, hz, seconds=0.8):
        before = phone.packets_heard()
        wait_for(f"{phone.uri} to get sound",
                 lambda: phone.packets_heard() >= before + 50 * seconds)

    def hears_nothing(self, phone, hz):
        def silent():
            before = phone.packets_heard()
            time.sleep(SETTLE_S)
            return phone.packets_heard() == before
        wait_for(f"sound to end at {phone.uri}", silent)

    def inband(self, keys):
        """Its microphone says them: a second of silence first."""
        path = os.path.join(self.world.folder, "keys.wav")
        wav.write(path, 8000, [0] * 8000 + wav.dtmf(keys) + [0] * 8000 * 30)
        return {"microphone": path}


def early_media(side):
    """baresip 1.0 sends 183 as callee, its own sound only after the answer."""
    rows.our_early_media(side)
    rows.their_early_media(side, makes_sound=False)


CELLS = {
    "register": rows.register,
    "wrong password": rows.wrong_password,
    "call in": rows.call_in,
    "call out": rows.call_out,
    "busy": rows.busy,
    "no answer": rows.no_answer,
    "cancel": rows.cancel,
    "early media": early_media,
    "hold and resume by the peer": rows.hold_by_peer,
    "hold and resume by us": rows.hold_by_us,
    "blind transfer by the peer": rows.blind_by_peer,
    "blind transfer by us": rows.blind_by_us,
    "attended transfer by the peer": "baresip 1.0 has no Replaces, as transferor or target.",
    "attended transfer by us": "baresip 1.0 has no Replaces, as transferor or target.",
    "DTMF by RFC 4733": rows.dtmf_rfc4733,
    "DTMF by INFO": rows.info_to_phone,
    "DTMF in-band": rows.dtmf_inband,
    "PRACK": "baresip 1.0 has no reliable provisional responses.",
    "session refresh": rows.refresh_without_timers,
    "TLS": rows.over_tls,
    "SRTP": rows.over_srtp,
    "IPv6": rows.over_ipv6,
    "WebSocket register": "baresip 1.0 has no WebSocket.",
}
