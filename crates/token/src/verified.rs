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
use remit_model::{Refusal, UnixTime};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// For how many seconds a signature that was checked is not checked again.
pub const LIFE_SECS: i64 = 60;

const SHARDS: usize = 16;

/// A bounded memory of verified tokens.
pub struct Verified {
    shards: [Mutex<Shard>; SHARDS],
    /// Tokens in one generation of one shard.
    room: usize,
}

struct Entry {
    token: Arc<AccessToken>,
    key: PublicKey,
    checked: UnixTime,
}

#[derive(Default)]
struct Shard {
    /// When the current generation began.
    began: UnixTime,
    current: HashMap<[u8; 32], Entry>,
    previous: HashMap<[u8; 32], Entry>,
}

impl Verified {
    /// Room for `capacity` tokens, at one or two kilobytes each.
    pub fn new(capacity: usize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), room: (capacity / (2 * SHARDS)).max(1) }
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
        if let Some(token) = self.recall(&digest, keys, expect, now, skew) {
            return Ok(token);
        }
        let (token, key) = access::check(compact, keys, expect, now, skew)?;
        let token = Arc::new(token);
        self.shard(&digest).put(digest, Entry { token: Arc::clone(&token), key, checked: now }, self.room, now);
        Ok(token)
    }

    /// How many tokens are remembered now.
    pub fn count(&self) -> usize {
        let count = |shard: &Mutex<Shard>| {
            let shard = lock(shard);
            shard.current.len() + shard.previous.len()
        };
        self.shards.iter().map(count).sum()
    }

    fn recall(
        &self,
        digest: &[u8; 32],
        keys: &KeySet,
        expect: &Expect<'_>,
        now: UnixTime,
        skew: Skew,
    ) -> Option<Arc<AccessToken>> {
        let mut shard = self.shard(digest);
        let entry = shard.find(digest, self.room)?;
        let fresh = (0..LIFE_SECS).contains(&now.since(entry.checked));
        let holds = fresh && keys.holds(&entry.key) && entry.token.meets(expect, now, skew);
        holds.then(|| Arc::clone(&entry.token))
    }

    fn shard(&self, [first, ..]: &[u8; 32]) -> MutexGuard<'_, Shard> {
        let [only, rest @ ..] = &self.shards;
        lock(rest.get(usize::from(*first) % SHARDS).unwrap_or(only))
    }
}

impl Shard {
    /// The entry of this name; it is in use, so it moves to the current generation while there is room.
    fn find(&mut self, digest: &[u8; 32], room: usize) -> Option<&Entry> {
        if !self.current.contains_key(digest)
            && self.current.len() < room
            && let Some(entry) = self.previous.remove(digest)
        {
            self.current.insert(*digest, entry);
        }
        self.current.get(digest).or_else(|| self.previous.get(digest))
    }

    fn put(&mut self, digest: [u8; 32], entry: Entry, room: usize, now: UnixTime) {
        let age = now.since(self.began);
        if self.current.len() >= room || !(0..LIFE_SECS).contains(&age) {
            self.previous = std::mem::take(&mut self.current);
            self.began = now;
        }
        self.current.insert(digest, entry);
    }
}

// A panic while holding the lock cannot leave half an entry.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::Claims,
        key::{Algorithm, PrivateKey, counting::checks_during},
    };
    use remit_model::{Authority, Code};

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const EXPECT: Expect<'static> = Expect { issuer: "https://as", audience: Some("https://rs") };

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap()
    }

    fn token(key: &PrivateKey, jti: &str) -> String {
        let claims = Claims {
            iss: "https://as".into(),
            sub: "user:a".into(),
            aud: "https://rs".into(),
            client_id: "agent:b".into(),
            scope: String::new(),
            jti: jti.into(),
            iat: NOW,
            exp: NOW.plus(90),
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            cnf_jkt: None,
            act: None,
            authority: Authority::none(),
            txn: "t".into(),
            ancestors: Vec::new(),
            purpose: None,
        };
        access::mint(key, &claims).unwrap()
    }

    /// Whether it was accepted, and how many signatures were checked for that.
    fn cost(memory: &Verified, token: &str, keys: &KeySet, now: UnixTime) -> (Result<(), Code>, usize) {
        let verify = || memory.verify(token, keys, &EXPECT, now, Skew::NONE);
        let (result, checks) = checks_during(verify);
        (result.map(drop).map_err(|refusal| refusal.code), checks)
    }

    #[test]
    fn a_signature_is_checked_once_a_minute() {
        let (key, memory) = (key(1), Verified::new(100));
        let (keys, token) = (KeySet::of([key.public()]), token(&key, "1"));
        assert_eq!(cost(&memory, &token, &keys, NOW), (Ok(()), 1));
        assert_eq!(cost(&memory, &token, &keys, NOW.plus(LIFE_SECS - 1)), (Ok(()), 0));
        assert_eq!(cost(&memory, &token, &keys, NOW.plus(LIFE_SECS)), (Ok(()), 1));
        assert_eq!(cost(&memory, &token, &keys, NOW.plus(89)), (Ok(()), 0));
        assert_eq!(cost(&memory, &token, &keys, NOW.plus(90)), (Err(Code::TokenExpired), 0));
    }

    #[test]
    fn a_key_that_went_takes_its_tokens_along() {
        let (old, new, memory) = (key(1), key(2), Verified::new(100));
        let (both, only_new) = (KeySet::of([new.public(), old.public()]), KeySet::of([new.public()]));
        let token = token(&old, "1");
        assert_eq!(cost(&memory, &token, &both, NOW), (Ok(()), 1));
        assert_eq!(cost(&memory, &token, &both, NOW), (Ok(()), 0), "still published");
        assert_eq!(cost(&memory, &token, &only_new, NOW), (Err(Code::TokenSignatureInvalid), 0));
        assert_eq!(cost(&memory, &token, &KeySet::default(), NOW), (Err(Code::TokenSignatureInvalid), 0));
    }

    #[test]
    fn n_at_a_forgery_beside_a_remembered_token_is_checked_and_never_remembered() {
        let (key, memory) = (key(1), Verified::new(100));
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
        assert_eq!((memory.count(), cost(&memory, &token, &keys, NOW)), (1, (Ok(()), 0)));
        for longer in [format!("{token}A"), format!("{token}."), format!(" {token}"), "A".repeat(TOKEN_LIMIT + 1)] {
            assert!(cost(&memory, &longer, &keys, NOW).0.is_err());
        }
    }

    #[test]
    fn the_memory_decides_as_the_verifier_does() {
        let (old, new) = (key(1), key(2));
        let sets = [KeySet::of([old.public()]), KeySet::of([new.public(), old.public()]), KeySet::of([new.public()])];
        let tokens = [token(&old, "1"), token(&new, "2"), token(&key(3), "3"), "not.a.token".to_owned()];
        let memory = Verified::new(100);
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
    fn a_flood_of_genuine_tokens_stays_bounded() {
        let (key, memory) = (key(1), Verified::new(256));
        let keys = KeySet::of([key.public()]);
        let used = token(&key, "used");
        for n in 0..1_000 {
            memory.verify(&token(&key, &n.to_string()), &keys, &EXPECT, NOW, Skew::NONE).unwrap();
            memory.verify(&used, &keys, &EXPECT, NOW, Skew::NONE).unwrap();
        }
        assert!(memory.count() <= 256, "{}", memory.count());
    }
}
