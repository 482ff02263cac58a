//! The part of a call before its answer: PRACK, early media, offers that come late, forks.

use std::sync::Arc;

use crate::{
    Plan, World, answers, check, check_call, expect_ladder, finish, ms, phone, rule, said, story,
};
use branchline::media::clip::Clip;
use branchline::media::frame::Rate;
use branchline::sim::link::Weather;
use branchline::sim::phone::{Dial, Manner, Prack};
use branchline::sim::sound;

/// Plays to the caller, and answers after two seconds.
const EARLY: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        for (const name of ["Connected", "Disconnected"]) {
            e.call.addEventListener(CallEvents[name], () => Logger.write("> " + name));
        }
        e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        e.call.startEarlyMedia();
        e.call.startPlayback("http://sounds/prompt.wav", true);
        setTimeout(() => e.call.answer(), 2000);
    });
"#;

const CALL: &str = r#"
    VoxEngine.addEventListener(AppEvents.Started, () => {
        const call = VoxEngine.callPSTN(VoxEngine.customData(), "100");
        for (const name of ["Ringing", "AudioStarted", "Connected", "Disconnected", "Failed"]) {
            call.addEventListener(CallEvents[name], e => {
                Logger.write("> " + name + (e.code ? " " + e.code : ""));
                if (name === "Connected") {
                    call.sendMediaTo(call);
                    setTimeout(() => call.hangup(), 2000);
                }
                if (name === "Failed" || name === "Disconnected") VoxEngine.terminate();
            });
        }
    });
"#;

const STORM: Weather = Weather { loss: 10, duplication: 10, reordering: 10, delay: ms(15) };

fn caller(prack: Prack) -> Manner {
    Manner { prack, hangs_up_after: Some(ms(1000)), ..Manner::default() }
}

fn reliable(law_pitch: f64) -> Manner {
    Manner {
        prack: Prack::Supported,
        early_media: true,
        speaks: Some(law_pitch),
        rings_after: Some(ms(200)),
        answers_after: Some(ms(1500)),
        ..Manner::default()
    }
}

fn world(script: &str, phones: Vec<(String, Manner)>, weather: Weather, seed: u64) -> World {
    let mut world =
        World::new(Plan { weather, seed, rules: rule(script), phones, ..Plan::default() });
    let samples = (0..50).flat_map(|frame| sound::sine(1000.0, 10_000.0, frame * 160));
    let clip = Clip::whole(Rate::Narrow, &samples.collect::<Vec<i16>>());
    world.sounds.insert("http://sounds/prompt.wav".into(), Arc::new(clip));
    world
}

fn forked(script: &str, phones: Vec<(String, Manner)>, weather: Weather, seed: u64) -> World {
    let proxy = Some("6000".to_owned());
    let mut world =
        World::new(Plan { weather, seed, rules: rule(script), phones, proxy, ..Plan::default() });
    world.start_scenario(1, "6000");
    finish(&mut world);
    world
}

/// Milliseconds of frames in which this pitch is all that is heard.
fn heard_ms(samples: &[i16], hertz: f64) -> usize {
    let is_heard =
        |frame: &&[i16]| sound::purity(frame, hertz) > 0.95 && sound::level_dbfs(frame) > -40.0;
    samples.chunks_exact(160).filter(is_heard).count() * 20
}

#[test]
fn early_media_to_a_caller_with_100rel_is_acknowledged() {
    let mut world =
        world(EARLY, vec![phone("bob", caller(Prack::Supported))], Weather::default(), 1);
    world.dial(0, "200");
    finish(&mut world);
    expect_ladder(
        &world,
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 183 INVITE
         bob -> PRACK
         bob <- 200 PRACK
         bob <- 200 INVITE
         bob -> ACK
         bob -> BYE
         bob <- 200 BYE",
    );
    assert_eq!(said(&world), ["Connected", "Disconnected"]);
    let heard = heard_ms(&world.phones[0].heard, 1000.0);
    assert!(heard >= 2500, "{heard} ms\n{}", story(&world));
}

#[test]
fn ringing_of_a_caller_who_requires_100rel_is_acknowledged() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
            e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
            e.call.ring();
            e.call.startEarlyMedia();
            setTimeout(() => e.call.answer(), 1000);
        });
    "#;
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("bob", caller(Prack::Required))],
        ..Plan::default()
    };
    check_call(
        plan,
        "200",
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 180 INVITE
         bob -> PRACK
         bob <- 200 PRACK
         bob <- 183 INVITE
         bob -> PRACK
         bob <- 200 PRACK
         bob <- 200 INVITE
         bob -> ACK
         bob -> BYE
         bob <- 200 BYE",
    );
}

