//! A forking proxy between the gateway and its phones (RFC 3261 §16), with SIP code of its own.
//!
//! Every INVITE goes to all its phones at once. It passes on each 18x and 2xx, cancels the others
//! when one answers, and passes on the best refusal when all refuse. It stays in the way by
//! Record-Route.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::link::Packet;
use super::phone::Text;

pub struct Proxy {
    pub sip: SocketAddr,
    pub out: Vec<Packet>,
    gateway: SocketAddr,
    phones: Vec<SocketAddr>,
    forks: Vec<Fork>,
    plans: Vec<Again>,
}

/// An INVITE under way.
struct Fork {
    invite: Text,
    /// Branch of the gateway.
    branch: String,
    legs: Vec<Leg>,
    is_answered: bool,
}

#[derive(Default)]
struct Leg {
    is_heard: bool,
    refusal: Option<(u16, Text)>,
    is_over: bool,
}

/// Something is sent again until this is done.
struct Again {
    at: Instant,
    what: What,
    packet: Packet,
    wait: Duration,
    sent: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Invite(String, usize),
    Cancel(String, usize),
    Refusal(String),
}

impl Proxy {
    pub fn new(sip: SocketAddr, gateway: SocketAddr, phones: Vec<SocketAddr>) -> Self {
        Self { sip, out: Vec::new(), gateway, phones, forks: Vec::new(), plans: Vec::new() }
    }

    pub fn next(&self) -> Option<Instant> {
        self.plans.iter().map(|again| again.at).min()
    }

    pub fn act(&mut self, now: Instant) {
        while let Some(place) = self.plans.iter().position(|again| again.at <= now) {
            let mut again = self.plans.remove(place);
            self.out.push(again.packet.clone());
            again.sent += 1;
            again.wait = (again.wait * 2).min(T2);
            again.at = now + again.wait;
            if again.sent < MOST_TRANSMISSIONS {
                self.plans.push(again);
            }
        }
    }

    pub fn receive(&mut self, now: Instant, packet: &Packet) {
        let text = Text::parse(&packet.data);
        if text.first.starts_with("SIP/2.0") {
            return self.on_response(now, text);
        }
        let method = text.first.split(' ').next().unwrap_or_default().to_owned();
        let branch = branch_of(&text);
        let known = self.forks.iter().position(|fork| fork.branch == branch);
        match (method.as_str(), known) {
            ("INVITE", Some(_)) => self.send_back(text.response(100, "", "")),
            ("INVITE", None) if !text.header("To").contains(";tag=") => self.fork(now, text),
            ("CANCEL", Some(fork)) => {
                self.send_back(text.response(200, "", ""));
                self.cancel_all(now, fork);
            }
            ("ACK", Some(_)) => self.done(&What::Refusal(branch)),
            _ => self.pass_on(&text),
        }
    }

    fn fork(&mut self, now: Instant, invite: Text) {
        self.send_back(invite.response(100, "", ""));
        let branch = branch_of(&invite);
        let legs = self.phones.iter().map(|_| Leg::default()).collect();
        self.forks.push(Fork { invite, branch: branch.clone(), legs, is_answered: false });
        let fork = self.forks.len() - 1;
        for leg in 0..self.phones.len() {
            let packet = self.to_phone(fork, leg, "INVITE", None);
            self.send_until(now, packet, What::Invite(branch.clone(), leg));
        }
    }

    fn cancel_all(&mut self, now: Instant, fork: usize) {
        for leg in 0..self.forks[fork].legs.len() {
            let branch = self.forks[fork].branch.clone();
            self.done(&What::Invite(branch.clone(), leg));
            if !self.forks[fork].legs[leg].is_over {
                let packet = self.to_phone(fork, leg, "CANCEL", None);
                self.send_until(now, packet, What::Cancel(branch, leg));
            }
        }
    }

    /// A request of the INVITE's transaction to one of the phones; `to` of an ACK is that of the
    /// refusal.
    fn to_phone(&self, fork: usize, leg: usize, method: &str, to: Option<String>) -> Packet {
        let Fork { invite, branch, .. } = &self.forks[fork];
        let mut text = invite.clone();
        text.first = format!("{method} sip:phone@{} SIP/2.0", self.phones[leg]);
        let number = invite.header("CSeq").split(' ').next().unwrap_or_default().to_owned();
        text.set("CSeq", &format!("{number} {method}"));
        if method == "INVITE" {
            let route = ("Record-Route".to_owned(), format!("<sip:{};lr>", self.sip));
            text.headers.insert(0, route);
        } else {
            text.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Via"));
            text.body.clear();
        }
        if let Some(to) = to {
            text.set("To", &to);
        }
        let via = format!("SIP/2.0/UDP {};branch=z9hG4bKf{leg}.{branch}", self.sip);
        text.headers.insert(0, ("Via".to_owned(), via));
        Packet { from: self.sip, to: self.phones[leg], data: text.bytes() }
    }

