//! Calls with encrypted audio, and calls that are refused for want of it.

use crate::{Plan, World, answers, expect_ladder, finish, ms, phone, rule, said, story};
use branchline::media::srtp::Suite;
use branchline::sim::link::Weather;
use branchline::sim::phone::{Dial, Hold, Law, Manner};
use branchline::sim::secure::{Profile, Wish};
use branchline::sim::sound;
use branchline::stats;

/// Answers and calls 7001; joins both; hangs up 4 s later.
const FORWARD: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        const b = VoxEngine.callPSTN("7001", "100");
        const log = event => Logger.write("> " + event.name + " " + (event.tone ?? event.code ?? ""));
        for (const call of [e.call, b]) {
            call.addEventListener(CallEvents.OnHold, log);
            call.addEventListener(CallEvents.OffHold, log);
            call.addEventListener(CallEvents.ReInviteReceived, event => Logger.write("> " + event.body));
            call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        }
        b.addEventListener(CallEvents.Failed, event => {
            log(event);
            VoxEngine.terminate();
        });
        b.addEventListener(CallEvents.Connected, () => {
            e.call.answer();
            VoxEngine.sendMediaBetween(e.call, b);
            setTimeout(VoxEngine.terminate, 4000);
        });
    });
"#;

const SECURE: Wish = Wish {
    profile: Profile::Secure,
    suite: Suite::AesCm128HmacSha1_80,
    lies: false,
    first_sequence: 0,
};
const OPPORTUNISTIC: Wish = Wish { profile: Profile::Opportunistic, ..SECURE };
const REQUIRED: &str = "srtp = 'required'";
const OPTIONAL: &str = "srtp = 'optional'";
const OFF: &str = "srtp = 'off'";

fn caller(secures: Option<Wish>) -> Manner {
    Manner { speaks: Some(400.0), secures, ..Manner::default() }
}

fn callee(secures: Option<Wish>) -> Manner {
    Manner { speaks: Some(700.0), secures, ..answers() }
}

/// A call from one phone through [`FORWARD`] to the other, with this in the table of each trunk.
fn forward(trunk: &str, caller: Manner, callee: Manner) -> World {
    forward_in(Weather::default(), trunk, caller, callee)
}

