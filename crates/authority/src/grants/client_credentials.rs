//! `client_credentials`: an agent acting for itself, or getting a token that only says who it is.
//!
//! Implements RFC 6749 §4.4; rules CC-01, CC-02, RT-06. The token has no `act` and comes without a refresh token: the
//! agent is the root of its own chain, and its ceiling is what it may have at most. Of a `scope` beyond the ceiling the part
//! within it is granted, and the answer says so (RFC 6749 §3.3); `authorization_details` beyond it are refused. Policies are
//! asked as for any delegation: the agent delegates to itself.

use crate::{
    grants::{
        empty,
        outcome::{Facts, Grant, IssuedFrom, Outcome},
        request::TokenRequest,
        requested::{RequestedAuthority, Targets},
    },
    http::error::Rejection,
    policy_check::{self, Checked, Delegation},
};
use remit_decide::bearer;
use remit_ledger::record::RecordType;
use remit_model::{Agent, Chain, Code, Principal, Refusal, authority::Holder};

/// What an agent gets on its own account.
///
/// # Errors
/// Refuses public clients, `openid`, `authorization_details` beyond the agent's ceiling, and a `scope` of which nothing is
/// within it.
pub(crate) fn grant(request: &TokenRequest<'_>) -> Result<Outcome, Rejection> {
    let TokenRequest { server, snapshot, form, client, now, .. } = request;
    client.confidential()?;
    let requested = RequestedAuthority::read(form, &server.servers)?;
    if requested.openid {
        return Err(Refusal::new(Code::ScopeUnknown, "`openid` is about people; an agent has no ID token").into());
    }
    let servers: Vec<&remit_model::Server> = server.servers.iter().map(AsRef::as_ref).collect();
    let ceiling = &bearer::usable(&client.agent, &servers, &client.agent.ceiling);
    let targets = Targets { issuer: &server.issuer, servers: &server.servers, snapshot };
    requested.targets.iter().try_for_each(|uri| targets.find(uri).map(drop))?;
    let agent = Principal::agent(&server.issuer, &client.agent.id);
    let requested = requested.reduced_to(ceiling, &usable_limit(&client.agent, &agent))?;
    let target = requested.target(&targets, ceiling, None)?;
    let authority = requested.under(ceiling, &target, Holder::Ceiling)?;
    let expires = requested.end(*now, request.longest(), None)?;
    let chain = Chain::new(server.entropy.token(16), agent.clone());
    let facts = Facts { chain: Some(chain.clone()), purpose: requested.purpose.clone(), ..Facts::default() };
    // SPEC: TK-09
    let delegation = Delegation {
        before: &chain,
        to: &agent,
        authority: &authority,
        server: target.server(),
        purpose: requested.purpose.as_deref(),
        expires,
        authentication: None,
        root_signed: false,
    };
    let Checked { allowed, check } = policy_check::check(server, snapshot, &delegation, *now);
    let grant = allowed.map(|()| Grant {
        record_type: RecordType::Token,
        chain,
        authority,
        target,
        client: client.id(),
        confirmation: request.confirmation(),
        jti: server.token_id(),
        ancestors: Vec::new(),
        issued: *now,
        from: IssuedFrom::nothing(*now),
        expires,
        authentication: None,
        openid: false,
        ancestor_keys: Vec::new(),
        family: None,
        purpose: requested.purpose,
        signing: None,
        requires: Vec::new(),
        changes: Vec::new(),
        answer: Vec::new(),
    });
    Ok(Outcome::decided(grant.map_err(Rejection::from), check, facts))
}

/// What bounds an agent on its own account, in words.
fn usable_limit(agent: &Agent, principal: &Principal) -> String {
    if agent.is_bearer() && !agent.client.danger_bearer_writes {
        return format!("the tools of class `read` in {}", empty::limit(principal));
    }
    empty::limit(principal)
}
