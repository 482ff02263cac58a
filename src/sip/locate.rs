//! Where the next hop of a request is (RFC 3263 §4.2): addresses at once, or after a look-up of
//! A and AAAA records. SRV and NAPTR records are **not** looked up.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::outgoing::Outgoing;
use super::transport::Destination;
use super::uri::{Scheme, Uri};
use super::user_agent::Transport;

/// The next hop of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Host name or address without brackets.
    pub host: String,
    pub port: u16,
    pub transport: Transport,
    /// Preferred while it is open: the way on which a phone registered or called.
    pub flow: Option<Destination>,
}

impl Hop {
    /// The hop that a URI names; `None` for schemes and transports that we do not speak.
    pub fn of(uri: &Uri) -> Option<Self> {
        let transport = transport_of(uri)?;
        if uri.host.is_empty() {
            return None;
        }
        let port = uri.port.unwrap_or(transport.default_port());
        Some(Self { host: uri.host.clone(), port, transport, flow: None })
    }

    pub fn to(transport: Transport, peer: SocketAddr) -> Self {
        Self { host: peer.ip().to_string(), port: peer.port(), transport, flow: None }
    }

    /// The hop at the other end of an open way.
    pub fn by_flow(flow: Destination) -> Self {
        Self::to(flow.transport(), flow.peer()).with_flow(Some(flow))
    }

    pub fn with_flow(mut self, flow: Option<Destination>) -> Self {
        self.flow = flow;
        self
    }
}

/// What a URI wants to be reached by: `transport=tls` says of `sip:` what `sips:` says
/// (RFC 5630 §3.1.3 has no other name for it), and `sips:` makes each transport a secure one.
fn transport_of(uri: &Uri) -> Option<Transport> {
    let named = match uri.parameter("transport") {
        None => None,
        Some(name) => Some(Transport::named(name)?),
    };
    match (uri.scheme, named) {
        (Scheme::Sip, named) => Some(named.unwrap_or(Transport::Udp)),
        (Scheme::Sips, None | Some(Transport::Tcp | Transport::Tls)) => Some(Transport::Tls),
        (Scheme::Sips, Some(Transport::Ws | Transport::Wss)) => Some(Transport::Wss),
        (Scheme::Sips, Some(Transport::Udp)) | (Scheme::Tel | Scheme::Other, _) => None,
    }
}

/// What is known about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// Best first.
    Addresses(Vec<SocketAddr>),
    /// Not yet: `Names::wait` for this query, which must be asked.
    Ask(u64),
    /// Not yet: `Names::wait` for this query, which is asked already.
    Asked(u64),
    /// No such host, or too many questions open.
    Nowhere,
}

/// Names looked up and being looked up.
#[derive(Debug, Default)]
pub struct Names {
    /// At most [`MAX_NAMES`]; the oldest answer goes first.
    known: HashMap<(String, u16), Known>,
    age: VecDeque<(String, u16)>,
    open: HashMap<(String, u16), u64>,
    /// At most [`MAX_QUERIES`]; full: the request fails with 503.
    queries: BTreeMap<u64, Query>,
    next_query: u64,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    until: Instant,
}

#[derive(Debug)]
struct Query {
    name: (String, u16),
    /// At most [`MAX_WAITING`].
    #[expect(clippy::vec_box, reason = "each goes on as it came, in its box")]
    waiting: Vec<Box<Outgoing>>,
}

impl Names {
    pub fn locate(&mut self, now: Instant, host: &str, port: u16) -> Located {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Located::Addresses(vec![SocketAddr::new(ip, port)]);
        }
        let name = (host.to_owned(), port);
        if let Some(known) = self.known.get(&name).filter(|known| known.until > now) {
            return match known.addresses.is_empty() {
                true => Located::Nowhere,
                false => Located::Addresses(known.addresses.clone()),
            };
        }
        if let Some(&query) = self.open.get(&name) {
            return Located::Asked(query);
        }
        if self.queries.len() >= MAX_QUERIES {
            return Located::Nowhere;
        }
        self.next_query += 1;
        self.open.insert(name.clone(), self.next_query);
        self.queries.insert(self.next_query, Query { name, waiting: Vec::new() });
        Located::Ask(self.next_query)
    }

    /// Keeps a request until its name is known, or gives it back when too many wait.
    pub fn wait(&mut self, query: u64, outgoing: Box<Outgoing>) -> Result<(), Box<Outgoing>> {
        match self.queries.get_mut(&query) {
            Some(query) if query.waiting.len() < MAX_WAITING => {
                query.waiting.push(outgoing);
                Ok(())
            }
            _ => Err(outgoing),
        }
    }

    /// The answer to a question; gives back what waited for it.
    pub fn resolved(
        &mut self,
        now: Instant,
        query: u64,
        mut addresses: Vec<SocketAddr>,
    ) -> Vec<Box<Outgoing>> {
        let Some(query) = self.queries.remove(&query) else {
            return Vec::new();
        };
        self.open.remove(&query.name);
        addresses.truncate(MAX_ADDRESSES);
        let kept = if addresses.is_empty() { KEEP_NOTHING } else { KEEP };
        if self.known.len() >= MAX_NAMES
            && !self.known.contains_key(&query.name)
            && let Some(oldest) = self.age.pop_front()
        {
            self.known.remove(&oldest);
        }
        let known = Known { addresses, until: now + kept };
        if self.known.insert(query.name.clone(), known).is_none() {
            self.age.push_back(query.name);
        }
        query.waiting
    }

    /// An address did not answer: the other ones of its name come first from now on.
    pub fn demote(&mut self, host: &str, address: SocketAddr) {
        if let Some(known) = self.known.get_mut(&(host.to_owned(), address.port()))
            && let Some(place) = known.addresses.iter().position(|known| *known == address)
        {
            let last = known.addresses.remove(place);
            known.addresses.push(last);
        }
    }

    /// The best address of a host, if it needs no question.
    pub fn known_address(&self, host: &str, port: u16) -> Option<SocketAddr> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, port));
        }
        self.known.get(&(host.to_owned(), port))?.addresses.first().copied()
    }

    /// Whether a name is known to have this address.
    pub fn has_address(&self, host: &str, port: u16, ip: IpAddr) -> bool {
        host.parse() == Ok(ip)
            || self
                .known
                .get(&(host.to_owned(), port))
                .is_some_and(|known| known.addresses.iter().any(|known| known.ip() == ip))
    }
}

