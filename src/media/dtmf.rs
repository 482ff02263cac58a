//! Digits: telephone-events in and out (RFC 4733), and each key press once whatever ways it came.

use std::time::{Duration, Instant};

use heapless::Deque;

use super::engine::DigitSource;
use super::frame::Rate;

/// The payload of a telephone-event packet (RFC 4733 §2.3).
///
/// ```text
/// |     event     |E|R| volume    |          duration             |
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    pub event: u8,
    pub is_end: bool,
    /// dBm0 with the sign dropped.
    pub volume: u8,
    /// At 8000 Hz, whatever clock the peers count with.
    pub duration: u32,
}

impl TelephoneEvent {
    /// The clock is that of the payload type.
    pub fn parse(payload: &[u8], clock: Rate) -> Option<Self> {
        let bytes: &[u8; 4] = payload.first_chunk()?;
        let units = u32::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        Some(Self {
            event: bytes[0],
            is_end: bytes[1] & 0x80 != 0,
            volume: bytes[1] & 0x3f,
            duration: units * Rate::Narrow.hertz() / clock.hertz(),
        })
    }

    /// A press that is longer than the field can say has its greatest number (1.4 s at 48,000 Hz).
    pub fn to_bytes(self, clock: Rate) -> [u8; 4] {
        let units = self.duration.saturating_mul(clock.hertz() / Rate::Narrow.hertz());
        let [.., high, low] = units.min(u16::MAX.into()).to_be_bytes();
        let end = if self.is_end { 0x80 } else { 0 };
        [self.event, end | self.volume & 0x3f, high, low]
    }

    /// RFC 4733 table 7: `0-9 * # A-D`; flash and other events are no digits.
    pub fn digit(self) -> Option<char> {
        DIGITS.get(usize::from(self.event)).map(|&byte| char::from(byte))
    }
}

/// The event number of a digit.
pub fn event_of(digit: char) -> Option<u8> {
    DIGITS.iter().position(|&byte| char::from(byte) == digit).map(|place| place as u8)
}

/// Tells key presses apart in the packets of one source.
#[derive(Debug, Default)]
pub struct EventReceiver {
    last: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    event: u8,
    timestamp: u32,
    duration: u32,
    has_ended: bool,
}

/// What a packet of an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    Begins,
    /// More of the press that began.
    Goes,
    /// Of a press that is over.
    Old,
}

impl EventReceiver {
    /// A press is a timestamp (§2.5.1.2): packets lost, repeated or out of order do not matter.
    /// `clock` is that of the timestamps, which is the audio's.
    pub fn receive(
        &mut self,
        event: TelephoneEvent,
        timestamp: u32,
        clock: u32,
        marker: bool,
    ) -> Press {
        let press = match &mut self.last {
            None => Press::Begins,
            Some(last) => {
                let later = i64::from(timestamp.wrapping_sub(last.timestamp) as i32)
                    * i64::from(Rate::Narrow.hertz())
                    / i64::from(clock);
                // §2.5.1.3: an event too long for its duration field goes on in a segment with a
                // new timestamp; some peers count the timestamp on with every packet. Neither
                // sets the marker, and a real press comes at least 40 ms after the last one.
                let continues = later > 0
                    && event.event == last.event
                    && !last.has_ended
                    && !marker
                    && later <= i64::from(last.duration) + LEAST_PAUSE;
                match later {
                    ..0 => Press::Old,
                    0 => Press::Goes,
                    _ if continues => Press::Goes,
                    _ => Press::Begins,
                }
            }
        };
        match (press, &mut self.last) {
            (Press::Old, _) => {}
            (Press::Goes, Some(last)) if last.timestamp == timestamp => {
                last.duration = last.duration.max(event.duration);
                last.has_ended |= event.is_end;
            }
            _ => {
                self.last = Some(Seen {
                    event: event.event,
                    timestamp,
                    duration: event.duration,
                    has_ended: event.is_end,
                });
            }
        }
        press
    }
}

/// Key presses of the last moments, so that one that came in two ways is reported once.
#[derive(Debug, Default)]
pub struct Presses {
    recent: Deque<Recent, MOST_RECENT>,
}

#[derive(Debug)]
struct Recent {
    digit: char,
    /// Bits of the sources it came from.
    sources: u8,
    /// When it was last heard.
    at: Instant,
}

