#!/usr/bin/env python3
"""Runs the gateway's binary against real SIP programs on loopback.

    run.py [--binary FILE] [--only TEXT] [--peers] [--keep]

Prints a line for each case and ends with `N passed, N failed`. Nothing waits for a fixed time:
each case waits for what it wants to see, up to a deadline. Standard library only.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback

import peer_cases
from peers import Failure

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))


class World:
    """What the cases share: a folder, the binary, and the gateway that most of them use."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.top, self.gateway = binary, folder, TOP, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", default=os.path.join(TOP, "target/release/branchline"))
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--peers", action="store_true", help="the peers alone, no gateway")
    parser.add_argument("--keep", action="store_true", help="keep the folder of logs")
    options = parser.parse_args()

    cases = list(peer_cases.CASES)
    if not options.peers:
        import gateway_cases
        cases += gateway_cases.CASES
    folder = tempfile.mkdtemp(prefix="branchline-interop-")
    world = World(os.path.abspath(options.binary), folder)
    passed, failed, skipped = 0, 0, 0
    for name, needs, case in cases:
        if options.only not in name:
            continue
        missing = [tool for tool in needs if not shutil.which(tool)]
        if missing:
            print(f"skipped {name}: no {', '.join(missing)} here", flush=True)
            skipped += 1
            continue
        started = time.monotonic()
        try:
            case(world)
        except Failure as failure:
            failed += 1
            print(f"FAILED  {name}: {failure}", flush=True)
        except Exception:  # a fault of the harness is a failed case, not the end of the run
            failed += 1
            print(f"FAILED  {name}: {traceback.format_exc()}", flush=True)
        else:
            passed += 1
            print(f"ok      {name} ({time.monotonic() - started:.1f} s)", flush=True)
    if world.gateway:
        try:
            world.gateway.stop()
        except Failure as failure:
            failed += 1
            print(f"FAILED  orderly stop at the end: {failure}", flush=True)
    if failed or options.keep:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
