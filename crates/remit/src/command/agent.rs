//! `remit agent …`: a client of the admin API.

use crate::{
    args::{AdminArg, AgentAdd, AgentCommand, AgentSettings, AgentUpdate, RotateKey},
    client::{AdminClient, Refused},
    command::agent_credentials,
    keys,
    stdout::print_json,
};
use anyhow::{Context as _, Result, bail};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use http::Method;
use remit_clock::Ambient;
use remit_model::Binding;
use remit_token::{Algorithm, PrivateKey};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Where `remit connect --login` and `remit login` take the browser's answer, on a port of their choice.
const LOOPBACK: &str = "http://127.0.0.1/callback";

/// Runs the command.
pub(crate) async fn run(command: &AgentCommand, ambient: &Ambient) -> Result<()> {
    match command {
        AgentCommand::Add(args) => add(args, ambient).await,
        AgentCommand::List(admin) => {
            let answer = AdminClient::of(admin)?.send(Method::GET, "agents", None).await?;
            if admin.config.json {
                return print_json(&answer);
            }
            list(&answer);
            Ok(())
        }
        AgentCommand::Show(args) => show(
            &AdminClient::of(&args.admin)?.send(Method::GET, &format!("agents/{}", args.name), None).await?,
            args.admin.config.json,
        ),
        AgentCommand::Update(args) => update(args).await,
        AgentCommand::RotateKey(args) => rotate_key(args, ambient).await,
        AgentCommand::Quarantine(args) => change(&args.admin, &args.name, "quarantine").await,
        AgentCommand::Activate(args) => change(&args.admin, &args.name, "activate").await,
        AgentCommand::Retire(args) => change(&args.admin, &args.name, "retire").await,
    }
}

async fn add(args: &AgentAdd, ambient: &Ambient) -> Result<()> {
    let admin = AdminClient::of(&args.admin)?;
    let owner = args
        .owner
        .clone()
        .or_else(|| admin.first_account.clone())
        .context("there is no account to own the agent; name one with --owner user:NAME")?;
    let credentials = args.credentials.credentials()?;
    let own_key = args.key.is_some() || args.public_key.is_some();
    let (keys, made) = if args.public || (!credentials.is_empty() && !own_key) {
        (json!([]), None)
    } else if let Some(file) = &args.public_key {
        (json!([public_key(file)?]), None)
    } else {
        let key = new_key(ambient)?;
        let file = args.key.clone().unwrap_or_else(|| key_file(&admin, &args.name));
        if file.exists() {
            bail!("{} is already there; remove it or choose another --key", file.display());
        }
        (json!([key.public().to_jwk()]), Some((key, file)))
    };
    let mut asked = ceiling(&args.settings)?;
    if asked.is_empty() {
        bail!("say what the agent may do at most: --scope SERVER:TOOL (or SERVER:*), or --authorization-details FILE");
    }
    asked.insert("name".into(), json!(args.name));
    asked.insert("display_name".into(), json!(args.display_name));
    asked.insert("owner".into(), json!(owner));
    asked.insert("keys".into(), keys);
    asked.insert("redirect_uris".into(), json!(redirect_uris(&args.settings.redirect_uris, args.public)));
    asked.insert("labels".into(), Value::Object(labels(&args.settings)?));
    asked.extend(binding(&args.settings));
    asked.insert("acts".into(), json!(if args.autonomous { "either" } else { "on_behalf" }));
    asked.insert("credentials".into(), json!(credentials));
    asked.extend(args.credentials.audience().map(|audience| ("assertion_audience".to_owned(), json!(audience))));
    let answer = admin.send(Method::POST, "agents", Some(&Value::Object(asked))).await?;
    if let Some((key, file)) = &made {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            keys::private_folder(folder)?;
        }
        write_key(file, key)?;
        if !args.admin.config.json {
            outln!("Private key: {}", file.display());
        }
    }
    show(&answer, args.admin.config.json)
}

