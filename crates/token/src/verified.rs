//! Access tokens whose signature was checked a short while ago.
//!
//! What is remembered is one fact that cannot change: these bytes carry a good signature of this key. The name of the bytes
//! is their SHA-256, which DPoP's `ath` needs anyway. Everything that can change is asked again on every hit: the key must
//! still be one of the signer's, and issuer, audience and time must be as this request expects them. Standing is not
//! remembered at all: who was revoked or quarantined is in the snapshot that the caller consults after it has the token, in
//! the same place as when the signature was just checked. So a revocation bites at once, without anything to empty.
//!
//! A hit that fails any of these goes to the verifier, so a refusal is always the verifier's own.

use crate::{
    access::{self, AccessToken, Expect},
    claims::Skew,
    jws::TOKEN_LIMIT,
    key::PublicKey,
    keyset::KeySet,
};
use remit_cache::ByteBoundedCache;
use remit_model::{Refusal, UnixTime};
use std::sync::Arc;

/// For how many seconds a signature that was checked is not checked again.
pub const LIFE_SECS: i64 = 60;

/// A bounded memory of verified tokens.
#[derive(Debug)]
pub struct Verified(ByteBoundedCache<[u8; 32], Arc<Entry>>);

#[derive(Debug)]
struct Entry {
    token: Arc<AccessToken>,
    key: PublicKey,
    checked: UnixTime,
}

