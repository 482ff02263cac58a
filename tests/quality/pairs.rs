//! A tone from every codec to every codec over a good link.

use branchline::media::engine::Codec;
use branchline::media::frame::Rate;

use super::bench::{Link, name, say};
use super::measure::{fit, gaps, windows};
use super::print_table;

const CODECS: [Codec; 7] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::Opus,
    Codec::L16(Rate::Narrow),
    Codec::L16(Rate::Wide),
    Codec::L16(Rate::Full),
];
const TONES: [f64; 3] = [300.0, 1000.0, 3000.0];

#[test]
fn tone_passes_every_pair_of_codecs_at_its_level_with_the_noise_of_the_codecs_alone() {
    let mut lines = vec![format!(
        "{:<7} {:<7} {:^23}  {:^20} {:>5} {:>6}",
        "from", "to", "level dB 300/1000/3000", "SNR dB", "gaps", "delay"
    )];
    let (mut faults, mut worst) = (Vec::new(), Worst::default());
    for from in CODECS {
        for to in CODECS {
            check(from, to, &mut lines, &mut faults, &mut worst);
        }
    }
    let pairs = CODECS.len() * CODECS.len();
    let closing = format!(
        "{pairs} pairs of codecs: level within {:.2} dB, SNR {:.1} dB at least, {} gaps, {:.1} ms \
         of delay at most",
        worst.level_db, worst.snr_db, worst.gaps, worst.delay_ms
    );
    print_table("A tone through every pair of codecs", &lines, &closing);
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Of all pairs.
struct Worst {
    level_db: f64,
    snr_db: f64,
    gaps: usize,
    delay_ms: f64,
}

impl Default for Worst {
    fn default() -> Self {
        Self { level_db: 0.0, snr_db: f64::INFINITY, gaps: 0, delay_ms: 0.0 }
    }
}

fn check(
    from: Codec,
    to: Codec,
    lines: &mut Vec<String>,
    faults: &mut Vec<String>,
    worst: &mut Worst,
) {
    let (mut levels, mut ratios) = (String::new(), String::new());
    let (mut missing, mut delay) = (0, 0.0_f64);
    for hertz in TONES {
        let heard = say(from, to, hertz, FRAMES, Link::GOOD);
        // A codec that adapts has come to rest after this, and the tone still goes on.
        let frame = heard.rate.frame();
        let settled = &heard.samples[SETTLING * frame..(FRAMES - 5) * frame];
        let whole = fit(heard.rate, settled, hertz);
        let gap = gaps(&windows(heard.rate, settled, hertz));
        let (level_db, snr_db) = (whole.level_db, whole.snr_db);
        levels += &format!("{level_db:>7.2}");
        ratios += &format!("{snr_db:>7.1}");
        missing += gap;
        worst.level_db = worst.level_db.max(level_db.abs());
        worst.snr_db = worst.snr_db.min(snr_db);
        worst.gaps += gap;
        worst.delay_ms = worst.delay_ms.max(heard.delay_ms);
        delay = delay.max(heard.delay_ms);
        let least = least_snr_db(from, to);
        if level_db.abs() > MOST_LEVEL_DB || snr_db < least || gap > 0 {
            faults.push(format!(
                "{from:?} {to:?} {hertz}: {level_db:.2} dB, SNR {snr_db:.1} dB, not {least:.1}"
            ));
        }
        if heard.delay_ms > MOST_DELAY_MS {
            faults.push(format!("{from:?} {to:?} {hertz}: {:.1} ms late", heard.delay_ms));
        }
    }
    let (from, to) = (name(from), name(to));
    lines.push(format!("{from:<7} {to:<7} {levels:>23}  {ratios:>20} {missing:>5} {delay:>6.1}"));
}

/// The noise of both codecs together.
fn least_snr_db(from: Codec, to: Codec) -> f64 {
    let noise = |codec| 10_f64.powf(-own_snr_db(codec) / 10.0);
    -10.0 * (noise(from) + noise(to)).log10()
}

/// What a codec by itself leaves of a tone of -12 dBFS at the least.
fn own_snr_db(codec: Codec) -> f64 {
    match codec {
        // G.712 §9: 33 dB from -30 to 0 dBm0, with converters that are not here.
        Codec::Pcmu | Codec::Pcma => 33.0,
        // Four to six bits of the lower band.
        Codec::G722 => 30.0,
        // Made for how it sounds, not for the shape of the wave.
        Codec::Opus => 20.0,
        // Rounding alone would leave 85 dB; a converter of rates keeps what lies beside it below.
        Codec::L16(_) => 50.0,
    }
}

const FRAMES: usize = 60;
const SETTLING: usize = 25;
/// What a level meter of a telephone exchange is read to.
const MOST_LEVEL_DB: f64 = 0.5;
/// A jitter buffer's least, a tick, and what codec and converter look ahead.
const MOST_DELAY_MS: f64 = 70.0;
