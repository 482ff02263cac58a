//! Tone scripts (the Sipura/Cisco format, section 17 of the VoxEngine reference) and progress tones
//! by country.
//!
//! ```text
//! script    = freqlist ";" section [";" section]
//! freqlist  = hertz "@" dBm *5("," hertz "@" dBm)
//! section   = total "(" segment *5("," segment) ")"
//! segment   = on "/" off "/" (index *("+" index) / "0")
//! ```
//! Times are seconds with decimals, or `*` for endless.

use std::fmt;
use std::time::Duration;

/// A parsed script.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    components: Vec<Component>,
    sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq)]
struct Component {
    hertz: f64,
    /// Peak, in sample values.
    amplitude: f64,
}

#[derive(Debug, Clone, PartialEq)]
struct Section {
    /// Samples; `None` is endless.
    total: Option<u64>,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq)]
struct Segment {
    on: Option<u64>,
    off: Option<u64>,
    /// Bit n: component n sounds.
    components: u8,
}

impl Script {
    /// # Errors
    /// Where the text is no script, with the place and what would be right.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MOST_BYTES {
            return Err(Error { at: MOST_BYTES, expected: "a shorter script" });
        }
        let mut reader = Reader { text, at: 0 };
        let components = reader.list(MOST_COMPONENTS, Reader::component)?;
        let mut sections = Vec::new();
        while reader.take(';') {
            if sections.len() == MOST_SECTIONS {
                return Err(reader.expected("at most 2 sections"));
            }
            sections.push(reader.section(components.len())?);
        }
        if sections.is_empty() {
            return Err(reader.expected("';' and a cadence section"));
        }
        match reader.rest() {
            "" => Ok(Self { components, sections }),
            _ => Err(reader.expected("the end of the script")),
        }
    }

    /// The ringback tone of a country (`US`, `DE`, ...), endless; of the US where the country is
    /// not known (reference section 17).
    pub fn progress(country: &str) -> Self {
        let country = country.to_ascii_uppercase();
        let known = RINGBACK.iter().find(|(codes, _)| codes.split(' ').any(|code| code == country));
        let script = known.map_or(RINGBACK[0].1, |(_, script)| script);
        Self::parse(script).expect("the table's scripts are parsed in a test")
    }

    /// The length of one pass in samples; `None` for an endless one.
    pub fn samples(&self) -> Option<u64> {
        self.sections.iter().try_fold(0u64, |sum, section| Some(sum + section.total?))
    }

    pub fn duration(&self) -> Option<Duration> {
        self.samples().map(|samples| Duration::from_micros(samples * 125))
    }

    /// Fills `frame` with what sounds from `start` on. What lies beyond the end is silent.
    pub fn render(&self, start: u64, frame: &mut [i16]) {
        let mut done = 0;
        while done < frame.len() {
            let position = start + done as u64;
            let left = (frame.len() - done) as u64;
            let (sounding, lasts) = self.at(position);
            let run = lasts.unwrap_or(left).min(left) as usize;
            let part = &mut frame[done..done + run];
            part.fill(0);
            for (place, component) in self.components.iter().enumerate() {
                if sounding & 1 << place != 0 {
                    component.add_to(part, position);
                }
            }
            done += run;
        }
    }

    /// What sounds at a position, and for how many samples.
    fn at(&self, position: u64) -> (u8, Option<u64>) {
        let mut from = position;
        for section in &self.sections {
            match section.total {
                Some(total) if from >= total => from -= total,
                total => {
                    let (sounding, lasts) = section.at(from);
                    let left = total.map(|total| total - from);
                    let lasts = [lasts, left].into_iter().flatten().min();
                    return (sounding, lasts);
                }
            }
        }
        (0, None)
    }
}

impl Section {
    fn at(&self, position: u64) -> (u8, Option<u64>) {
        let cycle = self.cycle();
        let mut from = cycle.map_or(position, |cycle| position % cycle);
        for segment in &self.segments {
            for (lasts, sounding) in [(segment.on, segment.components), (segment.off, 0)] {
                match lasts {
                    Some(lasts) if from >= lasts => from -= lasts,
                    lasts => return (sounding, lasts.map(|lasts| lasts - from)),
                }
            }
        }
        (0, None)
    }

    /// Length of all segments; `None` when one of them is endless.
    fn cycle(&self) -> Option<u64> {
        self.segments.iter().try_fold(0u64, |sum, segment| Some(sum + segment.on? + segment.off?))
    }
}

impl Component {
    /// Adds the tone as it is from `position` on: a rotating pointer, set anew for each run.
    fn add_to(&self, samples: &mut [i16], position: u64) {
        let angle = std::f64::consts::TAU * self.hertz / RATE;
        let (step_sine, step_cosine) = angle.sin_cos();
        let turns = self.hertz * position as f64 / RATE;
        let (mut sine, mut cosine) = (std::f64::consts::TAU * turns.fract()).sin_cos();
        for sample in samples {
            *sample = sample.saturating_add((self.amplitude * sine).round() as i16);
            (sine, cosine) =
                (sine * step_cosine + cosine * step_sine, cosine * step_cosine - sine * step_sine);
        }
    }
}

