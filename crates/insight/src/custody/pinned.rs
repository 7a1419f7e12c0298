//! Keys of other issuers: which of them the evidence in a log rests on, and whether they are those that the auditor knows.

use super::error::CustodyError;
use remit_model::json::{self, Limits, Numbers};
use remit_token::{KeySet, PublicKey};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of a file with keys.
pub const PINNED_LIMIT: usize = 1 << 20;

/// Keys of other issuers that the auditor has from a source they trust: by issuer, the thumbprints (RFC 7638).
#[derive(Clone, Debug, Default)]
pub struct PinnedKeys(BTreeMap<String, BTreeSet<String>>);

impl PinnedKeys {
    /// Reads `{"ISSUER": JWKS, …}`. A JWKS is what the issuer publishes; keys that it no longer publishes may be added to it.
    ///
    /// # Errors
    /// Why the file is another one.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let limits = Limits { bytes: PINNED_LIMIT, depth: 8, members: 65_536, numbers: Numbers::ExactDoubles };
        let value = json::parse(file, &limits).map_err(|refusal| refusal.reason)?;
        let issuers = value.as_object().ok_or("not a JSON object of issuers, each with its JWK set")?;
        let thumbprints = |jwks: &Value| {
            let keys = KeySet::from_jwks(jwks).map_err(|refusal| refusal.reason)?;
            Ok::<_, String>(keys.iter().map(|(_, key)| key.thumbprint().to_owned()).collect())
        };
        let read = |(issuer, jwks): (&String, &Value)| {
            let keys = thumbprints(jwks).map_err(|why| format!("the keys of `{issuer}`: {why}"))?;
            Ok((issuer.clone(), keys))
        };
        issuers.iter().map(read).collect::<Result<_, String>>().map(Self)
    }

    fn has(&self, issuer: &str, thumbprint: &str) -> bool {
        self.0.get(issuer).is_some_and(|keys| keys.contains(thumbprint))
    }
}

/// A key of another issuer that evidence in the log rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutsideKey {
    /// Whose key it is, as the log states it.
    pub issuer: String,
    /// RFC 7638.
    pub thumbprint: String,
    /// In how many records evidence by it is stated.
    pub records: u64,
    /// Whether it is among the auditor's keys; `None` when there are none.
    pub pinned: Option<bool>,
}

/// The keys that were met so far.
#[derive(Debug, Default)]
pub(super) struct OutsideKeys<'p> {
    pinned: Option<&'p PinnedKeys>,
    met: BTreeMap<(String, String), u64>,
}

impl<'p> OutsideKeys<'p> {
    pub(super) fn new(pinned: Option<&'p PinnedKeys>) -> Self {
        Self { pinned, met: BTreeMap::new() }
    }

    /// Takes note of a key that a record states as an issuer's.
    pub(super) fn meet(&mut self, issuer: &str, jwk: &Value) -> Result<(), CustodyError> {
        let key = PublicKey::from_jwk(jwk).map_err(CustodyError::ForeignKey)?;
        let thumbprint = key.thumbprint().to_owned();
        let known = self.pinned.is_none_or(|pinned| pinned.has(issuer, &thumbprint));
        let refused = (!known).then(|| CustodyError::NotPinned { issuer: issuer.to_owned(), thumbprint: thumbprint.clone() });
        *self.met.entry((issuer.to_owned(), thumbprint)).or_default() += 1;
        refused.map_or(Ok(()), Err)
    }

    /// What was met, for the report.
    pub(super) fn report(&self) -> Vec<OutsideKey> {
        let one = |((issuer, thumbprint), records): (&(String, String), &u64)| OutsideKey {
            issuer: issuer.clone(),
            thumbprint: thumbprint.clone(),
            records: *records,
            pinned: self.pinned.map(|pinned| pinned.has(issuer, thumbprint)),
        };
        self.met.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_map_of_issuers_to_public_keys_is_read() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let good = json!({"https://id.example": {"keys": [key]}});
        let pinned = PinnedKeys::parse(good.to_string().as_bytes()).unwrap();
        assert!(pinned.has("https://id.example", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
        assert!(!pinned.has("https://id.example/", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
        let mut private = key.clone();
        private["d"] = json!("x");
        for wrong in [json!([]), json!({"https://id.example": [key]}), json!({"https://id.example": {"keys": [private]}})] {
            assert!(PinnedKeys::parse(wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
        let twice = br#"{"https://id.example": {"keys": []}, "https://id.example": {"keys": []}}"#;
        assert!(PinnedKeys::parse(twice).is_err());
    }
}
