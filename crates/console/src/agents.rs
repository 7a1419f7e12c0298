//! The agent registry.

use crate::{
    Console,
    admin::{Admin, record},
    credentials, endpoint,
    error::No,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    routing::{get, post},
};
use http::StatusCode;
use remit_model::{
    Acts, Agent, AgentId, AgentStatus, AssertionAudience, Authority, Binding, ClientProfile, Code, Credential, Principal,
    PrincipalKind, Refusal, Server, UnixTime, display, json, token_bounds,
};
use remit_store::{ApplyError, Batch, Change, JtiKind, Precondition, Snapshot};
use remit_token::PublicKey;
use serde::Deserialize;
use serde_json::{Value, json as object};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Largest request body, in bytes.
pub(crate) const BODY_LIMIT: usize = 256 << 10;
/// The last second of the year 9999: a claim on a key does not expire.
const FOR_EVER: UnixTime = UnixTime(253_402_300_799);
/// Longest value of a label: that of an endpoint.
const LABEL_LIMIT: usize = 512;
/// Most keys, redirect URIs or labels of one agent.
pub(crate) const LIST_LIMIT: usize = 16;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/admin/v1/agents", get(list).post(add))
        .route("/admin/v1/agents/{name}", get(show))
        .route("/admin/v1/agents/{name}/quarantine", post(quarantine))
        .route("/admin/v1/agents/{name}/activate", post(activate))
        .route("/admin/v1/agents/{name}/retire", post(retire))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// What `POST /admin/v1/agents` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    name: String,
    display_name: Option<String>,
    owner: String,
    /// Public JWKs.
    #[serde(default)]
    keys: Vec<Value>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    /// The ceiling as scope shorthand …
    scope: Option<String>,
    /// … or as RFC 9396 authorization details.
    authorization_details: Option<Value>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Acting alone is a decision: without a word a new agent acts on behalf of people.
    #[serde(default = "on_behalf")]
    acts: Acts,
    /// Ways to authenticate besides `keys`.
    #[serde(default)]
    credentials: Vec<Credential>,
    #[serde(default)]
    assertion_audience: AssertionAudience,
    #[serde(default)]
    binding: Binding,
    #[serde(default)]
    danger_bearer_writes: bool,
}

fn on_behalf() -> Acts {
    Acts::OnBehalf
}

async fn add(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<(StatusCode, Json<Value>), No> {
    let value = json::parse(&body, &json::Limits { bytes: BODY_LIMIT, ..json::Limits::default() })?;
    let asked: Registration =
        serde_json::from_value(value).map_err(|error| Refusal::new(Code::RequestMalformed, error.to_string()))?;
    // An endpoint belongs to one agent: what is looked up now must still hold when the agent is written.
    let revision = asked.labels.contains_key(endpoint::LABEL).then(|| console.store.snapshot().revision());
    let agent = register(&console, asked)?;
    let shown = view(&console, &agent);
    let draft = admin
        .change(&console, "agent.add")
        .ext("config", stated(&agent))
        // What is committed names the accountable human: it is theirs to be forgotten.
        .owner(Principal::local(&console.issuer, &agent.owner))
        .commit("/agent", shown.clone());
    let batch = Batch::new(console.tenant.clone())
        .require(Precondition::NewAgent(agent.id.clone()))
        .change(Change::PutAgent(agent.clone()))
        .record(draft);
    let batch = revision.into_iter().fold(batch, |batch, revision| batch.require(Precondition::Revision(revision)));
    let batch = claim_keys(&console, batch, &agent.keys)?;
    let applied = console.store.apply(batch).await.map_err(|error| match error {
        ApplyError::Conflict(Precondition::Once { .. }) => No::from(key_taken()),
        ApplyError::Conflict(Precondition::Revision(_)) => {
            Refusal::new(Code::RateLimited, "something else changed at the same time; send the request again").into()
        }
        ApplyError::Conflict(_) => {
            Refusal::new(Code::RequestMalformed, format!("there is, or was, an agent `{}`; names are never reused", agent.id))
                .into()
        }
        other => No::from(other),
    })?;
    let record = applied.receipts.first().map(|receipt| receipt.record_id.clone());
    Ok((StatusCode::CREATED, Json(object!({"agent": shown, "record": record}))))
}

/// What the record of a registration states in plain: the keys and credentials that the log is verified with.
fn stated(agent: &Agent) -> Value {
    let mut facts = object!({"agent": agent.id.subject(), "keys": agent.keys, "ceiling": agent.ceiling.digest()});
    if agent.client != ClientProfile::default()
        && let Some(members) = facts.as_object_mut()
    {
        members.insert("client".to_owned(), object!(agent.client));
    }
    facts
}

/// Checks what an agent is to be registered with: `asked`, and whether its tokens may change something although they are bound to
/// no key.
///
/// # Errors
/// A binding that this server does not offer, and a permission that means nothing with the binding.
pub(crate) fn binding(console: &Console, profile: &ClientProfile) -> Result<(), Refusal> {
    let malformed = |reason: &str| Err(Refusal::new(Code::RequestMalformed, reason));
    match profile.binding {
        Binding::Mtls if !console.client_certificates => {
            return malformed(
                "this server asks no client for a certificate; `binding: mtls` needs `server.tls.client_certificates: optional`, or \
                 `server.client_certificate_header` behind a proxy",
            );
        }
        Binding::DangerBearer if !console.danger_bearer => {
            return malformed(
                "`binding: danger_bearer` is refused by the configuration; an operator allows it with `agents.danger_bearer: allowed`",
            );
        }
        Binding::Dpop | Binding::Mtls | Binding::DangerBearer => {}
    }
    if profile.danger_bearer_writes && profile.binding != Binding::DangerBearer {
        return malformed("`danger_bearer_writes` belongs to `binding: danger_bearer`");
    }
    Ok(())
}

/// What stays dangerous about an agent as it is registered, in words.
fn standing_risks(agent: &Agent) -> Vec<&'static str> {
    match (agent.is_bearer(), agent.client.danger_bearer_writes) {
        (false, _) => Vec::new(),
        (true, false) => vec!["its access tokens are bound to no key: a copy of one reads until it ends"],
        (true, true) => {
            vec!["its access tokens are bound to no key: a copy of one reads and changes until it ends"]
        }
    }
}

