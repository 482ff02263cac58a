"""A link whose media is bad: SIP passes untouched save for the addresses in its SDP, which are the
link's own, so that RTP and RTCP pass here too. Of RTP some packets are lost or late, by seed."""

import heapq
import random
import re
import select
import socket
import threading
import time


class BadMedia:
    """Bound to `address` for SIP: what `gateway` sends there goes to `peer`, all else to `gateway`.

    Of 100 packets of RTP `share` are lost, and each is up to `late_s` late; RTCP is left alone.
    """

    def __init__(self, address, peer, gateway, share=5, late_s=0.01, seed=1):
        self.host, self.peer, self.gateway = address[0], peer, gateway
        self.share, self.late_s, self.dice = share, late_s, random.Random(seed)
        self.sip = self._bind(address[1])
        # By who sends there: RTP and RTCP sockets, and where media of the other side goes.
        self.sides = {side: self._pair() for side in ("gateway", "peer")}
        self.targets = {"gateway": None, "peer": None}
        self.lost = {"gateway": 0, "peer": 0}
        self.passed = {"gateway": 0, "peer": 0}
        self.waiting, self.count, self.stopped = [], 0, False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()
        for pair in self.sides.values():
            for udp in pair:
                udp.close()
        self.sip.close()

    def _bind(self, port):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((self.host, port))
        return udp

    def _pair(self):
        """An even port and the next one."""
        while True:
            rtp = self._bind(0)
            port = rtp.getsockname()[1]
            if port % 2 == 0 and port < 65535:
                try:
                    return rtp, self._bind(port + 1)
                except OSError:
                    pass
            rtp.close()

    def _run(self):
        media = {udp: (side, place) for side, pair in self.sides.items()
                 for place, udp in enumerate(pair)}
        while not self.stopped:
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _, _, udp, data, to = heapq.heappop(self.waiting)
                udp.sendto(data, to)
            next_at = self.waiting[0][0] if self.waiting else now + 0.05
            for udp in select.select([self.sip, *media], [], [], max(next_at - now, 0))[0]:
                data, source = udp.recvfrom(65536)
                if udp is self.sip:
                    self._pass_sip(data, source)
                else:
                    self._pass_media(*media[udp], data)

    def _pass_sip(self, data, source):
        side = "gateway" if source == self.gateway else "peer"
        to = self.peer if side == "gateway" else self.gateway
        self.sip.sendto(self._rewritten(data, side), to)

    def _rewritten(self, data, side):
        """The other one is told our address in the place of this side's."""
        head, separator, body = data.partition(b"\r\n\r\n")
        audio = re.search(rb"(?m)^m=audio (\d+) ", body)
        if not audio:
            return data
        own = re.search(rb"(?m)^c=IN IP4 (\S+)", body).group(1).decode()
        self.targets[side] = (own, int(audio.group(1)))
        other = "peer" if side == "gateway" else "gateway"
        port = self.sides[other][0].getsockname()[1]
        body = re.sub(rb"(?m)^m=audio \d+ ", b"m=audio %d " % port, body)
        body = re.sub(rb"(?m)^c=IN IP4 \S+", b"c=IN IP4 " + self.host.encode(), body)
        body = re.sub(rb"(?m)^a=rtcp:\d+.*\r\n", b"", body)
        head = re.sub(rb"(?im)^(Content-Length|l):.*$", b"Content-Length: %d" % len(body), head)
        return head + separator + body

    def _pass_media(self, side, place, data):
        """From `side` to the other one."""
        other = "peer" if side == "gateway" else "gateway"
        target = self.targets[other]
        if target is None:
            return
        to = (target[0], target[1] + place)
        # The other one gets it from where it sends to.
        udp = self.sides[other][place]
        if place == 1:
            udp.sendto(data, to)
            return
        if self.dice.randrange(100) < self.share:
            self.lost[side] += 1
            return
        self.passed[side] += 1
        self.count += 1
        at = time.monotonic() + self.dice.random() * self.late_s
        heapq.heappush(self.waiting, (at, self.count, udp, data, to))
