//! `remit serve`: listen, say so in one line, and on SIGTERM finish what is begun and close the ledger cleanly.

use super::first_byte_timeout::FirstByteTimeout;
use super::reload;
use super::wire;
use crate::config::Loaded;
use crate::stdout;
use anyhow::{Context as _, Result};
use axum::{Extension, Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use remit_clock::Ambient;
use serde_json::json;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// A client gets this long to send a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// An HTTP/2 client that has said nothing for so long is asked whether it is still there.
const DEAD_AFTER: Duration = Duration::from_secs(30);
/// Largest request head, in bytes.
const HEAD_LIMIT: usize = 64 << 10;
/// What is begun gets this long to finish after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the command until SIGTERM or SIGINT.
pub(crate) async fn run(loaded: &Loaded, json: bool, ambient: &Ambient) -> Result<()> {
    let listen = &loaded.config.server.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let running = wire::start(loaded, ambient).await?;
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, running.router.clone(), stopped));
    let watching = tokio::spawn(watch_policies(&running, ambient));
    let asked = asked_to_stop()?;
    stdout::announce(&ready(loaded, &running.vkey, json));
    asked.await;
    tracing::info!("stopping: finishing what is begun");
    let _ = stop.send(true);
    watching.abort();
    serving.await.context("the listener failed")?;
    running.close().await.context("the ledger could not be closed cleanly")?;
    Ok(())
}

/// Keeps the policies in force fresh.
pub(crate) fn watch_policies(running: &wire::Running, ambient: &Ambient) -> impl Future<Output = ()> + use<> {
    let (store, policy, known) = (running.store.clone(), Arc::clone(&running.policy), Arc::clone(&running.known));
    let (dir, clock) = (running.policies.clone(), ambient.clock.clone());
    async move {
        reload::watch(PathBuf::clone(&dir), Arc::clone(&policy), clock, |bundle| {
            let (store, known, before) = (store.clone(), Arc::clone(&known), policy.status().digest);
            async move { wire::pin(&store, bundle, Some(&before), &known).await }
        })
        .await;
    }
}

/// Accepts connections until told to stop, then waits for those that are busy.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT).max_buf_size(HEAD_LIMIT);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(u32::try_from(HEAD_LIMIT).unwrap_or(u32::MAX));
    // A client that went away without a word holds its connection no longer than this.
    builder.http2().keep_alive_interval(DEAD_AFTER).keep_alive_timeout(HEAD_WAIT);
    let graceful = GracefulShutdown::new();
    loop {
        let (socket, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: waiting lets some close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            _ = stopped.changed() => break,
        };
        let _ = socket.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone().layer(Extension(ConnectInfo(peer))));
        let connection = graceful
            .watch(builder.serve_connection(TokioIo::new(FirstByteTimeout::new(socket, HEAD_WAIT)), service).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some streams were still open and were cut");
    }
}

/// Waits for SIGTERM or SIGINT. Both are caught from the call on, so call it before saying that the server is ready.
pub(crate) fn asked_to_stop() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The one line that says the server is up, with its URLs.
pub(crate) fn ready(loaded: &Loaded, vkey: &str, json: bool) -> String {
    let issuer = &loaded.config.server.public_url;
    let mcp = format!("{issuer}/mcp/");
    let servers = loaded.servers().into_iter().filter(|server| server.location.starts_with(&mcp)).collect::<Vec<_>>();
    if json {
        let servers: Vec<_> = servers.iter().map(|server| &server.location).collect();
        return json!({"ready": true, "issuer": issuer, "mcp": servers, "admin": format!("{issuer}/admin/v1"), "log": format!("{issuer}/log"), "vkey": vkey}).to_string();
    }
    let mcp: Vec<_> = servers.iter().map(|server| server.location.as_str()).collect();
    format!("remit ready: issuer {issuer}  mcp {}  admin {issuer}/admin/v1  log {issuer}/log", mcp.join(","))
}
