//! One broken file per kind of problem, with the whole message that the operator reads.

use std::path::Path;

use super::{Config, Environment, FileText, From, Problem, Srtp};

/// A world with one environment variable and a few files under `/etc/branchline`.
fn parse_in(text: &str, memory_bytes: u64) -> Result<Config, Vec<Problem>> {
    let variable = |name: &str| (name == "SECRET").then(|| "from the environment".to_owned());
    let file = |path: &Path, longest: usize| {
        let path = path.to_str().unwrap().strip_prefix("/etc/branchline/").unwrap();
        let text = match path {
            "secret" => "from a file\n".to_owned(),
            "scenarios/long.js" => "/".repeat(262_145),
            _ if path.ends_with(".js") && !path.contains("missing") => format!("// {path}"),
            _ => return Err("no such file".to_owned()),
        };
        assert!(text.len() <= longest);
        Ok(FileText { text, modified_unix: 1_795_348_800 })
    };
    let environment = Environment { variable: &variable, file: &file, memory_bytes };
    Config::parse(Path::new("/etc/branchline/config.toml"), text, &environment)
}

fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    parse_in(text, 4 << 30)
}

/// Checks all messages of a broken file, without the folder of their file.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let problems = parse(text).expect_err("the file is broken");
    let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let messages: Vec<&str> =
        messages.iter().map(|text| text.strip_prefix("/etc/branchline/").unwrap()).collect();
    assert_eq!(messages, expected);
}

const TRUNK: &str = "[[trunk]]\nname = 'office'\nserver = 'sip:192.0.2.10'\n";
const APPLICATION: &str = "[[application]]\nid = 1\nname = 'a'\n[[application.rule]]\nid = 1\n\
                           name = 'r'\nscenarios = ['a.js']\n";

#[test]
fn sample_shows_the_defaults() {
    let mut sample = parse(include_str!("../../config.toml")).unwrap();
    let default = parse("").unwrap();
    for list in [sample.trunks.len(), sample.routes.len(), sample.applications.len()] {
        assert_ne!(list, 0);
    }
    sample.trunks.clear();
    sample.routes.clear();
    sample.applications.clear();
    assert_eq!(format!("{sample:#?}"), format!("{default:#?}"));
}

#[test]
fn sample_shows_every_key() {
    let sample = include_str!("../../config.toml");
    let without_example = sample.split("# Trunks:").next().unwrap();
    for table in
        ["gateway", "control", "sip", "dns", "media", "scenario", "tts", "storage", "limits"]
    {
        // The message about an unknown key lists the known ones.
        let problems = parse(&format!("[{table}]\nxxxxxxxxxxxxxxxxxxxxxx = 1\n")).unwrap_err();
        let text = problems[0].to_string();
        let known = text.split("known here: ").nth(1).unwrap();
        for key in known.split(", ") {
            assert!(without_example.contains(&format!("\n{key} = ")), "[{table}] {key}");
        }
    }
}

#[test]
fn sample_leads_the_loopback_numbers_back_in() {
    let sample = parse(include_str!("../../config.toml")).unwrap();
    let dial = crate::rules::dial(&sample.routes, "7001").unwrap();
    assert_eq!((dial.number.as_str(), dial.trunks), ("7001", &["self".to_owned()][..]));
    let caller = crate::rules::Caller::Trunk("self");
    let (_, rule) = crate::rules::find_rule(&sample.applications, "7001", caller).unwrap();
    assert_eq!(rule.name, "phone-answer");
    assert_eq!(rule.from, [From::Trunk("self".into())]);
    assert_eq!(rule.scripts[0].name, "phones/answer.js");
    assert_eq!(&*rule.scripts[0].source, "// scenarios/phones/answer.js");
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = parse("[gateway]\ndata_dir = '/var/lib/branchline'").unwrap();
    assert_eq!(config.gateway.data_dir, Path::new("/var/lib/branchline"));
    assert_eq!(config.gateway.scenarios_dir, Path::new("/etc/branchline/scenarios"));
}

