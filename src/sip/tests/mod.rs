//! What tests of several files share, and those of the whole user agent.

pub mod bench;
mod failover;
mod phones;
mod secure;
mod storm;
mod trunks;
