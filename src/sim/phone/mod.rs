//! A scripted phone: one call at a time, with SIP and RTP code of its own.
//!
//! It does what RFC 3261 asks of a peer that means well: retransmits INVITE, 200, CANCEL and BYE,
//! absorbs what comes twice, acknowledges. Its manner says when it rings, answers, speaks, presses
//! digits and hangs up.

mod change;
mod manner;
mod reliable;
mod rtp;
mod text;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::change::Described;
pub use self::change::{By, Change, OnChange};
pub use self::manner::{Dial, Hold, Law, Manner, OnRefer};
pub use self::reliable::Prack;
use self::reliable::Reliable;
use self::rtp::FRAME;
pub(super) use self::text::Text;
use self::text::{media_address, uri_of};
use super::link::Packet;
use super::secure::Secure;

/// A line for the ladder, with what tells a message from its retransmission.
pub struct Step {
    pub line: String,
    pub identity: String,
}

pub struct Phone {
    pub name: String,
    pub sip: SocketAddr,
    pub rtp: SocketAddr,
    /// Samples heard, in the order of arrival.
    pub heard: Vec<i16>,
    /// RFC 4733 digits heard, once per event.
    pub digits: String,
    /// Status lines of NOTIFYs.
    pub notified: Vec<String>,
    /// Refer-To of REFERs.
    pub referred: Vec<String>,
    /// Further headers of its next INVITEs.
    pub invite_headers: String,
    /// Packets that were not made with the key of the call.
    pub rejected: usize,
    /// Packets that were encrypted.
    pub decrypted: usize,
    /// The last SDP of the other side.
    pub last_sdp: String,
    /// Re-INVITEs and UPDATEs of the gateway: method and direction.
    pub told: Vec<String>,
    pub steps: Vec<Step>,
    /// INVITEs that called it, as text.
    pub invites: Vec<String>,
    pub out: Vec<Packet>,
    manner: Manner,
    described: Described,
    /// Its change that has no final response.
    changing: Option<Change>,
    has_vanished: bool,
    gateway: SocketAddr,
    plans: Vec<(Instant, Plan)>,
    call: Option<Leg>,
    calls_so_far: u32,
    events_heard: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Plan {
    Dial(Dial),
    Ring,
    Answer,
    Cancel,
    HangUp,
    Press(char),
    Info(char),
    Say(&'static str),
    Refer(String),
    /// How the call that it was referred to is going.
    Notify(u16),
    Change(Change),
    ChangeKey,
    Vanish,
    /// Send again what is unanswered, and wait twice as long for the next time.
    Again {
        message: Vec<u8>,
        until: Unanswered,
        wait: Duration,
        sent: u32,
    },
    Frame,
}

/// What stops a retransmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    Invite,
    FinalResponse,
    Cancel,
    Bye,
    Info,
    Message,
    Refer,
    Notify,
    Update,
    Prack,
}

/// The phone's side of a call.
struct Leg {
    call_id: String,
    /// Headers of the INVITE, for responses to it.
    invite: Text,
    /// Local and remote, as they stand in From and To with tags.
    local: String,
    remote: String,
    target: String,
    cseq: u32,
    invite_cseq: u32,
    state: State,
    last_response: Vec<u8>,
    waits: Vec<Unanswered>,
    media: Option<SocketAddr>,
    payload_type: u8,
    frames: u32,
    press: Option<(char, u32)>,
    ssrc: u32,
    secure: Option<Secure>,
    /// Its INVITEs have offers.
    offers: bool,
    is_caller: bool,
    /// Its audio may go out: nobody holds.
    sends: bool,
    /// CSeq of the gateway's last re-INVITE or UPDATE, and the response to it.
    changed: Option<(String, Vec<u8>)>,
    reliable: Reliable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Proceeding,
    Confirmed,
    Over,
}

impl Phone {
    pub fn new(name: &str, sip: SocketAddr, gateway: SocketAddr, manner: Manner) -> Self {
        let rtp = SocketAddr::new(sip.ip(), sip.port() + 10_000);
        Self {
            name: name.to_owned(),
            sip,
            rtp,
            heard: Vec::new(),
            digits: String::new(),
            notified: Vec::new(),
            referred: Vec::new(),
            invite_headers: String::new(),
            rejected: 0,
            decrypted: 0,
            last_sdp: String::new(),
            told: Vec::new(),
            steps: Vec::new(),
            invites: Vec::new(),
            out: Vec::new(),
            described: Described::new(manner.law, manner.direction),
            changing: None,
            has_vanished: false,
            manner,
            gateway,
            plans: Vec::new(),
            call: None,
            calls_so_far: 0,
            events_heard: Vec::new(),
        }
    }

