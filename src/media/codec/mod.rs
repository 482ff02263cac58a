//! Codecs of calls: bytes of a payload to samples and back.

pub mod g711;
pub mod resample;
