//! `client_credentials`: an agent acting for itself, or getting a token that only says who it is.
//!
//! Implements RFC 6749 §4.4; rules CC-01, CC-02, RT-06. The token has no `act` and comes without a refresh token: the
//! agent is the root of its own chain, and its ceiling is what it may have at most.

use crate::{
    grants::{
        attempt::Attempt,
        request::TokenRequest,
        requested::{RequestedAuthority, Targets},
    },
    http::error::Rejection,
    tokens::issue::{self, Grant},
};
use remit_ledger::record::RecordType;
use remit_model::{Chain, Code, Principal, Refusal};
use remit_store::Batch;
use serde_json::Value;

pub(crate) async fn grant(request: TokenRequest<'_>, attempt: &mut Attempt) -> Result<Value, Rejection> {
    let TokenRequest { server, snapshot, form, client, proof, now } = request;
    client.confidential()?;
    let asked = RequestedAuthority::read(form, &server.servers)?;
    if asked.openid {
        return Err(Refusal::new(Code::ScopeUnknown, "`openid` is about people; an agent has no ID token").into());
    }
    let ceiling = &client.agent.ceiling;
    let targets = Targets { issuer: &server.issuer, servers: &server.servers, snapshot: &snapshot };
    let target = asked.target(&targets, ceiling, None)?;
    let authority = asked.under(ceiling, &target)?;
    let root = Principal::agent(&server.issuer, &client.agent.id);
    let chain = Chain::new(server.entropy.token(16), root);
    attempt.entry.chain = Some(chain.clone());
    attempt.entry.purpose.clone_from(&asked.purpose);
    let grant = Grant {
        record_type: RecordType::Token,
        chain,
        authority,
        target,
        client: client.id(),
        jkt: proof.jkt().to_owned(),
        jti: server.token_id(),
        ancestors: Vec::new(),
        issued: now,
        expires: asked.end(now, server.settings.access_token, None)?,
        auth_time: None,
        openid: false,
        family: None,
        purpose: asked.purpose,
    };
    issue::issue(server, attempt, &grant, Batch::new(server.tenant.clone())).await
}
