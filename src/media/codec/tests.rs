//! All codecs by the same instruments: tones through them, and losses.

use std::time::Duration;

use super::conceal::Concealer;
use super::decoder::{Decoder, MOST_SAMPLES};
use super::encoder::{Encoder, EncoderSettings, MOST_BYTES};
use super::g722;
use crate::media::engine::Codec;
use crate::media::format::OpusSettings;
use crate::media::frame::Rate;

const ALL: [Codec; 7] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::Opus,
    Codec::L16(Rate::Narrow),
    Codec::L16(Rate::Wide),
    Codec::L16(Rate::Full),
];

fn settings(opus: OpusSettings) -> EncoderSettings {
    EncoderSettings { ptime: Duration::from_millis(20), opus }
}

/// A tone whose level is in dB below a sine at full scale.
fn tone(codec: Codec, hertz: f64, level: f64, frames: usize) -> Vec<i16> {
    let angle = std::f64::consts::TAU * hertz / f64::from(codec.rate().hertz());
    let peak = 32_767.0 * 10f64.powf(-level / 20.0);
    let count = frames * codec.rate().frame();
    (0..count).map(|n| (peak * (angle * n as f64).sin()).round() as i16).collect()
}

fn packets(codec: Codec, opus: OpusSettings, sound: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, &settings(opus));
    let mut out = [0; MOST_BYTES * 2];
    let mut encode = |frame| {
        let bytes = encoder.encode(frame, &mut out);
        out[..bytes].to_vec()
    };
    sound.chunks(codec.rate().frame()).map(&mut encode).collect()
}

/// What is heard of packets, of which some are lost; with or without the copies that the next
/// ones have.
fn heard(
    codec: Codec,
    packets: &[Vec<u8>],
    is_lost: impl Fn(usize) -> bool,
    copies: bool,
) -> Vec<i16> {
    let mut decoder = Decoder::new(codec);
    let mut sound = Vec::new();
    let mut out = [0; MOST_SAMPLES];
    for (place, packet) in packets.iter().enumerate() {
        let frame = codec.rate().frame();
        if !is_lost(place) {
            assert_eq!(decoder.decode(packet, &mut out), frame);
        } else {
            let next = packets.get(place + 1).filter(|_| copies && !is_lost(place + 1));
            let is_back = next.is_some_and(|next| decoder.recover(next, &mut out[..frame]));
            if !is_back {
                decoder.conceal(&mut out[..frame]);
            }
        }
        sound.extend_from_slice(&out[..frame]);
    }
    sound
}

/// Of a tone in `sound`, in dB: its power against that of all else. No delay and no change of
/// level or phase counts.
fn signal_to_noise(codec: Codec, hertz: f64, sound: &[i16]) -> f64 {
    let angle = std::f64::consts::TAU * hertz / f64::from(codec.rate().hertz());
    let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
    for (n, &sample) in sound.iter().enumerate() {
        let sample = f64::from(sample);
        sine += sample * (angle * n as f64).sin();
        cosine += sample * (angle * n as f64).cos();
        power += sample * sample;
    }
    let tone = 2.0 * (sine * sine + cosine * cosine) / sound.len() as f64;
    10.0 * (tone / (power - tone).max(1e-9)).log10()
}

/// The codecs' noise on a 1020 Hz tone, after it has settled.
fn noise_at(codec: Codec, level: f64) -> f64 {
    let sound = tone(codec, 1020.0, level, 60);
    let packets = packets(codec, OpusSettings::default(), &sound);
    let heard = heard(codec, &packets, |_| false, false);
    signal_to_noise(codec, 1020.0, &heard[heard.len() / 6..])
}

