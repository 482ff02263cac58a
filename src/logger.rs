//! The log behind the `log` macros: one line per record on standard error.
//!
//! Levels per module (`info,sip=debug`), journal priorities where standard error is the journal,
//! and [`Private`], which hides numbers, names and digits by one setting. Whoever installs it
//! lends the wall clock.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::clock;

/// Levels by module; the longest module that fits decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    default: LevelFilter,
    modules: Vec<(String, LevelFilter)>,
}

impl Filter {
    const OFF: Self = Self { default: LevelFilter::Off, modules: Vec::new() };

    /// `info`, `info,sip=debug,session::dial=trace`.
    ///
    /// # Errors
    /// Says which part is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self { default: LevelFilter::Info, modules: Vec::new() };
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((module, name)) if !module.trim().is_empty() => {
                    filter.modules.push((module.trim().to_owned(), level(name.trim())?));
                }
                Some(_) => return Err(format!("\"{part}\" names no module before =")),
                None => filter.default = level(part)?,
            }
        }
        Ok(filter)
    }

    fn level_of(&self, target: &str) -> LevelFilter {
        let module = target.strip_prefix("branchline::").unwrap_or(target);
        let fits = self.modules.iter().filter(|(name, _)| {
            let rest = module.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        fits.max_by_key(|(name, _)| name.len()).map_or(self.default, |&(_, level)| level)
    }

    fn highest(&self) -> LevelFilter {
        let modules = self.modules.iter().map(|&(_, level)| level);
        modules.fold(self.default, Ord::max)
    }
}

/// What standard error is, as it shapes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// A terminal or a file: with the date.
    Plain,
    /// The journal: with a priority in front, without the date it puts there itself.
    Journal,
}

/// Sends every record of the program to standard error from now on; a second call changes
/// nothing but the settings.
pub fn install(filter: Filter, redact: bool, sink: Sink, unix_ms: fn() -> i64) {
    let logger = LOGGER.get_or_init(|| Logger { filter: RwLock::new(Filter::OFF), sink, unix_ms });
    configure(filter, redact);
    // An error means that a test or a second call was here first; the settings are ours all the
    // same.
    if log::set_logger(logger).is_err() {
        log::debug!("logger installed already");
    }
}

/// New settings at a reload.
pub fn configure(filter: Filter, redact: bool) {
    REDACT.store(redact, Ordering::Relaxed);
    if let Some(logger) = LOGGER.get() {
        log::set_max_level(filter.highest());
        // A thread that panicked while it held the lock left a whole filter behind.
        *logger.filter.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = filter;
    }
}

/// A number, name or digit in a log line: shown whole, or as `***` and its last two characters
/// where `redact` is on. Short ones are hidden whole, or a digit would show.
#[derive(Clone, Copy)]
pub struct Private<'a>(pub &'a str);

impl fmt::Display for Private<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !REDACT.load(Ordering::Relaxed) {
            return f.write_str(self.0);
        }
        f.write_str(HIDDEN)?;
        match self.0.char_indices().rev().nth(1) {
            // With no more than four characters, two tell half of it.
            Some((last_two, _)) if self.0.chars().count() > 4 => f.write_str(&self.0[last_two..]),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Private<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A kind of refusal that may come in masses: one line at once, and then one a minute that says
/// how many there were, so that nobody outside fills the log.
#[derive(Debug, Default)]
pub struct Burst {
    told: Option<Instant>,
    untold: u64,
}

/// What goes to the end of a line: nothing, or how often it happened since the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times(u64);

impl Burst {
    /// It happened. `Some`: write a line.
    pub fn note(&mut self, now: Instant) -> Option<Times> {
        self.untold += 1;
        let is_silent = |told| now.saturating_duration_since(told) < BURST_SILENCE;
        if self.told.is_some_and(is_silent) {
            return None;
        }
        self.told = Some(now);
        Some(Times(std::mem::take(&mut self.untold)))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            times => write!(f, " ({times} times since it was last told)"),
        }
    }
}

const BURST_SILENCE: Duration = Duration::from_secs(60);

