//! Dialogs (RFC 3261 §12): what both sides remember of each other between requests.

use std::net::SocketAddr;

use super::header::Name;
use super::lexical::Malformed;
use super::locate::Hop;
use super::message::{Message, Method};
use super::name_addr::NameAddr;
use super::outbound;
use super::outgoing::{Outgoing, Owner};
use super::transport::Destination;
use super::uri::Uri;
use super::user_agent::Transport;

/// A confirmed dialog, or that of an answer which waits for its ACK.
#[derive(Debug)]
pub struct Dialog {
    pub call_id: String,
    /// With tag.
    pub local: NameAddr,
    /// With tag, except of RFC 2543 peers.
    pub remote: NameAddr,
    local_cseq: u32,
    /// `None` until the first request of the peer.
    remote_cseq: Option<u32>,
    /// Remote target.
    target: Uri,
    /// First hop first.
    routes: Vec<NameAddr>,
    /// The way on which the peer's messages come; taken in the place of its Contact where that
    /// would not be reached.
    flow: Destination,
    /// The peer is a phone: always taken by its flow.
    is_phone: bool,
    /// User part of our Contact.
    contact: String,
}

/// A request out of order (RFC 3261 §12.2.2): answered 500.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfOrder;

impl Dialog {
    /// Of a 2xx to our INVITE (§12.1.2).
    pub fn of_answer(
        invite: &Message,
        answer: &Message,
        source: Destination,
        contact: &str,
        is_phone: bool,
    ) -> Result<Self, Malformed> {
        let mut routes = answer.headers.name_addrs(&Name::RecordRoute)?;
        routes.reverse();
        let target = match contact_of(answer)? {
            Some(uri) => uri,
            // A Contact is mandatory here; without one the request URI has to do.
            None => invite.request_uri().cloned().ok_or(Malformed("Contact missing"))?,
        };
        Ok(Self {
            call_id: invite.call_id.clone(),
            local: invite.from.clone(),
            remote: answer.to.clone(),
            local_cseq: invite.cseq.number,
            remote_cseq: None,
            target,
            routes,
            flow: source,
            is_phone,
            contact: contact.to_owned(),
        })
    }