#[test]
fn signal_to_noise_of_tones_is_what_each_codec_is_made_for() {
    // At 3, 10, 20, 30 and 40 dB below a full-scale sine, 3 dB less than what is usual: ITU-T G.712
    // figure 14 asks 33 dB of both ends of a G.711 line from 0 to -30 dBm0 and 27 at -40; G.722
    // has about 47 in its lower band; L16 has 98 less the level. Opus is no waveform coder.
    let levels = [3.0, 10.0, 20.0, 30.0, 40.0];
    let least: [(Codec, [f64; 5]); 7] = [
        (Codec::Pcmu, [35.0, 35.0, 35.0, 33.0, 31.0]),
        (Codec::Pcma, [35.0, 35.0, 35.0, 33.0, 31.0]),
        (Codec::G722, [44.0, 44.0, 43.0, 40.0, 34.0]),
        (Codec::Opus, [34.0, 26.0, 26.0, 26.0, 10.0]),
        (Codec::L16(Rate::Narrow), [91.0, 85.0, 75.0, 65.0, 55.0]),
        (Codec::L16(Rate::Wide), [91.0, 85.0, 75.0, 65.0, 55.0]),
        (Codec::L16(Rate::Full), [91.0, 85.0, 75.0, 65.0, 55.0]),
    ];
    for (codec, least) in least {
        for (level, least) in levels.into_iter().zip(least) {
            let noise = noise_at(codec, level);
            assert!(noise >= least, "{codec:?} at -{level} dB: {noise:.1} dB");
        }
    }
}

#[test]
fn lost_packet_of_20_ms_leaves_no_click_and_the_sound_comes_back() {
    for codec in ALL {
        let frame = codec.rate().frame();
        for hertz in [150.0, 440.0, 1000.0] {
            let sound = tone(codec, hertz, 10.0, 40);
            let packets = packets(codec, OpusSettings::default(), &sound);
            let whole = heard(codec, &packets, |_| false, false);
            let holed = heard(codec, &packets, |place| place == 20, false);
            let steepest = |sound: &[i16]| {
                let steps = sound.windows(2).map(|two| i32::from(two[0]) - i32::from(two[1]));
                steps.map(i32::abs).max().unwrap()
            };
            let (usual, most) = (steepest(&whole[15 * frame..]), steepest(&holed[15 * frame..]));
            // Half more than the sound's own steps; twice as much where it is not ours.
            let allowed = if codec == Codec::Opus { 4 } else { 3 };
            assert!(2 * most <= allowed * usual, "{codec:?} {hertz}: {most} after {usual}");
            // 100 ms later there is the codec's own noise and no more.
            let ratio = signal_to_noise(codec, hertz, &holed[26 * frame..]);
            let before = signal_to_noise(codec, hertz, &whole[26 * frame..]);
            let least = if codec == Codec::Opus { 15.0 } else { before.min(40.0) - 3.0 };
            assert!(ratio > least, "{codec:?} {hertz}: {ratio:.1} {before:.1}");
        }
    }
}

#[test]
fn g722_is_nearer_to_the_peer_after_a_loss_where_its_predictors_follow_what_stood_in() {
    // A pitch of 125 Hz with overtones, whose period is 128 samples: what stands in for 10 ms of
    // it is what was lost.
    let overtones = |n: usize| {
        let angle = std::f64::consts::TAU * (n % 128) as f64 / 128.0;
        (1..24).map(|h| (angle * f64::from(h)).sin() / f64::from(h)).sum::<f64>()
    };
    let sound: Vec<i16> = (0..160 * 40).map(|n| (4000.0 * overtones(n)) as i16).collect();
    let mut packets = [[0; 80]; 40];
    let mut encoder = g722::Encoder::new();
    for (frame, packet) in sound.chunks(160).zip(&mut packets) {
        encoder.encode(frame, packet);
    }
    // The sum of squared errors in the 20 ms after a loss.
    let error = |lost: usize, is_following: bool| {
        let (mut decoder, mut peer) = (g722::Decoder::new(), g722::Decoder::new());
        let mut concealer = Concealer::new(Rate::Wide);
        let mut error = 0.0;
        for (place, packet) in packets.iter().enumerate().take(lost + 3) {
            let (mut expected, mut out) = ([0; 160], [0; 160 + g722::AHEAD]);
            peer.decode(packet, &mut expected);
            if place == lost {
                concealer.conceal(&mut out[..160]);
                concealer.peek(&mut out[160..]);
                if is_following {
                    decoder.follow(&out);
                }
                continue;
            }
            decoder.decode(packet, &mut out[..160]);
            concealer.hear(&mut out[..160]);
            if place > lost {
                let pairs = expected.iter().zip(&out).map(|(&a, &b)| f64::from(a) - f64::from(b));
                error += pairs.map(|error| error * error).sum::<f64>();
            }
        }
        error
    };
    let sum = |is_following| (10..35).map(|lost| error(lost, is_following)).sum::<f64>();
    let (following, standing) = (sum(true), sum(false));
    assert!(following < standing / 4.0, "{following} {standing}");
}

