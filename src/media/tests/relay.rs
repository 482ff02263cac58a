//! What passes from one call to another, and what does not.

use super::*;

#[test]
fn joined_calls_with_one_codec_are_relayed_byte_for_byte_at_once() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let payload: Vec<u8> = (0..160).collect();
    bench.rtp(A, &rtp(0, 100, 5000, &payload));
    bench.now += 20 * MS;
    bench.rtp(A, &rtp(0, 101, 5160, &payload));
    let sent = bench.take_rtp(B);
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].to, sent[0].data[0]), (peer(B), 0x80));
    assert!(sent[0].marker() && !sent[1].marker());
    assert_eq!(sent[0].payload(), payload);
    assert_eq!(sent[1].sequence(), sent[0].sequence().wrapping_add(1));
    assert_eq!(sent[1].timestamp(), sent[0].timestamp().wrapping_add(160));
    assert_eq!(sent[0].ssrc(), sent[1].ssrc());
    assert_ne!(sent[0].ssrc(), 0x00c0_ffee);
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: A }]);
}

#[test]
fn laws_are_converted_by_table_and_payload_types_are_the_receiver_s() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcma);
    // G.711 table 3: the codes of u-law 0xff (zero), 0x80 and 0x00 (the ends).
    bench.rtp(A, &rtp(0, 1, 0, &[0xff, 0x80, 0x00]));
    let sent = bench.take_rtp(B);
    assert_eq!((sent[0].payload_type(), sent[0].payload()), (8, &[0xd5, 0xaa, 0x2a][..]));
    // Table 4: the least A-law value (8) is the least but zero in u-law.
    bench.rtp(B, &rtp(8, 1, 0, &[0xd5, 0xaa, 0x2a]));
    let sent = bench.take_rtp(A);
    assert_eq!((sent[0].payload_type(), sent[0].payload()), (0, &[0xfe, 0x80, 0x00][..]));
}

#[test]
fn change_of_source_is_seamless_to_the_receiver() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 100, 5000, &[1; 160]));
    bench.command(Command::Play {
        unit: PLAYER,
        source: clip(vec![1000; 320]),
        looped: false,
        paused: false,
    });
    bench.command(Command::Route { from: PLAYER, to: B });
    // The old source is heard no more.
    bench.rtp(A, &rtp(0, 101, 5160, &[1; 160]));
    bench.run(40 * MS);
    bench.command(Command::Route { from: A, to: B });
    bench.rtp(A, &rtp(0, 103, 5480, &[2; 160]));
    let sent = bench.take_rtp(B);
    // Behind the 2.5 ms in which a step from sound to sound is spread.
    let payloads: Vec<u8> = sent.iter().map(|sent| sent.payload()[40]).collect();
    let loud = Codec::Pcmu.encode(1000);
    assert_eq!(payloads, [1, loud, loud, 2]);
    assert_eq!(sent.iter().map(Sent::marker).collect::<Vec<_>>(), [true, true, false, true]);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        assert_eq!(pair[1].ssrc(), pair[0].ssrc());
        let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
        assert!((160..=320).contains(&step), "{step}");
    }
}

#[test]
fn pause_of_the_relayed_source_has_silence_each_second_and_it_goes_on_seamlessly() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.run(3500 * MS);
    bench.rtp(A, &rtp(0, 2, 28_000, &[2; 160]));
    let sent = bench.take_rtp(B);
    // One, silence after 1, 2 and 3 seconds (looked at every 100 ms), one.
    assert_eq!(sent.len(), 5);
    assert!(sent[1..4].iter().all(|silence| silence.payload() == [0xff; 160]));
    let last = &sent[sent.len() - 1];
    assert_eq!((last.marker(), last.payload()[0]), (true, 2));
    // Three and a half seconds later, to a frame.
    let passed = last.timestamp().wrapping_sub(sent[0].timestamp());
    assert!((27_840..=28_160).contains(&passed), "{passed}");
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        assert!((pair[1].timestamp().wrapping_sub(pair[0].timestamp()) as i32) >= 160);
    }
}

#[test]
fn held_call_gets_nothing_and_goes_on_where_the_clock_is() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.run(40 * MS);
    let before = bench.take_rtp(A);
    let held = StreamSettings { sends: false, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings: held });
    bench.run(10_000 * MS);
    assert_eq!(bench.take_rtp(A), []);
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    bench.run(20 * MS);
    let after = bench.take_rtp(A);
    assert!(after[0].marker());
    let passed = after[0].timestamp().wrapping_sub(before[1].timestamp());
    assert_eq!(passed, 80_160);
}

#[test]
fn packets_go_where_the_peer_s_come_from() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let behind_nat: SocketAddr = "203.0.113.7:61000".parse().unwrap();
    bench.rtp_from(B, behind_nat, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    assert_eq!(bench.take_rtp(B)[0].to, behind_nat);
    // Somebody else who found the port.
    bench.take_rtp(A);
    bench.rtp_from(B, "198.51.100.1:9".parse().unwrap(), &rtp(0, 2, 160, &[9; 160]));
    assert_eq!(bench.take_rtp(A), []);
}

