//! Calls that come in.

use crate::{Plan, answers, check_call, ms, phone, rule, said};
use branchline::sim::phone::{Dial, Manner};

const ANSWER: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        Logger.write("> " + e.callerid + " calls " + e.destination + " " + e.headers["X-Test"]);
        for (const name of ["Connected", "Disconnected", "ToneReceived"]) {
            e.call.addEventListener(CallEvents[name], event => {
                Logger.write("> " + name + (event.tone ? " " + event.tone + " " + event.type : "") +
                    (event.internalCode ? " " + event.internalCode : ""));
                if (name === "Disconnected") VoxEngine.terminate();
            });
        }
        e.call.handleTones(true);
        e.call.ring();
        setTimeout(() => e.call.answer(), 1000);
    });
"#;

#[test]
fn caller_hears_ringing_then_the_answer_and_hangs_up() {
    let manner = Manner { hangs_up_after: Some(ms(1000)), ..Manner::default() };
    let plan = Plan { rules: rule(ANSWER), phones: vec![phone("bob", manner)], ..Plan::default() };
    let world = check_call(
        plan,
        "200",
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 180 INVITE
         bob <- 200 INVITE
         bob -> ACK
         bob -> BYE
         bob <- 200 BYE",
    );
    assert_eq!(said(&world), ["bob calls 200 yes", "Connected", "Disconnected 200"]);
}

#[test]
fn digits_of_every_kind_reach_the_script_once() {
    let manner = Manner {
        presses: vec![(ms(200), '5'), (ms(600), '#')],
        sends_info: vec![(ms(1000), '7')],
        hangs_up_after: Some(ms(2000)),
        ..Manner::default()
    };
    let plan = Plan { rules: rule(ANSWER), phones: vec![phone("bob", manner)], ..Plan::default() };
    let mut world = crate::World::new(plan);
    world.dial(0, "200");
    crate::finish(&mut world);
    let digits: Vec<&str> =
        said(&world).into_iter().filter(|line| line.starts_with("ToneReceived")).collect();
    assert_eq!(digits, ["ToneReceived 5 1", "ToneReceived # 1", "ToneReceived 7 3"]);
}

#[test]
fn cancelled_call_ends_with_487() {
    let plan = Plan {
        rules: rule(ANSWER),
        phones: vec![phone("bob", Manner::default())],
        ..Plan::default()
    };
    let mut world = crate::World::new(plan);
    let number = "200".to_owned();
    world.dial_as(0, Dial { number, offers: true, after: ms(0), cancels_after: Some(ms(300)) });
    crate::finish(&mut world);
    crate::expect_ladder(
        &world,
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 180 INVITE
         bob -> CANCEL
         bob <- 200 CANCEL
         bob <- 487 INVITE
         bob -> ACK",
    );
    assert_eq!(said(&world), ["bob calls 200 yes", "Disconnected 487"]);
}

#[test]
fn number_that_no_rule_takes_gets_404() {
    let plan = Plan {
        rules: vec![("300".into(), ANSWER.into())],
        phones: vec![phone("bob", Manner::default())],
        ..Plan::default()
    };
    let world = check_call(
        plan,
        "200",
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 404 INVITE
         bob -> ACK",
    );
    assert!(world.history.is_empty());
}

#[test]
fn call_that_nobody_answers_gets_480_after_a_minute() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
            e.call.addEventListener(CallEvents.Disconnected, event => {
                Logger.write("> " + event.internalCode);
                VoxEngine.terminate();
            });
        });
    "#;
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("bob", Manner::default())],
        ..Plan::default()
    };
    let world = check_call(
        plan,
        "200",
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 480 INVITE
         bob -> ACK",
    );
    assert_eq!(said(&world), ["408"]);
}

#[test]
fn rejected_call_gets_the_scripts_status() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
            e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
            e.call.reject(486, { "X-Why": "lunch" });
        });
    "#;
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("bob", Manner::default())],
        ..Plan::default()
    };
    check_call(
        plan,
        "200",
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 486 INVITE
         bob -> ACK",
    );
}

#[test]
fn script_that_throws_at_top_level_costs_the_caller_500() {
    let plan = Plan {
        rules: rule("nonsense.nowhere();"),
        phones: vec![phone("bob", Manner::default())],
        ..Plan::default()
    };
    let world = check_call(
        plan,
        "200",
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 500 INVITE
         bob -> ACK",
    );
    assert_eq!(world.history[0].finish_reason.as_deref(), Some("JS session error"));
    assert!(world.log.iter().any(|line| line.contains("rule1.js:1")), "{:?}", world.log);
}

#[test]
fn forwarded_call_follows_the_steps_of_easy_process() {
    let script = "VoxEngine.forwardCallToPSTN();";
    let caller = Manner { hangs_up_after: Some(ms(1000)), ..Manner::default() };
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("bob", caller), phone("7001", answers())],
        ..Plan::default()
    };
    check_call(
        plan,
        "7001",
        "bob -> INVITE
         bob <- 100 INVITE
         7001 <- INVITE
         7001 -> 180 INVITE
         bob <- 180 INVITE
         7001 -> 200 INVITE
         7001 <- ACK
         bob <- 200 INVITE
         bob -> ACK
         bob -> BYE
         bob <- 200 BYE
         7001 <- BYE
         7001 -> 200 BYE",
    );
}

#[test]
fn forwarded_call_to_a_busy_phone_passes_486_on() {
    let busy = Manner { refuses: Some(486), rings_after: None, ..answers() };
    let plan = Plan {
        rules: rule("VoxEngine.forwardCallToPSTN();"),
        phones: vec![phone("bob", Manner::default()), phone("7003", busy)],
        ..Plan::default()
    };
    check_call(
        plan,
        "7003",
        "bob -> INVITE
         bob <- 100 INVITE
         7003 <- INVITE
         7003 -> 486 INVITE
         7003 <- ACK
         bob <- 486 INVITE
         bob -> ACK",
    );
}
