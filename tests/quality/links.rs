//! A tone of every codec through links that lose packets and delay them unevenly, to a listener
//! who adds nothing of his own.

use branchline::media::engine::Codec;
use branchline::media::frame::Rate;

use super::bench::{Heard, Link, name, say};
use super::measure::{disturbed, gaps, median, windows};
use super::print_table;

#[test]
fn pcmu_over_bad_links() {
    check(Codec::Pcmu, Codec::L16(Rate::Narrow));
}

#[test]
fn pcma_over_bad_links() {
    check(Codec::Pcma, Codec::L16(Rate::Narrow));
}

#[test]
fn g722_over_bad_links() {
    check(Codec::G722, Codec::L16(Rate::Wide));
}

#[test]
fn opus_over_bad_links() {
    check(Codec::Opus, Codec::L16(Rate::Full));
}

#[test]
fn l16_over_bad_links() {
    check(Codec::L16(Rate::Wide), Codec::L16(Rate::Narrow));
}

fn check(from: Codec, to: Codec) {
    let mut lines = vec![
        "loss % jitter ms  level dB  SNR dB  lost  gaps  disturbed  concealed ms  delay ms"
            .to_owned(),
    ];
    let (mut faults, mut lost, mut missing, mut delay_ms) = (Vec::new(), 0, 0, 0.0_f64);
    for lost_percent in [0, 1, 5, 10] {
        for jitter_ms in [0, 20, 40, 80] {
            let link = Link { lost_percent, jitter_ms };
            let seen = Seen::of(&say(from, to, HERTZ, FRAMES, link));
            lost += seen.lost;
            missing += seen.gaps;
            delay_ms = delay_ms.max(seen.delay_ms);
            lines.push(format!("{lost_percent:>6} {jitter_ms:>9}  {}", seen.line()));
            let found = seen.faults(from, link).into_iter();
            faults.extend(found.map(|fault| format!("{lost_percent} % {jitter_ms} ms: {fault}")));
        }
    }
    let from = name(from);
    let closing = format!(
        "{from} over bad links: {missing} gaps of 20 ms for {lost} lost packets, {delay_ms:.1} ms \
         of delay at most"
    );
    print_table(&format!("{HERTZ} Hz of {from} over bad links"), &lines, &closing);
    assert!(faults.is_empty(), "{faults:#?}");
}

struct Seen {
    level_db: f64,
    snr_db: f64,
    lost: usize,
    gaps: usize,
    disturbed: usize,
    concealed_ms: usize,
    delay_ms: f64,
}

impl Seen {
    fn of(heard: &Heard) -> Self {
        let all = windows(heard.rate, &heard.samples, HERTZ);
        // What the link is like is learned in the first second.
        let settled = &all[SETTLING..all.len() - 1];
        Self {
            level_db: median(settled.iter().map(|window| window.level_db).collect()),
            snr_db: median(settled.iter().map(|window| window.snr_db).collect()),
            lost: heard.lost,
            gaps: gaps(settled),
            disturbed: disturbed(settled),
            concealed_ms: heard.figures.concealed.as_millis() as usize,
            delay_ms: heard.delay_ms,
        }
    }

    fn line(&self) -> String {
        format!(
            "{:>8.2} {:>7.1} {:>5} {:>5} {:>10} {:>13} {:>9.1}",
            self.level_db,
            self.snr_db,
            self.lost,
            self.gaps,
            self.disturbed,
            self.concealed_ms,
            self.delay_ms
        )
    }

    fn faults(&self, codec: Codec, link: Link) -> Vec<String> {
        let mut faults = Vec::new();
        let limits = Limits::of(codec);
        if self.level_db.abs() > 0.5 || self.snr_db < limits.snr_db {
            faults.push(format!("{:.2} dB, SNR {:.1} dB", self.level_db, self.snr_db));
        }
        let most_gaps = (limits.gaps_per_loss * self.lost as f64) as usize;
        if self.gaps > most_gaps {
            faults.push(format!("{} gaps, not {most_gaps}", self.gaps));
        }
        let most_disturbed = (limits.disturbed_per_loss * self.lost as f64) as usize;
        if self.disturbed > most_disturbed {
            faults.push(format!("{} disturbed, not {most_disturbed}", self.disturbed));
        }
        // A packet is 20 ms; what came too late while the link was learned is made up as well.
        let most_ms = 30 * self.lost + if link.jitter_ms > 0 { 300 } else { 0 };
        if self.concealed_ms > most_ms {
            faults.push(format!("{} ms concealed, not {most_ms}", self.concealed_ms));
        }
        let most_delay = BASE_DELAY_MS + 2.0 * f64::from(link.jitter_ms);
        if self.delay_ms > most_delay {
            faults.push(format!("{:.1} ms late, not {most_delay}", self.delay_ms));
        }
        faults
    }
}

/// What a loss may cost, in windows of 20 ms that are heard after the first second.
struct Limits {
    /// Half of the windows are at least that clean.
    snr_db: f64,
    gaps_per_loss: f64,
    disturbed_per_loss: f64,
}

impl Limits {
    fn of(codec: Codec) -> Self {
        match codec {
            // Concealment is made for speech: libopus by itself takes the lost frame of a tone and
            // the one after it down by 10 dB, and is off its course for six more at 1 kHz.
            Codec::Opus => Self { snr_db: 10.0, gaps_per_loss: 2.5, disturbed_per_loss: 5.0 },
            // A single loss is concealed without a seam: a gap is where several met.
            _ => Self { snr_db: 30.0, gaps_per_loss: 0.1, disturbed_per_loss: 0.1 },
        }
    }
}

const HERTZ: f64 = 1000.0;
/// Ten seconds.
const FRAMES: usize = 500;
const SETTLING: usize = 50;
/// Without any jitter: the buffer's least, a tick, what a codec looks ahead, and what was learned
/// from losses.
const BASE_DELAY_MS: f64 = 80.0;
