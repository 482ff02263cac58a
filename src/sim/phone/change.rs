//! What phones change of a call that stands, and what they do when they are asked to.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{DTMF, Law, Phone, Plan, SDP, State, Text, Unanswered, media_address};

/// A re-INVITE or UPDATE of a phone. What is `None` stays as it was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    pub by: By,
    /// `sendonly` and so on.
    pub direction: Option<&'static str>,
    /// `c=0.0.0.0`, in this description only.
    pub is_nowhere: bool,
    pub law: Option<Law>,
    /// The phone's RTP moves there; 0: the stream is taken away.
    pub port: Option<u16>,
    /// The number of telephone-event.
    pub digits: Option<u8>,
    /// The phone's RTP begins anew.
    pub ssrc: Option<u32>,
    /// A video stream, ICE and DTLS attributes stand beside the audio.
    pub has_video: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    #[default]
    Invite,
    /// The offer comes in the 200, the phone's answer in the ACK.
    InviteWithoutOffer,
    Update,
    UpdateWithoutOffer,
}

/// What a phone does with a re-INVITE of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    #[default]
    Accepts,
    Refuses(u16),
    /// The first is to come again in three seconds.
    PutsOff,
}

/// What the phone's descriptions say.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub direction: &'static str,
    is_nowhere: bool,
    pub law: Law,
    is_taken_away: bool,
    pub digits: u8,
    has_video: bool,
    version: u32,
}

impl Described {
    pub fn new(law: Law, direction: &'static str) -> Self {
        Self {
            direction,
            is_nowhere: false,
            law,
            is_taken_away: false,
            digits: DTMF,
            has_video: false,
            version: 1,
        }
    }

    pub fn payload_type(&self) -> u8 {
        match self.law {
            Law::Mu => 0,
            Law::A => 8,
        }
    }

    pub fn sdp(&self, direction: &str, ip: IpAddr, port: u16) -> String {
        let Self { digits, version, .. } = self;
        let number = self.payload_type();
        let name = match self.law {
            Law::Mu => "PCMU",
            Law::A => "PCMA",
        };
        let place = match self.is_nowhere {
            true => "0.0.0.0".to_owned(),
            false => ip.to_string(),
        };
        let port = if self.is_taken_away { 0 } else { port };
        let (ice, video) = match self.has_video {
            true => (
                "a=ice-ufrag:F7gI\r\na=candidate:1 1 UDP 2130706431 10.0.1.9 8998 typ host\r\n\
                 a=fingerprint:sha-256 12:DF\r\na=setup:actpass\r\n",
                "m=video 5006 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
            ),
            false => ("", ""),
        };
        format!(
            "v=0\r\no=- 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {place}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {number} {digits}\r\na=rtpmap:{number} {name}/8000\r\n\
             a=rtpmap:{digits} telephone-event/8000\r\na=fmtp:{digits} 0-15\r\n{ice}\
             a={direction}\r\n{video}"
        )
    }
}

impl Phone {
    /// Asks the gateway for a change.
    pub(super) fn change(&mut self, now: Instant, change: Change) {
        let Some(leg) = &mut self.call else { return };
        if leg.state != State::Confirmed {
            return;
        }
        // One INVITE at a time in a dialog (RFC 3261 §14.1).
        let is_busy = leg.waits.iter().any(|waits| {
            matches!(waits, Unanswered::Invite | Unanswered::FinalResponse | Unanswered::Update)
        });
        if is_busy {
            return self.plans.push((now + BUSY, Plan::Change(change)));
        }
        let described = &mut self.described;
        described.version += 1;
        described.direction = change.direction.unwrap_or(described.direction);
        described.is_nowhere = change.is_nowhere;
        described.law = change.law.unwrap_or(described.law);
        described.digits = change.digits.unwrap_or(described.digits);
        described.has_video = change.has_video;
        described.is_taken_away = change.port == Some(0);
        if let Some(port) = change.port.filter(|port| *port != 0) {
            self.rtp.set_port(port);
        }
        leg.payload_type = described.payload_type();
        leg.ssrc = change.ssrc.unwrap_or(leg.ssrc);
        leg.offers = change.by != By::InviteWithoutOffer;
        let sdp = self.sdp();
        let (method, until) = match change.by {
            By::Invite | By::InviteWithoutOffer => ("INVITE", Unanswered::Invite),
            By::Update | By::UpdateWithoutOffer => ("UPDATE", Unanswered::Update),
        };
        let (kind, body) = match change.by {
            By::Invite | By::Update => (SDP, sdp),
            By::InviteWithoutOffer | By::UpdateWithoutOffer => ("", String::new()),
        };
        let headers = format!("{kind}{}", self.manner.headers);
        self.changing = Some(change);
        let message = self.request(method, &headers, &body);
        self.send_until(now, message, until);
    }

