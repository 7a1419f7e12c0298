//! Rows of the database that name people: sealed like side values, so that a backup of the database reveals no names.

use super::Vault;
use crate::{batch::ApplyError, commit::outage::Outage, world::snapshot::Snapshot};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_clock::Entropy;
use remit_ledger::vault::{KeyId, SealedBox, Subject};
use remit_model::{Fault, Principal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a sealed row is bound to: no row opens in the place of another.
pub(crate) mod context {
    use crate::batch::KeyedHash;
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    pub(crate) fn code(hash: &KeyedHash) -> String {
        format!("remit.db codes {}", URL_SAFE_NO_PAD.encode(hash))
    }

    pub(crate) fn refresh(hash: &KeyedHash) -> String {
        format!("remit.db refresh_tokens {}", URL_SAFE_NO_PAD.encode(hash))
    }

    pub(crate) fn token(jti: &str) -> String {
        format!("remit.db tokens {jti}")
    }

    pub(crate) fn provider_session(human: &str) -> String {
        format!("remit.db provider_sessions {human}")
    }
}

#[derive(Deserialize)]
struct Row {
    keys: Vec<String>,
    sealed: String,
}

/// Whose the row is (a pseudonym), and its body sealed under their key.
pub(crate) fn seal_row(
    (vault, entropy, snapshot): (&Vault, &Entropy, &Snapshot),
    subject: &Principal,
    context: &str,
    body: &impl Serialize,
) -> Result<(String, String), ApplyError> {
    let unusable = |fault: Fault| ApplyError::Unavailable(Outage::SideStore(fault.context));
    let subject = Subject::Principal { iss: subject.iss.clone(), sub: subject.sub.clone() };
    let plain = serde_json::to_vec(body).map_err(|error| ApplyError::Invalid(format!("not storable as JSON: {error}")))?;
    let key = vault.key(&subject, snapshot).map_err(unusable)?;
    let sealed = SealedBox::seal_bytes(&[key], context, &plain, &mut |bytes| entropy.fill(bytes)).map_err(unusable)?;
    // Names of keys and what is sealed are base64url: nothing of it needs escaping.
    let keys = sealed.keys.iter().map(KeyId::as_str).collect::<Vec<_>>().join(r#"",""#);
    let mut row = format!(r#"{{"keys":["{keys}"],"sealed":""#);
    URL_SAFE_NO_PAD.encode_string(sealed.bytes, &mut row);
    row.push_str(r#""}"#);
    Ok((vault.reference(&subject), row))
}

/// The body of a sealed row; `None` when its subject was erased.
pub(crate) fn open_row<T: DeserializeOwned>(vault: &Vault, context: &str, row: &str) -> Result<Option<T>, Fault> {
    let row: Row = serde_json::from_str(row).map_err(Fault::new)?;
    let keys = row.keys.iter().map(|id| KeyId::parse(id)).collect::<Option<_>>();
    let keys = keys.ok_or_else(|| Fault::new("a sealed row names no key"))?;
    let bytes = URL_SAFE_NO_PAD.decode(row.sealed).map_err(Fault::new)?;
    match (SealedBox { keys, bytes }).open_bytes(&vault.keyring(), context) {
        Ok(Some(plain)) => serde_json::from_slice(&plain).map(Some).map_err(Fault::new),
        Ok(None) => Ok(None),
        Err(error) => Err(Fault::new(error)),
    }
}
