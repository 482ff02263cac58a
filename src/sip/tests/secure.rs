//! What `sips:` and TLS make of a call of ours.

use super::bench::{Bench, to_trunk};
use crate::sip::user_agent::{Input, Invite, Output, Target, Transport};

#[test]
fn contact_of_a_sips_call_is_sips() {
    let mut bench = Bench::new();
    for (uri, expected) in
        [("sips:1@192.0.2.10", "<sips:"), ("sip:1@192.0.2.10;transport=tls", "<sip:")]
    {
        let target = Target::Uri { uri: Box::new(uri.parse().unwrap()), proxy: None };
        let invite = Invite { target, ..to_trunk() };
        bench.act(|agent, now| agent.invite(now, invite)).unwrap();
        let Some(Output::Connect { stream, transport, name, .. }) = bench.others.pop_front() else {
            panic!("Connect")
        };
        assert_eq!((transport, &*name), (Transport::Tls, "192.0.2.10"));
        let local = "192.0.2.1:40000".parse().unwrap();
        bench.input(Input::Connected { stream, local });
        let Some(Output::Stream { data, .. }) = bench.others.pop_front() else { panic!() };
        let text = String::from_utf8(data).unwrap();
        assert!(text.contains("\r\nVia: SIP/2.0/TLS 192.0.2.1:5061;"), "{text}");
        let contact = text.lines().find_map(|line| line.strip_prefix("Contact: ")).unwrap();
        assert!(contact.starts_with(expected), "{contact}");
        assert_eq!(contact.contains(";transport=tls"), expected.starts_with("<sip:"));
        bench.input(Input::Closed { stream });
        bench.event();
    }
}
