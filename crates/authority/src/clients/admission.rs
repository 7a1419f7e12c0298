//! Writing down a client that a person lets in.
//!
//! Rules CM-05, CM-07, AZ-10, DR-02. A client that registered itself becomes an agent here and nowhere else: in the batch of the
//! consent, with a record of its own, or quarantined until an administrator activates it.

use crate::{
    Server,
    clients::{
        candidate::Candidate,
        rules::{self, Admission, BUDGET, PER_DAY},
    },
    grants::{attempt::Attempt, outcome::Facts},
    http::error::Rejection,
    tokens::{issue, record::Entry},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_ledger::record::RecordType;
use remit_model::{
    Agent, AgentStatus, Binding, ClientProfile, Code, Fault, Principal, PrincipalKind, Refusal, Registration, ToolClass,
    UnixTime, json,
};
use remit_store::{Batch, Budget, Change, JtiKind, Precondition, Snapshot};
use remit_token::PublicKey;
use serde_json::{Value, json as object};
use std::collections::BTreeSet;

const DAY: i64 = 86_400;

/// Adds the agent of a candidate to the batch of the consent that lets it in.
///
/// # Errors
/// `agent_quarantined` when an administrator must let it in first: then it waits for one, and the batch is not to be applied.
/// `client_unknown` when no account is accountable for it.
pub(crate) async fn admit(
    server: &Server,
    snapshot: &Snapshot,
    attempt: &Attempt,
    candidate: &Candidate,
    batch: Batch,
) -> Result<Batch, Rejection> {
    let Candidate { agent, .. } = candidate;
    let rules = &server.settings.clients;
    let admission = match agent.client.registration {
        Registration::MetadataDocument { .. } => rules.documents,
        _ => rules.registration,
    };
    if !candidate.is_new() {
        let present = snapshot.agent(&agent.id).ok_or_else(unregistered)?;
        let updated = described_anew(present, agent);
        if updated == **present {
            return Ok(batch);
        }
        return admitted(server, snapshot, attempt, candidate, (updated, admission), batch).await;
    }
    if snapshot.has_agent(&agent.id) {
        // Another person let it in meanwhile. What it may do is then what is registered.
        return Ok(batch);
    }
    admitted(server, snapshot, attempt, candidate, (agent.clone(), admission), batch).await
}

/// Writes the agent as the rules say: at once, or quarantined until an administrator has looked at it, also when what it says of
/// itself has changed.
async fn admitted(
    server: &Server,
    snapshot: &Snapshot,
    attempt: &Attempt,
    candidate: &Candidate,
    (agent, admission): (Agent, Admission),
    batch: Batch,
) -> Result<Batch, Rejection> {
    keys_of_others(server, snapshot.agent(&agent.id).map(AsRef::as_ref), &agent).await?;
    match admission {
        Admission::Admit => Ok(write(server, snapshot, attempt, candidate, agent, batch)?),
        Admission::Quarantine => {
            let waiting = Agent { status: AgentStatus::Quarantined, ..agent.clone() };
            let batch = Batch::new(server.tenant.clone());
            let batch = write(server, snapshot, attempt, candidate, waiting, batch)?;
            match issue::commit(server, &[], None, batch).await {
                Ok(_) => Err(waits(&agent).into()),
                Err(rejection) => Err(rejection),
            }
        }
        Admission::Off => Err(unregistered().into()),
    }
}

/// The agent as it is registered, with what its document now says. What an administrator decided about it stays.
fn described_anew(present: &Agent, described: &Agent) -> Agent {
    Agent {
        display_name: described.display_name.clone(),
        redirect_uris: described.redirect_uris.clone(),
        keys: described.keys.clone(),
        client: ClientProfile {
            credentials: described.client.credentials.clone(),
            require_pushed_requests: described.client.require_pushed_requests,
            ..present.client.clone()
        },
        ..present.clone()
    }
}

fn unregistered() -> Refusal {
    Refusal::new(Code::ClientUnknown, "the program that sent you here is not registered")
}

/// What is told while a client waits for an administrator.
fn waits(agent: &Agent) -> Refusal {
    let reason = format!("an administrator must let this program in first: `remit agent activate {}`; then try again", agent.id);
    Refusal::new(Code::AgentQuarantined, reason)
}

fn write(
    server: &Server,
    snapshot: &Snapshot,
    attempt: &Attempt,
    candidate: &Candidate,
    agent: Agent,
    batch: Batch,
) -> Result<Batch, Refusal> {
    let accountable = PrincipalKind::Human.name_in(&agent.owner).filter(|name| snapshot.human(name).is_some());
    if accountable.is_none() {
        tracing::error!(owner = %agent.owner, "`clients.owner` has no account: no client can be let in");
        let reason =
            "no account is accountable for clients that register themselves; ask your administrator to set `clients.owner`";
        return Err(Refusal::new(Code::ClientUnknown, reason));
    }
    let (action, requires) = if candidate.is_new() {
        ("agent.add", Precondition::NewAgent(agent.id.clone()))
    } else {
        // What an administrator changed meanwhile must not be written over.
        ("agent.document_changed", Precondition::Revision(snapshot.revision()))
    };
    let facts = Facts::default();
    let entry = Entry { tenant: &server.tenant, attempt, facts: &facts, check: None };
    let mut config = object!({
        "agent": agent.id.subject(), "keys": agent.keys, "ceiling": agent.ceiling.digest(),
        "status": agent.status, "client_id_hash": json::sha256_label(agent.client_id().as_bytes()),
    });
    if let Some(members) = config.as_object_mut() {
        if !candidate.is_new() {
            members.insert("changed".to_owned(), object!(candidate.changed));
        }
        // The log is verified with it, as with the keys.
        if agent.client.binding != Binding::default() {
            members.insert("client".to_owned(), object!({"binding": agent.client.binding}));
        }
    }
    let record = entry
        .happened(RecordType::ConfigChange)
        .action(action, ToolClass::Admin)
        .ext("config", config)
        .owner(Principal::local(&server.issuer, &agent.owner))
        .commit("/agent", serde_json::to_value(&agent).unwrap_or(Value::Null));
    let batch = batch.require(requires);
    let batch = if candidate.is_new() { batch.require(counted(server, attempt)) } else { batch };
    Ok(batch.change(Change::PutAgent(agent)).record(record))
}

/// Counts a new client for the person who lets it in. SPEC: DR-02, N-DR-01
fn counted(server: &Server, attempt: &Attempt) -> Precondition {
    let person = attempt.caller.as_ref().map(|caller| caller.principal.sub.as_str()).unwrap_or_default();
    let day = server.now().0.div_euclid(DAY);
    let who = URL_SAFE_NO_PAD.encode(server.store.keyed_hash("clients let in", format!("{day} {person}").as_bytes()));
    let until = Some(UnixTime(day.saturating_add(2).saturating_mul(DAY)));
    Precondition::Budget(Budget { key: format!("{BUDGET}{who}"), add: 1, limit: PER_DAY, until })
}

/// Checks that none of the keys that the client lists anew is another agent's. A key is an agent's once it has signed with it (or an
/// administrator registered it): a client that only lists the key of another takes nothing from it. SPEC: CM-03
async fn keys_of_others(server: &Server, before: Option<&Agent>, agent: &Agent) -> Result<(), Rejection> {
    let thumbprint = |jwk: &Value| PublicKey::from_jwk(jwk).map(|key| key.thumbprint().to_owned());
    let known = before.into_iter().flat_map(|before| &before.keys).map(thumbprint).collect::<Result<BTreeSet<_>, _>>()?;
    for jwk in &agent.keys {
        let key = thumbprint(jwk)?;
        if known.contains(&key) {
            continue;
        }
        let used = async |claim: String| server.store.was_used(JtiKind::Other, &claim).await.map_err(Fault::new);
        if used(rules::claim(&key)).await? && !used(rules::claim_of(&key, &agent.id)).await? {
            return Err(rules::taken().into());
        }
    }
    Ok(())
}
