//! What listening costs, and how often it is wrong.
//!
//! `cargo bench --bench detect` prints the time per frame of each detector, keys that are heard in
//! generated voices and music, and, where espeak-ng is installed, keys, beeps and faxes heard in
//! its speech and the verdicts on generated answers (the table of `docs/amd.md`).

use std::process::Command;
use std::time::Instant;

use branchline::media::detect::answer::{self, Class};
use branchline::media::detect::{Detection, Ear, Finding, beep, digits, voice};
use branchline::media::frame::{Frame, Rate};
use material::Material;

#[path = "../src/media/detect/material.rs"]
mod material;

fn main() {
    // `cargo test --benches` only sees whether it compiles.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    cost();
    talk_off();
    match speech("Hello?", "en-us", 160, 50) {
        Some(_) => {
            spoken_talk_off();
            answers();
        }
        None => println!("espeak-ng is not installed: no spoken material"),
    }
}

fn cost() {
    let sounds = [
        ("silence", vec![0; 480_000]),
        ("speech", Material::new(8000, 1).speech(60_000, -20.0).samples()),
        ("keys", material::Dialled::default().samples(&"1234567890".repeat(75), 1)),
    ];
    println!("{:10} {:>12} {:>12} {:>12}  ns per frame of 20 ms", "", "keys", "voice", "the rest");
    for (name, samples) in &sounds {
        let frames = samples.len() / 160;
        let mut digits = digits::Detector::new();
        let begin = Instant::now();
        let keys = samples.chunks(160).filter(|c| digits.feed(c.iter().copied()).is_some()).count();
        let for_keys = begin.elapsed().as_nanos() / frames as u128;
        let frames: Vec<Frame> = cut(samples).collect();
        let mut voice = voice::Detector::default();
        let begin = Instant::now();
        let changes = frames.iter().filter(|frame| voice.feed(frame).is_some()).count();
        let for_voice = begin.elapsed().as_nanos() / frames.len() as u128;
        let mut ear = Ear::default();
        ear.listen_for(Detection::Fax);
        let begin = Instant::now();
        let faxes = frames.iter().flat_map(|frame| ear.hear(frame)).count();
        let for_ear = begin.elapsed().as_nanos() / frames.len() as u128;
        println!(
            "{name:10} {for_keys:12} {for_voice:12} {for_ear:12}  ({keys} keys, {changes} changes, {faxes} faxes)"
        );
    }
}

fn talk_off() {
    let count = |name: &str, make: &dyn Fn(u64) -> Material| {
        let (mut keys, mut seconds) = (0, 0);
        for seed in 0..120 {
            let samples = make(seed).samples();
            keys += keys_in(&samples);
            seconds += samples.len() / 8000;
        }
        let hours = seconds as f64 / 3600.0;
        println!("{name:28} {hours:5.1} h  {:6.2} keys per hour", keys as f64 / hours);
    };
    count("generated voices", &|seed| Material::new(8000, seed).speech(60_000, -20.0));
    count("music of one voice", &|seed| Material::new(8000, seed).music(60_000, 1, -20.0));
    count("music of three voices", &|seed| Material::new(8000, seed).music(60_000, 3, -20.0));
    count("noise", &|seed| Material::new(8000, seed).noise(60_000, -15.0));
}

fn spoken_talk_off() {
    let mut random = fastrand::Rng::with_seed(1);
    let (mut keys, mut beeps, mut faxes, mut seconds) = (0, 0, 0, 0);
    for _ in 0..40 {
        let text: Vec<&str> = (0..50).map(|_| SENTENCES[random.usize(..SENTENCES.len())]).collect();
        let voice = format!(
            "{}{}",
            LANGUAGES[random.usize(..LANGUAGES.len())],
            VARIANTS[random.usize(..VARIANTS.len())]
        );
        let Some(samples) =
            speech(&text.join(" "), &voice, random.u32(120..220), random.u32(10..95))
        else {
            continue;
        };
        keys += keys_in(&samples);
        let mut ear = Ear::default();
        ear.listen_for(Detection::Fax);
        ear.listen_for(Detection::Beep(beep::Settings::default()));
        for frame in cut(&samples) {
            for finding in ear.hear(&frame) {
                match finding {
                    Finding::Beep(_) => {
                        beeps += 1;
                        ear.listen_for(Detection::Beep(beep::Settings::default()));
                    }
                    Finding::Fax(_) => faxes += 1,
                    Finding::Answer(_) => {}
                }
            }
        }
        seconds += samples.len() / 8000;
    }
    let hours = seconds as f64 / 3600.0;
    println!(
        "{:28} {hours:5.1} h  {:6.2} keys, {:.2} beeps, {:.2} faxes per hour",
        "espeak-ng, many voices",
        f64::from(keys) / hours,
        f64::from(beeps) / hours,
        f64::from(faxes) / hours
    );
}

