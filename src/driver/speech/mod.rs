//! Text to speech by a program of the machine: espeak-ng, pico2wave, flite, or a command of the
//! config.
//!
//! What is spoken is played while the engine still speaks, where it can; what was spoken once is
//! read from the disk. Emotion and effects of TTSOptions are **not** supported.

mod cache;
mod engine;
mod ssml;
mod voice;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use self::cache::SpeechCache;
use self::engine::{Engine, OUT, Utterance};
use self::voice::Voice;
use super::process::{self, Failure, Job, Talk};
use super::sounds::{Abandoned, Begun, Bounded, ClipCache, Keeping, read};
use crate::config::Tts;
use crate::media::frame::Rate;
use crate::scenario::command::Speech;
use crate::stats;

/// Speaks texts, one per thread that calls it.
#[derive(Debug)]
pub struct Speaker {
    /// The error is for the script.
    engine: Result<Engine, String>,
    cache: SpeechCache,
    /// In which an engine must begin, and go on.
    pause: Duration,
    keeping: Keeping,
}

/// What a text becomes, and what tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    utterance: Utterance,
    /// SHA-256 of program, arguments and text, in hexadecimal.
    pub key: String,
}

impl Speaker {
    /// Looks for the engine in `path`, the environment's; warns once where there is none.
    pub fn new(tts: &Tts, data_dir: &Path, path: &OsStr, keeping: Keeping) -> Self {
        let engine = Engine::find(tts, path);
        match &engine {
            Ok(engine) => log::info!("texts are spoken by {}", engine.program.display()),
            Err(error) => log::warn!("{error}"),
        }
        let folder = data_dir.join("tts");
        let cache = SpeechCache::new(folder, tts.cache_bytes, keeping.most_bytes as u64);
        // Voices speak at 16,000 to 24,000 Hz: the highest rate would triple the memory for what a
        // telephone hardly carries.
        let keeping = Keeping { most_rate: keeping.most_rate.min(Rate::Wide), ..keeping };
        Self { engine, cache, pause: PAUSE, keeping }
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
        let text = speech.text.replace('\0', " ");
        let utterance = engine.utterance(&text, &Voice::parse(&speech.voice), speech.rate);
        let key = key(&utterance);
        Ok(Spoken { utterance, key })
    }

    /// The sound of it, from the disk or from the engine; `begin` gets it when it can be played.
    /// Waits for as long as the engine speaks.
    ///
    /// # Errors
    /// For the script: what the engine could not do.
    pub fn speak(
        &self,
        clips: &ClipCache,
        spoken: &Spoken,
        begin: &mut dyn FnMut(Begun),
    ) -> Result<(), String> {
        if let Some((file, bytes)) = self.cache.find(&spoken.key) {
            let mut has_begun = false;
            let result = self.read(clips, file, Some(bytes), &mut |begun| {
                has_begun = true;
                begin(begun);
            });
            if result.is_ok() {
                return result;
            }
            self.cache.forget(&spoken.key);
            if has_begun {
                return result;
            }
        }
        self.synthesise(clips, spoken, begin).inspect_err(|error| {
            stats::SPEECH_FAILURES.add(1);
            log::error!("{}: {error}", spoken.utterance.program.display());
        })
    }

    fn synthesise(
        &self,
        clips: &ClipCache,
        spoken: &Spoken,
        begin: &mut dyn FnMut(Begun),
    ) -> Result<(), String> {
        let failed = |error: io::Error| format!("TTS: {error}");
        let mut draft = self.cache.draft().map_err(failed)?;
        let file = draft.path().to_str().ok_or("TTS: data_dir is not UTF-8")?;
        let Utterance { program, arguments, input } = &spoken.utterance;
        let writes_file = arguments.iter().any(|argument| argument.contains(OUT));
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace(OUT, file)).collect();
        let time = if writes_file { self.pause } else { SPEAKING };
        let job = Job { program, arguments: &arguments, input, time, file_bytes: FILE_BYTES };
        if writes_file {
            let said = process::run(job).map_err(|failure| for_script(&failure))?;
            let (file, bytes) = draft.open().map_err(|error| match said.errors.as_str() {
                "" => failed(error),
                errors => format!("TTS: {errors}"),
            })?;
            self.read(clips, file, Some(bytes), begin)?;
        } else {
            let mut talk = Talk::start(job, self.pause).map_err(|failure| for_script(&failure))?;
            let copy = draft.create().map_err(failed)?;
            let mut tee = Tee { talk: &mut talk, copy, has_spoken: false, is_late: false };
            let read = self.read(clips, &mut tee, None, begin);
            let Tee { has_spoken, is_late, .. } = tee;
            match read {
                // Dropped, it ends.
                Err(_) if is_late => return Err(for_script(&Failure::Late(self.pause))),
                Err(error) if has_spoken => return Err(error),
                // Why there is no sound, where it says so.
                Err(error) => match talk.finish() {
                    Err(failure) => return Err(for_script(&failure)),
                    Ok(said) if said.is_empty() => return Err(error),
                    Ok(said) => return Err(format!("TTS: {said}")),
                },
                Ok(()) => drop(talk.finish().map_err(|failure| for_script(&failure))?),
            }
        }
        if let Err(error) = self.cache.keep(&spoken.key, draft) {
            log::warn!("{} is not kept: {error}", spoken.key);
        }
        Ok(())
    }

    /// A sound that is not empty.
    fn read(
        &self,
        clips: &ClipCache,
        file: impl Read,
        bytes: Option<u64>,
        begin: &mut dyn FnMut(Begun),
    ) -> Result<(), String> {
        let mut is_empty = false;
        let file = Bounded::new(file, self.keeping.most_bytes);
        let read = read(clips, self.keeping, file, bytes, Abandoned::Finish, |begun| {
            is_empty = begun.clip.is_empty();
            if !is_empty {
                begin(begun);
            }
        });
        read.map_err(|error| format!("TTS: {error}"))?;
        match is_empty {
            true => Err("TTS: the engine wrote no sound".into()),
            false => Ok(()),
        }
    }
}

