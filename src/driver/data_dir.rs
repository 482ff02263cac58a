//! The data folder's own files: who uses it (`gateway.lock`) and the key of the API (`api_key`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::random::Random;

/// Holds the folder for this process, so that two gateways cannot share it.
///
/// The file stays behind: whoever finds it without a lock on it knows that nobody runs.
pub struct Lock {
    file: File,
}

/// The gateway that runs on a folder, as the other commands find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub pid: u32,
    /// Base of its HTTP server as this machine reaches it, `http://127.0.0.1:8080`.
    pub url: String,
}

impl Lock {
    /// Makes the folder where it is missing, and takes it.
    ///
    /// # Errors
    /// Says what to do.
    pub fn take(folder: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| {
            format!("{}: {error}; choose another [gateway] data_dir", folder.display())
        };
        // Recordings and logs are nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(failed)?;
        let path = folder.join(LOCK);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let file = file.open(&path).map_err(failed)?;
        if !is_locked_by_us(&file) {
            return Err(match owner(folder) {
                Some(owner) => format!(
                    "{} is in use by a gateway with pid {}: stop that one, or choose another \
                     [gateway] data_dir",
                    folder.display(),
                    owner.pid
                ),
                None => format!("{} is in use by another gateway", folder.display()),
            });
        }
        Ok(Self { file })
    }

    /// Tells the other commands where this gateway is.
    pub fn publish(&mut self, url: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        writeln!(self.file, "{}\n{url}", std::process::id())
    }
}

/// Another command that looks who owns the folder has it for an instant.
fn is_locked_by_us(file: &File) -> bool {
    (0..5).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

/// The gateway that runs on this folder now.
pub fn owner(folder: &Path) -> Option<Owner> {
    let file = File::open(folder.join(LOCK)).ok()?;
    // A shared lock can be had: nobody holds the folder, the file is left over.
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let (pid, url) = (lines.next()?.parse().ok()?, lines.next()?.to_owned());
    Some(Owner { pid, url })
}

/// Where the key is kept that is made at the first start.
pub fn api_key_path(folder: &Path) -> PathBuf {
    folder.join("api_key")
}

/// The key as it is kept.
pub fn read_api_key(folder: &Path) -> io::Result<String> {
    let mut key = String::new();
    File::open(api_key_path(folder))?.take(API_KEY_CHARS).read_to_string(&mut key)?;
    let key = key.trim().to_owned();
    match key.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty: remove it")),
        false => Ok(key),
    }
}

/// The key as it is kept, or a new one that only this user may read.
///
/// # Errors
/// Names the file and what to do.
pub fn api_key(folder: &Path, random: &mut Random) -> Result<String, String> {
    let path = api_key_path(folder);
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    match read_api_key(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(failed),
    }
    let key = random.hex(API_KEY_BYTES);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| writeln!(file, "{key}").and_then(|()| file.sync_all()));
    written.map_err(failed)?;
    log::info!("API key made; it is in {}", path.display());
    Ok(key)
}

const LOCK: &str = "gateway.lock";
/// 256 bits.
const API_KEY_BYTES: usize = 32;
const API_KEY_CHARS: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir();
        folder.join(format!("branchline-{name}-{}", std::process::id()))
    }

    #[test]
    fn folder_has_one_owner_at_one_time() {
        let folder = folder("lock");
        let mut lock = Lock::take(&folder).unwrap();
        lock.publish("http://127.0.0.1:8080").unwrap();
        let pid = std::process::id();
        let expected = Owner { pid, url: "http://127.0.0.1:8080".into() };
        assert_eq!(owner(&folder), Some(expected));
        let error = Lock::take(&folder).err().unwrap();
        assert!(error.contains(&format!("pid {pid}")), "{error}");
        drop(lock);
        assert_eq!(owner(&folder), None);
        drop(Lock::take(&folder).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn key_is_made_once_and_readable_by_the_owner_alone() {
        let folder = folder("key");
        fs::create_dir(&folder).unwrap();
        let key = api_key(&folder, &mut Random::System).unwrap();
        assert_eq!(key.len(), 64);
        let mode = fs::metadata(api_key_path(&folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(api_key(&folder, &mut Random::System).unwrap(), key);
        fs::write(api_key_path(&folder), "\n").unwrap();
        assert!(api_key(&folder, &mut Random::System).unwrap_err().contains("remove it"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
