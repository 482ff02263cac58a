"""What an operator does: check, start, reload, stop, look; and what the limits do when reached."""

import json
import os
import signal
import subprocess
import time

from gateway import KEY
from hostile_cases import INVITE, SDP, Raw
from peers import Failure, Sipp, wait_for
from shared import GOOD, TRUNK, expect, rule, shared, small_gateway

def run(world, *arguments, cwd=None, seconds=60, env=None):
    """A subcommand: (status, output and errors together)."""
    done = subprocess.run([world.binary, *arguments], cwd=cwd or world.folder, timeout=seconds,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=env, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def version_and_help(world):
    status, text = run(world, "version")
    expect("version", (status, text.startswith("branchline ")), (0, True))
    status, text = run(world, "--help")
    for word in ("run", "demo", "check", "start", "sessions", "history", "reload"):
        if word not in text:
            raise Failure(f"--help does not name {word}")
    for word in ("run", "check", "start"):
        expect(f"{word} --help", run(world, word, "--help")[0], 0)
    expect("an unknown command", run(world, "frobnicate")[0], 2)
    expect("an unknown option", run(world, "run", "--frobnicate")[0], 2)


def sample_is_good(world):
    status, text = run(world, "check", os.path.join(world.top, "config.toml"))
    expect("check", status, 0)
    if "memory at worst" not in text:
        raise Failure(f"no table of memory: {text[:300]}")


def broken_files(world):
    """Every mistake with file, line, key and what would be right; all of them at once."""
    folder = os.path.join(world.folder, "broken")
    os.makedirs(os.path.join(folder, "scenarios"))
    with open(os.path.join(folder, "scenarios", "a.js"), "w", encoding="utf-8") as file:
        file.write("// fine\n")
    with open(os.path.join(folder, "scenarios", "bad.js"), "w", encoding="utf-8") as file:
        file.write("// not fine\nlet = ;\n")
    application = "[[application]]\nid = 1\nname = \"a\"\n"
    files = [
        ("[gateway]\nnmae = 'x'\n", ["2", "nmae"]),
        ("[gateway]\nname = 5\n", ["2", "name"]),
        ("[sip]\nlisten = [\"ucp://0.0.0.0:5060\"]\n", ["2", "udp"]),
        ("[media]\nrtp_ports = [5, 2]\n", ["2", "rtp_ports"]),
        ("[[route]]\npattern = '('\ntrunks = [\"x\"]\n", ["2", "3", "pattern", "x"]),
        (application + rule(1, "missing.js"), ["missing.js"]),
        (application + rule(1, "../../etc/passwd"), ["scenarios"]),
        (application + rule(1, "bad.js"), ["bad.js", "2"]),
        ("[limits]\nsessions = 90000\nmemory_mib = 64\n", ["sessions"]),
        ("[gateway\n", ["1"]),
        ("\0\1\2", ["1"]),
        ("[control]\napi_key = \"env:NO_SUCH_VARIABLE\"\n", ["NO_SUCH_VARIABLE"]),
        ("[gateway]\nnmae = 'x'\n[sip]\nlistne = []\n", ["nmae", "listne"]),
    ]
    path = os.path.join(folder, "config.toml")
    for text, words in files:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        for command in (("check", path), ("run", "--config", path)):
            status, said = run(world, *command, seconds=20)
            expect(f"{command[0]} {text!r}: {said[:300]}", status, 2)
            for word in ["config.toml", *words]:
                if word not in said:
                    raise Failure(f"{command[0]} {text!r} does not say {word}: {said[:400]}")
    expect("no file", run(world, "check", os.path.join(folder, "nothing.toml"))[0], 2)


def port_is_taken(world):
    """The second gateway says which port, and does not touch the first."""
    with small_gateway(world, {"good.js": GOOD}) as gateway:
        with open(gateway.config_path, encoding="utf-8") as file:
            config = file.read()
        other = os.path.join(gateway.folder, "other.toml")
        with open(other, "w", encoding="utf-8") as file:
            file.write(config.replace('data_dir = "data"', 'data_dir = "other"'))
        status, text = run(world, "run", "--config", other, seconds=20)
        expect("status", status, 1)
        if str(gateway.sip) not in text and str(gateway.http) not in text:
            raise Failure(f"it does not say which port: {text[-300:]}")
        expect("OPTIONS", gateway.options(), "SIP/2.0 200 OK")


def reload_takes_new_rules(world):
    with small_gateway(world, {"good.js": GOOD}) as gateway:
        old = gateway.start(1)
        expect("rule 2 before", gateway.api("StartScenarios", rule_id=2)["error"]["code"], 147)
        gateway.script("good.js", GOOD.replace("ok: true", "ok: 'new'"))
        base = TRUNK.replace("{provider}", str(gateway.provider))
        gateway.configure(base + rule(1, "good.js") + rule(2, "good.js"))
        gateway.signal(signal.SIGHUP)
        wait_for("rule 2", lambda: "error" not in gateway.api("GetRules", application_id=1) and
                 len(gateway.api("GetRules", application_id=1)["result"]) == 2)
        expect("a session that runs", old.ask(), {"ok": True})
        new = gateway.start(2)
        expect("a new session", new.ask(), {"ok": "new"})
        # A bad file changes nothing and says why.
        gateway.configure(base + rule(1, "missing.js"))
        gateway.signal(signal.SIGHUP)
        wait_for("the complaint", lambda: "missing.js" in gateway.log())
        expect("rules", len(gateway.api("GetRules", application_id=1)["result"]), 2)
        expect("health", "missing.js" in gateway.get("/health")[1], True)
        status, text = run(world, "reload", "--config", gateway.config_path)
        if status == 0:
            raise Failure(f"branchline reload of a bad file says {text[:200]}")
        gateway.configure(base + rule(1, "good.js"))
        status, text = run(world, "reload", "--config", gateway.config_path)
        expect(f"branchline reload: {text[:200]}", status, 0)
        wait_for("one rule", lambda: len(gateway.api(
            "GetRules", application_id=1)["result"]) == 1)
        for session in (old, new):
            gateway.get(session.url, "end")


def stops_in_order(world):
    """TERM: no new calls, drain_s for those that run, then BYE, history, status 0."""
    with open(os.path.join(world.top, "tests/interop/scenarios/dial.js"), encoding="utf-8") as file:
        dial = file.read()
    with small_gateway(world, {"dial.js": dial}, drain_s=2) as gateway:
        peer = Sipp(world.folder, "uas_answer", "127.0.0.2", gateway.provider)
        session = gateway.start(1, {"number": "1"})
        session.until_seen("Connected")
        gateway.signal(signal.SIGTERM)
        wait_for("the refusal", lambda: gateway.api(
            "StartScenarios", rule_id=1).get("error", {}).get("code") == 314, 1.5)
        peer.done()  # it got its BYE
        expect("status", gateway.wait_end(10), 0)
        path = os.path.join(gateway.folder, "data")
        status, text = run(world, "history", "--config", gateway.config_path)
        expect(f"history: {text[:200]} {os.listdir(path)}",
               (status, "Terminated administratively" in text), (0, True))
        gateway.stop = lambda: None


def second_signal_ends_at_once(world):
    with open(os.path.join(world.top, "tests/interop/scenarios/dial.js"), encoding="utf-8") as file:
        dial = file.read()
    with small_gateway(world, {"dial.js": dial}, drain_s=30) as gateway:
        peer = Sipp(world.folder, "uas_answer", "127.0.0.2", gateway.provider)
        try:
            gateway.start(1, {"number": "1"}).until_seen("Connected")
            gateway.signal(signal.SIGTERM)
            time.sleep(0.3)
            started = time.monotonic()
            gateway.signal(signal.SIGTERM)
            gateway.wait_end(5)
            if time.monotonic() - started > 3:
                raise Failure("a second signal did not end it at once")
        finally:
            peer.end()
        gateway.stop = lambda: None


def state_outlives_a_kill(world):
    """Killed hard: history and ids go on, what is on disk can be read."""
    with small_gateway(world, {"good.js": GOOD}) as gateway:
        session = gateway.start(1)
        gateway.get(session.url, "end")
        session.row()
        running = gateway.start(1)
        time.sleep(0.5)
        gateway.process.child.kill()
        gateway.process.child.wait()
        again = gateway.again()
        expect("the finished one", again.history(
            call_session_history_id=session.id)[0]["finish_reason"], "Normal termination")
        new = again.start(1)
        if new.id <= running.id:
            raise Failure(f"id {new.id} after {running.id}")
        again.get(new.url, "end")


def full_gateway_refuses(world):
    """sessions = 2: error 314 over HTTP, 503 with Retry-After over SIP; room again afterwards."""
    with small_gateway(world, {"good.js": GOOD}, rule(9, "good.js", "800"), sessions=2) as gateway:
        first, second = gateway.start(1), gateway.start(1)
        expect("a third", gateway.api("StartScenarios", rule_id=1)["error"]["code"], 314)
        with Raw(gateway) as peer:
            peer.send(INVITE.format(own=peer.port, mark="full", length=len(SDP), body=SDP))
            text = peer.udp.recv(65536).decode()
            while text.startswith("SIP/2.0 100"):
                text = peer.udp.recv(65536).decode()
            expect("SIP", (text[:11], "retry-after:" in text.lower()), ("SIP/2.0 503", True))
        if gateway.metrics()["sessions_refused_total"] < 2:
            raise Failure("not counted")
        gateway.get(first.url, "end")
        gateway.get(second.url, "end")
        wait_for("room", first.is_over)
        gateway.wait_idle()
        third = gateway.start(1)
        gateway.get(third.url, "end")


def idle_session_ends(world):
    """idle_timeout_s is 20 here: a session without calls ends with `Timeout`."""
    with small_gateway(world, {"good.js": GOOD}) as gateway:
        expect("reason", gateway.start(1).row(30)["finish_reason"], "Timeout")


def commands_of_the_operator(world):
    with small_gateway(world, {"good.js": GOOD}) as gateway:
        status, text = run(world, "sessions", "--config", gateway.config_path)
        expect(f"sessions: {text[:200]}", status, 0)
        session = gateway.start(1)
        status, text = run(world, "sessions", "--config", gateway.config_path)
        expect(f"sessions: {text[:200]}", (status, str(session.id) in text), (0, True))
        gateway.get(session.url, "end")
        session.row()
        status, text = run(world, "history", "--config", gateway.config_path)
        expect(f"history: {text[:200]}", (status, "Normal termination" in text), (0, True))
        status, text = run(world, "start", "2424", "--config", gateway.config_path)
        expect(f"start of no rule: {text[:200]}", status, 1)
    status, _ = run(world, "sessions", "--config", gateway.config_path, seconds=20)
    expect("sessions of no gateway", status, 1)


def key_is_made_and_kept(world):
    """No api_key in the file: one is made at first start, mode 600, and kept."""
    with small_gateway(world, {"good.js": GOOD}) as gateway:
        with open(gateway.config_path, encoding="utf-8") as file:
            text = file.read()
        gateway.stop()
        with open(gateway.config_path, "w", encoding="utf-8") as file:
            file.write(text.replace(f'api_key = "{KEY}"', 'api_key = ""'))
        again = gateway.again()
        path = os.path.join(gateway.folder, "data", "api_key")
        expect("mode", oct(os.stat(path).st_mode & 0o777), "0o600")
        with open(path, encoding="utf-8") as file:
            key = file.read().strip()
        expect("wrong key", again.api("GetAccountInfo")["error"]["code"], 100)
        expect("its key", again.api("GetAccountInfo", api_key=key)["result"]["account_id"], 1)
        if key in again.log():
            raise Failure("the key stands in the log")


def demo(world):
    """The README's first command, apart from the build."""
    status, text = run(world, "demo", cwd=world.top, seconds=120)
    if status != 0:
        raise Failure(f"demo ends with {status}: {text[-1500:]}")


@shared
def no_shutdown_on_pipe(_, gateway):
    """HUP, USR1, PIPE do not end it."""
    for number in (signal.SIGPIPE,):
        gateway.signal(number)
    time.sleep(0.2)
    expect("OPTIONS", gateway.options(), "SIP/2.0 200 OK")


@shared
def counters_have_names(_, gateway):
    status, text = gateway.get("/metrics")
    expect("status", status, 200)
    for line in text.splitlines():
        if line and not line.startswith(("#", "branchline_", "process_")):
            raise Failure(f"/metrics: {line}")
    json.dumps(gateway.metrics())


SIPP = ("sipp",)
CASES = [
    ("version, help, usage errors", (), version_and_help),
    ("check of the shipped configuration", (), sample_is_good),
    ("broken configurations", (), broken_files),
    ("a port that is taken", (), port_is_taken),
    ("reload", (), reload_takes_new_rules),
    ("an orderly stop with a call in progress", SIPP, stops_in_order),
    ("a second signal ends it at once", SIPP, second_signal_ends_at_once),
    ("a hard kill loses nothing that was finished", (), state_outlives_a_kill),
    ("a full gateway refuses", (), full_gateway_refuses),
    ("a session without calls ends", (), idle_session_ends),
    ("sessions, history, start", (), commands_of_the_operator),
    ("the API key is made and kept", (), key_is_made_and_kept),
    ("demo", (), demo),
    ("a broken pipe does not end it", (), no_shutdown_on_pipe),
    ("metrics are named", (), counters_have_names),
]
