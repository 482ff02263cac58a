"""The gateway of one column of the table, and what its scenario (scenarios/table.js) tells."""

import json

from certificates import Certificates
from gateway import API_PAUSE_S, KEY, Gateway, Session
from kamailio import ADDRESS as KAMAILIO
from peers import Failure, free_ports, wait_for
from shared import PROVIDER, USERS, expect

EXPIRES_S = 90  # RFC 4028 §4 has no less; a refresh comes at half of it
RING_S = 5  # how long a call rings, either way: the rows of calls that nobody answers wait for it

TABLES = """
[[trunk]]
name = "provider"
server = "sip:127.0.0.2:{provider}"
options_s = 0
[[trunk]]
name = "desk-info"
server = "sip:127.0.0.6:{info}"
accept_from = ["127.0.0.8"]
dtmf = "info"
options_s = 0
[[trunk]]
name = "sipp-info"
server = "sip:127.0.0.2:{sipp-info}"
accept_from = ["127.0.0.8"]
dtmf = "info"
options_s = 0
[[trunk]]
name = "sipp-inband"
server = "sip:127.0.0.2:{sipp-inband}"
accept_from = ["127.0.0.8"]
dtmf = "inband"
options_s = 0
[[trunk]]
name = "sipp-srtp"
server = "sip:127.0.0.2:{sipp-srtp}"
accept_from = ["127.0.0.8"]
srtp = "required"
options_s = 0
[[trunk]]
name = "sipp-ipv6"
server = "sip:[::1]:{sipp-ipv6}"
accept_from = ["::1"]
options_s = 0
[[trunk]]
name = "desk-inband"
server = "sip:127.0.0.6:{inband}"
accept_from = ["127.0.0.8"]
dtmf = "inband"
options_s = 0

[[route]]
pattern = '2\\d{{3}}'
trunks = ["provider"]
[[route]]
pattern = '501'
trunks = ["desk-info"]
[[route]]
pattern = '502'
trunks = ["desk-inband"]
[[route]]
pattern = '503'
trunks = ["sipp-info"]
[[route]]
pattern = '507'
trunks = ["sipp-srtp"]
[[route]]
pattern = '506'
trunks = ["sipp-ipv6"]
[[route]]
pattern = '504'
trunks = ["sipp-inband"]

[[user]]
name = "alice"
password = "correct-horse"
[[user]]
name = "secret"
password = "correct-horse"
srtp = "required"
[[user]]
name = "bob"
password = "correct-horse"
[[user]]
name = "carol"
password = "correct-horse"

[[application]]
id = 1
name = "table"
[[application.rule]]
id = 1
name = "in"
pattern = '.*'
scenarios = ["interop/table.js"]
[[application.rule]]
id = 2
name = "out"
pattern = ''
scenarios = ["interop/table.js"]
"""


class TableGateway(Gateway):
    def __init__(self, world, column, tables="", **more):
        self.peer = {"provider": free_ports(1, PROVIDER)[0], "kamailio": free_ports(1, KAMAILIO)[0],
                     "kamailio-tls": free_ports(1, KAMAILIO)[0],
                     "sipp-info": free_ports(1, PROVIDER)[0],
                     "sipp-srtp": free_ports(1, PROVIDER)[0],
                     "sipp-ipv6": free_ports(1, "::1")[0],
                     "sipp-inband": free_ports(1, PROVIDER)[0],
                     "tls": free_ports(1)[0], "ws": free_ports(1)[0],
                     "info": free_ports(1, USERS)[0], "inband": free_ports(1, USERS)[0]}
        tables = TABLES + tables
        for name, port in self.peer.items():
            tables = tables.replace("{" + name + "}", str(port))
        self.certificates = Certificates(world.folder)
        tls = self.certificates
        keys = (f"session_expires_s = {EXPIRES_S}\n"
                f'tls = {{ cert = "{tls.cert}", key = "{tls.key}", ca = "{tls.ca}" }}')
        listen = "".join(f', "{address}"' for address in (
            "udp://[::1]:{sip}", "tcp://[::1]:{sip}", f"tls://127.0.0.1:{self.peer['tls']}",
            f"ws://127.0.0.1:{self.peer['ws']}"))
        super().__init__(world.binary, world.folder, tables, name=f"table-{column}",
                         ring_s=RING_S, listen=listen, sip_keys=keys, **more)
        self.told = set()

    def status(self):
        return json.loads(self.get(f"/status?account_id=1&api_key={KEY}")[1])

    def dial(self, **order):
        """A session whose script dials."""
        return self.start(2, order)

    def came_in(self):
        """The session of the call that has just come in."""
        def new():
            for row in self.status()["sessions"]:
                if (row["rule"] == "in" and row["custom_data"]
                        and row["session_id"] not in self.told):
                    return row
            return None
        row = wait_for("a call to come in", new, pause=API_PAUSE_S)
        self.told.add(row["session_id"])
        return Session(self, {"call_session_history_id": row["session_id"],
                              "media_session_access_url": row["custom_data"]})

    def contacts(self, user):
        return next((u["contacts"] for u in self.status()["users"] if u["name"] == user), 0)

    def trunk(self, name):
        return next(t for t in json.loads(self.get("/health")[1])["trunks"] if t["name"] == name)

    def check_alive(self):
        if not self.process.alive():
            raise Failure(f"the gateway ended with {self.process.child.returncode}: "
                          f"{self.log()[-800:]}")


def events(session, call="a"):
    """Names of what the scenario saw of this call, in order."""
    return [event["name"] for event in session.ask()["seen"] if event["call"] == call]


def saw(session, name, call="a", seconds=10.0, count=1):
    """Waits for the `count`-th event of this name; that event."""
    def has(answer):
        return sum(e["name"] == name and e["call"] == call for e in answer["seen"]) >= count
    answer = session.until(f"{name} of {call}", has, seconds)
    return [e for e in answer["seen"] if e["name"] == name and e["call"] == call][count - 1]


def keys_are(session, keys):
    session.until(f"the keys {keys}", lambda answer: len(answer["keys"]) >= len(keys))
    expect("keys", session.ask()["keys"], keys)

