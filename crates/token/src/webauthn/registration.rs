//! A passkey is made. SPEC: Web Authentication §7.1, RFC 9053.

use super::{
    authenticator_data::AuthenticatorData,
    client_data::{self, Ceremony},
    expect::{ALGORITHMS, Expect, invalid, read},
};
use crate::{
    base64url::{decode, encode},
    key::PublicKey,
};
use ciborium::Value as Cbor;
use coset::{
    AsCborValue as _, CoseKey, Label, RegisteredLabelWithPrivate,
    iana::{self, EnumI64 as _},
};
use remit_model::Refusal;
use serde::Deserialize;
use serde_json::json as object;

/// Longest credential id, in bytes (§7.1 step 25).
const ID_LIMIT: usize = 1023;
/// The identifier of the authenticator's make, which is not looked at here.
const AAGUID: usize = 16;
/// Deepest CBOR read.
const DEPTH: usize = 8;

/// An authenticator's answer to `navigator.credentials.create`, as the page sends it; not verified. Byte strings are base64url.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    client_data: String,
    attestation: String,
}

/// A passkey that was made for this site, with a verified person.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Credential id, base64url.
    pub id: String,
    /// Its public key.
    pub key: PublicKey,
    /// The signature counter to begin with; 0 where the authenticator does not count.
    pub counter: u32,
    /// Whether it can be copied to other devices.
    pub synced: bool,
}

impl Registration {
    /// Reads the JSON text that the page sends.
    ///
    /// # Errors
    /// `passkey_invalid`.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        read(text)
    }

    /// Checks that a passkey of an algorithm that was offered was made for this site and challenge, by a verified person.
    ///
    /// # Errors
    /// `passkey_invalid`.
    pub fn verify(&self, expect: &Expect<'_>) -> Result<Registered, Refusal> {
        let bytes =
            |text: &str, what: &str| decode(text).ok_or_else(|| invalid(format!("the {what} of the passkey is not base64url")));
        client_data::check(&bytes(&self.client_data, "client data")?, Ceremony::Create, expect)?;
        let attestation = bytes(&self.attestation, "attestation")?;
        let mut unread = attestation.as_slice();
        let statement = cbor(&mut unread)?;
        let data = unread.is_empty().then(|| data(statement)).flatten();
        let data = data.ok_or_else(|| invalid("the attestation object of the passkey is malformed"))?;
        credential(&data, expect)
    }
}

/// One CBOR item; what follows it is left in `unread`.
fn cbor(unread: &mut &[u8]) -> Result<Cbor, Refusal> {
    ciborium::de::from_reader_with_recursion_limit(unread, DEPTH)
        .map_err(|_| invalid("the passkey is described by malformed CBOR"))
}

/// The authenticator data of an attestation object: `{fmt, attStmt, authData}` and nothing else. The statement is not evaluated.
fn data(object: Cbor) -> Option<Vec<u8>> {
    let members = object.into_map().ok()?;
    let (mut format, mut statement, mut data) = (None, None, None);
    for (name, value) in members {
        let place = match name.as_text()? {
            "fmt" => &mut format,
            "attStmt" => &mut statement,
            "authData" => &mut data,
            _ => return None,
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    (format?.is_text() && statement?.is_map()).then_some(())?;
    data?.into_bytes().ok()
}

/// The attested credential data (§6.5.1) and, where they are announced, extensions after it, which are passed over.
fn credential(bytes: &[u8], expect: &Expect<'_>) -> Result<Registered, Refusal> {
    let data = AuthenticatorData::read(bytes, expect.party)?;
    if !data.attested {
        return Err(invalid("the authenticator does not state the passkey that it made"));
    }
    let short = || invalid("the authenticator data of the passkey is cut short");
    let after_make = data.rest.get(AAGUID..).ok_or_else(short)?;
    let (length, after_length) = after_make.split_first_chunk::<2>().ok_or_else(short)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (id, mut unread) = after_length.split_at_checked(length).ok_or_else(short)?;
    if id.is_empty() || id.len() > ID_LIMIT {
        return Err(invalid(format!("the id of a passkey has 1 to {ID_LIMIT} bytes")));
    }
    let key = public_key(cbor(&mut unread)?)?;
    if data.extended {
        cbor(&mut unread)?;
    }
    if !unread.is_empty() {
        return Err(invalid("something follows the authenticator data of the passkey"));
    }
    Ok(Registered { id: encode(id), key, counter: data.counter, synced: data.synced })
}

/// A COSE key of an offered algorithm, as the JSON Web Key that everything else here works with.
fn public_key(cose: Cbor) -> Result<PublicKey, Refusal> {
    let unsupported = || invalid("the passkey's key is of another kind than was offered: ES256, EdDSA or RS256");
    let key = CoseKey::from_cbor_value(cose).map_err(|_| invalid("the passkey's public key is malformed"))?;
    let Some(RegisteredLabelWithPrivate::Assigned(algorithm)) = key.alg else { return Err(unsupported()) };
    if !ALGORITHMS.contains(&algorithm.to_i64()) {
        return Err(unsupported());
    }
    let of_label = |label: i64| key.params.iter().find(|(known, _)| *known == Label::Int(label)).map(|(_, value)| value);
    let bytes = |value: Option<&Cbor>| value.and_then(Cbor::as_bytes).map(|bytes| encode(bytes)).ok_or_else(unsupported);
    let curve = |value: Option<&Cbor>, wanted: iana::EllipticCurve| {
        let stated = value.and_then(Cbor::as_integer).and_then(|number| i64::try_from(number).ok());
        if stated == Some(wanted.to_i64()) { Ok(()) } else { Err(unsupported()) }
    };
    let jwk = match (algorithm, key.kty) {
        (iana::Algorithm::ES256, coset::KeyType::Assigned(iana::KeyType::EC2)) => {
            curve(of_label(iana::Ec2KeyParameter::Crv.to_i64()), iana::EllipticCurve::P_256)?;
            let (x, y) = (of_label(iana::Ec2KeyParameter::X.to_i64()), of_label(iana::Ec2KeyParameter::Y.to_i64()));
            object!({"kty": "EC", "crv": "P-256", "x": bytes(x)?, "y": bytes(y)?})
        }
        (iana::Algorithm::EdDSA, coset::KeyType::Assigned(iana::KeyType::OKP)) => {
            curve(of_label(iana::OkpKeyParameter::Crv.to_i64()), iana::EllipticCurve::Ed25519)?;
            object!({"kty": "OKP", "crv": "Ed25519", "x": bytes(of_label(iana::OkpKeyParameter::X.to_i64()))?})
        }
        (iana::Algorithm::RS256, coset::KeyType::Assigned(iana::KeyType::RSA)) => {
            let (n, e) = (of_label(iana::RsaKeyParameter::N.to_i64()), of_label(iana::RsaKeyParameter::E.to_i64()));
            object!({"kty": "RSA", "n": bytes(n)?, "e": bytes(e)?})
        }
        _ => return Err(unsupported()),
    };
    PublicKey::from_jwk(&jwk).map_err(|refusal| invalid(format!("the passkey's public key: {}", refusal.reason)))
}
