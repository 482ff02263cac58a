//! Players in a call: sequences without a seam, sounds that fail while they play.

use std::sync::Arc;

use branchline::media::clip::Clip;
use branchline::media::frame::Rate;
use branchline::sim::phone::Manner;
use branchline::sim::sound;

use crate::{Plan, World, finish, phone, rule, said, story};

/// A sine of 1000 Hz in pieces that end in the middle of a frame and of a period.
const PIECES: [(usize, usize); 3] = [(0, 2501), (2501, 2514), (2514, 8000)];

/// One call and a player of `deed`, whose events are logged.
fn plays(deed: &str, events: &str) -> World {
    let script = format!(
        r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.addEventListener(CallEvents.Connected, () => {{
            const player = {deed};
            for (const name of Object.keys({events})) {{
                player.addEventListener({events}[name], e => Logger.write(
                    "> " + name + (e.offset !== undefined ? " " + e.offset : "")
                    + (e.error ? " " + e.error : "")));
            }}
            player.sendMediaTo(call);
            if (player.addMarker) player.addMarker(-10, 2);
        }});
        setTimeout(VoxEngine.terminate, 5000);
        "#
    );
    let answers = Manner { answers_after: Some(crate::ms(200)), ..Manner::default() };
    let plan =
        Plan { rules: rule(&script), phones: vec![phone("7001", answers)], ..Plan::default() };
    let mut world = World::new(plan);
    let sine: Vec<i16> =
        (0..50).flat_map(|frame| sound::sine(1000.0, 10_000.0, frame * 160)).collect();
    for (place, (from, to)) in PIECES.into_iter().enumerate() {
        let clip = Clip::whole(Rate::Narrow, &sine[from..to]);
        world.sounds.insert(format!("{place}.wav"), Arc::new(clip));
    }
    let (clip, mut writer) = Clip::growing(Rate::Narrow, Some(8000), 8000);
    writer.append(&sine[..4000]);
    writer.finish(Err("the line broke".into()));
    world.sounds.insert("broken.wav".into(), clip);
    world.start_scenario(1, "");
    finish(&mut world);
    world
}

/// Frames in a row with nothing but 1000 Hz, before which there is silence; and what follows them
/// is silence but for the step to it, which is eased.
fn heard(world: &World) -> usize {
    let frames = world.phones[0].heard.chunks_exact(160);
    let mut sounding = frames.skip_while(|frame| sound::level_dbfs(frame) < -40.0);
    let is_pure = |frame: &&[i16]| sound::purity(frame, 1000.0) > 0.99;
    let pure = sounding.by_ref().take_while(is_pure).count();
    assert!(sounding.all(|frame| sound::level_dbfs(frame) < -40.0), "{}", story(world));
    pure
}

#[test]
fn sequence_is_heard_as_one_stream_without_a_seam() {
    let segments = "VoxEngine.createSequencePlayer({ segments: [
        { url: '0.wav' }, { url: '1.wav' }, { url: '2.wav' } ] })";
    let world = plays(segments, "SequencePlayerEvents");
    let expected =
        ["Created", "PlaybackReady", "Started", "PlaybackMarkerReached -10", "PlaybackFinished"];
    assert_eq!(said(&world), expected, "{}", story(&world));
    // One second; a sample more or less at a seam would turn the phase by 45 degrees.
    assert_eq!(heard(&world), 50);
}

#[test]
fn segment_that_fails_is_told_and_skipped() {
    let segments = "VoxEngine.createSequencePlayer({ segments: [
        { url: '0.wav' }, { url: 'missing.wav' }, { url: '2.wav' }, { text: 'x'.repeat(1501) } ] })";
    let world = plays(segments, "SequencePlayerEvents");
    let expected = [
        "Created",
        "Error The text is longer than 1500 characters",
        "Error 404 Not Found",
        "PlaybackReady",
        "Started",
        "PlaybackMarkerReached -10",
        "PlaybackFinished The text is longer than 1500 characters",
    ];
    assert_eq!(said(&world), expected, "{}", story(&world));
}

#[test]
fn sequence_of_nothing_ends_at_once() {
    let world = plays(
        "VoxEngine.createSequencePlayer({ segments: [{ url: 'missing.wav' }] })",
        "SequencePlayerEvents",
    );
    let expected = ["Created", "Error 404 Not Found", "PlaybackFinished 404 Not Found"];
    assert_eq!(said(&world), expected);
    let world = plays("VoxEngine.createSequencePlayer()", "SequencePlayerEvents");
    assert_eq!(said(&world), ["Created", "PlaybackFinished"]);
}

#[test]
fn sound_that_breaks_off_is_heard_so_far_and_told() {
    let world = plays("VoxEngine.createURLPlayer('broken.wav')", "PlayerEvents");
    let expected = [
        "Created",
        "PlaybackReady",
        "Started",
        "PlaybackMarkerReached -10",
        "Error the line broke",
        "PlaybackFinished the line broke",
    ];
    assert_eq!(said(&world), expected, "{}", story(&world));
    assert_eq!(heard(&world), 25);
}

#[test]
fn stopped_sequence_waits_for_nothing() {
    let world = plays(
        "VoxEngine.createSequencePlayer({ segments: [{ url: '0.wav' }, { url: '2.wav' }] });
         setTimeout(() => player.stop(), 100)",
        "SequencePlayerEvents",
    );
    assert_eq!(said(&world), ["Created", "PlaybackReady", "Started", "Stopped"]);
}
