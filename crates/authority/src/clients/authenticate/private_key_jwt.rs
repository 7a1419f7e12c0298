//! `private_key_jwt`: the agent signs with a key of its own, registered here or published at its `jwks_uri`.
//!
//! Implements RFC 7523 §2.2 and RFC 7591 §2 (`jwks_uri`); rules TK-04, J-09, F-05.

use crate::{
    Server,
    clients::{
        client::{failed, unauthenticated},
        credential::{ClientCredential, Method},
    },
};
use remit_model::{Agent, AssertionAudience, Code, Credential, Refusal, Registration, UnixTime};
use remit_outbound::Source;
use remit_token::{
    KeySet, Skew,
    assertion::{Expect, Presented},
};
use std::sync::Arc;

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
    let assertion = presented.verify(&keys, &expect, now, Skew::seconds(skew)).map_err(|refusal| match refusal.code {
        Code::TokenSignatureInvalid => failed(),
        _ => unauthenticated(&refusal.reason),
    })?;
    let key = (method == Method::JwksUri).then(|| presented.key_in(&keys)).flatten();
    Ok(ClientCredential::own(method, &assertion, skew, key))
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
    let wanted = |keys: &KeySet| presented.names_key_of(keys);
    server.key_sets.find(uri, source, wanted).await.map_err(|error| {
        tracing::warn!(agent = %agent.id, %error, "the agent's keys cannot be used");
        unauthenticated("the keys at the client's `jwks_uri` cannot be fetched now, or cannot be used; the server's log says why")
    })
}
