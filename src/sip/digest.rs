//! Digest authentication, both sides (RFC 3261 §22, RFC 2617, RFC 7616, RFC 8760).
//!
//! MD5 and SHA-256 with `qop=auth`, and MD5 as in RFC 2069 for peers without qop, **are**
//! supported; `auth-int`, the `-sess` algorithms, SHA-512-256, `userhash` and
//! Authentication-Info **are not**. Which password belongs to a user name is left to the caller.
//!
//! Escapes in quoted strings are resolved before hashing.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use ring::hmac;

use super::header::{Headers, Name};
use super::lexical::{self, Malformed};
use super::message::Method;

/// In the order of strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Md5,
    Sha256,
}

/// What a server asks for: a value of WWW-Authenticate or Proxy-Authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    /// `qop="auth"`; without it the response is that of RFC 2069.
    pub has_qop: bool,
    /// The nonce was too old, the password right: try again without asking anybody.
    pub is_stale: bool,
}

/// What a client gives: a value of Authorization or Proxy-Authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub realm: String,
    pub nonce: String,
    /// As the client wrote it; it should be the request URI, but proxies rewrite that.
    pub uri: String,
    /// In lower-case hexadecimal.
    pub response: String,
    pub algorithm: Algorithm,
    pub opaque: Option<String>,
    /// With `qop=auth`.
    pub count: Option<Count>,
}

/// `nc` and `cnonce`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    pub nc: u32,
    pub cnonce: String,
}

/// All challenges of one kind (`name` is WWW-Authenticate or Proxy-Authenticate) that we can
/// answer, in their order. Others, Basic among them, are passed over.
pub fn challenges(headers: &Headers, name: &Name) -> Vec<Challenge> {
    headers
        .all(name)
        .flat_map(schemes)
        .filter_map(|(scheme, parameters)| Challenge::read(scheme, &parameters).ok())
        .collect()
}

/// The challenge to answer: the first with the strongest algorithm.
pub fn strongest(challenges: &[Challenge]) -> Option<&Challenge> {
    // `max_by_key` gives the last of equals, hence from the end.
    challenges.iter().rev().max_by_key(|challenge| challenge.algorithm)
}

/// The Digest credentials of a request for `realm` (`name` is Authorization or
/// Proxy-Authorization). Those for others pass by.
pub fn credentials(headers: &Headers, name: &Name, realm: &str) -> Option<Credentials> {
    let mut all = headers.all(name).filter_map(|value| Credentials::parse(value).ok());
    all.find(|credentials| credentials.realm == realm)
}

/// Answers a challenge. `uri` is the request URI as it is sent; `nc` counts the uses of this
/// nonce from 1; `cnonce` is ours and random.
pub fn answer(
    challenge: &Challenge,
    username: &str,
    password: &str,
    method: &Method,
    uri: &str,
    nc: u32,
    cnonce: &str,
) -> Credentials {
    let mut credentials = Credentials {
        username: username.to_owned(),
        realm: challenge.realm.clone(),
        nonce: challenge.nonce.clone(),
        uri: uri.to_owned(),
        response: String::new(),
        algorithm: challenge.algorithm,
        opaque: challenge.opaque.clone(),
        count: challenge.has_qop.then(|| Count { nc, cnonce: cnonce.to_owned() }),
    };
    credentials.response = credentials.expected(password, method);
    credentials
}

/// Whether the response was made with this password. The nonce is to be checked apart.
pub fn verify(credentials: &Credentials, password: &str, method: &Method) -> bool {
    let expected = credentials.expected(password, method);
    // The time that it takes must not tell how many characters were right.
    let difference = expected
        .bytes()
        .zip(credentials.response.bytes())
        .fold(0, |difference, (one, other)| difference | (one ^ other));
    expected.len() == credentials.response.len() && difference == 0
}

impl Challenge {
    /// Reads the first challenge of a header value.
    pub fn parse(value: &str) -> Result<Self, Malformed> {
        let list = schemes(value);
        let (scheme, parameters) = list.first().ok_or(Malformed("scheme expected"))?;
        Self::read(scheme, parameters)
    }

