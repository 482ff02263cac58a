//! Whether and how the audio of a call is encrypted: what the config says of its trunk or user,
//! our keys, and what its descriptions ask for.
//!
//! Keys stand in the SIP messages themselves (RFC 4568), so our own offers have them where those
//! are encrypted, or where the operator wants them all the same.

use super::Session;
use super::call::Call;
use super::exchange::Exchange;
use crate::config::{Config, Srtp as Policy};
use crate::media::srtp as media;
use crate::scenario::command::Object;
use crate::sdp::crypto::{OwnKeys, Suite};
use crate::sdp::description::Description;
use crate::sdp::offer_answer::{Agreed, Error, Profile, Protection, Srtp};
use crate::sip::user_agent::{CallId, Peer, Target};

/// Of one call.
pub struct Security {
    policy: Policy,
    /// What our offers ask for before there is an agreement.
    profile: Profile,
    is_secure_hop: bool,
    /// Drawn when a description first needs them.
    keys: Option<Box<OwnKeys>>,
}

impl Security {
    /// Of a call that is not dialled yet.
    pub fn none() -> Self {
        Self { policy: Policy::Off, profile: Profile::Plain, is_secure_hop: true, keys: None }
    }

    pub fn incoming(exchange: &Exchange, peer: &Peer, call: CallId) -> Self {
        let own = match peer {
            Peer::Trunk(name) => of_trunk(&exchange.config, name),
            Peer::User(name) => of_user(&exchange.config, name),
        };
        Self::new(&exchange.config, own, exchange.user_agent.is_secure(call))
    }

    /// Each INVITE has its own keys: the next trunk must not have those of the one before.
    pub fn outgoing(exchange: &Exchange, target: &Target) -> Self {
        let own = match target {
            Target::Trunk { name, .. } => of_trunk(&exchange.config, name),
            Target::User { name } => of_user(&exchange.config, name),
            Target::Uri { .. } => None,
        };
        Self::new(&exchange.config, own, exchange.user_agent.is_secure_for(target))
    }

    fn new(config: &Config, own: Option<Policy>, is_secure_hop: bool) -> Self {
        let policy = own.unwrap_or(config.media.srtp);
        let profile = match policy {
            Policy::Off => Profile::Plain,
            Policy::Optional if is_secure_hop || own.is_some() => Profile::Opportunistic,
            Policy::Optional => Profile::Plain,
            Policy::Required => Profile::Secure,
        };
        Self { policy, profile, is_secure_hop, keys: None }
    }

    /// Draws our keys if the next description needs them: an answer to this offer, or an offer.
    pub fn prepare(&mut self, exchange: &mut Exchange, offer: Option<&Description>) {
        let is_needed = match (self.policy, offer) {
            (Policy::Off, _) => false,
            (Policy::Required, _) => true,
            (Policy::Optional, Some(offer)) => offer.has_keys(),
            (Policy::Optional, None) => self.profile != Profile::Plain,
        };
        if is_needed && self.keys.is_none() {
            let mut bytes = [0; OwnKeys::BYTES];
            exchange.random.fill(&mut bytes);
            self.keys = Some(Box::new(OwnKeys::new(bytes)));
            if !self.is_secure_hop {
                exchange.warn_of_open_keys();
            }
        }
    }

    /// What the next description says; a protected stream is offered again as it is.
    pub fn describe(&self, agreed: Option<&Agreed>) -> Option<Srtp> {
        let keys = OwnKeys::clone(self.keys.as_ref()?);
        let protection = agreed.and_then(|agreed| agreed.srtp.as_ref());
        let profile = protection.map_or(self.profile, |protection| protection.profile);
        Some(Srtp { keys, is_required: self.policy == Policy::Required, profile })
    }
}

impl Call {
    /// A stream that is not protected gives its keys up: taken again, they would protect other
    /// packets from the same beginning. It is not asked for them again, nor does a refresh offer
    /// them.
    pub(super) fn give_up_unused_keys(&mut self) {
        if self.agreed.as_ref().is_none_or(|agreed| agreed.srtp.is_some()) {
            return;
        }
        self.security.keys = None;
        self.security.profile = Profile::Plain;
        if let Some(described) = &mut self.described {
            described.media.iter_mut().for_each(|media| media.crypto.clear());
        }
    }
}

impl Session {
    /// Says in the session's log why offer and answer came to nothing.
    pub(super) fn on_disagreement(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        error: &Error,
    ) {
        if matches!(error, Error::Unprotected | Error::Protocol(_)) {
            crate::stats::CALLS_REFUSED_SRTP.add(1);
        }
        self.log_call(exchange, object, &format!("no media: {error}"));
    }
}

/// The agreed keys as media takes them.
pub fn media_keys(protection: &Protection) -> Option<Box<media::Keys>> {
    let suite = match protection.suite {
        Suite::AesCm128HmacSha1_80 => media::Suite::AesCm128HmacSha1_80,
        Suite::AesCm256HmacSha1_80 => media::Suite::AesCm256HmacSha1_80,
        Suite::AesCm128HmacSha1_32 => media::Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_32 => media::Suite::AesCm256HmacSha1_32,
    };
    let mki = |mki: crate::sdp::crypto::Mki| media::Mki { value: mki.value, bytes: mki.bytes };
    Some(Box::new(media::Keys {
        suite,
        outbound: media::Master::new(suite, protection.own.as_bytes())?,
        inbound: media::Master::new(suite, protection.remote.as_bytes())?,
        inbound_mki: protection.remote_mki.map(mki),
    }))
}

fn of_trunk(config: &Config, name: &str) -> Option<Policy> {
    config.trunks.iter().find(|trunk| trunk.name == name)?.srtp
}

fn of_user(config: &Config, name: &str) -> Option<Policy> {
    config.users.iter().find(|user| user.name == name)?.srtp
}
