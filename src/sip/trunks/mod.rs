//! What keeps our trunks known and up: a registration and keep-alive checks for each, where its
//! table asks for them, and what calls taught about it.

mod account;
mod health;
mod load;
mod registration;
mod way;

use std::time::Instant;

pub use self::account::{Account, Caps};
pub use self::health::Check;
use self::health::{Health, combined};
use self::load::Load;
use self::registration::{Next, Registration};
pub use self::way::{ServiceRoutes, loose};
use self::way::{add_routes, way_to_registrar};
use super::fields::Contacts;
use super::header::Name;
use super::locate::Hop;
use super::message::{Message, Start, reason_phrase};
use super::outgoing::{Outcome, Outgoing, Owner};
use super::stack::Stack;
use super::uri::Uri;
use super::user_agent::{Event, Trunk, TrunkState};

/// All trunks of the config, and those before a reload that still have to unregister.
pub struct Trunks {
    list: Vec<Kept>,
    next_number: u32,
}

struct Kept {
    /// Owner of its requests.
    number: u32,
    trunk: Trunk,
    registration: Option<Registration>,
    health: Option<Health>,
    load: Load,
    /// The state that the session was last told.
    told: TrunkState,
    /// No longer in the config: removed once it is unregistered.
    is_retired: bool,
}

impl Trunks {
    pub fn new(now: Instant, stack: &mut Stack) -> Self {
        let mut trunks = Self { list: Vec::new(), next_number: 0 };
        trunks.reload(now, stack);
        trunks
    }

    /// Trunks that did not change go on as they are; those that are gone unregister. A trunk
    /// with the same account keeps its registration: new credentials are a refresh of it. To
    /// unregister with the old ones beside it would be a race for the same contact.
    pub fn reload(&mut self, now: Instant, stack: &mut Stack) {
        let wanted = stack.config.trunks.clone();
        for trunk in &wanted {
            let same = |kept: &&mut Kept| !kept.is_retired && is_same_account(&kept.trunk, trunk);
            if let Some(kept) = self.list.iter_mut().find(same) {
                kept.take(now, stack, trunk);
            }
        }
        for kept in &mut self.list {
            if !kept.is_retired && !wanted.contains(&kept.trunk) {
                kept.is_retired = true;
                kept.health = None;
                stack.service_routes.forget(&kept.trunk.name);
                if let Some(registration) = &mut kept.registration {
                    registration.unregister(now);
                }
            }
        }
        for trunk in wanted {
            if self.list.iter().any(|kept| !kept.is_retired && kept.trunk == trunk) {
                continue;
            }
            let random = &mut stack.random;
            let registration =
                trunk.register.then(|| Registration::new(now, &trunk, random.fork()));
            let health = trunk.options.map(|interval| Health::new(now, interval, random.fork()));
            self.list.push(Kept {
                number: self.next_number,
                trunk,
                registration,
                health,
                load: Load::default(),
                told: TrunkState::Unknown,
                is_retired: false,
            });
            self.next_number = self.next_number.wrapping_add(1);
        }
        // Their requests are known by their addresses, and calls to them do not wait for DNS.
        let next = stack.config.trunks.iter().filter_map(way_to_registrar);
        let hops = next.map(|(hop, _)| hop).collect();
        stack.names.watch(now, hops);
        stack.ask_names();
        self.forget_finished();
    }

    pub fn state(&self, name: &str) -> TrunkState {
        let kept = self.list.iter().find(|kept| !kept.is_retired && kept.trunk.name == name);
        kept.map_or(TrunkState::Unknown, Kept::state)
    }

    /// Whether calls to this trunk went unanswered of late, so that others come first.
    pub fn is_doubtful(&self, name: &str) -> bool {
        let kept = self.list.iter().find(|kept| !kept.is_retired && kept.trunk.name == name);
        kept.is_some_and(|kept| kept.load.is_doubtful())
    }

    /// Whether another call may go to this trunk in this second; it then counts.
    pub fn take_turn(&mut self, now: Instant, name: &str, calls_per_second: usize) -> bool {
        let kept = self.named(name);
        kept.is_none_or(|kept| kept.load.take_turn(now, calls_per_second))
    }

