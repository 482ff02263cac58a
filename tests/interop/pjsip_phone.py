#!/usr/bin/env python3
"""A PJSIP phone as a process: told what to do in JSON lines, tells what happens in JSON lines.

    pjsip_phone.py CONFIG.json

Standard input takes `{"do": "dial", ...}`; standard output gives `{"event": "call", ...}`. The
microphone plays a WAV file over and over; what a call lets it hear goes into heard-N.wav, where N
counts its calls from 0. Every message goes into the log. Needs the wheel `pjsua2-python`.
"""

import ctypes
import json
import os
import select
import sys
import traceback

import pjsua2 as pj

LIBC = ctypes.CDLL(None)
METHODS = {"rfc4733": pj.PJSUA_DTMF_METHOD_RFC2833, "info": pj.PJSUA_DTMF_METHOD_SIP_INFO}
TRANSPORTS = {
    ("udp", False): pj.PJSIP_TRANSPORT_UDP, ("udp", True): pj.PJSIP_TRANSPORT_UDP6,
    ("tcp", False): pj.PJSIP_TRANSPORT_TCP, ("tcp", True): pj.PJSIP_TRANSPORT_TCP6,
    ("tls", False): pj.PJSIP_TRANSPORT_TLS, ("tls", True): pj.PJSIP_TRANSPORT_TLS6,
}
PRACK = {"off": pj.PJSUA_100REL_NOT_USED, "optional": pj.PJSUA_100REL_OPTIONAL,
         "required": pj.PJSUA_100REL_MANDATORY}
TIMER = {"off": pj.PJSUA_SIP_TIMER_INACTIVE, "optional": pj.PJSUA_SIP_TIMER_OPTIONAL,
         "required": pj.PJSUA_SIP_TIMER_REQUIRED, "always": pj.PJSUA_SIP_TIMER_ALWAYS}
SRTP = {"off": pj.PJMEDIA_SRTP_DISABLED, "optional": pj.PJMEDIA_SRTP_OPTIONAL,
        "required": pj.PJMEDIA_SRTP_MANDATORY}