    fn read(scheme: &str, list: &[(String, String)]) -> Result<Self, Malformed> {
        let find = find_in(scheme, list)?;
        let qop = find("qop");
        let has_qop =
            qop.is_some_and(|qop| qop.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")));
        if qop.is_some() && !has_qop {
            return Err(Malformed("qop without auth"));
        }
        Ok(Self {
            realm: find("realm").ok_or(Malformed("realm missing"))?.to_owned(),
            nonce: find("nonce").ok_or(Malformed("nonce missing"))?.to_owned(),
            opaque: find("opaque").map(str::to_owned),
            algorithm: Algorithm::parse(find("algorithm"))?,
            has_qop,
            is_stale: find("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = lexical::quoted;
        write!(f, "Digest realm={}, nonce={}", quoted(&self.realm), quoted(&self.nonce))?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", quoted(opaque))?;
        }
        if self.is_stale {
            f.write_str(", stale=true")?;
        }
        write!(f, ", algorithm={}", self.algorithm.as_str())?;
        if self.has_qop {
            f.write_str(", qop=\"auth\"")?;
        }
        Ok(())
    }
}

impl Credentials {
    pub fn parse(value: &str) -> Result<Self, Malformed> {
        let list = schemes(value);
        let (scheme, parameters) = list.first().ok_or(Malformed("scheme expected"))?;
        let find = find_in(scheme, parameters)?;
        let count = match find("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                let nc = find("nc").ok_or(Malformed("nc missing"))?;
                if nc.starts_with('+') {
                    return Err(Malformed("nc is not a hexadecimal number"));
                }
                let nc = u32::from_str_radix(nc, 16)
                    .map_err(|_| Malformed("nc is not a hexadecimal number"))?;
                let cnonce = find("cnonce").ok_or(Malformed("cnonce missing"))?.to_owned();
                Some(Count { nc, cnonce })
            }
            Some(_) => return Err(Malformed("qop is not auth")),
        };
        let part = |name, missing| find(name).map(str::to_owned).ok_or(Malformed(missing));
        Ok(Self {
            username: part("username", "username missing")?,
            realm: part("realm", "realm missing")?,
            nonce: part("nonce", "nonce missing")?,
            uri: part("uri", "uri missing")?,
            response: part("response", "response missing")?.to_ascii_lowercase(),
            algorithm: Algorithm::parse(find("algorithm"))?,
            opaque: find("opaque").map(str::to_owned),
            count,
        })
    }

    /// RFC 7616 §3.4.1; without qop RFC 2069 §2.1.2.
    fn expected(&self, password: &str, method: &Method) -> String {
        let hash = |parts: &[&str]| self.algorithm.hash(&parts.join(":"));
        let user = hash(&[&self.username, &self.realm, password]);
        let request = hash(&[method.as_str(), &self.uri]);
        match &self.count {
            Some(Count { nc, cnonce }) => {
                hash(&[&user, &self.nonce, &format!("{nc:08x}"), cnonce, "auth", &request])
            }
            None => hash(&[&user, &self.nonce, &request]),
        }
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = lexical::quoted;
        write!(f, "Digest username={}, realm={}", quoted(&self.username), quoted(&self.realm))?;
        write!(f, ", nonce={}, uri={}", quoted(&self.nonce), quoted(&self.uri))?;
        write!(f, ", response={}", quoted(&self.response))?;
        write!(f, ", algorithm={}", self.algorithm.as_str())?;
        if let Some(Count { nc, cnonce }) = &self.count {
            write!(f, ", cnonce={}, qop=auth, nc={nc:08x}", quoted(cnonce))?;
        }
        match &self.opaque {
            Some(opaque) => write!(f, ", opaque={}", quoted(opaque)),
            None => Ok(()),
        }
    }
}

impl Algorithm {
    fn parse(text: Option<&str>) -> Result<Self, Malformed> {
        match text {
            None => Ok(Self::Md5),
            Some(name) if name.eq_ignore_ascii_case("MD5") => Ok(Self::Md5),
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Ok(Self::Sha256),
            Some(_) => Err(Malformed("algorithm is neither MD5 nor SHA-256")),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// In lower-case hexadecimal.
    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => HEXLOWER.encode(&Md5::digest(text)),
            Self::Sha256 => HEXLOWER
                .encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()),
        }
    }
}

/// Nonces that need no memory: the time they were made and a salt, signed. Another process, or
/// this one after a restart with another secret, finds them foreign.
pub struct Nonces {
    key: hmac::Key,
    lifetime: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonce {
    Fresh,
    /// Ours and too old: challenge again with `stale=true`.
    Stale,
    /// Not ours.
    Foreign,
}

impl Nonces {
    /// `secret` is random; see [`crate::random::Random`].
    pub fn new(secret: &[u8; 32], lifetime: Duration) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), lifetime }
    }

    /// A nonce for one challenge. `now` counts from any fixed start; `salt` is random and keeps
    /// the nonces of one moment apart.
    pub fn make(&self, now: Duration, salt: u32) -> String {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&(now.as_millis() as u64).to_be_bytes());
        nonce[8..SIGNED_BYTES].copy_from_slice(&salt.to_be_bytes());
        let signature = hmac::sign(&self.key, &nonce[..SIGNED_BYTES]);
        nonce[SIGNED_BYTES..].copy_from_slice(&signature.as_ref()[..NONCE_BYTES - SIGNED_BYTES]);
        HEXLOWER.encode(&nonce)
    }

    pub fn check(&self, nonce: &str, now: Duration) -> Nonce {
        // The signature covers the text too: another spelling of the same bytes is not ours.
        let Ok(bytes) = HEXLOWER.decode(nonce.as_bytes()) else { return Nonce::Foreign };
        let Some((signed, _)) = bytes.split_first_chunk::<SIGNED_BYTES>() else {
            return Nonce::Foreign;
        };
        let (time, salt) = signed.split_at(8);
        let time = u64::from_be_bytes(time.try_into().expect("eight bytes were split off"));
        let salt = u32::from_be_bytes(salt.try_into().expect("four bytes remain of twelve"));
        let made = Duration::from_millis(time);
        // An attacker cannot do better than guess a signature; comparing text is good enough
        // since what is compared is not the secret, and each guess costs a round trip.
        if self.make(made, salt) != nonce {
            return Nonce::Foreign;
        }
        match now.checked_sub(made) {
            Some(age) if age > self.lifetime => Nonce::Stale,
            _ => Nonce::Fresh,
        }
    }
}

