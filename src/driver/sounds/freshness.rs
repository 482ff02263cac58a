//! How long a sound from the web is the same: what of HTTP caching (RFC 9111) is of use here.
//!
//! The cloud keeps a sound for two weeks and never asks (VoxEngine reference, section 1.6). So do
//! we where the server gives us nothing to ask with; where it does, we ask again after a minute.

use std::time::{Duration, Instant};

use super::cache::LIFE;

/// Until when a sound is played without asking, and what to ask with then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    pub until: Instant,
    pub validator: Option<Validator>,
}

/// What a server knows a version by (RFC 9110 §8.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    pub etag: Option<String>,
    pub modified: Option<String>,
}

impl Freshness {
    /// What an answer's headers say. `None`: it must not be kept.
    pub fn of(now: Instant, headers: &[(String, String)]) -> Option<Self> {
        let value = |name: &str| {
            let is_named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
            headers.iter().find(is_named).map(|(_, value)| value.trim().to_owned())
        };
        let validator = Validator { etag: value("etag"), modified: value("last-modified") };
        let validator = Some(validator).filter(|v| v.etag.is_some() || v.modified.is_some());
        let mut life = if validator.is_some() { UNASKED } else { LIFE };
        let control = value("cache-control").unwrap_or_default().to_ascii_lowercase();
        for directive in control.split(',').map(str::trim) {
            match directive.split_once('=') {
                None if directive == "no-store" => return None,
                None if directive == "no-cache" => life = Duration::ZERO,
                Some(("max-age", seconds)) => {
                    // RFC 9111 §4.2.1: what is no number is stale.
                    let seconds = seconds.trim_matches('"').parse().unwrap_or(0);
                    life = Duration::from_secs(seconds).min(LIFE);
                }
                _ => {}
            }
        }
        Some(Self { until: now + life, validator })
    }
}

impl Validator {
    /// The conditions of the next request (RFC 9110 §13.1).
    pub fn conditions(&self) -> impl Iterator<Item = (String, String)> {
        let etag = self.etag.clone().map(|etag| ("If-None-Match".to_owned(), etag));
        let modified = self.modified.clone().map(|date| ("If-Modified-Since".to_owned(), date));
        etag.into_iter().chain(modified)
    }
}

/// A sound that is asked for many times in a minute is the same for all who ask.
pub const UNASKED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn life(headers: &[(&str, &str)]) -> Option<u64> {
        let now = Instant::now();
        let own = |text: &str| text.to_owned();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (own(name), own(value))).collect();
        Freshness::of(now, &headers).map(|freshness| (freshness.until - now).as_secs())
    }

    #[test]
    fn headers_say_how_long_a_sound_is_fresh() {
        assert_eq!(life(&[]), Some(14 * 24 * 60 * 60));
        assert_eq!(life(&[("ETag", "\"a\"")]), Some(60));
        assert_eq!(life(&[("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(60));
        assert_eq!(life(&[("cache-control", "public, max-age=600")]), Some(600));
        assert_eq!(life(&[("Cache-Control", "MAX-AGE=99999999"), ("ETag", "1")]), Some(1_209_600));
        assert_eq!(life(&[("Cache-Control", "max-age=soon")]), Some(0));
        assert_eq!(life(&[("Cache-Control", "no-cache"), ("ETag", "1")]), Some(0));
        assert_eq!(life(&[("Cache-Control", "private, no-store")]), None);
    }

    #[test]
    fn conditions_repeat_what_the_server_said() {
        let validator = Validator { etag: Some("W/\"1\"".into()), modified: Some("then".into()) };
        let conditions: Vec<_> = validator.conditions().collect();
        let expected = [("If-None-Match", "W/\"1\""), ("If-Modified-Since", "then")];
        assert_eq!(conditions, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