impl Presses {
    /// Whether this is a key press that was not reported yet.
    pub fn is_new(&mut self, now: Instant, digit: char, source: DigitSource) -> bool {
        let bit = bit(source);
        let is_recent = |press: &Recent| now.saturating_duration_since(press.at) <= WINDOW;
        let mut alike = self.recent.iter_mut().filter(|p| p.digit == digit && is_recent(p));
        let twin = alike.find(|press| press.sources & bit == 0);
        if let Some(twin) = twin {
            twin.sources |= bit;
            return false;
        }
        if self.recent.is_full() {
            self.recent.pop_front();
        }
        let press = Recent { digit, sources: bit, at: now };
        self.recent.push_back(press).expect("a place is free: the oldest was taken out");
        true
    }

    /// The last press from this source goes on: its twins may come later.
    pub fn goes_on(&mut self, now: Instant, digit: char, source: DigitSource) {
        let bit = bit(source);
        let last = self.recent.iter_mut().rev().find(|p| p.digit == digit && p.sources & bit != 0);
        match last {
            Some(press) => press.at = now,
            None => {
                // It lasts longer than the window: what comes now is still the same press.
                if !self.recent.is_full() {
                    let press = Recent { digit, sources: bit, at: now };
                    self.recent.push_back(press).expect("the line above saw a free place");
                }
            }
        }
    }
}

fn bit(source: DigitSource) -> u8 {
    match source {
        DigitSource::TelephoneEvent => 1,
        DigitSource::InBand => 2,
        DigitSource::Info => 4,
    }
}

/// Digits to send, in steps of 20 ms.
#[derive(Debug, Default)]
pub struct Keypad {
    queue: Deque<char, MOST_DIGITS>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// `ticks` of the tone were sent.
    Tone {
        digit: char,
        ticks: u32,
    },
    /// `ticks` since the tone ended.
    Gap {
        digit: char,
        ticks: u32,
    },
    Pause {
        ticks: u32,
    },
}

/// What a call stream does in this tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do with digits.
    Rest,
    /// The key is down; `ticks` of it before this one.
    Tone { digit: char, ticks: u32 },
    /// The key is up again: one of the three packets that say so, audio goes on beside it.
    End { digit: char, repeat: u32 },
}

impl Keypad {
    /// Adds what `sendDigits` may contain; how many found no place.
    pub fn press(&mut self, digits: &str) -> usize {
        let known = digits.chars().map(|digit| digit.to_ascii_uppercase());
        let known = known.filter(|digit| *digit == 'P' || event_of(*digit).is_some());
        known.filter(|digit| self.queue.push_back(*digit).is_err()).count()
    }

    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty() || !matches!(self.state, State::Idle)
    }

    /// The key is down: what others say waits.
    pub fn is_down(&self) -> bool {
        matches!(self.state, State::Tone { .. })
    }

    pub fn step(&mut self) -> Step {
        match self.state {
            State::Tone { digit, ticks } if ticks < TONE_TICKS => {
                self.state = State::Tone { digit, ticks: ticks + 1 };
                Step::Tone { digit, ticks }
            }
            State::Tone { digit, .. } => {
                self.state = State::Gap { digit, ticks: 1 };
                Step::End { digit, repeat: 0 }
            }
            State::Gap { digit, ticks } if ticks < GAP_TICKS => {
                self.state = State::Gap { digit, ticks: ticks + 1 };
                if ticks < END_PACKETS { Step::End { digit, repeat: ticks } } else { Step::Rest }
            }
            State::Pause { ticks } if ticks < PAUSE_TICKS => {
                self.state = State::Pause { ticks: ticks + 1 };
                Step::Rest
            }
            State::Idle | State::Gap { .. } | State::Pause { .. } => self.begin(),
        }
    }

    fn begin(&mut self) -> Step {
        match self.queue.pop_front() {
            None => {
                self.state = State::Idle;
                Step::Rest
            }
            Some('P') => {
                self.state = State::Pause { ticks: 1 };
                Step::Rest
            }
            Some(digit) => {
                self.state = State::Tone { digit, ticks: 1 };
                Step::Tone { digit, ticks: 0 }
            }
        }
    }
}

/// Frequencies of a digit in hertz, low and high group (ITU-T Q.23).
pub fn frequencies(digit: char) -> Option<(f64, f64)> {
    let place = KEYS.iter().position(|&key| char::from(key) == digit)?;
    Some((LOW[place / 4], HIGH[place % 4]))
}

