//! What a phone's ear measures: level and pitch, with arithmetic of its own.

/// A sine of `hertz` at `amplitude`, one frame of 160 samples at 8000 Hz from `start`.
pub fn sine(hertz: f64, amplitude: f64, start: u64) -> [i16; 160] {
    let mut samples = [0; 160];
    for (place, sample) in samples.iter_mut().enumerate() {
        let at = (start + place as u64) as f64 / 8000.0;
        *sample = (amplitude * (std::f64::consts::TAU * hertz * at).sin()) as i16;
    }
    samples
}

/// Share of the signal's power that lies at `hertz`, 0 to 1.
pub fn purity(samples: &[i16], hertz: f64) -> f64 {
    let power: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    if power == 0.0 {
        return 0.0;
    }
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (place, &sample) in samples.iter().enumerate() {
        let angle = std::f64::consts::TAU * hertz * place as f64 / 8000.0;
        real += f64::from(sample) * angle.cos();
        imaginary += f64::from(sample) * angle.sin();
    }
    2.0 * (real * real + imaginary * imaginary) / (samples.len() as f64 * power)
}

/// Root mean square relative to a full-scale sine, in decibels.
pub fn level_dbfs(samples: &[i16]) -> f64 {
    let mean = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>()
        / samples.len().max(1) as f64;
    10.0 * (mean.max(1e-9) * 2.0 / (32767.0 * 32767.0)).log10()
}

/// ITU-T G.711 µ-law, after the standard's segment arithmetic.
pub fn encode_ulaw(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() + 132).min(32_767);
    let segment = (31 - (magnitude >> 7).leading_zeros()).min(7);
    let mantissa = (magnitude >> (segment + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | mantissa as u8)
}

pub fn decode_ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let segment = (byte >> 4) & 7;
    let magnitude = (((i32::from(byte & 0x0f) << 3) + 132) << segment) - 132;
    (if byte & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

/// ITU-T G.711 A-law, after the standard's segment arithmetic.
pub fn encode_alaw(sample: i16) -> u8 {
    // Negative values are the one's complement, so that both halves have the same steps.
    let magnitude = i32::from(if sample < 0 { !sample } else { sample }) >> 4;
    let code = match magnitude {
        0..32 => magnitude,
        _ => {
            let segment = 28 - magnitude.leading_zeros() as i32;
            (segment << 4) | ((magnitude >> (segment - 1)) & 0x0f)
        }
    };
    let sign = if sample < 0 { 0 } else { 0x80 };
    (code as u8 | sign) ^ 0x55
}

pub fn decode_alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (segment, mantissa) = (i32::from(byte >> 4) & 7, i32::from(byte & 0x0f));
    let magnitude = match segment {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 264) << (segment - 1),
    };
    (if byte & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulaw_is_that_of_the_standard() {
        // G.711 table 2a: the ends and the middle of the scale.
        assert_eq!(decode_ulaw(0x00), -32124);
        assert_eq!(decode_ulaw(0x80), 32124);
        assert_eq!(decode_ulaw(0xff), 0);
        assert_eq!(encode_ulaw(0), 0xff);
        assert_eq!(encode_ulaw(32124), 0x80);
        for byte in 0..=255u8 {
            let sample = decode_ulaw(byte);
            assert_eq!(decode_ulaw(encode_ulaw(sample)), sample);
        }
    }

    #[test]
    fn alaw_is_that_of_the_standard() {
        // G.711 table 1a: the ends and the middle of the scale.
        assert_eq!(decode_alaw(0xaa), 32256);
        assert_eq!(decode_alaw(0x2a), -32256);
        assert_eq!(decode_alaw(0xd5), 8);
        assert_eq!(decode_alaw(0x55), -8);
        for byte in 0..=255u8 {
            assert_eq!(encode_alaw(decode_alaw(byte)), byte);
        }
    }

    #[test]
    fn ear_knows_a_tone_from_another() {
        let samples: Vec<i16> = (0..10).flat_map(|n| sine(1000.0, 10_000.0, n * 160)).collect();
        assert!(purity(&samples, 1000.0) > 0.99);
        assert!(purity(&samples, 1700.0) < 0.01);
        // 20 log10(10000 / 32767) = -10.3 dB.
        assert!((level_dbfs(&samples) + 10.3).abs() < 0.1);
    }
}
