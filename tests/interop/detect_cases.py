"""What a callee's sound tells a scenario: digits in noise, beeps, fax tones, who answered.

SIPp answers, an RtpEnd beside it plays; greetings are espeak-ng's.
"""

import os
import random
import subprocess

import wav
from peers import Failure, Sipp, wait_for
from rtp_end import RtpEnd, media_of
from shared import PROVIDER, expect, small_gateway
from sipp_scenario import gets, response, scenario, sdp, within

HERE = os.path.dirname(os.path.abspath(__file__))


def silence(seconds):
    return [0] * int(8000 * seconds)


def spoken(world, text):
    path = os.path.join(world.folder, "greeting.wav")
    subprocess.run(["espeak-ng", "-v", "en-us", "-w", path, text], check=True)
    track = wav.Wav.read(path).channel()
    step = track.rate / 8000
    # Good enough for cadence: the mean of what falls into a sample.
    return [sum(part := track.samples[int(n * step):int((n + 1) * step)]) // max(len(part), 1)
            for n in range(int(len(track.samples) / step))]


def noisy(samples, dbfs, seed=1):
    amplitude = 32768 * 10 ** (dbfs / 20)
    noise = random.Random(seed)
    return [int(max(-32768, min(32767, s + noise.gauss(0, amplitude)))) for s in samples]


def with_callee(world, sound, check):
    """A call to somebody who sounds like this; `check` gets its session."""
    with open(os.path.join(HERE, "scenarios", "detect.js"), encoding="utf-8") as file:
        script = file.read()
    # RtpEnd plays over and over: the silence outlasts the call.
    with small_gateway(world, {"detect.js": script}) as gateway, \
            RtpEnd(PROVIDER, sound=sound + silence(60)) as media:
        steps = scenario(gets("INVITE", rrs=True), response(180, "Ringing"),
                         response(200, "OK", sdp(media.port)), gets("ACK"),
                         gets("BYE"), within(200, "OK"))
        peer = Sipp(world.folder, "detect", PROVIDER, gateway.provider, text=steps, seconds=60)
        session = gateway.start(1, {"number": "200"})
        session.until_seen("Connected")
        media.send_to(media_of(peer.received("INVITE ")[0]))
        check(session)
        session.tell(command="hangup")
        session.until_seen("Disconnected")
        session.tell(command="end")
        peer.done()


def names(session, name):
    return [event for event in session.ask()["seen"] if event["name"] == name]


def keys_in_noise(world):
    """Noise 15 dB below the keys: -10 dBm0 of both tones are about -13 dBFS."""
    def check(session):
        wait_for("eight keys", lambda: len(names(session, "ToneReceived")) >= 8, 20)
        keys = "".join(event["tone"] for event in names(session, "ToneReceived"))
        expect("keys", keys, "15937*0#")
    with_callee(world, noisy(silence(0.5) + wav.dtmf("15937*0#"), -28), check)


def person(world):
    def check(session):
        expect("who", session.until_seen("DetectionComplete", 20)["resultClass"], "HUMAN")
        expect("speaks", [e["active"] for e in names(session, "MicStatusChange")][:2],
               [True, False])
    with_callee(world, silence(0.7) + spoken(world, "Hello? John speaking."), check)


def voicemail(world):
    greeting = spoken(world, "Hi, you have reached John Smith. I can not take your call right "
                             "now. Please leave a message after the tone.")

    def check(session):
        expect("who", session.until_seen("DetectionComplete", 20)["resultClass"], "VOICEMAIL")
        beep = session.until_seen("BeepDetectionComplete", 20)
        if not beep.get("frequencies") or abs(beep["frequencies"][0] - 1000) > 5:
            raise Failure(f"a beep of 1000 Hz was played, and heard {beep}")
    with_callee(world, silence(0.7) + greeting + silence(0.4) + wav.sine(1000, 0.5, -15), check)


def fax(world):
    def check(session):
        expect("fax", session.until_seen("ToneDetected", 20)["FaxTone"], "CED")
        expect("keys", names(session, "ToneReceived"), [])
    with_callee(world, silence(0.5) + wav.sine(2100, 3.0, -15), check)


def calling_fax(world):
    def check(session):
        expect("fax", session.until_seen("ToneDetected", 20)["FaxTone"], "CNG")
    burst = wav.sine(1100, 0.5, -15)
    with_callee(world, silence(0.5) + burst + silence(3.0) + burst, check)


SIPP = ("sipp",)
SPEECH = ("sipp", "espeak-ng")
CASES = [
    ("keys in the sound with noise 15 dB below", SIPP, keys_in_noise),
    ("AMD of a person", SPEECH, person),
    ("AMD and beep of a voicemail", SPEECH, voicemail),
    ("fax machine that is called", SIPP, fax),
    ("fax machine that calls", SIPP, calling_fax),
]
