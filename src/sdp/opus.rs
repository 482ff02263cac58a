//! `a=fmtp` of Opus (RFC 7587 §6.1): what a receiver asks of who sends to it.

use std::fmt;

/// The parameters that change what is sent. `sprop-` ones, which tell of the writer's own sending,
/// are **not** read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opus {
    /// `maxplaybackrate`: higher frequencies are not heard. Hertz.
    pub max_playback_rate: u32,
    /// `maxaveragebitrate`, bits per second.
    pub max_bitrate: Option<u32>,
    /// `stereo`: two channels are welcome.
    pub stereo: bool,
    /// `useinbandfec`
    pub fec: bool,
    /// `usedtx`
    pub dtx: bool,
    /// `cbr`
    pub cbr: bool,
    /// `minptime`: shorter packets are not wanted. Milliseconds.
    pub min_ptime_ms: u32,
}

impl Default for Opus {
    /// What a description without parameters means.
    fn default() -> Self {
        Self {
            max_playback_rate: *RATES.end(),
            max_bitrate: None,
            stereo: false,
            fec: false,
            dtx: false,
            cbr: false,
            min_ptime_ms: LEAST_PTIME_MS,
        }
    }
}

impl Opus {
    /// Parameters that are unknown or out of their range are passed over, as if not there.
    pub fn parse(parameters: &str) -> Self {
        let mut opus = Self::default();
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            let number = || value.parse::<u32>().ok();
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("maxplaybackrate") {
                let rate = number().filter(|rate| RATES.contains(rate));
                opus.max_playback_rate = rate.unwrap_or(opus.max_playback_rate);
            } else if is("maxaveragebitrate") {
                opus.max_bitrate = number().filter(|bits| BITRATES.contains(bits));
            } else if is("stereo") {
                opus.stereo = value == "1";
            } else if is("useinbandfec") {
                opus.fec = value == "1";
            } else if is("usedtx") {
                opus.dtx = value == "1";
            } else if is("cbr") {
                opus.cbr = value == "1";
            } else if is("minptime") {
                let ptime = number().filter(|ptime| (LEAST_PTIME_MS..=120).contains(ptime));
                opus.min_ptime_ms = ptime.unwrap_or(opus.min_ptime_ms);
            }
        }
        opus
    }

    /// What suits both receivers, so that one's packets can be passed to the other as they are.
    pub fn narrowed_to(self, other: Self) -> Self {
        let max_bitrate = match (self.max_bitrate, other.max_bitrate) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self {
            max_playback_rate: self.max_playback_rate.min(other.max_playback_rate),
            max_bitrate,
            stereo: self.stereo && other.stereo,
            fec: self.fec || other.fec,
            dtx: self.dtx && other.dtx,
            cbr: self.cbr || other.cbr,
            min_ptime_ms: self.min_ptime_ms.max(other.min_ptime_ms),
        }
    }
}

/// Without what goes without saying; empty if all does.
impl fmt::Display for Opus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Self::default();
        let rate = self.max_playback_rate;
        let numbers = [
            ("maxplaybackrate", Some(rate).filter(|rate| *rate != default.max_playback_rate)),
            ("maxaveragebitrate", self.max_bitrate),
            ("minptime", Some(self.min_ptime_ms).filter(|ptime| *ptime != LEAST_PTIME_MS)),
            ("stereo", self.stereo.then_some(1)),
            ("useinbandfec", self.fec.then_some(1)),
            ("usedtx", self.dtx.then_some(1)),
            ("cbr", self.cbr.then_some(1)),
        ];
        let mut separator = "";
        for (name, number) in numbers {
            if let Some(number) = number {
                write!(f, "{separator}{name}={number}")?;
                separator = ";";
            }
        }
        Ok(())
    }
}

/// RFC 7587 §6.1: any rate of a sound card; those of Opus matter.
const RATES: std::ops::RangeInclusive<u32> = 8000..=48_000;
/// RFC 7587 §6.1
const BITRATES: std::ops::RangeInclusive<u32> = 6000..=510_000;
const LEAST_PTIME_MS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7587 §7, the second example.
    #[test]
    fn rfc7587_section_7_example_is_read() {
        let opus = Opus::parse(
            "maxplaybackrate=16000; sprop-maxcapturerate=16000; maxaveragebitrate=20000; stereo=1; \
             useinbandfec=1; usedtx=0",
        );
        let expected = Opus {
            max_playback_rate: 16_000,
            max_bitrate: Some(20_000),
            stereo: true,
            fec: true,
            ..Opus::default()
        };
        assert_eq!(opus, expected);
    }

    #[test]
    fn what_is_written_is_read_again_and_defaults_are_not_written() {
        assert_eq!(Opus::default().to_string(), "");
        let opus = Opus {
            max_playback_rate: 8000,
            max_bitrate: Some(12_000),
            stereo: true,
            fec: true,
            dtx: true,
            cbr: true,
            min_ptime_ms: 10,
        };
        let text = "maxplaybackrate=8000;maxaveragebitrate=12000;minptime=10;stereo=1;\
                    useinbandfec=1;usedtx=1;cbr=1";
        assert_eq!(opus.to_string(), text);
        assert_eq!(Opus::parse(text), opus);
    }

    #[test]
    fn nonsense_is_as_if_it_were_not_there() {
        for text in [
            "",
            ";;=;a;=1",
            "maxplaybackrate=7999;maxaveragebitrate=5999;minptime=0",
            "maxplaybackrate=-1; maxaveragebitrate=99999999999; minptime=121; usedtx=2; cbr=yes",
            "maxaveragebitrate=510001; useinbandfec; stereo=",
        ] {
            assert_eq!(Opus::parse(text), Opus::default(), "{text}");
        }
        // As FreeSWITCH writes it.
        let opus = Opus::parse("useinbandfec=1; maxaveragebitrate=30000; ptime=20; minptime=10");
        assert_eq!((opus.fec, opus.max_bitrate, opus.min_ptime_ms), (true, Some(30_000), 10));
        assert!(Opus::parse("UseInbandFec = 1").fec);
    }

    #[test]
    fn packets_for_two_receivers_suit_the_one_that_bears_less() {
        let one = Opus { max_bitrate: Some(20_000), dtx: true, ..Opus::default() };
        let two = Opus { max_playback_rate: 16_000, fec: true, ..Opus::default() };
        let both = one.narrowed_to(two);
        assert_eq!((both.max_playback_rate, both.max_bitrate), (16_000, Some(20_000)));
        assert!(both.fec && !both.dtx);
        assert_eq!(two.narrowed_to(one), both);
    }
}
