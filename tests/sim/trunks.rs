//! Several trunks for one number, and who calls whom over them.

use branchline::sim::phone::Manner;
use branchline::sim::world::World;

use crate::{Plan, answers, check, check_call, finish, ms, phone, rule, said, story};

/// Calls the number in its custom data; hangs up 300 ms after the answer.
const DIAL: &str = r#"
    VoxEngine.addEventListener(AppEvents.Started, () => {
        const call = VoxEngine.callPSTN(VoxEngine.customData(), "100");
        for (const name of ["Ringing", "Connected", "Disconnected", "Failed"]) {
            call.addEventListener(CallEvents[name], e => {
                Logger.write("> " + name + (e.code ? " " + e.code + " " + e.reason : ""));
                if (name === "Connected") setTimeout(() => call.hangup(), 300);
                if (name === "Failed" || name === "Disconnected") VoxEngine.terminate();
            });
        }
    });
"#;

/// A route over these trunks for 555.
fn route(trunks: &str) -> String {
    format!(
        "[[trunk]]\nname = \"dead\"\nserver = \"sip:10.0.9.9:5060\"\noptions_s = 0\n\
         [[trunk]]\nname = \"dead6\"\nserver = \"sip:[2001:db8::9]:5060\"\noptions_s = 0\n\
         [[route]]\npattern = '555'\ntrunks = [{trunks}]\n"
    )
}

fn refuses(status: u16) -> Manner {
    Manner { refuses: Some(status), ..answers() }
}

#[test]
fn trunk_that_fails_is_followed_by_the_next_one() {
    let plan = Plan {
        rules: rule(DIAL),
        phones: vec![phone("1", refuses(503)), phone("2", answers())],
        config: route("'1', '2'"),
        ..Plan::default()
    };
    let world = check(
        plan,
        "555",
        "1 <- INVITE
         1 -> 180 INVITE
         1 -> 503 INVITE
         1 <- ACK
         2 <- INVITE
         2 -> 180 INVITE
         2 -> 200 INVITE
         2 <- ACK
         2 <- BYE
         2 -> 200 BYE",
    );
    assert_eq!(said(&world), ["Ringing", "Connected", "Disconnected"]);
}

#[test]
fn callees_own_no_is_not_asked_again_elsewhere() {
    for (status, reason) in [(486, "Failed 486 Reason"), (603, "Failed 603 Reason")] {
        let plan = Plan {
            rules: rule(DIAL),
            phones: vec![phone("1", refuses(status)), phone("2", answers())],
            config: route("'1', '2'"),
            ..Plan::default()
        };
        let world = check(
            plan,
            "555",
            &format!("1 <- INVITE\n1 -> 180 INVITE\n1 -> {status} INVITE\n1 <- ACK"),
        );
        assert_eq!(said(&world), ["Ringing", reason]);
    }
}

#[test]
fn callee_who_does_not_pick_up_is_not_rung_elsewhere() {
    let rings = Manner { answers_after: None, ..Manner::default() };
    let plan = Plan {
        rules: rule(DIAL),
        phones: vec![phone("1", rings), phone("2", answers())],
        config: route("'1', '2'"),
        ..Plan::default()
    };
    let world = check(
        plan,
        "555",
        "1 <- INVITE
         1 -> 180 INVITE
         1 <- CANCEL
         1 -> 200 CANCEL
         1 -> 487 INVITE
         1 <- ACK",
    );
    assert_eq!(said(&world), ["Ringing", "Failed 408 Request Timeout"]);
}

