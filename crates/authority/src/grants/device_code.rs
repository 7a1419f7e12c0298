//! The device flow for programs without a browser: a code to show to a person, and the grant that waits for them.
//!
//! Implements RFC 8628 §3.1, §3.2, §3.4 and §3.5; rules DG-01, DG-02. An approval is an ordinary authorization code, which the
//! grant redeems in the device's name; so what the person saw is what the device gets (N-DG-04). Programs that registered
//! themselves have no device flow: a link with a code in it is how people are tricked into approving a stranger's program.

use crate::{
    Server,
    grants::{
        attempt::{Attempt, Entered, enter},
        authorization_code,
        outcome::{Facts, Outcome},
        request::TokenRequest,
        requested::{RequestedAuthority, Targets},
    },
    http::{
        error::{self, At, Rejection},
        origin::Incoming,
    },
    signin::devices::{self, DeviceRequest},
    tokens::{issue, record::Entry},
};
use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::{Code, Refusal, Registration, UnixTime, json};
use remit_store::Batch;
use serde_json::{Value, json as object};

/// `POST /oauth/device_authorization`. SPEC: DG-01
pub(crate) async fn begin(server: &Server, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let now = server.now();
    let attempt = Attempt::new(At::Device, origin);
    let (attempt, answer) = if server.settings.device_flow {
        let (attempt, entered) = enter(server, attempt, &headers, form, now).await;
        let answer = match entered {
            Ok(entered) => begun(server, &attempt, &entered, now).await,
            Err(refusal) => Err(refusal.into()),
        };
        (attempt, answer)
    } else {
        let off = Refusal::new(Code::NotFound, "the device flow is switched off here (`agents.device_flow`)");
        (attempt, Err(off.into()))
    };
    match answer {
        Ok(body) => error::json_response(StatusCode::OK, &body),
        Err(rejection) => {
            let entry = Entry { tenant: &server.tenant, attempt: &attempt, facts: &Facts::default(), check: None };
            issue::refuse(server, &headers, entry, Vec::new(), rejection).await
        }
    }
}

async fn begun(server: &Server, attempt: &Attempt, entered: &Entered, now: UnixTime) -> Result<Value, Rejection> {
    let Entered { form, snapshot, client } = entered;
    if client.agent.client.registration != Registration::Administrator {
        let reason = "programs that registered themselves have no device flow; sign in with a browser, or have an administrator \
                      register the program";
        return Err(Refusal::new(Code::ClientNotAllowed, reason).into());
    }
    let asked = RequestedAuthority::read(form, &server.servers)?;
    let targets = Targets { issuer: &server.issuer, servers: &server.servers, snapshot };
    for target in &asked.targets {
        targets.find(target)?;
    }
    if asked.lifetime.is_some_and(|seconds| seconds > server.settings.consent) {
        let reason = format!("a consent lasts at most {} seconds", server.settings.consent);
        return Err(Refusal::new(Code::WidensLifetime, reason).into());
    }
    let device_code = server.entropy.token(32);
    let challenge = URL_SAFE_NO_PAD.encode(json::sha256(verifier(&device_code).as_bytes()));
    let request = DeviceRequest { client: client.agent.id.clone(), asked, challenge, from: attempt.origin.peer };
    let user_code = devices::shown(&server.devices.begin(&device_code, request, &server.entropy, now)?);
    if !attempt.once.is_empty() {
        issue::commit(server, &attempt.once, None, Batch::new(server.tenant.clone())).await?;
    }
    let page = server.url("/oauth/device");
    Ok(object!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={user_code}"),
        "expires_in": devices::LIFETIME,
        "interval": devices::INTERVAL,
    }))
}

/// The PKCE verifier of the approval's code: only who holds the device code can compute it.
fn verifier(device_code: &str) -> String {
    URL_SAFE_NO_PAD.encode(json::sha256(format!("device code verifier\0{device_code}").as_bytes()))
}

/// Redeems the approval, if the person has decided.
///
/// # Errors
/// As long as there is no approval, the reason: see `Devices::poll`; and as [`authorization_code::redeem`].
pub(crate) async fn redeem(request: &TokenRequest<'_>) -> Result<Outcome, Rejection> {
    let device_code = request.form.required("device_code")?;
    let code = request.server.devices.poll(device_code, &request.client.agent.id, request.now)?;
    let outcome = authorization_code::redeem_with(request, &code, Some(&verifier(device_code))).await?;
    if outcome.grant.is_ok() {
        request.server.devices.end(device_code);
    }
    Ok(outcome)
}
