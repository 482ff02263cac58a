//! The machine with a real gateway behind it; nothing here runs a script.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::WallClock;
use crate::config::{Config, Environment, FileText};
use crate::gateway;
use crate::random::Random;
use crate::scenario::worker;
use crate::scenario::worker::Answer;
use crate::storage::record::{AudioRecord, CallRecord, RecordingRecord, SessionRecord};

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600_000;

struct World {
    now: Instant,
    gateway: Gateway,
    control: Control,
    requests: u64,
}

const CONFIG: &str = r#"
[control]
api_key = "0123456789abcdef0123456789abcdef"
cors_origins = ["https://crm.example.com"]
[limits]
sessions = 3
start_in_flight = 2
[[trunk]]
name = "provider"
server = "sip:192.0.2.10:5060"
register = true
username = "100"
password = "secret"
[[trunk]]
name = "pbx"
server = "sip:192.0.2.20"
[[user]]
name = "bob"
password = "b"
display_name = "Bob"
[[user]]
name = "alice"
password = "a"
display_name = "Alice"
[[application]]
id = 1
name = "branch"
[[application.rule]]
id = 1
name = "callback"
pattern = '1\d\d'
exclude = '199'
scenarios = ["library.js", "callback.js"]
[[application.rule]]
id = 2
name = "survey"
pattern = ''
scenarios = ["library.js"]
[[application]]
id = 7
name = "night"
[[application.rule]]
id = 3
name = "voicemail"
pattern = '.*'
scenarios = ["voicemail.js"]
"#;

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let read_file = |path: &Path, _most: usize| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // 2025-12-31 23:00:00.
            Ok(FileText { text: format!("// {name}"), modified_unix: NOW / 1000 - 3600 })
        };
        let environment =
            Environment { variable: &|_| None, file: &read_file, memory_bytes: 1 << 32 };
        let config = Config::parse(Path::new("test.toml"), CONFIG, &environment).unwrap();
        let setup = gateway::Setup {
            config: Arc::new(config),
            listeners: Vec::new(),
            control_url: "http://gateway:8080".into(),
            opening: store::Opening::default(),
            random: Random::seeded(1),
            wall: WallClock::new(now, NOW),
        };
        let control = Setup {
            api_key: KEY.into(),
            control_url: "http://gateway:8080".into(),
            started_unix_ms: NOW,
            resident_bytes: || Some(1 << 20),
        };
        Self {
            now,
            gateway: Gateway::new(now, setup),
            control: Control::new(now, control),
            requests: 0,
        }
    }

    fn request(&mut self, method: &str, target: &str) -> Request {
        self.requests += 1;
        Request {
            id: self.requests,
            peer: "127.0.0.1:40000".parse().unwrap(),
            is_secure: false,
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn handle(&mut self, request: Request) -> Outcome {
        self.control.handle_request(self.now, &mut self.gateway, request)
    }

    fn get(&mut self, target: &str) -> Response {
        let request = self.request("GET", target);
        answered(self.handle(request))
    }

    /// A command with the right account and key.
    fn command(&mut self, command: &str) -> String {
        let sign = if command.contains('?') { '&' } else { '?' };
        let target = format!("/platform_api/{command}{sign}account_id=1&api_key={KEY}");
        let response = self.get(&target);
        assert_eq!(response.status, 200, "{command}");
        text(response)
    }

    fn start(&mut self, parameters: &str) -> Outcome {
        let target =
            format!("/platform_api/StartScenarios?account_id=1&api_key={KEY}&{parameters}");
        let request = self.request("GET", &target);
        self.handle(request)
    }

    /// What the gateway gave its script worker since the last time.
    fn script_inputs(&mut self) -> Vec<worker::Input> {
        let mut inputs = Vec::new();
        while let Some(output) = self.gateway.poll_output() {
            if let gateway::Output::Script { input, .. } = output {
                inputs.push(input);
            }
        }
        inputs
    }

    /// Replies of the gateway as responses.
    fn responses(&mut self) -> Vec<(RequestId, Response)> {
        let mut responses = Vec::new();
        while let Some(output) = self.gateway.poll_output() {
            if let gateway::Output::Reply(reply) = output {
                responses.extend(self.control.on_reply(reply));
            }
        }
        responses
    }

    /// Starts rule 1; its access URL's path.
    fn started(&mut self) -> String {
        assert_eq!(self.start("rule_id=1"), Outcome::Wait);
        let session = match self.script_inputs().pop() {
            Some(worker::Input::Start { session, .. }) => session,
            other => panic!("no start: {other:?}"),
        };
        self.script(worker::Output::Ready { session });
        let (_, response) = self.responses().pop().unwrap();
        let json = text(response);
        let url = json.split('"').find(|text| text.starts_with("http://gateway:8080/request/"));
        url.unwrap().trim_start_matches("http://gateway:8080").to_owned()
    }

    fn script(&mut self, output: worker::Output) {
        let input = gateway::Input::Script { thread: 0, output };
        self.gateway.handle_input(self.now, input);
    }
}

fn answered(outcome: Outcome) -> Response {
    match outcome {
        Outcome::Answer(response) => response,
        Outcome::Wait => panic!("the request waits"),
    }
}

fn text(response: Response) -> String {
    match response.body {
        Body::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
        Body::File { .. } => panic!("the answer is a file"),
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
}

/// The code of an error envelope, 0 where there is none.
fn code(json: &str) -> u16 {
    let Some(rest) = json.strip_prefix("{\"error\":{\"code\":") else { return 0 };
    rest.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn every_url_form_reaches_the_command() {
    let mut world = World::new();
    let auth = format!("account_id=1&api_key={KEY}");
    for target in [
        format!("/platform_api/GetAccountInfo?{auth}"),
        format!("/platform_api/GetAccountInfo/?{auth}"),
        format!("/platform_api/getaccountinfo?{auth}&cmd=GetRules"),
        format!("/platform_api?cmd=GetAccountInfo&{auth}"),
        format!("/platform_api/?cmd=GetAccountInfo&{auth}"),
    ] {
        let json = text(world.get(&target));
        assert!(json.starts_with("{\"result\":{\"account_id\":1,"), "{target}: {json}");
    }
    let mut post = world.request("POST", "/platform_api");
    post.headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
    post.body = format!("cmd=GetAccountInfo&{auth}").into_bytes();
    assert!(text(answered(world.handle(post))).contains("\"account_name\":\"branch\""));
}

#[test]
fn command_that_is_missing_unknown_or_refused_has_its_code() {
    let mut world = World::new();
    assert_eq!(code(&world.command("")), 102);
    assert_eq!(code(&world.command("Logon")), 103);
    assert_eq!(code(&world.command("AddUser")), 104);
    assert_eq!(code(&world.command("CreateCallList")), 104);
}

#[test]
fn wrong_key_is_error_100_with_status_200() {
    let mut world = World::new();
    for auth in ["", "account_id=1", "account_id=1&api_key=x", "account_id=1&account_password=x"] {
        let response = world.get(&format!("/platform_api/GetRules?{auth}"));
        assert_eq!(response.status, 200);
        assert_eq!(code(&text(response)), 100);
    }
    let other = format!("/platform_api/GetRules?account_id=2&api_key={KEY}");
    assert_eq!(code(&text(world.get(&other))), 115);
    // Without the key nobody learns more than which commands the API has.
    assert_eq!(code(&text(world.get("/platform_api/AddUser"))), 100);
}

#[test]
fn address_outside_allow_from_is_refused_everywhere_but_at_access_urls() {
    let mut world = World::new();
    for target in ["/platform_api/GetRules", "/health", "/metrics", "/status"] {
        let mut request = world.request("GET", target);
        request.peer = "192.0.2.1:40000".parse().unwrap();
        assert_eq!(answered(world.handle(request)).status, 403, "{target}");
    }
    let mut request = world.request("GET", "/request/1.1/x");
    request.peer = "192.0.2.1:40000".parse().unwrap();
    assert_eq!(world.handle(request), Outcome::Wait);
}

#[test]
fn method_other_than_get_and_post_is_405() {
    let mut world = World::new();
    for method in ["PUT", "DELETE", "HEAD"] {
        let request = world.request(method, "/platform_api/GetRules");
        let response = answered(world.handle(request));
        assert_eq!((response.status, header(&response, "allow")), (405, Some("GET, POST")));
    }
}

#[test]
fn only_listed_origins_get_cors_headers() {
    let mut world = World::new();
    let mut request = world.request("OPTIONS", "/platform_api/GetRules");
    request.headers.push(("origin".into(), "https://crm.example.com".into()));
    let response = answered(world.handle(request));
    assert_eq!(response.status, 204);
    let origin = header(&response, "access-control-allow-origin");
    assert_eq!(origin, Some("https://crm.example.com"));
    let allowed = header(&response, "access-control-allow-headers");
    assert_eq!(allowed, Some("Authorization, Content-Type"));

    let mut request = world.request("GET", "/platform_api/GetRules");
    request.headers.push(("origin".into(), "https://evil.example.com".into()));
    let response = answered(world.handle(request));
    assert_eq!(header(&response, "access-control-allow-origin"), None);

    let mut request = world.request("GET", "/request/1.1/x");
    request.headers.push(("origin".into(), "https://crm.example.com".into()));
    assert_eq!(world.handle(request), Outcome::Wait);
    let (_, response) = world.responses().pop().unwrap();
    assert_eq!(response.status, 404);
    let origin = header(&response, "access-control-allow-origin");
    assert_eq!(origin, Some("https://crm.example.com"));
}

#[test]
fn start_is_answered_when_the_scripts_ran() {
    let mut world = World::new();
    assert_eq!(
        world.start("rule_id=1&script_custom_data=7001%3A7002&with_check_url=true"),
        Outcome::Wait
    );
    let inputs = world.script_inputs();
    let [worker::Input::Start { session, custom_data, .. }] = inputs.as_slice() else {
        panic!("not one start: {inputs:?}");
    };
    assert_eq!(custom_data, "7001:7002");
    assert_eq!(world.control.usage(), 1);
    world.script(worker::Output::Ready { session: *session });
    let (request, response) = world.responses().pop().unwrap();
    assert_eq!((request, response.status), (1, 200));
    let json = text(response);
    let url = json.split('"').find(|text| text.starts_with("http://")).unwrap().to_owned();
    // 128 bits in hexadecimal.
    let token = url.strip_prefix("http://gateway:8080/request/1.1767225600/").unwrap();
    assert_eq!(token.len(), 32);
    assert_eq!(
        json,
        format!(
            "{{\"result\":1,\"media_session_access_url\":\"{url}\",\
             \"media_session_access_secure_url\":\"{url}\",\
             \"media_session_check_url\":\"{url}/check\",\"call_session_history_id\":1}}"
        )
    );
    assert_eq!(world.control.usage(), 0);
    let check = url.trim_start_matches("http://gateway:8080").to_owned() + "/check";
    assert_eq!(world.get(&check).status, 200);
    assert_eq!(world.get("/request/1.1767225600/00/check").status, 404);
}

#[test]
fn start_with_wrong_parameters_has_the_documented_code() {
    let mut world = World::new();
    for (parameters, expected) in [
        ("", 101),
        ("rule_id=", 101),
        ("rule_id=x", 147),
        ("rule_id=99", 147),
        ("rule_id=3&application_id=1", 147),
        ("rule_name=callback", 101),
        ("rule_name=nothing&application_id=1", 156),
        ("rule_id=1&rule_name=callback&application_id=1", 458),
        ("rule_id=1&application_id=1&application_name=branch", 458),
        ("rule_id=1&user_id=1&user_name=alice", 458),
        ("rule_id=1&application_id=99", 116),
        ("rule_id=1&application_name=nothing", 107),
        ("rule_id=1&user_id=1", 393),
        ("rule_id=1&user_name=carol&application_id=1", 393),
        ("rule_id=1&user_name=alice", 101),
        ("rule_id=1&with_check_url=perhaps", 101),
    ] {
        let json = text(answered(world.start(parameters)));
        assert_eq!(code(&json), expected, "{parameters}: {json}");
    }
    let named = "rule_name=callback&application_name=branch.branch&user_name=alice";
    assert_eq!(world.start(named), Outcome::Wait);
}

#[test]
fn starts_beyond_the_ones_in_flight_get_429() {
    let mut world = World::new();
    assert_eq!(world.start("rule_id=1"), Outcome::Wait);
    assert_eq!(world.start("rule_id=1"), Outcome::Wait);
    let response = answered(world.start("rule_id=1"));
    assert_eq!(response.status, 429);
    assert_eq!(code(&text(response)), 340);
}

#[test]
fn start_without_a_free_session_is_error_314() {
    let mut world = World::new();
    for _ in 0..3 {
        world.started();
    }
    assert_eq!(code(&text(answered(world.start("rule_id=1")))), 314);
    assert_eq!(world.control.usage(), 0);
}

#[test]
fn start_while_draining_is_error_314() {
    let mut world = World::new();
    world.gateway.drain();
    assert_eq!(code(&text(answered(world.start("rule_id=1")))), 314);
}

#[test]
fn access_reaches_the_script_with_path_body_and_extra_headers() {
    let mut world = World::new();
    let path = world.started() + "/command=play?x=1";
    let mut request = world.request("POST", &path);
    request.headers = vec![("host".into(), "h".into()), ("X-Caller".into(), "ä".into())];
    request.body = "zwölf".into();
    assert_eq!(world.handle(request), Outcome::Wait);
    let inputs = world.script_inputs();
    let [worker::Input::Event { session, event }] = inputs.as_slice() else {
        panic!("not one event: {inputs:?}");
    };
    let crate::scenario::event::Event::HttpRequest {
        request,
        method,
        path: seen,
        content,
        headers,
    } = event
    else {
        panic!("not a request: {event:?}");
    };
    assert_eq!((method.as_str(), seen, content.as_str()), ("POST", &path, "zwölf"));
    assert_eq!(headers, &[("X-Caller".to_owned(), "ä".to_owned())]);
    let answer = Answer::Json("{\"a\":1}".into());
    world.script(worker::Output::HttpAnswer { session: *session, request: *request, answer });
    let (_, response) = world.responses().pop().unwrap();
    assert_eq!(
        (response.status, header(&response, "content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(text(response), "{\"a\":1}");
    assert_eq!(world.control.usage(), 0);
}

#[test]
fn head_is_a_get_without_content() {
    let mut world = World::new();
    let path = world.started();
    let mut request = world.request("HEAD", &path);
    request.body = b"x".to_vec();
    assert_eq!(world.handle(request), Outcome::Wait);
    match world.script_inputs().pop() {
        Some(worker::Input::Event {
            event: crate::scenario::event::Event::HttpRequest { method, content, .. },
            ..
        }) => assert_eq!((method.as_str(), content.as_str()), ("GET", "")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn handler_results_become_answers_as_documented() {
    for (answer, status, content_type, body) in [
        (Some(Answer::Text("5".into())), 200, Some("text/plain; charset=utf-8"), "5"),
        (Some(Answer::Json("[]".into())), 200, Some("application/json"), "[]"),
        (Some(Answer::Empty), 200, None, ""),
        (
            Some(Answer::Error("boom".into())),
            500,
            Some("application/json"),
            "{\"error\":{\"code\":2,\"msg\":\"boom\"}}",
        ),
        (
            Some(Answer::TimedOut),
            504,
            Some("application/json"),
            "{\"error\":{\"code\":162,\"msg\":\"the handler's promise did not settle in time\"}}",
        ),
        (
            None,
            404,
            Some("application/json"),
            "{\"error\":{\"code\":161,\"msg\":\"no such session, or it has ended\"}}",
        ),
    ] {
        let response = access::answered(answer);
        assert_eq!((response.status, header(&response, "content-type")), (status, content_type));
        assert_eq!(text(response), body);
    }
}

#[test]
fn wrong_token_and_ended_session_look_alike() {
    let mut world = World::new();
    let path = world.started();
    let (session, token) = path.rsplit_once('/').unwrap();
    let flipped = if token.starts_with('0') { '1' } else { '0' };
    let wrong = format!("{session}/{flipped}{}", &token[1..]);
    let never = path.replacen("/1.", "/9.", 1);
    let mut seen = Vec::new();
    for target in [wrong, never, format!("{session}/"), format!("{session}/{token}0")] {
        let request = world.request("GET", &target);
        assert_eq!(world.handle(request), Outcome::Wait);
        seen.push(world.responses().pop().unwrap().1);
    }
    seen.push(world.get("/request/nonsense"));
    assert!(seen.iter().all(|response| *response == seen[0] && response.status == 404));
}

#[test]
fn request_beyond_the_ones_that_wait_for_a_script_is_503() {
    let mut world = World::new();
    let path = world.started();
    for _ in 0..64 {
        let request = world.request("GET", &path);
        assert_eq!(world.handle(request), Outcome::Wait);
    }
    assert!(world.responses().is_empty());
    let request = world.request("GET", &path);
    assert_eq!(world.handle(request), Outcome::Wait);
    let (_, response) = world.responses().pop().unwrap();
    assert_eq!((response.status, header(&response, "retry-after")), (503, Some("1")));
    assert_eq!(world.control.usage(), 64);
}

#[test]
fn methods_that_no_script_may_see_are_answered_here() {
    let mut world = World::new();
    let path = world.started();
    let request = world.request("OPTIONS", &path);
    assert_eq!(answered(world.handle(request)).status, 204);
    for method in ["CONNECT", "TRACE"] {
        let request = world.request(method, &path);
        assert_eq!(answered(world.handle(request)).status, 405);
    }
}

#[test]
fn request_that_nobody_answers_is_504_after_a_minute() {
    let mut world = World::new();
    let path = world.started();
    let request = world.request("GET", &path);
    let id = request.id;
    assert_eq!(world.handle(request), Outcome::Wait);
    let due = world.control.poll_timeout().unwrap();
    assert_eq!(world.control.on_timeout(due - Duration::from_millis(1)), None);
    let (answered, response) = world.control.on_timeout(due).unwrap();
    assert_eq!((answered, response.status), (id, 504));
    assert_eq!(world.control.on_timeout(due), None);
    assert_eq!(world.control.usage(), 0);
    // The script's answer comes too late for anybody.
    let late = Reply::Accessed { request: id, answer: Some(Answer::Empty) };
    assert_eq!(world.control.on_reply(late), None);
}

#[test]
fn deadlines_of_answered_requests_do_not_pile_up() {
    let mut world = World::new();
    for _ in 0..10_000 {
        let request = world.request("GET", "/request/9.1/x");
        assert_eq!(world.handle(request), Outcome::Wait);
        assert_eq!(world.responses().len(), 1);
    }
    assert!(world.control.deadlines.len() <= SPARE_DEADLINES + 3);
}

#[test]
fn applications_rules_and_scenarios_are_shown_as_configured() {
    let mut world = World::new();
    let rule = "{\"rule_id\":3,\"application_id\":7,\"rule_name\":\"voicemail\",\
        \"rule_pattern\":\".*\",\"video_conference\":false,\"modified\":\"2025-12-31 23:00:00\"}";
    assert_eq!(
        world.command("GetApplications?application_id=7&with_rules=True"),
        format!(
            "{{\"result\":[{{\"application_id\":7,\"application_name\":\"night\",\
             \"extended_application_name\":\"night.branch\",\"modified\":\"2025-12-31 23:00:00\",\
             \"secure_record_storage\":false,\"rules\":[{rule}]}}],\"count\":1,\"total_count\":1}}"
        )
    );
    assert_eq!(
        world.command("GetRules?application_name=night"),
        format!("{{\"result\":[{rule}],\"count\":1,\"total_count\":1}}")
    );
    let rules = world.command("GetRules?application_id=1&with_scenarios=1");
    assert!(rules.contains("\"rule_pattern\":\"1\\\\d\\\\d\",\"rule_pattern_exclude\":\"199\""));
    assert!(rules.contains("\"scenario_name\":\"library.js\""));
    let paged = world.command("GetRules?count=1&offset=1");
    assert!(
        paged.contains("\"rule_name\":\"survey\"")
            && paged.ends_with("\"count\":1,\"total_count\":3}")
    );
    let taken = world.command("GetRules?template=199");
    assert!(taken.contains("voicemail") && !taken.contains("callback"));
    let scenarios = world.command("GetScenarios?application_id=1");
    assert_eq!(scenarios.matches("\"scenario_name\"").count(), 2);
    assert!(!scenarios.contains("scenario_script"));
    assert!(scenarios.ends_with(
        "\"application_id\":1,\"application_name\":\"branch\",\
         \"extended_application_name\":\"branch.branch\"}"
    ));
    let id = crate::config::stable_id("callback.js");
    let script = world.command(&format!("GetScenarios?scenario_id={id}&with_script=true"));
    assert!(script.contains("\"scenario_script\":\"// callback.js\""), "{script}");
    assert_eq!(code(&world.command("GetScenarios?with_script=true")), 101);
    assert!(world.command("GetRules?rule_id=99").starts_with("{\"result\":[],\"count\":0"));
}

#[test]
fn users_account_and_registrations_are_shown_without_secrets() {
    let mut world = World::new();
    assert_eq!(code(&world.command("GetUsers")), 101);
    let users = world.command("GetUsers?application_id=1&order_by=user_name");
    let alice = users.find("\"user_name\":\"alice\"").unwrap();
    assert!(alice < users.find("\"user_name\":\"bob\"").unwrap());
    assert!(users.contains("\"live_balance\":0") && users.contains("\"registered\":false"));
    assert_eq!(
        world.command("GetAccountInfo"),
        "{\"result\":{\"account_id\":1,\"account_name\":\"branch\",\
         \"account_email\":\"branch@localhost\",\"created\":\"2026-01-01 00:00:00\",\
         \"active\":true,\"frozen\":false,\"balance\":0,\"currency\":\"USD\",\
         \"language_code\":\"en\",\"location\":\"UTC\"},\"api_address\":\"gateway:8080\"}"
    );
    let registrations = world.command("GetSipRegistrations");
    assert!(registrations.contains("\"sip_registration_id\":1,\"sip_username\":\"100\""));
    assert!(registrations.contains("\"proxy\":\"192.0.2.10:5060\""));
    assert!(registrations.ends_with("\"count\":1,\"total_count\":1}"));
    for json in [users, registrations] {
        assert!(!json.contains("secret") && !json.contains("password") && !json.contains("null"));
    }
}

/// The query that GetCallHistory with these parameters makes.
fn query(world: &mut World, parameters: &str) -> (u64, crate::storage::record::HistoryFilter) {
    let target = format!("/platform_api/GetCallHistory?account_id=1&api_key={KEY}&{parameters}");
    let request = world.request("GET", &target);
    let outcome = world.handle(request);
    assert_eq!(outcome, Outcome::Wait, "{parameters}");
    match world.control.poll_output() {
        Some(Output::Disk(operation)) => match *operation {
            Operation::History { query, filter } => (query, filter),
            other => panic!("no query: {other:?}"),
        },
        other => panic!("no query: {other:?}"),
    }
}

#[test]
fn history_filters_reach_the_database() {
    let mut world = World::new();
    let (_, filter) = query(
        &mut world,
        "from_date=2026-01-01+00:00:00&to_date=2026-01-01T12:00:00&application_id=1&\
         rule_name=callback&remote_number=%2B49;2&local_number=3&min_duration=1&max_duration=9&\
         call_session_history_custom_data=x&with_calls=True&with_records=1&desc_order=true&\
         count=5&offset=2",
    );
    assert_eq!((filter.from, filter.to), (Some(NOW), Some(NOW + 12 * 3_600_000 + 999)));
    assert_eq!((filter.application_id, filter.rule_name.as_deref()), (Some(1), Some("callback")));
    assert_eq!(filter.remote_numbers, ["+49", "2"]);
    assert_eq!(filter.local_numbers, ["3"]);
    assert_eq!((filter.min_duration_s, filter.max_duration_s), (Some(1), Some(9)));
    assert_eq!(filter.custom_data.as_deref(), Some("x"));
    assert!(filter.with_calls && filter.with_records && filter.newest_first);
    assert_eq!((filter.count, filter.offset), (5, 2));

    // Without dates: the last month.
    let (_, filter) = query(&mut world, "remote_number_list=%5B%225%22%5D&remote_number=6");
    assert_eq!((filter.from, filter.to), (Some(NOW - 31 * 86_400_000), None));
    assert_eq!(filter.remote_numbers, ["5"]);
    let (_, filter) = query(&mut world, "call_session_history_id=1;2");
    assert_eq!((filter.from, filter.ids), (None, vec![1, 2]));
    // Midnight in Berlin is an hour earlier.
    let (_, filter) = query(&mut world, "timezone=Europe/Berlin&from_date=2026-01-01");
    assert_eq!(filter.from, Some(NOW - 3_600_000));
}

#[test]
fn wrong_history_parameters_have_the_documented_code() {
    let mut world = World::new();
    for (parameters, expected) in [
        ("from_date=yesterday", 111),
        ("from_date=2026-02-01&to_date=2026-01-01", 123),
        ("call_session_history_id=x", 150),
        ("rule_name=callback", 101),
        ("application_id=99", 116),
        ("timezone=Mars/Olympus", 101),
        ("timezone=../../etc/passwd", 101),
        ("output=xls", 105),
        ("count=1001", 497),
        ("offset=-1", 497),
        ("remote_number_list=5", 101),
        ("min_duration=x", 101),
    ] {
        let json = world.command(&format!("GetCallHistory?{parameters}"));
        assert_eq!(code(&json), expected, "{parameters}: {json}");
    }
}

#[test]
fn history_page_has_the_documented_shape() {
    let mut world = World::new();
    let (number, _) = query(&mut world, "with_calls=true&with_records=true&timezone=Europe/Berlin");
    let ended = SessionRecord {
        id: 5,
        application_id: 1,
        application_name: "branch".into(),
        rule_id: 1,
        rule_name: "callback".into(),
        start: NOW,
        duration_ms: 61_400,
        initiator_address: "127.0.0.1".into(),
        media_server_address: "192.0.2.1".into(),
        log_file_url: "http://gateway:8080/logs/x.log".into(),
        finish_reason: Some("Normal termination".into()),
        custom_data: "7001:7002".into(),
        audio_quality: "HD".into(),
        calls: vec![CallRecord {
            id: 9,
            start: NOW + 1000,
            duration_ms: 30_500,
            local_number: "100".into(),
            remote_number: "7001".into(),
            remote_number_type: "pstn".into(),
            is_incoming: false,
            is_successful: true,
            end_reason: "200 Normal call clearing".into(),
            record_url: Some("http://gateway:8080/records/x.wav".into()),
            custom_data: None,
            audio: Some(Box::new(AudioRecord {
                codec: "G722/8000".into(),
                packets_received: 1500,
                packets_sent: 1499,
                packets_lost: 12,
                packets_discarded: 1,
                concealed_ms: 260,
                lost_by_peer: 3,
                jitter_us: 1500,
                jitter_most_us: 9250,
                jitter_at_peer_us: 500,
                round_trip_us: 20_000,
                mos: 421,
                mos_at_peer: 0,
            })),
        }],
        records: vec![RecordingRecord {
            id: 4,
            name: "x.wav".into(),
            start: NOW + 2000,
            duration_ms: 1000,
            url: "http://gateway:8080/records/x.wav".into(),
            file_bytes: 16_044,
        }],
    };
    let result = Ok(store::HistoryPage { sessions: vec![ended], total: 12 });
    let answer = store::Answer::History { query: number, result };
    let (_, response) = world.control.on_history(&world.gateway, answer).unwrap();
    assert_eq!(
        text(response),
        "{\"result\":[{\"call_session_history_id\":5,\"account_id\":1,\"application_id\":1,\
         \"application_name\":\"branch\",\"rule_name\":\"callback\",\
         \"start_date\":\"2026-01-01 01:00:00\",\"duration\":61,\
         \"initiator_address\":\"127.0.0.1\",\"media_server_address\":\"192.0.2.1\",\
         \"log_file_url\":\"http://gateway:8080/logs/x.log\",\
         \"finish_reason\":\"Normal termination\",\"audio_quality\":\"HD\",\
         \"custom_data\":\"7001:7002\",\"calls\":[{\"call_id\":9,\
         \"start_time\":\"2026-01-01 01:00:01\",\"duration\":31,\"local_number\":\"100\",\
         \"remote_number\":\"7001\",\"remote_number_type\":\"pstn\",\"incoming\":false,\
         \"successful\":true,\"end_reason\":\"200 Normal call clearing\",\"transaction_id\":0,\
         \"record_url\":\"http://gateway:8080/records/x.wav\",\
         \"media_server_address\":\"192.0.2.1\",\"cost\":0,\"statistics\":{\
         \"codec\":\"G722/8000\",\"packets_received\":1500,\"packets_sent\":1499,\
         \"packets_lost\":12,\"packets_discarded\":1,\"concealed_ms\":260,\"lost_by_peer\":3,\
         \"jitter_ms\":1.5,\"jitter_most_ms\":9.25,\"jitter_at_peer_ms\":0.5,\
         \"round_trip_ms\":20.0,\"mos\":4.21}}],\"records\":[{\"record_id\":4,\
         \"record_name\":\"x.wav\",\"cost\":0,\"start_time\":\"2026-01-01 01:00:02\",\
         \"duration\":1,\"record_url\":\"http://gateway:8080/records/x.wav\",\
         \"transaction_id\":0,\"file_size\":16044}]}],\"count\":1,\"total_count\":12,\
         \"timezone\":\"Europe/Berlin\"}"
    );
    assert_eq!(world.control.usage(), 0);
}

#[test]
fn running_session_is_shown_without_duration_and_finish_reason() {
    let mut world = World::new();
    world.started();
    let (number, _) = query(&mut world, "with_total_count=false");
    // The database's row of a session is the one of its start.
    let row = SessionRecord { id: 1, start: NOW, ..SessionRecord::default() };
    let result = Ok(store::HistoryPage { sessions: vec![row], total: 1 });
    let answer = store::Answer::History { query: number, result };
    let (_, response) = world.control.on_history(&world.gateway, answer).unwrap();
    let json = text(response);
    assert!(json.contains("\"rule_name\":\"callback\""), "{json}");
    assert!(!json.contains("duration") && !json.contains("finish_reason"), "{json}");
    assert!(!json.contains("total_count") && !json.contains("\"calls\""), "{json}");
}

#[test]
fn history_that_fails_or_never_comes_is_an_error() {
    let mut world = World::new();
    let (number, _) = query(&mut world, "");
    let answer = store::Answer::History { query: number, result: Err("disk".into()) };
    let (_, response) = world.control.on_history(&world.gateway, answer).unwrap();
    assert_eq!(code(&text(response)), 4);
    for _ in 0..HISTORY_QUERIES {
        query(&mut world, "");
    }
    assert_eq!(code(&world.command("GetCallHistory")), 162);
    let due = world.now + ANSWER;
    for _ in 0..HISTORY_QUERIES {
        assert_eq!(world.control.on_timeout(due).unwrap().1.status, 504);
    }
    query(&mut world, "");
}

#[test]
fn history_of_a_user_is_empty() {
    let mut world = World::new();
    let json = world.command("GetCallHistory?user_id=5");
    assert_eq!(json, "{\"result\":[],\"count\":0,\"total_count\":0,\"timezone\":\"UTC\"}");
}

#[test]
fn commands_beyond_the_rate_are_error_340() {
    let mut world = World::new();
    for _ in 0..60 {
        assert_eq!(code(&world.command("GetAccountInfo")), 0);
    }
    assert_eq!(code(&world.command("GetAccountInfo")), 340);
    assert_eq!(world.start("rule_id=1"), Outcome::Wait);
}

#[test]
fn health_tells_of_trunks_and_the_last_reload() {
    let mut world = World::new();
    let response = world.get("/health");
    assert_eq!(response.status, 200);
    let json = text(response);
    assert!(json.starts_with("{\"status\":\"ok\",\"version\":\""), "{json}");
    assert!(json.contains("\"trunks\":[{\"name\":\"provider\""), "{json}");
    assert!(!json.contains("last_reload"), "{json}");
    world.gateway.set_last_reload(Err("config.toml:3: no".into()));
    world.gateway.drain();
    let response = world.get("/health");
    assert_eq!(response.status, 503);
    let json = text(response);
    assert!(json.contains("\"last_reload\":{\"ok\":false,\"problem\":\"config.toml:3: no\"}"));
}

#[test]
fn status_needs_the_key_and_shows_sessions() {
    let mut world = World::new();
    world.started();
    assert_eq!(world.get("/status").status, 403);
    let json = text(world.get(&format!("/status?account_id=1&api_key={KEY}")));
    assert!(json.contains("\"sessions\":[{\"session_id\":1,\"application\":\"branch\""), "{json}");
    assert!(json.contains("\"users\":[{\"name\":\"bob\",\"contacts\":0}"), "{json}");
    assert!(!json.contains("/request/"), "{json}");
}

#[test]
fn metrics_are_prometheus_text() {
    let mut world = World::new();
    let response = world.get("/metrics");
    let content_type = header(&response, "content-type").unwrap().to_owned();
    assert!(content_type.starts_with("text/plain; version=0.0.4"));
    assert!(text(response).contains("\nprocess_resident_memory_bytes 1048576\n"));
}

#[test]
fn reload_needs_the_key_and_answers_with_the_problems() {
    let mut world = World::new();
    let request = world.request("POST", "/reload");
    assert_eq!(code(&text(answered(world.handle(request)))), 100);
    let target = format!("/reload?account_id=1&api_key={KEY}");
    let request = world.request("POST", &target);
    let id = request.id;
    assert_eq!(world.handle(request), Outcome::Wait);
    assert!(
        matches!(world.control.poll_output(), Some(Output::Reload { request }) if request == id)
    );
    let second = world.request("POST", &target);
    assert_eq!(code(&text(answered(world.handle(second)))), 515);
    let problems = vec!["config.toml:3: no".to_owned()];
    let (answered_id, response) = world.control.on_reloaded(id, Err(problems)).unwrap();
    assert_eq!((answered_id, response.status), (id, 400));
    assert!(text(response).contains("\"problems\":[\"config.toml:3: no\"]"));
    assert_eq!(world.get("/reload").status, 405);
}

#[test]
fn downloads_are_files_of_their_folder() {
    let mut world = World::new();
    let response = world.get("/records/x-1.wav");
    let body = Body::File { folder: Folder::Recordings, name: "x-1.wav".into() };
    assert_eq!((response.status, response.body), (200, body));
    assert_eq!(world.get("/logs/../branchline.db").status, 404);
    assert_eq!(world.get("/logs/").status, 404);
    let request = world.request("DELETE", "/logs/x.log");
    assert_eq!(answered(world.handle(request)).status, 405);
}

#[test]
fn unknown_path_is_404_and_the_location_is_one() {
    let mut world = World::new();
    assert_eq!(world.get("/").status, 404);
    assert_eq!(world.get("/platform_apis").status, 404);
    assert_eq!(text(world.get("/getServerLocations")), "{\"result\":[\"local\"]}");
}

/// Whatever a client sends is answered or waits.
#[test]
fn mutated_requests_are_all_answered() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut world = World::new();
    let path = world.started();
    let targets = [
        format!("/platform_api/GetCallHistory?account_id=1&api_key={KEY}&from_date=2026-01-01"),
        format!("/platform_api?cmd=GetRules&account_id=1&api_key={KEY}&count=5&template=1"),
        path,
        "/logs/a.log?x".to_owned(),
        "/request/1.1/a/check".to_owned(),
    ];
    let bodies = [
        (
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--",
        ),
        ("application/json", "{\"a\": \"\\ud83d\\ude00\", \"b\": [1, {}], \"c\": -1e5}"),
        ("application/x-www-form-urlencoded", "a=b&c=%20+&d"),
    ];
    let mutate = |text: &str, random: &mut fastrand::Rng| {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..random.usize(0..4) {
            if bytes.is_empty() {
                break;
            }
            let at = random.usize(0..bytes.len());
            match random.u8(0..3) {
                0 => bytes[at] = random.u8(..),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        bytes
    };
    for _ in 0..5_000 {
        let target = &targets[random.usize(0..targets.len())];
        let target = String::from_utf8_lossy(&mutate(target, &mut random)).into_owned();
        let (content_type, body) = bodies[random.usize(0..bodies.len())];
        let method = ["GET", "POST", "HEAD", "OPTIONS"][random.usize(0..4)];
        let mut request = world.request(method, &target);
        request.headers.push(("content-type".into(), content_type.into()));
        request.body = mutate(body, &mut random);
        // Beyond the rate limit nothing would be looked at.
        world.now += Duration::from_millis(50);
        let id = request.id;
        if world.handle(request) == Outcome::Wait {
            let replied = world.responses().iter().any(|(answered, _)| *answered == id);
            while let Some(output) = world.control.poll_output() {
                let Output::Disk(operation) = output else { continue };
                let Operation::History { query, .. } = *operation else { continue };
                let result = Ok(store::HistoryPage::default());
                let answer = store::Answer::History { query, result };
                assert!(world.control.on_history(&world.gateway, answer).is_some());
            }
            assert!(replied || world.control.usage() <= 70);
        }
    }
    // What waits now are requests to the one session, which runs no script here.
    world.now += ANSWER;
    while world.control.on_timeout(world.now).is_some() {}
    assert_eq!(world.control.usage(), 0);
}
