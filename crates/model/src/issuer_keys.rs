//! The keys that the issuer signs access and ID tokens with, over time. SPEC: JW-02
//!
//! A key is published before it signs, so that resource servers that cache the key set know it in time. The key before it
//! stays accepted until the last token it signed has expired. A revoked key is accepted no more, from one moment to the
//! next. Which key signs and which are accepted follows from the keys and the time alone, so every process that sees the
//! same keys agrees.

use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// For how many seconds a key is accepted after another one began to sign: the longest life of a token, and the skew.
pub const OVERLAP: i64 = 3_600 + 60;

/// For how many seconds a key is published before it signs: as long as others may cache the key set, and the skew.
pub const NOTICE: i64 = 600 + 60;

/// Most keys that are remembered, the revoked ones included.
pub const LIMIT: usize = 64;

/// One key of the issuer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerKey {
    /// The RFC 7638 thumbprint.
    pub kid: String,
    /// The public JWK.
    pub jwk: Value,
    /// Signs from then on, until a later key does.
    pub signs_from: UnixTime,
    /// Not accepted from then on; `None` as long as no other key takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_until: Option<UnixTime>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<UnixTime>,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStage {
    /// Published, and signs later.
    Next,
    /// Signs now.
    Signing,
    /// Signs no more; what it signed is accepted until it expires.
    Retiring,
    /// Everything it signed has expired.
    Retired,
    /// Nothing it signed is accepted.
    Revoked,
}

/// The keys of one issuer by their `kid`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IssuerKeys(Arc<BTreeMap<String, IssuerKey>>);

impl IssuerKeys {
    /// The key of this `kid`, whatever its stage.
    pub fn key(&self, kid: &str) -> Option<&IssuerKey> {
        self.0.get(kid)
    }