#[test]
fn caller_without_an_offer_hears_early_media_where_100rel_carries_ours() {
    for (prack, least, most) in [(Prack::Supported, 2500, 4000), (Prack::Off, 500, 1500)] {
        let mut world = world(EARLY, vec![phone("bob", caller(prack))], Weather::default(), 1);
        let number = "200".to_owned();
        world.dial_as(0, Dial { number, offers: false, after: ms(0), cancels_after: None });
        finish(&mut world);
        assert_eq!(said(&world), ["Connected", "Disconnected"]);
        let heard = heard_ms(&world.phones[0].heard, 1000.0);
        assert!((least..most).contains(&heard), "{prack:?}: {heard} ms\n{}", story(&world));
    }
}

#[test]
fn caller_without_an_offer_who_requires_100rel_gets_ours_before_it_rings() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
            e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
            e.call.ring();
            setTimeout(() => e.call.answer(), 1000);
        });
    "#;
    let mut world =
        world(script, vec![phone("bob", caller(Prack::Required))], Weather::default(), 1);
    let number = "200".to_owned();
    world.dial_as(0, Dial { number, offers: false, after: ms(0), cancels_after: None });
    finish(&mut world);
    expect_ladder(
        &world,
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 183 INVITE
         bob -> PRACK
         bob <- 200 PRACK
         bob <- 180 INVITE
         bob -> PRACK
         bob <- 200 PRACK
         bob <- 200 INVITE
         bob -> ACK
         bob -> BYE
         bob <- 200 BYE",
    );
}

#[test]
fn caller_who_cancels_in_early_media_is_told_487() {
    for seed in 1..=20 {
        let phones = vec![phone("bob", caller(Prack::Supported))];
        let mut world = world(EARLY, phones, STORM, seed);
        let (number, cancels_after) = ("200".to_owned(), Some(ms(50 + 20 * seed)));
        world.dial_as(0, Dial { number, offers: true, after: ms(0), cancels_after });
        finish(&mut world);
        // Unless its CANCEL came before its INVITE.
        let last = said(&world).last().copied();
        assert_eq!(last, Some("Disconnected"), "seed {seed}\n{}", story(&world));
    }
}

#[test]
fn early_media_and_answer_get_through_a_bad_network() {
    for seed in 1..=40 {
        for (prack, offers) in [(Prack::Supported, true), (Prack::Required, false)] {
            // Time for an ACK that gets lost a few times.
            let manner = Manner { hangs_up_after: Some(ms(20_000)), ..caller(prack) };
            let mut world = world(EARLY, vec![phone("bob", manner)], STORM, seed);
            let number = "200".to_owned();
            world.dial_as(0, Dial { number, offers, after: ms(0), cancels_after: None });
            finish(&mut world);
            assert_eq!(
                said(&world),
                ["Connected", "Disconnected"],
                "seed {seed} {prack:?}\n{}",
                story(&world)
            );
            let heard = heard_ms(&world.phones[0].heard, 1000.0);
            assert!(heard > 1000, "seed {seed} {prack:?}: {heard} ms\n{}", story(&world));
        }
    }
}

#[test]
fn callee_with_100rel_is_acknowledged_and_heard_before_its_answer() {
    let plan =
        Plan { rules: rule(CALL), phones: vec![phone("7001", reliable(400.0))], ..Plan::default() };
    let world = check(
        plan,
        "7001",
        "7001 <- INVITE
         7001 -> 183 INVITE
         7001 <- PRACK
         7001 -> 200 PRACK
         7001 -> 200 INVITE
         7001 <- ACK
         7001 <- BYE
         7001 -> 200 BYE",
    );
    let expected = ["Ringing", "AudioStarted", "Connected", "Disconnected"];
    assert_eq!(said(&world), expected);
    // Its own voice, sent back to it.
    let heard = heard_ms(&world.phones[0].heard, 400.0);
    assert!(heard >= 1800, "{heard} ms\n{}", story(&world));
}

#[test]
fn callee_with_100rel_is_reached_over_a_bad_network() {
    for seed in 1..=40 {
        let mut world = world(CALL, vec![phone("7001", reliable(400.0))], STORM, seed);
        world.start_scenario(1, "7001");
        finish(&mut world);
        let mut seen = said(&world).clone();
        seen.retain(|line| *line != "Ringing" && *line != "AudioStarted");
        assert_eq!(seen, ["Connected", "Disconnected"], "seed {seed}\n{}", story(&world));
        let heard = heard_ms(&world.phones[0].heard, 400.0);
        assert!(heard > 500, "seed {seed}: {heard} ms\n{}", story(&world));
    }
}

