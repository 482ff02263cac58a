//! `a=crypto` (RFC 4568): SRTP suites and keys in a description.
//!
//! AES-CM of 128 and 256 bits (RFC 6188) with tags of 80 and 32 bits, one key per line, its
//! lifetime and master key identifier **are** supported. Lines with several keys, a key
//! derivation rate, forward error correction, or anything left unencrypted or unauthenticated
//! **are not**: they are passed over like those of other suites.

use std::fmt;

use data_encoding::BASE64_NOPAD;

/// A crypto suite, in the order in which we offer them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// RFC 4568 §6.2.1: what everybody has.
    AesCm128HmacSha1_80,
    AesCm256HmacSha1_80,
    AesCm128HmacSha1_32,
    AesCm256HmacSha1_32,
}

impl Suite {
    pub const ALL: [Self; 4] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm256HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::AesCm256HmacSha1_32,
    ];

    /// RFC 4568 §6.2, RFC 6188 §4.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of master key and master salt together.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 16 + SALT_BYTES,
            Self::AesCm256HmacSha1_80 | Self::AesCm256HmacSha1_32 => 32 + SALT_BYTES,
        }
    }
}

/// A master key with its salt behind it, as long as its suite says.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(heapless::Vec<u8, MOST_KEY_BYTES>);

impl Key {
    /// `None`: not as long as key and salt of the suite are.
    pub fn new(suite: Suite, bytes: &[u8]) -> Option<Self> {
        let bytes = heapless::Vec::from_slice(bytes).ok()?;
        (bytes.len() == suite.key_bytes()).then_some(Self(bytes))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Keys never get into a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// Which key it is, in every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mki {
    pub value: u32,
    /// Bytes of it in a packet, 1 to 128.
    pub bytes: u8,
}

/// One `a=crypto` line: what its writer sends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Up to nine digits.
    pub tag: u32,
    pub suite: Suite,
    pub key: Key,
    pub mki: Option<Mki>,
}

impl Crypto {
    /// §9.1: `tag suite inline:key[|lifetime][|mki:length] [session-parameters]`, without
    /// `crypto:`. `None` for what is broken or what we do not do.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split_ascii_whitespace();
        let tag = parts.next().filter(|tag| tag.len() <= MOST_TAG_DIGITS)?;
        let tag = number(tag)?;
        let suite = Suite::of(parts.next()?)?;
        let parameters = parts.next()?;
        // §6.1: key methods compare without case. `;` stands between several keys.
        let (method, parameters) = parameters.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") || parameters.contains(';') {
            return None;
        }
        if !parts.all(is_harmless) {
            return None;
        }
        let mut parameters = parameters.split('|');
        let key = BASE64_NOPAD.decode(parameters.next()?.trim_end_matches('=').as_bytes()).ok()?;
        let key = Key::new(suite, &key)?;
        let mut mki = None;
        for (place, parameter) in parameters.enumerate() {
            match parameter.split_once(':') {
                Some((value, length)) if mki.is_none() => mki = Some(parse_mki(value, length)?),
                // The peer's key ends before any call does: at 50 packets a second even 2^20
                // last for six hours.
                None if place == 0 => check_lifetime(parameter)?,
                Some(_) | None => return None,
            }
        }
        Some(Self { tag, suite, key, mki })
    }
}

/// The value of `a=crypto`.
impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = data_encoding::BASE64.encode(self.key.as_bytes());
        write!(f, "crypto:{} {} inline:{key}", self.tag, self.suite.name())?;
        match self.mki {
            Some(Mki { value, bytes }) => write!(f, "|{value}:{bytes}"),
            None => Ok(()),
        }
    }
}

/// Our keys of one call, one of each suite in the order of [`Suite::ALL`]: none is used in two
/// ways.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnKeys([u8; OwnKeys::BYTES]);

impl OwnKeys {
    pub const BYTES: usize = 2 * (16 + SALT_BYTES) + 2 * MOST_KEY_BYTES;

    /// From random bytes that are fit for keys.
    pub fn new(random: [u8; Self::BYTES]) -> Self {
        Self(random)
    }

    pub fn key(&self, suite: Suite) -> Key {
        let before = Suite::ALL.into_iter().take_while(|other| *other != suite);
        let start = before.map(Suite::key_bytes).sum();
        let bytes = self.0[start..].get(..suite.key_bytes());
        bytes.and_then(|bytes| Key::new(suite, bytes)).expect("there is room for one of each")
    }

    /// Our line of this suite.
    pub fn crypto(&self, tag: u32, suite: Suite) -> Crypto {
        Crypto { tag, suite, key: self.key(suite), mki: None }
    }
}

impl fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnKeys(***)")
    }
}

/// The text with its keys hidden, for logs and scripts.
pub fn without_keys(text: &str) -> String {
    // As `Crypto::parse` has it: in any case. ASCII letters keep their places.
    let lower = text.to_ascii_lowercase();
    let (mut hidden, mut from) = (String::with_capacity(text.len()), 0);
    while let Some(place) = lower[from..].find(INLINE) {
        let key = from + place + INLINE.len();
        hidden.push_str(&text[from..key]);
        hidden.push_str("***");
        let end = text[key..].find(|c: char| c.is_whitespace() || c == '|' || c == ';');
        from = end.map_or(text.len(), |end| key + end);
    }
    hidden.push_str(&text[from..]);
    hidden
}

/// §6.3: whether a session parameter may stand beside what we do. A window is the peer's wish
/// for ours, which is larger than the least; one behind a hyphen may be passed over (§6.3.7).
fn is_harmless(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    name.eq_ignore_ascii_case("WSH") || name.starts_with('-')
}

