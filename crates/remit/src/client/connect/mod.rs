//! `remit connect`: a stdio MCP bridge for any MCP client. Standard output carries MCP alone; logs go to standard error.

mod bridge;
mod login;

use crate::{
    args::Connect,
    client::{AgentClient, AgentProfile, TokenSource},
};
use anyhow::Result;
use remit_clock::Ambient;

/// Runs the command.
pub(crate) async fn run(args: &Connect, ambient: &Ambient) -> Result<()> {
    let who = AgentProfile::of(&args.caller)?;
    let resource = format!("{}/mcp/{}", who.url, args.server);
    let source = if args.login {
        login::source(&who, &resource, args, ambient).await?
    } else {
        TokenSource::Itself { resource: resource.clone(), scope: args.scope.clone() }
    };
    let caller = AgentClient::new(who.web, &who.url, &who.client_id, who.key, source, ambient.clone());
    bridge::run(caller, resource).await
}
