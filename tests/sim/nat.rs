//! A registered phone behind a router.

use branchline::sim::phone::Manner;
use branchline::sim::sound;
use branchline::sim::world::World;
use branchline::storage::record::StoredBinding;

use crate::{Plan, answers, expect_ladder, finish, ms, phone, rule, said, story};

/// Calls alice, records her, and hangs up after three seconds.
const CALL: &str = r#"
    VoxEngine.addEventListener(AppEvents.Started, () => {
        const call = VoxEngine.callUser({ username: "alice", callerid: "100" });
        call.addEventListener(CallEvents.Connected, () => {
            Logger.write("> Connected");
            call.record({ stereo: true });
            setTimeout(() => call.hangup(), 3000);
        });
        for (const name of ["Failed", "Disconnected"]) {
            call.addEventListener(CallEvents[name], e => {
                Logger.write("> " + name + (e.code ? " " + e.code : ""));
                VoxEngine.terminate();
            });
        }
    });
"#;

/// Alice registered from behind the router, before the gateway was started again.
fn behind_router(keepalive_s: u32) -> Plan {
    let manner = Manner { speaks: Some(440.0), ..answers() };
    Plan {
        rules: rule(CALL),
        phones: vec![phone("7001", manner)],
        nat: Some(ms(60_000)),
        config: format!(
            "[sip]\nkeepalive_s = {keepalive_s}\n\
             [[user]]\nname = \"alice\"\npassword = \"correct-horse\"\n"
        ),
        bindings: vec![StoredBinding {
            user: "alice".into(),
            path: String::new(),
            contact: "<sip:alice@10.0.1.1:5060>".into(),
            call_id: "r".into(),
            cseq: 1,
            // An hour after the start of every world.
            expires_at: 1_767_225_600_000 + 3_600_000,
            source: "203.0.113.7:40001".into(),
            transport: "udp".into(),
            listener: 0,
            user_agent: String::new(),
        }],
        ..Plan::default()
    }
}

#[test]
fn call_reaches_a_phone_behind_a_router_that_is_kept_open_and_both_sides_are_heard() {
    let mut world = World::new(behind_router(30));
    world.run_for(ms(600_000));
    world.start_scenario(1, "");
    finish(&mut world);
    expect_ladder(
        &world,
        "7001 <- INVITE
         7001 -> 180 INVITE
         7001 -> 200 INVITE
         7001 <- ACK
         7001 <- BYE
         7001 -> 200 BYE",
    );
    assert_eq!(said(&world), ["Connected", "Disconnected"]);
    // Its description names an address inside; its sound came from the router.
    let recorded = world.recordings.values().next().expect("the call was recorded");
    let right: Vec<i16> = recorded.samples.iter().skip(1).step_by(2).copied().collect();
    let middle = right.get(8000..16000).unwrap_or_else(|| panic!("{}", story(&world)));
    assert!(sound::purity(middle, 440.0) > 0.9, "{}", story(&world));
    // Silence at least went back there: without the latch nothing would.
    assert!(world.phones[0].heard.len() > 8000, "{}", story(&world));
}

#[test]
fn router_that_is_left_alone_forgets_the_phone() {
    let mut world = World::new(behind_router(0));
    world.run_for(ms(600_000));
    world.start_scenario(1, "");
    finish(&mut world);
    assert_eq!(said(&world), ["Failed 408"]);
    assert!(world.phones[0].invites.is_empty());
}
