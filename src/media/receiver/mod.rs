//! What one call says, as 20 ms of samples for every tick.
//!
//! ```text
//!  push -> timeline -> packets -> decoder -> playout -> pull
//!             |           \                   ^  ^
//!           delay          gap: recover, conceal  stretch: delay against target
//! ```
//! Packets wait until the target delay has passed, are decoded in the order of their places, and
//! what is missing is made up: from the next packet where it carries the one before, by the
//! codec's concealment for up to 120 ms, by comfort noise where the sender said that it pauses,
//! and by silence otherwise. A pause is also where the delay is set anew for nothing; in between
//! whole pitch periods are left out or heard twice, which makes up for clocks that differ, too.
//!
//! Nothing is allocated per packet: all room is made when a codec is first used. At most, with the
//! decoder: 15 kB with G.711, 21 kB with G.722, 43 kB with Opus, 55 kB with L16 at 48 kHz.

use std::time::{Duration, Instant};

use super::codec::decoder::{Decoder, has_copy};
use super::codec::noise;
use super::engine::Codec;
use super::frame::{Frame, Rate};
use super::jitter::delay::{self, Delay};
use super::jitter::drift::Drift;
use super::jitter::packets::{Content, Entry, Packets};
use super::jitter::playout::{Playout, longest_packet_ms};
use super::jitter::timeline::{Found, Order, Place, Timeline};
use super::jitter::{FRAME, MS, UNITS};
use super::rtp::Header;

/// The receiving end of one call.
#[derive(Debug)]
pub struct Receiver {
    /// The zero of arrival times.
    epoch: Option<Instant>,
    packets: Packets,
    timeline: Timeline,
    delay: Delay,
    drift: Drift,
    codec: Codec,
    decoder: Decoder,
    noise: noise::Generator,
    playout: Playout,
    state: State,
    /// The place of the sample that comes after all pending ones.
    cursor: i64,
    /// Where the last packet that was decoded ends: from here to the cursor all is made up.
    floor: i64,
    /// The number of the packet that was decoded last.
    sequence: i64,
    /// That packet, or a mark behind it, said that the sender pauses.
    announced: Option<Pause>,
    /// What was concealed without a packet between.
    concealed: i64,
    /// How long the last packets had been there when they were needed.
    slack: [i64; 4],
    stretching: Stretching,
    /// When the next tick is due.
    next_pull: Option<i64>,
    last_arrival: i64,
    /// Packets in a row that are later than any network makes them.
    stale: u8,
    frame: Frame,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Packets are played as their places come.
    Flowing,
    /// The next packet waits for the target delay.
    Still(Pause),
}

/// What a pause sounds like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    Silent,
    /// As the sender described it (RFC 3389).
    Noisy,
    /// As Opus makes it up.
    Decoded,
}

/// Of the wish to be faster or slower.
#[derive(Debug, Clone, Copy, Default)]
struct Stretching {
    last: i64,
    /// Since when it could not be fulfilled.
    wanted_since: Option<i64>,
}

/// What came of the packets of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Came when their place had been played, or too long after their time.
    pub late: u64,
    /// Went because those after them left no room.
    pub early: u64,
    /// Came after their successors.
    pub reordered: u64,
    pub duplicate: u64,
    /// Were no payload of their codec, or longer than a packet may be.
    pub invalid: u64,
    /// Frames in which something was concealed, and how much in all.
    pub concealed: u64,
    pub concealed_ms: u64,
    /// Lost packets that the next one held.
    pub recovered: u64,
    /// From the fastest packet's arrival until it is heard.
    pub delay_ms: u32,
    pub most_delay_ms: u32,
    /// How much faster than ours the sender's clock is.
    pub skew_ppm: f32,
}

impl Receiver {
    /// With room for what this codec needs; another one is taken too.
    pub fn new(codec: Codec) -> Self {
        Self {
            epoch: None,
            packets: Packets::with_capacity(most_bytes(codec)),
            timeline: Timeline::default(),
            delay: Delay::default(),
            drift: Drift::default(),
            codec,
            decoder: Decoder::new(codec),
            noise: noise::Generator::new(1),
            playout: Playout::new(codec.rate()),
            state: State::Still(Pause::Silent),
            cursor: i64::MIN,
            floor: i64::MIN,
            sequence: 0,
            announced: None,
            concealed: 0,
            slack: [i64::MAX; 4],
            stretching: Stretching::default(),
            next_pull: None,
            last_arrival: 0,
            stale: 0,
            frame: Frame::silence(codec.rate()),
            counts: Counts::default(),
        }
    }

