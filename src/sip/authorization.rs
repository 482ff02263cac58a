//! What a client proves (RFC 3261 §22.2, §22.3): the challenges of one usage and their answers.

use super::digest::{self, Challenge};
use super::header::Name;
use super::message::{Message, Method};
use crate::random::Random;

/// User name and password, and the challenges that they were asked for.
#[derive(Debug)]
pub struct Login {
    username: String,
    password: String,
    /// The only realm that gets a proof; empty: any.
    realm: String,
    /// One for each realm, the proxy's and the server's.
    challenges: Vec<Answered>,
}

#[derive(Debug)]
struct Answered {
    /// Authorization or Proxy-Authorization.
    name: Name,
    challenge: Challenge,
    /// Uses of the nonce so far.
    count: u32,
    /// Fresh nonces in a row that were called stale at their first use.
    retries: u32,
}

impl Login {
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            realm: String::new(),
            challenges: Vec::new(),
        }
    }

    /// Answers challenges of this realm only; empty: any.
    pub fn for_realm(self, realm: &str) -> Self {
        Self { realm: realm.to_owned(), ..self }
    }

    /// Takes in a 401 or 407 to `request`. Whether sending it again, signed, has a chance: not
    /// when a fresh proof was refused already.
    pub fn learn(&mut self, request: &Message, response: &Message) -> bool {
        let mut has_new = false;
        for (ours, challenge) in asked(response) {
            if !self.realm.is_empty() && challenge.realm != self.realm {
                continue;
            }
            let refused = digest::credentials(&request.headers, &ours, &challenge.realm);
            let has_room = self.challenges.len() < MAX_REALMS;
            let known = self
                .challenges
                .iter_mut()
                .find(|known| known.name == ours && known.challenge.realm == challenge.realm);
            let name = ours;
            match (known, refused) {
                (Some(known), Some(refused)) => {
                    // A proof that was refused at its first use: the password is wrong, unless
                    // the nonce had only grown old.
                    let is_first = known.count <= 1;
                    let is_hopeless = is_first && !challenge.is_stale
                        || refused.nonce == challenge.nonce
                        || known.retries >= MAX_RETRIES;
                    if is_hopeless {
                        return false;
                    }
                    let retries = if is_first { known.retries + 1 } else { 0 };
                    *known = Answered { name, challenge, count: 0, retries };
                }
                (Some(known), None) => {
                    *known = Answered { name, challenge, count: 0, retries: 0 };
                }
                (None, _) if has_room => {
                    self.challenges.push(Answered { name, challenge, count: 0, retries: 0 });
                }
                (None, _) => return false,
            }
            has_new = true;
        }
        has_new
    }

    /// Puts a proof for each known challenge on a request, in the place of older ones.
    pub fn sign(&mut self, request: &mut Message, random: &mut Random) {
        request.headers.remove(&Name::Authorization);
        request.headers.remove(&Name::ProxyAuthorization);
        let method = request.method().clone();
        if matches!(method, Method::Ack | Method::Cancel) {
            return;
        }
        let Some(uri) = request.request_uri().map(ToString::to_string) else { return };
        for known in &mut self.challenges {
            known.count += 1;
            let credentials = digest::answer(
                &known.challenge,
                &self.username,
                &self.password,
                &method,
                &uri,
                known.count,
                &random.hex(CNONCE_BYTES),
            );
            request.headers.push(known.name.clone(), credentials.to_string());
        }
    }
}

/// The challenge to answer of each realm, and where: several proxies of a fork may ask at once
/// (RFC 3261 §22.3).
fn asked(response: &Message) -> Vec<(Name, Challenge)> {
    let mut asked = Vec::new();
    for (theirs, ours) in [
        (Name::WwwAuthenticate, Name::Authorization),
        (Name::ProxyAuthenticate, Name::ProxyAuthorization),
    ] {
        let mut all = digest::challenges(&response.headers, &theirs);
        while let Some(first) = all.first() {
            let realm = first.realm.clone();
            let (of_realm, others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|challenge| challenge.realm == realm);
            asked.extend(digest::strongest(&of_realm).map(|one| (ours.clone(), one.clone())));
            all = others;
        }
    }
    asked
}

/// A provider and its proxies ask for one or two.
const MAX_REALMS: usize = 4;
/// A server that calls every nonce stale would go on for ever.
const MAX_RETRIES: u32 = 2;
const CNONCE_BYTES: usize = 8;
