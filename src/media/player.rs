//! A player: a clip or a tone script, 20 ms at a time, heard by any number of units.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clip::Clip;
use super::codec::{g711, resample};
use super::engine::{Event, Source, UnitId};
use super::frame::{Frame, Rate};
use super::tone::Script;

/// Samples of one tick.
const FRAME: usize = Rate::Narrow.frame();

/// One pass over a sound, or many.
#[derive(Debug)]
pub struct Player {
    unit: UnitId,
    source: Source,
    looped: bool,
    paused: bool,
    state: State,
    marks: heapless::Vec<Mark, MOST_MARKS>,
    /// What this tick sounds like, where `is_sounding`.
    pub frame: Frame,
    pub is_sounding: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until the first listener, or this moment.
    Waiting(Instant),
    /// The next sample.
    Playing(u64),
    Finished,
}

#[derive(Debug)]
struct Mark {
    offset_ms: i64,
    /// In samples from the start; beyond the end it is never reached.
    place: u64,
}

impl Player {
    pub fn new(now: Instant, unit: UnitId, source: Source, looped: bool, paused: bool) -> Self {
        Self {
            unit,
            source: at_call_rate(source),
            looped,
            paused,
            state: State::Waiting(now + WAIT),
            marks: heapless::Vec::new(),
            frame: Frame::silence(Rate::Narrow),
            is_sounding: false,
        }
    }

    pub fn pause(&mut self) {
        self.paused = true;
    }

    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether there was a place for it.
    pub fn mark(&mut self, offset_ms: i64) -> bool {
        let samples = |ms: u64| ms.saturating_mul(u64::from(g711::RATE) / 1000);
        let from_end = samples(offset_ms.unsigned_abs());
        let place = match (offset_ms, self.length()) {
            (0.., _) => samples(offset_ms.unsigned_abs()),
            (_, Some(length)) => length.saturating_sub(from_end),
            // An endless tone has no end to count from.
            (_, None) => u64::MAX,
        };
        self.marks.push(Mark { offset_ms, place }).is_ok()
    }

    /// Someone listens, or nobody will: the wait is over.
    pub fn start(&mut self, now: Instant) {
        if let State::Waiting(until) = &mut self.state {
            *until = now;
        }
    }

    /// Makes the frame of this tick. `has_path`: not all who listen are calls without a media
    /// path; for those it waits, so that they hear it from its beginning.
    pub fn tick(&mut self, now: Instant, has_path: bool, mut tell: impl FnMut(Event)) {
        self.is_sounding = false;
        if self.paused {
            return;
        }
        let unit = self.unit;
        if let State::Waiting(until) = self.state {
            if now < until || !has_path {
                return;
            }
            self.state = State::Playing(0);
            let duration = self.length().map_or(Duration::ZERO, |samples| {
                Duration::from_micros(samples.saturating_mul(1_000_000 / u64::from(g711::RATE)))
            });
            tell(Event::Started { unit, duration });
        }
        let State::Playing(position) = self.state else { return };
        let length = self.length();
        if length.is_some_and(|length| position >= length && (!self.looped || length == 0)) {
            self.state = State::Finished;
            return tell(Event::Finished { unit });
        }
        self.is_sounding = true;
        self.state = State::Playing(self.fill(position, length, tell));
    }

    /// It needs ticks.
    pub fn is_running(&self) -> bool {
        !self.paused && self.state != State::Finished
    }

    /// Fills the frame from `position`; the position after it.
    fn fill(&mut self, mut position: u64, length: Option<u64>, mut tell: impl FnMut(Event)) -> u64 {
        let mut reached = [false; MOST_MARKS];
        let mut done = 0;
        while done < FRAME {
            if self.looped && length == Some(position) {
                position = 0;
            }
            let left = length.map_or(u64::MAX, |length| length - position);
            let run = left.min((FRAME - done) as u64) as usize;
            let part = &mut self.frame.samples_mut()[done..done + run];
            match &self.source {
                Source::Clip(clip) => {
                    let from = position as usize;
                    part.copy_from_slice(&clip.samples[from..from + run]);
                }
                Source::Tone(script) => script.render(position, part),
            }
            for (mark, reached) in self.marks.iter().zip(&mut reached) {
                *reached |= (position..position + run as u64).contains(&mark.place);
            }
            position += run as u64;
            done += run;
            if run == 0 {
                self.frame.samples_mut()[done..].fill(0);
                break;
            }
        }
        // A mark at the very end is reached with the last sample.
        let is_end = length == Some(position);
        for (mark, reached) in self.marks.iter().zip(reached) {
            if reached || is_end && mark.place == position {
                tell(Event::Marked { unit: self.unit, offset_ms: mark.offset_ms });
            }
        }
        position
    }

    /// Of one pass, in samples; `None` for an endless tone.
    fn length(&self) -> Option<u64> {
        match &self.source {
            Source::Clip(clip) => Some(clip.samples.len() as u64),
            Source::Tone(script) => Script::samples(script),
        }
    }
}

/// Clips come at the rate of calls from `wav`; another is converted here.
fn at_call_rate(source: Source) -> Source {
    match source {
        Source::Clip(clip) if clip.rate != g711::RATE => {
            let samples = resample::to_call_rate(&clip.samples, clip.rate);
            Source::Clip(Arc::new(Clip { rate: g711::RATE, samples }))
        }
        Source::Clip(_) | Source::Tone(_) => source,
    }
}

