//! The scalar members of a JSON object (RFC 8259), for requests with a JSON body.
//!
//! Nested objects and arrays are skipped by counting their brackets, never by recursion: what a
//! peer nests costs no stack.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// Byte at which something else was expected.
    pub at: usize,
}

/// Names and values as text: strings decoded, numbers and booleans as written, no `null`s.
pub fn scalars(body: &[u8], most: usize) -> Result<Vec<(String, String)>, JsonError> {
    let mut reader = Reader { body, at: 0 };
    let mut members = Vec::new();
    reader.expect(b'{')?;
    if reader.peek() == Some(b'}') {
        reader.at += 1;
        return reader.end().map(|()| members);
    }
    loop {
        reader.white_space();
        let name = reader.string()?;
        reader.expect(b':')?;
        if let Some(value) = reader.value()? {
            if members.len() >= most {
                return Err(JsonError { at: reader.at });
            }
            members.push((name, value));
        }
        match reader.peek() {
            Some(b',') => reader.at += 1,
            Some(b'}') => {
                reader.at += 1;
                return reader.end().map(|()| members);
            }
            _ => return Err(JsonError { at: reader.at }),
        }
    }
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.white_space();
        self.body.get(self.at).copied()
    }

    fn white_space(&mut self) {
        while matches!(self.body.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.error());
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error()),
        }
    }

    /// `None` for `null`, objects and arrays.
    fn value(&mut self) -> Result<Option<String>, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(Some),
            Some(b'{' | b'[') => self.skip_nested().map(|()| None),
            _ => {
                let from = self.at;
                let is_scalar = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                while self.body.get(self.at).is_some_and(is_scalar) {
                    self.at += 1;
                }
                let text = self.body.get(from..self.at).unwrap_or_default();
                let text = std::str::from_utf8(text).unwrap_or_default();
                match text {
                    "null" => Ok(None),
                    "true" | "false" => Ok(Some(text.to_owned())),
                    _ if text.parse::<f64>().is_ok_and(f64::is_finite) => Ok(Some(text.to_owned())),
                    _ => Err(JsonError { at: from }),
                }
            }
        }
    }

    fn skip_nested(&mut self) -> Result<(), JsonError> {
        let mut depth = 0_usize;
        loop {
            match self.body.get(self.at) {
                None => return Err(self.error()),
                Some(b'"') => {
                    self.string()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                Some(_) => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        if self.body.get(self.at) != Some(&b'"') {
            return Err(self.error());
        }
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = self.next()?;
            match byte {
                b'"' => {
                    return String::from_utf8(text).map_err(|_| self.error());
                }
                b'\\' => {
                    let character = self.escape()?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return Err(self.error()),
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        Ok(match self.next()? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                // RFC 8259 §7: two escapes make one character beyond the basic plane.
                if (0xd800..0xdc00).contains(&unit) && self.body.get(self.at) == Some(&b'\\') {
                    self.at += 1;
                    if self.next()? != b'u' {
                        return Err(self.error());
                    }
                    let low = self.unit()?;
                    let pair = [unit, low];
                    let mut characters = char::decode_utf16(pair);
                    return characters.next().and_then(Result::ok).ok_or_else(|| self.error());
                }
                char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.error()),
        })
    }

    fn unit(&mut self) -> Result<u16, JsonError> {
        let digits = self.body.get(self.at..self.at + 4).unwrap_or_default();
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let is_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let unit = u16::from_str_radix(digits, 16).ok().filter(|_| is_hex);
        self.at += 4;
        unit.ok_or_else(|| self.error())
    }

    fn next(&mut self) -> Result<u8, JsonError> {
        let byte = self.body.get(self.at).copied().ok_or_else(|| self.error())?;
        self.at += 1;
        Ok(byte)
    }

    fn error(&self) -> JsonError {
        JsonError { at: self.at }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an object of scalars at byte {}", self.at)
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, JsonError> {
        scalars(text.as_bytes(), 3)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, JsonError> {
        Ok(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[test]
    fn scalars_are_read_and_the_rest_is_skipped() {
        let text = r#" {"a": "x", "b":[1,{"c":"]"}], "d":-1.5e3,"e":null, "f" : true } "#;
        assert_eq!(read(text), pairs(&[("a", "x"), ("d", "-1.5e3"), ("f", "true")]));
        assert_eq!(read("{}"), pairs(&[]));
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(
            read(r#"{"a":"\u00e4\n\"\\\ud83d\ude00\ud800x"}"#).unwrap()[0].1,
            "ä\n\"\\😀\u{fffd}x"
        );
    }

    #[test]
    fn malformed_text_is_an_error() {
        for text in [
            "",
            "{",
            "[]",
            "1",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":1,}",
            "{a:1}",
            "{}x",
            "{\"a\":tru}",
            "{\"a\":nan}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":[1}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\ud800\\n\"}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(scalars(b"{\"a\":\"\xff\"}", 3).is_err());
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let depth = 200_000;
        let text = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(read(&text), pairs(&[("b", "1")]));
    }

    #[test]
    fn members_are_counted() {
        assert!(read(r#"{"a":1,"b":1,"c":1,"d":1}"#).is_err());
    }
}
