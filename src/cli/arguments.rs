//! What was typed.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use super::help::Topic;

/// A command with its arguments, checked as far as they can be without the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Run {
        config: Option<PathBuf>,
    },
    Demo {
        /// Where to keep what the demo writes; `None`: a temporary folder.
        folder: Option<PathBuf>,
    },
    Check {
        config: Option<PathBuf>,
    },
    Start {
        config: Option<PathBuf>,
        /// Id or name.
        rule: String,
        data: String,
    },
    Sessions {
        config: Option<PathBuf>,
    },
    History {
        config: Option<PathBuf>,
        count: usize,
    },
    Reload {
        config: Option<PathBuf>,
    },
    Version,
    Help(Topic),
}

/// Reads the arguments of the process, its own name first.
///
/// # Errors
/// Says which word is wrong and what would be right.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut parser = Parser::from_iter(arguments);
    let mut words: Vec<String> = Vec::new();
    let mut config: Option<PathBuf> = None;
    let mut folder: Option<PathBuf> = None;
    let mut wants_help = false;
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('h') | Long("help") => wants_help = true,
            Short('V') | Long("version") => return Ok(Command::Version),
            Short('c') | Long("config") => {
                config = Some(parser.value().map_err(|error| error.to_string())?.into());
            }
            Long("keep") => {
                folder = Some(parser.value().map_err(|error| error.to_string())?.into());
            }
            Value(word) => words.push(word.string().map_err(|error| error.to_string())?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let mut words = words.into_iter();
    let name = words.next();
    let topic = match name.as_deref() {
        None if wants_help => return Ok(Command::Help(Topic::All)),
        None => Topic::Run,
        Some("help") => {
            let topic = words.next().as_deref().map_or(Ok(Topic::All), Topic::of);
            return topic.map(Command::Help);
        }
        Some(name) => Topic::of(name)?,
    };
    if wants_help {
        return Ok(Command::Help(topic));
    }
    if folder.is_some() && topic != Topic::Demo {
        return Err("--keep belongs to `branchline demo`".into());
    }
    let command = match topic {
        Topic::All | Topic::Run => Command::Run { config },
        Topic::Demo if config.is_some() => {
            return Err("the demo brings its own configuration: leave --config out".into());
        }
        Topic::Demo => Command::Demo { folder },
        Topic::Check => Command::Check { config: words.next().map(PathBuf::from).or(config) },
        Topic::Start => Command::Start {
            config,
            rule: words.next().ok_or("start which rule? give its id or name")?,
            data: words.next().unwrap_or_default(),
        },
        Topic::Sessions => Command::Sessions { config },
        Topic::History => {
            let count = words.next().map_or(Ok(HISTORY_ROWS), |word| rows(&word))?;
            Command::History { config, count }
        }
        Topic::Reload => Command::Reload { config },
        Topic::Version => Command::Version,
    };
    match words.next() {
        None => Ok(command),
        Some(word) => Err(format!("\"{word}\" is one word too many")),
    }
}

fn rows(word: &str) -> Result<usize, String> {
    let count = word.parse().ok().filter(|count| (1..=MOST_ROWS).contains(count));
    count.ok_or_else(|| format!("\"{word}\" is not a number of rows from 1 to {MOST_ROWS}"))
}

const HISTORY_ROWS: usize = 20;
/// What GetCallHistory gives at one time (Management API reference 5.1).
const MOST_ROWS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(std::iter::once("branchline").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn nothing_means_run() {
        assert_eq!(parsed(""), Ok(Command::Run { config: None }));
        let config = Some(PathBuf::from("a.toml"));
        assert_eq!(parsed("--config a.toml"), Ok(Command::Run { config: config.clone() }));
        assert_eq!(parsed("run -c a.toml"), Ok(Command::Run { config }));
    }

    #[test]
    fn commands_take_their_own_arguments() {
        let config = None;
        let start = |rule: &str, data: &str| Command::Start {
            config: None,
            rule: rule.into(),
            data: data.into(),
        };
        assert_eq!(parsed("start 1 7001:7002"), Ok(start("1", "7001:7002")));
        assert_eq!(parsed("start callback"), Ok(start("callback", "")));
        assert_eq!(parsed("history 5"), Ok(Command::History { config, count: 5 }));
        let config = Some(PathBuf::from("x.toml"));
        assert_eq!(parsed("check x.toml"), Ok(Command::Check { config }));
    }

    #[test]
    fn help_knows_its_topic() {
        assert_eq!(parsed("--help"), Ok(Command::Help(Topic::All)));
        assert_eq!(parsed("start --help"), Ok(Command::Help(Topic::Start)));
        assert_eq!(parsed("help demo"), Ok(Command::Help(Topic::Demo)));
    }

    #[test]
    fn wrong_words_are_named() {
        for (line, expected) in [
            ("serve", "\"serve\" is not a command"),
            ("start", "start which rule? give its id or name"),
            ("sessions all", "\"all\" is one word too many"),
            ("history many", "\"many\" is not a number of rows from 1 to 1000"),
            ("history 0", "\"0\" is not a number of rows from 1 to 1000"),
            ("--frobnicate", "invalid option '--frobnicate'"),
            ("run --keep x", "--keep belongs to `branchline demo`"),
            ("demo -c x", "the demo brings its own configuration: leave --config out"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), expected, "{line}");
        }
    }
}
