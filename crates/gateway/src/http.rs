//! The gateway's HTTP face: what is checked before anyone is asked who they are, and which road a message takes.

use crate::{
    authzen,
    call::{self, Ask},
    error::{self, No},
    forward,
    gate::{Gateway, Mount},
    identify::{Arrival, Caller, Unidentified},
    mcp::{
        Message, Notification, Request, Response as Answer, Revision, envelope,
        era::ClientFace,
        handshake,
        headers::{self, Era},
        method,
        session::{Opening, Session},
    },
    metadata,
    outliving::Outliving,
    record::{Came, Entry, ROUTE},
    reply::{Head, Outlet},
    upstream::Outgoing,
};
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header, request, uri::Authority},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use remit_model::{
    json::Limits,
    refusal::{Code, Refusal},
};
use serde_json::{Map, Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// Longest wait for a body.
const BODY_WAIT: Duration = Duration::from_secs(30);
/// Random bytes of a session id.
const SESSION_BYTES: usize = 24;

/// `/mcp/{server}` and `/.well-known/oauth-protected-resource/mcp/{server}`; with a decision point, `/access/v1` too.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let router = Router::new()
        .route(ROUTE, any(endpoint))
        .route("/.well-known/oauth-protected-resource/mcp/{server}", get(resource_metadata));
    let router = if gateway.settings.authzen.is_some() { router.merge(authzen::router()) } else { router };
    router.with_state(gateway)
}

