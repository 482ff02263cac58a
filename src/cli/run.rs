//! `run`: from the configuration to a gateway that serves it.

use std::os::fd::AsFd;
use std::path::Path;

use super::Failure;
use crate::driver::{self, environment};
use crate::logger::{self, Filter, Sink};

/// `branchline run`
pub fn run(config: Option<&Path>) -> Result<(), Failure> {
    let path = environment::find_config(config).map_err(Failure::Usage)?;
    let config = driver::load(&path).map_err(Failure::Config)?;
    let filter = Filter::parse(&config.gateway.log).map_err(Failure::Usage)?;
    logger::install(filter, config.gateway.redact, sink(), environment::unix_ms);
    log_panics();
    driver::run(&path, config).map_err(Failure::Failed)
}

/// systemd names the stream that it gave us: ours if standard error is that one.
fn sink() -> Sink {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stat = rustix::fs::fstat(std::io::stderr().as_fd());
    let own = stat.map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino)).unwrap_or_default();
    if !own.is_empty() && named == own { Sink::Journal } else { Sink::Plain }
}

/// A bug's place goes to the log like everything else; the thread's loop goes on.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        log::error!("thread {}: {panic}", thread.name().unwrap_or("?"));
    }));
}
