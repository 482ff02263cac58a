//! The shipped configuration and scenarios inside the binary, so that it can demo anywhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of a demo; removed at the end unless it is to be kept.
pub struct Folder {
    pub path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// `kept`: where to keep everything; `None`: a temporary folder.
    pub fn make(kept: Option<&Path>) -> io::Result<Self> {
        let temporary =
            || std::env::temp_dir().join(format!("branchline-demo-{}", std::process::id()));
        let path = kept.map_or_else(temporary, Path::to_owned);
        fs::create_dir_all(&path)?;
        Ok(Self { path, is_kept: kept.is_some() })
    }

    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Writes scenarios, prompts and the configuration for these ports.
    pub fn fill(&self, sip_port: u16) -> io::Result<()> {
        for (name, bytes) in FILES {
            let path = self.path.join("scenarios").join(name);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, bytes)?;
        }
        fs::write(self.config(), config(sip_port))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // It lies in the folder of temporary files, which the system cleans.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The shipped configuration on loopback, on free ports, with SIP messages in the log.
fn config(sip_port: u16) -> String {
    let mut text = SHIPPED.to_owned();
    for (shipped, ours) in changes(sip_port) {
        text = text.replacen(shipped, &ours, 1);
    }
    text
}

fn changes(sip_port: u16) -> [(&'static str, String); 5] {
    [
        ("[\"127.0.0.1:8080\"]", "[\"127.0.0.1:0\"]".into()),
        (
            "[\"udp://0.0.0.0:5060\", \"tcp://0.0.0.0:5060\"]",
            format!("[\"udp://127.0.0.1:{sip_port}\"]"),
        ),
        ("\"sip:127.0.0.1:5060\"", format!("\"sip:127.0.0.1:{sip_port}\"")),
        ("log = \"info\"", "log = \"info,driver::wire=debug\"".into()),
        ("redact = true", "redact = false".into()),
    ]
}

const SHIPPED: &str = include_str!("../../../config.toml");

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../../scenarios/", $name)))),*]
    };
}

/// Every script that the configuration names, and the prompts of the callback.
const FILES: &[(&str, &[u8])] = files! {
    "callback.js"
    "clicktocall.js"
    "greeting.js"
    "notification.js"
    "survey.js"
    "voicemail.js"
    "phones/answer.js"
    "phones/busy.js"
    "phones/presses.js"
    "phones/silent.js"
    "prompts/callback.wav"
    "prompts/phone-hello.wav"
    "prompts/phone-second.wav"
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_finds_its_place_in_the_shipped_configuration() {
        for (shipped, _) in changes(5062) {
            assert_eq!(SHIPPED.matches(shipped).count(), 1, "{shipped}");
        }
    }

    #[test]
    fn every_script_of_the_configuration_is_inside() {
        let names = SHIPPED.lines().filter_map(|line| line.trim().strip_prefix("scenarios = [\""));
        for name in names.filter_map(|rest| rest.split('"').next()) {
            assert!(FILES.iter().any(|(file, _)| *file == name), "{name}");
        }
    }
}
