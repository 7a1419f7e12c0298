//! What a grant comes to: a token that may be issued, or a refusal, with everything that goes into the one batch.
//!
//! `tokens/issue.rs` turns an outcome into that batch.

use crate::{
    grants::{attempt::Once, requested::Target},
    http::error::Rejection,
    policy_check::PolicyCheck,
};
use remit_ledger::record::{HumanInLoop, RecordType};
use remit_model::{Authentication, Authority, Chain, Code, Confirmation, Fault, Refusal, UnixTime};
use remit_store::{Change, Precondition, Snapshot};
use remit_token::PrivateKey;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The result of one request for a token.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) grant: Result<Grant, Rejection>,
    /// Identifiers that the evidence uses up, whether the token is issued or not.
    pub(crate) once: Vec<Once>,
    /// What changes if it is refused: a failed redemption is counted, a reused token ends its family.
    pub(crate) on_refusal: Vec<Change>,
    pub(crate) facts: Facts,
    /// The policy decision, if policy was asked. It is recorded whether it permitted or not.
    pub(crate) check: Option<PolicyCheck>,
}

/// A token that may be issued: every rule has been checked.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) record_type: RecordType,
    pub(crate) chain: Chain,
    pub(crate) authority: Authority,
    pub(crate) target: Target,
    pub(crate) client: String,
    /// What the token is bound to, if anything.
    pub(crate) confirmation: Option<Confirmation>,
    pub(crate) jti: String,
    /// Parent first, root last.
    pub(crate) ancestors: Vec<String>,
    /// The `kid`s that signed them.
    pub(crate) ancestor_keys: Vec<String>,
    pub(crate) issued: UnixTime,
    pub(crate) from: IssuedFrom,
    pub(crate) expires: UnixTime,
    /// Of the person at the root.
    pub(crate) authentication: Option<Authentication>,
    pub(crate) openid: bool,
    pub(crate) family: Option<String>,
    pub(crate) purpose: Option<String>,
    /// What must hold at the instant of issue.
    pub(crate) requires: Vec<Precondition>,
    /// What changes with the issue, besides the token.
    pub(crate) changes: Vec<Change>,
    /// The key that signed the evidence of this grant, where this server signed it: it signs the token, too, and is asked for at the
    /// commit, so that no evidence is by a key that was revoked meanwhile.
    pub(crate) signing: Option<Arc<PrivateKey>>,
    /// Members of the response besides those of every token.
    pub(crate) answer: Vec<(&'static str, Value)>,
}

/// What a token is issued from: a consent, a refresh token, the parent's token. Nothing of it may be revoked. SPEC: RV-05
#[derive(Clone, Debug)]
pub(crate) struct IssuedFrom {
    /// What it can be revoked by ([`remit_model::criterion`]).
    pub(crate) criteria: Vec<String>,
    /// When it was issued itself.
    pub(crate) issued: UnixTime,
}

impl IssuedFrom {
    /// A credential that is checked now: nothing that was issued here before.
    pub(crate) fn nothing(now: UnixTime) -> Self {
        Self { criteria: Vec::new(), issued: now }
    }

    /// # Errors
    /// `grant_invalid` when it was revoked.
    pub(crate) fn still_counts(&self, snapshot: &Snapshot) -> Result<(), Refusal> {
        snapshot.revoked_before(&self.criteria, self.issued).map_or(Ok(()), |(criterion, before)| {
            let reason = format!("everything of `{criterion}` that was issued before {} was revoked", before.utc());
            Err(Refusal::new(Code::GrantInvalid, reason))
        })
    }
}

/// What is known of a request, for its record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The chain that the caller acts in.
    pub(crate) chain: Option<Chain>,
    pub(crate) purpose: Option<String>,
    pub(crate) human_in_loop: HumanInLoop,
    /// Plain facts for `ext.token`: hashes and words, never names or tokens.
    pub(crate) plain: Map<String, Value>,
    /// What an auditor needs to check a token of another issuer; committed beside the record.
    pub(crate) subject: Option<Value>,
    /// The same of a sign-in at an identity provider.
    pub(crate) sign_in: Option<Value>,
}

/// Why something presented is refused, and what that costs.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) rejection: Rejection,
    pub(crate) on_refusal: Vec<Change>,
    pub(crate) facts: Facts,
}

impl Outcome {
    pub(crate) fn refused(rejection: impl Into<Rejection>, facts: Facts) -> Self {
        Self { grant: Err(rejection.into()), once: Vec::new(), on_refusal: Vec::new(), facts, check: None }
    }

    /// What policy decided.
    pub(crate) fn decided(grant: Result<Grant, Rejection>, check: Option<PolicyCheck>, facts: Facts) -> Self {
        Self { grant, once: Vec::new(), on_refusal: Vec::new(), facts, check }
    }
}

impl From<Rejection> for Outcome {
    fn from(rejection: Rejection) -> Self {
        Self::refused(rejection, Facts::default())
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal, Facts::default())
    }
}

impl From<Box<Refused>> for Outcome {
    fn from(refused: Box<Refused>) -> Self {
        let Refused { rejection, on_refusal, facts } = *refused;
        Self { on_refusal, ..Self::refused(rejection, facts) }
    }
}

impl From<Refusal> for Box<Refused> {
    fn from(refusal: Refusal) -> Self {
        Self::new(Refused { rejection: refusal.into(), on_refusal: Vec::new(), facts: Facts::default() })
    }
}

impl From<Fault> for Box<Refused> {
    fn from(fault: Fault) -> Self {
        Self::new(Refused { rejection: fault.into(), on_refusal: Vec::new(), facts: Facts::default() })
    }
}

impl Facts {
    #[must_use]
    pub(crate) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.plain.insert(name.to_owned(), value.into());
        self
    }
}
