//! A tone of every codec through links that lose packets and delay them unevenly, to a listener
//! who adds nothing of his own; beside what the codec's decoder makes of the same losses when it is
//! told of them at once.

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
        "loss % jitter ms  level dB  SNR dB  lost  gaps (alone)  disturbed (alone)  concealed ms  delay ms"
            .to_owned(),
    ];
    let (mut lost, mut missing, mut alone, mut delay_ms) = (0, 0, 0, 0.0_f64);
    let mut faults = Vec::new();
    for lost_percent in [0, 1, 5, 10] {
        for jitter_ms in [0, 20, 40, 80] {
            let link = Link { lost_percent, jitter_ms };
            let seen = Seen::of(&say(from, to, HERTZ, FRAMES, link));
            lost += seen.lost;
            missing += seen.gaps;
            alone += seen.alone_gaps;
            delay_ms = delay_ms.max(seen.delay_ms);
            lines.push(format!("{lost_percent:>6} {jitter_ms:>9}  {}", seen.line()));
            let found = seen.faults(link).into_iter();
            faults.extend(found.map(|fault| format!("{lost_percent} % {jitter_ms} ms: {fault}")));
        }
    }
    let from = name(from);
    let closing = format!(
        "{from} over bad links: {missing} gaps of 20 ms for {lost} lost packets ({alone} of the \
         decoder alone), {delay_ms:.1} ms of delay at most"
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
    alone_snr_db: f64,
    alone_gaps: usize,
    alone_disturbed: usize,
    concealed_ms: usize,
    delay_ms: f64,
}

impl Seen {
    fn of(heard: &Heard) -> Self {
        let all = windows(heard.rate, &heard.samples, HERTZ);
        // What the link is like is learned in the first second.
        let settled = &all[SETTLING..all.len() - 1];
        let alone = windows(heard.alone_rate, &heard.alone, HERTZ);
        let alone = &alone[SETTLING..alone.len() - 1];
        Self {
            level_db: median(settled.iter().map(|window| window.level_db).collect()),
            snr_db: median(settled.iter().map(|window| window.snr_db).collect()),
            lost: heard.lost,
            gaps: gaps(settled),
            disturbed: disturbed(settled),
            alone_snr_db: median(alone.iter().map(|window| window.snr_db).collect()),
            alone_gaps: gaps(alone),
            alone_disturbed: disturbed(alone),
            concealed_ms: heard.figures.concealed.as_millis() as usize,
            delay_ms: heard.delay_ms,
        }
    }

    fn line(&self) -> String {
        format!(
            "{:>8.2} {:>7.1} {:>5} {:>5} {:>7} {:>10} {:>7} {:>13} {:>9.1}",
            self.level_db,
            self.snr_db,
            self.lost,
            self.gaps,
            self.alone_gaps,
            self.disturbed,
            self.alone_disturbed,
            self.concealed_ms,
            self.delay_ms
        )
    }

    fn faults(&self, link: Link) -> Vec<String> {
        let mut faults = Vec::new();
        let least = self.alone_snr_db.min(CLEAN_SNR_DB) - 3.0;
        if self.level_db.abs() > 0.5 || self.snr_db < least {
            let (level, ratio) = (self.level_db, self.snr_db);
            faults.push(format!("{level:.2} dB, SNR {ratio:.1} dB, not {least:.1}"));
        }
        // What a loss costs is the codec's: libopus by itself takes the lost frame of a tone and
        // the next one down by 10 dB. A loss may lie in two of the listener's windows.
        let more = self.lost.div_ceil(25);
        if self.gaps > self.alone_gaps + more {
            faults.push(format!("{} gaps, not {} and {more}", self.gaps, self.alone_gaps));
        }
        if self.disturbed > self.alone_disturbed + more {
            let alone = self.alone_disturbed;
            faults.push(format!("{} disturbed, not {alone} and {more}", self.disturbed));
        }
        // A packet is 20 ms; some are too late while the link is learned.
        let most_ms = 20 * self.lost + if link.jitter_ms > 0 { 60 } else { 0 };
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

const HERTZ: f64 = 1000.0;
/// Ten seconds.
const FRAMES: usize = 500;
const SETTLING: usize = 50;
/// What the listener's own samples and a converter of rates leave in any case.
const CLEAN_SNR_DB: f64 = 60.0;
/// Without any jitter: the buffer's least, a tick, what a codec looks ahead, and what was learned
/// from losses.
const BASE_DELAY_MS: f64 = 80.0;