    /// What is known of the jitter when it begins in the middle of a call: mean deviation, as RFC
    /// 3550 has it.
    pub fn expect_jitter(&mut self, jitter: Duration) {
        let jitter = jitter.as_micros().min(1_000_000) as i64 * MS / 1000;
        self.delay.expect(jitter * DEVIATIONS);
    }

    /// Takes in a packet of audio.
    pub fn push(&mut self, now: Instant, codec: Codec, header: Header, payload: &[u8]) {
        let clock_rate = codec.clock_rate();
        let scale = UNITS / i64::from(clock_rate);
        let duration = codec.samples_of(payload).map(|units| i64::from(units) * scale);
        let most = longest_packet_ms(codec.rate()) as i64 * MS;
        let Some(duration) = duration.filter(|&duration| duration <= most) else {
            self.counts.invalid += 1;
            return;
        };
        let at = self.units_at(now);
        let Some(place) = self.place(at, &header, clock_rate, duration) else { return };
        self.packets.reserve(most_bytes(codec));
        let arrived = self.delay.arrive(at, at - place.position);
        if let Some((when, transit)) = arrived.ended {
            let seconds = |units: i64| units as f64 / UNITS as f64;
            self.drift.add(seconds(when), seconds(transit));
        }
        self.last_arrival = at;
        if place.order == Order::Behind {
            self.counts.reordered += 1;
        }
        let is_late = place.position < self.cursor;
        if is_late {
            self.delay.be_late(at, arrived.delay);
            if place.position + duration <= self.floor {
                self.counts.late += 1;
                return;
            }
        }
        // A copy of what is being concealed is worth waiting for the next time.
        let missed = place.order == Order::Ahead && place.position < self.cursor + duration;
        if missed && self.state == State::Flowing && has_copy(codec, payload) {
            self.delay.be_late(at, arrived.delay + duration);
        }
        let Place { position, sequence, .. } = place;
        let content = Content::Audio(codec);
        self.keep(Entry { content, position, duration, sequence, is_late }, payload);
    }

    /// Takes in a packet of comfort noise (RFC 3389): a pause, which begins after what was said
    /// before it.
    pub fn push_noise(&mut self, header: Header, payload: &[u8]) {
        if self.timeline.clock_rate().is_none() {
            self.noise.update(payload);
            self.be_still(Pause::Noisy);
        }
        self.mark(Content::Noise, &header, payload);
    }

    /// Takes note of a packet that is not heard, as a telephone-event: what is not there beside it
    /// is not missing.
    pub fn pass(&mut self, header: Header) {
        self.mark(Content::Other, &header, &[]);
    }

    /// The next 20 ms.
    pub fn pull(&mut self, now: Instant) -> &Frame {
        let at = self.units_at(now);
        self.keep_pace(at);
        self.drop_stale(at);
        let concealed = self.counts.concealed_ms;
        match self.state {
            State::Flowing => self.catch_up(at),
            State::Still(_) => self.start(at),
        }
        while self.playout.pending() < self.playout.rate().frame() {
            match self.state {
                State::Flowing => self.go_on(at),
                State::Still(pause) => self.rest(pause),
            }
        }
        if self.counts.concealed_ms > concealed {
            self.counts.concealed += 1;
        } else if self.state == State::Flowing {
            self.stretch(at);
        }
        self.measure(at);
        self.playout.take(&mut self.frame);
        &self.frame
    }

    /// What was pulled last.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Whether there is something to hear in it: what the peer says, or its noise.
    pub fn is_sounding(&self) -> bool {
        self.state != State::Still(Pause::Silent)
    }

    pub fn counts(&self) -> Counts {
        let skew_ppm = self.drift.ppm().unwrap_or(0.0) as f32;
        Counts { skew_ppm, ..self.counts }
    }

