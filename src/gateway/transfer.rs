//! Transfers between sessions: what a peer's REFER and an INVITE with Replaces come to, and the
//! notes that sessions have for each other (section 13 of the VoxEngine reference).
//!
//! Who may: a REFER is worth what an INVITE from the same peer would be, so it finds its rule like
//! one; a dialog is replaced by its own peer only (RFC 3891 §3, "equivalent to the user who is
//! being replaced"). A leg moves between sessions of one media thread; with `[media] threads` above
//! 1 an attended transfer between two sessions that are not is refused (488). The session of a
//! blind transfer is put on the right one.

use std::time::Instant;

use super::{First, Gateway};
use crate::logger::Private;
use crate::rules;
use crate::session::{Note, Refusal, SessionCall};
use crate::sip::message::reason_phrase;
use crate::sip::user_agent::{self as sip, Found, Replaces};
use crate::stats;

impl Gateway {
    /// A peer wants its call transferred.
    pub(super) fn on_refer(&mut self, now: Instant, leg: sip::CallId, mut refer: sip::Refer) {
        let Some((session, call)) = self.exchange.leg(leg) else {
            return self.exchange.user_agent.reject_refer(now, leg, 603);
        };
        let origin = SessionCall { session, call };
        if let Some(replaces) = refer.replaces.take() {
            return self.attend(now, leg, origin, &replaces);
        }
        if self.session(session).is_some_and(|session| session.asks_script(call)) {
            return self.with_session(now, session, |now, session, exchange| {
                session.request_transfer(now, exchange, call, leg, refer);
            });
        }
        self.transfer_blind(now, leg, origin, refer);
    }

    /// A session for the target, by the rule that an INVITE of the transferor would find.
    fn transfer_blind(
        &mut self,
        now: Instant,
        leg: sip::CallId,
        origin: SessionCall,
        refer: sip::Refer,
    ) {
        let Some(session) = self.session(origin.session) else { return };
        let Some(transferee) = session.partner(origin.call) else {
            return self.refuse_transfer(now, leg, origin, 603);
        };
        // Whoever the script called by a URI shall not have us call others.
        let Some(peer) = self.exchange.user_agent.peer(leg) else {
            return self.refuse_transfer(now, leg, origin, 403);
        };
        let (media, initiator) = (session.place.media, session.record.initiator_address.clone());
        let Some(referred) = session.referred(origin.call, transferee, peer, refer) else { return };
        self.exchange.user_agent.accept_refer(now, leg);
        let config = self.exchange.config.clone();
        let caller = match &referred.peer {
            sip::Peer::Trunk(name) => rules::Caller::Trunk(name),
            sip::Peer::User(name) => rules::Caller::User(name),
        };
        let found = rules::find_rule(&config.applications, &referred.destination, caller);
        let Some((application, rule)) = found else {
            log::warn!("no rule takes {} of a transfer", Private(&referred.destination));
            return self.fail_transfer(now, origin, Refusal::NoRule.status().0);
        };
        let opened = self.open_session(now, application, rule, &initiator, None, Some(media));
        let Some(target) = opened else {
            return self.fail_transfer(now, origin, Refusal::Full.status().0);
        };
        let Some(call) =
            self.run_session(now, target, rule.id, String::new(), First::Referred(referred))
        else {
            return self.fail_transfer(now, origin, Refusal::Full.status().0);
        };
        let target = SessionCall { session: target, call };
        self.with_session(now, origin.session, |_, session, _| {
            session.begin_transfer(origin.call, transferee, target);
        });
    }

    /// Whom the transferor talks with takes the place of the transferor's other call.
    fn attend(&mut self, now: Instant, leg: sip::CallId, origin: SessionCall, replaces: &Replaces) {
        let Some(session) = self.session(origin.session) else { return };
        let Some(transferee) = session.partner(origin.call) else {
            return self.refuse_transfer(now, leg, origin, 603);
        };
        let replaced = match self.exchange.user_agent.find_dialog(replaces) {
            Found::Dialog(other) if other != leg => self.exchange.leg(other),
            Found::Dialog(_) | Found::Nothing | Found::Over => None,
        };
        let replaced = replaced.map(|(session, call)| SessionCall { session, call });
        let own = |call: SessionCall| call.session == origin.session && call.call == transferee;
        let verdict = match replaced {
            None => Err(481),
            // It talks with itself.
            Some(other) if own(other) => Err(488),
            Some(other) if replaces.is_early_only && self.is_connected(other) => Err(486),
            Some(other) if !self.is_connected(other) => Err(481),
            Some(other) if !self.have_same_peer(leg, other) => Err(403),
            Some(other) if !self.share_media(origin, other) => Err(488),
            Some(other) => Ok(other),
        };
        self.exchange.user_agent.accept_refer(now, leg);
        match verdict {
            Ok(replaced) => {
                let transferee = SessionCall { call: transferee, ..origin };
                self.complete_transfer(now, origin);
                self.move_leg(now, transferee, replaced);
                self.with_session(now, replaced.session, |_, session, exchange| {
                    session.tell_replaced(exchange, replaced.call);
                });
            }
            Err(status) => self.fail_transfer(now, origin, status),
        }
    }

