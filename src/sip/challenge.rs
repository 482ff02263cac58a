//! Digest authentication of our users, the server's side (RFC 3261 §22.4, RFC 7616, RFC 8760).
//!
//! The algorithms that the configuration names are offered, with `qop=auth`; clients that know no
//! qop **are** supported. Nonces need no table: each is its time under our signature. Only those
//! that served a verified request are remembered, so that nothing overheard can be sent again.
//!
//! The `uri` of the credentials is **not** compared with the request URI: proxies rewrite that.
//! To whom the authenticated user may then speak is left to the caller.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::digest::{self, Algorithm, Challenge, Credentials, Nonce, NonceCounts, Nonces};
use super::guard::Guard;
use super::header::Name;
use super::message::Message;
use super::user_agent::User;
use crate::logger::Private;
use crate::random::Random;
use crate::stats;

/// Who shows credentials.
pub struct Caller<'a> {
    pub source: IpAddr,
    /// The user whom the request names, and how near it comes from to that user's phones.
    pub at_home: Option<(&'a str, Nearness)>,
    pub guard: &'a mut Guard,
}

/// Where a request comes from, seen from the phones that its user has registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearness {
    /// The host of one of them: that phone on another port after a restart or behind its NAT, or
    /// a neighbour. What others guess in its name from elsewhere does not lock it out.
    Host,
    /// The very address of one: its own mistakes do not lock it out either.
    Phone,
}

impl Caller<'_> {
    fn may_guess(&self, now: Instant, user: &str) -> bool {
        let nearness = self.at_home.filter(|(name, _)| *name == user).map(|(_, nearness)| nearness);
        match nearness {
            Some(Nearness::Phone) => true,
            Some(Nearness::Host) => self.guard.may_guess_from(now, self.source),
            None => self.guard.may_guess(now, self.source, user),
        }
    }
}

/// Challenges requests and verifies what comes back.
pub struct Authenticator {
    realm: String,
    /// What is offered, the best first (RFC 8760 §2.3), and nothing else accepted.
    algorithms: Vec<Algorithm>,
    /// What the times in nonces count from.
    start: Instant,
    nonces: Nonces,
    counts: NonceCounts,
    random: Random,
}

/// Why a request is not taken as a user's. [`Authenticator::refuse`] makes the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Digest credentials that cannot be read: 400.
    Malformed,
    /// No credentials for our realm: 401.
    Missing,
    /// A nonce that is too old, not ours, or used before: 401 with `stale=true`, upon which the
    /// client tries again without asking anybody.
    Stale,
    /// Too many were wrong of late, from this source or for this user: 503, whatever this one is.
    Slowed,
    /// No such user, or another password; nothing tells which: 403, so that a client with a
    /// wrong password does not try for ever.
    Wrong,
}

impl Authenticator {
    /// `realm` is the domain of our users: what their password is hashed with.
    pub fn new(
        now: Instant,
        realm: String,
        algorithms: Vec<Algorithm>,
        mut random: Random,
    ) -> Self {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Self {
            realm,
            algorithms,
            start: now,
            nonces: Nonces::new(&secret, NONCE_LIFETIME),
            counts: NonceCounts::new(MAX_NONCES),
            random,
        }
    }

    /// After a reload; clients are challenged anew at their next request.
    pub fn reload(&mut self, realm: String, algorithms: Vec<Algorithm>) {
        self.realm = realm;
        self.algorithms = algorithms;
    }