/// What is wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Byte in the text.
    at: usize,
    expected: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tone script: {} expected at byte {}", self.expected, self.at)
    }
}

impl std::error::Error for Error {}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn component(&mut self) -> Result<Component, Error> {
        let hertz = self.number("a frequency in hertz")?;
        if !(hertz > 0.0 && hertz < RATE / 2.0) {
            return Err(self.expected("a frequency above 0 and below 4000"));
        }
        self.require('@', "'@' and a level in dBm")?;
        let sign = if self.take('-') { -1.0 } else { 1.0 };
        let dbm = sign * self.number("a level in dBm")?;
        let below = (dbm - FULL_SCALE_DBM0).min(0.0);
        let amplitude = 32_767.0 * 10f64.powf(below / 20.0);
        Ok(Component { hertz, amplitude })
    }

    fn section(&mut self, components: usize) -> Result<Section, Error> {
        let total = self.time()?;
        self.require('(', "'('")?;
        let segments = self.list(MOST_SEGMENTS, |reader| reader.segment(components))?;
        self.require(')', "')'")?;
        let section = Section { total, segments };
        if section.cycle() == Some(0) {
            return Err(self.expected("a segment that lasts longer than nothing"));
        }
        Ok(section)
    }

    fn segment(&mut self, components: usize) -> Result<Segment, Error> {
        let on = self.time()?;
        self.require('/', "'/' and the time off")?;
        let off = self.time()?;
        self.require('/', "'/' and component numbers")?;
        let mut sounding = 0;
        loop {
            let number = self.number("a component number")?;
            if number.fract() != 0.0 || number > components as f64 {
                return Err(self.expected("the number of a component of this script"));
            }
            if number > 0.0 {
                sounding |= 1 << (number as u8 - 1);
            }
            if !self.take('+') {
                return Ok(Segment { on, off, components: sounding });
            }
        }
    }

    /// Seconds as samples, `None` for `*`.
    fn time(&mut self) -> Result<Option<u64>, Error> {
        if self.take('*') {
            return Ok(None);
        }
        let seconds = self.number("seconds or '*'")?;
        if seconds > MOST_SECONDS {
            return Err(self.expected("at most a day, or '*'"));
        }
        Ok(Some((seconds * RATE).round() as u64))
    }

    fn list<T>(
        &mut self,
        most: usize,
        read: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut list = vec![read(self)?];
        while self.take(',') {
            if list.len() == most {
                return Err(self.expected("at most 6 entries in a list"));
            }
            list.push(read(self)?);
        }
        Ok(list)
    }

    /// Digits with at most one point among them: `.5`, `5.` and `.0` are numbers too.
    fn number(&mut self, expected: &'static str) -> Result<f64, Error> {
        self.skip_spaces();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = match &rest[..end] {
            "." => None,
            digits => digits.parse::<f64>().ok(),
        };
        let number = number.ok_or_else(|| self.expected(expected))?;
        self.at += end;
        Ok(number)
    }

    fn require(&mut self, c: char, expected: &'static str) -> Result<(), Error> {
        if self.take(c) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn take(&mut self, c: char) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn rest(&self) -> &'a str {
        // Invariant: `at` is at the border of a character.
        &self.text[self.at..]
    }

    fn expected(&self, expected: &'static str) -> Error {
        Error { at: self.at, expected }
    }
}

/// Ringback by country: ITU-T E.180 supplement 2. The first is also that of any other country.
const RINGBACK: [(&str, &str); 9] = [
    ("US CA", "440@-19,480@-19;*(2/4/1+2)"),
    ("RU", "425@-19;*(1/4/1)"),
    ("DE AT CH IT PL CZ NL SE NO DK FI UA", "425@-19;*(1/4/1)"),
    ("GB IE", "400@-19,450@-19;*(.4/.2/1+2,.4/2/1+2)"),
    ("FR", "440@-19;*(1.5/3.5/1)"),
    ("ES", "425@-19;*(1.5/3/1)"),
    ("BE", "425@-19;*(1/3/1)"),
    ("AU NZ", "400@-19,450@-19;*(.4/.2/1+2,.4/2/1+2)"),
    ("JP", "400@-19,415@-19;*(1/2/1+2)"),
];

