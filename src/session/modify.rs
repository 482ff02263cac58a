//! Changes of a call that stands: re-INVITEs of either side, hold and resume (sections 5 and 12 of
//! the VoxEngine reference).
//!
//! A re-INVITE of the peer is answered at once, without the script; it hears of it when the peer
//! holds or resumes. `reInvite()` of the script with `application/sdp` says by its direction what
//! the peer is to do; the description that is sent is ours, since media passes through here. A
//! body of another type is sent as it is, without an offer: the peer's 2xx brings one.

use std::time::Instant;

use super::Session;
use super::call::{Call, Phase};
use super::events::agree;
use super::exchange::Exchange;
use super::refusal::Refusal;
use crate::scenario::command::{ExtraHeaders, Object};
use crate::scenario::event::CallEvent;
use crate::sdp::crypto::without_keys;
use crate::sdp::description::{Address, Description, Direction};
use crate::sdp::offer_answer::{self, Agreed, Error, Local};
use crate::sip::user_agent::Modification;

/// A re-INVITE of ours that has no answer yet.
pub struct Proposed {
    /// `None`: it has no offer.
    offer: Option<Box<Description>>,
    pub(super) direction: Direction,
}

/// A 2xx to a re-INVITE of ours.
pub(super) struct Accepted {
    pub headers: ExtraHeaders,
    pub content_type: String,
    pub body: Vec<u8>,
    /// The body is the peer's offer.
    pub has_offer: bool,
    pub is_refresh: bool,
}

/// The peer asks.
impl Session {
    /// A re-INVITE or UPDATE: hold, resume, a new address or codec.
    pub(super) fn on_change(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        headers: ExtraHeaders,
        sdp: Option<Vec<u8>>,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Some(leg) = call.leg() else { return };
        let Some(sdp) = sdp else {
            call.security.prepare(exchange, None);
            let Some(local) = local(call) else { return };
            let offer = our_offer(call, &local);
            exchange.user_agent.accept_change(now, leg, offer.to_bytes());
            if let Phase::Connected { offer: own_offer, .. } = &mut call.phase {
                *own_offer = Some(Box::new(offer));
            }
            return;
        };
        let (answer, agreed) = match answer(exchange, call, &sdp) {
            Ok(answered) => answered,
            Err(error) => {
                self.on_disagreement(exchange, object, &error);
                let (status, _) = Refusal::NoCommonCodec.status();
                return exchange.user_agent.reject_change(now, leg, status);
            }
        };
        exchange.user_agent.accept_change(now, leg, answer.to_bytes());
        call.described = Some(Box::new(answer));
        // Before the answer it is between the gateways: the script hears nothing of it.
        match &mut call.phase {
            Phase::Alerting { offer, .. } => {
                *offer = Description::parse(&sdp).ok().map(Box::new);
                return self.configure(exchange, object, agreed, false);
            }
            Phase::Calling { .. } => return self.configure(exchange, object, agreed, true),
            Phase::Opening { .. }
            | Phase::Answering { .. }
            | Phase::Connected { .. }
            | Phase::Referred(_) => {}
        }
        self.take_change(exchange, object, agreed, headers, &sdp);
    }

    /// What the peer's re-INVITE with this description, or the ACK of its answer, agreed on.
    pub(super) fn take_change(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        agreed: Agreed,
        headers: ExtraHeaders,
        sdp: &[u8],
    ) {
        let held = self.take_agreement(exchange, object, agreed);
        // Section 12: codecs, addresses and refreshes are not shown to scripts.
        if let Some(held) = held {
            let event = CallEvent::ReInviteReceived {
                headers,
                mime_type: SDP.into(),
                body: without_keys(&String::from_utf8_lossy(sdp)),
            };
            self.call_event(exchange, object, event);
            self.call_event(exchange, object, held);
        }
    }

