//! The listener's certificate while the server runs: a renewed one is used for new connections, without a restart.

use super::{changed::changed, listener::Tls};
use crate::tls_files::{Identity, TlsFiles};
use anyhow::{Context as _, Result};
use remit_clock::Clock;
use remit_ledger::record::RecordType;
use remit_store::{Batch, Store};
use serde_json::json;
use std::time::Duration;

/// How often the files are read again: as often as other files that programs keep current, and whatever their time stamps say.
const EVERY: Duration = Duration::from_secs(2);

/// The files of the listener's certificate, and the listener that uses them.
#[derive(Debug)]
pub(crate) struct TlsReload {
    files: TlsFiles,
    tls: Tls,
    /// The thumbprint of the certificate in force.
    taken: String,
    /// Why the files could not be used the last time, so that the log says it once.
    trouble: Option<String>,
}

impl TlsReload {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// They cannot be used.
    pub(crate) fn open(files: TlsFiles, ask: bool, clock: &Clock) -> Result<Self> {
        let identity = files.read().context("server.tls")?;
        warn(&files, &identity, clock);
        let Identity { key, thumbprint: taken, .. } = identity;
        let tls = Tls::new(key, ask).context("server.tls")?;
        Ok(Self { files, tls, taken, trouble: None })
    }

    /// What the listener accepts with.
    pub(crate) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Follows the files until the task is dropped.
    pub(crate) async fn watch(mut self, store: Store, clock: Clock) {
        loop {
            tokio::time::sleep(EVERY).await;
            let Err(error) = self.refresh(&store, &clock).await else {
                self.trouble = None;
                continue;
            };
            let trouble = format!("{error:#}");
            if self.trouble.as_ref() != Some(&trouble) {
                tracing::error!("server.tls: {trouble}; the certificate read before stays in use");
            }
            self.trouble = Some(trouble);
        }
    }

    /// Takes over a certificate that changed, once that is recorded. Two files are not replaced in one step, so a pair that
    /// does not fit is left for the next look.
    async fn refresh(&mut self, store: &Store, clock: &Clock) -> Result<()> {
        let identity = self.files.read()?;
        if identity.thumbprint == self.taken {
            return Ok(());
        }
        let draft = changed(store.tenant(), RecordType::ConfigChange, "tls.load")
            .ext("config", json!({"certificate": identity.thumbprint}));
        store.apply(Batch::new(store.tenant().clone()).record(draft)).await?;
        warn(&self.files, &identity, clock);
        tracing::info!(certificate = identity.thumbprint, "new connections use the renewed certificate");
        self.taken = identity.thumbprint;
        self.tls.replace(identity.key);
        Ok(())
    }
}

fn warn(files: &TlsFiles, identity: &Identity, clock: &Clock) {
    if let Some(warning) = identity.warning(&files.certificate, clock.unix()) {
        tracing::warn!("server.tls: {warning}");
    }
}
