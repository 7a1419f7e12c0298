//! `private_key_jwt`: the agent signs with a key of its own, registered here or published at its `jwks_uri`.
//!
//! Implements RFC 7523 §2.2 and RFC 7591 §2 (`jwks_uri`); rules TK-04, J-09, F-05.

use crate::{
    Server,
    clients::{
        client::{failed, unauthenticated},
        credential::{ClientCredential, Method},
        rules,
    },
    http::error::Rejection,
};
use remit_model::{Agent, AssertionAudience, Code, Credential, Fault, Refusal, Registration, UnixTime};
use remit_outbound::Source;
use remit_store::JtiKind;
use remit_token::{
    KeySet, PublicKey, Skew,
    assertion::{Expect, Presented},
};
use serde_json::Value;
use std::sync::Arc;
use url::Url;

/// Verifies an assertion that the agent signed itself.
///
/// # Errors
/// `client_unauthenticated`, in the same words for a wrong key as for none.
pub(super) async fn verify(
    server: &Server,
    agent: &Agent,
    presented: &Presented<'_>,
    now: UnixTime,
) -> Result<ClientCredential, Refusal> {
    let (method, keys) = match published_at(agent) {
        None => (Method::PrivateKeyJwt, server.key_cache.keys(agent).map_err(|_| failed())?),
        Some(uri) => (Method::JwksUri, published(server, agent, uri, presented).await?),
    };
    let client_id = agent.client_id();
    let token_endpoint = server.url("/oauth/token");
    let token_endpoint = (agent.client.assertion_audience == AssertionAudience::TokenEndpoint).then_some(token_endpoint.as_str());
    let expect = Expect { client_id: &client_id, issuer: &server.issuer, token_endpoint };
    let skew = server.settings.skew;
    let assertion = presented.verify(&keys, &expect, now, Skew::seconds(skew)).map_err(|refusal| refused(&refusal))?;
    let jwk = presented.key_in(&keys);
    let claims = match (method, &agent.client.registration, &jwk) {
        // An administrator's agents had their keys claimed when they were registered.
        (Method::PrivateKeyJwt, Registration::Dynamic { .. } | Registration::MetadataDocument { .. }, Some(jwk)) => {
            claims(server, agent, jwk).await?
        }
        _ => Vec::new(),
    };
    let key = jwk.filter(|_| method == Method::JwksUri);
    Ok(ClientCredential { claims, ..ClientCredential::own(method, &assertion, skew, key) })
}

/// The claims on a key that has just signed, unless they were made before. SPEC: CM-03
///
/// # Errors
/// `client_unauthenticated` when another agent has signed with it.
async fn claims(server: &Server, agent: &Agent, jwk: &Value) -> Result<Vec<String>, Refusal> {
    let key = PublicKey::from_jwk(jwk)?;
    let (all, own, proved) =
        (rules::claim(key.thumbprint()), rules::claim_of(key.thumbprint(), &agent.id), rules::proved(key.thumbprint()));
    let used = async |claim: &str| {
        let read = server.store.was_used(JtiKind::Other, claim).await;
        read.map_err(|error| Rejection::from(Fault::new(error)).into_refusal())
    };
    let snapshot = server.store.snapshot();
    // A client that no person let in yet writes nothing, whatever it signs.
    if snapshot.agent(&agent.id).is_none() || used(&own).await? {
        return Ok(Vec::new());
    }
    // What another agent claimed meanwhile is found at the commit.
    if !used(&all).await? {
        return Ok(vec![own, proved, all]);
    }
    // Builds before claimed a key when a person consented to its client, and did not say whose it was.
    if used(&proved).await? {
        return Err(failed());
    }
    let others = snapshot.agents().filter_map(|(_, other)| other).filter(|other| other.id != agent.id);
    for other in others.filter(|other| other.keys.iter().any(|listed| same_key(listed, jwk))) {
        let its = other.client.registration == Registration::Administrator;
        if its || used(&rules::claim_of(key.thumbprint(), &other.id)).await? {
            return Err(failed());
        }
    }
    Ok(vec![own, proved])
}

/// Whether both are the same public key. Registered keys are kept in one rendering.
fn same_key(one: &Value, other: &Value) -> bool {
    ["kty", "crv", "x", "y", "n", "e"].iter().all(|member| one.get(member) == other.get(member))
}

/// The refusal of a client that is not registered: in the words, and after the work, of one whose key is another. SPEC: X-11
pub(super) fn of_nobody(server: &Server, claimed: &str, presented: &Presented<'_>, now: UnixTime) -> Refusal {
    let expect = Expect { client_id: claimed, issuer: &server.issuer, token_endpoint: None };
    let verified = presented.verify(&server.nobodys_keys, &expect, now, Skew::seconds(server.settings.skew));
    verified.map_or_else(|refusal| refused(&refusal), |_| failed())
}

fn refused(refusal: &Refusal) -> Refusal {
    match refusal.code {
        Code::TokenSignatureInvalid => failed(),
        _ => unauthenticated(&refusal.reason),
    }
}

/// Where the agent publishes its keys, if it does.
fn published_at(agent: &Agent) -> Option<&str> {
    agent.client.credentials.iter().find_map(|credential| match credential {
        Credential::JwksUri { uri } => Some(uri.as_str()),
        _ => None,
    })
}

/// The published keys; fetched again if they do not have the key that the assertion names. SPEC: F-05, N-F-06
async fn published(server: &Server, agent: &Agent, uri: &str, presented: &Presented<'_>) -> Result<Arc<KeySet>, Refusal> {
    let source = match agent.client.registration {
        Registration::Administrator => Source::Operator,
        Registration::Dynamic { .. } | Registration::MetadataDocument { .. } => Source::Stranger,
    };
    if source == Source::Stranger && server.store.snapshot().agent(&agent.id).is_none() && server.key_sets.would_fetch(uri) {
        // SPEC: PAR-07: the client is not let in yet, so what it makes us fetch is counted for its host.
        let host = Url::parse(uri).ok().and_then(|uri| uri.host_str().map(str::to_owned)).unwrap_or_default();
        server.fetches.take(&format!("keys at {host}"), server.clock.now().mono_ns).map_err(|over| over.refusal())?;
    }
    let wanted = |keys: &KeySet| presented.names_key_of(keys);
    server.key_sets.find(uri, source, wanted).await.map_err(|error| {
        tracing::warn!(agent = %agent.id, %error, "the agent's keys cannot be used");
        // SPEC: X-11: not whether there is such a client, nor where its keys are.
        failed()
    })
}
