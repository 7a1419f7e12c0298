//! What of a call is kept for the auditor besides the decision: its result as it came and as it was shown, and the state
//! of a thing before and after a change.
//!
//! Kept values are committed and leave the record itself untouched; the store encrypts them. What is too large is kept as
//! its digest, and the record says so in `ext.capture`: nothing is left out silently. Messages on the way (progress, logs,
//! questions) and open streams are not kept.

use crate::{
    road::answer::End,
    settings::{BeforeAfter, CAPTURE_LIMIT, Capture, CaptureLevel},
};
use remit_ledger::record::Draft;
use remit_model::{json, mask::Shown};
use serde_json::{Map, Value, json};

const UPSTREAM: &str = "/response/upstream";
const BODY: &str = "/response/body";

/// What was kept of one call so far.
#[derive(Debug)]
pub(crate) struct Kept {
    rule: Capture,
    values: Vec<(String, Value)>,
    /// Paths of what was too large, with the size in bytes.
    too_large: Map<String, Value>,
    /// Paths of what is not kept although the level says so.
    omitted: Vec<&'static str>,
    reads: Vec<Value>,
}

impl Kept {
    pub(crate) fn new(mut rule: Capture) -> Self {
        rule.max_bytes = rule.max_bytes.min(CAPTURE_LIMIT);
        Self { rule, values: Vec::new(), too_large: Map::new(), omitted: Vec::new(), reads: Vec::new() }
    }

    /// The upstream's result or error, before masking.
    pub(crate) fn upstream(&mut self, answer: &Value) {
        self.keep(UPSTREAM, answer);
    }

    /// The result as the caller gets it.
    pub(crate) fn shown(&mut self, shown: &Shown, end: End) {
        if end == End::InputRequired {
            // It holds our sealed state, which only the caller may have.
            self.omitted.push(BODY);
        } else {
            self.keep(BODY, &shown.value);
        }
    }

    /// The rule for reading the state of what a call changes.
    pub(crate) fn before_after(&self) -> Option<&BeforeAfter> {
        self.rule.before_after.as_ref()
    }

    /// A read of that state: on which side of the change, what it found, and the facts of it.
    pub(crate) fn state(&mut self, side: &str, found: Option<&Value>, read: Value) {
        if let Some(found) = found {
            self.keep(&format!("/change/{side}"), found);
        }
        self.reads.push(read);
    }

    fn keep(&mut self, path: &str, value: &Value) {
        let kept = match self.rule.level {
            CaptureLevel::None => return,
            CaptureLevel::Digest => digest(value),
            CaptureLevel::Full => {
                let size = size(value);
                if size > self.rule.max_bytes {
                    self.too_large.insert(path.to_owned(), json!(size.to_string()));
                    digest(value)
                } else {
                    value.clone()
                }
            }
        };
        self.values.push((path.to_owned(), kept));
    }

    /// Puts what was kept into the record; says nothing where nothing was tried.
    pub(crate) fn finish(self, draft: &mut Draft) {
        if self.values.is_empty() && self.reads.is_empty() && self.omitted.is_empty() {
            return;
        }
        let mut says = Map::new();
        says.insert("class".to_owned(), json!(self.rule.level.as_str()));
        if !self.too_large.is_empty() {
            says.insert("too_large".to_owned(), Value::Object(self.too_large));
        }
        if !self.omitted.is_empty() {
            says.insert("not_kept".to_owned(), json!(self.omitted));
        }
        if !self.reads.is_empty() {
            says.insert("reads".to_owned(), Value::Array(self.reads));
        }
        draft.ext.insert("capture".to_owned(), Value::Object(says));
        draft.committed.extend(self.values);
    }
}

/// Stands for a value: the SHA-256 of its canonical JSON. It is committed under a salt like any value, so that a short
/// one cannot be guessed from the record.
fn digest(value: &Value) -> Value {
    Value::String(json::digest(value))
}

/// Bytes the value takes up beside the log at most: as text inside a JSON string, should its numbers need that.
fn size(value: &Value) -> usize {
    let text = value.to_string();
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_becomes_a_digest_that_is_announced() {
        let rule = Capture { level: CaptureLevel::Full, max_bytes: 20, ..Capture::default() };
        let mut kept = Kept::new(rule);
        kept.keep("/a", &json!("0123456789012345"));
        kept.keep("/b", &json!("\"\"\"\"\"\"\"\""));
        kept.keep("/c", &json!({"short": 1}));
        let names: Vec<_> = kept.too_large.keys().collect();
        assert_eq!(names, ["/b"], "quotes count as what they cost beside the log");
        assert!(kept.values[1].1.as_str().unwrap().starts_with("sha-256:"));
        assert_eq!(kept.values[2].1, json!({"short": 1}));
    }
}
