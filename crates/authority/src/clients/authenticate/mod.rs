//! Who is asking: client authentication.
//!
//! Implements RFC 6749 §2.3; rules TK-01 to TK-04, X-07, X-08. Each method has a file of its own: `private_key_jwt` for agents
//! with keys, and `none` for agents without a credential, which then may use the authorization code flow alone, with PKCE and
//! DPoP.

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
use remit_model::{Code, Refusal, UnixTime};
use remit_store::Snapshot;
use remit_token::assertion;

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
    match form.one("client_assertion_type") {
        Some(assertion::ASSERTION_TYPE) => {}
        Some(spiffe::ASSERTION_TYPE) => {
            let agent = find(snapshot, named(form)?)?;
            let credential = spiffe::verify(server, &agent, compact, now).await?;
            return Ok(Client { agent, credential: Some(credential) });
        }
        _ => return Err(unauthenticated("`client_assertion_type` must be the jwt-bearer type of RFC 7523, or jwt-spiffe")),
    }
    let unreadable = |refusal: Refusal| unauthenticated(&refusal.reason);
    let presented = assertion::Presented::read(compact).map_err(unreadable)?;
    if !presented.is_own() {
        let agent = find(snapshot, named(form)?)?;
        let credential = workload::verify(server, &agent, compact, now).await?;
        return Ok(Client { agent, credential: Some(credential) });
    }
    let claimed = presented.client_id().map_err(unreadable)?;
    if form.one("client_id").is_some_and(|client_id| client_id != claimed) {
        return Err(unauthenticated("`client_id` is not the client of the assertion"));
    }
    let agent = find(snapshot, claimed)?;
    let credential = private_key_jwt::verify(server, &agent, &presented, now).await?;
    Ok(Client { agent, credential: Some(credential) })
}

/// The client that a credential of an issuer is for: such a token does not name it.
fn named(form: &Form) -> Result<&str, Refusal> {
    let missing = "the client assertion does not name an agent (`iss` and `sub` are not the same); name it with `client_id`";
    form.one("client_id").ok_or_else(|| unauthenticated(missing))
}

/// The challenge a 401 carries when the client used the `Authorization` header. SPEC: X-07
pub(crate) fn challenge(headers: &HeaderMap, at: At) -> Option<String> {
    if at == At::UserInfo {
        return None;
    }
    let scheme = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split(' ').next()?;
    scheme.bytes().all(|b| b.is_ascii_alphanumeric()).then(|| format!("{scheme} realm=\"remit\""))
}
