"""Sounds of every format as a phone hears them: from the disk, and from a web server that dribbles.

What is measured: pitch and level of what the phone heard, and how long after the script asked for
it the sound began.
"""

import contextlib
import http.server
import os
import shutil
import threading
import time

import wav
from gateway import TOP
from peers import Failure, Phone, free_ports
from phone_cases import hears
from shared import expect, small_gateway

DATA = os.path.join(TOP, "tests", "data", "sounds")
FORMATS = ("pcm8.wav", "pcm16-stereo.wav", "pcm24.wav", "float32.wav", "alaw.wav", "mulaw.wav",
           "cbr128-stereo.mp3", "vbr-tagged.mp3", "mono16.flac", "stereo24.flac", "mono.opus",
           "stereo60ms.opus")
HZ, DBFS = 1000, -13.0  # tests/data/sounds: a sine of -10 dB below a full-scale one
SECONDS = 3.0  # of the sounds that dribble
TRANSFER_S = 2.0  # how long they take to come

# Plays what it is told, one after the other, and tells what happened when.
PLAYS = """// Plays sounds into a call.
const { uri, sounds } = JSON.parse(VoxEngine.customData());
const seen = [];
let asked = 0;
const note = (name, e) => seen.push({ name, after: Date.now() - asked, error: e?.error });
const call = VoxEngine.callSIP(uri, "100");
const next = () => {
  const sound = sounds.shift();
  if (!sound) return note("done");
  asked = Date.now();
  const player = sound.segments
    ? VoxEngine.createSequencePlayer(sound)
    : sound.text ? VoxEngine.createTTSPlayer(sound.text)
      : VoxEngine.createURLPlayer(sound.url, sound.parameters);
  const events = sound.segments ? SequencePlayerEvents : PlayerEvents;
  for (const name of Object.keys(events)) player.addEventListener(events[name], (e) => note(name, e));
  player.addEventListener(events.PlaybackFinished, next);
  player.sendMediaTo(call);
  if (sound.seconds) setTimeout(() => { player.stop(); next(); }, sound.seconds * 1000);
};
call.addEventListener(CallEvents.Connected, next);
call.addEventListener(CallEvents.Failed, VoxEngine.terminate);
call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
VoxEngine.addEventListener(AppEvents.HttpRequest, ({ content }) => {
  if (content) VoxEngine.terminate();
  return { seen };
});
"""


class Dribble(http.server.BaseHTTPRequestHandler):
    """The files of `server.files`, over two seconds each; a path that begins with /cut ends half
    way, one with /slow comes slower than it plays."""

    def do_GET(self):
        kind, name = self.path.strip("/").split("/")
        data = self.server.files[name]
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        pieces = 40
        size = len(data) // pieces + 1
        pause = TRANSFER_S * (3.0 if kind == "slow" else 1.0) / pieces
        for at in range(0, len(data) // (2 if kind == "cut" else 1), size):
            try:
                self.wfile.write(data[at:at + size])
                self.wfile.flush()
            except OSError:
                return
            time.sleep(pause)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def server(files):
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dribble)
    found.files, found.asked, found.daemon_threads = files, [], True
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_port}", found
    finally:
        found.shutdown()
        found.server_close()


def tone_file(folder):
    """A WAV of the tone, as bytes."""
    path = os.path.join(folder, "tone.wav")
    wav.write(path, 16000, wav.sine(HZ, SECONDS, DBFS, 16000))
    with open(path, "rb") as file:
        return file.read()


@contextlib.contextmanager
def playing(world, *sounds):
    """A phone to which the gateway plays these; gives what the script saw when all is over."""
    port = free_ports(1)[0]
    with small_gateway(world, {"plays.js": PLAYS}) as gateway:
        prompts = os.path.join(gateway.folder, "scenarios")
        for name in FORMATS:
            # The name is not what tells the format.
            shutil.copy(os.path.join(DATA, name), os.path.join(prompts, f"{name}.sound"))
        phone = Phone(world.folder, "desk", port, user="601")
        try:
            session = gateway.start(1, {"uri": f"sip:601@127.0.0.1:{port}", "sounds": list(sounds)})
            seconds = 10.0 + 8.0 * len(sounds)
            is_done = lambda a: any(event["name"] == "done" for event in a["seen"])
            seen = session.until("done", is_done, seconds)["seen"]
            yield gateway, seen, phone
            session.tell(end=True)
            phone.expect("CALL_CLOSED")
        finally:
            phone.end()


def first(seen, name):
    for event in seen:
        if event["name"] == name:
            return event
    raise Failure(f"no {name}: {seen}")


