//! Who is asking: client authentication.
//!
//! Implements RFC 6749 §2.3; rules TK-01 to TK-04, X-07, X-08. Each method has a file of its own: `private_key_jwt` for agents
//! with keys, certificates for those that are registered with one or with a SPIFFE ID, and `none` for agents without a credential,
//! which then may use the authorization code flow alone, with PKCE and DPoP. Where an issuer vouches for the agent, its token tells
//! which agent it is, so `client_id` may be missing.

mod certificate;
mod mapped;
mod private_key_jwt;
mod public;
mod spiffe;
mod workload;

use crate::{
    Server,
    clients::client::{Client, find, unauthenticated},
    http::{error::At, form::Form},
};
use axum::http::{HeaderMap, header};
use remit_decide::active;
use remit_model::{Agent, Code, Refusal, SpiffeId, UnixTime};
use remit_store::Snapshot;
use remit_token::{PeerCertificate, assertion, workload::Presented};
use std::sync::Arc;

/// The grant of RFC 7523 §2.1.
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// SPEC: TK-01
pub(crate) async fn authenticate(
    server: &Server,
    snapshot: &Snapshot,
    headers: &HeaderMap,
    shown: Option<&PeerCertificate>,
    form: &Form,
    now: UnixTime,
) -> Result<Client, Refusal> {
    one_method(headers, form)?;
    let client = match (form.one("client_assertion"), by_grant(server, snapshot, form)) {
        // A certificate that comes besides is what the client's tokens may be bound to, not who it is.
        (Some(compact), _) => by_assertion(server, snapshot, form, compact, now).await?,
        (None, Some(compact)) => match by_certificate(server, snapshot, form, shown, now).await {
            // Who authenticates by certificate redeems what another issuer says of a person.
            Some(client) if !is_of_voucher(server, compact) => client,
            _ => vouched(server, snapshot, form, compact, now).await.map_err(mapped::as_grant)?,
        },
        (None, None) => without_assertion(server, snapshot, form, shown, now).await?,
    };
    active::agent(&client.agent)?;
    Ok(client)
}

/// The client that the request names, if the certificate of the connection is its credential.
async fn by_certificate(
    server: &Server,
    snapshot: &Snapshot,
    form: &Form,
    shown: Option<&PeerCertificate>,
    now: UnixTime,
) -> Option<Client> {
    let named = form.one("client_id").and_then(|claimed| find(snapshot, claimed).ok());
    let agent = named.filter(|agent| certificate::is_for(agent))?;
    let credential = certificate::verify(server, &agent, shown?, now).await.ok()?;
    Some(Client { agent, credential: Some(credential) })
}

/// Whether the assertion says that it is of an issuer or a trust domain that vouches for agents. It is not verified yet.
fn is_of_voucher(server: &Server, compact: &str) -> bool {
    Presented::read(compact).is_ok_and(|presented| {
        let of_domain = presented.subject().is_ok_and(|subject| SpiffeId::parse(subject).is_ok());
        of_domain || presented.issuer().is_ok_and(|iss| server.workload_issuers.find(iss).is_some())
    })
}

/// By the certificate of the connection, or by name alone.
async fn without_assertion(
    server: &Server,
    snapshot: &Snapshot,
    form: &Form,
    shown: Option<&PeerCertificate>,
    now: UnixTime,
) -> Result<Client, Refusal> {
    let named = form.one("client_id").and_then(|claimed| find(snapshot, claimed).ok());
    let (Some(shown), Some(agent)) = (shown, named.filter(|agent| certificate::is_for(agent))) else {
        return public::identify(snapshot, form);
    };
    let credential = certificate::verify(server, &agent, shown, now).await?;
    Ok(Client { agent, credential: Some(credential) })
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
    match form.one("client_assertion_type") {
        Some(assertion::ASSERTION_TYPE) => {}
        Some(spiffe::ASSERTION_TYPE) => return spiffe::verify(server, snapshot, named(snapshot, form)?, compact, now).await,
        _ => return Err(unauthenticated("`client_assertion_type` must be the jwt-bearer type of RFC 7523, or jwt-spiffe")),
    }
    let unreadable = |refusal: Refusal| unauthenticated(&refusal.reason);
    let presented = assertion::Presented::read(compact).map_err(unreadable)?;
    if !presented.is_own() {
        return workload::verify(server, snapshot, named(snapshot, form)?, compact, now).await;
    }
    let claimed = presented.client_id().map_err(unreadable)?;
    if form.one("client_id").is_some_and(|client_id| client_id != claimed) {
        return Err(unauthenticated("`client_id` is not the client of the assertion"));
    }
    let agent = find(snapshot, claimed).map_err(|_| private_key_jwt::of_nobody(server, claimed, &presented, now))?;
    let credential = private_key_jwt::verify(server, &agent, &presented, now).await?;
    Ok(Client { agent, credential: Some(credential) })
}

/// The agent that the request names. A credential of an issuer does not name one, and need not come with a name. SPEC: JB-05
fn named(snapshot: &Snapshot, form: &Form) -> Result<Option<Arc<Agent>>, Refusal> {
    form.one("client_id").map(|client_id| find(snapshot, client_id)).transpose()
}

/// The assertion of a jwt-bearer grant that may be all that its client shows: a token by which an issuer vouches for it. SPEC: JB-05
fn by_grant<'f>(server: &Server, snapshot: &Snapshot, form: &'f Form) -> Option<&'f str> {
    let assertion = form.one("assertion").filter(|_| form.one("grant_type") == Some(JWT_BEARER))?;
    let public =
        form.one("client_id").and_then(|client_id| find(snapshot, client_id).ok()).is_some_and(|agent| agent.is_public());
    (server.vouches() && !public).then_some(assertion)
}

/// The client for which an issuer or a trust domain vouches with this token.
async fn vouched(server: &Server, snapshot: &Snapshot, form: &Form, compact: &str, now: UnixTime) -> Result<Client, Refusal> {
    let named = named(snapshot, form)?;
    let presented = Presented::read(compact).map_err(|refusal| unauthenticated(&refusal.reason))?;
    // An SVID may have an `iss`, which says nothing: its trust domain vouches for it. SPEC: SP-02
    if presented.subject().is_ok_and(|subject| SpiffeId::parse(subject).is_ok()) {
        return spiffe::verify(server, snapshot, named, compact, now).await;
    }
    workload::verify(server, snapshot, named, compact, now).await
}

/// The challenge a 401 carries when the client used the `Authorization` header. SPEC: X-07
pub(crate) fn challenge(headers: &HeaderMap, at: At) -> Option<String> {
    if at == At::UserInfo {
        return None;
    }
    let scheme = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split(' ').next()?;
    scheme.bytes().all(|b| b.is_ascii_alphanumeric()).then(|| format!("{scheme} realm=\"remit\""))
}
