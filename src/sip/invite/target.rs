//! Where an INVITE of ours goes, and whom it is from and to.

use std::collections::VecDeque;

use crate::sip::identity;
use crate::sip::locate::Hop;
use crate::sip::message::reason_phrase;
use crate::sip::name_addr::NameAddr;
use crate::sip::stack::Stack;
use crate::sip::transport::Destination;
use crate::sip::trunks::loose;
use crate::sip::uri::Uri;
use crate::sip::user_agent::{Binding, FromUser, Invite, Refused, Target, Transport, Trunk};

/// One of the places that an INVITE goes to.
pub(super) struct Route {
    /// Request URI.
    pub uri: Uri,
    pub hop: Hop,
    /// Route values: an outbound proxy, a trunk's service route; the hop is the first.
    pub routes: Vec<Uri>,
    /// Older flows of the same phone: the next when this one fails, never two at a time (RFC 5626
    /// §7).
    pub others: VecDeque<Route>,
}

/// Who calls.
pub(super) struct Caller {
    /// Without tag.
    pub from: NameAddr,
    /// Whom we assert to a trunk beside From.
    pub identity: NameAddr,
    pub is_hidden: bool,
}

/// The caller at a host of ours, as the trunk's identity policy wants it. A provider that knows us
/// by name finds its own there.
pub(super) fn caller(stack: &Stack, route: &Route, invite: &Invite) -> Caller {
    let trunk = trunk_of(stack, &invite.target);
    let is_hidden = identity::is_anonymous(&invite.caller);
    // A caller with a host of its own is taken as it is.
    let whole = invite.caller.contains('@').then(|| {
        let text = invite.caller.trim_start_matches("sip:");
        format!("sip:{text}").parse::<Uri>()
    });
    let account = trunk.map_or("", |trunk| &trunk.username);
    let host = || match trunk {
        Some(trunk) if !trunk.identity.from_domain.is_empty() => trunk.identity.from_domain.clone(),
        Some(trunk) if !account.is_empty() => trunk.server.host.clone(),
        _ if !stack.config.domain.is_empty() => stack.config.domain.clone(),
        _ => stack.home(&route.hop).0,
    };
    let named = |names: &[&str]| {
        let own = stack.config.product.split('/').next().unwrap_or_default();
        let user = names.iter().copied().find(|name| !name.is_empty()).unwrap_or(own);
        Uri::sip(user, &host(), None)
    };
    let number = trunk.map_or("", |trunk| &trunk.identity.number);
    let uri = match whole {
        Some(Ok(uri)) => Uri::sip(uri.user.as_deref().unwrap_or_default(), &uri.host, uri.port),
        _ if is_hidden => named(&[number, account]),
        _ => named(&[&invite.caller, account]),
    };
    let mut identity = NameAddr::new(uri);
    if !is_hidden {
        identity.display_name.clone_from(&invite.display_name);
    }
    let mut from = match is_hidden {
        true => identity::anonymous(),
        false => identity.clone(),
    };
    if trunk.is_some_and(|trunk| trunk.identity.from_user == FromUser::Account) {
        from.uri = named(&[account]);
    }
    Caller { from, identity, is_hidden }
}

/// To: a user by its name, whatever its phone's contact is.
pub(super) fn to(stack: &Stack, route: &Route, target: &Target) -> Uri {
    match target {
        Target::User { name } => {
            let host = match &*stack.config.domain {
                "" => &route.uri.host,
                domain => domain,
            };
            Uri::sip(name, host, None)
        }
        Target::Trunk { .. } | Target::Uri { .. } => route.uri.clone(),
    }
}

/// The trunk that is called.
pub(super) fn trunk_of<'a>(stack: &'a Stack, target: &Target) -> Option<&'a Trunk> {
    match target {
        Target::Trunk { name, .. } => stack.trunk(name),
        Target::Uri { .. } | Target::User { .. } => None,
    }
}

