//! The endpoints: who asks, what they ask, one batch of records, one answer. SPEC: AU-01, AU-02, AU-04, AU-07 … AU-09.

use super::{
    evaluate::{View, may_ask},
    point::{Authzen, EVALUATE, NAME},
    record::{Asking, endpoint},
    wire::{self, Asked, Evaluation},
};
use crate::{
    gateway::Gateway,
    road::{
        admit,
        challenge::{self, Challenge},
        commit,
        identify::{self, Caller, IncomingRequest, Unidentified},
        metadata,
        record::RequestRecord,
        rejection::Rejection,
        request_origin::RequestOrigin,
    },
};
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use remit_ledger::record::Draft;
use remit_model::{
    json::{self, Limits, Numbers},
    refusal::{Code, Refusal},
};
use remit_store::Batch;
use remit_token::PeerCertificate;
use serde_json::{Value, json as js};
use std::{net::SocketAddr, sync::Arc};

const EVALUATION_ROUTE: &str = "/access/v1/evaluation";
const EVALUATIONS_ROUTE: &str = "/access/v1/evaluations";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is given back, in bytes.
const REQUEST_ID_LIMIT: usize = 128;

/// The endpoints and the documents that describe them.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route(EVALUATION_ROUTE, any(evaluation))
        .route(EVALUATIONS_ROUTE, any(evaluations))
        .route("/.well-known/authzen-configuration", get(configuration))
        .route("/.well-known/oauth-protected-resource/access/v1", get(resource_metadata))
}

async fn configuration(State(gateway): State<Arc<Gateway>>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refusal) = admit::origin(&gateway.settings, &uri, &headers) {
        return (StatusCode::FORBIDDEN, refusal.reason).into_response();
    }
    let issuer = &gateway.settings.issuer;
    axum::Json(js!({
        "policy_decision_point": issuer,
        "access_evaluation_endpoint": format!("{issuer}{EVALUATION_ROUTE}"),
        "access_evaluations_endpoint": format!("{issuer}{EVALUATIONS_ROUTE}"),
    }))
    .into_response()
}

