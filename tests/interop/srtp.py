"""SRTP of one direction (RFC 3711, AES-CM-128 with HMAC-SHA1-80), to measure the gateway's with.

AES is openssl's: it makes the key stream of many packets in one go.
"""

import base64
import hashlib
import hmac
import os
import re
import struct
import subprocess

from peers import Failure

TAG = 10
AHEAD = 256  # packets whose key stream is made at once
BLOCKS = 10  # of 16 bytes: 20 ms of G.711


def aes(key, blocks):
    return subprocess.run(["openssl", "enc", "-aes-128-ecb", "-nopad", "-K", key.hex()],
                          input=blocks, capture_output=True, check=True).stdout


class Srtp:
    """Keys for what one side sends; `inline` as in an SDP (RFC 4568 §6.1)."""

    def __init__(self, inline=None):
        self.inline = inline or base64.b64encode(os.urandom(30)).decode()
        master = base64.b64decode(self.inline)
        key, salt = master[:16], int.from_bytes(master[16:30], "big")

        def derive(label, size):  # §4.3.1, with a key derivation rate of 0
            start = (salt ^ label << 48) << 16
            blocks = b"".join((start + n).to_bytes(16, "big") for n in range(-(-size // 16)))
            return aes(key, blocks)[:size]
        self.key, self.auth = derive(0, 16), derive(1, 20)
        self.salt = int.from_bytes(derive(2, 14), "big")
        self.streams = {}

    @classmethod
    def of(cls, text):
        """The keys in a message's SDP."""
        found = re.search(r"(?m)^a=crypto:\d+ AES_CM_128_HMAC_SHA1_80 inline:([^|\s]+)", text)
        if not found:
            raise Failure(f"no key in {text[-500:]}")
        return cls(found.group(1))

    def crypto(self, tag=1):
        return f"a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{self.inline}\n"

    def _stream(self, ssrc, index):
        """The key stream of a packet (§4.1.1)."""
        if (ssrc, index) not in self.streams:
            indexes = range(index, index + AHEAD)
            blocks = b"".join(((self.salt << 16 ^ ssrc << 64 ^ i << 16) + n).to_bytes(16, "big")
                              for i in indexes for n in range(BLOCKS))
            made = aes(self.key, blocks)
            for at, i in enumerate(indexes):
                self.streams[ssrc, i] = made[at * BLOCKS * 16:(at + 1) * BLOCKS * 16]
        return self.streams[ssrc, index]

    def _crypt(self, packet, rollover):
        sequence, _, ssrc = struct.unpack_from(">HII", packet, 2)
        stream = self._stream(ssrc, rollover << 16 | sequence)
        return packet[:12] + bytes(a ^ b for a, b in zip(packet[12:], stream))

    def _tag(self, packet, rollover):
        text = packet + struct.pack(">I", rollover)
        return hmac.new(self.auth, text, hashlib.sha1).digest()[:TAG]

    def protect(self, packet):
        packet = self._crypt(packet, 0)
        return packet + self._tag(packet, 0)

    def unprotect(self, data):
        """The packet, or nothing where its tag is wrong; the first calls have no rollover yet."""
        packet, tag = data[:-TAG], data[-TAG:]
        for rollover in (0, 1):
            if len(packet) > 12 and hmac.compare_digest(self._tag(packet, rollover), tag):
                return self._crypt(packet, rollover)
        return None