    /// Where a packet belongs; `None` for one that is there.
    fn place(&mut self, at: i64, header: &Header, clock_rate: u32, duration: i64) -> Option<Place> {
        match self.timeline.find(header, clock_rate) {
            Found::Duplicate => {
                self.counts.duplicate += 1;
                return None;
            }
            Found::At(place) if !self.is_elsewhere(at, header.marker, place, duration) => {
                self.timeline.take(header, place, duration);
                return Some(place);
            }
            // Its successors stand elsewhere by now.
            Found::At(Place { order: Order::Behind, .. }) => {
                self.counts.late += 1;
                return None;
            }
            Found::At(_) | Found::Unknown => {}
        }
        // It follows on what there is, or where a fast packet of now belongs if that is later.
        self.stale = 0;
        self.drift.restart();
        let due = at - self.delay.base().unwrap_or(at);
        let tail = self.timeline.end().max(self.floor);
        let position = if due < tail.saturating_add(SEAM) { tail } else { due };
        Some(self.timeline.anchor(header, clock_rate, position, duration))
    }

    /// The sender's clock jumped: no network makes a packet so early or so late.
    fn is_elsewhere(&mut self, at: i64, marker: bool, place: Place, duration: i64) -> bool {
        let Some(base) = self.delay.base() else { return false };
        let delay = at - place.position - base;
        if delay <= LATEST {
            self.stale = 0;
        } else if at - self.last_arrival >= duration / 2 {
            // What a network held back comes all at once.
            self.stale = self.stale.saturating_add(1);
        }
        match place.order {
            Order::Behind => !(-EARLIEST..=OUTAGE).contains(&delay),
            Order::Overlapping => true,
            Order::Contiguous => delay > LATEST && marker || self.stale >= MOST_STALE,
            Order::Apart => !(-EARLIEST_APART..=LATEST).contains(&delay),
            Order::Ahead => !(-EARLIEST..=OUTAGE).contains(&delay) || self.stale >= MOST_STALE,
        }
    }

    /// A mark behind the last packet. A mark like the last one says nothing new.
    fn mark(&mut self, content: Content, header: &Header, payload: &[u8]) {
        let before = self.timeline.highest();
        self.timeline.pass(header);
        let (position, sequence) = (self.timeline.end(), self.timeline.highest());
        let is_new = self.packets.last().is_none_or(|last| last.content != content);
        if sequence > before && is_new {
            self.keep(Entry { content, position, duration: 0, sequence, is_late: false }, payload);
        }
    }

    fn keep(&mut self, entry: Entry, payload: &[u8]) {
        let Some(dropped) = self.packets.insert(entry, payload) else {
            self.counts.duplicate += 1;
            return;
        };
        self.counts.early += dropped as u64;
        // What had no room is not waited for.
        if dropped > 0
            && self.state == State::Flowing
            && let Some(first) = self.packets.first()
            && first.position > self.cursor
        {
            self.jump(first.position);
        }
    }

    /// Ticks that were skipped: what belonged there is skipped, too.
    fn keep_pace(&mut self, at: i64) {
        let due = self.next_pull.unwrap_or(at);
        let behind = at - due;
        let is_off = behind.abs() > MOST_OFF;
        self.next_pull = Some(if is_off { at } else { due } + FRAME);
        if behind > MOST_OFF && self.state == State::Flowing {
            self.playout.clear_pending();
            self.jump(self.cursor.saturating_add(behind));
            while self.packets.first().is_some_and(|first| first.end() <= self.cursor) {
                self.packets.remove_first();
            }
        }
    }

    /// What has waited too long, after an outage, is not played with all its delay.
    fn drop_stale(&mut self, at: i64) {
        while let Some(first) = self.packets.first()
            && self.packets.second().is_some()
            && self.slack_of(at, first) > MOST_SLACK
        {
            self.packets.remove_first();
            if first.duration > 0 {
                self.counts.late += 1;
            }
            if self.state == State::Flowing && first.end() > self.cursor {
                self.jump(first.end());
            }
            self.floor = self.floor.max(first.end());
        }
    }

    /// Packets whose places are over: they go, or are played all the same with the delay that
    /// they need.
    fn catch_up(&mut self, at: i64) {
        while let Some(first) = self.packets.first()
            && first.position < self.cursor
            && first.duration > 0
        {
            let most = self.target(at) + FRAME;
            if first.is_late && first.position >= self.floor && self.slack_of(at, first) <= most {
                self.cursor = first.position;
                return;
            }
            if first.end() > self.cursor {
                return;
            }
            self.packets.remove_first();
            self.counts.late += 1;
        }
    }

