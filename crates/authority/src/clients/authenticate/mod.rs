//! Who is asking: client authentication.
//!
//! Implements RFC 6749 §2.3; rules TK-01 to TK-04, X-07, X-08. Each method has a file of its own: `private_key_jwt` for agents
//! with keys, and `none` for agents without a credential, which then may use the authorization code flow alone, with PKCE and
//! DPoP.

mod private_key_jwt;
mod public;

use crate::{
    Server,
    clients::{credential::ClientCredential, identifier},
    http::{error::At, form::Form},
};
use axum::http::{HeaderMap, header};
use remit_decide::active;
use remit_model::{Agent, Code, Refusal, UnixTime};
use remit_store::Snapshot;
use remit_token::assertion;
use std::sync::Arc;

/// A registered agent that identified itself; with a credential, proved it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) agent: Arc<Agent>,
    /// `None` for a public client.
    pub(crate) credential: Option<ClientCredential>,
}

impl Client {
    /// The agent's subject, by which codes and tokens are kept. What it calls itself is [`Agent::client_id`].
    pub(crate) fn id(&self) -> String {
        self.agent.id.subject()
    }

    /// SPEC: CC-01, TX-03 (public clients are refused)
    pub(crate) fn confidential(&self) -> Result<&ClientCredential, Refusal> {
        self.credential
            .as_ref()
            .ok_or_else(|| Refusal::new(Code::ClientNotAllowed, "this needs an agent with registered keys (`private_key_jwt`)"))
    }
}

/// SPEC: TK-01
pub(crate) async fn authenticate(
    server: &Server,
    snapshot: &Snapshot,
    headers: &HeaderMap,
    form: &Form,
    now: UnixTime,
) -> Result<Client, Refusal> {
    one_method(headers, form)?;
    let client = match form.one("client_assertion") {
        Some(compact) => by_assertion(server, snapshot, form, compact, now).await?,
        None => public::identify(snapshot, form)?,
    };
    active::agent(&client.agent)?;
    Ok(client)
}

/// Refuses two credentials, and those we have no use for. SPEC: N-TK-01, X-08
fn one_method(headers: &HeaderMap, form: &Form) -> Result<(), Refusal> {
    let asserted = form.has("client_assertion") || form.has("client_assertion_type");
    let header = headers.contains_key(header::AUTHORIZATION);
    let secret = form.has("client_secret");
    if [asserted, header, secret].into_iter().filter(|given| *given).count() > 1 {
        return Err(Refusal::new(Code::RequestMalformed, "the client is authenticated in two ways; use one"));
    }
    if header || secret {
        return Err(unauthenticated("there are no client secrets here; use `private_key_jwt`"));
    }
    Ok(())
}

/// SPEC: TK-04
async fn by_assertion(
    server: &Server,
    snapshot: &Snapshot,
    form: &Form,
    compact: &str,
    now: UnixTime,
) -> Result<Client, Refusal> {
    if form.one("client_assertion_type") != Some(assertion::ASSERTION_TYPE) {
        return Err(unauthenticated("`client_assertion_type` must be the jwt-bearer type of RFC 7523"));
    }
    let unreadable = |refusal: Refusal| unauthenticated(&refusal.reason);
    let presented = assertion::Presented::read(compact).map_err(unreadable)?;
    let claimed = presented.client_id().map_err(unreadable)?;
    if form.one("client_id").is_some_and(|client_id| client_id != claimed) {
        return Err(unauthenticated("`client_id` is not the client of the assertion"));
    }
    let agent = find(snapshot, claimed)?;
    let credential = private_key_jwt::verify(server, &agent, &presented, now).await?;
    Ok(Client { agent, credential: Some(credential) })
}

fn find(snapshot: &Snapshot, client_id: &str) -> Result<Arc<Agent>, Refusal> {
    identifier::registered(snapshot, client_id).ok_or_else(failed)
}

/// The same words for an unknown client, a wrong key and a missing proof. SPEC: X-11
fn failed() -> Refusal {
    unauthenticated("client authentication failed")
}

fn unauthenticated(reason: &str) -> Refusal {
    Refusal::new(Code::ClientUnauthenticated, reason)
}

/// The challenge a 401 carries when the client used the `Authorization` header. SPEC: X-07
pub(crate) fn challenge(headers: &HeaderMap, at: At) -> Option<String> {
    if at == At::UserInfo {
        return None;
    }
    let scheme = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split(' ').next()?;
    scheme.bytes().all(|b| b.is_ascii_alphanumeric()).then(|| format!("{scheme} realm=\"remit\""))
}
