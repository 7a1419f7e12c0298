//! The upstreams' own credentials, each header from a file: read at start, and again while the server runs, so that a
//! rotated secret needs no restart.

use super::changed::changed;
use crate::{config::Loaded, keys};
use anyhow::{Context as _, Result};
use remit_gateway::UpstreamHeaders;
use remit_ledger::record::RecordType;
use remit_store::{Batch, Store};
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// How often the files are read again. They are few and small, and a mounted secret is swapped by a link whose time stamps
/// say nothing.
const EVERY: Duration = Duration::from_secs(2);

/// The header files of one upstream, and what the gateway sends because of them.
#[derive(Debug)]
pub(crate) struct HeaderFiles {
    server: String,
    files: Vec<(String, PathBuf)>,
    headers: UpstreamHeaders,
    /// What the files held when they were last taken over.
    taken: Values,
    /// Why they could not be read the last time, so that the log says it once.
    trouble: Option<String>,
}

/// Header names with their values. They are credentials, so nothing shows them.
#[derive(Clone, PartialEq, Eq)]
struct Values(Vec<(String, String)>);

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl HeaderFiles {
    /// Reads the header files of a server for the first time.
    ///
    /// # Errors
    /// A file that cannot be read, or does not hold the value of a header.
    pub(crate) fn open(loaded: &Loaded, server: &str, files: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let files: Vec<_> = files.iter().map(|(name, file)| (name.clone(), loaded.at(file))).collect();
        let taken = read(&files)?;
        let headers = UpstreamHeaders::parse(&taken.0).map_err(|reason| anyhow::anyhow!("header_files: {reason}"))?;
        Ok(Self { server: server.to_owned(), files, headers, taken, trouble: None })
    }

    /// What the gateway sends; it follows the files.
    pub(crate) fn headers(&self) -> UpstreamHeaders {
        self.headers.clone()
    }

    /// Reads the files again, and takes over what changed once that is recorded.
    async fn refresh(&mut self, store: &Store) {
        let Err(error) = self.try_refresh(store).await else {
            self.trouble = None;
            return;
        };
        let trouble = format!("{error:#}");
        if self.trouble.as_ref() != Some(&trouble) {
            let server = &self.server;
            tracing::error!("mcp_servers.{server}.header_files: {trouble}; the headers read before stay in use");
        }
        self.trouble = Some(trouble);
    }

    async fn try_refresh(&mut self, store: &Store) -> Result<()> {
        let now = read(&self.files)?;
        if now == self.taken {
            return Ok(());
        }
        UpstreamHeaders::parse(&now.0).map_err(anyhow::Error::msg)?;
        let names: Vec<&String> = now.0.iter().map(|(name, _)| name).collect();
        let draft = changed(store.tenant(), RecordType::ConfigChange, "header_files.load")
            .ext("config", json!({"server": self.server, "headers": names}));
        store.apply(Batch::new(store.tenant().clone()).record(draft)).await?;
        self.headers.replace(&now.0).map_err(anyhow::Error::msg)?;
        tracing::info!(server = %self.server, "header files read again");
        self.taken = now;
        Ok(())
    }
}

/// Follows the files until the task is dropped.
pub(crate) async fn watch(mut all: Vec<HeaderFiles>, store: Store) {
    all.retain(|one| !one.files.is_empty());
    while !all.is_empty() {
        tokio::time::sleep(EVERY).await;
        for one in &mut all {
            one.refresh(&store).await;
        }
    }
}

fn read(files: &[(String, PathBuf)]) -> Result<Values> {
    let value = |(name, file): &(String, PathBuf)| {
        Ok((name.clone(), keys::read_secret(file).with_context(|| format!("header `{name}`"))?))
    };
    files.iter().map(value).collect::<Result<_>>().map(Values)
}
