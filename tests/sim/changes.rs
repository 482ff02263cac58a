//! A call that stands is changed: hold and resume by either side, codecs, addresses, glare, session
//! timers.

use std::time::Duration;

use crate::{Plan, World, answers, finish, ms, phone, rule, said, story};
use branchline::sim::link::Weather;
use branchline::sim::phone::{By, Change, Law, Manner, OnChange};
use branchline::sim::sound;

/// Calls 7001 and 7002 and joins them; what follows are statements over `a` and `b`.
fn joined(more: &str) -> Vec<(String, String)> {
    rule(&format!(
        r#"
        const a = VoxEngine.callPSTN("7001", "100"), b = VoxEngine.callPSTN("7002", "100");
        let connected = 0;
        const log = (who, call) => {{
            const names = ["OnHold", "OffHold", "ReInviteReceived", "ReInviteAccepted",
                "ReInviteRejected", "ToneReceived", "RtpStopped", "RtpResumed", "Disconnected"];
            for (const name of names) {{
                call.addEventListener(CallEvents[name], e => Logger.write(
                    "> " + who + " " + name + (e.code ? " " + e.code : "") + (e.tone ?? "")
                    + (e.internalCode ? " " + e.internalCode + " " + e.duration : "")));
            }}
            call.addEventListener(CallEvents.Connected, () => {{
                if (++connected === 2) VoxEngine.sendMediaBetween(a, b);
            }});
            call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        }};
        log("a", a);
        log("b", b);
        {more}
        "#
    ))
}

fn change(direction: &'static str) -> Change {
    Change { direction: Some(direction), ..Change::default() }
}

/// 7001 speaks 400 Hz and makes these changes, 7002 speaks 700 Hz and hangs up after `end` ms.
fn run(more: &str, changes: Vec<(u64, Change)>, end: u64) -> World {
    let changes = changes.into_iter().map(|(at, change)| (ms(at), change)).collect();
    let first = Manner { speaks: Some(400.0), changes, ..answers() };
    let second = Manner { speaks: Some(700.0), hangs_up_after: Some(ms(end)), ..answers() };
    run_with(more, first, second)
}

fn run_with(more: &str, first: Manner, second: Manner) -> World {
    let phones = vec![phone("7001", first), phone("7002", second)];
    let mut world = World::new(Plan { rules: joined(more), phones, ..Plan::default() });
    world.start_scenario(1, "");
    finish(&mut world);
    world
}

/// Milliseconds of 20 ms frames in which `hertz` is all that is heard.
fn heard_ms(world: &World, place: usize, hertz: f64) -> usize {
    let frames = world.phones[place].heard.chunks_exact(160);
    let is_heard =
        |frame: &&[i16]| sound::purity(frame, hertz) > 0.95 && sound::level_dbfs(frame) > -40.0;
    frames.filter(is_heard).count() * 20
}

#[track_caller]
fn within(value: usize, around: usize, world: &World) {
    assert!(value.abs_diff(around) <= 120, "{value} ms, not {around}\n{}", story(world));
}

#[test]
fn peer_holds_and_resumes_in_every_form() {
    for (hold, music_ms) in [
        (change("sendonly"), 2000),
        (change("inactive"), 0),
        (Change { is_nowhere: true, ..Change::default() }, 2000),
        (Change { is_nowhere: true, ..change("inactive") }, 0),
        (Change { by: By::Update, ..change("sendonly") }, 2000),
        (Change { by: By::InviteWithoutOffer, ..change("sendonly") }, 2000),
        // The stream is taken away.
        (Change { port: Some(0), ..Change::default() }, 0),
    ] {
        let resume = Change { by: hold.by, ..change("sendrecv") };
        let name = format!("{hold:?}");
        let world = run("", vec![(1000, hold), (3000, resume)], 5000);
        let expected = [
            "a ReInviteReceived",
            "a OnHold",
            "a ReInviteReceived",
            "a OffHold",
            "b Disconnected 200 5",
        ];
        assert_eq!(said(&world), expected, "{name}\n{}", story(&world));
        // It hears nothing while it holds; the other hears what it sends.
        within(heard_ms(&world, 0, 700.0), 3000, &world);
        within(heard_ms(&world, 1, 400.0), 3000 + music_ms, &world);
    }
}

