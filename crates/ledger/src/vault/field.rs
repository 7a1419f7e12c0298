//! One sealed value: `nonce ‖ AES-256-GCM(plaintext) ‖ tag` under a key derived for this record and path.

use super::{Key, KeyId, Keyring, SubjectKey};
use crate::hash::Hash;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
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
        Self::seal(keys, &Place { record_id: context, path: "", leaf: &leaf }, plain, entropy)
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

    /// Seals `plain` for one path of one record. `keys` are sorted by name here; each must be there once.
    ///
    /// # Errors
    /// A fault when the cryptographic library refuses, which it has no reason to.
    pub(crate) fn seal(keys: &[Key], place: &Place<'_>, plain: &[u8], entropy: &mut dyn FnMut(&mut [u8])) -> Result<Self, Fault> {
        let mut keys: Vec<&Key> = keys.iter().collect();
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        let secrets: Vec<&SubjectKey> = keys.iter().map(|key| &key.secret).collect();
        let cipher = place.cipher(&secrets).map_err(|BoxError| Fault::new("a field key was refused"))?;
        let mut nonce = [0; NONCE_LEN];
        entropy(&mut nonce);
        let mut sealed = Vec::with_capacity(plain.len() + 16);
        sealed.extend_from_slice(plain);
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.leaf.as_bytes()), &mut sealed)
            .map_err(|_| Fault::new("a value could not be sealed"))?;
        Ok(Self { keys: keys.into_iter().map(|key| key.id.clone()).collect(), bytes: [&nonce[..], &sealed].concat() })
    }

    /// Opens with the secrets of `keys`, in that order.
    pub(crate) fn open(&self, secrets: &[SubjectKey], place: &Place<'_>) -> Result<Zeroizing<Vec<u8>>, BoxError> {
        let (nonce, sealed) = self.bytes.split_first_chunk::<NONCE_LEN>().ok_or(BoxError)?;
        let cipher = place.cipher(&secrets.iter().collect::<Vec<_>>())?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = cipher.open_in_place(nonce, Aad::from(place.leaf.as_bytes()), &mut plain).map_err(|_| BoxError)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// Where a value belongs; the key and the tag are good nowhere else.
pub(crate) struct Place<'a> {
    pub(crate) record_id: &'a str,
    pub(crate) path: &'a str,
    pub(crate) leaf: &'a Hash,
}

impl Place<'_> {
    fn cipher(&self, secrets: &[&SubjectKey]) -> Result<LessSafeKey, BoxError> {
        let mut material = Zeroizing::new(Vec::with_capacity(32 * secrets.len()));
        for secret in secrets {
            material.extend_from_slice(secret.expose());
        }
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&material);
        let info = [DOMAIN, b"\0", self.record_id.as_bytes(), b"\0", self.path.as_bytes()];
        let expanded = extracted.expand(&info, &AES_256_GCM).map_err(|_| BoxError)?;
        Ok(LessSafeKey::new(UnboundKey::from(expanded)))
    }
}
