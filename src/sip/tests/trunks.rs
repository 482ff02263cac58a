//! Trunks in virtual time: whom they are told, whose a call is, how many they take, which way it
//! goes.

use std::time::Duration;

use super::bench::{ANSWER, Bench, CONTACT, PBX, invite, kept, to_trunk};
use crate::sip::user_agent::*;

fn trunk(change: impl Fn(&mut Trunk)) -> Bench {
    Bench::with(|config| change(&mut config.trunks[0]))
}

/// From, and who else is named, of a call with this caller.
fn told(policy: Policy, username: &str, caller: &str) -> Vec<String> {
    let mut bench = trunk(|trunk| {
        trunk.identity = policy.clone();
        trunk.username = username.to_owned();
    });
    let invite =
        Invite { caller: caller.to_owned(), display_name: "Alice".to_owned(), ..to_trunk() };
    bench.act(|agent, now| agent.invite(now, invite)).unwrap();
    let invite = bench.expect("INVITE ");
    let names = ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy"];
    let from = invite.header("From").split(";tag=").next().unwrap().to_owned();
    let others = names
        .into_iter()
        .flat_map(|name| invite.all(name).into_iter().map(move |value| format!("{name}: {value}")));
    std::iter::once(from).chain(others).collect()
}

#[test]
fn caller_goes_in_from_and_in_the_trunks_form() {
    let pai = Policy { form: Form::Asserted, ..Policy::default() };
    let identity = "\"Alice\" <sip:200@branch.example>";
    assert_eq!(told(Policy::default(), "", "200"), [identity]);
    let asserted = format!("P-Asserted-Identity: {identity}");
    assert_eq!(told(pai, "", "200"), [identity.to_owned(), asserted]);
}

#[test]
fn account_goes_in_from_where_the_provider_knows_nobody_else() {
    let policy = Policy {
        form: Form::Preferred,
        from_user: FromUser::Account,
        from_domain: "provider.example".to_owned(),
        ..Policy::default()
    };
    let expected = [
        "\"Alice\" <sip:acc@provider.example>",
        "P-Preferred-Identity: \"Alice\" <sip:200@provider.example>",
    ];
    assert_eq!(told(policy, "acc", "200"), expected);
}

#[test]
fn rfc3323_4_1_hidden_caller_is_anonymous_and_vouched_for_by_our_number() {
    let policy =
        Policy { form: Form::Asserted, number: "+4930100".to_owned(), ..Policy::default() };
    let expected = [
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
        "P-Asserted-Identity: <sip:+4930100@branch.example>",
        "Privacy: id",
    ];
    assert_eq!(told(policy, "", "Anonymous"), expected);
}

#[test]
fn hidden_caller_is_anonymous_to_a_user_too() {
    let mut bench = Bench::new();
    let binding = kept("sip:alice@10.0.0.5", "198.51.100.20:5062");
    bench.act(|agent, now| agent.restore(now, "alice", vec![binding]));
    let target = Target::User { name: "alice".into() };
    let invite = Invite { target, caller: "anonymous".into(), ..to_trunk() };
    bench.act(|agent, now| agent.invite(now, invite)).unwrap();
    let invite = bench.expect("INVITE ");
    let from = invite.header("From");
    assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="), "{from}");
}