/// The confusion table of generated answers.
fn answers() {
    println!(
        "\n{:44} {:>6} {:>8} {:>10} {:>8} {:>9}",
        "who answers", "calls", "human", "voicemail", "timeout", "median s"
    );
    for (name, kind) in KINDS {
        let mut random = fastrand::Rng::with_seed(kind as u64 + 1);
        let mut verdicts = [0usize; 3];
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let samples = answer(kind, &mut random);
            let (at, class) = verdict(&samples);
            times.push(at);
            verdicts[match class {
                Class::Human => 0,
                Class::Voicemail => 1,
                Class::TimedOut => 2,
            }] += 1;
        }
        times.sort_unstable();
        let share = |place: usize| 100.0 * verdicts[place] as f64 / CALLS as f64;
        println!(
            "{name:44} {CALLS:6} {:7.1}% {:9.1}% {:7.1}% {:9.2}",
            share(0),
            share(1),
            share(2),
            times[CALLS / 2] as f64 / 1000.0
        );
    }
}

fn verdict(samples: &[i16]) -> (usize, Class) {
    let mut ear = Ear::default();
    ear.listen_for(Detection::Answer(answer::Settings::default()));
    for (place, frame) in cut(samples).enumerate() {
        if let Some(Finding::Answer(verdict)) = ear.hear(&frame).next() {
            return (place * 20, verdict.class);
        }
    }
    (samples.len() / 8, Class::TimedOut)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Person,
    NoisyPerson,
    TalkativePerson,
    Business,
    Voicemail,
    ShortVoicemail,
    NoisyVoicemail,
    MusicVoicemail,
    Ringing,
    Silence,
}

const KINDS: [(&str, Kind); 10] = [
    ("person: a word or two", Kind::Person),
    ("person: the same in a noisy room", Kind::NoisyPerson),
    ("person: name and greeting, up to 2.5 s", Kind::TalkativePerson),
    ("business: company, name, how may I help", Kind::Business),
    ("voicemail: two sentences and more, beep", Kind::Voicemail),
    ("voicemail: one short sentence, beep", Kind::ShortVoicemail),
    ("voicemail: two sentences, noisy line", Kind::NoisyVoicemail),
    ("voicemail: music under the greeting", Kind::MusicVoicemail),
    ("nobody: the network rings on", Kind::Ringing),
    ("nobody: silence or noise", Kind::Silence),
];

/// The sound of an answer from the moment of the connection, 14 s and more.
fn answer(kind: Kind, random: &mut fastrand::Rng) -> Vec<i16> {
    let lead = random.usize(150..1200);
    let quiet = -70.0 + 15.0 * random.f64();
    let (texts, noise): (&[&str], f64) = match kind {
        Kind::Person => (HELLOS, quiet),
        Kind::NoisyPerson => (HELLOS, -45.0 + 7.0 * random.f64()),
        Kind::TalkativePerson => (GREETINGS, quiet),
        Kind::Business => (BUSINESSES, quiet),
        Kind::Voicemail | Kind::MusicVoicemail => (VOICEMAILS, quiet),
        Kind::NoisyVoicemail => (VOICEMAILS, -45.0 + 7.0 * random.f64()),
        Kind::ShortVoicemail => (SHORT_VOICEMAILS, quiet),
        Kind::Ringing | Kind::Silence => (&[""], quiet),
    };
    let text = texts[random.usize(..texts.len())];
    let language = ["en-us", "en-gb", "en-gb-scotland"][random.usize(..3)];
    let voice = format!("{language}{}", VARIANTS[random.usize(..VARIANTS.len())]);
    let spoken = match text {
        "" => Vec::new(),
        text => speech(text, &voice, random.u32(130..200), random.u32(15..85)).unwrap_or_default(),
    };
    let level = 10f64.powf((-6.0 - 14.0 * random.f64()) / 20.0);
    let seed = random.u64(..);
    let line = Material::new(8000, seed);
    let line = match kind {
        Kind::Ringing => (0..4).fold(line.silence(random.usize(0..2000)), |line, _| {
            line.tones(1000, &[(425.0, -18.0)]).silence(4000)
        }),
        _ => line.silence(lead).sound(&spoken, level),
    };
    let is_voicemail = matches!(
        kind,
        Kind::Voicemail | Kind::ShortVoicemail | Kind::NoisyVoicemail | Kind::MusicVoicemail
    );
    let line = if is_voicemail {
        let hertz = [440.0, 800.0, 1000.0, 1400.0, 2000.0][random.usize(..5)];
        line.silence(random.usize(150..900)).tone(random.usize(150..900), hertz, -15.0)
    } else {
        line
    };
    let line = line.silence(14_000).over_noise(noise);
    if kind != Kind::MusicVoicemail {
        return line.samples();
    }
    let mut samples = line.samples();
    let length = (lead + spoken.len() / 8).min(samples.len() / 8);
    let music = Material::new(8000, seed).music(length, 3, -32.0).samples();
    for (sample, music) in samples.iter_mut().zip(music) {
        *sample = sample.saturating_add(music);
    }
    samples
}