#[test]
fn hostile_packets_change_nothing() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let good = rtp(0, 1, 0, &[1; 160]);
    for length in 0..12 {
        bench.rtp(A, &good[..length]);
    }
    for first in [0x00, 0x40, 0xc0, 0x90, 0xa0, 0x8f] {
        let mut data = rtp(0, 1, 0, &[0xff; 20]);
        data[0] = first;
        bench.rtp(A, &data);
    }
    for payload_type in [1, 9, 18, 63, 96, 127] {
        bench.rtp(A, &rtp(payload_type, 1, 0, &[1; 160]));
    }
    bench.rtp(A, &rtp(DTMF, 1, 0, &[1, 2]));
    assert_eq!(bench.take_rtp(B), []);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..5000 {
        let mut data = vec![0; random.usize(..200)];
        random.fill(&mut data);
        bench.rtp(A, &data);
        let (socket, from) = (SocketId(0), peer(A));
        bench.engine.handle_input(bench.now, Input::Rtcp { socket, from, data: &data });
        bench.drain();
    }
    // A socket that is nobody's.
    let from = peer(A);
    bench.engine.handle_input(bench.now, Input::Rtp { socket: SocketId(77), from, data: &good });
    bench.engine.handle_input(bench.now, Input::Bound { socket: SocketId(77) });
    bench.engine.handle_input(bench.now, Input::BindFailed { socket: SocketId(77) });
}

#[test]
fn duplicate_is_passed_on_once_and_order_and_gaps_are_kept() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    for sequence in [10u16, 11, 11, 14, 13, 13] {
        bench.rtp(A, &rtp(0, sequence, u32::from(sequence) * 160, &[sequence as u8; 160]));
    }
    let sent = bench.take_rtp(B);
    let steps: Vec<(u8, u16)> = sent
        .iter()
        .map(|s| (s.payload()[0], s.sequence().wrapping_sub(sent[0].sequence())))
        .collect();
    assert_eq!(steps, [(10, 0), (11, 1), (14, 4), (13, 3)]);
    bench.command(Command::Close { unit: A });
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    // 12 is lost, 13 came late.
    let counts = (figures.packets_received, figures.packets_lost, figures.packets_late);
    assert_eq!(counts, (4, 1, 1));
}

#[test]
fn comfort_noise_and_empty_packets_are_not_passed_on_nor_missed() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(A, &rtp(13, 2, 160, &[60]));
    bench.rtp(A, &rtp(0, 3, 320, &[]));
    bench.rtp(A, &rtp(0, 4, 480, &[1; 160]));
    let sent = bench.take_rtp(B);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].sequence(), sent[0].sequence().wrapping_add(1));
    assert_eq!(sent[1].timestamp(), sent[0].timestamp().wrapping_add(480));
}

#[test]
fn packets_that_overtake_the_settings_are_heard() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::Open { unit: B, address: HOST });
    bench.command(Command::Route { from: B, to: A });
    bench.events.clear();
    for n in 0..3u16 {
        bench.rtp(B, &rtp(0, n, u32::from(n) * 160, &[n as u8; 160]));
    }
    bench.rtp(B, &[0x80; 1500]);
    assert_eq!(bench.take_rtp(A), []);
    bench.command(Command::Configure { unit: B, settings: settings(B, Codec::Pcmu) });
    let heard: Vec<u8> = bench.take_rtp(A).iter().map(|sent| sent.payload()[0]).collect();
    assert_eq!(heard, [0, 1, 2]);
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: B }]);
}

#[test]
fn first_words_of_a_callee_wait_for_the_caller_s_path() {
    let mut bench = Bench::new();
    bench.command(Command::Open { unit: A, address: HOST });
    bench.call(B, Codec::Pcmu);
    bench.command(Command::Route { from: B, to: A });
    for n in 0..4u16 {
        bench.rtp(B, &rtp(0, n, u32::from(n) * 160, &[n as u8; 160]));
    }
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    bench.rtp(B, &rtp(0, 4, 640, &[4; 160]));
    let sent = bench.take_rtp(A);
    // The last 60 ms, then what comes.
    let heard: Vec<u8> = sent.iter().map(|sent| sent.payload()[0]).collect();
    assert_eq!(heard, [1, 2, 3, 4]);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].timestamp().wrapping_sub(pair[0].timestamp()), 160);
    }
}

#[test]
fn words_from_long_before_the_path_are_not_heard() {
    let mut bench = Bench::new();
    bench.command(Command::Open { unit: A, address: HOST });
    bench.call(B, Codec::Pcmu);
    bench.command(Command::Route { from: B, to: A });
    bench.rtp(B, &rtp(0, 0, 0, &[1; 160]));
    bench.now += 61 * MS;
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    assert_eq!(bench.take_rtp(A), []);
}

#[test]
fn old_packets_from_before_the_settings_are_forgotten() {
    let mut bench = Bench::new();
    bench.command(Command::Open { unit: A, address: HOST });
    for n in 0..100u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[1; 160]));
    }
    bench.now += 501 * MS;
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    assert_eq!(bench.take_events(), [Event::Opened { unit: A, port: 10_000 }]);
}

