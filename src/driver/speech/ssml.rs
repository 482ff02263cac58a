//! SSML (W3C Speech Synthesis Markup Language 1.1), for engines that read it and those that do not.
//!
//! What an engine gets is cut to the elements that only change how it speaks. espeak-ng plays what
//! `audio` names, and does so by a shell (soundicon.c of 1.51): no text of a script may get there.
//!
//! As plain text `break`, `p` and `s` become pauses that any engine makes at punctuation, `sub` its
//! alias, entities and CDATA their text; `prosody`, `emphasis`, `say-as` and `phoneme` are **not**
//! supported then: what is inside is spoken plainly.

use std::borrow::Cow;

/// Text that begins with `<speak` is SSML; the rest is text already.
pub fn is_ssml(text: &str) -> bool {
    let trimmed = text.trim_start();
    trimmed.starts_with("<speak") || trimmed.starts_with("<?xml")
}

/// What can be spoken by any engine.
pub fn plain(text: &str) -> Cow<'_, str> {
    if is_ssml(text) { Cow::Owned(strip(text.trim_start())) } else { Cow::Borrowed(text) }
}

/// SSML without the elements that do more than change the voice; their content stays.
pub fn harmless(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find('<') {
        let (before, tag) = rest.split_at(begin);
        kept.push_str(before);
        let Some((tag, after)) = split_tag(tag) else { return kept };
        rest = after;
        match tag {
            Tag::Comment => {}
            Tag::Text(text) => {
                kept.push_str(
                    &text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
                );
            }
            Tag::Element(element) => {
                let name = element.strip_prefix('/').unwrap_or(element);
                let end = name.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(name.len());
                let is_harmless = name.get(..end).is_some_and(|name| HARMLESS.contains(&name));
                // No engine may see in it another element, nor a path in the name of a voice.
                if is_harmless && !element.contains(['<', '\\']) && !element.contains("..") {
                    kept.push('<');
                    kept.push_str(element);
                    kept.push('>');
                }
            }
        }
    }
    kept.push_str(rest);
    kept
}

fn strip(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    // Inside `sub`: its text is not spoken.
    let mut is_replaced = false;
    while let Some(begin) = rest.find('<') {
        let (before, tag) = rest.split_at(begin);
        if !is_replaced {
            push_text(&mut plain, before);
        }
        let Some((tag, after)) = split_tag(tag) else {
            // A `<` that opens nothing.
            push_text(&mut plain, tag);
            return tidy(&plain);
        };
        rest = after;
        match tag {
            Tag::Comment => {}
            Tag::Text(text) => plain.push_str(text),
            Tag::Element(element) => match name(element) {
                "break" | "p" | "/p" | "s" | "/s" | "paragraph" | "/paragraph" | "sentence"
                | "/sentence" => plain.push_str(PAUSE),
                "sub" => {
                    if let Some(alias) = attribute(element, "alias") {
                        push_text(&mut plain, alias);
                        is_replaced = !element.ends_with('/');
                    }
                }
                "/sub" => is_replaced = false,
                _ => {}
            },
        }
    }
    push_text(&mut plain, rest);
    tidy(&plain)
}

enum Tag<'a> {
    Comment,
    Text(&'a str),
    /// Without its brackets.
    Element(&'a str),
}

/// The tag that `text` begins with, and what follows it.
fn split_tag(text: &str) -> Option<(Tag<'_>, &str)> {
    if let Some(comment) = text.strip_prefix("<!--") {
        return comment.split_once("-->").map(|(_, after)| (Tag::Comment, after));
    }
    if let Some(data) = text.strip_prefix("<![CDATA[") {
        return data.split_once("]]>").map(|(data, after)| (Tag::Text(data), after));
    }
    let (element, after) = text.strip_prefix('<')?.split_once('>')?;
    Some((Tag::Element(element), after))
}

fn name(element: &str) -> &str {
    let end = element.find(char::is_whitespace).unwrap_or(element.len());
    element.get(..end).unwrap_or_default().trim_end_matches('/').trim_start_matches("speak:")
}

fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = element.split_once(name)?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value.get(1..)?.split(quote).next()
}

/// Appends text with its entities resolved (XML 1.0, section 4.6; unknown ones stay).
fn push_text(plain: &mut String, text: &str) {
    let mut rest = text;
    while let Some((before, entity)) = rest.split_once('&') {
        plain.push_str(before);
        let known = entity.split_once(';').and_then(|(name, after)| Some((resolve(name)?, after)));
        match known {
            Some((character, after)) => {
                plain.push(character);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = entity;
            }
        }
    }
    plain.push_str(rest);
}

