//! A row of the world: one thing that a snapshot shows, as it is stored.
//!
//! A body is a JSON object whose member `v` is the major version of its form. A reader takes the members it knows; a writer
//! keeps the others, so that an older program that changes a row loses nothing a newer one put there. A body of a newer major
//! version means something else: it is not read, and not written over.

use crate::{batch::Revocation, db::error::DbError};
use remit_model::time::UnixTime;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};
use std::{fmt, sync::Arc};
use thiserror::Error;

/// The major version this program writes.
const VERSION: u64 = 1;
/// Name of the member that says it.
const V: &str = "v";

/// One thing that a snapshot shows, or a trace of one that it no longer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) key: Arc<str>,
    /// `None` once it is gone.
    pub(crate) body: Option<Arc<str>>,
    /// Of the batch that last touched it.
    pub(crate) revision: u64,
    /// When it may be forgotten; `None` never.
    pub(crate) until: Option<UnixTime>,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Agent,
    Human,
    RevokedToken,
    RevokedChain,
    RevokedFamily,
    Hold,
    IssuerKey,
    RevokedIssued,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Agent,
        Self::Human,
        Self::RevokedToken,
        Self::RevokedChain,
        Self::RevokedFamily,
        Self::Hold,
        Self::IssuerKey,
        Self::RevokedIssued,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Human => "human",
            Self::RevokedToken => "revoked_token",
            Self::RevokedChain => "revoked_chain",
            Self::RevokedFamily => "revoked_family",
            Self::Hold => "hold",
            Self::IssuerKey => "issuer_key",
            Self::RevokedIssued => "revoked_issued",
        }
    }

    /// `None` for a kind that only a newer version knows.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    pub(crate) fn of(what: &Revocation) -> Self {
        match what {
            Revocation::Jti(_) => Self::RevokedToken,
            Revocation::Txn(_) => Self::RevokedChain,
            Revocation::Family(_) => Self::RevokedFamily,
        }
    }
}

/// A legal hold at rest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HoldBody {
    pub(crate) basis: String,
    pub(crate) since: UnixTime,
}

/// The end of everything that fits a criterion and was issued before a time, at rest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IssuedBody {
    pub(crate) before: UnixTime,
}

/// The body of a row whose key and time say everything.
pub(crate) const PLAIN: &str = r#"{"v":1}"#;
/// The body of an agent of which nothing is left but its name.
pub(crate) const BLANK: &str = "{}";

/// Why a row cannot be used.
#[derive(Debug, Error)]
pub(crate) enum RowError {
    #[error("it was written by a newer version of this program (version {0} of its form; this program reads {VERSION})")]
    Newer(u64),
    #[error("it is not the JSON object it should be: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{kind} `{key}` {why}")]
    Broken { kind: &'static str, key: String, why: &'static str },
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Reads a body, and leaves aside the members that `T` does not have.
pub(crate) fn decode<T: DeserializeOwned>(body: &str) -> Result<T, RowError> {
    let mut members = members(body)?;
    let known = member_names::<T>();
    members.retain(|name, _| known.contains(&name.as_str()));
    Ok(serde_json::from_value(Value::Object(members))?)
}

/// Writes a body. Of the row before, it keeps the members that `T` does not have, as far as `keep` agrees; a row of a newer
/// version is not written over.
pub(crate) fn encode<T: Serialize + DeserializeOwned>(
    value: &T,
    before: Option<&str>,
    keep: impl Fn(&str, &Value) -> bool,
) -> Result<String, RowError> {
    let mut written = Map::new();
    written.insert(V.to_owned(), VERSION.into());
    if let Value::Object(known) = serde_json::to_value(value)? {
        written.extend(known);
    }
    let known = member_names::<T>();
    // What cannot be read is replaced.
    let before = match before.map(members) {
        Some(Err(error @ RowError::Newer(_))) => return Err(error),
        Some(Ok(members)) => members,
        _ => Map::new(),
    };
    let unknown = before.into_iter().filter(|(name, _)| name != V && !known.contains(&name.as_str()));
    written.extend(unknown.filter(|(name, value)| keep(name, value)));
    Ok(serde_json::to_string(&written)?)
}

/// The members of a body whose version this program knows. A body without one is of the first.
fn members(body: &str) -> Result<Map<String, Value>, RowError> {
    let members: Map<String, Value> = serde_json::from_str(body)?;
    match members.get(V).map_or(Some(VERSION), Value::as_u64) {
        Some(version) if version <= VERSION => Ok(members),
        version => Err(RowError::Newer(version.unwrap_or(u64::MAX))),
    }
}

/// The names of the members of a struct, as its `Deserialize` states them: whether or not a value happens to have them all.
fn member_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It always fails, after it has said which members it would read.
    let _ = T::deserialize(NamesOnly(&mut names));
    names
}

struct NamesOnly<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for NamesOnly<'_> {
    type Error = de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(de::Error::custom("only the names"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` at revision {}", self.kind.as_str(), self.key, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::btree_map, prelude::*};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Known {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    }

    fn known(note: Option<&str>) -> Known {
        Known { name: "n".to_owned(), note: note.map(str::to_owned) }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map("[a-z]{1,4}", inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_of_a_newer_version_survive_a_read_and_a_write(unknown in btree_map("x[a-z_]{0,8}", any_value(), 0..6)) {
            let mut stored: Map<String, Value> = unknown.clone().into_iter().collect();
            stored.insert("v".to_owned(), 1.into());
            stored.insert("name".to_owned(), "n".into());
            stored.insert("note".to_owned(), "old".into());
            let stored = serde_json::to_string(&stored).unwrap();
            let mut read: Known = decode(&stored).unwrap();
            prop_assert_eq!(&read, &known(Some("old")));
            read.note = None;
            let rewritten = encode(&read, Some(&stored), |_, _| true).unwrap();
            let members: Map<String, Value> = serde_json::from_str(&rewritten).unwrap();
            for (name, value) in &unknown {
                prop_assert_eq!(members.get(name), Some(value));
            }
            prop_assert_eq!(members.len(), unknown.len() + 2, "a known member that was taken out does not come back");
            prop_assert_eq!(decode::<Known>(&rewritten).unwrap(), known(None));
        }
    }

    #[test]
    fn a_newer_form_is_neither_read_nor_written_over() {
        for body in [r#"{"v":2,"name":"n"}"#, r#"{"v":"1","name":"n"}"#, r#"{"v":-1,"name":"n"}"#] {
            assert!(matches!(decode::<Known>(body), Err(RowError::Newer(_))), "{body}");
            assert!(matches!(encode(&known(None), Some(body), |_, _| true), Err(RowError::Newer(_))), "{body}");
        }
    }

    #[test]
    fn a_body_without_a_version_is_of_the_first_and_a_damaged_one_is_replaced() {
        assert_eq!(decode::<Known>(r#"{"name":"n"}"#).unwrap(), known(None));
        for damaged in ["", "{", "[]", "null", r#"{"name":1"#] {
            assert!(decode::<Known>(damaged).is_err(), "{damaged}");
            assert_eq!(encode(&known(None), Some(damaged), |_, _| true).unwrap(), r#"{"v":1,"name":"n"}"#);
        }
        assert!(decode::<Known>(r#"{"v":1}"#).is_err(), "a member is missing");
    }

    #[test]
    fn the_members_of_what_is_stored_are_known() {
        assert!(member_names::<remit_model::Agent>().contains(&"ceiling"));
        assert!(member_names::<remit_model::Human>().contains(&"entitlements"));
        assert!(member_names::<HoldBody>().contains(&"since"));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("policy"), None);
    }
}
