//! Whose a call is: the trunk or user at its other end.

use super::Calls;
use crate::sip::identity::Policy;
use crate::sip::stack::Stack;
use crate::sip::user_agent::{CallId, Peer, Target};

/// The other end of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Party {
    /// Whoever a URI of the script's named.
    #[default]
    Anybody,
    Trunk(String),
    User(String),
}

impl Party {
    pub fn of(peer: &Peer) -> Self {
        match peer {
            Peer::Trunk(name) => Self::Trunk(name.clone()),
            Peer::User(name) => Self::User(name.clone()),
        }
    }

    pub fn called(target: &Target) -> Self {
        match target {
            Target::Trunk { name, .. } => Self::Trunk(name.clone()),
            Target::User { name } => Self::User(name.clone()),
            Target::Uri { .. } => Self::Anybody,
        }
    }

    pub fn trunk(&self) -> Option<&str> {
        match self {
            Self::Trunk(name) => Some(name),
            Self::Anybody | Self::User(_) => None,
        }
    }

    pub fn is_user(&self, name: &str) -> bool {
        matches!(self, Self::User(user) if user == name)
    }

    /// What the trunk is believed and told, while it is in the config.
    pub fn policy<'a>(&self, stack: &'a Stack) -> Option<&'a Policy> {
        Some(&stack.trunk(self.trunk()?)?.identity)
    }
}

impl Calls {
    pub fn peer(&self, id: CallId) -> Option<Peer> {
        match &self.slots.get(id.0)?.party {
            Party::Anybody => None,
            Party::Trunk(name) => Some(Peer::Trunk(name.clone())),
            Party::User(name) => Some(Peer::User(name.clone())),
        }
    }

    /// Calls with this party that have not ended. Counted anew each time, and asked only where a
    /// cap is set: no figure can drift.
    pub fn count_of(&self, party: &Party) -> usize {
        self.slots.iter().filter(|(_, call)| call.is_held && call.party == *party).count()
    }
}