    /// The final response to a change of ours.
    pub(super) fn be_answered(&mut self, now: Instant, status: u16, text: &Text) {
        let Some(change) = self.changing.take() else { return };
        let Some(leg) = &mut self.call else { return };
        if status == 491 {
            let wait = if leg.is_caller { OWNER_WAIT } else { OTHER_WAIT };
            self.plans.push((now + wait, Plan::Change(change)));
        }
        if let (200..=299, Some(theirs)) = (status, direction_of(&text.body)) {
            leg.sends = sends(self.described.direction) && receives(theirs);
            leg.media = media_address(&text.body).or(leg.media);
            self.hear_sdp(&text.body);
        }
    }

    /// A re-INVITE or UPDATE of the gateway.
    pub(super) fn be_changed(&mut self, now: Instant, text: &Text) {
        let method = text.first.split(' ').next().unwrap_or_default();
        let Some(leg) = &mut self.call else { return };
        let number = text.header("CSeq");
        if leg.changed.as_ref().is_some_and(|(last, _)| *last == number) {
            let response = leg.changed.as_ref().map(|(_, response)| response.clone());
            return self.send_message(response.unwrap_or_default());
        }
        let theirs = direction_of(&text.body);
        self.told.push(match theirs {
            Some(direction) => format!("{method} {direction}"),
            None => method.to_owned(),
        });
        let is_glare = leg.waits.contains(&Unanswered::Invite);
        let status = match self.manner.on_change {
            _ if is_glare && method == "INVITE" => 491,
            OnChange::Refuses(status) => status,
            OnChange::PutsOff if self.told.len() == 1 => 500,
            OnChange::PutsOff | OnChange::Accepts => 200,
        };
        let mut body = String::new();
        if status == 200 && (method == "INVITE" || theirs.is_some()) {
            let ours = self.described.direction;
            let direction = match theirs {
                None => ours,
                Some(theirs) => {
                    match (sends(ours) && receives(theirs), receives(ours) && sends(theirs)) {
                        (true, true) => "sendrecv",
                        (true, false) => "sendonly",
                        (false, true) => "recvonly",
                        (false, false) => "inactive",
                    }
                }
            };
            leg.sends = sends(direction);
            leg.media = media_address(&text.body).or(leg.media);
            self.hear_sdp(&text.body);
            let sdp = self.described.sdp(direction, self.rtp.ip(), self.rtp.port());
            body = self.with_keys(&sdp);
        }
        let mut headers = format!("Contact: <sip:{}@{}>\r\n", self.name, self.sip);
        if status == 500 {
            headers.push_str("Retry-After: 3\r\n");
        }
        let timer = text.header("Session-Expires");
        if !timer.is_empty() && status == 200 && self.manner.headers.contains("timer") {
            headers.push_str(&format!("Session-Expires: {timer}\r\n"));
        }
        let response = text.response(status, &headers, &body);
        let Some(leg) = &mut self.call else { return };
        leg.changed = Some((number, response.clone()));
        match method {
            "INVITE" => self.send_until(now, response, Unanswered::FinalResponse),
            _ => self.send_message(response),
        }
    }
}

fn direction_of(sdp: &str) -> Option<&'static str> {
    let all = ["sendrecv", "sendonly", "recvonly", "inactive"];
    all.into_iter().find(|name| sdp.lines().any(|line| line.strip_prefix("a=") == Some(*name)))
}

fn sends(direction: &str) -> bool {
    matches!(direction, "sendrecv" | "sendonly")
}

fn receives(direction: &str) -> bool {
    matches!(direction, "sendrecv" | "recvonly")
}

/// Another INVITE is under way.
const BUSY: Duration = Duration::from_millis(500);
/// RFC 3261 §14.1, the middle of what may be waited.
const OWNER_WAIT: Duration = Duration::from_millis(3050);
const OTHER_WAIT: Duration = Duration::from_millis(1000);
