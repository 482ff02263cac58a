"""An RTP end for SIPp, which has none that could be measured: u-law sound and RFC 4733 keys."""

import array
import os
import re
import socket
import struct
import threading
import time

import wav
from peers import Failure, wait_for

PCMU, PCMA, EVENT = 0, 8, 101
KEYS = "0123456789*#ABCD"
FRAME = 160  # samples of 20 ms


def ulaw_to_linear(byte):
    """G.711 table 2a: sign, three bits of exponent, four of mantissa, all inverted."""
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -magnitude if byte & 0x80 else magnitude


def alaw_to_linear(byte):
    """G.711 table 1a: even bits inverted, the sign bit set where the sample is positive."""
    byte ^= 0x55
    exponent, magnitude = byte >> 4 & 7, (byte & 0x0F) << 4
    magnitude = magnitude + 8 if exponent == 0 else magnitude + 0x108 << exponent - 1
    return magnitude if byte & 0x80 else -magnitude


ULAW = [ulaw_to_linear(byte) for byte in range(256)]
ALAW = [alaw_to_linear(byte) for byte in range(256)]
LOUDEST = 32635  # of G.711's scale


def linear_to_ulaw(sample):
    sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
    magnitude = min(magnitude, LOUDEST) + 0x84
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | magnitude >> exponent + 3 & 0x0F) & 0xFF


def to_ulaw(samples):
    return bytes(linear_to_ulaw(sample) for sample in samples)


def media_of(text):
    """(address, port) of the sound in a message's SDP."""
    address = re.search(r"(?m)^c=IN IP[46] (\S+)", text)
    port = re.search(r"(?m)^m=audio (\d+)", text)
    if not address or not port:
        raise Failure(f"no media in {text[:200]}")
    return address.group(1), int(port.group(1))


class RtpEnd:
    """Listens from the start; from `send_to` on sends a tone, or `sound` over and over."""

    def __init__(self, address, hz=0, sound=None):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.port = self.socket.getsockname()[1]
        sound = sound or (wav.sine(hz, 1.0, -20) if hz else [0] * 8000)
        self.sound, self.pressed, self.remote = to_ulaw(sound), [], None
        # Keys of SRTP, once they are agreed: ours, and those of the other end.
        self.ours, self.theirs = None, None
        self.packets, self.over = {}, False
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        while True:
            try:
                data = self.socket.recv(2048)
            except OSError:
                return
            if self.theirs:
                data = self.theirs.unprotect(data)
            if data and len(data) > 12 and data[0] >> 6 == 2:
                marks, sequence, timestamp = struct.unpack_from(">BHI", data, 1)
                self.packets.setdefault(sequence, (marks & 0x7F, timestamp, data[12:]))

    def send_to(self, remote):
        if self.remote is None:
            self.remote = remote
            threading.Thread(target=self._send, daemon=True).start()
        self.remote = remote

    def press(self, keys):
        """As RFC 4733 events, 100 ms each."""
        self.pressed += keys

    def _send(self):
        sequence, timestamp, ssrc = 1, 0, struct.unpack(">I", os.urandom(4))[0]
        event, next_at = None, time.monotonic()
        while not self.over:
            if event is None and self.pressed:
                event = [KEYS.index(self.pressed.pop(0)), timestamp, 0]
            if event:
                event[2] += FRAME
                last = event[2] > 800  # 100 ms: the end is sent three times
                payload = struct.pack(">BBH", event[0], (0x80 if last else 0) | 10,
                                      min(event[2], 800))
                head, at = (EVENT | (0x80 if event[2] == FRAME else 0)), event[1]
                if event[2] >= 800 + 3 * FRAME:
                    event = None
            else:
                start = timestamp % len(self.sound)
                payload, head, at = self.sound[start:start + FRAME], PCMU, timestamp
            packet = struct.pack(">BBHII", 0x80, head, sequence, at, ssrc) + payload
            try:
                self.socket.sendto(self.ours.protect(packet) if self.ours else packet, self.remote)
            except OSError:
                return  # it was closed, or the other end is gone
            sequence, timestamp = (sequence + 1) & 0xFFFF, timestamp + FRAME
            next_at += 0.02
            time.sleep(max(0.0, next_at - time.monotonic()))

    def heard(self):
        samples = array.array("h")
        for sequence in sorted(self.packets):
            kind, _, payload = self.packets[sequence]
            if kind in (PCMU, PCMA):
                table = ULAW if kind == PCMU else ALAW
                samples.extend(table[byte] for byte in payload)
        return wav.Track(8000, samples)

    def seconds_heard(self):
        return 0.02 * sum(kind in (PCMU, PCMA) for kind, _, _ in list(self.packets.values()))

    def keys(self):
        """RFC 4733 keys that came, each event once."""
        events = {}
        for sequence in sorted(self.packets):
            kind, timestamp, payload = self.packets[sequence]
            if kind == EVENT and payload:
                events.setdefault(timestamp, KEYS[payload[0] & 0x0F])
        return "".join(events.values())

    def sounds(self, seconds=1.5):
        wait_for(f"{seconds} s of sound", lambda: self.seconds_heard() >= seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.socket.close()
