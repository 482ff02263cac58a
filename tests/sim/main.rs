//! Whole calls in virtual time: gateway, JavaScript, media and scripted phones.
//!
//! Each case is data: a scenario, the phones' manners, and the ladder that is expected. After
//! every run the world must be empty.

mod changes;
mod codecs;
mod conference;
mod detect;
mod early;
mod ends;
mod incoming;
mod limits;
mod lossy;
mod media;
mod names;
mod nat;
mod outgoing;
mod playing;
mod recording;
mod srtp;
mod threads;
mod transfer;
mod trunks;

use std::time::Duration;

use branchline::sim::phone::Manner;
use branchline::sim::world::{Plan, World};

/// Runs rule 1 with `data` until nothing is left, and compares the ladder line by line; leading
/// spaces and empty lines do not count.
pub fn check(plan: Plan, data: &str, expected: &str) -> World {
    let mut world = World::new(plan);
    world.start_scenario(1, data);
    finish(&mut world);
    expect_ladder(&world, expected);
    world
}

/// The same for a call by phone 0 to `number`.
pub fn check_call(plan: Plan, number: &str, expected: &str) -> World {
    let mut world = World::new(plan);
    world.dial(0, number);
    finish(&mut world);
    expect_ladder(&world, expected);
    world
}

pub fn finish(world: &mut World) {
    world.run_to_the_end();
    assert!(world.is_empty(), "left over: {}\n{}", world.leftovers(), story(world));
}

pub fn expect_ladder(world: &World, expected: &str) {
    let lines = expected.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected: Vec<&str> = lines.collect();
    let text = world.ladder.text();
    let found: Vec<&str> = text.lines().collect();
    assert_eq!(found, expected, "\n{}", story(world));
}

/// Everything that happened, for the message of a failed test.
pub fn story(world: &World) -> String {
    format!("ladder:\n{}\nlog:\n{}", world.ladder.timed(), world.log.join("\n"))
}

/// Lines of the log that scripts wrote with `Logger.write("> ...")`.
pub fn said(world: &World) -> Vec<&str> {
    world.log.iter().filter_map(|line| line.strip_prefix("> ")).collect()
}

pub fn rule(script: &str) -> Vec<(String, String)> {
    vec![(".*".into(), script.into())]
}

pub fn phone(name: &str, manner: Manner) -> (String, Manner) {
    (name.into(), manner)
}

pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A phone that rings after 100 ms and picks up after 500 ms.
pub fn answers() -> Manner {
    Manner { answers_after: Some(ms(500)), ..Manner::default() }
}
