//! SIP (RFC 3261) without sockets.
//!
//! [`user_agent`] is the door. Wire formats: `uri`, `header`, `name_addr`, `via`, `fields`,
//! `message`, `parse`, `framing`, `digest`. States: `transaction`, `dialog`, `invite`,
//! `registration`, `registrar`.

pub mod challenge;
pub mod digest;
pub mod fields;
pub mod framing;
pub mod header;
pub mod health;
pub mod lexical;
pub mod message;
pub mod name_addr;
pub mod parse;
pub mod registrar;
pub mod registration;
pub mod uri;
pub mod user_agent;
pub mod via;
pub mod write;
