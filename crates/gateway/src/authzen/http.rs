//! The endpoints: who asks, what they ask, one batch of records, one answer. SPEC: AU-01, AU-02, AU-04, AU-07 … AU-09.

use super::{
    Authzen, EVALUATE, NAME,
    evaluate::{View, may_ask},
    record::{self, Asking},
    wire::{self, Asked, Evaluation},
};
use crate::{
    call,
    error::{self, No},
    gate::Gateway,
    http::{origin, whole},
    identify::{self, Arrival, Caller, Unidentified},
    metadata,
    record::{Came, Entry},
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
    json::{self, Limits},
    refusal::{Code, Refusal},
};
use remit_store::{Batch, Receipt};
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

async fn configuration(State(gate): State<Arc<Gateway>>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refusal) = origin(&gate, &uri, &headers) {
        return (StatusCode::FORBIDDEN, refusal.reason).into_response();
    }
    let issuer = &gate.settings.issuer;
    axum::Json(js!({
        "policy_decision_point": issuer,
        "access_evaluation_endpoint": format!("{issuer}{EVALUATION_ROUTE}"),
        "access_evaluations_endpoint": format!("{issuer}{EVALUATIONS_ROUTE}"),
    }))
    .into_response()
}

async fn resource_metadata(State(gate): State<Arc<Gateway>>, uri: Uri, headers: HeaderMap) -> Response {
    match (&gate.settings.authzen, origin(&gate, &uri, &headers)) {
        (_, Err(refusal)) => (StatusCode::FORBIDDEN, refusal.reason).into_response(),
        (Some(desk), Ok(())) => axum::Json(metadata::document(&gate.settings, &desk.server)).into_response(),
        (None, Ok(())) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn evaluation(State(gate): State<Arc<Gateway>>, request: axum::extract::Request) -> Response {
    endpoint(&gate, EVALUATION_ROUTE, Asked::one, request).await
}

async fn evaluations(State(gate): State<Arc<Gateway>>, request: axum::extract::Request) -> Response {
    endpoint(&gate, EVALUATIONS_ROUTE, Asked::many, request).await
}

type Read = fn(&Value) -> Result<Asked, Refusal>;

async fn endpoint(gate: &Gateway, route: &'static str, read: Read, request: axum::extract::Request) -> Response {
    let Some(point) = &gate.settings.authzen else { return StatusCode::NOT_FOUND.into_response() };
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let came = Came { peer, method: parts.method.clone() };
    let desk = Desk { gate, point, route, came, headers: &parts.headers };
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
    gate: &'a Gateway,
    point: &'a Authzen,
    route: &'static str,
    came: Came,
    headers: &'a HeaderMap,
}

impl Desk<'_> {
    /// What the asker calls the request. One that is too long, or not of printable ASCII, is none.
    fn request_id(&self) -> Option<&str> {
        let id = self.headers.get(REQUEST_ID)?.to_str().ok()?;
        (1..=REQUEST_ID_LIMIT).contains(&id.len()).then_some(id).filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()))
    }

    /// Who asks. SPEC: AU-08.
    async fn admit(&self, method: &Method, uri: &Uri) -> Result<Caller, Response> {
        let gate = self.gate;
        let plain = |refusal: Refusal| self.response(&refusal, None);
        origin(gate, uri, self.headers).map_err(plain)?;
        if method != Method::POST {
            return Err(plain(Refusal::new(Code::MethodNotAllowed, "use POST")));
        }
        let url = format!("{}{}", gate.settings.issuer, self.route);
        let arrival = Arrival { method: method.as_str(), headers: self.headers, url: &url, server: &self.point.server };
        let now = gate.clock.now();
        match gate.gatekeeper.identify(&arrival, &gate.settings, &gate.store, now.unix()) {
            Ok(caller) => Ok(caller),
            Err(unidentified) => Err(self.unauthenticated(unidentified).await),
        }
    }

    async fn unauthenticated(&self, unidentified: Unidentified) -> Response {
        let Unidentified { refusal, token } = unidentified;
        let (gate, now) = (self.gate, self.gate.clock.now());
        let recorded = refusal.code != Code::TokenMissing && (token.is_some() || gate.may_record_anonymous(now.unix()));
        if !recorded {
            return self.response(&refusal, None);
        }
        let mut entry = Entry::open(&gate.settings, &self.point.server, &now);
        entry.from(&self.came);
        match &token {
            Some(token) => entry.token(token, None, &gate.store.snapshot()),
            None => entry.anonymous(),
        }
        let draft = record::plain(entry.close(&Err(No::Refusal(refusal.clone())), &now), self.route);
        match call::commit(gate, draft).await {
            Ok(receipt) => self.response(&refusal, receipt.as_ref()),
            Err(unavailable) => self.response(&unavailable, None),
        }
    }

    async fn serve(&self, mut caller: Caller, read: Read, body: Body) -> Response {
        let asked = self.read(&caller, read, body).await;
        // A body may be long in coming; what ended meanwhile has ended.
        let still = caller.again(&self.gate.settings, &self.gate.store.snapshot(), self.gate.clock.unix());
        let mut response = match asked.and_then(|asked| still.map(|()| asked)) {
            Ok(asked) => self.answer(&caller, asked).await,
            Err(refusal) => self.refuse(&caller, refusal).await,
        };
        if self.gate.settings.nonce_required || caller.proof.as_ref().is_some_and(|proof| proof.nonce.is_some()) {
            let nonce = HeaderValue::from_str(&self.gate.gatekeeper.nonce(self.gate.clock.unix()));
            response.headers_mut().extend(nonce.ok().map(|nonce| (HeaderName::from_static("dpop-nonce"), nonce)));
        }
        response
    }

    async fn read(&self, caller: &Caller, read: Read, body: Body) -> Result<Asked, Refusal> {
        let (gate, desk) = (self.gate, &self.point.server);
        if !caller.authority.authority.could_call(&desk.location, EVALUATE, gate.clock.unix()) {
            return Err(Refusal::new(Code::ToolNotGranted, format!("`{NAME}:{EVALUATE}` is not granted")));
        }
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Refusal::new(Code::MediaTypeUnsupported, "the body must be `application/json`"));
        }
        let most = gate.settings.request_bytes;
        let bytes = whole(body, most).await?;
        let limits = Limits { bytes: most, depth: gate.settings.request_depth, ..Limits::REQUEST };
        let asked = read(&json::parse(&bytes, &limits)?)?;
        if let Some(outage) = gate.store.outage().filter(|_| !self.point.reads_in_outage) {
            return Err(outage.refusal());
        }
        Ok(asked)
    }

    /// Decides in one state of the world, makes all of it durable at once, and answers.
    async fn answer(&self, caller: &Caller, asked: Asked) -> Response {
        let gate = self.gate;
        let (world, now, policies) = (gate.store.snapshot(), gate.clock.now(), gate.policy.current());
        let view = View { gate, world: &world, policies: &policies, txn: &caller.token.txn, now: now.unix() };
        let asking = Asking {
            settings: &gate.settings,
            desk: &self.point.server,
            caller,
            came: &self.came,
            route: self.route,
            request_id: self.request_id(),
            world: &world,
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
        let mut batch = Batch::new(gate.settings.tenant.clone()).note();
        for (number, item) in items.into_iter().enumerate() {
            let (result, error, draft) = self.item(&view, &asking, item, number);
            let permitted = result.is_ok();
            answers.push((result, error));
            batch = batch.record(draft);
            if until.is_some_and(|until| until.ends(permitted)) {
                break;
            }
        }
        let receipts = match gate.store.apply(batch).await {
            Ok(applied) => applied.receipts,
            Err(error) => return self.response(&call::unavailable(&error), None),
        };
        // SPEC: AU-09: who lost their standing meanwhile is not told.
        if let Err(refusal) = identify::recheck(caller, &gate.settings, &gate.store.snapshot()) {
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
            let draft = asking.refused(&No::Refusal(refusal.clone()));
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

    /// Records and answers a request of somebody known that is not evaluated.
    async fn refuse(&self, caller: &Caller, refusal: Refusal) -> Response {
        let (world, now) = (self.gate.store.snapshot(), self.gate.clock.now());
        let asking = Asking {
            settings: &self.gate.settings,
            desk: &self.point.server,
            caller,
            came: &self.came,
            route: self.route,
            request_id: None,
            world: &world,
            now: &now,
        };
        match call::commit(self.gate, asking.refused(&No::Refusal(refusal.clone()))).await {
            Ok(receipt) => self.response(&refusal, receipt.as_ref()),
            Err(unavailable) => self.response(&unavailable, None),
        }
    }

    /// A refusal as HTTP: the status, the challenge where it is about who asks, and the reason in words. SPEC: AU-04.
    fn response(&self, refusal: &Refusal, receipt: Option<&Receipt>) -> Response {
        let nonce = self.gate.gatekeeper.nonce(self.gate.clock.unix());
        let scope = format!("{NAME}:{EVALUATE}");
        let context = error::Context {
            settings: &self.gate.settings,
            server: &self.point.server,
            revision: None,
            receipt,
            scope: Some(&scope),
            nonce: Some(&nonce),
        };
        let refused = error::refuse(&No::Refusal(refusal.clone()), &context);
        let status = match (refused.status, refused.error.code) {
            (StatusCode::OK, error::UNAVAILABLE) => StatusCode::SERVICE_UNAVAILABLE,
            (StatusCode::OK, error::DENIED) => StatusCode::FORBIDDEN,
            (StatusCode::OK, _) => StatusCode::INTERNAL_SERVER_ERROR,
            (status, _) => status,
        };
        let mut response = (status, format!("{refusal}\n")).into_response();
        response.headers_mut().extend(refused.headers);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
