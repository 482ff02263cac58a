//! Recorders that scripts make, and recordings in high quality.

use crate::{Plan, World, answers, finish, phone, rule, said, story};
use branchline::sim::phone::{Law, Manner};
use branchline::sim::sound;

const RECORDER: &str = r#"
    const recorder = VoxEngine.createRecorder({ name: "both", hd_audio: HD });
    for (const name in RecorderEvents) {
        recorder.addEventListener(RecorderEvents[name], e => {
            Logger.write("> " + name + " " + (e.duration ?? (e.url ? "url" : e.error)));
        });
    }
    let connected = 0;
    const calls = ["7001", "7002"].map(number => VoxEngine.callPSTN(number, "100"));
    for (const call of calls) {
        call.addEventListener(CallEvents.Connected, () => {
            call.sendMediaTo(recorder);
            if (++connected < 2) return;
            setTimeout(() => recorder.mute(true), 1000);
            setTimeout(() => recorder.mute(false), 2000);
            setTimeout(() => recorder.stop(), 3000);
        });
    }
    setTimeout(VoxEngine.terminate, 6000);
"#;

fn speaks(hertz: f64, law: Law) -> Manner {
    Manner { speaks: Some(hertz), law, ..answers() }
}

fn run(script: &str) -> World {
    let phones = vec![phone("7001", speaks(400.0, Law::A)), phone("7002", speaks(1100.0, Law::Mu))];
    let mut world = World::new(Plan { rules: rule(script), phones, ..Plan::default() });
    world.start_scenario(1, "");
    finish(&mut world);
    world
}

#[test]
fn recorder_has_the_mix_of_what_is_sent_to_it_and_silence_while_muted() {
    for (is_hd, hertz) in [("false", 8000), ("true", 48_000)] {
        let world = run(&RECORDER.replace("HD", is_hd));
        assert_eq!(said(&world)[0], "Started url", "{}", story(&world));
        let recorded = world.recordings.values().next().expect("a recording");
        assert!(recorded.is_finished);
        assert_eq!((recorded.channels, recorded.rate), (1, hertz));
        let seconds = recorded.samples.len() / hertz as usize;
        assert_eq!(said(&world)[1..], [format!("Stopped {seconds}")]);

        // Half a second each: before the mute, in it, after it.
        let end = recorded.samples.len();
        let half = hertz as usize / 2;
        let before_end = |halves: usize| &recorded.samples[end - halves * half..][..half];
        for (piece, is_loud) in
            [(before_end(5), true), (before_end(3), false), (before_end(1), true)]
        {
            // The measure counts samples as those of 8 kHz.
            let scale = 8000.0 / f64::from(hertz);
            for pitch in [400.0, 1100.0] {
                let share = sound::purity(piece, pitch * scale);
                assert_eq!(share > 0.4, is_loud, "{pitch}: {share}");
            }
        }
        let row = &world.history[0].records[0];
        assert_eq!((row.name.as_str(), row.duration_ms as usize / 1000), ("both", seconds));
        assert!(row.url.ends_with(&recorded.file) && row.file_bytes == 44 + 2 * end as u64);
        assert_eq!(world.history[0].calls[0].record_url, None);
    }
}

#[test]
fn session_that_ends_ends_its_recorders() {
    let script = RECORDER.replace("HD", "false").replace("recorder.stop()", "0");
    let world = run(&script);
    assert_eq!(said(&world), ["Started url"]);
    assert!(world.recordings.values().all(|recorded| recorded.is_finished));
    assert_eq!(world.history[0].records.len(), 1);
}

#[test]
fn recorders_of_a_session_are_bounded() {
    let script = r#"
        for (let n = 0; n < 17; n++) {
            const recorder = VoxEngine.createRecorder();
            recorder.addEventListener(RecorderEvents.RecorderError, e => Logger.write("> " + e.error));
        }
        setTimeout(VoxEngine.terminate, 500);
    "#;
    let world = run(script);
    assert_eq!(said(&world), ["no place for another recorder"]);
    assert_eq!(world.history[0].records.len(), 16);
}

#[test]
fn call_recorded_in_high_quality_has_48_khz() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.RecordStopped, e => Logger.write("> " + e.duration));
        call.addEventListener(CallEvents.Connected, () => {
            call.record({ hd_audio: true });
            setTimeout(() => call.hangup(), 2500);
        });
        setTimeout(VoxEngine.terminate, 5000);
    "#;
    let world = run(script);
    assert_eq!(said(&world), ["2"]);
    let recorded = world.recordings.values().next().expect("a recording");
    assert_eq!((recorded.channels, recorded.rate), (1, 48_000));
    let second = &recorded.samples[48_000..96_000];
    assert!(sound::purity(second, 400.0 / 6.0) > 0.95);
}
