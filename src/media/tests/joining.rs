//! Joining, unjoining and joining again in mid-call, with every codec on either side.

use super::*;

const ALL: [Codec; 6] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::Opus,
    Codec::L16(Rate::Wide),
    Codec::L16(Rate::Full),
];

/// For so many packets each of the talkers says its tone.
fn talk(bench: &mut Bench, talkers: &mut [(Talker, f64)], count: u32) {
    for _ in 0..count {
        for (talker, hertz) in &mut *talkers {
            let packet = talker.packet(*hertz, 8000.0);
            bench.rtp(talker.unit, &packet);
        }
        bench.run(20 * MS);
    }
}

/// What was sent follows without a gap or an overlap.
fn assert_continuous(sent: &[Sent], codec: Codec) {
    for pair in sent.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        assert_eq!(pair[1].ssrc(), pair[0].ssrc());
        let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
        let units = codec.samples_of(pair[0].payload()).unwrap();
        assert!(step >= units && step <= 3 * units, "{codec:?}: {step}");
    }
}

#[test]
fn tone_passes_between_all_pairs_of_codecs_at_its_level() {
    for from in ALL {
        for to in ALL {
            let mut bench = Bench::joined(from, to);
            let mut talkers = [(Talker::new(A, from), 1000.0)];
            talk(&mut bench, &mut talkers, 25);
            bench.take_rtp(B);
            talk(&mut bench, &mut talkers, 75);
            let sent = bench.take_rtp(B);
            // What is relayed keeps its length.
            let ptime = if from == to { 20 * MS } else { to.ptime(20 * MS) };
            let ptime = ptime.as_millis() as u32;
            assert_eq!(sent.len() as u32, 75 * 20 / ptime, "{from:?} {to:?}");
            for pair in sent.windows(2) {
                assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
                let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
                assert_eq!(step, to.clock_rate() * ptime / 1000, "{from:?} {to:?}");
            }
            let heard = decode(to, &sent);
            let rate = to.rate();
            let late = &heard[heard.len() / 3..];
            let level = amplitude_at(rate, late, 1000.0);
            let decibels = 20.0 * (level / 8000.0).log10();
            assert!(decibels.abs() < 1.0, "{from:?} {to:?}: {decibels} dB");
            let power: f64 = late.iter().map(|&s| f64::from(s).powi(2)).sum();
            let rest = power / late.len() as f64 - level * level / 2.0;
            let ratio = 10.0 * (level * level / 2.0 / rest.max(1e-9)).log10();
            assert!(ratio > 18.0, "{from:?} {to:?}: {ratio} dB");
        }
    }
}

