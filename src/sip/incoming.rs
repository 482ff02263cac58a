//! From bytes to the one who handles the message (RFC 3261 §8.2, §18.1.2, §18.2.1).
//!
//! Requests from nobody known are answered without any state of their own.

use std::net::SocketAddr;
use std::time::Instant;

use super::admission;
use super::challenge::{Caller, Nearness, Refusal};
use super::framing::FramingError;
use super::guard::{self, Verdict, Wish};
use super::header::Name;
use super::inspection::{self, Refusal as Inspected};
use super::invite::{Arrived, Party};
use super::locate::Target;
use super::message::{Message, Method};
use super::options;
use super::outgoing::Owner;
use super::registrar::{Registrar, Source};
use super::stack::Stack;
use super::transaction::table::{Heard, Seen};
use super::transport::Destination;
use super::user_agent::{Config, Peer, StreamId, Transport, UserAgent};
use crate::logger::Private;
use crate::stats;

impl UserAgent {
    pub(super) fn on_datagram(&mut self, now: Instant, source: Destination, data: &[u8]) {
        if data.len() > self.stack.config.limits.message_bytes {
            stats::SIP_DROPPED.add(1);
            return;
        }
        // Keep-alives of phones: line ends, or four zero bytes.
        if data.iter().all(|byte| b"\r\n\0".contains(byte)) {
            return;
        }
        if self.lets_in(now, source.transport(), source.peer(), Wish::Message) {
            self.on_bytes(now, source, data);
        }
    }

    /// Whether a peer that connected is worth a TLS handshake: asked by the driver before it.
    pub fn may_shake_hands(&mut self, now: Instant, peer: SocketAddr) -> bool {
        self.lets_in(now, Transport::Tls, peer, Wish::Handshake)
    }

    /// Whether something is within what its source may send.
    fn lets_in(
        &mut self,
        now: Instant,
        transport: Transport,
        peer: SocketAddr,
        wish: Wish,
    ) -> bool {
        let ip = peer.ip();
        let (stack, registrar, calls) = (&self.stack, &self.registrar, &self.calls);
        let is_known = || {
            admission::is_trunk(&stack.config, &stack.names, transport, peer)
                || registrar.has_phone_at(ip)
                || stack.table.has_peer(ip)
                || calls.has_peer(ip)
        };
        let (limit, dropped) = match self.guard.verdict(now, ip, wish, is_known) {
            Verdict::LetIn => return true,
            Verdict::SourceRate => ("source_rate", &stats::SIP_FLOOD_DROPPED),
            Verdict::StrangersRate => ("strangers_rate", &stats::SIP_STRANGERS_DROPPED),
        };
        match wish {
            Wish::Message => dropped.add(1),
            Wish::Handshake => stats::SIP_HANDSHAKES_REFUSED.add(1),
        }
        if let Some(times) = self.floods.note(now) {
            log::warn!("peer={ip} is more than {limit} allows: dropped{times}");
        }
        false
    }

    pub(super) fn on_stream_bytes(&mut self, now: Instant, stream: StreamId, data: &[u8]) {
        self.stack.transports.receive(now, stream, data);
        while let Some(message) = self.stack.transports.next_message(now, stream) {
            match message {
                Ok((bytes, source)) => {
                    if !self.lets_in(now, source.transport(), source.peer(), Wish::Message) {
                        self.stack.transports.close(stream);
                        return self.on_stream_lost(now, stream);
                    }
                    self.on_bytes(now, source, &bytes);
                }
                Err(error) => {
                    log::debug!("stream {} closed: {error}", stream.0);
                    if error != FramingError::Closed {
                        stats::SIP_DROPPED.add(1);
                    }
                    self.stack.transports.close(stream);
                    return self.on_stream_lost(now, stream);
                }
            }
        }
    }

    fn on_bytes(&mut self, now: Instant, source: Destination, data: &[u8]) {
        let mut message = match Message::parse(data) {
            Ok(message) => message,
            Err(error) => {
                log::debug!("peer={} unreadable: {error}", source.peer());
                let status = error.status();
                match error.answerable {
                    Some(request) => self.refuse_unreadable(now, source, *request, status),
                    None => stats::SIP_DROPPED.add(1),
                }
                return;
            }
        };
        if !message.is_request() {
            return self.on_response(now, source, message);
        }
        if let Some(via) = message.via.first_mut() {
            via.note_source(source.peer());
        }
        match message.method() {
            Method::Ack => self.on_ack(now, &message),
            Method::Cancel => self.on_cancel(now, source, &message),
            _ => self.on_request(now, source, message),
        }
    }

    fn refuse_unreadable(
        &mut self,
        now: Instant,
        source: Destination,
        mut request: Message,
        status: u16,
    ) {
        if let Some(via) = request.via.first_mut() {
            via.note_source(source.peer());
        }
        if self.ignores(now, source, &request) {
            return;
        }
        stats::SIP_REFUSED_REQUESTS.add(1);
        let response = self.stack.response(&request, status);
        self.stack.answer(now, source, response);
    }

