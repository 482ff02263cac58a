//! The parser against all messages of RFC 4475 and RFC 5118 (named as there), and some more of our
//! own (`x-`). The messages are those of the RFCs, but that `mpart01` has a body of our own in the
//! place of its signature, and that the descriptions of RFC 5118 have the length they have, where
//! the RFC counts wrong.
//!
//! Each message is shown to the parser, and to a user agent as a datagram from its trunk.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use branchline::random::Random;
use branchline::sdp::description::{Address, Description};
use branchline::sip::digest;
use branchline::sip::fields::Contacts;
use branchline::sip::header::Name;
use branchline::sip::lexical::Malformed;
use branchline::sip::message::{Message, Method, Start};
use branchline::sip::parse::ParseErrorKind::{self, *};
use branchline::sip::uri::Scheme;
use branchline::sip::user_agent::{
    Account, Caps, Config, Input, Limits, Listener, Nat, Network, Output, Policy, Prack,
    SessionTimer, Strangers, Transport, Trunk, UserAgent,
};

/// What becomes of a message.
enum Verdict {
    /// Read; the status of the user agent's first response.
    Read(u16),
    /// Read, and nothing is answered: a response.
    Taken,
    /// A request with an error that is answered with this status.
    Answered(u16, ParseErrorKind),
    /// Nothing is answered: a response, an ACK, or too little is left to answer.
    Dropped(ParseErrorKind),
}
use Verdict::{Answered, Dropped, Read, Taken};

