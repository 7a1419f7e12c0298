//! Salted per-field commitments: what a record binds without holding (record.md §1.6, §1.7).
//!
//! `leaf = SHA-256(0x00 ‖ JCS([salt, path, type, value]))`, leaves sorted by path, padded with random decoys to a power
//! of two, joined by RFC 6962 nodes. Salts and values live in the [`Side`]; destroying a salt makes the leaf
//! unguessable while every proof over the record still holds.

use super::{
    COMMIT_LIMIT, SIDE_LIMIT,
    canonical_writer::CanonicalWriter,
    leaf::{self, JSON_TEXT},
};
use crate::{
    hash::Hash,
    tree,
    vault::{KEYS_LIMIT, KeyId, SealedBox, field::OVERHEAD},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::json::{self, Limits, Numbers};
use serde_json::Value;
use std::collections::BTreeMap;

/// The openings of one record's commitments, kept beside the log.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Side {
    /// By path, in the order the tree has them (bytewise).
    pub fields: BTreeMap<String, Opening>,
    /// Random leaves after the real ones, so that their number tells nothing.
    pub decoys: Vec<Hash>,
}

/// One committed field.
#[derive(Clone, Debug, PartialEq)]
pub enum Opening {
    /// Salt and value are known; `kind` is the JSON type, or `json` when `value` is the JSON text of the real one.
    Open { salt: String, kind: String, value: Value },
    /// Encrypted: opened by all of the keys it names. SPEC: record.md §1.6
    Sealed { leaf: Hash, sealed: SealedBox },
    /// Only the leaf is left: withheld, or erased.
    Closed { leaf: Hash },
}

/// Why side bytes are not a side.
#[derive(Debug, thiserror::Error)]
#[error("side values malformed: {0}")]
pub struct SideError(String);

impl Side {
    /// `commit.root` of the record these openings belong to.
    pub fn root(&self) -> Hash {
        tree::root(&self.leaves())
    }

    /// `commit.count_padded` of the record.
    pub fn count(&self) -> usize {
        self.fields.len() + self.decoys.len()
    }

    /// The committed value at `path`, unless withheld or erased.
    pub fn value(&self, path: &str) -> Option<Value> {
        self.fields.get(path)?.value()
    }

    /// The leaf hash committed for `path`.
    pub fn leaf(&self, path: &str) -> Option<Hash> {
        self.fields.get(path).map(|opening| opening.leaf(path))
    }

    /// All leaves in tree order: the fields by path, then the decoys.
    pub fn leaves(&self) -> Vec<Hash> {
        self.fields.iter().map(|(path, opening)| opening.leaf(path)).chain(self.decoys.iter().copied()).collect()
    }

    /// Canonical JSON: `{"decoys":[…],"fields":{path:{salt,type,value} or {keys,leaf,sealed} or {leaf}}}`.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(None)
    }

    /// One line of a side bundle: the same with the record's `index`, and a newline.
    pub fn to_line(&self, index: u64) -> Vec<u8> {
        let mut line = self.write(Some(index));
        line.push(b'\n');
        line
    }

    /// The same line from what [`Side::to_bytes`] wrote, without reading it: `index` sorts after the other members.
    pub(crate) fn line_from_bytes(bytes: &[u8], index: u64) -> Result<Vec<u8>, SideError> {
        let open = bytes.strip_suffix(b"}").ok_or_else(|| malformed("not an object"))?;
        Ok([open, format!(",\"index\":\"{index}\"}}\n").as_bytes()].concat())
    }

    fn write(&self, index: Option<u64>) -> Vec<u8> {
        let mut fields: Vec<(&String, &Opening)> = self.fields.iter().collect();
        // The tree orders by bytes, canonical JSON by UTF-16 units.
        fields.sort_by(|(a, _), (b, _)| json::by_utf16(a, b));
        let mut bytes = Vec::with_capacity(4096);
        CanonicalWriter::object(&mut bytes, |side| {
            side.put("decoys", &self.decoys);
            side.within("fields", |members| {
                for (path, opening) in fields {
                    members.within(path, |opened| opening.write(opened, None));
                }
            });
            side.some("index", index.map(|index| index.to_string()));
        });
        bytes
    }

    /// Reads what [`Side::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`SideError`] that says what is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, SideError> {
        Self::read(bytes).map(|(_, side)| side)
    }

    /// Reads one line of a side bundle: the record's index and its openings.
    ///
    /// # Errors
    /// As for [`Side::parse`]; a line without `index`.
    pub fn parse_line(line: &[u8]) -> Result<(u64, Self), SideError> {
        let (index, side) = Self::read(line)?;
        Ok((index.ok_or_else(|| malformed("no `index`"))?, side))
    }

    fn read(bytes: &[u8]) -> Result<(Option<u64>, Self), SideError> {
        let limits = Limits { bytes: 2 * SIDE_LIMIT, depth: 64, members: 1 << 20, numbers: Numbers::Doubles };
        let value = json::parse(bytes, &limits).map_err(|refusal| malformed(&refusal.to_string()))?;
        let Value::Object(mut side) = value else { return Err(malformed("not an object")) };
        let index = match side.remove("index") {
            None => None,
            Some(Value::String(text)) => Some(super::parse::decimal(&text).ok_or_else(|| malformed("`index`"))?),
            Some(_) => return Err(malformed("`index` is not a string")),
        };
        let Some(Value::Object(fields)) = side.remove("fields") else { return Err(malformed("no `fields`")) };
        let Some(Value::Array(decoys)) = side.remove("decoys") else { return Err(malformed("no `decoys`")) };
        if !side.is_empty() || fields.len() > COMMIT_LIMIT || decoys.len() > COMMIT_LIMIT {
            return Err(malformed("unknown members or too many values"));
        }
        let fields = fields
            .into_iter()
            .map(|(path, value)| Opening::from_value(value).map(|opening| (path, opening)))
            .collect::<Option<_>>()
            .ok_or_else(|| malformed("a field is neither {salt,type,value} nor {keys,leaf,sealed} nor {leaf}"))?;
        let decoys = decoys
            .iter()
            .map(|decoy| decoy.as_str().and_then(Hash::parse))
            .collect::<Option<_>>()
            .ok_or_else(|| malformed("a decoy is not a hash"))?;
        Ok((index, Self { fields, decoys }))
    }
}

