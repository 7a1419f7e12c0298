//! The page on which a person types the code that a device shows.
//!
//! Implements RFC 8628 §3.3 and §5.1; rules DG-02, N-DG-01. What follows is the sign-in and consent of every other request.

use crate::{
    Server,
    http::origin::Incoming,
    signin::{
        consent,
        devices::{Device, DeviceRequest},
        pages,
        request::{AuthorizationRequest, Prompt, ReturnTo},
        throttle::Source,
    },
};
use axum::{
    body::Body,
    http::{Method, Response, StatusCode},
};

/// Wrong codes from one network before it must wait, and for how long.
const ATTEMPTS: u32 = 10;
const WINDOW: i64 = 900;
/// Longest text in the field that is looked at.
const TYPED_LIMIT: usize = 32;

/// GET shows the page, POST looks for the device.
pub(crate) async fn page(server: &Server, method: &Method, incoming: Incoming) -> Response<Body> {
    let Incoming { origin, headers, form } = incoming;
    let form = match form {
        Ok(form) => form,
        Err(refusal) => return pages::problem(&refusal, None),
    };
    let typed: String = form.one("user_code").unwrap_or_default().chars().take(TYPED_LIMIT).collect();
    if *method == Method::GET {
        return pages::html(StatusCode::OK, &pages::DeviceCode { user_code: &typed, message: None }, "");
    }
    let now = server.now();
    // SPEC: N-DG-01: strangers guess within one limit for each network and one for all of them together; who is signed in has a limit
    // of their own, so that no flood of guesses keeps them out.
    let user = server.sessions.known(&headers, &server.issuer, now).and_then(|browser| browser.user);
    let source = user.as_ref().map_or(Source::Address(origin.peer), |user| Source::Known(&user.name));
    if let Err(refusal) = server.throttle.attempt("the code of a device", source, ATTEMPTS, WINDOW, now) {
        return pages::problem(&refusal, None);
    }
    let Some((device, request)) = server.devices.find(&typed, now) else {
        let message = Some("That code is unknown or has expired. Check the device and try again.");
        return pages::html(StatusCode::NOT_FOUND, &pages::DeviceCode { user_code: &typed, message }, "");
    };
    consent::proceed(server, origin, &headers, asked(server, device, request), now).await
}

/// The request that the person decides about.
fn asked(server: &Server, device: Device, request: DeviceRequest) -> AuthorizationRequest {
    let DeviceRequest { client, asked, challenge, .. } = request;
    AuthorizationRequest {
        client,
        back: ReturnTo { redirect_uri: server.url("/oauth/device"), state: None, device: Some(Box::new(device)) },
        nonce: None,
        challenge,
        asked,
        dpop_jkt: None,
        prompt: Prompt::default(),
        max_age: None,
        acr_values: Vec::new(),
        stepped_up: false,
        login_hint: None,
        candidate: None,
        pushed: None,
    }
}