/// Frames of 20 ms that are neither silence nor one of the tones, in a row at most.
fn longest_click(rate: Rate, heard: &[i16], tones: &[f64]) -> usize {
    let (mut longest, mut run) = (0, 0);
    for frame in heard.chunks_exact(rate.frame()) {
        let power: f64 = frame.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
        let mean = power / frame.len() as f64;
        let is_tone =
            tones.iter().any(|&hertz| amplitude_at(rate, frame, hertz).powi(2) / 2.0 > 0.95 * mean);
        // 50 dB below the tones.
        let is_clean = mean.sqrt() < 18.0 || is_tone;
        run = if is_clean { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    longest
}

#[test]
fn joining_and_unjoining_clicks_for_one_frame_at_most() {
    for (from, to) in [
        (Codec::Pcmu, Codec::Pcmu),
        (Codec::Pcmu, Codec::Pcma),
        (Codec::Pcmu, Codec::G722),
        (Codec::G722, Codec::Pcma),
        (Codec::G722, Codec::G722),
        (Codec::Opus, Codec::Pcmu),
        (Codec::Pcmu, Codec::Opus),
        (Codec::Opus, Codec::Opus),
        (Codec::L16(Rate::Wide), Codec::L16(Rate::Full)),
    ] {
        let c = UnitId(3);
        let mut bench = Bench::joined(from, to);
        bench.call(c, from);
        let mut talkers = [(Talker::new(A, from), 800.0), (Talker::new(c, from), 1000.0)];
        talk(&mut bench, &mut talkers, 20);
        bench.take_rtp(B);
        let route = |from| Command::Route { from, to: B };
        let unroute = |from| Command::Unroute { from, to: B };
        talk(&mut bench, &mut talkers, 20);
        for command in [unroute(A), route(A), route(c), route(A), unroute(A), route(c)] {
            bench.command(command);
            talk(&mut bench, &mut talkers, 20);
        }
        let sent = bench.take_rtp(B);
        assert_continuous(&sent, to);
        let heard = decode(to, &sent);
        let click = longest_click(to.rate(), &heard, &[800.0, 1000.0]);
        let most = match to {
            // A decoder that meets another encoder, or begins in mid-stream, takes 160 ms to come
            // within 5 % of a pure tone.
            _ if [from, to].contains(&Codec::Opus) => 8,
            // What it foretells comes from what was heard before, and fades within 80 ms.
            Codec::G722 if from == to => 4,
            // Its quantizer takes a frame more to find a pure tone after silence.
            _ if [from, to].contains(&Codec::G722) => 3,
            Codec::Pcmu | Codec::Pcma if from.is_law() => 1,
            // A seam of a frame lies in two of ours, where a codec or a converter delays it.
            _ => 2,
        };
        assert!(click <= most, "{from:?} {to:?}: {click} frames");
    }
}

#[test]
fn talker_that_begins_anew_is_heard_on_without_disorder() {
    for (from, to) in [
        (Codec::Pcmu, Codec::Pcmu),
        (Codec::Pcmu, Codec::G722),
        (Codec::Opus, Codec::Opus),
        (Codec::Opus, Codec::Pcma),
    ] {
        let mut bench = Bench::joined(from, to);
        let mut talkers = [(Talker::new(A, from), 1000.0)];
        talk(&mut bench, &mut talkers, 30);
        bench.take_rtp(B);
        // Another SSRC, then other timestamps, then other numbers.
        talkers[0].0.ssrc = 5;
        talk(&mut bench, &mut talkers, 30);
        talkers[0].0.timestamp = 90_000_000;
        talk(&mut bench, &mut talkers, 30);
        talkers[0].0.sequence = 40_000;
        talk(&mut bench, &mut talkers, 30);
        let sent = bench.take_rtp(B);
        assert_continuous(&sent, to);
        assert!(sent.len() >= 85, "{from:?} {to:?}: {}", sent.len());
        let heard = decode(to, &sent);
        let click = longest_click(to.rate(), &heard, &[1000.0]);
        // A jump of the numbers costs a packet, which Opus feels for a while.
        let most = if from == Codec::Opus { 8 } else { 3 };
        assert!(click <= most, "{from:?} {to:?}: {click}");
    }
}

#[test]
fn codec_that_changes_in_mid_call_is_another_stream_of_the_same_sound() {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    let mut talkers = [(Talker::new(A, Codec::Pcmu), 1000.0)];
    talk(&mut bench, &mut talkers, 30);
    let mut last = bench.take_rtp(B).pop().unwrap();
    for codec in [Codec::Opus, Codec::G722, Codec::L16(Rate::Full), Codec::Pcma, Codec::Pcmu] {
        bench.command(Command::Configure { unit: B, settings: settings(B, codec) });
        talk(&mut bench, &mut talkers, 50);
        let sent = bench.take_rtp(B);
        // From one law to the other the relay goes on.
        assert!(sent[0].marker() || codec == Codec::Pcmu, "{codec:?}");
        assert_eq!(sent[0].sequence(), last.sequence().wrapping_add(1));
        assert!((sent[0].timestamp().wrapping_sub(last.timestamp()) as i32) > 0);
        assert!(sent.iter().all(|sent| sent.payload_type() == payload_type(codec)));
        let heard = decode(codec, &sent);
        let late = &heard[heard.len() / 2..];
        let level = amplitude_at(codec.rate(), late, 1000.0);
        assert!((level / 8000.0 - 1.0).abs() < 0.15, "{codec:?}: {level}");
        last = sent[sent.len() - 1].clone();
    }
}

#[test]
fn transcoded_audio_has_the_packet_length_that_was_agreed() {
    for (codec, ptime, count) in [
        (Codec::G722, 10, 100),
        (Codec::G722, 40, 25),
        (Codec::Pcma, 20, 50),
        (Codec::Opus, 60, 16),
        (Codec::L16(Rate::Wide), 30, 33),
    ] {
        let from = if codec == Codec::Pcma { Codec::G722 } else { Codec::Pcmu };
        let mut bench = Bench::joined(from, codec);
        let settings = StreamSettings { ptime: ptime * MS, ..settings(B, codec) };
        bench.command(Command::Configure { unit: B, settings });
        let mut talkers = [(Talker::new(A, from), 1000.0)];
        talk(&mut bench, &mut talkers, 20);
        bench.take_rtp(B);
        talk(&mut bench, &mut talkers, 50);
        let sent = bench.take_rtp(B);
        assert!(sent.len().abs_diff(count) <= 1, "{codec:?}: {}", sent.len());
        for pair in sent.windows(2) {
            let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
            assert_eq!(step, codec.clock_rate() * ptime / 1000);
        }
        let heard = decode(codec, &sent);
        let level = amplitude_at(codec.rate(), &heard[heard.len() / 2..], 1000.0);
        assert!((level / 8000.0 - 1.0).abs() < 0.15, "{codec:?} {ptime}: {level}");
    }
}

#[test]
fn digits_pass_between_streams_of_different_clocks() {
    let mut bench = Bench::joined(Codec::Opus, Codec::Pcmu);
    let full = StreamSettings {
        dtmf_payload_type: Some(FULL_DTMF),
        dtmf_clock: Rate::Full,
        ..settings(A, Codec::Opus)
    };
    bench.command(Command::Configure { unit: A, settings: full });
    let mut talkers =
        [(Talker::new(A, Codec::Opus), 1000.0), (Talker::new(B, Codec::Pcmu), 1000.0)];
    talk(&mut bench, &mut talkers, 20);
    for unit in [A, B] {
        bench.take_rtp(unit);
    }
    // 100 ms of the digit 5 from either side.
    for step in 1..=7u16 {
        let is_end = step > 5;
        for (talker, _) in &mut talkers {
            let clock = talker.codec.clock_rate() / 50;
            let [high, low] = (step.min(5) * clock as u16).to_be_bytes();
            let number = if talker.codec == Codec::Opus { FULL_DTMF } else { DTMF };
            let payload = [5, if is_end { 0x8a } else { 0x0a }, high, low];
            let mut packet = rtp(number, talker.sequence, talker.timestamp, &payload);
            packet[1] |= if step == 1 { 0x80 } else { 0 };
            talker.sequence += 1;
            bench.rtp(talker.unit, &packet);
        }
        bench.run(20 * MS);
    }
    for (talker, _) in &mut talkers {
        talker.timestamp += 7 * talker.codec.clock_rate() / 50;
    }
    talk(&mut bench, &mut talkers, 30);
    for (unit, number, units, codec) in
        [(A, FULL_DTMF, 960u16, Codec::Opus), (B, DTMF, 160, Codec::Pcmu)]
    {
        let sent = bench.take_rtp(unit);
        for pair in sent.windows(2) {
            assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        }
        let events: Vec<&Sent> = sent.iter().filter(|s| s.payload_type() == number).collect();
        assert_eq!(events.len(), 7);
        assert!(events[0].marker() && events[1..].iter().all(|sent| !sent.marker()));
        assert!(events.iter().all(|event| event.timestamp() == events[0].timestamp()));
        let durations: Vec<u16> =
            events.iter().map(|s| u16::from_be_bytes([s.payload()[2], s.payload()[3]])).collect();
        assert_eq!(durations, [1, 2, 3, 4, 5, 5, 5].map(|step| step * units), "{unit:?}");
        // No audio while the key was down, and then more of it, later.
        let audio: Vec<u32> = sent
            .iter()
            .filter(|sent| sent.payload_type() == payload_type(codec))
            .map(Sent::timestamp)
            .collect();
        assert!(audio.len() >= 29, "{unit:?}: {}", audio.len());
        assert!(audio.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) as i32 > 0));
        let late = audio.iter().filter(|&&at| at.wrapping_sub(events[0].timestamp()) as i32 > 0);
        assert!(late.count() >= 25);
    }
}

