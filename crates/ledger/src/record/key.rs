//! The keys of a producer: the Ed25519 key that signs its records, and the pepper behind its pseudonyms.

use crate::hash::Hash;
use aws_lc_rs::{
    hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::Fault;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Domain separation: a record signature can never pass for a signature over anything else.
const SIGNATURE_DOMAIN: &str = "agent.audit.v1 record\n";
/// Domain separation of pseudonyms.
const SUBJECT_DOMAIN: &str = "agent.audit.v1 subject";
const RESOURCE_DOMAIN: &str = "agent.audit.v1 resource";

/// The private key that signs records.
pub struct RecordKey {
    pair: Ed25519KeyPair,
    kid: String,
}

impl RecordKey {
    /// From a 32-byte Ed25519 seed.
    ///
    /// # Errors
    /// A fault when the cryptographic library refuses the seed, which it has no reason to.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Fault> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Fault::new("the record key was refused"))?;
        let kid = thumbprint(pair.public_key().as_ref());
        Ok(Self { pair, kid })
    }

    /// RFC 7638 thumbprint of the public key, base64url; the `kid` of the signature.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK, as the start record publishes it.
    pub fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref()), "kid": self.kid })
    }

    /// Signs a COSE `Sig_structure` (RFC 9052 §4.4) of one signer: the Ed25519 signature, 64 bytes. `None` for anything
    /// else, so that this key can be made to sign nothing that passes for a record's signature.
    pub fn sign_cose(&self, sig_structure: &[u8]) -> Option<Vec<u8>> {
        sig_structure.starts_with(b"\x84\x6aSignature1").then(|| self.pair.sign(sig_structure).as_ref().to_vec())
    }

    pub(crate) fn sign(&self, record_hash: &Hash) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(signed_text(record_hash).as_bytes()).as_ref())
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Whether `value` (base64url) signs the record hash under the public JWK.
pub fn verify_record_signature(jwk: &Value, record_hash: &Hash, value: &str) -> bool {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let (Some("OKP"), Some("Ed25519"), Some(x)) = (member("kty"), member("crv"), member("x")) else { return false };
    let (Ok(key), Ok(signature)) = (URL_SAFE_NO_PAD.decode(x), URL_SAFE_NO_PAD.decode(value)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(signed_text(record_hash).as_bytes(), &signature).is_ok()
}

fn signed_text(record_hash: &Hash) -> String {
    format!("{SIGNATURE_DOMAIN}{record_hash}")
}

/// RFC 7638 over an Ed25519 public key.
pub(crate) fn thumbprint(public: &[u8]) -> String {
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public));
    URL_SAFE_NO_PAD.encode(Hash::of(&[jwk.as_bytes()]).0)
}

/// The secret behind pseudonyms: joins records of one subject without naming it. SPEC: LG-03.
///
/// The pseudonyms of principals are remembered, because the same few are in record after record. Clones share what they
/// remember.
#[derive(Clone)]
pub struct Pepper {
    key: hmac::Key,
    known: Arc<Mutex<Known>>,
}

/// Pseudonyms remembered at most; beyond it all are forgotten and made again.
const REMEMBERED: usize = 8_192;

#[derive(Default)]
struct Known {
    references: HashMap<Vec<u8>, String>,
    /// What is hashed, kept to look it up without a new allocation.
    input: Vec<u8>,
}

impl Pepper {
    /// The key of the pseudonyms. Another secret gives other pseudonyms for the same names.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), known: Arc::default() }
    }

    /// `subject_ref` and `owner_ref` of a principal of a tenant.
    pub fn subject_ref(&self, tenant: &str, issuer: &str, subject: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { references, input } = &mut *known;
        input.clear();
        hashed(SUBJECT_DOMAIN, &[tenant, issuer, subject], input);
        if let Some(reference) = references.get(input) {
            return reference.clone();
        }
        let reference = self.reference(input);
        if references.len() >= REMEMBERED {
            references.clear();
        }
        references.insert(input.clone(), reference.clone());
        reference
    }

    /// Forgets all remembered pseudonyms, so that no erased person can be found here.
    pub fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }

    /// `id_ref` of a resource of a tenant.
    pub fn resource_ref(&self, tenant: &str, kind: &str, id: &str) -> String {
        let mut input = Vec::with_capacity(128);
        hashed(RESOURCE_DOMAIN, &[tenant, kind, id], &mut input);
        self.reference(&input)
    }

    /// The pseudonym of anyone a value can be about: what the record carries, and what the vault knows their key by.
    pub fn reference_of(&self, tenant: &str, subject: &crate::vault::Subject) -> String {
        match subject {
            crate::vault::Subject::Principal { iss, sub } => self.subject_ref(tenant, iss, sub),
            crate::vault::Subject::Data { kind, id } => self.resource_ref(tenant, kind, id),
        }
    }

    fn reference(&self, input: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, input).as_ref())
    }
}

fn hashed(domain: &str, parts: &[&str], input: &mut Vec<u8>) {
    input.extend_from_slice(domain.as_bytes());
    for part in parts {
        // Lengths keep ("a", "bc") and ("ab", "c") apart.
        input.extend_from_slice(&(part.len() as u64).to_be_bytes());
        input.extend_from_slice(part.as_bytes());
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}
