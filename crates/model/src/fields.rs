//! Masking: keep of a response only what the granted field pointers allow.
//!
//! An allow-list over a parsed value. What a pointer addresses stays whole; objects and arrays on the way to it stay
//! as shells, so that the answer keeps its shape; everything else goes. A masked array item that has kept items after
//! it becomes `null`, because dropping it would move them. It deliberately knows nothing of schemas or encodings.

mod paths;
mod report;
mod schema;
mod text;

use crate::{
    authority::field::{FieldPath, Token},
    json::Limits,
};
use paths::{parse, step};
use report::{Report, Spot};
use serde_json::Value;

pub use report::REPORT_LIMIT;
pub use schema::shown_schema;

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
    /// Whether some object or array lost everything that was in it.
    pub emptied: bool,
}

/// Keeps only what `fields` (JSON Pointers with `*` for array items) allow; a malformed pointer allows nothing.
pub fn project(mut value: Value, fields: &[String]) -> Projection {
    let paths = parse(fields);
    let tails: Vec<&[Token]> = paths.iter().map(|path| path.0.as_slice()).collect();
    let mut report = Report::new();
    mask(&mut value, &tails, &mut report, Spot::ROOT);
    let (masked, returned) = report.pointers();
    Projection { value, masked, returned, truncated: report.truncated(), emptied: report.emptied() }
}

/// Everything but what `fields` (JSON Pointers with `*` for array items) address. A malformed pointer takes nothing away, so
/// it is refused where it is configured: see [`is_pointer`].
pub fn without(mut value: Value, fields: &[String]) -> Projection {
    let paths = parse(fields);
    let tails: Vec<&[Token]> = paths.iter().map(|path| path.0.as_slice()).collect();
    let mut report = Report::new();
    strip(&mut value, &tails, &mut report, Spot::ROOT);
    let (masked, returned) = report.pointers();
    Projection { value, masked, returned, truncated: report.truncated(), emptied: report.emptied() }
}

/// A projected text, with the members of [`Projection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextProjection {
    pub text: String,
    pub masked: Vec<String>,
    pub returned: Vec<String>,
    pub emptied: bool,
}

/// The projection of a text that is one JSON object or array; `None` for every other text. `limits` are those of
/// [`crate::json::parse`].
pub fn project_text(text: &str, fields: &[String], limits: &Limits) -> Option<TextProjection> {
    let (text, report) = text::project(text, &parse(fields), limits)?;
    let (masked, returned) = report.pointers();
    Some(TextProjection { text, masked, returned, emptied: report.emptied() })
}

/// Whether a text is a field pointer: a JSON Pointer, not to the whole, with `*` for array items.
pub fn is_pointer(text: &str) -> bool {
    !text.is_empty() && FieldPath::parse(text).is_some()
}

/// Whether the field at `inner` is the one at `outer` or a part of it.
pub fn covers(outer: &str, inner: &str) -> bool {
    FieldPath::parse(outer).zip(FieldPath::parse(inner)).is_some_and(|(outer, inner)| outer.covers(&inner))
}

/// Leaves what `tails`, the rests of the field pointers from here on, allow of `value`: always a shell or `null`.
fn mask(value: &mut Value, tails: &[&[Token]], report: &mut Report, spot: Spot) {
    if tails.iter().any(|tail| tail.is_empty()) {
        return keep(value, report, spot);
    }
    match value {
        Value::Object(members) => {
            let before = members.len();
            members.retain(|name, member| mask_member(name, member, tails, report, spot));
            report.left(before, members.len());
        }
        Value::Array(items) => mask_items(items, tails, report, spot),
        _ => {
            report.mask(spot);
            *value = Value::Null;
        }
    }
}

/// Whether the member stays.
fn mask_member(name: &str, member: &mut Value, tails: &[&[Token]], report: &mut Report, spot: Spot) -> bool {
    let inner = step(tails, |token| matches!(token, Token::Name(allowed) if allowed == name));
    // A scalar where the pointers expect something to look into is masked, not replaced by `null`.
    let whole = inner.iter().any(|tail| tail.is_empty());
    if inner.is_empty() || !(whole || member.is_object() || member.is_array()) {
        report.mask_inside(spot, name);
        return false;
    }
    let inside = report.through(spot, name);
    mask(member, &inner, report, inside);
    true
}

fn mask_items(items: &mut Vec<Value>, tails: &[&[Token]], report: &mut Report, spot: Spot) {
    let mut length = 0;
    for (index, (number, item)) in (0_u64..).zip(items.iter_mut().enumerate()) {
        let inner = step(tails, |token| match token {
            Token::Item => true,
            Token::Index(allowed) => *allowed == index,
            Token::Name(_) => false,
        });
        if inner.is_empty() {
            report.mask_inside(spot, "*");
            *item = Value::Null;
        } else {
            let inside = report.through(spot, "*");
            mask(item, &inner, report, inside);
            length = number + 1;
        }
    }
    // After the last item that any pointer looks into, nothing has to hold its place.
    report.left(items.len(), length);
    items.truncate(length);
}

/// Takes away what `tails`, the rests of the pointers from here on, address. A removed array item becomes `null`, because
/// dropping it would move the items after it.
fn strip(value: &mut Value, tails: &[&[Token]], report: &mut Report, spot: Spot) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let before = members.len();
            members.retain(|name, member| {
                let inner = step(tails, |token| matches!(token, Token::Name(named) if named == name));
                if inner.iter().any(|tail| tail.is_empty()) {
                    report.mask_inside(spot, name);
                    return false;
                }
                let inside = report.within(spot, name);
                strip(member, &inner, report, inside);
                true
            });
            report.left(before, members.len());
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in (0_u64..).zip(items) {
                let inner = step(tails, |token| match token {
                    Token::Item => true,
                    Token::Index(named) => *named == index,
                    // A number is the name of a member, too, and an index where there is an array.
                    Token::Name(_) => false,
                });
                if inner.iter().any(|tail| tail.is_empty()) {
                    report.mask_inside(spot, "*");
                    *item = Value::Null;
                } else {
                    let inside = report.within(spot, "*");
                    strip(item, &inner, report, inside);
                }
            }
        }
        _ => report.keep(spot),
    }
}

/// Notes the leaves of a value that stays whole.
fn keep(value: &Value, report: &mut Report, spot: Spot) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let inside = report.within(spot, name);
                keep(member, report, inside);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let inside = report.within(spot, "*");
                keep(item, report, inside);
            }
        }
        _ => report.keep(spot),
    }
}