/// Every message with its verdict and the reason.
fn verdicts() -> Vec<(&'static str, Verdict, &'static str)> {
    vec![
        // RFC 4475 §3.1.1: valid messages.
        ("wsinv", Read(481), "legal, all of it; the To tag is of no dialog"),
        ("intmeth", Read(501), "legal, all of it; the method is unknown"),
        ("esc01", Read(100), "escapes are resolved in the parts of a URI, once"),
        ("escnull", Read(401), "an escaped NUL is a character like others"),
        ("esc02", Read(501), "a percent sign in a method or field name is itself"),
        ("lwsdisp", Read(200), "no blank is needed before the bracket"),
        ("longreq", Read(100), "long values are below our limits"),
        ("dblreq", Read(401), "what follows Content-Length in a datagram is dropped"),
        ("semiuri", Read(200), "a semicolon before the @ is the user's"),
        ("transports", Read(200), "any token is a transport"),
        ("mpart01", Read(405), "a body may hold any byte; MESSAGE is for dialogs"),
        ("unreason", Taken, "a reason phrase is any text"),
        ("noreason", Taken, "a reason phrase may be empty"),
        // §3.1.2: invalid messages.
        ("badinv01", Answered(400, malformed(Name::Via, "protocol is not SIP/2.0")), "empty Via"),
        ("clerr", Answered(400, BodyTooShort), "the datagram was cut off on its way"),
        ("ncl", Answered(400, malformed(Name::ContentLength, "not a number")), "it is negative"),
        ("scalar02", Answered(400, CSEQ_TOO_LARGE), "the others saturate"),
        ("scalarlg", Dropped(CSEQ_TOO_LARGE), "no request of ours has this number"),
        ("quotbal", Answered(400, malformed(Name::To, "quote not closed")), "no guess at its end"),
        ("ltgtruri", Answered(400, RequestUri(BLANK_OR_BRACKET)), "brackets are for header fields"),
        ("lwsruri", Answered(400, StartLine), "a blank ends a URI"),
        ("lwsstart", Answered(400, StartLine), "one blank parts the elements"),
        ("trws", Read(200), "blanks behind the version do no harm"),
        ("escruri", Answered(400, RequestUri(HEADERS)), "they could become header fields"),
        ("baddate", Read(100), "nobody here reads Date"),
        ("regbadct", Read(401), "the registrar refuses the Contact, once it knows who asks"),
        ("badaspec", Read(200), "blanks inside the brackets do no harm"),
        ("baddn", Read(200), "a comma in a display name of From or To has one meaning only"),
        ("badvers", Answered(505, Version), "we speak SIP/2.0"),
        ("mismatch01", Answered(400, MethodMismatch), "which is meant?"),
        ("mismatch02", Answered(400, MethodMismatch), "501 would do as well"),
        ("bigcode", Dropped(StatusCode), "a status has three digits"),
        // §3.2: transaction layer.
        ("badbranch", Read(200), "told from others as RFC 2543 says, not by its branch"),
        // §3.3: application layer.
        ("insuf", Dropped(Missing(Name::From)), "no From, To and Call-ID to answer with"),
        ("unkscm", Answered(416, UriScheme), "nobody knows the scheme"),
        ("novelsc", Answered(416, UriScheme), "a scheme that SIP does not route"),
        ("unksm2", Read(401), "any URI may stand in From, To and Contact"),
        ("bext01", Read(420), "nobody here supports what it requires"),
        ("invut", Read(415), "only SDP is understood"),
        ("regaut01", Read(401), "credentials of an unknown scheme are as good as none"),
        ("multi01", Answered(400, Repeated(Name::CSeq)), "which is meant?"),
        ("mcl01", Answered(400, Repeated(Name::ContentLength)), "where does it end?"),
        ("bcast", Taken, "nobody asked; two Via values are not for us"),
        ("zeromf", Read(200), "who is asked may answer; only a proxy may not go on"),
        ("cparam01", Read(401), "without brackets the parameter is the header's"),
        ("cparam02", Read(401), "inside brackets the parameter is the URI's"),
        ("regescrt", Read(401), "headers in a contact are kept with it"),
        ("sdp01", Read(406), "the answer would be SDP, which Accept does not take"),
        // §3.4.
        ("inv2543", Read(400), "no branch, tag or length in RFC 2543; a dialog needs the Contact"),
        // RFC 5118 §4.
        ("ipv6-good", Read(401), "addresses in brackets"),
        ("ipv6-bad", Answered(400, RequestUri(PORT)), "a URI needs the brackets"),
        ("port-ambiguous", Read(401), "inside the brackets all is the address"),
        ("port-unambiguous", Read(401), "the port stands behind the brackets"),
        ("via-received-param-with-delim", Read(481), "implementations write the brackets"),
        ("via-received-param-no-delim", Read(200), "the grammar has none"),
        ("ipv6-in-sdp", Read(100), "an offer like others"),
        ("mult-ip-in-header", Read(481), "each Via is of its own kind"),
        ("mult-ip-in-sdp", Read(100), "each section has its own address"),
        ("ipv4-mapped-ipv6", Read(100), "IPv4 in IPv6 is an address"),
        ("ipv6-bug-abnf-3-colons", Read(200), "the grammar of RFC 3261 writes it so"),
        ("ipv6-correct-abnf-2-colons", Read(200), "as RFC 4291 writes it"),
        // Our own.
        ("x-ipv6-via-bare", Dropped(malformed(Name::Via, PORT.0)), "no host is left to answer"),
        ("x-line-feeds", Read(200), "a bare LF ends a line too"),
        ("x-credentials", Read(401), "the nonce is nobody's"),
        ("x-no-utf8", Read(200), "what is no text becomes U+FFFD"),
        ("x-lower-method", Read(501), "methods have a case: this one is unknown"),
        ("x-nul", Answered(400, FieldLine), "a name is a token"),
        ("x-field-without-name", Answered(400, FieldLine), "a name is a token"),
        ("x-field-without-colon", Answered(400, FieldLine), "is it a name or a value?"),
        ("x-folded-start", Dropped(FieldLine), "the To is lost in the start line"),
        ("x-cseq-words", Dropped(malformed(Name::CSeq, "number and method expected")), "no CSeq"),
        (
            "x-cseq-hex",
            Dropped(malformed(Name::CSeq, "sequence number is not a number")),
            "no CSeq",
        ),
        (
            "x-length-words",
            Answered(400, malformed(Name::ContentLength, "not a number")),
            "where does it end?",
        ),
        ("x-port-overlarge", Dropped(malformed(Name::Via, PORT.0)), "no place to answer to"),
        (
            "x-empty-host",
            Dropped(malformed(Name::Via, "host is not a name or address")),
            "no place to answer to",
        ),
        ("x-many-fields", Answered(513, TooManyFields), "a limit"),
        ("x-many-vias", Answered(513, TooManyVias), "a limit"),
        ("x-long-field", Answered(513, FieldTooLong), "a limit"),
        ("x-long-start", Answered(414, StartLineTooLong), "a limit"),
        (
            "x-ack-broken",
            Dropped(malformed(Name::MaxForwards, "not a number")),
            "an ACK has no answer",
        ),
        ("x-http", Dropped(RequestUri(Malformed("URI has no scheme"))), "no SIP"),
        ("x-status-of-99", Dropped(StatusCode), "statuses begin at 100"),
        ("x-keep-alive", Dropped(Empty), "RFC 5626 §4.4.1, and what phones send to keep NAT open"),
        ("x-stun", Dropped(Unfinished), "a STUN request is no text"),
        ("x-binary", Dropped(StartLine), "no text at all"),
        ("x-unfinished", Dropped(Unfinished), "cut off inside a field"),
    ]
}

