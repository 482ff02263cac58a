//! Where a request goes (RFC 3263): from the URI of the next hop to transports, addresses and
//! ports, best first.
//!
//! [`hop`] is what a URI says, [`services`] the walk over NAPTR, SRV and address records,
//! [`srv`] the choice by priority and weight (RFC 2782), [`cache`] what was answered before,
//! [`shunned`] who did not answer of late, [`names`] the machine that puts them together and
//! keeps the requests that wait. Decided here, where RFC 3263 leaves room:
//!
//! - A request tries six targets at most: those of the first service, then those of the next
//!   (§4.3 speaks of the first alone). Where NAPTR says nothing, UDP comes before TCP before TLS.
//! - Records hold for their time to live, five seconds at least and a day at most; that there are
//!   none holds for half a minute to an hour. Expired records still hold where no server answers,
//!   a day long (RFC 8767).
//! - The names of trunks are asked again before they expire, so that a call finds them known.
//! - Who did not answer, or answered 503, is asked last for a while; a trunk's other requests
//!   prefer the server that took our registration.
//! - `maddr` is followed; the server's side (§5, the way of responses) asks no names.

mod cache;
mod hop;
mod names;
mod services;
mod shunned;
mod srv;
#[cfg(test)]
mod tests;

pub use self::hop::{Hop, Target};
pub use self::names::{Claim, Located, Names};
pub use self::services::Abilities;
