//! What DNS answered before, for as long as it holds.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::dns::{Answer, Question, Record};
use crate::stats;

/// Answers by question.
#[derive(Debug, Default)]
pub struct Cache {
    /// At most [`MAX_ANSWERS`]; full: the one that came first goes.
    answers: HashMap<Question, Kept>,
    /// The questions in the order in which they were first answered.
    age: VecDeque<Question>,
}

#[derive(Debug)]
struct Kept {
    /// Empty: there are none.
    records: Vec<Record>,
    came: Instant,
    until: Instant,
    /// When the answer itself expired; the servers have been silent since.
    stale_since: Option<Instant>,
    has_failed: bool,
}

/// What is known of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// To be asked.
    No,
    /// Empty: there are none.
    Records(&'a [Record]),
    /// As they were; to be asked again beside their use.
    Stale(&'a [Record]),
    /// Nobody answered a moment ago.
    Failed,
}

impl Cache {
    /// What holds at a time, or came no earlier than `since`: an answer that holds for no time is
    /// good for the request that asked for it.
    pub fn get(&self, at: Instant, since: Option<Instant>, question: &Question) -> Known<'_> {
        let Some(kept) = self.answers.get(question) else { return Known::No };
        if at >= kept.until && since.is_none_or(|since| kept.came < since) {
            return match kept.stale_since {
                // Once silent, the servers are not waited for again.
                Some(stale) if at < stale + STALE => Known::Stale(&kept.records),
                _ => Known::No,
            };
        }
        match kept.has_failed {
            true => Known::Failed,
            false => Known::Records(&kept.records),
        }
    }

    /// What was known at any time.
    pub fn peek(&self, question: &Question) -> &[Record] {
        self.answers.get(question).map_or(&[], |kept| &kept.records)
    }

    /// Until when an answer holds.
    pub fn holds_until(&self, question: &Question) -> Option<Instant> {
        self.answers.get(question).map(|kept| kept.until)
    }

    pub fn put(&mut self, now: Instant, question: Question, answer: Answer) {
        let fresh = |records, until| Kept {
            records,
            came: now,
            until,
            stale_since: None,
            has_failed: false,
        };
        let kept = match answer {
            Answer::Records { records, ttl } => fresh(records, now + ttl.clamp(SHORTEST, LONGEST)),
            Answer::Nothing { ttl } => {
                fresh(Vec::new(), now + ttl.clamp(SHORTEST_NOTHING, LONGEST_NOTHING))
            }
            Answer::Failed => match self.answers.remove(&question) {
                Some(mut old) if !old.records.is_empty() && now < old.expired() + STALE => {
                    stats::DNS_STALE.add(1);
                    old.stale_since = Some(old.expired());
                    Kept { came: now, until: now + STALE_HOLDS, ..old }
                }
                _ => Kept { has_failed: true, ..fresh(Vec::new(), now + FAILURE_HOLDS) },
            },
        };
        if self.answers.insert(question.clone(), kept).is_none() && !self.age.contains(&question) {
            self.age.push_back(question);
        }
        while self.answers.len() > MAX_ANSWERS
            && let Some(oldest) = self.age.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

impl Kept {
    fn expired(&self) -> Instant {
        self.stale_since.unwrap_or(self.until)
    }
}

/// Each some hundred bytes; a dozen kilobytes where a server says as much as we keep.
const MAX_ANSWERS: usize = 128;
/// A name that changes from request to request must not be asked for as often.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Where a server says nothing of it, as dnsmasq of its own domains: a record that is made now is
/// seen in half a minute.
const SHORTEST_NOTHING: Duration = Duration::from_secs(30);
/// RFC 2308 §5: one to three hours are found sensible.
const LONGEST_NOTHING: Duration = Duration::from_secs(3600);
/// RFC 9520 §3.2: at least a second, so that silent servers are not asked by every request.
const FAILURE_HOLDS: Duration = Duration::from_secs(5);
/// RFC 8767 §5: stale records are used for one to three days ...
const STALE: Duration = Duration::from_secs(24 * 3600);
/// ... and asked for again after half a minute.
const STALE_HOLDS: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Kind;

    fn question(number: u32) -> Question {
        Question::new(&format!("h{number}.example"), Kind::A)
    }

    fn record() -> Record {
        Record::Address("192.0.2.1".parse().unwrap())
    }

    fn answer(seconds: u64) -> Answer {
        Answer::Records { records: vec![record()], ttl: Duration::from_secs(seconds) }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn answer_holds_for_its_time_to_live_within_bounds() {
        let now = Instant::now();
        for (ttl, expected) in [(0, 5), (60, 60), (7 * 86400, 86400)] {
            let mut cache = Cache::default();
            cache.put(now, question(1), answer(ttl));
            let get = |after| cache.get(now + after, None, &question(1));
            assert_eq!(get(seconds(expected - 1)), Known::Records(&[record()]), "{ttl}");
            assert_eq!(get(seconds(expected)), Known::No, "{ttl}");
            assert_eq!(cache.get(now, None, &question(2)), Known::No);
        }
    }

    #[test]
    fn negative_answer_holds_as_long_as_it_says_within_bounds() {
        let now = Instant::now();
        for (ttl, expected) in [(0, 30), (60, 60), (86400, 3600)] {
            let mut cache = Cache::default();
            cache.put(now, question(1), Answer::Nothing { ttl: seconds(ttl) });
            let get = |after| cache.get(now + after, None, &question(1));
            assert_eq!(get(seconds(expected - 1)), Known::Records(&[]), "{ttl}");
            assert_eq!(get(seconds(expected)), Known::No, "{ttl}");
        }
    }

    #[test]
    fn answer_that_expired_while_others_were_awaited_is_good_for_whom_asked() {
        let now = Instant::now();
        let mut cache = Cache::default();
        cache.put(now, question(1), answer(0));
        let later = now + seconds(9);
        assert_eq!(cache.get(later, Some(now), &question(1)), Known::Records(&[record()]));
        assert_eq!(cache.get(later, Some(later), &question(1)), Known::No);
    }

    #[test]
    fn silence_lets_an_expired_answer_hold_for_a_day() {
        let mut now = Instant::now();
        let mut cache = Cache::default();
        cache.put(now, question(1), answer(60));
        now += seconds(61);
        cache.put(now, question(1), Answer::Failed);
        assert_eq!(cache.get(now, None, &question(1)), Known::Records(&[record()]));
        now += seconds(30);
        assert_eq!(cache.get(now, None, &question(1)), Known::Stale(&[record()]));
        cache.put(now, question(1), Answer::Failed);
        assert_eq!(cache.get(now, None, &question(1)), Known::Records(&[record()]));
        now += seconds(24 * 3600);
        assert_eq!(cache.get(now, None, &question(1)), Known::No);
        cache.put(now, question(1), Answer::Failed);
        assert_eq!(cache.get(now, None, &question(1)), Known::Failed);
        // A server that speaks again is believed.
        cache.put(now, question(1), Answer::Nothing { ttl: seconds(60) });
        assert_eq!(cache.get(now, None, &question(1)), Known::Records(&[]));
    }

    #[test]
    fn silence_without_an_old_answer_is_kept_for_a_moment() {
        let now = Instant::now();
        let mut cache = Cache::default();
        cache.put(now, question(1), Answer::Failed);
        assert_eq!(cache.get(now + seconds(4), None, &question(1)), Known::Failed);
        assert_eq!(cache.get(now + seconds(5), None, &question(1)), Known::No);
    }

    #[test]
    fn answers_kept_are_bounded() {
        let now = Instant::now();
        let mut cache = Cache::default();
        for number in 0..2000 {
            cache.put(now, question(number), answer(60));
            cache.put(now, question(number), Answer::Failed);
        }
        assert_eq!((cache.answers.len(), cache.age.len()), (MAX_ANSWERS, MAX_ANSWERS));
        assert_eq!(cache.get(now, None, &question(1)), Known::No);
        assert_ne!(cache.get(now, None, &question(1999)), Known::No);
    }
}
