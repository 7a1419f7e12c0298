//! Reading `application/x-www-form-urlencoded` parameters so that each has one meaning.
//!
//! Implements of the OAuth endpoint rules (RFC 6749 §3.1, §3.2). It does not know which
//! parameters an endpoint needs.

use percent_encoding::percent_decode;
use remit_model::{Code, Refusal, display, token_bounds};
use std::{collections::BTreeSet, fmt};

/// Largest form body and longest query, in bytes. SPEC: X-10
pub(crate) const BYTES_LIMIT: usize = token_bounds::FORM.size();
/// Most parameters in one request. SPEC: X-10
pub(crate) const FIELDS_LIMIT: usize = 64;

/// Repeatable by definition: RFC 8707 `resource` and RFC 8693 `audience`.
const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// The parameters of one request. An empty value is the same as an absent parameter.
#[derive(Clone, Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    /// SPEC: X-03
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > BYTES_LIMIT {
            return Err(Refusal::new(Code::RequestTooLarge, format!("the parameters exceed {BYTES_LIMIT} bytes")));
        }
        let mut fields = Vec::new();
        let mut seen = BTreeSet::new();
        for pair in bytes.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            if seen.len().max(fields.len()) >= FIELDS_LIMIT {
                return Err(Refusal::new(Code::RequestTooLarge, format!("more than {FIELDS_LIMIT} parameters")));
            }
            let mut halves = pair.splitn(2, |b| *b == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            if !seen.insert(name.clone()) && !REPEATABLE.contains(&name.as_str()) {
                return Err(malformed(&format!("`{}` is given more than once", shown(&name))));
            }
            if !value.is_empty() {
                fields.push((name, value));
            }
        }
        Ok(Self { fields })
    }

    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.one(name).ok_or_else(|| malformed(&format!("`{name}` is missing")))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.one(name).is_some()
    }
}

// A form holds codes, tokens and passwords: only the names are shown.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.iter().map(|(name, _)| name)).finish()
    }
}

fn decode(bytes: &[u8]) -> Result<String, Refusal> {
    // Tokens, the bulk of every form, are written in letters that need no decoding.
    let decoded = if bytes.contains(&b'%') || bytes.contains(&b'+') {
        let spaced: Vec<u8> = bytes.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        percent_decode(&spaced).collect()
    } else {
        bytes.to_vec()
    };
    String::from_utf8(decoded).map_err(|_| malformed("a parameter is not UTF-8"))
}

/// At most 32 characters of a name the caller chose, for a message.
fn shown(name: &str) -> String {
    display::excerpt(name, 32)
}

fn malformed(reason: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_03_a_parameter_given_twice_is_refused() {
        assert_eq!(Form::parse(b"a=1&a=2").unwrap_err().code, Code::RequestMalformed);
        assert_eq!(Form::parse(b"a=1&%61=2").unwrap_err().code, Code::RequestMalformed);
        assert_eq!(Form::parse(b"a=&a=2").unwrap_err().code, Code::RequestMalformed);
    }

    #[test]
    fn x_03_resource_and_audience_may_repeat() {
        let form = Form::parse(b"resource=a&resource=b&audience=c&audience=d").unwrap();
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn x_03_an_empty_value_is_absent() {
        assert!(!Form::parse(b"scope=&x").unwrap().has("scope"));
    }

    #[test]
    fn x_10_size_and_count_are_limited_at_the_limit_and_one_more() {
        let fields = |n: usize| (0..n).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join("&");
        assert!(Form::parse(fields(FIELDS_LIMIT).as_bytes()).is_ok());
        assert_eq!(Form::parse(fields(FIELDS_LIMIT + 1).as_bytes()).unwrap_err().code, Code::RequestTooLarge);
        let long = |n: usize| format!("a={}", "x".repeat(n - 2));
        assert!(Form::parse(long(BYTES_LIMIT).as_bytes()).is_ok());
        assert_eq!(Form::parse(long(BYTES_LIMIT + 1).as_bytes()).unwrap_err().code, Code::RequestTooLarge);
    }

    #[test]
    fn spaces_and_escapes_are_decoded_and_the_rest_is_left_alone() {
        let form = Form::parse("a=x+y%20%2B%25&b=plain.text-_~&c=\u{e9}&%64=%C3%A9".as_bytes()).unwrap();
        let values = ["a", "b", "c", "d"].map(|name| form.one(name));
        assert_eq!(values, [Some("x y +%"), Some("plain.text-_~"), Some("\u{e9}"), Some("\u{e9}")]);
    }

    #[test]
    fn not_utf8_is_refused() {
        assert_eq!(Form::parse(b"a=%ff").unwrap_err().code, Code::RequestMalformed);
        assert_eq!(Form::parse(b"a=\xff").unwrap_err().code, Code::RequestMalformed);
    }
}
