"""SIPp scenarios put together from steps, where the files of sipp/ would all be nearly the same.

A step is a piece of XML. `caller` and `callee` make a scenario of steps; the steps of a caller's
requests count CSeq themselves.
"""

import re

IDENTITY = "[local_ip]:[local_port]"


def sdp(port, direction="sendrecv", codecs="0 101", version=1, keys=""):
    """An SDP whose sound goes to `port`, of an RtpEnd beside SIPp; with `keys` encrypted."""
    profile = "RTP/SAVP" if keys else "RTP/AVP"
    maps = "\n".join(f"a=rtpmap:{line}" for line in
                     ("0 PCMU/8000", "8 PCMA/8000", "101 telephone-event/8000")
                     if line.split()[0] in codecs.split())
    return (f"v=0\no=sipp 53655765 {version} IN IP[local_ip_type] [local_ip]\ns=-\n"
            f"c=IN IP[media_ip_type] [media_ip]\nt=0 0\nm=audio {port} {profile} {codecs}\n"
            f"{maps}\na=fmtp:101 0-15\n{keys}a={direction}\n")


def _message(lines, body, kind, retransmit):
    if body:
        lines = [*lines, f"Content-Type: {kind}", "Content-Length: [len]", "", body]
    else:
        lines = [*lines, "Content-Length: 0", ""]
    text = "\n".join(lines)
    attribute = ' retrans="500"' if retransmit else ""
    return f"<send{attribute}><![CDATA[\n{text}\n]]></send>\n"


def request(method, cseq=1, body="", headers=(), kind="application/sdp", uri=None, dialog=None,
            user="caller", to=None):
    """A request of a caller; in its dialog unless it is the first INVITE or a REGISTER."""
    outside = (method in ("INVITE", "REGISTER", "OPTIONS") and cseq in (1, 2)
               if dialog is None else not dialog)
    first = "sip:[service]@[remote_ip]:[remote_port]"
    uri = uri or (first if outside or method == "CANCEL" else "[next_url]")
    # CANCEL and the ACK of a refusal have the INVITE's branch (RFC 3261 §9.1, §17.1.1.3).
    branch = "[branch]"
    if method == "CANCEL" or outside and method in ("INVITE", "ACK"):
        branch = f"z9hG4bK-[pid]-[call_number]-{cseq}"
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/[transport] {IDENTITY};branch={branch}",
        *([] if outside else ["[routes]"]),
        f"From: <sip:{user}@{IDENTITY}>;tag=[pid]uac[call_number]",
        f"To: <{to or first}>"
        + ("" if method == "CANCEL" or outside and method != "ACK" else "[peer_tag_param]"),
        "Call-ID: [call_id]", f"CSeq: {cseq} {method}", "Max-Forwards: 70",
        f"Contact: <sip:{user}@{IDENTITY};transport=[transport]>", *headers,
    ]
    return _message(lines, body, kind, retransmit=method != "ACK")


def refused_ack(cseq=1):
    return request("ACK", cseq, dialog=False)


def response(code, reason, body="", headers=(), kind="application/sdp", retransmit=None):
    """An answer of a callee to the last request."""
    tag = "" if code == 100 else ";tag=[pid]uas[call_number]"
    lines = [
        f"SIP/2.0 {code} {reason}", "[last_Via:]", "[last_Record-Route:]", "[last_From:]",
        f"[last_To:]{tag}", "[last_Call-ID:]", "[last_CSeq:]",
        f"Contact: <sip:{IDENTITY};transport=[transport]>", *headers,
    ]
    return _message(lines, body, kind, bool(body) if retransmit is None else retransmit)


def later(code, reason, body=""):
    """An answer to an INVITE after other requests came: what belongs to it was kept, with KEPT."""
    text = response(code, reason, body).replace("[last_Via:]", "Via: [$via]")
    return text.replace("[last_CSeq:]", "CSeq: [$cseq]")


KEPT = (("Via", "SIP/2.0.*", "via"), ("CSeq", "[0-9]+ INVITE", "cseq"), ("From", ".*", "from"),
        ("To", ".*", "to"))


def turned(method, cseq=1, headers=(), body="", kind=""):
    """A request of a callee in its dialog, from what KEPT kept of the INVITE."""
    lines = [
        f"{method} [next_url] SIP/2.0",
        f"Via: SIP/2.0/[transport] {IDENTITY};branch=[branch]", "[routes]",
        "From:[$to];tag=[pid]uas[call_number]", "To:[$from]", "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}", "Max-Forwards: 70",
        f"Contact: <sip:{IDENTITY};transport=[transport]>", *headers,
    ]
    return _message(lines, body, kind, retransmit=True)


def within(code, reason, body="", headers=(), kind="application/sdp"):
    """An answer to a request in the dialog: To has its tag already."""
    lines = [f"SIP/2.0 {code} {reason}", "[last_Via:]", "[last_From:]", "[last_To:]",
             "[last_Call-ID:]", "[last_CSeq:]",
             f"Contact: <sip:{IDENTITY};transport=[transport]>", *headers]
    return _message(lines, body, kind, retransmit=False)


def gets(what, optional=False, rrs=False, check=None, auth=False):
    """Waits for a status or a method.

    `check`: (header or "body", regular expression), and the name under which what it found is kept.
    """
    kind = "response" if isinstance(what, int) else "request"
    actions = ""
    for number, (where, pattern, *name) in enumerate(check or ()):
        place = ('search_in="body"' if where == "body" else
                 f'search_in="hdr" header="{where}:"' if where else 'search_in="msg"')
        pattern = pattern.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        actions += (f'<ereg regexp="{pattern}" {place} check_it="true" '
                    f'assign_to="{name[0] if name else f"c{number}"}"/>\n')
    inner = f"<action>\n{actions}</action>\n" if actions else ""
    flags = "".join(f' {name}="true"' for name, value in
                    (("optional", optional), ("rrs", rrs), ("auth", auth)) if value)
    return f'<recv {kind}="{what}"{flags}>\n{inner}</recv>\n'


def pause(milliseconds=None):
    return f'<pause milliseconds="{milliseconds}"/>\n' if milliseconds else "<pause/>\n"


def provisional():
    return gets(100, optional=True) + gets(180, optional=True) + gets(183, optional=True)


def scenario(*steps):
    text = "".join(steps)
    variables = sorted(set(re.findall(r'assign_to="(\w+)"', text)))
    used = f'<Reference variables="{",".join(variables)}"/>\n' if variables else ""
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="table">\n{text}{used}'
            "</scenario>\n")