#[test]
fn call_that_is_answered_in_hold_is_held_from_the_start() {
    let first = Manner {
        direction: "sendonly",
        changes: vec![(ms(1000), Change::default()), (ms(2000), change("sendrecv"))],
        ..answers()
    };
    let second = Manner { hangs_up_after: Some(ms(3000)), ..answers() };
    let world = run_with("", first, second);
    let expected = ["a OnHold", "a ReInviteReceived", "a OffHold", "b Disconnected 200 3"];
    assert_eq!(said(&world), expected, "{}", story(&world));
}

#[test]
fn hold_that_goes_on_in_another_form_is_told_once() {
    let changes = vec![
        (500, change("sendonly")),
        (1500, change("inactive")),
        (2500, Change { is_nowhere: true, ..change("sendonly") }),
        (3500, change("sendrecv")),
    ];
    let world = run("", changes, 5000);
    let expected = [
        "a ReInviteReceived",
        "a OnHold",
        "a ReInviteReceived",
        "a OffHold",
        "b Disconnected 200 5",
    ];
    assert_eq!(said(&world), expected, "{}", story(&world));
}

#[test]
fn changes_other_than_hold_are_not_shown_to_the_script() {
    for change in [
        Change::default(),
        Change { law: Some(Law::A), ..Change::default() },
        Change { port: Some(20_000), ..Change::default() },
        Change { ssrc: Some(0x9999), ..Change::default() },
        Change { digits: Some(97), ..Change::default() },
        Change { has_video: true, ..Change::default() },
        Change { by: By::InviteWithoutOffer, ..Change::default() },
        Change { by: By::Update, law: Some(Law::A), ..Change::default() },
        Change { by: By::UpdateWithoutOffer, ..Change::default() },
    ] {
        let name = format!("{change:?}");
        let world = run("", vec![(2000, change)], 4000);
        assert_eq!(said(&world), ["b Disconnected 200 4"], "{name}\n{}", story(&world));
        // The sound goes on; a peer that moves is believed after a moment.
        within(heard_ms(&world, 0, 700.0), 4000, &world);
        within(heard_ms(&world, 1, 400.0), 4000, &world);
    }
}

#[test]
fn relay_becomes_transcoding_and_back() {
    let changes = vec![
        (1000, Change { law: Some(Law::A), ..Change::default() }),
        (2000, Change { law: Some(Law::Mu), ..Change::default() }),
        (3000, Change { law: Some(Law::A), by: By::Update, ..Change::default() }),
    ];
    let world = run("", changes, 4000);
    within(heard_ms(&world, 0, 700.0), 4000, &world);
    within(heard_ms(&world, 1, 400.0), 4000, &world);
}

#[test]
fn digits_pass_and_are_heard_under_their_new_number() {
    for (handled, expected, log) in
        [("", "5", vec![]), ("a.handleTones(true);", "", vec!["a ToneReceived5"])]
    {
        let first = Manner {
            changes: vec![(ms(500), Change { digits: Some(97), ..Change::default() })],
            presses: vec![(ms(1500), '5')],
            ..answers()
        };
        let second = Manner { hangs_up_after: Some(ms(3000)), ..answers() };
        let world = run_with(handled, first, second);
        assert_eq!(world.phones[1].digits, expected, "{}", story(&world));
        assert_eq!(said(&world), [log, vec!["b Disconnected 200 3"]].concat());
    }
}

#[test]
fn script_holds_and_resumes_its_peer() {
    let script = r#"
        const at = (time, body) =>
            setTimeout(() => a.reInvite({ "X-Why": "x" }, "application/sdp", body), time);
        at(1500, "a=sendonly");
        at(3500, "a=sendrecv");
    "#;
    let world = run(script, Vec::new(), 5000);
    let expected = ["a ReInviteAccepted", "a ReInviteAccepted", "b Disconnected 200 5"];
    assert_eq!(said(&world), expected, "{}", story(&world));
    assert_eq!(world.phones[0].told, ["INVITE sendonly", "INVITE sendrecv"]);
    // The held one hears who holds it, and is not heard.
    within(heard_ms(&world, 0, 700.0), 5000, &world);
    within(heard_ms(&world, 1, 400.0), 3000, &world);
}

