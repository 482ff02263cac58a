//! What RTCP tells the peer and what is told of a call at its end, at each clock rate.

use super::*;
use crate::media::format::Reports;

const VOIP_METRICS: Reports = Reports { voip_metrics: true, reference_time: true };

/// 400 packets of 20 ms, every 20th of which does not come, and every second one 10 ms late.
fn hear(bench: &mut Bench, payload_type: u8, step: u32, payload: &[u8]) {
    for n in 0..400u32 {
        let late = if n % 2 == 1 { 10 } else { 0 };
        bench.run(late * MS);
        if n % 20 != 19 {
            let header = rtp(payload_type, n as u16, n * step, payload);
            bench.rtp(A, &header);
        }
        bench.run((20 - late) * MS);
    }
}

fn call(codec: Codec, payload_type: u8) -> Bench {
    let mut bench = Bench::new();
    bench.call(A, codec);
    let formats = Formats::new([(payload_type, Format::Audio(codec))]);
    // What is heard is looked at here.
    let settings =
        StreamSettings { formats, sends: false, reports: VOIP_METRICS, ..settings(A, codec) };
    bench.command(Command::Configure { unit: A, settings });
    bench
}

fn word(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(data[at..at + 4].try_into().unwrap())
}

/// RFC 3550 §6.4.1: jitter in timestamp units, which are those of the codec (RFC 3551 §4.5.2 for
/// G.722, RFC 7587 §4.1 for Opus).
#[test]
fn reports_count_in_the_clock_of_the_codec() {
    for (codec, number, step, bytes) in [
        (Codec::Pcmu, 0, 160, 160),
        (Codec::G722, 9, 160, 160),
        (Codec::L16(Rate::Wide), 117, 320, 640),
        (Codec::Opus, 111, 960, 3),
    ] {
        let mut bench = call(codec, number);
        let payload = if codec == Codec::Opus { vec![0x78, 0, 0] } else { vec![0; bytes] };
        hear(&mut bench, number, step, &payload);
        let reports: Vec<_> = bench.sent.iter().filter(|sent| sent.is_rtcp).collect();
        let report = &reports.last().expect("a report in 8 s").data;
        // RR: who sends nothing.
        assert_eq!(report[..2], [0x81, 201], "{codec:?}");
        assert_eq!(word(report, 8), 0x00c0_ffee);
        let jitter = word(report, 20) as f32 * 1000.0 / codec.clock_rate() as f32;
        assert!((9.0..=10.0).contains(&jitter), "{jitter} ms of {codec:?}");
        let lost = word(report, 12) & 0xff_ffff;
        assert!((12..=19).contains(&lost), "{lost} of {codec:?}");
    }
}

#[test]
fn extended_reports_go_to_who_wants_them() {
    let mut bench = call(Codec::Pcmu, 0);
    hear(&mut bench, 0, 160, &[0xff; 160]);
    let report = &bench.sent.iter().rfind(|sent| sent.is_rtcp).unwrap().data;
    let extended = report.windows(2).position(|pair| pair == [0x80, 207]).unwrap();
    let extended = &report[extended..];
    // Reference time of two words, VoIP metrics of eight.
    assert_eq!(extended[8..12], [4, 0, 0, 2]);
    assert_eq!(extended[20..24], [7, 0, 0, 8]);
    assert_eq!(word(extended, 24), 0x00c0_ffee);
    // 5 % of 256; no burst; 20 ms of one packet.
    assert!((11..=13).contains(&extended[28]), "{extended:?}");
    assert_eq!(extended[30], 0);
    assert_eq!(extended[39], 20);
    // R 77 and MOS 3.9 (G.107).
    assert!((76..=78).contains(&extended[44]), "{extended:?}");
    assert_eq!((extended[46], extended[47]), (39, 39));

    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    hear(&mut bench, 0, 160, &[0xff; 160]);
    let reports = bench.sent.iter().filter(|sent| sent.is_rtcp);
    assert!(reports.clone().count() > 0);
    for report in reports {
        assert!(!report.data.windows(2).any(|pair| pair == [0x80, 207]));
    }
}

#[test]
fn figures_say_how_the_call_was_both_ways() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::Route { from: A, to: A });
    hear(&mut bench, 0, 160, &[0x55; 160]);
    // The peer says of what we sent: 30 lost, jitter 80 units, that is 10 ms.
    let ssrc = bench.take_rtp(A)[0].ssrc();
    let mut rr = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    rr.extend(ssrc.to_be_bytes());
    rr.extend([20, 0, 0, 30]);
    rr.extend([0, 0, 0, 0, 0, 0, 0, 80]);
    rr.extend([0; 8]);
    let from = SocketAddr::new(peer(A).ip(), 4001);
    let socket = SocketId(0);
    bench.engine.handle_input(bench.now, Input::Rtcp { socket, from, data: &rr });
    let mut told = bench;
    told.command(Command::Close { unit: A });
    let Some(Event::Closed { figures, .. }) = told.events.last() else { panic!() };
    assert_eq!((figures.packets_received, figures.packets_lost), (380, 19));
    assert!((9.0..=10.0).contains(&figures.jitter_ms), "{figures:?}");
    assert!(figures.jitter_most_ms >= figures.jitter_ms);
    assert_eq!((figures.lost_by_peer, figures.jitter_at_peer_ms), (30, 10.0));
    assert_eq!(figures.codec, Some(Codec::Pcmu));
    // 5 % (G.107 (7-29)): R 77.4, MOS 3.92; 30 of about 400 are 7.5 %: R 71.3, MOS 3.66.
    assert!((figures.mos - 3.92).abs() < 0.1, "{figures:?}");
    assert!((figures.mos_at_peer - 3.66).abs() < 0.15, "{figures:?}");
}

/// Its own word counts for more than what we make of its loss.
#[test]
fn mark_of_the_peer_is_believed() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.run(1000 * MS);
    let ssrc = bench.take_rtp(A)[0].ssrc();
    let mut packet = vec![0x81, 201, 0, 7, 0, 0, 0, 9];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0; 20]);
    packet.extend([0x80, 207, 0, 10, 0, 0, 0, 9, 7, 0, 0, 8]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0; 12]);
    packet.extend([127, 127, 127, 16, 60, 127, 31, 30]);
    packet.extend([0; 8]);
    let from = SocketAddr::new(peer(A).ip(), 4001);
    bench.engine.handle_input(bench.now, Input::Rtcp { socket: SocketId(0), from, data: &packet });
    bench.command(Command::Close { unit: A });
    let Some(Event::Closed { figures, .. }) = bench.events.last() else { panic!() };
    assert_eq!(figures.mos_at_peer, 3.0);
    assert_eq!(figures.mos, 0.0);
}
