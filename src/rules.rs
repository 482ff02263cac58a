//! Rule match and dial plan: which scripts an inbound call runs, which trunks a number takes.

/// A whole-string pattern (`^(?:pattern)$`); a leading `+` is literal.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: regex_lite::Regex,
}