    /// A call may be on hold from its answer on.
    pub(super) fn begin_held(&mut self, exchange: &mut Exchange, object: Object) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        call.is_held = call.agreed.as_ref().is_some_and(|agreed| agreed.is_held);
        if call.is_held {
            self.call_event(exchange, object, CallEvent::OnHold);
        }
    }

    /// Tells media; `OnHold` or `OffHold` if that changed.
    fn take_agreement(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        agreed: Agreed,
    ) -> Option<CallEvent> {
        let call = self.calls.get_mut(&object)?;
        let was_held = call.is_held;
        // Who is not listened to by our own wish does not hold us.
        if call.direction.sends() {
            call.is_held = agreed.is_held;
        }
        let is_held = call.is_held;
        self.configure(exchange, object, agreed, true);
        self.tell_quality(exchange, object);
        match (was_held, is_held) {
            (false, true) => {
                self.log_line(exchange, &hold_line(object, "on hold"));
                Some(CallEvent::OnHold)
            }
            (true, false) => {
                self.log_line(exchange, &hold_line(object, "off hold"));
                Some(CallEvent::OffHold)
            }
            (true, true) | (false, false) => None,
        }
    }
}

/// We ask.
impl Session {
    /// `call.reInvite`.
    pub(super) fn change(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        headers: ExtraHeaders,
        mime_type: String,
        body: String,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Phase::Connected { leg, .. } = call.phase else {
            return self.log_line(exchange, "reInvite has no effect: the call is not connected");
        };
        let is_sdp = mime_type.is_empty() || mime_type.eq_ignore_ascii_case(SDP);
        let direction = if is_sdp { wished_direction(&body) } else { call.direction };
        call.security.prepare(exchange, None);
        let Some(local) = local(call) else { return };
        let local = Local { direction, ..local };
        let (modification, offer) = match is_sdp {
            true => {
                let offer = our_offer(call, &local);
                (Modification::of_offer(headers, offer.to_bytes()), Some(Box::new(offer)))
            }
            false => {
                let body = body.into_bytes();
                (Modification { headers, content_type: mime_type, body }, None)
            }
        };
        match exchange.user_agent.change(now, leg, modification) {
            Ok(()) => call.proposed = Some(Box::new(Proposed { offer, direction })),
            Err(refused) => {
                let (code, reason) = (refused.status, refused.reason);
                let event = CallEvent::ReInviteRejected { headers: Vec::new(), code, reason };
                self.call_event(exchange, object, event);
            }
        }
    }

    /// The peer took our re-INVITE.
    pub(super) fn on_changed(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        accepted: Accepted,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Some(leg) = call.leg() else { return };
        let Accepted { headers, content_type, body, has_offer, is_refresh } = accepted;
        let proposed = if is_refresh { None } else { call.proposed.take() };
        let proposed = proposed.map(|proposed| *proposed);
        if let Some(proposed) = &proposed {
            call.direction = proposed.direction;
        }
        let agreed = if has_offer {
            let (answer, agreed) = match answer(exchange, call, &body) {
                Ok((answer, agreed)) => (answer, Ok(agreed)),
                Err(error) => {
                    let Some(local) = local(call) else { return };
                    (call.numbered(offer_answer::refusal(&local)), Err(error))
                }
            };
            exchange.user_agent.answer_offer(now, leg, answer.to_bytes());
            call.described = Some(Box::new(answer));
            agreed
        } else {
            if let Some(offer) = proposed.and_then(|proposed| proposed.offer) {
                call.described = Some(offer);
            }
            match (&call.described, body.is_empty()) {
                // A 2xx without an answer: it stays as it was.
                (_, true) | (None, _) => call.agreed.clone().ok_or(Error::NoAudio),
                (Some(offer), false) => agree(call, offer, Some(&body)),
            }
        };
        let agreed = match agreed {
            Ok(agreed) => agreed,
            Err(error) => {
                // RFC 3261 §14.1: the session is in no state that both know.
                self.on_disagreement(exchange, object, &error);
                let (code, reason) = Refusal::NoCommonCodec.status();
                exchange.user_agent.hangup(now, leg, &Vec::new());
                return self.disconnect(now, exchange, object, code, reason.into(), Vec::new());
            }
        };
        let held = self.take_agreement(exchange, object, agreed);
        if !is_refresh {
            let body = without_keys(&String::from_utf8_lossy(&body));
            let event = CallEvent::ReInviteAccepted { headers, mime_type: content_type, body };
            self.call_event(exchange, object, event);
        }
        if let Some(held) = held {
            self.call_event(exchange, object, held);
        }
        if !is_refresh {
            self.after_change(now, exchange, object);
        }
    }