    pub fn dial(&mut self, now: Instant, dial: Dial) {
        let at = now + dial.after;
        self.plans.push((at, Plan::Dial(dial)));
    }

    pub fn refer(&mut self, now: Instant, to: &str) {
        self.plans.push((now, Plan::Refer(to.to_owned())));
    }

    /// Its dialog as a Replaces value for the gateway.
    pub fn replaces(&self) -> String {
        let Some(leg) = &self.call else { return String::new() };
        let tag = |value: &str| value.split_once(";tag=").map_or("", |(_, tag)| tag).to_owned();
        let (to_tag, from_tag) = (tag(&leg.remote), tag(&leg.local));
        format!("{};to-tag={to_tag};from-tag={from_tag}", leg.call_id)
    }

    /// No call stands and nothing is awaited.
    pub fn is_idle(&self) -> bool {
        self.call.as_ref().is_none_or(|leg| leg.state == State::Over)
            && !self.plans.iter().any(|(_, plan)| !matches!(plan, Plan::Again { .. }))
    }

    pub fn next(&self) -> Option<Instant> {
        self.plans.iter().map(|(at, _)| *at).min()
    }

    pub fn receive(&mut self, now: Instant, packet: &Packet) {
        if self.has_vanished {
            return;
        }
        if packet.to == self.rtp {
            self.receive_rtp(&packet.data);
        } else if packet.to == self.sip {
            let text = Text::parse(&packet.data);
            match text.first.starts_with("SIP/2.0") {
                true => self.receive_response(now, text),
                false => self.receive_request(now, text, packet.from),
            }
        }
    }

    /// Carries out what is due.
    pub fn act(&mut self, now: Instant) {
        while let Some(place) = self.plans.iter().position(|(at, _)| *at <= now) {
            let (at, plan) = self.plans.remove(place);
            self.carry_out(now, at, plan);
        }
    }