#[test]
fn first_phone_of_a_fork_that_answers_has_the_call() {
    let slow = Manner { answers_after: Some(ms(5000)), ..answers() };
    let phones = vec![phone("a", slow.clone()), phone("b", answers()), phone("c", slow)];
    let world = forked(CALL, phones, Weather::default(), 1);
    assert_eq!(said(&world), ["Ringing", "Connected", "AudioStarted", "Disconnected"]);
    expect_ladder(
        &world,
        "a <- INVITE
         b <- INVITE
         c <- INVITE
         a -> 180 INVITE
         b -> 180 INVITE
         c -> 180 INVITE
         b -> 200 INVITE
         a <- CANCEL
         a -> 200 CANCEL
         a -> 487 INVITE
         c <- CANCEL
         c -> 200 CANCEL
         c -> 487 INVITE
         b <- ACK
         a <- ACK
         c <- ACK
         b <- BYE
         b -> 200 BYE",
    );
}

#[test]
fn phones_of_a_fork_that_answer_too_late_are_acknowledged_and_ended() {
    let phones = vec![phone("a", answers()), phone("b", answers()), phone("c", answers())];
    let world = forked(CALL, phones, Weather::default(), 1);
    assert_eq!(said(&world), ["Ringing", "Connected", "AudioStarted", "Disconnected"]);
    let text = world.ladder.text();
    for name in ["a", "b", "c"] {
        for line in ["-> 200 INVITE", "<- ACK", "<- BYE"] {
            let line = format!("{name} {line}");
            assert_eq!(text.matches(&line).count(), 1, "{line}\n{}", story(&world));
        }
    }
    // The first is talked to, the others are ended at once.
    let at = |line: &str| text.lines().position(|other| other == line);
    assert!(at("b <- BYE") < at("a <- BYE") && at("c <- BYE") < at("a <- BYE"));
}

#[test]
fn phone_of_a_fork_that_answers_is_heard_and_not_the_last_that_spoke() {
    // Both speak before the answer; the first one answers, without a description in its 200.
    let phones = vec![
        phone("a", Manner { rings_after: Some(ms(100)), ..reliable(400.0) }),
        phone("b", Manner { rings_after: Some(ms(600)), answers_after: None, ..reliable(700.0) }),
    ];
    let world = forked(CALL, phones, Weather::default(), 1);
    assert_eq!(said(&world), ["Ringing", "AudioStarted", "Connected", "Disconnected"]);
    let text = world.ladder.text();
    for line in ["a <- PRACK", "b <- PRACK", "b <- CANCEL", "a <- BYE"] {
        assert_eq!(text.matches(line).count(), 1, "{line}\n{}", story(&world));
    }
    let (heard, other) =
        (heard_ms(&world.phones[0].heard, 400.0), heard_ms(&world.phones[0].heard, 700.0));
    assert!(heard >= 1800 && other <= 40, "{heard} and {other} ms\n{}", story(&world));
}

#[test]
fn fork_whose_phones_all_refuse_fails_with_the_best_refusal() {
    let refuses = |status| Manner { refuses: Some(status), ..answers() };
    let phones = vec![phone("a", refuses(500)), phone("b", refuses(486)), phone("c", refuses(603))];
    let world = forked(CALL, phones, Weather::default(), 1);
    assert_eq!(said(&world), ["Ringing", "Failed 486"]);
}

#[test]
fn fork_that_is_given_up_is_cancelled_everywhere() {
    let script = r#"
        const call = VoxEngine.callPSTN("6000", "100");
        call.addEventListener(CallEvents.Failed, e => {
            Logger.write("> Failed " + e.code);
            VoxEngine.terminate();
        });
        setTimeout(() => call.hangup(), 1000);
    "#;
    let rings = Manner { answers_after: None, ..reliable(400.0) };
    let phones = vec![phone("a", rings.clone()), phone("b", rings)];
    let world = forked(script, phones, Weather::default(), 1);
    assert_eq!(said(&world), ["Failed 487"]);
    let text = world.ladder.text();
    assert_eq!(text.matches("<- CANCEL").count(), 2, "{}", story(&world));
}

#[test]
fn forks_are_answered_once_over_a_bad_network() {
    for seed in 1..=40 {
        let talks = |pitch| Manner { answers_after: Some(ms(800)), ..reliable(pitch) };
        let phones = vec![
            phone("a", talks(400.0)),
            phone("b", talks(700.0)),
            phone("c", Manner { answers_after: None, ..answers() }),
        ];
        let world = forked(CALL, phones, STORM, seed);
        for line in ["Connected", "Disconnected"] {
            let times = said(&world).iter().filter(|other| **other == line).count();
            assert_eq!(times, 1, "seed {seed}: {line}\n{}", story(&world));
        }
        assert!(!said(&world).contains(&"Failed"), "seed {seed}\n{}", story(&world));
    }
}

#[test]
fn hangup_may_cross_the_answers_of_a_fork() {
    for seed in 1..=40 {
        let script = format!(
            r#"
            const call = VoxEngine.callPSTN("6000", "100");
            for (const name of ["Disconnected", "Failed"]) {{
                call.addEventListener(CallEvents[name], VoxEngine.terminate);
            }}
            setTimeout(() => call.hangup(), {});
            "#,
            450 + seed * 5
        );
        let phones = vec![phone("a", answers()), phone("b", answers())];
        forked(&script, phones, STORM, seed);
    }
}