fn resolve(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// One space between words; no pause before the first or after another.
fn tidy(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let may_pause = plain.ends_with(char::is_alphanumeric);
        match word {
            PAUSE_WORD if may_pause => plain.push(','),
            PAUSE_WORD => {}
            word => {
                if !plain.is_empty() {
                    plain.push(' ');
                }
                plain.push_str(word);
            }
        }
    }
    plain
}

/// Elements that espeak-ng knows and that only change how it speaks.
const HARMLESS: &[&str] =
    &["speak", "voice", "prosody", "say-as", "sub", "break", "emphasis", "p", "s"];

/// A character that no text holds, as a word of its own.
const PAUSE: &str = " \u{fdd0} ";
const PAUSE_WORD: &str = "\u{fdd0}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_left_alone() {
        for text in ["", "Hello", " 3 < 4 & 5 > 2", "a &amp; b", "-v"] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn engines_that_read_ssml_get_only_what_changes_the_voice() {
        let cases = [
            (
                "<speak>a <prosody rate='slow'>b</prosody><break time=\"1s\"/></speak>",
                "<speak>a <prosody rate='slow'>b</prosody><break time=\"1s\"/></speak>",
            ),
            ("<speak><audio src='x\";id;\"'>a</audio></speak>", "<speak>a</speak>"),
            ("<speak><AUDIO src='x'/><p <audio src='x'>a</p></speak>", "<speak>a</p></speak>"),
            ("<speak><break x='><audio src=y>'/>a</speak>", "<speak><break x='>'/>a</speak>"),
            ("<speak><voice name='../../x'>a</voice></speak>", "<speak>a</voice></speak>"),
            (
                "<speak><![CDATA[<audio src='x'>&]]></speak>",
                "<speak>&lt;audio src='x'&gt;&amp;</speak>",
            ),
            ("<speak>a<!-- <p> -->b &amp; c<audio src='x'", "<speak>ab &amp; c"),
            ("<?xml version='1.0'?><speak>a</speak>", "<speak>a</speak>"),
        ];
        for (ssml, kept) in cases {
            assert!(is_ssml(ssml));
            assert_eq!(harmless(ssml), kept, "{ssml}");
        }
    }

    #[test]
    fn tags_are_not_spoken() {
        let cases = [
            ("<speak>Hello</speak>", "Hello"),
            ("  <speak version=\"1.1\" xml:lang='en'>Hello <b>you</b></speak>", "Hello you"),
            ("<?xml version=\"1.0\"?>\n<speak>Hello</speak>", "Hello"),
            ("<speak>One<break time=\"500ms\"/>two</speak>", "One, two"),
            ("<speak>One. <break/> Two</speak>", "One. Two"),
            ("<speak><p>One</p><p><s>Two</s></p></speak>", "One, Two,"),
            ("<speak>un<emphasis level='strong'>believ</emphasis>able</speak>", "unbelievable"),
            (
                "<speak>The <sub alias=\"World &amp; Web\">W3C</sub> says</speak>",
                "The World & Web says",
            ),
            ("<speak>a<!-- <b>not this</b> -->b</speak>", "ab"),
            ("<speak><![CDATA[3 < 4 & so]]></speak>", "3 < 4 & so"),
            ("<speak>&lt;&#228;&#xe4;&nbsp;&</speak>", "<ää&nbsp;&"),
        ];
        for (ssml, text) in cases {
            assert_eq!(plain(ssml), text, "{ssml}");
        }
    }

    #[test]
    fn broken_markup_loses_no_text_and_never_fails() {
        let cases = [
            ("<speak>one < two", "one < two"),
            ("<speak", "<speak"),
            ("<speak>a<!-- b", "a<!-- b"),
            ("<speak><sub alias=>a</sub><sub alias", "a<sub alias"),
            ("<speak>&#99999999;&#x;</speak>", "&#99999999;&#x;"),
            ("<speak></></ ><  /></speak>", ""),
        ];
        for (ssml, text) in cases {
            assert_eq!(plain(ssml), text, "{ssml}");
        }
    }

    #[test]
    fn any_markup_at_all_is_survived() {
        let parts = [
            "<",
            ">",
            "/",
            "&",
            ";",
            "#",
            "x",
            "\"",
            "'",
            "=",
            " ",
            "ä",
            "1",
            "sub",
            "alias",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "break",
            "<p>",
            "amp",
            "speak:",
        ];
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let count = random.usize(..12);
            let markup: String = (0..count).map(|_| parts[random.usize(..parts.len())]).collect();
            let text = plain(&format!("<speak>{markup}")).into_owned();
            assert!(!text.contains(PAUSE_WORD), "{markup}");
        }
    }
}
