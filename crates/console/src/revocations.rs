//! Revoking more than one token at a time: by person, agent, owner, client, chain, resource or key. SPEC: RV-05, DC-13
//!
//! Whatever the request names, it is one batch with its record, and it costs the same for one token and for a million: what is
//! written is the criterion and the time, which every check looks up. What is issued later counts.

use crate::{
    Console,
    admin::Admin,
    agent_update::read,
    agents::{self, BODY_LIMIT},
    endpoint,
    error::No,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    routing::post,
};
use remit_ledger::record::Draft;
use remit_model::{
    Agent, AgentStatus, Code, Confirmation, Credential, Principal, PrincipalKind, Refusal, UnixTime, criterion, display,
};
use remit_store::{ApplyError, Batch, Change, Precondition, Revocation, Snapshot};
use remit_token::PublicKey;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// How long a revocation is remembered, in seconds: longer than any consent can be set to last (`agents.delegation_days`).
const REMEMBERED: i64 = 65_536 * 86_400;
/// Seconds from now before which everything has ended, attempt by attempt. One, so that what is issued in this very second has ended,
/// too; more where the commit comes so late that this second has passed.
const AHEAD: [i64; 4] = [1, 2, 8, 32];
/// Most agents that one request stops.
const AGENTS: usize = 4_096;
/// Longest identifier of a chain.
const CHAIN: usize = 128;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/admin/v1/revocations", post(revoke)).layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// What `POST /admin/v1/revocations` takes: exactly one member.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum By {
    /// The name of an account: everything that rests on a sign-in until now.
    User(String),
    /// The name of an agent: everything that it holds or has handed on.
    Agent(String),
    /// The same by `client_id`.
    Client(String),
    /// `user:NAME`: the same for every agent that this person is accountable for.
    Owner(String),
    /// The `txn` of a chain: one consent with everything that came from it.
    Chain(String),
    /// A server by name, or a resource by address: whatever is good there.
    Resource(String),
    /// An RFC 7638 thumbprint, or the `x5t#S256` of a certificate: whatever is bound to the key or the certificate, or descends
    /// from that.
    Key(String),
}

/// What is written, and what the record says of it.
struct Revoked {
    changes: Vec<Change>,
    by: &'static str,
    /// Plain facts; no names of people.
    facts: Value,
    /// The person whom it is about.
    person: Option<Principal>,
}

