//! Whose request this is (design section 5, `accept_from` and `[[user]]`).
//!
//! A trunk is known by the address of its requests, a user by digest. Nothing is kept of a
//! request until it is known whose it is. Whether a trunk or user may have another call is asked
//! here too.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::invite::Party;
use super::locate::{Claim, Hop, Names};
use super::message::Message;
use super::transport::Destination;
use super::user_agent::{Config, Network, Refused, Target, Transport, Trunk, User, UserAgent};
use crate::stats;

/// The trunk that sends this from this address: the one with the longest network that holds it;
/// among equals the one whose registered contact is called, then the one whose server or proxy it
/// is, then the one whose account stands in To, else the first.
pub fn trunk_of<'a>(
    config: &'a Config,
    names: &Names,
    way: Destination,
    request: &Message,
) -> Option<&'a Trunk> {
    let source = way.peer();
    let called = request.request_uri().and_then(|uri| uri.user.as_deref());
    let is_called = |trunk: &Trunk| trunk.register && called == Some(trunk.contact_user());
    let is_named = |trunk: &Trunk| {
        !trunk.username.is_empty() && request.to.uri.user.as_deref() == Some(&*trunk.username)
    };
    let claim = |trunk: &Trunk| {
        let prefix = prefix_of(trunk, names, source)?;
        let is_server = found(trunk, names, source).is_some_and(|claim| claim.is_server);
        Some((prefix, is_called(trunk), is_server, is_named(trunk)))
    };
    // `max_by_key` gives the last of equals, hence from the end.
    let own = own_by(config, way.transport()).rev();
    let claims = own.filter_map(|trunk| Some((claim(trunk)?, trunk)));
    claims.max_by_key(|(claim, _)| *claim).map(|(_, trunk)| trunk)
}

/// The user that a request says it is from.
pub fn user_of<'a>(config: &'a Config, request: &Message) -> Option<&'a User> {
    let name = request.from.uri.user.as_deref()?;
    config.users.iter().find(|user| user.name == name)
}

/// Whether some trunk sends from this address in this way.
pub fn is_trunk(config: &Config, names: &Names, transport: Transport, source: SocketAddr) -> bool {
    own_by(config, transport).any(|trunk| prefix_of(trunk, names, source).is_some())
}

/// The trunks that may send so: those whose callers show a certificate, over TLS only.
fn own_by(config: &Config, transport: Transport) -> impl DoubleEndedIterator<Item = &Trunk> {
    config.trunks.iter().filter(move |trunk| !trunk.is_mutual || transport.is_secure())
}

/// How much of its address tells that a source is this trunk's; `None`: it is not.
fn prefix_of(trunk: &Trunk, names: &Names, source: SocketAddr) -> Option<u8> {
    let networks = trunk.accept_from.iter();
    match trunk.accept_from.is_empty() {
        true => found(trunk, names, source).map(|_| WHOLE_ADDRESS),
        false => networks.filter(|one| one.contains(source.ip())).map(Network::bits).max(),
    }
}

/// Whether a source is the trunk's server or proxy. Behind a name: whatever addresses its services
/// were found to have of late.
fn found(trunk: &Trunk, names: &Names, source: SocketAddr) -> Option<Claim> {
    let next = trunk.account.outbound_proxy.as_ref().unwrap_or(&trunk.server);
    names.claim(&Hop::of(next)?, source)
}

impl UserAgent {
    /// Whether a call may go there: `max_calls` and `max_cps` of a trunk, `max_calls` of a user.
    pub(super) fn admit_outgoing(&mut self, now: Instant, target: &Target) -> Result<(), Refused> {
        let party = match target {
            Target::Trunk { .. } | Target::User { .. } => Party::called(target),
            Target::Uri { .. } => return Ok(()),
        };
        if self.is_full_for(&party) {
            // RFC 3261 §21.4.24: a user who is talking is busy; a trunk without a line is not.
            let status = if party.trunk().is_some() { 503 } else { 486 };
            return Err(Refused { status, reason: "max_calls reached".to_owned() });
        }
        let Some(trunk) = party.trunk().and_then(|name| self.stack.trunk(name)) else {
            return Ok(());
        };
        let most = trunk.caps.calls_per_second;
        if most > 0 && !self.trunks.take_turn(now, &trunk.name, most) {
            stats::SIP_REFUSED_TRUNK_CALLS.add(1);
            return Err(Refused { status: 503, reason: "max_cps reached".to_owned() });
        }
        Ok(())
    }

    /// Whether a trunk or user has all the calls that it may have; the refusal is counted.
    pub(super) fn is_full_for(&self, party: &Party) -> bool {
        let (most, counter) = match party {
            Party::Anybody => return false,
            Party::Trunk(name) => {
                let trunk = self.stack.trunk(name);
                (trunk.map_or(0, |trunk| trunk.caps.calls), &stats::SIP_REFUSED_TRUNK_CALLS)
            }
            Party::User(name) => {
                let user = self.stack.config.users.iter().find(|user| user.name == *name);
                (user.map_or(0, |user| user.max_calls), &stats::SIP_REFUSED_USER_CALLS)
            }
        };
        let is_full = most > 0 && self.calls.count_of(party) >= most;
        if is_full {
            counter.add(1);
        }
        is_full
    }
}

impl Network {
    /// Mapped IPv4 addresses count as what they map.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
            IpAddr::V6(ip) => (ip.to_bits(), 128),
        };
        let ((own, width), (other, other_width)) = (bits(self.address), bits(ip));
        let host_bits = u32::from(width - self.prefix.min(width));
        width == other_width
            && (host_bits >= u32::from(width) || own >> host_bits == other >> host_bits)
    }

    /// Its length as one of an IPv6 network, to compare.
    fn bits(&self) -> u8 {
        match self.address {
            IpAddr::V4(_) => self.prefix.saturating_add(96),
            IpAddr::V6(_) => self.prefix,
        }
    }
}

const WHOLE_ADDRESS: u8 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{Bench, PBX, invite};

    fn network(text: &str) -> Network {
        let (address, prefix) = text.split_once('/').unwrap();
        Network { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    #[test]
    fn network_holds_its_addresses_only() {
        for (text, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.6"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "11.0.0.1"),
        ] {
            assert!(network(text).contains(inside.parse().unwrap()), "{text}");
            assert!(!network(text).contains(outside.parse().unwrap()), "{text}");
        }
        assert!(network("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()));
        assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(network("::/0").contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn caller_without_tls_is_not_the_trunk_that_wants_certificates() {
        let mut bench = Bench::with(|config| config.trunks[0].is_mutual = true);
        bench.receive_from(PBX, &invite());
        bench.expect("SIP/2.0 401 ");
        // Nor is it spared what strangers get.
        for _ in 0..1000 {
            bench.receive_from(PBX, &invite());
        }
        assert_eq!(bench.all_sent().len(), 249);
    }
}
