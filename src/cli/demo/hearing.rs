//! What was heard: levels of tones in a WAV, block by block.

use std::io::Cursor;

/// One channel of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    rate: u32,
    samples: Vec<f32>,
}

/// How long a tone was there, and how loud while it was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    pub seconds: f32,
    /// RMS, 0 dBFS being a full-scale sine's -3.01.
    pub level_dbfs: f32,
}

/// The channels of a 16-bit WAV.
///
/// # Errors
/// Says what is wrong with it.
pub fn channels(wav: &[u8]) -> Result<Vec<Channel>, String> {
    let mut reader = hound::WavReader::new(Cursor::new(wav)).map_err(|error| error.to_string())?;
    let spec = reader.spec();
    if spec.bits_per_sample != 16 || spec.sample_format != hound::SampleFormat::Int {
        return Err(format!("{} bits per sample, not 16", spec.bits_per_sample));
    }
    let count = usize::from(spec.channels.max(1));
    let mut channels = vec![Channel { rate: spec.sample_rate, samples: Vec::new() }; count];
    for (place, sample) in reader.samples::<i16>().enumerate() {
        let sample = sample.map_err(|error| error.to_string())?;
        channels[place % count].samples.push(f32::from(sample) / 32768.0);
    }
    Ok(channels)
}

impl Channel {
    /// How long a tone was there at about this level (dBFS), whatever was said above it.
    pub fn tone(&self, hertz: f32, level_dbfs: f32) -> Heard {
        let block = (self.rate / BLOCKS_PER_SECOND).max(1) as usize;
        let levels = self.samples.chunks_exact(block).map(|samples| {
            let power = tone_power(samples, hertz, self.rate as f32);
            10.0 * power.max(1e-10).log10()
        });
        let mut heard: Vec<f32> =
            levels.filter(|level| (level - level_dbfs).abs() <= TOLERANCE_DB).collect();
        heard.sort_by(f32::total_cmp);
        Heard {
            seconds: heard.len() as f32 / BLOCKS_PER_SECOND as f32,
            level_dbfs: heard.get(heard.len() / 2).copied().unwrap_or(f32::NEG_INFINITY),
        }
    }
}

/// Mean power of one frequency (Goertzel's algorithm): amplitude squared over two.
fn tone_power(samples: &[f32], hertz: f32, rate: f32) -> f32 {
    let omega = 2.0 * std::f32::consts::PI * hertz / rate;
    let coefficient = 2.0 * omega.cos();
    let (mut last, mut before) = (0.0_f32, 0.0_f32);
    for sample in samples {
        let next = sample + coefficient * last - before;
        before = last;
        last = next;
    }
    let squared = last * last + before * before - coefficient * last * before;
    let count = samples.len() as f32;
    2.0 * squared / (count * count)
}

/// 50 ms: 620, 1000 and 1700 Hz fall apart, and words have pauses of this length.
const BLOCKS_PER_SECOND: u32 = 20;
/// For a voice above the tone, G.711 and the edges of words.
const TOLERANCE_DB: f32 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hertz: f32, amplitude: f32, seconds: f32) -> Channel {
        let samples = (0..(8000.0 * seconds) as usize)
            .map(|n| amplitude * (2.0 * std::f32::consts::PI * hertz * n as f32 / 8000.0).sin());
        Channel { rate: 8000, samples: samples.collect() }
    }

    #[test]
    fn tone_has_its_level_and_length() {
        // Amplitude 0.1: RMS 0.0707, -23.01 dBFS.
        let heard = sine(1000.0, 0.1, 2.0).tone(1000.0, -23.0);
        assert!((heard.level_dbfs + 23.01).abs() < 0.1, "{heard:?}");
        assert_eq!(heard.seconds, 2.0);
    }

    #[test]
    fn other_tone_other_level_and_silence_are_not_heard() {
        for (hertz, amplitude) in [(1700.0, 0.1), (1000.0, 0.0), (1000.0, 0.05), (1000.0, 0.2)] {
            assert_eq!(sine(hertz, amplitude, 1.0).tone(1000.0, -23.0).seconds, 0.0);
        }
    }

    #[test]
    fn shipped_prompts_are_told_apart() {
        // Tones, lengths and levels as scenarios/prompts/README.md has them.
        for (wav, own, least_seconds, level_dbfs) in [
            (&include_bytes!("../../../scenarios/prompts/callback.wav")[..], 620.0, 0.2, -15.0),
            (include_bytes!("../../../scenarios/prompts/phone-hello.wav"), 1000.0, 1.2, -23.0),
            (include_bytes!("../../../scenarios/prompts/phone-second.wav"), 1700.0, 1.2, -23.0),
        ] {
            let channel = channels(wav).unwrap().remove(0);
            let heard = channel.tone(own, level_dbfs);
            assert!(heard.seconds >= least_seconds, "{own} Hz: {heard:?}");
            for (other, level_dbfs) in [(620.0, -15.0), (1000.0, -23.0), (1700.0, -23.0)] {
                let heard = channel.tone(other, level_dbfs);
                assert!(other == own || heard.seconds < 0.3, "{own} as {other} Hz: {heard:?}");
            }
        }
    }

    #[test]
    fn nonsense_is_no_recording() {
        assert!(channels(b"RIFF").is_err());
        assert!(channels(b"").is_err());
    }
}
