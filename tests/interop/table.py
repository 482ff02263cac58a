"""The interop table: flows as rows, peers as columns, each cell a real run or the reason why not.

    ROWS[flow] names the flows in their order, COLUMNS the peers; `cell(flow, column)` is a function
    that runs it, or a text that says why the peer can't.
"""

import os
import textwrap

import pjsip
import table_baresip
import table_kamailio
import table_pjsip
import table_sipp
from gateway import TOP

ROWS = (
    "register",
    "wrong password",
    "call in",
    "call out",
    "busy",
    "no answer",
    "cancel",
    "early media",
    "hold and resume by the peer",
    "hold and resume by us",
    "blind transfer by the peer",
    "blind transfer by us",
    "attended transfer by the peer",
    "attended transfer by us",
    "DTMF by RFC 4733",
    "DTMF by INFO",
    "DTMF in-band",
    "session refresh",
    "PRACK",
    "TLS",
    "SRTP",
    "IPv6",
    "WebSocket register",
)
COLUMNS = (table_baresip, table_pjsip, table_kamailio, table_sipp)
PAGE = os.path.join(TOP, "docs", "interop.md")
HEAD = """# Interop

Flows against real SIP programs, on loopback, as `tests/run interop` runs them; made by
`tests/interop/run.py --write-table`, and that run fails where this page is not current.

"""
FOOT = """
"ok" is a run that passes: registrations are read from the gateway, sound is measured in level and
pitch at both ends, digits are those that the scenario or the peer got, and what the row is about is
looked up in the messages on the wire. The versions are Debian 12's, and the PJSIP wheel's.
"""


def cell(flow, column):
    """A function of the column's side, or a text: why not."""
    return column.CELLS.get(flow, "not written")


def missing(column, which):
    """Why a whole column can't run here; empty when it can."""
    gone = [tool for tool in column.NEEDS if tool != "pjsip" and not which(tool)]
    if gone:
        return f"no {', '.join(gone)} here"
    return pjsip.missing() if "pjsip" in column.NEEDS else ""


def lane(column, record):
    """All cells of one column, one after the other on a gateway of its own."""
    def run(world):
        side = None
        for flow in ROWS:
            run_cell = cell(flow, column)
            name = f"table: {flow} / {column.NAME}"
            if isinstance(run_cell, str) or world.only not in name:
                continue

            def case(run_cell=run_cell):
                nonlocal side
                side = side or column.Side(world)
                try:
                    run_cell(side)
                    side.gateway.check_alive()
                    side.gateway.wait_idle()
                except BaseException:
                    # What it left behind is nothing that the next one should meet.
                    broken, side = side, None
                    broken.drop()
                    raise
            record(name, case, (flow, column.NAME))
        if side:
            record(f"table: an orderly end / {column.NAME}", side.end, None)
    return run


def as_text(results, which):
    """The table of a run: ok, FAILED, n/a or skipped, the reasons below."""
    reasons, rows = [], []
    for flow in ROWS:
        row = [flow]
        for column in COLUMNS:
            found = cell(flow, column)
            if isinstance(found, str):
                row.append(f"n/a {_note(reasons, found)}")
            elif reason := missing(column, which):
                row.append(f"skipped {_note(reasons, reason)}")
            else:
                row.append({True: "ok", False: "FAILED", None: "-"}[
                    results.get((flow, column.NAME))])
        rows.append(row)
    head = ["flow", *(column.NAME for column in COLUMNS)]
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip()
             for row in [head, ["-" * width for width in widths], *rows]]
    lines += [f"({number}) {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(lines)


def _note(reasons, reason):
    if reason not in reasons:
        reasons.append(reason)
    return f"({reasons.index(reason) + 1})"


def as_page():
    """The table as it is in the documentation: what is run, and why not."""
    reasons = []
    text = HEAD + "| flow | " + " | ".join(column.TITLE for column in COLUMNS) + " |\n"
    text += "|---" * (len(COLUMNS) + 1) + "|\n"
    for flow in ROWS:
        cells = [cell(flow, column) for column in COLUMNS]
        words = [f"n/a {_note(reasons, c)}" if isinstance(c, str) else "ok" for c in cells]
        text += f"| {flow} | " + " | ".join(words) + " |\n"
    text += FOOT
    if reasons:
        text += "\nWhy not:\n\n"
        text += "".join(textwrap.fill(f"({number}) {reason}", 100, subsequent_indent="    ",
                                      break_on_hyphens=False) + "\n\n"
                        for number, reason in enumerate(reasons, 1))
    return text.rstrip("\n") + "\n"


def page_is_current(_):
    from peers import Failure
    try:
        with open(PAGE, encoding="utf-8") as file:
            found = file.read()
    except FileNotFoundError:
        found = ""
    if found != as_page():
        raise Failure("docs/interop.md is not what the table says: tests/interop/run.py "
                      "--write-table writes it")


def write_page():
    os.makedirs(os.path.dirname(PAGE), exist_ok=True)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(as_page())
