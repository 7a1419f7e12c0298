//! SPIFFE IDs: the names of workloads in a trust domain. SPEC: SP-01, SPIFFE-ID §2.

use crate::refusal::{Code, Refusal};
use std::fmt;

/// Longest trust domain, in bytes.
const DOMAIN_LIMIT: usize = 255;
/// Longest SPIFFE ID, in bytes.
const ID_LIMIT: usize = 2_048;

/// A SPIFFE ID of a workload: `spiffe://TRUST-DOMAIN/PATH`, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpiffeId {
    text: String,
    /// Bytes of the trust domain, which begins after the scheme.
    domain: usize,
}

const SCHEME: &str = "spiffe://";

impl SpiffeId {
    /// Reads a SPIFFE ID. There is no second spelling: nothing is decoded and no letter case is changed.
    ///
    /// # Errors
    /// `name_malformed`, with the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = |reason: &str| Refusal::new(Code::NameMalformed, format!("this is no SPIFFE ID: {reason}"));
        if text.len() > ID_LIMIT {
            return Err(wrong("it is longer than 2048 bytes"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin with `spiffe://`"))?;
        let (domain, path) = rest.split_once('/').ok_or_else(|| wrong("it names a trust domain and no workload"))?;
        trust_domain(domain)?;
        for segment in path.split('/') {
            if segment.is_empty() {
                return Err(wrong("its path has an empty segment, or ends with `/`"));
            }
            if segment == "." || segment == ".." {
                return Err(wrong("its path has a segment `.` or `..`"));
            }
            if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)) {
                return Err(wrong("its path has a character other than letters, digits, `.`, `-` and `_`"));
            }
        }
        Ok(Self { text: text.to_owned(), domain: domain.len() })
    }

    /// The trust domain, whose bundle verifies this workload.
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..SCHEME.len().saturating_add(self.domain)).unwrap_or_default()
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the id is `pattern`, or lies below it when the pattern ends in `/*`. SPEC: SP-04, N-SP-06
    pub fn is(&self, pattern: &SpiffePattern) -> bool {
        let rest = self.text.strip_prefix(pattern.base.as_str());
        if pattern.below { rest.is_some_and(|rest| rest.starts_with('/')) } else { rest == Some("") }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A SPIFFE ID, or all that lie below a path: `spiffe://example.org/ns/prod/*`. At least one segment of the path is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffePattern {
    base: String,
    below: bool,
}

impl SpiffePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// As [`SpiffeId::parse`]; a `*` anywhere but as the last segment is one.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let (base, below) = text.strip_suffix("/*").map_or((text, false), |base| (base, true));
        SpiffeId::parse(base).map(|id| Self { base: id.text, below })
    }
}

/// Checks the name of a trust domain.
///
/// # Errors
/// `name_malformed`.
pub fn trust_domain(name: &str) -> Result<(), Refusal> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b));
    if letters && (1..=DOMAIN_LIMIT).contains(&name.len()) {
        return Ok(());
    }
    let reason = "a trust domain has 1 to 255 characters: lower-case letters, digits, `.`, `-` and `_`";
    Err(Refusal::new(Code::NameMalformed, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sp_01_the_grammar_has_one_spelling() {
        for fine in ["spiffe://example.org/a", "spiffe://td_1.a-b/ns/prod/sa/A.b-c_9", "spiffe://1/..."] {
            let id = SpiffeId::parse(fine).unwrap();
            assert_eq!(id.as_str(), fine);
            assert_eq!(format!("spiffe://{}", id.trust_domain()), fine.split('/').take(3).collect::<Vec<_>>().join("/"));
        }
    }

    #[test]
    fn n_sp_04_an_upper_case_scheme_or_trust_domain_is_refused() {
        for bad in ["spiffe://TD/a", "SPIFFE://td/a", "Spiffe://td/a", "spiffe://tD/a"] {
            SpiffeId::parse(bad).unwrap_err();
        }
    }

    #[test]
    fn n_sp_05_dots_and_other_ways_to_climb_are_refused() {
        let long_domain = format!("spiffe://{}/a", "d".repeat(256));
        let long = format!("spiffe://td/{}", "p".repeat(2_048));
        for bad in [
            "spiffe://td/ns/../admin",
            "spiffe://td/ns/./a",
            "spiffe://td/ns//a",
            "spiffe://td/ns/a/",
            "spiffe://td/",
            "spiffe://td",
            "spiffe:///a",
            "spiffe://td:443/a",
            "spiffe://u@td/a",
            "spiffe://td/a?x=1",
            "spiffe://td/a#x",
            "spiffe://td/%2e%2e/a",
            "spiffe://td/a b",
            "spiffe://td/\u{e4}",
            "https://td/a",
            "",
            &long_domain,
            &long,
        ] {
            SpiffeId::parse(bad).unwrap_err();
        }
    }

    #[test]
    fn n_sp_06_a_pattern_matches_what_lies_below_and_no_sibling() {
        let is = |pattern: &str, id: &str| SpiffeId::parse(id).unwrap().is(&SpiffePattern::parse(pattern).unwrap());
        assert!(is("spiffe://td/ns/a", "spiffe://td/ns/a"));
        assert!(is("spiffe://td/ns/a/*", "spiffe://td/ns/a/b") && is("spiffe://td/ns/a/*", "spiffe://td/ns/a/b/c"));
        for (pattern, id) in [
            ("spiffe://td/ns/a", "spiffe://td/ns/ab"),
            ("spiffe://td/ns/a", "spiffe://td/ns/a/b"),
            ("spiffe://td/ns/a/*", "spiffe://td/ns/a"),
            ("spiffe://td/ns/a/*", "spiffe://td/ns/ab/c"),
            ("spiffe://td/ns/a/*", "spiffe://td2/ns/a/b"),
        ] {
            assert!(!is(pattern, id), "{pattern} {id}");
        }
        for bad in ["spiffe://td/*", "spiffe://td/ns/a*", "spiffe://*/a", "spiffe://td/*/a", "*"] {
            SpiffePattern::parse(bad).unwrap_err();
        }
    }
}
