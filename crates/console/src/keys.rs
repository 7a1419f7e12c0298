//! The issuer's signing keys: which there are, the next one, and an end at once. SPEC: JW-02, N-JW-04
//!
//! Private keys do not come through here: they lie in the server's key folder, and what is named here must be there.

use crate::{Console, admin::Admin, agent_update::read, agents::BODY_LIMIT, error::No};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    routing::{get, post},
};
use remit_ledger::record::Draft;
use remit_model::{Code, IssuerKey, IssuerKeys, KeyStage, Refusal, UnixTime, issuer_keys};
use remit_store::{ApplyError, Batch, Change, Precondition};
use remit_token::PublicKey;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Attempts to write while other changes are made at the same time.
const TRIES: usize = 8;
/// Longest time from the publication of a key to its first signature, in seconds.
const LATEST: i64 = 30 * 86_400;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/admin/v1/keys", get(list).post(rotate))
        .route("/admin/v1/keys/{kid}/revoke", post(revoke))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// What `POST /admin/v1/keys` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// The public JWK of a new key. Without it, the time of the key that is published already is changed.
    key: Option<Value>,
    /// Seconds until it signs; by default as long as others may cache the key set.
    after: Option<i64>,
}

/// What `POST /admin/v1/keys/KID/revoke` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    /// The public JWK of a new key that signs instead, where no next key is published.
    key: Option<Value>,
}