/// Every place that a target stands for; at least one.
pub(super) fn routes(
    stack: &Stack,
    target: &Target,
    bindings: &[Binding],
) -> Result<Vec<Route>, Refused> {
    let routes = match target {
        Target::Trunk { name, number } => {
            let trunk = stack.trunk(name).ok_or(refused(404))?;
            let (hop, routes) = stack.way_of_trunk(trunk).ok_or(refused(416))?;
            let server = &trunk.server;
            let uri = Uri::sip(number, &server.host, server.port);
            vec![Route { uri, hop, routes, others: VecDeque::new() }]
        }
        Target::Uri { uri, proxy } => {
            let next = proxy.as_deref().unwrap_or(uri);
            let hop = Hop::of(next).ok_or(refused(416))?;
            let uri = Uri { headers: None, ..(**uri).clone() };
            let routes = proxy.iter().map(|proxy| loose(proxy)).collect();
            vec![Route { uri, hop, routes, others: VecDeque::new() }]
        }
        Target::User { .. } => routes_to_phones(stack, bindings),
    };
    match routes.is_empty() {
        // Section 4.2 of the VoxEngine reference has these words.
        true => Err(Refused { status: 480, reason: "User Offline".to_owned() }),
        false => Ok(routes),
    }
}

/// One for each phone, in the order of its newest contact.
fn routes_to_phones(stack: &Stack, bindings: &[Binding]) -> Vec<Route> {
    let mut phones: Vec<(Option<&str>, Route)> = Vec::with_capacity(bindings.len());
    for binding in bindings {
        let Some(route) = route_to(stack, binding) else { continue };
        let phone = binding.instance().filter(|_| binding.is_outbound);
        match phones.iter_mut().find(|(known, _)| known.is_some() && *known == phone) {
            Some((_, first)) => first.others.push_back(route),
            None => phones.push((phone, route)),
        }
    }
    phones.into_iter().map(|(_, route)| route).collect()
}

/// Along the path of its proxies. Without one to where the phone's REGISTER came from, while that
/// way is open; then to its contact, if that is not behind a NAT.
fn route_to(stack: &Stack, binding: &Binding) -> Option<Route> {
    let uri = Uri { headers: None, ..binding.contact.clone() };
    if let Some(next) = binding.path.first() {
        let mut routes = binding.path.clone();
        routes[0] = loose(next);
        return Some(Route { uri, hop: Hop::of(next)?, routes, others: VecDeque::new() });
    }
    let flow = match binding.transport {
        Transport::Udp => {
            Some(Destination::Datagram { listener: binding.listener, to: binding.source })
        }
        transport => stack.transports.stream_to(transport, binding.source),
    };
    let contact = Hop::of(&binding.contact).filter(|_| binding.takes_connections());
    let hop = match (contact, flow) {
        (Some(hop), flow) => hop.with_flow(flow),
        (None, Some(flow)) => Hop::by_flow(flow),
        (None, None) => return None,
    };
    Some(Route { uri, hop, routes: Vec::new(), others: VecDeque::new() })
}

/// Why there is nowhere to go.
pub(super) fn refused(status: u16) -> Refused {
    Refused { status, reason: reason_phrase(status).to_owned() }
}

#[cfg(test)]
mod tests {
    use crate::sip::tests::bench::{Bench, to_trunk};
    use crate::sip::user_agent::Invite;

    fn from(bench: &mut Bench, caller: &str) -> String {
        let invite = Invite { caller: caller.into(), ..to_trunk() };
        bench.act(|agent, now| agent.invite(now, invite)).unwrap();
        let invite = bench.expect("INVITE ");
        invite.header("From").split(";tag=").next().unwrap().to_owned()
    }

    #[test]
    fn from_is_the_caller_at_our_domain_or_address() {
        let mut bench = Bench::new();
        assert_eq!(from(&mut bench, "200"), "<sip:200@branch.example>");
        assert_eq!(from(&mut bench, ""), "<sip:branchline@branch.example>");
        assert_eq!(from(&mut bench, "sip:me@b.example:5070"), "<sip:me@b.example:5070>");
        assert_eq!(from(&mut bench, "a@b>\r\nX: y"), "<sip:a%40b%3E%0D%0AX%3A%20y@branch.example>");
        let mut bench = Bench::with(|config| config.domain.clear());
        assert_eq!(from(&mut bench, "200"), "<sip:200@192.0.2.1>");
    }

    #[test]
    fn from_of_a_providers_account_is_at_the_provider() {
        let mut bench = Bench::with(|config| config.trunks[0].username = "acc".into());
        assert_eq!(from(&mut bench, "200"), "<sip:200@192.0.2.10>");
        assert_eq!(from(&mut bench, ""), "<sip:acc@192.0.2.10>");
    }
}
