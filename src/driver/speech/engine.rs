//! The programs that speak: how each is told text, voice, rate and file.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::ssml;
use super::voice::{Gender, Voice};
use crate::config::{Tts, TtsEngine};
use crate::driver::process::{self, Job};

/// A speech program that was found.
#[derive(Debug)]
pub struct Engine {
    pub program: PathBuf,
    kind: Kind,
    voices: Vec<(String, String)>,
}

#[derive(Debug)]
enum Kind {
    EspeakNg {
        /// Languages it has, asked for once.
        languages: OnceLock<Vec<String>>,
    },
    Pico2wave,
    Flite,
    /// The config's own: arguments with `{text} {voice} {rate} {out}`; without `{out}` the sound
    /// is on its output.
    Command(Vec<String>),
}

/// One run of a program, but for its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Utterance {
    pub program: PathBuf,
    /// `{out}` stands for the file; without it the sound comes on standard output.
    pub arguments: Vec<String>,
    /// Standard input.
    pub input: String,
}

impl Engine {
    /// The engine of the config; `path` is the environment's.
    ///
    /// # Errors
    /// Where there is none: what to install or set, for the log and for the script.
    pub fn find(tts: &Tts, path: &OsStr) -> Result<Self, String> {
        let named = |name: &str| find(name, path);
        let missing = |name: &str| {
            format!("{NOT_CONFIGURED}: {name} is not installed ([tts] engine asks for it)")
        };
        let (program, kind) = match tts.engine {
            TtsEngine::Off => return Err(format!("{NOT_CONFIGURED}: [tts] engine is \"off\"")),
            TtsEngine::Auto => KNOWN
                .iter()
                .find_map(|(name, kind)| Some((named(name)?, kind())))
                .ok_or_else(|| format!("{NOT_CONFIGURED}: {INSTALL}"))?,
            TtsEngine::EspeakNg | TtsEngine::Pico2wave | TtsEngine::Flite => {
                let (name, kind) = match tts.engine {
                    TtsEngine::EspeakNg => KNOWN[0],
                    TtsEngine::Pico2wave => KNOWN[1],
                    _ => KNOWN[2],
                };
                (named(name).ok_or_else(|| missing(name))?, kind())
            }
            TtsEngine::Command => {
                let name = tts.command.first().map_or("", String::as_str);
                let arguments = tts.command.iter().skip(1).cloned().collect();
                (named(name).ok_or_else(|| missing(name))?, Kind::Command(arguments))
            }
        };
        Ok(Self { program, kind, voices: tts.voices.clone() })
    }

    /// How to speak `text`, plain or SSML. May ask the program what it has, and waits for that.
    pub fn utterance(&self, text: &str, voice: &Voice, rate: f32) -> Utterance {
        let rate = if rate.is_finite() { rate.clamp(LEAST_RATE, MOST_RATE) } else { 1.0 };
        let mapped = voice.mapped(&self.voices).map(str::to_owned);
        let plain = ssml::plain(text);
        let mut input = plain.clone().into_owned();
        let arguments = match &self.kind {
            Kind::EspeakNg { languages } => {
                let languages = languages.get_or_init(|| espeak_languages(&self.program));
                let voice = mapped.unwrap_or_else(|| espeak_voice(voice, languages));
                let speed = (WORDS_PER_MINUTE * rate).round();
                // 1: UTF-8. On its output it is heard while it speaks.
                let speed = speed.to_string();
                let options = ["-b", "1", "-v", &voice, "-s", &speed, "--stdin", "--stdout"];
                let mut options = options.map(str::to_owned).to_vec();
                if ssml::is_ssml(text) {
                    input = ssml::harmless(text);
                    options.push("-m".to_owned());
                }
                options
            }
            Kind::Pico2wave => {
                let voice = mapped.unwrap_or_else(|| voice.pico_name().to_owned());
                // It takes text from its arguments only, and its speed as a tag in the text.
                let percent = (rate * 100.0).round();
                let text = format!("<speed level=\"{percent}\">{}</speed>", without_markup(&plain));
                input = String::new();
                vec!["-l".into(), voice, "-w".into(), OUT.into(), "--".into(), text]
            }
            Kind::Flite => {
                let voice = mapped.unwrap_or_else(|| flite_voice(voice).to_owned());
                let stretch = format!("duration_stretch={:.3}", 1.0 / rate);
                let options = ["-voice", &voice, "--setf", &stretch, "-f", "/dev/stdin", "-o", OUT];
                options.map(str::to_owned).to_vec()
            }
            Kind::Command(arguments) => {
                let voice = mapped.unwrap_or_else(|| voice.locale());
                let rate = format!("{rate:.2}");
                let fill = |argument: &String| fill(argument, &plain, &voice, &rate);
                arguments.iter().map(fill).collect()
            }
        };
        Utterance { program: self.program.clone(), arguments, input }
    }
}