/// Lets no two agents have a key in common, nor one agent the same key twice: a key says who signed.
///
/// # Errors
/// A key is listed twice, or was registered before.
pub(crate) fn claim_keys(console: &Console, batch: Batch, keys: &[Value]) -> Result<Batch, Refusal> {
    let thumbprint = |jwk: &Value| PublicKey::from_jwk(jwk).map(|key| key.thumbprint().to_owned());
    let wanted = keys.iter().map(thumbprint).collect::<Result<Vec<_>, _>>()?;
    let distinct: BTreeSet<&String> = wanted.iter().collect();
    if distinct.len() < wanted.len() {
        return Err(Refusal::new(Code::RequestMalformed, "the same key is listed twice; list each key once"));
    }
    // Keys that were registered before they were claimed. Names and keys are never reused, so the list only grows.
    let earlier = console.earlier_keys.get_or_init(|| {
        let world = console.store.snapshot();
        let agents = world.agents().filter_map(|(_, agent)| agent);
        // A client that registered itself may list the key of anyone: a key that it proved is claimed.
        let agents = agents.filter(|agent| agent.client.registration == remit_model::Registration::Administrator);
        agents.flat_map(|agent| agent.keys.iter().filter_map(|jwk| thumbprint(jwk).ok()).collect::<Vec<_>>()).collect()
    });
    if wanted.iter().any(|key| earlier.contains(key)) {
        return Err(key_taken());
    }
    // INVARIANT: claimed in the batch that registers the agent, so two registrations at once cannot both have the key.
    // `proved` keeps it from clients that were let in while keys were claimed at consent, also once it is replaced.
    let claim = |batch: Batch, key: String| {
        let batch = batch.once(JtiKind::Other, format!("agent key {key}"), FOR_EVER);
        batch.once(JtiKind::Other, format!("agent key {key} proved"), FOR_EVER)
    };
    Ok(wanted.into_iter().fold(batch, claim))
}

pub(crate) fn key_taken() -> Refusal {
    Refusal::new(
        Code::RequestMalformed,
        "a key of this registration belongs, or belonged, to another agent, or to this one before; each needs a new key of its own",
    )
}

