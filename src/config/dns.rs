//! `[dns]`: which servers are asked for names, and how patiently.

use std::net::SocketAddr;
use std::time::Duration;

use super::read::Table;
use crate::dns::servers::MAX_SERVERS;
use crate::dns::{PORT, Settings};

/// The table `[dns]`.
pub fn settings(table: Table<'_>) -> Settings {
    let default = Settings::default();
    let default_ms = default.patience.as_millis() as u64;
    let settings = Settings {
        servers: servers(&table),
        patience: Duration::from_millis(table.number("timeout_ms", 100..=10_000, default_ms)),
        attempts: table.size("attempts", 1..=5, default.attempts as usize) as u32,
    };
    table.finish();
    settings
}

/// `192.0.2.53`, `192.0.2.53:5353` or `[2001:db8::53]:53`
fn servers(table: &Table<'_>) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for item in table.strings("servers").unwrap_or_default() {
        let with_port = || Some(SocketAddr::new(item.text.parse().ok()?, PORT));
        match item.text.parse().ok().or_else(with_port) {
            Some(server) if servers.contains(&server) => {
                table.problem_at(item.line, format!("servers \"{}\" is twice", item.text));
            }
            Some(server) => servers.push(server),
            None => {
                let text = "is not an address such as 192.0.2.53 or 192.0.2.53:5353";
                table.problem_at(item.line, format!("servers \"{}\" {text}", item.text));
            }
        }
    }
    if servers.len() > MAX_SERVERS {
        table.problem("servers", format!("names more than {MAX_SERVERS}"));
    }
    servers
}
