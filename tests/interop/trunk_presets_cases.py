"""The presets of docs/trunks.md, as they stand there, against the peers that can be had.

Addresses, ports and passwords of the page are replaced by those of the run; where SIPp stands in a
peer's place, keep-alives are off (it answers nothing that its scenario does not name).
"""

import contextlib
import os
import re

from gateway import Gateway
from peers import Failure, Process, Sipp, free_ports, is_bound, wait_for
from shared import expect
from trunk_cases import check_digest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEER, PROXY, FAR = "127.0.0.2", "127.0.0.7", "127.0.0.3"
QUIET = {"[[trunk]]\n": "[[trunk]]\noptions_s = 0\n"}

# Keeps what it is told of an inbound call; dials what its custom data says.
PROBE = """
const seen = [];
VoxEngine.addEventListener(AppEvents.Started, () => {
  const order = VoxEngine.customData();
  if (!order) return;
  const { number, callerid, parameters } = JSON.parse(order);
  const call = VoxEngine.callPSTN(number, callerid, parameters);
  for (const name of ["Connected", "Disconnected", "Failed"]) {
    call.addEventListener(CallEvents[name], (e) => {
      seen.push({ name, code: e.code });
      if (name === "Connected") setTimeout(() => call.hangup(), 200);
    });
  }
});
VoxEngine.addEventListener(AppEvents.CallAlerting, (e) => {
  const { callerid, displayName, destination, headers } = e;
  VoxEngine.customData(JSON.stringify([destination, callerid, displayName,
                                       headers.Diversion ?? ""]));
  e.call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
  e.call.answer();
});
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  if (e.method === "POST") VoxEngine.terminate();
  return { seen };
});
"""


def preset(name):
    """The block that stands under this name in the page."""
    with open(os.path.join(TOP, "docs", "trunks.md"), encoding="utf-8") as file:
        page = file.read()
    found = re.search(rf"<!-- preset: {re.escape(name)} -->\n```\w*\n(.*?)```\n", page, re.S)
    if not found:
        raise Failure(f"docs/trunks.md has no preset {name}")
    return found.group(1)


def replaced(text, words):
    for word, value in words.items():
        if word not in text:
            raise Failure(f"the preset has no {word}")
        text = text.replace(word, value)
    return text


@contextlib.contextmanager
def running(world, name, words, before=lambda gateway: None):
    """A gateway with this preset and the rule of the page, which runs the probe; `before` it
    starts its peer does."""
    common = replaced(preset("common"), {"greeting.js": "probe.js"})
    dial = ("\n  [[application.rule]]\n  id = 2\n  name = \"dial\"\n  pattern = ''\n"
            "  scenarios = [\"probe.js\"]\n")
    gateway = Gateway(world.binary, world.folder, replaced(preset(name), words) + common + dial,
                      name=name, before=lambda g: (g.script("probe.js", PROBE), before(g)))
    try:
        yield gateway
        gateway.stop()
    finally:
        gateway.process.end(1.0)


