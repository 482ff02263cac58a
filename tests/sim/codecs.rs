//! Which codec a call has, and what is told of its audio when it is over.

use crate::{Plan, World, answers, finish, ms, phone, rule, said, story};
use branchline::sim::link::Weather;
use branchline::sim::phone::{Law, Manner};

/// Passes an incoming call on to 7001 and joins both.
const PASS_ON: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        const b = VoxEngine.callPSTN("7001", "100");
        b.addEventListener(CallEvents.Connected, () => {
            e.call.answer();
            VoxEngine.sendMediaBetween(e.call, b);
        });
        for (const call of [e.call, b]) {
            call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        }
    });
"#;

fn passes_on(caller: Law, callee: Law, weather: Weather, config: &str) -> World {
    let first = Manner { law: caller, hangs_up_after: Some(ms(10_000)), ..speaks() };
    let plan = Plan {
        rules: rule(PASS_ON),
        phones: vec![phone("bob", first), phone("7001", Manner { law: callee, ..speaks() })],
        config: config.into(),
        weather,
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.dial(0, "7001");
    finish(&mut world);
    world
}

fn speaks() -> Manner {
    Manner { speaks: Some(400.0), ..answers() }
}

fn audio_line(sdp: &str) -> Vec<&str> {
    let line = sdp.lines().find(|line| line.starts_with("m=audio ")).expect("audio");
    line.trim_end().split(' ').skip(3).collect()
}

/// Relayed as it comes: the second leg is offered first what the first leg has.
#[test]
fn callee_is_offered_what_the_caller_offered_in_front() {
    for (law, number) in [(Law::Mu, "0"), (Law::A, "8")] {
        let world = passes_on(law, law, Weather::default(), "");
        let offer = audio_line(&world.phones[1].invites[0]);
        assert_eq!(offer[0], number, "{offer:?}");
        // The others are there too.
        assert!(offer.contains(&"0") && offer.contains(&"8") && offer.contains(&"101"));
        assert_eq!(audio_line(&world.phones[0].last_sdp)[0], number);
    }
}

#[test]
fn trunk_speaks_only_its_own_codecs() {
    let plan = Plan {
        rules: rule(PASS_ON),
        phones: vec![
            phone("bob", Manner { hangs_up_after: Some(ms(1000)), ..speaks() }),
            phone("7001", Manner { law: Law::A, ..speaks() }),
        ],
        trunk: "codecs = ['pcma']".into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    world.dial(0, "7001");
    finish(&mut world);
    assert_eq!(audio_line(&world.phones[1].invites[0]), ["8", "101"]);
}

#[test]
fn packet_length_and_comfort_noise_are_offered_as_configured() {
    let config = "[media]\nptime_ms = 40\ncomfort_noise = true\ncodecs = ['PCMU']\n";
    let world = passes_on(Law::Mu, Law::Mu, Weather::default(), config);
    let offer = &world.phones[1].invites[0];
    assert_eq!(audio_line(offer), ["0", "101", "13"]);
    assert!(offer.contains("\r\na=ptime:40\r\n") && offer.contains("a=rtpmap:13 CN/8000\r\n"));
    // The caller did not offer any.
    assert_eq!(audio_line(&world.phones[0].last_sdp), ["0", "101"]);
}

#[test]
fn clean_calls_have_a_clean_record() {
    let world = passes_on(Law::Mu, Law::Mu, Weather::default(), "");
    let row = world.history.last().expect("a row of the session");
    assert_eq!(row.audio_quality, "Standard");
    assert_eq!(row.calls.len(), 2);
    for call in &row.calls {
        let audio = call.audio.as_ref().expect("figures came");
        assert_eq!((&*audio.codec, audio.packets_lost), ("PCMU/8000", 0), "{}", story(&world));
        // Ten seconds of 20 ms.
        assert!((480..=560).contains(&audio.packets_received), "{audio:?}");
        assert!(audio.jitter_us < 1000, "{audio:?}");
        // G.107: R 93.2 without delay.
        assert!((438..=441).contains(&audio.mos), "{audio:?}");
    }
    let lines = world.log.iter().filter(|line| line.contains("audio PCMU/8000: heard "));
    assert_eq!(lines.count(), 2, "{}", story(&world));
}

/// 5 % of the packets each way: G.107 (7-29) makes that R 77 and MOS 3.9 for G.711 with
/// concealment.
#[test]
fn losses_stand_in_the_record() {
    let weather = Weather { loss: 5, ..Weather::default() };
    let world = passes_on(Law::A, Law::A, weather, "");
    let row = world.history.last().expect("a row of the session");
    for call in &row.calls {
        let audio = call.audio.as_ref().expect("figures came");
        let expected = audio.packets_received + audio.packets_lost;
        let percent = audio.packets_lost * 100 / expected;
        assert!((2..=9).contains(&percent), "{audio:?}\n{}", story(&world));
        assert!((350..=420).contains(&audio.mos), "{audio:?}");
    }
}

/// The session waits for media, but no figures come of a call that had none.
#[test]
fn calls_without_audio_have_no_figures() {
    let script = r#"
        const a = VoxEngine.callPSTN("7001", "100");
        a.addEventListener(CallEvents.Failed, e => {
            Logger.write("> " + e.code);
            VoxEngine.terminate();
        });
    "#;
    let busy = Manner { refuses: Some(486), answers_after: Some(ms(100)), ..answers() };
    let plan = Plan { rules: rule(script), phones: vec![phone("7001", busy)], ..Plan::default() };
    let mut world = World::new(plan);
    world.start_scenario(1, "");
    finish(&mut world);
    assert_eq!(said(&world), ["486"]);
    let row = world.history.last().expect("a row of the session");
    assert_eq!((row.calls[0].audio.as_ref(), &*row.audio_quality), (None, ""));
}

/// Only a script that asks for them waits for media.
#[test]
fn script_is_told_how_the_audio_was() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.AudioQualityDetected, e => Logger.write("> " + e.quality));
        call.addEventListener(CallEvents.Disconnected, e => {
            const s = e.statistics;
            Logger.write("> " + e.duration + " s " + s.codec + " lost " + s.packetsLost + " MOS " + s.mos);
            Logger.write("> " + (s.packetsReceived > 200) + " " + (s.jitterMs < 1) + " " + s.mosAtPeer);
            VoxEngine.terminate();
        });
    "#;
    let first = Manner { hangs_up_after: Some(ms(5000)), ..speaks() };
    let plan = Plan { rules: rule(script), phones: vec![phone("7001", first)], ..Plan::default() };
    let mut world = World::new(plan);
    world.start_scenario(1, "");
    finish(&mut world);
    let expected = ["Standard", "5 s PCMU/8000 lost 0 MOS 4.41", "true true undefined"];
    assert_eq!(said(&world), expected, "{}", story(&world));
}

/// The figures of a call that the script hangs up as it ends are for the history only.
#[test]
fn session_that_ends_first_tells_the_script_nothing() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.Connected, () => setTimeout(() => {
            call.hangup();
            VoxEngine.terminate();
        }, 1000));
        call.addEventListener(CallEvents.Disconnected, e => Logger.write("> " + e.statistics));
    "#;
    let plan =
        Plan { rules: rule(script), phones: vec![phone("7001", speaks())], ..Plan::default() };
    let mut world = World::new(plan);
    world.start_scenario(1, "");
    finish(&mut world);
    assert_eq!(said(&world), [""; 0], "{}", story(&world));
    let row = world.history.last().expect("a row of the session");
    assert!(row.calls[0].audio.is_some());
}
