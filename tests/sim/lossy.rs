//! The same flows on a network that loses, doubles and reorders.

use crate::{Plan, World, answers, finish, ms, phone, rule, said, story};
use branchline::sim::link::Weather;
use branchline::sim::phone::{Dial, Hold, Manner};
use branchline::sim::sound;

const STORM: Weather = Weather {
    loss: 10,
    duplication: 10,
    reordering: 10,
    delay: std::time::Duration::from_millis(15),
};

fn stormy(seed: u64, rules: &str, phones: Vec<(String, Manner)>) -> World {
    World::new(Plan { weather: STORM, seed, rules: rule(rules), phones, ..Plan::default() })
}

/// Each line at most once: no event may come twice because a message did.
fn each_once(world: &World, seed: u64) {
    let said = said(world);
    for line in &said {
        let times = said.iter().filter(|other| *other == line).count();
        assert_eq!(times, 1, "seed {seed}: {line}\n{}", story(world));
    }
}

const CALLBACK: &str = r#"
    const a = VoxEngine.callPSTN("7001", "100");
    let b;
    const log = (who, call) => {
        for (const name of ["Ringing", "Connected", "Disconnected", "Failed"]) {
            call.addEventListener(CallEvents[name], () => Logger.write("> " + who + " " + name));
        }
    };
    log("a", a);
    a.addEventListener(CallEvents.Connected, () => {
        b = VoxEngine.callPSTN("7002", "100");
        log("b", b);
        b.handleTones(true);
        b.addEventListener(CallEvents.ToneReceived, e => Logger.write("> tone " + e.tone));
        b.addEventListener(CallEvents.Connected, () => VoxEngine.sendMediaBetween(a, b));
        b.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        b.addEventListener(CallEvents.Failed, VoxEngine.terminate);
    });
    a.addEventListener(CallEvents.Failed, VoxEngine.terminate);
"#;

#[test]
fn callback_gets_through_with_every_event_once() {
    for seed in 1..=40 {
        let callee = Manner {
            presses: vec![(ms(500), '4'), (ms(1200), '2')],
            speaks: Some(700.0),
            hangs_up_after: Some(ms(3000)),
            ..answers()
        };
        let phones =
            vec![phone("7001", Manner { speaks: Some(400.0), ..answers() }), phone("7002", callee)];
        let mut world = stormy(seed, CALLBACK, phones);
        world.start_scenario(1, "");
        finish(&mut world);
        each_once(&world, seed);
        for line in ["a Connected", "b Connected", "tone 4", "tone 2"] {
            assert!(said(&world).contains(&line), "seed {seed}: no {line}\n{}", story(&world));
        }
        assert_eq!(world.history[0].calls.len(), 2);
    }
}

#[test]
fn refused_and_unanswered_calls_fail_once() {
    for seed in 1..=20 {
        for (manner, code) in [
            (Manner { refuses: Some(486), ..answers() }, "b Failed"),
            (Manner { answers_after: None, ..answers() }, "b Failed"),
        ] {
            let phones = vec![phone("7001", answers()), phone("7002", manner)];
            let mut world = stormy(seed, CALLBACK, phones);
            world.start_scenario(1, "");
            finish(&mut world);
            each_once(&world, seed);
            assert!(said(&world).contains(&code), "seed {seed}\n{}", story(&world));
        }
    }
}

const ANSWER: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        for (const name of ["Connected", "Disconnected"]) {
            e.call.addEventListener(CallEvents[name], () => Logger.write("> " + name));
        }
        e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        e.call.ring();
        setTimeout(() => e.call.answer(), 800);
    });
"#;

#[test]
fn incoming_calls_are_answered_and_hung_up_once() {
    for seed in 1..=40 {
        let manner = Manner { hangs_up_after: Some(ms(2000)), ..Manner::default() };
        let mut world = stormy(seed, ANSWER, vec![phone("bob", manner)]);
        world.dial(0, "200");
        finish(&mut world);
        each_once(&world, seed);
        assert!(said(&world).contains(&"Disconnected"), "seed {seed}\n{}", story(&world));
        assert_eq!(world.history.len(), 1, "seed {seed}\n{}", story(&world));
    }
}

#[test]
fn cancel_may_cross_the_answer() {
    // From long before the answer to about the moment in which it is on its way.
    for seed in 1..=40 {
        let manner = Manner { hangs_up_after: Some(ms(500)), ..Manner::default() };
        let mut world = stormy(seed, ANSWER, vec![phone("bob", manner)]);
        let cancels_after = Some(ms(600 + seed * 8));
        world.dial_as(0, Dial { number: "200".into(), offers: true, after: ms(0), cancels_after });
        finish(&mut world);
        each_once(&world, seed);
        assert_eq!(said(&world).last(), Some(&"Disconnected"), "seed {seed}\n{}", story(&world));
    }
}

