//! Rule match and dial plan: which scripts an inbound call runs, which trunks a number takes.

use std::fmt;

use crate::config::{Application, From, Route, Rule};

/// A whole-string pattern (`^(?:pattern)$`); a leading `+` is literal (VoxEngine reference 1.2).
/// The empty pattern matches nothing: a rule that is only started over HTTP.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: regex_lite::Regex,
}

impl Pattern {
    /// Compiles what the operator wrote; the error says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let literal_plus = match text.strip_prefix('+') {
            Some(rest) => format!("\\+{rest}"),
            None => text.to_owned(),
        };
        // By itself first: `a)(b` would be balanced by the wrapping.
        compile(&literal_plus)?;
        let regex = compile(&format!("^(?:{literal_plus})$"))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    pub fn matches(&self, number: &str) -> bool {
        !self.text.is_empty() && self.regex.is_match(number)
    }

    /// As the operator wrote it, for GetRules.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whose call it is, in the words of a rule's `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'a> {
    Trunk(&'a str),
    User(&'a str),
}

/// `trunk:pbx`, as a rule's `from` names it. The name of a user is private.
impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trunk(name) => write!(f, "trunk:{name}"),
            Self::User(name) => write!(f, "user:{}", crate::logger::Private(name)),
        }
    }
}

/// The rule of an inbound call: the first in file order whose pattern matches the whole
/// destination, whose exclude does not, and whose `from` names the caller.
pub fn find_rule<'a>(
    applications: &'a [Application],
    destination: &str,
    caller: Caller<'_>,
) -> Option<(&'a Application, &'a Rule)> {
    applications
        .iter()
        .flat_map(|application| application.rules.iter().map(move |rule| (application, rule)))
        .find(|(_, rule)| takes(rule, destination) && admits(rule, caller))
}

/// The rule that StartScenarios names.
pub fn rule_by_id(applications: &[Application], id: u32) -> Option<(&Application, &Rule)> {
    applications.iter().find_map(|application| {
        let rule = application.rules.iter().find(|rule| rule.id == id)?;
        Some((application, rule))
    })
}

/// Whether a rule's patterns take this number, whoever calls (GetRules `template`).
pub fn takes(rule: &Rule, destination: &str) -> bool {
    let is_excluded = rule.exclude.as_ref().is_some_and(|exclude| exclude.matches(destination));
    rule.pattern.matches(destination) && !is_excluded
}

/// What a trunk is to dial for a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial<'a> {
    /// After `strip` and `prefix`.
    pub number: String,
    /// In the order in which they are tried.
    pub trunks: &'a [String],
}

/// The first route whose pattern matches the number as the script dialled it.
pub fn dial<'a>(routes: &'a [Route], number: &str) -> Option<Dial<'a>> {
    let route = routes.iter().find(|route| route.pattern.matches(number))?;
    let kept: String = number.chars().skip(route.strip).collect();
    Some(Dial { number: format!("{}{kept}", route.prefix), trunks: &route.trunks })
}

fn admits(rule: &Rule, caller: Caller<'_>) -> bool {
    rule.from.iter().any(|from| match (from, caller) {
        (From::Any, _) => true,
        (From::Trunk(name), Caller::Trunk(caller)) => name == caller,
        (From::User(name), Caller::User(caller)) => name == caller,
        _ => false,
    })
}

fn compile(text: &str) -> Result<regex_lite::Regex, String> {
    regex_lite::RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| error.to_string())
}