impl Verified {
    /// Room for `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self(ByteBoundedCache::new(bytes))
    }

    /// As [`access::verify`], without the signature check where it was done within [`LIFE_SECS`].
    ///
    /// # Errors
    /// Those of [`access::verify`].
    pub fn verify(
        &self,
        compact: &str,
        keys: &KeySet,
        expect: &Expect<'_>,
        now: UnixTime,
        skew: Skew,
    ) -> Result<Arc<AccessToken>, Refusal> {
        // Nothing that long was ever remembered: it is refused before it is hashed.
        let digest = if compact.len() > TOKEN_LIMIT { [0; 32] } else { access::digest(compact) };
        if let Some(entry) = self.0.get(&digest) {
            let fresh = (0..LIFE_SECS).contains(&now.since(entry.checked));
            if fresh && keys.holds(&entry.key) && entry.token.meets(expect, now, skew) {
                return Ok(Arc::clone(&entry.token));
            }
        }
        let (token, key) = access::check(compact, keys, expect, now, skew)?;
        let (token, bytes) = (Arc::new(token), AccessToken::bytes(compact));
        self.0.put(digest, Arc::new(Entry { token: Arc::clone(&token), key, checked: now }), bytes);
        Ok(token)
    }

    /// Forgets one token: of someone whom nothing is to be remembered of.
    pub fn remove(&self, token: &AccessToken) {
        self.0.remove(token.digest());
    }

    /// Forgets all tokens.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// How many tokens are remembered now, and what they weigh in bytes.
    pub fn size(&self) -> (usize, usize) {
        self.0.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::Claims,
        key::{Algorithm, PrivateKey, counting::checks_during},
    };
    use remit_model::Code;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const EXPECT: Expect<'static> = Expect { issuer: "https://as", audience: Some("https://rs") };

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap()
    }

    fn claims(jti: &str) -> Claims {
        Claims { jti: jti.to_owned(), exp: NOW.plus(90), ..Claims::example(NOW) }
    }

    fn token(key: &PrivateKey, jti: &str) -> String {
        access::mint(key, &claims(jti)).unwrap()
    }

    /// Whether it was accepted, and how many signatures were checked for that.
    fn cost(memory: &Verified, token: &str, keys: &KeySet, now: UnixTime) -> (Result<(), Code>, usize) {
        let verify = || memory.verify(token, keys, &EXPECT, now, Skew::NONE);
        let (result, checks) = checks_during(verify);
        (result.map(drop).map_err(|refusal| refusal.code), checks)
    }

    #[test]
    fn a_signature_is_checked_once_a_minute() {
        let (key, memory) = (key(1), Verified::new(1 << 20));
        let (keys, token) = (KeySet::of([key.public()]), token(&key, "1"));
        assert_eq!(cost(&memory, &token, &keys, NOW), (Ok(()), 1));
        assert_eq!(cost(&memory, &token, &keys, NOW.plus(LIFE_SECS - 1)), (Ok(()), 0));
        assert_eq!(cost(&memory, &token, &keys, NOW.plus(LIFE_SECS)), (Ok(()), 1));
        assert_eq!(cost(&memory, &token, &keys, NOW.plus(89)), (Ok(()), 0));
        assert_eq!(cost(&memory, &token, &keys, NOW.plus(90)), (Err(Code::TokenExpired), 0));
    }

    #[test]
    fn a_key_that_went_takes_its_tokens_along() {
        let (old, new, memory) = (key(1), key(2), Verified::new(1 << 20));
        let (both, only_new) = (KeySet::of([new.public(), old.public()]), KeySet::of([new.public()]));
        let token = token(&old, "1");
        assert_eq!(cost(&memory, &token, &both, NOW), (Ok(()), 1));
        assert_eq!(cost(&memory, &token, &both, NOW), (Ok(()), 0), "still published");
        assert_eq!(cost(&memory, &token, &only_new, NOW), (Err(Code::TokenSignatureInvalid), 0));
        assert_eq!(cost(&memory, &token, &KeySet::default(), NOW), (Err(Code::TokenSignatureInvalid), 0));
    }

    #[test]
    fn n_at_a_forgery_beside_a_remembered_token_is_checked_and_never_remembered() {
        let (key, memory) = (key(1), Verified::new(1 << 20));
        let (keys, token) = (KeySet::of([key.public()]), token(&key, "1"));
        assert_eq!(cost(&memory, &token, &keys, NOW), (Ok(()), 1));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, payload) = signed.split_once('.').unwrap();
        let other = self::token(&self::key(3), "1");
        let forgeries = [
            // The same bytes up to the signature, whose first letter is another.
            format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, signature.get(1..).unwrap()),
            // Another's content under the remembered signature.
            format!("{header}.{}.{signature}", self::token(&key, "2").split('.').nth(1).unwrap()),
            // The same content, signed by a stranger, under the genuine header.
            format!("{header}.{payload}.{}", other.rsplit_once('.').unwrap().1),
        ];
        for forged in forgeries {
            for _ in 0..2 {
                assert_eq!(cost(&memory, &forged, &keys, NOW), (Err(Code::TokenSignatureInvalid), 1), "{forged}");
            }
        }
        assert_eq!((memory.size().0, cost(&memory, &token, &keys, NOW)), (1, (Ok(()), 0)));
        for longer in [format!("{token}A"), format!("{token}."), format!(" {token}"), "A".repeat(TOKEN_LIMIT + 1)] {
            assert!(cost(&memory, &longer, &keys, NOW).0.is_err());
        }
    }

    #[test]
    fn the_memory_decides_as_the_verifier_does() {
        let (old, new) = (key(1), key(2));
        let sets = [KeySet::of([old.public()]), KeySet::of([new.public(), old.public()]), KeySet::of([new.public()])];
        let tokens = [token(&old, "1"), token(&new, "2"), token(&key(3), "3"), "not.a.token".to_owned()];
        let memory = Verified::new(1 << 20);
        for round in 0..3 {
            for step in [0, 1, -200, -1, 59, 60, 61, 89, 90, 120, 200] {
                for (audience, skew) in [(None, 0), (Some("https://rs"), 30), (Some("https://other"), 0)] {
                    for issuer in ["https://as", "https://other"] {
                        for (keys, token) in sets.iter().flat_map(|keys| tokens.iter().map(move |token| (keys, token))) {
                            let (expect, now, skew) = (Expect { issuer, audience }, NOW.plus(step), Skew::seconds(skew));
                            let slow = access::verify(token, keys, &expect, now, skew).map(|token| token.claims().clone());
                            let fast = memory.verify(token, keys, &expect, now, skew).map(|token| token.claims().clone());
                            assert_eq!(slow, fast, "round {round}, {step} s, {expect:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_flood_of_genuine_tokens_stays_bounded_however_long_they_are() {
        for purpose in [0, 4_000] {
            let (key, memory) = (key(1), Verified::new(1 << 20));
            let keys = KeySet::of([key.public()]);
            let token = |jti: &str| {
                let claims = Claims { purpose: Some("x".repeat(purpose)), ..claims(jti) };
                access::mint(&key, &claims).unwrap()
            };
            let used = token("used");
            for n in 0..1_000 {
                memory.verify(&token(&n.to_string()), &keys, &EXPECT, NOW, Skew::NONE).unwrap();
                memory.verify(&used, &keys, &EXPECT, NOW, Skew::NONE).unwrap();
            }
            assert_eq!(cost(&memory, &used, &keys, NOW), (Ok(()), 0), "what is used stays");
            let (count, bytes) = memory.size();
            assert!(bytes <= 1 << 20 && count * used.len() <= bytes, "{count} of {} bytes weigh {bytes}", used.len());
        }
    }

    #[test]
    fn nothing_is_left_of_a_token_that_is_to_be_forgotten() {
        let (key, memory) = (key(1), Verified::new(1 << 20));
        let keys = KeySet::of([key.public()]);
        let verified = memory.verify(&token(&key, "1"), &keys, &EXPECT, NOW, Skew::NONE).unwrap();
        memory.verify(&token(&key, "2"), &keys, &EXPECT, NOW, Skew::NONE).unwrap();
        memory.remove(&verified);
        assert_eq!(memory.size().0, 1);
        memory.clear();
        assert_eq!(memory.size(), (0, 0));
    }
}