struct Logger {
    filter: RwLock<Filter>,
    sink: Sink,
    unix_ms: fn() -> i64,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let filter = self.filter.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        metadata.level() <= filter.level_of(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(record, self.sink, (self.unix_ms)());
        // Nobody is left to tell that standard error is closed.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// One record as one line; a line break inside the message is shown as `\n`.
fn line(record: &Record<'_>, sink: Sink, unix_ms: i64) -> String {
    let module = record.target().strip_prefix("branchline::").unwrap_or(record.target());
    let mut line = match sink {
        Sink::Plain => {
            let level = record.level();
            format!("{} {level:5} {module}: ", clock::utc_with_milliseconds(unix_ms))
        }
        Sink::Journal => format!("<{}>{module}: ", priority(record.level())),
    };
    // Writing to a String does not fail; an argument whose Display fails is cut short.
    let _ = write!(OneLine(&mut line), "{}", record.args());
    line.push('\n');
    line
}

/// Keeps what passes through on one line: peers write into our log.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\t' => self.0.push(c),
                c if c.is_control() => self.0.extend(c.escape_default()),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// sd-daemon(3): the syslog priorities.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn level(name: &str) -> Result<LevelFilter, String> {
    match name {
        "off" => Ok(LevelFilter::Off),
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        "trace" => Ok(LevelFilter::Trace),
        _ => Err(format!("level \"{name}\" is not one of off, error, warn, info, debug, trace")),
    }
}

static LOGGER: std::sync::OnceLock<Logger> = std::sync::OnceLock::new();
static REDACT: AtomicBool = AtomicBool::new(true);
const HIDDEN: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    fn level_of(filter: &str, target: &str) -> LevelFilter {
        Filter::parse(filter).unwrap().level_of(target)
    }

    #[test]
    fn longest_module_decides_the_level() {
        let filter = "info,sip=debug,sip::digest=off";
        assert_eq!(level_of(filter, "branchline::media"), LevelFilter::Info);
        assert_eq!(level_of(filter, "branchline::sip"), LevelFilter::Debug);
        assert_eq!(level_of(filter, "branchline::sip::dialog"), LevelFilter::Debug);
        assert_eq!(level_of(filter, "branchline::sip::digest"), LevelFilter::Off);
        assert_eq!(level_of(filter, "branchline::sipsimple"), LevelFilter::Info);
        assert_eq!(Filter::parse(filter).unwrap().highest(), LevelFilter::Debug);
    }

    #[test]
    fn wrong_filter_says_what_would_be_right() {
        assert_eq!(
            Filter::parse("info,sip=loud").unwrap_err(),
            "level \"loud\" is not one of off, error, warn, info, debug, trace"
        );
        assert_eq!(Filter::parse("=info").unwrap_err(), "\"=info\" names no module before =");
        assert!(Filter::parse("").is_err());
    }

    fn rendered(message: &str, sink: Sink) -> String {
        let arguments = format_args!("{message}").to_string();
        let arguments = format_args!("{arguments}");
        let record = Record::builder()
            .level(Level::Warn)
            .target("branchline::sip::dialog")
            .args(arguments)
            .build();
        // 2026-11-22 12:00:00 UTC.
        line(&record, sink, 1_795_348_800_005)
    }

    #[test]
    fn plain_line_has_date_level_module_and_message() {
        assert_eq!(
            rendered("peer gone", Sink::Plain),
            "2026-11-22 12:00:00.005 WARN  sip::dialog: peer gone\n"
        );
    }

    #[test]
    fn journal_line_begins_with_its_priority() {
        assert_eq!(rendered("peer gone", Sink::Journal), "<4>sip::dialog: peer gone\n");
    }

    #[test]
    fn peer_cannot_begin_a_line_of_its_own() {
        assert_eq!(
            rendered("a\r\n<0>b\u{1b}", Sink::Journal),
            "<4>sip::dialog: a\\r\\n<0>b\\u{1b}\n"
        );
    }

    #[test]
    fn burst_is_told_once_and_then_once_a_minute_with_its_count() {
        let mut now = Instant::now();
        let mut burst = Burst::default();
        assert_eq!(burst.note(now), Some(Times(1)));
        for _ in 0..599 {
            now += Duration::from_millis(100);
            assert_eq!(burst.note(now), None);
        }
        now += Duration::from_millis(100);
        let times = burst.note(now).unwrap();
        assert_eq!(times.to_string(), " (600 times since it was last told)");
        assert_eq!(Times(1).to_string(), "");
    }

    #[test]
    fn private_text_keeps_its_last_two_characters() {
        // Redaction is on until configured otherwise; no test of this program turns it off.
        assert_eq!(Private("+4930123456").to_string(), "***56");
        assert_eq!(Private("7001").to_string(), "***");
        assert_eq!(Private("5").to_string(), "***");
        assert_eq!(Private("").to_string(), "***");
        assert_eq!(Private("Zoë Müllér").to_string(), "***ér");
    }
}
