//! Name of a recording's file, and the header of one that is not Opus: WAVE with 16-bit PCM
//! (RIFF, "Multimedia Programming Interface and Data Specifications 1.0", 1991, chapter 3).
//!
//! ```text
//!  0 "RIFF" size-8 | 8 "WAVE" | 12 "fmt " 16 | 20 tag 1, channels | 24 rate, bytes per second |
//! 32 bytes per frame, bits 16 | 36 "data" size | 44 samples
//! ```

use std::time::Duration;

use super::record::UnixMs;

/// What a file holds; its name ends accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// WAVE with 16-bit PCM.
    Wav,
    /// Opus in Ogg, mono at 48 kHz: RFC 7845.
    Opus,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::Wav, Self::Opus];

    /// What a name ends with (RFC 7845 section 9).
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Wav => ".wav",
            Self::Opus => ".opus",
        }
    }

    /// The media type that HTTP calls it by (RFC 7845 section 9).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Opus => "audio/ogg; codecs=opus",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| name.ends_with(format.extension()))
    }
}

/// The name of a recording. It sorts by its start behind a prefix; the random part keeps its URL
/// from being guessed, and what follows says how long it is to be kept at least
/// (`RecordExpireTime`, section 14 of the VoxEngine reference; other values say nothing).
pub fn file_name(
    prefix: &str,
    start: UnixMs,
    session: u64,
    random: &str,
    expire: Option<&str>,
    format: Format,
) -> String {
    let hint = HINTS.iter().find(|(value, ..)| Some(*value) == expire);
    let hint = hint.map_or("", |(value, _)| value);
    format!("{prefix}{start}-{session}-{random}{hint}{}", format.extension())
}

/// How long a recording of this name is to be kept at least, if it says so.
pub fn wanted_age(name: &str) -> Option<Duration> {
    let stem = name.strip_suffix(Format::of_name(name)?.extension())?;
    let (_, days) = HINTS.iter().find(|(value, _)| stem.ends_with(value))?;
    Some(Duration::from_secs(days * 86_400))
}

/// `RecordExpireTime` and its days. The empty value, three months in the cloud, is what
/// `recordings_days` says here.
const HINTS: [(&str, u64); 5] =
    [("-6m", 183), ("-1y", 365), ("-2y", 730), ("-3y", 1096), ("-5y", 1826)];

/// Bytes before the samples.
pub const HEADER_BYTES: usize = 44;

/// Most bytes of samples: sizes are 32 bits wide, and the RIFF size counts 36 more.
pub const MOST_DATA_BYTES: u64 = u32::MAX as u64 - 36 - 7;

/// The header for `data_bytes` of samples, at most [`MOST_DATA_BYTES`].
pub fn header(channels: u16, rate: u32, data_bytes: u64) -> [u8; HEADER_BYTES] {
    let data_bytes = data_bytes.min(MOST_DATA_BYTES) as u32;
    let frame_bytes = channels.saturating_mul(BYTES_PER_SAMPLE);
    let mut header = [0; HEADER_BYTES];
    let mut put = |place: usize, bytes: &[u8]| {
        header[place..place + bytes.len()].copy_from_slice(bytes);
    };
    put(0, b"RIFF");
    put(4, &(data_bytes + 36).to_le_bytes());
    put(8, b"WAVEfmt ");
    put(16, &16_u32.to_le_bytes());
    put(20, &1_u16.to_le_bytes());
    put(22, &channels.to_le_bytes());
    put(24, &rate.to_le_bytes());
    put(28, &rate.saturating_mul(u32::from(frame_bytes)).to_le_bytes());
    put(32, &frame_bytes.to_le_bytes());
    put(34, &(BYTES_PER_SAMPLE * 8).to_le_bytes());
    put(36, b"data");
    put(40, &data_bytes.to_le_bytes());
    header
}

/// The header that a file of ours should have, from the one it has and its length: a crash leaves
/// the sizes unwritten, and maybe half a frame. `None`: not a header of ours.
pub fn repaired(found: &[u8; HEADER_BYTES], file_bytes: u64) -> Option<[u8; HEADER_BYTES]> {
    let channels = u16::from_le_bytes([found[22], found[23]]);
    let rate = u32::from_le_bytes([found[24], found[25], found[26], found[27]]);
    let data_bytes = file_bytes.checked_sub(HEADER_BYTES as u64)?;
    let frame_bytes = u64::from(channels) * u64::from(BYTES_PER_SAMPLE);
    if frame_bytes == 0 {
        return None;
    }
    let expected = header(channels, rate, data_bytes - data_bytes % frame_bytes);
    let is_same = |place: usize| matches!(place, 4..8 | 40..44) || found[place] == expected[place];
    (0..HEADER_BYTES).all(is_same).then_some(expected)
}

const BYTES_PER_SAMPLE: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// One second of 8 kHz stereo: 32,000 bytes of samples.
    const STEREO: [u8; 44] = [
        b'R', b'I', b'F', b'F', 0x24, 0x7d, 0, 0, b'W', b'A', b'V', b'E', b'f', b'm', b't', b' ',
        16, 0, 0, 0, 1, 0, 2, 0, 0x40, 0x1f, 0, 0, 0, 0x7d, 0, 0, 4, 0, 16, 0, b'd', b'a', b't',
        b'a', 0x00, 0x7d, 0, 0,
    ];

    #[test]
    fn name_says_how_long_a_recording_is_kept() {
        let name = |expire| file_name("p-", 7, 3, "00ff", expire, Format::Wav);
        assert_eq!(name(Some("-2y")), "p-7-3-00ff-2y.wav");
        assert_eq!(wanted_age("p-7-3-00ff-2y.wav"), Some(Duration::from_secs(730 * 86_400)));
        for other in [None, Some(""), Some("../x"), Some("-9y")] {
            assert_eq!(name(other), "p-7-3-00ff.wav");
        }
        assert_eq!(wanted_age("p-7-3-00ff.wav"), None);
        let opus = file_name("", 7, 3, "00ff", Some("-1y"), Format::Opus);
        assert_eq!(opus, "7-3-00ff-1y.opus");
        assert_eq!(wanted_age(&opus), Some(Duration::from_secs(365 * 86_400)));
        assert_eq!(wanted_age("7-3-00ff-1y.mp3"), None);
    }

    #[test]
    fn header_is_laid_out_as_riff_says() {
        assert_eq!(header(2, 8000, 32_000), STEREO);
    }

    #[test]
    fn a_header_without_sizes_gets_those_of_the_file() {
        let unfinished = header(2, 8000, 0);
        // Three bytes of a frame that was cut.
        assert_eq!(repaired(&unfinished, 44 + 32_000 + 3), Some(STEREO));
        assert_eq!(repaired(&unfinished, 43), None);
        assert_eq!(repaired(&[0; 44], 44), None);
        let mut foreign = unfinished;
        foreign[20] = 7;
        assert_eq!(repaired(&foreign, 44), None);
    }

    #[test]
    fn the_largest_file_fits_its_size_field() {
        let header = header(2, 8000, u64::MAX);
        assert_eq!(header[4..8], (u32::MAX - 7).to_le_bytes());
    }
}
