"""baresip with the manners that the table asks of every phone, and a trace of its messages."""

import re

from peers import Failure, Phone, wait_for


class BaresipPhone(Phone):
    ENCRYPTED = {"account": ";mediaenc=srtp-mand", "lines": "module srtp.so\n"}

    def __init__(self, folder, name, port, answers=(200,), certificates=None, registrar=None,
                 lines="", **more):
        # baresip answers by itself with 200, or with 183, or waits to be told.
        mode = {(200,): "auto", (183,): "early"}.get(tuple(answers), "manual")
        if certificates:
            lines += f"sip_cafile {certificates.ca}\nsip_certificate {certificates.both}\n"
        self.registrar = registrar
        super().__init__(folder, name, port, mode=mode, more=("-s",), lines=lines,
                         registrar=registrar, **more)

    def messages(self):
        """What went over the wire: (sent or received, text)."""
        found = re.findall(r"\x1b\[36;1m#\n(\S+) (\S+) -> (\S+)\n(.*?)\x1b\[;m",
                           self.process.output(), re.S)
        own = f"{self.address}:{self.port}"
        # Of a stream the phone's port is one that the system chose.
        return [("sent" if source == own or target == self.registrar else "received",
                 text.replace("\r", "").strip()) for _, source, target, text in found]

    def received(self, start):
        return [text for way, text in self.messages()
                if way == "received" and text.startswith(start)]

    def sent(self, start):
        return [text for way, text in self.messages() if way == "sent" and text.startswith(start)]

    def _answer_to_register(self, status):
        return [text for text in self.received(f"SIP/2.0 {status}")
                if re.search(r"(?im)^CSeq: \d+ REGISTER", text)]

    def registered(self):
        wait_for(f"{self.uri} to be registered", lambda: self._answer_to_register(200))

    def refused(self):
        wait_for(f"{self.uri} to be refused", lambda: self._answer_to_register(403))

    def ringing(self, call=0):
        self.expect("CALL_INCOMING", count=call + 1)

    def connected(self, call=0, seconds=10.0):
        self.expect("CALL_ESTABLISHED", seconds, count=call + 1)

    def is_connected(self, call=0):
        return len(self.all("CALL_ESTABLISHED")) > call

    def is_closed(self, call=0):
        return len(self.all("CALL_CLOSED")) > call

    def closed(self, call=0, seconds=10.0):
        """The end of a call; its status: 200 after a BYE."""
        text = self.expect("CALL_CLOSED", seconds, count=call + 1).get("param", "")
        status = re.match(r"\d{3}", text)
        return int(status.group()) if status else 200

    def answer(self, code=200):
        if code != 200:
            raise Failure(f"baresip cannot be told to answer {code}")
        self.command("accept")

    def reject(self, code):
        if code != 486:
            raise Failure(f"baresip refuses with 486, not with {code}")
        self.command("hangup")

    def press(self, keys, method="rfc4733"):
        if method == "inband":
            return  # its microphone says them
        if method != "rfc4733":
            raise Failure(f"baresip has no keys by {method}")
        super().press(keys)

    def hang_up(self, call=-1):
        super().hang_up()

    def hold(self):
        self.command("hold")

    def resume(self):
        self.command("resume")

    def transfer(self, to):
        self.command("transfer", to)

    def packets_heard(self):
        """RTP packets that came in its call so far."""
        before = len(self.answers)
        self.command("audio_debug")
        text = wait_for("baresip to tell its numbers", lambda: self.answers[before:])[0]
        return sum(int(number) for number in re.findall(r"rcvd=(\d+)", text))

    def seconds_heard(self, call=0):
        return super().seconds_heard()

    def heard(self, call=0):
        return super().heard()

    def keys(self, call=0):
        return super().keys()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