    /// All keys, by `kid`.
    pub fn iter(&self) -> impl Iterator<Item = &IssuerKey> {
        self.0.values()
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are the very same value in memory; then they hold the same keys.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The key that signs at this time: of those that may sign, the one that began last. Times are whole seconds: of keys that
    /// began in the same one, it is the key that is accepted longest, because a rotation ends the keys before it.
    pub fn signing(&self, now: UnixTime) -> Option<&IssuerKey> {
        let begun = self.0.values().filter(|key| key.is_published(now) && key.signs_from <= now);
        begun.max_by_key(|key| (key.signs_from, key.accepted_until.unwrap_or(UnixTime(i64::MAX)), &key.kid))
    }

    /// The key that signs next, if one is published.
    pub fn next(&self, now: UnixTime) -> Option<&IssuerKey> {
        let coming = self.0.values().filter(|key| key.is_published(now) && key.signs_from > now);
        coming.min_by_key(|key| (key.signs_from, &key.kid))
    }

    /// The keys whose tokens are accepted at this time, with those that sign later.
    pub fn published(&self, now: UnixTime) -> impl Iterator<Item = &IssuerKey> {
        self.0.values().filter(move |key| key.is_published(now))
    }

    /// Whether nothing that this key signed is accepted any more. A `kid` that is not known was not revoked.
    pub fn is_revoked(&self, kid: &str) -> bool {
        self.0.get(kid).is_some_and(|key| key.revoked.is_some())
    }

    /// Where a key is in its life.
    pub fn stage(&self, key: &IssuerKey, now: UnixTime) -> KeyStage {
        if key.revoked.is_some() {
            return KeyStage::Revoked;
        }
        if !key.is_published(now) {
            return KeyStage::Retired;
        }
        if key.signs_from > now {
            return KeyStage::Next;
        }
        if self.signing(now) == Some(key) { KeyStage::Signing } else { KeyStage::Retiring }
    }

    /// The next time at which a key ceases to be accepted, if nothing changes.
    pub fn changes_at(&self, now: UnixTime) -> Option<UnixTime> {
        self.published(now).filter_map(|key| key.accepted_until).min()
    }

    /// The keys that need not be remembered: a day after the last token expired, a year after a revocation.
    pub fn forgettable(&self, now: UnixTime) -> Vec<String> {
        let old = |key: &&IssuerKey| match key.revoked {
            Some(when) => when.plus(365 * 86_400) < now,
            None => key.accepted_until.is_some_and(|end| end.plus(86_400) < now),
        };
        self.0.values().filter(old).map(|key| key.kid.clone()).collect()
    }

    /// With this key added or replaced.
    #[must_use]
    pub fn with(&self, key: IssuerKey) -> Self {
        let mut keys = BTreeMap::clone(&self.0);
        keys.insert(key.kid.clone(), key);
        Self(Arc::new(keys))
    }

    /// Without the key of this `kid`.
    #[must_use]
    pub fn without(&self, kid: &str) -> Self {
        let mut keys = BTreeMap::clone(&self.0);
        keys.remove(kid);
        Self(Arc::new(keys))
    }

    /// The keys that change when this one begins to sign at `from`: itself, and those it takes the place of.
    pub fn succession(&self, kid: &str, jwk: &Value, from: UnixTime, now: UnixTime) -> Vec<IssuerKey> {
        let next = IssuerKey { kid: kid.to_owned(), jwk: jwk.clone(), signs_from: from, accepted_until: None, revoked: None };
        let end = from.plus(OVERLAP);
        let before = self.published(now).filter(|key| key.kid != kid);
        // INVARIANT: an end is never moved before the last token of the key: a key that ceased to sign earlier keeps its end,
        // and one that goes on signing longer than was planned gets a later one.
        let ends = |key: &IssuerKey| match key.accepted_until {
            Some(known) if self.signing(now) != Some(key) => known,
            _ => end,
        };
        let ended = before.map(|key| IssuerKey { accepted_until: Some(ends(key)), ..key.clone() });
        ended.chain([next]).collect()
    }

    /// What changes at the start of a server that has these public keys, each `{"kid", …}`, the preferred one first. `None` when
    /// only keys that were revoked are there.
    pub fn at_start(&self, at_hand: &[Value], now: UnixTime) -> Option<Vec<IssuerKey>> {
        let kid = |jwk: &Value| jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
        let Some(first) = at_hand.first() else { return Some(Vec::new()) };
        let signing = self.signing(now).map(|key| key.kid.as_str());
        if signing.is_some() && at_hand.iter().any(|jwk| kid(jwk).as_deref() == signing) {
            return Some(Vec::new());
        }
        // The first start, or the operator put another key file in place of the one that signed.
        let fresh = at_hand.iter().find(|jwk| kid(jwk).is_some_and(|kid| self.key(&kid).is_none()));
        match fresh.and_then(|jwk| Some((kid(jwk)?, jwk))) {
            Some((kid, jwk)) => Some(self.succession(&kid, &bare(jwk), now, now)),
            None if kid(first).is_some_and(|kid| self.key(&kid).is_some_and(|key| key.revoked.is_none())) => Some(Vec::new()),
            None => None,
        }
    }

    /// The published keys and their ends as a record states them: `{"issuer": JWKS, "issuer_until": {KID: SECONDS}}`.
    pub fn facts(&self, now: UnixTime) -> Value {
        let until = self.published(now).filter_map(|key| Some((key.kid.clone(), json!(key.accepted_until?.0.to_string()))));
        json!({"issuer": self.jwks(now), "issuer_until": until.collect::<BTreeMap<_, _>>()})
    }

    /// The published keys as a JWK set: the signing key first.
    pub fn jwks(&self, now: UnixTime) -> Value {
        let signing = self.signing(now);
        let rest = self.published(now).filter(|key| Some(*key) != signing);
        let keys: Vec<Value> = signing.into_iter().chain(rest).map(IssuerKey::public).collect();
        json!({ "keys": keys })
    }
}

impl IssuerKey {
    fn is_published(&self, now: UnixTime) -> bool {
        self.revoked.is_none() && self.accepted_until.is_none_or(|end| now < end)
    }

    /// The public JWK with its `kid` and `use`. SPEC: JW-01
    fn public(&self) -> Value {
        let mut jwk = self.jwk.clone();
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), json!(self.kid));
            members.insert("use".to_owned(), json!("sig"));
        }
        jwk
    }
}

