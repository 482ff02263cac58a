//! Parameters of a Management API command, whatever form they came in (reference 1.2).
//!
//! The query string, `application/x-www-form-urlencoded`, `multipart/form-data` and the scalar
//! members of a JSON object **are** supported. Names beyond [`MOST_PARAMETERS`] are an error.

use percent_encoding::percent_decode;

use super::flat_json;
use super::message::{ApiError, Request};
use super::multipart;

/// Name and value pairs; the last of a name counts, so that the body wins over the query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
}

impl Parameters {
    /// # Errors
    /// 101 where the body is malformed or holds too many parameters.
    pub fn of(request: &Request) -> Result<Self, ApiError> {
        let mut parameters = Self::default();
        parameters.add_form(request.query().as_bytes())?;
        if request.method != "POST" || request.body.is_empty() {
            return Ok(parameters);
        }
        let content_type = request.header("content-type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match media_type.to_ascii_lowercase().as_str() {
            // curl sends the type of a form even for what is none; a body without one is a form.
            "application/x-www-form-urlencoded" | "" => parameters.add_form(&request.body)?,
            "multipart/form-data" => {
                let parts = multipart::parse(content_type, &request.body, MOST_PARAMETERS)
                    .map_err(|error| ApiError::new(101, format!("multipart body: {error}")))?;
                for (name, value) in parts {
                    parameters.push(name, value)?;
                }
            }
            "application/json" => {
                let members = flat_json::scalars(&request.body, MOST_PARAMETERS)
                    .map_err(|error| ApiError::new(101, format!("JSON body: {error}")))?;
                for (name, value) in members {
                    parameters.push(name, value)?;
                }
            }
            // Any other body means something to commands that this gateway does not serve.
            _ => {}
        }
        Ok(parameters)
    }

    /// Also where it is empty.
    pub fn raw(&self, name: &str) -> Option<&str> {
        let mut newest = self.pairs.iter().rev();
        newest.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// An empty value counts as not given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| ApiError::new(101, format!("{name} is required")))
    }

    /// `true`, `false`, `1`, `0` in any case.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(ApiError::new(101, format!("{name} is not true or false"))),
        }
    }

    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        Ok(self.boolean(name)?.unwrap_or(false))
    }

    /// A decimal number from 0; `code` is what a wrong one is answered with.
    pub fn number(&self, name: &str, code: u16) -> Result<Option<u64>, ApiError> {
        self.text(name).map(|text| number(name, text, code)).transpose()
    }

    /// The items of a list joined by `;`. `all` and `any` name every item: no filter.
    pub fn list(&self, name: &str) -> Vec<&str> {
        match self.text(name) {
            None | Some("all" | "any") => Vec::new(),
            Some(text) => text.split(';').map(str::trim).filter(|item| !item.is_empty()).collect(),
        }
    }

    /// A list of at most `most` numbers.
    pub fn numbers(&self, name: &str, code: u16, most: usize) -> Result<Vec<u64>, ApiError> {
        let items = self.list(name);
        if items.len() > most {
            return Err(ApiError::new(497, format!("{name} has more than {most} items")));
        }
        items.into_iter().map(|item| number(name, item, code)).collect()
    }

    /// At most one of two parameters, such as `rule_id` and `rule_name`: error 458.
    pub fn exclusive(&self, one: &str, other: &str) -> Result<(), ApiError> {
        match (self.text(one), self.text(other)) {
            (Some(_), Some(_)) => {
                Err(ApiError::new(458, format!("give {one} or {other}, not both")))
            }
            _ => Ok(()),
        }
    }

    /// `count` and `offset`.
    pub fn page(&self) -> Result<Page, ApiError> {
        let within = |name: &str, default: usize, most: usize| {
            let Some(text) = self.text(name) else { return Ok(default) };
            let value: i64 =
                text.parse().map_err(|_| ApiError::new(101, format!("{name} is not a number")))?;
            match usize::try_from(value) {
                Ok(value) if value <= most => Ok(value),
                _ => Err(ApiError::new(497, format!("{name} is not within 0 to {most}"))),
            }
        };
        Ok(Page {
            count: within("count", DEFAULT_COUNT, MOST_COUNT)?,
            offset: within("offset", 0, MOST_OFFSET)?,
        })
    }

    fn add_form(&mut self, form: &[u8]) -> Result<(), ApiError> {
        for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default());
            let value = decode(halves.next().unwrap_or_default());
            self.push(name, value)?;
        }
        Ok(())
    }

    fn push(&mut self, name: String, value: String) -> Result<(), ApiError> {
        if self.pairs.len() >= MOST_PARAMETERS {
            return Err(ApiError::new(101, format!("more than {MOST_PARAMETERS} parameters")));
        }
        self.pairs.push((name, value));
        Ok(())
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub count: usize,
    pub offset: usize,
}

