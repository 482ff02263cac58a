//! Questions and answers as bytes. The crate `simple-dns` reads and writes them.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, TYPE};

use super::{Answer, Kind, Naptr, Question, Record, Srv};
use crate::random::Random;

/// A question as it is sent to one server.
#[derive(Debug)]
pub struct Query {
    id: u16,
    pub bytes: Vec<u8>,
    /// End of the question within `bytes`; an answer begins with the same, but for the header.
    end: usize,
}

/// How a question is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Letters in random case, which an answer must repeat: some 20 bits more to guess for whom
    /// does not see the question; and EDNS (RFC 6891), for answers above 512 bytes.
    Rich,
    /// For servers that do not understand that.
    Plain,
}

/// What a message from a server is to a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// No answer to it: forged, late or broken.
    Foreign,
    /// An answer, but to a name in another case: either forged, or the server does not keep it.
    Recased,
    /// More than fits: to be asked over TCP (RFC 1035 §4.2.1).
    Truncated,
    /// The server cannot or will not say.
    Refused,
    /// Another name for what was asked for, without the record itself; holds so long.
    Alias {
        name: String,
        ttl: Duration,
    },
    Answer(Answer),
}

impl Query {
    /// `None`: the name is none that can be asked for.
    pub fn new(question: &Question, form: Form, random: &mut Random) -> Option<Self> {
        let id = random.next_u32() as u16;
        let name = match form {
            Form::Rich => Cow::Owned(recased(&question.name, random)),
            Form::Plain => Cow::Borrowed(question.name.as_str()),
        };
        let name = Name::new(&name).ok().filter(|name| !name.get_labels().is_empty())?;
        let kind = QTYPE::TYPE(match question.kind {
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
            Kind::Naptr => TYPE::NAPTR,
            Kind::Srv => TYPE::SRV,
        });
        let question =
            simple_dns::Question::new(name.clone(), kind, QCLASS::CLASS(CLASS::IN), false);
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(question);
        let end = packet.build_bytes_vec().ok()?.len();
        if form == Form::Rich {
            let opt = OPT { opt_codes: Vec::new(), udp_packet_size: UDP_BYTES, version: 0 };
            *packet.opt_mut() = Some(opt);
        }
        Some(Self { id, bytes: packet.build_bytes_vec().ok()?, end })
    }

    /// What `data` says to it.
    pub fn read(&self, question: &Question, data: &[u8]) -> Reading {
        let (Some(asked), Some(repeated)) =
            (self.bytes.get(HEADER..self.end), data.get(HEADER..self.end))
        else {
            return Reading::Foreign;
        };
        if !has_plausible_counts(data) || !asked.eq_ignore_ascii_case(repeated) {
            return Reading::Foreign;
        }
        let Ok(packet) = Packet::parse(data) else { return Reading::Foreign };
        if packet.id() != self.id
            || !packet.has_flags(PacketFlag::RESPONSE)
            || packet.opcode() != OPCODE::StandardQuery
            || packet.questions.len() != 1
        {
            return Reading::Foreign;
        }
        if asked != repeated {
            return Reading::Recased;
        }
        if packet.has_flags(PacketFlag::TRUNCATION) {
            return Reading::Truncated;
        }
        match packet.rcode() {
            RCODE::NoError | RCODE::NameError => read_answer(question, &packet),
            _ => Reading::Refused,
        }
    }
}

/// The records, at the end of the aliases (RFC 1034 §3.6.2) in whatever order they come.
fn read_answer(question: &Question, packet: &Packet<'_>) -> Reading {
    let mut name = question.name.clone();
    let mut ttl = LONGEST;
    for _ in 0..=MAX_ALIASES {
        let mut records = Vec::new();
        let mut alias = None;
        let mut least = ttl;
        for record in packet.answers.iter().filter(|record| record.class == CLASS::IN) {
            if text(&record.name).as_deref() != Some(name.as_str()) {
                continue;
            }
            let seconds = Duration::from_secs(u64::from(record.ttl));
            if let RData::CNAME(target) = &record.rdata {
                alias = text(&target.0).map(|target| (target, ttl.min(seconds)));
            } else if let Some(record) = record_of(question.kind, &record.rdata) {
                least = least.min(seconds);
                if records.len() < MAX_RECORDS {
                    records.push(record);
                }
            }
        }
        if !records.is_empty() {
            return Reading::Answer(Answer::Records { records, ttl: least });
        }
        match alias {
            Some((target, least)) => (name, ttl) = (target, least),
            None => return without_records(question, packet, name, ttl),
        }
    }
    Reading::Refused
}

