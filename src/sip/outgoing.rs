//! A request on its way out: what is sent, where to, and who wants to know what came of it.

use std::collections::VecDeque;
use std::time::Instant;

use super::locate::{Hop, Target};
use super::message::Message;
use super::transaction::TransactionId;
use super::trunks::Check;
use super::user_agent::CallId;

/// From its making until its final response or failure.
#[derive(Debug)]
pub struct Outgoing {
    /// Without Via until it is sent; Contact is added then too.
    pub request: Message,
    pub hop: Hop,
    pub search: Search,
    /// Places of the hop that are not tried yet.
    pub targets: VecDeque<Target>,
    /// Where it was last sent to.
    pub tried: Option<Target>,
    /// When it was sent to the first of its targets.
    pub begun: Option<Instant>,
    /// User part of the Contact to add; `None`: the request carries none, or has its own.
    pub contact: Option<String>,
    /// Another way to the same phone waits for this one to fail.
    pub is_hurried: bool,
    pub owner: Owner,
}

/// The search for the hop's targets while it lasts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Search {
    pub begun: Option<Instant>,
    /// Times that answers were waited for, and the first look.
    pub rounds: u32,
}

impl Outgoing {
    pub fn new(request: Message, hop: Hop, owner: Owner) -> Box<Self> {
        Box::new(Self {
            request,
            hop,
            search: Search::default(),
            targets: VecDeque::new(),
            tried: None,
            begun: None,
            contact: None,
            is_hurried: false,
            owner,
        })
    }

    pub fn with_contact(mut self: Box<Self>, user: &str) -> Box<Self> {
        self.contact = Some(user.to_owned());
        self
    }
}

/// Whose request it is: who hears of its responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Nobody waits for the answer: CANCEL, and the BYE of a dialog that nobody wanted.
    Nobody,
    /// INVITE of an attempt of a call.
    Invite { call: CallId, attempt: u32 },
    /// Request inside a call's dialog.
    Dialog { call: CallId },
    /// Re-INVITE of ours, or UPDATE, inside a call's dialog.
    Change { call: CallId },
    /// ACK of a 2xx; kept by the INVITE's transaction for the retransmissions of that 2xx.
    Ack { invite: TransactionId, tag: String },
    /// REGISTER at the trunk of this number.
    Registration { trunk: u32 },
    /// Keep-alive OPTIONS to the trunk of this number.
    Health { trunk: u32, check: Check },
}

/// What became of a request that has a transaction.
#[derive(Debug)]
pub enum Outcome {
    /// A final response.
    Response(Box<Message>),
    /// Nobody answered (408), or it could not be sent (503).
    Failed(u16),
}
