//! A player: clips one after the other or a tone script, 20 ms at a time, heard by any number of
//! units.
//!
//! A clip may still grow while it plays. One that has run dry is silent until there is more of it.

use std::time::{Duration, Instant};

use super::clip::Clip;
use super::engine::{Event, Source, UnitId};
use super::frame::{Frame, Rate};
use super::tone::Script;

/// One pass over a sound, or many.
#[derive(Debug)]
pub struct Player {
    unit: UnitId,
    source: Source,
    looped: bool,
    paused: bool,
    state: State,
    /// It waits for more of its clip.
    is_dry: bool,
    marks: heapless::Vec<Mark, MOST_MARKS>,
    /// What this tick sounds like, where `is_sounding`; at the rate of what plays.
    pub frame: Frame,
    pub is_sounding: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until the first listener, or this moment.
    Waiting(Instant),
    Playing(Place),
    Finished,
}

/// The next sample: which part of the source, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    part: usize,
    sample: u64,
}

#[derive(Debug)]
struct Mark {
    part: usize,
    offset_ms: i64,
}

/// What a player finds at its place.
enum Found {
    Sound(Place),
    /// Not enough yet.
    Nothing,
    End,
}

impl Player {
    pub fn new(now: Instant, unit: UnitId, source: Source, looped: bool, paused: bool) -> Self {
        Self {
            unit,
            source,
            looped,
            paused,
            state: State::Waiting(now + WAIT),
            is_dry: false,
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

    /// A mark in one part of the source. Whether there was a place for it.
    pub fn mark(&mut self, part: usize, offset_ms: i64) -> bool {
        self.marks.push(Mark { part, offset_ms }).is_ok()
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
            self.state = State::Playing(Place { part: 0, sample: 0 });
            tell(Event::Started { unit, duration: self.duration() });
        }
        let State::Playing(place) = self.state else { return };
        match self.find(place) {
            Found::Sound(place) => {
                self.is_dry = false;
                self.is_sounding = true;
                self.state = State::Playing(self.fill(place, tell));
            }
            Found::Nothing => {
                if !std::mem::replace(&mut self.is_dry, true) {
                    tell(Event::Buffering { unit });
                }
            }
            Found::End => {
                self.state = State::Finished;
                tell(Event::Finished { unit });
            }
        }
    }

    /// It needs ticks.
    pub fn is_running(&self) -> bool {
        !self.paused && self.state != State::Finished
    }

    /// Where the next sample is, if it is at the end of a part: past parts without any.
    fn find(&self, mut place: Place) -> Found {
        for _ in 0..=self.parts() {
            let is_over = match self.part(place.part) {
                Part::Nothing => true,
                Part::Clip(clip) => {
                    // Asked first: what is there counts only when it is asked for after this.
                    let has_ended = clip.has_ended();
                    let left = (clip.len() as u64).saturating_sub(place.sample);
                    let enough = match self.is_dry {
                        true => u64::from(clip.rate().hertz()) * REFILL_MS / 1000,
                        false => clip.rate().frame() as u64,
                    };
                    if !has_ended && left < enough {
                        return Found::Nothing;
                    }
                    left == 0
                }
                Part::Tone(script) => script.samples().is_some_and(|end| place.sample >= end),
            };
            if !is_over {
                return Found::Sound(place);
            }
            match self.after(place.part) {
                Some(part) => place = Place { part, sample: 0 },
                None => return Found::End,
            }
        }
        Found::End
    }

    /// Fills the frame from a place on; the place after it. Parts of one rate follow each other
    /// without a gap; one of another rate begins with the next frame.
    fn fill(&mut self, mut place: Place, mut tell: impl FnMut(Event)) -> Place {
        let rate = self.part(place.part).rate();
        let mut frame = Frame::silence(rate);
        let out = frame.samples_mut();
        let mut reached = [false; MOST_MARKS];
        let mut done = 0;
        // Parts without a sample, so that a loop of nothing but those ends.
        let mut empty = 0;
        loop {
            let part = self.part(place.part);
            let rest = out.get_mut(done..).unwrap_or_default();
            let (end, run) = match part {
                Part::Nothing => (Some(0), 0),
                Part::Clip(clip) => {
                    let end = clip.has_ended().then(|| clip.len() as u64);
                    (end, clip.read(place.sample as usize, rest))
                }
                Part::Tone(script) => {
                    let end = script.samples();
                    let left = end.map_or(u64::MAX, |end| end - place.sample);
                    let run = left.min(rest.len() as u64) as usize;
                    script.render(place.sample, rest.get_mut(..run).unwrap_or_default());
                    (end, run)
                }
            };
            let after = place.sample + run as u64;
            let is_end = end == Some(after);
            for (mark, reached) in self.marks.iter().zip(&mut reached) {
                if mark.part == place.part
                    && let Some(at) = mark.sample(part)
                {
                    // A mark at the very end is reached with the last sample.
                    *reached |= (place.sample..after).contains(&at) || is_end && at == after;
                }
            }
            place.sample = after;
            done += run;
            empty = if run == 0 { empty + 1 } else { 0 };
            if done == rate.frame() || !is_end || empty > self.parts() {
                break;
            }
            match self.after(place.part) {
                Some(next) if self.part(next).rate() == rate => {
                    place = Place { part: next, sample: 0 };
                }
                Some(_) | None => break,
            }
        }
        self.frame = frame;
        for (mark, reached) in self.marks.iter().zip(reached) {
            if reached {
                tell(Event::Marked { unit: self.unit, offset_ms: mark.offset_ms });
            }
        }
        place
    }

    fn parts(&self) -> usize {
        match &self.source {
            Source::Sequence(clips) => clips.len(),
            Source::Clip(_) | Source::Tone(_) => 1,
        }
    }

    fn part(&self, part: usize) -> Part<'_> {
        match &self.source {
            Source::Clip(clip) => Part::Clip(clip),
            Source::Sequence(clips) => clips.get(part).map_or(Part::Nothing, |c| Part::Clip(c)),
            Source::Tone(script) => Part::Tone(script),
        }
    }

