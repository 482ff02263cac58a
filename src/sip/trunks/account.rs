//! How we are known at a trunk, and how many calls it takes.

use std::time::Duration;

use crate::sip::authorization::Login;
use crate::sip::uri::Uri;
use crate::sip::user_agent::Trunk;

/// An account beyond its user name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What everything to the trunk goes through, REGISTER and OPTIONS too.
    pub outbound_proxy: Option<Uri>,
    /// User of the digest; empty: the trunk's `username`.
    pub auth_username: String,
    /// The only realm that gets a proof; empty: any.
    pub realm: String,
    /// User of the Contact that is registered; empty: the trunk's `username`.
    pub contact_user: String,
    /// Time that a registration is asked for.
    pub expires: Duration,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            outbound_proxy: None,
            auth_username: String::new(),
            realm: String::new(),
            contact_user: String::new(),
            expires: DEFAULT_EXPIRES,
        }
    }
}

/// Most calls of a trunk; 0: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// At one time, both ways.
    pub calls: usize,
    /// New ones in a second that we send there.
    pub calls_per_second: usize,
}

impl Trunk {
    /// What it is proved with that a request is ours; `None`: there is no account.
    pub fn login(&self) -> Option<Login> {
        let Account { auth_username, realm, .. } = &self.account;
        let user = if auth_username.is_empty() { &self.username } else { auth_username };
        (!user.is_empty()).then(|| Login::new(user, &self.password).for_realm(realm))
    }

    /// User of the Contact by which a registrar reaches us.
    pub fn contact_user(&self) -> &str {
        match self.account.contact_user.as_str() {
            "" => &self.username,
            user => user,
        }
    }

    /// Domain of the address of record, and of From.
    pub fn domain(&self) -> &str {
        match self.identity.from_domain.as_str() {
            "" => &self.server.host,
            domain => domain,
        }
    }
}

/// RFC 3261 §10.2.1.1.
const DEFAULT_EXPIRES: Duration = Duration::from_secs(3600);