def scenario_calling(headers, to=None):
    """The SIPp scenario uac_call with further header lines, and another To."""
    path = os.path.join(TOP, "tests", "interop", "sipp", "uac_call.xml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    first, rest = text.split("      Max-Forwards: 70\n", 1)
    lines = "".join(f"      {line}\n" for line in headers)
    text = first + "      Max-Forwards: 70\n" + lines + rest
    return text.replace("To: <sip:[service]@", f"To: <sip:{to}@") if to else text


def call_in(world, gateway, number, headers=(), to=None, address=PEER, port=None, remote=None):
    """Calls; what the probe saw: destination, caller, display name, Diversion."""
    caller = Sipp(world.folder, "uac_call", address, port or free_ports(1, address)[0],
                  remote=remote or f"127.0.0.1:{gateway.sip}", number=number,
                  text=scenario_calling(headers, to))
    caller.done()
    return gateway.latest("inbound")["custom_data"]


def call_out(gateway, peer, number, callerid=None, parameters=None):
    """Dials; the INVITEs that the peer got."""
    order = {"number": number, "callerid": callerid, "parameters": parameters}
    session = gateway.start(2, order)
    session.until_seen("Disconnected")
    session.tell(command="end")
    peer.done()
    return peer.received("INVITE ")


def field(message, name):
    found = re.search(rf"(?im)^{name}: *(.*?)\r?$", message)
    return found.group(1) if found else None


def user_of(message, name):
    found = re.search(r"sips?:([^@>]+)@", field(message, name) or "")
    return found.group(1) if found else None


ASSERTED = ['P-Asserted-Identity: "Eve" <sip:+4930555@192.0.2.10>']


def asterisk(world):
    port = free_ports(1, PEER)[0]
    with running(world, "asterisk", QUIET | {"192.0.2.10:5060": f"{PEER}:{port}",
                                     '"192.0.2.10"': f'"{PEER}"'}) as gateway:
        expect("seen", call_in(world, gateway, "801", ASSERTED), '["801","+4930555","Eve",""]')
        hidden = [*ASSERTED, "Privacy: id"]
        expect("seen", call_in(world, gateway, "801", hidden),
               '["801","anonymous","Anonymous",""]')
        peer = Sipp(world.folder, "uas_answer", PEER, port)
        invite = call_out(gateway, peer, "2001", "100")[0]
        expect("who", (user_of(invite, "From"), user_of(invite, "P-Asserted-Identity")),
               ("100", "100"))


def freeswitch(world):
    port = free_ports(1, PEER)[0]
    with running(world, "freeswitch", QUIET | {"192.0.2.10:5080": f"{PEER}:{port}",
                                       '"192.0.2.10"': f'"{PEER}"'}) as gateway:
        rpid = ['Remote-Party-ID: "Eve" <sip:+4930555@x>;party=calling;screen=yes;privacy=off']
        expect("seen", call_in(world, gateway, "801", rpid), '["801","+4930555","Eve",""]')
        peer = Sipp(world.folder, "uas_answer", PEER, port)
        invite = call_out(gateway, peer, "2001", "100")[0]
        value = field(invite, "Remote-Party-ID") or ""
        if "sip:100@" not in value or not value.endswith("party=calling;screen=yes;privacy=off"):
            raise Failure(f"Remote-Party-ID: {value}")


def three_cx(world):
    port = free_ports(1, PEER)[0]
    registrar = Sipp(world.folder, "uas_registrar", PEER, port, words={
        "EXPIRES": 4, "USER": "kT3vXq8Lm2", "PASSWORD": "pbx-secret"})
    with running(world, "3cx", QUIET | {"192.0.2.10:5060": f"{PEER}:{port}",
                                "env:PBX_PASSWORD": "pbx-secret"}) as gateway:
        registrar.done()
        registers = registrar.received("REGISTER ")
        expect("account", (user_of(registers[1], "To"), user_of(registers[1], "Contact")),
               ("200", "200"))
        check_digest(registers[1], "Authorization", "REGISTER", "kT3vXq8Lm2", "pbx-secret")
        peer = Sipp(world.folder, "uas_answer", PEER, port)
        invite = call_out(gateway, peer, "2001", "100")[0]
        expect("who", (user_of(invite, "From"), field(invite, "P-Asserted-Identity")),
               ("200", None))
        farewell(world, gateway, port)


def farewell(world, gateway, port):
    """Somebody answers the REGISTER of the gateway's end."""
    peer = Sipp(world.folder, "uas_farewell", PEER, port, text=FAREWELL)
    gateway.stop()
    peer.done()
    if not re.search(r"(?im)^Expires: 0\r?$", peer.received("REGISTER ")[0]):
        raise Failure("the gateway did not take its registration back")
    gateway.again()


FAREWELL = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="uas_farewell">
  <recv request="REGISTER"/>
  <send><![CDATA[

      SIP/2.0 200 OK
      [last_Via:]
      [last_From:]
      [last_To:];tag=[pid]uas[call_number]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

  ]]></send>
</scenario>
"""


def kamailio(world):
    """The very kamailio.cfg of the page, between a caller, the gateway and a callee."""
    port, far = free_ports(1, PROXY)[0], free_ports(1, FAR)[0]
    started = []
    words = {"192.0.2.10:5060": f"{PROXY}:{port}", '"192.0.2.10"': f'"{PROXY}"'}
    try:
        with running(world, "kamailio", words,
                     lambda gateway: started.append(proxy(world, gateway, port, far))) as gateway:
            wait_for("the trunk to be up", lambda: '"up"' in gateway.get("/health")[1], 10)
            expect("seen", call_in(world, gateway, "801", remote=f"{PROXY}:{port}"),
                   '["801","caller","",""]')
            peer = Sipp(world.folder, "uas_answer", FAR, far)
            invite = call_out(gateway, peer, "2001", "100")[0]
            expect("who", user_of(invite, "P-Asserted-Identity"), "100")
    finally:
        for process in started:
            process.end(5.0)


def proxy(world, gateway, port, far):
    """Kamailio with the page's configuration."""
    text = replaced(preset("kamailio.cfg"), {
        "192.0.2.10:5060": f"{PROXY}:{port}", "192.0.2.20:5060": f"127.0.0.1:{gateway.sip}",
        '"192.0.2.20"': '"127.0.0.1"', "192.0.2.30:5060": f"{FAR}:{far}"})
    folder = os.path.join(world.folder, f"kamailio-preset-{port}")
    os.makedirs(os.path.join(folder, "run"))
    path = os.path.join(folder, "kamailio.cfg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    process = Process(["kamailio", "-DD", "-E", "-f", path, "-m", "32", "-M", "8",
                       "-Y", os.path.join(folder, "run"), "-w", folder], folder, "kamailio")
    wait_for("Kamailio to listen", lambda: is_bound(PROXY, port) or not process.alive(), 15)
    if not process.alive():
        raise Failure(f"Kamailio refuses the page: {process.output()[-600:]}")
    return process