#[test]
fn strings_come_from_environment_and_files() {
    let config =
        parse("[control]\napi_key = 'env:SECRET'\n[[user]]\nname = 'a'\npassword = 'file:secret'");
    let config = config.unwrap();
    assert_eq!(config.control.api_key, "from the environment");
    assert_eq!(config.users[0].password, "from a file");
    check(
        "[control]\napi_key = 'env:NOWHERE'\naccount_name = 'file:nowhere'",
        &[
            "config.toml:2: [control] api_key \"env:NOWHERE\": environment variable NOWHERE is not set",
            "config.toml:3: [control] account_name \"file:nowhere\": no such file",
        ],
    );
}

#[test]
fn text_that_is_no_toml_is_told_with_its_line() {
    let problems = parse("[sip]\nlisten = [\n\n[media]\nthreads = 1\n").unwrap_err();
    assert!(problems[0].line.is_some());
    let problems = parse("[gateway]\nname = \"a\nlog = 'info'\n").unwrap_err();
    assert_eq!(problems[0].line, Some(2));
    let problems = parse("[gateway]\nname = 'a'\nname = 'b'\n").unwrap_err();
    assert_eq!(problems[0].to_string(), "/etc/branchline/config.toml:3: duplicate key");
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_lines() {
    check(
        "[media]\nthreads = 99\n\n[gateway]\nredact = 'no'\nnmae = 'x'\n",
        &[
            "config.toml:2: [media] threads 99 is not between 1 and 16",
            "config.toml:5: [gateway] redact is \"no\", not true or false",
            "config.toml:6: [gateway] unknown key \"nmae\"; did you mean \"name\"?",
        ],
    );
}

#[test]
fn dns_servers_are_addresses_with_or_without_port() {
    let config = parse("[dns]\nservers = ['192.0.2.53', '[2001:db8::53]:5353', '2001:db8::54']");
    let servers = config.unwrap().dns.servers;
    let expected = ["192.0.2.53:53", "[2001:db8::53]:5353", "[2001:db8::54]:53"];
    assert_eq!(servers, expected.map(|text| text.parse().unwrap()));
    check(
        "[dns]\nservers = [\n  'ns.example',\n  '192.0.2.53',\n  '192.0.2.53:53',\n]\n\
         timeout_ms = 1\nattempts = 0\n",
        &[
            "config.toml:3: [dns] servers \"ns.example\" is not an address such as 192.0.2.53 or \
             192.0.2.53:5353",
            "config.toml:5: [dns] servers \"192.0.2.53:53\" is twice",
            "config.toml:7: [dns] timeout_ms 1 is not between 100 and 10000",
            "config.toml:8: [dns] attempts 0 is not between 1 and 5",
        ],
    );
}

#[test]
fn unknown_tables_are_told() {
    check(
        "[trnk]\nname = 'x'\n",
        &["config.toml:1: unknown key \"trnk\"; did you mean \"trunk\"?"],
    );
    check(
        "[scenario]\nengine = 'v8'\n",
        &["config.toml:2: [scenario] unknown key \"engine\"; known here: threads, on_error"],
    );
    check(
        "[trunk]\nname = 'x'\n",
        &["config.toml:1: trunk is a table, not a list of tables; write [[trunk]]"],
    );
    check("[[sip]]\nlisten = []\n", &["config.toml:1: sip is a list, not a table; write [sip]"]);
}

#[test]
fn wrong_types_are_told() {
    check(
        "[media]\nthreads = 'two'\nrtp_ports = 5\ncodecs = 'PCMA'\n\
         [control]\naccount_name = 7\ncors_origins = [1]\n[scenario]\non_error = true\n",
        &[
            "config.toml:2: [media] threads is \"two\", not a whole number",
            "config.toml:3: [media] rtp_ports is 5, not a list of two whole numbers",
            "config.toml:4: [media] codecs is \"PCMA\", not a list of strings",
            "config.toml:6: [control] account_name is 7, not a string",
            "config.toml:7: [control] cors_origins is 1, not a string in this list",
            "config.toml:9: [scenario] on_error is true, not a string",
        ],
    );
}

#[test]
fn words_outside_their_list_are_told() {
    check(
        "[scenario]\non_error = 'die'\n[media]\ncodecs = ['iLBC', 'PCMU', 'PCMU']\n\
         [gateway]\nlog = 'info,sip=loud'\n",
        &[
            "config.toml:2: [scenario] on_error \"die\" is not one of log, end",
            "config.toml:4: [media] codecs \"iLBC\" is not one of opus, G722, PCMA, PCMU, L16, \
             L16/8000, L16/16000, L16/48000",
            "config.toml:4: [media] codecs \"PCMU\" is twice",
            "config.toml:6: [gateway] log level \"loud\" is not one of off, error, warn, info, \
             debug, trace",
        ],
    );
}

#[test]
fn ports_and_addresses_are_checked() {
    check(
        "[media]\nrtp_ports = [20000, 20001]\n[control]\nlisten = ['8080']\n\
         [sip]\nlisten = ['ucp://0.0.0.0:5060', '0.0.0.0:5060', 'udp://0.0.0.0:99999']\n\
         public_address = 'a b'\n",
        &[
            "config.toml:2: [media] rtp_ports [20000, 20001] has room for no two calls",
            "config.toml:4: [control] listen \"8080\" is not an address with port, such as \
             127.0.0.1:8080 or [::1]:8080",
            "config.toml:6: [sip] listen transport \"ucp\" is not one of udp, tcp, tls, ws, wss",
            "config.toml:6: [sip] listen \"0.0.0.0:5060\" is not like udp://0.0.0.0:5060 or \
             tcp://[::]:5060",
            "config.toml:6: [sip] listen \"udp://0.0.0.0:99999\" is not like udp://0.0.0.0:5060 \
             or tcp://[::]:5060",
            "config.toml:7: [sip] public_address \"a b\" is not an address or host name",
        ],
    );
    check(
        "[media]\nrtp_ports = [80, 70000]\n[sip]\nlisten = []\n",
        &[
            "config.toml:2: [media] rtp_ports 80 is not between 1024 and 65535",
            "config.toml:2: [media] rtp_ports 70000 is not between 1024 and 65535",
            "config.toml:4: [sip] listen is empty; give at least one, such as udp://0.0.0.0:5060",
        ],
    );
    check(
        "[control]\nlisten = ['[::1]:1', '[::1]:1']\nallow_from = ['home']\n\
         public_url = 'gateway.example.com'\n",
        &[
            "config.toml:2: [control] listen \"[::1]:1\" is twice",
            "config.toml:3: [control] allow_from \"home\" is not an address or network such as \
             192.0.2.10 or 192.0.2.0/24",
            "config.toml:4: [control] public_url \"gateway.example.com\" is not a URL such as \
             http://192.0.2.1:8080",
        ],
    );
}

#[test]
fn open_management_api_is_refused() {
    let open = "[control]\nlisten = ['0.0.0.0:8080']\nallow_from = ['0.0.0.0/0']\n";
    let message = "config.toml:3: [control] allow_from lets everybody reach the Management API \
                   while api_key has under 16 characters: name your networks or set a longer key";
    check(open, &[message]);
    check(&format!("{open}api_key = 'secret'\n"), &[message]);
    parse(&format!("{open}api_key = '0123456789abcdef'\n")).unwrap();
    parse("[control]\nlisten = ['0.0.0.0:8080']\nallow_from = ['192.0.2.0/24']\n").unwrap();
}

#[test]
fn srtp_of_a_trunk_or_user_is_that_of_media_unless_it_says_otherwise() {
    let config = |key: &str| {
        let text = format!(
            "[media]\nsrtp = 'required'\n[[trunk]]\nname = 'a'\nserver = 'sip:192.0.2.1'\n{key}\n\
             [[user]]\nname = 'b'\npassword = 'c'\n{key}\n"
        );
        let config = parse(&text).unwrap();
        (config.media.srtp, config.trunks[0].srtp, config.users[0].srtp)
    };
    assert_eq!(config(""), (Srtp::Required, None, None));
    assert_eq!(config("srtp = ''"), (Srtp::Required, None, None));
    let off = Some(Srtp::Off);
    assert_eq!(config("srtp = 'off'"), (Srtp::Required, off, off));
}

#[test]
fn trunks_are_checked() {
    check(
        "[[trunk]]\nname = 'office'\nserver = 'sip:192.0.2.10;transport=ws'\nregister = true\n\
         dtmf = 'loud'\nsrtp = 'maybe'\n[[trunk]]\nname = 'office'\nserver = 'pbx.example.com'\n\
         accept_from = ['0.0.0.0/0']\n[[trunk]]\nserver = 'sip:192.0.2.10:0'\n\
         [[trunk]]\nname = 'plus'\nserver = 'sip:192.0.2.10:+5060'\n",
        &[
            "config.toml:3: [trunk.office] server transport \"ws\" is not one of udp, tcp, tls",
            "config.toml:4: [trunk.office] register is true but username is empty: who is to be \
             registered?",
            "config.toml:5: [trunk.office] dtmf \"loud\" is not one of auto, rfc4733, info, inband",
            "config.toml:6: [trunk.office] srtp \"maybe\" is not one of off, optional, required",
            "config.toml:8: [trunk.office] name \"office\" is the name of an earlier trunk",
            "config.toml:9: [trunk.office] server \"pbx.example.com\" is not like \
             sip:192.0.2.10:5060;transport=udp",
            "config.toml:10: [trunk.office] accept_from 0.0.0.0/0 takes calls from anybody: name \
             the addresses of this trunk",
            "config.toml:11: [trunk #3] name is missing: routes and rules refer to it",
            "config.toml:12: [trunk #3] server \"sip:192.0.2.10:0\" has a port that is not \
             between 1 and 65535",
            "config.toml:15: [trunk.plus] server \"sip:192.0.2.10:+5060\" is not like \
             sip:192.0.2.10:5060;transport=udp",
        ],
    );
}

#[test]
fn trunks_account_callers_and_size_are_checked() {
    check(
        &format!(
            "{TRUNK}outbound_proxy = '192.0.2.40'\nexpires_s = 5\nfrom_user = 'username'\n\
             from_domain = 'a b'\nsend_identity = 'p-a-i'\nprivacy = 'yes'\n\
             pass_headers = ['Diversion', 'Via', 'v', 'a b']\ncodecs = ['G729']\nmax_calls = -1\n"
        ),
        &[
            "config.toml:4: [trunk.office] outbound_proxy \"192.0.2.40\" is not like \
             sip:192.0.2.10:5060;transport=udp",
            "config.toml:5: [trunk.office] expires_s 5 is not between 60 and 86400",
            "config.toml:6: [trunk.office] from_user is \"username\" but username is empty",
            "config.toml:7: [trunk.office] from_domain \"a b\" is not an address or host name",
            "config.toml:8: [trunk.office] send_identity \"p-a-i\" is not one of none, pai, ppi, rpid",
            "config.toml:9: [trunk.office] privacy \"yes\" is not one of id, user, header, full, none",
            "config.toml:10: [trunk.office] pass_headers \"Via\" is the gateway's own to write",
            "config.toml:10: [trunk.office] pass_headers \"v\" is the gateway's own to write",
            "config.toml:10: [trunk.office] pass_headers \"a b\" is not the name of a header field",
            "config.toml:11: [trunk.office] codecs \"G729\" is not one of opus, G722, PCMA, PCMU, L16, \
             L16/8000, L16/16000, L16/48000",
            "config.toml:12: [trunk.office] max_calls -1 is not between 0 and 100000",
        ],
    );
}

#[test]
fn trunk_behind_a_proxy_accepts_its_address() {
    let config = parse(&format!("{TRUNK}outbound_proxy = 'sip:192.0.2.40'\n")).unwrap();
    let accepted: Vec<_> = config.trunks[0].accept_from.iter().map(ToString::to_string).collect();
    assert_eq!(accepted, ["192.0.2.10/32", "192.0.2.40/32"]);
}

/// The defaults of the sample's trunk are those of a trunk that says nothing.
#[test]
fn sample_shows_the_defaults_of_a_trunk() {
    let sample = parse(include_str!("../../config.toml")).unwrap();
    let mut plain = parse("[[trunk]]\nname = 'self'\nserver = 'sip:127.0.0.1:5060'\n").unwrap();
    plain.trunks[0].accept_from.clone_from(&sample.trunks[0].accept_from);
    assert_eq!(sample.trunks[0], plain.trunks[0]);
    let text = parse("[[trunk]]\nxxxxxxxxxxxxxxxxxxxxxx = 1\n")
        .unwrap_err()
        .iter()
        .find_map(|problem| Some(problem.to_string().split_once("known here: ")?.1.to_owned()));
    for key in text.unwrap().split(", ") {
        assert!(include_str!("../../config.toml").contains(&format!("\n{key} = ")), "{key}");
    }
}

#[test]
fn trunk_named_by_address_accepts_that_address() {
    let trunks = parse(&format!("{TRUNK}[[trunk]]\nname = 'b'\nserver = 'sip:[2001:db8::1]:5070'"));
    let trunks = trunks.unwrap().trunks;
    assert_eq!(trunks[0].accept_from[0].to_string(), "192.0.2.10/32");
    assert_eq!(trunks[1].accept_from[0].to_string(), "2001:db8::1/128");
    let by_name = parse("[[trunk]]\nname = 'b'\nserver = 'sip:sip.example.com;transport=tcp'");
    assert!(by_name.unwrap().trunks[0].accept_from.is_empty());
}

#[test]
fn routes_are_checked() {
    check(
        &format!("{TRUNK}[[route]]\npattern = '('\ntrunks = ['offise']\n[[route]]\nstrip = -1\n"),
        &[
            "config.toml:5: [route #1] pattern \"(\" is not a pattern: found open group without \
             closing ')'",
            "config.toml:6: [route #1] trunks names unknown trunk \"offise\"; did you mean \
             \"office\"?",
            "config.toml:7: [route #2] trunks is missing: the trunks to try, in order",
            "config.toml:8: [route #2] strip -1 is not between 0 and 64",
        ],
    );
    check(
        "[[route]]\ntrunks = ['office']\n",
        &["config.toml:2: [route #1] trunks names unknown trunk \"office\"; there is no [[trunk]]"],
    );
}

#[test]
fn users_are_checked() {
    check(
        "[[user]]\nname = 'alice'\npassword = ''\n[[user]]\nname = 'alice'\n\
         [[user]]\nname = 'a b'\npassword = 'x'\n",
        &[
            "config.toml:3: [user.alice] password is empty: anybody could register as this user",
            "config.toml:4: [user.alice] password is missing: anybody could register as this user",
            "config.toml:5: [user.alice] name \"alice\" is the name of an earlier user",
            "config.toml:7: [user.a b] name \"a b\" is not letters, digits and - _ . + only, under \
             100 bytes",
        ],
    );
}

#[test]
fn applications_and_rules_are_checked() {
    check(
        &format!(
            "{APPLICATION}from = ['trunk:x', 'everyone']\n[[application.rule]]\nid = 1\n\
             name = 'r'\nscenarios = []\n[[application]]\nid = 1\nname = 'a'\n\
             [[application.rule]]\nname = 'q'\nexclude = '['\nscenarios = ['a.js']\n"
        ),
        &[
            "config.toml:8: [application.a.rule.r] from names unknown trunk \"x\"; there is no \
             [[trunk]]",
            "config.toml:8: [application.a.rule.r] from \"everyone\" is not *, trunk:NAME or \
             user:NAME",
            "config.toml:10: [application.a.rule.r] id 1 is the id of an earlier rule",
            "config.toml:11: [application.a.rule.r] name \"r\" is the name of an earlier rule",
            "config.toml:12: [application.a.rule.r] scenarios names no file: a rule runs at least \
             one",
            "config.toml:14: [application.a] id 1 is the id of an earlier application",
            "config.toml:15: [application.a] name \"a\" is the name of an earlier application",
            "config.toml:16: [application.a.rule.q] id is missing: a number that stays the same, \
             such as 1",
            "config.toml:18: [application.a.rule.q] exclude \"[\" is not a pattern: found \
             unclosed character class",
        ],
    );
}

#[test]
fn scripts_are_checked() {
    check(
        "[[application]]\nid = 1\nname = 'a'\n[[application.rule]]\nid = 1\nname = 'r'\n\
         scenarios = [\n'missing.js',\n'../secret.js',\n'/etc/passwd',\n'long.js',\n'good.js']\n",
        &[
            "config.toml:8: [application.a.rule.r] scenarios \"missing.js\" in \
             /etc/branchline/scenarios: no such file",
            "config.toml:9: [application.a.rule.r] scenarios \"../secret.js\" is not a file inside \
             scenarios_dir",
            "config.toml:10: [application.a.rule.r] scenarios \"/etc/passwd\" is not a file inside \
             scenarios_dir",
            "config.toml:11: [application.a.rule.r] scenarios \"long.js\" in \
             /etc/branchline/scenarios: 262145 characters, script_chars allows 262144",
        ],
    );
}

#[test]
fn rules_with_one_script_share_its_text() {
    let text = format!(
        "{APPLICATION}[[application.rule]]\nid = 2\nname = 's'\nscenarios = ['b.js', 'a.js']\n"
    );
    let rules = &parse(&text).unwrap().applications[0].rules;
    let (one, other) = (&rules[0].scripts[0], &rules[1].scripts[1]);
    assert!(std::sync::Arc::ptr_eq(&one.source, &other.source));
    assert_eq!(one.id, other.id);
    assert_ne!(one.id, rules[1].scripts[0].id);
}

#[test]
fn impossible_limits_are_refused() {
    check(
        "[limits]\njs_heap_mib = 1\njs_reserve_kib = 2048\ncalls_in_progress = 60\n\
         http_active = 40\nring_timeout_s = 0\n",
        &[
            "config.toml:3: [limits] js_reserve_kib is more than js_heap_mib: lower the first or \
             raise the second",
            "config.toml:4: [limits] calls_in_progress is more than calls_per_session: lower the \
             first or raise the second",
            "config.toml:5: [limits] http_active is more than http_queued: lower the first or \
             raise the second",
            "config.toml:6: [limits] ring_timeout_s 0 is not between 1 and 3600",
        ],
    );
    check(
        "[limits]\nmemory_mib = 8192\n",
        &["config.toml:2: [limits] memory_mib 8192 is more than the 4096 MiB there are"],
    );
}

#[test]
fn sessions_are_what_the_memory_allows() {
    let sessions = |text: &str, mebibytes: u64| {
        parse_in(text, mebibytes << 20).map(|config| config.limits.sessions)
    };
    assert_eq!(sessions("", 24 << 10), Ok(200));
    let small = sessions("", 256).unwrap();
    assert!((12..200).contains(&small), "{small}");
    // Calls without Opus take less.
    assert!(sessions("[media]\ncodecs = ['PCMA']", 256).unwrap() > small);
    assert_eq!(sessions("[limits]\nsessions = 7", 256), Ok(7));
    let problems = sessions("[limits]\nsessions = 150", 256).unwrap_err();
    let text = problems[0].to_string();
    assert!(
        text.starts_with("/etc/branchline/config.toml:2: [limits] sessions 150 needs "),
        "{text}"
    );
    assert!(text.contains(&format!("lower sessions to {small} or raise memory_mib to ")), "{text}");
}

#[test]
fn tts_command_and_engine_belong_together() {
    check(
        "[tts]\nengine = 'command'\n",
        &["config.toml:1: [tts] command is empty; engine \"command\" needs the program to run"],
    );
    check(
        "[tts]\ncommand = ['say', '{out}']\n",
        &["config.toml:2: [tts] command is for engine = \"command\" only; set that or leave it \
           out"],
    );
}
