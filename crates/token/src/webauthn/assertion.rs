//! A passkey signs. SPEC: Web Authentication §7.2.

use super::{
    authenticator_data::AuthenticatorData,
    client_data::{self, Ceremony},
    expect::{Expect, invalid, read},
};
use crate::{base64url::decode, key::PublicKey};
use remit_model::{Refusal, json::sha256};
use serde::{Deserialize, Serialize};

/// An authenticator's answer to `navigator.credentials.get`, as the page sends it and the ledger keeps it; not verified. Byte strings
/// are base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// Credential id: which passkey.
    pub credential: String,
    authenticator_data: String,
    client_data: String,
    signature: String,
}

/// What a signature that holds says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The signature counter now; 0 where the authenticator does not count.
    pub counter: u32,
    /// Whether the passkey can be copied to other devices.
    pub synced: bool,
}

impl Assertion {
    /// Reads the JSON text that the page sends.
    ///
    /// # Errors
    /// `passkey_invalid`.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        read(text)
    }

    /// Checks that this key signed this challenge at this site, for a verified person, and that its counter, last seen at
    /// `counter`, moved on: one that does not says that the passkey was copied (§6.1.1). Both are 0 where it does not count.
    ///
    /// # Errors
    /// `passkey_invalid`.
    pub fn verify(&self, key: &PublicKey, counter: u32, expect: &Expect<'_>) -> Result<Signed, Refusal> {
        let bytes =
            |text: &str, what: &str| decode(text).ok_or_else(|| invalid(format!("the {what} of the passkey is not base64url")));
        let client_data = bytes(&self.client_data, "client data")?;
        client_data::check(&client_data, Ceremony::Get, expect)?;
        let signed = bytes(&self.authenticator_data, "authenticator data")?;
        let data = AuthenticatorData::read(&signed, expect.party)?;
        // An assertion states no new passkey, and only announced extensions may follow.
        if data.attested || data.extended == data.rest.is_empty() {
            return Err(invalid("the authenticator data of the passkey has another form than an assertion's"));
        }
        if !(data.counter > counter || (data.counter == 0 && counter == 0)) {
            return Err(invalid(format!(
                "the passkey's signature counter is {}, after {counter} before: it may have been copied; remove it and add a new one",
                data.counter
            )));
        }
        let message = [signed.as_slice(), &sha256(&client_data)].concat();
        if !key.verifies_asn1(&message, &bytes(&self.signature, "signature")?) {
            return Err(invalid("the passkey's signature does not verify"));
        }
        Ok(Signed { counter: data.counter, synced: data.synced })
    }
}
