//! Transfers: blind and attended, by the peer, by the script, and from outside by Replaces.

use crate::{Plan, World, answers, expect_ladder, finish, ms, phone, said, story};
use branchline::sim::link::Weather;
use branchline::sim::phone::{Hold, Manner, OnChange, OnRefer};
use branchline::sim::sound;

/// Joins the caller with the phone that it dialled, as most scenarios do.
const FORWARD: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        const out = VoxEngine.callPSTN(e.destination, e.callerid);
        Logger.write("> " + e.callerid + " calls " + e.destination);
        for (const call of [e.call, out]) {
            const name = call === out ? e.destination : e.callerid;
            for (const event of ["TransferComplete", "TransferFailed", "Disconnected"]) {
                call.addEventListener(CallEvents[event], ({ role, code, internalCode, reason }) =>
                    Logger.write(["> " + name, event, role ?? internalCode, code ?? ""].join(" ").trim()));
            }
        }
        VoxEngine.easyProcess(e.call, out);
    });
"#;

fn speaks(hertz: f64) -> Manner {
    Manner { speaks: Some(hertz), ..answers() }
}

fn rules(script: &str) -> Vec<(String, String)> {
    vec![("alice2?|bob|carol".into(), script.into())]
}

/// alice calls bob, and refers it after two seconds.
fn world_of_three(alice: Manner, carol: Manner) -> World {
    World::new(Plan {
        rules: rules(FORWARD),
        phones: vec![
            phone("alice", Manner { speaks: Some(400.0), ..alice }),
            phone("bob", Manner { hangs_up_after: Some(ms(8000)), ..speaks(700.0) }),
            phone("carol", carol),
        ],
        ..Plan::default()
    })
}

fn refers_to_carol() -> Manner {
    Manner { refers: vec![(ms(2000), "<sip:carol@10.0.0.1>".into())], ..Manner::default() }
}

/// How long a phone heard only this, in milliseconds.
fn heard_ms(world: &World, phone: usize, hertz: f64) -> usize {
    let frames = world.phones[phone].heard.chunks_exact(160);
    let is_heard =
        |frame: &&[i16]| sound::purity(frame, hertz) > 0.95 && sound::level_dbfs(frame) > -40.0;
    frames.filter(is_heard).count() * 20
}

#[test]
fn blind_transfer_joins_the_far_leg_with_the_target() {
    let mut world = world_of_three(refers_to_carol(), speaks(1100.0));
    world.dial(0, "bob");
    finish(&mut world);
    expect_ladder(
        &world,
        "alice -> INVITE
         alice <- 100 INVITE
         bob <- INVITE
         bob -> 180 INVITE
         alice <- 180 INVITE
         bob -> 200 INVITE
         bob <- ACK
         alice <- 200 INVITE
         alice -> ACK
         alice -> REFER
         alice <- 202 REFER
         alice <- NOTIFY
         alice -> 200 NOTIFY
         carol <- INVITE
         carol -> 180 INVITE
         alice <- NOTIFY
         alice -> 200 NOTIFY
         carol -> 200 INVITE
         carol <- ACK
         alice <- NOTIFY
         alice -> 200 NOTIFY
         alice -> BYE
         alice <- BYE
         alice -> 200 BYE
         alice <- 200 BYE
         bob -> BYE
         bob <- 200 BYE
         carol <- BYE
         carol -> 200 BYE",
    );
    let lines = ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"];
    assert_eq!(world.phones[0].notified, lines);
    assert_eq!(
        said(&world),
        [
            "alice calls bob",
            "alice calls carol",
            "alice TransferComplete transferor",
            "bob TransferComplete transferee",
            "bob Disconnected 200",
            "alice Disconnected 200",
        ]
    );
    // bob heard alice for two seconds and carol for five.
    assert!((1800..3000).contains(&heard_ms(&world, 1, 400.0)), "{}", story(&world));
    assert!(heard_ms(&world, 1, 1100.0) > 4500, "{}", story(&world));
    assert!(heard_ms(&world, 2, 700.0) > 4500, "{}", story(&world));
    assert_eq!(heard_ms(&world, 2, 400.0), 0);
}

#[test]
fn transferee_that_was_on_hold_is_taken_back_for_the_target() {
    // The hold of alice reaches bob through the script.
    let alice = || Manner { holds: vec![(ms(1000), Hold::On)], ..refers_to_carol() };
    for alice in [alice(), Manner { hangs_up_after: Some(ms(2010)), ..alice() }] {
        let mut world = world_of_three(alice, speaks(1100.0));
        world.dial(0, "bob");
        finish(&mut world);
        assert!(heard_ms(&world, 1, 1100.0) > 4500, "{}", story(&world));
        assert!(heard_ms(&world, 2, 700.0) > 4500, "{}", story(&world));
    }
}

