//! SRTP and SRTCP (RFC 3711) with AES in counter mode and HMAC-SHA1 (RFC 6188 for 256 bits).
//!
//! One [`Context`] per call: our packets are protected on their way out, the peer's are checked
//! and decrypted before anybody else sees them. Keys come from outside, in both directions.
//!
//! Master key identifiers in what the peer sends **are** supported. Key derivation rates other
//! than 0, several master keys at one time, authentication without encryption and the reverse
//! are **not**.
//!
//! Invariant: nothing is changed by a packet that does not authenticate; no packet index is used
//! twice under one key.

mod cipher;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;

pub use receiver::{Receiver, Rejected};
pub use sender::Sender;

/// How packets are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
    AesCm256HmacSha1_80,
    AesCm256HmacSha1_32,
}

impl Suite {
    /// Bytes of the master key.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 16,
            Self::AesCm256HmacSha1_80 | Self::AesCm256HmacSha1_32 => 32,
        }
    }

    /// Bytes of the tag of an RTP packet; RTCP always has the long one (RFC 4568 §6.2.2).
    fn tag_bytes(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm256HmacSha1_80 => LONG_TAG_BYTES,
            Self::AesCm128HmacSha1_32 | Self::AesCm256HmacSha1_32 => 4,
        }
    }
}

/// A master key with its master salt behind it, as SDES writes them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Master([u8; MOST_MASTER_BYTES]);

impl Master {
    /// `None`: not as long as key and salt of the suite are.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<Self> {
        if key_and_salt.len() != suite.key_bytes() + SALT_BYTES {
            return None;
        }
        let mut bytes = [0; MOST_MASTER_BYTES];
        bytes[..key_and_salt.len()].copy_from_slice(key_and_salt);
        Some(Self(bytes))
    }

    fn key(&self, suite: Suite) -> &[u8] {
        &self.0[..suite.key_bytes()]
    }

    fn salt(&self, suite: Suite) -> &[u8] {
        &self.0[suite.key_bytes()..suite.key_bytes() + SALT_BYTES]
    }
}

/// Keys never get into a log.
impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(***)")
    }
}

/// What names the master key in every packet of the peer (RFC 3711 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mki {
    pub value: u32,
    /// 1 to 128.
    pub bytes: u8,
}

/// What offer and answer agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub suite: Suite,
    /// Of what we send.
    pub outbound: Master,
    /// Of what the peer sends.
    pub inbound: Master,
    pub inbound_mki: Option<Mki>,
}

/// Both directions of a call.
pub struct Context {
    keys: Keys,
    pub sender: Sender,
    pub receiver: Receiver,
}

impl Context {
    pub fn new(keys: Keys) -> Self {
        Self {
            sender: Sender::new(keys.suite, &keys.outbound),
            receiver: Receiver::new(keys.suite, &keys.inbound, keys.inbound_mki),
            keys,
        }
    }

    /// A direction whose key is another begins anew, with roll-over counter 0; one whose key is
    /// the same goes on: beginning again would use its keystream twice.
    pub fn change(&mut self, keys: Keys) {
        let same_cipher = keys.suite.key_bytes() == self.keys.suite.key_bytes();
        match same_cipher && keys.outbound == self.keys.outbound {
            true => self.sender.set_suite(keys.suite),
            false => self.sender = Sender::new(keys.suite, &keys.outbound),
        }
        match same_cipher && keys.inbound == self.keys.inbound {
            true => self.receiver.set_suite(keys.suite, keys.inbound_mki),
            false => self.receiver = Receiver::new(keys.suite, &keys.inbound, keys.inbound_mki),
        }
        self.keys = keys;
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({:?})", self.keys.suite)
    }
}

/// 80 bits.
const LONG_TAG_BYTES: usize = 10;
/// RFC 3711 §8.2: 112 bits.
pub const SALT_BYTES: usize = 14;
pub const MOST_MASTER_BYTES: usize = 32 + SALT_BYTES;
/// E flag and index of SRTCP (RFC 3711 §3.4).
const INDEX_BYTES: usize = 4;
const ENCRYPTED: u32 = 1 << 31;
/// Header and SSRC of the first RTCP packet stay in the clear.
const CONTROL_HEADER_BYTES: usize = 8;
