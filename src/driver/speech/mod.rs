//! Text to speech by a program of the machine: espeak-ng, pico2wave, flite, or a command of the
//! config.
//!
//! What was spoken once is read from the disk. Pitch, volume and emotion of TTSOptions are **not**
//! supported; rate is.

mod cache;
mod engine;
mod ssml;
mod voice;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::cache::SpeechCache;
use self::engine::{Engine, OUT, Utterance};
use self::voice::Voice;
use super::process::{self, Failure, Job};
use crate::config::Tts;
use crate::media::clip::Clip;
use crate::scenario::command::Speech;
use crate::stats;

/// Speaks texts, one per thread that calls it.
#[derive(Debug)]
pub struct Speaker {
    /// The error is for the script.
    engine: Result<Engine, String>,
    cache: SpeechCache,
    time: Duration,
    decode: Decode,
    /// Of one speech.
    most_bytes: u64,
}

/// A WAV file as a clip.
pub type Decode = fn(&[u8]) -> Result<Clip, String>;

/// What a text becomes, and what tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    utterance: Utterance,
    /// SHA-256 of program, arguments and text, in hexadecimal.
    pub key: String,
}

impl Speaker {
    /// Looks for the engine in `path`, the environment's; warns once where there is none.
    pub fn new(tts: &Tts, data_dir: &Path, path: &OsStr, decode: Decode, most_bytes: u64) -> Self {
        let engine = Engine::find(tts, path);
        match &engine {
            Ok(engine) => log::info!("texts are spoken by {}", engine.program.display()),
            Err(error) => log::warn!("{error}"),
        }
        let cache = SpeechCache::new(data_dir.join("tts"), tts.cache_bytes, most_bytes);
        Self { engine, cache, time: SPEAKING, decode, most_bytes }
    }

    /// How to speak this. Waits: the engine may be asked what it has.
    ///
    /// # Errors
    /// For the script: no engine, or a text that is too long.
    pub fn prepare(&self, speech: &Speech) -> Result<Spoken, String> {
        let engine = self.engine.as_ref().map_err(Clone::clone)?;
        if speech.text.chars().nth(MOST_CHARACTERS).is_some() {
            return Err(format!("the text is longer than {MOST_CHARACTERS} characters"));
        }
        // A NUL ends an argument, and no engine speaks it.
        let text = ssml::plain(&speech.text).replace('\0', " ");
        let utterance = engine.utterance(&text, &Voice::parse(&speech.voice), speech.rate);
        let key = key(&utterance);
        Ok(Spoken { utterance, key })
    }

    /// The sound of it, from the disk or from the engine. Waits for seconds.
    ///
    /// # Errors
    /// For the script: what the engine could not do.
    pub fn speak(&self, spoken: &Spoken) -> Result<Clip, String> {
        let kept = alone(|| self.cache.find(&spoken.key).map(|bytes| (self.decode)(&bytes)));
        match kept {
            None => {}
            Some(Ok(clip)) if !clip.is_empty() => return Ok(clip),
            Some(_) => self.cache.forget(&spoken.key),
        }
        self.synthesise(spoken).inspect_err(|error| {
            stats::SPEECH_FAILURES.add(1);
            log::error!("{}: {error}", spoken.utterance.program.display());
        })
    }

    fn synthesise(&self, spoken: &Spoken) -> Result<Clip, String> {
        let failed = |error: std::io::Error| format!("TTS: {error}");
        let draft = self.cache.draft().map_err(failed)?;
        let file = draft.path().to_str().ok_or("TTS: data_dir is not UTF-8")?;
        let Utterance { program, arguments, input } = &spoken.utterance;
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace(OUT, file)).collect();
        let job =
            Job { program, arguments: &arguments, input, time: self.time, file_bytes: FILE_BYTES };
        let said = process::run(job).map_err(|failure| self.for_script(&failure))?;
        let (clip, file_bytes) = alone(|| {
            let bytes =
                draft.read(self.most_bytes).map_err(|error| match said.errors.as_str() {
                    "" => failed(error),
                    errors => format!("TTS: {errors}"),
                })?;
            let clip = (self.decode)(&bytes).map_err(|error| format!("TTS: {error}"))?;
            Ok::<_, String>((clip, bytes.len() as u64))
        })?;
        if clip.is_empty() {
            return Err("TTS: the engine wrote no sound".into());
        }
        if let Err(error) = self.cache.keep(&spoken.key, draft, file_bytes) {
            log::warn!("{} is not kept: {error}", spoken.key);
        }
        Ok(clip)
    }

    fn for_script(&self, failure: &Failure) -> String {
        match failure {
            Failure::Late(_) => "TTS: Timeout is reached".into(),
            failure => format!("TTS: the engine {failure}"),
        }
    }
}