    /// Begins to play when the first packet has waited for as long as the target says.
    fn start(&mut self, at: i64) {
        while let Some(first) = self.packets.first()
            && first.duration == 0
        {
            self.announce(first.content);
        }
        let Some(first) = self.packets.first() else { return };
        let slack = self.slack_of(at, first);
        if slack < self.target(at) && !self.packets.is_nearly_full() {
            return;
        }
        self.state = State::Flowing;
        self.cursor = first.position;
        self.concealed = 0;
        self.sequence = first.sequence - 1;
        self.slack = [slack; 4];
        self.stretching = Stretching { last: at, wanted_since: None };
        self.playout.cut();
    }

    /// Adds some of what comes next, or ends the flow.
    fn go_on(&mut self, at: i64) {
        match self.packets.first() {
            Some(first) if first.position <= self.cursor => self.play_first(Some(at)),
            Some(first) if first.sequence == self.sequence + 1 => self.pause_until(at, first),
            Some(first) => self.fill_gap(Some(first)),
            None => self.fill_gap(None),
        }
    }

    /// Decodes the first packet, which is due; `at` where it is needed and not taken in advance.
    fn play_first(&mut self, at: Option<i64>) {
        let Some(first) = self.packets.first() else { return };
        let Content::Audio(codec) = first.content else {
            return self.announce(first.content);
        };
        if codec != self.codec && !self.change_codec(codec) {
            return;
        }
        if let Some(at) = at {
            self.slack.rotate_right(1);
            self.slack[0] = self.slack_of(at, first);
        }
        let skip = self.samples_in(self.cursor - first.position);
        let most = self.samples_in(first.duration);
        let (decoder, payload) = (&mut self.decoder, self.packets.first_payload());
        // RFC 6716 §3.2.1: a frame without content, of which the next ones are left out.
        let is_last_word = codec == Codec::Opus && payload.len() <= 2;
        self.announced = is_last_word.then_some(Pause::Decoded);
        let mut written = 0;
        self.playout.append(most, skip, |out| {
            written = decoder.decode(payload, out);
            written
        });
        self.packets.remove_first();
        if written == 0 {
            self.counts.invalid += 1;
            return;
        }
        self.sequence = first.sequence;
        self.cursor = self.cursor.max(first.end());
        self.floor = self.cursor;
        self.concealed = 0;
    }

    /// Whether the decoder is now one for this codec. At another rate what is pending is filled
    /// up to a frame and played first.
    fn change_codec(&mut self, codec: Codec) -> bool {
        if codec.rate() != self.codec.rate() {
            let pending = self.playout.pending();
            if pending > 0 {
                let missing = self.playout.rate().frame().saturating_sub(pending);
                self.conceal(missing);
                return false;
            }
            self.playout.change_rate(codec.rate());
        }
        self.playout.cut();
        self.announced = None;
        self.decoder = Decoder::new(codec);
        self.codec = codec;
        true
    }

    /// The sender paused, or its clock was set.
    fn pause_until(&mut self, at: i64, next: Entry) {
        let gap = next.position - self.cursor;
        if self.slack_of(at, next) >= self.target(at) {
            self.jump(next.position);
        } else if gap > SEAM {
            self.pause();
        } else {
            let missing = self.playout.rate().frame().saturating_sub(self.playout.pending());
            let count = self.samples_in(gap).clamp(1, missing.max(1));
            self.playout.cut();
            self.add_silence(count);
            self.playout.cut();
            self.cursor += self.units_of(count);
        }
    }

    /// Packets are lost, or not here yet.
    fn fill_gap(&mut self, next: Option<Entry>) {
        if self.concealed >= MOST_CONCEALED || self.announced.is_some() {
            return self.pause();
        }
        if let Some(next) = next
            && self.recover(next)
        {
            return;
        }
        let count = self.samples_in(CONCEALED_AT_ONCE);
        self.conceal(count);
        self.cursor += CONCEALED_AT_ONCE;
    }