const MAX_NAMES: usize = 256;
const MAX_QUERIES: usize = 64;
const MAX_WAITING: usize = 64;
/// Addresses tried for one request, each for up to 32 s.
const MAX_ADDRESSES: usize = 4;
/// The system's resolver tells no time to live.
const KEEP: Duration = Duration::from_secs(60);
const KEEP_NOTHING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_has_the_transport_and_port_of_its_uri() {
        let cases = [
            ("sip:b.example", Some((Transport::Udp, 5060))),
            ("sip:b.example;transport=TCP", Some((Transport::Tcp, 5060))),
            ("sip:b.example;transport=tls", Some((Transport::Tls, 5061))),
            ("sip:b.example:5060;transport=tls", Some((Transport::Tls, 5060))),
            ("sips:b.example", Some((Transport::Tls, 5061))),
            ("sips:b.example;transport=tcp", Some((Transport::Tls, 5061))),
            ("sip:b.example;transport=ws", Some((Transport::Ws, 80))),
            ("sips:b.example;transport=ws", Some((Transport::Wss, 443))),
            ("sips:b.example;transport=udp", None),
            ("sip:b.example;transport=sctp", None),
            ("tel:+15551234", None),
        ];
        for (uri, expected) in cases {
            let hop = Hop::of(&uri.parse().unwrap());
            assert_eq!(hop.map(|hop| (hop.transport, hop.port)), expected, "{uri}");
        }
    }

    #[test]
    fn address_needs_no_question() {
        let mut names = Names::default();
        let expected = Located::Addresses(vec!["192.0.2.1:5060".parse().unwrap()]);
        assert_eq!(names.locate(Instant::now(), "192.0.2.1", 5060), expected);
    }

    #[test]
    fn name_is_asked_once_and_kept_for_a_minute() {
        let now = Instant::now();
        let mut names = Names::default();
        assert_eq!(names.locate(now, "pbx.example", 5060), Located::Ask(1));
        assert_eq!(names.locate(now, "pbx.example", 5060), Located::Asked(1));
        let (first, second) =
            ("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap());
        names.resolved(now, 1, vec![first, second]);
        let known = Located::Addresses(vec![first, second]);
        assert_eq!(names.locate(now, "pbx.example", 5060), known);
        names.demote("pbx.example", first);
        let turned = Located::Addresses(vec![second, first]);
        assert_eq!(names.locate(now, "pbx.example", 5060), turned);
        assert_eq!(names.locate(now + KEEP, "pbx.example", 5060), Located::Ask(2));
    }

    #[test]
    fn unknown_name_is_nowhere_for_a_while() {
        let now = Instant::now();
        let mut names = Names::default();
        names.locate(now, "nowhere.example", 5060);
        names.resolved(now, 1, Vec::new());
        assert_eq!(names.locate(now, "nowhere.example", 5060), Located::Nowhere);
        assert_eq!(names.locate(now + KEEP_NOTHING, "nowhere.example", 5060), Located::Ask(2));
    }

    #[test]
    fn names_kept_are_bounded() {
        let now = Instant::now();
        let mut names = Names::default();
        for number in 0..1000 {
            let Located::Ask(query) = names.locate(now, &format!("h{number}.example"), 5060) else {
                panic!("a new name is asked");
            };
            names.resolved(now, query, vec!["192.0.2.1:5060".parse().unwrap()]);
        }
        assert_eq!(names.known.len(), MAX_NAMES);
    }
}
