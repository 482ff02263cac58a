//! SIP (RFC 3261) without sockets.
//!
//! [`user_agent`] is the door. Wire formats: `uri`, `header`, `name_addr`, `via`, `fields`,
//! `multipart`, `refer`, `message`, `parse`, `write`, `framing`, `websocket`, `digest`, `reason`.
//! Below the usages: `transport` with its `stream`s, `locate`, `mtu`, `transaction`, together the
//! `stack`. Usages: `invite` with `dialog` and `info`, `options`, `registrar` with `outbound`,
//! `trunks`. Who may: `inspection`, `admission`, `challenge`, and how often `guard`; what we prove
//! ourselves: `authorization`; who calls: `identity`.

pub mod admission;
pub mod authorization;
mod bucket;
pub mod challenge;
pub mod dialog;
pub mod digest;
pub mod fields;
pub mod framing;
pub mod guard;
pub mod header;
pub mod identity;
pub mod incoming;
pub mod info;
pub mod inspection;
pub mod invite;
pub mod lexical;
pub mod locate;
pub mod message;
pub mod mtu;
pub mod multipart;
pub mod name_addr;
pub mod options;
pub mod outbound;
pub mod outgoing;
pub mod parse;
pub mod reason;
pub mod refer;
pub mod registrar;
pub mod stack;
pub mod stream;
pub mod transaction;
pub mod transport;
pub mod trunks;
pub mod uri;
pub mod user_agent;
pub mod via;
pub mod websocket;
pub mod write;

#[cfg(test)]
mod tests;
