//! What a reader of the tree relies on, held by reading the tree: who imports whom, who touches
//! the world, where `unsafe` is, and that every file says what it is.
//!
//! Works on text: comments and the insides of string literals are blanked first, and test modules
//! are cut off where a rule is about the program alone.

use std::fs;
use std::path::{Path, PathBuf};

/// Small foundations that anybody may use.
const GROUND: &[&str] =
    &["budget", "clock", "config", "dns", "logger", "random", "rules", "slots", "stats", "timers"];

/// They never import each other.
const LEAVES: &[&str] = &["media", "scenario", "sdp", "sip", "storage"];

/// What stands above the leaves, from the bottom up.
const STOREYS: &[&[&str]] = &[&["session"], &["gateway"], &["control"], &["driver", "sim"]];

/// Imports that go up, each with its reason.
const UP: &[(&str, &str)] = &[
    // Plain data only: the requests, replies and outputs that pass through a session.
    ("session", "gateway"),
];

/// What only `driver/` (and the program's own edge) may do.
const WORLD: &[&str] = &[
    "std::env",
    "std::fs",
    "std::process",
    "std::sync::mpsc",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "futures_rustls",
    "rustix::",
    "smol::",
    "smol_hyper",
];

/// Where the world may be touched besides, each with its reason.
const WORLDLY: &[(&str, &str)] = &[
    // The origin of virtual time, and the shipped prompts and scenarios that tests play.
    ("src/sim/", "Instant::now"),
    ("src/sim/", "std::fs"),
];

/// The edge: what reads arguments and wires the rest together.
const EDGE: &[&str] = &["src/main.rs", "src/cli.rs", "src/cli/", "src/driver/"];

#[test]
fn leaves_do_not_know_each_other_and_imports_go_down() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let Some(module) = module_of(&file.path) else { continue };
        let Some(level) = level_of(&module) else {
            wrong.push(format!("{}: {module} has no level in tests/tidy.rs", file.path));
            continue;
        };
        for (line, import) in imports(&file.code) {
            let is_own = import == module;
            let goes_up = UP.contains(&(module.as_str(), import.as_str()));
            let Some(target) = level_of(&import) else {
                wrong.push(format!("{}:{line}: crate::{import} has no level", file.path));
                continue;
            };
            if !is_own && !goes_up && target >= level && level > 0 {
                wrong.push(format!("{}:{line}: {module} may not import {import}", file.path));
            }
            if level == 0 && target > 0 {
                wrong.push(format!("{}:{line}: {module} is a foundation", file.path));
            }
        }
    }
    report(&wrong);
}

#[test]
fn only_the_driver_touches_the_world() {
    let mut wrong = Vec::new();
    let files = rust_files("src");
    let test_modules: Vec<String> = files.iter().flat_map(test_modules_of).collect();
    for file in files {
        let is_test = test_modules.iter().any(|module| file.path.starts_with(module));
        if is_test || EDGE.iter().any(|edge| file.path.starts_with(edge)) {
            continue;
        }
        let program = without_tests(&file.code);
        for (line, text) in program.lines().enumerate() {
            for word in WORLD.iter().filter(|word| text.contains(**word)) {
                let is_allowed =
                    WORLDLY.iter().any(|(path, what)| file.path.starts_with(path) && what == word);
                if !is_allowed {
                    wrong.push(format!("{}:{}: {word}", file.path, line + 1));
                }
            }
        }
    }
    report(&wrong);
}