    /// A call over this trunk went unanswered: look now whether it is there.
    pub fn doubt(&mut self, now: Instant, name: &str) {
        match self.named(name) {
            Some(Kept { health: Some(health), .. }) => health.doubt(now),
            Some(kept) => kept.load.doubt(now),
            None => {}
        }
    }

    /// A call over this trunk was answered, with whatever.
    pub fn heard(&mut self, name: &str) {
        if let Some(kept) = self.named(name) {
            kept.load.heard();
        }
    }

    /// What became of an INVITE to this trunk without a 2xx.
    pub fn on_invite(&mut self, now: Instant, stack: &mut Stack, name: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Failed(408 | 503) => self.doubt(now, name),
            Outcome::Failed(_) => {}
            Outcome::Response(response) => {
                let Some(kept) = self.named(name) else { return };
                kept.load.heard();
                if let (Some(503), Some(wait)) = (response.status(), response.headers.retry_after())
                {
                    kept.load.close(now, wait);
                    kept.tell_state(stack);
                }
            }
        }
    }

    /// Takes our contacts away at every registrar.
    pub fn unregister(&mut self, now: Instant) {
        for registration in self.list.iter_mut().filter_map(|kept| kept.registration.as_mut()) {
            registration.unregister(now);
        }
    }

    /// Whether a contact of ours is being taken away.
    pub fn is_unregistering(&self) -> bool {
        let mut registrations = self.list.iter().filter_map(|kept| kept.registration.as_ref());
        registrations.any(Registration::is_unregistering)
    }

    /// `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Instant, stack: &mut Stack) {
        for kept in &mut self.list {
            kept.work(now, stack);
        }
        self.forget_finished();
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.list.iter().flat_map(|kept| {
            [
                kept.registration.as_ref().and_then(Registration::poll_timeout),
                kept.health.as_ref().and_then(Health::poll_timeout),
                kept.load.poll_timeout(),
            ]
        });
        deadlines.flatten().min()
    }

    /// What became of a REGISTER.
    pub fn on_registration(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        number: u32,
        outgoing: &Outgoing,
        outcome: &Outcome,
    ) {
        let Some(kept) = self.list.iter_mut().find(|kept| kept.number == number) else { return };
        let Some(registration) = &mut kept.registration else { return };
        if let Ok(Contacts::List(mut list)) = outgoing.request.headers.contacts()
            && let Some(contact) = list.pop()
        {
            registration.note_contact(contact.uri);
        }
        if let (Outcome::Response(_), Some(tried)) = (outcome, outgoing.tried) {
            stack.names.prefer(&outgoing.hop, tried);
        }
        match outcome {
            Outcome::Failed(status) => {
                registration.failed(now, *status, silence(*status));
            }
            Outcome::Response(response) => {
                if registration.handle_response(now, response) == Next::Send {
                    kept.register(now, stack);
                } else if response.status().is_some_and(|status| (200..300).contains(&status))
                    && !kept.is_retired
                {
                    stack.service_routes.learn(&kept.trunk.name, response);
                }
            }
        }
        kept.tell_state(stack);
        self.forget_finished();
    }

    /// What became of a check.
    pub fn on_check(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        number: u32,
        check: Check,
        outgoing: &Outgoing,
        outcome: &Outcome,
    ) {
        let Some(kept) = self.list.iter_mut().find(|kept| kept.number == number) else { return };
        let Some(health) = &mut kept.health else { return };
        match outcome {
            Outcome::Failed(status) => {
                health.failed(now, check, *status, silence(*status));
            }
            Outcome::Response(response) => {
                let was_down = is_down(health.state());
                let status = response.status().unwrap_or_default();
                health.handle_response(now, check, status, reason_of(response));
                let is_back = was_down && !is_down(health.state());
                // Our calls go to another server than the one that knows where we are.
                let has_moved =
                    outgoing.tried.is_some_and(|tried| stack.names.has_moved(&outgoing.hop, tried));
                if let Some(registration) = &mut kept.registration
                    && (is_back || has_moved)
                {
                    registration.hurry(now);
                }
            }
        }
        kept.tell_state(stack);
    }

    fn named(&mut self, name: &str) -> Option<&mut Kept> {
        self.list.iter_mut().find(|kept| !kept.is_retired && kept.trunk.name == name)
    }

    fn forget_finished(&mut self) {
        self.list.retain(|kept| {
            let is_finished = kept.registration.as_ref().is_none_or(Registration::is_finished);
            !(kept.is_retired && is_finished)
        });
    }
}

