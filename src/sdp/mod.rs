//! SDP (RFC 8866) and the offer/answer model (RFC 3264) for one audio stream.
//!
//! Knows no SIP and no media engine: text in, an agreement out.

pub mod crypto;
pub mod description;
pub mod format;
pub mod offer_answer;
pub mod opus;
pub mod parse;
pub mod write;

#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod srtp_tests;
#[cfg(test)]
mod tests;
