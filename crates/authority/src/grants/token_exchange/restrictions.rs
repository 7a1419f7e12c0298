//! What a subject token says of its own exchange: who may become the actor, and how often.
//!
//! Implements RFC 8693 §4.4 and rule DC-05 (4). A restriction only takes away: it is no proof of identity, opens no way that
//! the evidence does not open, and is not copied into what is issued.

use crate::grants::{
    attempt::Once,
    request::{ACCESS_TOKEN, TokenRequest},
    token_exchange::evidence::{Evidence, ExchangeKind},
};
use remit_model::{Code, Refusal};
use remit_store::JtiKind;

/// The evidence, if its subject token allows this exchange. A token for single use is used up, whether the rest of the request
/// is granted or not.
///
/// # Errors
/// `delegate_not_named` when `may_act` names another party.
pub(super) fn kept(request: &TokenRequest<'_>, mut evidence: Evidence) -> Result<Evidence, Refusal> {
    let form = &request.form;
    if form.one("subject_token_type") != Some(ACCESS_TOKEN) {
        return Ok(evidence);
    }
    // Verified a moment ago, so this is a look into memory.
    let token = request.server.verify(form.required("subject_token")?, request.now)?;
    let restrictions = token.restrictions();
    if let ExchangeKind::Delegate(to) = &evidence.kind
        && !restrictions.admits(&to.delegate, &token.iss)
    {
        return Err(Refusal::new(
            Code::DelegateNotNamed,
            format!("the subject token lets another agent than `{}` act with it (`may_act`)", to.delegate.sub),
        ));
    }
    if restrictions.single_use {
        evidence.once.push(Once { kind: JtiKind::SubjectToken, key: token.jti.clone(), until: token.exp });
    }
    Ok(evidence)
}