#[test]
fn early_media_of_a_caller_is_not_heard() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let early = StreamSettings { receives: false, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings: early });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    assert_eq!((bench.take_rtp(B), bench.take_events()), (vec![], vec![]));
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    bench.rtp(A, &rtp(0, 2, 160, &[1; 160]));
    assert_eq!(bench.take_rtp(B).len(), 1);
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: A }]);
}

#[test]
fn calls_that_send_to_each_other_s_ports_do_not_pass_packets_round_for_ever() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::Route { from: A, to: A });
    // As when the peer's SDP named the call's own port: what leaves comes in again.
    let mut data = rtp(0, 1, 160, &[0x55; 160]);
    let mut rounds = 0;
    while rounds < 10_000 {
        bench.rtp(A, &data);
        let Some(back) = bench.take_rtp(A).pop() else { break };
        data = back.data;
        rounds += 1;
    }
    assert!((1..=500).contains(&rounds), "{rounds}");
}

#[test]
fn call_that_replaces_another_is_heard_and_hears_in_its_place() {
    let (c, d) = (UnitId(3), UnitId(4));
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    // C, joined with D, takes the place of B, whose digits are listened for.
    for unit in [c, d] {
        bench.call(unit, Codec::Pcmu);
    }
    for (from, to) in [(c, d), (d, c)] {
        bench.command(Command::Route { from, to });
    }
    let sources = DigitSources { info: true, ..DigitSources::default() };
    bench.command(Command::ListenDigits { unit: B, sources });
    bench.command(Command::Replace { old: B, new: c });
    bench.command(Command::Close { unit: B });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(c, &rtp(0, 1, 0, &[2; 160]));
    bench.rtp(d, &rtp(0, 1, 0, &[3; 160]));
    let heard = |bench: &mut Bench, unit| -> Vec<u8> {
        bench.take_rtp(unit).iter().map(|sent| sent.payload()[0]).collect()
    };
    assert_eq!(heard(&mut bench, c), [1]);
    assert_eq!(heard(&mut bench, A), [2]);
    assert_eq!(heard(&mut bench, d), [0u8; 0]);
    bench.take_events();
    bench.command(Command::InfoDigit { unit: c, digit: '5' });
    let digit = Event::Digit { unit: c, digit: '5', source: DigitSource::Info };
    assert_eq!(bench.take_events(), [digit]);
}

#[test]
fn recording_of_a_replaced_call_goes_on_with_the_new_one() {
    let c = UnitId(3);
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.call(c, Codec::Pcmu);
    bench.command(Command::RecordCall {
        unit: RECORDER,
        call: B,
        layout: Layout::Mono,
        rate: Rate::Narrow,
    });
    bench.command(Command::Replace { old: B, new: c });
    bench.command(Command::Close { unit: B });
    let loud = Codec::Pcmu.encode(8000);
    for number in 0..50 {
        bench.rtp(c, &rtp(0, number, u32::from(number) * 160, &[loud; 160]));
        bench.run(20 * MS);
    }
    bench.command(Command::Close { unit: RECORDER });
    let samples = std::mem::take(&mut bench.recorded);
    assert!(samples.iter().filter(|sample| **sample > 7000).count() > 6000);
}

#[test]
fn calls_that_hear_each_other_and_replace_each_other_hear_nobody() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::Replace { old: A, new: B });
    bench.command(Command::Replace { old: B, new: B });
    bench.command(Command::Replace { old: B, new: UnitId(77) });
    bench.command(Command::Close { unit: A });
    bench.rtp(B, &rtp(0, 1, 0, &[1; 160]));
    assert_eq!(bench.take_rtp(B).len(), 0);
}

#[test]
fn peer_that_was_held_misses_no_number() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    // Longer than half the numbers there are, which would put the index of SRTP out of step.
    let mut number = 0u16;
    let mut talk = |bench: &mut Bench, count: u32| {
        for _ in 0..count {
            bench.rtp(A, &rtp(0, number, u32::from(number) * 160, &[0x55; 160]));
            bench.run(20 * MS);
            number = number.wrapping_add(1);
        }
    };
    talk(&mut bench, 10);
    let last = bench.take_rtp(B).pop().unwrap();
    let held = StreamSettings { sends: false, ..settings(B, Codec::Pcmu) };
    bench.command(Command::Configure { unit: B, settings: held });
    talk(&mut bench, 40_000);
    assert_eq!(bench.take_rtp(B), []);
    bench.command(Command::Configure { unit: B, settings: settings(B, Codec::Pcmu) });
    talk(&mut bench, 1);
    let next = bench.take_rtp(B).remove(0);
    assert_eq!(next.sequence(), last.sequence().wrapping_add(1));
    assert!(next.marker());
    // As much later as the clock is.
    let step = next.timestamp().wrapping_sub(last.timestamp());
    assert!(step.abs_diff(40_001 * 160) <= 160, "{step}");
}