impl Kept {
    /// New settings of the same account.
    fn take(&mut self, now: Instant, stack: &mut Stack, trunk: &Trunk) {
        if self.trunk.options != trunk.options {
            let random = stack.random.fork();
            self.health = trunk.options.map(|interval| Health::new(now, interval, random));
        }
        let proof = |trunk: &Trunk| {
            let Account { auth_username, realm, expires, .. } = trunk.account.clone();
            (trunk.password.clone(), auth_username, realm, expires)
        };
        if let Some(registration) = &mut self.registration
            && proof(&self.trunk) != proof(trunk)
        {
            registration.renew(now, trunk);
        }
        self.trunk = trunk.clone();
    }

    fn work(&mut self, now: Instant, stack: &mut Stack) {
        self.load.handle_timeout(now);
        if self.registration.as_mut().is_some_and(|registration| registration.take_due(now)) {
            self.register(now, stack);
        }
        if let Some(check) = self.health.as_mut().and_then(|health| health.take_due(now)) {
            self.check(now, stack, check);
        }
        self.tell_state(stack);
    }

    fn register(&mut self, now: Instant, stack: &mut Stack) {
        let Some(registration) = &mut self.registration else { return };
        let Some((hop, routes)) = way_to_registrar(&self.trunk) else {
            return registration.failed(now, 503, "transport is not supported");
        };
        let mut request = registration.request(contact(stack, &hop));
        add_routes(&mut request, routes);
        let owner = Owner::Registration { trunk: self.number };
        stack.send(now, finished(stack, request, hop, owner));
    }

    fn check(&mut self, now: Instant, stack: &mut Stack, check: Check) {
        let Some(health) = &mut self.health else { return };
        let Some((hop, routes)) = stack.way_of_trunk(&self.trunk) else {
            return health.failed(now, check, 503, "transport is not supported");
        };
        let mut request = health.request(&self.trunk, contact(stack, &hop));
        add_routes(&mut request, routes);
        let owner = Owner::Health { trunk: self.number, check };
        stack.send(now, finished(stack, request, hop, owner));
    }

    fn state(&self) -> TrunkState {
        let watched = combined(
            self.registration.as_ref().map(Registration::state),
            self.health.as_ref().map(Health::state),
        );
        match (is_down(&watched), self.load.state()) {
            (false, Some(closed)) => closed,
            _ => watched,
        }
    }

    fn tell_state(&mut self, stack: &mut Stack) {
        let state = self.state();
        if state != self.told && !self.is_retired {
            self.told = state.clone();
            stack.tell(Event::Trunk { name: self.trunk.name.clone(), state });
        }
    }
}

/// Whether what is registered, and where, is the same.
fn is_same_account(one: &Trunk, other: &Trunk) -> bool {
    let is_same = |of: fn(&Trunk) -> &str| of(one) == of(other);
    one.server == other.server
        && one.register == other.register
        && one.account.outbound_proxy == other.account.outbound_proxy
        && is_same(|trunk| &trunk.name)
        && is_same(|trunk| &trunk.username)
        && is_same(Trunk::contact_user)
        && is_same(Trunk::domain)
}

fn is_down(state: &TrunkState) -> bool {
    matches!(state, TrunkState::Down { .. })
}

fn finished(stack: &Stack, mut request: Message, hop: Hop, owner: Owner) -> Box<Outgoing> {
    request.headers.push(Name::MaxForwards, "70");
    if !stack.config.product.is_empty() {
        request.headers.push(Name::UserAgent, stack.config.product.as_str());
    }
    // Behind a name the transport, and with it our contact, may not be known before it is sent.
    let user = match request.headers.contacts() {
        Ok(Contacts::List(mut list)) if hop.literal().is_none() => {
            list.pop().map(|contact| contact.uri.user.unwrap_or_default())
        }
        _ => None,
    };
    let mut outgoing = Outgoing::new(request, hop, owner);
    outgoing.contact = user;
    outgoing
}