fn without_records(
    question: &Question,
    packet: &Packet<'_>,
    name: String,
    ttl: Duration,
) -> Reading {
    // RFC 2308 §5: the lesser of the SOA's own time to live and its minimum field.
    let soa = packet.name_servers.iter().find_map(|record| match &record.rdata {
        RData::SOA(soa) => Some(Duration::from_secs(u64::from(record.ttl.min(soa.minimum)))),
        _ => None,
    });
    if soa.is_none() && packet.rcode() == RCODE::NoError && name != question.name {
        return Reading::Alias { name, ttl };
    }
    Reading::Answer(Answer::Nothing { ttl: soa.unwrap_or_default().min(ttl) })
}

fn record_of(kind: Kind, data: &RData<'_>) -> Option<Record> {
    match (kind, data) {
        (Kind::A, RData::A(a)) => Some(Record::Address(IpAddr::V4(a.address.into()))),
        (Kind::Aaaa, RData::AAAA(aaaa)) => Some(Record::Address(IpAddr::V6(aaaa.address.into()))),
        (Kind::Naptr, RData::NAPTR(naptr)) => {
            let word = |text: &simple_dns::CharacterString<'_>| {
                String::try_from(text.clone()).ok().filter(|text| text.is_ascii())
            };
            let has_expression = !word(&naptr.regexp)?.is_empty();
            (!has_expression).then_some(Record::Naptr(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: word(&naptr.flags)?,
                service: word(&naptr.services)?,
                replacement: text(&naptr.replacement)?,
            }))
        }
        (Kind::Srv, RData::SRV(srv)) => Some(Record::Srv(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: text(&srv.target)?,
        })),
        _ => None,
    }
}

/// A name as we keep it. `None` where it is no host's: the log and headers need no escapes then.
fn text(name: &Name<'_>) -> Option<String> {
    let mut text = String::new();
    for label in name.as_bytes() {
        if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    Some(text)
}

fn recased(name: &str, random: &mut Random) -> String {
    let mut bits = 0;
    let mut left = 0;
    name.chars()
        .map(|letter| {
            if left == 0 {
                (bits, left) = (random.next_u64(), 64);
            }
            let is_upper = bits & 1 == 1;
            (bits, left) = (bits >> 1, left - 1);
            if is_upper { letter.to_ascii_uppercase() } else { letter }
        })
        .collect()
}

/// The crate sets room aside for as many records as a header claims, up to 65,535 in each
/// section: no message has more than its bytes allow.
fn has_plausible_counts(data: &[u8]) -> bool {
    let count = |at: usize| match data.get(at..at + 2) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => usize::MAX,
    };
    // Questions, answers, authorities, additional records (RFC 1035 §4.1.1).
    let records = [6, 8, 10].map(count).iter().fold(0_usize, |sum, one| sum.saturating_add(*one));
    count(4) == 1 && records <= data.len() / LEAST_RECORD
}

const HEADER: usize = 12;
/// Name, type, class, time to live, length (RFC 1035 §4.1.3).
const LEAST_RECORD: usize = 11;
/// Fits everywhere without fragments (DNS flag day 2020).
const UDP_BYTES: u16 = 1232;
/// Of one answer; no host or service has use for more.
const MAX_RECORDS: usize = 16;
/// One after the other, within one answer or over several.
pub const MAX_ALIASES: usize = 8;
/// What is said beyond a week is taken as a week (RFC 8767 §4).
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