    fn on_response(&mut self, now: Instant, source: Destination, response: Message) {
        // RFC 3261 §8.1.3.3: it passed others on its way who are not there.
        if response.via.len() != 1 {
            stats::SIP_DROPPED.add(1);
            return;
        }
        let stack = &mut self.stack;
        let target = Target { transport: source.transport(), address: source.peer() };
        stack.names.forgive(target);
        match stack.table.receive_response(now, &mut stack.transports, &response) {
            Heard::Stray => {
                stats::SIP_DROPPED.add(1);
                if response.cseq.method == Method::Invite
                    && response.status().is_some_and(|status| (200..300).contains(&status))
                {
                    self.calls.on_stray_answer(now, stack, &response);
                }
            }
            Heard::Absorbed => {}
            Heard::Provisional(id, Owner::Invite { call, attempt }) => {
                self.calls.on_provisional(now, stack, (call, attempt), id, &response, source);
            }
            Heard::Answer(id, Owner::Invite { call, attempt }) => {
                if let Some(trunk) = self.calls.trunk_of(call) {
                    self.trunks.heard(trunk);
                }
                self.calls.on_answer(now, stack, (call, attempt), id, &response, source);
            }
            Heard::Provisional(id, Owner::Change { call }) => {
                self.calls.on_change_provisional(now, stack, call, id);
            }
            Heard::Answer(id, Owner::Change { call }) => {
                self.calls.on_change_answer(now, stack, call, id, &response, source);
            }
            // It was given up for another target of its hop.
            Heard::Provisional(id, Owner::Nobody) => {
                stack.table.cancel(now, &mut stack.transports, id, |_| {});
            }
            Heard::Answer(id, Owner::Nobody) => {
                self.calls.decline(now, stack, id, &response, source);
            }
            Heard::Provisional(..) | Heard::Answer(..) => {}
            Heard::Final(outgoing) => self.on_final(now, outgoing, response),
        }
    }

    fn on_ack(&mut self, now: Instant, ack: &Message) {
        if !self.stack.table.receive_ack(now, ack) {
            self.calls.on_ack(now, &mut self.stack, ack);
        }
    }

    /// RFC 3261 §9.2. Without a transaction of its own: the same CANCEL again finds its INVITE
    /// refused and gets 200 again.
    fn on_cancel(&mut self, now: Instant, source: Destination, cancel: &Message) {
        let invited = self.stack.table.invite_of(cancel);
        let is_answered = |status: u16| (200..300).contains(&status);
        let Some(invited) = invited.filter(|invited| !invited.status.is_some_and(is_answered))
        else {
            if self.ignores(now, source, cancel) {
                return;
            }
            let response = self.stack.response(cancel, 481);
            return self.stack.answer(now, source, response);
        };
        let mut response = Message::response_to(cancel, 200, "");
        if let (None, Some(tag)) = (response.to.tag(), &invited.tag) {
            response.to.set_tag(tag.as_str());
        }
        let response = self.stack.finish(response);
        self.stack.answer(now, source, response);
        if let Some(call) = invited.tag.as_deref().and_then(|tag| self.calls.of_tag(tag)) {
            self.calls.on_cancel(now, &mut self.stack, call, invited.id, cancel);
        }
    }

    fn on_request(&mut self, now: Instant, source: Destination, request: Message) {
        let stack = &mut self.stack;
        match stack.table.receive_request(now, &mut stack.transports, &request) {
            Seen::New => {}
            Seen::Absorbed => return,
            Seen::Merged => return self.refuse(now, source, &request, 482),
        }
        if request.to.tag().is_some() {
            if !self.calls.on_request(now, &mut self.stack, &request, source)
                && !self.ignores(now, source, &request)
            {
                self.refuse(now, source, &request, 481);
            }
            return;
        }
        if self.ignores(now, source, &request) {
            return;
        }
        if let Some(refusal) = inspection::inspect(&request) {
            let response = refusal.response(&self.stack, &request);
            return self.stack.answer(now, source, response);
        }
        match request.method() {
            Method::Invite => self.on_invite(now, source, request),
            Method::Register => self.on_register(now, source, &request),
            Method::Options => {
                let response = options::response(&self.stack, &request);
                self.stack.answer(now, source, response);
            }
            // No subscription of ours.
            Method::Notify => self.refuse(now, source, &request, 489),
            // REFER outside a dialog would have us call whom a stranger names.
            Method::Message | Method::Refer => {
                let response = Inspected::Outside.response(&self.stack, &request);
                self.stack.answer(now, source, response);
            }
            // BYE and INFO exist inside dialogs only.
            _ => self.refuse(now, source, &request, 481),
        }
    }

    /// Whether a request gets no answer; it is counted.
    fn ignores(&self, now: Instant, source: Destination, request: &Message) -> bool {
        let is_ignored = guard::is_scanner(request, &self.stack.config.strangers.scanners)
            || self.is_to_be_ignored(now, source, request);
        if is_ignored {
            stats::SIP_SCANNERS_DROPPED.add(1);
        }
        is_ignored
    }