async fn update(args: &AgentUpdate) -> Result<()> {
    let admin = AdminClient::of(&args.admin)?;
    let mut asked = ceiling(&args.settings)?;
    let mut labels = labels(&args.settings)?;
    labels.extend(args.remove_labels.iter().map(|name| (name.clone(), Value::Null)));
    asked.insert("labels".into(), Value::Object(labels));
    asked.extend(binding(&args.settings));
    let texts = [("owner", &args.owner), ("display_name", &args.display_name)];
    asked.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
    if let Some(autonomous) = args.autonomous {
        asked.insert("acts".into(), json!(if autonomous { "either" } else { "on_behalf" }));
    }
    let credentials = args.credentials.credentials()?;
    if !credentials.is_empty() {
        asked.insert("credentials".into(), json!(credentials));
    }
    asked.extend(args.credentials.audience().map(|audience| ("assertion_audience".to_owned(), json!(audience))));
    let path = format!("agents/{}", args.name);
    if !args.settings.redirect_uris.is_empty() {
        let present = admin.send(Method::GET, &path, None).await?;
        let none = |list: &str| present.pointer(list).and_then(Value::as_array).is_none_or(Vec::is_empty);
        let public = none("/agent/keys") && none("/agent/credentials");
        asked.insert("redirect_uris".into(), json!(redirect_uris(&args.settings.redirect_uris, public)));
    }
    let answer = admin.send(Method::PATCH, &path, Some(&Value::Object(asked))).await?;
    show(&answer, args.admin.config.json)
}

async fn rotate_key(args: &RotateKey, ambient: &Ambient) -> Result<()> {
    let admin = AdminClient::of(&args.admin)?;
    let path = format!("agents/{}/rotate-key", args.name);
    if let Some(file) = &args.public_key {
        let answer = admin.send(Method::POST, &path, Some(&json!({"keys": [public_key(file)?]}))).await?;
        return show(&answer, args.admin.config.json);
    }
    let file = args.key.clone().unwrap_or_else(|| key_file(&admin, &args.name));
    if !file.is_file() {
        bail!("{} is not there; name the key file with --key, or the new public key with --public-key", file.display());
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = file.with_file_name(name);
    if fresh.exists() {
        bail!(
            "{} is left of a rotation that did not end; if `remit agent show {}` lists its key, move it over {}, else remove it",
            fresh.display(),
            args.name,
            file.display()
        );
    }
    let key = new_key(ambient)?;
    // CRASH: the new key is on disk before the server knows it, so it cannot be lost once it alone is valid.
    write_key(&fresh, &key)?;
    let answer = match admin.send(Method::POST, &path, Some(&json!({"keys": [key.public().to_jwk()]}))).await {
        Ok(answer) => answer,
        Err(error) => {
            if error.is::<Refused>() {
                std::fs::remove_file(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))?;
            }
            return Err(error);
        }
    };
    std::fs::rename(&fresh, &file).with_context(|| format!("cannot put {} in place", fresh.display()))?;
    if !args.admin.config.json {
        outln!("New private key: {}", file.display());
    }
    show(&answer, args.admin.config.json)
}

fn public_key(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a JWK", file.display()))
}

fn new_key(ambient: &Ambient) -> Result<PrivateKey> {
    PrivateKey::generate(Algorithm::Ed25519, &mut |bytes| ambient.entropy.fill(bytes)).map_err(|fault| anyhow::anyhow!("{fault}"))
}

fn write_key(file: &Path, key: &PrivateKey) -> Result<()> {
    let pem = key.to_pkcs8_pem().map_err(|fault| anyhow::anyhow!("{fault}"))?;
    keys::write_private(file, pem.trim_end().as_bytes())
}

fn key_file(admin: &AdminClient, name: &str) -> PathBuf {
    admin.base.join(format!("agents/{name}.pem"))
}

/// The ceiling as the admin API takes it; empty when none is named.
fn ceiling(settings: &AgentSettings) -> Result<Map<String, Value>> {
    let mut asked = Map::new();
    if let Some(file) = &settings.authorization_details {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let details = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
        asked.insert("authorization_details".into(), details);
    } else if !settings.scopes.is_empty() {
        asked.insert("scope".into(), settings.scopes.join(" ").into());
    }
    Ok(asked)
}

