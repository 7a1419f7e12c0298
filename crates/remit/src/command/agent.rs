//! `remit agent …`: a client of the admin API.

use crate::{
    args::{AgentAdd, AgentCommand, ConfigArg},
    client::AdminClient,
    keys,
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use http::Method;
use remit_clock::Ambient;
use remit_token::{Algorithm, PrivateKey};
use serde_json::{Value, json};

/// Runs the command.
pub(crate) async fn run(command: &AgentCommand, ambient: &Ambient) -> Result<()> {
    match command {
        AgentCommand::Add(args) => add(args, ambient).await,
        AgentCommand::List(config) => {
            let answer = AdminClient::of(config)?.send(Method::GET, "agents", None).await?;
            if config.json {
                return print_json(&answer);
            }
            list(&answer);
            Ok(())
        }
        AgentCommand::Show(args) => show(
            &AdminClient::of(&args.config)?.send(Method::GET, &format!("agents/{}", args.name), None).await?,
            args.config.json,
        ),
        AgentCommand::Quarantine(args) => change(&args.config, &args.name, "quarantine").await,
        AgentCommand::Activate(args) => change(&args.config, &args.name, "activate").await,
        AgentCommand::Retire(args) => change(&args.config, &args.name, "retire").await,
    }
}

async fn add(args: &AgentAdd, ambient: &Ambient) -> Result<()> {
    let admin = AdminClient::of(&args.config)?;
    let owner = args
        .owner
        .clone()
        .or_else(|| admin.first_account.clone())
        .context("name the accountable human with --owner user:NAME")?;
    let (jwk, made) = if let Some(file) = &args.public_key {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        (serde_json::from_str(&text).with_context(|| format!("{} is not a JWK", file.display()))?, None)
    } else {
        let key = PrivateKey::generate(Algorithm::Ed25519, &mut |bytes| ambient.entropy.fill(bytes))
            .map_err(|fault| anyhow::anyhow!("{fault}"))?;
        let file = args.key.clone().unwrap_or_else(|| admin.base.join(format!("agents/{}.pem", args.name)));
        (key.public().to_jwk(), Some((key, file)))
    };
    if let Some((_, file)) = &made
        && file.exists()
    {
        bail!("{} is already there; remove it or choose another --key", file.display());
    }
    let mut asked = json!({"name": args.name, "display_name": args.display_name, "owner": owner, "keys": [jwk], "redirect_uris": redirect_uris(args)});
    if let (Some(file), Some(asked)) = (&args.authorization_details, asked.as_object_mut()) {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        asked.insert(
            "authorization_details".into(),
            serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?,
        );
    } else if let Some(asked) = asked.as_object_mut() {
        if args.scopes.is_empty() {
            bail!("say what the agent may do at most: --scope SERVER:TOOL (or SERVER:*), or --authorization-details FILE");
        }
        asked.insert("scope".into(), args.scopes.join(" ").into());
    }
    let answer = admin.send(Method::POST, "agents", Some(&asked)).await?;
    if let Some((key, file)) = &made {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            keys::private_folder(folder)?;
        }
        keys::write_private(file, key.to_pkcs8_pem().map_err(|fault| anyhow::anyhow!("{fault}"))?.trim_end().as_bytes())?;
        if !args.config.json {
            outln!("Private key: {}", file.display());
        }
    }
    show(&answer, args.config.json)
}

/// Loopback by default, so that `remit connect --login` works; its port is free (RFC 8252 section 7.3).
fn redirect_uris(args: &AgentAdd) -> Vec<String> {
    if args.redirect_uris.is_empty() { vec!["http://127.0.0.1/callback".to_owned()] } else { args.redirect_uris.clone() }
}

async fn change(config: &ConfigArg, name: &str, verb: &str) -> Result<()> {
    let answer = AdminClient::of(config)?.send(Method::POST, &format!("agents/{name}/{verb}"), None).await?;
    show(&answer, config.json)
}

fn show(answer: &Value, json: bool) -> Result<()> {
    if json {
        return print_json(answer);
    }
    let text = |name: &str| answer.get("agent").and_then(|value| value.get(name)).and_then(Value::as_str).unwrap_or_default();
    outln!("{} ({}), {}, owner {}", text("client_id"), text("display_name"), text("status"), text("owner"));
    for line in answer.pointer("/agent/may").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        outln!("  may at most: {line}");
    }
    for warning in answer.pointer("/agent/warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        outln!("  warning: {warning}");
    }
    if let Some(record) = answer.get("record").and_then(Value::as_str) {
        outln!("  recorded as {record}");
    }
    Ok(())
}

fn list(answer: &Value) {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_width(120).set_header([
        "agent",
        "status",
        "owner",
        "may at most",
    ]);
    for agent in answer.get("agents").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| agent.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let may: Vec<&str> = agent.get("may").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        table.add_row([text("name"), text("status"), text("owner"), may.join("\n")]);
    }
    outln!("{table}");
}