    /// Takes the packet before `next` from what `next` carries of it.
    fn recover(&mut self, next: Entry) -> bool {
        let gap = next.position - self.cursor;
        if next.content != Content::Audio(self.codec) || gap > next.duration {
            return false;
        }
        let count = self.samples_in(gap);
        let (decoder, payload) = (&mut self.decoder, self.packets.first_payload());
        let mut is_recovered = false;
        self.playout.append(count, 0, |out| {
            is_recovered = decoder.recover(payload, out);
            if is_recovered { out.len() } else { 0 }
        });
        if is_recovered {
            self.counts.recovered += 1;
            self.cursor += gap;
            self.floor = self.cursor;
        }
        is_recovered
    }

    fn conceal(&mut self, count: usize) {
        let decoder = &mut self.decoder;
        let added = self.playout.append(count, 0, |out| {
            decoder.conceal(out);
            out.len()
        });
        self.concealed += self.units_of(added);
        self.counts.concealed_ms += (self.units_of(added) / MS) as u64;
    }

    /// A mark in the flow of packets: what comes after it may be a pause.
    fn announce(&mut self, content: Content) {
        let pause = match content {
            Content::Noise => {
                self.noise.update(self.packets.first_payload());
                Pause::Noisy
            }
            Content::Other | Content::Audio(_) => Pause::Silent,
        };
        self.packets.remove_first();
        match self.state {
            State::Flowing => self.announced = Some(pause),
            State::Still(before) if before != pause => self.be_still(pause),
            State::Still(_) => {}
        }
    }

    /// Nothing comes.
    fn pause(&mut self) {
        self.be_still(self.announced.unwrap_or(Pause::Silent));
    }

    fn be_still(&mut self, pause: Pause) {
        self.state = State::Still(pause);
        self.playout.cut();
    }

    /// Fills up the frame in a pause.
    fn rest(&mut self, pause: Pause) {
        let missing = self.playout.rate().frame().saturating_sub(self.playout.pending());
        match pause {
            Pause::Silent => self.add_silence(missing),
            Pause::Noisy => {
                let noise = &mut self.noise;
                self.playout.append(missing, 0, |out| {
                    noise.fill(out);
                    out.len()
                });
            }
            Pause::Decoded => {
                let decoder = &mut self.decoder;
                let count = missing.next_multiple_of(self.playout.rate().frame() / 2);
                self.playout.append(count, 0, |out| {
                    decoder.conceal(out);
                    out.len()
                });
            }
        }
    }

    fn add_silence(&mut self, count: usize) {
        self.playout.append(count, 0, |out| out.len());
    }

    /// Goes on elsewhere.
    fn jump(&mut self, position: i64) {
        self.cursor = position;
        self.floor = self.floor.max(position);
        self.playout.cut();
    }

    /// Plays a little faster or slower, where the delay is not what it should be.
    fn stretch(&mut self, at: i64) {
        let target = self.target(at);
        let slack = self.slack.iter().copied().min().unwrap_or(target);
        let excess = slack - target;
        let interval = match excess {
            ..LEAST_SHORT => SLOWER_EACH,
            LEAST_SHORT..=MOST_EXCESS if excess > NOT_FAR => FAST_EACH,
            LEAST_SHORT..=MOST_EXCESS => FASTER_EACH,
            _ => FRAME,
        };
        if (LEAST_SHORT..=MOST_SHORT).contains(&excess) {
            self.stretching.wanted_since = None;
            return;
        }
        if at - self.stretching.last < interval {
            return;
        }
        let waited = at - *self.stretching.wanted_since.get_or_insert(at);
        let likeness = LIKENESS - LIKENESS_LOST * (waited as f32 / UNITS as f32);
        let likeness = likeness.max(LEAST_LIKENESS);
        let change = if excess > 0 {
            self.look_ahead();
            let gone = self.playout.shorten(likeness);
            -self.units_of(gone)
        } else {
            let more = self.playout.lengthen(likeness);
            self.units_of(more)
        };
        if change != 0 {
            self.stretching = Stretching { last: at, wanted_since: None };
            for slack in &mut self.slack {
                *slack += change;
            }
        }
    }

    /// Decodes as much as it takes to leave something out of it.
    fn look_ahead(&mut self) {
        while self.playout.pending() < self.playout.needed()
            && let Some(first) = self.packets.first()
            && first.content == Content::Audio(self.codec)
            && first.position <= self.cursor
            && self.samples_in(first.duration) <= self.playout.room()
        {
            self.play_first(None);
        }
    }

