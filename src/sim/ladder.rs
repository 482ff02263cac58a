//! The call ladder: what phones and scripts saw, one line each, without retransmissions.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Ladder {
    lines: Vec<(Duration, String)>,
    seen: HashSet<(String, String)>,
}

impl Ladder {
    pub fn add(&mut self, at: Duration, line: String) {
        self.lines.push((at, line));
    }

    /// A SIP message: the same one again (by branch and CSeq) is a retransmission.
    pub fn add_message(&mut self, at: Duration, line: String, identity: String) {
        if self.seen.insert((line.clone(), identity)) {
            self.add(at, line);
        }
    }

    /// Lines without times.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (_, line) in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Lines with times, to read when a test fails.
    pub fn timed(&self) -> String {
        let mut text = String::new();
        for (at, line) in &self.lines {
            let _ = writeln!(text, "{:8.3} {line}", at.as_secs_f64()); // A String takes every line.
        }
        text
    }
}
