//! Calls that a scenario makes.

use crate::{Plan, answers, check, ms, phone, rule, said};
use branchline::sim::phone::Manner;

const CALL: &str = r#"
    VoxEngine.addEventListener(AppEvents.Started, () => {
        const call = VoxEngine.callPSTN(VoxEngine.customData(), "100");
        for (const name of ["Ringing", "AudioStarted", "Connected", "Disconnected", "Failed"]) {
            call.addEventListener(CallEvents[name], e => {
                Logger.write("> " + name + (e.code ? " " + e.code + " " + e.reason : ""));
                if (name === "Connected") setTimeout(() => call.hangup(), 2000);
                if (name === "Failed" || name === "Disconnected") VoxEngine.terminate();
            });
        }
    });
"#;

#[test]
fn answered_call_rings_connects_and_is_hung_up() {
    let plan =
        Plan { rules: rule(CALL), phones: vec![phone("7001", answers())], ..Plan::default() };
    let world = check(
        plan,
        "7001",
        "7001 <- INVITE
         7001 -> 180 INVITE
         7001 -> 200 INVITE
         7001 <- ACK
         7001 <- BYE
         7001 -> 200 BYE",
    );
    assert_eq!(said(&world), ["Ringing", "Connected", "AudioStarted", "Disconnected"]);
    let record = &world.history[0];
    assert_eq!(record.finish_reason.as_deref(), Some("Normal termination"));
    assert_eq!(record.calls.len(), 1);
    assert!(record.calls[0].is_successful);
    assert_eq!(record.calls[0].remote_number, "7001");
    assert_eq!(record.calls[0].end_reason, "200 Normal call clearing");
    assert_eq!(record.calls[0].duration_ms, 2000);
}

#[test]
fn busy_callee_fails_with_its_status() {
    let manner = Manner { refuses: Some(486), ..answers() };
    let plan = Plan { rules: rule(CALL), phones: vec![phone("7003", manner)], ..Plan::default() };
    let world = check(
        plan,
        "7003",
        "7003 <- INVITE
         7003 -> 180 INVITE
         7003 -> 486 INVITE
         7003 <- ACK",
    );
    assert_eq!(said(&world), ["Ringing", "Failed 486 Reason"]);
}

#[test]
fn callee_that_never_answers_is_cancelled_after_a_minute() {
    let manner = Manner { answers_after: None, ..Manner::default() };
    let plan = Plan { rules: rule(CALL), phones: vec![phone("7004", manner)], ..Plan::default() };
    let world = check(
        plan,
        "7004",
        "7004 <- INVITE
         7004 -> 180 INVITE
         7004 <- CANCEL
         7004 -> 200 CANCEL
         7004 -> 487 INVITE
         7004 <- ACK",
    );
    assert_eq!(said(&world), ["Ringing", "Failed 408 Request Timeout"]);
}

#[test]
fn number_without_a_route_fails_with_404() {
    let plan = Plan { rules: rule(CALL), ..Plan::default() };
    let world = check(plan, "999", "");
    assert_eq!(said(&world), ["Failed 404 Not Found"]);
}

#[test]
fn early_media_fires_audio_started_before_connected() {
    let manner = Manner { early_media: true, ..answers() };
    let plan = Plan { rules: rule(CALL), phones: vec![phone("7001", manner)], ..Plan::default() };
    let world = check(
        plan,
        "7001",
        "7001 <- INVITE
         7001 -> 183 INVITE
         7001 -> 200 INVITE
         7001 <- ACK
         7001 <- BYE
         7001 -> 200 BYE",
    );
    assert_eq!(said(&world), ["Ringing", "AudioStarted", "Connected", "Disconnected"]);
}