#[test]
fn transferee_whose_hold_is_still_under_way_is_taken_back_after_it() {
    // bob has the hold of alice put off until it is carol's.
    let alice = Manner { holds: vec![(ms(1000), Hold::On)], ..refers_to_carol() };
    let bob = Manner { on_change: OnChange::PutsOff, ..speaks(700.0) };
    let mut world = World::new(Plan {
        rules: rules(FORWARD),
        phones: vec![
            phone("alice", Manner { speaks: Some(400.0), ..alice }),
            phone("bob", Manner { hangs_up_after: Some(ms(8000)), ..bob }),
            phone("carol", speaks(1100.0)),
        ],
        ..Plan::default()
    });
    world.dial(0, "bob");
    finish(&mut world);
    let bob = &world.phones[1];
    let told = ["INVITE sendonly", "INVITE sendonly", "INVITE sendrecv"];
    assert_eq!(bob.told, told, "{}", story(&world));
    assert!(heard_ms(&world, 1, 1100.0) > 4500, "{}", story(&world));
    assert!(heard_ms(&world, 2, 700.0) > 4500, "{}", story(&world));
}

#[test]
fn blind_transfer_that_fails_leaves_the_call_as_it_was() {
    let carol = Manner { refuses: Some(486), ..answers() };
    let mut world = world_of_three(refers_to_carol(), carol);
    world.dial(0, "bob");
    finish(&mut world);
    let lines = ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 486 Busy Here"];
    assert_eq!(world.phones[0].notified, lines, "{}", story(&world));
    assert!(said(&world).contains(&"alice TransferFailed transferor 486"), "{}", story(&world));
    // bob hangs up after eight seconds, and heard alice all the time.
    assert!(heard_ms(&world, 1, 400.0) > 7000, "{}", story(&world));
}

#[test]
fn bye_right_after_the_202_does_not_end_the_transfer() {
    let alice = Manner { hangs_up_after: Some(ms(2010)), ..refers_to_carol() };
    let mut world =
        world_of_three(alice, Manner { answers_after: Some(ms(1500)), ..speaks(1100.0) });
    world.dial(0, "bob");
    finish(&mut world);
    let lines = said(&world);
    assert!(lines.contains(&"alice TransferComplete transferor"), "{}", story(&world));
    assert!(heard_ms(&world, 1, 1100.0) > 3000, "{}", story(&world));
    assert!(heard_ms(&world, 2, 700.0) > 3000, "{}", story(&world));
}

#[test]
fn transferee_that_waits_alone_is_hung_up_when_the_target_refuses() {
    let alice = Manner { hangs_up_after: Some(ms(2010)), ..refers_to_carol() };
    let carol = Manner { refuses: Some(486), answers_after: Some(ms(1000)), ..Manner::default() };
    let mut world = world_of_three(alice, carol);
    world.dial(0, "bob");
    finish(&mut world);
    assert!(world.ladder.text().contains("bob <- BYE"), "{}", story(&world));
}

#[test]
fn transferee_that_hangs_up_cancels_the_target() {
    let carol = Manner { answers_after: None, ..Manner::default() };
    let mut world = World::new(Plan {
        rules: rules(FORWARD),
        phones: vec![
            phone("alice", refers_to_carol()),
            phone("bob", Manner { hangs_up_after: Some(ms(4000)), ..answers() }),
            phone("carol", carol),
        ],
        ..Plan::default()
    });
    world.dial(0, "bob");
    finish(&mut world);
    assert!(world.ladder.text().contains("carol <- CANCEL"), "{}", story(&world));
    let told = world.phones[0].notified.last().map(String::as_str);
    assert_eq!(told, Some("SIP/2.0 487 Request Terminated"), "{}", story(&world));
    assert!(said(&world).contains(&"alice TransferFailed transferor 487"), "{}", story(&world));
}

#[test]
fn transfer_to_a_number_without_a_rule_is_told_404() {
    let alice =
        Manner { refers: vec![(ms(1000), "<sip:nobody@10.0.0.1>".into())], ..Manner::default() };
    let mut world = world_of_three(alice, answers());
    world.dial(0, "bob");
    finish(&mut world);
    let told = world.phones[0].notified.last().map(String::as_str);
    assert_eq!(told, Some("SIP/2.0 404 Not Found"), "{}", story(&world));
}

