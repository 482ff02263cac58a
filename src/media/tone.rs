//! Tone scripts (the Sipura/Cisco format) and progress tones by country.

/// A parsed script.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {}

impl Script {
    pub fn parse(_text: &str) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// The ringback tone of a country (`US`, `DE`, ...).
    pub fn progress(_country: &str) -> Self {
        Self {}
    }
}

/// What is wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unreadable tone script")
    }
}
