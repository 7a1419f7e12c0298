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
//! A subject token of a trusted issuer begins a chain (`grants/foreign`). With nothing but its own access token a holder narrows it: no hop is added. A token that restricts its own exchange
//! (`may_act`, single use) is held to it. `rule.rs` is the whole rule, and pure.

mod evidence;
mod restrictions;
mod rule;

use crate::{
    grants::{
        foreign,
        outcome::{Facts, Outcome},
        request::{ACCESS_TOKEN, TokenRequest},
        requested::RequestedAuthority,
    },
    http::error::Rejection,
};
use remit_model::{Code, Refusal, display};
use serde_json::json;

/// Verifies the evidence, then applies the rule.
///
/// # Errors
/// Requests whose evidence does not verify, or a fault.
pub(crate) async fn exchange(request: &TokenRequest<'_>) -> Result<Outcome, Rejection> {
    request.client.confidential()?;
    request.may_exchange()?;
    let server = request.server;
    let requested = RequestedAuthority::read(&request.form, &server.servers)?;
    if request.form.one("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(Refusal::new(Code::RequestMalformed, "only access tokens are issued here").into());
    }
    let subject = request.form.one("subject_token").unwrap_or_default();
    if request.form.one("subject_token_type") == Some(ACCESS_TOKEN) && server.issuers.may_have_made(subject, &server.issuer) {
        return foreign::exchange(request).await;
    }
    let evidence = restrictions::kept(request, evidence::gather(request).await?)?;
    if let Some(purpose) = evidence.kind.purpose() {
        display::check("`purpose` of the statement", purpose, display::TEXT_LIMIT)?;
    }
    let facts = Facts {
        chain: Some(evidence.parent.chain.clone()),
        purpose: requested.purpose.clone().or_else(|| evidence.kind.purpose().map(str::to_owned)),
        plain: evidence.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        ..Facts::default()
    };
    let world = rule::World {
        issuer: &server.issuer,
        servers: &server.servers,
        snapshot: &request.snapshot,
        policy: server.policy.current(),
        access_token: request.longest(),
        chain_depth: server.settings.chain_depth,
        now: request.now,
    };
    let exchange =
        rule::Exchange { evidence: &evidence, requested: &requested, jti: &server.token_id(), client: &request.client.id() };
    let began = server.clock.now().mono_ns;
    let mut decided = rule::decide(&world, &exchange);
    if let Some(check) = &mut decided.check {
        check.latency_ns = server.clock.now().mono_ns.saturating_sub(began);
    }
    let (grant, facts) = match decided.grant {
        Ok(mut grant) => {
            grant.answer.push(("issued_token_type", json!(ACCESS_TOKEN)));
            (Ok(grant), facts.fact("scope_before", evidence.parent.authority.digest()))
        }
        Err(refusal) => (Err(refusal.into()), facts),
    };
    Ok(Outcome { grant, once: evidence.once, on_refusal: Vec::new(), facts, check: decided.check })
}