    fn after(&self, part: usize) -> Option<usize> {
        if part + 1 < self.parts() {
            return Some(part + 1);
        }
        let is_cut_off = matches!(self.part(part), Part::Clip(clip) if clip.error().is_some());
        (self.looped && !is_cut_off).then_some(0)
    }

    /// Of one pass; zero where nobody knows, and for an endless tone.
    fn duration(&self) -> Duration {
        let parts = (0..self.parts()).map(|part| self.part(part).duration());
        parts.sum::<Option<Duration>>().unwrap_or_default()
    }
}

impl Mark {
    /// Where it is; beyond the end it is never reached, and an endless part has no end to count
    /// from.
    fn sample(&self, part: Part<'_>) -> Option<u64> {
        let samples = self.offset_ms.unsigned_abs().saturating_mul(part.rate().hertz().into());
        match self.offset_ms {
            0.. => Some(samples / 1000),
            _ => Some(part.total()?.saturating_sub(samples / 1000)),
        }
    }
}

/// What plays without a seam.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// Of a sequence without any.
    Nothing,
    Clip(&'a Clip),
    Tone(&'a Script),
}

impl Part<'_> {
    fn rate(self) -> Rate {
        match self {
            Self::Clip(clip) => clip.rate(),
            Self::Nothing | Self::Tone(_) => Rate::Narrow,
        }
    }

    /// In samples, as far as it is known; `None` for an endless tone.
    fn total(self) -> Option<u64> {
        match self {
            Self::Nothing => Some(0),
            Self::Clip(clip) => clip.total().map(|samples| samples as u64),
            Self::Tone(script) => script.samples(),
        }
    }

    fn duration(self) -> Option<Duration> {
        match self {
            Self::Nothing => Some(Duration::ZERO),
            Self::Clip(clip) => clip.duration(),
            Self::Tone(script) => script.duration(),
        }
    }
}

