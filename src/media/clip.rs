//! Decoded audio that players read: shared, immutable, mono.

/// A sound in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Samples per second of `samples`.
    pub rate: u32,
    pub samples: Vec<i16>,
}