#[test]
fn only_fields_that_the_trunk_passes_leave() {
    let mut bench = trunk(|trunk| trunk.identity.pass_headers = vec!["History-Info".into()]);
    let headers = [("X-A", "1"), ("history-info", "<sip:1@x>;index=1"), ("Call-Info", "<x>")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    bench.act(|agent, now| agent.invite(now, Invite { headers, ..to_trunk() })).unwrap();
    let invite = bench.expect("INVITE ");
    assert_eq!(invite.header("X-A"), "1");
    assert_eq!(invite.header("history-info"), "<sip:1@x>;index=1");
    assert_eq!(invite.header("Call-Info"), "");
}

#[test]
fn rfc5806_call_that_goes_on_says_where_it_was() {
    let mut bench = Bench::new();
    let diverted = Diverted { number: "100".into(), earlier: vec!["<sip:50@x>".into()] };
    let invite = Invite { diverted: Some(diverted), ..to_trunk() };
    bench.act(|agent, now| agent.invite(now, invite)).unwrap();
    let expected = ["<sip:100@branch.example>;reason=unconditional", "<sip:50@x>"];
    assert_eq!(bench.expect("INVITE ").all("Diversion"), expected);
}

#[test]
fn rfc3325_5_identity_is_not_told_to_whom_a_trunk_redirects() {
    let mut bench = trunk(|trunk| trunk.identity.form = Form::Asserted);
    let (_, invite) = bench.calls();
    assert_ne!(invite.header("P-Asserted-Identity"), "");
    bench.receive(&invite.answer(302, "t1", "Contact: <sip:a@203.0.113.1>\n", ""));
    bench.expect("ACK ");
    assert_eq!(bench.expect("INVITE sip:a@203.0.113.1 ").header("P-Asserted-Identity"), "");
}

fn incoming(bench: &mut Bench, text: &str) -> Incoming {
    bench.receive(text);
    bench.expect("SIP/2.0 100");
    let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
    *incoming
}

#[test]
fn asserted_caller_is_told_of_a_trusted_trunk_only() {
    let text = invite().replace(
        "\n\nv=0",
        "\nP-Asserted-Identity: \"Eve\" <sip:+4930555@192.0.2.10>\nDiversion: <sip:7@x>\n\
         History-Info: <sip:8@x>;index=1\n\nv=0",
    );
    let call = incoming(&mut Bench::new(), &text);
    assert_eq!((call.caller, call.headers), (None, Vec::new()));
    let mut bench = trunk(|trunk| {
        trunk.identity.is_trusted = true;
        trunk.identity.pass_headers = vec!["history-info".into()];
    });
    let call = incoming(&mut bench, &text);
    let caller = call.caller.unwrap();
    assert_eq!((caller.user.as_str(), caller.display_name.as_str()), ("+4930555", "Eve"));
    assert_eq!(call.headers, [("History-Info".to_owned(), "<sip:8@x>;index=1".to_owned())]);
    assert_eq!(call.diversions, ["<sip:7@x>"]);
}

#[test]
fn called_number_is_to_where_the_trunk_says_so() {
    let mut bench = trunk(|trunk| trunk.identity.called = Called::To);
    let text = invite().replace("To: <sip:200@", "To: <sip:+4930123@");
    assert_eq!(incoming(&mut bench, &text).number, "+4930123");
}

#[test]
fn block_of_headers_that_scripts_see_is_bounded() {
    let lines: String =
        (0..100).map(|number| format!("X-{number}: {}\n", "v".repeat(100))).collect();
    let text = invite().replace("\n\nv=0", &format!("\n{lines}\nv=0"));
    let headers = incoming(&mut Bench::new(), &text).headers;
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!((3900..=4095).contains(&bytes), "{bytes}");
}

/// Two accounts at one provider.
fn two_accounts() -> Bench {
    Bench::with(|config| {
        let mut second = config.trunks[0].clone();
        second.name = "second".into();
        config.trunks.push(second);
        for (trunk, user) in config.trunks.iter_mut().zip(["one", "two"]) {
            trunk.register = true;
            trunk.username = user.into();
        }
        config.trunks[1].account.contact_user = "line2".into();
    })
}

#[test]
fn accounts_at_one_provider_register_each_and_are_told_apart_by_contact_and_to() {
    let mut bench = two_accounts();
    bench.pass(Duration::ZERO);
    let [one, two] = [bench.expect("REGISTER "), bench.expect("REGISTER ")];
    assert!(one.header("Contact").starts_with("<sip:one@192.0.2.1:5060>"));
    assert!(two.header("Contact").starts_with("<sip:line2@192.0.2.1:5060>"));
    assert_eq!(two.header("To"), "<sip:two@192.0.2.10>");
    for (number, request_uri, to, trunk) in
        [(1, "one", "x", "pbx"), (2, "line2", "x", "second"), (3, "x", "two", "second")]
    {
        let text = invite()
            .replace("z9hG4bK1", &format!("z9hG4bK{number}"))
            .replace("Call-ID: c1", &format!("Call-ID: c{number}"))
            .replace("INVITE sip:200@", &format!("INVITE sip:{request_uri}@"))
            .replace("To: <sip:200@", &format!("To: <sip:{to}@"));
        assert_eq!(incoming(&mut bench, &text).peer, Peer::Trunk(trunk.into()));
    }
}

#[test]
fn account_is_proved_to_its_realm_only() {
    let mut bench = trunk(|trunk| {
        trunk.username = "acc".into();
        trunk.account.auth_username = "auth".into();
        trunk.account.realm = "pbx".into();
    });
    let (_, invite) = bench.calls();
    let challenge = |realm| format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"n\"\n");
    bench.receive(&invite.answer(401, "t1", &challenge("pbx"), ""));
    bench.expect("ACK ");
    let proof = bench.expect("INVITE ").header("Authorization").to_owned();
    assert!(proof.contains("username=\"auth\""), "{proof}");
    bench.drain();
    let mut bench = trunk(|trunk| {
        trunk.username = "acc".into();
        trunk.account.realm = "pbx".into();
    });
    let (_, invite) = bench.calls();
    bench.receive(&invite.answer(401, "t1", &challenge("evil"), ""));
    bench.expect("ACK ");
    assert!(matches!(bench.event(), Event::Failed { status: 401, .. }));
}

