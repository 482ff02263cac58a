//! Wall clock for machines that know only `Instant`, and dates as the API writes them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// Which moment of the calendar an `Instant` is.
///
/// The driver reads the wall clock and sets it anew now and then, since it can be stepped.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    origin: Instant,
    origin_unix_ms: i64,
}

impl WallClock {
    /// `unix_ms` is what the wall clock shows at `now`.
    pub fn new(now: Instant, unix_ms: i64) -> Self {
        Self { origin: now, origin_unix_ms: unix_ms }
    }

    /// Unix time in milliseconds, also for an instant before the origin.
    pub fn unix_ms(&self, now: Instant) -> i64 {
        let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        match now.checked_duration_since(self.origin) {
            Some(after) => self.origin_unix_ms.saturating_add(milliseconds(after)),
            None => {
                let before = self.origin.saturating_duration_since(now);
                self.origin_unix_ms.saturating_sub(milliseconds(before))
            }
        }
    }
}

/// `YYYY-MM-DD HH:mm:ss` in UTC, the form of the Management API (reference 1.2); empty for a time
/// that has no such date.
pub fn utc(unix_ms: i64) -> String {
    civil(unix_ms).map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// `YYYY-MM-DD HH:mm:ss.SSS` in UTC, for the log.
pub fn utc_with_milliseconds(unix_ms: i64) -> String {
    let milliseconds = unix_ms.rem_euclid(1000);
    format!("{}.{milliseconds:03}", utc(unix_ms))
}

/// A UTC time as clients send it: `T` for the space, a missing time part is midnight
/// (reference 1.2). Unix time in milliseconds.
pub fn parse_utc(text: &str) -> Option<i64> {
    let time = match text.trim().split_once([' ', 'T']) {
        None => text.trim().parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
        Some((date, time)) => {
            let time = time.strip_suffix('Z').unwrap_or(time);
            date.parse::<Date>().ok()?.to_datetime(time.parse().ok()?)
        }
    };
    Some(TimeZone::UTC.to_timestamp(time).ok()?.as_millisecond())
}

fn civil(unix_ms: i64) -> Option<DateTime> {
    let timestamp = Timestamp::from_millisecond(unix_ms).ok()?;
    Some(TimeZone::UTC.to_datetime(timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_form_of_the_api() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        // Beyond 2^31 seconds.
        assert_eq!(utc(2_147_483_648_000), "2038-01-19 03:14:08");
        assert_eq!(utc_with_milliseconds(1_005), "1970-01-01 00:00:01.005");
        assert_eq!(utc(i64::MAX), "");
    }

    #[test]
    fn dates_are_read_in_every_accepted_form() {
        let noon = Some(1_795_348_800_000);
        assert_eq!(parse_utc("2026-11-22 12:00:00"), noon);
        assert_eq!(parse_utc("2026-11-22T12:00:00"), noon);
        assert_eq!(parse_utc("2026-11-22T12:00:00Z"), noon);
        assert_eq!(parse_utc("2026-11-22"), Some(1_795_305_600_000));
        for text in ["", "yesterday", "2026-13-01", "2026-11-22 25:00:00"] {
            assert_eq!(parse_utc(text), None, "{text}");
        }
    }

    #[test]
    fn instants_before_and_after_the_origin_have_their_time() {
        let origin = Instant::now() + Duration::from_secs(10);
        let clock = WallClock::new(origin, 100_000);
        assert_eq!(clock.unix_ms(origin + Duration::from_millis(250)), 100_250);
        assert_eq!(clock.unix_ms(origin - Duration::from_millis(250)), 99_750);
    }
}
