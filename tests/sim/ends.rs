//! How sessions end, and what scripts that misbehave cost.

use std::sync::Arc;

use crate::{Plan, World, answers, check, finish, ms, phone, rule, said, story};
use branchline::gateway::Input;
use branchline::scenario::worker::Answer;
use branchline::sim::phone::Manner;

/// Calls `7001`, and ends at the next request to the access URL.
const STEERED: &str = r#"
    const call = VoxEngine.callPSTN("7001", "100");
    call.addEventListener(CallEvents.Disconnected, () => Logger.write("> Disconnected"));
    VoxEngine.addEventListener(AppEvents.HttpRequest, VoxEngine.terminate);
    for (const name of ["Terminating", "Terminated"]) {
        VoxEngine.addEventListener(AppEvents[name], e => {
            Logger.write("> " + name + " " + e.systemError);
            setTimeout(() => Logger.write("> a timer after the end"), 10);
        });
    }
"#;

fn steered() -> (World, branchline::gateway::SessionUrls) {
    let plan =
        Plan { rules: rule(STEERED), phones: vec![phone("7001", answers())], ..Plan::default() };
    let mut world = World::new(plan);
    let urls = world.start_scenario(1, "").expect("the scenario starts");
    world.run_for(ms(3000));
    (world, urls)
}

#[test]
fn terminate_hangs_up_and_then_only_the_last_two_events_come() {
    let (mut world, urls) = steered();
    world.access(&urls, "");
    finish(&mut world);
    assert_eq!(said(&world), ["Terminating undefined", "Terminated undefined"]);
    assert_eq!(world.history[0].finish_reason.as_deref(), Some("Normal termination"));
    assert_eq!(world.history[0].calls[0].end_reason, "200 Normal call clearing");
    assert!(world.ladder.text().ends_with("7001 <- BYE\n7001 -> 200 BYE\n"), "{}", story(&world));
}

#[test]
fn stop_ends_every_session_administratively() {
    let (mut world, _) = steered();
    world.gateway.stop(world.now);
    finish(&mut world);
    assert_eq!(said(&world), ["Terminating true", "Terminated true"]);
    let reason = world.history[0].finish_reason.as_deref();
    assert_eq!(reason, Some("Terminated administratively"));
    assert!(world.gateway.is_drained());
}

#[test]
fn access_url_of_an_ended_session_reaches_nobody() {
    let (mut world, urls) = steered();
    world.access(&urls, "");
    finish(&mut world);
    let request = world.access(&urls, "again");
    assert_eq!(world.answers.last(), Some(&(request, None)));
}

#[test]
fn access_url_with_another_token_reaches_nobody() {
    let (mut world, mut urls) = steered();
    urls.access_url.replace_range(urls.access_url.len() - 1.., "x");
    let request = world.access(&urls, "");
    assert_eq!(world.answers.last(), Some(&(request, None)));
    world.gateway.stop(world.now);
    finish(&mut world);
}

