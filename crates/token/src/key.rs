//! Signing and verifying keys. SPEC: J-02, J-10, RFC 7517, RFC 7518 §6, RFC 8037, RFC 9864.
//!
//! A key knows its algorithm. A header can only agree with it.

use crate::material::Material;
use aws_lc_rs::{
    agreement,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use remit_model::{Code, Fault, Refusal};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// A signature algorithm we verify; the first two we also sign with. SPEC: J-10
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519, under the fully specified name of RFC 9864.
    Ed25519,
    Es256,
    Es384,
    Rs256,
    Ps256,
    /// This and those below verify JWT-SVIDs, and nothing else. SPEC: SP-02
    Es512,
    Rs384,
    Rs512,
    Ps384,
    Ps512,
}

impl Algorithm {
    /// The name we write into `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es512 => "ES512",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    /// Whether a header may name this algorithm so: the polymorphic `EdDSA` still means Ed25519. SPEC: RFC 9864 §2.2.
    pub fn is_named(self, alg: &str) -> bool {
        alg == self.name() || (self == Self::Ed25519 && alg == "EdDSA")
    }

    /// Names of every algorithm whose signatures are accepted: the one list behind server metadata, resource metadata and every
    /// `WWW-Authenticate: DPoP algs`. SPEC: DP-14, MD-02.
    pub const ACCEPTED: &'static [&'static str] = &["ES256", "Ed25519", "EdDSA", "ES384", "PS256", "RS256"];

    /// What an RSA key of a SPIFFE bundle may sign with that does not say. SPEC: JWT-SVID §3
    pub(crate) const RSA_OF_SVIDS: [Self; 6] = [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512];
}

/// A private key. It signs, and shows nothing of itself.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
}

impl PrivateKey {
    /// Makes a key from bytes the caller's entropy fills. ES256 and Ed25519 only.
    ///
    /// # Errors
    /// When the algorithm is one we only verify, or the library refuses.
    pub fn generate(algorithm: Algorithm, entropy: &mut dyn FnMut(&mut [u8])) -> Result<Self, Fault> {
        // A P-256 scalar is refused with probability 2^-32; eight refusals mean that the entropy is broken.
        let mut seed = Zeroizing::new([0_u8; 32]);
        let mut last = Fault::new("no attempt was made");
        for _ in 0..8 {
            entropy(seed.as_mut_slice());
            match Self::from_seed(algorithm, &seed) {
                Ok(key) => return Ok(key),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    /// The key that these 32 bytes are: an Ed25519 seed or a P-256 scalar.
    ///
    /// # Errors
    /// When the algorithm is one we only verify, or the scalar is zero or not below the group order.
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, Fault> {
        match algorithm {
            Algorithm::Ed25519 => Self::ed25519(Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| rejected("seed"))?),
            Algorithm::Es256 => {
                let scalar =
                    agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, seed).map_err(|_| rejected("scalar"))?;
                let point = scalar.compute_public_key().map_err(|_| rejected("scalar"))?;
                Self::es256(
                    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, seed, point.as_ref())
                        .map_err(|_| rejected("scalar"))?,
                )
            }
            other => Err(Fault::new(format!("we do not sign with {}", other.name()))),
        }
    }