/// A change of the keys: the rows, and what the record says besides the keys as they are then.
struct Changed {
    rows: Vec<IssuerKey>,
    facts: Vec<(&'static str, Value)>,
}

async fn list(_: Admin, State(console): State<Arc<Console>>) -> Json<Value> {
    Json(view(&console, console.store.snapshot().issuer_keys()))
}

async fn rotate(admin: Admin, State(console): State<Arc<Console>>, body: Bytes) -> Result<Json<Value>, No> {
    let asked: Rotation = read(&body)?;
    let after = asked.after.unwrap_or(issuer_keys::NOTICE);
    if !(0..=LATEST).contains(&after) {
        return Err(malformed(format!("`after` is a number of seconds from 0 to {LATEST}")).into());
    }
    let key = asked.key.as_ref().map(|jwk| at_hand(&console, jwk)).transpose()?;
    let draft = admin.change(&console, "keys.rotate");
    write(&console, draft, |keys, now| {
        let next = keys.next(now);
        let (kid, jwk) = match (&key, next) {
            (Some((kid, _)), _) if keys.key(kid).is_some() => {
                return Err(malformed(format!("the key `{kid}` is, or was, a key of the issuer; make a new one")));
            }
            (Some(_), Some(next)) => {
                let reason = format!("`{}` is published already and signs from {}", next.kid, next.signs_from.utc());
                return Err(malformed(format!("{reason}; change its time, or revoke it")));
            }
            (Some((kid, jwk)), None) => (kid.clone(), jwk.clone()),
            (None, Some(next)) => (next.kid.clone(), next.jwk.clone()),
            (None, None) => return Err(malformed("no next key is published; send one as `key`")),
        };
        let from = now.plus(after);
        let facts = vec![("next", json!(kid)), ("next_from", json!(from.0.to_string()))];
        Ok(Changed { rows: keys.succession(&kid, &jwk, from, now), facts })
    })
    .await
}

/// From the commit on, nothing that the key signed is accepted. SPEC: JW-02, DC-13
async fn revoke(
    admin: Admin,
    State(console): State<Arc<Console>>,
    Path(kid): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, No> {
    let asked: Removal = if body.is_empty() { Removal { key: None } } else { read(&body)? };
    let new = asked.key.as_ref().map(|jwk| at_hand(&console, jwk)).transpose()?;
    let draft = admin.change(&console, "keys.revoke");
    let answer = write(&console, draft, |keys, now| {
        let key = keys.key(&kid).ok_or_else(|| Refusal::new(Code::NotFound, format!("the issuer has no key `{kid}`")))?;
        if let Some(when) = key.revoked {
            return Err(malformed(format!("`{kid}` was revoked already, at {}", when.utc())));
        }
        let revoked = IssuerKey { revoked: Some(now), ..key.clone() };
        let left = keys.with(revoked.clone());
        let facts = vec![("revoked", json!(kid))];
        if keys.signing(now) != Some(key) {
            return Ok(Changed { rows: vec![revoked], facts });
        }
        let next = left.next(now).map(|next| (next.kid.clone(), next.jwk.clone()));
        let new = new.clone().filter(|(kid, _)| keys.key(kid).is_none());
        let Some((kid, jwk)) = next.or(new) else {
            return Err(malformed("it is the key that signs, and no next one is published; send a new one as `key`"));
        };
        // INVARIANT: what takes over can sign, or revoking would end all service.
        console.signing.key(&kid).map_err(|fault| malformed(format!("the next key cannot sign: {fault}")))?;
        let succession = left.succession(&kid, &jwk, now, now);
        Ok(Changed { rows: std::iter::once(revoked).chain(succession).collect(), facts })
    })
    .await?;
    console.signing.forget(&kid);
    Ok(answer)
}

/// A new public key, whose private half the server has. SPEC: JW-01, N-JW-01
fn at_hand(console: &Console, jwk: &Value) -> Result<(String, Value), Refusal> {
    let key = PublicKey::from_jwk(jwk)?;
    let kid = key.thumbprint().to_owned();
    let missing = |fault| malformed(format!("the server does not find the private key in its key folder: {fault}"));
    console.signing.key(&kid).map_err(missing)?;
    let mut jwk = key.to_jwk();
    if let Some(members) = jwk.as_object_mut() {
        members.insert("alg".to_owned(), json!(key.algorithm().name()));
    }
    Ok((kid, jwk))
}

/// Writes what `change` makes of the keys, with a record that states them for those who verify the ledger.
async fn write(
    console: &Console,
    draft: Draft,
    change: impl Fn(&IssuerKeys, UnixTime) -> Result<Changed, Refusal>,
) -> Result<Json<Value>, No> {
    for _ in 0..TRIES {
        let (world, now) = (console.store.snapshot(), console.clock.unix());
        let keys = world.issuer_keys();
        let Changed { rows, facts } = change(keys, now)?;
        let old = keys.forgettable(now);
        let new = rows.iter().filter(|row| keys.key(&row.kid).is_none()).count();
        if new > 0 && keys.len().saturating_add(new) > old.len().saturating_add(issuer_keys::LIMIT) {
            let reason = format!("{} keys of the issuer are remembered, the revoked ones for a year; no more fit", keys.len());
            return Err(malformed(reason).into());
        }
        let after = rows.iter().cloned().fold(keys.clone(), |keys, key| keys.with(key));
        let mut stated = after.facts(now);
        if let Some(members) = stated.as_object_mut() {
            members.extend(facts.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        let batch = Batch::new(console.tenant.clone()).require(Precondition::Revision(world.revision()));
        let batch = old.into_iter().map(Change::RemoveIssuerKey).fold(batch, Batch::change);
        let batch = rows.into_iter().map(Change::PutIssuerKey).fold(batch, Batch::change);
        match console.store.apply(batch.record(draft.clone().ext("keys", stated))).await {
            Ok(applied) => {
                let mut answer = view(console, console.store.snapshot().issuer_keys());
                let record = applied.receipts.first().map(|receipt| receipt.record_id.clone());
                if let Some(members) = answer.as_object_mut() {
                    members.insert("record".to_owned(), json!(record));
                }
                return Ok(Json(answer));
            }
            Err(ApplyError::Conflict(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(Refusal::new(Code::RateLimited, "too much changed at the same time; send the request again").into())
}

fn view(console: &Console, keys: &IssuerKeys) -> Value {
    let now = console.clock.unix();
    let mut all: Vec<&IssuerKey> = keys.iter().collect();
    all.sort_by_key(|key| (keys.stage(key, now), std::cmp::Reverse(key.signs_from), &key.kid));
    let shown = all.into_iter().map(|key| {
        let stage = keys.stage(key, now);
        let signs = matches!(stage, KeyStage::Next | KeyStage::Signing);
        json!({
            "kid": key.kid, "stage": stage, "algorithm": key.jwk.get("alg"),
            "signs_from": key.signs_from, "accepted_until": key.accepted_until, "revoked": key.revoked,
            "at_hand": signs.then(|| console.signing.key(&key.kid).is_ok()),
        })
    });
    json!({"keys": shown.collect::<Vec<_>>()})
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, reason)
}