    fn carry_out(&mut self, now: Instant, at: Instant, plan: Plan) {
        match plan {
            Plan::Dial(dial) => self.invite(now, &dial),
            Plan::Ring => {
                let (status, body) = match (self.manner.plain_early, self.manner.early_media) {
                    (true, _) => (183, self.plain_sdp()),
                    (false, true) => (183, self.sdp()),
                    (false, false) => (180, String::new()),
                };
                self.ring(now, status, &body);
                if self.manner.early_media {
                    self.plans.push((now, Plan::Frame));
                }
            }
            Plan::Answer => self.answer(now),
            Plan::Cancel => {
                let waits = self.call.as_ref().is_some_and(|leg| leg.state == State::Proceeding);
                if waits {
                    let message = self.request("CANCEL", "", "");
                    self.send_until(now, message, Unanswered::Cancel);
                }
            }
            Plan::HangUp => self.hang_up(now),
            Plan::Press(digit) => {
                if let Some(leg) = &mut self.call {
                    leg.press = Some((digit, 0));
                }
            }
            Plan::Info(digit) => {
                let body = format!("Signal={digit}\r\nDuration=160\r\n");
                let message =
                    self.request("INFO", "Content-Type: application/dtmf-relay\r\n", &body);
                self.send_until(now, message, Unanswered::Info);
            }
            Plan::Say(text) => {
                let message = self.request("MESSAGE", "Content-Type: text/plain\r\n", text);
                self.send_until(now, message, Unanswered::Message);
            }
            Plan::Change(change) => self.change(now, change),
            Plan::Vanish => {
                self.has_vanished = true;
                self.plans.clear();
                self.end_talk();
            }
            Plan::Refer(to) => {
                let message = self.request("REFER", &format!("Refer-To: {to}\r\n"), "");
                self.send_until(now, message, Unanswered::Refer);
            }
            Plan::Notify(status) => self.notify(now, status),
            Plan::ChangeKey => {
                if let Some(secure) = self.call.as_mut().and_then(|leg| leg.secure.as_mut()) {
                    secure.change_key();
                }
                let sdp = self.sdp();
                let message = self.request("INVITE", SDP, &sdp);
                self.send_until(now, message, Unanswered::Invite);
            }
            Plan::Again { message, until, wait, sent } => {
                let waits = self.call.as_ref().is_some_and(|leg| leg.waits.contains(&until));
                if waits && sent < MOST_TRANSMISSIONS {
                    self.send_message(message.clone());
                    let wait = (wait * 2).min(T2);
                    self.plans
                        .push((now + wait, Plan::Again { message, until, wait, sent: sent + 1 }));
                } else if let Some(leg) = &mut self.call {
                    leg.waits.retain(|waiting| *waiting != until);
                }
            }
            Plan::Frame => self.send_frame(at),
        }
    }

    fn invite(&mut self, now: Instant, dial: &Dial) {
        self.calls_so_far += 1;
        let number = self.calls_so_far;
        let call_id = format!("{}-{number}@{}", self.name, self.sip.ip());
        let local = format!("<sip:{}@{}>;tag=p{number}", self.name, self.sip.ip());
        let remote = format!("<sip:{}@{}>", dial.number, self.gateway.ip());
        let target = format!("sip:{}@{}", dial.number, self.gateway);
        self.call = Some(Leg {
            call_id,
            invite: Text::default(),
            local,
            remote,
            target,
            cseq: 0,
            invite_cseq: 0,
            state: State::Proceeding,
            last_response: Vec::new(),
            waits: Vec::new(),
            media: None,
            payload_type: 0,
            frames: 0,
            press: None,
            ssrc: 0x5000 + number,
            secure: self.manner.secures.map(|wish| Secure::new(wish, number)),
            offers: dial.offers,
            is_caller: true,
            sends: self.manner.direction != "inactive",
            changed: None,
            reliable: Reliable::default(),
        });
        let more = self.invite_headers.clone();
        let (kind, sdp) = match dial.offers {
            true => (SDP, self.sdp()),
            false => ("", String::new()),
        };
        let more = format!("{more}{}{}", self.prack_headers(), self.manner.headers);
        let message = self.request("INVITE", &format!("{kind}X-Test: yes\r\n{more}"), &sdp);
        self.send_until(now, message, Unanswered::Invite);
        if let Some(after) = dial.cancels_after {
            self.plans.push((now + after, Plan::Cancel));
        }
    }

    fn answer(&mut self, now: Instant) {
        if self.call.as_ref().is_none_or(|leg| leg.state != State::Proceeding) {
            return;
        }
        let waits = |leg: &Leg| leg.reliable.holds_answer && leg.waits.contains(&Unanswered::Prack);
        if self.call.as_ref().is_some_and(waits) {
            return self.plans.push((now + FRAME, Plan::Answer));
        }
        let refuses = match self.manner.redirects_to {
            Some(_) => Some(302),
            None => self.manner.refuses,
        };
        let response = match refuses {
            Some(status) => self.respond_to_invite(status, ""),
            None => {
                let is_agreed = self.call.as_ref().is_some_and(|leg| leg.reliable.is_agreed);
                let sdp = if is_agreed { String::new() } else { self.sdp() };
                self.respond_to_invite(200, &sdp)
            }
        };
        if let Some(leg) = &mut self.call {
            leg.state = match refuses {
                Some(_) => State::Over,
                None => State::Confirmed,
            };
        }
        self.send_until(now, response, Unanswered::FinalResponse);
        if refuses.is_none() {
            self.begin_talk(now);
        }
    }