/// Time in milliseconds and salt.
const SIGNED_BYTES: usize = 12;
/// With the first 16 bytes of the signature.
const NONCE_BYTES: usize = SIGNED_BYTES + 16;

/// The highest `nc` seen of each nonce, so that a request overheard can't be sent again.
/// Full: the nonce that was seen first is forgotten; its requests could be repeated until it
/// grows stale.
#[derive(Debug)]
pub struct NonceCounts {
    highest: HashMap<String, u32>,
    order: VecDeque<String>,
    capacity: usize,
}

impl NonceCounts {
    pub fn new(capacity: usize) -> Self {
        Self { highest: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// Whether this is a new use of the nonce. Only for nonces that were found fresh and
    /// credentials that were verified: anything else would fill the table.
    pub fn accept(&mut self, nonce: &str, nc: u32) -> bool {
        if let Some(highest) = self.highest.get_mut(nonce) {
            let is_new = nc > *highest;
            *highest = nc.max(*highest);
            return is_new;
        }
        if self.order.len() >= self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.highest.remove(&oldest);
        }
        self.order.push_back(nonce.to_owned());
        self.highest.insert(nonce.to_owned(), nc);
        true
    }
}

/// The schemes of a value with their parameters: names lower case, values unquoted. One field
/// may hold several challenges, parted by the same comma as their parameters (RFC 7235 §4.1).
fn schemes(value: &str) -> Vec<(&str, Vec<(String, String)>)> {
    let mut list: Vec<(&str, Vec<(String, String)>)> = Vec::new();
    for mut part in lexical::split(value, ',') {
        if let Some((first, rest)) = part.split_once(lexical::BLANKS)
            && lexical::is_token(first)
            && !lexical::trim(rest).starts_with('=')
        {
            list.push((first, Vec::new()));
            part = lexical::trim(rest);
        } else if list.is_empty() {
            list.push((part, Vec::new()));
            continue;
        }
        let Some((name, value)) = part.split_once('=') else { continue };
        let value = lexical::trim(value);
        let value = match lexical::unquote(value) {
            Ok((content, _)) => content,
            Err(_) => value.to_owned(),
        };
        if let Some((_, parameters)) = list.last_mut() {
            parameters.push((lexical::trim(name).to_ascii_lowercase(), value));
        }
    }
    list
}

/// Looks parameters up by name, once the scheme is Digest.
fn find_in<'a>(
    scheme: &str,
    list: &'a [(String, String)],
) -> Result<impl Fn(&str) -> Option<&'a str>, Malformed> {
    if !scheme.eq_ignore_ascii_case("Digest") {
        return Err(Malformed("scheme is not Digest"));
    }
    Ok(move |name: &str| list.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> Method {
        Method::Other("GET".to_owned())
    }

    /// RFC 2617 §3.5.
    #[test]
    fn md5_with_qop_of_rfc_2617() {
        let challenge = Challenge::parse(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
             opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        )
        .unwrap();
        let credentials = answer(
            &challenge,
            "Mufasa",
            "Circle Of Life",
            &get(),
            "/dir/index.html",
            1,
            "0a4f113b",
        );
        assert_eq!(credentials.response, "6629fae49393a05397450978507c4ef1");
        assert_eq!(
            credentials.to_string(),
            "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", \
             response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, \
             cnonce=\"0a4f113b\", qop=auth, nc=00000001, \
             opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""
        );
        assert!(verify(&credentials, "Circle Of Life", &get()));
        assert!(!verify(&credentials, "Circle of Life", &get()));
        assert!(!verify(&credentials, "Circle Of Life", &Method::Invite));
    }

    /// RFC 7616 §3.9.1: one server offers both.
    #[test]
    fn sha_256_is_preferred_and_both_match_rfc_7616() {
        let mut headers = Headers::default();
        for algorithm in ["MD5", "SHA-256"] {
            let value = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            headers.push(Name::WwwAuthenticate, value);
        }
        let challenges = challenges(&headers, &Name::WwwAuthenticate);
        let respond = |challenge: &Challenge| {
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let uri = "/dir/index.html";
            answer(challenge, "Mufasa", "Circle of Life", &get(), uri, 1, cnonce).response
        };
        assert_eq!(respond(&challenges[0]), "8ca523f5e9506fed4657c9700eebdbec");
        let strongest = strongest(&challenges).unwrap();
        assert_eq!(
            respond(strongest),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    /// RFC 2069 §2.4 as corrected by erratum 749.
    #[test]
    fn without_qop_the_response_is_that_of_rfc_2069() {
        let challenge = Challenge::parse(
            r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#,
        )
        .unwrap();
        let credentials =
            answer(&challenge, "Mufasa", "CircleOfLife", &get(), "/dir/index.html", 1, "unused");
        assert_eq!(credentials.response, "1949323746fe6a43ef61f9606e7febea");
        assert_eq!(credentials.count, None);
        assert_eq!(Credentials::parse(&credentials.to_string()), Ok(credentials));
    }

    #[test]
    fn several_challenges_in_one_field_are_told_apart() {
        let mut headers = Headers::default();
        headers.push(
            Name::ProxyAuthenticate,
            r#"Basic realm="b, c", Digest realm="d", nonce = "1", stale=TRUE, Digest nonce="2",realm="e",algorithm=SHA-512-256"#,
        );
        let list = challenges(&headers, &Name::ProxyAuthenticate);
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].realm.as_str(), list[0].nonce.as_str()), ("d", "1"));
        assert!(list[0].is_stale && !list[0].has_qop);
    }

    #[test]
    fn escapes_survive_both_ways() {
        let challenge = Challenge {
            realm: "a \"b\" \\ c".to_owned(),
            nonce: "n".to_owned(),
            opaque: Some(String::new()),
            algorithm: Algorithm::Sha256,
            has_qop: true,
            is_stale: true,
        };
        assert_eq!(Challenge::parse(&challenge.to_string()), Ok(challenge.clone()));
        let uri = "sip:a@b";
        let credentials = answer(&challenge, "x\"y", "p", &Method::Register, uri, 255, "c,d");
        assert!(credentials.to_string().contains("nc=000000ff"));
        assert_eq!(Credentials::parse(&credentials.to_string()), Ok(credentials));
    }

    #[test]
    fn broken_credentials_are_refused() {
        let whole =
            "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:a\", response=\"0\"";
        assert!(Credentials::parse(whole).is_ok());
        for (value, what) in [
            ("NoOneKnowsThisScheme opaque-data=here".to_owned(), "scheme is not Digest"),
            ("".to_owned(), "scheme is not Digest"),
            ("Digest".to_owned(), "username missing"),
            (format!("{whole}, qop=auth"), "nc missing"),
            (format!("{whole}, qop=auth, nc=1"), "cnonce missing"),
            (format!("{whole}, qop=auth, nc=+1"), "nc is not a hexadecimal number"),
            (format!("{whole}, qop=auth-int"), "qop is not auth"),
            (format!("{whole}, algorithm=MD4"), "algorithm is neither MD5 nor SHA-256"),
        ] {
            assert_eq!(Credentials::parse(&value), Err(Malformed(what)));
        }
    }

    #[test]
    fn credentials_are_chosen_by_realm() {
        let mut headers = Headers::default();
        for realm in ["one", "two"] {
            let value = format!(
                "Digest username=\"{realm}\",realm=\"{realm}\",nonce=\"n\",uri=\"u\",response=\"A\""
            );
            headers.push(Name::Authorization, value);
        }
        let found = credentials(&headers, &Name::Authorization, "two").unwrap();
        assert_eq!((found.username.as_str(), found.response.as_str()), ("two", "a"));
        assert_eq!(credentials(&headers, &Name::Authorization, "three"), None);
    }

    #[test]
    fn nonces_grow_stale_and_cannot_be_forged() {
        let nonces = Nonces::new(&[7; 32], Duration::from_secs(60));
        let made = Duration::from_millis(5_000_250);
        let nonce = nonces.make(made, 1);
        assert_ne!(nonce, nonces.make(made, 2));
        assert_eq!(nonces.check(&nonce, made), Nonce::Fresh);
        assert_eq!(nonces.check(&nonce, made + Duration::from_secs(60)), Nonce::Fresh);
        assert_eq!(nonces.check(&nonce, made + Duration::from_millis(60_001)), Nonce::Stale);
        let others = Nonces::new(&[8; 32], Duration::from_secs(60));
        assert_eq!(others.check(&nonce, made), Nonce::Foreign);
        let forged = format!("{}{}", &nonce[..55], if nonce.ends_with('0') { '1' } else { '0' });
        for text in [forged.as_str(), "", "ff", &nonce.to_ascii_uppercase(), "nonsense"] {
            assert_eq!(nonces.check(text, made), Nonce::Foreign, "{text}");
        }
    }

    #[test]
    fn a_count_is_accepted_once() {
        let mut counts = NonceCounts::new(2);
        assert!(counts.accept("a", 1));
        assert!(!counts.accept("a", 1));
        assert!(counts.accept("a", 3));
        assert!(!counts.accept("a", 2));
        assert!(counts.accept("b", 1) && counts.accept("c", 1));
        assert_eq!((counts.highest.len(), counts.order.len()), (2, 2));
    }
}
