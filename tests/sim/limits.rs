//! Every cap of `[limits]` that a call flow can reach: a clean refusal, and nothing else changes.

use crate::{Plan, World, answers, check_call, finish, ms, phone, rule, said, story};
use branchline::sim::phone::Manner;

fn run(script: &str, config: &str, phones: Vec<(String, Manner)>) -> World {
    let plan = Plan { rules: rule(script), phones, config: config.into(), ..Plan::default() };
    let mut world = World::new(plan);
    world.start_scenario(1, "");
    finish(&mut world);
    world
}

#[test]
fn gateway_full_of_sessions_answers_503_with_retry_after() {
    let plan = Plan {
        rules: rule("VoxEngine.addEventListener(AppEvents.CallAlerting, e => e.call.answer());"),
        phones: vec![phone("bob", Manner::default()), phone("eve", Manner::default())],
        config: "[limits]\nsessions = 1\n".into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.dial(0, "200");
    world.run_for(ms(100));
    assert!(world.start_scenario(1, "").is_none());
    world.dial(1, "200");
    world.run_for(ms(1000));
    let text = world.ladder.text();
    assert!(text.contains("eve <- 503 INVITE"), "{}", story(&world));
    assert!(text.contains("bob <- 200 INVITE"), "{}", story(&world));
    world.gateway.stop(world.now);
    finish(&mut world);
}

#[test]
fn calls_of_one_session_are_counted_from_start_to_end() {
    let script = r#"
        for (let n = 0; n < 3; n++) {
            const call = VoxEngine.callPSTN("999", "100");
            call.addEventListener(CallEvents.Failed, e => Logger.write("> " + e.code + " " + e.reason));
        }
        setTimeout(VoxEngine.terminate, 100);
    "#;
    let world = run(script, "[limits]\ncalls_per_session = 2\ncalls_in_progress = 2\n", Vec::new());
    assert_eq!(said(&world), ["404 Not Found", "404 Not Found", "403 Call limit reached"]);
}

#[test]
fn unanswered_calls_of_one_session_are_capped() {
    let script = r#"
        for (const number of ["7001", "7002"]) {
            const call = VoxEngine.callPSTN(number, "100");
            call.addEventListener(CallEvents.Connected, () => Logger.write("> " + number));
            call.addEventListener(CallEvents.Failed, e => Logger.write("> " + number + " " + e.code));
        }
        setTimeout(VoxEngine.terminate, 3000);
    "#;
    let phones = vec![phone("7001", answers()), phone("7002", answers())];
    let world = run(script, "[limits]\ncalls_in_progress = 1\n", phones);
    assert_eq!(said(&world), ["7002 403", "7001"]);
}

#[test]
fn call_without_a_free_port_fails_with_503() {
    let script = r#"
        for (const number of ["7001", "7002", "7003"]) {
            const call = VoxEngine.callPSTN(number, "100");
            call.addEventListener(CallEvents.Connected, () => Logger.write("> " + number));
            call.addEventListener(CallEvents.Failed, e => Logger.write("> " + number + " " + e.code));
        }
        setTimeout(VoxEngine.terminate, 3000);
    "#;
    let phones = ["7001", "7002", "7003"].map(|name| phone(name, answers())).to_vec();
    let world = run(script, "[media]\nrtp_ports = [16384, 16387]\n", phones);
    assert_eq!(said(&world), ["7003 503", "7001", "7002"]);
}

#[test]
fn incoming_call_without_a_free_port_gets_503() {
    let hold = Manner { hangs_up_after: Some(ms(5000)), ..Manner::default() };
    let plan = Plan {
        rules: rule(
            "VoxEngine.addEventListener(AppEvents.CallAlerting, e => { e.call.answer(); e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate); });",
        ),
        phones: vec![
            phone("bob", hold.clone()),
            phone("amy", hold),
            phone("eve", Manner::default()),
        ],
        config: "[media]\nrtp_ports = [16384, 16387]\n".into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.dial(0, "200");
    world.dial(1, "200");
    world.run_for(ms(1000));
    world.dial(2, "200");
    finish(&mut world);
    assert!(world.ladder.text().contains("eve <- 503 INVITE"), "{}", story(&world));
}

#[test]
fn hundred_and_first_timer_is_refused_with_the_vendors_words() {
    let script = r#"
        for (let n = 0; n < 100; n++) setTimeout(() => {}, 50);
        try { setTimeout(() => {}, 50); } catch (error) { Logger.write("> " + error.message); }
        setTimeout.call === undefined;
    "#;
    let world = run(script, "", Vec::new());
    assert_eq!(said(&world), ["Exceeded the timer count limit!"]);
}

#[test]
fn eleventh_player_is_refused() {
    let script = r#"
        let made = 0;
        try {
            for (;;) { VoxEngine.createURLPlayer("tone.wav", { loop: true }); made++; }
        } catch (error) { Logger.write("> " + made + " " + (error instanceof Error)); }
        setTimeout(VoxEngine.terminate, 100);
    "#;
    let world = run(script, "", Vec::new());
    assert_eq!(said(&world), ["10 true"]);
}

#[test]
fn thirty_sixth_http_request_is_refused_with_the_vendors_words() {
    let script = r#"
        let made = 0;
        try {
            for (;;) { Net.httpRequest("http://crm/", () => {}); made++; }
        } catch (error) { Logger.write("> " + made + " " + error.message); }
        setTimeout(VoxEngine.terminate, 100);
    "#;
    let world = run(script, "", Vec::new());
    assert_eq!(said(&world), ["35 Exceeded the HTTP connection count limit!"]);
    assert_eq!(world.fetched.len(), 35);
}

#[test]
fn long_line_of_the_log_is_cut() {
    let world = run("Logger.write('x'.repeat(20000)); VoxEngine.terminate();", "", Vec::new());
    let line = world.log.iter().find(|line| line.starts_with('x')).expect("the line");
    assert_eq!(line.len(), 15_000);
}

#[test]
fn log_of_a_session_ends_at_its_limit() {
    let script =
        "for (let n = 0; n < 100; n++) Logger.write('y'.repeat(1000)); VoxEngine.terminate();";
    let world = run(script, "[limits]\nsession_log_kib = 16\n", Vec::new());
    assert!(world.log.iter().any(|line| line.contains("the log is full")), "{:?}", world.log);
    assert!(world.log.iter().filter(|line| line.starts_with('y')).count() < 17);
}

#[test]
fn requests_to_one_access_url_that_wait_are_capped() {
    let script = "VoxEngine.addEventListener(AppEvents.HttpRequest, () => new Promise(() => {}));";
    let plan = Plan { rules: rule(script), ..Plan::default() };
    let mut world = World::new(plan);
    let urls = world.start_scenario(1, "").expect("the scenario starts");
    let requests: Vec<u64> = (0..65).map(|_| world.access(&urls, "")).collect();
    // The others wait for the handler's promise.
    assert_eq!(world.answers, [(requests[64], None)]);
    finish(&mut world);
    assert_eq!(world.answers.len(), 65);
}

#[test]
fn caller_waits_no_longer_than_the_ring_timeout() {
    let plan = Plan {
        rules: rule(
            "VoxEngine.addEventListener(AppEvents.CallAlerting, e => { e.call.ring(); e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate); });",
        ),
        phones: vec![phone("bob", Manner::default())],
        config: "[limits]\nring_timeout_s = 10\n".into(),
        ..Plan::default()
    };
    let world = check_call(
        plan,
        "200",
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 180 INVITE
         bob <- 480 INVITE
         bob -> ACK",
    );
    assert_eq!(world.history[0].duration_ms, 10_000);
}

#[test]
fn refused_calls_without_end_do_not_fill_the_history() {
    let script = r#"
        let made = 0;
        for (let n = 0; n < 5000; n++) { VoxEngine.callPSTN("999", "100"); made++; }
        VoxEngine.customData("c".repeat(100000));
        Logger.write("> " + made + " " + VoxEngine.customData().length);
        setTimeout(VoxEngine.terminate, 100);
    "#;
    let world = run(script, "[limits]\ncalls_per_session = 3\ncalls_in_progress = 3\n", Vec::new());
    assert_eq!(said(&world), ["5000 100000"]);
    assert_eq!(world.history[0].calls.len(), 4);
    assert_eq!(world.history[0].custom_data.len(), 200);
}

#[test]
fn number_of_any_length_makes_no_message() {
    let script = r#"
        for (const call of [
            VoxEngine.callPSTN("1".repeat(600), "100"),
            VoxEngine.callSIP("sip:" + "u".repeat(600) + "@10.0.1.1", "100"),
            VoxEngine.callUser({ username: "bob", callerid: "1".repeat(600) }),
        ]) {
            call.addEventListener(CallEvents.Failed, e => Logger.write("> " + e.code));
        }
        setTimeout(VoxEngine.terminate, 100);
    "#;
    let config = "[[trunk]]\nname = \"any\"\nserver = \"sip:10.0.9.9\"\noptions_s = 0\n\
                  [[route]]\npattern = '1+'\ntrunks = [\"any\"]\n";
    let world = run(script, config, Vec::new());
    assert_eq!(said(&world), ["414", "414", "414"]);
}

#[test]
fn rows_of_two_sessions_have_numbers_of_their_own() {
    let script = r#"
        VoxEngine.callPSTN("999", "100"); VoxEngine.callPSTN("999", "100");
        setTimeout(VoxEngine.terminate, 100);
    "#;
    let mut world = World::new(Plan { rules: rule(script), ..Plan::default() });
    world.start_scenario(1, "");
    world.start_scenario(1, "");
    finish(&mut world);
    let calls = world.history.iter().flat_map(|session| &session.calls);
    assert_eq!(calls.map(|call| call.id).collect::<Vec<_>>(), [10_001, 10_002, 20_001, 20_002]);
}

#[test]
fn lines_beyond_the_log_of_a_session_cost_nobody_anything() {
    let script = r#"
        for (let n = 0; n < 200000; n++) Logger.write("y");
        VoxEngine.terminate();
    "#;
    let world = run(script, "[limits]\nsession_log_kib = 16\njs_run_time_ms = 20000\n", Vec::new());
    // 16 KiB of lines with their times, and the end of the session is told all the same.
    assert_eq!(world.log.iter().filter(|line| *line == "y").count(), 16384 / 26);
    assert!(world.log.iter().any(|line| line.contains("the log is full")));
    assert_eq!(world.history[0].finish_reason.as_deref(), Some("Normal termination"));
}