#[test]
fn recording_of_calls_of_any_codec_has_both_sides() {
    for codec in ALL {
        let mut bench = Bench::joined(codec, codec);
        bench.command(Command::RecordCall {
            unit: RECORDER,
            call: A,
            layout: Layout::Stereo,
            rate: Rate::Narrow,
        });
        let mut talkers = [(Talker::new(A, codec), 600.0), (Talker::new(B, codec), 900.0)];
        talk(&mut bench, &mut talkers, 100);
        bench.command(Command::Close { unit: RECORDER });
        let recorded = std::mem::take(&mut bench.recorded);
        let side = |first: usize| -> Vec<i16> {
            recorded.iter().skip(first).step_by(2).copied().skip(4000).collect()
        };
        for (side, hertz) in [(side(0), 900.0), (side(1), 600.0)] {
            let level = amplitude(&side, hertz);
            assert!((level / 8000.0 - 1.0).abs() < 0.15, "{codec:?} {hertz}: {level}");
        }
    }
}

/// What is above 4 kHz is lost at 8 kHz, and kept with `hd_audio`.
#[test]
fn recording_at_48_khz_keeps_what_the_codec_carries() {
    for codec in [Codec::G722, Codec::Opus, Codec::L16(Rate::Full)] {
        let mut bench = Bench::joined(codec, codec);
        let (layout, rate) = (Layout::Stereo, Rate::Full);
        bench.command(Command::RecordCall { unit: RECORDER, call: A, layout, rate });
        let mut talkers = [(Talker::new(A, codec), 5000.0), (Talker::new(B, codec), 6000.0)];
        talk(&mut bench, &mut talkers, 100);
        bench.command(Command::Close { unit: RECORDER });
        let recorded = std::mem::take(&mut bench.recorded);
        assert_eq!(recorded.len(), 2 * 2 * 48_000);
        let closed = bench.events.iter().find_map(|event| match event {
            Event::Closed { unit: RECORDER, figures } => Some(figures.recorded),
            _ => None,
        });
        assert_eq!(closed, Some(2000 * MS));
        for (first, hertz) in [(0, 6000.0), (1, 5000.0)] {
            let side: Vec<i16> =
                recorded.iter().skip(first).step_by(2).copied().skip(24_000).collect();
            let level = amplitude_at(Rate::Full, &side, hertz);
            assert!((level / 8000.0 - 1.0).abs() < 0.2, "{codec:?} {hertz}: {level}");
        }
    }
}
