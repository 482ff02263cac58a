//! Files of recordings: WAV, or Opus in Ogg.
//!
//! A recording grows in `data_dir/unfinished` and moves to `data_dir/recordings` when it ends, so
//! that every file there is whole. The sizes of WAV are written at the end, and the samples are on
//! the disk (`fdatasync`) before the file gets its name. What a crash or power cut leaves
//! unfinished becomes a whole file at the next start, as long as it is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::opus_file::{self, OpusFile};
use crate::stats;
use crate::storage::file_name;
use crate::storage::recording::{Format, HEADER_BYTES, MOST_DATA_BYTES, header, repaired};

/// The recordings under way.
#[derive(Debug)]
pub struct Recordings {
    finished: PathBuf,
    unfinished: PathBuf,
    /// Bytes that stay free on the disk, for the database.
    free_bytes: u64,
    open: HashMap<u64, Recording>,
    /// Samples as the file has them.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Recording {
    file: File,
    name: String,
    channels: u16,
    rate: u32,
    /// Of samples, or of Ogg pages.
    data_bytes: u64,
    opus: Option<Box<OpusFile>>,
}

impl Recordings {
    /// Both folders exist.
    pub fn new(finished: PathBuf, unfinished: PathBuf, free_bytes: u64) -> Self {
        Self { finished, unfinished, free_bytes, open: HashMap::new(), buffer: Vec::new() }
    }