    /// Whose request this is. Call once for each transaction: the same credentials a second
    /// time are a replay.
    pub fn verify<'a>(
        &mut self,
        now: Instant,
        request: &Message,
        users: &'a [User],
        caller: &mut Caller<'_>,
    ) -> Result<&'a User, Refusal> {
        let credentials = self.credentials(request)?;
        // Every first request of a client after our restart ends here, with a password that
        // may be right.
        if self.nonces.check(&credentials.nonce, self.since_start(now)) != Nonce::Fresh {
            return Err(Refusal::Stale);
        }
        let user = users.iter().find(|user| user.name == credentials.username);
        if !caller.may_guess(now, &credentials.username) {
            stats::SIP_GUESSES_SLOWED.add(1);
            return Err(Refusal::Slowed);
        }
        // An unknown user takes as long as a wrong password does.
        let password = user.map_or("no such user", |user| &user.password);
        let is_right = digest::verify(&credentials, password, request.method());
        // Scanners guess names; a name of ours is most likely a phone that is set up wrong.
        if let Some(user) = user.filter(|_| !is_right) {
            log::info!("user={} wrong password", Private(&user.name));
        }
        let Some(user) = user.filter(|user| is_right && !user.password.is_empty()) else {
            stats::SIP_AUTHENTICATION_FAILED.add(1);
            let is_known = user.is_some();
            caller.guard.note_guess(now, caller.source, &credentials.username, is_known);
            return Err(Refusal::Wrong);
        };
        // Without a count a nonce serves once.
        let count = credentials.count.as_ref().map_or(u32::MAX, |count| count.nc);
        if !self.counts.accept(&credentials.nonce, count) {
            return Err(Refusal::Stale);
        }
        Ok(user)
    }

    /// Whether a request answers a challenge of ours that still holds, rightly or not: whoever
    /// sends it has been answered before.
    pub fn has_asked(&self, now: Instant, request: &Message) -> bool {
        let fresh = |credentials: Credentials| {
            self.nonces.check(&credentials.nonce, self.since_start(now)) == Nonce::Fresh
        };
        self.credentials(request).is_ok_and(fresh)
    }

    /// The response to a request that was refused, without To tag.
    pub fn refuse(&mut self, now: Instant, request: &Message, refusal: Refusal) -> Message {
        let (status, reason) = match refusal {
            Refusal::Malformed => (400, "Malformed Authorization"),
            Refusal::Missing | Refusal::Stale => (401, ""),
            Refusal::Wrong => (403, ""),
            Refusal::Slowed => (503, "Too Many Wrong Passwords"),
        };
        let mut response = Message::response_to(request, status, reason);
        if refusal == Refusal::Slowed {
            response.headers.push(Name::RetryAfter, SLOWED_S);
        }
        if status == 401 {
            for challenge in self.challenges(now, refusal) {
                response.headers.push(Name::WwwAuthenticate, challenge.to_string());
            }
        }
        response
    }

    /// Our credentials of a request, if it has some.
    fn credentials(&self, request: &Message) -> Result<Credentials, Refusal> {
        let name = Name::Authorization;
        if let Some(credentials) = digest::credentials(&request.headers, &name, &self.realm) {
            // No nonce: a client that announces its name before it is asked (RFC 3310 does so).
            let is_asked_for = self.algorithms.contains(&credentials.algorithm);
            return match is_asked_for && !credentials.nonce.is_empty() {
                true => Ok(credentials),
                false => Err(Refusal::Missing),
            };
        }
        let is_broken = request.headers.all(&name).any(is_broken_digest);
        Err(if is_broken { Refusal::Malformed } else { Refusal::Missing })
    }

    fn challenges(&mut self, now: Instant, refusal: Refusal) -> Vec<Challenge> {
        let nonce = self.nonces.make(self.since_start(now), self.random.next_u32());
        let challenge = |&algorithm| Challenge {
            realm: self.realm.clone(),
            nonce: nonce.clone(),
            opaque: None,
            algorithm,
            has_qop: true,
            is_stale: refusal == Refusal::Stale,
        };
        self.algorithms.iter().map(challenge).collect()
    }

    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }
}

/// Credentials of another scheme are somebody else's, not broken.
fn is_broken_digest(value: &str) -> bool {
    let scheme = value.split([' ', '\t']).next().unwrap_or("");
    scheme.eq_ignore_ascii_case("Digest") && Credentials::parse(value).is_err()
}

/// Seconds: about as long as one guess takes to be granted again.
const SLOWED_S: &str = "10";