def provider_registers(world):
    port = free_ports(1, PEER)[0]
    registrar = Sipp(world.folder, "uas_registrar", PEER, port, words={
        "EXPIRES": 4, "USER": "493012340-a1", "PASSWORD": "secret"})
    with running(world, "provider-registers", QUIET | {
            '"sip:example.net"': f'"sip:{PEER}:{port}"', '"example.net"': '"sipp"',
            "env:PROVIDER_PASSWORD": "secret"}) as gateway:
        registrar.done()
        register = registrar.received("REGISTER ")[1]
        expect("Expires", field(register, "Expires"), "600")
        check_digest(register, "Authorization", "REGISTER", "493012340-a1", "secret")
        peer = Sipp(world.folder, "uas_answer", PEER, port)
        invite = call_out(gateway, peer, "0305550", "+4930123499")[0]
        expect("line", invite.split("@")[0], "INVITE sip:+49305550")
        expect("who", [user_of(invite, name) for name in ("From", "P-Preferred-Identity")],
               ["493012340", "+4930123499"])
        expect("seen", call_in(world, gateway, "493012340", to="+4930123401", port=port),
               '["+4930123401","caller","",""]')
        farewell(world, gateway, port)


def provider_by_address(world):
    port = free_ports(1, PEER)[0]
    with running(world, "provider-by-address", QUIET | {
            "203.0.113.10:5060": f"{PEER}:{port}", "203.0.113.0/28": f"{PEER}/32"}) as gateway:
        peer = Sipp(world.folder, "uas_answer", PEER, port, calls=2)
        gateway_call = {"number": "+4930555", "callerid": "+4930123499",
                        "parameters": {"headers": {"Diversion": "<sip:+49301@x>;reason=unknown"}}}
        session = gateway.start(2, gateway_call)
        session.until_seen("Disconnected")
        session.tell(command="end")
        shown, hidden = call_out(gateway, peer, "+4930555", "anonymous")
        expect("line", shown.split("@")[0], "INVITE sip:+4930555")
        for name, value in (("From", "<sip:+4930123499@branch.example.com>"),
                            ("P-Asserted-Identity", "<sip:+4930123499@branch.example.com>"),
                            ("Diversion", "<sip:+49301@x>;reason=unknown")):
            expect(name, (field(shown, name) or "").split(";tag=")[0], value)
        for name, value in (("From", '"Anonymous" <sip:anonymous@anonymous.invalid>'),
                            ("P-Asserted-Identity", "<sip:+493012340@branch.example.com>"),
                            ("Privacy", "id")):
            expect(name, (field(hidden, name) or "").split(";tag=")[0], value)
        headers = [*ASSERTED, "Diversion: <sip:7@x>;reason=no-answer"]
        expect("seen", call_in(world, gateway, "+4930123401", headers),
               '["+4930123401","+4930555","Eve","<sip:7@x>;reason=no-answer"]')


SIPP = ("sipp",)
CASES = [
    ("docs/trunks.md: Asterisk, with SIPp in its place", SIPP, asterisk),
    ("docs/trunks.md: FreeSWITCH, with SIPp in its place", SIPP, freeswitch),
    ("docs/trunks.md: 3CX, with SIPp in its place", SIPP, three_cx),
    ("docs/trunks.md: Kamailio", ("sipp", "kamailio"), kamailio),
    ("docs/trunks.md: a provider with registration", SIPP, provider_registers),
    ("docs/trunks.md: a provider by address", SIPP, provider_by_address),
]