/// How long a player waits for its first listener (reference section 15.1).
const WAIT: Duration = Duration::from_millis(50);
/// What a clip that has run dry must have gathered before it goes on, so that it does not stutter.
const REFILL_MS: u64 = 200;
/// Marks of one player. Full: the next is dropped, counted as `marks_dropped`.
const MOST_MARKS: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const UNIT: UnitId = UnitId(1);
    const TICK: Duration = Duration::from_millis(20);
    const FRAME: usize = 160;

    /// 1, 2, 3 and so on.
    fn clip(samples: usize) -> Source {
        clip_at(Rate::Narrow, samples)
    }

    fn clip_at(rate: Rate, samples: usize) -> Source {
        let samples: Vec<i16> = (1..=samples as i16).collect();
        Source::Clip(Arc::new(Clip::whole(rate, &samples)))
    }

    fn sequence(clips: &[&Arc<Clip>]) -> Source {
        Source::Sequence(clips.iter().map(|&clip| clip.clone()).collect())
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

        fn samples(&self) -> &[i16] {
            self.player.frame.samples()
        }
    }

    fn started(samples: u64) -> Event {
        Event::Started { unit: UNIT, duration: Duration::from_micros(samples * 125) }
    }

    const FINISHED: Event = Event::Finished { unit: UNIT };
    const BUFFERING: Event = Event::Buffering { unit: UNIT };

    #[test]
    fn clip_plays_once_with_silence_at_its_end() {
        let mut run = Run::new(clip(200), false);
        assert_eq!(run.tick(), [started(200)]);
        assert_eq!((run.samples()[0], run.samples()[159]), (1, 160));
        assert_eq!(run.tick(), []);
        assert_eq!((run.samples()[39], run.samples()[40]), (200, 0));
        assert!(run.player.is_sounding);
        assert_eq!(run.tick(), [FINISHED]);
        assert!(!run.player.is_sounding);
        assert!(!run.player.is_running());
        assert_eq!(run.tick(), []);
    }

    #[test]
    fn frames_have_the_rate_of_the_clip() {
        for (rate, length) in [(Rate::Narrow, 160), (Rate::Wide, 320), (Rate::Full, 960)] {
            let mut run = Run::new(clip_at(rate, 3 * length), false);
            let duration = Duration::from_millis(60);
            assert_eq!(run.tick(), [Event::Started { unit: UNIT, duration }]);
            assert_eq!((run.player.frame.rate(), run.samples().len()), (rate, length));
            run.tick();
            run.tick();
            assert_eq!(run.samples()[length - 1], 3 * length as i16);
            assert_eq!(run.tick(), [FINISHED]);
        }
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
        assert_eq!(run.samples()[0], 161);
    }

    #[test]
    fn loop_joins_without_a_gap_and_marks_fire_on_each_pass() {
        let mut run = Run::new(clip(240), true);
        assert!(run.player.mark(0, 25));
        let marked = || vec![Event::Marked { unit: UNIT, offset_ms: 25 }];
        assert_eq!(run.tick(), [started(240)]);
        assert_eq!(run.tick(), marked());
        assert_eq!((run.samples()[79], run.samples()[80]), (240, 1));
        // 320 to 480: the end of the second pass, with sample 200 at 440.
        assert_eq!(run.tick(), marked());
    }

    #[test]
    fn marks_count_from_the_end_too_and_those_beyond_never_fire() {
        let mut run = Run::new(clip(480), false);
        for offset in [-20, 0, 60, 61, -1000] {
            assert!(run.player.mark(0, offset));
        }
        let marked = |offset_ms| Event::Marked { unit: UNIT, offset_ms };
        assert_eq!(run.tick(), [started(480), marked(0), marked(-1000)]);
        assert_eq!(run.tick(), []);
        assert_eq!(run.tick(), [marked(-20), marked(60)]);
    }

    #[test]
    fn marks_are_bounded() {
        let mut run = Run::new(clip(160), false);
        assert!((0..32).all(|n| run.player.mark(0, n)));
        assert!(!run.player.mark(0, 1));
    }

    #[test]
    fn empty_and_tiny_clips_do_not_hang() {
        let mut empty = Run::new(clip(0), true);
        assert_eq!(empty.tick(), [started(0), FINISHED]);
        let mut tiny = Run::new(clip(1), true);
        tiny.player.mark(0, 0);
        assert_eq!(tiny.tick(), [started(1), Event::Marked { unit: UNIT, offset_ms: 0 }]);
        assert_eq!(tiny.samples(), [1; FRAME]);
        for looped in [false, true] {
            assert_eq!(Run::new(sequence(&[]), looped).tick(), [started(0), FINISHED]);
            let nothing = Arc::new(Clip::whole(Rate::Narrow, &[]));
            let mut run = Run::new(sequence(&[&nothing, &nothing]), looped);
            assert_eq!(run.tick(), [started(0), FINISHED]);
        }
    }

    #[test]
    fn tone_script_ends_after_its_time_and_an_endless_one_does_not() {
        let tone = |text: &str| Source::Tone(Arc::new(Script::parse(text).unwrap()));
        let mut run = Run::new(tone("1000@-10;.04(*/0/1)"), false);
        assert_eq!(run.tick(), [started(320)]);
        assert_eq!(run.tick(), []);
        assert_eq!(run.tick(), [FINISHED]);
        let mut run = Run::new(tone("1000@-10;*(1/1/1)"), false);
        assert_eq!(run.tick(), [started(0)]);
        run.player.mark(0, -10);
        for _ in 0..1000 {
            assert_eq!(run.tick(), []);
        }
    }

    #[test]
    fn parts_of_a_sequence_follow_each_other_in_the_middle_of_a_frame() {
        // One sine in three pieces: the phase goes on across the seams.
        let sine: Vec<i16> =
            (0..800).map(|n| (10_000.0 * (f64::from(n) * 0.3).sin()).round() as i16).collect();
        let part = |from, to| Arc::new(Clip::whole(Rate::Narrow, &sine[from..to]));
        let nothing = part(0, 0);
        let parts = [&part(0, 250), &nothing, &part(250, 251), &part(251, 800)];
        let mut run = Run::new(sequence(&parts), false);
        run.player.mark(3, 0);
        run.player.mark(3, -1);
        run.player.mark(9, 0);
        assert_eq!(run.tick(), [started(800)]);
        let mut heard = run.samples().to_vec();
        assert_eq!(run.tick(), [Event::Marked { unit: UNIT, offset_ms: 0 }]);
        heard.extend(run.samples());
        for marks in [0, 0, 1] {
            assert_eq!(run.tick().len(), marks);
            heard.extend(run.samples());
        }
        assert_eq!(heard, sine);
        assert_eq!(run.tick(), [FINISHED]);
    }

    #[test]
    fn part_of_another_rate_begins_with_the_next_frame() {
        let narrow = Arc::new(Clip::whole(Rate::Narrow, &[1; 170]));
        let wide = Arc::new(Clip::whole(Rate::Wide, &[2; 640]));
        let mut run = Run::new(sequence(&[&narrow, &wide]), false);
        run.tick();
        run.tick();
        assert_eq!((run.samples()[9], run.samples()[10]), (1, 0));
        run.tick();
        assert_eq!(run.samples(), [2; 320]);
        run.tick();
        assert_eq!(run.tick(), [FINISHED]);
    }

    #[test]
    fn clip_that_runs_dry_is_silent_until_there_is_enough_of_it_again() {
        let (clip, mut writer) = Clip::growing(Rate::Narrow, None, 10_000);
        let samples: Vec<i16> = (1..=10_000).map(|n| n as i16).collect();
        writer.append(&samples[..200]);
        let mut run = Run::new(Source::Clip(clip), false);
        assert_eq!(run.tick(), [started(0)]);
        assert_eq!(run.tick(), [BUFFERING]);
        assert!(!run.player.is_sounding && run.player.is_running());
        writer.append(&samples[200..1759]);
        assert_eq!(run.tick(), []);
        assert!(!run.player.is_sounding);
        writer.append(&samples[1759..1760]);
        assert_eq!(run.tick(), []);
        assert!(run.player.is_sounding);
        assert_eq!(run.samples(), &samples[160..320]);
        writer.finish(Ok(()));
        for _ in 0..9 {
            assert_eq!(run.tick(), []);
        }
        assert_eq!(run.tick(), [FINISHED]);
    }

    #[test]
    fn clip_that_is_cut_off_ends_a_loop_too() {
        let (clip, mut writer) = Clip::growing(Rate::Narrow, Some(320), 320);
        writer.append(&[1; 100]);
        drop(writer);
        let mut run = Run::new(Source::Clip(clip), true);
        assert_eq!(run.tick(), [started(100)]);
        assert_eq!((run.samples()[99], run.samples()[100]), (1, 0));
        assert_eq!(run.tick(), [FINISHED]);
    }

    #[test]
    fn marks_of_a_growing_clip_count_from_the_end_that_is_expected() {
        let (clip, mut writer) = Clip::growing(Rate::Narrow, Some(480), 480);
        writer.append(&[1; 480]);
        let mut run = Run::new(Source::Clip(clip), false);
        run.player.mark(0, -30);
        assert_eq!(run.tick(), [started(480)]);
        assert_eq!(run.tick(), [Event::Marked { unit: UNIT, offset_ms: -30 }]);
    }
}
