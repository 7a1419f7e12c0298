//! The issuer's keys in use: which public keys are accepted at a time, and the private keys at hand. SPEC: JW-02, JW-03
//!
//! Which key is in which stage is [`IssuerKeys`]' to say. What is kept here is only the parsed form, so a change of the
//! keys counts for the next token that is checked or signed.

use crate::{key::PrivateKey, keyset::KeySet};
use remit_model::{Fault, IssuerKeys, UnixTime};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// The accepted public keys, parsed once for each change of them.
#[derive(Debug, Default)]
pub struct AcceptedKeys(RwLock<Option<Parsed>>);

#[derive(Debug)]
struct Parsed {
    keys: IssuerKeys,
    from: UnixTime,
    until: Option<UnixTime>,
    set: Arc<KeySet>,
}

impl AcceptedKeys {
    /// The keys whose tokens are accepted at this time. A key that cannot be read is not accepted.
    pub fn at(&self, keys: &IssuerKeys, now: UnixTime) -> Arc<KeySet> {
        let fits =
            |parsed: &&Parsed| parsed.keys.same(keys) && parsed.from <= now && parsed.until.is_none_or(|until| now < until);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(parsed) = known.as_ref().filter(fits) {
            return Arc::clone(&parsed.set);
        }
        drop(known);
        let set = Arc::new(KeySet::from_jwks(&keys.jwks(now)).unwrap_or_default());
        let parsed = Parsed { keys: keys.clone(), from: now, until: keys.changes_at(now), set: Arc::clone(&set) };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(parsed);
        set
    }
}

/// Where private keys lie that are not yet at hand.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    /// Holds `issuer-KID.pem` for each key.
    pub dir: PathBuf,
    /// Reads a private key, if its file is safe to use.
    pub read: fn(&Path) -> Result<PrivateKey, String>,
}

/// The private keys at hand, by `kid`. Clones share them.
#[derive(Clone)]
pub struct SigningKeys(Arc<Held>);

struct Held {
    keys: RwLock<BTreeMap<String, Arc<PrivateKey>>>,
    /// The `kid` of the key to begin with.
    first: Option<String>,
    folder: Option<KeyFolder>,
}

impl SigningKeys {
    /// One key, and no place for others.
    pub fn new(key: PrivateKey) -> Self {
        Self::with([key], None)
    }

    /// These keys, the one to begin with first. Others are read from the folder when they are asked for.
    pub fn with(keys: impl IntoIterator<Item = PrivateKey>, folder: Option<KeyFolder>) -> Self {
        let keys: Vec<_> = keys.into_iter().map(|key| (key.public().thumbprint().to_owned(), Arc::new(key))).collect();
        let first = keys.first().map(|(kid, _)| kid.clone());
        Self(Arc::new(Held { keys: RwLock::new(keys.into_iter().collect()), first, folder }))
    }

    /// Puts a private key at hand.
    pub fn add(&self, key: PrivateKey) {
        let kid = key.public().thumbprint().to_owned();
        self.0.keys.write().unwrap_or_else(PoisonError::into_inner).insert(kid, Arc::new(key));
    }

    /// The private key of this `kid`.
    ///
    /// # Errors
    /// It is not at hand, and its file is missing, unsafe, or holds another key.
    pub fn key(&self, kid: &str) -> Result<Arc<PrivateKey>, Fault> {
        if let Some(key) = self.0.keys.read().unwrap_or_else(PoisonError::into_inner).get(kid) {
            return Ok(Arc::clone(key));
        }
        let folder = self.0.folder.as_ref().ok_or_else(|| Fault::new(format!("the private key `{kid}` is not at hand")))?;
        let file = folder.dir.join(key_file(kid).ok_or_else(|| Fault::new("a `kid` is a thumbprint"))?);
        let key = (folder.read)(&file).map_err(Fault::new)?;
        if key.public().thumbprint() != kid {
            return Err(Fault::new(format!("{} holds another key than its name says", file.display())));
        }
        let key = Arc::new(key);
        self.0.keys.write().unwrap_or_else(PoisonError::into_inner).insert(kid.to_owned(), Arc::clone(&key));
        Ok(key)
    }