fn malformed(name: Name, what: &'static str) -> ParseErrorKind {
    ParseErrorKind::Malformed(name, Malformed(what))
}

const CSEQ_TOO_LARGE: ParseErrorKind =
    ParseErrorKind::Malformed(Name::CSeq, Malformed("sequence number exceeds 32 bits"));
const BLANK_OR_BRACKET: Malformed = Malformed("URI holds a blank, quote or bracket");
const HEADERS: Malformed = Malformed("headers are not allowed");
const PORT: Malformed = Malformed("port is not a number up to 65535");

/// All message files by name.
fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torture");
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder of the messages is there") {
        let path = entry.expect("the folder can be listed").path();
        if path.extension().is_some_and(|extension| extension == "sip") {
            let name = path.file_stem().expect("a name before .sip").to_string_lossy();
            files.insert(name.into_owned(), fs::read(&path).expect("the file can be read"));
        }
    }
    files
}

fn read(name: &str) -> Message {
    Message::parse(&files()[name]).expect(name)
}

#[test]
fn every_message_has_its_verdict() {
    let mut files = files();
    for (name, verdict, why) in verdicts() {
        let data = files.remove(name).expect(name);
        match (verdict, Message::parse(&data)) {
            (Read(_) | Taken, Ok(_)) => {}
            (Answered(status, kind), Err(error)) => {
                assert_eq!((error.status(), &error.kind), (status, &kind), "{name}: {why}");
                let request = error.answerable.expect(name);
                let response = Message::response_to(&request, status, "").to_bytes();
                assert!(Message::parse(&response).is_ok(), "{name}: the answer is a message");
            }
            (Dropped(kind), Err(error)) => {
                assert_eq!(error.kind, kind, "{name}: {why}");
                assert_eq!(error.answerable, None, "{name}: {why}");
            }
            (Read(_) | Taken, Err(error)) => panic!("{name}: {error}, but {why}"),
            (_, Ok(_)) => panic!("{name} is read, but {why}"),
        }
    }
    assert!(files.is_empty(), "without a verdict: {:?}", files.keys());
}

#[test]
fn user_agent_answers_each_message_once() {
    for (name, verdict, why) in verdicts() {
        let expected = match verdict {
            Read(status) | Answered(status, _) => vec![status],
            Taken | Dropped(_) => vec![],
        };
        assert_eq!(responses(&files()[name]), expected, "{name}: {why}");
    }
}

/// The statuses that a user agent answers to a datagram from its trunk.
fn responses(data: &[u8]) -> Vec<u16> {
    let now = Instant::now();
    let trunk: SocketAddr = "198.51.100.1:5060".parse().expect("an address");
    let own: SocketAddr = "198.51.100.2:5060".parse().expect("an address");
    let config = Config {
        listeners: vec![Listener { transport: Transport::Udp, address: own, advertised: own }],
        public_address: String::new(),
        domain: "example.com".to_owned(),
        digest: vec![digest::Algorithm::Md5],
        strangers: Strangers::default(),
        trunks: vec![Trunk {
            name: "pbx".to_owned(),
            server: "sip:198.51.100.1".parse().expect("a URI"),
            register: false,
            username: String::new(),
            password: String::new(),
            accept_from: vec![Network { address: trunk.ip(), prefix: 32 }],
            options: None,
            account: Account::default(),
            identity: Policy::default(),
            caps: Caps::default(),
            is_mutual: false,
            prack: Prack::default(),
        }],
        users: Vec::new(),
        nat: Nat::default(),
        ws_origins: Vec::new(),
        session_timer: SessionTimer::default(),
        product: "branchline".to_owned(),
        limits: Limits {
            calls: 10,
            transactions: 10,
            streams: 10,
            contacts_per_user: 1,
            message_bytes: 65535,
        },
    };
    let mut user_agent = UserAgent::new(now, config, Random::seeded(1));
    user_agent.handle_input(now, Input::Datagram { listener: 0, from: trunk, data });
    let mut statuses = Vec::new();
    while let Some(output) = user_agent.poll_output() {
        if let Output::Datagram { data, .. } = output {
            let message = Message::parse(&data).expect("what we send is good");
            statuses.push(message.status().expect("a response"));
        }
    }
    statuses
}

