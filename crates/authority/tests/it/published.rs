//! A web server of someone else's: JSON documents on a loopback port, which change and are counted.

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::any};
use remit_token::PrivateKey;
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// One document and how often it was fetched.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) url: String,
    state: Arc<Hosted>,
}

#[derive(Default)]
struct Hosted {
    document: Mutex<Option<Value>>,
    fetched: AtomicUsize,
    /// The one that has it for writing holds every answer back.
    gate: Arc<RwLock<()>>,
}

impl Published {
    /// Serves the document at any path.
    pub(crate) async fn new(document: Value) -> Self {
        let state = Arc::new(Hosted { document: Mutex::new(Some(document)), fetched: AtomicUsize::new(0), gate: Arc::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/document", listener.local_addr().unwrap());
        let routes = Router::new().fallback(any(serve)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, state }
    }

    /// Serves another document from now on; `None` is a broken server.
    pub(crate) fn change(&self, document: impl Into<Option<Value>>) {
        *self.state.document.lock().unwrap() = document.into();
    }

    /// No fetch is answered until this is dropped.
    pub(crate) async fn held_back(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.state.gate).write_owned().await
    }

    pub(crate) fn fetched(&self) -> usize {
        self.state.fetched.load(Ordering::SeqCst)
    }
}

async fn serve(State(state): State<Arc<Hosted>>) -> axum::response::Response {
    state.fetched.fetch_add(1, Ordering::SeqCst);
    drop(state.gate.read().await);
    match state.document.lock().unwrap().clone() {
        Some(document) => Json(document).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A key set of these keys, each named.
pub(crate) fn jwks(keys: &[(&str, &PrivateKey)]) -> Value {
    let named = |(kid, key): &(&str, &PrivateKey)| {
        let mut jwk = key.public().to_jwk();
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk
    };
    json!({"keys": keys.iter().map(named).collect::<Vec<_>>()})
}
