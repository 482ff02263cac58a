"""Kamailio between PJSIP phones and the gateway.

The gateway registers at it as a trunk, the phones as its users; it records its route, so that every
request of a call passes through it.
"""

import table_rows as rows
from baresip import BaresipPhone
from kamailio import ADDRESS, PASSWORDS, Kamailio
from peers import Failure, free_ports, wait_for
from pjsip import PjsipPhone
from shared import PASSWORD, expect
from table_gateway import keys_are, saw
from table_side import Side as PhoneSide

TABLES = """
[[trunk]]
name = "kamailio"
server = "sip:127.0.0.7:{kamailio}"
register = true
username = "branch"
password = "trunk-secret"
options_s = 0
[[trunk]]
name = "kamailio-tcp"
server = "sip:127.0.0.7:{kamailio};transport=tcp"
username = "branch"
password = "trunk-secret"
dtmf = "info"
options_s = 0
[[trunk]]
name = "kamailio-tls"
server = "sip:127.0.0.7:{kamailio-tls};transport=tls"
username = "branch"
password = "trunk-secret"
options_s = 0
[[trunk]]
name = "kamailio-srtp"
server = "sip:127.0.0.7:{kamailio}"
username = "branch"
password = "trunk-secret"
srtp = "required"
options_s = 0
[[trunk]]
name = "kamailio-ipv6"
server = "sip:[::1]:{kamailio}"
username = "branch"
password = "trunk-secret"
options_s = 0
[[trunk]]
name = "mistyped"
server = "sip:127.0.0.7:{kamailio}"
register = true
username = "branch"
password = "trunk secret"
options_s = 0
[[route]]
pattern = '20\\d'
trunks = ["kamailio"]
[[route]]
pattern = '920\\d'
trunks = ["kamailio-tcp"]
strip = 1
[[route]]
pattern = '720\\d'
trunks = ["kamailio-tls"]
strip = 1
[[route]]
pattern = '520\\d'
trunks = ["kamailio-srtp"]
strip = 1
[[route]]
pattern = '620\\d'
trunks = ["kamailio-ipv6"]
strip = 1
"""
# In front of a number: what Kamailio goes by, and the trunk that the gateway takes.
INWARDS = {"tls": "7", "ipv6": "6", "srtp": "", "": ""}
OUTWARDS = {**INWARDS, "srtp": "5"}

NAME, NEEDS = "Kamailio", ("kamailio", "baresip", "pjsip")
TITLE = "Kamailio 5.6 in the path"


class Side(PhoneSide):
    names = ("201", "202", "203")

    def __init__(self, world):
        self.kamailio, self.gateway = None, None
        try:
            super().__init__(world, "kamailio", PjsipPhone, tables=TABLES, before=self._start)
            wait_for("the gateway to be registered at Kamailio",
                     lambda: self.gateway.trunk("kamailio")["state"] == "up", 15)
        except BaseException:
            self.drop()
            raise

    def _start(self, gateway):
        """Before the gateway, which registers at once when it comes up."""
        self.kamailio = Kamailio(self.world.folder, gateway)

    def end(self):
        try:
            super().end()
        finally:
            self.kamailio.end()

    def drop(self):
        if self.gateway:
            super().drop()
        if self.kamailio:
            self.kamailio.end()

    def phone(self, name, hz=0, password=None, way="", **more):
        """On IPv6 a baresip: PJSIP's wheel has none."""
        phone_of, address = (BaresipPhone, "::1") if way == "ipv6" else (self.phone_of, ADDRESS)
        host = "[::1]" if way == "ipv6" else ADDRESS
        if way == "srtp":
            more.update(phone_of.ENCRYPTED)
        return phone_of(self.world.folder, name, free_ports(1, address)[0],
                        registrar=f"{host}:{self.kamailio.port}", user=name,
                        password=password or PASSWORDS[name], address=address,
                        microphone_hz=hz, **more)

    def name(self, number, way=""):
        return self.names[number]

    def behind(self, name, password=PASSWORD, **more):
        """A phone of the gateway's own, with Kamailio as its outbound proxy."""
        return self.phone_of(self.world.folder, name, free_ports(1, ADDRESS)[0],
                             registrar=f"127.0.0.1:{self.gateway.sip}", user=name,
                             password=password, address=ADDRESS,
                             proxy=f"sip:{ADDRESS}:{self.kamailio.port};lr", **more)

    def uri(self, number, way=""):
        host = "[::1]" if way == "ipv6" else ADDRESS
        return f"sip:{INWARDS[way]}{number}@{host}:{self.kamailio.port}"

    def through(self, name):
        return self.uri("9" + name)  # over TCP from Kamailio on

    def transferred(self, name):
        return "9" + name

    def order(self, name, way=""):
        return {"number": OUTWARDS[way] + name}


def register(side):
    """The gateway's registration leads Kamailio's calls to it, and goes with it."""
    expect("state", side.gateway.trunk("kamailio")["state"], "up")
    with side.registered("201") as phone:
        phone.dial(side.uri("805"))
        phone.connected()
        session = side.gateway.came_in()
        phone.hang_up()
        phone.closed()
        rows.ends(session)
    behind(side)


def behind(side):
    """A phone of the gateway's behind Kamailio: the gateway reaches it the way it registered."""
    with side.behind("alice") as phone:
        phone.registered()
        session = side.gateway.dial(user="alice", play=True)
        saw(session, "Connected")
        phone.connected()
        rows.sounds(phone, 0.5)
        via = rows.header(phone.received("INVITE ")[0], "Via")
        if f"{ADDRESS}:{side.kamailio.port}" not in via:
            raise Failure(f"the INVITE came past Kamailio: Via {via}")
        session.tell(command="hangup")
        phone.closed()
        rows.ends(session)


def wrong_password(side):
    """Of ours at Kamailio; of a phone at the gateway, through Kamailio."""
    wait_for("the trunk to be refused", lambda: "403" in side.gateway.trunk("mistyped")["reason"])
    expect("state", side.gateway.trunk("mistyped")["state"], "down")
    with side.behind("alice", password="battery staple") as phone:
        phone.refused()
    expect("contacts", side.gateway.contacts("alice"), 0)


def dtmf_info(side):
    """Both ways over UDP from the phone, over TCP from Kamailio to the gateway and back."""
    with side.registered("201") as phone:
        phone.dial(side.uri("9805"))
        phone.connected()
        session = side.gateway.came_in()
        saw(session, "Connected")
        phone.press("159#0", "info")
        keys_are(session, "159#0")
        expect("kind", saw(session, "ToneReceived")["type"], "3")
        phone.hang_up()
        phone.closed()
        rows.ends(session)
        session = side.gateway.dial(number="9201")
        phone.connected(1)
        session.tell(command="digits", text="90*")
        wait_for("keys at the phone", lambda: len(phone.keys(1)) >= 3)
        expect("keys at the phone", phone.keys(1), "90*")
        expect("INFOs", len(phone.received("INFO ")), 3)
        session.tell(command="hangup")
        phone.closed(1)
        rows.ends(session)


CELLS = {
    "register": register,
    "wrong password": wrong_password,
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
    "DTMF by INFO": dtmf_info,
    "DTMF in-band": rows.dtmf_inband,
    "PRACK": rows.prack,
    "session refresh": rows.refresh,
    "TLS": rows.over_tls,
    "SRTP": rows.over_srtp,
    "IPv6": rows.over_ipv6,
    "WebSocket register": "Kamailio takes WebSocket connections and opens none to the gateway.",
}
