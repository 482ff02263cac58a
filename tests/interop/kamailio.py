"""Kamailio between a phone and the gateway: registrar and proxy, as a provider or a PBX has it."""

import os

from peers import Failure, Process, free_ports, is_bound, wait_for

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
@LISTEN@
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
@MODULES@
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
  if (is_method("REGISTER") && $rd == "@ADDRESS@") route(REGISTRAR);
  if (is_method("REGISTER")) { add_path(); t_relay(); exit; }
  # A request of the gateway along the Path that we put into a registration.
  if ($hdr(Route) != $null) {
    loose_route();
    if (is_method("INVITE|SUBSCRIBE")) record_route();
    t_relay();
    exit;
  }
  if (is_method("INVITE|SUBSCRIBE")) record_route();
  if ($rd != "@ADDRESS@") { t_relay(); exit; }   # its own domain: the gateway
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
  if ($rU =~ "^9[0-9]+$") {                      # 9 in front: over TCP
    strip(1);
    $du = "sip:@GATEWAY@;transport=tcp";
  }
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
    """One Kamailio; `port` is its port for UDP and TCP."""

    def __init__(self, folder, gateway, port, address=ADDRESS, modules="", listen=""):
        self.address, self.port = address, port
        folder = os.path.join(folder, f"kamailio-{port}")
        os.makedirs(os.path.join(folder, "run"))
        passwords = "\n".join(f'  if ($au == "{user}") $var(password) = "{password}";'
                              for user, password in PASSWORDS.items())
        text = CONFIG
        for word, value in (
                ("LISTEN", f"listen=udp:{address}:{port}\nlisten=tcp:{address}:{port}\n{listen}"),
                ("MODULES", modules), ("ADDRESS", address), ("PASSWORDS", passwords),
                ("GATEWAY", f"127.0.0.1:{gateway.sip}")):
            text = text.replace(f"@{word}@", value)
        path = os.path.join(folder, "kamailio.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        # In the foreground, with its own folder for sockets.
        self.process = Process(["kamailio", "-DD", "-E", "-f", path, "-m", "32", "-M", "8",
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


def port():
    return free_ports(1, ADDRESS)[0]