#[test]
fn held_by_both_sides() {
    // 7001 holds from 1 s to 4 s, the script from 2 s to 6 s.
    let script = r#"
        setTimeout(() => a.reInvite({}, "application/sdp", "a=sendonly"), 2500);
        setTimeout(() => a.reInvite({}, "application/sdp", "a=sendrecv"), 6500);
    "#;
    let changes = vec![(1000, change("sendonly")), (4000, change("sendrecv"))];
    let world = run(script, changes, 8000);
    let expected = [
        "a ReInviteReceived",
        "a OnHold",
        "a ReInviteAccepted",
        "a ReInviteReceived",
        "a OffHold",
        "a ReInviteAccepted",
        "b Disconnected 200 8",
    ];
    assert_eq!(said(&world), expected, "{}", story(&world));
    // It hears but while it holds, it is heard but while it is held.
    within(heard_ms(&world, 0, 700.0), 5000, &world);
    within(heard_ms(&world, 1, 400.0), 4000, &world);
}

#[test]
fn holder_without_music_does_not_count_as_gone() {
    let changes = vec![(500, change("inactive")), (20_000, change("sendrecv"))];
    let world = run("", changes, 22_000);
    assert!(!said(&world).iter().any(|line| line.contains("Rtp")), "{}", story(&world));
}

#[test]
fn hold_passes_through_easy_process() {
    let script = r#"
        VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
            const callee = VoxEngine.callSIP("sip:7002@10.0.1.2:5060", { callerid: "100" });
            for (const name of ["OnHold", "OffHold"]) {
                e.call.addEventListener(CallEvents[name], () => Logger.write("> " + name));
            }
            VoxEngine.easyProcess(e.call, callee);
        });
    "#;
    let caller = Manner {
        changes: vec![(ms(1000), change("sendonly")), (ms(3000), change("sendrecv"))],
        hangs_up_after: Some(ms(5000)),
        speaks: Some(400.0),
        ..Manner::default()
    };
    let phones =
        vec![phone("bob", caller), phone("7002", Manner { speaks: Some(700.0), ..answers() })];
    let mut world = World::new(Plan { rules: rule(script), phones, ..Plan::default() });
    world.dial(0, "200");
    finish(&mut world);
    assert_eq!(said(&world), ["OnHold", "OffHold"], "{}", story(&world));
    assert_eq!(world.phones[1].told, ["INVITE sendonly", "INVITE sendrecv"], "{}", story(&world));
    // The callee hears the holder's music.
    within(heard_ms(&world, 1, 400.0), 5000, &world);
    within(heard_ms(&world, 0, 700.0), 3000, &world);
}

#[test]
fn refused_reinvite_is_told_and_changes_nothing() {
    let script = r#"setTimeout(() => a.reInvite({}, "application/sdp", "a=inactive"), 1500);"#;
    let first = Manner { speaks: Some(400.0), on_change: OnChange::Refuses(488), ..answers() };
    let second = Manner { hangs_up_after: Some(ms(3000)), ..answers() };
    let world = run_with(script, first, second);
    assert_eq!(said(&world), ["a ReInviteRejected 488", "b Disconnected 200 3"]);
    within(heard_ms(&world, 1, 400.0), 3000, &world);
}

#[test]
fn body_of_another_type_is_sent_as_it_is_and_the_peers_offer_answered() {
    let script = r#"setTimeout(() => a.reInvite({}, "application/json", "{}"), 1500);"#;
    let world = run(script, Vec::new(), 3000);
    assert_eq!(said(&world), ["a ReInviteAccepted", "b Disconnected 200 3"], "{}", story(&world));
    assert_eq!(world.phones[0].told, ["INVITE"]);
    within(heard_ms(&world, 1, 400.0), 3000, &world);
}

#[test]
fn second_reinvite_before_the_first_is_answered_is_rejected_491() {
    let script = r#"
        setTimeout(() => {
            a.reInvite({}, "application/sdp", "a=sendonly");
            a.reInvite({}, "application/sdp", "a=sendrecv");
        }, 1500);
    "#;
    let world = run(script, Vec::new(), 3000);
    let expected = ["a ReInviteRejected 491", "a ReInviteAccepted", "b Disconnected 200 3"];
    assert_eq!(said(&world), expected, "{}", story(&world));
}

