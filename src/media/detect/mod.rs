//! What can be told from the sound of a call: digits, and whether somebody speaks.

pub mod digits;
pub mod voice;

#[cfg(test)]
pub mod material;