    /// With `strangers = "drop"`: whether nobody known asks. Who registers is asked who it is. The
    /// name in From does not count: silence for the others would tell which names exist.
    fn is_to_be_ignored(&self, now: Instant, source: Destination, request: &Message) -> bool {
        let Stack { config, names, .. } = &self.stack;
        !config.strangers.are_answered
            && *request.method() != Method::Register
            && !admission::is_trunk(config, names, source.transport(), source.peer())
            && !self.registrar.has_phone_at(source.peer().ip())
            && !self.authenticator.has_asked(now, request)
    }

    fn refuse(&mut self, now: Instant, source: Destination, request: &Message, status: u16) {
        stats::SIP_REFUSED_REQUESTS.add(1);
        let response = self.stack.response(request, status);
        self.stack.answer(now, source, response);
    }

    fn on_invite(&mut self, now: Instant, source: Destination, invite: Message) {
        match self.peer_of(now, source, &invite) {
            Ok(peer) if !self.takes_a_place(&invite) && self.is_full_for(&Party::of(&peer)) => {
                self.stack.refuse_full(now, &invite, source);
            }
            Ok(peer) => {
                let arrived = Arrived { peer, invite, source };
                self.calls.take_in(now, &mut self.stack, arrived);
            }
            Err(refusal) => {
                let is_user = admission::user_of(&self.stack.config, &invite).is_some();
                if refusal == Refusal::Missing && !is_user {
                    self.note_stranger(now, source);
                }
                // Where nobody could prove to be somebody, nothing is asked.
                match self.stack.config.users.is_empty() {
                    true => self.refuse(now, source, &invite, 403),
                    false => self.challenge(now, source, &invite, refusal),
                }
            }
        }
    }

    fn note_stranger(&mut self, now: Instant, source: Destination) {
        stats::SIP_REFUSED_CALLERS.add(1);
        if let Some(times) = self.strangers.note(now) {
            let peer = source.peer();
            log::warn!("peer={peer} calls, but is no trunk's (accept_from) nor a user{times}");
        }
    }

    /// Whether an INVITE takes the place of a call: there is not one more then. Whether it may is
    /// found when it is taken in.
    fn takes_a_place(&self, invite: &Message) -> bool {
        matches!(self.calls.replaced_by(invite), Ok(Some(_)))
    }

    /// Whose INVITE this is. Who is no trunk is a user or has to become one, whatever name its
    /// From has: another answer for the others would tell which names exist.
    fn peer_of(
        &mut self,
        now: Instant,
        source: Destination,
        invite: &Message,
    ) -> Result<Peer, Refusal> {
        let config = &self.stack.config;
        let trunk = admission::trunk_of(config, &self.stack.names, source, invite);
        let has_proof = invite.header(&Name::Authorization).is_some();
        let at_home = at_home(&self.registrar, config, invite, source);
        // A phone on the trunk's own machine is a phone.
        let is_phone = at_home.is_some_and(|(_, nearness)| nearness == Nearness::Phone);
        if let Some(trunk) = trunk
            && !has_proof
            && !is_phone
        {
            return Ok(Peer::Trunk(trunk.name.clone()));
        }
        let mut caller = Caller { source: source.peer().ip(), at_home, guard: &mut self.guard };
        match self.authenticator.verify(now, invite, &config.users, &mut caller) {
            Ok(user) => Ok(Peer::User(user.name.clone())),
            Err(refusal) => match trunk {
                // Proofs for somebody behind us.
                Some(trunk) if !is_phone => Ok(Peer::Trunk(trunk.name.clone())),
                _ => Err(refusal),
            },
        }
    }

    fn on_register(&mut self, now: Instant, source: Destination, request: &Message) {
        let config = &self.stack.config;
        let at_home = at_home(&self.registrar, config, request, source);
        let mut caller = Caller { source: source.peer().ip(), at_home, guard: &mut self.guard };
        let user = match self.authenticator.verify(now, request, &config.users, &mut caller) {
            Ok(user) => user.name.clone(),
            Err(refusal) => return self.challenge(now, source, request, refusal),
        };
        let Some(id) = self.stack.serve(now, request, source, None) else { return };
        let listener = match source {
            Destination::Datagram { listener, .. } => listener,
            Destination::Stream { .. } => 0,
        };
        let from = Source { address: source.peer(), transport: source.transport(), listener };
        let response = self.registrar.register(now, &user, request, from);
        while let Some(old) = self.registrar.poll_move() {
            self.calls.follow_phone(&user, (old.transport, old.address), source);
        }
        let response = self.stack.finish(response);
        self.stack.table.respond(now, &mut self.stack.transports, id, &response);
    }

