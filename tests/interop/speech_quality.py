"""PESQ (ITU-T P.862, P.862.2) of what was heard against what was said.

The measure is the ITU's own program, in the Python package `pesq`, which tests/run puts outside the
tree; it runs in a process of its own.
"""

import json
import os
import subprocess
import sys

VERSION = "0.0.4"
MEASURE = """
import json, sys
import numpy, pesq
rate, mode, said, heard = sys.argv[1:]
said, heard = (numpy.fromfile(path, dtype="<i2") for path in (said, heard))
print(json.dumps(float(pesq.pesq(int(rate), said, heard, mode))))
"""


def library():
    """Where tests/run puts it: outside the tree, for this Python alone."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return os.path.join(cache, "branchline-tests", f"pesq-{VERSION}-{python}")


def missing():
    """Why there is no PESQ here; empty where there is."""
    if not os.path.isdir(os.path.join(library(), "pesq")):
        return f"no pesq {VERSION} in {library()} (tests/run packages gets it)"
    return ""


def mos(said, heard, rate):
    """MOS-LQO of one file of samples against another: of telephones at 8000 Hz, of wideband at
    16,000, where the best there is is 4.55 and 4.64."""
    mode = {8000: "nb", 16000: "wb"}[rate]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(rate), mode, said, heard], check=True,
        capture_output=True, timeout=60, env={**os.environ, "PYTHONPATH": library()})
    return json.loads(done.stdout)
