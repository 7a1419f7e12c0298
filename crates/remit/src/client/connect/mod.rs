//! `remit connect`: a stdio MCP bridge for any MCP client. Standard output carries MCP alone; logs go to standard error.

mod bridge;
mod lines;
mod session;
mod sse;
mod unsigned;

use super::{agent_client::TokenSource, agent_profile::AgentProfile, sign_in::SignIn};
use crate::args::Connect;
use anyhow::Result;
use remit_clock::Ambient;
use unsigned::SignInPrompt;

/// Runs the command until the client closes standard input or a signal asks it to stop.
///
/// # Errors
/// The agent has no key, or standard input breaks.
pub(crate) async fn run(args: &Connect, ambient: &Ambient) -> Result<()> {
    if args.login {
        AgentProfile::keeps_its_key(&args.agent)?;
    }
    let profile = AgentProfile::of(&args.agent, &ambient.entropy)?;
    let resource = profile.resource(&args.server);
    let (source, prompt) = if args.login {
        let sign_in = SignIn::beside(&profile.key_file, &args.server, &resource);
        let prompt = SignInPrompt::new(&profile, &args.server, sign_in.clone(), args.request.clone(), ambient.clone());
        if !sign_in.exists() {
            prompt.begin().await?;
        }
        (TokenSource::SignIn(sign_in), Some(prompt))
    } else if let Some(file) = &args.token_file {
        (TokenSource::Handed(file.clone()), None)
    } else {
        (TokenSource::Itself { resource: resource.clone(), scope: args.request.scope.clone() }, None)
    };
    let client = profile.client(source, ambient);
    bridge::run(client, resource, prompt, ambient.clock.clone()).await
}
