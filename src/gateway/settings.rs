//! The configuration as the user agent and the workers take it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{self, Config};
use crate::scenario::heap::Pool;
use crate::scenario::worker::{self, Script};
use crate::sip::uri::Uri;
use crate::sip::user_agent as sip;

/// Name and value of each secret.
pub type Secrets = Arc<[(String, String)]>;

/// What each worker is told of the configuration; all share one pool of this size.
pub fn worker_limits(config: &Config, pool_bytes: usize) -> worker::Limits {
    let limits = &config.limits;
    worker::Limits {
        heap_bytes: limits.js_heap_bytes,
        reserve_bytes: limits.js_reserve_bytes,
        pool: Arc::new(Pool::new(pool_bytes)),
        stack_bytes: limits.js_stack_bytes,
        run_time: limits.js_run_time,
        timers: limits.timers,
        players: limits.players,
        http_active: limits.http_active,
        http_queued: limits.http_queued,
        log_line_chars: limits.log_line_chars,
        log_bytes: usize::try_from(limits.session_log_bytes).unwrap_or(usize::MAX),
        sessions: limits.sessions,
        on_error: match config.scenario.on_error {
            config::OnError::Log => worker::OnError::Log,
            config::OnError::End => worker::OnError::End,
        },
    }
}

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
        strangers: sip::Strangers {
            source_rate: config.sip.source_rate,
            strangers_rate: config.sip.strangers_rate,
            are_answered: config.sip.strangers == config::Strangers::Refuse,
            scanners: config.sip.scanners.clone(),
        },
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
                is_mutual: trunk.is_mutual,
                options: (!trunk.options.is_zero()).then_some(trunk.options),
                account: account(&trunk.account),
                identity: policy(trunk),
                caps: sip::Caps {
                    calls: trunk.caps.calls,
                    calls_per_second: trunk.caps.calls_per_second,
                },
                prack: match trunk.prack {
                    config::Prack::Off => sip::Prack::Off,
                    config::Prack::Supported => sip::Prack::Supported,
                    config::Prack::Required => sip::Prack::Required,
                },
            })
            .collect(),
        users: config
            .users
            .iter()
            .map(|user| sip::User {
                name: user.name.clone(),
                password: user.password.clone(),
                display_name: user.display_name.clone(),
                max_calls: user.max_calls,
            })
            .collect(),
        nat: sip::Nat {
            local_networks: config.sip.local_networks.iter().map(network).collect(),
            keepalive: (!config.sip.keepalive.is_zero()).then_some(config.sip.keepalive),
        },
        ws_origins: config.sip.ws_origins.clone(),
        session_timer: sip::SessionTimer {
            interval: (!config.sip.session_expires.is_zero()).then_some(config.sip.session_expires),
            least: config.sip.min_se,
        },
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

fn account(account: &config::Account) -> sip::Account {
    let proxy = &account.outbound_proxy;
    sip::Account {
        outbound_proxy: (!proxy.is_empty())
            .then(|| proxy.parse::<Uri>().expect("Config::parse checked the URI")),
        auth_username: account.auth_username.clone(),
        realm: account.realm.clone(),
        contact_user: account.contact_user.clone(),
        expires: account.expires,
    }
}

fn policy(trunk: &config::Trunk) -> sip::Policy {
    let identity = &trunk.identity;
    sip::Policy {
        is_trusted: identity.trusts,
        form: match identity.sends {
            config::SendIdentity::None => sip::Form::None,
            config::SendIdentity::Pai => sip::Form::Asserted,
            config::SendIdentity::Ppi => sip::Form::Preferred,
            config::SendIdentity::Rpid => sip::Form::RemoteParty,
        },
        from_user: match identity.from_user {
            config::FromUser::Caller => sip::FromUser::Caller,
            config::FromUser::Username => sip::FromUser::Account,
        },
        from_domain: identity.from_domain.clone(),
        number: trunk.caller_id.clone(),
        privacy: match identity.privacy {
            config::Privacy::None => sip::Privacy::None,
            config::Privacy::Id => sip::Privacy::Id,
            config::Privacy::User => sip::Privacy::User,
            config::Privacy::Header => sip::Privacy::Header,
            config::Privacy::Full => sip::Privacy::Full,
        },
        called: match identity.called_from {
            config::CalledFrom::Request => sip::Called::RequestUri,
            config::CalledFrom::To => sip::Called::To,
        },
        pass_headers: identity.pass_headers.clone(),
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