fn key(utterance: &Utterance) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(utterance.program.as_os_str().as_encoded_bytes());
    for argument in &utterance.arguments {
        // NUL ends each: no argument has one.
        digest.update(&[0]);
        digest.update(argument.as_bytes());
    }
    digest.update(&[0, 0]);
    digest.update(utterance.input.as_bytes());
    data_encoding::HEXLOWER.encode(digest.finish().as_ref())
}

/// Reads and decodes one sound at a time, whatever it is: beside the bytes stand the samples, and
/// the budget has room for one of each.
pub fn alone<T>(decode: impl FnOnce() -> T) -> T {
    static DECODING: Mutex<()> = Mutex::new(());
    // A fault in another sound is none in this one.
    let _alone = DECODING.lock().unwrap_or_else(PoisonError::into_inner);
    decode()
}

/// VoxEngine reference, section 1.6.
const MOST_CHARACTERS: usize = 1500;

/// 1500 characters are some two minutes of speech; a slow machine speaks them in seconds.
pub const SPEAKING: Duration = Duration::from_secs(12);

/// The largest file an engine may write. espeak-ng 1.51 makes room for 64 MiB of memory that it
/// shares with a sound server, even when it writes a file.
const FILE_BYTES: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::super::test_folder::TestFolder;
    use super::*;
    use crate::config::TtsEngine;
    use crate::media::frame::Rate;

    /// The bytes themselves are the samples; "bad" is no sound.
    fn decode(bytes: &[u8]) -> Result<Clip, String> {
        match bytes {
            b"bad" => Err("no WAV file".into()),
            bytes => {
                let samples: Vec<i16> = bytes.iter().copied().map(i16::from).collect();
                Ok(Clip::whole(Rate::Narrow, &samples))
            }
        }
    }

    fn text(clip: Result<Clip, String>) -> Result<String, String> {
        let bytes: Vec<u8> = clip?.samples().iter().map(|sample| *sample as u8).collect();
        Ok(String::from_utf8(bytes).unwrap())
    }

    /// A shell script as the engine; `$1` is the file.
    fn speaker(folder: &TestFolder, script: &str) -> Speaker {
        let command = ["/bin/sh", "-c", script, "{voice}", "{out}"].map(str::to_owned).to_vec();
        let tts = Tts { engine: TtsEngine::Command, command, ..Tts::default() };
        Speaker::new(&tts, &folder.path(""), OsStr::new(""), decode, 1 << 20)
    }

    fn speech(text: &str) -> Speech {
        Speech { text: text.into(), voice: "Default.de_DE_Female".into(), rate: 1.0 }
    }

    fn say(speaker: &Speaker, said: &str) -> Result<String, String> {
        text(speaker.prepare(&speech(said)).and_then(|spoken| speaker.speak(&spoken)))
    }

    #[test]
    fn a_text_is_spoken_once_and_then_read_from_the_disk() {
        let folder = TestFolder::new();
        let count = folder.path("count");
        let script = format!("echo x >> {}; cat > $1; printf -- -$0 >> $1", count.display());
        for _ in 0..2 {
            let speaker = speaker(&folder, &script);
            assert_eq!(say(&speaker, "-Hello").as_deref(), Ok("-Hello-de_DE"));
            assert_eq!(
                say(&speaker, "<speak>-Hel<b>lo</b></speak>").as_deref(),
                Ok("-Hello-de_DE")
            );
        }
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\n");
        assert_eq!(std::fs::read_dir(folder.path("tts")).unwrap().count(), 1);
    }

    #[test]
    fn text_voice_and_rate_tell_texts_apart() {
        let folder = TestFolder::new();
        let speaker = speaker(&folder, "{rate}");
        let key = |text: &str, voice: &str, rate| {
            let speech = Speech { text: text.into(), voice: voice.into(), rate };
            speaker.prepare(&speech).unwrap().key
        };
        let first = key("a", "Default.de_DE_Female", 1.0);
        assert_eq!(first, key("a", "Amazon.de_DE_Marlene", 1.0));
        assert_eq!(first.len(), 64);
        for other in [
            key("b", "Default.de_DE_Female", 1.0),
            key("a", "Default.fr_FR_Female", 1.0),
            key("a", "Default.de_DE_Female", 1.5),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_damaged_file_in_the_cache_is_spoken_again() {
        let folder = TestFolder::new();
        let speaker = speaker(&folder, "cat > $1");
        let spoken = speaker.prepare(&speech("Hello")).unwrap();
        std::fs::create_dir(folder.path("tts")).unwrap();
        for damaged in ["bad", ""] {
            let path = folder.path(format!("tts/{}.wav", spoken.key));
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(text(speaker.speak(&spoken)).as_deref(), Ok("Hello"));
            assert_eq!(std::fs::read_to_string(path).unwrap(), "Hello");
        }
    }

    #[test]
    fn an_engine_that_fails_is_told_with_what_it_said() {
        let folder = TestFolder::new();
        let error = |script: &str| say(&speaker(&folder, script), "Hello").unwrap_err();
        assert_eq!(
            error("echo no such voice >&2; exit 1"),
            "TTS: the engine ended with exit status: 1: no such voice"
        );
        assert_eq!(error("echo 'cannot write' >&2"), "TTS: cannot write");
        assert_eq!(error("printf bad > $1"), "TTS: no WAV file");
        assert_eq!(error(": > $1"), "TTS: the engine wrote no sound");
        assert_eq!(std::fs::read_dir(folder.path("tts")).unwrap().count(), 0);
    }

    #[test]
    fn an_engine_that_hangs_is_ended() {
        let folder = TestFolder::new();
        let speaker = Speaker { time: Duration::from_millis(50), ..speaker(&folder, "sleep 1000") };
        assert_eq!(say(&speaker, "Hello"), Err("TTS: Timeout is reached".into()));
    }

    #[test]
    fn texts_have_1500_characters_at_most() {
        let folder = TestFolder::new();
        let speaker = speaker(&folder, "cat > $1");
        assert!(speaker.prepare(&speech(&"ä".repeat(1500))).is_ok());
        let error = speaker.prepare(&speech(&"ä".repeat(1501))).unwrap_err();
        assert_eq!(error, "the text is longer than 1500 characters");
    }

    #[test]
    fn without_an_engine_the_script_learns_what_to_install() {
        let folder = TestFolder::new();
        let speaker = Speaker::new(
            &Tts::default(),
            &folder.path(""),
            OsStr::new("/nonexistent"),
            decode,
            1 << 20,
        );
        let error = say(&speaker, "Hello").unwrap_err();
        assert!(error.starts_with("TTS is not configured: install espeak-ng"), "{error}");
    }

    #[test]
    fn espeak_speaks_when_it_is_installed() {
        speaks(TtsEngine::EspeakNg, "espeak-ng");
    }

    #[test]
    fn flite_speaks_when_it_is_installed() {
        speaks(TtsEngine::Flite, "flite");
    }

    /// With the real program where the machine has it, as calls hear it.
    fn speaks(engine: TtsEngine, name: &str) {
        let folder = TestFolder::new();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tts = Tts { engine, ..Tts::default() };
        let read = crate::driver::sounds::decode_whole;
        let speaker = Speaker::new(&tts, &folder.path(""), &path, read, 10 << 20);
        let clip = |rate| {
            let text = "-w is spoken, not obeyed. One, two, three.".into();
            let speech = Speech { text, voice: "Amazon.en_US_Joanna".into(), rate };
            speaker.prepare(&speech).and_then(|spoken| speaker.speak(&spoken))
        };
        let slow = match clip(1.0) {
            Ok(clip) => clip,
            Err(error) => {
                return assert!(error.contains(&format!("{name} is not installed")), "{error}");
            }
        };
        let seconds = |clip: &Clip| clip.len() as f32 / clip.rate().hertz() as f32;
        assert!((2.0..8.0).contains(&seconds(&slow)), "{} s", seconds(&slow));
        // RMS of speech at a usual level: above -30 dBFS.
        let square = |sample: &i16| f64::from(*sample) * f64::from(*sample);
        let power = slow.samples().iter().map(square).sum::<f64>() / slow.len() as f64;
        assert!(power.sqrt() > 1036.0, "{}", power.sqrt());
        let fast = clip(1.5).unwrap();
        // Pauses are not shortened as much as words.
        assert!((0.5..0.9).contains(&(seconds(&fast) / seconds(&slow))));
    }
}
