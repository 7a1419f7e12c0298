//! The accounts of people who sign in with a password. Those that the configuration lists are changed there; the others are
//! made and changed here. SPEC: RT-05, DC-13
//!
//! A password never comes here, only its hash.

use crate::{
    Console,
    admin::Admin,
    agent_update::read,
    agents::{self, BODY_LIMIT},
    error::No,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    routing::{get, post},
};
use http::StatusCode;
use remit_ledger::record::Draft;
use remit_model::{
    AgentId, AgentStatus, Authority, Code, Human, HumanStatus, Identity, Managed, Passkeys, Principal, Provisioned, Refusal,
    display,
};
use remit_store::{ApplyError, Batch, Change, Precondition, Snapshot};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Attempts to write while other changes are made at the same time.
const TRIES: usize = 8;
/// Most memory (KiB), passes and lanes of a password hash: it is computed at each sign-in.
const HASH_LIMITS: [(&str, u32); 3] = [("m", 256 << 10), ("t", 16), ("p", 16)];
/// Longest password hash, in bytes.
const HASH_LENGTH: usize = 256;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/admin/v1/accounts", get(list).post(add))
        .route("/admin/v1/accounts/{name}/password", post(password))
        .route("/admin/v1/accounts/{name}/disable", post(disable))
        .route("/admin/v1/accounts/{name}/enable", post(enable))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// What `POST /admin/v1/accounts` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    name: String,
    display_name: Option<String>,
    /// Argon2id, as a PHC string.
    password_hash: String,
    /// What the person may do, as scope shorthand …
    scope: Option<String>,
    /// … or as RFC 9396 authorization details.
    authorization_details: Option<Value>,
}

/// What `POST /admin/v1/accounts/NAME/password` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// Argon2id, as a PHC string.
    password_hash: String,
}

async fn list(_: Admin, State(console): State<Arc<Console>>) -> Json<Value> {
    let world = console.store.snapshot();
    let mut all: Vec<&Arc<Human>> = world.humans().collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Json(json!({"accounts": all.into_iter().map(|human| view(&world, human)).collect::<Vec<_>>()}))
}

