//! Log files of sessions: lines gather for a batch, then each file gets one write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::stats;
use crate::storage::file_name;

/// The logs under way.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    gathered: BTreeMap<String, Gathered>,
    gathered_bytes: usize,
    /// The longest unused first. Full: that one is closed, and opened again when it needs to be.
    open: Vec<(String, File)>,
    is_failing: bool,
}

#[derive(Debug, Default)]
struct Gathered {
    text: String,
    lines: u64,
    is_last: bool,
}

impl Logs {
    /// The folder exists.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            gathered: BTreeMap::new(),
            gathered_bytes: 0,
            open: Vec::new(),
            is_failing: false,
        }
    }

    pub fn line(&mut self, name: String, line: &str) {
        if !file_name::is_plain(&name) {
            stats::LOG_LINES_LOST.add(1);
            return;
        }
        let gathered = self.gathered.entry(name).or_default();
        gathered.text.push_str(line);
        gathered.text.push('\n');
        gathered.lines += 1;
        self.gathered_bytes += line.len();
        if self.gathered_bytes >= MOST_GATHERED_BYTES {
            self.flush();
        }
    }

    /// No line comes after this.
    pub fn close(&mut self, name: &str) {
        match self.gathered.get_mut(name) {
            Some(gathered) => gathered.is_last = true,
            None => drop(self.take_open(name)),
        }
    }

    /// Writes what has gathered. Lines that cannot be written are lost and counted; how many
    /// bytes were written.
    pub fn flush(&mut self) -> u64 {
        self.gathered_bytes = 0;
        let mut written = 0;
        let mut failure = None;
        for (name, gathered) in std::mem::take(&mut self.gathered) {
            match self.append(name, &gathered) {
                Ok(()) => written += gathered.text.len() as u64,
                Err(error) => {
                    stats::LOG_LINES_LOST.add(gathered.lines);
                    failure = Some(error);
                }
            }
        }
        if let Some(error) = failure {
            stats::DISK_FAILURES.add(1);
            if !std::mem::replace(&mut self.is_failing, true) {
                log::error!("{}: {error}: lines of session logs are lost", self.folder.display());
            }
        } else if written > 0 && std::mem::take(&mut self.is_failing) {
            log::info!("{} is written again", self.folder.display());
        }
        written
    }

    fn append(&mut self, name: String, gathered: &Gathered) -> io::Result<()> {
        let mut file = match self.take_open(&name) {
            Some(file) => file,
            None => File::options().append(true).create(true).open(self.folder.join(&name))?,
        };
        file.write_all(gathered.text.as_bytes())?;
        if !gathered.is_last {
            if self.open.len() >= MOST_OPEN {
                self.open.remove(0);
            }
            self.open.push((name, file));
        }
        Ok(())
    }

    fn take_open(&mut self, name: &str) -> Option<File> {
        let place = self.open.iter().position(|(open, _)| open == name)?;
        Some(self.open.remove(place).1)
    }
}

/// Files open at one time.
const MOST_OPEN: usize = 64;
/// Gathered beyond this is written before the batch is due.
const MOST_GATHERED_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::super::super::test_folder::TestFolder;
    use super::*;

    #[test]
    fn lines_are_appended_in_order_also_to_an_older_file() {
        let folder = TestFolder::new();
        std::fs::write(folder.path("1.log"), "before\n").unwrap();
        let mut logs = Logs::new(folder.path(""));
        logs.line("1.log".into(), "one");
        logs.line("2.log".into(), "other");
        logs.line("1.log".into(), "two");
        assert_eq!(logs.flush(), 4 + 6 + 4);
        logs.line("1.log".into(), "three");
        logs.close("1.log");
        logs.close("2.log");
        logs.flush();
        let read = |name| std::fs::read_to_string(folder.path(name)).unwrap();
        assert_eq!(read("1.log"), "before\none\ntwo\nthree\n");
        assert_eq!(read("2.log"), "other\n");
        assert!(logs.open.is_empty());
    }

    #[test]
    fn open_files_are_bounded_and_come_back() {
        let folder = TestFolder::new();
        let mut logs = Logs::new(folder.path(""));
        for round in 0..2 {
            for number in 0..100 {
                logs.line(format!("{number}.log"), &format!("round {round}"));
            }
            logs.flush();
            assert_eq!(logs.open.len(), MOST_OPEN);
        }
        let text = std::fs::read_to_string(folder.path("0.log")).unwrap();
        assert_eq!(text, "round 0\nround 1\n");
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let folder = TestFolder::new();
        let mut logs = Logs::new(folder.path(""));
        std::os::unix::fs::symlink("/dev/full", folder.path("1.log")).unwrap();
        let lost = stats::LOG_LINES_LOST.value();
        logs.line("1.log".into(), "one");
        logs.line("1.log".into(), "two");
        logs.line("2.log".into(), "kept");
        logs.flush();
        assert!(stats::LOG_LINES_LOST.value() >= lost + 2);
        assert!(logs.is_failing);
        assert_eq!(std::fs::read_to_string(folder.path("2.log")).unwrap(), "kept\n");
        logs.line("2.log".into(), "again");
        logs.flush();
        assert!(!logs.is_failing);
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let folder = TestFolder::new();
        std::fs::create_dir(folder.path("logs")).unwrap();
        let mut logs = Logs::new(folder.path("logs"));
        logs.line("../1.log".into(), "one");
        assert_eq!(logs.flush(), 0);
        assert!(!folder.path("1.log").exists());
    }

    #[test]
    fn much_at_once_is_written_early() {
        let folder = TestFolder::new();
        let mut logs = Logs::new(folder.path(""));
        logs.line("1.log".into(), &"x".repeat(MOST_GATHERED_BYTES));
        assert!(logs.gathered.is_empty());
    }
}
