//! What a page asks of an authenticator: the attributes that its script reads.

use crate::Server;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::{Human, Passkey};
use remit_token::webauthn::{ALGORITHMS, RelyingParty};

/// What an authenticator is asked to sign.
pub(crate) struct Signing {
    /// base64url, as are the ids.
    pub(crate) challenge: String,
    pub(crate) rp: String,
    /// Credential ids that may sign, separated by spaces; none means any that the person chooses.
    pub(crate) allow: String,
}

impl Signing {
    /// By any passkey that the person chooses: nothing of an account is given away. `None` where there are no passkeys.
    pub(crate) fn by_anyone(server: &Server, challenge: &[u8; 32]) -> Option<Self> {
        let party = server.passkeys.as_ref()?;
        Some(Self { challenge: URL_SAFE_NO_PAD.encode(challenge), rp: party.id().to_owned(), allow: String::new() })
    }

    /// By one of this person's passkeys. `None` when they have none.
    pub(crate) fn by(server: &Server, human: &Human, challenge: &[u8; 32]) -> Option<Self> {
        let allow = ids(&human.passkeys.enrolled);
        (!allow.is_empty()).then_some(())?;
        Some(Self { allow, ..Self::by_anyone(server, challenge)? })
    }
}

/// A passkey that an authenticator is asked to make.
pub(crate) struct Making<'a> {
    pub(crate) challenge: String,
    pub(crate) rp: &'a str,
    /// The person's handle: it tells authenticators which passkeys are of one account, and no one else anything.
    pub(crate) user: String,
    pub(crate) name: &'a str,
    pub(crate) display_name: &'a str,
    pub(crate) exclude: String,
    pub(crate) algorithms: String,
}

impl<'a> Making<'a> {
    pub(crate) fn of(server: &Server, party: &'a RelyingParty, human: &'a Human, challenge: &[u8; 32]) -> Self {
        let handle = server.store.keyed_hash("passkey user", human.name.as_bytes());
        Self {
            challenge: URL_SAFE_NO_PAD.encode(challenge),
            rp: party.id(),
            user: URL_SAFE_NO_PAD.encode(handle),
            name: &human.name,
            display_name: &human.display_name,
            exclude: ids(&human.passkeys.enrolled),
            algorithms: ALGORITHMS.map(|number| number.to_string()).join(" "),
        }
    }
}

fn ids(enrolled: &[Passkey]) -> String {
    enrolled.iter().map(|passkey| passkey.id.as_str()).collect::<Vec<_>>().join(" ")
}
