"""A bridge from SIP over TCP to SIP over WebSocket (RFC 7118), for peers that have no WebSocket.

Each TCP connection becomes one WebSocket connection, each message on it one text frame.
"""

import base64
import hashlib
import os
import re
import socket
import struct
import threading

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Bridge:
    """Listens on `address`:`port` for TCP; `handshakes` holds the server's answers."""

    def __init__(self, address, port, server):
        self.server, self.handshakes, self.sockets = server, [], []
        self.listener = socket.create_server((address, port))
        self.sockets.append(self.listener)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            web = socket.create_connection(self.server, 5)
            web.settimeout(None)
            self.sockets += [client, web]
            rest = self._upgrade(web)
            threading.Thread(target=self._to_web, args=(client, web), daemon=True).start()
            threading.Thread(target=self._from_web, args=(web, client, rest), daemon=True).start()

    def _upgrade(self, web):
        """RFC 6455 §4.1 with the subprotocol of RFC 7118 §4.1; what came after the answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        web.sendall((f"GET / HTTP/1.1\r\nHost: {self.server[0]}:{self.server[1]}\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: sip\r\n"
                     "Sec-WebSocket-Version: 13\r\n\r\n").encode())
        held = b""
        while b"\r\n\r\n" not in held:
            data = web.recv(4096)
            if not data:
                break
            held += data
        head, _, rest = held.partition(b"\r\n\r\n")
        wanted = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        self.handshakes.append((head.decode("latin-1"), wanted))
        return rest

    @staticmethod
    def _to_web(client, web):
        held = b""
        while data := _receive(client):
            held += data
            while b"\r\n\r\n" in held:
                head, _, rest = held.partition(b"\r\n\r\n")
                size = re.search(rb"(?im)^(?:Content-Length|l)[ \t]*:[ \t]*(\d+)", head)
                size = int(size.group(1)) if size else 0
                if len(rest) < size:
                    break
                _send_frame(web, TEXT, head + b"\r\n\r\n" + rest[:size])
                held = rest[size:]
        web.close()

    @staticmethod
    def _from_web(web, client, held):
        message = b""
        while True:
            while frame := _frame(held):
                final, code, payload, held = frame
                if code == PING:
                    _send_frame(web, PONG, payload)
                elif code == CLOSE:
                    client.close()
                    return
                elif code in (0, TEXT, BINARY):
                    message += payload
                    if final:
                        client.sendall(message)
                        message = b""
            data = _receive(web)
            if not data:
                client.close()
                return
            held += data

    def end(self):
        for held in self.sockets:
            held.close()


def _receive(stream):
    try:
        return stream.recv(65536)
    except OSError:
        return b""


def _send_frame(web, code, payload):
    """A frame of a client is masked (RFC 6455 §5.3)."""
    size = len(payload)
    head = bytes([0x80 | code]) + (bytes([0x80 | size]) if size < 126
                                   else b"\xfe" + struct.pack(">H", size))
    mask = os.urandom(4)
    web.sendall(head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)))


def _frame(held):
    """(is final, code, payload, what follows) of a server's frame that is complete."""
    if len(held) < 2:
        return None
    size, at = held[1] & 0x7F, 2
    if size == 126:
        if len(held) < 4:
            return None
        size, at = struct.unpack_from(">H", held, 2)[0], 4
    if len(held) < at + size:
        return None
    return bool(held[0] & 0x80), held[0] & 0x0F, held[at:at + size], held[at + size:]