const DIGITS: &[u8; 16] = b"0123456789*#ABCD";
/// The keys as they lie: a row per low frequency.
pub const KEYS: &[u8; 16] = b"123A456B789C*0#D";
pub const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
pub const HIGH: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// ITU-T Q.24 table A-1: pauses of 40 ms and more are pauses.
const LEAST_PAUSE: i64 = 320;
/// How long after a press the same may come from another source: an INFO over UDP that is sent
/// again after T1 (500 ms), and a little.
const WINDOW: Duration = Duration::from_millis(700);
/// More keys than a hand presses within the window; then the oldest is forgotten.
const MOST_RECENT: usize = 8;
/// Digits waiting to be sent on one call: a card number and a PIN several times over. Full: the
/// rest is dropped, counted as `dtmf_dropped`.
const MOST_DIGITS: usize = 64;
/// 100 ms of tone and 100 ms of pause (reference section 9), in ticks of 20 ms.
pub const TONE_TICKS: u32 = 5;
const GAP_TICKS: u32 = 5;
/// `p` is a second.
const PAUSE_TICKS: u32 = 50;
/// RFC 4733 §2.5.1.4: the last packet of an event is sent three times.
const END_PACKETS: u32 = 3;
/// -10 dBm0, as the example of RFC 4733 §5 has it.
pub const VOLUME: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: u8, is_end: bool, duration: u32) -> TelephoneEvent {
        TelephoneEvent { event, is_end, volume: 7, duration }
    }

    #[test]
    fn rfc4733_section_5_payloads_of_911() {
        // Table 6: the digit 9 after 50 ms at volume 7, then the last packet of a 1.
        let nine = TelephoneEvent::parse(&[9, 7, 0x01, 0x90], Rate::Narrow).unwrap();
        assert_eq!(nine, event(9, false, 400));
        assert_eq!(nine.digit(), Some('9'));
        let one = event(1, true, 1760);
        assert_eq!(one.to_bytes(Rate::Narrow), [1, 0x87, 0x06, 0xe0]);
        assert_eq!(TelephoneEvent::parse(&one.to_bytes(Rate::Narrow), Rate::Narrow), Some(one));
        assert_eq!(TelephoneEvent::parse(&[1, 2, 3], Rate::Narrow), None);
        // Flash (16) is no digit.
        assert_eq!(event(16, false, 0).digit(), None);
        assert_eq!(event(11, false, 0).digit(), Some('#'));
        assert_eq!(event_of('D'), Some(15));
    }

    /// RFC 4733 §2.1 and §2.3.5: 100 ms are 4800 units of 48,000 Hz and 800 of 8000.
    #[test]
    fn durations_count_in_the_clock_of_their_payload_type() {
        let [high, low] = 4800u16.to_be_bytes();
        let full = TelephoneEvent::parse(&[5, 0x87, high, low], Rate::Full).unwrap();
        assert_eq!(full, event(5, true, 800));
        assert_eq!(full.to_bytes(Rate::Narrow), [5, 0x87, 0x03, 0x20]);
        assert_eq!(full.to_bytes(Rate::Full), [5, 0x87, high, low]);
        // 2 s do not fit.
        assert_eq!(event(5, false, 16_000).to_bytes(Rate::Full), [5, 7, 0xff, 0xff]);
        // A second segment beside Opus (§2.5.1.3): 60,000 units later than the first.
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.receive(event(5, false, 10_000), 0, 48_000, true), Press::Begins);
        assert_eq!(receiver.receive(event(5, false, 160), 60_000, 48_000, false), Press::Goes);
        assert_eq!(receiver.receive(event(5, false, 160), 130_000, 48_000, false), Press::Begins);
    }

    #[test]
    fn press_is_reported_once_however_its_packets_come() {
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.receive(event(5, false, 160), 1000, 8000, true), Press::Begins);
        assert_eq!(receiver.receive(event(5, false, 480), 1000, 8000, false), Press::Goes);
        assert_eq!(receiver.receive(event(5, false, 320), 1000, 8000, false), Press::Goes);
        for _ in 0..3 {
            assert_eq!(receiver.receive(event(5, true, 800), 1000, 8000, false), Press::Goes);
        }
        // The same key again, its first packet lost, and a stray end of the one before.
        assert_eq!(receiver.receive(event(5, false, 320), 2600, 8000, false), Press::Begins);
        assert_eq!(receiver.receive(event(5, true, 800), 1000, 8000, false), Press::Old);
        assert_eq!(receiver.receive(event(5, true, 800), 2600, 8000, false), Press::Goes);
    }

    #[test]
    fn press_of_which_only_the_end_arrives_counts() {
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.receive(event(5, true, 800), 1000, 8000, false), Press::Begins);
        assert_eq!(receiver.receive(event(5, true, 800), 1000, 8000, false), Press::Goes);
    }

    #[test]
    fn same_key_after_all_ends_were_lost_is_another_press() {
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.receive(event(5, false, 800), 1000, 8000, true), Press::Begins);
        assert_eq!(
            receiver.receive(event(5, false, 160), 1000 + 800 + 400, 8000, true),
            Press::Begins
        );
        // Its marker lost as well: the pause still tells.
        let next = 2200 + 160 + 400;
        assert_eq!(receiver.receive(event(5, false, 320), next, 8000, false), Press::Begins);
    }

    #[test]
    fn rfc4733_2_5_1_3_segments_of_a_long_press_are_one() {
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.receive(event(1, false, 160), 0, 8000, true), Press::Begins);
        assert_eq!(receiver.receive(event(1, false, 0xffff), 0, 8000, false), Press::Goes);
        assert_eq!(receiver.receive(event(1, false, 160), 0xffff, 8000, false), Press::Goes);
        assert_eq!(receiver.receive(event(1, true, 320), 0xffff, 8000, false), Press::Goes);
    }

    #[test]
    fn peer_that_counts_timestamps_on_within_a_press_is_understood() {
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.receive(event(7, false, 160), 0, 8000, true), Press::Begins);
        for n in 1..8u32 {
            let packet = event(7, n > 5, 160 * (n + 1));
            assert_eq!(
                receiver.receive(packet, n * 160, 8000, false),
                match n {
                    ..=6 => Press::Goes,
                    // After its end the next timestamp would be another press.
                    _ => Press::Begins,
                }
            );
        }
    }

    #[test]
    fn press_that_comes_three_ways_is_reported_once() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut presses = Presses::default();
        assert!(presses.is_new(now, '5', DigitSource::TelephoneEvent));
        assert!(!presses.is_new(now + ms(40), '5', DigitSource::InBand));
        assert!(!presses.is_new(now + ms(200), '5', DigitSource::Info));
        // The second press of the same key.
        assert!(presses.is_new(now + ms(300), '5', DigitSource::TelephoneEvent));
        assert!(!presses.is_new(now + ms(340), '5', DigitSource::InBand));
        assert!(!presses.is_new(now + ms(500), '5', DigitSource::Info));
        assert!(presses.is_new(now + ms(2000), '5', DigitSource::Info));
    }

    #[test]
    fn info_at_the_end_of_a_long_press_belongs_to_it() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut presses = Presses::default();
        assert!(presses.is_new(now, '1', DigitSource::TelephoneEvent));
        for n in 1..150 {
            presses.goes_on(now + ms(n * 20), '1', DigitSource::TelephoneEvent);
        }
        assert!(!presses.is_new(now + ms(3050), '1', DigitSource::Info));
    }

    #[test]
    fn keypad_steps_through_tone_three_ends_gap_and_pause() {
        let mut keypad = Keypad::default();
        assert_eq!(keypad.press("1xp#"), 0);
        for ticks in 0..5 {
            assert_eq!(keypad.step(), Step::Tone { digit: '1', ticks });
        }
        for repeat in 0..3 {
            assert_eq!(keypad.step(), Step::End { digit: '1', repeat });
        }
        // The rest of the gap and the second of pause.
        for _ in 0..2 + 50 {
            assert_eq!(keypad.step(), Step::Rest);
        }
        assert_eq!(keypad.step(), Step::Tone { digit: '#', ticks: 0 });
        for _ in 0..9 {
            assert!(keypad.is_busy());
            keypad.step();
        }
        assert_eq!(keypad.step(), Step::Rest);
        assert!(!keypad.is_busy());
    }

    #[test]
    fn full_keypad_drops_the_rest() {
        let mut keypad = Keypad::default();
        assert_eq!(keypad.press(&"1".repeat(70)), 6);
    }

    #[test]
    fn q23_keys_have_their_frequencies() {
        assert_eq!(frequencies('1'), Some((697.0, 1209.0)));
        assert_eq!(frequencies('6'), Some((770.0, 1477.0)));
        assert_eq!(frequencies('0'), Some((941.0, 1336.0)));
        assert_eq!(frequencies('D'), Some((941.0, 1633.0)));
        assert_eq!(frequencies('p'), None);
    }
}
