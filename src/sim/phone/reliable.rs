//! PRACK (RFC 3262) of a scripted phone, as callee and as caller.

use std::time::Instant;

use super::{Leg, Phone, SDP, State, Text, Unanswered, media_address, uri_of};

/// Whether a phone's provisional responses, and those that it gets, are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prack {
    Off,
    Supported,
    /// As caller it requires it; as callee it acts as if it were.
    Required,
}

/// Of one call.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    /// RSeq of the last response, ours or the peer's.
    number: u32,
    /// To tag of the callee that it is from, since each counts for itself.
    tag: String,
    /// A description was sent or taken in a response or its PRACK.
    pub is_agreed: bool,
    /// Our response carries a description and has no PRACK.
    pub holds_answer: bool,
}

impl Phone {
    /// What an INVITE of this phone says of it.
    pub(super) fn prack_headers(&self) -> &'static str {
        match self.manner.prack {
            Prack::Off => "",
            Prack::Supported => "Supported: 100rel\r\n",
            Prack::Required => "Supported: 100rel\r\nRequire: 100rel\r\n",
        }
    }

    /// As callee: a 18x, again until its PRACK where the caller takes that.
    pub(super) fn ring(&mut self, now: Instant, status: u16, body: &str) {
        let Some(leg) = &mut self.call else { return };
        let names = ["Supported", "Require"];
        let takes = names.iter().any(|name| leg.invite.header(name).contains("100rel"));
        let is_reliable = match self.manner.prack {
            Prack::Off => false,
            Prack::Supported => takes && !body.is_empty(),
            Prack::Required => takes,
        };
        if !is_reliable {
            let response = self.respond_to_invite(status, body);
            return self.send_message(response);
        }
        leg.reliable.number += FIRST_RSEQ;
        leg.reliable.holds_answer = !body.is_empty();
        let extra = format!("Require: 100rel\r\nRSeq: {}\r\n", leg.reliable.number);
        let response = self.respond_to_invite_with(status, &extra, body);
        self.send_until(now, response, Unanswered::Prack);
    }

    /// As callee.
    pub(super) fn be_acknowledged(&mut self, text: &Text) {
        let rack = text.header("RAck");
        let Some(leg) = &mut self.call else { return };
        if rack.split(' ').next() != Some(&leg.reliable.number.to_string()) {
            return self.send_message(text.response(481, "", ""));
        }
        if leg.reliable.holds_answer {
            leg.reliable.holds_answer = false;
            leg.reliable.is_agreed = true;
        }
        if let Some(media) = media_address(&text.body) {
            leg.media = Some(media);
        }
        self.stop_waiting(Unanswered::Prack);
        self.send_message(text.response(200, "", ""));
    }

    /// As caller: PRACK of a reliable response.
    pub(super) fn acknowledge(&mut self, now: Instant, text: &Text) {
        let Ok(number) = text.header("RSeq").parse::<u32>() else { return };
        let to = text.header("To");
        let Some(leg) = &mut self.call else { return };
        if leg.state != State::Proceeding {
            return;
        }
        let is_next = leg.reliable.tag != to || number == leg.reliable.number + 1;
        if !is_next {
            return;
        }
        leg.reliable.number = number;
        leg.reliable.tag.clone_from(&to);
        let owes_answer = !leg.offers && !leg.reliable.is_agreed && !text.body.is_empty();
        leg.reliable.is_agreed |= !text.body.is_empty();
        let target = uri_of(&text.header("Contact")).unwrap_or_else(|| leg.target.clone());
        // CANCEL and the ACK of a refusal go where the INVITE went.
        let before = (leg.remote.clone(), leg.target.clone());
        (leg.remote, leg.target) = (to, target);
        let rack = format!("RAck: {number} {} INVITE\r\n", leg.invite_cseq);
        let message = match owes_answer {
            true => {
                let sdp = self.sdp();
                self.request("PRACK", &format!("{rack}{SDP}"), &sdp)
            }
            false => self.request("PRACK", &rack, ""),
        };
        if let Some(Leg { remote, target, .. }) = &mut self.call {
            (*remote, *target) = before;
        }
        self.send_until(now, message, Unanswered::Prack);
    }
}

/// Of a phone's first response; the next has the next.
const FIRST_RSEQ: u32 = 1;
