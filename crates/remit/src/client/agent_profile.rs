//! The agent that a command acts as: its key, its name and its server, from the command line and the configuration.

use super::{
    agent_client::{AgentClient, TokenSource},
    http_client::HttpClient,
};
use crate::{args, config, keys};
use anyhow::{Context as _, Result, bail};
use remit_clock::{Ambient, Entropy};
use remit_token::{Algorithm, PrivateKey};
use std::{path::PathBuf, sync::Arc};

/// An agent as the command line names it.
#[derive(Clone, Debug)]
pub(crate) struct AgentProfile {
    pub(crate) http: HttpClient,
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) key_file: PathBuf,
    /// The file with the token by which an issuer vouches for the agent.
    pub(crate) workload_token: Option<PathBuf>,
}

impl AgentProfile {
    /// Reads the key and the server's URL. An agent for which an issuer vouches needs no key of its own: this process then has a
    /// new one.
    ///
    /// # Errors
    /// The name or the configuration is wrong, or there is no such key.
    pub(crate) fn of(args: &args::AgentArgs, entropy: &Entropy) -> Result<Self> {
        let id = remit_model::AgentId::parse(&args.agent).map_err(|refusal| anyhow::anyhow!("--agent: {}", refusal.reason))?;
        let base = args.config.parent().map_or_else(PathBuf::new, std::path::Path::to_owned);
        let key_file = args.key.clone().unwrap_or_else(|| base.join(format!("agents/{id}.pem")));
        let url = match &args.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => config::load(&args.config).map_err(|problems| config::report(&problems))?.config.server.public_url,
        };
        let key = match (&args.workload_token, &args.key) {
            (Some(_), None) => PrivateKey::generate(Algorithm::Es256, &mut |bytes| entropy.fill(bytes))
                .map_err(|fault| anyhow::anyhow!("cannot make a key: {fault}"))?,
            _ => {
                keys::read_key(&key_file).with_context(|| format!("no key for agent `{id}`; `remit agent add {id}` makes one"))?
            }
        };
        let workload_token = args.workload_token.clone();
        Ok(Self { http: HttpClient::new()?, url, client_id: id.subject(), key: Arc::new(key), key_file, workload_token })
    }

    /// The agent at work, with the tokens that `source` says.
    pub(crate) fn client(&self, source: TokenSource, ambient: &Ambient) -> AgentClient {
        let key = Arc::clone(&self.key);
        let client = AgentClient::new(self.http.clone(), &self.url, &self.client_id, key, source, ambient.clone());
        match &self.workload_token {
            Some(file) => client.vouched_by(file.clone()),
            None => client,
        }
    }

    /// A person's sign-in is kept for the agent's next process, which a key that is never written down would not fit.
    ///
    /// # Errors
    /// The agent has only such a key.
    pub(crate) fn keeps_its_key(args: &args::AgentArgs) -> Result<()> {
        if args.workload_token.is_some() && args.key.is_none() {
            bail!("a sign-in is kept for the agent's key: with --workload-token, name the key's file with --key");
        }
        Ok(())
    }

    /// The resource (RFC 8707) of the server with this name.
    pub(crate) fn resource(&self, server: &str) -> String {
        format!("{}/mcp/{server}", self.url)
    }
}
