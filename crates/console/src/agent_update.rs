//! Changes to a registered agent: what it may do, who is accountable for it, where it may be called, and its keys.

use crate::{
    Console,
    admin::Admin,
    agents::{self, BODY_LIMIT, LIST_LIMIT},
    credentials,
    error::No,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    routing::{patch, post},
};
use remit_ledger::record::Draft;
use remit_model::{
    Acts, Agent, AgentStatus, AssertionAudience, Authority, Binding, Code, Credential, Principal, Refusal, display, json,
};
use remit_store::{ApplyError, Batch, Change, Precondition};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json as object};
use std::{collections::BTreeMap, sync::Arc};

/// Attempts to write while other changes are made at the same time.
const TRIES: usize = 8;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/admin/v1/agents/{name}", patch(update))
        .route("/admin/v1/agents/{name}/rotate-key", post(rotate_key))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// What `PATCH /admin/v1/agents/NAME` takes. What is not named stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    display_name: Option<String>,
    owner: Option<String>,
    /// Replaces the list.
    redirect_uris: Option<Vec<String>>,
    /// The ceiling as scope shorthand …
    scope: Option<String>,
    /// … or as RFC 9396 authorization details.
    authorization_details: Option<Value>,
    /// Added to the labels; `null` removes one.
    #[serde(default)]
    labels: BTreeMap<String, Option<String>>,
    acts: Option<Acts>,
    /// Replaces the list.
    credentials: Option<Vec<Credential>>,
    assertion_audience: Option<AssertionAudience>,
    binding: Option<Binding>,
    danger_bearer_writes: Option<bool>,
}

/// What `POST /admin/v1/agents/NAME/rotate-key` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// The public JWKs that replace the present ones.
    keys: Vec<Value>,
}

async fn update(admin: Admin, State(console): State<Arc<Console>>, name: Path<String>, body: Bytes) -> Result<Json<Value>, No> {
    let asked: Update = read(&body)?;
    let draft = admin.change(&console, "agent.update");
    write(&console, &name, draft, |before, batch| Ok((updated(&console, before, &asked)?, batch))).await
}

/// SPEC: DC-13: from here on only the new keys authenticate the agent.
async fn rotate_key(
    admin: Admin,
    State(console): State<Arc<Console>>,
    name: Path<String>,
    body: Bytes,
) -> Result<Json<Value>, No> {
    let asked: Rotation = read(&body)?;
    let draft = admin.change(&console, "agent.rotate_key");
    write(&console, &name, draft, |before, batch| {
        if before.keys.is_empty() {
            let reason = format!("`{}` has no key here to replace", before.id);
            return Err(Refusal::new(Code::RequestMalformed, reason));
        }
        if asked.keys.is_empty() {
            return Err(Refusal::new(Code::RequestMalformed, "name the new public key in `keys`"));
        }
        let keys = agents::public_keys(&asked.keys)?;
        let batch = agents::claim_keys(&console, batch, &keys)?;
        Ok((Agent { keys, ..before.clone() }, batch))
    })
    .await
}

/// Reads a request's body.
///
/// # Errors
/// It is too long, no JSON, or not of this form.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let value = json::parse(body, &json::Limits { bytes: BODY_LIMIT, ..json::Limits::default() })?;
    serde_json::from_value(value).map_err(|error| Refusal::new(Code::RequestMalformed, error.to_string()))
}

