//! What keeps our trunks known and up: a registration and keep-alive checks for each, where its
//! table asks for them.

use std::time::Instant;

use super::header::Name;
use super::health::{Check, Health, combined};
use super::locate::Hop;
use super::message::{Message, Start, reason_phrase};
use super::outgoing::{Outcome, Outgoing, Owner};
use super::registration::{Next, Registration};
use super::stack::Stack;
use super::uri::Uri;
use super::user_agent::{Event, Transport, Trunk, TrunkState};

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

    /// Trunks that did not change go on as they are; those that are gone unregister.
    pub fn reload(&mut self, now: Instant, stack: &mut Stack) {
        let wanted = stack.config.trunks.clone();
        for kept in &mut self.list {
            if !kept.is_retired && !wanted.contains(&kept.trunk) {
                kept.is_retired = true;
                kept.health = None;
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
                told: TrunkState::Unknown,
                is_retired: false,
            });
            self.next_number = self.next_number.wrapping_add(1);
        }
        self.forget_finished();
    }

    pub fn state(&self, name: &str) -> TrunkState {
        let kept = self.list.iter().find(|kept| !kept.is_retired && kept.trunk.name == name);
        kept.map_or(TrunkState::Unknown, Kept::state)
    }

    /// A call over this trunk went unanswered: look now whether it is there.
    pub fn doubt(&mut self, now: Instant, name: &str) {
        let kept = self.list.iter_mut().find(|kept| !kept.is_retired && kept.trunk.name == name);
        if let Some(health) = kept.and_then(|kept| kept.health.as_mut()) {
            health.doubt(now);
        }
    }

    /// Takes our contacts away at every registrar.
    pub fn unregister(&mut self, now: Instant) {
        for registration in self.list.iter_mut().filter_map(|kept| kept.registration.as_mut()) {
            registration.unregister(now);
        }
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
        outcome: &Outcome,
    ) {
        let Some(kept) = self.list.iter_mut().find(|kept| kept.number == number) else { return };
        let Some(registration) = &mut kept.registration else { return };
        match outcome {
            Outcome::Failed(status) => {
                registration.failed(now, *status, reason_phrase(*status));
            }
            Outcome::Response(response) => {
                if registration.handle_response(now, response) == Next::Send {
                    kept.register(now, stack);
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
        outcome: &Outcome,
    ) {
        let Some(kept) = self.list.iter_mut().find(|kept| kept.number == number) else { return };
        let Some(health) = &mut kept.health else { return };
        match outcome {
            Outcome::Failed(status) => {
                health.failed(now, check, *status, reason_phrase(*status));
            }
            Outcome::Response(response) => {
                let status = response.status().unwrap_or_default();
                health.handle_response(now, check, status, reason_of(response));
            }
        }
        kept.tell_state(stack);
    }

    fn forget_finished(&mut self) {
        self.list.retain(|kept| {
            let is_finished = kept.registration.as_ref().is_none_or(Registration::is_finished);
            !(kept.is_retired && is_finished)
        });
    }
}

impl Kept {
    fn work(&mut self, now: Instant, stack: &mut Stack) {
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
        let Some(hop) = Hop::of(registration.registrar()) else {
            return registration.failed(now, 503, "transport is not supported");
        };
        let request = registration.request(contact(stack, &hop));
        let owner = Owner::Registration { trunk: self.number };
        stack.send(now, finished(stack, request, hop, owner));
    }

    fn check(&mut self, now: Instant, stack: &mut Stack, check: Check) {
        let Some(health) = &mut self.health else { return };
        let Some(hop) = Hop::of(&self.trunk.server) else {
            return health.failed(now, check, 503, "transport is not supported");
        };
        let request = health.request(&self.trunk, contact(stack, &hop));
        let owner = Owner::Health { trunk: self.number, check };
        stack.send(now, finished(stack, request, hop, owner));
    }

    fn state(&self) -> TrunkState {
        combined(
            self.registration.as_ref().map(Registration::state),
            self.health.as_ref().map(Health::state),
        )
    }

    fn tell_state(&mut self, stack: &mut Stack) {
        let state = self.state();
        if state != self.told && !self.is_retired {
            self.told = state.clone();
            stack.tell(Event::Trunk { name: self.trunk.name.clone(), state });
        }
    }
}

fn finished(stack: &Stack, mut request: Message, hop: Hop, owner: Owner) -> Box<Outgoing> {
    request.headers.push(Name::MaxForwards, "70");
    if !stack.config.product.is_empty() {
        request.headers.push(Name::UserAgent, stack.config.product.as_str());
    }
    Outgoing::new(request, hop, owner)
}

/// Our address as the trunk sees it, without user.
fn contact(stack: &Stack, hop: &Hop) -> Uri {
    let (host, port) = stack.home(hop);
    let mut uri = Uri::sip("", &host, Some(port));
    if hop.transport == Transport::Tcp {
        uri.set_parameter("transport", Some("tcp".to_owned()));
    }
    uri
}

fn reason_of(response: &Message) -> &str {
    match &response.start {
        Start::Response { reason, status } if reason.is_empty() => reason_phrase(*status),
        Start::Response { reason, .. } => reason,
        Start::Request { .. } => "",
    }
}
