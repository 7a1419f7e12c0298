//! `remit token …`: for people who debug.

use crate::{
    args::{Exchange, TokenCommand},
    client::{AgentClient, AgentProfile, TokenSource, narrow},
    keys,
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use remit_clock::Ambient;
use remit_token::inspect_unverified;
use serde_json::json;
use std::{io::Read as _, sync::Arc};

/// Longest token read from standard input, in bytes.
const TOKEN_LIMIT: u64 = 64 << 10;

/// Runs the command.
pub(crate) async fn run(command: &TokenCommand, ambient: &Ambient) -> Result<()> {
    match command {
        TokenCommand::Inspect { token, json } => inspect(token, *json),
        TokenCommand::Exchange(args) => exchange(args, ambient).await,
    }
}

fn inspect(token: &str, json: bool) -> Result<()> {
    let token = if token == "-" { stdin()? } else { token.to_owned() };
    let seen = inspect_unverified(token.trim()).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
    if !json {
        eprintln!("Not verified: anyone can write such a token. The server alone says whether it holds.");
    }
    print_json(&json!({"header": seen.header, "claims": seen.claims}))
}

async fn exchange(args: &Exchange, ambient: &Ambient) -> Result<()> {
    let who = AgentProfile::of(&args.caller)?;
    let named = args.resource.clone().or_else(|| Some(format!("{}/mcp/{}", who.url, args.server.as_ref()?)));
    let resource = named.context("give --server or --resource")?;
    let details = args
        .authorization_details
        .as_ref()
        .map(|file| std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display())))
        .transpose()?;
    let source = |resource: &str| TokenSource::Itself { resource: resource.to_owned(), scope: None };
    let caller =
        AgentClient::new(who.web.clone(), &who.url, &who.client_id, Arc::clone(&who.key), source(&resource), ambient.clone());
    let granted = if args.subject_token {
        let subject = stdin()?;
        let child = match (&args.child, &args.child_key) {
            (Some(name), Some(file)) => {
                let key = Arc::new(keys::read_key(file)?);
                let child =
                    AgentClient::new(who.web.clone(), &who.url, &format!("agent:{name}"), key, source(&who.url), ambient.clone());
                Some(
                    child
                        .itself(&who.url, None, None)
                        .await?
                        .map_err(|told| anyhow::anyhow!("no identity token for agent:{name}: {told}"))?,
                )
            }
            _ => None,
        };
        narrow(&caller, subject.trim(), child.as_ref(), &resource, args.scope.as_deref(), details.as_deref()).await?
    } else {
        caller.itself(&resource, args.scope.as_deref(), details.as_deref()).await?
    };
    match granted {
        Ok(granted) if args.json => print_json(&granted.answer),
        Ok(granted) => {
            outln!("{}", granted.access_token);
            Ok(())
        }
        Err(told) => bail!("refused: {told}"),
    }
}

fn stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(TOKEN_LIMIT).read_to_string(&mut text).context("cannot read the token from standard input")?;
    Ok(text)
}
