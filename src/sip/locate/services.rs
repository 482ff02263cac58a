//! The walk from a hop to its targets over NAPTR, SRV and address records (RFC 3263 §4.1, §4.2).
//!
//! It is made from the beginning each time, over what the cache knows; where something is not
//! known it ends with the questions to ask, and is made again with their answers.

use std::time::Instant;

use super::cache::{Cache, Known};
use super::hop::{Hop, Target};
use super::srv;
use crate::dns::{Kind, Naptr, Question, Record, Srv};
use crate::random::Random;
use crate::sip::user_agent::{Listener, Transport};

/// What our listeners let us reach.
#[derive(Debug, Clone, Copy, Default)]
pub struct Abilities {
    pub has_ipv4: bool,
    pub has_ipv6: bool,
    pub has_udp: bool,
}

/// One walk.
pub struct Walk<'a> {
    pub cache: &'a Cache,
    pub abilities: Abilities,
    pub view: View,
    pub random: Option<&'a mut Random>,
    /// To be asked before the walk can go on.
    pub missing: Vec<Question>,
    /// To be asked beside: old answers were used.
    pub beside: Vec<Question>,
    /// The earliest end of what was used.
    pub holds_until: Option<Instant>,
    /// Some question has no answer because no server gave one.
    pub has_failures: bool,
}

/// Which answers count.
#[derive(Debug, Clone, Copy)]
pub enum View {
    /// Those that hold at a time, or came since the search began.
    Holding { at: Instant, since: Instant },
    /// Whatever was known at any time.
    Any,
}

impl<'a> Walk<'a> {
    pub fn new(
        cache: &'a Cache,
        abilities: Abilities,
        view: View,
        random: Option<&'a mut Random>,
    ) -> Self {
        Self {
            cache,
            abilities,
            view,
            random,
            missing: Vec::new(),
            beside: Vec::new(),
            holds_until: None,
            has_failures: false,
        }
    }

    /// All targets, best first. Of no account while something is missing.
    pub fn targets(&mut self, hop: &Hop) -> Vec<Target> {
        if let Some(target) = hop.literal() {
            return vec![target];
        }
        // §4.2: an explicit port is for the host's own addresses.
        let services = match (hop.port, hop.transport) {
            (Some(_), _) => return self.hosts(hop),
            (None, Some(transport)) => own_services(&hop.host, &[transport]),
            (None, None) => self.services(hop),
        };
        let found: Vec<(Transport, Vec<&Srv>)> = services
            .iter()
            .map(|(transport, name)| {
                let records = self.look(Question::new(name, Kind::Srv));
                (*transport, records.iter().filter_map(as_srv).take(MAX_SERVERS).collect())
            })
            .collect();
        if !self.missing.is_empty() {
            return Vec::new();
        }
        // RFC 2782: a lone "." says that the service is decidedly not there.
        let is_denied =
            found.iter().flat_map(|(_, servers)| servers).any(|one| one.target.is_empty());
        let mut targets = Vec::new();
        for (transport, mut servers) in found {
            servers.retain(|server| !server.target.is_empty());
            targets.extend(self.servers(transport, servers));
        }
        match targets.is_empty() && self.missing.is_empty() && !is_denied {
            true => self.hosts(hop),
            false => targets,
        }
    }

    /// The services of a host that we speak, best first: those that its NAPTR records name, or
    /// else one for each of our transports (§4.1).
    fn services(&mut self, hop: &Hop) -> Vec<(Transport, String)> {
        let records = self.look(Question::new(&hop.host, Kind::Naptr));
        if !self.missing.is_empty() {
            return Vec::new();
        }
        let mut offers: Vec<(&Naptr, Transport)> = records
            .iter()
            .filter_map(as_naptr)
            .filter_map(|naptr| Some((naptr, transport_of(naptr)?)))
            .filter(|(_, transport)| self.can_use(hop, *transport))
            .collect();
        offers.sort_by_key(|(naptr, _)| (naptr.order, naptr.preference));
        if !offers.is_empty() {
            offers.truncate(MAX_SERVICES);
            let service =
                |(naptr, transport): (&Naptr, Transport)| (transport, naptr.replacement.clone());
            return offers.into_iter().map(service).collect();
        }
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
        let usable: Vec<Transport> =
            all.into_iter().filter(|transport| self.can_use(hop, *transport)).collect();
        own_services(&hop.host, &usable)
    }