def tell(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


class Call(pj.Call):
    def __init__(self, phone, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(phone.account, call_id)
        self.phone, self.number = phone, len(phone.calls)
        self.recorder, self.tones = None, None
        phone.calls.append(self)

    def onCallState(self, prm):
        info = self.getInfo()
        tell("call", call=self.number, state=info.stateText, code=info.lastStatusCode,
             reason=info.lastReason)

    def onCallMediaState(self, prm):
        info = self.getInfo()
        for index, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            tell("media", call=self.number, status=media.status, direction=media.dir)
            if media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                audio = self.getAudioMedia(index)
                if self.recorder is None:
                    self.recorder = pj.AudioMediaRecorder()
                    self.recorder.createRecorder(self.phone.file(f"heard-{self.number}.wav"))
                    self.tones = pj.ToneGenerator()
                    self.tones.createToneGenerator(8000, 1)
                audio.startTransmit(self.recorder)
                if media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                    self.phone.microphone.startTransmit(audio)
                    self.tones.startTransmit(audio)

    def onDtmfDigit(self, prm):
        tell("key", call=self.number, key=prm.digit, method=prm.method)

    def onCallTsxState(self, prm):
        """Requests of the call that came in and were taken, and final answers to ours."""
        transaction = prm.e.body.tsxState.tsx
        if transaction.state != pj.PJSIP_TSX_STATE_COMPLETED:
            return
        name = "request" if transaction.role == pj.PJSIP_ROLE_UAS else "answer"
        tell(name, call=self.number, method=transaction.method, code=transaction.statusCode)

    def onCallTransferRequest(self, prm):
        tell("transfer asked", call=self.number, to=prm.dstUri)
        # The library dials by itself; the new call is ours to watch.
        prm.newCall = Call(self.phone)

    def onCallTransferStatus(self, prm):
        tell("transfer", call=self.number, code=prm.statusCode, final=bool(prm.finalNotify))

    def onCallReplaceRequest(self, prm):
        prm.newCall = Call(self.phone)

    def onCallReplaced(self, prm):
        tell("replaced", call=self.number, by=prm.newCallId)

    def play_keys(self, keys):
        digits = pj.ToneDigitVector()
        for key in keys:
            digit = pj.ToneDigit()
            digit.digit, digit.on_msec, digit.off_msec = key, 100, 100
            digits.append(digit)
        self.tones.playDigits(digits)


class Account(pj.Account):
    def __init__(self, phone):
        super().__init__()
        self.phone, self.is_registered = phone, False

    def onRegState(self, prm):
        self.is_registered = prm.code == 200 and prm.expiration > 0
        tell("registration", code=prm.code, reason=prm.reason, expires=prm.expiration)

    def onIncomingCall(self, prm):
        call = Call(self.phone, prm.callId)
        tell("incoming", call=call.number, remote=call.getInfo().remoteUri)
        for code in self.phone.answers:
            operation = pj.CallOpParam()
            operation.statusCode = code
            call.answer(operation)


class Phone:
    def __init__(self, config):
        self.config, self.calls = config, []
        self.answers = config.get("answers", [200])
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        self.endpoint.libInit(self.library())
        for codec in self.endpoint.codecEnum2():
            self.endpoint.codecSetPriority(codec.codecId, 0)
        for rank, name in enumerate(config.get("codecs", ["PCMU", "PCMA"])):
            self.endpoint.codecSetPriority(f"{name}/", 200 - rank)
        transport = self.transport()
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        self.microphone = pj.AudioMediaPlayer()
        self.microphone.createPlayer(config["microphone"], 0)
        self.account = Account(self)
        self.account.create(self.account_config(transport))

    def file(self, name):
        return os.path.join(self.config["folder"], name)

    def library(self):
        config = pj.EpConfig()
        # One thread: Python's callbacks run where the commands do.
        config.uaConfig.threadCnt, config.uaConfig.mainThreadOnly = 0, True
        config.logConfig.level, config.logConfig.consoleLevel = 5, 0
        config.logConfig.msgLogging = 1
        config.logConfig.filename = self.file("messages.log")
        config.medConfig.clockRate, config.medConfig.sndClockRate = 8000, 8000
        config.medConfig.ecTailLen, config.medConfig.noVad = 0, True
        config.medConfig.sndAutoCloseTime = -1
        return config

    def transport(self):
        config, ours = pj.TransportConfig(), self.config
        config.port, config.boundAddress = ours["port"], ours["address"]
        if ours["transport"] == "tls":
            config.tlsConfig.CaListFile = ours["ca"]
            config.tlsConfig.certFile = ours["certificate"]
            config.tlsConfig.privKeyFile = ours["key"]
            config.tlsConfig.verifyServer = True
        kind = TRANSPORTS[ours["transport"], ":" in ours["address"]]
        return self.endpoint.transportCreate(kind, config)

    def account_config(self, transport):
        config, ours = pj.AccountConfig(), self.config
        config.idUri = ours["uri"]
        config.sipConfig.transportId = transport
        config.natConfig.contactRewriteUse = 0
        config.natConfig.viaRewriteUse = False
        config.natConfig.sdpNatRewriteUse = False
        config.natConfig.sipOutboundUse = 1 if ours.get("outbound") else 0
        if ours.get("registrar"):
            config.regConfig.registrarUri = ours["registrar"]
            config.regConfig.timeoutSec = ours.get("expires", 300)
            config.regConfig.retryIntervalSec = 0
        if ours.get("proxy"):
            config.sipConfig.proxies.append(ours["proxy"])
        if ours.get("password"):
            config.sipConfig.authCreds.append(
                pj.AuthCredInfo("digest", "*", ours["user"], 0, ours["password"]))
        media = config.mediaConfig
        media.transportConfig.boundAddress = ours["address"]
        media.transportConfig.port = ours["rtp"]
        media.ipv6Use = (pj.PJSUA_IPV6_ENABLED_USE_IPV6_ONLY if ":" in ours["address"]
                         else pj.PJSUA_IPV6_DISABLED)
        media.srtpUse = SRTP[ours.get("srtp", "off")]
        media.srtpSecureSignaling = 0
        config.callConfig.prackUse = PRACK[ours.get("prack", "off")]
        config.callConfig.timerUse = TIMER[ours.get("timer", "off")]
        config.callConfig.timerMinSESec = ours.get("min_se", 90)
        config.callConfig.timerSessExpiresSec = ours.get("session_expires", 1800)
        return config

    def run(self):
        tell("ready")
        held = b""
        while True:
            self.endpoint.libHandleEvents(10)
            # The library's log is read while it grows.
            LIBC.fflush(None)
            if not select.select([0], [], [], 0)[0]:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            held += data
            while b"\n" in held:
                line, _, held = held.partition(b"\n")
                order = json.loads(line)
                if order["do"] == "quit":
                    return
                self.obey(order)

    def obey(self, order):
        try:
            getattr(self, "do_" + order.pop("do"))(**order)
        except pj.Error as error:
            tell("error", text=error.info())

    def end(self):
        for call in self.calls:
            call.recorder = call.tones = None
        self.endpoint.hangupAllCalls()
        if self.account.is_registered:
            self.account.setRegistration(False)
        # The answers to BYE and to the last REGISTER, for a second at most.
        for _ in range(100):
            if not self.account.is_registered and not any(c.isActive() for c in self.calls):
                return
            self.endpoint.libHandleEvents(10)

    def operation(self, code=0, headers=None):
        operation = pj.CallOpParam(True)
        operation.statusCode = code
        for name, value in (headers or {}).items():
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            operation.txOption.headers.append(header)
        return operation

    def do_dial(self, uri, headers=None):
        Call(self).makeCall(uri, self.operation(headers=headers))

    def do_answer(self, code=200, call=-1):
        self.calls[call].answer(self.operation(code))

    def do_hang_up(self, call=-1, code=0):
        self.calls[call].hangup(self.operation(code))

    def do_hold(self, call=-1):
        self.calls[call].setHold(self.operation())

    def do_resume(self, call=-1):
        operation = self.operation()
        operation.opt.flag = pj.PJSUA_CALL_UNHOLD
        self.calls[call].reinvite(operation)

    def do_reinvite(self, call=-1):
        self.calls[call].reinvite(self.operation())

    def do_update(self, call=-1):
        self.calls[call].update(self.operation())

    def do_keys(self, keys, method="rfc4733", call=-1):
        if method == "inband":
            self.calls[call].play_keys(keys)
            return
        order = pj.CallSendDtmfParam()
        order.digits, order.method, order.duration = keys, METHODS[method], 120
        self.calls[call].sendDtmf(order)

    def do_request(self, method, content_type="", body="", call=-1):
        order = pj.CallSendRequestParam()
        order.method = method
        order.txOption.contentType, order.txOption.msgBody = content_type, body
        self.calls[call].sendRequest(order)

    def do_transfer(self, to, call=-1):
        self.calls[call].xfer(to, self.operation())

    def do_attended(self, call, to_call):
        self.calls[call].xferReplaces(self.calls[to_call], self.operation())

    def do_register(self, renew=True):
        self.account.setRegistration(renew)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        phone = Phone(json.load(file))
    try:
        phone.run()
    except Exception:
        traceback.print_exc()
    phone.end()
    sys.stderr.flush()
    # The bindings free their objects after the library is gone, and abort: leave without that.
    os._exit(0)


if __name__ == "__main__":
    main()
