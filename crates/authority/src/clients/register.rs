//! The registration endpoint: a program describes itself and gets a `client_id`.
//!
//! Implements RFC 7591 without stored state: the `client_id` holds the registration, sealed under a key of the store, and is
//! good for an hour. A registration costs us nothing; only a person's consent makes an agent of it (`admission.rs`). Rules
//! DR-01 to DR-03, DR-05. It deliberately has no management endpoint (RFC 7592): there is nothing to manage before a consent,
//! and afterwards an administrator does.

use crate::{
    Server,
    clients::{
        identifier,
        metadata::{ClientMetadata, Origin},
        rules::Admission,
    },
    grants::{attempt::Attempt, outcome::Facts},
    http::{
        error::{self, At, Rejection},
        origin::{RequestOrigin, network},
    },
    signin::seal::Purpose,
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode},
};
use remit_model::{
    Code, Refusal,
    json::{self, Limits, Numbers},
};
use serde_json::{Value, json as object};

/// Largest registration, in bytes.
pub(crate) const BODY_LIMIT: usize = 8 * 1_024;
const LIMITS: Limits = Limits { bytes: BODY_LIMIT, depth: 8, members: 256, numbers: Numbers::ExactDoubles };
/// Seconds for which a registration waits for a person. SPEC: DR-02
pub(crate) const WAITS: i64 = 3_600;
/// Longest `client_id` we give out, in bytes: it stands in every token.
const CLIENT_ID_LIMIT: usize = 1_024;

/// Answers a registration. SPEC: DR-01
pub(crate) async fn register(
    server: &Server,
    origin: RequestOrigin,
    headers: &HeaderMap,
    body: Result<Vec<u8>, Refusal>,
) -> Response<Body> {
    match registered(server, &origin, body) {
        Ok(answer) => error::json_response(StatusCode::CREATED, &answer),
        Err(rejection) => {
            let attempt = Attempt::new(At::Register, origin);
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &Facts::default(), check: None };
            issue::refuse(server, headers, entry, Vec::new(), rejection).await
        }
    }
}

fn registered(server: &Server, origin: &RequestOrigin, body: Result<Vec<u8>, Refusal>) -> Result<Value, Rejection> {
    if server.settings.clients.registration == Admission::Off {
        let reason = "programs do not register themselves here; an administrator registers them with `remit agent add`";
        return Err(Refusal::new(Code::NotFound, reason).into());
    }
    // SPEC: N-DR-01
    let from = origin.peer.map(network).unwrap_or_default();
    server.registrations.take(&from, server.clock.now().mono_ns).map_err(|over| over.refusal())?;
    let metadata = ClientMetadata::read(&json::parse(&body?, &LIMITS)?, Origin::Registration)?;
    if let Some(uri) = &metadata.jwks_uri {
        let checked = server.outbound.check(uri, remit_outbound::Source::Stranger);
        checked.map_err(|error| Refusal::new(Code::RequestMalformed, error.to_string()))?;
    }
    let now = server.now();
    let name = identifier::slug(&metadata.name);
    let expires = now.plus(WAITS);
    let sealed = server.seal.seal(Purpose::Registration, name.as_bytes(), &metadata, expires, &server.entropy)?;
    let client_id = identifier::dynamic(&name, &sealed);
    if client_id.len() > CLIENT_ID_LIMIT {
        let reason = "the metadata is too long to be registered: list fewer redirect URIs, or your keys at a `jwks_uri`";
        return Err(Refusal::new(Code::RequestTooLarge, reason).into());
    }
    // No record of its own: nothing has happened yet, and anyone can send any number of these. The next heartbeat counts them.
    server.store.count_public_read("client_registration");
    let mut answer = metadata.to_value();
    if let Some(members) = answer.as_object_mut() {
        members.insert("client_id".to_owned(), object!(client_id));
        members.insert("client_id_issued_at".to_owned(), object!(now));
    }
    Ok(answer)
}
