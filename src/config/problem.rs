//! One thing that is wrong with the configuration, as the operator reads it.

use std::fmt;

/// `config.toml:41: [trunk.office] transport "ucp" is not one of udp, tcp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// As it was named to `Config::parse`.
    pub file: String,
    /// From 1; `None` when no line is to blame.
    pub line: Option<usize>,
    /// Table, key and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

impl std::error::Error for Problem {}