#[test]
fn long_loss_is_silent_within_60_ms_but_for_opus_that_fades_its_own_way() {
    for codec in ALL {
        let frame = codec.rate().frame();
        let packets = packets(codec, OpusSettings::default(), &tone(codec, 440.0, 10.0, 40));
        let heard = heard(codec, &packets, |place| (20..35).contains(&place), false);
        let quiet = if codec == Codec::Opus { 30 } else { 23 };
        let loudest = heard[quiet * frame..35 * frame].iter().map(|s| i32::from(*s).abs()).max();
        let most = if codec == Codec::Opus { 1500 } else { 0 };
        assert!(loudest.unwrap() <= most, "{codec:?}: {loudest:?}");
    }
}

#[test]
fn what_is_no_payload_is_none_and_hurts_nobody() {
    let mut random = fastrand::Rng::with_seed(6716);
    for codec in ALL {
        let mut decoder = Decoder::new(codec);
        let mut out = [0; MOST_SAMPLES];
        assert_eq!(decoder.decode(&[], &mut out), 0, "{codec:?}");
        for _ in 0..300 {
            let payload: Vec<u8> = (0..random.usize(0..400)).map(|_| random.u8(..)).collect();
            let room = random.usize(0..=MOST_SAMPLES);
            assert!(decoder.decode(&payload, &mut out[..room]) <= room);
            if random.u8(..) < 50 {
                decoder.recover(&payload, &mut out[..random.usize(0..3000)]);
                decoder.conceal(&mut out[..random.usize(0..3000)]);
            }
        }
    }
}

#[test]
fn packets_of_each_ptime_last_as_long_as_they_say() {
    for codec in ALL {
        for ptime in [5, 10, 20, 25, 30, 40, 50, 60, 100] {
            let ptime = codec.ptime(Duration::from_millis(ptime));
            let ms = ptime.as_millis() as usize;
            let count = codec.rate().hertz() as usize / 1000 * ms;
            let sound = &tone(codec, 500.0, 10.0, 5)[..count];
            let mut out = [0; MOST_BYTES];
            let opus = OpusSettings::default();
            let mut encoder = Encoder::new(codec, &EncoderSettings { ptime, opus });
            let bytes = encoder.encode(sound, &mut out);
            assert!(bytes > 0, "{codec:?} {ms}");
            let units = codec.samples_of(&out[..bytes]);
            assert_eq!(units, Some(codec.clock_rate() / 1000 * ms as u32), "{codec:?} {ms}");
            let mut samples = [0; MOST_SAMPLES];
            assert_eq!(Decoder::new(codec).decode(&out[..bytes], &mut samples), count);
        }
    }
    assert_eq!(Codec::Opus.ptime(Duration::from_millis(30)), Duration::from_millis(20));
}