fn keys_in(samples: &[i16]) -> u32 {
    let mut detector = digits::Detector::new();
    samples.chunks(160).map(|part| u32::from(detector.feed(part.iter().copied()).is_some())).sum()
}

fn cut(samples: &[i16]) -> impl Iterator<Item = Frame> {
    samples.chunks_exact(160).map(|part| {
        let mut frame = Frame::silence(Rate::Narrow);
        frame.samples_mut().copy_from_slice(part);
        frame
    })
}

/// What espeak-ng says, at 8000 Hz with its highest sample at full scale.
fn speech(text: &str, voice: &str, speed: u32, pitch: u32) -> Option<Vec<i16>> {
    let output = Command::new("espeak-ng")
        .args(["-v", voice, "-s", &speed.to_string(), "-p", &pitch.to_string(), "--stdout", text])
        .output()
        .ok()?;
    // A header of 44 bytes, then samples of 22,050 Hz.
    let samples: Vec<f64> = output
        .stdout
        .get(44..)?
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f64::from(i16::from_le_bytes(*bytes)))
        .collect();
    let peak = samples.iter().fold(1.0f64, |peak, sample| peak.max(sample.abs()));
    // 441 samples become 160; the kernels of 160 places come back again and again.
    let kernels: Vec<[f64; 2 * TAPS]> = (0..160).map(kernel).collect();
    let resample = |place: usize| {
        let first = place * 441 / 160;
        let near = samples.get(first.saturating_sub(TAPS)..).unwrap_or_default();
        let sum: f64 = near.iter().zip(&kernels[place % 160]).map(|(one, two)| one * two).sum();
        (sum / peak * 30_000.0) as i16
    };
    Some((0..samples.len() * 160 / 441).map(resample).collect())
}

/// A windowed sinc that passes 3.4 kHz, around a place between the samples.
fn kernel(place: usize) -> [f64; 2 * TAPS] {
    let part = (place * 441 % 160) as f64 / 160.0;
    std::array::from_fn(|tap| {
        let distance = tap as f64 - TAPS as f64 - part;
        let angle = std::f64::consts::PI * distance * 6800.0 / 22_050.0;
        let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
        let window = 0.5 + 0.5 * (std::f64::consts::PI * distance / (TAPS + 1) as f64).cos();
        sinc * window * 6800.0 / 22_050.0
    })
}

const TAPS: usize = 24;
const CALLS: usize = 200;
const LANGUAGES: [&str; 10] = ["en-us", "en-gb", "de", "fr-fr", "es", "it", "ru", "pl", "sv", "tr"];
const VARIANTS: [&str; 12] =
    ["", "+m1", "+m2", "+m3", "+m5", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5", "+croak"];
const SENTENCES: &[&str] = &[
    "The quick brown fox jumps over the lazy dog.",
    "Please call me back at seven five five, one two three.",
    "We are unable to take your call at the moment.",
    "How much wood would a woodchuck chuck?",
    "Our office is open from Monday to Friday, nine to five.",
    "She sells sea shells by the sea shore.",
    "I think we should meet in the afternoon, perhaps at four.",
    "Nobody knows how many people will come to the meeting.",
    "Yesterday it rained all day and the road was closed.",
    "You may change the settings whenever you like.",
];
const HELLOS: &[&str] = &[
    "Hello?",
    "Yes?",
    "Hi.",
    "Hello, hello?",
    "Yeah, hello?",
    "Speaking.",
    "Hello, who is this?",
    "Good morning.",
    "Smith.",
    "Hello, John here.",
    "Anna Miller.",
    "Yes please?",
];
const GREETINGS: &[&str] = &[
    "Hello, this is John Smith speaking.",
    "Good morning, Anna Miller here.",
    "Hi, you are speaking with Peter.",
    "Yes, hello, this is Mary, who is calling?",
    "Miller residence, good evening.",
];
const BUSINESSES: &[&str] = &[
    "Good morning, Acme corporation, my name is Anna, how may I help you?",
    "Thank you for calling the Riverside hotel, this is Peter, how can I help you today?",
    "Doctor Miller's office, good afternoon, what can I do for you?",
];
const VOICEMAILS: &[&str] = &[
    "Hi, you have reached John Smith. I can not take your call right now. Please leave a message after the tone and I will call you back.",
    "Hello. Nobody is available to take your call. Please leave a message after the beep.",
    "The person you have called is not available. At the tone, please record your message. When you have finished recording, you may hang up.",
    "Your call has been forwarded to an automatic voice message system. Five five five, one two three four, is not available.",
    "You have reached the voicemail of Acme corporation. Our office is closed. Please leave your name and number.",
    "Hey, it's Mary. Leave me a message and I will get back to you as soon as I can. Thanks, bye.",
];
const SHORT_VOICEMAILS: &[&str] = &[
    "This is John, leave a message.",
    "Leave a message after the beep.",
    "Please speak after the tone.",
    "Hi, it's Anna, please leave a message.",
];