/// A JWK without what names it.
fn bare(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    if let Some(members) = jwk.as_object_mut() {
        members.remove("kid");
        members.remove("use");
    }
    jwk
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn jwk(name: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": name, "y": name, "alg": "ES256"})
    }

    fn named(name: &str) -> Value {
        let mut jwk = jwk(name);
        jwk["kid"] = json!(name);
        jwk
    }

    fn apply(keys: &IssuerKeys, changes: Vec<IssuerKey>) -> IssuerKeys {
        changes.into_iter().fold(keys.clone(), |keys, key| keys.with(key))
    }

    fn begun() -> IssuerKeys {
        let none = IssuerKeys::default();
        apply(&none, none.at_start(&[named("a")], NOW).unwrap())
    }

    fn kids(keys: &IssuerKeys, now: UnixTime) -> Vec<&str> {
        keys.published(now).map(|key| key.kid.as_str()).collect()
    }

    #[test]
    fn jw_02_a_next_key_is_published_first_and_the_old_one_is_accepted_until_its_tokens_expired() {
        let keys = begun();
        let from = NOW.plus(NOTICE);
        let keys = apply(&keys, keys.succession("b", &jwk("b"), from, NOW));
        let signing = |now| keys.signing(now).unwrap().kid.clone();
        assert_eq!((signing(NOW), kids(&keys, NOW)), ("a".to_owned(), vec!["a", "b"]));
        assert_eq!(signing(from.plus(-1)), "a");
        assert_eq!((signing(from), kids(&keys, from)), ("b".to_owned(), vec!["a", "b"]));
        let last = from.plus(OVERLAP);
        assert_eq!(kids(&keys, last.plus(-1)), ["a", "b"]);
        assert_eq!(kids(&keys, last), ["b"]);
        let stages = |now| keys.iter().map(|key| keys.stage(key, now)).collect::<Vec<_>>();
        assert_eq!(stages(NOW), [KeyStage::Signing, KeyStage::Next]);
        assert_eq!(stages(from), [KeyStage::Retiring, KeyStage::Signing]);
        assert_eq!(stages(last), [KeyStage::Retired, KeyStage::Signing]);
    }

    #[test]
    fn jw_02_of_two_keys_that_begin_in_the_same_second_the_later_one_signs() {
        for (first, second, third) in [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")] {
            let none = IssuerKeys::default();
            let keys = apply(&none, none.at_start(&[named(first)], NOW).unwrap());
            let keys = apply(&keys, keys.succession(second, &jwk(second), NOW, NOW));
            assert_eq!(keys.signing(NOW).unwrap().kid, second);
            let keys = apply(&keys, keys.succession(third, &jwk(third), NOW, NOW));
            assert_eq!(keys.signing(NOW).unwrap().kid, third);
            let planned = apply(&keys, keys.succession("d", &jwk("d"), NOW.plus(NOTICE), NOW));
            assert_eq!(planned.signing(NOW).unwrap().kid, third, "the next key signs before its time");
        }
    }

    #[test]
    fn a_second_rotation_does_not_shorten_the_overlap_of_the_first() {
        let keys = begun();
        let keys = apply(&keys, keys.succession("b", &jwk("b"), NOW, NOW));
        let later = NOW.plus(100);
        let keys = apply(&keys, keys.succession("c", &jwk("c"), later, later));
        assert_eq!(keys.key("a").unwrap().accepted_until, Some(NOW.plus(OVERLAP)));
        assert_eq!(keys.key("b").unwrap().accepted_until, Some(later.plus(OVERLAP)));
        // Bringing a planned rotation forward, or putting it off, moves the end of the key that signs.
        let planned = apply(&begun(), begun().succession("b", &jwk("b"), NOW.plus(900), NOW));
        let off = apply(&planned, planned.succession("b", &jwk("b"), NOW.plus(5_000), NOW));
        assert_eq!(off.key("a").unwrap().accepted_until, Some(NOW.plus(5_000 + OVERLAP)));
    }

    #[test]
    fn a_start_takes_the_key_over_that_is_there_and_no_revoked_one() {
        let keys = begun();
        assert_eq!(keys.at_start(&[named("a")], NOW), Some(vec![]));
        let replaced = apply(&keys, keys.at_start(&[named("b")], NOW.plus(5)).unwrap());
        assert_eq!(replaced.signing(NOW.plus(5)).unwrap().kid, "b");
        assert_eq!(kids(&replaced, NOW.plus(5)), ["a", "b"], "what the old file's key signed is still accepted");
        let revoked = keys.with(IssuerKey { revoked: Some(NOW), ..keys.key("a").unwrap().clone() });
        assert_eq!(revoked.at_start(&[named("a")], NOW), None);
        assert!(revoked.is_revoked("a") && revoked.signing(NOW).is_none());
        assert_eq!(keys.at_start(&[], NOW), Some(vec![]));
    }

    #[test]
    fn n_jw_01_a_key_set_has_names_and_nothing_else_than_the_public_key() {
        let jwks = begun().jwks(NOW);
        assert_eq!(
            jwks["keys"][0],
            json!({"kty": "EC", "crv": "P-256", "x": "a", "y": "a", "alg": "ES256", "kid": "a", "use": "sig"})
        );
    }
}
