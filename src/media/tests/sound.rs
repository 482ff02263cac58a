//! What we make ourselves and what we record.

use super::*;

#[test]
fn call_without_a_source_hears_silence_every_20_ms() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcma);
    bench.run(200 * MS);
    let sent = bench.take_rtp(A);
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|sent| sent.payload() == [0xd5; 160] && sent.payload_type() == 8));
    assert!(sent.iter().skip(1).all(|sent| !sent.marker()));
    for pair in sent.windows(2) {
        assert_eq!(pair[1].at - pair[0].at, 20 * MS);
        assert_eq!(pair[1].timestamp().wrapping_sub(pair[0].timestamp()), 160);
    }
}

#[test]
fn player_is_heard_from_its_first_sample_by_all_who_listen() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.call(B, Codec::Pcma);
    bench.run(20 * MS);
    bench.sent.clear();
    bench.events.clear();
    let source = clip((0..400).map(|n| n * 20).collect());
    bench.command(Command::Play { unit: PLAYER, source, looped: false, paused: false });
    bench.command(Command::Mark { unit: PLAYER, part: 0, offset_ms: 30 });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.command(Command::Route { from: PLAYER, to: B });
    bench.run(80 * MS);
    let expected: Vec<u8> = (0..160).map(|n| Codec::Pcmu.encode(n * 20)).collect();
    assert_eq!(bench.take_rtp(A)[0].payload(), expected);
    let expected: Vec<u8> = (160..320).map(|n| Codec::Pcma.encode(n * 20)).collect();
    assert_eq!(bench.take_rtp(B)[1].payload(), expected);
    assert_eq!(
        bench.take_events(),
        [
            Event::Started { unit: PLAYER, duration: 50 * MS },
            Event::Marked { unit: PLAYER, offset_ms: 30 },
            Event::Finished { unit: PLAYER },
        ]
    );
}

#[test]
fn player_waits_for_a_call_that_has_no_path_yet() {
    let mut bench = Bench::new();
    bench.command(Command::Open { unit: A, address: HOST });
    let source = clip(vec![1000; 160]);
    bench.command(Command::Play { unit: PLAYER, source, looped: false, paused: false });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.run(3000 * MS);
    assert_eq!(bench.take_events(), [Event::Opened { unit: A, port: 10_000 }]);
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    bench.run(100 * MS);
    assert_eq!(bench.take_rtp(A)[0].payload()[40..], [Codec::Pcmu.encode(1000); 120]);
}

#[test]
fn packets_have_the_length_that_was_agreed() {
    for (ptime, bytes, count) in [(10, 80, 30), (20, 160, 15), (30, 240, 10), (60, 480, 5)] {
        let mut bench = Bench::new();
        bench.call(A, Codec::Pcmu);
        let settings = StreamSettings { ptime: ptime * MS, ..settings(A, Codec::Pcmu) };
        bench.command(Command::Configure { unit: A, settings });
        bench.run(300 * MS);
        let sent = bench.take_rtp(A);
        assert_eq!(sent.len(), count);
        assert!(sent.iter().all(|sent| sent.payload().len() == bytes));
        for pair in sent.windows(2) {
            let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
            assert_eq!(step as usize, bytes);
        }
    }
}