const RATE: f64 = 8000.0;
/// What a full-scale sine has (G.711 §4).
#[expect(clippy::approx_constant, reason = "a level, not a circle")]
const FULL_SCALE_DBM0: f64 = 3.14;
/// Far above the longest script: 6 components, 2 sections of 6 segments.
const MOST_BYTES: usize = 1024;
const MOST_COMPONENTS: usize = 6;
const MOST_SECTIONS: usize = 2;
const MOST_SEGMENTS: usize = 6;
const MOST_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Script::parse(text).unwrap_err().to_string()
    }

    /// Whether something sounds in the 20 ms from this second on.
    fn sounds(script: &Script, second: f64) -> bool {
        let mut frame = [0; 160];
        script.render((second * RATE) as u64, &mut frame);
        frame.iter().any(|&sample| sample != 0)
    }

    #[test]
    fn reference_17_dial_tone_lasts_10_s_at_its_level() {
        let script = Script::parse("350@-19,440@-19;10(*/0/1+2)").unwrap();
        assert_eq!(script.duration(), Some(Duration::from_secs(10)));
        let mut second = [0i16; 8000];
        script.render(0, &mut second);
        // Two sines of 32767 * 10^(-22.14/20) = 2561 each: the mean square is 2561^2.
        let power: f64 = second.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / 8000.0;
        assert!((power.sqrt() - 2561.0).abs() < 10.0, "{}", power.sqrt());
        assert!(sounds(&script, 9.9));
        assert!(!sounds(&script, 10.0));
    }

    #[test]
    fn reference_17_busy_and_ringback_have_their_cadence() {
        let busy = Script::parse("480@-19,620@-19;10(.5/.5/1+2)").unwrap();
        for (second, is_on) in [(0.0, true), (0.45, true), (0.5, false), (0.97, false), (1.0, true)]
        {
            assert_eq!(sounds(&busy, second), is_on, "{second}");
        }
        let ringback = Script::progress("US");
        assert_eq!(ringback.duration(), None);
        for (second, is_on) in [(0.0, true), (1.9, true), (2.0, false), (5.9, false), (6.0, true)] {
            assert_eq!(sounds(&ringback, second), is_on, "{second}");
        }
    }

    #[test]
    fn reference_17_form_of_the_official_sample_parses() {
        let script = Script::parse("329.63@-16;.25(*/.0/1)").unwrap();
        assert_eq!(script.duration(), Some(Duration::from_millis(250)));
        assert!(sounds(&script, 0.0));
    }

    #[test]
    fn two_sections_play_one_after_the_other() {
        let script = Script::parse(" 400@-10 , 800@-10 ; 1(*/0/1) ; 2(.1/.1/2) ").unwrap();
        assert_eq!(script.duration(), Some(Duration::from_secs(3)));
        assert!(sounds(&script, 0.95));
        assert!(sounds(&script, 1.05));
        assert!(!sounds(&script, 1.15));
        assert!(!sounds(&script, 3.0));
    }

    #[test]
    fn frames_join_without_a_step() {
        let script = Script::parse("1000@0;*(*/0/1)").unwrap();
        let mut whole = [0; 480];
        script.render(8_000_000, &mut whole);
        for n in 0..3 {
            let mut frame = [0; 160];
            script.render(8_000_000 + n * 160, &mut frame);
            for (one, other) in frame.iter().zip(&whole[n as usize * 160..]) {
                assert!((one - other).abs() <= 1);
            }
        }
    }

    #[test]
    fn component_zero_is_silence() {
        let script = Script::parse("400@-10;*(1/1/0)").unwrap();
        assert!(!sounds(&script, 0.5));
    }

    #[test]
    fn errors_say_where_and_what_would_be_right() {
        assert_eq!(error(""), "tone script: a frequency in hertz expected at byte 0");
        assert_eq!(error("440"), "tone script: '@' and a level in dBm expected at byte 3");
        assert_eq!(error("440@-19"), "tone script: ';' and a cadence section expected at byte 7");
        assert_eq!(error("440@-19;1"), "tone script: '(' expected at byte 9");
        assert_eq!(
            error("440@-19;1(1/1/2)"),
            "tone script: the number of a component of this script expected at byte 15"
        );
        assert_eq!(
            error("440@-19;*(0/0/1)"),
            "tone script: a segment that lasts longer than nothing expected at byte 16"
        );
        assert!(error("440@-19;*(1/1/1);1(1/1/1);1(1/1/1)").contains("at most 2 sections"));
        assert!(error("4000@-19;*(1/1/1)").contains("below 4000"));
        assert!(error("440@-19;*(1/1/1)x").contains("the end of the script"));
        assert!(error("440@-19;*(./1/1)").contains("seconds or '*'"));
        assert!(error("440@-19;99999999(1/1/1)").contains("at most a day"));
        assert!(error(&"1@1,".repeat(300)).contains("a shorter script"));
        assert!(error("1@1,1@1,1@1,1@1,1@1,1@1,1@1;*(1/1/1)").contains("at most 6"));
        assert!(error("440@-19;*(1/1/ü)").contains("a component number"));
    }

    #[test]
    fn every_country_has_a_ringback() {
        for (codes, script) in RINGBACK {
            assert!(Script::parse(script).is_ok(), "{codes}");
        }
        assert_eq!(Script::progress("nowhere"), Script::progress("us"));
        assert_ne!(Script::progress("RU"), Script::progress("US"));
        // 1 s on, 4 s off.
        assert!(sounds(&Script::progress("RU"), 0.9) && !sounds(&Script::progress("RU"), 1.1));
    }
}
