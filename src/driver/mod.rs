//! The world: sockets, threads, channels, clocks, files. The only room that does I/O.
//!
//! The reactor thread owns the gateway and all SIP and HTTP sockets; media threads own RTP;
//! JavaScript threads own runtimes and do no I/O; the disk thread owns files and the database.
//! Every channel between them is bounded:
//!
//! | way | carries | room | when full |
//! |---|---|---|---|
//! | JavaScript to reactor | commands, answers | [`SCRIPT_OUTPUTS`] | the script waits |
//! | reactor to JavaScript | events | `worker::INPUTS` | the session it is for is ended |
//! | media to reactor | events | [`MEDIA_EVENTS`] | levels are dropped, the rest kept back |
//! | reactor to media | commands | [`media::COMMANDS`] | kept back, then refused save ends |
//! | reactor and media to disk | rows, lines, samples | `disk::queue` | lost by kind, counted |
//! | disk to reactor | answers | [`DISK_ANSWERS`] | kept back, then the oldest are lost |
//! | HTTP connections to reactor | requests | [`HTTP_REQUESTS`] | the client waits |
//! | SIP connections to reactor | bytes | [`STREAM_EVENTS`] | the peer's TCP window closes |
//! | reactor to a SIP connection | bytes | 64 KiB | the connection is closed |
//! | TLS peers to reactor | handshakes | `stream::HANDSHAKES` | the busiest source's oldest goes |
//! | a web server to a decoder | pieces of a sound | `sounds::PARTS` | the server waits |
//! | tasks to reactor | sounds, fetches, names | [`TASK_RESULTS`] | the task waits |
//! | signals to reactor | TERM, INT, HUP | [`SIGNALS`] | they gather in the system |

pub mod data_dir;
pub mod environment;

mod culprit;
mod disk;
mod dns;
mod http_client;
mod http_pool;
mod http_server;
mod icmp;
mod life;
pub mod media;
mod outputs;
mod pace;
mod poll;
mod priority;
mod process;
mod reactor;
mod requests;
mod resolve;
mod sd_notify;
mod signals;
mod sockets;
mod sounds;
mod speech;
mod start;
mod stream;
mod tasks;
#[cfg(test)]
mod test_allocator;
#[cfg(test)]
mod test_folder;
#[cfg(test)]
mod test_traffic_class;
mod trim;
mod turns;
mod udp;
mod wire;
mod worker;

use std::collections::BTreeSet;
use std::path::Path;

pub use self::disk::history_at_rest;
pub use self::start::run;

use crate::config::{Config, Problem};
use crate::scenario;
use crate::scenario::worker::Script;

/// Reads the configuration and compiles its scripts.
///
/// # Errors
/// All problems at once.
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    let config = environment::load_config(path)?;
    let problems = uncompilable(path, &config);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// A problem for each script with a syntax error, once however many rules name it.
fn uncompilable(path: &Path, config: &Config) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for rule in config.applications.iter().flat_map(|application| &application.rules) {
        for script in rule.scripts.iter().filter(|script| seen.insert(script.name.clone())) {
            let (name, source) = (script.name.clone(), script.source.to_string());
            if let Err(error) = scenario::check(&Script { name, source }) {
                let text = format!("[application.rule.{}] scenarios: {error}", rule.name);
                let file = path.display().to_string();
                problems.push(Problem { file, line: None, text });
            }
        }
    }
    problems
}

/// Some 20 for each of the sessions of a usual machine.
const SCRIPT_OUTPUTS: usize = 4096;
const MEDIA_EVENTS: usize = 4096;
const DISK_ANSWERS: usize = 256;
const HTTP_REQUESTS: usize = 256;
const STREAM_EVENTS: usize = 256;
const TASK_RESULTS: usize = 256;
const SIGNALS: usize = 4;
