//! A phone's SRTP: its key in its SDP, and what it does with packets.
//!
//! The text is read and written here, apart from the gateway's own; the ciphers are the
//! gateway's, which vectors and foreign phones hold to the standard.

use crate::media::srtp::{Context, Keys, Master, Suite};

/// How a phone wants its audio encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    pub profile: Profile,
    pub suite: Suite,
    /// Encrypts with another key than it says.
    pub lies: bool,
    /// Of its RTP, so that the numbers wrap when the test wants them to.
    pub first_sequence: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// RTP/SAVP.
    Secure,
    /// Keys over RTP/AVP.
    Opportunistic,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            profile: Profile::Secure,
            suite: Suite::AesCm128HmacSha1_80,
            lies: false,
            first_sequence: 0,
        }
    }
}

/// One call's keys.
#[derive(Debug)]
pub struct Secure {
    pub wish: Wish,
    /// Of its own line.
    tag: u32,
    protocol: &'static str,
    key: Vec<u8>,
    has_heard: bool,
    context: Option<Context>,
}

impl Secure {
    pub fn new(wish: Wish, call: u32) -> Self {
        let protocol = match wish.profile {
            Profile::Secure => "RTP/SAVP",
            Profile::Opportunistic => "RTP/AVP",
        };
        let key = vec![call as u8; wish.suite.key_bytes() + 14];
        Self { wish, tag: 1, protocol, key, has_heard: false, context: None }
    }

    /// Another key for the next description.
    pub fn change_key(&mut self) {
        for byte in &mut self.key {
            *byte = byte.wrapping_add(50);
        }
    }

    /// Protocol and `a=crypto` of its own description; with a peer that has no keys there are
    /// none.
    pub fn describe(&self) -> (&'static str, String) {
        if self.has_heard && self.context.is_none() {
            return ("RTP/AVP", String::new());
        }
        let key = data_encoding::BASE64.encode(&self.key);
        (self.protocol, format!("a=crypto:{} {} inline:{key}\r\n", self.tag, name(self.wish.suite)))
    }

    /// Takes the other side's key of the suite that the phone has.
    pub fn hear(&mut self, sdp: &str) {
        if !sdp.contains("m=audio") {
            return;
        }
        self.has_heard = true;
        match (self.keys_in(sdp), &mut self.context) {
            (Some(keys), Some(context)) => context.change(keys),
            (keys, context) => *context = keys.map(Context::new),
        }
    }

    fn keys_in(&mut self, sdp: &str) -> Option<Keys> {
        let suite = self.wish.suite;
        let (tag, remote) = sdp.lines().find_map(|line| {
            let mut words = line.strip_prefix("a=crypto:")?.split(' ');
            let tag = words.next()?.parse().ok()?;
            let key = words.next().filter(|word| *word == name(suite)).and(words.next())?;
            let key = key.strip_prefix("inline:")?.split('|').next()?;
            Some((tag, data_encoding::BASE64.decode(key.trim().as_bytes()).ok()?))
        })?;
        self.tag = tag;
        self.protocol = if sdp.contains(" RTP/SAVP ") { "RTP/SAVP" } else { "RTP/AVP" };
        let mut outbound = self.key.clone();
        outbound[0] ^= u8::from(self.wish.lies);
        Some(Keys {
            suite,
            outbound: Master::new(suite, &outbound)?,
            inbound: Master::new(suite, &remote)?,
            inbound_mki: None,
        })
    }

    pub fn protect(&mut self, sequence: u16, ssrc: u32, packet: &mut Vec<u8>) {
        if let Some(context) = &mut self.context
            && let Some(index) = context.sender.take_index(sequence)
        {
            context.sender.protect(ssrc, index, packet, 0);
        }
    }

    /// The packet in the clear; `None` where it is not authentic.
    pub fn unprotect(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let Some(context) = &mut self.context else { return Some(data.to_vec()) };
        let mut clear = Vec::new();
        context.receiver.unprotect(data, &mut clear).ok().map(|()| clear)
    }
}

fn name(suite: Suite) -> &'static str {
    match suite {
        Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
        Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        Suite::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
        Suite::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
    }
}
