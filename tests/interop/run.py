#!/usr/bin/env python3
"""Runs the gateway's binary against real SIP programs on loopback.

    run.py [--binary FILE] [--only TEXT] [--peers] [--keep] [--write-table]

Prints a line for each case, then the table of flows and peers (table.py), and ends with
`N passed, N failed`. The cases run in lanes beside each other: those of a lane one after the other,
each lane on gateways and ports of its own. Nothing waits for a fixed time: each case waits for what
it wants to see, up to a deadline. Standard library only.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback

import peer_cases
from peers import Failure

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))


class World:
    """What the cases of a lane share: a folder, the binary, the gateway that most of them use."""

    def __init__(self, options, folder):
        self.binary, self.folder, self.top = os.path.abspath(options.binary), folder, TOP
        self.only, self.gateway = options.only, None


class Results:
    """What came of the cases of all lanes."""

    def __init__(self):
        self.lock = threading.Lock()
        self.passed = self.failed = self.skipped = 0
        self.cells = {}

    def record(self, name, case, cell):
        """Runs it and says what came of it; `cell` is its place in the table, if it has one."""
        started, fault = time.monotonic(), None
        try:
            case()
        except Failure as failure:
            fault = str(failure)
        except Exception:  # a fault of the harness is a failed case, not the end of the run
            fault = "".join(traceback.format_exc().splitlines(keepends=True)[-7:])
        with self.lock:
            if fault is None:
                self.passed += 1
                print(f"ok      {name} ({time.monotonic() - started:.1f} s)", flush=True)
            else:
                self.failed += 1
                print(f"FAILED  {name}: {fault}", flush=True)
            if cell:
                self.cells[cell] = fault is None

    def skip(self, name, reason):
        with self.lock:
            print(f"skipped {name}: {reason}", flush=True)
            self.skipped += 1


def cases_lane(cases, results):
    """Cases that share a gateway, one after the other."""
    def run(world):
        for name, needs, case in cases:
            if world.only not in name:
                continue
            if missing := [tool for tool in needs if not shutil.which(tool)]:
                results.skip(name, f"no {', '.join(missing)} here")
                continue
            if reason := getattr(case, "missing", str)():
                results.skip(name, reason)
                continue
            results.record(name, lambda case=case: case(world), None)
        if world.gateway:
            lane = threading.current_thread().name
            results.record(f"an orderly stop after all {lane}", world.gateway.stop, None)
    return run


def lanes(options, results):
    """Lanes by name, and those that come after them with the machine for themselves."""
    if options.peers:
        return [("peers", cases_lane(list(peer_cases.CASES), results))], []
    import gateway_cases
    import table
    page = ("docs/interop.md is what the table says", (), table.page_is_current)
    found = [("peers", cases_lane([*peer_cases.CASES, page], results))]
    found += [(name, cases_lane(cases, results)) for name, cases in gateway_cases.LANES.items()]
    for column in table.COLUMNS:
        if reason := table.missing(column, shutil.which):
            results.skip(f"table: all of {column.NAME}", reason)
        else:
            found.append((column.NAME, table.lane(column, results.record)))
    return found, [("alone", cases_lane(gateway_cases.ALONE, results))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", default=os.path.join(TOP, "target/release/branchline"))
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--peers", action="store_true", help="the peers alone, no gateway")
    parser.add_argument("--keep", action="store_true", help="keep the folder of logs")
    parser.add_argument("--write-table", action="store_true", help="write docs/interop.md, run it")
    options = parser.parse_args()
    if options.write_table:
        import table
        table.write_page()

    folder = tempfile.mkdtemp(prefix="branchline-interop-")
    results = Results()
    together, alone = lanes(options, results)
    for group in (together, alone):
        threads = []
        for name, run in group:
            home = os.path.join(folder, name)
            os.makedirs(home)
            threads.append(threading.Thread(target=run, args=(World(options, home),), name=name))
            threads[-1].start()
        for thread in threads:
            thread.join()
    if not options.peers:
        import table
        print("\n" + table.as_text(results.cells, shutil.which) + "\n")
    if results.failed or options.keep:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    if results.skipped:
        print(f"{results.skipped} skipped")
    print(f"{results.passed} passed, {results.failed} failed")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
