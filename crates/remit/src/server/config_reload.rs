//! SIGHUP: reads `remit.yaml` again, applies what can change in a running server, and says what needs a restart. A file with
//! problems changes nothing.

use super::{
    changed::changed,
    wire::{self, Running},
};
use crate::{
    bounded_read,
    config::{self, Loaded, Problem},
};
use anyhow::{Context as _, Result};
use remit_authority::{Server, accounts};
use remit_clock::Clock;
use remit_ledger::record::{DecisionFacts, EffectConfirmed, OutcomeStatus, RecordType};
use remit_model::{Code, Human, Refusal, json::sha256_label};
use remit_store::{ApplyError, Batch, Precondition, Store};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};
use tokio::signal::unix::Signal;

/// Attempts to apply accounts while other changes are made at the same time.
const TRIES: usize = 8;

/// What is compared when the signal comes.
#[derive(Debug)]
pub(crate) struct ConfigReload<L> {
    file: PathBuf,
    public_url: String,
    /// The configuration that the parts were started with.
    started: Value,
    /// The one last taken over.
    taken: Value,
    /// The names of the accounts that the store was last brought in line with.
    listed: BTreeSet<String>,
    store: Store,
    authority: Arc<Server>,
    clock: Clock,
    /// Sets the log filter.
    set_log: L,
}

impl<L: Fn(&str) -> Result<()>> ConfigReload<L> {
    pub(crate) fn new(loaded: &Loaded, running: &Running, clock: Clock, set_log: L) -> Self {
        Self {
            file: loaded.file.clone(),
            public_url: loaded.config.server.public_url.clone(),
            started: loaded.document.clone(),
            taken: loaded.document.clone(),
            listed: wire::account_names(loaded),
            store: running.store.clone(),
            authority: Arc::clone(&running.authority),
            clock,
            set_log,
        }
    }

    /// Reloads at every SIGHUP until the task is dropped.
    pub(crate) async fn watch(mut self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            let done = match config::load(&self.file) {
                Ok(loaded) => self.apply(loaded).await,
                Err(problems) => self.refuse(&problems).await,
            };
            if let Err(error) = done {
                tracing::error!("the configuration was not reloaded, the running one stays: {error:#}");
            }
        }
    }

    /// Records the refusal; the log has the problems, because they may name people.
    async fn refuse(&self, problems: &[Problem]) -> Result<()> {
        let refusal = Refusal::new(
            Code::ConfigInvalid,
            format!("the configuration has {} problem(s); `remit config check` lists them", problems.len()),
        );
        let digest = bounded_read::read(&self.file, config::SIZE_LIMIT).ok().map(|bytes| sha256_label(&bytes));
        let mut draft = changed(self.store.tenant(), RecordType::ConfigChange, "config.load")
            .outcome(OutcomeStatus::Denied, EffectConfirmed::None)
            .ext("config", json!({"digest": digest, "problems": problems.len().to_string()}));
        draft.decision = Some(DecisionFacts::refused(&refusal));
        let recorded = self.store.apply(Batch::new(self.store.tenant().clone()).record(draft)).await;
        tracing::error!("the running configuration stays: {:#}", config::report(problems));
        recorded.map(drop).context("the refusal could not be recorded")
    }

    async fn apply(&mut self, mut loaded: Loaded) -> Result<()> {
        let restart = config::needs_restart(&self.started, &loaded.document);
        let applied = config::reloadable(&self.taken, &loaded.document);
        // Scopes of accounts are about the servers as they run, under the URL they run at.
        loaded.config.server.public_url.clone_from(&self.public_url);
        let servers = loaded.servers();
        let shown: Vec<&remit_model::Server> = servers.iter().collect();
        let listed = wire::accounts(&loaded, &shown)?;
        let sign_in = config::sign_in_methods(&loaded.base, &loaded.config.identity_providers, &shown)?;
        self.commit(&loaded, listed, &json!({"digest": loaded.digest, "applied": applied, "restart": restart})).await?;
        self.authority.set_sign_in_methods(sign_in);
        self.listed = wire::account_names(&loaded);
        (self.set_log)(&loaded.config.observe.log)?;
        tracing::info!(
            "configuration reloaded{}",
            if applied.is_empty() { String::new() } else { format!(": {}", applied.join(", ")) }
        );
        if !restart.is_empty() {
            tracing::warn!("these take effect at the next start: {}", restart.join(", "));
        }
        self.taken = loaded.document;
        Ok(())
    }

    /// Brings the accounts into the store and records which configuration is in force, in one batch.
    async fn commit(&self, loaded: &Loaded, listed: Vec<Human>, facts: &Value) -> Result<()> {
        for _ in 0..TRIES {
            let world = self.store.snapshot();
            // INVARIANT: an erased account does not come back while the server runs. An account that was listed before and is
            // gone was erased, and what is written is what this snapshot held, so none is erased meanwhile.
            let (kept, erased) = accounts::without_erased(&world, listed.clone(), &self.listed);
            let mut facts = facts.clone();
            if let (Some(members), false) = (facts.as_object_mut(), erased.is_empty()) {
                members.insert("accounts_erased".to_owned(), json!(erased.len()));
            }
            let record = changed(&loaded.tenant, RecordType::ConfigChange, "config.load").ext("config", facts);
            let batch = Batch::new(loaded.tenant.clone()).require(Precondition::Revision(world.revision())).record(record);
            let issuer = &loaded.config.server.public_url;
            let batch = accounts::sync(batch, &world, issuer, kept, &wire::issuers(loaded), self.clock.unix());
            match self.store.apply(batch).await {
                Err(ApplyError::Conflict(_)) => {}
                Err(error) => return Err(error).context("it could not be recorded"),
                Ok(_) => {
                    warn_of(&erased);
                    return Ok(());
                }
            }
        }
        anyhow::bail!("too much changed at the same time; send the signal again")
    }
}

/// Names erased accounts by their position in the file only: the log must not name the person.
fn warn_of(erased: &[usize]) {
    if !erased.is_empty() {
        let positions: Vec<String> = erased.iter().map(|at| at.saturating_add(1).to_string()).collect();
        tracing::warn!(
            "erased accounts are still listed and stay erased: number {} of `identity_providers`; remove them from remit.yaml, \
             or the next start registers them again",
            positions.join(", ")
        );
    }
}
