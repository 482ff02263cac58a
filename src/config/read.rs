//! Typed values out of TOML tables, with everything that is wrong collected on the way.
//!
//! A reader asks a [`Table`] for its keys one by one and gets the default where a key is absent or
//! wrong, so that one pass finds all problems; what was never asked for is an unknown key.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// What the configuration may refer to outside its own text; lent by the caller, so that parsing
/// does no I/O.
pub struct Environment<'a> {
    /// An environment variable, for `"env:NAME"`.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// A file of at most so many bytes, for `"file:PATH"` and scenarios; the error says why not.
    pub file: &'a dyn Fn(&Path, usize) -> Result<FileText, String>,
    /// Memory of the machine or of the cgroup, whichever is less.
    pub memory_bytes: u64,
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    pub text: String,
    pub modified_unix: i64,
}

/// The text under work and what is wrong with it so far.
pub(super) struct Source<'a> {
    pub environment: &'a Environment<'a>,
    file: String,
    folder: PathBuf,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    pub fn new(path: &Path, text: &'a str, environment: &'a Environment<'a>) -> Self {
        Self {
            environment,
            file: path.display().to_string(),
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            text,
            problems: RefCell::new(Vec::new()),
        }
    }

    pub fn report(&self, line: Option<usize>, text: String) {
        self.problems.borrow_mut().push(Problem { file: self.file.clone(), line, text });
    }

    /// A path as the operator means it: relative to the folder of the file.
    pub fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    /// Line of a byte of the text, from 1.
    pub fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|&&byte| byte == b'\n').count() + 1
    }

    pub fn is_good(&self) -> bool {
        self.count() == 0
    }

    /// Problems so far.
    pub fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// In the order of their lines; what has no line comes last.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        problems
    }
}

/// One table of the file; absent ones answer with defaults.
pub(super) struct Table<'s> {
    source: &'s Source<'s>,
    /// As a message shows it: `[sip]`, `[trunk.office]`.
    name: String,
    line: Option<usize>,
    entries: Option<&'s DeTable<'s>>,
    asked: RefCell<Vec<&'static str>>,
}

/// An entry of a list.
pub(super) struct Item {
    pub line: usize,
    pub text: String,
}

impl<'s> Table<'s> {
    pub fn root(source: &'s Source<'s>, entries: &'s DeTable<'s>) -> Self {
        Self {
            source,
            name: String::new(),
            line: None,
            entries: Some(entries),
            asked: RefCell::default(),
        }
    }

