"""A link that loses, doubles and reorders datagrams, by seed, between the gateway and one peer."""

import heapq
import random
import socket
import threading
import time


class Relay:
    """Bound to `address`: what the gateway sends there goes on to `peer`, all else to the gateway.

    Of 100 datagrams `share` are lost, as many come twice, and as many up to `late_s` late; but no
    provisional response, which SIPp 3.7 cannot take after the final one. Copies come together: as
    a callee it cannot take one of an INVITE after the ACK.
    """

    def __init__(self, address, peer, gateway, share=5, late_s=0.08, seed=1):
        self.peer, self.gateway = peer, gateway
        self.share, self.late_s, self.dice = share, late_s, random.Random(seed)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(address)
        self.lost = self.doubled = self.held = self.passed = self.count = 0
        self.waiting, self.stopped = [], False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()
        self.udp.close()

    def _happens(self):
        return self.dice.randrange(100) < self.share

    def _run(self):
        while not self.stopped:
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _, _, data, to = heapq.heappop(self.waiting)
                self.udp.sendto(data, to)
            next_at = self.waiting[0][0] if self.waiting else now + 0.05
            self.udp.settimeout(max(min(next_at - now, 0.05), 0.001))
            try:
                data, source = self.udp.recvfrom(65536)
            except (TimeoutError, ConnectionError):
                continue
            self._take(data, self.peer if source == self.gateway else self.gateway)

    def _take(self, data, to):
        if self._happens():
            self.lost += 1
            return
        copies = 1
        if self._happens():
            self.doubled, copies = self.doubled + 1, 2
        if self._happens() and not data.startswith(b"SIP/2.0 1"):
            self.held += 1
            at = time.monotonic() + self.dice.random() * self.late_s
            for _ in range(copies):
                self.count += 1
                heapq.heappush(self.waiting, (at, self.count, data, to))
            return
        self.passed += 1
        for _ in range(copies):
            self.udp.sendto(data, to)