    /// Reads an unencrypted PKCS#8 `PRIVATE KEY` block. SPEC: RFC 5208, RFC 5958, RFC 7468 §10.
    ///
    /// # Errors
    /// When it is not one PEM block holding a P-256 or Ed25519 key. The fault never repeats the input.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, Fault> {
        let body = pem
            .trim()
            .strip_prefix(PEM_BEGIN)
            .and_then(|rest| rest.strip_suffix(PEM_END))
            .ok_or_else(|| Fault::new("not an unencrypted PKCS#8 private key in PEM (`-----BEGIN PRIVATE KEY-----`)"))?;
        let packed = Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
        let der = Zeroizing::new(STANDARD.decode(packed.as_bytes()).map_err(|_| Fault::new("the PEM body is not base64"))?);
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Self::ed25519(pair);
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
            .map_err(|_| Fault::new("the PEM block holds neither an Ed25519 nor a P-256 private key"))?;
        Self::es256(pair)
    }

    /// Writes a PKCS#8 `PRIVATE KEY` block.
    ///
    /// # Errors
    /// Only when the library fails.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, Fault> {
        let der = match &self.pair {
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
            Pair::Es256(pair) => pair.to_pkcs8v1(),
        }
        .map_err(|_| Fault::new("the private key could not be written"))?;
        let packed = Zeroizing::new(STANDARD.encode(der.as_ref()));
        let mut pem = Zeroizing::new(String::with_capacity(packed.len() + 80));
        pem.push_str(PEM_BEGIN);
        for (at, letter) in packed.chars().enumerate() {
            if at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(letter);
        }
        pem.push('\n');
        pem.push_str(PEM_END);
        pem.push('\n');
        Ok(pem)
    }

    /// Signs. ECDSA draws its per-signature secret inside the library; Ed25519 is deterministic.
    ///
    /// # Errors
    /// Only when the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let failed = |_| Fault::new("signing failed");
        match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(failed),
            Pair::Es256(pair) => {
                pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
        }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The one algorithm that this key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    fn ed25519(pair: Ed25519KeyPair) -> Result<Self, Fault> {
        let material = Material::okp(pair.public_key().as_ref()).map_err(Fault::new)?;
        let public = PublicKey::new(Algorithm::Ed25519, material).map_err(Fault::new)?;
        Ok(Self { pair: Pair::Ed25519(pair), public })
    }

    fn es256(pair: EcdsaKeyPair) -> Result<Self, Fault> {
        let material = Material::ec_point(pair.public_key().as_ref()).map_err(Fault::new)?;
        let public = PublicKey::new(Algorithm::Es256, material).map_err(Fault::new)?;
        Ok(Self { pair: Pair::Es256(pair), public })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("kid", &self.public.thumbprint()).finish_non_exhaustive()
    }
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

fn rejected(what: &str) -> Fault {
    Fault::new(format!("the {what} is not a valid private key"))
}

/// A public key with its one algorithm. Cheap to clone; parsed once, so that verifying does not parse again.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    algorithm: Algorithm,
    material: Material,
    parsed: ParsedPublicKey,
    thumbprint: String,
}

impl PublicKey {
    pub(crate) fn new(algorithm: Algorithm, material: Material) -> Result<Self, Refusal> {
        let rsa = |parameters| material.rsa().and_then(|components| components.to_parsed_public_key(parameters).ok());
        let point = |algorithm: &'static dyn VerificationAlgorithm| ParsedPublicKey::new(algorithm, material.point()?).ok();
        let parsed = match algorithm {
            Algorithm::Ed25519 => point(&ED25519),
            Algorithm::Es256 => point(&ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => point(&ECDSA_P384_SHA384_FIXED),
            Algorithm::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::Es512 => point(&ECDSA_P521_SHA512_FIXED),
            Algorithm::Rs384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps384 => rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&RSA_PSS_2048_8192_SHA512),
        }
        .ok_or_else(|| Refusal::new(Code::RequestMalformed, "the public key is not a valid key of its kind"))?;
        let thumbprint = material.thumbprint();
        Ok(Self(Arc::new(Inner { algorithm, material, parsed, thumbprint })))
    }

    /// The one algorithm that this key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// RFC 7638 SHA-256 thumbprint in base64url: the `jkt` of a DPoP key and the default `kid`.
    pub fn thumbprint(&self) -> &str {
        &self.0.thumbprint
    }

    pub(crate) fn material(&self) -> &Material {
        &self.0.material
    }

