//! The sample scenarios in virtual time: whole calls with gateway, media and JavaScript, phones
//! that speak, press keys and hang up at the wrong moment, and nothing left afterwards.

use std::sync::Arc;
use std::time::Duration;

use branchline::scenario::worker::Answer;
use branchline::sim::link::Weather;
use branchline::sim::phone::{Dial, Manner};
use branchline::sim::sound;
use branchline::sim::world::{Plan, World};
use branchline::storage::record::SessionRecord;

const CALLBACK: &str = include_str!("../scenarios/callback.js");
const NOTIFICATION: &str = include_str!("../scenarios/notification.js");
const SURVEY: &str = include_str!("../scenarios/survey.js");
const GREETING: &str = include_str!("../scenarios/greeting.js");
const VOICEMAIL: &str = include_str!("../scenarios/voicemail.js");
const CLICK_TO_CALL: &str = include_str!("../scenarios/clicktocall.js");
const ANSWER: &str = include_str!("../scenarios/phones/answer.js");
const BUSY: &str = include_str!("../scenarios/phones/busy.js");
const SILENT: &str = include_str!("../scenarios/phones/silent.js");

#[test]
fn callback_joins_two_phones_and_tells_keys() {
    for seed in 1..=3 {
        let bad = Weather { loss: 5, duplication: 5, reordering: 5, ..Weather::default() };
        let weather = if seed == 1 { Weather::default() } else { bad };
        let first = Manner { speaks: Some(1000.0), ..Manner::default() };
        let presses = vec![(seconds(2), '5')];
        let second = Manner { speaks: Some(1700.0), presses, ..Manner::default() };
        let phones = vec![("7001".into(), first), ("7002".into(), second)];
        let plan = Plan { weather, seed, phones, ..plan(CALLBACK, "") };
        let mut world = World::new(plan);
        let urls = world.start_scenario(1, "7001:7002:record").expect("a session");
        world.run_for(seconds(20));
        let state = ask(&mut world, &urls, "");
        assert!(state.contains(r#""stage":"joined""#), "seed {seed}: {state}");
        assert!(state.contains(r#""tones":[{"leg":"b","tone":"5"}]"#), "seed {seed}: {state}");
        for (place, hertz) in [(0, 1700.0), (1, 1000.0)] {
            let heard = &world.phones[place].heard;
            let last = &heard[heard.len().saturating_sub(4000)..];
            assert!(sound::purity(last, hertz) > 0.8, "seed {seed}: phone {place}");
        }
        let answer = ask(&mut world, &urls, r#"{"command":"hangup"}"#);
        assert!(answer.contains(r#""stage":"ended""#), "{answer}");
        let row = only_row(&mut world);
        assert_eq!(row.custom_data, "7001:7002:record hung up over HTTP");
        assert_eq!(row.finish_reason.as_deref(), Some("Normal termination"));
        assert_eq!(row.records.len(), 2);
    }
}

#[test]
fn callback_ends_when_either_leg_ends() {
    for (hangs_up, outcome) in [(0, "a hung up"), (1, "b hung up")] {
        let manner = |place| Manner {
            hangs_up_after: (place == hangs_up).then_some(seconds(5)),
            ..Manner::default()
        };
        let phones = vec![("7001".into(), manner(0)), ("7002".into(), manner(1))];
        let row = run(Plan { phones, ..plan(CALLBACK, "") }, "7001:7002");
        assert_eq!(row.custom_data, format!("7001:7002 {outcome}"));
    }
}

/// The first hangs up while the prompt plays: the second is never dialled.
#[test]
fn callback_stops_when_the_first_hangs_up_early() {
    let first = Manner { hangs_up_after: Some(Duration::from_millis(200)), ..Manner::default() };
    let phones = vec![("7001".into(), first), ("7002".into(), Manner::default())];
    let row = run(Plan { phones, ..plan(CALLBACK, "") }, "7001:7002");
    assert_eq!(row.custom_data, "7001:7002 a hung up");
    assert_eq!(row.calls.len(), 1);
}

#[test]
fn callback_tells_the_first_when_the_second_is_busy() {
    let busy = Manner { refuses: Some(486), ..Manner::default() };
    let phones = vec![("7001".into(), Manner::default()), ("7003".into(), busy)];
    let row = run(Plan { phones, ..plan(CALLBACK, "") }, "7001:7003");
    assert!(row.custom_data.starts_with("7001:7003 b failed: 486 "), "{}", row.custom_data);
}

#[test]
fn callback_of_nobody_ends_at_once() {
    for data in ["", "7001", ":"] {
        let row = run(plan(CALLBACK, ""), data);
        assert!(row.custom_data.ends_with(" custom data must be A:B"), "{}", row.custom_data);
    }
}

#[test]
fn notification_is_confirmed_by_its_key() {
    let presses = vec![(seconds(3), '1')];
    let phones = vec![("7002".into(), Manner { presses, ..Manner::default() })];
    let row = run(Plan { phones, ..plan(NOTIFICATION, "") }, "7002");
    assert_eq!(row.custom_data, "7002 confirmed");
}

/// Another key is no confirmation; three times and it gives up.
#[test]
fn notification_repeats_and_gives_up() {
    let presses = vec![(seconds(3), '2')];
    let phones = vec![("7002".into(), Manner { presses, ..Manner::default() })];
    let row = run(Plan { phones, ..plan(NOTIFICATION, "") }, "7002");
    assert_eq!(row.custom_data, "7002 not confirmed");
    // 1 s until it rings and answers, twice 6 s and once less, at half a second for each prompt.
    assert!((12_000..20_000).contains(&row.duration_ms), "{} ms", row.duration_ms);
}

#[test]
fn notification_tries_again_when_it_is_busy() {
    let phones = vec![("7003".into(), Manner { refuses: Some(486), ..Manner::default() })];
    let row = run(Plan { phones, ..plan(NOTIFICATION, "") }, "7003");
    assert!(row.custom_data.starts_with("7003 not reached: 486 "), "{}", row.custom_data);
    assert_eq!(row.calls.len(), 2);
}

#[test]
fn notification_hung_up_is_not_confirmed() {
    let phones =
        vec![("7002".into(), Manner { hangs_up_after: Some(seconds(1)), ..Manner::default() })];
    let row = run(Plan { phones, ..plan(NOTIFICATION, "") }, "7002");
    assert_eq!(row.custom_data, "7002 hung up without confirming");
}

#[test]
fn survey_posts_its_answers_once() {
    let presses = vec![(seconds(2), '4'), (seconds(4), '2'), (seconds(6), '1')];
    let posted = survey(Manner { presses, ..Manner::default() });
    assert_eq!(posted, r#"{"number":"7002","complete":true,"answers":["4","2","1"]}"#);
}

#[test]
fn survey_asks_again_after_a_wrong_key() {
    let presses = vec![(seconds(2), '9'), (seconds(4), '4'), (seconds(6), '2'), (seconds(8), '1')];
    let posted = survey(Manner { presses, ..Manner::default() });
    assert_eq!(posted, r#"{"number":"7002","complete":true,"answers":["4","2","1"]}"#);
}

#[test]
fn survey_posts_what_is_there_when_it_is_hung_up() {
    let presses = vec![(seconds(2), '4')];
    let manner = Manner { presses, hangs_up_after: Some(seconds(4)), ..Manner::default() };
    assert_eq!(survey(manner), r#"{"number":"7002","complete":false,"answers":["4"]}"#);
}

#[test]
fn survey_without_answers_is_not_complete() {
    let posted = survey(Manner::default());
    assert_eq!(posted, r#"{"number":"7002","complete":false,"answers":[null,null,null]}"#);
}

#[test]
fn greeting_takes_a_message_when_nobody_is_registered() {
    let presses = vec![(seconds(2), '1')];
    let manner = Manner {
        presses,
        speaks: Some(1000.0),
        hangs_up_after: Some(seconds(10)),
        ..Manner::default()
    };
    let row = dial(GREETING, "100", manner);
    assert!(row.custom_data.starts_with("message from 55: http://"), "{}", row.custom_data);
    assert_eq!(row.records.len(), 1);
    // The user's leg failed, the caller's did not.
    assert_eq!(row.calls.iter().filter(|call| call.is_successful).count(), 1);
    assert_eq!(row.calls.len(), 2);
}

#[test]
fn greeting_survives_a_caller_who_hangs_up_in_the_menu() {
    let manner = Manner { hangs_up_after: Some(seconds(1)), ..Manner::default() };
    let row = dial(GREETING, "100", manner);
    assert_eq!(row.finish_reason.as_deref(), Some("Normal termination"));
}

#[test]
fn voicemail_records_until_the_key() {
    let presses = vec![(seconds(8), '#')];
    let row = dial(VOICEMAIL, "101", Manner { plays: talk(8), presses, ..Manner::default() });
    assert!(row.custom_data.starts_with("message from 55: http://"), "{}", row.custom_data);
    let [record] = row.records.as_slice() else { panic!("{:?}", row.records) };
    // From the end of two prompts of half a second to the key at 8 s.
    assert!((6_500..7_500).contains(&record.duration_ms), "{} ms", record.duration_ms);
}

#[test]
fn voicemail_ends_when_the_caller_falls_silent() {
    let row = dial(VOICEMAIL, "101", Manner { plays: talk(10), ..Manner::default() });
    let [record] = row.records.as_slice() else { panic!("{:?}", row.records) };
    // A second of prompts is talked over; five seconds after the last word it ends.
    assert!((13_000..15_000).contains(&record.duration_ms), "{} ms", record.duration_ms);
    let row = dial(VOICEMAIL, "101", Manner::default());
    let [record] = row.records.as_slice() else { panic!("{:?}", row.records) };
    assert!((4_900..5_500).contains(&record.duration_ms), "{} ms", record.duration_ms);
}

#[test]
fn voicemail_ends_at_its_limit() {
    let row = dial(VOICEMAIL, "101", Manner { plays: talk(200), ..Manner::default() });
    let [record] = row.records.as_slice() else { panic!("{:?}", row.records) };
    assert!((119_000..121_500).contains(&record.duration_ms), "{} ms", record.duration_ms);
}

#[test]
fn click_to_call_does_what_it_is_told() {
    let first = Manner { speaks: Some(1000.0), ..Manner::default() };
    let second = Manner { speaks: Some(1700.0), ..Manner::default() };
    let phones = vec![("7001".into(), first), ("7002".into(), second)];
    let mut world = World::new(Plan { phones, ..plan(CLICK_TO_CALL, "") });
    let urls = world.start_scenario(1, "").expect("a session");
    ask(&mut world, &urls, r#"{"command":"dial","number":"7001"}"#);
    ask(&mut world, &urls, r#"{"command":"dial","number":"7002"}"#);
    world.run_for(seconds(3));
    let state = ask(&mut world, &urls, r#"{"command":"join","calls":[1,2]}"#);
    assert_eq!(state.matches(r#""state":"connected""#).count(), 2, "{state}");
    world.run_for(seconds(2));
    for (place, hertz) in [(0, 1700.0), (1, 1000.0)] {
        let heard = &world.phones[place].heard;
        let last = &heard[heard.len().saturating_sub(4000)..];
        assert!(sound::purity(last, hertz) > 0.9, "phone {place}");
    }
    let wrong = ask(&mut world, &urls, r#"{"command":"hangup","call":3}"#);
    assert_eq!(wrong, r#"{"error":"no call 3"}"#);
    ask(&mut world, &urls, r#"{"command":"hangup","call":1}"#);
    ask(&mut world, &urls, r#"{"command":"end"}"#);
    let row = only_row(&mut world);
    assert_eq!(row.calls.len(), 2);
    assert_eq!(row.finish_reason.as_deref(), Some("Normal termination"));
}

/// What answers 7001, 7003 and 7004 of the shipped configuration, called from outside.
#[test]
fn people_of_the_loopback_trunk() {
    let manner = Manner { hangs_up_after: Some(seconds(5)), ..Manner::default() };
    let row = dial(ANSWER, "7001", manner);
    assert!(row.calls[0].is_successful);
    let row = dial(BUSY, "7003", Manner::default());
    assert!(row.calls[0].end_reason.starts_with("486 "), "{}", row.calls[0].end_reason);
    let row = dial(SILENT, "7004", Manner::default());
    assert!(row.calls[0].end_reason.starts_with("408 "), "{}", row.calls[0].end_reason);
}

/// Words of half a second with as long a pause after each.
fn talk(seconds: usize) -> Option<Arc<[i16]>> {
    let word = (0..25).flat_map(|frame| sound::sine(400.0, 8000.0, frame * 160));
    let words = word.chain([0; 4000]).collect::<Vec<_>>().repeat(seconds);
    Some(words.into())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One rule with this script.
fn plan(script: &str, pattern: &str) -> Plan {
    Plan { rules: vec![(pattern.to_owned(), script.to_owned())], ..Plan::default() }
}

/// Starts rule 1 and lives through its session.
fn run(plan: Plan, custom_data: &str) -> SessionRecord {
    let mut world = World::new(plan);
    world.start_scenario(1, custom_data).expect("a session");
    only_row(&mut world)
}

/// A phone with number 55 dials this number.
fn dial(script: &str, number: &str, manner: Manner) -> SessionRecord {
    let phones = vec![("55".into(), manner)];
    let mut world = World::new(Plan { phones, ..plan(script, number) });
    let call = Dial {
        number: number.to_owned(),
        offers: true,
        after: Duration::ZERO,
        cancels_after: None,
    };
    world.dial_as(0, call);
    only_row(&mut world)
}

/// The body of the one request that a survey of this phone makes.
fn survey(manner: Manner) -> String {
    let phones = vec![("7002".into(), manner)];
    let mut world = World::new(Plan { phones, ..plan(SURVEY, "") });
    let data = r#"{"number":"7002","url":"http://192.0.2.1/answers"}"#;
    world.start_scenario(1, data).expect("a session");
    only_row(&mut world);
    let [request] = world.fetched.as_slice() else { panic!("{:?}", world.fetched) };
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "http://192.0.2.1/answers")
    );
    String::from_utf8(request.body.clone()).expect("JSON text")
}

/// The row of the only session, after its end; nothing is left, and no script threw.
fn only_row(world: &mut World) -> SessionRecord {
    world.run_to_the_end();
    assert!(world.is_empty(), "{}\n{}", world.leftovers(), world.ladder.timed());
    assert_eq!(world.exceptions, 0, "{}", world.log.join("\n"));
    let [row] = world.history.as_slice() else { panic!("{:?}", world.history) };
    row.clone()
}

/// What the scenario answers at its access URL.
fn ask(world: &mut World, urls: &branchline::gateway::SessionUrls, content: &str) -> String {
    let request = world.access(urls, content);
    let answer = world.answers.iter().find(|(number, _)| *number == request);
    match answer.and_then(|(_, answer)| answer.clone()) {
        Some(Answer::Json(text) | Answer::Text(text)) => text,
        other => panic!("the scenario answered {other:?}\n{}", world.log.join("\n")),
    }
}
