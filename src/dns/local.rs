//! What this machine says of names: `/etc/hosts` (hosts(5)) and `/etc/resolv.conf`
//! (resolv.conf(5)).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Answer, Kind, PORT, Question, Record};

/// Names with addresses of their own.
#[derive(Debug, Default)]
pub struct Hosts {
    /// At most [`MAX_HOSTS`]; the rest of the file is not read.
    names: HashMap<String, Vec<IpAddr>>,
}

/// The system's servers, and the domains of names without a dot.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct System {
    pub servers: Vec<SocketAddr>,
    search: Vec<String>,
}

impl Hosts {
    pub fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                if hosts.names.len() >= MAX_HOSTS && !hosts.names.contains_key(&name) {
                    return hosts;
                }
                let addresses = hosts.names.entry(name).or_default();
                if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// A name that is here is from here alone: it has no services, and no server is asked.
    pub fn answer(&self, question: &Question) -> Option<Answer> {
        let host = match question.kind {
            // `_sip._udp.host`
            Kind::Srv => question.name().splitn(3, '.').nth(2)?,
            Kind::A | Kind::Aaaa | Kind::Naptr => question.name(),
        };
        let addresses = match self.names.get(host) {
            Some(addresses) => addresses.as_slice(),
            None if is_localhost(host) => &LOOPBACK,
            None => return None,
        };
        let is_wanted = |address: &&IpAddr| match question.kind {
            Kind::A => address.is_ipv4(),
            Kind::Aaaa => address.is_ipv6(),
            Kind::Naptr | Kind::Srv => false,
        };
        let records: Vec<Record> =
            addresses.iter().filter(is_wanted).map(|address| Record::Address(*address)).collect();
        Some(match records.is_empty() {
            true => Answer::Nothing { ttl: KEEP },
            false => Answer::Records { records, ttl: KEEP },
        })
    }
}

impl System {
    pub fn parse(text: &str) -> Self {
        let mut system = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // One with a scope (`fe80::1%eth0`) is left out.
                    if let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) {
                        system.servers.push(SocketAddr::new(address, PORT));
                    }
                }
                // The last of them counts.
                Some("search" | "domain") => {
                    let domains = words.map(|name| name.trim_matches('.').to_ascii_lowercase());
                    system.search = domains.filter(|name| !name.is_empty()).collect();
                    system.search.truncate(MAX_SEARCH);
                }
                _ => {}
            }
        }
        system.servers.truncate(super::servers::MAX_SERVERS);
        system
    }

    /// The questions to ask in the place of one, until one has an answer: a host without a dot is
    /// looked for in each domain. A name with a dot is whole, and services are of whole names.
    pub fn questions(&self, question: &Question) -> Vec<Question> {
        let mut questions = Vec::new();
        if matches!(question.kind, Kind::A | Kind::Aaaa) && !question.name().contains('.') {
            let inside = |domain: &String| {
                Question::new(&format!("{}.{domain}", question.name()), question.kind)
            };
            questions.extend(self.search.iter().map(inside));
        }
        questions.push(question.clone());
        questions
    }
}

/// RFC 6761 §6.3.
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// A changed file is noticed after this time.
const KEEP: Duration = Duration::from_secs(30);
const MAX_HOSTS: usize = 4096;
const MAX_ADDRESSES: usize = 8;
/// resolv.conf(5) knew six for long.
const MAX_SEARCH: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(answer: Option<Answer>) -> Vec<String> {
        let Some(Answer::Records { records, .. }) = answer else { return Vec::new() };
        let text = |record: Record| match record {
            Record::Address(address) => address.to_string(),
            other => format!("{other:?}"),
        };
        records.into_iter().map(text).collect()
    }

    #[test]
    fn name_of_the_hosts_file_is_from_there_alone() {
        let hosts = Hosts::parse(
            "# ours\n192.0.2.7\tPBX.example pbx # a comment\n2001:db8::7 pbx\nnonsense x\n\
             192.0.2.8 pbx\n",
        );
        let answer = |name, kind| hosts.answer(&Question::new(name, kind));
        assert_eq!(addresses(answer("pbx", Kind::A)), ["192.0.2.7", "192.0.2.8"]);
        assert_eq!(addresses(answer("pbx", Kind::Aaaa)), ["2001:db8::7"]);
        assert_eq!(addresses(answer("pbx.EXAMPLE.", Kind::A)), ["192.0.2.7"]);
        let nothing = Some(Answer::Nothing { ttl: KEEP });
        assert_eq!(answer("pbx.example", Kind::Aaaa), nothing);
        assert_eq!(answer("pbx.example", Kind::Naptr), nothing);
        assert_eq!(answer("_sip._udp.pbx.example", Kind::Srv), nothing);
        assert_eq!(answer("_sips._tcp.pbx", Kind::Srv), nothing);
        assert_eq!(answer("other.example", Kind::A), None);
        assert_eq!(answer("_sip._udp.other.example", Kind::Srv), None);
        assert_eq!(answer("x", Kind::Srv), None);
    }

    #[test]
    fn localhost_is_here_whatever_the_file_says() {
        let hosts = Hosts::default();
        let answer = |name| addresses(hosts.answer(&Question::new(name, Kind::A)));
        assert_eq!(answer("localhost"), ["127.0.0.1"]);
        assert_eq!(answer("pbx.localhost"), ["127.0.0.1"]);
        assert!(answer("notlocalhost").is_empty());
    }

    #[test]
    fn hosts_file_of_any_size_takes_bounded_room() {
        let text: String = (0..10_000).map(|number| format!("192.0.2.1 h{number}\n")).collect();
        assert_eq!(Hosts::parse(&text).names.len(), MAX_HOSTS);
    }

    #[test]
    fn resolv_conf_names_servers_and_domains() {
        let system = System::parse(
            "# by the DHCP client\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n\
             nameserver fe80::1%eth0\nsearch branch.example. example\noptions ndots:1\n",
        );
        let servers = ["192.0.2.53:53", "[2001:db8::53]:53"].map(|text| text.parse().unwrap());
        assert_eq!(system.servers, servers);
        let asked = |name, kind| -> Vec<String> {
            let questions = system.questions(&Question::new(name, kind));
            questions.iter().map(ToString::to_string).collect()
        };
        assert_eq!(asked("pbx", Kind::A), ["A pbx.branch.example", "A pbx.example", "A pbx"]);
        assert_eq!(asked("pbx", Kind::Naptr), ["NAPTR pbx"]);
        assert_eq!(asked("sip.provider.example", Kind::A), ["A sip.provider.example"]);
    }
}