    /// Of an INVITE that we answer (§12.1.1).
    pub fn of_invite(
        invite: &Message,
        tag: &str,
        source: Destination,
        contact: &str,
        is_phone: bool,
    ) -> Result<Self, Malformed> {
        let mut local = invite.to.clone();
        local.set_tag(tag);
        Ok(Self {
            call_id: invite.call_id.clone(),
            local,
            remote: invite.from.clone(),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq.number),
            target: contact_of(invite)?.ok_or(Malformed("Contact missing"))?,
            routes: invite.headers.name_addrs(&Name::RecordRoute)?,
            flow: source,
            is_phone,
            contact: contact.to_owned(),
        })
    }

    /// Whether a message of the peer belongs here.
    pub fn has(&self, request: &Message) -> bool {
        request.call_id == self.call_id
            && request.to.tag() == self.local.tag()
            && request.from.tag() == self.remote.tag()
    }

    /// Whether a response of the peer belongs here.
    pub fn is_answered_by(&self, response: &Message) -> bool {
        response.call_id == self.call_id
            && response.from.tag() == self.local.tag()
            && response.to.tag() == self.remote.tag()
    }

    /// Takes note of the peer's CSeq. Not for ACK and CANCEL.
    pub fn check_order(&mut self, request: &Message) -> Result<(), OutOfOrder> {
        let number = request.cseq.number;
        if self.remote_cseq.is_some_and(|last| number < last) {
            return Err(OutOfOrder);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// Numbers requests on from where the early dialog with the same tags was.
    pub fn follow(&mut self, early: &Self) {
        self.local_cseq = early.local_cseq;
        self.remote_cseq = early.remote_cseq;
    }

    /// Skips numbers that requests of ours may have taken in an early dialog of which nothing is
    /// known any more.
    pub fn skip(&mut self, numbers: u32) {
        self.local_cseq = self.local_cseq.wrapping_add(numbers);
    }

    /// The peer's last request before there was a dialog.
    pub fn set_heard(&mut self, number: u32) {
        self.remote_cseq = Some(number);
    }

    /// A target refresh request or its 2xx (§12.2.1.2, §12.2.2). A broken Contact changes
    /// nothing.
    pub fn refresh(&mut self, message: &Message, source: Destination) {
        if let Ok(Some(target)) = contact_of(message) {
            self.target = target;
        }
        self.flow = source;
    }

    /// The next request of ours (§12.2.1.1).
    pub fn request(&mut self, method: Method, owner: Owner) -> Box<Outgoing> {
        self.local_cseq = self.local_cseq.wrapping_add(1);
        let mut outgoing = self.outgoing(method, self.local_cseq, owner);
        outgoing.contact = Some(self.contact.clone());
        outgoing
    }

    /// The ACK of the 2xx to the INVITE with this number.
    pub fn ack(&self, number: u32, owner: Owner) -> Box<Outgoing> {
        self.outgoing(Method::Ack, number, owner)
    }

    /// A request that was made by [`Dialog::request`] and is to be sent once more, with
    /// credentials: it needs a new number.
    pub fn renumber(&mut self, request: &mut Message) {
        self.local_cseq = self.local_cseq.wrapping_add(1);
        request.cseq.number = self.local_cseq;
    }

    /// The peer is a phone that has just registered from elsewhere.
    pub fn follow_phone(&mut self, old: (Transport, SocketAddr), new: Destination) {
        if self.is_phone && (self.flow.transport(), self.flow.peer()) == old {
            self.flow = new;
        }
    }

    /// The way of the peer's messages.
    pub fn flow(&self) -> Destination {
        self.flow
    }

    /// Remote target.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    pub fn is_phone(&self) -> bool {
        self.is_phone
    }

    /// User part of our Contact.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    fn outgoing(&self, method: Method, number: u32, owner: Owner) -> Box<Outgoing> {
        let (uri, routes, next) = self.way();
        let hop = match Hop::of(next).filter(|_| !self.is_flow_only()) {
            Some(hop) => hop.with_flow(self.preferred_flow()),
            // Behind a NAT, or by a transport or scheme that we do not speak: back to where the
            // peer spoke from.
            None => Hop::by_flow(self.flow),
        };
        let mut request = Message::request(
            method,
            uri,
            self.local.clone(),
            self.remote.clone(),
            self.call_id.clone(),
            number,
        );
        request.headers.push(Name::MaxForwards, "70");
        for route in routes {
            request.headers.push(Name::Route, route);
        }
        Outgoing::new(request, hop, owner)
    }

    /// Request URI, Route values, and the URI of the next hop.
    fn way(&self) -> (Uri, Vec<String>, &Uri) {
        let Some(first) = self.routes.first() else {
            return (self.target.clone(), Vec::new(), &self.target);
        };
        let as_route = |route: &NameAddr| NameAddr::new(route.uri.clone()).to_string();
        if first.uri.parameter("lr").is_some() {
            let routes = self.routes.iter().map(as_route).collect();
            return (self.target.clone(), routes, &first.uri);
        }
        // A strict router finds itself in the request URI (§12.2.1.1); it must not have what
        // §19.1.1 forbids there.
        let mut uri = first.uri.clone();
        uri.remove_parameter("method");
        uri.headers = None;
        let mut routes: Vec<String> = self.routes.iter().skip(1).map(as_route).collect();
        routes.push(NameAddr::new(self.target.clone()).to_string());
        (uri, routes, &first.uri)
    }

    /// Whether no new connection would reach the peer: its address is that of the inside of a
    /// NAT, or none at all (RFC 7118 §6).
    fn is_flow_only(&self) -> bool {
        let Destination::Stream { transport, peer, .. } = self.flow else { return false };
        let is_elsewhere = self.target.ip().is_some_and(|ip| ip != peer.ip());
        self.routes.is_empty()
            && (transport.is_websocket()
                || outbound::is_nowhere(&self.target.host)
                || self.is_phone && is_elsewhere)
    }

    fn preferred_flow(&self) -> Option<Destination> {
        if !self.routes.is_empty() {
            return None;
        }
        let is_stream = matches!(self.flow, Destination::Stream { .. });
        let source = self.flow.peer().ip();
        // A private address in a Contact that came from elsewhere is the inside of a NAT.
        let is_hidden =
            self.target.ip().is_some_and(|ip| ip != source && super::transport::is_private(ip));
        (is_stream || self.is_phone || is_hidden).then_some(self.flow)
    }
}

fn contact_of(message: &Message) -> Result<Option<Uri>, Malformed> {
    let Some(value) = message.header(&Name::Contact) else { return Ok(None) };
    let first = NameAddr::parse_list(value)?.into_iter().next();
    Ok(first.map(|contact| contact.uri))
}