    fn begin_talk(&mut self, now: Instant) {
        if !self.plans.iter().any(|(_, plan)| *plan == Plan::Frame) {
            self.plans.push((now, Plan::Frame));
        }
        for (after, digit) in self.manner.presses.clone() {
            self.plans.push((now + after, Plan::Press(digit)));
        }
        for (after, digit) in self.manner.sends_info.clone() {
            self.plans.push((now + after, Plan::Info(digit)));
        }
        for (after, text) in self.manner.says.clone() {
            self.plans.push((now + after, Plan::Say(text)));
        }
        for (after, hold) in self.manner.holds.clone() {
            let direction = Some(match hold {
                Hold::On => "sendonly",
                Hold::Off => "sendrecv",
            });
            let change = Change { direction, ..Change::default() };
            self.plans.push((now + after, Plan::Change(change)));
        }
        for (after, change) in self.manner.changes.clone() {
            self.plans.push((now + after, Plan::Change(change)));
        }
        if let Some(after) = self.manner.vanishes_after {
            self.plans.push((now + after, Plan::Vanish));
        }
        for (after, to) in self.manner.refers.clone() {
            self.plans.push((now + after, Plan::Refer(to)));
        }
        if let Some(after) = self.manner.changes_key_after {
            self.plans.push((now + after, Plan::ChangeKey));
        }
        if let Some(after) = self.manner.hangs_up_after {
            self.plans.push((now + after, Plan::HangUp));
        }
    }

    fn hang_up(&mut self, now: Instant) {
        if self.call.as_ref().is_some_and(|leg| leg.state == State::Confirmed) {
            let told = if self.manner.tells_headers { "X-Status: bye\r\n" } else { "" };
            let message = self.request("BYE", told, "");
            self.end_talk();
            self.send_until(now, message, Unanswered::Bye);
        }
    }

    fn end_talk(&mut self) {
        if let Some(leg) = &mut self.call {
            leg.state = State::Over;
        }
        self.plans.retain(|(_, plan)| matches!(plan, Plan::Again { .. } | Plan::Dial(_)));
    }

    fn receive_request(&mut self, now: Instant, text: Text, from: SocketAddr) {
        let method = text.first.split(' ').next().unwrap_or_default().to_owned();
        self.note(format!("{} <- {method}", self.name), &text);
        let call_id = text.header("Call-ID");
        let is_ours = self.call.as_ref().is_some_and(|leg| leg.call_id == call_id);
        match method.as_str() {
            "INVITE" | "UPDATE" if is_ours && text.header("To").contains(";tag=") => {
                self.be_changed(now, &text);
            }
            "INVITE" if is_ours => {
                let again = self.call.as_ref().map(|leg| leg.last_response.clone());
                if let Some(response) = again.filter(|response| !response.is_empty()) {
                    self.send_message(response);
                }
            }
            "INVITE" => self.be_called(now, text, from),
            "ACK" if is_ours => self.stop_waiting(Unanswered::FinalResponse),
            "ACK" => {}
            "PRACK" if is_ours => self.be_acknowledged(&text),
            "BYE" if is_ours => {
                self.send_message(text.response(200, "", ""));
                self.end_talk();
            }
            "CANCEL" if is_ours => {
                self.send_message(text.response(200, "", ""));
                let proceeds = self.call.as_ref().is_some_and(|leg| leg.state == State::Proceeding);
                if proceeds {
                    let response = self.respond_to_invite(487, "");
                    self.end_talk();
                    self.send_until(now, response, Unanswered::FinalResponse);
                }
            }
            "REFER" if is_ours => self.be_referred(now, &text),
            "NOTIFY" if is_ours => self.be_notified(now, &text),
            "OPTIONS" | "INFO" | "MESSAGE" => self.send_message(text.response(200, "", "")),
            _ => self.send_message(text.response(481, "", "")),
        }
    }

