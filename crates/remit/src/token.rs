//! `remit token …`: for people who debug.

use crate::{
    agent::print,
    caller::{ACCESS_TOKEN, Caller, Granted, Source, TOKEN_EXCHANGE},
    cli::{Exchange, TokenCommand},
    connect::Who,
    keys,
};
use anyhow::{Context as _, Result, bail};
use remit_clock::Ambient;
use remit_model::{Authority, UnixTime};
use remit_token::{Delegation, inspect_unverified};
use serde_json::{Value, json};
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
    print(&json!({"header": seen.header, "claims": seen.claims}))
}

async fn exchange(args: &Exchange, ambient: &Ambient) -> Result<()> {
    let who = Who::of(&args.caller)?;
    let named = args.resource.clone().or_else(|| Some(format!("{}/mcp/{}", who.url, args.server.as_ref()?)));
    let resource = named.context("give --server or --resource")?;
    let details = args
        .authorization_details
        .as_ref()
        .map(|file| std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display())))
        .transpose()?;
    let source = |resource: &str| Source::Itself { resource: resource.to_owned(), scope: None };
    let caller = Caller::new(who.web.clone(), &who.url, &who.client_id, Arc::clone(&who.key), source(&resource), ambient.clone());
    let granted = if args.subject_token {
        let subject = stdin()?;
        let child = match (&args.child, &args.child_key) {
            (Some(name), Some(file)) => {
                let key = Arc::new(keys::read_key(file)?);
                let child =
                    Caller::new(who.web.clone(), &who.url, &format!("agent:{name}"), key, source(&who.url), ambient.clone());
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
        Ok(granted) if args.json => print(&granted.answer),
        Ok(granted) => {
            outln!("{}", granted.access_token);
            Ok(())
        }
        Err(told) => bail!("refused: {told}"),
    }
}

/// One exchange (RFC 8693): narrows a token, for itself or for a named child.
pub(crate) async fn narrow(
    caller: &Caller,
    subject: &str,
    child: Option<&Granted>,
    resource: &str,
    scope: Option<&str>,
    details: Option<&str>,
) -> Result<Result<Granted, crate::caller::Told>> {
    let mut fields = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", resource),
    ];
    if let Some(child) = child {
        fields.extend([("actor_token", child.access_token.as_str()), ("actor_token_type", ACCESS_TOKEN)]);
    }
    fields.extend(scope.map(|scope| ("scope", scope)));
    fields.extend(details.map(|details| ("authorization_details", details)));
    let delegation = child.zip(details).map(|(child, details)| signed(subject, child, details)).transpose()?;
    caller.hand_on(&fields, delegation.as_ref()).await
}

/// What the parent signs when it says exactly what it hands on.
fn signed(subject: &str, child: &Granted, details: &str) -> Result<Delegation> {
    let claims = |token: &str| {
        inspect_unverified(token).map(|seen| Value::Object(seen.claims)).map_err(|refusal| anyhow::anyhow!("{refusal}"))
    };
    let (parent, child) = (claims(subject)?, claims(&child.access_token)?);
    let text = |claims: &Value, pointer: &str| claims.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Ok(Delegation {
        delegate: text(&child, "/sub").context("the child's token has no subject")?,
        jkt: text(&child, "/cnf/jkt").context("the child's token is bound to no key")?,
        parent: text(&parent, "/jti").context("the parent's token has no jti")?,
        authority: Authority::parse(&serde_json::from_str(details)?).map_err(|refusal| anyhow::anyhow!("{refusal}"))?,
        expires: UnixTime(parent.pointer("/exp").and_then(Value::as_i64).context("the parent's token has no end")?),
        purpose: None,
    })
}

fn stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(TOKEN_LIMIT).read_to_string(&mut text).context("cannot read the token from standard input")?;
    Ok(text)
}