#[test]
fn handlers_value_is_the_http_answer() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.HttpRequest, e => eval(e.content));
    "#;
    let plan = Plan { rules: rule(script), ..Plan::default() };
    let mut world = World::new(plan);
    let urls = world.start_scenario(1, "").expect("the scenario starts");
    for (content, expected) in [
        ("'hello'", Answer::Text("hello".into())),
        ("({a: [1, 'b']})", Answer::Json(r#"{"a":[1,"b"]}"#.into())),
        ("[1, 2]", Answer::Json("[1,2]".into())),
        ("undefined", Answer::Empty),
        ("Promise.resolve('later')", Answer::Text("later".into())),
        (
            "new Promise(done => setTimeout(() => done({ok: true}), 500))",
            Answer::Json(r#"{"ok":true}"#.into()),
        ),
        ("new Promise(() => {})", Answer::TimedOut),
    ] {
        let request = world.access(&urls, content);
        let patience = if expected == Answer::TimedOut { 31_000 } else { 1000 };
        world.run_for(ms(patience));
        let (_, answer) = world.answers.iter().find(|(id, _)| *id == request).expect(content);
        assert_eq!(answer.as_ref(), Some(&expected), "{content}");
    }
    let request = world.access(&urls, "throw new Error('no')");
    let (_, answer) = world.answers.iter().find(|(id, _)| *id == request).expect("an answer");
    assert!(matches!(answer, Some(Answer::Error(error)) if error.contains("no")), "{answer:?}");
    world.gateway.stop(world.now);
    finish(&mut world);
}

#[test]
fn session_without_calls_ends_after_a_minute() {
    let plan = Plan { rules: rule("Logger.write('> up')"), ..Plan::default() };
    let world = check(plan, "", "");
    assert_eq!(world.history[0].finish_reason.as_deref(), Some("Timeout"));
    assert_eq!(world.history[0].duration_ms, 60_000);
}

#[test]
fn minute_without_calls_counts_from_the_last_call() {
    let script = r#"
        VoxEngine.callPSTN("7001", "100").addEventListener(CallEvents.Connected, e => {
            setTimeout(() => e.call.hangup(), 9000);
        });
    "#;
    let plan =
        Plan { rules: rule(script), phones: vec![phone("7001", answers())], ..Plan::default() };
    let mut world = World::new(plan);
    world.start_scenario(1, "");
    finish(&mut world);
    assert_eq!(world.history[0].finish_reason.as_deref(), Some("Timeout"));
    // 1 ms to the phone, 500 ms until it answers, 1 ms back, the talk, the minute.
    assert_eq!(world.history[0].duration_ms, 502 + 9000 + 60_000);
}

#[test]
fn one_http_request_may_be_made_while_terminating() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.Started, VoxEngine.terminate);
        VoxEngine.addEventListener(AppEvents.Terminating, () => {
            for (const name of ["first", "second"]) {
                Net.httpRequest("http://crm/" + name, e => Logger.write("> " + name + " " + e.code));
            }
        });
        VoxEngine.addEventListener(AppEvents.Terminated, () => {
            Net.httpRequest("http://crm/third", () => {});
            Logger.write("> Terminated");
        });
    "#;
    let plan = Plan { rules: rule(script), ..Plan::default() };
    let world = check(plan, "", "");
    let urls: Vec<&str> = world.fetched.iter().map(|request| request.url.as_str()).collect();
    assert_eq!(urls, ["http://crm/first"]);
    let mut heard = said(&world);
    heard.sort_unstable();
    assert_eq!(heard, ["Terminated", "first 200", "second 0"]);
}

/// A caller is on the line when the script misbehaves two seconds into the call.
fn misbehaves(deed: &str, config: &str) -> World {
    let script = format!(
        "VoxEngine.addEventListener(AppEvents.CallAlerting, e => {{
            e.call.answer();
            e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
            setTimeout(() => {{ {deed} }}, 2000);
        }});"
    );
    let manner = Manner { hangs_up_after: Some(ms(5000)), ..Manner::default() };
    let plan = Plan {
        rules: rule(&script),
        phones: vec![phone("bob", manner)],
        config: config.into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.dial(0, "200");
    finish(&mut world);
    world
}

#[test]
fn exception_in_a_listener_is_logged_and_the_call_goes_on() {
    let world = misbehaves("noSuchThing.speak();", "");
    assert_eq!(world.exceptions, 1);
    assert!(world.log.iter().any(|line| line.contains("rule1.js:4")), "{:?}", world.log);
    assert_eq!(world.history[0].finish_reason.as_deref(), Some("Normal termination"));
    assert!(world.ladder.text().contains("bob -> BYE"), "{}", story(&world));
}

