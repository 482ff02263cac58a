"""A spoken sentence through each codec: what the gateway plays to a call is decoded by other
programs than it encodes with, and PESQ tells how much of it is left."""

import os
import subprocess

import ogg
import speech_quality
from gateway import Gateway
from peers import Failure, Sipp, free_ports, wait_for
from rtp_end import ALAW, ULAW, RtpEnd
from shared import PROVIDER
from sipp_scenario import gets, response, scenario, within

SENTENCES = ("The birch canoe slid on the smooth planks. Glue the sheet to the dark blue "
             "background. It is easy to tell the depth of a well.")
# Name in the config; payload type here; in the SDP; rate that it is measured at; least MOS-LQO;
# how ffmpeg encodes the same, for what the codec makes of this voice wherever it is. A synthetic
# voice is harder for codecs than people are: it has no noise of its own to hide theirs.
CODECS = (
    ("PCMU", 0, "PCMU/8000", 8000, 3.8, ("mulaw", "pcm_mulaw", "8000")),
    ("PCMA", 8, "PCMA/8000", 8000, 3.8, ("alaw", "pcm_alaw", "8000")),
    ("G722", 9, "G722/8000", 16000, 2.8, ("g722", "g722", "16000")),
    ("opus", 111, "opus/48000/2", 16000, 3.2, ("ogg", "libopus", "48000")),
    ("L16/8000", 112, "L16/8000", 8000, 4.5, None),
    ("L16", 113, "L16/16000", 16000, 4.6, None),
    ("L16/48000", 114, "L16/48000", 16000, 4.6, None),
)
MARGIN = 0.2  # from one encoder of a codec to another
OPUS = ("-b:a", "32k", "-application", "voip", "-compression_level", "5")  # as we encode
TRUNK = """
[[trunk]]
name = "codec{place}"
server = "sip:{address}:{port}"
options_s = 0
codecs = ["{codec}"]
[[route]]
pattern = '20{place}'
trunks = ["codec{place}"]
"""
APPLICATION = """
[[application]]
id = 1
name = "a"
[[application.rule]]
id = 1
name = "says"
pattern = ''
scenarios = ["says.js"]
"""
SCRIPT = """
const calls = [...Array(%d).keys()].map((n) => VoxEngine.callPSTN(`20${n}`, "100"));
let connected = 0;
const say = () => {
  const player = VoxEngine.createURLPlayer("file:sentences.wav");
  calls.forEach((call) => player.sendMediaTo(call));
  player.addEventListener(PlayerEvents.PlaybackFinished,
    () => setTimeout(() => calls.forEach((call) => call.hangup()), 300));
};
let left = calls.length;
for (const call of calls) {
  call.addEventListener(CallEvents.Connected, () => ++connected === calls.length && say());
  call.addEventListener(CallEvents.Disconnected, () => --left || VoxEngine.terminate());
  call.addEventListener(CallEvents.Failed, VoxEngine.terminate);
}
""" % len(CODECS)


def ffmpeg(*arguments):
    done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments],
                          capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise Failure(f"ffmpeg {arguments}: {done.stderr.decode(errors='replace')[-300:]}")


def spoken(folder):
    """The sentences as a WAV of 16,000 Hz, and as bare samples at the rates of PESQ."""
    raw, path = os.path.join(folder, "spoken.wav"), os.path.join(folder, "sentences.wav")
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", raw, SENTENCES], check=True)
    ffmpeg("-i", raw, "-ar", "16000", "-ac", "1", "-c:a", "pcm_s16le", path)
    said = {}
    for rate in (8000, 16000):
        said[rate] = os.path.join(folder, f"said-{rate}.raw")
        ffmpeg("-i", path, "-f", "s16le", "-ar", str(rate), said[rate])
    return path, said


def answered(media, number, name):
    body = (f"v=0\no=sipp 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n"
            f"m=audio {media.port} RTP/AVP {number}\na=rtpmap:{number} {name}\na=ptime:20\n")
    return scenario(gets("INVITE", rrs=True), response(200, "OK", body), gets("ACK"),
                    gets("BYE"), within(200, "OK"))