/// Our address as the trunk sees it, without user.
fn contact(stack: &Stack, hop: &Hop) -> Uri {
    let (host, port) = stack.home(hop);
    let mut uri = Uri::sip("", &host, Some(port));
    let target = stack.names.first_target(hop);
    let transport = target.map_or(hop.usual_transport(), |target| target.transport);
    if let Some(transport) = transport.parameter() {
        uri.set_parameter("transport", Some(transport.to_owned()));
    }
    uri
}

/// For a status of our own making, so that nobody takes it for the trunk's (RFC 3261 §8.1.3.1).
fn silence(status: u16) -> &'static str {
    match status {
        408 => "no answer",
        _ => "unreachable",
    }
}

fn reason_of(response: &Message) -> &str {
    match &response.start {
        Start::Response { reason, status } if reason.is_empty() => reason_phrase(*status),
        Start::Response { reason, .. } => reason,
        Start::Request { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::user_agent::{Config, Input};
    use super::*;
    use crate::sip::tests::bench::{Bench, PBX, Sent, to_trunk};

    fn registering(config: &mut Config) {
        let trunk = &mut config.trunks[0];
        trunk.register = true;
        trunk.username = "1234".to_owned();
        trunk.password = "secret".to_owned();
    }

    fn checking(config: &mut Config) {
        config.trunks[0].options = Some(Duration::from_secs(30));
    }

    /// The trunk's state as the session was last told.
    fn told(bench: &mut Bench) -> TrunkState {
        match bench.event() {
            Event::Trunk { name, state } if name == "pbx" => state,
            other => panic!("a trunk's state expected: {other:?}"),
        }
    }

    /// We ask the trunk to register us.
    fn registers() -> (Bench, Sent) {
        let mut bench = Bench::with(registering);
        bench.pass(Duration::ZERO);
        let register = bench.expect("REGISTER ");
        (bench, register)
    }

    fn registered() -> Bench {
        let (mut bench, register) = registers();
        bench.receive(&register.response(200, "t1"));
        assert_eq!(told(&mut bench), TrunkState::Up);
        bench
    }

    /// The next message that begins with this, as soon as it is sent.
    fn within(bench: &mut Bench, seconds: u64, start: &str) -> Sent {
        let waited = (0..seconds).find_map(|_| {
            bench.pass(Duration::from_secs(1));
            bench.try_sent(start)
        });
        waited.expect("it is sent in time")
    }

    const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\"\n";

    #[test]
    fn trunk_is_registered_at_refreshed_and_unregistered() {
        let mut bench = Bench::with(registering);
        bench.pass(Duration::ZERO);
        let register = bench.expect("REGISTER sip:192.0.2.10 SIP/2.0");
        assert_eq!(register.to.to_string(), PBX);
        assert_eq!(register.header("Contact"), "<sip:1234@192.0.2.1:5060>;expires=3600");
        bench.receive(&register.answer(401, "t1", CHALLENGE, ""));
        let register = bench.expect("REGISTER ");
        assert_eq!(register.header("CSeq"), "2 REGISTER");
        assert!(register.header("Authorization").starts_with("Digest username=\"1234\""));
        let granted = "Contact: <sip:1234@192.0.2.1:5060>;expires=600\n";
        bench.receive(&register.answer(200, "t2", granted, ""));
        assert_eq!(told(&mut bench), TrunkState::Up);

        bench.pass(Duration::from_secs(479));
        bench.quiet();
        let refresh = within(&mut bench, 61, "REGISTER ");
        assert!(refresh.header("Authorization").contains("nc=00000002"));
        bench.receive(&refresh.answer(200, "t3", granted, ""));
        bench.all_sent();
        bench.quiet();

        bench.act(|agent, now| agent.unregister(now));
        bench.pass(Duration::ZERO);
        let farewell = bench.expect("REGISTER ");
        assert_eq!(farewell.header("Expires"), "0");
        bench.receive(&farewell.response(200, "t4"));
        bench.empty();
    }

    #[test]
    fn registrar_without_an_answer_is_tried_again_after_a_while() {
        let mut bench = Bench::with(registering);
        bench.pass(Duration::from_secs(32));
        // Timer E of RFC 3261 §17.1.2.2: eleven sendings of one request until Timer F.
        assert_eq!(bench.all_sent().len(), 11);
        assert!(matches!(told(&mut bench), TrunkState::Down { status: 408, .. }));
        bench.pass(Duration::from_secs(30));
        let register = bench.expect("REGISTER ");
        assert_eq!(register.header("CSeq"), "2 REGISTER");
    }

    #[test]
    fn refused_registration_is_told_with_its_reason() {
        let (mut bench, register) = registers();
        bench.receive(&register.response(403, "t1"));
        let reason = "Words".to_owned();
        assert_eq!(told(&mut bench), TrunkState::Down { status: 403, reason });
    }

    #[test]
    fn reload_unregisters_a_trunk_that_is_gone() {
        let mut bench = registered();
        let mut config = None;
        Bench::with(|wanted| {
            wanted.trunks.clear();
            config = Some(wanted.clone());
        });
        bench.act(|agent, now| agent.reload(now, config.unwrap()));
        bench.pass(Duration::ZERO);
        let farewell = bench.expect("REGISTER ");
        assert_eq!(farewell.header("Expires"), "0");
        bench.receive(&farewell.response(200, "t2"));
        bench.quiet();
        bench.empty();
    }

    #[test]
    fn reload_of_other_settings_leaves_a_registration_alone() {
        let mut bench = registered();
        let mut config = None;
        Bench::with(|wanted| {
            registering(wanted);
            wanted.trunks[0].accept_from.clear();
            config = Some(wanted.clone());
        });
        bench.act(|agent, now| agent.reload(now, config.unwrap()));
        bench.pass(Duration::ZERO);
        bench.quiet();
    }

    #[test]
    fn checks_show_when_a_trunk_goes_and_comes() {
        let mut bench = Bench::with(checking);
        bench.pass(Duration::from_secs(1));
        let check = bench.expect("OPTIONS sip:192.0.2.10 SIP/2.0");
        bench.receive(&check.response(404, "t1"));
        assert_eq!(told(&mut bench), TrunkState::Up);
        // Two checks in a row, each with a patience of 8 s.
        bench.pass(Duration::from_secs(33 + 8 + 2 + 8));
        assert!(matches!(told(&mut bench), TrunkState::Down { status: 408, .. }));
        bench.all_sent();
        // What is left of their transactions, then the next check.
        bench.pass(Duration::from_secs(24));
        bench.all_sent();
        let check = within(&mut bench, 9, "OPTIONS ");
        bench.receive(&check.response(200, "t2"));
        assert_eq!(told(&mut bench), TrunkState::Up);
    }

    #[test]
    fn trunk_that_comes_back_is_registered_at_again_at_once() {
        let mut bench = Bench::with(|config| {
            registering(config);
            checking(config);
        });
        // Nobody there: the registration backs off further than the checks do.
        bench.pass(Duration::from_secs(600));
        assert!(matches!(told(&mut bench), TrunkState::Down { .. }));
        bench.all_sent();
        let check = within(&mut bench, 330, "OPTIONS ");
        bench.all_sent();
        bench.receive(&check.response(200, "t1"));
        bench.pass(Duration::ZERO);
        bench.expect("REGISTER ");
    }

    #[test]
    fn registrar_that_cannot_be_reached_takes_the_trunk_down() {
        let (mut bench, _) = registers();
        bench.input(Input::Unreachable { to: PBX.parse().unwrap() });
        assert!(matches!(told(&mut bench), TrunkState::Down { status: 503, .. }));
    }

    #[test]
    fn unanswered_call_makes_us_look_at_once() {
        let mut bench = Bench::with(checking);
        bench.pass(Duration::from_secs(1));
        let check = bench.expect("OPTIONS ");
        bench.receive(&check.response(200, "t1"));
        assert_eq!(told(&mut bench), TrunkState::Up);
        bench.all_sent();
        bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
        bench.expect("INVITE ");
        bench.input(Input::Unreachable { to: PBX.parse().unwrap() });
        assert!(matches!(bench.event(), Event::Failed { status: 503, .. }));
        bench.pass(Duration::ZERO);
        bench.expect("OPTIONS ");
    }

    #[test]
    fn reload_leaves_a_trunk_that_did_not_change_as_it_is() {
        let mut bench = registered();
        let mut config = bench.agent.stack.config.clone();
        config.users.clear();
        bench.act(|agent, now| agent.reload(now, config));
        bench.pass(Duration::ZERO);
        assert_eq!(bench.agent.trunk_state("pbx"), TrunkState::Up);
        bench.quiet();
    }
}
