//! The agent that a command acts as: its key, its name and its server, from the command line and the configuration.

use super::http_client::HttpClient;
use crate::{args, config, keys};
use anyhow::{Context as _, Result};
use std::{path::PathBuf, sync::Arc};

/// An agent as the command line names it.
#[derive(Clone, Debug)]
pub(crate) struct AgentProfile {
    pub(crate) http: HttpClient,
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) key: Arc<remit_token::PrivateKey>,
    pub(crate) key_file: PathBuf,
}

impl AgentProfile {
    /// Reads the key and the server's URL.
    ///
    /// # Errors
    /// The name or the configuration is wrong, or there is no such key.
    pub(crate) fn of(args: &args::AgentArgs) -> Result<Self> {
        let id = remit_model::AgentId::parse(&args.agent).map_err(|refusal| anyhow::anyhow!("--agent: {}", refusal.reason))?;
        let base = args.config.parent().map_or_else(PathBuf::new, std::path::Path::to_owned);
        let key_file = args.key.clone().unwrap_or_else(|| base.join(format!("agents/{id}.pem")));
        let url = match &args.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => config::load(&args.config).map_err(|problems| config::report(&problems))?.config.server.public_url,
        };
        let key =
            keys::read_key(&key_file).with_context(|| format!("no key for agent `{id}`; `remit agent add {id}` makes one"))?;
        Ok(Self { http: HttpClient::new()?, url, client_id: id.subject(), key: Arc::new(key), key_file })
    }

    /// The resource (RFC 8707) of the server with this name.
    pub(crate) fn resource(&self, server: &str) -> String {
        format!("{}/mcp/{server}", self.url)
    }
}
