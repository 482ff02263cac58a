//! What can be told from the sound of a call.

pub mod voice;

#[cfg(test)]
pub mod material;