/// How long a player waits for its first listener (reference section 15.1).
const WAIT: Duration = Duration::from_millis(50);
/// Marks of one player. Full: the next is dropped, counted as `marks_dropped`.
const MOST_MARKS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: UnitId = UnitId(1);
    const TICK: Duration = Duration::from_millis(20);

    fn clip(samples: usize) -> Source {
        let samples = (1..=samples as i16).collect();
        Source::Clip(Arc::new(Clip { rate: 8000, samples }))
    }

    struct Run {
        player: Player,
        now: Instant,
    }

    impl Run {
        fn new(source: Source, looped: bool) -> Self {
            let now = Instant::now();
            let mut player = Player::new(now, UNIT, source, looped, false);
            player.start(now);
            Self { player, now }
        }

        fn tick(&mut self) -> Vec<Event> {
            let mut events = Vec::new();
            self.player.tick(self.now, true, |event| events.push(event));
            self.now += TICK;
            events
        }
    }

    fn started(samples: u64) -> Event {
        Event::Started { unit: UNIT, duration: Duration::from_micros(samples * 125) }
    }

    #[test]
    fn clip_plays_once_with_silence_at_its_end() {
        let mut run = Run::new(clip(200), false);
        assert_eq!(run.tick(), [started(200)]);
        assert_eq!((run.player.frame.samples()[0], run.player.frame.samples()[159]), (1, 160));
        assert_eq!(run.tick(), []);
        assert_eq!((run.player.frame.samples()[39], run.player.frame.samples()[40]), (200, 0));
        assert!(run.player.is_sounding);
        assert_eq!(run.tick(), [Event::Finished { unit: UNIT }]);
        assert!(!run.player.is_sounding);
        assert!(!run.player.is_running());
        assert_eq!(run.tick(), []);
    }

    #[test]
    fn start_waits_for_a_listener_or_50_ms() {
        let now = Instant::now();
        let mut player = Player::new(now, UNIT, clip(160), false, false);
        let mut events = Vec::new();
        player.tick(now + TICK * 2, true, |event| events.push(event));
        assert!(events.is_empty() && player.is_running());
        player.tick(now + TICK * 3, true, |event| events.push(event));
        assert_eq!(events, [started(160)]);
    }

    #[test]
    fn start_waits_for_a_path_to_its_listeners() {
        let now = Instant::now();
        let mut player = Player::new(now, UNIT, clip(160), false, false);
        player.start(now);
        player.tick(now + TICK * 10, false, |event| panic!("{event:?}"));
        let mut events = Vec::new();
        player.tick(now + TICK * 11, true, |event| events.push(event));
        assert_eq!(events, [started(160)]);
    }

    #[test]
    fn paused_player_starts_with_resume_and_goes_on_where_it_was() {
        let now = Instant::now();
        let player = Player::new(now, UNIT, clip(400), false, true);
        let mut run = Run { player, now: now + TICK * 10 };
        assert_eq!(run.tick(), []);
        run.player.resume();
        assert_eq!(run.tick(), [started(400)]);
        run.player.pause();
        assert_eq!(run.tick(), []);
        assert!(!run.player.is_sounding);
        run.player.resume();
        run.tick();
        assert_eq!(run.player.frame.samples()[0], 161);
    }

    #[test]
    fn loop_joins_without_a_gap_and_marks_fire_on_each_pass() {
        let mut run = Run::new(clip(240), true);
        assert!(run.player.mark(25));
        let marked = || vec![Event::Marked { unit: UNIT, offset_ms: 25 }];
        assert_eq!(run.tick(), [started(240)]);
        assert_eq!(run.tick(), marked());
        assert_eq!((run.player.frame.samples()[79], run.player.frame.samples()[80]), (240, 1));
        // 320 to 480: the end of the second pass, with sample 200 at 440.
        assert_eq!(run.tick(), marked());
    }

    #[test]
    fn marks_count_from_the_end_too_and_those_beyond_never_fire() {
        let mut run = Run::new(clip(480), false);
        for offset in [-20, 0, 60, 61, -1000] {
            assert!(run.player.mark(offset));
        }
        let marked = |offset_ms| Event::Marked { unit: UNIT, offset_ms };
        assert_eq!(run.tick(), [started(480), marked(0), marked(-1000)]);
        assert_eq!(run.tick(), []);
        assert_eq!(run.tick(), [marked(-20), marked(60)]);
    }

    #[test]
    fn marks_are_bounded() {
        let mut run = Run::new(clip(160), false);
        assert!((0..32).all(|n| run.player.mark(n)));
        assert!(!run.player.mark(1));
    }

    #[test]
    fn empty_and_tiny_clips_do_not_hang() {
        let mut empty = Run::new(clip(0), true);
        assert_eq!(empty.tick(), [started(0), Event::Finished { unit: UNIT }]);
        let mut tiny = Run::new(clip(1), true);
        tiny.player.mark(0);
        assert_eq!(tiny.tick(), [started(1), Event::Marked { unit: UNIT, offset_ms: 0 }]);
        assert_eq!(tiny.player.frame.samples(), [1; FRAME]);
    }

    #[test]
    fn tone_script_ends_after_its_time_and_an_endless_one_does_not() {
        let tone = |text: &str| Source::Tone(Arc::new(Script::parse(text).unwrap()));
        let mut run = Run::new(tone("1000@-10;.04(*/0/1)"), false);
        assert_eq!(run.tick(), [started(320)]);
        assert_eq!(run.tick(), []);
        assert_eq!(run.tick(), [Event::Finished { unit: UNIT }]);
        let mut run = Run::new(tone("1000@-10;*(1/1/1)"), false);
        assert_eq!(run.tick(), [started(0)]);
        run.player.mark(-10);
        for _ in 0..1000 {
            assert_eq!(run.tick(), []);
        }
    }

    #[test]
    fn clip_of_another_rate_is_converted() {
        let clip = Source::Clip(Arc::new(Clip { rate: 16_000, samples: vec![0; 640] }));
        let mut run = Run::new(clip, false);
        assert_eq!(run.tick(), [started(320)]);
    }
}