    fn on_response(&mut self, now: Instant, mut text: Text) {
        let branch = branch_of(&text);
        let status: u16 =
            text.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let Some(place) = text.headers.iter().position(|(name, _)| name == "Via") else { return };
        text.headers.remove(place);
        let leg_and_branch = branch.strip_prefix("z9hG4bKf").and_then(|rest| rest.split_once('.'));
        let Some((leg, of)) = leg_and_branch else { return self.send_back(text.bytes()) };
        let (Ok(leg), Some(fork)) =
            (leg.parse::<usize>(), self.forks.iter().position(|fork| fork.branch == of))
        else {
            return;
        };
        let of = of.to_owned();
        if text.header("CSeq").ends_with("CANCEL") {
            return self.done(&What::Cancel(of, leg));
        }
        self.done(&What::Invite(of, leg));
        self.forks[fork].legs[leg].is_heard = true;
        match status {
            0..=100 => {}
            101..=199 => self.send_back(text.bytes()),
            200..=299 => {
                self.send_back(text.bytes());
                self.forks[fork].legs[leg].is_over = true;
                if !std::mem::replace(&mut self.forks[fork].is_answered, true) {
                    self.cancel_all(now, fork);
                }
            }
            _ => {
                let ack = self.to_phone(fork, leg, "ACK", Some(text.header("To")));
                self.out.push(ack);
                if !std::mem::replace(&mut self.forks[fork].legs[leg].is_over, true) {
                    self.forks[fork].legs[leg].refusal = Some((status, text));
                    self.refuse_if_over(now, fork);
                }
            }
        }
    }

    /// §16.7: the best refusal of all, once there is no hope.
    fn refuse_if_over(&mut self, now: Instant, fork: usize) {
        let Fork { legs, branch, is_answered, .. } = &self.forks[fork];
        if *is_answered || !legs.iter().all(|leg| leg.is_over) {
            return;
        }
        let refusals = legs.iter().filter_map(|leg| leg.refusal.as_ref());
        let Some((_, best)) = refusals.min_by_key(|(status, _)| *status) else { return };
        let packet = Packet { from: self.sip, to: self.gateway, data: best.bytes() };
        let what = What::Refusal(branch.clone());
        self.send_until(now, packet, what);
    }

    /// A request inside a dialog: on to where its request URI says.
    fn pass_on(&mut self, text: &Text) {
        let uri = text.first.split(' ').nth(1).unwrap_or_default();
        let host = uri.rsplit('@').next().unwrap_or_default().split(';').next().unwrap_or_default();
        let Ok(to) = host.parse() else { return };
        let mut text = text.clone();
        let own = self.sip.to_string();
        text.headers.retain(|(name, value)| name != "Route" || !value.contains(&own));
        let via = format!("SIP/2.0/UDP {};branch=z9hG4bKp{}", self.sip, branch_of(&text));
        text.headers.insert(0, ("Via".to_owned(), via));
        self.out.push(Packet { from: self.sip, to, data: text.bytes() });
    }

    fn send_back(&mut self, data: Vec<u8>) {
        self.out.push(Packet { from: self.sip, to: self.gateway, data });
    }

    fn send_until(&mut self, now: Instant, packet: Packet, what: What) {
        self.out.push(packet.clone());
        self.plans.push(Again { at: now + T1, what, packet, wait: T1, sent: 1 });
    }

    fn done(&mut self, what: &What) {
        self.plans.retain(|again| again.what != *what);
    }
}

impl Text {
    fn set(&mut self, name: &str, value: &str) {
        for (other, old) in &mut self.headers {
            if other.eq_ignore_ascii_case(name) {
                value.clone_into(old);
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("Content-Length") {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body));
        text.into_bytes()
    }
}

fn branch_of(text: &Text) -> String {
    let via = text.header("Via");
    let branch = via.split(';').find_map(|part| part.strip_prefix("branch="));
    branch.unwrap_or_default().to_owned()
}

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const MOST_TRANSMISSIONS: u32 = 11;
