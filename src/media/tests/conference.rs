//! Conferences of calls, players and recorders.

use super::*;

const CONFERENCE: UnitId = UnitId(1000);

/// Calls 1 to `count` that hear each other, in either law by turns.
fn conference(count: u64) -> Bench {
    let mut bench = Bench::with_units(10_000, 10_999, 120);
    bench.command(Command::Conference { unit: CONFERENCE, rate: Rate::Full });
    for unit in (1..=count).map(UnitId) {
        bench.call(unit, codec(unit));
        join(&mut bench, unit);
    }
    bench.events.clear();
    bench
}

fn join(bench: &mut Bench, unit: UnitId) {
    bench.command(Command::Route { from: unit, to: CONFERENCE });
    bench.command(Command::Route { from: CONFERENCE, to: unit });
}

fn codec(unit: UnitId) -> Codec {
    if unit.0.is_multiple_of(2) { Codec::Pcma } else { Codec::Pcmu }
}

fn pitch(unit: UnitId) -> f64 {
    300.0 + 100.0 * unit.0 as f64
}

/// All of `speakers` say their tone in syllables for so many packets from `first` on.
fn speak(bench: &mut Bench, speakers: &[UnitId], first: u16, count: u16) {
    for number in first..first + count {
        for &unit in speakers {
            let loud = if number % 20 < 15 { 4000.0 } else { 0.0 };
            bench.rtp(unit, &tone_packet(codec(unit), number, pitch(unit), loud));
        }
        bench.run(20 * MS);
    }
}

/// What was sent to a call in the meantime: amplitude of each of the tones.
fn heard(bench: &mut Bench, unit: UnitId, tones: &[UnitId]) -> Vec<f64> {
    let sent = bench.take_rtp(unit);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        assert_eq!(pair[1].timestamp().wrapping_sub(pair[0].timestamp()), 160);
    }
    let samples = samples(codec(unit), &sent);
    tones.iter().map(|&tone| amplitude(&samples, pitch(tone))).collect()
}

#[test]
fn each_call_hears_all_the_others_and_not_itself() {
    let calls: Vec<UnitId> = (1..=5).map(UnitId).collect();
    let mut bench = conference(5);
    bench.run(40 * MS);
    speak(&mut bench, &calls, 0, 20);
    bench.sent.clear();
    speak(&mut bench, &calls, 20, 60);
    for &listener in &calls {
        let levels = heard(&mut bench, listener, &calls);
        for (&speaker, level) in calls.iter().zip(levels) {
            match speaker == listener {
                true => assert!(level < 30.0, "{listener:?}: {level}"),
                // Three quarters of the time, and 12 dB at most up or down.
                false => assert!((700.0..12_000.0).contains(&level), "{speaker:?}: {level}"),
            }
        }
    }
}

#[test]
fn hundred_calls_hear_the_one_who_speaks() {
    let calls: Vec<UnitId> = (1..=100).map(UnitId).collect();
    let mut bench = conference(100);
    bench.run(40 * MS);
    bench.sent.clear();
    speak(&mut bench, &[calls[7]], 0, 40);
    for &listener in &calls {
        let level = heard(&mut bench, listener, &[calls[7]])[0];
        match listener == calls[7] {
            true => assert!(level < 1.0, "{level}"),
            false => assert!(level > 1500.0, "{listener:?}: {level}"),
        }
    }
    assert!(bench.events.contains(&Event::Speaker { unit: CONFERENCE, speaker: Some(calls[7]) }));
    for unit in calls {
        bench.command(Command::Close { unit });
    }
    bench.command(Command::Close { unit: CONFERENCE });
    assert_eq!(bench.engine.usage(), Usage { units: 0, sockets: 0 });
}

