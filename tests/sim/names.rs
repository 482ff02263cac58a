//! Calls to peers behind names: the zone of the world says where they are.

use crate::{Plan, answers, check, phone, rule, said};
use branchline::dns::zone::Zone;
use branchline::sim::phone::Manner;

const CALL: &str = r#"
    VoxEngine.addEventListener(AppEvents.Started, () => {
        const call = VoxEngine.callSIP(VoxEngine.customData());
        for (const name of ["Connected", "Disconnected", "Failed"]) {
            call.addEventListener(CallEvents[name], e => {
                Logger.write("> " + name + (e.code ? " " + e.code + " " + e.reason : ""));
                if (name === "Connected") setTimeout(() => call.hangup(), 1000);
                else VoxEngine.terminate();
            });
        }
    });
"#;

/// Phones are at 10.0.1.1, 10.0.1.2, ...; nobody is at 10.0.9.9.
const ZONE: &str = "
    _sip._udp.peer.example SRV 10 0 5060 a.peer.example
    _sip._udp.peer.example SRV 20 0 5060 b.peer.example
    a.peer.example A 10.0.9.9
    b.peer.example A 10.0.1.1
    busy.example A 10.0.1.2
    busy.example A 10.0.1.1";

fn plan(phones: Vec<(String, Manner)>) -> Plan {
    Plan { rules: rule(CALL), phones, zone: Zone::new(60, ZONE), ..Plan::default() }
}

#[test]
fn call_finds_the_second_server_of_a_service() {
    let world = check(
        plan(vec![phone("b", answers())]),
        "sip:100@peer.example",
        "b <- INVITE
         b -> 180 INVITE
         b -> 200 INVITE
         b <- ACK
         b <- BYE
         b -> 200 BYE",
    );
    assert_eq!(said(&world), ["Connected", "Disconnected"]);
}

#[test]
fn server_without_room_gives_way_to_the_next() {
    let full = Manner { refuses: Some(503), ..answers() };
    let world = check(
        plan(vec![phone("b", answers()), phone("full", full)]),
        "sip:100@busy.example:5060",
        "full <- INVITE
         full -> 180 INVITE
         full -> 503 INVITE
         full <- ACK
         b <- INVITE
         b -> 180 INVITE
         b -> 200 INVITE
         b <- ACK
         b <- BYE
         b -> 200 BYE",
    );
    assert_eq!(said(&world), ["Connected", "Disconnected"]);
}

#[test]
fn name_that_is_nowhere_fails_with_503() {
    let world = check(plan(Vec::new()), "sip:100@nowhere.example", "");
    assert_eq!(said(&world), ["Failed 503 Service Unavailable"]);
}
