//! MCP over HTTP: who sends a message, in which revision, and which road it takes.
//!
//! SPEC: MCP "Streamable HTTP" of both eras; MG-03, MG-13.

use crate::{
    gateway::Gateway,
    mcp::{
        act, call,
        envelope::{self, Message, Notification, Request, Response as Answer},
        error, forward, handshake,
        headers::{self, Era},
        mcp_call::McpCall,
        record as mcp_record,
        revision::{ClientProfile, Revision},
        session::{Opening, Session},
        stream,
        upstream::message::Outgoing,
    },
    mount::Mount,
    road::{
        admit,
        challenge::Challenge,
        commit::commit,
        cors,
        detach_on_drop::DetachOnDrop,
        identify::{Caller, IncomingRequest, Unidentified},
        metadata,
        record::RequestRecord,
        rejection::Rejection,
        reply::{Head, ReplyStream},
        request_origin::{Endpoint, RequestOrigin},
    },
};
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header, request},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use bytes::Bytes;
use remit_ledger::record::Protocol;
use remit_model::{
    ToolClass,
    json::{Limits, Numbers},
    refusal::{Code, Refusal},
    resource::Server,
};
use remit_store::Receipt;
use remit_token::PeerCertificate;
use serde_json::{Map, Value, json};
use std::{net::SocketAddr, sync::Arc};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// Random bytes of a session id.
const SESSION_BYTES: usize = 24;

/// Every MCP endpoint.
const ENDPOINT: Endpoint = Endpoint {
    route: "/mcp/{server}",
    protocol: Protocol::Mcp,
    action: "mcp:request",
    class: ToolClass::Execute,
    resource: "mcp.server",
};

/// The endpoints, and the metadata of each as a protected resource.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route(ENDPOINT.route, any(endpoint))
        .route("/.well-known/oauth-protected-resource/mcp/{server}", get(resource_metadata).options(metadata_preflight))
}

async fn metadata_preflight(headers: HeaderMap) -> Response {
    let mut response = cors::preflight(&headers);
    cors::public(response.headers_mut());
    response
}

async fn resource_metadata(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = admit::host(&gateway.settings, &uri, &headers) {
        return (StatusCode::FORBIDDEN, refusal.reason).into_response();
    }
    let mut response = match gateway.mounts.get(&name) {
        Some(mount) => axum::Json(metadata::document(&gateway.settings, &mount.server)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    };
    cors::public(response.headers_mut());
    response
}

/// A request on its way in.
struct Inbound {
    gateway: Arc<Gateway>,
    mount: Arc<Mount>,
    parts: request::Parts,
    body: Body,
}

/// An identified request.
struct Identified {
    gateway: Arc<Gateway>,
    mount: Arc<Mount>,
    caller: Caller,
    headers: HeaderMap,
    origin: RequestOrigin,
}

async fn endpoint(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(mount) = gateway.mounts.get(&name).cloned() else {
        return (StatusCode::NOT_FOUND, axum::Json(json!({"error": Code::ServerUnknown}))).into_response();
    };
    let (asked, settings) = (parts.headers.clone(), Arc::clone(&gateway.settings));
    let preflight = parts.method == Method::OPTIONS && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight && admit::origin(&settings, &parts.uri, &asked).is_ok() {
        cors::preflight(&asked)
    } else {
        let inbound = Inbound { gateway, mount, parts, body };
        match inbound.admit().await {
            Ok((identified, method, body)) => identified.serve(&method, body).await,
            Err(response) => response,
        }
    };
    cors::allow(&asked, &settings, response.headers_mut());
    response
}

impl Inbound {
    /// Everything before the message is read: where the request comes from, its method, and who sends it.
    async fn admit(self) -> Result<(Identified, Method, Body), Response> {
        let Self { gateway, mount, parts, body } = self;
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let plain = |refusal: Refusal| refused(&gateway, &mount, &refusal.into(), None, None);
        admit::origin(&gateway.settings, &parts.uri, &parts.headers).map_err(plain)?;
        if ![Method::POST, Method::GET, Method::HEAD, Method::DELETE].contains(&parts.method) {
            return Err(plain(Refusal::new(Code::MethodNotAllowed, "use POST")));
        }
        let origin = RequestOrigin { peer, method: parts.method.clone(), endpoint: ENDPOINT };
        let now = gateway.clock.now();
        let arrival = IncomingRequest {
            method: parts.method.as_str(),
            headers: &parts.headers,
            url: &mount.server.location,
            server: &mount.server,
            certificate: parts.extensions.get::<PeerCertificate>(),
        };
        let identified = gateway
            .gatekeeper
            .identify(&arrival, &gateway.settings, &gateway.store, now.unix(), |client| gateway.count_request(client));
        match identified {
            Ok(caller) => Ok((
                Identified { gateway: Arc::clone(&gateway), mount: Arc::clone(&mount), caller, headers: parts.headers, origin },
                parts.method,
                body,
            )),
            Err(unidentified) => {
                let scope = needed(&parts.headers, &mount.server);
                Err(unauthenticated(&gateway, &mount, unidentified, &origin, scope.as_deref()).await)
            }
        }
    }
}

/// Records and answers a request of someone we could not identify.
async fn unauthenticated(
    gateway: &Gateway,
    mount: &Mount,
    unidentified: Unidentified,
    origin: &RequestOrigin,
    scope: Option<&str>,
) -> Response {
    let recorded = unidentified.is_recorded(&gateway.store, origin);
    let Unidentified { refusal, token, .. } = unidentified;
    let now = gateway.clock.now();
    let rejection = Rejection::from(refusal);
    let mut receipt = None;
    if recorded {
        let mut record = RequestRecord::open(&gateway.settings, &mount.server, origin, &now);
        match &token {
            Some(token) => record.token(token, None, &gateway.store.snapshot()),
            None => record.anonymous(),
        }
        receipt = match commit(&gateway.store, &gateway.settings.tenant, record.close(Err(&rejection), &now)).await {
            Ok(receipt) => receipt,
            Err(unavailable) => return refused(gateway, mount, &unavailable.into(), None, scope),
        };
    }
    refused(gateway, mount, &rejection, receipt.as_ref(), scope)
}

/// The scope of the tool that the request says it calls. Clients ask for whatever a challenge names, so nothing else is named:
/// for all other requests they take what the metadata suggests. The body is not read for it, so only the stateless era says it.
fn needed(headers: &HeaderMap, server: &Server) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text("mcp-method") != Some("tools/call") {
        return None;
    }
    let tool = server.tool_named(text("mcp-name")?);
    server.tools.contains_key(tool).then(|| format!("{}:{tool}", server.id))
}

