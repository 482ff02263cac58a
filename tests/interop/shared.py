"""The gateway that most cases share, with a trunk for each kind of peer."""

import contextlib
import json

from gateway import Gateway
from peers import Failure, Phone, Sipp, free_ports

PASSWORD = "correct-horse"
PROVIDER, TCP, DIGEST, USERS, NOBODY = (
    "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.6", "127.0.0.8")

TABLES = """
[[trunk]]
name = "self"
server = "sip:127.0.0.1:{sip}"
options_s = 0
[[trunk]]
name = "provider"
server = "sip:127.0.0.2:{provider}"
options_s = 0
[[trunk]]
name = "tcp"
server = "sip:127.0.0.3:{tcp};transport=tcp"
options_s = 0
[[trunk]]
name = "digest"
server = "sip:127.0.0.4:{digest}"
username = "branch"
password = "secret"
options_s = 0
[[trunk]]
name = "desk1"
server = "sip:127.0.0.1:{desk1}"
options_s = 0
[[trunk]]
name = "desk2"
server = "sip:127.0.0.1:{desk2}"
options_s = 0
[[trunk]]
name = "nobody"
server = "sip:127.0.0.8:{nobody}"
options_s = 0

[[route]]
pattern = '7\\d+'
trunks = ["self"]
[[route]]
pattern = '2\\d+'
trunks = ["provider"]
[[route]]
pattern = '3\\d+'
trunks = ["tcp"]
[[route]]
pattern = '4\\d+'
trunks = ["digest"]
[[route]]
pattern = '5\\d+'
trunks = ["nobody", "provider"]
[[route]]
pattern = '601'
trunks = ["desk1"]
[[route]]
pattern = '602'
trunks = ["desk2"]

[[user]]
name = "alice"
password = "correct-horse"
display_name = "Alice"
[[user]]
name = "bob"
password = "correct-horse"

[[application]]
id = 1
name = "branch"
"""

# Rules by id, name, pattern and script; the first ten are those of the shipped configuration.
RULES = (
    (1, "callback", "", "callback.js"),
    (2, "notification", "", "notification.js"),
    (3, "survey", "", "survey.js"),
    (4, "greeting", "100", "greeting.js"),
    (5, "voicemail", "101", "voicemail.js"),
    (6, "clicktocall", "", "clicktocall.js"),
    (7001, "phone-answer", "7001", "phones/answer.js"),
    (7002, "phone-presses", "7002", "phones/presses.js"),
    (7003, "phone-busy", "7003", "phones/busy.js"),
    (7004, "phone-silent", "7004", "phones/silent.js"),
    (20, "inbound", "80\\d", "interop/inbound.js"),
    (21, "dial", "", "interop/dial.js"),
    (22, "forward", "[23]\\d+", "interop/forward.js"),
    (23, "to-user", "alice|bob", "interop/to_user.js"),
)


def rules():
    text = ""
    for number, name, pattern, script in RULES:
        text += (f"\n[[application.rule]]\nid = {number}\nname = \"{name}\"\n"
                 f"pattern = '{pattern}'\nscenarios = [\"{script}\"]\n")
    return text.replace("{", "{{").replace("}", "}}")


class Shared(Gateway):
    def __init__(self, world):
        ports = free_ports(6)
        names = ("provider", "tcp", "digest", "desk1", "desk2", "nobody")
        self.peer = dict(zip(names, ports))
        tables = TABLES
        for name, port in self.peer.items():
            tables = tables.replace("{" + name + "}", str(port))
        super().__init__(world.binary, world.folder, tables + rules())


def gateway_of(world):
    """The shared gateway, started when the first case asks for it or after it was lost."""
    if world.gateway is None or not world.gateway.process.alive():
        world.gateway = Shared(world)
    return world.gateway


def shared(case):
    """A case of the shared gateway, which must be there and empty after it."""
    def run(world):
        gateway = gateway_of(world)
        gateway.before_case = gateway.metrics()["sessions_started_total"]
        case(world, gateway)
        if not gateway.process.alive():
            raise Failure(f"the gateway ended with {gateway.process.child.returncode}: "
                          f"{gateway.log()[-800:]}")
        gateway.wait_idle()
    run.__doc__ = case.__doc__
    return run


def callee(world, gateway, scenario, trunk="provider", address=PROVIDER, **more):
    """A SIPp that answers as this trunk."""
    return Sipp(world.folder, scenario, address, gateway.peer[trunk], **more)


def caller(world, gateway, scenario, number, address=PROVIDER, **more):
    """A SIPp that calls in as the provider, from a port of its own."""
    port = free_ports(1, address)[0]
    return Sipp(world.folder, scenario, address, port, remote=f"127.0.0.1:{gateway.sip}",
                number=number, **more)


def desk(world, gateway, which=1, **more):
    """A baresip that the gateway calls as a trunk: 601 or 602."""
    trunk = f"desk{which}"
    return Phone(world.folder, trunk, gateway.peer[trunk], user=f"60{which}", **more)


def user(world, gateway, name, password=PASSWORD, **more):
    """A baresip that registers as a user."""
    port = free_ports(1, USERS)[0]
    return Phone(world.folder, name, port, registrar=f"{USERS}:{gateway.sip}", user=name,
                 password=password, address=USERS, **more)


def expect(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what}: {json.dumps(got, default=str)[:300]}, "
                      f"wanted {json.dumps(wanted, default=str)[:300]}")


GOOD = """// Answers.
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  if (e.content === "end") VoxEngine.terminate();
  return { ok: true };
});
"""

TRUNK = """
[[trunk]]
name = "provider"
server = "sip:127.0.0.2:{provider}"
options_s = 0
[[route]]
pattern = '.*'
trunks = ["provider"]
[[application]]
id = 1
name = "a"
"""


def rule(number, script, pattern=""):
    return (f"[[application.rule]]\nid = {number}\nname = \"rule{number}\"\n"
            f"pattern = '{pattern}'\nscenarios = [\"{script}\"]\n")


@contextlib.contextmanager
def small_gateway(world, scripts, tables="", **more):
    """A gateway of its own whose rules 1, 2, ... run these scripts."""
    provider = free_ports(1, "127.0.0.2")[0]
    text = TRUNK.replace("{provider}", str(provider))
    text += "".join(rule(number, name) for number, name in enumerate(scripts, 1)) + tables
    gateway = Gateway(world.binary, world.folder, text, wait=False, name="small",
                      before=lambda g: [g.script(name, source)
                                        for name, source in scripts.items()], **more)
    gateway.provider = provider
    try:
        gateway.wait_up()
        yield gateway
        gateway.stop()
    finally:
        gateway.process.end(1.0)
