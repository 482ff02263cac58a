//! The quality of what the media engine lets people hear, by instrument: tones through every pair
//! of codecs, and through links that lose and delay packets, in virtual time.
//!
//! Prints its tables whether the tests pass or not. Levels and noise are those of a sine that is
//! fitted to what the far end decodes; delays are taken where the tone ends. How the codecs compare
//! with those of other programs is shown in `tests/data/codec` and `tests/interop`.

mod bench;
mod links;
mod measure;
mod pairs;

use std::io::Write;

/// Past the capture of the test runner, which shows only what failed; `tests/run` repeats the
/// closing line at its end.
fn print_table(title: &str, lines: &[String], closing: &str) {
    let text = format!("\n{title}\n{}\nquality: {closing}\n", lines.join("\n"));
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .expect("the output of a test can be written");
}
