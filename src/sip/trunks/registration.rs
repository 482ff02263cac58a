//! Our registration at one trunk, the client's side (RFC 3261 §10.2).
//!
//! Says when a REGISTER is to be sent and makes it, understands the response, refreshes in time
//! and backs off after failures. Finding the registrar's address, Via, Max-Forwards, User-Agent
//! and the transaction are left to the user agent, Service-Route to `way`. A proxy on the way may
//! add itself as Path (RFC 3327): we say that we allow it. Redirection and outbound flows
//! (RFC 5626) **are not** supported.
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

use crate::random::Random;
use crate::sip::authorization::Login;
use crate::sip::digest;
use crate::sip::fields::Contacts;
use crate::sip::header::Name;
use crate::sip::message::{Message, Method, Start};
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;
use crate::sip::user_agent::{Trunk, TrunkState};
use crate::stats;

/// One trunk's registration.
#[derive(Debug)]
pub struct Registration {
    registrar: Uri,
    /// Address of record: From and To.
    identity: Uri,
    /// User of our Contact.
    contact_user: String,
    /// The only realm whose challenges are answered; empty: any.
    realm: String,
    /// Its nonces are kept, so that a refresh needs one round trip only.
    login: Login,
    /// The same for as long as we run (RFC 3261 §10.2.4).
    call_id: String,
    /// Of the last request.
    cseq: u32,
    /// Seconds to ask for; raised by 423.
    expires: u32,
    /// Contact of the last request.
    contact: Option<Uri>,
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

#[derive(Debug)]
enum Phase {
    Waiting {
        at: Instant,
    },
    /// The user agent is finding its way to the registrar.
    Due,
    /// This request is on its way.
    Sent(Box<Message>),
    /// After `unregister`.
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Registered,
    Unregistered,
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
            identity: Uri::sip(&trunk.username, trunk.domain(), None),
            contact_user: trunk.contact_user().to_owned(),
            realm: trunk.account.realm.clone(),
            login: login(trunk),
            registrar,
            call_id: random.hex(16),
            cseq: 0,
            expires: seconds(trunk),
            contact: None,
            phase: Phase::Waiting { at: now },
            repeats: 0,
            failures: 0,
            state: TrunkState::Unknown,
            bound_until: None,
            wish: Wish::Registered,
            random,
        }
    }

    /// Whether a REGISTER is to be sent. If so, find the way to the registrar, then
    /// call [`Registration::request`], or [`Registration::failed`] where there is none.
    pub fn take_due(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Waiting { at } if at <= now => {
                self.phase = Phase::Due;
                self.repeats = 0;
                true
            }
            _ => false,
        }
    }

    /// The next REGISTER, with our address as the registrar sees it. The user of `contact` is
    /// ours to set.
    pub fn request(&mut self, mut contact: Uri) -> Message {
        contact.user = Some(self.contact_user.clone());
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
        request.headers.push(Name::Supported, "path");
        self.login.sign(&mut request, &mut self.random);
        self.phase = Phase::Sent(Box::new(request.clone()));
        self.contact = Some(contact);
        request
    }

    /// As what our contact was sent, where that was known no earlier.
    pub fn note_contact(&mut self, contact: Uri) {
        self.contact = Some(contact);
    }

    /// A final response to the last request.
    pub fn handle_response(&mut self, now: Instant, response: &Message) -> Next {
        let Phase::Sent(request) = &self.phase else { return Next::Wait };
        if response.cseq.number != self.cseq {
            return Next::Wait;
        }
        match response.status() {
            None | Some(100..=199) => Next::Wait,
            Some(200..=299) => {
                self.succeeded(now, response);
                Next::Wait
            }
            Some(401 | 407) if self.login.learn(request, response) => self.again(now, response),
            Some(423) if self.take_min_expires(response) => self.again(now, response),
            Some(_) => {
                self.refused(now, response);
                Next::Wait
            }
        }
    }

    /// The request could not be sent (503) or nobody answered it (408).
    pub fn failed(&mut self, now: Instant, status: u16, reason: &str) {
        if matches!(self.phase, Phase::Due | Phase::Sent(_)) {
            self.fail(now, status, reason, None);
        }
    }

    /// New credentials or another time for the same binding: registered anew at once, with the
    /// same Call-ID, so that the registrar takes it for a refresh.
    pub fn renew(&mut self, now: Instant, trunk: &Trunk) {
        self.login = login(trunk);
        self.realm.clone_from(&trunk.account.realm);
        self.expires = seconds(trunk);
        self.failures = 0;
        if self.wish == Wish::Registered && !matches!(self.phase, Phase::Due) {
            self.phase = Phase::Waiting { at: now };
        }
    }

    /// The way to the registrar changed or works again: do not wait for the refresh or sit the
    /// back-off out. A refusal of the registrar's own (403) still waits.
    pub fn hurry(&mut self, now: Instant) {
        let may = match self.state {
            TrunkState::Unknown | TrunkState::Up => true,
            TrunkState::Down { status, .. } => matches!(status, 408 | 503),
        };
        if let Phase::Waiting { at } = &mut self.phase
            && may
        {
            *at = now.min(*at);
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
        let may_be_bound = matches!(self.phase, Phase::Sent(_))
            || self.bound_until.is_some_and(|until| until > now);
        self.phase = match may_be_bound {
            true => Phase::Waiting { at: now },
            false => Phase::Finished,
        };
    }

    /// The registrar has not yet answered whether our contact is gone.
    pub fn is_unregistering(&self) -> bool {
        self.wish == Wish::Unregistered && !self.is_finished()
    }

    /// Nothing is to be done any more after `unregister`.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { at } => Some(at),
            Phase::Due | Phase::Sent(_) | Phase::Finished => None,
        }
    }

    pub fn state(&self) -> &TrunkState {
        &self.state
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
        let granted = match contacts.iter().find(is_ours) {
            Some(ours) => ours.expires(),
            // A registrar that knows of NAT gives our contact another address; the one just
            // refreshed has the longest time before it.
            None => contacts.iter().filter_map(NameAddr::expires).max(),
        };
        Duration::from_secs(u64::from(granted.unwrap_or(asked).min(LONGEST)))
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

    /// §10.2.8: 423 names the least time that the registrar grants.
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
        if let Start::Response { status, reason } = &response.start {
            let reason = self.explanation(*status, response).unwrap_or_else(|| reason.clone());
            self.fail(now, *status, &reason, response.headers.retry_after());
        }
    }

    /// What an operator can do about a refusal, where it is not in its reason phrase.
    fn explanation(&self, status: u16, response: &Message) -> Option<String> {
        let name = match status {
            401 => Name::WwwAuthenticate,
            407 => Name::ProxyAuthenticate,
            _ => return None,
        };
        let all = digest::challenges(&response.headers, &name);
        let asked = &all.first()?.realm;
        Some(match self.realm.is_empty() || *asked == self.realm {
            true => "username or password is wrong".to_owned(),
            false => format!("realm is \"{asked}\" there, \"{}\" in the config", self.realm),
        })
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

fn login(trunk: &Trunk) -> Login {
    trunk.login().unwrap_or_else(|| Login::new(&trunk.username, &trunk.password))
}

/// Seconds that we ask for.
fn seconds(trunk: &Trunk) -> u32 {
    u32::try_from(trunk.account.expires.as_secs()).unwrap_or(LONGEST).min(LONGEST)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::digest::{self, Algorithm, Challenge, Credentials};
    use crate::sip::user_agent::{Account, Caps, Policy, Prack};

    fn trunk() -> Trunk {
        Trunk {
            name: "provider".to_owned(),
            server: "sip:sip.example.net:5070;transport=tcp".parse().unwrap(),
            register: true,
            username: "1234".to_owned(),
            password: "secret".to_owned(),
            accept_from: Vec::new(),
            options: None,
            account: Account::default(),
            identity: Policy::default(),
            caps: Caps::default(),
            is_mutual: false,
            prack: Prack::default(),
        }
    }

    struct Bench {
        now: Instant,
        registration: Registration,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Self { now, registration: Registration::new(now, &trunk(), Random::seeded(1)) }
        }

        /// The request that is due now.
        fn due(&mut self) -> Message {
            assert!(self.registration.take_due(self.now));
            assert!(!self.registration.take_due(self.now));
            self.request()
        }

        fn request(&mut self) -> Message {
            self.registration.request("sip:192.0.2.1:5060;transport=tcp".parse().unwrap())
        }

        fn answer(&mut self, request: &Message, status: u16, fields: &[(&str, &str)]) -> Next {
            let mut response = Message::response_to(request, status, "");
            for (name, value) in fields {
                response.headers.push(Name::from(*name), *value);
            }
            self.registration.handle_response(self.now, &response)
        }

        fn accept(&mut self, request: &Message, expires: u32) {
            let contact = format!("<sip:1234@192.0.2.1:5060;transport=tcp>;expires={expires}");
            assert_eq!(self.answer(request, 200, &[("Contact", &contact)]), Next::Wait);
        }

        /// Seconds until the next request.
        fn wait(&mut self) -> f64 {
            let at = self.registration.poll_timeout().expect("a request is planned");
            let wait = at.duration_since(self.now).as_secs_f64();
            self.now = at;
            wait
        }

        fn status(&self) -> u16 {
            match self.registration.state() {
                TrunkState::Unknown => 0,
                TrunkState::Up => 200,
                TrunkState::Down { status, .. } => *status,
            }
        }
    }

    fn challenge(nonce: &str, is_stale: bool) -> String {
        Challenge {
            realm: "example.net".to_owned(),
            nonce: nonce.to_owned(),
            opaque: None,
            algorithm: Algorithm::Md5,
            has_qop: true,
            is_stale,
        }
        .to_string()
    }

    fn credentials(request: &Message) -> Credentials {
        let value = request.header(&Name::Authorization).expect("credentials are sent");
        Credentials::parse(value).unwrap()
    }

    #[test]
    fn first_request_goes_out_at_once_and_names_the_registrar() {
        let mut bench = Bench::new();
        assert_eq!(bench.registration.poll_timeout(), Some(bench.now));
        let request = bench.due();
        let uri = request.request_uri().unwrap().to_string();
        assert_eq!(uri, "sip:sip.example.net:5070;transport=tcp");
        assert_eq!(request.to.to_string(), "<sip:1234@sip.example.net>");
        assert_eq!(request.from.uri, request.to.uri);
        assert!(request.from.tag().is_some());
        assert_eq!(
            request.header(&Name::Contact),
            Some("<sip:1234@192.0.2.1:5060;transport=tcp>;expires=3600")
        );
        assert_eq!(request.headers.expires(), Some(3600));
        assert_eq!(bench.registration.poll_timeout(), None);
    }

    #[test]
    fn registration_is_refreshed_before_it_expires_with_one_call_id_and_a_rising_cseq() {
        let mut bench = Bench::new();
        let mut numbers = Vec::new();
        let first = bench.due();
        bench.accept(&first, 600);
        assert_eq!(bench.registration.state(), &TrunkState::Up);
        for _ in 0..20 {
            let wait = bench.wait();
            assert!((480.0..=540.0).contains(&wait), "{wait}");
            let request = bench.due();
            assert_eq!(request.call_id, first.call_id);
            numbers.push(request.cseq.number);
            bench.accept(&request, 600);
        }
        assert_eq!(numbers, (2..22).collect::<Vec<_>>());
    }

    #[test]
    fn time_granted_is_ours_among_several_contacts_else_the_header() {
        let ours = "<sip:1234@192.0.2.1:5060;transport=tcp>;expires=100";
        for (fields, seconds) in [
            (vec![("Contact", "<sip:x@192.0.2.9>;expires=10"), ("Contact", ours)], 100.0),
            (vec![("Contact", "<sip:1234@203.0.113.1:7>;expires=200")], 200.0),
            (
                vec![
                    ("Contact", "<sip:x@203.0.113.9>;expires=10"),
                    ("Contact", "<sip:1234@203.0.113.1:7>;expires=200"),
                ],
                200.0,
            ),
            (vec![("Expires", "300")], 300.0),
            (vec![], 3600.0),
        ] {
            let mut bench = Bench::new();
            let request = bench.due();
            bench.answer(&request, 200, &fields);
            let wait = bench.wait();
            assert!((0.8 * seconds..=0.9 * seconds).contains(&wait), "{wait} of {seconds}");
        }
    }

    #[test]
    fn challenge_is_answered_at_once_and_its_nonce_used_again() {
        let mut bench = Bench::new();
        let request = bench.due();
        let www = challenge("n1", false);
        assert_eq!(bench.answer(&request, 401, &[("WWW-Authenticate", &www)]), Next::Send);
        let request = bench.request();
        assert_eq!(request.cseq.number, 2);
        let sent = credentials(&request);
        assert_eq!((sent.username.as_str(), sent.nonce.as_str()), ("1234", "n1"));
        assert_eq!(sent.uri, "sip:sip.example.net:5070;transport=tcp");
        assert!(digest::verify(&sent, "secret", &Method::Register));
        bench.accept(&request, 600);
        bench.wait();
        let refresh = credentials(&bench.due());
        assert_eq!((refresh.nonce.as_str(), refresh.count.unwrap().nc), ("n1", 2));
    }

    #[test]
    fn proxy_and_registrar_may_both_ask() {
        let mut bench = Bench::new();
        let request = bench.due();
        let (proxy, www) = (challenge("p", false), challenge("w", false));
        assert_eq!(bench.answer(&request, 407, &[("Proxy-Authenticate", &proxy)]), Next::Send);
        let request = bench.request();
        assert_eq!(bench.answer(&request, 401, &[("WWW-Authenticate", &www)]), Next::Send);
        let request = bench.request();
        assert!(request.header(&Name::ProxyAuthorization).is_some());
        assert!(request.header(&Name::Authorization).is_some());
    }

    #[test]
    fn wrong_password_is_not_tried_again_at_once() {
        let mut bench = Bench::new();
        let request = bench.due();
        bench.answer(&request, 401, &[("WWW-Authenticate", &challenge("n1", false))]);
        let request = bench.request();
        let again = challenge("n2", false);
        assert_eq!(bench.answer(&request, 401, &[("WWW-Authenticate", &again)]), Next::Wait);
        assert_eq!(bench.status(), 401);
        assert!((15.0..=30.0).contains(&bench.wait()));
    }

    #[test]
    fn stale_nonce_is_replaced_at_once_but_not_for_ever() {
        let mut bench = Bench::new();
        let mut request = bench.due();
        let mut requests = 1;
        loop {
            let stale = challenge(&format!("n{requests}"), true);
            if bench.answer(&request, 401, &[("WWW-Authenticate", &stale)]) == Next::Wait {
                break;
            }
            request = bench.request();
            requests += 1;
        }
        assert!((3..=1 + MAX_REPEATS).contains(&requests), "{requests}");
        assert_eq!(bench.status(), 401);
    }

    #[test]
    fn challenge_that_we_cannot_answer_is_a_refusal() {
        let mut bench = Bench::new();
        let request = bench.due();
        let basic = [("WWW-Authenticate", "Basic realm=\"x\"")];
        assert_eq!(bench.answer(&request, 401, &basic), Next::Wait);
        assert_eq!(bench.status(), 401);
    }

    #[test]
    fn longer_interval_is_asked_for_when_the_registrar_wants_one() {
        let mut bench = Bench::new();
        let request = bench.due();
        assert_eq!(bench.answer(&request, 423, &[("Min-Expires", "7200")]), Next::Send);
        let request = bench.request();
        assert_eq!(request.headers.expires(), Some(7200));
        // One that asks for less than it was offered does not know what it wants.
        assert_eq!(bench.answer(&request, 423, &[("Min-Expires", "60")]), Next::Wait);
        assert_eq!(bench.status(), 423);
    }

    #[test]
    fn failures_back_off_from_half_a_minute_to_half_an_hour() {
        let mut bench = Bench::new();
        for most in [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0] {
            bench.due();
            bench.registration.failed(bench.now, 408, "no answer");
            assert_eq!(bench.status(), 408);
            let wait = bench.wait();
            assert!((most / 2.0..=most).contains(&wait), "{wait} of {most}");
        }
        let request = bench.due();
        bench.accept(&request, 600);
        bench.wait();
        let request = bench.due();
        bench.answer(&request, 403, &[]);
        assert_eq!(bench.status(), 403);
        assert!(bench.wait() <= 30.0);
    }

    #[test]
    fn registrar_may_say_when_to_come_back() {
        let mut bench = Bench::new();
        let request = bench.due();
        bench.answer(&request, 503, &[("Retry-After", "77")]);
        assert_eq!(bench.wait(), 77.0);
        let request = bench.due();
        bench.answer(&request, 503, &[("Retry-After", "0")]);
        assert_eq!(bench.wait(), 5.0);
    }

    #[test]
    fn registrar_that_grants_no_time_has_not_registered_us() {
        let mut bench = Bench::new();
        let request = bench.due();
        bench.accept(&request, 0);
        assert_eq!(bench.status(), 500);
    }

    #[test]
    fn late_response_to_an_older_request_changes_nothing() {
        let mut bench = Bench::new();
        let old = bench.due();
        bench.registration.failed(bench.now, 408, "no answer");
        bench.accept(&old, 600);
        assert_eq!(bench.status(), 408);
        bench.wait();
        bench.due();
        bench.accept(&old, 600);
        assert_eq!(bench.status(), 408);
    }

    #[test]
    fn unregistering_takes_the_contact_away_and_ends() {
        let mut bench = Bench::new();
        let request = bench.due();
        bench.answer(&request, 401, &[("WWW-Authenticate", &challenge("n1", false))]);
        let request = bench.request();
        bench.accept(&request, 600);
        bench.registration.unregister(bench.now);
        assert!(!bench.registration.is_finished());
        let request = bench.due();
        assert_eq!(request.headers.expires(), Some(0));
        assert!(request.header(&Name::Contact).unwrap().ends_with(";expires=0"));
        let stale = challenge("n2", true);
        assert_eq!(bench.answer(&request, 401, &[("WWW-Authenticate", &stale)]), Next::Send);
        let request = bench.request();
        assert_eq!(bench.answer(&request, 200, &[]), Next::Wait);
        assert!(bench.registration.is_finished());
        assert_eq!(bench.registration.poll_timeout(), None);
    }

    #[test]
    fn nothing_is_unregistered_that_was_not_registered() {
        let mut bench = Bench::new();
        bench.registration.unregister(bench.now);
        assert!(bench.registration.is_finished());
        // A request whose response is not here yet may have been obeyed.
        let mut bench = Bench::new();
        bench.due();
        bench.registration.unregister(bench.now);
        assert!(!bench.registration.is_finished());
        bench.due();
        bench.registration.failed(bench.now, 408, "no answer");
        assert!(bench.registration.is_finished());
    }

    /// Whatever the registrar does, there is a next step, and never more than
    /// `MAX_REPEATS` at once.
    #[test]
    fn any_sequence_of_responses_leaves_a_next_step() {
        let mut dice = Random::seeded(9);
        let mut bench = Bench::new();
        for _ in 0..500 {
            bench.wait();
            let mut request = bench.due();
            let mut requests = 1;
            loop {
                let nonce = dice.hex(4);
                let asks = challenge(&nonce, dice.next_u32().is_multiple_of(2));
                let (name, value): (_, &str) = match dice.next_u32() % 4 {
                    0 => ("WWW-Authenticate", &asks),
                    1 => ("Proxy-Authenticate", &asks),
                    2 => ("Min-Expires", "90000"),
                    _ => ("Retry-After", "4294967295"),
                };
                let status = [401, 407, 423, 503, 404][dice.next_u32() as usize % 5];
                if bench.answer(&request, status, &[(name, value)]) == Next::Wait {
                    break;
                }
                request = bench.request();
                requests += 1;
            }
            assert!(requests <= 1 + MAX_REPEATS);
            let at = bench.registration.poll_timeout().expect("a next attempt");
            assert!(at >= bench.now + SHORTEST_RETRY_AFTER);
            assert!(at <= bench.now + Duration::from_secs(LONGEST.into()));
        }
    }

    #[test]
    fn trunk_that_answers_again_is_registered_at_without_delay() {
        let mut bench = Bench::new();
        bench.due();
        bench.registration.failed(bench.now, 503, "no answer");
        bench.registration.hurry(bench.now);
        let request = bench.due();
        bench.answer(&request, 403, &[]);
        bench.registration.hurry(bench.now);
        assert!(!bench.registration.take_due(bench.now));
    }
}
