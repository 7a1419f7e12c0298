//! `remit witness`: keeps what it has seen of some logs and cosigns what extends it. Nothing else can be asked of it.

use super::store::{Heads, Outcome};
use crate::{
    server::{listener, serve},
    stdout,
};
use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use clap::Args;
use remit_clock::{Ambient, Clock};
use remit_ledger::{
    note::VerifyingKey,
    witness::{REQUEST_LIMIT, Refused, Request, SIZE_TYPE},
};
use remit_model::{Code, bounds::body_refusal};
use serde_json::json;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// A witness of one or more logs.
#[derive(Debug, Args)]
pub(crate) struct Witness {
    /// Folder of the witness's key and of the heads it has seen; made when missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Address and port to listen on; plain HTTP, so anything but loopback needs a TLS proxy in front
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,
    /// A log to watch: its verifier key, as `remit init` printed it (repeatable)
    #[arg(long = "log", value_name = "VKEY", required = true)]
    logs: Vec<String>,
    /// The witness's name, at the first start: a URL without scheme that is yours (default: a random one)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

struct Desk {
    heads: Mutex<Heads>,
    clock: Clock,
}

/// Runs the command until SIGTERM or SIGINT.
pub(crate) async fn run(args: &Witness, ambient: &Ambient) -> Result<()> {
    let parse = |vkey: &String| VerifyingKey::parse(vkey.trim()).with_context(|| format!("--log {vkey}"));
    let logs = args.logs.iter().map(parse).collect::<Result<Vec<_>>>()?;
    let heads = Heads::open(&args.dir, args.name.as_deref(), logs, ambient)?;
    let listener = TcpListener::bind(&args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    let vkey = heads.vkey();
    let desk = Arc::new(Desk { heads: Mutex::new(heads), clock: ambient.clock.clone() });
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(checkpoint))
        .with_state(desk);
    let (stop, stopped) = watch::channel(false);
    let mut signals = serve::StopSignals::catch()?;
    let serving = tokio::spawn(listener::serve(listener, None, router, stopped));
    if args.json {
        stdout::announce(&json!({"ready": true, "vkey": vkey, "url": url}).to_string());
    } else {
        stdout::announce(&format!("remit witness ready: url {url}  vkey {vkey}"));
    }
    // There is nothing to reload; a closed terminal ends no witness.
    let _hangup = signal(SignalKind::hangup())?;
    signals.next().await;
    let _ = stop.send(true);
    signals.or_another(async { serving.await.context("the listener failed") }).await
}

/// SPEC: LG-20, LG-21.
async fn add_checkpoint(State(desk): State<Arc<Desk>>, body: Body) -> Response {
    let body = match to_bytes(body, REQUEST_LIMIT).await {
        Ok(body) => body,
        // The listener bounds how long a body may take.
        Err(error) => return unread(&error),
    };
    let request = match Request::parse(&body) {
        Ok(request) => request,
        Err(refused) => return answer(&refused),
    };
    let Some(now) = super::time::seconds(&desk.clock) else {
        tracing::error!("the clock cannot be read, so no head is cosigned");
        return (StatusCode::SERVICE_UNAVAILABLE, "the time is not known here\n").into_response();
    };
    // Judging waits for the disk, and one request at a time.
    let judged =
        tokio::task::spawn_blocking(move || desk.heads.lock().unwrap_or_else(PoisonError::into_inner).add(&request, now));
    match judged.await.map_err(anyhow::Error::from).and_then(|judged| judged) {
        Ok(Outcome::Cosigned(line)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], line).into_response(),
        Ok(Outcome::Refused(refused)) => {
            tracing::warn!(%refused, "a head was not cosigned");
            answer(&refused)
        }
        Err(error) => {
            tracing::error!("a head could not be stored, so it was not cosigned: {error:#}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn unread(error: &axum::Error) -> Response {
    let refusal = body_refusal(error, REQUEST_LIMIT);
    let status = match refusal.code {
        Code::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::RateLimited => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::REQUEST_TIMEOUT,
    };
    (status, format!("{}\n", refusal.reason)).into_response()
}

fn answer(refused: &Refused) -> Response {
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refused {
        Refused::Stale(size) => (status, [(header::CONTENT_TYPE, SIZE_TYPE)], format!("{size}\n")).into_response(),
        _ => (status, format!("{refused}\n")).into_response(),
    }
}

/// The head held for a log, for comparison.
async fn checkpoint(State(desk): State<Arc<Desk>>, Path(origin): Path<String>) -> Response {
    let note = desk.heads.lock().unwrap_or_else(PoisonError::into_inner).note(&origin);
    match note {
        Some(note) => {
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], note).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_ledger::{Checkpoint, note::SigningKey, tree};
    use remit_model::Moment;

    async fn asked(seconds: i64) -> (StatusCode, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = SigningKey::from_seed("log.example", &[7; 32]).unwrap();
        let heads = Heads::open(dir.path(), Some("w.example"), vec![log.public().clone()], &Ambient::system()).unwrap();
        let desk = Arc::new(Desk { heads: Mutex::new(heads), clock: Clock::manual(Moment::at(seconds)) });
        let head = Checkpoint { origin: "log.example".into(), size: 1, root: tree::leaf_hash(b"x") };
        let request = Request { old: 0, proof: Vec::new(), note: log.sign(&head.to_text()).unwrap() };
        let answer = add_checkpoint(State(desk), Body::from(request.to_bytes())).await;
        let (parts, body) = answer.into_parts();
        (parts.status, String::from_utf8(to_bytes(body, 10_000).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_witness_that_does_not_know_the_time_cosigns_nothing() {
        let (status, line) = asked(1_800_000_000).await;
        assert_eq!(status, StatusCode::OK);
        assert!(line.contains("w.example"), "{line}");
        let (status, told) = asked(0).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!told.contains("w.example"), "{told}");
    }
}
