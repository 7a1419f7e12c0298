//! A passkey that signed a challenge of ours.

use crate::{Server, signin::sessions::SignedIn};
use remit_model::{Authentication, Code, Human, Passkey, Refusal, UnixTime};
use remit_store::{Batch, Change, Precondition, Snapshot};
use remit_token::{
    PublicKey,
    webauthn::{Assertion, Expect},
};
use std::sync::Arc;

/// The authentication context class of a sign-in with a passkey: phishing-resistant. SPEC: OpenID EAP ACR Values 1.0 §2
pub(crate) const ACR: &str = "phr";

/// Whether the person signed in with a passkey here. What a provider calls its own sign-in says nothing of our passkeys.
pub(crate) fn signed_in(user: &SignedIn) -> bool {
    user.evidence.is_none() && user.authentication.acr.as_deref() == Some(ACR)
}

/// A signature that holds, by a passkey of this person.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) human: Arc<Human>,
    /// Whether the passkey can be copied to other devices.
    synced: bool,
    /// The person's passkeys after it: one has counted.
    enrolled: Vec<Passkey>,
}

impl Used {
    /// Checks that a registered passkey signed this challenge here, and that nothing says that it was copied.
    ///
    /// # Errors
    /// `passkey_invalid`; `passkey_required` where passkeys cannot be used at all.
    pub(crate) fn check(
        server: &Server,
        snapshot: &Snapshot,
        assertion: &Assertion,
        challenge: &[u8; 32],
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let party = server.passkeys.as_ref().ok_or_else(unavailable)?;
        let unknown = || Refusal::new(Code::PasskeyInvalid, "this passkey is not known here, or was removed");
        let human = snapshot.human_of_passkey(&assertion.credential).map(Arc::clone).ok_or_else(unknown)?;
        let passkey = human.passkeys.find(&assertion.credential).ok_or_else(unknown)?;
        let key = PublicKey::from_jwk(&passkey.key)?;
        let signed = assertion.verify(&key, passkey.counter, &Expect { party, challenge })?;
        let counted = |known: &Passkey| {
            if known.id == assertion.credential {
                Passkey { counter: signed.counter, used: Some(now), ..known.clone() }
            } else {
                known.clone()
            }
        };
        let enrolled = human.passkeys.enrolled.iter().map(counted).collect();
        Ok(Self { human, synced: signed.synced, enrolled })
    }

    /// Adds the new counter. INVARIANT: of two uses at once with one counter, one is refused.
    pub(crate) fn count(self, batch: Batch) -> Batch {
        let (human, seen) = (self.human.name.clone(), self.human.passkeys.enrolled.clone());
        batch
            .require(Precondition::Passkeys { human: human.clone(), enrolled: seen })
            .change(Change::SetPasskeys { human, enrolled: self.enrolled })
    }

    /// Signing in with it, alone or after a password. An authenticator verified the person, so it is two factors by itself.
    pub(crate) fn authentication(&self, now: UnixTime, after_password: bool) -> Authentication {
        let held = if self.synced { "swk" } else { "hwk" };
        let amr = after_password.then_some("pwd").into_iter().chain([held, "mfa"]).map(str::to_owned).collect();
        Authentication { time: now, acr: Some(ACR.to_owned()), amr }
    }
}

/// The refusal where the server's own address rules passkeys out.
pub(crate) fn unavailable() -> Refusal {
    Refusal::new(
        Code::PasskeyRequired,
        "this server has no passkeys: `server.public_url` must name a host (https, or http://localhost), not an IP address",
    )
}