/// An argument of the config's command with its places filled, except for the file's. A text that
/// would look like an option gets a space before it.
fn fill(argument: &str, text: &str, voice: &str, rate: &str) -> String {
    let mut filled = String::new();
    let mut rest = argument;
    while let Some(begin) = rest.find('{') {
        let (before, place) = rest.split_at(begin);
        filled.push_str(before);
        let value = [("{text}", text), ("{voice}", voice), ("{rate}", rate)]
            .into_iter()
            .find_map(|(name, value)| Some((value, place.strip_prefix(name)?)));
        match value {
            Some((value, after)) => {
                if filled.is_empty() && value.starts_with('-') {
                    filled.push(' ');
                }
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = place.get(1..).unwrap_or_default();
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// pico2wave reads tags inside its text; ours are the only ones.
fn without_markup(text: &str) -> String {
    text.replace(['<', '>'], " ")
}

fn espeak_voice(voice: &Voice, languages: &[String]) -> String {
    let names = voice.espeak_names();
    let has = |name: &&String| languages.is_empty() || languages.contains(name);
    let mut name = names.iter().find(has).cloned().unwrap_or_else(|| "en".into());
    // Its voices are male; the second female variant is the clearest over a telephone.
    if voice.gender == Some(Gender::Female) {
        name.push_str("+f2");
    }
    name
}

fn flite_voice(voice: &Voice) -> &'static str {
    match voice.gender {
        Some(Gender::Male) => "rms",
        Some(Gender::Female) | None => "slt",
    }
}

/// Second column of `espeak-ng --voices`. Empty: it does not say.
fn espeak_languages(program: &Path) -> Vec<String> {
    let arguments = ["--voices".to_owned()];
    let (time, file_bytes) = (super::PAUSE, super::FILE_BYTES);
    let job = Job { program, arguments: &arguments, input: "", time, file_bytes };
    process::run(job).map(|said| languages_of(&said.output)).unwrap_or_default()
}

fn languages_of(table: &str) -> Vec<String> {
    let language = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    table.lines().skip(1).filter_map(language).collect()
}

/// An executable file: a path as it is, a name in the folders of `path`.
fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let is_executable = |path: &PathBuf| {
        let metadata = std::fs::metadata(path);
        metadata.is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(is_executable);
    }
    let candidates = std::env::split_paths(path).map(|folder| folder.join(name));
    candidates.filter(|_| !name.is_empty()).find(is_executable)
}

type NewKind = fn() -> Kind;

/// In the order in which `auto` looks for them.
const KNOWN: [(&str, NewKind); 3] = [
    ("espeak-ng", || Kind::EspeakNg { languages: OnceLock::new() }),
    ("pico2wave", || Kind::Pico2wave),
    ("flite", || Kind::Flite),
];

/// Stands for the file until it has a name.
pub const OUT: &str = "{out}";
/// Begins the error as the reference has it (section 16).
const NOT_CONFIGURED: &str = "TTS is not configured";
const INSTALL: &str = "install espeak-ng (apt install espeak-ng), pico2wave or flite, or set \
                       [tts] engine = \"command\"";
/// espeak-ng's own speed.
const WORDS_PER_MINUTE: f32 = 175.0;
/// Section 16: `speed` is 0.1 to 3.0; slower than a third is no speech.
const LEAST_RATE: f32 = 0.3;
const MOST_RATE: f32 = 3.0;

#[cfg(test)]
mod tests {
    use super::super::super::test_folder::TestFolder;
    use super::*;

    const ESPEAK_VOICES: &str = "\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  de              --/M      German             gmw/de               
 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)
";

    /// A folder with programs of these names.
    fn folder(names: &[&str]) -> TestFolder {
        let folder = TestFolder::new();
        for name in names {
            std::os::unix::fs::symlink("/bin/true", folder.path(name)).unwrap();
        }
        folder
    }

    fn engine(names: &[&str], tts: Tts) -> Result<Engine, String> {
        let folder = folder(names);
        let engine = Engine::find(&tts, folder.path("").as_os_str())?;
        if let Kind::EspeakNg { languages } = &engine.kind {
            languages.get_or_init(|| languages_of(ESPEAK_VOICES));
        }
        Ok(engine)
    }

    fn auto() -> Tts {
        Tts::default()
    }

    fn command(arguments: &[&str]) -> Tts {
        let command = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Tts { engine: TtsEngine::Command, command, ..Tts::default() }
    }

    fn arguments(engine: &Engine, text: &str, voice: &str, rate: f32) -> Vec<String> {
        engine.utterance(text, &Voice::parse(voice), rate).arguments
    }

    #[test]
    fn auto_takes_the_first_that_is_there() {
        let program = |names: &[&str]| engine(names, auto()).unwrap().program;
        assert!(program(&["flite", "pico2wave", "espeak-ng"]).ends_with("espeak-ng"));
        assert!(program(&["flite", "pico2wave"]).ends_with("pico2wave"));
        assert!(program(&["flite"]).ends_with("flite"));
    }

    #[test]
    fn without_an_engine_the_error_says_what_to_install() {
        let error = engine(&[], auto()).unwrap_err();
        assert!(error.starts_with("TTS is not configured: install espeak-ng"), "{error}");
        let flite = Tts { engine: TtsEngine::Flite, ..auto() };
        assert!(engine(&["espeak-ng"], flite).unwrap_err().contains("flite is not installed"));
        let off = Tts { engine: TtsEngine::Off, ..auto() };
        assert!(engine(&["espeak-ng"], off).unwrap_err().contains("\"off\""));
        assert!(engine(&[], command(&["piper", "{out}"])).unwrap_err().contains("piper"));
    }

    #[test]
    fn espeak_gets_text_by_its_input_and_a_voice_it_has() {
        let engine = engine(&["espeak-ng"], auto()).unwrap();
        let utterance = engine.utterance("-v x", &Voice::parse("Default.de_DE_Female"), 2.0);
        assert_eq!(utterance.input, "-v x");
        let expected = ["-b", "1", "-v", "de+f2", "-s", "350", "--stdin", "--stdout"];
        assert_eq!(utterance.arguments, expected);
        let ssml = "<speak>a<break time='1s'/><audio src='\"; id'>b</audio></speak>";
        let utterance = engine.utterance(ssml, &Voice::parse("Default.de_DE_Female"), 2.0);
        assert_eq!(utterance.input, "<speak>a<break time='1s'/>b</speak>");
        assert_eq!(utterance.arguments.last().map(String::as_str), Some("-m"));
        let voice = |name: &str| arguments(&engine, "", name, 1.0)[3].clone();
        assert_eq!(voice("Amazon.en_US_Joanna"), "en-us+f2");
        assert_eq!(voice("Default.fr_FR_Male"), "en-us");
    }

    #[test]
    fn pico_gets_text_behind_the_end_of_its_options() {
        let engine = engine(&["pico2wave"], auto()).unwrap();
        let expected = ["-l", "fr-FR", "-w", "{out}", "--", "<speed level=\"75\">-a  b </speed>"];
        assert_eq!(arguments(&engine, "-a <b>", "Default.fr_CA_Male", 0.75), expected);
    }

    #[test]
    fn flite_stretches_by_the_rate() {
        let engine = engine(&["flite"], auto()).unwrap();
        let arguments = arguments(&engine, "hello", "Default.en_US_Male", 1.25);
        assert_eq!(arguments[..4], ["-voice", "rms", "--setf", "duration_stretch=0.800"]);
    }

    #[test]
    fn a_command_has_its_places_filled_once() {
        let tts = command(&["say", "{text}", "-v{voice}", "--rate={rate}", "{out}", "{x}{"]);
        let engine = engine(&["say"], tts).unwrap();
        let expected = [" -o {voice}", "-ven_GB", "--rate=1.50", "{out}", "{x}{"];
        assert_eq!(arguments(&engine, "-o {voice}", "Amazon.en_GB_Amy", 1.5), expected);
    }

    #[test]
    fn the_config_s_voice_comes_first() {
        let voices = vec![("de".to_owned(), "mb-de5".to_owned())];
        let engine = engine(&["espeak-ng"], Tts { voices, ..auto() }).unwrap();
        assert_eq!(arguments(&engine, "", "Default.de_DE_Female", 1.0)[3], "mb-de5");
    }

    #[test]
    fn rates_stay_in_what_engines_take() {
        let engine = engine(&["espeak-ng"], auto()).unwrap();
        let speed = |rate| arguments(&engine, "", "", rate)[5].clone();
        // 175 x 0.3 = 52.5, 175 x 3 = 525.
        assert_eq!([speed(0.0), speed(99.0), speed(f32::NAN)], ["53", "525", "175"]);
    }
}