fn forward_in(weather: Weather, trunk: &str, caller: Manner, callee: Manner) -> World {
    let plan = Plan {
        weather,
        rules: rule(FORWARD),
        phones: vec![phone("bob", caller), phone("7001", callee)],
        trunk: trunk.into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.dial(0, "200");
    finish(&mut world);
    world
}

/// 20 ms frames in which `hertz` is all that is heard, in milliseconds.
fn heard_ms(samples: &[i16], hertz: f64) -> usize {
    let is_heard =
        |frame: &&[i16]| sound::purity(frame, hertz) > 0.95 && sound::level_dbfs(frame) > -40.0;
    samples.chunks_exact(160).filter(is_heard).count() * 20
}

/// Both phones heard each other well, and decrypted what they heard or did not.
fn expect_sound(world: &World, encrypted: [bool; 2]) {
    for (place, hertz) in [(0, 700.0), (1, 400.0)] {
        let phone = &world.phones[place];
        let heard = heard_ms(&phone.heard, hertz);
        assert!(heard >= 3700, "{}: {heard} ms\n{}", phone.name, story(world));
        assert_eq!(phone.decrypted > 150, encrypted[place], "{}: {}", phone.name, phone.decrypted);
        assert_eq!(phone.decrypted > 0, encrypted[place], "{}: {}", phone.name, phone.decrypted);
        assert_eq!(phone.rejected, 0, "{}", phone.name);
    }
}

#[test]
fn secure_call_of_every_suite_is_joined_with_a_plain_one() {
    for suite in [
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80,
        Suite::AesCm256HmacSha1_32,
    ] {
        let world = forward("", caller(Some(Wish { suite, ..SECURE })), callee(None));
        expect_sound(&world, [true, false]);
        assert!(world.phones[0].last_sdp.contains(" RTP/SAVP "), "{}", world.phones[0].last_sdp);
        assert!(!world.phones[1].last_sdp.contains("crypto"), "{}", world.phones[1].last_sdp);
    }
}

#[test]
fn keys_over_rtp_avp_are_answered_there() {
    let world = forward("", caller(Some(OPPORTUNISTIC)), callee(None));
    expect_sound(&world, [true, false]);
    assert!(world.phones[0].last_sdp.contains(" RTP/AVP "), "{}", world.phones[0].last_sdp);
}

#[test]
fn required_on_both_legs_encrypts_both_with_keys_of_their_own() {
    let world = forward(REQUIRED, caller(Some(SECURE)), callee(Some(SECURE)));
    expect_sound(&world, [true, true]);
    let line = |place: usize| {
        let lines = world.phones[place].last_sdp.lines();
        let mut keys = lines.filter(|line| line.contains("AES_CM_128_HMAC_SHA1_80"));
        keys.next().and_then(|line| line.split("inline:").nth(1)).unwrap_or_default().to_owned()
    };
    assert_eq!((line(0).len(), line(1).len()), (40, 40));
    assert_ne!(line(0), line(1));
}

#[test]
fn transcoded_call_is_encrypted_too() {
    let callee = Manner { law: Law::A, ..callee(Some(SECURE)) };
    expect_sound(&forward(REQUIRED, caller(Some(SECURE)), callee), [true, true]);
}

#[test]
fn trunk_that_says_optional_is_offered_keys_that_it_may_leave() {
    let world = forward(OPTIONAL, caller(None), callee(Some(OPPORTUNISTIC)));
    expect_sound(&world, [false, true]);
    let offer = &world.phones[1].last_sdp;
    assert!(offer.contains(" RTP/AVP ") && offer.contains("a=crypto:1 "), "{offer}");
    expect_sound(&forward(OPTIONAL, caller(None), callee(None)), [false, false]);
}

/// Keys would travel in the clear, and nobody asked for them.
#[test]
fn plain_signalling_carries_no_keys_of_ours_by_default() {
    let world = forward("", caller(None), callee(Some(OPPORTUNISTIC)));
    expect_sound(&world, [false, false]);
    assert!(!world.phones[1].last_sdp.contains("crypto"), "{}", world.phones[1].last_sdp);
}

/// An announcement before the phone that knows no SRTP takes nothing from the phone's keys.
#[test]
fn plain_183_before_an_encrypted_200_leaves_the_call_its_keys() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.Connected, () => {
            setTimeout(() => call.reInvite({}, "application/sdp", "a=sendonly"), 1000);
            setTimeout(() => call.reInvite({}, "application/sdp", "a=sendrecv"), 2000);
        });
        setTimeout(VoxEngine.terminate, 4000);
    "#;
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("7001", Manner { plain_early: true, ..callee(Some(OPPORTUNISTIC)) })],
        trunk: OPTIONAL.into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.start_scenario(1, "");
    finish(&mut world);
    let phone = &world.phones[0];
    assert_eq!(phone.told, ["INVITE sendonly", "INVITE sendrecv"], "{}", story(&world));
    assert_eq!(phone.last_sdp.matches("a=crypto:").count(), 4, "{}", phone.last_sdp);
    // What we sent to the announcement, in the 400 ms until the answer.
    assert!(phone.rejected <= 21, "{}", phone.rejected);
    assert!(phone.decrypted > 150, "{}", phone.decrypted);
}

const ANSWER: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        e.call.answer();
    });
"#;

#[test]
fn offers_that_the_config_does_not_allow_are_refused_488() {
    for (trunk, secures) in [(OFF, Some(SECURE)), (REQUIRED, None)] {
        let before = stats::CALLS_REFUSED_SRTP.value();
        let plan = Plan {
            rules: rule(ANSWER),
            phones: vec![phone("bob", caller(secures))],
            trunk: trunk.into(),
            ..Plan::default()
        };
        let mut world = World::new(plan);
        world.dial(0, "200");
        finish(&mut world);
        expect_ladder(
            &world,
            "bob -> INVITE
             bob <- 100 INVITE
             bob <- 488 INVITE
             bob -> ACK",
        );
        assert!(stats::CALLS_REFUSED_SRTP.value() > before);
        assert!(world.log.iter().any(|line| line.contains("no media:")), "{}", story(&world));
    }
}

#[test]
fn required_call_whose_answer_is_plain_fails_488() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.Failed, e => {
            Logger.write("> " + e.code);
            VoxEngine.terminate();
        });
    "#;
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("7001", callee(None))],
        trunk: REQUIRED.into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.start_scenario(1, "");
    finish(&mut world);
    assert_eq!(said(&world), ["488"]);
    expect_ladder(
        &world,
        "7001 <- INVITE
         7001 -> 180 INVITE
         7001 -> 200 INVITE
         7001 <- ACK
         7001 <- BYE
         7001 -> 200 BYE",
    );
    assert!(world.phones[0].heard.is_empty());
}

