//! Whose request this is (design section 5, `accept_from` and `[[user]]`).
//!
//! A trunk is known by the address of its requests, a user by digest. Nothing is kept of a
//! request until it is known whose it is.

use std::net::{IpAddr, SocketAddr};

use super::locate::{Hop, Names};
use super::message::Message;
use super::user_agent::{Config, Network, Trunk, User};

/// The trunk that sends from this address: the one with the longest network that holds it;
/// among equals the one whose server it is, else the first.
pub fn trunk_of<'a>(config: &'a Config, names: &Names, source: SocketAddr) -> Option<&'a Trunk> {
    let claim = |trunk: &Trunk| {
        // Behind a name: whatever addresses its services were found to have of late.
        let found = Hop::of(&trunk.server).and_then(|hop| names.claim(&hop, source));
        let is_server = found.is_some_and(|claim| claim.is_server);
        let prefix = match trunk.accept_from.is_empty() {
            true => found.map(|_| WHOLE_ADDRESS),
            false => {
                let networks = trunk.accept_from.iter();
                networks.filter(|network| network.contains(source.ip())).map(Network::bits).max()
            }
        };
        prefix.map(|prefix| (prefix, is_server))
    };
    // `max_by_key` gives the last of equals, hence from the end.
    let claims = config.trunks.iter().rev().filter_map(|trunk| Some((claim(trunk)?, trunk)));
    claims.max_by_key(|(claim, _)| *claim).map(|(_, trunk)| trunk)
}

/// The user that a request says it is from.
pub fn user_of<'a>(config: &'a Config, request: &Message) -> Option<&'a User> {
    let name = request.from.uri.user.as_deref()?;
    config.users.iter().find(|user| user.name == name)
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
}
