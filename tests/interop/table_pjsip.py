"""PJSIP phones."""

import table_rows as rows
from pjsip import VERSION, PjsipPhone
from table_side import Side as PhoneSide

NAME, NEEDS = "PJSIP", ("pjsip",)
TITLE = f"PJSIP {VERSION.rsplit('.', 1)[0]}"


class Side(PhoneSide):
    def __init__(self, world):
        super().__init__(world, "pjsip", PjsipPhone)


CELLS = {
    "register": rows.register,
    "wrong password": rows.wrong_password,
    "call in": rows.call_in,
    "call out": rows.call_out,
    "busy": rows.busy,
    "no answer": rows.no_answer,
    "cancel": rows.cancel,
    "early media": rows.early_media,
    "hold and resume by the peer": rows.hold_by_peer,
    "hold and resume by us": rows.hold_by_us,
    "blind transfer by the peer": rows.blind_by_peer,
    "blind transfer by us": rows.blind_by_us,
    "attended transfer by the peer": rows.attended_by_peer,
    "attended transfer by us": rows.attended_by_us,
    "DTMF by RFC 4733": rows.dtmf_rfc4733,
    "DTMF by INFO": rows.dtmf_info,
    "DTMF in-band": rows.dtmf_inband,
    "PRACK": rows.prack,
    "session refresh": rows.refresh,
    "TLS": rows.over_tls,
    "SRTP": rows.over_srtp,
    "IPv6": "PJSIP's wheel is built without IPv6.",
    "WebSocket register": "PJSIP has no WebSocket.",
}