#[test]
fn answer_that_overtakes_the_ringing_connects_once() {
    for (rings, answers_at) in [(1, 0), (0, 0), (30, 0)] {
        let manner = Manner {
            rings_after: Some(ms(rings)),
            answers_after: Some(ms(answers_at)),
            speaks: Some(400.0),
            ..Manner::default()
        };
        let mut world = world(CALL, vec![phone("7001", manner)], Weather::default(), 1);
        world.start_scenario(1, "7001");
        finish(&mut world);
        let mut seen = said(&world).clone();
        seen.retain(|line| *line != "Ringing");
        assert_eq!(seen, ["Connected", "AudioStarted", "Disconnected"], "{}", story(&world));
    }
}

#[test]
fn first_frame_of_a_callee_is_heard_by_the_other_leg() {
    // The callee speaks with its answer; the caller is joined to it from the first moment.
    let script = r#"
        VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
            const out = VoxEngine.callPSTN(e.destination, "100");
            VoxEngine.sendMediaBetween(e.call, out);
            out.addEventListener(CallEvents.Connected, () => e.call.answer());
            out.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
            e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
            e.call.startEarlyMedia();
        });
    "#;
    // Directly, and by a proxy, whose way for the 200 is longer than that of the sound.
    for (number, answers_after) in [("7001", 0), ("7001", 500), ("6000", 500)] {
        let callee = Manner {
            rings_after: Some(ms(0)),
            answers_after: Some(ms(answers_after)),
            speaks: Some(400.0),
            hangs_up_after: Some(ms(1000)),
            ..Manner::default()
        };
        let phones = vec![phone("bob", caller(Prack::Supported)), phone("7001", callee)];
        let plan = Plan { rules: rule(script), phones, ..Plan::default() };
        let mut world = World::new(Plan { proxy: Some("6000".into()), ..plan });
        world.dial(0, number);
        finish(&mut world);
        // 50 frames were spoken in that second.
        let heard = heard_ms(&world.phones[0].heard, 400.0);
        assert!(heard >= 1000, "{number} {answers_after}: {heard} ms\n{}", story(&world));
    }
}

#[test]
fn ring_in_a_loop_sends_one_180() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
            e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
            for (let i = 0; i < 1000; i++) e.call.ring();
            for (let i = 0; i < 1000; i++) e.call.ring({ "X-Turn": String(i) });
            setTimeout(() => e.call.answer(), 1000);
        });
    "#;
    let phones = vec![phone("bob", caller(Prack::Off))];
    let mut world = world(script, phones, Weather::default(), 1);
    world.dial(0, "200");
    let before = branchline::stats::SIP_PROVISIONALS_SKIPPED.value();
    finish(&mut world);
    // 64 at most, of which 63 say something new.
    let skipped = branchline::stats::SIP_PROVISIONALS_SKIPPED.value() - before;
    assert!(skipped >= 2000 - 64, "{skipped}");
    assert!(world.ladder.text().contains("bob <- 200 INVITE"));
}

#[test]
fn headers_of_every_response_reach_the_script() {
    let script = r#"
        const call = VoxEngine.callPSTN(VoxEngine.customData(), "100");
        for (const name of ["Ringing", "AudioStarted", "Connected", "Disconnected", "Failed"]) {
            call.addEventListener(CallEvents[name], e => {
                Logger.write("> " + name + " " + e.headers["X-Status"]);
                if (name === "Failed" || name === "Disconnected") VoxEngine.terminate();
            });
        }
    "#;
    let talks = Manner {
        tells_headers: true,
        hangs_up_after: Some(ms(500)),
        answers_after: Some(ms(500)),
        ..Manner::default()
    };
    let cases = [
        (
            talks.clone(),
            vec!["Ringing 180", "Connected 200", "AudioStarted 200", "Disconnected bye"],
        ),
        (
            Manner { early_media: true, ..talks.clone() },
            vec!["Ringing 183", "AudioStarted 183", "Connected 200", "Disconnected bye"],
        ),
        (
            Manner { early_media: true, prack: Prack::Required, ..talks.clone() },
            vec!["Ringing 183", "AudioStarted 183", "Connected 200", "Disconnected bye"],
        ),
        (Manner { refuses: Some(603), ..talks }, vec!["Ringing 180", "Failed 603"]),
    ];
    for (manner, expected) in cases {
        let mut world = world(script, vec![phone("7001", manner)], Weather::default(), 1);
        world.start_scenario(1, "7001");
        finish(&mut world);
        assert_eq!(said(&world), expected, "{}", story(&world));
    }
}
