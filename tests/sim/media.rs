//! What phones hear, and what is recorded.

use std::sync::Arc;

use crate::{Plan, World, answers, finish, ms, phone, rule, said, story};
use branchline::media::clip::Clip;
use branchline::media::frame::Rate;
use branchline::sim::phone::{Law, Manner};
use branchline::sim::sound;

/// Calls both numbers, joins them when both have answered, hangs up after `customData` ms.
const JOIN: &str = r#"
    const a = VoxEngine.callPSTN("7001", "100"), b = VoxEngine.callPSTN("7002", "100");
    let connected = 0;
    for (const call of [a, b]) {
        call.addEventListener(CallEvents.Connected, () => {
            if (++connected === 2) VoxEngine.sendMediaBetween(a, b);
        });
        call.addEventListener(CallEvents.ToneReceived, e => Logger.write("> " + e.tone));
    }
    setTimeout(VoxEngine.terminate, 4000);
"#;

fn speaks(hertz: f64, law: Law) -> Manner {
    Manner { speaks: Some(hertz), law, ..answers() }
}

fn run(script: &str, phones: Vec<(String, Manner)>) -> World {
    let plan = Plan { rules: rule(script), phones, ..Plan::default() };
    let mut world = World::new(plan);
    for (name, hertz) in [("prompt.wav", 1000.0), ("second.wav", 1500.0)] {
        let samples = (0..50).flat_map(|frame| sound::sine(hertz, 10_000.0, frame * 160));
        let clip = Clip::whole(Rate::Narrow, &samples.collect::<Vec<i16>>());
        world.sounds.insert(name.into(), Arc::new(clip));
    }
    world.start_scenario(1, "");
    finish(&mut world);
    world
}

/// The longest stretch of 20 ms frames in which `hertz` is all that is heard, in milliseconds.
fn heard_ms(samples: &[i16], hertz: f64) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for frame in samples.chunks_exact(160) {
        let is_heard = sound::purity(frame, hertz) > 0.95 && sound::level_dbfs(frame) > -40.0;
        run = if is_heard { run + 20 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[test]
fn joined_legs_hear_each_other() {
    for (first, second) in [(Law::Mu, Law::Mu), (Law::A, Law::A), (Law::Mu, Law::A)] {
        let phones =
            vec![phone("7001", speaks(400.0, first)), phone("7002", speaks(700.0, second))];
        let world = run(JOIN, phones);
        for (place, hertz) in [(0, 700.0), (1, 400.0)] {
            let heard = heard_ms(&world.phones[place].heard, hertz);
            assert!((3000..=3520).contains(&heard), "{heard} ms\n{}", story(&world));
        }
    }
}

#[test]
fn digit_of_one_leg_passes_to_the_other_unless_it_is_handled() {
    for (handled, expected, log) in [("", "5", vec![]), ("b.handleTones(true);", "", vec!["5"])] {
        let script = format!("{JOIN}\n{handled}");
        let presses = vec![(ms(1000), '5')];
        let phones = vec![
            phone("7001", speaks(400.0, Law::Mu)),
            phone("7002", Manner { presses, ..speaks(700.0, Law::Mu) }),
        ];
        let world = run(&script, phones);
        assert_eq!(world.phones[0].digits, expected, "{handled}");
        assert_eq!(said(&world), log, "{handled}");
    }
}

#[test]
fn digits_that_the_script_sends_reach_the_phone() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.Connected, () => call.sendDigits("12p3x#"));
        setTimeout(VoxEngine.terminate, 5000);
    "#;
    let world = run(script, vec![phone("7001", answers())]);
    assert_eq!(world.phones[0].digits, "123#");
}

/// One call that plays as `deed` says; every playback event is logged.
fn plays(deed: &str) -> World {
    let script = format!(
        r#"
        const call = VoxEngine.callPSTN("7001", "100");
        for (const name of ["PlaybackReady", "PlaybackStarted", "PlaybackFinished"]) {{
            call.addEventListener(CallEvents[name], e => {{
                Logger.write("> " + name + (e.duration ? " " + e.duration : "") + (e.error ? " " + e.error : ""));
            }});
        }}
        call.addEventListener(CallEvents.Connected, () => {{ {deed} }});
        setTimeout(VoxEngine.terminate, 6000);
        "#
    );
    run(&script, vec![phone("7001", answers())])
}

#[test]
fn playback_is_heard_whole_and_ends_by_itself() {
    let world = plays("call.startPlayback('prompt.wav');");
    assert_eq!(said(&world), ["PlaybackReady", "PlaybackStarted 1", "PlaybackFinished"]);
    assert_eq!(heard_ms(&world.phones[0].heard, 1000.0), 1000);
}

#[test]
fn second_playback_takes_the_place_of_the_first() {
    let world = plays(
        "call.startPlayback('prompt.wav'); setTimeout(() => call.startPlayback('second.wav'), 500);",
    );
    let first = heard_ms(&world.phones[0].heard, 1000.0);
    assert!((460..=500).contains(&first), "{first}");
    assert_eq!(heard_ms(&world.phones[0].heard, 1500.0), 1000);
    let finished = said(&world).iter().filter(|line| **line == "PlaybackFinished").count();
    assert_eq!(finished, 1);
}