fn register(console: &Console, asked: Registration) -> Result<Agent, Refusal> {
    let id = AgentId::parse(&asked.name)?;
    if asked.labels.len() > LIST_LIMIT {
        return Err(Refusal::new(Code::RequestTooLarge, format!("at most {LIST_LIMIT} labels")));
    }
    if let Some(name) = &asked.display_name {
        display::check_name("`display_name`", name)?;
    }
    labels(console, &asked.labels, None)?;
    let keys = public_keys(&asked.keys)?;
    credentials::check(console, &asked.credentials, &keys)?;
    redirect_uris(&asked.redirect_uris)?;
    accountable(console, &asked.owner)?;
    let ceiling = ceiling(console, asked.scope.as_deref(), asked.authorization_details.as_ref())?;
    let danger_bearer_writes = asked.danger_bearer_writes;
    let client = ClientProfile {
        binding: asked.binding,
        danger_bearer_writes,
        credentials: asked.credentials,
        assertion_audience: asked.assertion_audience,
        ..ClientProfile::default()
    };
    binding(console, &client)?;
    Ok(Agent {
        display_name: asked.display_name.unwrap_or_else(|| id.to_string()),
        id,
        owner: asked.owner,
        status: AgentStatus::Active,
        keys,
        redirect_uris: asked.redirect_uris,
        ceiling,
        labels: asked.labels,
        acts: asked.acts,
        client,
        registered: console.clock.unix(),
    })
}

/// Reads public JWKs. What is kept is our own rendering of the public half, so that nothing else a JWK may carry is stored.
///
/// # Errors
/// Too many, or one that is no public key.
pub(crate) fn public_keys(jwks: &[Value]) -> Result<Vec<Value>, Refusal> {
    if jwks.len() > LIST_LIMIT {
        return Err(Refusal::new(Code::RequestTooLarge, format!("at most {LIST_LIMIT} keys")));
    }
    jwks.iter().map(|jwk| PublicKey::from_jwk(jwk).map(|key| key.to_jwk())).collect()
}

/// Checks the labels of an agent, `before` its present registration if it has one.
///
/// # Errors
/// A label that cannot be displayed, and an `endpoint` that is malformed, on this server, or another agent's.
pub(crate) fn labels(console: &Console, labels: &BTreeMap<String, String>, before: Option<&Agent>) -> Result<(), Refusal> {
    for (key, value) in labels {
        display::check_name("a label", key)?;
        display::check(&format!("the label `{key}`"), value, LABEL_LIMIT)?;
    }
    let present = before.and_then(|agent| agent.labels.get(endpoint::LABEL));
    let Some(uri) = labels.get(endpoint::LABEL).filter(|uri| present != Some(*uri)) else { return Ok(()) };
    endpoint::check(uri, &console.issuer)?;
    if console.store.snapshot().is_endpoint(uri) {
        let reason = "another agent has this label `endpoint` already; each agent is called at an address of its own";
        return Err(Refusal::new(Code::RequestMalformed, reason));
    }
    Ok(())
}

/// Checks that a subject is a person with an account.
///
/// # Errors
/// It is not.
pub(crate) fn accountable(console: &Console, owner: &str) -> Result<(), Refusal> {
    let known = PrincipalKind::Human.name_in(owner).filter(|name| console.store.snapshot().human(name).is_some());
    known.map(drop).ok_or_else(|| {
        let reason = format!("owner `{}` is not an account; name one as user:NAME", display::excerpt(owner, 64));
        Refusal::new(Code::RequestMalformed, reason)
    })
}

/// Reads a ceiling in either form.
///
/// # Errors
/// Both forms, neither, or one that names what there is not.
pub(crate) fn ceiling(console: &Console, scope: Option<&str>, details: Option<&Value>) -> Result<Authority, Refusal> {
    let servers: Vec<&Server> = console.servers.iter().map(AsRef::as_ref).collect();
    let ceiling = match (scope, details) {
        (Some(scope), None) => Authority::from_scope(scope, &servers)?,
        (None, Some(details)) => Authority::parse(details)?,
        _ => return Err(Refusal::new(Code::RequestMalformed, "give the ceiling as either `scope` or `authorization_details`")),
    };
    token_bounds::check_authority(&ceiling, &servers)?;
    Ok(ceiling)
}

/// Checks redirect URIs.
///
/// # Errors
/// Too many, or one that must not be registered.
pub(crate) fn redirect_uris(uris: &[String]) -> Result<(), Refusal> {
    if uris.len() > LIST_LIMIT {
        return Err(Refusal::new(Code::RequestTooLarge, format!("at most {LIST_LIMIT} redirect URIs")));
    }
    uris.iter().try_for_each(|uri| remit_authority::check_redirect_uri(uri))
}

