//! Every format, whole, in drops and damaged.

use std::io::Read;

use super::*;

/// A file of `tests/data/sounds`.
fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/sounds/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Rate and samples.
fn decoded(bytes: &[u8]) -> Result<(u32, Vec<i16>), Error> {
    let mut sound = Sound::open(bytes, Some(bytes.len() as u64))?;
    let mut samples = Vec::new();
    loop {
        let before = samples.len();
        sound.read(&mut samples)?;
        assert!(samples.len() - before <= MOST_SAMPLES);
        if samples.len() == before {
            return Ok((sound.hertz(), samples));
        }
    }
}

/// One to seven bytes at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = (self.0.len() % 7 + 1).min(self.0.len()).min(out.len());
        let (now, later) = self.0.split_at(length);
        out[..length].copy_from_slice(now);
        self.0 = later;
        Ok(length)
    }
}

/// Level of one frequency in dB below full scale, over whole periods.
fn level(samples: &[i16], hertz: u32, tone: f64) -> f64 {
    let angle = std::f64::consts::TAU * tone / f64::from(hertz);
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        real += f64::from(sample) * (angle * n as f64).cos();
        imaginary += f64::from(sample) * (angle * n as f64).sin();
    }
    let amplitude = real.hypot(imaginary) * 2.0 / samples.len() as f64;
    20.0 * (amplitude / 32_768.0).log10()
}

/// Level of everything.
fn power(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    10.0 * (2.0 * sum / samples.len() as f64 / 32_768f64.powi(2)).log10()
}

/// Each holds 1000 Hz at -10 dBFS for a quarter of a second on every channel.
const TONES: &[(&str, u32)] = &[
    ("pcm8.wav", 8000),
    ("pcm16.wav", 8000),
    ("pcm16-stereo.wav", 11_025),
    ("pcm24.wav", 16_000),
    ("pcm32.wav", 8000),
    ("float32.wav", 16_000),
    ("float64.wav", 8000),
    ("alaw.wav", 8000),
    ("mulaw.wav", 8000),
    ("piped.wav", 8000),
    ("cbr128-stereo.mp3", 44_100),
    ("cbr64.mp3", 24_000),
    ("vbr-tagged.mp3", 44_100),
    ("mpeg25.mp3", 8000),
    ("mono16.flac", 16_000),
    ("stereo24.flac", 32_000),
    ("mono.opus", 48_000),
    ("stereo60ms.opus", 48_000),
];

