//! What a person's provider can be asked with: a secret, kept sealed under the person's key and shown nowhere.

use super::schedule::{Person, SESSIONS};
use crate::{
    http::error::Rejection,
    signin::provider::{
        client::Tokens,
        discovery::invalid,
        settings::{Check, ProviderSettings},
    },
};
use remit_model::{Fault, UnixTime};
use remit_store::StoredProviderSession;
use remit_token::provider_id_token::ProviderIdToken;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a sign-in left.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The provider's name here.
    pub(crate) provider: String,
    pub(crate) issuer: String,
    /// The person's `sub` there.
    pub(crate) subject: String,
    pub(crate) with: With,
    /// What a later sign-in gave, which brought no refresh token: for when the provider refuses the one that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) otherwise: Option<With>,
    /// Sessions at the provider, the newest last.
    pub(crate) sids: Vec<String>,
}

/// How the provider can be asked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum With {
    /// RFC 6749 §6: for as long as the provider lets the person's session live.
    RefreshToken(String),
    /// OpenID Connect Core §5.3: until the access token ends.
    AccessToken { token: String, until: UnixTime },
    /// Not at all.
    Nothing,
}

impl With {
    /// The word for it in a record.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::RefreshToken(_) => "refresh_token",
            Self::AccessToken { .. } => "userinfo",
            Self::Nothing => "nothing",
        }
    }
}

impl Held {
    /// What this sign-in left. `sids` are the sessions known before.
    ///
    /// # Errors
    /// `provider_answer_invalid` where the configuration demands that the provider can be asked, and it gave no refresh token.
    pub(crate) fn of(
        provider: &ProviderSettings,
        tokens: Tokens,
        userinfo: bool,
        id_token: &ProviderIdToken,
        sids: Vec<String>,
        now: UnixTime,
    ) -> Result<Self, Rejection> {
        let lifetime = tokens.expires_in.filter(|seconds| *seconds > 0);
        let with = match (tokens.refresh_token, tokens.access_token, lifetime) {
            (Some(token), _, _) => With::RefreshToken(token),
            (None, Some(token), Some(lifetime)) if userinfo => With::AccessToken { token, until: now.plus(lifetime) },
            _ => With::Nothing,
        };
        if provider.check.required && !matches!(with, With::RefreshToken(_)) {
            let reason = "it gave no refresh token, so that it cannot be asked whether you still may act, and here that is demanded \
                          (`check_required`); let it give one to this client, for instance by the scope `offline_access`";
            return Err(invalid(reason).into());
        }
        let new = id_token.sid.clone();
        let mut sids: Vec<String> = sids.into_iter().filter(|sid| Some(sid) != new.as_ref()).collect();
        sids.extend(new);
        sids.drain(..sids.len().saturating_sub(SESSIONS));
        Ok(Self {
            provider: provider.name.clone(),
            issuer: provider.issuer.clone(),
            subject: id_token.sub.clone(),
            with,
            otherwise: None,
            sids,
        })
    }

    /// As it is kept where this was kept before: a refresh token of the same person stays when the sign-in brings none. Who signs in
    /// can take the scope that brings it out of the request.
    pub(crate) fn after(self, before: Option<Self>) -> Self {
        let same = before.filter(|before| before.issuer == self.issuer && before.subject == self.subject);
        match (same.map(|before| before.with), self.with) {
            (Some(kept @ With::RefreshToken(_)), new @ (With::AccessToken { .. } | With::Nothing)) => {
                let otherwise = Some(new).filter(|new| !matches!(new, With::Nothing));
                Self { with: kept, otherwise, ..self }
            }
            (_, with) => Self { with, ..self },
        }
    }

    /// What the schedule knows of it.
    pub(crate) fn person(&self, check: Check, ends: UnixTime) -> Person {
        Person {
            issuer: self.issuer.clone(),
            sids: self.sids.clone(),
            every_ms: check.every_ms(),
            can_be_asked: !matches!(self.with, With::Nothing),
            ends,
        }
    }

    /// What was stored; `None` of a form that this program does not know.
    pub(crate) fn read(stored: &StoredProviderSession) -> Option<Self> {
        serde_json::from_value(stored.payload.clone()).ok()
    }

    /// # Errors
    /// A fault, when it cannot be written as JSON.
    pub(crate) fn to_value(&self) -> Result<serde_json::Value, Fault> {
        serde_json::to_value(self).map_err(Fault::new)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("provider", &self.provider).field("with", &self.with.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(subject: &str, with: With) -> Held {
        let (provider, issuer) = ("corp".to_owned(), "https://corp".to_owned());
        Held { provider, issuer, subject: subject.to_owned(), with, otherwise: None, sids: Vec::new() }
    }

    fn token(token: &str) -> With {
        With::RefreshToken(token.to_owned())
    }

    #[test]
    fn only_a_refresh_token_of_the_same_person_is_kept_and_only_until_there_is_another() {
        let userinfo = || With::AccessToken { token: "a".to_owned(), until: UnixTime(1) };
        for (before, new, kept, otherwise) in [
            (held("alice", token("old")), With::Nothing, "refresh_token", None),
            (held("alice", token("old")), userinfo(), "refresh_token", Some("userinfo")),
            (held("alice", token("old")), token("new"), "refresh_token", None),
            (held("alice", userinfo()), With::Nothing, "nothing", None),
            (held("bob", token("old")), With::Nothing, "nothing", None),
            (Held { issuer: "https://other".to_owned(), ..held("alice", token("old")) }, userinfo(), "userinfo", None),
        ] {
            let renewed = matches!(new, With::RefreshToken(_));
            let after = held("alice", new).after(Some(before));
            assert_eq!((after.with.as_str(), after.otherwise.as_ref().map(With::as_str)), (kept, otherwise));
            assert!(!renewed || matches!(after.with, With::RefreshToken(token) if token == "new"));
        }
    }
}