impl Opening {
    /// The value as it was before it was committed to; `None` unless open.
    pub fn value(&self) -> Option<Value> {
        match self {
            Self::Open { kind, value, .. } if kind == JSON_TEXT => serde_json::from_str(value.as_str()?).ok(),
            Self::Open { value, .. } => Some(value.clone()),
            Self::Sealed { .. } | Self::Closed { .. } => None,
        }
    }

    pub(crate) fn leaf(&self, path: &str) -> Hash {
        match self {
            Self::Closed { leaf } | Self::Sealed { leaf, .. } => *leaf,
            Self::Open { salt, kind, value } => leaf::leaf(path, salt, kind, &json::canonical(value), &mut Vec::new()),
        }
    }

    /// The members of an opening; `path` is one of them where nothing else says it.
    pub(crate) fn write(&self, members: &mut CanonicalWriter<'_>, path: Option<&str>) {
        match self {
            Self::Sealed { leaf, sealed } => {
                members.put("keys", sealed.keys.iter().map(KeyId::as_str).collect::<Vec<_>>());
                members.put("leaf", leaf);
                members.some("path", path);
                members.text("sealed", &URL_SAFE_NO_PAD.encode(&sealed.bytes));
            }
            Self::Closed { leaf } => {
                members.put("leaf", leaf);
                members.some("path", path);
            }
            Self::Open { salt, kind, value } => {
                members.some("path", path);
                members.text("salt", salt);
                members.text("type", kind);
                members.value("value", value);
            }
        }
    }

    pub(crate) fn from_value(value: Value) -> Option<Self> {
        let Value::Object(mut members) = value else { return None };
        if let Some(leaf) = members.remove("leaf") {
            let leaf = Hash::parse(leaf.as_str()?)?;
            if members.is_empty() {
                return Some(Self::Closed { leaf });
            }
            let sealed =
                SealedBox { keys: key_names(&members.remove("keys")?)?, bytes: sealed_bytes(&members.remove("sealed")?)? };
            return members.is_empty().then_some(Self::Sealed { leaf, sealed });
        }
        let salt = members.remove("salt")?.as_str()?.to_owned();
        let kind = members.remove("type")?.as_str()?.to_owned();
        let value = members.remove("value")?;
        members.is_empty().then_some(Self::Open { salt, kind, value })
    }
}

/// 1 to 16 key names, sorted, each once.
fn key_names(value: &Value) -> Option<Vec<KeyId>> {
    let names: Vec<KeyId> = value.as_array()?.iter().map(|name| KeyId::parse(name.as_str()?)).collect::<Option<_>>()?;
    ((1..=KEYS_LIMIT).contains(&names.len()) && names.is_sorted_by(|a, b| a < b)).then_some(names)
}

fn sealed_bytes(value: &Value) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value.as_str()?).ok().filter(|bytes| bytes.len() > OVERHEAD)
}

pub(super) fn malformed(why: &str) -> SideError {
    SideError(why.to_owned())
}