#[test]
fn silent_trunk_costs_six_seconds_once_and_comes_last_then() {
    let plan = Plan {
        rules: rule(DIAL),
        phones: vec![phone("2", answers())],
        config: route("'dead', '2'"),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    let start = world.now;
    world.start_scenario(1, "555");
    world.run_for(ms(8000));
    assert_eq!(said(&world), ["Ringing", "Connected", "Disconnected"], "{}", story(&world));
    world.log.clear();
    world.start_scenario(1, "555");
    // No second wait.
    world.run_for(ms(2000));
    assert_eq!(said(&world), ["Ringing", "Connected", "Disconnected"], "{}", story(&world));
    assert!(world.now - start < ms(11_000));
    // The first INVITE still waits for an answer that it could cancel; the doubt for its end.
    world.run_for(ms(60_000));
    assert!(world.is_empty(), "{}", world.leftovers());
}

#[test]
fn next_trunk_is_told_the_address_that_it_can_reach() {
    let speaks = Manner { speaks: Some(1000.0), ..answers() };
    let plan = Plan {
        rules: rule(DIAL),
        phones: vec![phone("2", speaks)],
        config: route("'dead6', '2'"),
        is_dual_stack: true,
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.start_scenario(1, "555");
    finish(&mut world);
    assert_eq!(said(&world), ["Ringing", "Connected", "Disconnected"], "{}", story(&world));
    let invite = &world.phones[0].invites[0];
    assert!(invite.contains("c=IN IP4 10.0.0.1\n") || invite.contains("c=IN IP4 10.0.0.1\r\n"));
    assert!(!invite.contains("2001:db8"), "{invite}");
}

#[test]
fn trunk_that_has_all_its_calls_leaves_the_next_one_to_others() {
    let plan = Plan {
        rules: rule(DIAL),
        phones: vec![
            phone("1", Manner { answers_after: None, ..answers() }),
            phone("2", answers()),
        ],
        config: route("'1', '2'"),
        trunk: "max_calls = 1".into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.start_scenario(1, "555");
    world.run_for(ms(500));
    world.start_scenario(1, "555");
    world.run_for(ms(500));
    world.start_scenario(1, "555");
    world.run_for(ms(100));
    let log = &world.log;
    assert!(log.iter().any(|line| line.contains("1 is not called: 503 max_calls reached")));
    assert_eq!(said(&world), ["Ringing", "Ringing", "Failed 503 max_calls reached", "Connected"]);
    finish(&mut world);
}

/// Says who calls, and goes on to 2.
const FORWARD: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        Logger.write("> " + [e.callerid, e.displayName, e.fromURI, e.call.callerid(),
                             e.headers["History-Info"]].join("|"));
        const call = VoxEngine.callPSTN("2", "500", {
            followDiversion: true, headers: { "History-Info": "<sip:9@x>;index=1", "Subject": "s" },
        });
        VoxEngine.easyProcess(e.call, call);
    });
"#;

fn forwarded(trunk: &str, headers: &'static str) -> World {
    let caller = Manner { headers, hangs_up_after: Some(ms(2000)), ..Manner::default() };
    let plan = Plan {
        rules: rule(FORWARD),
        phones: vec![phone("1", caller), phone("2", answers())],
        trunk: trunk.into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.dial(0, "300");
    finish(&mut world);
    world
}

const ASSERTED: &str = "P-Asserted-Identity: \"Eve\" <sip:+4930555@x>\r\n\
                        History-Info: <sip:8@x>;index=1\r\nDiversion: <sip:7@x>;reason=no-answer\r\n";

#[test]
fn script_sees_who_is_asserted_by_a_trunk_that_is_trusted() {
    let world = forwarded("trust_identity = true", ASSERTED);
    assert_eq!(said(&world), ["+4930555|Eve|sip:+4930555@x|+4930555|"], "{}", story(&world));
    let world = forwarded("", ASSERTED);
    assert_eq!(said(&world), ["1||sip:1@10.0.1.1|1|"]);
    let hidden = "P-Asserted-Identity: <sip:+4930555@x>\r\nPrivacy: id\r\n";
    let world = forwarded("trust_identity = true", hidden);
    assert_eq!(
        said(&world),
        ["anonymous|Anonymous|sip:anonymous@anonymous.invalid|anonymous|"],
        "{}",
        story(&world)
    );
    // What is hidden does not come out at the other side.
    assert!(!world.phones[1].invites[0].contains("4930555"));
}

#[test]
fn diversion_and_passed_fields_reach_the_next_trunk() {
    let keys = "trust_identity = true\nsend_identity = 'pai'\npass_headers = ['History-Info']";
    let world = forwarded(keys, ASSERTED);
    assert_eq!(
        said(&world),
        ["+4930555|Eve|sip:+4930555@x|+4930555|<sip:8@x>;index=1"],
        "{}",
        story(&world)
    );
    let invite = &world.phones[1].invites[0];
    for field in [
        "From: <sip:+4930555@10.0.0.1>;tag=",
        "P-Asserted-Identity: <sip:+4930555@10.0.0.1>\n",
        "Diversion: <sip:300@10.0.0.1>;reason=unconditional\n",
        "Diversion: <sip:7@x>;reason=no-answer\n",
        "History-Info: <sip:9@x>;index=1\n",
    ] {
        assert!(invite.contains(field), "{field} is not in {invite}");
    }
    assert!(!invite.contains("Subject"), "{invite}");
    let dropped = "header Subject dropped: 2 has it not in pass_headers";
    assert!(world.log.iter().any(|line| line.contains(dropped)), "{}", story(&world));
}

#[test]
fn trunk_speaks_its_own_codecs_only() {
    let caller = Manner { hangs_up_after: Some(ms(2000)), ..Manner::default() };
    let plan = Plan {
        rules: rule("VoxEngine.forwardCallToPSTN(() => '2');"),
        phones: vec![phone("1", caller), phone("2", answers())],
        trunk: "codecs = ['PCMU']".into(),
        ..Plan::default()
    };
    let world = check_call(
        plan,
        "300",
        "1 -> INVITE
         1 <- 100 INVITE
         2 <- INVITE
         2 -> 180 INVITE
         1 <- 180 INVITE
         2 -> 200 INVITE
         2 <- ACK
         1 <- 200 INVITE
         1 -> ACK
         1 -> BYE
         1 <- 200 BYE
         2 <- BYE
         2 -> 200 BYE",
    );
    let invite = &world.phones[1].invites[0];
    assert!(invite.contains("RTP/AVP 0 101"), "{invite}");
}
