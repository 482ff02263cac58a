//! Our registration at one trunk, the client's side (RFC 3261 §10.2).
//!
//! Says when a REGISTER is to be sent and makes it, understands the response, refreshes in time
//! and backs off after failures. Finding the registrar's address, Via, Max-Forwards, User-Agent
//! and the transaction are left to the user agent. Redirection, Path, Service-Route and outbound
//! flows (RFC 5626) **are not** supported.
//!
//! ```text
//!            take_due            request              2xx
//! Waiting --------------> Due --------------> Sent ----------> Waiting (until the refresh)
//!                          ^                   |   401/407/423: send again at once
//!                          +-------------------+
//!                                              |   other final response, or `failed`
//!                                              +-------------> Waiting (back-off)
//! ```

use std::time::{Duration, Instant};

use super::digest::{self, Challenge};
use super::fields::Contacts;
use super::header::Name;
use super::message::{Message, Method};
use super::name_addr::NameAddr;
use super::uri::Uri;
use super::user_agent::{Trunk, TrunkState};
use crate::random::Random;
use crate::stats;

/// One trunk's registration.
#[derive(Debug)]
pub struct Registration {
    registrar: Uri,
    /// Address of record: From and To.
    identity: Uri,
    username: String,
    password: String,
    /// The same for as long as we run (RFC 3261 §10.2.4).
    call_id: String,
    /// Of the last request.
    cseq: u32,
    /// Seconds to ask for; raised by 423.
    expires: u32,
    /// Contact of the last request.
    contact: Option<Uri>,
    credentials: Vec<Authorization>,
    phase: Phase,
    /// Requests of this attempt that were answered 401, 407 or 423.
    repeats: u32,
    /// Failures since the last success.
    failures: u32,
    state: TrunkState,
    /// When the binding that we know of ends by itself.
    bound_until: Option<Instant>,
    wish: Wish,
    random: Random,
}

/// What is to be done after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Make and send another [`Registration::request`] at once.
    Send,
    /// Nothing until `poll_timeout`.
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting {
        at: Instant,
    },
    /// The user agent is finding its way to the registrar.
    Due,
    /// A request is on its way.
    Sent,
    /// After `unregister`.
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Registered,
    Unregistered,
}

/// What we answer to a challenger; kept, so that a refresh needs one round trip only.
#[derive(Debug)]
struct Authorization {
    /// WWW-Authenticate or Proxy-Authenticate.
    asked_by: Name,
    challenge: Challenge,
    /// Uses of the nonce.
    count: u32,
    /// Challenged within this attempt: a second challenge then means a wrong password.
    is_of_this_attempt: bool,
}

impl Registration {
    /// The first REGISTER is due at once.
    pub fn new(now: Instant, trunk: &Trunk, mut random: Random) -> Self {
        let mut registrar = trunk.server.clone();
        // RFC 3261 §10.2: the request URI names the registrar's domain and nobody there.
        registrar.user = None;
        registrar.password = None;
        registrar.headers = None;
        Self {
            identity: Uri::sip(&trunk.username, &registrar.host, None),
            registrar,
            username: trunk.username.clone(),
            password: trunk.password.clone(),
            call_id: random.hex(16),
            cseq: 0,
            expires: DEFAULT_EXPIRES,
            contact: None,
            credentials: Vec::new(),
            phase: Phase::Waiting { at: now },
            repeats: 0,
            failures: 0,
            state: TrunkState::Unknown,
            bound_until: None,
            wish: Wish::Registered,
            random,
        }
    }

