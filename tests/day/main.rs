//! A day of the media engine in virtual time, by seed: calls of every codec come and go, are
//! joined and joined again, held, moved, replaced, recorded, played to and put into conferences;
//! their peers begin anew, press keys, and are far away.
//!
//! Each hour begins with some seconds of audio, in which all of that happens; over its rest a few
//! calls stand and nobody speaks. `DAY_SECONDS_OF_AUDIO=3600` makes it a day of audio throughout.

mod allocator;
mod day;
mod peer;

use std::time::Duration;

use allocator::live_bytes;
use day::Day;

#[test]
fn nothing_is_lost_or_leaked_in_a_day() {
    let seconds = std::env::var("DAY_SECONDS_OF_AUDIO").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(SECONDS_OF_AUDIO);
    let mut day = Day::new(1);
    let mut live = Vec::new();
    for _ in 0..24 {
        day.live_for(Duration::from_secs(seconds));
        day.rest_for(Duration::from_secs(3600u64.saturating_sub(seconds)));
        day.close_all();
        // The pair that talks all day.
        assert_eq!((day.usage().units, day.usage().sockets), (2, 2));
        live.push(live_bytes());
    }
    // What the second hour had, the last one has, but for buffers that are used again and had more
    // to hold at once.
    assert!(live[23] <= live[1] + 32 * 1024, "{live:?}");
    day.end();
}

#[test]
fn same_seed_is_the_same_hour() {
    let hour = |seed| {
        let mut day = Day::new(seed);
        day.live_for(Duration::from_secs(10));
        day.end()
    };
    assert_eq!(hour(7), hour(7));
    assert_ne!(hour(7), hour(8));
}

#[test]
fn engine_gives_back_all_its_memory() {
    let before = live_bytes();
    let mut day = Day::new(3);
    day.live_for(Duration::from_secs(10));
    drop(day);
    assert_eq!(live_bytes(), before);
}

/// Of each hour.
const SECONDS_OF_AUDIO: u64 = 8;
