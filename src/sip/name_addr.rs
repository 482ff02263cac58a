//! Name-addr values: From, To, Contact, Route and their kin (RFC 3261 §20.10).

use std::fmt;
use std::str::FromStr;

use super::lexical::{self, Malformed, trim};
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

impl NameAddr {
    /// `<uri>`.
    pub fn new(uri: Uri) -> Self {
        Self { display_name: String::new(), uri, parameters: Vec::new() }
    }

    /// Reads a comma-separated list. Empty members are an error.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Malformed> {
        lexical::split(text, ',').into_iter().map(str::parse).collect()
    }

    pub fn set_tag(&mut self, tag: impl Into<String>) {
        self.set_parameter("tag", Some(tag.into()));
    }

    pub fn set_parameter(&mut self, name: &str, value: Option<String>) {
        lexical::set_parameter(&mut self.parameters, name, value);
    }

    /// The dialog's tag; an empty one is none.
    pub fn tag(&self) -> Option<&str> {
        self.parameter("tag").filter(|tag| !tag.is_empty())
    }

    /// The value of a header parameter by its lower-case name, empty for a flag.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        lexical::parameter(&self.parameters, name)
    }
}

impl FromStr for NameAddr {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let text = trim(text);
        let (display_name, rest) = if text.starts_with('"') {
            let (display_name, rest) = lexical::unquote(text)?;
            (display_name, trim(rest))
        } else {
            match text.find('<') {
                // Tokens by the grammar; a comma or any other sign is understood all the same
                // (RFC 4475 §3.1.2.15).
                Some(at) => (trim(&text[..at]).to_owned(), &text[at..]),
                None => (String::new(), text),
            }
        };
        if display_name.is_empty() && !rest.starts_with('<') && !text.starts_with('"') {
            return Self::parse_bare(rest);
        }
        if display_name.contains('"') && !text.starts_with('"') {
            return Err(Malformed("quote inside a display name"));
        }
        let rest = rest.strip_prefix('<').ok_or(Malformed("URI in angle brackets expected"))?;
        let (uri, behind) = rest.split_once('>').ok_or(Malformed("angle bracket not closed"))?;
        let behind = trim(behind);
        if !behind.is_empty() && !behind.starts_with(';') {
            return Err(Malformed("text behind the angle brackets"));
        }
        // Blanks inside the brackets are wrong and harmless (RFC 4475 §3.1.2.14).
        let uri = trim(uri).parse()?;
        Ok(Self { display_name, uri, parameters: lexical::parameters(behind)? })
    }
}

impl NameAddr {
    /// Without brackets every parameter is the header's, and the URI must not hold a comma or a
    /// question mark (RFC 3261 §20).
    fn parse_bare(text: &str) -> Result<Self, Malformed> {
        let (uri, parameters) = text.split_once(';').unwrap_or((text, ""));
        if uri.contains([',', '?']) {
            return Err(Malformed("URI with a comma or question mark outside angle brackets"));
        }
        let uri = trim(uri).parse()?;
        Ok(Self { display_name: String::new(), uri, parameters: lexical::parameters(parameters)? })
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.display_name.is_empty() {
            write!(f, "{} ", lexical::quoted(&self.display_name))?;
        }
        write!(f, "<{}>", self.uri)?;
        lexical::write_parameters(f, &self.parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NameAddr {
        text.parse().expect(text)
    }

    #[test]
    fn forms_of_rfc_3261_20_10_are_read() {
        let quoted = parse(r#""Mr. Watson" <sip:watson@worcester.bell-telephone.com>;q=0.7"#);
        assert_eq!(quoted.display_name, "Mr. Watson");
        assert_eq!(quoted.parameter("q"), Some("0.7"));
        let tokens = parse("Lee M. Foote <sips:lee.foote@example.com>");
        assert_eq!(tokens.display_name, "Lee M. Foote");
        let bare = parse("sip:c8oqz84zk7z@privacy.org;tag=hyh8");
        assert_eq!(bare.tag(), Some("hyh8"));
        assert!(bare.uri.parameters.is_empty());
        let inside = parse("<sip:+19725552222@gw1.example.net;unknownparam>");
        assert_eq!(inside.uri.parameter("unknownparam"), Some(""));
    }

    #[test]
    fn no_blank_is_needed_before_the_bracket() {
        assert_eq!(parse("caller<sip:caller@example.com>;tag=323").display_name, "caller");
    }

    #[test]
    fn lists_are_split_outside_quotes() {
        let list = NameAddr::parse_list(r#""a, b" <sip:a@x>;q=1, <sip:c,d@y>"#).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].display_name, "a, b");
        assert_eq!(list[1].uri.user.as_deref(), Some("c,d"));
        assert!(NameAddr::parse_list("<sip:a@x>,,").is_err());
        assert!(NameAddr::parse_list("").is_err());
    }

    #[test]
    fn what_is_written_is_quoted_where_needed() {
        let mut address = parse(r#""A \"b\"" <sip:a@x>;+sip.instance="<urn:uuid:1>""#);
        address.set_tag("a@192.0.2.1");
        assert_eq!(
            address.to_string(),
            r#""A \"b\"" <sip:a@x>;+sip.instance="<urn:uuid:1>";tag=a@192.0.2.1"#
        );
    }

    #[test]
    fn broken_values_are_refused() {
        for text in [
            r#""Mr. J. User <sip:j.user@example.com>"#,
            "<sip:a@b",
            "<sip:a@b> x",
            "x",
            r#""x""#,
            r#"a "b" <sip:a@b>"#,
            "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            "<sip:a@b>;tag=a b",
        ] {
            assert!(text.parse::<NameAddr>().is_err(), "{text}");
        }
    }
}