/// One half of a form's pair: `+` is a space, `%HH` a byte, the whole is UTF-8.
fn decode(half: &[u8]) -> String {
    let spaced: Vec<u8> = half.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

fn number(name: &str, text: &str, code: u16) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::new(code, format!("{name} is not a number")))
}

/// Far more than any command has.
const MOST_PARAMETERS: usize = 256;
/// Reference 1.4 and 5.1.
const DEFAULT_COUNT: usize = 20;
const MOST_COUNT: usize = 1000;
const MOST_OFFSET: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, content_type: &str, body: &[u8]) -> Request {
        Request {
            id: 1,
            peer: "127.0.0.1:1".parse().unwrap(),
            is_secure: false,
            method: method.into(),
            target: target.into(),
            headers: vec![("content-type".into(), content_type.into())],
            body: body.to_vec(),
        }
    }

    const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";

    fn of(method: &str, target: &str, content_type: &str, body: &[u8]) -> Parameters {
        Parameters::of(&request(method, target, content_type, body)).unwrap()
    }

    #[test]
    fn form_is_decoded_as_utf_8() {
        let parameters = of("GET", "/p?a=b%20c+d&e=%C3%A4&f&g=1=2&&h=%zz", "", b"");
        let values: Vec<_> =
            ["a", "e", "f", "g", "h"].map(|name| parameters.raw(name).unwrap()).to_vec();
        assert_eq!(values, ["b c d", "ä", "", "1=2", "%zz"]);
        assert_eq!(parameters.text("f"), None);
        assert_eq!(parameters.raw("i"), None);
    }

    #[test]
    fn body_wins_over_the_query() {
        let parameters = of("POST", "/p?a=1&b=2", FORM, b"a=3");
        assert_eq!((parameters.text("a"), parameters.text("b")), (Some("3"), Some("2")));
    }

    #[test]
    fn body_of_a_get_is_no_parameter() {
        assert_eq!(of("GET", "/p?a=1", FORM, b"a=3").text("a"), Some("1"));
    }

    #[test]
    fn multipart_and_json_bodies_are_parameters() {
        let body = b"--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1;2\r\n--xyz--\r\n";
        let parameters = of("POST", "/p", "multipart/form-data; boundary=xyz", body);
        assert_eq!(parameters.list("a"), ["1", "2"]);
        let parameters = of("POST", "/p?b=2", "application/json", br#"{"a": 5, "c": {"d": 1}}"#);
        assert_eq!(parameters.text("a"), Some("5"));
        assert_eq!(parameters.text("b"), Some("2"));
        assert_eq!(parameters.text("c"), None);
    }

    #[test]
    fn malformed_body_is_error_101() {
        let code = |content_type, body: &[u8]| {
            Parameters::of(&request("POST", "/p", content_type, body)).unwrap_err().code
        };
        assert_eq!(code("multipart/form-data", b"x"), 101);
        assert_eq!(code("application/json", b"{"), 101);
        assert_eq!(code(FORM, "a&".repeat(MOST_PARAMETERS + 1).as_bytes()), 101);
    }

    #[test]
    fn booleans_come_in_every_spelling() {
        let parameters = of("GET", "/p?a=True&b=0&c=FALSE&d=1&e=yes&f=", "", b"");
        assert_eq!(parameters.boolean("a"), Ok(Some(true)));
        assert_eq!(parameters.boolean("b"), Ok(Some(false)));
        assert_eq!(parameters.boolean("c"), Ok(Some(false)));
        assert_eq!(parameters.boolean("d"), Ok(Some(true)));
        assert_eq!(parameters.boolean("e").unwrap_err().code, 101);
        assert_eq!(parameters.boolean("f"), Ok(None));
    }

    #[test]
    fn page_has_bounds() {
        let page = |query: &str| of("GET", query, "", b"").page();
        assert_eq!(page("/p"), Ok(Page { count: 20, offset: 0 }));
        assert_eq!(page("/p?count=1000&offset=5"), Ok(Page { count: 1000, offset: 5 }));
        assert_eq!(page("/p?count=-1").unwrap_err().code, 497);
        assert_eq!(page("/p?count=1001").unwrap_err().code, 497);
        assert_eq!(page("/p?offset=10001").unwrap_err().code, 497);
        assert_eq!(page("/p?count=x").unwrap_err().code, 101);
    }

    #[test]
    fn all_is_no_filter() {
        let parameters = of("GET", "/p?a=all&b=1;2;&c=1;x", "", b"");
        assert!(parameters.list("a").is_empty());
        assert_eq!(parameters.numbers("b", 150, 2), Ok(vec![1, 2]));
        assert_eq!(parameters.numbers("b", 150, 1).unwrap_err().code, 497);
        assert_eq!(parameters.numbers("c", 150, 9).unwrap_err().code, 150);
    }
}
