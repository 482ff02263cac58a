"""What we tell of a call's audio beside what the peer tells of it, over a link that loses 5 % of RTP:
packets, losses and jitter must be the same number seen from both ends, and the link's own count."""

import re

from bad_media import BadMedia
from gateway import Gateway
from peers import Failure, Phone, free_ports, wait_for
from shared import expect

LINK, PHONE = "127.0.0.1", "127.0.0.1"
SECONDS = 25
TABLES = """
[[trunk]]
name = "far"
server = "sip:127.0.0.1:{{link}}"
options_s = 0
codecs = ["{{codec}}"]
[[route]]
pattern = '2\\d+'
trunks = ["far"]
[[application]]
id = 1
name = "a"
[[application.rule]]
id = 1
name = "measure"
pattern = ''
scenarios = ["measure.js"]
"""
SCRIPT = """
const call = VoxEngine.callPSTN("2001", "100");
call.addEventListener(CallEvents.Connected, () => setTimeout(() => call.hangup(), %d));
call.addEventListener(CallEvents.Disconnected, (e) => {
  Logger.write("measured " + JSON.stringify(e.statistics));
  VoxEngine.terminate();
});
call.addEventListener(CallEvents.Failed, VoxEngine.terminate);
""" % (SECONDS * 1000)


def near(what, got, wanted, margin):
    if abs(got - wanted) > margin:
        raise Failure(f"{what}: {got}, not {wanted} within {margin}")


def summary_of(phone):
    """What baresip's rtcpsummary says at the end of a call."""
    def found():
        return re.search(r"EX=BareSip;[^\n]*", phone.process.output())
    line = wait_for("the phone's summary", found, 10).group()
    return {key: value.split(",") for key, _, value in
            (field.partition("=") for field in line.split(";"))}


def measured(codec, codecs, module, share):
    def case(world):
        link, port = free_ports(2, PHONE)
        tables = TABLES.replace("{{link}}", str(link)).replace("{{codec}}", codec)
        gateway = Gateway(world.binary, world.folder, tables, name="quality",
                          before=lambda gateway: gateway.script("measure.js", SCRIPT))
        phone = Phone(world.folder, "2001", port, address=PHONE, microphone_hz=400, codecs=codecs,
                      lines=f"module rtcpsummary.so\n{module}")
        try:
            ours = ("127.0.0.1", gateway.sip)
            with BadMedia((LINK, link), (PHONE, port), ours, share=share) as media:
                gateway.start(1)
                row = wait_for("the session's row", lambda: gateway.history(60), 60)[0]
                theirs = summary_of(phone)
            seen = row["calls"][0]["statistics"]
            compare(media, seen, theirs, share)
            expect("MOS counted", sum(value for name, value in gateway.metrics().items()
                                      if re.match(r"call_mos_\w+_count", name)), 1)
            gateway.stop()
        finally:
            phone.end()
            gateway.process.end(1.0)
    return case


def compare(media, seen, theirs, share):
    print(f"        link lost {media.lost['peer']} of ours to hear, {media.lost['gateway']} of what we "
          f"said; we: {seen}; baresip: PR {theirs['PR']} PS {theirs['PS']} PL {theirs['PL']} "
          f"JI {theirs['JI']}", flush=True)
    # Losses of the end are not seen, since no later packet shows them.
    near("lost on the way to us", seen["packets_lost"], media.lost["peer"], 3)
    near("received by us", seen["packets_received"], media.passed["peer"], 3)
    near("sent by us", seen["packets_sent"], media.lost["gateway"] + media.passed["gateway"], 3)
    # It counts from one report to the next, of which there is one each 5 s or so: 350 packets.
    near("received by baresip", int(theirs["PR"][0]), media.passed["gateway"], 350)
    near("sent by baresip", int(theirs["PS"][0]), media.passed["peer"] + media.lost["peer"], 350)
    late = max(350 * share // 100 * 2, 5)
    near("lost by baresip, as it told us", seen["lost_by_peer"], int(theirs["PL"][0]), late)
    near("lost by us, as we told baresip", int(theirs["PL"][1]), seen["packets_lost"], late)
    # Delays are even from 0 to 10 ms: |D| is 3.3 ms on average (RFC 3550 A.8).
    near("our jitter", seen["jitter_ms"], 3.3, 2.5)
    near("jitter at baresip, as it told us", seen["jitter_at_peer_ms"], 3.3, 2.5)
    near("our jitter, as we told baresip", float(theirs["JI"][1]), seen["jitter_ms"], 2.5)
    if share == 0:
        if seen["mos"] < 4.2:
            raise Failure(f"MOS {seen['mos']} over a good link")
        return
    # Of Opus, on the fullband scale, the E-model leaves 3.3 with 5 % lost (G.107.2 and our table).
    least, at_peer = (2.9, 2.9) if seen["codec"].startswith("opus") else (3.4, 3.2)
    if not least < seen["mos"] < 4.2 or not at_peer < seen["mos_at_peer"] < 4.25:
        raise Failure(f"MOS {seen['mos']} and {seen['mos_at_peer']} with {share} % lost")


CASES = [
    ("quality: a good link, seen from both ends", ("baresip",),
     measured("PCMU", "pcmu", "", 0)),
    ("quality: 5 % of RTP lost, seen from both ends", ("baresip",),
     measured("PCMA", "pcma", "", 5)),
    ("quality: 5 % lost of G.722", ("baresip",),
     measured("G722", "g722", "module g722.so\n", 5)),
    ("quality: 5 % lost of Opus", ("baresip",),
     measured("opus", "opus", "module opus.so\n", 5)),
]
