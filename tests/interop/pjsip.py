"""PJSIP as a phone: a process of its own (pjsip_phone.py), watched and steered over pipes."""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

import wav
from peers import HERE, Failure, free_ports, wait_for

VERSION = "2.15.1.post1"


def library():
    """Where tests/run puts the wheel: outside the tree, for this Python alone."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return os.path.join(cache, "branchline-tests", f"pjsua2-{VERSION}-{python}")


def missing():
    """Why there is no PJSIP here; empty where there is."""
    if not os.path.isdir(os.path.join(library(), "pjsua2")):
        return f"no wheel pjsua2-python {VERSION} in {library()} (tests/run packages gets it)"
    return ""


class PjsipPhone:
    """A PJSIP phone: its microphone plays a tone, what each call lets it hear goes into a WAV."""

    ENCRYPTED = {"srtp": "required"}

    def __init__(self, folder, name, port, registrar=None, user="", password="", answers=(200,),
                 address="127.0.0.1", microphone_hz=0, microphone=None, transport="udp",
                 certificates=None, **more):
        self.folder = tempfile.mkdtemp(prefix=f"pjsip-{name}-", dir=folder)
        self.address, self.port = address, port
        self.events, self.lock = [], threading.Lock()
        if not microphone:
            microphone = os.path.join(self.folder, "microphone.wav")
            wav.write(microphone, 8000,
                      wav.sine(microphone_hz, 10, -20) if microphone_hz else [0] * 80000)
        user = user or name
        host = f"[{address}]" if ":" in address else address
        suffix = "" if transport == "udp" else f";transport={transport}"
        self.uri = f"sip:{user}@{registrar or f'{host}:{port}'}"
        config = {
            "folder": self.folder, "address": address, "port": port, "user": user,
            "uri": self.uri, "password": password, "answers": list(answers),
            "microphone": microphone, "transport": transport,
            "rtp": free_ports(1, address)[0],
            **({"ca": certificates.ca, "certificate": certificates.cert, "key": certificates.key}
               if certificates else {}),
            "registrar": f"sip:{registrar}{suffix}" if registrar else "", **more,
        }
        path = os.path.join(self.folder, "phone.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        with open(os.path.join(self.folder, "errors.log"), "wb") as errors:
            self.child = subprocess.Popen(
                [sys.executable, os.path.join(HERE, "pjsip_phone.py"), path], cwd=self.folder,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env={**os.environ, "PYTHONPATH": library()})
        threading.Thread(target=self._read, daemon=True).start()
        self.expect("ready", 15)

    def _read(self):
        for line in self.child.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the library says a word before its log is set up
            with self.lock:
                self.events.append(event)

    def do(self, what, **more):
        try:
            self.child.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")
            self.child.stdin.flush()
        except OSError:
            raise Failure(f"{self.uri}: PJSIP is gone: {self._errors()}") from None

    def all(self, kind, **fields):
        with self.lock:
            return [event for event in self.events if event["event"] == kind
                    and all(event.get(name) == value for name, value in fields.items())]

    def expect(self, kind, seconds=10.0, count=1, **fields):
        """The event of this kind and these fields, the `count`-th of this phone's life."""
        try:
            return wait_for(kind, lambda: self.all(kind, **fields)[count - 1:count]
                            or self._must_live(), seconds)[0]
        except Failure as failure:
            with self.lock:
                last = self.events[-8:]
            raise Failure(f"{self.uri}: no {kind} {fields or ''} in {seconds:g} s, only {last}; "
                          f"{failure}") from None

    def _must_live(self):
        if self.child.poll() is not None:
            raise Failure(f"PJSIP ended with {self.child.returncode}: {self._errors()}")

    def _errors(self):
        with open(os.path.join(self.folder, "errors.log"), encoding="utf-8",
                  errors="replace") as file:
            return file.read()[-400:]

    def messages(self):
        """What went over the wire: (sent or received, text)."""
        with open(os.path.join(self.folder, "messages.log"), encoding="utf-8",
                  errors="replace") as file:
            found = re.findall(r"(TX|RX) \d+ bytes [^\n]*:\n(.*?)\n--end msg--", file.read(), re.S)
        return [("sent" if way == "TX" else "received", text.replace("\r", "").strip())
                for way, text in found]

    def received(self, start):
        return [text for way, text in self.messages()
                if way == "received" and text.startswith(start)]

    def sent(self, start):
        return [text for way, text in self.messages() if way == "sent" and text.startswith(start)]

    def registered(self):
        self.expect("registration", code=200)

    def refused(self):
        self.expect("registration", code=403)

    def dial(self, uri):
        self.do("dial", uri=uri)

    def ringing(self, call=0):
        self.expect("incoming", call=call)

    def connected(self, call=0, seconds=10.0):
        self.expect("call", seconds, call=call, state="CONFIRMED")

    def is_connected(self, call=0):
        return bool(self.all("call", call=call, state="CONFIRMED"))

    def is_closed(self, call=0):
        return bool(self.all("call", call=call, state="DISCONNECTED"))

    def closed(self, call=0, seconds=10.0):
        """The end of a call; its status."""
        return self.expect("call", seconds, call=call, state="DISCONNECTED")["code"]

    def answer(self, code=200):
        self.do("answer", code=code)

    def reject(self, code):
        self.do("answer", code=code)

    def press(self, keys, method="rfc4733"):
        if method != "info":
            self.do("keys", keys=keys, method=method)
            return
        # One after the other: a proxy may turn two requests around, and CSeq must not fall.
        for key in keys:
            before = len(self.all("answer", method="INFO"))
            self.do("keys", keys=key, method=method)
            wait_for(f"the answer to key {key}",
                     lambda b=before: len(self.all("answer", method="INFO")) > b)

    def keys(self, call=0):
        return "".join(event["key"] for event in self.all("key", call=call))

    def hang_up(self, call=-1):
        self.do("hang_up", call=call)

    def hold(self):
        self.do("hold")

    def resume(self):
        self.do("resume")

    def transfer(self, to):
        self.do("transfer", to=to)

    def attended(self, call, to_call):
        self.do("attended", call=call, to_call=to_call)

    def _file(self, call):
        return os.path.join(self.folder, f"heard-{call}.wav")

    def seconds_heard(self, call=0):
        path = self._file(call)
        return max(os.path.getsize(path) - 44, 0) / 16000 if os.path.exists(path) else 0.0

    def heard(self, call=0):
        """What that call let it hear so far."""
        if not os.path.exists(self._file(call)):
            raise Failure(f"{self.uri} heard no audio at all, only {glob.glob(self.folder + '/*')}")
        with open(self._file(call), "rb") as file:
            data = file.read()
        # The library writes the first second in one go.
        return wav.Wav.parse(data).channel() if data else wav.Track(8000, [])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        try:
            self.do("quit")
            self.child.wait(5)
        except (Failure, subprocess.TimeoutExpired):
            self.child.kill()
            self.child.wait()
        self.child.stdin.close()