fn refused(gateway: &Gateway, mount: &Mount, rejection: &Rejection, receipt: Option<&Receipt>, scope: Option<&str>) -> Response {
    let nonce = gateway.gatekeeper.nonce(gateway.clock.unix());
    let context = error::Context {
        challenge: Challenge {
            server: &mount.server,
            scope,
            nonce: Some(&nonce),
            bearer: gateway.settings.takes_bearer_scheme(),
        },
        revision: None,
        requested: None,
        receipt,
        step_up: false,
        sign_in: false,
    };
    rejected(&Value::Null, rejection, &context)
}

fn rejected(id: &Value, rejection: &Rejection, context: &error::Context<'_>) -> Response {
    let refused = error::refuse(rejection, context);
    let body = json!({"jsonrpc": "2.0", "id": id, "error": refused.error.to_value()});
    Head::Whole(refused.status, refused.headers, Bytes::from(body.to_string())).into_response()
}

impl Identified {
    async fn serve(self, method: &Method, body: Body) -> Response {
        match *method {
            Method::POST => self.post(body).await,
            Method::GET => self.get().await,
            // There is no stream to look at without reading it.
            Method::HEAD => self.refuse(Refusal::new(Code::MethodNotAllowed, "use POST"), None, None).await,
            _ => self.delete().await,
        }
    }