#[test]
fn rejected_promise_is_logged_and_the_call_goes_on() {
    let world = misbehaves("Promise.reject(new Error('lost'));", "");
    assert_eq!(world.exceptions, 1);
    assert!(world.log.iter().any(|line| line.contains("lost")), "{:?}", world.log);
    assert!(world.ladder.text().contains("bob -> BYE"), "{}", story(&world));
}

#[test]
fn exception_ends_the_session_where_the_config_says_so() {
    let world = misbehaves("noSuchThing.speak();", "[scenario]\non_error = \"end\"\n");
    assert_eq!(world.history[0].finish_reason.as_deref(), Some("JS session error"));
    assert!(world.ladder.text().contains("bob <- BYE"), "{}", story(&world));
}

#[test]
fn deeds_beyond_a_limit_end_their_own_session_with_script_and_line() {
    let deeds = [
        "for (;;) {}",
        "const loop = () => Promise.resolve().then(loop); loop();",
        "const all = []; for (;;) all.push(new Array(10000).fill(7));",
        "/(a+)+$/.test('a'.repeat(40) + 'b');",
    ];
    for deed in deeds {
        let world = misbehaves(deed, "[limits]\njs_run_time_ms = 100\n");
        let reason = world.history[0].finish_reason.as_deref();
        assert_eq!(reason, Some("JS session error"), "{deed}\n{}", story(&world));
        assert!(world.log.iter().any(|line| line.contains("rule1.js")), "{deed}: {:?}", world.log);
        assert!(world.ladder.text().contains("bob <- BYE"), "{deed}\n{}", story(&world));
    }
}

#[test]
fn endless_recursion_is_an_exception_like_any_other() {
    let world = misbehaves("(function deeper() { deeper(); })();", "");
    assert_eq!(world.exceptions, 1, "{}", story(&world));
    assert!(world.ladder.text().contains("bob -> BYE"), "{}", story(&world));
}

#[test]
fn gateway_that_drains_takes_no_new_session() {
    let (mut world, urls) = steered();
    world.gateway.drain();
    assert_eq!(world.start_scenario(1, "").map(|urls| urls.session_id), None);
    assert!(!world.gateway.is_drained());
    world.access(&urls, "");
    finish(&mut world);
    assert!(world.gateway.is_drained());
}

#[test]
fn reload_does_not_make_threads() {
    let script = "VoxEngine.callPSTN('999', '100'); setTimeout(VoxEngine.terminate, 100);";
    let mut world = World::new(Plan { rules: rule(script), ..Plan::default() });
    let mut config = world.gateway.config().clone();
    config.scenario.threads = 4;
    config.media.threads = 4;
    world.gateway.reload(world.now, Arc::new(config));
    for _ in 0..4 {
        world.start_scenario(1, "").expect("the scenario starts");
    }
    finish(&mut world);
    assert_eq!(world.history.len(), 4);
}

/// The loss of a worker is told behind what the reactor sends to the one in its place.
#[test]
fn session_that_began_after_its_worker_was_lost_leaves_no_runtime_behind() {
    let mut world =
        World::new(Plan { rules: rule("setInterval(() => {}, 50)"), ..Plan::default() });
    world.start_scenario(1, "").expect("the scenario starts");
    world.gateway.handle_input(world.now, Input::WorkerLost { thread: 0 });
    finish(&mut world);
    assert_eq!(world.history[0].finish_reason.as_deref(), Some("JS session error"));
}

#[test]
fn stop_waits_until_trunks_know_that_we_are_gone() {
    let config = "[[trunk]]\nname = \"away\"\nserver = \"sip:10.0.9.9\"\nregister = true\n\
                  username = \"1234\"\npassword = \"secret\"\noptions_s = 0\n";
    let mut world = World::new(Plan { config: config.into(), ..Plan::default() });
    world.run_for(ms(100));
    world.gateway.stop(world.now);
    assert!(world.gateway.is_drained() && !world.gateway.is_stopped());
    // Nobody is there to answer: 64 * T1.
    world.run_for(ms(40_000));
    assert!(world.gateway.is_stopped());
}