def heard_at_level(what, phone, seconds):
    hears(what, phone.heard(), HZ, seconds, DBFS, 1.0)


def every_format_from_the_disk(world):
    sounds = [{"url": f"file:{name}.sound", "parameters": {"loop": True}, "seconds": 0.8}
              for name in FORMATS]
    with playing(world, *sounds) as (_, seen, phone):
        errors = [event for event in seen if event.get("error")]
        expect("errors", errors, [])
        started = [event["after"] for event in seen if event["name"] == "Started"]
        expect("sounds that started", len(started), len(FORMATS))
        if max(started) > 400:
            raise Failure(f"a sound started after {max(started)} ms: {started}")
    # A loop of an MP3 without a tag has a gap at its seam.
    heard_at_level("twelve formats", phone, 0.8 * len(FORMATS) * 0.8)


def a_url_that_dribbles(world):
    """Whole it starts when all of it came, progressively at once; the second one comes from the
    cache."""
    with server({"tone.wav": tone_file(world.folder)}) as (url, web):
        whole = {"url": f"{url}/whole/tone.wav"}
        progressive = {"url": f"{url}/progressive/tone.wav",
                       "parameters": {"progressivePlayback": True}}
        with playing(world, whole, whole, progressive) as (_, seen, phone):
            started = [event["after"] for event in seen if event["name"] == "Started"]
            expect("errors", [event for event in seen if event.get("error")], [])
            if not TRANSFER_S * 1000 - 200 <= started[0] <= TRANSFER_S * 1000 + 800:
                raise Failure(f"the whole one started after {started[0]} ms")
            if started[1] > 300:
                raise Failure(f"the kept one started after {started[1]} ms")
            if started[2] > 600:
                raise Failure(f"the progressive one started after {started[2]} ms")
            expect("requests", len(web.asked), 2)
        heard_at_level("three times three seconds", phone, 8.5)


def a_url_that_is_slower_than_its_sound(world):
    with server({"tone.wav": tone_file(world.folder)}) as (url, _):
        sound = {"url": f"{url}/slow/tone.wav", "parameters": {"progressivePlayback": True}}
        with playing(world, sound) as (_, seen, phone):
            first(seen, "PlaybackBuffering")
            expect("error", first(seen, "PlaybackFinished").get("error"), None)
        # With pauses, but all of it.
        heard_at_level("a sound with pauses", phone, SECONDS * 0.7)


def a_url_that_breaks_off(world):
    with server({"tone.wav": tone_file(world.folder)}) as (url, _):
        sound = {"url": f"{url}/cut/tone.wav", "parameters": {"progressivePlayback": True}}
        missing = {"url": "http://127.0.0.1:1/none.wav"}
        with playing(world, sound, missing) as (_, seen, phone):
            finished = [event for event in seen if event["name"] == "PlaybackFinished"]
            if not all(event.get("error") for event in finished) or len(finished) != 2:
                raise Failure(f"no error: {seen}")
        heard_at_level("half of it", phone, SECONDS * 0.4)


def a_sequence_without_a_gap(world):
    segments = [{"url": "file:pcm16-stereo.wav.sound"}] * 8
    with playing(world, {"segments": segments}) as (_, seen, phone):
        expect("error", first(seen, "PlaybackFinished").get("error"), None)
    # Eight quarters of a second; each holds whole periods, so that all of it is one tone.
    track = phone.heard()
    heard_at_level("a sequence", phone, 1.85)
    if (loud := track.loud_seconds()) > 2.1:
        raise Failure(f"it took {loud:.2f} s")


def speech_starts_while_the_engine_speaks(world):
    text = "This is a long sentence that takes some time to say. " * 20
    with playing(world, {"text": text, "seconds": 3}) as (_, seen, phone):
        started = first(seen, "Started")["after"]
        if started > 1500:
            raise Failure(f"speech started after {started} ms")
    if (loud := phone.heard().loud_seconds()) < 1.0:
        raise Failure(f"speech was heard for {loud:.2f} s")


CASES = [
    ("sounds: every format from the disk", ("baresip",), every_format_from_the_disk),
    ("sounds: a URL that dribbles", ("baresip",), a_url_that_dribbles),
    ("sounds: a URL slower than its sound", ("baresip",), a_url_that_is_slower_than_its_sound),
    ("sounds: a URL that breaks off", ("baresip",), a_url_that_breaks_off),
    ("sounds: a sequence without a gap", ("baresip",), a_sequence_without_a_gap),
    ("sounds: speech starts while the engine speaks", ("baresip", "espeak-ng"),
     speech_starts_while_the_engine_speaks),
]
