//! Session keys out of a master key (RFC 3711 §4.3), the keystream (§4.1.1) and the tag (§4.2).

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Aes256Enc, Block};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::{Master, SALT_BYTES, Suite};

/// The session keys of RTP or of RTCP in one direction.
pub struct Session {
    cipher: Cipher,
    /// Shifted to where it stands in the counter block.
    salt: u128,
    authenticator: Hmac<Sha1>,
}

/// Whose session keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Rtp,
    Rtcp,
}

impl Session {
    pub fn new(suite: Suite, master: &Master, kind: Kind) -> Self {
        let derivation = Derivation::new(suite, master);
        // §4.3.1 and §4.3.2.
        let first = match kind {
            Kind::Rtp => 0,
            Kind::Rtcp => 3,
        };
        let mut key = [0; 32];
        let key = &mut key[..suite.key_bytes()];
        derivation.derive(first, key);
        let mut authentication = [0; 20];
        derivation.derive(first + 1, &mut authentication);
        let mut salt = [0; SALT_BYTES];
        derivation.derive(first + 2, &mut salt);
        Self {
            cipher: Cipher::new(key),
            salt: counter_block(&salt),
            authenticator: Hmac::new_from_slice(&authentication)
                .expect("HMAC takes a key of any length"),
        }
    }

    /// Encrypts or decrypts in place, the same to a counter mode.
    pub fn apply(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        // §4.1.1: IV = (k_s * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16).
        let counter = self.salt ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16;
        self.cipher.apply(counter, data);
    }

    /// The first bytes of HMAC-SHA1 over the packet and what follows it there.
    pub fn tag(&self, packet: &[u8], behind: [u8; 4], tag: &mut [u8]) {
        let whole = self.authentication(packet, behind).finalize().into_bytes();
        tag.copy_from_slice(&whole[..tag.len()]);
    }

    /// Whether the tag is the right one, in a time that does not tell how much of it is.
    pub fn is_authentic(&self, packet: &[u8], behind: [u8; 4], tag: &[u8]) -> bool {
        self.authentication(packet, behind).verify_truncated_left(tag).is_ok()
    }

    fn authentication(&self, packet: &[u8], behind: [u8; 4]) -> Hmac<Sha1> {
        let mut authenticator = self.authenticator.clone();
        authenticator.update(packet);
        authenticator.update(&behind);
        authenticator
    }
}

/// §4.3.3: the keystream of the master key is the pseudo-random function.
pub struct Derivation {
    cipher: Cipher,
    salt: u128,
}

impl Derivation {
    pub fn new(suite: Suite, master: &Master) -> Self {
        Self { cipher: Cipher::new(master.key(suite)), salt: counter_block(master.salt(suite)) }
    }

    /// With key derivation rate 0: the index does not count.
    pub fn derive(&self, label: u8, out: &mut [u8]) {
        out.fill(0);
        // The label stands above the 48 bits of the index, and all of it is shifted by 16.
        self.cipher.apply(self.salt ^ u128::from(label) << (48 + 16), out);
    }
}

pub enum Cipher {
    Aes128(Aes128Enc),
    Aes256(Aes256Enc),
}

impl Cipher {
    pub fn new(key: &[u8]) -> Self {
        match key.try_into() {
            Ok(key) => Self::Aes128(Aes128Enc::new(key)),
            Err(_) => Self::Aes256(
                Aes256Enc::new_from_slice(key).expect("a suite's key has 16 or 32 bytes"),
            ),
        }
    }

    /// Adds the keystream from this counter on.
    pub fn apply(&self, mut counter: u128, data: &mut [u8]) {
        for part in data.chunks_mut(BATCH * BLOCK_BYTES) {
            let mut blocks = [Block::default(); BATCH];
            let blocks = &mut blocks[..part.len().div_ceil(BLOCK_BYTES)];
            for block in &mut *blocks {
                *block = counter.to_be_bytes().into();
                counter = counter.wrapping_add(1);
            }
            match self {
                Self::Aes128(cipher) => cipher.encrypt_blocks(blocks),
                Self::Aes256(cipher) => cipher.encrypt_blocks(blocks),
            }
            for (bytes, block) in part.chunks_mut(BLOCK_BYTES).zip(&*blocks) {
                for (byte, key) in bytes.iter_mut().zip(block) {
                    *byte ^= key;
                }
            }
        }
    }
}

/// 112 bits in front of the 16 that count blocks.
fn counter_block(salt: &[u8]) -> u128 {
    let mut block = [0; BLOCK_BYTES];
    block[..SALT_BYTES].copy_from_slice(salt);
    u128::from_be_bytes(block)
}

const BLOCK_BYTES: usize = 16;
/// What processors with AES instructions work on at a time; 20 ms of G.711 are ten blocks.
const BATCH: usize = 12;
