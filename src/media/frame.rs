//! 20 ms of mono audio at one of the three rates that audio is worked on at.

/// Samples per second: those of the codecs. What comes at another rate is converted to the next
/// higher one when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// 8000 Hz: G.711.
    Narrow,
    /// 16,000 Hz: G.722.
    Wide,
    /// 48,000 Hz: Opus.
    Full,
}

impl Rate {
    pub const fn hertz(self) -> u32 {
        match self {
            Self::Narrow => 8000,
            Self::Wide => 16_000,
            Self::Full => 48_000,
        }
    }

    /// Samples of 20 ms.
    pub const fn frame(self) -> usize {
        self.hertz() as usize / 50
    }

    /// The lowest rate that keeps all of a sound at `hertz`, or the highest there is.
    pub const fn that_keeps(hertz: u32) -> Self {
        match hertz {
            0..=8000 => Self::Narrow,
            8001..=16_000 => Self::Wide,
            _ => Self::Full,
        }
    }
}

/// A tick's worth of audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    rate: Rate,
    /// The first `rate.frame()` of them count; the others are zero.
    samples: [i16; Rate::Full.frame()],
}

impl Frame {
    pub const fn silence(rate: Rate) -> Self {
        Self { rate, samples: [0; Rate::Full.frame()] }
    }

    pub const fn rate(&self) -> Rate {
        self.rate
    }

    pub fn samples(&self) -> &[i16] {
        &self.samples[..self.rate.frame()]
    }

    pub fn samples_mut(&mut self) -> &mut [i16] {
        &mut self.samples[..self.rate.frame()]
    }

    pub fn is_silence(&self) -> bool {
        self.samples().iter().all(|&sample| sample == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_20_ms_at_each_rate() {
        for (rate, samples) in [(Rate::Narrow, 160), (Rate::Wide, 320), (Rate::Full, 960)] {
            let mut frame = Frame::silence(rate);
            assert_eq!(frame.samples().len(), samples);
            assert!(frame.is_silence());
            frame.samples_mut()[samples - 1] = 1;
            assert!(!frame.is_silence());
        }
    }

    #[test]
    fn rate_of_a_sound_is_the_next_higher_one() {
        for (hertz, rate) in [
            (8000, Rate::Narrow),
            (11_025, Rate::Wide),
            (16_000, Rate::Wide),
            (22_050, Rate::Full),
            (44_100, Rate::Full),
            (96_000, Rate::Full),
        ] {
            assert_eq!(Rate::that_keeps(hertz), rate);
        }
    }
}