    async fn post(mut self, body: Body) -> Response {
        let message = match self.read(body).await {
            Ok(message) => message,
            Err((refusal, request)) => return self.refuse(refusal, None, request.map(Message::Request).as_ref()).await,
        };
        // A body may be long in coming; what ended meanwhile has ended.
        if let Err(refusal) = self.caller.again(&self.gateway.settings, &self.gateway.store.snapshot(), self.gateway.clock.unix())
        {
            return self.refuse(refusal, None, Some(&message)).await;
        }
        let era = match headers::check(&self.headers, &message) {
            Ok(era) => era,
            Err(refusal) => {
                // A client that got this far speaks the stateless era, or tried to.
                return self.refuse(refusal, Some(Revision::V2026July), Some(&message)).await;
            }
        };
        match (era, message) {
            (Era::Modern(client), Message::Request(request)) => self.modern(client, request).await,
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

    /// The message in the body.
    ///
    /// # Errors
    /// Why it is none that we read, and which request it is if that can be told.
    async fn read(&self, body: Body) -> Result<Message, (Refusal, Option<Request>)> {
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
            return Err((Refusal::new(Code::MediaTypeUnsupported, "the body must be `application/json`"), None));
        }
        let settings = &self.gateway.settings;
        let bytes = admit::whole(body, settings.request_bytes).await.map_err(|refusal| (refusal, None))?;
        let (bytes_limit, depth) = (settings.request_bytes, settings.request_depth);
        let limits = Limits { bytes: bytes_limit, depth, numbers: Numbers::AsWritten, ..Limits::REQUEST };
        envelope::parse(&bytes, &limits).map_err(|refusal| (refusal, envelope::refused_request(&bytes)))
    }

    async fn modern(self, client: ClientProfile, request: Request) -> Response {
        if act::is_legacy_only(&request.method) {
            let refusal = Refusal::new(Code::RpcMethodUnknown, format!("`{}` is not a method of this revision", request.method));
            return self.refuse(refusal, Some(Revision::V2026July), Some(&Message::Request(request))).await;
        }
        if request.method == "server/discover" {
            let call = self.call(request, Revision::V2026July, client, None);
            return match forward::link(&self.gateway, &call).await {
                Ok((_, link)) => answer(&call.request.id, &handshake::discovered(link.about(), &call.mount.server)),
                Err(refusal) => self.refuse(refusal, Some(Revision::V2026July), Some(&Message::Request(call.request))).await,
            };
        }
        self.travel(request, Revision::V2026July, client, None).await
    }

    async fn initialize(self, request: Request) -> Response {
        let opened = match handshake::hello(&request) {
            Ok(hello) => {
                let id = self.gateway.entropy.token(SESSION_BYTES);
                let server = self.mount.server.id.to_string();
                let opening = Opening { id, server, revision: hello.revision, client: hello.client };
                self.gateway.sessions.open(opening, &self.caller, self.gateway.clock.now().mono_ns)
            }
            Err(refusal) => Err(refusal),
        };
        let session = match opened {
            Ok((session, evicted)) => {
                for old in evicted {
                    self.gateway.forget(&old.id, "evicted");
                }
                session
            }
            Err(refusal) => return self.refuse(refusal, None, Some(&Message::Request(request))).await,
        };
        let call = self.call(request, session.revision, session.client.clone(), Some(Arc::clone(&session)));
        match forward::link(&self.gateway, &call).await {
            Ok((_, link)) => {
                if let Err(refusal) = call::open_session(&self.gateway, &call, &session).await {
                    self.gateway.forget(&session.id, "refused");
                    return self.refuse(refusal, Some(session.revision), Some(&Message::Request(call.request))).await;
                }
                let mut response =
                    answer(&call.request.id, &handshake::welcome(link.about(), &call.mount.server, session.revision));
                if let Ok(id) = session.id.parse() {
                    response.headers_mut().insert(SESSION, id);
                }
                response
            }
            Err(refusal) => {
                self.gateway.forget(&session.id, "refused");
                self.refuse(refusal, Some(session.revision), Some(&Message::Request(call.request))).await
            }
        }
    }

    fn session(&self) -> Result<Arc<Session>, Refusal> {
        let mut ids = self.headers.get_all(SESSION).iter();
        let (Some(id), None) = (ids.next().and_then(|id| id.to_str().ok()), ids.next()) else {
            return Err(Refusal::new(Code::RequestMalformed, "a request outside `initialize` needs one `Mcp-Session-Id`"));
        };
        self.gateway.sessions.find(id, self.mount.server.id.as_str(), &self.caller, self.gateway.clock.now().mono_ns)
    }

    async fn legacy(self, session: Arc<Session>, message: Message) -> Response {
        match message {
            Message::Request(request) if request.method == "ping" => answer(&request.id, &json!({})),
            Message::Request(request) if request.method == "logging/setLevel" => self.set_level(session, request).await,
            Message::Request(request) => {
                let (revision, client) = (session.revision, session.client.clone());
                self.travel(request, revision, client, Some(session)).await
            }
            Message::Notification(note) => self.noted(&session, note).await,
            Message::Response(response) => answered(&session, response).await,
        }
    }

    /// A session's own housekeeping: an upstream of the older era is told, for others there is nothing to do.
    async fn set_level(self, session: Arc<Session>, request: Request) -> Response {
        let level = request.params.get("level").cloned().unwrap_or_default();
        let call = self.call(request, session.revision, session.client.clone(), Some(session));
        if let Ok((_, link)) = forward::link(&self.gateway, &call).await
            && !link.is_modern()
        {
            let params = Map::from_iter([("level".to_owned(), level)]);
            let message = Outgoing::bare(&call.request.method, params);
            if let Ok(mut exchange) = link.send(message).await {
                let _ = tokio::time::timeout(self.gateway.settings.connect_timeout, exchange.next()).await;
            }
        }
        answer(&call.request.id, &json!({}))
    }

    async fn noted(self, session: &Arc<Session>, note: Notification) -> Response {
        match note.method.as_str() {
            "notifications/cancelled" => {
                if let Some(id) = note.params.get("requestId") {
                    session.cancel(id);
                }
            }
            "notifications/roots/list_changed" if session.client.declares("roots") => {
                let request = Request { id: Value::Null, method: note.method.clone(), params: Map::new() };
                let call = self.call(request, session.revision, session.client.clone(), Some(Arc::clone(session)));
                if let Ok((_, link)) = forward::link(&self.gateway, &call).await
                    && !link.is_modern()
                {
                    let _ = link.notify(&Notification { method: note.method, params: Map::new() }).await;
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
        let call = self.call(request, session.revision, session.client.clone(), Some(session));
        let (link, listening) = match forward::listening(&self.gateway, &call).await {
            Ok((link, Some(listening))) => (link, listening),
            Ok((_, None)) => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
            Err(refusal) => return self.refuse(refusal, None, None).await,
        };
        let (reply, head) = ReplyStream::new(true, HeaderMap::new());
        let gateway = Arc::clone(&self.gateway);
        tokio::spawn(async move { stream::session(&gateway, &call, &link, listening, reply).await });
        await_head(head).await
    }

    async fn delete(self) -> Response {
        match self.session() {
            Ok(session) => {
                self.gateway.forget(&session.id, "deleted");
                StatusCode::NO_CONTENT.into_response()
            }
            Err(refusal) => self.refuse(refusal, None, None).await,
        }
    }

    /// Hands a request to the road, which outlives the connection: where the reply becomes a stream or the client goes away,
    /// the rest of it is a task of its own.
    async fn travel(
        self,
        request: Request,
        revision: Revision,
        client: ClientProfile,
        session: Option<Arc<Session>>,
    ) -> Response {
        let (mut reply, mut head) = ReplyStream::new(self.reads_events(), HeaderMap::new());
        let fresh = self.gateway.settings.nonce_required || self.caller.proof.as_ref().is_some_and(|proof| proof.nonce.is_some());
        if fresh {
            reply.header(HeaderName::from_static("dpop-nonce"), &self.gateway.gatekeeper.nonce(self.gateway.clock.unix()));
        }
        let Self { gateway, mount, caller, headers, origin } = self;
        let call = McpCall { mount, caller, request, revision, client, session, headers, origin };
        let mut work = DetachOnDrop::new(call::run(gateway, call, reply));
        tokio::select! {
            biased;
            head = &mut head => return whole_reply(head.ok()),
            () = &mut work => {}
        }
        await_head(head).await
    }

    fn call(&self, request: Request, revision: Revision, client: ClientProfile, session: Option<Arc<Session>>) -> McpCall {
        McpCall {
            mount: Arc::clone(&self.mount),
            caller: self.caller.clone(),
            request,
            revision,
            client,
            session,
            headers: self.headers.clone(),
            origin: self.origin.clone(),
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
        let gateway = &self.gateway;
        let now = gateway.clock.now();
        let mut record = RequestRecord::open(&gateway.settings, &self.mount.server, &self.origin, &now);
        record.caller(&self.caller, &gateway.store.snapshot());
        let mut id = Value::Null;
        if let Some(Message::Request(request)) = message {
            mcp_record::note(&mut record, request, revision.unwrap_or(Revision::LEGACY_LATEST));
            id = request.id.clone();
        }
        let rejection = Rejection::Refusal(refusal);
        let draft = record.close(Err(&rejection), &now);
        let (rejection, receipt) = match commit(&gateway.store, &gateway.settings.tenant, draft).await {
            Ok(receipt) => (rejection, receipt),
            Err(unavailable) => (unavailable.into(), None),
        };
        let context = error::Context {
            challenge: Challenge {
                server: &self.mount.server,
                scope: None,
                nonce: None,
                bearer: gateway.settings.takes_bearer_scheme(),
            },
            revision,
            requested: self.headers.get("mcp-protocol-version").and_then(|version| version.to_str().ok()),
            receipt: receipt.as_ref(),
            step_up: false,
            sign_in: false,
        };
        rejected(&id, &rejection, &context)
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
    whole_reply(head.await.ok())
}

fn whole_reply(head: Option<Head>) -> Response {
    head.map_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response(), IntoResponse::into_response)
}