    fn is_connected(&self, call: SessionCall) -> bool {
        self.session(call.session).is_some_and(|session| session.is_connected(call.call))
    }

    /// Whether both calls are one peer's. Of a peer that is no trunk's or user's: at one address.
    fn have_same_peer(&self, leg: sip::CallId, other: SessionCall) -> bool {
        let user_agent = &self.exchange.user_agent;
        let Some(other) = self.session(other.session).and_then(|one| one.leg(other.call)) else {
            return false;
        };
        match (user_agent.peer(leg), user_agent.peer(other)) {
            (None, None) => user_agent.peer_address(leg) == user_agent.peer_address(other),
            (one, other) => one == other,
        }
    }

    fn share_media(&self, one: SessionCall, other: SessionCall) -> bool {
        let media = |call: SessionCall| Some(self.session(call.session)?.place.media);
        media(one) == media(other)
    }

    /// An INVITE with Replaces: the new leg takes the old one's place.
    pub(super) fn on_replacing(
        &mut self,
        now: Instant,
        incoming: sip::Incoming,
        replaced: sip::CallId,
    ) {
        let user_agent = &self.exchange.user_agent;
        let place = self.exchange.leg(replaced);
        let refusal = match place.and_then(|(id, call)| Some((self.session(id)?, call))) {
            None => Some(481),
            Some((session, call)) if !session.is_connected(call) => Some(481),
            _ if user_agent.peer(replaced) != Some(incoming.peer.clone()) => Some(403),
            Some(_) => None,
        };
        match (refusal, place) {
            (None, Some((session, call))) => {
                self.with_session(now, session, |now, session, exchange| {
                    session.replace_leg(now, exchange, call, incoming);
                });
            }
            (refusal, _) => {
                stats::TRANSFERS_REFUSED.add(1);
                let status = refusal.unwrap_or(481);
                self.exchange.user_agent.reject(now, incoming.call, status, &Vec::new());
            }
        }
    }

    /// What one session has to tell another.
    pub(super) fn on_note(&mut self, now: Instant, note: Note) {
        match note {
            Note::Progress { origin, status } => {
                self.with_session(now, origin.session, |now, session, exchange| {
                    session.tell_transferor(now, exchange, origin.call, status, "");
                });
            }
            Note::Answered { origin, target } => {
                let session = self.session(origin.session);
                match session.and_then(|one| one.transferee_for(origin.call, target)) {
                    Some(call) => {
                        self.complete_transfer(now, origin);
                        self.move_leg(now, SessionCall { call, ..origin }, target);
                    }
                    None => self.cancel_target(now, target),
                }
            }
            Note::Failed { origin, status, reason } => {
                self.with_session(now, origin.session, |now, session, exchange| {
                    session.fail_transfer(now, exchange, origin.call, status, &reason);
                });
            }
            Note::Left { transferee, target } => {
                let is_awaited =
                    self.session(target.session).is_some_and(|one| one.is_referred(target.call));
                if is_awaited {
                    self.move_leg(now, transferee, target);
                }
            }
            Note::Cancelled { target } => self.cancel_target(now, target),
        }
    }

    /// A leg goes on as another call, of the same or another session.
    fn move_leg(&mut self, now: Instant, from: SessionCall, to: SessionCall) {
        let mut released = None;
        self.with_session(now, from.session, |now, session, exchange| {
            released = session.release(now, exchange, from.call);
        });
        match released {
            Some(leg) => self.with_session(now, to.session, |now, session, exchange| {
                session.adopt(now, exchange, to.call, leg);
            }),
            None => self.cancel_target(now, to),
        }
    }

    fn complete_transfer(&mut self, now: Instant, origin: SessionCall) {
        self.with_session(now, origin.session, |now, session, exchange| {
            session.complete_transfer(now, exchange, origin.call);
        });
    }

    fn fail_transfer(&mut self, now: Instant, origin: SessionCall, status: u16) {
        self.with_session(now, origin.session, |now, session, exchange| {
            session.fail_transfer(now, exchange, origin.call, status, "");
        });
    }

    /// Refuses the REFER itself.
    fn refuse_transfer(
        &mut self,
        now: Instant,
        leg: sip::CallId,
        origin: SessionCall,
        status: u16,
    ) {
        self.exchange.user_agent.reject_refer(now, leg, status);
        let reason = reason_phrase(status).to_owned();
        self.with_session(now, origin.session, |_, session, exchange| {
            session.tell_failed(exchange, origin.call, "transferor", status, reason);
        });
    }

    fn cancel_target(&mut self, now: Instant, target: SessionCall) {
        self.with_session(now, target.session, |now, session, exchange| {
            session.cancel_referred(now, exchange, target.call);
        });
    }
}