    fn be_referred(&mut self, now: Instant, text: &Text) {
        let is_again = self.referred.last() == Some(&text.header("Refer-To"));
        let status = match self.manner.on_refer {
            OnRefer::Refuses(status) => status,
            OnRefer::Tells(..) | OnRefer::HangsUp(_) | OnRefer::Forgets => 202,
        };
        let contact = format!("Contact: <sip:{}@{}>\r\n", self.name, self.sip);
        self.send_message(text.response(status, &contact, ""));
        if is_again {
            return;
        }
        self.referred.push(text.header("Refer-To"));
        match self.manner.on_refer {
            OnRefer::Tells(after, status) => {
                self.plans.push((now, Plan::Notify(100)));
                self.plans.push((now + after, Plan::Notify(status)));
            }
            OnRefer::HangsUp(after) => self.plans.push((now + after, Plan::HangUp)),
            OnRefer::Refuses(_) | OnRefer::Forgets => {}
        }
    }

    fn notify(&mut self, now: Instant, status: u16) {
        let state = match status {
            200.. => "terminated;reason=noresource",
            _ => "active;expires=60",
        };
        let headers = format!(
            "Event: refer\r\nSubscription-State: {state}\r\n\
             Content-Type: message/sipfrag;version=2.0\r\n"
        );
        let message = self.request("NOTIFY", &headers, &format!("SIP/2.0 {status} Reason\r\n"));
        self.send_until(now, message, Unanswered::Notify);
    }

    fn be_notified(&mut self, now: Instant, text: &Text) {
        self.send_message(text.response(200, "", ""));
        let line = text.body.lines().next().unwrap_or_default().to_owned();
        if self.notified.last() != Some(&line) {
            let is_done = line.starts_with("SIP/2.0 2");
            self.notified.push(line);
            if is_done && !self.manner.stays {
                self.hang_up(now);
            }
        }
    }

    fn be_called(&mut self, now: Instant, text: Text, from: SocketAddr) {
        if self.call.as_ref().is_some_and(|leg| leg.state != State::Over) {
            return self.send_message(text.response(486, "", ""));
        }
        self.calls_so_far += 1;
        let number = self.calls_so_far;
        let media = media_address(&text.body);
        let body = text.body.clone();
        let lines = text.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let head: String = lines.collect();
        self.invites.push(format!("{}\n{head}\n{}", text.first, text.body));
        self.call = Some(Leg {
            call_id: text.header("Call-ID"),
            local: format!("{};tag=q{number}-{}", text.header("To"), self.name),
            remote: text.header("From"),
            target: uri_of(&text.header("Contact"))
                .unwrap_or_else(|| format!("sip:gateway@{from}")),
            invite: text,
            cseq: 100,
            invite_cseq: 0,
            state: State::Proceeding,
            last_response: Vec::new(),
            waits: Vec::new(),
            media,
            payload_type: self.payload_type(),
            frames: 0,
            press: None,
            ssrc: 0x6000 + number,
            secure: self.manner.secures.map(|wish| Secure::new(wish, 100 + number)),
            offers: true,
            is_caller: false,
            sends: self.manner.direction != "inactive",
            changed: None,
            reliable: Reliable::default(),
        });
        self.hear_sdp(&body);
        if let Some(after) = self.manner.rings_after {
            self.plans.push((now + after, Plan::Ring));
        }
        if let Some(after) = self.manner.answers_after {
            self.plans.push((now + after, Plan::Answer));
        }
    }