    /// Ends the reading: whatever was not asked for is unknown.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.entries.into_iter().flatten() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let line = self.source.line(key.span().start);
            let hint = match closest(name, &asked) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("known here: {}", asked.join(", ")),
            };
            self.report(Some(line), format!("unknown key \"{name}\"; {hint}"));
        }
    }

    /// Names the table in messages, once its own name is known.
    pub fn rename(&mut self, name: String) {
        self.name = name;
    }

    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Line of a key's value, else of the table.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        self.find(key).map(|value| self.source.line(value.span().start)).or(self.line)
    }

    pub fn problem(&self, key: &str, text: impl Display) {
        self.report(self.line_of(key), format!("{key} {text}"));
    }

    pub fn problem_at(&self, line: usize, text: impl Display) {
        self.report(Some(line), text.to_string());
    }

    pub fn string(&self, key: &'static str, default: &str) -> String {
        let Some(value) = self.value(key) else { return default.to_owned() };
        match value.get_ref() {
            DeValue::String(text) => self.resolve(key, text).unwrap_or_else(|| default.to_owned()),
            other => {
                self.wrong_type(key, other, "a string");
                default.to_owned()
            }
        }
    }

    /// A string that must be there and not be empty.
    pub fn required(&self, key: &'static str, meaning: &str) -> String {
        let text = self.string(key, "");
        let is_reported = self.find(key).is_some_and(|value| !value.get_ref().is_str());
        if text.is_empty() && !is_reported {
            self.problem(key, format!("is missing: {meaning}"));
        }
        text
    }

    pub fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.value(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(flag) => *flag,
            other => {
                self.wrong_type(key, other, "true or false");
                default
            }
        }
    }

    pub fn number(&self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.value(key) else { return default };
        self.whole_number(key, value, range).unwrap_or(default)
    }

    pub fn size(&self, key: &'static str, range: RangeInclusive<usize>, default: usize) -> usize {
        let range = *range.start() as u64..=*range.end() as u64;
        // The range fits: its ends came from usize.
        self.number(key, range, default as u64) as usize
    }

    /// Two whole numbers.
    pub fn pair(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: (u64, u64),
    ) -> (u64, u64) {
        let Some(value) = self.value(key) else { return default };
        match value.get_ref() {
            DeValue::Array(items) if items.len() == 2 => {
                let first = self.whole_number(key, &items[0], range.clone());
                let last = self.whole_number(key, &items[1], range);
                first.zip(last).unwrap_or(default)
            }
            DeValue::Array(items) => {
                let count = items.len();
                self.problem(key, format!("has {count} items, not two whole numbers"));
                default
            }
            other => {
                self.wrong_type(key, other, "a list of two whole numbers");
                default
            }
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)], default: T) -> T {
        if !self.has(key) {
            self.value(key);
            return default;
        }
        let text = self.string(key, "");
        if !self.find(key).is_some_and(|value| value.get_ref().is_str()) {
            return default;
        }
        match choices.iter().find(|(name, _)| *name == text) {
            Some(&(_, choice)) => choice,
            None => {
                self.problem(key, not_one_of(&text, choices));
                default
            }
        }
    }

    /// A list of strings; `None` where the key is absent.
    pub fn strings(&self, key: &'static str) -> Option<Vec<Item>> {
        let value = self.value(key)?;
        let DeValue::Array(entries) = value.get_ref() else {
            self.wrong_type(key, value.get_ref(), "a list of strings");
            return None;
        };
        let mut items = Vec::new();
        for entry in entries.iter() {
            match entry.get_ref() {
                DeValue::String(text) => {
                    let line = self.source.line(entry.span().start);
                    items.extend(self.resolve(key, text).map(|text| Item { line, text }));
                }
                other => self.wrong_type(key, other, "a string in this list"),
            }
        }
        Some(items)
    }

    /// A table of free names with string values.
    pub fn named_strings(&self, key: &'static str) -> Vec<(String, String)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Table(entries) = value.get_ref() else {
            self.wrong_type(key, value.get_ref(), "a table of strings");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in entries.iter() {
            match value.get_ref() {
                DeValue::String(text) => {
                    let text = self.resolve(key, text);
                    pairs.extend(text.map(|text| (name.get_ref().to_string(), text)));
                }
                other => self.wrong_type(key, other, "a table of strings"),
            }
        }
        pairs
    }

    /// `[key]`
    pub fn table(&self, key: &'static str) -> Table<'s> {
        self.inner(key, key)
    }

    /// A table inside this one, `name` in messages.
    pub fn inner(&self, key: &'static str, name: &str) -> Table<'s> {
        let (line, entries) = match self.value(key) {
            None => (None, None),
            Some(value) => match value.get_ref() {
                DeValue::Table(entries) => {
                    (Some(self.source.line(value.span().start)), Some(entries))
                }
                other => {
                    self.wrong_type(key, other, &format!("a table; write [{name}]"));
                    (None, None)
                }
            },
        };
        let name = format!("[{name}]");
        Table { source: self.source, name, line, entries, asked: RefCell::default() }
    }

    /// `[[key]]`, named `[key #1]` and so on until renamed.
    pub fn tables(&self, key: &'static str) -> Vec<Table<'s>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value.get_ref(), &format!("a list of tables; write [[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let DeValue::Table(entries) = item.get_ref() else {
                self.wrong_type(key, item.get_ref(), &format!("a table; write [[{key}]]"));
                continue;
            };
            tables.push(Table {
                source: self.source,
                name: format!("[{key} #{}]", index + 1),
                line: Some(self.source.line(item.span().start)),
                entries: Some(entries),
                asked: RefCell::default(),
            });
        }
        tables
    }

    fn value(&self, key: &'static str) -> Option<&'s Spanned<DeValue<'s>>> {
        self.asked.borrow_mut().push(key);
        self.find(key)
    }

    fn find(&self, key: &str) -> Option<&'s Spanned<DeValue<'s>>> {
        let mut entries = self.entries?.iter();
        entries.find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn whole_number(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(key, value.get_ref(), "a whole number");
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = range.into_inner();
            self.problem(key, format!("{integer} is not between {low} and {high}"));
        }
        number
    }

    /// What a string means: itself, or what `env:NAME` and `file:PATH` stand for.
    fn resolve(&self, key: &str, text: &str) -> Option<String> {
        if let Some(name) = text.strip_prefix("env:") {
            let value = (self.source.environment.variable)(name);
            if value.is_none() {
                self.problem(key, format!("\"{text}\": environment variable {name} is not set"));
            }
            return value;
        }
        let Some(name) = text.strip_prefix("file:") else { return Some(text.to_owned()) };
        match (self.source.environment.file)(&self.source.path(name), SECRET_BYTES) {
            Ok(file) => Some(file.text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.problem(key, format!("\"{text}\": {error}"));
                None
            }
        }
    }

    fn wrong_type(&self, key: &str, found: &DeValue<'_>, wanted: &str) {
        let found = match found {
            DeValue::String(text) => format!("\"{text}\""),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(date) => date.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.problem(key, format!("is {found}, not {wanted}"));
    }

    fn report(&self, line: Option<usize>, text: String) {
        let text = if self.name.is_empty() { text } else { format!("{} {text}", self.name) };
        self.source.report(line, text);
    }
}

/// `"ucp" is not one of udp, tcp`
pub(super) fn not_one_of<T>(found: &str, choices: &[(&str, T)]) -> String {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    format!("\"{found}\" is not one of {}", names.join(", "))
}

/// The known word that the operator most likely meant.
pub(super) fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let distances = known.iter().map(|&candidate| (edit_distance(word, candidate), candidate));
    let (distance, candidate) = distances.min_by_key(|&(distance, _)| distance)?;
    // A third of the word mistyped is the most that still reads as the same word.
    (distance <= word.chars().count().div_ceil(3)).then_some(candidate)
}

/// Levenshtein distance in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

/// Longest secret file: keys and passwords, with room for a certificate.
const SECRET_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_insertions_deletions_and_replacements() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn hint_is_given_only_for_a_near_word() {
        assert_eq!(closest("sever", &["server", "register"]), Some("server"));
        assert_eq!(closest("transport", &["server", "register"]), None);
    }
}
