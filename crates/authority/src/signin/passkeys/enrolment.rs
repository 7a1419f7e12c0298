//! A new passkey: from a person who just signed in, or by a link that an administrator made for them.

use crate::{
    Server,
    grants::attempt::Once,
    http::error::Rejection,
    signin::{
        passkeys::{named, used},
        seal::{Purpose, Seal},
    },
    tokens::record::Entry,
};
use remit_clock::Entropy;
use remit_ledger::record::RecordType;
use remit_model::{Code, Human, Passkey, Refusal, UnixTime, display, passkey};
use remit_store::{Batch, Change, JtiKind, Precondition, Store};
use remit_token::webauthn::{Expect, Registration};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The last second of the year 9999: a credential id is of one passkey for ever.
const FOR_EVER: UnixTime = UnixTime(253_402_300_799);

/// What a link holds. It is good once, until it expires.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) id: String,
    /// What ends the person's sign-ins ends the links of before, too.
    pub(crate) issued: UnixTime,
    pub(crate) until: UnixTime,
}

impl Link {
    /// What using it uses up.
    pub(crate) fn once(&self) -> Once {
        Once { kind: JtiKind::Other, key: format!("passkey link {}", self.id), until: self.until }
    }
}

/// The address at which this person can add a passkey once, until `until`.
///
/// # Errors
/// Passkeys cannot be used at this address; a fault when the library fails.
pub fn link(
    store: &Store,
    entropy: &Entropy,
    issuer: &str,
    name: &str,
    (issued, until): (UnixTime, UnixTime),
) -> Result<String, Refusal> {
    remit_token::webauthn::RelyingParty::of(issuer).ok_or_else(used::unavailable)?;
    let link = Link { name: name.to_owned(), id: entropy.token(16), issued, until };
    let sealed = Seal::of(store).seal(Purpose::PasskeyLink, &[], link, until, entropy).map_err(Rejection::into_refusal)?;
    Ok(format!("{issuer}/account/passkeys/new?link={sealed}"))
}

/// The batch that gives the person this passkey, with its record.
///
/// # Errors
/// `passkey_invalid`, `request_malformed`.
pub(crate) fn add(
    server: &Server,
    entry: &Entry<'_>,
    human: &Human,
    (response, label): (&str, &str),
    challenge: &[u8; 32],
    now: UnixTime,
) -> Result<Batch, Refusal> {
    let party = server.passkeys.as_ref().ok_or_else(used::unavailable)?;
    let made = Registration::read(response)?.verify(&Expect { party, challenge })?;
    let known = &human.passkeys.enrolled;
    if known.len() >= passkey::MOST {
        return Err(Refusal::new(
            Code::RequestMalformed,
            format!("an account has at most {} passkeys; remove one first", passkey::MOST),
        ));
    }
    let label = label.trim();
    if label.chars().count() > passkey::LABEL_LIMIT || display::escape(label) != label {
        let reason = format!("the name of a passkey has at most {} characters, all of them visible", passkey::LABEL_LIMIT);
        return Err(Refusal::new(Code::RequestMalformed, reason));
    }
    let passkey = Passkey {
        id: made.id,
        key: made.key.to_jwk(),
        counter: made.counter,
        synced: made.synced,
        label: if label.is_empty() { format!("Passkey {}", known.len().saturating_add(1)) } else { label.to_owned() },
        added: now,
        used: None,
    };
    let record = entry
        .happened(RecordType::ConfigChange)
        .ext("passkey", json!({"event": "enrolled", "credential": named(&passkey.id)}))
        // Whose it is and what it is named are the person's own, and go with them.
        .commit("/passkey/credential", json!({"id": passkey.id, "key": passkey.key, "counter": passkey.counter}));
    let credential = format!("passkey {}", named(&passkey.id));
    let enrolled = known.iter().cloned().chain([passkey]).collect();
    Ok(Batch::new(server.tenant.clone())
        .once(JtiKind::Other, credential, FOR_EVER)
        .require(Precondition::Passkeys { human: human.name.clone(), enrolled: known.clone() })
        .change(Change::SetPasskeys { human: human.name.clone(), enrolled })
        .record(record))
}
