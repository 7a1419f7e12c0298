//! `remit token …`: looks at tokens, or exchanges one, for debugging.

use crate::{
    args::{Exchange, TokenCommand},
    client::{AgentClient, AgentProfile, Granted, Narrower, TokenSource, login::Login, narrow},
    keys,
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use remit_clock::Ambient;
use remit_token::{PrivateKey, inspect_unverified};
use serde_json::json;
use std::{io::Read as _, path::Path, sync::Arc};

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
    let profile = AgentProfile::of(&args.agent, &ambient.entropy)?;
    let named = args.resource.clone().or_else(|| Some(profile.resource(args.server.as_ref()?)));
    let resource = named.context("give --server or --resource")?;
    let client = profile.client(TokenSource::Itself { resource: resource.clone(), scope: None }, ambient);
    let (scope, details) = (args.request.scope.as_deref(), args.request.details()?);
    if args.request.purpose.is_some() && !args.login {
        bail!("--purpose is what a person is told; give it with --login");
    }
    let granted = if args.login {
        let login = Login::begin(&profile, &resource, &args.request, ambient).await?;
        // Standard output holds the token alone, so that it can be piped into the next exchange.
        eprintln!("Sign in and consent here:\n\n  {}\n", login.url);
        Ok(login.finish(None).await?)
    } else if args.subject_token {
        let subject = stdin()?;
        let child = match (&args.child, &args.child_key) {
            (Some(name), Some(file)) => Some(child(name, file, &profile, ambient).await?),
            _ => None,
        };
        let to = Narrower { resource: &resource, scope, details: details.as_deref(), label: args.label.as_deref() };
        narrow(&client, subject.trim(), child.as_ref(), &to).await?
    } else {
        client.itself(&resource, scope, details.as_deref(), args.label.as_deref()).await?
    };
    match granted {
        Ok(granted) if args.json => print_json(&granted.answer),
        Ok(granted) => {
            outln!("{}", granted.access_token);
            Ok(())
        }
        Err(refusal) => bail!("refused: {refusal}"),
    }
}

/// The identity token of a sub-agent, bound to the sub-agent's own key.
async fn child(name: &str, key_file: &Path, parent: &AgentProfile, ambient: &Ambient) -> Result<Granted> {
    let key = Arc::new(keys::read_key(key_file)?);
    let child = acting_as(parent, &format!("agent:{name}"), key, &parent.url, ambient);
    let granted = child.itself(&parent.url, None, None, None).await?;
    granted.map_err(|refusal| anyhow::anyhow!("no identity token for agent:{name}: {refusal}"))
}

fn acting_as(profile: &AgentProfile, client_id: &str, key: Arc<PrivateKey>, resource: &str, ambient: &Ambient) -> AgentClient {
    let source = TokenSource::Itself { resource: resource.to_owned(), scope: None };
    AgentClient::new(profile.http.clone(), &profile.url, client_id, key, source, ambient.clone())
}

fn stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(TOKEN_LIMIT).read_to_string(&mut text).context("cannot read the token from standard input")?;
    Ok(text)
}
