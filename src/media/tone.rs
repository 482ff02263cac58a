//! Tone scripts (the Sipura/Cisco format) and progress tones by country.

/// A parsed script.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {}