#[test]
fn stopped_playback_fires_no_event() {
    let world = plays(
        "call.startPlayback('prompt.wav', true); setTimeout(() => call.stopPlayback(), 2500);",
    );
    assert_eq!(said(&world), ["PlaybackReady", "PlaybackStarted 1"]);
    let heard = heard_ms(&world.phones[0].heard, 1000.0);
    assert!((2440..=2520).contains(&heard), "{heard}");
}

#[test]
fn missing_sound_ends_with_its_error() {
    let world = plays("call.startPlayback('missing.wav');");
    assert_eq!(said(&world), ["PlaybackFinished 404 Not Found"]);
}

#[test]
fn player_is_heard_by_several_calls_and_tells_its_marker() {
    let script = r#"
        const a = VoxEngine.callPSTN("7001", "100"), b = VoxEngine.callPSTN("7002", "100");
        let connected = 0;
        const begin = () => {
            if (++connected < 2) return;
            const player = VoxEngine.createURLPlayer("prompt.wav");
            player.addMarker(300);
            for (const name of ["Created", "PlaybackReady", "Started", "PlaybackMarkerReached", "PlaybackFinished"]) {
                player.addEventListener(PlayerEvents[name], e => Logger.write("> " + name + (e.offset ? " " + e.offset : "")));
            }
            player.sendMediaTo(a);
            player.sendMediaTo(b);
        };
        a.addEventListener(CallEvents.Connected, begin);
        b.addEventListener(CallEvents.Connected, begin);
        setTimeout(VoxEngine.terminate, 4000);
    "#;
    let world = run(script, vec![phone("7001", answers()), phone("7002", answers())]);
    for phone in &world.phones {
        assert_eq!(heard_ms(&phone.heard, 1000.0), 1000, "{}", story(&world));
    }
    let expected =
        ["Created", "PlaybackReady", "Started", "PlaybackMarkerReached 300", "PlaybackFinished"];
    assert_eq!(said(&world), expected);
}

#[test]
fn stereo_recording_has_the_endpoint_right_and_what_it_hears_left() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        for (const name of ["RecordStarted", "RecordStopped", "RecordError"]) {
            call.addEventListener(CallEvents[name], e => Logger.write("> " + name + " " + (e.duration ?? "")));
        }
        call.addEventListener(CallEvents.Connected, () => {
            call.record({ stereo: true });
            setTimeout(() => call.startPlayback("prompt.wav"), 1000);
            setTimeout(() => call.hangup(), 3500);
        });
        setTimeout(VoxEngine.terminate, 5000);
    "#;
    let world = run(script, vec![phone("7001", speaks(400.0, Law::A))]);
    assert_eq!(said(&world), ["RecordStarted ", "RecordStopped 3"]);
    let recorded = world.recordings.values().next().expect("a recording");
    assert!(recorded.is_finished);
    assert_eq!(recorded.channels, 2);
    let side = |first: usize| -> Vec<i16> {
        recorded.samples.iter().skip(first).step_by(2).copied().collect()
    };
    let (left, right) = (side(0), side(1));
    let length_ms = left.len() / 8;
    assert!((3440..=3560).contains(&length_ms), "{length_ms}");
    assert!((980..=1000).contains(&heard_ms(&left, 1000.0)), "{}", heard_ms(&left, 1000.0));
    assert!(heard_ms(&right, 400.0) >= 3300, "{}", heard_ms(&right, 400.0));
    assert_eq!(heard_ms(&left, 400.0), 0);
    let row = &world.history[0].records[0];
    assert_eq!(row.url, world.history[0].calls[0].record_url.clone().unwrap_or_default());
}

#[test]
fn early_media_is_heard_by_the_caller_before_the_answer() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
            e.call.startEarlyMedia();
            e.call.startPlayback("prompt.wav");
            e.call.addEventListener(CallEvents.PlaybackFinished, () => e.call.reject(486));
            e.call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        });
    "#;
    let plan = Plan {
        rules: rule(script),
        phones: vec![phone("bob", Manner::default())],
        ..Plan::default()
    };
    let mut world = World::new(plan);
    let samples = (0..50).flat_map(|frame| sound::sine(1000.0, 10_000.0, frame * 160));
    let clip = Clip::whole(Rate::Narrow, &samples.collect::<Vec<i16>>());
    world.sounds.insert("prompt.wav".into(), Arc::new(clip));
    world.dial(0, "200");
    finish(&mut world);
    crate::expect_ladder(
        &world,
        "bob -> INVITE
         bob <- 100 INVITE
         bob <- 183 INVITE
         bob <- 486 INVITE
         bob -> ACK",
    );
    assert_eq!(heard_ms(&world.phones[0].heard, 1000.0), 1000);
}

#[test]
fn call_without_a_source_gets_silence_that_keeps_the_way_open() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.Connected, () => setTimeout(VoxEngine.terminate, 2000));
    "#;
    let world = run(script, vec![phone("7001", answers())]);
    let heard = &world.phones[0].heard;
    assert!((90..=101).contains(&(heard.len() / 160)), "{} frames", heard.len() / 160);
    assert!(sound::level_dbfs(heard) < -60.0);
}