    /// The key that signs at this time.
    ///
    /// # Errors
    /// No key signs, or as [`SigningKeys::key`].
    pub fn signing(&self, keys: &IssuerKeys, now: UnixTime) -> Result<Arc<PrivateKey>, Fault> {
        let signing = keys.signing(now).ok_or_else(|| Fault::new("the issuer has no key that signs"))?;
        self.key(&signing.kid)
    }

    /// Wipes a private key from memory once nothing uses it any more.
    pub fn forget(&self, kid: &str) {
        self.0.keys.write().unwrap_or_else(PoisonError::into_inner).remove(kid);
    }

    /// The public halves of what is at hand, the key to begin with first.
    pub fn set(&self) -> KeySet {
        let held = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let first = self.0.first.as_ref().and_then(|kid| held.get_key_value(kid));
        let rest = held.iter().filter(|(kid, _)| Some(*kid) != self.0.first.as_ref());
        KeySet::of(first.into_iter().chain(rest).map(|(_, key)| key.public()))
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(held.keys()).finish()
    }
}

/// The name of the file of a private key. `None` for what is no thumbprint, which may name any file.
pub fn key_file(kid: &str) -> Option<String> {
    let thumbprint = kid.len() == 43 && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    thumbprint.then(|| format!("issuer-{kid}.pem"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Algorithm;
    use remit_model::IssuerKey;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap()
    }

    #[test]
    fn jw_02_a_change_of_the_keys_counts_for_the_next_token() {
        let accepted = AcceptedKeys::default();
        let none = IssuerKeys::default();
        assert!(accepted.at(&none, NOW).is_empty());
        let (old, new) = (key(1), key(2));
        let (old, new) = (old.public(), new.public());
        let first = none.succession(old.thumbprint(), &old.to_jwk(), NOW, NOW);
        let keys = first.into_iter().fold(none, |keys, key| keys.with(key));
        let next = keys.succession(new.thumbprint(), &new.to_jwk(), NOW, NOW);
        let both = next.into_iter().fold(keys.clone(), |keys, key| keys.with(key));
        let count = |keys: &IssuerKeys, now| accepted.at(keys, now).iter().count();
        assert_eq!((count(&keys, NOW), count(&both, NOW), count(&keys, NOW)), (1, 2, 1));
        let end = both.key(old.thumbprint()).unwrap().accepted_until.unwrap();
        assert_eq!((count(&both, end.plus(-1)), count(&both, end), count(&both, NOW)), (2, 1, 2));
        let revoked = both.with(IssuerKey { revoked: Some(NOW), ..both.key(old.thumbprint()).unwrap().clone() });
        let left = accepted.at(&revoked, NOW);
        assert!(left.holds(new) && !left.holds(old));
    }

    #[test]
    fn a_key_that_is_not_at_hand_is_read_from_the_file_of_its_name() {
        fn read(file: &Path) -> Result<PrivateKey, String> {
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
            PrivateKey::from_pkcs8_pem(&text).map_err(|fault| fault.to_string())
        }
        let dir = tempfile::tempdir().unwrap();
        let (first, next, other) = (key(1), key(2), key(3));
        let kid = next.public().thumbprint();
        let keys = SigningKeys::with([first], Some(KeyFolder { dir: dir.path().to_owned(), read }));
        assert!(keys.key(kid).is_err(), "no file");
        let file = dir.path().join(key_file(kid).unwrap());
        std::fs::write(&file, other.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
        assert!(keys.key(kid).unwrap_err().to_string().contains("another key"));
        std::fs::write(&file, next.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
        assert_eq!(keys.key(kid).unwrap().public().thumbprint(), kid);
        assert_eq!(keys.set().iter().count(), 2);
        keys.forget(kid);
        std::fs::remove_file(&file).unwrap();
        assert!(keys.key(kid).is_err(), "what was forgotten is gone");
        assert!(key_file("../../etc/passwd").is_none() && key_file("").is_none());
    }
}
