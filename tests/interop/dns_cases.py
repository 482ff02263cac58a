"""Peers behind names (RFC 3263): dnsmasq as the DNS server, SIPp as the peers."""

import contextlib
import os
import re
import socket
import time

from gateway import Gateway
from peers import Failure, Process, Sipp, free_ports, wait_for
from shared import expect, rule

SERVER = "127.0.0.1"
FIRST, SECOND = "127.0.0.12", "127.0.0.13"
DOMAIN = "peer.example"

TABLES = """
[dns]
servers = ["127.0.0.1:{dns}"]
[[trunk]]
name = "named"
server = "sip:peer.example{suffix}"
options_s = {options_s}
[[route]]
pattern = '.*'
trunks = ["named"]
[[application]]
id = 1
name = "a"
"""


class Dnsmasq:
    """One dnsmasq that knows these records and asks nobody else."""

    def __init__(self, world, records):
        self.port = free_ports(1)[0]
        self.folder = os.path.join(world.folder, f"dnsmasq-{self.port}")
        os.makedirs(self.folder)
        self.log = os.path.join(self.folder, "queries.log")
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
                   "--no-hosts", "--bind-interfaces", "--user=", "--group=", "--pid-file=",
                   f"--listen-address={SERVER}", f"--port={self.port}", "--local=/example/",
                   "--local-ttl=30", "--log-queries", f"--log-facility={self.log}", *records]
        self.process = Process(command, self.folder, "dnsmasq")
        wait_for("dnsmasq to answer", self._answers)

    def _answers(self):
        if not self.process.alive():
            raise Failure(f"dnsmasq ended: {self.process.output()[-300:]}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.2)
            query = b"\1\1\1\0\0\1\0\0\0\0\0\0\4nine\7example\0\0\1\0\1"
            try:
                udp.connect((SERVER, self.port))
                udp.send(query)
                return udp.recv(512)
            except OSError:
                return None

    def queries(self):
        """Questions so far, `SRV _sip._udp.peer.example`."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            found = re.findall(r"query\[(\S+)\] (\S+) from", file.read())
        return [f"{kind} {name.lower()}" for kind, name in found]


def srv(service, priority, weight, port, target):
    return f"--srv-host={service}.{DOMAIN},{target}.{DOMAIN},{port},{priority},{weight}"


def host(name, address):
    return f"--host-record={name}.{DOMAIN},{address}"


@contextlib.contextmanager
def named_gateway(world, records, suffix="", options_s=0, ipv6=False):
    """A gateway whose one trunk is `peer.example`, with its DNS server."""
    dns = Dnsmasq(world, records)
    tables = (TABLES.replace("{dns}", str(dns.port)).replace("{suffix}", suffix)
              .replace("{options_s}", str(options_s)))
    tables += rule(21, "interop/dial.js") + rule(20, "interop/inbound.js", "80\\d")

    def listen_on_ipv6(gateway):
        with open(gateway.config_path, encoding="utf-8") as file:
            text = file.read()
        text = text.replace('listen = ["udp://', f'listen = ["udp://[::1]:{gateway.sip}", "udp://')
        with open(gateway.config_path, "w", encoding="utf-8") as file:
            file.write(text)

    gateway = Gateway(world.binary, world.folder, tables, name="named",
                      before=listen_on_ipv6 if ipv6 else None)
    gateway.dns = dns
    try:
        yield gateway
        gateway.stop()
    finally:
        gateway.process.end(1.0)
        dns.process.end(1.0)


def call_through(gateway, peer, number="2001", seconds=15.0):
    """A call that the peer answers; how long it took to be answered."""
    started = time.monotonic()
    session = gateway.start(21, {"number": number})
    session.until_seen("Connected", seconds)
    took = time.monotonic() - started
    session.tell(command="hangup")
    session.until_seen("Disconnected")
    session.tell(command="end")
    peer.done()
    if not peer.received(f"INVITE sip:{number}@{DOMAIN}"):
        raise Failure("the INVITE does not name the domain")
    return took


def two_servers(ports):
    return [srv("_sip._udp", 10, 0, ports[0], "first"), srv("_sip._udp", 20, 0, ports[1], "second"),
            host("first", FIRST), host("second", SECOND)]


def dead_server(world):
    """SRV: nobody listens at the first server (ICMP), the second takes the call at once."""
    ports = free_ports(2, SECOND)
    with named_gateway(world, two_servers(ports)) as gateway:
        peer = Sipp(world.folder, "uas_answer", SECOND, ports[1])
        took = call_through(gateway, peer)
        if took > 3:
            raise Failure(f"the second server was called after {took:.1f} s")
        expect("targets changed", gateway.metrics()["sip_targets_changed_total"], 1)


def silent_server(world):
    """SRV: the first server says nothing, the second takes the call after five seconds, and the
    next one at once."""
    ports = free_ports(2, SECOND)
    with named_gateway(world, two_servers(ports)) as gateway, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((FIRST, ports[0]))
        peer = Sipp(world.folder, "uas_answer", SECOND, ports[1], calls=2)
        session = gateway.start(21, {"number": "2001"})
        started = time.monotonic()
        session.until_seen("Connected", 10.0)
        took = time.monotonic() - started
        if not 4.5 < took < 7:
            raise Failure(f"the second server was called after {took:.1f} s")
        started = time.monotonic()
        second = gateway.start(21, {"number": "2002"})
        second.until_seen("Connected", 10.0)
        if time.monotonic() - started > 3:
            raise Failure("the second call waited for the dead server too")
        for one in (session, second):
            one.tell(command="hangup")
            one.until_seen("Disconnected")
            one.tell(command="end")
        peer.done()
        questions = gateway.dns.queries()
        expect("questions are asked once", len(questions), len(set(questions)))


def naptr_says_tcp(world):
    """NAPTR prefers TCP: no word over UDP, though that is offered too."""
    port = free_ports(1, FIRST)[0]
    records = [f"--naptr-record={DOMAIN},10,50,s,SIP+D2T,,_sip._tcp.{DOMAIN}",
               f"--naptr-record={DOMAIN},20,50,s,SIP+D2U,,_sip._udp.{DOMAIN}",
               srv("_sip._tcp", 0, 0, port, "first"), srv("_sip._udp", 0, 0, port, "first"),
               host("first", FIRST)]
    with named_gateway(world, records) as gateway:
        peer = Sipp(world.folder, "uas_answer", FIRST, port, transport="t1")
        call_through(gateway, peer)
        via = re.search(r"(?m)^Via: (\S+)", peer.received("INVITE")[0]).group(1)
        expect("Via", via, "SIP/2.0/TCP")


def ipv6_host(world):
    """AAAA: a host that has an IPv6 address only."""
    port = free_ports(1)[0]
    with named_gateway(world, [f"--host-record={DOMAIN},::1"], f":{port}", ipv6=True) as gateway:
        peer = Sipp(world.folder, "uas_refuse", "::1", port,
                    words={"CODE": 486, "REASON": "Busy Here"})
        session = gateway.start(21, {"number": "2001"})
        expect("code", session.until_seen("Failed")["code"], 486)
        session.tell(command="end")
        peer.done()
        expect("questions", sorted(set(gateway.dns.queries()) - {"A nine.example"}),
               [f"A {DOMAIN}", f"AAAA {DOMAIN}"])


def addresses_are_the_trunks(world):
    """Without accept_from the trunk's calls come from any address of its services."""
    ports = free_ports(2, SECOND)
    with named_gateway(world, two_servers(ports)) as gateway:
        wait_for("the addresses", lambda: f"A second.{DOMAIN}" in gateway.dns.queries())
        for address in (FIRST, SECOND):
            own = free_ports(1, address)[0]
            Sipp(world.folder, "uac_call", address, own, remote=f"127.0.0.1:{gateway.sip}",
                 number="800").done()
        own = free_ports(1, "127.0.0.14")[0]
        Sipp(world.folder, "uac_refused", "127.0.0.14", own, remote=f"127.0.0.1:{gateway.sip}",
             number="800", words={"CODE": 403}).done()


def health_finds_the_living(world):
    """OPTIONS find the server that lives: the trunk is up."""
    ports = free_ports(2, SECOND)
    with named_gateway(world, two_servers(ports), options_s=5) as gateway, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as living:
        living.bind((SECOND, ports[1]))
        living.settimeout(15)
        text, source = living.recvfrom(4096)
        head = text.decode()
        fields = re.findall(r"(?m)^(?:Via|From|Call-ID|CSeq): .*$", head)
        to = re.search(r"(?m)^To: .*$", head).group(0).rstrip()
        answer = "\r\n".join(["SIP/2.0 200 OK", *(field.rstrip() for field in fields),
                              f"{to};tag=1", "Content-Length: 0", "", ""])
        living.sendto(answer.encode(), source)
        wait_for("the trunk to be up", lambda: '"up"' in gateway.get("/health")[1].lower())


def unknown_name(world):
    """A name that is not there fails the call with 503 at once."""
    with named_gateway(world, []) as gateway:
        session = gateway.start(21, {"number": "2001"})
        expect("code", session.until_seen("Failed", 3.0)["code"], 503)
        session.tell(command="end")


def silent_dns(world):
    """A DNS server that dies leaves what was known; one that was never there fails the call."""
    port = free_ports(1, FIRST)[0]
    with named_gateway(world, [f"--host-record={DOMAIN},{FIRST}"], f":{port}") as gateway:
        wait_for("the address", lambda: f"A {DOMAIN}" in gateway.dns.queries())
        gateway.dns.process.end(1.0)
        time.sleep(0.1)
        call_through(gateway, Sipp(world.folder, "uas_answer", FIRST, port))
        started = time.monotonic()
        session = gateway.start(21, {"uri": "sip:1@other.example"})
        expect("code", session.until_seen("Failed", 12.0)["code"], 503)
        if time.monotonic() - started > 10:
            raise Failure("it took too long to give up")
        session.tell(command="end")
        if gateway.metrics()["dns_failed_total"] < 1:
            raise Failure("dns_failed_total counts nothing")


TOOLS = ("sipp", "dnsmasq")
CASES = [
    ("SRV: the second server for a dead one", TOOLS, dead_server),
    ("SRV: the second server for a silent one", TOOLS, silent_server),
    ("NAPTR chooses TCP", TOOLS, naptr_says_tcp),
    ("AAAA: a call over IPv6", TOOLS, ipv6_host),
    ("a trunk's calls come from any of its addresses", TOOLS, addresses_are_the_trunks),
    ("OPTIONS find a trunk's living server", TOOLS, health_finds_the_living),
    ("an unknown name fails the call", TOOLS, unknown_name),
    ("a DNS server that dies", TOOLS, silent_dns),
]
