//! `remit connect`: a stdio MCP bridge for any MCP client. Standard output carries MCP alone; logs go to standard error.

mod bridge;
mod login;

use crate::{
    caller::{Caller, Source},
    cli::{self, Connect},
    config, keys,
    web::Web,
};
use anyhow::{Context as _, Result};
use remit_clock::Ambient;
use std::{path::PathBuf, sync::Arc};

/// Runs the command.
pub(crate) async fn run(args: &Connect, ambient: &Ambient) -> Result<()> {
    let who = Who::of(&args.caller)?;
    let resource = format!("{}/mcp/{}", who.url, args.server);
    let source = if args.login {
        login::source(&who, &resource, args, ambient).await?
    } else {
        Source::Itself { resource: resource.clone(), scope: args.scope.clone() }
    };
    let caller = Caller::new(who.web, &who.url, &who.client_id, who.key, source, ambient.clone());
    bridge::run(caller, resource).await
}

/// An agent as the command line names it.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) web: Web,
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) key: Arc<remit_token::PrivateKey>,
    pub(crate) key_file: PathBuf,
}

impl Who {
    pub(crate) fn of(args: &cli::Caller) -> Result<Self> {
        let id = remit_model::AgentId::parse(&args.agent).map_err(|refusal| anyhow::anyhow!("--agent: {}", refusal.reason))?;
        let base = args.config.parent().map_or_else(PathBuf::new, std::path::Path::to_owned);
        let key_file = args.key.clone().unwrap_or_else(|| base.join(format!("agents/{id}.pem")));
        let url = match &args.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => config::load(&args.config).map_err(|problems| config::report(&problems))?.config.server.public_url,
        };
        let key =
            keys::read_key(&key_file).with_context(|| format!("no key for agent `{id}`; `remit agent add {id}` makes one"))?;
        Ok(Self { web: Web::new()?, url, client_id: id.subject(), key: Arc::new(key), key_file })
    }
}