/// Writes what `change` makes of the agent, with a record that says which members changed.
async fn write(
    console: &Console,
    name: &str,
    draft: Draft,
    change: impl Fn(&Agent, Batch) -> Result<(Agent, Batch), Refusal>,
) -> Result<Json<Value>, No> {
    for _ in 0..TRIES {
        let world = console.store.snapshot();
        let before = agents::known(&world, name)?;
        if before.status == AgentStatus::Retired {
            return Err(Refusal::new(Code::AgentRetired, format!("`{name}` is retired, and that is for good")).into());
        }
        // INVARIANT: what is written is a change of the row that was read; a quarantine in between is not undone.
        let batch = Batch::new(console.tenant.clone()).require(Precondition::Revision(world.revision()));
        let (after, batch) = change(&before, batch)?;
        let shown = agents::view(console, &after);
        let facts = facts(console, &before, &after);
        let draft = draft.clone().ext("config", Value::Object(facts));
        let draft = draft.owner(Principal::local(&console.issuer, &after.owner)).commit("/agent", shown.clone());
        match console.store.apply(batch.change(Change::PutAgent(after)).record(draft)).await {
            Ok(applied) => {
                let record = applied.receipts.first().map(|receipt| receipt.record_id.clone());
                return Ok(Json(object!({"agent": shown, "record": record})));
            }
            Err(ApplyError::Conflict(Precondition::Once { .. })) => return Err(agents::key_taken().into()),
            Err(ApplyError::Conflict(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(Refusal::new(Code::RateLimited, "too much changed at the same time; send the request again").into())
}

/// What the record states in plain: names and digests. The keys are those that the log is verified with.
fn facts(console: &Console, before: &Agent, after: &Agent) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("agent".to_owned(), after.id.subject().into());
    let (Value::Object(old), Value::Object(new)) = (agents::view(console, before), agents::view(console, after)) else {
        return facts;
    };
    let differs = |(name, value): (&String, &Value)| {
        (!["may", "warnings", "standing_risks"].contains(&name.as_str()) && old.get(name) != Some(value)).then(|| name.clone())
    };
    facts.insert("changed".to_owned(), new.iter().filter_map(differs).collect::<Vec<_>>().into());
    if before.ceiling != after.ceiling {
        facts.insert("ceiling".to_owned(), after.ceiling.digest().into());
    }
    if before.keys != after.keys {
        facts.insert("keys".to_owned(), after.keys.clone().into());
    }
    if before.client != after.client {
        facts.insert("client".to_owned(), object!(after.client));
    }
    facts
}

fn updated(console: &Console, before: &Agent, asked: &Update) -> Result<Agent, Refusal> {
    let mut agent = before.clone();
    if let Some(name) = &asked.display_name {
        display::check_name("`display_name`", name)?;
        agent.display_name.clone_from(name);
    }
    if let Some(owner) = &asked.owner {
        agents::accountable(console, owner)?;
        agent.owner.clone_from(owner);
    }
    if let Some(uris) = &asked.redirect_uris {
        agents::redirect_uris(uris)?;
        agent.redirect_uris.clone_from(uris);
    }
    if asked.scope.is_some() || asked.authorization_details.is_some() {
        agent.ceiling = ceiling(console, asked)?;
    }
    for (key, value) in &asked.labels {
        match value {
            Some(value) => agent.labels.insert(key.clone(), value.clone()),
            None => agent.labels.remove(key),
        };
    }
    if agent.labels.len() > LIST_LIMIT {
        return Err(Refusal::new(Code::RequestTooLarge, format!("at most {LIST_LIMIT} labels")));
    }
    agents::labels(console, &agent.labels, Some(before))?;
    agent.acts = asked.acts.unwrap_or(agent.acts);
    if let Some(listed) = &asked.credentials {
        credentials::check(console, listed, &agent.keys)?;
        if listed.is_empty() && agent.keys.is_empty() && !before.is_public() {
            return Err(Refusal::new(Code::RequestMalformed, "without keys and credentials the agent could not prove who it is"));
        }
        agent.client.credentials.clone_from(listed);
    }
    agent.client.assertion_audience = asked.assertion_audience.unwrap_or(agent.client.assertion_audience);
    if asked.binding.is_some() || asked.danger_bearer_writes.is_some() {
        let profile = &mut agent.client;
        profile.binding = asked.binding.unwrap_or(profile.binding);
        // What was allowed for one binding is not allowed for the next one in silence.
        let kept = profile.danger_bearer_writes && profile.binding == Binding::DangerBearer;
        profile.danger_bearer_writes = asked.danger_bearer_writes.unwrap_or(kept);
        agents::binding(console, profile)?;
    }
    if agent == *before {
        return Err(Refusal::new(Code::RequestMalformed, "nothing would change; name what is to be different"));
    }
    Ok(agent)
}

fn ceiling(console: &Console, asked: &Update) -> Result<Authority, Refusal> {
    agents::ceiling(console, asked.scope.as_deref(), asked.authorization_details.as_ref())
}
