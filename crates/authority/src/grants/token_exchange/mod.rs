//! Token exchange: an agent hands a part of its authority to a sub-agent, or narrows its own token.
//!
//! Implements RFC 8693; rules TX-01 to TX-12, DC-02 to DC-10. There are three ways to prove that the parent wants this
//! hop, and each binds parent, child and request to one another (DC-05):
//!
//! | Way | Who calls | `subject_token` | Besides |
//! |---|---|---|---|
//! | named child | the parent | its own access token | `actor_token`: the child's token for this issuer, which carries no authority |
//! | statement | the child | the parent's `delegation+jwt` (type `jwt`) | |
//! | call | the child | the parent's access token, whose audience is the child's endpoint | `subject_token_proof`: the parent's DPoP proof of that call |
//!
//! With nothing but its own access token a holder narrows it: no hop is added. [`exchange`] is the whole rule, and pure.

mod evidence;
mod rule;

use crate::{
    grants::{attempt::Attempt, request::TokenRequest, requested::RequestedAuthority},
    http::error::Rejection,
    tokens::issue,
};
use evidence::Evidence;
use remit_model::{Code, Refusal};
use remit_store::Batch;
use rule::{Exchange, World, exchange};
use serde_json::{Value, json};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(crate) async fn grant(request: TokenRequest<'_>, attempt: &mut Attempt) -> Result<Value, Rejection> {
    request.client.confidential()?;
    let server = request.server;
    let asked = RequestedAuthority::read(request.form, &server.servers)?;
    if request.form.one("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(Refusal::new(Code::RequestMalformed, "only access tokens are issued here").into());
    }
    let Evidence { parent, ancestors, auth_time, purpose, step, facts, once } = evidence::gather(&request).await?;
    attempt.once.extend(once);
    attempt.entry.chain = Some(parent.chain.clone());
    attempt.entry.purpose = asked.purpose.clone().or_else(|| step.purpose().map(str::to_owned));
    for (name, value) in facts {
        attempt.entry.fact(name, value);
    }
    let world = World {
        tenant: &server.tenant,
        issuer: &server.issuer,
        servers: &server.servers,
        snapshot: &request.snapshot,
        policy: server.policy.current(),
        access_token: server.settings.access_token,
        chain_depth: server.settings.chain_depth,
        now: request.now,
    };
    let jti = server.token_id();
    let ask = Exchange {
        parent: &parent,
        ancestors: &ancestors,
        auth_time,
        purpose: purpose.as_deref(),
        step: &step,
        asked: &asked,
        jti: &jti,
        client: &request.client.id(),
    };
    let outcome = exchange(&world, &ask);
    attempt.entry.check = outcome.check;
    let grant = outcome.grant?;
    attempt.entry.chain = Some(grant.chain.clone());
    attempt.entry.purpose.clone_from(&grant.purpose);
    attempt.entry.fact("scope_before", json!(parent.authority.digest()));
    let mut body = issue::issue(server, attempt, &grant, Batch::new(server.tenant.clone())).await?;
    if let Some(members) = body.as_object_mut() {
        members.insert("issued_token_type".to_owned(), json!(ACCESS_TOKEN));
    }
    Ok(body)
}