fn parse_mki(value: &str, length: &str) -> Option<Mki> {
    let bytes = number(length).filter(|length| (1..=MOST_MKI_BYTES).contains(length))?;
    Some(Mki { value: number(value)?, bytes: bytes as u8 })
}

/// `2^20`, or a number of packets.
fn check_lifetime(text: &str) -> Option<()> {
    match text.strip_prefix("2^") {
        Some(power) => number(power).filter(|power| *power <= 48).map(drop),
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Some(()),
        None => None,
    }
}

/// Digits only.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

const INLINE: &str = "inline:";
/// RFC 3711 §8.2.
const SALT_BYTES: usize = 14;
const MOST_KEY_BYTES: usize = 32 + SALT_BYTES;
const MOST_TAG_DIGITS: usize = 9;
/// §6.1.
const MOST_MKI_BYTES: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

    /// RFC 4568 §5.1.1 and §9.1.
    #[test]
    fn lines_of_rfc_4568_are_read() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:32");
        let crypto = Crypto::parse(&line).unwrap();
        assert_eq!((crypto.tag, crypto.suite), (1, Suite::AesCm128HmacSha1_80));
        // The 30 bytes as coreutils' base64 has them.
        assert_eq!(crypto.key.as_bytes(), b"=-n@%^x!Bjufr9)?,#5h\\`=&]{qiPQ");
        assert_eq!(crypto.mki, Some(Mki { value: 1, bytes: 32 }));
        let line = "1 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|2^20";
        let crypto = Crypto::parse(line).unwrap();
        assert_eq!((crypto.suite, crypto.mki), (Suite::AesCm128HmacSha1_32, None));
    }

    #[test]
    fn keys_of_256_bits_are_read_with_and_without_padding() {
        for padding in ["==", "=", ""] {
            let line = format!("2 AES_256_CM_HMAC_SHA1_80 inline:{}{padding}", "A".repeat(62));
            let crypto = Crypto::parse(&line).unwrap();
            assert_eq!(crypto.key.as_bytes(), [0; 46]);
            let written = format!("crypto:2 AES_256_CM_HMAC_SHA1_80 inline:{}==", "A".repeat(62));
            assert_eq!(crypto.to_string(), written);
        }
    }

    #[test]
    fn what_stands_behind_the_key_is_read_or_the_line_is_passed_over() {
        let is_taken = |rest: &str| {
            Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}")).is_some()
        };
        for rest in [
            "",
            "|2^48",
            "|1000000",
            "|2^31|7:4",
            "|7:4",
            "|4294967295:128",
            " WSH=128",
            " wsh=64",
            " -NOVELTY=9",
        ] {
            assert!(is_taken(rest), "{rest}");
        }
        for rest in [
            "|",
            "|2^49",
            "|2^x",
            "|2^",
            "|-5",
            "|1:0",
            "|1:129",
            "|x:4",
            "|1:4|1:4",
            "|1:4|2^20",
            "|2^20|2^20",
            "|4294967296:4",
            ";inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2:4",
            " KDR=1",
            " UNENCRYPTED_SRTP",
            " UNENCRYPTED_SRTCP",
            " UNAUTHENTICATED_SRTP",
            " FEC_ORDER=FEC_SRTP",
            " FEC_KEY=inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR",
            " NOVELTY=9",
            " WSH=128 KDR=1",
        ] {
            assert!(!is_taken(rest), "{rest}");
        }
    }

    #[test]
    fn broken_lines_are_none() {
        for line in [
            "",
            "1",
            "1 AES_CM_128_HMAC_SHA1_80",
            "1 AES_CM_128_HMAC_SHA1_80 inline",
            "1 AES_CM_128_HMAC_SHA1_80 inline:",
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "1 AES_CM_128_HMAC_SHA1_80 other:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR",
            "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaV!R",
            // 46 bytes for a suite of 30.
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
             AAAAAAAAAA",
            "1 F8_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR",
            "-1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR",
            "1234567890 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR",
        ] {
            assert_eq!(Crypto::parse(line), None, "{line}");
        }
    }

    #[test]
    fn own_keys_are_other_bytes_for_each_suite() {
        let random: [u8; OwnKeys::BYTES] = std::array::from_fn(|n| n as u8);
        let keys = OwnKeys::new(random);
        assert_eq!(keys.key(Suite::AesCm128HmacSha1_80).as_bytes(), &random[..30]);
        assert_eq!(keys.key(Suite::AesCm256HmacSha1_80).as_bytes(), &random[30..76]);
        assert_eq!(keys.key(Suite::AesCm128HmacSha1_32).as_bytes(), &random[76..106]);
        assert_eq!(keys.key(Suite::AesCm256HmacSha1_32).as_bytes(), &random[106..]);
    }

    #[test]
    fn keys_are_not_shown() {
        let crypto = Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")).unwrap();
        let own = OwnKeys::new([77; OwnKeys::BYTES]);
        let shown = format!("{crypto:?} {own:?}");
        assert!(!shown.contains(KEY) && !shown.contains("61, 45") && !shown.contains("77"));
        assert_eq!(
            without_keys(&format!("a=crypto:1 X inline:{KEY}|2^20 WSH=1\r\na=x\r\n")),
            "a=crypto:1 X inline:***|2^20 WSH=1\r\na=x\r\n"
        );
        assert_eq!(without_keys(&format!("inline:{KEY}")), "inline:***");
        assert_eq!(without_keys("v=0\r\n"), "v=0\r\n");
        assert_eq!(without_keys(&format!("InLine:{KEY}|1")), "InLine:***|1");
        assert_eq!(
            without_keys(&format!("inline:{KEY};inline:{KEY}|1:4\n")),
            "inline:***;inline:***|1:4\n"
        );
    }
}