#[test]
fn unsafe_stands_only_in_the_files_that_the_architecture_lists() {
    let map = read("ARCHITECTURE.md");
    let listed: Vec<&str> = map
        .lines()
        .skip_while(|line| !line.starts_with("## Files with `unsafe`"))
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("- `")?.split('`').next())
        .collect();
    let mut wrong = Vec::new();
    let mut used = Vec::new();
    for file in rust_files("src") {
        let is_unsafe = words(&file.code).any(|word| word == "unsafe");
        if is_unsafe && !listed.contains(&file.path.as_str()) {
            wrong.push(format!("{}: unsafe, and not listed in ARCHITECTURE.md", file.path));
        }
        if is_unsafe && !file.text.contains("SAFETY:") {
            wrong.push(format!("{}: unsafe without a SAFETY comment", file.path));
        }
        if is_unsafe {
            used.push(file.path);
        }
    }
    for path in listed {
        if !used.iter().any(|file| file == path) {
            wrong.push(format!("ARCHITECTURE.md lists {path}, which has no unsafe"));
        }
    }
    report(&wrong);
}

#[test]
fn every_file_begins_with_what_it_is() {
    let mut wrong = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        if !file.text.starts_with("//!") && !file.path.ends_with("/tests.rs") {
            wrong.push(format!("{}: no module documentation", file.path));
        }
    }
    for path in files("scenarios", "js") {
        if !read(&path).starts_with("// ") {
            wrong.push(format!("{path}: does not open with what it shows"));
        }
    }
    report(&wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let later = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X ")];
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "scenarios", "cross", "benches"] {
        for extension in ["rs", "py", "sh", "js", "xml", "toml"] {
            for path in files(folder, extension) {
                for (line, text) in read(&path).lines().enumerate() {
                    if later.iter().any(|word| text.contains(word)) {
                        wrong.push(format!("{path}:{}: {}", line + 1, text.trim()));
                    }
                }
            }
        }
    }
    report(&wrong);
}

/// A string that can't be broken may stick out; code may not.
#[test]
fn lines_fit_100_columns() {
    let mut wrong = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        for (line, (code, text)) in file.code.lines().zip(file.text.lines()).enumerate() {
            let strings = code.matches(BLANK).count();
            if text.chars().count() > 100 + strings {
                wrong.push(format!("{}:{}: {} columns", file.path, line + 1, text.len()));
            }
        }
    }
    for path in files("scenarios", "js") {
        for (line, text) in read(&path).lines().enumerate() {
            if text.chars().count() > 100 {
                wrong.push(format!("{path}:{}: {} columns", line + 1, text.len()));
            }
        }
    }
    report(&wrong);
}

/// The table of standards points at tests: they must be there.
#[test]
fn files_that_the_readme_names_are_there() {
    let named = |text: &str| {
        ["src/", "tests/", "docs/", "fuzz/", "cross/"].iter().any(|folder| text.starts_with(folder))
    };
    let text = read("README.md");
    let quoted = text.split('`').skip(1).step_by(2).filter(|text| named(text));
    let (there, missing): (Vec<_>, Vec<_>) = quoted.partition(|path| top().join(path).exists());
    assert!(there.len() > 50, "the table of standards names more than {} files", there.len());
    report(&missing.into_iter().map(|path| format!("README.md: {path}")).collect::<Vec<_>>());
}

#[test]
fn comments_and_strings_are_blanked() {
    let code = blank("a \"crate::x \\\" b\" // crate::y\nr#\"crate::\"z\"# '\"' c /* \n d */ 'a e");
    assert!(!code.contains("crate"), "{code}");
    assert_eq!(code.lines().count(), 3);
    assert!(code.starts_with("a \"") && code.contains(" c ") && code.ends_with("'a e"), "{code}");
    let found = imports("use crate::{a::B, c, d::{e, f}};\nuse crate::g;");
    let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["a", "c", "d", "g"]);
    assert_eq!(found[3].0, 2);
}

struct File {
    /// From the top folder, with `/`.
    path: String,
    text: String,
    /// `text` with comments and the insides of strings blanked.
    code: String,
}

fn rust_files(folder: &str) -> Vec<File> {
    let read_file = |path: String| {
        let text = read(&path);
        let code = blank(&text);
        File { path, text, code }
    };
    files(folder, "rs").into_iter().map(read_file).collect()
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files with this extension below a folder, sorted; none if there is no such folder.
fn files(folder: &str, extension: &str) -> Vec<String> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|own| own == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&top().join(folder), extension, &mut found);
    found.sort();
    let relative = |path: PathBuf| {
        path.strip_prefix(top()).expect("found below the top").to_string_lossy().replace('\\', "/")
    };
    found.into_iter().map(relative).collect()
}

