//! Name-addr values: From, To, Contact, Route and their kin (RFC 3261 §20.10).

use super::uri::Uri;

/// From, To, Contact, Route, Record-Route, Refer-To, ...: `"Display" <uri>;parameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// Without quotes and escapes; empty when absent.
    pub display_name: String,
    pub uri: Uri,
    /// Header parameters (`tag`, `expires`, `q`): names lower case, values unquoted.
    pub parameters: Vec<(String, Option<String>)>,
}
