//! The public keys of one issuer or client. SPEC: RFC 7517 §5, J-05.

use crate::{
    jws::Jws,
    key::{Algorithm, PublicKey},
};
use remit_model::{Code, Refusal};
use serde_json::{Value, json};

/// Most keys one set may hold.
const KEY_LIMIT: usize = 64;
/// Longest `kid`, in bytes.
const KID_LIMIT: usize = 256;

/// The keys one party signs with. A `kid` only picks inside its set, so two issuers with equal `kid`s never meet (N-AT-04).
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<(String, PublicKey)>,
}

impl KeySet {
    /// A set of keys named by their thumbprints.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Self {
        Self { keys: keys.into_iter().map(|key| (key.thumbprint().to_owned(), key.clone())).collect() }
    }

    /// Reads `{"keys": [...]}`. Kinds we do not know are passed over; private or symmetric keys are refused.
    ///
    /// # Errors
    /// `request_malformed`.
    pub fn from_jwks(jwks: &Value) -> Result<Self, Refusal> {
        let keys =
            jwks.get("keys").and_then(Value::as_array).ok_or_else(|| bad("a key set is an object with an array `keys`"))?;
        Self::from_keys(keys)
    }

    /// Reads a list of JWKs, as an agent's registration holds them.
    ///
    /// # Errors
    /// `request_malformed`.
    pub fn from_keys(jwks: &[Value]) -> Result<Self, Refusal> {
        if jwks.len() > KEY_LIMIT {
            return Err(bad(format!("a key set has at most {KEY_LIMIT} keys")));
        }
        let mut set = Self::default();
        for jwk in jwks.iter().filter(|jwk| !of_unknown_kind(jwk)) {
            let key = PublicKey::from_jwk(jwk)?;
            let kid = match jwk.get("kid") {
                None => key.thumbprint().to_owned(),
                Some(Value::String(kid)) if !kid.is_empty() && kid.len() <= KID_LIMIT => kid.clone(),
                Some(_) => return Err(bad(format!("a `kid` is a string of 1 to {KID_LIMIT} bytes"))),
            };
            if set.keys.iter().any(|(taken, _)| *taken == kid) {
                return Err(bad("two keys of the set have the same `kid`"));
            }
            set.keys.push((kid, key));
        }
        Ok(set)
    }

    /// The keys of a SPIFFE bundle that are for JWT-SVIDs; all others, and kinds we do not know, are passed over. A `kid` is
    /// required. SPEC: SPIFFE Trust Domain and Bundle §4, SP-02, N-SP-08
    ///
    /// # Errors
    /// `request_malformed`.
    pub fn from_bundle(jwks: &[Value]) -> Result<Self, Refusal> {
        let text = |jwk: &Value, name: &str| jwk.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut set = Self::default();
        let for_jwt: Vec<&Value> = jwks.iter().filter(|jwk| text(jwk, "use").as_deref() == Some("jwt-svid")).collect();
        if for_jwt.len() > KEY_LIMIT {
            return Err(bad(format!("a bundle has at most {KEY_LIMIT} keys for JWT-SVIDs")));
        }
        for jwk in for_jwt {
            let known = match text(jwk, "kty").as_deref() {
                Some("EC") => matches!(text(jwk, "crv").as_deref(), Some("P-256" | "P-384" | "P-521") | None),
                Some("RSA" | "oct") | None => true,
                Some(_) => false,
            };
            if !known {
                continue;
            }
            let kid = text(jwk, "kid").filter(|kid| (1..=KID_LIMIT).contains(&kid.len()));
            let kid = kid.ok_or_else(|| bad("one of its keys for JWT-SVIDs has no `kid`"))?;
            if set.keys.iter().any(|(taken, _)| *taken == kid) {
                return Err(bad("two keys of the set have the same `kid`"));
            }
            set.keys.extend(PublicKey::of_svids(jwk)?.into_iter().map(|key| (kid.clone(), key)));
        }
        Ok(set)
    }

    /// What `/.well-known/jwks.json` serves.
    pub fn to_jwks(&self) -> Value {
        let keys: Vec<Value> = self.keys.iter().map(|(kid, key)| published(kid, key)).collect();
        json!({ "keys": keys })
    }

    /// The key that a token names, as a JWK for the ledger: a set of it alone verifies the token again.
    pub(crate) fn recorded_key(&self, jws: &Jws<'_>) -> Option<Value> {
        let key = self.key_for(jws).ok()?;
        let kid = jws.kid().ok().flatten().unwrap_or_else(|| key.thumbprint());
        Some(published(kid, key))
    }

    /// The keys whose names are kept, under those names.
    #[must_use]
    pub fn keeping(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self { keys: self.keys.iter().filter(|(kid, _)| keep(kid)).cloned().collect() }
    }

    /// Whether the set has no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PublicKey)> {
        self.keys.iter().map(|(kid, key)| (kid.as_str(), key))
    }

    /// Whether this very key is in the set.
    pub(crate) fn holds(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|(_, held)| held == key)
    }

    /// The one key a header may mean: by `kid` when it has one, else the only key of its algorithm. SPEC: J-02, J-05.
    pub(crate) fn key_for(&self, jws: &Jws<'_>) -> Result<&PublicKey, Refusal> {
        let alg = jws.alg()?;
        let fits = |key: &PublicKey| key.algorithm().is_named(alg);
        let unknown = || Refusal::new(Code::TokenSignatureInvalid, "no key of the signer fits the token's `kid` and `alg`");
        if let Some(kid) = jws.kid()? {
            // Of one name there is one key, or one for each algorithm of a key that does not say.
            let named = self.keys.iter().find(|(name, key)| name == kid && fits(key)).map(|(_, key)| key);
            return named.ok_or_else(unknown);
        }
        let mut candidates = self.keys.iter().map(|(_, key)| key).filter(|key| fits(key));
        match (candidates.next(), candidates.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(unknown()),
        }
    }

    /// Whether any key of the set has this algorithm.
    pub fn has(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|(_, key)| key.algorithm() == algorithm)
    }
}

fn published(kid: &str, key: &PublicKey) -> Value {
    let mut jwk = key.to_jwk();
    if let Some(members) = jwk.as_object_mut() {
        members.insert("kid".into(), json!(kid));
        members.insert("alg".into(), json!(key.algorithm().name()));
        members.insert("use".into(), json!("sig"));
    }
    jwk
}

/// RFC 7517 §5: keys of an unknown `kty` or curve are passed over. A symmetric one is not unknown, it is wrong.
fn of_unknown_kind(jwk: &Value) -> bool {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let passed_over = member("use") == Some("enc")
        || matches!(
            member("alg"),
            Some("RS384" | "RS512" | "PS384" | "PS512" | "ES512" | "ES256K" | "Ed448" | "RSA-OAEP" | "RSA-OAEP-256")
        );
    match member("kty") {
        Some("EC") => passed_over || !matches!(member("crv"), Some("P-256" | "P-384") | None),
        Some("OKP") => passed_over || !matches!(member("crv"), Some("Ed25519") | None),
        Some("RSA") => passed_over,
        Some("oct") | None => false,
        Some(_) => true,
    }
}

fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}
