//! A few records written by hand, in the place of servers: for the virtual world and tests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Answer, Kind, Naptr, Question, Record, Srv};

/// Records by question; what is not there has a negative answer.
#[derive(Debug, Default, Clone)]
pub struct Zone {
    records: HashMap<Question, Vec<Record>>,
    /// Questions to which no server answers.
    silent: Vec<Question>,
    /// Of every answer.
    pub ttl: Duration,
}

impl Zone {
    /// Lines such as `example.com A 192.0.2.1`, `_sip._udp.example.com SRV 10 60 5060 a.example`,
    /// `example.com NAPTR 50 50 s SIP+D2U _sip._udp.example.com` and `example.com A silent`.
    ///
    /// # Panics
    /// A line cannot be read: it is the author's own.
    pub fn new(ttl_s: u64, lines: &str) -> Self {
        let mut zone = Self { ttl: Duration::from_secs(ttl_s), ..Self::default() };
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, kind, data @ ..] = words.as_slice() else { panic!("record: {line}") };
            let kind = match *kind {
                "A" => Kind::A,
                "AAAA" => Kind::Aaaa,
                "NAPTR" => Kind::Naptr,
                "SRV" => Kind::Srv,
                _ => panic!("type: {line}"),
            };
            let question = Question::new(name, kind);
            match data {
                ["silent"] => zone.silent.push(question),
                _ => {
                    let record = record(data).unwrap_or_else(|| panic!("data: {line}"));
                    zone.records.entry(question).or_default().push(record);
                }
            }
        }
        zone
    }

    pub fn answer(&self, question: &Question) -> Answer {
        if self.silent.contains(question) {
            return Answer::Failed;
        }
        match self.records.get(question) {
            Some(records) => Answer::Records { records: records.clone(), ttl: self.ttl },
            None => Answer::Nothing { ttl: self.ttl },
        }
    }
}

fn record(data: &[&str]) -> Option<Record> {
    let number = |text: &str| text.parse::<u16>().ok();
    match data {
        [address] => address.parse::<IpAddr>().ok().map(Record::Address),
        [priority, weight, port, target] => Some(Record::Srv(Srv {
            priority: number(priority)?,
            weight: number(weight)?,
            port: number(port)?,
            target: target.trim_end_matches('.').to_owned(),
        })),
        [order, preference, flags, service, replacement] => Some(Record::Naptr(Naptr {
            order: number(order)?,
            preference: number(preference)?,
            flags: (*flags).to_owned(),
            service: (*service).to_owned(),
            replacement: replacement.trim_end_matches('.').to_owned(),
        })),
        _ => None,
    }
}