#[test]
fn what_is_read_and_written_is_read_as_the_same() {
    for (name, data) in files() {
        if let Ok(message) = Message::parse(&data) {
            assert_eq!(Message::parse(&message.to_bytes()), Ok(message), "{name}");
        }
    }
}

/// A datagram can be cut off or damaged anywhere.
#[test]
fn damage_does_no_harm() {
    let mut bytes = b"\0\r\n \t\":;,<>@%=\\[\xff".iter().cycle();
    for (name, data) in files() {
        // Every place of a short message, some of a long one.
        for at in (0..data.len()).step_by(data.len() / 200 + 1) {
            let _any_verdict = Message::parse(&data[..at]);
            for _ in 0..3 {
                let mut damaged = data.clone();
                damaged[at] = *bytes.next().expect("a cycle has no end");
                if let Ok(message) = Message::parse(&damaged) {
                    read_fields(&message);
                    let again = Message::parse(&message.to_bytes());
                    assert!(again == Ok(message), "{name}: {} at {at}", damaged[at]);
                }
            }
        }
    }
}

/// What is read only when somebody asks. Any verdict will do.
fn read_fields(message: &Message) {
    let headers = &message.headers;
    let _ = (headers.contacts(), headers.content_type(), headers.retry_after());
    let _ = headers.name_addrs(&Name::Route);
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        let _ = digest::credentials(headers, &name, "example.com");
    }
    let _ = digest::challenges(headers, &Name::Authorization);
    if let Ok(Contacts::List(contacts)) = headers.contacts() {
        for contact in contacts {
            let _ = (contact.expires(), contact.preference());
            let written = contact.to_string();
            assert_eq!(written.parse(), Ok(contact), "{written}");
        }
    }
}

#[test]
fn wsinv_is_understood() {
    let message = read("wsinv");
    assert_eq!(message.to.uri.to_string(), "sip:vivekg@chair-dnrc.example.com");
    assert_eq!(message.to.tag(), Some("1918181833n"));
    assert_eq!(message.from.display_name, "J Rosenberg \\\"");
    assert_eq!(message.from.tag(), Some("98asjd8"));
    assert_eq!(message.headers.max_forwards(), Some(68));
    assert_eq!((message.cseq.number, &message.cseq.method), (9, &Method::Invite));
    let sent_by: Vec<_> = message.via.iter().map(|via| via.to_string()).collect();
    assert_eq!(
        sent_by,
        [
            "SIP/2.0/UDP 192.0.2.2;rport;branch=390skdjuw",
            "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
            "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
        ]
    );
    assert_eq!(message.header(&Name::Subject), Some(""));
    let fangled = message.header(&Name::from("newfangledheader"));
    assert_eq!(fangled, Some("newfangled value continued newfangled value"));
    let Ok(Contacts::List(contacts)) = message.headers.contacts() else { panic!("a contact") };
    assert_eq!(contacts[0].display_name, "Quoted string \"\"");
    assert_eq!(contacts[0].parameter("newparam"), Some("newvalue"));
    assert_eq!(contacts[0].parameter("secondparam"), Some(""));
    assert_eq!(contacts[0].preference(), 330);
    assert!(message.body.starts_with(b"v=0\r\n"));
}

