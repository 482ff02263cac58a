//! Sounds of the scenarios folder: `file:NAME` or a relative name, never anything outside it.

use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// A file that may be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundFile {
    pub path: PathBuf,
    pub modified: Option<SystemTime>,
    pub bytes: u64,
}

/// Finds `name` in `folder` or in its `prompts`.
///
/// # Errors
/// For the script: what is wrong with the name.
pub fn find(folder: &Path, name: &str) -> Result<SoundFile, String> {
    let is_inside = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || name.contains('\0') || !Path::new(name).components().all(is_inside) {
        return Err(format!("{name:?} is not a name inside the scenarios folder"));
    }
    let missing = || format!("{name:?} is not in the scenarios folder nor in its prompts");
    // Links inside the folder may lead out of it.
    let root = folder.canonicalize().map_err(|error| format!("scenarios folder: {error}"))?;
    let places = [root.join(name), root.join(PROMPTS).join(name)];
    let path = places.iter().find_map(|path| path.canonicalize().ok()).ok_or_else(missing)?;
    if !path.starts_with(&root) {
        return Err(format!("{name:?} leads out of the scenarios folder"));
    }
    let metadata = path.metadata().map_err(|error| format!("{name:?}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{name:?} is not a file"));
    }
    Ok(SoundFile { path, modified: metadata.modified().ok(), bytes: metadata.len() })
}

/// Opens a file of `most_bytes` at most; with its length.
///
/// # Errors
/// For the script.
pub fn open(file: &SoundFile, most_bytes: usize) -> Result<(File, u64), String> {
    if file.bytes > most_bytes as u64 {
        return Err(too_large(most_bytes));
    }
    let opened = File::open(&file.path).map_err(|error| error.to_string())?;
    Ok((opened, file.bytes))
}

pub fn too_large(most_bytes: usize) -> String {
    format!("the sound is larger than {} MB", most_bytes >> 20)
}

const PROMPTS: &str = "prompts";

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::super::test_folder::TestFolder;
    use super::*;

    fn folder() -> TestFolder {
        let folder = TestFolder::new();
        std::fs::create_dir_all(folder.path("scenarios/prompts/de")).unwrap();
        std::fs::write(folder.path("secret.wav"), "secret").unwrap();
        for name in ["a.wav", "prompts/a.wav", "prompts/b.wav", "prompts/de/c d.wav"] {
            std::fs::write(folder.path("scenarios").join(name), name).unwrap();
        }
        folder
    }

    fn content(folder: &TestFolder, name: &str) -> Result<String, String> {
        let file = find(&folder.path("scenarios"), name)?;
        let mut content = String::new();
        open(&file, 100)?.0.read_to_string(&mut content).unwrap();
        Ok(content)
    }

    #[test]
    fn names_are_found_in_the_folder_and_in_its_prompts() {
        let folder = folder();
        for (name, found) in [
            ("a.wav", "a.wav"),
            ("./a.wav", "a.wav"),
            ("b.wav", "prompts/b.wav"),
            ("prompts/b.wav", "prompts/b.wav"),
            ("de/c d.wav", "prompts/de/c d.wav"),
        ] {
            assert_eq!(content(&folder, name).as_deref(), Ok(found), "{name}");
        }
    }

    #[test]
    fn nothing_outside_the_folder_is_read() {
        let folder = folder();
        let secret = folder.path("secret.wav");
        std::os::unix::fs::symlink(&secret, folder.path("scenarios/link.wav")).unwrap();
        let absolute = secret.to_str().unwrap();
        for name in
            ["../secret.wav", "prompts/../../secret.wav", absolute, "link.wav", "", "a\0.wav", ".."]
        {
            let error = content(&folder, name).unwrap_err();
            assert!(error.contains("scenarios folder"), "{name}: {error}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = folder();
        assert!(content(&folder, "prompts").unwrap_err().ends_with("is not a file"));
        assert!(content(&folder, "z.wav").unwrap_err().contains("is not in the scenarios folder"));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let folder = folder();
        let file = find(&folder.path("scenarios"), "a.wav").unwrap();
        assert!(open(&file, 5).is_ok());
        assert_eq!(open(&file, 4).unwrap_err(), "the sound is larger than 0 MB");
    }
}
