//! JSON Web Keys, public members only. SPEC: RFC 7517, RFC 7638, RFC 8037 §2, DP-04, N-F-05.

use crate::{
    base64url::{decode, encode},
    key::{Algorithm, PublicKey},
    material::{Curve, Material, bad},
};
use remit_model::Refusal;
use serde_json::{Map, Value, json};

/// Members that only a private or symmetric key has. SPEC: RFC 7518 §6, N-DP-03.
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

impl PublicKey {
    /// Reads one public JWK. The algorithm is the key's: an RSA key is RS256 unless its `alg` says PS256.
    ///
    /// # Errors
    /// `request_malformed`: private members, unknown kind or curve, wrong lengths, a point off the curve, RSA below
    /// 2048 bits or with an exponent other than 65537, a `use` or `key_ops` that is not for verifying.
    pub fn from_jwk(jwk: &Value) -> Result<Self, Refusal> {
        let jwk = public(jwk)?;
        for_verifying(jwk)?;
        let (default, material) = match (text(jwk, "kty")?, optional(jwk, "crv")?) {
            ("EC", Some("P-256")) => (Algorithm::Es256, ec(jwk, Curve::P256)?),
            ("EC", Some("P-384")) => (Algorithm::Es384, ec(jwk, Curve::P384)?),
            ("OKP", Some("Ed25519")) => (Algorithm::Ed25519, Material::okp(&bytes(jwk, "x")?)?),
            ("RSA", _) => (Algorithm::Rs256, rsa(jwk)?),
            _ => return Err(unsupported()),
        };
        let algorithm = match optional(jwk, "alg")? {
            None => default,
            Some(alg) if default.is_named(alg) => default,
            Some("PS256") if default == Algorithm::Rs256 => Algorithm::Ps256,
            Some(_) => return Err(other_alg()),
        };
        Self::new(algorithm, material)
    }

    /// Reads one public JWK of a SPIFFE bundle that is for JWT-SVIDs. Bundles seldom state an `alg`, so an RSA key is one public
    /// key for each algorithm that it may sign with. SPEC: JWT-SVID §3, SPIFFE Trust Domain and Bundle §4.1, SP-02
    ///
    /// # Errors
    /// As [`PublicKey::from_jwk`]; another `use` than `jwt-svid`.
    pub fn of_svids(jwk: &Value) -> Result<Vec<Self>, Refusal> {
        let jwk = public(jwk)?;
        if optional(jwk, "use")? != Some("jwt-svid") {
            return Err(bad("the key's `use` is not `jwt-svid`"));
        }
        let (kty, crv) = (text(jwk, "kty")?, optional(jwk, "crv")?);
        let curve = |algorithm, curve| Ok((vec![algorithm], ec(jwk, curve)?));
        let (usual, material) = match (kty, crv) {
            ("EC", Some("P-256")) => curve(Algorithm::Es256, Curve::P256)?,
            ("EC", Some("P-384")) => curve(Algorithm::Es384, Curve::P384)?,
            ("EC", Some("P-521")) => curve(Algorithm::Es512, Curve::P521)?,
            ("RSA", _) => (Algorithm::RSA_OF_SVIDS.to_vec(), rsa(jwk)?),
            _ => return Err(unsupported()),
        };
        let stated = optional(jwk, "alg")?;
        let fitting = usual.into_iter().filter(|one| stated.is_none_or(|alg| one.name() == alg));
        let keys = fitting.map(|algorithm| Self::new(algorithm, material.clone())).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(other_alg()) } else { Ok(keys) }
    }

    /// The public members that RFC 7638 hashes, and nothing else: what a DPoP header carries.
    pub fn to_jwk(&self) -> Value {
        match self.material() {
            Material::Ec { curve, x, y } => json!({"kty": "EC", "crv": curve.name(), "x": encode(x), "y": encode(y)}),
            Material::Okp { x } => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(x)}),
            Material::Rsa { n, e } => json!({"kty": "RSA", "n": encode(n), "e": encode(e)}),
        }
    }
}

/// The members of a key that has no private one.
fn public(jwk: &Value) -> Result<&Map<String, Value>, Refusal> {
    let jwk = jwk.as_object().ok_or_else(|| bad("a key must be a JSON object"))?;
    match PRIVATE_MEMBERS.iter().find(|name| jwk.contains_key(**name)) {
        Some(name) => Err(bad(format!("the key has the private member `{name}`"))),
        None => Ok(jwk),
    }
}

fn unsupported() -> Refusal {
    bad("the key's kind or curve is not supported")
}

fn other_alg() -> Refusal {
    bad("the key's `alg` does not fit its kind")
}

fn for_verifying(jwk: &Map<String, Value>) -> Result<(), Refusal> {
    if optional(jwk, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(bad("the key's `use` is not `sig`"));
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(ops)) if ops.iter().any(|op| op == "verify") => Ok(()),
        Some(_) => Err(bad("the key's `key_ops` do not include `verify`")),
    }
}

fn ec(jwk: &Map<String, Value>, curve: Curve) -> Result<Material, Refusal> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != curve.coordinate_bytes() || y.len() != curve.coordinate_bytes() {
        return Err(bad("a coordinate of the key has the wrong length for its curve"));
    }
    Ok(Material::Ec { curve, x, y })
}

fn rsa(jwk: &Map<String, Value>) -> Result<Material, Refusal> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let bits = n.len() * 8 - n.first().map_or(0, |top| top.leading_zeros() as usize);
    if n.first() == Some(&0) || !(2048..=8192).contains(&bits) {
        return Err(bad("an RSA key needs 2048 to 8192 bits"));
    }
    if e != [1, 0, 1] {
        return Err(bad("an RSA key needs the exponent 65537"));
    }
    Ok(Material::Rsa { n, e })
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Refusal> {
    decode(text(jwk, name)?).ok_or_else(|| bad(format!("the key's `{name}` is not base64url")))
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    optional(jwk, name)?.ok_or_else(|| bad(format!("the key has no `{name}`")))
}

fn optional<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad(format!("the key's `{name}` is not a string"))),
    }
}