    /// Ends what an earlier run left; how many recordings that were.
    pub fn repair(&self) -> io::Result<usize> {
        let mut repaired = 0;
        for entry in std::fs::read_dir(&self.unfinished)? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name();
            if repair(&path).is_ok() && std::fs::rename(&path, self.finished.join(&name)).is_ok() {
                log::warn!("recording {} was cut by a crash", name.display());
                repaired += 1;
            } else {
                log::warn!("{} is no recording: removed", path.display());
                remove(&path);
            }
        }
        Ok(repaired)
    }

    /// Begins a file; the error is for the script.
    pub fn begin(
        &mut self,
        recording: u64,
        name: String,
        channels: u16,
        rate: u32,
    ) -> Result<(), String> {
        if self.open.len() >= MOST_OPEN {
            return Err(failed(format!("more than {MOST_OPEN} recordings at one time")));
        }
        if !file_name::is_plain(&name) {
            return Err(failed(format!("{name:?} is no name for a file")));
        }
        let (opus, head) = match (Format::of_name(&name), channels, rate) {
            (Some(Format::Opus), 1, OPUS_RATE) => {
                let (opus, head) = OpusFile::new(recording as u32);
                (Some(Box::new(opus)), head)
            }
            (Some(Format::Opus), ..) => {
                return Err(failed(format!("{channels} channels at {rate} Hz are not for Opus")));
            }
            (Some(Format::Wav) | None, ..) => (None, header(channels, rate, 0).to_vec()),
        };
        let path = self.unfinished.join(&name);
        let mut file = File::create_new(&path).map_err(|error| failed(text(&error)))?;
        let mut entry = || {
            self.check_room(&file)?;
            file.write_all(&head)
        };
        if let Err(error) = entry() {
            remove(&path);
            return Err(failed(text(&error)));
        }
        let data_bytes = if opus.is_some() { head.len() as u64 } else { 0 };
        let entry = Recording { file, name, channels, rate, data_bytes, opus };
        self.open.insert(recording, entry);
        Ok(())
    }

    /// Adds samples after `gap` samples of silence. An error ends the recording; what it has
    /// stays. One that is not under way takes none.
    pub fn append(&mut self, recording: u64, gap: u64, samples: &[i16]) -> Result<(), String> {
        let Some(entry) = self.open.get_mut(&recording) else { return Ok(()) };
        // Silence for what was lost, left as a hole in the file; more than a minute of it would be
        // another fault.
        let most_gap = MOST_GAP_S * u64::from(entry.channels) * u64::from(entry.rate);
        let gap = gap.min(most_gap);
        self.buffer.clear();
        let gap_bytes = match &mut entry.opus {
            Some(opus) => {
                opus.append(gap, samples, &mut self.buffer);
                0
            }
            None => {
                self.buffer.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
                gap * 2
            }
        };
        let added = gap_bytes + self.buffer.len() as u64;
        if added == 0 {
            return Ok(());
        }
        // At its place: what a write that failed half-way left is written over.
        let (place, is_full) =
            (entry.length() + gap_bytes, entry.data_bytes + added > MOST_DATA_BYTES);
        let result = match self.open.get(&recording) {
            Some(_) if is_full => Err(io::Error::other("a recording holds 4 GiB at most")),
            Some(entry) => self
                .check_room(&entry.file)
                .and_then(|()| entry.file.write_all_at(&self.buffer, place)),
            None => Ok(()),
        };
        match result {
            Ok(()) => {
                if let Some(entry) = self.open.get_mut(&recording) {
                    entry.data_bytes += added;
                }
                self.buffer.shrink_to(BUFFER_BYTES);
                Ok(())
            }
            Err(error) => {
                if let Some(opus) = self.open.get_mut(&recording).and_then(|e| e.opus.as_mut()) {
                    opus.take_back(&self.buffer);
                }
                // The first error is the one to tell.
                let _ = self.finish(recording);
                Err(failed(text(&error)))
            }
        }
    }

    /// Gives the file its sizes and its name; the size of the whole. `None`: not under way.
    pub fn finish(&mut self, recording: u64) -> Option<Result<u64, String>> {
        let entry = self.open.remove(&recording)?;
        let name = entry.name.clone();
        let result = self.complete(entry).map_err(|error| failed(text(&error)));
        if let Err(error) = &result {
            log::error!("recording {name}: {error}");
        }
        Some(result)
    }

    /// Ends all that are under way.
    pub fn finish_all(&mut self) {
        let open: Vec<u64> = self.open.keys().copied().collect();
        for recording in open {
            // Logged in there; there is nobody left to tell.
            let _ = self.finish(recording);
        }
    }

    fn complete(&self, mut entry: Recording) -> io::Result<u64> {
        let mut bytes = entry.length();
        entry.file.set_len(bytes)?;
        match entry.opus.take() {
            Some(opus) => {
                let mut tail = Vec::new();
                opus.finish(&mut tail);
                match entry.file.write_all_at(&tail, bytes) {
                    Ok(()) => bytes += tail.len() as u64,
                    // The pages so far are heard without the last.
                    Err(_) => entry.file.set_len(bytes)?,
                }
            }
            None => {
                let header = header(entry.channels, entry.rate, entry.data_bytes);
                entry.file.write_all_at(&header, 0)?;
            }
        }
        entry.file.sync_data()?;
        std::fs::rename(self.unfinished.join(&entry.name), self.finished.join(&entry.name))?;
        Ok(bytes)
    }

    fn check_room(&self, file: &File) -> io::Result<()> {
        let disk = rustix::fs::fstatvfs(file)?;
        match disk.f_bavail.saturating_mul(disk.f_frsize) >= self.free_bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Recording {
    /// Bytes of the file so far.
    fn length(&self) -> u64 {
        match self.opus {
            Some(_) => self.data_bytes,
            None => HEADER_BYTES as u64 + self.data_bytes,
        }
    }
}

/// Gives a file the sizes, or the end, that it should have.
fn repair(path: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if Format::of_name(name) == Some(Format::Opus) {
        return opus_file::repair(&file);
    }
    let mut found = [0; HEADER_BYTES];
    file.read_exact(&mut found)?;
    let length = file.metadata()?.len();
    let header = repaired(&found, length).ok_or(io::ErrorKind::InvalidData)?;
    file.write_all_at(&header, 0)?;
    file.sync_data()
}

fn failed(error: String) -> String {
    stats::RECORDINGS_FAILED.add(1);
    error
}

/// For the script and the log: what happened, without our paths.
fn text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            stats::DISK_FAILURES.add(1);
            "the disk is full".into()
        }
        _ => error.to_string(),
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        log::warn!("{}: {error}", path.display());
    }
}

/// Files open at one time. Full: the recording is refused, counted as `recordings_failed_total`.
const MOST_OPEN: usize = 256;

/// Seconds of silence that stand for samples that were lost, at most.
const MOST_GAP_S: u64 = 60;

/// Samples per second of Opus.
const OPUS_RATE: u32 = 48_000;

