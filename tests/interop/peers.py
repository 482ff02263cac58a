"""The peers: SIPp as a trunk, baresip as a phone, a web service. None of them uses our code."""

import glob
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import wav

HERE = os.path.dirname(os.path.abspath(__file__))


class Failure(AssertionError):
    """A case that did not go as it should; the text says what was seen instead."""


def wait_for(what, condition, seconds=10.0, pause=0.02):
    """Ask `condition` until it says something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds:g} s for {what}")
        time.sleep(pause)


class _Ports:
    """Ports from 10000 on, below those that the system gives to sockets that ask for none."""

    lock, first, last = threading.Lock(), 10000, 31998
    at = first + os.getpid() * 97 % 20000 // 2 * 2  # runs beside each other start far apart


def free_ports(count, address="127.0.0.1"):
    """Ports that are free for UDP and TCP, each with the next one free for TLS; none twice soon."""
    found = []
    while len(found) < count:
        with _Ports.lock:
            port, _Ports.at = _Ports.at, _Ports.at + 2
            if _Ports.at > _Ports.last:
                _Ports.at = _Ports.first
        if _is_free(address, port) and _is_free(address, port + 1):
            found.append(port)
    return found


def _is_free(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                probe.bind((address, port))
    except OSError:
        return False
    return True


def is_bound(address, port, protocol="udp"):
    """Whether any process has bound this port; for TCP, whether it listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    # Words of four bytes, the last byte first.
    words = [packed[at:at + 4][::-1].hex().upper() for at in range(0, len(packed), 4)]
    want = [f"{part}:{port:04X}" for part in ("".join(words), "00000000" * len(words))]
    suffix = "6" if family == socket.AF_INET6 else ""
    with open(f"/proc/net/{protocol}{suffix}", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return any(row[1] in want and (protocol == "udp" or row[3] == "0A") for row in rows)


class Process:
    """A child with its output in a file; ended by its own id only."""

    def __init__(self, arguments, folder, name, env=None):
        self.name = name
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.log = os.path.join(folder, f"{name}.out")
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(arguments, cwd=folder, stdin=subprocess.DEVNULL,
                                          stdout=out, stderr=out, env=env)

    def alive(self):
        return self.child.poll() is None

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def end(self, grace_s=5.0):
        if self.alive():
            self.child.terminate()
            try:
                self.child.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


class Sipp:
    """One SIPp with one scenario of sipp/, `@NAME@` in it replaced by `words`, or that of `text`.

    `remote` makes it call; without it answers.
    """

    def __init__(self, folder, scenario, address, port, remote=None, number="", calls=1,
                 rate=0, hold_ms=300, seconds=30, words=None, more=(), transport="u1", text=None):
        self.scenario, self.address, self.port = scenario, address, port
        self.seconds = seconds
        folder = os.path.join(folder, f"{scenario}-{port}-{time.monotonic_ns() % 10**9}")
        os.makedirs(folder)
        if text is None:
            with open(os.path.join(HERE, "sipp", f"{scenario}.xml"), encoding="utf-8") as file:
                text = file.read()
        for word, value in (words or {}).items():
            text = text.replace(f"@{word}@", str(value))
        missing = re.search(r"@[A-Z]+@", text)
        assert missing is None, f"{scenario} needs {missing}"
        path = os.path.join(folder, "scenario.xml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.messages_path = os.path.join(folder, "messages.log")
        self.errors_path = os.path.join(folder, "errors.log")
        command = ["sipp", "-sf", path, "-i", address, "-bind_local", "-p", str(port),
                   "-t", transport,
                   "-mi", address, "-m", str(calls), "-d", str(hold_ms), "-nostdin",
                   "-trace_msg", "-message_file", self.messages_path,
                   "-trace_err", "-error_file", self.errors_path,
                   "-timeout", f"{seconds}s", "-timeout_error", *more]
        if rate:
            command += ["-r", str(rate), "-l", str(calls)]
        if remote:
            command += ["-s", number, remote]
        self.process = Process(command, folder, "sipp", {**os.environ, "TERM": "dumb"})
        if transport == "u1":
            wait_for(f"SIPp to bind {address}:{port}",
                     lambda: is_bound(address, port) or not self.process.alive())
        elif remote is None:
            wait_for(f"SIPp to listen on {address}:{port}",
                     lambda: is_bound(address, port, "tcp") or not self.process.alive())

    def messages(self):
        """The messages so far: (sent or received, text)."""
        if not os.path.exists(self.messages_path):
            return []
        with open(self.messages_path, encoding="utf-8", errors="replace") as file:
            parts = re.split(r"^-{20,} .*\n", file.read(), flags=re.M)[1:]
        found = []
        for part in parts:
            head, _, text = part.partition("\n\n")
            found.append(("received" if "received" in head else "sent", text.strip()))
        return found

    def received(self, start):
        """Texts of what came in whose first line starts so."""
        return [text for way, text in self.messages()
                if way == "received" and text.startswith(start)]

    def sent(self, start):
        return [text for way, text in self.messages() if way == "sent" and text.startswith(start)]

    def done(self):
        """Wait for its end; its calls must all have gone as the scenario says."""
        try:
            status = self.process.child.wait(self.seconds + 5)
        except subprocess.TimeoutExpired:
            self.process.end()
            raise Failure(f"SIPp {self.scenario} did not end: {self.why()}") from None
        if status != 0:
            raise Failure(f"SIPp {self.scenario} ended with {status}: {self.why()}")

    def why(self):
        if os.path.exists(self.errors_path):
            with open(self.errors_path, encoding="utf-8", errors="replace") as file:
                text = " ".join(file.read().split())
            if text:
                return text[:600]
        return "see " + self.process.log

    def end(self):
        self.process.end(1.0)


class Phone:
    """A baresip: its microphone plays a WAV file, what it hears goes into another.

    Steered and watched over its TCP control port (netstrings of JSON).
    """

    MODULES = next(iter(glob.glob("/usr/lib/baresip/modules")
                        + glob.glob("/usr/lib/*/baresip/modules")), "")

    def __init__(self, folder, name, port, registrar=None, user="", password="", answer=True,
                 address="127.0.0.1", microphone_hz=0, microphone=None, codecs="pcmu,pcma",
                 mode=None, transport="udp", account="", lines="", more=()):
        # baresip sends requests only from the address that the system would choose: it must be
        # reached on, and talk to, one and the same address.
        self.folder = tempfile.mkdtemp(prefix=f"phone-{name}-", dir=folder)
        self.address, self.port, self.seen = address, port, []
        self.events, self.answers, self.lock = [], [], threading.Lock()
        source = os.path.join(self.folder, "microphone.wav")
        if microphone:
            shutil.copyfile(microphone, source)
        else:
            # The call ends with the file: longer than any call is here.
            second = wav.sine(microphone_hz, 1, -20) if microphone_hz else [0] * 8000
            wav.write(source, 8000, second * 90)
        control = free_ports(1)[0]
        host = f"[{address}]" if ":" in address else address
        self.uri = f"sip:{user or name}@{registrar or f'{host}:{port}'}"
        mode = mode or ("auto" if answer else "manual")
        text = (f"<{self.uri};transport={transport}>;regint={60 if registrar else 0};pubint=0"
                f";answermode={mode};audio_codecs={codecs}{account}")
        if password:
            text += f";auth_user={user or name};auth_pass={password}"
        self._write("accounts", text + "\n")
        self._write("contacts", "")
        self._write("config", f"""
poll_method epoll
sip_listen {host}:{port}
module_path {self.MODULES}
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module ctrl_tcp.so
module_app account.so
module_app menu.so
ctrl_tcp_listen 127.0.0.1:{control}
snd_path {self.folder}
audio_source aufile,{source}
audio_player aubridge,heard
audio_alert aubridge,alert
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_level no
audio_txmode poll
audio_buffer 20-160
jitter_buffer_delay 1-5
rtcp_mux no
rtp_timeout 0
rtp_ports 61000-65500
{lines}""".lstrip())
        self.process = Process(["baresip", "-f", self.folder, *more], self.folder, "baresip")
        self.socket = wait_for(f"baresip {name} to start", lambda: self._connect(control))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def _connect(self, port):
        if not self.process.alive():
            raise Failure(f"baresip ended at once: {self.process.output()[-300:]}")
        try:
            return socket.create_connection(("127.0.0.1", port), 1)
        except OSError:
            return None

    def _read(self):
        self.socket.settimeout(None)
        held = b""
        while True:
            try:
                data = self.socket.recv(65536)
            except OSError:
                return
            if not data:
                return
            held += data
            while b":" in held:
                size, _, rest = held.partition(b":")
                if len(rest) <= int(size):
                    break
                event = json.loads(rest[:int(size)].decode("utf-8", "replace"), strict=False)
                held = rest[int(size) + 1:]
                if event.get("event"):
                    with self.lock:
                        self.events.append(event)
                elif "response" in event:
                    self.answers.append(event.get("data") or "")

    def command(self, command, params=""):
        text = json.dumps({"command": command, "params": params}).encode()
        self.socket.sendall(str(len(text)).encode() + b":" + text + b",")

    def all(self, kind):
        with self.lock:
            return [event for event in self.events if event["type"] == kind]

    def expect(self, kind, seconds=10.0, count=1):
        """The event of this kind, the `count`-th of this phone's life."""
        try:
            return wait_for(kind, lambda: self.all(kind)[count - 1:count], seconds)[0]
        except Failure:
            with self.lock:
                kinds = [event["type"] for event in self.events]
            raise Failure(f"{self.uri}: no {kind} in {seconds:g} s, only {kinds[-12:]}") from None

    def registered(self):
        """Waits for the registrar's yes, which may be there before we listen to events."""
        wait_for(f"{self.uri} to be registered", lambda: "200 OK" in self.process.output())

    def refused(self):
        """Waits for the registrar's no."""
        wait_for(f"{self.uri} to be refused", lambda: "403 Forbidden" in self.process.output())

    def dial(self, uri):
        self.command("dial", uri)

    def press(self, keys):
        """One key after the other, each once the one before is out (a tone takes 160 ms here)."""
        for key in keys:
            before = self.process.output().count("send DTMF digit end")
            self.command("sndcode", key)
            wait_for(f"baresip to send {key}", lambda b=before:
                     self.process.output().count("send DTMF digit end") > b)

    def keys(self):
        """RFC 4733 keys that came."""
        return "".join(event["param"] for event in self.all("CALL_DTMF_START"))

    def hang_up(self):
        self.command("hangup")

    def seconds_heard(self):
        """How much its call let it hear so far."""
        files = sorted(glob.glob(os.path.join(self.folder, "dump-*-dec.wav")))
        return (os.path.getsize(files[-1]) - 44) / 16000 if files else 0.0

    def heard(self):
        """What its last call that ended let it hear."""
        return self._track("dec")

    def _track(self, which):
        files = sorted(glob.glob(os.path.join(self.folder, f"dump-*-{which}.wav")))
        if not files:
            raise Failure(f"{self.uri} heard no audio at all")
        return wav.Wav.read(files[-1]).channel()

    def end(self):
        try:
            self.command("quit")
            wait_for("baresip to end", lambda: not self.process.alive(), 3)
        except (OSError, Failure):
            pass  # it is gone already, or is ended the hard way now
        self.process.end(1.0)
        self.socket.close()


class WebService:
    """An HTTP server that keeps what is posted to it."""

    def __init__(self):
        posts = self.posts = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                size = int(self.headers.get("Content-Length") or 0)
                posts.append((self.path, self.rfile.read(size).decode("utf-8", "replace")))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()