async fn resource_metadata(State(gateway): State<Arc<Gateway>>, uri: Uri, headers: HeaderMap) -> Response {
    match (&gateway.settings.authzen, admit::origin(&gateway.settings, &uri, &headers)) {
        (_, Err(refusal)) => (StatusCode::FORBIDDEN, refusal.reason).into_response(),
        (Some(desk), Ok(())) => axum::Json(metadata::document(&gateway.settings, &desk.server)).into_response(),
        (None, Ok(())) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn evaluation(State(gateway): State<Arc<Gateway>>, request: axum::extract::Request) -> Response {
    serve(&gateway, EVALUATION_ROUTE, Asked::one, request).await
}

async fn evaluations(State(gateway): State<Arc<Gateway>>, request: axum::extract::Request) -> Response {
    serve(&gateway, EVALUATIONS_ROUTE, Asked::many, request).await
}

type Read = fn(&Value) -> Result<Asked, Refusal>;

async fn serve(gateway: &Gateway, route: &'static str, read: Read, request: axum::extract::Request) -> Response {
    let Some(point) = &gateway.settings.authzen else { return StatusCode::NOT_FOUND.into_response() };
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let origin = RequestOrigin { peer, method: parts.method.clone(), endpoint: endpoint(route) };
    let certificate = parts.extensions.get();
    let desk = Desk { gateway, point, route, origin, headers: &parts.headers, certificate };
    let mut response = match desk.admit(&parts.method, &parts.uri).await {
        Ok(caller) => desk.serve(caller, read, body).await,
        Err(response) => response,
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Ok(id)) = desk.request_id().map(HeaderValue::from_str) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// One request at the decision point.
struct Desk<'a> {
    gateway: &'a Gateway,
    point: &'a Authzen,
    route: &'static str,
    origin: RequestOrigin,
    headers: &'a HeaderMap,
    certificate: Option<&'a PeerCertificate>,
}

impl Desk<'_> {
    /// What the asker calls the request. One that is too long, or not of printable ASCII, is none.
    fn request_id(&self) -> Option<&str> {
        let id = self.headers.get(REQUEST_ID)?.to_str().ok()?;
        (1..=REQUEST_ID_LIMIT).contains(&id.len()).then_some(id).filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()))
    }

    /// Who asks. SPEC: AU-08.
    async fn admit(&self, method: &Method, uri: &Uri) -> Result<Caller, Response> {
        let gateway = self.gateway;
        let plain = |refusal: Refusal| self.response(&refusal);
        admit::origin(&gateway.settings, uri, self.headers).map_err(plain)?;
        if method != Method::POST {
            return Err(plain(Refusal::new(Code::MethodNotAllowed, "use POST")));
        }
        let url = format!("{}{}", gateway.settings.issuer, self.route);
        let arrival = IncomingRequest {
            method: method.as_str(),
            headers: self.headers,
            url: &url,
            server: &self.point.server,
            certificate: self.certificate,
        };
        let now = gateway.clock.now();
        let identified = gateway
            .gatekeeper
            .identify(&arrival, &gateway.settings, &gateway.store, now.unix(), |client| gateway.count_request(client));
        match identified {
            Ok(caller) => Ok(caller),
            Err(unidentified) => Err(self.unauthenticated(unidentified).await),
        }
    }

    async fn unauthenticated(&self, unidentified: Unidentified) -> Response {
        let (gateway, now) = (self.gateway, self.gateway.clock.now());
        let recorded = unidentified.is_recorded(&gateway.store, &self.origin);
        let Unidentified { refusal, token, .. } = unidentified;
        if !recorded {
            return self.response(&refusal);
        }
        let mut record = RequestRecord::open(&gateway.settings, &self.point.server, &self.origin, &now);
        match &token {
            Some(token) => record.token(token, None, &gateway.store.snapshot()),
            None => record.anonymous(),
        }
        let draft = record.close(Err(&Rejection::Refusal(refusal.clone())), &now);
        match commit::commit(&gateway.store, &gateway.settings.tenant, draft).await {
            Ok(_) => self.response(&refusal),
            Err(unavailable) => self.response(&unavailable),
        }
    }

    async fn serve(&self, mut caller: Caller, read: Read, body: Body) -> Response {
        let asked = self.read(&caller, read, body).await;
        // A body may be long in coming; what ended meanwhile has ended.
        let still = caller.again(&self.gateway.settings, &self.gateway.store.snapshot(), self.gateway.clock.unix());
        let mut response = match asked.and_then(|asked| still.map(|()| asked)) {
            Ok(asked) => self.answer(&caller, asked).await,
            Err(refusal) => self.refuse(&caller, refusal).await,
        };
        if self.gateway.settings.nonce_required || caller.proof.as_ref().is_some_and(|proof| proof.nonce.is_some()) {
            let nonce = HeaderValue::from_str(&self.gateway.gatekeeper.nonce(self.gateway.clock.unix()));
            response.headers_mut().extend(nonce.ok().map(|nonce| (HeaderName::from_static("dpop-nonce"), nonce)));
        }
        response
    }

    async fn read(&self, caller: &Caller, read: Read, body: Body) -> Result<Asked, Refusal> {
        let (gateway, desk) = (self.gateway, &self.point.server);
        if !caller.authority.authority.could_call(&desk.location, EVALUATE, gateway.clock.unix()) {
            return Err(Refusal::new(Code::ToolNotGranted, format!("`{NAME}:{EVALUATE}` is not granted")));
        }
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Refusal::new(Code::MediaTypeUnsupported, "the body must be `application/json`"));
        }
        let most = gateway.settings.request_bytes;
        let bytes = admit::whole(body, most).await?;
        let limits =
            Limits { bytes: most, depth: gateway.settings.request_depth, numbers: Numbers::AsWritten, ..Limits::REQUEST };
        let asked = read(&json::parse(&bytes, &limits)?)?;
        if let Some(outage) = gateway.store.outage().filter(|_| !self.point.reads_in_outage) {
            return Err(gateway.store.refuse(&outage));
        }
        Ok(asked)
    }

    /// Decides in one state of the world, makes all of it durable at once, and answers.
    async fn answer(&self, caller: &Caller, asked: Asked) -> Response {
        let gateway = self.gateway;
        let (snapshot, now, policies) = (gateway.store.snapshot(), gateway.clock.now(), gateway.policy.current());
        let view = View { gateway, snapshot: &snapshot, policies: &policies, txn: &caller.token.txn, now: now.unix() };
        let asking = Asking {
            settings: &gateway.settings,
            desk: &self.point.server,
            caller,
            origin: &self.origin,
            request_id: self.request_id(),
            snapshot: &snapshot,
            now: &now,
        };
        let (items, until) = match asked {
            Asked::One(one) => {
                if let Err(refusal) = may_ask(caller, &self.point.server, &one.whole, now.unix()) {
                    return self.refuse(caller, refusal).await;
                }
                (vec![Ok(*one)], None)
            }
            Asked::Many(items, until) => (items, Some(until)),
        };
        let mut answers: Vec<(Result<(), Refusal>, Option<u16>)> = Vec::new();
        let mut batch = Batch::new(gateway.settings.tenant.clone()).note();
        for (number, item) in items.into_iter().enumerate() {
            let (result, error, draft) = self.item(&view, &asking, item, number);
            let permitted = result.is_ok();
            answers.push((result, error));
            batch = batch.record(draft);
            if until.is_some_and(|until| until.ends(permitted)) {
                break;
            }
        }
        let receipts = match gateway.store.apply(batch).await {
            Ok(applied) => applied.receipts,
            Err(error) => return self.response(&commit::unavailable(&error)),
        };
        // SPEC: AU-09: who lost their standing meanwhile is not told.
        if let Err(refusal) = identify::recheck(caller, &gateway.settings, &gateway.store.snapshot()) {
            return self.refuse(caller, refusal).await;
        }
        let mut told: Vec<Value> = (0..)
            .zip(&answers)
            .map(|(number, (result, error)): (usize, _)| wire::answer(result, *error, receipts.get(number)))
            .collect();
        match (until, told.pop()) {
            (None, Some(only)) => axum::Json(only).into_response(),
            (_, last) => {
                told.extend(last);
                axum::Json(js!({"evaluations": told})).into_response()
            }
        }
    }

    /// One evaluation: its result, the status of an error, and its record.
    fn item(
        &self,
        view: &View<'_>,
        asking: &Asking<'_>,
        item: Result<Evaluation, Refusal>,
        number: usize,
    ) -> (Result<(), Refusal>, Option<u16>, Draft) {
        let allowed = |evaluation: &Evaluation| may_ask(asking.caller, &self.point.server, &evaluation.whole, view.now);
        let refused = |refusal: Refusal, status| {
            let draft = asking.refused(&Rejection::Refusal(refusal.clone()));
            (Err(refusal), Some(status), draft)
        };
        match item {
            Err(refusal) => refused(refusal, 400),
            Ok(evaluation) => {
                if let Err(refusal) = allowed(&evaluation) {
                    return refused(refusal, 403);
                }
                let verdict = view.evaluate(&evaluation);
                (verdict.result.clone(), None, asking.record(&evaluation, verdict, number))
            }
        }
    }

    /// Records and answers a request of a known caller that is not evaluated.
    async fn refuse(&self, caller: &Caller, refusal: Refusal) -> Response {
        let (snapshot, now) = (self.gateway.store.snapshot(), self.gateway.clock.now());
        let asking = Asking {
            settings: &self.gateway.settings,
            desk: &self.point.server,
            caller,
            origin: &self.origin,
            request_id: None,
            snapshot: &snapshot,
            now: &now,
        };
        match commit::commit(
            &self.gateway.store,
            &self.gateway.settings.tenant,
            asking.refused(&Rejection::Refusal(refusal.clone())),
        )
        .await
        {
            Ok(_) => self.response(&refusal),
            Err(unavailable) => self.response(&unavailable),
        }
    }

    /// A refusal as HTTP: the status, the challenge where it is about who asks, and the reason in words. SPEC: AU-04.
    fn response(&self, refusal: &Refusal) -> Response {
        let nonce = self.gateway.gatekeeper.nonce(self.gateway.clock.unix());
        let scope = format!("{NAME}:{EVALUATE}");
        let status = challenge::status(refusal.code);
        let challenge = Challenge {
            server: &self.point.server,
            scope: Some(&scope),
            nonce: Some(&nonce),
            bearer: self.gateway.settings.takes_bearer_scheme(),
        };
        let mut response = (status, format!("{refusal}\n")).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().extend(challenge.unauthenticated(refusal.code));
        }
        if let Some(seconds) = refusal.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
