//! What the machine tells: the wall clock, its memory, the configuration file and what it names.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::WallClock;
use crate::config::{Config, Environment, FileText, Problem};

/// Unix time in milliseconds. Not by `SystemTime`, which panics after 2038 on 32-bit musl.
pub fn unix_ms() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

pub fn wall_clock() -> WallClock {
    WallClock::new(Instant::now(), unix_ms())
}

/// Where the configuration is: as named, else `./config.toml`, else `/etc/branchline/config.toml`.
///
/// # Errors
/// Says where was looked.
pub fn find_config(named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let places = ["config.toml", "/etc/branchline/config.toml"].map(Path::new);
    let found = places.into_iter().find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        "no ./config.toml and no /etc/branchline/config.toml; name one with --config FILE".into()
    })
}

/// Reads and checks the configuration with everything that it names.
///
/// # Errors
/// All problems at once.
pub fn load_config(path: &Path) -> Result<Config, Vec<Problem>> {
    let text = read_file(path, CONFIG_BYTES).map_err(|error| {
        vec![Problem { file: path.display().to_string(), line: None, text: error }]
    })?;
    let environment = Environment {
        variable: &|name| std::env::var(name).ok(),
        file: &read_file,
        memory_bytes: memory_bytes(),
    };
    Config::parse(path, &text.text, &environment)
}

/// Memory that this process may use: of the machine, or of its cgroup where that is less.
pub fn memory_bytes() -> u64 {
    let machine = read_start("/proc/meminfo").as_deref().and_then(meminfo_total);
    let groups = read_start("/proc/self/cgroup").unwrap_or_default();
    let limits = cgroup_limit_files(&groups);
    let group = limits.iter().filter_map(|file| read_start(file)?.trim().parse().ok()).min();
    match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (Some(bytes), None) | (None, Some(bytes)) => bytes,
        // Neither is there in a bare chroot: what a small machine has.
        (None, None) => 256 << 20,
    }
}

/// Lets this process have as many descriptors as the system allows, and says so where those are
/// fewer than `wanted`.
pub fn allow_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        log::warn!("open files: {error}");
    }
    if let Some(allowed) = getrlimit(Resource::Nofile).current.filter(|most| *most < wanted) {
        log::warn!(
            "the system allows {allowed} open files, full use takes {wanted}: raise LimitNOFILE \
             of the service (ulimit -n), or calls may find no port"
        );
    }
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<u64> {
    let status = read_start("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// A text file of at most `most` bytes.
fn read_file(path: &Path, most: usize) -> Result<FileText, String> {
    let file = File::open(path).map_err(|error| reason(&error))?;
    let metadata = file.metadata().map_err(|error| reason(&error))?;
    if metadata.is_dir() {
        return Err("is a folder".into());
    }
    let mut bytes = Vec::new();
    let mut limited = file.take(most as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() > most {
        return Err(format!("is larger than {most} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8 text at byte {}", error.utf8_error().valid_up_to())
    })?;
    Ok(FileText { text, modified_unix: metadata.modified().map_or(0, unix_seconds) })
}

/// An I/O error as one says it after a file's name.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => "may not be read".into(),
        _ => error.to_string(),
    }
}

fn unix_seconds(time: SystemTime) -> i64 {
    let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => seconds(after),
        Err(before) => -seconds(before.duration()),
    }
}

/// Files of the kernel are small, but say no size.
fn read_start(path: impl AsRef<Path>) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(KERNEL_FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `MemTotal:       16384 kB`
fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The files that may limit us, of this group and of those above it (version 2), or of the memory
/// controller (version 1). `max` in them is no number and so no limit.
fn cgroup_limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let root = Path::new(root);
        let group = root.join(group.trim_start_matches('/'));
        let levels = group.ancestors().take_while(|level| level.starts_with(root));
        files.extend(levels.take(CGROUP_LEVELS).map(|level| level.join(name)));
    }
    files
}

const CONFIG_BYTES: usize = 1 << 20;
const KERNEL_FILE_BYTES: u64 = 16 << 10;
const CGROUP_LEVELS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_machine_is_read() {
        assert_eq!(meminfo_total("MemTotal:        1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
        assert_eq!(meminfo_total("MemFree: 1 kB\n"), None);
        assert!(memory_bytes() > 16 << 20);
    }

    #[test]
    fn limits_of_every_group_above_count() {
        let files = cgroup_limit_files("0::/system.slice/branchline.service\n");
        let expected = [
            "/sys/fs/cgroup/system.slice/branchline.service/memory.max",
            "/sys/fs/cgroup/system.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        let files = cgroup_limit_files("9:memory:/a\n8:cpu,cpuacct:/a\n");
        let expected = ["a", ""].map(|group| {
            Path::new("/sys/fs/cgroup/memory").join(group).join("memory.limit_in_bytes")
        });
        assert_eq!(files, expected);
        assert!(cgroup_limit_files("nonsense\n").is_empty());
    }

    #[test]
    fn missing_config_says_why_in_its_own_name() {
        let problems = load_config(Path::new("/nowhere/config.toml")).unwrap_err();
        assert_eq!(problems[0].to_string(), "/nowhere/config.toml: no such file");
        let problems = load_config(Path::new("/")).unwrap_err();
        assert_eq!(problems[0].to_string(), "/: is a folder");
    }

    #[test]
    fn files_beyond_their_limit_or_without_text_are_refused() {
        let path = std::env::temp_dir().join(format!("branchline-file-{}", std::process::id()));
        std::fs::write(&path, [b'a', b'b', 0xff]).unwrap();
        assert_eq!(read_file(&path, 2).unwrap_err(), "is larger than 2 bytes");
        assert_eq!(read_file(&path, 3).unwrap_err(), "is not UTF-8 text at byte 2");
        std::fs::remove_file(&path).unwrap();
    }
}