async fn resource_metadata(State(gate): State<Arc<Gateway>>, Path(name): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refusal) = origin(&gate, &uri, &headers) {
        return (StatusCode::FORBIDDEN, refusal.reason).into_response();
    }
    match gate.mounts.get(&name) {
        Some(mount) => axum::Json(metadata::document(&gate.settings, &mount.server)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A request on its way in.
struct Inbound {
    gate: Arc<Gateway>,
    mount: Arc<Mount>,
    parts: request::Parts,
    body: Body,
}

/// An identified request.
struct Identified {
    gate: Arc<Gateway>,
    mount: Arc<Mount>,
    caller: Caller,
    headers: HeaderMap,
    came: Came,
}

async fn endpoint(State(gate): State<Arc<Gateway>>, Path(name): Path<String>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(mount) = gate.mounts.get(&name).cloned() else {
        return (StatusCode::NOT_FOUND, axum::Json(json!({"error": Code::ServerUnknown}))).into_response();
    };
    let inbound = Inbound { gate, mount, parts, body };
    match inbound.admit().await {
        Ok((identified, method, body)) => identified.serve(&method, body).await,
        Err(response) => response,
    }
}

impl Inbound {
    /// Everything before the message is read: where the request comes from, its method, and who sends it.
    async fn admit(self) -> Result<(Identified, Method, Body), Response> {
        let Self { gate, mount, parts, body } = self;
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let plain = |refusal: Refusal| refused(&gate, &mount, &refusal.into(), None, None);
        origin(&gate, &parts.uri, &parts.headers).map_err(plain)?;
        if ![Method::POST, Method::GET, Method::DELETE].contains(&parts.method) {
            return Err(plain(Refusal::new(Code::MethodNotAllowed, "use POST")));
        }
        let came = Came { peer, method: parts.method.clone() };
        let now = gate.clock.now();
        let arrival = Arrival {
            method: parts.method.as_str(),
            headers: &parts.headers,
            url: &mount.server.location,
            server: &mount.server,
        };
        let identified = gate.gatekeeper.identify(&arrival, &gate.settings, &gate.store, now.unix());
        match identified {
            Ok(caller) => Ok((
                Identified { gate: Arc::clone(&gate), mount: Arc::clone(&mount), caller, headers: parts.headers, came },
                parts.method,
                body,
            )),
            Err(unidentified) => Err(unauthenticated(&gate, &mount, unidentified, &came).await),
        }
    }
}

/// SPEC: MG-03, N-MG-12: a page of another site, or one that rebinds its name to us, gets nothing.
pub(crate) fn origin(gate: &Gateway, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let all = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 names the host in the request's authority, HTTP/1.1 in `Host`; whatever is there must be ours.
    let mut hosts = all(header::HOST).chain(uri.authority().map(Authority::as_str)).peekable();
    let known = |list: &[String], value: &str| list.iter().any(|known| known.eq_ignore_ascii_case(value));
    if hosts.peek().is_none() || !hosts.all(|host| known(&gate.settings.hosts, host)) {
        return Err(Refusal::new(Code::HostNotAllowed, "this server is not reached under that `Host`"));
    }
    if !all(header::ORIGIN).all(|origin| known(&gate.settings.origins, origin)) {
        return Err(Refusal::new(Code::OriginNotAllowed, "requests from this `Origin` are not accepted"));
    }
    Ok(())
}

/// The whole body of a request.
///
/// # Errors
/// `request_too_large`; `request_malformed` when it does not come.
pub(crate) async fn whole(body: Body, most: usize) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(BODY_WAIT, Limited::new(body, most).collect()).await;
    let late = |_| Refusal::new(Code::RequestMalformed, format!("the body did not come within {} s", BODY_WAIT.as_secs()));
    let too_large = |_| Refusal::new(Code::RequestTooLarge, format!("a request has at most {most} bytes"));
    Ok(collected.map_err(late)?.map_err(too_large)?.to_bytes())
}

/// Records and answers a request of someone we could not identify.
async fn unauthenticated(gate: &Gateway, mount: &Mount, unidentified: Unidentified, came: &Came) -> Response {
    let Unidentified { refusal, token } = unidentified;
    let now = gate.clock.now();
    // A first request without a token is how every client finds the metadata; it is not an attempt at anything.
    let recorded = refusal.code != Code::TokenMissing && (token.is_some() || gate.may_record_anonymous(now.unix()));
    let no = No::from(refusal);
    let mut receipt = None;
    if recorded {
        let mut entry = Entry::open(&gate.settings, &mount.server, &now);
        entry.from(came);
        match &token {
            Some(token) => entry.token(token, None, &gate.store.snapshot()),
            None => entry.anonymous(),
        }
        receipt = match call::commit(gate, entry.close(&Err(no_copy(&no)), &now)).await {
            Ok(receipt) => receipt,
            Err(unavailable) => return refused(gate, mount, &unavailable.into(), None, None),
        };
    }
    refused(gate, mount, &no, receipt.as_ref(), None)
}

fn no_copy(no: &No) -> No {
    No::Refusal(no.refusal())
}

fn refused(
    gate: &Gateway,
    mount: &Mount,
    no: &No,
    receipt: Option<&remit_store::Receipt>,
    revision: Option<Revision>,
) -> Response {
    let nonce = gate.gatekeeper.nonce(gate.clock.unix());
    let scope = metadata::challenge_scope(&mount.server);
    let context = error::Context {
        settings: &gate.settings,
        server: &mount.server,
        revision,
        receipt,
        scope: Some(&scope),
        nonce: Some(&nonce),
    };
    let refused = error::refuse(no, &context);
    let body = json!({"jsonrpc": "2.0", "id": null, "error": refused.error.to_value()});
    Head::Whole(refused.status, refused.headers, Bytes::from(body.to_string())).into_response()
}

impl Identified {
    async fn serve(self, method: &Method, body: Body) -> Response {
        match *method {
            Method::POST => self.post(body).await,
            Method::GET => self.get().await,
            _ => self.delete().await,
        }
    }

    async fn post(mut self, body: Body) -> Response {
        let message = match self.read(body).await {
            Ok(message) => message,
            Err(refusal) => return self.refuse(refusal, None, None).await,
        };
        // A body may be long in coming; what ended meanwhile has ended.
        if let Err(refusal) = self.caller.again(&self.gate.settings, &self.gate.store.snapshot(), self.gate.clock.unix()) {
            return self.refuse(refusal, None, Some(&message)).await;
        }
        let era = match headers::check(&self.headers, &message) {
            Ok(era) => era,
            Err(refusal) => {
                // Whoever got this far speaks the stateless era, or tried to.
                return self.refuse(refusal, Some(Revision::V2026July), Some(&message)).await;
            }
        };
        match (era, message) {
            (Era::Modern(face), Message::Request(request)) => self.modern(face, request).await,
            (Era::Modern(_), Message::Notification(_)) => StatusCode::ACCEPTED.into_response(),
            (Era::Modern(_), Message::Response(_)) => {
                self.refuse(Refusal::new(Code::RequestMalformed, "responses are not sent to a stateless server"), None, None)
                    .await
            }
            (Era::Legacy(_), Message::Request(request)) if request.method == "initialize" => self.initialize(request).await,
            (Era::Legacy(version), message) => match self.session() {
                Ok(session) if version.is_none_or(|version| version == session.revision) => self.legacy(session, message).await,
                Ok(session) => {
                    let reason = format!("this session speaks {}", session.revision.as_str());
                    self.refuse(Refusal::new(Code::ProtocolVersionUnsupported, reason), None, Some(&message)).await
                }
                Err(refusal) => self.refuse(refusal, None, Some(&message)).await,
            },
        }
    }

    async fn read(&self, body: Body) -> Result<Message, Refusal> {
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Refusal::new(Code::MediaTypeUnsupported, "the body must be `application/json`"));
        }
        let settings = &self.gate.settings;
        let bytes = whole(body, settings.request_bytes).await?;
        let limits = Limits { bytes: settings.request_bytes, depth: settings.request_depth, ..Limits::REQUEST };
        envelope::parse(&bytes, &limits)
    }

    async fn modern(self, face: ClientFace, request: Request) -> Response {
        if method::is_legacy_only(&request.method) {
            let refusal = Refusal::new(Code::RpcMethodUnknown, format!("`{}` is not a method of this revision", request.method));
            return self.refuse(refusal, Some(Revision::V2026July), Some(&Message::Request(request))).await;
        }
        if request.method == "server/discover" {
            let ask = self.ask(request, Revision::V2026July, face, None);
            return match forward::link(&self.gate, &ask).await {
                Ok((_, link)) => answer(&ask.request.id, &handshake::discovered(link.about(), &ask.mount.server)),
                Err(refusal) => self.refuse(refusal, Some(Revision::V2026July), Some(&Message::Request(ask.request))).await,
            };
        }
        self.travel(request, Revision::V2026July, face, None).await
    }

    async fn initialize(self, request: Request) -> Response {
        let opened = match handshake::hello(&request) {
            Ok(hello) => {
                let id = self.gate.entropy.token(SESSION_BYTES);
                let server = self.mount.server.id.to_string();
                let opening = Opening { id, server, revision: hello.revision, face: hello.face };
                self.gate.sessions.open(opening, &self.caller, self.gate.clock.now().mono_ns)
            }
            Err(refusal) => Err(refusal),
        };
        let session = match opened {
            Ok((session, evicted)) => {
                for old in evicted {
                    self.gate.forget(&old.id, "evicted");
                }
                session
            }
            Err(refusal) => return self.refuse(refusal, None, Some(&Message::Request(request))).await,
        };
        let ask = self.ask(request, session.revision, session.face.clone(), Some(Arc::clone(&session)));
        match forward::link(&self.gate, &ask).await {
            Ok((_, link)) => {
                if let Err(refusal) = call::open_session(&self.gate, &ask, &session).await {
                    self.gate.forget(&session.id, "refused");
                    return self.refuse(refusal, Some(session.revision), Some(&Message::Request(ask.request))).await;
                }
                let mut response =
                    answer(&ask.request.id, &handshake::welcome(link.about(), &ask.mount.server, session.revision));
                if let Ok(id) = session.id.parse() {
                    response.headers_mut().insert(SESSION, id);
                }
                response
            }
            Err(refusal) => {
                self.gate.forget(&session.id, "refused");
                self.refuse(refusal, Some(session.revision), Some(&Message::Request(ask.request))).await
            }
        }
    }

    fn session(&self) -> Result<Arc<Session>, Refusal> {
        let mut ids = self.headers.get_all(SESSION).iter();
        let (Some(id), None) = (ids.next().and_then(|id| id.to_str().ok()), ids.next()) else {
            return Err(Refusal::new(Code::RequestMalformed, "a request outside `initialize` needs one `Mcp-Session-Id`"));
        };
        self.gate.sessions.find(id, self.mount.server.id.as_str(), &self.caller, self.gate.clock.now().mono_ns)
    }

    async fn legacy(self, session: Arc<Session>, message: Message) -> Response {
        match message {
            Message::Request(request) if request.method == "ping" => answer(&request.id, &json!({})),
            Message::Request(request) if request.method == "logging/setLevel" => self.set_level(session, request).await,
            Message::Request(request) => {
                let (revision, face) = (session.revision, session.face.clone());
                self.travel(request, revision, face, Some(session)).await
            }
            Message::Notification(note) => self.noted(&session, note).await,
            Message::Response(response) => answered(&session, response).await,
        }
    }

    /// A session's own housekeeping: an upstream of the older era is told, for others there is nothing to do.
    async fn set_level(self, session: Arc<Session>, request: Request) -> Response {
        let level = request.params.get("level").cloned().unwrap_or_default();
        let ask = self.ask(request, session.revision, session.face.clone(), Some(session));
        if let Ok((_, link)) = forward::link(&self.gate, &ask).await
            && !link.is_modern()
        {
            let params = Map::from_iter([("level".to_owned(), level)]);
            let message = Outgoing::bare(&ask.request.method, params);
            if let Ok(mut exchange) = link.send(message).await {
                let _ = tokio::time::timeout(self.gate.settings.connect_timeout, exchange.next()).await;
            }
        }
        answer(&ask.request.id, &json!({}))
    }

    async fn noted(self, session: &Arc<Session>, note: Notification) -> Response {
        match note.method.as_str() {
            "notifications/cancelled" => {
                if let Some(id) = note.params.get("requestId") {
                    session.cancel(id);
                }
            }
            "notifications/roots/list_changed" if session.face.declares("roots") => {
                let request = Request { id: Value::Null, method: note.method.clone(), params: Map::new() };
                let ask = self.ask(request, session.revision, session.face.clone(), Some(Arc::clone(session)));
                if let Ok((_, link)) = forward::link(&self.gate, &ask).await
                    && !link.is_modern()
                {
                    let _ = link.notify(&note).await;
                }
            }
            _ => {}
        }
        StatusCode::ACCEPTED.into_response()
    }

    /// The stream of a session that belongs to no request.
    async fn get(self) -> Response {
        let Some(()) = self.reads_events().then_some(()) else {
            return StatusCode::NOT_ACCEPTABLE.into_response();
        };
        if self.headers.get(SESSION).is_none() {
            // SPEC: MG-03: the stateless era has no such stream.
            return self.refuse(Refusal::new(Code::MethodNotAllowed, "use POST"), None, None).await;
        }
        let session = match self.session() {
            Ok(session) => session,
            Err(refusal) => return self.refuse(refusal, None, None).await,
        };
        let request = Request { id: json!("stream"), method: "notifications".to_owned(), params: Map::new() };
        let ask = self.ask(request, session.revision, session.face.clone(), Some(session));
        let listening = match forward::link(&self.gate, &ask).await {
            Ok((_, link)) => {
                link.listen().await.map(|listening| (link, listening)).map_err(|b| b.refusal(self.mount.server.id.as_str()))
            }
            Err(refusal) => Err(refusal),
        };
        let (link, listening) = match listening {
            Ok((link, Some(listening))) => (link, listening),
            Ok((_, None)) => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
            Err(refusal) => return self.refuse(refusal, None, None).await,
        };
        let (mut outlet, head) = Outlet::new(true, HeaderMap::new());
        let gate = Arc::clone(&self.gate);
        tokio::spawn(async move {
            let source = forward::Source::Listening(Some(listening));
            // However it ends, the client sees the stream close; each call it makes is checked by itself.
            if let Err(no) = forward::stream(&gate, &ask, &link, source, &mut outlet).await {
                tracing::debug!(reason = %no.refusal(), "a session's stream was closed");
            }
        });
        await_head(head).await
    }

    async fn delete(self) -> Response {
        match self.session() {
            Ok(session) => {
                self.gate.forget(&session.id, "deleted");
                StatusCode::NO_CONTENT.into_response()
            }
            Err(refusal) => self.refuse(refusal, None, None).await,
        }
    }

    /// Hands a request to the road, which outlives the connection: where the reply becomes a stream or the client goes away,
    /// the rest of it is a task of its own.
    async fn travel(self, request: Request, revision: Revision, face: ClientFace, session: Option<Arc<Session>>) -> Response {
        let (mut outlet, mut head) = Outlet::new(self.reads_events(), HeaderMap::new());
        let fresh = self.gate.settings.nonce_required || self.caller.proof.as_ref().is_some_and(|proof| proof.nonce.is_some());
        if fresh {
            outlet.header(HeaderName::from_static("dpop-nonce"), &self.gate.gatekeeper.nonce(self.gate.clock.unix()));
        }
        let Self { gate, mount, caller, headers, came } = self;
        let ask = Ask { mount, caller, request, revision, face, session, headers, came };
        let mut work = Outliving::new(call::run(gate, ask, outlet));
        tokio::select! {
            biased;
            head = &mut head => return reply(head.ok()),
            () = &mut work => {}
        }
        await_head(head).await
    }

    fn ask(&self, request: Request, revision: Revision, face: ClientFace, session: Option<Arc<Session>>) -> Ask {
        Ask {
            mount: Arc::clone(&self.mount),
            caller: self.caller.clone(),
            request,
            revision,
            face,
            session,
            headers: self.headers.clone(),
            came: self.came.clone(),
        }
    }

    fn reads_events(&self) -> bool {
        let accepts = self.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        accepts
            .flat_map(|value| value.split(','))
            .any(|media| media.trim().starts_with("text/event-stream") || media.trim().starts_with("*/*"))
    }

    /// Records and answers a request that never became a call.
    async fn refuse(&self, refusal: Refusal, revision: Option<Revision>, message: Option<&Message>) -> Response {
        let gate = &self.gate;
        let now = gate.clock.now();
        let mut entry = Entry::open(&gate.settings, &self.mount.server, &now);
        entry.from(&self.came);
        entry.caller(&self.caller, &gate.store.snapshot());
        let mut id = Value::Null;
        if let Some(Message::Request(request)) = message {
            entry.request(request, revision.unwrap_or(Revision::LEGACY_LATEST));
            id = request.id.clone();
        }
        let no = No::Refusal(refusal);
        let (no, receipt) = match call::commit(gate, entry.close(&Err(no_copy(&no)), &now)).await {
            Ok(receipt) => (no, receipt),
            Err(unavailable) => (unavailable.into(), None),
        };
        let context = error::Context {
            settings: &gate.settings,
            server: &self.mount.server,
            revision,
            receipt: receipt.as_ref(),
            scope: None,
            nonce: None,
        };
        let refused = error::refuse(&no, &context);
        let body = json!({"jsonrpc": "2.0", "id": id, "error": refused.error.to_value()});
        Head::Whole(refused.status, refused.headers, Bytes::from(body.to_string())).into_response()
    }
}

async fn answered(session: &Session, response: Answer) -> Response {
    if let Some((response, link)) = session.answered(response) {
        let _ = link.respond(&response).await;
    }
    StatusCode::ACCEPTED.into_response()
}

fn answer(id: &Value, result: &Value) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": id, "result": result});
    Head::Whole(StatusCode::OK, HeaderMap::new(), Bytes::from(body.to_string())).into_response()
}

async fn await_head(head: tokio::sync::oneshot::Receiver<Head>) -> Response {
    reply(head.await.ok())
}

fn reply(head: Option<Head>) -> Response {
    head.map_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response(), IntoResponse::into_response)
}