    fn challenge(
        &mut self,
        now: Instant,
        source: Destination,
        request: &Message,
        refusal: Refusal,
    ) {
        if refusal == Refusal::Wrong
            && let Some(times) = self.wrong_passwords.note(now)
        {
            let user = request.from.uri.user.as_deref().unwrap_or_default();
            let (peer, user) = (source.peer(), Private(user));
            log::warn!("peer={peer} user={user} has a wrong password or is unknown: 403{times}");
        }
        let response = self.authenticator.refuse(now, request, refusal);
        let response = self.stack.finish(response);
        self.stack.answer(now, source, response);
    }
}

/// The user that a request says it is from, if one of its phones is near.
fn at_home<'a>(
    registrar: &Registrar,
    config: &'a Config,
    request: &Message,
    source: Destination,
) -> Option<(&'a str, Nearness)> {
    let user = admission::user_of(config, request)?;
    Some((&user.name, registrar.nearness(&user.name, source.peer())?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::digest::{self, Challenge};
    use super::super::user_agent::{Event, Input, Invite, Network, Output, Target, Usage};
    use super::*;
    use crate::sip::tests::bench::{
        Bench, PBX, PHONE, STRANGER, invite, kept, request, to_trunk, wire,
    };

    /// A request of alice's phone.
    fn of_phone(method: &str, number: u32, headers: &str) -> String {
        format!(
            "{method} sip:branch.example SIP/2.0\n\
             Via: SIP/2.0/UDP 10.0.0.5:5062;branch=z9hG4bKp{number};rport\n\
             From: <sip:alice@branch.example>;tag=p1\nTo: <sip:alice@branch.example>\n\
             Call-ID: p@phone\nCSeq: {number} {method}\n\
             Contact: <sip:alice@10.0.0.5:5062>\n{headers}\n"
        )
    }

    /// Signed for the challenge of a 401.
    fn signed(challenge: &str, method: &str, password: &str) -> String {
        let challenge = Challenge::parse(challenge).unwrap();
        let (uri, method) = ("sip:branch.example", method.parse().unwrap());
        let proof = digest::answer(&challenge, "alice", password, &method, uri, 1, "c");
        format!("Authorization: {proof}\n")
    }

    fn registered() -> Bench {
        let mut bench = Bench::new();
        bench.receive_from(PHONE, &of_phone("REGISTER", 1, ""));
        let challenge = bench.expect("SIP/2.0 401");
        let proof = signed(challenge.header("WWW-Authenticate"), "REGISTER", "secret");
        bench.receive_from(PHONE, &of_phone("REGISTER", 2, &format!("{proof}Expires: 600\n")));
        let ok = bench.expect("SIP/2.0 200");
        assert!(ok.header("Contact").starts_with("<sip:alice@10.0.0.5:5062>"));
        let Event::Bindings { user, contacts } = bench.event() else { panic!("Bindings") };
        assert_eq!((user.as_str(), contacts.len()), ("alice", 1));
        bench
    }

    #[test]
    fn stranger_who_calls_is_refused_403_where_there_are_no_users_and_leaves_no_state() {
        let mut bench = Bench::with(|config| config.users.clear());
        bench.receive_from(STRANGER, &invite());
        let refusal = bench.expect("SIP/2.0 403");
        assert_ne!(refusal.tag("To"), "");
        assert_eq!(bench.agent.usage(), Usage::default());
        assert_eq!(bench.agent.poll_timeout(), None);
        // The same again, the same answer.
        bench.receive_from(STRANGER, &invite());
        assert_eq!(bench.sent().text, refusal.text);
        bench.receive_from(STRANGER, &request("ACK", "1", refusal.tag("To"), "", ""));
        bench.quiet();
    }

    #[test]
    fn user_who_calls_is_challenged_without_state_and_then_let_in() {
        let mut bench = Bench::new();
        let mut call = of_phone("INVITE", 1, "");
        bench.receive_from(PHONE, &call);
        let challenge = bench.expect("SIP/2.0 401");
        assert_eq!(bench.agent.usage(), Usage::default());
        assert_eq!(challenge.to, PHONE.parse().unwrap());
        let via = challenge.header("Via");
        assert!(via.contains("received=198.51.100.20") && via.contains("rport=5062"), "{via}");
        let proof = signed(challenge.header("WWW-Authenticate"), "INVITE", "secret");
        call = of_phone("INVITE", 2, &proof);
        bench.receive_from(PHONE, &call);
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        assert_eq!(incoming.peer, Peer::User("alice".into()));
        bench.receive_from(PHONE, &call);
        bench.expect("SIP/2.0 100");
        bench.quiet();
    }

    #[test]
    fn user_with_a_wrong_password_is_refused_403() {
        let mut bench = Bench::new();
        bench.receive_from(PHONE, &of_phone("INVITE", 1, ""));
        let challenge = bench.expect("SIP/2.0 401");
        let proof = signed(challenge.header("WWW-Authenticate"), "INVITE", "wrong");
        bench.receive_from(PHONE, &of_phone("INVITE", 2, &proof));
        bench.expect("SIP/2.0 403");
        assert_eq!(bench.agent.usage(), Usage::default());
    }

    #[test]
    fn user_registers_and_is_called_where_it_came_from() {
        let mut bench = registered();
        assert_eq!(bench.agent.contacts("alice"), 1);
        let target = Target::User { name: "alice".into() };
        bench.act(|agent, now| agent.invite(now, Invite { target, ..to_trunk() })).unwrap();
        let invite = bench.expect("INVITE sip:alice@10.0.0.5:5062 ");
        assert_eq!(invite.to, PHONE.parse().unwrap());
        assert_eq!(invite.header("To"), "<sip:alice@branch.example>");
        bench.receive_from(PHONE, &invite.answer(200, "u1", "Contact: <sip:a@10.0.0.5>\n", ""));
        let ack = bench.expect("ACK sip:a@10.0.0.5 ");
        assert_eq!(ack.to, PHONE.parse().unwrap());
    }

    #[test]
    fn all_contacts_ring_and_the_first_answer_wins() {
        let mut bench = Bench::new();
        let binding = |number: u8| {
            let source = format!("198.51.100.{number}:5060");
            kept(&format!("sip:alice@10.0.0.{number}"), &source)
        };
        let bindings = vec![binding(1), binding(2), binding(3)];
        bench.act(|agent, now| agent.restore(now, "alice", bindings));
        let target = Target::User { name: "alice".into() };
        bench.act(|agent, now| agent.invite(now, Invite { target, ..to_trunk() })).unwrap();
        let phones = [bench.sent(), bench.sent(), bench.sent()];
        assert!(phones.iter().all(|invite| invite.line().starts_with("INVITE")));
        bench.receive(&phones[0].response(486, "u1"));
        bench.expect("ACK ");
        bench.receive(&phones[1].response(180, "u2"));
        assert!(matches!(bench.event(), Event::Progress { status: 180, .. }));
        bench.receive(&phones[2].answer(200, "u3", "Contact: <sip:c@10.0.0.3>\n", ""));
        bench.expect("ACK sip:c@10.0.0.3 ");
        let cancel = bench.expect("CANCEL ");
        assert_eq!(cancel.branch(), phones[1].branch());
        assert!(matches!(bench.event(), Event::Answered { .. }));
        bench.receive(&cancel.response(200, "u2"));
        bench.receive(&phones[1].response(487, "u2"));
        bench.expect("ACK ");
        bench.quiet();
    }

    #[test]
    fn refusals_of_all_contacts_are_one_failure() {
        let mut bench = registered();
        let target = Target::User { name: "alice".into() };
        bench.act(|agent, now| agent.invite(now, Invite { target, ..to_trunk() })).unwrap();
        let invite = bench.expect("INVITE ");
        bench.receive_from(PHONE, &invite.response(603, "u1"));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 603, .. }));
        bench.quiet();
    }

    #[test]
    fn registration_expires() {
        let mut bench = registered();
        bench.pass(Duration::from_secs(601));
        let Event::Bindings { contacts, .. } = bench.event() else { panic!("Bindings") };
        assert!(contacts.is_empty());
        assert_eq!(bench.agent.contacts("alice"), 0);
    }

    #[test]
    fn phone_on_the_trunks_machine_is_a_phone() {
        let mut bench = Bench::with(|config| {
            config.trunks[0].accept_from =
                vec![Network { address: [198, 51, 100, 0].into(), prefix: 24 }];
        });
        bench.receive_from(PHONE, &of_phone("REGISTER", 1, ""));
        let challenge = bench.expect("SIP/2.0 401");
        let proof = signed(challenge.header("WWW-Authenticate"), "REGISTER", "secret");
        bench.receive_from(PHONE, &of_phone("REGISTER", 2, &format!("{proof}Expires: 600\n")));
        bench.expect("SIP/2.0 200");
        bench.receive_from(PHONE, &of_phone("INVITE", 3, ""));
        bench.expect("SIP/2.0 401");
        // Its neighbour is the trunk.
        bench.receive_from("198.51.100.21:5060", &invite());
        bench.expect("SIP/2.0 100");
    }

    #[test]
    fn longest_network_tells_the_trunk() {
        let mut bench = Bench::with(|config| {
            let mut wide = config.trunks[0].clone();
            wide.name = "wide".into();
            wide.accept_from = vec![Network { address: [192, 0, 0, 0].into(), prefix: 8 }];
            config.trunks.insert(0, wide);
        });
        bench.receive(&invite());
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        assert_eq!(incoming.peer, Peer::Trunk("pbx".into()));
    }

    #[test]
    fn options_is_answered_to_anybody_without_state() {
        let mut bench = Bench::new();
        bench.receive_from(STRANGER, &request("OPTIONS", "1", "", "", ""));
        let ok = bench.expect("SIP/2.0 200");
        assert!(ok.header("Allow").contains("INVITE"));
        assert!(ok.header("Accept").contains("application/sdp"));
        assert_eq!(ok.all("Supported").len(), 1);
        assert_eq!(bench.agent.usage(), Usage::default());
    }

    #[test]
    fn requests_outside_dialogs_get_their_refusals() {
        let cases = [
            ("SUBSCRIBE", "", 405),
            ("PUBLISH", "", 405),
            ("REFER", "", 405),
            ("FOO", "", 501),
            ("NOTIFY", "", 489),
            ("MESSAGE", "", 405),
            ("PRACK", "", 481),
            ("INFO", "", 481),
            ("BYE", "", 481),
            ("BYE", "none", 481),
            ("INVITE", "none", 481),
            ("NOTIFY", "none", 481),
        ];
        for (method, tag, status) in cases {
            let mut bench = Bench::new();
            bench.receive(&request(method, "1", tag, "", ""));
            let refusal = bench.expect(&format!("SIP/2.0 {status}"));
            assert_eq!(
                refusal.header("Allow").is_empty(),
                !matches!(status, 405 | 501),
                "{method}"
            );
            bench.quiet();
            assert_eq!(bench.agent.usage(), Usage::default());
        }
    }

    #[test]
    fn invites_that_ask_too_much_are_refused() {
        for (from, to, status, header) in [
            ("Max-Forwards: 70", "Max-Forwards: 0", 483, ""),
            ("Max-Forwards: 70", "Require: 100rel, x", 420, "Unsupported"),
            ("application/sdp", "text/plain", 415, "Accept"),
            ("Max-Forwards: 70", "Content-Encoding: gzip", 415, "Accept-Encoding"),
            ("sip:200@192.0.2.1 SIP", "sips:200@192.0.2.1 SIP", 416, ""),
            ("sip:200@192.0.2.1 SIP", "urn:service:sos SIP", 416, ""),
            ("Contact: <sip:100@192.0.2.10:5060>\n", "", 400, ""),
            ("CSeq: 1 INVITE", "CSeq: 1 BYE", 400, ""),
            ("SIP/2.0\nVia", "SIP/3.0\nVia", 505, ""),
        ] {
            let mut bench = Bench::new();
            bench.receive(&invite().replace(from, to));
            let refusal = bench.expect(&format!("SIP/2.0 {status}"));
            assert!(header.is_empty() || !refusal.header(header).is_empty(), "{to}");
            bench.quiet();
            assert_eq!(bench.agent.usage(), Usage::default(), "{to}");
        }
    }

    #[test]
    fn garbage_and_stray_messages_are_dropped() {
        let mut bench = Bench::new();
        let from = STRANGER.parse().unwrap();
        for data in [&b"\r\n\r\n"[..], b"", b"\0\0\0\0", b"\xff\xfe\x00junk", b"INVITE\r\n\r\n"] {
            bench.input(Input::Datagram { listener: 0, from, data });
        }
        bench.receive("SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:a@b>;tag=2\nCall-ID: x\nCSeq: 1 INVITE\n\n");
        bench.receive(&request("ACK", "1", "none", "", ""));
        bench.quiet();
        assert_eq!(bench.agent.usage(), Usage::default());
    }

    #[test]
    fn lost_response_is_sent_to_the_source_though_via_says_otherwise() {
        let mut bench = Bench::new();
        let text = request("OPTIONS", "1", "", "", "").replace("192.0.2.10:5060;", "10.1.1.1:99;");
        bench.receive_from(STRANGER, &text);
        let ok = bench.expect("SIP/2.0 200");
        assert_eq!(ok.to, STRANGER.parse().unwrap());
        assert!(ok.header("Via").contains("received=203.0.113.66"));
    }

    fn accept(bench: &mut Bench) -> StreamId {
        let stream = StreamId(1);
        let (peer, local) =
            ("192.0.2.10:40000".parse().unwrap(), "192.0.2.1:5060".parse().unwrap());
        bench.input(Input::Accepted { stream, listener: 1, peer, local });
        stream
    }

    #[test]
    fn call_over_a_stream_is_answered_on_it_and_hung_up_on_it() {
        let mut bench = Bench::new();
        let stream = accept(&mut bench);
        let data = wire(&invite().replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
        bench.input(Input::Stream { stream, data: &data[..100] });
        assert!(bench.others.is_empty());
        bench.input(Input::Stream { stream, data: &data[100..] });
        let Some(Output::Stream { stream: StreamId(1), data }) = bench.others.pop_front() else {
            panic!("100 on the stream")
        };
        assert!(data.starts_with(b"SIP/2.0 100"));
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        let call = incoming.call;
        bench.act(|agent, now| agent.accept(now, call, &Vec::new(), None, b"v=0".to_vec()));
        let Some(Output::Stream { data, .. }) = bench.others.pop_front() else { panic!("200") };
        let text = String::from_utf8(data).unwrap();
        assert!(text.contains("Contact: <sip:200@192.0.2.1:5060;transport=tcp>"), "{text}");
        let tag = text.split("To: ").nth(1).unwrap().split(";tag=").nth(1).unwrap();
        let tag = tag.split("\r\n").next().unwrap();
        let ack = wire(&request("ACK", "1.a", tag, "", ""));
        bench.input(Input::Stream { stream, data: &ack });
        bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
        let Some(Output::Stream { stream: StreamId(1), data }) = bench.others.pop_front() else {
            panic!("BYE on the stream")
        };
        assert!(data.starts_with(b"BYE sip:100@192.0.2.10:5060 SIP/2.0"));
    }

    #[test]
    fn ping_on_a_stream_is_answered_and_garbage_closes_it() {
        let mut bench = Bench::new();
        let stream = accept(&mut bench);
        bench.input(Input::Stream { stream, data: b"\r\n\r\n" });
        let Some(Output::Stream { data, .. }) = bench.others.pop_front() else { panic!("pong") };
        assert_eq!(data, b"\r\n");
        bench.input(Input::Stream { stream, data: b"OPTIONS sip:x SIP/2.0\r\nTo: a\r\n\r\n" });
        assert!(matches!(bench.others.pop_front(), Some(Output::Close { .. })));
        assert_eq!(bench.agent.usage().streams, 0);
    }

    #[test]
    fn idle_stream_is_closed() {
        let mut bench = Bench::new();
        let stream = accept(&mut bench);
        bench.input(Input::Stream { stream, data: &wire(&request("OPTIONS", "1", "", "", "")) });
        bench.others.clear();
        bench.pass(Duration::from_secs(121));
        assert!(matches!(bench.others.pop_front(), Some(Output::Close { .. })));
    }

    #[test]
    fn idle_stream_with_a_call_is_kept_alive() {
        let mut bench = Bench::new();
        let stream = accept(&mut bench);
        bench.input(Input::Stream { stream, data: &wire(&invite()) });
        bench.others.clear();
        bench.pass(Duration::from_secs(121));
        let Some(Output::Stream { data, .. }) = bench.others.pop_front() else { panic!("ping") };
        assert_eq!(data, b"\r\n\r\n");
        assert!(bench.others.is_empty());
    }

    #[test]
    fn silent_stream_of_nobody_makes_room_for_another() {
        let mut bench = Bench::with(|config| config.limits.streams = 2);
        let stream = accept(&mut bench);
        bench.input(Input::Stream { stream, data: &wire(&invite()) });
        bench.others.clear();
        for number in [3, 5] {
            let peer = format!("203.0.113.9:{number}").parse().unwrap();
            let local = "192.0.2.1:5060".parse().unwrap();
            let stream = StreamId(number);
            bench.input(Input::Accepted { stream, listener: 1, peer, local });
        }
        // The trunk's stream is older, but has a call.
        let closed = bench.others.pop_front();
        assert!(matches!(closed, Some(Output::Close { stream: StreamId(3) })));
        assert_eq!(bench.agent.usage().streams, 2);
    }

    #[test]
    fn trunk_over_tcp_is_connected_to_and_its_failure_is_503() {
        let mut bench = Bench::with(|config| {
            config.trunks[0].server = "sip:192.0.2.10;transport=tcp".parse().unwrap();
        });
        bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap();
        let Some(Output::Connect { stream, to, .. }) = bench.others.pop_front() else {
            panic!("Connect")
        };
        assert_eq!(to, PBX.parse().unwrap());
        bench.input(Input::Closed { stream });
        assert!(matches!(bench.event(), Event::Failed { status: 503, .. }));
        bench.empty();
    }

    #[test]
    fn packet_above_the_limit_is_dropped() {
        let mut bench = Bench::with(|config| config.limits.message_bytes = 2000);
        let options = |bytes: usize| {
            let body = "x".repeat(bytes);
            request("OPTIONS", "1", "", "Content-Type: text/plain\n", &body)
        };
        bench.receive(&options(2000));
        bench.quiet();
        bench.receive(&options(100));
        bench.expect("SIP/2.0 ");
    }

    #[test]
    fn full_table_forgets_finished_transactions_before_it_refuses() {
        let mut bench = Bench::with(|config| config.limits.transactions = 2);
        let (_, ok) = bench.answered();
        for number in 2..20 {
            bench.receive(&request("INFO", &number.to_string(), ok.tag("To"), "", ""));
            bench.expect("SIP/2.0 200");
        }
        bench.quiet();
    }

    fn from_stranger(number: u32, headers: &str) -> String {
        request("OPTIONS", &number.to_string(), "", headers, "").replace(";tag=\n", "\n")
    }

    #[test]
    fn flood_of_a_stranger_is_dropped_and_phone_and_trunk_go_on() {
        let mut bench = registered();
        for number in 0..5000 {
            bench.receive_from(STRANGER, &from_stranger(number, ""));
        }
        assert_eq!(bench.all_sent().len(), 250);
        bench.receive_from(PHONE, &of_phone("OPTIONS", 9, ""));
        bench.expect("SIP/2.0 200");
        for number in 0..1000 {
            bench.receive_from(PBX, &from_stranger(number + 10_000, ""));
        }
        assert_eq!(bench.all_sent().len(), 1000, "nothing of a trunk is dropped");
        bench.pass(Duration::from_secs(1));
        bench.receive_from(STRANGER, &from_stranger(6000, ""));
        bench.expect("SIP/2.0 200");
    }

    #[test]
    fn scanner_gets_no_answer() {
        let mut bench = Bench::with(|config| {
            config.strangers.scanners = vec!["friendly-scanner".to_owned()];
        });
        bench.receive_from(STRANGER, &from_stranger(1, "User-Agent: Friendly-Scanner/1\n"));
        bench.quiet();
        bench.receive_from(STRANGER, &from_stranger(2, "User-Agent: friendly\n"));
        bench.expect("SIP/2.0 200");
    }

    #[test]
    fn strangers_get_no_answer_where_the_config_says_so() {
        let mut bench = Bench::with(|config| config.strangers.are_answered = false);
        bench.receive_from(STRANGER, &from_stranger(1, ""));
        bench.receive_from(STRANGER, &invite());
        bench.receive_from(STRANGER, &request("BYE", "2", "1-abc", "", ""));
        bench.receive_from(STRANGER, &request("CANCEL", "3", "1-abc", "", ""));
        bench.receive_from(STRANGER, &from_stranger(4, "Max-Forwards: many\n"));
        bench.quiet();
        // Names that exist get no more than others.
        for method in ["INVITE", "OPTIONS", "CANCEL"] {
            bench.receive_from(PHONE, &of_phone(method, 5, ""));
        }
        bench.receive_from(PHONE, &of_phone("INVITE", 6, "Authorization: Digest x=1\n"));
        bench.quiet();
        bench.receive_from(PBX, &from_stranger(2, ""));
        bench.expect("SIP/2.0 200");
        bench.receive_from(PHONE, &of_phone("REGISTER", 7, ""));
        let challenge = bench.expect("SIP/2.0 401");
        // Its phone may call before its registration is through.
        let proof = signed(challenge.header("WWW-Authenticate"), "INVITE", "secret");
        bench.receive_from(PHONE, &of_phone("INVITE", 8, &proof));
        bench.expect("SIP/2.0 100");
    }

    #[test]
    fn names_that_nobody_has_get_the_answers_of_users_names() {
        let mut bench = Bench::with(|config| config.digest.truncate(1));
        let answers = |bench: &mut Bench, name: &str| {
            let named =
                |text: String| text.replace("sip:alice@branch", &format!("sip:{name}@branch"));
            let mut seen = Vec::new();
            for method in ["OPTIONS", "INVITE", "REGISTER", "MESSAGE"] {
                bench.receive_from(STRANGER, &named(of_phone(method, 1, "")));
                let answer = bench.sent();
                seen.push(answer.line());
                let challenge = answer.header("WWW-Authenticate");
                if let Ok(challenge) = Challenge::parse(challenge) {
                    let (uri, method) = ("sip:branch.example", method.parse().unwrap());
                    let proof = digest::answer(&challenge, name, "guess", &method, uri, 1, "c");
                    let proof = format!("Authorization: {proof}\n");
                    let method = method.to_string();
                    bench.receive_from(STRANGER, &named(of_phone(&method, 2, &proof)));
                    seen.push(bench.sent().line());
                }
            }
            assert_eq!(bench.agent.usage(), Usage::default());
            seen
        };
        let of_user = answers(&mut bench, "alice");
        assert_eq!(of_user[1..3], ["401 Unauthorized", "403 Forbidden"]);
        assert_eq!(answers(&mut bench, "mallory"), of_user);
    }

    #[test]
    fn strangers_below_their_rate_share_another_and_phone_and_trunk_go_on() {
        let mut bench = registered();
        bench.all_sent();
        for number in 0..10_000 {
            let source = format!("203.0.{}.{}:5060", 113 + number % 2, number / 2 % 100);
            bench.receive_from(&source, &from_stranger(number, ""));
        }
        // Of the 5000 of all the phone took two when nobody knew it.
        assert_eq!(bench.all_sent().len(), 4998);
        bench.receive_from(PHONE, &of_phone("OPTIONS", 9, ""));
        bench.expect("SIP/2.0 200");
        bench.receive_from(PBX, &from_stranger(20_000, ""));
        bench.expect("SIP/2.0 200");
        bench.pass(Duration::from_secs(1));
        bench.receive_from(STRANGER, &from_stranger(30_000, ""));
        bench.expect("SIP/2.0 200");
    }

    #[test]
    fn handshakes_of_a_stranger_are_bounded_in_rate_and_those_of_a_phone_are_not() {
        let mut bench = registered();
        let mut shake = |peer: &str| {
            let peer = peer.parse().unwrap();
            (0..1000).filter(|_| bench.agent.may_shake_hands(bench.now, peer)).count()
        };
        assert_eq!(shake(STRANGER), 50);
        assert_eq!(shake("198.51.100.20:40000"), 1000);
        assert_eq!(shake(PBX), 1000);
    }
}