#[test]
fn invite_without_an_offer_gets_ours_with_keys() {
    let plan = Plan {
        rules: rule(FORWARD),
        phones: vec![phone("bob", caller(Some(SECURE))), phone("7001", callee(Some(SECURE)))],
        trunk: REQUIRED.into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    let dial = Dial { number: "200".into(), offers: false, after: ms(0), cancels_after: None };
    world.dial_as(0, dial);
    finish(&mut world);
    expect_sound(&world, [true, true]);
}

#[test]
fn digits_pass_through_both_encryptions() {
    let presses = vec![(ms(1000), '4'), (ms(1500), '#')];
    let caller = Manner { presses, ..caller(Some(SECURE)) };
    let world = forward(REQUIRED, caller, callee(Some(SECURE)));
    assert_eq!(world.phones[1].digits, "4#");
}

#[test]
fn changed_key_of_the_peer_is_taken() {
    let caller = Manner { changes_key_after: Some(ms(1500)), ..caller(Some(SECURE)) };
    let world = forward(REQUIRED, caller, callee(Some(SECURE)));
    for (place, hertz) in [(0, 700.0), (1, 400.0)] {
        let heard = heard_ms(&world.phones[place].heard, hertz);
        assert!(heard >= 3650, "{heard} ms\n{}", story(&world));
        assert_eq!(world.phones[place].rejected, 0);
    }
}

#[test]
fn call_on_hold_stays_encrypted_and_the_script_does_not_see_its_keys() {
    let holds = vec![(ms(1000), Hold::On), (ms(2000), Hold::Off)];
    let caller = Manner { holds, ..caller(Some(SECURE)) };
    let world = forward(REQUIRED, caller, callee(Some(SECURE)));
    let lines = said(&world);
    assert!(lines.iter().any(|line| line.starts_with("Call.OnHold")), "{lines:?}");
    let story = story(&world);
    assert!(story.contains("inline:***") && !story.contains("inline:A"), "{story}");
    for (place, hertz) in [(0, 700.0), (1, 400.0)] {
        let heard = heard_ms(&world.phones[place].heard, hertz);
        assert!(heard >= 2600, "{heard} ms\n{story}");
        assert_eq!(world.phones[place].rejected, 0);
    }
}

/// Silence instead of noise, and a counter that says why.
#[test]
fn wrong_key_is_silence_and_is_counted() {
    let before = stats::SRTP_UNAUTHENTICATED.value();
    let caller = caller(Some(Wish { lies: true, ..SECURE }));
    let world = forward(REQUIRED, caller, callee(Some(SECURE)));
    assert_eq!(heard_ms(&world.phones[1].heard, 400.0), 0);
    assert!(sound::level_dbfs(&world.phones[1].heard) < -60.0);
    assert!(heard_ms(&world.phones[0].heard, 700.0) >= 3700);
    assert!(stats::SRTP_UNAUTHENTICATED.value() >= before + 190);
}

/// The caller's numbers wrap after 2 s, in a network that loses, doubles and reorders.
#[test]
fn wrap_of_the_numbers_in_bad_weather_is_not_heard() {
    let weather = Weather { loss: 5, duplication: 5, reordering: 5, ..Weather::default() };
    let wish = Wish { first_sequence: 65_436, ..SECURE };
    for seed_shift in 0..3 {
        let wish = Wish { first_sequence: wish.first_sequence + seed_shift * 30, ..wish };
        let world = forward_in(weather, REQUIRED, caller(Some(wish)), callee(Some(wish)));
        for (place, hertz) in [(0, 700.0), (1, 400.0)] {
            let phone = &world.phones[place];
            let heard = heard_ms(&phone.heard, hertz);
            assert!(heard >= 3200, "{}: {heard} ms\n{}", phone.name, story(&world));
        }
    }
}

/// RFC 4568 §7.1.4: our re-INVITEs offer the keys that the call has, and its sound goes on.
#[test]
fn our_own_hold_and_resume_keep_the_keys() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.Connected, () => {
            setTimeout(() => call.reInvite({}, "application/sdp", "a=sendonly"), 1000);
            setTimeout(() => call.reInvite({}, "application/sdp", "a=sendrecv"), 2000);
        });
        call.addEventListener(CallEvents.ReInviteAccepted, e => Logger.write("> " + e.body));
        setTimeout(VoxEngine.terminate, 4000);
    "#;
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("7001", callee(Some(SECURE)))],
        trunk: REQUIRED.into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.start_scenario(1, "");
    finish(&mut world);
    let phone = &world.phones[0];
    assert_eq!(phone.told, ["INVITE sendonly", "INVITE sendrecv"], "{}", story(&world));
    let keys = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("a=crypto"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(keys(&phone.invites[0]), keys(&phone.last_sdp));
    assert_eq!(keys(&phone.last_sdp).len(), 4);
    assert!(phone.last_sdp.contains(" RTP/SAVP "));
    assert_eq!(phone.rejected, 0);
    assert!(phone.decrypted > 150, "{}", phone.decrypted);
    let story = story(&world);
    assert!(story.contains("inline:***") && !story.contains("inline:Z"), "{story}");
}