async fn list(_admin: Admin, State(console): State<Arc<Console>>) -> Json<Value> {
    let snapshot = console.store.snapshot();
    let mut agents: Vec<_> = snapshot.agents().collect();
    agents.sort_by_key(|(id, _)| *id);
    let view = |(id, agent): (&AgentId, Option<Arc<Agent>>)| agent.map_or_else(|| unreadable(id), |agent| view(&console, &agent));
    Json(object!({"agents": agents.into_iter().map(view).collect::<Vec<_>>()}))
}

async fn show(_admin: Admin, State(console): State<Arc<Console>>, Path(name): Path<String>) -> Result<Json<Value>, No> {
    Ok(Json(object!({"agent": view(&console, known(&console.store.snapshot(), &name)?.as_ref())})))
}

async fn quarantine(admin: Admin, console: State<Arc<Console>>, name: Path<String>) -> Result<Json<Value>, No> {
    set(admin, console, name, AgentStatus::Quarantined, "agent.quarantine").await
}

async fn activate(admin: Admin, console: State<Arc<Console>>, name: Path<String>) -> Result<Json<Value>, No> {
    set(admin, console, name, AgentStatus::Active, "agent.activate").await
}

async fn retire(admin: Admin, console: State<Arc<Console>>, name: Path<String>) -> Result<Json<Value>, No> {
    set(admin, console, name, AgentStatus::Retired, "agent.retire").await
}

/// SPEC: DC-13: when this answers, the snapshot that every check reads already shows the new status.
async fn set(
    admin: Admin,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    status: AgentStatus,
    action: &str,
) -> Result<Json<Value>, No> {
    let agent = known(&console.store.snapshot(), &name)?;
    if agent.status == AgentStatus::Retired {
        return Err(Refusal::new(Code::AgentRetired, format!("`{name}` is retired, and that is for good")).into());
    }
    let owner = PrincipalKind::Human.name_in(&agent.owner).filter(|name| console.store.snapshot().human(name).is_some());
    if status == AgentStatus::Active && owner.is_none() {
        let reason = format!("no person is accountable for `{name}` any more: its owner was erased or has no account");
        return Err(Refusal::new(Code::RequestMalformed, reason).into());
    }
    let draft =
        admin.change(&console, action).ext("config", object!({"agent": agent.id.subject(), "from": agent.status, "to": status}));
    let batch =
        Batch::new(console.tenant.clone()).change(Change::SetAgentStatus { agent: agent.id.clone(), status }).record(draft);
    let record = record(&console, batch).await?;
    Ok(Json(object!({"agent": view(&console, known(&console.store.snapshot(), &name)?.as_ref()), "record": record})))
}

/// The agent of this name.
///
/// # Errors
/// There is none, or its row cannot be read.
pub(crate) fn known(world: &Snapshot, name: &str) -> Result<Arc<Agent>, Refusal> {
    let id = AgentId::parse(name)?;
    world.agent(&id).cloned().ok_or_else(|| {
        let damaged = if world.has_agent(&id) { ": it was registered, but its row in the database cannot be read" } else { "" };
        Refusal::new(Code::NotFound, format!("there is no agent `{id}`{damaged}"))
    })
}

/// An agent whose row cannot be read: it may do nothing, and is not passed over in silence.
fn unreadable(id: &AgentId) -> Value {
    object!({"name": id, "client_id": id.subject(), "status": "unreadable"})
}

/// The agent as the admin API shows it.
pub(crate) fn view(console: &Console, agent: &Agent) -> Value {
    let servers: Vec<&Server> = console.servers.iter().map(AsRef::as_ref).collect();
    // A server's tools may have been described after the agent was registered.
    let unknown = agent.ceiling.unknown_actions(&servers);
    let warnings: Vec<_> =
        unknown.iter().map(|scope| format!("the ceiling names `{scope}`, which the server does not describe")).collect();
    object!({
        "name": agent.id,
        "client_id": agent.client_id(),
        "registration": agent.client.registration,
        "display_name": agent.display_name,
        "owner": agent.owner,
        "status": agent.status,
        "keys": agent.keys,
        "redirect_uris": agent.redirect_uris,
        "authorization_details": agent.ceiling.to_value(),
        "may": agent.ceiling.describe().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "labels": agent.labels,
        "acts": agent.acts,
        "credentials": agent.client.credentials,
        "assertion_audience": agent.client.assertion_audience,
        "binding": agent.client.binding,
        "danger_bearer_writes": agent.client.danger_bearer_writes,
        "standing_risks": standing_risks(agent),
        "registered": agent.registered,
        "warnings": warnings,
    })
}