#[test]
fn ringing_and_answer_back_to_back_survive() {
    let manner =
        Manner { rings_after: Some(ms(0)), answers_after: Some(ms(0)), ..Manner::default() };
    let plan = Plan { rules: rule(CALL), phones: vec![phone("7001", manner)], ..Plan::default() };
    let world = check(
        plan,
        "7001",
        "7001 <- INVITE
         7001 -> 180 INVITE
         7001 -> 200 INVITE
         7001 <- ACK
         7001 <- BYE
         7001 -> 200 BYE",
    );
    assert_eq!(said(&world), ["Ringing", "Connected", "AudioStarted", "Disconnected"]);
}

#[test]
fn callee_hangs_up_first() {
    let manner = Manner { hangs_up_after: Some(ms(1000)), ..answers() };
    let plan = Plan { rules: rule(CALL), phones: vec![phone("7001", manner)], ..Plan::default() };
    let world = check(
        plan,
        "7001",
        "7001 <- INVITE
         7001 -> 180 INVITE
         7001 -> 200 INVITE
         7001 <- ACK
         7001 -> BYE
         7001 <- 200 BYE",
    );
    assert_eq!(said(&world), ["Ringing", "Connected", "AudioStarted", "Disconnected"]);
    assert_eq!(world.history[0].calls[0].duration_ms, 1000);
}

#[test]
fn hangup_while_ringing_cancels_and_fails_with_487() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.Started, () => {
            const call = VoxEngine.callPSTN("7004", "100");
            call.addEventListener(CallEvents.Ringing, () => call.hangup());
            call.addEventListener(CallEvents.Failed, e => {
                Logger.write("> " + e.code + " " + e.reason);
                VoxEngine.terminate();
            });
        });
    "#;
    let manner = Manner { answers_after: None, ..Manner::default() };
    let plan = Plan { rules: rule(script), phones: vec![phone("7004", manner)], ..Plan::default() };
    let world = check(
        plan,
        "",
        "7004 <- INVITE
         7004 -> 180 INVITE
         7004 <- CANCEL
         7004 -> 200 CANCEL
         7004 -> 487 INVITE
         7004 <- ACK",
    );
    assert_eq!(said(&world), ["487 Request Terminated"]);
}

#[test]
fn next_trunk_is_tried_after_503_and_not_after_486() {
    for (status, expected) in [(503, "Connected"), (486, "Failed 486 Reason")] {
        let first = Manner { refuses: Some(status), rings_after: None, ..answers() };
        let second = Manner { rings_after: None, ..answers() };
        let plan = Plan {
            rules: rule(CALL),
            phones: vec![phone("7001", first), phone("7002", second)],
            config: "[[route]]\npattern = '5'\ntrunks = [\"7001\", \"7002\"]\n".into(),
            ..Plan::default()
        };
        let mut world = crate::World::new(plan);
        world.start_scenario(1, "5");
        crate::finish(&mut world);
        assert_eq!(said(&world)[0], expected, "{}", crate::story(&world));
    }
}

#[test]
fn next_trunk_gets_digits_its_own_way() {
    let script = r#"
        const call = VoxEngine.callPSTN("8000", "100");
        call.addEventListener(CallEvents.Connected, () => {
            call.sendDigits("5");
            setTimeout(VoxEngine.terminate, 1000);
        });
    "#;
    let fails = Manner { refuses: Some(503), rings_after: None, ..answers() };
    let config = "[[trunk]]\nname = \"second\"\nserver = \"sip:10.0.1.2\"\noptions_s = 0\n\
                  dtmf = \"info\"\n[[route]]\npattern = '8000'\ntrunks = [\"first\", \"second\"]\n";
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("first", fails), phone("b", Manner { rings_after: None, ..answers() })],
        config: config.into(),
        ..Plan::default()
    };
    check(
        plan,
        "",
        "first <- INVITE
         first -> 503 INVITE
         first <- ACK
         b <- INVITE
         b -> 200 INVITE
         b <- ACK
         b <- INFO
         b -> 200 INFO
         b <- BYE
         b -> 200 BYE",
    );
}
