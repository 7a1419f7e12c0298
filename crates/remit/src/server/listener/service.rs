//! Each request on its way into the router and out again: counted, its body bounded, its answer watched.

use super::{
    bodies::{Incoming, Outgoing, Unread},
    connection::Connection,
    registry::{Lane, Registry},
    ticket::Ticket,
};
use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, Response, StatusCode, Version, header},
};
use hyper::body::Body as _;
use hyper_util::service::TowerToHyperService;
use remit_token::PeerCertificate;
use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc};

/// What answers when nothing else does: the operator has to see and to act.
const ALWAYS: [&str; 3] = ["/healthz", "/readyz", "/admin/v1/"];

/// The service of one connection.
#[derive(Clone)]
pub(crate) struct Service {
    router: TowerToHyperService<Router>,
    peer: SocketAddr,
    lane: Lane,
    connection: Arc<Connection>,
    registry: Arc<Registry>,
    certificate: Option<PeerCertificate>,
}

impl Service {
    pub(crate) fn new(
        router: Router,
        peer: SocketAddr,
        lane: Lane,
        connection: Arc<Connection>,
        registry: Arc<Registry>,
    ) -> Self {
        Self { router: TowerToHyperService::new(router), peer, lane, connection, registry, certificate: None }
    }

    /// The same, of a client that proved this certificate.
    pub(crate) fn of(self, certificate: Option<PeerCertificate>) -> Self {
        Self { certificate, ..self }
    }
}

impl hyper::service::Service<Request<hyper::body::Incoming>> for Service {
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let reading = !request.body().is_end_stream();
        let ticket = Arc::new(Ticket::new(&self.connection, &self.registry, reading));
        let always = ALWAYS.iter().any(|path| request.uri().path().starts_with(path));
        if !always && (self.lane == Lane::Spare || !ticket.fits()) {
            return Box::pin(async move { Ok(busy().map(|body| Outgoing::new(body, ticket))) });
        }
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(ConnectInfo(self.peer));
        if let Some(certificate) = &self.certificate {
            parts.extensions.insert(certificate.clone());
        }
        // On HTTP/2 a stream ends without its connection. Who waits for `100 Continue` has not sent a body, and needs to send none.
        let (one, waits) = (parts.version < Version::HTTP_2, parts.headers.contains_key(header::EXPECT));
        let (body, left) = if reading {
            let (body, left) = Incoming::new(body, Arc::clone(&ticket));
            (Body::new(body), Some(left).filter(|_| one))
        } else {
            (Body::empty(), None)
        };
        let answering = self.router.call(Request::from_parts(parts, body));
        Box::pin(async move {
            let mut response = answering.await?;
            if let Some(unread) = left.and_then(|mut left| left.try_recv().ok())
                && ((waits && !matches!(unread, Unread::Nothing)) || !unread.read_away().await)
            {
                response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Outgoing::new(body, ticket)))
        })
    }
}

fn busy() -> Response<Body> {
    let mut response = Response::new(Body::from("busy\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}