#[test]
fn hangup_may_cross_the_answer() {
    for seed in 1..=40 {
        let script = format!(
            r#"
            const call = VoxEngine.callPSTN("7001", "100");
            for (const name of ["Connected", "Disconnected", "Failed"]) {{
                call.addEventListener(CallEvents[name], () => {{
                    Logger.write("> " + name);
                    if (name !== "Connected") VoxEngine.terminate();
                }});
            }}
            setTimeout(() => call.hangup(), {});
            "#,
            450 + seed * 5
        );
        let mut world = stormy(seed, &script, vec![phone("7001", answers())]);
        world.start_scenario(1, "");
        finish(&mut world);
        each_once(&world, seed);
        let last = said(&world).last().copied();
        assert!(matches!(last, Some("Disconnected" | "Failed")), "seed {seed}\n{}", story(&world));
    }
}

#[test]
fn hold_resume_and_messages_get_through_once() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        for (const name of ["Connected", "OnHold", "OffHold", "Disconnected"]) {
            call.addEventListener(CallEvents[name], () => Logger.write("> " + name));
        }
        call.addEventListener(CallEvents.MessageReceived, e => Logger.write("> " + e.text));
        call.addEventListener(CallEvents.Connected, () => call.sendMessage("hello"));
        call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
    "#;
    for seed in 1..=30 {
        // Far enough apart for the retransmissions of one to end before the next.
        let manner = Manner {
            says: vec![(ms(2000), "well")],
            holds: vec![(ms(20_000), Hold::On), (ms(40_000), Hold::Off)],
            hangs_up_after: Some(ms(60_000)),
            ..answers()
        };
        let mut world = stormy(seed, script, vec![phone("7001", manner)]);
        world.start_scenario(1, "");
        finish(&mut world);
        assert_eq!(
            said(&world),
            ["Connected", "well", "OnHold", "OffHold", "Disconnected"],
            "seed {seed}\n{}",
            story(&world)
        );
    }
}

#[test]
fn redirected_and_early_calls_connect_once() {
    for seed in 1..=30 {
        let elsewhere = "sip:7002@10.0.1.2:5060".to_owned();
        let phones = vec![
            phone("7001", Manner { redirects_to: Some(elsewhere), ..answers() }),
            phone("7002", Manner { early_media: true, ..answers() }),
        ];
        let script = r#"
            const call = VoxEngine.callPSTN("7001", "100");
            for (const name of ["Forwarding", "AudioStarted", "Connected", "Failed"]) {
                call.addEventListener(CallEvents[name], () => Logger.write("> " + name));
            }
            call.addEventListener(CallEvents.Failed, VoxEngine.terminate);
            call.addEventListener(CallEvents.Connected, () => setTimeout(VoxEngine.terminate, 1000));
        "#;
        let mut world = stormy(seed, script, phones);
        world.start_scenario(1, "");
        finish(&mut world);
        each_once(&world, seed);
        for line in ["Forwarding", "AudioStarted", "Connected"] {
            assert!(said(&world).contains(&line), "seed {seed}: no {line}\n{}", story(&world));
        }
    }
}

#[test]
fn call_without_an_offer_gets_ours_and_hears_the_answer() {
    for seed in 1..=30 {
        let manner = Manner { speaks: Some(400.0), ..Manner::default() };
        let script = r#"
            VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
                e.call.addEventListener(CallEvents.Connected, () => {
                    Logger.write("> Connected");
                    e.call.sendMediaTo(e.call);
                    setTimeout(VoxEngine.terminate, 3000);
                });
                e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
                e.call.answer();
            });
        "#;
        let mut world = stormy(seed, script, vec![phone("bob", manner)]);
        let number = "200".to_owned();
        world.dial_as(0, Dial { number, offers: false, after: ms(0), cancels_after: None });
        finish(&mut world);
        assert_eq!(said(&world), ["Connected"], "seed {seed}\n{}", story(&world));
        // Its own voice, but for what the network lost.
        let heard = &world.phones[0].heard;
        assert!(sound::purity(&heard[heard.len() / 2..], 400.0) > 0.3, "seed {seed}");
    }
}

#[test]
fn one_seed_gives_the_same_story() {
    let run = || {
        let phones = vec![phone("7001", answers()), phone("7002", answers())];
        let mut world = stormy(7, CALLBACK, phones);
        world.start_scenario(1, "");
        world.run_for(ms(10_000));
        world.ladder.timed()
    };
    assert_eq!(run(), run());
}
