"""The messages of tests/data/torture on the wire: each has the verdict of tests/torture.rs."""

import os
import re
import select
import socket

from hostile_cases import still_answers
from peers import Failure
from shared import small_gateway

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
# A trunk of its own: answers go to the ports that the messages name.
ADDRESS = "127.0.0.47"
PORTS = (5050, 5060, 6050, 19823)
TRUNK = f"""
[[trunk]]
name = "torture"
server = "sip:{ADDRESS}"
options_s = 0
"""
# Over a stream the length says where a message ends: where it is missing or wrong, the stream
# ends, or more is awaited.
CUT_OVER_TCP = ("clerr", "inv2543", "mcl01", "ncl", "x-length-words")


def verdicts():
    """Name, and the first status that is answered; None: nothing is."""
    with open(os.path.join(TESTS, "torture.rs"), encoding="utf-8") as file:
        text = file.read()
    text = text[:text.index("fn malformed")]
    found = re.findall(r'\(\s*"([\w-]+)",\s*(Read|Answered|Taken|Dropped)\(?(\d*)', text)
    return [(name, int(status) if status else None) for name, _, status in found]


def message(name):
    with open(os.path.join(TESTS, "data", "torture", f"{name}.sip"), "rb") as file:
        return file.read()


def status_of(data):
    match = re.match(rb"SIP/2\.0 (\d{3}) ", data)
    if match is None:
        raise Failure(f"no response: {data[:80]}")
    return int(match.group(1))


def torture_over_udp(world):
    with small_gateway(world, {}, TRUNK) as gateway:
        sockets, seen = [], set()
        try:
            for port in PORTS:
                sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sockets[-1].bind((ADDRESS, port))
            wrong = []
            for name, wanted in verdicts():
                sockets[1].sendto(message(name), ("127.0.0.1", gateway.sip))
                got = first_status(sockets, seen, 2.0 if wanted else 0.1)
                if got != wanted:
                    wrong.append(f"{name}: {got}, wanted {wanted}")
                # What else comes of it (404, retransmissions) is not what the next one waits for.
                while first_status(sockets, seen, 0.02):
                    pass
                still_answers(gateway)
            if wrong:
                raise Failure("; ".join(wrong))
        finally:
            for one in sockets:
                one.close()
        gateway.wait_idle(70)


def first_status(sockets, seen, seconds):
    """That of the next datagram; None if none comes. Refused INVITEs that were not acknowledged
    are not answered by this message."""
    while ready := select.select(sockets, [], [], seconds)[0]:
        data = ready[0].recv(65536)
        if data in seen and re.search(rb"\r\nCSeq: \d+ INVITE\r\n", data):
            continue
        seen.add(data)
        return status_of(data)
    return None


def torture_over_tcp(world):
    with small_gateway(world, {}, TRUNK) as gateway:
        wrong = []
        for name, wanted in verdicts():
            with socket.socket() as tcp:
                tcp.bind((ADDRESS, 0))
                tcp.settimeout(2.0 if wanted and name not in CUT_OVER_TCP else 0.1)
                tcp.connect(("127.0.0.1", gateway.sip))
                try:
                    tcp.sendall(message(name))
                    data = tcp.recv(65536)
                    got = status_of(data) if data.strip() else None
                except TimeoutError:
                    got = None
                except OSError:
                    got = None  # cut off
            if name in CUT_OVER_TCP and got is None:
                continue
            if got != wanted:
                wrong.append(f"{name}: {got}, wanted {wanted}")
            still_answers(gateway)
        if wrong:
            raise Failure("; ".join(wrong))
        gateway.wait_idle(70)


CASES = [
    ("torture messages of RFC 4475 and RFC 5118 over UDP", (), torture_over_udp),
    ("torture messages of RFC 4475 and RFC 5118 over TCP", (), torture_over_tcp),
]
