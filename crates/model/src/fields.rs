//! Masking: keep of a response only what the granted field pointers allow.
//!
//! An allow-list over a parsed value. What a pointer addresses stays whole; objects and arrays on the way to it stay
//! as shells, so that the answer keeps its shape; everything else goes. A masked array item that has kept items after
//! it becomes `null`, because dropping it would move them. It deliberately knows nothing of schemas or encodings.

use crate::{
    authority::field::{FieldPath, Token},
    json::pointer,
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Most pointers that a projection lists as masked, and most that it lists as returned.
pub const REPORT_LIMIT: usize = 256;
/// Longest member name in a listed pointer, in characters; names can be data.
const NAME_SHOWN: usize = 64;

/// What is left of a response, and what was taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    pub value: Value,
    /// Pointers that were removed; array indexes collapsed to `*`, sorted, without repeats, bounded in number.
    pub masked: Vec<String>,
    /// Pointers of the scalars and empty containers that were kept, in the same form.
    pub returned: Vec<String>,
    /// Whether `masked` or `returned` had more entries than are listed.
    pub truncated: bool,
}

/// Keeps only what `fields` (JSON Pointers with `*` for array items) allow; a malformed pointer allows nothing.
pub fn project(value: Value, fields: &[String]) -> Projection {
    let paths: Vec<FieldPath> = fields.iter().filter_map(|field| FieldPath::parse(field)).collect();
    let tails: Vec<&[Token]> = paths.iter().map(|path| path.0.as_slice()).collect();
    let mut report = Report::default();
    let kept = mask(value, &tails, &mut report);
    Projection {
        value: kept,
        masked: report.masked.into_iter().collect(),
        returned: report.returned.into_iter().collect(),
        truncated: report.truncated,
    }
}

#[derive(Default)]
struct Report {
    /// Pointer of the value at hand.
    at: String,
    masked: BTreeSet<String>,
    returned: BTreeSet<String>,
    truncated: bool,
}

impl Report {
    /// Runs `visit` one token deeper.
    fn inside<T>(&mut self, token: &str, visit: impl FnOnce(&mut Self) -> T) -> T {
        let here = self.at.len();
        self.at.push('/');
        match token.char_indices().nth(NAME_SHOWN) {
            Some((end, _)) => {
                self.at.push_str(&pointer::escape(token.get(..end).unwrap_or_default()));
                self.at.push('…');
            }
            None => self.at.push_str(&pointer::escape(token)),
        }
        let seen = visit(self);
        self.at.truncate(here);
        seen
    }

    fn mask(&mut self) {
        note(&mut self.masked, &self.at, &mut self.truncated);
    }

    /// Notes the leaves of a value that stays whole.
    fn keep(&mut self, value: &Value) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, member) in members {
                    self.inside(name, |report| report.keep(member));
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    self.inside("*", |report| report.keep(item));
                }
            }
            _ => note(&mut self.returned, &self.at, &mut self.truncated),
        }
    }
}

fn note(pointers: &mut BTreeSet<String>, at: &str, truncated: &mut bool) {
    if pointers.contains(at) {
        return;
    }
    if pointers.len() < REPORT_LIMIT {
        pointers.insert(at.to_owned());
    } else {
        *truncated = true;
    }
}

/// What `tails`, the rests of the field pointers from here on, allow of `value`; there is always a shell or `null`.
fn mask(value: Value, tails: &[&[Token]], report: &mut Report) -> Value {
    if tails.iter().any(|tail| tail.is_empty()) {
        report.keep(&value);
        return value;
    }
    match value {
        Value::Object(members) => Value::Object(mask_members(members, tails, report)),
        Value::Array(items) => Value::Array(mask_items(items, tails, report)),
        _ => {
            report.mask();
            Value::Null
        }
    }
}

fn mask_members(members: Map<String, Value>, tails: &[&[Token]], report: &mut Report) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, member) in members {
        let inner = step(tails, |token| matches!(token, Token::Name(allowed) if *allowed == name));
        let seen = report.inside(&name, |report| {
            // A scalar where the pointers expect something to look into is masked, not replaced by `null`.
            let whole = inner.iter().any(|tail| tail.is_empty());
            if inner.is_empty() || !(whole || member.is_object() || member.is_array()) {
                report.mask();
                return None;
            }
            Some(mask(member, &inner, report))
        });
        if let Some(member) = seen {
            kept.insert(name, member);
        }
    }
    kept
}

fn mask_items(items: Vec<Value>, tails: &[&[Token]], report: &mut Report) -> Vec<Value> {
    let mut kept = Vec::with_capacity(items.len());
    let mut length = 0;
    for (index, item) in (0_u64..).zip(items) {
        let inner = step(tails, |token| match token {
            Token::Item => true,
            Token::Index(allowed) => *allowed == index,
            Token::Name(_) => false,
        });
        kept.push(report.inside("*", |report| {
            if inner.is_empty() {
                report.mask();
                return Value::Null;
            }
            mask(item, &inner, report)
        }));
        if !inner.is_empty() {
            length = kept.len();
        }
    }
    // After the last item that any pointer looks into, nothing has to hold its place.
    kept.truncate(length);
    kept
}

/// The rests of those pointers whose next token is accepted.
fn step<'t>(tails: &[&'t [Token]], accepts: impl Fn(&Token) -> bool) -> Vec<&'t [Token]> {
    tails.iter().filter_map(|tail| tail.split_first()).filter(|(token, _)| accepts(token)).map(|(_, rest)| rest).collect()
}
