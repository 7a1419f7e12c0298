//! People's passkeys, as an administrator sees them: which there are, taking one away, and a link to add one.

use crate::{
    Console,
    admin::{Admin, record},
    error::No,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    routing::{delete, get, post},
};
use remit_model::{Code, Human, Principal, Refusal, json};
use remit_store::{ApplyError, Batch, Change, Precondition};
use serde::Deserialize;
use serde_json::{Value, json as object};
use std::sync::Arc;

const BODY_LIMIT: usize = 4 << 10;
/// Longest life of a link, in hours.
const HOURS: i64 = 168;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/admin/v1/accounts/{name}/passkeys", get(list))
        .route("/admin/v1/accounts/{name}/passkeys/{id}", delete(remove))
        .route("/admin/v1/accounts/{name}/passkey-link", post(link))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// What `POST …/passkey-link` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkFor {
    hours: i64,
}

async fn list(_: Admin, State(console): State<Arc<Console>>, Path(name): Path<String>) -> Result<Json<Value>, No> {
    Ok(Json(view(account(&console, &name)?.as_ref())))
}

async fn remove(
    admin: Admin,
    State(console): State<Arc<Console>>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Value>, No> {
    let human = account(&console, &name)?;
    let known = human.passkeys.enrolled.clone();
    if human.passkeys.find(&id).is_none() {
        return Err(Refusal::new(Code::NotFound, format!("the account `{name}` has no such passkey")).into());
    }
    let credential = json::sha256_label(id.as_bytes());
    let draft = admin
        .change(&console, "passkey.remove")
        .ext("passkey", object!({"event": "removed", "credential": credential}))
        .owner(Principal::human(&console.issuer, &name));
    let enrolled = known.iter().filter(|passkey| passkey.id != id).cloned().collect();
    let batch = Batch::new(console.tenant.clone())
        .require(Precondition::Passkeys { human: name.clone(), enrolled: known })
        .change(Change::SetPasskeys { human: name.clone(), enrolled })
        .record(draft);
    console.store.apply(batch).await.map_err(|error| match error {
        ApplyError::Conflict(_) => {
            Refusal::new(Code::RateLimited, "the passkeys changed at the same time; send the request again").into()
        }
        other => No::from(other),
    })?;
    Ok(Json(view(account(&console, &name)?.as_ref())))
}

/// The link is shown once and kept nowhere; the first browser that opens it adds a passkey to the account.
async fn link(
    admin: Admin,
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, No> {
    let value = json::parse(&body, &json::Limits { bytes: BODY_LIMIT, ..json::Limits::default() })?;
    let asked: LinkFor =
        serde_json::from_value(value).map_err(|error| Refusal::new(Code::RequestMalformed, error.to_string()))?;
    if !(1..=HOURS).contains(&asked.hours) {
        return Err(Refusal::new(Code::RequestMalformed, format!("a link lives from 1 to {HOURS} hours")).into());
    }
    let human = account(&console, &name)?;
    let now = console.clock.unix();
    let until = now.plus(asked.hours * 3_600);
    let link = remit_authority::passkey_link(&console.store, &console.entropy, &console.issuer, &human.name, (now, until))?;
    let draft = admin
        .change(&console, "passkey.link")
        .ext("config", object!({"passkey_link_until": until}))
        .owner(Principal::human(&console.issuer, &name));
    let record = record(&console, Batch::new(console.tenant.clone()).record(draft)).await?;
    Ok(Json(object!({"account": name, "link": link, "until": until.utc(), "record": record})))
}

fn account(console: &Console, name: &str) -> Result<Arc<Human>, Refusal> {
    let unknown = || Refusal::new(Code::NotFound, "there is no such account");
    console.store.snapshot().human(name).map(Arc::clone).ok_or_else(unknown)
}

fn view(human: &Human) -> Value {
    let passkeys = &human.passkeys;
    let one = |passkey: &remit_model::Passkey| {
        object!({
            "id": passkey.id, "label": passkey.label, "added": passkey.added.utc(), "synced": passkey.synced,
            "used": passkey.used.map(remit_model::UnixTime::utc),
        })
    };
    object!({
        "account": human.name, "second_factor": passkeys.demanded,
        "passkeys": passkeys.enrolled.iter().map(one).collect::<Vec<_>>(),
    })
}
