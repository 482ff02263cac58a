//! `reload`: the configuration is read again by the gateway that runs on it.

use std::path::Path;

use super::Failure;
use super::client;

/// `branchline reload`
pub fn reload(config: Option<&Path>) -> Result<(), Failure> {
    // Reading the configuration to find the gateway checks it on the way.
    let (client, _) = client::connect(config)?;
    client.keyed("/reload", &[])?;
    super::output::put("reloaded\n");
    Ok(())
}
