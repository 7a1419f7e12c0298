//! JSON Web Keys, public members only. SPEC: RFC 7517, RFC 7638, RFC 8037 §2, DP-04, N-F-05.

use crate::key::{Algorithm, PublicKey};
use aws_lc_rs::signature::RsaPublicKeyComponents;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::{Code, Refusal, json::sha256};
use serde_json::{Map, Value, json};

/// The numbers of a public key, checked for length and range.
pub(crate) enum Material {
    Ec { curve: Curve, x: Vec<u8>, y: Vec<u8> },
    Okp { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

/// Members that only a private or symmetric key has. SPEC: RFC 7518 §6, N-DP-03.
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

impl PublicKey {
    /// Reads one public JWK. The algorithm is the key's: an RSA key is RS256 unless its `alg` says PS256.
    ///
    /// # Errors
    /// `request_malformed`: private members, unknown kind or curve, wrong lengths, a point off the curve, RSA below
    /// 2048 bits or with an exponent other than 65537, a `use` or `key_ops` that is not for verifying.
    pub fn from_jwk(jwk: &Value) -> Result<Self, Refusal> {
        let jwk = jwk.as_object().ok_or_else(|| bad("a key must be a JSON object"))?;
        if let Some(name) = PRIVATE_MEMBERS.iter().find(|name| jwk.contains_key(**name)) {
            return Err(bad(format!("the key has the private member `{name}`")));
        }
        for_verifying(jwk)?;
        let (default, material) = match (text(jwk, "kty")?, optional(jwk, "crv")?) {
            ("EC", Some("P-256")) => (Algorithm::Es256, ec(jwk, Curve::P256)?),
            ("EC", Some("P-384")) => (Algorithm::Es384, ec(jwk, Curve::P384)?),
            ("OKP", Some("Ed25519")) => (Algorithm::Ed25519, Material::okp(&bytes(jwk, "x")?)?),
            ("RSA", _) => (Algorithm::Rs256, rsa(jwk)?),
            _ => return Err(bad("the key's kind or curve is not supported")),
        };
        let algorithm = match optional(jwk, "alg")? {
            None => default,
            Some(alg) if default.is_named(alg) => default,
            Some("PS256") if default == Algorithm::Rs256 => Algorithm::Ps256,
            Some(_) => return Err(bad("the key's `alg` does not fit its kind")),
        };
        Self::new(algorithm, material)
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

impl Material {
    pub(crate) fn okp(x: &[u8]) -> Result<Self, Refusal> {
        if x.len() != 32 {
            return Err(bad("an Ed25519 key has 32 bytes"));
        }
        if weak_ed25519(x) {
            return Err(bad("the Ed25519 key is of small order or not canonical"));
        }
        Ok(Self::Okp { x: x.to_vec() })
    }

    /// From an uncompressed SEC 1 point.
    pub(crate) fn ec_point(point: &[u8]) -> Result<Self, Refusal> {
        match point {
            [4, rest @ ..] if rest.len() == 64 => {
                let (x, y) = rest.split_at(32);
                Ok(Self::Ec { curve: Curve::P256, x: x.to_vec(), y: y.to_vec() })
            }
            _ => Err(bad("not an uncompressed P-256 point")),
        }
    }

    /// The bytes the library takes: an uncompressed SEC 1 point or a raw Ed25519 key.
    pub(crate) fn point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Ec { x, y, .. } => Some([&[4], x.as_slice(), y.as_slice()].concat()),
            Self::Okp { x } => Some(x.clone()),
            Self::Rsa { .. } => None,
        }
    }

    pub(crate) fn rsa(&self) -> Option<RsaPublicKeyComponents<&[u8]>> {
        match self {
            Self::Rsa { n, e } => Some(RsaPublicKeyComponents { n, e }),
            _ => None,
        }
    }

    /// SPEC: RFC 7638 §3: the required members in lexicographic order without white space, hashed. Base64url needs no
    /// JSON escaping, so the text can be written directly.
    pub(crate) fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Ec { curve, x, y } => {
                format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, curve.name(), encode(x), encode(y))
            }
            Self::Okp { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x)),
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n)),
        };
        encode(&sha256(canonical.as_bytes()))
    }
}

impl Curve {
    fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64url without padding, white space or stray trailing bits. SPEC: J-11.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
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

/// Keys under which one signature fits many messages, or which have a second spelling and so a second thumbprint. A
/// holder of such a key could later say that anyone signed, so it cannot carry an edge proof.
fn weak_ed25519(x: &[u8]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac,
            0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53,
            0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = x.to_vec();
    if let Some(top) = y.last_mut() {
        *top &= 0x7f;
    }
    let [low, middle @ .., high] = y.as_slice() else { return true };
    let zero_or_one = *low <= 1 && *high == 0 && middle.iter().all(|byte| *byte == 0);
    // p - 1 has order 2; p and above are second spellings.
    let at_least_minus_one = *low >= 0xec && *high == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    zero_or_one || at_least_minus_one || ORDER_8.iter().any(|point| point == y.as_slice())
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

fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}