async fn add(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<(StatusCode, Json<Value>), No> {
    let asked: Registration = read(&body)?;
    let name = AgentId::parse(&asked.name)?.to_string();
    let display_name = asked.display_name.clone().unwrap_or_else(|| name.clone());
    display::check_name("`display_name`", &display_name)?;
    let human = Human {
        name: name.clone(),
        display_name,
        status: HumanStatus::Active,
        password_hash: Some(hash(asked.password_hash.clone())?),
        entitlements: entitlements(&console, &asked)?,
        identity: None,
        ended_before: None,
        passkeys: Passkeys::default(),
        managed: Managed::Command,
    };
    let draft = admin.change(&console, "account.add");
    let answer = write(&console, draft, &name, |world| {
        if world.has_human(&name) {
            return Err(malformed(format!("there is an account `{name}` already, or was one that is disabled")));
        }
        Ok((human.clone(), Vec::new()))
    })
    .await?;
    Ok((StatusCode::CREATED, answer))
}

async fn password(
    admin: Admin,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, No> {
    let asked: NewPassword = read(&body)?;
    let hash = hash(asked.password_hash)?;
    let draft = admin.change(&console, "account.password");
    write(&console, draft, &name, |world| {
        let human = by_command(world, &name)?;
        if human.identity.is_some() {
            return Err(malformed(format!("`{name}` signs in at an identity provider and has no password here")));
        }
        Ok((Human { password_hash: Some(hash.clone()), ..human }, Vec::new()))
    })
    .await
}

/// From the commit on, nothing of what the person handed out is accepted, and it stays so when they may sign in again.
async fn disable(admin: Admin, State(console): State<Arc<Console>>, Path(name): Path<String>) -> Result<Json<Value>, No> {
    let draft = admin.change(&console, "account.disable");
    write(&console, draft, &name, |world| {
        let human = by_command(world, &name)?;
        let others = world.humans().any(|other| other.status == HumanStatus::Active && other.name != name);
        if !others {
            let reason = format!("`{name}` is the last account that can sign in; add or enable another one first");
            return Err(malformed(reason));
        }
        // A second later, so that what began in this very second has ended, too.
        let ended = console.clock.unix().plus(1);
        let ended_before = human.ended_before.max(Some(ended));
        let owned = owned(world, &human);
        let facts = vec![("owned_agents", json!(owned.len().to_string()))];
        // A provider that is configured again does not undo what an administrator decided.
        let identity = human.identity.clone().map(|identity| Identity {
            withdrawn: false,
            provisioned: identity.provisioned.map(|kept| Box::new(Provisioned { disables: false, ..*kept })),
            ..identity
        });
        Ok((Human { status: HumanStatus::Disabled, ended_before, identity, ..human }, facts))
    })
    .await
}

async fn enable(admin: Admin, State(console): State<Arc<Console>>, Path(name): Path<String>) -> Result<Json<Value>, No> {
    let draft = admin.change(&console, "account.enable");
    write(&console, draft, &name, |world| {
        let human = by_command(world, &name)?;
        if human.identity.as_ref().is_some_and(Identity::is_deactivated) {
            return Err(malformed(format!("the identity provider of `{name}` deactivated them; activate them there")));
        }
        Ok((Human { status: HumanStatus::Active, ..human }, Vec::new()))
    })
    .await
}

/// What the account may do, in either form.
fn entitlements(console: &Console, asked: &Registration) -> Result<Authority, Refusal> {
    let authority = agents::ceiling(console, asked.scope.as_deref(), asked.authorization_details.as_ref())?;
    let Some(scope) = &asked.scope else { return Ok(authority) };
    let servers: Vec<&remit_model::Server> = console.servers.iter().map(AsRef::as_ref).collect();
    Authority::from_scope_of_a_person(scope, &servers)
}

/// An account that may be changed here.
fn by_command(world: &Snapshot, name: &str) -> Result<Human, Refusal> {
    let human = world.human(name).ok_or_else(|| {
        let reason = format!("there is no account `{}`", display::excerpt(name, 64));
        Refusal::new(Code::NotFound, reason)
    })?;
    if human.managed == Managed::Configuration && human.identity.is_none() {
        let reason =
            format!("the account `{name}` is listed in the configuration; change it there and send SIGHUP to the server");
        return Err(malformed(reason));
    }
    Ok(Human::clone(human))
}

/// The agents that the person is accountable for.
fn owned(world: &Snapshot, human: &Human) -> Vec<String> {
    let agents = world.agents().filter_map(|(_, agent)| agent);
    let owned = agents.filter(|agent| agent.owner == human.subject() && agent.status != AgentStatus::Retired);
    let mut names: Vec<String> = owned.map(|agent| agent.id.to_string()).collect();
    names.sort();
    names
}

/// Writes what `change` makes of the account, with a record whose plain part names no person.
async fn write(
    console: &Console,
    draft: Draft,
    name: &str,
    change: impl Fn(&Snapshot) -> Result<(Human, Vec<(&'static str, Value)>), Refusal>,
) -> Result<Json<Value>, No> {
    for _ in 0..TRIES {
        let world = console.store.snapshot();
        let (after, facts) = change(&world)?;
        if world.human(name).is_some_and(|before| **before == after) {
            return Err(malformed(format!("the account `{name}` is that way already")).into());
        }
        let shown = view(&world, &after);
        let facts: serde_json::Map<String, Value> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let draft = draft
            .clone()
            .ext("account", Value::Object(facts))
            .owner(Principal::local(&console.issuer, after.subject()))
            .commit("/account", shown.clone());
        // The verifiers hold later uses against it.
        let ended = after.ended_before.filter(|end| world.human(name).and_then(|before| before.ended_before) < Some(*end));
        let draft = match ended {
            Some(end) => draft.ext("sign_in", json!({"ended_before": end, "cause": "disabled"})),
            None => draft,
        };
        let batch = Batch::new(console.tenant.clone()).require(Precondition::Revision(world.revision()));
        match console.store.apply(batch.change(Change::PutHuman(after)).record(draft)).await {
            Ok(applied) => {
                let record = applied.receipts.first().map(|receipt| receipt.record_id.clone());
                return Ok(Json(json!({"account": shown, "record": record})));
            }
            Err(ApplyError::Conflict(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(Refusal::new(Code::RateLimited, "too much changed at the same time; send the request again").into())
}

/// An account as operators see it: no password hash.
fn view(world: &Snapshot, human: &Human) -> Value {
    json!({
        "name": human.name,
        "display_name": human.display_name,
        "status": human.status,
        "managed": if human.identity.is_some() { json!("identity_provider") } else { json!(human.managed) },
        "may": human.entitlements.describe().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "authorization_details": human.entitlements.to_value(),
        "owns": owned(world, human),
    })
}

/// Checks the form of a password hash, and that checking a password against it costs no more than it should.
fn hash(phc: String) -> Result<String, Refusal> {
    let bad = || malformed("`password_hash` is no Argon2id hash in PHC form, as `remit account hash` prints it");
    let parts: Vec<&str> = phc.split('$').collect();
    let ["", "argon2id", "v=19", parameters, salt, digest] = parts.as_slice() else { return Err(bad()) };
    let base64 = |text: &str| text.len() >= 11 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
    let within = |(name, most): (&str, u32)| {
        let value =
            parameters.split(',').find_map(|one| one.split_once('=').filter(|(key, _)| *key == name)?.1.parse::<u32>().ok());
        value.is_some_and(|value| (1..=most).contains(&value))
    };
    let fine = phc.len() <= HASH_LENGTH && base64(salt) && base64(digest) && HASH_LIMITS.into_iter().all(within);
    if fine { Ok(phc) } else { Err(bad()) }
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}
