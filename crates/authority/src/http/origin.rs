//! Where a request came from, and by which route: for its record.
//!
//! These two facts are known to the router and needed only where a record is drafted, far below. They travel with the
//! task that serves the request, so that no rule in between can come to depend on them.

use axum::{
    extract::{ConnectInfo, MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use remit_ledger::record::{Draft, Http};
use std::net::{IpAddr, SocketAddr};

tokio::task_local! {
    static CAME: Came;
}

#[derive(Clone, Debug)]
struct Came {
    http: Http,
    peer: Option<IpAddr>,
}

/// Middleware of every route whose requests are recorded.
pub(crate) async fn along(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let http = Http { method: request.method().to_string(), route, ..Http::default() };
    CAME.scope(Came { http, peer }, next.run(request)).await
}

/// Adds both to a draft. Outside of a request there is nothing to add.
pub(crate) fn note(draft: &mut Draft) {
    let _ = CAME.try_with(|came| {
        draft.http = Some(came.http.clone());
        draft.src_ip = came.peer;
    });
}