#[test]
fn members_come_and_go_and_who_has_left_hears_silence() {
    let mut bench = conference(3);
    bench.run(40 * MS);
    speak(&mut bench, &[A], 0, 40);
    bench.sent.clear();
    bench.command(Command::Unroute { from: CONFERENCE, to: B });
    bench.command(Command::Unroute { from: B, to: CONFERENCE });
    speak(&mut bench, &[A, B], 40, 40);
    assert!(heard(&mut bench, B, &[A])[0] < 30.0);
    let [one, two] = heard(&mut bench, UnitId(3), &[A, B])[..] else { panic!() };
    assert!(one > 1000.0 && two < 30.0, "{one} {two}");
    bench.command(Command::Close { unit: A });
    join(&mut bench, B);
    bench.sent.clear();
    speak(&mut bench, &[B], 80, 40);
    assert!(heard(&mut bench, UnitId(3), &[B])[0] > 1000.0);
}

#[test]
fn muted_member_is_not_heard_and_hears() {
    let mut bench = conference(2);
    bench.command(Command::Mute { unit: A, muted: true });
    bench.run(40 * MS);
    bench.sent.clear();
    speak(&mut bench, &[A, B], 0, 40);
    assert!(heard(&mut bench, A, &[B])[0] > 1000.0);
    assert!(heard(&mut bench, B, &[A])[0] < 1.0);
}

#[test]
fn player_is_heard_by_all_and_a_recorder_hears_everybody() {
    let mut bench = conference(2);
    let sound = (0..16_000).map(|n| {
        let at = f64::from(n) / 8000.0 * std::f64::consts::TAU;
        (3000.0 * (1000.0 * at).sin()) as i16
    });
    let (player, recorder) = (UnitId(2000), UnitId(2001));
    bench.command(Command::Play {
        unit: player,
        source: clip(sound.collect()),
        looped: false,
        paused: false,
    });
    bench.command(Command::Record { unit: recorder, layout: Layout::Mono, rate: Rate::Narrow });
    bench.command(Command::Route { from: CONFERENCE, to: recorder });
    bench.command(Command::Route { from: player, to: CONFERENCE });
    bench.run(60 * MS);
    bench.sent.clear();
    speak(&mut bench, &[A, B], 0, 60);
    for unit in [A, B] {
        let level = amplitude(&samples(codec(unit), &bench.take_rtp(unit)), 1000.0);
        assert!((level - 3000.0).abs() < 300.0, "{level}");
    }
    bench.command(Command::Close { unit: recorder });
    let recorded = std::mem::take(&mut bench.recorded);
    for hertz in [pitch(A), pitch(B), 1000.0] {
        let level = amplitude(&recorded, hertz);
        assert!(level > 900.0, "{hertz}: {level}");
    }
}

#[test]
fn conference_takes_so_many_members_and_no_other_conference() {
    let mut bench = Bench::with_units(10_000, 10_999, 300);
    bench.command(Command::Conference { unit: CONFERENCE, rate: Rate::Narrow });
    for unit in (1..=110).map(UnitId) {
        bench.call(unit, Codec::Pcmu);
        join(&mut bench, unit);
    }
    let other = UnitId(1001);
    bench.command(Command::Conference { unit: other, rate: Rate::Narrow });
    bench.command(Command::Route { from: CONFERENCE, to: other });
    bench.run(40 * MS);
    bench.sent.clear();
    speak(&mut bench, &[UnitId(1)], 0, 20);
    assert!(heard(&mut bench, UnitId(107), &[UnitId(1)])[0] > 1000.0);
    assert!(heard(&mut bench, UnitId(109), &[UnitId(1)])[0] < 1.0);
}

#[test]
fn who_speaks_on_a_call_is_told_when_it_is_asked_for() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::ListenVoice { unit: A, listens: true });
    let say = |bench: &mut Bench, first: u16, loud: f64| {
        for number in first..first + 40 {
            bench.rtp(A, &tone_packet(Codec::Pcmu, number, 500.0, loud));
            bench.run(20 * MS);
        }
    };
    say(&mut bench, 0, 0.0);
    say(&mut bench, 40, 4000.0);
    say(&mut bench, 80, 0.0);
    let voice = |is_speaking| Event::Voice { unit: A, is_speaking };
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: A }, voice(true), voice(false)]);
    // What was said was passed on all the same, when it came.
    assert_eq!(bench.take_rtp(B).len(), 120);
    bench.command(Command::ListenVoice { unit: A, listens: false });
    say(&mut bench, 120, 4000.0);
    assert_eq!(bench.take_events(), []);
}
