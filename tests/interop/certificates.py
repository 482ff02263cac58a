"""An authority and a certificate of it for every loopback address, made anew for each run."""

import os
import subprocess
import tempfile

from peers import Failure

NAMES = ",".join(["DNS:localhost", "IP:::1", *(f"IP:127.0.0.{n}" for n in range(1, 10))])


class Certificates:
    """Paths of PEM files: the authority `ca`, the server's `cert` and `key`."""

    def __init__(self, folder):
        folder = tempfile.mkdtemp(prefix="certificates-", dir=folder)
        self.ca, self.cert, self.key = (os.path.join(folder, f"{name}.pem")
                                        for name in ("ca", "cert", "key"))
        ca_key, request, extensions = (os.path.join(folder, name)
                                       for name in ("ca-key.pem", "request.pem", "extensions"))
        with open(extensions, "w", encoding="ascii") as file:
            file.write(f"subjectAltName={NAMES}\n")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        run("req", "-x509", *new_key, "-keyout", ca_key, "-out", self.ca, "-days", "7",
            "-subj", "/CN=Interop authority")
        run("req", *new_key, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        run("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial",
            "-extfile", extensions, "-out", self.cert, "-days", "7")
        # baresip wants both in one file.
        self.both = os.path.join(folder, "both.pem")
        with open(self.both, "w", encoding="ascii") as both:
            for path in (self.cert, self.key):
                with open(path, encoding="ascii") as file:
                    both.write(file.read())


def run(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"openssl {arguments[0]}: {done.stderr[-300:]}")