    fn receive_response(&mut self, now: Instant, text: Text) {
        let status: u16 =
            text.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let cseq = text.header("CSeq");
        let method = cseq.split(' ').nth(1).unwrap_or_default().to_owned();
        if self.call.as_ref().is_none_or(|leg| leg.call_id != text.header("Call-ID")) {
            return;
        }
        self.note(format!("{} <- {status} {method}", self.name), &text);
        match method.as_str() {
            "INVITE" => self.receive_invite_response(now, status, &text),
            "CANCEL" => self.stop_waiting(Unanswered::Cancel),
            "BYE" => self.stop_waiting(Unanswered::Bye),
            "INFO" => self.stop_waiting(Unanswered::Info),
            "MESSAGE" => self.stop_waiting(Unanswered::Message),
            "REFER" => self.stop_waiting(Unanswered::Refer),
            "NOTIFY" => self.stop_waiting(Unanswered::Notify),
            "UPDATE" => {
                self.stop_waiting(Unanswered::Update);
                self.be_answered(now, status, &text);
            }
            "PRACK" => self.stop_waiting(Unanswered::Prack),
            _ => {}
        }
    }

    fn receive_invite_response(&mut self, now: Instant, status: u16, text: &Text) {
        self.stop_waiting(Unanswered::Invite);
        let payload_type = self.payload_type();
        let Some(leg) = &mut self.call else { return };
        if let Some(media) = media_address(&text.body) {
            leg.media = Some(media);
            leg.payload_type = payload_type;
            self.hear_sdp(&text.body);
        }
        let Some(leg) = &mut self.call else { return };
        if status < 200 {
            return self.acknowledge(now, text);
        }
        if leg.state == State::Confirmed {
            self.be_answered(now, status, text);
        }
        let Some(leg) = &mut self.call else { return };
        leg.remote = text.header("To");
        if status < 300 {
            if let Some(target) = uri_of(&text.header("Contact")) {
                leg.target = target;
            }
            let is_first = leg.state == State::Proceeding;
            let (kind, answer) = match leg.offers || leg.reliable.is_agreed {
                true => ("", String::new()),
                false => (SDP, self.sdp()),
            };
            let message = self.request("ACK", kind, &answer);
            self.send_message(message);
            if is_first {
                if let Some(leg) = &mut self.call {
                    leg.state = State::Confirmed;
                }
                self.begin_talk(now);
            }
        } else {
            let was_confirmed = leg.state == State::Confirmed;
            leg.state = State::Over;
            let message = self.request("ACK", "", "");
            self.send_message(message);
            if let (true, Some(leg)) = (was_confirmed, &mut self.call) {
                // Only the re-INVITE failed (RFC 3261 §14.1).
                leg.state = State::Confirmed;
                return;
            }
            self.plans.retain(|(_, plan)| matches!(plan, Plan::Again { .. } | Plan::Dial(_)));
        }
    }

    fn stop_waiting(&mut self, for_what: Unanswered) {
        if let Some(leg) = &mut self.call {
            leg.waits.retain(|waiting| *waiting != for_what);
        }
    }

    fn send_until(&mut self, now: Instant, message: Vec<u8>, until: Unanswered) {
        if let Some(leg) = &mut self.call {
            leg.waits.push(until);
        }
        self.send_message(message.clone());
        self.plans.push((now + T1, Plan::Again { message, until, wait: T1, sent: 1 }));
    }

    fn send_message(&mut self, message: Vec<u8>) {
        let text = Text::parse(&message);
        let cseq = text.header("CSeq");
        let line = match text.first.strip_prefix("SIP/2.0 ") {
            Some(rest) => {
                let method = cseq.split(' ').nth(1).unwrap_or_default();
                format!("{} -> {} {method}", self.name, &rest[..3.min(rest.len())])
            }
            None => {
                format!("{} -> {}", self.name, text.first.split(' ').next().unwrap_or_default())
            }
        };
        self.note(line, &text);
        // A response goes back the way that its request came.
        let is_response = text.first.starts_with("SIP/2.0");
        let to = text.sent_by().filter(|_| is_response).unwrap_or(self.gateway);
        self.out.push(Packet { from: self.sip, to, data: message });
    }