#[test]
fn intmeth_is_understood() {
    let message = read("intmeth");
    let method = Method::Other("!interesting-Method0123456789_*+`.%indeed'~".to_owned());
    assert_eq!(message.method(), &method);
    assert_eq!(message.from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(message.from.parameter("fromparam''~+*_!.-%"), Some("работающий"));
    assert_eq!(message.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
}

#[test]
fn escapes_are_resolved_once() {
    let message = read("esc01");
    let uri = message.request_uri().expect("a request");
    assert_eq!(uri.user.as_deref(), Some("sips:user@example.com"));
    assert_eq!(message.to.uri.user.as_deref(), Some("user"));
    assert_eq!(message.from.uri.user.as_deref(), Some("I have spaces"));
    let Ok(Contacts::List(contacts)) = message.headers.contacts() else { panic!("a contact") };
    assert_eq!(contacts[0].uri.parameter("lr"), Some(""));
    assert_eq!(contacts[0].uri.parameter("name"), Some("value%41"));

    let null = read("escnull");
    assert_eq!(null.to.uri.user.as_deref(), Some("null-\0-null"));

    let other = read("esc02");
    assert_eq!(other.method(), &Method::Other("RE%47IST%45R".to_owned()));
    assert_eq!(other.to.display_name, "%Z%45");
    let Ok(Contacts::List(contacts)) = other.headers.contacts() else { panic!("contacts") };
    assert_eq!(contacts.len(), 2);
}

#[test]
fn users_and_parameters_are_told_apart() {
    let message = read("semiuri");
    let uri = message.request_uri().expect("a request");
    assert_eq!(uri.user.as_deref(), Some("user;par=u@example.net"));
    for (name, uri_parameter, header_parameter) in
        [("cparam01", None, Some("")), ("cparam02", Some(""), None)]
    {
        let Ok(Contacts::List(contacts)) = read(name).headers.contacts() else { panic!("{name}") };
        assert_eq!(contacts[0].uri.parameter("unknownparam"), uri_parameter, "{name}");
        assert_eq!(contacts[0].parameter("unknownparam"), header_parameter, "{name}");
    }
    assert!(read("regbadct").headers.contacts().is_err());
    assert_eq!(read("unksm2").to.uri.scheme, Scheme::Other);
}

#[test]
fn bodies_end_where_they_should() {
    assert!(read("dblreq").body.is_empty());
    assert!(read("mpart01").body.ends_with(b"\0\r\n--7a9cbec02ceef655--"));
    assert!(read("inv2543").body.ends_with(b"m=audio 49217 RTP/AVP 0\r\n"));
}

#[test]
fn reason_phrases_are_any_text() {
    let Start::Response { status, reason } = read("unreason").start else { panic!("a response") };
    assert_eq!(status, 200);
    assert_eq!(reason, "= 2**3 * 5**2 но сто девяносто девять - простое");
    let Start::Response { reason, .. } = read("noreason").start else { panic!("a response") };
    assert_eq!(reason, "");
}

#[test]
fn branches_without_identity_are_seen() {
    for name in ["badbranch", "inv2543"] {
        assert!(!read(name).via[0].has_magic_cookie(), "{name}");
    }
    assert!(read("zeromf").via[0].has_magic_cookie());
}

#[test]
fn ipv6_addresses_are_understood() {
    let host_and_port = |name| {
        let uri = read(name).request_uri().expect("a request").clone();
        (uri.host, uri.port)
    };
    for (name, host, port) in [
        ("port-ambiguous", "2001:db8::10:5070", None),
        ("port-unambiguous", "2001:db8::10", Some(5070)),
        ("ipv6-bug-abnf-3-colons", "2001:db8::192.0.2.1", None),
        ("ipv6-correct-abnf-2-colons", "2001:db8::192.0.2.1", None),
    ] {
        assert_eq!(host_and_port(name), (host.to_owned(), port), "{name}");
    }
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let received = read(name).via[0].received();
        assert_eq!(received, "2001:db8::9:255".parse().ok(), "{name}");
    }
    let mixed: Vec<_> = read("mult-ip-in-header").via.iter().map(|via| via.host.clone()).collect();
    assert_eq!(mixed, ["2001:db8::9:1", "192.0.2.1", "2001:db8::9:255"]);
    assert_eq!(read("ipv4-mapped-ipv6").via[0].port, Some(19823));
}

#[test]
fn ipv6_addresses_in_descriptions_are_understood() {
    for (name, addresses) in [
        ("ipv6-in-sdp", ["2001:db8::20", "2001:db8::20"]),
        ("mult-ip-in-sdp", ["192.0.2.1", "2001:db8::1"]),
        ("ipv4-mapped-ipv6", ["::ffff:192.0.2.2", "::ffff:192.0.2.2"]),
    ] {
        let description = Description::parse(&read(name).body).expect(name);
        let found: Vec<_> =
            description.media.iter().map(|media| description.connection_of(media)).collect();
        let wanted = addresses.map(|text| Address::Ip(text.parse().expect("an address")));
        assert_eq!(found, wanted.each_ref().map(Some), "{name}");
    }
}
