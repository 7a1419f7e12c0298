//! A token of an issuer that vouches for the agent: a Kubernetes cluster, a CI system, a cloud.
//!
//! Implements RFC 7521 §4.2 and RFC 7523 §2.2 with an issuer other than the client, in the form
//! `client_assertion_type=…:jwt-bearer` and `client_assertion`, or as the `assertion` of a jwt-bearer grant; rules JB-01 to JB-07, KS-01 to KS-03, OF-01, OF-02.
//! Before the signature of a trusted issuer holds, every refusal has the same words: none tells which issuers are configured.

use super::mapped;
use crate::{
    Server,
    clients::{
        client::{Client, failed, unauthenticated},
        credential::{ClientCredential, Method},
        workload::{WorkloadSource, token_review},
    },
};
use remit_model::{Agent, Code, Refusal, UnixTime, WorkloadKind};
use remit_store::Snapshot;
use remit_token::{
    Skew,
    workload::{Expect, Presented, WorkloadToken},
};
use std::sync::Arc;

/// Verifies the token and finds the agent that is registered with credentials that it matches.
///
/// # Errors
/// `client_unauthenticated`.
pub(super) async fn verify(
    server: &Server,
    snapshot: &Snapshot,
    named: Option<Arc<Agent>>,
    compact: &str,
    now: UnixTime,
) -> Result<Client, Refusal> {
    let presented = Presented::read(compact).map_err(|refusal| unauthenticated(&refusal.reason))?;
    let issuer = presented.issuer().ok().and_then(|iss| server.workload_issuers.find(iss)).ok_or_else(failed)?;
    if named.as_ref().is_some_and(|agent| !agent.client.credentials.iter().any(|one| issuer.rules.is_named_by(one))) {
        return Err(failed());
    }
    let wanted = |keys: &remit_token::KeySet| presented.names_key_of(keys);
    let keys = server.workload_issuers.keys(issuer, &server.key_sets, wanted).await.map_err(|why| {
        tracing::warn!(issuer = issuer.rules.name, why, "the issuer's keys cannot be used");
        failed()
    })?;
    let rules = &issuer.rules;
    let expect = Expect {
        issuer: &rules.issuer,
        audience: &server.issuer,
        algorithms: &rules.algorithms,
        max_lifetime: rules.max_lifetime,
        max_age: rules.max_age,
        single_use: rules.single_use,
    };
    let skew = server.settings.skew;
    let token = presented.verify(&keys, &expect, now, Skew::seconds(skew)).map_err(|refusal| match refusal.code {
        Code::TokenSignatureInvalid => failed(),
        _ => unauthenticated(&refusal.reason),
    })?;
    let leads = rules.leads(token.claims());
    let (agent, ()) = mapped::accepting(snapshot, named, &leads, |agent| matching(issuer, agent, &token))?;
    stands(server, issuer, compact, &token).await?;
    let kept = if rules.single_use { compact.to_owned() } else { presented.unsigned() };
    let method = match rules.kind {
        WorkloadKind::Kubernetes => Method::Kubernetes,
        WorkloadKind::Github | WorkloadKind::Gitlab | WorkloadKind::Oidc => Method::Federated,
    };
    let credential = ClientCredential::vouched(method, rules, &token, compact, kept, skew);
    Ok(Client { agent, credential: Some(credential) })
}

/// Whether a credential of the agent fits, or why the first does not. SPEC: KS-02, OF-01
fn matching(issuer: &WorkloadSource, agent: &Agent, token: &WorkloadToken) -> Result<(), Refusal> {
    let mut refused = None;
    for credential in agent.client.credentials.iter().filter(|credential| issuer.rules.is_named_by(credential)) {
        let fits = credential.matches(token.claims()).and_then(|()| issuer.rules.check_context(credential, token.claims()));
        match fits {
            Ok(()) => return Ok(()),
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    Err(refused.unwrap_or_else(failed))
}

/// SPEC: KS-01, N-KS-03. Without an answer the token does not count: fail closed.
async fn stands(server: &Server, issuer: &WorkloadSource, compact: &str, token: &WorkloadToken) -> Result<(), Refusal> {
    match token_review::review(&server.outbound, issuer, &server.issuer, compact, token).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(unauthenticated("the cluster does not vouch for this token any more: its pod or its service account is gone"))
        }
        Err(why) => {
            tracing::warn!(issuer = issuer.rules.name, why, "the cluster cannot be asked about a token");
            Err(unauthenticated("the cluster cannot be asked about this token now; the server's log says why"))
        }
    }
}