    fn note(&mut self, line: String, text: &Text) {
        let identity =
            format!("{} {} {}", text.header("Call-ID"), text.header("CSeq"), text.header("Via"));
        self.steps.push(Step { line, identity });
    }

    fn respond_to_invite(&mut self, status: u16, body: &str) -> Vec<u8> {
        self.respond_to_invite_with(status, "", body)
    }

    fn respond_to_invite_with(&mut self, status: u16, extra: &str, body: &str) -> Vec<u8> {
        let told = if self.manner.tells_headers {
            format!("X-Status: {status}\r\n")
        } else {
            String::new()
        };
        let contact = match &self.manner.redirects_to {
            Some(uri) => format!("Contact: <{uri}>\r\n"),
            None => {
                let more = if status < 300 { self.manner.headers } else { "" };
                format!("Contact: <sip:{}@{}>\r\n{more}", self.name, self.sip)
            }
        };
        let Some(leg) = &mut self.call else { return Vec::new() };
        let extra = format!("{contact}{extra}{told}");
        let response = leg.invite.response_tagged(status, &leg.local, &extra, body);
        leg.last_response.clone_from(&response);
        response
    }

    fn request(&mut self, method: &str, extra: &str, body: &str) -> Vec<u8> {
        let Some(leg) = &mut self.call else { return Vec::new() };
        let cseq = match method {
            "ACK" | "CANCEL" => leg.invite_cseq,
            _ => {
                leg.cseq += 1;
                leg.cseq
            }
        };
        if method == "INVITE" {
            leg.invite_cseq = cseq;
        }
        // The ACK of a 2xx is a transaction of its own; other ACKs and CANCEL share the INVITE's.
        let branch = match (method, leg.state) {
            ("ACK", State::Proceeding | State::Confirmed) => format!("ack{cseq}"),
            _ => cseq.to_string(),
        };
        let mut message = String::new();
        let _ = write!(
            // A String takes every line.
            message,
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{}.{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\n\
             Contact: <sip:{}@{}>\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            leg.target,
            self.sip,
            leg.call_id,
            leg.local,
            leg.remote,
            leg.call_id,
            cseq,
            self.name,
            self.sip,
            body.len(),
        );
        message.into_bytes()
    }

    fn payload_type(&self) -> u8 {
        self.described.payload_type()
    }

    fn sdp(&self) -> String {
        self.with_keys(&self.plain_sdp())
    }

    fn plain_sdp(&self) -> String {
        self.described.sdp(self.described.direction, self.rtp.ip(), self.rtp.port())
    }

    /// The description with what SRTP adds to its audio.
    fn with_keys(&self, sdp: &str) -> String {
        let secure = self.call.as_ref().and_then(|leg| leg.secure.as_ref());
        let Some((protocol, keys)) = secure.map(Secure::describe) else { return sdp.to_owned() };
        let sdp = sdp.replacen("RTP/AVP", protocol, 1);
        sdp.replacen("a=rtpmap", &format!("{keys}a=rtpmap"), 1)
    }

    fn hear_sdp(&mut self, sdp: &str) {
        sdp.clone_into(&mut self.last_sdp);
        if let Some(secure) = self.call.as_mut().and_then(|leg| leg.secure.as_mut()) {
            secure.hear(sdp);
        }
    }
}

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// RFC 3261 timers B, F and H: 64 T1, about this many with doubling up to T2.
const MOST_TRANSMISSIONS: u32 = 11;
/// The header of a body that describes a session.
const SDP: &str = "Content-Type: application/sdp\r\n";
/// Telephone-event's payload type in the phones' descriptions.
const DTMF: u8 = 101;
