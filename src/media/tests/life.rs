//! Ports, tables, reports, time-outs: from the first command to the last.

use super::*;

#[test]
fn silence_of_7_s_is_told_once_and_so_is_its_end() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.events.clear();
    bench.run(6900 * MS);
    assert_eq!(bench.take_events(), []);
    bench.run(10_000 * MS);
    assert_eq!(bench.take_events(), [Event::RtpStopped { unit: A }]);
    bench.rtp(A, &rtp(0, 2, 160, &[1; 160]));
    assert_eq!(bench.take_events(), [Event::RtpResumed { unit: A }]);
}

#[test]
fn held_call_is_not_silent_and_silence_counts_anew_after_it() {
    let hold = |sends, receives| StreamSettings { sends, receives, ..settings(A, Codec::Pcmu) };
    for (sends, receives) in [(false, true), (false, false), (true, false)] {
        let mut bench = Bench::new();
        bench.call(A, Codec::Pcmu);
        bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
        bench.run(6000 * MS);
        bench.events.clear();
        bench.command(Command::Configure { unit: A, settings: hold(sends, receives) });
        // Music for a while, and then none.
        bench.rtp(A, &rtp(0, 2, 48_000, &[1; 160]));
        bench.run(60_000 * MS);
        bench.command(Command::Configure { unit: A, settings: hold(true, true) });
        bench.run(6900 * MS);
        assert_eq!(bench.take_events(), []);
        bench.run(200 * MS);
        assert_eq!(bench.take_events(), [Event::RtpStopped { unit: A }]);
        // Told before the hold, its end is told after it.
        bench.command(Command::Configure { unit: A, settings: hold(false, false) });
        bench.command(Command::Configure { unit: A, settings: hold(true, true) });
        bench.rtp(A, &rtp(0, 3, 96_000, &[1; 160]));
        assert_eq!(bench.take_events(), [Event::RtpResumed { unit: A }]);
    }
}

#[test]
fn peer_that_held_by_0_0_0_0_is_heard_at_once_when_it_resumes() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), peer(A).port());
    let held = StreamSettings { remote: nowhere, sends: false, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings: held });
    bench.run(5000 * MS);
    bench.command(Command::Configure { unit: A, settings: settings(A, Codec::Pcmu) });
    bench.take_rtp(B);
    bench.rtp(A, &rtp(0, 2, 160, &[2; 160]));
    assert_eq!(bench.take_rtp(B).len(), 1);
}

#[test]
fn reports_go_to_the_rtcp_port_every_5_s_and_bye_at_the_end() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.run(60_000 * MS);
    bench.take_rtp(A);
    let reports = std::mem::take(&mut bench.sent);
    // 5 s each in the mean, 2.5 to 7.5 s.
    assert!((8..=24).contains(&reports.len()), "{}", reports.len());
    assert!(reports.iter().all(|sent| sent.is_rtcp && sent.to.port() == 4001));
    assert_eq!(reports[0].data[..2], [0x81, 200]);
    bench.command(Command::Close { unit: A });
    let bye = &bench.sent[0].data;
    assert_eq!(bye[bye.len() - 8..bye.len() - 4], [0x81, 203, 0, 1]);
}

#[test]
fn muxed_rtcp_uses_the_rtp_port_both_ways() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    let mux = StreamSettings { rtcp_mux: true, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings: mux });
    bench.run(8000 * MS);
    let sent = bench.take_rtp(A);
    let report = sent.iter().find(|sent| sent.data[1] == 200).unwrap();
    assert_eq!((report.to, report.is_rtcp), (peer(A), false));
    assert_eq!(bench.sent, []);
    // A receiver report about us on the RTP port: 3 lost.
    let mut rr = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    rr.extend(&report.data[4..8]);
    rr.extend([0, 0, 0, 3]);
    rr.extend([0; 16]);
    bench.rtp(A, &rr);
    bench.command(Command::Close { unit: A });
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    assert_eq!(figures.lost_by_peer, 3);
}

#[test]
fn taken_port_is_passed_over_and_the_pool_is_finite() {
    let mut bench = Bench::with_ports(10_000, 10_005);
    let bind = |bench: &mut Bench, unit: UnitId| {
        let command = Command::Open { unit, address: HOST };
        bench.engine.handle_input(bench.now, Input::Command(command));
        bench.engine.poll_output()
    };
    let Some(Output::Bind { socket, port: 10_000, .. }) = bind(&mut bench, A) else { panic!() };
    bench.engine.handle_input(bench.now, Input::BindFailed { socket });
    let Some(Output::Bind { port: 10_002, .. }) = bench.engine.poll_output() else { panic!() };
    bench.engine.handle_input(bench.now, Input::Bound { socket });
    bench.drain();
    assert_eq!(bench.take_events(), [Event::Opened { unit: A, port: 10_002 }]);
    bench.command(Command::Open { unit: B, address: HOST });
    bench.command(Command::Open { unit: UnitId(7), address: HOST });
    bench.command(Command::Open { unit: UnitId(8), address: HOST });
    assert_eq!(bench.take_events()[2], Event::OpenFailed { unit: UnitId(8) });
    bench.command(Command::Close { unit: A });
    bench.command(Command::Open { unit: UnitId(8), address: HOST });
    assert_eq!(bench.take_events()[1], Event::Opened { unit: UnitId(8), port: 10_002 });
}

