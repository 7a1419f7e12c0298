//! One sealed value: `nonce ‖ AES-256-GCM(plaintext) ‖ tag` under a key derived for this record and path.

use super::{Key, KeyId, Keyring, SubjectKey};
use crate::hash::Hash;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use remit_model::Fault;
use zeroize::Zeroizing;

/// Domain separation: a field key can never pass for a key of anything else.
const DOMAIN: &[u8] = b"agent.audit.v1 side";
/// Nonce and tag: what every sealed value is longer by.
pub(crate) const OVERHEAD: usize = NONCE_LEN + 16;

/// A sealed value and the names of the keys that open it, sorted and unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBox {
    pub keys: Vec<KeyId>,
    pub bytes: Vec<u8>,
}

/// The keys named do not open the value: one of them, or the value, is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not open with the keys it names")]
pub struct BoxError;

impl SealedBox {
    /// Seals bytes that belong to no record, for instance a row of a database; `context` says which, and must differ from
    /// every other and from every record id.
    ///
    /// # Errors
    /// A fault when the cryptographic library refuses, which it has no reason to.
    pub fn seal_bytes(keys: &[Key], context: &str, plain: &[u8], entropy: &mut dyn FnMut(&mut [u8])) -> Result<Self, Fault> {
        let leaf = Hash::of(&[context.as_bytes()]);
        KeySet::new(keys.to_vec())?.seal(&Place { record_id: context, path: "", leaf: &leaf }, plain, entropy)
    }

    /// Opens what [`SealedBox::seal_bytes`] sealed; `None` when a key is not at hand.
    ///
    /// # Errors
    /// The keys at hand do not open it.
    pub fn open_bytes(&self, keys: &Keyring, context: &str) -> Result<Option<Zeroizing<Vec<u8>>>, BoxError> {
        let Some(secrets) = self.keys.iter().map(|id| keys.key(id)).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let leaf = Hash::of(&[context.as_bytes()]);
        self.open(&secrets, &Place { record_id: context, path: "", leaf: &leaf }).map(Some)
    }

    /// Opens with the secrets of `keys`, in that order.
    pub(crate) fn open(&self, secrets: &[SubjectKey], place: &Place<'_>) -> Result<Zeroizing<Vec<u8>>, BoxError> {
        let (nonce, sealed) = self.bytes.split_first_chunk::<NONCE_LEN>().ok_or(BoxError)?;
        let cipher = place.cipher(&extract(secrets.iter())?)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = cipher.open_in_place(nonce, Aad::from(place.leaf.as_bytes()), &mut plain).map_err(|_| BoxError)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// The keys that values are sealed under together, ready for use.
pub(crate) struct KeySet {
    /// Sorted, each once.
    names: Vec<KeyId>,
    extracted: hmac::Key,
}

impl KeySet {
    /// Each key must be there once.
    pub(crate) fn new(mut keys: Vec<Key>) -> Result<Self, Fault> {
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        let extracted =
            extract(keys.iter().map(|key| &key.secret)).map_err(|BoxError| Fault::new("a subject key was refused"))?;
        Ok(Self { names: keys.into_iter().map(|key| key.id).collect(), extracted })
    }

    pub(crate) fn is_only(&self, key: &Key) -> bool {
        matches!(self.names.as_slice(), [name] if *name == key.id)
    }

    /// Seals `plain` for one path of one record.
    ///
    /// # Errors
    /// A fault when the cryptographic library refuses, which it has no reason to.
    pub(crate) fn seal(&self, place: &Place<'_>, plain: &[u8], entropy: &mut dyn FnMut(&mut [u8])) -> Result<SealedBox, Fault> {
        let cipher = place.cipher(&self.extracted).map_err(|BoxError| Fault::new("a field key was refused"))?;
        let mut nonce = [0; NONCE_LEN];
        entropy(&mut nonce);
        let mut bytes = Vec::with_capacity(plain.len() + OVERHEAD);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plain);
        let (_, value) = bytes.split_at_mut(NONCE_LEN);
        let tag = cipher
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.leaf.as_bytes()), value)
            .map_err(|_| Fault::new("a value could not be sealed"))?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(SealedBox { keys: self.names.clone(), bytes })
    }
}

/// HKDF-Extract of the secrets, one after the other, without salt. SPEC: RFC 5869 §2.2
fn extract<'k>(secrets: impl ExactSizeIterator<Item = &'k SubjectKey>) -> Result<hmac::Key, BoxError> {
    let mut material = Zeroizing::new(Vec::with_capacity(32 * secrets.len()));
    for secret in secrets {
        material.extend_from_slice(secret.expose());
    }
    let no_salt = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
    let mut extracted = Zeroizing::new([0; 32]);
    hmac::sign_to_buffer(&no_salt, &material, &mut *extracted).map_err(|_| BoxError)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*extracted))
}

/// Where a value belongs; the key and the tag are good nowhere else.
pub(crate) struct Place<'a> {
    pub(crate) record_id: &'a str,
    pub(crate) path: &'a str,
    pub(crate) leaf: &'a Hash,
}

impl Place<'_> {
    /// HKDF-Expand to the length of one hash, which is the first block. SPEC: RFC 5869 §2.3
    fn cipher(&self, extracted: &hmac::Key) -> Result<LessSafeKey, BoxError> {
        let info = [DOMAIN, b"\0", self.record_id.as_bytes(), b"\0", self.path.as_bytes(), &[1]].concat();
        let mut expanded = Zeroizing::new([0; 32]);
        hmac::sign_to_buffer(extracted, &info, &mut *expanded).map_err(|_| BoxError)?;
        UnboundKey::new(&AES_256_GCM, &*expanded).map(LessSafeKey::new).map_err(|_| BoxError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hkdf;

    #[test]
    fn field_keys_are_those_of_hkdf() {
        for count in 1..=4_u8 {
            let keys: Vec<Key> =
                (0..count).map(|n| Key { id: KeyId::new([n; 16]), secret: SubjectKey::new([n + 1; 32]) }).collect();
            let leaf = Hash::of(&[b"leaf"]);
            let place = Place { record_id: "0190f8f0", path: "/a/b", leaf: &leaf };
            let sealed = KeySet::new(keys.clone()).unwrap().seal(&place, b"plain", &mut |nonce| nonce.fill(9)).unwrap();
            let material: Vec<u8> = keys.iter().flat_map(|key| *key.secret.expose()).collect();
            let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&material);
            let info: [&[u8]; 4] = [b"agent.audit.v1 side\0", b"0190f8f0", b"\0", b"/a/b"];
            let cipher = LessSafeKey::new(UnboundKey::from(extracted.expand(&info, &AES_256_GCM).unwrap()));
            let mut expected = b"plain".to_vec();
            let nonce = Nonce::assume_unique_for_key([9; NONCE_LEN]);
            cipher.seal_in_place_append_tag(nonce, Aad::from(leaf.as_bytes()), &mut expected).unwrap();
            assert_eq!(sealed.bytes, [&[9; NONCE_LEN][..], &expected].concat());
            assert_eq!(sealed.keys, keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>());
            let secrets: Vec<SubjectKey> = keys.into_iter().map(|key| key.secret).collect();
            assert_eq!(&**sealed.open(&secrets, &place).unwrap(), b"plain");
        }
    }
}