/// Both sides ask in the same moment, over a network that loses, doubles and reorders.
#[test]
fn glare_is_resolved_on_a_bad_network() {
    let weather = Weather { loss: 10, duplication: 10, reordering: 10, delay: ms(15) };
    let script = r#"
        a.addEventListener(CallEvents.Connected, () => {
            setTimeout(() => a.reInvite({}, "application/sdp", "a=sendonly"), 20000);
            setTimeout(() => a.reInvite({}, "application/sdp", "a=sendrecv"), 100000);
        });
    "#;
    let mut met = 0;
    for seed in 1..=30 {
        let first = Manner {
            changes: vec![(ms(20_000), change("sendonly")), (ms(100_000), change("sendrecv"))],
            direction: "inactive",
            ..answers()
        };
        let hangs_up_after = Some(ms(180_000));
        let second = Manner { hangs_up_after, direction: "inactive", ..answers() };
        let phones = vec![phone("7001", first), phone("7002", second)];
        let rules = joined(script);
        let mut world = World::new(Plan { weather, seed, rules, phones, ..Plan::default() });
        world.start_scenario(1, "");
        finish(&mut world);
        met += usize::from(world.ladder.text().contains("491"));
        let said: Vec<_> = said(&world).into_iter().filter(|line| !line.contains("Rtp")).collect();
        for line in ["a OnHold", "a OffHold"] {
            let times = said.iter().filter(|other| **other == line).count();
            assert_eq!(times, 1, "seed {seed}: {line}\n{}", story(&world));
        }
        let accepted = said.iter().filter(|line| **line == "a ReInviteAccepted").count();
        assert_eq!(accepted, 2, "seed {seed}\n{}", story(&world));
    }
    assert!(met > 10, "{met} times");
}

const TIMER: &str = "Allow: INVITE, ACK, BYE, UPDATE\r\nSupported: timer\r\n";

/// One call to a phone like this, until it ends.
fn long_call(manner: Manner) -> World {
    let script = r#"
        const call = VoxEngine.callPSTN("7001", "100");
        for (const name of ["ReInviteReceived", "OffHold", "Disconnected"]) {
            call.addEventListener(CallEvents[name], e =>
                Logger.write("> " + name + " " + e.internalCode + " " + e.duration));
        }
        call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
    "#;
    // Without RTP an hour takes no time.
    let phones = vec![phone("7001", Manner { direction: "inactive", ..manner })];
    let mut world = World::new(Plan { rules: rule(script), phones, ..Plan::default() });
    world.start_scenario(1, "");
    world.run_for(Duration::from_secs(3610));
    finish(&mut world);
    world
}

#[test]
fn call_of_an_hour_is_refreshed_every_quarter() {
    let hour = Some(Duration::from_secs(3600));
    for (headers, told) in [(TIMER, "UPDATE"), ("Allow: INVITE, ACK, BYE\r\n", "INVITE sendrecv")] {
        let world = long_call(Manner { headers, hangs_up_after: hour, ..answers() });
        assert_eq!(said(&world), ["Disconnected 200 3600"], "{}", story(&world));
        // At 900, 1800 and 2700 s, and where its answer is late, at 3600.
        assert_eq!(world.phones[0].told, [told; 3], "{}", story(&world));
    }
}

#[test]
fn peer_that_vanishes_is_noticed() {
    let vanishes_after = Some(Duration::from_secs(1000));
    for headers in [TIMER, ""] {
        let world = long_call(Manner { headers, vanishes_after, ..answers() });
        // The refresh at 1800 s is given up after 32 s.
        assert_eq!(said(&world), ["Disconnected 408 1832"], "{}", story(&world));
    }
    // It wanted to refresh every 15 minutes: gone 32 s before the end of the interval.
    let headers = "Supported: timer\r\nRequire: timer\r\nSession-Expires: 1800;refresher=uas\r\n";
    let world = long_call(Manner { headers, vanishes_after, ..answers() });
    assert_eq!(said(&world), ["Disconnected 408 1768"], "{}", story(&world));
}

#[test]
fn refreshes_of_the_peer_keep_the_call_up() {
    let refresh = |by| {
        let change = Change { by, ..Change::default() };
        (1..4).map(|n| (Duration::from_secs(n * 900), change.clone())).collect::<Vec<_>>()
    };
    for by in [By::UpdateWithoutOffer, By::Invite] {
        let headers = "Supported: timer\r\nSession-Expires: 1800;refresher=uas\r\n";
        let manner = Manner {
            headers,
            changes: refresh(by),
            hangs_up_after: Some(Duration::from_secs(3600)),
            ..answers()
        };
        let world = long_call(manner);
        assert_eq!(said(&world), ["Disconnected 200 3600"], "{}", story(&world));
        assert_eq!(world.phones[0].told, Vec::<String>::new());
    }
}