async fn revoke(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<Json<Value>, No> {
    let asked: By = read(&body)?;
    for ahead in AHEAD {
        let before = console.clock.unix().plus(ahead);
        match revoke_before(&console, admin.clone(), &asked, before).await {
            Err(Undone::TooLate) => {}
            Err(Undone::No(no)) => return Err(no),
            Ok(answer) => return Ok(Json(answer)),
        }
    }
    Err(Refusal::new(Code::LedgerUnavailable, "the store was too slow to revoke anything; nothing was revoked, so ask again")
        .into())
}

/// Why nothing was revoked.
enum Undone {
    /// The time before which everything was to end had passed when the batch was to be committed. What was issued meanwhile
    /// would have lived on.
    TooLate,
    No(No),
}

impl From<Refusal> for Undone {
    fn from(refusal: Refusal) -> Self {
        Self::No(refusal.into())
    }
}

async fn revoke_before(console: &Console, admin: Admin, asked: &By, before: UnixTime) -> Result<Value, Undone> {
    let Revoked { changes, by, facts, person } = revoked(console, &console.store.snapshot(), asked, before)?;
    let mut stated = json!({"by": by, "before": before.utc()});
    if let (Some(members), Value::Object(facts)) = (stated.as_object_mut(), facts.clone()) {
        members.extend(facts);
    }
    let draft = admin.change(console, "tokens.revoke").ext("revocation", stated);
    let draft = person.into_iter().fold(draft, Draft::owner);
    // Those who verify the ledger hold later uses of a chain, or of a sign-in, against it.
    let draft = match facts.get("chain") {
        Some(chain) => draft.ext("token", json!({"revoked_txn": chain})),
        None if by == "user" => draft.ext("sign_in", json!({"ended_before": before, "cause": "revoked"})),
        None => draft,
    };
    let batch = Batch::new(console.tenant.clone()).require(Precondition::Before(before));
    let batch = changes.into_iter().fold(batch, Batch::change).record(draft);
    let applied = console.store.apply(batch).await.map_err(|error| match error {
        ApplyError::Conflict(Precondition::Before(_)) => Undone::TooLate,
        error => Undone::No(error.into()),
    })?;
    let record = applied.receipts.first().map(|receipt| receipt.record_id.clone()).unwrap_or_default();
    Ok(json!({"by": by, "before": before, "revoked": facts, "record": record}))
}

fn revoked(console: &Console, world: &Snapshot, asked: &By, before: UnixTime) -> Result<Revoked, Refusal> {
    let until = before.plus(REMEMBERED);
    let issued = |criterion: String| Change::RevokeIssued { criterion, before, until };
    let of_agents = |agents: &[Arc<Agent>]| agents.iter().map(|agent| issued(criterion::agent(&agent.id))).collect();
    let names = |agents: &[Arc<Agent>]| json!(agents.iter().map(|agent| agent.id.subject()).collect::<Vec<_>>());
    Ok(match asked {
        By::User(name) => {
            let human = world.human(name).ok_or_else(|| unknown("account", name))?;
            Revoked {
                changes: vec![Change::EndHuman { name: name.clone(), before }],
                by: "user",
                facts: json!({}),
                person: Some(Principal::local(&console.issuer, human.subject())),
            }
        }
        By::Agent(name) => {
            let agents = [agents::known(world, name)?];
            Revoked { changes: of_agents(&agents), by: "agent", facts: json!({"agents": names(&agents)}), person: None }
        }
        By::Client(client) => {
            let mut all = world.agents().filter_map(|(_, agent)| agent);
            let agents = [all.find(|agent| agent.client_id() == *client).ok_or_else(|| unknown("client", client))?];
            Revoked { changes: of_agents(&agents), by: "client", facts: json!({"agents": names(&agents)}), person: None }
        }
        By::Owner(owner) => {
            let agents = owned(world, owner)?;
            let person = Some(Principal::local(&console.issuer, owner));
            Revoked { changes: of_agents(&agents), by: "owner", facts: json!({"agents": names(&agents)}), person }
        }
        By::Chain(chain) => {
            if chain.is_empty() || chain.len() > CHAIN || !chain.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(malformed(
                    "a chain is named by the `txn` of its tokens, as `remit audit tail` and `remit token inspect` show it",
                ));
            }
            let revoke = |what| Change::Revoke { what, until };
            let changes = vec![revoke(Revocation::Txn(chain.clone())), revoke(Revocation::Family(chain.clone()))];
            Revoked { changes, by: "chain", facts: json!({"chain": chain}), person: None }
        }
        By::Resource(named) => {
            let location = location(console, world, named)?;
            let changes = vec![issued(criterion::resource(&location)), issued(criterion::any_resource())];
            Revoked { changes, by: "resource", facts: json!({"resource": location}), person: None }
        }
        By::Key(key) => {
            if key.len() != 43 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
                return Err(malformed(
                    "a key is named by its RFC 7638 thumbprint, a certificate by its `x5t#S256`: 43 characters of base64url",
                ));
            }
            // What an agent obtained with a key or a certificate that it is registered with may be bound to another one.
            let agents: Vec<Arc<Agent>> =
                world.agents().filter_map(|(_, agent)| agent).filter(|agent| lists(agent, key)).collect();
            let mut changes: Vec<Change> = of_agents(&agents);
            // No one has to know which of the two it is: a digest of one is none of the other.
            let either = [Confirmation::Key(key.clone()), Confirmation::Certificate(key.clone())];
            changes.extend(either.map(|confirmation| issued(criterion::key(&confirmation.to_string()))));
            // INVARIANT: the database seals what it has of tokens, so whether any is bound to it is not known; the answer says how
            // many agents are registered with it, and an operator who mistyped it sees none.
            let facts = json!({"key": key, "agents": names(&agents), "matched": {"agents": agents.len()}});
            Revoked { changes, by: "key", facts, person: None }
        }
    })
}

/// The agents that this person is accountable for, as far as they can still act.
fn owned(world: &Snapshot, owner: &str) -> Result<Vec<Arc<Agent>>, Refusal> {
    if PrincipalKind::Human.name_in(owner).is_none() {
        return Err(malformed("an owner is named as user:NAME"));
    }
    let agents = world.agents().filter_map(|(_, agent)| agent);
    let agents: Vec<Arc<Agent>> =
        agents.filter(|agent| agent.owner == owner && agent.status != AgentStatus::Retired).take(AGENTS + 1).collect();
    match agents.len() {
        0 => Err(Refusal::new(Code::NotFound, format!("`{}` is accountable for no agent", display::excerpt(owner, 64)))),
        many if many > AGENTS => {
            let reason =
                format!("the person is accountable for more than {AGENTS} agents; revoke by resource, or agent by agent");
            Err(Refusal::new(Code::RequestTooLarge, reason))
        }
        _ => Ok(agents),
    }
}

/// The address of a resource: of a server by its name, of an agent's endpoint, or of the server itself.
fn location(console: &Console, world: &Snapshot, named: &str) -> Result<String, Refusal> {
    let server = console.servers.iter().find(|server| server.id.as_str() == named || server.location == named);
    if let Some(server) = server {
        return Ok(server.location.clone());
    }
    let known = named == console.issuer
        || world
            .agents()
            .any(|(_, agent)| agent.is_some_and(|agent| agent.labels.get(endpoint::LABEL).is_some_and(|uri| uri == named)));
    known.then(|| named.to_owned()).ok_or_else(|| unknown("server or resource", named))
}

/// Whether the agent is registered with this key or certificate. What it publishes elsewhere (`jwks_uri`, SPIFFE) is not known here.
fn lists(agent: &Agent, named: &str) -> bool {
    let key = |jwk: &Value| PublicKey::from_jwk(jwk).is_ok_and(|key| key.thumbprint() == named);
    let certificate =
        |credential: &Credential| matches!(credential, Credential::Certificate { thumbprint } if thumbprint == named);
    agent.keys.iter().any(key) || agent.client.credentials.iter().any(certificate)
}

fn unknown(what: &str, named: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no {what} `{}`", display::excerpt(named, 128)))
}

fn malformed(reason: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}
