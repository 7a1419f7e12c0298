//! Forgetting, holding and disclosing: what an operator does to the values beside the log. SPEC: record.md §1.6

use crate::{
    Console,
    admin::{Admin, record},
    error::No,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    routing::{get, post},
};
use remit_ledger::{
    record::RecordType,
    vault::{DISCLOSURE, Subject},
};
use remit_model::{Code, Fault, Principal, Refusal, json};
use remit_store::{ApplyError, Batch, Change, EraseError, Precondition, StoreError};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json as object};
use std::{collections::BTreeMap, sync::Arc};

/// Largest request body, in bytes.
const BODY_LIMIT: usize = 64 << 10;
/// Longest legal basis or reason, in bytes.
const TEXT_LIMIT: usize = 512;
/// Most subjects of one disclosure.
const SUBJECTS_LIMIT: usize = 1_000;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/admin/v1/ledger/erasures", post(erase))
        .route("/admin/v1/ledger/holds", get(holds).post(hold).delete(release))
        .route("/admin/v1/ledger/disclosures", post(disclose))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// Whom, and by what right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// `user:alice`, `agent:planner`, or a data subject as `<resource type>:<id>`.
    subject: String,
    /// The legal basis; recorded in plain, so it must not name the subject.
    legal_basis: String,
    /// Why, in more words; kept beside the log, never in it. Must not name the subject either: it is the operator's.
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whom {
    subject: String,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disclosed {
    /// Without it, every key there is.
    subjects: Option<Vec<String>>,
}

/// Forgets a subject: their keys are destroyed, their live chains end, their account goes.
async fn erase(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<Json<Value>, No> {
    let ask: Ask = read(&body)?;
    let subject = ask.check(&console)?;
    let mut draft = admin.change(&console, "ledger.erase").ext("redaction", object!({"legal_basis": ask.legal_basis}));
    if let Some(reason) = &ask.reason {
        draft = draft.commit("/redaction/reason", object!(reason));
    }
    let erased = console.store.erase(&subject, draft).await.map_err(unerased)?;
    Ok(Json(object!({
        "subject_ref": erased.subject_ref, "keys_destroyed": erased.keys.len(), "record": erased.record, "completed": erased.completed,
        "unreadable_agents": erased.unreadable,
    })))
}

fn unerased(error: EraseError) -> No {
    let missing = |error: &EraseError| No::from(Refusal::new(Code::NotFound, error.to_string()));
    match error {
        EraseError::Unknown | EraseError::Already(_) => missing(&error),
        EraseError::Held { record } => No::Refused {
            refusal: Refusal::new(
                Code::LegalHold,
                "a legal hold is on this subject, or on someone recorded together with them: nothing of theirs may be \
                 destroyed until it is released",
            ),
            record: Some(record),
        },
        EraseError::Apply(error) => error.into(),
        other => No::Broken(Fault::new(other)),
    }
}

/// From now on nothing of the subject is destroyed, neither on request nor because its time has come.
async fn hold(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<Json<Value>, No> {
    let ask: Ask = read(&body)?;
    let subject_ref = console.store.reference(&ask.check(&console)?);
    let mut draft = admin
        .change(&console, "ledger.hold.add")
        .ext("hold", object!({"subject_ref": subject_ref, "legal_basis": ask.legal_basis}));
    if let Some(reason) = &ask.reason {
        draft = draft.commit("/hold/reason", object!(reason));
    }
    let batch = Batch::new(console.tenant.clone())
        .require(Precondition::NotHeld(subject_ref.clone()))
        .change(Change::Hold { subject_ref: subject_ref.clone(), basis: ask.legal_basis.clone() })
        .record(draft);
    let record = changed(&console, batch, "a legal hold is on this subject already").await?;
    Ok(Json(object!({"subject_ref": subject_ref, "record": record})))
}

async fn release(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<Json<Value>, No> {
    let whom: Whom = read(&body)?;
    if whom.reason.as_ref().is_some_and(|reason| reason.len() > TEXT_LIMIT || names(&whom.subject, reason)) {
        return Err(malformed("`reason` is at most 512 bytes, outlives an erasure, and must not name the subject").into());
    }
    let subject_ref = console.store.reference(&subject(&console, &whom.subject)?);
    let mut draft = admin.change(&console, "ledger.hold.release").ext("hold", object!({"subject_ref": subject_ref}));
    if let Some(reason) = &whom.reason {
        draft = draft.commit("/hold/reason", object!(reason));
    }
    let batch = Batch::new(console.tenant.clone())
        .require(Precondition::Held(subject_ref.clone()))
        .change(Change::Release { subject_ref: subject_ref.clone() })
        .record(draft);
    let record = changed(&console, batch, "no legal hold is on this subject").await?;
    Ok(Json(object!({"subject_ref": subject_ref, "record": record})))
}

async fn changed(console: &Console, batch: Batch, conflict: &str) -> Result<String, No> {
    match console.store.apply(batch).await {
        Ok(applied) => Ok(applied.receipts.first().map(|receipt| receipt.record_id.clone()).unwrap_or_default()),
        Err(ApplyError::Conflict(_)) => Err(Refusal::new(Code::RequestMalformed, conflict).into()),
        Err(error) => Err(error.into()),
    }
}

/// The holds there are; names only of those who still have an account.
async fn holds(_admin: Admin, State(console): State<Arc<Console>>) -> Json<Value> {
    let names: BTreeMap<String, Principal> = principals(&console);
    let snapshot = console.store.snapshot();
    let mut holds: Vec<_> = snapshot.holds().collect();
    holds.sort_unstable_by_key(|(_, since)| since.0);
    let view = |(subject, since): (&str, remit_model::UnixTime)| object!({"subject_ref": subject, "since": since, "subject": names.get(subject).map(|who| &who.sub)});
    Json(object!({"holds": holds.into_iter().map(view).collect::<Vec<_>>()}))
}

/// The keys of some subjects, or all, for an auditor. The record of it is durable before a key leaves.
async fn disclose(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<Json<Value>, No> {
    let asked: Disclosed = read(&body)?;
    let names = asked.subjects.as_deref();
    if names.is_some_and(|names| names.is_empty() || names.len() > SUBJECTS_LIMIT) {
        return Err(malformed("name 1 to 1000 subjects, or leave `subjects` out for all").into());
    }
    let subjects =
        names.map(|names| names.iter().map(|name| subject(&console, name)).collect::<Result<Vec<_>, _>>()).transpose()?;
    let references: Option<Vec<String>> =
        subjects.as_ref().map(|subjects| subjects.iter().map(|subject| console.store.reference(subject)).collect());
    let whose = references.as_ref().map_or_else(|| object!("all"), |references| object!(references));
    let mut draft = admin.change(&console, "ledger.disclose").ext("disclosure", object!({"subjects": whose}));
    draft.record_type = RecordType::LogAccess;
    let record = record(&console, Batch::new(console.tenant.clone()).record(draft)).await?;
    let keys = console.store.disclose(subjects.as_deref()).map_err(|error: StoreError| No::Broken(Fault::new(error)))?;
    if keys.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(Refusal::new(Code::NotFound, "there is no key of any of these subjects").into());
    }
    let mut named = principals(&console);
    if let Some(references) = &references {
        named.retain(|reference, _| references.contains(reference));
    }
    let file = object!({"schema": DISCLOSURE, "origin": console.store.log_origin(), "keys": keys, "subjects": named});
    Ok(Json(object!({"disclosure": file, "record": record})))
}

/// Everyone with an account, by pseudonym.
fn principals(console: &Console) -> BTreeMap<String, Principal> {
    let snapshot = console.store.snapshot();
    let humans = snapshot.humans().map(|human| human.subject());
    let agents = snapshot.agent_ids().map(remit_model::AgentId::subject);
    let named = humans.chain(agents).map(|sub| Principal::local(&console.issuer, sub));
    named.map(|who| (console.store.reference(&Subject::Principal { iss: who.iss.clone(), sub: who.sub.clone() }), who)).collect()
}

impl Ask {
    fn check(&self, console: &Console) -> Result<Subject, Refusal> {
        let found = subject(console, &self.subject)?;
        if self.legal_basis.trim().is_empty() || self.legal_basis.len() > TEXT_LIMIT {
            return Err(malformed("`legal_basis` is 1 to 512 bytes, for instance `GDPR Art. 17(1)(a)`"));
        }
        if self.reason.as_ref().is_some_and(|reason| reason.len() > TEXT_LIMIT) {
            return Err(malformed("`reason` is at most 512 bytes"));
        }
        // Both outlive the erasure: the record for good, and the reason under the operator's key.
        if names(&self.subject, &self.legal_basis) || self.reason.as_ref().is_some_and(|reason| names(&self.subject, reason)) {
            return Err(malformed("`legal_basis` and `reason` outlive an erasure and must not name the subject"));
        }
        Ok(found)
    }
}

/// Whether a text holds the name in a subject such as `user:alice`.
fn names(subject: &str, text: &str) -> bool {
    let name = subject.split_once(':').map_or("", |(_, name)| name).to_lowercase();
    // `17` names no one in "GDPR Art. 17".
    let telling = name.len() > 4 || !name.bytes().all(|byte| byte.is_ascii_digit());
    telling && text.to_lowercase().contains(&name)
}

/// `user:` and `agent:` are principals of this installation; anything else is a resource type and an id.
fn subject(console: &Console, text: &str) -> Result<Subject, Refusal> {
    let (kind, id) = text
        .split_once(':')
        .filter(|(kind, id)| !kind.is_empty() && !id.is_empty() && text.len() <= TEXT_LIMIT)
        .ok_or_else(|| malformed("a subject is `user:NAME`, `agent:NAME`, or `<resource type>:<id>`"))?;
    Ok(match kind {
        "user" | "agent" => Subject::Principal { iss: console.issuer.clone(), sub: text.to_owned() },
        _ => Subject::Data { kind: kind.to_owned(), id: id.to_owned() },
    })
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    let value = json::parse(body, &json::Limits { bytes: BODY_LIMIT, ..json::Limits::default() })?;
    serde_json::from_value(value).map_err(|error| malformed(&error.to_string()))
}

fn malformed(why: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, why)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_text_that_outlives_the_erasure_does_not_name_whom_it_forgot() {
        assert!(names("user:alice", "request of Alice, 3 May"));
        assert!(names("customer:C-17", "customer c-17 asked"));
        assert!(!names("user:alice", "GDPR Art. 17(1)(a), request of 3 May"));
    }
}