def decoded(folder, place, packets):
    """A file of samples at the codec's rate of PESQ."""
    name, number, line, rate, *_ = CODECS[place]
    payloads = [packets[sequence][2] for sequence in sorted(packets)
                if packets[sequence][0] == number]
    if not payloads:
        raise Failure(f"{name}: nothing was heard")
    if name in ("PCMU", "PCMA"):
        table = ULAW if name == "PCMU" else ALAW
        data = b"".join(table[byte].to_bytes(2, "little", signed=True)
                        for payload in payloads for byte in payload)
        form = ("-f", "s16le", "-ar", "8000")
    elif name == "G722":
        data, form = b"".join(payloads), ("-f", "g722")
    elif name == "opus":
        data, form = ogg.opus_file(payloads, 960), ("-f", "ogg", "-c:a", "opus")
    else:
        data, form = b"".join(payloads), ("-f", "s16be", "-ar", line.split("/")[1])
    source, path = (os.path.join(folder, f"heard-{place}.{end}") for end in ("coded", "raw"))
    with open(source, "wb") as file:
        file.write(data)
    ffmpeg(*form, "-i", source, "-f", "s16le", "-ac", "1", "-ar", str(rate), path)
    return path


def by_ffmpeg(folder, place, sentences):
    """A file of samples that ffmpeg encoded and decoded, instead of us."""
    name, _, _, rate, _, (form, encoder, own_rate) = CODECS[place]
    coded, path = (os.path.join(folder, f"theirs-{place}.{end}") for end in ("coded", "raw"))
    more = OPUS if name == "opus" else ()
    ffmpeg("-i", sentences, "-ar", own_rate, "-c:a", encoder, *more, "-f", form, coded)
    source = ("-f", form) if form in ("g722", "ogg") else ("-f", form, "-ar", own_rate)
    ffmpeg(*source, "-i", coded, "-f", "s16le", "-ac", "1", "-ar", str(rate), path)
    return path


def hear(world, folder, sentences):
    """What the far end of a call of each codec got, by sequence number."""
    ports = free_ports(len(CODECS), PROVIDER)
    tables = "".join(TRUNK.format(place=place, address=PROVIDER, port=port, codec=codec[0])
                     for place, (port, codec) in enumerate(zip(ports, CODECS)))
    ends, peers = [RtpEnd(PROVIDER) for _ in CODECS], []

    def prepare(gateway):
        gateway.script("says.js", SCRIPT)
        os.link(sentences, os.path.join(gateway.folder, "scenarios", "sentences.wav"))
    gateway = Gateway(world.binary, folder, tables + APPLICATION, name="speech", before=prepare)
    try:
        for place, (_, number, line, *_) in enumerate(CODECS):
            text = answered(ends[place], number, line)
            peers.append(Sipp(folder, f"codec{place}", PROVIDER, ports[place], text=text,
                              seconds=60))
        session = gateway.start(1)
        wait_for("the session's end", session.is_over, 40)
        for peer in peers:
            peer.done()
        gateway.stop()
    finally:
        gateway.process.end(1.0)
        for peer in peers:
            peer.end()
        for end in ends:
            end.__exit__()
    return [end.packets for end in ends]


def sentence(world):
    folder = os.path.join(world.folder, "speech")
    os.makedirs(folder)
    path, said = spoken(folder)
    faults, figures = [], []
    print("        codec        Hz  MOS-LQO  ffmpeg's  at least", flush=True)
    for place, packets in enumerate(hear(world, folder, path)):
        name, _, _, rate, least, other = CODECS[place]
        found = speech_quality.mos(said[rate], decoded(folder, place, packets), rate)
        theirs = "-"
        if other:
            value = speech_quality.mos(said[rate], by_ffmpeg(folder, place, path), rate)
            theirs, least = f"{value:.2f}", max(least, value - MARGIN)
        print(f"        {name:<9} {rate:>5}  {found:>7.2f}  {theirs:>8}  {least:>8.2f}", flush=True)
        figures.append(f"{name} {found:.2f}")
        if found < least:
            faults.append(f"{name} {found:.2f}, not {least:.2f}")
    print(f"quality: speech, MOS-LQO by PESQ: {', '.join(figures)}", flush=True)
    if faults:
        raise Failure("; ".join(faults))


sentence.missing = speech_quality.missing
CASES = [
    ("speech: sentences through each codec, PESQ", ("sipp", "espeak-ng", "ffmpeg"), sentence),
]