    /// Whether a REGISTER is to be sent. If so, find the way to [`Registration::registrar`],
    /// then call [`Registration::request`], or [`Registration::failed`] where there is none.
    pub fn take_due(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Waiting { at } if at <= now => {
                self.phase = Phase::Due;
                self.repeats = 0;
                for authorization in &mut self.credentials {
                    authorization.is_of_this_attempt = false;
                }
                true
            }
            _ => false,
        }
    }

    /// The next REGISTER, with our address as the registrar sees it. The user of `contact` is
    /// ours to set.
    pub fn request(&mut self, mut contact: Uri) -> Message {
        contact.user = Some(self.username.clone()).filter(|user| !user.is_empty());
        self.phase = Phase::Sent;
        self.cseq = self.cseq.saturating_add(1);
        let mut from = NameAddr::new(self.identity.clone());
        from.set_tag(self.random.hex(8));
        let mut request = Message::request(
            Method::Register,
            self.registrar.clone(),
            from,
            NameAddr::new(self.identity.clone()),
            self.call_id.clone(),
            self.cseq,
        );
        let expires = match self.wish {
            Wish::Registered => self.expires,
            Wish::Unregistered => 0,
        };
        let mut value = NameAddr::new(contact.clone());
        // Both forms: some registrars read the one only, some the other.
        value.set_parameter("expires", Some(expires.to_string()));
        request.headers.push(Name::Contact, value.to_string());
        request.headers.push(Name::Expires, expires.to_string());
        for authorization in &mut self.credentials {
            authorization.count += 1;
            let credentials = digest::answer(
                &authorization.challenge,
                &self.username,
                &self.password,
                &Method::Register,
                &self.registrar.to_string(),
                authorization.count,
                &self.random.hex(8),
            );
            request.headers.push(authorization.answered_by(), credentials.to_string());
        }
        self.contact = Some(contact);
        request
    }

    /// A final response to the last request.
    pub fn handle_response(&mut self, now: Instant, response: &Message) -> Next {
        if self.phase != Phase::Sent || response.cseq.number != self.cseq {
            return Next::Wait;
        }
        match response.status() {
            None | Some(100..=199) => Next::Wait,
            Some(200..=299) => {
                self.succeeded(now, response);
                Next::Wait
            }
            Some(401 | 407) if self.take_challenges(response) => self.again(now, response),
            Some(423) if self.take_min_expires(response) => self.again(now, response),
            Some(_) => {
                self.refused(now, response);
                Next::Wait
            }
        }
    }

    /// The request could not be sent (503) or nobody answered it (408).
    pub fn failed(&mut self, now: Instant, status: u16, reason: &str) {
        if matches!(self.phase, Phase::Due | Phase::Sent) {
            self.fail(now, status, reason, None);
        }
    }

    /// The way to the registrar changed or works again: do not wait for the refresh or sit the
    /// back-off out. A refusal of the registrar's own (403) still waits.
    pub fn hurry(&mut self, now: Instant) {
        let may = match self.state {
            TrunkState::Unknown | TrunkState::Up => true,
            TrunkState::Down { status, .. } => matches!(status, 408 | 503),
        };
        if let (Phase::Waiting { at }, true) = (self.phase, may) {
            self.phase = Phase::Waiting { at: at.min(now) };
        }
    }

    /// Takes our contact away at the registrar: at shutdown, or when the trunk's settings change
    /// (a new `Registration` then serves the new ones). What is on its way is forgotten.
    pub fn unregister(&mut self, now: Instant) {
        if self.wish == Wish::Unregistered {
            return;
        }
        self.wish = Wish::Unregistered;
        // A request without a response may have bound us all the same.
        let may_be_bound =
            self.phase == Phase::Sent || self.bound_until.is_some_and(|until| until > now);
        self.phase = match may_be_bound {
            true => Phase::Waiting { at: now },
            false => Phase::Finished,
        };
    }

    /// Nothing is to be done any more after `unregister`.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { at } => Some(at),
            Phase::Due | Phase::Sent | Phase::Finished => None,
        }
    }

    pub fn state(&self) -> &TrunkState {
        &self.state
    }

    /// Where requests go.
    pub fn registrar(&self) -> &Uri {
        &self.registrar
    }

    fn succeeded(&mut self, now: Instant, response: &Message) {
        if self.wish == Wish::Unregistered {
            self.bound_until = None;
            self.phase = Phase::Finished;
            return;
        }
        let granted = self.granted(response);
        if granted.is_zero() {
            return self.fail(now, 500, "registrar granted no time", None);
        }
        self.failures = 0;
        self.state = TrunkState::Up;
        self.bound_until = Some(now + granted);
        // 80 to 90 %: time for a retransmission and a second attempt, and not all trunks and
        // gateways at the same moment.
        let part = 0.8 + 0.1 * self.fraction();
        self.phase = Phase::Waiting { at: now + granted.mul_f64(part).max(MIN_REFRESH) };
    }

    /// How long the registrar keeps our contact (§10.2.4).
    fn granted(&self, response: &Message) -> Duration {
        let asked = response.headers.expires().unwrap_or(self.expires);
        let contacts = match response.headers.contacts() {
            Ok(Contacts::List(list)) => list,
            Ok(Contacts::All) | Err(_) => Vec::new(),
        };
        let is_ours = |contact: &&NameAddr| {
            self.contact.as_ref().is_some_and(|ours| contact.uri.matches(ours))
        };
        let ours = match contacts.as_slice() {
            // Registrars behind a NAT-aware proxy give our contact another address.
            [only] => Some(only),
            all => all.iter().find(is_ours),
        };
        let granted = ours.and_then(NameAddr::expires).unwrap_or(asked);
        Duration::from_secs(u64::from(granted.min(LONGEST)))
    }

    /// Sends again, unless this attempt has done so too often.
    fn again(&mut self, now: Instant, response: &Message) -> Next {
        self.repeats += 1;
        if self.repeats > MAX_REPEATS {
            self.refused(now, response);
            return Next::Wait;
        }
        self.phase = Phase::Due;
        Next::Send
    }

    /// Whether the challenges of a response are worth an answer.
    fn take_challenges(&mut self, response: &Message) -> bool {
        let mut is_new = false;
        for name in [Name::WwwAuthenticate, Name::ProxyAuthenticate] {
            let challenges = digest::challenges(&response.headers, &name);
            let Some(challenge) = digest::strongest(&challenges) else { continue };
            let known = self.credentials.iter().position(|known| {
                known.asked_by == name && known.challenge.realm == challenge.realm
            });
            let authorization = Authorization {
                asked_by: name,
                challenge: challenge.clone(),
                count: 0,
                is_of_this_attempt: true,
            };
            match known {
                // We answered this challenger just now, and it does not say that only the
                // nonce was old: the password is wrong.
                Some(place)
                    if self.credentials[place].is_of_this_attempt && !challenge.is_stale => {}
                Some(place) => {
                    self.credentials[place] = authorization;
                    is_new = true;
                }
                None if self.credentials.len() < MAX_CHALLENGERS => {
                    self.credentials.push(authorization);
                    is_new = true;
                }
                None => {}
            }
        }
        is_new
    }

    /// §10.3 of the registrar's side: 423 names the least time that it grants.
    fn take_min_expires(&mut self, response: &Message) -> bool {
        let least = response.header(&Name::MinExpires).and_then(|value| value.parse().ok());
        match least {
            Some(least) if least > self.expires && least <= LONGEST => {
                self.expires = least;
                true
            }
            _ => false,
        }
    }

    fn refused(&mut self, now: Instant, response: &Message) {
        let reason = match &response.start {
            super::message::Start::Response { reason, .. } => reason.clone(),
            super::message::Start::Request { .. } => String::new(),
        };
        let status = response.status().unwrap_or(500);
        if matches!(status, 401 | 407) {
            // The next attempt begins without what did not help.
            self.credentials.clear();
        }
        self.fail(now, status, &reason, response.headers.retry_after());
    }

    fn fail(&mut self, now: Instant, status: u16, reason: &str, retry_after: Option<Duration>) {
        if self.wish == Wish::Unregistered {
            self.phase = Phase::Finished;
            return;
        }
        stats::SIP_REGISTRATIONS_FAILED.add(1);
        self.state = TrunkState::Down { status, reason: reason.to_owned() };
        let doubled = FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        // Between half and the whole (RFC 5626 §4.5): gateways that lost one registrar together
        // do not come back together.
        let wait = match retry_after {
            Some(wait) => wait.clamp(SHORTEST_RETRY_AFTER, Duration::from_secs(LONGEST.into())),
            None => doubled.min(LAST_RETRY).mul_f64(0.5 + 0.5 * self.fraction()),
        };
        self.phase = Phase::Waiting { at: now + wait };
    }

    /// From 0 up to 1.
    fn fraction(&mut self) -> f64 {
        f64::from(self.random.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }
}

impl Authorization {
    fn answered_by(&self) -> Name {
        match self.asked_by {
            Name::ProxyAuthenticate => Name::ProxyAuthorization,
            _ => Name::Authorization,
        }
    }
}

/// Seconds that we ask for, as RFC 3261 §10.2.1.1 suggests.
const DEFAULT_EXPIRES: u32 = 3600;
/// Seconds; what a registrar says beyond a day is taken as a day.
const LONGEST: u32 = 24 * 3600;
/// Least time between two refreshes, whatever the registrar grants.
const MIN_REFRESH: Duration = Duration::from_secs(5);

/// Back-off after failures, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(30);
const LAST_RETRY: Duration = Duration::from_secs(30 * 60);
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Requests sent again within one attempt: a challenge of a proxy, one of the registrar, a
/// stale nonce and a 423.
const MAX_REPEATS: u32 = 4;
/// A registrar and a proxy before it, each with a second realm.
const MAX_CHALLENGERS: usize = 4;
