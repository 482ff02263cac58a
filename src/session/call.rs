//! One SIP leg inside a session: from the script's wish or the caller's INVITE to its end.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::codecs::{Preference, media_codec, media_formats, media_opus, media_reports, rate};
use super::modify::Proposed;
use super::security::{Security, media_keys};
use super::sound::Playback;
use super::transfer::{Referral, Transfers};
use crate::config::Dtmf;
use crate::media::detect::answer;
use crate::media::engine::{StreamSettings, UnitId};
use crate::media::frame::Rate;
use crate::scenario::command::{ExtraHeaders, Object};
use crate::sdp::description::{Description, Direction};
use crate::sdp::format::Codec;
use crate::sdp::offer_answer::{Agreed, Local, Wishes};
use crate::sip::user_agent::{CallId, Diverted, Target};
use crate::storage::record::CallRecord;

/// A call of a session.
pub struct Call {
    pub object: Object,
    pub unit: UnitId,
    pub phase: Phase,
    /// The call that it heard last by the script's will.
    pub hears: Option<Object>,
    /// From the first transfer on.
    pub transfers: Option<Box<Transfers>>,
    /// The address that our SDP names.
    pub address: IpAddr,
    /// Our RTP port, once media has bound it.
    pub port: Option<u16>,
    /// `o=` of our descriptions; the version rises with each.
    pub origin_id: u64,
    pub origin_version: u64,
    pub agreed: Option<Agreed>,
    pub security: Security,
    /// Our description that holds: what a refresh repeats.
    pub described: Option<Box<Description>>,
    /// Our re-INVITE that has no answer yet.
    pub proposed: Option<Box<Proposed>>,
    /// What we want of the stream: other than both ways where the script holds the peer.
    pub direction: Direction,
    /// The peer holds us.
    pub is_held: bool,
    /// What the script was told of the audio's quality.
    pub is_hd: Option<bool>,
    pub has_rung: bool,
    pub audio_started: bool,
    pub playback: Option<Playback>,
    pub recorder: Option<UnitId>,
    pub dtmf: Dtmf,
    /// What may be agreed on with this peer, in the order of preference.
    pub codecs: Vec<Codec>,
    /// How we would like to get it.
    pub wishes: Wishes,
    /// Digits still to be sent by SIP INFO.
    pub info_digits: VecDeque<char>,
    /// Who answers shall be detected when the call is connected.
    pub answer_detection: Option<answer::Settings>,
    pub waits_for_beep: bool,
    /// For the history; its duration and end are filled in when the call ends.
    pub record: CallRecord,
}

pub enum Phase {
    /// Outgoing; media is finding a port.
    Opening { outgoing: Box<Outgoing> },
    /// Our INVITE is on its way.
    Calling { leg: CallId, outgoing: Box<Outgoing>, offer: Box<Description> },
    /// Incoming and unanswered. `wish` waits for media's port. `own_offer` is in a 183 to an INVITE
    /// without `offer`, until its answer.
    Alerting {
        leg: CallId,
        offer: Option<Box<Description>>,
        own_offer: Option<Box<Description>>,
        wish: Wish,
        is_early: bool,
    },
    /// 200 is sent; the ACK is awaited. `offer` is ours, if the INVITE had none.
    Answering { leg: CallId, offer: Option<Box<Description>> },
    /// `offer` is ours in the answer to a re-INVITE that had none, until its ACK.
    Connected { leg: CallId, since: Instant, offer: Option<Box<Description>> },
    /// Incoming without a leg of its own: the place for somebody who is being transferred.
    Referred(Box<Referral>),
}

/// What the script asked of an alerting call.
pub enum Wish {
    Nothing,
    EarlyMedia { headers: ExtraHeaders },
    Answer { headers: ExtraHeaders, display_name: Option<String> },
}

/// An outgoing call's INVITE, and where else it may go.
#[derive(Default)]
pub struct Outgoing {
    /// The first is the one in use. Invariant: not empty when a call is made.
    pub targets: VecDeque<Target>,
    /// As the script gave it; empty: each trunk's own.
    pub caller: String,
    pub display_name: String,
    pub credentials: Option<(String, String)>,
    pub diverted: Option<Diverted>,
    pub headers: ExtraHeaders,
    /// Of all targets together.
    pub timeout: Duration,
    /// When the first INVITE left.
    pub since: Option<Instant>,
}

impl Call {
    pub fn leg(&self) -> Option<CallId> {
        match &self.phase {
            Phase::Opening { .. } => None,
            Phase::Calling { leg, .. }
            | Phase::Alerting { leg, .. }
            | Phase::Answering { leg, .. }
            | Phase::Connected { leg, .. } => Some(*leg),
            Phase::Referred(referral) => referral.leg,
        }
    }

    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. } | Phase::Answering { .. })
    }

    pub fn connected_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Connected { since, .. } => Some(since),
            _ => None,
        }
    }

    /// Gives our next description its version: the last one's if nothing differs, else the next
    /// (RFC 3264 §8).
    pub fn numbered(&mut self, mut description: Description) -> Description {
        if let Some(last) = &self.described {
            description.origin_version = last.origin_version;
            if description == **last {
                return description;
            }
        }
        self.origin_version += 1;
        description.origin_version = self.origin_version;
        description
    }

    /// Our side of the stream, with what is preferred in front.
    pub fn local(&self, port: u16, preference: &Preference) -> Local {
        Local {
            address: self.address,
            port,
            origin_id: self.origin_id,
            origin_version: self.origin_version,
            codecs: preference.order(&self.codecs),
            direction: self.direction,
            wishes: match &self.agreed {
                Some(agreed) => Wishes { ptime: agreed.ptime, ..self.wishes },
                None => self.wishes,
            },
            srtp: self.security.describe(self.agreed.as_ref()),
        }
    }

    /// The codec that the call has.
    pub fn own_preference(&self) -> Preference {
        self.agreed.as_ref().map(|agreed| Preference::of_codec(agreed.codec)).unwrap_or_default()
    }

    /// What media is told of an agreement. Early media of an incoming call is heard by the
    /// caller only.
    pub fn stream_settings(&self, agreed: &Agreed, hears_peer: bool) -> StreamSettings {
        let (sends, receives) = match agreed.direction {
            Direction::SendRecv => (true, true),
            Direction::SendOnly => (true, false),
            Direction::RecvOnly => (false, true),
            Direction::Inactive => (false, false),
        };
        let dtmf = match self.dtmf {
            Dtmf::Inband => None,
            Dtmf::Auto | Dtmf::Rfc4733 | Dtmf::Info => agreed.dtmf,
        };
        StreamSettings {
            remote: agreed.remote,
            remote_rtcp: agreed.remote_rtcp,
            rtcp_mux: agreed.rtcp_mux,
            codec: media_codec(agreed.codec),
            payload_type: agreed.payload_type,
            formats: media_formats(agreed),
            dtmf_payload_type: dtmf.map(|(number, _)| number),
            dtmf_clock: dtmf.map_or(Rate::Narrow, |(_, clock)| rate(clock)),
            noise_payload_type: agreed.noise,
            opus: media_opus(agreed.opus),
            reports: media_reports(agreed),
            sends,
            receives: receives && hears_peer,
            ptime: agreed.ptime,
            srtp: agreed.srtp.as_deref().and_then(media_keys),
        }
    }
}
