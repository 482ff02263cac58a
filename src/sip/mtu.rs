//! Which requests are too long for UDP (RFC 3261 §18.1.1).
//!
//! They go over TCP where nothing named a transport: neither the URI of the hop nor a service
//! record of its host alone. Where TCP is refused or does not answer they go over UDP after all,
//! and for a while those that follow, too. A trunk whose server says `transport=udp` gets all its
//! requests over UDP, and so does a phone that registered over it, which seldom listens on
//! anything else. An ACK of a 2xx goes as it is: it is short, and nobody would send it again.

use super::message::{Message, Method};

/// Whether a request without its Via, which is added last, makes a packet beyond the limit.
pub fn is_too_long(request: &Message) -> bool {
    if *request.method() == Method::Ack {
        return false;
    }
    let fields = request.headers.0.iter();
    let known: usize = fields.map(|field| field.name.as_str().len() + field.value.len() + 4).sum();
    let about = known + request.body.len() + USUAL_START;
    // Written out only where it may be so.
    about > MAX_BYTES / 2 && request.to_bytes().len() + VIA_BYTES > MAX_BYTES
}

/// The path's MTU is not known.
const MAX_BYTES: usize = 1300;
/// `Via: SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK0123456789abcdef;rport`, and some more.
const VIA_BYTES: usize = 90;
/// Start line, From, To, Call-ID, CSeq and Content-Length with names of usual length.
const USUAL_START: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::name_addr::NameAddr;
    use crate::sip::tests::bench::{Bench, PBX, to_trunk};
    use crate::sip::uri::Uri;
    use crate::sip::user_agent::{Input, Invite, Output, StreamId, Transport};

    fn call(bench: &mut Bench) {
        let headers = vec![("X-Long".to_owned(), "x".repeat(1300))];
        let invite = Invite { headers, ..to_trunk() };
        bench.act(|agent, now| agent.invite(now, invite)).unwrap();
    }

    fn connecting(bench: &mut Bench) -> StreamId {
        let Some(Output::Connect { stream, transport, to, .. }) = bench.others.pop_front() else {
            panic!("Connect")
        };
        assert_eq!((transport, to), (Transport::Tcp, PBX.parse().unwrap()));
        stream
    }

    #[test]
    fn long_request_goes_over_tcp() {
        let mut bench = Bench::new();
        call(&mut bench);
        let stream = connecting(&mut bench);
        let local = "192.0.2.1:40000".parse().unwrap();
        bench.input(Input::Connected { stream, local });
        let Some(Output::Stream { data, .. }) = bench.others.pop_front() else { panic!("INVITE") };
        let text = String::from_utf8(data).unwrap();
        assert!(text.contains("\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;"), "{text}");
        assert!(text.contains(";transport=tcp>\r\n"), "{text}");
        bench.quiet();
    }

    #[test]
    fn long_request_goes_over_udp_after_all_where_tcp_is_refused() {
        let mut bench = Bench::new();
        call(&mut bench);
        let stream = connecting(&mut bench);
        bench.input(Input::Closed { stream });
        let invite = bench.expect("INVITE ");
        assert!(invite.header("Via").starts_with("SIP/2.0/UDP "));
        assert!(!invite.header("Contact").contains("transport"));
        // Not even its answer over UDP makes the next one try in vain.
        bench.receive(&invite.response(100, ""));
        call(&mut bench);
        bench.expect("INVITE ");
        assert!(bench.others.is_empty());
    }

    #[test]
    fn long_request_stays_on_udp_where_the_trunk_says_so() {
        let mut bench = Bench::with(|config| {
            config.trunks[0].server = "sip:192.0.2.10;transport=udp".parse().unwrap();
        });
        call(&mut bench);
        bench.expect("INVITE ");
        assert!(bench.others.is_empty());
    }

    #[test]
    fn long_request_stays_on_udp_where_we_do_not_listen_on_tcp() {
        let mut bench = Bench::with(|config| config.listeners.truncate(1));
        call(&mut bench);
        bench.expect("INVITE ");
        assert!(bench.others.is_empty());
    }

    #[test]
    fn requests_over_1300_bytes_are_too_long() {
        let alice = NameAddr::new(Uri::sip("alice", "a.example", None));
        let request = |method| {
            let uri = Uri::sip("bob", "b.example", None);
            Message::request(method, uri, alice.clone(), alice.clone(), "1@a".to_owned(), 1)
        };
        let mut invite = request(Method::Invite);
        let rest = MAX_BYTES - VIA_BYTES - invite.to_bytes().len();
        invite.body = vec![b'x'; rest - 3];
        // Content-Length has three or four digits in the place of one.
        assert!(!is_too_long(&invite));
        invite.body = vec![b'x'; rest + 1];
        assert!(is_too_long(&invite));
        let mut ack = request(Method::Ack);
        ack.body = vec![b'x'; 2000];
        assert!(!is_too_long(&ack));
    }
}
