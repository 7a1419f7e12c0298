//! `remit revoke`: ends more than one token at a time, through the admin API. SPEC: RV-05

use crate::{args::AdminArg, client::AdminClient, stdout::print_json};
use anyhow::Result;
use clap::Args;
use http::Method;
use remit_model::{UnixTime, display};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    admin: AdminArg,
}

/// What is revoked; each has the name of a member of the request.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct By {
    /// Everything that a person has handed out, and their sign-ins; they can sign in again
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Everything that an agent holds or has handed on; it stays active and can obtain new tokens
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The same by `client_id`, for a client that registered itself
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
    /// The same for every agent that a person is accountable for (user:NAME)
    #[arg(long, value_name = "SUBJECT")]
    owner: Option<String>,
    /// One consent with everything that came from it, by the `txn` of its tokens
    #[arg(long, value_name = "TXN")]
    chain: Option<String>,
    /// Everything that is good at a server, by its name or address
    #[arg(long, value_name = "SERVER")]
    resource: Option<String>,
    /// Everything that is bound to a key or a certificate, by its RFC 7638 thumbprint or its `x5t#S256`, and of the agents that are
    /// registered with it
    #[arg(long, value_name = "THUMBPRINT")]
    key: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The configuration has problems, or the server refuses.
pub(crate) async fn run(command: Revoke) -> Result<()> {
    let Revoke { by: By { user, agent, client, owner, chain, resource, key }, admin: arg } = command;
    let named = [
        ("user", user),
        ("agent", agent),
        ("client", client),
        ("owner", owner),
        ("chain", chain),
        ("resource", resource),
        ("key", key),
    ];
    let asked: serde_json::Map<String, Value> =
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
    let admin = AdminClient::of(&arg)?;
    let answer = admin.send(Method::POST, "revocations", Some(&Value::Object(asked))).await?;
    if arg.config.json {
        return print_json(&answer);
    }
    let agents = answer.pointer("/revoked/agents").and_then(Value::as_array);
    for agent in agents.into_iter().flatten().filter_map(Value::as_str) {
        outln!("{}", display::escape(agent));
    }
    if answer.pointer("/revoked/matched/agents").and_then(Value::as_u64) == Some(0) {
        outln!("no agent is registered with it; whether any token is bound to it is not known");
    }
    let before = answer.get("before").and_then(Value::as_i64).map(|seconds| UnixTime(seconds).utc()).unwrap_or_default();
    let record = answer.get("record").and_then(Value::as_str).unwrap_or_default();
    outln!("revoked whatever was issued before {before}; recorded as {record}");
    Ok(())
}