/// Most memory of one compiled pattern. A dial plan's patterns take a few kilobytes.
const PATTERN_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn matches(pattern: &str, number: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(number)
    }

    #[test]
    fn pattern_matches_the_whole_number() {
        assert!(matches("1[0-9]{2}", "105"));
        assert!(!matches("1[0-9]{2}", "1055"));
        assert!(!matches("1[0-9]{2}", "9105"));
        assert!(matches("123.+", "1234"));
        assert!(!matches("123.+", "123"));
        assert!(matches("100|200", "200"));
        assert!(!matches("100|200", "2001"));
    }

    #[test]
    fn leading_plus_is_literal() {
        assert!(matches(r"+?[1-9]\d{1,14}", "+4930123456"));
        assert!(matches(r"+?[1-9]\d{1,14}", "4930123456"));
        assert!(matches(r"+49\d+", "+4930"));
        assert!(!matches(r"+49\d+", "4930"));
    }

    #[test]
    fn empty_pattern_matches_nothing() {
        assert!(!matches("", ""));
        assert!(!matches("", "1"));
        assert!(matches(".*", ""));
    }

    #[test]
    fn broken_patterns_are_refused_with_a_reason() {
        assert!(Pattern::new("(").is_err());
        assert!(Pattern::new("a)(b").is_err());
        assert!(Pattern::new(r"\d{100000}{100000}").is_err());
    }

    fn rule(id: u32, pattern: &str, exclude: &str, from: &[From]) -> Rule {
        Rule {
            id,
            name: format!("rule{id}"),
            pattern: Pattern::new(pattern).unwrap(),
            exclude: (!exclude.is_empty()).then(|| Pattern::new(exclude).unwrap()),
            from: from.to_vec(),
            scripts: Arc::new([]),
        }
    }

    fn applications() -> Vec<Application> {
        let office = From::Trunk("office".into());
        let first = vec![
            rule(1, "", "", &[From::Any]),
            rule(2, r"1\d\d", "199", &[From::User("alice".into())]),
            rule(3, r"1\d\d", "", &[office]),
        ];
        let second = vec![rule(4, ".*", "", &[From::Any])];
        [(7, first), (8, second)]
            .into_iter()
            .map(|(id, rules)| Application {
                id,
                name: format!("application{id}"),
                rules,
                secrets: Vec::new(),
            })
            .collect()
    }

    fn found(destination: &str, caller: Caller<'_>) -> (u32, u32) {
        let applications = applications();
        let (application, rule) = find_rule(&applications, destination, caller).unwrap();
        (application.id, rule.id)
    }

    #[test]
    fn first_rule_in_file_order_that_takes_number_and_caller_wins() {
        assert_eq!(found("150", Caller::User("alice")), (7, 2));
        assert_eq!(found("150", Caller::Trunk("office")), (7, 3));
        assert_eq!(found("150", Caller::Trunk("alice")), (8, 4));
        assert_eq!(found("200", Caller::User("alice")), (8, 4));
    }

    #[test]
    fn excluded_number_goes_to_a_later_rule() {
        assert_eq!(found("199", Caller::User("alice")), (8, 4));
    }

    #[test]
    fn no_rule_is_no_answer() {
        let applications = applications();
        assert!(find_rule(&applications[..1], "200", Caller::User("bob")).is_none());
        assert_eq!(rule_by_id(&applications, 4).unwrap().0.id, 8);
        assert!(rule_by_id(&applications, 5).is_none());
    }

    #[test]
    fn route_strips_and_prefixes() {
        let route = |pattern: &str, strip, prefix: &str, trunk: &str| Route {
            pattern: Pattern::new(pattern).unwrap(),
            trunks: vec![trunk.to_owned()],
            strip,
            prefix: prefix.to_owned(),
        };
        let routes = [
            route(r"0\d+", 1, "+49", "provider"),
            route(r"\d{3}", 0, "", "pbx"),
            route("9", 5, "", "short"),
        ];
        let dialled = |number: &str| dial(&routes, number).map(|dial| (dial.number, dial.trunks));
        assert_eq!(dialled("030123"), Some(("+4930123".to_owned(), &["provider".to_owned()][..])));
        assert_eq!(dialled("105"), Some(("105".to_owned(), &["pbx".to_owned()][..])));
        assert_eq!(dialled("9"), Some((String::new(), &["short".to_owned()][..])));
        assert_eq!(dialled("12345"), None);
    }
}