    /// Whether the signature is this key's over these bytes. Wrong lengths and r, s out of range are refused by the
    /// library. SPEC: J-12.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        #[cfg(test)]
        counting::count();
        self.0.parsed.verify_sig(message, signature).is_ok()
    }

    /// The same for signatures as authenticators make them: those of ECDSA are ASN.1, all others as everywhere. SPEC: Web
    /// Authentication §6.5.5.
    pub(crate) fn verifies_asn1(&self, message: &[u8], signature: &[u8]) -> bool {
        let wide = match self.algorithm() {
            Algorithm::Es256 => &ECDSA_P256_SHA256_ASN1,
            Algorithm::Es384 => &ECDSA_P384_SHA384_ASN1,
            _ => return self.verifies(message, signature),
        };
        self.material().point().is_some_and(|point| UnparsedPublicKey::new(wide, point).verify(message, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("alg", &self.0.algorithm).field("kid", &self.0.thumbprint).finish()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.algorithm == other.0.algorithm && self.0.thumbprint == other.0.thumbprint
    }
}

impl Eq for PublicKey {}

/// Counts signature checks of the current thread, so that a test can say what a refusal cost.
#[cfg(test)]
pub(crate) mod counting {
    use std::cell::Cell;

    thread_local!(static CHECKS: Cell<usize> = const { Cell::new(0) });

    pub(crate) fn count() {
        CHECKS.with(|checks| checks.set(checks.get() + 1));
    }

    pub(crate) fn checks_during<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = CHECKS.with(Cell::get);
        let result = work();
        (result, CHECKS.with(Cell::get) - before)
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, PrivateKey, counting::checks_during};
    use crate::{
        KeySet, Skew, access,
        dpop::{self, NonceRule, ReplaySet},
    };
    use remit_model::UnixTime;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    /// SPEC: design.md section 7: signature checks are the budget. What can be refused without one, is.
    #[test]
    fn cheap_checks_come_before_the_signature() {
        let key = PrivateKey::from_seed(Algorithm::Ed25519, &[1; 32]).unwrap();
        let keys = KeySet::of([key.public()]);
        let claims = access::Claims::example(NOW);
        let token = access::mint(&key, &claims).unwrap();
        let cost = |issuer, audience, now| {
            let expect = access::Expect { issuer, audience: Some(audience) };
            checks_during(|| access::verify(&token, &keys, &expect, now, Skew::default()).is_ok())
        };
        assert_eq!(cost("https://as", "https://rs", NOW), (true, 1));
        assert_eq!(cost("https://other", "https://rs", NOW), (false, 0));
        assert_eq!(cost("https://as", "https://other", NOW), (false, 0));
        assert_eq!(cost("https://as", "https://rs", NOW.plus(1000)), (false, 0));
    }

    #[test]
    fn a_proof_costs_one_check_and_a_wrong_one_none() {
        let key = PrivateKey::from_seed(Algorithm::Es256, &[1; 32]).unwrap();
        let url = "https://rs/mcp";
        let proof =
            dpop::create(&key, &dpop::ProofFor { method: "POST", url, now: NOW, jti: "1", ..Default::default() }).unwrap();
        let replay = ReplaySet::new(1000, 300);
        let good = dpop::Expect {
            method: "POST",
            url,
            access_token: None,
            bound_to: None,
            known: None,
            nonce: NonceRule::Ignored,
            replay: Some(&replay),
            now: NOW,
            window_secs: 300,
        };
        let cost = |expect: &dpop::Expect<'_>| checks_during(|| dpop::verify(&[&proof], expect).is_ok());
        assert_eq!(cost(&good), (true, 1));
        assert_eq!(cost(&dpop::Expect { method: "GET", ..good }), (false, 0));
        assert_eq!(cost(&dpop::Expect { url: "https://rs/other", ..good }), (false, 0));
        assert_eq!(cost(&dpop::Expect { now: NOW.plus(301), ..good }), (false, 0));
        assert_eq!(cost(&dpop::Expect { access_token: Some(&[0; 32]), ..good }), (false, 0));
        assert_eq!(cost(&dpop::Expect { bound_to: Some("another"), ..good }), (false, 0));
    }
}