/// What an engine says, and a copy of it for the next time.
struct Tee<'a> {
    talk: &'a mut Talk,
    copy: File,
    has_spoken: bool,
    is_late: bool,
}

impl Read for Tee<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.talk.read(out).inspect_err(|error| {
            self.is_late = error.kind() == io::ErrorKind::TimedOut;
        })?;
        self.has_spoken |= read > 0;
        self.copy.write_all(out.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

fn for_script(failure: &Failure) -> String {
    match failure {
        Failure::Late(_) => "TTS: Timeout is reached".into(),
        failure => format!("TTS: the engine {failure}"),
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

/// VoxEngine reference, section 1.6.
const MOST_CHARACTERS: usize = 1500;

/// An engine that can't be heard while it speaks must have spoken by then, another begun.
const PAUSE: Duration = Duration::from_secs(12);
/// 1500 characters are some two minutes of speech, and no engine of use is slower than that.
const SPEAKING: Duration = Duration::from_secs(180);

/// The largest file an engine may write. espeak-ng 1.51 makes room for 64 MiB of memory that it
/// shares with a sound server, even when it writes a file.
const FILE_BYTES: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::super::test_folder::TestFolder;
    use super::*;
    use std::sync::Arc;

    use crate::config::TtsEngine;
    use crate::media::clip::Clip;

    const KEEPING: Keeping =
        Keeping { most_rate: Rate::Wide, most_samples: 1 << 20, most_bytes: 1 << 20 };

    /// `wav` puts a header of 8-bit samples before its input: letters are samples.
    const WAV: &str = r"wav() { printf 'RIFF\377\377\377\377WAVEfmt \020\0\0\0\1\0\1\0\100\037\0\0\100\037\0\0\1\0\010\0data\377\377\377\377'; cat; }; ";

    fn text(clip: &Clip) -> String {
        let letter = |sample: i16| ((sample >> 8) + 128) as u8 as char;
        clip.samples().into_iter().map(letter).collect()
    }

    /// A shell script as the engine; `$0` is the voice, `$1` the file.
    fn speaker(folder: &TestFolder, script: &str) -> Speaker {
        speaker_with(folder, script, &["{voice}", "{out}"])
    }

    fn speaker_with(folder: &TestFolder, script: &str, arguments: &[&str]) -> Speaker {
        let command = ["/bin/sh".into(), "-c".into(), format!("{WAV}{script}")];
        let command = command.into_iter().chain(arguments.iter().map(|&own| own.to_owned()));
        let command = command.collect();
        let tts = Tts { engine: TtsEngine::Command, command, ..Tts::default() };
        Speaker::new(&tts, &folder.path(""), OsStr::new(""), KEEPING)
    }

    /// The whole clip, and how much of it there was when it began.
    fn spoken(speaker: &Speaker, speech: &Speech) -> Result<(Arc<Clip>, usize), String> {
        let spoken = speaker.prepare(speech)?;
        let mut begun = None;
        let clips = ClipCache::new(1 << 24);
        speaker.speak(&clips, &spoken, &mut |sound: Begun| {
            begun = Some((sound.clip.clone(), sound.clip.len()));
        })?;
        Ok(begun.expect("what is spoken has begun"))
    }

    fn speech(text: &str) -> Speech {
        Speech { text: text.into(), voice: "Default.de_DE_Female".into(), rate: 1.0 }
    }

    fn say(speaker: &Speaker, said: &str) -> Result<String, String> {
        Ok(text(&spoken(speaker, &speech(said))?.0))
    }

    #[test]
    fn what_is_spoken_begins_while_the_engine_speaks() {
        let folder = TestFolder::new();
        // 1000 samples are 125 ms.
        let script = "(printf %01000d 0; sleep 0.3; echo x >> $0; printf %0500d 0) | wav";
        let speaker = speaker_with(&folder, script, &[folder.path("count").to_str().unwrap()]);
        let (clip, begun) = spoken(&speaker, &speech("Hello")).unwrap();
        assert_eq!((clip.len(), begun), (1500, 800));
        assert_eq!(std::fs::read_dir(folder.path("tts")).unwrap().count(), 1);
        // From the disk it is all there.
        assert_eq!(spoken(&speaker, &speech("Hello")).unwrap().0.len(), 1500);
        assert_eq!(std::fs::read_to_string(folder.path("count")).unwrap(), "x\n");
    }

    #[test]
    fn an_engine_that_fails_while_it_is_heard_cuts_the_sound_off_and_nothing_is_kept() {
        let folder = TestFolder::new();
        let script = "printf %01000d 0 | wav; echo 'out of breath' >&2; exit 3";
        let speaker = speaker_with(&folder, script, &[]);
        let error = spoken(&speaker, &speech("Hello")).unwrap_err();
        assert_eq!(error, "TTS: the engine ended with exit status: 3: out of breath");
        let silent = speaker_with(&folder, "echo 'no voice' >&2", &[]);
        assert_eq!(say(&silent, "Hello"), Err("TTS: no voice".into()));
        let endless = speaker_with(&folder, "yes | wav", &[]);
        assert_eq!(say(&endless, "x"), Err("TTS: the sound is larger than 1 MB".into()));
        let speaker = speaker_with(&folder, "sleep 1000", &[]);
        let hangs = Speaker { pause: Duration::from_millis(50), ..speaker };
        assert_eq!(say(&hangs, "x"), Err("TTS: Timeout is reached".into()));
        assert_eq!(std::fs::read_dir(folder.path("tts")).unwrap().count(), 0);
    }

    #[test]
    fn a_text_is_spoken_once_and_then_read_from_the_disk() {
        let folder = TestFolder::new();
        let count = folder.path("count");
        let script = format!("echo x >> {}; wav > $1; printf -- -$0 >> $1", count.display());
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
        let speaker = speaker(&folder, "wav > $1");
        let spoken = speaker.prepare(&speech("Hello")).unwrap();
        std::fs::create_dir(folder.path("tts")).unwrap();
        for damaged in ["bad", "", "RIFF____WAVEfmt "] {
            let path = folder.path(format!("tts/{}.wav", spoken.key));
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(say(&speaker, "Hello").as_deref(), Ok("Hello"));
            assert!(std::fs::read(path).unwrap().ends_with(b"Hello"));
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
        assert!(error("printf bad > $1").starts_with("TTS: the file is no sound"));
        assert_eq!(error(": > $1"), "TTS: the file is empty");
        assert_eq!(error("wav < /dev/null > $1"), "TTS: the engine wrote no sound");
        assert_eq!(std::fs::read_dir(folder.path("tts")).unwrap().count(), 0);
    }

    #[test]
    fn an_engine_that_hangs_is_ended() {
        let folder = TestFolder::new();
        let speaker =
            Speaker { pause: Duration::from_millis(50), ..speaker(&folder, "sleep 1000") };
        assert_eq!(say(&speaker, "Hello"), Err("TTS: Timeout is reached".into()));
    }

    #[test]
    fn texts_have_1500_characters_at_most() {
        let folder = TestFolder::new();
        let speaker = speaker(&folder, "wav > $1");
        assert!(speaker.prepare(&speech(&"ä".repeat(1500))).is_ok());
        let error = speaker.prepare(&speech(&"ä".repeat(1501))).unwrap_err();
        assert_eq!(error, "the text is longer than 1500 characters");
    }

    #[test]
    fn without_an_engine_the_script_learns_what_to_install() {
        let folder = TestFolder::new();
        let speaker =
            Speaker::new(&Tts::default(), &folder.path(""), OsStr::new("/nonexistent"), KEEPING);
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
        let speaker = Speaker::new(&tts, &folder.path(""), &path, KEEPING);
        let clip = |rate| {
            let text = "-w is spoken, not obeyed. One, two, three.".into();
            let speech = Speech { text, voice: "Amazon.en_US_Joanna".into(), rate };
            spoken(&speaker, &speech).map(|(clip, _)| clip)
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
