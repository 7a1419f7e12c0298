//! A pushed authorization request between the push and the browser that brings it back.
//!
//! Implements RFC 9126 §2.2 and §4 without stored state: the `request_uri` holds the request, sealed under a key of the store,
//! so that it is good at every replica and cannot be guessed or changed. That it was used is remembered in the batch that
//! records the person's decision. Rules PAR-03, PAR-04. `push.rs` is the endpoint.

use crate::{Server, grants::attempt::Once, http::error::Rejection, http::form::Form, signin::seal::Purpose};
use remit_model::{Code, Fault, Refusal, UnixTime};
use remit_store::JtiKind;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// Seconds from the push to the browser. SPEC: PAR-03
pub(crate) const LIFETIME: i64 = 60;
/// Longest `request_uri`, in bytes: proxies take URLs of 8 KiB.
const URI_LIMIT: usize = 7 * 1_024;
/// The parameters of an authorization request. Nothing else that is pushed is kept, least of all what the client authenticated
/// with.
const PARAMETERS: [&str; 18] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "authorization_details",
    "prompt",
    "max_age",
    "acr_values",
    "login_hint",
    "ui_locales",
    "response_mode",
    "requested_lifetime",
    "purpose",
];

/// What a `request_uri` holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pushed {
    pub(crate) client_id: String,
    /// The parameters as a query.
    query: String,
    pub(crate) used: UsedOnce,
}

/// The identity of a pushed request. SPEC: PAR-03
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsedOnce {
    id: String,
    until: UnixTime,
}

impl UsedOnce {
    /// What the decision of the person uses up.
    pub(crate) fn once(&self) -> Once {
        Once { kind: JtiKind::Other, key: self.key(), until: self.until }
    }

    fn key(&self) -> String {
        format!("pushed request {}", self.id)
    }
}

/// Seals a request that was checked. `jkt` is the key of the client's proof, if it sent one. SPEC: PAR-03, PAR-05
///
/// # Errors
/// `request_too_large` for a request that no URL can hold.
pub(crate) fn seal(server: &Server, form: &Form, client_id: &str, jkt: Option<&str>, now: UnixTime) -> Result<String, Rejection> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in PARAMETERS {
        query.extend_pairs(form.all(name).map(|value| (name, value)));
    }
    query.extend_pairs(jkt.or_else(|| form.one("dpop_jkt")).map(|jkt| ("dpop_jkt", jkt)));
    // A person may sign in and decide for as long as the pages live; the request is used up by then.
    let used = UsedOnce { id: server.entropy.token(16), until: now.plus(3_600) };
    let pushed = Pushed { client_id: client_id.to_owned(), query: query.finish(), used };
    let sealed = server.seal.seal(Purpose::Pushed, b"", pushed, now.plus(LIFETIME), &server.entropy)?;
    let uri = format!("{PREFIX}{sealed}");
    if uri.len() > URI_LIMIT {
        let reason = format!(
            "the request takes {} bytes as a `request_uri`, more than {URI_LIMIT}; ask for fewer grants, or send it to the \
             authorization endpoint by POST",
            uri.len()
        );
        return Err(Refusal::new(Code::RequestTooLarge, reason).into());
    }
    Ok(uri)
}

/// The request that a browser brings back, unless it was used. SPEC: PAR-04, N-PAR-01 to N-PAR-03
///
/// # Errors
/// `request_malformed` for a reference that is not ours, has expired, was used, or is another client's.
pub(crate) async fn open(server: &Server, uri: &str, client_id: &str, now: UnixTime) -> Result<(Form, UsedOnce), Rejection> {
    let refused = |reason: &str| Rejection::from(Refusal::new(Code::RequestMalformed, reason));
    let sealed = uri.strip_prefix(PREFIX);
    let sealed =
        sealed.ok_or_else(|| refused("`request_uri` must be one that our push endpoint gave; nothing else is fetched"))?;
    let pushed: Option<Pushed> = server.seal.open(Purpose::Pushed, b"", sealed, now);
    let pushed = pushed.ok_or_else(|| refused("the pushed request is unknown or has expired; start again from the program"))?;
    if pushed.client_id != client_id {
        return Err(refused("the request was pushed by another program"));
    }
    if server.store.was_used(JtiKind::Other, &pushed.used.key()).await.map_err(Fault::new)? {
        return Err(refused("the pushed request was used before; start again from the program"));
    }
    Ok((Form::parse(pushed.query.as_bytes())?, pushed.used))
}