#[test]
fn all_ports_taken_by_others_refuses_the_call() {
    let mut bench = Bench::with_ports(10_000, 10_005);
    let command = Command::Open { unit: A, address: HOST };
    bench.engine.handle_input(bench.now, Input::Command(command));
    let mut attempts = 0;
    while let Some(output) = bench.engine.poll_output() {
        match output {
            Output::Bind { socket, .. } => {
                attempts += 1;
                bench.engine.handle_input(bench.now, Input::BindFailed { socket });
            }
            Output::Event(event) => bench.events.push(event),
            _ => panic!("{output:?}"),
        }
    }
    // Each of the three pairs once.
    assert_eq!(attempts, 3);
    assert_eq!(bench.take_events(), [Event::OpenFailed { unit: A }]);
    assert_eq!(bench.engine.usage(), Usage::default());
}

#[test]
fn answer_to_a_bind_of_a_closed_call_meets_nobody() {
    let mut bench = Bench::new();
    for command in [
        Command::Open { unit: A, address: HOST },
        Command::Close { unit: A },
        Command::Open { unit: B, address: HOST },
    ] {
        bench.engine.handle_input(bench.now, Input::Command(command));
    }
    bench.drain();
    let opened: Vec<Event> = bench
        .take_events()
        .into_iter()
        .filter(|event| matches!(event, Event::Opened { .. }))
        .collect();
    assert_eq!(opened, [Event::Opened { unit: B, port: 10_002 }]);
    assert_eq!(bench.sockets, [(SocketId(1), 10_002)]);
}

#[test]
fn after_everything_closed_nothing_is_left() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcma);
    let tone = Source::Tone(Arc::new(Script::progress("US")));
    bench.command(Command::Play { unit: PLAYER, source: tone, looped: true, paused: false });
    bench.command(Command::Route { from: PLAYER, to: A });
    bench.command(Command::RecordCall {
        unit: RECORDER,
        call: A,
        layout: Layout::Mono,
        rate: Rate::Narrow,
    });
    bench.run(500 * MS);
    for unit in [A, PLAYER, RECORDER, B] {
        bench.command(Command::Close { unit });
    }
    assert_eq!(bench.engine.usage(), Usage::default());
    assert_eq!(bench.engine.poll_timeout(), None);
    assert_eq!(bench.sockets, []);
    let closed = bench.events.iter().filter(|event| matches!(event, Event::Closed { .. }));
    assert_eq!(closed.count(), 4);
    // Commands for what is gone, and routes that cannot be.
    bench.command(Command::Close { unit: A });
    bench.command(Command::Route { from: A, to: B });
    bench.command(Command::SendDigits { unit: A, digits: "1".into() });
    assert_eq!(bench.engine.usage(), Usage::default());
}

#[test]
fn routes_that_cannot_be_are_not_made() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::Record { unit: RECORDER, layout: Layout::Mono, rate: Rate::Narrow });
    let source = clip(vec![1; 160]);
    bench.command(Command::Play { unit: PLAYER, source, looped: true, paused: false });
    bench.command(Command::Route { from: RECORDER, to: A });
    bench.command(Command::Route { from: A, to: PLAYER });
    bench.command(Command::Route { from: A, to: A });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    // To itself is an echo.
    assert_eq!(bench.take_rtp(A)[0].payload(), [1; 160]);
}

#[test]
fn one_seed_gives_the_same_bytes() {
    let run = || {
        let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcma);
        bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
        bench.run(30_000 * MS);
        bench.sent.into_iter().map(|sent| (sent.to, sent.data)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn figures_of_a_clean_call_are_clean() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    for n in 0..100u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[1; 160]));
        bench.run(20 * MS);
    }
    bench.command(Command::Close { unit: A });
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    // What A was sent is silence once a second: B says nothing.
    let expected = Figures {
        packets_received: 100,
        packets_sent: figures.packets_sent,
        jitter_ms: figures.jitter_ms,
        jitter_most_ms: figures.jitter_most_ms,
        codec: Some(Codec::Pcmu),
        mos: figures.mos,
        ..Figures::default()
    };
    assert_eq!(*figures, expected);
    // G.107: R 93.2.
    assert!((figures.mos - 4.41).abs() < 0.01);
    assert!(figures.jitter_ms < 1.0 && (2..=3).contains(&figures.packets_sent));
}

#[test]
fn full_table_refuses_calls_players_and_recorders() {
    let mut bench = Bench::new();
    for n in 0..8 {
        bench.command(Command::Record {
            unit: UnitId(n),
            layout: Layout::Mono,
            rate: Rate::Narrow,
        });
    }
    bench.command(Command::Open { unit: UnitId(20), address: HOST });
    let source = clip(vec![0; 160]);
    let unit = UnitId(21);
    bench.command(Command::Play { unit, source, looped: false, paused: false });
    bench.command(Command::Record { unit: UnitId(22), layout: Layout::Mono, rate: Rate::Narrow });
    let refused = [20, 21, 22].map(|unit| Event::OpenFailed { unit: UnitId(unit) });
    assert_eq!(bench.take_events(), refused);
    assert_eq!(bench.engine.usage(), Usage { units: 8, sockets: 0 });
}

#[test]
fn moved_call_has_another_port_and_its_old_peer_is_forgotten() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.take_events();
    let before = bench.engine.usage();
    let address = "10.9.9.9".parse().unwrap();
    bench.command(Command::Move { unit: A, address });
    let [Event::Opened { unit: A, .. }] = bench.take_events()[..] else { panic!("Opened") };
    assert_eq!(bench.engine.usage(), before);
    bench.run(MS * 100);
    assert!(bench.sent.is_empty(), "nothing is sent before there is a peer");
}
