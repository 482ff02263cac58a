//! `/logs/NAME` and `/records/NAME`: files that a session left, under names that cannot be
//! guessed (128 random bits, reference 5.2). The driver reads them; nothing here opens a file.

use super::message::{ApiError, Body, Folder, Request, Response};
use super::not_allowed;
use crate::storage::recording::Format;

/// The answer where the path is that of a download.
pub fn answer(request: &Request) -> Option<Response> {
    let path = request.path();
    let (folder, name, content_type) = if let Some(name) = path.strip_prefix("/logs/") {
        (Folder::Logs, name, "text/plain; charset=utf-8")
    } else if let Some(name) = path.strip_prefix("/records/") {
        (Folder::Recordings, name, Format::of_name(name).map_or("", Format::media_type))
    } else {
        return None;
    };
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Some(not_allowed("GET"));
    }
    if !is_file_name(folder, name) {
        return Some(not_found());
    }
    Some(Response {
        status: 200,
        headers: vec![("content-type", content_type.to_owned())],
        body: Body::File { folder, name: name.to_owned() },
    })
}

/// What the driver answers where the file is not there.
pub fn not_found() -> Response {
    Response::error(404, &ApiError::new(501, "no such file"))
}

/// Names as sessions give them: letters, digits, `.`, `_` and `-`, an extension, and nothing that
/// could lead out of the folder or to a hidden or unfinished file.
fn is_file_name(folder: Folder, name: &str) -> bool {
    let extensions: &[&str] = match folder {
        Folder::Logs => &[".log"],
        Folder::Recordings => &Format::ALL.map(Format::extension),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= MOST_NAME
        && name.bytes().all(is_plain)
        && !name.starts_with('.')
        && !name.contains("..")
        && extensions
            .iter()
            .any(|extension| name.len() > extension.len() && name.ends_with(extension))
}

/// Longest name of a file on every file system that counts.
const MOST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_lead_out_of_their_folder() {
        let is_log = |name| is_file_name(Folder::Logs, name);
        assert!(is_log("1767225600000-7-00ff.log"));
        for name in [
            "",
            ".log",
            "..",
            "../a.log",
            "a/b.log",
            "a\\b.log",
            "%2e%2e/a.log",
            "a..b.log",
            ".a.log",
            "a.wav",
            "a.log.tmp",
            "a\0.log",
            "ä.log",
        ] {
            assert!(!is_log(name), "{name}");
        }
        assert!(!is_log(&format!("{}.log", "a".repeat(252))));
        assert!(is_file_name(Folder::Recordings, "survey-1767225600000-7-00ff.wav"));
        assert!(is_file_name(Folder::Recordings, "1767225600000-7-00ff.opus"));
        assert!(!is_file_name(Folder::Recordings, ".opus"));
        assert!(!is_file_name(Folder::Recordings, "7.log"));
    }
}
