//! The chain of custody as a record states it.

use remit_ledger::record::{AgentFacts, AuthMethod, GrantFacts, GrantKind, Party, PartyKind, TokenFacts};
use remit_model::id::{Principal, PrincipalKind};
use remit_token::access::AccessToken;

/// The chain of custody as a record states it, with the facts of the caller's token but without its proof.
pub(crate) fn of(token: &AccessToken, parties: &[Principal]) -> Vec<Party> {
    let last = parties.len().saturating_sub(1);
    let mut chain: Vec<Party> = parties.iter().enumerate().map(|(depth, principal)| node(depth, principal, token)).collect();
    if let Some(caller) = chain.get_mut(last) {
        caller.jkt.clone_from(&token.cnf_jkt);
        caller.token = Some(TokenFacts {
            jti: Some(token.jti.clone()),
            issuer: Some(token.iss.clone()),
            audience: vec![token.aud.clone()],
            scope: token.scope.split_ascii_whitespace().map(str::to_owned).collect(),
            expires: Some(token.exp),
            issued: Some(token.iat),
            authorization_details_hash: Some(token.authority.digest()),
        });
        caller.grant = GrantFacts {
            id: token.jti.clone(),
            kind: if token.act.is_none() && last == 0 && PrincipalKind::of_subject(&token.sub) == PrincipalKind::Agent {
                GrantKind::ClientCredentials
            } else if last > 1 {
                GrantKind::TokenExchange
            } else {
                GrantKind::Login
            },
            parent_jti: token.ancestors.first().cloned(),
        };
    }
    chain
}

fn node(depth: usize, principal: &Principal, token: &AccessToken) -> Party {
    let mut party = Party::of(principal);
    if principal.kind() == PrincipalKind::Agent {
        party.agent = Some(AgentFacts { uid: principal.sub.clone(), ..AgentFacts::default() });
        if depth > 1 {
            party.kind = PartyKind::Subagent;
        }
    }
    if depth == 0 {
        party.auth.time = token.auth_time;
        party.auth.acr.clone_from(&token.acr);
        party.auth.amr.clone_from(&token.amr);
        party.auth.method = if token.amr.iter().any(|method| method == "pwd") { AuthMethod::Password } else { AuthMethod::None };
    }
    party
}
