"""Calls over a link that loses, doubles and reorders 5 % of everything: each ends as it should."""

from gateway import Gateway
from peers import Failure, Sipp, free_ports
from relay import Relay
from shared import expect

CALLS, RATE = 200, 20
LINK, CALLER, FAR_LINK, CALLEE = "127.0.0.48", "127.0.0.49", "127.0.0.50", "127.0.0.51"
TABLES = """
[[trunk]]
name = "near"
server = "sip:127.0.0.48:{{near}}"
options_s = 0
[[trunk]]
name = "far"
server = "sip:127.0.0.50:{{far}}"
accept_from = ["127.0.0.50/32", "127.0.0.51/32"]
options_s = 0
[[route]]
pattern = '2\\d+'
trunks = ["far"]
[[application]]
id = 1
name = "a"
[[application.rule]]
id = 1
name = "inbound"
pattern = '80\\d'
scenarios = ["interop/inbound.js"]
[[application.rule]]
id = 2
name = "forward"
pattern = '2\\d+'
scenarios = ["interop/forward.js"]
"""


def soak(number, calls, scenario="uac_call", words=None):
    """`calls` to one number through bad links on both sides."""
    def case(world):
        near, far = free_ports(1, CALLER)[0], free_ports(1, CALLEE)[0]
        tables = TABLES.replace("{{near}}", str(near)).replace("{{far}}", str(far))
        gateway = Gateway(world.binary, world.folder, tables, name="soak", wait=False)
        callee = None
        try:
            gateway.wait_up()
            ours = ("127.0.0.1", gateway.sip)
            with (Relay((LINK, near), (CALLER, near), ours, seed=1) as first,
                  Relay((FAR_LINK, far), (CALLEE, far), ours, seed=2) as second):
                if number.startswith("2"):
                    callee = Sipp(world.folder, "uas_lossy", CALLEE, far, calls=calls, seconds=70)
                peer = Sipp(world.folder, scenario, CALLER, near, remote=f"{LINK}:{near}",
                            number=number, calls=calls, rate=RATE, seconds=60, words=words)
                peer.done()
                if callee:
                    callee.done()
                gateway.wait_idle(40)
            for link in (first, second) if callee else (first,):
                if min(link.lost, link.doubled, link.held) == 0:
                    raise Failure(f"the link was good: {link.lost} lost, {link.doubled} twice, "
                                  f"{link.held} late")
            metrics = gateway.metrics()
            expect("sessions", metrics["sessions_started_total"], calls)
            for name in ("script_failures_total", "calls_refused_total", "sip_send_failed_total",
                         "sip_refused_full_transactions_total"):
                expect(name, metrics[name], 0)
            for name in ("sip_retransmissions_total", "sip_retransmissions_absorbed_total"):
                if metrics[name] == 0:
                    raise Failure(f"{name} is 0")
            print(f"        {calls} calls; of {first.passed + first.held + first.lost} datagrams {first.lost} "
                  f"lost, {first.doubled} twice, {first.held} late; "
                  f"{metrics['sip_retransmissions_total']:g} sent again, "
                  f"{metrics['sip_retransmissions_absorbed_total']:g} absorbed", flush=True)
            gateway.stop()
        finally:
            if callee:
                callee.end()
            gateway.process.end(1.0)
    return case


CASES = [
    ("soak: calls answered by a script, 5 % lost, doubled, reordered", ("sipp",),
     soak("800", CALLS)),
    ("soak: calls joined to another trunk, 5 % lost, doubled, reordered", ("sipp",),
     soak("2001", CALLS // 2)),
    ("soak: calls refused, 5 % lost, doubled, reordered", ("sipp",),
     soak("801", CALLS // 4, "uac_refused", {"CODE": 486})),
]
