//! The values of one record on their way to its side: each is written once, hashed once and sealed once.

use super::{
    COMMIT_LIMIT, Opening, Side,
    canonical_writer::CanonicalWriter,
    error::SealError,
    leaf::{JSON_TEXT, leaf, numbers_are_exact},
    seal_side::Plan,
};
use crate::{hash::Hash, vault::field::Place};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::json;
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};

const SALT_BYTES: usize = 16;
/// Deepest nesting that is committed to as JSON; deeper values are committed as text.
const DEPTH_LIMIT: usize = 48;
/// Bytes of a hash as a JSON text.
const HASH_TEXT: usize = 8 + 64 + 2;

/// Values with fresh salts, by path, and the decoys that hide their number.
pub(super) struct Values<'d> {
    fields: BTreeMap<Cow<'d, str>, Field<'d>>,
    decoys: Vec<Hash>,
    /// Bytes of the side that leaves them open.
    length: usize,
}

struct Field<'d> {
    salt: String,
    kind: &'static str,
    value: Cow<'d, Value>,
    /// `{"salt":…,"type":…,"value":…}` in canonical form: what is sealed.
    opening: Vec<u8>,
    leaf: Hash,
}

impl<'d> Values<'d> {
    /// Commits to the values with fresh salts and decoys.
    pub(super) fn commit(
        values: Vec<(Cow<'d, str>, Cow<'d, Value>)>,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, SealError> {
        if values.len() > COMMIT_LIMIT {
            return Err(SealError::TooMany { what: "committed values", count: values.len(), limit: COMMIT_LIMIT });
        }
        let (mut fields, mut length, mut scratch) = (BTreeMap::new(), 0, Vec::with_capacity(512));
        for (path, value) in values {
            let wrong = |why| SealError::Path { path: path.clone().into_owned(), why };
            if !path.starts_with('/') {
                return Err(wrong("is not a JSON Pointer"));
            }
            if fields.contains_key(&path) {
                return Err(wrong("is committed twice"));
            }
            let mut salt = [0; SALT_BYTES];
            entropy(&mut salt);
            let field = Field::new(&path, URL_SAFE_NO_PAD.encode(salt), value, &mut scratch);
            scratch.clear();
            json::write_text(&path, &mut scratch);
            length += scratch.len() + ":,".len() + field.opening.len();
            fields.insert(path, field);
        }
        let padded = fields.len().max(1).next_power_of_two();
        let mut decoys = vec![Hash::ZERO; padded - fields.len()];
        for decoy in &mut decoys {
            entropy(&mut decoy.0);
        }
        length += r#"{"decoys":[],"fields":{}}"#.len() + (HASH_TEXT + ",".len()) * decoys.len();
        // One comma less than items, where there are items.
        length -= usize::from(!fields.is_empty()) + usize::from(!decoys.is_empty());
        Ok(Self { fields, decoys, length })
    }

    /// Bytes of the side that leaves them open, in canonical form.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The side that leaves them open.
    pub(super) fn open(self) -> Side {
        let fields = self.fields.into_iter().map(|(path, field)| {
            let opening = Opening::Open { salt: field.salt, kind: field.kind.to_owned(), value: field.value.into_owned() };
            (path.into_owned(), opening)
        });
        Side { fields: fields.collect(), decoys: self.decoys }
    }

    /// The side that holds them sealed for this record; what is about too many subjects is closed for good.
    pub(super) fn seal(self, record_id: &str, plan: &Plan, entropy: &mut dyn FnMut(&mut [u8])) -> Result<Side, SealError> {
        let mut fields = BTreeMap::new();
        for (path, field) in self.fields {
            let leaf = field.leaf;
            let sealed = match plan.keys(&path) {
                None => Opening::Closed { leaf },
                Some(keys) => {
                    let sealed = keys.seal(&Place { record_id, path: &path, leaf: &leaf }, &field.opening, entropy);
                    Opening::Sealed { leaf, sealed: sealed.map_err(|fault| SealError::Key { fault })? }
                }
            };
            fields.insert(path.into_owned(), sealed);
        }
        Ok(Side { fields, decoys: self.decoys })
    }
}

impl<'d> Field<'d> {
    fn new(path: &str, salt: String, value: Cow<'d, Value>, scratch: &mut Vec<u8>) -> Self {
        let (kind, value) = committed_form(value);
        let mut opening = Vec::with_capacity(128);
        let mut value_at = 0;
        CanonicalWriter::object(&mut opening, |members| {
            members.text("salt", &salt);
            members.text("type", kind);
            value_at = members.written() + r#","value":"#.len();
            members.value("value", &value);
        });
        let written = opening.get(value_at..opening.len().saturating_sub(1)).unwrap_or_default();
        let leaf = leaf(path, &salt, kind, written, scratch);
        Self { salt, kind, value, opening, leaf }
    }
}

/// The value as it is hashed and stored, with its type name.
fn committed_form(value: Cow<'_, Value>) -> (&'static str, Cow<'_, Value>) {
    if !numbers_are_exact(&value) || deeper_than(&value, DEPTH_LIMIT) {
        return (JSON_TEXT, Cow::Owned(Value::String(value.to_string())));
    }
    let kind = match &*value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    (kind, value)
}

fn deeper_than(value: &Value, limit: usize) -> bool {
    let Some(inner) = limit.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper_than(item, inner)),
        Value::Object(members) => members.values().any(|member| deeper_than(member, inner)),
        _ => false,
    }
}
