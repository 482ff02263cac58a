//! The command line: which command, with what; exit codes 0 done, 1 failed, 2 usage or config.
//!
//! `run` serves; `demo`, `check` stand for themselves; the others talk to the gateway that runs
//! on the same configuration, over its own HTTP server.

mod arguments;
mod check;
mod client;
mod demo;
mod help;
mod output;
mod query;
mod reload;
mod run;
mod start;
mod table;

use std::fmt;
use std::process::ExitCode;

use self::arguments::Command;
use crate::config::Problem;

/// Carries out the command of this process.
pub fn main() -> ExitCode {
    let done = match arguments::parse(std::env::args_os()) {
        Ok(command) => carry_out(command),
        Err(usage) => Err(Failure::Usage(usage)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run { config } => run::run(config.as_deref()),
        Command::Demo { folder } => demo::demo(folder.as_deref()),
        Command::Check { config } => check::check(config.as_deref()),
        Command::Start { config, rule, data } => start::start(config.as_deref(), &rule, &data),
        Command::Sessions { config } => query::sessions(config.as_deref()),
        Command::History { config, count } => query::history(config.as_deref(), count),
        Command::Reload { config } => reload::reload(config.as_deref()),
        Command::Version => {
            output::put(concat!("branchline ", env!("CARGO_PKG_VERSION"), "\n"));
            Ok(())
        }
        Command::Help(topic) => {
            output::put(help::text(topic));
            Ok(())
        }
    }
}

/// Why a command did not do what it was told.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1: says what went wrong and what to do.
    Failed(String),
    /// Exit code 2.
    Usage(String),
    /// Exit code 2: all that is wrong with the configuration.
    Config(Vec<Problem>),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Config(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) => writeln!(f, "branchline: {text}"),
            Self::Usage(text) => writeln!(f, "branchline: {text}\ntry `branchline --help`"),
            Self::Config(problems) => {
                for problem in problems {
                    writeln!(f, "{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}
