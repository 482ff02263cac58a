//! `check`: what is wrong with the configuration and its scripts, and what it takes at worst.

use std::path::Path;

use super::{Failure, output};
use crate::budget::Budget;
use crate::config::Config;
use crate::driver::{self, environment};

/// `branchline check`
pub fn check(config: Option<&Path>) -> Result<(), Failure> {
    let path = environment::find_config(config).map_err(Failure::Usage)?;
    let config = driver::load(&path).map_err(Failure::Config)?;
    output::put(&format!("{}: ok\n{}", path.display(), summary(&config)));
    let budget = Budget::of(&config.limits, environment::memory_bytes());
    output::put(&budget.map_err(|error| error.to_string())?.to_string());
    Ok(())
}

/// Rules with their scripts, trunks and users.
fn summary(config: &Config) -> String {
    let mut text = String::new();
    for application in &config.applications {
        for rule in &application.rules {
            let scripts: Vec<&str> = rule.scripts.iter().map(|one| one.name.as_str()).collect();
            let scripts = scripts.join(", ");
            let numbers = match rule.pattern.as_str() {
                "" => "over HTTP only".to_owned(),
                pattern => format!("takes {pattern}"),
            };
            text.push_str(&format!("  rule {} {}, {numbers}: {scripts}\n", rule.id, rule.name));
        }
    }
    let (trunks, users) = (config.trunks.len(), config.users.len());
    let sessions = config.limits.sessions;
    text.push_str(&format!(
        "  trunks: {trunks}, users: {users}, sessions at one time: {sessions}\n"
    ));
    text
}