/// Where the modules stand that this file declares for tests only: `src/sip/bench.` and
/// `src/sip/bench/`.
fn test_modules_of(file: &File) -> Vec<String> {
    let folder = match file.path.strip_suffix("/mod.rs").or(file.path.strip_suffix("/lib.rs")) {
        Some(folder) => folder,
        None => file.path.trim_end_matches(".rs"),
    };
    let declarations = file.code.split("#[cfg(test)]").skip(1);
    let names = declarations.filter_map(|rest| {
        let (item, _) = rest.split_once(';')?;
        item.trim().trim_start_matches("pub(crate) ").strip_prefix("mod ")
    });
    let names = names.filter(|name| words(name).count() == 1);
    names.flat_map(|name| [format!("{folder}/{name}."), format!("{folder}/{name}/")]).collect()
}

/// `sip` of `src/sip/via.rs`; none of the crate's own two roots and its command line.
fn module_of(path: &str) -> Option<String> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(name, "lib" | "main" | "cli")).then(|| name.to_owned())
}

fn level_of(module: &str) -> Option<usize> {
    if GROUND.contains(&module) {
        return Some(0);
    }
    if LEAVES.contains(&module) {
        return Some(1);
    }
    STOREYS.iter().position(|storey| storey.contains(&module)).map(|storey| storey + 2)
}

/// Modules named after `crate::`, with their line; `crate::{a::B, c}` names two.
fn imports(code: &str) -> Vec<(usize, String)> {
    const ROOT: &str = "crate::";
    let mut found = Vec::new();
    for (at, _) in code.match_indices(ROOT) {
        // `$crate::` and `other_crate::` are something else.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + ROOT.len()..];
        match rest.strip_prefix('{') {
            None => found.extend(first_word(rest).map(|word| (line, word))),
            Some(group) => {
                let (mut depth, mut begin) = (0, 0);
                for (place, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth > 0 => depth -= 1,
                        ',' | '}' if depth == 0 => {
                            found.extend(first_word(&group[begin..place]).map(|word| (line, word)));
                            begin = place + 1;
                            if c == '}' {
                                break;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn first_word(text: &str) -> Option<String> {
    words(text).next().map(str::to_owned)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The file without what is compiled for tests only; lines keep their numbers.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let length = match item.find(['{', ';']) {
            Some(start) if item[start..].starts_with('{') => start + block(&item[start..]),
            Some(end) => end + 1,
            None => item.len(),
        };
        out.extend(item[..length].chars().filter(|c| *c == '\n'));
        rest = &item[length..];
    }
    out + rest
}

/// Length of the block in braces that begins here.
fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// What takes the place of a character in a comment or a string.
const BLANK: char = '\u{1}';

/// Comments become spaces, the insides of string and character literals `BLANK`; line breaks stay.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let put = |out: &mut String, part: &str, with: char| {
        out.extend(part.chars().map(|c| if c == '\n' { c } else { with }));
    };
    while let Some(c) = rest.chars().next() {
        let (length, with) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), ' ')
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), ' ')
        } else if let Some(length) = literal(rest, &out) {
            out.push('"');
            put(&mut out, &rest[1..length - 1], BLANK);
            out.push('"');
            rest = &rest[length..];
            continue;
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        put(&mut out, &rest[..length], with);
        rest = &rest[length..];
    }
    out
}

/// Length of the string or character literal that begins here.
fn literal(rest: &str, before: &str) -> Option<usize> {
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !in_word || before.ends_with('b')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            return Some(body + rest[body..].find(&end).map_or(0, |at| at + end.len()));
        }
    }
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            // A lifetime: no quote after one character.
            _ if quote == '\'' && at > 1 && !rest[1..].starts_with('\\') => return None,
            _ => {}
        }
    }
    None
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