/// Vowels of a voice: a pitch with overtones that glides, in syllables of 200 ms.
fn voice(frames: usize) -> Vec<i16> {
    let mut phase = 0.0;
    (0..frames * 960)
        .map(|n| {
            let time = n as f64 / 48_000.0;
            phase += std::f64::consts::TAU * (140.0 + 30.0 * (3.0 * time).sin()) / 48_000.0;
            let sound: f64 = (1..20).map(|h| (phase * f64::from(h)).sin() / f64::from(h)).sum();
            let syllable = (std::f64::consts::PI * (time % 0.2) / 0.2).sin();
            (6000.0 * sound * syllable) as i16
        })
        .collect()
}

/// Of what is heard of packets with losses, against the same without: in dB.
fn likeness(whole: &[i16], holed: &[i16]) -> f64 {
    let power: f64 = whole.iter().map(|&s| f64::from(s).powi(2)).sum();
    let errors = whole.iter().zip(holed).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    10.0 * (power / errors.sum::<f64>().max(1e-9)).log10()
}

#[test]
fn opus_fec_brings_back_what_was_lost() {
    let opus = OpusSettings { fec: true, ..OpusSettings::default() };
    let packets = packets(Codec::Opus, opus, &voice(100));
    let is_lost = |place: usize| place % 5 == 3;
    let whole = heard(Codec::Opus, &packets, |_| false, false);
    let concealed = heard(Codec::Opus, &packets, is_lost, false);
    let recovered = heard(Codec::Opus, &packets, is_lost, true);
    let (concealed, recovered) = (likeness(&whole, &concealed), likeness(&whole, &recovered));
    assert!(recovered > concealed + 3.0, "{concealed:.1} {recovered:.1}");
}

#[test]
fn opus_without_fec_has_nothing_to_recover() {
    let packets = packets(Codec::Opus, OpusSettings::default(), &voice(10));
    let mut decoder = Decoder::new(Codec::Opus);
    let mut out = [0; 960];
    assert!(packets.iter().all(|packet| !decoder.recover(packet, &mut out)));
    assert!(!decoder.recover(&[], &mut out));
}

#[test]
fn opus_dtx_sends_a_fraction_of_silence_and_all_of_speech() {
    let opus = OpusSettings { dtx: true, ..OpusSettings::default() };
    let mut sound = voice(50);
    sound.extend(vec![0; 960 * 100]);
    let packets = packets(Codec::Opus, opus, &sound);
    let sent = |packets: &[Vec<u8>]| packets.iter().filter(|packet| !packet.is_empty()).count();
    assert_eq!(sent(&packets[..50]), 50);
    // One in 20, each 400 ms, and some until it is sure of the silence.
    assert!(sent(&packets[75..]) <= 5);
}

#[test]
fn opus_keeps_to_what_the_peer_asks_for() {
    let bytes = |opus| packets(Codec::Opus, opus, &voice(100)).iter().map(Vec::len).sum::<usize>();
    let usual = OpusSettings::default();
    // 2 s at 32 kbit/s are 8000 bytes.
    assert!((4000..9000).contains(&bytes(usual)), "{}", bytes(usual));
    let slow = OpusSettings { max_bitrate: Some(12_000), ..usual };
    assert!(bytes(slow) < 3600, "{}", bytes(slow));
    let cbr = OpusSettings { cbr: true, ..usual };
    let sizes: Vec<_> = packets(Codec::Opus, cbr, &voice(20)).iter().map(Vec::len).collect();
    assert_eq!(sizes, [80; 20]);
    // RFC 6716 table 2: configurations 0 to 3 are narrowband SILK.
    let narrow = OpusSettings { max_playback_rate: 8000, ..usual };
    assert!(packets(Codec::Opus, narrow, &voice(20)).iter().all(|packet| packet[0] >> 3 < 4));
    let wide = OpusSettings { max_playback_rate: 16_000, ..usual };
    assert!(packets(Codec::Opus, wide, &voice(20)).iter().all(|packet| packet[0] >> 3 < 12));
}
