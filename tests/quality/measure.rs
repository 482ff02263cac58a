//! What is left of a tone: level, noise, gaps.

use std::f64::consts::TAU;

use branchline::media::frame::Rate;

use super::bench::AMPLITUDE;

/// A sine that is fitted to some samples, and what remains of them.
#[derive(Debug, Clone, Copy)]
pub struct Fit {
    /// Of the sine, against that which was said.
    pub level_db: f64,
    /// The sine's power against that of the rest.
    pub snr_db: f64,
}

/// The samples are a whole number of periods.
pub fn fit(rate: Rate, samples: &[i16], hertz: f64) -> Fit {
    let step = TAU * hertz / f64::from(rate.hertz());
    let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
    for (place, &sample) in samples.iter().enumerate() {
        let (sample, angle) = (f64::from(sample), step * place as f64);
        sine += sample * angle.sin();
        cosine += sample * angle.cos();
        power += sample * sample;
    }
    let count = samples.len().max(1) as f64;
    let amplitude = 2.0 / count * f64::hypot(sine, cosine);
    let tone = amplitude * amplitude / 2.0;
    let rest = (power / count - tone).max(1e-3);
    Fit {
        level_db: 20.0 * (amplitude.max(1e-3) / AMPLITUDE).log10(),
        snr_db: 10.0 * (tone.max(1e-3) / rest).log10(),
    }
}

/// 20 ms by 20 ms.
pub fn windows(rate: Rate, samples: &[i16], hertz: f64) -> Vec<Fit> {
    samples.chunks_exact(rate.frame()).map(|window| fit(rate, window, hertz)).collect()
}

/// More than 6 dB below what was said: something is missing.
pub fn gaps(windows: &[Fit]) -> usize {
    windows.iter().filter(|window| window.level_db < -6.0).count()
}

/// The tone is there and something beside it that is plainly heard.
pub fn disturbed(windows: &[Fit]) -> usize {
    windows.iter().filter(|window| window.level_db >= -6.0 && window.snr_db < 10.0).count()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
