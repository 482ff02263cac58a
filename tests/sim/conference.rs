//! Conferences as scripts make them, heard by the phones.

use std::sync::Arc;

use crate::{Plan, World, answers, finish, phone, rule, said, story};
use branchline::media::clip::Clip;
use branchline::media::frame::Rate;
use branchline::sim::phone::{Law, Manner};
use branchline::sim::sound;

/// Calls the phones 7000, 7001 and so on, and joins all of them.
fn script(phones: usize, extra: &str) -> String {
    format!(
        r#"
        const conference = VoxEngine.createConference();
        for (const name in ConferenceEvents) {{
            conference.addEventListener(ConferenceEvents[name], e => {{
                const text = e.endpointId ? ` ${{e.mode}} ${{e.direction}}` : "";
                Logger.write("> " + e.name + text + (e.error ? " " + e.error : ""));
            }});
        }}
        const calls = [];
        for (let n = 0; n < {phones}; n++) {{
            const call = VoxEngine.callPSTN(String(7000 + n), "100");
            call.addEventListener(CallEvents.Connected, () => {{
                VoxEngine.sendMediaBetween(call, conference);
            }});
            calls.push(call);
        }}
        setTimeout(VoxEngine.terminate, 4000);
        {extra}
        "#
    )
}

fn pitch(place: usize) -> f64 {
    400.0 + 200.0 * place as f64
}

fn run(script: &str, phones: usize) -> World {
    let manner = |place: usize| Manner {
        speaks: Some(pitch(place)),
        law: if place.is_multiple_of(2) { Law::Mu } else { Law::A },
        ..answers()
    };
    let phones = (0..phones).map(|place| phone(&(7000 + place).to_string(), manner(place)));
    let plan = Plan { rules: rule(script), phones: phones.collect(), ..Plan::default() };
    let mut world = World::new(plan);
    let samples = (0..50).flat_map(|frame| sound::sine(3000.0, 10_000.0, frame * 160));
    let clip = Clip::whole(Rate::Narrow, &samples.collect::<Vec<i16>>());
    world.sounds.insert("beep.wav".into(), Arc::new(clip));
    world.start_scenario(1, "");
    finish(&mut world);
    world
}

/// What a phone heard in the second second of the call: share of its power at each pitch.
fn shares(world: &World, place: usize, pitches: &[f64]) -> Vec<f64> {
    let heard = &world.phones[place].heard;
    let second = &heard[8000.min(heard.len())..16_000.min(heard.len())];
    pitches.iter().map(|&hertz| sound::purity(second, hertz)).collect()
}

#[test]
fn each_of_four_phones_hears_the_other_three() {
    let world = run(&script(4, ""), 4);
    let pitches: Vec<f64> = (0..4).map(pitch).collect();
    for place in 0..4 {
        let shares = shares(&world, place, &pitches);
        for (other, share) in shares.iter().enumerate() {
            match other == place {
                true => assert!(*share < 0.01, "{place}: {shares:?}\n{}", story(&world)),
                false => assert!(*share > 0.15, "{place}: {shares:?}\n{}", story(&world)),
            }
        }
    }
    assert_eq!(said(&world), ["Conference.Started"]);
}

#[test]
fn who_does_not_send_to_the_conference_is_not_heard_and_listens() {
    let world = run(&script(3, "setTimeout(() => calls[0].stopMediaTo(conference), 800);"), 3);
    let pitches: Vec<f64> = (0..3).map(pitch).collect();
    assert!(shares(&world, 1, &pitches)[0] < 0.01);
    assert!(shares(&world, 1, &pitches)[2] > 0.9);
    assert!(shares(&world, 0, &pitches)[1] > 0.3);
}

#[test]
fn stopped_conference_leaves_the_calls_in_silence() {
    let extra = "setTimeout(() => VoxEngine.destroyConference(conference), 1000);";
    let world = run(&script(2, extra), 2);
    assert_eq!(said(&world), ["Conference.Started", "Conference.Stopped"]);
    for phone in &world.phones {
        let heard = &phone.heard[8000..];
        assert!(heard.iter().all(|sample| sample.unsigned_abs() < 20));
    }
}

