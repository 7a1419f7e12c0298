//! Keys and signed tokens: everything of Remit that touches JOSE, and passkeys.
//!
//! Implements RFC 7515 (compact serialisation only), RFC 7517/7638 keys, RFC 9068 access tokens, RFC 9449 DPoP,
//! RFC 7523 client assertions, tokens of workload issuers, JWT-SVIDs, OpenID Connect ID tokens, RFC 9701 introspection answers, and
//! our delegation statements (`typ: delegation+jwt`). Passkeys are W3C Web Authentication ([`webauthn`]).
//!
//! The rules that shape it:
//! - One verifier per kind of token (J-01). Each fixes its `typ`, key source, audience rule and lifetime, and returns a
//!   type with private fields that nothing but that verifier can make: holding an [`access::AccessToken`] *is* the proof
//!   that its signature was checked. There is no generic "decode".
//! - The algorithm belongs to the key, never to the header (J-02).
//! - Cheap checks come before the signature, because verifying is the budget of every request.
//! - No clock and no randomness: `now` and entropy are arguments. The one exception is inside the cryptographic library,
//!   which draws the per-signature secret of ECDSA by itself.
//!
//! It deliberately does not fetch keys, keep state beyond the DPoP replay memory and the memory of verified tokens, or know
//! what HTTP is.
//!
//! ```
//! use remit_token::{Algorithm, Jws, PrivateKey, sign_jws};
//! use serde_json::json;
//!
//! let key = PrivateKey::from_seed(Algorithm::Es256, &[7; 32])?;
//! let signed = sign_jws("example+jwt", &key, None, &json!({"iss": "agent:planner"}))?;
//! let read = Jws::parse(&signed)?;
//! assert_eq!(read.header()["typ"], "example+jwt");
//! assert_eq!(read.claims()?["iss"], "agent:planner");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod access;
pub mod actor;
pub mod assertion;
mod base64url;
pub mod certificate;
mod claims;
pub mod consent;
pub mod dpop;
pub mod foreign;
pub mod id_jag;
pub mod id_token;
mod inspect;
pub mod introspection;
pub mod issuer;
mod jwk;
mod jws;
mod key;
mod keyset;
pub mod logout_token;
mod material;
pub mod provider_id_token;
mod restrictions;
pub mod security_event;
pub mod sign_in;
pub mod statement;
pub mod svid;
#[cfg(test)]
mod vectors;
pub mod verified;
pub mod webauthn;
pub mod workload;

pub use actor::{Actor, nested_act};
pub use certificate::PeerCertificate;
pub use claims::Skew;
pub use inspect::{Unverified, inspect_unverified};
pub use issuer::{AcceptedKeys, KeyFolder, SigningKeys};
pub use jws::{Jws, sign_jws};
pub use key::{Algorithm, PrivateKey, PublicKey};
pub use keyset::KeySet;
pub use restrictions::{MayAct, Restrictions};
pub use statement::Delegation;
pub use verified::Verified;
