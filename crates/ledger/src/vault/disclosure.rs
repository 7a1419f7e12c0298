//! The keys at hand: from a disclosure file, as an auditor has it, or from the server's key store.

use super::{KeyId, SubjectKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::{
    Principal, display,
    json::{self, Limits, Numbers},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, sync::Arc};
use zeroize::Zeroizing;

/// The value of `schema` in a disclosure file.
pub const DISCLOSURE: &str = "remit.disclosure.v1";
/// Longest disclosure file, in bytes: a million keys.
pub const DISCLOSURE_LIMIT: usize = 128 << 20;

type Source = dyn Fn(&KeyId) -> Option<SubjectKey> + Send + Sync;

/// Keys by name. Cheap to clone; clones share the keys.
#[derive(Clone)]
pub struct Keyring {
    source: Arc<Source>,
    /// Origin of the log a disclosure was made for.
    origin: Option<String>,
    subjects: Arc<BTreeMap<String, Principal>>,
}

/// Why bytes are not a disclosure file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a disclosure file: {0}")]
pub struct DisclosureError(String);

impl Keyring {
    /// Keys that are looked up one by one, for instance in the server's own key store.
    pub fn from_fn(source: impl Fn(&KeyId) -> Option<SubjectKey> + Send + Sync + 'static) -> Self {
        Self { source: Arc::new(source), origin: None, subjects: Arc::default() }
    }

    /// Reads a disclosure file: `schema`, `origin`, `keys`, `subjects`, and no other member.
    ///
    /// # Errors
    /// What is wrong with it, in words; a key is never repeated in them.
    pub fn from_disclosure(bytes: &[u8]) -> Result<Self, DisclosureError> {
        let limits = Limits { bytes: DISCLOSURE_LIMIT, depth: 8, members: 1 << 21, numbers: Numbers::Doubles };
        let value = json::parse(bytes, &limits).map_err(|refusal| DisclosureError(refusal.to_string()))?;
        let Value::Object(mut file) = value else { return Err(wrong("it is not an object")) };
        if file.remove("schema") != Some(json!(DISCLOSURE)) {
            return Err(wrong("`schema` is not `remit.disclosure.v1`"));
        }
        let Some(Value::String(origin)) = file.remove("origin") else { return Err(wrong("no `origin`")) };
        let Some(Value::Object(stated)) = file.remove("keys") else { return Err(wrong("no `keys`")) };
        let subjects = match file.remove("subjects") {
            None => BTreeMap::new(),
            Some(value) => {
                serde_json::from_value(value).map_err(|_| wrong("`subjects` does not map references to {iss, sub}"))?
            }
        };
        if let Some(name) = file.keys().next() {
            return Err(DisclosureError(format!("unknown member `{}`", display::excerpt(name, 64))));
        }
        let mut keys = BTreeMap::new();
        for (id, secret) in stated {
            let id = KeyId::parse(&id).ok_or_else(|| wrong("a name in `keys` is not `k:` and the b64u of 16 bytes"))?;
            keys.insert(id, secret_of(&secret)?);
        }
        Ok(Self { source: Arc::new(move |id| keys.get(id).cloned()), origin: Some(origin), subjects: Arc::new(subjects) })
    }

    /// The key of this name, when it is at hand.
    pub fn key(&self, id: &KeyId) -> Option<SubjectKey> {
        (self.source)(id)
    }

    /// Origin of the log a disclosure file was made for; `None` when the keys come from elsewhere.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The pseudonyms of everybody whom a disclosure file names so.
    pub fn subjects_named<'s>(&'s self, sub: &'s str) -> impl Iterator<Item = &'s str> {
        self.subjects.iter().filter(move |(_, principal)| principal.sub == sub).map(|(reference, _)| reference.as_str())
    }

    /// Who is behind a `subject_ref`, as far as a disclosure file says.
    pub fn subject(&self, subject_ref: &str) -> Option<&Principal> {
        self.subjects.get(subject_ref)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("origin", &self.origin).finish_non_exhaustive()
    }
}

fn secret_of(value: &Value) -> Result<SubjectKey, DisclosureError> {
    let not_a_key = || wrong("a value in `keys` is not the b64u of 32 bytes");
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(value.as_str().ok_or_else(not_a_key)?).map_err(|_| not_a_key())?);
    let secret: [u8; 32] = bytes.as_slice().try_into().map_err(|_| not_a_key())?;
    Ok(SubjectKey::new(secret))
}

fn wrong(why: &str) -> DisclosureError {
    DisclosureError(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disclosure_file_is_read_exactly() {
        let (id, key) = ("k:AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let good =
            json!({"schema": DISCLOSURE, "origin": "o/log", "keys": {id: key}, "subjects": {"r": {"iss": "i", "sub": "user:a"}}});
        let ring = Keyring::from_disclosure(good.to_string().as_bytes()).unwrap();
        assert_eq!(ring.key(&KeyId::parse(id).unwrap()), Some(SubjectKey::new([0; 32])));
        assert_eq!(ring.key(&KeyId::new([1; 16])), None);
        assert_eq!((ring.origin(), ring.subject("r").unwrap().sub.as_str()), (Some("o/log"), "user:a"));
        let broken = [
            json!([]),
            json!({"schema": "remit.disclosure.v2", "origin": "o", "keys": {}}),
            json!({"schema": DISCLOSURE, "keys": {}}),
            json!({"schema": DISCLOSURE, "origin": "o"}),
            json!({"schema": DISCLOSURE, "origin": "o", "keys": [key]}),
            json!({"schema": DISCLOSURE, "origin": "o", "keys": {"x": key}}),
            json!({"schema": DISCLOSURE, "origin": "o", "keys": {id: "AAAA"}}),
            json!({"schema": DISCLOSURE, "origin": "o", "keys": {id: 1}}),
            json!({"schema": DISCLOSURE, "origin": "o", "keys": {id: key}, "subjects": {"r": "user:a"}}),
            json!({"schema": DISCLOSURE, "origin": "o", "keys": {id: key}, "more": 1}),
        ];
        for file in broken {
            let error = Keyring::from_disclosure(file.to_string().as_bytes()).expect_err(&file.to_string());
            assert!(!error.to_string().contains(key), "an error repeats a key: {error}");
        }
        assert!(Keyring::from_disclosure(b"").is_err());
    }
}