#[test]
fn everything_goes_through_the_outbound_proxy() {
    let mut bench = trunk(|trunk| {
        trunk.server = "sip:provider.example".parse().unwrap();
        trunk.account.outbound_proxy = Some("sip:192.0.2.40:5080".parse().unwrap());
        trunk.register = true;
        trunk.username = "acc".into();
        trunk.options = Some(Duration::from_secs(30));
    });
    bench.pass(Duration::ZERO);
    let register = bench.expect("REGISTER sip:provider.example ");
    bench.receive(&register.response(200, "t"));
    bench.pass(Duration::from_secs(1));
    let options = bench.expect("OPTIONS sip:provider.example ");
    bench.all_sent();
    let invite = bench.calls().1;
    assert_eq!(invite.line(), "INVITE sip:100@provider.example");
    for request in [register, options, invite] {
        assert_eq!(request.to, "192.0.2.40:5080".parse().unwrap());
        assert_eq!(request.header("Route"), "<sip:192.0.2.40:5080;lr>");
    }
}

#[test]
fn rfc3608_service_route_is_the_way_of_calls_but_not_of_registers() {
    let mut bench = trunk(|trunk| {
        trunk.register = true;
        trunk.username = "acc".into();
        trunk.account.outbound_proxy = Some("sip:192.0.2.40".parse().unwrap());
    });
    bench.pass(Duration::ZERO);
    let register = bench.expect("REGISTER ");
    assert_eq!(register.header("Supported"), "path");
    let routes = "Service-Route: <sip:192.0.2.40;lr>, <sip:core.provider.example;lr>\n\
                  Path: <sip:192.0.2.40;lr>\nExpires: 600\n";
    bench.receive(&register.answer(200, "t", routes, ""));
    let (_, invite) = bench.calls();
    assert_eq!(invite.to, "192.0.2.40:5060".parse().unwrap());
    let expected = ["<sip:192.0.2.40;lr>", "<sip:core.provider.example;lr>"];
    assert_eq!(invite.all("Route"), expected);
    bench.receive(&invite.response(486, "t1"));
    bench.all_sent();
    let refresh = (0..600).find_map(|_| {
        bench.pass(Duration::from_secs(1));
        bench.try_sent("REGISTER ")
    });
    let refresh = refresh.unwrap();
    assert_eq!(refresh.all("Route"), ["<sip:192.0.2.40;lr>"]);
    // The next 2xx says what holds from then on.
    bench.receive(&refresh.answer(200, "t", "Expires: 600\n", ""));
    bench.pass(Duration::from_secs(2));
    bench.all_sent();
    let (_, invite) = bench.calls();
    assert_eq!(invite.all("Route"), ["<sip:192.0.2.40;lr>"]);
}

#[test]
fn broken_or_endless_service_route_is_none() {
    let endless = vec!["<sip:a@192.0.2.40;lr>"; 50].join(", ");
    for routes in ["<sip:", "<tel:123>", &endless] {
        let mut bench = trunk(|trunk| {
            trunk.register = true;
            trunk.username = "acc".into();
        });
        bench.pass(Duration::ZERO);
        let register = bench.expect("REGISTER ");
        bench.receive(&register.answer(200, "t", &format!("Service-Route: {routes}\n"), ""));
        let (_, invite) = bench.calls();
        assert_eq!(invite.to, PBX.parse().unwrap(), "{routes}");
        assert_eq!(invite.header("Route"), "");
    }
}

#[test]
fn trunk_has_so_many_calls_both_ways_and_no_more() {
    let mut bench = trunk(|trunk| trunk.caps.calls = 2);
    bench.called();
    let (call, _) = bench.calls();
    let refused = bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap_err();
    assert_eq!(refused, Refused { status: 503, reason: "max_calls reached".into() });
    let another = invite().replace("z9hG4bK1", "z9hG4bK2").replace("Call-ID: c1", "Call-ID: c2");
    bench.receive(&another);
    let refusal = bench.expect("SIP/2.0 503");
    assert_eq!(refusal.header("Retry-After"), "5");
    bench.act(|agent, now| agent.hangup(now, call, &Vec::new()));
    bench.calls();
}

#[test]
fn user_with_all_its_calls_is_busy() {
    let mut bench = Bench::with(|config| config.users[0].max_calls = 1);
    let binding = kept("sip:alice@10.0.0.5", "198.51.100.20:5062");
    bench.act(|agent, now| agent.restore(now, "alice", vec![binding]));
    let target = Target::User { name: "alice".into() };
    let invite = Invite { target, ..to_trunk() };
    bench.act(|agent, now| agent.invite(now, invite.clone())).unwrap();
    let refused = bench.act(|agent, now| agent.invite(now, invite)).unwrap_err();
    assert_eq!(refused.status, 486);
}

