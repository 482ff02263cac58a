//! The command line: which command, with what; exit codes 0 done, 1 failed, 2 usage or config.

pub mod arguments;
pub mod client;
pub mod help;
pub mod query;
pub mod reload;
pub mod start;
pub mod table;

use std::fmt;

use crate::config::Problem;

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
    pub fn exit_code(&self) -> u8 {
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