#[test]
fn sound_of_a_player_is_heard_by_all() {
    let extra = r#"setTimeout(() => {
        VoxEngine.createURLPlayer("beep.wav").sendMediaTo(conference);
    }, 1400);"#;
    let world = run(&script(2, extra), 2);
    for place in 0..2 {
        let shares = shares(&world, place, &[3000.0]);
        assert!(shares[0] > 0.2, "{shares:?}");
    }
}

#[test]
fn endpoints_have_directions_and_tell_what_becomes_of_them() {
    let script = r#"
        const conference = VoxEngine.createConference({ hd_audio: true });
        for (const name in ConferenceEvents) {
            conference.addEventListener(ConferenceEvents[name], e => {
                const text = e.endpoint ? ` ${e.mode} ${e.direction}` : "";
                Logger.write("> " + e.name + text + (e.error ? " " + e.error : ""));
            });
        }
        const ways = ["SEND", ConferenceDirection.RECEIVE, undefined];
        for (const [n, direction] of ways.entries()) {
            const call = VoxEngine.callPSTN(String(7000 + n), "100");
            call.addEventListener(CallEvents.Connected, () => {
                const endpoint = conference.add({ call, mode: "MIX", direction });
                if (endpoint.getCall() !== call || conference.get(endpoint.id()) !== endpoint) {
                    Logger.write("> not the endpoint");
                }
                if (n === 2) {
                    Logger.write("> " + conference.getList().length);
                    conference.add({ call, mode: "FORWARD" });
                    setTimeout(() => call.hangup(), 2000);
                }
            });
        }
        setTimeout(VoxEngine.terminate, 4000);
    "#;
    let world = run(script, 3);
    assert_eq!(
        said(&world),
        [
            "Conference.Started",
            "Conference.EndpointAdded MIX SEND",
            "Conference.EndpointAdded MIX RECEIVE",
            "3",
            "Conference.EndpointAdded MIX BOTH",
            "Conference.Error FORWARD endpoints are not available on this gateway",
            "Conference.EndpointRemoved MIX BOTH",
        ]
    );
    let pitches: Vec<f64> = (0..3).map(pitch).collect();
    // The first hears nobody, the second all but itself, the third the first.
    assert!(shares(&world, 0, &pitches).iter().all(|share| *share < 0.01));
    let second = shares(&world, 1, &pitches);
    assert!(second[0] > 0.3 && second[1] < 0.01 && second[2] > 0.3, "{second:?}");
    let third = shares(&world, 2, &pitches);
    assert!(third[0] > 0.9, "{third:?}");
}

#[test]
fn who_speaks_is_told_when_the_script_asks() {
    let script = r#"
        const call = VoxEngine.callPSTN("7000", "100");
        call.addEventListener(CallEvents.Connected, () => {
            Logger.write("> " + call.vad());
            call.handleMicStatus(true);
            Logger.write("> " + call.vad());
        });
        call.addEventListener(CallEvents.MicStatusChange, e => Logger.write("> " + e.active));
        setTimeout(VoxEngine.terminate, 2000);
    "#;
    let world = run(script, 1);
    assert_eq!(said(&world), ["false", "true", "true"]);
}

#[test]
fn conferences_of_a_session_are_bounded() {
    let script = r#"
        for (let n = 0; n < 6; n++) {
            const conference = VoxEngine.createConference();
            for (const name in ConferenceEvents) {
                conference.addEventListener(ConferenceEvents[name], e => {
                    Logger.write("> " + e.name + (e.error ? " " + e.code : ""));
                });
            }
        }
        setTimeout(VoxEngine.terminate, 1000);
    "#;
    let world = run(script, 0);
    let said = said(&world);
    assert_eq!(said.iter().filter(|line| **line == "Conference.Started").count(), 4);
    assert_eq!(said.iter().filter(|line| **line == "Conference.Error 102").count(), 2);
}
