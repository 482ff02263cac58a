//! What scripts learn of beeps, fax tones and who answered.

use crate::{Plan, World, answers, finish, ms, phone, rule, said, story};
use branchline::sim::phone::Manner;
use material::Material;

#[path = "../../src/media/detect/material.rs"]
#[allow(dead_code, reason = "shared with the unit tests and the bench")]
mod material;

fn plays(sound: &Material) -> Manner {
    Manner { plays: Some(sound.samples().into()), ..answers() }
}

/// What the script logs while the callee plays a sound.
fn told(script: &str, manner: Manner) -> Vec<String> {
    let phones = vec![phone("7001", manner)];
    let mut world = World::new(Plan { rules: rule(script), phones, ..Plan::default() });
    world.start_scenario(1, "");
    finish(&mut world);
    assert!(!said(&world).is_empty(), "{}", story(&world));
    said(&world).into_iter().map(str::to_owned).collect()
}

fn line() -> Material {
    Material::new(8000, 5).silence(800)
}

const AMD: &str = r#"
    require(Modules.AMD);
    const amd = AMD.create({ model: AMD.Model.US, timeout: 5000 });
    const call = VoxEngine.callPSTN("7001", "100", { amd });
    for (const name of ["Started", "Result", "Stopped"]) {
        call.addEventListener(CallEvents["AudioIdentification" + name], e =>
            Logger.write("> " + name + (e.audioType ? " " + e.audioType : "")));
    }
    amd.addEventListener(AMD.Events.DetectionComplete, e => {
        const isRight = e.amd === amd && e.call === call && e.callId === call.id();
        Logger.write(`> ${isRight} ${e.resultClass} ${e.resultSubtype} ${e.confidence > 50}`);
    });
    call.addEventListener(CallEvents.Connected, async () => {
        Logger.write("> detect: " + (await amd.detect()).resultClass);
        setTimeout(VoxEngine.terminate, 100);
    });
"#;

#[test]
fn amd_tells_a_person_from_a_voicemail_and_from_nobody() {
    let person = line().speech(600, -20.0).silence(8000).over_noise(-60.0);
    let voicemail = line().speech(8000, -20.0).over_noise(-60.0);
    let short = line().speech(1200, -20.0).silence(300).tone(500, 1000.0, -15.0);
    let nobody = line().noise(8000, -60.0);
    for (sound, class, is_sure) in [
        (person, "HUMAN", true),
        (voicemail, "VOICEMAIL", true),
        (short, "VOICEMAIL", true),
        (nobody, "TIMEOUT", false),
    ] {
        let verdict = format!("true {class} NONE {is_sure}");
        let result = format!("Result {class}");
        let all = told(AMD, plays(&sound));
        for line in ["Started", &result, &verdict, &format!("detect: {class}")] {
            assert_eq!(all.iter().filter(|one| *one == line).count(), 1, "{class} {line}: {all:?}");
        }
    }
}

#[test]
fn amd_of_a_call_that_ends_early_says_so() {
    let hangs_up = Manner { hangs_up_after: Some(ms(1000)), ..plays(&line()) };
    let all = told(AMD, hangs_up);
    assert_eq!(all, ["Started", "true CALL_ENDED NONE false", "detect: CALL_ENDED"]);
}

#[test]
fn amd_is_attached_to_a_connected_call_by_send_media_to() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        const amd = AMD.create({ thresholds: { voicemail: 0.9 } });
        amd.detect().catch(error => Logger.write("> " + error.message));
        call.addEventListener(CallEvents.Connected, () => {
            call.sendMediaTo(amd);
            amd.detect().then(e => { Logger.write("> " + e.confidence); VoxEngine.terminate(); });
        });
    "#;
    let all = told(script, plays(&line().speech(8000, -20.0).over_noise(-60.0)));
    assert_eq!(all, ["AMD.detect: the detector is not attached to a call", "90"]);
}

const BEEP: &str = r#"
    const call = VoxEngine.callPSTN("7001", "100");
    call.addEventListener(CallEvents.BeepDetectionComplete, e =>
        Logger.write("> " + (e.frequencies ? Math.round(e.frequencies[0] / 100) : e.timeout)));
    setTimeout(VoxEngine.terminate, 8000);
"#;

#[test]
fn beep_is_told_once_with_its_frequency() {
    let sound = || line().speech(2000, -20.0).silence(200).tone(400, 1400.0, -15.0);
    let twice = || sound().silence(500).tone(400, 1400.0, -15.0).over_noise(-60.0);
    let script = |settings: &str| format!("{BEEP} call.enableBeepDetection({settings});");
    assert_eq!(told(&script(""), plays(&twice())), ["14"]);
    assert_eq!(told(&script("{ frequencies: [1400] }"), plays(&twice())), ["14"]);
    let other = script("{ frequencies: [1000], timeout: 3000 }");
    assert_eq!(told(&other, plays(&twice())), ["true"]);
    let stopped = format!(
        "{} call.addEventListener(CallEvents.Connected, () => {{
            call.disableBeepDetection(); call.disableBeepDetection();
        }});",
        script("")
    );
    assert_eq!(told(&stopped, plays(&twice())), ["false"]);
}

#[test]
fn fax_tones_are_told() {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        call.detectFaxTone();
        call.addEventListener(CallEvents.ToneDetected, e =>
            Logger.write(`> ${e.FaxTone} ${e.ProgressTone} ${e.VoicemailTone}`));
        setTimeout(VoxEngine.terminate, 9000);
    "#;
    let calling = line().tone(500, 1100.0, -20.0).silence(3000).tone(500, 1100.0, -20.0);
    assert_eq!(told(script, plays(&calling)), ["CNG false false"]);
    assert_eq!(told(script, plays(&line().tone(3000, 2100.0, -20.0))), ["CED false false"]);
}
