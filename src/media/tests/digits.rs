//! Digits in and out, in every form.

use super::*;
use crate::media::detect::digits::Detector;

#[test]
fn digits_listened_for_are_reported_once_and_kept_back_without_a_gap() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::ListenDigits { unit: A, sources: ALL });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    for (n, is_end) in [false, false, false, true, true, true].into_iter().enumerate() {
        let sequence = 2 + n as u16;
        bench.rtp(A, &event(sequence, 160, 5, 160 * (n as u16 + 1).min(4), is_end));
    }
    bench.rtp(A, &rtp(0, 8, 1120, &[1; 160]));
    let sent = bench.take_rtp(B);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].sequence(), sent[0].sequence().wrapping_add(1));
    let expected = [Event::FirstPacket { unit: A }, digit(A, '5', DigitSource::TelephoneEvent)];
    assert_eq!(bench.take_events(), expected);
}

#[test]
fn press_that_was_reported_is_kept_back_to_its_end() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::ListenDigits { unit: A, sources: ALL });
    bench.rtp(A, &event(1, 160, 5, 160, false));
    bench.command(Command::ListenDigits { unit: A, sources: DigitSources::default() });
    for (sequence, is_end) in [(2, false), (3, true), (4, true)] {
        bench.rtp(A, &event(sequence, 160, 5, 160 * sequence, is_end));
    }
    assert_eq!(bench.take_rtp(B).len(), 0);
    bench.rtp(A, &event(5, 1600, 6, 160, false));
    assert_eq!(bench.take_rtp(B).len(), 1);
}

#[test]
fn digits_not_listened_for_pass_with_the_receiver_s_payload_type() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let other = StreamSettings { dtmf_payload_type: Some(96), ..settings(B, Codec::Pcmu) };
    bench.command(Command::Configure { unit: B, settings: other });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(A, &event(2, 160, 11, 160, false));
    bench.rtp(A, &event(3, 160, 11, 320, true));
    let sent = bench.take_rtp(B);
    assert_eq!(sent[1].payload_type(), 96);
    assert_eq!(sent[1].payload(), [11, 0x0a, 0, 160]);
    assert_eq!(sent[2].payload(), [11, 0x8a, 1, 64]);
    assert_eq!(sent[1].timestamp(), sent[0].timestamp().wrapping_add(160));
    assert_eq!(sent[2].timestamp(), sent[1].timestamp());
    assert_eq!(sent[2].sequence(), sent[0].sequence().wrapping_add(2));
    assert_eq!(bench.take_events(), [Event::FirstPacket { unit: A }]);
}

/// The answer gave telephone-event another number than our offer: RFC 3264 §5.1 has the peer send
/// ours, and some send theirs.
#[test]
fn digits_are_heard_under_the_number_of_either_side() {
    for number in [DTMF, 96] {
        let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
        let formats = Formats::new([DTMF, 96].map(|n| (n, Format::Event(Rate::Narrow))));
        let other = StreamSettings { formats, ..settings(A, Codec::Pcmu) };
        bench.command(Command::Configure { unit: A, settings: other });
        bench.command(Command::ListenDigits { unit: A, sources: ALL });
        let mut packet = event(1, 160, 5, 160, false);
        packet[1] = packet[1] & 0x80 | number;
        bench.rtp(A, &packet);
        let digit = Event::Digit { unit: A, digit: '5', source: DigitSource::TelephoneEvent };
        assert!(bench.take_events().contains(&digit), "under {number}");
    }
}

/// RFC 4733 §2.1: the clock of digits is that of their payload type, which differs on the two sides
/// of a call from Opus to G.711.
#[test]
fn digits_pass_from_one_clock_to_another() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let formats = Formats::new([(DTMF, Format::Event(Rate::Full))]);
    let full = StreamSettings { formats, dtmf_clock: Rate::Full, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings: full });
    bench.rtp(A, &event(2, 160, 11, 960, false));
    bench.rtp(B, &event(2, 160, 11, 160, false));
    assert_eq!(bench.take_rtp(B)[0].payload(), [11, 0x0a, 0, 160]);
    assert_eq!(bench.take_rtp(A)[0].payload(), [11, 0x0a, 3, 0xc0]);
    // Ours too: 20 ms are 960 units.
    bench.command(Command::SendDigits { unit: A, digits: "5".into() });
    bench.run(60 * MS);
    let sent = bench.take_rtp(A);
    let own: Vec<_> = sent.iter().filter(|sent| sent.payload_type() == DTMF).collect();
    assert_eq!(own[0].payload(), [5, 0x0a, 3, 0xc0]);
}

#[test]
fn digit_for_a_call_without_events_becomes_a_tone() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let plain = StreamSettings { dtmf_payload_type: None, ..settings(B, Codec::Pcmu) };
    bench.command(Command::Configure { unit: B, settings: plain });
    bench.rtp(A, &event(2, 160, 8, 160, false));
    bench.rtp(A, &event(3, 160, 8, 320, true));
    bench.run(300 * MS);
    let mut detector = Detector::new();
    let sent = bench.take_rtp(B);
    let audio = sent.iter().flat_map(|sent| sent.payload()).map(|&b| Codec::Pcmu.decode(b));
    assert_eq!(detector.feed(audio), Some('8'));
}

#[test]
fn key_press_that_comes_as_event_tone_and_info_is_one_digit() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.command(Command::ListenDigits { unit: A, sources: ALL });
    bench.command(Command::InfoDigit { unit: A, digit: '7' });
    bench.rtp(A, &event(1, 0, 7, 160, false));
    bench.now += 300 * MS;
    bench.rtp(A, &event(2, 2400, 7, 160, false));
    // The second press of the same key is another.
    assert_eq!(
        bench.take_events()[1..],
        [
            digit(A, '7', DigitSource::Info),
            Event::FirstPacket { unit: A },
            digit(A, '7', DigitSource::TelephoneEvent),
        ]
    );
}