#[test]
fn every_format_sounds_as_it_was_made() {
    for &(name, hertz) in TONES {
        let (rate, samples) = decoded(&data(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(rate, hertz, "{name}");
        let length = hertz as usize / 4;
        // An MP3 without a tag has a frame or two of its encoder's delay and padding.
        assert!((length..length + 3500).contains(&samples.len()), "{name}: {}", samples.len());
        let middle = &samples[samples.len() / 2..][..hertz as usize / 20];
        let tone = level(middle, hertz, 1000.0);
        // LAME turns it down by 5 % at a constant bit rate.
        assert!((tone + 10.0).abs() < 0.5, "{name}: {tone} dBFS");
        // Nothing else: the coarsest has 8 bits.
        assert!((power(middle) - tone).abs() < 0.1, "{name}: {}", power(middle));
    }
}

#[test]
fn lossless_formats_are_exact() {
    let (_, expected) = decoded(&data("pcm24.wav")).unwrap();
    // 16 bits are the upper ones of 24, but for the rounding of the encoder's input.
    let (_, flac) = decoded(&data("mono16.flac")).unwrap();
    assert_eq!(flac.len(), expected.len());
    assert!(flac.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 1));
}

#[test]
fn tagged_mp3_has_the_length_and_phase_of_what_was_encoded() {
    let (hertz, samples) = decoded(&data("vbr-tagged.mp3")).unwrap();
    assert_eq!(samples.len(), 11_025);
    // The tone begins with a rising zero crossing.
    let angle = std::f64::consts::TAU * 1000.0 / f64::from(hertz);
    for (n, &sample) in samples.iter().enumerate().skip(1500).take(8000) {
        let expected = 32_768.0 * 10f64.powf(-0.5) * (angle * n as f64).sin();
        assert!((f64::from(sample) - expected).abs() < 400.0, "{n}: {sample} {expected}");
    }
}

#[test]
fn opus_has_the_length_that_its_last_page_says_and_the_gain_of_its_head() {
    let file = data("mono.opus");
    let (_, plain) = decoded(&file).unwrap();
    assert_eq!(plain.len(), 12_000);
    // 6.02 dB more, which is 1541 in 1/256 dB; the head is on the first page, whose checksum is
    // at 22.
    let mut louder = file.clone();
    let head = 28;
    louder[head + 16..head + 18].copy_from_slice(&1541i16.to_le_bytes());
    let sum = ogg::checksum(&louder[..head + 19]);
    louder[22..26].copy_from_slice(&sum.to_le_bytes());
    let (_, louder) = decoded(&louder).unwrap();
    for (plain, louder) in plain.iter().zip(louder) {
        assert!((i32::from(*plain) * 2 - i32::from(louder)).abs() <= 20, "{plain} {louder}");
    }
}

#[test]
fn a_page_of_ogg_that_is_damaged_or_of_another_stream_is_passed_over() {
    let file = data("mono.opus");
    let (_, whole) = decoded(&file).unwrap();
    // The third page holds all of the sound; a page of a stream of another number before it.
    let pages: Vec<usize> =
        (0..file.len() - 4).filter(|&at| file[at..].starts_with(b"OggS")).collect();
    let mut other = file[pages[2]..].to_vec();
    other[14] ^= 1;
    let sum = ogg::checksum(&other);
    other[22..26].copy_from_slice(&sum.to_le_bytes());
    let mixed = [&file[..pages[2]], &other, b"junk", &file[pages[2]..]].concat();
    assert_eq!(decoded(&mixed).unwrap().1, whole);
    let mut damaged = file.clone();
    damaged[pages[2] + 60] ^= 1;
    assert_eq!(decoded(&damaged).unwrap().1, []);
}

#[test]
fn expected_length_is_told_before_the_end() {
    for &(name, hertz) in TONES {
        let file = data(name);
        let sound = Sound::open(&file[..], Some(file.len() as u64)).unwrap();
        if name.ends_with(".opus") {
            continue;
        }
        let expected = sound.expected().unwrap_or_else(|| panic!("{name} tells nothing"));
        let samples = decoded(&file).unwrap().1.len() as u64;
        assert!(
            expected.abs_diff(samples) <= u64::from(hertz) / 10,
            "{name}: {expected} {samples}"
        );
    }
}

#[test]
fn it_does_not_matter_how_bytes_come() {
    for &(name, _) in TONES {
        let file = data(name);
        let (_, whole) = decoded(&file).unwrap();
        let mut sound = Sound::open(Drops(&file), None).unwrap();
        let mut samples = Vec::new();
        loop {
            let before = samples.len();
            sound.read(&mut samples).unwrap();
            if samples.len() == before {
                break;
            }
        }
        assert_eq!(samples, whole, "{name}");
    }
}

#[test]
fn first_samples_come_before_the_rest_of_the_file() {
    for &(name, hertz) in TONES {
        let file = data(name);
        // An eighth of a second of MP3 at 128 kbit/s, and of PCM at 32 kB/s.
        let part = &file[..file.len().min(5000)];
        let mut sound = Sound::open(part, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut samples = Vec::new();
        sound.read(&mut samples).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(samples.len() as u32 * 1000 > hertz, "{name}: {}", samples.len());
    }
}

#[test]
fn a_name_that_says_otherwise_does_not_matter_and_what_is_no_sound_is_named() {
    let error = |bytes: &[u8]| decoded(bytes).unwrap_err().to_string();
    assert_eq!(error(b""), "the file is empty");
    assert!(error(b"GIF89a, say").starts_with("the file is no sound: WAV, MP3"));
    assert!(error(b"<!doctype html>").starts_with("HTML: it is not supported"));
    assert!(error(b"\0\0\0\x20ftypM4A ").starts_with("MP4: it is not supported"));
    let vorbis = b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0____\x01\x07\x01vorbis";
    let mut vorbis = vorbis.to_vec();
    let sum = ogg::checksum(&vorbis);
    vorbis[22..26].copy_from_slice(&sum.to_le_bytes());
    assert!(error(&vorbis).starts_with("Ogg: Vorbis is not supported: WAV"));
    assert!(error(b"ID3\x04\0\0\0\0\0\0").starts_with("the file is empty"));
}

#[test]
fn no_claim_of_a_file_makes_room_for_more_than_it_has() {
    // FLAC whose picture claims 16 MiB, WAV whose LIST claims 4 GiB, ID3 of 256 MiB.
    let mut flac = data("mono16.flac")[..42].to_vec();
    flac[4] &= 0x7f;
    flac.extend([0x06, 0xff, 0xff, 0xff, 1, 2, 3]);
    let wav = b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\xff\xffabc";
    let id3 = b"ID3\x04\0\0\x7f\x7f\x7f\x7fabc";
    for file in [&flac[..], wav, id3] {
        assert!(decoded(file).is_err());
    }
}

#[test]
fn damaged_and_truncated_files_never_panic() {
    let mut random = fastrand::Rng::with_seed(4);
    for &(name, _) in TONES {
        let whole = data(name);
        for _ in 0..60 {
            let mut damaged = whole.clone();
            damaged.truncate(random.usize(..=whole.len()));
            for _ in 0..random.usize(1..8) {
                // Half of them in the headers.
                let end = if random.bool() { 64 } else { damaged.len() }.min(damaged.len());
                if let Some(byte) = damaged[..end].get_mut(random.usize(..end.max(1))) {
                    *byte = random.u8(..);
                }
            }
            // Any answer will do.
            let _ = decoded(&damaged);
        }
    }
}
