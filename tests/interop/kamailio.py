"""Kamailio between a phone and the gateway: registrar and proxy, as a provider or a PBX has it."""

import os

from peers import Failure, Process, is_bound, wait_for

ADDRESS = "127.0.0.7"
PASSWORDS = {"branch": "trunk-secret", "201": "two-o-one", "202": "two-o-two",
             "203": "two-o-three"}

CONFIG = """#!KAMAILIO
debug=1
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
server_header="Server: kamailio"
enable_tls=yes
listen=udp:@ADDRESS@:@PORT@
listen=tcp:@ADDRESS@:@PORT@
listen=tls:@ADDRESS@:@TLSPORT@
listen=udp:[::1]:@PORT@
loadmodule "tls.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "path.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "@CERT@")
modparam("tls", "private_key", "@KEY@")
modparam("tls", "ca_list", "@CA@")
modparam("tls", "verify_certificate", 1)
modparam("rr", "enable_double_rr", 1)
modparam("usrloc", "db_mode", 0)
modparam("registrar", "method_filtering", 1)
modparam("registrar", "path_mode", 0)
modparam("registrar", "use_path", 1)
modparam("path", "use_received", 0)

request_route {
  if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
  if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
  if (has_totag()) {
    if (loose_route()) { t_relay(); exit; }
    if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
    sl_send_reply("404", "No Dialog");
    exit;
  }
  t_check_trans();
  if (is_method("REGISTER") && uri == myself) route(REGISTRAR);
  if (is_method("REGISTER")) { add_path(); t_relay(); exit; }
  # A request of the gateway along the Path that we put into a registration.
  if ($hdr(Route) != $null) {
    loose_route();
    if (is_method("INVITE|SUBSCRIBE")) record_route();
    t_relay();
    exit;
  }
  if (is_method("INVITE|SUBSCRIBE")) record_route();
  if (uri != myself) { t_relay(); exit; }   # such as a phone of the gateway
  if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
  if ($rU =~ "^20[0-9]$") {
    if (!lookup("location")) { sl_send_reply("480", "Not Registered"); exit; }
    t_relay();
    exit;
  }
  # Every other number belongs to the trunk: to where the gateway registered.
  $var(number) = $rU;
  $rU = "branch";
  if (!lookup("location")) { sl_send_reply("480", "Trunk Not Registered"); exit; }
  $rU = $var(number);
  # 9 in front: over TCP; 7: over TLS; 6: over IPv6.
  if ($rU =~ "^9[0-9]+$") { strip(1); $du = "sip:127.0.0.1:@SIP@;transport=tcp"; }
  if ($rU =~ "^7[0-9]+$") { strip(1); $du = "sip:127.0.0.1:@TLS@;transport=tls"; }
  if ($rU =~ "^6[0-9]+$") { strip(1); $du = "sip:[::1]:@SIP@"; }
  t_relay();
  exit;
}

route[REGISTRAR] {
  if (!is_present_hf("Authorization")) { www_challenge("@ADDRESS@", "1"); exit; }
  $var(password) = "";
@PASSWORDS@
  if ($var(password) == "" || !pv_www_authenticate("@ADDRESS@", "$var(password)", "0")) {
    sl_send_reply("403", "Forbidden");
    exit;
  }
  save("location");
  exit;
}
"""


class Kamailio:
    """One Kamailio beside a gateway of the table, on the ports that its trunks lead to."""

    def __init__(self, folder, gateway, address=ADDRESS):
        self.address, self.port = address, gateway.peer["kamailio"]
        folder = os.path.join(folder, f"kamailio-{self.port}")
        os.makedirs(os.path.join(folder, "run"))
        passwords = "\n".join(f'  if ($au == "{user}") $var(password) = "{password}";'
                              for user, password in PASSWORDS.items())
        text = CONFIG
        certificates = gateway.certificates
        for word, value in {
                "ADDRESS": address, "PORT": self.port, "TLSPORT": gateway.peer["kamailio-tls"],
                "PASSWORDS": passwords, "SIP": gateway.sip, "TLS": gateway.peer["tls"],
                "CA": certificates.ca, "CERT": certificates.cert, "KEY": certificates.key}.items():
            text = text.replace(f"@{word}@", str(value))
        path = os.path.join(folder, "kamailio.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        # In the foreground, with its own folder for sockets.
        self.process = Process(["kamailio", "-DD", "-E", "-f", path, "-m", "64", "-M", "8",
                                "-Y", os.path.join(folder, "run"), "-w", folder],
                               folder, "kamailio")
        wait_for("Kamailio to listen", self._is_up, 15)

    def _is_up(self):
        if not self.process.alive():
            raise Failure(f"Kamailio ended at once: {self.process.output()[-600:]}")
        return (is_bound(self.address, self.port)
                and is_bound(self.address, self.port, "tcp"))

    def end(self):
        self.process.end(5.0)
