//! `remit serve`: listen, say so in one line, reload on SIGHUP, and on SIGTERM finish what is begun and close the ledger cleanly.

use super::{config_reload::ConfigReload, header_files, listener, reload, tls_reload::TlsReload, wire};
use crate::{
    config::{self, Loaded},
    stdout,
};
use anyhow::{Context as _, Result, bail};
use remit_clock::Ambient;
use serde_json::json;
use std::{path::PathBuf, sync::Arc};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Runs the command until SIGTERM or SIGINT.
///
/// # Errors
/// The server cannot start, or cannot close its ledger cleanly.
pub(crate) async fn run<L>(loaded: &Loaded, json: bool, ambient: &Ambient, set_log: L) -> Result<()>
where
    L: Fn(&str) -> Result<()> + Send + Sync + 'static,
{
    // Caught from the first moment: its default is to end the process.
    let hangup = signal(SignalKind::hangup())?;
    let listen = &loaded.config.server.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let section = loaded.config.server.tls.as_ref();
    let tls = section.map(|tls| TlsReload::open(loaded.tls_files(tls), tls.asks(), &ambient.clock)).transpose()?;
    let mut running = wire::start(loaded, ambient).await?;
    remit_authority::load_whom_to_ask(&running.authority).await.context("whom to ask identity providers about")?;
    for provider in config::oidc(&loaded.config.identity_providers) {
        let (name, within_s, required) = (provider.name.as_str(), provider.check_every_s, provider.requires_check());
        let holds_for = if required { "everyone" } else { "people of whom it gives a refresh token; others are let in, too" };
        tracing::info!(
            provider = name,
            within_s,
            holds_for,
            "while the provider answers, what a person hands out ends within this time after it disables them"
        );
    }
    let (stop, stopped) = watch::channel(false);
    let accepting = tls.as_ref().map(TlsReload::tls);
    let serving = tokio::spawn(listener::serve(listener, accepting, running.router.clone(), stopped));
    let renewing = tls.map(|tls| tokio::spawn(tls.watch(running.store.clone(), ambient.clock.clone())));
    let watching = tokio::spawn(watch_policies(&running, ambient));
    let header_files = std::mem::take(&mut running.header_files);
    let following = tokio::spawn(header_files::watch(header_files, running.store.clone()));
    let asking = tokio::spawn(remit_authority::keep_asking(Arc::clone(&running.authority)));
    let polling = tokio::spawn(remit_authority::keep_polling_for_events(Arc::clone(&running.authority)));
    let reloading = tokio::spawn(ConfigReload::new(loaded, &running, ambient.clock.clone(), set_log).watch(hangup));
    let mut signals = StopSignals::catch()?;
    stdout::announce(&ready(loaded, &running.vkey, json));
    signals.next().await;
    tracing::info!("stopping: finishing what is begun; another signal ends the process at once");
    running.end_streams();
    let _ = stop.send(true);
    for task in [watching, following, asking, polling, reloading].into_iter().chain(renewing) {
        task.abort();
    }
    signals
        .or_another(async {
            serving.await.context("the listener failed")?;
            running.close().await.context("the ledger could not be closed cleanly")
        })
        .await
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

/// SIGTERM and SIGINT.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Catches both from now on, so call it before saying that the server is ready.
    ///
    /// # Errors
    /// The system refuses to hand signals over.
    pub(crate) fn catch() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Finishes the work of a stop, unless another signal comes first.
    ///
    /// # Errors
    /// Those of the work; also when another signal came. CRASH: the process then ends as by SIGKILL, and the next start
    /// recovers what was committed.
    pub(crate) async fn or_another(mut self, finish: impl Future<Output = Result<()>>) -> Result<()> {
        tokio::select! {
            finished = finish => finished,
            () = self.next() => bail!("another signal came: ended at once"),
        }
    }
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
