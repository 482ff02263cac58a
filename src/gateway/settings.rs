//! The configuration as the user agent and the workers take it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{self, Config};
use crate::scenario::worker::Script;
use crate::sip::uri::Uri;
use crate::sip::user_agent as sip;

/// Name and value of each secret.
pub type Secrets = Arc<[(String, String)]>;

/// What the user agent is told of the configuration.
pub fn sip_config(config: &Config, listeners: &[sip::Listener]) -> sip::Config {
    let network = |network: &config::Network| sip::Network {
        address: network.address,
        prefix: network.prefix,
    };
    let algorithm = |digest: &config::Digest| match digest {
        config::Digest::Md5 => sip::Algorithm::Md5,
        config::Digest::Sha256 => sip::Algorithm::Sha256,
    };
    let limits = &config.limits;
    sip::Config {
        listeners: listeners.to_vec(),
        public_address: config.sip.public_address.clone(),
        domain: config.sip.domain.clone(),
        digest: config.sip.digest.iter().map(algorithm).collect(),
        trunks: config
            .trunks
            .iter()
            .map(|trunk| sip::Trunk {
                name: trunk.name.clone(),
                server: trunk.server.parse::<Uri>().expect("Config::parse checked the URI"),
                register: trunk.register,
                username: trunk.username.clone(),
                password: trunk.password.clone(),
                accept_from: trunk.accept_from.iter().map(network).collect(),
                options: (!trunk.options.is_zero()).then_some(trunk.options),
            })
            .collect(),
        users: config
            .users
            .iter()
            .map(|user| sip::User {
                name: user.name.clone(),
                password: user.password.clone(),
                display_name: user.display_name.clone(),
            })
            .collect(),
        product: format!("branchline/{}", env!("CARGO_PKG_VERSION")),
        limits: sip::Limits {
            // Legs in both roles: no session has more than its own cap at one time.
            calls: limits.sessions.saturating_mul(LEGS_PER_SESSION),
            transactions: limits.sip_transactions,
            streams: limits.sip_streams,
            contacts_per_user: limits.contacts_per_user,
            message_bytes: limits.sip_message_bytes,
        },
    }
}

/// The rules' sources as workers take them, by rule id.
pub fn scripts_by_rule(config: &Config) -> HashMap<u32, Arc<[Script]>> {
    let rules = config.applications.iter().flat_map(|application| &application.rules);
    let script = |script: &config::Script| Script {
        name: script.name.clone(),
        source: script.source.to_string(),
    };
    rules.map(|rule| (rule.id, rule.scripts.iter().map(script).collect())).collect()
}

/// The secrets of each rule's application, by rule id.
pub fn secrets_by_rule(config: &Config) -> HashMap<u32, Secrets> {
    let of_application = |application: &config::Application| {
        let secrets: Secrets = application.secrets.as_slice().into();
        let rules: Vec<u32> = application.rules.iter().map(|rule| rule.id).collect();
        rules.into_iter().map(move |rule| (rule, secrets.clone()))
    };
    config.applications.iter().flat_map(of_application).collect()
}

/// The user agent's table of calls holds this many per session: two legs each, with room for
/// those that are ending.
const LEGS_PER_SESSION: usize = 8;