/// The binding that the arguments name, as the admin API takes it.
fn binding(settings: &AgentSettings) -> impl Iterator<Item = (String, Value)> {
    let binding = settings.binding.map(|named| ("binding".to_owned(), json!(Binding::from(named))));
    let writes = settings.danger_bearer_writes.map(|writes| ("danger_bearer_writes".to_owned(), json!(writes)));
    binding.into_iter().chain(writes)
}

fn labels(settings: &AgentSettings) -> Result<Map<String, Value>> {
    let mut labels = Map::new();
    for label in &settings.labels {
        let (name, value) = label.split_once('=').with_context(|| format!("`{label}` is not NAME=VALUE"))?;
        labels.insert(name.to_owned(), value.into());
    }
    labels.extend(settings.endpoint.as_ref().map(|uri| ("endpoint".to_owned(), Value::from(uri.as_str()))));
    Ok(labels)
}

/// The redirect URIs to register. With a key, the agent alone can redeem what is sent to any of them, so the loopback one of
/// `remit connect --login` is always there; its port is free (RFC 8252 section 7.3).
fn redirect_uris(named: &[String], public: bool) -> Vec<String> {
    let mut uris = named.to_vec();
    if uris.is_empty() || !(public || uris.iter().any(|uri| uri == LOOPBACK)) {
        uris.push(LOOPBACK.to_owned());
    }
    uris
}

async fn change(admin: &AdminArg, name: &str, verb: &str) -> Result<()> {
    let answer = AdminClient::of(admin)?.send(Method::POST, &format!("agents/{name}/{verb}"), None).await?;
    show(&answer, admin.config.json)
}

fn show(answer: &Value, json: bool) -> Result<()> {
    if json {
        return print_json(answer);
    }
    let text = |name: &str| answer.get("agent").and_then(|value| value.get(name)).and_then(Value::as_str).unwrap_or_default();
    outln!("agent:{} ({}), {}, owner {}", text("name"), text("display_name"), text("status"), text("owner"));
    match answer.pointer("/agent/registration/by").and_then(Value::as_str) {
        Some("metadata_document") => outln!("  described by {}", text("client_id")),
        Some("dynamic") => outln!("  registered itself; nothing vouches for its name"),
        _ => {}
    }
    for line in answer.pointer("/agent/may").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        outln!("  may at most: {line}");
    }
    for warning in answer.pointer("/agent/warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        outln!("  warning: {warning}");
    }
    let count = |name: &str| answer.pointer(&format!("/agent/{name}")).and_then(Value::as_array).map_or(0, Vec::len);
    outln!(
        "  {}",
        match (answer.pointer("/agent/acts").and_then(Value::as_str), count("keys") + count("credentials")) {
            (_, 0) => "has no key: acts only for people who sign in",
            (Some("on_behalf"), _) => "acts only on behalf of a person (`--autonomous` lets it act on its own)",
            _ => "also acts on its own, without a person",
        }
    );
    for credential in answer.pointer("/agent/credentials").and_then(Value::as_array).into_iter().flatten() {
        outln!("  authenticates with {}", agent_credentials::words(credential));
    }
    if answer.pointer("/agent/assertion_audience").is_some_and(|audience| audience == "token_endpoint") {
        outln!("  its client assertions may name the token endpoint as their audience");
    }
    for risk in answer.pointer("/agent/standing_risks").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        outln!("  standing risk: {risk}");
    }
    for (name, value) in answer.pointer("/agent/labels").and_then(Value::as_object).into_iter().flatten() {
        outln!("  label {name}={}", value.as_str().unwrap_or_default());
    }
    for uri in answer.pointer("/agent/redirect_uris").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        outln!("  redirect URI {uri}");
    }
    if let Some(record) = answer.get("record").and_then(Value::as_str) {
        outln!("  recorded as {record}");
    }
    Ok(())
}

fn list(answer: &Value) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(120).set_header([
        "AGENT",
        "STATUS",
        "OWNER",
        "MAY AT MOST",
        "STANDING RISK",
    ]);
    for agent in answer.get("agents").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| agent.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let may: Vec<&str> = agent.get("may").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let risks: Vec<&str> =
            agent.get("standing_risks").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        table.add_row([text("name"), text("status"), text("owner"), may.join("\n"), risks.join("\n")]);
    }
    outln!("{}", table.trim_fmt());
}
