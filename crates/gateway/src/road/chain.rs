//! The chain of custody of a call, as its record states it.

use remit_decide::facts;
use remit_ledger::record::{AuthMethod, GrantFacts, Party, TokenFacts};
use remit_model::id::Principal;
use remit_token::access::AccessToken;

/// The parties of the chain, with the facts of the caller's token but without its proof.
pub(crate) fn of(token: &AccessToken, root: &Principal, actors: &[Principal]) -> Vec<Party> {
    let mut chain = facts::parties(std::iter::once(root).chain(actors));
    if let Some(root) = chain.first_mut() {
        root.auth.time = token.auth_time;
        root.auth.acr.clone_from(&token.acr);
        root.auth.amr.clone_from(&token.amr);
        root.auth.method = AuthMethod::of(token.acr.as_deref(), &token.amr);
    }
    if let Some(caller) = chain.last_mut() {
        caller.bound(token.confirmation().as_ref());
        caller.token = Some(TokenFacts {
            jti: Some(token.jti.clone()),
            issuer: Some(token.iss.clone()),
            audience: vec![token.aud.clone()],
            scope: token.scope.split_ascii_whitespace().map(str::to_owned).collect(),
            expires: Some(token.exp),
            issued: Some(token.iat),
            authorization_details_hash: Some(token.authority.digest()),
            unbound: !token.is_bound(),
        });
        caller.grant =
            GrantFacts { id: token.jti.clone(), kind: caller.grant.kind, parent_jti: token.ancestors.first().cloned() };
    }
    chain
}
