//! Contacts of phones between the registrar and the database.

use std::collections::HashMap;
use std::time::Instant;

use crate::sip::name_addr::NameAddr;
use crate::sip::outbound;
use crate::sip::uri::Uri;
use crate::sip::user_agent as sip;
use crate::sip::user_agent::UserAgent;
use crate::storage::record::{StoredBinding, UnixMs};

/// Gives the registrar what it kept before a restart.
pub fn restore_bindings(
    now: Instant,
    unix_ms: UnixMs,
    user_agent: &mut UserAgent,
    bindings: &[StoredBinding],
) {
    let mut users: Vec<&str> = bindings.iter().map(|binding| binding.user.as_str()).collect();
    users.sort_unstable();
    users.dedup();
    for user in users {
        let own = bindings.iter().filter(|binding| binding.user == user);
        let restored = own.filter_map(|binding| restored(binding, unix_ms)).collect();
        user_agent.restore(now, user, restored);
    }
}

/// How many phones each user had registered before a restart.
pub fn phones_by_user(bindings: &[StoredBinding]) -> HashMap<String, usize> {
    let mut phones = HashMap::new();
    for binding in bindings {
        *phones.entry(binding.user.clone()).or_default() += 1;
    }
    phones
}

/// A contact as it is kept.
pub fn stored(user: &str, binding: sip::Binding, unix_ms: UnixMs) -> StoredBinding {
    StoredBinding {
        user: user.to_owned(),
        contact: NameAddr { parameters: binding.parameters, ..NameAddr::new(binding.contact) }
            .to_string(),
        path: written(binding.path),
        call_id: binding.call_id,
        cseq: binding.cseq,
        expires_at: unix_ms + binding.expires_in.as_millis() as UnixMs,
        source: binding.source.to_string(),
        transport: binding.transport.to_string(),
        listener: binding.listener as u32,
        user_agent: binding.user_agent,
    }
}

/// `None`: expired, or a row that an older release wrote in another form.
fn restored(binding: &StoredBinding, unix_ms: UnixMs) -> Option<sip::Binding> {
    let left =
        u64::try_from(binding.expires_at.saturating_sub(unix_ms)).ok().filter(|left| *left > 0)?;
    // Without brackets the parameters are the URI's: so did older releases keep it.
    let contact = match binding.contact.starts_with('<') {
        true => binding.contact.parse::<NameAddr>().ok()?,
        false => NameAddr::new(binding.contact.parse::<Uri>().ok()?),
    };
    let transport = sip::Transport::named(&binding.transport)?;
    let path = match &*binding.path {
        "" => Vec::new(),
        path => NameAddr::parse_list(path).ok()?,
    };
    let path: Vec<Uri> = path.into_iter().map(|proxy| proxy.uri).collect();
    let has_flow = transport.is_stream() || !path.is_empty();
    let is_outbound = has_flow && outbound::is_flow(&contact.parameters);
    Some(sip::Binding {
        contact: contact.uri,
        parameters: contact.parameters,
        is_outbound,
        path,
        call_id: binding.call_id.clone(),
        cseq: binding.cseq,
        expires_in: std::time::Duration::from_millis(left),
        source: binding.source.parse().ok()?,
        transport,
        listener: binding.listener as usize,
        user_agent: binding.user_agent.clone(),
    })
}

/// As one field value.
fn written(path: Vec<Uri>) -> String {
    let proxies: Vec<_> = path.into_iter().map(|uri| NameAddr::new(uri).to_string()).collect();
    proxies.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored_as(contact: &str) -> StoredBinding {
        StoredBinding {
            user: "alice".into(),
            contact: contact.into(),
            path: String::new(),
            call_id: "r".into(),
            cseq: 1,
            expires_at: 60_000,
            source: "198.51.100.20:40001".into(),
            transport: "tcp".into(),
            listener: 0,
            user_agent: "phone/1".into(),
        }
    }

    #[test]
    fn contact_is_kept_with_its_parameters() {
        let kept = "<sip:alice@10.0.0.5;transport=tcp>;q=0.5;+sip.instance=\"<urn:uuid:1>\"";
        let binding = restored(&stored_as(kept), 0).unwrap();
        assert_eq!(binding.contact.to_string(), "sip:alice@10.0.0.5;transport=tcp");
        assert_eq!(binding.instance(), Some("<urn:uuid:1>"));
        assert_eq!(stored("alice", binding, 0), stored_as(kept));
        let flow = format!("{kept};reg-id=1");
        assert!(restored(&stored_as(&flow), 0).unwrap().is_outbound);
    }

    #[test]
    fn path_is_kept_in_its_order() {
        let path = "<sip:sbc.example;lr>, <sip:f1@edge.example;lr;ob>".to_owned();
        let kept = StoredBinding { path, ..stored_as("<sip:alice@10.0.0.5>") };
        let binding = restored(&kept, 0).unwrap();
        assert_eq!(binding.path[1].to_string(), "sip:f1@edge.example;lr;ob");
        assert_eq!(stored("alice", binding, 0), kept);
    }

    #[test]
    fn contact_of_an_older_release_is_a_bare_uri() {
        let binding = restored(&stored_as("sip:alice@10.0.0.5;transport=tcp"), 0).unwrap();
        assert_eq!(binding.contact.parameter("transport"), Some("tcp"));
        assert!(binding.parameters.is_empty());
    }
}