#[test]
fn recording_of_a_call_has_both_sides_in_their_channels_and_places() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let layout = Layout::Stereo;
    bench.command(Command::RecordCall { unit: RECORDER, call: A, layout, rate: Rate::Narrow });
    bench.run(1000 * MS);
    let (one, two) = (Codec::Pcmu.encode(1000), Codec::Pcmu.encode(2000));
    // A says one second of 1000s and from its middle on hears 2000s.
    for n in 0..50u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[one; 160]));
        if n >= 25 {
            bench.rtp(B, &rtp(0, n, u32::from(n) * 160, &[two; 160]));
        }
        bench.run(20 * MS);
    }
    bench.run(2000 * MS);
    assert!(!bench.recorded.is_empty());
    bench.command(Command::Close { unit: RECORDER });
    assert_eq!(bench.recorded.len(), 4 * 16_000);
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    assert_eq!(figures.recorded, 4000 * MS);
    let left: Vec<i16> = bench.recorded.iter().step_by(2).copied().collect();
    let right: Vec<i16> = bench.recorded.iter().skip(1).step_by(2).copied().collect();
    let (one, two) = (Codec::Pcmu.decode(one), Codec::Pcmu.decode(two));
    for (side, value, from, to) in [(right, one, 8000, 16_000), (left, two, 12_000, 16_000)] {
        // Both are as late as they wait in the receivers, 80 ms at most.
        let start = side.iter().position(|sample| *sample == value).unwrap();
        assert!((from..from + 640).contains(&start), "{start}");
        let end = start + to - from;
        let loud = side[start..end].iter().filter(|sample| **sample == value).count();
        assert!(loud > to - from - 480, "{loud}");
        assert!(side[..from].iter().chain(&side[end + 640..]).all(|sample| *sample == 0));
    }
}

#[test]
fn recorder_mixes_its_sources_and_playback_into_a_recorded_call_is_recorded() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::RecordCall {
        unit: RECORDER,
        call: A,
        layout: Layout::Mono,
        rate: Rate::Narrow,
    });
    let source = clip(vec![1000; 1600]);
    bench.command(Command::Play { unit: PLAYER, source, looped: false, paused: false });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.run(300 * MS);
    bench.command(Command::Close { unit: RECORDER });
    let loud = bench.recorded.iter().filter(|&&sample| sample == 1000).count();
    assert_eq!(loud, 1600);
    bench.recorded.clear();

    let other = UnitId(9);
    bench.command(Command::Record { unit: other, layout: Layout::Mono, rate: Rate::Narrow });
    bench.command(Command::Route { from: A, to: other });
    let source = clip(vec![1000; 1600]);
    let second = UnitId(10);
    bench.command(Command::Play { unit: second, source, looped: false, paused: false });
    bench.command(Command::Route { from: second, to: other });
    let said = Codec::Pcmu.encode(2000);
    for n in 0..10u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[said; 160]));
        bench.run(20 * MS);
    }
    bench.command(Command::Close { unit: other });
    let both = 1000 + Codec::Pcmu.decode(said);
    let mixed = bench.recorded.iter().filter(|&&sample| sample == both).count();
    assert!((1100..=1600).contains(&mixed), "{mixed}");
}

/// RFC 3389 §4 and RFC 3551 §4.1: a description of the silence now and then, and a marker on what
/// comes after it.
#[test]
fn pauses_are_comfort_noise_to_who_takes_it() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    let settings = StreamSettings { noise_payload_type: Some(13), ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings });
    bench.run(3000 * MS);
    let sent = bench.take_rtp(A);
    let (noise, audio): (Vec<_>, Vec<_>) = sent.iter().partition(|s| s.payload_type() == 13);
    // 200 ms of silence, then one of noise at once and each second.
    assert_eq!((audio.len(), noise.len()), (10, 3));
    assert!(noise.iter().all(|sent| sent.data[1] & 0x80 == 0));
    // The quietest there is (§3.1).
    assert_eq!(noise[0].payload()[0], 127);
    let later = noise[1].timestamp().wrapping_sub(noise[0].timestamp());
    assert_eq!(later, 8000);

    bench.command(Command::Play {
        unit: PLAYER,
        source: clip(vec![5000; 800]),
        looped: false,
        paused: false,
    });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.run(500 * MS);
    let sent = bench.take_rtp(A);
    let first = sent.iter().find(|sent| sent.payload_type() == 0).expect("the sound");
    assert_eq!(first.data[1], 0x80);
    // It goes on by the clock.
    let since = (first.at - noise[0].at).as_millis() as u32 * 8;
    let later = first.timestamp().wrapping_sub(noise[0].timestamp());
    assert!(later.abs_diff(since) <= 160, "{later} and {since}");
}