/// A second of stereo.
const BUFFER_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::super::super::test_folder::TestFolder;
    use super::*;
    use crate::media::sound::Sound;

    fn recordings(folder: &TestFolder, free_bytes: u64) -> Recordings {
        let (finished, unfinished) = (folder.path("recordings"), folder.path("unfinished"));
        std::fs::create_dir_all(&finished).unwrap();
        std::fs::create_dir_all(&unfinished).unwrap();
        Recordings::new(finished, unfinished, free_bytes)
    }

    fn begin(recordings: &mut Recordings, name: &str) -> Result<(), String> {
        recordings.begin(1, name.into(), 1, 8000)
    }

    /// What another reader finds in the file.
    fn read(folder: &TestFolder, name: &str) -> (hound::WavSpec, Vec<i16>) {
        let mut reader = hound::WavReader::open(folder.path("recordings").join(name)).unwrap();
        (reader.spec(), reader.samples().collect::<Result<_, _>>().unwrap())
    }

    #[test]
    fn a_finished_recording_is_a_whole_wav_file() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        recordings.begin(1, "a.wav".into(), 2, 8000).unwrap();
        recordings.append(1, 0, &[1, -2, 3, -4]).unwrap();
        assert!(!folder.path("recordings/a.wav").exists());
        recordings.append(1, 2, &[i16::MAX, i16::MIN]).unwrap();
        assert_eq!(recordings.finish(1), Some(Ok(44 + 16)));
        let (format, samples) = read(&folder, "a.wav");
        assert_eq!((format.channels, format.sample_rate, format.bits_per_sample), (2, 8000, 16));
        assert_eq!(samples, [1, -2, 3, -4, 0, 0, i16::MAX, i16::MIN]);
        assert_eq!(recordings.finish(1), None);
        assert!(!folder.path("unfinished/a.wav").exists());
    }

    #[test]
    fn lost_samples_are_a_silence_of_a_minute_at_most_at_any_rate() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        recordings.begin(1, "a.wav".into(), 1, 48_000).unwrap();
        recordings.append(1, 48_000, &[1]).unwrap();
        recordings.append(1, u64::MAX, &[2]).unwrap();
        assert_eq!(recordings.finish(1), Some(Ok(44 + 2 * (61 * 48_000 + 2))));
        let (format, samples) = read(&folder, "a.wav");
        assert_eq!((format.sample_rate, samples.len()), (48_000, 61 * 48_000 + 2));
        assert_eq!((samples[47_999], samples[48_000], samples[48_001]), (0, 1, 0));
        assert_eq!(samples.last(), Some(&2));
    }

    const OPUS: &str = "a.opus";

    /// Seconds of 440 Hz in blocks as the engine hands them over.
    fn append_tone(recordings: &mut Recordings, seconds: u32) {
        let angle = |n: u32| f64::from(n) * 440.0 * std::f64::consts::TAU / 48_000.0;
        let tone: Vec<i16> =
            (0..seconds * 48_000).map(|n| (angle(n).sin() * 10_000.0) as i16).collect();
        for block in tone.chunks(8000) {
            recordings.append(1, 0, block).unwrap();
        }
    }

    /// What players make of it: without what is to be skipped and what is behind the end.
    fn read_opus(path: &Path) -> Vec<i16> {
        let file = File::open(path).unwrap();
        let mut sound = Sound::open(file, None).unwrap();
        let mut samples = Vec::new();
        loop {
            let before = samples.len();
            sound.read(&mut samples).unwrap();
            if samples.len() == before {
                return samples;
            }
        }
    }

    /// The share of 440 Hz, of 1.
    fn purity(samples: &[i16]) -> f64 {
        let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
        for (n, &sample) in samples.iter().enumerate() {
            let angle = n as f64 * 440.0 * std::f64::consts::TAU / 48_000.0;
            let sample = f64::from(sample);
            sine += sample * angle.sin();
            cosine += sample * angle.cos();
            power += sample * sample;
        }
        2.0 * (sine * sine + cosine * cosine) / (samples.len() as f64 * power)
    }

    #[test]
    fn an_opus_recording_has_every_sample_at_its_place() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        recordings.begin(1, OPUS.into(), 1, 48_000).unwrap();
        append_tone(&mut recordings, 2);
        recordings.append(1, 48_000, &[0; 100]).unwrap();
        append_tone(&mut recordings, 1);
        let bytes = recordings.finish(1).unwrap().unwrap();
        let path = folder.path("recordings/a.opus");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
        // 32 kbit/s and the pages.
        assert!((6000..24_000).contains(&bytes), "{bytes}");
        let samples = read_opus(&path);
        assert_eq!(samples.len(), 4 * 48_000 + 100);
        let quarter = |at: usize| &samples[at * 12_000..][..12_000];
        assert!(purity(quarter(3)) > 0.95 && purity(quarter(14)) > 0.95);
        assert!(quarter(9).iter().all(|sample| sample.unsigned_abs() < 100));
    }

    #[test]
    fn an_opus_recording_that_a_crash_cut_anywhere_is_played_up_to_there() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        recordings.begin(1, OPUS.into(), 1, 48_000).unwrap();
        append_tone(&mut recordings, 3);
        let unfinished = folder.path("unfinished/a.opus");
        let bytes = std::fs::read(&unfinished).unwrap();
        drop(recordings);
        std::fs::remove_file(&unfinished).unwrap();
        for cut in (0..=bytes.len()).rev().step_by(997).chain([0, 40]) {
            std::fs::write(&unfinished, &bytes[..cut]).unwrap();
            let recordings = self::recordings(&folder, 0);
            let repaired = recordings.repair().unwrap();
            let path = folder.path("recordings/a.opus");
            if cut < 100 {
                assert_eq!((repaired, path.exists()), (0, false));
                continue;
            }
            assert_eq!(repaired, 1);
            let samples = read_opus(&path);
            // Whole seconds, less what the encoder delays.
            assert!(samples.is_empty() || samples.len() % 48_000 == 48_000 - 312, "{cut}");
            // The third is not written before what follows it.
            assert!(cut < bytes.len() || samples.len() == 2 * 48_000 - 312);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn an_opus_recording_on_a_disk_that_fills_up_keeps_what_was_recorded() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        recordings.begin(1, OPUS.into(), 1, 48_000).unwrap();
        append_tone(&mut recordings, 2);
        recordings.free_bytes = u64::MAX;
        assert_eq!(recordings.append(1, 0, &[0; 48_000]), Err("the disk is full".into()));
        assert_eq!(recordings.finish(1), None);
        let samples = read_opus(&folder.path("recordings/a.opus"));
        assert!(samples.len() >= 2 * 48_000 - 312, "{}", samples.len());
        assert!(purity(&samples[12_000..84_000]) > 0.95);
    }

    #[test]
    fn opus_is_mono_at_48_khz() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        assert!(recordings.begin(1, OPUS.into(), 2, 48_000).is_err());
        assert!(recordings.begin(1, OPUS.into(), 1, 8000).is_err());
    }

    #[test]
    fn a_full_disk_refuses_to_begin() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, u64::MAX);
        assert_eq!(begin(&mut recordings, "a.wav"), Err("the disk is full".into()));
        assert_eq!(std::fs::read_dir(folder.path("unfinished")).unwrap().count(), 0);
    }

    #[test]
    fn a_disk_that_fills_up_keeps_what_was_recorded() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        begin(&mut recordings, "a.wav").unwrap();
        recordings.append(1, 0, &[7; 800]).unwrap();
        recordings.free_bytes = u64::MAX;
        assert_eq!(recordings.append(1, 0, &[8; 800]), Err("the disk is full".into()));
        assert_eq!(read(&folder, "a.wav").1, [7; 800]);
        assert_eq!(recordings.append(1, 0, &[9; 800]), Ok(()));
        assert_eq!(recordings.finish(1), None);
    }

    #[test]
    fn a_device_without_room_fails_the_recording() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        begin(&mut recordings, "a.wav").unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        recordings.open.get_mut(&1).unwrap().file = full;
        assert_eq!(recordings.append(1, 0, &[1]), Err("the disk is full".into()));
    }

    #[test]
    fn a_recording_ends_before_its_sizes_overflow() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        begin(&mut recordings, "a.wav").unwrap();
        recordings.open.get_mut(&1).unwrap().data_bytes = MOST_DATA_BYTES - 2;
        recordings.append(1, 0, &[1]).unwrap();
        assert!(recordings.append(1, 0, &[1]).is_err());
    }

    #[test]
    fn what_a_crash_left_becomes_a_whole_file() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        begin(&mut recordings, "a.wav").unwrap();
        recordings.append(1, 0, &[1, 2, 3]).unwrap();
        drop(recordings);
        std::fs::write(folder.path("unfinished/short.wav"), b"RIFF").unwrap();
        std::fs::write(folder.path("unfinished/other.wav"), [0; 100]).unwrap();
        let recordings = self::recordings(&folder, 0);
        assert_eq!(recordings.repair().unwrap(), 1);
        assert_eq!(read(&folder, "a.wav").1, [1, 2, 3]);
        assert_eq!(std::fs::read_dir(folder.path("unfinished")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(folder.path("recordings")).unwrap().count(), 1);
    }

    #[test]
    fn names_cannot_leave_the_folder_nor_take_another_file() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        assert!(begin(&mut recordings, "../a.wav").is_err());
        begin(&mut recordings, "a.wav").unwrap();
        assert!(recordings.begin(2, "a.wav".into(), 1, 8000).is_err());
    }

    #[test]
    fn recordings_under_way_are_bounded() {
        let folder = TestFolder::new();
        let mut recordings = recordings(&folder, 0);
        for recording in 0..MOST_OPEN as u64 {
            recordings.begin(recording, format!("{recording}.wav"), 1, 8000).unwrap();
        }
        let error = recordings.begin(1000, "a.wav".into(), 1, 8000).unwrap_err();
        assert_eq!(error, "more than 256 recordings at one time");
        recordings.finish_all();
        assert_eq!(std::fs::read_dir(folder.path("recordings")).unwrap().count(), MOST_OPEN);
    }
}
