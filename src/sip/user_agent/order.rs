//! What the session asks for.

use std::time::Duration;

use super::{CallId, ExtraHeaders};
use crate::sip::identity::Diverted;
use crate::sip::uri::Uri;

/// A REFER to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub target: ReferTarget,
    pub headers: ExtraHeaders,
    /// Time to an outcome before `Transferred` 408.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferTarget {
    /// Looked for where the peer is at home.
    Number(String),
    Uri(Box<Uri>),
    /// The peer of this call, in our place.
    Call(CallId),
}

/// An INVITE to be sent.
#[derive(Debug, Clone)]
pub struct Invite {
    pub target: Target,
    /// User part of From; empty: the trunk's username, else the gateway's name.
    pub caller: String,
    pub display_name: String,
    /// Digest credentials other than the trunk's.
    pub credentials: Option<(String, String)>,
    /// The call came to another number of ours and goes on from there.
    pub diverted: Option<Diverted>,
    pub headers: ExtraHeaders,
    /// SDP offer; `None` asks the peer for one.
    pub offer: Option<Vec<u8>>,
    /// Time to a final response before CANCEL and `Failed` 408.
    pub timeout: Duration,
    /// Time to any response at all before `Failed` 408, where there is somewhere else to go;
    /// `None`: the transaction's own.
    pub patience: Option<Duration>,
    /// Gateways and proxies that it may still pass; [`MAX_FORWARDS`] where it begins here.
    pub max_forwards: u8,
}

/// A re-INVITE to be sent.
#[derive(Debug, Clone, Default)]
pub struct Modification {
    pub headers: ExtraHeaders,
    pub content_type: String,
    /// An offer, or what else its type says; empty asks the peer for an offer, as any that is no
    /// SDP does.
    pub body: Vec<u8>,
}

impl Modification {
    pub fn of_offer(headers: ExtraHeaders, offer: Vec<u8>) -> Self {
        Self { headers, content_type: "application/sdp".to_owned(), body: offer }
    }
}

/// RFC 3261 §8.1.1.6.
pub const MAX_FORWARDS: u8 = 70;

#[derive(Debug, Clone)]
pub enum Target {
    /// Number at a trunk, by name: Request-URI `sip:number@server-host`.
    Trunk { name: String, number: String },
    /// Any SIP URI, optionally through a proxy.
    Uri { uri: Box<Uri>, proxy: Option<Box<Uri>> },
    /// All contacts of a registered user in parallel, first answer wins.
    User { name: String },
}

/// Why a verb could not even begin; the status is the one a peer would have sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub reason: String,
}

/// What an incoming call without an offer makes of ours before the answer (RFC 3262 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyOffer {
    /// It has an offer, or takes no reliable responses: the 2xx is the place.
    No,
    /// In a 183.
    Possible,
    /// No 18x leaves before a 183 with our offer.
    Required,
}
