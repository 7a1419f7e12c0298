//! POST: an identity provider says that a person's session there has ended.
//!
//! Implements OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8. With that session ends everything that the person handed
//! out: an agent that goes on acting for someone who logged out is what this is here to prevent. A token that names the
//! session alone (`sid`) is good as well: the sessions of people who signed in are remembered.

use super::{
    EVENT,
    end::{self, Cause, Means},
};
use crate::{
    Server,
    grants::{
        attempt::{Attempt, Once},
        outcome::Facts,
    },
    http::{
        error::{At, Rejection, json_response},
        form::Form,
        origin::{Incoming, network},
    },
    signin::provider::settings::ProviderSettings,
    tokens::{issue, record, record::Entry},
};
use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use remit_model::{Code, Human, Refusal};
use remit_store::JtiKind;
use remit_token::{
    Skew,
    logout_token::{self, LogoutToken},
};
use serde_json::json;
use std::sync::Arc;

/// Longest logout token that is looked at, in bytes.
const SIZE_LIMIT: usize = 8 * 1_024;

/// The path at which a provider delivers, to be registered there as its `backchannel_logout_uri`.
pub fn path(provider: &str) -> String {
    format!("/oauth/backchannel-logout/{provider}")
}

pub(crate) async fn receive(server: &Server, name: &str, incoming: Incoming) -> Response<Body> {
    let attempt = Attempt::new(At::BackchannelLogout, incoming.origin.clone());
    let headers = incoming.headers.clone();
    let facts = Facts::default();
    // The name is a stranger's word until it is one of ours.
    let Some(provider) = server.sign_in_methods().provider(name) else {
        let refusal = Refusal::new(Code::NotFound, "there is no such identity provider here");
        let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
        return issue::refuse(server, &headers, entry, Vec::new(), refusal.into()).await;
    };
    let facts = facts.fact("provider", provider.name.clone());
    match take(server, &provider, incoming).await {
        Ok(()) => done(),
        Err(rejection) => {
            tracing::warn!(provider = provider.name, reason = ?rejection, "a logout token was refused");
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &facts, check: None };
            issue::refuse(server, &headers, entry, Vec::new(), rejection).await
        }
    }
}

/// SPEC: §2.8: 200, and no cache keeps it.
fn done() -> Response<Body> {
    let mut response = json_response(StatusCode::OK, &json!({}));
    response.headers_mut().remove(header::CONTENT_TYPE);
    *response.body_mut() = Body::empty();
    response
}

async fn take(server: &Server, provider: &ProviderSettings, incoming: Incoming) -> Result<(), Rejection> {
    let Incoming { origin, form, .. } = incoming;
    let token = match verified(server, provider, form).await {
        Ok(token) => token,
        Err(rejection) => {
            // INVARIANT: only what could not be verified is counted. Strangers behind its address cannot hold back its tokens.
            let peer = origin.peer.map(network).unwrap_or_default();
            server.logouts.take(&peer, server.clock.now().mono_ns).map_err(|over| over.refusal())?;
            return Err(rejection);
        }
    };
    let people = people(server, provider, &token);
    let mut cause = Cause::new(provider.name.as_str(), Means::BackchannelLogout);
    cause.event = Some(&token.jti);
    cause.origin = Some(&origin);
    cause.facts.insert("named_by".to_owned(), json!(if token.sub.is_some() { "sub" } else { "sid" }));
    // SPEC: §2.6 step 8: a token counts once.
    let key = format!("{EVENT}{} {}", provider.name, record::hash(&token.jti));
    end::end_people(server, &people, &cause, &[Once { kind: JtiKind::Other, key, until: token.until }]).await?;
    Ok(())
}

/// SPEC: §2.6. The keys are the provider's, found and refreshed as for its ID tokens.
async fn verified(server: &Server, provider: &ProviderSettings, form: Result<Form, Refusal>) -> Result<LogoutToken, Rejection> {
    let form = form?;
    let compact = form.required("logout_token")?;
    if compact.len() > SIZE_LIMIT {
        return Err(Refusal::new(Code::RequestTooLarge, format!("a logout token has at most {SIZE_LIMIT} bytes")).into());
    }
    let (now, skew) = (server.now(), Skew::seconds(server.settings.skew));
    let expect = logout_token::Expect { issuer: &provider.issuer, client_id: &provider.client_id };
    // What is no logout token of this provider for us is refused before anything is fetched for it.
    logout_token::check(compact, &expect, now, skew)?;
    let metadata = server.discovery.metadata(&provider.issuer).await?;
    let keys = server.discovery.logout_keys(&metadata, compact).await?;
    Ok(logout_token::verify(compact, &keys, &expect, now, skew)?)
}

/// Whom the token is about: by `sub`, and by `sid` only where that is all it says.
fn people(server: &Server, provider: &ProviderSettings, token: &LogoutToken) -> Vec<Arc<Human>> {
    let snapshot = server.store.snapshot();
    match (&token.sub, &token.sid) {
        (Some(sub), _) => end::accounts(&snapshot, &provider.issuer, sub),
        (None, Some(sid)) => {
            let name = server.asking.of_session(&provider.issuer, sid);
            name.and_then(|name| snapshot.human(&name).cloned()).into_iter().collect()
        }
        (None, None) => Vec::new(),
    }
}
