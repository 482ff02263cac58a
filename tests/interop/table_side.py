"""What the columns with phones have in common."""

import time

from peers import free_ports, wait_for
from shared import PASSWORD, USERS
from table_gateway import TableGateway


FIRST_HZ, SECOND_HZ, THIRD_HZ = 440, 620, 1300  # microphones of the phones; prompts have others
SETTLE_S = 0.6  # a silence of this length is a silence


class Side:
    """Phones that register at the gateway as its users."""

    names = ("alice", "bob", "carol")

    def __init__(self, world, column, phone_of, **more):
        self.world, self.phone_of = world, phone_of
        self.gateway = TableGateway(world, column, **more)

    def end(self):
        self.gateway.stop()

    def drop(self):
        """Its end after a failure, which is not to hide that."""
        self.gateway.process.end(1.0)

    def name(self, number, way=""):
        """Whose phone it is: `secret` is the user whose calls must be encrypted."""
        return "secret" if way == "srtp" else self.names[number]

    def reach(self, way):
        """How phones come to the gateway: their address, its host and port, the phone's options."""
        if way == "tls":
            return "127.0.0.1", f"127.0.0.1:{self.gateway.peer['tls']}", {"transport": "tls"}
        if way == "ipv6":
            return "::1", f"[::1]:{self.gateway.sip}", {}
        options = self.phone_of.ENCRYPTED if way == "srtp" else {}
        return USERS, f"{USERS}:{self.gateway.sip}", options

    def phone(self, name, hz=0, password=PASSWORD, way="", **more):
        """A phone that registers at once; it may be refused."""
        address, registrar, options = self.reach(way)
        return self.phone_of(self.world.folder, name, free_ports(1, address)[0],
                             registrar=registrar, user=name, password=password, address=address,
                             microphone_hz=hz, certificates=self.gateway.certificates, **options,
                             **more)

    def registered(self, name, hz=0, **more):
        phone = self.phone(name, hz, **more)
        try:
            phone.registered()
        except Exception:
            phone.end()
            raise
        return phone

    def hears_tone(self, phone, hz, seconds=0.8):
        """From now on the phone hears this tone for so long."""
        before = phone.heard().tone_seconds(hz)
        wait_for(f"{phone.uri} to hear {hz} Hz for {seconds} s",
                 lambda: phone.heard().tone_seconds(hz) >= before + seconds, pause=0.1)

    def hears_nothing(self, phone, hz):
        """Once what was under way has arrived, this tone is not heard for a while."""
        def silent():
            before = phone.heard().tone_seconds(hz)
            time.sleep(SETTLE_S)
            return phone.heard().tone_seconds(hz) == before
        wait_for(f"{hz} Hz to end at {phone.uri}", silent)

    def through(self, name):
        """What a phone dials to reach another phone through the gateway."""
        return self.uri(name)

    def transferred(self, name):
        """What the gateway sees as the number of `through`."""
        return name

    def inband(self, _keys):
        """What a phone needs that presses keys as tones."""
        return {}

    def desk(self, trunk, number, hz=0, **more):
        """A phone that registers nowhere: the gateway calls it as a trunk."""
        return self.phone_of(self.world.folder, trunk, self.gateway.peer[trunk], user=number,
                             address=USERS, microphone_hz=hz, **more)

    def uri(self, number, way=""):
        """What a phone dials to reach this number of the gateway."""
        _, host, _ = self.reach(way)
        suffix = ";transport=tls" if way == "tls" else ""
        return f"sip:{number}@{host}{suffix}"

    def order(self, name, way=""):
        """What the scenario dials to reach this phone."""
        return {"user": name}
