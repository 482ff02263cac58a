//! SIP (RFC 3261) without sockets.
//!
//! [`user_agent`] is the door. Wire formats: `uri`, `header`, `name_addr`, `via`, `fields`,
//! `message`, `parse`, `framing`, `digest`. States: `transaction`, `dialog`, `invite`,
//! `registration`, `registrar`.

pub mod header;
pub mod lexical;
pub mod message;
pub mod name_addr;
pub mod parse;
pub mod uri;
pub mod user_agent;
pub mod via;
pub mod write;