#[test]
fn info_is_reported_only_when_listened_for() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.events.clear();
    bench.command(Command::InfoDigit { unit: A, digit: '1' });
    let sources = DigitSources { info: true, ..DigitSources::default() };
    bench.command(Command::ListenDigits { unit: A, sources });
    // The same press as an event, which is not listened for, does not swallow the INFO.
    bench.rtp(A, &event(1, 0, 2, 160, false));
    bench.rtp(A, &event(2, 0, 2, 320, false));
    bench.command(Command::InfoDigit { unit: A, digit: '2' });
    assert_eq!(
        bench.take_events(),
        [Event::FirstPacket { unit: A }, digit(A, '2', DigitSource::Info)]
    );
}

#[test]
fn in_band_digit_is_reported_and_silenced_for_the_other_side() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let sources = DigitSources { in_band: true, ..DigitSources::default() };
    bench.command(Command::ListenDigits { unit: A, sources });
    // Digit 5: 770 and 1336 Hz.
    for n in 0..10u16 {
        let payload: Vec<u8> = (0..160)
            .map(|place| {
                let at = f64::from(u32::from(n) * 160 + place) / 8000.0 * std::f64::consts::TAU;
                let sample = 5000.0 * ((770.0 * at).sin() + (1336.0 * at).sin());
                Codec::Pcmu.encode(sample as i16)
            })
            .collect();
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &payload));
    }
    assert!(bench.take_events().contains(&digit(A, '5', DigitSource::InBand)));
    let sent = bench.take_rtp(B);
    assert_eq!(sent.len(), 10);
    // Up to 40 ms pass before it is known for a digit.
    assert!(sent.iter().skip(2).all(|sent| sent.payload() == [0xff; 160]));
}

#[test]
fn rfc4733_sent_digit_has_one_timestamp_growing_durations_and_three_ends() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcmu);
    bench.run(40 * MS);
    bench.take_rtp(A);
    bench.command(Command::SendDigits { unit: A, digits: "5#".into() });
    bench.run(400 * MS);
    let sent = bench.take_rtp(A);
    let events: Vec<&Sent> = sent.iter().filter(|sent| sent.payload_type() == DTMF).collect();
    assert_eq!(events.len(), 16);
    for (press, digit) in events.chunks(8).zip([5, 11]) {
        let durations: Vec<u16> =
            press.iter().map(|s| u16::from_be_bytes([s.payload()[2], s.payload()[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800, 800]);
        let flags: Vec<u8> = press.iter().map(|sent| sent.payload()[1]).collect();
        assert_eq!(flags, [10, 10, 10, 10, 10, 0x8a, 0x8a, 0x8a]);
        assert!(press.iter().all(|sent| sent.payload()[0] == digit));
        assert!(press.iter().all(|sent| sent.timestamp() == press[0].timestamp()));
        assert!(press[0].marker() && press[1..].iter().all(|sent| !sent.marker()));
    }
    // 200 ms apart.
    let apart = events[8].timestamp().wrapping_sub(events[0].timestamp());
    assert_eq!(apart, 1600);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
    }
}

#[test]
fn digits_to_a_relayed_call_take_their_place_among_its_packets() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::SendDigits { unit: B, digits: "1".into() });
    for n in 0..20u16 {
        bench.rtp(A, &rtp(0, n, u32::from(n) * 160, &[1; 160]));
        bench.run(20 * MS);
    }
    let sent = bench.take_rtp(B);
    assert_eq!(sent.iter().filter(|sent| sent.payload_type() == DTMF).count(), 8);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
    }
    let audio: Vec<u32> =
        sent.iter().filter(|s| s.payload_type() == 0).map(Sent::timestamp).collect();
    assert!(audio.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) as i32 >= 160));
}

#[test]
fn call_without_events_gets_digits_as_tones() {
    let mut bench = Bench::new();
    bench.call(A, Codec::Pcma);
    let plain = StreamSettings { dtmf_payload_type: None, ..settings(A, Codec::Pcma) };
    bench.command(Command::Configure { unit: A, settings: plain });
    bench.command(Command::SendDigits { unit: A, digits: "159D".into() });
    bench.run(1000 * MS);
    let mut detector = Detector::new();
    let mut heard = String::new();
    for sent in bench.take_rtp(A) {
        let audio = sent.payload().iter().map(|&byte| Codec::Pcma.decode(byte));
        heard.extend(detector.feed(audio));
    }
    assert_eq!(heard, "159D");
}

#[test]
fn muted_call_is_not_heard_but_its_digits_are_reported() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    bench.command(Command::ListenDigits { unit: A, sources: ALL });
    bench.command(Command::Mute { unit: A, muted: true });
    bench.rtp(A, &rtp(0, 1, 0, &[1; 160]));
    bench.rtp(A, &event(2, 160, 3, 160, false));
    assert_eq!(bench.take_rtp(B), []);
    assert!(bench.take_events().contains(&digit(A, '3', DigitSource::TelephoneEvent)));
    bench.run(40 * MS);
    assert!(bench.take_rtp(B).iter().all(|sent| sent.payload() == [0xff; 160]));
    bench.command(Command::Mute { unit: A, muted: false });
    bench.rtp(A, &rtp(0, 3, 480, &[1; 160]));
    assert_eq!(bench.take_rtp(B)[0].payload(), [1; 160]);
}