/// How long a client may go on with one nonce. A stale one costs a round trip, no more.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// Nonces in use: one for each client that sent something within [`NONCE_LIFETIME`], about
/// 250 bytes each. What happens beyond is said at [`NonceCounts`].
const MAX_NONCES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Method;
    use crate::sip::name_addr::NameAddr;
    use crate::sip::uri::Uri;

    fn users() -> Vec<User> {
        [("alice", "secret"), ("bob", "")]
            .map(|(name, password)| User {
                name: name.to_owned(),
                password: password.to_owned(),
                display_name: String::new(),
                max_calls: 0,
            })
            .to_vec()
    }

    fn request() -> Message {
        let alice = NameAddr::new(Uri::sip("alice", "pbx.example", None));
        let uri = Uri::sip("", "pbx.example", None);
        Message::request(Method::Register, uri, alice.clone(), alice, "1@a".to_owned(), 1)
    }

    struct Bench {
        now: Instant,
        authenticator: Authenticator,
        source: IpAddr,
        guard: Guard,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            let both = vec![Algorithm::Sha256, Algorithm::Md5];
            let realm = "pbx.example".to_owned();
            let authenticator = Authenticator::new(now, realm, both, Random::seeded(1));
            let source = IpAddr::from([198, 51, 100, 7]);
            Self { now, authenticator, source, guard: Guard::new(now, 50, 1000) }
        }

        fn challenges(&mut self, refusal: Refusal) -> Vec<Challenge> {
            let response = self.authenticator.refuse(self.now, &request(), refusal);
            digest::challenges(&response.headers, &Name::WwwAuthenticate)
        }

        fn verify(&mut self, credentials: &Credentials) -> Result<String, Refusal> {
            self.verify_text(&credentials.to_string())
        }

        fn verify_text(&mut self, value: &str) -> Result<String, Refusal> {
            let mut request = request();
            request.headers.push(Name::Authorization, value);
            let mut caller = Caller { source: self.source, at_home: None, guard: &mut self.guard };
            let users = users();
            let verdict = self.authenticator.verify(self.now, &request, &users, &mut caller);
            verdict.map(|user| user.name.clone())
        }
    }

    #[test]
    fn guesses_are_slowed_and_the_phone_at_home_is_not() {
        let mut bench = Bench::new();
        let wrong = |bench: &mut Bench| {
            let challenge = bench.challenges(Refusal::Missing).remove(0);
            bench.verify(&answer(&challenge, "alice", "guess", 1))
        };
        let verdicts: Vec<_> = (0..12).map(|_| wrong(&mut bench).unwrap_err()).collect();
        assert_eq!(verdicts[..10], [Refusal::Wrong; 10]);
        assert_eq!(verdicts[10..], [Refusal::Slowed; 2]);
        let response = bench.authenticator.refuse(bench.now, &request(), Refusal::Slowed);
        assert_eq!(response.status(), Some(503));
        assert_eq!(response.header(&Name::RetryAfter), Some("10"));

        let challenge = bench.challenges(Refusal::Missing).remove(0);
        let right = answer(&challenge, "alice", "secret", 1);
        assert_eq!(bench.verify(&right), Err(Refusal::Slowed), "right or wrong is not told");
        let mut request = request();
        request.headers.push(Name::Authorization, right.to_string());
        let mut caller = Caller { source: bench.source, at_home: None, guard: &mut bench.guard };
        let users = users();
        let mut verdict = |nearness| {
            caller.at_home = Some(("alice", nearness));
            bench.authenticator.verify(bench.now, &request, &users, &mut caller)
        };
        // The source has guessed too often itself.
        assert_eq!(verdict(Nearness::Host).err(), Some(Refusal::Slowed));
        assert!(verdict(Nearness::Phone).is_ok());
    }

    #[test]
    fn guesses_from_elsewhere_do_not_slow_a_phone_that_is_back_on_another_port() {
        let mut bench = Bench::new();
        let home = bench.source;
        for number in 0..20 {
            bench.source = IpAddr::from([203, 0, 113, number]);
            let challenge = bench.challenges(Refusal::Missing).remove(0);
            let guess = answer(&challenge, "alice", "guess", 1);
            assert_eq!(bench.verify(&guess), Err(Refusal::Wrong));
        }
        let challenge = bench.challenges(Refusal::Missing).remove(0);
        let mut request = request();
        let right = answer(&challenge, "alice", "secret", 1);
        request.headers.push(Name::Authorization, right.to_string());
        let users = users();
        let mut verdict = |at_home| {
            let mut caller = Caller { source: home, at_home, guard: &mut bench.guard };
            bench.authenticator.verify(bench.now, &request, &users, &mut caller)
        };
        assert_eq!(verdict(None).err(), Some(Refusal::Slowed));
        assert_eq!(verdict(Some(("bob", Nearness::Host))).err(), Some(Refusal::Slowed));
        assert!(verdict(Some(("alice", Nearness::Host))).is_ok());
    }

    #[test]
    fn guesses_at_names_that_nobody_has_are_slowed_as_others_are() {
        let verdicts = |name: &str| {
            let mut bench = Bench::new();
            let guess = |number| {
                bench.source = IpAddr::from([203, 0, 113, number]);
                let challenge = bench.challenges(Refusal::Missing).remove(0);
                bench.verify(&answer(&challenge, name, "guess", 1)).unwrap_err()
            };
            (0..25).map(guess).collect::<Vec<_>>()
        };
        let known = verdicts("alice");
        assert_eq!((known[19], known[20]), (Refusal::Wrong, Refusal::Slowed));
        assert_eq!(verdicts("mallory"), known);
    }

    fn answer(challenge: &Challenge, user: &str, password: &str, nc: u32) -> Credentials {
        digest::answer(challenge, user, password, &Method::Register, "sip:pbx.example", nc, "c1")
    }

    #[test]
    fn request_without_credentials_is_challenged_with_both_algorithms() {
        let mut bench = Bench::new();
        let users = users();
        let mut caller = Caller { source: bench.source, at_home: None, guard: &mut bench.guard };
        let verdict = bench.authenticator.verify(bench.now, &request(), &users, &mut caller);
        assert_eq!(verdict, Err(Refusal::Missing));
        let challenges = bench.challenges(Refusal::Missing);
        let algorithms: Vec<_> = challenges.iter().map(|challenge| challenge.algorithm).collect();
        assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
        assert!(challenges.iter().all(|challenge| challenge.has_qop && !challenge.is_stale));
    }

    #[test]
    fn right_password_is_accepted_with_either_algorithm_and_a_rising_count() {
        let mut bench = Bench::new();
        for place in [0, 1] {
            let challenge = bench.challenges(Refusal::Missing).remove(place);
            for nc in [1, 2, 5] {
                let credentials = answer(&challenge, "alice", "secret", nc);
                assert_eq!(bench.verify(&credentials), Ok("alice".to_owned()));
            }
        }
    }

    #[test]
    fn algorithm_that_is_not_offered_is_not_accepted() {
        let mut bench = Bench::new();
        let [_, md5] = bench.challenges(Refusal::Missing).try_into().unwrap();
        bench.authenticator.reload("pbx.example".to_owned(), vec![Algorithm::Sha256]);
        let credentials = answer(&md5, "alice", "secret", 1);
        assert_eq!(bench.verify(&credentials), Err(Refusal::Missing));
        assert_eq!(bench.challenges(Refusal::Missing).len(), 1);
    }

    #[test]
    fn unknown_user_and_wrong_password_look_the_same() {
        let mut bench = Bench::new();
        let challenge = bench.challenges(Refusal::Missing).remove(0);
        for (user, password) in [("alice", "guess"), ("mallory", "secret"), ("bob", "")] {
            let credentials = answer(&challenge, user, password, 1);
            assert_eq!(bench.verify(&credentials), Err(Refusal::Wrong), "{user}");
        }
        let response = bench.authenticator.refuse(bench.now, &request(), Refusal::Wrong);
        assert_eq!(response.status(), Some(403));
        assert_eq!(response.header(&Name::WwwAuthenticate), None);
    }

    #[test]
    fn overheard_credentials_do_not_serve_again() {
        let mut bench = Bench::new();
        let challenge = bench.challenges(Refusal::Missing).remove(0);
        let credentials = answer(&challenge, "alice", "secret", 2);
        assert!(bench.verify(&credentials).is_ok());
        assert_eq!(bench.verify(&credentials), Err(Refusal::Stale));
        let lower = answer(&challenge, "alice", "secret", 1);
        assert_eq!(bench.verify(&lower), Err(Refusal::Stale));
        assert!(bench.challenges(Refusal::Stale).iter().all(|challenge| challenge.is_stale));
    }

    #[test]
    fn old_and_foreign_nonces_are_stale() {
        let mut bench = Bench::new();
        let challenge = bench.challenges(Refusal::Missing).remove(0);
        bench.now += NONCE_LIFETIME + Duration::from_secs(1);
        let old = answer(&challenge, "alice", "secret", 1);
        assert_eq!(bench.verify(&old), Err(Refusal::Stale));
        let foreign = Challenge { nonce: "0123456789".to_owned(), ..challenge };
        let credentials = answer(&foreign, "alice", "secret", 1);
        assert_eq!(bench.verify(&credentials), Err(Refusal::Stale));
    }

    #[test]
    fn client_without_qop_uses_each_nonce_once() {
        let mut bench = Bench::new();
        let challenge = bench.challenges(Refusal::Missing).remove(1);
        let without = Challenge { has_qop: false, ..challenge };
        let credentials = answer(&without, "alice", "secret", 1);
        assert_eq!(bench.verify(&credentials), Ok("alice".to_owned()));
        assert_eq!(bench.verify(&credentials), Err(Refusal::Stale));
    }

    #[test]
    fn other_realms_and_schemes_are_not_ours_and_broken_ones_are_refused() {
        let mut bench = Bench::new();
        for (value, refusal) in [
            ("Basic YWxpY2U6c2VjcmV0", Refusal::Missing),
            ("Digest username=\"alice\"", Refusal::Malformed),
            (
                "Digest username=\"alice\", realm=\"other\", nonce=\"1\", uri=\"sip:x\", \
                 response=\"00\"",
                Refusal::Missing,
            ),
            (
                "Digest username=\"alice\", realm=\"pbx.example\", nonce=\"\", uri=\"sip:x\", \
                 response=\"\"",
                Refusal::Missing,
            ),
            ("Digest", Refusal::Malformed),
            ("", Refusal::Missing),
        ] {
            assert_eq!(bench.verify_text(value), Err(refusal), "{value}");
        }
    }
}