#[test]
fn called_phone_transfers_its_caller() {
    let mut world = World::new(Plan {
        rules: rules(FORWARD),
        phones: vec![
            phone(
                "alice",
                Manner { speaks: Some(400.0), hangs_up_after: Some(ms(8000)), ..answers() },
            ),
            phone("bob", Manner { refers: refers_to_carol().refers, ..answers() }),
            phone("carol", speaks(1100.0)),
        ],
        ..Plan::default()
    });
    world.dial(0, "bob");
    finish(&mut world);
    assert!(said(&world).contains(&"bob calls carol"), "{}", story(&world));
    assert!(heard_ms(&world, 0, 1100.0) > 4500, "{}", story(&world));
    assert!(heard_ms(&world, 2, 400.0) > 4500, "{}", story(&world));
}

/// Carries transfers out itself, and reports as `customData` says.
const BY_SCRIPT: &str = r#"
    VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        const a = e.call, b = VoxEngine.callPSTN(e.destination);
        a.handleBlindTransfer(true);
        VoxEngine.sendMediaBetween(a, b);
        b.addEventListener(CallEvents.Connected, () => a.answer());
        a.addEventListener(CallEvents.BlindTransferRequested, ({ transferTo, headers }) => {
            Logger.write("> " + transferTo + " " + headers["Refer-To"]);
            if (transferTo === "silence") return;
            const c = VoxEngine.callPSTN(transferTo);
            c.addEventListener(CallEvents.Connected, () => {
                VoxEngine.sendMediaBetween(b, c);
                a.notifyBlindTransferSuccess();
            });
            c.addEventListener(CallEvents.Failed, ({ code }) =>
                a.notifyBlindTransferFailed(code, "was not\nthere"));
        });
        a.addEventListener(CallEvents.Disconnected, () => Logger.write("> alice left"));
        b.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
    });
"#;

fn by_script(refers_to: &str, carol: Manner) -> World {
    let refers = vec![(ms(1000), format!("<sip:{refers_to}@10.0.0.1>"))];
    let mut world = World::new(Plan {
        rules: rules(BY_SCRIPT),
        phones: vec![
            phone("alice", Manner { refers, ..Manner::default() }),
            phone("bob", Manner { hangs_up_after: Some(ms(90_000)), ..speaks(700.0) }),
            phone("carol", carol),
        ],
        ..Plan::default()
    });
    world.dial(0, "bob");
    finish(&mut world);
    world
}

