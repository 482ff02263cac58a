//! What codecs cost: microseconds of processor for a second of speech-like audio, to encode, to
//! decode and to conceal, and how many times that of PCMU in the same run.
//!
//! `cargo bench --bench codec` prints a line for each. Numbers of a shared machine wander: ratios
//! are what counts. Nothing here fails by the clock.

use std::f64::consts::{PI, TAU};
use std::hint::black_box;
use std::time::Duration;

use branchline::media::codec::decoder::{Decoder, MOST_SAMPLES};
use branchline::media::codec::encoder::{Encoder, EncoderSettings, MOST_BYTES};
use branchline::media::engine::Codec;
use branchline::media::format::OpusSettings;
use branchline::media::frame::Rate;
use rustix::time::{ClockId, clock_gettime};

fn main() {
    // `cargo test --benches` only sees whether it runs.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let seconds = if is_bench { 20 } else { 1 };
    let usual = OpusSettings::default();
    let series = [
        ("PCMU", Codec::Pcmu, usual),
        ("PCMA", Codec::Pcma, usual),
        ("G.722", Codec::G722, usual),
        ("L16/8000", Codec::L16(Rate::Narrow), usual),
        ("L16/16000", Codec::L16(Rate::Wide), usual),
        ("L16/48000", Codec::L16(Rate::Full), usual),
        ("Opus", Codec::Opus, usual),
        ("Opus with FEC", Codec::Opus, OpusSettings { fec: true, ..usual }),
        ("Opus wideband", Codec::Opus, OpusSettings { max_playback_rate: 16_000, ..usual }),
        ("Opus narrowband", Codec::Opus, OpusSettings { max_playback_rate: 8000, ..usual }),
        ("Opus at 64 kbit/s", Codec::Opus, OpusSettings { max_bitrate: Some(64_000), ..usual }),
    ];
    println!("us per second of audio  encode            decode            conceal     kbit/s");
    let mut unit = None;
    for (name, codec, opus) in series {
        let cost = cost_of(codec, opus, seconds);
        let unit = *unit.get_or_insert(cost);
        println!(
            "{name:22} {:7.1} {:7.1} x {:7.1} {:7.1} x {:9.1} {:9.1}",
            cost.encode,
            cost.encode / unit.encode,
            cost.decode,
            cost.decode / unit.decode,
            cost.conceal,
            cost.kilobits
        );
    }
}

/// Microseconds per second of audio.
#[derive(Clone, Copy)]
struct Cost {
    encode: f64,
    decode: f64,
    conceal: f64,
    kilobits: f64,
}

fn cost_of(codec: Codec, opus: OpusSettings, seconds: usize) -> Cost {
    let settings = EncoderSettings { ptime: Duration::from_millis(20), opus };
    let sound = voice(codec.rate().hertz(), seconds);
    let mut encoder = Encoder::new(codec, &settings);
    let mut packets = Vec::with_capacity(seconds * 50);
    let mut payload = [0; MOST_BYTES * 2];
    // What is cheap is measured often.
    let times = if codec == Codec::Opus { 1 } else { 50 };
    let encode = timed(|| {
        for _ in 0..times {
            packets.clear();
            for frame in sound.chunks_exact(codec.rate().frame()) {
                let bytes = encoder.encode(frame, &mut payload);
                packets.push(payload[..bytes].to_vec());
            }
        }
    });
    let mut decoder = Decoder::new(codec);
    let mut out = [0; MOST_SAMPLES];
    let decode = timed(|| {
        for _ in 0..times {
            for packet in &packets {
                black_box(decoder.decode(packet, &mut out));
            }
        }
    });
    // The first 20 ms of a loss cost most: each packet that arrives ends one.
    let frame = codec.rate().frame();
    let both = timed(|| {
        for packet in &packets {
            black_box(decoder.decode(packet, &mut out));
            decoder.conceal(&mut out[..frame]);
        }
    });
    let bytes: usize = packets.iter().map(Vec::len).sum();
    let (audio, rounds) = (seconds as f64, f64::from(times));
    Cost {
        encode: encode / audio / rounds,
        decode: decode / audio / rounds,
        conceal: (both - decode / rounds) / audio,
        kilobits: bytes as f64 * 8.0 / 1000.0 / audio,
    }
}

/// A pitch with overtones that glides, in syllables of 200 ms.
fn voice(rate: u32, seconds: usize) -> Vec<i16> {
    let rate = f64::from(rate);
    let mut phase = 0.0;
    (0..rate as usize * seconds)
        .map(|n| {
            let time = n as f64 / rate;
            phase += TAU * (140.0 + 30.0 * (3.0 * time).sin()) / rate;
            let overtones = (1..20).filter(|&h| f64::from(h) * 170.0 < rate / 2.0);
            let sound: f64 = overtones.map(|h| (phase * f64::from(h)).sin() / f64::from(h)).sum();
            let syllable = (PI * (time % 0.2) / 0.2).sin();
            (6000.0 * sound * syllable) as i16
        })
        .collect()
}

/// Microseconds of this thread's processor time.
fn timed(act: impl FnOnce()) -> f64 {
    let start = processor();
    act();
    (processor() - start).as_nanos() as f64 / 1000.0
}

fn processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