    fn can_use(&self, hop: &Hop, transport: Transport) -> bool {
        match transport {
            Transport::Udp => !hop.is_secure && self.abilities.has_udp,
            Transport::Tcp => !hop.is_secure,
            Transport::Tls => true,
            Transport::Ws | Transport::Wss => false,
        }
    }

    /// The addresses of a service's servers, in the order of RFC 2782.
    fn servers(&mut self, transport: Transport, servers: Vec<&Srv>) -> Vec<Target> {
        let random = self.random.as_deref_mut();
        let mut targets = Vec::new();
        for server in srv::in_order(servers, random) {
            for ip in self.addresses(&server.target) {
                let address = std::net::SocketAddr::new(ip, server.port);
                targets.push(Target { transport, address });
            }
        }
        targets
    }

    /// The host's own addresses.
    fn hosts(&mut self, hop: &Hop) -> Vec<Target> {
        self.addresses(&hop.host).into_iter().map(|ip| hop.target(ip)).collect()
    }

    /// IPv4 first: most phones and trunks speak it only.
    fn addresses(&mut self, host: &str) -> Vec<std::net::IpAddr> {
        if let Ok(ip) = host.parse() {
            return vec![ip];
        }
        let Abilities { has_ipv4, has_ipv6, .. } = self.abilities;
        let mut addresses = Vec::new();
        for (kind, is_usable) in [(Kind::A, has_ipv4), (Kind::Aaaa, has_ipv6)] {
            if is_usable {
                let records = self.look(Question::new(host, kind));
                addresses.extend(records.iter().filter_map(as_address));
            }
        }
        addresses
    }

    /// What is known of a question; where it must be asked first, that is noted.
    fn look(&mut self, question: Question) -> &'a [Record] {
        let (at, since) = match self.view {
            View::Any => return self.cache.peek(&question),
            View::Holding { at, since } => (at, since),
        };
        let (records, note) = match self.cache.get(at, Some(since), &question) {
            Known::Records(records) => (records, None),
            Known::Stale(records) => (records, Some(&mut self.beside)),
            Known::No => (&[][..], Some(&mut self.missing)),
            Known::Failed => {
                self.has_failures = true;
                (&[][..], None)
            }
        };
        if let Some(until) = self.cache.holds_until(&question) {
            self.holds_until = Some(self.holds_until.map_or(until, |other| other.min(until)));
        }
        if let Some(list) = note
            && !list.contains(&question)
        {
            list.push(question);
        }
        records
    }
}

/// `_sip._udp.example.com`
fn own_services(host: &str, transports: &[Transport]) -> Vec<(Transport, String)> {
    let service = |transport: &Transport| {
        let labels = match transport {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
            // No service is defined for WebSocket (RFC 7118 §10 has its NAPTR only).
            Transport::Ws | Transport::Wss => return None,
        };
        Some((*transport, format!("{labels}.{host}")))
    };
    transports.iter().filter_map(service).collect()
}

/// What a NAPTR record leads to, if it is one of SIP whose next step is SRV.
fn transport_of(naptr: &Naptr) -> Option<Transport> {
    if !naptr.flags.eq_ignore_ascii_case("s") || naptr.replacement.is_empty() {
        return None;
    }
    let services =
        [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
    let found = services.iter().find(|(name, _)| naptr.service.eq_ignore_ascii_case(name));
    found.map(|(_, transport)| *transport)
}

fn as_srv(record: &Record) -> Option<&Srv> {
    if let Record::Srv(srv) = record { Some(srv) } else { None }
}

fn as_naptr(record: &Record) -> Option<&Naptr> {
    if let Record::Naptr(naptr) = record { Some(naptr) } else { None }
}

fn as_address(record: &Record) -> Option<std::net::IpAddr> {
    if let Record::Address(ip) = record { Some(*ip) } else { None }
}

impl Abilities {
    pub fn of(listeners: &[Listener]) -> Self {
        let any = |is: fn(&Listener) -> bool| listeners.iter().any(is);
        Self {
            has_ipv4: any(|listener| listener.address.is_ipv4()),
            has_ipv6: any(|listener| listener.address.is_ipv6()),
            has_udp: any(|listener| listener.transport == Transport::Udp),
        }
    }
}

/// Servers of one service that are looked at.
const MAX_SERVERS: usize = 16;
/// NAPTR records of one host that are followed.
const MAX_SERVICES: usize = 4;
