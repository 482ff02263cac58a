//! A virtual world: the whole gateway with its engine and worker inline, scripted phones and a
//! lossy link, in virtual time.
//!
//! Nothing sleeps and nothing reads a clock: [`world::World`] jumps from one deadline to the
//! next. The phones speak SIP and RTP with code of their own ([`phone`]), so that a mistake of
//! ours does not meet its twin.

pub mod ladder;
pub mod link;
pub mod nat;
pub mod phone;
pub mod proxy;
pub mod secure;
pub mod sound;
pub mod world;