#[test]
fn script_carries_a_blind_transfer_out_and_reports() {
    let world = by_script("carol", answers());
    assert_eq!(said(&world), ["carol sip:carol@10.0.0.1", "alice left"], "{}", story(&world));
    assert_eq!(world.phones[0].notified, ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
    assert!(heard_ms(&world, 2, 700.0) > 80_000, "{}", story(&world));
}

#[test]
fn failure_that_the_script_reports_is_told_on_one_line() {
    let world = by_script("carol", Manner { refuses: Some(486), ..answers() });
    assert_eq!(world.phones[0].notified, ["SIP/2.0 100 Trying", "SIP/2.0 486 was notthere"]);
}

#[test]
fn script_that_reports_nothing_for_a_minute_is_a_408() {
    let world = by_script("silence", answers());
    assert_eq!(world.phones[0].notified, ["SIP/2.0 100 Trying", "SIP/2.0 408 Request Timeout"]);
}

/// alice is two lines of one PBX: she calls bob, asks carol, and brings them together.
fn attended(weather: Weather, seed: u64) -> World {
    let line = || Manner { stays: false, ..Manner::default() };
    let mut world = World::new(Plan {
        weather,
        seed,
        rules: rules(FORWARD),
        phones: vec![
            phone("alice", Manner { speaks: Some(400.0), ..line() }),
            phone("alice2", Manner { speaks: Some(500.0), ..line() }),
            phone("bob", Manner { hangs_up_after: Some(ms(12_000)), ..speaks(700.0) }),
            phone("carol", speaks(1100.0)),
        ],
        lines: 1,
        ..Plan::default()
    });
    world.dial(0, "bob");
    world.run_for(ms(3000));
    world.dial(1, "carol");
    world.run_for(ms(3000));
    let replaces = world.phones[1].replaces().replace(';', "%3B").replace('=', "%3D");
    world.refer(0, &format!("<sip:carol@10.0.0.1?Replaces={replaces}>"));
    world
}

#[test]
fn attended_transfer_joins_the_far_legs_of_two_sessions() {
    let mut world = attended(Weather::default(), 1);
    finish(&mut world);
    assert_eq!(world.phones[0].notified.last().unwrap(), "SIP/2.0 200 OK", "{}", story(&world));
    assert_eq!(
        said(&world),
        [
            "alice calls bob",
            "alice2 calls carol",
            "alice TransferComplete transferor",
            "bob TransferComplete transferee",
            "bob Disconnected 200",
            "alice2 TransferComplete transferor",
            "carol TransferComplete target",
            "alice2 Disconnected 200",
        ],
        "{}",
        story(&world)
    );
    assert!(heard_ms(&world, 2, 1100.0) > 4500, "{}", story(&world));
    assert!(heard_ms(&world, 3, 700.0) > 4500, "{}", story(&world));
    let text = world.ladder.text();
    assert!(text.contains("alice2 <- BYE") && text.contains("carol <- BYE"), "{}", story(&world));
    assert!(!text.contains("bob <- BYE"), "{}", story(&world));
}

#[test]
fn attended_transfer_into_a_dialog_that_is_not_there_is_told_481() {
    let refers = vec![(
        ms(1000),
        "<sip:carol@10.0.0.1?Replaces=x%3Bto-tag%3D1-a%3Bfrom-tag%3D2>".to_owned(),
    )];
    let mut world = world_of_three(Manner { refers, ..Manner::default() }, answers());
    world.dial(0, "bob");
    finish(&mut world);
    let told = world.phones[0].notified.last().map(String::as_str);
    assert_eq!(told, Some("SIP/2.0 481 Call/Transaction Does Not Exist"), "{}", story(&world));
    assert!(said(&world).contains(&"alice TransferFailed transferor 481"), "{}", story(&world));
}

#[test]
fn attended_transfer_into_somebody_elses_dialog_is_told_403() {
    let mut world = World::new(Plan {
        rules: rules(FORWARD),
        phones: vec![
            phone("alice", Manner::default()),
            phone("alice2", Manner { hangs_up_after: Some(ms(6000)), ..Manner::default() }),
            phone("bob", Manner { hangs_up_after: Some(ms(6000)), ..answers() }),
            phone("carol", answers()),
        ],
        ..Plan::default()
    });
    world.dial(0, "bob");
    world.dial(1, "carol");
    world.run_for(ms(2000));
    let replaces = world.phones[1].replaces().replace(';', "%3B").replace('=', "%3D");
    world.refer(0, &format!("<sip:carol@10.0.0.1?Replaces={replaces}>"));
    finish(&mut world);
    let told = world.phones[0].notified.last().map(String::as_str);
    assert_eq!(told, Some("SIP/2.0 403 Forbidden"), "{}", story(&world));
}

#[test]
fn invite_with_replaces_takes_the_place_of_its_peers_call() {
    let mut world = World::new(Plan {
        rules: rules(FORWARD),
        phones: vec![
            phone("alice", speaks(400.0)),
            phone("alice2", Manner { hangs_up_after: Some(ms(6000)), ..speaks(500.0) }),
            phone("bob", speaks(700.0)),
        ],
        lines: 1,
        ..Plan::default()
    });
    world.dial(0, "bob");
    world.run_for(ms(3000));
    world.phones[1].invite_headers = format!("Replaces: {}\r\n", world.phones[0].replaces());
    world.dial(1, "bob");
    finish(&mut world);
    let text = world.ladder.text();
    assert!(text.contains("alice <- BYE") && text.contains("bob <- BYE"), "{}", story(&world));
    assert_eq!(text.matches("bob <- INVITE").count(), 1, "{}", story(&world));
    assert_eq!(
        said(&world),
        [
            "alice calls bob",
            "alice TransferComplete transferor",
            "bob TransferComplete target",
            "alice Disconnected 200",
        ]
    );
    assert!(heard_ms(&world, 2, 500.0) > 5500, "{}", story(&world));
    assert!(heard_ms(&world, 1, 700.0) > 5500, "{}", story(&world));
}

/// Calls bob and refers him to carol.
const OURS: &str = r#"
    const call = VoxEngine.callPSTN("bob");
    for (const event of ["TransferComplete", "TransferFailed", "Disconnected"]) {
        call.addEventListener(CallEvents[event], ({ role, code, internalCode, reason }) =>
            Logger.write(["> " + event, role ?? internalCode, code ?? ""].join(" ").trim()));
    }
    call.addEventListener(CallEvents.Connected, () => call.transferTo({
        to: "carol", headers: { "X-Why": "test", "VI-CallTimeout": "20", "Via": "no" } }));
    call.addEventListener(CallEvents.TransferFailed, () => setTimeout(VoxEngine.terminate, 1000));
    call.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
"#;

fn ours(bob: OnRefer) -> World {
    let bob = Manner { on_refer: bob, ..answers() };
    let mut world =
        World::new(Plan { rules: rules(OURS), phones: vec![phone("bob", bob)], ..Plan::default() });
    world.start_scenario(1, "");
    finish(&mut world);
    assert_eq!(world.phones[0].referred, ["<sip:carol@10.0.1.1:5060>"], "{}", story(&world));
    world
}

#[test]
fn our_refer_that_works_ends_the_call() {
    let world = ours(OnRefer::Tells(ms(2000), 200));
    expect_ladder(
        &world,
        "bob <- INVITE
         bob -> 180 INVITE
         bob -> 200 INVITE
         bob <- ACK
         bob <- REFER
         bob -> 202 REFER
         bob -> NOTIFY
         bob <- 200 NOTIFY
         bob -> NOTIFY
         bob <- 200 NOTIFY
         bob <- BYE
         bob -> 200 BYE",
    );
    assert_eq!(said(&world), ["TransferComplete transferee", "Disconnected 200"]);
}

#[test]
fn our_refer_that_fails_leaves_the_call() {
    assert_eq!(said(&ours(OnRefer::Tells(ms(2000), 486))), ["TransferFailed transferee 486"]);
    assert_eq!(said(&ours(OnRefer::Refuses(603))), ["TransferFailed transferee 603"]);
    assert_eq!(said(&ours(OnRefer::Forgets)), ["TransferFailed transferee 408"]);
}

#[test]
fn peer_that_accepts_and_hangs_up_has_been_transferred() {
    let world = ours(OnRefer::HangsUp(ms(500)));
    assert_eq!(said(&world), ["TransferComplete transferee", "Disconnected 200"]);
}

#[test]
fn eleventh_refer_of_a_call_is_refused() {
    let script = r#"
        const call = VoxEngine.callPSTN("bob");
        let failures = 0;
        call.addEventListener(CallEvents.Connected, () => call.transferTo({ to: "carol" }));
        call.addEventListener(CallEvents.TransferFailed, ({ code, reason }) => {
            if (++failures < 11) return call.transferTo({ to: "carol" + failures });
            Logger.write("> " + code + " " + reason);
            VoxEngine.terminate();
        });
    "#;
    let bob = Manner { on_refer: OnRefer::Refuses(603), ..answers() };
    let mut world = World::new(Plan {
        rules: rules(script),
        phones: vec![phone("bob", bob)],
        ..Plan::default()
    });
    world.start_scenario(1, "");
    finish(&mut world);
    assert_eq!(said(&world), ["403 Transfer limit reached"], "{}", story(&world));
    assert_eq!(world.phones[0].referred.len(), 10);
}

#[test]
fn attended_transfer_of_ours_names_the_other_dialog_and_leaves_both_calls() {
    let script = r#"
        const bob = VoxEngine.callPSTN("bob"), carol = VoxEngine.callPSTN("carol");
        let connected = 0, ended = 0;
        for (const call of [bob, carol]) {
            call.addEventListener(CallEvents.Connected, () => {
                if (++connected === 2) bob.transferTo({ call: carol });
            });
            call.addEventListener(CallEvents.TransferComplete, ({ role }) =>
                Logger.write("> " + call.number() + " " + role));
            call.addEventListener(CallEvents.Disconnected, () => {
                if (++ended === 2) VoxEngine.terminate();
            });
        }
    "#;
    let bob = Manner { on_refer: OnRefer::Tells(ms(500), 200), ..answers() };
    let mut world = World::new(Plan {
        rules: rules(script),
        phones: vec![phone("bob", bob), phone("carol", answers())],
        ..Plan::default()
    });
    world.start_scenario(1, "");
    world.run_for(ms(800));
    // As carol would be asked: her tag first, then ours.
    let ours = world.phones[1].replaces();
    let parts: Vec<&str> = ours.split([';', '=']).collect();
    let (call_id, our_tag, her_tag) = (parts[0], parts[2], parts[4]);
    finish(&mut world);
    let expected = format!(
        "<sip:carol@10.0.1.2:5060?Replaces={call_id}%3Bto-tag%3D{her_tag}%3Bfrom-tag%3D{our_tag}>"
    );
    assert_eq!(world.phones[0].referred, [expected], "{}", story(&world));
    assert_eq!(said(&world), ["bob transferee", "carol target"]);
}

#[test]
fn transfers_survive_a_bad_network() {
    let weather = || Weather { loss: 5, duplication: 5, reordering: 5, ..Weather::default() };
    for seed in 0..20 {
        let mut world = attended(weather(), seed);
        finish(&mut world);
        let mut world = world_of_three(refers_to_carol(), speaks(1100.0));
        world.dial(0, "bob");
        finish(&mut world);
    }
}