    pub(super) fn on_change_refused(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        code: u16,
        reason: String,
        headers: ExtraHeaders,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        call.proposed = None;
        let event = CallEvent::ReInviteRejected { headers, code, reason };
        self.call_event(exchange, object, event);
        self.after_change(now, exchange, object);
    }

    /// RFC 4028 §7.4: the same description once more.
    pub(super) fn on_refresh_due(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        let Some(call) = self.calls.get(&object) else { return };
        if let (Some(leg), Some(described)) = (call.leg(), &call.described) {
            exchange.user_agent.refresh(now, leg, described.to_bytes());
        }
    }
}

/// Our side, with the codec first that the call has.
fn local(call: &Call) -> Option<Local> {
    Some(call.local(call.port?, &call.own_preference()))
}

fn our_offer(call: &mut Call, local: &Local) -> Description {
    let offer = match &call.agreed {
        Some(agreed) => offer_answer::offer_again(local, agreed),
        None => offer_answer::offer(local),
    };
    call.numbered(offer)
}

/// Our answer to an offer in a call that stands, and what is agreed then.
fn answer(
    exchange: &mut Exchange,
    call: &mut Call,
    sdp: &[u8],
) -> Result<(Description, Agreed), Error> {
    let offer = Description::parse(sdp).unwrap_or_else(|_| Description::without_media());
    call.security.prepare(exchange, Some(&offer));
    let local = local(call).ok_or(Error::NoAudio)?;
    let (answer, agreed) = match offer_answer::answer(&local, &offer) {
        Ok(answered) => answered,
        // The stream is taken away: a hold without end, but the peer may bring it back.
        Err(Error::NoAudio) => {
            let answer = offer_answer::answer_to_removal(&local, &offer).ok_or(Error::NoAudio)?;
            let before = call.agreed.clone().ok_or(Error::NoAudio)?;
            let direction = Direction::Inactive;
            (answer, Agreed { direction, is_held: true, ..before })
        }
        Err(error) => return Err(error),
    };
    Ok((call.numbered(answer), agreed))
}

/// What a script's description wants of the peer: the direction of its audio, also where it is
/// no more than that line. Without one: both ways.
fn wished_direction(body: &str) -> Direction {
    if let Ok(description) = Description::parse(body.as_bytes())
        && let Some(audio) = description.media.iter().find(|media| media.kind == "audio")
    {
        let direction = description.direction_of(audio);
        // The hold of RFC 2543.
        let is_nowhere = matches!(
            description.connection_of(audio),
            Some(Address::Ip(ip)) if ip.is_unspecified()
        );
        return Direction::new(direction.sends(), direction.receives() && !is_nowhere);
    }
    let direction = body.lines().find_map(|line| match line.trim() {
        "a=sendonly" => Some(Direction::SendOnly),
        "a=recvonly" => Some(Direction::RecvOnly),
        "a=inactive" => Some(Direction::Inactive),
        "a=sendrecv" => Some(Direction::SendRecv),
        _ => None,
    });
    direction.unwrap_or_default()
}

fn hold_line(object: Object, what: &str) -> String {
    format!("call {}: {what}", super::journal::CallName(object))
}

const SDP: &str = "application/sdp";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_of_a_scripts_body_is_its_audios() {
        let sdp = |lines: &str| {
            format!("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n{lines}")
        };
        for (body, expected) in [
            (String::new(), Direction::SendRecv),
            ("a=sendonly".into(), Direction::SendOnly),
            ("  a=inactive\r\n".into(), Direction::Inactive),
            (sdp("m=audio 4000 RTP/AVP 0\n"), Direction::SendRecv),
            (sdp("m=audio 4000 RTP/AVP 0\na=recvonly\n"), Direction::RecvOnly),
            (sdp("a=inactive\nm=audio 4000 RTP/AVP 0\n"), Direction::Inactive),
            (
                sdp("m=video 4002 RTP/AVP 31\na=inactive\nm=audio 4000 RTP/AVP 0\na=sendonly\n"),
                Direction::SendOnly,
            ),
            (sdp("m=audio 4000 RTP/AVP 0\nc=IN IP4 0.0.0.0\n"), Direction::SendOnly),
        ] {
            assert_eq!(wished_direction(&body), expected, "{body}");
        }
    }
}