#[test]
fn calls_per_second_are_capped() {
    let mut bench = trunk(|trunk| trunk.caps.calls_per_second = 2);
    for second in 0..3 {
        bench.calls();
        bench.calls();
        let refused = bench.act(|agent, now| agent.invite(now, to_trunk())).unwrap_err();
        assert_eq!(refused.reason, "max_cps reached", "{second}");
        bench.pass(Duration::from_secs(1));
        bench.all_sent();
    }
}

#[test]
fn rfc3261_21_5_4_trunk_that_says_retry_after_is_down_until_then() {
    let mut bench = Bench::new();
    let (_, invite) = bench.calls();
    bench.receive(&invite.answer(503, "t1", "Retry-After: 20\n", ""));
    assert!(matches!(
        bench.event(),
        Event::Trunk { state: TrunkState::Down { status: 503, .. }, .. }
    ));
    assert!(matches!(bench.event(), Event::Failed { status: 503, .. }));
    assert!(matches!(bench.agent.trunk_state("pbx"), TrunkState::Down { .. }));
    bench.pass(Duration::from_secs(21));
    assert_eq!(bench.agent.trunk_state("pbx"), TrunkState::Unknown);
    // Without it a 503 is like a 500.
    let (_, invite) = {
        bench.all_sent();
        bench.event();
        bench.calls()
    };
    bench.receive(&invite.response(503, "t1"));
    assert_eq!(bench.agent.trunk_state("pbx"), TrunkState::Unknown);
}

#[test]
fn trunk_that_says_nothing_is_given_up_soon_where_there_is_another() {
    let mut bench = Bench::new();
    let patience = Some(Duration::from_secs(6));
    let invite = Invite { patience, ..to_trunk() };
    bench.act(|agent, now| agent.invite(now, invite.clone())).unwrap();
    let first = bench.expect("INVITE ");
    bench.pass(Duration::from_secs(6));
    assert!(matches!(bench.event(), Event::Failed { status: 408, .. }));
    assert!(bench.agent.is_doubtful("pbx"));
    bench.all_sent();
    // RFC 3261 §9.1: what answers all the same is cancelled.
    bench.receive(&first.response(180, "t1"));
    bench.expect("CANCEL ");
    bench.all_sent();
    // A trunk that says so much as 100 has its time.
    bench.act(|agent, now| agent.invite(now, invite)).unwrap();
    let second = bench.expect("INVITE ");
    bench.receive(&second.response(100, ""));
    bench.pass(Duration::from_secs(30));
    bench.receive(&second.answer(200, "t1", CONTACT, ANSWER));
    assert!(matches!(bench.event(), Event::Answered { .. }));
    assert!(!bench.agent.is_doubtful("pbx"));
}

#[test]
fn new_password_is_a_refresh_of_the_same_registration() {
    let mut bench = trunk(|trunk| {
        trunk.register = true;
        trunk.username = "acc".into();
        trunk.password = "old".into();
    });
    bench.pass(Duration::ZERO);
    let first = bench.expect("REGISTER ");
    bench.receive(&first.answer(200, "t", "Expires: 600\n", ""));
    bench.event();
    let mut config = None;
    Bench::with(|wanted| {
        wanted.trunks[0].register = true;
        wanted.trunks[0].username = "acc".into();
        wanted.trunks[0].password = "new".into();
        config = Some(wanted.clone());
    });
    bench.act(|agent, now| agent.reload(now, config.unwrap()));
    bench.pass(Duration::ZERO);
    let again = bench.expect("REGISTER ");
    assert_eq!(again.header("Call-ID"), first.header("Call-ID"));
    assert_eq!((again.header("CSeq"), again.header("Expires")), ("2 REGISTER", "3600"));
    bench.quiet();
}

#[test]
fn refused_registration_says_what_to_look_at() {
    for (realm, reason) in [
        ("", "username or password is wrong"),
        ("mine", "realm is \"pbx\" there, \"mine\" in the config"),
    ] {
        let mut bench = trunk(|trunk| {
            trunk.register = true;
            trunk.username = "acc".into();
            trunk.account.realm = realm.into();
        });
        let challenge = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n\"\n";
        bench.pass(Duration::ZERO);
        while let Some(register) = bench.try_sent("REGISTER ") {
            bench.receive(&register.answer(401, "t", challenge, ""));
        }
        let expected = TrunkState::Down { status: 401, reason: reason.to_owned() };
        assert_eq!(bench.agent.trunk_state("pbx"), expected);
    }
}