    fn measure(&mut self, at: i64) {
        if self.state != State::Flowing {
            return;
        }
        let Some(base) = self.delay.base() else { return };
        let heard = self.cursor - self.units_of(self.playout.pending());
        self.counts.delay_ms = u32::try_from((at - base - heard) / MS).unwrap_or(0);
        self.counts.most_delay_ms = self.counts.most_delay_ms.max(self.counts.delay_ms);
    }

    fn target(&self, at: i64) -> i64 {
        self.delay.target(at).min(most_target(self.codec))
    }

    /// How much later than a fastest packet of its place this one is played, if that is now.
    fn slack_of(&self, at: i64, entry: Entry) -> i64 {
        at - self.delay.base().unwrap_or(at) - entry.position
    }

    fn units_at(&mut self, now: Instant) -> i64 {
        let epoch = *self.epoch.get_or_insert(now);
        let passed = now.saturating_duration_since(epoch).as_nanos();
        i64::try_from(passed * UNITS as u128 / 1_000_000_000).unwrap_or(i64::MAX)
    }

    fn samples_in(&self, units: i64) -> usize {
        usize::try_from(units / self.scale()).unwrap_or(0)
    }

    fn units_of(&self, samples: usize) -> i64 {
        samples as i64 * self.scale()
    }

    fn scale(&self) -> i64 {
        UNITS / i64::from(self.playout.rate().hertz())
    }
}

/// Room for the payloads that wait: half a second, but 384 ms and 256 ms of L16 at 16 and 48 kHz;
/// of Opus at 64 kbit/s.
fn most_bytes(codec: Codec) -> usize {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Opus => 4096,
        Codec::L16(Rate::Narrow) => 8192,
        Codec::L16(Rate::Wide) => 12_288,
        Codec::L16(Rate::Full) => 24_576,
    }
}

/// What the room allows to wait, with some left for bursts.
fn most_target(codec: Codec) -> i64 {
    match codec {
        Codec::L16(Rate::Full) => 140 * MS,
        _ => delay::MOST,
    }
}

/// That cover nearly all delays.
const DEVIATIONS: i64 = 4;
/// What follows within this time follows on: two frames.
const SEAM: i64 = 2 * FRAME;
/// No network delays a packet by more than the others and delivers it still in a flow.
const LATEST: i64 = 300 * MS;
/// Before the fastest packets, of one that is the next after a pause.
const EARLIEST_APART: i64 = 60 * MS;
/// Before the fastest packets, of one after a loss.
const EARLIEST: i64 = 500 * MS;
/// For so long a network may hold packets back and then deliver them.
const OUTAGE: i64 = 5000 * MS;
/// Packets that come one by one, later than any network makes them: the sender's clock jumped.
const MOST_STALE: u8 = 3;
/// A tick may be early or late by so much.
const MOST_OFF: i64 = 2 * FRAME;
/// A packet that waited for longer than any target goes when there are others.
const MOST_SLACK: i64 = delay::MOST + 2 * FRAME;
/// After 120 ms a listener does not believe it (G.711 appendix I fades to nothing by 60 ms).
const MOST_CONCEALED: i64 = 120 * MS;
/// A multiple of Opus's 2.5 ms.
const CONCEALED_AT_ONCE: i64 = 10 * MS;

/// Below the target, of what needs to be slower.
const LEAST_SHORT: i64 = -2 * MS;
/// Above the target, of what may stay: more than a lag, so that faster is not followed by slower.
const MOST_SHORT: i64 = 20 * MS;
/// Above the target, from where on it is worth being heard.
const NOT_FAR: i64 = 60 * MS;
const MOST_EXCESS: i64 = 120 * MS;
/// Lags are heard again so often at most, while more delay is needed.
const SLOWER_EACH: i64 = 2 * FRAME;
/// Lags are left out so often at most: seldom, since delay does little harm.
const FASTER_EACH: i64 = 500 * MS;
const FAST_EACH: i64 = 100 * MS;
/// Correlation of what is faded into each other, 0 to 1; after waiting, less will do.
const LIKENESS: f32 = 0.9;
const LIKENESS_LOST: f32 = 0.2;
const LEAST_LIKENESS: f32 = 0.4;

#[cfg(test)]
mod tests;
