//! Signatures of people at the root of a chain: passkeys as the log enrols them, and consents that they signed.
//!
//! SPEC: W3C Web Authentication Level 3 §7.2; docs/custody-format.md section 5. Site and origin are those of the issuer that the
//! document names, so nothing but the log is needed.

use super::{error::CustodyError, token::hash};
use remit_ledger::{Record, Side};
use remit_model::{Hop, PrincipalKind, json};
use remit_token::{
    PublicKey, consent,
    webauthn::{Assertion, Expect, RelyingParty},
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// What the log says up to here of passkeys and of what they signed.
#[derive(Default)]
pub(super) struct Signatures {
    /// By the hash of their credential id.
    passkeys: HashMap<String, Passkey>,
    /// By the digest of their document, until the delegation that rests on them.
    consents: HashMap<String, Consent>,
}

enum Passkey {
    /// Enrolled, and what it is is not with this copy.
    Undisclosed,
    Known {
        person: Value,
        key: PublicKey,
        counter: u32,
    },
    Removed,
}

enum Consent {
    /// Signed, and what was signed is not with this copy.
    Undisclosed,
    Signed(Value),
    /// A delegation rests on it.
    Redeemed,
}

/// What an enrolment commits to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credential {
    id: String,
    key: Value,
    counter: u32,
}

/// What an approval commits to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    document: Value,
    assertion: Assertion,
}

impl Signatures {
    /// An enrolment or a removal.
    pub(super) fn learn(&mut self, record: &Record, side: Option<&Side>) -> Result<(), CustodyError> {
        let fact = |name: &str| record.ext("passkey")?.get(name)?.as_str();
        let (Some(event), Some(credential)) = (fact("event"), fact("credential")) else { return Ok(()) };
        if event != "enrolled" {
            self.passkeys.insert(credential.to_owned(), Passkey::Removed);
            return Ok(());
        }
        if self.passkeys.contains_key(credential) {
            return Err(CustodyError::EnrolledBefore);
        }
        let passkey = match side.map(|side| (side.value("/passkey/credential"), side.value("/chain/0/subject"))) {
            Some((Some(stated), Some(person))) => {
                let stated: Credential = serde_json::from_value(stated).map_err(CustodyError::Passkey)?;
                if hash(&stated.id) != credential {
                    return Err(CustodyError::OtherPasskey);
                }
                let key = PublicKey::from_jwk(&stated.key).map_err(CustodyError::Signature)?;
                Passkey::Known { person, key, counter: stated.counter }
            }
            _ => Passkey::Undisclosed,
        };
        self.passkeys.insert(credential.to_owned(), passkey);
        Ok(())
    }

    /// An approval that says it was signed.
    pub(super) fn approved(&mut self, digest: &str, side: Option<&Side>) -> Result<(), CustodyError> {
        if self.consents.contains_key(digest) {
            return Err(CustodyError::SignedBefore);
        }
        let Some((side, evidence)) = side.and_then(|side| Some((side, side.value("/approval/signature")?))) else {
            self.consents.insert(digest.to_owned(), Consent::Undisclosed);
            return Ok(());
        };
        let Evidence { document, assertion } = serde_json::from_value(evidence).map_err(CustodyError::Passkey)?;
        if json::digest(&document) != digest {
            return Err(CustodyError::OtherDocument);
        }
        let consent = self.signed(&document, &assertion, side)?;
        self.consents.insert(digest.to_owned(), consent);
        Ok(())
    }

    fn signed(&mut self, document: &Value, assertion: &Assertion, side: &Side) -> Result<Consent, CustodyError> {
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        let person = serde_json::json!({"iss": text("issuer"), "sub": text("person")});
        let party = RelyingParty::of(text("issuer")).ok_or(CustodyError::NoSite)?;
        if side.value("/chain/0/subject").is_some_and(|subject| subject != person) {
            return Err(CustodyError::OtherSigner);
        }
        if let Some(page) = side.value("/approval/page")
            && page.as_str().map(|page| json::sha256_label(page.as_bytes())).as_deref() != Some(text("page"))
        {
            return Err(CustodyError::OtherPage);
        }
        let passkey = self.passkeys.get_mut(&hash(&assertion.credential)).ok_or(CustodyError::NotEnrolled)?;
        let (owner, key, counter) = match passkey {
            Passkey::Undisclosed => return Ok(Consent::Undisclosed),
            Passkey::Removed => return Err(CustodyError::NotEnrolled),
            Passkey::Known { person, key, counter } => (person, key, counter),
        };
        if *owner != person {
            return Err(CustodyError::OtherSigner);
        }
        let challenge = consent::challenge(document);
        let expect = Expect { party: &party, challenge: &challenge };
        *counter = assertion.verify(key, *counter, &expect).map_err(CustodyError::Signature)?.counter;
        Ok(Consent::Signed(document.clone()))
    }

    /// Whether an earlier approval signed exactly this first hop; `false` when what was signed is not with this copy.
    pub(super) fn root(&mut self, digest: &str, hop: &Hop, shown: &Value) -> Result<bool, CustodyError> {
        let consent = self.consents.get_mut(digest).ok_or(CustodyError::NotSigned)?;
        let document = match std::mem::replace(consent, Consent::Redeemed) {
            Consent::Undisclosed => return Ok(false),
            Consent::Redeemed => return Err(CustodyError::UsedTwice),
            Consent::Signed(document) => document,
        };
        let stated = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        // Whatever the document says beyond these is another document.
        let expected = consent::Document {
            issuer: &hop.delegator.iss,
            person: &hop.delegator.sub,
            agent: &hop.delegate.sub,
            redirect_uri: stated("redirect_uri"),
            authority: shown,
            until: hop.expires,
            purpose: hop.purpose.as_deref(),
            page: stated("page"),
            nonce: stated("nonce"),
        };
        if hop.delegator.kind() == PrincipalKind::Human && expected.to_value() == document {
            Ok(true)
        } else {
            Err(CustodyError::OtherConsent)
        }
    }
}
