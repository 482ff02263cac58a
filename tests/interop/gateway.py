"""The binary under test: its configuration, its HTTP API, its end."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

from peers import Failure, Process, free_ports, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
KEY = "interop-key"
API_PAUSE_S = 0.2  # the Management API takes 20 requests a second

BASE = """
[gateway]
name = "interop"
data_dir = "data"
scenarios_dir = "scenarios"
log = "info"
redact = false
drain_s = {drain_s}
[control]
listen = ["127.0.0.1:{http}"]
api_key = "{key}"
[sip]
listen = ["udp://127.0.0.1:{sip}", "tcp://127.0.0.1:{sip}", "udp://127.0.0.6:{sip}"{listen}]
{sip_keys}
[media]
rtp_ports = [{rtp}, {rtp_end}]
[limits]
sessions = {sessions}
ring_timeout_s = {ring_s}
idle_timeout_s = 20
{limits}
"""

OPTIONS = (
    "OPTIONS sip:127.0.0.1:{sip} SIP/2.0\r\n"
    "Via: SIP/2.0/{transport} 127.0.0.1:{own};branch=z9hG4bK{mark};rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:check@127.0.0.1>;tag={mark}\r\n"
    "To: <sip:127.0.0.1:{sip}>\r\n"
    "Call-ID: {mark}@127.0.0.1\r\n"
    "CSeq: 1 OPTIONS\r\n"
    "Content-Length: 0\r\n\r\n"
)


class Gateway:
    """One running gateway in a folder of its own."""

    # RTP ports of their own for each gateway of a run, which may come up at the same time.
    next_rtp, lock = 33000, threading.Lock()

    def __init__(self, binary, folder, tables="", limits="", sessions=150, drain_s=2,
                 name="gateway", wait=True, before=None, listen="", sip_keys="", ring_s=10):
        self.binary = binary
        with Gateway.lock:
            self.folder = os.path.join(folder, f"{name}-{len(os.listdir(folder))}")
            os.makedirs(self.folder)
            self.rtp, Gateway.next_rtp = Gateway.next_rtp, Gateway.next_rtp + 600
            if Gateway.next_rtp > 60000:
                Gateway.next_rtp = 33000  # the first ones have ended long ago
        self.sip, self.http = free_ports(2)
        self.values = {"key": KEY, "sip": self.sip, "http": self.http, "rtp": self.rtp,
                       "rtp_end": self.rtp + 599, "limits": limits, "sessions": sessions,
                       "drain_s": drain_s, "listen": listen.replace("{sip}", str(self.sip)),
                       "sip_keys": sip_keys, "ring_s": ring_s}
        shutil.copytree(os.path.join(TOP, "scenarios"), os.path.join(self.folder, "scenarios"))
        shutil.copytree(os.path.join(HERE, "scenarios"),
                        os.path.join(self.folder, "scenarios", "interop"))
        self.url = f"http://127.0.0.1:{self.http}"
        self.marks = 0
        # The last session's id before this case: the disk may still be about to write its row.
        self.before_case = 0
        self.configure(tables)
        if before:
            before(self)
        self.process = Process([binary, "run", "--config", self.config_path], self.folder, name)
        if wait:
            try:
                self.wait_up()
            except BaseException:
                self.process.end(1.0)
                raise

    def again(self):
        """Another run on the same configuration and data, after the one before has ended."""
        self.process = Process([self.binary, "run", "--config", self.config_path], self.folder,
                               "gateway")
        self.wait_up()
        return self

    def wait_up(self):
        wait_for("the gateway to answer OPTIONS", self._is_up, 15)

    @property
    def config_path(self):
        return os.path.join(self.folder, "config.toml")

    def configure(self, tables):
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(BASE.format(**self.values) + tables.format(**self.values))

    def script(self, name, source):
        """Puts a scenario file beside the others."""
        with open(os.path.join(self.folder, "scenarios", name), "w", encoding="utf-8") as file:
            file.write(source)

    def _is_up(self):
        if not self.process.alive():
            raise Failure(f"the gateway ended at once: {self.log()[-500:]}")
        try:
            return self.options(0.2)
        except OSError:
            return None

    def options(self, seconds=2.0):
        """The status line of the answer to an OPTIONS over UDP."""
        self.marks += 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            udp.settimeout(seconds)
            text = OPTIONS.format(sip=self.sip, own=udp.getsockname()[1], transport="UDP",
                                  mark=f"m{os.getpid()}x{self.marks}")
            udp.sendto(text.encode(), ("127.0.0.1", self.sip))
            return udp.recv(65536).decode("utf-8", "replace").split("\r\n")[0]

    def log(self):
        return self.process.output()

    def pid(self):
        return self.process.child.pid

    def api(self, method, **parameters):
        """A command of the Management API; its answer whatever it says."""
        parameters = {"account_id": 1, "api_key": KEY, **parameters}
        query = urllib.parse.urlencode(parameters)
        return json.loads(self.get(f"/platform_api/{method}/?{query}")[1])

    def get(self, path, body=None, seconds=10, **headers):
        """(status, text) of a request to the HTTP server."""
        url = path if path.startswith("http") else self.url + path
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(url, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode("utf-8", "replace")

    def start(self, rule, data=""):
        """StartScenarios."""
        if not isinstance(data, str):
            data = json.dumps(data)
        answer = self.api("StartScenarios", rule_id=rule, script_custom_data=data)
        if answer.get("result") != 1:
            raise Failure(f"StartScenarios {rule}: {answer}")
        return Session(self, answer)

    def history(self, seconds=10.0, **filters):
        """Rows of GetCallHistory that are finished; waits for one at least."""
        def rows():
            answer = self.api("GetCallHistory", with_calls="true", with_records="true",
                              desc_order="true", from_date="2020-01-01 00:00:00",
                              to_date="2037-01-01 00:00:00", **filters)
            if "result" not in answer:
                raise Failure(f"GetCallHistory: {answer}")
            return [row for row in answer["result"] if row.get("finish_reason")]
        return wait_for(f"history of {filters}", rows, seconds, API_PAUSE_S)

    def latest(self, rule_name, after=None):
        """The newest finished session of a rule, later than that id, or than this case's start."""
        after = self.before_case if after is None else after
        return wait_for(f"a session of {rule_name} in the history", lambda: next(
            (row for row in self.api(
                "GetCallHistory", with_calls="true", with_records="true", desc_order="true",
                count=50, from_date="2020-01-01 00:00:00", to_date="2037-01-01 00:00:00",
            )["result"] if row.get("rule_name") == rule_name and row.get("finish_reason")
             and row["call_session_history_id"] > after), None), 10, API_PAUSE_S)

    def metrics(self):
        status, text = self.get("/metrics")
        if status != 200:
            raise Failure(f"/metrics: {status}")
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name.removeprefix("branchline_")] = float(value)
        return found

    def wait_idle(self, seconds=15.0):
        """Nothing is left: no session, no SIP call."""
        def idle():
            metrics = self.metrics()
            return metrics.get("sessions") == 0 and metrics.get("calls") == 0
        wait_for("the gateway to be idle", idle, seconds)

    def recording(self, url):
        """A finished recording: the bytes behind its URL."""
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()

    def resident_kib(self):
        with open(f"/proc/{self.pid()}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def signal(self, number):
        self.process.child.send_signal(number)

    def wait_end(self, seconds):
        try:
            return self.process.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.end(1.0)
            raise Failure(f"the gateway did not end in {seconds} s") from None

    def stop(self):
        """An orderly stop; anything but status 0 is a failure."""
        if not self.process.alive():
            raise Failure(f"the gateway is gone with {self.process.child.returncode}: "
                          f"{self.log()[-800:]}")
        self.signal(signal.SIGTERM)
        status = self.wait_end(20)
        if status != 0:
            raise Failure(f"the gateway ended with {status}: {self.log()[-800:]}")
        if "panicked" in self.log():
            raise Failure(f"something panicked: {self.log()[-800:]}")


class Session:
    """A session that StartScenarios began."""

    def __init__(self, gateway, answer):
        self.gateway = gateway
        self.id = answer["call_session_history_id"]
        self.url = answer["media_session_access_url"]

    def ask(self):
        """The scenario's own answer."""
        status, text = self.gateway.get(self.url)
        if status != 200:
            raise Failure(f"the access URL answers {status} {text[:200]}")
        return json.loads(text)

    def tell(self, **command):
        status, text = self.gateway.get(self.url, json.dumps(command))
        if status != 200:
            raise Failure(f"{command}: {status} {text[:200]}")
        return json.loads(text)

    def until(self, what, condition, seconds=15.0):
        """Ask until the answer fulfils the condition; the answer."""
        last = {}

        def good():
            last["answer"] = self.ask()
            return last["answer"] if condition(last["answer"]) else None
        try:
            return wait_for(what, good, seconds)
        except Failure:
            raise Failure(f"waited for {what}; the scenario says {last.get('answer')}") from None

    def until_seen(self, name, seconds=15.0):
        """Ask until the probe scenario saw an event of this name; that event."""
        answer = self.until(name, lambda a: any(e["name"] == name for e in a["seen"]), seconds)
        return next(event for event in answer["seen"] if event["name"] == name)

    def is_over(self):
        return self.gateway.get(self.url)[0] == 404

    def row(self, seconds=15.0):
        """Its finished row of the history."""
        return self.gateway.history(seconds, call_session_history_id=self.id)[0]
