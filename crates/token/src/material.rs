//! The numbers of a public key, and its thumbprint. SPEC: RFC 7638, RFC 8037 §2, N-F-05.

use crate::base64url::encode;
use aws_lc_rs::signature::RsaPublicKeyComponents;
use remit_model::{Code, Refusal, json::sha256};

/// The numbers of a public key, checked for length and range.
#[derive(Clone)]
pub(crate) enum Material {
    Ec { curve: Curve, x: Vec<u8>, y: Vec<u8> },
    Okp { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    pub(crate) fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
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

pub(crate) fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}
